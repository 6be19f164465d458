//! Searches on devices find what those on the host find, in the same order and with the same counts.

mod common;

use common::grid;
use gpu_core::{Backend, Cpu};
use grid_dsl::kernels::GridBackend;
use grid_dsl::search::{Bounds, End, Enumerator, Outcome};
use grid_dsl::{Prim, Value};

type Example = (Value, Value);

fn call(name: &str, args: &[Value]) -> Value {
    assert!(Prim::by_name(name).is_some());
    grid_dsl::call(name, args).unwrap()
}

/// A task of two inputs, and what two functions make of them.
fn upscaled() -> Vec<Example> {
    let made = |input: Value| {
        let twice = call("upscale", &[input.clone(), Value::Int(2)]);
        (input, call("rot90", &[twice]))
    };
    [grid("120/033"), grid("50/05/54")].map(made).to_vec()
}

/// A task of three inputs with several objects each, of which the largest is wanted, mirrored.
fn objects() -> Vec<Example> {
    let one = |input: &str, output: &str| (grid(input), grid(output));
    vec![
        one("00000/01100/01000/00003", "11/01"),
        one("2000/2202/0200/0000/0033", "02/22/20"),
        one("0000000/0440050/4400000", "440/044"),
    ]
}

/// A task that nothing of this depth solves.
fn without_answer() -> Vec<Example> {
    vec![(grid("1230/0045"), grid("987"))]
}

fn same(found: &Outcome, wanted: &Outcome, what: &str) {
    let names = |outcome: &Outcome| outcome.hits.iter().map(|hit| hit.operations.clone()).collect::<Vec<_>>();
    let texts = |outcome: &Outcome| outcome.hits.iter().map(|hit| hit.program.to_text()).collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted), "{what}");
    assert_eq!(texts(found), texts(wanted), "{what}");
    assert_eq!(found.applications, wanted.applications, "{what}");
    assert_eq!(found.states, wanted.states, "{what}");
    assert_eq!((found.duplicates, found.end), (wanted.duplicates, wanted.end), "{what}");
}

fn host(bounds: &Bounds, task: &[Example]) -> Outcome {
    Enumerator::new(bounds.clone()).run("t", task, |_| {}).unwrap()
}

fn compare<B: GridBackend>(b: &B, bounds: &Bounds, task: &[Example]) -> Outcome {
    let device = Enumerator::on(bounds.clone(), b.clone());
    assert_eq!(device.backend(), B::NAME);
    let found = device.run("t", task, |_| {}).unwrap();
    assert_eq!(found.failure, None, "{bounds:?}");
    same(&found, &host(bounds, task), &format!("{bounds:?}"));
    found
}

fn shallow<B: GridBackend>(b: &B) {
    let two = Bounds { depth: 2, programs: 100, all: true, ..Bounds::default() };
    let found = compare(b, &two, &upscaled());
    assert!(found.hits.iter().any(|hit| hit.operations == ["rot90", "upscale 2"]), "{:?}", found.hits);
    let found = compare(b, &two, &objects());
    assert!(found.hits.iter().any(|hit| hit.operations.iter().any(|name| name.contains("object"))), "{:?}", found.hits);
}

#[test]
fn a_device_finds_what_the_host_finds() {
    let b = Cpu::new();
    shallow(&b);
    let three = Bounds { depth: 3, ..Bounds::default() };
    let found = compare(&b, &three, &without_answer());
    assert!(found.hits.is_empty() && found.states[2] > 1000, "{:?}", found.states);
    compare(&b, &Bounds { all: true, programs: usize::MAX, ..three.clone() }, &upscaled());
    // The bounds end a search at the same place, wherever a device's launches end.
    for applications in [1, 1000, 40_000, 100_000] {
        let found = compare(&b, &Bounds { applications: Some(applications), ..three.clone() }, &without_answer());
        assert_eq!(found.end, End::Applications);
    }
    for bytes in [0, 700, 20_000] {
        assert_eq!(compare(&b, &Bounds { bytes, ..three.clone() }, &without_answer()).end, End::Memory);
    }
}

#[test]
fn memory_changes_nothing_but_how_many_states_go_at_once() {
    let three = Bounds { depth: 3, all: true, ..Bounds::default() };
    for bytes in [300_000, 1 << 20, 5 << 20] {
        let b = Cpu::with_memory_limit(bytes);
        compare(&b, &three, &upscaled());
        assert!(b.memory().peak <= bytes && b.memory().used == 0);
    }
}

#[test]
fn the_host_goes_on_where_a_device_cannot() {
    let two = Bounds { depth: 2, ..Bounds::default() };
    for bytes in [0, 500, 2000] {
        let b = Cpu::with_memory_limit(bytes);
        let found = Enumerator::on(two.clone(), b).run("t", &upscaled(), |_| {}).unwrap();
        same(&found, &host(&two, &upscaled()), "too little memory");
        let why = found.failure.expect("a failure");
        assert!(why.contains("memory"), "{why}");
    }
}

#[test]
fn tasks_that_cannot_be_searched_are_refused_on_a_device() {
    let run = |task: &[Example]| Enumerator::on(Bounds::default(), Cpu::new()).run("t", task, |_| {}).unwrap_err();
    let wide = Value::grid([vec![0; 31]]);
    assert_eq!(run(&[]).to_string(), "the task has no examples to learn from");
    assert_eq!(run(&[(grid("1"), wide)]).to_string(), "output of train 0: it is 1 x 31, and 30 x 30 is the most");
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn the_same_on_cuda() {
    shallow(&gpu_core::testing::cuda());
}
