//! Values for controllers: `floor(255 x + 0.5)` in `u8`, or `floor(65535 x + 0.5)` in `u16`, clipped to the range.
//!
//! Computed in `f64`, so that exactly halves go up; twins agree to the bit. With an order, physical place `order[i]` gets
//! unknown `i`; interleaved output is `[F, n, C]` instead of `[F, C, n]`. Floor: 5 or 6 bytes an element.

use gpu_core::{Backend, Cpu, Elem, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Batch, long};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct QuantiseParams {
    /// Frames.
    pub frames: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Whether channels lie together.
    pub interleaved: u32,
}

/// A level of an output: `u8` or `u16`.
pub trait Level: Elem {
    /// The largest level.
    const TOP: f64;
    /// Suffix of the kernel.
    const NAME: &'static str;
    #[doc(hidden)]
    fn of(v: f64) -> Self;
}
impl Level for u8 {
    const TOP: f64 = 255.0;
    const NAME: &'static str = "u8";
    fn of(v: f64) -> Self {
        v as Self
    }
}
impl Level for u16 {
    const TOP: f64 = 65535.0;
    const NAME: &'static str = "u16";
    fn of(v: f64) -> Self {
        v as Self
    }
}

/// The level of one value.
pub fn level<T: Level>(x: f64) -> T {
    T::of((T::TOP * x + 0.5).floor().clamp(0.0, T::TOP))
}

/// The operation on one backend.
pub trait Quantise: Backend {
    #[doc(hidden)]
    fn quantise_unchecked<T: Level>(
        &self,
        p: QuantiseParams,
        x: View<'_, Self, f32>,
        inverse: View<'_, Self, u32>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Levels of a batch; `inverse` says which unknown each physical place shows, and must be a permutation.
///
/// # Errors
/// When a view has another length than the batch.
pub fn quantise<B: Quantise, T: Level>(
    b: &B,
    batch: Batch,
    x: View<'_, B, f32>,
    inverse: View<'_, B, u32>,
    interleaved: bool,
    out: ViewMut<'_, B, T>,
) -> Result<()> {
    batch.check()?;
    batch.fit("x", x.len())?;
    batch.fit("levels", out.len())?;
    long("inverse", batch.n, inverse.len())?;
    let (frames, channels, n) = (batch.frames as u32, batch.channels as u32, batch.n as u32);
    b.quantise_unchecked(QuantiseParams { frames, channels, n, interleaved: interleaved.into() }, x, inverse, out)
}

impl Quantise for Cpu {
    fn quantise_unchecked<T: Level>(
        &self,
        p: QuantiseParams,
        x: View<'_, Self, f32>,
        inverse: View<'_, Self, u32>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, inverse, out) = (self.read(x)?, self.read(inverse)?, self.write(out)?);
        let (n, channels) = (p.n as usize, p.channels as usize);
        out.par_chunks_mut(n * channels).enumerate().for_each(|(f, out)| {
            for (at, out) in out.iter_mut().enumerate() {
                let (c, place) = if p.interleaved == 1 { (at % channels, at / channels) } else { (at / n, at % n) };
                // An index outside would be a panic here and a stray read on a device.
                let i = (inverse[place] as usize).min(n - 1);
                *out = level(f64::from(x[(f * channels + c) * n + i]));
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Quantise for gpu_core::Cuda {
    fn quantise_unchecked<T: Level>(
        &self,
        p: QuantiseParams,
        x: View<'_, Self, f32>,
        inverse: View<'_, Self, u32>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("ata_quantise_{}", T::NAME))?;
        let blocks = gpu_core::cuda::Grid::cover((p.n * p.channels) as usize, 256)?;
        let launch = kernel
            .read(x)?
            .read(inverse)?
            .write(out)?
            .arg(p)
            .grid((blocks, p.frames.min(65_535), 1))
            .block((256, 1, 1));
        // SAFETY: void ata_quantise_T(const float* x, const uint* inverse, T* out, QuantiseParams p); `quantise` has
        // checked all lengths, and the kernel keeps indices inside.
        unsafe { launch.launch() }
    }
}
