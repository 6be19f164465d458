//! f16 and bf16 values and their arithmetic (`.rn`, the only rounding PTX has).

use super::convert::{f64_to_bf16, f64_to_f16};
use super::round::{NAN_F32, Rounding::Nearest, add_odd};

/// f16 to f32, exact; NaN gives the canonical f32 NaN.
#[inline]
pub(crate) fn f16_to_f32(h: u16) -> f32 {
    let sign = u32::from(h & 0x8000) << 16;
    let magnitude = u32::from(h & 0x7FFF);
    if magnitude > 0x7C00 {
        return NAN_F32;
    }
    let bits = match magnitude >> 10 {
        // Subnormal or zero: a count of 2^-24, exact in f32.
        0 => (magnitude as f32 * f32::from_bits((127 - 24) << 23)).to_bits(),
        31 => 0x7F80_0000,
        _ => (magnitude << 13) + ((127 - 15) << 23),
    };
    f32::from_bits(sign | bits)
}

/// bf16 to f32: the upper half of the pattern, so a NaN keeps its payload.
#[inline]
pub(crate) fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits(u32::from(h) << 16)
}

#[inline]
fn wide_f16(h: u16) -> f64 {
    f64::from(f16_to_f32(h))
}

#[inline]
fn wide_bf16(h: u16) -> f64 {
    f64::from(bf16_to_f32(h))
}

/// `a + b` (`add.f16`).
#[inline]
pub(crate) fn add_f16(a: u16, b: u16) -> u16 {
    // Sums and products of f16 values are exact in f64.
    f64_to_f16(wide_f16(a) + wide_f16(b), Nearest)
}

/// `a - b` (`sub.f16`).
#[inline]
pub(crate) fn sub_f16(a: u16, b: u16) -> u16 {
    f64_to_f16(wide_f16(a) - wide_f16(b), Nearest)
}

/// `a * b` (`mul.f16`).
#[inline]
pub(crate) fn mul_f16(a: u16, b: u16) -> u16 {
    f64_to_f16(wide_f16(a) * wide_f16(b), Nearest)
}

/// `a * b + c` with one rounding (`fma.f16`).
#[inline]
pub(crate) fn fma_f16(a: u16, b: u16, c: u16) -> u16 {
    // The product is exact. The sum can only round in f64 when the product is
    // under 2^-29 of `c`; that is no tie, and `c` itself is the answer.
    f64_to_f16(wide_f16(a) * wide_f16(b) + wide_f16(c), Nearest)
}

/// `a + b` (`add.bf16`).
#[inline]
pub(crate) fn add_bf16(a: u16, b: u16) -> u16 {
    // bf16 exponents lie so far apart that f64 may round: hence to odd.
    f64_to_bf16(add_odd(wide_bf16(a), wide_bf16(b), Nearest), Nearest)
}

/// `a - b` (`sub.bf16`).
#[inline]
pub(crate) fn sub_bf16(a: u16, b: u16) -> u16 {
    f64_to_bf16(add_odd(wide_bf16(a), -wide_bf16(b), Nearest), Nearest)
}

/// `a * b` (`mul.bf16`).
#[inline]
pub(crate) fn mul_bf16(a: u16, b: u16) -> u16 {
    f64_to_bf16(wide_bf16(a) * wide_bf16(b), Nearest)
}

/// `a * b + c` with one rounding (`fma.bf16`).
#[inline]
pub(crate) fn fma_bf16(a: u16, b: u16, c: u16) -> u16 {
    let exact_product = wide_bf16(a) * wide_bf16(b);
    f64_to_bf16(add_odd(exact_product, wide_bf16(c), Nearest), Nearest)
}

/// Flushes a subnormal bf16 to zero of the same sign (`.ftz`).
#[inline]
pub(crate) fn ftz_bf16(x: u16) -> u16 {
    if x & 0x7F80 == 0 { x & 0x8000 } else { x }
}
