//! One step of projected steepest descent: `x = clip(x - α g)` with one length a frame,
//! `α = s Σ gᵀg / (Σ gᵀAg + λ Σ gᵀg)` over the channels, 0 when the denominator is not positive.
//!
//! Sums are `f64` in the order of 256 lanes over all channels of the frame; `α` is rounded to `f32`, `x - α g` fused.
//! Twins agree to the bit. Where `stop` is set, nothing happens. Floor: 20 bytes an element (`g` is read twice from caches).

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::start::clip;
use super::{Batch, Control, FistaParams, fold};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct SdParams {
    /// Sizes, bounds, λ.
    pub base: FistaParams,
    /// The factor `s` of the length.
    pub factor: f32,
}

/// The operation on one backend.
pub trait SdStep: Backend {
    #[doc(hidden)]
    fn sd_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: SdParams,
        g: View<'_, Self, f32>,
        ag: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// One step; `g` is the gradient, `ag` its product with A.
///
/// # Errors
/// When a view has another length than the batch.
pub fn sd_step<B: SdStep>(
    b: &B,
    stop: &Control<B>,
    batch: Batch,
    bounds: [f32; 2],
    [lambda, factor]: [f32; 2],
    g: View<'_, B, f32>,
    ag: View<'_, B, f32>,
    x: ViewMut<'_, B, f32>,
) -> Result<()> {
    batch.check()?;
    for (what, len) in [("g", g.len()), ("Ag", ag.len()), ("x", x.len())] {
        batch.fit(what, len)?;
    }
    b.sd_step_unchecked(stop.flag(), SdParams { base: FistaParams::new(batch, bounds, lambda), factor }, g, ag, x)
}

impl SdStep for Cpu {
    fn sd_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: SdParams,
        g: View<'_, Self, f32>,
        ag: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        if self.read(stop)?[0] != 0 {
            return Ok(());
        }
        let (g, ag, x) = (self.read(g)?, self.read(ag)?, self.write(x)?);
        let each = p.base.n as usize * p.base.channels as usize;
        x.par_chunks_mut(each).enumerate().for_each(|(f, x)| {
            let (g, ag) = (&g[f * each..][..each], &ag[f * each..][..each]);
            let [gg, gag] = fold(each, |i| {
                let v = f64::from(g[i]);
                [v * v, v * f64::from(ag[i])]
            });
            let below = gag + f64::from(p.base.lambda) * gg;
            let alpha = if below > 0.0 { f64::from(p.factor) * gg / below } else { 0.0 };
            for (x, &g) in x.iter_mut().zip(g) {
                *x = clip((-(alpha as f32)).mul_add(g, *x), &p.base);
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl SdStep for gpu_core::Cuda {
    fn sd_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: SdParams,
        g: View<'_, Self, f32>,
        ag: View<'_, Self, f32>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_sd_step")?;
        let launch =
            kernel.read(stop)?.read(g)?.read(ag)?.write(x)?.arg(p).grid((p.base.frames, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_sd_step(const uint* stop, const float* g, const float* ag, float* x, SdParams p); `sd_step` has checked all
        // lengths.
        unsafe { launch.launch() }
    }
}
