//! Rows of benchmarks: files under benches/results, and the tables made of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::{file_name, list, read, shown, write};

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kernel: String,
    pub(crate) shape: String,
    #[serde(rename = "type", default)]
    pub(crate) element: String,
    /// Engine or algorithm, where there are several.
    #[serde(default)]
    pub(crate) variant: String,
    /// `cpu` or `cuda`.
    #[serde(default)]
    pub(crate) backend: String,
    #[serde(default)]
    pub(crate) device: String,
    #[serde(default)]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) commit: String,
    #[serde(default)]
    pub(crate) date: String,
    #[serde(default)]
    pub(crate) bytes: Option<f64>,
    #[serde(default)]
    pub(crate) flop: Option<f64>,
    #[serde(default)]
    pub(crate) samples: u64,
    pub(crate) seconds_median: f64,
    pub(crate) seconds_p10: f64,
    pub(crate) seconds_p90: f64,
    /// What bounds the speed, measured in the same run.
    #[serde(default)]
    pub(crate) ceiling: Option<String>,
    #[serde(default)]
    pub(crate) ceiling_fraction: Option<f64>,
    /// The other program, when this is not ours.
    #[serde(default)]
    pub(crate) peer: Option<String>,
    /// Time of the peer over ours, in rows of peers: above 1 we are faster.
    #[serde(default)]
    pub(crate) ratio: Option<f64>,
}

impl Row {
    /// What makes two measurements comparable.
    fn task(&self) -> [&str; 4] {
        [&self.kernel, &self.shape, &self.element, &self.backend]
    }

    fn key(&self) -> [&str; 6] {
        let [kernel, shape, element, backend] = self.task();
        [kernel, shape, element, backend, &self.variant, self.peer.as_deref().unwrap_or_default()]
    }
}

/// The rows of a stored file.
fn parse(text: &str) -> Result<Vec<Row>> {
    Ok(serde_json::from_str(text)?)
}

/// Median and the 10th and 90th percentile, by nearest rank.
pub(crate) fn percentiles(mut samples: Vec<f64>) -> Option<[f64; 3]> {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().checked_sub(1)?;
    Some([0.5, 0.1, 0.9].map(|p| samples[(p * last as f64).round() as usize]))
}

/// Fills in the ratio of every row of a peer: against our fastest variant of the same task.
pub(crate) fn compare(rows: &mut [Row]) {
    let ours: Vec<Row> = rows.iter().filter(|row| row.peer.is_none()).cloned().collect();
    for row in rows.iter_mut().filter(|row| row.peer.is_some()) {
        // Another commit is another run, when the machine may have been busier.
        let run = |our: &&Row| our.device == row.device && our.commit == row.commit;
        let same = ours.iter().filter(|our| our.task() == row.task()).filter(run);
        let best = same.map(|our| our.seconds_median).min_by(f64::total_cmp);
        row.ratio = best.filter(|best| *best > 0.0).map(|best| row.seconds_median / best);
    }
}

/// Says which rows are more than 5 % slower than the stored ones of the same device.
pub(crate) fn slower(stored: &[Row], new: &[Row]) -> Vec<String> {
    let mut all = Vec::new();
    for row in new.iter().filter(|row| row.peer.is_none()) {
        // The latest stored one: files are read in the order of their dates.
        let Some(old) = stored.iter().rev().find(|old| old.key() == row.key() && old.device == row.device) else {
            continue;
        };
        let change = row.seconds_median / old.seconds_median - 1.0;
        if change > 0.05 {
            all.push(format!(
                "{} is {:.0} % slower than on {}",
                row.key().join(" ").trim_end(),
                100.0 * change,
                old.date
            ));
        }
    }
    all
}

fn folder(root: &Path) -> PathBuf {
    root.join("benches/results")
}

/// All stored rows, by file, in the order of their dates.
pub(crate) fn stored(root: &Path) -> Result<Vec<(String, Vec<Row>)>> {
    let mut all = Vec::new();
    for file in list(&folder(root))?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
        let rows = parse(&read(&file)?).with_context(|| shown(&file))?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !rows.is_empty() {
            all.push((stem, rows));
        }
    }
    Ok(all)
}

/// Stores rows as `<date>-<device>.json`; rows of the same task measured earlier that day make way.
pub(crate) fn store(root: &Path, rows: &[Row]) -> Result<()> {
    let mut files: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        files.entry(format!("{}-{}", row.date, slug(&row.device))).or_default().push(row.clone());
    }
    for (stem, new) in files {
        let path = folder(root).join(format!("{stem}.json"));
        let mut all = if path.is_file() { parse(&read(&path)?).with_context(|| shown(&path))? } else { Vec::new() };
        all.retain(|old| !new.iter().any(|row| row.key() == old.key()));
        all.extend(new);
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        compare(&mut all);
        write(&path, serde_json::to_string_pretty(&all)? + "\n")?;
        println!("wrote {}", shown(&path));
    }
    Ok(())
}

