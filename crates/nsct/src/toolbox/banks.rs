//! The filter banks of the toolbox on batches of planes `[N, H, W]`.

use gpu_core::{Tensor, TensorView};

use super::Filters;
use super::engine::Transform;
use super::steps::{Source, Target, Tree, add, extended_area, pyramid_channel, tail, tree_channel};
use crate::kernels::{self, DenseFilter, Planes, atrousc_size, symext_size};
use crate::spec::{Geometry, MAX_LEVEL, planes};
use crate::{Coeffs, Error, NsctBackend, Real, Result, Side};

fn planes_of<B: NsctBackend<T>, T: Real>(x: TensorView<'_, B, T, 3>) -> Planes {
    let [count, height, width] = x.shape();
    Planes { count, height, width }
}

fn dense<B: NsctBackend<T>, T: Real>(x: TensorView<'_, B, T, 3>) -> Source<'_, B, T> {
    let [_, height, width] = x.shape();
    Source { view: x.flat(), stride: height * width }
}

fn shape(planes: Planes) -> [usize; 3] {
    [planes.count, planes.height, planes.width]
}

/// Convolution with `h` upsampled by the sampling matrix `m = [[m11, m12], [m21, m22]]`, whose first coordinate is the
/// column, with periodic boundary; see [`kernels::zconv2`].
///
/// # Errors
/// When the planes are empty, an entry of `m` is beyond 2^30, or memory runs out.
pub fn zconv2<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    h: &DenseFilter<B, T>,
    m: [[i64; 2]; 2],
) -> Result<Tensor<B, T, 3>> {
    let x = x.into();
    let planes = planes_of(x);
    let mut y = Tensor::scratch(b, x.shape())?;
    kernels::zconv2(b, planes, h, m, x.flat(), planes.area(), y.flat_mut(), planes.area())?;
    Ok(y)
}

/// Centred convolution with `h`, with periodic boundary; see [`kernels::efilter2`].
///
/// # Errors
/// When the planes are empty, or memory runs out.
pub fn efilter2<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    h: &DenseFilter<B, T>,
) -> Result<Tensor<B, T, 3>> {
    let x = x.into();
    let planes = planes_of(x);
    let mut y = Tensor::scratch(b, x.shape())?;
    kernels::efilter2(b, planes, h, x.flat(), planes.area(), y.flat_mut(), planes.area())?;
    Ok(y)
}

/// The valid part of the convolution with `h` stretched by `step`; see [`kernels::atrousc`].
///
/// # Errors
/// When the stretched filter does not fit into the planes, or memory runs out.
pub fn atrousc<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    h: &DenseFilter<B, T>,
    step: usize,
) -> Result<Tensor<B, T, 3>> {
    let x = x.into();
    let planes = planes_of(x);
    let out = atrousc_size(planes, (h.rows(), h.columns()), step)?;
    let mut y = Tensor::scratch(b, shape(out))?;
    kernels::atrousc(b, planes, h, step, x.flat(), planes.area(), y.flat_mut(), out.area())?;
    Ok(y)
}

/// Half-sample symmetric extension for a filter of `size = (p, q)`, shifted by `(s1, s2)`; see [`kernels::symext`].
///
/// # Errors
/// When the planes are empty, the result is too large, or memory runs out.
pub fn symext<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    size: (usize, usize),
    shift: (i64, i64),
) -> Result<Tensor<B, T, 3>> {
    let x = x.into();
    let planes = planes_of(x);
    let out = symext_size(planes, size)?;
    let mut y = Tensor::scratch(b, shape(out))?;
    kernels::symext(b, planes, size, shift, x.flat(), planes.area(), y.flat_mut(), out.area())?;
    Ok(y)
}

/// Memory for the extension of planes for both filters of a pair.
fn extension<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    pair: [&DenseFilter<B, T>; 2],
    level: usize,
) -> Result<Tensor<B, T, 1>> {
    let longest = pair.iter().map(|h| h.rows().max(h.columns())).max().unwrap_or(0);
    let area = extended_area(planes.height, planes.width, longest, level);
    Ok(Tensor::scratch(b, [area.saturating_mul(planes.count)])?)
}

/// One analysis step of the nonsubsampled pyramid, `level` 0 for the finest: low-pass and high-pass of `x`.
///
/// # Errors
/// When the planes are empty, their extension is too large, or memory runs out.
pub fn nsfbdec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    h0: &DenseFilter<B, T>,
    h1: &DenseFilter<B, T>,
    level: usize,
) -> Result<(Tensor<B, T, 3>, Tensor<B, T, 3>)> {
    let x = x.into();
    let planes = planes_of(x);
    planes.check()?;
    let mut extended = extension(b, planes, [h0, h1], level)?;
    let mut channel = |h: &DenseFilter<B, T>| -> Result<_> {
        let mut y = Tensor::scratch(b, x.shape())?;
        let target = Target { view: y.flat_mut(), stride: planes.area() };
        pyramid_channel(b, planes, h, level, dense(x), &mut extended, target)?;
        Ok(y)
    };
    Ok((channel(h0)?, channel(h1)?))
}

