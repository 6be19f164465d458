//! Maps over the elements of containers, many at once, call by call: against the definition of the primitive with a closure, and CUDA
//! against the CPU. What has no form on a device is evaluated by the definition, as the executor does. Everything is exact.

mod calls;
mod mapped;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{
    Arena, Each, Gather, GridBackend, Laid, Layout, Op, Ranged, Slot, Spill, count_each, gather_each, put, spread_each,
    step_each,
};
use grid_dsl::{ErrClass, Value};

use calls::{OPERAND_SLOTS, Operand, load, output};
use mapped::{Case, Made, Map, any_map, known};

fn cases() -> impl Strategy<Value = Case> {
    starting_with(known(), vec(any_map(), 1..6).prop_map(|maps| Case { maps, here: false }))
}

/// Slots of a map: its containers, what is fixed, and what it gives.
const FIXED_AT: u32 = OPERAND_SLOTS as u32;
const TARGET: u32 = FIXED_AT + 1;
const SLOTS: u32 = TARGET + 1;

impl Map {
    /// The map, from slots of its own on.
    fn each(&self, from: u32) -> Each {
        let is_call = self.gather == Gather::Call;
        let container_first = !is_call && !matches!(self.gather, Gather::Mapply | Gather::Apply);
        let mut operands = if self.made.fixed.is_some() { vec![from + FIXED_AT] } else { Vec::new() };
        operands.insert(if container_first { 0 } else { operands.len() }, from);
        let container = (!is_call).then_some(if container_first { 0 } else { operands.len() - 1 });
        Each { gather: self.gather, target: from + TARGET, operands, container }
    }

    /// A call of the function, where the map's elements lie.
    fn call(&self, at: usize, laid: &Laid, literal: Option<u32>) -> Option<Ranged> {
        let op = *self.made.ops.get(at)?;
        let fixed = self.made.fixed.is_some();
        // An element, what is fixed, what a call is given; then calls.
        let calls_at = 1 + u32::from(fixed) + u32::from(self.gather == Gather::Call);
        let element = calls_at - 1 - if self.gather == Gather::Call { 0 } else { u32::from(fixed) };
        let x = (laid.slot(if at == 0 { element } else { calls_at + at as u32 - 1 }), false);
        let fixed = literal.map_or((laid.slot(1), false), |place| (place, true));
        let of = match self.made.fixed.filter(|_| at == 0) {
            Some(true) => [x, fixed, x, x],
            Some(false) => [fixed, x, x, x],
            None => [x; 4],
        };
        let (operands, same) = (of.map(|(place, _)| place), of.map(|(_, same)| same));
        Some(Ranged { op, target: laid.slot(calls_at + at as u32), operands, same, key: 0, count: laid.elements() })
    }
}

/// The results of maps for both samples. With `same`, what is fixed for both lies at one place, and is read there.
fn on_device<B: GridBackend>(b: &B, maps: &[Map], same: bool) -> Result<Vec<Slot>> {
    let mut arena = Arena::new(b, maps.len() * SLOTS as usize, 2)?;
    for (from, map) in (0..).step_by(SLOTS as usize).zip(maps) {
        load(b, &mut arena, from, &[vec![map.containers[0].clone()], vec![map.containers[1].clone()]])?;
        arena.write(b, from + FIXED_AT as usize, &[0, 1].map(|s| Slot::Known(map.fixed[s].clone())))?;
    }
    let all: Vec<Each> = (0..).step_by(SLOTS as usize).zip(maps).map(|(from, map)| map.each(from)).collect();
    let counts = count_each(b, &mut arena, &all)?;
    let (mut laid, mut literals, mut end) = (Vec::new(), Vec::new(), 0);
    for ((each, map), counts) in all.into_iter().zip(maps).zip(counts.chunks(2)) {
        let samples = (0..).zip(counts).filter_map(|(sample, count)| Some((sample, (*count)?))).collect();
        let own = Laid { each, place: end, calls: map.made.ops.len() as u32, samples };
        end = own.slot(3 + own.calls);
        // What is fixed stands behind all slots, unless it is an error: then there are no elements. 0 equals `false`, and
        // yet a device knows colours by their numbers alone.
        let text = |sample: usize| map.fixed[sample].as_ref().map(Value::to_text);
        let one = same && map.made.fixed.is_some() && text(0) == text(1);
        literals.push((one && map.fixed[0].is_ok() && own.elements() > 0).then(|| {
            end += 1;
            end - 1
        }));
        laid.push(own);
    }
    let mut elements = Arena::new(b, 1, end.max(1) as usize)?;
    let layout = Layout::new(b, &arena, &elements, &laid)?;
    spread_each(b, &arena, &mut elements, &layout)?;
    for (map, place) in maps.iter().zip(&literals) {
        if let Some(place) = *place {
            let (heads, payloads) = Arena::of(b, 1, &[Slot::Known(map.fixed[0].clone())])?.words(b)?;
            put(b, &mut elements, &[place], &heads, &payloads)?;
        }
    }
    let longest = maps.iter().map(|map| map.made.ops.len()).max().unwrap_or(0);
    let calls = |at: usize| {
        let all = maps.iter().zip(&laid).zip(&literals);
        all.filter_map(|((map, laid), literal)| map.call(at, laid, *literal)).collect()
    };
    step_each(b, &mut elements, &(0..longest).map(calls).collect::<Vec<_>>())?;
    gather_each(b, &mut arena, &elements, &layout)?;
    let mut found = Vec::new();
    for from in (0..).step_by(SLOTS as usize).take(maps.len()) {
        found.extend(arena.read(b, from + TARGET as usize)?);
    }
    Ok(found)
}

