#[cfg(feature = "cuda")]
mod gpu;
mod search;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use grid_dsl::conform::{Library, Record, Task, read};
use grid_dsl::exec::{Cpu, Executor, Options, RunResult};
use grid_dsl::ops::{Components, ComponentsBatch, Grid, Mode, objects_batch, objects_batch_into};
use grid_dsl::search::Enumerator;
use grid_dsl::{Backend, Batch, Dag, Limits, Prim, Program, Reference, Sample, Value};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::machine::{Machine, Opened};
use super::sources::{Reading, tasks, text};
use crate::backend::start_threads;
use crate::exit::{Exit, Failure, Result};
use crate::session::{Session, seconds};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Components of ARC grids in five modes
    W1,
    /// Components of 30 x 30 grids of random colours in five modes
    W1d,
    /// All programs, merged, on many inputs
    W2,
    /// All programs, merged, on the examples of one task
    W3,
    /// Programs for a task looked for among compositions of operations, on GPUs beside the CPU
    W4,
    /// On GPUs: grids turned, with other colours, and their digests
    W5,
    /// On GPUs: the colours of the inputs and outputs of 10 to 1,000,000 samples, beside the CPU
    W6,
    /// On several GPUs: w1 and w2 on one, two, four, …; w2 with as large a part of the threads as of the GPUs
    W7,
}

/// Options of `grid bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid bench --tasks arc/training.jsonl --only w1,w1d
  lockstep grid bench --tasks arc/training.jsonl --programs programs/public.jsonl --inputs 100
  lockstep grid bench --tasks arc/training.jsonl --programs solvers.py --json > now.json
  lockstep grid bench --tasks arc/training.jsonl --programs programs/public.jsonl --backend cuda --grids 1000000

Times are medians of the runs after one to warm up. A rate a core divides by the processor time of all threads: on a \
machine that does other work, too, that is the steadier figure. A hundredth of the results is compared with the \
definition in the same run; exit code 1 when one differs. The cache across runs is off. On a GPU, `resident` rows have grids and results in its \
memory and are timed by its clock; all others go from the host's memory to the host's.")]
pub(crate) struct Bench {
    /// A file of tasks: their inputs are the grids
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    /// Programs (.grid), solvers in Python (.py) or stored programs (.jsonl); w2 and w3 need some
    #[arg(long, value_name = "FILE")]
    programs: Vec<PathBuf>,
    /// Only these
    #[arg(long, value_enum, value_name = "W,…", value_delimiter = ',')]
    only: Vec<Workload>,
    /// Grids of w1 and w1d: inputs of the tasks, over and over
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    grids: u32,
    /// Inputs of w2, evenly from all; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    inputs: usize,
    /// Tasks of w3 and w4, evenly from all
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    of_tasks: u32,
    /// Operations one after the other that w4 tries, at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=4))]
    depth: u8,
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,
    /// Compare one of so many results with the definition; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100)]
    check: usize,
    /// Print the functions that take longest
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,
    /// Element visits that a program may use on one input
    #[arg(long, value_name = "N", default_value_t = Limits::default().fuel)]
    fuel: u64,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    reading: Reading,
}

/// Times of one measurement, sorted: of the wall clock, and of all threads together.
struct Times {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// Seconds that all threads of this process have computed, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

impl Times {
    /// Times that something else took.
    #[cfg(feature = "cuda")]
    fn of(mut wall: Vec<f64>) -> Self {
        wall.sort_by(f64::total_cmp);
        Self { cpu: wall.clone(), wall }
    }

    fn measure(runs: u32, mut f: impl FnMut()) -> Self {
        f();
        let mut times = Self { wall: Vec::new(), cpu: Vec::new() };
        for _ in 0..runs {
            let (started, cpu) = (Instant::now(), cpu_seconds());
            f();
            times.wall.push(started.elapsed().as_secs_f64());
            times.cpu.push(cpu_seconds() - cpu);
        }
        times.wall.sort_by(f64::total_cmp);
        times.cpu.sort_by(f64::total_cmp);
        times
    }

    fn at(all: &[f64], share: f64) -> f64 {
        all[((all.len() - 1) as f64 * share).round() as usize]
    }

    fn median(&self) -> f64 {
        Self::at(&self.wall, 0.5)
    }

    /// Processor time; the wall clock where runs are too short for it.
    fn cpu(&self) -> f64 {
        let cpu = Self::at(&self.cpu, 0.5);
        if cpu < 0.05 { self.median() } else { cpu }
    }

