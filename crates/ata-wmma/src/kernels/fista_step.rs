//! One step of Fista with row-sum steps and restart, for every frame and channel.
//!
//! With `g = (A y + λ y) - b` and `x⁺ = clip(y - g / ρ)` (the lower bound where `ρ = 0`): when
//! `Σ ρ (y - x⁺)(x⁺ - x) > 0`, the momentum starts again (`t = (1 + √5) / 2`, `β = 0`), else `t⁺ = (1 + √(1 + 4 t²)) / 2`
//! and `β = (t - 1) / t⁺`; then `y = x⁺ + β (x⁺ - x)`, `x = x⁺`, `t = t⁺`. Elements are `f32`, λ y and β (x⁺ - x) fused
//! into their sums; the test's sum, strip by strip, and `t` are `f64`. Twins agree to the bit. Where `stop` is set, nothing
//! happens.
//!
//! Floor: 28 bytes an element (the product, b, ρ, x and y read, x and y written).
//!
//! Source: A. Beck, M. Teboulle, *A fast iterative shrinkage-thresholding algorithm*, 2009; B. O'Donoghue, E. Candès,
//! *Adaptive restart for accelerated gradient schemes*, 2015.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::start::clip;
use super::{Batch, Control, fold_strip, fold_strips, long};

/// What the kernels of solvers get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct FistaParams {
    /// Frames.
    pub frames: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Lower bound of every unknown.
    pub lower: f32,
    /// Upper bound of every unknown.
    pub upper: f32,
    /// Added to the diagonal.
    pub lambda: f32,
}

impl FistaParams {
    pub(super) fn new(batch: Batch, [lower, upper]: [f32; 2], lambda: f32) -> Self {
        let (frames, channels, n) = (batch.frames as u32, batch.channels as u32, batch.n as u32);
        Self { frames, channels, n, lower, upper, lambda }
    }
}

/// The operation on one backend.
pub trait FistaStep: Backend {
    #[doc(hidden)]
    fn fista_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        inputs: [View<'_, Self, f32>; 3],
        x: ViewMut<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
        t: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// One step; `inputs` are `A y` and `b`, both `[F, C, n]`, and `ρ`, `[C, n]` (with λ in it).
///
/// # Errors
/// When a view has another length than the batch.
pub fn fista_step<B: FistaStep>(
    backend: &B,
    stop: &Control<B>,
    batch: Batch,
    bounds: [f32; 2],
    lambda: f32,
    inputs: [View<'_, B, f32>; 3],
    x: ViewMut<'_, B, f32>,
    y: ViewMut<'_, B, f32>,
    t: ViewMut<'_, B, f64>,
) -> Result<()> {
    batch.check()?;
    for (what, len) in [("Ay", inputs[0].len()), ("b", inputs[1].len()), ("x", x.len()), ("y", y.len())] {
        batch.fit(what, len)?;
    }
    long("rho", batch.channels * batch.n, inputs[2].len())?;
    long("t", batch.lines(), t.len())?;
    backend.fista_step_unchecked(stop.flag(), FistaParams::new(batch, bounds, lambda), inputs, x, y, t)
}

/// Length of the next step of the momentum, and its weight.
pub(super) fn momentum(t: f64, restart: bool) -> (f64, f32) {
    if restart {
        return ((1.0 + 5f64.sqrt()) * 0.5, 0.0);
    }
    let after = (1.0 + (1.0 + 4.0 * t * t).sqrt()) * 0.5;
    (after, ((t - 1.0) / after) as f32)
}

/// The step on the host's slices.
pub(super) fn fista_on_host(p: &FistaParams, [ay, b, rho]: [&[f32]; 3], x: &mut [f32], y: &mut [f32], t: &mut [f64]) {
    let (n, channels) = (p.n as usize, p.channels as usize);
    let lines = x.par_chunks_mut(n).zip(y.par_chunks_mut(n)).zip(t.par_iter_mut());
    lines.enumerate().for_each(|(line, ((x, y), t))| {
        let (ay, b, rho) = (&ay[line * n..][..n], &b[line * n..][..n], &rho[line % channels * n..][..n]);
        let next = |i: usize, y: f32| {
            let g = p.lambda.mul_add(y, ay[i]) - b[i];
            if rho[i] > 0.0 { clip(y - g / rho[i], p) } else { p.lower }
        };
        let test = |i: usize| {
            let to = next(i, y[i]);
            let (back, ahead) = (f64::from(y[i]) - f64::from(to), f64::from(to) - f64::from(x[i]));
            [f64::from(rho[i]) * back * ahead]
        };
        let [sum] = fold_strips(n.div_ceil(32), |s| fold_strip(s, n, test));
        let (after, beta) = momentum(*t, sum > 0.0);
        for i in 0..n {
            let to = next(i, y[i]);
            y[i] = beta.mul_add(to - x[i], to);
            x[i] = to;
        }
        *t = after;
    });
}

impl FistaStep for Cpu {
    fn fista_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        [ay, b, rho]: [View<'_, Self, f32>; 3],
        x: ViewMut<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
        t: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        if self.read(stop)?[0] == 0 {
            let inputs = [self.read(ay)?, self.read(b)?, self.read(rho)?];
            fista_on_host(&p, inputs, self.write(x)?, self.write(y)?, self.write(t)?);
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl FistaStep for gpu_core::Cuda {
    fn fista_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        [ay, b, rho]: [View<'_, Self, f32>; 3],
        x: ViewMut<'_, Self, f32>,
        y: ViewMut<'_, Self, f32>,
        t: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_fista_step")?;
        let launch = kernel
            .read(stop)?
            .read(ay)?
            .read(b)?
            .read(rho)?
            .write(x)?
            .write(y)?
            .write(t)?
            .arg(p)
            .grid((p.frames * p.channels, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void ata_fista_step(const uint* stop, const float* ay, const float* b, const float* rho, float* x, float* y,
        // double* t, FistaParams p); `fista_step` has checked all lengths.
        unsafe { launch.launch() }
    }
}
