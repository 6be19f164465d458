//! `proxy[p, Y, X] = scale_p Σ u(min(v, max of v's nearest neighbours of its colour))` over the pixels of a block that
//! belong to plane `p`: hot pixels out, levels to 0..1, noise made uniform, block averaged.
//!
//! The neighbours of a position come from a table ([`Cfa::neighbours`]); those outside of the picture are left out.
//! `u(v) = sqrt(max(v − black, 0) · (1 / (white − black)) + 0.001)`: photons' noise has the same strength everywhere after
//! the square root. Terms are added row by row inside the block from 0, then multiplied by the plane's scale. All is `f32`,
//! each operation rounded alone and in the order written, so twins agree to the bit.
//!
//! Floor: `2` bytes a pixel in and `4 / block²` out; `neighbours + 7` operations a pixel. Memory decides, barely.
//!
//! [`Cfa::neighbours`]: crate::Cfa::neighbours

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, product, size32};
use crate::{BlackLevel, Cfa};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct DespikeParams {
    /// Rows of the mosaic.
    pub height: u32,
    /// Columns of the mosaic.
    pub width: u32,
    /// Period of the pattern.
    pub period: u32,
    /// Side of a block.
    pub block: u32,
    /// Planes of the proxy.
    pub planes: u32,
    /// How far neighbours lie, in rows or columns.
    pub reach: u32,
}

/// Which pixels of a block belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaneKind {
    /// All of them: one plane.
    Luma,
    /// Each position of a Bayer block (four planes), or each colour of an X-Trans block (three); one plane without
    /// filters.
    Channels,
}

impl PlaneKind {
    /// Number of planes for a pattern.
    pub fn planes(self, cfa: &Cfa) -> usize {
        match (self, cfa) {
            (Self::Luma, _) | (_, Cfa::Gray) => 1,
            (Self::Channels, Cfa::Bayer(_)) => 4,
            (Self::Channels, Cfa::XTrans(_)) => 3,
        }
    }
}

/// Neighbours, levels and planes of one pattern in the memory of a device.
#[derive(Debug)]
pub struct MosaicTable<B: Backend> {
    period: usize,
    block: usize,
    planes: usize,
    /// `dy, dx` of the neighbours of each position, one position behind the other.
    offsets: Tensor<B, i32, 2>,
    /// Where the neighbours of a position start; one more than there are positions.
    starts: Tensor<B, u32, 1>,
    /// Black level, and one over what lies between it and white, for each position.
    levels: Tensor<B, [f32; 2], 1>,
    /// How far neighbours lie.
    reach: u32,
    /// The levels once more when the pattern and its neighbours are those of [`BAYER`].
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a device has a kernel for one pattern"))]
    bayer: Option<[[f32; 2]; 4]>,
    /// Plane of each position.
    plane_of: Tensor<B, u32, 1>,
    /// One over the pixels of a block, for each plane.
    scale: Tensor<B, f32, 1>,
}

/// The eight neighbours of red and blue pixels among Bayer's, and those of green ones.
const BAYER: [[(i32, i32); 8]; 2] = [
    [(-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2)],
    [(-2, 0), (-1, -1), (-1, 1), (0, -2), (0, 2), (1, -1), (1, 1), (2, 0)],
];

/// `u(v)`.
#[inline(always)]
fn light(v: u16, [black, inverse]: [f32; 2]) -> f32 {
    ((f32::from(v) - black).max(0.0) * inverse + 0.001).sqrt()
}

