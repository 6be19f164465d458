use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use grid_dsl::augment::{Augmenter, Choice, NotColours, Transform, Variant, transformed};
use grid_dsl::conform::Task;
use grid_dsl::{Value, hex};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::sources::each_task;
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, Draft, as_text};
use crate::progress::{Progress, Remark};
use crate::session::{Session, seconds, several};

/// Options of `grid augment`.
// Each is an option of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid augment arc/training.jsonl --count 100 -o many.jsonl
  lockstep grid augment 67a3c6ac.json --no-colours -o turned/
  lockstep grid augment many.jsonl --undo -o back.jsonl

A variant is one of the eight turns and mirrors, then the colours exchanged. The first is the task itself, none comes \
twice, and equal seeds give equal variants. Each line of a .jsonl output holds the task with its `transform` and the \
`digests` of all grids; --undo takes transforms back. Into a folder (a name that ends in /) each variant is written as the \
ARC publishes tasks, named ID-NUMBER.json.")]
pub(crate) struct Augment {
    /// A task as the ARC publishes it (.json), or a file of tasks, one a line
    #[arg(value_name = "TASKS")]
    file: PathBuf,
    /// The .jsonl file to write, or a folder (with / at its end) for .json files
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Variants of each task, the task itself counted; at least 1
    #[arg(short = 'n', long, value_name = "N", default_value_t = usual_count())]
    count: NonZeroUsize,
    /// Where the choice of variants begins
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// No turns and mirrors
    #[arg(long)]
    no_isometries: bool,
    /// Colours stay
    #[arg(long)]
    no_colours: bool,
    /// Black may become another colour, too
    #[arg(long)]
    black: bool,
    /// Take the transforms of a .jsonl file back, the first line of each task only
    #[arg(long, conflicts_with_all = ["count", "seed", "no_isometries", "no_colours", "black"])]
    undo: bool,
}

fn usual_count() -> NonZeroUsize {
    NonZeroUsize::new(Choice::default().count).unwrap_or(NonZeroUsize::MIN)
}

/// Variants that are made at once are as many as have so many pairs of grids; one more completes them. What a file holds
/// altogether may be larger than memory.
const TOGETHER: usize = 1024;

/// Variants on their way to the output, in order.
struct Stream<'a> {
    options: &'a Augment,
    to: To,
    bar: Progress,
    /// Not made yet.
    waiting: Vec<(Arc<Task>, Transform)>,
    pairs: usize,
    made: usize,
    grids: usize,
}

/// What is written.
enum To {
    Lines(Draft),
    /// With the task before and its last number.
    Folder(String, usize),
}

impl Stream<'_> {
    fn add(&mut self, task: &Arc<Task>, transform: Transform) -> Result<()> {
        self.waiting.push((Arc::clone(task), transform));
        // A task without examples counts, too.
        self.pairs += 1 + task.examples().count();
        if self.pairs >= TOGETHER { self.flush() } else { Ok(()) }
    }

    /// Makes and writes what waits.
    fn flush(&mut self) -> Result<()> {
        let (options, lines) = (self.options, matches!(self.to, To::Lines(_)));
        let text = |(task, transform): &(Arc<Task>, Transform)| {
            let variant = options.variant(task, *transform)?;
            let grids = variant.task.examples().flat_map(|(input, output)| [input, output]);
            let grids = grids.filter(|grid| **grid != Value::None).count();
            Ok((grids, if lines { line(&variant) } else { document(&variant) }))
        };
        let made: Vec<Result<(usize, String)>> = self.waiting.par_iter().map(text).collect();
        for (made, (task, _)) in made.into_iter().zip(self.waiting.drain(..)) {
            let (grids, text) = made?;
            match &mut self.to {
                To::Lines(draft) => draft.write(text.as_bytes())?,
                To::Folder(before, number) => {
                    let id = task.id.as_str();
                    *number = if before == id { *number + 1 } else { 0 };
                    id.clone_into(before);
                    files::write(&options.place(id, *number)?, text.as_bytes())?;
                }
            }
            self.made += 1;
            self.grids += grids;
            self.bar.to(self.made);
        }
        self.pairs = 0;
        Ok(())
    }
}

