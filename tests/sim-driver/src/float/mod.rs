//! Floating-point scalar operations exactly as the PTX ISA states them.
//!
//! f16 and bf16 values travel as `u16` bit patterns, tf32 as a `u32` holding an
//! f32 pattern. Results that are NaN are canonical:
//!
//! * f16, bf16: `0x7FFF`; f32: `0x7FFF_FFFF`. The ISA leaves the f32 payload
//!   unspecified; these are the patterns NVIDIA hardware gives.
//! * f64 arithmetic keeps NaN payloads (the ISA: "NaN payloads are supported
//!   for double-precision instructions"): the first NaN operand, quieted. An
//!   invalid operation on numbers gives `0xFFF8_0000_0000_0000`, the value of
//!   `CUDART_NAN`.
//!
//! None of these functions flushes subnormals unless its name or an `ftz`
//! argument says so: for `.ftz` apply [`ftz_f32`] to inputs and result.

mod approx;
mod arith;
mod convert;
mod half;
mod minmax;
mod round;
mod soft;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_convert;

pub(crate) use approx::*;
pub(crate) use arith::*;
pub(crate) use convert::*;
pub(crate) use half::*;
pub(crate) use minmax::*;
pub(crate) use round::Rounding;
