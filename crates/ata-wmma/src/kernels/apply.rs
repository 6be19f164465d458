//! `A_c x[f, c, :]` over the tiles of a schedule, and what becomes of it in the same launch: `y = α A x + β y`, `xᵀAx`, or
//! `g = A x - b` with `gᵀg` and `xᵀ(g - b)`.
//!
//! Strip by strip: tile `t` of a strip belongs to part `t mod 8`; a part sums its tiles in order from 0, a tile's 16
//! columns in order and the pairs of pieces small to large; parts are added in order. The sum is multiplied by the powers
//! of two of matrix and vector, then by α; β y is added with one rounding, and y is not read when β is 0. The engine
//! `Fma` keeps that order, so twins agree to the bit in `F32`; matrix units order the sums inside a tile in their own way.
//! [`band`](super::band) tells the order of the engine `Band`. Figures are summed strip by strip in `f64` (a tree of 32 rows); [`sums`](super::sums) adds the strips.
//!
//! Vectors are rounded where they are read. Only those that need a power of two, and those of the engine `Wmma32`, are cast
//! before, by another launch.
//!
//! Floor: a product and a sum an element, piece product and frame; the matrix's bytes once, and x and y in `f32`.

use gpu_core::{Backend, Error, Result, Tensor, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::{Batch, CastX, Matrix, Vectors, cast_x};
use crate::precision::Precision;

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
    /// 0 stores, 1 sums `xᵀAx`, 2 stores and sums residuals.
    pub mode: u32,
    /// Whether vectors were cast before.
    pub cast: u32,
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
    /// `mma.sync`, each block fetched once for both triangles: for matrices larger than the caches whose diagonals lie
    /// near each other. `F16` with vectors near [0, 1], `Bf16` and `Tf32`: pieces
    /// split in registers cost more than the bytes saved.
    Band,
}

/// What [`Engine::Band`] multiplies in.
pub(crate) const BANDS: [Precision; 3] = [Precision::F16, Precision::Bf16, Precision::Tf32];

/// What a product needs beside its operands, for as many frames or fewer.
#[derive(Debug)]
pub struct Room<B: Backend> {
    /// Where vectors are cast before.
    pub(crate) vectors: Option<Vectors<B>>,
    /// Figures of strips, `[F, C, strips, 1 or 2]`.
    pub(crate) partials: Tensor<B, f64, 1>,
    /// Stands for a result that is not written.
    spare: Tensor<B, f32, 1>,
    frames: usize,
}

impl<B: Backend> Room<B> {
    /// Room for products of a batch; `unit_range` as for [`apply`].
    ///
    /// # Errors
    /// When the device has none.
    pub fn new(b: &B, batch: Batch, matrix: &Matrix<B>, unit_range: bool) -> Result<Self> {
        let cast = matrix.casts(unit_range);
        Ok(Self {
            vectors: if cast { Some(Vectors::scratch(b, batch, matrix.precision)?) } else { None },
            partials: Tensor::scratch(b, [2 * batch.lines() * matrix.strips])?,
            spare: Tensor::scratch(b, [1])?,
            frames: batch.frames,
        })
    }
}

impl<B: Backend> Matrix<B> {
    /// Whether its vectors are cast before they are multiplied.
    pub(crate) fn casts(&self, unit_range: bool) -> bool {
        self.engine == Engine::Wmma32 || self.precision.is_scaled() && !unit_range
    }
}

/// What becomes of a product.
#[derive(Debug)]
pub enum Use<'a, B: Backend> {
    /// `y = α A x + β y`.
    Store {
        /// Factor of the product.
        alpha: f32,
        /// Factor of what y held; with 0 that is not read.
        beta: f32,
        /// `[F, C, n]`.
        y: ViewMut<'a, B, f32>,
    },
    /// The strips' shares of `xᵀAx`, into the room.
    Quad,
    /// `g = A x - b`, and the strips' shares of `gᵀg` and `xᵀ(g - b)`, into the room.
    Residual {
        /// `[F, C, n]`.
        b: View<'a, B, f32>,
        /// `[F, C, n]`.
        g: ViewMut<'a, B, f32>,
    },
}

