//! Conversions, half precision, min/max and the approximate functions.
use super::Rounding::{Down, Nearest, Up, Zero};
use super::round::{NAN_BF16, NAN_F16, NAN_F32, NAN_F64};
use super::tests::{ALL, CASES, Random};
use super::*;

/// Value of a 16-bit pattern, by the definition of the format.
fn value(h: u16, m: i32, bias: i32) -> f64 {
    let field = i32::from(h & 0x7FFF) >> m;
    let frac = f64::from(i32::from(h) & ((1 << m) - 1)) / f64::from(1 << m);
    let x = match field {
        0 => frac * 2f64.powi(1 - bias),
        f if f == 2 * bias + 1 => {
            if frac == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        f => (1.0 + frac) * 2f64.powi(f - bias),
    };
    if h & 0x8000 == 0 { x } else { -x }
}

#[test]
fn every_half_round_trips() {
    for h in 0..=u16::MAX {
        let (f, b) = (f16_to_f32(h), bf16_to_f32(h));
        let want = (value(h, 10, 15), value(h, 7, 127));
        assert_eq!(f.is_nan(), want.0.is_nan());
        assert_eq!(b.is_nan(), want.1.is_nan());
        if !f.is_nan() {
            assert_eq!(f64::from(f).to_bits(), want.0.to_bits());
        }
        if !b.is_nan() {
            assert_eq!(f64::from(b).to_bits(), want.1.to_bits());
        }
        for r in ALL {
            assert_eq!(f64_to_f16(f.into(), r), if f.is_nan() { NAN_F16 } else { h });
            assert_eq!(f64_to_bf16(b.into(), r), if b.is_nan() { NAN_BF16 } else { h });
        }
    }
}

/// Rounds `x` by searching the finite patterns of a 16-bit format.
fn search(x: f64, m: i32, bias: i32, r: Rounding) -> u16 {
    let inf = ((2 * bias + 1) as u16) << m;
    let sign = u16::from(x.is_sign_negative()) << 15;
    let a = x.abs();
    let (mut lo, mut hi) = (0, inf);
    while hi - lo > 1 {
        let mid = lo.midpoint(hi);
        if value(mid, m, bias) <= a {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    let below = value(lo, m, bias);
    if below == a {
        return sign | lo;
    }
    // Past the largest number the next one counts as one more step up.
    let above = if hi == inf { 2f64.powi(bias + 1) } else { value(hi, m, bias) };
    let up = match r {
        Nearest => a - below > above - a || (a - below == above - a && hi & 1 == 0),
        Zero => false,
        Down => sign != 0,
        Up => sign == 0,
    };
    sign | if up { hi } else { lo }
}

#[test]
fn narrowing_to_half_against_search() {
    let mut rng = Random(11);
    for i in 0..CASES {
        let x = match i % 4 {
            0 => rng.f64(),
            1 => f64::from(rng.f32()),
            // Exact halves between neighbours and values next to them.
            2 => (value(rng.next() as u16 & 0xFBFF, 10, 15) * (1.0 + 2f64.powi(-11))).next_up(),
            _ => value(rng.next() as u16 & 0xFBFF, 10, 15) + 2f64.powi(-25),
        };
        let single = x as f32;
        for r in ALL {
            assert_eq!(f64_to_f16(x, r), search(x, 10, 15, r), "{x:e} {r:?}");
            assert_eq!(f64_to_bf16(x, r), search(x, 7, 127, r), "{x:e} {r:?}");
            if single.is_finite() {
                assert_eq!(f64_to_f16(single.into(), r), search(single.into(), 10, 15, r));
                assert_eq!(f64_to_bf16(single.into(), r), search(single.into(), 7, 127, r));
            }
        }
    }
    assert_eq!(f64_to_f16(65519.0, Nearest), 0x7BFF);
    assert_eq!(f64_to_f16(65520.0, Nearest), 0x7C00);
    assert_eq!(f64_to_f16(1e10, Zero), 0x7BFF);
    assert_eq!(f64_to_f16(f64::NEG_INFINITY, Zero), 0xFC00);
    assert_eq!(f64_to_f16(-1e-30, Down), 0x8001);
    // One rounding: through f32 this would tie and go to 0x3C00.
    assert_eq!(f64_to_f16(1.0 + 2f64.powi(-11) + 2f64.powi(-40), Nearest), 0x3C01);
}

#[test]
fn narrowing_to_f32_brackets() {
    let mut rng = Random(12);
    for _ in 0..CASES {
        let x = if rng.next() & 1 == 0 { rng.f64() } else { f64::from(rng.f32()) * 1.000_000_01 };
        let [near, zero, down, up] = ALL.map(|r| f64_to_f32(x, r));
        assert_eq!(near.to_bits(), (x as f32).to_bits());
        assert!(f64::from(down) <= x && x <= f64::from(up));
        if f64::from(near) == x {
            assert!(down == near && up == near);
        } else {
            assert_eq!(down.next_up(), up);
        }
        assert_eq!(zero.to_bits(), if x < 0.0 { up } else { down }.to_bits());
        assert_eq!(round::narrow::<23, 8>(x, Nearest) as u32, near.to_bits());
    }
    assert_eq!(f64_to_f32(f64::NAN, Nearest).to_bits(), 0x7FFF_FFFF);
    assert_eq!(f64_to_f32(f64::NAN, Up).to_bits(), 0x7FFF_FFFF);
}

#[test]
fn tf32() {
    let mut rng = Random(13);
    for _ in 0..CASES {
        let x = rng.f32();
        let bits = f64::from(x);
        assert_eq!(f32_to_tf32_rn(x), (round::narrow::<10, 8>(bits, Nearest) << 13) as u32);
        assert_eq!(f32_to_tf32_rz(x), (round::narrow::<10, 8>(bits, Zero) << 13) as u32);
    }
    assert_eq!(f32_to_tf32_rn(f32::from_bits(0x3F80_1000)), 0x3F80_0000);
}

#[test]
fn integers_to_floats() {
    let mut rng = Random(14);
    for _ in 0..CASES {
        let s = rng.next() as i64 >> (rng.next() & 63);
        let u = s as u64;
        for r in ALL {
            // Bracketing by exact i128 comparison (2^64 fits).
            for (x, exact) in [
                (i64_to_f64(s, r), i128::from(s)),
                (u64_to_f64(u, r), i128::from(u)),
                (i64_to_f32(s, r).into(), i128::from(s)),
                (u64_to_f32(u, r).into(), i128::from(u)),
            ] {
                let got = x as i128;
                assert!(match r {
                    Nearest => true,
                    Zero => got.abs() <= exact.abs(),
                    Down => got <= exact,
                    Up => got >= exact,
                });
            }
            // Values that f64 holds exactly reduce to the tested narrowing.
            let small = s >> 11;
            let same = small as f64;
            assert_eq!(i64_to_f32(small, r).to_bits(), f64_to_f32(same, r).to_bits());
            assert_eq!(i64_to_f16(small, r), f64_to_f16(same, r));
            assert_eq!(i64_to_bf16(small, r), f64_to_bf16(same, r));
            assert_eq!(u64_to_f16(u >> 11, r), f64_to_f16((u >> 11) as f64, r));
            assert_eq!(u64_to_bf16(u >> 11, r), f64_to_bf16((u >> 11) as f64, r));
            assert_eq!(i64_to_f64(small, r), same);
        }
        let (down, up) = (i64_to_f64(s, Down), i64_to_f64(s, Up));
        assert!(down == up || down.next_up() == up);
        let (down, up) = (u64_to_f32(u, Down), u64_to_f32(u, Up));
        assert!(down == up || down.next_up() == up);
    }
    assert_eq!(i64_to_f32(0, Down).to_bits(), 0);
    assert_eq!(u64_to_f64(u64::MAX, Zero), 18_446_744_073_709_549_568.0);
    assert_eq!(u64_to_f16(65520, Nearest), 0x7C00);
    assert_eq!(i64_to_f16(-70000, Up), 0xFBFF);
}

#[test]
fn half_arithmetic_against_integer_arithmetic() {
    let mut rng = Random(15);
    for _ in 0..CASES {
        let r = rng.next();
        let (a, b, c) = (r as u16, (r >> 16) as u16, (r >> 32) as u16);
        let [x, y, z] = [a, b, c].map(|h| f64::from(f16_to_f32(h)));
        if (x + y + z).is_finite() {
            assert_eq!(add_f16(a, b), soft::add::<10, 5>(x, y, Nearest) as u16);
            assert_eq!(sub_f16(a, b), soft::add::<10, 5>(x, -y, Nearest) as u16);
            assert_eq!(mul_f16(a, b), soft::mul::<10, 5>(x, y, Nearest) as u16);
            assert_eq!(fma_f16(a, b, c), soft::fma::<10, 5>(x, y, z, Nearest) as u16);
        }
        let [x, y, z] = [a, b, c].map(|h| f64::from(bf16_to_f32(h)));
        if (x + y + z).is_finite() {
            assert_eq!(add_bf16(a, b), soft::add::<7, 8>(x, y, Nearest) as u16);
            assert_eq!(sub_bf16(a, b), soft::add::<7, 8>(x, -y, Nearest) as u16);
            assert_eq!(mul_bf16(a, b), soft::mul::<7, 8>(x, y, Nearest) as u16);
            assert_eq!(fma_bf16(a, b, c), soft::fma::<7, 8>(x, y, z, Nearest) as u16);
        }
    }
    assert_eq!(add_f16(0x7C00, 0xFC00), NAN_F16);
    assert_eq!(fma_bf16(0x7F80, 0, 0), NAN_BF16);
    // 1 + 2^-11 ties; the product's last bit decides: (1+2^-10)^2 * 2^-11 + 1.
    assert_eq!(fma_f16(0x3C01, f64_to_f16(2f64.powi(-11), Nearest), 0x3C00), 0x3C01);
    assert_eq!(ftz_bf16(0x807F), 0x8000);
    assert_eq!(ftz_f32(-1e-40).to_bits(), 0x8000_0000);
    assert_eq!(ftz_f32(f32::MIN_POSITIVE), f32::MIN_POSITIVE);
}

#[test]
fn min_and_max() {
    let mut rng = Random(16);
    for _ in 0..CASES {
        let (a, b) = (rng.f32(), rng.f32());
        let less = a < b || (a == b && a.is_sign_negative());
        let (lo, hi) = if less { (a, b) } else { (b, a) };
        assert_eq!(min_f32(a, b).to_bits(), lo.to_bits());
        assert_eq!(max_f32(a, b).to_bits(), hi.to_bits());
        assert_eq!(max_f64(a.into(), b.into()), f64::from(hi));
        let sign = a.signum() * b.signum();
        assert_eq!(min_xorsign_abs_f32(a, b), a.abs().min(b.abs()) * sign);
        assert_eq!(max_nan_xorsign_abs_f32(a, b), a.abs().max(b.abs()) * sign);
    }
    let nan = f32::NAN;
    assert_eq!(min_f32(0.0, -0.0).to_bits(), 0x8000_0000);
    assert_eq!(max_f32(-0.0, 0.0).to_bits(), 0);
    assert_eq!(min_f32(nan, 2.0), 2.0);
    assert_eq!(max_f32(-2.0, nan), -2.0);
    assert_eq!(min_f32(nan, nan).to_bits(), 0x7FFF_FFFF);
    assert_eq!(max_nan_f32(1.0, -nan).to_bits(), 0x7FFF_FFFF);
    assert_eq!(min_nan_xorsign_abs_f32(-1.0, nan).to_bits(), 0x7FFF_FFFF);
    assert_eq!(max_xorsign_abs_f32(-3.0, nan), -3.0f32.copysign(nan));
    assert_eq!(min_f64(f64::NAN, f64::NAN).to_bits(), NAN_F64.to_bits());
    assert_eq!(min_f16(0x8000, 0), 0x8000);
    assert_eq!(max_f16(0x7E00, 0xFC00), 0xFC00);
    assert_eq!(min_nan_bf16(0xFFC0, 0), NAN_BF16);
}

#[test]
fn approximate_functions() {
    let (inf, sub) = (f32::INFINITY, f32::from_bits(0x0040_0000));
    let bits = |x: f32| x.to_bits();
    assert_eq!(ex2_approx_f32(-inf, true).to_bits(), 0);
    assert_eq!(ex2_approx_f32(-sub, true), 1.0);
    assert_eq!(ex2_approx_f32(-140.0, false), f32::from_bits(1 << 9));
    assert_eq!(ex2_approx_f32(-140.0, true).to_bits(), 0);
    assert_eq!(ex2_approx_f32(inf, false), inf);
    assert_eq!(lg2_approx_f32(-0.0, false), -inf);
    assert_eq!(lg2_approx_f32(sub, true), -inf);
    assert_eq!(lg2_approx_f32(sub, false), -127.0);
    assert_eq!(bits(lg2_approx_f32(-1.0, false)), bits(NAN_F32));
    assert_eq!(bits(sin_approx_f32(-0.0, false)), bits(-0.0));
    assert_eq!(bits(sin_approx_f32(inf, false)), bits(NAN_F32));
    assert_eq!(cos_approx_f32(-0.0, false), 1.0);
    assert_eq!(bits(cos_approx_f32(-inf, true)), bits(NAN_F32));
    assert_eq!(bits(tanh_approx_f32(-0.0)), bits(-0.0));
    assert_eq!(tanh_approx_f32(-inf), -1.0);
    assert_eq!(rcp_approx_f32(-0.0, false), -inf);
    assert_eq!(rcp_approx_f32(-sub, true), -inf);
    assert_eq!(rcp_approx_f32(sub, false), 2f32.powi(127));
    assert_eq!(bits(rcp_approx_f32(-inf, true)), bits(-0.0));
    assert_eq!(bits(rcp_approx_f32(-2f32.powi(127), true)), bits(-0.0));
    assert_eq!(rcp_approx_f32(2f32.powi(127), false), sub);
    assert_eq!(rsqrt_approx_f32(-0.0, false), -inf);
    assert_eq!(rsqrt_approx_f32(-sub, true), -inf);
    assert_eq!(bits(rsqrt_approx_f32(-1.0, true)), bits(NAN_F32));
    assert_eq!(rsqrt_approx_f32(inf, true).to_bits(), 0);
    assert_eq!(bits(sqrt_approx_f32(-0.0, true)), bits(-0.0));
    assert_eq!(bits(sqrt_approx_f32(-inf, true)), bits(NAN_F32));
    assert_eq!(div_approx_f32(8.0, 2f32.powi(126), false), 2f32.powi(-123));
    assert_eq!(bits(div_approx_f32(-1e38, 2f32.powi(127), false)), bits(-0.0));
    assert_eq!(bits(div_approx_f32(inf, 2f32.powi(127), false)), bits(NAN_F32));
    assert_eq!(bits(div_approx_f32(inf, inf, false)), bits(NAN_F32));
    assert_eq!(div_approx_f32(1.0, -sub, true), -inf);
    assert_eq!(div_full_f32(1e38, 2f32.powi(127), true), 1e38 / 2f32.powi(127));
    assert_eq!(ex2_approx_f16(0xFC00), 0);
    assert_eq!(ex2_approx_f16(0x3C00), 0x4000);
    assert_eq!(ex2_approx_f16(0x7E00), NAN_F16);
    assert_eq!(ex2_approx_ftz_bf16(0x3F80), 0x4000);
    assert_eq!(tanh_approx_f16(0xFC00), 0xBC00);
    assert_eq!(tanh_approx_bf16(0x8000), 0x8000);
    let third = rcp_approx_ftz_f64(3.0);
    assert_eq!(third.to_bits() & 0xFFFF_FFFF, 0);
    assert!((third * 3.0 - 1.0).abs() < 1e-6);
    assert_eq!(rcp_approx_ftz_f64(-5e-324), f64::NEG_INFINITY);
    assert_eq!(rcp_approx_ftz_f64(f64::MAX).to_bits(), 0);
    assert_eq!(rsqrt_approx_ftz_f64(4.0), 0.5);
    assert!(rsqrt_approx_ftz_f64(-4.0).is_nan());
    assert_eq!(rsqrt_approx_ftz_f64(f64::INFINITY).to_bits(), 0);
}
