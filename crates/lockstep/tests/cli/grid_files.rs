//! `lockstep grid` and files: names that are no text, outputs over inputs, several files of which some cannot be read, more
//! variants than memory holds.

use super::{Place, Ran};

const FLIP: &str = "program flip(I)\n  x1 = vmirror(I)\nreturn x1\nend\n";
const TASKS: &[u8] = b"{\"id\":\"abc\",\"train\":[[\"01/23\",\"23/01\"]],\"test\":[[\"4/5\",\"5/4\"]]}\n";

fn place() -> Place {
    let place = Place::new();
    place.write("flip.grid", FLIP.as_bytes());
    place.write("tasks.jsonl", TASKS);
    place
}

/// Documents are text, names of files need not be.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::with_pictures();
    place.write("tasks.jsonl", TASKS);
    let run = |line: &str| {
        let mut command = place.command("");
        for word in line.split_whitespace() {
            // `?` stands for a byte that is no UTF-8.
            let bytes: Vec<u8> = word.bytes().map(|b| if b == b'?' { 0xe9 } else { b }).collect();
            command.arg(std::ffi::OsStr::from_bytes(&bytes));
        }
        let output = command.arg("--json").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran =
            Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        assert_eq!(ran.code, 0, "`{line}`: {}{}", ran.out, ran.err);
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap_or_else(|e| panic!("`{line}`: {e}: {}", ran.out))
    };
    let odd = |name: &[u8], bytes: &[u8]| {
        std::fs::write(place.path(".").join(std::ffi::OsStr::from_bytes(name)), bytes).unwrap();
    };
    odd(b"caf\xe9.grid", FLIP.as_bytes());
    odd(b"caf\xe9.py", b"def solve_abc(I):\n    O = hmirror(I)\n    return O\n");
    odd(b"size\xe9.jsonl", b"{\"a\":[{\"t\":[]}],\"r\":0,\"f\":\"size\"}\n");
    odd(b"caf\xe9.png", &place.read("gray.png"));
    assert_eq!(run("grid check caf?.grid")["files"][0]["file"], "caf\u{fffd}.grid");
    assert_eq!(run("grid verify size?.jsonl")["path"], "size\u{fffd}.jsonl");
    assert_eq!(run("grid augment tasks.jsonl -n 2 -o many?.jsonl")["output"], "many\u{fffd}.jsonl");
    let imported = run("grid import caf?.py -o new?.grid");
    assert_eq!((&imported["input"], &imported["output"]), (&"caf\u{fffd}.py".into(), &"new\u{fffd}.grid".into()));
    run("grid run caf?.grid --grid 0 --merged --profile cost?.json");
    assert_eq!(run("grid report cost?.json -o page?.html")["output"], "page\u{fffd}.html");
    // The other domains' documents name files, too.
    assert_eq!(run("nsct denoise caf?.png -o out?.png")["output"], "out\u{fffd}.png");
    assert_eq!(run("nsct fuse caf?.png gray.png -o sum?.png")["inputs"][0], "caf\u{fffd}.png");
    assert_eq!(run("nsct show caf?.png -o show?.png")["output"], "show\u{fffd}.png");
}

/// Devices and pipes are written to, links lead to their files, and these keep their permissions.
#[cfg(target_os = "linux")]
#[test]
fn outputs_that_are_no_files_stay_what_they_are() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let place = place();
    place.write("solvers.py", b"def solve_abc(I):\n    O = hmirror(I)\n    return O\n");
    place.write("real.grid", b"old");
    std::fs::set_permissions(place.path("real.grid"), std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.grid", place.path("link.grid")).unwrap();
    symlink("fresh.grid", place.path("dangling.grid")).unwrap();
    place.ok("grid import solvers.py -o link.grid");
    place.ok("grid import solvers.py -o dangling.grid");
    for (link, file) in [("link.grid", "real.grid"), ("dangling.grid", "fresh.grid")] {
        assert!(place.path(link).is_symlink());
        assert!(place.read(file).starts_with(b"program solve_abc"));
    }
    assert_eq!(place.path("real.grid").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = place.path("pipe");
        move || std::fs::read(pipe).unwrap()
    });
    place.ok("grid import solvers.py -o pipe");
    assert!(reader.join().unwrap().starts_with(b"program solve_abc"));
    assert!(place.path("pipe").metadata().unwrap().file_type().is_fifo());
    // A folder's pipes are no files of answers.
    std::fs::create_dir(place.path("data")).unwrap();
    std::fs::rename(place.path("pipe"), place.path("data/pipe.jsonl")).unwrap();
    place.write("data/size.jsonl", b"{\"a\":[{\"t\":[]}],\"r\":0}\n");
    assert!(place.ok("grid verify data").contains("1 right"));
    place.fails("grid import solvers.py -o /dev/full", 5, &["cannot write /dev/full"]);
    let mode = std::fs::metadata("/dev/full").unwrap().file_type();
    assert!(mode.is_char_device());
}

