//! Fusion by a score a coefficient, such as the local energy, in place.
//!
//! *Select*: where `e >= f`, `y` and its score `e` stay; elsewhere they become `x` and `f`. Ties go to `y`, so that
//! folding several images keeps the first of the best. *Blend*: `y ← y + (x - y) (f / (e + f))`, `e ← e + f`; where both
//! scores are 0, `y` stays: folding several images leaves their mean, weighted by score.
//!
//! A NaN score wins a selection and stays, and so does its coefficient; a NaN spreads in a blend. Every operation is
//! rounded on its own, so that both twins agree to the bit.
//!
//! Floor: `6 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What to do with two coefficients and their scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scored {
    /// Keep the coefficient with the higher score.
    Select,
    /// Average them, weighted by score.
    Blend,
}

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct FuseScoredParams {
    /// Planes.
    pub count: u32,
    /// 1 to blend, 0 to select.
    pub blend: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
    /// Elements from one plane of scores to the next, for both images.
    pub score_stride: u64,
}

/// The operation on one backend.
pub trait FuseScored<T: Real>: Backend {
    #[doc(hidden)]
    fn fuse_scored_unchecked(
        &self,
        p: FuseScoredParams,
        x: View<'_, Self, T>,
        x_scores: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        y_scores: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Fuses `x` with scores `x_scores` into `y` with scores `y_scores`, in `planes.count` planes.
///
/// # Errors
/// When a view is too short for its planes.
pub fn fuse_scored<B: FuseScored<T>, T: Real>(
    b: &B,
    planes: Planes,
    how: Scored,
    x: View<'_, B, T>,
    x_stride: usize,
    x_scores: View<'_, B, T>,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
    y_scores: ViewMut<'_, B, T>,
    score_stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("scores of x", x_scores.len(), score_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    planes.fit("scores of y", y_scores.len(), score_stride, planes.area())?;
    let p = FuseScoredParams {
        count: planes.count as u32,
        blend: (how == Scored::Blend).into(),
        area: planes.area() as u64,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
        score_stride: score_stride as u64,
    };
    b.fuse_scored_unchecked(p, x, x_scores, y, y_scores)
}

/// The fused coefficient and its score.
#[inline(always)]
fn fused<T: Real>(blend: bool, y: T, e: T, x: T, f: T) -> (T, T) {
    if blend {
        let sum = e + f;
        return if sum == T::of(0.0) { (y, sum) } else { (y + (x - y) * (f / sum), sum) };
    }
    if e >= f || e.is_nan() { (y, e) } else { (x, f) }
}

impl<T: Real> FuseScored<T> for Cpu {
    fn fuse_scored_unchecked(
        &self,
        p: FuseScoredParams,
        x: View<'_, Self, T>,
        x_scores: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        y_scores: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, x_scores) = (self.read(x)?, self.read(x_scores)?);
        let (y, y_scores) = (self.write(y)?, self.write(y_scores)?);
        let area = p.area as usize;
        let outputs = y
            .par_chunks_mut((p.y_stride as usize).max(area))
            .zip(y_scores.par_chunks_mut((p.score_stride as usize).max(area)));
        outputs.take(p.count as usize).enumerate().for_each(|(n, (y, e))| {
            let x = x[n * p.x_stride as usize..][..area].par_chunks(CHUNK);
            let f = x_scores[n * p.score_stride as usize..][..area].par_chunks(CHUNK);
            let outputs = y[..area].par_chunks_mut(CHUNK).zip(e[..area].par_chunks_mut(CHUNK));
            outputs.zip(x.zip(f)).for_each(|((y, e), (x, f))| {
                for (((y, e), &x), &f) in y.iter_mut().zip(e).zip(x).zip(f) {
                    (*y, *e) = fused(p.blend == 1, *y, *e, x, f);
                }
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> FuseScored<T> for gpu_core::Cuda {
    fn fuse_scored_unchecked(
        &self,
        p: FuseScoredParams,
        x: View<'_, Self, T>,
        x_scores: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        y_scores: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("fuse_scored_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .read(x_scores)?
            .write(y)?
            .write(y_scores)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void fuse_scored_T(const T* x, const T* f, T* y, T* e, FuseScoredParams p); `fuse_scored` has checked
        // that every plane lies inside its view.
        unsafe { launch.launch() }
    }
}
