//! The last step: a few iterations of Gauss-Newton on two smoothed proxies.
//!
//! Minimises `Σ w (p · noisy(y, x) + q − gt(y + dy, x + dx))²` over `p, q, dy, dx` where both pictures are, less a margin.
//! `gt` is interpolated by cubic convolution (R. Keys, 1981), residuals beyond 1.345 robust deviations get the weight
//! that makes them count like their magnitude (Huber). Sums are `f64` by rows, then over rows in order: results do not
//! depend on threads.

use rayon::prelude::*;

use crate::kernels::lane_sum;

/// The most that the step may change a component by, in pixels of the proxy.
pub(crate) const MOST: f64 = 0.15;
/// The psr from which on the step is tried.
pub(crate) const LEAST_PSR: f32 = 30.0;

const STEPS: usize = 6;
const MARGIN: i64 = 24;
/// Pixels of a side that must be left.
const LEAST: i64 = 48;

/// A Gaussian of one pixel, seven taps.
fn smooth(x: &[f32], width: usize) -> Vec<f32> {
    let height = x.len() / width;
    let taps: [f64; 7] = std::array::from_fn(|i| (-(i as f64 - 3.0).powi(2) / 2.0).exp());
    let total: f64 = taps.iter().sum();
    let taps = taps.map(|t| (t / total) as f32);
    let at = |i: usize, d: usize, n: usize| (i + d).saturating_sub(3).min(n - 1);
    let mut rows = vec![0.0f32; x.len()];
    rows.par_chunks_exact_mut(width).enumerate().for_each(|(y, out)| {
        for (d, tap) in taps.iter().enumerate() {
            let row = &x[at(y, d, height) * width..][..width];
            for (out, v) in out.iter_mut().zip(row) {
                *out += tap * v;
            }
        }
    });
    let mut out = vec![0.0f32; x.len()];
    out.par_chunks_exact_mut(width).zip(rows.par_chunks_exact(width)).for_each(|(out, row)| {
        for (x, out) in out.iter_mut().enumerate() {
            *out = taps.iter().enumerate().map(|(d, tap)| tap * row[at(x, d, width)]).sum();
        }
    });
    out
}

/// Keys' weights of the pixels −1, 0, 1, 2 at a fraction.
fn cubic(t: f64) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-t3 + 2.0 * t2 - t, 3.0 * t3 - 5.0 * t2 + 2.0, -3.0 * t3 + 4.0 * t2 + t, t3 - t2].map(|v| (v / 2.0) as f32)
}

/// Solves a symmetric system of four equations; `None` when it is singular.
fn solve(mut a: [[f64; 4]; 4], mut b: [f64; 4]) -> Option<[f64; 4]> {
    for i in 0..4 {
        let pivot = (i..4).max_by(|&r, &s| a[r][i].abs().total_cmp(&a[s][i].abs()))?;
        a.swap(i, pivot);
        b.swap(i, pivot);
        if a[i][i].abs() < 1e-12 {
            return None;
        }
        for r in i + 1..4 {
            let factor = a[r][i] / a[i][i];
            for c in i..4 {
                a[r][c] -= factor * a[i][c];
            }
            b[r] -= factor * b[i];
        }
    }
    let mut x = [0.0; 4];
    for i in (0..4).rev() {
        let known: f64 = (i + 1..4).map(|c| a[i][c] * x[c]).sum();
        x[i] = (b[i] - known) / a[i][i];
    }
    Some(x)
}