    fn row(&self, workload: &str, what: &str, unit: &str, items: f64, checked: usize, wrong: usize) -> Json {
        json!({
            "workload": workload, "what": what, "unit": unit, "items": items, "runs": self.wall.len(),
            // What the tables of benches/results are ordered by.
            "kernel": format!("grid {workload}"), "shape": format!("{what}, {items} {unit}"), "dtype": "i8",
            "samples": self.wall.len(),
            "median_s": self.median(), "p10_s": Self::at(&self.wall, 0.1), "p90_s": Self::at(&self.wall, 0.9),
            "cpu_s": self.cpu(), "per_second": items / self.median(), "per_second_and_core": items / self.cpu(),
            "threads": rayon::current_num_threads(), "checked": checked, "wrong": wrong,
        })
    }
}

impl Bench {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(n) = self.threads {
            start_threads(n)?;
        }
        let opened = if self.machine.is_reference() {
            return Err(Failure::usage("--backend reference is what the others are compared with; it is not measured")
                .help("--backend cpu or cuda"));
        } else {
            self.machine.open(true)?
        };
        let tasks = tasks(&self.tasks)?;
        let inputs: Vec<&Value> = tasks.iter().flat_map(Task::examples).map(|(input, _)| input).collect();
        if inputs.is_empty() {
            return Err(Failure::input(&self.tasks, "it holds no tasks").help("see arc/training.jsonl of the data"));
        }
        let programs = self.read_programs()?;
        self.check_workloads(session, &opened, &programs)?;
        let (backend, copy, rows) = match opened {
            Opened::Host(_) => ("cpu", None::<f64>, self.measure(session, &tasks, &inputs, &programs)?),
            #[cfg(feature = "cuda")]
            Opened::Cuda(executor) => {
                let (copy, rows) = self.measure_gpus(session, *executor, &tasks, &inputs, &programs)?;
                ("cuda", Some(copy), rows)
            }
        };
        let wrong = rows.iter().filter_map(|row| row["wrong"].as_u64()).sum::<u64>();
        session.document(&json!({ "backend": backend, "copy_bytes_per_s": copy, "rows": rows, "wrong": wrong }))?;
        Ok(if wrong == 0 { Exit::Ok } else { Exit::Check })
    }

    /// Refuses to measure nothing, and names what is left out of what was asked for.
    fn check_workloads(&self, session: &Session, opened: &Opened, programs: &[Program]) -> Result<()> {
        let lacking: Vec<_> = self.only.iter().filter_map(|w| self.lacks(*w, opened.gpus(), programs)).collect();
        match lacking.first() {
            Some((what, help)) if lacking.len() == self.only.len() => Err(Failure::usage(what.clone()).help(*help)),
            _ => {
                for (what, _) in &lacking {
                    session.note(format!("left out: {what}"));
                }
                Ok(())
            }
        }
    }

    /// What a workload lacks to be measured, and the remedy.
    fn lacks(&self, workload: Workload, gpus: usize, programs: &[Program]) -> Option<(String, &'static str)> {
        let name = workload.to_possible_value()?.get_name().to_owned();
        let of_gpus = "run where `lockstep doctor` finds them, with --backend cuda";
        let of_programs = "name files of programs with --programs";
        match workload {
            Workload::W2 | Workload::W3 if programs.is_empty() => {
                Some((format!("{name} measures programs, and there are none"), of_programs))
            }
            Workload::W5 | Workload::W6 if gpus == 0 => {
                Some((format!("{name} is measured on a GPU, and none is in use"), of_gpus))
            }
            Workload::W7 if gpus < 2 => {
                Some((format!("{name} is measured on several GPUs, and {gpus} are in use"), of_gpus))
            }
            Workload::W7 if programs.is_empty() && !self.wants(Workload::W1) => {
                Some((format!("{name} measures w1 or programs on several GPUs, and there is neither"), of_programs))
            }
            _ => None,
        }
    }

    fn wants(&self, workload: Workload) -> bool {
        self.only.is_empty() || self.only.contains(&workload)
    }

    /// Grids of W1: inputs over and over.
    fn many(&self, of: &[Grid]) -> Vec<Grid> {
        (0..self.grids as usize).map(|k| of[k % of.len()].clone()).collect()
    }

