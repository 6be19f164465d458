//! Products of large matrices whose diagonals lie near each other: a device fetches each block once for both triangles.
//!
//! A thread block takes [`OWN`] block rows a warp: the mirrors of blocks in rows above come first, from the farthest
//! diagonal, then diagonal by diagonal the rows' own blocks, each together with its mirror where that lies in the same
//! rows; at the end a row's own sum is added to its mirrored one. Warps depend on the matrix's size alone, so the sums of
//! a frame do too. What rows a warp group lacks is fetched twice: at most `reach / rows` of the bytes.
//!
//! Floor: as of [`apply`](super::apply()). On an H200, 28 contiguous diagonals of 131072 unknowns, 3 channels, 8 frames:
//! `f16` (352 MB) 166 µs, 54 % of the bytes that it copies a second, where a fetch for each triangle took 202 µs; `Tf32`
//! (704 MB) 242 µs, 71 %. `Tf32x3` took 637 µs against 579: it stays with a fetch for each triangle.

use gpu_core::{Backend, Tensor};
use rustacuda_derive::DeviceCopy;

#[cfg(feature = "cuda")]
use crate::blocks::BLOCK;
use crate::blocks::BlockDiag;
use crate::error::Result;
use crate::schedule::{ABSENT, Layout, Schedule};

/// Block rows of a warp.
pub(crate) const OWN: usize = 6;
/// Warps of a thread block, at most.
pub(crate) const MOST_WARPS: usize = 16;
/// Farthest diagonal, in blocks.
pub(crate) const MOST_REACH: u32 = 63;

/// What the kernel gets by value, beside what all products get.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct BandParams {
    /// Block rows of the matrix.
    pub rows: u32,
    /// Block diagonals.
    pub diagonals: u32,
    /// The farthest of them.
    pub reach: u32,
}

/// Where the blocks of each diagonal lie.
#[derive(Debug)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device read it"))]
pub(crate) struct Band<B: Backend> {
    /// The diagonals, from the nearest.
    pub(crate) distances: Tensor<B, u32, 1>,
    /// `[diagonals, block rows]`: place in the packed list.
    pub(crate) places: Tensor<B, u32, 1>,
    pub(crate) params: BandParams,
    /// Warps of a thread block.
    pub(crate) warps: usize,
    /// Whether there are enough thread blocks of the largest size for any device.
    pub(crate) is_large: bool,
}

/// Whether [`Band`] takes a matrix.
pub(crate) fn is_band(a: &BlockDiag, layout: Layout) -> bool {
    layout != Layout::Full && a.offsets().last().is_some_and(|&last| last <= MOST_REACH)
}

impl<B: Backend> Band<B> {
    pub(crate) fn new(b: &B, a: &BlockDiag, schedule: &Schedule) -> Result<Self> {
        let rows = a.block_rows();
        let mut places = vec![ABSENT; a.offsets().len() * rows];
        for (place, packed) in schedule.packed().iter().enumerate() {
            places[packed.diagonal as usize * rows + packed.row as usize] = place as u32;
        }
        // A power of two that leaves four thread blocks and more to a channel.
        let warps = (rows / (4 * OWN)).clamp(1, MOST_WARPS);
        let warps = 1 << warps.ilog2();
        Ok(Self {
            distances: Tensor::from_slice(b, [a.offsets().len()], a.offsets())?.share(b)?,
            places: Tensor::from_slice(b, [places.len()], &places)?.share(b)?,
            params: BandParams {
                rows: rows as u32,
                diagonals: a.offsets().len() as u32,
                reach: a.offsets().last().copied().unwrap_or(0),
            },
            warps,
            is_large: a.channels() * rows >= 128 * OWN * MOST_WARPS,
        })
    }

    /// Block rows of a thread block.
    #[cfg(feature = "cuda")]
    pub(crate) fn own(&self) -> usize {
        OWN * self.warps
    }

    /// Bytes of shared memory of a thread block: blocks under way, vectors, sums and places. An element has 2 or 4 bytes.
    #[cfg(feature = "cuda")]
    pub(crate) fn shared(&self, element: usize) -> u32 {
        let (own, reach) = (self.own(), self.params.reach as usize);
        // 16-bit blocks have eight stages, others four: 4 KiB a warp.
        let stages = self.warps * 4096;
        let vectors = (own + 2 * reach) * BLOCK * super::GROUP * element;
        let sums = own * BLOCK * super::GROUP * 4;
        let places = self.params.diagonals as usize * (own + reach + 1) * 4;
        (stages + vectors + sums + places) as u32
    }
}