/// The views of a launch; those that its mode does not use stand for nothing.
#[doc(hidden)]
#[derive(Debug)]
pub struct Operands<'a, B: Backend> {
    pub x: View<'a, B, f32>,
    pub vectors: Option<&'a Vectors<B>>,
    pub b: View<'a, B, f32>,
    pub y: ViewMut<'a, B, f32>,
    pub partials: ViewMut<'a, B, f64>,
}

/// The operation on one backend.
pub trait Apply: Backend {
    /// Whether pieces are kept as `f32`, each on its own.
    const DECODED: bool;

    #[doc(hidden)]
    fn apply_unchecked(&self, p: ApplyParams, matrix: &Matrix<Self>, operands: Operands<'_, Self>) -> Result<()>;
}

/// Multiplies `x`, `[F, C, n]`; see the page. With `unit_range` its values are known to lie near [0, 1], and `f16` looks
/// for no power of two.
///
/// # Errors
/// When a view is of another length than the batch, or the room was made for a smaller one or another plan.
pub fn apply<B: Apply + CastX>(
    b: &B,
    batch: Batch,
    matrix: &Matrix<B>,
    unit_range: bool,
    x: View<'_, B, f32>,
    room: &mut Room<B>,
    what: Use<'_, B>,
) -> Result<()> {
    batch.check()?;
    batch.fit("x", x.len())?;
    if (batch.channels, batch.n) != (matrix.channels, matrix.n) {
        return Err(Error::shape(
            "x",
            &[batch.frames, matrix.channels, matrix.n],
            &[batch.frames, batch.channels, batch.n],
        ));
    }
    let cast = matrix.casts(unit_range);
    let partials = 2 * batch.lines() * matrix.strips;
    if room.frames < batch.frames || room.vectors.is_some() != cast || room.partials.len() < partials {
        return Err(Error::value("work", "it was made for fewer frames, or for another plan"));
    }
    if batch.frames == 0 {
        return Ok(());
    }
    if let Some(vectors) = &mut room.vectors {
        cast_x(b, batch, x, unit_range, vectors)?;
    }
    let (mode, alpha, beta, right, y) = match what {
        Use::Store { alpha, beta, y } => (0, alpha, beta, x, y),
        Use::Quad => (1, 1.0, 0.0, x, room.spare.flat_mut()),
        Use::Residual { b, g } => (2, 1.0, 0.0, b, g),
    };
    if mode != 1 {
        batch.fit("b", right.len())?;
        batch.fit("y", y.len())?;
    }
    let p = ApplyParams {
        frames: batch.frames as u32,
        frames_pad: batch.padded_frames() as u32,
        channels: batch.channels as u32,
        n: batch.n as u32,
        n_pad: batch.padded() as u32,
        strips: matrix.strips as u32,
        blocks: matrix.blocks as u32,
        mode,
        cast: cast.into(),
        alpha,
        beta,
    };
    let partials = room.partials.flat_mut().slice(0..partials)?;
    b.apply_unchecked(p, matrix, Operands { x, vectors: room.vectors.as_ref(), b: right, y, partials })
}

/// Kernel, matrix and bytes of shared memory where blocks are fetched once.
#[cfg(feature = "cuda")]
fn of_band<'a>(
    b: &gpu_core::Cuda,
    matrix: &'a Matrix<gpu_core::Cuda>,
    operands: &Operands<'_, gpu_core::Cuda>,
) -> Result<Option<(&'static str, &'a super::band::Band<gpu_core::Cuda>, u32)>> {
    let wanted = |band: &&super::band::Band<_>| matrix.engine == Engine::Band || band.is_large;
    let Some(band) = matrix.band.as_ref().filter(wanted).filter(|_| operands.vectors.is_none()) else {
        return Ok(None);
    };
    let (name, element) = match matrix.precision {
        Precision::F16 => ("ata_apply_band_f16", 2),
        Precision::Bf16 => ("ata_apply_band_bf16", 2),
        Precision::Tf32 => ("ata_apply_band_tf32", 4),
        _ => return Ok(None),
    };
    let shared = band.shared(element);
    let kernel = b.kernel(&super::cuda::KERNELS, name)?;
    let resident = kernel.block((32 * band.warps as u32, 1, 1)).shared(shared).resident()?;
    Ok((resident > 0).then_some((name, band, shared)))
}

