//! f32 and f64 arithmetic in every rounding, and classification.

use super::round::{NAN_F32, NAN_F64, Rounding, add_odd, narrow, to_odd};
use super::soft;

/// Makes an f32 NaN canonical.
#[inline]
pub(crate) fn canonical_f32(x: f32) -> f32 {
    if x.is_nan() { NAN_F32 } else { x }
}

/// Flushes a subnormal f32 to zero of the same sign (`.ftz`).
#[inline]
pub(crate) fn ftz_f32(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

#[inline]
fn odd_to_f32(x: f64, rnd: Rounding) -> f32 {
    f32::from_bits(narrow::<23, 8>(x, rnd) as u32)
}

/// `a + b` (`add.f32`).
#[inline]
pub(crate) fn add_f32(a: f32, b: f32, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(a + b);
    }
    odd_to_f32(add_odd(f64::from(a), f64::from(b), rnd), rnd)
}

/// `a - b` (`sub.f32`).
#[inline]
pub(crate) fn sub_f32(a: f32, b: f32, rnd: Rounding) -> f32 {
    add_f32(a, -b, rnd)
}

/// `a * b` (`mul.f32`).
#[inline]
pub(crate) fn mul_f32(a: f32, b: f32, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(a * b);
    }
    // 48 bits and exponents from -298 to 256: exact in f64.
    odd_to_f32(f64::from(a) * f64::from(b), rnd)
}

/// `a * b + c` with one rounding (`fma.f32`, `mad.f32`).
#[inline]
pub(crate) fn fma_f32(a: f32, b: f32, c: f32, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(a.mul_add(b, c));
    }
    odd_to_f32(add_odd(f64::from(a) * f64::from(b), f64::from(c), rnd), rnd)
}

/// `a / b` (`div.rn.f32` and the directed roundings).
#[inline]
pub(crate) fn div_f32(a: f32, b: f32, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(a / b);
    }
    let (a, b) = (f64::from(a), f64::from(b));
    let q = a / b;
    // An infinite or zero quotient of f32 values is exact in f64, which has
    // exponents enough for every finite one.
    if !q.is_finite() || q == 0.0 {
        return odd_to_f32(q, rnd);
    }
    let rest = (-q).mul_add(b, a);
    odd_to_f32(to_odd(q, if b < 0.0 { -rest } else { rest }), rnd)
}

/// `1 / x` (`rcp.rn.f32` and the directed roundings).
#[inline]
pub(crate) fn rcp_f32(x: f32, rnd: Rounding) -> f32 {
    div_f32(1.0, x, rnd)
}

/// Square root (`sqrt.rn.f32` and the directed roundings).
#[inline]
pub(crate) fn sqrt_f32(x: f32, rnd: Rounding) -> f32 {
    if rnd == Rounding::Nearest {
        return canonical_f32(x.sqrt());
    }
    let x = f64::from(x);
    let root = x.sqrt();
    if !root.is_finite() || root == 0.0 {
        return odd_to_f32(root, rnd);
    }
    odd_to_f32(to_odd(root, (-root).mul_add(root, x)), rnd)
}

/// Replaces a NaN result by the first NaN operand, quieted, or by `NAN_F64`.
#[inline]
fn result_f64(r: f64, operands: &[f64]) -> f64 {
    if r.is_nan() { nan_f64(operands) } else { r }
}

#[cold]
fn nan_f64(operands: &[f64]) -> f64 {
    operands.iter().find(|x| x.is_nan()).map_or(NAN_F64, |&x| quiet_f64(x))
}

/// Sets the quiet bit of a NaN and leaves every other value as it is.
#[inline]
pub(crate) fn quiet_f64(x: f64) -> f64 {
    if x.is_nan() { f64::from_bits(x.to_bits() | 1 << 51) } else { x }
}

/// `a + b` (`add.f64`).
#[inline]
pub(crate) fn add_f64(a: f64, b: f64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest || !a.is_finite() || !b.is_finite() {
        return result_f64(a + b, &[a, b]);
    }
    f64::from_bits(soft::add::<52, 11>(a, b, rnd))
}

/// `a - b` (`sub.f64`).
#[inline]
pub(crate) fn sub_f64(a: f64, b: f64, rnd: Rounding) -> f64 {
    if b.is_nan() {
        // Not negated: a payload keeps its sign through a subtraction.
        return result_f64(f64::NAN, &[a, b]);
    }
    add_f64(a, -b, rnd)
}

/// `a * b` (`mul.f64`).
#[inline]
pub(crate) fn mul_f64(a: f64, b: f64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest || !a.is_finite() || !b.is_finite() {
        return result_f64(a * b, &[a, b]);
    }
    f64::from_bits(soft::mul::<52, 11>(a, b, rnd))
}

/// `a * b + c` with one rounding (`fma.f64`, `mad.f64`).
#[inline]
pub(crate) fn fma_f64(a: f64, b: f64, c: f64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest || !a.is_finite() || !b.is_finite() || !c.is_finite() {
        return result_f64(a.mul_add(b, c), &[a, b, c]);
    }
    f64::from_bits(soft::fma::<52, 11>(a, b, c, rnd))
}

/// `a / b` (`div.f64`).
#[inline]
pub(crate) fn div_f64(a: f64, b: f64, rnd: Rounding) -> f64 {
    let plain = rnd == Rounding::Nearest || !a.is_finite() || !b.is_finite();
    if plain || a == 0.0 || b == 0.0 {
        return result_f64(a / b, &[a, b]);
    }
    f64::from_bits(soft::div::<52, 11>(a, b, rnd))
}

/// `1 / x` (`rcp.f64`).
#[inline]
pub(crate) fn rcp_f64(x: f64, rnd: Rounding) -> f64 {
    div_f64(1.0, x, rnd)
}

/// Square root (`sqrt.f64`).
#[inline]
pub(crate) fn sqrt_f64(x: f64, rnd: Rounding) -> f64 {
    if rnd == Rounding::Nearest || !x.is_finite() || x <= 0.0 {
        return result_f64(x.sqrt(), &[x]);
    }
    f64::from_bits(soft::sqrt::<52, 11>(x, rnd))
}
