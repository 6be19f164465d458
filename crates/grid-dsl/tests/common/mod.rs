//! The folder of stored data, and what is read from it.
#![allow(dead_code)]

use std::path::PathBuf;

use grid_dsl::Value;
use grid_dsl::conform::{Library, Record, Task, Verdict, read};

/// A path of the stored data, below `grid-dsl/`.
pub(crate) fn path(name: &str) -> PathBuf {
    let root = std::env::var_os("LOCKSTEP_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    root.join("grid-dsl").join(name)
}

/// The stored files of a folder with their names without ending, sorted.
pub(crate) fn files(folder: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(path(folder)).unwrap_or_else(|e| panic!("{}: {e}", path(folder).display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    let read = |p: PathBuf| {
        (p.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&p).expect("a text file"))
    };
    paths.into_iter().map(read).collect()
}

/// All records of a file.
pub(crate) fn records(stem: &str, text: &str) -> Vec<Record> {
    text.lines().map(|line| read(stem, line).unwrap_or_else(|e| panic!("{stem}: {e}: {line:.200}"))).collect()
}

/// The stored tasks.
pub(crate) fn tasks() -> Vec<Task> {
    let text = std::fs::read_to_string(path("arc/training.jsonl")).expect("arc/training.jsonl");
    let task = |record| match record {
        Record::Task(task) => task,
        other => panic!("no task: {other:?}"),
    };
    records("training", &text).into_iter().map(task).collect()
}

/// A library without solvers.
pub(crate) fn library() -> Library {
    Library::default()
}

/// What is wrong, if anything is.
pub(crate) fn wrong(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Right => None,
        Verdict::Wrong(what) | Verdict::Unsupported(what) => Some(what),
    }
}

/// A grid of digits.
pub(crate) fn grid(text: &str) -> Value {
    Value::grid_from_digits(text).unwrap()
}
