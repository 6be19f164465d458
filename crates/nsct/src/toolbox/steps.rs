//! The steps of the dense transform on strided planes, in memory that the caller provides.

use gpu_core::{Tensor, View, ViewMut};

use super::{Filters, dense_node};
use crate::kernels::{DenseFilter, Planes, atrousc, efilter2, pair_mix, symext, symext_size, zconv2};
use crate::spec::Geometry;
use crate::{NsctBackend, Real, Result, Side};

/// Planes somewhere in a buffer: the first at element 0 of the view, each further one a stride behind.
pub(super) struct Source<'a, B: NsctBackend<T>, T: Real> {
    pub(super) view: View<'a, B, T>,
    pub(super) stride: usize,
}

// Derived impls would ask for `B: Copy`.
#[allow(clippy::expl_impl_clone_on_copy)]
impl<B: NsctBackend<T>, T: Real> Clone for Source<'_, B, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: NsctBackend<T>, T: Real> Copy for Source<'_, B, T> {}

impl<B: NsctBackend<T>, T: Real> Source<'_, B, T> {
    /// The same planes, `elements` further on.
    pub(super) fn skip(self, elements: usize) -> Result<Self> {
        let len = self.view.len();
        Ok(Self { view: self.view.slice(elements..len)?, ..self })
    }
}

/// As [`Source`], for writing.
pub(super) struct Target<'a, B: NsctBackend<T>, T: Real> {
    pub(super) view: ViewMut<'a, B, T>,
    pub(super) stride: usize,
}

impl<B: NsctBackend<T>, T: Real> Target<'_, B, T> {
    /// A shorter borrow of the planes `elements` further on.
    pub(super) fn skip(&mut self, elements: usize) -> Result<Target<'_, B, T>> {
        let len = self.view.len();
        Ok(Target { view: self.view.reborrow().slice(elements..len)?, stride: self.stride })
    }
}

/// Pixels that a filter of at most `longest` elements a side needs at `step` of the pyramid, extension included.
pub(super) fn extended_area(height: usize, width: usize, longest: usize, step: usize) -> usize {
    let reach = usize::try_from(crate::filters::dilation(step, height, width)).unwrap_or(usize::MAX);
    let reach = reach.saturating_mul(longest);
    height.saturating_add(reach).saturating_mul(width.saturating_add(reach))
}

/// One channel of `nsfbdec` or `nsfbrec`: extension and convolution at `step` of the pyramid, 0 for the finest.
pub(super) fn pyramid_channel<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    h: &DenseFilter<B, T>,
    step: usize,
    x: Source<'_, B, T>,
    extended: &mut Tensor<B, T, 1>,
    y: Target<'_, B, T>,
) -> Result<()> {
    let dilation = crate::filters::dilation(step, planes.height, planes.width);
    let stretch = |n: usize| usize::try_from(dilation).ok().and_then(|d| d.checked_mul(n)).unwrap_or(usize::MAX);
    let size = (stretch(h.rows()), stretch(h.columns()));
    let half = (dilation / 2) as i64;
    let shift = if step == 0 { 1 } else { 2 - half };
    let large = symext_size(planes, size)?;
    symext(b, planes, size, (shift, shift), x.view, x.stride, extended.flat_mut(), large.area())?;
    Ok(atrousc(b, large, h, dilation as usize, extended.flat(), large.area(), y.view, y.stride)?)
}

/// How a tree's filter is upsampled, if at all.
type SamplingMatrix = Option<[[i64; 2]; 2]>;

/// One channel of `nssfbdec`: `efilter2` without a sampling matrix, else `zconv2`.
pub(super) fn tree_channel<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    h: &DenseFilter<B, T>,
    matrix: SamplingMatrix,
    x: Source<'_, B, T>,
    y: Target<'_, B, T>,
) -> Result<()> {
    match matrix {
        None => efilter2(b, planes, h, x.view, x.stride, y.view, y.stride)?,
        Some(m) => zconv2(b, planes, h, m, x.view, x.stride, y.view, y.stride)?,
    }
    Ok(())
}

