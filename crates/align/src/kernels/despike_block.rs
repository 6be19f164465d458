//! `proxy[p, Y, X] = scale_p Σ u(min(v, max of v's nearest neighbours of its colour))` over the pixels of a block that
//! belong to plane `p`: hot pixels out, levels to 0..1, noise made uniform, block averaged.
//!
//! The neighbours of a position come from a table ([`Cfa::neighbours`]); those outside of the picture are left out.
//! `u(v) = sqrt(max(v − black, 0) / (white − black) + 0.001)` is a look-up for each of the 65536 values and each black
//! level: photons' noise has the same strength everywhere after the square root. Terms are added row by row inside the
//! block from 0, then multiplied by the plane's scale, all in `f32`: maximum and look-up are exact and the order is
//! fixed, so twins agree to the bit.
//!
//! Floor: `2` bytes a pixel in and `4 / block²` out; `neighbours + 2` operations a pixel. Memory decides.
//! Share of it on a GPU: not measured yet.
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
    /// `u` of every value, for each distinct black level.
    levels: Tensor<B, f32, 2>,
    /// How far neighbours lie.
    reach: u32,
    /// Row of `levels` for each position.
    level_of: Tensor<B, u32, 1>,
    /// Plane of each position.
    plane_of: Tensor<B, u32, 1>,
    /// One over the pixels of a block, for each plane.
    scale: Tensor<B, f32, 1>,
}

/// Values of a pixel.
const VALUES: usize = 1 << 16;

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
        let (mut blacks, mut level_of): (Vec<f32>, Vec<u32>) = (Vec::new(), Vec::new());
        let planes = kind.planes(cfa);
        let mut plane_of = Vec::new();
        for i in 0..period * period {
            let (y, x) = (i / period, i % period);
            offsets.extend(cfa.neighbours(y, x, neighbours).into_iter().flat_map(|(dy, dx)| [dy, dx]));
            starts.push(offsets.len() as u32 / 2);
            let level = black.at(y, x);
            let known = blacks.iter().position(|b| b.to_bits() == level.to_bits());
            level_of.push(known.unwrap_or(blacks.len()) as u32);
            if known.is_none() {
                blacks.push(level);
            }
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
        let mut levels = Vec::with_capacity(blacks.len() * VALUES);
        for level in &blacks {
            let range = f64::from(white) - f64::from(*level);
            if range <= 0.0 {
                return Err(Error::value("black", format!("{level} is not below white {white}")));
            }
            levels.extend((0..VALUES).map(|v| {
                let light = (v as f64 - f64::from(*level)).max(0.0) / range;
                (light + 0.001).sqrt() as f32
            }));
        }
        let scale: Vec<f32> = counts.iter().map(|&n| 1.0 / n as f32).collect();
        Ok(Self {
            period,
            block,
            planes,
            offsets: Tensor::from_slice(b, [offsets.len() / 2, 2], &offsets)?.share(b)?,
            reach: offsets.iter().map(|d| d.unsigned_abs()).max().unwrap_or(0),
            starts: Tensor::from_slice(b, [starts.len()], &starts)?.share(b)?,
            levels: Tensor::from_slice(b, [blacks.len(), VALUES], &levels)?.share(b)?,
            level_of: Tensor::from_slice(b, [level_of.len()], &level_of)?.share(b)?,
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
        let (level_of, plane_of) = (self.read(table.level_of.flat())?, self.read(table.plane_of.flat())?);
        let scale = self.read(table.scale.flat())?;
        let around = |i: usize| &offsets[2 * starts[i] as usize..2 * starts[i + 1] as usize];
        // Positions of a row with the same neighbours share one row of maxima.
        let sets: Vec<Vec<usize>> = (0..period)
            .map(|py| {
                let first = |px: usize| (0..px).find(|&q| around(py * period + q) == around(py * period + px));
                (0..period).map(|px| first(px).unwrap_or(px)).collect()
            })
            .collect();
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
            || (vec![0u16; period * width], vec![0f32; width]),
            |(maxima, light), (r, mut out)| {
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
                        let table = &levels[level_of[py * period + px] as usize * VALUES..][..VALUES];
                        look_up(light, most, table, period, px);
                    }
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

/// `light[x] = table[most[x]]` for every `x` at place `px` of its period.
fn look_up(light: &mut [f32], most: &[u16], table: &[f32], period: usize, px: usize) {
    // As long as there are values: no index is checked.
    let Ok(table) = <&[f32; VALUES]>::try_from(table) else { return };
    if period == 2 {
        // The commonest patterns, with a stride that the compiler sees.
        for (light, most) in light.chunks_exact_mut(2).zip(most.chunks_exact(2)) {
            light[px & 1] = table[usize::from(most[px & 1])];
        }
    } else {
        for (light, most) in light[px..].iter_mut().step_by(period).zip(most[px..].iter().step_by(period)) {
            *light = table[usize::from(*most)];
        }
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
        let tile = CELLS.map(|n| n * p.block + 2 * p.reach);
        let [neighbours, _] = table.offsets.shape();
        let launch = self
            .kernel(&super::cuda::KERNELS, "despike_block_u16")?
            .read(mosaic)?
            .read(table.offsets.flat())?
            .read(table.starts.flat())?
            .read(table.levels.flat())?
            .read(table.level_of.flat())?
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
        // const float* levels, const unsigned* level_of, const unsigned* plane_of, const float* scale, float* proxy,
        // DespikeParams p); the table was made as a whole, lengths checked by `despike_block`.
        unsafe { launch.launch() }
    }
}
