//! Pieces of the vectors in the number format of a product, padded with zeros to whole blocks and groups of 8 frames.
//!
//! `out[p, f, c, i] = piece_p(2^e x[f, c, i])` with `e[f, c] = -ceil(log2 max |x|)` for `f16` (0 for a zero vector, and
//! where values are known to lie in [0, 1]) and 0 otherwise. Pieces are rounded to nearest, ties to even, each from what
//! the ones before left; both twins agree to the bit.
//!
//! Floor: 4 bytes read and `2 pieces` or `4 pieces` written an element.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Batch, long};
use crate::precision::{Precision, scaled, vector_exponent};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct CastParams {
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
    /// Pieces.
    pub pieces: u32,
    /// 0 `f16`, 1 `bf16`, 2 TF32, 3 `f32`.
    pub format: u32,
    /// Whether a power of two is looked for.
    pub scaled: u32,
}

/// Vectors in the number format of a product: `[pieces, F padded, C, n padded]`, of 16 or of 32 bits.
#[derive(Debug)]
pub struct Vectors<B: Backend> {
    pub(crate) precision: Precision,
    pub(crate) halves: Tensor<B, u16, 1>,
    pub(crate) words: Tensor<B, f32, 1>,
    /// Exponent of each frame and channel, `[F padded, C]`.
    pub(crate) exponents: Tensor<B, i32, 1>,
    pub(crate) frames_pad: usize,
}

impl<B: Backend> Vectors<B> {
    /// Room for vectors; unspecified contents.
    pub fn scratch(b: &B, batch: Batch, precision: Precision) -> Result<Self> {
        batch.check()?;
        let frames_pad = batch.padded_frames();
        let len = precision.pieces() * frames_pad * batch.channels * batch.padded();
        let (halves, words) = if precision.is_half() { (len, 0) } else { (0, len) };
        Ok(Self {
            precision,
            halves: Tensor::scratch(b, [halves])?,
            words: Tensor::scratch(b, [words])?,
            exponents: Tensor::scratch(b, [frames_pad * batch.channels])?,
            frames_pad,
        })
    }

    /// Pieces of 16 bits; empty for formats of 32.
    pub fn halves(&self) -> &Tensor<B, u16, 1> {
        &self.halves
    }

    /// Pieces of 32 bits; empty for formats of 16.
    pub fn words(&self) -> &Tensor<B, f32, 1> {
        &self.words
    }

    /// Exponents, `[F padded, C]`.
    pub fn exponents(&self) -> &Tensor<B, i32, 1> {
        &self.exponents
    }
}

