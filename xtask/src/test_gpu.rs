//! `cargo xtask test-gpu`: every test on a machine with a CUDA device, and a report of what was proved.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bundle::{self, Manifest};
use crate::device::Device;
use crate::doctor;
use crate::report::Report;
use crate::suite::{self, Executable, Outcome, Setup};
use crate::workspace::{packages, root};

#[derive(Args)]
pub(crate) struct Options {
    /// Builds only: copies all that is needed on a machine without Rust to this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "prebuilt")]
    bundle: Option<PathBuf>,
    /// Leaves the optimised command and the benchmarks out of the bundle.
    #[arg(long, requires = "bundle")]
    tests_only: bool,
    /// Runs what a bundle holds.
    #[arg(long, value_name = "DIR")]
    prebuilt: Option<PathBuf>,
    /// Only the tests of this package (repeatable), and only its kernels need a proof.
    #[arg(long = "package", short, value_name = "NAME", conflicts_with = "prebuilt")]
    packages: Vec<String>,
    /// Folder of golden data (default: LOCKSTEP_DATA, else ../shared/data).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Random cases of each property test.
    #[arg(long, value_name = "N")]
    cases: Option<u32>,
    /// Seed of the random cases: a number, or `random`.
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Only tests whose name (`nsct::twins::taps_exact::cuda_matches_cpu`) contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Ordinal of the CUDA device.
    #[arg(long, value_name = "N")]
    device: Option<u32>,
    /// Runs the CUDA tests once more under compute-sanitizer: memcheck, then racecheck.
    #[arg(long)]
    sanitize: bool,
    /// Processes that share the device; each still runs its tests one by one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    /// Succeeds although tests were skipped.
    #[arg(long)]
    allow_skip: bool,
    /// Folder of report.json and report.md (default: target/lockstep).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Cases under a sanitizer, which slows kernels down by a factor of ten and more.
const SANITIZED_CASES: u32 = 8;

/// `cargo xtask test-gpu`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(folder) = &options.bundle {
        return bundle::write_bundle(&root()?, folder, &options.packages, options.tests_only);
    }
    let root = match &options.prebuilt {
        Some(folder) => folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?,
        None => root()?,
    };
    println!("== device");
    doctor::device()?;
    println!("\n== kernels");
    crate::check::run(&root, &packages(&root)?, |_| true)?;
    println!("\n== tests");
    let manifest = match &options.prebuilt {
        Some(_) => Manifest::load(&root)?,
        None => Manifest::of_tests(&root, &options.packages)?,
    };
    let out = options.out.clone().unwrap_or_else(|| root.join("target/lockstep"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let out = out.canonicalize().with_context(|| out.display().to_string())?;
    let data = data(options, &root)?;
    let mut proved_here = packages(&root)?;
    proved_here.retain(|package| manifest.packages.contains(&package.name));
    let mut report = Report::new(&manifest.commit, proved_here, options.filter.clone())?;
    let lines = out.join("records.jsonl");
    let _ = std::fs::remove_file(&lines);
    let mut variables = variables(options, data.as_deref(), &manifest);
    variables.push(("LOCKSTEP_REPORT".into(), lines.display().to_string()));
    for left in &manifest.left_out {
        report.left_out(left);
    }
    let mut parts = Vec::new();
    for test in &manifest.tests {
        parts.extend(parts_of(test, options, data.is_some(), &mut report)?);
    }
    run_parts(&parts, options, &Setup { variables: &variables, before: &[], alone: false, quiet: false }, &mut report)?;
    if options.sanitize {
        for tool in ["memcheck", "racecheck"] {
            sanitize(tool, &manifest, options, &variables, &mut report)?;
        }
    }
    report.add_records(&lines)?;
    let device = report.device().or_else(|| ask(options, manifest.command.as_deref()));
    report.finish(&out, options.allow_skip, device.as_ref())
}

/// The device as the command finds it, where no test of a twin has named it.
fn ask(options: &Options, command: Option<&Path>) -> Option<Device> {
    let ordinal = options.device.map(|n| n.to_string()).or_else(|| std::env::var("LOCKSTEP_DEVICE").ok());
    Device::of_command(command?, &format!("cuda:{}", ordinal.unwrap_or_else(|| "0".into()))).ok()
}

fn data(options: &Options, root: &Path) -> Result<Option<PathBuf>> {
    match &options.data {
        None => crate::test::data_folder(root),
        Some(folder) => {
            Ok(Some(folder.canonicalize().with_context(|| format!("no data folder {}", folder.display()))?))
        }
    }
}

fn variables(options: &Options, data: Option<&Path>, manifest: &Manifest) -> Vec<(String, String)> {
    let mut all = vec![("LOCKSTEP_REQUIRE_CUDA".to_owned(), "1".to_owned())];
    let mut set = |name: &str, value: Option<String>| all.extend(value.map(|value| (name.to_owned(), value)));
    set("LOCKSTEP_CASES", options.cases.map(|n| n.to_string()));
    set("LOCKSTEP_SEED", options.seed.clone());
    set("LOCKSTEP_DEVICE", options.device.map(|n| n.to_string()));
    set("LOCKSTEP_DATA", data.map(|folder| folder.display().to_string()));
    set("LOCKSTEP_COMMAND", manifest.command.as_ref().map(|file| file.display().to_string()));
    all
}

/// Tests of one executable that run in one process.
struct Part<'a> {
    test: &'a Executable,
    names: Vec<String>,
    /// On the device, one at a time.
    device: bool,
    /// What a sanitizer looks for.
    tool: Option<&'static str>,
}

