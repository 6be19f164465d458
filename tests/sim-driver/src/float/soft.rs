//! Exact f64 arithmetic in integers, for the directed roundings.
//!
//! Speed does not matter here: compiled kernels use `.rn` almost everywhere.
//! All operands must be finite; the callers deal with infinities and NaN.

use super::round::{Rounding, pack, unpack, zero_sum_is_neg};

/// An exact value `mant * 2^exp` with a sign.
struct Wide {
    neg: bool,
    mant: u128,
    exp: i32,
}

/// Rounds a wide value whose lowest bit may be sticky (then its top bit is at
/// 125 or above).
fn pack_wide<const M: u32, const E: u32>(w: &Wide, rnd: Rounding) -> u64 {
    if w.mant == 0 {
        return pack::<M, E>(w.neg, 0, 0, rnd);
    }
    let lead = w.mant.leading_zeros();
    let mant = w.mant << lead;
    let high = (mant >> 64) as u64 | u64::from(mant as u64 != 0);
    pack::<M, E>(w.neg, high, w.exp - lead as i32 + 64, rnd)
}

/// Moves the top bit of a non-zero mantissa to bit 126, leaving room for a carry.
fn normalize(w: &mut Wide) {
    let shift = w.mant.leading_zeros() - 1;
    w.mant <<= shift;
    w.exp -= shift as i32;
}

fn sum<const M: u32, const E: u32>(mut x: Wide, mut y: Wide, rnd: Rounding) -> u64 {
    if x.mant == 0 && y.mant == 0 {
        return pack::<M, E>(zero_sum_is_neg(x.neg, y.neg, rnd), 0, 0, rnd);
    }
    if y.mant == 0 {
        return pack_wide::<M, E>(&x, rnd);
    }
    if x.mant == 0 {
        return pack_wide::<M, E>(&y, rnd);
    }
    normalize(&mut x);
    normalize(&mut y);
    if (y.exp, y.mant) > (x.exp, x.mant) {
        std::mem::swap(&mut x, &mut y);
    }
    let distance = ((x.exp - y.exp) as u32).min(127);
    let small = y.mant >> distance;
    // Bits are lost only when the exponents are more than 20 apart, and then
    // the result keeps at least 125 bits, so one sticky bit is enough.
    let lost = u128::from(small << distance != y.mant);
    let mant = if x.neg == y.neg { (x.mant + small) | lost } else { (x.mant - small - lost) | lost };
    let neg = if mant == 0 { rnd == Rounding::Down } else { x.neg };
    pack_wide::<M, E>(&Wide { neg, mant, exp: x.exp }, rnd)
}

fn widen(x: f64) -> Wide {
    let (neg, mant, exp) = unpack(x);
    Wide { neg, mant: u128::from(mant), exp }
}

fn product(a: f64, b: f64) -> Wide {
    let (a, b) = (widen(a), widen(b));
    Wide { neg: a.neg != b.neg, mant: a.mant * b.mant, exp: a.exp + b.exp }
}

/// `a + b`, rounded once.
pub(crate) fn add<const M: u32, const E: u32>(a: f64, b: f64, rnd: Rounding) -> u64 {
    sum::<M, E>(widen(a), widen(b), rnd)
}

/// `a * b`, rounded once.
pub(crate) fn mul<const M: u32, const E: u32>(a: f64, b: f64, rnd: Rounding) -> u64 {
    pack_wide::<M, E>(&product(a, b), rnd)
}

/// `a * b + c`, rounded once.
pub(crate) fn fma<const M: u32, const E: u32>(a: f64, b: f64, c: f64, rnd: Rounding) -> u64 {
    sum::<M, E>(product(a, b), widen(c), rnd)
}

/// `a / b` for non-zero `a` and `b`, rounded once.
pub(crate) fn div<const M: u32, const E: u32>(a: f64, b: f64, rnd: Rounding) -> u64 {
    let (mut a, mut b) = (widen(a), widen(b));
    normalize(&mut a);
    normalize(&mut b);
    // 127 bits over 53 leave a quotient of at least 74 bits.
    b.mant >>= 74;
    b.exp += 74;
    let lost = a.mant % b.mant != 0;
    // Doubled so that the sticky bit has a place of its own.
    let mant = (a.mant / b.mant) << 1 | u128::from(lost);
    pack_wide::<M, E>(&Wide { neg: a.neg != b.neg, mant, exp: a.exp - b.exp - 1 }, rnd)
}

/// Square root of `x > 0`, rounded once.
pub(crate) fn sqrt<const M: u32, const E: u32>(x: f64, rnd: Rounding) -> u64 {
    let mut x = widen(x);
    normalize(&mut x);
    // The exponent must be even to be halved; bit 127 is free for the shift.
    if x.exp & 1 != 0 {
        x.mant <<= 1;
        x.exp -= 1;
    }
    let root = x.mant.isqrt();
    let lost = root * root != x.mant;
    let mant = root << 1 | u128::from(lost);
    pack_wide::<M, E>(&Wide { neg: false, mant, exp: x.exp / 2 - 1 }, rnd)
}
