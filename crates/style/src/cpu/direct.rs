//! Direct convolution: packed implicit GEMM over bands of output rows, and nearest × 2 + 3 × 3 as four 2 × 2 phases.

use crate::cpu::buffer::{LANES, Lane, pad};
use crate::cpu::conv::Scratch;
use crate::cpu::kernel::{Input, Isa, Output, Run, accumulate};
use crate::cpu::pack::{Border, Image};

/// Kernel, strides and padding of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: usize,
    /// Nearest × 2 before the padding (3 × 3, stride 1, padding 1 only).
    pub(crate) upsample: bool,
}

impl Geometry {
    /// Output height and width.
    pub(crate) fn output(&self, height: usize, width: usize) -> [usize; 2] {
        if self.upsample {
            return [2 * height, 2 * width];
        }
        let size = |n: usize, i: usize| (n + 2 * self.padding - self.kernel[i]) / self.stride[i] + 1;
        [size(height, 0), size(width, 1)]
    }

    /// The border rule of its source.
    pub(crate) fn border(&self) -> Border {
        if self.upsample { Border::Clamp } else { Border::Reflect }
    }
}

/// Runs whose weights stay in the first-level cache while they pass over the band.
#[derive(Debug)]
struct Group {
    runs: Vec<Run>,
    weights: Vec<Lane>,
}

/// Up to four vectors of output channels.
#[derive(Debug)]
pub(crate) struct Block {
    /// First vector of the block.
    pub(crate) first: usize,
    pub(crate) vectors: usize,
    groups: Vec<Group>,
}

impl Block {
    /// Adds all groups into `output`, group by group, so that each group's weights are read from near memory.
    pub(crate) fn run(&self, isa: Isa, input: Input<'_>, output: &mut Output<'_>) {
        for (i, group) in self.groups.iter().enumerate() {
            accumulate(isa, self.vectors, &group.weights, &group.runs, input, output, i == 0);
        }
    }
}

/// Splits `cout` channels into blocks and packs `weight(out, in, row, column)` for them.
pub(crate) fn blocks(
    isa: Isa,
    cin: usize,
    cout: usize,
    kernel: [usize; 2],
    weight: impl Fn(usize, usize, usize, usize) -> f32,
) -> Vec<Block> {
    let total = cout.div_ceil(LANES);
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < total {
        let vectors = (total - first).min(isa.max_vectors());
        let run = kernel[1] * cin;
        // 36 KiB of weights: they share the first-level cache with a few rows of pixels. The layer that reads colours
        // adds kernel row by kernel row: its sums are the largest of the network and need the precision.
        let longest = if cin < 8 { run } else { 576 / vectors };
        let pieces = run.div_ceil(longest);
        let mut groups: Vec<Group> = Vec::new();
        let mut filled = longest;
        for row in 0..kernel[0] {
            for piece in 0..pieces {
                let (from, to) = (piece * run / pieces, (piece + 1) * run / pieces);
                if filled + to - from > longest {
                    groups.push(Group { runs: Vec::new(), weights: Vec::new() });
                    filled = 0;
                }
                filled += to - from;
                let Some(group) = groups.last_mut() else { continue };
                group.runs.push(Run { row, offset: from, len: to - from });
                for k in from..to {
                    for v in first..first + vectors {
                        let lane = std::array::from_fn(|j| {
                            let out = v * LANES + j;
                            if out < cout { weight(out, k % cin, row, k / cin) } else { 0.0 }
                        });
                        group.weights.push(Lane(lane));
                    }
                }
            }
        }
        blocks.push(Block { first, vectors, groups });
        first += vectors;
    }
    blocks
}

/// One output parity (one for a plain convolution): where it starts in tile and output.
#[derive(Debug)]
struct Phase {
    row: usize,
    col: usize,
    blocks: Vec<Block>,
}

/// A packed direct convolution.
#[derive(Debug)]
pub(crate) struct Direct {
    isa: Isa,
    geometry: Geometry,
    phases: Vec<Phase>,
}

impl Direct {
    /// Packs `weight` (`[out][in][kh][kw]`).
    pub(crate) fn new(isa: Isa, geometry: Geometry, weight: &[f32]) -> Self {
        let Geometry { cin, cout, kernel: [kh, kw], upsample, .. } = geometry;
        let at = |o: usize, c: usize, u: usize, v: usize| weight[((o * cin + c) * kh + u) * kw + v];
        let phases = if upsample {
            // Rows {w0}, {w1 + w2} for even output rows, {w0 + w1}, {w2} for odd ones; columns alike.
            let taps = |phase: usize, tap: usize| match (phase, tap) {
                (0, 0) => 0..1,
                (0, _) => 1..3,
                (_, 0) => 0..2,
                _ => 2..3,
            };
            [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(row, col)| {
                    let summed = |o: usize, c: usize, u: usize, v: usize| {
                        taps(row, u)
                            .flat_map(|u| taps(col, v).map(move |v| (u, v)))
                            .fold(0.0f64, |sum, (u, v)| sum + f64::from(at(o, c, u, v))) as f32
                    };
                    Phase { row, col, blocks: blocks(isa, cin, cout, [2, 2], summed) }
                })
                .into()
        } else {
            vec![Phase { row: 0, col: 0, blocks: blocks(isa, cin, cout, [kh, kw], at) }]
        };
        Self { isa, geometry, phases }
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Output rows per band: a function of the image's height only, so that results do not depend on the threads.
    pub(crate) fn band_rows(&self, output_height: usize) -> usize {
        let rows = if self.geometry.upsample || self.geometry.kernel[0] > 4 { 8 } else { 4 };
        rows.min(output_height)
    }

    /// Output rows from `top` on into `out` (channels-last, `pad(cout)` floats a pixel).
    pub(crate) fn band(&self, image: &Image<'_>, top: usize, out: &mut [f32], scratch: &mut Scratch) {
        let Geometry { cin, cout, kernel, stride, padding, upsample, .. } = self.geometry;
        let [_, width] = self.geometry.output(image.height, image.width);
        let padded = pad(cout);
        // From here on in phase coordinates: with upsampling, source rows and columns.
        let scale = if upsample { 2 } else { 1 };
        let (kernel, stride) = if upsample { ([3, 3], [1, 1]) } else { (kernel, stride) };
        let (rows, cols, top) = (out.len() / (width * padded) / scale, width / scale, top / scale);
        let most = if cin * stride[1] >= 128 { 72 } else { 144 };
        let pieces = cols.div_ceil(most);
        for piece in 0..pieces {
            let (left, right) = (piece * cols / pieces, (piece + 1) * cols / pieces);
            let tile_rows = (rows - 1) * stride[0] + kernel[0];
            let tile_cols = (right - left - 1) * stride[1] + kernel[1];
            let pitch = tile_cols * cin;
            let tile = scratch.tile.get(tile_rows * pitch);
            let origin = |at: usize, i: usize| (at * stride[i]) as isize - padding as isize;
            image.pack(tile, origin(top, 0), origin(left, 1), tile_rows, tile_cols);
            for phase in &self.phases {
                let input = Input {
                    tile: &tile[phase.row * pitch + phase.col * cin..],
                    pitch,
                    row_step: stride[0] * pitch,
                    pixel_step: stride[1] * cin,
                };
                for block in &phase.blocks {
                    let at = (phase.row * width + scale * left + phase.col) * padded + block.first * LANES;
                    let mut output = Output {
                        data: &mut out[at..],
                        row_step: scale * width * padded,
                        pixel_step: scale * padded,
                        rows,
                        cols: right - left,
                    };
                    block.run(self.isa, input, &mut output);
                }
            }
        }
    }
}
