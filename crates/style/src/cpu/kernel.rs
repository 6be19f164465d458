//! The register-tiled micro-kernel: a block of pixels times a block of output channels.
//!
//! Lanes are output channels. For each `k` it loads `NV` weight vectors and, for each of `MR` pixels, broadcasts one
//! input value into `NV` fused multiply-adds. The pixels of a block lie in one row of the packed tile, a constant
//! number of floats apart; the taps of one kernel row are contiguous there (`kw · cin` floats), so that 3 × 3, 9 × 9 and
//! strided convolutions, upsampling phases and plain matrix products all are lists of contiguous runs.

use crate::cpu::buffer::{LANES, Lane};

/// The shape of the register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 32 registers of 16 floats: 24 accumulators, up to 4 vectors of channels.
    Wide,
    /// 16 registers of 8 floats: 6 pixels of one vector (12 accumulators).
    Narrow,
}

impl Isa {
    /// What this machine runs best.
    pub(crate) fn detect() -> Self {
        // All that `multiversion` asks of a target with AVX-512: processors before Ice Lake, whose clock drops under
        // wide vectors, take the narrow kernel.
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! all {
                ($($feature:tt)*) => { true $(&& std::arch::is_x86_feature_detected!($feature))* };
            }
            let wide = all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl" "avx512ifma" "avx512vbmi"
                "avx512vbmi2" "avx512bitalg" "avx512vnni" "avx512vpopcntdq" "gfni" "vaes" "vpclmulqdq");
            if wide {
                return Self::Wide;
            }
        }
        Self::Narrow
    }

    /// Most vectors of output channels in one block.
    pub(crate) fn max_vectors(self) -> usize {
        match self {
            Self::Wide => 4,
            Self::Narrow => 1,
        }
    }
}

/// A contiguous run of the reduction: `len` floats of tile row `row` (relative to the pixel), from `offset` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) row: usize,
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

/// Where the pixels of a call lie in a packed tile.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) tile: &'a [f32],
    /// Floats between tile rows.
    pub(crate) pitch: usize,
    /// Floats between the tile positions of neighbouring output rows and output pixels.
    pub(crate) row_step: usize,
    pub(crate) pixel_step: usize,
}

/// Where the results go: `rows × cols` pixels.
pub(crate) struct Output<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) row_step: usize,
    pub(crate) pixel_step: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// Adds the runs' products to the output block (`first`: starts it), for `vectors` vectors of output channels.
///
/// `weights` holds `vectors` vectors for each `k` of the runs, in order.
pub(crate) fn accumulate(
    isa: Isa,
    vectors: usize,
    weights: &[Lane],
    runs: &[Run],
    input: Input<'_>,
    output: &mut Output<'_>,
    first: bool,
) {
    match isa {
        Isa::Wide => accumulate_wide(vectors, weights, runs, input, output, first),
        Isa::Narrow => accumulate_narrow(weights, runs, input, output, first),
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f"))]
fn accumulate_wide(
    vectors: usize,
    weights: &[Lane],
    runs: &[Run],
    input: Input<'_>,
    output: &mut Output<'_>,
    first: bool,
) {
    // The pixel counts leave registers for the weights: 6 · 4 = 8 · 3 = 12 · 2 = 24 accumulators.
    match vectors {
        4 => rows::<6, 4, 2, 4>(weights, runs, input, output, first),
        3 => rows::<8, 4, 2, 3>(weights, runs, input, output, first),
        2 => rows::<12, 8, 4, 2>(weights, runs, input, output, first),
        _ => rows::<12, 8, 4, 1>(weights, runs, input, output, first),
    }
}

#[multiversion::multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn accumulate_narrow(weights: &[Lane], runs: &[Run], input: Input<'_>, output: &mut Output<'_>, first: bool) {
    rows::<6, 4, 2, 1>(weights, runs, input, output, first);
}

/// Covers every row with register tiles of `L`, `M`, `S` and 1 pixels, the largest first.
#[inline(always)]
fn rows<const L: usize, const M: usize, const S: usize, const NV: usize>(
    weights: &[Lane],
    runs: &[Run],
    input: Input<'_>,
    output: &mut Output<'_>,
    first: bool,
) {
    let (weights, _) = weights.as_chunks::<NV>();
    for y in 0..output.rows {
        let mut x = 0;
        while x < output.cols {
            let left = output.cols - x;
            let tile = &input.tile[y * input.row_step + x * input.pixel_step..];
            let at = y * output.row_step + x * output.pixel_step;
            let (out, step) = (&mut output.data[at..], output.pixel_step);
            x += if left >= L {
                tile_of::<L, NV>(weights, runs, tile, input, out, step, first)
            } else if left >= M {
                tile_of::<M, NV>(weights, runs, tile, input, out, step, first)
            } else if left >= S {
                tile_of::<S, NV>(weights, runs, tile, input, out, step, first)
            } else {
                tile_of::<1, NV>(weights, runs, tile, input, out, step, first)
            };
        }
    }
}

/// One register tile of `MR` pixels × `NV` vectors; gives `MR` back. Each pixel's sum has the same order whatever `MR`.
#[inline(always)]
#[allow(clippy::manual_memcpy)] // a copy of a slice would give the accumulators an address
fn tile_of<const MR: usize, const NV: usize>(
    mut weights: &[[Lane; NV]],
    runs: &[Run],
    tile: &[f32],
    input: Input<'_>,
    out: &mut [f32],
    out_step: usize,
    first: bool,
) -> usize {
    let mut acc = [[[0.0f32; LANES]; NV]; MR];
    for run in runs {
        let base = run.row * input.pitch + run.offset;
        let a: [&[f32]; MR] = std::array::from_fn(|p| &tile[base + p * input.pixel_step..][..run.len]);
        let (now, later) = weights.split_at(run.len);
        weights = later;
        for k in 0..run.len {
            let w = &now[k];
            for p in 0..MR {
                let value = a[p][k];
                for n in 0..NV {
                    for j in 0..LANES {
                        acc[p][n][j] = value.mul_add(w[n].0[j], acc[p][n][j]);
                    }
                }
            }
        }
    }
    // Sums of sums: the rounding errors of long reductions stay small. One loop for each case, or the accumulators
    // would live in memory.
    if first {
        for p in 0..MR {
            let (to, _) = out[p * out_step..][..NV * LANES].as_chunks_mut::<LANES>();
            for n in 0..NV {
                to[n] = acc[p][n];
            }
        }
    } else {
        for p in 0..MR {
            let (to, _) = out[p * out_step..][..NV * LANES].as_chunks_mut::<LANES>();
            for n in 0..NV {
                to[n] = add(to[n], acc[p][n]);
            }
        }
    }
    MR
}

#[inline(always)]
fn add(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
    let mut sum = a;
    for j in 0..LANES {
        sum[j] += b[j];
    }
    sum
}
