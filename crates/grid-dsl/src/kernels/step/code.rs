//! Values of the language as words of a device, and back.

use super::{HEAD, PAYLOAD, Spill};
use crate::error::ErrClass;
use crate::kernels::SIDE;
use crate::kernels::batch::{CELLS, pack, refusal};
use crate::value::Value;

/// Coordinates on a device are at most this far from 0.
pub(super) const FAR: i64 = 1 << 20;

/// What the first word of a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Form {
    Spilled,
    Error,
    Int,
    Bool,
    Pair,
    Grid,
    Indices,
    Object,
    Objects,
    Nothing,
    /// Parts of a grid, side by side or, with bit 8 beside their number, one above the other.
    Strips,
    /// A primitive with its first or last argument fixed: the argument's head stands behind.
    Bound,
    /// Objects in an order.
    Ordered,
    /// Rows and columns of one colour, which the first two masks name.
    Lines,
}

impl Form {
    /// Whether a head's first word is that of a container: no number, pair, `None`, function or error.
    pub(crate) fn is_container(kind: i32) -> bool {
        let other = [Self::Strips, Self::Ordered, Self::Lines].iter().any(|&form| kind == form as i32);
        other || (Self::Grid as i32..=Self::Objects as i32).contains(&kind)
    }
}

/// A value in a slot, on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// The host has the value, if anybody has.
    Spilled(Spill),
    /// A value that a device can have, or the class of an error.
    Known(Result<Value, ErrClass>),
}

impl Slot {
    /// The value's words; what has no form on a device is spilled.
    pub(super) fn words(&self) -> ([i32; HEAD], [u32; PAYLOAD]) {
        match self {
            Self::Spilled(why) => (head(Form::Spilled, *why as i32, 0, 0), [0; PAYLOAD]),
            Self::Known(Err(class)) => {
                let place = ErrClass::ALL.iter().position(|c| c == class).unwrap_or(0);
                (head(Form::Error, place as i32, 0, 0), [0; PAYLOAD])
            }
            Self::Known(Ok(value)) => {
                encode(value).unwrap_or_else(|why| (head(Form::Spilled, why as i32, 0, 0), [0; PAYLOAD]))
            }
        }
    }

    pub(super) fn of_words(head: &[i32], payload: &[u32]) -> Self {
        match decode(head, payload) {
            Ok(value) => Self::Known(value),
            Err(why) => Self::Spilled(why),
        }
    }
}

pub(super) fn head(form: Form, a: i32, b: i32, c: i32) -> [i32; HEAD] {
    [form as i32, a, b, c, 0, 0, 0, 0]
}

pub(super) fn bytes_to_words(cells: &[u8; CELLS], masks: &[u32; SIDE]) -> [u32; PAYLOAD] {
    let mut payload = [0; PAYLOAD];
    for (word, bytes) in payload.iter_mut().zip(cells.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    payload[CELLS / 4..].copy_from_slice(masks);
    payload
}

/// The bytes of a payload's cells.
pub(super) fn cells_of(payload: &[u32]) -> [u8; CELLS] {
    let mut cells = [0; CELLS];
    for (word, bytes) in payload.iter().zip(cells.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    cells
}

/// The words of a value, or why it has none.
pub(crate) fn encode(value: &Value) -> Result<([i32; HEAD], [u32; PAYLOAD]), Spill> {
    let plain = |form, a, b| Ok((head(form, a, b, 0), [0; PAYLOAD]));
    match value {
        Value::None => plain(Form::Nothing, 0, 0),
        Value::Bool(b) => plain(Form::Bool, i32::from(*b), 0),
        Value::Int(n) => plain(Form::Int, *n, 0),
        Value::Fn(_) => Err(Spill::Kind),
        Value::Tuple(t) => {
            if let [Value::Int(i), Value::Int(j)] = **t {
                return plain(Form::Pair, i, j);
            }
            if !value.is_grid() {
                return Err(Spill::Kind);
            }
            if refusal(value).is_some() {
                return Err(Spill::Size);
            }
            let ([h, w], cells) = pack(value);
            Ok((head(Form::Grid, h.into(), w.into(), 0), bytes_to_words(&cells, &[0; SIDE])))
        }
        Value::Set(set) => patch(set),
    }
}

/// The words of a set of locations or of cells.
fn patch(set: &[Value]) -> Result<([i32; HEAD], [u32; PAYLOAD]), Spill> {
    let pair = |v: &Value| match v {
        Value::Tuple(t) => match **t {
            [Value::Int(i), Value::Int(j)] => Some((i64::from(i), i64::from(j))),
            _ => None,
        },
        _ => None,
    };
    let cell = |v: &Value| match v {
        Value::Tuple(t) => match &**t {
            [Value::Int(c), at] => Some((i8::try_from(*c).ok()?, pair(at)?)),
            _ => None,
        },
        _ => None,
    };
    let object = set.first().is_some_and(|v| pair(v).is_none());
    let all: Option<Vec<_>> = set.iter().map(|v| if object { cell(v) } else { Some((0, pair(v)?)) }).collect();
    let all = all.ok_or(Spill::Kind)?;
    let bounds = |f: fn(&(i8, (i64, i64))) -> i64| {
        let least = all.iter().map(f).min().unwrap_or(0);
        (least, all.iter().map(f).max().unwrap_or(0))
    };
    let ((top, bottom), (left, right)) = (bounds(|c| c.1.0), bounds(|c| c.1.1));
    let near = |n: i64| (-FAR..=FAR).contains(&n);
    if bottom - top >= SIDE as i64 || right - left >= SIDE as i64 || !near(top) || !near(left) {
        return Err(Spill::Size);
    }
    let (mut cells, mut masks) = ([0; CELLS], [0u32; SIDE]);
    for (colour, (i, j)) in all {
        let (r, c) = ((i - top) as usize, (j - left) as usize);
        if masks[r] >> c & 1 == 1 {
            // Two colours on one location.
            return Err(Spill::Class);
        }
        masks[r] |= 1 << c;
        cells[r * SIDE + c] = colour as u8;
    }
    let form = if object { Form::Object } else { Form::Indices };
    Ok((head(form, top as i32, left as i32, 0), bytes_to_words(&cells, &masks)))
}

/// First row, rows, first column and columns of a part of a grid: height, width, and what the third word of its head says.
pub(super) fn strip([h, w, how]: [i32; 3], k: i32) -> (usize, usize, usize, usize) {
    let (n, along_rows) = (how & 255, how & 256 != 0);
    if how & super::tuples::COPIES != 0 {
        return (0, h as usize, 0, w as usize);
    }
    let side = if along_rows { h } else { w };
    let step = side / n + i32::from(side % n != 0);
    let from = (k * step).min(side);
    let length = (side / n).min(side - from);
    let [h, w, from, length] = [h, w, from, length].map(|n| n as usize);
    if along_rows { (from, length, 0, w) } else { (0, h, from, length) }
}

/// The value, or the error, of words.
pub(crate) fn decode(head: &[i32], payload: &[u32]) -> Result<Result<Value, ErrClass>, Spill> {
    super::packed::decode_val(head, payload).map(|value| value.map(|value| value.to_value()))
}
