//! Thresholds measured on the machine at hand.
//!
//! On the processor: from how many samples on a batch is spread over threads by its samples and not by the nodes of each
//! level, and what a call of each function costs. On a device: from how many samples on the graph is done sooner with it
//! than without, and with all of its queues than with one; and for each function what a step costs, and from how many calls
//! on it takes less than the processor. Thresholds never change a result.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::dag::{Batch, Dag, Node, NodeId};
use crate::error::{Limits, Result};
use crate::exec::{Cpu, Executor, Options};
use crate::fast::{Fast, Val};
use crate::lang::Program;
use crate::prim::Prim;
use crate::value::Value;

/// Thresholds, and what they were measured from. Written as TOML, a run reads it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The version of this form: 1.
    pub schema: u32,
    /// Threads that were there.
    pub threads: usize,
    /// See [`Options::spread_below`].
    pub spread_below: usize,
    /// See [`Options::min_batch`]: the number of samples from which on the device was faster, [`NEVER`] if it never was.
    /// Nothing where no device was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_batch: Option<usize>,
    /// See [`Options::multi_gpu_min`]: the number of samples from which on all queues were faster than one, [`NEVER`] if they
    /// never were; four times `min_batch` where there was one. Nothing where no device was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_gpu_min: Option<usize>,
    /// The device that was measured; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What calls cost, by function.
    pub opcodes: BTreeMap<String, Group>,
}

/// More samples than there are: a device was not faster with any number that was tried.
pub const NEVER: usize = u32::MAX as usize;

impl Tuning {
    /// Options with the thresholds that were measured.
    pub fn apply(&self, opts: Options) -> Options {
        Options {
            spread_below: self.spread_below,
            min_batch: self.min_batch.unwrap_or(opts.min_batch),
            multi_gpu_min: self.multi_gpu_min.unwrap_or(opts.multi_gpu_min),
            ..opts
        }
    }
}

/// What the calls of one function cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Calls that were measured, as they occur in the programs.
    pub calls: u64,
    /// Nanoseconds of a call on one thread of the fast back end.
    pub cpu_ns: f64,
    /// Nanoseconds of a launch on the device: what a step takes without its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_ns: Option<f64>,
    /// Nanoseconds of a call on the device, launch not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_ns: Option<f64>,
    /// Calls from which on the device is faster than all threads together, its operands being there; none where it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_even: Option<u64>,
}

/// A device that can be measured. [`DeviceExecutor`](crate::device::DeviceExecutor) is one.
pub trait Probe {
    /// Its name.
    fn name(&self) -> String;

    /// How many queues it has, each of a device of its own.
    fn queues(&self) -> usize;

    /// Seconds of one step with these calls, whose operands are on the device already, until it is known what came of
    /// them; nothing if it cannot do them.
    fn seconds(&self, calls: &[(Prim, Vec<Value>)]) -> Option<f64>;

    /// Seconds of a graph on samples, from the host and back, on so many queues; nothing if the device fails.
    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, queues: usize) -> Option<f64>;
}

/// Programs that are measured when no others are given: those of the package's examples.
pub const PROGRAMS: [&str; 5] = [
    include_str!("../examples/arithmetic.grid"),
    include_str!("../examples/colours.grid"),
    include_str!("../examples/mirrors.grid"),
    include_str!("../examples/shapes.grid"),
    include_str!("../examples/sizes.grid"),
];

/// Grids of many sizes with some shapes on black, always the same.
pub fn grids(count: usize) -> Vec<Value> {
    let mut state = 0x1234_5678_u32;
    let mut next = move |n: u32| {
        // The generator of Numerical Recipes: nobody asks more of these grids than to be varied.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % n
    };
    let mut one = || {
        let (h, w) = (3 + next(18) as usize, 3 + next(18) as usize);
        let mut rows = vec![vec![0; w]; h];
        for _ in 0..2 + next(5) {
            let (colour, i, j) = (1 + next(9) as i32, next(h as u32) as usize, next(w as u32) as usize);
            let (bottom, right) = ((i + 1 + next(4) as usize).min(h), (j + 1 + next(4) as usize).min(w));
            rows[i..bottom].iter_mut().for_each(|row| row[j..right].fill(colour));
        }
        Value::grid(rows)
    };
    (0..count).map(|_| one()).collect()
}

