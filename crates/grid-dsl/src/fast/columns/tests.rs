use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::*;
use crate::error::Limits;
use crate::fast::val::Val;
use crate::machine::Machine;
use crate::value::{Function, Value};

/// Choices that build functions of locations, of numbers and of both: each is 0 when they run out.
struct Choices<'c>(std::slice::Iter<'c, u8>, Vec<Value>);

fn prim(prim: Prim) -> Value {
    Value::Fn(Function::Prim(prim))
}

fn closure(maker: Maker, args: &[Value]) -> Value {
    Value::Fn(Function::closure(maker, args.to_vec()))
}

fn lbind(by: Prim, first: Value) -> Value {
    closure(Maker::Lbind, &[prim(by), first])
}

impl Choices<'_> {
    fn of(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |choice| choice % n)
    }

    fn one(&mut self, of: &[Prim]) -> Value {
        prim(of[usize::from(self.of(of.len() as u8))])
    }

    /// A small number mostly, and a large one now and then: sums and products of those have no place.
    fn constant(&mut self) -> Value {
        let n = i32::from(self.of(9)) - 3;
        Value::Int(if self.of(40) == 39 { n << 28 } else { n })
    }

    fn pair(&mut self) -> Value {
        Value::tuple(vec![self.constant(), self.constant()])
    }

    fn container(&mut self) -> Value {
        let n = usize::from(self.of(self.1.len() as u8));
        self.1[n].clone()
    }

    /// For each location a function that measures from there.
    fn measures(&mut self) -> Value {
        let by = self.measure();
        let from = lbind(Prim::Lbind, self.one(&[Prim::Subtract, Prim::Add]));
        closure(Maker::Compose, &[lbind(Prim::Compose, by), from])
    }

    fn number(&mut self) -> Value {
        match self.of(7) {
            0..=2 => self.one(&[Prim::Increment, Prim::Double, Prim::Halve, Prim::Invert, Prim::Sign, Prim::Crement]),
            3 => lbind(Prim::Add, self.constant()),
            4 => closure(Maker::Rbind, &[prim(Prim::Multiply), self.constant()]),
            5 => closure(Maker::Compose, &[self.number(), self.number()]),
            _ => closure(Maker::Fork, &[self.one(&[Prim::Subtract, Prim::Divide]), self.number(), self.number()]),
        }
    }

    fn measure(&mut self) -> Value {
        match self.of(9) {
            0..=2 => self.one(&[Prim::First, Prim::Last, Prim::Maximum, Prim::Minimum]),
            3 => closure(Maker::Compose, &[self.number(), self.measure()]),
            4 => {
                let by = self.one(&[Prim::Add, Prim::Subtract, Prim::Multiply]);
                closure(Maker::Fork, &[by, self.measure(), self.measure()])
            }
            5 => closure(Maker::Compose, &[self.measure(), self.location()]),
            6 => closure(Maker::Chain, &[self.number(), self.measure(), self.location()]),
            7 => {
                let least = if self.of(2) == 0 { Prim::Valmin } else { Prim::Valmax };
                closure(Maker::Compose, &[lbind(least, self.container()), self.measures()])
            }
            _ => lbind(Prim::Index, Value::tuple(vec![Value::tuple(vec![Value::Int(3); 9]); 9])),
        }
    }

    fn location(&mut self) -> Value {
        match self.of(8) {
            0 => prim(Prim::Identity),
            1 => lbind(Prim::Add, self.pair()),
            2 => closure(Maker::Rbind, &[prim(Prim::Multiply), self.constant()]),
            3 => closure(Maker::Compose, &[self.location(), self.location()]),
            4 => lbind(Prim::Apply, self.number()),
            5 => closure(Maker::Fork, &[prim(Prim::Astuple), self.measure(), self.measure()]),
            6 => closure(Maker::Compose, &[self.one(&[Prim::Toivec, Prim::Tojvec]), self.measure()]),
            _ => {
                let least = if self.of(2) == 0 { Prim::Argmin } else { Prim::Argmax };
                closure(Maker::Compose, &[lbind(least, self.container()), self.measures()])
            }
        }
    }

    fn test(&mut self) -> Value {
        match self.of(8) {
            0 => closure(Maker::Fork, &[prim(Prim::Greater), self.measure(), self.measure()]),
            1 => closure(Maker::Compose, &[self.one(&[Prim::Even, Prim::Positive]), self.measure()]),
            2 => closure(Maker::Matcher, &[self.measure(), self.constant()]),
            3 => closure(Maker::Matcher, &[self.location(), self.pair()]),
            4 => closure(Maker::Fork, &[self.one(&[Prim::Both, Prim::Either]), self.test(), self.test()]),
            5 => closure(Maker::Compose, &[prim(Prim::Flip), self.test()]),
            6 => closure(Maker::Fork, &[prim(Prim::Equality), self.location(), self.location()]),
            _ => closure(Maker::Rbind, &[prim(Prim::Contained), self.container()]),
        }
    }

    /// Locations and numbers where functions belong.
    fn wild(&mut self) -> Value {
        let parts = if self.of(2) == 0 { Value::tuple(vec![]) } else { self.pair() };
        let applied = closure(Maker::Rbind, &[prim(Prim::Apply), parts]);
        match self.of(3) {
            0 => applied,
            1 => closure(Maker::Compose, &[applied, self.measure()]),
            _ => closure(Maker::Fork, &[prim(Prim::Apply), self.one(&[Prim::First, Prim::Astuple]), self.location()]),
        }
    }

    fn function(&mut self) -> Value {
        match self.of(12) {
            0..=3 => self.test(),
            4..=7 => self.measure(),
            8..=10 => self.location(),
            _ => self.wild(),
        }
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let small = (2usize..40, 2usize..60, 20u32..1000, 2u16..9, 1u64..6000, 1u32..9);
    prop_oneof![
        // Maps in maps in maps end somewhere.
        4 => Just(Limits { fuel: 1 << 20, ..Limits::default() }),
        1 => small.prop_map(|(side, elements, weight, nesting, fuel, calls)| Limits {
            side, elements, nesting, calls, weight, fuel, ..Limits::default()
        }),
    ]
}

