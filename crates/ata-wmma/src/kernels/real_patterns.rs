//! Sums over windows of real patterns `p`, in the units of light: Gram blocks, right sides, pictures.
//!
//! * `G[l, m] = Σ p_l p_m` over the pixels that both windows hold, row by row;
//! * `b[f, c, l] = Σ p_l v(frame)`, where a table of 256 values a channel says what light a byte stands for, in the order of
//!   256 lanes;
//! * `out[f, c, ·] = Σ_l p_l x[f, c, l]`, by index, each product fused into the `f32` sum from 0.
//!
//! The first two are summed in `f64`, where products of `f32` are exact, and rounded once. Twins agree to the bit. Floor:
//! patterns once, and a product and a sum for each pixel of each overlap; of each window and frame; 4 bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::render::TILE;
use super::{BlockList, RenderTiles, fold, long};
use crate::blocks::{AREA, BLOCK};
use crate::patterns::{DevicePatterns, FrameLayout, Patterns, Transfer};

/// What the kernels get by value; each reads what it needs.
#[derive(Clone, Copy, Debug, Default, DeviceCopy)]
#[repr(C)]
pub struct RealParams {
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
    /// Elements from a row of a frame to the next.
    pub row: u32,
    /// Elements from a pixel to the next in its row.
    pub pixel: u32,
    /// Elements from a channel to the next.
    pub plane: u32,
    /// Listed blocks.
    pub blocks: u32,
    /// Tiles in a row of tiles.
    pub tiles: u32,
    /// Elements from a frame to the next.
    pub frame: u64,
}

impl RealParams {
    fn of<B: Backend>(patterns: &DevicePatterns<B, f32>, frames: usize) -> Self {
        let DevicePatterns { n, channels, side, width, height, .. } = *patterns;
        Self {
            frames: frames as u32,
            channels: channels as u32,
            n: n as u32,
            side: side as u32,
            width: width as u32,
            height: height as u32,
            tiles: width.div_ceil(TILE) as u32,
            ..Self::default()
        }
    }
}

/// The operations on one backend.
pub trait RealPatterns: Backend {
    #[doc(hidden)]
    fn gram_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        list: View<'_, Self, u32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn atb_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        frames: View<'_, Self, u8>,
        table: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn render_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        tiles: &RenderTiles<Self>,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()>;
}

/// Blocks at the listed block rows and columns: `[C, blocks, 16, 16]`.
///
/// # Errors
/// When a listed block lies outside of the matrix, or the device has no room.
pub fn gram_f32<B: RealPatterns>(b: &B, patterns: &Patterns<f32>, list: &[(u32, u32)]) -> crate::Result<Vec<f32>> {
    let blocks = BlockList::new(b, patterns.n(), list)?;
    let device = DevicePatterns::new(b, patterns)?;
    let mut out = Tensor::<B, f32, 1>::scratch(b, [patterns.channels() * list.len() * AREA])?;
    gram_f32_into(b, &device, &blocks, out.flat_mut())?;
    Ok(out.to_vec(b)?)
}

/// [`gram_f32`] of patterns on the device. Nothing is allocated.
///
/// # Errors
/// When the list is of another matrix, or `out` of another length.
pub fn gram_f32_into<B: RealPatterns>(
    b: &B,
    patterns: &DevicePatterns<B, f32>,
    list: &BlockList<B>,
    out: ViewMut<'_, B, f32>,
) -> Result<()> {
    let blocks = list.check(patterns.n)?;
    long("sums", patterns.channels * blocks * AREA, out.len())?;
    let p = RealParams { blocks: blocks as u32, ..RealParams::of(patterns, 0) };
    b.gram_f32_unchecked(p, patterns, list.flat(), out)
}