impl<B: Backend> MosaicTable<B> {
    /// Makes and uploads the tables. Usable on every queue of the device.
    ///
    /// # Errors
    /// When a black level is not below white, or the pattern does not start at its canonical place.
    pub fn new(b: &B, cfa: &Cfa, black: &BlackLevel, white: u16, neighbours: usize, kind: PlaneKind) -> Result<Self> {
        let (period, block) = (cfa.period(), cfa.block());
        if cfa.canonical_offset() != Some([0, 0]) {
            return Err(Error::value("pattern", format!("{} must be cut to its canonical place", cfa.letters())));
        }
        let (mut offsets, mut starts) = (Vec::new(), vec![0u32]);
        let mut levels: Vec<[f32; 2]> = Vec::with_capacity(period * period);
        let mut like_bayer = period == 2 && block == 2;
        let planes = kind.planes(cfa);
        let mut plane_of = Vec::new();
        for i in 0..period * period {
            let (y, x) = (i / period, i % period);
            let mut around = cfa.neighbours(y, x, neighbours);
            offsets.extend(around.iter().flat_map(|&(dy, dx)| [dy, dx]));
            around.sort_unstable();
            like_bayer &= around == BAYER[(y + x) % 2];
            starts.push(offsets.len() as u32 / 2);
            let level = black.at(y, x);
            let range = f64::from(white) - f64::from(level);
            if range <= 0.0 {
                return Err(Error::value("black", format!("{level} is not below white {white}")));
            }
            levels.push([level, (1.0 / range) as f32]);
            plane_of.push(match planes {
                1 => 0,
                4 => i as u32,
                _ => cfa.colour(y, x).index() as u32,
            });
        }
        let mut counts = vec![0u32; planes];
        for i in 0..block * block {
            counts[plane_of[i / block % period * period + i % block % period] as usize] += 1;
        }
        let scale: Vec<f32> = counts.iter().map(|&n| 1.0 / n as f32).collect();
        Ok(Self {
            period,
            block,
            planes,
            offsets: Tensor::from_slice(b, [offsets.len() / 2, 2], &offsets)?.share(b)?,
            reach: offsets.iter().map(|d| d.unsigned_abs()).max().unwrap_or(0),
            starts: Tensor::from_slice(b, [starts.len()], &starts)?.share(b)?,
            bayer: if like_bayer { <[[f32; 2]; 4]>::try_from(levels.as_slice()).ok() } else { None },
            levels: Tensor::from_slice(b, [levels.len()], &levels)?.share(b)?,
            plane_of: Tensor::from_slice(b, [plane_of.len()], &plane_of)?.share(b)?,
            scale: Tensor::from_slice(b, [planes], &scale)?.share(b)?,
        })
    }

    /// Planes of the proxy.
    pub fn planes(&self) -> usize {
        self.planes
    }

    /// Side of a block.
    pub fn block(&self) -> usize {
        self.block
    }
}

/// The operation on one backend.
pub trait DespikeBlock: Backend {
    #[doc(hidden)]
    fn despike_block_unchecked(
        &self,
        p: DespikeParams,
        table: &MosaicTable<Self>,
        mosaic: View<'_, Self, u16>,
        proxy: ViewMut<'_, Self, f32>,
    ) -> Result<()>;

    /// Whether mosaics are best copied through pinned memory, so that the host goes on while the device works.
    fn stages(&self) -> bool {
        false
    }
}

/// Turns a mosaic of `height * width` into `table.planes()` planes of `height / block * width / block`.
///
/// # Errors
/// When a side is no multiple of the block or shorter than two periods and five pixels, or a view is too short.
pub fn despike_block<B: DespikeBlock>(
    b: &B,
    table: &MosaicTable<B>,
    height: usize,
    width: usize,
    mosaic: View<'_, B, u16>,
    proxy: ViewMut<'_, B, f32>,
) -> Result<()> {
    let least = (2 * table.period).max(5);
    if height < least || width < least || !height.is_multiple_of(table.block) || !width.is_multiple_of(table.block) {
        let need = format!("{height} x {width}: sides must be multiples of {} and at least {least}", table.block);
        return Err(Error::value("mosaic", need));
    }
    holds("mosaic", product(&[height, width]), mosaic.len())?;
    holds("proxy", product(&[table.planes, height / table.block, width / table.block]), proxy.len())?;
    let p = DespikeParams {
        height: size32("height", height)?,
        width: size32("width", width)?,
        period: table.period as u32,
        block: table.block as u32,
        planes: table.planes as u32,
        reach: table.reach,
    };
    b.despike_block_unchecked(p, table, mosaic, proxy)
}

