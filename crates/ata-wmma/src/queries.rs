//! Questions to a matrix, and small changes of it.

use ndarray::Array2;
use serde::Serialize;

use crate::blocks::{AREA, Accept, BLOCK, BlockDiag, SymmetryPolicy};
use crate::builder::Builder;
use crate::error::{AtaError, Result};
use crate::precision::Precision;
use crate::schedule::{Layout, Schedule};

/// What [`BlockDiag::threshold`] does about the entries that it drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensate {
    /// Nothing; the matrix may become indefinite.
    None,
    /// Adds `|a_ij|` of each dropped pair to both diagonal entries, so that `A' - A` is positive semidefinite.
    Diagonal,
}

/// Figures of a matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Rows.
    pub n: usize,
    /// Channels.
    pub channels: usize,
    /// Block rows.
    pub block_rows: usize,
    /// Stored block diagonals.
    pub offsets: Vec<u32>,
    /// Blocks on and above the diagonal with a non-zero.
    pub nonempty_upper_blocks: usize,
    /// Non-zeros of both triangles, all channels.
    pub nnz: usize,
    /// Largest `|i - j|` with a non-zero.
    pub bandwidth: usize,
    /// Share of the issued half tiles that hold a block.
    pub tile_efficiency: f64,
    /// Bytes on a device for each precision, upper layout.
    pub bytes: Vec<(String, usize)>,
    /// Smallest entry of the main diagonal.
    pub min_diagonal: f32,
    /// Rows without a non-zero, over all channels.
    pub dead_rows: usize,
    /// Whether dropped entries may have made it indefinite.
    pub maybe_indefinite: bool,
}

impl BlockDiag {
    /// An element of channel `c`; 0 outside of the stored blocks.
    ///
    /// # Panics
    /// When an index lies outside of the matrix.
    pub fn get(&self, c: usize, i: usize, j: usize) -> f32 {
        assert!(c < self.channels && i < self.n && j < self.n, "({c}, {i}, {j}) lies outside of the matrix");
        let (i, j) = (i.min(j), i.max(j));
        let d = (j / BLOCK - i / BLOCK) as u32;
        match self.offsets.binary_search(&d) {
            Ok(k) => self.block(c, k, i / BLOCK)[(i % BLOCK) * BLOCK + j % BLOCK],
            Err(_) => 0.0,
        }
    }

    /// The main diagonal, `[C, n]`.
    pub fn diagonal(&self) -> Array2<f32> {
        Array2::from_shape_fn((self.channels, self.n), |(c, i)| self.get(c, i, i))
    }

    /// Sums of magnitudes of the rows, `[C, n]`, taken in `f64`.
    pub fn row_abs_sum(&self) -> Array2<f64> {
        let mut out = Array2::zeros((self.channels, self.n));
        self.for_each_upper(|c, i, j, v| {
            out[(c, i)] += f64::from(v).abs();
            if i != j {
                out[(c, j)] += f64::from(v).abs();
            }
        });
        out
    }

    /// A guess at the smallest eigenvalue of each channel over its largest, by power iteration on `s I - A` in `f64`;
    /// a matrix is probably positive semidefinite when none is below about `-1e-6`.
    pub fn is_psd_estimate(&self) -> bool {
        let sums = self.row_abs_sum();
        (0..self.channels).all(|c| {
            let bound = sums.row(c).iter().copied().fold(0.0, f64::max);
            if bound == 0.0 {
                return true;
            }
            let mut v: Vec<f64> = (0..self.n).map(|i| 1.0 + ((i * 7919) % 101) as f64 / 101.0).collect();
            let mut largest = 0.0;
            for _ in 0..60 {
                let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
                for v in &mut v {
                    *v /= norm;
                }
                let mut w: Vec<f64> = v.iter().map(|v| bound * v).collect();
                let mut add = |i: usize, j: usize, a: f32| w[i] -= f64::from(a) * v[j];
                self.for_each_upper(|k, i, j, a| {
                    if k == c {
                        add(i, j, a);
                        if i != j {
                            add(j, i, a);
                        }
                    }
                });
                largest = v.iter().zip(&w).map(|(v, w)| v * w).sum();
                v = w;
                if v.iter().all(|&v| v == 0.0) {
                    break;
                }
            }
            // The largest eigenvalue of s I - A is s minus the smallest of A.
            largest <= bound * (1.0 + 1e-6)
        })
    }

    /// Blocks on and above the diagonal with a non-zero in some channel.
    pub fn nnz_blocks(&self) -> usize {
        self.stored().count()
    }

    /// Non-zeros of both triangles, all channels.
    pub fn nnz(&self) -> usize {
        let mut count = 0;
        self.for_each_upper(|_, i, j, _| count += if i == j { 1 } else { 2 });
        count
    }

    /// Largest `|i - j|` with a non-zero.
    pub fn bandwidth(&self) -> usize {
        let mut widest = 0;
        self.for_each_upper(|_, i, j, _| widest = widest.max(j - i));
        widest
    }

    /// Share of the half tiles of 16 x 16 that 32 x 16 tiles issue which hold a block.
    pub fn tile_efficiency(&self) -> f64 {
        Schedule::of(self, Layout::Upper).tile_efficiency()
    }

    /// Bytes of the matrix on a device.
    pub fn memory_bytes(&self, precision: Precision, layout: Layout) -> usize {
        let blocks = Schedule::of(self, layout).packed().len();
        blocks * self.channels * AREA * precision.bytes_an_element()
    }