/// Maps by random functions of locations and cells, on some containers in turn, twice: values, classes and fuel.
#[test]
fn maps_by_columns_are_those_of_the_definition() {
    let pairs = proptest::collection::vec((0i32..9, 0i32..9), 1..24);
    let containers = proptest::collection::vec((pairs, 0u8..3), 1..4);
    let choices = proptest::collection::vec(any::<u8>(), 0..60);
    let config = Config { cases: 2000, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() };
    let (maps, by_columns) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let result = TestRunner::new(config).run(&(containers, choices, limits()), |(containers, choices, limits)| {
        let made = |(all, kind): &(Vec<(i32, i32)>, u8)| {
            let pairs = all.iter().map(|(i, j)| Value::pair(*i, *j));
            match kind {
                0 => Value::set(pairs.collect()),
                1 => Value::tuple(pairs.collect()),
                _ => Value::set(all.iter().map(|(i, j)| Value::cell(i % 3, *i, *j)).collect()),
            }
        };
        let containers: Vec<Value> = containers.iter().map(made).collect();
        let locations = |c: &Value| c.items().is_some_and(|all| all[0].as_pair().is_some());
        let bare: Vec<Value> = containers.iter().filter(|c| locations(c)).cloned().collect();
        let mut choices = Choices(choices.iter(), if bare.is_empty() { vec![Value::set(vec![])] } else { bare });
        let by = choices.function();
        let of_cells = closure(Maker::Compose, &[by.clone(), prim(Prim::Last)]);
        let mut fast = Fast::new(&limits);
        let packed: Vec<Val> = containers.iter().chain([&by, &of_cells]).map(Val::from).collect();
        for round in 0..2 {
            for (at, container) in containers.iter().enumerate() {
                let f = containers.len() + usize::from(!locations(container));
                let function = if locations(container) { &by } else { &of_cells };
                for prim in [Prim::Apply, Prim::Sfilter, Prim::Order, Prim::Argmax, Prim::Valmin, Prim::Mapply] {
                    let first = matches!(prim, Prim::Apply | Prim::Mapply);
                    let (a, b) = if first { (function, container) } else { (container, function) };
                    let (x, y) = if first { (&packed[f], &packed[at]) } else { (&packed[at], &packed[f]) };
                    let mut machine = Machine::new(&limits);
                    let defined = machine.prim(prim, &[a.clone(), b.clone()]).map(|v| v.to_text());
                    fast.refill(0);
                    let before = fast.columns.done;
                    let found = fast.prim(prim, &[x, y]).map(|v| v.to_value().to_text());
                    prop_assert_eq!((defined, machine.used()), (found, fast.m.used()), "{} {}", prim.name(), round);
                    maps.set(maps.get() + 1);
                    by_columns.set(by_columns.get() + fast.columns.done - before);
                }
            }
        }
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
    assert!(by_columns.get() > maps.get() / 3, "{} of {} maps went by columns", by_columns.get(), maps.get());
}

fn applied(by: &Value, to: &Value) -> (Val, Fast<'static>) {
    static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);
    let (mut machine, mut fast) = (Machine::new(&LIMITS), Fast::new(&LIMITS));
    let defined = machine.prim(Prim::Apply, &[by.clone(), to.clone()]).unwrap();
    let found = fast.prim(Prim::Apply, &[&Val::from(by), &Val::from(to)]).unwrap();
    assert_eq!((defined.digest(), machine.used()), (found.digest(), fast.m.used()));
    assert_eq!(fast.columns.done, 1);
    (found, fast)
}

/// Pairs of pairs of pairs, of which both are one: their values are one, too, in whatever order they are made.
#[test]
fn parts_that_are_one_stay_one() {
    let twice = closure(Maker::Fork, &[prim(Prim::Astuple), prim(Prim::Identity), prim(Prim::Identity)]);
    let by = (0..14).fold(prim(Prim::Toivec), |by, _| closure(Maker::Compose, &[twice.clone(), by]));
    let (found, _) = applied(&by, &Value::tuple((0..9).map(Value::Int).collect()));
    let mut value = found.items().unwrap().get(3);
    for level in 0..14 {
        let items = value.items().unwrap().to_vec();
        let places: Vec<_> = items.iter().map(crate::fast::memo::token).collect();
        assert_eq!((places.len(), places[0]), (2, places[1]), "level {level}");
        value = items[0].clone();
    }
}

/// Maps of long tuples, one behind the other: what is kept of them is bounded by what it holds.
#[test]
fn long_results_are_not_kept() {
    let long = Value::tuple((0..MOST as i32 / 16).map(Value::Int).collect());
    let sums = closure(Maker::Rbind, &[prim(Prim::Apply), long]);
    let by = closure(Maker::Compose, &[sums, lbind(Prim::Lbind, prim(Prim::Add))]);
    let next = lbind(Prim::Apply, prim(Prim::Increment));
    let by = (0..6).fold(by, |by, _| closure(Maker::Compose, &[next.clone(), by]));
    let by = closure(Maker::Compose, &[prim(Prim::First), by]);
    let (_, fast) = applied(&by, &Value::tuple((0..9).map(|n| Value::Int(100 + n)).collect()));
    let held: usize = fast.columns.images.values().map(|image| image.result.held(9)).sum();
    assert!(held <= fast.columns.numbers && fast.columns.numbers <= MOST, "{held} of {}", fast.columns.numbers);
}
