use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use grid_dsl::conform::{Library, Record, Task, read};
use grid_dsl::exec::{Cpu, Executor, Options, RunResult};
use grid_dsl::ops::{Grid, Mode, objects_batch};
use grid_dsl::{Backend, Batch, Dag, Limits, Prim, Program, Reference, Sample, Value};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::sources::{Reading, tasks, text};
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
}

/// Options of `grid bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid bench --tasks arc/training.jsonl --only w1,w1d
  lockstep grid bench --tasks arc/training.jsonl --programs programs/public.jsonl --inputs 100
  lockstep grid bench --tasks arc/training.jsonl --programs solvers.py --json > now.json

Times are medians of the runs after one to warm up. A rate a core divides by the processor time of all threads: on a \
machine that does other work, too, that is the steadier figure. A hundredth of the results is compared with the \
definition in the same run; exit code 1 when one differs. The cache across runs is off.")]
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
    /// Tasks of w3, evenly from all
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    of_tasks: u32,
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Threads [default: all]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
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
            "median_s": self.median(), "p10_s": Self::at(&self.wall, 0.1), "p90_s": Self::at(&self.wall, 0.9),
            "cpu_s": self.cpu(), "per_second": items / self.median(), "per_second_and_core": items / self.cpu(),
            "threads": rayon::current_num_threads(), "checked": checked, "wrong": wrong,
        })
    }
}

impl Bench {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let threads = self.threads.unwrap_or(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Failure::new(Exit::Io, format!("cannot start {threads} threads: {e}")))?;
        pool.install(|| self.measure(session))
    }

    fn wants(&self, workload: Workload) -> bool {
        self.only.is_empty() || self.only.contains(&workload)
    }

    fn measure(&self, session: &Session) -> Result<Exit> {
        let tasks = tasks(&self.tasks)?;
        let inputs: Vec<&Value> = tasks.iter().flat_map(Task::examples).map(|(input, _)| input).collect();
        if inputs.is_empty() {
            return Err(Failure::input(&self.tasks, "it holds no tasks").help("see arc/training.jsonl of the data"));
        }
        let mut rows = Vec::new();
        let grids = |all: Vec<Grid>| (0..self.grids as usize).map(|k| all[k % all.len()].clone()).collect::<Vec<_>>();
        if self.wants(Workload::W1) {
            let all: Vec<Grid> = inputs.iter().filter_map(|&input| Grid::try_from(input).ok()).collect();
            if all.is_empty() {
                return Err(Failure::input(&self.tasks, "no input of its tasks is a grid"));
            }
            rows.extend(self.components(session, "W1", &grids(all)));
        }
        if self.wants(Workload::W1d) {
            rows.extend(self.components(session, "W1d", &grids(dense(512))));
        }
        let graphs = [Workload::W2, Workload::W3].into_iter().any(|w| self.wants(w));
        if graphs && !self.programs.is_empty() {
            let programs = self.read_programs()?;
            let dag = Dag::build(&programs);
            if self.wants(Workload::W2) {
                rows.push(self.graph(session, &programs, &dag, &inputs));
            }
            if self.wants(Workload::W3) {
                rows.push(self.latency(session, &programs, &dag, &tasks));
            }
        }
        let wrong = rows.iter().filter_map(|row| row["wrong"].as_u64()).sum::<u64>();
        session.document(&json!({ "backend": "cpu", "rows": rows, "wrong": wrong }))?;
        Ok(if wrong == 0 { Exit::Ok } else { Exit::Check })
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
            // In parts: what all grids give at once would be gigabytes.
            let times = Times::measure(self.runs, || {
                for part in grids.chunks(20_000) {
                    std::hint::black_box(objects_batch(part, modes));
                }
            });
            let sampled: Vec<&Grid> = grids.iter().step_by(self.check.max(1)).take(10_000).collect();
            let sampled = if self.check == 0 { Vec::new() } else { sampled };
            let wrong = |grid: &&Grid| {
                let found = objects_batch(std::slice::from_ref(*grid), modes);
                let value = grid.to_value();
                let differs = |(mode, found): (&Mode, &grid_dsl::ops::Components)| {
                    let flags = [mode.univalued, mode.diagonal, mode.without_background].map(Value::Bool);
                    let args: Vec<Value> = std::iter::once(value.clone()).chain(flags).collect();
                    Reference.call(Prim::Objects, &args, &limits) != Ok(found.to_objects(grid))
                };
                modes.iter().zip(&found).filter(|&pair| differs(pair)).count()
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
        Options { limits: Limits { fuel: self.fuel, ..Limits::default() }, cache_bytes: 0, ..Options::default() }
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
    fn graph(&self, session: &Session, programs: &[Program], dag: &Dag, inputs: &[&Value]) -> Json {
        let step = if self.inputs == 0 { 1 } else { inputs.len().div_ceil(self.inputs) };
        let samples: Vec<Sample> = inputs.iter().step_by(step).map(|&input| Sample::new(input.clone())).collect();
        let batch = Batch::from(samples.clone());
        let executor = Executor::new(Cpu, self.options());
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
        row
    }

    /// W3: the examples of one task at a time.
    fn latency(&self, session: &Session, programs: &[Program], dag: &Dag, tasks: &[Task]) -> Json {
        let step = tasks.len().div_ceil(self.of_tasks as usize);
        let executor = Executor::new(Cpu, self.options());
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
