//! Values: what they are, and the one order that everything iterates in.

mod convert;
mod parse;
mod text;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::prim::Prim;

pub use convert::Colour;
pub use parse::ParseError;
pub(crate) use text::Fnv;
pub use text::hex;

/// A value of the language.
///
/// `Bool` is a kind of `Int`: `true` equals 1, in comparisons and in sets. A grid is a tuple of rows, a row is a tuple of
/// numbers; a location is a tuple `(row, column)`; a cell is a tuple `(colour, location)`; an object is a set of cells.
#[derive(Clone)]
pub enum Value {
    /// What `index` gives outside of the grid.
    None,
    /// A truth value, equal to the number 0 or 1.
    Bool(bool),
    /// A number of 32 bits.
    Int(i32),
    /// An ordered sequence.
    Tuple(Tuple),
    /// A finite set.
    Set(Set),
    /// A function.
    Fn(Function),
}

/// The elements of a tuple, in order.
#[derive(Clone)]
pub struct Tuple(Seq);

/// The elements of a set: ascending in the canonical order, each once.
#[derive(Clone)]
pub struct Set(Seq);

/// Shared elements, with what is known about them without looking.
#[derive(Clone)]
struct Seq {
    items: Arc<[Value]>,
    weight: u32,
    depth: u16,
}

impl Seq {
    fn new(items: Vec<Value>) -> Self {
        let (weight, depth) = measure(&items);
        Self { items: items.into(), weight, depth }
    }
}

/// Weight and depth of a value with these parts.
fn measure(parts: &[Value]) -> (u32, u16) {
    parts.iter().fold((1, 1), |(weight, depth), part| {
        (weight.saturating_add(part.weight()), depth.max(part.depth().saturating_add(1)))
    })
}

macro_rules! sequences {
    ($($name:ident),*) => {$(
        impl std::ops::Deref for $name {
            type Target = [Value];
            fn deref(&self) -> &[Value] {
                &self.0.items
            }
        }

        impl<'a> IntoIterator for &'a $name {
            type Item = &'a Value;
            type IntoIter = std::slice::Iter<'a, Value>;
            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }
    )*};
}

sequences!(Tuple, Set);

impl Tuple {
    /// A tuple of these.
    pub(crate) fn new(items: Vec<Value>) -> Self {
        Self(Seq::new(items))
    }
}

impl Set {
    /// The set of these: sorted, and of equal ones the first is kept.
    pub(crate) fn new(mut items: Vec<Value>) -> Self {
        // Elements that come in order, as most do, need no sorting.
        if !items.is_sorted_by(|a, b| a < b) {
            items.sort();
            items.dedup();
        }
        Self(Seq::new(items))
    }

    /// The set of elements that are known to be ascending and different.
    pub(crate) fn from_sorted(items: Vec<Value>) -> Self {
        debug_assert!(items.is_sorted_by(|a, b| a < b));
        Self(Seq::new(items))
    }

    /// Whether the value is an element.
    pub fn holds(&self, value: &Value) -> bool {
        self.binary_search(value).is_ok()
    }
}

/// A function as a value.
#[derive(Clone)]
pub enum Function {
    /// One of the primitives.
    Prim(Prim),
    /// A function made at run time.
    Closure(Arc<Closure>),
}

/// A maker of functions with its arguments.
pub struct Closure {
    maker: Maker,
    args: Vec<Value>,
    arity: u8,
    weight: u32,
    depth: u16,
}

/// The primitives that make functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// `compose(outer, inner)`
    Compose,
    /// `chain(h, g, f)`
    Chain,
    /// `matcher(f, target)`
    Matcher,
    /// `fork(outer, a, b)`
    Fork,
    /// `rbind(f, last)`
    Rbind,
    /// `lbind(f, first)`
    Lbind,
    /// `power(f, n)`
    Power,
}

impl Maker {
    /// All makers.
    pub const ALL: [Self; 7] =
        [Self::Compose, Self::Chain, Self::Matcher, Self::Fork, Self::Rbind, Self::Lbind, Self::Power];

    /// The primitive's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compose => "compose",
            Self::Chain => "chain",
            Self::Matcher => "matcher",
            Self::Fork => "fork",
            Self::Rbind => "rbind",
            Self::Lbind => "lbind",
            Self::Power => "power",
        }
    }

    /// How many arguments it takes.
    pub const fn arity(self) -> usize {
        match self {
            Self::Chain | Self::Fork => 3,
            _ => 2,
        }
    }

    /// How many of its arguments, from the first, are functions.
    pub const fn functions(self) -> usize {
        match self {
            Self::Compose => 2,
            Self::Chain | Self::Fork => 3,
            _ => 1,
        }
    }
}

impl Closure {
    /// The maker.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Its arguments.
    pub fn args(&self) -> &[Value] {
        &self.args
    }
}

impl Function {
    /// Applies a maker. The arguments must have been checked: their number, functions first, a positive exponent.
    pub(crate) fn closure(maker: Maker, args: Vec<Value>) -> Self {
        let inner = args.first().and_then(Value::as_function).map_or(0, Self::arity);
        let arity = match maker {
            Maker::Rbind | Maker::Lbind => match inner {
                2 => 1,
                3 => 2,
                _ => 3,
            },
            Maker::Power if args.get(1).and_then(Value::as_int) == Some(1) => inner,
            _ => 1,
        };
        let (weight, depth) = measure(&args);
        Self::Closure(Arc::new(Closure { maker, args, arity: arity as u8, weight, depth }))
    }

