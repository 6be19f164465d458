//! Periodic convolution with a filter upsampled by the matrix `m`, whose first coordinate is the column:
//! `y[r, c] = Σ_{a,b} h[a, b] x[(r + sr - m21 b - m22 a) mod H, (c + sc - m11 b - m12 a) mod W]` with
//! `sr = trunc((m21 (Wf-1) + m22 (Hf-1)) / 2)`, `sc = trunc((m11 (Wf-1) + m12 (Hf-1)) / 2)`.

use super::modulo;

/// `x` is `h * w`, the filter `fh * fw`; the result has the size of `x`.
pub fn zconv2(x: &[f64], h: usize, w: usize, f: &[f64], fh: usize, fw: usize, m: [[i64; 2]; 2]) -> Vec<f64> {
    let [[m11, m12], [m21, m22]] = m;
    let (last_row, last_column) = (fh as i64 - 1, fw as i64 - 1);
    // Integer division rounds towards zero.
    let sr = (m21 * last_column + m22 * last_row) / 2;
    let sc = (m11 * last_column + m12 * last_row) / 2;
    let mut y = vec![0.0; h * w];
    for r in 0..h as i64 {
        for c in 0..w as i64 {
            let mut sum = 0.0;
            for a in 0..fh as i64 {
                for b in 0..fw as i64 {
                    let row = modulo(r + sr - m21 * b - m22 * a, h);
                    let column = modulo(c + sc - m11 * b - m12 * a, w);
                    sum += f[a as usize * fw + b as usize] * x[row * w + column];
                }
            }
            y[r as usize * w + c as usize] = sum;
        }
    }
    y
}
