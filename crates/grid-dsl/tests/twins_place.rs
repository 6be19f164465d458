//! Values between an arena and compact lists, against lists of words, and CUDA against the CPU. Everything is exact.

mod calls;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::Value;
use grid_dsl::kernels::{Arena, GridBackend, HEAD, PAYLOAD, Packed, Slot, put, put_all, take, take_packed};

use calls::{any_grid, any_pair, any_patch};

/// Values in an arena, places of some of them, and numbers that are written there.
#[derive(Clone, Debug)]
struct Places {
    values: Vec<Value>,
    chosen: Vec<u32>,
    seed: u32,
}

fn places() -> impl Strategy<Value = Places> {
    // Grids of all sides: as many turns of a loop over rows as there are.
    let row = |i: i32, w: i32| (0..w).map(|j| (i * 7 + j) % 10).collect::<Vec<_>>();
    let sides = (1..33, 1..33).prop_map(move |(h, w)| Value::grid((0..h).map(|i| row(i, w))));
    let value = prop_oneof![any_grid(), sides, any_patch(), any_pair(), Just(Value::None)];
    (vec(value, 1..9), any::<u32>(), any::<u16>()).prop_map(|(mut values, seed, chosen)| {
        // Two samples.
        if values.len() % 2 == 1 {
            values.push(Value::Int(7));
        }
        let mut places: Vec<u32> = (0..values.len() as u32).filter(|n| chosen >> n & 1 == 1).collect();
        let first = seed as usize % places.len().max(1);
        places.rotate_left(first);
        Places { values, chosen: places, seed }
    })
}

/// Numbers that are written, `width` each.
fn numbers(case: &Places, width: usize) -> Vec<u32> {
    (0..case.chosen.len() * width).map(|n| (n as u32).wrapping_mul(case.seed | 1)).collect()
}

/// What is taken, and the arena's words after heads alone and after all words were written.
fn run_places<B: GridBackend>(b: &B, case: &Places) -> Result<Outputs> {
    let slots: Vec<Slot> = case.values.iter().map(|v| Slot::Known(Ok(v.clone()))).collect();
    let mut arena = Arena::of(b, 2, &slots)?;
    let mut out = Vec::new();
    let mut add = |(heads, payloads): (Vec<i32>, Vec<u32>)| {
        out.push(Output::U32(vec![heads.len()], heads.into_iter().map(|word| word as u32).collect()));
        out.push(Output::U32(vec![payloads.len()], payloads));
    };
    let all: Vec<u32> = (0..slots.len() as u32).collect();
    add(take(b, &arena, &case.chosen, false)?);
    add(take(b, &arena, &case.chosen, true)?);
    // The same with no more words than heads speak of, in memory that was used before.
    let mut packed = Packed::default();
    take_packed(b, &arena, &all, &mut packed)?;
    take_packed(b, &arena, &case.chosen, &mut packed)?;
    let words = (0..packed.len()).map(|n| packed.value(n));
    let words: Vec<_> = words.map(|(head, payload)| (head.to_vec(), payload.to_vec())).collect();
    add((words.iter().flat_map(|w| w.0.clone()).collect(), words.iter().flat_map(|w| w.1.clone()).collect()));
    add((vec![packed.words() as i32], Vec::new()));
    let heads: Vec<i32> = numbers(case, HEAD).into_iter().map(|n| n as i32).collect();
    put(b, &mut arena, &case.chosen, &heads, &[])?;
    add(take(b, &arena, &all, true)?);
    let mut changed = heads;
    for n in &mut changed {
        *n ^= 1;
    }
    put(b, &mut arena, &case.chosen, &changed, &numbers(case, PAYLOAD))?;
    add(take(b, &arena, &all, true)?);
    // Some of the numbers for all samples of two slots, heads alone for those of a third one.
    let mut slots = Arena::new(b, 4, 3)?;
    let two = case.chosen.len().min(2);
    put_all(b, &mut slots, &[3, 1][..two], &changed[..two * HEAD], &numbers(case, PAYLOAD)[..two * PAYLOAD])?;
    put_all(b, &mut slots, &[0][..two.min(1)], &changed[..two.min(1) * HEAD], &[])?;
    add(slots.words(b)?);
    Ok(out)
}

