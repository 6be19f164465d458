//! All programs as one graph on all samples: counts, digests, a profile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use grid_dsl::conform::Task;
use grid_dsl::exec::{self, Executor, Options};
use grid_dsl::profile::{Picture, Profile, Recorder};
use grid_dsl::tune::Tuning;
use grid_dsl::{Batch, Cpu, Dag, ExecOpts, Limits, Pattern, Patterns, Program, RunResult, Simplified, Value, hex};
use serde_json::json;

use super::machine::{Machine, Opened, Share};
use crate::backend::parse_size;
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::session::{Session, seconds, several};

/// Which patterns and rewrites a graph has.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Rewriting {
    /// Compute the nodes of this pattern one by one: P1 to P5. `--backend cpu` computes all of them so, and tells what the
    /// others take
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    no_pattern: Vec<Pattern>,
    /// Rewrite the graph first: compositions of mirrors, `compose` with `identity`, maps that share their calls
    #[arg(long)]
    pub(super) simplify: bool,
}

fn pattern(name: &str) -> std::result::Result<Pattern, String> {
    Pattern::by_name(name).ok_or_else(|| "patterns are P1, P2, P3, P4 and P5".to_owned())
}

impl Rewriting {
    /// The patterns that are left.
    pub(super) fn patterns(&self) -> Patterns {
        self.no_pattern.iter().fold(Patterns::default(), |all, &pattern| all.without(pattern))
    }

    /// The graph of programs, rewritten if that was asked for.
    pub(super) fn graph(&self, programs: &[Program]) -> (Dag, Simplified) {
        let dag = Dag::build(programs);
        if self.simplify { dag.simplified() } else { (dag, Simplified::default()) }
    }
}

/// Options of `grid run --merged`.
#[derive(Args, Debug)]
#[command(next_help_heading = "All programs at once")]
pub(super) struct Merged {
    /// Run all programs of the file as one graph on all inputs
    #[arg(long = "merged", id = "merged")]
    pub(super) wanted: bool,
    /// Write what the run cost as JSON, for `lockstep grid report`
    #[arg(long, value_name = "FILE", requires = "merged")]
    profile: Option<PathBuf>,
    /// Thresholds that `lockstep grid tune` wrote
    #[arg(long, value_name = "FILE", requires = "merged")]
    tuning: Option<PathBuf>,
    #[command(flatten)]
    knobs: Knobs,
    /// Outputs that the profile keeps, to be drawn
    #[arg(long, value_name = "N", default_value_t = 12, requires = "merged")]
    pictures: usize,
    #[command(flatten)]
    rewriting: Rewriting,
}

/// How work is spread. Nothing here changes a result.
#[derive(Args, Debug)]
struct Knobs {
    /// GPUs are left out with fewer inputs than this [default: 30, or what --tuning says]
    #[arg(long, value_name = "N", requires = "merged")]
    min_batch: Option<usize>,
    /// With fewer inputs than this the processor spreads the nodes of a level over threads, too
    /// [default: 30, or what --tuning says]
    #[arg(long, value_name = "N", requires = "merged")]
    spread_below: Option<usize>,
    /// Fewer inputs than this stay on one GPU [default: 120, or what --tuning says]
    #[arg(long, value_name = "N", requires = "merged")]
    multi_gpu_min: Option<usize>,
    /// The share of a GPU's memory that may be in use [default: 0.8]
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "merged")]
    mem_fraction: Option<f64>,
    /// Inputs at once at most [default: as many as the memory allows]
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "merged")]
    max_batch: Option<usize>,
    /// Bytes of values that are kept and looked up, such as 500M: of use where inputs come again [default: 0, none]
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "merged")]
    cache_bytes: Option<usize>,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "a number such as 0.8 is expected".to_owned())?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("it must be above 0 and at most 1".to_owned()) }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number from 1 on is expected".to_owned())
}

/// A size that may be nothing.
fn bytes(text: &str) -> std::result::Result<usize, String> {
    if text == "0" { Ok(0) } else { parse_size(text) }
}

impl Knobs {
    /// Those that are given.
    fn set(&self, options: &mut Options) {
        options.min_batch = self.min_batch.unwrap_or(options.min_batch);
        options.multi_gpu_min = self.multi_gpu_min.unwrap_or(options.multi_gpu_min);
        options.spread_below = self.spread_below.unwrap_or(options.spread_below);
        options.mem_fraction = self.mem_fraction.unwrap_or(options.mem_fraction);
        options.max_batch = self.max_batch.or(options.max_batch);
        // Nothing of one run is looked up but for inputs that come twice.
        options.cache_bytes = self.cache_bytes.unwrap_or(0);
    }
}

/// Samples, what they are called, and what a task expects of them.
struct Samples {
    batch: Batch,
    names: Vec<String>,
    /// The task, and its output if it is known.
    expected: Vec<Option<(String, Option<Value>)>>,
}

