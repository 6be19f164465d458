//! Bad input: the right exit code, a message with file, value and remedy, and nothing left behind.

use super::{Place, npy_f32};

/// Runs a failing command and checks that it left no new file, not even a hidden one.
fn fails_and_leaves_nothing(place: &Place, line: &str, code: i32, words: &[&str]) {
    let before = place.list(".");
    place.fails(line, code, words);
    assert_eq!(place.list("."), before, "`{line}` left something behind");
}

/// Standard error of a test is no terminal: a message is one line there, and the remedy another.
#[test]
fn messages_are_not_wrapped_where_nobody_looks() {
    let place = Place::with_pictures();
    let name = format!("{}/no such weights.safetensors", ["a long name of a folder"; 5].join("/"));
    place.write(&name, b"");
    let out = place.command("style info").arg(&name).output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(2) && told.lines().count() == 1, "{told}");
    assert!(told.contains(&name) && told.contains("found an empty file; copy or download it again"), "{told}");
    let out = place.command("style info").arg(format!("{name}.pth")).output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(5) && told.lines().count() == 2, "{told}");
}

#[test]
fn options_that_make_no_sense() {
    let place = Place::with_pictures();
    for (options, words) in [
        ("-l 2,9", &["depth 9", "scale 2", "0 to 8"][..]),
        ("-l 2;3", &["2;3", "2,3,3,4"]),
        ("--dfilt dmaxflt7", &["dmaxflt7", "dmaxflat7"]),
        ("--pfilt maxflt", &["maxflt", "maxflat"]),
        ("--dfilt haar", &["haar", "perfect reconstruction"]),
        ("--geometry wegde", &["wegde", "wedge"]),
        ("--engine fast", &["fast", "spectral"]),
        ("--engine ladder --dfilt dmaxflat7", &["ladder", "pkva"]),
        ("--backend gpu", &["gpu", "cuda:N"]),
        ("--memory lots", &["lots", "500M"]),
        ("--shard 4/4", &["3/4"]),
        ("--shard auto", &["SLURM_ARRAY_TASK_ID", "JOB_COMPLETIONS"]),
    ] {
        fails_and_leaves_nothing(&place, &format!("nsct dec gray.png -o c.npy {options}"), 2, words);
    }
    fails_and_leaves_nothing(&place, "nsct denoise gray.png -o d.png --sigma -3", 2, &["-3", "not negative"]);
    fails_and_leaves_nothing(&place, "nsct denoise gray.png -o d.png --mode soft", 2, &["soft", "hard"]);
    fails_and_leaves_nothing(&place, "nsct denoise gray.png -o d.png -l none", 2, &["sigma"]);
    fails_and_leaves_nothing(&place, "nsct fuse gray.png -o d.png", 2, &["2"]);
    fails_and_leaves_nothing(&place, "nsct features gray.png -o f.npy --stat median", 2, &["median", "energy"]);
    fails_and_leaves_nothing(&place, "nsct show gray.png -o s.png --channel 3", 2, &["--channel 3", "1"]);
}

#[test]
fn arrays_that_are_no_pictures() {
    let place = Place::new();
    place.write("rank1.npy", &npy_f32(&[6], &[0.0; 6]));
    place.write("rank5.npy", &npy_f32(&[1, 1, 1, 2, 3], &[0.0; 6]));
    place.write("empty.npy", &npy_f32(&[0, 4], &[]));
    place.write("nan.npy", &npy_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, f32::NAN, f32::INFINITY]));
    place.write("short.npy", &npy_f32(&[4, 4], &[0.0; 9]));
    place.write("text.npy", b"1,2,3\n4,5,6\n");
    for (file, words) in [
        ("rank1.npy", &["rank 1", "[rows, columns]"][..]),
        ("rank5.npy", &["rank 5", "rec"]),
        ("empty.npy", &["no pixels"]),
        ("nan.npy", &["2 of 6", "not finite", "row 1, column 1", "nan_to_num"]),
        ("short.npy", &["truncated", "64 bytes", "36"]),
        ("text.npy", &["no .npy file"]),
    ] {
        let mut all = vec![file];
        all.extend(words);
        for command in ["dec", "features"] {
            fails_and_leaves_nothing(&place, &format!("nsct {command} {file} -o c.npy"), 2, &all);
        }
        fails_and_leaves_nothing(&place, &format!("nsct denoise {file} -o c.npy"), 2, &all);
    }
    fails_and_leaves_nothing(&place, "nsct show nan.npy -o s.png", 2, &["nan.npy"]);
}

