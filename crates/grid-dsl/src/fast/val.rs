//! Values in fixed layouts: what is common takes no tree of shared tuples.
//!
//! Each class below is a second form of some [`Value`]s, never a value of its own: every constructor gives the packed form
//! where there is one, comparisons look through forms, and [`Val::to_value`] gives the definition's form back.

use std::sync::Arc;

pub(crate) use super::closure::{Closure, Lookups};
pub(crate) use super::keys::{Bounds, MIDDLE, PLACE, Patch, at, colour_of, place, sort_keys, tint, union_by_bits};
use crate::error::{ErrClass, Limits, Result};
use crate::prim::Prim;
use crate::value::{Function, Set, Value};

/// A value, packed where its kind has a packed form.
#[derive(Clone)]
pub(crate) enum Val {
    None,
    Bool(bool),
    Int(i32),
    /// A tuple of two plain numbers.
    Pair(i32, i32),
    /// A tuple of a plain number and a pair of plain numbers.
    Cell(i32, i32, i32),
    /// A tuple of equally long tuples of small plain numbers, none empty.
    Grid(Arc<Dense>),
    /// A set of pairs, or of cells, that fit keys; never empty.
    Patch(Arc<Patch>),
    Tuple(Arc<Seq>),
    /// Ascending, each once.
    Set(Arc<Seq>),
    Prim(Prim),
    Closure(Arc<Closure>),
}

/// A grid in bytes.
pub(crate) use crate::ops::Grid as Dense;

/// Elements of any kind, with what is known about them without looking.
pub(crate) struct Seq {
    pub(crate) items: Vec<Val>,
    weight: u32,
    depth: u16,
}

/// The sum of weights and the largest depth, of a container of these.
pub(super) fn measure(items: &[Val]) -> (u32, u16) {
    items.iter().fold((1, 1), |(weight, depth), item| {
        (weight.saturating_add(item.weight()), depth.max(item.depth().saturating_add(1)))
    })
}

impl Seq {
    fn new(items: Vec<Val>) -> Arc<Self> {
        let (weight, depth) = measure(&items);
        Arc::new(Self { items, weight, depth })
    }
}

