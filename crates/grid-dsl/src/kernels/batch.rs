//! Dense grids in the memory of a device.

use gpu_core::{Backend, Error, InFlight, Result, Tensor};
use rayon::prelude::*;

use crate::ops::Grid;
use crate::value::Value;

/// Most rows, and most columns, of a grid on a device.
pub const SIDE: usize = 32;

/// Bytes of a grid.
pub(crate) const CELLS: usize = SIDE * SIDE;

/// Many grids, each with [`SIDE`] rows of [`SIDE`] bytes; a cell is a colour in -128..=127. Cells outside of a grid are 0.
#[derive(Debug)]
pub struct GridBatch<B: Backend> {
    /// Height and width of each grid.
    pub(crate) sizes: Tensor<B, u8, 2>,
    /// Colours, `[grids, SIDE, SIDE]`.
    pub(crate) cells: Tensor<B, u8, 3>,
}

/// Why a value cannot be a grid on a device; nothing when it can.
pub(crate) fn refusal(value: &Value) -> Option<String> {
    let Value::Tuple(rows) = value else { return Some(format!("is no grid but {}", value.kind())) };
    if !value.is_grid() {
        return Some(format!("is no grid but {}", value.kind()));
    }
    let width = rows.first().and_then(Value::items).map_or(0, <[Value]>::len);
    if rows.len() > SIDE || width > SIDE {
        return Some(format!("is {} x {width}, a device takes up to {SIDE} x {SIDE}", rows.len()));
    }
    let odd = |cell: &&Value| !matches!(cell, Value::Int(c) if i8::try_from(*c).is_ok());
    let cell = rows.iter().filter_map(Value::items).flatten().find(odd);
    cell.map(|cell| format!("has a cell {cell}, a device takes numbers from -128 to 127"))
}

/// Height, width and bytes of a grid that [`refusal`] lets through.
pub(crate) fn pack(value: &Value) -> ([u8; 2], [u8; CELLS]) {
    let rows = value.items().unwrap_or_default();
    let width = rows.first().and_then(Value::items).map_or(0, <[Value]>::len);
    let mut cells = [0; CELLS];
    for (row, out) in rows.iter().zip(cells.chunks_exact_mut(SIDE)) {
        for (cell, out) in row.items().unwrap_or_default().iter().zip(out) {
            *out = cell.as_int().unwrap_or(0) as i8 as u8;
        }
    }
    ([rows.len() as u8, width as u8], cells)
}

/// The grid of height, width and bytes.
pub(crate) fn unpack(height: usize, width: usize, cells: &[u8]) -> Value {
    Value::grid(cells.chunks_exact(SIDE).take(height).map(|row| {
        let row: Vec<i32> = row[..width].iter().map(|&c| i32::from(c as i8)).collect();
        row
    }))
}

/// Grids that go to a device in one copy, while the next ones are laid out: 4 MiB.
const PIECE: usize = 4096;

/// Cells of grids, row by row, in their places.
fn lay_out(grids: &[Grid], cells: &mut [u8]) {
    cells.par_chunks_exact_mut(CELLS).zip(grids).with_min_len(64).for_each(|(cells, grid)| {
        cells.fill(0);
        for (row, out) in grid.cells().chunks_exact(grid.width()).zip(cells.chunks_exact_mut(SIDE)) {
            row.iter().zip(out).for_each(|(&cell, out)| *out = cell as u8);
        }
    });
}

impl<B: Backend> GridBatch<B> {
    /// Copies grids to a device.
    ///
    /// # Errors
    /// When one is no grid, is larger than [`SIDE`] x [`SIDE`], or has cells that are no numbers of 8 bits; the message
    /// says which and why.
    pub fn new<'v>(b: &B, grids: impl IntoIterator<Item = &'v Value>) -> Result<Self> {
        let (mut sizes, mut cells) = (Vec::new(), Vec::new());
        for (n, grid) in grids.into_iter().enumerate() {
            if let Some(why) = refusal(grid) {
                return Err(Error::value("grids", format!("number {n} {why}; use the CPU's functions for it")));
            }
            let (size, bytes) = pack(grid);
            sizes.extend(size);
            cells.extend(bytes);
        }
        let count = sizes.len() / 2;
        if u32::try_from(count).is_err() {
            return Err(Error::value("grids", format!("{count} are more than one batch takes; split them")));
        }
        Ok(Self {
            sizes: Tensor::from_slice(b, [count, 2], &sizes)?,
            cells: Tensor::from_slice(b, [count, SIDE, SIDE], &cells)?,
        })
    }

    /// Copies grids in bytes to a device.
    ///
    /// # Errors
    /// When one is larger than [`SIDE`] x [`SIDE`].
    pub fn of_grids(b: &B, grids: &[Grid]) -> Result<Self> {
        if let Some(n) = grids.iter().position(|g| g.height() > SIDE || g.width() > SIDE) {
            let (h, w) = (grids[n].height(), grids[n].width());
            let why = format!("number {n} is {h} x {w}, a device takes up to {SIDE} x {SIDE}; use the CPU's functions");
            return Err(Error::value("grids", why));
        }
        if u32::try_from(grids.len()).is_err() {
            return Err(Error::value("grids", format!("{} are more than one batch takes; split them", grids.len())));
        }
        let mut batch = Self::room(b, grids.len())?;
        let sizes: Vec<u8> = grids.iter().flat_map(|grid| [grid.height() as u8, grid.width() as u8]).collect();
        b.upload(&sizes, batch.sizes.flat_mut())?;
        let mut rest = vec![0; (grids.len() % PIECE) * CELLS];
        let mut copies: [Option<InFlight<B, u8>>; 2] = [None, None];
        for (n, piece) in grids.chunks(PIECE).enumerate() {
            let start = n * PIECE * CELLS;
            let to = batch.cells.flat_mut().slice(start..start + piece.len() * CELLS)?;
            if piece.len() < PIECE {
                lay_out(piece, &mut rest);
                b.upload(&rest, to)?;
                break;
            }
            let [older, newer] = copies;
            let mut memory = match older {
                Some(done) => done.finish()?,
                None => b.pinned(PIECE * CELLS)?,
            };
            lay_out(piece, &mut memory);
            copies = [newer, Some(b.upload_pinned(memory, to)?)];
        }
        Ok(batch)
    }

    /// Room for that many results.
    pub(crate) fn room(b: &B, count: usize) -> Result<Self> {
        Ok(Self { sizes: Tensor::scratch(b, [count, 2])?, cells: Tensor::scratch(b, [count, SIDE, SIDE])? })
    }

    /// How many grids there are.
    pub fn len(&self) -> usize {
        self.sizes.shape()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies all grids back.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_values(&self, b: &B) -> Result<Vec<Value>> {
        let (sizes, cells) = (self.sizes.to_vec(b)?, self.cells.to_vec(b)?);
        let grids = sizes.chunks_exact(2).zip(cells.chunks_exact(CELLS));
        Ok(grids.map(|(size, cells)| unpack(size[0].into(), size[1].into(), cells)).collect())
    }
}
