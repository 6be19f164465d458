//! Statistics of instance normalisation: partial (count, mean, M2) per band and channel, merged in a fixed tree in f64.

use crate::cpu::buffer::{LANES, pad};

/// Mean and sum of squared deviations of one channel over some pixels (the count is kept beside the whole set).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    pub(crate) m2: f64,
}

impl Moments {
    /// Chan's merge. Exact for equal means, so that a constant plane keeps its value and a variance of zero.
    fn merge(self, n: usize, other: Self, other_n: usize) -> Self {
        let (n, other_n) = (n as f64, other_n as f64);
        let delta = other.mean - self.mean;
        let share = other_n / (n + other_n);
        Self { mean: delta.mul_add(share, self.mean), m2: self.m2 + other.m2 + delta * delta * n * share }
    }
}

/// Normalisation of the tensor that a layer reads: `(x − mean) · scale + beta` per channel.
///
/// This is `A·x + B` with `B = β − A·μ`, in the order that stays exact when `σ` is tiny beside `μ` (flat images).
#[derive(Clone, Debug, Default)]
pub(crate) struct Affine {
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

impl Affine {
    /// Coefficients for `moments` of `count` pixels; the padding channels become 0.
    pub(crate) fn new(moments: &[Moments], count: usize, gamma: &[f32], beta: &[f32], eps: f64) -> Self {
        let (channels, padded) = (gamma.len(), pad(gamma.len()));
        let mut affine = Self { mean: vec![0.0; padded], scale: vec![0.0; padded], beta: vec![0.0; padded] };
        for c in 0..channels {
            let variance = (moments[c].m2 / count as f64).max(0.0);
            affine.mean[c] = moments[c].mean as f32;
            affine.scale[c] = (f64::from(gamma[c]) / (variance + eps).sqrt()) as f32;
            affine.beta[c] = beta[c];
        }
        affine
    }

    /// What this norm and ReLU make of a constant plane.
    pub(crate) fn rest(&self) -> Vec<f32> {
        self.beta.iter().map(|&beta| beta.max(0.0)).collect()
    }
}

/// Pixels whose sums are kept in f32 before they join the f64 moments.
const BLOCK: usize = 64;

/// Moments of each channel of `pixels` (channels-last, `channels` a multiple of 16) into `out`.
pub(crate) fn of_band(pixels: &[f32], channels: usize, out: &mut [Moments]) {
    let mut done = 0;
    let mut mean = vec![0.0f32; 2 * channels];
    let (mean, m2) = mean.split_at_mut(channels);
    for block in pixels.chunks(BLOCK * channels) {
        of_block(block, channels, mean, m2);
        let n = block.len() / channels;
        for c in 0..channels {
            let part = Moments { mean: f64::from(mean[c]), m2: f64::from(m2[c]) };
            out[c] = if done == 0 { part } else { out[c].merge(done, part, n) };
        }
        done += n;
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn of_block(block: &[f32], channels: usize, mean: &mut [f32], m2: &mut [f32]) {
    let vectors = channels / LANES;
    let (x, _) = block.as_chunks::<LANES>();
    let count = x.len() / vectors;
    let inverse = 1.0 / count as f32;
    let (mean, _) = mean.as_chunks_mut::<LANES>();
    let (m2, _) = m2.as_chunks_mut::<LANES>();
    for v in 0..vectors {
        // Deviations from a member of the set: no cancellation, and exact for equal values.
        let shift = x[v];
        let [mut even, mut odd] = [[0.0f32; LANES]; 2];
        each_pair(x, vectors, v, |a, b| {
            for j in 0..LANES {
                even[j] += a[j] - shift[j];
                odd[j] += b[j] - shift[j];
            }
        });
        if count % 2 == 1 {
            let last = x[(count - 1) * vectors + v];
            for j in 0..LANES {
                even[j] += last[j] - shift[j];
            }
        }
        let centre: [f32; LANES] = std::array::from_fn(|j| (even[j] + odd[j]).mul_add(inverse, shift[j]));
        let [mut even, mut odd] = [[0.0f32; LANES]; 2];
        each_pair(x, vectors, v, |a, b| {
            for j in 0..LANES {
                let (a, b) = (a[j] - centre[j], b[j] - centre[j]);
                even[j] = a.mul_add(a, even[j]);
                odd[j] = b.mul_add(b, odd[j]);
            }
        });
        if count % 2 == 1 {
            let last = x[(count - 1) * vectors + v];
            for j in 0..LANES {
                let d = last[j] - centre[j];
                even[j] = d.mul_add(d, even[j]);
            }
        }
        mean[v] = centre;
        m2[v] = std::array::from_fn(|j| even[j] + odd[j]);
    }
}

/// Vector `v` of the pixels, two pixels at a time.
#[inline(always)]
fn each_pair(x: &[[f32; LANES]], vectors: usize, v: usize, mut f: impl FnMut([f32; LANES], [f32; LANES])) {
    for pair in x.chunks_exact(2 * vectors) {
        f(pair[v], pair[vectors + v]);
    }
}

/// Merges the bands' moments (`[band][channel]`, pixel counts `counts`) in a fixed binary tree; gives the count too.
pub(crate) fn tree(parts: &[Moments], counts: &[usize], channels: usize) -> (Vec<Moments>, usize) {
    if let [count] = counts {
        return (parts[..channels].to_vec(), *count);
    }
    let half = counts.len() / 2;
    let (left, left_count) = tree(&parts[..half * channels], &counts[..half], channels);
    let (right, right_count) = tree(&parts[half * channels..], &counts[half..], channels);
    let merged = left.iter().zip(&right).map(|(a, b)| a.merge(left_count, *b, right_count)).collect();
    (merged, left_count + right_count)
}
