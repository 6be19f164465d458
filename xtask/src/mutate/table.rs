//! The tables: what was caught of each kernel, and the faults that nobody noticed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::ledger::{Record, Verdict};
use crate::workspace::{read, shown, write};

const BEGIN: &str = "<!-- mutants: begin -->";
const END: &str = "<!-- mutants: end -->";

/// The file before its first section.
const HEAD: &str = "# Proofs\n\nHow far the tests can be trusted.\n\n## Faults in kernels\n\n\
    `cargo xtask mutate-kernels` puts one small fault into a kernel's PTX, runs the tests that prove this kernel over \
    a\nstand-in driver on the CPU, and sees whether they notice.\n\n";

/// All results of a run.
pub(crate) struct Summary {
    pub(crate) commit: String,
    pub(crate) seed: u64,
    pub(crate) per_kernel: usize,
    pub(crate) cases: u32,
    pub(crate) records: Vec<Record>,
    /// Kernels without a test, each with the reason.
    pub(crate) untested: Vec<String>,
}

/// How many mutants of a kernel came to what.
#[derive(Clone, Copy, Default)]
struct Counts {
    wrong: usize,
    fault: usize,
    hang: usize,
    survived: usize,
    refused: usize,
}

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::WrongResult => &mut self.wrong,
            Verdict::Fault => &mut self.fault,
            Verdict::Hang => &mut self.hang,
            Verdict::Survived => &mut self.survived,
            Verdict::Refused => &mut self.refused,
        } += 1;
    }

    fn caught(self) -> usize {
        self.wrong + self.fault + self.hang
    }

    /// All that the driver took.
    fn total(self) -> usize {
        self.caught() + self.survived
    }
}

impl Summary {
    fn all(&self) -> Counts {
        let mut all = Counts::default();
        self.records.iter().for_each(|record| all.add(record.verdict));
        all
    }

    pub(crate) fn survivors(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.verdict == Verdict::Survived)
    }

    /// By package and kernel.
    fn by_kernel(&self) -> BTreeMap<(&str, &str), Counts> {
        let mut all: BTreeMap<_, Counts> = BTreeMap::new();
        for record in &self.records {
            all.entry((record.package.as_str(), record.kernel.as_str())).or_default().add(record.verdict);
        }
        all
    }

    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from("\n== caught, by kernel\n");
        for ((package, kernel), counts) in self.by_kernel() {
            let refused = if counts.refused > 0 { format!(", {} refused", counts.refused) } else { String::new() };
            let mark = if counts.survived > 0 { "  <- survivors" } else { "" };
            let _ = writeln!(out, "{:>3}/{:<3} {package}: {kernel}{refused}{mark}", counts.caught(), counts.total());
        }
        if self.survivors().next().is_some() {
            out.push_str("\n== survivors\n");
        }
        for r in self.survivors() {
            let Record { kernel, file, line, kind, old, .. } = r;
            let _ = writeln!(out, "{kernel}: {} at {file}:{line}\n    {old}\n    -> {}", kind.name(), new(r));
        }
        if !self.untested.is_empty() {
            let _ = writeln!(out, "\n== kernels without a test\n{}", self.untested.join("\n"));
        }
        out + "\n" + &self.total() + "\n"
    }

    fn total(&self) -> String {
        let c = self.all();
        format!(
            "{} of {} faults caught: {} by a wrong result, {} by a fault that the driver reported, {} by no end",
            c.caught(),
            c.total(),
            c.wrong,
            c.fault,
            c.hang
        )
    }

    fn markdown(&self) -> String {
        let mut out = format!(
            "Commit {}: {} faults a kernel (seed {}), {} random cases a test.\n\n{}.\n\n",
            self.commit,
            self.per_kernel,
            self.seed,
            self.cases,
            self.total()
        );
        out.push_str("| package | kernel | faults | caught | wrong result | fault reported | no end |\n");
        out.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
        for ((package, kernel), c) in self.by_kernel() {
            let (total, caught) = (c.total(), c.caught());
            let _ = writeln!(
                out,
                "| {package} | `{kernel}` | {total} | {caught} | {} | {} | {} |",
                c.wrong, c.fault, c.hang
            );
        }
        if self.survivors().next().is_some() {
            out.push_str("\nFaults that no test noticed; some of them change no result:\n\n");
        }
        for r in self.survivors() {
            let Record { kernel, file, line, kind, old, .. } = r;
            let _ = writeln!(out, "* `{kernel}`, {file}:{line}, {}: `{old}` -> `{}`", kind.name(), new(r));
        }
        if !self.untested.is_empty() {
            let _ = writeln!(out, "\nKernels without a test:\n\n* {}", self.untested.join("\n* "));
        }
        out
    }

    /// Writes the section of a document, which is made when it is not there.
    pub(crate) fn write_section(&self, path: &Path) -> Result<()> {
        let text = if path.is_file() { read(path)? } else { format!("{HEAD}{BEGIN}\n{END}\n") };
        let section = self.markdown();
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.with_context(|| format!("{} lacks the lines `{BEGIN}` and `{END}`", shown(path)))?;
        write(path, format!("{before}{BEGIN}\n{section}{END}{after}"))
    }

    /// Writes everything for other programs.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let c = self.all();
        let value = json!({
            "commit": self.commit, "seed": self.seed, "per_kernel": self.per_kernel, "cases": self.cases,
            "faults": c.total(), "caught": c.caught(), "survived": c.survived, "refused": c.refused,
            "untested": self.untested, "mutants": self.records,
        });
        write(path, serde_json::to_string_pretty(&value)? + "\n")
    }
}

fn new(record: &Record) -> &str {
    if record.new.is_empty() { "(removed)" } else { &record.new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::ledger::tests::record;

    #[test]
    fn the_section_is_replaced_and_the_rest_stays() {
        let records = [
            ("taps_f32", 3, Verdict::Survived),
            ("taps_f32", 4, Verdict::WrongResult),
            ("axpy_f32", 5, Verdict::Hang),
            ("axpy_f32", 6, Verdict::Refused),
        ];
        let mut summary = Summary {
            commit: "abc".into(),
            seed: 1,
            per_kernel: 2,
            cases: 8,
            records: records.map(|(kernel, line, verdict)| record(kernel, line, verdict)).to_vec(),
            untested: vec!["nsct: lost_f32: no test names it".into()],
        };
        let folder = std::env::temp_dir().join(format!("xtask-table-{}", std::process::id()));
        let path = folder.join("proofs.md");
        summary.write_section(&path).unwrap();
        let text = read(&path).unwrap();
        assert!(text.starts_with("# Proofs\n") && text.contains("2 of 3 faults caught"), "{text}");
        assert!(text.contains("| nsct | `taps_f32` | 2 | 1 | 1 | 0 | 0 |"), "{text}");
        assert!(text.contains("* `taps_f32`, taps.ptx:3, barrier: `bar.sync 0;` -> `(removed)`"), "{text}");
        assert!(text.contains("* nsct: lost_f32: no test names it"), "{text}");
        write(&path, text + "\n## More\n").unwrap();
        summary.records.remove(0);
        summary.write_section(&path).unwrap();
        let text = read(&path).unwrap();
        assert!(!text.contains("(removed)") && text.ends_with("\n## More\n"), "{text}");
        assert!(summary.text().contains("  1/1   nsct: axpy_f32, 1 refused"), "{}", summary.text());
        summary.write_json(&folder.join("mutants.json")).unwrap();
        write(&path, "# Proofs\n").unwrap();
        assert!(summary.write_section(&path).unwrap_err().to_string().contains("lacks the lines"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
