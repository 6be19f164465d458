//! Kernel K3: a residual block.
//!
//! `y = norm₂(conv₂(ReLU(norm₁(conv₁(x))))) + x`, no ReLU after the sum. The second convolution normalises the raw values
//! of the first while it loads them, so no normalised tensor stands between the two. With [`Plan::OneLaunch`] all of it
//! is one cooperative launch with barriers of the whole grid behind each convolution and each merge of statistics, of as
//! many blocks as are resident, which loop over tiles; else five launches, two of which merge statistics alone. Both give
//! the same bits. In `f16` raw values, and what the second convolution multiplies, are rounded.
//!
//! Floor: `4 · C · kh · kw` flop a value, and the bytes of `x` and `y` once each; raw values between the steps pass
//! through memory, or the L2 cache that holds them, twice.

use gpu_core::{Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};

use super::conv::ConvParams;
use super::fused_conv_reflection_pad::convolve_planes;
use super::instance_norm::normalise_planes;
use super::{Conv, FusedConvInstancenorm, FusedConvReflectionPad, Layout, Norm, Part, Plan, Sample, Sizes};

/// The parameters of a residual block. Both convolutions keep the shape of what they read.
#[derive(Debug)]
pub struct ResidualBlock<'a, B: FusedConvReflectionPad<T>, T: Sample> {
    /// The first convolution; its bias cancels.
    pub conv1: &'a Conv<B, T>,
    /// Its norm, which ReLU follows.
    pub norm1: Norm<'a, B>,
    /// The second convolution; its bias cancels.
    pub conv2: &'a Conv<B, T>,
    /// Its norm, which the sum with the input follows.
    pub norm2: Norm<'a, B>,
}

#[allow(clippy::expl_impl_clone_on_copy)]
impl<B: FusedConvReflectionPad<T>, T: Sample> Clone for ResidualBlock<'_, B, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: FusedConvReflectionPad<T>, T: Sample> Copy for ResidualBlock<'_, B, T> {}

/// What the kernels of both convolutions get.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct BlockParams {
    first: ConvParams,
    second: ConvParams,
    layout: Layout,
}

/// The operation on one backend.
pub trait FusedResidualBlock<T: Sample>: FusedConvInstancenorm<T> {
    #[doc(hidden)]
    fn fused_residual_block_unchecked(
        &self,
        p: BlockParams,
        plan: Plan,
        block: ResidualBlock<'_, Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        middle: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, Part>,
    ) -> Result<()>;
}

impl<B: FusedConvReflectionPad<T>, T: Sample> ResidualBlock<'_, B, T> {
    fn params(&self, layout: Layout, shape: [usize; 4]) -> Result<BlockParams> {
        let x = layout.sizes(shape);
        let side = |conv: &Conv<B, T>, norm: &Norm<'_, B>| -> Result<ConvParams> {
            let (p, y) = ConvParams::new::<T>(conv.shape(), layout, x)?;
            if y != x {
                let Sizes { channels, height, width, .. } = y;
                let why = format!("it makes {channels} x {height} x {width} of x; a residual block keeps the shape");
                return Err(Error::value("conv", why));
            }
            norm.check(x.channels)?;
            Ok(ConvParams { eps: norm.eps, ..p })
        };
        let (first, second) = (side(self.conv1, &self.norm1)?, side(self.conv2, &self.norm2)?);
        // Channels last in between, where sixteen bytes are eight channels of one pixel.
        let (first, second) = (ConvParams { nhwc_y: 1, ..first }, ConvParams { nhwc_x: 1, ..second });
        Ok(BlockParams { first, second, layout })
    }
}

/// Elements of working memory that [`fused_residual_block_into`] needs.
///
/// # Errors
/// When the input does not fit the block.
pub fn fused_residual_block_work<B: FusedConvReflectionPad<T>, T: Sample>(
    layout: Layout,
    shape: [usize; 4],
    block: ResidualBlock<'_, B, T>,
) -> Result<usize> {
    let p = block.params(layout, shape)?;
    Ok(p.first.parts() + p.second.parts())
}

