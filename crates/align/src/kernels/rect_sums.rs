//! `out[y] = Σ_c Σ_x x[c, top + y, left + x]`: the sum of all colours over each row of a rectangle of a picture.
//!
//! Exact `f32` values added in `f64`, per colour in 32 lanes folded by halves, red before green before blue.
//!
//! Floor: 12 bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, lane_sum, product, size32};
use crate::Rect;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct RectSumsParams {
    /// Rows of the picture.
    pub height: u32,
    /// Columns of the picture.
    pub width: u32,
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Rows to sum.
    pub rows: u32,
    /// Columns to sum.
    pub columns: u32,
}

/// The operation on one backend.
pub trait RectSums: Backend {
    #[doc(hidden)]
    fn rect_sums_unchecked(&self, p: RectSumsParams, x: View<'_, Self, f32>, out: ViewMut<'_, Self, f64>)
    -> Result<()>;
}

/// Sums each row of a rectangle of `x`, `[3, height, width]`, into `out`, `[rows of the rectangle]`.
///
/// # Errors
/// When the rectangle is not inside, or a view is too short.
pub fn rect_sums<B: RectSums>(
    b: &B,
    [height, width]: [usize; 2],
    (x, from): (View<'_, B, f32>, Rect),
    out: ViewMut<'_, B, f64>,
) -> Result<()> {
    if from.top + from.height > height || from.left + from.width > width {
        return Err(Error::value("rectangle", format!("{from:?} in {height} x {width}")));
    }
    holds("x", product(&[3, height, width]), x.len())?;
    holds("sums", Some(from.height), out.len())?;
    let p = RectSumsParams {
        height: size32("height", height)?,
        width: size32("width", width)?,
        top: from.top as u32,
        left: from.left as u32,
        rows: from.height as u32,
        columns: from.width as u32,
    };
    b.rect_sums_unchecked(p, x, out)
}

impl RectSums for Cpu {
    fn rect_sums_unchecked(
        &self,
        p: RectSumsParams,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (x, out) = (self.read(x)?, self.write(out)?);
        let (area, width, columns) = (p.height as usize * p.width as usize, p.width as usize, p.columns as usize);
        out[..p.rows as usize].par_iter_mut().enumerate().with_min_len(16).for_each(|(y, out)| {
            let start = (p.top as usize + y) * width + p.left as usize;
            *out = (0..3).fold(0.0, |sum, c| {
                let row = &x[c * area + start..][..columns];
                sum + lane_sum(columns, |i| f64::from(row[i]))
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl RectSums for gpu_core::Cuda {
    fn rect_sums_unchecked(
        &self,
        p: RectSumsParams,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        if p.rows == 0 {
            return Ok(());
        }
        let launch = self
            .kernel(&super::cuda::KERNELS, "rect_sums_f32")?
            .read(x)?
            .write(out)?
            .arg(p)
            .grid(super::cuda::warps(p.rows as usize, 1)?)
            .block(super::cuda::LINE);
        // SAFETY: void rect_sums_f32(const float* x, double* out, RectSumsParams p); the rectangle lies inside of the
        // picture, lengths checked by `rect_sums`.
        unsafe { launch.launch() }
    }
}
