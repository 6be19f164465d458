//! What a run on devices took, by function, level and device; and thresholds, which change nothing but that.

use gpu_core::Cpu;
use grid_dsl::device::DeviceExecutor;
use grid_dsl::exec::{Options, RunResult};
use grid_dsl::profile::Profile;
use grid_dsl::tune::{self, Probe, Tuning};
use grid_dsl::{Batch, Dag, Executor, Program, Value};
use serde_json::Value as Json;

/// One program for a device altogether, one with a function of the host, one with values that have no form on a device.
const PROGRAMS: &str = "\
program corners(I)
  x1 = objects(I, T, F, T)
  x2 = argmax(x1, size)
  x3 = outbox(x2)
  x4 = fill(I, 3, x3)
return x4
end
program host(I)
  x1 = objects(I, T, T, T)
  x2 = apply(normalize, x1)
  x3 = merge(x2)
  x4 = paint(I, x3)
return x4
end
program large(I)
  x1 = upscale(I, 4)
  x2 = hmirror(x1)
  x3 = downscale(x2, 4)
return x3
end
";

const SAMPLES: usize = 40;

fn setting() -> (Dag, Batch) {
    let dag = Dag::build(&Program::parse(PROGRAMS).unwrap());
    (dag, Batch::from_grids(tune::grids(SAMPLES)))
}

/// Runs on twins of devices: outputs as text, and the profile as a report reads it.
fn run(queues: usize, opts: Options) -> (Vec<String>, Json) {
    let (dag, batch) = setting();
    let device = DeviceExecutor::new((0..queues).map(|_| Cpu::new()).collect()).unwrap();
    let executor = Executor::new(device, opts);
    let found = executor.run(&dag, &batch);
    let profile = Profile::from(found.profile()).with_levels_of(&dag);
    (outputs(&dag, &found), serde_json::to_value(profile).unwrap())
}

fn outputs(dag: &Dag, found: &RunResult) -> Vec<String> {
    let one = |program, sample| found.value(program, 0, sample).map_or_else(|e| e.name().to_owned(), Value::to_text);
    let programs = 0..dag.programs().len();
    programs.flat_map(|program| (0..SAMPLES).map(move |sample| one(program, sample))).collect()
}

fn sum<'a>(costs: impl Iterator<Item = &'a Json>, of: &str) -> f64 {
    costs.map(|cost| cost[of].as_f64().unwrap()).sum()
}

#[test]
fn time_is_told_by_function_and_level_and_over_time() {
    for (overlap, max_batch) in [(false, None), (false, Some(7)), (true, None), (true, Some(7))] {
        let (_, profile) = run(1, Options { min_batch: 1, overlap, max_batch, ..Options::default() });
        let case = format!("overlap {overlap}, parts of {max_batch:?}: {profile}");
        let opcodes = profile["opcodes"].as_object().unwrap();
        for name in ["objects", "argmax", "outbox", "fill", "upscale", "apply", "paint"] {
            assert!(opcodes[name]["seconds"].as_f64().unwrap() > 0.0, "{name}, {case}");
            assert!(opcodes[name]["calls"].as_u64().unwrap() >= SAMPLES as u64, "{name}, {case}");
        }
        let levels = profile["levels"].as_array().unwrap();
        // Level 0 is inputs and literals.
        assert!(levels.len() > 4 && levels[1..].iter().all(|l| l["seconds"].as_f64().unwrap() > 0.0), "{case}");
        let (by_function, by_level) = (sum(opcodes.values(), "seconds"), sum(levels.iter(), "seconds"));
        // What inputs and literals of a level take is no function's.
        assert!(by_function <= by_level * 1.000_001 && by_function > 0.0, "{case}");
        let progress = profile["progress"].as_array().unwrap();
        assert_eq!(progress.last().unwrap()[1], SAMPLES, "{case}");
        let counts: Vec<u64> = progress.iter().map(|p| p[1].as_u64().unwrap()).collect();
        assert!(counts.is_sorted() && counts[0] < SAMPLES as u64, "{case}");
    }
}

