//! The operations of a transformer in plain f64 loops, straight from their formulas. They share no code with the library.

/// `[rows][width]`.
pub type Rows = Vec<Vec<f64>>;

/// `x wᵀ + bias`, weights `[outputs][inputs]`. With `absolute` of absolute values, for bounds.
pub fn linear(x: &Rows, w: &Rows, bias: &[f64], absolute: bool) -> Rows {
    let pick = |v: f64| if absolute { v.abs() } else { v };
    let of = |row: &Vec<f64>| {
        w.iter().zip(bias).map(|(w, b)| pick(*b) + w.iter().zip(row).map(|(w, x)| pick(w * x)).sum::<f64>()).collect()
    };
    x.iter().map(of).collect()
}

pub fn gelu(z: f64) -> f64 {
    z / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z.powi(3))).tanh())
}

/// Mean and biased variance of a row.
pub fn moments(row: &[f64]) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    (mean, row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
}

pub fn layer_norm(x: &Rows, gamma: &[f64], beta: &[f64], eps: f64) -> Rows {
    let of = |row: &Vec<f64>| {
        let (mean, variance) = moments(row);
        let norm = |(i, v): (usize, &f64)| (v - mean) / (variance + eps).sqrt() * gamma[i] + beta[i];
        row.iter().enumerate().map(norm).collect()
    };
    x.iter().map(of).collect()
}

/// Where a window begins and ends in a direction of `n` tokens: the one that holds token `i`.
fn window_of(i: usize, n: usize, side: usize, shifted: bool) -> std::ops::Range<usize> {
    let cuts: Vec<usize> = if shifted {
        std::iter::once(0).chain((side / 2..n).step_by(side)).chain(std::iter::once(n)).collect()
    } else {
        (0..=n).step_by(side).collect()
    };
    let at = cuts.windows(2).position(|w| w[0] <= i && i < w[1]).unwrap();
    cuts[at]..cuts[at + 1]
}

/// Heads of every token from Q, K, V side by side, one image of `[rows, cols]`.
pub fn windows(
    qkv: &Rows,
    global: &[f64],
    [rows, cols]: [usize; 2],
    heads: usize,
    side: usize,
    scale: f64,
    shifted: bool,
) -> Rows {
    let dim = global.len() / 3;
    let width = dim / heads;
    let mut out = Vec::new();
    for r in 0..rows {
        for c in 0..cols {
            let mut keys: Vec<&[f64]> = Vec::new();
            for y in window_of(r, rows, side, shifted) {
                for x in window_of(c, cols, side, shifted) {
                    keys.push(&qkv[y * cols + x]);
                }
            }
            keys.push(global);
            let mut token = Vec::new();
            for h in 0..heads {
                let query = &qkv[r * cols + c][h * width..(h + 1) * width];
                let logit = |key: &&[f64]| -> f64 {
                    scale * query.iter().zip(&key[dim + h * width..]).map(|(q, k)| q * k).sum::<f64>()
                };
                let logits: Vec<f64> = keys.iter().map(logit).collect();
                let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = logits.iter().map(|l| (l - most).exp()).collect();
                let all: f64 = weights.iter().sum();
                for i in 0..width {
                    let value = |(key, w): (&&[f64], &f64)| w / all * key[2 * dim + h * width + i];
                    token.push(keys.iter().zip(&weights).map(value).sum());
                }
            }
            out.push(token);
        }
    }
    out
}
