//! Values in the CPU's fixed layouts as words of a device, and back.

use super::code::{FAR, bytes_to_words, cells_of, head, strip};
use super::objects::figure;
use super::value::labelled;
use super::{Form, HEAD, PAYLOAD, Spill};
use crate::error::{ErrClass, Result};
use crate::fast::{Patch, Val, at, colour_of, place, tint};
use crate::kernels::SIDE;
use crate::kernels::batch::CELLS;
use crate::prim::Prim;
use crate::value::Maker;

/// A head, and the payload of forms that have one.
pub(crate) type Words = ([i32; HEAD], Option<Box<[u32; PAYLOAD]>>);

/// The words of a value or of an error; what has no form is spilled with its reason.
pub(crate) fn words_of(value: &Result<Val>) -> Words {
    let plain = |form, a, b| (head(form, a, b, 0), None);
    let spilled = |why: Spill| plain(Form::Spilled, why as i32, 0);
    match value {
        Err(class) => plain(Form::Error, ErrClass::ALL.iter().position(|c| c == class).unwrap_or(0) as i32, 0),
        Ok(Val::None) => plain(Form::Nothing, 0, 0),
        Ok(Val::Bool(b)) => plain(Form::Bool, i32::from(*b), 0),
        Ok(Val::Int(n)) => plain(Form::Int, *n, 0),
        Ok(Val::Pair(i, j)) => plain(Form::Pair, *i, *j),
        Ok(Val::Grid(g)) if g.h > SIDE || g.w > SIDE => spilled(Spill::Size),
        Ok(Val::Grid(g)) => {
            let mut cells = [0; CELLS];
            for (row, out) in g.cells.chunks_exact(g.w).zip(cells.chunks_exact_mut(SIDE)) {
                row.iter().zip(out).for_each(|(&cell, out)| *out = cell as u8);
            }
            (head(Form::Grid, g.h as i32, g.w as i32, 0), Some(bytes_to_words(&cells, &[0; SIDE]).into()))
        }
        Ok(Val::Patch(patch)) => patch_words(patch).unwrap_or_else(spilled),
        Ok(other) => match other.items() {
            // Without elements a set is a patch, and a tuple a grid without rows; rows without elements are one, too.
            Ok(items) if items.is_empty() && other.is_set() => {
                (head(Form::Indices, 0, 0, 0), Some(Box::new([0; PAYLOAD])))
            }
            Ok(items) if other.is_tuple() && items.len() <= SIDE => {
                let empty = |k: usize| items.get(k).is_tuple() && items.get(k).items().is_ok_and(|row| row.is_empty());
                if (0..items.len()).all(empty) {
                    return (head(Form::Grid, items.len() as i32, 0, 0), Some(Box::new([0; PAYLOAD])));
                }
                spilled(Spill::Kind)
            }
            _ => spilled(Spill::Kind),
        },
    }
}

fn patch_words(patch: &Patch) -> std::result::Result<Words, Spill> {
    let bounds = patch.bounds();
    let near = |n: i32| (-FAR..=FAR).contains(&i64::from(n));
    if bounds.height() > SIDE as i32 || bounds.width() > SIDE as i32 || !near(bounds.top) || !near(bounds.left) {
        return Err(Spill::Size);
    }
    let (mut cells, mut masks) = ([0; CELLS], [0u32; SIDE]);
    for &key in &patch.keys {
        let (i, j) = at(key);
        let (r, c) = ((i - bounds.top) as usize, (j - bounds.left) as usize);
        if masks[r] >> c & 1 == 1 {
            // Two colours on one location.
            return Err(Spill::Class);
        }
        masks[r] |= 1 << c;
        cells[r * SIDE + c] = if patch.object { colour_of(key) as u8 } else { 0 };
    }
    let form = if patch.object { Form::Object } else { Form::Indices };
    Ok((head(form, bounds.top, bounds.left, 0), Some(bytes_to_words(&cells, &masks).into())))
}

/// Whether a head alone is the value.
pub(crate) fn is_plain(head: &[i32]) -> bool {
    [Form::Error, Form::Int, Form::Bool, Form::Pair, Form::Nothing].iter().any(|&form| head[0] == form as i32)
}

