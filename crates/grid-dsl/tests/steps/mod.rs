//! Calls of single operations, random and known ones.

#![allow(unreachable_pub, reason = "each test file is a crate")]

use std::ops::Range;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::starting_with;
use grid_dsl::kernels::Op;
use grid_dsl::{ErrClass, Prim, Value, call};

use crate::calls::{Operand, Outcome, operand};

/// One call, with operands of two samples.
#[derive(Clone, Debug)]
pub struct Call {
    pub op: Op,
    pub key: Prim,
    pub operands: [Vec<Operand>; 2],
}

const KEYS: [Prim; 11] = [
    Prim::Size,
    Prim::Height,
    Prim::Width,
    Prim::Uppermost,
    Prim::Lowermost,
    Prim::Leftmost,
    Prim::Rightmost,
    Prim::Color,
    Prim::Numcolors,
    Prim::Mostcolor,
    Prim::Leastcolor,
];

const PREDICATES: [Prim; 4] = [Prim::Vline, Prim::Hline, Prim::Square, Prim::Portrait];

const MAPS: [Prim; 11] = [
    Prim::Hmirror,
    Prim::Vmirror,
    Prim::Dmirror,
    Prim::Cmirror,
    Prim::Normalize,
    Prim::Toindices,
    Prim::Backdrop,
    Prim::Box,
    Prim::Corners,
    Prim::Outbox,
    Prim::Inbox,
];

/// Kinds of operands: grid, colour, pair, patch, objects, flag, number or pair, indices, small number, element, anything.
// In the order of the operations, since one that is missing would not be found otherwise.
#[allow(clippy::match_same_arms)]
fn kinds(op: Op) -> &'static str {
    match op {
        Op::Crop => "gpp",
        Op::Subgrid | Op::Toobject => "hg",
        Op::Upscale => "ef",
        Op::Hupscale | Op::Vupscale | Op::Downscale | Op::Hsplit | Op::Vsplit => "gf",
        Op::Hconcat | Op::Vconcat => "gg",
        Op::Cellwise => "ggc",
        Op::Replace | Op::Switch => "gcc",
        Op::Canvas => "cs",
        Op::Fill | Op::Underfill => "gch",
        Op::Cover | Op::Paint | Op::Underpaint => "gh",
        Op::Move => "ghp",
        Op::Ofcolor => "gc",
        Op::Objects => "gbbb",
        Op::Merge | Op::Argmax | Op::Argmin | Op::Sfilter | Op::Mfilter | Op::Extract => "o",
        Op::Size | Op::First | Op::Last | Op::Identity => "a",
        Op::Colorfilter | Op::Sizefilter => "oc",
        Op::Mostcolor
        | Op::Leastcolor
        | Op::Numcolors
        | Op::Height
        | Op::Width
        | Op::Shape
        | Op::Portrait
        | Op::Square
        | Op::Hmirror
        | Op::Vmirror
        | Op::Dmirror
        | Op::Cmirror => "e",
        Op::Colorcount => "ec",
        Op::Index => "gp",
        Op::Recolor => "ch",
        Op::Shift => "hp",
        Op::Combine | Op::Intersection | Op::Difference => "hh",
        Op::Gravitate | Op::Position | Op::Hmatching | Op::Vmatching | Op::Manhattan | Op::Adjacent => "hh",
        Op::Bordering => "hg",
        Op::Frontiers => "g",
        Op::Initset => "p",
        Op::Insert | Op::Remove | Op::Contained => "px",
        Op::Occurrences => "gh",
        Op::Lbind | Op::Rbind => "a",
        Op::Repeat => "gf",
        Op::Mostcommon => "t",
        Op::Leastcommon => "v",
        Op::Order | Op::Totuple | Op::Mapply => "o",
        Op::Equality => "aa",
        Op::Branch => "baa",
        Op::Add | Op::Subtract | Op::Multiply => "nn",
        Op::Invert | Op::Double | Op::Halve | Op::Increment | Op::Decrement | Op::Crement | Op::Sign => "n",
        Op::Even | Op::Positive | Op::Flip | Op::Toivec | Op::Tojvec => "c",
        Op::Both | Op::Either => "bb",
        Op::Greater | Op::Astuple => "cc",
        Op::Dneighbors | Op::Ineighbors | Op::Neighbors | Op::Hfrontier | Op::Vfrontier => "p",
        Op::Connect => "pp",
        op if (op as u32) < Op::Crop as u32 || matches!(op, Op::Compress | Op::Asindices | Op::Asobject) => "g",
        Op::Partition | Op::Fgpartition => "g",
        _ => "h",
    }
}