/// The part of the pictures that a step looks at.
struct Field<'a> {
    gt: &'a [f32],
    noisy: &'a [f32],
    width: usize,
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Field<'_> {
    /// `gt` at a shift, `rows + 2` by `columns + 2`: one pixel more on each side, for slopes.
    fn shifted(&self, d: [f64; 2]) -> Vec<f32> {
        let whole = d.map(f64::floor);
        let (wy, wx) = (cubic(d[0] - whole[0]), cubic(d[1] - whole[1]));
        let (wide, tall) = (self.columns + 2, self.rows + 2);
        let mut out = vec![0.0f32; wide * tall];
        out.par_chunks_exact_mut(wide).enumerate().with_min_len(8).for_each_init(
            || vec![0.0f32; wide + 3],
            |line, (r, out)| {
                let y = (self.top + r) as i64 - 1 + whole[0] as i64;
                let x = self.left as i64 - 1 + whole[1] as i64;
                line.fill(0.0);
                for (k, weight) in wy.iter().enumerate() {
                    let start = (y + k as i64 - 1) as usize * self.width + (x - 1) as usize;
                    for (sum, v) in line.iter_mut().zip(&self.gt[start..start + wide + 3]) {
                        *sum += weight * v;
                    }
                }
                for (c, out) in out.iter_mut().enumerate() {
                    *out = wx[0] * line[c] + wx[1] * line[c + 1] + wx[2] * line[c + 2] + wx[3] * line[c + 3];
                }
            },
        );
        out
    }

    fn noisy_row(&self, r: usize) -> &[f32] {
        &self.noisy[(self.top + r) * self.width + self.left..][..self.columns]
    }

    /// 1.4826 times the median of the residuals' magnitudes, from a part of the rows.
    fn deviation(&self, gt: &[f32], p: f64, q: f64) -> f64 {
        let wide = self.columns + 2;
        let mut all: Vec<f32> = Vec::new();
        for r in (0..self.rows).step_by(self.rows.div_ceil(64)) {
            let row = &gt[(r + 1) * wide + 1..][..self.columns];
            all.extend(
                self.noisy_row(r).iter().zip(row).map(|(n, g)| (p * f64::from(*n) + q - f64::from(*g)).abs() as f32),
            );
        }
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable_by(middle, f32::total_cmp);
        1.4826 * f64::from(*median)
    }

    /// One step from `(p, q, dy, dx)`: what to add.
    fn step(&self, [p, q, dy, dx]: [f64; 4]) -> Option<[f64; 4]> {
        let gt = self.shifted([dy, dx]);
        let wide = self.columns + 2;
        let limit = (1.345 * self.deviation(&gt, p, q)).max(1e-6);
        let rows: Vec<[f64; 14]> = (0..self.rows)
            .into_par_iter()
            .with_min_len(8)
            .map(|r| {
                let (above, here, below) = (&gt[r * wide..], &gt[(r + 1) * wide..], &gt[(r + 2) * wide..]);
                let mut sums = [0.0; 14];
                for (x, &n) in self.noisy_row(r).iter().enumerate() {
                    let n = f64::from(n);
                    let residual = p * n + q - f64::from(here[x + 1]);
                    let weight = if residual.abs() > limit { limit / residual.abs() } else { 1.0 };
                    let slope = |a: f32, b: f32| -0.5 * f64::from(a - b);
                    let j = [n, 1.0, slope(below[x + 1], above[x + 1]), slope(here[x + 2], here[x])];
                    let mut k = 0;
                    for a in 0..4 {
                        for b in a..4 {
                            sums[k] += weight * j[a] * j[b];
                            k += 1;
                        }
                    }
                    for a in 0..4 {
                        sums[10 + a] += weight * j[a] * residual;
                    }
                }
                sums
            })
            .collect();
        let sum = |k: usize| lane_sum(rows.len(), |r| rows[r][k]);
        let (mut a, mut k) = ([[0.0; 4]; 4], 0);
        for i in 0..4 {
            for j in i..4 {
                a[i][j] = sum(k);
                a[j][i] = a[i][j];
                k += 1;
            }
        }
        solve(a, [10, 11, 12, 13].map(|k| -sum(k)))
    }
}

/// A better shift than `start`, in pixels of the proxy, or `None` where the step cannot be trusted: too little in common,
/// a singular system, or a component that would change by more than [`MOST`].
pub(crate) fn refine(gt: &[f32], noisy: &[f32], [height, width]: [usize; 2], start: [f64; 2]) -> Option<[f64; 2]> {
    let axis = |n: usize, d: f64| {
        // Room for the cubic's reach and the change that is allowed.
        let (low, high) =
            (MARGIN.max(MARGIN - d.floor() as i64), (n as i64 - MARGIN).min(n as i64 - MARGIN - d.ceil() as i64));
        (high - low >= LEAST).then_some((low as usize, (high - low) as usize))
    };
    let ((top, rows), (left, columns)) = (axis(height, start[0])?, axis(width, start[1])?);
    let (gt, noisy) = (smooth(gt, width), smooth(noisy, width));
    let field = Field { gt: &gt, noisy: &noisy, width, top, left, rows, columns };
    let mut at = [1.0, 0.0, start[0], start[1]];
    for _ in 0..STEPS {
        let step = field.step(at)?;
        for (v, d) in at.iter_mut().zip(step) {
            *v += d;
        }
        let far = |k: usize| (at[k] - start[k - 2]).abs();
        if at.iter().any(|v| !v.is_finite()) || far(2) > MOST || far(3) > MOST {
            return None;
        }
        if step[2].abs().max(step[3].abs()) < 1e-4 {
            break;
        }
    }
    Some([at[2], at[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth picture at any place.
    fn value(y: f64, x: f64) -> f32 {
        (0.5 + 0.2 * (0.21 * y + 0.05 * x).sin()
            + 0.15 * (0.17 * x - 0.02 * y).cos()
            + 0.1 * (0.013 * x * y / 10.0).sin()) as f32
    }

    #[test]
    fn a_fraction_of_a_pixel_is_found() {
        let size = [150, 170];
        let plane = |dy: f64, dx: f64, gain: f32| -> Vec<f32> {
            (0..size[0] * size[1]).map(|i| gain * value((i / size[1]) as f64 + dy, (i % size[1]) as f64 + dx)).collect()
        };
        let gt = plane(0.0, 0.0, 1.0);
        let noisy = plane(4.3, -7.62, 0.5);
        let found = refine(&gt, &noisy, size, [4.38, -7.55]).unwrap();
        assert!((found[0] - 4.3).abs() < 0.01 && (found[1] + 7.62).abs() < 0.01, "{found:?}");
        assert_eq!(refine(&gt, &noisy, size, [4.9, -7.55]), None, "too far away");
        assert_eq!(refine(&gt, &noisy, size, [80.0, 0.0]), None, "too little in common");
        assert_eq!(refine(&vec![0.5; gt.len()], &noisy, size, [0.0, 0.0]), None, "nothing to see");
    }
}
