//! What files, disks and signals do to alignment: every file ends in a state, and nothing ends a run.

use std::process::Stdio;

use align::testing::{DngOptions, Scenery, Shot, write_dng};
use serde_json::Value;

use super::Place;
use super::align::{data, lines, stored};

/// Bytes of memory of the largest process that was started and has ended.
#[cfg(unix)]
fn largest_child() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // Kilobytes, but for macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as u64 * unit
}

fn photo(seed: u64) -> Vec<u8> {
    write_dng(&Scenery::new(seed, 96, 120).mosaic(&Shot::default()).view(), &DngOptions::default())
}

/// Scans `folder` with all pixels, and returns the states of its files in the order of their names.
fn states(place: &Place, folder: &str) -> Vec<(String, String)> {
    let ran = place.run(&format!("align scan {folder} --decode --json"));
    assert!([0, 3].contains(&ran.code), "{}: {}", ran.code, ran.err);
    let scan: Value = serde_json::from_str(&ran.out).unwrap();
    let files = scan["sets"][0]["files"].as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    files.iter().map(|file| (text(&file["state"]), text(&file["reason"]))).collect()
}

/// A little-endian TIFF directory at `at`, `(tag, type, count, bytes)`, with what does not fit behind it.
fn directory(at: usize, entries: &[(u16, u16, u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = (entries.len() as u16).to_le_bytes().to_vec();
    let mut behind: Vec<u8> = Vec::new();
    let start = at + 2 + 12 * entries.len() + 4;
    for (tag, kind, count, bytes) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(count.to_le_bytes());
        if bytes.len() <= 4 {
            out.extend(bytes.iter().copied().chain(std::iter::repeat(0)).take(4));
        } else {
            out.extend(((start + behind.len()) as u32).to_le_bytes());
            behind.extend(bytes);
        }
    }
    out.extend([0; 4]);
    out.extend(behind);
    out
}

/// A file of a maker whose notes announce billions of numbers.
fn boastful(make: &str, model: &str, note: &[u8], big: bool) -> Vec<u8> {
    let text = |tag: u16, text: &str| (tag, 2, text.len() as u32 + 1, [text.as_bytes(), b"\0"].concat());
    let long = |tag: u16, v: u32| (tag, 4, 1, v.to_le_bytes().to_vec());
    let exif = 512;
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend(directory(
        8,
        &[
            long(254, 0),
            long(256, 96),
            long(257, 80),
            (258, 3, 1, vec![14, 0]),
            (259, 3, 1, vec![1, 0]),
            text(271, make),
            text(272, model),
            long(273, 1024),
            long(278, 80),
            long(279, 96 * 80 * 2),
            (33421, 3, 2, vec![2, 0, 2, 0]),
            (33422, 1, 4, vec![0, 1, 1, 2]),
            long(34665, exif),
        ],
    ));
    assert!(file.len() <= exif as usize);
    file.resize(exif as usize, 0);
    // One entry of doubles, as many as can be counted.
    let entry: Vec<u8> = if big {
        [&[0, 1, 0x7f, 1, 0, 12][..], &[0xff; 4], &[0, 0, 0, 64], &[0; 4]].concat()
    } else {
        [&[1, 0, 1, 0x7f, 12, 0][..], &[0xff; 4], &[64, 0, 0, 0], &[0; 4]].concat()
    };
    let mut notes = [note, &entry].concat();
    notes.resize(200, 0);
    file.extend(directory(exif as usize, &[(37500, 7, notes.len() as u32, notes)]));
    file.resize(1024 + 96 * 80 * 2, 0);
    file
}

/// A decoder takes memory for as much as the notes say, which ends its process.
#[cfg(target_os = "linux")]
#[test]
fn notes_of_makers_that_announce_too_much_end_no_run() {
    let place = Place::new();
    for (name, make, model, note, big) in [
        ("a.nef", "NIKON CORPORATION", "NIKON D700", &b"Nikon\0\x02\x10\0\0II*\0\x08\0\0\0"[..], false),
        ("b.arw", "SONY", "DSLR-A700", b"SONY DSC \0\0\0", false),
        ("c.orf", "OLYMPUS IMAGING CORP.", "E-M5", b"OLYMPUS\0II\x03\0", false),
        ("d.pef", "PENTAX Corporation", "PENTAX K10D", b"AOC\0MM", true),
    ] {
        place.write(&format!("in/{name}"), &boastful(make, model, note, big));
    }
    place.write("in/e.dng", &photo(1));
    let states = states(&place, "in");
    for (state, reason) in &states[..4] {
        assert!(state == "damaged" && reason.contains("memory"), "{states:?}");
    }
    assert_eq!(states[4].0, "ok");
    assert!(largest_child() < 1 << 30);
}

/// Where the counts of all entries of TIFF directories are, from the header at `base` on.
fn counts(bytes: &[u8], base: usize) -> Vec<usize> {
    let big = bytes.get(base) == Some(&b'M');
    let number = |at: usize, n: usize| -> Option<usize> {
        let part = bytes.get(at..at + n)?.iter();
        let join = |all: usize, byte: &u8| all << 8 | usize::from(*byte);
        Some(if big { part.fold(0, join) } else { part.rev().fold(0, join) })
    };
    let (mut found, mut open, mut seen) = (Vec::new(), vec![number(base + 4, 4).unwrap_or(0)], Vec::new());
    while let Some(at) = open.pop() {
        if at == 0 || seen.contains(&at) || seen.len() > 40 {
            continue;
        }
        seen.push(at);
        let Some(n) = number(base + at, 2) else { continue };
        for entry in (0..n.min(200)).map(|i| base + at + 2 + 12 * i) {
            let (Some(tag), Some(value)) = (number(entry, 2), number(entry + 8, 4)) else { break };
            found.push(entry + 4);
            if [330, 34665, 34853, 37500, 0xf000].contains(&tag) {
                open.push(value);
            }
        }
        open.push(number(base + at + 2 + 12 * n, 4).unwrap_or(0));
    }
    found
}

/// What is done to a file: other bytes at a place, and a length.
struct Harm {
    at: usize,
    bytes: Vec<u8>,
    length: usize,
}

/// All that is done to a file. The changed files themselves would take more memory than any process that reads them.
fn harms(bytes: &[u8], places: &[usize]) -> Vec<Harm> {
    let length = bytes.len();
    let changed = |at: usize, with: &[u8]| Harm { at, bytes: with.to_vec(), length };
    let mut all: Vec<_> = (0..length.min(512)).map(|at| changed(at, &[bytes[at] ^ 0xff])).collect();
    if places.is_empty() {
        // Old cameras have their directory at the end.
        all = (length.saturating_sub(300)..length).map(|at| changed(at, &[bytes[at] ^ 0x7f])).collect();
        all.extend((0..64).map(|at| changed(at, &[bytes[at] ^ 0xff])));
    }
    all.extend((0..40).map(|i| Harm { at: 0, bytes: Vec::new(), length: length * i / 40 }));
    for &at in places {
        for count in [[0xff; 4], [0, 0, 0, 0x7f], [0x10, 0, 0, 0], [0; 4]] {
            all.push(changed(at, &count));
        }
        // As numbers of eight bytes, in both orders, and another place.
        all.push(changed(at - 2, &[12, 0, 0xff, 0xff, 0xff, 0x1f]));
        all.push(changed(at - 2, &[0, 12, 0x1f, 0xff, 0xff, 0xff]));
        all.push(changed(at + 4, &[0xf0; 4]));
    }
    all
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_broken_file_of_a_camera_ends_in_a_state() {
    let folder = stored().join("decode");
    let crw = stored().join("raw/canon_eos_d30.crw");
    let scenes = stored().join("scenes/X-Trans/patio");
    let raf = std::fs::read_dir(scenes).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_file()).unwrap();
    let mut files = vec![crw, raf];
    for name in ["xtrans_x-t2.raf", "xtrans_x-t30.raf", "bayer_u16_uncompressed.dng", "bayer_12bit_packed.dng"] {
        files.push(folder.join(name));
    }
    files.extend([folder.join("bayer_active_odd.dng"), folder.join("xtrans_active_5_7.dng")]);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let mut places = Vec::new();
        if bytes.starts_with(b"FUJIFILM") {
            let at = |i: usize| u32::from_be_bytes(bytes[i..i + 4].try_into().unwrap()) as usize;
            for base in [at(84) + 12, at(100)] {
                if bytes.get(base).is_some_and(|b| b"IM".contains(b)) {
                    places.extend(counts(&bytes, base));
                }
            }
        } else if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
            places = counts(&bytes, 0);
            assert!(places.len() > 8, "{}", path.display());
        }
        // Some at a time: they are large, and disks of test machines are not.
        for part in harms(&bytes, &places).chunks(((256 << 20) / bytes.len()).clamp(8, 200)) {
            let place = Place::new();
            for (i, harm) in part.iter().enumerate() {
                let mut bytes = bytes.clone();
                for (to, from) in bytes[harm.at..].iter_mut().zip(&harm.bytes) {
                    *to = *from;
                }
                place.write(&format!("in/{i:04}"), &bytes[..harm.length]);
            }
            let states = states(&place, "in");
            assert_eq!(states.len(), part.len());
            for (i, (state, reason)) in states.iter().enumerate() {
                let known = ["ok", "damaged", "unsupported", "too-large", "too-small"].contains(&state.as_str());
                assert!(known, "{} with change {i}: {state}: {reason}", path.display());
            }
        }
    }
    #[cfg(unix)]
    assert!(largest_child() < 1 << 30, "{} bytes", largest_child());
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn scans_tell_what_reading_will_tell() {
    let folder = stored().join("decode");
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let place = Place::new();
    let ran = place.run(&format!("align scan {} --json", folder.display()));
    assert_eq!(ran.code, 3, "{}", ran.err);
    let scan: Value = serde_json::from_str(&ran.out).unwrap();
    let files = scan["sets"][0]["files"].as_array().unwrap();
    for row in expected.as_array().unwrap() {
        let name = row["file"].as_str().unwrap();
        let found = files.iter().find(|f| f["path"].as_str().unwrap().ends_with(name)).unwrap();
        // Only reading the pixels shows that the last of them are missing.
        if name == "bad_truncated.dng" {
            continue;
        }
        let ok = row["outcome"] == "ok";
        assert_eq!(found["state"] == "ok", ok, "{found}");
        if ok {
            assert_eq!(found["width"], row["width"], "{found}");
            let p = row["cfa_w"].as_u64().unwrap() as usize;
            assert_eq!(found["cfa"].as_str().unwrap().len(), p * p, "{found}");
        }
    }
    let linear = files.iter().find(|f| f["path"].as_str().unwrap().ends_with("linear_raw.dng")).unwrap();
    assert_eq!(linear["state"], "unsupported");
}

