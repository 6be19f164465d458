//! Fusion by the larger coefficient, in place: `y = |y| >= |x| ? y : x`.
//!
//! Ties go to `y`, so that folding several images keeps the first of the largest. A NaN on either side stays. A
//! comparison and a choice: both twins agree to the bit.
//!
//! Floor: `3 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use num_complex::ComplexFloat;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct FuseSelectParams {
    /// Planes.
    pub count: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait FuseSelect<T: Real>: Backend {
    #[doc(hidden)]
    fn fuse_select_unchecked(&self, p: FuseSelectParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Puts the elements of `x` that are larger in magnitude into `y`, in `planes.count` planes.
///
/// # Errors
/// When a view is too short for its planes.
pub fn fuse_select<B: FuseSelect<T>, T: Real>(
    b: &B,
    planes: Planes,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let p = FuseSelectParams {
        count: planes.count as u32,
        area: planes.area() as u64,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.fuse_select_unchecked(p, x, y)
}

impl<T: Real> FuseSelect<T> for Cpu {
    fn fuse_select_unchecked(&self, p: FuseSelectParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let planes = Planes::line(p.count, p.area);
        planes.pairs(x, p.x_stride, y, p.y_stride, planes.area(), |_, x, y| {
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
                for (y, &x) in y.iter_mut().zip(x) {
                    let keep = ComplexFloat::abs(*y) >= ComplexFloat::abs(x) || y.is_nan();
                    *y = if keep { *y } else { x };
                }
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> FuseSelect<T> for gpu_core::Cuda {
    fn fuse_select_unchecked(&self, p: FuseSelectParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("fuse_select_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void fuse_select_T(const T* x, T* y, FuseSelectParams p); `fuse_select` has checked that every plane
        // lies inside its view.
        unsafe { launch.launch() }
    }
}
