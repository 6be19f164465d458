//! `cargo xtask ci`: everything that a change must pass. No network, no GPU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::driver_symbols;
use crate::kernels;
use crate::test::{self, libraries};
use crate::workspace::{cargo, list, output, root, run, says};

/// Something that must succeed.
type Step<'a> = (&'static str, Box<dyn Fn() -> Result<()> + 'a>);

#[derive(Args)]
pub(crate) struct Options {
    /// Only these steps (default: all).
    steps: Vec<String>,
}

/// `cargo xtask ci`. All steps run, so that one run shows all faults.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    let root = root()?;
    let libraries = libraries(&root)?;
    let steps: Vec<Step<'_>> = vec![
        ("format", Box::new(|| run(cargo().args(["fmt", "--all", "--check"])))),
        ("kernels", Box::new(kernels::check_all)),
        ("committed", Box::new(|| committed(&root))),
        ("driver-symbols", Box::new(|| driver_symbols::run(&driver_symbols::Options { check: true }))),
        ("spelling", Box::new(|| optional("typos", &["--version"], Command::new("typos").current_dir(&root)))),
        ("dependencies", Box::new(dependencies)),
        ("oldest-rust", Box::new(|| oldest_rust(&root))),
        ("lints", Box::new(|| lints(&libraries))),
        ("documentation", Box::new(documentation)),
        ("tests", Box::new(|| test::run(&test::Options { arguments: Vec::new() }))),
    ];
    let names = steps.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = options.steps.iter().find(|step| steps.iter().all(|(name, _)| name != step)) {
        bail!("there is no step {unknown}; steps are {names}");
    }
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    for (name, step) in
        steps.into_iter().filter(|(name, _)| options.steps.is_empty() || options.steps.iter().any(|s| s == name))
    {
        println!("\n==== {name}");
        let start = Instant::now();
        let result = step();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        lines.push(format!("  {name:<18} {verdict:<7} {:>6.1} s", start.elapsed().as_secs_f64()));
        if let Err(e) = result {
            println!("{e:#}");
            faults.push(name);
        }
    }
    println!("\n==== summary\n{}", lines.join("\n"));
    if faults.is_empty() { Ok(()) } else { bail!("failed: {}", faults.join(", ")) }
}

/// Lints for no features, `cuda`, and all. Flags go behind `--`, so that dependencies are checked once for all of them.
fn lints(libraries: &[String]) -> Result<()> {
    let only_libraries: Vec<&str> = libraries.iter().flat_map(|name| ["--package", name.as_str()]).collect();
    let clippy = |arguments: &[&str]| {
        run(cargo().args(["clippy", "--quiet"]).args(arguments).args(["--", "--deny", "warnings"]))
    };
    let selections: [Vec<&str>; 5] = [
        // What a user of a library gets: no development dependencies, which would switch features on.
        [&only_libraries[..], &["--lib"]].concat(),
        [&only_libraries[..], &["--package", "xtask", "--all-targets"]].concat(),
        vec!["--package", "lockstep", "--no-default-features", "--all-targets"],
        vec!["--workspace", "--all-targets", "--features", "cuda"],
        vec!["--workspace", "--all-targets", "--all-features"],
    ];
    let results: Vec<Result<()>> = selections.iter().map(|selection| clippy(selection)).collect();
    results.into_iter().collect()
}

/// The oldest Rust that `Cargo.toml` promises: no dependency asks for a newer one, and, where rustup has it, everything
/// builds with it. (What the standard library lacks there is a lint, `incompatible_msrv`, which runs with every Rust.)
fn oldest_rust(root: &Path) -> Result<()> {
    let out = output(cargo().args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"]))?;
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let oldest = packages.iter().find(|package| package["name"] == "gpu-core").map(|own| &own["rust_version"]);
    let oldest = oldest.and_then(serde_json::Value::as_str).context("Cargo.toml names no rust-version")?;
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| package["rust_version"].as_str().is_some_and(|asked| number(asked) > number(oldest)))
        .map(|package| format!("{} {} asks for Rust {}", package["name"], package["version"], package["rust_version"]))
        .collect();
    if !newer.is_empty() {
        bail!("Cargo.toml promises Rust {oldest}, but:\n{}", newer.join("\n"));
    }
    let installed = says("rustup", &["toolchain", "list"]).unwrap_or_default();
    let Some(toolchain) = installed
        .split_whitespace()
        .find(|name| name.strip_prefix(oldest).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-'])))
    else {
        println!("NOT BUILT with Rust {oldest}: it is not installed (`rustup toolchain install {oldest}`)");
        return Ok(());
    };
    let mut check = Command::new("cargo");
    check.current_dir(root).arg(format!("+{toolchain}")).args(["check", "--workspace", "--all-targets"]);
    run(check.args(["--all-features", "--locked"]).env_remove("RUSTUP_TOOLCHAIN"))
}

/// `1.88` and `1.88.0` as numbers that compare.
fn number(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

fn documentation() -> Result<()> {
    let mut doc = cargo();
    doc.args(["doc", "--quiet", "--workspace", "--no-deps", "--features", "cuda"]);
    run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Compiled kernels that git does not have yet: a fresh clone would miss them.
fn committed(root: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["status", "--porcelain", "--untracked-files=all", "--ignored", "--"]);
    let out = output(git.args([":(glob)crates/*/kernels/**/*.ptx", ":(glob)crates/*/kernels/kernels.lock"]))?;
    let text = String::from_utf8_lossy(&out.stdout).trim_end().to_owned();
    if text.is_empty() {
        return Ok(());
    }
    // On a person's machine work may be under way; a clean checkout has no excuse.
    if std::env::var_os("CI").is_some() {
        bail!("compiled kernels differ from the commit:\n{text}");
    }
    println!("to commit:\n{text}");
    Ok(())
}

/// Runs a tool where it is installed; says so where it is not.
fn optional(tool: &str, version: &[&str], command: &mut Command) -> Result<()> {
    if says(tool, version).is_some() {
        return run(command);
    }
    println!("NOT CHECKED: {tool} is not installed (`cargo xtask doctor` says how)");
    Ok(())
}

/// Licences, sources and duplicates; advisories where their database has been fetched.
fn dependencies() -> Result<()> {
    let mut deny = cargo();
    deny.args(["deny", "--offline", "--log-level", "error", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let fetched =
        |home: PathBuf| list(&home.join("advisory-dbs")).is_ok_and(|all| all.iter().any(|path| path.is_dir()));
    if home.is_some_and(fetched) {
        deny.arg("advisories");
    } else {
        println!("NOT CHECKED: advisories, since their database is not here (`cargo deny fetch db`)");
    }
    optional("cargo-deny", &["--version"], &mut deny)
}