impl Part<'_> {
    fn title(&self) -> String {
        match (self.tool, self.device) {
            (Some(tool), _) => format!("{}, under {tool}", self.test.name()),
            (None, true) => format!("{}, tests for a device", self.test.name()),
            (None, false) => self.test.name(),
        }
    }
}

fn parts_of<'a>(test: &'a Executable, options: &Options, data: bool, report: &mut Report) -> Result<Vec<Part<'a>>> {
    let tests = suite::list(test, options.filter.as_deref())?;
    let mut on_host = tests.plain;
    if data {
        on_host.extend(tests.data);
    } else {
        let why = "needs golden data: give --data DIR".to_owned();
        report.add(test, tests.data.into_iter().map(|name| (name, Outcome::Skipped(why.clone()))));
    }
    let mut parts = on_device(test, &tests.device, options.jobs, None);
    if !on_host.is_empty() {
        parts.insert(0, Part { test, names: on_host, device: false, tool: None });
    }
    Ok(parts)
}

/// Deals the tests out like cards, since neighbours tend to take the same time.
fn on_device<'a>(test: &'a Executable, names: &[String], jobs: u32, tool: Option<&'static str>) -> Vec<Part<'a>> {
    let jobs = (jobs as usize).min(names.len());
    let share = |i: usize| names.iter().skip(i).step_by(jobs).cloned().collect();
    (0..jobs).map(|i| Part { test, names: share(i), device: true, tool }).collect()
}

fn run_parts(parts: &[Part<'_>], options: &Options, setup: &Setup<'_>, report: &mut Report) -> Result<()> {
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    let work = || -> Result<()> {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if options.jobs == 1 {
                println!("\n-- {}", part.title());
            }
            let setup = Setup { alone: part.device, quiet: options.jobs > 1, ..*setup };
            let (outcomes, printed) = suite::run(part.test, &part.names, &setup)?;
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            if setup.quiet {
                println!("\n-- {}\n{printed}", part.title());
            }
            match (part.device, part.tool) {
                (true, None) => report.add_device(part.test, outcomes),
                (_, None) => report.add(part.test, outcomes),
                (_, Some(tool)) => {
                    report.add(part.test, outcomes.into_iter().map(|(name, o)| (format!("{name} under {tool}"), o)));
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker of --jobs panicked")))
    })
}

fn sanitize(
    tool: &'static str,
    manifest: &Manifest,
    options: &Options,
    variables: &[(String, String)],
    report: &mut Report,
) -> Result<()> {
    let Some(program) = doctor::sanitizer() else {
        bail!(
            "compute-sanitizer is neither on the PATH nor in CUDA_PATH/bin nor /usr/local/cuda/bin: install it or leave --sanitize out"
        );
    };
    // Asking whether an address belongs to the device is no fault when the answer is no.
    let mut before = vec![program.display().to_string()];
    before.extend(["--tool", tool, "--report-api-errors", "no", "--error-exitcode", "86"].map(str::to_owned));
    let mut variables: Vec<_> = variables.iter().filter(|(name, _)| name != "LOCKSTEP_REPORT").cloned().collect();
    if options.cases.is_none() {
        variables.push(("LOCKSTEP_CASES".into(), SANITIZED_CASES.to_string()));
    }
    let mut parts = Vec::new();
    for test in &manifest.tests {
        let tests = suite::list(test, options.filter.as_deref())?;
        parts.extend(on_device(test, &tests.device, options.jobs, Some(tool)));
    }
    run_parts(&parts, options, &Setup { variables: &variables, before: &before, alone: true, quiet: false }, report)
}
