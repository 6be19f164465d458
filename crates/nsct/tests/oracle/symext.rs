//! Half-sample symmetric extension for a filter of size `(p, q)`, shifted by `(s1, s2)`:
//! `y[i, j] = x[mir(i - floor(q/2) + s2 - 1, H), mir(j - floor(p/2) + s1 - 1, W)]`, of size `(H + p - 1) x (W + q - 1)`.

use super::mirror;

/// The result and its size.
pub fn symext(x: &[f64], h: usize, w: usize, (p, q): (usize, usize), (s1, s2): (i64, i64)) -> (Vec<f64>, usize, usize) {
    let (rows, columns) = (h + p - 1, w + q - 1);
    let mut y = vec![0.0; rows * columns];
    for i in 0..rows {
        for j in 0..columns {
            let row = mirror(i as i64 - (q / 2) as i64 + s2 - 1, h);
            let column = mirror(j as i64 - (p / 2) as i64 + s1 - 1, w);
            y[i * columns + j] = x[row * w + column];
        }
    }
    (y, rows, columns)
}