impl Samples {
    fn new(grids: &[Value], tasks: &[Task]) -> Self {
        let mut samples: Vec<_> = Batch::from_grids(grids.iter().cloned()).samples().to_vec();
        let mut names: Vec<String> = (0..grids.len()).map(|k| format!("grid {k}")).collect();
        let mut expected = vec![None; grids.len()];
        let of_tasks = Batch::from_tasks(tasks);
        samples.extend_from_slice(of_tasks.samples());
        for task in tasks {
            for k in 0..task.examples().count() {
                names.push(format!("{}, {}", task.id, task.example_name(k)));
            }
        }
        let ids = tasks.iter().flat_map(|task| task.examples().map(|_| task.id.clone()));
        expected.extend(ids.zip(of_tasks.expected()).map(|(id, output)| Some((id, output.clone()))));
        Self { batch: Batch::from(samples), names, expected }
    }
}

/// Whether a program is for a task, by its name.
pub(super) fn is_for(program: &str, task: &str) -> bool {
    program.trim_start_matches("solve_").trim_start_matches("task_") == task
}

/// What came out of either back end.
enum Found {
    Plain(RunResult),
    Executed(Box<exec::RunResult>),
}

impl Found {
    fn value(&self, program: usize, output: usize, sample: usize) -> grid_dsl::Result<&Value> {
        match self {
            Self::Plain(found) => found.value(program, output, sample),
            Self::Executed(found) => found.value(program, output, sample),
        }
    }

    fn digests(&self, sample: usize) -> Vec<grid_dsl::Result<u64>> {
        match self {
            Self::Plain(found) => found.digests(sample).collect(),
            Self::Executed(found) => found.digests(sample).collect(),
        }
    }

    fn samples(&self) -> usize {
        match self {
            Self::Plain(found) => found.samples(),
            Self::Executed(found) => found.samples(),
        }
    }
}

/// What came out, counted.
#[derive(Default, serde::Serialize)]
struct Counts {
    values: u64,
    errors: u64,
    /// Outputs of programs on the tasks of their names.
    right: u64,
    wrong: u64,
}

impl Merged {
    /// Refuses a profile that would be written over a file that is read.
    pub(super) fn spare<'a>(&'a self, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        match &self.profile {
            Some(path) => files::spare(path, inputs.into_iter().chain(&self.tuning), "--profile"),
            None => Ok(()),
        }
    }

    pub(super) fn run(
        &self,
        session: &Session,
        programs: &[Program],
        grids: &[Value],
        tasks: &[Task],
        limits: Limits,
        machine: &Machine,
    ) -> Result<Exit> {
        let samples = Samples::new(grids, tasks);
        let (dag, simplified) = self.rewriting.graph(programs);
        let mut options = Options { limits: limits.clone(), overlap: machine.overlap(), ..Options::default() };
        if let Some(path) = &self.tuning {
            options = tuning(path)?.apply(options);
        }
        self.knobs.set(&mut options);
        if self.profile.is_some() {
            options.patterns = self.rewriting.patterns();
        }
        let opts = ExecOpts { limits, min_batch: options.spread_below };
        let thresholds = (options.min_batch, options.multi_gpu_min, options.spread_below);
        let opened = machine.open(false)?;
        let started = std::time::Instant::now();
        let share: Option<Share>;
        let (found, mut profile) = match opened {
            Opened::Host(_) if machine.is_reference() => {
                let recorder = Recorder::new();
                let measured = self.profile.is_some().then_some(&recorder);
                let found = dag.run_with(&samples.batch, &opts, self.rewriting.patterns(), measured);
                share = None;
                (Found::Plain(found), recorder.profile())
            }
            Opened::Host(_) => {
                let found = Executor::new(Cpu, options).run(&dag, &samples.batch);
                let profile = Profile::from(found.profile()).with_levels_of(&dag);
                share = None;
                (Found::Executed(Box::new(found)), profile)
            }
            #[cfg(feature = "cuda")]
            Opened::Cuda(executor) => {
                let executor = Executor::new(*executor, options);
                let found = executor.run(&dag, &samples.batch);
                let own = Share::of(executor.backend());
                let mut profile = Profile::from(found.profile()).with_levels_of(&dag);
                own.add_to(&mut profile);
                share = Some(own);
                (Found::Executed(Box::new(found)), profile)
            }
        };
        let elapsed = started.elapsed().as_secs_f64();
        if let Some(path) = &self.profile {
            profile.pictures = pictures(programs, &samples, &found, self.pictures);
            let simplify = if self.rewriting.simplify { simplified.total().to_string() } else { "off".to_owned() };
            profile.knobs.insert("simplify".to_owned(), simplify);
            let text = serde_json::to_string_pretty(&profile).unwrap_or_default();
            files::write(path, text.as_bytes())?;
        }
        let (counts, of_tasks, digest) = counted(programs, &samples, &found);
        let evaluations = (programs.len() * found.samples()) as f64;
        session.say(format!(
            "{} on {}: {} values, {} errors, digest {}",
            several(programs.len(), "program"),
            several(found.samples(), "input"),
            counts.values,
            counts.errors,
            hex(digest)
        ));
        if counts.right + counts.wrong > 0 {
            session.say(format!("outputs of tasks: {} right, {} wrong", counts.right, counts.wrong));
        }
        session.note(format!("{}, {:.0} programs a second", seconds(elapsed), evaluations / elapsed.max(1e-9)));
        if let Some(share) = &share {
            share.tell(session);
        }
        session.document(&json!({
            "programs": programs.len(), "samples": found.samples(), "counts": counts, "tasks": of_tasks,
            "backend": profile.backend, "gpus": share.map(|share| share.json()), "digest": hex(digest),
            "seconds": elapsed, "min_batch": thresholds.0, "multi_gpu_min": thresholds.1,
            "spread_below": thresholds.2, "simplified": simplified,
            "patterns": self.rewriting.patterns().iter().map(Pattern::name).collect::<Vec<_>>(),
        }))?;
        Ok(if counts.wrong > 0 { Exit::Check } else { Exit::Ok })
    }
}

