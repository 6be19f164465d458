//! Exact Gram blocks of patterns of bytes: `G[l, m] = Σ p_l p_m` over the pixels that both windows hold.
//!
//! One block a listed pair of block rows; every sum is an integer below 2^32, so both twins agree to the bit. Elements
//! behind the last unknown are 0. Floor: the patterns once, and a product and a sum for each pixel of each overlap.

use gpu_core::{Backend, Cpu, Result, Tensor, View, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::long;
use crate::blocks::{AREA, BLOCK};
use crate::patterns::{DevicePatterns, Patterns};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct GramParams {
    /// Unknowns.
    pub n: u32,
    /// Channels.
    pub channels: u32,
    /// Side of a window.
    pub side: u32,
    /// Listed blocks.
    pub blocks: u32,
}

/// The operation on one backend.
pub trait GramU8: Backend {
    #[doc(hidden)]
    fn gram_u8_unchecked(
        &self,
        p: GramParams,
        patterns: &DevicePatterns<Self>,
        list: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Pairs of block rows, in the memory of a device.
#[derive(Debug)]
pub struct BlockList<B: Backend> {
    list: Tensor<B, u32, 1>,
    blocks: usize,
    n: usize,
}

impl<B: Backend> BlockList<B> {
    /// Uploads block rows and columns of a matrix of `n` unknowns.
    ///
    /// # Errors
    /// When one lies outside of the matrix, or the device has no room.
    pub fn new(b: &B, n: usize, list: &[(u32, u32)]) -> crate::Result<Self> {
        let nb = n.div_ceil(BLOCK) as u32;
        if let Some((i, j)) = list.iter().find(|(i, j)| *i >= nb || *j >= nb) {
            return Err(crate::AtaError::value("blocks", format!("({i}, {j}) lies outside of {nb} block rows")));
        }
        long("blocks", list.len(), i32::try_from(list.len()).map_or(0, |v| v as usize))?;
        let flat: Vec<u32> = list.iter().flat_map(|&(i, j)| [i, j]).collect();
        Ok(Self { list: Tensor::from_slice(b, [flat.len()], &flat)?, blocks: list.len(), n })
    }

    pub(super) fn flat(&self) -> View<'_, B, u32> {
        self.list.flat()
    }

    /// Listed blocks of a matrix of `n` unknowns.
    pub(super) fn check(&self, n: usize) -> Result<usize> {
        long("unknowns", n, self.n)?;
        Ok(self.blocks)
    }
}

/// Blocks at the listed block rows and columns: `[C, blocks, 16, 16]`.
///
/// # Errors
/// When a listed block lies outside of the matrix, or the device has no room.
pub fn gram_u8<B: GramU8>(b: &B, patterns: &Patterns, list: &[(u32, u32)]) -> crate::Result<Vec<u32>> {
    let blocks = BlockList::new(b, patterns.n(), list)?;
    let device = DevicePatterns::new(b, patterns)?;
    let mut out = Tensor::<B, u32, 1>::scratch(b, [patterns.channels() * list.len() * AREA])?;
    gram_u8_into(b, &device, &blocks, out.flat_mut())?;
    Ok(out.to_vec(b)?)
}

/// [`gram_u8`] of patterns on the device. Nothing is allocated.
///
/// # Errors
/// When the list is of another matrix, or `out` of another length.
pub fn gram_u8_into<B: GramU8>(
    b: &B,
    patterns: &DevicePatterns<B>,
    list: &BlockList<B>,
    out: ViewMut<'_, B, u32>,
) -> Result<()> {
    let blocks = list.check(patterns.n)?;
    long("sums", patterns.channels * blocks * AREA, out.len())?;
    let p = GramParams {
        n: patterns.n as u32,
        channels: patterns.channels as u32,
        side: patterns.side as u32,
        blocks: blocks as u32,
    };
    b.gram_u8_unchecked(p, patterns, list.list.flat(), out)
}

/// Sum of products of bytes of two runs of one length.
#[multiversion(targets("x86_64+avx512f+avx512bw", "x86_64+avx2+fma", "aarch64+neon"))]
fn overlap(a: &[u8], b: &[u8], side: usize, rows: usize, columns: usize) -> u32 {
    let mut sum = 0;
    for (a, b) in a.chunks(side).zip(b.chunks(side)).take(rows) {
        let products = a[..columns].iter().zip(&b[..columns]).map(|(&a, &b)| u32::from(a) * u32::from(b));
        sum += products.sum::<u32>();
    }
    sum
}

impl GramU8 for Cpu {
    fn gram_u8_unchecked(
        &self,
        p: GramParams,
        patterns: &DevicePatterns<Self>,
        list: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (data, corners) = (self.read(patterns.data.flat())?, self.read(patterns.corners.flat())?);
        let (list, out) = (self.read(list)?, self.write(out)?);
        let (n, side, channels) = (p.n as usize, p.side as usize, p.channels as usize);
        let corner = |l: usize| [corners[2 * l], corners[2 * l + 1]];
        out.par_chunks_mut(AREA).enumerate().for_each(|(at, out)| {
            let (c, block) = (at / p.blocks as usize, at % p.blocks as usize);
            let (first, second) = (list[2 * block] as usize * BLOCK, list[2 * block + 1] as usize * BLOCK);
            let window = |l: usize| &data[(l * channels + c) * side * side..][..side * side];
            for (at, out) in out.iter_mut().enumerate() {
                let (l, m) = (first + at / BLOCK, second + at % BLOCK);
                *out = 0;
                if l >= n || m >= n {
                    continue;
                }
                let down = corner(m)[0] - corner(l)[0];
                let right = corner(m)[1] - corner(l)[1];
                let (rows, columns) = (side as i32 - down.abs(), side as i32 - right.abs());
                if rows <= 0 || columns <= 0 {
                    continue;
                }
                let from = |down: i32, right: i32| down.max(0) as usize * side + right.max(0) as usize;
                let (a, b) = (&window(l)[from(down, right)..], &window(m)[from(-down, -right)..]);
                *out = overlap(a, b, side, rows as usize, columns as usize);
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl GramU8 for gpu_core::Cuda {
    fn gram_u8_unchecked(
        &self,
        p: GramParams,
        patterns: &DevicePatterns<Self>,
        list: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        // Whole windows of both block rows stay in shared memory where it has room for them.
        let shared = 32 * (p.side * p.side + 4);
        let staged = p.side.is_multiple_of(4)
            && self
                .kernel(&super::cuda::KERNELS, "ata_gram_u8_staged")?
                .block((256, 1, 1))
                .shared(shared)
                .resident()?
                > 0;
        let name = if staged { "ata_gram_u8_staged" } else { "ata_gram_u8" };
        let launch = self
            .kernel(&super::cuda::KERNELS, name)?
            .read(patterns.data.flat())?
            .read(patterns.corners.flat())?
            .read(list)?
            .write(out)?
            .arg(p)
            .grid((p.blocks, p.channels, 1))
            .block((256, 1, 1))
            .shared(if staged { shared } else { 0 });
        // SAFETY: void ata_gram_u8(const uchar* data, const int* corners, const uint* list, uint* out, GramParams p), and
        // the same with `_staged`; `BlockList` has checked that listed blocks lie inside, and `gram_u8_into` the sums.
        unsafe { launch.launch() }
    }
}
