//! The report of `cargo xtask test-gpu`: what was proved, how far results were apart, what failed, what was skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::device::Device;
use crate::lock::Lock;
use crate::suite::{Executable, Outcome};
use crate::tee::Tally;
use crate::workspace::{Package, read, write};

/// The proof without which a kernel counts as unproved.
const PROOF: &str = "cuda_matches_cpu";

pub(crate) struct Report {
    commit: String,
    /// Package and kernel, for every compiled kernel.
    kernels: BTreeSet<(String, String)>,
    filter: Option<String>,
    tally: Tally,
    device_tests: u64,
    failures: Vec<(String, String)>,
    skips: Vec<(String, String)>,
    left_out: Vec<String>,
    records: Vec<Value>,
}

impl Report {
    pub(crate) fn new(commit: &str, packages: Vec<Package>, filter: Option<String>) -> Result<Self> {
        let mut kernels = BTreeSet::new();
        for package in packages {
            let entries = Lock::load(&package.folder)?.entries();
            kernels.extend(entries.into_iter().map(|kernel| (package.name.clone(), kernel)));
        }
        Ok(Self {
            commit: commit.to_owned(),
            kernels,
            filter,
            tally: Tally::default(),
            device_tests: 0,
            failures: Vec::new(),
            skips: Vec::new(),
            left_out: Vec::new(),
            records: Vec::new(),
        })
    }

    /// Adds what became of an executable's tests.
    pub(crate) fn add(&mut self, test: &Executable, outcomes: impl IntoIterator<Item = (String, Outcome)>) {
        for (name, outcome) in outcomes {
            let name = format!("{}::{name}", test.name());
            match outcome {
                Outcome::Passed => self.tally.passed += 1,
                Outcome::Failed(why) => {
                    self.tally.failed += 1;
                    self.failures.push((name, why));
                }
                Outcome::Skipped(why) => {
                    self.tally.skipped += 1;
                    self.skips.push((name, why));
                }
            }
        }
    }

    /// Adds what became of an executable's tests on the device.
    pub(crate) fn add_device(&mut self, test: &Executable, outcomes: Vec<(String, Outcome)>) {
        self.device_tests += outcomes.len() as u64;
        self.add(test, outcomes);
    }

    /// Notes tests that this run does not have.
    pub(crate) fn left_out(&mut self, what: &str) {
        self.left_out.push(what.to_owned());
    }

    /// Reads the lines that the tests wrote.
    pub(crate) fn add_records(&mut self, lines: &Path) -> Result<()> {
        if !lines.is_file() {
            return Ok(());
        }
        for (i, line) in read(lines)?.lines().enumerate() {
            let record = serde_json::from_str(line);
            self.records.push(record.with_context(|| format!("{} line {}", lines.display(), i + 1))?);
        }
        let key = |r: &Value| ["package", "entry", "proof"].map(|key| text(&r[key]));
        self.records.sort_by_key(key);
        Ok(())
    }

    /// Kernels without a passing comparison of the two backends.
    pub(crate) fn unproved(&self) -> Vec<String> {
        let mut proved = BTreeSet::new();
        for record in self.records.iter().filter(|record| record["proof"] == PROOF) {
            for kernel in record["kernels"].as_array().into_iter().flatten() {
                proved.insert((text(&record["package"]), text(kernel)));
            }
        }
        self.kernels.difference(&proved).map(|(package, kernel)| format!("{package}: {kernel}")).collect()
    }

    /// The device that the tests named.
    pub(crate) fn device(&self) -> Option<Device> {
        Device::of_records(&self.records)
    }

    /// Number of compiled kernels.
    pub(crate) fn kernels(&self) -> usize {
        self.kernels.len()
    }

