//! Graphs on devices give what the definition gives, wherever nodes are evaluated.

mod common;

use std::io::Write;

use gpu_core::Cpu;
use grid_dsl::device::{Coverage, DeviceExecutor, call_batch};
use grid_dsl::exec::{Options, RunResult};
use grid_dsl::kernels::{GridBackend, Op, Spill};
use grid_dsl::{
    Backend, Batch, Dag, Dialect, ErrClass, ExecOpts, Executor, Limits, Prim, Program, Reference, Sample, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rayon::prelude::*;
use serde_json::value::RawValue;

/// Devices do what they can of everything.
fn opts() -> Options {
    Options { min_batch: 1, overlap: false, ..Options::default() }
}

/// The CPU takes whole programs meanwhile.
fn overlapped() -> Options {
    Options { overlap: true, ..opts() }
}

/// Programs with every way that a node can take: operations of a device, functions of the host, errors, large results.
fn programs() -> Vec<Program> {
    let text = "\
program corners(I)
  x1 = objects(I, T, F, T)
  x2 = argmax(x1, size)
  x3 = outbox(x2)
  x4 = fill(I, 3, x3)
  x5 = hconcat(x4, I)
return x4, x5
end
program host(I)
  x1 = objects(I, T, T, T)
  x2 = apply(normalize, x1)
  x3 = merge(x2)
  x4 = paint(I, x3)
  x5 = size(x2)
return x4, x5
end
program large(I)
  x1 = upscale(I, 4)
  x2 = hmirror(x1)
  x3 = downscale(x2, 4)
  x4 = hmirror(x3)
  x5 = equality(x4, I)
return x2, x5
end
program errors(I)
  x1 = downscale(I, 0)
  x2 = rot90(x1)
  x3 = argmin(I, size)
  x4 = hconcat(x3, x2)
return x2, x4, x3
end
program parts(I)
  x1 = hsplit(I, 2)
  x2 = first(x1)
  x3 = last(x1)
  x4 = vsplit(I, 3)
  x5 = last(x4)
  x6 = size(x4)
  x7 = merge(x4)
return x2, x3, x1, x5, x6, x7
end
program tuples(I)
  x1 = objects(I, T, F, F)
  x2 = order(x1, leftmost)
  x3 = last(x2)
  x4 = first(x2)
  x5 = size(x2)
  x6 = totuple(x1)
  x7 = last(x6)
  x8 = repeat(I, 2)
  x9 = merge(x8)
  x10 = hsplit(I, 2)
  x11 = mostcommon(x10)
  x12 = vsplit(I, 2)
  x13 = leastcommon(x12)
  x14 = merge(x12)
  x15 = merge(x10)
  x16 = combine(x3, x4)
  x17 = difference(x3, x4)
  x18 = manhattan(x3, x4)
  x19 = frontiers(I)
  x20 = merge(x19)
  x21 = size(x19)
  x22 = partition(I)
  x23 = equality(x19, x22)
  x24 = rbind(colorcount, TWO)
  x25 = objects(I, F, T, F)
  x26 = argmax(x25, x24)
  x27 = order(x25, leastcolor)
  x28 = last(x27)
  x29 = argmin(x22, x24)
  x30 = argmin(x25, mostcolor)
return x2, x3, x4, x5, x6, x7, x8, x9, x11, x13, x14, x15, x16, x17, x18, x19, x20, x21, x23, x26, x27, x28, x29, x30
end
program functions(I)
  x1 = ofcolor(I, 0)
  x2 = rbind(manhattan, x1)
  x3 = objects(I, T, F, T)
  x4 = argmin(x3, x2)
  x5 = lbind(vconcat, I)
  x6 = x5(I)
  x7 = rbind(x5, T)
  x8 = astuple(x5, x2)
  x9 = branch(T, x5, x2)
  x10 = x9(I)
  x11 = mapply(outbox, x3)
  x12 = mapply(dmirror, x3)
  x13 = chain(rot90, trim, hmirror)
  x14 = power(x13, 2)
  x15 = x14(I)
  x16 = fork(hconcat, identity, hmirror)
  x17 = x16(I)
  x18 = lbind(crop, I)
  x19 = x18(ORIGIN, (2, 2))
  x20 = rbind(add, ONE)
  x21 = matcher(x20, THREE)
  x22 = x21(TWO)
  x23 = power(x20, 3)
  x24 = size(I)
  x25 = x23(x24)
  x26 = rbind(divide, ZERO)
  x27 = x26(x24)
return x4, x6, x7, x8, x10, x11, x12, x15, x17, x19, x22, x25, x27, x2
end
program numbers(I)
  x1 = shape(I)
  x2 = last(x1)
  x3 = numcolors(I)
  x4 = astuple(x3, x2)
  x5 = crop(I, (0, 0), x4)
  x6 = compose(rot90, hmirror)
  x7 = x6(x5)
return x7, x4
end
";
    Program::parse(text).unwrap()
}

fn grids() -> Vec<Value> {
    let texts = ["0", "012/345", "0110/0020/3302/3300", "11111", "1/2/1", "0000/0550/0550/0000/1000", "90/09"];
    let mut grids: Vec<Value> = texts.iter().map(|t| Value::grid_from_digits(t).unwrap()).collect();
    grids.push(Value::grid((0..30).map(|i| (0..30).map(|j| (i * j / 7) % 10).collect::<Vec<_>>())));
    grids.push(Value::grid(vec![vec![4; 40]; 2]));
    grids.push(Value::grid(Vec::<Vec<i32>>::new()));
    grids.push(Value::grid([[-1, 300], [0, 0]]));
    grids.push(Value::Int(7));
    grids
}

fn same(dag: &Dag, got: &RunResult, wanted: &grid_dsl::RunResult) {
    assert_eq!(got.samples(), wanted.samples());
    for sample in 0..wanted.samples() {
        for program in 0..dag.programs().len() {
            for output in 0..dag.outputs(program).len() {
                let digest = got.digest(program, output, sample);
                let (got, wanted) = (got.value(program, output, sample), wanted.value(program, output, sample));
                assert_eq!(digest, wanted.map(Value::digest), "program {program}, output {output}, sample {sample}");
                let texts = [got, wanted].map(|v| v.map(Value::to_text));
                assert_eq!(texts[0], texts[1], "program {program}, output {output}, sample {sample}");
            }
        }
    }
}

fn check<B: GridBackend>(queues: Vec<B>, dag: &Dag, batch: &Batch, opts: Options) -> Coverage {
    let wanted = dag.run(batch, &ExecOpts { limits: opts.limits.clone(), min_batch: opts.min_batch });
    let (got, coverage) = DeviceExecutor::new(queues).unwrap().run(dag, batch, &opts).unwrap();
    same(dag, &got, &wanted);
    let on_cpu = Executor::new(grid_dsl::exec::Cpu, opts).run(dag, batch);
    assert_eq!(got.dedupe_by_digest(), on_cpu.dedupe_by_digest());
    coverage
}

#[test]
fn results_are_those_of_the_definition() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    let coverage = check(vec![Cpu::new()], &dag, &batch, opts());
    assert!(coverage.failures.is_empty(), "{coverage:?}");
    for why in [Spill::Kind, Spill::Size, Spill::Class, Spill::Operand, Spill::Function] {
        assert!(coverage.spills.contains_key(&why), "{why:?}: {coverage:?}");
    }
    assert!(coverage.on_device > coverage.on_host, "{coverage:?}");
    let [device, host] = coverage.functions["objects"];
    assert_eq!((device > 12, host > 0), (true, true), "{coverage:?}");
}

