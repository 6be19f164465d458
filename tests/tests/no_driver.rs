//! The program is built with CUDA and starts without a driver.

use std::process::Output;

use lockstep_tests::program;
use serde_json::Value;

/// Runs the program where no driver can be found, also on a machine that has one.
fn without_driver(arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(program());
    command.args(arguments).env("LOCKSTEP_DRIVER", "/nonexistent/libcuda.so.1");
    command.output().expect("the program starts")
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
fn the_loader_is_asked_for_no_library_of_cuda() {
    let bytes = std::fs::read(program()).expect("the program");
    let needed = lockstep_tests::needed_libraries(&bytes);
    assert!(needed.iter().any(|name| name.starts_with("libc.")), "the list is read wrongly: {needed:?}");
    let system = ["libgcc_s.", "libc.", "libm.", "ld-linux", "libdl.", "libpthread.", "librt."];
    let foreign: Vec<_> = needed.iter().filter(|name| !system.iter().any(|s| name.starts_with(s))).collect();
    assert!(foreign.is_empty(), "the program needs {foreign:?}");
}

#[test]
fn doctor_says_what_is_missing_and_what_to_do() {
    let output = without_driver(&["doctor", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let about: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    let findings = about["findings"].as_array().expect("findings");
    let cuda = findings.iter().find(|f| f["what"] == "CUDA").expect("a line about CUDA");
    let found = cuda["found"].as_str().expect("text");
    assert!(found.starts_with("no CUDA device: ") && found.contains("/nonexistent/libcuda.so.1"), "{found}");
    assert!(cuda["remedy"].as_str().is_some_and(|r| r.contains("driver")), "{cuda}");
}

#[test]
fn auto_works_on_the_cpu_and_says_why() {
    let output = without_driver(&["nsct", "info", "--size", "16", "-l", "1", "--dfilt", "pkva"]);
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("on cpu"), "{text}{log}");
    assert!(log.contains("running on the CPU") && log.contains("no CUDA device"), "{log}");
}

#[test]
fn cuda_is_refused_with_its_exit_code() {
    for arguments in [&["nsct", "info", "--backend", "cuda"][..], &["doctor", "--backend", "cuda"]] {
        let output = without_driver(arguments);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{log}");
        assert!(log.contains("no CUDA device") && log.contains("--backend cpu"), "{log}");
    }
}

#[test]
fn every_domain_starts_without_a_driver() {
    let folder = tempfile::tempdir().expect("a folder");
    let wall = folder.path().join("wall");
    let wall = wall.to_str().expect("a path in Unicode");
    let mirrors = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/grid-dsl/examples/mirrors.grid");
    let runs: [(&[&str], &str); 4] = [
        (
            &["ata", "gen", "--leds", "40", "--width", "64", "--height", "48", "--block", "16", "--out", wall],
            "pattern_sum",
        ),
        (&["ata", "order", "--patterns", wall], "rcm"),
        (&["style", "models"], "candy"),
        (&["grid", "run", mirrors, "--program", "task_67a3c6ac", "--grid", "012/345"], "210/543"),
    ];
    for (arguments, said) in runs {
        let output = without_driver(arguments);
        let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains(said), "{arguments:?}: {text}{log}");
    }
}
