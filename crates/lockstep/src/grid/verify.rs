use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use grid_dsl::conform::{Library, Record, Vector, Verdict, read};
use grid_dsl::{Limits, Mode, Program, check};
use rayon::prelude::*;
use serde_json::json;

use super::machine::{Machine, Opened};
use super::sources::{Reading, below, bytes};
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::session::{Session, seconds};

/// Calls that a thread gives a back end at once.
const TOGETHER: usize = 512;

/// Options of `grid verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid verify data/grid-dsl
  lockstep grid verify data/grid-dsl/vectors/objects.jsonl
  lockstep grid verify data --solvers solvers.py

All .jsonl files of the folder, at any depth, are read; a line's fields say what it is: a vector (`a` with `r` or `e`; the \
function is the file's name), a program with cases (`src`, `cases`), a trace of a solver (`cases` without `src`), or a task \
(`train`, `test`). Traces need --solvers, and solvers are run on the tasks of their names, too. Programs that give a value \
in some case must also pass the type checker (`programs checked`). Exit code 1 when anything is wrong, 2 when nothing is but \
some files or lines could not be read, or vectors name no function: the others are checked all the same.")]
pub(crate) struct Verify {
    /// A folder, or one .jsonl file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Programs or Python solvers that traces and tasks are about
    #[arg(long, value_name = "FILE")]
    solvers: Vec<PathBuf>,
    /// Print at most so many of what is wrong
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: usize,
    /// Element visits that a program may use on one input
    #[arg(long, value_name = "N", default_value_t = Limits::default().fuel)]
    fuel: u64,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    reading: Reading,
}

/// Where a record is from.
struct Place<'a> {
    path: &'a Path,
    line: usize,
}

/// Counts of one kind of check.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Count {
    right: usize,
    wrong: usize,
    unsupported: usize,
}

/// What was found, by kind.
#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, Count>,
    wrong: Vec<String>,
    unsupported: Vec<String>,
    unreadable: Vec<String>,
}

impl Tally {
    fn unreadable(&mut self, kind: &'static str, what: String) {
        self.kinds.entry(kind).or_default().unsupported += 1;
        self.unreadable.push(what);
    }

    fn add(&mut self, kind: &'static str, place: Option<&Place>, verdict: Verdict) {
        let at = |what: String| match place {
            Some(Place { path, line }) => format!("{}, line {line}: {what}", path.display()),
            None => what,
        };
        let count = self.kinds.entry(kind).or_default();
        match verdict {
            Verdict::Right => count.right += 1,
            Verdict::Wrong(what) => {
                count.wrong += 1;
                self.wrong.push(at(what));
            }
            Verdict::Unsupported(what) => {
                count.unsupported += 1;
                self.unsupported.push(at(what));
            }
        }
    }
}

