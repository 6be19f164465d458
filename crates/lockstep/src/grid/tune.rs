use std::path::PathBuf;

use clap::Args;
use grid_dsl::conform::Task;
use grid_dsl::{Program, Value, tune};

use super::sources::{Reading, tasks};
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::progress::Progress;
use crate::session::Session;

/// Options of `grid tune`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid tune -o tuning.toml
  lockstep grid tune solvers.py --tasks arc/training.jsonl -o tuning.toml
  lockstep grid run solvers.py --tasks arc/training.jsonl --merged --tuning tuning.toml

What is measured: from how many inputs on a batch is spread over threads by its inputs (`min_batch`), and what a call of \
each function costs. Without programs those of the package's examples are measured, without tasks grids that are always \
the same. Thresholds never change a result.")]
pub(crate) struct Tune {
    /// Files of programs, or of solvers in Python (.py)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file of tasks whose inputs are measured
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// The file to write; standard output without it
    #[arg(short, long, value_name = "FILE.toml")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl Tune {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let mut programs = Vec::new();
        for path in &self.files {
            programs.extend(self.reading.sound_programs(path)?);
        }
        if self.files.is_empty() {
            let own = tune::PROGRAMS.iter().flat_map(|text| Program::parse(text));
            programs.extend(own.flatten());
        }
        let grids = match &self.tasks {
            None => tune::grids(128),
            Some(path) => {
                let all = tasks(path)?;
                let inputs: Vec<Value> = all.iter().flat_map(Task::examples).map(|(input, _)| input.clone()).collect();
                if inputs.is_empty() {
                    return Err(Failure::input(path, "there are no inputs in it"));
                }
                // Some of all parts of the file: tasks are sorted by what has nothing to do with their sizes.
                let step = inputs.len().div_ceil(128);
                inputs.into_iter().step_by(step).collect()
            }
        };
        let bar = Progress::new(session, 100, "measured");
        let tuning = tune::measure(&programs, &grids, None, |done| bar.to((100.0 * done) as usize));
        drop(bar);
        let text = toml::to_string(&tuning).map_err(|e| Failure::new(Exit::Io, format!("cannot write TOML: {e}")))?;
        let text =
            format!("# Measured by `lockstep grid tune`; read by `lockstep grid run --merged --tuning`.\n{text}");
        match &self.output {
            Some(path) => files::write(path, text.as_bytes())?,
            None => session.say(text.trim_end()),
        }
        if self.output.is_some() {
            session.note(format!(
                "min_batch {}, {} functions, {} threads",
                tuning.min_batch,
                tuning.opcodes.len(),
                tuning.threads
            ));
        }
        session.document(&tuning)?;
        Ok(Exit::Ok)
    }
}
