//! Engine C: the pyramid as multiplications in the cosine domain, the tree in the Fourier domain.
//!
//! One cosine transform of the image serves all scales; each scale goes back to the image domain once, and through one
//! Fourier transform to all of its directions. The synthesis runs the same way backwards and sums in both domains.
//! Exact for every filter; NaN and infinities spread over all planes of their image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use gpu_core::{Tensor, View, ViewMut};
use num_complex::Complex;

use crate::filters::directional;
use crate::gains::{forest_gains, scale_gains};
use crate::kernels::{FourierPlan, dct2, idct2, irfft2, rfft2, tree_analysis, tree_synthesis};
use crate::{NsctBackend, NsctSpec, Real, Result, Side};

/// Tables for one specification and image size.
#[derive(Debug)]
pub(crate) struct SpectralEngine<B: NsctBackend<T>, T: Real> {
    spec: NsctSpec,
    height: usize,
    width: usize,
    plan: FourierPlan<B, T>,
    /// Made at the first use of a side: half the users never reconstruct.
    sides: [OnceLock<Gains<B, T>>; 2],
}

/// All gains of one side.
#[derive(Debug)]
struct Gains<B: NsctBackend<T>, T: Real> {
    /// In the cosine domain, with the factor `1 / (H W)` that the unnormalised transforms leave out.
    low: Tensor<B, T, 1>,
    /// The same of each scale, coarsest first.
    scales: Vec<Tensor<B, T, 1>>,
    /// In the Fourier domain, of all directions of a tree, by its depth.
    trees: BTreeMap<u8, Tensor<B, T, 1>>,
}

/// Memory that a transform works in.
#[derive(Debug)]
pub(crate) struct SpectralWorkspace<B: NsctBackend<T>, T: Real> {
    count: usize,
    /// Cosine coefficients of the images, `[count, area]`.
    cosines: Tensor<B, T, 1>,
    /// One scale of the images before its tree, `[count, area]`.
    scale: Tensor<B, T, 1>,
    /// Its half spectra, `[count, H, W/2 + 1]`.
    spectra: Tensor<B, Complex<T>, 1>,
    /// Of the operations.
    work: Tensor<B, T, 1>,
}

impl<B: NsctBackend<T>, T: Real> SpectralEngine<B, T> {
    /// Prepares transforms and the gains of the analysis.
    pub(crate) fn new(b: &B, spec: &NsctSpec, height: usize, width: usize) -> Result<Self> {
        let engine = Self {
            spec: spec.clone(),
            height,
            width,
            plan: FourierPlan::new(b, height, width)?,
            sides: [OnceLock::new(), OnceLock::new()],
        };
        engine.prepare(b, Side::Analysis)?;
        Ok(engine)
    }

    /// Makes the gains of one side, which its first use would otherwise do; needed before a capture.
    pub(crate) fn prepare(&self, b: &B, side: Side) -> Result<()> {
        self.gains(b, side).map(drop)
    }

    /// Makes everything that a later call would make at its first use.
    pub(crate) fn reserve(&self, b: &B) -> Result<()> {
        self.prepare(b, Side::Synthesis)?;
        Ok(self.bands().into_iter().try_for_each(|bands| self.plan.reserve(b, bands))?)
    }

    /// Planes that operations work on together: 1, and those of each different tree.
    fn bands(&self) -> BTreeSet<usize> {
        self.spec.levels.iter().map(|&level| 1 << level).chain([1]).collect()
    }

    fn gains(&self, b: &B, side: Side) -> Result<&Gains<B, T>> {
        let slot = &self.sides[usize::from(side == Side::Synthesis)];
        if let Some(gains) = slot.get() {
            return Ok(gains);
        }
        let made = self.make_gains(b, side)?;
        // Another thread may have been faster; its tables are the same.
        Ok(slot.get_or_init(|| made))
    }

    fn make_gains(&self, b: &B, side: Side) -> Result<Gains<B, T>> {
        let (height, width) = (self.height, self.width);
        let upload =
            |values: &[T]| -> Result<Tensor<B, T, 1>> { Ok(Tensor::from_slice(b, [values.len()], values)?.share(b)?) };
        let normal = T::of(1.0 / (height * width) as f64);
        let upload_normalised = |values: Vec<T>| {
            let scaled: Vec<T> = values.into_iter().map(|v| v * normal).collect();
            upload(&scaled)
        };
        let pyramid = scale_gains(&self.spec, side, height, width)?;
        let deep: Vec<u8> = self.spec.levels.iter().copied().filter(|&level| level > 0).collect();
        let forest = forest_gains(&directional(self.spec.dir)?, side, self.spec.geometry, &deep, height, width)?;
        Ok(Gains {
            low: upload_normalised(pyramid.low)?,
            scales: pyramid.scales.into_iter().map(upload_normalised).collect::<Result<_>>()?,
            trees: forest
                .into_iter()
                .map(|(depth, planes)| Ok((depth, upload(&planes.concat())?)))
                .collect::<Result<_>>()?,
        })
    }

    fn area(&self) -> usize {
        self.height * self.width
    }

