//! Arithmetic against methods that share nothing with the implementation.
use super::Rounding::{Down, Nearest, Up, Zero};
use super::*;
use std::cmp::Ordering;

pub(crate) const CASES: usize = 20_000;
pub(crate) const DIRECTED: [Rounding; 3] = [Zero, Down, Up];
pub(crate) const ALL: [Rounding; 4] = [Nearest, Zero, Down, Up];

/// xorshift64*, and operands likely to hit corners.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A pattern of a format; half the time with few mantissa bits, or near the
    /// ends of the exponent range, or near 1.
    fn pattern(&mut self, m: u32, e: u32) -> u64 {
        let r = self.next();
        let mut frac = self.next() >> (64 - m);
        if r & 1 == 1 {
            frac = (frac >> (m - 4)) << (m - 4) ^ (r >> 8 & 1);
        }
        let max = (1u64 << e) - 2;
        let field = match r >> 1 & 7 {
            0 => r >> 20 & 3,
            1 => max - (r >> 20 & 3),
            2 | 3 => max / 2 + (r >> 20 & 7),
            4 => max / 4 + (r >> 20 & 63) % (max / 4),
            _ => (r >> 20) % (max + 1),
        };
        (r >> 63) << (m + e) | field << m | frac
    }

    pub(crate) fn f32(&mut self) -> f32 {
        f32::from_bits(self.pattern(23, 8) as u32)
    }

    pub(crate) fn f64(&mut self) -> f64 {
        f64::from_bits(self.pattern(52, 11))
    }
}

fn same32(a: f32, b: f32) {
    assert_eq!(a.to_bits(), b.to_bits(), "{a:e} {b:e}");
}

fn same64(a: f64, b: f64) {
    assert_eq!(a.to_bits(), b.to_bits(), "{a:e} {b:e}");
}

/// Checks the directed results of an operation, given in the order of
/// `DIRECTED`, from the nearest one and the order of exact value to nearest.
fn check64(nearest: f64, exact_to_nearest: Ordering, got: [f64; 3], what: &str) {
    let (down, up) = match exact_to_nearest {
        Ordering::Less => (nearest.next_down(), nearest),
        Ordering::Equal => (nearest, nearest),
        Ordering::Greater => (nearest, nearest.next_up()),
    };
    let zero = if nearest.is_sign_negative() { up } else { down };
    let want = [zero, down, up].map(|x| x.abs().to_bits() | (nearest.to_bits() & 1 << 63));
    assert_eq!(got.map(f64::to_bits), want, "{what}: nearest {nearest:e}");
}

fn sign_of(x: f64) -> Ordering {
    x.partial_cmp(&0.0).unwrap()
}

/// A result whose error terms cannot underflow or overflow.
fn safe(x: f64) -> bool {
    (1e-200..1e200).contains(&x.abs())
}

#[test]
fn f64_directed_follows_the_error_of_nearest() {
    let mut rng = Random(1);
    let mut checked = [0; 4];
    for _ in 0..CASES {
        let (a, b) = (rng.f64(), rng.f64());
        let s = a + b;
        if safe(s) && safe(a) && safe(b) {
            let (big, small) = if a.abs() > b.abs() { (a, b) } else { (b, a) };
            let err = small - (s - big);
            check64(s, sign_of(err), DIRECTED.map(|r| add_f64(a, b, r)), "add");
            check64(s, sign_of(err), DIRECTED.map(|r| sub_f64(a, -b, r)), "sub");
            checked[0] += 1;
        }
        let p = a * b;
        if safe(p) {
            let err = a.mul_add(b, -p);
            check64(p, sign_of(err), DIRECTED.map(|r| mul_f64(a, b, r)), "mul");
            checked[1] += 1;
        }
        let q = a / b;
        if safe(q) && safe(a) {
            let rest = (-q).mul_add(b, a) * b.signum();
            check64(q, sign_of(rest), DIRECTED.map(|r| div_f64(a, b, r)), "div");
            checked[2] += 1;
        }
        let x = a.abs();
        if safe(x) {
            let root = x.sqrt();
            let rest = (-root).mul_add(root, x);
            check64(root, sign_of(rest), DIRECTED.map(|r| sqrt_f64(x, r)), "sqrt");
            checked[3] += 1;
        }
    }
    assert!(checked.iter().all(|&n| n > 4000), "{checked:?}");
}

