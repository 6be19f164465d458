//! `[Σ x y, Σ y y, Σ x (y - z)]` of each frame and channel, in `f64` in the fixed order of 256 lanes.
//!
//! With `y = A x` the first is `xᵀAx`; with `y = g = A x - b` and `z = b` the others are `gᵀg` and twice the objective.
//! Every operation is rounded on its own, so twins agree to the bit. Floor: 12 bytes an element.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Batch, fold, long};

/// Figures of a line.
pub const FIGURES: usize = 3;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct DotsParams {
    /// Lines: frames times channels.
    pub lines: u32,
    /// Elements of a line.
    pub n: u32,
}

/// The operation on one backend.
pub trait Dots: Backend {
    #[doc(hidden)]
    fn dots_unchecked(&self, p: DotsParams, xyz: [View<'_, Self, f32>; 3], out: ViewMut<'_, Self, f64>) -> Result<()>;
}

/// Figures of every line; `out` is `[F, C, 3]`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn dots<B: Dots>(b: &B, batch: Batch, xyz: [View<'_, B, f32>; 3], out: ViewMut<'_, B, f64>) -> Result<()> {
    batch.check()?;
    for (what, v) in ["x", "y", "z"].into_iter().zip(&xyz) {
        batch.fit(what, v.len())?;
    }
    long("figures", FIGURES * batch.lines(), out.len())?;
    b.dots_unchecked(DotsParams { lines: batch.lines() as u32, n: batch.n as u32 }, xyz, out)
}

impl Dots for Cpu {
    fn dots_unchecked(
        &self,
        p: DotsParams,
        [x, y, z]: [View<'_, Self, f32>; 3],
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (x, y, z, out) = (self.read(x)?, self.read(y)?, self.read(z)?, self.write(out)?);
        let n = p.n as usize;
        out.par_chunks_mut(FIGURES).enumerate().for_each(|(line, out)| {
            let of = |v: &'_ [f32], i: usize| f64::from(v[line * n + i]);
            out.copy_from_slice(&fold(n, |i| {
                let (x, y, z) = (of(x, i), of(y, i), of(z, i));
                [x * y, y * y, x * (y - z)]
            }));
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Dots for gpu_core::Cuda {
    fn dots_unchecked(
        &self,
        p: DotsParams,
        [x, y, z]: [View<'_, Self, f32>; 3],
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_dots")?;
        let launch = kernel.read(x)?.read(y)?.read(z)?.write(out)?.arg(p).grid((p.lines, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_dots(const float* x, const float* y, const float* z, double* out, DotsParams p); `dots` has
        // checked all lengths.
        unsafe { launch.launch() }
    }
}