    fn half(&self) -> usize {
        self.height * self.plan.half_width()
    }

    fn work_len(&self) -> usize {
        self.bands().into_iter().map(|bands| self.plan.work_len(bands)).max().unwrap_or(0)
    }

    /// Images that are best transformed together.
    pub(crate) fn together(&self) -> usize {
        self.plan.images_at_once()
    }

    pub(crate) fn workspace_bytes(&self, count: usize) -> usize {
        let each = 2 * self.area() + 2 * self.half();
        let held: usize = self.bands().into_iter().map(|bands| self.plan.held_len(bands)).sum();
        count.saturating_mul(each).saturating_add(self.work_len() + held).saturating_mul(size_of::<T>())
    }

    pub(crate) fn workspace(&self, b: &B, count: usize) -> Result<SpectralWorkspace<B, T>> {
        Ok(SpectralWorkspace {
            count,
            cosines: Tensor::scratch(b, [count * self.area()])?,
            scale: Tensor::scratch(b, [count * self.area()])?,
            spectra: Tensor::scratch(b, [count * self.half()])?,
            work: Tensor::scratch(b, [self.work_len()])?,
        })
    }

    /// `x` is `[count, H, W]`, `out` `[count, S, H, W]`.
    pub(crate) fn decompose(
        &self,
        b: &B,
        work: &mut SpectralWorkspace<B, T>,
        count: usize,
        x: View<'_, B, T>,
        mut out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        debug_assert!(count <= work.count, "the workspace is large enough");
        let (plan, area, half) = (&self.plan, self.area(), self.half());
        if self.spec.levels.is_empty() {
            return Ok(b.copy(x, out)?);
        }
        let gains = self.gains(b, Side::Analysis)?;
        let image = area * self.spec.plane_count();
        let SpectralWorkspace { cosines, scale, spectra, work, .. } = work;
        dct2(b, plan, count, None, false, x, area, cosines.flat_mut(), area, work.flat_mut())?;
        let low = Some(gains.low.flat());
        idct2(b, plan, count, low, cosines.flat(), area, out.reborrow(), image, work.flat_mut())?;
        let mut first = area;
        for (&level, gain) in self.spec.levels.iter().zip(&gains.scales) {
            let (gain, end) = (Some(gain.flat()), out.len());
            let planes = out.reborrow().slice(first.min(end)..end)?;
            let bands = 1 << level;
            if let Some(tree) = gains.trees.get(&level) {
                idct2(b, plan, count, gain, cosines.flat(), area, scale.flat_mut(), area, work.flat_mut())?;
                let normal = 1.0 / area as f64;
                rfft2(b, plan, count, normal, scale.flat(), area, spectra.flat_mut(), half, work.flat_mut())?;
                let (tree, spectra, work) = (tree.flat(), spectra.flat(), work.flat_mut());
                tree_analysis(b, plan, [count, bands], tree, spectra, half, planes, image, area, work)?;
            } else {
                idct2(b, plan, count, gain, cosines.flat(), area, planes, image, work.flat_mut())?;
            }
            first += bands * area;
        }
        Ok(())
    }

    /// `coefficients` is `[count, S, H, W]`, `out` `[count, H, W]`. With [`Side::Analysis`] it is the adjoint.
    pub(crate) fn reconstruct(
        &self,
        b: &B,
        work: &mut SpectralWorkspace<B, T>,
        count: usize,
        side: Side,
        coefficients: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        debug_assert!(count <= work.count, "the workspace is large enough");
        let (plan, area, half) = (&self.plan, self.area(), self.half());
        if self.spec.levels.is_empty() {
            return Ok(b.copy(coefficients, out)?);
        }
        let gains = self.gains(b, side)?;
        let image = area * self.spec.plane_count();
        let SpectralWorkspace { cosines, scale, spectra, work, .. } = work;
        let low = Some(gains.low.flat());
        dct2(b, plan, count, low, false, coefficients, image, cosines.flat_mut(), area, work.flat_mut())?;
        let mut first = area;
        for (&level, gain) in self.spec.levels.iter().zip(&gains.scales) {
            let (gain, end) = (Some(gain.flat()), coefficients.len());
            let planes = coefficients.slice(first.min(end)..end)?;
            let bands = 1 << level;
            if let Some(tree) = gains.trees.get(&level) {
                let tree = tree.flat();
                tree_synthesis(
                    b,
                    plan,
                    [count, bands],
                    tree,
                    planes,
                    image,
                    area,
                    spectra.flat_mut(),
                    half,
                    work.flat_mut(),
                )?;
                let normal = 1.0 / area as f64;
                irfft2(b, plan, count, normal, spectra.flat(), half, scale.flat_mut(), area, work.flat_mut())?;
                dct2(b, plan, count, gain, true, scale.flat(), area, cosines.flat_mut(), area, work.flat_mut())?;
            } else {
                dct2(b, plan, count, gain, true, planes, image, cosines.flat_mut(), area, work.flat_mut())?;
            }
            first += bands * area;
        }
        Ok(idct2(b, plan, count, None, cosines.flat(), area, out, area, work.flat_mut())?)
    }
}