/// One synthesis step of the nonsubsampled pyramid; inverts [`nsfbdec`] with matching filters.
///
/// # Errors
/// As [`nsfbdec`], and when the two channels have different shapes.
pub fn nsfbrec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    low: impl Into<TensorView<'a, B, T, 3>>,
    high: impl Into<TensorView<'a, B, T, 3>>,
    g0: &DenseFilter<B, T>,
    g1: &DenseFilter<B, T>,
    level: usize,
) -> Result<Tensor<B, T, 3>> {
    let (low, high) = (low.into(), high.into());
    let planes = planes_of(low);
    planes.check()?;
    let mut extended = extension(b, planes, [g0, g1], level)?;
    sum_of(b, [low, high], |channel, x, y| pyramid_channel(b, planes, [g0, g1][channel], level, x, &mut extended, y))
}

/// One analysis node of the directional tree: both channels of `x`. Without `mup` the filters are applied as they are,
/// else upsampled by this sampling matrix.
///
/// # Errors
/// When the planes are empty, an entry of `mup` is beyond 2^30, or memory runs out.
pub fn nssfbdec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    f1: &DenseFilter<B, T>,
    f2: &DenseFilter<B, T>,
    mup: Option<[[i64; 2]; 2]>,
) -> Result<(Tensor<B, T, 3>, Tensor<B, T, 3>)> {
    let x = x.into();
    let planes = planes_of(x);
    let channel = |h: &DenseFilter<B, T>| -> Result<_> {
        let mut y = Tensor::scratch(b, x.shape())?;
        let target = Target { view: y.flat_mut(), stride: planes.area() };
        tree_channel(b, planes, h, mup, dense(x), target)?;
        Ok(y)
    };
    Ok((channel(f1)?, channel(f2)?))
}

/// One synthesis node of the directional tree; inverts [`nssfbdec`] with matching filters.
///
/// # Errors
/// As [`nssfbdec`], and when the two channels have different shapes.
pub fn nssfbrec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x1: impl Into<TensorView<'a, B, T, 3>>,
    x2: impl Into<TensorView<'a, B, T, 3>>,
    f1: &DenseFilter<B, T>,
    f2: &DenseFilter<B, T>,
    mup: Option<[[i64; 2]; 2]>,
) -> Result<Tensor<B, T, 3>> {
    let channels = [x1.into(), x2.into()];
    let planes = planes_of(channels[0]);
    sum_of(b, channels, |channel, x, y| tree_channel(b, planes, [f1, f2][channel], mup, x, y))
}

/// The sum of two filtered channels.
fn sum_of<B: NsctBackend<T>, T: Real>(
    b: &B,
    channels: [TensorView<'_, B, T, 3>; 2],
    mut filter: impl FnMut(usize, Source<'_, B, T>, Target<'_, B, T>) -> Result<()>,
) -> Result<Tensor<B, T, 3>> {
    let [first, second] = channels.map(|x| x.shape());
    if first != second {
        let (expected, got) = (first.to_vec(), second.to_vec());
        return Err(Error::ShapeMismatch { what: "second channel", expected, got });
    }
    let planes = planes_of(channels[0]);
    let area = planes.area();
    let mut pair = Tensor::scratch(b, [2 * channels[0].flat().len()])?;
    for (channel, x) in channels.into_iter().enumerate() {
        let start = (channel * area).min(pair.len());
        let target = Target { view: tail(&mut pair, start)?, stride: 2 * area };
        filter(channel, dense(x), target)?;
    }
    let mut y = Tensor::scratch(b, first)?;
    let target = Target { view: y.flat_mut(), stride: area };
    add(b, planes, Source { view: pair.flat(), stride: 2 * area }, target)?;
    Ok(y)
}

fn check_depth(depth: u8) -> Result<()> {
    if (1..=MAX_LEVEL).contains(&depth) {
        return Ok(());
    }
    Err(Error::value("depth", format!("a tree has a depth of 1 to {MAX_LEVEL}, not {depth}")))
}

fn depths<B: NsctBackend<T>, T: Real>(b: &B, elements: usize, depth: u8) -> Result<Vec<Tensor<B, T, 1>>> {
    Ok((1..depth).map(|_| Tensor::scratch(b, [2 * elements])).collect::<gpu_core::Result<_>>()?)
}

/// The directional tree of depth `clevels`, in the toolbox's geometry: `[N, 2^clevels, H, W]` from `[N, H, W]`.
///
/// # Errors
/// When the depth is not 1 to 8, the planes are empty, or memory runs out.
pub fn nsdfbdec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 3>>,
    filters: &Filters<B, T>,
    clevels: u8,
) -> Result<Tensor<B, T, 4>> {
    check_depth(clevels)?;
    let x = x.into();
    let planes = planes_of(x);
    let [n, h, w] = x.shape();
    let mut y = Tensor::scratch(b, [n, 1 << clevels, h, w])?;
    let mut target = Target { view: y.flat_mut(), stride: planes.area() << clevels };
    let tree = Tree { b, filters, geometry: Geometry::Toolbox, planes, depth: clevels };
    tree.grow((1, 1), dense(x), &mut depths(b, x.flat().len(), clevels)?, &mut target)?;
    Ok(y)
}

