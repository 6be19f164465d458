//! The `.approx` and `.full` functions.
//!
//! Each is computed in f64 and rounded once to nearest, which is inside every
//! error bound that the ISA states; the special values are those of the ISA's
//! tables. `ftz` flushes subnormal inputs and results to zero of their sign.

use super::arith::{canonical_f32, ftz_f32};
use super::convert::{f64_to_bf16, f64_to_f16};
use super::half::{bf16_to_f32, f16_to_f32, ftz_bf16};
use super::round::{NAN_F64, Rounding::Nearest};

/// Applies an f64 function to an f32 operand.
#[inline]
fn through_f64(x: f32, ftz: bool, f: impl Fn(f64) -> f64) -> f32 {
    let x = if ftz { ftz_f32(x) } else { x };
    let r = canonical_f32(f(f64::from(x)) as f32);
    if ftz { ftz_f32(r) } else { r }
}

/// `2^x` (`ex2.approx.f32`).
#[inline]
pub(crate) fn ex2_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, f64::exp2)
}

/// Base-2 logarithm (`lg2.approx.f32`): either zero gives -inf, a negative
/// number NaN.
#[inline]
pub(crate) fn lg2_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, f64::log2)
}

/// Sine (`sin.approx.f32`): an infinity gives NaN.
#[inline]
pub(crate) fn sin_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, f64::sin)
}

/// Cosine (`cos.approx.f32`): an infinity gives NaN.
#[inline]
pub(crate) fn cos_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, f64::cos)
}

/// Hyperbolic tangent (`tanh.approx.f32`, which never flushes subnormals).
#[inline]
pub(crate) fn tanh_approx_f32(x: f32) -> f32 {
    through_f64(x, false, f64::tanh)
}

/// Reciprocal (`rcp.approx.f32`): a zero gives the infinity of its sign.
#[inline]
pub(crate) fn rcp_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, |x| 1.0 / x)
}

/// Reciprocal square root (`rsqrt.approx.f32`): a zero gives the infinity of
/// its sign, a negative number NaN.
#[inline]
pub(crate) fn rsqrt_approx_f32(x: f32, ftz: bool) -> f32 {
    // sqrt keeps -0, so 1/sqrt(-0) is -inf as the ISA's table asks.
    through_f64(x, ftz, |x| 1.0 / x.sqrt())
}

/// Square root (`sqrt.approx.f32`): a negative number gives NaN, -0 gives -0.
#[inline]
pub(crate) fn sqrt_approx_f32(x: f32, ftz: bool) -> f32 {
    through_f64(x, ftz, f64::sqrt)
}

/// `a / b` over the full range (`div.full.f32`).
#[inline]
pub(crate) fn div_full_f32(a: f32, b: f32, ftz: bool) -> f32 {
    if ftz {
        return ftz_f32(canonical_f32(ftz_f32(a) / ftz_f32(b)));
    }
    canonical_f32(a / b)
}

/// `a / b` (`div.approx.f32`): for |b| in (2^126, 2^128) the result is a zero
/// of the quotient's sign, or NaN if `a` is infinite.
#[inline]
pub(crate) fn div_approx_f32(a: f32, b: f32, ftz: bool) -> f32 {
    // 2^126. Above it the reciprocal is subnormal and the unit flushes it.
    const LIMIT: f32 = f32::from_bits((126 + 127) << 23);
    if b.is_finite() && b.abs() > LIMIT {
        // `a * 0` with the sign of `b`: NaN for an infinite or NaN `a`.
        return canonical_f32(a * 0f32.copysign(b));
    }
    div_full_f32(a, b, ftz)
}

/// `2^x` (`ex2.approx.f16`).
#[inline]
pub(crate) fn ex2_approx_f16(x: u16) -> u16 {
    f64_to_f16(f64::from(f16_to_f32(x)).exp2(), Nearest)
}

/// `2^x` with subnormals flushed (`ex2.approx.ftz.bf16`).
#[inline]
pub(crate) fn ex2_approx_ftz_bf16(x: u16) -> u16 {
    let x = f64::from(bf16_to_f32(ftz_bf16(x)));
    ftz_bf16(f64_to_bf16(x.exp2(), Nearest))
}

/// Hyperbolic tangent (`tanh.approx.f16`).
#[inline]
pub(crate) fn tanh_approx_f16(x: u16) -> u16 {
    f64_to_f16(f64::from(f16_to_f32(x)).tanh(), Nearest)
}

/// Hyperbolic tangent (`tanh.approx.bf16`).
#[inline]
pub(crate) fn tanh_approx_bf16(x: u16) -> u16 {
    f64_to_bf16(f64::from(bf16_to_f32(x)).tanh(), Nearest)
}

/// Upper 32 bits of the operand, subnormals flushed to zero of their sign.
#[inline]
fn upper_operand(x: f64) -> f64 {
    let x = f64::from_bits(x.to_bits() & !0xFFFF_FFFF);
    if x.is_subnormal() { 0f64.copysign(x) } else { x }
}

/// Rounds a result to its upper 32 bits, subnormals flushed to zero.
#[inline]
fn upper_result(x: f64) -> f64 {
    if x.is_nan() {
        return NAN_F64;
    }
    // Flushed before rounding: a subnormal could otherwise round up to normal.
    let x = if x.is_subnormal() { 0f64.copysign(x) } else { x };
    f64::from_bits((x.to_bits() + 0x8000_0000) & !0xFFFF_FFFF)
}

/// Coarse reciprocal (`rcp.approx.ftz.f64`): reads only the upper 32 bits of
/// the operand and gives a result whose lower 32 bits are zero.
#[inline]
pub(crate) fn rcp_approx_ftz_f64(x: f64) -> f64 {
    upper_result(1.0 / upper_operand(x))
}

/// Coarse reciprocal square root (`rsqrt.approx.ftz.f64`), with operand and
/// result as in [`rcp_approx_ftz_f64`].
#[inline]
pub(crate) fn rsqrt_approx_ftz_f64(x: f64) -> f64 {
    upper_result(1.0 / upper_operand(x).sqrt())
}
