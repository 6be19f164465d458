//! The two-dimensional cosine transform of type II and its inverse, by their definitions, one axis after the other:
//! `X[i] = Σ_r x[r] cos(π i (r + ½) / n)`, `x[r] = (X[0] + 2 Σ_{i>0} X[i] cos(π i (r + ½) / n)) / n`.

use std::f64::consts::PI;

fn basis(i: usize, r: usize, n: usize) -> f64 {
    // The angle repeats after 4n steps of π / 2n.
    (PI * ((i * (2 * r + 1)) % (4 * n)) as f64 / (2 * n) as f64).cos()
}

/// Applies `weight(k, m, n)`, the factor of input `m` in output `k`, to both axes.
fn both_axes(x: &[f64], h: usize, w: usize, weight: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut rows = vec![0.0; h * w];
    for k in 0..h {
        for m in 0..h {
            let factor = weight(k, m, h);
            for c in 0..w {
                rows[k * w + c] += factor * x[m * w + c];
            }
        }
    }
    let mut y = vec![0.0; h * w];
    for k in 0..w {
        for m in 0..w {
            let factor = weight(k, m, w);
            for r in 0..h {
                y[r * w + k] += factor * rows[r * w + m];
            }
        }
    }
    y
}

/// Forward, without normalisation.
pub fn dct2(x: &[f64], h: usize, w: usize) -> Vec<f64> {
    both_axes(x, h, w, basis)
}

/// The inverse of [`dct2`].
pub fn idct2(x: &[f64], h: usize, w: usize) -> Vec<f64> {
    both_axes(x, h, w, |r, i, n| basis(i, r, n) * if i == 0 { 1.0 } else { 2.0 } / n as f64)
}
