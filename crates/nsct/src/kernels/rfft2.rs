//! `Z[n, k, l] = scale Σ_{r, c} x[n, r, c] exp(-2πi (k r / H + l c / W))` for `l` = 0 … W/2: the half spectrum of a
//! real plane.
//!
//! The other half follows from `Z[-k, -l] = conj Z[k, l]`. Rounding: relative to `max |x| H W |scale|` the error is a
//! small multiple of `eps log2(H W)`; both twins keep that bound, with different operations. NaN and infinities spread
//! over the plane.
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
pub struct Rfft2Params {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns of a plane.
    pub width: u32,
    /// Keeps the following fields at multiples of 8 bytes.
    pub reserved: u32,
    /// Elements from one plane to the next.
    pub x_stride: u64,
    /// Complex elements from one spectrum to the next.
    pub z_stride: u64,
    /// The factor of the result.
    pub scale: f64,
}

/// The operation on one backend.
pub trait Rfft2<T: Real>: Fourier<T> {
    #[doc(hidden)]
    fn rfft2_unchecked(
        &self,
        p: Rfft2Params,
        plan: &FourierPlan<Self, T>,
        x: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Transforms `count` planes of the plan's size; `z` holds a half spectrum `[H, W/2 + 1]` at every multiple of its
/// stride. `work` has at least [`plan.work_len(1)`](FourierPlan::work_len) elements.
///
/// # Errors
/// When a view is too short for its planes.
pub fn rfft2<B: Rfft2<T>, T: Real>(
    b: &B,
    plan: &FourierPlan<B, T>,
    count: usize,
    scale: f64,
    x: View<'_, B, T>,
    x_stride: usize,
    z: ViewMut<'_, B, Complex<T>>,
    z_stride: usize,
    work: ViewMut<'_, B, T>,
) -> Result<()> {
    let planes = plan.planes(count);
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("z", z.len(), z_stride, planes.height * plan.half_width())?;
    plan.check_work(&work, 1)?;
    let p = Rfft2Params {
        count: u32::try_from(count).map_err(|_| Error::value("count", "more than 2^32 planes"))?,
        height: planes.height as u32,
        width: planes.width as u32,
        reserved: 0,
        x_stride: x_stride as u64,
        z_stride: z_stride as u64,
        scale,
    };
    b.rfft2_unchecked(p, plan, x, z, work)
}

impl<T: Real> Rfft2<T> for Cpu {
    fn rfft2_unchecked(
        &self,
        p: Rfft2Params,
        plan: &FourierPlan<Self, T>,
        x: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, z, work) = (self.read(x)?, self.write(z)?, self.write(work)?);
        let planes = plan.planes(1);
        let half = planes.height * plan.half_width();
        let prepared = plan.prepared();
        prepared.each_image(p.count as usize, work, z, (p.z_stride as usize, half), |n, z, strips| {
            prepared.transforms.forward_columns(&x[n * p.x_stride as usize..][..planes.area()], strips);
            prepared.transforms.forward_rows(&[(&*strips, None)], T::of(p.scale), false, z);
        });
        Ok(())
    }
}
