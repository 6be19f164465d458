//! What the CPU's twin reads and writes of values.

use super::code::{FAR, cells_of, head};
use super::{Form, HEAD, PAYLOAD, Spill};
use crate::error::ErrClass;
use crate::kernels::components::{Joined, number};
use crate::kernels::{CELLS, SIDE};

/// An operand.
#[derive(Clone, Copy)]
pub(super) struct Arg<'a> {
    pub(super) kind: i32,
    pub(super) a: i32,
    pub(super) b: i32,
    pub(super) c: i32,
    pub(super) payload: &'a [u32],
}

impl<'a> Arg<'a> {
    pub(super) fn of(head: &[i32], payload: &'a [u32]) -> Self {
        Self { kind: head[0], a: head[1], b: head[2], c: head[3], payload }
    }

    /// What a call is whatever it does, by the leftmost operand that is an error or that the host has yet to tell: that
    /// may be an error, too.
    pub(super) fn unfit(operands: impl Iterator<Item = Self>) -> Option<Out> {
        let mut decide = operands.filter(|x| x.is(Form::Error) || x.is(Form::Spilled));
        let x = decide.next()?;
        Some(if x.is(Form::Error) { Out::scalar(Form::Error, x.a, 0) } else { Out::Spill(Spill::Operand) })
    }

    pub(super) fn is(&self, form: Form) -> bool {
        self.kind == form as i32
    }

    pub(super) fn number(&self) -> bool {
        self.is(Form::Int) || self.is(Form::Bool)
    }

    /// A number that a cell may be.
    pub(super) fn colour(&self) -> Option<i8> {
        if self.is(Form::Int) { i8::try_from(self.a).ok() } else { None }
    }

    pub(super) fn patch(&self) -> bool {
        self.is(Form::Indices) || self.is(Form::Object)
    }

    /// Whether it may be compared with colours.
    pub(super) fn comparable(&self) -> bool {
        self.number() || self.is(Form::Nothing)
    }

    /// Whether it is a tuple without elements, which is a patch without cells, too.
    pub(super) fn hollow(&self) -> bool {
        self.is(Form::Grid) && self.a == 0
    }

    pub(super) fn tuple(&self) -> bool {
        [Form::Pair, Form::Grid, Form::Strips, Form::Ordered].iter().any(|&form| self.is(form))
    }

    pub(super) fn set(&self) -> bool {
        self.patch() || self.is(Form::Objects) || self.is(Form::Lines)
    }

    /// Whether it counts as true.
    pub(super) fn truth(&self) -> bool {
        match Patch::new(self) {
            Some(p) => !p.is_empty(),
            None if self.number() => self.a != 0,
            None => !self.is(Form::Nothing) && !self.hollow(),
        }
    }

    pub(super) fn pair(&self) -> Option<(i64, i64)> {
        self.is(Form::Pair).then(|| (self.a.into(), self.b.into()))
    }

    /// The colour in a row and column of the payload.
    pub(super) fn cell(&self, r: usize, c: usize) -> i8 {
        (self.payload[r * (SIDE / 4) + c / 4] >> (8 * (c % 4))) as i8
    }

    pub(super) fn masks(&self) -> &'a [u32] {
        &self.payload[CELLS / 4..]
    }
}

/// A grid, seen from outside.
pub(super) struct Grid<'a> {
    pub(super) of: &'a Arg<'a>,
    pub(super) h: usize,
    pub(super) w: usize,
}

impl<'a> Grid<'a> {
    pub(super) fn new(of: &'a Arg<'a>) -> Option<Self> {
        of.is(Form::Grid).then_some(Self { of, h: of.a as usize, w: of.b as usize })
    }

    /// The grid, or what functions of grids give for another value: parts of a grid may be rows of another one.
    pub(super) fn read(of: &'a Arg<'a>) -> Done<Self> {
        let other = || if of.is(Form::Strips) { Out::Spill(Spill::Kind) } else { Out::fails(ErrClass::Type) };
        Self::new(of).ok_or_else(other)
    }

    /// The same where a first row is needed.
    pub(super) fn with_row(of: &'a Arg<'a>) -> Done<Self> {
        if of.hollow() { Err(Out::fails(ErrClass::Index)) } else { Self::read(of) }
    }

    pub(super) fn at(&self, i: usize, j: usize) -> i8 {
        self.of.cell(i, j)
    }

    pub(super) fn inside(&self, (i, j): (i64, i64)) -> bool {
        (0..self.h as i64).contains(&i) && (0..self.w as i64).contains(&j)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = i8> + '_ {
        (0..self.h).flat_map(move |i| (0..self.w).map(move |j| self.at(i, j)))
    }
}

/// A patch in the coordinates of its locations.
pub(super) struct Patch<'a> {
    of: &'a Arg<'a>,
    masks: &'a [u32],
    origin: (i64, i64),
    pub(super) i0: i64,
    pub(super) j0: i64,
    pub(super) h: usize,
    pub(super) w: usize,
}

