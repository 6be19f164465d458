//! Graphs of programs on devices: a wavefront of steps, level by level, for all samples of a batch.
//!
//! Values stay in the memory of the device. What has no form there, or is no operation of it, is evaluated on the host with
//! the fast layouts of [`Cpu`], and counted with its reason; with [`Options::overlap`] the host runs whole programs instead,
//! and whole samples, while devices run others. Results are those of [`Dag::run`], whatever the device, the number of devices
//! and the size of the batch.

mod call;
mod coverage;
mod maps;
mod plan;
mod probe;
mod run;
mod split;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use gpu_core::Error;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::dag::{Batch, Dag};
use crate::error::{ErrClass, Limits, Result};
use crate::exec::{Backend, Cache, Cpu, Options, Profile, RunResult};
use crate::kernels::{Arena, GridBackend, SIDE};
use crate::lang::Program;
use crate::prim::Prim;
use crate::run::{Outcome, Sample};
use crate::value::Value;
use coverage::Counted;
use plan::Plan;

pub use crate::kernels::objects_batch;
pub use call::call_batch;
pub use coverage::{Coverage, Share};

/// Most samples of one wave, unless options say otherwise.
const MOST_SAMPLES: usize = 1 << 16;

/// Most evaluations of one wave: what the host keeps of each takes some 30 bytes.
const MOST_EVALUATIONS: usize = 1 << 27;

/// Runs graphs on one or several queues, each of a device of its own.
///
/// A batch with fewer samples than [`Options::min_batch`] is run by [`Cpu`], and so is what has no form on a device.
/// [`Executor`](crate::Executor) takes this as its back end; what took place where is added up until
/// [`coverage`](Self::coverage) is asked for.
#[derive(Debug)]
pub struct DeviceExecutor<B: GridBackend> {
    queues: Vec<B>,
    coverage: Mutex<Coverage>,
    /// Threads that feed devices while others run programs.
    feeders: OnceLock<Option<ThreadPool>>,
}

impl<B: GridBackend> DeviceExecutor<B> {
    /// An executor on these queues.
    ///
    /// # Errors
    /// Without queues.
    pub fn new(queues: Vec<B>) -> gpu_core::Result<Self> {
        if queues.is_empty() {
            return Err(Error::value("queues", "none are given; an executor needs at least one"));
        }
        Ok(Self { queues, coverage: Mutex::default(), feeders: OnceLock::new() })
    }

    /// The queues.
    pub fn queues(&self) -> &[B] {
        &self.queues
    }

