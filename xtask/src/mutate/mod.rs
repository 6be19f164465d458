//! `cargo xtask mutate-kernels`: would the tests notice a broken kernel?
//!
//! Small faults are put into committed PTX one at a time, and the tests that prove the kernel run over a stand-in
//! driver on the CPU. Before its faults, each kernel is replaced by a trap: a kernel whose tests still pass is never
//! launched by them, and nothing else about it would be noticed either.

mod equivalent;
mod faults;
mod ledger;
mod pick;
mod runner;
mod select;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::bundle::{Manifest, commit};
use crate::kernels::in_threads;
use crate::simulated;
use crate::suite::{self, Executable};
use crate::workspace::{cargo, files_below, output, packages, read, root, sha256, shown};
use equivalent::Equivalents;
use faults::{Body, Fault};
use ledger::{Ledger, Mutant, Record, Verdict};
use runner::{Runner, Test};
use select::Selection;
use table::Summary;

/// The test whose record names the kernels that it proves; it comes first.
const MATCHES: &str = "cuda_matches_cpu";
/// The tests that a mutant meets.
const PROOFS: [&str; 2] = [MATCHES, "cuda_is_deterministic"];

/// Random cases of a test at first.
const CASES: u32 = 8;
/// Random cases of networks' tests for a fault that they did not notice: 4 on the simulated device are few, and 64, as on
/// a GPU, take too long there.
const CASES_OF_NETWORKS: u32 = 24;
/// Letters of a test's or the driver's words in a line of progress; `mutants.json` has more.
const WORDS: usize = 90;

const EXAMPLES: &str = "Examples:
  cargo xtask mutate-kernels                             four faults in every kernel
  cargo xtask mutate-kernels --filter taps --verbose     only some kernels, with all output
  cargo xtask mutate-kernels --per-kernel 20 --seed 7    more faults, and other ones
  cargo xtask mutate-kernels --survivors                 only the faults that survived, as docs/proofs.md lists them
  cargo xtask mutate-kernels --only taps.sm_75.ptx:77    every fault that this line could have
  cargo xtask mutate-kernels --package align             only a package's kernels
  cargo xtask mutate-kernels --resume --write            goes on after a stop, writes docs/proofs.md
  cargo xtask mutate-kernels --recorded --write          the same from earlier runs alone";

// Each flag of the command is one.
#[allow(clippy::struct_excessive_bools)]
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Faults in each kernel, of different kinds where it has them.
    #[arg(long, value_name = "N", default_value_t = 4)]
    per_kernel: usize,
    /// Chooses the faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only kernels whose name contains this; may be given several times.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Only kernels of this package; may be given several times.
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Only the faults that docs/proofs.md lists as survivors.
    #[arg(long, conflicts_with_all = ["per_kernel", "seed"])]
    survivors: bool,
    /// Every fault of this line of a PTX file, such as taps.sm_75.ptx:77; may be given several times.
    #[arg(long, value_name = "FILE:LINE", conflicts_with_all = ["per_kernel", "seed", "survivors"])]
    only: Vec<String>,
    /// Random cases of each test (default: 8, and 4 of networks). A fault that they do not notice meets the tests again
    /// with as many cases as in `cargo xtask test` (64; 4 of large transforms), and with 24 of networks.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cases: Option<u32>,
    /// Seconds after which a test does not end (or five times what it takes without a fault, if that is more).
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Mutants tested at the same time (default: number of cores).
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Takes over what an earlier run found out, from target/lockstep/mutants.jsonl. It knows mutants by kernel, fault,
    /// PTX file and cases: after changed tests, start afresh.
    #[arg(long)]
    resume: bool,
    /// Runs nothing: only what earlier runs found out. Kernels that have not met all of their faults are listed.
    #[arg(long, conflicts_with_all = ["survivors", "only", "prebuilt", "driver"])]
    recorded: bool,
    /// Writes the section of docs/proofs.md.
    #[arg(long, conflicts_with_all = ["filter", "package", "survivors", "only"])]
    write: bool,
    /// Fails when a fault survives.
    #[arg(long)]
    strict: bool,
    /// Shows what the tests print.
    #[arg(long)]
    verbose: bool,
    /// The stand-in driver (default: package sim-driver, built here).
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    /// Test executables of this bundle (`cargo xtask test-gpu --bundle`), instead of building them.
    #[arg(long, value_name = "FOLDER")]
    prebuilt: Option<PathBuf>,
}

