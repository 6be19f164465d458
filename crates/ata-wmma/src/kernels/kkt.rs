//! How far each frame and channel is from the optimum: `[max |x - clip(x - g / ρ)|, ½ Σ x (g - b)]` with
//! `g = (A x + λ x) - b`; the second is the objective.
//!
//! Rows with `ρ = 0` count as settled. The maximum is exact, the sum `f64` in the order of 256 lanes. Twins agree to the
//! bit. Floor: 16 bytes an element.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;

use super::start::clip;
use super::{Batch, FistaParams, fold, long};

/// Figures of a line.
pub const KKT_FIGURES: usize = 2;

/// The operation on one backend.
pub trait Kkt: Backend {
    #[doc(hidden)]
    fn kkt_unchecked(
        &self,
        p: FistaParams,
        inputs: [View<'_, Self, f32>; 4],
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Figures of every line, `[F, C, 2]`; `inputs` are `A x`, `b`, `ρ` and `x`.
///
/// # Errors
/// When a view has another length than the batch.
pub fn kkt<B: Kkt>(
    b: &B,
    batch: Batch,
    bounds: [f32; 2],
    lambda: f32,
    inputs: [View<'_, B, f32>; 4],
    out: ViewMut<'_, B, f64>,
) -> Result<()> {
    batch.check()?;
    for (what, k) in [("Ax", 0), ("b", 1), ("x", 3)] {
        batch.fit(what, inputs[k].len())?;
    }
    long("rho", batch.channels * batch.n, inputs[2].len())?;
    long("figures", KKT_FIGURES * batch.lines(), out.len())?;
    b.kkt_unchecked(FistaParams::new(batch, bounds, lambda), inputs, out)
}

impl Kkt for Cpu {
    fn kkt_unchecked(
        &self,
        p: FistaParams,
        [ax, b, rho, x]: [View<'_, Self, f32>; 4],
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (ax, b, rho, x) = (self.read(ax)?, self.read(b)?, self.read(rho)?, self.read(x)?);
        let out = self.write(out)?;
        let (n, channels) = (p.n as usize, p.channels as usize);
        out.par_chunks_mut(KKT_FIGURES).enumerate().for_each(|(line, out)| {
            let (ax, b, x) = (&ax[line * n..][..n], &b[line * n..][..n], &x[line * n..][..n]);
            let rho = &rho[line % channels * n..][..n];
            let mut largest = 0.0f32;
            let [sum] = fold(n, |i| {
                let g = p.lambda.mul_add(x[i], ax[i]) - b[i];
                if rho[i] > 0.0 {
                    let step = (x[i] - clip(x[i] - g / rho[i], &p)).abs();
                    largest = if step > largest { step } else { largest };
                }
                [f64::from(x[i]) * (f64::from(g) - f64::from(b[i]))]
            });
            out[0] = f64::from(largest);
            out[1] = 0.5 * sum;
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Kkt for gpu_core::Cuda {
    fn kkt_unchecked(
        &self,
        p: FistaParams,
        [ax, b, rho, x]: [View<'_, Self, f32>; 4],
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_kkt")?;
        let launch = kernel
            .read(ax)?
            .read(b)?
            .read(rho)?
            .read(x)?
            .write(out)?
            .arg(p)
            .grid((p.frames * p.channels, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void ata_kkt(const float* ax, const float* b, const float* rho, const float* x, double* out, FistaParams
        // p); `kkt` has checked all lengths.
        unsafe { launch.launch() }
    }
}
