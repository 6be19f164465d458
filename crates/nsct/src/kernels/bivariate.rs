//! Bivariate shrinkage in place: each coefficient `y` together with its parent `p` on the next coarser scale.
//!
//! With the noise variance `v_n` of the plane, the local energy `e` of the noisy plane and `√3` rounded to the element
//! type: `s = √max(e - v_n, 0)`, `m = √(y y + p p)`, `t = (√3 v_n) / s` (infinite for `s = 0`),
//! `y ← (y (m - t)) / m` where `m > t`, else 0 (Şendur and Selesnick, "Bivariate shrinkage with local variance
//! estimation", IEEE Signal Processing Letters 9(12), 2002). Every operation is rounded on its own, so that both twins
//! agree to the bit. A NaN in any of `y`, `p`, `e` gives NaN.
//!
//! Floor: `4 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use num_complex::ComplexFloat;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct BivariateParams {
    /// Planes.
    pub count: u32,
    /// 1 when there is a parent plane, 0 when the parent coefficients are 0.
    pub has_parent: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one image's coefficients to the next image's.
    pub stride: u64,
    /// Elements from the start of an image's coefficients to the plane.
    pub child: u64,
    /// Elements from the start of an image's coefficients to the parent plane.
    pub parent: u64,
    /// Elements from one plane of local energies to the next.
    pub energy_stride: u64,
}

/// The operation on one backend.
pub trait Bivariate<T: Real>: Backend {
    #[doc(hidden)]
    fn bivariate_unchecked(
        &self,
        p: BivariateParams,
        variances: View<'_, Self, T>,
        energies: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Shrinks one plane of each of `planes.count` images.
///
/// In `y`, image `n` starts at `n * stride`, its plane `child` elements behind that, and the parent plane, if there is
/// one, `parent` elements behind it; the parent comes first. `variances[n]` is the noise variance of image `n` in this
/// plane, `energies` holds its local energies.
///
/// # Errors
/// When the planes overlap, there is no variance for every plane, or a view is too short for its planes.
pub fn bivariate<B: Bivariate<T>, T: Real>(
    b: &B,
    planes: Planes,
    variances: View<'_, B, T>,
    energies: View<'_, B, T>,
    energy_stride: usize,
    y: ViewMut<'_, B, T>,
    stride: usize,
    child: usize,
    parent: Option<usize>,
) -> Result<()> {
    planes.check()?;
    let area = planes.area();
    if parent.is_some_and(|parent| parent > child || child - parent < area) {
        return Err(Error::value("parent", "its plane must end before the child's begins"));
    }
    if variances.len() != planes.count {
        return Err(Error::shape("variances", &[planes.count], &[variances.len()]));
    }
    planes.fit("energies", energies.len(), energy_stride, area)?;
    planes.fit("y", y.len(), stride, child.saturating_add(area))?;
    let p = BivariateParams {
        count: planes.count as u32,
        has_parent: parent.is_some().into(),
        area: area as u64,
        stride: stride as u64,
        child: child as u64,
        parent: parent.unwrap_or(0) as u64,
        energy_stride: energy_stride as u64,
    };
    b.bivariate_unchecked(p, variances, energies, y)
}

#[inline(always)]
fn shrink<T: Real>(y: T, parent: T, energy: T, variance: T) -> T {
    let zero = T::of(0.0);
    let excess = energy - variance;
    let s = if excess < zero { zero } else { ComplexFloat::sqrt(excess) };
    let t = if s == zero { T::of(f64::INFINITY) } else { T::of(3.0_f64.sqrt()) * variance / s };
    let m = ComplexFloat::sqrt(y * y + parent * parent);
    // Written so that a NaN is not taken for a small coefficient.
    if m <= t { zero } else { y * (m - t) / m }
}

impl<T: Real> Bivariate<T> for Cpu {
    fn bivariate_unchecked(
        &self,
        p: BivariateParams,
        variances: View<'_, Self, T>,
        energies: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (variances, energies, y) = (self.read(variances)?, self.read(energies)?, self.write(y)?);
        let (area, child, parent) = (p.area as usize, p.child as usize, p.parent as usize);
        let stride = (p.stride as usize).max(child + area);
        y.par_chunks_mut(stride).zip(variances).enumerate().for_each(|(n, (image, &variance))| {
            let energies = energies[n * p.energy_stride as usize..][..area].par_chunks(CHUNK);
            let (before, children) = image.split_at_mut(child);
            let children = children[..area].par_chunks_mut(CHUNK).zip(energies);
            if p.has_parent == 1 {
                children.zip(before[parent..][..area].par_chunks(CHUNK)).for_each(|((y, e), parent)| {
                    for ((y, &e), &parent) in y.iter_mut().zip(e).zip(parent) {
                        *y = shrink(*y, parent, e, variance);
                    }
                });
            } else {
                children.for_each(|(y, e)| {
                    y.iter_mut().zip(e).for_each(|(y, &e)| *y = shrink(*y, T::of(0.0), e, variance));
                });
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> Bivariate<T> for gpu_core::Cuda {
    fn bivariate_unchecked(
        &self,
        p: BivariateParams,
        variances: View<'_, Self, T>,
        energies: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("bivariate_{}", T::NAME))?;
        let launch = kernel
            .read(variances)?
            .read(energies)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void bivariate_T(const T* variances, const T* energies, T* y, BivariateParams p); `bivariate` has
        // checked that every plane lies inside its view and that parent and child do not overlap.
        unsafe { launch.launch() }
    }
}
