//! Denoising, fusion and features, plane by plane.

use super::mirror;

/// 0 below the threshold.
pub fn hard_threshold(y: &[f64], threshold: f64) -> Vec<f64> {
    y.iter().map(|&v| if v.abs() < threshold { 0.0 } else { v }).collect()
}

/// Mean of squares over `2 half + 1` rows and columns around each pixel.
pub fn box_square(x: &[f64], h: usize, w: usize, half: usize) -> Vec<f64> {
    let half = half as i64;
    let mut y = Vec::new();
    for r in 0..h as i64 {
        for c in 0..w as i64 {
            let mut sum = 0.0;
            for i in r - half..=r + half {
                for j in c - half..=c + half {
                    let v = x[mirror(i, h) * w + mirror(j, w)];
                    sum += v * v;
                }
            }
            y.push(sum / ((2 * half + 1) * (2 * half + 1)) as f64);
        }
    }
    y
}

/// One coefficient with its parent, the local energy around it and the variance of the noise.
pub fn bivariate(y: f64, parent: f64, energy: f64, variance: f64) -> f64 {
    let m = (y * y + parent * parent).sqrt();
    let signal = energy - variance;
    if energy.is_nan() || m.is_nan() {
        return f64::NAN;
    }
    if signal <= 0.0 {
        return 0.0;
    }
    let t = 3.0_f64.sqrt() * variance / signal.sqrt();
    if m > t { y * (m - t) / m } else { 0.0 }
}

/// The larger in magnitude, the first of equal ones; NaN where there is one.
pub fn larger(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => a,
        (_, true) => b,
        _ if b.abs() > a.abs() => b,
        _ => a,
    }
}

/// The element with the higher score and that score, the first of equal ones; a NaN score is the highest.
pub fn better((a, e): (f64, f64), (b, f): (f64, f64)) -> (f64, f64) {
    match (e.is_nan(), f.is_nan()) {
        (true, _) => (a, e),
        (_, true) => (b, f),
        _ if f > e => (b, f),
        _ => (a, e),
    }
}

/// Sum, sum of magnitudes, sum of squares, largest magnitude of `x - shift`. NaN is not a magnitude.
pub fn sums(x: &[f64], shift: f64) -> [f64; 4] {
    let mut out = [0.0; 4];
    for v in x {
        let v = v - shift;
        out[0] += v;
        out[1] += v.abs();
        out[2] += v * v;
        if v.abs() > out[3] {
            out[3] = v.abs();
        }
    }
    out
}

/// Those of the whole from those of its parts.
pub fn fold(figures: &[f64]) -> [f64; 4] {
    let mut out = [0.0; 4];
    for part in figures.chunks(4) {
        for i in 0..3 {
            out[i] += part[i];
        }
        if part[3] > out[3] {
            out[3] = part[3];
        }
    }
    out
}

/// How many magnitudes lie in each of 256 bins up to `bound`.
pub fn histogram(x: &[f64], bound: f64) -> Vec<f64> {
    let mut counts = vec![0.0; 256];
    for v in x {
        let position = v.abs() / bound * 256.0;
        let bin = if position.is_nan() { 0 } else { (position.floor().min(255.0)) as usize };
        counts[bin] += 1.0;
    }
    counts
}

/// Of the magnitudes whose bits above the digit are `prefix`, how many have each digit.
pub fn digits(x: &[f64], prefix: u64, shift: u32, width: u32) -> Vec<f64> {
    let mut counts = vec![0.0; 4096];
    for v in x {
        let bits = if v.is_nan() { 0x7FF8_0000_0000_0000 } else { v.abs().to_bits() };
        let text = format!("{bits:064b}");
        let end = 64 - shift as usize;
        let start = end - width as usize;
        let above = u64::from_str_radix(&text[..start], 2).unwrap_or(0);
        if above == prefix {
            counts[usize::from_str_radix(&text[start..end], 2).expect("binary digits")] += 1.0;
        }
    }
    counts
}
