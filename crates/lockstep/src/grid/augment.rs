use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use grid_dsl::augment::{Augmenter, Choice, NotColours, Transform, Variant, transformed};
use grid_dsl::conform::Task;
use grid_dsl::{Value, hex};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::sources::{tasks, text};
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::session::{Session, seconds};

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

impl Augment {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let started = std::time::Instant::now();
        let same = |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
        if same(&self.file, &self.output) {
            return Err(Failure::usage(format!("{} would be overwritten by its own variants", self.file.display()))
                .help("name another file with -o"));
        }
        let refused = |e: NotColours| Failure::input(&self.file, e);
        let tasks = tasks(&self.file)?;
        let variants: Vec<Variant> = if self.undo {
            let transforms = self.transforms()?;
            let mut seen = std::collections::HashSet::new();
            let first = tasks.iter().zip(transforms).filter(|(task, _)| seen.insert(task.id.clone()));
            let back = |(task, transform): (&Task, Transform)| {
                let back = transformed(task, transform.inverse()).map_err(refused)?;
                Ok(Variant { transform: Transform::IDENTITY, ..back })
            };
            first.map(back).collect::<Result<_>>()?
        } else {
            let augmenter = Augmenter::new(Choice {
                count: self.count.get(),
                isometries: !self.no_isometries,
                colours: !self.no_colours,
                fixed: u8::from(!self.black),
                seed: self.seed,
            });
            if self.count.get() > augmenter.distinct() {
                session.note(format!("there are {} variants to choose from", augmenter.distinct()));
            }
            let all: Vec<_> = tasks.par_iter().map(|task| augmenter.variants(task).map_err(refused)).collect();
            all.into_iter().collect::<Result<Vec<_>>>()?.concat()
        };
        let grids: usize = variants.iter().map(|v| v.digests().len()).sum();
        if self.output.as_os_str().to_string_lossy().ends_with('/') || self.output.is_dir() {
            self.folder(&variants)?;
        } else {
            let lines: Vec<String> = variants.par_iter().map(line).collect();
            files::write(&self.output, lines.concat().as_bytes())?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        session.note(format!(
            "{} tasks, {} variants, {grids} grids in {}, {:.0} grids a second",
            tasks.len(),
            variants.len(),
            seconds(elapsed),
            grids as f64 / elapsed.max(1e-9)
        ));
        session.document(&json!({
            "tasks": tasks.len(), "variants": variants.len(), "grids": grids, "output": self.output, "seconds": elapsed,
        }))?;
        Ok(Exit::Ok)
    }

    /// The transforms of a file that this command wrote, one a line.
    fn transforms(&self) -> Result<Vec<Transform>> {
        #[derive(serde::Deserialize)]
        struct Line {
            transform: Transform,
        }
        let text = text(&self.file)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(k, line): (usize, &str)| {
            serde_json::from_str::<Line>(line).map(|line| line.transform).map_err(|e| {
                Failure::input(&self.file, format!("line {}: no `transform`: {e}", k + 1))
                    .help("--undo reads what `lockstep grid augment -o FILE.jsonl` wrote")
            })
        };
        lines.map(read).collect()
    }

    fn folder(&self, variants: &[Variant]) -> Result<()> {
        files::make_folder(&self.output)?;
        let (mut before, mut number) = ("", 0);
        for variant in variants {
            let id = variant.task.id.as_str();
            number = if before == id { number + 1 } else { 0 };
            before = id;
            if Path::new(id).file_name().is_none_or(|name| name != id) {
                return Err(Failure::input(&self.file, format!("`{id}` cannot be the name of a file"))
                    .help("write a .jsonl file with -o"));
            }
            let document = json!({ "train": published(&variant.task.train), "test": published(&variant.task.test) });
            files::write(&self.output.join(format!("{id}-{number}.json")), document.to_string().as_bytes())?;
        }
        Ok(())
    }
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
