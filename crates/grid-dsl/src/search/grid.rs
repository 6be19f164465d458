//! Small grids in place: what searches and augmentations work on.

use crate::value::Value;

/// Rows and columns of a [`Small`], at most. All grids of the ARC fit.
pub const SIDE: usize = 30;

/// A grid of the colours 0 to 9 with at most [`SIDE`] rows and columns, and at least one of each.
#[derive(Clone)]
pub struct Small {
    height: u8,
    width: u8,
    cells: [u8; SIDE * SIDE],
}

impl Default for Small {
    /// One cell of colour 0.
    fn default() -> Self {
        Self { height: 1, width: 1, cells: [0; SIDE * SIDE] }
    }
}

impl Small {
    /// The grid of a value, if it is one that fits.
    pub fn read(value: &Value) -> Option<Self> {
        let rows = value.items()?;
        let mut small = Self::default();
        small.reshape(rows.len(), rows.first()?.items()?.len())?;
        for (row, to) in rows.iter().zip(small.cells.chunks_mut(usize::from(small.width))) {
            let (Value::Tuple(row), width) = (row, to.len()) else { return None };
            if row.len() != width {
                return None;
            }
            for (cell, to) in row.iter().zip(to) {
                *to = match cell {
                    Value::Int(n @ 0..=9) => *n as u8,
                    _ => return None,
                };
            }
        }
        matches!(value, Value::Tuple(_)).then_some(small)
    }

    /// What keeps a value from being such a grid, in words; nothing if it is one.
    pub(crate) fn flaw(value: &Value) -> Option<String> {
        if Self::read(value).is_some() {
            return None;
        }
        let Some(rows) = value.to_rows() else { return Some(format!("it is no grid: {}", value.kind())) };
        let (height, width) = (rows.len(), rows.first().map_or(0, Vec::len));
        if height == 0 || width == 0 {
            return Some("it has no cells".to_owned());
        }
        if height > SIDE || width > SIDE {
            return Some(format!("it is {height} x {width}, and {SIDE} x {SIDE} is the most"));
        }
        let cells = (0..).zip(&rows).flat_map(|(i, row)| (0..).zip(row).map(move |(j, colour)| ((i, j), colour)));
        let other = cells.into_iter().find(|(_, colour)| !(0..=9).contains(*colour));
        Some(match other {
            Some(((i, j), colour)) => format!("row {i}, column {j} holds {colour}, and colours are 0 to 9"),
            None => "a cell is a truth value".to_owned(),
        })
    }

    /// The grid as a value.
    pub fn to_value(&self) -> Value {
        Value::grid(self.rows().map(|row| row.iter().map(|&c| i32::from(c)).collect::<Vec<_>>()))
    }

    /// Rows.
    pub fn height(&self) -> usize {
        usize::from(self.height)
    }

    /// Columns.
    pub fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// All cells, row by row.
    pub fn cells(&self) -> &[u8] {
        &self.cells[..self.height() * self.width()]
    }

    /// All cells, to write.
    pub fn cells_mut(&mut self) -> &mut [u8] {
        let n = self.height() * self.width();
        &mut self.cells[..n]
    }

    /// The rows.
    pub fn rows(&self) -> std::slice::Chunks<'_, u8> {
        self.cells().chunks(self.width())
    }

    /// The colour of a cell.
    pub(super) fn at(&self, i: usize, j: usize) -> u8 {
        self.cells[i * self.width() + j]
    }

    /// Takes other sides, if they fit. Cells are then anything.
    pub(super) fn reshape(&mut self, height: usize, width: usize) -> Option<&mut Self> {
        if height == 0 || width == 0 || height > SIDE || width > SIDE {
            return None;
        }
        (self.height, self.width) = (height as u8, width as u8);
        Some(self)
    }

    /// Takes other sides and a colour for each cell.
    pub(super) fn build(&mut self, height: usize, width: usize, colour: impl Fn(usize, usize) -> u8) -> Option<()> {
        self.reshape(height, width)?;
        for (i, row) in self.cells_mut().chunks_mut(width).enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell = colour(i, j);
            }
        }
        Some(())
    }

    /// The part of another grid with these rows and columns.
    pub(super) fn part(
        &mut self,
        from: &Self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) -> Option<()> {
        let to = self.reshape(rows.len(), columns.len())?.cells_mut().chunks_exact_mut(columns.len());
        for (to, from) in to.zip(from.rows().skip(rows.start)) {
            to.copy_from_slice(&from[columns.clone()]);
        }
        Some(())
    }

    /// How often each colour is there.
    pub(super) fn histogram(&self) -> [u16; 10] {
        let mut counts = [0; 10];
        self.cells().iter().for_each(|&c| counts[usize::from(c)] += 1);
        counts
    }

    /// The most frequent colour, the lowest of several.
    pub(super) fn most(&self) -> u8 {
        let counts = self.histogram();
        (0..10).rev().max_by_key(|&c| counts[usize::from(c)]).unwrap_or(0)
    }

    /// The least frequent colour of those that are there, the lowest of several.
    pub(super) fn least(&self) -> u8 {
        let counts = self.histogram();
        (0..10).filter(|&c| counts[usize::from(c)] > 0).min_by_key(|&c| counts[usize::from(c)]).unwrap_or(0)
    }

    /// Two mixes of sides and cells, 64 bits each: equal grids have equal ones, and others hardly ever.
    pub(super) fn mix(&self, seed: u128) -> u128 {
        let (mut a, mut b) = ((seed >> 64) as u64, seed as u64);
        let mut eat = |word: u64| {
            a = (a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            b = (b.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        };
        eat(u64::from(self.height) << 8 | u64::from(self.width));
        let words = self.cells().chunks(16);
        for cells in words {
            eat(cells.iter().fold(1, |word, &c| word << 4 | u64::from(c)));
        }
        u128::from(a ^ a >> 31) << 64 | u128::from(b ^ b >> 29)
    }
}

impl PartialEq for Small {
    fn eq(&self, other: &Self) -> bool {
        (self.height, self.width) == (other.height, other.width) && self.cells() == other.cells()
    }
}

impl Eq for Small {}

impl std::fmt::Debug for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_value().fmt(f)
    }
}