pub fn any_call(ops: Range<usize>) -> impl Strategy<Value = Call> {
    (ops, 0..KEYS.len()).prop_flat_map(|(op, key)| {
        let op = Op::ALL[op];
        let key = [KEYS[key], PREDICATES[key % 4], MAPS[key % MAPS.len()]].into_iter().find(|k| op.key(*k).is_some());
        let key = key.unwrap_or(Prim::Size);
        let operands: Vec<_> = kinds(op).chars().map(operand).collect();
        (operands.clone(), operands).prop_map(move |(first, second)| Call { op, key, operands: [first, second] })
    })
}

/// Calls of one step.
#[derive(Clone, Debug)]
pub struct Case {
    pub calls: Vec<Call>,
    /// What has a value has it from the device: nothing of it is spilled.
    pub here: bool,
}
/// Every function that operations on objects know, on lines, squares, rectangles, corners and a single cell.
fn functions(ops: Range<usize>) -> Vec<Case> {
    let grids = [
        "102203304440/100003304440/105000000000/000066007000/880066007700/800066000000",
        "0400110/0400101/0433000/0033022/6000002/6605550",
    ];
    let objects = |digits| vec![Operand::Objects(Value::grid_from_digits(digits).unwrap(), [true, false, true])];
    let of = |op: Op, key: Prim| op.key(key).map(|_| Call { op, key, operands: grids.map(objects) });
    let known = Op::ALL[ops].iter().filter(|op| op.function_at().is_some() && kinds(**op) == "o");
    let keys = || KEYS.into_iter().chain(PREDICATES).chain(MAPS);
    let calls: Vec<Call> = known.flat_map(|&op| keys().filter_map(move |key| of(op, key))).collect();
    // Whatever the definition gives is given by a device, where it has room for it.
    let known = |call: &Call| [0, 1].iter().all(|&sample| call.outcome(sample).is_ok_and(|value| has_room(&value)));
    let (known, others): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(known);
    let case = |here| move |calls: &[Call]| Case { calls: calls.to_vec(), here };
    known.chunks(64).map(case(true)).chain(others.chunks(64).map(case(false))).collect()
}

/// Whether an object, or each of several, lies in a device's window, with one colour a location.
fn has_room(value: &Value) -> bool {
    let items = value.items().unwrap_or_default();
    let pair = |v: &Value| v.as_pair().or_else(|| v.items()?.get(1)?.as_pair());
    let Some(all) = items.iter().map(pair).collect::<Option<Vec<_>>>() else { return items.iter().all(has_room) };
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    distinct.len() == all.len() && all.iter().all(|(i, j)| (-1..31).contains(i) && (-1..31).contains(j))
}

/// Every operation on several operands: the leftmost error is the result, and the host may have yet to tell it.
fn leftmost(ops: Range<usize>) -> Vec<Case> {
    let (failed, told) = (Operand::Failed(ErrClass::Index), Operand::Failed(ErrClass::Range));
    let untold = |class| Operand::Untold(Err(class));
    let pairs = [[untold(ErrClass::Empty), failed.clone()], [failed.clone(), untold(ErrClass::Empty)], [told, failed]];
    let of = |op: Op, [first, then]: &[Operand; 2]| {
        let operands: Vec<Operand> =
            [first].into_iter().chain(std::iter::repeat(then)).take(op.operands()).cloned().collect();
        Call { op, key: Prim::Size, operands: [operands.clone(), operands] }
    };
    let several = Op::ALL[ops].iter().filter(|op| op.function_at().is_none() && op.operands() > 1);
    let calls: Vec<Call> = several.flat_map(|&op| pairs.iter().map(move |pair| of(op, pair))).collect();
    calls.chunks(64).map(|calls| Case { calls: calls.to_vec(), here: false }).collect()
}

/// Values of every form that an operand may have, whatever the operation asks for.
fn every_form() -> Vec<Operand> {
    let (grid, bare) = (|digits: &str| Value::grid_from_digits(digits).unwrap(), [true, false, true]);
    let values = [
        Value::None,
        Value::Bool(true),
        Value::Int(0),
        Value::Int(-1),
        Value::Int(200),
        Value::pair(0, 2),
        Value::pair(i32::MAX, 3),
        Value::grid(Vec::<Vec<i32>>::new()),
        Value::grid(vec![vec![]; 2]),
        grid("0120/0110/2203"),
        grid("010/111"),
        grid("13/20"),
        Value::indices([]),
        Value::indices([(0, 0), (1, 2)]),
        Value::indices([(3, 1), (4, 1)]),
        Value::object([(1, 0, 0), (2, 1, 1)]),
        Value::object([(7, -1, 2)]),
    ];
    let made = [
        Operand::Objects(grid("0120/0110/2203"), bare),
        Operand::Strips(grid("0120/0110/2203"), Op::Hsplit, 2),
        Operand::Strips(grid("0120/0110/2203"), Op::Vsplit, 3),
        Operand::Strips(grid("0120/0110/2203"), Op::Repeat, 2),
        Operand::Strips(grid("0120/1111/2203"), Op::Frontiers, 0),
        Operand::Strips(grid("2/2/1"), Op::Frontiers, 0),
        Operand::Strips(grid("4"), Op::Frontiers, 0),
        Operand::Strips(grid("3311"), Op::Frontiers, 0),
        Operand::Strips(grid("222/120/222"), Op::Frontiers, 0),
        Operand::Strips(grid("22/22"), Op::Frontiers, 0),
    ];
    values.map(Operand::Value).into_iter().chain(made).collect()
}

