//! A stand-in for `libcuda.so.1`: the CUDA driver's functions over host memory, with an interpreter of PTX.
#![allow(non_snake_case, reason = "the driver's own names")]

mod access;
mod allocate;
mod collective;
mod driver;
mod exec;
mod fault;
mod float;
mod grid;
mod launch;
mod lex;
mod lower;
mod parse;
mod program;
mod ptx;
mod race;
mod region;
mod tensor;
mod warp;
