//! Running device tests over the stand-in driver: one test a process, each in a folder of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::ledger::{Mutant, Record, Verdict};
use crate::simulated;
use crate::suite::Executable;
use crate::tee::Tally;
use crate::workspace::{files_below, list, read, write};

/// Instructions of one launch: a loop without an end becomes an error before the time is up.
const FUEL: &str = "200000000";
/// A test may take this many times as long as without a fault before it counts as endless, however long that is.
const PATIENCE: f64 = 5.0;
/// Variables of a person's own that would change what is tested.
const UNSET: [&str; 5] =
    ["SIM_PATCH", "LOCKSTEP_REPORT", "LOCKSTEP_KERNEL_DIR", "LOCKSTEP_DEVICE", "LOCKSTEP_LAUNCH_BLOCKING"];

/// A device test of a `twins!` entry.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) executable: Executable,
    /// `taps_exact::cuda_matches_cpu`.
    pub(crate) name: String,
    /// How long it takes without a fault.
    pub(crate) seconds: f64,
}

impl Test {
    pub(crate) fn full_name(&self) -> String {
        format!("{}::{}", self.executable.name(), self.name)
    }

    /// The `twins!` entry: `taps_exact`.
    pub(crate) fn entry(&self) -> &str {
        self.name.rsplit("::").nth(1).unwrap_or_default()
    }
}

/// How a test ended.
pub(crate) struct Ran {
    /// Nothing when it was stopped.
    status: Option<ExitStatus>,
    pub(crate) seconds: f64,
    out: String,
    err: String,
}

impl Ran {
    /// Whether the one test ran and passed: an executable that knows no such test succeeds too.
    pub(crate) fn passed(&self) -> bool {
        let tally = self.out.lines().find_map(Tally::of_line).unwrap_or_default();
        self.status.is_some_and(|status| status.success()) && (tally.passed, tally.failed) == (1, 0)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let says = |text: &str| self.out.contains(text) || self.err.contains(text);
        match self.status {
            _ if self.passed() => Verdict::Survived,
            None => Verdict::Hang,
            _ if ["INVALID_PTX", "NOT_SUPPORTED", "sim: unsupported"].into_iter().any(says) => Verdict::Refused,
            _ if self.report().is_some() => Verdict::Fault,
            _ => Verdict::WrongResult,
        }
    }

    /// What the driver said first.
    fn report(&self) -> Option<&str> {
        self.err.lines().find_map(|line| line.strip_prefix("sim: "))
    }

    /// The line that says most.
    pub(crate) fn words(&self) -> String {
        let told = self.out.lines().chain(self.err.lines()).find(|line| line.contains("Test failed: "));
        let words = match self.status {
            None => format!("stopped after {:.0} s", self.seconds),
            Some(status) => self.report().or(told).map_or_else(|| status.to_string(), |line| line.trim().to_owned()),
        };
        words.chars().take(200).collect()
    }

    /// All that it printed.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The stand-in driver and a folder for scratch.
pub(crate) struct Runner {
    library: PathBuf,
    scratch: PathBuf,
    /// Files with the seeds of failed cases, and where they lie below the root.
    seeds: Vec<(PathBuf, PathBuf)>,
    limit: Duration,
    /// Threads of each test.
    threads: usize,
    verbose: bool,
    next: AtomicUsize,
}

impl Runner {
    pub(crate) fn new(root: &Path, library: PathBuf, limit: Duration, threads: usize, verbose: bool) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lockstep-mutants-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scratch = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let scratch = scratch.canonicalize().with_context(|| scratch.display().to_string())?;
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        if scratch.starts_with(&root) {
            bail!("{} is inside the checkout, where failing tests would leave files: set TMPDIR", scratch.display());
        }
        let mut seeds = Vec::new();
        for package in list(&root.join("crates"))? {
            for file in files_below(&package.join("tests"), "regressions")? {
                let inside = file.strip_prefix(&root).unwrap_or(&file).to_path_buf();
                seeds.push((file, inside));
            }
        }
        Ok(Self { library, scratch, seeds, limit, threads, verbose, next: AtomicUsize::new(0) })
    }