#[test]
fn f64_fma_directed_against_integers() {
    let mut rng = Random(2);
    let mut inexact = 0;
    for _ in 0..CASES {
        // Integers of at most 2^53 * 2^53 and 2^53 * 2^k: the exact sum fits i128.
        let int = |r: u64| (r as i64) >> (11 + r % 50);
        let (a, b, c) = (int(rng.next()), int(rng.next()), int(rng.next()));
        let k = (rng.next() % 60) as u32;
        let exact = i128::from(a) * i128::from(b) + (i128::from(c) << k);
        let (a, b, c) = (a as f64, b as f64, c as f64 * 2f64.powi(k as i32));
        let nearest = fma_f64(a, b, c, Nearest);
        if exact == 0 {
            continue;
        }
        let order = exact.cmp(&(nearest as i128));
        inexact += u32::from(order != Ordering::Equal);
        check64(nearest, order, DIRECTED.map(|r| fma_f64(a, b, c, r)), "fma");
    }
    assert!(inexact > 5000);
}

#[test]
fn integer_arithmetic_agrees_with_the_processor_over_the_full_range() {
    let mut rng = Random(3);
    for _ in 0..CASES {
        let (a, b, c) = (rng.f64(), rng.f64(), rng.f64());
        same64(f64::from_bits(soft::add::<52, 11>(a, b, Nearest)), a + b);
        same64(f64::from_bits(soft::mul::<52, 11>(a, b, Nearest)), a * b);
        same64(f64::from_bits(soft::fma::<52, 11>(a, b, c, Nearest)), a.mul_add(b, c));
        let near = -(a * b) * (1.0 + f64::EPSILON);
        if near.is_finite() {
            same64(f64::from_bits(soft::fma::<52, 11>(a, b, near, Nearest)), a.mul_add(b, near));
        }
        if a != 0.0 && b != 0.0 {
            same64(f64::from_bits(soft::div::<52, 11>(a, b, Nearest)), a / b);
            same64(f64::from_bits(soft::sqrt::<52, 11>(a.abs(), Nearest)), a.abs().sqrt());
        }
    }
}

#[test]
fn f64_directed_brackets_over_the_full_range() {
    let mut rng = Random(4);
    for _ in 0..CASES {
        let (a, b, c) = (rng.f64(), rng.f64(), rng.f64());
        let operations: [&dyn Fn(Rounding) -> f64; 6] = [
            &|r| add_f64(a, b, r),
            &|r| mul_f64(a, b, r),
            &|r| fma_f64(a, b, c, r),
            &|r| div_f64(a, b, r),
            &|r| sqrt_f64(a.abs(), r),
            &|r| rcp_f64(a, r),
        ];
        for f in operations {
            let [near, zero, down, up] = ALL.map(f);
            if near.is_nan() {
                continue;
            }
            assert!(down <= near && near <= up, "{a:e} {b:e} {c:e}");
            assert!(down == up || down.next_up() == up, "{a:e} {b:e} {c:e}");
            assert!(near == down || near == up);
            assert!(zero == if near.is_sign_negative() { up } else { down });
        }
    }
}

#[test]
fn f32_directed_agrees_with_integer_arithmetic() {
    let mut rng = Random(5);
    for _ in 0..CASES {
        let (x, y, z) = (rng.f32(), rng.f32(), rng.f32());
        let (a, b, c) = (f64::from(x), f64::from(y), f64::from(z));
        let f = |bits: u64| f32::from_bits(bits as u32);
        for r in ALL {
            same32(add_f32(x, y, r), f(soft::add::<23, 8>(a, b, r)));
            same32(sub_f32(x, y, r), f(soft::add::<23, 8>(a, -b, r)));
            same32(mul_f32(x, y, r), f(soft::mul::<23, 8>(a, b, r)));
            same32(fma_f32(x, y, z, r), f(soft::fma::<23, 8>(a, b, c, r)));
            let near = -(x * y);
            if near.is_finite() {
                let want = soft::fma::<23, 8>(a, b, f64::from(near), r);
                same32(fma_f32(x, y, near, r), f(want));
            }
            if x != 0.0 && y != 0.0 {
                same32(div_f32(x, y, r), f(soft::div::<23, 8>(a, b, r)));
                same32(rcp_f32(y, r), f(soft::div::<23, 8>(1.0, b, r)));
                same32(sqrt_f32(x.abs(), r), f(soft::sqrt::<23, 8>(a.abs(), r)));
            }
        }
    }
}

