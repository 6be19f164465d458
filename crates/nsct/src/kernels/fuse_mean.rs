//! One step of a mean, in place: `y = (y + x) / d`.
//!
//! With `d = 1` but for the last of several inputs, where it is their number, this leaves their mean, summed in order.
//! Sum and quotient are rounded on their own; both twins agree to the bit.
//!
//! Floor: `3 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct FuseMeanParams {
    /// Planes.
    pub count: u32,
    /// What the sum is divided by.
    pub divisor: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait FuseMean<T: Real>: Backend {
    #[doc(hidden)]
    fn fuse_mean_unchecked(&self, p: FuseMeanParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Adds `x` to `y` and divides by `divisor`, in `planes.count` planes.
///
/// # Errors
/// When a view is too short for its planes.
pub fn fuse_mean<B: FuseMean<T>, T: Real>(
    b: &B,
    planes: Planes,
    divisor: u32,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let p = FuseMeanParams {
        count: planes.count as u32,
        divisor,
        area: planes.area() as u64,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.fuse_mean_unchecked(p, x, y)
}

impl<T: Real> FuseMean<T> for Cpu {
    fn fuse_mean_unchecked(&self, p: FuseMeanParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let planes = Planes::line(p.count, p.area);
        let divisor = T::of(p.divisor.into());
        planes.pairs(x, p.x_stride, y, p.y_stride, planes.area(), |_, x, y| {
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = (*y + x) / divisor);
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> FuseMean<T> for gpu_core::Cuda {
    fn fuse_mean_unchecked(&self, p: FuseMeanParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("fuse_mean_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void fuse_mean_T(const T* x, T* y, FuseMeanParams p); `fuse_mean` has checked that every plane lies
        // inside its view.
        unsafe { launch.launch() }
    }
}
