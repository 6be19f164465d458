//! Fast neural style transfer on the CPU: Johnson's TransformerNet as sixteen fused convolutions.
//!
//! Activations lie channels-last, channels padded to whole vectors of 16. Each convolution reads the raw output of the
//! one before through that layer's instance norm, ReLU, residual sum and border rule while it packs a tile, and writes
//! its own raw output with per-band statistics: no pass over memory stands between two convolutions.

mod buffer;
mod conv;
mod direct;
mod error;
mod history;
mod kernel;
mod last;
mod moments;
mod network;
mod ops;
mod pack;
mod product;
mod strips;
mod winograd;

pub(crate) use product::Packed;

pub use error::ShapeError;
pub use history::Statistics;
pub use network::{Arena, EPSILON, Network, Observer, SMALLEST_SIDE, Stage, Weights};
pub use ops::{
    ConvNormParams, ConvParams, NormParams, fused_conv_instancenorm, fused_conv_reflection_pad, fused_residual_block,
    instance_norm,
};
pub use strips::Strips;