    /// A fresh folder. A test that fails keeps its seed beside its source, which it looks for from the current folder
    /// upwards: here it finds a copy of the seeds and an empty source, and leaves the checkout alone.
    fn folder(&self) -> Result<PathBuf> {
        let folder = self.scratch.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        for (file, inside) in &self.seeds {
            write(&folder.join(inside), read(file)?)?;
            write(&folder.join(inside).with_extension("rs"), "")?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Runs a test with further variables, for at most `limit`.
    pub(crate) fn run(&self, test: &Test, cases: u32, more: &[(&str, &Path)], limit: Duration) -> Result<Ran> {
        let folder = self.folder()?;
        let (out, err) = (folder.join("out"), folder.join("err"));
        let file = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let mut command = Command::new(&test.executable.file);
        command.args(["--include-ignored", "--exact", "--test-threads=1", &test.name]).current_dir(&folder);
        for name in UNSET {
            command.env_remove(name);
        }
        command.env("CARGO_MANIFEST_DIR", &test.executable.folder);
        command.envs(simulated::variables(&self.library));
        command.env("LOCKSTEP_CASES", cases.to_string()).env("SIM_FUEL", FUEL);
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        // The first failing case is enough: no time for a smaller one.
        command.env("PROPTEST_MAX_SHRINK_TIME", "1");
        command.envs(more.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&err)?);
        let start = Instant::now();
        let status = ended(&mut command, limit).with_context(|| test.full_name())?;
        let seconds = start.elapsed().as_secs_f64();
        let text = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (out, err) = (text(&out)?, text(&err)?);
        let ran = Ran { status, seconds, out, err };
        if self.verbose {
            println!("-- {}, {seconds:.1} s\n{}", test.full_name(), ran.output());
        }
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(ran)
    }

    /// Runs a test without a fault, with ten times the patience.
    pub(crate) fn run_plain(&self, test: &Test, cases: u32, report: Option<&Path>) -> Result<Ran> {
        let more: Vec<_> = report.iter().map(|file| ("LOCKSTEP_REPORT", *file)).collect();
        self.run(test, cases, &more, self.limit * 10)
    }

    /// Runs these tests on a mutant until one fails.
    pub(crate) fn judge(&self, mutant: &Mutant, tests: &[Test], cases: u32) -> Result<Record> {
        let patch = self.scratch.join(format!("{}.patch", self.next.fetch_add(1, Ordering::Relaxed)));
        write(&patch, patch_line(mutant))?;
        let Mutant { package, kernel, file, hash, fault } = mutant.clone();
        let mut record = Record {
            package,
            kernel,
            file,
            hash,
            line: fault.line,
            kind: fault.kind,
            old: fault.old,
            new: fault.new,
            cases,
            verdict: Verdict::Survived,
            test: String::new(),
            words: String::new(),
        };
        for test in tests {
            let limit = self.limit.max(Duration::from_secs_f64(test.seconds * PATIENCE));
            let ran = self.run(test, cases, &[("SIM_PATCH", &patch)], limit)?;
            record.verdict = ran.verdict();
            if record.verdict != Verdict::Survived {
                (record.test, record.words) = (test.full_name(), ran.words());
                break;
            }
        }
        std::fs::remove_file(&patch).with_context(|| format!("cannot remove {}", patch.display()))?;
        Ok(record)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// What `SIM_PATCH` names: the kernel, the line's number, the old and the new text, between tabs.
fn patch_line(mutant: &Mutant) -> String {
    let Mutant { kernel, fault, .. } = mutant;
    format!("{kernel}\t{}\t{}\t{}\n", fault.line, fault.old, fault.new)
}

/// Waits for a program, and kills it when it takes longer than `limit`.
fn ended(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().context("cannot start it")?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for it")? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            // It may have ended just now, which is as good.
            let _ = child.kill();
            child.wait().context("waiting for it")?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::mutate::ledger::tests::mutant;

    /// A stand-in for a test executable: what it does depends on the patch and on the test's name, its last argument.
    const SCRIPT: &str = r#"#!/bin/sh
for name in "$@"; do :; done
test "$LOCKSTEP_REQUIRE_CUDA$LOCKSTEP_CASES" = 18 || exit 2
case "$name:$(cat "$SIM_PATCH" 2>/dev/null)" in
bad::*) echo "Test failed: output 0: differs."; exit 101;;
*:hang*) exec sleep 20;;
*:fault*) echo "sim: race in k" >&2; exit 101;;
*:refused*) echo "CUDA_ERROR_INVALID_PTX"; exit 101;;
none::*) echo "test result: ok. 0 passed; 0 failed";;
*) echo "test result: ok. 1 passed; 0 failed"; echo seed > left;;
esac
"#;

    #[test]
    fn mutants_are_judged_by_what_the_tests_do() {
        use std::os::unix::fs::PermissionsExt;
        let root = std::env::temp_dir().join(format!("xtask-runner-{}", std::process::id()));
        let file = root.join("fake");
        write(&file, SCRIPT).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        write(&root.join("crates/a/tests/t.regressions"), "cc 1\n").unwrap();
        let executable = Executable { package: "p".into(), target: "t".into(), file, folder: root.clone() };
        let test = |name: &str| Test { executable: executable.clone(), name: name.into(), seconds: 0.01 };
        let (good, bad, none) = (test("good::x"), test("bad::x"), test("none::x"));
        assert_eq!(bad.entry(), "bad");
        let runner = Runner::new(&root, "lib".into(), Duration::from_secs(1), 1, false).unwrap();
        assert_eq!(runner.seeds.len(), 1);
        let judge = |kernel: &str, tests: &[&Test]| {
            let tests: Vec<Test> = tests.iter().map(|test| (*test).clone()).collect();
            runner.judge(&mutant(kernel, 3), &tests, 8).unwrap()
        };
        assert_eq!(judge("quiet", &[&good, &good]).verdict, Verdict::Survived);
        let caught = judge("quiet", &[&good, &bad]);
        assert_eq!((caught.verdict, caught.test.as_str()), (Verdict::WrongResult, "p::t::bad::x"));
        assert!(caught.words.contains("differs"), "{}", caught.words);
        let fault = judge("fault", &[&good]);
        assert_eq!((fault.verdict, fault.words.as_str()), (Verdict::Fault, "race in k"));
        assert_eq!(judge("refused", &[&good]).verdict, Verdict::Refused);
        assert_eq!(judge("hang", &[&good]).verdict, Verdict::Hang);
        // A test that is not there proves nothing.
        assert!(!runner.run_plain(&none, 8, None).unwrap().passed());
        let scratch = runner.scratch.clone();
        assert_eq!(list(&scratch).unwrap(), Vec::<PathBuf>::new());
        drop(runner);
        assert!(!scratch.exists() && !root.join("left").exists());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn patches_have_four_columns() {
        assert_eq!(patch_line(&mutant("taps_f32", 57)), "taps_f32\t57\tbar.sync 0;\t\n");
    }
}