/// Outputs of a program on a task of its name.
#[derive(serde::Serialize)]
struct OfTask {
    program: String,
    task: String,
    right: u64,
    wrong: u64,
}

/// Counts, those of programs on tasks of their names, and one digest over all outputs: equal on every machine, whatever the
/// settings.
fn counted(programs: &[Program], samples: &Samples, found: &Found) -> (Counts, Vec<OfTask>, u64) {
    let (mut counts, mut digest) = (Counts::default(), 0xcbf2_9ce4_8422_2325_u64);
    let mut of_tasks: BTreeMap<(&str, usize), [u64; 2]> = BTreeMap::new();
    for sample in 0..found.samples() {
        for result in found.digests(sample) {
            match result {
                Ok(_) => counts.values += 1,
                Err(_) => counts.errors += 1,
            }
            let word = result.unwrap_or_else(|class| class as u64);
            digest = word
                .to_le_bytes()
                .iter()
                .fold(digest, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        }
        let Some((task, Some(output))) = &samples.expected[sample] else { continue };
        for (at, _) in programs.iter().enumerate().filter(|(_, p)| is_for(p.name(), task) && !p.returns().is_empty()) {
            let right = found.value(at, 0, sample) == Ok(output);
            *if right { &mut counts.right } else { &mut counts.wrong } += 1;
            of_tasks.entry((task, at)).or_default()[usize::from(!right)] += 1;
        }
    }
    let of_task = |((task, at), [right, wrong]): ((&str, usize), [u64; 2])| OfTask {
        program: programs[at].name().to_owned(),
        task: task.to_owned(),
        right,
        wrong,
    };
    (counts, of_tasks.into_iter().map(of_task).collect(), digest)
}

/// Inputs and outputs to look at: of programs on their own tasks first, one of each, then of others that give grids.
fn pictures(programs: &[Program], samples: &Samples, found: &Found, most: usize) -> Vec<Picture> {
    let one = |program: usize, sample: usize| -> Option<Picture> {
        let value = match found.value(program, 0, sample) {
            Ok(value) if value.is_grid() => value.to_text(),
            _ => return None,
        };
        let expected = samples.expected[sample].as_ref().filter(|(task, _)| is_for(programs[program].name(), task));
        Some(Picture {
            program: programs[program].name().to_owned(),
            sample: samples.names[sample].clone(),
            input: samples.batch.samples()[sample].input.to_text(),
            output: value,
            expected: expected.and_then(|(_, output)| output.as_ref().map(Value::to_text)),
        })
    };
    let own = |program: usize| {
        let of_task = |sample: &usize| {
            samples.expected[*sample].as_ref().is_some_and(|(task, _)| is_for(programs[program].name(), task))
        };
        (0..found.samples()).find(of_task).and_then(|sample| one(program, sample))
    };
    let with_outputs = || (0..programs.len()).filter(|&p| !programs[p].returns().is_empty());
    let mut all: Vec<Picture> = with_outputs().filter_map(own).take(most).collect();
    if all.is_empty() {
        let any = |program: usize| (0..found.samples()).find_map(|sample| one(program, sample));
        all = with_outputs().filter_map(any).take(most).collect();
    }
    all
}

/// A file of thresholds.
pub(super) fn tuning(path: &Path) -> Result<Tuning> {
    let text = super::sources::text(path)?;
    let tuning: Tuning = toml::from_str(&text)
        .map_err(|e| Failure::input(path, e.message()).help("`lockstep grid tune -o FILE` writes such a file"))?;
    if tuning.schema != 1 {
        return Err(Failure::input(path, format!("it has schema {}, and 1 is what can be read", tuning.schema))
            .help("write it again with `lockstep grid tune`"));
    }
    Ok(tuning)
}