/// A full disk is an error; a reader that has gone away is none, and does not change the exit code.
#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_cannot_be_written() {
    let place = place();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = place.command("grid run flip.grid --grid 01").stdout(full()).output().unwrap();
    assert_eq!(ran.status.code(), Some(5), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot write standard output"), "{ran:?}");
    for (line, code) in [("run flip.grid --grid 01", 0), ("run flip.grid -p flip --tasks tasks.jsonl", 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = place.command(&format!("grid {line}")).stdout(writer).output().unwrap();
        assert_eq!((ran.status.code(), ran.stderr.is_empty()), (Some(code), true), "{line}: {ran:?}");
    }
}

/// What an interruption leaves half-written goes.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_command_leaves_no_part() {
    let place = place();
    for signal in ["INT", "TERM", "HUP"] {
        let mut child = place.command("grid augment tasks.jsonl -n 100000000 -q -o many.jsonl").spawn().unwrap();
        let begun = || place.list(".").iter().any(|name| name.contains(".part"));
        while !begun() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(!begun() && !place.path("many.jsonl").exists());
    }
}

#[test]
fn outputs_never_replace_what_is_read() {
    let place = place();
    place.write("solvers.py", b"def solve_abc(I):\n    O = hmirror(I)\n    return O\n");
    place.ok("grid run flip.grid --tasks tasks.jsonl --merged --profile cost.json");
    place.ok("grid tune flip.grid --backend cpu --tasks tasks.jsonl -o tuning.toml");
    place.write("deep/empty", b"");
    let merged = "grid run flip.grid --tasks tasks.jsonl --merged --tuning tuning.toml --profile";
    for (line, read, option) in [
        ("grid import solvers.py -o solvers.py", "solvers.py", "-o"),
        (&format!("{merged} flip.grid"), "flip.grid", "--profile"),
        (&format!("{merged} tasks.jsonl"), "tasks.jsonl", "--profile"),
        (&format!("{merged} deep/../tuning.toml"), "tuning.toml", "--profile"),
        ("grid dag solvers.py flip.grid --dot flip.grid", "flip.grid", "--dot"),
        ("grid explain flip.grid --dot deep/../flip.grid", "flip.grid", "--dot"),
        ("grid tune flip.grid --backend cpu -o flip.grid", "flip.grid", "-o"),
        ("grid tune flip.grid --backend cpu --tasks tasks.jsonl -o tasks.jsonl", "tasks.jsonl", "-o"),
        ("grid report cost.json -o cost.json", "cost.json", "-o"),
        ("grid search tasks.jsonl -o tasks.jsonl", "tasks.jsonl", "-o"),
        ("grid augment tasks.jsonl -o tasks.jsonl", "tasks.jsonl", "-o"),
    ] {
        let before = place.read(read);
        let remedy = format!("name another file with {option}");
        place.fails(line, 2, &[&format!("{read} is read, and would be overwritten"), &remedy]);
        assert_eq!(place.read(read), before, "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_read_stops_no_check() {
    let place = place();
    place.write("latin.grid", b"program a(I)\n# caf\xc3\xa9 \xe9\n");
    place.write("bad.grid", b"program bad(I)\n  x = rotate(I)\nreturn x\nend\n");
    let all = "grid check nix.grid latin.grid bad.grid flip.grid";
    place.fails(all, 5, &["cannot read nix.grid", "latin.grid: line 2, column 8: no UTF-8 text", "bad.grid:2:7"]);
    let ran = place.run(&format!("{all} --json"));
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &found["unreadable"], &found["errors"]), (5, &2.into(), &1.into()));
    let files = found["files"].as_array().unwrap();
    let exits: Vec<_> = files.iter().map(|file| file["unreadable"]["exit"].as_u64()).collect();
    assert_eq!(exits, [Some(5), Some(2), None, None]);
    assert_eq!(files[3]["programs"][0]["program"], "flip");
    // What is wrong with programs counts less than what could not be looked at.
    let ran = place.run("grid check latin.grid bad.grid flip.grid");
    assert!(ran.code == 2 && ran.out.contains("1 program, 1 error, 0 warnings, 1 file not read"), "{}", ran.out);
    place.fails("grid check bad.grid flip.grid", 1, &["bad.grid:2:7"]);
}

