//! Hard thresholding in place: `y = 0` where `|y| < t_n`, for a threshold `t_n` a plane.
//!
//! A coefficient equal to the threshold is kept, and so is NaN, which is not below anything. A comparison and a
//! choice: both twins agree to the bit.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use num_complex::ComplexFloat;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct HardThresholdParams {
    /// Planes.
    pub count: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one plane to the next.
    pub stride: u64,
}

/// The operation on one backend.
pub trait HardThreshold<T: Real>: Backend {
    #[doc(hidden)]
    fn hard_threshold_unchecked(
        &self,
        p: HardThresholdParams,
        thresholds: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Thresholds `planes.count` planes, plane `n` by `thresholds[n]`.
///
/// # Errors
/// When there are fewer thresholds than planes, or the view is too short for its planes.
pub fn hard_threshold<B: HardThreshold<T>, T: Real>(
    b: &B,
    planes: Planes,
    thresholds: View<'_, B, T>,
    y: ViewMut<'_, B, T>,
    stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("y", y.len(), stride, planes.area())?;
    if thresholds.len() != planes.count {
        return Err(Error::shape("thresholds", &[planes.count], &[thresholds.len()]));
    }
    let p = HardThresholdParams { count: planes.count as u32, area: planes.area() as u64, stride: stride as u64 };
    b.hard_threshold_unchecked(p, thresholds, y)
}

impl<T: Real> HardThreshold<T> for Cpu {
    fn hard_threshold_unchecked(
        &self,
        p: HardThresholdParams,
        thresholds: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (thresholds, y) = (self.read(thresholds)?, self.write(y)?);
        let area = p.area as usize;
        let zero = T::of(0.0);
        y.par_chunks_mut((p.stride as usize).max(area)).zip(thresholds).for_each(|(plane, &t)| {
            plane[..area].par_chunks_mut(CHUNK).for_each(|chunk| {
                for y in chunk {
                    *y = if ComplexFloat::abs(*y) < t { zero } else { *y };
                }
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> HardThreshold<T> for gpu_core::Cuda {
    fn hard_threshold_unchecked(
        &self,
        p: HardThresholdParams,
        thresholds: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("hard_threshold_{}", T::NAME))?;
        let launch = kernel
            .read(thresholds)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void hard_threshold_T(const T* thresholds, T* y, HardThresholdParams p); `hard_threshold` has checked
        // that every plane lies inside its view and has a threshold.
        unsafe { launch.launch() }
    }
}