/// `y = y0 + y1`, with `y1` one plane behind `y0`.
pub(super) fn add<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    pair: Source<'_, B, T>,
    y: Target<'_, B, T>,
) -> Result<()> {
    let area = planes.area();
    Ok(pair_mix(b, planes, [1.0, 1.0], false, pair.view, pair.stride, area, y.view, y.stride)?)
}

/// `y = x`: an extension by nothing.
pub(super) fn copy<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    x: Source<'_, B, T>,
    y: Target<'_, B, T>,
) -> Result<()> {
    Ok(symext(b, planes, (1, 1), (1, 1), x.view, x.stride, y.view, y.stride)?)
}

/// A directional tree of depth `n` over `planes`.
pub(super) struct Tree<'a, B: NsctBackend<T>, T: Real> {
    pub(super) b: &'a B,
    pub(super) filters: &'a Filters<B, T>,
    pub(super) geometry: Geometry,
    pub(super) planes: Planes,
    pub(super) depth: u8,
}

impl<B: NsctBackend<T>, T: Real> Tree<'_, B, T> {
    fn node(&self, side: Side, l: u8, k: usize) -> Result<(&[DenseFilter<B, T>; 2], SamplingMatrix)> {
        let node = dense_node(self.geometry, l, k)?;
        let matrix = if l == 1 { None } else { Some(node.matrix) };
        Ok((self.filters.tree.pair(side, node.parallelogram), matrix))
    }

    /// The planes below node `(l, k)`, into `y`, which holds all planes of the tree. `depths` has a pair of planes for
    /// every depth but the last.
    pub(super) fn grow(
        &self,
        (l, k): (u8, usize),
        x: Source<'_, B, T>,
        depths: &mut [Tensor<B, T, 1>],
        y: &mut Target<'_, B, T>,
    ) -> Result<()> {
        let area = self.planes.area();
        let (pair, matrix) = self.node(Side::Analysis, l, k)?;
        let leaf = l == self.depth;
        let mut depths = depths.split_first_mut().filter(|_| !leaf);
        for (channel, h) in pair.iter().enumerate() {
            let target = match &mut depths {
                None => y.skip((2 * (k - 1) + channel) * area)?,
                Some((here, _)) => Target { view: tail(here, channel * area)?, stride: 2 * area },
            };
            tree_channel(self.b, self.planes, h, matrix, x, target)?;
        }
        if let Some((here, deeper)) = depths {
            for channel in 0..2 {
                let x = Source { view: here.flat(), stride: 2 * area }.skip(channel * area)?;
                self.grow((l + 1, 2 * k - 1 + channel), x, deeper, y)?;
            }
        }
        Ok(())
    }

    /// The opposite of [`Tree::grow`], with the filters of `side`; `pair` holds a pair of planes.
    pub(super) fn shrink(
        &self,
        side: Side,
        (l, k): (u8, usize),
        x: Source<'_, B, T>,
        depths: &mut [Tensor<B, T, 1>],
        pair: &mut Tensor<B, T, 1>,
        y: Target<'_, B, T>,
    ) -> Result<()> {
        let area = self.planes.area();
        let (filters, matrix) = self.node(side, l, k)?;
        let depths = if l == self.depth { None } else { depths.split_first_mut() };
        let source = match depths {
            None => x.skip(2 * (k - 1) * area)?,
            Some((here, deeper)) => {
                for channel in 0..2 {
                    let target = Target { view: tail(here, channel * area)?, stride: 2 * area };
                    self.shrink(side, (l + 1, 2 * k - 1 + channel), x, deeper, pair, target)?;
                }
                Source { view: here.flat(), stride: 2 * area }
            }
        };
        for (channel, h) in filters.iter().enumerate() {
            let target = Target { view: tail(pair, channel * area)?, stride: 2 * area };
            tree_channel(self.b, self.planes, h, matrix, source.skip(channel * area)?, target)?;
        }
        add(self.b, self.planes, Source { view: pair.flat(), stride: 2 * area }, y)
    }
}

/// Everything behind element `start`, for writing.
pub(super) fn tail<B: NsctBackend<T>, T: Real>(x: &mut Tensor<B, T, 1>, start: usize) -> Result<ViewMut<'_, B, T>> {
    let len = x.len();
    Ok(x.flat_mut().slice(start..len)?)
}
