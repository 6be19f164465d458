//! The forward picture: `out[f, c, row, column] = (Σ_l p[l, c, ·] x[f, c, l]) / 255`.
//!
//! Each pixel gathers the unknowns whose windows touch its tile of 16 x 16, by index, each product fused into the sum from
//! 0; so nothing depends on who comes first, and twins agree to the bit. Floor: patterns once, 4 bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::long;
use crate::patterns::{DevicePatterns, Patterns, Texel};

/// Side of a tile of pixels.
pub(super) const TILE: usize = 16;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct RenderParams {
    /// Frames.
    pub frames: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Side of a window.
    pub side: u32,
    /// Columns of the picture.
    pub width: u32,
    /// Rows of the picture.
    pub height: u32,
    /// Tiles in a row of tiles.
    pub tiles: u32,
}

/// Which unknowns touch which tile.
#[derive(Debug)]
pub struct RenderTiles<B: Backend> {
    pub(super) starts: Tensor<B, u32, 1>,
    pub(super) members: Tensor<B, u32, 1>,
}

impl<B: Backend> RenderTiles<B> {
    /// Sorts the unknowns of patterns by tile; usable on every queue of the device.
    pub fn new<T: Texel>(b: &B, patterns: &Patterns<T>) -> crate::Result<Self> {
        let [width, height] = patterns.size();
        let (columns, rows) = (width.div_ceil(TILE), height.div_ceil(TILE));
        let mut tiles = vec![Vec::new(); columns * rows];
        for (l, &[top, left]) in patterns.corners().iter().enumerate() {
            let span = |at: i32| at as usize / TILE..=(at as usize + patterns.window() - 1) / TILE;
            for row in span(top) {
                for column in span(left) {
                    tiles[row * columns + column].push(l as u32);
                }
            }
        }
        let mut starts = vec![0u32];
        for tile in &tiles {
            starts.push(starts[starts.len() - 1] + tile.len() as u32);
        }
        let members = tiles.concat();
        Ok(Self {
            starts: Tensor::from_slice(b, [starts.len()], &starts)?.share(b)?,
            members: Tensor::from_slice(b, [members.len()], &members)?.share(b)?,
        })
    }
}

impl<B: Backend> RenderTiles<B> {
    /// Frames of so many elements of vectors and pictures.
    pub(super) fn check(&self, [n, channels, width, height]: [usize; 4], x: usize, out: usize) -> Result<usize> {
        if !x.is_multiple_of(n * channels) {
            return Err(Error::shape("x", &[channels, n], &[x]));
        }
        let frames = x / (n * channels);
        long("pictures", frames * channels * width * height, out)?;
        long("tiles", width.div_ceil(TILE) * height.div_ceil(TILE) + 1, self.starts.len())?;
        if frames * channels > 65_535 {
            return Err(Error::value("x", format!("{frames} frames are more than one call takes")));
        }
        Ok(frames)
    }
}

/// The operation on one backend.
pub trait Render: Backend {
    #[doc(hidden)]
    fn render_unchecked(
        &self,
        p: RenderParams,
        patterns: &DevicePatterns<Self>,
        tiles: &RenderTiles<Self>,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Pictures `[F, C, H, W]` of vectors `[F, C, n]`; `tiles` must be those of the patterns.
///
/// # Errors
/// When vectors, pictures or tiles do not fit the patterns.
pub fn render<B: Render>(
    b: &B,
    patterns: &DevicePatterns<B>,
    tiles: &RenderTiles<B>,
    x: View<'_, B, f32>,
    out: ViewMut<'_, B, f32>,
) -> Result<()> {
    let DevicePatterns { n, channels, side, width, height, .. } = *patterns;
    let frames = tiles.check([n, channels, width, height], x.len(), out.len())?;
    let columns = width.div_ceil(TILE);
    let p = RenderParams {
        frames: frames as u32,
        channels: channels as u32,
        n: n as u32,
        side: side as u32,
        width: width as u32,
        height: height as u32,
        tiles: columns as u32,
    };
    b.render_unchecked(p, patterns, tiles, x, out)
}

impl Render for Cpu {
    fn render_unchecked(
        &self,
        p: RenderParams,
        patterns: &DevicePatterns<Self>,
        tiles: &RenderTiles<Self>,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let size = [p.n, p.side, p.channels, p.width, p.height].map(|v| v as usize);
        on_host(self, size, patterns, tiles, x, out, f32::from, |sum| sum / 255.0)
    }
}

/// Pictures of patterns of any type: `of` widens what a window holds, `end` brings sums to the units of light.
pub(super) fn on_host<T: Texel>(
    b: &Cpu,
    [n, side, channels, width, height]: [usize; 5],
    patterns: &DevicePatterns<Cpu, T>,
    tiles: &RenderTiles<Cpu>,
    x: View<'_, Cpu, f32>,
    out: ViewMut<'_, Cpu, f32>,
    of: impl Fn(T) -> f32 + Sync,
    end: impl Fn(f32) -> f32 + Sync,
) -> Result<()> {
    let (data, corners) = (b.read(patterns.data.flat())?, b.read(patterns.corners.flat())?);
    let (starts, members) = (b.read(tiles.starts.flat())?, b.read(tiles.members.flat())?);
    let (x, out) = (b.read(x)?, b.write(out)?);
    let columns = width.div_ceil(TILE);
    out.par_chunks_mut(width).enumerate().for_each(|(at, out)| {
        let (line, row) = (at / height, at % height);
        let c = line % channels;
        let x = &x[line * n..][..n];
        for (tile, out) in out.chunks_mut(TILE).enumerate() {
            let tile_at = row / TILE * columns + tile;
            let mut sums = [0.0f32; TILE];
            for &l in &members[starts[tile_at] as usize..starts[tile_at + 1] as usize] {
                let l = l as usize;
                let u = row as i64 - i64::from(corners[2 * l]);
                if !(0..side as i64).contains(&u) {
                    continue;
                }
                let pattern = &data[((l * channels + c) * side + u as usize) * side..][..side];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let v = (tile * TILE + i) as i64 - i64::from(corners[2 * l + 1]);
                    if (0..side as i64).contains(&v) {
                        *sum = of(pattern[v as usize]).mul_add(x[l], *sum);
                    }
                }
            }
            out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = end(*sum));
        }
    });
    Ok(())
}

#[cfg(feature = "cuda")]
impl Render for gpu_core::Cuda {
    fn render_unchecked(
        &self,
        p: RenderParams,
        patterns: &DevicePatterns<Self>,
        tiles: &RenderTiles<Self>,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_render")?;
        let rows = p.height.div_ceil(TILE as u32);
        let launch = kernel
            .read(patterns.data.flat())?
            .read(patterns.corners.flat())?
            .read(tiles.starts.flat())?
            .read(tiles.members.flat())?
            .read(x)?
            .write(out)?
            .arg(p)
            .grid((p.tiles, rows, p.frames * p.channels))
            .block((TILE as u32, TILE as u32, 1));
        // SAFETY: void ata_render(const uchar* data, const int* corners, const uint* starts, const uint* members, const
        // float* x, float* out, RenderParams p); `render` has checked that all belong to one set of patterns.
        unsafe { launch.launch() }
    }
}