#[test]
fn signed_zeros() {
    for r in ALL {
        let diff = if r == Down { -0.0 } else { 0.0 };
        same32(sub_f32(1.5, 1.5, r), diff);
        same32(add_f32(0.0, -0.0, r), diff);
        same32(add_f32(-0.0, -0.0, r), -0.0);
        same32(add_f32(0.0, 0.0, r), 0.0);
        same32(fma_f32(2.0, 3.0, -6.0, r), diff);
        same32(fma_f32(-0.0, 3.0, -0.0, r), -0.0);
        same32(mul_f32(-0.0, 3.0, r), -0.0);
        same32(sqrt_f32(-0.0, r), -0.0);
        same32(div_f32(-0.0, 3.0, r), -0.0);
        let diff = f64::from(diff);
        same64(sub_f64(1.5, 1.5, r), diff);
        same64(add_f64(0.0, -0.0, r), diff);
        same64(add_f64(-0.0, -0.0, r), -0.0);
        same64(fma_f64(2.0, 3.0, -6.0, r), diff);
        same64(fma_f64(0.0, 3.0, -0.0, r), diff);
        same64(fma_f64(-0.0, 3.0, -0.0, r), -0.0);
        same64(mul_f64(-0.0, 3.0, r), -0.0);
        same64(sqrt_f64(-0.0, r), -0.0);
        same64(div_f64(-0.0, 3.0, r), -0.0);
    }
}

#[test]
fn overflow_and_underflow() {
    let inf = f32::INFINITY;
    for (r, pos, neg) in
        [(Nearest, inf, -inf), (Zero, f32::MAX, -f32::MAX), (Down, f32::MAX, -inf), (Up, inf, -f32::MAX)]
    {
        same32(mul_f32(f32::MAX, 2.0, r), pos);
        same32(add_f32(-f32::MAX, -f32::MAX, r), neg);
        same32(div_f32(-f32::MAX, 0.5, r), neg);
        same32(fma_f32(f32::MAX, f32::MAX, f32::MAX, r), pos);
        let wide = |x: f32| {
            if x.is_infinite() { x.into() } else { f64::MAX.copysign(x.into()) }
        };
        same64(mul_f64(f64::MAX, 2.0, r), wide(pos));
        same64(add_f64(-f64::MAX, -f64::MAX, r), wide(neg));
        same64(div_f64(-f64::MAX, 0.5, r), wide(neg));
    }
    let tiny = f32::from_bits(1);
    for (r, pos, neg) in [(Nearest, 0., -0.), (Zero, 0., -0.), (Down, 0., -tiny), (Up, tiny, -0.)] {
        same32(mul_f32(tiny, 0.5, r), pos);
        same32(mul_f32(tiny, -0.25, r), neg);
        same32(fma_f32(tiny, tiny, 0.0, r), pos);
        let wide = |x: f32| f64::from_bits(u64::from(x != 0.0)).copysign(x.into());
        same64(mul_f64(f64::from_bits(1), 0.5, r), wide(pos));
        same64(mul_f64(f64::from_bits(1), -0.25, r), wide(neg));
    }
    assert_eq!(div_f32(1.0, 0.0, Down), inf);
    assert_eq!(rcp_f32(-0.0, Up), -inf);
    same32(rcp_f32(-inf, Up), -0.0);
    assert_eq!(rcp_f64(-0.0, Up), f64::NEG_INFINITY);
    same64(rcp_f64(f64::NEG_INFINITY, Up), -0.0);
    assert_eq!(sqrt_f64(f64::INFINITY, Down), f64::INFINITY);
    assert_eq!(add_f64(f64::INFINITY, f64::MAX, Down), f64::INFINITY);
}

#[test]
fn nan_results() {
    let inf = f32::INFINITY;
    let loud = f32::from_bits(0xFF80_0001);
    for r in ALL {
        for x in [
            sub_f32(inf, inf, r),
            add_f32(loud, 1.0, r),
            mul_f32(inf, 0.0, r),
            fma_f32(0.0, inf, 1.0, r),
            fma_f32(inf, 1.0, -inf, r),
            div_f32(0.0, 0.0, r),
            sqrt_f32(-1.0, r),
            rcp_f32(loud, r),
        ] {
            assert_eq!(x.to_bits(), 0x7FFF_FFFF);
        }
        let inf = f64::INFINITY;
        for x in [
            sub_f64(inf, inf, r),
            mul_f64(inf, 0.0, r),
            fma_f64(0.0, inf, 1.0, r),
            div_f64(0.0, 0.0, r),
            sqrt_f64(-1.0, r),
        ] {
            assert_eq!(x.to_bits(), 0xFFF8 << 48);
        }
        let loud = f64::from_bits(0x7FF0_0000_0000_1234);
        for x in [add_f64(1.0, loud, r), sub_f64(1.0, loud, r), fma_f64(loud, 1.0, 2.0, r)] {
            assert_eq!(x.to_bits(), 0x7FF8_0000_0000_1234);
        }
    }
}
