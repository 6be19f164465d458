//! Alignment as a user runs it, on a small data set that the tests write.

use std::path::PathBuf;

use align::Cfa;
use align::testing::{DngOptions, Scenery, Shot, write_dng, xtrans};
use serde_json::Value;

use super::Place;

const SIZE: [usize; 2] = [240, 264];

/// `Bayer/wall` with two ground truths and `X-Trans/tree` with one; files that cannot be used lie among them.
pub(super) fn data() -> Place {
    let place = Place::new();
    for (kind, name, cfa, seed) in [("Bayer", "wall", Cfa::RGGB, 1), ("X-Trans", "tree", xtrans(), 2)] {
        let scenery = Scenery::new(seed, SIZE[0], SIZE[1]);
        let shot = |path: &str, shift: [f64; 2], iso: u16| {
            let shot = Shot { shift, iso: iso.into(), seed: u64::from(iso), cfa, ..Shot::default() };
            let o = DngOptions { cfa, iso, model: name.to_owned(), ..DngOptions::default() };
            place.write(&format!("in/src/{kind}/{name}/{path}"), &write_dng(&scenery.mosaic(&shot).view(), &o));
        };
        shot("gt/gt_0.dng", [0.0, 0.0], 100);
        if name == "wall" {
            shot("gt/gt_1.dng", [2.0, -4.0], 110);
        }
        shot("iso1600.dng", [6.0, -9.0], 1600);
        shot("iso6400.dng", [-12.0, 18.0], 6400);
    }
    place.write("in/src/Bayer/wall/notes.txt", b"a text");
    place.write("in/src/Bayer/wall/iso1600.dng.xmp", b"<x/>");
    let other = Scenery::new(9, SIZE[0], SIZE[1]).mosaic(&Shot::default());
    let o = DngOptions { model: "wall".to_owned(), ..DngOptions::default() };
    place.write("in/src/Bayer/wall/other.dng", &write_dng(&other.view(), &o));
    place.write("in/src/Bayer/wall/another_camera.dng", &write_dng(&other.view(), &DngOptions::default()));
    place
}

