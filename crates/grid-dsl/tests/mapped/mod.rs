//! Maps over the elements of containers, random and known ones.

#![allow(unreachable_pub, reason = "each test file is a crate")]

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use grid_dsl::kernels::{Gather, Op};
use grid_dsl::{ErrClass, Prim, Value, call};

use crate::calls::{Operand, Outcome, operand};

/// A function: the last of some operations, each of which gets what the one before gave, the first one an element. The first
/// may have a value fixed in front of the element or behind it.
#[derive(Clone, Debug)]
pub struct Made {
    pub ops: Vec<Op>,
    pub fixed: Option<bool>,
}

/// One map, on two samples.
#[derive(Clone, Debug)]
pub struct Map {
    pub gather: Gather,
    pub made: Made,
    pub containers: Vec<Operand>,
    pub fixed: Vec<Outcome>,
}

/// Maps, and whether a device gives all that has a value.
#[derive(Clone, Debug)]
pub struct Case {
    pub maps: Vec<Map>,
    pub here: bool,
}

/// Rows and columns where the patches of a device may begin, above and below 0.
const FAR: i32 = 1 << 20;

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

pub fn any_map() -> impl Strategy<Value = Map> {
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
pub fn known() -> Vec<Case> {
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
    // Objects whose cells meet at corners alone, in rows of every turn of a loop, to the left and to the right.
    let corners = [
        "000010002/000100020/001000200/010002000/100020003/000200030/002000300/020003000",
        "100020000/010002000/001000200/000100020/300010002/030001000/003000100/000300010",
    ]
    .map(grid);
    let corners = corners.map(|grid| Operand::Objects(grid, [true, true, true]));
    maps.push(of(Gather::Apply, &corners, &[Op::Identity], None));
    maps.push(of(Gather::Apply, &corners, &[Op::Recolor], Some((false, Ok(Value::Int(7))))));
    maps.push(of(Gather::Argmax, &corners, &[Op::Size], None));
    // Dozens of objects of one colour, and lines in every row or column of a turn of a loop.
    let rows = |h: i32, w: i32, cell: &dyn Fn(i32, i32) -> i32| {
        Value::grid((0..h).map(|i| (0..w).map(|j| cell(i, j)).collect::<Vec<_>>()))
    };
    let mixed = |i: i32, j: i32| (((32 * i + j) as u32).wrapping_mul(0x9E37_79B9) >> 24) as i32;
    let sown = [rows(13, 17, &|i, j| mixed(i, j) % 4), rows(18, 9, &|i, j| mixed(i, j) % 3)];
    for diagonal in [false, true] {
        let sown = sown.clone().map(|grid| Operand::Objects(grid, [true, diagonal, false]));
        maps.push(of(Gather::Apply, &sown, &[Op::Identity], None));
        maps.push(of(Gather::Apply, &sown, &[Op::Center], None));
        maps.push(of(Gather::Mapply, &sown, &[Op::Corners], None));
        maps.push(of(Gather::Argmin, &sown, &[Op::Center], None));
        maps.push(of(Gather::Mfilter, &sown, &[Op::Size, Op::Even], None));
    }
    let ruled = [rows(21, 9, &|i, _| i * 7 % 10), rows(9, 21, &|_, j| j * 3 % 10)];
    let ruled = ruled.map(|grid| Operand::Strips(grid, Op::Frontiers, 0));
    maps.push(of(Gather::Apply, &ruled, &[Op::Center], None));
    maps.push(of(Gather::Mapply, &ruled, &[Op::Identity], None));
    maps.push(of(Gather::Extract, &ruled, &[Op::Color, Op::Even], None));
    // Parts that have no room side by side.
    let wide = [rows(12, 20, &|i, j| (i * 3 + j) % 7), rows(14, 19, &|i, j| (i + j * 2) % 9)];
    let wide = wide.map(|grid| Operand::Strips(grid, Op::Vsplit, 2));
    maps.push(of(Gather::Apply, &wide, &[Op::Vmirror], None));
    maps.push(of(Gather::Mapply, &wide, &[Op::Vmirror], None));
    maps.push(of(Gather::Sfilter, &wide, &[Op::Height], None));
    maps.push(of(Gather::Mfilter, &wide, &[Op::Height], None));
    // Locations as far away as a device keeps them.
    let away = [(FAR, -FAR), (-FAR, FAR)].map(|(i, j)| Operand::Value(Value::indices([(i, j), (i + 2, j + 3)])));
    maps.push(of(Gather::Apply, &away, &[Op::Identity], None));
    let alone = [(FAR, -FAR), (-FAR, FAR)].map(|at| Operand::Value(Value::indices([at])));
    maps.push(of(Gather::Mapply, &alone, &[Op::Initset], None));
    maps.push(of(Gather::Sfilter, &away, &[Op::First, Op::Even], None));
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
    let mut cases: Vec<Case> = maps.chunks(32).map(|maps| Case { maps: maps.to_vec(), here: true }).collect();
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
    cases.extend(errors.chunks(32).map(|maps| Case { maps: maps.to_vec(), here: false }));
    let lefts = [untold, failed].map(|left| of(Gather::Argmax, &left, &[Op::Manhattan], fixed()));
    cases.insert(0, Case { maps: lefts.to_vec(), here: false });
    // The union is one column too wide, by the second cell of what is moved.
    let far = [[(0, 0), (0, 31)], [(5, 31), (2, 0)]].map(|at| Operand::Value(Value::indices(at)));
    let two = Some((false, Ok(Value::object([(3, 0, 0), (3, 0, 1)]))));
    cases.insert(0, Case { maps: vec![of(Gather::Mapply, &far, &[Op::Shift], two)], here: false });
    // Locations that are too far from each other.
    let stretched = [[(0, 0), (20, 0)], [(3, 1), (0, 25)]].map(|at| Operand::Value(Value::indices(at)));
    cases.insert(0, Case { maps: vec![of(Gather::Apply, &stretched, &[Op::Double], None)], here: false });
    // Equal values, of which one is no number.
    let mut equal = of(Gather::Argmin, &objects, &[Op::Recolor, Op::Outbox], Some((false, Ok(Value::Int(0)))));
    equal.fixed[1] = Ok(Value::Bool(false));
    cases.insert(0, Case { maps: vec![equal], here: false });
    cases
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
    pub fn outcome(&self, sample: usize) -> Outcome {
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

    pub fn prim(&self) -> Prim {
        let of = |prim: &&Prim| Gather::of(**prim) == Some(self.gather);
        *Prim::ALL.iter().find(of).unwrap_or(&Prim::Identity)
    }
}