#[test]
fn programs_are_shared_between_devices_and_the_cpu() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids().into_iter().cycle().take(50)));
    let one = check(vec![Cpu::new()], &dag, &batch, overlapped());
    assert!(one.failures.is_empty(), "{one:?}");
    // One has functions of the host; large grids and errors have no form on a device.
    assert_eq!(one.programs_on_host, 50, "{one:?}");
    assert!(one.redone > 0 && one.on_device > 0 && one.on_host > 0, "{one:?}");
    let split = check(vec![Cpu::new()], &dag, &batch, Options { max_batch: Some(7), ..overlapped() });
    let many = check((0..3).map(|_| Cpu::new()).collect(), &dag, &batch, Options { multi_gpu_min: 1, ..overlapped() });
    for other in [split, many] {
        assert_eq!((other.counts(), other.redone), (one.counts(), one.redone));
    }
    // All of one kind, or of the other.
    for (name, on_host) in [("corners", 0), ("functions", 50)] {
        let all: Vec<Program> = programs().into_iter().filter(|program| program.name() == name).collect();
        let dag = Dag::build(&all);
        assert_eq!(check(vec![Cpu::new()], &dag, &batch, overlapped()).programs_on_host, on_host);
    }
    // A device without room for anything.
    let coverage = check(vec![Cpu::with_memory_limit(1 << 10)], &dag, &batch, overlapped());
    assert_eq!((coverage.failures.len(), coverage.on_device), (1, 0), "{coverage:?}");
}

