//! `lockstep grid explain|run --merged|report|search|augment|tune`: what they write, and what they refuse.

use super::Place;

const PROGRAMS: &str = "\
program solve_abc(I)\n  x1 = rot90(I)\n  x2 = hmirror(x1)\n  x3 = rot90(x2)\n  x4 = vmirror(x3)\n  x5 = vmirror(x4)\nreturn x5\nend\n\
program parts(I)\n  a = objects(I, T, F, T)\n  b = objects(I, F, F, T)\n  c = apply(size, a)\n  d = order(a, size)\n  e = combine(c, b)\n  f = astuple(e, d)\nreturn f\nend\n";

const TASKS: &[u8] =
    b"{\"id\":\"abc\",\"train\":[[\"01/23\",\"23/01\"],[\"456\",\"456\"]],\"test\":[[\"4/5\",\"5/4\"]]}\n";

/// A place with two programs and a task that the first one solves.
fn place() -> Place {
    let place = Place::new();
    place.write("two.grid", PROGRAMS.as_bytes());
    place.write("tasks.jsonl", TASKS);
    place
}

#[test]
fn patterns_are_listed_and_switched_off() {
    let place = place();
    let out = place.ok("grid explain two.grid");
    assert!(out.contains("P5: one index map: hmirror") && out.contains("hmirror(n"), "{out}");
    assert!(out.contains("P2     1 times") && out.contains("P3     1 times"), "{out}");
    assert_eq!(out, place.ok("grid dag two.grid --explain"));
    let found = place.ok_json("grid explain two.grid --no-pattern P2 --no-pattern p5");
    let names: Vec<_> = found["patterns"].as_array().unwrap().iter().map(|p| p["pattern"].as_str().unwrap()).collect();
    assert_eq!(names, ["P3"]);
    let found = place.ok_json("grid stats two.grid --simplify");
    assert!(
        found["simplified"]["isometries"].as_u64().unwrap() > 0 && found["nodes"].as_u64().unwrap() < 11,
        "{found}"
    );
    place.fails("grid explain two.grid --no-pattern P6", 2, &["P1, P2, P3, P4 and P5"]);
}

#[test]
fn a_merged_run_has_one_digest_whatever_its_settings() {
    let place = place();
    let found = place.ok_json("grid run two.grid --merged --tasks tasks.jsonl --program solve_abc");
    let of_task = serde_json::json!([{ "program": "solve_abc", "task": "abc", "right": 3, "wrong": 0 }]);
    assert_eq!((&found["programs"], &found["tasks"]), (&1.into(), &of_task));
    place.fails("grid run two.grid --merged --tasks tasks.jsonl --program nix", 2, &["there is no program `nix`"]);
    for option in ["--show", "--lines", "--strict"] {
        place.fails(&format!("grid run two.grid --merged --grid 0 {option}"), 2, &["cannot be used with", "--merged"]);
    }
    let plain = place.ok_json("grid run two.grid --tasks tasks.jsonl --grid 0110 --merged");
    assert_eq!((&plain["counts"]["right"], &plain["counts"]["wrong"]), (&3.into(), &0.into()));
    assert_eq!((&plain["samples"], &plain["counts"]["values"]), (&4.into(), &8.into()));
    place.ok("grid tune two.grid --tasks tasks.jsonl --backend cpu -o tuning.toml");
    for settings in [
        "--backend reference",
        "--backend reference --no-pattern P1 --no-pattern P2 --no-pattern P3 --no-pattern P4 --no-pattern P5",
        "--backend reference --simplify",
        "--simplify",
        "--tuning tuning.toml",
        "--min-batch 1 --max-batch 2 --cache-bytes 0 --profile knobs.json",
        "--tuning tuning.toml --min-batch 100 --multi-gpu-min 7 --mem-fraction 0.5 --cache-bytes 1M --profile more.json",
    ] {
        let found = place.ok_json(&format!("grid run two.grid --tasks tasks.jsonl --grid 0110 --merged {settings}"));
        assert_eq!(found["digest"], plain["digest"], "{settings}");
    }
    let knobs = ["min_batch", "max_batch", "cache_bytes", "multi_gpu_min", "mem_fraction"];
    let set = |name: &str| knobs.map(|knob| place.json(name)["knobs"][knob].as_str().unwrap().to_owned());
    assert_eq!(set("knobs.json"), ["1", "2", "0", "120", "0.8"]);
    assert_eq!(set("more.json"), ["100", "automatic", "1048576", "7", "0.5"]);
    place.fails("grid run two.grid --tasks tasks.jsonl --merged --mem-fraction 1.5", 2, &["above 0 and at most 1"]);
    place.fails("grid run two.grid --tasks tasks.jsonl --merged --max-batch 0", 2, &["from 1 on"]);
    place.write("wrong.grid", b"program solve_abc(I)\n  x = rot90(I)\nreturn x\nend\n");
    let ran = place.run("grid run wrong.grid --tasks tasks.jsonl --merged");
    assert!(ran.code == 1 && ran.out.contains("outputs of tasks: 0 right, 3 wrong"), "{}", ran.out);
    place.fails("grid run two.grid --tasks tasks.jsonl --profile p.json", 2, &["--merged"]);
}