impl Options {
    /// Random cases of the tests of a package at first.
    fn cases(&self, package: &str) -> u32 {
        self.cases.unwrap_or(CASES.min(simulated::most_cases(package)))
    }
}

/// Random cases with which a fault that nobody noticed meets most tests of a package again.
fn most_cases(package: &str) -> u32 {
    let usual = simulated::most_cases(package);
    if usual == simulated::FEW_CASES { CASES_OF_NETWORKS } else { usual }
}

/// A kernel of one PTX file.
struct Kernel {
    package: String,
    /// The file, relative to the root.
    file: String,
    hash: String,
    body: Body,
}

impl Kernel {
    fn name(&self) -> String {
        format!("{}: {}", self.package, self.body.entry)
    }

    fn mutant(&self, fault: Fault) -> Mutant {
        let (package, kernel) = (self.package.clone(), self.body.entry.clone());
        Mutant { package, kernel, file: self.file.clone(), hash: self.hash.clone(), fault }
    }
}

/// `cargo xtask mutate-kernels`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = root()?;
    let mut kernels = kernels(&root, &options.filter, &options.package)?;
    let proofs = root.join("docs/proofs.md");
    let selection = match options {
        Options { survivors: true, .. } => Selection::listed(&read(&proofs)?),
        Options { only, .. } => Selection::lines(only),
    };
    selection.check(&kernels)?;
    let equivalents = Equivalents::load(&root.join("docs/equivalent-faults.toml"), &kernels)?;
    kernels.retain(|kernel| selection.touches(kernel));
    let out = root.join("target/lockstep");
    let mut summary = Summary {
        commit: commit(&root),
        seed: options.seed,
        per_kernel: options.per_kernel,
        cases: options.cases.unwrap_or(CASES),
        records: Vec::new(),
        untested: Vec::new(),
        unmet: Vec::new(),
        equivalents,
        whole: options.filter.is_empty() && options.package.is_empty() && selection.is_everything(),
    };
    if options.recorded {
        let ledger = Ledger::open(&out.join("mutants.jsonl"), true)?;
        recorded(&kernels, &selection, options, &ledger, &mut summary);
        return finish(&summary, options, &out, &proofs);
    }
    let library = match &options.driver {
        Some(file) => file.canonicalize().with_context(|| format!("no driver {}", file.display()))?,
        None => build_driver()?,
    };
    let mut executables = match &options.prebuilt {
        Some(folder) => Manifest::load(folder)?.tests,
        None => Manifest::of_tests(&root, &options.package)?.tests,
    };
    executables.retain(|executable| kernels.iter().any(|kernel| kernel.package == executable.package));
    let all = tests(&executables)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = options.jobs.unwrap_or(cores).max(1);
    let limit = Duration::from_secs(options.timeout);
    let runner = Runner::new(&root, library, limit, (cores / jobs).max(1), options.verbose)?;
    let session = Session { options, jobs, runner, ledger: Ledger::open(&out.join("mutants.jsonl"), options.resume)? };
    let tests = session.tests_of(&kernels, all, &out.join("mutants-records.jsonl"))?;
    let launched = session.launched(&kernels, &tests, &mut summary.untested)?;
    let mutants = launched.iter().flat_map(|kernel| selection.mutants(kernel, options)).collect::<Vec<_>>();
    println!("\n== {} faults in {} kernels", mutants.len(), launched.len());
    summary.records = session.judge(&mutants, &tests)?;
    finish(&summary, options, &out, &proofs)
}