    /// Inputs that are grids.
    fn grids_of(&self, inputs: &[&Value]) -> Result<Vec<Grid>> {
        let all: Vec<Grid> = inputs.iter().filter_map(|&input| Grid::try_from(input).ok()).collect();
        if all.is_empty() { Err(Failure::input(&self.tasks, "no input of its tasks is a grid")) } else { Ok(all) }
    }

    fn measure(&self, session: &Session, tasks: &[Task], inputs: &[&Value], programs: &[Program]) -> Result<Vec<Json>> {
        let mut rows = Vec::new();
        if self.wants(Workload::W1) {
            rows.extend(self.components(session, "W1", &self.many(&self.grids_of(inputs)?)));
        }
        if self.wants(Workload::W1d) {
            rows.extend(self.components(session, "W1d", &self.many(&dense(512))));
        }
        if self.wants(Workload::W4) {
            rows.push(self.search(session, tasks, &Enumerator::new(self.bounds()), ""));
        }
        let graphs = [Workload::W2, Workload::W3].into_iter().any(|w| self.wants(w));
        if graphs && !programs.is_empty() {
            let dag = Dag::build(programs);
            let executor = Executor::new(Cpu, self.options());
            if self.wants(Workload::W2) {
                rows.push(self.graph(session, &executor, programs, &dag, inputs).0);
            }
            if self.wants(Workload::W3) {
                rows.push(self.latency(session, &executor, programs, &dag, tasks));
            }
        }
        Ok(rows)
    }

    /// Programs of all files.
    fn read_programs(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for path in &self.programs {
            if path.extension().is_none_or(|e| e != "jsonl") {
                programs.extend(self.reading.sound_programs(path)?);
                continue;
            }
            for (k, line) in text(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let fault = |why: String| Failure::input(path, format!("line {}: {why}", k + 1));
                if let Record::Program(recorded) = read("", line).map_err(fault)? {
                    programs.push(recorded.program(&Library::default()).map_err(fault)?);
                }
            }
        }
        Ok(programs)
    }

    /// W1: one row a mode, and one for the five together.
    fn components(&self, session: &Session, name: &str, grids: &[Grid]) -> Vec<Json> {
        let mut rows = Vec::new();
        let flag = |b: bool| if b { "T" } else { "F" };
        let limits = Limits::default();
        let together = std::iter::once(&Mode::COMMON[..]).chain(Mode::COMMON.iter().map(std::slice::from_ref));
        for modes in together {
            // In parts, whose results stay in the cache; what all grids give at once would be gigabytes.
            let cells: usize = grids.iter().map(|grid| grid.cells().len()).sum();
            let part = ((grids.len() << 20) / cells.max(1)).max(1);
            let mut found = ComponentsBatch::default();
            let times = Times::measure(self.runs, || {
                for part in grids.chunks(part) {
                    objects_batch_into(part, modes, &mut found);
                    std::hint::black_box(&found);
                }
            });
            let sampled: Vec<&Grid> = grids.iter().step_by(self.check.max(1)).take(10_000).collect();
            let sampled = if self.check == 0 { Vec::new() } else { sampled };
            let wrong = |grid: &&Grid| {
                let found = objects_batch(std::slice::from_ref(*grid), modes);
                let value = grid.to_value();
                let differs = |(mode, found): (&Mode, Components<'_>)| {
                    let flags = [mode.univalued, mode.diagonal, mode.without_background].map(Value::Bool);
                    let args: Vec<Value> = std::iter::once(value.clone()).chain(flags).collect();
                    Reference.call(Prim::Objects, &args, &limits) != Ok(found.to_objects(grid))
                };
                modes.iter().zip(found.iter()).filter(|&pair| differs(pair)).count()
            };
            let wrong: usize = sampled.par_iter().map(wrong).sum();
            let what = match modes {
                [m] => format!("objects {},{},{}", flag(m.univalued), flag(m.diagonal), flag(m.without_background)),
                _ => "objects, five modes".to_owned(),
            };
            let row = times.row(name, &what, "grids", grids.len() as f64, sampled.len() * modes.len(), wrong);
            tell(session, &row);
            rows.push(row);
        }
        rows
    }

    fn options(&self) -> Options {
        let limits = Limits { fuel: self.fuel, ..Limits::default() };
        Options { limits, cache_bytes: 0, overlap: self.machine.overlap(), ..Options::default() }
    }

