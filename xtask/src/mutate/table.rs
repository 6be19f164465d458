//! The tables: what was caught of each kernel, and the faults that nobody noticed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::equivalent::Equivalents;
use super::faults::Kind;
use super::ledger::{Record, Verdict};
use crate::simulated;
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
    /// Kernels that have not met all of their faults, each with how many.
    pub(crate) unmet: Vec<String>,
    pub(crate) equivalents: Equivalents,
    /// Nothing was left out on purpose.
    pub(crate) whole: bool,
}

/// How many mutants of a kernel came to what.
#[derive(Clone, Copy, Default)]
struct Counts {
    wrong: usize,
    fault: usize,
    hang: usize,
    survived: usize,
    /// Of the survivors, those that change nothing.
    harmless: usize,
    refused: usize,
}

impl Counts {
    fn add(&mut self, verdict: Verdict, harmless: bool) {
        self.harmless += usize::from(harmless);
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
        self.records.iter().for_each(|record| all.add(record.verdict, self.equivalents.reason(record).is_some()));
        all
    }

    /// Faults that change something, as far as anybody knows, and that no test noticed.
    pub(crate) fn survivors(&self) -> impl Iterator<Item = &Record> {
        let unnoticed = self.records.iter().filter(|record| record.verdict == Verdict::Survived);
        unnoticed.filter(|record| self.equivalents.reason(record).is_none())
    }

    /// Faults that change nothing, each with the reason.
    fn harmless(&self) -> impl Iterator<Item = (&Record, &str)> {
        self.records.iter().filter_map(|record| Some((record, self.equivalents.reason(record)?)))
    }

