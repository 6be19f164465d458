//! Collects entries of any order into blocks.

use std::collections::BTreeMap;

use crate::blocks::{AREA, BLOCK, BlockDiag, SymmetryPolicy, settle};
use crate::error::{AtaError, Result};

/// Sums of entries in `f64`, by block. Both triangles may come, or the upper one alone.
pub(crate) struct Builder {
    what: &'static str,
    channels: usize,
    n: usize,
    /// Whether NaN and infinities are taken.
    non_finite: bool,
    /// Block row and block column, to `[channels, 16, 16]`.
    blocks: BTreeMap<(u32, u32), Vec<f64>>,
}

impl Builder {
    pub(crate) fn new(what: &'static str, channels: usize, n: usize, non_finite: bool) -> Result<Self> {
        if channels == 0 || n == 0 {
            return Err(AtaError::value(what, format!("{channels} channels of {n} unknowns; both must be positive")));
        }
        if n > u32::MAX as usize {
            return Err(AtaError::value(what, format!("{n} unknowns are more than 2^32")));
        }
        Ok(Self { what, channels, n, non_finite, blocks: BTreeMap::new() })
    }

    /// Adds to an element; the indices must lie inside, and `v` must be finite unless others are taken.
    pub(crate) fn add(&mut self, c: usize, row: usize, column: usize, v: f64) -> Result<()> {
        if row >= self.n || column >= self.n {
            let why = format!("element ({row}, {column}) lies outside of {} x {}", self.n, self.n);
            return Err(AtaError::value(self.what, why));
        }
        if !v.is_finite() && !self.non_finite {
            return Err(AtaError::NonFinite { what: self.what.into(), index: vec![c, row, column], value: v });
        }
        if v != 0.0 {
            let key = ((row / BLOCK) as u32, (column / BLOCK) as u32);
            let channels = self.channels;
            let block = self.blocks.entry(key).or_insert_with(|| vec![0.0; channels * AREA]);
            block[c * AREA + (row % BLOCK) * BLOCK + column % BLOCK] += v;
        }
        Ok(())
    }

    /// The matrix. With `upper_only` what lies above the diagonal stands for both triangles.
    pub(crate) fn finish(mut self, policy: SymmetryPolicy, upper_only: bool) -> Result<BlockDiag> {
        let policy = if upper_only { SymmetryPolicy::UpperWins } else { policy };
        if !upper_only {
            // Every pair of blocks once, also where one of them is absent and therefore zero.
            let mut pairs: Vec<(u32, u32)> =
                self.blocks.keys().filter(|(i, j)| i != j).map(|&(i, j)| (i.min(j), i.max(j))).collect();
            pairs.sort_unstable();
            pairs.dedup();
            for (i, j) in pairs {
                let lower = self.blocks.remove(&(j, i)).unwrap_or_else(|| vec![0.0; self.channels * AREA]);
                self.meet((i, j), &lower, policy)?;
            }
        }
        let mut offsets: Vec<u32> = self.blocks.keys().filter(|(i, j)| i <= j).map(|(i, j)| j - i).collect();
        offsets.push(0);
        offsets.sort_unstable();
        offsets.dedup();
        let mut out = BlockDiag::zeros(self.channels, self.n, offsets)?;
        for ((i, j), mut block) in std::mem::take(&mut self.blocks) {
            if i > j {
                continue;
            }
            let Ok(k) = out.offsets.binary_search(&(j - i)) else { continue };
            for c in 0..self.channels {
                let block = &mut block[c * AREA..][..AREA];
                if i == j {
                    settle(block, policy, |v| v, (c, BLOCK * i as usize))?;
                }
                for (at, (to, &v)) in out.block_mut(c, k, i as usize).iter_mut().zip(&*block).enumerate() {
                    *to = v as f32;
                    if !to.is_finite() && (v.is_finite() || !self.non_finite) {
                        let (row, column) = (BLOCK * i as usize + at / BLOCK, BLOCK * j as usize + at % BLOCK);
                        let why = format!("element ({row}, {column}) of channel {c} is {v:e}, beyond f32; scale it");
                        return Err(AtaError::Overflow { what: self.what.into(), why });
                    }
                }
            }
        }
        out.non_finite = self.non_finite;
        out.find_mask();
        Ok(out)
    }

    /// Settles a block above the diagonal against the one below, which comes as it is.
    fn meet(&mut self, (i, j): (u32, u32), lower: &[f64], policy: SymmetryPolicy) -> Result<()> {
        let channels = self.channels;
        let upper = self.blocks.entry((i, j)).or_insert_with(|| vec![0.0; channels * AREA]);
        for c in 0..channels {
            let (upper, lower) = (&mut upper[c * AREA..][..AREA], &lower[c * AREA..][..AREA]);
            let largest = upper.iter().chain(lower).map(|v| v.abs()).fold(0.0, f64::max);
            for r in 0..BLOCK {
                for s in 0..BLOCK {
                    let (value, mirror) = (upper[r * BLOCK + s], lower[s * BLOCK + r]);
                    match policy {
                        SymmetryPolicy::Check(tol) if (value - mirror).abs() > tol * largest => {
                            let (row, column) = (BLOCK * i as usize + r, BLOCK * j as usize + s);
                            let (what, allowed) = (self.what.to_owned(), tol * largest);
                            let channel = c;
                            return Err(AtaError::Asymmetric { what, channel, row, column, value, mirror, allowed });
                        }
                        SymmetryPolicy::Average => upper[r * BLOCK + s] = f64::midpoint(value, mirror),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}