/// Batches that are spread over threads in two ways, smallest first.
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Batches that the processor and a device do, smallest first.
const SAMPLES: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Seconds of one number of samples behind which no larger one is tried.
const LONG: f64 = 1.0;

/// Calls of one launch when a device is measured. The last that a device does in less than [`LONG_LAUNCH`] counts.
const LAUNCHES: [usize; 4] = [32, 256, 1024, 4096];

/// Seconds of a launch behind which no larger one is tried.
const LONG_LAUNCH: f64 = 0.1;

/// Grids whose calls are measured one by one.
const EXAMPLES: usize = 32;

/// Calls of a function that are measured one by one, at most.
const CALLS: usize = 128;

/// Measures programs on samples, with a device where one is given; of the options the limits and
/// [`Options::overlap`] count. `step` is told how much of the work, of 0 to 1, is done.
pub fn measure(
    programs: &[Program],
    grids: &[Value],
    device: Option<&dyn Probe>,
    opts: &Options,
    mut step: impl FnMut(f64),
) -> Tuning {
    let dag = Dag::build(programs);
    let threads = rayon::current_num_threads();
    let batch = |n: usize| Batch::from_grids(grids.iter().cycle().take(n).cloned());
    // What is kept for later runs would be there the second time.
    let opts = Options { cache_bytes: 0, ..opts.clone() };
    // No program of a library needs more on a grid of the ARC, and one that is lost in a large one should not hold us up. Not
    // so beside a device: there less fuel is more programs that the processor has to run again.
    let short = Limits { fuel: opts.limits.fuel.min(1 << 24), ..opts.limits.clone() };
    let on_cpu = |batch: &Batch, spread_below: usize, limits: &Limits| {
        let executor = Executor::new(Cpu, Options { spread_below, limits: limits.clone(), ..opts.clone() });
        best(|| {
            let started = Instant::now();
            let done = executor.run(&dag, batch);
            let seconds = started.elapsed().as_secs_f64();
            drop(done);
            Some(seconds)
        })
    };
    let mut spread_below = 1;
    if threads > 1 {
        for (k, &n) in SIZES.iter().enumerate() {
            let batch = batch(n);
            if on_cpu(&batch, 0, &short) > on_cpu(&batch, usize::MAX, &short) {
                spread_below = n + 1;
            }
            step(0.4 * (k + 1) as f64 / SIZES.len() as f64);
        }
    }
    let (mut min_batch, mut multi_gpu_min) = (None, None);
    if let Some(device) = device {
        let (mut faster, mut together) = (Vec::new(), Vec::new());
        for (k, &n) in SAMPLES.iter().enumerate() {
            let batch = batch(n);
            let host = on_cpu(&batch, spread_below, &opts.limits);
            let one = best(|| device.graph(&dag, &batch, &opts, 1));
            faster.push((n, one < host));
            let mut longest = host.max(one);
            if device.queues() > 1 {
                let all = best(|| device.graph(&dag, &batch, &opts, device.queues()));
                together.push((n, all < one));
                longest = longest.max(all);
            }
            step(0.4 + 0.3 * (k + 1) as f64 / SAMPLES.len() as f64);
            if longest > LONG {
                break;
            }
        }
        let least = from_which(&faster);
        min_batch = Some(least);
        // The seed's ratio, where there is nothing to measure.
        let several = if together.is_empty() { least.saturating_mul(4).min(NEVER) } else { from_which(&together) };
        multi_gpu_min = Some(several);
    }
    let examples = examples(&dag, grids, &short);
    let count = examples.len().max(1);
    let group = |(k, (prim, calls)): (usize, (Prim, Vec<Vec<Value>>))| {
        let cpu_ns = cpu_seconds(prim, &calls, &short) / calls.len() as f64 * 1e9;
        let of_device = device.and_then(|device| device_ns(device, prim, &calls));
        let break_even = of_device.and_then(|(launch, each)| break_even(cpu_ns / threads as f64, launch, each));
        let (launch_ns, device_ns) = of_device.map(|(launch, each)| (tenths(launch), tenths(each))).unzip();
        step(0.7 + 0.3 * (k + 1) as f64 / count as f64);
        let calls = calls.len() as u64;
        (prim.name().to_owned(), Group { calls, cpu_ns: tenths(cpu_ns), launch_ns, device_ns, break_even })
    };
    let opcodes: BTreeMap<String, Group> = examples.into_iter().enumerate().map(group).collect();
    step(1.0);
    let device = device.map(Probe::name);
    Tuning { schema: 1, threads, spread_below, min_batch, multi_gpu_min, device, opcodes }
}

