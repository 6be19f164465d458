//! Values for controllers: `floor(255 x + 0.5)` in `u8`, or `floor(65535 x + 0.5)` in `u16`, clipped to the range.
//!
//! Computed in `f64`, so that exactly halves go up; twins agree to the bit. With an order, physical place `order[i]` gets
//! unknown `i`; interleaved output is `[F, n, C]` instead of `[F, C, n]`. With a table (gamma of the LEDs, say), level `v`
//! becomes `table[v]`. Floor: 5 or 6 bytes an element.

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
    /// Whether levels go through a table.
    pub table: u32,
}

/// A level of an output: `u8` or `u16`.
pub trait Level: Elem {
    /// The largest level.
    const TOP: f64;
    /// Suffix of the kernel.
    const NAME: &'static str;
    #[doc(hidden)]
    fn of(v: f64) -> Self;
    #[doc(hidden)]
    fn index(self) -> usize;
}
impl Level for u8 {
    const TOP: f64 = 255.0;
    const NAME: &'static str = "u8";
    fn of(v: f64) -> Self {
        v as Self
    }
    fn index(self) -> usize {
        self.into()
    }
}
impl Level for u16 {
    const TOP: f64 = 65535.0;
    const NAME: &'static str = "u16";
    fn of(v: f64) -> Self {
        v as Self
    }
    fn index(self) -> usize {
        self.into()
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
        table: View<'_, Self, T>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// The levels of a display whose light is `level^gamma`: what brings out light in proportion to x.
pub fn gamma_table<T: Level>(gamma: f64) -> Vec<T> {
    (0..=T::TOP as usize).map(|v| level((v as f64 / T::TOP).powf(1.0 / gamma))).collect()
}

/// Levels of a batch; `inverse` says which unknown each physical place shows, and must be a permutation. `table` is empty,
/// or has an entry for each level.
///
/// # Errors
/// When a view has another length than the batch, or the table than there are levels.
pub fn quantise<B: Quantise, T: Level>(
    b: &B,
    batch: Batch,
    x: View<'_, B, f32>,
    inverse: View<'_, B, u32>,
    table: View<'_, B, T>,
    interleaved: bool,
    out: ViewMut<'_, B, T>,
) -> Result<()> {
    batch.check()?;
    batch.fit("x", x.len())?;
    batch.fit("levels", out.len())?;
    long("inverse", batch.n, inverse.len())?;
    if !table.is_empty() {
        long("table", T::TOP as usize + 1, table.len())?;
    }
    let (frames, channels, n) = (batch.frames as u32, batch.channels as u32, batch.n as u32);
    let (interleaved, through) = (interleaved.into(), u32::from(!table.is_empty()));
    b.quantise_unchecked(QuantiseParams { frames, channels, n, interleaved, table: through }, x, inverse, table, out)
}

impl Quantise for Cpu {
    fn quantise_unchecked<T: Level>(
        &self,
        p: QuantiseParams,
        x: View<'_, Self, f32>,
        inverse: View<'_, Self, u32>,
        table: View<'_, Self, T>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, inverse, table) = (self.read(x)?, self.read(inverse)?, self.read(table)?);
        let out = self.write(out)?;
        let (n, channels) = (p.n as usize, p.channels as usize);
        out.par_chunks_mut(n * channels).enumerate().for_each(|(f, out)| {
            for (at, out) in out.iter_mut().enumerate() {
                let (c, place) = if p.interleaved == 1 { (at % channels, at / channels) } else { (at / n, at % n) };
                // An index outside would be a panic here and a stray read on a device.
                let i = (inverse[place] as usize).min(n - 1);
                let v: T = level(f64::from(x[(f * channels + c) * n + i]));
                *out = if p.table == 1 { table[v.index()] } else { v };
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
        table: View<'_, Self, T>,
        out: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("ata_quantise_{}", T::NAME))?;
        let blocks = gpu_core::cuda::Grid::cover((p.n * p.channels) as usize, 256)?;
        let launch = kernel
            .read(x)?
            .read(inverse)?
            .read(table)?
            .write(out)?
            .arg(p)
            .grid((blocks, p.frames.min(65_535), 1))
            .block((256, 1, 1));
        // SAFETY: void ata_quantise_T(const float* x, const uint* inverse, const T* table, T* out, QuantiseParams p); `quantise` has
        // checked all lengths, and the kernel keeps indices inside.
        unsafe { launch.launch() }
    }
}
