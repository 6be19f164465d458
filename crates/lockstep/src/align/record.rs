//! What is written about pairs and files.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ::align::{PairResult, Rect, Warning};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure, Result};

/// Version of the lines in `alignments.jsonl`.
pub(crate) const SCHEMA: u32 = 1;

/// One pair, a line of `alignments.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PairRecord {
    pub(crate) schema: u32,
    pub(crate) set: String,
    pub(crate) gt: PathBuf,
    pub(crate) file: PathBuf,
    #[serde(flatten)]
    pub(crate) result: PairResult,
    /// The shift that agrees best with all pairs of the scene, where there are several ground truths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed: Option<[f64; 2]>,
    /// Sensitivities and exposure times of ground truth and picture.
    pub(crate) iso: [Option<f64>; 2],
    pub(crate) exposure: [Option<f64>; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) use_of: Option<UseRecord>,
}

/// What a pair is worth for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UseRecord {
    pub(crate) gt_rect: Rect,
    pub(crate) noisy_rect: Rect,
    pub(crate) loss: f64,
    pub(crate) raw_gain: f64,
    pub(crate) rgb_gain: f64,
    pub(crate) overexposure_lb: f64,
    pub(crate) mask: Option<PathBuf>,
    pub(crate) mask_mean: f64,
    pub(crate) is_bayer: bool,
    pub(crate) rgb_xyz_matrix: Option<[[f32; 3]; 4]>,
}

/// A path as people read it: a file whose name is no UTF-8 has a record, too.
fn told<S: serde::Serializer>(path: &Path, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&crate::files::as_text(path))
}

/// A file of a scene.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    #[serde(serialize_with = "told")]
    pub(crate) path: PathBuf,
    /// `ok`, or the kind of error.
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) warnings: Vec<Warning>,
}

/// One scene, a file in `sets/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SetRecord {
    pub(crate) schema: u32,
    pub(crate) set: String,
    pub(crate) camera: String,
    pub(crate) cfa: String,
    pub(crate) size: [usize; 2],
    pub(crate) files: Vec<FileRecord>,
    pub(crate) pairs: Vec<PairRecord>,
    /// Why the scene cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unusable: Option<String>,
}

impl SetRecord {
    /// That of a scene of which nothing is known yet.
    pub(crate) fn new(set: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA,
            set: set.into(),
            camera: String::new(),
            cfa: String::new(),
            size: [0, 0],
            files: Vec::new(),
            pairs: Vec::new(),
            unusable: None,
        }
    }

    /// Files that could not be used.
    pub(crate) fn bad_files(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(|f| f.state != "ok")
    }

    /// Pairs without a shift that can be relied on.
    pub(crate) fn bad_pairs(&self) -> impl Iterator<Item = &PairRecord> {
        use ::align::State;
        self.pairs.iter().filter(|p| matches!(p.result.state, State::Failed | State::AtLimit))
    }
}

/// A file's path inside its scene: its name, with `gt/` before those of ground truths.
pub(crate) fn in_set(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().and_then(Path::file_name);
    if folder.is_some_and(|f| f == "gt") { format!("gt/{name}") } else { name }
}

/// Reads what `run` wrote about a scene.
pub(crate) fn read_set(path: &Path) -> Result<SetRecord> {
    let text = std::fs::read(path).map_err(|e| Failure::reading(path, &e))?;
    serde_json::from_slice(&text).map_err(|e| {
        Failure::input(path, format!("no record of a scene: {e}")).help("delete it and run `lockstep align run` again")
    })
}

/// The lines of `alignments.jsonl` for some scenes.
pub(crate) fn lines(sets: &[SetRecord]) -> Result<String> {
    let mut lines = String::new();
    for pair in sets.iter().flat_map(|s| &s.pairs) {
        let line =
            serde_json::to_string(pair).map_err(|e| Failure::new(Exit::Io, format!("cannot write a pair: {e}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// Keeps other shards from changing the lists of `records`' output folder as long as what it returns lives. Where the file
/// system knows no locks, they are not kept from it.
pub(crate) fn alone(records: &Path) -> Option<File> {
    let folder = File::open(records).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Writes a scene's lines into `alignments.jsonl`: at its end, or, where the scene was done before, in place of what it
/// had there.
pub(crate) fn put(path: &Path, set: &SetRecord, before: bool) -> Result<()> {
    let lines = lines(std::slice::from_ref(set))?;
    if before && let Ok(text) = std::fs::read_to_string(path) {
        let others = |line: &&str| !serde_json::from_str::<OfSet>(line).is_ok_and(|of| of.set == set.set);
        let kept: String = text.lines().filter(others).flat_map(|line| [line, "\n"]).collect();
        return crate::files::write(path, (kept + &lines).as_bytes());
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(|e| Failure::writing(path, &e))
}

/// The scene of a line.
#[derive(Deserialize)]
struct OfSet {
    set: String,
}

/// Reads `alignments.jsonl`.
pub(crate) fn read_pairs(path: &Path) -> Result<Vec<PairRecord>> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
    let mut pairs = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: PairRecord = serde_json::from_str(line).map_err(|e| {
            Failure::input(path, format!("line {} is no pair: {e}", i + 1))
                .help("name an alignments.jsonl that `lockstep align run` wrote")
        })?;
        if record.schema != SCHEMA {
            return Err(Failure::input(path, format!("line {} has version {}, not {SCHEMA}", i + 1, record.schema)));
        }
        pairs.push(record);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(set: &str, psr: f32) -> SetRecord {
        let pair = PairRecord {
            schema: SCHEMA,
            set: set.to_owned(),
            gt: "gt/a".into(),
            file: "b".into(),
            result: PairResult { psr, ..PairResult::identity() },
            closed: None,
            iso: [None; 2],
            exposure: [None; 2],
            use_of: None,
        };
        SetRecord { pairs: vec![pair.clone(), pair], ..SetRecord::new(set) }
    }

    #[test]
    fn a_scene_that_is_done_again_has_its_lines_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alignments.jsonl");
        let _lock = alone(folder.path());
        put(&path, &record("a", 20.0), true).unwrap();
        put(&path, &record("b", 21.0), false).unwrap();
        put(&path, &record("a", 22.0), true).unwrap();
        let found: Vec<_> = read_pairs(&path).unwrap().into_iter().map(|p| (p.set, p.result.psr)).collect();
        let wanted = [("b", 21.0), ("b", 21.0), ("a", 22.0), ("a", 22.0)];
        assert_eq!(found, wanted.map(|(set, psr)| (set.to_owned(), psr)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn shards_wait_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let held = alone(folder.path()).unwrap();
        let other = File::open(folder.path()).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