/// The operation on one backend.
pub trait CastX: Backend {
    #[doc(hidden)]
    fn cast_x_unchecked(
        &self,
        p: CastParams,
        x: View<'_, Self, f32>,
        halves: ViewMut<'_, Self, u16>,
        words: ViewMut<'_, Self, f32>,
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()>;
}

pub(super) fn format(precision: Precision) -> u32 {
    match precision {
        Precision::F16 | Precision::F16x2 => 0,
        Precision::Bf16 | Precision::Bf16x3 => 1,
        Precision::Tf32 | Precision::Tf32x3 => 2,
        Precision::F32 => 3,
    }
}

/// Casts `[F, C, n]`; with `unit_range` values are known to lie in [0, 1], and no power of two is looked for.
///
/// # Errors
/// When `x` or `out` is for another batch.
pub fn cast_x<B: CastX>(
    b: &B,
    batch: Batch,
    x: View<'_, B, f32>,
    unit_range: bool,
    out: &mut Vectors<B>,
) -> Result<()> {
    batch.check()?;
    batch.fit("x", x.len())?;
    let precision = out.precision;
    // A group of frames may use the first part of what there is room for.
    if out.frames_pad < batch.padded_frames() {
        return Err(Error::value("x", format!("{} frames, there is room for {}", batch.frames, out.frames_pad)));
    }
    let len = precision.pieces() * batch.padded_frames() * batch.channels * batch.padded();
    let room = if precision.is_half() { out.halves.len() } else { out.words.len() };
    if room < len {
        return Err(Error::shape("vectors", &[len], &[room]));
    }
    let p = CastParams {
        frames: batch.frames as u32,
        frames_pad: batch.padded_frames() as u32,
        channels: batch.channels as u32,
        n: batch.n as u32,
        n_pad: batch.padded() as u32,
        pieces: precision.pieces() as u32,
        format: format(precision),
        scaled: u32::from(precision.is_scaled() && !unit_range),
    };
    let lines = batch.padded_frames() * batch.channels;
    let (halves, words) = if precision.is_half() { (len, 0) } else { (0, len) };
    b.cast_x_unchecked(
        p,
        x,
        out.halves.flat_mut().slice(0..halves)?,
        out.words.flat_mut().slice(0..words)?,
        out.exponents.flat_mut().slice(0..lines)?,
    )
}

fn precision_of(p: CastParams) -> Precision {
    match (p.format, p.pieces) {
        (0, 1) => Precision::F16,
        (0, _) => Precision::F16x2,
        (1, 1) => Precision::Bf16,
        (1, _) => Precision::Bf16x3,
        (2, 1) => Precision::Tf32,
        (2, _) => Precision::Tf32x3,
        _ => Precision::F32,
    }
}

impl CastX for Cpu {
    fn cast_x_unchecked(
        &self,
        p: CastParams,
        x: View<'_, Self, f32>,
        halves: ViewMut<'_, Self, u16>,
        words: ViewMut<'_, Self, f32>,
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()> {
        let (x, halves, words) = (self.read(x)?, self.write(halves)?, self.write(words)?);
        let exponents = self.write(exponents)?;
        let precision = precision_of(p);
        let (n, n_pad) = (p.n as usize, p.n_pad as usize);
        let lines = exponents.len();
        let line = |i: usize| if i < (p.frames * p.channels) as usize { &x[i * n..][..n] } else { &[][..] };
        exponents.par_iter_mut().enumerate().for_each(|(i, e)| {
            let largest = line(i).iter().fold(0.0f32, |m, v| m.max(v.abs()));
            *e = if p.scaled == 1 && largest.is_finite() { vector_exponent(largest) } else { 0 };
        });
        let exponents = &*exponents;
        let piece = |at: usize, i: usize| {
            // `at` counts lines over all pieces.
            let v = line(at % lines).get(i).copied().unwrap_or(0.0);
            precision.split(scaled(v, exponents[at % lines]))[at / lines]
        };
        halves.par_chunks_mut(n_pad).enumerate().for_each(|(at, out)| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = precision.bits(piece(at, i)));
        });
        words.par_chunks_mut(n_pad).enumerate().for_each(|(at, out)| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = piece(at, i));
        });
        long("exponents", lines, (p.frames_pad * p.channels) as usize)
    }
}

#[cfg(feature = "cuda")]
impl CastX for gpu_core::Cuda {
    fn cast_x_unchecked(
        &self,
        p: CastParams,
        x: View<'_, Self, f32>,
        halves: ViewMut<'_, Self, u16>,
        words: ViewMut<'_, Self, f32>,
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()> {
        // There are few lines, so that each gets as many threads as it can use.
        let threads = p.n_pad.next_power_of_two().clamp(32, 1024);
        let kernel =
            self.kernel(&super::cuda::KERNELS, if p.format < 2 { "ata_cast_halves" } else { "ata_cast_words" })?;
        let launch = if p.format < 2 { kernel.read(x)?.write(halves)? } else { kernel.read(x)?.write(words)? };
        let launch = launch.write(exponents)?.arg(p).grid((p.frames_pad * p.channels, 1, 1)).block((threads, 1, 1));
        // SAFETY: void ata_cast_T(const float* x, T* out, int* exponents, CastParams p); `cast_x` has checked that x holds
        // every frame, and out every piece of every padded frame.
        unsafe { launch.launch() }
    }
}
