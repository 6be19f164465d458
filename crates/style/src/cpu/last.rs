//! The last layer: 9 × 9 to three colours, as column taps.
//!
//! Three output channels would fill three lanes of sixteen. Instead one product per input pixel makes the 9 · 3 = 27
//! sums over kernel rows and input channels, one for each kernel column and colour, and a pixel adds nine of them from
//! nine neighbours: `out[x][o] = Σ_v P[x + v][3v + o]`.

use rayon::prelude::*;

use crate::cpu::buffer::LANES;
use crate::cpu::conv::{Pool, Scratch};
use crate::cpu::direct::{Block, blocks};
use crate::cpu::kernel::{Input, Isa, Output};
use crate::cpu::pack::Image;

/// Side of the kernel, padding, colours.
const SIDE: usize = 9;
const PADDING: usize = SIDE / 2;
const COLOURS: usize = 3;
/// Floats of one pixel's column taps: 27 and padding.
const TAPS: usize = (SIDE * COLOURS).next_multiple_of(LANES);

/// Output rows per band, and output columns per pass.
pub(super) const ROWS: usize = 8;
const COLS: usize = 136;

/// The packed last layer.
#[derive(Debug)]
pub(crate) struct Last {
    isa: Isa,
    cin: usize,
    bias: [f32; COLOURS],
    blocks: Vec<Block>,
}

/// Where the picture goes.
#[derive(Debug)]
pub(crate) enum Picture<'a> {
    /// Unclamped planes `[3][H][W]`.
    Planes(&'a mut [f32]),
    /// Interleaved 8-bit RGB `width` pixels wide: clamped, then truncated; the surplus at the right and bottom of the
    /// network's output is dropped.
    Rgb { data: &'a mut [u8], width: usize },
}

/// The part of a picture that one band writes.
pub(super) enum Rows<'a> {
    Planes([&'a mut [f32]; COLOURS]),
    Rgb(&'a mut [u8], usize),
}

impl Last {
    /// Packs `weight` (`[3][cin][9][9]`).
    pub(crate) fn new(isa: Isa, cin: usize, weight: &[f32], bias: &[f32]) -> Self {
        let tap = |k: usize, c: usize, u: usize, _: usize| {
            let (column, colour) = (k / COLOURS, k % COLOURS);
            weight[((colour * cin + c) * SIDE + u) * SIDE + column]
        };
        let blocks = blocks(isa, cin, SIDE * COLOURS, [SIDE, 1], tap);
        Self { isa, cin, bias: [bias[0], bias[1], bias[2]], blocks }
    }

    /// Convolves `image` into the picture.
    pub(crate) fn forward(&self, image: &Image<'_>, picture: Picture<'_>, pool: &Pool) {
        let mut bands = Self::bands(picture, [image.height, image.width]);
        self.some(image, 0, &mut bands, pool);
    }

    /// The bands of a picture, for an image of this size.
    pub(super) fn bands(picture: Picture<'_>, [height, width]: [usize; 2]) -> Vec<Rows<'_>> {
        match picture {
            Picture::Planes(planes) => {
                let (r, rest) = planes.split_at_mut(height * width);
                let (g, b) = rest.split_at_mut(height * width);
                let bands = r.chunks_mut(ROWS * width).zip(g.chunks_mut(ROWS * width)).zip(b.chunks_mut(ROWS * width));
                bands.map(|((r, g), b)| Rows::Planes([r, g, b])).collect()
            }
            Picture::Rgb { data, width } => {
                data.chunks_mut(ROWS * width * COLOURS).map(|rows| Rows::Rgb(rows, width)).collect()
            }
        }
    }

    /// Some bands, from number `first` on.
    pub(super) fn some(&self, image: &Image<'_>, first: usize, bands: &mut [Rows<'_>], pool: &Pool) {
        bands.par_iter_mut().enumerate().for_each(|(band, rows)| {
            self.band(image, (first + band) * ROWS, rows, &mut pool.get());
        });
    }

    fn band(&self, image: &Image<'_>, top: usize, to: &mut Rows<'_>, scratch: &mut Scratch) {
        let (rows, width) = match &*to {
            Rows::Planes([r, ..]) => (r.len() / image.width, image.width),
            Rows::Rgb(data, width) => (data.len() / (width * COLOURS), *width),
        };
        let pieces = width.div_ceil(COLS);
        for piece in 0..pieces {
            let (left, right) = (piece * width / pieces, (piece + 1) * width / pieces);
            let cols = right - left;
            let (tile_rows, tile_cols) = (rows + SIDE - 1, cols + SIDE - 1);
            let pitch = tile_cols * self.cin;
            let tile = scratch.tile.get(tile_rows * pitch);
            let origin = |at: usize| at as isize - PADDING as isize;
            image.pack(tile, origin(top), origin(left), tile_rows, tile_cols);
            let taps = scratch.inputs.get(tile_cols * TAPS);
            let line = scratch.products.get(cols * 4);
            for y in 0..rows {
                let input = Input { tile: &tile[y * pitch..], pitch, row_step: 0, pixel_step: self.cin };
                for block in &self.blocks {
                    let data = &mut taps[block.first * LANES..];
                    let mut output = Output { data, row_step: 0, pixel_step: TAPS, rows: 1, cols: tile_cols };
                    block.run(self.isa, input, &mut output);
                }
                add_columns(taps, self.bias, line);
                let (pixels, _) = line.as_chunks::<4>();
                match &mut *to {
                    Rows::Planes(planes) => {
                        for (o, plane) in planes.iter_mut().enumerate() {
                            let row = &mut plane[y * width + left..y * width + right];
                            for (to, pixel) in row.iter_mut().zip(pixels) {
                                *to = pixel[o];
                            }
                        }
                    }
                    Rows::Rgb(data, _) => {
                        let row = &mut data[(y * width + left) * COLOURS..(y * width + right) * COLOURS];
                        for (to, pixel) in row.as_chunks_mut::<COLOURS>().0.iter_mut().zip(pixels) {
                            // The conversion clamps to 0..=255 and truncates toward zero.
                            *to = [pixel[0] as u8, pixel[1] as u8, pixel[2] as u8];
                        }
                    }
                }
            }
        }
    }
}

/// Adds nine shifted column taps to each pixel of `line` (four floats a pixel, the last one unused).
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn add_columns(taps: &[f32], bias: [f32; COLOURS], line: &mut [f32]) {
    let (line, _) = line.as_chunks_mut::<4>();
    for (x, pixel) in line.iter_mut().enumerate() {
        let mut sum = [bias[0], bias[1], bias[2], 0.0];
        let near = &taps[x * TAPS..][..(SIDE - 1) * TAPS + LANES * 2];
        for v in 0..SIDE {
            let tap = &near[v * (TAPS + COLOURS)..][..4];
            for j in 0..4 {
                sum[j] += tap[j];
            }
        }
        *pixel = sum;
    }
}
