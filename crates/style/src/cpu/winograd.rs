//! Winograd F(4 × 4, 3 × 3) for the stride-1 3 × 3 layers of the body: 36 products for 16 outputs instead of 144.
//!
//! Points 0, ±3/4, ±3/2, ∞: their pairs share even and odd halves in each transform, all constants are exact in f32,
//! and the error is half of that of the usual 0, ±1, ±2, ∞ (hardly above the direct method's).

use std::array::from_fn;

use crate::cpu::buffer::{LANES, Lane};
use crate::cpu::conv::Scratch;
use crate::cpu::kernel::{Input, Isa, Output, Run, accumulate};
use crate::cpu::pack::Image;

type V = [f32; LANES];

/// Outputs per tile side, inputs per tile side, products per tile.
const OUT: usize = 4;
const IN: usize = 6;
const POINTS: usize = IN * IN;

/// Tiles that one pass transforms and multiplies: enough to reuse each weight, few enough for the second-level cache
/// and for all threads to have work. Images of `MANY` tiles take the larger number.
const TILES: [usize; 2] = [32, 64];
const MANY: usize = 512;

/// The points ±A and ±B, and their powers.
const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// Parts of the reduction: each is summed for itself, which keeps the rounding errors of long sums small.
const PARTS: usize = 2;

/// Weight transform: row `i` of G is `(1, p, p²) / Π (p − q)` over the other finite points `q`; the last row is ∞.
fn weight_rows() -> [[f64; 3]; IN] {
    let points = [0.0, A, -A, B, -B].map(f64::from);
    from_fn(|i| {
        let Some(&p) = points.get(i) else { return [0.0, 0.0, 1.0] };
        let scale: f64 = points.iter().filter(|&&q| q != p).map(|q| p - q).product();
        [1.0 / scale, p / scale, p * p / scale]
    })
}

/// Transformed weights of up to four vectors of output channels.
#[derive(Debug)]
struct Block {
    first: usize,
    vectors: usize,
    /// `[36][channels][vectors]`.
    weights: Vec<Lane>,
}

/// A packed 3 × 3 convolution with as many outputs as inputs (a multiple of 16), stride 1, reflection padding 1.
#[derive(Debug)]
pub(crate) struct Winograd {
    isa: Isa,
    channels: usize,
    blocks: Vec<Block>,
}

impl Winograd {
    /// Transforms `weight` (`[C][C][3][3]`) in f64.
    pub(crate) fn new(isa: Isa, channels: usize, weight: &[f32]) -> Self {
        let (total, rows) = (channels / LANES, weight_rows());
        let transformed: Vec<[f32; POINTS]> = weight
            .as_chunks::<9>()
            .0
            .iter()
            .map(|w| {
                let half: [[f64; 3]; IN] =
                    from_fn(|i| from_fn(|v| (0..3).map(|u| rows[i][u] * f64::from(w[u * 3 + v])).sum()));
                from_fn(|p| (0..3).map(|v| half[p / IN][v] * rows[p % IN][v]).sum::<f64>() as f32)
            })
            .collect();
        let blocks = (0..total)
            .step_by(isa.max_vectors())
            .map(|first| {
                let vectors = isa.max_vectors().min(total - first);
                let mut weights = Vec::with_capacity(POINTS * channels * vectors);
                for p in 0..POINTS {
                    for c in 0..channels {
                        for v in first..first + vectors {
                            weights.push(Lane(from_fn(|j| transformed[(v * LANES + j) * channels + c][p])));
                        }
                    }
                }
                Block { first, vectors, weights }
            })
            .collect();
        Self { isa, channels, blocks }
    }

    /// Tile rows in a band and tile columns in a pass.
    fn shape(height: usize, width: usize) -> [usize; 2] {
        let across = width.div_ceil(OUT);
        let tiles = TILES[usize::from(across * height.div_ceil(OUT) >= MANY)];
        [(tiles / across).max(1), across.div_ceil(across.div_ceil(tiles))]
    }

    /// Output rows per band.
    pub(crate) fn band_rows(height: usize, width: usize) -> usize {
        (Self::shape(height, width)[0] * OUT).min(height)
    }

