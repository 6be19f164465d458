//! Loading, checking, blending and saving the weights of a style network.
//!
//! [`StyleModel::load`] accepts what people already have: `.safetensors`, both forms of PyTorch
//! checkpoints and ONNX exports. The container is recognised from its bytes, never from its name
//! alone. Whatever the file, the result is the same: every tensor of the network under its
//! canonical name, in f32, or an error that says what is wrong. Nothing is loaded partially and
//! nothing in a file is ever executed.
//!
//! Files are not trusted. No input makes a loader panic, and [`StyleModel::from_bytes`] allocates
//! at most twice the size of its input plus 64 MB: every count is checked against the bytes that
//! are present before memory is taken for it.

mod blend;
mod detect;
mod error;
mod input;
mod layers;
mod model;
mod names;
mod onnx;
mod onnx_fold;
mod onnx_graph;
mod pickle;
mod protobuf;
mod pth;
mod raw;
mod safetensors;
mod save;
mod transformer;
mod unpickle;
mod zip;

pub use error::WeightsError;
pub use layers::{LayerId, MAX_RESIDUAL_BLOCKS};
pub use model::{Container, ConvWeights, LoadOptions, NormWeights, StyleModel, Tensor};
pub use raw::Dtype;
pub use save::{SaveDtype, SaveReport};
pub use transformer::VitShape;

/// The result of reading or writing weights.
pub type Result<T> = std::result::Result<T, WeightsError>;
