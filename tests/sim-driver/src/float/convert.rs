//! `cvt` between floating-point formats and between floats and integers.

use super::arith::canonical_f32;
use super::round::{Rounding, narrow, pack};

/// f64 to f32.
#[inline]
pub(crate) fn f64_to_f32(x: f64, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(x as f32);
    }
    f32::from_bits(narrow::<23, 8>(x, rnd) as u32)
}

/// f64 to f16 with one rounding.
#[inline]
pub(crate) fn f64_to_f16(x: f64, rnd: Rounding) -> u16 {
    narrow::<10, 5>(x, rnd) as u16
}

/// f64 to bf16 with one rounding.
#[inline]
pub(crate) fn f64_to_bf16(x: f64, rnd: Rounding) -> u16 {
    narrow::<7, 8>(x, rnd) as u16
}

/// f32 to tf32, ties to even (`cvt.rn.tf32.f32`).
#[inline]
pub(crate) fn f32_to_tf32_rn(x: f32) -> u32 {
    if x.is_nan() {
        return 0x7FFF_FFFF;
    }
    let bits = x.to_bits();
    (bits + 0xFFF + (bits >> 13 & 1)) & !0x1FFF
}

/// f32 to tf32 towards zero (`cvt.rz.tf32.f32`).
#[inline]
pub(crate) fn f32_to_tf32_rz(x: f32) -> u32 {
    if x.is_nan() { 0x7FFF_FFFF } else { x.to_bits() & !0x1FFF }
}

/// Signed integer to f32.
#[inline]
pub(crate) fn i64_to_f32(x: i64, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return x as f32;
    }
    f32::from_bits(pack::<23, 8>(x < 0, x.unsigned_abs(), 0, rnd) as u32)
}

/// Unsigned integer to f32.
#[inline]
pub(crate) fn u64_to_f32(x: u64, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return x as f32;
    }
    f32::from_bits(pack::<23, 8>(false, x, 0, rnd) as u32)
}

/// Signed integer to f64.
#[inline]
pub(crate) fn i64_to_f64(x: i64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest {
        return x as f64;
    }
    f64::from_bits(pack::<52, 11>(x < 0, x.unsigned_abs(), 0, rnd))
}

/// Unsigned integer to f64.
#[inline]
pub(crate) fn u64_to_f64(x: u64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest {
        return x as f64;
    }
    f64::from_bits(pack::<52, 11>(false, x, 0, rnd))
}

/// Signed integer to f16.
#[inline]
pub(crate) fn i64_to_f16(x: i64, rnd: Rounding) -> u16 {
    pack::<10, 5>(x < 0, x.unsigned_abs(), 0, rnd) as u16
}

/// Unsigned integer to f16.
#[inline]
pub(crate) fn u64_to_f16(x: u64, rnd: Rounding) -> u16 {
    pack::<10, 5>(false, x, 0, rnd) as u16
}

/// Signed integer to bf16.
#[inline]
pub(crate) fn i64_to_bf16(x: i64, rnd: Rounding) -> u16 {
    pack::<7, 8>(x < 0, x.unsigned_abs(), 0, rnd) as u16
}

/// Unsigned integer to bf16.
#[inline]
pub(crate) fn u64_to_bf16(x: u64, rnd: Rounding) -> u16 {
    pack::<7, 8>(false, x, 0, rnd) as u16
}