    /// Output rows from `top` on into `out`; `keep` gets the same rows of the finished input.
    pub(crate) fn band(
        &self,
        image: &Image<'_>,
        top: usize,
        out: &mut [f32],
        mut keep: Option<&mut [f32]>,
        scratch: &mut Scratch,
    ) {
        let (channels, width) = (self.channels, image.width);
        let rows = out.len() / (width * channels);
        let down = rows.div_ceil(OUT);
        let (across, most) = (width.div_ceil(OUT), Self::shape(image.height, width)[1]);
        let part = channels / PARTS;
        let run = [Run { row: 0, offset: 0, len: part }];
        for first in (0..across).step_by(most) {
            let count = most.min(across - first);
            let tiles = down * count;
            let left = first * OUT;
            let (tile_rows, tile_cols) = (down * OUT + 2, count * OUT + 2);
            let pitch = tile_cols * channels;
            let tile = scratch.tile.get(tile_rows * pitch);
            image.pack(tile, top as isize - 1, left as isize - 1, tile_rows, tile_cols);
            let cols = (count * OUT).min(width - left);
            if let Some(keep) = keep.as_deref_mut() {
                for y in 0..rows {
                    let to = &mut keep[(y * width + left) * channels..][..cols * channels];
                    to.copy_from_slice(&tile[(y + 1) * pitch + channels..][..cols * channels]);
                }
            }
            // One line more per position: the 36 streams of a tile then fall into different cache sets.
            let step = tiles * channels + LANES;
            let inputs = scratch.inputs.get(POINTS * step);
            for row in 0..down {
                transform_inputs(&tile[row * OUT * pitch..], pitch, channels, count, inputs, step, row * count);
            }
            for block in &self.blocks {
                let size = block.vectors * LANES;
                let product_step = tiles * size + LANES;
                let products = scratch.products.get(POINTS * product_step);
                for (p, weights) in block.weights.chunks_exact(channels * block.vectors).enumerate() {
                    let data = &mut products[p * product_step..];
                    let mut output = Output { data, row_step: 0, pixel_step: size, rows: 1, cols: tiles };
                    for (i, weights) in weights.chunks_exact(part * block.vectors).enumerate() {
                        let tile = &inputs[p * step + i * part..];
                        let input = Input { tile, pitch: 0, row_step: 0, pixel_step: channels };
                        accumulate(self.isa, block.vectors, weights, &run, input, &mut output, i == 0);
                    }
                }
                for row in 0..down {
                    let target = Target {
                        out: &mut out[(row * OUT * width + left) * channels + block.first * LANES..],
                        pitch: width * channels,
                        channels,
                        rows: OUT.min(rows - row * OUT),
                        cols,
                    };
                    transform_outputs(products, product_step, size, row * count, count, target);
                }
            }
        }
    }
}

#[inline(always)]
fn add(a: V, b: V) -> V {
    from_fn(|j| a[j] + b[j])
}

#[inline(always)]
fn sub(a: V, b: V) -> V {
    from_fn(|j| a[j] - b[j])
}

/// `factor · a + b`.
#[inline(always)]
fn fma(factor: f32, a: V, b: V) -> V {
    from_fn(|j| a[j].mul_add(factor, b[j]))
}

#[inline(always)]
fn mul(factor: f32, a: V) -> V {
    from_fn(|j| factor * a[j])
}

/// One dimension of the input transform: row `p` of Bᵀ holds the coefficients of `Π (z − q)` over the other points.
#[inline(always)]
fn forward(d: [V; IN]) -> [V; IN] {
    let (even_a, odd_a) = (fma(-B2, d[2], d[4]), fma(-B2, d[1], d[3]));
    let (even_b, odd_b) = (fma(-A2, d[2], d[4]), fma(-A2, d[1], d[3]));
    [
        fma(A2 * B2, d[0], fma(-(A2 + B2), d[2], d[4])),
        fma(A, odd_a, even_a),
        fma(-A, odd_a, even_a),
        fma(B, odd_b, even_b),
        fma(-B, odd_b, even_b),
        fma(A2 * B2, d[1], fma(-(A2 + B2), d[3], d[5])),
    ]
}

/// One dimension of the output transform: row `k` of Aᵀ holds the points' `k`-th powers.
#[inline(always)]
fn backward(m: [V; IN]) -> [V; OUT] {
    let (p, q) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (r, s) = (add(m[3], m[4]), sub(m[3], m[4]));
    [add(m[0], add(p, r)), fma(B, s, mul(A, q)), fma(B2, r, mul(A2, p)), add(fma(B2 * B, s, mul(A2 * A, q)), m[5])]
}

#[inline(always)]
fn load(from: &[f32], at: usize) -> V {
    from_fn(|j| from[at..at + LANES][j])
}

/// Transforms `count` tiles of one tile row into `to[position][tile][channel]`.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn transform_inputs(
    tile: &[f32],
    pitch: usize,
    channels: usize,
    count: usize,
    to: &mut [f32],
    step: usize,
    first: usize,
) {
    for t in 0..count {
        for c in (0..channels).step_by(LANES) {
            let at = t * OUT * channels + c;
            let mut middle = [[[0.0; LANES]; IN]; IN];
            for x in 0..IN {
                let column = forward(from_fn(|y| load(tile, y * pitch + at + x * channels)));
                for y in 0..IN {
                    middle[y][x] = column[y];
                }
            }
            for y in 0..IN {
                let row = forward(middle[y]);
                for x in 0..IN {
                    let start = (y * IN + x) * step + (first + t) * channels + c;
                    to[start..start + LANES].copy_from_slice(&row[x]);
                }
            }
        }
    }
}

/// Where the outputs of one tile row go; the last tiles may hang over the image's edge.
struct Target<'a> {
    out: &'a mut [f32],
    pitch: usize,
    channels: usize,
    rows: usize,
    cols: usize,
}

/// Transforms the products of `count` tiles from tile `first` on (`size` channels each) back to pixels.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn transform_outputs(products: &[f32], step: usize, size: usize, first: usize, count: usize, target: Target<'_>) {
    for t in 0..count {
        for c in (0..size).step_by(LANES) {
            let at = (first + t) * size + c;
            let mut middle = [[[0.0; LANES]; IN]; OUT];
            for x in 0..IN {
                let column = backward(from_fn(|y| load(products, (y * IN + x) * step + at)));
                for y in 0..OUT {
                    middle[y][x] = column[y];
                }
            }
            for y in 0..target.rows {
                let row = backward(middle[y]);
                for x in 0..OUT.min(target.cols - t * OUT) {
                    let start = y * target.pitch + (t * OUT + x) * target.channels + c;
                    target.out[start..start + LANES].copy_from_slice(&row[x]);
                }
            }
        }
    }
}
