//! Grids as bytes.

use crate::error::{ErrClass, Result};
use crate::fast::Val;
use crate::isometry::Isometry;
use crate::value::Value;

/// A grid of small numbers, row by row; at least one row and one column, at most 65,536 of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) cells: Vec<i8>,
}

impl Grid {
    /// A grid of `h * w` cells, row by row.
    ///
    /// # Errors
    ///
    /// [`ErrClass::Type`] for a side of 0 or another number of cells, [`ErrClass::Limit`] for a longer side.
    pub fn new(h: usize, w: usize, cells: Vec<i8>) -> Result<Self> {
        if h == 0 || w == 0 || h.checked_mul(w) != Some(cells.len()) {
            return Err(ErrClass::Type);
        }
        if h.max(w) > 1 << 16 {
            return Err(ErrClass::Limit);
        }
        Ok(Self { h, w, cells })
    }

    /// The grid of a text like `012/345`.
    ///
    /// # Errors
    ///
    /// [`ErrClass::Type`] for other texts.
    pub fn from_digits(text: &str) -> Result<Self> {
        Self::try_from(&Value::grid_from_digits(text).ok_or(ErrClass::Type)?)
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.h
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.w
    }

    /// The cells, row by row.
    pub fn cells(&self) -> &[i8] {
        &self.cells
    }

    /// The grid as a value of the language.
    pub fn to_value(&self) -> Value {
        let row = |row: &[i8]| Value::tuple(row.iter().map(|&c| Value::Int(i32::from(c))).collect());
        Value::tuple(self.cells.chunks(self.w).map(row).collect())
    }

    /// The grid turned or mirrored.
    pub fn turned(&self, isometry: Isometry) -> Self {
        let (h, w, cells) = (self.h, self.w, &self.cells);
        let mut out = Vec::with_capacity(cells.len());
        // For transposed forms: columns from the first or the last, each from the top or the bottom.
        let mut columns = |from_last: bool, from_bottom: bool| {
            for k in 0..w {
                let j = if from_last { w - 1 - k } else { k };
                if from_bottom {
                    out.extend((0..h).rev().map(|i| cells[i * w + j]));
                } else {
                    out.extend((0..h).map(|i| cells[i * w + j]));
                }
            }
        };
        match isometry {
            Isometry::Identity => return self.clone(),
            Isometry::Rot90 => columns(false, true),
            Isometry::Rot270 => columns(true, false),
            Isometry::Dmirror => columns(false, false),
            Isometry::Cmirror => columns(true, true),
            Isometry::Rot180 => {
                out.extend(cells.iter().rev());
                return Self { h, w, cells: out };
            }
            Isometry::Hmirror => {
                cells.chunks(w).rev().for_each(|row| out.extend_from_slice(row));
                return Self { h, w, cells: out };
            }
            Isometry::Vmirror => {
                cells.chunks(w).for_each(|row| out.extend(row.iter().rev()));
                return Self { h, w, cells: out };
            }
        }
        Self { h: w, w: h, cells: out }
    }
}

impl TryFrom<&Value> for Grid {
    type Error = ErrClass;

    /// [`ErrClass::Type`] for what is no grid of plain numbers in -128..=127 with at least one cell, [`ErrClass::Limit`] for a
    /// side above 65,536.
    fn try_from(value: &Value) -> Result<Self> {
        match Val::from(value) {
            Val::Grid(grid) => Self::new(grid.h, grid.w, grid.cells.clone()),
            _ => Err(ErrClass::Type),
        }
    }
}

/// How many cells are of a colour. Sums of bytes, so that it is done many cells at a time.
fn count(cells: &[i8], colour: i8) -> u32 {
    cells.chunks(255).map(|part| u32::from(part.iter().map(|&c| u8::from(c == colour)).sum::<u8>())).sum()
}

/// Colours that are there, ascending, with their counts.
pub(crate) fn colours(cells: &[i8]) -> Vec<(i8, u32)> {
    let (Some(&low), Some(&high)) = (cells.iter().min(), cells.iter().max()) else { return Vec::new() };
    if i16::from(high) - i16::from(low) < 16 {
        return (low..=high).map(|c| (c, count(cells, c))).filter(|(_, n)| *n > 0).collect();
    }
    let mut counts = [0u32; 256];
    for &cell in cells {
        counts[(i16::from(cell) + 128) as usize] += 1;
    }
    (low..=high).map(|c| (c, counts[(i16::from(c) + 128) as usize])).filter(|(_, n)| *n > 0).collect()
}

/// The most frequent colour of cells, the lowest of several; 0 without cells.
pub(crate) fn background(cells: &[i8]) -> i8 {
    let (low, high) = cells.iter().fold((i8::MAX, i8::MIN), |(low, high), &c| (low.min(c), high.max(c)));
    if low > high || i16::from(high) - i16::from(low) >= 16 {
        let counts = colours(cells);
        return counts.into_iter().rev().max_by_key(|(_, n)| *n).map_or(0, |(c, _)| c);
    }
    let (mut best, mut most) = (low, 0);
    let mut left = cells.len() as u32;
    for colour in low..=high {
        let n = count(cells, colour);
        if n > most {
            (best, most) = (colour, n);
        }
        left -= n;
        // What is left cannot be more.
        if left <= most {
            break;
        }
    }
    best
}