    /// Where everything took place since this was asked last.
    pub fn coverage(&self) -> Coverage {
        std::mem::take(&mut *self.coverage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn took_place(&self, coverage: &Coverage) {
        self.coverage.lock().unwrap_or_else(PoisonError::into_inner).add(coverage);
    }

    /// Runs all programs on all samples, and says where.
    ///
    /// # Errors
    /// When the part of memory is not above 0 and at most 1.
    pub fn run(&self, dag: &Dag, batch: &Batch, opts: &Options) -> gpu_core::Result<(RunResult, Coverage)> {
        if !(opts.mem_fraction > 0.0 && opts.mem_fraction <= 1.0) {
            return Err(Error::value("mem_fraction", format!("{} is not above 0 and at most 1", opts.mem_fraction)));
        }
        Ok(self.result(dag, batch, opts))
    }

    fn result(&self, dag: &Dag, batch: &Batch, opts: &Options) -> (RunResult, Coverage) {
        let samples = batch.samples();
        let result = |values| RunResult::new(values, (0..dag.programs().len()).map(|p| dag.outputs(p).len()));
        if samples.len() < opts.min_batch || !enough(&opts.limits) {
            let why =
                format!("{} samples stay on the host: fewer than min_batch, or limits below a device's", samples.len());
            let (values, coverage) = on_host(dag, samples, opts, why);
            return (result(values), coverage);
        }
        if opts.overlap {
            let (values, packed, coverage) = self.split(dag, batch, opts);
            return (result(values).with_packed(packed), coverage);
        }
        let inlined = dag.inlined(&opts.limits);
        let mut plan = Plan::new(&inlined);
        self.leave_room(&mut plan, opts);
        let wave = |b: &B, now: &[Sample]| run::wave(b, &inlined, &plan, now, &opts.limits);
        let instead = |now: &[Sample], why: String| on_host(dag, now, opts, why);
        let (values, coverage) = self.on_queues(samples, opts, &plan, (&wave, &instead));
        (result(values), coverage)
    }

    /// Leaves room for elements of maps on the smallest device.
    fn leave_room(&self, plan: &mut Plan, opts: &Options) {
        let limit = self.queues.iter().map(|b| b.memory().limit).min().unwrap_or(0);
        plan.within((limit as f64 * opts.mem_fraction) as usize, Arena::<B>::bytes());
    }

    /// Runs samples on all queues, each of which has its part, and says where.
    fn on_queues<T: Send>(
        &self,
        samples: &[Sample],
        opts: &Options,
        plan: &Plan,
        how: (&Wave<'_, B, T>, &Instead<'_, T>),
    ) -> (Vec<T>, Coverage) {
        let queues = if samples.len() < opts.multi_gpu_min { 1 } else { self.queues.len() };
        let bounds = parts(samples.iter().map(|s| u64::from(s.input.weight())), queues);
        // By rayon's threads, not by others: if the caller is one of rayon's, and waited for a thread that is not, then nobody
        // might be left to do what that one hands to rayon.
        let all: Vec<_> = self.queues[..queues]
            .par_iter()
            .with_max_len(1)
            .zip(bounds.par_windows(2))
            .enumerate()
            .map(|(queue, (b, bounds))| {
                let (values, mut coverage) = part(b, plan, &samples[bounds[0]..bounds[1]], opts, how);
                coverage.of_queue(queue);
                (values, coverage)
            })
            .collect();
        let (mut values, mut coverage) = (Vec::with_capacity(samples.len()), Coverage::default());
        for (part, counted) in all {
            values.extend(part);
            coverage.add(&counted);
        }
        (values, coverage)
    }
}

/// Runs samples on a queue.
type Wave<'a, B, T> = dyn Fn(&B, &[Sample]) -> gpu_core::Result<(Vec<T>, Coverage)> + Sync + 'a;

/// What is done with samples that a queue cannot run, and why.
type Instead<'a, T> = dyn Fn(&[Sample], String) -> (Vec<T>, Coverage) + Sync + 'a;

/// Runs samples on one queue, as many at a time as its memory takes.
fn part<B: GridBackend, T>(
    b: &B,
    plan: &Plan,
    samples: &[Sample],
    opts: &Options,
    (wave, instead): (&Wave<'_, B, T>, &Instead<'_, T>),
) -> (Vec<T>, Coverage) {
    let memory = b.memory();
    let budget = (memory.limit as f64 * opts.mem_fraction) as usize;
    let each = plan.slots.max(1) * Arena::<B>::bytes();
    // Lists that are copied take some of it, too.
    let free = budget.saturating_sub(memory.used).min(memory.free) / 8 * 7;
    let room = free.saturating_sub(plan.places * Arena::<B>::bytes()) / each;
    if room < opts.min_batch.max(1).min(samples.len()) {
        let why = format!("{} samples ran on the host: {budget} bytes hold {room} of {each}", samples.len());
        return instead(samples, why);
    }
    let most = MOST_SAMPLES.min(MOST_EVALUATIONS / plan.ways.len().max(1)).max(1);
    let (mut together, mut from) = (room.min(opts.max_batch.unwrap_or(most).max(1)), 0);
    let (mut values, mut coverage) = (Vec::new(), Coverage::default());
    while from < samples.len() {
        let now = &samples[from..samples.len().min(from + together)];
        let (part, counted) = match wave(b, now) {
            Ok(done) => done,
            Err(Error::OutOfMemory { .. }) if together > 1 => {
                together = now.len().div_ceil(2).min(together - 1);
                continue;
            }
            Err(e) => instead(now, format!("{} samples from number {from} ran on the host: {e}", now.len())),
        };
        values.extend(part);
        coverage.add(&counted);
        from += now.len();
    }
    (values, coverage)
}

/// Runs samples on the host altogether.
fn on_host(dag: &Dag, samples: &[Sample], opts: &Options, why: String) -> (run::Values, Coverage) {
    let (started, mut profile) = (Instant::now(), Profile::default());
    let batch = Batch::from(samples.to_vec());
    let done = Cpu.graph(dag, &batch, opts, &Cache::new(0), &mut profile);
    let host_seconds = started.elapsed().as_secs_f64();
    let mut coverage =
        Coverage { failures: vec![why], host_seconds, finished: profile.finished, ..Coverage::default() };
    coverage.add_times(&profile.opcodes, &profile.levels);
    (done.into_outputs(), coverage)
}

impl<B: GridBackend> Backend for DeviceExecutor<B> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    /// One call; [`calls`](Self::calls) does many in less time.
    fn call(&self, prim: Prim, args: &[Value], limits: &Limits) -> Result<Value> {
        self.calls(&[(prim, args.to_vec())], limits).pop().unwrap_or(Err(ErrClass::Type))
    }

    /// When the device fails, the host calls.
    fn calls(&self, calls: &[(Prim, Vec<Value>)], limits: &Limits) -> Vec<Result<Value>> {
        match call_batch(&self.queues[0], calls, limits) {
            Ok((results, mut coverage)) => {
                coverage.of_queue(0);
                self.took_place(&coverage);
                results
            }
            Err(e) => {
                let failures = vec![format!("{} calls ran on the host: {e}", calls.len())];
                self.took_place(&Coverage { failures, ..Coverage::default() });
                Cpu.calls(calls, limits)
            }
        }
    }

    /// One sample; [`programs`](Self::programs) does many in less time.
    fn program(&self, program: &Program, sample: &Sample, limits: &Limits, strict: bool) -> Outcome {
        let one = self.programs(program, std::slice::from_ref(sample), limits, strict).pop();
        one.unwrap_or(Outcome { lines: Vec::new(), returns: Vec::new(), used: 0 })
    }

    /// All lines of one program, as one graph. Fuel is not told: a device counts none.
    fn programs(&self, program: &Program, samples: &[Sample], limits: &Limits, strict: bool) -> Vec<Outcome> {
        let (whole, lines) = program.with_lines_returned(strict);
        let opts = Options { limits: limits.clone(), min_batch: 1, overlap: false, ..Options::default() };
        let (result, coverage) = self.result(&Dag::build(&[whole]), &Batch::from(samples.to_vec()), &opts);
        self.took_place(&coverage);
        let outcome = |values: Vec<Result<Value>>| {
            let mut values = values.into_iter();
            let mut next = || values.next().unwrap_or(Err(ErrClass::Type));
            let mut outcome = Outcome { lines: Vec::new(), returns: Vec::new(), used: 0 };
            outcome.returns = program.returns().iter().map(|_| next()).collect();
            outcome.lines = lines.iter().map(|needed| needed.then(&mut next)).collect();
            if let Some((_, class)) = outcome.first_failure().filter(|_| strict) {
                outcome.returns.iter_mut().for_each(|value| *value = Err(class));
            }
            outcome
        };
        result.into_values().map(outcome).collect()
    }

    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, _: &Cache, profile: &mut Profile) -> RunResult {
        let mem_fraction = opts.mem_fraction.clamp(0.01, 1.0);
        let (result, coverage) = self.result(dag, batch, &Options { mem_fraction, ..opts.clone() });
        profile.node_evaluations = profile.samples as u64 * profile.nodes as u64;
        profile.opcodes.clone_from(&coverage.opcodes);
        profile.levels.clone_from(&coverage.levels);
        profile.errors = profile.opcodes.values().map(|cost| cost.errors).sum();
        profile.finished.clone_from(&coverage.finished);
        self.took_place(&coverage);
        result
    }
}

