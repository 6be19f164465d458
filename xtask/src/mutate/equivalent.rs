//! Faults that change nothing, judged by people: `docs/equivalent-faults.toml`, an entry for each with its reason.
//!
//! An entry names kernel, instruction and change, never a line: kernels that are compiled anew keep their entries as
//! long as the instructions stay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Kernel;
use super::ledger::{Record, Verdict};
use crate::workspace::{read, shown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kernel: String,
    /// The instruction as it is, with single spaces.
    old: String,
    /// The changed one; empty when it is removed.
    new: String,
    /// Which of several equal instructions of the kernel, from 1.
    nth: Option<usize>,
    reason: String,
}

impl Entry {
    fn name(&self) -> String {
        let nth = self.nth.map_or_else(String::new, |nth| format!(" ({nth})"));
        format!("{}: `{}`{nth} -> `{}`", self.kernel, self.old, self.new)
    }
}

/// Kernel, number of the line, changed instruction.
type Key = (String, usize, String);

/// The entries, found again in the kernels.
#[derive(Debug, Default)]
pub(crate) struct Equivalents {
    found: BTreeMap<Key, Entry>,
    /// Entries of kernels that are here, whose instruction is not.
    stale: Vec<String>,
}

impl Equivalents {
    /// Reads the file, if it is there, and finds its entries in these kernels.
    pub(crate) fn load(path: &Path, kernels: &[Kernel]) -> Result<Self> {
        let text = if path.is_file() { read(path)? } else { String::new() };
        Self::parse(&text, kernels).with_context(|| shown(path))
    }

    fn parse(text: &str, kernels: &[Kernel]) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut all = Self::default();
        for entry in file.fault {
            if entry.reason.trim().is_empty() {
                bail!("{} has no reason", entry.name());
            }
            let Some(kernel) = kernels.iter().find(|kernel| kernel.body.entry == entry.kernel) else { continue };
            let same = kernel.body.faults.iter().filter(|f| (&f.old, &f.new) == (&entry.old, &entry.new));
            let lines: Vec<usize> = same.map(|fault| fault.line).collect::<BTreeSet<_>>().into_iter().collect();
            if lines.len() > 1 && entry.nth.is_none() {
                bail!("{} is there {} times: say with `nth` which one it is", entry.name(), lines.len());
            }
            match lines.get(entry.nth.map_or(0, |nth| nth.wrapping_sub(1))) {
                Some(&line) => {
                    let key = (entry.kernel.clone(), line, entry.new.clone());
                    if let Some(twice) = all.found.insert(key, entry) {
                        bail!("{} is there twice", twice.name());
                    }
                }
                None => all.stale.push(entry.name()),
            }
        }
        Ok(all)
    }

    /// Why a survivor changes nothing, if an entry says so.
    pub(crate) fn reason(&self, record: &Record) -> Option<&str> {
        let survived = record.verdict == Verdict::Survived;
        self.found.get(&key(record)).filter(|_| survived).map(|entry| entry.reason.as_str())
    }

    /// What is wrong with the entries, each with the reason; with `all`, also those that met none of these records.
    pub(crate) fn complaints(&self, records: &[Record], all: bool) -> Vec<String> {
        let mut complaints: Vec<String> =
            self.stale.iter().map(|name| format!("{name}: the kernel has no such instruction")).collect();
        for (key, entry) in &self.found {
            let record = records.iter().find(|record| self::key(record) == *key);
            match record.map(|record| record.verdict) {
                Some(Verdict::Survived) => {}
                Some(verdict) => complaints.push(format!("{}: {}", entry.name(), verdict.name())),
                None if all => complaints.push(format!("{}: not among the faults of this run", entry.name())),
                None => {}
            }
        }
        complaints
    }
}

fn key(record: &Record) -> Key {
    (record.kernel.clone(), record.line, record.new.clone())
}

#[cfg(test)]
mod tests {
    use super::super::faults;
    use super::*;
    use crate::mutate::ledger::tests::record;

    fn kernels() -> Vec<Kernel> {
        let ptx = ".visible .entry k()\n{\n\tbar.sync 0;\n\tmov.u32 %r1, 3;\n\tbar.sync 0;\n\tret;\n}\n";
        let kernel = |body| Kernel { package: "p".into(), file: "f".into(), hash: String::new(), body };
        faults::bodies(ptx).into_iter().map(kernel).collect()
    }

    fn entry(old: &str, new: &str, more: &str) -> String {
        format!("[[fault]]\nkernel = 'k'\nold = '{old}'\nnew = '{new}'\n{more}\nreason = 'so'\n")
    }

    #[test]
    fn entries_are_found_by_their_text() {
        let text = entry("bar.sync 0;", "", "nth = 2") + &entry("mov.u32 %r1, 3;", "mov.u32 %r1, 4;", "");
        let all = Equivalents::parse(&text, &kernels()).unwrap();
        assert_eq!(all.reason(&record("k", 5, Verdict::Survived)), Some("so"));
        assert_eq!(all.reason(&record("k", 5, Verdict::Fault)), None);
        assert_eq!(all.reason(&record("k", 3, Verdict::Survived)), None);
        let complaints = |verdict, whole| all.complaints(&[record("k", 5, verdict)], whole);
        assert_eq!(complaints(Verdict::Survived, false), Vec::<String>::new());
        assert_eq!(complaints(Verdict::Fault, false), ["k: `bar.sync 0;` (2) -> ``: caught: fault"]);
        assert!(complaints(Verdict::Survived, true)[0].ends_with("not among the faults of this run"));
    }

    #[test]
    fn entries_of_this_repository_fit_its_kernels() {
        let root = crate::workspace::root().unwrap();
        let text = read(&root.join("docs/equivalent-faults.toml")).unwrap();
        let kernels = crate::mutate::kernels(&root, &[], &[]).unwrap();
        let all = Equivalents::parse(&text, &kernels).unwrap();
        assert_eq!(all.complaints(&[], false), Vec::<String>::new());
        let entries = toml::from_str::<File>(&text).unwrap().fault.len();
        assert_eq!(all.found.len(), entries, "an entry names a kernel that is not there");
    }

    #[test]
    fn entries_that_fit_nothing_are_told() {
        let stale = Equivalents::parse(&entry("bar.sync 0;", "", "nth = 3"), &kernels()).unwrap();
        assert!(stale.complaints(&[], false)[0].ends_with("the kernel has no such instruction"));
        assert!(Equivalents::parse(&entry("ret;", "", ""), &kernels()).unwrap().stale.len() == 1);
        // A kernel that --filter left out.
        assert!(Equivalents::parse(&entry("ret;", "", ""), &[]).unwrap().complaints(&[], false).is_empty());
        let refused = |text: &str| Equivalents::parse(text, &kernels()).unwrap_err().to_string();
        assert!(refused(&entry("bar.sync 0;", "", "")).contains("`nth`"));
        assert!(refused(&entry("bar.sync 0;", "", "nth = 1").repeat(2)).contains("twice"));
        assert!(refused("[[fault]]\nkernel = 'k'\nold = ''\nnew = ''\nreason = ' '").contains("no reason"));
        assert!(Equivalents::parse("[[fault]]\nline = 3", &kernels()).is_err());
    }
}
