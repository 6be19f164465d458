//! The matrix: 16 x 16 blocks on and above the block diagonal.

use ndarray::{ArrayView4, ArrayView5};

use crate::error::{AtaError, Result};

/// Rows and columns of a block.
pub const BLOCK: usize = 16;
/// Elements of a block.
pub const AREA: usize = BLOCK * BLOCK;

/// What becomes of the two triangles of a matrix, or of a block on the diagonal, where they differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SymmetryPolicy {
    /// An error when a pair differs by more than this times the largest magnitude of its block; the upper one is kept.
    Check(f64),
    /// The element above the diagonal counts.
    UpperWins,
    /// The mean of both.
    Average,
}

impl Default for SymmetryPolicy {
    fn default() -> Self {
        Self::Check(1e-6)
    }
}

/// What constructors take. A [`SymmetryPolicy`] stands for one that refuses what is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accept {
    /// What becomes of triangles that differ.
    pub symmetry: SymmetryPolicy,
    /// Whether NaN and infinities are taken. They reach every row that a product multiplies them into; zeros in skipped
    /// blocks hide none of them, but a NaN of a vector does not reach rows whose blocks are skipped.
    pub non_finite: bool,
}

impl From<SymmetryPolicy> for Accept {
    fn from(symmetry: SymmetryPolicy) -> Self {
        Self { symmetry, non_finite: false }
    }
}

/// A symmetric matrix a channel, in blocks: `blocks[c, k, i, r, s] = A_c[16 i + r, 16 (i + d_k) + s]`.
///
/// `offsets` are the block diagonals `d_0 < d_1 < …`, from 0 to the number of block rows; gaps are allowed and 0 may be
/// absent. What lies below the block diagonal is the mirror image. All values are finite unless [`Accept`] says otherwise; slots beyond the matrix and
/// padding behind row `n` are zero. Blocks without a non-zero in any channel are skipped by every product, so `0 · NaN`
/// of such a block does not reach a result.
///
/// ```
/// use ata_wmma::{BlockDiag, SymmetryPolicy};
/// let dense = ndarray::array![[[4.0f32, 1.0], [1.0, 3.0]]];
/// let a = BlockDiag::from_dense(dense.view(), SymmetryPolicy::default())?;
/// assert_eq!((a.n(), a.get(0, 1, 0), a.nnz()), (2, 1.0, 4));
/// # Ok::<(), ata_wmma::AtaError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BlockDiag {
    pub(crate) channels: usize,
    pub(crate) n: usize,
    pub(crate) offsets: Vec<u32>,
    /// `[channels, offsets, block rows, 16, 16]`.
    pub(crate) blocks: Vec<f32>,
    /// `[offsets, block rows]`: whether some channel has a non-zero.
    pub(crate) mask: Vec<bool>,
    pub(crate) maybe_indefinite: bool,
    /// Whether NaN and infinities are meant.
    pub(crate) non_finite: bool,
}

/// Offsets strictly ascending, below the number of block rows.
pub(crate) fn check_offsets(offsets: &[u32], nb: usize) -> Result<()> {
    if offsets.is_empty() {
        return Err(AtaError::Offsets { why: "there are none; a matrix needs at least one block diagonal".into() });
    }
    for (k, &d) in offsets.iter().enumerate() {
        if d as usize >= nb {
            let why = format!("offset {d} at {k} is not below the {nb} block rows");
            return Err(AtaError::Offsets { why });
        }
        if k > 0 && offsets[k - 1] >= d {
            let why = format!("{d} at {k} follows {}; sort them, each once", offsets[k - 1]);
            return Err(AtaError::Offsets { why });
        }
    }
    Ok(())
}

/// Settles pair by pair what a block on the diagonal holds. `row` is the block's first row, for messages.
pub(crate) fn settle<T: Copy + Into<f64>>(
    block: &mut [T],
    policy: SymmetryPolicy,
    of: impl Fn(f64) -> T,
    (channel, row): (usize, usize),
) -> Result<()> {
    let largest = block.iter().map(|&v| v.into().abs()).fold(0.0, f64::max);
    for r in 0..BLOCK {
        for s in r + 1..BLOCK {
            let (value, mirror): (f64, f64) = (block[r * BLOCK + s].into(), block[s * BLOCK + r].into());
            match policy {
                SymmetryPolicy::Check(tol) => {
                    let allowed = tol * largest;
                    if (value - mirror).abs() > allowed {
                        let (row, column) = (row + r, row + s);
                        let what = "matrix".to_owned();
                        return Err(AtaError::Asymmetric { what, channel, row, column, value, mirror, allowed });
                    }
                }
                SymmetryPolicy::UpperWins => {}
                SymmetryPolicy::Average => block[r * BLOCK + s] = of(f64::midpoint(value, mirror)),
            }
            block[s * BLOCK + r] = block[r * BLOCK + s];
        }
    }
    Ok(())
}

