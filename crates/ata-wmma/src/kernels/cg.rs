//! Conjugate gradients with the row sums as preconditioner, a line at a time, without bounds.
//!
//! Start: `r = b - A x - λ x`, `p = r / ρ`, `rr = Σ r² / ρ` (0 in dead rows). Step, with `A p`: `α = rr / Σ p (A p + λ p)`
//! (0 when that sum or rr is not positive), `x += α p`, `r -= α (A p + λ p)`, `β = rr⁺ / rr`, `p = r / ρ + β p`. The
//! iterate and the rest are `f64`, the direction is rounded to `f32` and used as such everywhere; what a step shows of the
//! iterate is clipped to the bounds. Every operation is rounded on its own, sums have the order of 256 lanes: twins agree
//! to the bit. Where `stop` is set, a step does nothing. Floor: 64 bytes an element and step.
//!
//! Source: M. Hestenes, E. Stiefel, *Methods of conjugate gradients for solving linear systems*, 1952.

use gpu_core::{Backend, Cpu, Result, Tensor, View, ViewMut};
use rayon::prelude::*;

use super::start::clip;
use super::{Batch, Control, FistaParams, fold, long};

/// What steps hand on.
#[derive(Debug)]
pub struct CgState<B: Backend> {
    /// The iterate, `[F, C, n]`.
    at: Tensor<B, f64, 1>,
    /// `b - A x - λ x`.
    rest: Tensor<B, f64, 1>,
    /// What is multiplied next.
    direction: Tensor<B, f32, 3>,
    /// `Σ r² / ρ`, `[F, C]`.
    rr: Tensor<B, f64, 1>,
}

impl<B: Backend> CgState<B> {
    /// Room; unspecified contents.
    ///
    /// # Errors
    /// When the device has none.
    pub fn scratch(b: &B, batch: Batch) -> Result<Self> {
        Ok(Self {
            at: Tensor::scratch(b, [batch.len()])?,
            rest: Tensor::scratch(b, [batch.len()])?,
            direction: Tensor::scratch(b, [batch.frames, batch.channels, batch.n])?,
            rr: Tensor::scratch(b, [batch.lines()])?,
        })
    }

    /// What is to be multiplied next, `[F, C, n]`.
    pub fn direction(&self) -> &Tensor<B, f32, 3> {
        &self.direction
    }

    /// The iterate, `[F, C, n]`, without bounds.
    pub fn iterate(&self) -> &Tensor<B, f64, 1> {
        &self.at
    }
}

