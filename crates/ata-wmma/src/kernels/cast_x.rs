//! Pieces of the vectors in `f16`, padded with zeros to whole blocks and groups of 8 frames.
//!
//! `out[p, f, c, i] = piece_p(2^e x[f, c, i])` with `e[f, c] = -ceil(log2 max |x|)` (0 for a zero vector, and where values
//! are known to lie in [0, 1]). Pieces are rounded to nearest, ties to even, each from what the ones before left; both
//! twins agree to the bit. Other formats need no power of two, and products round them where they read them.
//!
//! Floor: 4 bytes read and `2 pieces` written an element.

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
    /// Whether a power of two is looked for.
    pub scaled: u32,
}

/// Vectors in `f16`: `[pieces, F padded, C, n padded]`.
#[derive(Debug)]
pub struct Vectors<B: Backend> {
    pub(crate) precision: Precision,
    pub(crate) halves: Tensor<B, u16, 1>,
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
        if !precision.is_scaled() {
            return Err(Error::value("vectors", format!("{precision} is not cast before it is multiplied")));
        }
        Ok(Self {
            precision,
            halves: Tensor::scratch(b, [len])?,
            exponents: Tensor::scratch(b, [frames_pad * batch.channels])?,
            frames_pad,
        })
    }

    /// The pieces.
    pub fn halves(&self) -> &Tensor<B, u16, 1> {
        &self.halves
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
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()>;
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
    if out.halves.len() < len {
        return Err(Error::shape("vectors", &[len], &[out.halves.len()]));
    }
    let p = CastParams {
        frames: batch.frames as u32,
        frames_pad: batch.padded_frames() as u32,
        channels: batch.channels as u32,
        n: batch.n as u32,
        n_pad: batch.padded() as u32,
        pieces: precision.pieces() as u32,
        scaled: u32::from(!unit_range),
    };
    let lines = batch.padded_frames() * batch.channels;
    b.cast_x_unchecked(p, x, out.halves.flat_mut().slice(0..len)?, out.exponents.flat_mut().slice(0..lines)?)
}

impl CastX for Cpu {
    fn cast_x_unchecked(
        &self,
        p: CastParams,
        x: View<'_, Self, f32>,
        halves: ViewMut<'_, Self, u16>,
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()> {
        let (x, halves, exponents) = (self.read(x)?, self.write(halves)?, self.write(exponents)?);
        let precision = if p.pieces == 1 { Precision::F16 } else { Precision::F16x2 };
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
        exponents: ViewMut<'_, Self, i32>,
    ) -> Result<()> {
        // There are few lines, so that each gets as many threads as it can use.
        let threads = p.n_pad.next_power_of_two().clamp(32, 1024);
        let launch = self.kernel(&super::cuda::KERNELS, "ata_cast_x")?.read(x)?.write(halves)?;
        let launch = launch.write(exponents)?.arg(p).grid((p.frames_pad * p.channels, 1, 1)).block((threads, 1, 1));
        // SAFETY: void ata_cast_x(const float* x, ushort* out, int* exponents, CastParams p); `cast_x` has checked that x
        // holds every frame, and out every piece of every padded frame.
        unsafe { launch.launch() }
    }
}