#[test]
fn each_device_has_its_own_time() {
    let (dag, batch) = setting();
    let opts = Options { min_batch: 1, multi_gpu_min: 1, overlap: false, ..Options::default() };
    let device = DeviceExecutor::new(vec![Cpu::new(), Cpu::new(), Cpu::new()]).unwrap();
    let (_, coverage) = device.run(&dag, &batch, &opts).unwrap();
    assert_eq!(coverage.queues.len(), 3);
    assert!(coverage.queues.iter().all(|share| share.calls > 0 && share.seconds > 0.0), "{coverage:?}");
    assert_eq!(coverage.queues.iter().map(|share| share.calls).sum::<u64>(), coverage.on_device);
    let seconds: f64 = coverage.queues.iter().map(|share| share.seconds).sum();
    assert!((seconds - coverage.device_seconds).abs() < 1e-9, "{coverage:?}");
    // Too few samples for several: the first one does all.
    let (_, coverage) = device.run(&dag, &batch, &Options { multi_gpu_min: SAMPLES + 1, ..opts }).unwrap();
    assert_eq!((coverage.queues.len(), coverage.queues[0].calls), (1, coverage.on_device), "{coverage:?}");
}

#[test]
fn what_stays_on_the_host_is_told_as_well() {
    let (_, profile) = run(1, Options { min_batch: SAMPLES + 1, ..Options::default() });
    assert!(profile["opcodes"]["objects"]["seconds"].as_f64().unwrap() > 0.0, "{profile}");
    assert_eq!(profile["progress"].as_array().unwrap().last().unwrap()[1], SAMPLES);
}

#[test]
fn thresholds_change_no_result() {
    let (wanted, _) = run(1, Options::default());
    for (min_batch, multi_gpu_min, spread_below) in
        [(0, 0, 0), (SAMPLES, SAMPLES, usize::MAX), (SAMPLES + 1, 0, 1), (1, SAMPLES + 1, 30), (tune::NEVER, 0, 0)]
    {
        for (queues, overlap) in [(1, false), (3, false), (3, true)] {
            let opts = Options { min_batch, multi_gpu_min, spread_below, overlap, ..Options::default() };
            let (found, _) = run(queues, opts.clone());
            assert_eq!(found, wanted, "{queues} queues, {opts:?}");
        }
    }
}

#[test]
fn a_threshold_of_devices_is_none_of_the_processor() {
    let (dag, batch) = setting();
    let ran = |opts: Options| {
        let (_, coverage) = DeviceExecutor::new(vec![Cpu::new()]).unwrap().run(&dag, &batch, &opts).unwrap();
        coverage.failures.is_empty()
    };
    assert!(ran(Options { min_batch: SAMPLES, spread_below: usize::MAX, ..Options::default() }));
    assert!(!ran(Options { min_batch: SAMPLES + 1, spread_below: 0, ..Options::default() }));
}

#[test]
fn devices_are_measured() {
    let device = DeviceExecutor::new(vec![Cpu::new(), Cpu::new()]).unwrap();
    let programs = Program::parse(PROGRAMS).unwrap();
    let tuning = tune::measure(&programs, &tune::grids(8), Some(&device), &Options::default(), |_| {});
    assert_eq!(tuning.device, Some(device.name()));
    assert!(tuning.min_batch.is_some() && tuning.multi_gpu_min.is_some(), "{tuning:?}");
    let group = tuning.opcodes["objects"];
    assert!(group.launch_ns.unwrap() >= 0.0 && group.device_ns.unwrap() > 0.0 && group.cpu_ns > 0.0, "{group:?}");
    // A function of the host has no time there.
    assert!(tuning.opcodes["apply"].device_ns.is_none(), "{tuning:?}");
    let read: Tuning = serde_json::from_value(serde_json::to_value(&tuning).unwrap()).unwrap();
    let opts = read.apply(Options::default());
    assert_eq!((Some(opts.min_batch), opts.spread_below), (tuning.min_batch, tuning.spread_below));
}
