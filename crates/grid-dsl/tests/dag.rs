//! Merged programs on batches: the same values and classes as each program alone, however the batch is cut.

mod common;

use common::{files, grid, library, records, tasks};
use grid_dsl::conform::Record;
use grid_dsl::{Batch, Dag, ErrClass, ExecOpts, Limits, Program, Result, Sample, Value};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn alone(programs: &[Program], sample: &Sample, limits: &Limits) -> Vec<Result<String>> {
    let run = |p: &Program| p.run(sample, limits, false).returns;
    programs.iter().flat_map(run).map(|r| r.map(|v| v.to_text())).collect()
}

fn merged(programs: &[Program], samples: &[Sample], opts: &ExecOpts) -> Vec<Vec<Result<String>>> {
    let found = Dag::build(programs).run(&Batch::from(samples.to_vec()), opts);
    let outputs = |s: usize| {
        let of = |p: usize| (0..programs[p].returns().len()).map(move |o| (p, o));
        let each = (0..programs.len()).flat_map(of);
        each.map(|(p, o)| found.value(p, o, s).map(Value::to_text)).collect()
    };
    (0..found.samples()).map(outputs).collect()
}

#[test]
fn equal_expressions_are_one_node() {
    let text = "program a(I)\n x = objects(I, T, F, T)\n y = objects(I, ONE, F, T)\n z = astuple(x, y)\n dead = rot90(I)\nreturn z\nend\n\
                program b(S, I)\n o = objects(I, T, F, T)\n f = compose(size, first)\n n = f(o)\nreturn n, o, I, TWO, size\nend\n";
    let programs = Program::parse(text).unwrap();
    let dag = Dag::build(&programs);
    let stats = dag.stats();
    // T and 1 are equal, but not the same: two nodes.
    assert_eq!((stats.lines, stats.nodes, stats.levels, stats.programs), (7, 5, 2, 2));
    assert_eq!((stats.opcodes["objects"], stats.opcodes["call"], stats.closures, stats.captured), (2, 1, 1, 0));
    assert_eq!((stats.level_opcodes[&1]["objects"], stats.groups), (2, 4));
    assert!(dag.to_dot().contains("[label=\"objects\"]") && dag.to_dot().ends_with("}\n"));
    // Operands of `objects` in their order.
    assert!((1..=4).all(|k| dag.to_dot().contains(&format!(" [label=\"{k}\"];"))));
    let samples = [Sample::new(grid("010/011")), Sample::new(grid("0")), Sample::new(Value::Int(1))];
    let found = merged(&programs, &samples, &ExecOpts::default());
    for (sample, found) in samples.iter().zip(&found) {
        assert_eq!(found, &alone(&programs, sample, &Limits::default()));
    }
    assert_eq!(found[1][1], Err(ErrClass::Empty));
    assert_eq!(Dag::build(&[]).run(&Batch::from(samples.to_vec()), &ExecOpts::default()).samples(), 3);
}

/// Programs of random calls, most of them failing somewhere.
fn programs() -> impl Strategy<Value = Vec<Program>> {
    let calls = [
        "rot90({a})",
        "objects({a}, T, F, T)",
        "first({a})",
        "size({a})",
        "apply(size, {a})",
        "compose(size, first)",
        "merge({a})",
        "asobject({a})",
        "hconcat({a}, {b})",
        "fill(I, TWO, {a})",
        "lbind(contained, {a})",
        "sfilter({a}, {b})",
        "divide({a}, {b})",
        "astuple({a}, {b})",
        "mapply({a}, {b})",
        "argmax({a}, size)",
        "branch({a}, rot90, {b})",
        "I",
    ];
    let line = (0..calls.len(), any::<usize>(), any::<usize>());
    let program = proptest::collection::vec(line, 1..10).prop_map(move |lines| {
        let name = |k: usize, at: usize| if k == 0 { "I".to_owned() } else { format!("x{}", at % k) };
        let text = |(k, (call, a, b)): (usize, (usize, usize, usize))| {
            let call = if calls[call] == "I" { "identity(I)" } else { calls[call] };
            format!("x{k} = {}", call.replace("{a}", &name(k, a)).replace("{b}", &name(k, b)))
        };
        let lines: Vec<String> = lines.into_iter().enumerate().map(text).collect();
        Program::from_lines("p", &lines, grid_dsl::Dialect::Core).unwrap()
    });
    proptest::collection::vec(program, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn batches_give_what_programs_give_alone(
        programs in programs(),
        rows in proptest::collection::vec(proptest::collection::vec(0i32..3, 4), 1..6),
        fuel in prop_oneof![Just(1u64 << 32), 1u64..400],
        min_batch in 0usize..4,
    ) {
        let grids = [Value::grid(&rows), Value::grid(&rows[..1]), Value::grid([[5]])];
        let samples: Vec<Sample> = grids.into_iter().map(Sample::new).collect();
        let limits = Limits { fuel, ..Limits::default() };
        let opts = ExecOpts { limits: limits.clone(), min_batch };
        let found = merged(&programs, &samples, &opts);
        for (sample, found) in samples.iter().zip(found) {
            prop_assert_eq!(found, alone(&programs, sample, &limits));
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn all_stored_programs_in_one_graph() {
    let mut programs = Vec::new();
    for (stem, text) in files("programs") {
        for record in records(&stem, &text) {
            if let Record::Program(recorded) = record {
                programs.push(recorded.program(&library()).unwrap());
            }
        }
    }
    let dag = Dag::build(&programs);
    let stats = dag.stats();
    assert!(stats.nodes < stats.lines * 9 / 10, "{} nodes of {} lines", stats.nodes, stats.lines);
    let tasks = tasks();
    let few: Vec<Sample> = Batch::from_tasks(tasks.iter().step_by(130)).samples().to_vec();
    // Some programs work long on grids that they were not made for: they run out of fuel, here as alone.
    let limits = Limits { fuel: 1 << 22, ..Limits::default() };
    let digests = |samples: &[Sample], min_batch: usize, threads: usize| {
        let opts = ExecOpts { min_batch, limits: limits.clone() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| dag.run(&Batch::from(samples.to_vec()), &opts));
        (0..found.samples()).map(|s| found.digests(s).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let all = digests(&few, 0, 2);
    for (sample, found) in few.iter().zip(&all) {
        let alone = programs.iter().flat_map(|p| p.run(sample, &limits, false).returns);
        assert!(alone.map(|r| r.map(|v| v.digest())).eq(found.iter().copied()));
    }
    // The order of samples, the size of the batch, the number of threads and the way of spreading change nothing.
    let mut backwards: Vec<Sample> = few.clone();
    backwards.reverse();
    let mut turned = digests(&backwards, usize::MAX, 3);
    turned.reverse();
    assert_eq!(turned, all);
    let pieces: Vec<_> = few.chunks(7).flat_map(|piece| digests(piece, 0, 1)).collect();
    assert_eq!(pieces, all);
}