/// The elements of a container, whatever its form.
pub(crate) enum Items<'a> {
    Slice(&'a [Val]),
    Rows(&'a Dense),
    Keys(&'a Patch),
    Two([Val; 2]),
}

impl Items<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Slice(all) => all.len(),
            Self::Rows(grid) => grid.h,
            Self::Keys(patch) => patch.keys.len(),
            Self::Two(_) => 2,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `k`, which must be there.
    pub(crate) fn get(&self, k: usize) -> Val {
        match self {
            Self::Slice(all) => all[k].clone(),
            Self::Rows(grid) => grid.row(k),
            Self::Keys(patch) => patch.element(patch.keys[k]),
            Self::Two(two) => two[k].clone(),
        }
    }

    /// All elements.
    pub(crate) fn to_vec(&self) -> Vec<Val> {
        match self {
            Self::Slice(all) => all.to_vec(),
            _ => (0..self.len()).map(|k| self.get(k)).collect(),
        }
    }

    /// Calls `f` with each element in turn.
    pub(crate) fn each(&self, mut f: impl FnMut(&Val) -> Result<()>) -> Result<()> {
        match self {
            Self::Slice(all) => all.iter().try_for_each(f),
            _ => (0..self.len()).try_for_each(|k| f(&self.get(k))),
        }
    }
}

impl Dense {
    /// A row as a tuple.
    pub(crate) fn row(&self, i: usize) -> Val {
        let row = &self.cells[i * self.w..(i + 1) * self.w];
        match row {
            [a, b] => Val::Pair(i32::from(*a), i32::from(*b)),
            _ => Val::Tuple(Seq::new(row.iter().map(|&c| Val::Int(i32::from(c))).collect())),
        }
    }
}

impl Val {
    /// A grid of these cells. Without rows or columns it is a tuple of what rows there are.
    pub(crate) fn grid(h: usize, w: usize, cells: Vec<i8>) -> Self {
        debug_assert_eq!(cells.len(), h * w);
        if h == 0 || w == 0 {
            return Self::Tuple(Seq::new(vec![Self::tuple(vec![]); h]));
        }
        Self::Grid(Arc::new(Dense { h, w, cells }))
    }

    /// A set of keys that are ascending and different.
    pub(crate) fn patch(keys: Vec<u64>, object: bool) -> Self {
        debug_assert!(keys.is_sorted_by(|a, b| a < b));
        if keys.is_empty() {
            return Self::Set(Seq::new(keys.into_iter().map(Val::of_key).collect()));
        }
        Self::Patch(Arc::new(Patch::new(keys, object)))
    }

    fn of_key(key: u64) -> Self {
        let (i, j) = at(key);
        Self::Pair(i, j)
    }

    /// A set of keys in any order.
    pub(crate) fn patch_of(mut keys: Vec<u64>, object: bool) -> Self {
        sort_keys(&mut keys);
        Self::patch(keys, object)
    }

    /// A tuple of any values.
    pub(crate) fn tuple(items: Vec<Val>) -> Self {
        match &items[..] {
            [Self::Int(a), Self::Int(b)] => return Self::Pair(*a, *b),
            [Self::Int(c), Self::Pair(i, j)] => return Self::Cell(*c, *i, *j),
            [Self::Pair(..) | Self::Tuple(_), ..] => {
                if let Some(grid) = rows_as_grid(&items) {
                    return grid;
                }
            }
            _ => {}
        }
        Self::Tuple(Seq::new(items))
    }

    /// The set of any values; of equal ones the first is kept.
    pub(crate) fn set(mut items: Vec<Val>) -> Self {
        if let Some(keys) = keys_of(&items) {
            return Self::patch_of(keys, matches!(items[0], Self::Cell(..)));
        }
        if !items.is_sorted_by(|a, b| a < b) {
            items.sort();
            items.dedup();
            // What was not small enough for keys may have been equal to what is.
            if let Some(keys) = keys_of(&items) {
                return Self::patch(keys, matches!(items[0], Self::Cell(..)));
            }
        }
        Self::Set(Seq::new(items))
    }

    /// The set of elements that are ascending and different.
    pub(crate) fn sorted_set(items: Vec<Val>) -> Self {
        debug_assert!(items.is_sorted_by(|a, b| a < b));
        match keys_of(&items) {
            Some(keys) => Self::patch(keys, matches!(items[0], Self::Cell(..))),
            None => Self::Set(Seq::new(items)),
        }
    }

    /// How many arguments a function takes.
    pub(crate) fn arity(&self) -> Option<usize> {
        match self {
            Self::Prim(prim) => Some(prim.arity()),
            Self::Closure(closure) => Some(usize::from(closure.arity)),
            _ => None,
        }
    }

    /// As [`Value::weight`].
    pub(crate) fn weight(&self) -> u32 {
        match self {
            Self::Pair(..) => 3,
            Self::Cell(..) => 5,
            Self::Grid(g) => (1 + g.h * (1 + g.w)) as u32,
            Self::Patch(p) => (1 + p.keys.len() * if p.object { 5 } else { 3 }) as u32,
            Self::Tuple(seq) | Self::Set(seq) => seq.weight,
            Self::Closure(closure) => closure.weight,
            _ => 1,
        }
    }

    /// As [`Value::depth`].
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::Pair(..) => 1,
            Self::Cell(..) | Self::Grid(_) => 2,
            Self::Patch(p) => 2 + u16::from(p.object),
            Self::Tuple(seq) | Self::Set(seq) => seq.depth,
            Self::Closure(closure) => closure.depth,
            _ => 0,
        }
    }

    /// An estimate of the bytes that the value takes.
    pub(crate) fn bytes(&self) -> usize {
        let own = 16;
        match self {
            Self::Grid(g) => own + 72 + g.cells.len(),
            Self::Patch(p) => own + 56 + 8 * p.keys.len(),
            // Packed parts take less than this.
            Self::Tuple(seq) | Self::Set(seq) => own + 56 + 16 * seq.weight as usize,
            Self::Closure(closure) => own + 64 + 16 * closure.weight as usize,
            _ => own,
        }
    }

    /// As [`Value::truth`].
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Tuple(seq) | Self::Set(seq) => !seq.items.is_empty(),
            _ => true,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i32> {
        match self {
            Self::Bool(b) => Some(i32::from(*b)),
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// Numbers of a location. A tuple of truth values is one, too.
    pub(crate) fn as_pair(&self) -> Option<(i32, i32)> {
        match self {
            Self::Pair(i, j) => Some((*i, *j)),
            Self::Tuple(seq) => match &seq.items[..] {
                [i, j] => Some((i.as_int()?, j.as_int()?)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_function(&self) -> bool {
        matches!(self, Self::Prim(_) | Self::Closure(_))
    }

    pub(crate) fn is_tuple(&self) -> bool {
        matches!(self, Self::Pair(..) | Self::Cell(..) | Self::Grid(_) | Self::Tuple(_))
    }

    pub(crate) fn is_set(&self) -> bool {
        matches!(self, Self::Patch(_) | Self::Set(_))
    }

    /// The elements of a tuple, or of a set in canonical order.
    pub(crate) fn items(&self) -> Result<Items<'_>> {
        match self {
            Self::Tuple(seq) | Self::Set(seq) => Ok(Items::Slice(&seq.items)),
            Self::Patch(patch) => Ok(Items::Keys(patch)),
            Self::Grid(grid) => Ok(Items::Rows(grid)),
            Self::Pair(i, j) => Ok(Items::Two([Self::Int(*i), Self::Int(*j)])),
            Self::Cell(c, i, j) => Ok(Items::Two([Self::Int(*c), Self::Pair(*i, *j)])),
            _ => Err(ErrClass::Type),
        }
    }

    /// The value, unless it is larger than the limits.
    pub(crate) fn within(self, limits: &Limits) -> Result<Self> {
        self.check(limits).map(|()| self)
    }

    /// Whether the value is no larger than the limits.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        if self.weight() > limits.weight || self.depth() > limits.nesting {
            return Err(ErrClass::Limit);
        }
        let n = match self {
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Prim(_) | Self::Closure(_) => return Ok(()),
            Self::Tuple(seq) | Self::Set(seq) => seq.items.len(),
            Self::Patch(patch) => patch.keys.len(),
            Self::Grid(grid) => grid.h,
            Self::Pair(..) | Self::Cell(..) => 2,
        };
        limits.elements(n)
    }

    /// The form of the definition.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::None => Value::None,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(n) => Value::Int(*n),
            Self::Pair(i, j) => Value::pair(*i, *j),
            Self::Cell(c, i, j) => Value::cell(*c, *i, *j),
            Self::Grid(g) => {
                let row = |row: &[i8]| Value::tuple(row.iter().map(|&c| Value::Int(i32::from(c))).collect());
                Value::tuple(g.cells.chunks(g.w).map(row).collect())
            }
            Self::Patch(p) => {
                Value::Set(Set::from_sorted(p.keys.iter().map(|&key| p.element(key).to_value()).collect()))
            }
            Self::Tuple(seq) => Value::tuple(seq.items.iter().map(Self::to_value).collect()),
            Self::Set(seq) => Value::Set(Set::from_sorted(seq.items.iter().map(Self::to_value).collect())),
            Self::Prim(prim) => Value::Fn(Function::Prim(*prim)),
            Self::Closure(closure) => {
                let args = closure.args.iter().map(Self::to_value).collect();
                Value::Fn(Function::closure(closure.maker, args))
            }
        }
    }
}