#[test]
fn truncated_and_foreign_files() {
    let place = Place::with_pictures();
    let whole = place.read("gray.png");
    place.write("cut.png", &whole[..whole.len() / 2]);
    place.write("empty.png", b"");
    place.write("notes.png", b"this is no picture at all");
    fails_and_leaves_nothing(&place, "nsct denoise cut.png -o d.png", 2, &["cut.png", "truncated"]);
    fails_and_leaves_nothing(&place, "nsct dec empty.png -o c.npy", 2, &["empty.png", "empty"]);
    fails_and_leaves_nothing(&place, "nsct dec notes.png -o c.npy", 2, &["notes.png"]);
    fails_and_leaves_nothing(&place, "nsct dec lost.png -o c.npy", 5, &["lost.png", "check the path"]);
    fails_and_leaves_nothing(&place, "nsct fuse gray.png lost.png -o f.png", 5, &["lost.png"]);
    fails_and_leaves_nothing(
        &place,
        "nsct fuse gray.png colour.png -o f.png",
        2,
        &["colour.png", "48 × 40", "40 × 32"],
    );
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = Place::with_pictures();
    for (output, code, words) in [
        ("no/folder/d.png", 5, &["d.png", "create the folder"][..]),
        ("gray.png/d.png", 5, &["d.png"]),
        ("d.gif", 2, &[".gif", "can be written"]),
        ("d", 2, &["no file ending"]),
        ("d.ppm", 2, &["pgm"]),
    ] {
        fails_and_leaves_nothing(&place, &format!("nsct denoise gray.png -o {output} -l 1 --dfilt pkva"), code, words);
    }
    fails_and_leaves_nothing(&place, "nsct dec gray.png -o c.png -l 1 --dfilt pkva", 2, &["c.png", ".npy", "--png"]);
    fails_and_leaves_nothing(&place, "nsct show gray.png -o no/sheet.png -l 1 --dfilt pkva", 5, &["sheet.png"]);
    fails_and_leaves_nothing(&place, "demo -o gray.png/demo --backend cpu", 5, &["demo"]);
}

#[test]
fn coefficients_that_do_not_fit() {
    let place = Place::with_pictures();
    place.ok("nsct dec gray.png -o c.npy -l 1,2 --dfilt pkva");
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o b.png -l 2", 2, &["7 planes", "[2] have 5", "--levels"]);
    fails_and_leaves_nothing(&place, "nsct rec gray.png -o b.png", 2, &["gray.png", ".npy"]);
    place.write("alone.npy", &place.read("c.npy"));
    fails_and_leaves_nothing(&place, "nsct rec alone.npy -o b.png", 2, &["alone.json", "--levels"]);
    place.ok("nsct rec alone.npy -o b.png -l 1,2 --dfilt pkva");
    place.write("broken.npy", &place.read("c.npy"));
    place.write("broken.json", b"{\"format\": \"something else\"}");
    fails_and_leaves_nothing(&place, "nsct rec broken.npy -o x.png", 2, &["broken.json", "nsct dec"]);
    let mut damaged = place.read("c.npy");
    let at = damaged.len() - 4;
    damaged[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("c.npy", &damaged);
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o x.png", 2, &["s2d4", "row 39, column 47"]);
}

#[test]
fn failures_as_json() {
    let place = Place::new();
    let ran = place.run("nsct dec lost.png -o c.npy --json");
    let failure: serde_json::Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!((ran.code, &failure["exit"]), (5, &serde_json::json!(5)));
    assert!(failure["error"].as_str().unwrap().contains("lost.png") && ran.out.is_empty());
}

#[test]
fn a_backend_that_is_not_there() {
    let place = Place::with_pictures();
    // No machine has a thousand of them.
    let ran = place.run("nsct dec gray.png -o c.npy --backend cuda:1000");
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("doctor") || ran.err.contains("--features"), "{}", ran.err);
    assert!(!place.path("c.npy").exists());
}

#[test]
fn files_that_claim_to_be_huge() {
    let place = Place::with_pictures();
    place.write("huge.pgm", b"P5 1000000 1000000 255\n1234");
    place.write("many/huge.pgm", b"P5 1000000 1000000 255\n1234");
    std::fs::copy(place.path("gray.png"), place.path("many/small.png")).unwrap();
    fails_and_leaves_nothing(&place, "nsct dec huge.pgm -o c.npy", 6, &["huge.pgm", "1000000", "GiB"]);
    // One of them does not stop the others.
    place.fails("nsct dec many -o out -l 1", 3, &["huge.pgm"]);
    assert!(place.list("out").contains(&"small.npy".to_owned()));
    let zeros = npy_f32(&[0, usize::MAX, usize::MAX], &[]);
    place.write("zeros.npy", &zeros);
    fails_and_leaves_nothing(&place, "nsct dec zeros.npy -o c.npy --layout hwc", 2, &["zeros.npy", "no pixels"]);
    assert!(place.ok("nsct info --size 100000x100000 -l 2 --backend cpu").contains("estimated"));
}

