//! The executor: the definition's values and classes of errors on every back end, however work is cut, spread and kept.

mod common;

use std::path::PathBuf;

use common::{files, library, records, tasks};
use grid_dsl::conform::Record;
use grid_dsl::exec::{Options, RunResult};
use grid_dsl::{Backend, Batch, Cpu, Dag, Executor, Limits, Program, Reference, Result, Sample, Value};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The programs of the examples folder, and some that nest maps, fail and run long.
fn programs() -> Vec<Program> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "grid"));
    paths.sort();
    let mut all: Vec<Program> =
        paths.iter().flat_map(|p| Program::parse(&std::fs::read_to_string(p).unwrap()).unwrap()).collect();
    let more = "program nested(S, I)\n o = objects(I, T, F, F)\n c = fork(add, ulcorner, shape)\n d = compose(c, last)\n \
                near = lbind(lbind, astuple)\n e = lbind(compose, d)\n f = compose(e, near)\n g = lbind(rbind, apply)\n \
                h = rbind(apply, o)\n k = compose(h, f)\n x = apply(k, o)\n p = lbind(argmin, o)\n q = compose(p, f)\n \
                y = mapply(q, o)\n z = asindices(I)\n w = sfilter(z, flip)\nreturn x, y, w, S\nend\n\
                program fails(I)\n x = first(I)\n y = objects(x, T, F, T)\n z = divide(ONE, ZERO)\n f = matcher(z, x)\nreturn y, f, z\nend\n\
                program long(I)\n x = asindices(I)\n y = product(x, x)\n m = fork(manhattan, first, last)\n \
                n = compose(initset, first)\n k = fork(connect, first, last)\n z = mapply(k, y)\nreturn z\nend\n\
                program others(I)\n o = partition(I)\n d = lbind(lbind, manhattan)\n w = rbind(remove, o)\n \
                v = lbind(lbind, valmin)\n u = lbind(lbind, argmax)\n c = rbind(compose, d)\n e = rbind(apply, o)\n \
                f = chain(c, v, w)\n g = chain(c, u, w)\n h = compose(e, f)\n k = compose(e, g)\n x = apply(h, o)\n \
                y = mapply(k, o)\n l = order(o, height)\n z = apply(h, l)\n \
                n = rbind(order, size)\n m = chain(n, w, identity)\n a = fork(apply, f, m)\n b = apply(a, l)\n \
                return x, y, z, b\nend\n";
    all.extend(Program::parse(more).unwrap());
    all
}

/// Grids of all shapes up to 12 x 12, few colours.
fn grids(n: usize) -> Vec<Value> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = move |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % most
    };
    let mut grid = || {
        let (h, w, colours) = (1 + next(12), 1 + next(12), 1 + next(4));
        Value::grid((0..h).map(|_| (0..w).map(|_| next(colours) as i32).collect::<Vec<_>>()).collect::<Vec<_>>())
    };
    (0..n).map(|_| grid()).collect()
}

type Digests = Vec<Vec<Result<u64>>>;

fn digests(found: &RunResult) -> Digests {
    (0..found.samples()).map(|s| found.digests(s).collect()).collect()
}

