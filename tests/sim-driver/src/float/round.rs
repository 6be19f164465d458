//! The rounding modes and the one routine that rounds an exact value to a format.

/// Rounding of a floating-point result: PTX `.rn`, `.rz`, `.rm`, `.rp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// `.rn`: to nearest, ties to even.
    Nearest,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards negative infinity.
    Down,
    /// `.rp`: towards positive infinity.
    Up,
}

/// Canonical f16 NaN.
pub(crate) const NAN_F16: u16 = 0x7FFF;
/// Canonical bf16 NaN.
pub(crate) const NAN_BF16: u16 = 0x7FFF;
/// Canonical f32 NaN.
pub(crate) const NAN_F32: f32 = f32::from_bits(0x7FFF_FFFF);
/// f64 NaN made by an invalid operation on operands that are not NaN.
pub(crate) const NAN_F64: f64 = f64::from_bits(0xFFF8_0000_0000_0000);

/// Rounds `mant * 2^exp` to the format with `M` stored mantissa bits and `E`
/// exponent bits, and returns the bit pattern.
///
/// The lowest bit of a `mant` whose top bit is set may stand for "something
/// non-zero lies at or below here"; no format has more than 53 significant
/// bits, so at least two bits lie under the rounding point and such a bit
/// never looks like an exact half.
#[inline]
pub(crate) fn pack<const M: u32, const E: u32>(neg: bool, mant: u64, exp: i32, rnd: Rounding) -> u64 {
    let sign = u64::from(neg) << (M + E);
    if mant == 0 {
        return sign;
    }
    let lead = mant.leading_zeros();
    let mut mant = mant << lead;
    let bias = (1 << (E - 1)) - 1;
    let biased = exp - lead as i32 + 63 + bias;
    // A subnormal result drops more bits, one for each step below exponent 1.
    let mut drop = 63 - M + if biased < 1 { (1 - biased) as u32 } else { 0 };
    if drop > 62 {
        let extra = (drop - 62).min(63);
        let lost = mant & ((1 << extra) - 1) != 0;
        mant = mant >> extra | u64::from(lost);
        drop = 62;
    }
    let rest = mant & ((1 << drop) - 1);
    let half = 1 << (drop - 1);
    let kept = mant >> drop;
    let up = match rnd {
        Rounding::Nearest => rest > half || (rest == half && kept & 1 == 1),
        Rounding::Zero => false,
        Rounding::Down => neg && rest != 0,
        Rounding::Up => !neg && rest != 0,
    };
    // A normal `kept` carries its leading one at bit M, which adds one to the
    // exponent field; so does a carry out of rounding, in both ranges.
    let base = if biased < 1 { 0 } else { (biased as u64 - 1) << M };
    let bits = base + kept + u64::from(up);
    let inf = ((1 << E) - 1) << M;
    if bits < inf {
        return sign | bits;
    }
    let to_inf = match rnd {
        Rounding::Nearest => true,
        Rounding::Zero => false,
        Rounding::Down => neg,
        Rounding::Up => !neg,
    };
    sign | if to_inf { inf } else { inf - 1 }
}

/// Splits a finite `x` into sign, integer mantissa and exponent, `mant * 2^exp`.
#[inline]
pub(crate) fn unpack(x: f64) -> (bool, u64, i32) {
    let bits = x.to_bits();
    let field = (bits >> 52 & 0x7FF) as i32;
    let frac = bits & ((1 << 52) - 1);
    if field == 0 { (x.is_sign_negative(), frac, -1074) } else { (x.is_sign_negative(), frac | 1 << 52, field - 1075) }
}

/// Rounds `x` once to a narrower format; NaN becomes the format's canonical NaN
/// (all bits but the sign set).
#[inline]
pub(crate) fn narrow<const M: u32, const E: u32>(x: f64, rnd: Rounding) -> u64 {
    if x.is_nan() {
        return (1 << (M + E)) - 1;
    }
    if x.is_infinite() {
        let inf = ((1 << E) - 1) << M;
        return u64::from(x < 0.0) << (M + E) | inf;
    }
    let (neg, mant, exp) = unpack(x);
    pack::<M, E>(neg, mant, exp, rnd)
}

/// Given `x`, an f64 rounding of an exact value, and a number with the sign of
/// (exact value - `x`), gives the exact value rounded to odd.
///
/// Rounding that again to a format with at least two bits fewer equals rounding
/// the exact value once, in every mode.
#[inline]
pub(crate) fn to_odd(x: f64, err: f64) -> f64 {
    if err == 0.0 || x.to_bits() & 1 == 1 {
        return x;
    }
    // `x` is even and inexact: the odd neighbour on the error's side encloses
    // the exact value together with `x`.
    let away = (err > 0.0) == (x > 0.0);
    f64::from_bits(if away { x.to_bits() + 1 } else { x.to_bits() - 1 })
}

/// The exact error of `s = a + b`, provided nothing overflows.
#[inline]
pub(crate) fn sum_error(a: f64, b: f64, s: f64) -> f64 {
    let b2 = s - a;
    let a2 = s - b2;
    (a - a2) + (b - b2)
}

/// Sign of an exact zero sum: the operands' common sign, else minus only in Down.
#[inline]
pub(crate) fn zero_sum_is_neg(a_neg: bool, b_neg: bool, rnd: Rounding) -> bool {
    if a_neg == b_neg { a_neg } else { rnd == Rounding::Down }
}

/// `a + b` to odd for operands whose sum cannot overflow f64; `rnd` is only for
/// the sign of an exact zero.
#[inline]
pub(crate) fn add_odd(a: f64, b: f64, rnd: Rounding) -> f64 {
    let s = a + b;
    if s == 0.0 {
        let neg = zero_sum_is_neg(a.is_sign_negative(), b.is_sign_negative(), rnd);
        return if neg { -0.0 } else { 0.0 };
    }
    if !s.is_finite() {
        return s;
    }
    to_odd(s, sum_error(a, b, s))
}