    /// Writes the report, prints its end, and decides.
    pub(crate) fn finish(&self, out: &Path, allow_skip: bool, device: Option<&Device>) -> Result<()> {
        let simulated = device.is_some_and(Device::is_simulated);
        let unproved = self.unproved();
        let named = |list: &[(String, String)]| -> Vec<Value> {
            list.iter().map(|(test, why)| json!({ "test": test, "why": why })).collect()
        };
        let value = json!({
            "commit": self.commit, "device": device.map(|device| &device.name),
            "driver": device.map(|device| &device.driver), "simulated": device.map(Device::is_simulated),
            "filter": self.filter,
            "passed": self.tally.passed, "failed": self.tally.failed, "skipped": self.tally.skipped,
            "failures": named(&self.failures), "skips": named(&self.skips), "left_out": self.left_out,
            "kernels": self.kernels.len(), "unproved": unproved, "records": self.records,
        });
        write(&out.join("report.json"), serde_json::to_string_pretty(&value)? + "\n")?;
        write(&out.join("report.md"), self.markdown(device, &unproved))?;

        println!("\n== report: {}", out.join("report.md").display());
        println!("device: {}", named_device(device));
        for (name, why) in &self.failures {
            println!("failed: {name}: {why}");
        }
        for (why, count) in counts(&self.skips) {
            println!("skipped: {count} tests: {why}");
        }
        for what in &self.left_out {
            println!("not run: {what}");
        }
        let mut faults = Vec::new();
        if self.tally.failed > 0 {
            faults.push(format!("{} tests failed", self.tally.failed));
        }
        if self.device_tests == 0 {
            faults.push("no test ran on the device".to_owned());
        }
        match &self.filter {
            // A part of the tests cannot prove all kernels.
            Some(filter) => println!("kernels: not all tested, because of --filter {filter}"),
            None if unproved.is_empty() && simulated => println!(
                "simulated: all {} kernels give the CPU's results on a simulated device; none is proved on a GPU",
                self.kernels.len()
            ),
            None if unproved.is_empty() => {
                println!("kernels: all {} proved equal on both backends", self.kernels.len());
            }
            None => {
                println!("kernels without a passing {PROOF}:\n  {}", unproved.join("\n  "));
                faults.push(format!("{} kernels are unproved", unproved.len()));
            }
        }
        if self.tally.skipped > 0 && !allow_skip {
            faults.push(format!("{} tests were skipped (--allow-skip accepts that)", self.tally.skipped));
        }
        println!("{}{}", if simulated { "simulated: " } else { "" }, self.tally);
        if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join(", ")) }
    }

    fn markdown(&self, device: Option<&Device>, unproved: &[String]) -> String {
        let (commit, tally) = (&self.commit, &self.tally);
        let mut out = match device {
            None => format!("# Tests on an unknown device\n\n{}. Commit {commit}. {tally}.\n", named_device(None)),
            Some(device) if device.is_simulated() => format!(
                "# Tests on a simulated device, none on a GPU\n\n{}, commit {commit}. Simulated: {tally}.\n",
                named_device(Some(device))
            ),
            Some(Device { name, driver }) => {
                format!("# Tests on {name}\n\nDriver {driver}, commit {commit}. {tally}.\n")
            }
        };
        if let Some(filter) = &self.filter {
            let _ = writeln!(out, "\nOnly tests whose name contains `{filter}`.");
        }
        for (title, list) in [("Failures", &self.failures), ("Skips", &self.skips)] {
            if !list.is_empty() {
                let _ = writeln!(out, "\n## {title}\n");
                for (name, why) in list {
                    let _ = writeln!(out, "* `{name}`: {why}");
                }
            }
        }
        for (title, list) in [("Kernels without a proof", unproved), ("Not run", &self.left_out)] {
            if !list.is_empty() {
                let _ = writeln!(out, "\n## {title}\n\n* {}", list.join("\n* "));
            }
        }
        let simulated = device.is_some_and(Device::is_simulated);
        out.push_str(if simulated { "\n## Proofs, simulated\n\n" } else { "\n## Proofs\n\n" });
        out.push_str(
            "| package | entry | kernels | proof | cases | ulps | relative | absolute | most allowed | CPU s | GPU s |\n",
        );
        out.push_str("| --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |\n");
        for r in &self.records {
            let kernels: Vec<String> = r["kernels"].as_array().into_iter().flatten().map(text).collect();
            let mut cells = vec![text(&r["package"]), text(&r["entry"]), kernels.join(", "), text(&r["proof"])];
            cells.extend(["cases", "worst_ulps"].map(|key| text(&r[key])));
            cells.extend(
                ["worst_rel", "worst_abs"].map(|key| r[key].as_f64().map_or("-".into(), |v| format!("{v:.1e}"))),
            );
            cells.push(text(&r["allowed"]));
            cells.extend(
                ["cpu_seconds", "cuda_seconds"].map(|key| r[key].as_f64().map_or("-".into(), |v| format!("{v:.2}"))),
            );
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out
    }
}

