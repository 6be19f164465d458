//! `y[n, r, c] = scale Σ_{k, l} Z[n, k, l] exp(2πi (k r / H + l c / W))` over all `H W` frequencies, of which `Z` holds
//! the half `l` = 0 … W/2: the plane behind a half spectrum, times `scale H W`.
//!
//! `Z` must be the half spectrum of a real plane: in column 0 and, for even `W`, column `W/2`, `Z[-k] = conj Z[k]`.
//! Where it is not, the result is unspecified. Rounding: relative to `max |Z| H W |scale|` the error is a small
//! multiple of `eps log2(H W)`; both twins keep that bound, with different operations. NaN and infinities spread over
//! the plane.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel.

use gpu_core::{Cpu, Error, Result, View, ViewMut};
use num_complex::Complex;
use rustacuda_derive::DeviceCopy;

use super::{Fourier, FourierPlan};
use crate::Real;

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct Irfft2Params {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns of a plane.
    pub width: u32,
    /// Keeps the following fields at multiples of 8 bytes.
    pub reserved: u32,
    /// Complex elements from one spectrum to the next.
    pub z_stride: u64,
    /// Elements from one plane to the next.
    pub y_stride: u64,
    /// The factor of the result.
    pub scale: f64,
}

/// The operation on one backend.
pub trait Irfft2<T: Real>: Fourier<T> {
    #[doc(hidden)]
    fn irfft2_unchecked(
        &self,
        p: Irfft2Params,
        plan: &FourierPlan<Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Transforms `count` half spectra `[H, W/2 + 1]`, one at every multiple of `z_stride`, to planes of the plan's size.
/// `work` has at least [`plan.work_len(1)`](FourierPlan::work_len) elements.
///
/// # Errors
/// When a view is too short for its planes.
pub fn irfft2<B: Irfft2<T>, T: Real>(
    b: &B,
    plan: &FourierPlan<B, T>,
    count: usize,
    scale: f64,
    z: View<'_, B, Complex<T>>,
    z_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
    work: ViewMut<'_, B, T>,
) -> Result<()> {
    let planes = plan.planes(count);
    planes.fit("z", z.len(), z_stride, planes.height * plan.half_width())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    plan.check_work(&work, 1)?;
    let p = Irfft2Params {
        count: u32::try_from(count).map_err(|_| Error::value("count", "more than 2^32 planes"))?,
        height: planes.height as u32,
        width: planes.width as u32,
        reserved: 0,
        z_stride: z_stride as u64,
        y_stride: y_stride as u64,
        scale,
    };
    b.irfft2_unchecked(p, plan, z, y, work)
}

impl<T: Real> Irfft2<T> for Cpu {
    fn irfft2_unchecked(
        &self,
        p: Irfft2Params,
        plan: &FourierPlan<Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (z, y, work) = (self.read(z)?, self.write(y)?, self.write(work)?);
        let planes = plan.planes(1);
        let half = planes.height * plan.half_width();
        let prepared = plan.prepared();
        prepared.each_image(p.count as usize, work, y, (p.y_stride as usize, planes.area()), |n, y, strips| {
            let z = &z[n * p.z_stride as usize..][..half];
            prepared.transforms.inverse_columns(z, None, T::of(p.scale), strips);
            prepared.transforms.inverse_rows(strips, y);
        });
        Ok(())
    }
}
