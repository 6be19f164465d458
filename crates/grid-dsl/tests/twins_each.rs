//! Maps over the elements of containers, many at once, call by call: against the definition of the primitive with a closure, and CUDA
//! against the CPU. What has no form on a device is evaluated by the definition, as the executor does. Everything is exact.

mod calls;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{
    Arena, Each, Gather, GridBackend, Laid, Layout, Op, Ranged, Slot, Spill, count_each, gather_each, put, spread_each,
    step_each,
};
use grid_dsl::{ErrClass, Prim, Value, call};

use calls::{OPERAND_SLOTS, Operand, Outcome, load, operand, output};

/// A function: the last of some operations, each of which gets what the one before gave, the first one an element. The first
/// may have a value fixed in front of the element or behind it.
#[derive(Clone, Debug)]
struct Made {
    ops: Vec<Op>,
    fixed: Option<bool>,
}

/// One map, on two samples.
#[derive(Clone, Debug)]
struct Map {
    gather: Gather,
    made: Made,
    containers: Vec<Operand>,
    fixed: Vec<Outcome>,
}

/// Maps, and whether a device gives all that has a value.
#[derive(Clone, Debug)]
struct Case {
    maps: Vec<Map>,
    here: bool,
}

const PLAIN: [Op; 46] = [
    Op::Identity,
    Op::Size,
    Op::Height,
    Op::Width,
    Op::Uppermost,
    Op::Rightmost,
    Op::Color,
    Op::Mostcolor,
    Op::Numcolors,
    Op::Shape,
    Op::Square,
    Op::Vline,
    Op::Portrait,
    Op::Hmirror,
    Op::Vmirror,
    Op::Dmirror,
    Op::Cmirror,
    Op::Normalize,
    Op::Toindices,
    Op::Backdrop,
    Op::Delta,
    Op::Box,
    Op::Corners,
    Op::Outbox,
    Op::Inbox,
    Op::Center,
    Op::Centerofmass,
    Op::Ulcorner,
    Op::Lrcorner,
    Op::First,
    Op::Last,
    Op::Invert,
    Op::Double,
    Op::Even,
    Op::Positive,
    Op::Flip,
    Op::Toivec,
    Op::Tojvec,
    Op::Neighbors,
    Op::Dneighbors,
    Op::Hfrontier,
    Op::Vfrontier,
    Op::Initset,
    Op::Hperiod,
    Op::Rot90,
    Op::Tophalf,
];

/// Operations with one value fixed: the kind of that, and whether it is the last one.
const FIXED: [(Op, char, bool); 23] = [
    (Op::Occurrences, 'g', false),
    (Op::Contained, 'x', true),
    (Op::Gravitate, 'h', true),
    (Op::Manhattan, 'h', true),
    (Op::Manhattan, 'h', false),
    (Op::Adjacent, 'h', true),
    (Op::Hmatching, 'h', false),
    (Op::Vmatching, 'h', true),
    (Op::Bordering, 'g', true),
    (Op::Toobject, 'g', true),
    (Op::Shift, 'p', true),
    (Op::Shift, 'h', false),
    (Op::Recolor, 'c', false),
    (Op::Colorcount, 'c', true),
    (Op::Intersection, 'h', true),
    (Op::Combine, 'h', false),
    (Op::Difference, 'h', true),
    (Op::Add, 'n', true),
    (Op::Equality, 'a', true),
    (Op::Connect, 'p', false),
    (Op::Insert, 'x', true),
    (Op::Index, 'g', false),
    (Op::Fill, 'g', false),
];

fn any_map() -> impl Strategy<Value = Map> {
    let made = (vec(0..PLAIN.len(), 1..3), proptest::option::of(0..FIXED.len() - 1));
    (0..Gather::ALL.len(), made, 0..4usize).prop_flat_map(|(gather, (plain, fixed), kind)| {
        let gather = Gather::ALL[gather];
        let fixed = fixed.map(|at| FIXED[at]);
        let ops: Vec<Op> = plain.into_iter().map(|at| PLAIN[at]).collect();
        // One call in front of others, or alone.
        let ops = match fixed {
            Some((op, ..)) => [&[op], &ops[1..]].concat(),
            None => ops,
        };
        let made = Made { ops, fixed: fixed.map(|(.., last)| last) };
        let container = || match gather {
            Gather::Call => operand(['g', 'h', 'n', 'a'][kind]),
            _ => operand(['o', 'o', 'x', 't'][kind]),
        };
        let value = move || {
            let known = operand(fixed.map_or('c', |f| f.1)).prop_map(|operand| operand.value());
            prop_oneof![12 => known, 1 => Just(Err(ErrClass::Index))]
        };
        let (containers, values) = ((container(), container()), (value(), value()));
        (containers, values).prop_map(move |((a, b), (x, y))| Map {
            gather,
            made: made.clone(),
            containers: vec![a, b],
            fixed: vec![x, y],
        })
    })
}