#[test]
fn devices_and_the_cpu_take_samples_until_none_is_left() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids().into_iter().cycle().take(900)));
    let several = || (0..3).map(|_| Cpu::new()).collect::<Vec<_>>();
    for opts in [
        overlapped(),
        Options { max_batch: Some(2), ..overlapped() },
        Options { memory: Some(1 << 16), ..overlapped() },
    ] {
        for queues in [vec![Cpu::new()], several()] {
            let coverage = check(queues, &dag, &batch, Options { multi_gpu_min: 1, ..opts.clone() });
            assert!(coverage.failures.is_empty() && coverage.on_device > 0 && coverage.on_host > 0, "{coverage:?}");
        }
    }
    // The program's grids are too large for a device: after the first samples it is given to none.
    let all: Vec<Program> = programs().into_iter().filter(|program| program.name() == "corners").collect();
    let batch = Batch::from_grids(vec![Value::grid(vec![vec![4; 40]; 2]); 900]);
    let coverage = check(vec![Cpu::new()], &Dag::build(&all), &batch, overlapped());
    assert!((64..=256).contains(&coverage.redone), "{coverage:?}");
}

#[test]
fn results_do_not_depend_on_batches_or_queues() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids().into_iter().cycle().take(50)));
    let whole = check(vec![Cpu::new()], &dag, &batch, opts());
    let small = check(vec![Cpu::new()], &dag, &batch, Options { max_batch: Some(7), ..opts() });
    let many = check((0..3).map(|_| Cpu::new()).collect(), &dag, &batch, Options { multi_gpu_min: 1, ..opts() });
    assert_eq!((small.counts(), many.counts()), (whole.counts(), whole.counts()));
}

#[test]
fn any_number_of_callers_comes_through() {
    // As many as the pool has threads, and more: all wait for what their graphs hand to the same pool.
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    let wanted = dag.run(&batch, &ExecOpts::default());
    for opts in [opts(), overlapped()] {
        let executor = Executor::new(DeviceExecutor::new(vec![Cpu::new(), Cpu::new()]).unwrap(), opts);
        (0..3 * rayon::current_num_threads())
            .into_par_iter()
            .for_each(|_| same(&dag, &executor.run(&dag, &batch), &wanted));
    }
}

#[test]
fn memory_that_is_short_splits_or_spills() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids().into_iter().cycle().take(40)));
    let tight = Cpu::with_memory_limit(1 << 19);
    let coverage = check(vec![tight], &dag, &batch, opts());
    assert!(coverage.failures.is_empty() && coverage.on_device > 0, "{coverage:?}");
    let none = Cpu::with_memory_limit(1 << 10);
    let coverage = check(vec![none], &dag, &batch, opts());
    assert!(coverage.failures[0].contains("1024") || coverage.failures[0].contains("819 bytes"), "{coverage:?}");
}

#[test]
fn fuel_and_limits_are_those_of_the_definition() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    for limits in [
        Limits { fuel: 100, ..Limits::default() },
        Limits { fuel: 5000, ..Limits::default() },
        Limits { side: 8, ..Limits::default() },
        Limits { elements: 20, ..Limits::default() },
    ] {
        check(vec![Cpu::new()], &dag, &batch, Options { limits: limits.clone(), ..opts() });
        check(vec![Cpu::new()], &dag, &batch, Options { limits, ..overlapped() });
    }
    let few = Options::default();
    let coverage = check(vec![Cpu::new()], &dag, &batch, few);
    assert!(coverage.failures[0].contains("12 samples stay on the host"), "{coverage:?}");
}

