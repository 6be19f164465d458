//! Direct batched entry points: hot primitives on plain grids, without programs or values.
//!
//! Work is spread over the threads of the current [`rayon`] pool; results never depend on their number.

mod components;
mod grid;

use rayon::prelude::*;

pub use crate::isometry::Isometry;
pub use components::{Component, Components, Mode};
pub(crate) use components::{Labels, label};
pub use grid::Grid;
pub(crate) use grid::background;

/// Connected components of every grid in every mode, grid by grid: entry `g * modes.len() + m` is grid `g` in mode `m`.
///
/// The background of a grid is found once for all modes.
///
/// ```
/// use grid_dsl::ops::{Grid, Mode, objects_batch};
///
/// let grid = Grid::from_digits("0110/0010/3000")?;
/// let found = objects_batch(&[grid], &[Mode::ALL[5]]);
/// assert_eq!(found[0].table().iter().map(|c| (c.colour, c.size)).collect::<Vec<_>>(), [(1, 3), (3, 1)]);
/// # Ok::<(), grid_dsl::ErrClass>(())
/// ```
pub fn objects_batch(grids: &[Grid], modes: &[Mode]) -> Vec<Components> {
    let of_chunk = |chunk: &[Grid]| {
        let mut scratch = Labels::default();
        let mut found = Vec::with_capacity(chunk.len() * modes.len());
        for grid in chunk {
            let most = background(grid.cells());
            found.extend(modes.iter().map(|&mode| Components::of(grid, mode, most, &mut scratch)));
        }
        found
    };
    if grids.len() < CHUNK {
        return of_chunk(grids);
    }
    let parts: Vec<Vec<Components>> = grids.par_chunks(CHUNK).map(of_chunk).collect();
    parts.into_iter().flatten().collect()
}

/// Grids that one task of the pool takes.
const CHUNK: usize = 64;

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
