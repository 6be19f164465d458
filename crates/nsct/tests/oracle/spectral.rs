//! The transforms of the spectral engine, point by point from their definitions: an image is a list of `(row, column,
//! value)` outside of which it is zero.

use std::f64::consts::{PI, TAU};

/// `(row, column, value)`.
pub type Points = [(usize, usize, f64)];

/// `X[i, j] = Σ v cos(π i (2r + 1) / 2h) cos(π j (2c + 1) / 2w)`.
pub fn cosine(points: &Points, h: usize, w: usize) -> Vec<f64> {
    let basis = |i: usize, r: usize, n: usize| (PI * ((i * (2 * r + 1)) % (4 * n)) as f64 / (2 * n) as f64).cos();
    sum(points, h, w, |r, i| basis(i, r, h), |c, j| basis(j, c, w))
}

/// `y[r, c] = Σ e_i e_j v cos(π i (2r + 1) / 2h) cos(π j (2c + 1) / 2w)`, points at (i, j).
pub fn inverse_cosine(points: &Points, h: usize, w: usize) -> Vec<f64> {
    let basis = |i: usize, r: usize, n: usize| {
        let e = if i == 0 { 1.0 } else { 2.0 };
        e * (PI * ((i * (2 * r + 1)) % (4 * n)) as f64 / (2 * n) as f64).cos()
    };
    sum(points, h, w, |i, r| basis(i, r, h), |j, c| basis(j, c, w))
}

fn sum(
    points: &Points,
    h: usize,
    w: usize,
    row: impl Fn(usize, usize) -> f64,
    column: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut y = vec![0.0; h * w];
    for &(pr, pc, v) in points {
        let across: Vec<f64> = (0..w).map(|c| column(pc, c)).collect();
        for r in 0..h {
            let down = v * row(pr, r);
            for c in 0..w {
                y[r * w + c] += down * across[c];
            }
        }
    }
    y
}

/// `Z[k, l] = Σ v exp(-2πi (k r / h + l c / w))` for `l` = 0 … w/2, as (re, im) pairs.
pub fn half_spectrum(points: &Points, h: usize, w: usize) -> Vec<[f64; 2]> {
    let half = w / 2 + 1;
    let mut z = vec![[0.0; 2]; h * half];
    for &(r, c, v) in points {
        let across: Vec<(f64, f64)> = (0..half).map(|l| (-TAU * ((l * c) % w) as f64 / w as f64).sin_cos()).collect();
        for k in 0..h {
            let (s, co) = (-TAU * ((k * r) % h) as f64 / h as f64).sin_cos();
            for l in 0..half {
                let (sl, cl) = across[l];
                z[k * half + l][0] += v * (co * cl - s * sl);
                z[k * half + l][1] += v * (co * sl + s * cl);
            }
        }
    }
    z
}

/// The real and even gain `a + b cos(2π (k u / h + l v / w))` at a frequency.
pub fn gain([a, b]: [f64; 2], [u, v]: [usize; 2], k: usize, l: usize, h: usize, w: usize) -> f64 {
    let (s1, c1) = (TAU * ((k * u) % h) as f64 / h as f64).sin_cos();
    let (s2, c2) = (TAU * ((l * v) % w) as f64 / w as f64).sin_cos();
    a + b * (c1 * c2 - s1 * s2)
}

/// What that gain does to an image: `a x + b/2 (x moved by (u, v) + x moved by (-u, -v))`, periodic.
pub fn moved([a, b]: [f64; 2], [u, v]: [usize; 2], points: &Points, h: usize, w: usize) -> Vec<f64> {
    let mut y = vec![0.0; h * w];
    for &(r, c, value) in points {
        y[r * w + c] += a * value;
        y[((r + u) % h) * w + (c + v) % w] += b / 2.0 * value;
        y[((r + h - u % h) % h) * w + (c + w - v % w) % w] += b / 2.0 * value;
    }
    y
}
