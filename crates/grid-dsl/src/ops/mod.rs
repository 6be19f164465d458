//! Direct batched entry points: hot primitives on plain grids, without programs or values.
//!
//! Work is spread over the threads of the current [`rayon`] pool; results never depend on their number.

mod components;
mod grid;
mod masks;
mod zones;

use rayon::prelude::*;

pub use crate::isometry::Isometry;
pub(crate) use components::Labeller;
pub use components::{Component, Components, ComponentsBatch, Mode};
pub use grid::Grid;
pub(crate) use grid::background;

/// Grids that one task of the pool takes at least, where a grid takes little time.
const CHUNK: usize = 64;

/// Connected components of every grid in every mode.
///
/// A grid is read once for all modes: its flat zones, of which components are unions.
///
/// ```
/// use grid_dsl::ops::{Grid, Mode, objects_batch};
///
/// let grid = Grid::from_digits("0110/0010/3000")?;
/// let found = objects_batch(&[grid], &[Mode::ALL[5]]);
/// let table = found.get(0, 0).expect("grid 0 in mode 0").table();
/// assert_eq!(table.iter().map(|c| (c.colour, c.size)).collect::<Vec<_>>(), [(1, 3), (3, 1)]);
/// # Ok::<(), grid_dsl::ErrClass>(())
/// ```
pub fn objects_batch(grids: &[Grid], modes: &[Mode]) -> ComponentsBatch {
    let mut found = ComponentsBatch::default();
    objects_batch_into(grids, modes, &mut found);
    found
}

/// As [`objects_batch`], in place of what `found` holds. Its memory is used again: batch after batch this is faster.
pub fn objects_batch_into(grids: &[Grid], modes: &[Mode], found: &mut ComponentsBatch) {
    found.find(grids, modes);
}

/// The most frequent colour of every grid, the lowest of several.
pub fn mostcolor_batch(grids: &[Grid]) -> Vec<i8> {
    grids.par_iter().with_min_len(CHUNK).map(|grid| background(grid.cells())).collect()
}

/// The colours of every grid, ascending.
pub fn palette_batch(grids: &[Grid]) -> Vec<Vec<i8>> {
    let palette = |grid: &Grid| grid::colours(grid.cells()).into_iter().map(|(colour, _)| colour).collect();
    grids.par_iter().with_min_len(CHUNK).map(palette).collect()
}

/// Every grid turned or mirrored.
pub fn isometry_batch(grids: &[Grid], isometry: Isometry) -> Vec<Grid> {
    grids.par_iter().with_min_len(CHUNK).map(|grid| grid.turned(isometry)).collect()
}

#[cfg(test)]
mod tests;