/// Every operation with an operand of every form at every place: a device names the errors of the definition.
fn forms(ops: Range<usize>) -> Vec<Case> {
    let forms = every_form();
    // What an operation asks for is at one of these, for each of its operands.
    let usual = |kind: char| match kind {
        'g' | 'e' => forms[9].clone(),
        'c' | 'n' | 'b' => Operand::Value(Value::Int(1)),
        'f' => Operand::Value(Value::Int(2)),
        'p' | 's' => Operand::Value(Value::pair(1, 1)),
        'x' => forms[13].clone(),
        'o' => forms[17].clone(),
        't' | 'v' => forms[18].clone(),
        _ => forms[15].clone(),
    };
    let of = |op: Op| {
        let keys = KEYS.into_iter().chain(PREDICATES).chain(MAPS);
        let keys: Vec<Prim> = keys.filter(|key| op.key(*key).is_some()).collect();
        let keys = if op.function_at().is_some() { keys } else { vec![Prim::Size] };
        let usual: Vec<Operand> = kinds(op).chars().map(usual).collect();
        let mut calls = Vec::new();
        for (at, form) in (0..usual.len()).flat_map(|at| forms.iter().map(move |form| (at, form))) {
            let mut operands = usual.clone();
            operands[at] = form.clone();
            // Each function comes with some of the forms.
            let key = keys[calls.len() % keys.len()];
            calls.push(Call { op, key, operands: [operands.clone(), operands] });
        }
        calls
    };
    let calls: Vec<Call> = Op::ALL[ops].iter().flat_map(|&op| of(op)).collect();
    calls.chunks(256).map(|calls| Case { calls: calls.to_vec(), here: false }).collect()
}

/// A grid of more rows than a turn of a loop over them takes.
fn sown(pattern: Pattern, h: i32, w: i32) -> Value {
    let mixed = |i: i32, j: i32| ((32 * i + j) as u32).wrapping_mul(0x9E37_79B9) >> 24;
    let cell = |i: i32, j: i32| match (pattern, i % 4, j % 7) {
        (Pattern::Ruled, 1, _) => 3,
        (Pattern::Ruled, _, 2) => 4,
        (Pattern::Ruled, ..) => (mixed(i, j) % 3) as i32,
        (Pattern::Dense, ..) => (mixed(i, j) % 5) as i32,
        (Pattern::Apart, 3, _) | (Pattern::Apart, _, 5 | 6) => 0,
        (Pattern::Apart, ..) => 1 + (mixed(i, j) % 3) as i32,
    };
    Value::grid((0..h).map(|i| (0..w).map(|j| cell(i, j)).collect::<Vec<_>>()))
}

/// Rows and columns of one colour, many small components, and blocks of several colours.
#[derive(Clone, Copy)]
enum Pattern {
    Ruled,
    Dense,
    Apart,
}