/// The residual block on `x`, into `y` of the same shape. `middle` is memory for as many elements as `x` has; what it and
/// `work` hold before and after has no meaning.
///
/// # Errors
/// When a convolution does not fit `x` or changes its shape, a norm has another number of channels, a view is too short;
/// with [`Plan::OneLaunch`] when the device has no cooperative launches.
pub fn fused_residual_block_into<B: FusedResidualBlock<T>, T: Sample>(
    b: &B,
    plan: Plan,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    block: ResidualBlock<'_, B, T>,
    y: TensorViewMut<'_, B, T, 4>,
    middle: ViewMut<'_, B, T>,
    work: ViewMut<'_, B, Part>,
) -> Result<()> {
    let p = block.params(layout, x.shape())?;
    if y.shape() != x.shape() {
        return Err(Error::shape("y", &x.shape(), &y.shape()));
    }
    let (elements, parts) = (x.flat().len(), p.first.parts() + p.second.parts());
    for (what, need, len) in [("middle", elements, middle.len()), ("work", parts, work.len())] {
        if len < need {
            return Err(Error::shape(what, &[need], &[len]));
        }
    }
    b.fused_residual_block_unchecked(p, plan, block, x.flat(), y.flat(), middle, work)
}

/// [`fused_residual_block_into`] a new tensor.
///
/// # Errors
/// As [`fused_residual_block_into`], and when there is no memory.
pub fn fused_residual_block<B: FusedResidualBlock<T>, T: Sample>(
    b: &B,
    plan: Plan,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    block: ResidualBlock<'_, B, T>,
) -> Result<Tensor<B, T, 4>> {
    let mut work = Tensor::<B, Part, 1>::scratch(b, [fused_residual_block_work(layout, x.shape(), block)?])?;
    let mut y = Tensor::scratch(b, x.shape())?;
    let mut middle = Tensor::<B, T, 1>::scratch(b, [x.flat().len()])?;
    let (to, between) = (y.view_mut(), middle.flat_mut());
    fused_residual_block_into(b, plan, layout, x, block, to, between, work.flat_mut())?;
    Ok(y)
}

