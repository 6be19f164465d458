//! Thresholds measured on the machine at hand.
//!
//! Two things are measured: from how many samples on a batch is spread over threads by its samples and not by the nodes of
//! each level, and what a call of each function costs. Where a device is given, its cost of a call and of a launch are
//! measured, too, and the number of calls is told from which on it is faster. Thresholds never change a result.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::dag::{Batch, Dag, ExecOpts};
use crate::error::Limits;
use crate::lang::Program;
use crate::patterns::Patterns;
use crate::profile::Recorder;
use crate::value::Value;

/// Thresholds, and what they were measured from. Written as TOML, a run reads it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The version of this form: 1.
    pub schema: u32,
    /// Threads that were there.
    pub threads: usize,
    /// A batch of fewer samples is spread by the nodes of each level; on a device: a group of fewer items stays on the
    /// processor.
    pub min_batch: usize,
    /// Fewer items than this stay on one device.
    pub multi_gpu_min: usize,
    /// The device that was measured; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What calls cost, by function.
    pub opcodes: BTreeMap<String, Group>,
}

/// What the calls of one function cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Calls that were measured.
    pub calls: u64,
    /// Nanoseconds of a call on one thread.
    pub cpu_ns: f64,
    /// Nanoseconds of a launch on the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_ns: Option<f64>,
    /// Nanoseconds of a call on the device, launch not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_ns: Option<f64>,
    /// Calls from which on the device is faster than all threads together; none where it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_even: Option<u64>,
}

/// A device that can be measured.
pub trait Probe {
    /// Its name.
    fn name(&self) -> String;

    /// Seconds that so many calls of a function take in one launch, transfers counted; nothing if it cannot do them.
    fn seconds(&self, opcode: &str, calls: usize) -> Option<f64>;
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

/// Batches that are measured, smallest first.
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Calls of one launch when a device is measured: few, many.
const LAUNCHES: [usize; 2] = [32, 4096];

/// Measures programs on samples. `step` is told how much of the work, of 0 to 1, is done.
pub fn measure(programs: &[Program], grids: &[Value], device: Option<&dyn Probe>, mut step: impl FnMut(f64)) -> Tuning {
    let dag = Dag::build(programs);
    let threads = rayon::current_num_threads();
    let batch = |n: usize| Batch::from_grids(grids.iter().cycle().take(n).cloned());
    // No program of a library needs more on a grid of the ARC, and one that is lost in a large one should not hold us up.
    let limits = Limits { fuel: 1 << 24, ..Limits::default() };
    let best = |batch: &Batch, min_batch: usize| {
        let opts = ExecOpts { limits: limits.clone(), min_batch };
        let once = |_| {
            let started = Instant::now();
            dag.run(batch, &opts);
            started.elapsed().as_secs_f64()
        };
        (0..3).map(once).fold(f64::INFINITY, f64::min)
    };
    let defaults = ExecOpts::default();
    let mut min_batch = 1;
    if threads > 1 {
        for (k, &n) in SIZES.iter().enumerate() {
            let batch = batch(n);
            let (by_nodes, by_samples) = (best(&batch, usize::MAX), best(&batch, 0));
            step((k + 1) as f64 / (SIZES.len() + 1) as f64);
            if by_samples > by_nodes {
                min_batch = n + 1;
            }
        }
    }
    let recorder = Recorder::new();
    let opts = ExecOpts { limits: limits.clone(), ..defaults };
    dag.run_with(&batch(128), &opts, Patterns::NONE, Some(&recorder));
    let group = |(opcode, cost): (String, crate::profile::Cost)| {
        let cpu_ns = (1e10 * cost.seconds / cost.calls.max(1) as f64).round() / 10.0;
        let of_device = device.and_then(|device| {
            let [few, many] = LAUNCHES;
            let (short, long) = (device.seconds(&opcode, few)?, device.seconds(&opcode, many)?);
            let each = ((long - short) / (many - few) as f64).max(0.0) * 1e9;
            Some(((short * 1e9 - each * few as f64).max(0.0), each))
        });
        let break_even = of_device.and_then(|(launch, each)| break_even(cpu_ns / threads as f64, launch, each));
        let (launch_ns, device_ns) = of_device.unzip();
        (opcode, Group { calls: cost.calls, cpu_ns, launch_ns, device_ns, break_even })
    };
    let opcodes: BTreeMap<String, Group> = recorder.profile().opcodes.into_iter().map(group).collect();
    let mut evens: Vec<u64> = opcodes.values().filter_map(|group| group.break_even).collect();
    evens.sort_unstable();
    if let Some(&middle) = evens.get(evens.len() / 2) {
        min_batch = middle as usize;
    }
    step(1.0);
    // A second device pays when the first has at least four times what it needs to pay itself: the seed's ratio.
    let multi_gpu_min = if evens.is_empty() { 120 } else { 4 * min_batch };
    Tuning { schema: 1, threads, min_batch, multi_gpu_min, device: device.map(Probe::name), opcodes }
}

/// From how many calls on a launch with its calls takes less than the calls on the processor.
fn break_even(cpu: f64, launch: f64, each: f64) -> Option<u64> {
    (cpu > each).then(|| (launch / (cpu - each)).ceil() as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Probe for Fixed {
        fn name(&self) -> String {
            "fixed".to_owned()
        }

        fn seconds(&self, opcode: &str, calls: usize) -> Option<f64> {
            (opcode != "rot90").then_some(1e-5 + 1e-12 * calls as f64)
        }
    }

    fn programs() -> Vec<Program> {
        let text = "program a(I)\n x = rot90(I)\n o = objects(I, T, F, T)\n y = size(o)\nreturn x, y\nend\n";
        Program::parse(text).unwrap()
    }

    #[test]
    fn calls_are_measured_and_devices_asked() {
        let tuning = measure(&programs(), &grids(8), None, |_| {});
        assert_eq!(tuning.opcodes.keys().collect::<Vec<_>>(), ["objects", "rot90", "size"]);
        assert!(tuning.opcodes.values().all(|group| group.calls == 128 && group.cpu_ns > 0.0), "{tuning:?}");
        assert!(tuning.device.is_none() && tuning.opcodes["objects"].break_even.is_none());
        let tuning = measure(&programs(), &grids(8), Some(&Fixed), |_| {});
        let group = tuning.opcodes["objects"];
        let (launch, each) = (group.launch_ns.unwrap(), group.device_ns.unwrap());
        assert!((launch - 1e4).abs() < 1.0 && (each - 1e-3).abs() < 1e-4, "{group:?}");
        assert!(group.break_even.unwrap() > 1 && tuning.opcodes["rot90"].break_even.is_none());
        assert_eq!(break_even(100.0, 1000.0, 50.0), Some(21));
        assert_eq!(break_even(50.0, 1000.0, 50.0), None);
    }

    #[test]
    fn our_own_programs_are_read() {
        let programs: Vec<Program> = PROGRAMS.iter().flat_map(|text| Program::parse(text).unwrap()).collect();
        assert!(programs.len() >= 40);
        assert!(grids(64).iter().all(Value::is_grid));
    }
}
