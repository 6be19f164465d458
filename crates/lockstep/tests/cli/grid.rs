//! `lockstep grid`: programs on grids and tasks, faults with places, imports, stored answers.

use super::Place;

const FLIP: &str =
    "program flip(I)\n  x1 = vmirror(I)\nreturn x1\nend\nprogram solve_abc(I)\n  x1 = hmirror(I)\nreturn x1\nend\n";

#[test]
fn a_program_on_grids() {
    let place = Place::new();
    place.write("flip.grid", FLIP.as_bytes());
    let out = place.ok("grid run flip.grid --program flip --grid 012/345 --show --color never");
    assert!(out.contains("  I        x1\n  0 1 2    2 1 0\n  3 4 5    5 4 3\n"), "{out}");
    let out = place.ok("grid run flip.grid --program flip --grid 01 --show --color always");
    assert!(out.contains("\x1b[48;2;0;116;217m"), "{out}");
    let found = place.ok_json("grid run flip.grid -p flip --grid 01 --grid 23");
    assert_eq!(found["runs"][0]["returns"][0]["value"], "{\"g\":\"10\"}");
    assert_eq!(found["runs"][0]["returns"][0]["digest"].as_str().unwrap().len(), 16);
    assert_eq!((&found["not_compared"], &found["runs"][1]["case"]), (&2.into(), &"grid 1".into()));
    assert_eq!((&found["right"], &found["runs"][1]["right"]), (&0.into(), &serde_json::Value::Null));
    place.fails("grid run flip.grid -p flip --grid=", 2, &["at least one cell"]);
    place.fails("grid run flip.grid --grid 01", 2, &["it holds 2 programs", "choose one with --program"]);
    place.fails("grid run flip.grid -p nix --grid 01", 2, &["there is no program `nix`", "flip, solve_abc"]);
    place.fails("grid run flip.grid -p flip --grid 01/2", 2, &["rows differ in length"]);
    place.fails("grid run flip.grid", 2, &["--grid"]);
    place.fails("grid run nix.grid --grid 0", 5, &["nix.grid", "check the path"]);
}

#[test]
fn a_program_on_tasks() {
    let place = Place::new();
    place.write("flip.grid", FLIP.as_bytes());
    place.write("tasks.jsonl", b"{\"id\":\"abc\",\"train\":[[\"01/23\",\"23/01\"]],\"test\":[[\"4/5\",\"5/4\"]]}\n{\"id\":\"q\",\"train\":[],\"test\":[]}\n");
    place.write(
        "abc.json",
        b"{\"train\":[{\"input\":[[1,2]],\"output\":[[2,1]]}],\"test\":[{\"input\":[[3,2]],\"output\":[[3,2]]}]}",
    );
    let found = place.ok_json("grid run flip.grid --tasks tasks.jsonl");
    assert_eq!((&found["right"], &found["runs"][1]["case"]), (&2.into(), &"task abc, test 0".into()));
    let ran = place.run("grid run flip.grid --program flip --tasks abc.json --task abc");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("train 0, right") && ran.out.contains("test 0, not the task's output"), "{}", ran.out);
    place.fails("grid run flip.grid --tasks tasks.jsonl --task zzz", 2, &["there is no task `zzz`"]);
    // The only program runs on the only task, of whatever name; a folder of such is as good as a file of lines.
    place.write("one.grid", b"program other(I)\n  x1 = vmirror(I)\nreturn x1\nend\n");
    assert!(place.run("grid run one.grid --tasks abc.json").out.contains("1 right, 1 wrong"));
    place.write("all/abc.json", &place.read("abc.json"));
    place.write("all/deeper/def.json", &place.read("abc.json"));
    let found = place.run("grid run flip.grid -p flip --tasks all").out;
    assert!(found.contains("task def, test 0") && found.contains("2 right, 2 wrong"), "{found}");
    place.write("none/x.txt", b"");
    place.fails("grid run flip.grid -p flip --tasks none", 2, &["no .json files"]);
    for (cells, why) in
        [("[[1,2],[3]]", "row 1 has 1 cells, the first one 2"), ("[]", "no cells"), ("[[]]", "no cells")]
    {
        let text = format!("{{\"train\":[{{\"input\":[[0]],\"output\":{cells}}}],\"test\":[]}}");
        place.write("odd.json", text.as_bytes());
        place.fails("grid run flip.grid -p flip --tasks odd.json", 2, &["odd.json", "the output of train 0", why]);
    }
    place.write("odd.jsonl", b"{\"id\":\"a\",\"train\":[[\"01/2\",\"0\"]],\"test\":[]}\n");
    place.fails("grid run flip.grid -p flip --tasks odd.jsonl", 2, &["line 1", "rows differ in length"]);
    place.write("odd.jsonl", b"\n{\"id\":\"a\",\n");
    place.fails("grid run flip.grid -p flip --tasks odd.jsonl", 2, &["line 2: no record: EOF", "column 10"]);
    // Standard input is as good as a file.
    let from = |line: &str, file: &str| {
        let input = std::fs::File::open(place.path(file)).unwrap();
        let ran = place.command(line).stdin(input).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(from("grid run - --grid 01", "one.grid").contains("{\"g\":\"10\"}"));
    assert!(from("grid run flip.grid --tasks -", "tasks.jsonl").contains("2 right"));
    // Without tasks there are no samples.
    place.write("samples.grid", b"program s(S, I)\n  x = size(S)\nreturn x\nend\n");
    let out = place.ok("grid run samples.grid --grid 01");
    assert!(out.contains("`S` is empty") && out.contains("x = 0"), "{out}");
    // Tasks are read before anything is printed.
    assert_eq!(place.run("grid run one.grid --grid 01 --tasks nix.json").out, "");
}

