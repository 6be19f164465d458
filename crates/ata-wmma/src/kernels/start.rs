//! The diagonal start: `x = clip(b / ρ)`, and the lower bound where `ρ = 0` (a dead LED).
//!
//! Floor: 12 bytes an element.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;

use super::{Batch, FistaParams, long};

/// The operation on one backend.
pub trait Start: Backend {
    #[doc(hidden)]
    fn start_unchecked(
        &self,
        p: FistaParams,
        b: View<'_, Self, f32>,
        rho: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Writes the start of every frame; `rho` is `[C, n]`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn start<B: Start>(
    backend: &B,
    batch: Batch,
    bounds: [f32; 2],
    b: View<'_, B, f32>,
    rho: View<'_, B, f32>,
    x: ViewMut<'_, B, f32>,
) -> Result<()> {
    batch.check()?;
    batch.fit("b", b.len())?;
    batch.fit("x", x.len())?;
    long("rho", batch.channels * batch.n, rho.len())?;
    backend.start_unchecked(FistaParams::new(batch, bounds, 0.0), b, rho, x)
}

/// Nearest value between the bounds.
pub(super) fn clip(v: f32, p: &FistaParams) -> f32 {
    // Comparisons, so that both twins treat NaN and -0 alike.
    let v = if v < p.lower { p.lower } else { v };
    if v > p.upper { p.upper } else { v }
}

impl Start for Cpu {
    fn start_unchecked(
        &self,
        p: FistaParams,
        b: View<'_, Self, f32>,
        rho: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (b, rho, x) = (self.read(b)?, self.read(rho)?, self.write(x)?);
        let (n, channels) = (p.n as usize, p.channels as usize);
        x.par_chunks_mut(n).enumerate().for_each(|(line, x)| {
            let rho = &rho[line % channels * n..][..n];
            for (i, (x, &rho)) in x.iter_mut().zip(rho).enumerate() {
                *x = if rho > 0.0 { clip(b[line * n + i] / rho, &p) } else { p.lower };
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Start for gpu_core::Cuda {
    fn start_unchecked(
        &self,
        p: FistaParams,
        b: View<'_, Self, f32>,
        rho: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_start")?;
        let launch = kernel.read(b)?.read(rho)?.write(x)?.arg(p).grid((p.frames * p.channels, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_start(const float* b, const float* rho, float* x, FistaParams p); `start` has checked all
        // lengths.
        unsafe { launch.launch() }
    }
}
