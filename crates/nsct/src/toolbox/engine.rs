//! The whole transform with the toolbox's dense filters, batched: the reference that the fast engines are tested against.

use gpu_core::{Tensor, View, ViewMut};

use super::Filters;
use super::steps::{Source, Target, Tree, add, copy, extended_area, pyramid_channel, tail};
use crate::kernels::Planes;
use crate::spec::Geometry;
use crate::{NsctBackend, NsctSpec, Real, Result, Side};

/// Filters for one specification and image size.
#[derive(Debug)]
pub(crate) struct DenseEngine<B: NsctBackend<T>, T: Real> {
    filters: Filters<B, T>,
    levels: Vec<u8>,
    geometry: Geometry,
    height: usize,
    width: usize,
}

/// Memory that a transform of `count` planes works in.
#[derive(Debug)]
pub(crate) struct DenseWorkspace<B: NsctBackend<T>, T: Real> {
    /// Mirrored extensions of the planes.
    extended: Tensor<B, T, 1>,
    /// Low-pass and high-pass of two successive pyramid steps, `[count, 2, area]`.
    steps: [Tensor<B, T, 1>; 2],
    /// The two terms of a sum, `[count, 2, area]`.
    pair: Tensor<B, T, 1>,
    /// The pairs of depth 1, 2, … but the last, `[count, 2, area]`.
    depths: Vec<Tensor<B, T, 1>>,
}

impl<B: NsctBackend<T>, T: Real> DenseEngine<B, T> {
    pub(crate) fn new(b: &B, spec: &NsctSpec, height: usize, width: usize) -> Result<Self> {
        let filters = Filters::new(b, spec.dir, spec.pyr)?;
        Ok(Self { filters, levels: spec.levels.clone(), geometry: spec.geometry, height, width })
    }

    /// The transform itself.
    fn transform(&self) -> Transform<'_, B, T> {
        let Self { filters, levels, geometry, height, width } = self;
        Transform { filters, levels, geometry: *geometry, height: *height, width: *width }
    }

    /// Bytes of a workspace for `count` planes.
    pub(crate) fn workspace_bytes(&self, count: usize) -> usize {
        let elements = self.transform().workspace_elements();
        elements
            .iter()
            .fold(0, |sum: usize, n| sum.saturating_add(*n))
            .saturating_mul(count)
            .saturating_mul(size_of::<T>())
    }

    /// Memory for transforms of up to `count` planes.
    pub(crate) fn workspace(&self, b: &B, count: usize) -> Result<DenseWorkspace<B, T>> {
        self.transform().workspace(b, count)
    }

    /// Transforms `count` dense planes of `x`; `out` is `[count, planes, height, width]`.
    pub(crate) fn decompose(
        &self,
        b: &B,
        work: &mut DenseWorkspace<B, T>,
        count: usize,
        x: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        self.transform().decompose(b, work, count, x, out)
    }

    /// The inverse, or with the analysis side the adjoint, of [`Self::decompose`].
    pub(crate) fn reconstruct(
        &self,
        b: &B,
        work: &mut DenseWorkspace<B, T>,
        count: usize,
        side: Side,
        coefficients: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        self.transform().reconstruct(b, work, count, side, coefficients, out)
    }
}

