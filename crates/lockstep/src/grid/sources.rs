//! Files of programs and of tasks.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use grid_dsl::conform::{Record, Task, read};
use grid_dsl::{Diagnostic, Dialect, Mode, Program, Value, python};
use serde_json::{Value as Json, json};

use crate::exit::{Failure, Result};
use crate::files::as_text;

/// Which names programs may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DialectName {
    /// The language: 160 functions
    #[default]
    Core,
    /// The derived vocabulary too: o_g, p_g, R0..R7, …
    Batt,
}

/// What becomes of what the type checker finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckMode {
    /// Nothing is checked
    Off,
    /// What must fail is a warning
    Warn,
    /// What must fail is an error
    Strict,
}

impl From<CheckMode> for Mode {
    fn from(mode: CheckMode) -> Self {
        match mode {
            CheckMode::Off => Self::Off,
            CheckMode::Warn => Self::Warn,
            CheckMode::Strict => Self::Strict,
        }
    }
}

/// How programs are read.
#[derive(Args, Debug)]
pub(super) struct Reading {
    /// Names that programs may use
    #[arg(long, value_enum, default_value_t)]
    dialect: DialectName,
}

impl Reading {
    pub(super) fn dialect(&self) -> Dialect {
        match self.dialect {
            DialectName::Core => Dialect::Core,
            DialectName::Batt => Dialect::Batt,
        }
    }

    /// Programs of a file, and what is wrong with it. Files that end in `.py` are solvers in Python.
    pub(super) fn programs(&self, path: &Path) -> Result<(String, Vec<Program>, Vec<Diagnostic>)> {
        let text = text(path)?;
        let (programs, faults) = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("py")) {
            let found = python::import(&text, self.dialect());
            (found.programs, found.diagnostics)
        } else {
            match Program::parse_all(&text, self.dialect()) {
                Ok(programs) => (programs, Vec::new()),
                Err(faults) => (Vec::new(), faults),
            }
        };
        Ok((text, programs, faults))
    }

    /// Programs of a file that must be in order.
    pub(super) fn sound_programs(&self, path: &Path) -> Result<Vec<Program>> {
        let (text, programs, faults) = self.programs(path)?;
        match faults.first() {
            None if programs.is_empty() => Err(Failure::input(path, "it holds no program")
                .help("a program is `program NAME(I)`, lines `x = function(I)`, `return x`, `end`")),
            None => Ok(programs),
            Some(first) => {
                let more = faults.len() - 1;
                let failure = Failure::input(path, first);
                if path.extension().is_none_or(|e| e != "py") && is_python(&text) {
                    return Err(failure.help("it looks like Python: name it .py, or use `lockstep grid import`"));
                }
                let dialect = if self.dialect == DialectName::Batt { " --dialect batt" } else { "" };
                Err(if more > 0 {
                    failure.help(format!("`lockstep grid check {}{dialect}` lists {more} more", path.display()))
                } else {
                    failure
                })
            }
        }
    }
}

fn is_python(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("def "))
}

/// What some editors put in front of UTF-8 text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens a file to be read; `-` is standard input.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(path).map_err(|e| Failure::reading(path, &e))?)))
}

/// The bytes of a file of text, without the mark that some editors put in front.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(|e| Failure::reading(path, &e))?;
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

/// A file as text.
pub(super) fn text(path: &Path) -> Result<String> {
    let bytes = bytes(path)?;
    utf8(&bytes, path, 1)?;
    // Bytes that are text are taken as they are.
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Text that begins in some line of a file.
fn utf8<'t>(bytes: &'t [u8], path: &Path, line: usize) -> Result<&'t str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let (lines, column) = end_of(&bytes[..e.valid_up_to()]);
        Failure::input(path, format!("line {}, column {column}: no UTF-8 text", line + lines))
            .help("programs and tasks are text files")
    })
}

