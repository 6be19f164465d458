//! The transforms of the spectral engine from their definitions: a plane is a sum of outer products of a column and a
//! row, so that even a large one costs no more than sums over lines.

use std::f64::consts::{PI, TAU};

/// `x[r, c] = Σ down[r] across[c]`.
pub type Terms = [(Vec<f64>, Vec<f64>)];

/// The plane itself.
pub fn plane(terms: &Terms, h: usize, w: usize) -> Vec<f64> {
    outer(terms, h, w, <[f64]>::to_vec)
}

/// `X[i, j] = Σ x[r, c] cos(π i (2r + 1) / 2h) cos(π j (2c + 1) / 2w)`.
pub fn cosine(terms: &Terms, h: usize, w: usize) -> Vec<f64> {
    outer(terms, h, w, |x| {
        let (n, cosines) = (x.len(), quarter_cosines(x.len()));
        (0..n).map(|i| walk(x, i, 2 * i, 4 * n).map(|(v, at)| v * cosines[at]).sum()).collect()
    })
}

/// `y[r, c] = Σ e_i e_j x[i, j] cos(π i (2r + 1) / 2h) cos(π j (2c + 1) / 2w)` with `e_0` = 1 and 2 elsewhere.
pub fn inverse_cosine(terms: &Terms, h: usize, w: usize) -> Vec<f64> {
    outer(terms, h, w, |x| {
        let (n, cosines) = (x.len(), quarter_cosines(x.len()));
        (0..n).map(|r| 2.0 * walk(x, 0, 2 * r + 1, 4 * n).map(|(v, at)| v * cosines[at]).sum::<f64>() - x[0]).collect()
    })
}

/// `cos(π m / 2n)` for a whole turn.
fn quarter_cosines(n: usize) -> Vec<f64> {
    (0..4 * n).map(|m| (PI * m as f64 / (2 * n) as f64).cos()).collect()
}

/// Values beside `start`, `start + step`, `start + 2 step`, …, each modulo `turn`, where `step < turn`.
fn walk(x: &[f64], start: usize, step: usize, turn: usize) -> impl Iterator<Item = (f64, usize)> {
    let next = move |at: &usize| Some(if at + step < turn { at + step } else { at + step - turn });
    x.iter().copied().zip(std::iter::successors(Some(start), next))
}

fn outer(terms: &Terms, h: usize, w: usize, transform: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut y = vec![0.0; h * w];
    for (down, across) in terms {
        let (down, across) = (transform(down), transform(across));
        for (row, d) in y.chunks_mut(w).zip(down) {
            row.iter_mut().zip(&across).for_each(|(y, a)| *y += d * a);
        }
    }
    y
}

/// `Z[k, l] = Σ x[r, c] exp(-2πi (k r / h + l c / w))` for `l` = 0 … w/2, as (re, im) pairs.
pub fn half_spectrum(terms: &Terms, h: usize, w: usize) -> Vec<[f64; 2]> {
    let half = w / 2 + 1;
    let mut z = vec![[0.0; 2]; h * half];
    for (down, across) in terms {
        let (down, across) = (spectrum(down), spectrum(across));
        for (row, d) in z.chunks_mut(half).zip(down) {
            for (z, a) in row.iter_mut().zip(&across) {
                z[0] += d[0] * a[0] - d[1] * a[1];
                z[1] += d[0] * a[1] + d[1] * a[0];
            }
        }
    }
    z
}

fn spectrum(x: &[f64]) -> Vec<[f64; 2]> {
    let n = x.len();
    let roots: Vec<(f64, f64)> = (0..n).map(|m| (-TAU * m as f64 / n as f64).sin_cos()).collect();
    let at =
        |k: usize| walk(x, 0, k, n).fold([0.0, 0.0], |[re, im], (v, at)| [re + v * roots[at].1, im + v * roots[at].0]);
    (0..n).map(at).collect()
}

/// The real and even gain `a + b cos(2π (k u / h + l v / w))` at a frequency.
pub fn gain([a, b]: [f64; 2], [u, v]: [usize; 2], k: usize, l: usize, h: usize, w: usize) -> f64 {
    let (s1, c1) = (TAU * ((k * u) % h) as f64 / h as f64).sin_cos();
    let (s2, c2) = (TAU * ((l * v) % w) as f64 / w as f64).sin_cos();
    a + b * (c1 * c2 - s1 * s2)
}

/// What that gain does to an image: `a x + b/2 (x moved by (u, v) + x moved by (-u, -v))`, periodic.
pub fn moved([a, b]: [f64; 2], [u, v]: [usize; 2], x: &[f64], h: usize, w: usize) -> Vec<f64> {
    let at = |r: usize, c: usize| x[(r % h) * w + c % w];
    let sum = |r, c| a * at(r, c) + b / 2.0 * (at(r + h - u, c + w - v) + at(r + u, c + v));
    (0..h * w).map(|i| sum(i / w, i % w)).collect()
}