/// Maps that a device has a form for, with all that it makes of elements.
fn known() -> Vec<Case> {
    let grid = |digits: &str| Value::grid_from_digits(digits).unwrap();
    let grids = ["1020033/1000030/0000000/0500660/0550066", "0400110/0400101/0433000/0033022/6000002"].map(grid);
    let objects = grids.clone().map(|grid| Operand::Objects(grid, [true, true, true]));
    let several = grids.clone().map(|grid| Operand::Objects(grid, [false, false, true]));
    let strips = grids.clone().map(|grid| Operand::Strips(grid, Op::Vsplit, 3));
    // Parts of more rows than a turn of a loop takes.
    let tall = [3, 8].map(|seed| {
        let row = |i: i32| (0..7).map(|j| (seed + i * 5 + j * 3 + i * j) % 10).collect::<Vec<i32>>();
        Operand::Strips(Value::grid((0..16).map(row)), Op::Vsplit, 2)
    });
    let indices = [[(0, 1), (1, 3), (4, 2)], [(2, 2), (3, 3), (0, 6)]].map(|at| Operand::Value(Value::indices(at)));
    let empty = [(); 2].map(|()| Operand::Value(Value::indices([])));
    let [spot, other] = [(1, 2), (3, 1)].map(|at| Ok(Value::indices([at])));
    let of = |gather: Gather, containers: &[Operand; 2], ops: &[Op], fixed: Option<(bool, Outcome)>| {
        let value = fixed.clone().map_or(Ok(Value::None), |f| f.1);
        let made = Made { ops: ops.to_vec(), fixed: fixed.map(|f| f.0) };
        Map { gather, made, containers: containers.to_vec(), fixed: vec![value; 2] }
    };
    let mut maps = Vec::new();
    for gather in [Gather::Argmax, Gather::Argmin, Gather::Valmax, Gather::Valmin] {
        for containers in [&objects, &several] {
            maps.push(of(gather, containers, &[Op::Manhattan], Some((true, spot.clone()))));
            maps.push(of(gather, containers, &[Op::Delta, Op::Size], None));
            maps.push(of(gather, containers, &[Op::Center], None));
            maps.push(of(gather, containers, &[Op::Toindices], None));
        }
        maps.push(of(gather, &strips, &[Op::Numcolors], None));
        maps.push(of(gather, &tall, &[Op::Colorcount], Some((true, Ok(Value::Int(1))))));
        maps.push(of(gather, &strips, &[Op::Colorcount], Some((true, Ok(Value::Int(0))))));
        maps.push(of(gather, &indices, &[Op::First, Op::Invert], None));
    }
    for gather in [Gather::Extract, Gather::Sfilter, Gather::Mfilter] {
        for containers in [&objects, &several] {
            maps.push(of(gather, containers, &[Op::Hmatching], Some((false, other.clone()))));
            maps.push(of(gather, containers, &[Op::Square, Op::Flip], None));
            maps.push(of(gather, containers, &[Op::Adjacent], Some((true, spot.clone()))));
        }
    }
    for gather in [Gather::Extract, Gather::Sfilter] {
        maps.push(of(gather, &indices, &[Op::First, Op::Even], None));
    }
    for ops in [&[Op::Outbox][..], &[Op::Center, Op::Hfrontier], &[Op::Delta], &[Op::Hmirror, Op::Toindices]] {
        maps.push(of(Gather::Mapply, &objects, ops, None));
        maps.push(of(Gather::Mapply, &several, ops, None));
    }
    maps.push(of(Gather::Mapply, &objects, &[Op::Recolor], Some((false, Ok(Value::Int(7))))));
    maps.push(of(Gather::Mapply, &indices, &[Op::Neighbors], None));
    maps.push(of(Gather::Mapply, &indices, &[Op::Shift], Some((false, Ok(Value::object([(3, 0, 0), (3, 0, 1)]))))));
    maps.push(of(Gather::Apply, &objects, &[Op::Center], None));
    maps.push(of(Gather::Apply, &indices, &[Op::Double], None));
    maps.push(of(Gather::Apply, &indices, &[Op::Add], Some((true, Ok(Value::pair(-3, 5))))));
    let lines = ["3333/0300/0301/3333", "22/22/20"].map(|digits| Operand::Strips(grid(digits), Op::Frontiers, 0));
    for gather in [Gather::Argmax, Gather::Argmin, Gather::Extract, Gather::Mfilter] {
        maps.push(of(gather, &lines, &[Op::Portrait], None));
        maps.push(of(gather, &lines, &[Op::Hline], None));
    }
    for ops in [&[Op::Identity][..], &[Op::Vmirror], &[Op::Box], &[Op::Ulcorner, Op::Neighbors]] {
        maps.push(of(Gather::Mapply, &lines, ops, None));
    }
    maps.push(of(Gather::Apply, &lines, &[Op::Center], None));
    let hollow = [(); 2].map(|()| Operand::Value(Value::grid(Vec::<Vec<i32>>::new())));
    for gather in [Gather::Sfilter, Gather::Mfilter, Gather::Mapply, Gather::Apply] {
        maps.push(of(gather, &empty, &[Op::Size], None));
        maps.push(of(gather, &hollow, &[Op::Size], None));
    }
    // Whatever is no number is true, but for a tuple without elements; and one key alone is not compared.
    let one = [(); 2].map(|()| Operand::Value(Value::indices([(1, 4)])));
    for gather in [Gather::Extract, Gather::Sfilter] {
        maps.push(of(gather, &objects, &[Op::Shape], None));
        maps.push(of(gather, &indices, &[Op::Index], Some((false, Ok(grids[1].clone())))));
    }
    maps.push(of(Gather::Extract, &tall, &[Op::Tophalf], None));
    // Objects that stay apart, and grids of one shape.
    let copies = grids.clone().map(|grid| Operand::Strips(grid, Op::Repeat, 3));
    let apart = ["1100022/1000020/0000000/0300400/0330440", "10002/11022/00000/30010/33011"].map(grid);
    let apart = apart.map(|grid| Operand::Objects(grid, [true, false, true]));
    for containers in [&objects, &several, &apart] {
        maps.push(of(Gather::Apply, containers, &[Op::Identity], None));
    }
    for ops in [&[Op::Hmirror][..], &[Op::Identity, Op::Vmirror]] {
        maps.push(of(Gather::Apply, &apart, ops, None));
    }
    maps.push(of(Gather::Apply, &apart, &[Op::Recolor], Some((false, Ok(Value::Int(7))))));
    for containers in [&strips, &tall, &copies] {
        for gather in [Gather::Apply, Gather::Mapply] {
            maps.push(of(gather, containers, &[Op::Hmirror], None));
            maps.push(of(gather, containers, &[Op::Rot180, Op::Lefthalf], None));
        }
        maps.push(of(Gather::Apply, containers, &[Op::Rot90], None));
        for gather in [Gather::Sfilter, Gather::Mfilter] {
            maps.push(of(gather, containers, &[Op::Numcolors, Op::Even], None));
            maps.push(of(gather, containers, &[Op::Portrait], None));
        }
    }
    for gather in [Gather::Argmax, Gather::Argmin] {
        maps.push(of(gather, &one, &[Op::Index], Some((false, Ok(grid("12/30"))))));
    }
    maps.push(of(Gather::Call, &grids.map(Operand::Value), &[Op::Rot90, Op::Tophalf], None));
    maps.push(of(Gather::Call, &indices, &[Op::Shift], Some((true, Ok(Value::pair(2, 3))))));
    let mut cases: Vec<Case> = maps.chunks(8).map(|maps| Case { maps: maps.to_vec(), here: true }).collect();
    // The leftmost error may be one that the host has yet to tell.
    let untold = [Err(ErrClass::Empty), Ok(Value::indices([(1, 2)]))].map(Operand::Untold);
    let failed = [ErrClass::Empty, ErrClass::Range].map(Operand::Failed);
    let fixed = || Some((false, Err(ErrClass::Index)));
    // Keys of several kinds, what is no container, and numbers in place of patches.
    let scalars = [Value::Int(3), Value::None].map(Operand::Value);
    let mut errors = Vec::new();
    for gather in [Gather::Argmax, Gather::Argmin, Gather::Valmax, Gather::Valmin, Gather::Mapply] {
        errors.push(of(gather, &indices, &[Op::Index], Some((false, Ok(grid("12/30"))))));
        errors.push(of(gather, &objects, &[Op::Size], None));
        errors.push(of(gather, &hollow, &[Op::Size], None));
        errors.push(of(gather, &scalars, &[Op::Size], None));
    }
    let flat = ["7331", "5"].map(|digits| Operand::Strips(grid(digits), Op::Frontiers, 0));
    for gather in [Gather::Argmax, Gather::Argmin, Gather::Apply, Gather::Sfilter, Gather::Extract, Gather::Valmin] {
        errors.push(of(gather, &flat, &[Op::Size], None));
        errors.push(of(gather, &lines, &[Op::Identity], None));
    }
    cases.extend(errors.chunks(8).map(|maps| Case { maps: maps.to_vec(), here: false }));
    let lefts = [untold, failed].map(|left| of(Gather::Argmax, &left, &[Op::Manhattan], fixed()));
    cases.insert(0, Case { maps: lefts.to_vec(), here: false });
    // The union is one column too wide, by the second cell of what is moved.
    let far = [[(0, 0), (0, 31)], [(5, 31), (2, 0)]].map(|at| Operand::Value(Value::indices(at)));
    let two = Some((false, Ok(Value::object([(3, 0, 0), (3, 0, 1)]))));
    cases.insert(0, Case { maps: vec![of(Gather::Mapply, &far, &[Op::Shift], two)], here: false });
    // Equal values, of which one is no number.
    let mut equal = of(Gather::Argmin, &objects, &[Op::Recolor, Op::Outbox], Some((false, Ok(Value::Int(0)))));
    equal.fixed[1] = Ok(Value::Bool(false));
    cases.insert(0, Case { maps: vec![equal], here: false });
    cases
}

