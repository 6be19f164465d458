//! Finds the shift between RAW photographs of one scene on their mosaic, and prepares denoising data sets.
//!
//! A *scene* is one subject photographed several times from almost the same place: clean ground truths and noisy
//! pictures. For each pair of them the crate estimates the translation in full-resolution pixels straight from the
//! Bayer or X-Trans mosaic by whitened phase correlation, says how sure it is, and refuses where there is nothing to
//! align. Each picture is transformed once, however many pairs it is in.
//!
//! ```
//! use align::testing::{Scenery, Shot};
//! use align::{Options, State, align_scene};
//! use gpu_core::Cpu;
//!
//! let scenery = Scenery::new(1, 320, 384);
//! let gt = scenery.shoot(&Shot::default());
//! let noisy = scenery.shoot(&Shot { shift: [6.0, -11.0], iso: 6400.0, seed: 7, ..Shot::default() });
//! let results = align_scene(&Cpu::new(), &[gt, noisy], &[(0, 1)], &Options::default())?;
//! assert_eq!(results[0].rounded, [6, -11]);
//! assert_eq!(results[0].state, State::Confident);
//! # Ok::<(), align::Error>(())
//! ```
//!
//! * **Shifts** are `[dy, dx]` in pixels of the mosaic, `noisy(y, x) = gt(y + dy, x + dx)`: positive `dy` drops the
//!   first rows of the ground truth and the last of the noisy picture.
//! * **Pictures** are [`RawFrame`]s; with the feature `raw`, `raw::ApartReader` makes them from files.
//! * **Estimating**: [`align_scene`] for all pairs of a scene ([`SceneWork`] while its pictures still arrive), [`Options`] and [`PairResult`] for what to do and what
//!   came out; [`memory`] plans how much of a scene fits a device.
//! * **Using**: [`overlap`](mod@overlap) cuts pictures, [`mask`] compares them, [`descriptor`] writes what denoiser training reads.
//! * **Inside**: [`kernels`], one page for each operation.
//!
//! Source of the method: C. D. Kuglin, D. C. Hines, *The Phase Correlation Image Alignment Method*, 1975; data sets as
//! B. Brummer, C. De Vleeschouwer, *Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image
//! Noise Dataset*, 2025.

#![warn(missing_docs)]

mod ambiguity;
pub mod cfa;
pub mod closure;
pub mod descriptor;
mod error;
pub mod estimate;
pub mod folder;
mod frame;
mod gauss_newton;
pub mod kernels;
pub mod mask;
pub mod memory;
mod options;
pub mod overlap;
#[cfg(feature = "raw")]
pub mod raw;
mod scene;
mod staging;
#[cfg(any(test, doctest, feature = "testing"))]
pub mod testing;
pub mod tiles;
mod verdict;

pub use cfa::{Cfa, Colour};
pub use error::{Error, Result};
pub use frame::{BlackLevel, Limits, Meta, Probe, RawFrame, RawReader, Rect, Warning, camera_name};
pub use kernels::AlignBackend;
pub use options::{Combine, MaxShift, Options, PairResult, Planes, Refine, State};
pub use scene::{SceneWork, align_scene, all_pairs};
