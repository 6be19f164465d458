//! `y[f, c, :] = α A_c x[f, c, :] + β y[f, c, :]` over the tiles of a schedule.
//!
//! Strip by strip: tile `t` of a strip belongs to part `t mod 8`; a part sums its tiles in order from 0, a tile's 16
//! columns in order and the pairs of pieces small to large; parts are added in order. The sum is multiplied by the powers
//! of two of matrix and vector, then by α; β y is added with one rounding, and y is not read when β is 0. The engine
//! `Fma` keeps that order, so twins agree to the bit in `F32`; matrix units order the sums inside a tile in their own way.
//!
//! Floor: a product and a sum an element, piece product and frame; the matrix's bytes once, and x and y in `f32`.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Batch, GROUP, Vectors, long};
use crate::blocks::{AREA, BLOCK, BlockDiag};
use crate::precision::{Precision, matrix_exponent, scaled};
use crate::schedule::{ABSENT, DeviceSchedule, PARTS, Schedule};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct ApplyParams {
    /// Frames with values.
    pub frames: u32,
    /// Frames with padding.
    pub frames_pad: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Unknowns with padding.
    pub n_pad: u32,
    /// Strips.
    pub strips: u32,
    /// Blocks of a channel.
    pub blocks: u32,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what y held.
    pub beta: f32,
}

/// Which kernel multiplies on a device; the CPU has one for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// What fits the precision.
    #[default]
    Auto,
    /// `wmma` m32n8k16 on a vertical pair of blocks; `F16` only.
    Wmma32,
    /// `mma.sync` on single blocks; all precisions but `F32`.
    Mma,
    /// Fused multiply-adds; `F32` only.
    Fma,
}

/// The packed blocks of a matrix in the memory and the format of a device.
#[derive(Debug)]
pub struct Matrix<B: Backend> {
    pub(crate) precision: Precision,
    pub(crate) engine: Engine,
    pub(crate) channels: usize,
    pub(crate) n: usize,
    pub(crate) strips: usize,
    pub(crate) blocks: usize,
    /// Pieces of 16 bits, `[pieces, C, blocks, 16, 16]`.
    pub(crate) halves: Tensor<B, u16, 1>,
    /// Values of 32 bits, `[C, blocks, 16, 16]`, split where they are used; on the CPU every piece.
    pub(crate) words: Tensor<B, f32, 1>,
    /// Exponent of each channel.
    pub(crate) exponents: Tensor<B, i32, 1>,
    pub(crate) schedule: DeviceSchedule<B>,
}

impl<B: Apply> Matrix<B> {
    /// Packs, scales, rounds and uploads a matrix; usable on every queue of the device.
    pub(crate) fn new(
        b: &B,
        a: &BlockDiag,
        schedule: &Schedule,
        precision: Precision,
        engine: Engine,
    ) -> crate::Result<Self> {
        let mut values = schedule.pack(a);
        let area = schedule.packed().len() * AREA;
        let mut exponents = vec![0; a.channels()];
        if precision.is_scaled() && area > 0 {
            for (values, exponent) in values.chunks_exact_mut(area).zip(&mut exponents) {
                *exponent = matrix_exponent(values.iter().fold(0.0, |m, v| m.max(v.abs())));
                for v in values.iter_mut() {
                    *v = scaled(*v, *exponent);
                }
            }
        }
        let pieces = |p: usize| values.iter().map(move |&v| precision.split(v)[p]);
        let (mut halves, mut words) = (Vec::new(), Vec::new());
        if B::DECODED {
            words = (0..precision.pieces()).flat_map(pieces).collect();
        } else {
            match precision {
                Precision::F16 | Precision::F16x2 | Precision::Bf16 => {
                    halves = (0..precision.pieces()).flat_map(pieces).map(|v| precision.bits(v)).collect();
                }
                Precision::Tf32 => words = pieces(0).collect(),
                Precision::F32 | Precision::Tf32x3 | Precision::Bf16x3 => words = values,
            }
        }
        Ok(Self {
            precision,
            engine,
            channels: a.channels(),
            n: a.n(),
            strips: schedule.strips(),
            blocks: schedule.packed().len(),
            halves: Tensor::from_slice(b, [halves.len()], &halves)?.share(b)?,
            words: Tensor::from_slice(b, [words.len()], &words)?.share(b)?,
            exponents: Tensor::from_slice(b, [exponents.len()], &exponents)?.share(b)?,
            schedule: DeviceSchedule::new(b, schedule)?,
        })
    }
}