pub(super) fn lines(place: &Place, name: &str) -> Vec<Value> {
    let text = String::from_utf8(place.read(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find<'a>(all: &'a [Value], gt: &str, file: &str) -> &'a Value {
    let ends = |v: &Value, name: &str| v.as_str().unwrap().ends_with(name);
    let found = all.iter().find(|v| ends(&v["gt"], gt) && ends(&v["file"], file));
    found.unwrap_or_else(|| panic!("{gt} and {file} are no pair"))
}

#[test]
fn a_data_set_is_scanned_and_aligned() {
    let place = data();
    let scan = place.run("align scan in --json");
    assert_eq!(scan.code, 3, "{}", scan.err);
    let scan: Value = serde_json::from_str(&scan.out).unwrap();
    assert_eq!(scan["sets"].as_array().unwrap().len(), 2);
    assert_eq!(scan["unusable"], 2, "the text, and the picture of another camera");
    let states = |set: usize| {
        let files = scan["sets"][set]["files"].as_array().unwrap();
        files.iter().map(|file| file["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Ground truths, then another_camera.dng, two that fit, notes.txt, other.dng.
    assert_eq!(states(0), ["ok", "ok", "other-camera", "ok", "ok", "unsupported", "ok"]);
    assert_eq!(states(1), ["ok"; 3]);
    assert_eq!(scan["sets"][1]["of"]["cfa"].as_str().unwrap().len(), 36, "{scan}");
    let plan = place.ok_json("align run in -o out --dry-run");
    assert_eq!(plan["sets"][0]["pairs"], 14);
    assert_eq!(plan["sets"][0]["mask_bytes"], 0);
    let plan = place.ok_json("align run in -o out --dry-run --masks out/masks --report");
    assert!(plan["sets"][0]["mask_bytes"].as_u64().unwrap() as usize > 2 * 12 * SIZE[0] * SIZE[1], "{plan}");
    assert!(!place.path("out").exists());

    let ran = place.run("align run in -o out --masks out/masks --descriptor out/descriptor.yaml --report --json");
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["done"], 2);
    assert_eq!(summary["files_failed"]["unsupported"], 1);
    assert_eq!(summary["files_failed"]["other-camera"], 1);
    let speed = &summary["speed"];
    assert_eq!(speed["pairs"], 13);
    for what in ["megapixels_per_second", "devices_waited", "devices_worked"] {
        assert!(speed[what].as_f64().unwrap() > 0.0, "{what}: {speed}");
    }
    // The plan holds, and does not ask for much more than is needed.
    let number = |v: &Value| v.as_u64().unwrap();
    let sets = plan["sets"].as_array().unwrap();
    let planned = sets.iter().map(|set| number(&set["bytes"]).max(number(&set["mask_bytes"]))).max().unwrap();
    let peak = number(&speed["device_bytes"]);
    assert!(peak <= planned && 2 * peak >= planned, "{peak} of {planned}");
    let pairs = lines(&place, "out/alignments.jsonl");
    // Two ground truths with 5 usable pictures, one with 3.
    assert_eq!(pairs.len(), 13);
    for (gt, file, shift) in [
        ("wall/gt/gt_0.dng", "wall/iso1600.dng", [6, -9]),
        ("wall/gt/gt_1.dng", "wall/iso1600.dng", [4, -5]),
        ("wall/gt/gt_0.dng", "wall/gt/gt_1.dng", [2, -4]),
        ("wall/gt/gt_0.dng", "wall/gt/gt_0.dng", [0, 0]),
        ("tree/gt/gt_0.dng", "tree/iso6400.dng", [-12, 18]),
    ] {
        let pair = find(&pairs, gt, file);
        assert_eq!(pair["rounded"], serde_json::json!(shift), "{file}");
        assert_eq!(pair["state"], "confident", "{file}");
        let mask = pair["use_of"]["mask"].as_str().unwrap();
        assert!(pair["use_of"]["mask_mean"].as_f64().unwrap() > 0.9, "{pair}");
        let mask = image::open(place.path(mask)).unwrap();
        assert_eq!(mask.height() as u64, pair["use_of"]["noisy_rect"]["height"].as_u64().unwrap());
    }
    assert_eq!(find(&pairs, "gt_0.dng", "wall/other.dng")["state"], "failed");
    // What was refused is not for training.
    let check = place.ok_json("align check out/descriptor.yaml");
    assert_eq!(check["pairs"], 11);
    let check = place.ok_json("align check out/descriptor.yaml --against out/alignments.jsonl");
    assert_eq!(check["same"], 11);
    let page = String::from_utf8(place.read("out/report/index.html")).unwrap();
    assert!(page.contains("Bayer_wall.html") && page.contains("X-Trans/tree"));
    assert!(place.read("out/report/Bayer_wall.html").len() < 2_000_000);

    // Neither memory nor, where all positions have one black level, the original's way with it changes a mask.
    place.run("align run in -o tight --masks tight/masks --memory 4M --original-black --quiet");
    let masks = place.list("out/masks");
    assert_eq!((masks.len(), &place.list("tight/masks")), (11, &masks));
    for name in &masks {
        assert!(place.read(&format!("tight/masks/{name}")) == place.read(&format!("out/masks/{name}")), "{name}");
    }

    // A second run has nothing to do and writes the same.
    let before = (place.read("out/alignments.jsonl"), place.read("out/descriptor.yaml"));
    let line = "align run in -o out --masks out/masks --descriptor out/descriptor.yaml --report --json";
    let again: Value = serde_json::from_str(&place.run(line).out).unwrap();
    assert_eq!((&again["now"], &again["done"]), (&0.into(), &2.into()));
    assert_eq!(before, (place.read("out/alignments.jsonl"), place.read("out/descriptor.yaml")));

    let done = place.ok_json("align apply out/alignments.jsonl --to cut");
    let first = done["items"].as_array().unwrap().iter().find(|v| v["moved"] == serde_json::json!([6, -10]));
    assert!(
        first.is_some() || done["items"].as_array().unwrap().iter().any(|v| v["moved"] == serde_json::json!([6, -8]))
    );
    assert!(place.list("cut/Bayer/wall").iter().any(|n| n.ends_with("_gt.png")));
    place.ok("align apply out/alignments.jsonl --to colours --rgb");
    let one = place.path("colours/X-Trans/tree/gt_0--iso1600_gt.png");
    assert_eq!(image::open(one).unwrap().color(), image::ColorType::Rgb16);
}

#[test]
fn shards_together_are_one_run() {
    let place = data();
    place.run("align run in -o whole --quiet");
    for shard in ["1/2", "0/2"] {
        place.run(&format!("align run in -o parts --quiet --shard {shard}"));
    }
    let strip = |name: &str| String::from_utf8(place.read(name)).unwrap();
    assert_eq!(strip("whole/alignments.jsonl"), strip("parts/alignments.jsonl"));
    assert_eq!(place.list("parts/sets"), ["Bayer_wall.json", "X-Trans_tree.json"]);
    // One that was killed in the middle is done again.
    std::fs::remove_file(place.path("parts/sets/Bayer_wall.json")).unwrap();
    place.run("align run in -o parts --quiet --memory 4M --threads 1");
    assert_eq!(strip("whole/alignments.jsonl"), strip("parts/alignments.jsonl"));
    // A shard that does its scenes again leaves those of the others, and writes none twice.
    place.run("align run in -o parts --quiet --shard 0/2 --force");
    assert_eq!(strip("whole/alignments.jsonl"), strip("parts/alignments.jsonl"));
    place.run("align run in -o some --quiet --sets tree");
    assert_eq!(place.list("some/sets"), ["X-Trans_tree.json"]);
}

#[test]
fn progress_says_who_waits_for_whom() {
    let place = data();
    let ran = place.run("align run in -o out --masks out/masks");
    assert!(ran.err.lines().any(|line| line.starts_with("2/2 scenes, ")), "{}", ran.err);
    // Where nobody looks at a bar, too, it is said once.
    let all = ran.out + &ran.err;
    for words in ["13 pairs, ", "megapixels/s; devices waited ", "readers waited ", "writing took "] {
        assert_eq!(all.matches(words).count(), 1, "{words}: {all}");
    }
}

#[test]
fn a_scene_larger_than_the_memory_is_read_again() {
    let place = Place::new();
    let scenery = Scenery::new(5, SIZE[0], SIZE[1]);
    for i in 0..27_u8 {
        let shot = Shot { shift: [f64::from(i), -2.0], seed: i.into(), ..Shot::default() };
        let name = if i == 0 { "gt/0.dng".to_owned() } else { format!("{i}.dng") };
        let o = DngOptions { black: vec![512, 513, 514, 515], ..DngOptions::default() };
        place.write(&format!("in/{name}"), &write_dng(&scenery.mosaic(&shot).view(), &o));
    }
    // Pictures of 127 KB each; colours of three and what comparing takes are 2.9 MB.
    let line = "align run in --masks masks --descriptor d.yaml --original-black --threads 2 --quiet";
    place.ok(&format!("{line} -o out"));
    let read = |name: &str| (place.read(name), place.read("d.yaml"), place.read("masks/in-gt_0.dng-26.dng.png"));
    let wanted = read("out/alignments.jsonl");
    place.ok(&format!("{line} -o tight --memory 3000K"));
    assert!(read("tight/alignments.jsonl") == wanted);
}

#[test]
fn files_of_one_name_in_several_folders_keep_apart() {
    let place = Place::new();
    for (kind, cfa, seed) in [("Bayer", Cfa::RGGB, 1), ("X-Trans", xtrans(), 2)] {
        let scenery = Scenery::new(seed, SIZE[0], SIZE[1]);
        for (path, dx) in [("gt/0.dng", 0.0), ("gt/1.dng", 2.0), ("1.dng", 6.0), ("gt_1.dng", 12.0)] {
            let shot = Shot { shift: [0.0, dx], seed: dx as u64, cfa, ..Shot::default() };
            let o = DngOptions { cfa, ..DngOptions::default() };
            place.write(&format!("in/{kind}/wall/{path}"), &write_dng(&scenery.mosaic(&shot).view(), &o));
        }
    }
    place.ok("align run in -o out --masks out/masks --descriptor out/d.yaml");
    // Two ground truths with four pictures, in two scenes; what lies in the scene's folder is looked at, too.
    assert_eq!(place.list("out/masks").len(), 16);
    let check = place.ok_json("align check out/d.yaml --against out/alignments.jsonl");
    assert_eq!((&check["same"], &check["missing"]), (&16.into(), &0.into()));
    let done = place.ok_json("align apply out/alignments.jsonl --to cut");
    assert_eq!(done["items"].as_array().unwrap().len(), 12);
    for kind in ["Bayer", "X-Trans"] {
        let cut = place.list(&format!("cut/{kind}/wall"));
        assert_eq!(cut.len(), 18, "{cut:?}");
    }
    let json: Value = serde_json::from_slice(&place.read("cut/Bayer/wall/gt_0.dng--1.dng.json")).unwrap();
    assert_eq!(json["moved"], serde_json::json!([0, 6]));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on() {
    let place = Place::new();
    assert_eq!(place.ok_json("align selftest --write drawn")["scenes"], 6);
    let cases: Vec<Value> = serde_json::from_slice(&place.read("drawn/cases.json")).unwrap();
    let mut child = place
        .command("align run drawn -o out --threads 1 --tiles")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let journal = place.path("out/done.jsonl");
    while child.try_wait().unwrap().is_none() && !journal.metadata().is_ok_and(|m| m.len() > 0) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let before = place.list("out/sets").len();
    assert!((1..6).contains(&before), "{before} scenes");
    // What there is can be read.
    assert!(!lines(&place, "out/alignments.jsonl").is_empty());
    let rest = place.ok_json("align run drawn -o out --tiles");
    assert_eq!((&rest["done"], &rest["now"]), (&6.into(), &(6 - before).into()));
    let pairs = lines(&place, "out/alignments.jsonl");
    for case in &cases {
        let pair = find(&pairs, case["gt"].as_str().unwrap(), case["noisy"].as_str().unwrap());
        assert_eq!(pair["state"], "confident", "{pair}");
        for (k, key) in ["dy", "dx"].into_iter().enumerate() {
            let error = pair["shift"][k].as_f64().unwrap() - case[key].as_f64().unwrap();
            assert!(error.abs() < 0.5, "{pair}");
        }
        // X-Trans pictures as small as these have no room for tiles.
        let turned = pair["tiles"]["rotation_deg"].as_f64();
        assert!(turned.is_some() || pair["set"].as_str().unwrap().starts_with("X-Trans"), "{pair}");
        assert!(turned.is_none_or(|turned| turned.abs() < 0.2), "{pair}");
    }
    place.ok("align run drawn -o whole --tiles --quiet");
    assert_eq!(place.read("whole/alignments.jsonl"), place.read("out/alignments.jsonl"));
}

#[test]
fn single_pairs_and_the_self_test() {
    let place = data();
    let folder = "in/src/Bayer/wall";
    let line = format!("align pair {folder}/gt/gt_0.dng {folder}/iso1600.dng --surface s.png");
    let found = place.ok_json(&line);
    assert_eq!(found["pairs"][0]["result"]["rounded"], serde_json::json!([6, -9]));
    // 64 blocks each way, or as many as the pictures have.
    let side = image::open(place.path("s.png")).unwrap().width();
    assert!(side % 2 == 1 && (65..=129).contains(&side), "{side}");
    let refused = place.run(&format!("align pair {folder}/gt/gt_0.dng {folder}/other.dng"));
    assert_eq!(refused.code, 3);
    assert!(refused.out.contains("failed"));
    for options in ["--planes channels", "--planes channels --combine median", "--refine gn", "--refine none"] {
        let found = place.ok_json(&format!("{line} {options}"));
        assert_eq!(found["pairs"][0]["result"]["rounded"], serde_json::json!([6, -9]), "{options}");
    }
    let test = place.ok_json("align selftest");
    assert_eq!(test["wrong"], 0);
}

#[test]
#[ignore = "needs a CUDA device"]
fn a_data_set_is_aligned_on_cuda() {
    let place = data();
    assert_eq!(place.run("align run in -o cpu --masks cpu/masks --backend cpu").code, 3);
    // A simulated driver then has two devices, which take turns.
    let mut on_gpus = place.command("align run in -o gpu --masks gpu/masks --backend cuda");
    assert_eq!(on_gpus.env("SIM_DEVICES", "2").status().unwrap().code(), Some(3));
    let (wanted, got) = (lines(&place, "cpu/alignments.jsonl"), lines(&place, "gpu/alignments.jsonl"));
    assert_eq!((wanted.len(), got.len()), (13, 13));
    for (a, b) in got.iter().zip(&wanted) {
        for key in ["set", "gt", "file", "state", "rounded", "rounding_sure"] {
            assert_eq!(a[key], b[key], "{a}");
        }
        let near = |a: &Value, b: &Value, allowed: f64| {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return a == b };
            (a - b).abs() <= allowed
        };
        assert!((0..2).all(|k| near(&a["shift"][k], &b["shift"][k], 2e-3)), "{a} is not {b}");
        let ([a, b], [a_is, b_is]) = ([&a["use_of"], &b["use_of"]], [a, b]);
        assert_eq!(a["gt_rect"], b["gt_rect"]);
        // A pixel at the threshold may fall on the other side of it.
        let same = near(&a["loss"], &b["loss"], 1e-9) && near(&a["mask_mean"], &b["mask_mean"], 1e-3);
        assert!(same, "{a_is} is not {b_is}");
    }
    assert_eq!(place.list("gpu/masks"), place.list("cpu/masks"));
}

#[test]
fn mistakes_are_explained() {
    let place = data();
    place.fails("align run nowhere -o out", 5, &["nowhere", "check the path"]);
    place.fails("align run in/src/Bayer/wall/gt -o out", 2, &["there are no scenes", "`gt`"]);
    place.fails("align scan nowhere", 5, &["nowhere"]);
    place.fails("align pair lost.dng lost.dng", 5, &["lost.dng"]);
    place.fails("align run in -o out --resume --force", 2, &["--resume", "--force"]);
    place.fails("align run in -o out --memory 10K", 3, &["out of memory"]);
    // No machine has a thousand of them.
    place.fails("align run in -o out --backend cuda:1000", 4, &[]);
    place.fails("align run in -o out --max-shift far", 2, &["128"]);
    place.write("bad.yaml", b"- gt_fpath: a\n");
    place.fails("align check bad.yaml", 2, &["best_alignment"]);
    place.fails("align apply bad.yaml --to x", 2, &["line 1 is no pair"]);
}

pub(super) fn stored() -> PathBuf {
    let data = std::env::var_os("LOCKSTEP_DATA").map(PathBuf::from);
    let data = data.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    data.join("align")
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn stored_scenes_have_their_shifts() {
    let place = Place::new();
    let root = stored().join("scenes");
    let ran = place.run(&format!("align run {} -o out --report --descriptor out/d.yaml --masks out/m", root.display()));
    // Two pairs show different things.
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let pairs = lines(&place, "out/alignments.jsonl");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(root.join("cases.json")).unwrap()).unwrap();
    for case in &cases {
        let name = |key: &str| case[key].as_str().unwrap().to_owned();
        let pair = find(&pairs, &name("gt"), &name("noisy"));
        let wanted = if case["expect"] == "align" { "confident" } else { "failed" };
        assert_eq!(pair["state"], wanted, "{}", name("noisy"));
        if wanted == "failed" || case["special"] == "rotate" {
            continue;
        }
        for (k, key) in ["dy", "dx"].into_iter().enumerate() {
            let error = pair["shift"][k].as_f64().unwrap() - case[key].as_f64().unwrap();
            assert!(error.abs() < 0.5, "{}: {}", name("noisy"), pair["shift"]);
        }
    }
    for entry in place.list("out/report") {
        assert!(place.read(&format!("out/report/{entry}")).len() < 2_000_000, "{entry}");
    }
}
