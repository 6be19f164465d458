//! Kernel K1: convolution with reflection padding and bias, and ReLU if the convolution has it.
//!
//! `y[o, i, j] = bias[o] + Σ_{c,u,v} w[o, c, u, v] · x[c, r(i·s₁ + u − p), r(j·s₂ + v − p)]`, where `r` mirrors an index at
//! both ends without repeating them. Padding is index arithmetic on the load: no padded copy exists, and tiles inside
//! the image skip it. With [`ConvShape::upsample`] the source is doubled first, as four 2 × 2 convolutions of summed
//! weights whose border is the edge itself.
//!
//! `f32` sums fused multiply-adds in `f32`; `f16` multiplies on tensor cores (`mma.sync.m16n8k16`) and sums in `f32`, and
//! rounds once when it stores (beyond ±65504: that). The orders of the sums differ between the twins.
//!
//! Floor: `2 · Cin · kh · kw` flop an output value (`8 · Cin` with upsampling), and the bytes of `x`, `y` and the weights
//! once each.

use std::fmt::Debug;

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;

use super::conv::ConvParams;
use super::{Conv, ConvShape, Layout, Sample, Sizes};
use crate::cpu;

/// The operation on one backend.
pub trait FusedConvReflectionPad<T: Sample>: Backend {
    /// Weights in the order of this backend's kernels.
    type Weights: Debug + Send + Sync;

    #[doc(hidden)]
    fn pack_weights(&self, shape: &ConvShape, weight: &[T]) -> Result<Self::Weights>;

    #[doc(hidden)]
    fn fused_conv_reflection_pad_unchecked(
        &self,
        p: ConvParams,
        conv: &Conv<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Convolution of `x` with reflection padding and bias, into `y` of
/// `(n + 2 · padding − kernel) / stride + 1` rows and columns, in the same layout.
///
/// # Errors
/// When channels or the shape of `y` do not fit the convolution, the padding is not smaller than the sides of the image,
/// or there are more tiles than a grid has blocks.
pub fn fused_conv_reflection_pad_into<B: FusedConvReflectionPad<T>, T: Sample>(
    b: &B,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    conv: &Conv<B, T>,
    y: TensorViewMut<'_, B, T, 4>,
) -> Result<()> {
    let (p, out) = ConvParams::new::<T>(conv.shape(), layout, layout.sizes(x.shape()))?;
    if y.shape() != layout.shape(out) {
        return Err(Error::shape("y", &layout.shape(out), &y.shape()));
    }
    b.fused_conv_reflection_pad_unchecked(
        ConvParams { bias: 1, relu: conv.relu().into(), ..p },
        conv,
        x.flat(),
        y.flat(),
    )
}

/// [`fused_conv_reflection_pad_into`] a new tensor.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use style::ops::{Conv, ConvShape, Layout, fused_conv_reflection_pad};
///
/// let cpu = Cpu::new();
/// let x = Tensor::from_slice(&cpu, [1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
/// let shape =
///     ConvShape { outputs: 1, inputs: 1, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
/// let conv = Conv::new(&cpu, shape, &[1.0; 9], &[0.5])?;
/// let y = fused_conv_reflection_pad(&cpu, Layout::Nchw, x.view(), &conv)?;
/// // Row -1 is row 1 and column -1 is column 1: the corner sees 4 four times, 3 and 2 twice each, and 1 once.
/// assert_eq!(y.to_vec(&cpu)?[0], 4.0 * 4.0 + 2.0 * 3.0 + 2.0 * 2.0 + 1.0 + 0.5);
/// # Ok::<(), gpu_core::Error>(())
/// ```
///
/// # Errors
/// As [`fused_conv_reflection_pad_into`], and when there is no memory.
pub fn fused_conv_reflection_pad<B: FusedConvReflectionPad<T>, T: Sample>(
    b: &B,
    layout: Layout,
    x: TensorView<'_, B, T, 4>,
    conv: &Conv<B, T>,
) -> Result<Tensor<B, T, 4>> {
    let out = conv.shape().output(layout.sizes(x.shape()))?;
    let mut y = Tensor::scratch(b, layout.shape(out))?;
    fused_conv_reflection_pad_into(b, layout, x, conv, y.view_mut())?;
    Ok(y)
}

/// Weights as the CPU's engine packs them at every call: `[outputs, inputs, kh, kw]` in `f32`.
#[doc(hidden)]
#[derive(Debug)]
pub struct CpuWeights(Vec<f32>);

/// The convolution of planes in `f32`, with bias or zeros instead.
pub(crate) fn convolve_planes<T: Sample>(
    planes: &[f32],
    x: Sizes,
    conv: &Conv<Cpu, T>,
    bias: &[f32],
) -> Result<Vec<f32>> {
    let shape = conv.shape();
    let params = cpu::ConvParams {
        weight: &conv.weights().0,
        weight_shape: [shape.outputs, shape.inputs, shape.kernel[0], shape.kernel[1]],
        bias,
        padding: shape.padding,
        stride: shape.stride,
        upsample: shape.upsample,
    };
    let done = cpu::fused_conv_reflection_pad(planes, [x.batch, x.channels, x.height, x.width], &params);
    done.map(|(y, _)| y).map_err(|e| Error::value("conv", e.to_string()))
}

/// Rows of an image with its channels last that the CPU makes at a time: planes of so many lie in memory, and not of all.
const ROWS: usize = 64;

/// The convolution in one layout, with bias and ReLU.
fn convolve<T: Sample>(
    p: &ConvParams,
    [from, to]: [Sizes; 2],
    conv: &Conv<Cpu, T>,
    bias: &[f32],
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let mut out = convolve_planes(&from.planes_of(p.layout(), x), from, conv, bias)?;
    if p.relu == 1 {
        out.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v = 0.0);
    }
    to.write_planes(p.layout(), &out, y);
    Ok(())
}

impl<T: Sample> FusedConvReflectionPad<T> for Cpu {
    type Weights = CpuWeights;