    /// How many arguments the function takes.
    pub fn arity(&self) -> usize {
        match self {
            Self::Prim(prim) => prim.arity(),
            Self::Closure(closure) => usize::from(closure.arity),
        }
    }
}

impl Value {
    /// A tuple of any values.
    pub(crate) fn tuple(items: Vec<Value>) -> Self {
        Self::Tuple(Tuple::new(items))
    }

    /// The set of any values.
    pub(crate) fn set(items: Vec<Value>) -> Self {
        Self::Set(Set::new(items))
    }

    /// Scalars and containers in the value, all levels counted: a number is 1, a tuple is 1 and the sum of its elements.
    pub fn weight(&self) -> u32 {
        match self {
            Self::Tuple(Tuple(seq)) | Self::Set(Set(seq)) => seq.weight,
            Self::Fn(Function::Closure(closure)) => closure.weight,
            _ => 1,
        }
    }

    /// Levels of nesting: 0 for a number, 1 for a tuple of numbers.
    pub fn depth(&self) -> u16 {
        match self {
            Self::Tuple(Tuple(seq)) | Self::Set(Set(seq)) => seq.depth,
            Self::Fn(Function::Closure(closure)) => closure.depth,
            _ => 0,
        }
    }

    /// Truth: false are `None`, `false`, 0 and what is empty.
    pub fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Tuple(t) => !t.is_empty(),
            Self::Set(s) => !s.is_empty(),
            Self::Fn(_) => true,
        }
    }

    /// The number, of an `Int` or a `Bool`.
    pub fn as_int(&self) -> Option<i32> {
        match self {
            Self::Bool(b) => Some(i32::from(*b)),
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The elements of a tuple, or of a set in canonical order.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Self::Tuple(t) => Some(t),
            Self::Set(s) => Some(s),
            _ => None,
        }
    }

    /// The function.
    pub fn as_function(&self) -> Option<&Function> {
        match self {
            Self::Fn(f) => Some(f),
            _ => None,
        }
    }

    /// Numbers of a location `(row, column)`.
    pub fn as_pair(&self) -> Option<(i32, i32)> {
        match self {
            Self::Tuple(t) => match &**t {
                [i, j] => Some((i.as_int()?, j.as_int()?)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Numbers of a cell `(colour, (row, column))`.
    pub fn as_cell(&self) -> Option<(i32, (i32, i32))> {
        match self {
            Self::Tuple(t) => match &**t {
                [colour, at] => Some((colour.as_int()?, at.as_pair()?)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The kind in one word, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int",
            Self::Tuple(t) if t.is_empty() => "empty tuple",
            Self::Tuple(_) if self.as_pair().is_some() => "Pair",
            Self::Tuple(_) if self.as_cell().is_some() => "Cell",
            Self::Tuple(_) if self.is_grid() => "Grid",
            Self::Tuple(_) => "Tuple",
            Self::Set(s) => match s.first() {
                None => "empty set",
                Some(v) if v.as_pair().is_some() => "Indices",
                Some(v) if v.as_cell().is_some() => "Object",
                Some(v) if v.items().and_then(<[Value]>::first).is_some_and(|c| c.as_cell().is_some()) => "Objects",
                Some(_) => "Set",
            },
            Self::Fn(_) => "Fn",
        }
    }

    /// Whether this is a grid: a tuple of equally long tuples of numbers.
    pub fn is_grid(&self) -> bool {
        let Self::Tuple(rows) = self else { return false };
        let mut width = None;
        rows.iter().all(|row| match row {
            Self::Tuple(row) => {
                *width.get_or_insert(row.len()) == row.len() && row.iter().all(|c| c.as_int().is_some())
            }
            _ => false,
        })
    }

    /// The rank of a kind in the order.
    fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bool(_) | Self::Int(_) => 1,
            Self::Tuple(_) => 2,
            Self::Set(_) => 3,
            Self::Fn(_) => 4,
        }
    }
}

/// The canonical order: `None` < numbers < tuples < sets < functions; tuples and sets element by element, a prefix is
/// smaller; functions by the bytes of their text.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Tuple(Tuple(a)), Self::Tuple(Tuple(b))) | (Self::Set(Set(a)), Self::Set(Set(b))) => {
                if Arc::ptr_eq(&a.items, &b.items) {
                    return Ordering::Equal;
                }
                a.items.cmp(&b.items)
            }
            (Self::Fn(Function::Prim(a)), Self::Fn(Function::Prim(b))) => a.name().cmp(b.name()),
            (Self::Fn(_), Self::Fn(_)) => self.to_text().cmp(&other.to_text()),
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tuple(Tuple(a)), Self::Tuple(Tuple(b))) | (Self::Set(Set(a)), Self::Set(Set(b)))
                if a.items.len() != b.items.len() =>
            {
                false
            }
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

/// The canonical text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

#[cfg(test)]
mod tests;