fn slug(text: &str) -> String {
    let words: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    words.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Writes the table beside each file of rows, and BENCHMARKS.md.
pub(crate) fn render(root: &Path) -> Result<()> {
    let all = stored(root)?;
    let mut page = String::from(
        "# Benchmarks\n\nGenerated by `cargo xtask bench` from `benches/results/*.json`. Times are medians, with the 10th and 90th\n\
         percentile. A ratio is the time of another program over ours in the same run: above 1, ours is faster.\n",
    );
    for (stem, rows) in all.iter().rev() {
        let table = table(rows);
        write(&folder(root).join(format!("{stem}.md")), format!("# {}\n\n{table}", title(rows)))?;
        let _ = write!(page, "\n## {}\n\nFrom `benches/results/{stem}.json`.\n\n{table}", title(rows));
    }
    for file in list(&folder(root))?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "md")) {
        if !file.with_extension("json").is_file() && file_name(&file) != "README.md" {
            std::fs::remove_file(&file).with_context(|| shown(&file))?;
        }
    }
    write(&root.join("BENCHMARKS.md"), page)?;
    println!("wrote BENCHMARKS.md from {} files", all.len());
    Ok(())
}

fn title(rows: &[Row]) -> String {
    let row = rows.first().cloned().unwrap_or_default();
    let driver = if row.driver.is_empty() { String::new() } else { format!(", driver {}", row.driver) };
    format!("{}{driver}, {}, commit {}", row.device, row.date, row.commit)
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| what | shape | type | on | by | median | p10 | p90 | GB/s | Gflop/s | of the ceiling | ratio |\n\
         | --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let rate =
            |amount: Option<f64>| amount.map_or(String::new(), |n| format!("{:.1}", n / row.seconds_median / 1e9));
        let by = format!("{} {}", row.peer.as_deref().unwrap_or("lockstep"), row.variant).trim_end().to_owned();
        let ceiling = match (row.ceiling_fraction, &row.ceiling) {
            (Some(part), Some(what)) => format!("{:.0} % of {what}", 100.0 * part),
            (Some(part), None) => format!("{:.0} %", 100.0 * part),
            _ => String::new(),
        };
        let cells = [
            row.kernel.clone(),
            row.shape.clone(),
            row.element.clone(),
            row.backend.clone(),
            by,
            time(row.seconds_median),
            time(row.seconds_p10),
            time(row.seconds_p90),
            rate(row.bytes),
            rate(row.flop),
            ceiling,
            row.ratio.map_or(String::new(), |r| format!("{r:.2}")),
        ];
        let _ = writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    out
}

/// Three digits with the unit that suits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    let digits = if value >= 100.0 { 0 } else { usize::from(value < 100.0) + usize::from(value < 10.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, peer: Option<&str>, median: f64) -> Row {
        Row {
            kernel: kernel.into(),
            peer: peer.map(str::to_owned),
            seconds_median: median,
            device: "NVIDIA H200".into(),
            date: "2026-11-20".into(),
            ..Row::default()
        }
    }

    #[test]
    fn ratios_are_against_our_fastest() {
        let mut rows = vec![row("taps", None, 2.0), row("taps", None, 1.0), row("taps", Some("torch"), 3.0)];
        compare(&mut rows);
        assert_eq!(rows.iter().map(|row| row.ratio).collect::<Vec<_>>(), [None, None, Some(3.0)]);
    }

    #[test]
    fn slower_rows_are_named() {
        let old = [row("taps", None, 1.0), row("mix", None, 1.0)];
        let new = [row("taps", None, 1.1), row("mix", None, 1.04)];
        let all = slower(&old, &new);
        assert!(all.len() == 1 && all[0].starts_with("taps") && all[0].contains("10 %"), "{all:?}");
    }

    #[test]
    fn files_hold_the_latest_rows_and_become_tables() {
        let root = std::env::temp_dir().join(format!("xtask-results-{}", std::process::id()));
        store(&root, &[row("taps", None, 2.0), row("taps", Some("torch"), 3.0)]).unwrap();
        store(&root, &[row("taps", None, 1.0)]).unwrap();
        let all = stored(&root).unwrap();
        assert_eq!((all.len(), all[0].0.as_str(), all[0].1.len()), (1, "2026-11-20-nvidia-h200", 2));
        assert_eq!(all[0].1[1].ratio, Some(3.0));
        render(&root).unwrap();
        let page = read(&root.join("BENCHMARKS.md")).unwrap();
        assert!(page.contains("| taps |") && page.contains("| torch | 3.00 s |"), "{page}");
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn percentiles_are_by_rank() {
        assert_eq!(percentiles((0..=10).map(f64::from).collect()), Some([5.0, 1.0, 9.0]));
        assert_eq!(percentiles(Vec::new()), None);
        assert_eq!((time(0.002_34), time(1.5e-7), time(12.3)), ("2.34 ms".into(), "0.15 µs".into(), "12.3 s".into()));
    }
}
