//! Style transfer: options that go together or do not, places, progress, frames and measurements.

use std::io::Write;
use std::process::Stdio;

use super::pixels;
use super::style::{ONE, place};

/// Frames and pictures are mixed in the same numbers: before they become bytes.
#[test]
fn frames_are_mixed_as_pictures_are() {
    let place = place();
    let raw = pixels(&place.path("colour.png"));
    let frames = [raw.clone(), raw.iter().rev().copied().collect(), raw.iter().map(|v| v / 2).collect()];
    for how in ["", "--round", "--strength 0.37", "--original-colors", "--strength 0.6 --original-colors --round"] {
        let mut child = place
            .command(&format!("style pipe {ONE} --width 40 --height 32 {how}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&frames.concat()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{how}");
        let mut wanted = Vec::new();
        for frame in &frames {
            image::RgbImage::from_raw(40, 32, frame.clone()).unwrap().save(place.path("frame.png")).unwrap();
            place.ok(&format!("style apply {ONE} --in frame.png --out styled.png {how}"));
            wanted.extend(pixels(&place.path("styled.png")));
        }
        assert!(out.stdout == wanted, "{how}");
    }
}

/// A frame that is cut off costs that frame, not those that came whole before it.
#[test]
fn frames_before_one_that_is_cut_off_are_written() {
    let place = place();
    let frame = pixels(&place.path("colour.png"));
    place.ok(&format!("style apply {ONE} --in colour.png --out styled.png"));
    let styled = pixels(&place.path("styled.png"));
    // Fewer than are under way at a time, as many as wait, and more.
    for whole in [0, 1, 2, 3, 11] {
        let mut child = place
            .command(&format!("style pipe {ONE} --backend cpu --width 40 --height 32"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sent = frame.repeat(whole);
        sent.extend(&frame[..100]);
        child.stdin.take().unwrap().write_all(&sent).unwrap();
        let out = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(5) && told.contains("100 of 3840 bytes"), "{whole}: {told}");
        assert!(out.stdout == styled.repeat(whole), "{whole} frames: {} bytes", out.stdout.len());
    }
}

/// A strength of 0 gives the bytes that came, in every format.
#[test]
fn frames_without_style_are_the_same_bytes() {
    let place = place();
    for (pix, bytes) in [("rgb24", 24), ("rgba", 32), ("nv12", 12)] {
        // Two frames of 16 x 10 with values that no conversion gives.
        let sent: Vec<u8> = (0..2 * 160 * bytes / 8u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        let mut child = place
            .command(&format!("style pipe {ONE} --width 16 --height 10 --pix {pix} --strength 0"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&sent).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stdout == sent, "{pix}");
    }
}

/// A picture whose activations have no room is worked on in strips on the CPU, too, and that is said.
#[test]
fn strips_are_told() {
    let place = place();
    let photo = image::open(place.path("colour.png")).unwrap().resize_exact(400, 300, image::imageops::Triangle);
    photo.save(place.path("large.png")).unwrap();
    let line = format!("style apply {ONE} --backend cpu --in large.png");
    for (memory, strips) in [("8M", true), ("500M", false)] {
        let told = place.ok(&format!("{line} --out {memory}.png --memory {memory}"));
        assert_eq!(told.contains("large.png: worked on in strips"), strips, "{memory}: {told}");
        assert_eq!(place.ok_json(&format!("{line} --out {memory}.png --memory {memory}"))["in_strips"], strips);
        let bench = format!("style bench {ONE} --backend cpu --sizes 300x400 --samples 1 --memory {memory}");
        assert_eq!(place.ok_json(&bench)["rows"][0]["in_strips"], strips);
    }
    assert_eq!(place.read("8M.png"), place.read("500M.png"));
}

/// What was made with other weights or another mask is made again, whatever their files are called.
#[test]
fn weights_and_masks_that_were_replaced_are_noticed() {
    let place = place();
    for name in ["in/a.png", "in/b.png"] {
        place.crop("chelsea.png", (10, 10, 24, 20), name);
    }
    place.crop("camera.png", (10, 10, 24, 20), "mask.png");
    let line = format!("style apply {ONE} --mask mask.png --in in --out out");
    let done = || place.ok_json(&line)["items"].as_array().unwrap().len();
    assert_eq!((done(), done()), (2, 0));
    let first = pixels(&place.path("out/a.png"));
    std::fs::copy(place.path("weights/two.safetensors"), place.path("weights/one.safetensors")).unwrap();
    assert_eq!((done(), done()), (2, 0));
    let second = pixels(&place.path("out/a.png"));
    assert!(first != second);
    place.crop("camera.png", (60, 90, 24, 20), "mask.png");
    assert_eq!((done(), done()), (2, 0));
    assert!(second != pixels(&place.path("out/a.png")));
}

/// Beyond the range of `f16` the other precision is used, and the document says which.
#[test]
#[ignore = "needs a CUDA device"]
fn documents_say_what_was_computed_with_on_cuda() {
    let place = place();
    let mut bytes = place.read("weights/one.safetensors");
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let [from, to] = [0, 1].map(|i| data + header["conv1.conv2d.weight"]["data_offsets"][i].as_u64().unwrap() as usize);
    for value in bytes[from..to].as_chunks_mut::<4>().0 {
        *value = (f32::from_le_bytes(*value) * 1e4).to_le_bytes();
    }
    place.write("weights/large.safetensors", &bytes);
    for (model, precision) in [("one", "f16"), ("large", "f32")] {
        let line = format!("style apply --model weights/{model}.safetensors --in colour.png --out x.png");
        assert_eq!(place.ok_json(&format!("{line} --backend cuda --precision f16"))["precision"], precision);
    }
}

#[test]
fn options_that_do_not_fit_tell_what_does() {
    let place = place();
    for command in ["apply --in colour.png --out x.png", "pipe --width 8 --height 8", "bench"] {
        place.fails(&format!("style {command} --precision tf32"), 2, &["tf32 is not there", "Write f16"]);
        place.fails(&format!("style {command} --precision f8"), 2, &["`f8` is no precision"]);
    }
    for (option, word) in [("--strength", "is no strength"), ("--scale", "is no factor")] {
        for value in ["-0.1", "-1e9", "nan", "inf", "x"] {
            place.fails(&format!("style apply --in colour.png --out x.png {option} {value}"), 2, &[value, word]);
        }
    }
    place.fails("style pipe --width 8 --height 8 --strength -1", 2, &["`-1` is no strength"]);
    place.fails(
        &format!("style apply {ONE} --in colour.png --out x.png --backend cpu --memory 100"),
        6,
        &["out of memory", "a smaller --size"],
    );
    place.fails(&format!("style apply {ONE} --in colour.png --out gray.png/x.png"), 5, &["gray.png is a file"]);
    let two = format!("{ONE} --model weights/two.safetensors");
    place.fails(
        &format!("style apply {two} --in colour.png --out x.png"),
        2,
        &["would hide", "--mask for each", "--blend"],
    );
    assert!(!place.path("x.png").exists());
    // The name that the memory's limit has for people who think of tiles.
    place.ok(&format!("style apply {ONE} --in colour.png --out x.png --tile-mem 200M"));
    place.fails(&format!("style apply {ONE} --in colour.png --out x.png --tile-mem much"), 2, &["is no size"]);
}

#[test]
fn places_that_do_not_fit_are_named() {
    let place = place();
    place.write("in/empty.png", b"");
    place.crop("chelsea.png", (30, 10, 24, 20), "in/good.png");
    place.crop("chelsea.png", (30, 10, 24, 20), "in/deep/good.png");
    // A mask is read once, before any picture.
    place.fails(&format!("style apply {ONE} --in in --out out --mask in/empty.png"), 2, &["in/empty.png: the file is"]);
    assert!(!place.path("out").exists());
    place.fails("style apply --model weights --in colour.png --out x.png", 2, &["a folder", "STYLE_MODELS=weights"]);
    place.fails("style info weights", 2, &["a folder"]);
    place.fails("style models --dir nowhere", 5, &["nowhere"]);
    place.fails("style models --dir colour.png", 2, &["colour.png: this is no folder"]);
    // A folder with the name of a model hides it not.
    place.write("candy16/notes.txt", b"");
    place.ok("style apply --model candy16 --in colour.png --out x.png");
    // What no machine has room for.
    image::GrayImage::from_pixel(3000, 3000, image::Luma([9])).save(place.path("large.png")).unwrap();
    place.fails(&format!("style apply {ONE} --in large.png --out x.png --scale 100"), 6, &["large.png", "--scale"]);
    let left_out = place.run(&format!("style apply {ONE} --in in --out out"));
    assert!(left_out.code == 3 && left_out.out.contains("--recursive takes them"), "{}", left_out.out);
    std::fs::remove_file(place.path("in/empty.png")).unwrap();
    // The output would be an input the next time.
    place.fails(&format!("style apply {ONE} --in in --out in/new/out --recursive"), 2, &["lies inside the input"]);
    assert!(!place.path("in/new").exists());
    // A folder without pictures; that those inside it are not searched would not be true here.
    place.write("none/deep/notes.txt", b"no picture");
    place.fails(&format!("style apply {ONE} --in none --out out --recursive"), 2, &["no pictures in", "notes.txt"]);
    assert!(!place.run(&format!("style apply {ONE} --in none --out out --recursive")).err.contains("not searched"));
    // What is there already is left alone, all of it too.
    place.ok(&format!("style apply {ONE} --in in --out out --recursive --skip-existing"));
    let all = place.ok_json(&format!("style apply {ONE} --in in --out out --recursive --skip-existing"));
    assert_eq!((all["items"].as_array().unwrap().len(), all["resumed"].as_u64()), (0, Some(2)));
    let one = format!("style apply {ONE} --in in/good.png --out out/good.png --skip-existing");
    assert!(place.ok(&one).contains("nothing is left to do"));
}

/// Names of a folder are kept to the letter, but for endings of what cannot be written.
#[test]
fn names_are_kept() {
    let place = place();
    for (name, to) in [("x.png", "IMG 1.PNG"), ("x.jpg", "b.JPEG"), ("x.tif", "c.d.Tiff"), ("x.pgm", "e.PGM")] {
        place.crop("camera.png", (30, 10, 24, 20), name);
        place.write(&format!("in/{to}"), &place.read(name));
    }
    place.ok(&format!("style apply {ONE} --in in --out out"));
    assert_eq!(place.list("out"), ["IMG 1.PNG", "b.JPEG", "c.d.Tiff", "done.jsonl", "e.png"]);
    place.ok(&format!("style apply {ONE} --in in --out jpg --ext jpg"));
    assert_eq!(place.list("jpg"), ["IMG 1.jpg", "b.jpg", "c.d.jpg", "done.jsonl", "e.jpg"]);
    #[cfg(unix)]
    place.fails(
        &format!("style apply {ONE} --in /dev/null --out x.png"),
        2,
        &["neither a file nor a folder", "--in -"],
    );
}

#[cfg(unix)]
#[test]
fn links_to_nothing_are_failures_and_leftovers_go() {
    let place = place();
    place.crop("chelsea.png", (30, 10, 24, 20), "in/good.png");
    place.crop("chelsea.png", (30, 10, 24, 20), "in/deep/good.png");
    std::os::unix::fs::symlink("nowhere.png", place.path("in/lost.png")).unwrap();
    // As if a process had been killed long ago.
    let leftovers = ["out/.good.png.4294967295.part", "out/deep/.good.png.4294967295.part"];
    for leftover in leftovers {
        place.write(leftover, b"half");
        let file = std::fs::File::options().write(true).open(place.path(leftover)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let ran = place.run(&format!("style apply {ONE} --in in --out out --recursive"));
    assert!(ran.code == 3 && ran.err.contains("lost.png"), "{}{}", ran.out, ran.err);
    assert_eq!(place.list("out"), ["deep", "done.jsonl", "good.png"]);
    assert_eq!(place.list("out/deep"), ["good.png"]);
}

/// Standard error of a test is no terminal.
#[test]
fn progress_without_a_terminal_is_plain_lines() {
    let place = place();
    for name in ["in/a.png", "in/b.png", "in/c.png"] {
        place.crop("chelsea.png", (10, 10, 24, 20), name);
    }
    let line = format!("style apply {ONE} --in in --out out --backend cpu");
    let ran = place.run(&line);
    let told = ran.err.lines().last().unwrap();
    assert!(ran.code == 0 && told.starts_with("3/3 pictures, ") && told.contains(" pictures/s, "), "{}", ran.err);
    // All pixels of all pictures in that time, but for the digits: 480 are few.
    let rate = told.rsplit_once(", ").and_then(|(_, words)| words.strip_suffix(" megapixels/s"));
    assert!(rate.is_some_and(|rate| rate.parse::<f64>().is_ok()), "{told}");
    assert!(ran.err.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", ran.err);
    assert_eq!(place.run(&format!("{line} --force --quiet")).err, "");
    assert_eq!(place.run(&format!("{line} --force --json")).err, "");
}

#[test]
fn bench_says_what_was_measured_at_which_clocks() {
    let place = place();
    let bench = |more: &str| place.ok_json(&format!("style bench --backend cpu --sizes 12x16 --samples 2 {more}"));
    let told = bench("");
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(
        (rows.len(), rows[0]["kernel"].as_str(), rows[0]["shape"].as_str()),
        (1, Some("style"), Some("1x12x16"))
    );
    assert_eq!(rows[0]["flop"], 266_624.0 * 192.0);
    // What a processor does at best is not known.
    assert!(rows[0]["floor_share"].is_null() && told["rates"].is_null() && told["clocks"]["controlled"] == false);
    // Ratios to an earlier run, and rows that it does not have.
    place.write("before.json", serde_json::to_string(&told).unwrap().as_bytes());
    let both = bench("--sizes 20x16 --compare before.json");
    assert!(both["rows"][0]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0) && both["rows"][1]["ratio"].is_null());
    let words = place.ok("style bench --backend cpu --sizes 20x16 --samples 2 --compare before.json");
    assert!(words.contains("not measured before") && words.contains("floor: not known"), "{words}");
    let told = bench("--stream");
    let rows = told["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[1]["kernel"].as_str()), (2, Some("style-stream")));
    assert_eq!(rows[1]["compute_s"], rows[0]["median_s"]);
    let told = bench(&format!("{ONE} --batch 1,2"));
    assert_eq!(told["rows"][1]["kernel"], "style-nc4-1");
    assert_eq!(bench("--model vit:candy")["rows"][0]["kernel"], "style-vit");
    place.fails("style bench --stream --batch 2", 2, &["cannot be used with"]);
    // More than any machine has, told before any of it is taken.
    place.fails("style bench --sizes 65536x65536 --batch 1024", 6, &["1024x65536x65536", "smaller --sizes"]);
}
