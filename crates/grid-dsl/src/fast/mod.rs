//! The fast CPU back end's evaluation: values in fixed layouts, and primitives on them.
//!
//! What a primitive here does not take, the definition computes: results, classes of errors and fuel are equal to the bit.

mod closure;
mod columns;
mod hash;
mod keys;
mod machine;
mod memo;
mod order;
mod prims;
mod rows;
#[cfg(test)]
mod tests;
mod val;

pub(crate) use hash::Wide;
pub(crate) use keys::{Patch, at, colour_of, place, tint};
pub(crate) use machine::Fast;
pub(crate) use val::Val;