fn run<B: GridBackend>(b: &B, Case { maps, here }: &Case) -> Result<Outputs> {
    let [found, other] = [on_device(b, maps, false)?, on_device(b, maps, true)?];
    assert_eq!(found, other, "one place or several for what is fixed");
    let known = |(slot, (map, sample)): (Slot, (&Map, usize))| match slot {
        Slot::Known(outcome) => outcome,
        Slot::Spilled(_) => map.outcome(sample).map(|value| if *here { Value::None } else { value }),
    };
    let both = maps.iter().flat_map(|map| [(map, 0), (map, 1)]);
    Ok(output(found.into_iter().zip(both).map(known)))
}

fn expected(case: &Case) -> Outputs {
    output(case.maps.iter().flat_map(|map| [map.outcome(0), map.outcome(1)]))
}

twins! {
    kernels = ["grid_count", "grid_spread", "grid_gather"];
    /// values: everything is exact
    maps: cases(), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
}

#[test]
fn maps_that_cannot_be_are_named() {
    let b = Cpu::new();
    let mut arena = Arena::new(&b, 3, 2).unwrap();
    let each = |target: u32, operands: &[u32], container: Option<usize>| Each {
        gather: Gather::Argmax,
        target,
        operands: operands.to_vec(),
        container,
    };
    let mut fails = |all: &[Each]| count_each(&b, &mut arena, all).unwrap_err().to_string();
    assert!(fails(&[each(0, &[3], Some(0))]).contains("3, the arena has 3"));
    assert!(fails(&[each(0, &[1], Some(1))]).contains("Argmax has no container"));
    assert!(fails(&[each(0, &[1], None)]).contains("Argmax has no container"));
    assert!(fails(&[each(0, &[2], Some(0)), each(0, &[1], Some(0))]).contains("0 is written by two maps"));
    assert!(fails(&[each(0, &[2], Some(0)), each(2, &[1], Some(0))]).contains("2 is read by a map and written by one"));

    let elements = Arena::new(&b, 1, 8).unwrap();
    let laid = |place: u32, calls: u32, samples: &[(u32, u32)]| Laid {
        each: each(0, &[1, 2], Some(0)),
        place,
        calls,
        samples: samples.to_vec(),
    };
    let fails = |all: &[Laid]| Layout::new(&b, &arena, &elements, all).unwrap_err().to_string();
    assert!(fails(&[laid(0, 1, &[(2, 1)])]).contains("2, the arena has 2"));
    assert!(fails(&[laid(0, 2, &[(0, 1), (1, 2)])]).contains("2 calls of 3 elements from 0 on, of 8"));
    assert!(fails(&[laid(6, 1, &[(0, 1)])]).contains("1 calls of 1 elements from 6 on, of 8"));
    assert!(fails(&[laid(0, 0, &[(0, 1)])]).contains("0 calls"));
    assert!(fails(&[laid(0, 1, &[(0, 1), (1, 1)]), laid(5, 1, &[])]).contains("5 belongs to two maps"));
    assert!(fails(&[laid(0, 1, &[(0, 1)]), laid(3, 1, &[(0, 1)])]).contains("0 and others of slot 0 are in two"));
    assert!(fails(&[laid(0, 1, &[(1, 1), (0, 1)])]).contains("0, the arena has 2, and 2 is the least to come"));
    // One map in two parts, each with samples of its own.
    let parts = Layout::new(&b, &arena, &elements, &[laid(0, 1, &[(0, 1)]), laid(3, 1, &[(1, 1)])]).unwrap();
    let mut others = Arena::new(&b, 1, 9).unwrap();
    let wrong = spread_each(&b, &arena, &mut others, &parts).unwrap_err().to_string();
    assert!(wrong.contains("arena"), "{wrong}");
    assert!(gather_each(&b, &mut arena, &others, &parts).is_err());
}

