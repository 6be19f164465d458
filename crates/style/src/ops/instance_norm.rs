//! Kernel N: instance norm of a tensor, with ReLU and residual.
//!
//! For each plane (image and channel) with its mean `μ` and biased variance `σ²` over all pixels:
//! `y = (x − μ) / sqrt(σ² + eps) · γ + β`, then `max(y, 0)` if asked for, then the sum with the residual. Statistics are
//! those of parts of the plane, as (count, mean, M2) of deviations from an element of the part, merged by Chan's formula
//! in a fixed tree in `f64`: never `E[x²] − E[x]²`, no atomics. A plane of one pixel or of equal values gives exactly β.
//! `(x − μ)·scale + shift` is one subtraction and one fused multiply-add; one rounding more when it is stored as `f16`.
//!
//! Planes up to 64 Ki pixels with rows inside take one launch of a block a plane, all others three: parts, merge, apply.
//!
//! Floor: 8 flop and `2 · size_of::<T>()` bytes an element (`3 ·` with a residual); the second read of a large plane
//! comes from memory unless the tensor fits in the L2 cache.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Coefficients, Layout, Norm, Part, Sample, Sizes};

/// Most pixels of a plane that one block normalises.
#[cfg(feature = "cuda")]
const SMALL: usize = 1 << 16;

/// Planes that are normalised: what the kernels get by value. Twin of `PlaneParams` in `kernels/ops.cuh`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PlaneParams {
    pub(crate) area: u64,
    pub(crate) chunk: u64,
    pub(crate) batch: u32,
    pub(crate) channels: u32,
    pub(crate) chunks: u32,
    pub(crate) nhwc: u32,
    pub(crate) relu: u32,
    pub(crate) add: u32,
    pub(crate) eps: f32,
    pub(crate) pad: u32,
}

impl PlaneParams {
    pub(crate) fn new(layout: Layout, s: Sizes, eps: f32, relu: bool, add: bool) -> Self {
        let chunk = chunk(layout, s);
        Self {
            area: s.area() as u64,
            chunk: chunk as u64,
            batch: s.batch as u32,
            channels: s.channels as u32,
            chunks: s.area().div_ceil(chunk) as u32,
            nhwc: (layout == Layout::Nhwc).into(),
            relu: relu.into(),
            add: add.into(),
            eps,
            pad: 0,
        }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        // Only the product of the sides matters to a norm.
        let (batch, channels) = (self.batch as usize, self.channels as usize);
        Sizes { batch, channels, height: 1, width: self.area as usize }
    }

    pub(crate) fn layout(&self) -> Layout {
        if self.nhwc == 1 { Layout::Nhwc } else { Layout::Nchw }
    }
}

/// Pixels of a part of the statistics: a matter of the shape of one image alone, so that batches change no bit.
fn chunk(layout: Layout, s: Sizes) -> usize {
    let pixels = match layout {
        Layout::Nchw => 1 << 14,
        Layout::Nhwc => ((1 << 16) / s.channels.max(1)).clamp(64, 1 << 14),
    };
    // No more parts than a grid of all planes has blocks.
    let most = (i32::MAX as usize / s.planes().max(1)).max(1);
    pixels.max(s.area().div_ceil(most))
}

/// The operation on one backend.
pub trait InstanceNorm<T: Sample>: Backend {
    #[doc(hidden)]
    fn instance_norm_unchecked(
        &self,
        p: PlaneParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, Part>,
    ) -> Result<()>;
}

/// Elements of working memory that [`instance_norm_into`] needs.
pub fn instance_norm_work(layout: Layout, shape: [usize; 4]) -> usize {
    let s = layout.sizes(shape);
    s.planes().saturating_mul(s.area().div_ceil(chunk(layout, s)).saturating_add(1))
}

/// Instance norm of `x`, then ReLU if `relu`, then the sum with `residual` (same shape as `x`), into `y`. What `work`
/// holds before and after has no meaning.
///
/// # Errors
/// When shapes differ, there are no channels or pixels, `eps` is not positive, or `work` is too short.
pub fn instance_norm_into<B: InstanceNorm<T>, T: Sample>(
    b: &B,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    norm: Norm<'_, B>,
    relu: bool,
    residual: Option<TensorView<'_, B, T, 4>>,
    y: TensorViewMut<'_, B, T, 4>,
    work: ViewMut<'_, B, Part>,
) -> Result<()> {
    let s = layout.sizes(x.shape());
    s.check("x")?;
    norm.check(s.channels)?;
    for (what, shape) in [("residual", residual.map_or(x.shape(), |r| r.shape())), ("y", y.shape())] {
        if shape != x.shape() {
            return Err(Error::shape(what, &x.shape(), &shape));
        }
    }
    let need = instance_norm_work(layout, x.shape());
    if work.len() < need {
        return Err(Error::shape("work", &[need], &[work.len()]));
    }
    let p = PlaneParams::new(layout, s, norm.eps, relu, residual.is_some());
    b.instance_norm_unchecked(p, norm, x.flat(), residual.map(TensorView::flat), y.flat(), work)
}

