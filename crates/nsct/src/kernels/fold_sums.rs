//! Sums over planes in a fixed order, second part: the chunks' figures of [`plane_sums`](super::plane_sums) to one set a
//! plane.
//!
//! Lane `l` of 256 sums the chunks `l, l + 256, …` from 0 (of the fourth figure it takes the largest); then lanes are
//! folded in halves as in the first part. Both twins agree to the bit.
//!
//! Floor: `32 / 16384` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::plane_sums::{LANES, Lanes};
use super::{Planes, SUM_FIGURES};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct FoldSumsParams {
    /// Planes.
    pub count: u32,
    /// Chunks of a plane.
    pub chunks: u32,
}

/// The operation on one backend.
pub trait FoldSums: Backend {
    #[doc(hidden)]
    fn fold_sums_unchecked(
        &self,
        p: FoldSumsParams,
        chunks: View<'_, Self, f64>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Figures of all planes: from `[count, chunks, 4]` to `[count, 4]`.
///
/// # Errors
/// When the lengths of the views do not belong together.
pub fn fold_sums<B: FoldSums>(b: &B, count: usize, chunks: View<'_, B, f64>, sums: ViewMut<'_, B, f64>) -> Result<()> {
    Planes { count, height: 1, width: 1 }.check()?;
    if sums.len() != count * SUM_FIGURES {
        return Err(Error::shape("sums", &[count, SUM_FIGURES], &[sums.len()]));
    }
    if count == 0 || chunks.len() % sums.len() != 0 || chunks.len() / sums.len() > u32::MAX as usize {
        let why = format!("{} figures are not those of the chunks of {count} planes", chunks.len());
        return if count == 0 && chunks.is_empty() { Ok(()) } else { Err(Error::value("chunks", why)) };
    }
    let p = FoldSumsParams { count: count as u32, chunks: (chunks.len() / sums.len()) as u32 };
    b.fold_sums_unchecked(p, chunks, sums)
}

impl FoldSums for Cpu {
    fn fold_sums_unchecked(
        &self,
        p: FoldSumsParams,
        chunks: View<'_, Self, f64>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (chunks, sums) = (self.read(chunks)?, self.write(sums)?);
        sums.par_chunks_mut(SUM_FIGURES).enumerate().for_each(|(n, out)| {
            let mut lanes = Lanes::new();
            let plane = &chunks[n * p.chunks as usize * SUM_FIGURES..][..p.chunks as usize * SUM_FIGURES];
            for (i, figures) in plane.chunks(SUM_FIGURES).enumerate() {
                lanes.add(i % LANES, [figures[0], figures[1], figures[2], figures[3]]);
            }
            out.copy_from_slice(&lanes.fold());
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl FoldSums for gpu_core::Cuda {
    fn fold_sums_unchecked(
        &self,
        p: FoldSumsParams,
        chunks: View<'_, Self, f64>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "fold_sums")?;
        let launch = kernel.read(chunks)?.write(sums)?.arg(p).grid((p.count, 1, 1)).block(super::cuda::LINE);
        // SAFETY: void fold_sums(const double* chunks, double* sums, FoldSumsParams p); `fold_sums` has checked that the
        // lengths of both views are those of `p`.
        unsafe { launch.launch() }
    }
}
