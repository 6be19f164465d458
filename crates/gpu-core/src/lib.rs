//! One trait over a CPU and a CUDA backend, and the kit that proves them equal.
//!
//! Algorithms are written once, generic over [`Backend`]; each of their kernels has a CPU and a CUDA implementation.
//! A value of a backend is an ordered queue of work on one device. [`Tensor`]s live in the device's memory and belong
//! to the queue that made them.
//!
//! ```
//! use gpu_core::{AnyBackend, Backend, Result, Tensor, with_backend};
//!
//! fn sum_on<B: Backend>(b: &B) -> Result<f32> {
//!     let x = Tensor::from_slice(b, [2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
//!     Ok(x.to_vec(b)?.iter().sum())
//! }
//!
//! let any = AnyBackend::open("auto")?; // a GPU when there is one
//! assert_eq!(with_backend!(&any, |b| sum_on(b))?, 10.0);
//! # Ok::<(), gpu_core::Error>(())
//! ```
//!
//! * **Queues**: [`Backend::fork`], [`Backend::join`], [`Backend::adopt`], [`Backend::share`].
//! * **Memory**: [`Backend::memory`], [`Cpu::with_memory_limit`], [`batch_size`] splits a batch to fit.
//! * **Replaying**: [`Backend::capture`] records a launch sequence (a CUDA graph) once.
//! * **Choosing**: [`AnyBackend::open`] takes `auto`, `cpu`, `cuda` or `cuda:1` from a user.
//! * **Proving** (feature `testing`): generators, tolerances and the `twins!` macro in `testing`.
//!
//! With the feature `cuda` a program builds without a CUDA toolkit and starts without an NVIDIA driver: the driver is
//! opened at run time. Users outside this workspace who have no toolkit set `CUDA_LIBRARY_PATH` to a folder that holds
//! an empty `lib64/libcuda.so`, because a build script of a dependency looks for one.

#![warn(missing_docs)]

/// The example of the package's front page is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

mod any;
mod backend;
mod budget;
mod capture;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod plan;
pub mod ptx;
mod tensor;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;
mod view;

pub use any::{AnyBackend, Choice};
pub use backend::{Arch, Backend, Buffer, Capability, Clocks, Device, Elem, Event, MemoryUse, Owner, QueueId};
pub use capture::{Captured, Replay};
pub use cpu::{Cpu, CpuBuffer, CpuEvent, CpuGraph, CpuPinned};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::{Error, Result};
pub use plan::{Footprint, batch_size, batch_within};
pub use tensor::Tensor;
pub use transfer::InFlight;
pub use view::{TensorView, TensorViewMut, View, ViewMut};