/// A transform whose filters somebody else keeps.
pub(super) struct Transform<'a, B: NsctBackend<T>, T: Real> {
    pub(super) filters: &'a Filters<B, T>,
    pub(super) levels: &'a [u8],
    pub(super) geometry: Geometry,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl<B: NsctBackend<T>, T: Real> Transform<'_, B, T> {
    /// Elements a plane of `extended`, both `steps`, `pair`, and each of `depths`.
    fn workspace_elements(&self) -> Vec<usize> {
        let pair = 2 * self.height * self.width;
        let deepest = usize::from(self.levels.iter().copied().max().unwrap_or(0));
        let longest = self.filters.pyramid.longest();
        let last = self.levels.len().checked_sub(1);
        let extended = last.map_or(0, |step| extended_area(self.height, self.width, longest, step));
        let mut elements = vec![extended, pair, pair, pair];
        elements.resize(4 + deepest.saturating_sub(1), pair);
        elements
    }

    pub(super) fn workspace(&self, b: &B, count: usize) -> Result<DenseWorkspace<B, T>> {
        let elements = self.workspace_elements();
        let make = |n: &usize| Tensor::scratch(b, [n.saturating_mul(count)]);
        Ok(DenseWorkspace {
            extended: make(&elements[0])?,
            steps: [make(&elements[1])?, make(&elements[2])?],
            pair: make(&elements[3])?,
            depths: elements[4..].iter().map(make).collect::<gpu_core::Result<_>>()?,
        })
    }

    fn planes(&self, count: usize) -> Planes {
        Planes { count, height: self.height, width: self.width }
    }

    fn tree<'b>(&'b self, b: &'b B, planes: Planes, depth: u8) -> Tree<'b, B, T> {
        Tree { b, filters: self.filters, geometry: self.geometry, planes, depth }
    }

    /// First plane of each scale, coarsest first, and the number of planes.
    fn scales(&self) -> (Vec<usize>, usize) {
        let mut next = 1;
        let mut first = Vec::with_capacity(self.levels.len());
        for &n in self.levels {
            first.push(next);
            next += 1 << n;
        }
        (first, next)
    }

    /// As [`DenseEngine::decompose`].
    pub(super) fn decompose(
        &self,
        b: &B,
        work: &mut DenseWorkspace<B, T>,
        count: usize,
        x: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        let planes = self.planes(count);
        let area = planes.area();
        let (first, total) = self.scales();
        let mut out = Target { view: out, stride: total * area };
        let [mut now, mut before] = work.steps.each_mut();
        let mut low = Source { view: x, stride: area };
        for (i, (&n, &first)) in self.levels.iter().zip(&first).rev().enumerate() {
            for (channel, h) in self.filters.pyramid.pair(Side::Analysis).iter().enumerate() {
                // The high-pass plane of a scale without directions is a result itself.
                let target = if n == 0 && channel == 1 {
                    out.skip(first * area)?
                } else {
                    Target { view: tail(now, channel * area)?, stride: 2 * area }
                };
                pyramid_channel(b, planes, h, i, low, &mut work.extended, target)?;
            }
            if n > 0 {
                let high = Source { view: now.flat(), stride: 2 * area }.skip(area)?;
                self.tree(b, planes, n).grow((1, 1), high, &mut work.depths, &mut out.skip(first * area)?)?;
            }
            std::mem::swap(&mut now, &mut before);
            low = Source { view: before.flat(), stride: 2 * area };
        }
        copy(b, planes, low, out.skip(0)?)
    }

    /// As [`DenseEngine::reconstruct`].
    pub(super) fn reconstruct(
        &self,
        b: &B,
        work: &mut DenseWorkspace<B, T>,
        count: usize,
        side: Side,
        coefficients: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        let planes = self.planes(count);
        let area = planes.area();
        let (first, total) = self.scales();
        let coefficients = Source { view: coefficients, stride: total * area };
        let mut out = Target { view: out, stride: area };
        let steps = self.levels.len();
        if steps == 0 {
            return copy(b, planes, coefficients, out);
        }
        let [mut now, mut next] = work.steps.each_mut();
        for (j, (&n, &first)) in self.levels.iter().zip(&first).enumerate() {
            let subbands = coefficients.skip(first * area)?;
            if n > 0 {
                let high = Target { view: tail(now, area)?, stride: 2 * area };
                let tree = self.tree(b, planes, n);
                tree.shrink(side, (1, 1), subbands, &mut work.depths, &mut work.pair, high)?;
            }
            let made = Source { view: now.flat(), stride: 2 * area };
            let low = if j == 0 { coefficients } else { made };
            let high = if n > 0 { made.skip(area)? } else { subbands };
            let i = steps - 1 - j;
            for (channel, (h, x)) in self.filters.pyramid.pair(side).iter().zip([low, high]).enumerate() {
                let target = Target { view: tail(&mut work.pair, channel * area)?, stride: 2 * area };
                pyramid_channel(b, planes, h, i, x, &mut work.extended, target)?;
            }
            let sum = Source { view: work.pair.flat(), stride: 2 * area };
            let target = if i == 0 { out.skip(0)? } else { Target { view: next.flat_mut(), stride: 2 * area } };
            add(b, planes, sum, target)?;
            std::mem::swap(&mut now, &mut next);
        }
        Ok(())
    }
}
