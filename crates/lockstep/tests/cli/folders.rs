//! Folders: resuming, shards, mixed contents.

use super::{Place, read_npy};

/// `in/` with five small photographs and a file that is none.
fn folder() -> Place {
    let place = Place::new();
    for i in 0..5 {
        place.crop("camera.png", (40 * i, 60 * i, 24, 20), &format!("in/p{i}.png"));
    }
    place.write("in/notes.txt", b"not a picture");
    place.write("in/.hidden.png", b"nor this");
    place
}

const FAST: &str = "-l 1 --dfilt pkva --backend cpu";

#[test]
fn finished_pictures_are_skipped() {
    let place = folder();
    let run = |more: &str| place.ok_json(&format!("nsct denoise in -o out --sigma 5 {FAST} {more}"));
    let first = run("");
    assert_eq!((first["items"].as_array().unwrap().len(), first["resumed"].as_u64()), (5, Some(0)));
    assert_eq!(first["ignored"], serde_json::json!(["notes.txt"]));
    assert_eq!(place.list("out"), ["done.jsonl", "p0.png", "p1.png", "p2.png", "p3.png", "p4.png"]);
    assert_eq!(run("")["resumed"], 5);
    // What a crash leaves: a picture that is not in the list, a line cut short, a hidden part.
    let lines = String::from_utf8(place.read("out/done.jsonl")).unwrap();
    let kept: Vec<_> = lines.lines().take(3).collect();
    place.write("out/done.jsonl", format!("{}\n{{\"item\": \"p3.p", kept.join("\n")).as_bytes());
    place.write("out/.p4.png.123.part", b"half");
    std::fs::remove_file(place.path("out/p4.png")).unwrap();
    let resumed = run("");
    assert_eq!((resumed["resumed"].as_u64(), resumed["items"].as_array().unwrap().len()), (Some(3), 2));
    assert_eq!(run("--mode hard")["resumed"], 0, "other settings are other results");
    assert_eq!(run("--mode hard --force")["resumed"], 0);
}

#[test]
fn shards_together_are_the_whole() {
    let place = folder();
    place.ok(&format!("nsct dec in -o whole {FAST}"));
    for i in 0..3 {
        place.ok(&format!("nsct dec in -o parts {FAST} --shard {i}/3"));
    }
    let names = place.list("whole");
    assert_eq!(names.len(), 11);
    assert_eq!(place.list("parts"), names);
    for name in names.iter().filter(|n| *n != "done.jsonl") {
        assert!(place.read(&format!("whole/{name}")) == place.read(&format!("parts/{name}")), "{name}");
    }
    // More shards than pictures: some have nothing to do, and that is no error.
    place.ok(&format!("nsct dec in -o many {FAST} --shard 6/7"));
    assert_eq!(place.list("many"), Vec::<String>::new());
}

