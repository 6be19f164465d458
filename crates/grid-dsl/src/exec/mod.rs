//! Running graphs on back ends: batches, budgets, a cache, profiles.

mod cache;
mod counted;
mod cpu;
mod moments;
mod plan;
mod profile;
mod result;

use std::time::Instant;

use crate::dag::{Batch, Dag, ExecOpts};
use crate::error::{ErrClass, Limits, Result};
use crate::lang::Program;
use crate::machine::Machine;
use crate::patterns::Patterns;
use crate::prim::Prim;
use crate::run::{Outcome, Sample};
use crate::value::Value;

pub use cache::{Cache, CacheCounts};
pub(crate) use counted::Counted;
pub use cpu::Cpu;
pub(crate) use cpu::{Run, is_container, run_program};
pub(crate) use moments::{Moments, curve};
pub(crate) use plan::Plan;
pub use profile::{Knobs, OpcodeProfile, PatternProfile, Profile};
pub use result::RunResult;
pub(crate) use result::{Brought, Output};

/// How a graph runs. Nothing here changes a result.
#[derive(Clone, Debug)]
pub struct Options {
    /// The limits of each program on each sample.
    pub limits: Limits,
    /// Where there is a device: fewer samples than this run on the CPU.
    pub min_batch: usize,
    /// On the CPU: a batch with fewer samples than this spreads each level's nodes over threads, too.
    pub spread_below: usize,
    /// Fewer items than this stay on one GPU.
    pub multi_gpu_min: usize,
    /// The share of a device's memory that may be in use.
    pub mem_fraction: f64,
    /// Samples at once; `None` for as many as the memory allows.
    pub max_batch: Option<usize>,
    /// Bytes that values kept for later runs may take; 0 keeps none.
    pub cache_bytes: usize,
    /// Bytes that values of samples in progress may take on the CPU; `None` for no bound.
    pub memory: Option<usize>,
    /// Whether the CPU runs the programs that a device cannot evaluate altogether, and all programs of samples that none has
    /// taken yet, while devices run the others. Without, devices evaluate what they can of each program, and the CPU the
    /// rest of it.
    pub overlap: bool,
    /// Patterns whose time the profile tells apart, where nodes are computed on the CPU.
    pub patterns: Patterns,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            min_batch: 30,
            spread_below: 30,
            multi_gpu_min: 120,
            mem_fraction: 0.8,
            max_batch: None,
            cache_bytes: 1 << 30,
            memory: None,
            overlap: true,
            patterns: Patterns::NONE,
        }
    }
}

/// Something that evaluates calls, programs and graphs. All give the same values and classes of errors.
pub trait Backend: Send + Sync {
    /// The name: `reference`, `cpu`, …
    fn name(&self) -> &'static str;

    /// Calls one primitive on values within the limits.
    fn call(&self, prim: Prim, args: &[Value], limits: &Limits) -> Result<Value>;

    /// Runs one program, line by line.
    fn program(&self, program: &Program, sample: &Sample, limits: &Limits, strict: bool) -> Outcome;

    /// Calls many, each as if it were alone. A device does all of them at once.
    fn calls(&self, calls: &[(Prim, Vec<Value>)], limits: &Limits) -> Vec<Result<Value>> {
        calls.iter().map(|(prim, args)| self.call(*prim, args, limits)).collect()
    }

    /// Runs one program on many samples, on each as if it were alone. A device does all of them at once.
    fn programs(&self, program: &Program, samples: &[Sample], limits: &Limits, strict: bool) -> Vec<Outcome> {
        samples.iter().map(|sample| self.program(program, sample, limits, strict)).collect()
    }

    /// Runs a graph on samples. What is measured goes into the profile.
    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, cache: &Cache, profile: &mut Profile) -> RunResult;
}

/// The definition: scalar, simple.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn call(&self, prim: Prim, args: &[Value], limits: &Limits) -> Result<Value> {
        Machine::new(limits).prim(prim, args)
    }

    fn program(&self, program: &Program, sample: &Sample, limits: &Limits, strict: bool) -> Outcome {
        program.run(sample, limits, strict)
    }

    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, _: &Cache, profile: &mut Profile) -> RunResult {
        let (limits, min_batch) = (opts.limits.clone(), opts.spread_below);
        profile.node_evaluations = profile.samples as u64 * profile.nodes as u64;
        let done = dag.run(batch, &ExecOpts { limits, min_batch });
        profile.finished = vec![(Instant::now(), done.samples() as u64)];
        let outputs = |program: usize| 0..dag.outputs(program).len();
        let of_sample = |sample: usize| {
            let one = |program, output| done.value(program, output, sample).cloned().map(Output::Value);
            let programs = 0..dag.programs().len();
            programs
                .flat_map(|program| outputs(program).map(move |output| (program, output)))
                .map(|(p, o)| one(p, o))
                .collect()
        };
        RunResult::new(
            (0..done.samples()).map(of_sample).collect(),
            (0..dag.programs().len()).map(|p| outputs(p).len()),
        )
    }
}

/// Runs graphs on a back end, and keeps values for later runs.
///
/// ```
/// use grid_dsl::exec::{Cpu, Executor, Options};
/// use grid_dsl::{Batch, Dag, Program, Value};
///
/// let programs = Program::parse("program a(I)\n x = rot90(I)\nreturn x\nend\n")?;
/// let batch = Batch::from_grids([Value::grid([[1, 2]])]);
/// let executor = Executor::new(Cpu, Options::default());
/// let result = executor.run(&Dag::build(&programs), &batch);
/// assert_eq!(result.value(0, 0, 0), Ok(&Value::grid([[1], [2]])));
/// # Ok::<(), grid_dsl::Diagnostic>(())
/// ```
#[derive(Debug)]
pub struct Executor<B> {
    backend: B,
    opts: Options,
    cache: Cache,
}

impl<B: Backend> Executor<B> {
    /// An executor with an empty cache.
    pub fn new(backend: B, opts: Options) -> Self {
        let cache = Cache::new(opts.cache_bytes);
        Self { backend, opts, cache }
    }

    /// The options.
    pub fn opts(&self) -> &Options {
        &self.opts
    }

    /// The back end.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Runs all programs on all samples. Values and classes of errors are those of each program alone.
    pub fn run(&self, dag: &Dag, batch: &Batch) -> RunResult {
        let before = self.cache.counts();
        let started = Instant::now();
        let mut profile = Profile::new(self.backend.name(), &self.opts, dag, batch);
        let mut result = self.backend.graph(dag, batch, &self.opts, &self.cache, &mut profile);
        profile.seconds = started.elapsed().as_secs_f64();
        let seconds = |&(at, samples): &(Instant, u64)| (at.saturating_duration_since(started).as_secs_f64(), samples);
        profile.progress = curve(profile.finished.iter().map(seconds).collect(), profile.seconds);
        profile.finished = Vec::new();
        profile.cache = self.cache.counts().since(&before);
        result.finish(profile, batch);
        result
    }
}

/// The class that inputs which are too large give to every output.
pub(crate) fn refused(sample: &Sample, limits: &Limits) -> Option<ErrClass> {
    sample.admit(limits).err()
}
