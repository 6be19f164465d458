//! Exact integer sums as real right sides: `out = sum / unit` in `f64`, rounded once to `f32`.
//!
//! Sums stay below 2^53 for windows up to 256 pixels a side, so that `f64` holds them; twins agree to the bit. Floor: 12 bytes
//! an element.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::long;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct ScaleParams {
    /// What sums are divided by.
    pub unit: f64,
    /// Elements.
    pub len: u64,
}

/// The operation on one backend.
pub trait ScaleSums: Backend {
    #[doc(hidden)]
    fn scale_sums_unchecked(
        &self,
        p: ScaleParams,
        sums: View<'_, Self, u64>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Divides the sums of [`atb_u8`](super::atb_u8) by [`Transfer::unit`](crate::Transfer::unit).
///
/// # Errors
/// When the unit is not positive, or the views are of different lengths.
pub fn scale_sums<B: ScaleSums>(b: &B, unit: f64, sums: View<'_, B, u64>, out: ViewMut<'_, B, f32>) -> Result<()> {
    if !(unit > 0.0 && unit.is_finite()) {
        return Err(Error::value("unit", format!("{unit} is no positive number")));
    }
    long("right sides", sums.len(), out.len())?;
    b.scale_sums_unchecked(ScaleParams { unit, len: sums.len() as u64 }, sums, out)
}

impl ScaleSums for Cpu {
    fn scale_sums_unchecked(
        &self,
        p: ScaleParams,
        sums: View<'_, Self, u64>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (sums, out) = (self.read(sums)?, self.write(out)?);
        out.par_iter_mut().zip(sums).for_each(|(out, &sum)| *out = (sum as f64 / p.unit) as f32);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl ScaleSums for gpu_core::Cuda {
    fn scale_sums_unchecked(
        &self,
        p: ScaleParams,
        sums: View<'_, Self, u64>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let blocks = gpu_core::cuda::Grid::cover(p.len as usize, 256)?;
        let launch = self.kernel(&super::cuda::KERNELS, "ata_scale_sums")?.read(sums)?.write(out)?;
        let launch = launch.arg(p).grid((blocks, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_scale_sums(const ull* sums, float* out, ScaleParams p); `scale_sums` has checked both lengths.
        unsafe { launch.launch() }
    }
}
