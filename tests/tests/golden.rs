//! The command on the golden folder.

use std::process::Command;

use lockstep_tests::{golden, program};

/// Runs `lockstep nsct verify` and expects that nothing fails.
fn verify(arguments: &[&str]) {
    verify_domain(["nsct", "nsct"], arguments);
}

/// Runs `lockstep COMMAND verify` on a golden folder and expects that nothing fails.
fn verify_domain([domain, folder]: [&str; 2], arguments: &[&str]) {
    let mut command = Command::new(program());
    command.args([domain, "verify"]).arg(golden(folder)).args(arguments);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("0 failed") && text.lines().count() > 100, "{text}");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_case_but_whole_photographs() {
    verify(&["--backend", "cpu", "--only", "cases", "--only", "batch", "--only", "prims", "--only", "filters"]);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn every_case_on_cuda() {
    verify(&["--backend", "cuda"]);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn ata_every_case() {
    verify_domain(["ata", "ata-wmma"], &["--backend", "cpu"]);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn ata_every_case_on_cuda() {
    verify_domain(["ata", "ata-wmma"], &["--backend", "cuda"]);
}
