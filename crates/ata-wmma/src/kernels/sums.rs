//! Figures of each frame and channel from those of its strips: part `q` of 32 adds the strips `q, q + 32, …` in order, then
//! the parts are added in halves, in `f64`. Twins agree to the bit.
//!
//! The second stage of what [`apply`](super::apply) sums. Floor: 8 bytes a strip and figure.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Batch, fold_strips, long};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct SumsParams {
    /// Lines: frames times channels.
    pub lines: u32,
    /// Strips of a line.
    pub strips: u32,
    /// Figures of a strip.
    pub figures: u32,
}

/// The operation on one backend.
pub trait Sums: Backend {
    #[doc(hidden)]
    fn sums_unchecked(&self, p: SumsParams, partials: View<'_, Self, f64>, out: ViewMut<'_, Self, f64>) -> Result<()>;
}

/// Sums `partials`, `[F, C, strips, figures]`, to `out`, `[F, C, figures]`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn sums<B: Sums>(
    b: &B,
    batch: Batch,
    strips: usize,
    partials: View<'_, B, f64>,
    out: ViewMut<'_, B, f64>,
) -> Result<()> {
    batch.check()?;
    let figures = out.len() / batch.lines().max(1);
    long("figures", batch.lines() * figures, out.len())?;
    long("partials", batch.lines() * strips * figures, partials.len())?;
    let p = SumsParams { lines: batch.lines() as u32, strips: strips as u32, figures: figures as u32 };
    b.sums_unchecked(p, partials, out)
}

impl Sums for Cpu {
    fn sums_unchecked(&self, p: SumsParams, partials: View<'_, Self, f64>, out: ViewMut<'_, Self, f64>) -> Result<()> {
        let (partials, out) = (self.read(partials)?, self.write(out)?);
        let (strips, figures) = (p.strips as usize, p.figures as usize);
        if figures > 0 {
            out.par_iter_mut().enumerate().for_each(|(at, out)| {
                let (line, k) = (at / figures, at % figures);
                [*out] = fold_strips(strips, |s| [partials[(line * strips + s) * figures + k]]);
            });
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Sums for gpu_core::Cuda {
    fn sums_unchecked(&self, p: SumsParams, partials: View<'_, Self, f64>, out: ViewMut<'_, Self, f64>) -> Result<()> {
        let launch = self.kernel(&super::cuda::KERNELS, "ata_sums")?.read(partials)?.write(out)?;
        let launch = launch.arg(p).grid((p.lines.div_ceil(8), 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_sums(const double* partials, double* out, SumsParams p); `sums` has checked all lengths.
        unsafe { launch.launch() }
    }
}
