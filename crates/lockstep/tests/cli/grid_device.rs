//! `lockstep grid` on GPUs: the same results, and how much of them a GPU did.

use super::Place;

const PROGRAMS: &str = "\
program frame(I)
  x1 = objects(I, T, F, T)
  x2 = argmax(x1, size)
  x3 = outbox(x2)
  x4 = fill(I, 3, x3)
return x4
end
program spread(I)
  x1 = objects(I, T, T, T)
  x2 = order(x1, leftmost)
  x3 = last(x2)
  x4 = cover(I, x3)
return x4
end
program fails(I)
  x1 = downscale(I, ZERO)
  x2 = rot90(x1)
return x2
end
program large(I)
  x1 = upscale(I, 20)
return x1
end
";

fn place() -> Place {
    let place = Place::new();
    place.write("p.grid", PROGRAMS.as_bytes());
    let task = |k: usize| {
        let grid = format!("00{}00/0{}{}00/000{}0/00000", k % 7, k % 5, k % 3, k % 9);
        format!("{{\"id\":\"t{k}\",\"train\":[[\"{grid}\",\"0\"]],\"test\":[[\"{grid}/11111\",\"0\"]]}}\n")
    };
    let tasks: String = (0..20).map(task).collect();
    place.write("tasks.jsonl", tasks.as_bytes());
    place
}

#[test]
fn places_are_named() {
    let place = place();
    place.fails("grid run p.grid -p frame --grid 0 --backend gpu", 2, &["gpu", "cuda:N, reference"]);
    place.fails("grid run p.grid --merged --grid 0 --backend cuda:1000", 4, &["--backend cpu"]);
    place.fails("grid verify p.grid --backend cuda:1000", 4, &["--backend cpu"]);
    place.fails("grid run p.grid --merged --grid 0 --backend cpu --devices 2", 4, &["--devices 2", "0 GPUs", "doctor"]);
    let of =
        |backend: &str| place.ok_json(&format!("grid run p.grid --merged --tasks tasks.jsonl --backend {backend}"));
    let [cpu, reference] = ["cpu", "reference"].map(of);
    assert_eq!(cpu["digest"], reference["digest"]);
    assert_eq!((&cpu["backend"], &reference["backend"]), (&"cpu".into(), &"reference".into()));
    assert!(cpu["gpus"].is_null());
}

#[test]
#[ignore = "needs a CUDA device"]
fn graphs_are_the_same_on_cuda() {
    let place = place();
    let line = "grid run p.grid --merged --tasks tasks.jsonl";
    let cpu = place.ok_json(&format!("{line} --backend cpu"));
    let cuda = place.ok_json(&format!("{line} --backend cuda --devices 1 --profile profile.json"));
    assert_eq!((&cuda["digest"], &cuda["counts"]), (&cpu["digest"], &cpu["counts"]));
    let gpus = &cuda["gpus"];
    assert!(gpus["coverage"].as_f64().unwrap() > 0.6, "{gpus}");
    assert_eq!(gpus["on_host_altogether"], serde_json::json!([]));
    assert_eq!(gpus["spills"]["larger than the device's values"], 40, "{gpus}");
    let spilled = gpus["spilled"].as_array().unwrap();
    assert!(spilled.iter().any(|s| s["function"] == "upscale" && s["count"] == 40), "{gpus}");
    let profile = place.json("profile.json");
    assert_eq!((&profile["backend"], &profile["devices"][0]["name"]), (&"cuda".into(), &gpus["devices"][0]["name"]));
    assert_eq!(profile["spills"]["`upscale`: larger than the device's values"], 40);
    for name in ["objects", "argmax", "fill", "order"] {
        assert!(profile["opcodes"][name]["seconds"].as_f64().unwrap() > 0.0, "{name}: {profile}");
    }
    let levels = profile["levels"].as_array().unwrap();
    assert!(levels[1..].iter().all(|level| level["seconds"].as_f64().unwrap() > 0.0), "{profile}");
    assert!(profile["devices"][0]["seconds"].as_f64().unwrap() > 0.0, "{profile}");
    assert_eq!(profile["progress"].as_array().unwrap().last().unwrap()[1], 40, "{profile}");
    let told = place.ok(&format!("{line} --backend cuda"));
    assert!(told.contains("% of") && told.contains("left to the processor"), "{told}");
    place.ok("grid report profile.json -o report.html");
    // A simulated driver then has two devices, which share the samples; with fewer than 120 one does all.
    let many: Vec<String> = (0..200).map(|k| format!(" --grid {}{}0/0{}1", k % 9, k % 7, k % 5)).collect();
    let many = many.concat();
    let on = |options: &str| {
        let mut command = place.command(&format!("grid run p.grid --merged {options} --json{many}"));
        let out = command.env("SIM_DEVICES", "2").output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()
    };
    let (cpu, both) = (on("--backend cpu"), on("--backend cuda"));
    assert_eq!((&cpu["digest"], &cpu["counts"]), (&both["digest"], &both["counts"]));
    let devices = both["gpus"]["devices"].as_array().unwrap();
    assert!(devices.iter().all(|device| device["seconds"].as_f64().unwrap() > 0.0), "{devices:?}");
    let few = place.ok_json("grid run p.grid --merged --grid 010 --backend cuda");
    assert!(few["gpus"]["on_host_altogether"][0].as_str().unwrap().contains("1 samples stay on the host"));
}

