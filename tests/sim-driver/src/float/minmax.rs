//! `min` and `max` with their modifiers, on bit patterns.
//!
//! One NaN operand loses unless `.NaN` is given; two NaN, or any under `.NaN`,
//! give the canonical NaN; -0 is less than +0. `.xorsign.abs` compares
//! magnitudes and gives the result the exclusive-or of the operands' signs.

use super::round::{NAN_BF16, NAN_F16, NAN_F32, NAN_F64};

/// A format: its sign bit, its infinity and its canonical NaN.
struct Format {
    sign: u64,
    inf: u64,
    nan: u64,
}

const F16: Format = Format { sign: 1 << 15, inf: 0x7C00, nan: NAN_F16 as u64 };
const BF16: Format = Format { sign: 1 << 15, inf: 0x7F80, nan: NAN_BF16 as u64 };
const F32: Format = Format { sign: 1 << 31, inf: 0x7F80_0000, nan: NAN_F32.to_bits() as u64 };
const F64: Format = Format { sign: 1 << 63, inf: 0x7FF0 << 48, nan: NAN_F64.to_bits() };

#[inline]
fn select(f: &Format, a: u64, b: u64, max: bool, nan_wins: bool) -> u64 {
    let a_nan = a & !f.sign > f.inf;
    let b_nan = b & !f.sign > f.inf;
    if a_nan || b_nan {
        return match (a_nan && b_nan || nan_wins, a_nan) {
            (true, _) => f.nan,
            (false, true) => b,
            (false, false) => a,
        };
    }
    // Sign and magnitude to an unsigned order in which -0 lies just below +0.
    let key = |x: u64| {
        if x & f.sign == 0 { x | f.sign } else { f.sign - 1 - (x & !f.sign) }
    };
    if (key(a) < key(b)) == max { b } else { a }
}

#[inline]
fn select_xorsign(f: &Format, a: u64, b: u64, max: bool, nan_wins: bool) -> u64 {
    let r = select(f, a & !f.sign, b & !f.sign, max, nan_wins);
    if r > f.inf { r } else { r | ((a ^ b) & f.sign) }
}

/// Smaller operand (`min.f32`).
#[inline]
pub(crate) fn min_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select(&F32, a.to_bits().into(), b.to_bits().into(), false, false) as u32)
}

/// Smaller magnitude, signed by the exclusive-or of the signs (`min.xorsign.abs.f32`).
#[inline]
pub(crate) fn min_xorsign_abs_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select_xorsign(&F32, a.to_bits().into(), b.to_bits().into(), false, false) as u32)
}

/// Smaller operand (`min.NaN.f32`).
#[inline]
pub(crate) fn min_nan_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select(&F32, a.to_bits().into(), b.to_bits().into(), false, true) as u32)
}

/// Smaller magnitude, signed by the exclusive-or of the signs (`min.NaN.xorsign.abs.f32`).
#[inline]
pub(crate) fn min_nan_xorsign_abs_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select_xorsign(&F32, a.to_bits().into(), b.to_bits().into(), false, true) as u32)
}

/// Larger operand (`max.f32`).
#[inline]
pub(crate) fn max_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select(&F32, a.to_bits().into(), b.to_bits().into(), true, false) as u32)
}

/// Larger magnitude, signed by the exclusive-or of the signs (`max.xorsign.abs.f32`).
#[inline]
pub(crate) fn max_xorsign_abs_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select_xorsign(&F32, a.to_bits().into(), b.to_bits().into(), true, false) as u32)
}

/// Larger operand (`max.NaN.f32`).
#[inline]
pub(crate) fn max_nan_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select(&F32, a.to_bits().into(), b.to_bits().into(), true, true) as u32)
}

/// Larger magnitude, signed by the exclusive-or of the signs (`max.NaN.xorsign.abs.f32`).
#[inline]
pub(crate) fn max_nan_xorsign_abs_f32(a: f32, b: f32) -> f32 {
    f32::from_bits(select_xorsign(&F32, a.to_bits().into(), b.to_bits().into(), true, true) as u32)
}

/// Smaller operand (`min.f64`).
#[inline]
pub(crate) fn min_f64(a: f64, b: f64) -> f64 {
    f64::from_bits(select(&F64, a.to_bits(), b.to_bits(), false, false))
}

/// Larger operand (`max.f64`).
#[inline]
pub(crate) fn max_f64(a: f64, b: f64) -> f64 {
    f64::from_bits(select(&F64, a.to_bits(), b.to_bits(), true, false))
}

/// Smaller operand (`min.f16`).
#[inline]
pub(crate) fn min_f16(a: u16, b: u16) -> u16 {
    select(&F16, a.into(), b.into(), false, false) as u16
}

/// Smaller operand (`min.NaN.f16`).
#[inline]
pub(crate) fn min_nan_f16(a: u16, b: u16) -> u16 {
    select(&F16, a.into(), b.into(), false, true) as u16
}

/// Larger operand (`max.f16`).
#[inline]
pub(crate) fn max_f16(a: u16, b: u16) -> u16 {
    select(&F16, a.into(), b.into(), true, false) as u16
}

/// Larger operand (`max.NaN.f16`).
#[inline]
pub(crate) fn max_nan_f16(a: u16, b: u16) -> u16 {
    select(&F16, a.into(), b.into(), true, true) as u16
}

/// Smaller operand (`min.bf16`).
#[inline]
pub(crate) fn min_bf16(a: u16, b: u16) -> u16 {
    select(&BF16, a.into(), b.into(), false, false) as u16
}

/// Smaller operand (`min.NaN.bf16`).
#[inline]
pub(crate) fn min_nan_bf16(a: u16, b: u16) -> u16 {
    select(&BF16, a.into(), b.into(), false, true) as u16
}

/// Larger operand (`max.bf16`).
#[inline]
pub(crate) fn max_bf16(a: u16, b: u16) -> u16 {
    select(&BF16, a.into(), b.into(), true, false) as u16
}

/// Larger operand (`max.NaN.bf16`).
#[inline]
pub(crate) fn max_nan_bf16(a: u16, b: u16) -> u16 {
    select(&BF16, a.into(), b.into(), true, true) as u16
}