/// The set of some cells, with colours or without.
fn set(cells: impl Iterator<Item = (i32, i32, i32)>, object: bool) -> Val {
    let all: Vec<_> = cells.collect();
    let key = |&(c, i, j): &(i32, i32, i32)| Some(place(i, j)? | if object { tint(c)? } else { 0 });
    match all.iter().map(key).collect() {
        Some(keys) => Val::patch_of(keys, object),
        // Far away, where keys do not reach.
        None => Val::set(
            all.into_iter().map(|(c, i, j)| if object { Val::Cell(c, i, j) } else { Val::Pair(i, j) }).collect(),
        ),
    }
}

/// The value, or the error, of words; a payload may be empty where the head alone is the value.
pub(crate) fn decode_val(head: &[i32], payload: &[u32]) -> std::result::Result<Result<Val>, Spill> {
    let [form, a, b, c] = [head[0], head[1], head[2], head[3]];
    let is = |wanted: Form| form == wanted as i32;
    if is(Form::Error) {
        return Ok(Err(ErrClass::ALL[a as usize]));
    }
    if is(Form::Spilled) {
        return Err(Spill::of(a));
    }
    if is_plain(head) {
        return Ok(Ok(match form {
            _ if is(Form::Int) => Val::Int(a),
            _ if is(Form::Bool) => Val::Bool(a != 0),
            _ if is(Form::Pair) => Val::Pair(a, b),
            _ => Val::None,
        }));
    }
    let (cells, masks) = (cells_of(payload), &payload[CELLS / 4..]);
    let colour = |at: usize| i32::from(cells[at] as i8);
    let there = || (0..CELLS).filter(|at| masks[at / SIDE] >> (at % SIDE) & 1 == 1);
    let part = |(top, rows): (usize, usize), (left, columns): (usize, usize)| {
        let row = |i: usize| cells[i * SIDE + left..][..columns].iter().map(|&c| c as i8);
        Val::grid(rows, columns, (top..top + rows).flat_map(row).collect())
    };
    let cell = |at: usize| (colour(at), a + (at / SIDE) as i32, b + (at % SIDE) as i32);
    Ok(Ok(match form {
        _ if is(Form::Grid) => part((0, a as usize), (0, b as usize)),
        _ if is(Form::Indices) => set(there().map(cell), false),
        _ if is(Form::Object) => set(there().map(cell), true),
        _ if is(Form::Bound) => {
            let mut inner = [0; HEAD];
            inner[..4].copy_from_slice(&head[4..]);
            let fixed = decode_val(&inner, payload)?.map_err(|_| Spill::Class)?;
            let function = Val::Prim(Prim::ALL[(a & 0xffff) as usize]);
            let maker = if a & super::tuples::LAST == 0 { Maker::Lbind } else { Maker::Rbind };
            Val::closure(maker, vec![function, fixed])
        }
        _ if is(Form::Lines) => {
            let cell = |i: i32, j: i32| (colour((i * SIDE as i32 + j) as usize), i, j);
            let rows = (0..a).filter(|i| masks[0] >> i & 1 == 1).map(|i| set((0..b).map(|j| cell(i, j)), true));
            let columns = (0..b).filter(|j| masks[1] >> j & 1 == 1).map(|j| set((0..a).map(|i| cell(i, j)), true));
            Val::set(rows.chain(columns).collect())
        }
        _ if is(Form::Objects) || is(Form::Ordered) => {
            let (labels, count) = labelled(&cells, masks, c & 15);
            let mut objects = vec![Vec::new(); count];
            for (at, label) in labels.iter().enumerate().filter_map(|(at, label)| Some((at, (*label)?))) {
                objects[usize::from(label)].push((colour(at), (at / SIDE) as i32, (at % SIDE) as i32));
            }
            let object = |cells: Vec<(i32, i32, i32)>| set(cells.into_iter(), true);
            if is(Form::Objects) {
                return Ok(Ok(Val::set(objects.into_iter().map(object).collect())));
            }
            // Equal figures leave the canonical order.
            let by = (c >> 8) as u32 - 1;
            objects.sort_by_key(|cells| figure(cells, by));
            Val::tuple(objects.into_iter().map(object).collect())
        }
        _ => {
            let one = |k: i32| {
                let (top, rows, left, columns) = strip([a, b, c], k);
                part((top, rows), (left, columns))
            };
            Val::tuple((0..(c & 255)).map(one).collect())
        }
    }))
}