/// Nobody wants to read more digits.
fn tenths(ns: f64) -> f64 {
    (10.0 * ns).round() / 10.0
}

/// The shortest of three times, or fewer where they are long; for ever if one is nothing.
fn best(mut once: impl FnMut() -> Option<f64>) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let Some(seconds) = once() else { return f64::INFINITY };
        least = least.min(seconds);
        if seconds > LONG {
            break;
        }
    }
    least
}

/// The number of samples from which on something was faster each time.
fn from_which(tried: &[(usize, bool)]) -> usize {
    let winning = tried.iter().rev().take_while(|(_, faster)| *faster);
    winning.last().map_or(NEVER, |(n, _)| *n)
}

/// Calls of each function with operands as they come, from all nodes on some of the grids.
fn examples(dag: &Dag, grids: &[Value], limits: &Limits) -> Vec<(Prim, Vec<Vec<Value>>)> {
    let mut all: BTreeMap<&str, (Prim, Vec<Vec<Value>>)> = BTreeMap::new();
    let some = grids.iter().step_by(grids.len().div_ceil(EXAMPLES).max(1));
    for sample in Batch::from_grids(some.cloned()).samples() {
        let mut fast = Fast::new(limits);
        let mut values: Vec<Result<Val>> = Vec::with_capacity(dag.nodes().len());
        for node in dag.nodes() {
            fast.refill(0);
            let read = |id: &NodeId| values[*id as usize].as_ref().map_err(|class| *class);
            let args = |args: &[NodeId]| args.iter().map(read).collect::<Result<Vec<&Val>>>();
            let value = match node {
                Node::Input(name) => Ok(Val::from(sample.get(name))),
                Node::Literal(value) => Ok(Val::from(value)),
                Node::Prim(prim, operands) => args(operands).and_then(|args| {
                    let (_, calls) = all.entry(prim.name()).or_insert((*prim, Vec::new()));
                    if calls.len() < CALLS && args.len() == prim.arity() {
                        calls.push(args.iter().map(|value| value.to_value()).collect());
                    }
                    fast.prim(*prim, &args)
                }),
                Node::Call(callee, operands) => read(callee).and_then(|f| fast.call(f, &args(operands)?)),
            };
            values.push(value);
        }
    }
    all.into_values().filter(|(_, calls)| !calls.is_empty()).collect()
}

/// Seconds of calls on one thread.
fn cpu_seconds(prim: Prim, calls: &[Vec<Value>], limits: &Limits) -> f64 {
    let calls: Vec<Vec<Val>> = calls.iter().map(|args| args.iter().map(Val::from).collect()).collect();
    let calls: Vec<Vec<&Val>> = calls.iter().map(|args| args.iter().collect()).collect();
    let once = || {
        let (mut fast, started) = (Fast::new(limits), Instant::now());
        let results: Vec<Result<Val>> = calls
            .iter()
            .map(|args| {
                fast.refill(0);
                fast.prim(prim, args)
            })
            .collect();
        let seconds = started.elapsed().as_secs_f64();
        drop(results);
        Some(seconds)
    };
    best(once)
}

/// Nanoseconds of a launch of a function, and of each of its calls: from a launch with few calls and one with many.
fn device_ns(device: &dyn Probe, prim: Prim, calls: &[Vec<Value>]) -> Option<(f64, f64)> {
    let seconds = |n: usize| {
        let calls: Vec<_> = calls.iter().cycle().take(n).map(|args| (prim, args.clone())).collect();
        device.seconds(&calls)
    };
    let [few, more @ ..] = LAUNCHES;
    let (short, mut long, mut many) = (seconds(few)?, 0.0, few);
    for n in more {
        (long, many) = (seconds(n)?, n);
        if long > LONG_LAUNCH {
            break;
        }
    }
    let each = ((long - short) / (many - few) as f64).max(0.0) * 1e9;
    Some(((short * 1e9 - each * few as f64).max(0.0), each))
}

