//! A stand-in for `libcuda.so.1`: the CUDA driver's functions over host memory, with an interpreter of PTX.
#![allow(non_snake_case, reason = "the driver's own names")]
#![allow(
    clippy::match_same_arms,
    clippy::precedence,
    clippy::neg_cmp_op_on_partial_ord,
    clippy::cast_ptr_alignment,
    clippy::manual_is_multiple_of,
    reason = "tables of instructions read better with one line each; addresses are checked before they are used"
)]

mod access;
mod allocate;
mod atomics;
mod bulk;
mod collective;
mod copies;
mod driver;
mod exec;
mod fault;
mod float;
mod grid;
mod launch;
mod ledger;
mod lex;
mod lower;
mod mbarrier;
mod operands;
mod order;
mod parse;
mod parse_body;
#[cfg(test)]
mod parse_tests;
mod private;
mod program;
mod ptx;
mod race;
mod region;
mod shared;
mod simulator;
mod special;
mod tensor;
mod touch;
mod variables;
mod warp;

pub use simulator::{Argument, Failure, Options, Shape, launch, launch_with};
