//! Operands of calls, and what is compared of their results.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use gpu_core::Result;
use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs};
use grid_dsl::kernels::{Arena, GridBackend, Instruction, Op, Slot, Spill, step};
use grid_dsl::{ErrClass, Value, call};

/// An operand: a value, or the objects of a grid with flags, which only a device makes.
#[derive(Clone, Debug)]
pub enum Operand {
    Value(Value),
    Objects(Value, [bool; 3]),
    /// Parts of a grid: side by side, one above the other, or what else an operation makes of it.
    Strips(Value, Op, i32),
    /// What an operand that failed left.
    Failed(ErrClass),
    /// What the host has yet to tell.
    Untold(Outcome),
}

pub fn any_grid() -> impl Strategy<Value = Value> {
    let sides = prop_oneof![
        8 => (0usize..6, 0usize..6),
        2 => (1usize..12, 1usize..12),
        1 => (Just(1usize), 1usize..34),
        1 => Just((30, 30)),
        1 => (31usize..34, 31usize..34),
    ];
    let colours =
        prop_oneof![3 => Just(0..2), 3 => Just(0..4), 1 => Just(0..10), 1 => Just(-2..12), 1 => Just(120..131)];
    (sides, colours).prop_flat_map(|((h, w), colours)| vec(vec(colours, w), h).prop_map(Value::grid))
}

pub fn small() -> impl Strategy<Value = i32> {
    prop_oneof![8 => -2..8, 2 => -40..40, 1 => Just(i32::MAX), 1 => Just(i32::MIN)]
}

pub fn any_pair() -> impl Strategy<Value = Value> {
    (small(), small()).prop_map(|(i, j)| Value::pair(i, j))
}

pub fn location() -> impl Strategy<Value = (i32, i32)> {
    prop_oneof![8 => (0..6, 0..6), 2 => (-5..35, -5..35)]
}

pub fn any_indices() -> impl Strategy<Value = Value> {
    vec(location(), 0..7).prop_map(Value::indices)
}

pub fn any_patch() -> impl Strategy<Value = Value> {
    // Mostly colours of the language, sometimes others that a cell can hold, and some that it cannot.
    let base = prop_oneof![6 => 0..4, 1 => -130..128];
    let object = (vec((0..4, location()), 0..7), any::<bool>(), base).prop_map(|(cells, several, base)| {
        // With several colours two cells may share a location.
        Value::object(cells.into_iter().map(|(c, (i, j))| (if several { base + c } else { base }, i, j)))
    });
    prop_oneof![any_indices(), object]
}

pub fn any_objects() -> impl Strategy<Value = Operand> {
    (any_grid(), any::<[bool; 3]>()).prop_map(|(grid, flags)| Operand::Objects(grid, flags))
}

pub fn operand(kind: char) -> BoxedStrategy<Operand> {
    let failed = prop_oneof![Just(ErrClass::Index), Just(ErrClass::Empty), Just(ErrClass::Overflow)];
    let untold = prop_oneof![any_pair().prop_map(Ok), failed.clone().prop_map(Err)];
    prop_oneof![
        24 => plain_operand(kind),
        1 => failed.prop_map(Operand::Failed),
        1 => untold.prop_map(Operand::Untold),
    ]
    .boxed()
}