impl<'a> Patch<'a> {
    pub(super) fn new(of: &'a Arg<'a>) -> Option<Self> {
        if !of.patch() {
            return None;
        }
        let masks = of.masks();
        let columns = masks.iter().fold(0, |all, mask| all | mask);
        let origin = (i64::from(of.a), i64::from(of.b));
        if columns == 0 {
            return Some(Self { of, masks, origin, i0: 0, j0: 0, h: 0, w: 0 });
        }
        let top = masks.iter().position(|&mask| mask != 0).unwrap_or(0);
        let bottom = masks.iter().rposition(|&mask| mask != 0).unwrap_or(0);
        let left = columns.trailing_zeros();
        Some(Self {
            of,
            masks,
            origin,
            i0: origin.0 + top as i64,
            j0: origin.1 + i64::from(left),
            h: bottom - top + 1,
            w: (32 - columns.leading_zeros() - left) as usize,
        })
    }

    /// The patch, or what functions of patches give for another value: rows of two may be locations.
    pub(super) fn read(of: &'a Arg<'a>) -> Done<Self> {
        if of.hollow() {
            return Ok(Self { of, masks: &[0; SIDE], origin: (0, 0), i0: 0, j0: 0, h: 0, w: 0 });
        }
        let rows = of.is(Form::Grid) && of.b == 2;
        Self::new(of).ok_or_else(|| if rows { Out::Spill(Spill::Kind) } else { Out::fails(ErrClass::Type) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.h == 0
    }

    pub(super) fn is_object(&self) -> bool {
        self.of.is(Form::Object)
    }

    pub(super) fn count(&self) -> usize {
        self.masks.iter().map(|mask| mask.count_ones() as usize).sum()
    }

    /// Whether locations that are moved by a pair go beyond 32 bits.
    pub(super) fn overflows(&self, by: (i64, i64)) -> bool {
        let beyond =
            |from: i64, side: usize| i32::try_from(from).is_err() || i32::try_from(from + side as i64 - 1).is_err();
        beyond(self.i0 + by.0, self.h) || beyond(self.j0 + by.1, self.w)
    }

    fn place(&self, (i, j): (i64, i64)) -> Option<(usize, usize)> {
        let side = 0..SIDE as i64;
        let (r, c) = (i - self.origin.0, j - self.origin.1);
        (side.contains(&r) && side.contains(&c)).then_some((r as usize, c as usize))
    }

    pub(super) fn has(&self, at: (i64, i64)) -> bool {
        self.place(at).is_some_and(|(r, c)| self.masks[r] >> c & 1 == 1)
    }

    /// All locations.
    pub(super) fn cells(&self) -> Vec<(i64, i64)> {
        let there = |at: &usize| self.masks[at / SIDE] >> (at % SIDE) & 1 == 1;
        let at = |at: usize| (self.origin.0 + (at / SIDE) as i64, self.origin.1 + (at % SIDE) as i64);
        (0..CELLS).filter(there).map(at).collect()
    }

    pub(super) fn colour(&self, at: (i64, i64)) -> i8 {
        self.place(at).map_or(0, |(r, c)| self.of.cell(r, c))
    }

    pub(super) fn colours(&self) -> impl Iterator<Item = i8> + '_ {
        let there = |at: &usize| self.masks[at / SIDE] >> (at % SIDE) & 1 == 1;
        (0..CELLS).filter(there).map(|at| self.of.cell(at / SIDE, at % SIDE))
    }
}

/// Components of the cells under some rows' masks, by the bits of their mode.
pub(super) fn labelled(cells: &[u8], masks: &[u32], mode: i32) -> (Vec<Option<u16>>, usize) {
    let joined = if mode & 8 != 0 {
        Joined::Colour
    } else {
        Joined::Neighbours { univalued: mode & 4 != 0, diagonal: mode & 2 != 0 }
    };
    number(cells, |at| masks[at / SIDE] >> (at % SIDE) & 1 == 1, joined)
}

/// A step of a function, or its result where that follows already.
pub(super) type Done<T = Out> = Result<T, Out>;

/// A result.
pub(super) enum Out {
    Spill(Spill),
    /// The operand of that number.
    Copy(usize),
    Head([i32; HEAD]),
    Full([i32; HEAD], Box<[u32; PAYLOAD]>),
}

fn payload(cells: &[u8; CELLS], masks: &[u32; SIDE]) -> Box<[u32; PAYLOAD]> {
    let mut words = Box::new([0; PAYLOAD]);
    for (word, bytes) in words.iter_mut().zip(cells.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words[CELLS / 4..].copy_from_slice(masks);
    words
}

impl Out {
    pub(super) fn scalar(form: Form, a: i32, b: i32) -> Self {
        Self::Head(head(form, a, b, 0))
    }

    pub(super) fn fails(class: ErrClass) -> Self {
        Self::scalar(Form::Error, ErrClass::ALL.iter().position(|c| *c == class).unwrap_or(0) as i32, 0)
    }

    pub(super) fn empty() -> Self {
        Self::indices((0, 0), |_| false)
    }

    pub(super) fn hollow() -> Self {
        Self::scalar(Form::Grid, 0, 0)
    }

    pub(super) fn int(n: usize) -> Self {
        Self::scalar(Form::Int, n as i32, 0)
    }

    pub(super) fn bool(b: bool) -> Self {
        Self::scalar(Form::Bool, b.into(), 0)
    }

    pub(super) fn number(n: i64) -> Self {
        i32::try_from(n).map_or(Self::fails(ErrClass::Overflow), |n| Self::scalar(Form::Int, n, 0))
    }

    pub(super) fn pair(i: i64, j: i64) -> Self {
        match (i32::try_from(i), i32::try_from(j)) {
            (Ok(i), Ok(j)) => Self::scalar(Form::Pair, i, j),
            _ => Self::fails(ErrClass::Overflow),
        }
    }

    pub(super) fn grid(h: usize, w: usize, cell: impl Fn(usize, usize) -> i8) -> Self {
        if h > SIDE || w > SIDE {
            return Self::Spill(Spill::Size);
        }
        let w = if h == 0 { 0 } else { w };
        let mut cells = [0; CELLS];
        for i in 0..h {
            for j in 0..w {
                cells[i * SIDE + j] = cell(i, j) as u8;
            }
        }
        Self::Full(head(Form::Grid, h as i32, w as i32, 0), payload(&cells, &[0; SIDE]))
    }

    /// A patch in a window of 32 x 32 from a corner.
    pub(super) fn patch(
        object: bool,
        (i0, j0): (i64, i64),
        there: impl Fn((i64, i64)) -> bool,
        colour: impl Fn((i64, i64)) -> i8,
    ) -> Self {
        let (mut cells, mut masks) = ([0; CELLS], [0; SIDE]);
        for (r, mask) in masks.iter_mut().enumerate() {
            for c in 0..SIDE {
                let at = (i0 + r as i64, j0 + c as i64);
                if there(at) {
                    *mask |= 1 << c;
                    cells[r * SIDE + c] = if object { colour(at) as u8 } else { 0 };
                }
            }
        }
        if masks == [0; SIDE] {
            return Self::Full(head(Form::Indices, 0, 0, 0), payload(&cells, &masks));
        }
        if i0.abs() > FAR || j0.abs() > FAR {
            return Self::Spill(Spill::Size);
        }
        let form = if object { Form::Object } else { Form::Indices };
        Self::Full(head(form, i0 as i32, j0 as i32, 0), payload(&cells, &masks))
    }

    pub(super) fn indices(corner: (i64, i64), there: impl Fn((i64, i64)) -> bool) -> Self {
        Self::patch(false, corner, there, |_| 0)
    }

    /// Objects of a grid's cells under some rows' masks.
    pub(super) fn objects(of: &Arg, masks: &[u32; SIDE], mode: i32) -> Self {
        if *masks == [0; SIDE] {
            return Self::indices((0, 0), |_| false);
        }
        let words = payload(&cells_of(of.payload), masks);
        Self::Full(head(Form::Objects, of.a, of.b, mode), words)
    }

    /// Objects in an order: by a figure, counted from 1, or, with 16, their own.
    pub(super) fn ordered(of: &Arg, by: i32) -> Self {
        let mut words = Box::new([0; PAYLOAD]);
        words.copy_from_slice(of.payload);
        Self::Full(head(Form::Ordered, of.a, of.b, of.c | by << 8), words)
    }

    /// Rows and columns of a grid.
    pub(super) fn lines(of: &Arg, rows: u32, columns: u32) -> Self {
        let mut masks = [0; SIDE];
        (masks[0], masks[1]) = (rows, columns);
        Self::Full(head(Form::Lines, of.a, of.b, 0), payload(&cells_of(of.payload), &masks))
    }

    /// A function with one argument fixed.
    pub(super) fn bound(function: i32, of: &Arg) -> Self {
        let head = [Form::Bound as i32, function, 0, 0, of.kind, of.a, of.b, of.c];
        if !(of.is(Form::Grid) || of.patch() || of.is(Form::Objects) || of.is(Form::Strips)) {
            return Self::Head(head);
        }
        let mut words = Box::new([0; PAYLOAD]);
        words.copy_from_slice(of.payload);
        Self::Full(head, words)
    }

    /// Parts of a grid.
    pub(super) fn strips(of: &Arg, how: i32) -> Self {
        Self::Full(head(Form::Strips, of.a, of.b, how), payload(&cells_of(of.payload), &[0; SIDE]))
    }

    /// The same value.
    pub(super) fn same(of: &Arg) -> Self {
        if of.is(Form::Bound) {
            // Their heads have more words.
            return Self::Spill(Spill::Kind);
        }
        let mut words = Box::new([0; PAYLOAD]);
        words.copy_from_slice(of.payload);
        Self::Full([of.kind, of.a, of.b, of.c, 0, 0, 0, 0], words)
    }

    /// The words to write.
    pub(super) fn written(self, v: &[Arg]) -> ([i32; HEAD], Option<Box<[u32; PAYLOAD]>>) {
        match self {
            Self::Spill(why) => (head(Form::Spilled, why as i32, 0, 0), None),
            Self::Head(head) => (head, None),
            Self::Full(head, payload) => (head, Some(payload)),
            Self::Copy(k) => Self::same(&v[k]).written(v),
        }
    }
}
