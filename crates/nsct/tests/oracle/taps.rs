//! A sparse filter with periodic boundary: `y[r, c] = Σ v x[(r - dr) mod H, (c - dc) mod W]`.

use super::modulo;

/// `taps` are `(dr, dc, v)`.
pub fn taps(x: &[f64], h: usize, w: usize, taps: &[(i64, i64, f64)]) -> Vec<f64> {
    let mut y = vec![0.0; h * w];
    for r in 0..h {
        for c in 0..w {
            let mut sum = 0.0;
            for &(dr, dc, v) in taps {
                sum += v * x[modulo(r as i64 - dr, h) * w + modulo(c as i64 - dc, w)];
            }
            y[r * w + c] = sum;
        }
    }
    y
}
