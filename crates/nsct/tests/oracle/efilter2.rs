//! Periodic convolution centred at `(floor(Hf/2), floor(Wf/2))`:
//! `y[r, c] = Σ_{a,b} f[a, b] x[(r + floor(Hf/2) - a) mod H, (c + floor(Wf/2) - b) mod W]`.

use super::modulo;

/// `x` is `h * w`, the filter `fh * fw`; the result has the size of `x`.
pub fn efilter2(x: &[f64], h: usize, w: usize, f: &[f64], fh: usize, fw: usize) -> Vec<f64> {
    let mut y = vec![0.0; h * w];
    for r in 0..h {
        for c in 0..w {
            let mut sum = 0.0;
            for a in 0..fh {
                for b in 0..fw {
                    let row = modulo(r as i64 + (fh / 2) as i64 - a as i64, h);
                    let column = modulo(c as i64 + (fw / 2) as i64 - b as i64, w);
                    sum += f[a * fw + b] * x[row * w + column];
                }
            }
            y[r * w + c] = sum;
        }
    }
    y
}
