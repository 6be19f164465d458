//! Kernel K2: convolution with reflection padding, instance norm and ReLU in one call.
//!
//! `y = [ReLU](norm(conv(x)))`, the convolution as in [`fused_conv_reflection_pad`](super::fused_conv_reflection_pad) but
//! without its bias, which the norm removes. The statistics come out of the convolution: each tile's (count, mean, M2) of
//! the sums before they are rounded, merged by Chan's formula in a fixed tree in `f64`. Nothing can be normalised before
//! the last tile is done, so there are three ways, which give the same bits:
//!
//! * one launch ([`Plan::OneLaunch`]): blocks keep their tiles in shared memory across a barrier of the whole grid, and
//!   no raw value reaches memory. For outputs that fit on the chip: about a megapixel times sixteen channels in `f16`;
//! * launches ([`Plan::Launches`]): raw values to `y`, then the norm in place;
//! * deferred ([`fused_conv_instancenorm_deferred`]): raw values and coefficients, for a consumer that applies the norm
//!   while it loads.
//!
//! In `f16` raw values are rounded between convolution and norm in all three. Where `f16` cannot tell the values of a
//! plane apart, the norm is β.
//!
//! Floor: that of the convolution and 8 flop an output value; in launches, the bytes of `y` twice more.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};

use super::conv::ConvParams;
use super::fused_conv_reflection_pad::convolve_planes;
use super::instance_norm::normalise_planes;
use super::{Conv, FusedConvReflectionPad, Layout, Norm, Part, Sample};

/// How an operation with a norm in it runs on a GPU. The result is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// One launch where it fits, else launches.
    #[default]
    Auto,
    /// One cooperative launch; an error where it does not fit.
    OneLaunch,
    /// A launch a step.
    Launches,
}

/// The operation on one backend.
pub trait FusedConvInstancenorm<T: Sample>: FusedConvReflectionPad<T> {
    #[doc(hidden)]
    fn fused_conv_instancenorm_unchecked(
        &self,
        p: ConvParams,
        plan: Plan,
        conv: &Conv<Self, T>,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, Part>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn fused_conv_instancenorm_deferred_unchecked(
        &self,
        p: ConvParams,
        conv: &Conv<Self, T>,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        raw: ViewMut<'_, Self, T>,
        coefficients: ViewMut<'_, Self, [f32; 4]>,
        work: ViewMut<'_, Self, Part>,
    ) -> Result<()>;
}

/// The result of a convolution whose norm is left to the consumer.
#[derive(Debug)]
pub struct Deferred<B: Backend, T: Sample> {
    /// The convolution without bias.
    pub raw: Tensor<B, T, 4>,
    /// `[B, C]` of mean, scale, shift and variance: the norm is `(raw − mean) · scale + shift`.
    pub coefficients: Tensor<B, [f32; 4], 2>,
}

/// Elements of working memory that [`fused_conv_instancenorm_into`] needs.
///
/// # Errors
/// When the input does not fit the convolution.
pub fn fused_conv_instancenorm_work<B: FusedConvReflectionPad<T>, T: Sample>(
    layout: Layout,
    shape: [usize; 4],
    conv: &Conv<B, T>,
) -> Result<usize> {
    Ok(ConvParams::new::<T>(conv.shape(), layout, layout.sizes(shape))?.0.parts())
}

/// Checks everything; the kernels' parameters.
fn checked<B: FusedConvReflectionPad<T>, T: Sample>(
    layout: Layout,
    x: [usize; 4],
    conv: &Conv<B, T>,
    norm: Norm<'_, B>,
    y: [usize; 4],
    work: usize,
) -> Result<ConvParams> {
    let (p, out) = ConvParams::new::<T>(conv.shape(), layout, layout.sizes(x))?;
    norm.check(out.channels)?;
    if y != layout.shape(out) {
        return Err(Error::shape("y", &layout.shape(out), &y));
    }
    if work < p.parts() {
        return Err(Error::shape("work", &[p.parts()], &[work]));
    }
    Ok(ConvParams { eps: norm.eps, ..p })
}

/// Convolution of `x`, instance norm, and ReLU if `relu`, into `y`. What `work` holds before and after has no meaning.
///
/// # Errors
/// As for the convolution alone; when the norm has another number of channels or `work` is too short; with
/// [`Plan::OneLaunch`] when the output does not fit on the chip.
pub fn fused_conv_instancenorm_into<B: FusedConvInstancenorm<T>, T: Sample>(
    b: &B,
    plan: Plan,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    conv: &Conv<B, T>,
    norm: Norm<'_, B>,
    relu: bool,
    y: TensorViewMut<'_, B, T, 4>,
    work: ViewMut<'_, B, Part>,
) -> Result<()> {
    let p = checked(layout, x.shape(), conv, norm, y.shape(), work.len())?;
    let p = ConvParams { relu: relu.into(), ..p };
    b.fused_conv_instancenorm_unchecked(p, plan, conv, norm, x.flat(), y.flat(), work)
}

/// [`fused_conv_instancenorm_into`] a new tensor.
///
/// # Errors
/// As [`fused_conv_instancenorm_into`], and when there is no memory.
pub fn fused_conv_instancenorm<B: FusedConvInstancenorm<T>, T: Sample>(
    b: &B,
    plan: Plan,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    conv: &Conv<B, T>,
    norm: Norm<'_, B>,
    relu: bool,
) -> Result<Tensor<B, T, 4>> {
    let (p, out) = ConvParams::new::<T>(conv.shape(), layout, layout.sizes(x.shape()))?;
    let mut y = Tensor::scratch(b, layout.shape(out))?;
    let mut work = Tensor::<B, Part, 1>::scratch(b, [p.parts()])?;
    fused_conv_instancenorm_into(b, plan, layout, x, conv, norm, relu, y.view_mut(), work.flat_mut())?;
    Ok(y)
}

/// Convolution of `x` whose norm is left to the consumer: no normalised tensor is written.
///
/// # Errors
/// As [`fused_conv_instancenorm_into`], and when there is no memory.
pub fn fused_conv_instancenorm_deferred<B: FusedConvInstancenorm<T>, T: Sample>(
    b: &B,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    conv: &Conv<B, T>,
    norm: Norm<'_, B>,
) -> Result<Deferred<B, T>> {
    let (p, out) = ConvParams::new::<T>(conv.shape(), layout, layout.sizes(x.shape()))?;
    let mut raw = Tensor::<B, T, 4>::scratch(b, layout.shape(out))?;
    let mut coefficients = Tensor::scratch(b, [out.batch, out.channels])?;
    let mut work = Tensor::<B, Part, 1>::scratch(b, [p.parts()])?;
    let p = checked(layout, x.shape(), conv, norm, raw.shape(), work.len())?;
    let (to, with) = (raw.flat_mut(), coefficients.flat_mut());
    b.fused_conv_instancenorm_deferred_unchecked(p, conv, norm, x.flat(), to, with, work.flat_mut())?;
    Ok(Deferred { raw, coefficients })
}

/// Sums without bias, in `f32`.
fn raw_planes<T: Sample>(b: &Cpu, p: &ConvParams, conv: &Conv<Cpu, T>, x: View<'_, Cpu, T>) -> Result<Vec<f32>> {
    let planes = p.input().planes_of(p.layout(), b.read(x)?);
    convolve_planes(&planes, p.input(), conv, &vec![0.0; conv.shape().outputs])
}

impl<T: Sample> FusedConvInstancenorm<T> for Cpu {
    fn fused_conv_instancenorm_unchecked(
        &self,
        p: ConvParams,
        _plan: Plan,
        conv: &Conv<Self, T>,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        _work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        let mut planes = raw_planes(self, &p, conv, x)?;
        let parameters = (self.read(norm.gamma)?, self.read(norm.beta)?, norm.eps);
        normalise_planes::<T>(&mut planes, p.output(), parameters, p.relu == 1, true);
        p.output().write_planes(p.layout(), &planes, self.write(y)?);
        Ok(())
    }

