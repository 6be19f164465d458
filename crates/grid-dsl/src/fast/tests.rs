use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::*;
use crate::error::{Limits, Result};
use crate::machine::Machine;
use crate::prim::Prim;
use crate::testing::{any_value, typed_args};
use crate::value::Value;

/// The definition's answer and fuel, and ours: three times, since results of functions are kept.
fn all(prim: Prim, args: &[Value], limits: &Limits) -> [(Result<String>, u64); 4] {
    let mut machine = Machine::new(limits);
    let defined = machine.prim(prim, args).map(|v| v.to_text());
    let packed: Vec<Val> = args.iter().map(Val::from).collect();
    let mut fast = Fast::new(limits);
    let mut found = || {
        fast.refill(0);
        let found = fast.prim(prim, &packed.iter().collect::<Vec<_>>()).map(|v| v.to_value().to_text());
        (found, fast.m.used())
    };
    [(defined, machine.used()), found(), found(), found()]
}

/// Limits: those of programs most, small ones so that they are met.
fn limits() -> impl Strategy<Value = Limits> {
    let small = (1usize..40, 2usize..80, 20u32..2000, 1u16..7, 1u64..3000, 1u32..5);
    prop_oneof![
        4 => Just(Limits::default()),
        1 => small.prop_map(|(side, elements, weight, nesting, fuel, calls)| Limits {
            side, elements, nesting, calls, weight, fuel, ..Limits::default()
        }),
    ]
}

/// Grids whose locations have no keys, where limits allow such.
#[test]
fn the_longest_grids_are_those_of_the_definition() {
    let limits = Limits { side: 60_000, ..Limits::default() };
    let wide = Value::tuple(vec![Value::tuple((0..40_000).map(|n| Value::Int(n % 3)).collect())]);
    let colour = [Prim::Ofcolor, Prim::Asindices, Prim::Asobject, Prim::Partition, Prim::Rot90, Prim::Hmirror];
    for prim in colour {
        let args = [wide.clone(), Value::Int(1)];
        let [defined, found @ ..] = all(prim, &args[..prim.arity()], &limits);
        assert!(found.iter().all(|found| *found == defined), "{}", prim.name());
    }
    let [defined, found @ ..] = all(Prim::Occurrences, &[wide, Value::set(vec![])], &limits);
    assert!(found.iter().all(|found| *found == defined));
}

/// Every primitive on arguments of the right kinds, on arguments of any, and within small limits.
#[test]
fn every_primitive_is_the_definition() {
    let scale: u32 = std::env::var("LOCKSTEP_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let half = Prim::ALL.len() / 2;
        let parts = [&Prim::ALL[..half], &Prim::ALL[half..]]
            .map(|part| scope.spawn(move || part.iter().filter_map(|&prim| differs(prim, scale)).collect::<Vec<_>>()));
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} primitives differ:\n{}", failures.len(), failures.join("\n"));
}

fn differs(prim: Prim, cases: u32) -> Option<String> {
    let seed = RngSeed::Fixed(prim as u64);
    let config =
        Config { cases, failure_persistence: None, rng_seed: seed, max_shrink_iters: 2000, ..Config::default() };
    let any = proptest::collection::vec(any_value(), prim.arity());
    let args = prop_oneof![4 => typed_args(prim), 1 => any];
    let result = TestRunner::new(config).run(&(args, limits()), |(args, limits)| {
        let [defined, found @ ..] = all(prim, &args, &limits);
        for found in found {
            prop_assert_eq!(&defined, &found);
        }
        Ok(())
    });
    result.err().map(|e| format!("{}: {e}", prim.name()))
}

proptest! {
    #![proptest_config(Config { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(9), ..Config::default() })]

    #[test]
    fn values_come_back_and_compare_as_they_are(a in any_value(), b in any_value()) {
        let (x, y) = (Val::from(&a), Val::from(&b));
        prop_assert_eq!(x.to_value().to_text(), a.to_text());
        prop_assert_eq!((x.weight(), x.depth(), x.truth()), (a.weight(), a.depth(), a.truth()));
        prop_assert_eq!(x.digest(), a.digest());
        prop_assert_eq!(x.wide_digest(), { let mut h = Wide::default(); h.bytes(a.to_text().as_bytes()); h.0 });
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
        prop_assert!(x == Val::from(&a));
        prop_assert_eq!(order::compare(&x, &y), crate::order::compare(&a, &b));
    }
}