/// Prints and keeps the results.
fn finish(summary: &Summary, options: &Options, out: &Path, proofs: &Path) -> Result<()> {
    println!("{}", summary.text());
    summary.write_json(&out.join("mutants.json"))?;
    println!("all of it: {}", shown(&out.join("mutants.json")));
    if options.write {
        summary.write_section(proofs)?;
    }
    verdict(summary, options.strict)
}

/// What earlier runs made of these kernels' faults.
fn recorded(kernels: &[Kernel], selection: &Selection, options: &Options, ledger: &Ledger, summary: &mut Summary) {
    for kernel in kernels {
        let most = most_cases(&kernel.package);
        let known = |mutant: &Mutant| {
            let record = ledger.find(mutant, options.cases(&kernel.package))?;
            let more = (record.verdict == Verdict::Survived).then(|| ledger.find(mutant, most)).flatten();
            Some(more.unwrap_or(record).clone())
        };
        match known(&kernel.mutant(kernel.body.trap.clone())) {
            None => summary.unmet.push(format!("{}: all", kernel.name())),
            Some(trap) if trap.verdict == Verdict::Survived => {
                summary.untested.push(format!("{}: its tests never launch it", kernel.name()));
            }
            Some(_) => {
                let mutants = selection.mutants(kernel, options);
                let records: Vec<Record> = mutants.iter().filter_map(known).collect();
                if records.len() < mutants.len() {
                    let missing = mutants.len() - records.len();
                    summary.unmet.push(format!("{}: {missing} of {}", kernel.name(), mutants.len()));
                }
                summary.records.extend(records);
            }
        }
    }
}

fn verdict(summary: &Summary, strict: bool) -> Result<()> {
    let survivors = summary.survivors().count();
    let complaints = summary.complaints().len();
    match summary.untested.len() {
        0 if strict && complaints > 0 => bail!("{complaints} entries of docs/equivalent-faults.toml are wrong"),
        0 if strict && survivors > 0 => bail!("{survivors} faults survived"),
        0 => Ok(()),
        n => bail!("{n} kernels have no test, or none that launches them"),
    }
}

/// The kernels of every committed PTX file, of these packages or of all.
fn kernels(root: &Path, filter: &[String], chosen: &[String]) -> Result<Vec<Kernel>> {
    let mut packages = packages(root)?;
    if let Some(name) = chosen.iter().find(|name| packages.iter().all(|package| package.name != **name)) {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        bail!("no package {name}; packages with kernels are {}", names.join(", "));
    }
    packages.retain(|package| chosen.is_empty() || chosen.contains(&package.name));
    let mut all = Vec::new();
    for package in packages {
        for file in files_below(&package.folder.join("kernels/ptx"), "ptx")? {
            let text = read(&file)?;
            let hash = sha256(text.as_bytes());
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            all.extend(faults::bodies(&text).into_iter().map(|body| Kernel {
                package: package.name.clone(),
                file: name.clone(),
                hash: hash.clone(),
                body,
            }));
        }
    }
    all.retain(|kernel| filter.is_empty() || filter.iter().any(|part| kernel.body.entry.contains(part)));
    match filter {
        _ if !all.is_empty() => Ok(all),
        [] => bail!("no kernels in crates/*/kernels/ptx: run `cargo xtask kernels`"),
        parts => bail!("no kernel's name contains {}", parts.join(" or ")),
    }
}

/// Builds the stand-in driver; the file of the library.
fn build_driver() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "sim-driver", "--message-format=json-render-diagnostics"]);
    let out = output(command.stderr(Stdio::inherit())).context("the stand-in driver does not build")?;
    library_in(&String::from_utf8_lossy(&out.stdout)).context("cargo names no library of the package sim-driver")
}

/// The dynamic library among the messages of cargo.
fn library_in(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = messages.filter(|message| message["target"]["name"] == "sim_driver");
    let files = ours.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
    files.find(|file| file.to_string_lossy().ends_with(std::env::consts::DLL_SUFFIX))
}

