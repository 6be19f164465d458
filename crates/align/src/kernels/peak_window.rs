//! The largest value of a correlation within `limit` pixels of (0, 0), what stands beside it, and the spread of all.
//!
//! Shifts run over `|dy|, |dx| <= limit`; negative ones lie at the far end of rows and columns. Of equal values the one
//! with the smallest `|dy| + |dx|` counts, then the smallest `dy`, then the smallest `dx`: index and value are exact.
//! `second` is the largest value more than 3 pixels away in a direction. `mean` and the variance come from sums of the
//! values and their squares in `f64`: a row in 32 lanes folded by halves, then the rows likewise.
//!
//! Floor: 4 bytes and 5 operations for each of the `(2 limit + 1)²` values, read twice.
//! An H200 takes 39 µs for one pair, nearly all of it launches and latency.

use bytemuck::{Pod, Zeroable};
use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, lane_sum, product, size32};

/// How far from the peak other peaks begin.
pub(super) const PEAK_MARGIN: usize = 3;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PeakParams {
    /// Correlations.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Largest shift in each direction.
    pub limit: u32,
}

/// What is found in one correlation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct PeakFigures {
    /// Rows that the peak is shifted by.
    pub dy: i32,
    /// Columns that the peak is shifted by.
    pub dx: i32,
    /// Its value.
    pub peak: f32,
    /// The largest value elsewhere.
    pub second: f32,
    /// Mean of all values.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
}

/// The operation on one backend.
pub trait PeakWindow: Backend {
    #[doc(hidden)]
    fn peak_window_unchecked(
        &self,
        p: PeakParams,
        c: View<'_, Self, f32>,
        out: ViewMut<'_, Self, PeakFigures>,
    ) -> Result<()>;
}

/// Looks for the peak of each of `count` correlations of `height * width`.
///
/// # Errors
/// When `limit` is below 8 or not below half of a side, or a view is too short.
pub fn peak_window<B: PeakWindow>(
    b: &B,
    [count, height, width]: [usize; 3],
    limit: usize,
    c: View<'_, B, f32>,
    out: ViewMut<'_, B, PeakFigures>,
) -> Result<()> {
    if limit <= 2 * PEAK_MARGIN + 1 || 2 * limit >= height.min(width) {
        return Err(Error::value(
            "limit",
            format!("{limit}: it must be 8 or more and below half of {height} x {width}"),
        ));
    }
    holds("correlation", product(&[count, height, width]), c.len())?;
    holds("figures", Some(count), out.len())?;
    let p = PeakParams {
        count: size32("count", count)?,
        height: size32("height", height)?,
        width: size32("width", width)?,
        limit: limit as u32,
    };
    b.peak_window_unchecked(p, c, out)
}

/// Whether a value at a shift comes before another.
fn before(a: (f32, i32, i32), b: (f32, i32, i32)) -> bool {
    let rank = |(_, dy, dx): (f32, i32, i32)| (dy.abs() + dx.abs(), dy, dx);
    a.0 > b.0 || (a.0 == b.0 && rank(a) < rank(b))
}

impl PeakWindow for Cpu {
    fn peak_window_unchecked(
        &self,
        p: PeakParams,
        c: View<'_, Self, f32>,
        out: ViewMut<'_, Self, PeakFigures>,
    ) -> Result<()> {
        let (c, out) = (self.read(c)?, self.write(out)?);
        let (height, width, limit) = (p.height as usize, p.width as usize, p.limit as usize);
        let side = 2 * limit + 1;
        let wrap = |i: usize, n: usize| (i + n - limit) % n;
        let shift = |i: usize| i as i32 - limit as i32;
        c.par_chunks_exact(height * width).zip(&mut out[..p.count as usize]).for_each(|(c, out)| {
            // A row of the search range, from the most negative shift on.
            let mut row = vec![0.0f32; side];
            let fetch = |i: usize, row: &mut [f32]| {
                let line = &c[wrap(i, height) * width..][..width];
                row[..limit].copy_from_slice(&line[width - limit..]);
                row[limit..].copy_from_slice(&line[..=limit]);
            };
            let mut best = (f32::NEG_INFINITY, i32::MAX / 4, i32::MAX / 4);
            let (mut sums, mut squares) = (Vec::with_capacity(side), Vec::with_capacity(side));
            for i in 0..side {
                fetch(i, &mut row);
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if most >= best.0 {
                    for (j, &v) in row.iter().enumerate().filter(|(_, v)| **v == most) {
                        let candidate = (v, shift(i), shift(j));
                        if before(candidate, best) {
                            best = candidate;
                        }
                    }
                }
                sums.push(lane_sum(side, |j| f64::from(row[j])));
                squares.push(lane_sum(side, |j| f64::from(row[j]) * f64::from(row[j])));
            }
            let n = (side * side) as f64;
            let mean = lane_sum(side, |i| sums[i]) / n;
            let variance = lane_sum(side, |i| squares[i]) / n - mean * mean;
            let far = |a: i32, b: i32| (a - b).unsigned_abs() as usize > PEAK_MARGIN;
            let mut second = f32::NEG_INFINITY;
            for i in 0..side {
                fetch(i, &mut row);
                let all = far(shift(i), best.1);
                for (j, &v) in row.iter().enumerate() {
                    if v > second && (all || far(shift(j), best.2)) {
                        second = v;
                    }
                }
            }
            *out = PeakFigures { dy: best.1, dx: best.2, peak: best.0, second, mean, std: variance.max(0.0).sqrt() };
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl PeakWindow for gpu_core::Cuda {
    fn peak_window_unchecked(
        &self,
        p: PeakParams,
        c: View<'_, Self, f32>,
        out: ViewMut<'_, Self, PeakFigures>,
    ) -> Result<()> {
        let (count, side) = (p.count as usize, 2 * p.limit as usize + 1);
        // Sum, sum of squares, largest value and its column, for each row.
        let mut rows = gpu_core::Tensor::<Self, f64, 3>::scratch(self, [count, side, 4])?;
        let of_rows = self
            .kernel(&super::cuda::KERNELS, "peak_rows_f32")?
            .read(c)?
            .write(rows.flat_mut())?
            .arg(p)
            .grid(super::cuda::warps(side, count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void peak_rows_f32(const float* c, Row* rows, PeakParams p); `peak_window` has checked that the range
        // is smaller than the planes, and their number.
        unsafe { of_rows.launch()? };
        let fold = self
            .kernel(&super::cuda::KERNELS, "peak_fold_f32")?
            .read(c)?
            .read(rows.flat())?
            .write(out)?
            .arg(p)
            .grid((p.count, 1, 1))
            .looping(0)
            .block(super::cuda::LINE);
        // SAFETY: void peak_fold_f32(const float* c, const Row* rows, PeakFigures* figures, PeakParams p); as above.
        unsafe { fold.launch() }
    }
}