/// From how many calls on a launch with its calls takes less than the calls on the processor.
fn break_even(cpu: f64, launch: f64, each: f64) -> Option<u64> {
    (cpu > each).then(|| (launch / (cpu - each)).ceil() as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device with a graph's time for each number of queues.
    struct Fixed([f64; 2]);

    impl Probe for Fixed {
        fn name(&self) -> String {
            "fixed".to_owned()
        }

        fn queues(&self) -> usize {
            2
        }

        fn seconds(&self, calls: &[(Prim, Vec<Value>)]) -> Option<f64> {
            (calls[0].0 != Prim::Rot90).then_some(1e-5 + 1e-12 * calls.len() as f64)
        }

        fn graph(&self, _: &Dag, _: &Batch, _: &Options, queues: usize) -> Option<f64> {
            Some(self.0[queues - 1])
        }
    }

    fn programs() -> Vec<Program> {
        let text = "program a(I)\n x = rot90(I)\n o = objects(I, T, F, T)\n y = size(o)\nreturn x, y\nend\n";
        Program::parse(text).unwrap()
    }

    fn measured(device: Option<&dyn Probe>) -> Tuning {
        measure(&programs(), &grids(8), device, &Options::default(), |_| {})
    }

    #[test]
    fn calls_are_measured_and_devices_asked() {
        let tuning = measured(None);
        assert_eq!(tuning.opcodes.keys().collect::<Vec<_>>(), ["objects", "rot90", "size"]);
        assert!(tuning.opcodes.values().all(|group| group.calls == 8 && group.cpu_ns > 0.0), "{tuning:?}");
        assert!(tuning.device.is_none() && tuning.opcodes["objects"].break_even.is_none());
        assert_eq!((tuning.min_batch, tuning.multi_gpu_min), (None, None));
        let tuning = measured(Some(&Fixed([0.0, 0.0])));
        let group = tuning.opcodes["objects"];
        let (launch, each) = (group.launch_ns.unwrap(), group.device_ns.unwrap());
        assert!((launch - 1e4).abs() < 1.0 && each < 0.2, "{group:?}");
        assert!(group.break_even.unwrap() > 1 && tuning.opcodes["rot90"].break_even.is_none());
        // Faster from the first sample on, and never with two queues.
        assert_eq!((tuning.min_batch, tuning.multi_gpu_min), (Some(1), Some(NEVER)));
        // Never faster, and two queues always are.
        let tuning = measured(Some(&Fixed([1e9, 1.0])));
        assert_eq!((tuning.min_batch, tuning.multi_gpu_min), (Some(NEVER), Some(1)));
        assert_eq!(break_even(100.0, 1000.0, 50.0), Some(21));
        assert_eq!(break_even(50.0, 1000.0, 50.0), None);
        assert_eq!(from_which(&[(1, true), (2, false), (4, true), (8, true)]), 4);
    }

    #[test]
    fn what_was_measured_is_what_a_run_has() {
        let tuning = Tuning { min_batch: Some(7), multi_gpu_min: Some(70), spread_below: 3, ..measured(None) };
        let read: Tuning = again(&tuning);
        let opts = read.apply(Options::default());
        assert_eq!((opts.min_batch, opts.multi_gpu_min, opts.spread_below), (7, 70, 3));
        // A file without a device leaves those of devices as they are.
        let opts = Tuning { min_batch: None, multi_gpu_min: None, ..tuning }.apply(Options::default());
        assert_eq!((opts.min_batch, opts.multi_gpu_min, opts.spread_below), (30, 120, 3));
    }

    /// Written and read again.
    fn again(tuning: &Tuning) -> Tuning {
        serde_json::from_str(&serde_json::to_string(tuning).unwrap()).unwrap()
    }

    #[test]
    fn our_own_programs_are_read() {
        let programs: Vec<Program> = PROGRAMS.iter().flat_map(|text| Program::parse(text).unwrap()).collect();
        assert!(programs.len() >= 40);
        assert!(grids(64).iter().all(Value::is_grid));
    }
}