/// The operation on one backend.
pub trait Cg: Backend {
    #[doc(hidden)]
    fn cg_start_unchecked(
        &self,
        p: FistaParams,
        inputs: [View<'_, Self, f32>; 4],
        state: &mut CgState<Self>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn cg_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        inputs: [View<'_, Self, f32>; 2],
        state: &mut CgState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

fn check<B: Backend>(batch: Batch, rho: View<'_, B, f32>, state: &CgState<B>) -> Result<()> {
    batch.check()?;
    long("rho", batch.channels * batch.n, rho.len())?;
    batch.fit("state", state.at.len())
}

/// Begins at `x`; `inputs` are `A x`, `b`, `ρ` and `x`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn cg_start<B: Cg>(
    b: &B,
    batch: Batch,
    lambda: f32,
    inputs: [View<'_, B, f32>; 4],
    state: &mut CgState<B>,
) -> Result<()> {
    check(batch, inputs[2], state)?;
    for (what, k) in [("Ax", 0), ("b", 1), ("x", 3)] {
        batch.fit(what, inputs[k].len())?;
    }
    b.cg_start_unchecked(FistaParams::new(batch, [0.0, 0.0], lambda), inputs, state)
}

/// One step; `inputs` are the product with [`direction`](CgState::direction) and `ρ`. `x` gets the iterate, clipped.
///
/// # Errors
/// When a view has another length than the batch.
pub fn cg_step<B: Cg>(
    b: &B,
    stop: &Control<B>,
    batch: Batch,
    bounds: [f32; 2],
    lambda: f32,
    inputs: [View<'_, B, f32>; 2],
    state: &mut CgState<B>,
    x: ViewMut<'_, B, f32>,
) -> Result<()> {
    check(batch, inputs[1], state)?;
    batch.fit("Ap", inputs[0].len())?;
    batch.fit("x", x.len())?;
    b.cg_step_unchecked(stop.flag(), FistaParams::new(batch, bounds, lambda), inputs, state, x)
}

fn inverse(rho: f32) -> f64 {
    if rho > 0.0 { 1.0 / f64::from(rho) } else { 0.0 }
}

impl Cg for Cpu {
    fn cg_start_unchecked(
        &self,
        p: FistaParams,
        [ax, b, rho, x]: [View<'_, Self, f32>; 4],
        state: &mut CgState<Self>,
    ) -> Result<()> {
        let (ax, b, rho, x) = (self.read(ax)?, self.read(b)?, self.read(rho)?, self.read(x)?);
        let (at, rest) = (self.write(state.at.flat_mut())?, self.write(state.rest.flat_mut())?);
        let (direction, rr) = (self.write(state.direction.flat_mut())?, self.write(state.rr.flat_mut())?);
        let (n, channels, lambda) = (p.n as usize, p.channels as usize, f64::from(p.lambda));
        let lines = at.par_chunks_mut(n).zip(rest.par_chunks_mut(n)).zip(direction.par_chunks_mut(n)).zip(rr);
        lines.enumerate().for_each(|(line, (((at, rest), direction), rr))| {
            let rho = &rho[line % channels * n..][..n];
            let first = line * n;
            [*rr] = fold(n, |i| {
                let wide = |v: &[f32]| f64::from(v[first + i]);
                let r = wide(b) - wide(ax) - lambda * wide(x);
                at[i] = wide(x);
                rest[i] = r;
                direction[i] = (inverse(rho[i]) * r) as f32;
                [r * r * inverse(rho[i])]
            });
        });
        Ok(())
    }

    fn cg_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        [ap, rho]: [View<'_, Self, f32>; 2],
        state: &mut CgState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        if self.read(stop)?[0] != 0 {
            return Ok(());
        }
        let (ap, rho, x) = (self.read(ap)?, self.read(rho)?, self.write(x)?);
        let (at, rest) = (self.write(state.at.flat_mut())?, self.write(state.rest.flat_mut())?);
        let (direction, rr) = (self.write(state.direction.flat_mut())?, self.write(state.rr.flat_mut())?);
        let (n, channels, lambda) = (p.n as usize, p.channels as usize, f64::from(p.lambda));
        let vectors = at.par_chunks_mut(n).zip(rest.par_chunks_mut(n)).zip(direction.par_chunks_mut(n));
        vectors.zip(rr).zip(x.par_chunks_mut(n)).enumerate().for_each(|(line, ((((at, rest), direction), rr), x))| {
            let (ap, rho) = (&ap[line * n..][..n], &rho[line % channels * n..][..n]);
            let of = |i: usize, d: f64| f64::from(ap[i]) + lambda * d;
            let [curve] = fold(n, |i| {
                let d = f64::from(direction[i]);
                [d * of(i, d)]
            });
            let alpha = if curve > 0.0 && *rr > 0.0 { *rr / curve } else { 0.0 };
            let [next] = fold(n, |i| {
                let d = f64::from(direction[i]);
                at[i] += alpha * d;
                rest[i] -= alpha * of(i, d);
                x[i] = clip(at[i] as f32, &p);
                [rest[i] * rest[i] * inverse(rho[i])]
            });
            let beta = if alpha > 0.0 { next / *rr } else { 0.0 };
            for i in 0..n {
                direction[i] = (inverse(rho[i]) * rest[i] + beta * f64::from(direction[i])) as f32;
            }
            *rr = next;
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Cg for gpu_core::Cuda {
    fn cg_start_unchecked(
        &self,
        p: FistaParams,
        [ax, b, rho, x]: [View<'_, Self, f32>; 4],
        state: &mut CgState<Self>,
    ) -> Result<()> {
        let launch = self
            .kernel(&super::cuda::KERNELS, "ata_cg_start")?
            .read(ax)?
            .read(b)?
            .read(rho)?
            .read(x)?
            .write(state.at.flat_mut())?
            .write(state.rest.flat_mut())?
            .write(state.direction.flat_mut())?
            .write(state.rr.flat_mut())?
            .arg(p)
            .grid((p.frames * p.channels, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void ata_cg_start(const float* ax, const float* b, const float* rho, const float* x, double* at, double*
        // rest, float* direction, double* rr, FistaParams p); `cg_start` has checked all lengths.
        unsafe { launch.launch() }
    }

    fn cg_step_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: FistaParams,
        [ap, rho]: [View<'_, Self, f32>; 2],
        state: &mut CgState<Self>,
        x: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let launch = self
            .kernel(&super::cuda::KERNELS, "ata_cg_step")?
            .read(stop)?
            .read(ap)?
            .read(rho)?
            .write(state.at.flat_mut())?
            .write(state.rest.flat_mut())?
            .write(state.direction.flat_mut())?
            .write(state.rr.flat_mut())?
            .write(x)?
            .arg(p)
            .grid((p.frames * p.channels, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void ata_cg_step(const uint* stop, const float* ap, const float* rho, double* at, double* rest, float*
        // direction, double* rr, float* x, FistaParams p); `cg_step` has checked all lengths.
        unsafe { launch.launch() }
    }
}
