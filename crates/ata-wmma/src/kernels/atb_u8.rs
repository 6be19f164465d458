//! Exact `b[f, c, l] = Σ_{u, v} p[l, c, u, v] frame[f, c, top + u, left + v]` of bytes.
//!
//! With a table, the frame's byte is replaced by 16 bits first. Sums are integers in `u64`, so both twins agree to the
//! bit. Floor: patterns and frames once; a product and a sum a pixel, unknown, channel and frame. An H200 takes 78 µs for
//! 2624 windows of 64 x 64, three channels and eight frames of 800 x 480: 12 % of what it copies.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::long;
use crate::patterns::{DevicePatterns, FrameLayout, Transfer};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct AtbParams {
    /// Frames.
    pub frames: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Side of a window.
    pub side: u32,
    /// Elements from a row of a frame to the next.
    pub row: u32,
    /// Elements from a pixel to the next in its row.
    pub pixel: u32,
    /// Elements from a channel to the next.
    pub plane: u32,
    /// Whether bytes go through a table.
    pub table: u32,
    /// Elements from a frame to the next.
    pub frame: u64,
}

/// What the kernel gets by value that keeps the pixels of a tile in shared memory.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct StagedParams {
    /// Frames.
    pub frames: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Side of a window.
    pub side: u32,
    /// Columns of a frame.
    pub width: u32,
    /// Rows of a frame.
    pub height: u32,
    /// Tiles in a row.
    pub tiles: u32,
    /// Words of a row of pixels.
    pub pitch: u32,
}

/// The operation on one backend.
pub trait AtbU8: Backend {
    #[doc(hidden)]
    fn atb_u8_unchecked(
        &self,
        p: AtbParams,
        patterns: &DevicePatterns<Self>,
        frames: View<'_, Self, u8>,
        table: View<'_, Self, u16>,
        out: ViewMut<'_, Self, u64>,
    ) -> Result<()>;
}

/// Sums for every frame, channel and unknown: `out` is `[F, C, n]`; `frames` are `[F, C, H, W]` or `[F, H, W, C]`.
///
/// # Errors
/// When frames or output do not fit the patterns, or there is no table for every channel.
pub fn atb_u8<B: AtbU8>(
    b: &B,
    patterns: &DevicePatterns<B>,
    frames: View<'_, B, u8>,
    layout: FrameLayout,
    transfer: &Transfer,
    out: ViewMut<'_, B, u64>,
) -> Result<()> {
    let DevicePatterns { n, channels, side, width, height, .. } = *patterns;
    let area = width * height;
    let frame = area * channels;
    if frames.len() % frame.max(1) != 0 {
        return Err(Error::shape("frames", &[channels, height, width], &[frames.len()]));
    }
    if i32::try_from(frame).is_err() {
        return Err(Error::value("frames", format!("{frame} elements a frame are more than one call takes")));
    }
    let count = frames.len() / frame.max(1);
    long("sums", count * channels * n, out.len())?;
    let table: Vec<u16> = match transfer {
        Transfer::Identity => Vec::new(),
        Transfer::Table(tables) if tables.len() == channels => tables.concat(),
        Transfer::Table(tables) => return Err(Error::shape("transfer", &[channels, 256], &[tables.len(), 256])),
    };
    let (row, pixel, plane) = match layout {
        FrameLayout::Planar => (width, 1, area),
        FrameLayout::Interleaved => (width * channels, channels, 1),
    };
    let p = AtbParams {
        frames: count as u32,
        channels: channels as u32,
        n: n as u32,
        side: side as u32,
        row: row as u32,
        pixel: pixel as u32,
        plane: plane as u32,
        table: u32::from(!table.is_empty()),
        frame: frame as u64,
    };
    if table.is_empty() {
        return b.atb_u8_unchecked(p, patterns, frames, patterns.no_table.flat(), out);
    }
    let table = Tensor::from_slice(b, [table.len()], &table)?;
    b.atb_u8_unchecked(p, patterns, frames, table.flat(), out)
}

#[multiversion(targets("x86_64+avx512f+avx512bw", "x86_64+avx2+fma", "aarch64+neon"))]
fn window_sum(pattern: &[u8], side: usize, frame: &[u8], row: usize) -> u64 {
    let mut sum = 0u64;
    for (u, pattern) in pattern.chunks_exact(side).enumerate() {
        let frame = &frame[u * row..u * row + side];
        // A row of at most 256 products stays far below 2^32.
        sum += u64::from(pattern.iter().zip(frame).map(|(&p, &v)| u32::from(p) * u32::from(v)).sum::<u32>());
    }
    sum
}

