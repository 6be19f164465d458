//! The arithmetic of the CPU twins: a window over a finished image, and the statistics of what comes out.

use rayon::prelude::*;

use super::net_layer::{NetElem, NetParams, Window};

/// One image, finished (norm, sum, ReLU, rounded to its element type) and widened, channels last.
pub(super) struct Finished {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
    pub(super) values: Vec<f32>,
}

/// Mirrors an index at both ends without repeating them.
pub(super) fn reflected(i: isize, n: usize) -> usize {
    let n = n as isize;
    let i = if i < 0 { -i } else { i };
    let i = if i >= n { 2 * (n - 1) - i } else { i };
    i.clamp(0, n - 1) as usize
}

/// `sums = Σ w x` of every output, one fused multiply-add after the other in the order channel, row, column.
pub(super) fn convolve(x: &Finished, window: Window, weights: &[f32], cout: usize, to: [usize; 2]) -> Vec<f32> {
    let [ho, wo] = to;
    let (side, pad) = (window.side(), if window == Window::Up { 1 } else { window.side() / 2 });
    let stride = if window == Window::Down { 2 } else { 1 };
    let mut out = vec![0.0; ho * wo * cout];
    out.par_chunks_mut(wo * cout).enumerate().for_each(|(i, row)| {
        for (j, sums) in row.chunks_mut(cout).enumerate() {
            let (phase, i, j) = if window == Window::Up { (i % 2 * 2 + j % 2, i / 2, j / 2) } else { (0, i, j) };
            let (dy, dx) = if window == Window::Up { (phase / 2, phase % 2) } else { (0, 0) };
            let border = |at: usize, n: usize| {
                let at = at as isize - pad as isize;
                if window == Window::Up { at.clamp(0, n as isize - 1) as usize } else { reflected(at, n) }
            };
            let rows: Vec<usize> = (0..side).map(|u| border(i * stride + u + dy, x.h)).collect();
            let cols: Vec<usize> = (0..side).map(|v| border(j * stride + v + dx, x.w)).collect();
            let weights = &weights[phase * x.c * side * side * cout..][..x.c * side * side * cout];
            products(x, &rows, &cols, weights, sums);
        }
    });
    out
}

/// The sums of one output pixel.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn products(x: &Finished, rows: &[usize], cols: &[usize], weights: &[f32], sums: &mut [f32]) {
    let mut weights = weights.chunks_exact(sums.len());
    for c in 0..x.c {
        for &row in rows {
            for &col in cols {
                let value = x.values[(row * x.w + col) * x.c + c];
                for (sum, &w) in sums.iter_mut().zip(weights.next().unwrap_or_default()) {
                    *sum = value.mul_add(w, *sum);
                }
            }
        }
    }
}

/// The coefficients of one image's raw sums `[pixels][cout]`, and how many channels have left the range.
pub(super) fn coefficients<T: NetElem>(sums: &[f32], p: &NetParams, gamma_beta: &[f32], out: &mut [f32]) -> u32 {
    let cout = p.cout as usize;
    let pixels = (sums.len() / cout) as f64;
    let mut escaped = 0;
    for (c, out) in out.chunks_exact_mut(T::COEFFICIENTS).enumerate() {
        let channel = || sums.iter().skip(c).step_by(cout).map(|&v| f64::from(v));
        // Deviations from a member of the set, so that a plane of equal values has no variance.
        let pivot = f64::from(sums[c]);
        let mean = pivot + channel().map(|v| v - pivot).sum::<f64>() / pixels;
        let variance = channel().map(|v| (v - mean) * (v - mean)).sum::<f64>() / pixels;
        let (gamma, beta) = (gamma_beta[2 * c], gamma_beta[2 * c + 1]);
        out.copy_from_slice(&T::coefficients(mean, variance, gamma, beta, p.eps)[..T::COEFFICIENTS]);
        escaped += u32::from(channel().any(|v| T::escapes(v as f32)));
    }
    escaped
}
