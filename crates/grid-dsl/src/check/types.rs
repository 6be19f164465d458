//! Types: sets of values that a name may stand for.

use std::fmt;
use std::sync::Arc;

use crate::prim::Prim;
use crate::value::{Maker, Value};

/// What is known about a value before the program runs. A type may claim too little, never too much.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Nothing is known.
    Any,
    /// A number.
    Int,
    /// A truth value, which is a number, too.
    Bool,
    /// A number or a pair of numbers.
    Numerical,
    /// Exactly two numbers.
    Pair,
    /// A colour and a location.
    Cell,
    /// Rows of numbers, equally long.
    Grid,
    /// A tuple of elements.
    Tuple(Arc<Type>),
    /// A set of elements.
    Set(Arc<Type>),
    /// A tuple or a set of elements.
    Container(Arc<Type>),
    /// Cells or locations, in a set or a tuple.
    Patch,
    /// A grid or an object.
    Element,
    /// A grid or a patch.
    Piece,
    /// A function.
    Fn(FnType),
}

/// What is known about a function.
#[derive(Clone, Debug, PartialEq)]
pub enum FnType {
    /// Nothing.
    Unknown,
    /// It is this primitive.
    Prim(Prim),
    /// It was made of these.
    Closure(Arc<(Maker, Vec<Type>)>),
}

/// Types deeper than this become `Any`: no program needs more, and hostile ones cannot make types grow.
const DEEP: usize = 8;

impl Type {
    pub(super) fn tuple(element: Type) -> Self {
        Self::Tuple(Arc::new(element.pruned()))
    }

    pub(super) fn set(element: Type) -> Self {
        Self::Set(Arc::new(element.pruned()))
    }

    pub(super) fn container(element: Type) -> Self {
        Self::Container(Arc::new(element.pruned()))
    }

    pub(super) fn object() -> Self {
        Self::set(Self::Cell)
    }

    pub(super) fn indices() -> Self {
        Self::set(Self::Pair)
    }

    pub(super) fn closure(maker: Maker, args: &[Type]) -> Self {
        if args.iter().any(|a| a.depth() >= DEEP) {
            return Self::Fn(FnType::Unknown);
        }
        Self::Fn(FnType::Closure(Arc::new((maker, args.to_vec()))))
    }

    fn pruned(self) -> Self {
        if self.depth() >= DEEP { Self::Any } else { self }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Tuple(t) | Self::Set(t) | Self::Container(t) => 1 + t.depth(),
            // Makers share what they were made of: more than one path through them counts once a level.
            Self::Fn(FnType::Closure(closure)) => 1 + closure.1.iter().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The type of a value that is known.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Int(_) => Self::Int,
            Value::Bool(_) => Self::Bool,
            Value::Tuple(_) if value.as_pair().is_some() => Self::Pair,
            Value::Fn(crate::value::Function::Prim(prim)) => Self::Fn(FnType::Prim(*prim)),
            _ => Self::Any,
        }
    }

    /// The type of elements.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::Tuple(t) | Self::Set(t) | Self::Container(t) => (**t).clone(),
            Self::Grid => Self::tuple(Self::Int),
            Self::Pair => Self::Numerical,
            _ => Self::Any,
        }
    }

    /// Whether only sets (`true`), only tuples (`false`) or either (`None`) are meant, of what is a container at all.
    pub(super) fn is_set(&self) -> Option<bool> {
        let kinds = self.kinds();
        match (kinds & (EMPTY_SET | SET) != 0, kinds & (EMPTY_TUPLE | TUPLE) != 0) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// A container of the kind of this one.
    pub(super) fn like(&self, element: Type) -> Self {
        match self.is_set() {
            Some(true) => Self::set(element),
            Some(false) => Self::tuple(element),
            None => Self::container(element),
        }
    }

    fn kinds(&self) -> u8 {
        match self {
            Self::Any => u8::MAX,
            Self::Int | Self::Bool => NUMBER,
            Self::Numerical => NUMBER | TUPLE,
            Self::Pair | Self::Cell => TUPLE,
            Self::Grid | Self::Tuple(_) => EMPTY_TUPLE | TUPLE,
            Self::Set(_) => EMPTY_SET | SET,
            Self::Container(_) | Self::Patch | Self::Element | Self::Piece => EMPTY_TUPLE | TUPLE | EMPTY_SET | SET,
            Self::Fn(_) => FUNCTION,
        }
    }

    /// Whether no value is of both types.
    pub(super) fn disjoint(&self, other: &Self) -> bool {
        let both = self.kinds() & other.kinds();
        match both {
            0 => true,
            // Only tuples that are not empty can be meant: the elements decide.
            TUPLE => {
                let kinds = (self, other);
                matches!(kinds, (Self::Pair, Self::Cell) | (Self::Cell, Self::Pair))
                    || self.element_kinds() & other.element_kinds() == 0
            }
            _ => false,
        }
    }

    /// Kinds of elements of a tuple of this type.
    fn element_kinds(&self) -> u8 {
        match self {
            Self::Pair | Self::Numerical => NUMBER,
            Self::Tuple(t) | Self::Container(t) => t.kinds(),
            // The tuples of these have tuples in them.
            Self::Cell => NUMBER | TUPLE,
            Self::Grid | Self::Patch | Self::Element | Self::Piece => EMPTY_TUPLE | TUPLE,
            _ => u8::MAX,
        }
    }
}

const NUMBER: u8 = 1;
const EMPTY_TUPLE: u8 = 2;
const TUPLE: u8 = 4;
const EMPTY_SET: u8 = 8;
const SET: u8 = 16;
const FUNCTION: u8 = 32;

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |t: &Type| match t {
            Type::Set(e) if **e == Type::Cell => Some("Object"),
            Type::Set(e) if **e == Type::Pair => Some("Indices"),
            Type::Set(e) if **e == Type::object() => Some("Objects"),
            Type::Set(e) if **e == Type::indices() => Some("IndicesSet"),
            Type::Set(e) if **e == Type::Int => Some("IntSet"),
            _ => None,
        };
        if let Some(name) = known(self) {
            return f.write_str(name);
        }
        match self {
            Self::Any => f.write_str("Any"),
            Self::Int => f.write_str("Int"),
            Self::Bool => f.write_str("Bool"),
            Self::Numerical => f.write_str("Numerical"),
            Self::Pair => f.write_str("Pair"),
            Self::Cell => f.write_str("Cell"),
            Self::Grid => f.write_str("Grid"),
            Self::Tuple(t) => write!(f, "Tuple<{t}>"),
            Self::Set(t) => write!(f, "Set<{t}>"),
            Self::Container(t) => write!(f, "Container<{t}>"),
            Self::Patch => f.write_str("Patch"),
            Self::Element => f.write_str("Element"),
            Self::Piece => f.write_str("Piece"),
            Self::Fn(FnType::Unknown) => f.write_str("Fn"),
            Self::Fn(FnType::Prim(prim)) => write!(f, "Fn `{}`", prim.name()),
            Self::Fn(FnType::Closure(closure)) => write!(f, "Fn made by `{}`", closure.0.name()),
        }
    }
}
