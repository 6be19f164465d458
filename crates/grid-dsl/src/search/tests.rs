use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn grids() -> impl Strategy<Value = Value> {
    let sides = prop_oneof![5 => (1usize..7, 1usize..7), 2 => (1usize..13, 1usize..13), 1 => Just((30, 30))];
    let colours = prop_oneof![2 => Just(2), 2 => Just(4), 1 => Just(10)];
    (sides, colours).prop_flat_map(|((h, w), n)| vec(vec(0..n, w), h).prop_map(Value::grid))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn operations_do_what_their_lines_say(value in grids()) {
        let enumerator = Enumerator::new(Bounds::default());
        let small = Small::read(&value).unwrap();
        prop_assert_eq!(&small.to_value(), &value);
        let mut to = Small::default();
        for (at, operation) in enumerator.operations.iter().enumerate() {
            let program = enumerator.program("p", &[at as u16]).expect("lines of an operation");
            let wanted = program.run(&Sample::new(value.clone()), &Limits::default(), false).returns.remove(0);
            match operation.apply(&small, &mut to) {
                Some(()) => {
                    prop_assert_eq!(Ok(to.to_value()), wanted, "{:?}", operation);
                    let known = operation.action().sides(small.height(), small.width());
                    prop_assert_eq!(known.unwrap_or((to.height(), to.width())), (to.height(), to.width()));
                }
                // Where nothing comes out the lines fail, or give what does not fit.
                None => prop_assert!(wanted.is_err() || wanted.is_ok_and(|v| Small::read(&v).is_none()), "{:?}", operation),
            }
        }
    }
}

#[test]
fn there_are_more_than_a_hundred_of_different_names() {
    let all = operations();
    let names: HashSet<&str> = all.iter().map(Operation::name).collect();
    assert!(all.len() >= 100 && names.len() == all.len(), "{} operations, {} names", all.len(), names.len());
}

fn examples(f: impl Fn(&Value) -> Value) -> Vec<(Value, Value)> {
    let inputs = [Value::grid([[1, 2, 0], [0, 3, 3]]), Value::grid([[5, 0], [0, 5], [5, 4]])];
    inputs.map(|input| (input.clone(), f(&input))).to_vec()
}

fn call(name: &str, grid: &Value) -> Value {
    crate::call(name, std::slice::from_ref(grid)).unwrap()
}

#[test]
fn compositions_are_found_at_their_depth_and_states_are_left_out_once_seen() {
    let task = examples(|g| call("rot90", &crate::call("upscale", &[g.clone(), Value::Int(2)]).unwrap()));
    let found = Enumerator::new(Bounds { depth: 2, ..Bounds::default() }).run("t", &task, |_| {}).unwrap();
    assert_eq!(found.end, End::Complete);
    assert!(found.hits.iter().any(|hit| hit.operations == ["rot90", "upscale 2"]), "{:?}", found.hits);
    assert_eq!(found.hits[0].program.name(), "t");
    assert!(found.duplicates > 0 && found.states.len() == 2 && found.states[1] < operations().len());
    let one = Enumerator::new(Bounds { depth: 1, ..Bounds::default() }).run("t", &task, |_| {}).unwrap();
    assert!(one.hits.is_empty());
    let all = Enumerator::new(Bounds { depth: 2, all: true, programs: 3, ..Bounds::default() });
    assert_eq!(all.run("t", &task, |_| {}).unwrap().hits.len(), 3.min(found.hits.len()));
}

#[test]
fn bounds_end_a_search() {
    let task = examples(|_| Value::grid([[9, 8, 7]]));
    let run = |bounds| Enumerator::new(bounds).run("t", &task, |_| {}).unwrap();
    let full = run(Bounds { depth: 2, ..Bounds::default() });
    assert_eq!((full.end, full.hits.len()), (End::Complete, 0));
    assert_eq!(run(Bounds { depth: 2, applications: Some(10), ..Bounds::default() }).end, End::Applications);
    assert_eq!(run(Bounds { depth: 2, time: Some(Duration::ZERO), ..Bounds::default() }).end, End::Time);
    assert_eq!(run(Bounds { depth: 3, bytes: 1000, ..Bounds::default() }).end, End::Memory);
    // Threads change nothing.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = pool.install(|| run(Bounds { depth: 2, ..Bounds::default() }));
    assert_eq!(
        (alone.applications, &alone.states, alone.duplicates),
        (full.applications, &full.states, full.duplicates)
    );
}

#[test]
fn tasks_that_cannot_be_searched_are_refused() {
    let run = |task: &[(Value, Value)]| Enumerator::new(Bounds::default()).run("t", task, |_| {}).unwrap_err();
    assert_eq!(run(&[]), Refusal::NoExamples);
    let wide = Value::grid([vec![0; 31]]);
    let one = || Value::grid([[1]]);
    for (example, message) in [
        ((one(), wide), "output of train 0: it is 1 x 31, and 30 x 30 is the most"),
        (
            (Value::grid([vec![1, 2, 3], vec![4, 5, 10]]), one()),
            "input of train 0: row 1, column 2 holds 10, and colours are 0 to 9",
        ),
        ((Value::Int(1), one()), "input of train 0: it is no grid: Int"),
        ((one(), Value::grid([[0; 0]; 2])), "output of train 0: it has no cells"),
        ((one(), r#"{"t":[{"t":[true]}]}"#.parse().unwrap()), "output of train 0: a cell is a truth value"),
    ] {
        assert_eq!(run(&[example]).to_string(), message);
    }
}
