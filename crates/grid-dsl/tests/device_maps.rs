//! Maps and calls of closures on devices: functions that are known but for what they have captured, call by call for each
//! element. Results, and which of several errors is told, are the definition's.

use std::fmt::Write as _;

use gpu_core::Cpu;
use grid_dsl::device::{Coverage, DeviceExecutor};
use grid_dsl::exec::Options;
use grid_dsl::kernels::{GridBackend, Spill};
use grid_dsl::{Batch, Dag, ExecOpts, Limits, Program, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Containers, captured values with a form on a device and without one, and one that is an error on most inputs.
const FRAME: &str = "\
  o = objects(I, T, F, T)
  m = objects(I, F, T, T)
  z = ofcolor(I, 0)
  h = hsplit(I, 2)
  e = downscale(I, 0)
  l = upscale(I, 9)
  s = shape(I)
  a = asobject(I)
";

/// Names of the frame's values, and others.
const VALUES: [&str; 13] = ["I", "o", "m", "z", "h", "e", "l", "s", "a", "2", "0", "(1, -1)", "T"];

const CONTAINERS: [&str; 8] = ["o", "o", "m", "m", "z", "h", "a", "e"];

const UNARY: [&str; 24] = [
    "identity",
    "size",
    "height",
    "width",
    "color",
    "numcolors",
    "square",
    "hline",
    "hmirror",
    "dmirror",
    "normalize",
    "toindices",
    "delta",
    "box",
    "outbox",
    "corners",
    "center",
    "ulcorner",
    "first",
    "last",
    "invert",
    "neighbors",
    "initset",
    "rot90",
];

const BINARY: [&str; 18] = [
    "manhattan",
    "adjacent",
    "hmatching",
    "vmatching",
    "bordering",
    "toobject",
    "shift",
    "recolor",
    "colorcount",
    "intersection",
    "combine",
    "difference",
    "add",
    "equality",
    "connect",
    "occurrences",
    "contained",
    "gravitate",
];

const MAPS: [&str; 10] =
    ["argmax", "argmin", "extract", "sfilter", "mfilter", "valmax", "valmin", "order", "mapply", "apply"];

fn program(lines: &str, returned: &str) -> Program {
    let text = format!("program maps(I)\n{FRAME}{lines}return {returned}\nend\n");
    Program::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}")).remove(0)
}

/// Every kind of map with a form on a device, and calls of functions that have captured something.
fn fixed() -> Program {
    let lines = "\
  f1 = rbind(manhattan, z)
  f2 = compose(increment, f1)
  x1 = argmin(o, f2)
  x2 = valmax(m, f2)
  f3 = rbind(toobject, I)
  f4 = compose(f3, outbox)
  x3 = mapply(f4, o)
  x4 = f4(x1)
  f5 = lbind(shift, x1)
  x5 = mapply(f5, z)
  x6 = argmax(h, numcolors)
  f6 = lbind(occurrences, I)
  x7 = mapply(f6, o)
  f7 = rbind(contained, z)
  f8 = compose(f7, center)
  x8 = sfilter(m, f8)
  x9 = apply(center, o)
  x10 = gravitate(x1, z)
  f9 = rbind(hconcat, I)
  f10 = power(f9, 2)
  x11 = f10(I)
  f11 = fork(equality, hmirror, vmirror)
  x12 = mfilter(m, f11)
  f12 = matcher(delta, z)
  x13 = extract(m, f12)
  f13 = chain(center, f3, outbox)
  x14 = apply(f13, m)
";
    program(lines, &(1..=14).map(|k| format!("x{k}")).collect::<Vec<_>>().join(", "))
}

fn grids() -> Vec<Value> {
    let texts = ["0", "012/345", "0110/0020/3302/3300", "1/2/1", "0000/0550/0550/0000/1000", "90/09", "1020/0304/5060"];
    let mut grids: Vec<Value> = texts.iter().map(|t| Value::grid_from_digits(t).unwrap()).collect();
    grids.push(Value::grid((0..30).map(|i| (0..30).map(|j| (i * j / 7) % 10).collect::<Vec<_>>())));
    grids.push(Value::grid(vec![vec![4; 40]; 2]));
    grids.push(Value::grid(Vec::<Vec<i32>>::new()));
    grids.push(Value::Int(7));
    grids
}

fn opts() -> Options {
    Options { min_batch: 1, overlap: false, ..Options::default() }
}

/// Runs programs, and compares with the definition.
fn check<B: GridBackend>(queues: Vec<B>, programs: &[Program], grids: Vec<Value>, opts: &Options) -> Coverage {
    let (dag, batch) = (Dag::build(programs), Batch::from_grids(grids));
    let wanted = dag.run(&batch, &ExecOpts { limits: opts.limits.clone(), min_batch: 1 });
    let (got, coverage) = DeviceExecutor::new(queues).unwrap().run(&dag, &batch, opts).unwrap();
    for sample in 0..wanted.samples() {
        for program in 0..programs.len() {
            for output in 0..dag.outputs(program).len() {
                let (got, wanted) = (got.value(program, output, sample), wanted.value(program, output, sample));
                let texts = [got, wanted].map(|v| v.map(Value::to_text));
                let name = programs[program].spelled(&programs[program].returns()[output]);
                assert_eq!(texts[0], texts[1], "{name}, sample {sample}\n{}", programs[program].to_text());
            }
        }
    }
    coverage
}

