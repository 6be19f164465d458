//! The arithmetic of the CPU twins: a window over a finished image, and the statistics of what comes out.

use rayon::prelude::*;

use super::net_elem::{NetElem, Plane};
use super::net_layer::Window;

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

/// `sums = Σ w x` of every output, one fused multiply-add after the other in the order channel, row, column; in the first
/// layer, the sums of rows are added with compensation (W. Kahan, "Further remarks on reducing truncation errors", 1965).
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
            if window == Window::First {
                // A row begins with what rounding took from the sums before.
                let mut part = vec![0.0f32; cout];
                for (i, weights) in weights.chunks_exact(side * cout).enumerate() {
                    products(x, i / side..i / side + 1, &rows[i % side..=i % side], &cols, weights, &mut part);
                    for (sum, part) in sums.iter_mut().zip(&mut part) {
                        let more = *sum + *part;
                        *part -= more - *sum;
                        *sum = more;
                    }
                }
            } else {
                products(x, 0..x.c, &rows, &cols, weights, sums);
            }
        }
    });
    out
}

/// The sums of one output pixel.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn products(
    x: &Finished,
    channels: std::ops::Range<usize>,
    rows: &[usize],
    cols: &[usize],
    weights: &[f32],
    sums: &mut [f32],
) {
    let mut weights = weights.chunks_exact(sums.len());
    for c in channels {
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

/// Records the statistics of one image's raw sums `[pixels][cout]`; how many channels have left the range.
pub(super) fn record<T: NetElem>(sums: &[f32], gamma_beta: &[f32], stats: &mut [T::Stat]) -> u32 {
    let cout = gamma_beta.len() / 2;
    let pixels = sums.len() / cout;
    let mut escaped = 0;
    for c in 0..cout {
        let channel = || sums.iter().skip(c).step_by(cout).map(|&v| f64::from(v));
        // Deviations from a member of the set, so that a plane of equal values has no variance.
        let pivot = f64::from(sums[c]);
        let mean = pivot + channel().map(|v| v - pivot).sum::<f64>() / pixels as f64;
        let variance = channel().map(|v| (v - mean) * (v - mean)).sum::<f64>() / pixels as f64;
        T::record(stats, c, Plane { pixels, mean, variance }, [gamma_beta[2 * c], gamma_beta[2 * c + 1]]);
        escaped += u32::from(channel().any(|v| T::escapes(v as f32)));
    }
    escaped
}

/// The coefficients of one image's channels, three a channel.
pub(super) fn coefficients<T: NetElem>(stats: &[T::Stat], gamma_beta: &[f32], pixels: usize) -> Vec<f32> {
    let channels = gamma_beta.len() / 2;
    let of = |c: usize| T::coefficients(stats, c, channels, pixels, [gamma_beta[2 * c], gamma_beta[2 * c + 1]]);
    (0..channels).flat_map(of).collect()
}