impl DespikeBlock for Cpu {
    fn despike_block_unchecked(
        &self,
        p: DespikeParams,
        table: &MosaicTable<Self>,
        mosaic: View<'_, Self, u16>,
        proxy: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        let (height, width) = (p.height as usize, p.width as usize);
        let (period, block, planes) = (p.period as usize, p.block as usize, p.planes as usize);
        let (mosaic, proxy) = (self.read(mosaic)?, self.write(proxy)?);
        let offsets = self.read(table.offsets.flat())?;
        let starts = self.read(table.starts.flat())?;
        let levels = self.read(table.levels.flat())?;
        let plane_of = self.read(table.plane_of.flat())?;
        let scale = self.read(table.scale.flat())?;
        let around = |i: usize| &offsets[2 * starts[i] as usize..2 * starts[i + 1] as usize];
        // Positions of a row with the same neighbours share one row of maxima.
        let sets: Vec<Vec<usize>> = (0..period)
            .map(|py| {
                let first = |px: usize| (0..px).find(|&q| around(py * period + q) == around(py * period + px));
                (0..period).map(|px| first(px).unwrap_or(px)).collect()
            })
            .collect();
        // The level of each pixel, for the rows of a period.
        let levels: Vec<[f32; 2]> =
            (0..period * width).map(|i| levels[i / width * period + i % width % period]).collect();
        let (rows, columns) = (height / block, width / block);
        let area = rows * columns;
        // Row r of every plane, for one task.
        let mut slots: Vec<Vec<&mut [f32]>> = (0..rows).map(|_| Vec::with_capacity(planes)).collect();
        for plane in proxy[..planes * area].chunks_exact_mut(area) {
            for (slot, row) in slots.iter_mut().zip(plane.chunks_exact_mut(columns)) {
                slot.push(row);
            }
        }
        slots.into_par_iter().enumerate().with_min_len(4).for_each_init(
            || (vec![0u16; period * width], vec![0u16; width], vec![0f32; width]),
            |(maxima, merged, light), (r, mut out)| {
                for row in &mut out {
                    row.fill(0.0);
                }
                for y in r * block..(r + 1) * block {
                    let py = y % period;
                    let own = &mosaic[y * width..(y + 1) * width];
                    for px in (0..period).filter(|&px| sets[py][px] == px) {
                        let most = &mut maxima[px * width..(px + 1) * width];
                        most.fill(0);
                        for offset in around(py * period + px).chunks_exact(2) {
                            let from = y as i64 + i64::from(offset[0]);
                            if (0..height as i64).contains(&from) {
                                let row = &mosaic[from as usize * width..][..width];
                                raise(most, row, offset[1]);
                            }
                        }
                    }
                    // The limits of a row, in place of the maxima.
                    for px in (0..period).filter(|&px| sets[py][px] == px) {
                        lower_all(&mut maxima[px * width..(px + 1) * width], own);
                    }
                    for px in 0..period {
                        let most = &maxima[sets[py][px] * width..][..width];
                        merge(merged, most, period, px);
                    }
                    lighten(light, merged, &levels[py * width..][..width]);
                    if planes == 1 {
                        match block {
                            2 => add_blocks::<2>(out[0], light),
                            3 => add_blocks::<3>(out[0], light),
                            _ => add_blocks::<1>(out[0], light),
                        }
                    } else {
                        for (x, &term) in light.iter().enumerate() {
                            out[plane_of[py * period + x % period] as usize][x / block] += term;
                        }
                    }
                }
                for (row, scale) in out.iter_mut().zip(scale) {
                    for v in row.iter_mut() {
                        *v *= scale;
                    }
                }
            },
        );
        Ok(())
    }
}

/// Adds the terms of each block of a row, from the left.
fn add_blocks<const N: usize>(sums: &mut [f32], light: &[f32]) {
    for (sum, terms) in sums.iter_mut().zip(light.as_chunks::<N>().0) {
        for term in terms {
            *sum += term;
        }
    }
}

/// `merged[x] = most[x]` for every `x` at place `px` of its period.
fn merge(merged: &mut [u16], most: &[u16], period: usize, px: usize) {
    if period == 2 {
        // The commonest patterns, with a stride that the compiler sees.
        for (merged, most) in merged.chunks_exact_mut(2).zip(most.chunks_exact(2)) {
            merged[px & 1] = most[px & 1];
        }
    } else {
        for (merged, most) in merged[px..].iter_mut().step_by(period).zip(most[px..].iter().step_by(period)) {
            *merged = *most;
        }
    }
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "x86_64+sse4.1", "aarch64+neon"))]
fn lighten(out: &mut [f32], values: &[u16], levels: &[[f32; 2]]) {
    for ((out, &v), &level) in out.iter_mut().zip(values).zip(levels) {
        *out = light(v, level);
    }
}

