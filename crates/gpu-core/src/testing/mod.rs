//! The kit that proves a kernel: the CPU against an independent oracle, CUDA against the CPU (feature `testing`).
//!
//! A kernel's tests are one [`twins!`](crate::twins) entry: a strategy for small *cases* (shape numbers and a [`Fill`],
//! never data), a function that runs the operation on any backend, an oracle in scalar `f64` loops, and a
//! [`Tolerance`] with its reason.

mod fill;
mod report;
mod runner;
mod starting_with;
pub mod timing;
mod tolerance;
mod twins;

pub use fill::{Fill, FillKind};
pub use report::{Proof, Record, record};
pub use runner::{cases, prove};
pub use starting_with::{StartingWith, starting_with};
pub use tolerance::{Bound, Comparison, Tolerance, Value, compare, parts};
pub use twins::{Output, Outputs, Twin};

#[doc(hidden)]
pub use proptest;

use std::path::PathBuf;

/// Folder of the golden data: `LOCKSTEP_DATA`, or `../shared/data` beside the workspace.
///
/// Tests that need it are `#[ignore = "needs LOCKSTEP_DATA"]`, so that a machine without it reports them as ignored.
///
/// # Panics
/// When the folder is absent, naming it: a test that was asked to run must not pass without its data.
pub fn data_folder(domain: &str) -> PathBuf {
    let root = match std::env::var_os("LOCKSTEP_DATA") {
        Some(path) => PathBuf::from(path),
        // gpu-core lives at <workspace>/crates/gpu-core.
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let folder = root.join(domain);
    assert!(folder.is_dir(), "{} is not a folder: set LOCKSTEP_DATA to the data folder", folder.display());
    folder
}

/// The CUDA device that tests run on: `LOCKSTEP_DEVICE`, or 0.
///
/// # Panics
/// When there is none: the tests that call this are ignored unless they were asked for.
#[cfg(feature = "cuda")]
pub fn cuda() -> crate::Cuda {
    let ordinal = match std::env::var("LOCKSTEP_DEVICE") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("LOCKSTEP_DEVICE={text} is not a number")),
        Err(_) => 0,
    };
    crate::Cuda::open(ordinal).unwrap_or_else(|e| panic!("this test needs a CUDA device: {e}"))
}

/// Whether the device is simulated: a driver that interprets kernels on the CPU. What runs there proves the kernels'
/// results, not their speed.
#[cfg(feature = "cuda")]
pub fn is_simulated(b: &crate::Cuda) -> bool {
    crate::Backend::device(b).name.starts_with("Simulated")
}