/// The image of the planes of a directional tree, `[N, H, W]` from `[N, 2^clevels, H, W]`; inverts [`nsdfbdec`].
///
/// # Errors
/// When the second axis is no power of two from 2 to 256, the planes are empty, or memory runs out.
pub fn nsdfbrec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    y: impl Into<TensorView<'a, B, T, 4>>,
    filters: &Filters<B, T>,
) -> Result<Tensor<B, T, 3>> {
    let y = y.into();
    let [count, directions, height, width] = y.shape();
    if !directions.is_power_of_two() || !(2..=1 << MAX_LEVEL).contains(&directions) {
        return Err(Error::value("y", format!("{directions} planes are not those of a tree: 2, 4, 8, … 256 are")));
    }
    let depth = directions.ilog2() as u8;
    let planes = Planes { count, height, width };
    let area = planes.area();
    let mut x = Tensor::scratch(b, [count, height, width])?;
    let mut pair = Tensor::scratch(b, [2 * count * area])?;
    let source = Source { view: y.flat(), stride: directions * area };
    let tree = Tree { b, filters, geometry: Geometry::Toolbox, planes, depth };
    let target = Target { view: x.flat_mut(), stride: area };
    tree.shrink(Side::Synthesis, (1, 1), source, &mut depths(b, count * area, depth)?, &mut pair, target)?;
    Ok(x)
}

/// The whole transform of images `[B, C, H, W]` with dense filters, in the toolbox's geometry. `levels` are coarse to
/// fine.
///
/// This is the published algorithm, kept as a reference: [`NsctPlan`](crate::NsctPlan) gives the same coefficients up
/// to rounding, many times faster.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use nsct::toolbox::{Filters, nsctdec, nsctrec};
/// use nsct::{DirFilter, PyrFilter};
///
/// let cpu = Cpu::new();
/// let filters = Filters::new(&cpu, DirFilter::Pkva(6), PyrFilter::Pyr)?;
/// let pixels: Vec<f64> = (0..12 * 16).map(|i| f64::from(i % 7)).collect();
/// let x = Tensor::from_slice(&cpu, [1, 1, 12, 16], &pixels)?;
/// let y = nsctdec(&cpu, &x, &[0, 2], &filters)?;
/// assert_eq!(y.shape(), [1, 1, 1 + 1 + 4, 12, 16]);
/// let back = nsctrec(&cpu, &y, &filters)?.to_vec(&cpu)?;
/// assert!(back.iter().zip(&pixels).all(|(a, b)| (a - b).abs() < 1e-12));
/// # Ok::<(), nsct::Error>(())
/// ```
///
/// # Errors
/// When a level is above 8, the images have no pixels, or memory runs out: with many levels, the extended images become
/// much larger than the images.
pub fn nsctdec<'a, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'a, B, T, 4>>,
    levels: &[u8],
    filters: &Filters<B, T>,
) -> Result<Coeffs<B, T>> {
    let x = x.into();
    let [n, c, height, width] = x.shape();
    check_levels(levels)?;
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    let transform = Transform { filters, levels, geometry: Geometry::Toolbox, height, width };
    let mut out = Coeffs::scratch(b, x.shape(), planes(levels).into())?;
    let mut work = transform.workspace(b, n * c)?;
    transform.decompose(b, &mut work, n * c, x.flat(), out.tensor_mut().flat_mut())?;
    Ok(out)
}

/// The images `[B, C, H, W]` of coefficients, with dense filters; inverts [`nsctdec`].
///
/// # Errors
/// As [`nsctdec`].
pub fn nsctrec<B: NsctBackend<T>, T: Real>(
    b: &B,
    y: &Coeffs<B, T>,
    filters: &Filters<B, T>,
) -> Result<Tensor<B, T, 4>> {
    let [n, c, _, height, width] = y.shape();
    // The directions of each scale, from those of its first plane.
    let firsts = y.planes().iter().filter(|id| id.scale > 0 && id.direction == 1);
    let levels: Vec<u8> = firsts.map(|id| id.directions.max(1).ilog2() as u8).collect();
    check_levels(&levels)?;
    if y.planes() != planes(&levels) {
        return Err(Error::value("coefficients", "their planes are not those of a transform, in order"));
    }
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    let transform = Transform { filters, levels: &levels, geometry: Geometry::Toolbox, height, width };
    let mut out = Tensor::scratch(b, [n, c, height, width])?;
    let mut work = transform.workspace(b, n * c)?;
    transform.reconstruct(b, &mut work, n * c, Side::Synthesis, y.tensor().flat(), out.flat_mut())?;
    Ok(out)
}

fn check_levels(levels: &[u8]) -> Result<()> {
    match levels.iter().enumerate().find(|&(_, &level)| level > MAX_LEVEL) {
        Some((j, &level)) => Err(Error::LevelTooDeep { scale: j + 1, level, max: MAX_LEVEL }),
        None => Ok(()),
    }
}