/// Every operation on large operands: functions of objects with every key, on objects of one and of several colours.
fn large(ops: Range<usize>) -> Vec<Case> {
    let scattered = |h: i32, w: i32, colour: fn(i32) -> i32| {
        let at = (0..60).map(move |k| (k * 7 % h, k * 5 % w, k));
        Value::object(at.map(|(i, j, _)| (colour(i * w + j), i, j)))
    };
    let of = |op: Op, (h, w): (i32, i32), pattern: Pattern, flags: [bool; 3], key: Prim| {
        let operand = |(at, kind): (usize, char)| {
            Operand::Value(match kind {
                'o' | 'a' if at == 0 => return Operand::Objects(sown(pattern, h, w), flags),
                't' => return Operand::Strips(sown(pattern, h, w), Op::Hsplit, 3),
                'v' => return Operand::Strips(sown(pattern, h, w), Op::Vsplit, 3),
                'g' | 'e' if at == 0 => sown(pattern, h, w),
                'g' | 'e' => sown(Pattern::Dense, h, w),
                'h' if op == Op::Occurrences => Value::object([(1, 0, 0), (2, 0, 1)]),
                'h' if at == 0 => scattered(h, w, |k| k % 4),
                'h' => scattered(w, h, |_| 3),
                'x' => Value::indices((0..60).map(|k| (k * 7 % h, k * 5 % w))),
                'p' => Value::pair(h / 2, w / 2),
                's' => Value::pair(h, w),
                'b' => Value::Bool(flags[at % 3]),
                _ => Value::Int(2),
            })
        };
        let operands: Vec<Operand> = kinds(op).chars().enumerate().map(operand).collect();
        Call { op, key, operands: [operands.clone(), operands] }
    };
    let every = |op: Op| {
        let keys = || KEYS.into_iter().chain(PREDICATES).chain(MAPS).filter(move |key| op.key(*key).is_some());
        let keys: Vec<Prim> = if op.function_at().is_some() { keys().collect() } else { vec![Prim::Size] };
        let all = [
            ((13, 22), Pattern::Ruled, [true, true, true]),
            ((22, 11), Pattern::Dense, [true, true, false]),
            ((22, 11), Pattern::Dense, [true, false, true]),
            ((15, 32), Pattern::Apart, [false, true, true]),
            ((31, 14), Pattern::Apart, [false, false, true]),
        ];
        let all = all.into_iter().flat_map(move |large| keys.clone().into_iter().map(move |key| (large, key)));
        all.map(move |((sides, pattern, flags), key)| of(op, sides, pattern, flags, key))
    };
    let calls: Vec<Call> = Op::ALL[ops].iter().flat_map(|&op| every(op)).collect();
    calls.chunks(128).map(|calls| Case { calls: calls.to_vec(), here: false }).collect()
}

/// Patches as far away as a device keeps them.
fn far(ops: Range<usize>) -> Vec<Case> {
    const FAR: i32 = 1 << 20;
    let of = |op: Op, operand: &dyn Fn(char, i32, i32) -> Value| {
        let both = [(FAR, -FAR), (-FAR, FAR)];
        Call {
            op,
            key: Prim::Size,
            operands: both.map(|(i, j)| kinds(op).chars().map(|kind| Operand::Value(operand(kind, i, j))).collect()),
        }
    };
    let near = [Op::Shift, Op::Insert, Op::Remove, Op::Initset, Op::Recolor, Op::Toindices, Op::Backdrop];
    let shapes = [Op::Hmirror, Op::Vmirror, Op::Dmirror, Op::Cmirror, Op::Box, Op::Corners, Op::Delta];
    let pairs = [Op::Combine, Op::Intersection, Op::Difference];
    let all = [&near[..], &shapes, &pairs].concat();
    let calls = all.into_iter().filter(|&op| ops.contains(&(op as usize))).flat_map(|op| {
        let at = move |kind, i, j| match kind {
            'c' => Value::Int(3),
            // From (0, 0), or a cell beside the first one.
            'p' if op == Op::Shift => Value::pair(i, j),
            'p' => Value::pair(i, j + i32::from(op == Op::Remove)),
            _ if op == Op::Shift => Value::indices([(0, 0), (1, 2)]),
            _ => Value::indices([(i, j), (i, j + 1), (i + 1, j + 2)]),
        };
        let coloured = move |kind, i, j| match kind {
            'e' | 'h' if op == Op::Shift => Value::object([(2, 0, 0), (4, 1, 2)]),
            'e' | 'h' => Value::object([(2, i, j), (4, i + 1, j + 2)]),
            _ => at(kind, i, j),
        };
        [of(op, &at), of(op, &coloured)]
    });
    let known = |call: &Call| [0, 1].iter().all(|&sample| call.outcome(sample).is_ok());
    let calls: Vec<Call> = calls.filter(known).collect();
    calls.chunks(64).map(|calls| Case { calls: calls.to_vec(), here: true }).collect()
}

impl Call {
    /// What the primitive says.
    pub fn outcome(&self, sample: usize) -> Outcome {
        let mut values =
            self.operands[sample].iter().map(Operand::value).collect::<std::result::Result<Vec<_>, _>>()?;
        if let Some(at) = self.op.function_at() {
            values.insert(at, format!("{{\"f\":\"{}\"}}", self.key.name()).parse().unwrap());
        }
        call(self.op.prim().name(), &values)
    }
}

fn cases(ops: Range<usize>) -> impl Strategy<Value = Case> {
    vec(any_call(ops), 1..8).prop_map(|calls| Case { calls, here: false })
}

/// Known calls, and random ones behind those.
pub fn all(ops: Range<usize>) -> impl Strategy<Value = Case> {
    let known = [functions, leftmost, far, large, forms].map(|known: fn(_) -> Vec<Case>| known(ops.clone())).concat();
    starting_with(known, cases(ops))
}