#[test]
fn errors_of_programs() {
    let place = Place::new();
    place
        .write("bad.grid", b"program bad(I)\n  y = divide(ONE, ZERO)\n  z = first(y)\n  x = rot90(I)\nreturn z\nend\n");
    let ran = place.run("grid run bad.grid --grid 0 --lines");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("z = error DivZero: a division by zero") && ran.out.contains("nothing depends on it"),
        "{}",
        ran.out
    );
    place.write("typo.grid", b"program typo(I)\n  x = rotate(I)\n  y = rot9O(I)\nreturn y\nend\n");
    place.fails("grid run typo.grid --grid 0", 2, &["line 2, column 7", "`rotate` is not known", "lists 1 more"]);
    let ran = place.run("grid check typo.grid");
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("typo.grid:3:7") && ran.err.contains("did you mean `rot90`?") && ran.err.contains("      ^"),
        "{}",
        ran.err
    );
    place.write("types.grid", b"program types(I)\n  x = add(I, ONE)\n  y = objects(I, T, F, T)\n return x\nend\n");
    let ran = place.run("grid check types.grid --types --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &found["errors"]), (1, &1.into()));
    assert_eq!(found["files"][0]["diagnostics"][0]["column"], 11);
    assert_eq!(found["files"][0]["programs"][0]["types"][1][1], "Objects");
    place.write("latin.grid", b"program a(I)\n# \xe9\n");
    place.fails("grid check latin.grid", 2, &["line 2, column 3: no UTF-8"]);
    place.write("slow.grid", b"program s(I)\n f = fork(combine, identity, identity)\n g = power(f, 200)\n t = astuple(I, I)\n x = g(t)\nreturn x\nend");
    let ran = place.run("grid run slow.grid --grid 0 --fuel 1000");
    assert!(ran.code == 1 && ran.out.contains("error Fuel"), "{}", ran.out);
}