/// Right sides of every frame, channel and unknown: `out` is `[F, C, n]`; `frames` are `[F, C, H, W]` or `[F, H, W, C]`.
///
/// # Errors
/// When frames or output do not fit the patterns, or there is no table for every channel.
pub fn atb_f32<B: RealPatterns>(
    b: &B,
    patterns: &DevicePatterns<B, f32>,
    frames: View<'_, B, u8>,
    layout: FrameLayout,
    transfer: &Transfer,
    out: ViewMut<'_, B, f32>,
) -> Result<()> {
    let DevicePatterns { n, channels, width, height, .. } = *patterns;
    let area = width * height;
    let frame = area * channels;
    if frames.len() % frame.max(1) != 0 {
        return Err(Error::shape("frames", &[channels, height, width], &[frames.len()]));
    }
    if i32::try_from(frame).is_err() {
        return Err(Error::value("frames", format!("{frame} elements a frame are more than one call takes")));
    }
    let count = frames.len() / frame.max(1);
    long("right sides", count * channels * n, out.len())?;
    let table: Vec<f32> = match transfer {
        Transfer::Identity => (0..channels * 256).map(|v| (v % 256) as f32 / 255.0).collect(),
        Transfer::Table(tables) if tables.len() == channels => {
            tables.iter().flatten().map(|&v| f32::from(v) / 65535.0).collect()
        }
        Transfer::Table(tables) => return Err(Error::shape("transfer", &[channels, 256], &[tables.len(), 256])),
    };
    let (row, pixel, plane) = match layout {
        FrameLayout::Planar => (width, 1, area),
        FrameLayout::Interleaved => (width * channels, channels, 1),
    };
    let (row, pixel, plane) = (row as u32, pixel as u32, plane as u32);
    let p = RealParams { row, pixel, plane, frame: frame as u64, ..RealParams::of(patterns, count) };
    let table = Tensor::<B, f32, 1>::from_slice(b, [table.len()], &table)?;
    b.atb_f32_unchecked(p, patterns, frames, table.flat(), out)
}

/// Pictures `[F, C, H, W]` of vectors `[F, C, n]`; `tiles` must be those of the patterns.
///
/// # Errors
/// When vectors, pictures or tiles do not fit the patterns.
pub fn render_f32<B: RealPatterns>(
    b: &B,
    patterns: &DevicePatterns<B, f32>,
    tiles: &RenderTiles<B>,
    x: View<'_, B, f32>,
    out: ViewMut<'_, B, f32>,
) -> Result<()> {
    let DevicePatterns { n, channels, width, height, .. } = *patterns;
    let frames = tiles.check([n, channels, width, height], x.len(), out.len())?;
    b.render_f32_unchecked(RealParams::of(patterns, frames), patterns, tiles, x, out)
}