#[test]
fn doubts_are_told() {
    let place = Place::new();
    for (folder, cfa) in [("X-Trans/wall", align::Cfa::RGGB), ("Bayer/tree", align::testing::xtrans())] {
        let shot = Shot { cfa, ..Shot::default() };
        // The pattern is said to be one column off.
        let o = DngOptions { cfa: cfa.shifted(0, 1), ..DngOptions::default() };
        place.write(&format!("in/{folder}/gt/a.dng"), &write_dng(&Scenery::new(1, 96, 120).mosaic(&shot).view(), &o));
    }
    let scan = place.ok_json("align scan in");
    assert_eq!(scan["doubtful"], 2, "folders for another pattern: {scan}");
    let scan = place.ok_json("align scan in --decode");
    for set in scan["sets"].as_array().unwrap() {
        assert_eq!(set["files"][0]["doubts"].as_array().unwrap().len(), 2, "{set}");
    }
    assert!(place.ok("align scan in --decode").contains("another place of the pattern"));
}

#[test]
fn every_picture_of_a_pair_ends_in_a_state() {
    let place = data();
    let wall = "in/src/Bayer/wall";
    let line = format!(
        "align pair {wall}/gt/gt_0.dng {wall}/notes.txt {wall}/iso1600.dng lost.dng in/src/X-Trans/tree/iso1600.dng \
         {wall}/iso6400.dng"
    );
    let ran = place.run(&format!("{line} --json"));
    assert_eq!(ran.code, 3, "{}", ran.err);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 5);
    assert_eq!(pairs[0]["result"]["rounded"], serde_json::json!([6, -9]));
    assert_eq!(pairs[1]["result"]["rounded"], serde_json::json!([-12, 18]));
    let states: Vec<_> = pairs[2..].iter().map(|p| p["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["unsupported", "missing", "other-camera"]);
    let said = place.run(&line).out;
    assert!(said.contains("notes.txt: unsupported: ") && said.contains("made by"), "{said}");
}

#[test]
fn what_is_left_out_is_named() {
    let place = data();
    let picture = image::RgbImage::from_fn(264, 240, |x, y| image::Rgb([x as u8, y as u8, 99]));
    picture.save(place.path("in/src/Bayer/wall/all colours.png")).unwrap();
    place.write("in/src/Bayer/später/ä b.dng", &photo(1));
    place.write("in/src/loose/a.dng", &photo(1));
    let ran = place.run("align run in -o in/src/out --masks in/src/masks");
    assert_eq!(ran.code, 3, "{}", ran.err);
    for words in [
        "wall/another_camera.dng: other-camera: made by",
        "wall/all colours.png: other-camera: made by a camera that is not named (RGB), where the scene has",
        "wall/notes.txt: unsupported: it is no RAW file",
        "left out, since they have no folder gt: in/src/Bayer/später, in/src/loose\n",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    // Nor is what the command itself has written.
    let again: Value =
        serde_json::from_str(&place.run("align run in -o in/src/out --masks in/src/masks --json").out).unwrap();
    assert_eq!((&again["now"], again["no_scenes"].as_array().unwrap().len()), (&0.into(), 2));
    let scan = place.run("align scan in");
    assert!(scan.out.contains("in/src/Bayer/später, in/src/loose, in/src/masks"), "{}", scan.out);
    assert!(scan.out.contains("made by a camera that is not named (RGB)"), "{}", scan.out);
    place.fails("align run in -o out --sets w?ll", 3, &[]);
    place.fails("align run in -o out --sets none*", 2, &["none of 2 scenes", "--sets"]);
    place.fails("align run in/src/loose -o out", 2, &["there are no scenes in in/src/loose", "`align pair`"]);
    place.fails("align run in/src/loose/a.dng -o out", 2, &["in/src/loose/a.dng: it is no folder", "`align pair`"]);
    place.fails("align scan lost", 5, &["lost", "check the path"]);
    place.write("list.json", b"{}");
    place.fails("align run --sets-file list.json -o out", 2, &["list.json", "gts and noisy"]);
}

#[cfg(unix)]
#[test]
fn files_that_vanish_cost_their_pairs() {
    let place = data();
    let wall = place.path("in/src/Bayer/wall");
    // The folder lists them, and then they are not there, or are no files.
    for (name, to) in [("gone.dng", "nowhere"), ("gt/gone.dng", "nowhere"), ("device.dng", "/dev/null")] {
        std::os::unix::fs::symlink(to, wall.join(name)).unwrap();
    }
    std::fs::create_dir(wall.join("folder.dng")).unwrap();
    let ran = place.run("align run in -o out --json");
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&summary["files_failed"]["missing"], &summary["files_failed"]["unreadable"]), (&2.into(), &1.into()));
    place.run("align run in/src/Bayer/wall -o alone --quiet");
    assert_eq!(lines(&place, "out/alignments.jsonl").len(), 13);
    let record = place.json("out/sets/Bayer_wall.json");
    let state = |name: &str| {
        let files = record["files"].as_array().unwrap();
        files.iter().find(|f| f["path"].as_str().unwrap().ends_with(name)).unwrap()["state"].clone()
    };
    assert_eq!(
        (state("wall/gone.dng"), state("gt/gone.dng"), state("device.dng")),
        ("missing".into(), "missing".into(), "unreadable".into())
    );
}