    /// All figures.
    pub fn stats(&self) -> Stats {
        let sums = self.row_abs_sum();
        Stats {
            n: self.n,
            channels: self.channels,
            block_rows: self.block_rows(),
            offsets: self.offsets.clone(),
            nonempty_upper_blocks: self.nnz_blocks(),
            nnz: self.nnz(),
            bandwidth: self.bandwidth(),
            tile_efficiency: self.tile_efficiency(),
            bytes: Precision::ALL.iter().map(|p| (p.to_string(), self.memory_bytes(*p, Layout::Upper))).collect(),
            min_diagonal: self.diagonal().iter().copied().fold(f32::INFINITY, f32::min),
            dead_rows: sums.iter().filter(|&&v| v == 0.0).count(),
            maybe_indefinite: self.maybe_indefinite,
        }
    }

    /// The matrix `A[order[i], order[j]]`: row `i` of the result is row `order[i]` of this one.
    pub fn permute(&self, order: &[u32]) -> Result<Self> {
        let inverse = crate::ordering::inverse(order, self.n)?;
        let mut builder = Builder::new("matrix", self.channels, self.n, self.non_finite)?;
        let mut done = Ok(());
        self.for_each_upper(|c, i, j, v| {
            let (i, j) = (inverse[i] as usize, inverse[j] as usize);
            let added = builder.add(c, i.min(j), i.max(j), v.into());
            if done.is_ok() {
                done = added;
            }
        });
        done?;
        let mut out = builder.finish(SymmetryPolicy::UpperWins, true)?;
        out.maybe_indefinite = self.maybe_indefinite;
        Ok(out)
    }

    /// Adds `lambda` to the main diagonal.
    pub fn add_diagonal(&mut self, lambda: f32) -> Result<()> {
        if !lambda.is_finite() {
            return Err(AtaError::NonFinite { what: "lambda".into(), index: Vec::new(), value: lambda.into() });
        }
        if self.offsets[0] != 0 {
            let mut offsets = vec![0];
            offsets.extend_from_slice(&self.offsets);
            let mut wide = Self::zeros(self.channels, self.n, offsets)?;
            for c in 0..self.channels {
                for k in 0..self.offsets.len() {
                    for i in 0..self.block_rows() {
                        wide.block_mut(c, k + 1, i).copy_from_slice(self.block(c, k, i));
                    }
                }
            }
            (wide.maybe_indefinite, wide.non_finite) = (self.maybe_indefinite, self.non_finite);
            *self = wide;
        }
        for c in 0..self.channels {
            for i in 0..self.n {
                self.block_mut(c, 0, i / BLOCK)[(i % BLOCK) * (BLOCK + 1)] += lambda;
            }
        }
        self.find_mask();
        self.check_finite()
    }

    /// Multiplies every entry.
    pub fn scale(&mut self, alpha: f32) -> Result<()> {
        self.blocks.iter_mut().for_each(|v| *v *= alpha);
        self.find_mask();
        self.check_finite()
    }

    fn check_finite(&self) -> Result<()> {
        match self.blocks.iter().position(|v| !v.is_finite() && !self.non_finite) {
            None => Ok(()),
            Some(at) => {
                Err(AtaError::NonFinite { what: "matrix".into(), index: vec![at], value: self.blocks[at].into() })
            }
        }
    }

    /// Drops block diagonals without a non-zero; one always stays.
    pub fn prune(&mut self) -> Result<()> {
        self.find_mask();
        let nb = self.block_rows();
        let mut kept: Vec<usize> =
            (0..self.offsets.len()).filter(|k| self.mask[k * nb..][..nb].iter().any(|&m| m)).collect();
        if kept.is_empty() {
            kept.push(0);
        }
        let mut out = Self::zeros(self.channels, self.n, kept.iter().map(|&k| self.offsets[k]).collect())?;
        for c in 0..self.channels {
            for (to, &k) in kept.iter().enumerate() {
                for i in 0..nb {
                    out.block_mut(c, to, i).copy_from_slice(self.block(c, k, i));
                }
            }
        }
        out.find_mask();
        (out.maybe_indefinite, out.non_finite) = (self.maybe_indefinite, self.non_finite);
        *self = out;
        Ok(())
    }

    /// Drops entries beside the diagonal below `relative` times the largest magnitude of their channel.
    pub fn threshold(&self, relative: f32, compensate: Compensate) -> Result<Self> {
        if !(0.0..1.0).contains(&relative) {
            return Err(AtaError::value("threshold", format!("{relative} is not in [0, 1)")));
        }
        let mut largest = vec![0.0f32; self.channels];
        self.for_each_upper(|c, _, _, v| largest[c] = if v.is_finite() { largest[c].max(v.abs()) } else { largest[c] });
        let mut entries = Vec::new();
        let mut dropped = false;
        self.for_each_upper(|c, i, j, v| {
            if i == j || !v.is_finite() || v.abs() >= relative * largest[c] {
                entries.push((c, i, j, f64::from(v)));
            } else {
                dropped = true;
                if compensate == Compensate::Diagonal {
                    entries.extend([(c, i, i, f64::from(v).abs()), (c, j, j, f64::from(v).abs())]);
                }
            }
        });
        let mut out = Self::from_coo(
            self.channels,
            self.n,
            entries,
            true,
            Accept { symmetry: SymmetryPolicy::UpperWins, non_finite: self.non_finite },
        )?;
        out.maybe_indefinite = self.maybe_indefinite || (dropped && compensate == Compensate::None);
        Ok(out)
    }
}
