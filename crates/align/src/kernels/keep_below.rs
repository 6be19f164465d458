//! `out[i] = 1` where `x[i] < threshold`, else 0; NaN is not below anything.
//!
//! Floor: 4 bytes in and 1 out a value.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, size32};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct KeepBelowParams {
    /// Values.
    pub count: u32,
    /// The first value that is not kept.
    pub threshold: f32,
}

/// The operation on one backend.
pub trait KeepBelow: Backend {
    #[doc(hidden)]
    fn keep_below_unchecked(
        &self,
        p: KeepBelowParams,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, u8>,
    ) -> Result<()>;
}

/// Writes for each value of `x` whether it lies below `threshold`.
///
/// # Errors
/// When `out` is shorter than `x`.
pub fn keep_below<B: KeepBelow>(b: &B, x: View<'_, B, f32>, threshold: f32, out: ViewMut<'_, B, u8>) -> Result<()> {
    holds("kept", Some(x.len()), out.len())?;
    b.keep_below_unchecked(KeepBelowParams { count: size32("values", x.len())?, threshold }, x, out)
}

/// Values that one thread looks at.
const PIECE: usize = 1 << 16;

impl KeepBelow for Cpu {
    fn keep_below_unchecked(
        &self,
        p: KeepBelowParams,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, u8>,
    ) -> Result<()> {
        let (x, out) = (self.read(x)?, self.write(out)?);
        out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(out, &v)| *out = u8::from(v < p.threshold));
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl KeepBelow for gpu_core::Cuda {
    fn keep_below_unchecked(
        &self,
        p: KeepBelowParams,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, u8>,
    ) -> Result<()> {
        // Values that a thread looks at.
        const EACH: usize = 8;
        if p.count == 0 {
            return Ok(());
        }
        let launch = self
            .kernel(&super::cuda::KERNELS, "keep_below_u8")?
            .read(x)?
            .write(out)?
            .arg(p)
            .grid(super::cuda::elements((p.count as usize).div_ceil(EACH))?)
            .block(super::cuda::LINE);
        // SAFETY: void keep_below_u8(const float* x, unsigned char* out, KeepBelowParams p); lengths checked by
        // `keep_below`.
        unsafe { launch.launch() }
    }
}