#[cfg(unix)]
#[test]
fn folders_that_cannot_be_listed_cost_their_scene() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let place = data();
    place.write("in/src/Bayer/closed/gt/a.dng", &photo(1));
    place.write("in/src/Bayer/halfway/gt/a.dng", &photo(1));
    place.write("in/src/Bayer/halfway/b.dng", &photo(1));
    place.write("in/src/secret/x/gt/a.dng", &photo(1));
    std::fs::create_dir(place.path("out")).unwrap();
    let allow = |name: &str, mode: u32| set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
    let closed = ["in/src/Bayer/closed/gt", "in/src/Bayer/halfway", "in/src/secret"];
    for (name, mode) in closed.into_iter().zip([0o000, 0o311, 0o000]).chain([("", 0o755), ("out", 0o777)]) {
        allow(name, mode);
    }
    let mut command = place.command("align run in -o out --json");
    // Nothing is closed to the system's owner.
    if place.path("in").metadata().unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let ran = command.output().unwrap();
    for name in closed {
        allow(name, 0o755);
    }
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(3), "{said}");
    let summary: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&summary["scenes"], &summary["files_failed"]["unreadable"]), (&5.into(), &3.into()), "{summary}");
    // Two scenes as ever; and the ground truth of the one whose other pictures are not seen, with itself.
    assert_eq!(lines(&place, "out/alignments.jsonl").len(), 13 + 1);
    let record = place.json("out/sets/Bayer_closed.json");
    assert!(record["files"][0]["reason"].as_str().unwrap().contains("ermission denied"), "{record}");
}