#[test]
fn solvers_from_python() {
    let place = Place::new();
    place.write("solvers.py", b"from dsl import *\n\ndef solve_abc(I):\n    O = hmirror(I)\n    return O\n");
    place.ok("grid import solvers.py -o solvers.grid");
    assert_eq!(place.read("solvers.grid"), b"program solve_abc(I)\n  O = hmirror(I)\nreturn O\nend\n");
    place.ok("grid check solvers.grid solvers.py");
    let found = place.ok_json("grid dag solvers.grid solvers.py --dot graph.dot");
    assert_eq!((&found["programs"], &found["lines"], &found["nodes"]), (&2.into(), &2.into(), &1.into()));
    assert!(place.read("graph.dot").starts_with(b"digraph"));
    place.write(
        "mixed.py",
        b"def solve_a(I):\n    O = I + 1\n    return O\ndef solve_b(I):\n    O = rot90(I)\n    return O\n",
    );
    let ran = place.run("grid import mixed.py");
    assert_eq!(ran.code, 3);
    assert!(ran.out.starts_with("program solve_b(I)") && ran.err.contains("mixed.py:2:11"), "{}{}", ran.out, ran.err);
    place.write("none.py", b"print('x')\n");
    place.fails("grid import none.py", 2, &["no function could be read"]);
}

