//! Colours of many grids: how many cells and colours, the most and the least frequent, and which ones are there.
//!
//! Floor: `32 h` bytes of cells in, 48 bytes out a grid; a warp counts a row in about 12 instructions, and looks at the
//! 256 bins in about 80. An H200 takes 24 µs for 20,000 ARC grids, and for full ones 1,400 instructions
//! a grid at 60 % of the rate at which it starts them.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;

use super::components::extreme_colour;
use super::{CELLS, GridBatch, SIDE};

/// Words of a grid.
pub const FIGURES: usize = 12;

/// The colours of a grid, on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaletteOf {
    /// Cells.
    pub cells: u32,
    /// The most frequent colour, the lowest of several; none without cells.
    pub most: Option<i8>,
    /// The least frequent colour of those that are there, the lowest of several.
    pub least: Option<i8>,
    /// All colours, ascending.
    pub colours: Vec<i8>,
}

impl PaletteOf {
    /// Reads the words that [`palette`] wrote for a grid.
    pub fn of_words(words: &[u32]) -> Self {
        let colour = |c: u32| (c as i32 - 128) as i8;
        let some = |c: u32| (c != u32::MAX).then(|| colour(c));
        let there = |c: &u32| words[4 + *c as usize / 32] >> (c % 32) & 1 != 0;
        Self {
            cells: words[0],
            most: some(words[2]),
            least: some(words[3]),
            colours: (0..256).filter(there).map(colour).collect(),
        }
    }
}

/// The operation on one backend.
pub trait Palette: Backend {
    #[doc(hidden)]
    fn palette_unchecked(
        &self,
        count: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Counts the colours of every grid: `out` is `[grids, FIGURES]`, to be read by [`PaletteOf::of_words`].
///
/// # Errors
/// When `out` has another shape.
pub fn palette<B: Palette>(b: &B, grids: &GridBatch<B>, out: &mut Tensor<B, u32, 2>) -> Result<()> {
    if out.shape() != [grids.len(), FIGURES] {
        return Err(Error::shape("palette", &[grids.len(), FIGURES], &out.shape()));
    }
    b.palette_unchecked(grids.len() as u32, grids.sizes.flat(), grids.cells.flat(), out.flat_mut())
}

impl Palette for Cpu {
    fn palette_unchecked(
        &self,
        _: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (sizes, cells, out) = (self.read(sizes)?, self.read(cells)?, self.write(out)?);
        let grids = sizes.par_chunks_exact(2).zip(cells.par_chunks_exact(CELLS));
        grids.zip(out.par_chunks_exact_mut(FIGURES)).for_each(|((size, cells), out)| {
            let (height, width) = (usize::from(size[0]), usize::from(size[1]));
            let colours: Vec<i8> =
                cells.chunks_exact(SIDE).take(height).flat_map(|row| row[..width].iter().map(|&c| c as i8)).collect();
            let word = |c: Option<i8>| c.map_or(u32::MAX, |c| (i32::from(c) + 128) as u32);
            out.fill(0);
            for &c in &colours {
                let c = (i32::from(c) + 128) as usize;
                out[4 + c / 32] |= 1 << (c % 32);
            }
            out[0] = colours.len() as u32;
            out[1] = out[4..].iter().map(|word| word.count_ones()).sum();
            out[2] = word(extreme_colour(colours.iter().copied(), true));
            out[3] = word(extreme_colour(colours.iter().copied(), false));
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Palette for gpu_core::Cuda {
    fn palette_unchecked(
        &self,
        count: u32,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "grid_palette")?;
        let launch = kernel.read(sizes)?.read(cells)?.write(out)?.arg(count);
        let launch = launch.grid(super::cuda::warps(count as usize)).block(super::cuda::BLOCK);
        // SAFETY: void grid_palette(const uchar* sizes, const uchar* cells, uint* out, uint count); `palette` has checked
        // that there are as many grids and results.
        unsafe { launch.launch() }
    }
}
