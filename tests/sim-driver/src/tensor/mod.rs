//! Warp-level matrix instructions of PTX (`mma`, `wmma`, `ldmatrix`,
//! `stmatrix`) as pure functions over registers of 32 lanes.
//!
//! A register is a [`Register`]: one `u64` a lane. A 32-bit register is
//! zero-extended into it; an `.f64` register uses all 64 bits (one `.f64`
//! element is one register, never a pair).
//!
//! Memory is the caller's: [`WmmaMemory::offset`] and [`MatrixMove::halves`]
//! tell where each element of each lane lies, and the caller does the accesses.
//!
//! Left out: `mma.m8n8k4` of `.f16`, `.s4`/`.u4`/`.b1`/fp8 elements, sparse
//! `mma`, directed rounding of `.f64`, `ldmatrix` shapes other than `.m8n8`.
//! Parsing any of them gives `None`.

mod fragment;
mod matrix;
mod multiply;
mod parse;
mod types;
mod wmma;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_memory;

#[cfg(test)]
pub(crate) use fragment::{Fragment, Role};
pub(crate) use matrix::MatrixMove;
pub(crate) use multiply::Mma;
pub(crate) use types::Register;
#[cfg(test)]
pub(crate) use types::{Elem, LANES, Shape};
#[cfg(test)]
pub(crate) use wmma::Layout;
pub(crate) use wmma::{Space, Wmma, WmmaMemory};
