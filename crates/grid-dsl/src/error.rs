//! Classes of errors that values may be, and the limits that keep every evaluation finite.

use std::fmt;

/// Why a node has no value. Back ends agree on the class, not only on the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrClass {
    /// An argument of a kind that the function has no meaning for.
    Type,
    /// A function called with another number of arguments than it takes.
    Arity,
    /// An empty container where an element is needed.
    Empty,
    /// A row, column or element that is not there.
    Index,
    /// A division by zero.
    DivZero,
    /// An interval with a step of zero.
    Range,
    /// A number outside of 32 bits.
    Overflow,
    /// A value larger than the [`Limits`] allow.
    Limit,
    /// More work than the [`Limits`] allow.
    Fuel,
}

impl ErrClass {
    /// All classes.
    pub const ALL: [Self; 9] = [
        Self::Type,
        Self::Arity,
        Self::Empty,
        Self::Index,
        Self::DivZero,
        Self::Range,
        Self::Overflow,
        Self::Limit,
        Self::Fuel,
    ];

    /// The name that reports print: `Type`, `Arity`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Type => "Type",
            Self::Arity => "Arity",
            Self::Empty => "Empty",
            Self::Index => "Index",
            Self::DivZero => "DivZero",
            Self::Range => "Range",
            Self::Overflow => "Overflow",
            Self::Limit => "Limit",
            Self::Fuel => "Fuel",
        }
    }

    /// The class in words, for messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Type => "an argument is of the wrong kind",
            Self::Arity => "a function is called with the wrong number of arguments",
            Self::Empty => "a container is empty where an element is needed",
            Self::Index => "a row, column or element is not there",
            Self::DivZero => "a division by zero",
            Self::Range => "an interval with step 0",
            Self::Overflow => "a number outside of 32 bits",
            Self::Limit => "a value is larger than the limits allow",
            Self::Fuel => "more work than the fuel allows",
        }
    }
}

impl fmt::Display for ErrClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.words())
    }
}

impl std::error::Error for ErrClass {}

/// A value, or the class of what went wrong.
pub type Result<T, E = ErrClass> = std::result::Result<T, E>;

/// What evaluation may use. The same on every back end; exceeding one is [`ErrClass::Limit`], or [`ErrClass::Fuel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows or columns of a grid that functions on grids read or make.
    pub side: usize,
    /// Elements of one tuple or set.
    pub elements: usize,
    /// The exponent of `power`.
    pub exponent: i32,
    /// How deep closures, and values of any kind, may be nested.
    pub nesting: u16,
    /// Calls inside of calls: functions that are applied to themselves end here.
    pub calls: u32,
    /// Scalars in one value, all levels counted (see [`Value::weight`](crate::Value::weight)).
    pub weight: u32,
    /// Lines of a program.
    pub lines: usize,
    /// Element visits a program and sample: every call costs one plus the weights of its arguments and of its result,
    /// and functions whose work is not linear in those say in their description what they cost on top.
    pub fuel: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            side: 256,
            elements: 65_536,
            exponent: 256,
            nesting: 256,
            calls: 320,
            weight: 1 << 24,
            lines: 4096,
            fuel: 1 << 32,
        }
    }
}
