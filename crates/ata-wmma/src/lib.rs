//! Symmetric block-diagonal matrices times batches of vectors on tensor cores, and box-constrained least squares.
//!
//! `A = MᵀM` (the Gram matrix of the light patterns of an LED wall, a Gauss-Newton or stiffness matrix) is banded after a
//! good ordering, and is multiplied again and again with 8, 16 or any number of vectors. [`BlockDiag`] keeps its 16 x 16
//! blocks on and above the diagonal, [`Plan`] multiplies in one of seven precisions, [`Solver`] minimises
//! `½ xᵀAx - bᵀx` inside bounds, frame by frame.
//!
//! ```
//! use ata_wmma::{BlockDiag, Plan, PlanOptions, SymmetryPolicy};
//! use gpu_core::{Cpu, Tensor};
//! let a = BlockDiag::from_dense(ndarray::array![[[2.0f32, -1.0], [-1.0, 2.0]]].view(), SymmetryPolicy::default())?;
//! let cpu = Cpu::new();
//! let plan = Plan::new(&cpu, &a, PlanOptions::default())?;
//! let x = Tensor::from_slice(&cpu, [1, 1, 2], &[3.0f32, 1.0])?;
//! assert_eq!(plan.product(&cpu, &x)?.to_vec(&cpu)?, [5.0, -1.0]);
//! # Ok::<(), ata_wmma::AtaError>(())
//! ```
//!
//! * **Determinism**: the same bits in every run, on every queue; no atomics. A frame's result does not depend on the
//!   other frames, its place among them or their number.
//! * **Exactness**: Gram matrices and `Mᵀ frames` of bytes are exact integers on every backend.
//! * **Accuracy**: each precision states its bound ([`Precision::normwise_bound`], [`Precision::componentwise_bound`]).

#![warn(missing_docs)]

/// The examples of the package's front page are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

mod any_patterns;
mod blocks;
mod builder;
mod convert;
mod error;
pub mod folder;
pub mod kernels;
pub mod npy;
pub mod ordering;
mod patterns;
mod plan;
pub mod precision;
mod queries;
pub mod reference;
mod schedule;
mod solver;
pub mod wall;

pub use any_patterns::{AnyPatterns, RightSides, split_channels};
pub use blocks::{AREA, Accept, BLOCK, BlockDiag, SymmetryPolicy};
pub use convert::{Bsr, Csr, CsrView};
pub use error::{AtaError, Result};
pub use kernels::{AtaBackend, Batch, Engine};
pub use ordering::{Graph, Ordering};
pub use patterns::{
    Atb, BYTE_SQUARED, BlockDiagInt, DevicePatterns, FrameLayout, MAX_WINDOW, Patterns, Scale, Texel, Transfer,
};
pub use plan::{DotFigures, Plan, PlanOptions, Work};
pub use precision::Precision;
pub use queries::{Compensate, Stats};
pub use schedule::{ABSENT, Layout, PARTS, Packed, Schedule, Tile};
pub use solver::{Execution, Init, Method, PolishOptions, SolveOptions, SolveReport, SolveWork, Solver};
