//! One application of a pyramid's mapping with mirror boundary: `F_L x = 2 P_rows P_columns x - x`, where
//! `(P_rows v)[r, c] = Σ_k P[k] v[mir(r - k L, H), c]`.

use super::mirror;

/// `half` is P from its centre outwards, `dilation` is L.
pub fn pyramid_map(x: &[f64], h: usize, w: usize, half: &[f64], dilation: i64) -> Vec<f64> {
    let reach = half.len() as i64 - 1;
    let mut rows = vec![0.0; h * w];
    for r in 0..h {
        for c in 0..w {
            for k in -reach..=reach {
                rows[r * w + c] += half[k.unsigned_abs() as usize] * x[mirror(r as i64 - k * dilation, h) * w + c];
            }
        }
    }
    let mut y = vec![0.0; h * w];
    for r in 0..h {
        for c in 0..w {
            let mut sum = 0.0;
            for k in -reach..=reach {
                sum += half[k.unsigned_abs() as usize] * rows[r * w + mirror(c as i64 - k * dilation, w)];
            }
            y[r * w + c] = 2.0 * sum - x[r * w + c];
        }
    }
    y
}