/// `most[x] = max(most[x], row[x + dx])` where `x + dx` is inside.
fn raise(most: &mut [u16], row: &[u16], dx: i32) {
    let n = most.len();
    let step = dx.unsigned_abs() as usize;
    if step >= n {
        return;
    }
    if dx >= 0 {
        raise_all(&mut most[..n - step], &row[step..]);
    } else {
        raise_all(&mut most[step..], &row[..n - step]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw", "x86_64+avx2", "x86_64+sse4.1", "aarch64+neon"))]
fn raise_all(most: &mut [u16], row: &[u16]) {
    for (m, &v) in most.iter_mut().zip(row) {
        *m = (*m).max(v);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw", "x86_64+avx2", "x86_64+sse4.1", "aarch64+neon"))]
fn lower_all(most: &mut [u16], row: &[u16]) {
    for (m, &v) in most.iter_mut().zip(row) {
        *m = (*m).min(v);
    }
}

#[cfg(feature = "cuda")]
impl DespikeBlock for gpu_core::Cuda {
    fn stages(&self) -> bool {
        true
    }

    fn despike_block_unchecked(
        &self,
        p: DespikeParams,
        table: &MosaicTable<Self>,
        mosaic: View<'_, Self, u16>,
        proxy: ViewMut<'_, Self, f32>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;
        // Cells of the proxy that a block of threads makes.
        const CELLS: [u32; 2] = [16, 32];
        if let Some(levels) = table.bayer {
            return despike_bayer(self, p, levels, mosaic, proxy);
        }
        let tile = CELLS.map(|n| n * p.block + 2 * p.reach);
        let [neighbours, _] = table.offsets.shape();
        let launch = self
            .kernel(&super::cuda::KERNELS, "despike_block_u16")?
            .read(mosaic)?
            .read(table.offsets.flat())?
            .read(table.starts.flat())?
            .read(table.levels.flat())?
            .read(table.plane_of.flat())?
            .read(table.scale.flat())?
            .write(proxy)?
            .arg(p)
            .grid((
                Grid::cover((p.width / p.block) as usize, CELLS[1])?,
                Grid::cover((p.height / p.block) as usize, CELLS[0])?,
                1,
            ))
            .block(super::cuda::BLOCK)
            .shared(4 * neighbours as u32 + 2 * tile[0] * tile[1]);
        // SAFETY: void despike_block_u16(const unsigned short* mosaic, const int* offsets, const unsigned* starts,
        // const float2* levels, const unsigned* plane_of, const float* scale, float* proxy, DespikeParams p); the table
        // was made as a whole, lengths checked by `despike_block`.
        unsafe { launch.launch() }
    }
}

/// What the kernel for red, green, green and blue with eight neighbours each gets by value.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
struct BayerParams {
    /// Rows of the mosaic.
    height: u32,
    /// Columns of the mosaic.
    width: u32,
    /// Planes of the proxy: 1 or 4.
    planes: u32,
    /// 1 where rows can be read and written 16 bytes at a time.
    packed: u32,
    /// Black level of each position.
    black: [f32; 4],
    /// One over what lies between it and white.
    inverse: [f32; 4],
    /// One over the pixels of a block that belong to a plane.
    scale: f32,
    /// Keeps the size a multiple of 8 bytes.
    reserved: u32,
}

/// The kernel for one pattern.
#[cfg(feature = "cuda")]
fn despike_bayer(
    b: &gpu_core::Cuda,
    p: DespikeParams,
    levels: [[f32; 2]; 4],
    mosaic: View<'_, gpu_core::Cuda, u16>,
    proxy: ViewMut<'_, gpu_core::Cuda, f32>,
) -> Result<()> {
    use gpu_core::cuda::Grid;
    // Columns of a thread, the rows of cells that it makes, and threads of a block.
    const STRIP: u32 = 8;
    const DOWN: u32 = 12;
    const THREADS: (u32, u32, u32) = (32, 4, 1);
    let aligned = mosaic.parts().1.is_multiple_of(8) && proxy.as_view().parts().1.is_multiple_of(4);
    let p = BayerParams {
        height: p.height,
        width: p.width,
        planes: p.planes,
        packed: (aligned && p.width.is_multiple_of(STRIP)).into(),
        black: levels.map(|[black, _]| black),
        inverse: levels.map(|[_, inverse]| inverse),
        scale: if p.planes == 1 { 0.25 } else { 1.0 },
        reserved: 0,
    };
    let blocks =
        (Grid::cover(p.width as usize, STRIP * THREADS.0)?, Grid::cover((p.height / 2) as usize, DOWN * THREADS.1)?, 1);
    let launch = b.kernel(&super::cuda::KERNELS, "despike_bayer_u16")?.read(mosaic)?.write(proxy)?.arg(p);
    let launch = launch.grid(blocks).block(THREADS);
    // SAFETY: void despike_bayer_u16(const unsigned short* mosaic, float* proxy, BayerParams p); lengths checked by
    // `despike_block`, `packed` says where packs are aligned.
    unsafe { launch.launch() }
}
