//! The same problems in `f64` on the host, slowly and plainly: what solvers on devices are measured against.

use crate::blocks::{AREA, BLOCK, BlockDiag};
use crate::error::{AtaError, Result};
use crate::precision::{Precision, matrix_exponent, scaled, vector_exponent};

/// A matrix in `f64`, in the blocks of [`BlockDiag`].
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix64 {
    channels: usize,
    n: usize,
    offsets: Vec<u32>,
    blocks: Vec<f64>,
}

impl Matrix64 {
    /// From blocks `[C, D, nb, 16, 16]`.
    pub fn new(channels: usize, n: usize, offsets: Vec<u32>, blocks: Vec<f64>) -> Result<Self> {
        let wanted = [channels, offsets.len(), n.div_ceil(BLOCK), BLOCK, BLOCK];
        if blocks.len() != wanted.iter().product::<usize>() {
            return Err(AtaError::shape("blocks", wanted, &[blocks.len()]));
        }
        crate::blocks::check_offsets(&offsets, n.div_ceil(BLOCK))?;
        Ok(Self { channels, n, offsets, blocks })
    }

    /// Widens a matrix.
    pub fn of(a: &BlockDiag) -> Self {
        let blocks = a.blocks().iter().map(|&v| f64::from(v)).collect();
        Self { channels: a.channels(), n: a.n(), offsets: a.offsets().to_vec(), blocks }
    }

    /// Channels and rows.
    pub fn size(&self) -> [usize; 2] {
        [self.channels, self.n]
    }

    /// What a precision makes of `A x` when nothing but its operands is rounded: the product of the rounded pieces in
    /// `f64`, and that of their magnitudes. `x` is `[F, C, n]`.
    pub fn rounded_product(a: &BlockDiag, precision: Precision, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let [channels, n] = [a.channels(), a.n()];
        let largest = |values: &[f32]| values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let exponent = |values: &[f32], of: fn(f32) -> i32| if precision.is_scaled() { of(largest(values)) } else { 0 };
        let piece = |v: f32, e: i32, p: usize| f64::from(precision.split(scaled(v, e))[p]) * 2f64.powi(-e);
        let each = a.blocks().len() / channels;
        let matrix = |p: usize| Self {
            blocks: a
                .blocks()
                .chunks_exact(each)
                .flat_map(|values| {
                    let e = exponent(values, matrix_exponent);
                    values.iter().map(move |&v| piece(v, e, p))
                })
                .collect(),
            ..Self::of(a)
        };
        let vectors = |p: usize| -> Vec<f64> {
            x.chunks_exact(n)
                .flat_map(|line| {
                    let e = exponent(line, vector_exponent);
                    line.iter().map(move |&v| piece(v, e, p))
                })
                .collect()
        };
        let (mut y, mut w) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for &(p, q) in precision.products() {
            let (part, magnitude) = matrix(p).product(&vectors(q));
            y.iter_mut().zip(part).for_each(|(y, v)| *y += v);
            w.iter_mut().zip(magnitude).for_each(|(w, v)| *w += v);
        }
        (y, w)
    }

    fn each(&self, c: usize, mut f: impl FnMut(usize, usize, f64)) {
        let nb = self.n.div_ceil(BLOCK);
        for (k, &d) in self.offsets.iter().enumerate() {
            for i in 0..nb.saturating_sub(d as usize) {
                let block = &self.blocks[((c * self.offsets.len() + k) * nb + i) * AREA..][..AREA];
                for (at, &v) in block.iter().enumerate() {
                    let (row, column) = (BLOCK * i + at / BLOCK, BLOCK * (i + d as usize) + at % BLOCK);
                    if v != 0.0 && row < self.n && column < self.n {
                        f(row, column, v);
                        if d > 0 {
                            f(column, row, v);
                        }
                    }
                }
            }
        }
    }