impl AtbU8 for Cpu {
    fn atb_u8_unchecked(
        &self,
        p: AtbParams,
        patterns: &DevicePatterns<Self>,
        frames: View<'_, Self, u8>,
        table: View<'_, Self, u16>,
        out: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        let (data, corners) = (self.read(patterns.data.flat())?, self.read(patterns.corners.flat())?);
        let (frames, table, out) = (self.read(frames)?, self.read(table)?, self.write(out)?);
        let (n, side, channels) = (p.n as usize, p.side as usize, p.channels as usize);
        let (row, pixel, plane) = (p.row as usize, p.pixel as usize, p.plane as usize);
        let (count, each) = (p.frames as usize, p.frame as usize);
        // All frames of an unknown and channel one after the other: its pattern stays in the cache.
        let mut sums = vec![0u64; out.len()];
        sums.par_chunks_mut(count.max(1)).enumerate().for_each(|(at, out)| {
            let (l, c) = (at / channels, at % channels);
            let pattern = &data[(l * channels + c) * side * side..][..side * side];
            let from = c * plane + corners[2 * l] as usize * row + corners[2 * l + 1] as usize * pixel;
            for (f, out) in out.iter_mut().enumerate() {
                let frame = &frames[f * each..][..each];
                *out = if pixel == 1 && p.table == 0 {
                    window_sum(pattern, side, &frame[from..], row)
                } else {
                    let mut sum = 0;
                    for (i, &v) in pattern.iter().enumerate() {
                        let byte = frame[from + i / side * row + i % side * pixel];
                        let value = if p.table == 1 { table[c * 256 + usize::from(byte)] } else { byte.into() };
                        sum += u64::from(v) * u64::from(value);
                    }
                    sum
                };
            }
        });
        for (line, out) in out.chunks_exact_mut(n).enumerate() {
            let (f, c) = (line / channels, line % channels);
            out.iter_mut().enumerate().for_each(|(l, out)| *out = sums[(l * channels + c) * count + f]);
        }
        Ok(())
    }
}

/// Parameters and bytes of shared memory where frames of whole words have room in it.
#[cfg(feature = "cuda")]
fn staged(
    b: &gpu_core::Cuda,
    p: &AtbParams,
    patterns: &DevicePatterns<gpu_core::Cuda>,
    frames: View<'_, gpu_core::Cuda, u8>,
) -> Result<Option<(StagedParams, u32)>> {
    use crate::patterns::TILE;
    let (width, height) = (patterns.width as u32, patterns.height as u32);
    let aligned = frames.parts().1.is_multiple_of(4);
    if !aligned || p.pixel != 1 || p.table != 0 || !p.side.is_multiple_of(4) || !width.is_multiple_of(4) {
        return Ok(None);
    }
    // Words of the widest row, to 8 modulo 16.
    let pitch = (TILE as u32 + p.side).div_ceil(4);
    let pitch = pitch + (24 - pitch % 16) % 16;
    let shared = 8 * 4 * (TILE as u32 - 1 + p.side) * pitch;
    let kernel = b.kernel(&super::cuda::KERNELS, "ata_atb_u8_staged")?;
    if kernel.block((256, 1, 1)).shared(shared).resident()? == 0 {
        return Ok(None);
    }
    let AtbParams { frames, channels, n, side, .. } = *p;
    let staged = StagedParams { frames, channels, n, side, width, height, tiles: patterns.tiles[0], pitch };
    Ok(Some((staged, shared)))
}

#[cfg(feature = "cuda")]
impl AtbU8 for gpu_core::Cuda {
    fn atb_u8_unchecked(
        &self,
        p: AtbParams,
        patterns: &DevicePatterns<Self>,
        frames: View<'_, Self, u8>,
        table: View<'_, Self, u16>,
        out: ViewMut<'_, Self, u64>,
    ) -> Result<()> {
        if let Some((staged, shared)) = staged(self, &p, patterns, frames)? {
            let launch = self
                .kernel(&super::cuda::KERNELS, "ata_atb_u8_staged")?
                .read(patterns.data.flat())?
                .read(patterns.corners.flat())?
                .read(patterns.starts.flat())?
                .read(patterns.members.flat())?
                .read(frames)?
                .write(out)?
                .arg(staged)
                .grid((patterns.tiles[0] * patterns.tiles[1], p.channels, p.frames.div_ceil(8)))
                .block((256, 1, 1))
                .shared(shared);
            // SAFETY: void ata_atb_u8_staged(const uchar* data, const int* corners, const uint* starts, const uint* members,
            // const uchar* frames, ull* out, StagedParams p); windows lie inside the frames, begin in the tile whose member
            // they are, and `atb_u8` has checked frames and sums.
            return unsafe { launch.launch() };
        }
        let kernel = self.kernel(&super::cuda::KERNELS, "ata_atb_u8")?;
        let launch = kernel
            .read(patterns.data.flat())?
            .read(patterns.corners.flat())?
            .read(frames)?
            .read(table)?
            .write(out)?
            .arg(p)
            .grid((p.n, p.channels, p.frames.div_ceil(8)))
            .block((128, 1, 1));
        // SAFETY: void ata_atb_u8(const uchar* data, const int* corners, const uchar* frames, const ushort* table, ull*
        // out, AtbParams p); windows lie inside the frames (`Patterns::new`), and `atb_u8` has checked frames, table, sums.
        unsafe { launch.launch() }
    }
}