fn plain_operand(kind: char) -> BoxedStrategy<Operand> {
    let number = prop_oneof![12 => small().prop_map(Value::Int), 1 => any::<bool>().prop_map(Value::Bool)];
    let values = match kind {
        'g' => any_grid().boxed(),
        'c' => number.boxed(),
        'p' => any_pair().boxed(),
        's' => (-1..34, -1..34).prop_map(|(i, j)| Value::pair(i, j)).boxed(),
        'h' => any_patch().boxed(),
        'x' => any_indices().boxed(),
        'b' => prop_oneof![any::<bool>().prop_map(Value::Bool), (0..2).prop_map(Value::Int)].boxed(),
        'n' => prop_oneof![2 => number, 1 => any_pair()].boxed(),
        'f' => prop_oneof![6 => (-1..4).prop_map(Value::Int), 1 => number].boxed(),
        'e' => prop_oneof![any_grid(), any_patch()].boxed(),
        't' | 'v' => {
            let op = if kind == 't' { Op::Hsplit } else { Op::Vsplit };
            return (any_grid(), 1i32..5).prop_map(move |(grid, n)| Operand::Strips(grid, op, n)).boxed();
        }
        'o' => return prop_oneof![8 => any_objects(), 1 => any_patch().prop_map(Operand::Value)].boxed(),
        _ => {
            let value = prop_oneof![any_grid(), any_patch(), any_pair(), number, Just(Value::None)];
            return prop_oneof![4 => value.prop_map(Operand::Value), 1 => any_objects()].boxed();
        }
    };
    let odd = prop_oneof![Just(Value::None), Just(Value::Bool(true)), any_pair(), any_patch()];
    prop_oneof![24 => values, 1 => odd].prop_map(Operand::Value).boxed()
}

pub type Outcome = std::result::Result<Value, ErrClass>;

impl Operand {
    pub fn value(&self) -> Outcome {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Objects(grid, flags) => {
                let [u, d, b] = flags.map(Value::Bool);
                call("objects", &[grid.clone(), u, d, b])
            }
            Self::Strips(grid, op, n) => call(op.prim().name(), &[grid.clone(), Value::Int(*n)][..op.operands()]),
            Self::Failed(class) => Err(*class),
            Self::Untold(outcome) => outcome.clone(),
        }
    }

    fn slot(&self) -> Slot {
        match self {
            Self::Untold(_) => Slot::Spilled(Spill::Class),
            known => Slot::Known(known.value()),
        }
    }
}

/// Slots that the operands of a call, or what they are made of, take.
pub const OPERAND_SLOTS: usize = 20;

/// Writes operands of two samples to slots from a first one on, four slots behind which those lie that some are made of.
pub fn load<B: GridBackend>(b: &B, arena: &mut Arena<B>, from: usize, operands: &[Vec<Operand>; 2]) -> Result<()> {
    let mut made = Vec::new();
    let slot = |k: usize| (from + k) as u32;
    for k in 0..operands[0].len() {
        let both = [&operands[0][k], &operands[1][k]];
        let made_of = [0, 1, 2, 3].map(|part| slot(4 + 4 * k + part));
        let mut write =
            |slot: u32, x: Value, y: Value| arena.write(b, slot as usize, &[Slot::Known(Ok(x)), Slot::Known(Ok(y))]);
        if let [Operand::Objects(g, f), Operand::Objects(h, e)] = both {
            write(made_of[0], g.clone(), h.clone())?;
            for flag in 0..3 {
                write(made_of[1 + flag], Value::Bool(f[flag]), Value::Bool(e[flag]))?;
            }
            made.push(Instruction { op: Op::Objects, target: slot(k), operands: made_of, key: 0 });
        } else if let [Operand::Strips(g, op, n), Operand::Strips(h, _, m)] = both {
            write(made_of[0], g.clone(), h.clone())?;
            write(made_of[1], Value::Int(*n), Value::Int(*m))?;
            made.push(Instruction { op: *op, target: slot(k), operands: made_of, key: 0 });
        } else {
            arena.write(b, slot(k) as usize, &both.map(Operand::slot))?;
        }
    }
    step(b, arena, &made)
}

pub fn text(outcome: &Outcome) -> String {
    outcome.as_ref().map_or_else(|class| class.name().to_owned(), Value::to_text)
}

pub fn output(outcomes: impl IntoIterator<Item = Outcome>) -> Outputs {
    let all: Vec<String> = outcomes.into_iter().map(|o| text(&o)).collect();
    let bytes = all.join("\n").into_bytes();
    vec![Output::U32(vec![2], vec![bytes.len() as u32, all.len() as u32]), Output::U8(vec![bytes.len()], bytes)]
}