impl Augment {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let started = std::time::Instant::now();
        files::spare(&self.output, [&self.file], "-o")?;
        let mut stream = Stream {
            options: self,
            to: self.to()?,
            bar: Progress::counting(session, "variants", Remark::default()),
            waiting: Vec::new(),
            pairs: 0,
            made: 0,
            grids: 0,
        };
        let augmenter = Augmenter::new(Choice {
            count: self.count.get(),
            isometries: !self.no_isometries,
            colours: !self.no_colours,
            fixed: u8::from(!self.black),
            seed: self.seed,
        });
        if !self.undo && self.count.get() > augmenter.distinct() {
            session.note(format!("there are {} variants to choose from", augmenter.distinct()));
        }
        let (mut tasks, mut seen) = (0, HashSet::new());
        each_task(&self.file, |task, number, text| {
            tasks += 1;
            let task = Arc::new(task);
            if !self.undo {
                return augmenter.each_transform(&task.id).try_for_each(|transform| stream.add(&task, transform));
            }
            let transform = self.transform(&task, number, text)?;
            if seen.insert(task.id.clone()) { stream.add(&task, transform) } else { Ok(()) }
        })?;
        stream.flush()?;
        let Stream { to, bar, made, grids, .. } = stream;
        drop(bar);
        if let To::Lines(draft) = to {
            draft.finish()?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        session.note(format!(
            "{}, {}, {} in {}, {:.0} grids a second",
            several(tasks, "task"),
            several(made, "variant"),
            several(grids, "grid"),
            seconds(elapsed),
            grids as f64 / elapsed.max(1e-9)
        ));
        session.document(&json!({
            "tasks": tasks, "variants": made, "grids": grids, "output": as_text(&self.output), "seconds": elapsed,
        }))?;
        Ok(Exit::Ok)
    }

    /// Where variants go.
    fn to(&self) -> Result<To> {
        if self.output.as_os_str().to_string_lossy().ends_with('/') || self.output.is_dir() {
            files::make_folder(&self.output)?;
            return Ok(To::Folder(String::new(), 0));
        }
        Draft::create(&self.output).map(To::Lines)
    }

    /// A task with a transform, or as it was before that.
    fn variant(&self, task: &Task, transform: Transform) -> Result<Variant> {
        let refused = |e: NotColours| Failure::input(&self.file, e);
        if !self.undo {
            return transformed(task, transform).map_err(refused);
        }
        let back = transformed(task, transform.inverse()).map_err(refused)?;
        Ok(Variant { transform: Transform::IDENTITY, ..back })
    }

    /// The transform of a line that this command wrote, if its grids are what was written then.
    fn transform(&self, task: &Task, number: usize, text: &str) -> Result<Transform> {
        #[derive(serde::Deserialize)]
        #[serde(expecting = "an object with `transform`")]
        struct Line {
            transform: Transform,
            #[serde(default)]
            digests: Vec<String>,
        }
        let line: Line = serde_json::from_str(text).map_err(|e| {
            Failure::input(&self.file, format!("line {number}: no `transform`: {e}"))
                .help("--undo reads what `lockstep grid augment -o FILE.jsonl` wrote")
        })?;
        let written = Variant { task: task.clone(), transform: line.transform };
        let found: Vec<String> = written.digests().into_iter().map(hex).collect();
        let changed = found.iter().zip(&line.digests).position(|(found, written)| found != written);
        let why = match changed {
            Some(at) => {
                format!("grid {at} has digest {}, and {} was written for it", found[at], line.digests[at])
            }
            None if line.digests.len() != found.len() => {
                format!("it holds {} grids, and digests of {}", found.len(), line.digests.len())
            }
            None => return Ok(written.transform),
        };
        let what = format!("line {number}, task `{}`: {why}", task.id);
        Err(Failure::input(&self.file, what).help("the line was changed after it was written: write it again"))
    }

    /// The file of a variant in a folder.
    fn place(&self, id: &str, number: usize) -> Result<PathBuf> {
        if Path::new(id).file_name().is_none_or(|name| name != id) {
            return Err(Failure::input(&self.file, format!("`{id}` cannot be the name of a file"))
                .help("write a .jsonl file with -o"));
        }
        Ok(self.output.join(format!("{id}-{number}.json")))
    }
}

/// A variant as the ARC publishes tasks.
fn document(variant: &Variant) -> String {
    json!({ "train": published(&variant.task.train), "test": published(&variant.task.test) }).to_string()
}

/// Pairs as the ARC publishes them: without an output where it is not known.
fn published(pairs: &[(Value, Value)]) -> Vec<Json> {
    let pair = |(input, output): &(Value, Value)| match output.to_rows() {
        Some(output) => json!({ "input": input.to_rows(), "output": output }),
        None => json!({ "input": input.to_rows() }),
    };
    pairs.iter().map(pair).collect()
}

/// A variant as a line: a task as files of lines hold it, and what was done to it.
fn line(variant: &Variant) -> String {
    let digits = |grid: &Value| {
        let rows = grid.to_rows()?;
        let row = |row: &Vec<i32>| row.iter().map(ToString::to_string).collect();
        Some(rows.iter().map(row).collect::<Vec<String>>().join("/"))
    };
    let pairs = |all: &[(Value, Value)]| all.iter().map(|(i, o)| [digits(i), digits(o)]).collect::<Vec<_>>();
    let document = json!({
        "id": variant.task.id, "train": pairs(&variant.task.train), "test": pairs(&variant.task.test),
        "transform": variant.transform, "digests": variant.digests().into_iter().map(hex).collect::<Vec<_>>(),
    });
    format!("{document}\n")
}