/// The tests of `twins!` entries that need a device.
fn tests(executables: &[Executable]) -> Result<Vec<Test>> {
    let mut all = Vec::new();
    for executable in executables {
        for name in suite::list(executable, None)?.device {
            if PROOFS.iter().any(|proof| name.ends_with(&format!("::{proof}"))) {
                all.push(Test { executable: executable.clone(), name, seconds: 0.0 });
            }
        }
    }
    if all.is_empty() {
        bail!("no test executable has a test named {MATCHES}");
    }
    Ok(all)
}

/// The tests of each kernel, by package and name, the quickest first.
type ByKernel = BTreeMap<(String, String), Vec<Test>>;

struct Session<'a> {
    options: &'a Options,
    jobs: usize,
    runner: Runner,
    ledger: Ledger,
}

impl Session<'_> {
    /// Finds out which tests prove these kernels, and that they pass without a fault.
    fn tests_of(&self, kernels: &[Kernel], all: Vec<Test>, records: &Path) -> Result<ByKernel> {
        let _ = std::fs::remove_file(records);
        let (first, second): (Vec<Test>, Vec<Test>) = all.into_iter().partition(|test| test.name.ends_with(MATCHES));
        println!("\n== which tests prove which kernels: {} tests with one case", first.len());
        let first = self.undisturbed(first, |_| 1, Some(records))?;
        let proved = proved(&if records.is_file() { read(records)? } else { String::new() })?;
        let names = kernels.iter().map(|kernel| (kernel.package.clone(), kernel.body.entry.clone()));
        let wanted: BTreeMap<_, _> = names.filter_map(|key| Some((key.clone(), proved.get(&key)?.clone()))).collect();
        let is_of = |test: &Test, (package, _): &(String, String), entries: &BTreeSet<String>| {
            test.executable.package == *package && entries.contains(test.entry())
        };
        let mut needed: Vec<Test> = first.into_iter().chain(second).collect();
        needed.retain(|test| wanted.iter().any(|(key, entries)| is_of(test, key, entries)));
        println!("\n== {} tests without a fault", needed.len());
        let needed = self.undisturbed(needed, |test| self.options.cases(&test.executable.package), None)?;
        let of = |key: &(String, String), entries: &BTreeSet<String>| {
            let mut tests: Vec<Test> = needed.iter().filter(|test| is_of(test, key, entries)).cloned().collect();
            tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            tests
        };
        Ok(wanted.iter().map(|(key, entries)| (key.clone(), of(key, entries))).collect())
    }

    /// Runs tests without a fault and times them. One that fails makes every mutant look caught.
    fn undisturbed(
        &self,
        tests: Vec<Test>,
        cases: impl Fn(&Test) -> u32 + Sync,
        report: Option<&Path>,
    ) -> Result<Vec<Test>> {
        let ran = in_threads(self.jobs, &tests, |test| self.runner.run_plain(test, cases(test), report));
        let mut failed = Vec::new();
        let mut timed = Vec::new();
        for (test, ran) in tests.into_iter().zip(ran) {
            let ran = ran?;
            if !ran.passed() {
                println!("-- {}\n{}", test.full_name(), ran.output());
                failed.push(format!("{}: {}", test.full_name(), ran.words()));
            }
            timed.push(Test { seconds: ran.seconds, ..test });
        }
        if failed.is_empty() {
            return Ok(timed);
        }
        bail!(
            "{} tests fail without any fault, so that mutants would prove nothing:\n  {}",
            failed.len(),
            failed.join("\n  ")
        )
    }

    /// The kernels that their tests launch: those whose tests notice a trap. The others go to `untested`.
    fn launched<'k>(
        &self,
        kernels: &'k [Kernel],
        tests: &ByKernel,
        untested: &mut Vec<String>,
    ) -> Result<Vec<&'k Kernel>> {
        let has_test = |kernel: &&Kernel| tests.contains_key(&(kernel.package.clone(), kernel.body.entry.clone()));
        let (tested, others): (Vec<_>, Vec<_>) = kernels.iter().partition(has_test);
        untested.extend(others.iter().map(|kernel| format!("{}: no passing test names it", kernel.name())));
        println!("\n== which kernels are launched: {} traps", tested.len());
        let traps: Vec<Mutant> = tested.iter().map(|kernel| kernel.mutant(kernel.body.trap.clone())).collect();
        let records = self.judge(&traps, tests)?;
        let noticed = |record: &&Record| record.verdict != Verdict::Survived;
        let names: BTreeSet<String> =
            records.iter().filter(noticed).map(|record| format!("{}: {}", record.package, record.kernel)).collect();
        if names.is_empty() && !tested.is_empty() {
            bail!("no test notices a kernel that is a trap: does the driver replace the lines that SIM_PATCH names?");
        }
        let mut launched = Vec::new();
        for (kernel, record) in tested.into_iter().zip(&records) {
            if record.verdict != Verdict::Survived {
                launched.push(kernel);
            } else if names.contains(&kernel.name()) {
                // The same kernel for another generation of devices.
                println!("{} of {} is not what the stand-in device takes: left out", kernel.name(), kernel.file);
            } else {
                untested.push(format!("{}: its tests never launch it", kernel.name()));
            }
        }
        Ok(launched)
    }

    /// What becomes of each mutant, in their order.
    fn judge(&self, mutants: &[Mutant], tests: &ByKernel) -> Result<Vec<Record>> {
        let done = AtomicUsize::new(0);
        let one = |mutant: &Mutant| -> Result<Record> {
            let key = (mutant.package.clone(), mutant.kernel.clone());
            let tests = tests.get(&key).map(Vec::as_slice).unwrap_or_default();
            let cases = self.options.cases(&mutant.package);
            let (mut record, mut known) = self.with_cases(mutant, tests, cases)?;
            let more = self.with_more_cases(tests);
            if record.verdict == Verdict::Survived && record.kind != faults::Kind::Trap && !more.is_empty() {
                (record, known) = self.with_cases(mutant, &more, most_cases(&mutant.package))?;
            }
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            let earlier = if known { " (earlier)" } else { "" };
            println!("[{count}/{}] {}{earlier}", mutants.len(), progress(&record));
            Ok(record)
        };
        in_threads(self.jobs, mutants, one).into_iter().collect()
    }

    /// The tests that can have more cases, and the time that they take with these.
    fn with_more_cases(&self, tests: &[Test]) -> Vec<Test> {
        let cases = |test: &Test| self.options.cases(&test.executable.package);
        let most = |test: &Test| {
            let package = &test.executable.package;
            if simulated::is_whole(&test.name) { simulated::FEW_CASES } else { most_cases(package) }
        };
        let more = tests.iter().filter(|test| most(test) > cases(test));
        more.map(|test| Test { seconds: test.seconds * f64::from(most(test)) / f64::from(cases(test)), ..test.clone() })
            .collect()
    }

    /// What these tests make of a mutant, and whether that was known from an earlier run.
    fn with_cases(&self, mutant: &Mutant, tests: &[Test], cases: u32) -> Result<(Record, bool)> {
        if let Some(record) = self.ledger.find(mutant, cases) {
            return Ok((record.clone(), true));
        }
        let record = self.runner.judge(mutant, tests, cases)?;
        self.ledger.add(&record)?;
        Ok((record, false))
    }
}

/// One line about a mutant.
fn progress(record: &Record) -> String {
    let Record { kernel, kind, line, verdict, words, .. } = record;
    let short = words.chars().take(WORDS).collect::<String>();
    let words = if words.is_empty() { String::new() } else { format!(" ({short})") };
    let verdict = match verdict {
        // Passing tests mean another thing here.
        Verdict::Survived if *kind == faults::Kind::Trap => "NOT LAUNCHED",
        verdict => verdict.name(),
    };
    format!("{kernel}: {} at line {line}: {verdict}{words}", kind.name())
}

/// The entries that prove each kernel, by package and name, from the lines that the tests wrote.
fn proved(lines: &str) -> Result<BTreeMap<(String, String), BTreeSet<String>>> {
    let mut all: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).with_context(|| format!("a test's record: {line}"))?;
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        for kernel in record["kernels"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if text("proof") == MATCHES {
                all.entry((text("package"), kernel.to_owned())).or_default().insert(text("entry"));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