impl Verify {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let started = Instant::now();
        let limits = Limits { fuel: self.fuel, ..Limits::default() };
        let opened = self.machine.open(false)?;
        let backend = opened.backend();
        let mut library = Library::default();
        let mut solvers = Vec::new();
        for path in &self.solvers {
            solvers.extend(self.reading.sound_programs(path)?);
        }
        for program in &solvers {
            library.add_solver(program.clone());
        }
        if let Some(ending) = self.path.extension().filter(|e| self.path.is_file() && (*e == "grid" || *e == "py")) {
            let what = format!("programs (.{}) hold no answers to compare with", ending.display());
            return Err(
                Failure::input(&self.path, what).help("name a folder or a .jsonl file; programs with --solvers")
            );
        }
        let files = below(&self.path, "jsonl")?;
        if files.is_empty() {
            return Err(Failure::input(&self.path, "there are no .jsonl files in it").help("check the path"));
        }
        let (mut tally, mut vectors, mut programs) = (Tally::default(), Vec::new(), Vec::new());
        let mut places = Vec::new();
        for path in &files {
            let text = match bytes(path) {
                Ok(text) => text,
                Err(failure) if files.len() == 1 => return Err(failure),
                Err(failure) => {
                    tally.unreadable("unreadable files", failure.message);
                    continue;
                }
            };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let read = |(k, line): (usize, &&[u8])| {
                let line =
                    std::str::from_utf8(line).map_err(|e| format!("no UTF-8 text after byte {}", e.valid_up_to()));
                (k, line.and_then(|line| read(&stem, line)))
            };
            let lines = lines.par_iter().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()).map(read);
            for (k, record) in lines.collect::<Vec<_>>() {
                let place = Place { path, line: k + 1 };
                match record {
                    Ok(Record::Vector(vector)) => {
                        vectors.push(vector);
                        places.push(place);
                    }
                    Ok(Record::Program(recorded)) => programs.push((recorded, place)),
                    Ok(Record::Task(task)) => library.add_task(task),
                    Ok(_) => {}
                    Err(why) => {
                        let place = format!("{}, line {}: {why}", path.display(), k + 1);
                        tally.unreadable("unreadable lines", place);
                    }
                }
            }
        }
        let some = |some: &[Vector]| Vector::verify_all(some, backend, &limits);
        let verdicts: Vec<Vec<Verdict>> = vectors.par_chunks(TOGETHER).map(some).collect();
        for (verdict, place) in verdicts.into_iter().flatten().zip(&places) {
            tally.add("vectors", Some(place), verdict);
        }
        let verdicts: Vec<Vec<(&str, Verdict)>> = programs
            .par_iter()
            .map(|(recorded, _)| {
                let kind = if recorded.is_trace() { "traces" } else { "programs" };
                match recorded.program(&library) {
                    Ok(program) => {
                        let verdicts = recorded.verify_on(backend, &program, &library, &limits);
                        let checked = recorded.succeeds().then(|| ("programs checked", typed(&program)));
                        verdicts.into_iter().map(|verdict| (kind, verdict)).chain(checked).collect()
                    }
                    Err(why) if recorded.is_trace() => vec![(kind, Verdict::Unsupported(why))],
                    Err(why) => vec![(kind, Verdict::Wrong(format!("{}: {why}", recorded.id())))],
                }
            })
            .collect();
        for (verdicts, (_, place)) in verdicts.into_iter().zip(&programs) {
            for (kind, verdict) in verdicts {
                tally.add(kind, Some(place), verdict);
            }
        }
        let verdicts: Vec<Vec<Verdict>> =
            library.solved().par_iter().map(|(task, program)| task.verify_on(backend, program, &limits)).collect();
        for verdict in verdicts.into_iter().flatten() {
            tally.add("outputs of solvers", None, verdict);
        }
        for program in &solvers {
            tally.add("solvers checked", None, typed(program));
        }
        self.report(session, &tally, &opened, files.len(), started.elapsed().as_secs_f64())
    }

    fn report(&self, session: &Session, tally: &Tally, opened: &Opened, files: usize, elapsed: f64) -> Result<Exit> {
        let share = opened.share();
        for (kind, Count { right, wrong, unsupported }) in &tally.kinds {
            session.say(format!("{kind:<18} {right:>8} right {wrong:>8} wrong {unsupported:>8} unsupported"));
        }
        let told = [("wrong", &tally.wrong), ("unsupported", &tally.unsupported), ("unreadable", &tally.unreadable)];
        for (word, all) in told {
            for what in all.iter().take(self.most) {
                session.say(format!("{word}: {what}"));
            }
            if all.len() > self.most {
                session.say(format!("{} more {word}; --most {} shows them", all.len() - self.most, all.len()));
            }
        }
        session.note(format!("{files} files, {}", seconds(elapsed)));
        if let Some(share) = &share {
            share.tell(session);
        }
        session.document(&json!({
            "path": as_text(&self.path), "backend": opened.backend().name(),
            "gpus": share.map(|share| share.json()), "counts": tally.kinds, "seconds": elapsed,
            "wrong": tally.wrong.iter().take(self.most).collect::<Vec<_>>(),
            "unsupported": tally.unsupported.iter().take(self.most).collect::<Vec<_>>(),
            "unreadable": tally.unreadable.iter().take(self.most).collect::<Vec<_>>(),
        }))?;
        if tally.kinds.values().all(|c| c.right + c.wrong == 0) {
            return Err(Failure::input(&self.path, "it holds nothing that could be checked")
                .help("vectors, programs and traces are described in docs/grid-dsl.md"));
        }
        let unknown = tally.kinds.get("vectors").is_some_and(|count| count.unsupported > 0);
        Ok(match (tally.wrong.is_empty(), tally.unreadable.is_empty() && !unknown) {
            (false, _) => Exit::Check,
            (true, false) => Exit::Usage,
            (true, true) => Exit::Ok,
        })
    }
}

/// Whether the type checker accepts a program that is known to run.
fn typed(program: &Program) -> Verdict {
    let checked = check(program, Mode::Strict);
    match checked.diagnostics.iter().find(|_| !checked.accepts()) {
        None => Verdict::Right,
        Some(first) => Verdict::Wrong(format!("{} is rejected: {first}", program.name())),
    }
}
