//! Digests of many grids: FNV-1a, 64 bits, of their canonical texts.
//!
//! Floor: `32 h` bytes in, 8 out a grid. A thread takes a grid, since the hash is one chain of a product and an exclusive or a
//! character: about 7 instructions, of which three are products, and 9 cycles from one character to the next. That is 6,700
//! instructions a full grid of 30 x 30, so an H200 cannot take less than some 25 µs for 100,000 of them; their bytes take 23.
//! Measured: 56 µs, 45 and 42 % of these bounds.
//! A warp brings four rows of its 32 grids to shared memory at once, while it works on the four before.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;

use super::GridBatch;
use super::batch::{CELLS, unpack};

/// The operation on one backend.
pub trait Digest: Backend {
    #[doc(hidden)]
    fn digest_unchecked(
        &self,
        count: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// The digest of every grid, equal to [`Value::digest`](crate::Value::digest): `[grids, 2]`, the low half first.
///
/// # Errors
/// When `out` has another shape.
pub fn digest<B: Digest>(b: &B, grids: &GridBatch<B>, out: &mut Tensor<B, u32, 2>) -> Result<()> {
    if out.shape() != [grids.len(), 2] {
        return Err(Error::shape("digests", &[grids.len(), 2], &out.shape()));
    }
    b.digest_unchecked(grids.len() as u32, grids.sizes.flat(), grids.cells.flat(), out.flat_mut())
}

impl Digest for Cpu {
    fn digest_unchecked(
        &self,
        _: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (sizes, cells, out) = (self.read(sizes)?, self.read(cells)?, self.write(out)?);
        let grids = sizes.par_chunks_exact(2).zip(cells.par_chunks_exact(CELLS));
        grids.zip(out.par_chunks_exact_mut(2)).for_each(|((size, cells), out)| {
            let digest = unpack(size[0].into(), size[1].into(), cells).digest();
            out.copy_from_slice(&[digest as u32, (digest >> 32) as u32]);
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Digest for gpu_core::Cuda {
    fn digest_unchecked(
        &self,
        count: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "grid_digest")?;
        let blocks = gpu_core::cuda::Grid::cover((count as usize).min(1 << 24), 128)?;
        let launch = kernel.read(sizes)?.read(cells)?.write(out)?.arg(count);
        let launch = launch.grid((blocks, 1, 1)).block((128, 1, 1));
        // SAFETY: void grid_digest(const uchar* sizes, const uchar* cells, uint2* out, uint count); `digest` has checked that
        // there are as many grids and results.
        unsafe { launch.launch() }
    }
}