#[test]
fn stored_answers() {
    let place = Place::new();
    place.write(
        "data/vectors/rot90.jsonl",
        b"{\"a\":[{\"g\":\"01/23\"}],\"r\":{\"g\":\"20/31\"}}\n{\"a\":[5],\"e\":1}\n",
    );
    place.write("data/vectors/index.jsonl", b"{\"a\":[{\"g\":\"01\"},{\"t\":[5,5]}],\"r\":null}\n");
    place.write("data/vectors/rot45.jsonl", b"{\"a\":[5],\"e\":1}\n");
    place.write("data/p.jsonl", b"{\"id\":\"p\",\"src\":[\"x1 = size(I)\",\"x2 = first(x1)\"],\"cases\":[{\"in\":\"01/23\",\"d\":[\"af63af4c8601a015\"],\"err_at\":\"x2\"}]}\n");
    place.write("data/t.jsonl", b"{\"id\":\"abc\",\"cases\":[{\"in\":\"0\",\"out\":{\"g\":\"0\"}}]}\n{\"id\":\"abc\",\"train\":[[\"01/23\",\"23/01\"]],\"test\":[]}\nnonsense\n");
    place.write("solvers.py", b"def solve_abc(I):\n    O = hmirror(I)\n    return O\n");
    let ran = place.run("grid verify data --solvers solvers.py --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code, 2);
    assert!(found["unreadable"][0].as_str().unwrap().contains("t.jsonl, line 3: no record"), "{}", ran.out);
    let count = |kind: &str, what: &str| found["counts"][kind][what].as_u64().unwrap();
    assert_eq!((count("vectors", "right"), count("vectors", "unsupported")), (3, 1));
    assert_eq!((count("programs", "right"), count("traces", "right")), (1, 1));
    assert_eq!((count("outputs of solvers", "right"), count("unreadable lines", "unsupported")), (1, 1));
    let out = place.run("grid verify data").out;
    assert!(out.contains("no solver of `abc` is given") && out.contains("no function is named `rot45`"), "{out}");
    assert_eq!(place.run("grid verify data/vectors").code, 2);
    place.write("data/vectors/size.jsonl", b"{\"a\":[{\"t\":[]}],\"r\":1}\n");
    let ran = place.run("grid verify data/vectors");
    let wrong = "wrong: data/vectors/size.jsonl, line 1: size({\"t\":[]}) = 0, expected 1";
    assert!(ran.code == 1 && ran.out.contains(wrong), "{}", ran.out);
    place.fails("grid verify nix", 5, &["nix"]);
    place.fails("grid verify solvers.py", 2, &["hold no answers to compare with", "--solvers"]);
    place.write("solvers.py", b"def solve_abc(I):\n    O = vmirror(I)\n    return O\n");
    let ran = place.run("grid verify data --solvers solvers.py");
    assert!(
        ran.out.contains("abc, train 0: solve_abc returns {\"g\":\"10/32\"}, expected {\"g\":\"23/01\"}"),
        "{}",
        ran.out
    );
}

#[test]
fn unreadable_parts_of_stored_answers_are_named() {
    let place = Place::new();
    let right = "{\"a\":[{\"t\":[]}],\"r\":0}\n";
    // A mark in front of UTF-8 is part of no line.
    place.write("data/size.jsonl", &["\u{feff}".as_bytes(), right.as_bytes(), right.as_bytes()].concat());
    let found = place.ok_json("grid verify data");
    assert_eq!((&found["counts"]["vectors"]["right"], &found["unreadable"]), (&2.into(), &serde_json::json!([])));
    place.write("data/latin.jsonl", b"{\"a\":[],\"src\":\"\xe9\",\"e\":1}\n{\"a\":[5],\"e\":1,\"f\":\"size\"}\n");
    place.write("data/both.jsonl", b"{\"a\":[5],\"e\":1,\"r\":0}\n{\"a\":[5],\"e\":0}\n");
    let ran = place.run("grid verify data");
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    for words in
        ["3 right", "3 unsupported", "latin.jsonl, line 1: no UTF-8", "both.jsonl, line 1:", "both.jsonl, line 2:"]
    {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    // What is wrong counts more.
    place.write("data/first.jsonl", b"{\"a\":[{\"t\":[5]}],\"r\":4}\n");
    assert_eq!(place.run("grid verify data").code, 1);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_opened_stops_no_others() {
    let place = Place::new();
    place.write("data/size.jsonl", b"{\"a\":[{\"t\":[]}],\"r\":0}\n");
    std::os::unix::fs::symlink("nowhere.jsonl", place.path("data/lost.jsonl")).unwrap();
    let ran = place.run("grid verify data");
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 right") && ran.out.contains("unreadable files"), "{}", ran.out);
    assert!(ran.out.contains("unreadable: cannot read data/lost.jsonl"), "{}", ran.out);
}

#[test]
fn files_of_programs_that_are_none() {
    let place = Place::new();
    place.write("data/flip.grid", FLIP.as_bytes());
    place.fails("grid check nix.grid", 5, &["cannot read nix.grid", "check the path"]);
    place.fails("grid check data", 5, &["cannot read data", "it is a folder: name a file"]);
    place.write("marked.grid", format!("\u{feff}{FLIP}").as_bytes());
    place.ok("grid check marked.grid");
    place.write("empty.grid", b"# nothing\n");
    for command in ["run empty.grid --grid 0", "run empty.grid --grid 0 --merged", "dag empty.grid", "tune empty.grid"]
    {
        place.fails(&format!("grid {command}"), 2, &["empty.grid: it holds no program", "program NAME(I)"]);
    }
    place.write("python.grid", b"def solve_a(I):\n    O = rot90(I)\n    return O\n");
    place.fails("grid run python.grid --grid 0", 2, &["it looks like Python", "lockstep grid import"]);
}

#[test]
fn tests_of_tasks_may_lack_their_outputs() {
    let place = Place::new();
    place.write("flip.grid", FLIP.as_bytes());
    let lines =
        b"{\"id\":\"abc\",\"train\":[[\"01/23\",\"23/01\"]],\"test\":[[\"4/5\"],[\"6/7\",null],[\"8/9\",\"9/8\"]]}\n";
    place.write("tasks.jsonl", lines);
    place.write(
        "abc.json",
        b"{\"train\":[{\"input\":[[1],[2]],\"output\":[[2],[1]]}],\"test\":[{\"input\":[[3],[2]]}]}",
    );
    let found = place.ok_json("grid run flip.grid --tasks tasks.jsonl");
    assert_eq!((&found["right"], &found["runs"][1]["expected"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(found["not_compared"], 2);
    assert_eq!(found["runs"][3]["expected"], "{\"g\":\"9/8\"}");
    let out = place.ok("grid run flip.grid --tasks abc.json --show --color never");
    assert!(out.contains("train 0, right") && out.contains("test 0\n"), "{out}");
    // All together they run as well; nothing is compared there. A task of such tests alone is drawn without outputs.
    for backend in ["cpu", "reference"] {
        let merged =
            |tasks: &str| place.ok_json(&format!("grid run flip.grid --merged --backend {backend} --tasks {tasks}"));
        let found = merged("tasks.jsonl");
        assert_eq!(found["samples"], 4, "{found}");
        assert_eq!(found["counts"], serde_json::json!({ "values": 8, "errors": 0, "right": 2, "wrong": 0 }));
        place.write("abc.jsonl", b"{\"id\":\"abc\",\"train\":[],\"test\":[[\"4/5\"]]}\n");
        let found = merged("abc.jsonl --profile profile.json");
        assert_eq!(found["counts"], serde_json::json!({ "values": 2, "errors": 0, "right": 0, "wrong": 0 }));
        let picture = &place.json("profile.json")["pictures"][0];
        assert_eq!((&picture["output"], &picture["expected"]), (&"{\"g\":\"5/4\"}".into(), &serde_json::Value::Null));
    }
    let found = place.ok_json("grid search abc.json");
    assert_eq!(found["programs"][0]["tests"], 0);
    assert_eq!(place.ok_json("grid search tasks.jsonl")["programs"][0]["tests"], 1);
    // Variants lack them, too, and go back.
    place.ok("grid augment abc.json -n 3 -o turned/");
    assert!(place.json("turned/abc-2.json")["test"][0].get("output").is_none());
    place.ok("grid augment tasks.jsonl -n 3 -o many.jsonl");
    place.ok("grid augment many.jsonl --undo -o back.jsonl");
    let back = place.json("back.jsonl");
    assert_eq!(back["test"], serde_json::json!([["4/5", null], ["6/7", null], ["8/9", "9/8"]]));
    assert_eq!(back["digests"].as_array().unwrap().len(), 6);
    // An example to learn from needs one.
    place.write("bad.json", b"{\"train\":[{\"input\":[[1]]}],\"test\":[]}");
    place.fails("grid run flip.grid --tasks bad.json", 2, &["missing field `output`"]);
}

#[test]
fn types_are_checked_as_asked() {
    let place = Place::new();
    place.write("types.grid", b"program types(I)\n  x = add(I, ONE)\nreturn x\nend\n");
    let error = "types.grid:2:11";
    for (mode, code, words) in
        [("strict", 1, "1 error, 0 warnings"), ("warn", 0, "1 warning"), ("off", 0, "0 warnings")]
    {
        let ran = place.run(&format!("grid check types.grid --check {mode}"));
        assert!(ran.code == code && ran.out.contains(words), "{mode}: {}{}", ran.out, ran.err);
        assert_eq!(ran.err.contains(error), mode != "off", "{}", ran.err);
    }
    place.fails("grid run types.grid --grid 0 --check strict", 1, &["types is rejected: line 2, column 11", "--check"]);
    place.fails("grid run types.grid --grid 0 --check strict --merged", 1, &["types is rejected"]);
    // It runs otherwise, and fails.
    for (options, warned) in
        [("", true), ("--check warn", true), ("--check off", false), ("--check warn --merged", true)]
    {
        let ran = place.run(&format!("grid run types.grid --grid 0 {options}"));
        assert_eq!(ran.out.contains("types: warning: line 2, column 11"), warned, "{options}: {}", ran.out);
        assert!(options.contains("--merged") || ran.out.contains("error Type"), "{}", ran.out);
    }
}

#[test]
fn numbers_that_are_no_colours_are_shown() {
    let place = Place::new();
    place.write(
        "odd.grid",
        b"program odd(I)\n  x = replace(I, ONE, NEG_ONE)\n  y = replace(x, TWO, 12)\nreturn y\nend\n",
    );
    let out = place.ok("grid run odd.grid --grid 012/300 --show --color never");
    assert!(out.contains("  I        y\n  0 1 2     0 -1 12\n  3 0 0     3  0  0\n"), "{out}");
}
