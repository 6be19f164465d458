//! Grids of plain numbers as arrays, and their components as lists of cells.

use crate::error::Limits;
use crate::value::Value;

/// A grid with at least one cell, all of them numbers that are no truth values.
pub(super) struct Dense {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) cells: Vec<i32>,
}

/// Weights of what objects are made of: a location, a cell.
pub(super) const LOCATION: u64 = 3;
pub(super) const CELL: u64 = 2 + LOCATION;

/// A component: positions in canonical order of its cells.
pub(super) struct Component {
    pub(super) cells: Vec<u32>,
}

impl Dense {
    /// Reads a grid within the limits.
    pub(super) fn read(value: &Value, limits: &Limits) -> Option<Self> {
        let (height, width) = super::isometry::sides(value)?;
        if height.max(width) > limits.side {
            return None;
        }
        let mut cells = Vec::with_capacity(height * width);
        for row in value.items()? {
            for cell in row.items()? {
                match cell {
                    Value::Int(n) => cells.push(*n),
                    _ => return None,
                }
            }
        }
        Some(Self { height, width, cells })
    }

    /// The most frequent colour, the lowest of several.
    pub(super) fn background(&self) -> i32 {
        let mut counts = std::collections::BTreeMap::<i32, usize>::new();
        for &cell in &self.cells {
            *counts.entry(cell).or_default() += 1;
        }
        counts.into_iter().rev().max_by_key(|(_, n)| *n).map_or(0, |(colour, _)| colour)
    }

    /// Connected components without those of the background, if one is given.
    pub(super) fn components(&self, univalued: bool, diagonal: bool, background: Option<i32>) -> Vec<Component> {
        let (h, w) = (self.height, self.width);
        let mut seen: Vec<bool> = match background {
            Some(colour) => self.cells.iter().map(|&c| c == colour).collect(),
            None => vec![false; h * w],
        };
        let (mut all, mut open) = (Vec::new(), Vec::new());
        for start in 0..h * w {
            if seen[start] {
                continue;
            }
            seen[start] = true;
            open.push(start);
            let mut cells = Vec::new();
            while let Some(at) = open.pop() {
                cells.push(at as u32);
                let (i, j) = (at / w, at % w);
                for ni in i.saturating_sub(1)..(i + 2).min(h) {
                    for nj in j.saturating_sub(1)..(j + 2).min(w) {
                        let next = ni * w + nj;
                        if seen[next]
                            || !(diagonal || ni == i || nj == j)
                            || (univalued && self.cells[next] != self.cells[at])
                        {
                            continue;
                        }
                        seen[next] = true;
                        open.push(next);
                    }
                }
            }
            cells.sort_unstable_by_key(|&at| (self.cells[at as usize], at));
            all.push(Component { cells });
        }
        all
    }

    /// The colour of a component's first cell: its lowest.
    pub(super) fn colour(&self, component: &Component) -> i32 {
        component.cells.first().map_or(0, |&at| self.cells[at as usize])
    }

    /// Height and width of a component's box.
    pub(super) fn extent(&self, component: &Component) -> (usize, usize) {
        let rows = component.cells.iter().map(|&at| at as usize / self.width);
        let columns = component.cells.iter().map(|&at| at as usize % self.width);
        let span = |all: &mut dyn Iterator<Item = usize>| {
            let (low, high) = all.fold((usize::MAX, 0), |(low, high), n| (low.min(n), high.max(n)));
            (high + 1).saturating_sub(low)
        };
        (span(&mut rows.into_iter()), span(&mut columns.into_iter()))
    }
}
