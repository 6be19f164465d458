//! Values of slots counted over all samples, against a count of the values themselves, and CUDA against the CPU. Everything
//! is exact.

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{Arena, GridBackend, Instruction, Op, Slot, Spill, Tallied, Tally, step, tally};
use grid_dsl::{ErrClass, Prim, Value};

/// What a slot holds for a sample.
#[derive(Clone, Debug)]
enum Held {
    Number,
    Container,
    Failed,
    Spilled(Spill),
}

/// Slots with a value a sample, behind which those lie that operations make, and what is counted.
#[derive(Clone, Debug)]
struct Case {
    samples: usize,
    slots: Vec<Vec<Held>>,
    items: Vec<Tallied>,
}

/// Objects, parts, lines and ordered objects, and what they are made of.
const MADE: usize = 9;

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        2 => Just(Held::Number),
        2 => Just(Held::Container),
        1 => Just(Held::Failed),
        2 => (0..Spill::ALL.len()).prop_map(|why| Held::Spilled(Spill::ALL[why])),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let random = (1usize..70, 1usize..5).prop_flat_map(|(samples, slots)| {
        let slot = move || 0..(slots + MADE) as u32;
        let item = (slot(), vec(slot(), 0..8), vec(slot(), 0..3), prop::bool::weighted(0.2));
        let item = item.prop_map(|(slot, operands, untold, container)| Tallied { slot, operands, untold, container });
        let values = vec(vec(held(), samples), slots);
        (values, vec(item, 1..6)).prop_map(move |(slots, items)| Case { samples, slots, items })
    });
    // Every kind of container as the only one, and every reason.
    let samples = 33;
    let all: Vec<Held> = Spill::ALL.into_iter().map(Held::Spilled).collect();
    let slots = vec![vec![Held::Number; samples], all.into_iter().cycle().take(samples).collect()];
    let of = |operand: u32| Tallied { slot: operand % 2, operands: vec![operand], ..Tallied::default() };
    let untold = Tallied { slot: 0, untold: vec![0, 1], ..Tallied::default() };
    // One container behind so many numbers, which no turn of a loop may pass over.
    let behind = |numbers: usize| {
        let operands = [vec![0; numbers], vec![2], vec![0; 7 - numbers]].concat();
        Tallied { slot: 0, operands, ..Tallied::default() }
    };
    let items = (0..(2 + MADE) as u32).map(of).chain([untold]).chain((0..8).map(behind)).collect();
    starting_with(vec![Case { samples, slots, items }], random)
}

/// Slots with their values, and those that operations fill.
fn arena<B: GridBackend>(b: &B, case: &Case) -> Result<Arena<B>> {
    let container = || Value::grid_from_digits("0110/0200/2203").unwrap();
    let slot = |held: &Held| match held {
        Held::Number => Slot::Known(Ok(Value::Int(5))),
        Held::Container => Slot::Known(Ok(container())),
        Held::Failed => Slot::Known(Err(ErrClass::Index)),
        Held::Spilled(why) => Slot::Spilled(*why),
    };
    let fixed = [container(), Value::Bool(true), Value::Bool(false), Value::Int(2), Value::None];
    let made = fixed.iter().map(|value| Slot::Known(Ok(value.clone())));
    let made = made.chain((fixed.len()..MADE).map(|_| Slot::Spilled(Spill::Function)));
    let own = case.slots.iter().flatten().map(slot);
    let all: Vec<Slot> = own.chain(made.flat_map(|slot| vec![slot; case.samples])).collect();
    let mut arena = Arena::of(b, case.samples, &all)?;
    let at = |k: usize| (case.slots.len() + k) as u32;
    let of =
        |op, target, operands: [usize; 4], key| Instruction { op, target: at(target), operands: operands.map(at), key };
    step(b, &mut arena, &[of(Op::Objects, 5, [0, 1, 2, 1], 0), of(Op::Hsplit, 6, [0, 3, 0, 0], 0)])?;
    let order = Op::Order.key(Prim::Size).unwrap();
    step(b, &mut arena, &[of(Op::Frontiers, 7, [0; 4], 0), of(Op::Order, 8, [5, 0, 0, 0], order)])?;
    Ok(arena)
}

fn output(counts: Vec<Tally>) -> Outputs {
    let words = counts.into_iter().flat_map(|c| [&c.counting[..], &[c.errors], &c.spills].concat());
    let words: Vec<u32> = words.collect();
    vec![Output::U32(vec![words.len()], words)]
}

fn expected(case: &Case) -> Outputs {
    let count = |item: &Tallied| {
        let held = |slot: u32, sample: usize| match case.slots.get(slot as usize) {
            Some(values) => values[sample].clone(),
            // The grid and what is made of it are containers; flags, the number and `None` are not.
            None if [1, 2, 3, 4].contains(&(slot as usize - case.slots.len())) => Held::Number,
            None => Held::Container,
        };
        let mut all = Tally::default();
        for sample in 0..case.samples {
            let plain = item.operands.iter().any(|&slot| matches!(held(slot, sample), Held::Container));
            let untold = |&slot: &u32| matches!(held(slot, sample), Held::Container | Held::Spilled(_));
            let counts = u32::from(item.container || plain || item.untold.iter().any(untold));
            match held(item.slot, sample) {
                Held::Spilled(why) => {
                    all.counting[1] += counts;
                    all.spills[Spill::ALL.iter().position(|&other| other == why).unwrap()] += 1;
                }
                held => {
                    all.counting[0] += counts;
                    all.errors += u32::from(matches!(held, Held::Failed));
                }
            }
        }
        all
    };
    output(case.items.iter().map(count).collect())
}

twins! {
    kernels = ["grid_tally"];
    /// counts: everything is exact
    tallies: cases(), Case => |b, c| Ok(output(tally(b, &arena(b, c)?, &c.items)?)), oracle = expected, tolerance = Tolerance::EXACT;
}

#[test]
fn slots_that_are_not_there_are_named() {
    let b = Cpu::new();
    let arena = Arena::new(&b, 2, 3).unwrap();
    for item in [
        Tallied { slot: 2, ..Tallied::default() },
        Tallied { operands: vec![0, 7], ..Tallied::default() },
        Tallied { untold: vec![u32::MAX], ..Tallied::default() },
    ] {
        let why = tally(&b, &arena, &[item]).unwrap_err().to_string();
        assert!(why.contains("the arena has 2"), "{why}");
    }
    assert!(tally(&b, &arena, &[]).unwrap().is_empty());
}
