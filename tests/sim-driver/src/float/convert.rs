//! `cvt` between floating-point formats and between floats and integers.

use super::arith::{canonical_f32, quiet_f64};
use super::half::{bf16_to_f32, f16_to_f32};
use super::round::{IntRounding, Rounding, narrow, pack};

/// f32 to f64, exact; a NaN keeps its payload and is quieted.
#[inline]
pub(crate) fn f32_to_f64(x: f32) -> f64 {
    if x.is_nan() {
        // By hand: the language promises nothing about payloads in casts.
        let bits = u64::from(x.to_bits());
        let sign = (bits & 0x8000_0000) << 32;
        return f64::from_bits(sign | 0x7FF8 << 48 | (bits & 0x7F_FFFF) << 29);
    }
    f64::from(x)
}

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

/// f32 to f16.
#[inline]
pub(crate) fn f32_to_f16(x: f32, rnd: Rounding) -> u16 {
    f64_to_f16(f64::from(x), rnd)
}

/// f64 to bf16 with one rounding.
#[inline]
pub(crate) fn f64_to_bf16(x: f64, rnd: Rounding) -> u16 {
    narrow::<7, 8>(x, rnd) as u16
}

/// f32 to bf16.
#[inline]
pub(crate) fn f32_to_bf16(x: f32, rnd: Rounding) -> u16 {
    f64_to_bf16(f64::from(x), rnd)
}

/// f32 to tf32, ties away from zero (`cvt.rna.tf32.f32`); the low 13 bits are
/// zero except in the canonical NaN.
#[inline]
pub(crate) fn f32_to_tf32(x: f32) -> u32 {
    if x.is_nan() {
        return 0x7FFF_FFFF;
    }
    // Half a unit added to the magnitude; infinity stays, as its low bits are
    // zero, and a carry out of the largest number gives infinity.
    (x.to_bits() + 0x1000) & !0x1FFF
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

/// f64 rounded to an integer in f64 (`cvt.rni.f64.f64` and the like).
#[inline]
pub(crate) fn rint_f64(x: f64, rnd: IntRounding) -> f64 {
    let r = match rnd {
        IntRounding::Rni => x.round_ties_even(),
        IntRounding::Rzi => x.trunc(),
        IntRounding::Rmi => x.floor(),
        IntRounding::Rpi => x.ceil(),
    };
    if x.is_nan() { quiet_f64(x) } else { r }
}

/// f32 rounded to an integer in f32 (`cvt.rni.f32.f32` and the like).
#[inline]
pub(crate) fn rint_f32(x: f32, rnd: IntRounding) -> f32 {
    canonical_f32(match rnd {
        IntRounding::Rni => x.round_ties_even(),
        IntRounding::Rzi => x.trunc(),
        IntRounding::Rmi => x.floor(),
        IntRounding::Rpi => x.ceil(),
    })
}

/// f16 rounded to an integer in f16 (`cvt.rni.f16.f16` and the like).
#[inline]
pub(crate) fn rint_f16(x: u16, rnd: IntRounding) -> u16 {
    f32_to_f16(rint_f32(f16_to_f32(x), rnd), Rounding::Nearest)
}

/// bf16 rounded to an integer in bf16 (`cvt.rni.bf16.bf16` and the like).
#[inline]
pub(crate) fn rint_bf16(x: u16, rnd: IntRounding) -> u16 {
    f32_to_bf16(rint_f32(bf16_to_f32(x), rnd), Rounding::Nearest)
}

/// Rounds a number to an integer and clamps it to `bits` bits; the bits above
/// are zero also for a negative result.
#[inline]
fn clamp_to_int(x: f64, rnd: IntRounding, bits: u32, signed: bool) -> u64 {
    let r = rint_f64(x, rnd);
    let mask = u64::MAX >> (64 - bits);
    // `as` saturates at the ends of the 64-bit type.
    if signed {
        let top = (mask >> 1) as i64;
        (r as i64).clamp(-top - 1, top) as u64 & mask
    } else {
        (r as u64).min(mask)
    }
}

/// f64 to an integer of `bits` (8, 16, 32 or 64) bits, clamped to its range.
///
/// The result is in the low `bits` bits, the others are zero. The ISA: NaN
/// gives `1 << (bits - 1)` when the source is f64, for every destination.
#[inline]
pub(crate) fn f64_to_int(x: f64, rnd: IntRounding, bits: u32, signed: bool) -> u64 {
    if x.is_nan() {
        return 1 << (bits - 1);
    }
    clamp_to_int(x, rnd, bits, signed)
}

/// f32 to an integer of `bits` bits, clamped to its range, in the low `bits` bits.
///
/// The ISA: NaN gives zero when the source is not f64, except for a 64-bit
/// destination, where it gives `1 << 63`.
#[inline]
pub(crate) fn f32_to_int(x: f32, rnd: IntRounding, bits: u32, signed: bool) -> u64 {
    if x.is_nan() {
        return if bits == 64 { 1 << 63 } else { 0 };
    }
    clamp_to_int(f64::from(x), rnd, bits, signed)
}

/// f16 to an integer of `bits` bits; NaN as for [`f32_to_int`].
#[inline]
pub(crate) fn f16_to_int(x: u16, rnd: IntRounding, bits: u32, signed: bool) -> u64 {
    f32_to_int(f16_to_f32(x), rnd, bits, signed)
}

/// bf16 to an integer of `bits` bits; NaN as for [`f32_to_int`].
#[inline]
pub(crate) fn bf16_to_int(x: u16, rnd: IntRounding, bits: u32, signed: bool) -> u64 {
    f32_to_int(bf16_to_f32(x), rnd, bits, signed)
}
