//! States of a search: packed grids, and where they came from.

use super::grid::Small;

/// The states of one depth.
#[derive(Default)]
pub(super) struct States {
    bytes: Vec<u8>,
    /// Where each state's bytes end.
    ends: Vec<usize>,
    origins: Vec<(u32, u16)>,
}

impl States {
    /// Bytes that a state takes besides its grids.
    pub(super) const OVERHEAD: usize = 32;

    /// The inputs themselves.
    pub(super) fn first(grids: &[Small]) -> Self {
        let mut states = Self::default();
        states.push(0, 0, &pack(grids));
        states
    }

    pub(super) fn push(&mut self, below: usize, op: u16, packed: &[u8]) {
        self.bytes.extend_from_slice(packed);
        self.ends.push(self.bytes.len());
        self.origins.push((below as u32, op));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn packed(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// The state of the depth below, and the operation that led here.
    pub(super) fn origin(&self, at: usize) -> (usize, u16) {
        let (below, op) = self.origins[at];
        (below as usize, op)
    }
}

/// Sides and cells of each grid.
pub(super) fn pack(grids: &[Small]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(grids.iter().map(|grid| 2 + grid.cells().len()).sum());
    for grid in grids {
        packed.extend([grid.height() as u8, grid.width() as u8]);
        packed.extend_from_slice(grid.cells());
    }
    packed
}

/// Reads what [`pack`] wrote.
pub(super) fn unpack(mut packed: &[u8], grids: &mut [Small]) {
    for grid in grids {
        let [height, width, rest @ ..] = packed else { return };
        let n = usize::from(*height) * usize::from(*width);
        if let Some(grid) = grid.reshape(usize::from(*height), usize::from(*width)) {
            grid.cells_mut().copy_from_slice(&rest[..n]);
        }
        packed = &rest[n..];
    }
}
