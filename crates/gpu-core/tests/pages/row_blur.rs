//! `y[r, c] = sum_k w[k] x[r, m(c + k - radius)]` for `2 radius + 1` weights, with half-sample symmetric extension `m`.
//!
//! Terms are taken in the order of `k`, each fused into the sum from 0, so that both twins agree to the bit.
//!
//! Floor: `2 (2 radius + 1)` flop and 8 bytes an element.

use gpu_core::{Backend, Cpu, Error, Result, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct RowBlurParams {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Weights on each side of the middle one.
    pub radius: u32,
}

/// The operation on one backend.
pub trait RowBlur: Backend {
    #[doc(hidden)]
    fn row_blur_unchecked(
        &self,
        p: RowBlurParams,
        x: View<'_, Self, f32>,
        w: View<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Filters every row with an odd number of weights.
pub fn row_blur<'a, B: RowBlur>(
    b: &B,
    x: impl Into<TensorView<'a, B, f32, 2>>,
    w: impl Into<TensorView<'a, B, f32, 1>>,
    y: impl Into<TensorViewMut<'a, B, f32, 2>>,
) -> Result<()> {
    let (x, w, y) = (x.into(), w.into(), y.into());
    let ([height, width], [weights]) = (x.shape(), w.shape());
    if y.shape() != x.shape() {
        return Err(Error::shape("y", &x.shape(), &y.shape()));
    }
    if weights % 2 == 0 || weights > 1 << 14 {
        return Err(Error::value("w", format!("{weights} weights; an odd number up to 16383 is needed")));
    }
    if height == 0 || width == 0 {
        return Ok(());
    }
    let size = |n: usize| u32::try_from(n).map_err(|_| Error::value("x", format!("{n} rows or columns")));
    let p = RowBlurParams { height: size(height)?, width: size(width)?, radius: (weights / 2) as u32 };
    b.row_blur_unchecked(p, x.flat(), w.flat(), y.flat())
}

fn mirrored(i: i64, n: i64) -> i64 {
    let j = i.rem_euclid(2 * n);
    if j < n { j } else { 2 * n - 1 - j }
}

impl RowBlur for Cpu {
    fn row_blur_unchecked(
        &self,
        p: RowBlurParams,
        x: View<'_, Self, f32>,
        w: View<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (x, w, y) = (self.read(x)?, self.read(w)?, self.write(y)?);
        let width = p.width as usize;
        y.par_chunks_mut(width).zip(x.par_chunks(width)).for_each(|(y, x)| {
            for (c, y) in y.iter_mut().enumerate() {
                let terms = w.iter().enumerate().map(|(k, &w)| {
                    let column = c as i64 + k as i64 - i64::from(p.radius);
                    (w, x[mirrored(column, width as i64) as usize])
                });
                *y = terms.fold(0.0, |sum, (w, x)| w.mul_add(x, sum));
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl RowBlur for gpu_core::Cuda {
    fn row_blur_unchecked(
        &self,
        p: RowBlurParams,
        x: View<'_, Self, f32>,
        w: View<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;
        let threads = 128;
        let shared = (threads + 2 * p.radius) * size_of::<f32>() as u32;
        let launch = self
            .kernel(&super::cuda::KERNELS, "row_blur_f32")?
            .read(x)?
            .read(w)?
            .write(y)?
            .arg(p)
            .grid((Grid::cover(p.width as usize, threads)?, p.height, 1))
            .looping(1)
            .block((threads, 1, 1))
            .shared(shared);
        // SAFETY: void row_blur_f32(const float* x, const float* w, float* y, RowBlurParams p); `row_blur` has checked
        // the shapes, and the shared memory holds a block's columns with `radius` more on both sides.
        unsafe { launch.launch() }
    }
}