    /// What is wrong with the list of faults that change nothing.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.equivalents.complaints(&self.records, self.whole)
    }

    /// By package and kernel.
    fn by_kernel(&self) -> BTreeMap<(&str, &str), Counts> {
        let mut all: BTreeMap<_, Counts> = BTreeMap::new();
        for record in &self.records {
            all.entry((record.package.as_str(), record.kernel.as_str()))
                .or_default()
                .add(record.verdict, self.equivalents.reason(record).is_some());
        }
        all
    }

    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from("\n== caught, by kernel\n");
        for ((package, kernel), counts) in self.by_kernel() {
            let refused = if counts.refused > 0 { format!(", {} refused", counts.refused) } else { String::new() };
            let harmless =
                if counts.harmless > 0 { format!(", {} change nothing", counts.harmless) } else { String::new() };
            let mark = if counts.survived > counts.harmless { "  <- survivors" } else { "" };
            let (caught, total) = (counts.caught(), counts.total());
            let _ = writeln!(out, "{caught:>3}/{total:<3} {package}: {kernel}{harmless}{refused}{mark}");
        }
        let told = |r: &Record| {
            let Record { kernel, file, line, kind, old, .. } = r;
            format!("{kernel}: {} at {file}:{line}\n    {old}\n    -> {}\n", kind.name(), new(&r.new))
        };
        if self.harmless().next().is_some() {
            out.push_str("\n== without effect\n");
        }
        for (r, reason) in self.harmless() {
            let _ = writeln!(out, "{}    changes nothing: {reason}", told(r));
        }
        if self.survivors().next().is_some() {
            out.push_str("\n== survivors\n");
        }
        self.survivors().for_each(|r| out.push_str(&told(r)));
        if !self.complaints().is_empty() {
            let _ = writeln!(out, "\n== wrong in docs/equivalent-faults.toml\n{}", self.complaints().join("\n"));
        }
        if !self.untested.is_empty() {
            let _ = writeln!(out, "\n== kernels without a test\n{}", self.untested.join("\n"));
        }
        if !self.unmet.is_empty() {
            let _ = writeln!(out, "\n== faults that have not been tried yet\n{}", self.unmet.join("\n"));
        }
        out + "\n" + &self.total() + "\n"
    }

    fn total(&self) -> String {
        let c = self.all();
        let late = self
            .records
            .iter()
            .filter(|r| r.cases > self.cases.max(super::CASES) && r.verdict != Verdict::Survived)
            .count();
        format!(
            "{} of {} faults caught: {} by a wrong result, {} by a fault that the driver reported, {} by no end;\n{late} of \
            them with more cases only. Of the others {} change nothing, {} survived",
            c.caught(),
            c.total(),
            c.wrong,
            c.fault,
            c.hang,
            c.harmless,
            c.survived - c.harmless
        )
    }

    fn markdown(&self) -> String {
        let mut out = format!(
            "Commit {}: {} faults a kernel (seed {}), {} random cases a test, {} of networks; a fault that they do not\n\
            notice meets the tests again with {} cases, {} of networks; large transforms have no more.\n\n{}.\n\n",
            self.commit,
            self.per_kernel,
            self.seed,
            self.cases,
            self.cases.min(simulated::FEW_CASES),
            simulated::CASES,
            super::CASES_OF_NETWORKS,
            self.total()
        );
        out.push_str("| package | kernel | faults | caught | wrong result | fault reported | no end | changes nothing | survived |\n");
        out.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        for ((package, kernel), c) in self.by_kernel() {
            let (total, caught) = (c.total(), c.caught());
            let _ = writeln!(
                out,
                "| {package} | `{kernel}` | {total} | {caught} | {} | {} | {} | {} | {} |",
                c.wrong,
                c.fault,
                c.hang,
                c.harmless,
                c.survived - c.harmless
            );
        }
        let told = |r: &Record| listed(&r.kernel, &r.file, r.line, r.kind, &r.old, &r.new);
        if self.survivors().next().is_some() {
            out.push_str("\nFaults that no test noticed:\n\n");
        }
        for r in self.survivors() {
            let _ = writeln!(out, "{}", told(r));
        }
        if self.harmless().next().is_some() {
            out.push_str("\nFaults that change nothing (`docs/equivalent-faults.toml`):\n\n");
        }
        for (r, reason) in self.harmless() {
            let _ = writeln!(out, "{}: {reason}", told(r));
        }
        if !self.untested.is_empty() {
            let _ = writeln!(out, "\nKernels without a test:\n\n* {}", self.untested.join("\n* "));
        }
        if !self.unmet.is_empty() {
            let _ = writeln!(out, "\nFaults that have not been tried yet:\n\n* {}", self.unmet.join("\n* "));
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
            "faults": c.total(), "caught": c.caught(), "harmless": c.harmless, "survived": c.survived - c.harmless, "complaints": self.complaints(), "refused": c.refused,
            "untested": self.untested, "unmet": self.unmet, "mutants": self.records,
        });
        write(path, serde_json::to_string_pretty(&value)? + "\n")
    }
}

fn new(new: &str) -> &str {
    if new.is_empty() { "(removed)" } else { new }
}

/// A fault as the document lists it.
pub(crate) fn listed(kernel: &str, file: &str, line: usize, kind: Kind, old: &str, new: &str) -> String {
    format!("* `{kernel}`, {file}:{line}, {}: `{old}` -> `{}`", kind.name(), self::new(new))
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
            unmet: vec!["nsct: late_f32: all".into()],
            equivalents: Equivalents::default(),
            whole: true,
        };
        let folder = std::env::temp_dir().join(format!("xtask-table-{}", std::process::id()));
        let path = folder.join("proofs.md");
        summary.write_section(&path).unwrap();
        let text = read(&path).unwrap();
        assert!(text.starts_with("# Proofs\n") && text.contains("2 of 3 faults caught"), "{text}");
        assert!(text.contains("| nsct | `taps_f32` | 2 | 1 | 1 | 0 | 0 | 0 | 1 |"), "{text}");
        assert!(text.contains("* `taps_f32`, taps.ptx:3, barrier: `bar.sync 0;` -> `(removed)`"), "{text}");
        assert!(text.contains("* nsct: lost_f32: no test names it"), "{text}");
        assert!(text.contains("not been tried yet:\n\n* nsct: late_f32: all\n"), "{text}");
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