#[test]
fn maps_of_closures_are_done_on_a_device() {
    let ordinary = || vec![Value::grid_from_digits("0110/0020/3302/3300").unwrap(); 3];
    let coverage = check(vec![Cpu::new()], &[fixed()], ordinary(), &opts());
    // All but what is large, an error, or is none of a device's functions: makers of functions.
    for name in ["argmin", "valmax", "mapply", "argmax", "sfilter", "apply", "gravitate", "mfilter", "call"] {
        assert!(coverage.functions[name][0] > 0, "{name}: {coverage:?}");
        assert!(!coverage.reasons.contains_key(&(name, Spill::Function)), "{name}: {coverage:?}");
    }
    let whole = check(vec![Cpu::new()], &[fixed()], grids(), &opts());
    let small = check(vec![Cpu::new()], &[fixed()], grids(), &Options { max_batch: Some(2), ..opts() });
    let many = Options { multi_gpu_min: 1, ..opts() };
    let many = check((0..3).map(|_| Cpu::new()).collect(), &[fixed()], grids(), &many);
    assert_eq!((small.counts(), many.counts()), (whole.counts(), whole.counts()));
}

#[test]
fn elements_that_do_not_fit_are_left_to_the_host() {
    // An eighth of that holds the elements of small maps alone.
    let tight = Cpu::with_memory_limit(1 << 19);
    let coverage = check(vec![tight], &[fixed()], grids(), &opts());
    assert!(coverage.failures.is_empty() && coverage.reasons[&("mapply", Spill::Size)] > 0, "{coverage:?}");
}

/// Elements of some samples of a node lie with those of other nodes, and others are done behind them.
#[test]
fn elements_are_done_in_as_many_parts_as_there_is_room_for() {
    let large = check(vec![Cpu::new()], &[fixed()], grids(), &opts());
    for (kilobytes, mem_fraction) in [(2 << 10, 1.0), (3 << 10, 0.9), (6 << 10, 1.0), (24 << 10, 1.0)] {
        let tight = || Cpu::with_memory_limit(kilobytes << 10);
        let coverage = check(vec![tight()], &[fixed()], grids(), &Options { mem_fraction, ..opts() });
        assert!(coverage.failures.is_empty(), "{coverage:?}");
        // Room for each sample of each node, and not for all of them.
        if kilobytes == 24 << 10 {
            assert_eq!(coverage.counts(), large.counts());
        }
        let queues = Options { mem_fraction, multi_gpu_min: 1, ..opts() };
        check((0..3).map(|_| tight()).collect(), &[fixed()], grids(), &queues);
        // Whole programs on a device, beside the CPU.
        let programs = [fixed(), program("  f = compose(size, delta)\n  x = argmax(o, f)\n", "x, o")];
        let many: Vec<Value> = grids().into_iter().cycle().take(200).collect();
        check(vec![tight()], &programs, many, &Options { overlap: true, ..queues });
    }
}

#[test]
fn fuel_is_that_of_the_definition() {
    for fuel in [50, 5_000, 500_000] {
        let limits = Limits { fuel, ..Limits::default() };
        check(vec![Cpu::new()], &[fixed()], grids(), &Options { limits, ..opts() });
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn maps_on_cuda() {
    let on_cpu = check(vec![Cpu::new()], &[fixed()], grids(), &opts());
    let on_cuda = check(vec![gpu_core::testing::cuda()], &[fixed()], grids(), &opts());
    assert_eq!((on_cuda.counts(), on_cuda.failures.len()), (on_cpu.counts(), 0));
}

/// Programs of random closures, and of maps and calls of them.
fn any_program() -> impl Strategy<Value = Program> {
    let closure = (0..7usize, vec(any::<u16>(), 4));
    let map = (0..MAPS.len() + 2, any::<u16>(), any::<u16>());
    (vec(closure, 1..6), vec(map, 1..6)).prop_map(|(closures, maps)| {
        let pick = |all: &[&str], n: u16| all[usize::from(n) % all.len()].to_owned();
        let mut lines = String::new();
        for (at, (kind, n)) in closures.iter().enumerate() {
            // A function of one argument: one that was made before, or a primitive.
            let one = |n: u16| match usize::from(n) % (2 * at.max(1)) {
                k if at > 0 && k < at => format!("f{k}"),
                _ => pick(&UNARY, n / 7),
            };
            let made = match kind {
                0 => format!("compose({}, {})", one(n[0]), one(n[1])),
                1 => format!("chain({}, {}, {})", one(n[0]), one(n[1]), one(n[2])),
                2 => format!("fork({}, {}, {})", pick(&BINARY, n[0]), one(n[1]), one(n[2])),
                3 => format!("power({}, {})", one(n[0]), 1 + n[1] % 3),
                4 => format!("matcher({}, {})", one(n[0]), pick(&VALUES, n[1])),
                5 => format!("lbind({}, {})", pick(&BINARY, n[0]), pick(&VALUES, n[1])),
                _ => format!("rbind({}, {})", pick(&BINARY, n[0]), pick(&VALUES, n[1])),
            };
            let _ = writeln!(lines, "  f{at} = {made}");
        }
        for (at, &(map, f, x)) in maps.iter().enumerate() {
            let f = format!("f{}", usize::from(f) % closures.len());
            let x = if map < MAPS.len() { pick(&CONTAINERS, x) } else { pick(&VALUES, x) };
            let call = match MAPS.get(map) {
                Some(&name @ ("mapply" | "apply")) => format!("{name}({f}, {x})"),
                Some(name) => format!("{name}({x}, {f})"),
                None => format!("{f}({x})"),
            };
            let _ = writeln!(lines, "  x{at} = {call}");
        }
        let names: Vec<String> = (0..maps.len()).map(|k| format!("x{k}")).collect();
        program(&lines, &names.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(8), ..ProptestConfig::default() })]

    #[test]
    fn any_map_gives_what_the_definition_gives(programs in vec(any_program(), 1..4)) {
        check(vec![Cpu::new()], &programs, grids(), &opts());
    }
}
