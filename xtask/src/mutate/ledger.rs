//! What became of each mutant, kept line by line, so that a run that was stopped goes on where it was.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::faults::{Fault, Kind};
use crate::workspace::{read, shown, write};

/// One kernel with one fault.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    pub(crate) package: String,
    pub(crate) kernel: String,
    /// The PTX file, relative to the root.
    pub(crate) file: String,
    /// SHA-256 of the PTX file.
    pub(crate) hash: String,
    pub(crate) fault: Fault,
}

/// What the tests made of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// A test failed.
    WrongResult,
    /// A test failed, and the driver reported a fault of the kernel.
    Fault,
    /// A test was stopped because it did not end.
    Hang,
    /// Every test passed.
    Survived,
    /// The driver did not take the changed text: it proves nothing.
    Refused,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WrongResult => "caught: wrong result",
            Self::Fault => "caught: fault",
            Self::Hang => "caught: no end",
            Self::Survived => "SURVIVED",
            Self::Refused => "refused by the driver",
        }
    }
}

/// A line of `mutants.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) package: String,
    pub(crate) kernel: String,
    pub(crate) file: String,
    pub(crate) hash: String,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) cases: u32,
    pub(crate) verdict: Verdict,
    /// The test that caught it.
    pub(crate) test: String,
    /// What the driver or the test said.
    pub(crate) words: String,
}

type Key = (String, usize, String, u32, String);

impl Record {
    fn key(&self) -> Key {
        (self.kernel.clone(), self.line, self.new.clone(), self.cases, self.hash.clone())
    }
}

/// The finished mutants of this run and, with `--resume`, of earlier ones.
pub(crate) struct Ledger {
    path: PathBuf,
    known: HashMap<Key, Record>,
    file: Mutex<std::fs::File>,
}

impl Ledger {
    /// Opens the file; without `resume` it starts empty.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        let text = if resume && path.is_file() { read(path)? } else { String::new() };
        // The last line of a run that was stopped may be cut: that mutant runs again.
        let records: Vec<Record> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut kept = String::new();
        for record in &records {
            kept += &(serde_json::to_string(record)? + "\n");
        }
        write(path, kept)?;
        let file = std::fs::OpenOptions::new().append(true).open(path).with_context(|| shown(path))?;
        let known = records.into_iter().map(|record| (record.key(), record)).collect();
        Ok(Self { path: path.to_path_buf(), known, file: Mutex::new(file) })
    }

    /// What is known of a mutant.
    pub(crate) fn find(&self, mutant: &Mutant, cases: u32) -> Option<&Record> {
        let Mutant { kernel, hash, fault, .. } = mutant;
        self.known.get(&(kernel.clone(), fault.line, fault.new.clone(), cases, hash.clone()))
    }

    /// Keeps a record.
    pub(crate) fn add(&self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record)? + "\n";
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", shown(&self.path)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn mutant(kernel: &str, line: usize) -> Mutant {
        let fault = Fault { line, kind: Kind::Barrier, old: "bar.sync 0;".into(), new: String::new() };
        Mutant { package: "nsct".into(), kernel: kernel.into(), file: "taps.ptx".into(), hash: "abc".into(), fault }
    }

    pub(crate) fn record(kernel: &str, line: usize, verdict: Verdict) -> Record {
        let Mutant { package, kernel, file, hash, fault } = mutant(kernel, line);
        let Fault { line, kind, old, new } = fault;
        let (test, words) = (String::new(), String::new());
        Record { package, kernel, file, hash, line, kind, old, new, cases: 8, verdict, test, words }
    }

    #[test]
    fn finished_mutants_are_known_again() {
        let path = std::env::temp_dir().join(format!("xtask-ledger-{}.jsonl", std::process::id()));
        Ledger::open(&path, false).unwrap().add(&record("a", 3, Verdict::Hang)).unwrap();
        // A line that was cut off.
        write(&path, read(&path).unwrap() + "{\"package\":\"ns").unwrap();
        let again = Ledger::open(&path, true).unwrap();
        assert_eq!(again.find(&mutant("a", 3), 8).unwrap().verdict, Verdict::Hang);
        assert!(again.find(&mutant("a", 3), 9).is_none() && again.find(&mutant("a", 4), 8).is_none());
        again.add(&record("a", 4, Verdict::Survived)).unwrap();
        assert_eq!(Ledger::open(&path, true).unwrap().known.len(), 2);
        assert!(Ledger::open(&path, false).unwrap().known.is_empty());
        std::fs::remove_file(&path).unwrap();
    }
}
