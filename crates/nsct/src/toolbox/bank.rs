//! The toolbox's dense filters in the memory of a device, made once.

use gpu_core::Backend;
use ndarray::Array2;

use super::{Modulation, modulate2, parafilters};
use crate::filters::{Channel, directional, directional_array, pyramid_array, pyramid_prototype};
use crate::kernels::DenseFilter;
use crate::{DirFilter, PyrFilter, Real, Result, Side};

/// The pyramid's filters `[h0, h1]` (analysis) or `[g0, g1]` (synthesis).
pub fn atrousfilters(filter: PyrFilter, side: Side) -> [Array2<f64>; 2] {
    let prototype = pyramid_prototype(filter);
    [Channel::First, Channel::Second].map(|channel| pyramid_array(&prototype, side, channel))
}

/// The diamond filters `[h0, h1]` (analysis) or `[g0, g1]` (synthesis) of the directional tree.
///
/// They are already divided by √2, which the published `nsctdec` does after its `dfilters`.
///
/// # Errors
/// When the family has no filter of this order.
pub fn dfilters(filter: DirFilter, side: Side) -> Result<[Array2<f64>; 2]> {
    let filters = directional(filter)?;
    Ok([Channel::First, Channel::Second].map(|channel| directional_array(&filters, side, channel)))
}

/// The four filters of a pyramid on a device.
#[derive(Debug)]
pub struct PyramidFilters<B: Backend, T: Real> {
    sides: Box<[[DenseFilter<B, T>; 2]; 2]>,
}

impl<B: Backend, T: Real> PyramidFilters<B, T> {
    /// Makes and uploads them.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn new(b: &B, filter: PyrFilter) -> Result<Self> {
        let side = |side| -> Result<_> {
            let [first, second] = atrousfilters(filter, side);
            Ok([DenseFilter::new(b, first.view())?, DenseFilter::new(b, second.view())?])
        };
        Ok(Self { sides: Box::new([side(Side::Analysis)?, side(Side::Synthesis)?]) })
    }

    /// `[h0, h1]` or `[g0, g1]`.
    pub fn pair(&self, side: Side) -> &[DenseFilter<B, T>; 2] {
        &self.sides[usize::from(side == Side::Synthesis)]
    }

    /// The longest side of any of them.
    pub(crate) fn longest(&self) -> usize {
        self.sides.iter().flatten().map(|f| f.rows().max(f.columns())).max().unwrap_or(0)
    }
}

/// A fan pair and four parallelogram pairs.
type TreeSide<B, T> = [[DenseFilter<B, T>; 2]; 5];

/// The filters of a directional tree on a device: for each side the fan pair of depths 1 and 2, and the four
/// parallelogram pairs of the greater depths.
#[derive(Debug)]
pub struct TreeFilters<B: Backend, T: Real> {
    sides: Box<[TreeSide<B, T>; 2]>,
}

impl<B: Backend, T: Real> TreeFilters<B, T> {
    /// Makes and uploads them.
    ///
    /// # Errors
    /// When the family has no filter of this order, or memory runs out.
    pub fn new(b: &B, filter: DirFilter) -> Result<Self> {
        let side = |side| -> Result<TreeSide<B, T>> {
            let [h0, h1] = dfilters(filter, side)?;
            let pair = |first: &Array2<f64>, second: &Array2<f64>| -> Result<_> {
                Ok([DenseFilter::new(b, first.view())?, DenseFilter::new(b, second.view())?])
            };
            let fan = pair(&modulate2(&h0, Modulation::Columns), &modulate2(&h1, Modulation::Columns))?;
            let (f1, f2) = parafilters(&h0, &h1);
            let of = |i: usize| pair(&f1[i], &f2[i]);
            Ok([fan, of(0)?, of(1)?, of(2)?, of(3)?])
        };
        Ok(Self { sides: Box::new([side(Side::Analysis)?, side(Side::Synthesis)?]) })
    }

    /// The fan pair for `None`, else the parallelogram pair with this index from 0.
    pub(crate) fn pair(&self, side: Side, parallelogram: Option<usize>) -> &[DenseFilter<B, T>; 2] {
        &self.sides[usize::from(side == Side::Synthesis)][parallelogram.map_or(0, |i| i + 1)]
    }
}

/// All dense filters of a transform on a device.
#[derive(Debug)]
pub struct Filters<B: Backend, T: Real> {
    /// Of the pyramid.
    pub pyramid: PyramidFilters<B, T>,
    /// Of the directional tree.
    pub tree: TreeFilters<B, T>,
}

impl<B: Backend, T: Real> Filters<B, T> {
    /// Makes and uploads them. This takes much longer than a transform of a small image: do it once.
    ///
    /// # Errors
    /// When a family has no filter of this order, or memory runs out.
    pub fn new(b: &B, dfilt: DirFilter, pfilt: PyrFilter) -> Result<Self> {
        Ok(Self { pyramid: PyramidFilters::new(b, pfilt)?, tree: TreeFilters::new(b, dfilt)? })
    }
}
