//! The dense filters of the directional tree's nodes.

use ndarray::{Array2, ArrayBase, Data, Ix2};

use super::{Modulation, Resampling, modulate2, resampz};
use crate::spec::Geometry;
use crate::tree::{SignedBy, node_map};
use crate::{Real, Result};

/// The four parallelogram versions of each filter of a diamond pair: `parafilters` of the toolbox, which returns the
/// two lists as `{f1}` and `{f2}`.
///
/// 1: rows modulated, sheared by [`Resampling::R1`]; 2: columns modulated, [`Resampling::R2`]; 3 and 4: the transposes
/// of the modulated filters of 1 and 2, sheared by [`Resampling::R3`] and [`Resampling::R4`].
pub fn parafilters<T: Real>(
    h1: &ArrayBase<impl Data<Elem = T>, Ix2>,
    h2: &ArrayBase<impl Data<Elem = T>, Ix2>,
) -> ([Array2<T>; 4], [Array2<T>; 4]) {
    fn four<T: Real>(h: &ArrayBase<impl Data<Elem = T>, Ix2>) -> [Array2<T>; 4] {
        let by_rows = modulate2(h, Modulation::Rows);
        let by_columns = modulate2(h, Modulation::Columns);
        [
            resampz(&by_rows, Resampling::R1),
            resampz(&by_columns, Resampling::R2),
            resampz(&by_rows.t(), Resampling::R3),
            resampz(&by_columns.t(), Resampling::R4),
        ]
    }
    (four(h1), four(h2))
}

/// How the dense filter of a node is made and applied: `zconv2(x, h, matrix)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DenseNode {
    /// Which filter: `None` for the fan filter (the diamond one with its columns modulated), else an index from 0 into
    /// the lists of [`parafilters`].
    pub parallelogram: Option<usize>,
    /// The sampling matrix `[[m11, m12], [m21, m22]]`. Its first coordinate is the column, as in the toolbox.
    pub matrix: [[i64; 2]; 2],
}

/// How the toolbox's `nsdfbdec` applies node `k` of depth `l`; for [`Geometry::Wedge`], how it should have.
///
/// # Errors
/// When there is no such node.
pub fn dense_node(geometry: Geometry, l: u8, k: usize) -> Result<DenseNode> {
    let map = node_map(geometry, l, k)?;
    // The filter holds the base tap (n1, n2) at `sheared` (row, column); the matrix takes it from there to the node's
    // offset, so matrix * sheared = map. Both are unimodular up to the node's own scale: the division is exact.
    let e = if map.signed_by == SignedBy::N2 { 1 } else { -1 };
    let first = l >= 3 && k <= 1 << (l - 2);
    let (parallelogram, sheared) = match (l, first) {
        (1 | 2, _) => (None, [[1, 0], [0, 1]]),
        (_, true) => (Some(usize::from(e > 0)), [[1, e], [0, 1]]),
        (_, false) => (Some(2 + usize::from(e > 0)), [[0, 1], [1, e]]),
    };
    // The inverse of a matrix with determinant ±1.
    let [[a, b], [c, d]] = sheared;
    let determinant = a * d - b * c;
    let inverse = [[d * determinant, -b * determinant], [-c * determinant, a * determinant]];
    let product = |i: usize, j: usize| map.matrix[i][0] * inverse[0][j] + map.matrix[i][1] * inverse[1][j];
    // Rows and columns change places: the toolbox writes the column first.
    Ok(DenseNode { parallelogram, matrix: [[product(1, 1), product(1, 0)], [product(0, 1), product(0, 0)]] })
}