    /// `A x` and `|A| |x|` of `[F, C, n]`.
    pub fn product(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut w) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let frames = x.len() / (self.channels * self.n);
        for c in 0..self.channels {
            let lines: Vec<usize> = (0..frames).map(|f| (f * self.channels + c) * self.n).collect();
            self.each(c, |i, j, v| {
                for &line in &lines {
                    y[line + i] += v * x[line + j];
                    w[line + i] += (v * x[line + j]).abs();
                }
            });
        }
        (y, w)
    }

    /// `Σ |a_ij|` of the rows, `[C, n]`.
    pub fn row_sums(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.channels * self.n];
        for c in 0..self.channels {
            self.each(c, |i, _, v| out[c * self.n + i] += v.abs());
        }
        out
    }

    /// Non-zeros of the rows, `[C, n]`.
    pub fn row_counts(&self) -> Vec<usize> {
        let mut out = vec![0; self.channels * self.n];
        for c in 0..self.channels {
            self.each(c, |i, _, _| out[c * self.n + i] += 1);
        }
        out
    }

    /// `½ xᵀAx - bᵀx` of every frame and channel.
    pub fn objective(&self, x: &[f64], b: &[f64]) -> Vec<f64> {
        let (y, _) = self.product(x);
        let lines = x.chunks_exact(self.n).zip(y.chunks_exact(self.n)).zip(b.chunks_exact(self.n));
        lines.map(|((x, y), b)| x.iter().zip(y).zip(b).map(|((x, y), b)| x * (0.5 * y - b)).sum()).collect()
    }

    /// `clip(b / ρ)` inside [0, 1].
    pub fn start(&self, b: &[f64]) -> Vec<f64> {
        let rho = self.row_sums();
        let one = |(i, &b): (usize, &f64)| {
            let rho = rho[i % rho.len()];
            if rho > 0.0 { (b / rho).clamp(0.0, 1.0) } else { 0.0 }
        };
        b.iter().enumerate().map(one).collect()
    }

    /// Iterates of Fista inside [0, 1] after each of `marks` (ascending) iterations, from [`start`](Self::start).
    pub fn fista(&self, b: &[f64], marks: &[usize]) -> Vec<Vec<f64>> {
        let (rho, n) = (self.row_sums(), self.n);
        let mut x = self.start(b);
        let mut y = x.clone();
        let mut t = vec![1.0f64; x.len() / n];
        let mut out = Vec::new();
        for k in 0..=marks.last().copied().unwrap_or(0) {
            out.extend(marks.iter().filter(|&&m| m == k).map(|_| x.clone()));
            let (ay, _) = self.product(&y);
            for (line, t) in t.iter_mut().enumerate() {
                let at = line * n..(line + 1) * n;
                let rho = &rho[line % self.channels * n..][..n];
                let (x, y) = (&mut x[at.clone()], &mut y[at.clone()]);
                let (ay, b) = (&ay[at.clone()], &b[at]);
                let next: Vec<f64> = (0..n)
                    .map(|i| if rho[i] > 0.0 { (y[i] - (ay[i] - b[i]) / rho[i]).clamp(0.0, 1.0) } else { 0.0 })
                    .collect();
                let test: f64 = (0..n).map(|i| rho[i] * (y[i] - next[i]) * (next[i] - x[i])).sum();
                let (after, beta) = if test > 0.0 {
                    (f64::midpoint(1.0, 5f64.sqrt()), 0.0)
                } else {
                    let after = f64::midpoint(1.0, (1.0 + 4.0 * *t * *t).sqrt());
                    (after, (*t - 1.0) / after)
                };
                for i in 0..n {
                    y[i] = next[i] + beta * (next[i] - x[i]);
                    x[i] = next[i];
                }
                *t = after;
            }
        }
        out
    }

    /// Iterates of steepest descent inside [0, 1] after each of `marks` iterations, from [`start`](Self::start); one
    /// length a frame, 0.9 of the best without bounds.
    pub fn steepest_descent(&self, b: &[f64], marks: &[usize]) -> Vec<Vec<f64>> {
        let mut x = self.start(b);
        let each = self.channels * self.n;
        let mut out = Vec::new();
        for k in 0..=marks.last().copied().unwrap_or(0) {
            out.extend(marks.iter().filter(|&&m| m == k).map(|_| x.clone()));
            let (ax, _) = self.product(&x);
            let g: Vec<f64> = ax.iter().zip(b).map(|(ax, b)| ax - b).collect();
            let (ag, _) = self.product(&g);
            for ((x, g), ag) in x.chunks_exact_mut(each).zip(g.chunks_exact(each)).zip(ag.chunks_exact(each)) {
                let gg: f64 = g.iter().map(|g| g * g).sum();
                let gag: f64 = g.iter().zip(ag).map(|(g, ag)| g * ag).sum();
                let alpha = if gag > 0.0 { 0.9 * gg / gag } else { 0.0 };
                x.iter_mut().zip(g).for_each(|(x, g)| *x = (*x - alpha * g).clamp(0.0, 1.0));
            }
        }
        out
    }
}