#[test]
#[ignore = "needs a CUDA device"]
fn gpus_are_measured_and_thresholds_kept_on_cuda() {
    let place = place();
    place.ok("grid tune p.grid --tasks tasks.jsonl --backend cuda --devices 1 -o tuning.toml");
    let text = String::from_utf8(place.read("tuning.toml")).unwrap();
    for words in ["\ndevice = ", "\nmin_batch = ", "\nmulti_gpu_min = ", "launch_ns = ", "device_ns = "] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    let line = "grid run p.grid --merged --tasks tasks.jsonl";
    let cpu = place.ok_json(&format!("{line} --backend cpu"));
    for min_batch in ["1", "41"] {
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some(("min_batch", _)) => format!("min_batch = {min_batch}\n"),
            _ => format!("{line}\n"),
        });
        place.write("one.toml", lines.collect::<String>().as_bytes());
        let ran = place.ok_json(&format!("{line} --backend cuda --devices 1 --tuning one.toml"));
        assert_eq!((&ran["digest"], &ran["counts"]), (&cpu["digest"], &cpu["counts"]));
        let on_host = ran["gpus"]["on_host_altogether"].as_array().unwrap().len();
        assert_eq!(on_host, usize::from(min_batch == "41"), "{ran}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn stored_answers_are_right_on_cuda() {
    let place = place();
    place.write(
        "data/vectors/rot90.jsonl",
        b"{\"a\":[{\"g\":\"01/23\"}],\"r\":{\"g\":\"20/31\"}}\n{\"a\":[5],\"e\":1}\n",
    );
    place.write("data/vectors/index.jsonl", b"{\"a\":[{\"g\":\"01\"},{\"t\":[5,5]}],\"r\":null}\n");
    place.write("data/p.jsonl", b"{\"id\":\"p\",\"src\":[\"x1 = size(I)\",\"x2 = first(x1)\"],\"cases\":[{\"in\":\"01/23\",\"d\":[\"af63af4c8601a015\"],\"err_at\":\"x2\"}]}\n");
    let found = place.ok_json("grid verify data --backend cuda");
    let count = |kind: &str, what: &str| found["counts"][kind][what].as_u64().unwrap();
    assert_eq!((count("vectors", "right"), count("programs", "right")), (3, 1));
    assert_eq!(found["backend"], "cuda");
    assert!(found["gpus"]["on_device"].as_u64().unwrap() >= 3, "{found}");
    place.write("data/vectors/size.jsonl", b"{\"a\":[{\"t\":[]}],\"r\":1}\n");
    let ran = place.run("grid verify data/vectors --backend cuda");
    assert!(ran.code == 1 && ran.out.contains("size.jsonl, line 1: size({\"t\":[]}) = 0, expected 1"), "{}", ran.out);
    let ran = place.ok_json("grid run p.grid -p frame --grid 00000/00200/00000 --backend cuda");
    assert_eq!((&ran["backend"], &ran["gpus"]["devices"][0]["calls"]), (&"cuda".into(), &4.into()), "{ran}");
    let cpu = place.ok_json("grid run p.grid -p frame --grid 00000/00200/00000 --backend cpu");
    assert_eq!(ran["runs"][0]["returns"], cpu["runs"][0]["returns"]);
}

#[test]
#[ignore = "needs a CUDA device"]
fn every_workload_is_measured_on_cuda() {
    let place = place();
    let mut command = place.command(
        "grid bench --tasks tasks.jsonl --programs p.grid --grids 40 --of-tasks 2 --depth 2 --runs 1 --check 3 --backend cuda --json",
    );
    let out = command.env("SIM_DEVICES", "2").output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let rows = found["rows"].as_array().unwrap();
    for workload in ["W1", "W1d", "W2", "W3", "W4", "W5", "W6"] {
        let own: Vec<_> = rows.iter().filter(|row| row["workload"] == workload).collect();
        assert!(!own.is_empty() && own.iter().all(|row| row["checked"].as_u64().unwrap() > 0), "{workload}: {own:?}");
    }
    for row in rows {
        assert!(row["wrong"] == 0 && row["median_s"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["kernel"].is_string() && row["shape"].is_string() && row["dtype"].is_string(), "{row}");
    }
    let searches: Vec<_> = rows.iter().filter(|row| row["workload"] == "W4").collect();
    assert_eq!(searches.iter().map(|row| row["gpus"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert!(searches[0]["items"] == searches[1]["items"] && searches[1]["failure"].is_null(), "{searches:?}");
    assert_ne!(searches[0]["variant"], searches[1]["variant"]);
    assert_eq!((&found["backend"], &found["wrong"]), (&"cuda".into(), &0.into()));
    assert!(found["copy_bytes_per_s"].as_f64().unwrap() > 0.0);
    // Where there are two devices, they are measured beside one.
    let pairs = rows.iter().filter(|row| row["gpus"] == 2);
    assert!(pairs.clone().all(|row| row["workload"] == "W7" && row["efficiency"].as_f64().unwrap() > 0.0));
    let refused = place.run("grid bench --tasks tasks.jsonl --backend reference");
    assert_eq!(refused.code, 2);
}

#[test]
#[ignore = "needs a CUDA device"]
fn the_same_programs_are_found_on_cuda() {
    let place = place();
    place.write(
        "big.json",
        b"{\"train\":[{\"input\":[[1,2],[0,3]],\"output\":[[0,0,1,1],[0,0,1,1],[3,3,2,2],[3,3,2,2]]}],\"test\":[]}",
    );
    let line = "grid search big.json --depth 2 --all --most 50";
    let [cpu, cuda] = ["cpu", "cuda"].map(|name| place.ok_json(&format!("{line} --backend {name}")));
    assert_eq!(
        (&cpu["backend"], &cuda["backend"], &cuda["failure"]),
        (&"cpu".into(), &"cuda".into(), &serde_json::Value::Null)
    );
    for key in ["programs", "applications", "states", "duplicates", "end"] {
        assert_eq!(cpu[key], cuda[key], "{key}");
    }
    assert!(cpu["programs"].as_array().unwrap().len() > 1, "{cpu}");
}
