//! Fast neural style transfer: Johnson's TransformerNet on photographs of any size.
//!
//! A picture `[batch, 3, height, width]`, RGB in 0..255, goes through sixteen convolutions with instance norms and comes
//! out in the style that the network was trained for. Weights are read from the files people have
//! ([`weights::StyleModel::load`]): safetensors, PyTorch checkpoints of both forms, ONNX exports.
//!
//! * [`vit`] is the other kind of network that [`Engine`] runs: a transformer.
//! * [`Engine`] runs a model; [`SizePolicy`] says what becomes of sides that are no multiples of four.
//! * [`mix`](mod@mix) makes a picture of the result: strength, masks, original colours, whole numbers.
//! * [`cpu`] is the network on the processor and, as functions on planar tensors, the operations that it is made of.
//!
//! No normalised, padded or upsampled tensor is ever written: a convolution normalises the raw output of the one before
//! while it loads it, and nearest × 2 with 3 × 3 behind it is four 2 × 2 convolutions. Results do not depend on the
//! number of threads, and pictures of a batch do not influence each other.
//!
//! Source: J. Johnson, A. Alahi, L. Fei-Fei, *Perceptual Losses for Real-Time Style Transfer and Super-Resolution*, ECCV
//! 2016, in the form of PyTorch's `fast_neural_style` example (instance norm, nearest upsampling, reflection padding).

#![warn(missing_docs)]

/// The examples of the package's front page are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

pub mod cpu;
mod engine;
mod error;
pub mod kernels;
mod layered;
pub mod mix;
mod net;
pub mod ops;
mod processor;
mod spill;
mod stream;
pub mod vit;
pub mod weights;

pub use engine::{Activation, Engine, EngineOptions, Precision, SizePolicy, StyleBackend, Timing};
pub use error::{Error, Result};
#[cfg(feature = "cuda")]
pub use layered::CudaNetwork;
pub use layered::Layered;
pub use net::{Job, Picture};
pub use processor::CpuNetwork;
pub use stream::FrameStream;
