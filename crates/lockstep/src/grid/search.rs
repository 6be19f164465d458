use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gpu_core::AnyBackend;
use grid_dsl::conform::Task;
use grid_dsl::search::{Bounds, End, Enumerator};
use grid_dsl::{Limits, Program, Sample, Value};
use serde_json::json;

use super::sources::tasks;
use crate::backend::Place;
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::progress::Progress;
use crate::session::{Session, seconds, several};

/// Options of `grid search`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid search 67a3c6ac.json
  lockstep grid search arc/training.jsonl --task a416b8f3 --depth 2 -o found.grid
  lockstep grid search task.json --depth 4 --time 600 --json
  lockstep grid search task.json --depth 4 --backend cuda

Compositions of more than a hundred operations on grids are tried on the inputs to learn from, short ones first; what \
gives the same grids as something before is not gone on from. Programs that give all outputs are printed, and run on the \
task's tests. Exit code 1 when there is none.")]
pub(crate) struct Search {
    /// A task as the ARC publishes it (.json), or a file of tasks, one a line
    #[arg(value_name = "TASK")]
    file: PathBuf,
    /// The task of that file, where it holds several
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Operations one after the other, at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    depth: u8,
    /// Programs to print, at most
    #[arg(long, value_name = "N", default_value = "10")]
    most: NonZeroUsize,
    /// Go on to greater depths when one has a program
    #[arg(long)]
    all: bool,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<NonZeroU64>,
    /// End after so many applications of an operation to a grid
    #[arg(long, value_name = "N")]
    applications: Option<NonZeroU64>,
    /// Bytes for grids on the way, in MiB; what has no room is not gone on from
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: usize,
    /// auto (the CPU), cpu, cuda or cuda:N: where operations are applied. What is found does not depend on it
    #[arg(long, value_name = "WHERE", default_value = "auto", help_heading = "Where to compute")]
    backend: Place,
    /// Write the programs to a file
    #[arg(short, long, value_name = "FILE.grid")]
    output: Option<PathBuf>,
}

impl Search {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(output) = &self.output {
            files::spare(output, [&self.file], "-o")?;
        }
        let task = self.chosen()?;
        let bounds = Bounds {
            depth: self.depth.into(),
            programs: self.most.get(),
            all: self.all,
            time: self.time.map(|s| Duration::from_secs(s.get())),
            applications: self.applications.map(NonZeroU64::get),
            bytes: self.memory << 20,
        };
        let enumerator = self.enumerator(bounds)?;
        let mut bars: Vec<Progress> = Vec::new();
        let found = enumerator.run(&format!("solve_{}", task.id), &task.train, |at| {
            if bars.len() < at.depth {
                bars.clear();
                bars.resize_with(at.depth - 1, || Progress::new(session, 0, ""));
                bars.push(Progress::new(session, at.all, "states"));
            }
            if let Some(bar) = bars.last() {
                bar.at(&format!("depth {}, {} programs", at.depth, at.found));
                bar.to(at.done);
            }
        });
        drop(bars);
        let found = found.map_err(|e| Failure::input(&self.file, format!("task `{}`: {e}", task.id)))?;
        let mut documents = Vec::new();
        let texts: Vec<String> = found.hits.iter().map(|hit| hit.program.to_text()).collect();
        for (hit, text) in found.hits.iter().zip(&texts) {
            let (right, all) = tested(&hit.program, &task.test);
            let tests = if all == 0 { String::new() } else { format!("; {right} of {all} tests right") };
            session.say(format!("# {}{tests}", hit.operations.join(", ")));
            session.say(text);
            documents.push(json!({ "operations": hit.operations, "text": text, "tests": all, "tests_right": right }));
        }
        if let Some(path) = &self.output {
            files::write(path, texts.join("\n").as_bytes())?;
        }
        let ended = match found.end {
            End::Complete => "",
            End::Time => "; the time was up",
            End::Applications => "; the applications were used up",
            End::Memory => "; some states had no room (--memory)",
        };
        let rate = found.applications as f64 / found.seconds.max(1e-9);
        session.note(format!(
            "{}; {} applications of {} operations in {} on {}, {rate:.0} a second; states by depth {:?}{ended}",
            several(found.hits.len(), "program"),
            found.applications,
            enumerator.operations().len(),
            seconds(found.seconds),
            enumerator.backend(),
            found.states
        ));
        if let Some(why) = &found.failure {
            session.note(why);
        }
        session.document(&json!({
            "task": task.id, "backend": enumerator.backend(), "failure": found.failure, "programs": documents, "operations": enumerator.operations().len(),
            "applications": found.applications, "applications_a_second": rate, "states": found.states,
            "duplicates": found.duplicates, "end": found.end, "seconds": found.seconds,
        }))?;
        Ok(if found.hits.is_empty() { Exit::Check } else { Exit::Ok })
    }

    /// Without a name the CPU: starting a GPU takes longer than most searches.
    fn enumerator(&self, bounds: Bounds) -> Result<Enumerator> {
        if self.backend.is_auto() {
            return Ok(Enumerator::new(bounds));
        }
        Ok(match self.backend.open()? {
            AnyBackend::Cpu(_) => Enumerator::new(bounds),
            #[cfg(feature = "cuda")]
            AnyBackend::Cuda(b) => Enumerator::on(bounds, b),
        })
    }

    fn chosen(&self) -> Result<Task> {
        let mut all = tasks(&self.file)?;
        if let Some(id) = &self.task {
            all.retain(|task| task.id == *id);
            return all.pop().ok_or_else(|| {
                Failure::input(&self.file, format!("there is no task `{id}`")).help("check the name of the task")
            });
        }
        match all.len() {
            1 => Ok(all.remove(0)),
            n => {
                Err(Failure::input(&self.file, format!("it holds {}", several(n, "task")))
                    .help("choose one with --task"))
            }
        }
    }
}

/// Tests that a program gets right, and all whose outputs are known.
fn tested(program: &Program, tests: &[(Value, Value)]) -> (usize, usize) {
    let limits = Limits::default();
    let right = |(input, output): &&(Value, Value)| {
        program.run(&Sample::new(input.clone()), &limits, false).returns.first() == Some(&Ok(output.clone()))
    };
    let known = || tests.iter().filter(|(_, output)| *output != Value::None);
    (known().filter(right).count(), known().count())
}
