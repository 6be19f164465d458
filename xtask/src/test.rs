//! `cargo xtask test`: every test that runs without a GPU, with the feature `cuda`; unit tests without it, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::simulated;
use crate::tee::{Tally, tee};
use crate::workspace::{cargo, line, on_path, output, packages, read, root, says};

#[derive(Args)]
pub(crate) struct Options {
    /// Passed to the test runner (cargo-nextest if installed, else cargo test), such as part of a test's name.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// One build of the workspace and the packages tested in it.
struct Pass {
    what: &'static str,
    selection: Vec<String>,
}

/// `cargo xtask test`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = root()?;
    let data = data_folder(&root)?;
    let nextest = has_nextest();
    // Built together with the tests of its package, which the second pass contains.
    let program = std::env::current_exe()?.with_file_name(format!("lockstep{}", std::env::consts::EXE_SUFFIX));
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    let mut ignored = Vec::new();
    for pass in passes(&root)? {
        println!("\n== {}", pass.what);
        let mut plain = command(&pass, nextest, Which::Plain, &options.arguments);
        if !counted(plain.env("LOCKSTEP_COMMAND", &program), &mut tally)? {
            failed.push(pass.what);
        }
    }
    // The second pass has all of them; features do not change what the CPU does with golden data.
    if let Some(pass) = passes(&root)?.last() {
        println!("\n== tests on golden data");
        ignored = ignored_tests(pass, nextest, &options.arguments)?;
        if let Some(data) = data.as_ref().filter(|_| ignored.iter().any(|name| !needs_device(name))) {
            let which = Which::Golden { ignored: &ignored, without: &missing() };
            let mut command = command(pass, nextest, which, &options.arguments);
            command.env("LOCKSTEP_COMMAND", &program).env("LOCKSTEP_DATA", data);
            if !counted(&mut command, &mut tally)? {
                failed.push("tests on golden data");
            }
        }
    }
    println!("\n== kernels on a simulated device");
    let simulated = |pass: &Pass| simulated::run(&root, &pass.selection, &ignored, &options.arguments, nextest);
    match passes(&root)?.last().map(simulated) {
        Some(Ok(done)) => {
            tally.add(done.tally);
            // They have run, if not on a GPU.
            ignored.retain(|name| !done.ran(name));
            if !done.good {
                failed.push("kernels on a simulated device");
            }
        }
        Some(Err(e)) => {
            println!("{e:#}");
            failed.push("kernels on a simulated device");
        }
        None => {}
    }
    println!("\n== examples in the documentation");
    let mut documentation = cargo();
    documentation.args(["test", "--quiet", "--doc", "--workspace", "--features", "cuda"]).args(&options.arguments);
    if !counted(&mut documentation, &mut tally)? {
        failed.push("examples in the documentation");
    }
    let missing = missing();
    let wants_missing = |name: &str| missing.iter().any(|want| name.contains(want.word));
    let skipped = |name: &&String| data.is_none() || needs_device(name) || wants_missing(name);
    tally.skipped += ignored.iter().filter(skipped).count() as u64;
    explain(&ignored, data.as_deref(), &root);
    println!("{tally}");
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

pub(crate) fn has_nextest() -> bool {
    says("cargo-nextest", &["nextest", "--version"]).is_some()
}

/// The folder of golden data, or `None` where it may be missing.
pub(crate) fn data_folder(root: &Path) -> Result<Option<PathBuf>> {
    let (folder, named) = match std::env::var_os("LOCKSTEP_DATA") {
        Some(folder) => (PathBuf::from(folder), true),
        None => (root.join("../shared/data"), false),
    };
    let required = std::env::var_os("LOCKSTEP_REQUIRE_DATA").is_some_and(|value| value != "0");
    match folder.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(Some(folder)),
        _ if named || required => {
            bail!("{} is not a folder: set LOCKSTEP_DATA to the folder of golden data", folder.display())
        }
        _ => Ok(None),
    }
}

fn passes(root: &Path) -> Result<Vec<Pass>> {
    // xtask's own tests do not depend on features: they run in the first pass only.
    let mut without: Vec<String> = vec!["--package".into(), "xtask".into()];
    for name in libraries(root)? {
        without.extend(["--package".into(), name]);
    }
    // What the feature leaves out is compiled and its unit tests run; integration tests would do on the CPU what they do in
    // the second pass, for twice the time of building them.
    without.extend(["--lib".into(), "--bins".into()]);
    let with = ["--workspace", "--exclude", "xtask", "--features", "cuda"].map(str::to_owned).to_vec();
    Ok(vec![
        Pass { what: "unit tests without features", selection: without },
        Pass { what: "tests with the feature cuda", selection: with },
    ])
}