#[test]
fn what_there_is_nothing_for_is_said() {
    let place = place();
    for line in ["grid run flip.grid", "grid run flip.grid --merged"] {
        place.fails(line, 2, &["nothing to run programs on", "with --tasks", "--grid"]);
    }
    // Options that the command does not have are no remedy.
    for line in
        ["grid dag flip.grid --dot no/x.dot", "grid run flip.grid --tasks tasks.jsonl --merged --profile no/p.json"]
    {
        let ran = place.run(line);
        assert!(ran.code == 5 && ran.err.contains("create the folder first"), "{}{}", ran.out, ran.err);
        assert!(!ran.err.contains("-o"), "{}", ran.err);
    }
    let bench = "grid bench --tasks tasks.jsonl --backend cpu --runs 1 --grids 10";
    for (only, words, remedy) in [
        ("w2", "w2 measures programs, and there are none", "--programs"),
        ("w3", "w3 measures programs", "--programs"),
        ("w5", "w5 is measured on a GPU", "lockstep doctor"),
        ("w6,w2", "w6 is measured on a GPU, and none is in use", "lockstep doctor"),
        ("w7", "w7 is measured on several GPUs, and 0 are in use", "lockstep doctor"),
    ] {
        place.fails(&format!("{bench} --only {only}"), 2, &[words, remedy]);
    }
    let out = place.ok(&format!("{bench} --only w1,w6"));
    assert!(out.contains("left out: w6 is measured on a GPU") && out.contains("objects, five modes"), "{out}");
    place.ok(&format!("{bench} --only w2,w3 --programs flip.grid"));
}

/// A task whose variants take hundreds of megabytes together, in a process that has less.
#[cfg(target_os = "linux")]
#[test]
fn more_variants_than_memory_holds() {
    let place = Place::new();
    let grid = vec!["012345678901234567890123456789"; 30].join("/");
    let pairs = vec![format!("[\"{grid}\",\"{grid}\"]"); 5].join(",");
    place.write("tasks.jsonl", format!("{{\"id\":\"abc\",\"train\":[{pairs}],\"test\":[]}}\n").as_bytes());
    let run = |line: &str| {
        let limited = format!("ulimit -v 500000; exec \"$0\" {line}");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_lockstep")]).current_dir(place.path("."));
        // Room for threads counts, whether it is used or not.
        let output = command.env("RAYON_NUM_THREADS", "1").env("MALLOC_ARENA_MAX", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("grid augment tasks.jsonl -n 5000 -o many.jsonl");
    let many = String::from_utf8(place.read("many.jsonl")).unwrap();
    let distinct: std::collections::HashSet<&str> = many.lines().collect();
    assert_eq!((many.lines().count(), distinct.len()), (5000, 5000));
    // The way back reads all of them, each as a task of its own.
    let renamed: String =
        many.lines().enumerate().map(|(k, line)| line.replacen("\"abc\"", &format!("\"t{k}\""), 1) + "\n").collect();
    place.write("many.jsonl", renamed.as_bytes());
    run("grid augment many.jsonl --undo -o back.jsonl");
    let back = String::from_utf8(place.read("back.jsonl")).unwrap();
    let task = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let first = task(back.lines().next().unwrap());
    assert_eq!(first["train"][0][0], serde_json::json!(grid));
    assert_eq!(back.lines().count(), 5000);
    for (k, line) in back.lines().enumerate().step_by(97) {
        let found = task(line);
        assert_eq!((&found["id"], &found["train"]), (&format!("t{k}").into(), &first["train"]));
    }
}