#[test]
fn launchers_set_the_shard() {
    let place = folder();
    let status = |variables: &[(&str, &str)], output: &str| {
        let line = format!("nsct features in -o {output} {FAST} --shard auto");
        place.command(&line).envs(variables.iter().copied()).output().unwrap().status
    };
    for rank in ["0", "1"] {
        assert!(status(&[("OMPI_COMM_WORLD_RANK", rank), ("OMPI_COMM_WORLD_SIZE", "2")], "mpi").success());
    }
    for id in ["10", "12"] {
        let array = [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_COUNT", "2"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
        ];
        assert!(status(&array, "slurm").success());
    }
    place.ok(&format!("nsct features in -o one {FAST}"));
    for folder in ["mpi", "slurm"] {
        assert_eq!(place.list(folder), place.list("one"), "{folder}");
        // The table appears with the last shard.
        assert!(place.read(&format!("{folder}/features.npy")) == place.read("one/features.npy"));
    }
    assert_eq!(read_npy(&place.read("one/features.npy")).0, [5, 1, 1, 3, 1]);
    assert_eq!(place.json("one/features.json")["pictures"][4], "p4.png");
    let wrong = [("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "2")];
    assert_eq!(status(&wrong, "wrong").code(), Some(2));
}

#[test]
fn one_bad_picture_does_not_stop_the_others() {
    let place = folder();
    let whole = place.read("in/p2.png");
    place.write("in/p2.png", &whole[..whole.len() / 2]);
    place.write("in/flat.npy", &super::npy_f32(&[3], &[0.0; 3]));
    let line = format!("nsct denoise in -o out --sigma 5 {FAST}");
    place.fails(&line, 3, &["p2.png", "truncated", "flat.npy", "rank 1"]);
    assert_eq!(place.list("out"), ["done.jsonl", "p0.png", "p1.png", "p3.png", "p4.png"]);
    let about: serde_json::Value = serde_json::from_str(&place.run(&format!("{line} --json")).out).unwrap();
    assert_eq!((about["resumed"].as_u64(), about["failed"].as_array().unwrap().len()), (Some(4), 2));
    place.write("in/p2.png", &whole);
    std::fs::remove_file(place.path("in/flat.npy")).unwrap();
    assert_eq!(place.ok_json(&line)["items"].as_array().unwrap().len(), 1);
}

#[test]
fn folders_that_cannot_work() {
    let place = folder();
    place.write("empty/readme.txt", b"");
    place.write("twice/a.png", b"");
    place.write("twice/a.jpg", b"");
    place.fails("nsct dec empty -o out", 2, &["nothing in empty", "readme.txt"]);
    place.fails("nsct dec twice -o out", 2, &["a.jpg and a.png", "rename"]);
    place.fails("nsct dec in -o in", 2, &["is the input folder"]);
    place.fails("nsct dec in -o in/p0.png", 2, &["is a file"]);
    place.fails("nsct dec nowhere -o out", 5, &["nowhere"]);
    place.fails("nsct fuse in in/p0.png -o out", 2, &["files and folders"]);
    assert!(!place.path("out").exists());
}

#[test]
fn folders_go_there_and_back() {
    let place = folder();
    place.ok(&format!("nsct dec in -o c {FAST}"));
    place.ok("nsct rec c -o back --backend cpu");
    for i in 0..5 {
        let pixels = |folder: &str| super::pixels(&place.path(&format!("{folder}/p{i}.png")));
        assert_eq!(pixels("back"), pixels("in"));
    }
    std::fs::create_dir(place.path("other")).unwrap();
    for i in 0..4 {
        place.write(&format!("other/p{i}.png"), &place.read(&format!("in/p{i}.png")));
    }
    // p4 has no partner.
    place.fails(&format!("nsct fuse in other -o fused {FAST}"), 3, &["other/p4.png"]);
    assert_eq!(place.list("fused"), ["done.jsonl", "p0.png", "p1.png", "p2.png", "p3.png"]);
}

#[test]
fn one_file_belongs_to_the_first_shard() {
    let place = folder();
    place.ok(&format!("nsct dec in/p0.png -o c.npy {FAST} --shard 1/4"));
    assert!(!place.path("c.npy").exists());
    assert_eq!(
        place.ok_json(&format!("nsct dec in/p0.png -o c.npy {FAST} --shard 1/4"))["items"],
        serde_json::json!([])
    );
    place.ok(&format!("nsct dec in/p0.png -o c.npy {FAST} --shard 0/4"));
    assert!(place.path("c.npy").exists());
}

#[test]
fn a_folder_of_coefficients_shares_its_plans() {
    let place = folder();
    place.ok(&format!("nsct dec in -o c {FAST}"));
    // One with another transform, and one in double precision.
    place.ok("nsct dec in/p1.png -o c/p1.npy -l 2 --dfilt pkva");
    place.ok(&format!("nsct dec in/p4.png -o c/p4.npy {FAST} --f64"));
    let ran = place.run("nsct rec c -o back --backend cpu -v");
    assert_eq!(ran.code, 0, "{}", ran.err);
    // p0, p1 with another transform, p2 and p3 together, p4 in double precision.
    assert_eq!(ran.err.matches("planned").count(), 4, "{}", ran.err);
    for i in 0..5 {
        let pixels = |folder: &str| super::pixels(&place.path(&format!("{folder}/p{i}.png")));
        assert_eq!(pixels("back"), pixels("in"));
    }
}

#[test]
fn outputs_that_were_lost_or_cut_are_made_again() {
    let place = folder();
    let run = || place.ok_json(&format!("nsct dec in -o c --png bands {FAST}"))["resumed"].clone();
    assert_eq!((run(), run()), (0.into(), 5.into()));
    std::fs::remove_file(place.path("bands/p2/low.png")).unwrap();
    place.write("c/p3.npy", b"");
    assert_eq!((run(), run()), (3.into(), 5.into()));
    assert!(place.path("bands/p2/low.png").exists());
}

#[test]
fn a_table_of_other_pictures_goes_away() {
    let place = folder();
    place.ok(&format!("nsct features in -o f {FAST}"));
    assert!(place.path("f/features.npy").exists());
    place.crop("chelsea.png", (0, 0, 24, 20), "in/colour.png");
    place.ok(&format!("nsct features in -o f {FAST}"));
    assert!(!place.path("f/features.npy").exists() && !place.path("f/features.json").exists());
}
