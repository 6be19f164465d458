//! The nonsubsampled contourlet transform.

#![warn(missing_docs)]

mod angle;
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
