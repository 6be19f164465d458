//! The two formulas in scalar `f64` loops.

/// `a x + y`.
pub fn axpy(a: f64, x: &[f64], y: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for i in 0..y.len() {
        out.push(a * x[i] + y[i]);
    }
    out
}

/// Rows of `width` filtered with `w`; beyond an end the row runs backwards.
pub fn row_blur(x: &[f64], width: usize, w: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for start in (0..x.len()).step_by(width.max(1)) {
        for c in 0..width {
            let mut sum = 0.0;
            for k in 0..w.len() {
                // Steps from the column, turning round at the ends as often as needed.
                let mut at = c as i64 + k as i64 - (w.len() / 2) as i64;
                loop {
                    if at < 0 {
                        at = -1 - at;
                    } else if at >= width as i64 {
                        at = 2 * width as i64 - 1 - at;
                    } else {
                        break;
                    }
                }
                sum += w[k] * x[start + at as usize];
            }
            out.push(sum);
        }
    }
    out
}
