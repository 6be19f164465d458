//! Histograms of magnitudes: how many elements of each plane fall into each of 256 bins of `[0, bound_n]`.
//!
//! The bin of `x` is `⌊|x| / bound_n · 256⌋` in `f64`, at most 255; elements for which that is not a number (NaN, or a
//! bound of 0) count in bin 0. Counts are integers and are added to what is there, so that their order does not matter:
//! both twins agree to the bit.
//!
//! Floor: `size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Planes;
use crate::Real;

/// Bins of a plane.
pub const HISTOGRAM_BINS: usize = 256;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PlaneHistogramParams {
    /// Planes.
    pub count: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one plane to the next.
    pub stride: u64,
}

/// The operation on one backend.
pub trait PlaneHistogram<T: Real>: Backend {
    #[doc(hidden)]
    fn plane_histogram_unchecked(
        &self,
        p: PlaneHistogramParams,
        bounds: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()>;
}

/// Adds the histogram of plane `n` over `[0, bounds[n]]` to row `n` of `counts`, which is `[count, 256]`.
///
/// # Errors
/// When there is no bound for every plane, or a view has another length than needed.
pub fn plane_histogram<B: PlaneHistogram<T>, T: Real>(
    b: &B,
    planes: Planes,
    bounds: View<'_, B, f64>,
    x: View<'_, B, T>,
    stride: usize,
    counts: ViewMut<'_, B, u64>,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), stride, planes.area())?;
    if bounds.len() != planes.count {
        return Err(Error::shape("bounds", &[planes.count], &[bounds.len()]));
    }
    if counts.len() != planes.count * HISTOGRAM_BINS {
        return Err(Error::shape("counts", &[planes.count, HISTOGRAM_BINS], &[counts.len()]));
    }
    let p = PlaneHistogramParams { count: planes.count as u32, area: planes.area() as u64, stride: stride as u64 };
    b.plane_histogram_unchecked(p, bounds, x, counts)
}

impl<T: Real> PlaneHistogram<T> for Cpu {
    fn plane_histogram_unchecked(
        &self,
        p: PlaneHistogramParams,
        bounds: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        let (bounds, x, counts) = (self.read(bounds)?, self.read(x)?, self.write(counts)?);
        counts.par_chunks_mut(HISTOGRAM_BINS).zip(bounds).enumerate().for_each(|(n, (counts, &bound))| {
            for &x in &x[n * p.stride as usize..][..p.area as usize] {
                // The conversion makes 0 of NaN, and the largest integer of what is beyond it.
                let bin = (x.to_f64().abs() / bound * HISTOGRAM_BINS as f64) as usize;
                counts[bin.min(HISTOGRAM_BINS - 1)] += 1;
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> PlaneHistogram<T> for gpu_core::Cuda {
    fn plane_histogram_unchecked(
        &self,
        p: PlaneHistogramParams,
        bounds: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        counts: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("plane_histogram_{}", T::NAME))?;
        let launch = kernel
            .read(bounds)?
            .read(x)?
            .write(counts)?
            .arg(p)
            .grid(super::cuda::chunks(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void plane_histogram_T(const double* bounds, const T* x, u64* counts, PlaneHistogramParams p);
        // `plane_histogram` has checked that every plane lies inside its view, and that there is a bound and room for it.
        unsafe { launch.launch() }
    }
}