/// As a back end like others: calls, programs line by line, graphs.
fn check_backend<B: GridBackend>(b: B) {
    let (device, limits) = (DeviceExecutor::new(vec![b]).unwrap(), Limits::default());
    let rot = [Value::grid([[1, 2]])];
    assert_eq!(device.call(Prim::Rot90, &rot, &limits), Reference.call(Prim::Rot90, &rot, &limits));
    for (program, grid) in programs().iter().zip(grids().into_iter().skip(1)) {
        for strict in [false, true] {
            let sample = Sample::new(grid.clone());
            let wanted = Reference.program(program, &sample, &limits, strict);
            let got = device.program(program, &sample, &limits, strict);
            assert_eq!((got.lines, got.returns), (wanted.lines, wanted.returns), "{}", program.name());
        }
    }
    let coverage = device.coverage();
    assert!(coverage.on_device > 0 && coverage.failures.is_empty(), "{coverage:?}");
    assert_eq!(device.coverage().on_device, 0);
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    let wanted = dag.run(&batch, &ExecOpts::default());
    let executor = Executor::new(device, opts());
    let got = executor.run(&dag, &batch);
    same(&dag, &got, &wanted);
    // One call in a program, and three in functions that are known: `power(chain(..), 2)`, `compose(..)`.
    assert_eq!((got.profile().backend, got.profile().opcodes["rot90"].calls), (B::NAME, 4 * 12));
    let coverage = executor.backend().coverage();
    let by_reason = |why: Spill| coverage.reasons.iter().filter(|((_, w), _)| *w == why).map(|(_, n)| n).sum::<u64>();
    assert!(coverage.spills.iter().all(|(&why, &n)| by_reason(why) == n), "{coverage:?}");
}

#[test]
fn it_is_a_back_end_like_others() {
    check_backend(Cpu::new());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn it_is_a_back_end_like_others_on_cuda() {
    check_backend(gpu_core::testing::cuda());
}

#[test]
fn what_an_executor_needs_is_named() {
    let none = DeviceExecutor::<Cpu>::new(vec![]).unwrap_err().to_string();
    assert!(none.contains("queues"), "{none}");
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    let much = Options { mem_fraction: 1.5, ..opts() };
    let all = DeviceExecutor::new(vec![Cpu::new()]).unwrap().run(&dag, &batch, &much).unwrap_err();
    assert!(all.to_string().contains("1.5"), "{all}");
}

/// The stored programs as one graph on grids of the stored tasks; how much a device does of it.
fn coverage_of_public_programs<B: GridBackend>(b: B, programs: usize, samples: usize) -> Coverage {
    let of_line = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let lines: Vec<&str> = record["src"].as_array()?.iter().filter_map(|line| line.as_str()).collect();
        Program::from_lines(record["id"].as_str()?, &lines, Dialect::Core).ok()
    };
    let files = common::files("programs");
    let all: Vec<Program> =
        files.iter().flat_map(|(_, text)| text.lines()).filter_map(of_line).take(programs).collect();
    assert!(!all.is_empty());
    let tasks = common::tasks();
    let grids: Vec<Value> = tasks.iter().flat_map(|t| t.examples().map(|(input, _)| input.clone())).collect();
    let step = (grids.len() / samples).max(1);
    let batch = Batch::from_grids(grids.into_iter().step_by(step).take(samples));
    check(vec![b], &Dag::build(&all), &batch, opts())
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn coverage_of_the_stored_programs() {
    let coverage = coverage_of_public_programs(Cpu::new(), usize::MAX, 40);
    let mut functions: Vec<_> = coverage.functions.iter().collect();
    functions.sort_by_key(|(_, [_, host])| std::cmp::Reverse(*host));
    let text: Vec<String> = functions.iter().take(24).map(|(name, [d, h])| format!("{name} {d}+{h}")).collect();
    // What a person who asked for this test wants to see.
    let all = (coverage.fraction(), coverage.on_device, coverage.on_host, &coverage.spills);
    let mut reasons: Vec<_> = coverage.reasons.iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let why: Vec<String> =
        reasons.iter().take(60).map(|((name, why), n)| format!("{n} {name}: {}", why.name())).collect();
    writeln!(std::io::stderr(), "{all:?}\n{}\n{}", text.join("\n"), why.join("\n")).unwrap();
    assert!(coverage.fraction() >= 0.8, "{all:?}: {}", text.join(", "));
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn graphs_on_cuda() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(grids()));
    let on_cpu = check(vec![Cpu::new()], &dag, &batch, opts());
    let on_cuda = check(vec![gpu_core::testing::cuda()], &dag, &batch, opts());
    assert_eq!((on_cuda.on_device, on_cuda.on_host), (on_cpu.on_device, on_cpu.on_host));
    assert_eq!(on_cuda.failures, [""; 0]);
    assert_eq!(on_cuda.functions, on_cpu.functions);
    let on_cpu = check(vec![Cpu::new()], &dag, &batch, overlapped());
    let on_cuda = check(vec![gpu_core::testing::cuda()], &dag, &batch, overlapped());
    assert_eq!((on_cuda.counts(), on_cuda.redone), (on_cpu.counts(), on_cpu.redone));
}