impl From<&Value> for Val {
    fn from(value: &Value) -> Self {
        match value {
            Value::None => Self::None,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Int(*n),
            Value::Tuple(t) => match plain_grid(t) {
                Some(grid) => grid,
                None => Self::tuple(t.iter().map(Self::from).collect()),
            },
            Value::Set(s) => Self::sorted_set(s.iter().map(Self::from).collect()),
            Value::Fn(Function::Prim(prim)) => Self::Prim(*prim),
            Value::Fn(Function::Closure(closure)) => {
                Self::closure(closure.maker(), closure.args().iter().map(Self::from).collect())
            }
        }
    }
}

/// A small plain number.
fn small(n: i32) -> Option<i8> {
    i8::try_from(n).ok()
}

fn plain_grid(rows: &[Value]) -> Option<Val> {
    let w = rows.first()?.items()?.len();
    let mut cells = Vec::with_capacity(rows.len() * w);
    for row in rows {
        let Value::Tuple(row) = row else { return None };
        if row.len() != w || w == 0 {
            return None;
        }
        for cell in row {
            let Value::Int(n) = cell else { return None };
            cells.push(small(*n)?);
        }
    }
    Some(Val::grid(rows.len(), w, cells))
}

/// The grid that these tuples are the rows of, if they are.
fn rows_as_grid(rows: &[Val]) -> Option<Val> {
    let mut cells = Vec::new();
    let mut width = 0;
    for (k, row) in rows.iter().enumerate() {
        match row {
            Val::Pair(a, b) => cells.extend([small(*a)?, small(*b)?]),
            Val::Tuple(seq) => {
                for cell in &seq.items {
                    let Val::Int(n) = cell else { return None };
                    cells.push(small(*n)?);
                }
            }
            _ => return None,
        }
        if k == 0 {
            width = cells.len();
            cells.reserve(width * (rows.len() - 1));
        }
        if width == 0 || cells.len() != (k + 1) * width {
            return None;
        }
    }
    Some(Val::grid(rows.len(), width, cells))
}

/// The keys of elements that are all locations, or all cells, and small enough.
fn keys_of(items: &[Val]) -> Option<Vec<u64>> {
    match items.first()? {
        Val::Pair(..) => {
            let mut keys = Vec::with_capacity(items.len());
            for value in items {
                let Val::Pair(i, j) = value else { return None };
                keys.push(place(*i, *j)?);
            }
            Some(keys)
        }
        Val::Cell(..) => {
            let mut keys = Vec::with_capacity(items.len());
            for value in items {
                let Val::Cell(c, i, j) = value else { return None };
                keys.push(tint(*c)? | place(*i, *j)?);
            }
            Some(keys)
        }
        _ => None,
    }
}