#[test]
fn a_report_is_one_page_that_loads_nothing() {
    let place = place();
    place.ok("grid run two.grid --tasks tasks.jsonl --merged --profile fast.json");
    let fast = place.json("fast.json");
    assert_eq!(fast["progress"].as_array().unwrap().last().unwrap()[1], 3, "{fast}");
    assert!(fast["levels"].as_array().unwrap().iter().any(|level| level["seconds"].as_f64().unwrap() > 0.0), "{fast}");
    place.ok("grid report fast.json -o fast.html");
    let patterns = &place.json("fast.json")["patterns"];
    for (name, nodes) in [("P2", 2), ("P3", 2), ("P5", 5)] {
        let found = &patterns[name];
        assert_eq!((&found["found"], &found["nodes"], &found["declined"]), (&1.into(), &nodes.into(), &3.into()));
        assert!(found["seconds"].as_f64().unwrap() > 0.0, "{patterns}");
    }
    place.ok("grid run two.grid --tasks tasks.jsonl --merged --no-pattern P2 --profile less.json");
    assert!(place.json("less.json")["patterns"].get("P2").is_none());
    let page = String::from_utf8(place.read("fast.html")).unwrap();
    assert!(page.contains("Inputs a second, over time"), "no curve on the page");
    place.ok("grid run two.grid --tasks tasks.jsonl --merged --backend reference --profile profile.json");
    let profile = place.json("profile.json");
    assert_eq!((&profile["schema"], &profile["samples"]), (&1.into(), &3.into()));
    assert_eq!(profile["pictures"][0]["output"], "{\"g\":\"23/01\"}");
    place.ok("grid report profile.json -o page.html");
    let page = String::from_utf8(place.read("page.html")).unwrap();
    for words in
        ["2 programs on 3 inputs", "Time by function", "Time by pattern", "Time by level", "order", "one index map"]
    {
        assert!(page.contains(words), "`{words}` is not on the page");
    }
    // Colours of the ARC, in the input and in the output.
    assert!(page.matches("#2ecc40").count() >= 2 && page.contains("solve_abc: abc, train 0, right"));
    let loads = ["http:", "https:", "<script", "src=\"/", "@import", "<link"];
    assert!(loads.iter().all(|word| !page.contains(word)));
    for tag in ["div", "table", "figure", "svg", "section", "main"] {
        let count = |text: &str| page.matches(text).count();
        assert_eq!(count(&format!("<{tag}>")) + count(&format!("<{tag} ")), count(&format!("</{tag}>")), "{tag}");
    }
    place.write("old.json", b"{\"schema\":2}");
    place.fails("grid report old.json", 2, &["it is no profile", "--merged --profile"]);
    place.fails("grid report two.grid", 2, &["it is no profile"]);
}

