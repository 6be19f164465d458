//! Which blocks each strip of 32 rows multiplies, in which order: made once, the same for every backend.

use gpu_core::{Backend, Tensor};

use crate::blocks::{AREA, BLOCK, BlockDiag};
use crate::error::{AtaError, Result};

/// Whether a device holds the upper triangle alone or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The plan chooses; at present always [`Upper`](Self::Upper).
    #[default]
    Auto,
    /// Blocks on and above the diagonal; those below are read transposed.
    Upper,
    /// Mirrored blocks are stored too: twice the bytes, no transposition.
    Full,
}

/// An absent half of a tile.
pub const ABSENT: u32 = u32::MAX;
/// Each strip's tiles are dealt out to this many parts in turn, whose sums are added in order: what a device does with
/// warps side by side, and every twin in the same order.
pub const PARTS: usize = 8;

/// A 32 x 16 left operand: block column `j`, and a block for each half: twice its place in the packed list, plus one when
/// it is used transposed; [`ABSENT`] when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Tile {
    /// Block column: which 16 elements of the vectors it multiplies.
    pub j: u32,
    /// Rows 0 to 15 of the strip.
    pub top: u32,
    /// Rows 16 to 31.
    pub bottom: u32,
}

/// A block of the packed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Position of its diagonal in the matrix's offsets.
    pub diagonal: u32,
    /// Block row as stored.
    pub row: u32,
    /// Whether it is a materialised mirror image.
    pub mirrored: bool,
}

/// Tiles of every strip, by block column, and the blocks that they refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    tiles: Vec<Tile>,
    starts: Vec<u32>,
    packed: Vec<Packed>,
}

impl Schedule {
    /// The schedule of a matrix.
    pub fn of(a: &BlockDiag, layout: Layout) -> Self {
        let nb = a.block_rows();
        let full = layout == Layout::Full;
        let mut packed = Vec::new();
        // For each block row: block columns and what is found there.
        let mut rows: Vec<Vec<(u32, u32)>> = vec![Vec::new(); nb];
        for (k, i) in a.stored() {
            let j = i + a.offsets()[k] as usize;
            let (diagonal, row) = (k as u32, i as u32);
            let place = packed.len() as u32;
            packed.push(Packed { diagonal, row, mirrored: false });
            rows[i].push((j as u32, 2 * place));
            if j != i {
                if full {
                    let place = packed.len() as u32;
                    packed.push(Packed { diagonal, row, mirrored: true });
                    rows[j].push((i as u32, 2 * place));
                } else {
                    rows[j].push((i as u32, 2 * place + 1));
                }
            }
        }
        for row in &mut rows {
            row.sort_unstable();
        }
        let (mut tiles, mut starts) = (Vec::new(), vec![0]);
        for pair in rows.chunks(2) {
            let (top, bottom) = (&pair[0][..], pair.get(1).map_or(&[][..], |row| &row[..]));
            let (mut t, mut b) = (0, 0);
            while t < top.len() || b < bottom.len() {
                let (jt, jb) = (top.get(t).map_or(u32::MAX, |e| e.0), bottom.get(b).map_or(u32::MAX, |e| e.0));
                let j = jt.min(jb);
                let mut tile = Tile { j, top: ABSENT, bottom: ABSENT };
                if jt == j {
                    tile.top = top[t].1;
                    t += 1;
                }
                if jb == j {
                    tile.bottom = bottom[b].1;
                    b += 1;
                }
                tiles.push(tile);
            }
            starts.push(tiles.len() as u32);
        }
        Self { tiles, starts, packed }
    }

    /// Number of strips: pairs of block rows.
    pub fn strips(&self) -> usize {
        self.starts.len() - 1
    }

    /// Tiles of a strip, by block column.
    pub fn strip(&self, s: usize) -> &[Tile] {
        &self.tiles[self.starts[s] as usize..self.starts[s + 1] as usize]
    }

    /// All tiles, strip after strip.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// Where the tiles of each strip begin, and the end.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// The blocks that a device holds, by block row, then by block column.
    pub fn packed(&self) -> &[Packed] {
        &self.packed
    }

    /// Halves with a block.
    pub fn halves(&self) -> usize {
        self.tiles.iter().map(|t| usize::from(t.top != ABSENT) + usize::from(t.bottom != ABSENT)).sum()
    }

    /// Share of the halves of all tiles that hold a block; 1 without tiles.
    pub fn tile_efficiency(&self) -> f64 {
        if self.tiles.is_empty() { 1.0 } else { self.halves() as f64 / (2 * self.tiles.len()) as f64 }
    }

    /// Elements of the packed blocks, `[C, blocks, 16, 16]`, in the order of [`packed`](Self::packed).
    pub fn pack(&self, a: &BlockDiag) -> Vec<f32> {
        let mut out = Vec::with_capacity(a.channels() * self.packed.len() * AREA);
        for c in 0..a.channels() {
            for p in &self.packed {
                let block = a.block(c, p.diagonal as usize, p.row as usize);
                if p.mirrored {
                    out.extend((0..AREA).map(|at| block[(at % BLOCK) * BLOCK + at / BLOCK]));
                } else {
                    out.extend_from_slice(block);
                }
            }
        }
        out
    }
}

/// A schedule in the memory of a device.
#[derive(Debug)]
pub(crate) struct DeviceSchedule<B: Backend> {
    pub(crate) tiles: Tensor<B, u32, 2>,
    pub(crate) starts: Tensor<B, u32, 1>,
    /// Halves with a block before each tile.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device read it"))]
    pub(crate) slots: Tensor<B, u32, 1>,
    /// Halves with a block before each strip, and all.
    pub(crate) halves: Vec<u32>,
}

impl<B: Backend> DeviceSchedule<B> {
    pub(crate) fn new(b: &B, schedule: &Schedule) -> Result<Self> {
        if schedule.packed.len() > (ABSENT / 2) as usize || u32::try_from(schedule.tiles.len()).is_err() {
            return Err(AtaError::value("matrix", "more than 2^31 blocks"));
        }
        let tiles = bytemuck::cast_slice(&schedule.tiles);
        let mut slots = vec![0];
        for tile in &schedule.tiles {
            let halves = u32::from(tile.top != ABSENT) + u32::from(tile.bottom != ABSENT);
            slots.push(slots.last().copied().unwrap_or(0) + halves);
        }
        let halves = schedule.starts.iter().map(|&start| slots[start as usize]).collect();
        Ok(Self {
            slots: Tensor::from_slice(b, [slots.len()], &slots)?.share(b)?,
            halves,
            tiles: Tensor::from_slice(b, [schedule.tiles.len(), 3], tiles)?.share(b)?,
            starts: Tensor::from_slice(b, [schedule.starts.len()], &schedule.starts)?.share(b)?,
        })
    }
}