/// The same on lists of words, value by value.
fn expected_places(case: &Places) -> Outputs {
    let b = Cpu::new();
    let known = case.values.iter().map(|v| Slot::Known(Ok(v.clone()))).collect::<Vec<_>>();
    let plain = Arena::of(&b, 2, &known).and_then(|arena| arena.words(&b)).unwrap();
    let mut values: Vec<(Vec<i32>, Vec<u32>)> =
        plain.0.chunks(HEAD).map(<[i32]>::to_vec).zip(plain.1.chunks(PAYLOAD).map(<[u32]>::to_vec)).collect();
    let mut out = Vec::new();
    let mut add = |chosen: Vec<&(Vec<i32>, Vec<u32>)>, payloads: bool| {
        let heads: Vec<u32> = chosen.iter().flat_map(|(head, _)| head.iter().map(|&word| word as u32)).collect();
        let words: Vec<u32> = chosen.iter().filter(|_| payloads).flat_map(|(_, payload)| payload.clone()).collect();
        out.push(Output::U32(vec![heads.len()], heads));
        out.push(Output::U32(vec![words.len()], words));
    };
    add(case.chosen.iter().map(|&p| &values[p as usize]).collect(), false);
    add(case.chosen.iter().map(|&p| &values[p as usize]).collect(), true);
    // Whatever heads do not speak of is 0 in these values.
    add(case.chosen.iter().map(|&p| &values[p as usize]).collect(), true);
    let count: usize = case.chosen.iter().map(|&p| words_used(&case.values[p as usize], &values[p as usize].0)).sum();
    add(vec![&(vec![count as i32], Vec::new())], true);
    for round in 0..2 {
        for (n, &p) in case.chosen.iter().enumerate() {
            let (head, payload) = &mut values[p as usize];
            let number = |k: usize| (k as u32).wrapping_mul(case.seed | 1);
            for (k, word) in head.iter_mut().enumerate() {
                *word = number(n * HEAD + k) as i32 ^ round;
            }
            for (k, word) in payload.iter_mut().enumerate().filter(|_| round == 1) {
                *word = number(n * PAYLOAD + k);
            }
        }
        add(values.iter().collect(), true);
    }
    let mut slots = vec![(vec![0; HEAD], vec![0; PAYLOAD]); 4 * 3];
    let chosen: Vec<_> = case.chosen.iter().map(|&p| values[p as usize].clone()).collect();
    for (slot, value) in [3, 1].into_iter().zip(&chosen) {
        slots[slot * 3..(slot + 1) * 3].fill(value.clone());
    }
    for value in chosen.iter().take(1) {
        slots[..3].fill((value.0.clone(), vec![0; PAYLOAD]));
    }
    add(slots.iter().collect(), true);
    out
}

/// Words that a value has beside its head: rows of a grid in words of four cells, masks of locations, all of an object.
fn words_used(value: &Value, head: &[i32]) -> usize {
    match value {
        // Spilled.
        _ if head[0] == 0 => 0,
        Value::Tuple(rows) if value.as_pair().is_none() => {
            let columns = rows.first().and_then(Value::items).map_or(0, <[Value]>::len);
            rows.len() * columns.div_ceil(4)
        }
        Value::Set(cells) if cells.first().is_some_and(|cell| cell.as_cell().is_some()) => PAYLOAD,
        Value::Set(_) => 32,
        _ => 0,
    }
}

twins! {
    kernels = ["grid_take", "grid_put", "grid_pack"];
    /// words: everything is exact
    places: places(), Places => |b, c| run_places(b, c), oracle = expected_places, tolerance = Tolerance::EXACT;
}

#[test]
fn places_that_are_not_there_are_named() {
    let b = Cpu::new();
    let mut arena = Arena::new(&b, 2, 3).unwrap();
    let why = take(&b, &arena, &[6], true).unwrap_err().to_string();
    assert!(why.contains("6, the arena has 6"), "{why}");
    let why = put(&b, &mut arena, &[1, 1], &[0; 2 * HEAD], &[]).unwrap_err().to_string();
    assert!(why.contains("1 comes twice"), "{why}");
    assert!(put(&b, &mut arena, &[1], &[0; 3], &[]).is_err());
}