#[test]
fn errors_come_from_the_leftmost_operand() {
    let (dag, batch) = (Dag::build(&programs()), Batch::from_grids(vec![Value::grid([[1, 2]])]));
    let (got, _) = DeviceExecutor::new(vec![Cpu::new()]).unwrap().run(&dag, &batch, &opts()).unwrap();
    assert_eq!(got.value(3, 0, 0), Err(ErrClass::DivZero));
}

/// Programs of random calls of what devices know, many of them failing somewhere.
fn any_programs() -> impl Strategy<Value = Vec<Program>> {
    let call = (0..Op::ALL.len(), [any::<u16>(), any::<u16>(), any::<u16>(), any::<u16>()]);
    let program = vec(call, 1..12).prop_map(|calls| {
        let line = |(n, (op, picks)): (usize, &(usize, [u16; 4]))| {
            let prim = Op::ALL[*op].prim();
            let operand = |k: usize| {
                let pick = usize::from(picks[k]);
                let by_function = Op::ALL[*op].by_function() && k == 1;
                match pick % 8 {
                    _ if by_function => {
                        ["size", "height", "color", "leftmost", "square", "vline"][pick / 8 % 6].to_owned()
                    }
                    0 => ["0", "1", "2", "3", "-1", "T", "F"][pick / 8 % 7].to_owned(),
                    1 => ["(0, 0)", "(1, 2)", "(-1, 3)"][pick / 8 % 3].to_owned(),
                    2 | 3 => "I".to_owned(),
                    _ if n == 0 => "I".to_owned(),
                    _ => format!("x{}", pick / 8 % n),
                }
            };
            let operands: Vec<String> = (0..prim.arity()).map(operand).collect();
            format!(" x{n} = {}({})\n", prim.name(), operands.join(", "))
        };
        let lines: String = calls.iter().enumerate().map(line).collect();
        let names: Vec<String> = (0..calls.len()).map(|n| format!("x{n}")).collect();
        let text = format!("program a(I)\n{lines}return {}\nend\n", names.join(", "));
        Program::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}")).remove(0)
    });
    vec(program, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    #[test]
    fn any_graph_gives_what_the_definition_gives(programs in any_programs()) {
        let dag = Dag::build(&programs);
        let texts = ["0", "012/345", "0110/0020/3302/3300", "0000/0550/0550/0000/1000"];
        let batch = Batch::from_grids(texts.iter().map(|t| Value::grid_from_digits(t).unwrap()));
        check(vec![Cpu::new()], &dag, &batch, opts());
        check(vec![Cpu::new()], &dag, &batch, overlapped());
    }
}

/// A stored vector. Texts stay as they are: the order of their keys counts.
#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    a: Vec<&'a RawValue>,
    #[serde(borrow)]
    r: Option<&'a RawValue>,
    e: Option<i64>,
}

/// The stored vectors as single calls; all right ones.
fn check_vectors<B: GridBackend>(b: &B) -> Coverage {
    let (mut calls, mut wanted) = (Vec::new(), Vec::new());
    for (stem, text) in common::files("vectors") {
        for line in text.lines() {
            let line: Line = serde_json::from_str(line).unwrap_or_else(|e| panic!("{stem}: {e}"));
            let value = |v: &RawValue| v.get().parse::<Value>().unwrap_or_else(|e| panic!("{stem}: {e}: {v}"));
            calls.push((Prim::by_name(&stem).unwrap(), line.a.iter().map(|v| value(v)).collect()));
            // A result `null` reads as none.
            wanted.push((line.e != Some(1)).then(|| line.r.map_or(Value::None, value)));
        }
    }
    let (results, coverage) = call_batch(b, &calls, &Limits::default()).unwrap();
    for (((prim, args), result), wanted) in calls.iter().zip(&results).zip(&wanted) {
        let texts = [result.as_ref().ok(), wanted.as_ref()].map(|v| v.map(Value::to_text));
        assert_eq!(texts[0], texts[1], "{prim:?} {args:?}");
        assert_eq!(result.as_ref().map(Value::to_text), grid_dsl::call(prim.name(), args).as_ref().map(Value::to_text));
    }
    assert!(results.len() > 15_000);
    coverage
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn stored_vectors() {
    let coverage = check_vectors(&Cpu::new());
    assert!(coverage.on_device * 4 > coverage.on_host, "{coverage:?}");
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_vectors_on_cuda() {
    assert_eq!(check_vectors(&gpu_core::testing::cuda()).counts(), check_vectors(&Cpu::new()).counts());
}