    fn fused_conv_instancenorm_deferred_unchecked(
        &self,
        p: ConvParams,
        conv: &Conv<Self, T>,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        raw: ViewMut<'_, Self, T>,
        coefficients: ViewMut<'_, Self, [f32; 4]>,
        _work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        let planes = raw_planes(self, &p, conv, x)?;
        let (gamma, beta, out) = (self.read(norm.gamma)?, self.read(norm.beta)?, p.output());
        let each = planes.chunks_exact(out.area()).zip(self.write(coefficients)?);
        for (i, (plane, to)) in each.enumerate() {
            let c = i % out.channels;
            let of = super::Coefficients::of(plane, gamma[c], beta[c], norm.eps, T::ROUNDS);
            *to = [of.mean, of.scale, of.shift, of.variance];
        }
        out.write_planes(p.layout(), &planes, self.write(raw)?);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use gpu_core::Cuda;
    use gpu_core::cuda::Grid;

    use super::*;
    use crate::ops::conv::THREADS;
    use crate::ops::cuda::OPS;
    use crate::ops::instance_norm::{PlaneParams, apply_blocks};

    /// Raw values to `y` and the moments of its tiles to `work`; a launch.
    pub(in crate::ops) fn raw<T: Sample>(
        b: &Cuda,
        p: ConvParams,
        conv: &Conv<Cuda, T>,
        x: View<'_, Cuda, T>,
        y: ViewMut<'_, Cuda, T>,
        work: ViewMut<'_, Cuda, Part>,
    ) -> Result<()> {
        let launch = b
            .kernel(&OPS, &format!("fused_conv_instancenorm_raw_{}", T::NAME))?
            .read(x)?
            .read(conv.weights().flat())?
            .write(y)?
            .write(work)?
            .arg(p)
            .grid((p.blocks(), 1, 1))
            .block(THREADS)
            .shared(p.shared::<T>(0));
        // SAFETY: void fused_conv_instancenorm_raw_T(const T* x, const T* weights, T* y, double2* work, ConvParams p);
        // the checked entries compare all sizes, and `work` has room for every tile.
        unsafe { launch.launch() }
    }

    /// The coefficients of all planes behind the tiles' moments; a launch.
    pub(in crate::ops) fn merge<T: Sample>(
        b: &Cuda,
        p: ConvParams,
        norm: Norm<'_, Cuda>,
        work: ViewMut<'_, Cuda, Part>,
    ) -> Result<()> {
        let launch = b
            .kernel(&OPS, &format!("fused_conv_instancenorm_merge_{}", T::NAME))?
            .read(norm.gamma)?
            .read(norm.beta)?
            .write(work)?
            .arg(p)
            .grid((Grid::cover(p.output().planes(), 8)?, 1, 1))
            .block(THREADS);
        // SAFETY: void fused_conv_instancenorm_merge_T(const float* gamma, const float* beta, double2* work, ConvParams p);
        // a warp a plane, for which `work` has room behind the tiles.
        unsafe { launch.launch() }
    }

    /// How many tiles a block has to keep for all to run at once, and how many blocks that takes.
    fn kept<T: Sample>(b: &Cuda, p: &ConvParams, kernel: &str) -> Result<Option<(u32, u32)>> {
        let blocks = p.blocks();
        let mut kept = 1;
        while p.shared::<T>(kept) as usize <= b.device().shared_per_block {
            let resident = b.kernel(&OPS, kernel)?.block(THREADS).shared(p.shared::<T>(kept)).resident()?;
            if blocks.div_ceil(kept) <= resident {
                return Ok(Some((kept, blocks.div_ceil(kept))));
            }
            kept += 1;
        }
        Ok(None)
    }

    impl<T: Sample> FusedConvInstancenorm<T> for Cuda {
        fn fused_conv_instancenorm_unchecked(
            &self,
            p: ConvParams,
            plan: Plan,
            conv: &Conv<Self, T>,
            norm: Norm<'_, Self>,
            x: View<'_, Self, T>,
            mut y: ViewMut<'_, Self, T>,
            mut work: ViewMut<'_, Self, Part>,
        ) -> Result<()> {
            let name = format!("fused_conv_instancenorm_whole_{}", T::NAME);
            let fitting = if plan == Plan::Launches { None } else { kept::<T>(self, &p, &name)? };
            if let Some((kept, blocks)) = fitting {
                let launch = self
                    .kernel(&OPS, &name)?
                    .read(x)?
                    .read(conv.weights().flat())?
                    .read(norm.gamma)?
                    .read(norm.beta)?
                    .write(y)?
                    .write(work)?
                    .arg(ConvParams { kept: kept as i32, ..p })
                    .grid((blocks, 1, 1))
                    .block(THREADS)
                    .shared(p.shared::<T>(kept))
                    .cooperative();
                // SAFETY: void fused_conv_instancenorm_whole_T(const T* x, const T* weights, const float* gamma, const
                // float* beta, T* y, double2* work, ConvParams p); all blocks are resident, and keep their tiles in the
                // shared memory asked for.
                return unsafe { launch.launch() };
            }
            if plan == Plan::OneLaunch {
                let [_, c, h, w] = [p.batch, p.cout, p.ho, p.wo];
                let why = format!("{} x {c} planes of {h} x {w} do not stay on the chip; use Plan::Auto", p.batch);
                return Err(Error::value("plan", why));
            }
            raw(self, p, conv, x, y.reborrow(), work.reborrow())?;
            merge::<T>(self, p, norm, work.reborrow())?;
            let planes = PlaneParams::new(p.layout(), p.output(), p.eps, p.relu == 1, false);
            let launch = self
                .kernel(&OPS, &format!("fused_conv_instancenorm_apply_{}", T::NAME))?
                .write(y)?
                .write(work)?
                .arg(p)
                .arg(planes)
                .grid((apply_blocks(&planes), 1, 1))
                .block(THREADS);
            // SAFETY: void fused_conv_instancenorm_apply_T(T* y, double2* work, ConvParams p, PlaneParams planes); loops
            // over the pieces of `y`, whose shape is the convolution's.
            unsafe { launch.launch() }
        }

        fn fused_conv_instancenorm_deferred_unchecked(
            &self,
            p: ConvParams,
            conv: &Conv<Self, T>,
            norm: Norm<'_, Self>,
            x: View<'_, Self, T>,
            to: ViewMut<'_, Self, T>,
            coefficients: ViewMut<'_, Self, [f32; 4]>,
            mut work: ViewMut<'_, Self, Part>,
        ) -> Result<()> {
            raw(self, p, conv, x, to, work.reborrow())?;
            merge::<T>(self, p, norm, work.reborrow())?;
            let launch = self
                .kernel(&OPS, "fused_conv_instancenorm_coefficients")?
                .write(work)?
                .write(coefficients)?
                .arg(p)
                .grid((Grid::cover(p.output().planes(), 256)?, 1, 1))
                .block(THREADS);
            // SAFETY: void fused_conv_instancenorm_coefficients(double2* work, Affine* to, ConvParams p); one element a
            // plane.
            unsafe { launch.launch() }
        }
    }
}
#[cfg(feature = "cuda")]
pub(super) use cuda::{merge, raw};