impl BlockDiag {
    /// A matrix of zeros with these block diagonals.
    pub(crate) fn zeros(channels: usize, n: usize, offsets: Vec<u32>) -> Result<Self> {
        if channels == 0 || n == 0 {
            return Err(AtaError::value(
                "matrix",
                format!("{channels} channels of {n} unknowns; both must be positive"),
            ));
        }
        let nb = n.div_ceil(BLOCK);
        if u32::try_from(nb).is_err() {
            return Err(AtaError::value("n", format!("{n} unknowns are more than 2^36")));
        }
        check_offsets(&offsets, nb)?;
        let slots = offsets.len() * nb;
        let len = channels.checked_mul(slots).and_then(|v| v.checked_mul(AREA));
        let len = len.ok_or_else(|| AtaError::value("matrix", "more elements than memory can have"))?;
        // Asked for on trial, since what follows cannot fail but by an abort.
        if Vec::<f32>::new().try_reserve_exact(len).is_err() {
            return Err(AtaError::value(
                "matrix",
                format!(
                    "{n} unknowns on {} block diagonals take {len} numbers, more than there is memory",
                    offsets.len()
                ),
            ));
        }
        let (blocks, mask) = (vec![0.0; len], vec![false; slots]);
        Ok(Self { channels, n, offsets, blocks, mask, maybe_indefinite: false, non_finite: false })
    }

    /// From blocks `[C, D, ceil(n / 16), 16, 16]` and their offsets. Slots beyond the matrix, and rows and columns behind
    /// `n`, may hold anything: they are not read.
    ///
    /// # Errors
    /// For a wrong shape, offsets that are not strictly ascending, values that are not finite, and blocks on the
    /// diagonal that are less symmetric than accepted.
    pub fn from_blocks(
        blocks: ArrayView5<'_, f32>,
        offsets: &[u32],
        n: usize,
        accept: impl Into<Accept>,
    ) -> Result<Self> {
        let accept = accept.into();
        let (c, d, nb, ..) = blocks.dim();
        let expected = [c, offsets.len(), n.div_ceil(BLOCK), BLOCK, BLOCK];
        if blocks.shape() != expected {
            return Err(AtaError::shape("blocks", expected, blocks.shape()));
        }
        let mut out = Self::zeros(c, n, offsets.to_vec())?;
        for ((c, k, i, r, s), &v) in blocks.indexed_iter() {
            let j = i + out.offsets[k] as usize;
            if j >= nb || BLOCK * i + r >= n || BLOCK * j + s >= n {
                continue;
            }
            if !v.is_finite() && !accept.non_finite {
                let index = vec![c, k, i, r, s];
                return Err(AtaError::NonFinite { what: "blocks".into(), index, value: v.into() });
            }
            out.blocks[(((c * d + k) * nb + i) * BLOCK + r) * BLOCK + s] = v;
        }
        if out.offsets[0] == 0 {
            for c in 0..c {
                for i in 0..nb {
                    settle(out.block_mut(c, 0, i), accept.symmetry, |v| v as f32, (c, BLOCK * i))?;
                }
            }
        }
        out.non_finite = accept.non_finite;
        out.find_mask();
        Ok(out)
    }

    /// From one block a diagonal, `[C, D, 16, 16]`, repeated along all of it: a block-Toeplitz matrix of `16 nb` rows.
    pub fn from_block_toeplitz(
        blocks: ArrayView4<'_, f32>,
        offsets: &[u32],
        nb: usize,
        accept: impl Into<Accept>,
    ) -> Result<Self> {
        let (c, d, ..) = blocks.dim();
        let expected = [c, offsets.len(), BLOCK, BLOCK];
        if blocks.shape() != expected {
            return Err(AtaError::shape("blocks4", expected, blocks.shape()));
        }
        let all = blocks.insert_axis(ndarray::Axis(2));
        let all = all.broadcast((c, d, nb, BLOCK, BLOCK));
        let all = all.ok_or_else(|| AtaError::value("block rows", format!("{nb} are too many")))?;
        Self::from_blocks(all, offsets, BLOCK * nb, accept)
    }

    /// Block `i` of diagonal `k`, row-major.
    pub fn block(&self, c: usize, k: usize, i: usize) -> &[f32] {
        &self.blocks[((c * self.offsets.len() + k) * self.block_rows() + i) * AREA..][..AREA]
    }

    pub(crate) fn block_mut(&mut self, c: usize, k: usize, i: usize) -> &mut [f32] {
        let at = ((c * self.offsets.len() + k) * self.block_rows() + i) * AREA;
        &mut self.blocks[at..][..AREA]
    }

    /// Finds which blocks hold a non-zero.
    pub(crate) fn find_mask(&mut self) {
        let nb = self.block_rows();
        self.mask = (0..self.offsets.len() * nb)
            .map(|slot| (0..self.channels).any(|c| self.block(c, slot / nb, slot % nb).iter().any(|&v| v != 0.0)))
            .collect();
    }

    /// Channels, each with a matrix of its own.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of each matrix.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Block rows: `ceil(n / 16)`.
    pub fn block_rows(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// The stored block diagonals.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Number of stored block diagonals.
    pub fn block_diag_count(&self) -> usize {
        self.offsets.len()
    }

    /// All blocks, `[C, D, nb, 16, 16]` row-major.
    pub fn blocks(&self) -> &[f32] {
        &self.blocks
    }

    /// Whether block `i` of diagonal `k` has a non-zero in some channel.
    pub fn is_stored(&self, k: usize, i: usize) -> bool {
        self.mask[k * self.block_rows() + i]
    }

    /// Whether entries were dropped without making up for them, so that the matrix may be indefinite.
    pub fn maybe_indefinite(&self) -> bool {
        self.maybe_indefinite
    }

    /// Diagonal and row of each block with a non-zero, by block row, then by diagonal.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let nb = self.block_rows();
        (0..nb).flat_map(move |i| (0..self.offsets.len()).map(move |k| (k, i))).filter(|&(k, i)| self.is_stored(k, i))
    }
}
