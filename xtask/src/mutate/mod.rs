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

/// Letters of a test's or the driver's words in a line of progress; `mutants.json` has more.
const WORDS: usize = 90;

const EXAMPLES: &str = "Examples:
  cargo xtask mutate-kernels                             four faults in every kernel
  cargo xtask mutate-kernels --filter taps --verbose     only some kernels, with all output
  cargo xtask mutate-kernels --per-kernel 20 --seed 7    more faults, and other ones
  cargo xtask mutate-kernels --survivors                 only the faults that survived, as docs/proofs.md lists them
  cargo xtask mutate-kernels --only taps.sm_75.ptx:77    every fault that this line could have
  cargo xtask mutate-kernels --resume --write            goes on after a stop, writes docs/proofs.md";

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
    /// Only kernels whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only the faults that docs/proofs.md lists as survivors.
    #[arg(long, conflicts_with_all = ["per_kernel", "seed"])]
    survivors: bool,
    /// Every fault of this line of a PTX file, such as taps.sm_75.ptx:77; may be given several times.
    #[arg(long, value_name = "FILE:LINE", conflicts_with_all = ["per_kernel", "seed", "survivors"])]
    only: Vec<String>,
    /// Random cases of each test. A fault that they do not notice meets the tests again with as many cases as in
    /// `cargo xtask test` (64; 4 of large transforms), where that is more.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
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
    /// Writes the section of docs/proofs.md.
    #[arg(long, conflicts_with_all = ["filter", "survivors", "only"])]
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
    let mut kernels = kernels(&root, options.filter.as_deref())?;
    let proofs = root.join("docs/proofs.md");
    let selection = match options {
        Options { survivors: true, .. } => Selection::listed(&read(&proofs)?),
        Options { only, .. } => Selection::lines(only),
    };
    selection.check(&kernels)?;
    let equivalents = Equivalents::load(&root.join("docs/equivalent-faults.toml"), &kernels)?;
    kernels.retain(|kernel| selection.touches(kernel));
    let library = match &options.driver {
        Some(file) => file.canonicalize().with_context(|| format!("no driver {}", file.display()))?,
        None => build_driver()?,
    };
    let all = tests(&Manifest::of_tests(&root, &[])?.tests)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = options.jobs.unwrap_or(cores).max(1);
    let limit = Duration::from_secs(options.timeout);
    let runner = Runner::new(&root, library, limit, (cores / jobs).max(1), options.verbose)?;
    let out = root.join("target/lockstep");
    let session = Session { options, jobs, runner, ledger: Ledger::open(&out.join("mutants.jsonl"), options.resume)? };
    let tests = session.tests_of(&kernels, all, &out.join("mutants-records.jsonl"))?;
    let mut summary = Summary {
        commit: commit(&root),
        seed: options.seed,
        per_kernel: options.per_kernel,
        cases: options.cases,
        records: Vec::new(),
        untested: Vec::new(),
        equivalents,
        whole: options.filter.is_none() && selection.is_everything(),
    };
    let launched = session.launched(&kernels, &tests, &mut summary.untested)?;
    let mutants = launched.iter().flat_map(|kernel| selection.mutants(kernel, options)).collect::<Vec<_>>();
    println!("\n== {} faults in {} kernels", mutants.len(), launched.len());
    summary.records = session.judge(&mutants, &tests)?;
    println!("{}", summary.text());
    summary.write_json(&out.join("mutants.json"))?;
    println!("all of it: {}", shown(&out.join("mutants.json")));
    if options.write {
        summary.write_section(&proofs)?;
    }
    verdict(&summary, options.strict)
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

/// The kernels of every committed PTX file.
fn kernels(root: &Path, filter: Option<&str>) -> Result<Vec<Kernel>> {
    let mut all = Vec::new();
    for package in packages(root)? {
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
    all.retain(|kernel| filter.is_none_or(|part| kernel.body.entry.contains(part)));
    match filter {
        Some(part) if all.is_empty() => bail!("no kernel's name contains {part}"),
        _ if all.is_empty() => bail!("no kernels in crates/*/kernels/ptx: run `cargo xtask kernels`"),
        _ => Ok(all),
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
        let first = self.undisturbed(first, 1, Some(records))?;
        let proved = proved(&if records.is_file() { read(records)? } else { String::new() })?;
        let names = kernels.iter().map(|kernel| (kernel.package.clone(), kernel.body.entry.clone()));
        let wanted: BTreeMap<_, _> = names.filter_map(|key| Some((key.clone(), proved.get(&key)?.clone()))).collect();
        let is_of = |test: &Test, (package, _): &(String, String), entries: &BTreeSet<String>| {
            test.executable.package == *package && entries.contains(test.entry())
        };
        let mut needed: Vec<Test> = first.into_iter().chain(second).collect();
        needed.retain(|test| wanted.iter().any(|(key, entries)| is_of(test, key, entries)));
        println!("\n== {} tests without a fault, with {} cases", needed.len(), self.options.cases);
        let needed = self.undisturbed(needed, self.options.cases, None)?;
        let of = |key: &(String, String), entries: &BTreeSet<String>| {
            let mut tests: Vec<Test> = needed.iter().filter(|test| is_of(test, key, entries)).cloned().collect();
            tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            tests
        };
        Ok(wanted.iter().map(|(key, entries)| (key.clone(), of(key, entries))).collect())
    }

    /// Runs tests without a fault and times them. One that fails makes every mutant look caught.
    fn undisturbed(&self, tests: Vec<Test>, cases: u32, report: Option<&Path>) -> Result<Vec<Test>> {
        let ran = in_threads(self.jobs, &tests, |test| self.runner.run_plain(test, cases, report));
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
            let (mut record, mut known) = self.with_cases(mutant, tests, self.options.cases)?;
            let more = self.with_more_cases(tests);
            if record.verdict == Verdict::Survived && record.kind != faults::Kind::Trap && !more.is_empty() {
                (record, known) = self.with_cases(mutant, &more, simulated::CASES)?;
            }
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            let earlier = if known { " (earlier)" } else { "" };
            println!("[{count}/{}] {}{earlier}", mutants.len(), progress(&record));
            Ok(record)
        };
        in_threads(self.jobs, mutants, one).into_iter().collect()
    }

    /// The tests that have more cases in `cargo xtask test` than here, and the time that they take with these.
    fn with_more_cases(&self, tests: &[Test]) -> Vec<Test> {
        let cases = self.options.cases;
        let more = tests.iter().filter(|test| simulated::cases(&test.name) > cases);
        let times = f64::from(simulated::CASES) / f64::from(cases);
        more.map(|test| Test { seconds: test.seconds * times, ..test.clone() }).collect()
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