    /// Pairs of program and sample that differ from the definition, among one of so many.
    fn differing(&self, programs: &[Program], samples: &[Sample], found: &RunResult) -> (usize, usize) {
        if self.check == 0 {
            return (0, 0);
        }
        let limits = self.options().limits;
        let pairs: Vec<(usize, usize)> = (0..programs.len() * samples.len())
            .step_by(self.check)
            .map(|k| (k % programs.len(), k / programs.len()))
            .collect();
        let differs = |&(program, sample): &(usize, usize)| {
            let alone = programs[program].run(&samples[sample], &limits, false).returns;
            alone.iter().enumerate().any(|(k, value)| {
                value.as_ref().map(Value::digest).map_err(|class| *class) != found.digest(program, k, sample)
            })
        };
        (pairs.len(), pairs.par_iter().filter(|pair| differs(pair)).count())
    }

    /// W2: every program on every input.
    fn graph<B: Backend>(
        &self,
        session: &Session,
        executor: &Executor<B>,
        programs: &[Program],
        dag: &Dag,
        inputs: &[&Value],
    ) -> (Json, Times) {
        let step = if self.inputs == 0 { 1 } else { inputs.len().div_ceil(self.inputs) };
        let samples: Vec<Sample> = inputs.iter().step_by(step).map(|&input| Sample::new(input.clone())).collect();
        let batch = Batch::from(samples.clone());
        let mut last = None;
        let times = Times::measure(self.runs, || last = Some(executor.run(dag, &batch)));
        let (checked, wrong) = last.as_ref().map_or((0, 0), |found| self.differing(programs, &samples, found));
        let items = (programs.len() * samples.len()) as f64;
        let what = format!("{} programs x {} inputs", programs.len(), samples.len());
        let mut row = times.row("W2", &what, "program evaluations", items, checked, wrong);
        tell(session, &row);
        if let Some(profile) = last.as_ref().map(RunResult::profile) {
            let mut all: Vec<_> = profile.opcodes.iter().collect();
            all.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
            for (name, cost) in all.iter().take(self.top) {
                session.say(format!(
                    "  {name:<14} {:>10} calls {:>10} {:>9} by the definition",
                    cost.calls,
                    seconds(cost.seconds),
                    cost.generic
                ));
            }
            row["profile"] = json!(profile);
        }
        (row, times)
    }

    /// W3: the examples of one task at a time.
    fn latency<B: Backend>(
        &self,
        session: &Session,
        executor: &Executor<B>,
        programs: &[Program],
        dag: &Dag,
        tasks: &[Task],
    ) -> Json {
        let step = tasks.len().div_ceil(self.of_tasks as usize);
        let (mut medians, mut cpu, mut checked, mut wrong) = (Vec::new(), Vec::new(), 0, 0);
        for task in tasks.iter().step_by(step) {
            let batch = Batch::from_tasks([task]);
            let mut last = None;
            let times = Times::measure(self.runs, || last = Some(executor.run(dag, &batch)));
            medians.push(times.median());
            cpu.push(times.cpu());
            if let Some(found) = &last {
                let (all, bad) = self.differing(programs, batch.samples(), found);
                (checked, wrong) = (checked + all, wrong + bad);
            }
        }
        medians.sort_by(f64::total_cmp);
        cpu.sort_by(f64::total_cmp);
        let times = Times { wall: medians, cpu };
        let what = format!("{} programs on one task, of {} tasks", programs.len(), times.wall.len());
        let row = times.row("W3", &what, "tasks", 1.0, checked, wrong);
        tell(session, &row);
        row
    }
}

fn tell(session: &Session, row: &Json) {
    let number = |key: &str| row[key].as_f64().unwrap_or(0.0);
    session.say(format!(
        "{:<4} {:<36} {:>10} (p90 {:>9}) {:>12.0} {}/s, {:>12.0} /s and core; {} of {} checked differ",
        row["workload"].as_str().unwrap_or_default(),
        row["what"].as_str().unwrap_or_default(),
        seconds(number("median_s")),
        seconds(number("p90_s")),
        number("per_second"),
        row["unit"].as_str().unwrap_or_default(),
        number("per_second_and_core"),
        row["wrong"],
        row["checked"],
    ));
}

/// Grids of 30 x 30 random colours.
fn dense(n: usize) -> Vec<Grid> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut colour = || {
        // Xorshift, by G. Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 33) % 10) as i8
    };
    let grid = |_| Grid::new(30, 30, (0..900).map(|_| colour()).collect()).ok();
    (0..n).filter_map(grid).collect()
}
