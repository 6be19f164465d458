//! The direct operations as scalar loops with the roundings that their pages promise: every tap fused, in the stated
//! order. Unlike the f64 oracles these also say what NaN, infinities and overflow must become.

#![allow(unreachable_pub)] // included by a path into several test crates

use gpu_core::testing::Value;

use super::{mirror, modulo};

/// A number with a fused multiply-add.
pub trait Rounded: Value {
    /// `self * a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
    /// `self * a`.
    fn product(self, a: Self) -> Self;
    /// Half of the distance from 1 to the next value: the largest relative error of one rounding.
    const UNIT: f64;
}

macro_rules! rounded {
    ($($t:ident),*) => { $(
        impl Rounded for $t {
            fn fused(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
            fn product(self, a: Self) -> Self {
                self * a
            }
            const UNIT: f64 = $t::EPSILON as f64 / 2.0;
        }
    )* };
}
rounded!(f32, f64);

/// Taps in the order of the list, each fused into a sum from 0.
pub fn taps<T: Rounded>(x: &[T], h: usize, w: usize, taps: &[(i64, i64, f64)]) -> Vec<T> {
    let pixel = |i: usize| {
        let (r, c) = ((i / w) as i64, (i % w) as i64);
        taps.iter().fold(T::from_f64(0.0), |sum, &(dr, dc, v)| {
            x[modulo(r - dr, h) * w + modulo(c - dc, w)].fused(T::from_f64(v), sum)
        })
    };
    (0..h * w).map(pixel).collect()
}

/// Columns first, then rows, nonzero taps in increasing `k`; then `2 * sum - x` with one rounding.
pub fn mirror_map<T: Rounded>(x: &[T], h: usize, w: usize, half: &[f64], step: u64) -> Vec<T> {
    let reach = half.len() as i64 - 1;
    let step = i64::try_from(step).expect("tests use steps of 63 bits");
    let one_axis = |get: &dyn Fn(i64) -> T| {
        let mut sum = T::from_f64(0.0);
        for k in -reach..=reach {
            let v = half[k.unsigned_abs() as usize];
            if v != 0.0 {
                sum = get(k * step).fused(T::from_f64(v), sum);
            }
        }
        sum
    };
    let columns: Vec<T> = (0..h * w).map(|i| one_axis(&|d| x[i / w * w + mirror((i % w) as i64 - d, w)])).collect();
    let rows = (0..h * w).map(|i| one_axis(&|d| columns[mirror((i / w) as i64 - d, h) * w + i % w]));
    rows.zip(x).map(|(sum, &x)| T::from_f64(2.0).fused(sum, x.product(T::from_f64(-1.0)))).collect()
}

/// `Σ_d c_d t_d` from the highest degree down, the first term a product.
pub fn polynomial<T: Rounded>(terms: &[&[T]], coefficients: &[f64]) -> Vec<T> {
    let c = |d: usize| T::from_f64(coefficients.get(d).copied().unwrap_or(0.0));
    let top = terms.len() - 1;
    let pixel = |i: usize| (0..top).rev().fold(c(top).product(terms[top][i]), |sum, d| c(d).fused(terms[d][i], sum));
    (0..terms[0].len()).map(pixel).collect()
}

/// `a x0 + b x1`, or that added to `y`.
pub fn mix<T: Rounded>(y: Option<&[T]>, [a, b]: [f64; 2], x0: &[T], x1: &[T]) -> Vec<T> {
    let (a, b) = (T::from_f64(a), T::from_f64(b));
    let pixel = |i: usize| a.fused(x0[i], y.map_or_else(|| b.product(x1[i]), |y| b.fused(x1[i], y[i])));
    (0..x0.len()).map(pixel).collect()
}