impl RealPatterns for Cpu {
    fn gram_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        list: View<'_, Self, u32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (data, corners) = (self.read(patterns.data.flat())?, self.read(patterns.corners.flat())?);
        let (list, out) = (self.read(list)?, self.write(out)?);
        let (n, side, channels) = (p.n as usize, p.side as usize, p.channels as usize);
        out.par_chunks_mut(AREA).enumerate().for_each(|(at, out)| {
            let (c, block) = (at / p.blocks as usize, at % p.blocks as usize);
            let (first, second) = (list[2 * block] as usize * BLOCK, list[2 * block + 1] as usize * BLOCK);
            let window = |l: usize| &data[(l * channels + c) * side * side..][..side * side];
            for (at, out) in out.iter_mut().enumerate() {
                let (l, m) = (first + at / BLOCK, second + at % BLOCK);
                let mut sum = 0.0;
                if l < n && m < n {
                    let shift = |k: usize| (corners[2 * m + k] - corners[2 * l + k]) as isize;
                    let span = |d: isize| d.clamp(0, side as isize)..(side as isize + d).clamp(0, side as isize);
                    let (down, right) = (shift(0), shift(1));
                    for u in span(down) {
                        for v in span(right) {
                            let one = window(l)[u as usize * side + v as usize];
                            let two = window(m)[(u - down) as usize * side + (v - right) as usize];
                            sum += f64::from(one) * f64::from(two);
                        }
                    }
                }
                *out = sum as f32;
            }
        });
        Ok(())
    }

    fn atb_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        frames: View<'_, Self, u8>,
        table: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (data, corners) = (self.read(patterns.data.flat())?, self.read(patterns.corners.flat())?);
        let (frames, table, out) = (self.read(frames)?, self.read(table)?, self.write(out)?);
        let (n, side, channels) = (p.n as usize, p.side as usize, p.channels as usize);
        let (row, pixel, plane) = (p.row as usize, p.pixel as usize, p.plane as usize);
        out.par_iter_mut().enumerate().for_each(|(at, out)| {
            let (line, l) = (at / n, at % n);
            let (f, c) = (line / channels, line % channels);
            let pattern = &data[(l * channels + c) * side * side..][..side * side];
            let from = c * plane + corners[2 * l] as usize * row + corners[2 * l + 1] as usize * pixel;
            let window = &frames[f * p.frame as usize + from..];
            let [sum] = fold(side * side, |i| {
                let byte = window[i / side * row + i % side * pixel];
                [f64::from(pattern[i]) * f64::from(table[c * 256 + usize::from(byte)])]
            });
            *out = sum as f32;
        });
        Ok(())
    }

    fn render_f32_unchecked(
        &self,
        p: RealParams,
        patterns: &DevicePatterns<Self, f32>,
        tiles: &RenderTiles<Self>,
        x: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let size = [p.n, p.side, p.channels, p.width, p.height].map(|v| v as usize);
        super::render::on_host(self, size, patterns, tiles, x, out, |v| v, |sum| sum)
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use gpu_core::Cuda;

    use super::super::cuda::KERNELS;
    use super::{DevicePatterns, RealParams, RealPatterns, RenderTiles, Result, TILE, View, ViewMut};

    impl RealPatterns for Cuda {
        fn gram_f32_unchecked(
            &self,
            p: RealParams,
            patterns: &DevicePatterns<Self, f32>,
            list: View<'_, Self, u32>,
            out: ViewMut<'_, Self, f32>,
        ) -> Result<()> {
            let launch = self
                .kernel(&KERNELS, "ata_gram_f32")?
                .read(patterns.data.flat())?
                .read(patterns.corners.flat())?
                .read(list)?
                .write(out)?
                .arg(p)
                .grid((p.blocks, p.channels, 1))
                .block((256, 1, 1));
            // SAFETY: void ata_gram_f32(const float* data, const int* corners, const uint* list, float* out, RealParams
            // p); `BlockList` has checked that listed blocks lie inside, and `gram_f32` has made `out` for them.
            unsafe { launch.launch() }
        }

        fn atb_f32_unchecked(
            &self,
            p: RealParams,
            patterns: &DevicePatterns<Self, f32>,
            frames: View<'_, Self, u8>,
            table: View<'_, Self, f32>,
            out: ViewMut<'_, Self, f32>,
        ) -> Result<()> {
            let launch = self
                .kernel(&KERNELS, "ata_atb_f32")?
                .read(patterns.data.flat())?
                .read(patterns.corners.flat())?
                .read(frames)?
                .read(table)?
                .write(out)?
                .arg(p)
                .grid((p.n, p.channels, p.frames.div_ceil(8)))
                .block((256, 1, 1));
            // SAFETY: void ata_atb_f32(const float* data, const int* corners, const uchar* frames, const float* table,
            // float* out, RealParams p); windows lie inside the frames (`Patterns::new`), and `atb_f32` has checked frames
            // and right sides.
            unsafe { launch.launch() }
        }

        fn render_f32_unchecked(
            &self,
            p: RealParams,
            patterns: &DevicePatterns<Self, f32>,
            tiles: &RenderTiles<Self>,
            x: View<'_, Self, f32>,
            out: ViewMut<'_, Self, f32>,
        ) -> Result<()> {
            let launch = self
                .kernel(&KERNELS, "ata_render_f32")?
                .read(patterns.data.flat())?
                .read(patterns.corners.flat())?
                .read(tiles.starts.flat())?
                .read(tiles.members.flat())?
                .read(x)?
                .write(out)?
                .arg(p)
                .grid((p.tiles, p.height.div_ceil(TILE as u32), p.frames * p.channels))
                .block((TILE as u32, TILE as u32, 1));
            // SAFETY: void ata_render_f32(const float* data, const int* corners, const uint* starts, const uint* members,
            // const float* x, float* out, RealParams p); `render_f32` has checked that all belong to one set of patterns.
            unsafe { launch.launch() }
        }
    }
}
