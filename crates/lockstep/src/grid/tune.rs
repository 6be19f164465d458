use std::path::PathBuf;

use clap::Args;
use grid_dsl::conform::Task;
use grid_dsl::exec::Options;
use grid_dsl::{Program, Value, tune};

use super::machine::Machine;
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
  lockstep grid tune solvers.py --backend cuda --devices 1 -o gpu.toml
  lockstep grid run solvers.py --tasks arc/training.jsonl --merged --tuning tuning.toml

What is measured: from how many inputs on a batch is spread over threads by its inputs (`spread_below`), and what a call of \
each function costs. With GPUs, too: from how many inputs on the programs as one graph are done sooner with a GPU \
(`min_batch`) and with all of them (`multi_gpu_min`; four times `min_batch` where there is one), and for each function the \
cost of a launch and of a call and the number of calls from which on a GPU is faster. 4294967295 stands for never, as \
far as was tried. Without programs those of the package's examples are measured, without tasks grids that are always the \
same. Thresholds never change a result.")]
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
    machine: Machine,
    #[command(flatten)]
    reading: Reading,
}

impl Tune {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(path) = &self.output {
            files::spare(path, self.files.iter().chain(&self.tasks), "-o")?;
        }
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
        if self.machine.is_reference() {
            let why = "--backend reference: the definition has no thresholds";
            return Err(Failure::new(Exit::Usage, why).help("auto, cpu, cuda or cuda:N"));
        }
        let opened = self.machine.open(true)?;
        let opts = Options { overlap: self.machine.overlap(), ..Options::default() };
        let bar = Progress::new(session, 100, "measured");
        let tuning = tune::measure(&programs, &grids, opened.probe(), &opts, |done| bar.to((100.0 * done) as usize));
        drop(bar);
        let text = toml::to_string(&tuning).map_err(|e| Failure::new(Exit::Io, format!("cannot write TOML: {e}")))?;
        let text =
            format!("# Measured by `lockstep grid tune`; read by `lockstep grid run --merged --tuning`.\n{text}");
        match &self.output {
            Some(path) => files::write(path, text.as_bytes())?,
            None => session.say(text.trim_end()),
        }
        if self.output.is_some() {
            let number = |n: usize| if n == tune::NEVER { "never".to_owned() } else { n.to_string() };
            let thresholds = [("min_batch", tuning.min_batch), ("multi_gpu_min", tuning.multi_gpu_min)];
            let of_device = thresholds.iter().filter_map(|(name, n)| Some(format!(", {name} {}", number((*n)?))));
            let (functions, threads) = (tuning.opcodes.len(), tuning.threads);
            session.note(format!(
                "spread_below {}{}, {functions} functions, {threads} threads",
                tuning.spread_below,
                of_device.collect::<String>()
            ));
            if let Some(device) = &tuning.device {
                let pays = tuning.opcodes.values().filter(|group| group.break_even.is_some()).count();
                session.note(format!("{device}: {pays} functions are faster there from some number of calls on"));
            }
        }
        session.document(&tuning)?;
        Ok(Exit::Ok)
    }
}