/// [`instance_norm_into`] a new tensor.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use style::ops::{Layout, Norm, instance_norm};
///
/// let cpu = Cpu::new();
/// let x = Tensor::from_slice(&cpu, [1, 1, 2, 2], &[1.0f32, 3.0, 3.0, 1.0])?;
/// let (gamma, beta) = (Tensor::from_slice(&cpu, [1], &[2.0])?, Tensor::from_slice(&cpu, [1], &[10.0])?);
/// let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: 1e-5 };
/// let y = instance_norm(&cpu, Layout::Nchw, x.view(), norm, false, None)?;
/// assert!((y.to_vec(&cpu)?[1] - 12.0).abs() < 1e-4);
/// # Ok::<(), gpu_core::Error>(())
/// ```
///
/// # Errors
/// As [`instance_norm_into`], and when there is no memory.
pub fn instance_norm<B: InstanceNorm<T>, T: Sample>(
    b: &B,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    norm: Norm<'_, B>,
    relu: bool,
    residual: Option<TensorView<'_, B, T, 4>>,
) -> Result<Tensor<B, T, 4>> {
    layout.sizes(x.shape()).check("x")?;
    let mut y = Tensor::scratch(b, x.shape())?;
    let mut work = Tensor::<B, Part, 1>::scratch(b, [instance_norm_work(layout, x.shape())])?;
    instance_norm_into(b, layout, x, norm, relu, residual, y.view_mut(), work.flat_mut())?;
    Ok(y)
}

/// Normalises planes in `f32`; values that are stored as `T` in between (`rounded`) are rounded after the statistics.
pub(crate) fn normalise_planes<T: Sample>(
    planes: &mut [f32],
    s: Sizes,
    (gamma, beta, eps): (&[f32], &[f32], f32),
    relu: bool,
    rounded: bool,
) {
    planes.par_chunks_exact_mut(s.area()).enumerate().for_each(|(i, plane)| {
        let c = i % s.channels;
        let norm = Coefficients::of(plane, gamma[c], beta[c], eps, rounded && T::ROUNDS);
        for x in plane {
            let value = if rounded { T::nearest(*x).widened() } else { *x };
            *x = norm.apply(value, relu);
        }
    });
}

impl<T: Sample> InstanceNorm<T> for Cpu {
    fn instance_norm_unchecked(
        &self,
        p: PlaneParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
        _work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        let (s, layout) = (p.sizes(), p.layout());
        let mut planes = s.planes_of(layout, self.read(x)?);
        let parameters = (self.read(norm.gamma)?, self.read(norm.beta)?, norm.eps);
        normalise_planes::<T>(&mut planes, s, parameters, p.relu == 1, false);
        if let Some(residual) = residual {
            let residual = s.planes_of(layout, self.read(residual)?);
            planes.iter_mut().zip(&residual).for_each(|(y, x)| *y += x);
        }
        s.write_planes(layout, &planes, self.write(y)?);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> InstanceNorm<T> for gpu_core::Cuda {
    fn instance_norm_unchecked(
        &self,
        p: PlaneParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
        mut work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        use super::cuda::OPS;
        use gpu_core::cuda::Grid;

        let planes = p.batch * p.channels;
        let more = residual.unwrap_or(x);
        if p.nhwc == 0 && p.area as usize <= SMALL {
            let threads = if p.area <= 1 << 11 { 128 } else { 1024 };
            let launch = self
                .kernel(&OPS, &format!("instance_norm_plane_{}", T::NAME))?
                .read(x)?
                .read(norm.gamma)?
                .read(norm.beta)?
                .read(more)?
                .write(y)?
                .arg(p)
                .grid((planes, 1, 1))
                .block((threads, 1, 1));
            // SAFETY: void instance_norm_plane_T(const T* x, const float* gamma, const float* beta, const T* residual,
            // T* y, PlaneParams p); a block a plane, and `instance_norm_into` has checked all lengths.
            return unsafe { launch.launch() };
        }
        let lanes = if p.channels.is_multiple_of(4) { 4 } else { 1 };
        let slots = if p.nhwc == 0 { 1 } else { p.channels / lanes };
        let rows = if p.nhwc == 0 { planes } else { p.batch };
        let blocks = rows as usize * p.chunks as usize * slots.div_ceil(256) as usize;
        let launch = self
            .kernel(&OPS, &format!("instance_norm_moments_{}", T::NAME))?
            .read(x)?
            .write(work.reborrow())?
            .arg(p)
            .grid((Grid::cover(blocks, 1)?, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void instance_norm_moments_T(const T* x, double2* work, PlaneParams p); a block a part, and `work` has
        // room for each part.
        unsafe { launch.launch()? };
        let launch = self
            .kernel(&OPS, "instance_norm_merge")?
            .read(norm.gamma)?
            .read(norm.beta)?
            .write(work.reborrow())?
            .arg(p)
            .grid((Grid::cover(planes as usize, 8)?, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void instance_norm_merge(const float* gamma, const float* beta, double2* work, PlaneParams p); `work` has
        // room for the coefficients of all planes behind the parts.
        unsafe { launch.launch()? };
        let launch = self
            .kernel(&OPS, &format!("instance_norm_apply_{}", T::NAME))?
            .read(x)?
            .write(work)?
            .read(more)?
            .write(y)?
            .arg(p)
            .grid((apply_blocks(&p), 1, 1))
            .block((256, 1, 1));
        // SAFETY: void instance_norm_apply_T(const T* x, double2* work, const T* residual, T* y, PlaneParams p); loops over
        // pieces of planes whose lengths `instance_norm_into` has checked.
        unsafe { launch.launch() }
    }
}

/// Blocks that normalise: they loop over pieces of 8192 elements.
#[cfg(feature = "cuda")]
pub(crate) fn apply_blocks(p: &PlaneParams) -> u32 {
    let elements = p.area.saturating_mul(u64::from(p.batch) * u64::from(p.channels));
    let planes = if p.nhwc == 0 { u64::from(p.batch) * u64::from(p.channels) } else { 0 };
    (elements / 8192 + planes + u64::from(p.batch)).clamp(1, 1 << 16) as u32
}