impl<B: Backend> Matrix<B> {
    /// The kernel asked for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Bytes of the blocks on the device.
    pub fn bytes(&self) -> usize {
        self.halves.len() * size_of::<u16>() + self.words.len() * size_of::<f32>()
    }
}

/// The operation on one backend.
pub trait Apply: Backend {
    /// Whether pieces are kept as `f32`, each on its own.
    const DECODED: bool;

    #[doc(hidden)]
    fn apply_unchecked(
        &self,
        p: ApplyParams,
        matrix: &Matrix<Self>,
        x: &Vectors<Self>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Multiplies vectors that [`cast_x`](super::cast_x) has made; see the page.
///
/// # Errors
/// When the vectors are of another precision or batch, or `y` of another length.
pub fn apply<B: Apply>(
    b: &B,
    batch: Batch,
    matrix: &Matrix<B>,
    [alpha, beta]: [f32; 2],
    x: &Vectors<B>,
    y: ViewMut<'_, B, f32>,
) -> Result<()> {
    batch.check()?;
    batch.fit("y", y.len())?;
    if (batch.channels, batch.n) != (matrix.channels, matrix.n) {
        return Err(Error::shape(
            "x",
            &[batch.frames, matrix.channels, matrix.n],
            &[batch.frames, batch.channels, batch.n],
        ));
    }
    if x.precision != matrix.precision || x.frames_pad < batch.padded_frames() {
        return Err(Error::value("x", "the vectors were cast for another precision or a smaller batch"));
    }
    if batch.frames == 0 {
        return Ok(());
    }
    let p = ApplyParams {
        frames: batch.frames as u32,
        frames_pad: batch.padded_frames() as u32,
        channels: batch.channels as u32,
        n: batch.n as u32,
        n_pad: batch.padded() as u32,
        strips: matrix.strips as u32,
        blocks: matrix.blocks as u32,
        alpha,
        beta,
    };
    b.apply_unchecked(p, matrix, x, y)
}

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

impl Apply for Cpu {
    const DECODED: bool = true;

    fn apply_unchecked(
        &self,
        p: ApplyParams,
        matrix: &Matrix<Self>,
        x: &Vectors<Self>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let precision = matrix.precision;
        let (c_count, n, n_pad, strips) = (p.channels as usize, p.n as usize, p.n_pad as usize, p.strips as usize);
        let groups = p.frames_pad as usize / GROUP;
        let words = self.read(matrix.words.flat())?;
        let (tiles, starts) = (self.read(matrix.schedule.tiles.flat())?, self.read(matrix.schedule.starts.flat())?);
        let (matrix_exponents, exponents) = (self.read(matrix.exponents.flat())?, self.read(x.exponents.flat())?);
        let (halves, floats) = (self.read(x.halves.flat())?, self.read(x.words.flat())?);
        let y = self.write(y)?;
        // Frames become the lanes of vectors: [piece, group, channel, n padded].
        let pieces = precision.pieces();
        let mut lanes = vec![[0.0; GROUP]; pieces * groups * c_count * n_pad];
        lanes.par_chunks_mut(n_pad).enumerate().for_each(|(at, out)| {
            let (piece, group, c) = (at / (groups * c_count), at / c_count % groups, at % c_count);
            for l in 0..GROUP {
                let line = ((piece * groups + group) * GROUP + l) * c_count + c;
                let range = line * n_pad..(line + 1) * n_pad;
                if precision.is_half() {
                    let values = out.iter_mut().zip(&halves[range]);
                    values.for_each(|(out, &bits)| out[l] = precision.of_bits(bits));
                } else {
                    out.iter_mut().zip(&floats[range]).for_each(|(out, &v)| out[l] = v);
                }
            }
        });
        let area = p.blocks as usize * AREA;
        let mut sums = vec![[0.0; GROUP]; groups * c_count * strips * 2 * BLOCK];
        sums.par_chunks_mut(2 * BLOCK).enumerate().for_each(|(at, out)| {
            let (group, c, s) = (at / (c_count * strips), at / strips % c_count, at % strips);
            let lines = |q: usize| &lanes[((q * groups + group) * c_count + c) * n_pad..][..n_pad];
            let strip = Strip {
                tiles: &tiles[3 * starts[s] as usize..3 * starts[s + 1] as usize],
                pieces: std::array::from_fn(
                    |q| if q < pieces { &words[(q * c_count + c) * area..][..area] } else { &[] },
                ),
                vectors: std::array::from_fn(|q| if q < pieces { lines(q) } else { &[] }),
                products: precision.products(),
            };
            strip_sums(&strip, out);
        });
        y.par_chunks_mut(n).enumerate().for_each(|(line, out)| {
            let (f, c) = (line / c_count, line % c_count);
            let exponent = -(matrix_exponents[c] + exponents[line]);
            let rows = &sums[(f / GROUP * c_count + c) * strips * 2 * BLOCK..][..strips * 2 * BLOCK];
            for (out, row) in out.iter_mut().zip(rows) {
                let v = p.alpha * scaled(row[f % GROUP], exponent);
                *out = if p.beta == 0.0 { v } else { p.beta.mul_add(*out, v) };
            }
        });
        long("tiles", tiles.len(), 3 * starts[strips] as usize)
    }
}

#[cfg(feature = "cuda")]
impl Apply for gpu_core::Cuda {
    const DECODED: bool = false;

    fn apply_unchecked(
        &self,
        p: ApplyParams,
        matrix: &Matrix<Self>,
        x: &Vectors<Self>,
        y: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let name = match (matrix.precision, matrix.engine) {
            (Precision::F32, _) => "ata_apply_fma",
            (Precision::F16, Engine::Wmma32) => "ata_apply_wmma32",
            (Precision::F16, _) => "ata_apply_mma_f16",
            (Precision::F16x2, _) => "ata_apply_mma_f16x2",
            (Precision::Bf16, _) => "ata_apply_mma_bf16",
            (Precision::Bf16x3, _) => "ata_apply_mma_bf16x3",
            (Precision::Tf32, _) => "ata_apply_mma_tf32",
            (Precision::Tf32x3, _) => "ata_apply_mma_tf32x3",
        };
        let kernel = self.kernel(&super::cuda::KERNELS, name)?;
        let launch = if matrix.halves.is_empty() {
            kernel.read(matrix.words.flat())?
        } else {
            kernel.read(matrix.halves.flat())?
        };
        let launch = if x.precision.is_half() { launch.read(x.halves.flat())? } else { launch.read(x.words.flat())? };
        let threads = if name == "ata_apply_wmma32" { 32 } else { 32 * PARTS as u32 };
        let launch = launch
            .read(matrix.schedule.tiles.flat())?
            .read(matrix.schedule.starts.flat())?
            .read(matrix.exponents.flat())?
            .read(x.exponents.flat())?
            .write(y)?
            .arg(p)
            .grid((p.strips, p.channels, p.frames_pad / GROUP as u32))
            .block((threads, 1, 1));
        // SAFETY: void ata_apply_T(const A* a, const X* x, const uint* tiles, const uint* starts, const int*
        // matrix_exponents, const int* exponents, float* y, ApplyParams p); `apply` has checked that matrix, vectors and y
        // are of one batch and precision, and the schedule refers to blocks and columns of this matrix alone.
        unsafe { launch.launch() }
    }
}
