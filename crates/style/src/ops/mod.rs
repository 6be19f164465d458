//! The operations that the networks are made of, as public operations on tensors, one page each: checked entry, CPU twin,
//! CUDA twin.
//!
//! Tensors have rank 4 and are `[B, C, H, W]` or `[B, H, W, C]`, as a [`Layout`] says. Elements are `f32` or
//! [`half::f16`]; sums are `f32`, statistics `f64`, parameters of norms and biases `f32`. Every operation has a form that
//! makes its result, and one (`…_into`) that takes the result's memory and working memory, for captured graphs.

mod coefficients;
mod conv;
mod fused_attention;
mod fused_conv_instancenorm;
mod fused_conv_reflection_pad;
mod fused_ffn;
mod fused_residual_block;
mod instance_norm;
mod layer_norm;
mod linear;
mod math;
mod pixels;
mod sample;

use gpu_core::{Backend, Error, Result};

pub(crate) use coefficients::Coefficients;
pub use coefficients::Norm;
pub use conv::{Conv, ConvShape, MAX_KERNEL_SIDE, MAX_STRIDE};
pub use fused_attention::{Attention, AttentionWork, MAX_HEAD, WindowAttention, fused_attention, fused_attention_into};
pub use fused_conv_instancenorm::{
    Deferred, FusedConvInstancenorm, Plan, fused_conv_instancenorm, fused_conv_instancenorm_deferred,
    fused_conv_instancenorm_into, fused_conv_instancenorm_work,
};
pub use fused_conv_reflection_pad::{
    FusedConvReflectionPad, fused_conv_reflection_pad, fused_conv_reflection_pad_into,
};
pub use fused_ffn::{fused_ffn, fused_ffn_into};
pub use fused_residual_block::{
    FusedResidualBlock, ResidualBlock, fused_residual_block, fused_residual_block_into, fused_residual_block_work,
};
pub use instance_norm::{InstanceNorm, instance_norm, instance_norm_into, instance_norm_work};
pub use layer_norm::{LayerNorm, TOKEN_PART, layer_norm, layer_norm_into, token_mean, token_mean_into};
pub use linear::{Activation, LINEAR_UNIT, Linear, MAX_LINEAR, Product, linear, linear_into};
pub use pixels::{FEATURES, Frame, Pixels, decoded, patches, repaint};
pub use sample::Sample;

/// The four operations on one backend: the only bound of what is built on them.
pub trait StyleOps<T: Sample>:
    Backend + InstanceNorm<T> + FusedConvReflectionPad<T> + FusedConvInstancenorm<T> + FusedResidualBlock<T>
{
}
impl<T: Sample, B> StyleOps<T> for B where
    B: Backend + InstanceNorm<T> + FusedConvReflectionPad<T> + FusedConvInstancenorm<T> + FusedResidualBlock<T>
{
}

/// The operations of a transformer on pictures, on one backend.
pub trait VitOps<T: Sample>:
    Product<T> + LayerNorm<T> + WindowAttention<T> + FusedConvReflectionPad<T> + Pixels<f32, T> + Pixels<u8, T>
{
}
impl<T: Sample, B> VitOps<T> for B where
    B: Product<T> + LayerNorm<T> + WindowAttention<T> + FusedConvReflectionPad<T> + Pixels<f32, T> + Pixels<u8, T>
{
}

/// An element of working memory: mean and sum of squared deviations of a part of a plane, or a plane's coefficients.
pub type Part = [f64; 2];

/// The order of a tensor's axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[B, C, H, W]`: planes.
    #[default]
    Nchw,
    /// `[B, H, W, C]`: channels last.
    Nhwc,
}

/// The sizes of a tensor, whatever its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Layout {
    pub(crate) fn sizes(self, shape: [usize; 4]) -> Sizes {
        let [batch, a, b, c] = shape;
        match self {
            Self::Nchw => Sizes { batch, channels: a, height: b, width: c },
            Self::Nhwc => Sizes { batch, channels: c, height: a, width: b },
        }
    }

    pub(crate) fn shape(self, Sizes { batch, channels, height, width }: Sizes) -> [usize; 4] {
        match self {
            Self::Nchw => [batch, channels, height, width],
            Self::Nhwc => [batch, height, width, channels],
        }
    }
}

impl Sizes {
    /// Pixels of a plane.
    pub(crate) fn area(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Planes of all images.
    pub(crate) fn planes(&self) -> usize {
        self.batch.saturating_mul(self.channels)
    }

    /// Refuses tensors without pixels or channels, and counts that 32-bit coordinates cannot hold.
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        let Self { batch, channels, height, width } = *self;
        if channels == 0 {
            return Err(Error::value(what, "it has no channels; at least one is needed"));
        }
        if height == 0 || width == 0 {
            return Err(Error::value(what, format!("{height} x {width} has no pixels")));
        }
        let most = i32::MAX as usize / 8;
        if height > most || width > most || batch.saturating_mul(channels) > most {
            let why = format!("{batch} x {channels} planes of {height} x {width}; each may be at most {most}");
            return Err(Error::value(what, why));
        }
        Ok(())
    }

    /// Planes in `f32` from elements in this layout.
    pub(crate) fn planes_of<T: Sample>(&self, layout: Layout, x: &[T]) -> Vec<f32> {
        let (c, n) = (self.channels, self.area());
        match layout {
            Layout::Nchw => x.iter().map(|v| v.widened()).collect(),
            Layout::Nhwc => {
                let mut out = vec![0.0; x.len()];
                for (out, x) in out.chunks_exact_mut(c * n).zip(x.chunks_exact(c * n)) {
                    for (i, pixel) in x.chunks_exact(c).enumerate() {
                        for (k, v) in pixel.iter().enumerate() {
                            out[k * n + i] = v.widened();
                        }
                    }
                }
                out
            }
        }
    }

    /// Planes in `f32` into elements in this layout, each rounded once.
    pub(crate) fn write_planes<T: Sample>(&self, layout: Layout, planes: &[f32], y: &mut [T]) {
        let (c, n) = (self.channels, self.area());
        match layout {
            Layout::Nchw => y.iter_mut().zip(planes).for_each(|(y, &v)| *y = T::nearest(v)),
            Layout::Nhwc => {
                for (y, x) in y.chunks_exact_mut(c * n).zip(planes.chunks_exact(c * n)) {
                    for (i, pixel) in y.chunks_exact_mut(c).enumerate() {
                        for (k, y) in pixel.iter_mut().enumerate() {
                            *y = T::nearest(x[k * n + i]);
                        }
                    }
                }
            }
        }
    }
}

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::OPS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels of the operations.
    gpu_core::kernels! {
        pub(crate) static OPS = [
            ("instance_norm", ["sm_75"]),
            ("fused_conv_reflection_pad", ["sm_80"]),
            ("fused_conv_instancenorm", ["sm_80"]),
            ("fused_residual_block", ["sm_80"]),
            ("linear", ["sm_80"]),
            ("tokens", ["sm_75"]),
            ("window_attention", ["sm_80"]),
        ];
    }
}
