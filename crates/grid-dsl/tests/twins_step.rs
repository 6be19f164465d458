//! Steps of the wavefront: every operation against the definition of its primitive, and CUDA against the CPU. What a
//! device spills is evaluated by the primitive itself, as the executor does. Everything is exact.

mod calls;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{
    Arena, GridBackend, HEAD, Instruction, Op, PAYLOAD, Packed, Slot, Spill, put, put_all, step, take, take_packed,
};
use grid_dsl::{ErrClass, Prim, Value, call};

use calls::{OPERAND_SLOTS, Operand, Outcome, any_grid, any_pair, any_patch, load, location, operand, output};

/// One call, with operands of two samples.
#[derive(Clone, Debug)]
struct Call {
    op: Op,
    key: Prim,
    operands: [Vec<Operand>; 2],
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

fn any_call(ops: std::ops::Range<usize>) -> impl Strategy<Value = Call> {
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
struct Case {
    calls: Vec<Call>,
    /// What has a value has it from the device: nothing of it is spilled.
    here: bool,
}

fn cases(ops: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    vec(any_call(ops), 1..8).prop_map(|calls| Case { calls, here: false })
}

/// Every function that operations on objects know, on lines, squares, rectangles, corners and a single cell.
fn functions(ops: std::ops::Range<usize>) -> Vec<Case> {
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
    known.chunks(16).map(case(true)).chain(others.chunks(16).map(case(false))).collect()
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
fn leftmost(ops: std::ops::Range<usize>) -> Vec<Case> {
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
    calls.chunks(24).map(|calls| Case { calls: calls.to_vec(), here: false }).collect()
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
fn forms(ops: std::ops::Range<usize>) -> Vec<Case> {
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
    calls.chunks(64).map(|calls| Case { calls: calls.to_vec(), here: false }).collect()
}

/// Random calls behind those.
fn all(ops: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    starting_with([functions(ops.clone()), leftmost(ops.clone()), forms(ops.clone())].concat(), cases(ops))
}

/// Asks objects of one colour for it, over all colours that a cell can hold.
fn colours() -> impl Strategy<Value = Case> {
    let object = || {
        (-128..128, vec(location(), 1..4))
            .prop_map(|(colour, at)| vec![Operand::Value(Value::object(at.into_iter().map(|(i, j)| (colour, i, j))))])
    };
    let call = (object(), object()).prop_map(|(a, b)| Call { op: Op::Color, key: Prim::Color, operands: [a, b] });
    vec(call, 4..8).prop_map(|calls| Case { calls, here: false })
}

impl Call {
    /// What the primitive says.
    fn outcome(&self, sample: usize) -> Outcome {
        let mut values =
            self.operands[sample].iter().map(Operand::value).collect::<std::result::Result<Vec<_>, _>>()?;
        if let Some(at) = self.op.function_at() {
            values.insert(at, format!("{{\"f\":\"{}\"}}", self.key.name()).parse().unwrap());
        }
        call(self.op.prim().name(), &values)
    }
}

/// Results of all calls, call by call, on a device.
fn on_device<B: GridBackend>(b: &B, calls: &[Call]) -> Result<Vec<Slot>> {
    const SLOTS: usize = OPERAND_SLOTS + 1;
    let mut arena = Arena::new(b, calls.len() * SLOTS, 2)?;
    let mut instructions = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let slot = |k: usize| (n * SLOTS + k) as u32;
        load(b, &mut arena, n * SLOTS, &call.operands)?;
        let (operands, target) = ([0, 1, 2, 3].map(slot), slot(OPERAND_SLOTS));
        instructions.push(Instruction { op: call.op, target, operands, key: call.op.key(call.key).unwrap_or(0) });
    }
    step(b, &mut arena, &instructions)?;
    let results: Result<Vec<_>> = (0..calls.len()).map(|n| arena.read(b, n * SLOTS + OPERAND_SLOTS)).collect();
    Ok(results?.concat())
}

fn run<B: GridBackend>(b: &B, Case { calls, here }: &Case) -> Result<Outputs> {
    let slots = on_device(b, calls)?;
    Ok(output(slots.into_iter().enumerate().map(|(n, slot)| match slot {
        Slot::Known(outcome) => outcome,
        Slot::Spilled(_) => calls[n / 2].outcome(n % 2).map(|value| if *here { Value::None } else { value }),
    })))
}

fn expected(case: &Case) -> Outputs {
    output(case.calls.iter().flat_map(|call| [call.outcome(0), call.outcome(1)]))
}

const WRITERS: usize = Op::Fill as usize;
const FINDERS: usize = Op::Ofcolor as usize;
const SHAPES: usize = Op::Toindices as usize;
const ADDED: usize = Op::Lbind as usize;

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

twins! {
    kernels = ["grid_step", "grid_step_labels"];
    /// values: everything is exact
    moves: all(0..WRITERS), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    writes: all(WRITERS..FINDERS), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    finds: all(FINDERS..SHAPES), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    relations: all(ADDED..Op::ALL.len()), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    shapes: all(SHAPES..ADDED), Case => |b, c| run(b, c), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// values: everything is exact
    colours: colours(), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
}

/// Where an operation gave no value on the device although all was plain, it would prove nothing above.
#[test]
fn every_operation_gives_values_on_the_device() {
    use gpu_core::testing::proptest::strategy::ValueTree;
    use gpu_core::testing::proptest::test_runner::TestRunner;
    let (b, mut runner) = (Cpu::new(), TestRunner::deterministic());
    for (at, &op) in Op::ALL.iter().enumerate() {
        let calls: Vec<Call> = (0..40).map(|_| any_call(at..at + 1).new_tree(&mut runner).unwrap().current()).collect();
        let slots = on_device(&b, &calls).unwrap();
        let known = slots.iter().filter(|slot| matches!(slot, Slot::Known(Ok(_)))).count();
        let good = calls.iter().flat_map(|c| [c.outcome(0), c.outcome(1)]).flatten().count();
        // Widths and shapes that must agree seldom do.
        assert!(known * 8 >= good && known > 4, "{op:?}: {known} values on the device, {good} there are");
    }
}

#[test]
fn what_spills_has_its_reason() {
    let b = Cpu::new();
    let mut arena = Arena::new(&b, 4, 1).unwrap();
    let mut result = |op: Op, x: Value, y: Value| {
        arena.write(&b, 0, &[Slot::Known(Ok(x))]).unwrap();
        arena.write(&b, 1, &[Slot::Known(Ok(y))]).unwrap();
        step(&b, &mut arena, &[Instruction { op, target: 2, operands: [0, 1, 1, 1], key: 0 }]).unwrap();
        arena.read(&b, 2).unwrap().remove(0)
    };
    let grid = |h: usize| Value::grid(vec![vec![1; 20]; h]);
    assert_eq!(result(Op::Hconcat, grid(3), grid(3)), Slot::Spilled(Spill::Size));
    assert_eq!(result(Op::Hconcat, grid(33), grid(3)), Slot::Spilled(Spill::Operand));
    assert_eq!(result(Op::Astuple, grid(3), Value::Int(1)), Slot::Spilled(Spill::Kind));
    assert_eq!(result(Op::Hsplit, grid(3), Value::Int(21)), Slot::Spilled(Spill::Class));
    assert_eq!(result(Op::Hconcat, grid(3), Value::Int(1)), Slot::Known(Err(ErrClass::Type)));
    assert_eq!(result(Op::Downscale, grid(3), Value::Int(0)), Slot::Known(Err(ErrClass::DivZero)));
    assert_eq!(result(Op::Downscale, grid(3), Value::Int(2)), Slot::Known(Ok(Value::grid(vec![vec![1; 10]; 2]))));
    let wrong = step(&b, &mut arena, &[Instruction { op: Op::Add, target: 2, operands: [0, 2, 0, 0], key: 0 }]);
    assert!(wrong.unwrap_err().to_string().contains("Add reads slot 2 of 4"));
    let wrong = step(&b, &mut arena, &[Instruction { op: Op::Add, target: 4, operands: [0; 4], key: 0 }]);
    assert!(wrong.unwrap_err().to_string().contains("writes slot 4 of 4"));
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn cuda_spills_where_the_cpu_does() {
    use gpu_core::testing::proptest::strategy::ValueTree;
    use gpu_core::testing::proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = any_call(0..Op::ALL.len());
    let calls: Vec<Call> = (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let spilled = |slots: Vec<Slot>| slots.iter().map(|s| matches!(s, Slot::Spilled(_))).collect::<Vec<_>>();
    let on_cpu = spilled(on_device(&Cpu::new(), &calls).unwrap());
    assert_eq!(spilled(on_device(&gpu_core::testing::cuda(), &calls).unwrap()), on_cpu);
}