#[test]
fn names_may_be_as_long_as_the_system_allows() {
    let place = Place::new();
    let name = |letter: &str| format!("{}.dng", letter.repeat(251));
    let scene = format!("in/Bayer/{}", "s".repeat(252));
    let scenery = Scenery::new(1, 128, 128);
    for (path, letters, shift, iso) in [("gt/", ["g", "h"], [0.0, 0.0], 100), ("", ["a", "b"], [4.0, -6.0], 800)] {
        let shot = Shot { shift, iso: f64::from(iso), seed: iso.into(), ..Shot::default() };
        let o = DngOptions { iso, ..DngOptions::default() };
        for letter in letters {
            place.write(&format!("{scene}/{path}{}", name(letter)), &write_dng(&scenery.mosaic(&shot).view(), &o));
        }
    }
    place.ok("align run in -o out --masks out/masks --descriptor out/d.yaml --report");
    let pairs = lines(&place, "out/alignments.jsonl");
    assert_eq!(pairs.len(), 8);
    // What is left of their names is the same, and the files are not.
    let masks: std::collections::BTreeSet<_> = pairs.iter().map(|p| p["use_of"]["mask"].to_string()).collect();
    assert_eq!((masks.len(), place.list("out/masks").len()), (8, 8));
    assert_eq!(place.list("out/report").len(), 2);
    place.ok("align apply out/alignments.jsonl --to cut");
    let again = place.ok_json("align run in -o out --masks out/masks --descriptor out/d.yaml --report --resume");
    assert_eq!(again["now"], 0);
}