#[cfg(feature = "cuda")]
impl Apply for gpu_core::Cuda {
    const DECODED: bool = false;

    fn apply_unchecked(&self, p: ApplyParams, matrix: &Matrix<Self>, operands: Operands<'_, Self>) -> Result<()> {
        if let Some((name, band, shared)) = of_band(self, matrix, &operands)? {
            let kernel = self.kernel(&super::cuda::KERNELS, name)?;
            let launch = if matrix.halves.is_empty() {
                kernel.read(matrix.words.flat())?
            } else {
                kernel.read(matrix.halves.flat())?
            };
            let launch = launch
                .read(operands.x)?
                .read(band.distances.flat())?
                .read(band.places.flat())?
                .read(matrix.exponents.flat())?
                .read(operands.b)?
                .write(operands.y)?
                .write(operands.partials)?
                .arg(p)
                .arg(band.params)
                .grid((band.params.rows.div_ceil(band.own() as u32), p.channels, p.frames_pad / super::GROUP as u32))
                .block((32 * band.warps as u32, 1, 1))
                .shared(shared);
            // SAFETY: void ata_apply_band_T(const A* a, const float* x, const uint* distances, const uint* places, const
            // int* matrix_exponents, const float* b, float* y, double* partials, ApplyParams p, BandParams band); `apply`
            // has checked all lengths, the kernel's mode touches no view that stands for nothing, and places refer to
            // blocks of this matrix alone.
            return unsafe { launch.launch() };
        }
        let name = match (matrix.precision, operands.vectors) {
            (Precision::F32, _) => "ata_apply_fma",
            (Precision::F16, _) if matrix.engine == Engine::Wmma32 => "ata_apply_wmma32",
            (Precision::F16, None) => "ata_apply_mma_f16",
            (Precision::F16, Some(_)) => "ata_apply_mma_f16_cast",
            (Precision::F16x2, None) => "ata_apply_mma_f16x2",
            (Precision::F16x2, Some(_)) => "ata_apply_mma_f16x2_cast",
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
        let launch = match operands.vectors {
            Some(vectors) => launch.read(vectors.halves.flat())?,
            None => launch.read(operands.x)?,
        };
        let launch = launch
            .read(matrix.schedule.tiles.flat())?
            .read(matrix.schedule.starts.flat())?
            .read(matrix.exponents.flat())?;
        let exponents = operands.vectors.map_or(&matrix.exponents, |vectors| &vectors.exponents);
        let threads = if name == "ata_apply_wmma32" { 32 } else { 32 * crate::schedule::PARTS as u32 };
        let launch = launch
            .read(exponents.flat())?
            .read(operands.x)?
            .read(operands.b)?
            .write(operands.y)?
            .write(operands.partials)?
            .arg(p)
            .grid((p.strips, p.channels, p.frames_pad / super::GROUP as u32))
            .block((threads, 1, 1));
        // SAFETY: void ata_apply_T(const A* a, const X* x, const uint* tiles, const uint* starts, const int*
        // matrix_exponents, const int* exponents, const float* plain, const float* b, float* y, double* partials,
        // ApplyParams p); `apply` has checked all lengths, the kernel's mode touches no view that stands for nothing, and
        // the schedule refers to blocks and columns of this matrix alone.
        unsafe { launch.launch() }
    }
}