/// Lines that end in a text, and the column behind its last character.
fn end_of(text: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(text);
    (text.matches('\n').count(), text.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

/// Diagnostics, to standard error.
pub(super) fn tell(path: &Path, text: &str, faults: &[Diagnostic]) {
    let mut stderr = std::io::stderr().lock();
    for fault in faults {
        // Nothing can be done when standard error is closed.
        let _ = writeln!(stderr, "{}", fault.render(&path.display().to_string(), text));
    }
}

/// Diagnostics as JSON.
pub(super) fn told(path: &Path, faults: &[Diagnostic]) -> Vec<Json> {
    let one = |d: &Diagnostic| {
        json!({ "file": as_text(path), "severity": format!("{:?}", d.severity).to_lowercase(), "line": d.line, "column": d.column,
            "message": d.message, "help": d.help })
    };
    faults.iter().map(one).collect()
}

/// Tasks of a file: lines as in `arc/training.jsonl`, or one task as the ARC publishes it, named like its file; or those of
/// all files of the latter kind in a folder.
pub(super) fn tasks(path: &Path) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    each_task(path, |task, _, _| {
        tasks.push(task);
        Ok(())
    })?;
    Ok(tasks)
}

/// Tasks of a file as they are read, with the number and the text of their lines: the file may be larger than memory.
pub(super) fn each_task(path: &Path, mut f: impl FnMut(Task, usize, &str) -> Result<()>) -> Result<()> {
    if path.is_dir() {
        let files = below(path, "json")?;
        if files.is_empty() {
            return Err(Failure::input(path, "there are no .json files in it")
                .help("name a file of tasks, or a folder of tasks as the ARC publishes them"));
        }
        return files.iter().try_for_each(|file| of_file(file, &mut f));
    }
    of_file(path, &mut f)
}

fn of_file(path: &Path, f: &mut impl FnMut(Task, usize, &str) -> Result<()>) -> Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if path.extension().is_some_and(|e| e == "json") {
        let text = text(path)?;
        return f(published(path, &stem, &text)?, 1, &text);
    }
    let mut file = open(path)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(|e| Failure::reading(path, &e))? == 0 {
            break;
        }
        let line = if number == 1 { line.strip_prefix(MARK).unwrap_or(&line) } else { &line[..] };
        let text = utf8(line, path, number)?;
        if text.trim().is_empty() {
            continue;
        }
        let task = match read(&stem, text) {
            Ok(Record::Task(task)) => task,
            Ok(_) => return Err(Failure::input(path, format!("line {number} is no task"))),
            Err(why) => return Err(Failure::input(path, format!("line {number}: {why}"))),
        };
        f(task, number, text)?;
    }
    Ok(())
}

#[derive(serde::Deserialize)]
#[serde(expecting = "an object with `train` and `test`")]
struct Published {
    train: Vec<Example>,
    test: Vec<Test>,
}

#[derive(serde::Deserialize)]
#[serde(expecting = "an object with `input` and `output`")]
struct Example {
    input: Vec<Vec<i32>>,
    output: Vec<Vec<i32>>,
}

#[derive(serde::Deserialize)]
#[serde(expecting = "an object with `input`")]
struct Test {
    input: Vec<Vec<i32>>,
    output: Option<Vec<Vec<i32>>>,
}

/// A task as the ARC publishes it.
fn published(path: &Path, id: &str, text: &str) -> Result<Task> {
    let task: Published = serde_json::from_str(text).map_err(|e| {
        Failure::input(path, e).help("a task holds `train` and `test`, each a list of `input` and `output`")
    })?;
    let grid = |rows: Vec<Vec<i32>>, of: &str, number: usize, what: &str| {
        let sides = (rows.len(), rows.first().map_or(0, Vec::len));
        let odd = rows.iter().position(|row| row.len() != sides.1);
        let why = match odd {
            Some(row) => format!("row {row} has {} cells, the first one {}", rows[row].len(), sides.1),
            None if sides.0 == 0 || sides.1 == 0 => "it has no cells".to_owned(),
            None => return Ok(Value::grid(rows)),
        };
        let place = format!("the {what} of {of} {number} is no grid: {why}");
        Err(Failure::input(path, place).help("a grid is a list of rows of equal length, with at least one cell"))
    };
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (k, Example { input, output }) in task.train.into_iter().enumerate() {
        train.push((grid(input, "train", k, "input")?, grid(output, "train", k, "output")?));
    }
    for (k, Test { input, output }) in task.test.into_iter().enumerate() {
        let output = output.map_or(Ok(Value::None), |output| grid(output, "test", k, "output"))?;
        test.push((grid(input, "test", k, "input")?, output));
    }
    Ok(Task { id: id.to_owned(), train, test })
}

/// All files below a folder with an ending, sorted; a file is itself. What is no file, as a pipe, is none of them.
pub(super) fn below(path: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let meta = std::fs::metadata(path).map_err(|e| Failure::reading(path, &e))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut open) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Failure::reading(&folder, &e))? {
            let entry = entry.map_err(|e| Failure::reading(&folder, &e))?;
            // Links are not followed into folders: they may lead back.
            let kind = entry.file_type().map_err(|e| Failure::reading(&entry.path(), &e))?;
            let path = entry.path();
            if kind.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
                && path.metadata().map_or(true, |meta| meta.is_file())
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