#[cfg(unix)]
#[test]
fn a_full_disk_costs_what_was_not_written() {
    let place = data();
    place.run("align run in -o whole --quiet");
    // No file may become larger than this, which is too little for the record of a scene.
    let line = "trap '' XFSZ; ulimit -f 2; exec \"$0\" align run in -o out --quiet";
    let full = std::process::Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_lockstep")])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!([Some(3), Some(5)].contains(&full.status.code()), "{:?}: {said}", full.status);
    assert!(said.contains("cannot write") && !said.contains("panicked"), "{said}");
    assert!(place.list("out/sets").is_empty(), "neither records nor halves of them");
    assert_eq!(place.run("align run in -o out --quiet").code, 3, "the data has a bad file");
    assert_eq!(place.read("out/alignments.jsonl"), place.read("whole/alignments.jsonl"));
    assert_eq!(place.list("out/sets"), place.list("whole/sets"));
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on() {
    let place = Place::new();
    place.ok("align selftest --write drawn");
    place.ok("align run drawn -o whole --tiles --quiet");
    let line = "align run drawn -o out --threads 1 --tiles";
    let mut child = place.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = place.path("out/done.jsonl");
    while child.try_wait().unwrap().is_none() && !journal.metadata().is_ok_and(|m| m.len() > 0) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Every scene that is done can be read, although the run never came to its end.
    let done = lines(&place, "out/done.jsonl").len();
    assert!((1..6).contains(&done), "{done} scenes");
    let text = String::from_utf8(place.read("out/alignments.jsonl")).unwrap();
    let whole: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sets: std::collections::BTreeSet<_> = whole.iter().map(|pair| pair["set"].to_string()).collect();
    assert!(sets.len() >= done, "{} of {done} scenes", sets.len());
    // A line that was cut short counts for nothing.
    place.write("out/alignments.jsonl", format!("{text}{{\"schema\": 1, \"se").as_bytes());
    let rest = place.ok_json("align run drawn -o out --tiles --resume");
    assert!(rest["now"].as_u64().unwrap() as usize <= 6 - done, "{rest}");
    assert_eq!(place.read("out/alignments.jsonl"), place.read("whole/alignments.jsonl"));
    for name in place.list("whole/sets") {
        assert_eq!(place.read(&format!("out/sets/{name}")), place.read(&format!("whole/sets/{name}")), "{name}");
    }
}
