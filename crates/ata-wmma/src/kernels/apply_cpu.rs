//! Products on the CPU: strips and channels side by side, eight frames in the lanes of a vector.

use gpu_core::{Cpu, Result};
use multiversion::multiversion;
use rayon::prelude::*;

use super::apply::Operands;
use super::{Apply, ApplyParams, GROUP, Matrix, fold_strip, long};
use crate::blocks::{AREA, BLOCK};
use crate::precision::scaled;
use crate::schedule::{ABSENT, PARTS};

/// A row of 8 frames.
type Lanes = [f32; GROUP];

/// What a strip needs to know.
struct Strip<'a> {
    tiles: &'a [u32],
    /// `[pieces][blocks * 256]` of one channel.
    pieces: [&'a [f32]; 3],
    /// `[pieces][n padded]` of one channel and group.
    vectors: [&'a [Lanes]; 3],
    products: &'a [(usize, usize)],
}

#[inline(always)]
fn half_tile<const MIRRORED: bool>(a: &[f32], x: &[Lanes], sums: &mut [Lanes]) {
    let (Ok(a), Ok(x)) = (<&[f32; AREA]>::try_from(a), <&[Lanes; BLOCK]>::try_from(x)) else { return };
    // Eight rows of eight frames fill half of the vector registers.
    for first in [0, BLOCK / 2] {
        let mut rows: [Lanes; BLOCK / 2] = std::array::from_fn(|r| sums[first + r]);
        for s in 0..BLOCK {
            for r in 0..BLOCK / 2 {
                let v = if MIRRORED { a[s * BLOCK + first + r] } else { a[(first + r) * BLOCK + s] };
                for l in 0..GROUP {
                    rows[r][l] = v.mul_add(x[s][l], rows[r][l]);
                }
            }
        }
        sums[first..first + BLOCK / 2].copy_from_slice(&rows);
    }
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn strip_sums(strip: &Strip<'_>, out: &mut [Lanes]) {
    for part in 0..PARTS {
        let mut sums = [[0.0; GROUP]; 2 * BLOCK];
        for tile in strip.tiles.chunks_exact(3).skip(part).step_by(PARTS) {
            let at = tile[0] as usize * BLOCK;
            for (half, &block) in tile[1..].iter().enumerate().filter(|(_, block)| **block != ABSENT) {
                let sums = &mut sums[half * BLOCK..(half + 1) * BLOCK];
                let from = (block >> 1) as usize * AREA;
                for &(p, q) in strip.products {
                    let (a, x) = (&strip.pieces[p][from..from + AREA], &strip.vectors[q][at..at + BLOCK]);
                    if block & 1 == 1 { half_tile::<true>(a, x, sums) } else { half_tile::<false>(a, x, sums) }
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(&sums) {
            for l in 0..GROUP {
                out[l] = if part == 0 { sums[l] } else { out[l] + sums[l] };
            }
        }
    }
}

/// What the rows of every strip sum up to, `[groups, C, strips, 32]` of eight frames.
struct Sums {
    rows: Vec<Lanes>,
    channels: usize,
    strips: usize,
}

impl Sums {
    /// The rows of a frame and channel, and where its frame is in them.
    fn line(&self, line: usize) -> (&[Lanes], usize) {
        let (f, c, each) = (line / self.channels, line % self.channels, self.strips * 2 * BLOCK);
        (&self.rows[(f / GROUP * self.channels + c) * each..][..each], f % GROUP)
    }
}

/// Frames as lanes, `[pieces, groups, C, n padded]`: cast before, or rounded here.
fn lanes(cpu: &Cpu, p: &ApplyParams, matrix: &Matrix<Cpu>, operands: &Operands<'_, Cpu>) -> Result<Vec<Lanes>> {
    let precision = matrix.precision;
    let (channels, n, n_pad) = (p.channels as usize, p.n as usize, p.n_pad as usize);
    let (frames, groups, pieces) = (p.frames as usize, p.frames_pad as usize / GROUP, precision.pieces());
    let mut lanes = vec![[0.0; GROUP]; pieces * groups * channels * n_pad];
    if let Some(vectors) = operands.vectors {
        let halves = cpu.read(vectors.halves.flat())?;
        lanes.par_chunks_mut(n_pad).enumerate().for_each(|(at, out)| {
            let (piece, group, c) = (at / (groups * channels), at / channels % groups, at % channels);
            for l in 0..GROUP {
                let line = ((piece * groups + group) * GROUP + l) * channels + c;
                let values = out.iter_mut().zip(&halves[line * n_pad..(line + 1) * n_pad]);
                values.for_each(|(out, &bits)| out[l] = precision.of_bits(bits));
            }
        });
        return Ok(lanes);
    }
    let x = cpu.read(operands.x)?;
    lanes.par_chunks_mut(n_pad).enumerate().for_each(|(at, out)| {
        let (piece, group, c) = (at / (groups * channels), at / channels % groups, at % channels);
        for l in 0..GROUP.min(frames - group * GROUP) {
            let line = (group * GROUP + l) * channels + c;
            let values = out.iter_mut().zip(&x[line * n..(line + 1) * n]);
            if pieces == 1 && precision == crate::Precision::F32 {
                values.for_each(|(out, &v)| out[l] = v);
            } else {
                values.for_each(|(out, &v)| out[l] = precision.split(v)[piece]);
            }
        }
    });
    Ok(lanes)
}

fn sums(cpu: &Cpu, p: &ApplyParams, matrix: &Matrix<Cpu>, operands: &Operands<'_, Cpu>) -> Result<Sums> {
    let precision = matrix.precision;
    let (channels, n_pad, strips) = (p.channels as usize, p.n_pad as usize, p.strips as usize);
    let (groups, pieces, area) = (p.frames_pad as usize / GROUP, precision.pieces(), p.blocks as usize * AREA);
    let words = cpu.read(matrix.words.flat())?;
    let (tiles, starts) = (cpu.read(matrix.schedule.tiles.flat())?, cpu.read(matrix.schedule.starts.flat())?);
    let lanes = lanes(cpu, p, matrix, operands)?;
    let mut rows = vec![[0.0; GROUP]; groups * channels * strips * 2 * BLOCK];
    rows.par_chunks_mut(2 * BLOCK).enumerate().for_each(|(at, out)| {
        let (group, c, s) = (at / (channels * strips), at / strips % channels, at % strips);
        let lines = |q: usize| &lanes[((q * groups + group) * channels + c) * n_pad..][..n_pad];
        let strip = Strip {
            tiles: &tiles[3 * starts[s] as usize..3 * starts[s + 1] as usize],
            pieces: std::array::from_fn(|q| if q < pieces { &words[(q * channels + c) * area..][..area] } else { &[] }),
            vectors: std::array::from_fn(|q| if q < pieces { lines(q) } else { &[] }),
            products: precision.products(),
        };
        strip_sums(&strip, out);
    });
    long("tiles", tiles.len(), 3 * starts[strips] as usize)?;
    Ok(Sums { rows, channels, strips })
}

impl Apply for Cpu {
    const DECODED: bool = true;

    fn apply_unchecked(&self, p: ApplyParams, matrix: &Matrix<Self>, operands: Operands<'_, Self>) -> Result<()> {
        let sums = sums(self, &p, matrix, &operands)?;
        let of_matrix = self.read(matrix.exponents.flat())?;
        let of_vectors = operands.vectors.map(|v| self.read(v.exponents.flat())).transpose()?;
        let (n, channels, strips) = (p.n as usize, p.channels as usize, p.strips as usize);
        let (x, b, partials) = (self.read(operands.x)?, self.read(operands.b)?, self.write(operands.partials)?);
        let y = self.write(operands.y)?;
        // The product of a line, row by row.
        let product = |line: usize| {
            let (rows, frame) = sums.line(line);
            let exponent = -(of_matrix[line % channels] + of_vectors.map_or(0, |e| e[line]));
            move |i: usize| scaled(rows[i][frame], exponent)
        };
        match p.mode {
            0 => y.par_chunks_mut(n).enumerate().for_each(|(line, y)| {
                let product = product(line);
                for (i, y) in y.iter_mut().enumerate() {
                    let v = p.alpha * product(i);
                    *y = if p.beta == 0.0 { v } else { p.beta.mul_add(*y, v) };
                }
            }),
            1 => partials[..p.frames as usize * channels * strips].par_chunks_mut(strips).enumerate().for_each(
                |(line, out)| {
                    let (product, x) = (product(line), &x[line * n..][..n]);
                    for (s, out) in out.iter_mut().enumerate() {
                        [*out] = fold_strip(s, n, |i| [f64::from(x[i]) * f64::from(product(i))]);
                    }
                },
            ),
            _ => {
                y.par_chunks_mut(n).zip(partials.par_chunks_mut(2 * strips)).enumerate().for_each(
                    |(line, (g, out))| {
                        let (product, x, b) = (product(line), &x[line * n..][..n], &b[line * n..][..n]);
                        for (i, g) in g.iter_mut().enumerate() {
                            *g = product(i) - b[i];
                        }
                        for (s, out) in out.chunks_exact_mut(2).enumerate() {
                            out.copy_from_slice(&fold_strip(s, n, |i| {
                                let (g, x) = (f64::from(g[i]), f64::from(x[i]));
                                [g * g, x * (g - f64::from(b[i]))]
                            }));
                        }
                    },
                );
            }
        }
        Ok(())
    }
}
