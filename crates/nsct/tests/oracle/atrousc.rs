//! The valid part of the convolution with a filter upsampled by `step`:
//! `y[r, c] = Σ_{a,b} f[Hf-1-a, Wf-1-b] x[r + L - 1 + L a, c + L - 1 + L b]`, of size `(H - L Hf + 1) x (W - L Wf + 1)`.

/// The result and its size.
pub fn atrousc(
    x: &[f64],
    h: usize,
    w: usize,
    f: &[f64],
    fh: usize,
    fw: usize,
    step: usize,
) -> (Vec<f64>, usize, usize) {
    let (rows, columns) = (h + 1 - step * fh, w + 1 - step * fw);
    let mut y = vec![0.0; rows * columns];
    for r in 0..rows {
        for c in 0..columns {
            let mut sum = 0.0;
            for a in 0..fh {
                for b in 0..fw {
                    let value = x[(r + step - 1 + step * a) * w + c + step - 1 + step * b];
                    sum += f[(fh - 1 - a) * fw + fw - 1 - b] * value;
                }
            }
            y[r * columns + c] = sum;
        }
    }
    (y, rows, columns)
}