/// Whether an evaluation with such an operand counts for the coverage.
fn is_container(value: &Value) -> bool {
    match value {
        Value::Set(_) => true,
        Value::Tuple(_) => value.as_pair().is_none(),
        _ => false,
    }
}

/// Whether nothing that fits a device is beyond the limits.
fn enough(limits: &Limits) -> bool {
    limits.side >= SIDE
        && limits.elements >= SIDE * SIDE
        // All images of a map together: as many as a grid has cells, each an object of as many.
        && limits.weight >= 1 << 23
        // Functions inside of functions, around objects that they have captured.
        && limits.nesting >= 16
        && limits.calls >= 8
}

/// Where parts begin that cost about the same, and the end.
fn parts(costs: impl Iterator<Item = u64>, count: usize) -> Vec<usize> {
    let sums: Vec<u64> = costs
        .scan(0, |sum, cost| {
            *sum += cost;
            Some(*sum)
        })
        .collect();
    let all = sums.last().copied().unwrap_or(0);
    let begin = |k: usize| sums.partition_point(|&sum| sum * count as u64 <= all * k as u64);
    (0..count).map(begin).chain([sums.len()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cost_the_same() {
        assert_eq!(parts([1, 1, 1, 1].into_iter(), 2), [0, 2, 4]);
        assert_eq!(parts([6, 1, 1, 1].into_iter(), 2), [0, 0, 4]);
        assert_eq!(parts([1, 1, 1, 6].into_iter(), 2), [0, 3, 4]);
        assert_eq!(parts(std::iter::empty(), 3), [0, 0, 0, 0]);
    }
}
