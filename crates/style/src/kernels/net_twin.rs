//! The arithmetic of the CPU twins: a window over a finished image, and the statistics of what comes out.

use std::ops::Range;

use rayon::prelude::*;

use super::net_elem::{NetElem, Plane};
use super::net_layer::Window;

/// One image, or some rows of it, finished (norm, sum, ReLU, rounded to its element type) and widened, channels last.
pub(super) struct Finished {
    /// Of the rows that are here.
    pub(super) first: usize,
    /// Of the whole image.
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
/// Only these rows of the output, which has `wo` columns.
pub(super) fn convolve(
    x: &Finished,
    window: Window,
    weights: &[f32],
    cout: usize,
    output: Range<usize>,
    wo: usize,
) -> Vec<f32> {
    let (side, pad) = (window.side(), if window == Window::Up { 1 } else { window.side() / 2 });
    let stride = if window == Window::Down { 2 } else { 1 };
    let mut out = vec![0.0; output.len() * wo * cout];
    out.par_chunks_mut(wo * cout).enumerate().for_each(|(i, row)| {
        let i = i + output.start;
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
                let value = x.values[((row - x.first) * x.w + col) * x.c + c];
                for (sum, &w) in sums.iter_mut().zip(weights.next().unwrap_or_default()) {
                    *sum = value.mul_add(w, *sum);
                }
            }
        }
    }
}

/// Mean and variance of one channel of raw sums `[pixels][cout]`.
fn plane(sums: &[f32], c: usize, cout: usize) -> Plane {
    let pixels = sums.len() / cout;
    let channel = || sums.iter().skip(c).step_by(cout).map(|&v| f64::from(v));
    // Deviations from a member of the set, so that a plane of equal values has no variance.
    let pivot = f64::from(sums[c]);
    let mean = pivot + channel().map(|v| v - pivot).sum::<f64>() / pixels as f64;
    let variance = channel().map(|v| (v - mean) * (v - mean)).sum::<f64>() / pixels as f64;
    Plane { pixels, mean, variance }
}

/// How many channels of raw sums have left the range.
fn escaped<T: NetElem>(sums: &[f32], cout: usize) -> u32 {
    (0..cout).map(|c| u32::from(sums.iter().skip(c).step_by(cout).any(|&v| T::escapes(v)))).sum()
}

/// Records the statistics of one image's raw sums `[pixels][cout]`; how many channels have left the range.
pub(super) fn record<T: NetElem>(sums: &[f32], gamma_beta: &[f32], stats: &mut [T::Stat]) -> u32 {
    let cout = gamma_beta.len() / 2;
    for c in 0..cout {
        T::record(stats, c, plane(sums, c, cout), [gamma_beta[2 * c], gamma_beta[2 * c + 1]]);
    }
    escaped::<T>(sums, cout)
}

/// Some rows of one image, for its statistics.
pub(super) struct Part<'a> {
    /// Raw sums `[pixels][cout]`.
    pub(super) sums: &'a [f32],
    /// Which rows of tiles they are, of how many.
    pub(super) tiles: Range<usize>,
    pub(super) count: usize,
    /// Values of one row of tiles; the last may have fewer.
    pub(super) each: usize,
    /// Pixels of the whole image.
    pub(super) pixels: usize,
}

/// Records the statistics of some rows: in `f16` they are added; in `f32` their moments wait in `partial` until those of
/// all rows are there. How many channels have left the range.
pub(super) fn record_rows<T: NetElem>(
    part: &Part<'_>,
    gamma_beta: &[f32],
    stats: &mut [T::Stat],
    partial: &mut [f32],
) -> u32 {
    let cout = gamma_beta.len() / 2;
    let norm = |c: usize| [gamma_beta[2 * c], gamma_beta[2 * c + 1]];
    if T::NAME == "f16" {
        for c in 0..cout {
            T::record_part(stats, c, plane(part.sums, c, cout), part.pixels, norm(c));
        }
        return escaped::<T>(part.sums, cout);
    }
    for (row, sums) in part.tiles.clone().zip(part.sums.chunks(part.each)) {
        for c in 0..cout {
            let Plane { pixels, mean, variance } = plane(sums, c, cout);
            partial[2 * (row * cout + c)..][..2].copy_from_slice(&[mean as f32, (variance * pixels as f64) as f32]);
        }
    }
    if part.tiles.end == part.count {
        let last = part.pixels - (part.count - 1) * (part.each / cout);
        for c in 0..cout {
            let rows = (0..part.count).map(|row| {
                let pixels = if row + 1 == part.count { last } else { part.each / cout };
                [pixels as f64, f64::from(partial[2 * (row * cout + c)]), f64::from(partial[2 * (row * cout + c) + 1])]
            });
            let all = part.pixels as f64;
            let mean = rows.clone().map(|[n, mean, _]| n * mean).sum::<f64>() / all;
            let squares: f64 = rows.map(|[n, m, m2]| m2 + n * (m - mean) * (m - mean)).sum();
            T::record(stats, c, Plane { pixels: part.pixels, mean, variance: squares / all }, norm(c));
        }
    }
    0
}

/// The coefficients of one image's channels, three a channel.
pub(super) fn coefficients<T: NetElem>(stats: &[T::Stat], gamma_beta: &[f32], pixels: usize) -> Vec<f32> {
    let channels = gamma_beta.len() / 2;
    let of = |c: usize| T::coefficients(stats, c, channels, pixels, [gamma_beta[2 * c], gamma_beta[2 * c + 1]]);
    (0..channels).flat_map(of).collect()
}
