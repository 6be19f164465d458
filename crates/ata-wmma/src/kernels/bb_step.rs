//! One step of projected Barzilai-Borwein in the variables scaled by `√ρ`, a line at a time.
//!
//! With `g = (A x + λ x) - b`, and `s`, `d` the changes of `x` and `g` since the step before: odd steps have the length
//! `Σ ρ s² / Σ s d`, even ones `Σ s d / Σ d² / ρ`, inside [1e-3, 1e4]; 1 in the first step and where `Σ s d` is not positive.
//! Then `x⁺ = clip(x - α (g / ρ))`, the lower bound in dead rows. Objectives `½ Σ x (g - b)` go up and down: the best `x` is
//! kept, and the last call writes it to `x` instead of a step. Elements are `f32`, `α (g / ρ)` is fused into its difference;
//! sums are `f64` in the order of 256 lanes. Twins agree to the bit. Where `stop` is set, nothing happens.
//!
//! Floor: 36 bytes an element (the product, b, ρ, x and both before read, x and both before written).
//!
//! Source: J. Barzilai, J. Borwein, *Two-point step size gradient methods*, 1988; Y.-H. Dai, R. Fletcher, *Projected
//! Barzilai-Borwein methods for large-scale box-constrained quadratic programming*, 2005.

use gpu_core::{Backend, Cpu, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::start::clip;
use super::{Batch, Control, FistaParams, fold, long};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct BbParams {
    /// Sizes, bounds, λ.
    pub base: FistaParams,
    /// Steps done before.
    pub iteration: u32,
    /// Whether this call ends the search.
    pub last: u32,
}

/// What steps hand on.
#[derive(Debug)]
pub struct BbState<B: Backend> {
    /// `x` before the last step, `[F, C, n]`.
    x: Tensor<B, f32, 1>,
    /// Its gradient.
    g: Tensor<B, f32, 1>,
    /// The best `x` so far.
    best: Tensor<B, f32, 1>,
    /// Its objective, `[F, C]`.
    lowest: Tensor<B, f64, 1>,
}

impl<B: Backend> BbState<B> {
    /// Room; unspecified contents.
    ///
    /// # Errors
    /// When the device has none.
    pub fn scratch(b: &B, batch: Batch) -> Result<Self> {
        let line = || Tensor::scratch(b, [batch.len()]);
        Ok(Self { x: line()?, g: line()?, best: line()?, lowest: Tensor::scratch(b, [batch.lines()])? })
    }

    /// The best `x` so far, `[F, C, n]`.
    pub fn best(&self) -> &Tensor<B, f32, 1> {
        &self.best
    }

    /// Its objective, `[F, C]`.
    pub fn lowest(&self) -> &Tensor<B, f64, 1> {
        &self.lowest
    }
}

/// The operation on one backend.
pub trait BbStep: Backend {
    #[doc(hidden)]
    fn bb_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: BbParams,
        inputs: [View<'_, Self, f32>; 3],
        state: &mut BbState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Step number `iteration`, from 0; `inputs` are `A x` and `b`, `[F, C, n]`, and `ρ`, `[C, n]` (with λ in it). With `last`
/// the best `x` so far, this one among them, is written to `x`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn bb_step<B: BbStep>(
    b: &B,
    stop: &Control<B>,
    batch: Batch,
    bounds: [f32; 2],
    lambda: f32,
    (iteration, last): (usize, bool),
    inputs: [View<'_, B, f32>; 3],
    state: &mut BbState<B>,
    x: ViewMut<'_, B, f32>,
) -> Result<()> {
    batch.check()?;
    for (what, len) in [("Ax", inputs[0].len()), ("b", inputs[1].len()), ("x", x.len()), ("state", state.x.len())] {
        batch.fit(what, len)?;
    }
    long("rho", batch.channels * batch.n, inputs[2].len())?;
    // Whether it is odd is what counts, and whether it is the first.
    let iteration = if iteration == 0 { 0 } else { 2 - iteration as u32 % 2 };
    let p = BbParams { base: FistaParams::new(batch, bounds, lambda), iteration, last: last.into() };
    b.bb_step_unchecked(stop.flag(), p, inputs, state, x)
}

impl BbStep for Cpu {
    fn bb_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: BbParams,
        [ax, b, rho]: [View<'_, Self, f32>; 3],
        state: &mut BbState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        if self.read(stop)?[0] != 0 {
            return Ok(());
        }
        let (ax, b, rho, x) = (self.read(ax)?, self.read(b)?, self.read(rho)?, self.write(x)?);
        let (x_before, g_before) = (self.write(state.x.flat_mut())?, self.write(state.g.flat_mut())?);
        let (best, lowest) = (self.write(state.best.flat_mut())?, self.write(state.lowest.flat_mut())?);
        let (n, channels) = (p.base.n as usize, p.base.channels as usize);
        let vectors = x.par_chunks_mut(n).zip(x_before.par_chunks_mut(n)).zip(g_before.par_chunks_mut(n));
        let lines = vectors.zip(best.par_chunks_mut(n)).zip(lowest);
        lines.enumerate().for_each(|(line, ((((x, x_before), g_before), best), lowest))| {
            let (ax, b) = (&ax[line * n..][..n], &b[line * n..][..n]);
            let rho = &rho[line % channels * n..][..n];
            let gradient = |i: usize, x: f32| p.base.lambda.mul_add(x, ax[i]) - b[i];
            let [sum, ss, sd, dd] = fold(n, |i| {
                let g = gradient(i, x[i]);
                let objective = f64::from(x[i]) * (f64::from(g) - f64::from(b[i]));
                if p.iteration == 0 {
                    return [objective, 0.0, 0.0, 0.0];
                }
                let (s, d) = (f64::from(x[i]) - f64::from(x_before[i]), f64::from(g) - f64::from(g_before[i]));
                let rho = f64::from(rho[i]);
                [objective, rho * s * s, s * d, if rho > 0.0 { d * d / rho } else { 0.0 }]
            });
            let value = 0.5 * sum;
            let better = p.iteration == 0 || value < *lowest;
            let minus = -(length(p.iteration, ss, sd, dd) as f32);
            for i in 0..n {
                let (at, g) = (x[i], gradient(i, x[i]));
                if better {
                    best[i] = at;
                }
                if p.last == 1 {
                    x[i] = best[i];
                } else {
                    x_before[i] = at;
                    g_before[i] = g;
                    x[i] = if rho[i] > 0.0 { clip(minus.mul_add(g / rho[i], at), &p.base) } else { p.base.lower };
                }
            }
            if better {
                *lowest = value;
            }
        });
        Ok(())
    }
}

/// The length of a step.
fn length(iteration: u32, ss: f64, sd: f64, dd: f64) -> f64 {
    if sd > 0.0 {
        let length = if iteration % 2 == 1 { ss / sd } else { sd / dd };
        // Comparisons, so that both twins treat NaN alike.
        let length = if length < 1e-3 { 1e-3 } else { length };
        if length > 1e4 { 1e4 } else { length }
    } else {
        1.0
    }
}

#[cfg(feature = "cuda")]
impl BbStep for gpu_core::Cuda {
    fn bb_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: BbParams,
        [ax, b, rho]: [View<'_, Self, f32>; 3],
        state: &mut BbState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let launch = self
            .kernel(&super::cuda::KERNELS, "ata_bb_step")?
            .read(stop)?
            .read(ax)?
            .read(b)?
            .read(rho)?
            .write(x)?
            .write(state.x.flat_mut())?
            .write(state.g.flat_mut())?
            .write(state.best.flat_mut())?
            .write(state.lowest.flat_mut())?
            .arg(p)
            .grid((p.base.frames * p.base.channels, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void ata_bb_step(const uint* stop, const float* ax, const float* b, const float* rho, float* x, float*
        // x_before, float* g_before, float* best, double* lowest, BbParams p); `bb_step` has checked all lengths.
        unsafe { launch.launch() }
    }
}
