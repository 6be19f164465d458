//! A norm's parameters, and what becomes of them once the statistics of a plane are known.

use gpu_core::{Backend, Error, Result, View};
use half::f16;

/// An instance norm's parameters on one backend.
#[derive(Debug)]
pub struct Norm<'a, B: Backend> {
    /// Scales `[C]`.
    pub gamma: View<'a, B, f32>,
    /// Offsets `[C]`.
    pub beta: View<'a, B, f32>,
    /// Added to the (biased) variance inside the root; positive.
    pub eps: f32,
}

// Derived impls would ask for `B: Copy`.
#[allow(clippy::expl_impl_clone_on_copy)]
impl<B: Backend> Clone for Norm<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Backend> Copy for Norm<'_, B> {}

impl<B: Backend> Norm<'_, B> {
    pub(crate) fn check(&self, channels: usize) -> Result<()> {
        for (what, len) in [("gamma", self.gamma.len()), ("beta", self.beta.len())] {
            if len != channels {
                return Err(Error::shape(what, &[channels], &[len]));
            }
        }
        // Not `<=`: NaN is refused as well.
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(Error::value("eps", format!("{} is not a positive number", self.eps)));
        }
        Ok(())
    }
}

/// A norm of one plane as the consumer applies it: `(x − mean) · scale + shift`, with the mean's last digits in the
/// shift. Twin of `Affine` in `kernels/ops.cuh`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    pub(crate) mean: f32,
    pub(crate) scale: f32,
    pub(crate) shift: f32,
    pub(crate) variance: f32,
}

/// Mean and biased variance in `f64`, of deviations from the first element.
fn moments(plane: &[f32]) -> (f64, f64) {
    let count = plane.len().max(1) as f64;
    let pivot = plane.first().map_or(0.0, |&x| f64::from(x));
    let mean = plane.iter().map(|&x| f64::from(x) - pivot).sum::<f64>() / count;
    let square = |&x: &f32| (f64::from(x) - pivot - mean) * (f64::from(x) - pivot - mean);
    (pivot + mean, plane.iter().map(square).sum::<f64>() / count)
}

impl Coefficients {
    /// From the values of a plane; `rounded` says that they are stored as `f16`.
    pub(crate) fn of(plane: &[f32], gamma: f32, beta: f32, eps: f32, rounded: bool) -> Self {
        let (mut mean, variance) = moments(plane);
        if rounded {
            // Where f16 cannot tell the values apart, all of them are the f16 beside their mean, and the norm is beta.
            let flat = f16::from_f32(mean as f32).to_f64();
            if variance <= (flat - mean) * (flat - mean) {
                mean = flat;
            }
        }
        let high = mean as f32;
        let scale = f64::from(gamma) / (variance + f64::from(eps)).sqrt();
        let shift = f64::from(beta) - (mean - f64::from(high)) * scale;
        Self { mean: high, scale: scale as f32, shift: shift as f32, variance: variance as f32 }
    }

    pub(crate) fn apply(&self, x: f32, relu: bool) -> f32 {
        let v = (x - self.mean).mul_add(self.scale, self.shift);
        if relu { v.max(0.0) } else { v }
    }
}