/// Crates whose feature `cuda` is off unless asked for.
pub(crate) fn libraries(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in packages(root)? {
        let manifest = package.folder.join("Cargo.toml");
        let table: toml::Table = toml::from_str(&read(&manifest)?).with_context(|| manifest.display().to_string())?;
        let default =
            table.get("features").and_then(|features| features.get("default")).and_then(toml::Value::as_array);
        if !default.is_some_and(|on| on.iter().any(|feature| feature.as_str() == Some("cuda"))) {
            names.push(package.name);
        }
    }
    Ok(names)
}

/// The tests of one command.
enum Which<'a> {
    /// Those that are not ignored.
    Plain,
    /// Of these ignored ones, those that need no device, without those that want what is missing.
    Golden { ignored: &'a [String], without: &'a [Want] },
}

fn command(pass: &Pass, nextest: bool, which: Which<'_>, arguments: &[String]) -> Command {
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run"]).args(&pass.selection).args(arguments);
        if !arguments.is_empty() {
            command.arg("--no-tests=pass");
        }
        if let Which::Golden { without, .. } = which {
            let kinds = std::iter::once(DEVICE).chain(without.iter().map(|want| want.word));
            let filter: Vec<String> = kinds.map(|kind| format!("not test(/{kind}/)")).collect();
            command.args(["--run-ignored", "only", "-E", &filter.join(" and ")]);
        }
        return command;
    }
    // Documentation tests have a step of their own.
    command.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]).args(&pass.selection).args(arguments);
    if let Which::Golden { ignored, without } = which {
        command.args(["--", "--ignored"]);
        for name in ignored.iter().filter(|name| needs_device(name)) {
            command.args(["--skip", name]);
        }
        for want in without {
            command.args(["--skip", want.word]);
        }
    }
    command
}

/// What some tests want that is no golden data.
#[derive(Clone, Copy)]
struct Want {
    /// A word in the names of these tests.
    word: &'static str,
    /// Why they are skipped, and what to do.
    why: &'static str,
    is_there: fn() -> bool,
}

const WANTS: [Want; 2] = [
    Want {
        word: "solvers_",
        why: "tests of foreign programs; set LOCKSTEP_SOLVERS to a file of them",
        is_there: || std::env::var_os("LOCKSTEP_SOLVERS").is_some(),
    },
    Want {
        word: "real_ffmpeg",
        why: "tests with ffmpeg; install it, or set FFMPEG to the program",
        is_there: || std::env::var_os("FFMPEG").is_some() || on_path("ffmpeg").is_some(),
    },
];

/// What is wanted and not there.
fn missing() -> Vec<Want> {
    WANTS.into_iter().filter(|want| !(want.is_there)()).collect()
}

/// Runs a test command and adds up its closing lines; whether it succeeded.
fn counted(command: &mut Command, tally: &mut Tally) -> Result<bool> {
    println!("$ {}", line(command));
    let status = tee(command, |_, text| {
        // A runner's own count of skipped tests holds those that another command runs.
        let Tally { passed, failed, .. } = Tally::of_line(text).unwrap_or_default();
        tally.add(Tally { passed, failed, skipped: 0 });
        true
    })?;
    Ok(status.success())
}

/// [`needs_device`] as a regular expression.
pub(crate) const DEVICE: &str = "(^|::)(on_cuda|simulated)::|cuda[^:]*$";

/// Whether an ignored test is for a machine with a CUDA device, or one that is simulated: its own name says so, or a
/// module `on_cuda` or `simulated`.
pub(crate) fn needs_device(test: &str) -> bool {
    needs_simulator(test)
        || modules(test).any(|module| module == "on_cuda")
        || test.rsplit("::").next().is_some_and(|name| name.contains("cuda"))
}

/// Whether an ignored test is for the simulated driver alone: it stands in a module `simulated`.
pub(crate) fn needs_simulator(test: &str) -> bool {
    modules(test).any(|module| module == "simulated")
}

/// The modules that a test is in.
pub(crate) fn modules(test: &str) -> impl Iterator<Item = &str> {
    test.rsplit("::").skip(1)
}

/// Names of the tests of a pass that are marked `#[ignore]` and that the arguments choose.
fn ignored_tests(pass: &Pass, nextest: bool, arguments: &[String]) -> Result<Vec<String>> {
    match listed(pass, nextest, arguments) {
        // Some arguments are for running only.
        Err(e) if !arguments.is_empty() => {
            println!("{e:#}\nall ignored tests are listed instead of those that the arguments choose");
            listed(pass, nextest, &[])
        }
        names => names,
    }
}

