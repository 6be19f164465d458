//! Connected components of grids: labels by union-find, which always links to the smaller label, so that components are
//! numbered by their first cells, row by row.

use super::grid::Grid;
use crate::value::Value;

/// What a component is: the flags of `objects`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Cells of one colour.
    pub univalued: bool,
    /// Joined over corners, too.
    pub diagonal: bool,
    /// Without cells of the most frequent colour.
    pub without_background: bool,
}

impl Mode {
    /// All modes; number `4 * univalued + 2 * diagonal + without_background`.
    pub const ALL: [Self; 8] = {
        let mut all = [Self { univalued: false, diagonal: false, without_background: false }; 8];
        let mut k = 0;
        while k < 8 {
            all[k] = Self { univalued: k & 4 != 0, diagonal: k & 2 != 0, without_background: k & 1 != 0 };
            k += 1;
        }
        all
    };

    /// The five modes that programs use most: T,F,T; T,T,T; T,F,F; F,T,T; F,F,T.
    pub const COMMON: [Self; 5] = [Self::ALL[5], Self::ALL[7], Self::ALL[4], Self::ALL[3], Self::ALL[1]];
}

/// A component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The lowest of its colours.
    pub colour: i8,
    /// Cells.
    pub size: u32,
    /// First row.
    pub top: u16,
    /// Last row.
    pub bottom: u16,
    /// First column.
    pub left: u16,
    /// Last column.
    pub right: u16,
    /// Its first cell, counted row by row.
    pub first: u32,
}

/// The components of a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    labels: Vec<u32>,
    table: Vec<Component>,
}

impl Components {
    /// The label of a cell of the background.
    pub const NONE: u32 = u32::MAX;

    /// For each cell the number of its component, row by row; [`NONE`](Self::NONE) for cells of the background.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The components, by their first cells, row by row.
    pub fn table(&self) -> &[Component] {
        &self.table
    }

    /// The components as `objects` gives them, a set of sets of cells. The grid must be the one that they were found in.
    pub fn to_objects(&self, grid: &Grid) -> Value {
        let mut all: Vec<Vec<(i32, i32, i32)>> = vec![Vec::new(); self.table.len()];
        for (at, (&colour, &label)) in grid.cells.iter().zip(&self.labels).enumerate() {
            if let Some(cells) = all.get_mut(label as usize) {
                cells.push((i32::from(colour), (at / grid.w) as i32, (at % grid.w) as i32));
            }
        }
        Value::set(all.into_iter().map(Value::object).collect())
    }

    pub(crate) fn of(grid: &Grid, mode: Mode, most: i8, scratch: &mut Labels) -> Self {
        let count = label(grid, mode, most, scratch);
        let none = Component { colour: i8::MAX, size: 0, top: 0, bottom: 0, left: u16::MAX, right: 0, first: 0 };
        let mut table = vec![none; count];
        let rows = grid.cells.chunks_exact(grid.w).zip(scratch.labels.chunks_exact(grid.w));
        for (i, (cells, labels)) in rows.enumerate() {
            for (j, (&colour, &label)) in cells.iter().zip(labels).enumerate() {
                let Some(c) = table.get_mut(label as usize) else { continue };
                if c.size == 0 {
                    c.top = i as u16;
                    c.first = (i * grid.w + j) as u32;
                }
                c.size += 1;
                c.bottom = i as u16;
                c.left = c.left.min(j as u16);
                c.right = c.right.max(j as u16);
                c.colour = c.colour.min(colour);
            }
        }
        Self { labels: scratch.labels.clone(), table }
    }
}

/// Labels of the last grid, and room for those of the next.
#[derive(Default)]
pub(crate) struct Labels {
    pub(crate) labels: Vec<u32>,
    parents: Vec<u32>,
}

/// Labels the cells of a grid; the number of components.
pub(crate) fn label(grid: &Grid, mode: Mode, most: i8, scratch: &mut Labels) -> usize {
    scratch.labels.clear();
    scratch.labels.resize(grid.cells.len(), Components::NONE);
    scratch.parents.clear();
    let bare = mode.without_background;
    match (mode.univalued, mode.diagonal) {
        (false, false) => pass::<false, false>(grid, bare, most, scratch),
        (false, true) => pass::<false, true>(grid, bare, most, scratch),
        (true, false) => pass::<true, false>(grid, bare, most, scratch),
        (true, true) => pass::<true, true>(grid, bare, most, scratch),
    }
    // Parents are smaller: one walk upwards numbers all.
    let mut count = 0;
    for label in 0..scratch.parents.len() {
        let parent = scratch.parents[label] as usize;
        scratch.parents[label] = if parent == label {
            count += 1;
            count - 1
        } else {
            scratch.parents[parent]
        };
    }
    if count as usize != scratch.parents.len() {
        for label in &mut scratch.labels {
            if let Some(&number) = scratch.parents.get(*label as usize) {
                *label = number;
            }
        }
    }
    count as usize
}

fn root(parents: &mut [u32], mut label: u32) -> u32 {
    loop {
        let parent = parents[label as usize];
        if parent == label {
            return label;
        }
        // Halves the path.
        let above = parents[parent as usize];
        parents[label as usize] = above;
        label = above;
    }
}

/// Joins two classes; the smaller label.
fn join(parents: &mut [u32], a: u32, b: u32) -> u32 {
    if a == b {
        return a;
    }
    let (a, b) = (root(parents, a), root(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
    low
}

/// Provisional labels, row by row: each cell looks at its neighbours above and to the left.
fn pass<const ONE: bool, const CORNERS: bool>(grid: &Grid, bare: bool, most: i8, scratch: &mut Labels) {
    const NONE: u32 = Components::NONE;
    let w = grid.w;
    let parents = &mut scratch.parents;
    let mut above: (&[i8], &[u32]) = (&[], &[]);
    for (cells, labels) in grid.cells.chunks_exact(w).zip(scratch.labels.chunks_exact_mut(w)) {
        for j in 0..w {
            let colour = cells[j];
            if bare && colour == most {
                continue;
            }
            // A neighbour's label, if it is of the same component.
            let joined = |cells: &[i8], labels: &[u32], j: usize| match (cells.get(j), labels.get(j)) {
                (Some(&c), Some(&label)) if !ONE || c == colour => label,
                _ => NONE,
            };
            let before = j.wrapping_sub(1);
            let left = joined(cells, labels, before);
            let up = joined(above.0, above.1, j);
            let found = if CORNERS {
                // The cell above touches all others.
                if up == NONE {
                    let right = joined(above.0, above.1, j + 1);
                    let other = if left == NONE { joined(above.0, above.1, before) } else { left };
                    match (right, other) {
                        (NONE, other) => other,
                        (right, NONE) => right,
                        (right, other) => join(parents, right, other),
                    }
                } else {
                    up
                }
            } else {
                match (up, left) {
                    (NONE, left) => left,
                    (up, NONE) => up,
                    (up, left) => join(parents, up, left),
                }
            };
            labels[j] = if found == NONE {
                let new = parents.len() as u32;
                parents.push(new);
                new
            } else {
                found
            };
        }
        above = (cells, labels);
    }
}
