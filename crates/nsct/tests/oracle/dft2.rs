//! The two-dimensional Fourier transform and its inverse, by their definitions, one axis after the other:
//! `X[i] = Σ_r x[r] e^{-2π i r √-1 / n}`, `x[r] = (1/n) Σ_i X[i] e^{2π i r √-1 / n}`.

use std::f64::consts::TAU;

/// Real part and imaginary part, each `h * w`.
pub type Spectrum = (Vec<f64>, Vec<f64>);

fn both_axes((re, im): &Spectrum, h: usize, w: usize, sign: f64) -> Spectrum {
    let pass = |(re, im): &Spectrum, n: usize, at: &dyn Fn(usize, usize) -> usize, lines: usize| {
        let mut out = (vec![0.0; h * w], vec![0.0; h * w]);
        for line in 0..lines {
            for k in 0..n {
                for m in 0..n {
                    let (s, c) = (sign * TAU * ((k * m) % n) as f64 / n as f64).sin_cos();
                    let (x, y) = (re[at(line, m)], im[at(line, m)]);
                    out.0[at(line, k)] += x * c - y * s;
                    out.1[at(line, k)] += x * s + y * c;
                }
            }
        }
        out
    };
    let columns_done = pass(&(re.clone(), im.clone()), h, &|line, k| k * w + line, w);
    pass(&columns_done, w, &|line, k| line * w + k, h)
}

/// Forward, without normalisation.
pub fn dft2(x: &[f64], h: usize, w: usize) -> Spectrum {
    both_axes(&(x.to_vec(), vec![0.0; h * w]), h, w, -1.0)
}

/// Real part of the inverse of [`dft2`].
pub fn idft2(spectrum: &Spectrum, h: usize, w: usize) -> Vec<f64> {
    both_axes(spectrum, h, w, 1.0).0.into_iter().map(|v| v / (h * w) as f64).collect()
}
