//! `g = (A x + λ x) - b`, with λ x fused into its sum. Twins agree to the bit. Floor: 16 bytes an element.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;

use super::{Batch, FistaParams};

/// The operation on one backend.
pub trait Gradient: Backend {
    #[doc(hidden)]
    fn gradient_unchecked(
        &self,
        p: FistaParams,
        inputs: [View<'_, Self, f32>; 3],
        g: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// The gradient of every frame and channel; `inputs` are `A x`, `b` and `x`, all `[F, C, n]`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn gradient<B: Gradient>(
    backend: &B,
    batch: Batch,
    lambda: f32,
    inputs: [View<'_, B, f32>; 3],
    g: ViewMut<'_, B, f32>,
) -> Result<()> {
    batch.check()?;
    for (what, len) in [("Ax", inputs[0].len()), ("b", inputs[1].len()), ("x", inputs[2].len()), ("g", g.len())] {
        batch.fit(what, len)?;
    }
    backend.gradient_unchecked(FistaParams::new(batch, [0.0, 0.0], lambda), inputs, g)
}

impl Gradient for Cpu {
    fn gradient_unchecked(
        &self,
        p: FistaParams,
        [ax, b, x]: [View<'_, Self, f32>; 3],
        g: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (ax, b, x, g) = (self.read(ax)?, self.read(b)?, self.read(x)?, self.write(g)?);
        g.par_iter_mut().enumerate().for_each(|(i, g)| *g = p.lambda.mul_add(x[i], ax[i]) - b[i]);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Gradient for gpu_core::Cuda {
    fn gradient_unchecked(
        &self,
        p: FistaParams,
        [ax, b, x]: [View<'_, Self, f32>; 3],
        g: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let launch = self.kernel(&super::cuda::KERNELS, "ata_gradient")?.read(ax)?.read(b)?.read(x)?.write(g)?;
        let launch = launch.arg(p).grid((p.frames * p.channels, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_gradient(const float* ax, const float* b, const float* x, float* g, FistaParams p); `gradient`
        // has checked all lengths.
        unsafe { launch.launch() }
    }
}
