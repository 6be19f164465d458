//! The nonsubsampled contourlet transform of batches of images.
//!
//! Images `[batch, channel, height, width]` in `f32` or `f64` become coefficients `[batch, channel, plane, height, width]`:
//! a low-pass plane and, for each scale, 2^level planes of one direction each, all of the image's size. Every size from
//! 1 × 1 on is possible, and the way back is exact.
//!
//! ```
//! use gpu_core::{Cpu, Tensor};
//! use nsct::{NsctPlan, NsctSpec};
//!
//! let cpu = Cpu::new();
//! let x = Tensor::from_slice(&cpu, [1, 1, 8, 8], &[1.0f32; 64])?;
//! let plan = NsctPlan::new(&cpu, &NsctSpec::new([2, 3]), 8, 8)?;
//! let coeffs = plan.decompose(&x)?;
//! assert_eq!(coeffs.shape(), [1, 1, 1 + 4 + 8, 8, 8]);
//! let back = plan.reconstruct(&coeffs)?;
//! assert!(back.to_vec(&cpu)?.iter().all(|v| (v - 1.0).abs() < 1e-5));
//! # Ok::<(), nsct::Error>(())
//! ```
//!
//! * **Transform**: [`NsctSpec`] says what, [`NsctPlan`] does it, [`Coeffs`] holds the planes, [`planes`] names them.
//! * **Applications**: [`denoise`], [`fuse`], [`features`]; [`noise`] estimates and makes noise.
//! * **The published toolbox**: [`nsct_batch_dec`], [`nsct_batch_rec`] and the functions of [`toolbox`], under its names
//!   and with its planes; [`Geometry`] says where those differ from the default.
//! * **Inside**: [`filters`], [`tree`] and [`gains`] are the mathematics, [`kernels`] one page for each operation with
//!   its CPU and CUDA implementation.
//!
//! Everything is generic over [`NsctBackend`], that is over [`gpu_core::Cpu`] and, with the feature `cuda`,
//! `gpu_core::Cuda`. Results do not depend on the number of threads, and a batch has the bits of its images one by one.
//!
//! Source: A. L. da Cunha, J. Zhou, M. N. Do, *The Nonsubsampled Contourlet Transform: Theory, Design, and
//! Applications*, IEEE Transactions on Image Processing 15(10), 2006, and its MATLAB toolbox.

#![warn(missing_docs)]

/// The examples of the package's front page are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

mod angle;
mod auto;
mod coeffs;
pub mod denoise;
mod direct;
mod drop_in;
mod error;
pub mod features;
mod fft_cpu;
pub mod filters;
pub mod fuse;
pub mod gains;
pub mod kernels;
mod names;
pub mod noise;
mod plan;
mod plane_gains;
mod real;
mod spec;
mod spectral;
pub mod toolbox;
pub mod tree;

pub use coeffs::Coeffs;
pub use drop_in::{nsct_batch_dec, nsct_batch_rec};
pub use error::{Error, Result};
pub use kernels::NsctBackend;
pub use plan::NsctPlan;
pub use real::Real;
pub use spec::{DirFilter, Engine, Geometry, MAX_LEVEL, NsctSpec, PlaneId, PyrFilter, Side, plane_count, planes};
