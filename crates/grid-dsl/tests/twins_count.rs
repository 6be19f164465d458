//! Elements of containers counted, where a function has captured several values: against the definition of which of them decides,
//! and CUDA against the CPU. Everything is exact.

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Result, twins};
use grid_dsl::kernels::{Arena, Each, Gather, GridBackend, Instruction, Op, Slot, Spill, count_each, step};
use grid_dsl::{ErrClass, Value};

/// What a container or what a function has captured may be, as far as counting elements goes.
#[derive(Clone, Copy, Debug)]
enum Held {
    Number,
    Grid,
    Locations,
    Copies,
    Failed(ErrClass),
    Spilled,
}

/// A map whose function has captured several values.
#[derive(Clone, Debug)]
struct Captured {
    operands: Vec<Held>,
    container: Option<usize>,
}

/// Maps of one call.
#[derive(Clone, Debug)]
struct Captures(Vec<Captured>);

fn captured() -> impl Strategy<Value = Captures> {
    let held = prop_oneof![
        4 => Just(Held::Number),
        4 => Just(Held::Grid),
        4 => Just(Held::Locations),
        1 => Just(Held::Copies),
        1 => Just(Held::Failed(ErrClass::Index)),
        1 => Just(Held::Failed(ErrClass::Empty)),
        1 => Just(Held::Spilled),
    ];
    let map = (vec(held, 1..11), proptest::option::weighted(0.8, any::<usize>()));
    let map = map.prop_map(|(operands, at)| Captured { container: at.map(|at| at % operands.len()), operands });
    vec(map, 1..9).prop_map(Captures)
}

/// A count, and what was written where there is none.
fn text(count: Option<u32>, written: &[Slot]) -> String {
    format!("{count:?} {written:?}\n")
}

/// Counts, and what was written where there is none.
fn run_counts<B: GridBackend>(b: &B, Captures(maps): &Captures) -> Result<Outputs> {
    let grid = Value::grid_from_digits("12/34").unwrap();
    let slot = |held: &Held| match held {
        Held::Number => Slot::Known(Ok(Value::Int(3))),
        Held::Grid | Held::Copies => Slot::Known(Ok(grid.clone())),
        Held::Locations => Slot::Known(Ok(Value::indices([(0, 1), (2, 3), (5, 1)]))),
        Held::Failed(class) => Slot::Known(Err(*class)),
        Held::Spilled => Slot::Spilled(Spill::Class),
    };
    let (mut values, mut copies, mut all) = (vec![slot(&Held::Number), slot(&Held::Grid)], Vec::new(), Vec::new());
    for map in maps {
        let from = values.len() as u32;
        values.extend(map.operands.iter().map(slot));
        copies.extend((from..).zip(&map.operands).filter(|(_, held)| matches!(held, Held::Copies)).map(|(at, _)| at));
        values.push(Slot::Spilled(Spill::Kind));
        let (operands, target) = ((from..values.len() as u32 - 1).collect(), values.len() as u32 - 1);
        let gather = if map.container.is_some() { Gather::Mapply } else { Gather::Call };
        all.push(Each { gather, target, operands, container: map.container });
    }
    let of = |target: u32| Instruction { op: Op::Repeat, target, operands: [1, 0, 0, 0], key: 0 };
    let mut arena = Arena::of(b, 1, &values)?;
    step(b, &mut arena, &copies.into_iter().map(of).collect::<Vec<_>>())?;
    let counts = count_each(b, &mut arena, &all)?;
    let mut told = String::new();
    for (each, count) in all.iter().zip(counts) {
        let written = if count.is_some() { Vec::new() } else { arena.read(b, each.target as usize)? };
        told.push_str(&text(count, &written));
    }
    Ok(vec![Output::U8(vec![told.len()], told.into_bytes())])
}

/// The leftmost error, unless the host has yet to tell one before it; then what cannot be laid out.
fn expected_counts(Captures(maps): &Captures) -> Outputs {
    let one = |map: &Captured| {
        let first = map.operands.iter().find(|held| matches!(held, Held::Failed(_) | Held::Spilled));
        let copies =
            (map.operands.iter().enumerate()).any(|(k, held)| matches!(held, Held::Copies) && Some(k) != map.container);
        let known: std::result::Result<u32, Slot> = match (first, map.container.map(|at| map.operands[at])) {
            (Some(Held::Failed(class)), _) => Err(Slot::Known(Err(*class))),
            (Some(_), _) => Err(Slot::Spilled(Spill::Operand)),
            _ if copies => Err(Slot::Spilled(Spill::Kind)),
            (_, None) => Ok(1),
            (_, Some(Held::Number)) => Err(Slot::Known(Err(ErrClass::Type))),
            (_, Some(Held::Grid)) => Err(Slot::Spilled(Spill::Kind)),
            _ => Ok(3),
        };
        let written: Vec<Slot> = known.clone().err().into_iter().collect();
        text(known.ok(), &written)
    };
    let told: String = maps.iter().map(one).collect();
    vec![Output::U8(vec![told.len()], told.into_bytes())]
}

twins! {
    kernels = ["grid_count"];
    /// text: everything is exact
    counts: captured(), Captures => |b, c| run_counts(b, c), oracle = expected_counts, tolerance = Tolerance::EXACT;
}