#[test]
fn programs_are_found_and_run() {
    let place = place();
    let out = place.ok("grid search tasks.jsonl -o found.grid");
    assert!(out.contains("# hmirror; 1 of 1 tests right") && out.contains("x1 = hmirror(I)"), "{out}");
    place.ok("grid run found.grid --program solve_abc --tasks tasks.jsonl --task abc");
    let found = place.ok_json("grid search tasks.jsonl --depth 2 --all --most 3");
    assert_eq!(found["programs"].as_array().unwrap().len(), 3);
    assert_eq!((&found["end"], &found["programs"][0]["tests_right"]), (&"complete".into(), &1.into()));
    place.write("odd.json", b"{\"train\":[{\"input\":[[1,2]],\"output\":[[7,7],[7,9]]}],\"test\":[]}");
    let ran = place.run("grid search odd.json --depth 2 --applications 100");
    assert!(ran.code == 1 && ran.out.contains("0 programs") && ran.out.contains("used up"), "{}{}", ran.out, ran.err);
    place.write("two.jsonl", &[TASKS, b"{\"id\":\"q\",\"train\":[],\"test\":[]}\n"].concat());
    // Names of programs are made of any names of tasks.
    for name in ["my-task", "9 b", "a.b", "é"] {
        place.write(&format!("{name}.json"), b"{\"train\":[{\"input\":[[1,2]],\"output\":[[2,1]]}],\"test\":[]}");
        let mut command = place.command("grid search");
        let found = command.arg(format!("{name}.json")).args(["-o", "named.grid"]).output().unwrap();
        assert!(found.status.success(), "{name}: {found:?}");
        place.ok("grid check named.grid");
    }
    for option in ["--most 0", "--time 0", "--applications 0"] {
        place.fails(&format!("grid search tasks.jsonl {option}"), 2, &["0"]);
    }
    place.fails("grid search two.jsonl", 2, &["it holds 2 tasks", "--task"]);
    place.fails("grid search two.jsonl --task q", 2, &["task `q`", "no examples"]);
    place.fails("grid search two.jsonl --task z", 2, &["there is no task `z`"]);
    assert_eq!((&found["backend"], &found["failure"]), (&"cpu".into(), &serde_json::Value::Null));
    assert_eq!(
        place.ok_json("grid search tasks.jsonl --depth 2 --all --most 3 --backend cpu")["programs"],
        found["programs"]
    );
    place.fails("grid search tasks.jsonl --backend gpu", 2, &["`gpu` is none of auto, cpu, cuda, cuda:N"]);
}