fn named_device(device: Option<&Device>) -> String {
    match device {
        None => "No test of a twin and no command said which device this was".to_owned(),
        Some(Device { name, driver }) => format!("{name}, driver {driver}"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn counts(list: &[(String, String)]) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for (_, why) in list {
        *all.entry(why.as_str()).or_default() += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kernels: &[&str]) -> Report {
        let mut report = Report::new("abc", Vec::new(), None).unwrap();
        report.kernels = kernels.iter().map(|kernel| ("nsct".to_owned(), (*kernel).to_owned())).collect();
        report
    }

    #[test]
    fn a_kernel_without_a_comparison_is_unproved() {
        let folder = std::env::temp_dir().join(format!("xtask-report-{}", std::process::id()));
        let mut report = report(&["taps_f32", "taps_f64"]);
        let lines = folder.join("records.jsonl");
        let record = |proof: &str, kernel: &str| {
            format!(
                "{}\n",
                json!({ "package": "nsct", "entry": "e", "kernels": [kernel], "proof": proof, "worst_ulps": 0 })
            )
        };
        write(&lines, record(PROOF, "taps_f32") + &record("cpu_matches_oracle", "taps_f64")).unwrap();
        report.add_records(&lines).unwrap();
        assert_eq!(report.unproved(), ["nsct: taps_f64"]);
        let executable =
            Executable { package: "nsct".into(), target: "twins".into(), file: "".into(), folder: "".into() };
        report.add_device(&executable, vec![("a::cuda_x".to_owned(), Outcome::Passed)]);
        assert!(report.finish(&folder, false, None).unwrap_err().to_string().contains("1 kernels are unproved"));
        write(&lines, record(PROOF, "taps_f64")).unwrap();
        report.add_records(&lines).unwrap();
        report.finish(&folder, false, None).unwrap();
        assert!(read(&folder.join("report.md")).unwrap().contains("| nsct | e | taps_f32 | cuda_matches_cpu |"));
        report.add(&executable, [("b".to_owned(), Outcome::Skipped("no data".into()))]);
        assert!(report.finish(&folder, false, None).unwrap_err().to_string().contains("skipped"));
        report.finish(&folder, true, None).unwrap();
        report.add(&executable, [("c".to_owned(), Outcome::Failed("wrong".into()))]);
        assert!(report.finish(&folder, true, None).unwrap_err().to_string().contains("1 tests failed"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_simulated_device_is_never_reported_as_a_gpu() {
        let folder = std::env::temp_dir().join(format!("xtask-simulated-{}", std::process::id()));
        let written = |device: &str| {
            let mut report = report(&["taps_f32"]);
            let lines = folder.join("records.jsonl");
            let record = json!({ "package": "nsct", "kernels": ["taps_f32"], "proof": PROOF, "device": device });
            write(&lines, format!("{record}\n")).unwrap();
            report.add_records(&lines).unwrap();
            report.device_tests = 1;
            report.finish(&folder, false, report.device().as_ref()).unwrap();
            let json: Value = serde_json::from_str(&read(&folder.join("report.json")).unwrap()).unwrap();
            (read(&folder.join("report.md")).unwrap(), json)
        };
        let (page, json) = written("Simulated device (sm_90)");
        assert!(
            page.starts_with("# Tests on a simulated device, none on a GPU\n\nSimulated device (sm_90), "),
            "{page}"
        );
        assert!(page.contains("Simulated: 0 passed") && page.contains("## Proofs, simulated"), "{page}");
        assert_eq!((&json["device"], &json["simulated"]), (&json!("Simulated device (sm_90)"), &json!(true)));
        let (page, json) = written("NVIDIA H200");
        assert!(page.starts_with("# Tests on NVIDIA H200\n") && !page.to_lowercase().contains("simulated"), "{page}");
        assert_eq!((&json["device"], &json["simulated"]), (&json!("NVIDIA H200"), &json!(false)));
        let (page, json) = written("");
        assert!(page.starts_with("# Tests on an unknown device\n"), "{page}");
        assert!(json["device"].is_null() && json["simulated"].is_null());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