#[test]
fn what_would_be_lost_is_refused() {
    let place = Place::with_pictures();
    place.ok("nsct dec gray.png -o c.npy -l 1");
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o c.npy", 2, &["c.npy", "is the input"]);
    let values: Vec<f32> = (0..48).map(|i| i as f32 / 47.0).collect();
    place.write("unit.npy", &npy_f32(&[6, 8], &values));
    fails_and_leaves_nothing(&place, "nsct denoise unit.npy -o d.png -l 1 --sigma 0.1", 2, &["0..255", "unit.npy"]);
    place.write("none/readme.txt", b"no picture");
    fails_and_leaves_nothing(&place, "nsct dec none -o out", 2, &["none", "readme.txt"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_small_file_with_many_pixels_stays_inside_the_limit_of_the_process() {
    let place = Place::new();
    image::GrayImage::new(9000, 9000).save(place.path("flat.png")).unwrap();
    // 81 million pixels, widened: 1.4 GB, which this shell does not grant.
    let line = "ulimit -v 1200000; exec \"$0\" nsct dec flat.png -o c.npy --backend cpu --threads 1";
    let program = env!("CARGO_BIN_EXE_lockstep");
    let output = std::process::Command::new("sh").args(["-c", line, program]).current_dir(place.path(".")).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("flat.png") && said.contains("9000 x 9000"), "{said}");
    assert_eq!(place.list("."), ["flat.png"]);
}

#[test]
fn outputs_are_never_inputs() {
    let place = Place::with_pictures();
    std::fs::copy(place.path("gray.png"), place.path("two.png")).unwrap();
    let before = place.read("two.png");
    for line in ["denoise two.png -o two.png", "show two.png -o two.png", "fuse gray.png two.png -o two.png"] {
        fails_and_leaves_nothing(&place, &format!("nsct {line}"), 2, &["two.png", "is"]);
    }
    assert_eq!(place.read("two.png"), before);
    for command in ["rec gray.png", "denoise gray.png", "fuse gray.png two.png"] {
        place.fails(&format!("nsct {command} -o out --format foo"), 2, &["foo", "png"]);
    }
}

#[test]
fn sidecars_that_do_not_belong() {
    let place = Place::with_pictures();
    place.ok("nsct dec gray.png -o c.npy -l 1 --dfilt pkva");
    let good = String::from_utf8(place.read("c.json")).unwrap();
    place.write("c.json", good.replace("\"version\": 1", "\"version\": 9").as_bytes());
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o b.png", 2, &["c.json", "version", "--levels"]);
    let mut other: serde_json::Value = serde_json::from_str(&good).unwrap();
    other["shape"][3] = 41.into();
    place.write("c.json", other.to_string().as_bytes());
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o b.png", 2, &["c.json", "41", "nsct dec"]);
    place.write("c.json", b"{");
    fails_and_leaves_nothing(&place, "nsct rec c.npy -o b.png", 2, &["c.json", "no JSON", "nsct dec"]);
    place.write("c.json", good.as_bytes());
    assert!(!place.run("nsct rec c.npy -o b.png").err.contains("pkva"));
    assert!(place.run("nsct rec c.npy -o b.png --dfilt dmaxflat7").err.contains("pkva"));
}

#[test]
fn what_is_said_is_right() {
    let place = Place::with_pictures();
    place.write("text.png", b"this is a text");
    fails_and_leaves_nothing(&place, "nsct dec text.png -o c.npy", 2, &["text.png", "this is no PNG"]);
    image::GrayImage::new(1, 1).save(place.path("dot.png")).unwrap();
    fails_and_leaves_nothing(&place, "nsct denoise dot.png -o d.png", 2, &["dot.png", "too small", "--sigma"]);
    image::RgbaImage::new(9, 9).save(place.path("clear.png")).unwrap();
    assert!(place.ok("nsct denoise clear.png -o d.jpg --sigma 1 -l 1").contains("transparency"));
    assert!(!place.ok("nsct denoise clear.png -o d.png --sigma 1 -l 1").contains("transparency"));
    place.fails("nsct info -l 0 --responses r.png", 2, &["--levels"]);
    place.fails("nsct bench --size 20000 --batch 100 --backend cpu", 6, &["free", "--size"]);
    let help = place.ok("nsct dec --help");
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("exit code 6"), "{help}");
}