fn on(threads: usize, run: impl Fn() -> Digests + Send + Sync) -> Digests {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

#[test]
fn results_do_not_depend_on_how_work_is_cut() {
    let programs = programs();
    let dag = Dag::build(&programs);
    let samples: Vec<Sample> = grids(1000).into_iter().map(Sample::new).collect();
    // Some programs run out of this fuel on the larger grids: they must do so in every way.
    let limits = Limits { fuel: 1 << 18, ..Limits::default() };
    let off = Options { limits: limits.clone(), cache_bytes: 0, ..Options::default() };
    let all = digests(&Executor::new(Cpu, off.clone()).run(&dag, &Batch::from(samples.clone())));
    let defined = Executor::new(Reference, off.clone()).run(&dag, &Batch::from(samples[..60].to_vec()));
    assert_eq!(digests(&defined), all[..60]);
    let classes: std::collections::BTreeSet<_> = all.iter().flatten().filter_map(|r| r.err()).collect();
    assert!(classes.contains(&grid_dsl::ErrClass::Fuel) && classes.len() > 2, "{classes:?}");
    let some = &samples[..90];
    for (part, threads, min_batch) in [(1, 2, 30), (1, 16, 30), (7, 3, 0), (7, 16, 30), (30, 1, 1000), (90, 5, 30)] {
        let opts = Options { spread_below: min_batch, ..off.clone() };
        let found = on(threads, || {
            let executor = Executor::new(Cpu, opts.clone());
            some.chunks(part).flat_map(|part| digests(&executor.run(&dag, &Batch::from(part.to_vec())))).collect()
        });
        assert_eq!(found, all[..90], "parts of {part}, {threads} threads, min_batch {min_batch}");
    }
    // Kept values: the second run reads what the first one wrote; a small cache drops most of it.
    for cache_bytes in [1 << 26, 1 << 18] {
        let executor = Executor::new(Cpu, Options { cache_bytes, ..off.clone() });
        let batch = Batch::from(some.to_vec());
        assert_eq!(digests(&executor.run(&dag, &batch)), all[..90]);
        let again = executor.run(&dag, &batch);
        assert_eq!(digests(&again), all[..90]);
        let counts = again.profile().cache;
        assert!(counts.bytes <= cache_bytes as u64, "{counts:?}");
        assert!(cache_bytes < 1 << 26 || counts.hits > 100, "{counts:?}");
    }
    // Other limits are other keys.
    let executor = Executor::new(Cpu, Options { cache_bytes: 1 << 26, ..off.clone() });
    executor.run(&dag, &Batch::from(some.to_vec()));
    let mut turned: Vec<Sample> = some.to_vec();
    turned.reverse();
    let mut backwards = digests(&executor.run(&dag, &Batch::from(turned)));
    backwards.reverse();
    assert_eq!(backwards, all[..90]);
}

#[test]
fn a_budget_splits_the_batch() {
    let dag = Dag::build(&programs());
    let batch = Batch::from_grids(grids(40));
    let limits = Limits { fuel: 1 << 18, ..Limits::default() };
    let free = Options { limits, cache_bytes: 0, ..Options::default() };
    let all = Executor::new(Cpu, free.clone()).run(&dag, &batch);
    assert_eq!(all.profile().parts, 1);
    let memory = 2 * all.profile().sample_bytes;
    let tight = Executor::new(Cpu, Options { memory: Some(memory), max_batch: Some(8), ..free }).run(&dag, &batch);
    assert_eq!(digests(&tight), digests(&all));
    let profile = tight.profile();
    assert!(profile.parts > 4 && profile.knobs.memory == Some(memory), "{profile:?}");
    assert_eq!((profile.samples, profile.backend, profile.knobs.min_batch), (40, "cpu", 30));
    assert_eq!(profile.node_evaluations, 40 * profile.nodes as u64);
    assert!(profile.errors > 0 && profile.opcodes["objects"].calls >= 40);
    let json = serde_json::to_value(profile).unwrap();
    assert!(json["opcodes"]["objects"]["seconds"].as_f64().unwrap() > 0.0 && json["levels"].is_object());
}

#[test]
fn programs_that_cannot_be_told_apart() {
    let text = "program a(I)\n x = rot90(I)\n y = rot90(x)\nreturn y\nend\n\
                program b(I)\n x = rot180(I)\nreturn x\nend\n\
                program c(I)\n x = rot90(I)\nreturn x\nend\n\
                program d(I)\n x = first(ZERO)\nreturn x\nend\n\
                program e(I)\n x = last(ONE)\nreturn x\nend\n";
    let programs = Program::parse(text).unwrap();
    let found = Executor::new(Cpu, Options::default()).run(&Dag::build(&programs), &Batch::from_grids(grids(9)));
    assert_eq!(found.dedupe_by_digest(), [0, 0, 2, 3, 3]);
    assert_eq!(found.equals_expected(0, 0), None);
    assert_eq!((found.programs(), found.samples()), (5, 9));
    assert!(matches!(found.value(3, 0, 0), Err(grid_dsl::ErrClass::Type)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default() })]

    #[test]
    fn programs_fail_where_the_definition_fails(at in 0usize..1000, fuel in 1u64..200_000, strict: bool) {
        let sample = Sample::new(grids(at % 50 + 1).pop().unwrap());
        let limits = Limits { fuel, ..Limits::default() };
        let programs = programs();
        for program in programs.iter().skip(at % 7).step_by(5).chain(programs.last()) {
            let defined = program.run(&sample, &limits, strict);
            let found = Cpu.program(program, &sample, &limits, strict);
            prop_assert_eq!(found.used, defined.used, "{}", program.name());
            prop_assert_eq!(found.lines, defined.lines, "{}", program.name());
            prop_assert_eq!(&found.returns, &defined.returns, "{}", program.name());
            if !strict {
                let opts = Options { limits: limits.clone(), cache_bytes: 0, ..Options::default() };
                let batch = Batch::from(vec![sample.clone()]);
                let found = Executor::new(Cpu, opts).run(&Dag::build(std::slice::from_ref(program)), &batch);
                let found: Vec<_> = (0..defined.returns.len()).map(|o| found.value(0, o, 0).cloned()).collect();
                prop_assert_eq!(found, defined.returns, "{} in a graph", program.name());
            }
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn stored_vectors_and_programs() {
    let (limits, library) = (Limits::default(), library());
    let (mut all, mut failures) = (0, Vec::new());
    for (stem, text) in files("vectors").into_iter().chain(files("programs")) {
        for record in records(&stem, &text) {
            match record {
                Record::Vector(vector) => {
                    all += 1;
                    failures.extend(common::wrong(vector.verify_on(&Cpu, &limits)));
                }
                Record::Program(recorded) => {
                    let program = recorded.program(&library).unwrap();
                    let verdicts = recorded.verify_on(&Cpu, &program, &library, &limits);
                    all += verdicts.len();
                    failures.extend(verdicts.into_iter().filter_map(common::wrong));
                }
                other => panic!("{stem}: {other:?}"),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {all} wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(all >= 22_000, "{all} checks");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn examples_meet_what_their_tasks_expect() {
    let (programs, tasks) = (programs(), tasks());
    let program = programs.iter().find(|p| p.name() == "task_67a3c6ac").unwrap();
    let task = tasks.iter().find(|t| t.id == "67a3c6ac").unwrap();
    let batch = Batch::from_tasks([task]);
    let found = Executor::new(Cpu, Options::default()).run(&Dag::build(std::slice::from_ref(program)), &batch);
    assert!((0..found.samples()).all(|s| found.equals_expected(0, s) == Some(true)));
}