/// Places that are not there, or that others write, are named.
#[test]
fn ranges_that_cannot_be_are_named() {
    let b = Cpu::new();
    let mut arena = Arena::new(&b, 2, 4).unwrap();
    let add = |target: u32, x: u32, y: u32, same: bool, count: u32| Ranged {
        op: Op::Add,
        target,
        operands: [x, y, 0, 0],
        same: [false, same, false, false],
        key: 0,
        count,
    };
    let mut done = |steps: &[Vec<Ranged>]| step_each(&b, &mut arena, steps).map_err(|e| e.to_string());
    let mut fails = |all: &[Ranged]| done(&[all.to_vec()]).unwrap_err();
    assert!(fails(&[add(5, 0, 0, false, 4)]).contains("Add writes up to 9, the arena has 8"));
    assert!(fails(&[add(4, 0, 0, false, 2), add(5, 0, 0, false, 2)]).contains("Add writes 5, as another one does"));
    assert!(fails(&[add(4, 0, 6, false, 4)]).contains("Add reads 6 to 10 of 8"));
    assert!(fails(&[add(4, 0, 4, true, 4)]).contains("Add reads 4 to 5 of 8"));
    assert!(fails(&[add(4, 3, 0, false, 2)]).contains("Add reads 3 to 5 of 8"));
    // One value for all, the last one there is; nothing to do; and a step that reads what the one before wrote.
    assert_eq!(
        done(&[vec![add(0, 4, 7, true, 2)], vec![add(9, 9, 9, false, 0)], vec![add(3, 0, 1, false, 1)]]),
        Ok(())
    );
    assert_eq!(done(&[]), Ok(()));
}

/// What has no form is told with its reason: one element that has none is enough.
#[test]
fn what_spills_has_its_reason() {
    let grid = Value::grid_from_digits("10/02").unwrap();
    let map = |gather: Gather, container: &Operand, ops: &[Op]| Map {
        gather,
        made: Made { ops: ops.to_vec(), fixed: None },
        containers: vec![container.clone(); 2],
        fixed: vec![Ok(Value::None); 2],
    };
    let objects = Operand::Objects(grid.clone(), [true, false, true]);
    for (container, gather, ops, why) in [
        // Rows, and keys that are no numbers.
        (&Operand::Value(grid.clone()), Gather::Argmax, &[Op::Size][..], Spill::Kind),
        (&objects, Gather::Sfilter, &[Op::Box], Spill::Kind),
        (&objects, Gather::Mapply, &[Op::Shape], Spill::Kind),
        (&objects, Gather::Apply, &[Op::Size], Spill::Kind),
        // The largest key of no elements is that of 0.
        (&Operand::Value(Value::indices([])), Gather::Valmax, &[Op::Identity], Spill::Class),
        (&objects, Gather::Mapply, &[Op::Normalize], Spill::Class),
    ] {
        let found = on_device(&Cpu::new(), &[map(gather, container, ops)], false).unwrap();
        assert_eq!(found, vec![Slot::Spilled(why); 2], "{gather:?} {ops:?}");
    }
    let hollow = Operand::Value(Value::grid(Vec::<Vec<i32>>::new()));
    for (container, gather, ops, class) in [
        (&Operand::Value(Value::Int(2)), Gather::Argmax, &[Op::Size][..], ErrClass::Type),
        (&objects, Gather::Mapply, &[Op::Size], ErrClass::Type),
        (&hollow, Gather::Extract, &[Op::Size], ErrClass::Empty),
        (&hollow, Gather::Argmin, &[Op::Size], ErrClass::Empty),
    ] {
        let found = on_device(&Cpu::new(), &[map(gather, container, ops)], false).unwrap();
        assert_eq!(found, vec![Slot::Known(Err(class)); 2], "{gather:?} {ops:?}");
    }
}
