//! `y[n, s, r, c] = Σ_{k, l} gain[s, k, l] Z[n, k, l] exp(2πi (k r / H + l c / W))` over all `H W` frequencies: all
//! planes of a directional tree from the half spectrum of its input, times `H W`.
//!
//! The gains are real and even, so their half `[S, H, W/2 + 1]` says everything; `Z` must be the half spectrum of a
//! real plane, as for [`irfft2`](super::irfft2), and carries the factor `1 / (H W)`. Rounding: relative to
//! `max |gain Z| H W` the error is a small multiple of `eps log2(H W)`; both twins keep that bound, with different
//! operations. NaN and infinities spread over all planes of their image.
//!
//! Floor: `(1 + S) * size_of::<T>()` bytes a pixel, and the gains once.

use gpu_core::{Cpu, Error, Result, View, ViewMut};
use num_complex::Complex;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Fourier, FourierPlan};
use crate::Real;

/// What the kernels of both directions of a tree get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct TreeParams {
    /// Images.
    pub count: u32,
    /// Planes of the tree.
    pub bands: u32,
    /// Rows.
    pub height: u32,
    /// Columns of a plane.
    pub width: u32,
    /// Complex elements from one spectrum to the next.
    pub z_stride: u64,
    /// Elements from the first plane of an image to the first of the next.
    pub image_stride: u64,
    /// Elements from one plane of an image to the next.
    pub plane_stride: u64,
}

/// The operation on one backend.
pub trait TreeAnalysis<T: Real>: Fourier<T> {
    #[doc(hidden)]
    fn tree_analysis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Checks what both directions have in common.
pub(super) fn tree_params<B: Fourier<T>, T: Real>(
    plan: &FourierPlan<B, T>,
    [count, bands]: [usize; 2],
    gains: usize,
    (z, z_stride): (usize, usize),
    (y, image_stride, plane_stride): (usize, usize, usize),
    work: &ViewMut<'_, B, T>,
) -> Result<TreeParams> {
    let planes = plan.planes(count);
    let half = planes.height * plan.half_width();
    if bands == 0 {
        return Err(Error::value("bands", "a tree has at least one plane"));
    }
    plan.check_gains(gains, bands, half)?;
    planes.fit("z", z, z_stride, half)?;
    // A huge length leaves only the question whether an image's planes overlap.
    super::Planes { count: bands, ..planes }.fit("planes", usize::MAX, plane_stride, planes.area())?;
    let extent = (bands - 1).checked_mul(plane_stride).and_then(|v| v.checked_add(planes.area()));
    planes.fit("planes", y, image_stride, extent.unwrap_or(usize::MAX))?;
    plan.check_work(work, bands)?;
    let narrow = |v: usize| u32::try_from(v).map_err(|_| Error::value("count", "more than 2^32 planes"));
    Ok(TreeParams {
        count: narrow(count)?,
        bands: narrow(bands)?,
        height: planes.height as u32,
        width: planes.width as u32,
        z_stride: z_stride as u64,
        image_stride: image_stride as u64,
        plane_stride: plane_stride as u64,
    })
}

/// Makes the `bands` planes of each of `count` images: plane `s` of image `n` begins at
/// `n * image_stride + s * plane_stride` of `y`.
///
/// `gains` is `[bands, H, W/2 + 1]`; `z` holds a half spectrum at every multiple of its stride; `work` has at least
/// [`plan.work_len(bands)`](FourierPlan::work_len) elements.
///
/// # Errors
/// When a view is too short for its planes, or the gains are for another size.
pub fn tree_analysis<B: TreeAnalysis<T>, T: Real>(
    b: &B,
    plan: &FourierPlan<B, T>,
    [count, bands]: [usize; 2],
    gains: View<'_, B, T>,
    z: View<'_, B, Complex<T>>,
    z_stride: usize,
    y: ViewMut<'_, B, T>,
    image_stride: usize,
    plane_stride: usize,
    work: ViewMut<'_, B, T>,
) -> Result<()> {
    let p = tree_params(
        plan,
        [count, bands],
        gains.len(),
        (z.len(), z_stride),
        (y.len(), image_stride, plane_stride),
        &work,
    )?;
    b.tree_analysis_unchecked(p, plan, gains, z, y, work)
}

impl<T: Real> TreeAnalysis<T> for Cpu {
    fn tree_analysis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (gains, z) = (self.read(gains)?, self.read(z)?);
        let (y, work) = (self.write(y)?, self.write(work)?);
        let area = plan.planes(1).area();
        let half = p.height as usize * plan.half_width();
        let (bands, plane_stride) = (p.bands as usize, (p.plane_stride as usize).max(area));
        let prepared = plan.prepared();
        let transforms = &prepared.transforms;
        let (count, one) = (p.count as usize, T::of(1.0));
        let mut strips = prepared.strips(work, bands, count * bands);
        if strips.is_empty() {
            return Ok(());
        }
        let extent = (bands - 1) * plane_stride + area;
        let image_stride = (p.image_stride as usize).max(extent);
        let images = y[..].chunks_mut(image_stride).zip(z.chunks((p.z_stride as usize).max(half))).take(count);
        // Every thread goes through planes of its own, of whichever images; none waits for another before the end.
        let mut planes: Vec<_> = images
            .flat_map(|(y, z)| {
                y[..extent].chunks_mut(plane_stride).zip(gains.chunks(half)).map(move |(y, g)| (y, g, z))
            })
            .collect();
        let share = planes.len().div_ceil(strips.len());
        planes.par_chunks_mut(share).zip(&mut strips).for_each(|(planes, strips)| {
            for (y, gain, z) in planes {
                transforms.inverse_columns(&z[..half], Some(gain), one, strips);
                transforms.inverse_rows(strips, &mut y[..area]);
            }
        });
        Ok(())
    }
}