#[test]
fn variants_go_back_to_the_task() {
    let place = place();
    let found = place.ok_json("grid augment tasks.jsonl --count 5 -o many.jsonl");
    assert_eq!((&found["variants"], &found["grids"]), (&5.into(), &30.into()));
    let many = place.read("many.jsonl");
    assert_eq!(String::from_utf8_lossy(&many).lines().count(), 5);
    place.ok("grid augment tasks.jsonl --count 5 -o again.jsonl");
    assert_eq!(place.read("again.jsonl"), many);
    place.ok("grid augment tasks.jsonl --count 5 --seed 1 -o other.jsonl");
    assert_ne!(place.read("other.jsonl"), many);
    let lines: Vec<&[u8]> = many.split(|&b| b == b'\n').collect();
    let first: serde_json::Value = serde_json::from_slice(lines[0]).unwrap();
    assert_eq!(first["transform"]["colours"], "0123456789");
    assert_eq!(first["digests"].as_array().unwrap().len(), 6);
    // Any variant alone goes back to the task.
    for line in &lines[..5] {
        place.write("one.jsonl", line);
        place.ok("grid augment one.jsonl --undo -o back.jsonl");
        let back: serde_json::Value = serde_json::from_slice(&place.read("back.jsonl")).unwrap();
        assert_eq!(
            (&back["train"], &back["test"], &back["digests"]),
            (&first["train"], &first["test"], &first["digests"])
        );
    }
    // What was changed since is told, not turned.
    let (text, digest) = (String::from_utf8_lossy(lines[1]), first["digests"][0].as_str().unwrap());
    let other = String::from_utf8_lossy(lines[0]).replacen(digest, "0000000000000000", 1);
    place.write("one.jsonl", other.as_bytes());
    let words = ["line 1, task `abc`: grid 0 has digest", "was changed"];
    place.fails("grid augment one.jsonl --undo -o back.jsonl", 2, &words);
    let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
    changed["test"] = serde_json::json!([]);
    place.write("one.jsonl", changed.to_string().as_bytes());
    place.fails("grid augment one.jsonl --undo -o back.jsonl", 2, &["it holds 4 grids, and digests of 6"]);
    place.ok("grid augment tasks.jsonl --no-colours --count 8 -o turned/");
    assert_eq!(place.list("turned").len(), 8);
    assert_eq!(place.json("turned/abc-0.json")["train"][0]["input"], serde_json::json!([[0, 1], [2, 3]]));
    place.fails("grid augment tasks.jsonl -n 0 -o x.jsonl", 2, &["--count"]);
    for same in ["tasks.jsonl", "turned/../tasks.jsonl"] {
        place.fails(
            &format!("grid augment tasks.jsonl -o {same}"),
            2,
            &["is read, and would be overwritten", "name another file with -o"],
        );
    }
    assert_eq!(place.read("tasks.jsonl"), TASKS);
    place.fails("grid augment tasks.jsonl --undo -o x.jsonl", 2, &["line 1: no `transform`"]);
    place.write("eleven.json", b"{\"train\":[{\"input\":[[11]],\"output\":[[0]]}],\"test\":[]}");
    place.fails(
        "grid augment eleven.json -o x.jsonl",
        2,
        &["task `eleven`, input of train 0", "holds 11", "colours are 0 to 9"],
    );
}

#[test]
fn thresholds_are_measured_and_read() {
    let place = place();
    place.ok("grid tune two.grid --tasks tasks.jsonl --backend cpu -o tuning.toml");
    let text = String::from_utf8(place.read("tuning.toml")).unwrap();
    assert!(
        text.contains("spread_below = ")
            && !text.contains("min_batch")
            && text.contains("[opcodes.objects]")
            && text.contains("cpu_ns = "),
        "{text}"
    );
    let found = place.ok_json("grid tune two.grid --tasks tasks.jsonl --backend cpu");
    assert!(found["opcodes"]["rot90"]["cpu_ns"].as_f64().unwrap() > 0.0);
    place.write("bad.toml", b"min_batch = 3\n");
    place.fails("grid tune two.grid --backend reference", 2, &["--backend reference", "cuda"]);
    place.fails("grid run two.grid --grid 0 --merged --tuning bad.toml", 2, &["bad.toml", "lockstep grid tune"]);
    let newer = text.replace("schema = 1", "schema = 2");
    place.write("newer.toml", newer.as_bytes());
    place.fails("grid run two.grid --grid 0 --merged --tuning newer.toml", 2, &["schema 2"]);
    // All thresholds of a file are those of the run.
    let of_gpu = text.replacen("spread_below = ", "min_batch = 5\nmulti_gpu_min = 70\nspread_below = 3 # ", 1);
    place.write("gpu.toml", of_gpu.as_bytes());
    let ran = place.ok_json("grid run two.grid --grid 0 --merged --tuning gpu.toml --profile p.json");
    assert_eq!((&ran["min_batch"], &ran["multi_gpu_min"], &ran["spread_below"]), (&5.into(), &70.into(), &3.into()));
    let knobs = &place.json("p.json")["knobs"];
    assert_eq!((&knobs["min_batch"], &knobs["multi_gpu_min"]), (&"5".into(), &"70".into()));
}