impl<T: Sample> FusedResidualBlock<T> for Cpu {
    fn fused_residual_block_unchecked(
        &self,
        p: BlockParams,
        _plan: Plan,
        block: ResidualBlock<'_, Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        _middle: ViewMut<'_, Self, T>,
        _work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        let s = p.first.input();
        let x = s.planes_of(p.layout, self.read(x)?);
        let none = vec![0.0; s.channels];
        let side = |x: &[f32], p: &ConvParams, conv: &Conv<Self, T>, norm: &Norm<'_, Self>, relu: bool| {
            let mut planes = convolve_planes(x, p.input(), conv, &none)?;
            let parameters = (self.read(norm.gamma)?, self.read(norm.beta)?, norm.eps);
            normalise_planes::<T>(&mut planes, s, parameters, relu, true);
            Result::Ok(planes)
        };
        let mut middle = side(&x, &p.first, block.conv1, &block.norm1, true)?;
        for v in &mut middle {
            *v = T::nearest(*v).widened();
        }
        let mut out = side(&middle, &p.second, block.conv2, &block.norm2, false)?;
        out.iter_mut().zip(&x).for_each(|(y, x)| *y += x);
        s.write_planes(p.layout, &out, self.write(y)?);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> FusedResidualBlock<T> for gpu_core::Cuda {
    fn fused_residual_block_unchecked(
        &self,
        p: BlockParams,
        plan: Plan,
        block: ResidualBlock<'_, Self, T>,
        x: View<'_, Self, T>,
        mut y: ViewMut<'_, Self, T>,
        mut middle: ViewMut<'_, Self, T>,
        mut work: ViewMut<'_, Self, Part>,
    ) -> Result<()> {
        use super::conv::THREADS;
        use super::cuda::OPS;
        use super::fused_conv_instancenorm::{merge, raw};
        use super::instance_norm::{PlaneParams, apply_blocks};
        use gpu_core::Backend;
        use gpu_core::cuda::Grid;

        let ResidualBlock { conv1, norm1, conv2, norm2 } = block;
        let BlockParams { first, second, layout } = p;
        let planes = PlaneParams::new(layout, second.output(), second.eps, false, true);
        let whole = format!("fused_residual_block_whole_{}", T::NAME);
        let shared = first.shared::<T>(0).max(second.shared::<T>(0));
        let resident = match plan {
            Plan::Launches => 0,
            Plan::Auto | Plan::OneLaunch => self.kernel(&OPS, &whole)?.block(THREADS).shared(shared).resident()?,
        };
        if resident > 0 {
            let launch = self
                .kernel(&OPS, &whole)?
                .read(x)?
                .read(conv1.weights().flat())?
                .read(conv2.weights().flat())?
                .read(norm1.gamma)?
                .read(norm1.beta)?
                .read(norm2.gamma)?
                .read(norm2.beta)?
                .write(middle)?
                .write(y)?
                .write(work)?
                .arg(first)
                .arg(second)
                .arg(planes)
                .grid((first.blocks().min(resident), 1, 1))
                .block(THREADS)
                .shared(shared)
                .cooperative();
            // SAFETY: void fused_residual_block_whole_T(const T* x, const T* weights1, const T* weights2, const float*
            // gamma1, const float* beta1, const float* gamma2, const float* beta2, T* middle, T* y, double2* work,
            // ConvParams first, ConvParams second, PlaneParams planes); all blocks are resident and loop over tiles, and
            // the checked entry has compared all lengths.
            return unsafe { launch.launch() };
        }
        if plan == Plan::OneLaunch {
            return Err(Error::Unsupported {
                what: "a residual block in one cooperative launch".to_owned(),
                device: self.device().name.clone(),
            });
        }
        raw(self, first, conv1, x, middle.reborrow(), work.reborrow())?;
        merge::<T>(self, first, norm1, work.reborrow())?;
        let launch = self
            .kernel(&OPS, &format!("fused_residual_block_second_{}", T::NAME))?
            .write(middle)?
            .read(conv2.weights().flat())?
            .write(y.reborrow())?
            .write(work.reborrow())?
            .arg(first)
            .arg(second)
            .grid((second.blocks(), 1, 1))
            .block(THREADS)
            .shared(second.shared::<T>(0));
        // SAFETY: void fused_residual_block_second_T(const T* middle, const T* weights, T* y, double2* work, ConvParams
        // first, ConvParams second); `work` has the first convolution's coefficients and room for the second's tiles.
        unsafe { launch.launch()? };
        let launch = self
            .kernel(&OPS, &format!("fused_residual_block_merge_{}", T::NAME))?
            .read(norm2.gamma)?
            .read(norm2.beta)?
            .write(work.reborrow())?
            .arg(first)
            .arg(second)
            .grid((Grid::cover(second.output().planes(), 8)?, 1, 1))
            .block(THREADS);
        // SAFETY: void fused_residual_block_merge_T(const float* gamma, const float* beta, double2* work, ConvParams first,
        // ConvParams second); a warp a plane.
        unsafe { launch.launch()? };
        let launch = self
            .kernel(&OPS, &format!("fused_residual_block_apply_{}", T::NAME))?
            .read(x)?
            .write(y)?
            .write(work)?
            .arg(first)
            .arg(second)
            .arg(planes)
            .grid((apply_blocks(&planes), 1, 1))
            .block(THREADS);
        // SAFETY: void fused_residual_block_apply_T(const T* x, T* y, double2* work, ConvParams first, ConvParams second,
        // PlaneParams planes); loops over the pieces of `y`, which has the shape of `x`.
        unsafe { launch.launch() }
    }
}
