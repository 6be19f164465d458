//! What names, lists and records may say: nothing leaves the folder that it was to stay in, and nothing ends a run.

use align::testing::{DngOptions, Scenery, Shot, write_dng};
use serde_json::{Value, json};

use super::Place;
use super::align::{data, lines};

fn photo(seed: u64) -> Vec<u8> {
    write_dng(&Scenery::new(seed, 96, 120).mosaic(&Shot::default()).view(), &DngOptions::default())
}

/// A name that is no UTF-8 text.
#[cfg(unix)]
fn odd(name: &[u8]) -> &std::path::Path {
    std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name))
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_cost_their_pairs() {
    let place = data();
    std::fs::write(place.path("in/src/Bayer/wall").join(odd(b"caf\xe9.dng")), photo(1)).unwrap();
    for line in ["align scan in", "align scan in --json", "align scan in --decode --json"] {
        let ran = place.run(line);
        assert_eq!(ran.code, 3, "{line}: {}", ran.err);
        assert!(ran.out.contains("no UTF-8 text"), "{}", ran.out);
    }
    let ran = place.run("align run in -o out --json");
    assert_eq!(ran.code, 3, "{}", ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["files_failed"]["unsupported"], 2, "{summary}");
    // As many as without it.
    assert_eq!(lines(&place, "out/alignments.jsonl").len(), 13);
    let ran = place.run("align run in -o out");
    assert!((ran.out + &ran.err).contains("2 unsupported"), "reasons are counted");
    // Pictures of a folder one by one, and an argument.
    std::fs::create_dir(place.path("some")).unwrap();
    let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 99]));
    picture.save(place.path("some/a.png")).unwrap();
    std::fs::copy(place.path("some/a.png"), place.path("some").join(odd(b"caf\xe9.png"))).unwrap();
    place.ok_json("nsct denoise some -o clean");
    assert_eq!(place.list("clean"), ["a.png", "caf\u{fffd}.png", "done.jsonl"]);
    let wall = place.path("in/src/Bayer/wall");
    let mut command = place.command("align pair --json");
    let ran = command.arg(wall.join("gt/gt_0.dng")).arg(wall.join(odd(b"caf\xe9.dng"))).output().unwrap();
    assert_eq!(ran.status.code(), Some(3), "of another camera");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("caf\u{fffd}.dng"));
}

#[test]
fn scenes_stay_inside_of_folders() {
    let place = Place::new();
    place.write("a.dng", &photo(1));
    place.write("b.dng", &photo(1));
    for name in ["../x", "/tmp/abs", "", "."] {
        let list = json!([{ "name": name, "gts": ["a.dng"], "noisy": ["b.dng"] }]);
        place.write("list.json", list.to_string().as_bytes());
        place.fails("align run --sets-file list.json -o out", 2, &["list.json", "a scene is called"]);
    }
    place.write("list.json", json!([{ "name": "s", "gts": ["a.dng"], "noisy": ["b.dng"] }]).to_string().as_bytes());
    place.ok("align run --sets-file list.json -o out");
    let all = lines(&place, "out/alignments.jsonl");
    let with = |change: &dyn Fn(&mut Value)| {
        let changed: Vec<String> = all
            .iter()
            .map(|line| {
                let mut line = line.clone();
                change(&mut line);
                line.to_string() + "\n"
            })
            .collect();
        place.write("changed.jsonl", changed.concat().as_bytes());
    };
    with(&|line| line["set"] = "../x".into());
    place.fails("align apply changed.jsonl --to e1/e2", 2, &["`../x`", "e1/e2"]);
    with(&|line| line["shift"] = json!([1e300, -1e300]));
    place.fails("align apply changed.jsonl --to e1", 3, &["its shift is"]);
    assert!(!place.path("x").exists() && !place.list("e1").concat().contains(".png"));
    place.ok("align apply out/alignments.jsonl --to e3");
}

#[test]
fn photographs_are_not_written_over() {
    let place = data();
    let wall = "in/src/Bayer/wall";
    let before = place.read(&format!("{wall}/iso1600.dng"));
    for which in ["gt/gt_0.dng", "iso1600.dng"] {
        let line = format!("align pair {wall}/gt/gt_0.dng {wall}/iso1600.dng --surface {wall}/{which}");
        place.fails(&line, 2, &["--surface", "would be overwritten"]);
    }
    assert_eq!(place.read(&format!("{wall}/iso1600.dng")), before);
}

#[test]
fn a_few_lines_of_yaml_take_no_memory() {
    let place = Place::new();
    let more: Vec<String> = (1..60).map(|i| format!("a{i}: &b{i} [*b{}, *b{}]\n", i - 1, i - 1)).collect();
    place.write("bomb.yaml", ("a0: &b0 [x, y]\n".to_owned() + &more.concat()).as_bytes());
    place.fails("align check bomb.yaml", 2, &["bomb.yaml", "line 2 has an alias"]);
}

#[test]
fn pictures_of_a_single_light_and_gray_ones() {
    let place = Place::new();
    let mut night = image::RgbImage::new(400, 300);
    night.put_pixel(200, 100, image::Rgb([255; 3]));
    std::fs::create_dir_all(place.path("in/gt")).unwrap();
    night.save(place.path("in/gt/night.png")).unwrap();
    image::GrayImage::new(64, 64).save(place.path("in/gray.png")).unwrap();
    let scan: Value = serde_json::from_str(&place.run("align scan in --json").out).unwrap();
    let states: Vec<_> = scan["sets"][0]["files"].as_array().unwrap().iter().map(|f| f["state"].clone()).collect();
    assert_eq!(states, ["ok", "unsupported"], "{scan}");
}
