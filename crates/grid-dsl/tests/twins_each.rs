//! Maps over the elements of containers, call by call: against the definition of the primitive with a closure, and CUDA
//! against the CPU. What has no form on a device is evaluated by the definition, as the executor does. Everything is exact.

mod calls;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{
    Arena, Each, Gather, GridBackend, Instruction, Laid, Op, Slot, Spill, count_each, gather_each, spread_each, step,
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
    for gather in [Gather::Sfilter, Gather::Mfilter, Gather::Mapply, Gather::Apply] {
        maps.push(of(gather, &empty, &[Op::Size], None));
    }
    maps.push(of(Gather::Call, &grids.map(Operand::Value), &[Op::Rot90, Op::Tophalf], None));
    maps.push(of(Gather::Call, &indices, &[Op::Shift], Some((true, Ok(Value::pair(2, 3))))));
    let mut cases: Vec<Case> = maps.chunks(8).map(|maps| Case { maps: maps.to_vec(), here: true }).collect();
    // The leftmost error may be one that the host has yet to tell.
    let untold = [Err(ErrClass::Empty), Ok(Value::indices([(1, 2)]))].map(Operand::Untold);
    let failed = [ErrClass::Empty, ErrClass::Range].map(Operand::Failed);
    let fixed = || Some((false, Err(ErrClass::Index)));
    let lefts = [untold, failed].map(|left| of(Gather::Argmax, &left, &[Op::Manhattan], fixed()));
    cases.insert(0, Case { maps: lefts.to_vec(), here: false });
    // The union is one column too wide, by the second cell of what is moved.
    let far = [[(0, 0), (0, 31)], [(5, 31), (2, 0)]].map(|at| Operand::Value(Value::indices(at)));
    let two = Some((false, Ok(Value::object([(3, 0, 0), (3, 0, 1)]))));
    cases.insert(0, Case { maps: vec![of(Gather::Mapply, &far, &[Op::Shift], two)], here: false });
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

/// The results of one map for both samples.
fn on_device<B: GridBackend>(b: &B, map: &Map) -> Result<Vec<Slot>> {
    const FIXED_AT: usize = OPERAND_SLOTS;
    const TARGET: usize = OPERAND_SLOTS + 1;
    let mut arena = Arena::new(b, OPERAND_SLOTS + 2, 2)?;
    load(b, &mut arena, 0, &[vec![map.containers[0].clone()], vec![map.containers[1].clone()]])?;
    arena.write(b, FIXED_AT, &[0, 1].map(|s| Slot::Known(map.fixed[s].clone())))?;
    let is_call = map.gather == Gather::Call;
    let fixed = map.made.fixed.is_some();
    let container_first = !is_call && !matches!(map.gather, Gather::Mapply | Gather::Apply);
    let each = |s: usize| {
        let mut slots = if fixed { vec![FIXED_AT] } else { Vec::new() };
        slots.insert(if container_first { 0 } else { slots.len() }, 0);
        let container = (!is_call).then_some(if container_first { 0 } else { slots.len() - 1 });
        let operands = slots.into_iter().map(|slot| (slot * 2 + s) as u32).collect();
        Each { gather: map.gather, target: (TARGET * 2 + s) as u32, operands, container }
    };
    let both = [each(0), each(1)];
    let counts = count_each(b, &mut arena, &both)?;
    let (mut laid, mut end) = (Vec::new(), 0);
    for (each, count) in both.into_iter().zip(counts) {
        if let Some(count) = count {
            laid.push(Laid { each, base: end, count });
            end += count;
        }
    }
    // An element, what is fixed, what a call is given; then calls.
    let (element, calls_at) = (u32::from(is_call) * (1 + u32::from(fixed)), 3);
    let mut elements = Arena::new(b, calls_at as usize + map.made.ops.len(), end.max(1) as usize)?;
    spread_each(b, &arena, &mut elements, &laid)?;
    for (at, &op) in (0..).zip(&map.made.ops) {
        let x = if at == 0 { element } else { calls_at + at - 1 };
        let operands = match map.made.fixed.filter(|_| at == 0) {
            Some(true) => [x, 1, 0, 0],
            Some(false) => [1, x, 0, 0],
            None => [x, 0, 0, 0],
        };
        step(b, &mut elements, &[Instruction { op, target: calls_at + at, operands, key: 0 }])?;
    }
    gather_each(b, &mut arena, &elements, &laid, calls_at..=calls_at + map.made.ops.len() as u32 - 1)?;
    arena.read(b, TARGET)
}

fn run<B: GridBackend>(b: &B, Case { maps, here }: &Case) -> Result<Outputs> {
    let mut all = Vec::new();
    for map in maps {
        for (sample, slot) in on_device(b, map)?.into_iter().enumerate() {
            all.push(match slot {
                Slot::Known(outcome) => outcome,
                Slot::Spilled(_) => map.outcome(sample).map(|value| if *here { Value::None } else { value }),
            });
        }
    }
    Ok(output(all))
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
    assert!(fails(&[each(0, &[6], Some(0))]).contains("6, the arena has 6"));
    assert!(fails(&[each(0, &[1], Some(1))]).contains("Argmax has no container"));
    assert!(fails(&[each(0, &[1], None)]).contains("Argmax has no container"));
    assert!(fails(&[each(0, &[2], Some(0)), each(0, &[3], Some(0))]).contains("0 is written by two maps"));
    assert!(fails(&[each(0, &[2], Some(0)), each(2, &[3], Some(0))]).contains("2 is read by a map and written by one"));
    let mut elements = Arena::new(&b, 1, 4).unwrap();
    let laid = |base: u32, count: u32| Laid { each: each(0, &[2, 4], Some(0)), base, count };
    let mut fails = |laid: Laid| spread_each(&b, &arena, &mut elements, &[laid]).unwrap_err().to_string();
    assert!(fails(laid(1, 2)).contains("0 is where this map begins"));
    assert!(fails(laid(0, 5)).contains("5 elements, the arena has room for 4"));
    assert!(fails(laid(0, 4)).contains("a map has 2 operands"));
    let wrong = gather_each(&b, &mut arena, &elements, &[laid(0, 4)], 0..=1).unwrap_err().to_string();
    assert!(wrong.contains("0 to 1, the arena has 1"), "{wrong}");
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
        (&objects, Gather::Sfilter, &[Op::Shape], Spill::Kind),
        (&objects, Gather::Mapply, &[Op::Size], Spill::Kind),
        (&objects, Gather::Apply, &[Op::Size], Spill::Kind),
        // The largest key of no elements is that of 0.
        (&Operand::Value(Value::indices([])), Gather::Valmax, &[Op::Identity], Spill::Class),
        (&objects, Gather::Mapply, &[Op::Normalize], Spill::Class),
    ] {
        let found = on_device(&Cpu::new(), &map(gather, container, ops)).unwrap();
        assert_eq!(found, vec![Slot::Spilled(why); 2], "{gather:?} {ops:?}");
    }
}