fn cases() -> impl Strategy<Value = Case> {
    starting_with(known(), vec(any_map(), 1..6).prop_map(|maps| Case { maps, here: false }))
}

impl Map {
    /// The closure, in the text of values.
    fn closure(&self, fixed: &Value) -> Value {
        let named = |op: Op| format!(r#"{{"f":"{}"}}"#, op.prim().name());
        let first = match self.made.fixed {
            None => named(self.made.ops[0]),
            Some(last) => {
                let maker = if last { "rbind" } else { "lbind" };
                format!(r#"{{"f":"{maker}","a":[{},{}]}}"#, named(self.made.ops[0]), fixed.to_text())
            }
        };
        let text = self.made.ops[1..]
            .iter()
            .fold(first, |inner, &outer| format!(r#"{{"f":"compose","a":[{},{inner}]}}"#, named(outer)));
        text.parse().unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// What the definition says.
    fn outcome(&self, sample: usize) -> Outcome {
        let container = self.containers[sample].value();
        let closure = || match (&self.made.fixed, &self.fixed[sample]) {
            (Some(_), fixed) => fixed.clone().map(|fixed| self.closure(&fixed)),
            _ => Ok(self.closure(&Value::None)),
        };
        match self.gather {
            Gather::Call => {
                let (f, x) = (closure()?, container?);
                let all = call("rapply", &[format!(r#"{{"t":[{}]}}"#, f.to_text()).parse().unwrap(), x])?;
                call("first", &[all])
            }
            Gather::Mapply | Gather::Apply => call(self.prim().name(), &[closure()?, container?]),
            _ => {
                let container = container?;
                call(self.prim().name(), &[container, closure()?])
            }
        }
    }

    fn prim(&self) -> Prim {
        let of = |prim: &&Prim| Gather::of(**prim) == Some(self.gather);
        *Prim::ALL.iter().find(of).unwrap_or(&Prim::Identity)
    }
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
