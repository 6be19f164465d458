//! Graphs of programs on devices: a wavefront of steps, level by level, for all samples of a batch.
//!
//! Values stay in the memory of the device. What has no form there, or is no operation of it, is evaluated on the host with
//! the definition of its primitive, and counted with its reason. Results are those of
//! [`Dag::run`](crate::Dag::run), whatever the device, the number of devices and the size of the batch.

mod call;
mod plan;
mod run;

use std::collections::BTreeMap;

use gpu_core::Error;

use crate::dag::{Batch, Dag, ExecOpts, RunResult};
use crate::error::Limits;
use crate::kernels::{Arena, GridBackend, SIDE, Spill};
use crate::value::Value;
use plan::Plan;

pub use crate::kernels::objects_batch;
pub use call::call_batch;

/// How a graph runs on devices. Nothing here changes a result.
#[derive(Clone, Debug)]
pub struct DeviceOpts {
    /// Limits, and the smallest batch that goes to a device.
    pub exec: ExecOpts,
    /// Fewer samples than this stay on the first device.
    pub multi_gpu_min: usize,
    /// How much of a device's memory values may take.
    pub mem_fraction: f64,
    /// Most samples of one wave; fewer where memory is short.
    pub max_batch: usize,
}

impl Default for DeviceOpts {
    fn default() -> Self {
        Self { exec: ExecOpts::default(), multi_gpu_min: 120, mem_fraction: 0.8, max_batch: 1 << 16 }
    }
}

/// Where evaluations of nodes took place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Evaluations with at least one operand that is a grid, a patch or another container but a pair, on a device.
    pub on_device: u64,
    /// The same, on the host.
    pub on_host: u64,
    /// For each reason how many evaluations took place on the host, whatever their operands.
    pub spills: BTreeMap<Spill, u64>,
    /// For each function evaluations of the first two kinds, on a device and on the host.
    pub functions: BTreeMap<&'static str, [u64; 2]>,
    /// What devices failed with; the samples ran on the host.
    pub failures: Vec<String>,
}

impl Coverage {
    /// The part of evaluations that a device did; 0 without any.
    pub fn fraction(&self) -> f64 {
        let all = self.on_device + self.on_host;
        if all == 0 { 0.0 } else { self.on_device as f64 / all as f64 }
    }

    /// Counts one evaluation of a function, whether it has an operand that counts, and why the host did it.
    fn count(&mut self, name: &'static str, counts: bool, spill: Option<Spill>) {
        if let Some(why) = spill {
            *self.spills.entry(why).or_default() += 1;
        }
        if counts {
            self.functions.entry(name).or_default()[usize::from(spill.is_some())] += 1;
            *if spill.is_some() { &mut self.on_host } else { &mut self.on_device } += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.on_device += other.on_device;
        self.on_host += other.on_host;
        for (why, n) in &other.spills {
            *self.spills.entry(*why).or_default() += n;
        }
        for (name, [device, host]) in &other.functions {
            let own = self.functions.entry(name).or_default();
            *own = [own[0] + device, own[1] + host];
        }
        self.failures.extend(other.failures.iter().cloned());
    }
}

/// Runs graphs on one or several queues, each of a device of its own.
#[derive(Debug)]
pub struct DeviceExecutor<B: GridBackend> {
    queues: Vec<B>,
    opts: DeviceOpts,
}

impl<B: GridBackend> DeviceExecutor<B> {
    /// An executor on these queues.
    ///
    /// # Errors
    /// Without queues, or when the part of memory is not above 0 and at most 1.
    pub fn new(queues: Vec<B>, opts: DeviceOpts) -> gpu_core::Result<Self> {
        if queues.is_empty() {
            return Err(Error::value("queues", "none are given; an executor needs at least one"));
        }
        if !(opts.mem_fraction > 0.0 && opts.mem_fraction <= 1.0) {
            return Err(Error::value("mem_fraction", format!("{} is not above 0 and at most 1", opts.mem_fraction)));
        }
        Ok(Self { queues, opts })
    }

    /// Runs all programs on all samples, and says where.
    pub fn run(&self, dag: &Dag, batch: &Batch) -> (RunResult, Coverage) {
        let samples = batch.samples();
        let limits = &self.opts.exec.limits;
        if samples.len() < self.opts.exec.min_batch || !enough(limits) {
            let why =
                format!("{} samples stay on the host: fewer than min_batch, or limits below a device's", samples.len());
            return (dag.run(batch, &self.opts.exec), Coverage { failures: vec![why], ..Coverage::default() });
        }
        let plan = Plan::new(dag);
        let queues = if samples.len() < self.opts.multi_gpu_min { 1 } else { self.queues.len() };
        let bounds = parts(samples.iter().map(|s| u64::from(s.input.weight())), queues);
        let all: Vec<_> = std::thread::scope(|scope| {
            let (plan, queues) = (&plan, self.queues.iter().zip(bounds.windows(2)));
            let threads: Vec<_> = queues
                .map(|(b, bounds)| (bounds[0]..bounds[1], b))
                .map(|(range, b)| scope.spawn(move || self.part(b, dag, plan, &samples[range])))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        });
        let (mut values, mut coverage) = (Vec::with_capacity(samples.len()), Coverage::default());
        for (part, counted) in all {
            values.extend(part);
            coverage.add(&counted);
        }
        (RunResult::gathered(dag, values), coverage)
    }

    /// Runs samples on one queue, as many at a time as its memory takes.
    fn part(&self, b: &B, dag: &Dag, plan: &Plan, samples: &[crate::run::Sample]) -> (run::Values, Coverage) {
        let memory = b.memory();
        let budget = (memory.limit as f64 * self.opts.mem_fraction) as usize;
        let each = plan.slots.max(1) * Arena::<B>::bytes();
        let room = budget.saturating_sub(memory.used).min(memory.free) / each;
        if room < self.opts.exec.min_batch.max(1).min(samples.len()) {
            let why = format!("{} samples ran on the host: {budget} bytes hold {room} of {each}", samples.len());
            let result = dag.run(&Batch::from(samples.to_vec()), &self.opts.exec);
            return (result.into_values(), Coverage { failures: vec![why], ..Coverage::default() });
        }
        let (mut together, mut from) = (room.min(self.opts.max_batch.max(1)), 0);
        let (mut values, mut coverage) = (Vec::new(), Coverage::default());
        while from < samples.len() {
            let now = &samples[from..samples.len().min(from + together)];
            match run::wave(b, dag, plan, now, &self.opts.exec.limits) {
                Ok((part, counted)) => {
                    values.extend(part);
                    coverage.add(&counted);
                    from += now.len();
                }
                Err(Error::OutOfMemory { .. }) if together > 1 => together = now.len().div_ceil(2).min(together - 1),
                Err(e) => {
                    coverage.failures.push(format!("{} samples from number {from} ran on the host: {e}", now.len()));
                    let result = dag.run(&Batch::from(now.to_vec()), &self.opts.exec);
                    values.extend(result.into_values());
                    from += now.len();
                }
            }
        }
        (values, coverage)
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
        && limits.weight >= 1 << 14
        && limits.nesting >= 8
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
