//! `y[i] <- a x[i] + y[i]`, rounded once, so that both twins agree to the bit. NaN and infinities spread as IEEE 754 says.
//!
//! Floor: 2 flop and 12 bytes an element; the memory decides.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct AxpyParams {
    /// Elements.
    pub n: u64,
    /// The factor.
    pub a: f32,
}

/// The operation on one backend.
pub trait Axpy: Backend {
    #[doc(hidden)]
    fn axpy_unchecked(&self, p: AxpyParams, x: View<'_, Self, f32>, y: ViewMut<'_, Self, f32>) -> Result<()>;
}

/// Adds `a` times `x` to `y`.
pub fn axpy<B: Axpy>(b: &B, a: f32, x: View<'_, B, f32>, y: ViewMut<'_, B, f32>) -> Result<()> {
    if x.len() != y.len() {
        return Err(Error::shape("x", &[y.len()], &[x.len()]));
    }
    b.axpy_unchecked(AxpyParams { n: x.len() as u64, a }, x, y)
}

impl Axpy for Cpu {
    fn axpy_unchecked(&self, p: AxpyParams, x: View<'_, Self, f32>, y: ViewMut<'_, Self, f32>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        y.par_iter_mut().zip(x).for_each(|(y, x)| *y = p.a.mul_add(*x, *y));
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Axpy for gpu_core::Cuda {
    fn axpy_unchecked(&self, p: AxpyParams, x: View<'_, Self, f32>, y: ViewMut<'_, Self, f32>) -> Result<()> {
        use gpu_core::cuda::Grid;
        // The kernel loops, so that more blocks than this would only wait for each other.
        let blocks = Grid::cover((p.n as usize).min(1 << 20), 256)?;
        let launch = self
            .kernel(&super::cuda::KERNELS, "axpy_f32")?
            .read(x)?
            .write(y)?
            .arg(p)
            .grid((blocks, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void axpy_f32(const float* x, float* y, AxpyParams p); `axpy` has checked the lengths.
        unsafe { launch.launch() }
    }
}