fn listed(pass: &Pass, nextest: bool, arguments: &[String]) -> Result<Vec<String>> {
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "list", "--run-ignored", "only", "--message-format", "json"]);
        command.args(&pass.selection).args(arguments);
    } else {
        command.args(["test", "--lib", "--bins", "--tests"]).args(&pass.selection).args(arguments);
        command.args(["--", "--list", "--ignored"]);
    }
    // The build's messages matter when it fails and pass the time when it does not.
    command.stderr(std::process::Stdio::inherit());
    println!("$ {}", line(&command));
    let text = String::from_utf8_lossy(&output(&mut command)?.stdout).into_owned();
    if !nextest {
        return Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect());
    }
    ignored_of(&text)
}

/// The ignored tests of nextest's list that its filters let through.
fn ignored_of(list: &str) -> Result<Vec<String>> {
    let list: serde_json::Value = serde_json::from_str(list).context("the list of cargo nextest")?;
    let mut names = Vec::new();
    for suite in list["rust-suites"].as_object().into_iter().flat_map(|suites| suites.values()) {
        for (name, test) in suite["testcases"].as_object().into_iter().flatten() {
            if test["ignored"] == true && test["filter-match"]["status"] == "matches" {
                names.push(name.clone());
            }
        }
    }
    Ok(names)
}

/// Says why tests were skipped: a skip that nobody sees looks like a pass.
fn explain(ignored: &[String], data: Option<&Path>, root: &Path) {
    let device = ignored.iter().filter(|name| needs_device(name)).count();
    println!();
    for want in missing().iter().filter(|want| ignored.iter().any(|name| name.contains(want.word))) {
        println!("skipped: {}", want.why);
    }
    if device > 0 {
        println!("skipped: {device} tests need a CUDA device, not a simulated one; `cargo xtask test-gpu` runs them");
    }
    match data {
        Some(folder) => println!("golden data: {}", folder.display()),
        None if ignored.len() > device => println!(
            "skipped: {} tests need golden data; {} is absent, set LOCKSTEP_DATA to the folder",
            ignored.len() - device,
            root.join("../shared/data").display()
        ),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_tests_are_known_by_their_last_name() {
        assert!(needs_device("axpy_exact::cuda_matches_cpu") && needs_device("golden::cases_match_on_cuda"));
        assert!(needs_device("on_cuda::batch_is_loop") && needs_device("plans::on_cuda::batch_is_loop"));
        assert!(!needs_device("cuda_kernels::are_listed") && !needs_device("golden::nsct"));
        assert!(needs_simulator("simulated::a_launch") && !needs_simulator("a::simulated"));
    }

    #[test]
    fn a_list_of_nextest_has_what_was_chosen() {
        let test =
            |ignored: bool, status: &str| format!(r#"{{"ignored":{ignored},"filter-match":{{"status":"{status}"}}}}"#);
        let [chosen, plain, other] = [test(true, "matches"), test(false, "mismatch"), test(true, "mismatch")];
        let tests = format!(r#"{{"testcases":{{"a::cuda_b":{chosen},"plain":{plain},"other":{other}}}}}"#);
        let list = format!(r#"{{"rust-suites":{{"nsct::twins":{tests}}}}}"#);
        assert_eq!(ignored_of(&list).unwrap(), ["a::cuda_b"]);
        assert!(ignored_of("no list").is_err());
    }

    #[test]
    fn cargo_test_runs_golden_tests_without_those_of_the_device() {
        let pass = Pass { what: "x", selection: vec!["--workspace".into()] };
        let ignored = ["a::cuda_b".to_owned(), "golden_c".to_owned()];
        let golden = |without| Which::Golden { ignored: &ignored, without };
        let words = line(&command(&pass, false, golden(&[]), &[]));
        assert!(words.ends_with("--workspace -- --ignored --skip a::cuda_b"), "{words}");
        let words = line(&command(&pass, false, golden(&WANTS), &[]));
        assert!(words.ends_with("--skip a::cuda_b --skip solvers_ --skip real_ffmpeg"), "{words}");
        let words = line(&command(&pass, false, Which::Plain, &[]));
        assert!(!words.contains("--ignored"), "{words}");
        let words = line(&command(&pass, true, golden(&WANTS), &[]));
        assert!(words.contains("--run-ignored only") && words.contains("not test(/real_ffmpeg/)"), "{words}");
    }
}
