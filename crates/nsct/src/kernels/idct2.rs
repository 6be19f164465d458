//! `y[n, r, c] = Σ_{i, j} e_i e_j gain[i, j] X[n, i, j] cos(π i (2r + 1) / 2H) cos(π j (2c + 1) / 2W)` with `e_0 = 1`
//! and `e_k = 2` otherwise: `H W` times the inverse of [`dct2`](super::dct2) (a type-III cosine transform).
//!
//! The factor `1 / (H W)` belongs into `gain`. Evaluated as `dct2` is, with its bound on rounding relative to
//! `max |gain X| H W`. NaN and infinities spread over the plane.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel, and one more for the gain.

use gpu_core::{Cpu, Error, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::{Fourier, FourierPlan};
use crate::Real;

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct Idct2Params {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Keeps the following fields at multiples of 8 bytes.
    pub reserved: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait Idct2<T: Real>: Fourier<T> {
    #[doc(hidden)]
    fn idct2_unchecked(
        &self,
        p: Idct2Params,
        plan: &FourierPlan<Self, T>,
        gain: Option<View<'_, Self, T>>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Transforms `count` planes of the plan's size: `x` and `y` hold a plane at every multiple of their stride.
///
/// `gain` is one plane `[H, W]` for all of them; without it, 1.
/// `work` has at least [`plan.work_len(1)`](FourierPlan::work_len) elements.
///
/// # Errors
/// When a view is too short for its planes, or the gain is for another size.
pub fn idct2<B: Idct2<T>, T: Real>(
    b: &B,
    plan: &FourierPlan<B, T>,
    count: usize,
    gain: Option<View<'_, B, T>>,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
    work: ViewMut<'_, B, T>,
) -> Result<()> {
    let planes = plan.planes(count);
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    gain.map_or(Ok(()), |g| plan.check_gains(g.len(), 1, planes.area()))?;
    plan.check_work(&work, 1)?;
    let p = Idct2Params {
        count: u32::try_from(count).map_err(|_| Error::value("count", "more than 2^32 planes"))?,
        height: planes.height as u32,
        width: planes.width as u32,
        reserved: 0,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.idct2_unchecked(p, plan, gain, x, y, work)
}

impl<T: Real> Idct2<T> for Cpu {
    fn idct2_unchecked(
        &self,
        p: Idct2Params,
        plan: &FourierPlan<Self, T>,
        gain: Option<View<'_, Self, T>>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, y, work) = (self.read(x)?, self.write(y)?, self.write(work)?);
        let gain = gain.map(|g| self.read(g)).transpose()?;
        let area = plan.planes(1).area();
        let prepared = plan.prepared();
        prepared.each_image(p.count as usize, work, y, (p.y_stride as usize, area), |n, y, strips| {
            prepared.transforms.inverse_cosine_columns(&x[n * p.x_stride as usize..][..area], gain, strips);
            prepared.transforms.inverse_cosine_rows(strips, y);
        });
        Ok(())
    }
}
