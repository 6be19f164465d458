//! `Z[n, k, l] = Σ_s gain[s, k, l] Σ_{r, c} y[n, s, r, c] exp(-2πi (k r / H + l c / W))` for `l` = 0 … W/2: the half
//! spectrum of a directional tree's output from all of its planes.
//!
//! The gains are real and even, so their half `[S, H, W/2 + 1]` says everything. Planes are summed in their order.
//! Rounding: relative to `Σ_s max |gain_s| max |y_s| H W` the error is a small multiple of `eps log2(H W)`; both twins
//! keep that bound, with different operations. NaN and infinities spread over the spectrum of their image.
//!
//! Floor: `(1 + S) * size_of::<T>()` bytes a pixel, and the gains once.

use gpu_core::{Cpu, Result, View, ViewMut};
use num_complex::Complex;
use rayon::prelude::*;

use super::tree_analysis::{TreeParams, tree_params};
use super::{Fourier, FourierPlan};
use crate::Real;

/// The operation on one backend.
pub trait TreeSynthesis<T: Real>: Fourier<T> {
    #[doc(hidden)]
    fn tree_synthesis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        y: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Sums the `bands` planes of each of `count` images: plane `s` of image `n` begins at
/// `n * image_stride + s * plane_stride` of `y`.
///
/// `gains` is `[bands, H, W/2 + 1]`; `z` gets a half spectrum at every multiple of its stride; `work` has at least
/// [`plan.work_len(bands)`](FourierPlan::work_len) elements.
///
/// # Errors
/// When a view is too short for its planes, or the gains are for another size.
pub fn tree_synthesis<B: TreeSynthesis<T>, T: Real>(
    b: &B,
    plan: &FourierPlan<B, T>,
    [count, bands]: [usize; 2],
    gains: View<'_, B, T>,
    y: View<'_, B, T>,
    image_stride: usize,
    plane_stride: usize,
    z: ViewMut<'_, B, Complex<T>>,
    z_stride: usize,
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
    b.tree_synthesis_unchecked(p, plan, gains, y, z, work)
}

impl<T: Real> TreeSynthesis<T> for Cpu {
    fn tree_synthesis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        y: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (gains, y) = (self.read(gains)?, self.read(y)?);
        let (z, work) = (self.write(z)?, self.write(work)?);
        let area = plan.planes(1).area();
        let half = p.height as usize * plan.half_width();
        let (bands, plane_stride) = (p.bands as usize, (p.plane_stride as usize).max(area));
        let prepared = plan.prepared();
        let transforms = &prepared.transforms;
        let (count, extent) = (p.count as usize, (bands - 1) * plane_stride + area);
        if count > 1 && prepared.images() > 1 {
            prepared.each_image(count, work, z, (p.z_stride as usize, half), |n, z, strips| {
                let y = &y[n * p.image_stride as usize..][..extent];
                for (s, (y, gain)) in y.chunks(plane_stride).zip(gains.chunks(half)).enumerate() {
                    transforms.forward_columns(&y[..area], strips);
                    transforms.forward_rows(&[(&*strips, Some(gain))], T::of(1.0), s > 0, z);
                }
            });
            return Ok(());
        }
        let mut strips = prepared.strips(work, bands, bands);
        let group = strips.len();
        for n in 0..count {
            let y = &y[n * p.image_stride as usize..][..extent];
            let z = &mut z[n * p.z_stride as usize..][..half];
            for (g, (y, gains)) in y.chunks(group * plane_stride).zip(gains.chunks(group * half)).enumerate() {
                let planes = y.par_chunks(plane_stride).zip(&mut strips);
                planes.for_each(|(y, strips)| transforms.forward_columns(&y[..area], strips));
                let sums: Vec<_> = strips.iter().zip(gains.chunks(half)).map(|(s, g)| (&**s, Some(g))).collect();
                transforms.forward_rows(&sums, T::of(1.0), g > 0, z);
            }
        }
        Ok(())
    }
}
