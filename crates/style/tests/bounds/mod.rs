//! How far errors before a norm reach behind it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use gpu_core::testing::Tolerance;
use style::ops::Sample;

use crate::oracle::{Images, statistics};

/// The largest gamma of the cases.
const GAMMA: f64 = 1.75;

/// Error behind a norm of values that are off by `error`, and rounded to f16 where they are stored as that.
///
/// With `d = x - μ` and `s = sqrt(σ² + eps)`: `d` is off by two errors at most, `s` by one, so `γ d / s` by
/// `γ (2 e + |d| e / s) / (s - e)`. Rounding to f16 moves a value by 2^-11 of itself, on both sides that are compared; a
/// plane of one pixel is beta whatever it holds.
pub fn norm_error<T: Sample>(raw: &Images, error: f64, eps: f64) -> f64 {
    let [_, _, h, w] = raw.shape;
    if h * w == 1 {
        return 2.0_f64.powi(-20);
    }
    let mut worst = 0.0_f64;
    for ((mean, variance), plane) in statistics(raw).iter().zip(raw.data.chunks_exact(h * w)) {
        let largest = plane.iter().fold(mean.abs(), |most, v| most.max(v.abs()));
        let away = plane.iter().fold(0.0, |most: f64, v| most.max((v - mean).abs()));
        let e = error + if T::ROUNDS { largest * 2.0_f64.powi(-10) } else { 0.0 };
        let s = (variance + eps).sqrt();
        let low = (s - e).max(eps.sqrt());
        // The norm's own roundings: of the difference, of scale and shift, and the sums of the variance.
        let own = 32.0 * 2.0_f64.powi(-24) * (GAMMA * away / low + 4.0);
        worst = worst.max(GAMMA * (2.0 * e + away * e / s) / low + own);
    }
    worst
}

/// The tolerance for values that are off by `error` and then stored.
pub fn stored<T: Sample>(error: f64) -> Tolerance {
    Tolerance { ulps: 0, rel: if T::ROUNDS { 2.0_f64.powi(-10) } else { 0.0 }, abs: error }
}