    fn pack_weights(&self, _shape: &ConvShape, weight: &[T]) -> Result<CpuWeights> {
        Ok(CpuWeights(weight.iter().map(|w| w.widened()).collect()))
    }

    fn fused_conv_reflection_pad_unchecked(
        &self,
        p: ConvParams,
        conv: &Conv<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (from, to, shape) = (p.input(), p.output(), conv.shape());
        let (x, bias, y) = (self.read(x)?, self.read(conv.bias().flat())?, self.write(y)?);
        if p.layout() == Layout::Nchw || shape.upsample || shape.stride != [1, 1] || to.height <= ROWS {
            return convolve(&p, [from, to], conv, bias, x, y);
        }
        // Rows beside those that are needed, so that none of them is mirrored where only the stretch ends; and at the image's
        // end all that its reflection shows.
        let beside = 2 * shape.padding + shape.kernel[0];
        let reflected = from.height.saturating_sub(1 + shape.padding);
        let (row, row_out) = (from.width * from.channels, to.width * to.channels);
        let images = x.chunks_exact(from.height * row).zip(y.chunks_exact_mut(to.height * row_out));
        for (x, y) in images {
            y.par_chunks_mut(ROWS * row_out).enumerate().try_for_each(|(i, y)| {
                let rows = i * ROWS..i * ROWS + y.len() / row_out;
                let read = rows.start.saturating_sub(beside).min(reflected)..(rows.end + beside).min(from.height);
                let some = Sizes { batch: 1, height: read.len(), ..from };
                let whole = shape.output(some)?;
                let mut made = vec![T::nearest(0.0); whole.height * row_out];
                convolve(&p, [some, whole], conv, bias, &x[read.start * row..read.end * row], &mut made)?;
                y.copy_from_slice(&made[(rows.start - read.start) * row_out..][..y.len()]);
                Ok::<_, Error>(())
            })?;
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> FusedConvReflectionPad<T> for gpu_core::Cuda {
    type Weights = Tensor<Self, T, 1>;

    fn pack_weights(&self, shape: &ConvShape, weight: &[T]) -> Result<Self::Weights> {
        super::conv::shared(self, &super::conv::pack(shape, weight))
    }

    fn fused_conv_reflection_pad_unchecked(
        &self,
        p: ConvParams,
        conv: &Conv<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let launch = self
            .kernel(&super::cuda::OPS, &format!("fused_conv_reflection_pad_{}", T::NAME))?
            .read(x)?
            .read(conv.weights().flat())?
            .read(conv.bias().flat())?
            .write(y)?
            .arg(p)
            .grid((p.blocks(), 1, 1))
            .block(super::conv::THREADS)
            .shared(p.shared::<T>(0));
        // SAFETY: void fused_conv_reflection_pad_T(const T* x, const T* weights, const float* bias, T* y, ConvParams p);
        // sizes come from the shapes of the views, and the weights were packed for this shape.
        unsafe { launch.launch() }
    }
}
