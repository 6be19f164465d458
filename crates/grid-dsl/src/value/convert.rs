//! Values from and to what Rust programs have.

use super::{Set, Tuple, Value};
use crate::error::{ErrClass, Limits, Result};

/// A colour of the ARC: 0..9 in tasks, any number in programs.
pub type Colour = i32;

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::Int(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl Value {
    /// A location `(row, column)`.
    pub fn pair(i: i32, j: i32) -> Self {
        Self::tuple(vec![Self::Int(i), Self::Int(j)])
    }

    /// A cell `(colour, (row, column))`.
    pub fn cell(colour: Colour, i: i32, j: i32) -> Self {
        Self::tuple(vec![Self::Int(colour), Self::pair(i, j)])
    }

    /// A grid, row by row. Rows may differ in length; functions on grids then answer [`ErrClass::Type`].
    pub fn grid<R: AsRef<[Colour]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let row = |r: R| Self::tuple(r.as_ref().iter().map(|&c| Self::Int(c)).collect());
        Self::tuple(rows.into_iter().map(row).collect())
    }

    /// The grid that a text like `012/345` means, one digit a cell.
    pub fn grid_from_digits(text: &str) -> Option<Self> {
        let rows: Option<Vec<Vec<Colour>>> =
            text.split('/').map(|row| row.chars().map(|c| c.to_digit(10).map(|d| d as Colour)).collect()).collect();
        rows.map(Self::grid)
    }

    /// The set of locations.
    pub fn indices(locations: impl IntoIterator<Item = (i32, i32)>) -> Self {
        Self::set(locations.into_iter().map(|(i, j)| Self::pair(i, j)).collect())
    }

    /// The set of cells `(colour, row, column)`.
    pub fn object(cells: impl IntoIterator<Item = (Colour, i32, i32)>) -> Self {
        Self::set(cells.into_iter().map(|(c, i, j)| Self::cell(c, i, j)).collect())
    }

    /// A tuple of any values, unless that would be larger or deeper than the limits.
    pub fn try_tuple(items: Vec<Value>, limits: &Limits) -> Result<Self> {
        limits.elements(items.len())?;
        Self::tuple(items).within(limits)
    }

    /// The set of any values, unless that would be larger or deeper than the limits.
    pub fn try_set(items: Vec<Value>, limits: &Limits) -> Result<Self> {
        limits.elements(items.len())?;
        Self::set(items).within(limits)
    }

    /// The value, unless its weight or nesting is above the limits.
    pub(crate) fn within(self, limits: &Limits) -> Result<Self> {
        if self.weight() > limits.weight || self.depth() > limits.nesting {
            return Err(ErrClass::Limit);
        }
        match &self {
            Self::Tuple(Tuple(seq)) | Self::Set(Set(seq)) => limits.elements(seq.items.len())?,
            _ => {}
        }
        Ok(self)
    }

    /// The rows of a grid, if this is one.
    pub fn to_rows(&self) -> Option<Vec<Vec<Colour>>> {
        if !self.is_grid() {
            return None;
        }
        let row = |row: &Value| row.items().unwrap_or_default().iter().filter_map(Value::as_int).collect();
        Some(self.items()?.iter().map(row).collect())
    }
}

impl Limits {
    /// Whether a container may have this many elements.
    pub(crate) fn elements(&self, n: usize) -> Result<()> {
        if n > self.elements { Err(ErrClass::Limit) } else { Ok(()) }
    }

    /// Whether a value that came from outside, and all its parts, is within the limits.
    pub fn admit(&self, value: &Value) -> Result<()> {
        fn parts(limits: &Limits, value: &Value) -> Result<()> {
            let items = match value {
                Value::Fn(super::Function::Closure(closure)) => closure.args(),
                other => other.items().unwrap_or_default(),
            };
            limits.elements(items.len())?;
            items.iter().try_for_each(|item| parts(limits, item))
        }
        // First what is known without looking: below that bound, looking ends.
        if value.weight() > self.weight || value.depth() > self.nesting {
            return Err(ErrClass::Limit);
        }
        parts(self, value)
    }
}
