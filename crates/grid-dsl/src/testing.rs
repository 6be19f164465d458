//! Random values for tests: of every named type, biased to what is empty, tiny, tied or at a border.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::prim::Prim;
use crate::value::{Function, Maker, Value};

/// Numbers, small ones most.
fn number() -> impl Strategy<Value = i32> {
    prop_oneof![6 => -3..12, 2 => -40..40, 1 => Just(i32::MAX), 1 => Just(i32::MIN)]
}

/// Grids of few colours, so that ties are common.
pub(crate) fn any_grid() -> impl Strategy<Value = Value> {
    let sides = prop_oneof![4 => (0usize..5, 0usize..5), 2 => (1usize..12, 1usize..12), 1 => Just((30, 30))];
    let colours = prop_oneof![3 => Just(0..2), 3 => Just(0..4), 2 => Just(0..10), 1 => Just(-2..12)];
    (sides, colours).prop_flat_map(|((h, w), colours)| vec(vec(colours, w), h).prop_map(Value::grid))
}

fn location() -> impl Strategy<Value = (i32, i32)> {
    prop_oneof![6 => (0..6, 0..6), 2 => (-5..35, -5..35), 1 => (number(), number())]
}

fn any_indices() -> impl Strategy<Value = Value> {
    vec(location(), 0..8).prop_map(Value::indices)
}

fn any_object() -> impl Strategy<Value = Value> {
    vec((0..4, location()), 0..8).prop_map(|cells| Value::object(cells.into_iter().map(|(c, (i, j))| (c, i, j))))
}

fn any_prim() -> impl Strategy<Value = Value> {
    (0..Prim::ALL.len()).prop_map(|at| Value::Fn(Function::Prim(Prim::ALL[at])))
}

/// A closure of some maker.
fn any_closure(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (0..Maker::ALL.len(), vec(any_prim(), 3), inner, 1..5).prop_map(|(at, mut args, fixed, n)| {
        let maker = Maker::ALL[at];
        args.truncate(maker.arity());
        match maker {
            Maker::Power => args[1] = Value::Int(n),
            _ if maker.functions() < maker.arity() => args[1] = fixed,
            _ => {}
        }
        Value::Fn(Function::closure(maker, args))
    })
}

/// Values of every kind.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::None),
        2 => any::<bool>().prop_map(Value::Bool),
        4 => number().prop_map(Value::Int),
        3 => location().prop_map(|(i, j)| Value::pair(i, j)),
        5 => any_grid(),
        3 => any_indices(),
        3 => any_object(),
        2 => any_prim(),
        1 => any_closure(number().prop_map(Value::Int)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..4).prop_map(Value::tuple),
            3 => vec(inner.clone(), 0..4).prop_map(Value::set),
            2 => vec(any_object(), 0..5).prop_map(Value::set),
            1 => any_closure(inner),
        ]
    })
}

/// Patches in every form that functions take.
fn any_patch() -> impl Strategy<Value = Value> {
    let near = vec((0..3, (0..6, 0..6)), 1..12);
    prop_oneof![
        3 => any_object(),
        3 => any_indices(),
        3 => near.clone().prop_map(|cells| Value::object(cells.into_iter().map(|(c, (i, j))| (c, i, j)))),
        2 => near.clone().prop_map(|cells| Value::indices(cells.into_iter().map(|(_, at)| at))),
        1 => near.prop_map(|cells| Value::tuple(cells.into_iter().map(|(c, (i, j))| Value::cell(c, i, j)).collect())),
        1 => any_grid().prop_map(|grid| crate::call("asobject", &[grid]).unwrap_or(Value::None)),
        1 => Just(Value::pair(1, 2)),
    ]
}

fn any_pair() -> impl Strategy<Value = Value> {
    location().prop_map(|(i, j)| Value::pair(i, j))
}

fn any_int() -> impl Strategy<Value = Value> {
    prop_oneof![5 => (-2..11).prop_map(Value::Int), 3 => number().prop_map(Value::Int), 1 => any::<bool>().prop_map(Value::Bool)]
}

/// Functions that suit many arguments.
fn any_function() -> impl Strategy<Value = Value> {
    let bind = |(prim, fixed, last): (Value, Value, bool)| {
        let maker = if last { Maker::Rbind } else { Maker::Lbind };
        Value::Fn(Function::closure(maker, vec![prim, fixed]))
    };
    prop_oneof![
        4 => any_prim(),
        2 => any_closure(any_int()),
        3 => (any_prim(), prop_oneof![any_int(), any_pair(), any_patch(), any_grid()], any::<bool>()).prop_map(bind),
    ]
}

/// Containers of things that functions work on.
fn any_container() -> impl Strategy<Value = Value> {
    let of = |items: BoxedStrategy<Value>| {
        (vec(items, 0..6), any::<bool>())
            .prop_map(|(items, set)| if set { Value::set(items) } else { Value::tuple(items) })
    };
    prop_oneof![
        2 => of(any_int().boxed()),
        2 => of(any_pair().boxed()),
        3 => of(any_patch().boxed()),
        1 => of(any_grid().boxed()),
        2 => any_patch(),
        1 => any_grid(),
        1 => any_grid().prop_map(|g| crate::call("partition", &[g]).unwrap_or(Value::None)),
        1 => of(any_value().boxed()),
    ]
}

/// Arguments of the kinds that a primitive takes.
pub(crate) fn typed_args(prim: Prim) -> impl Strategy<Value = Vec<Value>> {
    let kinds = prim.entry().kinds.split(" -> ").next().unwrap_or_default();
    let of_kind = |kind: &str| -> BoxedStrategy<Value> {
        match kind {
            "I" => any_int().boxed(),
            "B" => any::<bool>().prop_map(Value::Bool).boxed(),
            "P" => any_pair().boxed(),
            "N" => prop_oneof![any_int(), any_pair()].boxed(),
            "G" => any_grid().boxed(),
            "Pt" => any_patch().boxed(),
            "E" | "Pc" => prop_oneof![any_grid(), any_patch()].boxed(),
            "F" => any_function().boxed(),
            "C" | "CC" | "S" => any_container().boxed(),
            "T" => prop_oneof![any_container(), any_grid(), any_pair()].boxed(),
            _ => prop_oneof![3 => any_container(), 2 => any_int(), 1 => any_pair(), 3 => any_value()].boxed(),
        }
    };
    kinds.split(' ').map(of_kind).collect::<Vec<_>>()
}
