//! States of a search: packed grids, and where they came from.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::action::Action;
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
        let grids = packed(grids);
        states.promise(0, 0, grids.len());
        states.keep(&grids);
        states
    }

    /// A state whose grids, of so many bytes, [`keep`](Self::keep) adds later, in the same order.
    pub(super) fn promise(&mut self, below: usize, op: u16, size: usize) {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + size);
        self.origins.push((below as u32, op));
    }

    /// Adds packed grids.
    pub(super) fn keep(&mut self, packed: &[u8]) {
        self.bytes.extend_from_slice(packed);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn begin(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }

    pub(super) fn packed(&self, at: usize) -> &[u8] {
        &self.bytes[self.begin(at)..self.ends[at]]
    }

    /// The bytes of some states, and where each begins in them.
    pub(super) fn part(&self, states: Range<usize>) -> (Vec<usize>, &[u8]) {
        let (first, end) = (self.begin(states.start), self.begin(states.end));
        (states.map(|at| self.begin(at) - first).collect(), &self.bytes[first..end])
    }

    /// The state of the depth below, and the operation that led here.
    pub(super) fn origin(&self, at: usize) -> (usize, u16) {
        let (below, op) = self.origins[at];
        (below as usize, op)
    }
}

/// Sides and cells of each grid.
pub(crate) fn packed(grids: &[Small]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(grids.iter().map(|grid| 2 + grid.cells().len()).sum());
    for grid in grids {
        packed.extend([grid.height() as u8, grid.width() as u8]);
        packed.extend_from_slice(grid.cells());
    }
    packed
}

/// Reads what [`packed`] wrote.
pub(crate) fn unpack(mut packed: &[u8], grids: &mut [Small]) {
    for grid in grids {
        let [height, width, rest @ ..] = packed else { return };
        let n = usize::from(*height) * usize::from(*width);
        if let Some(grid) = grid.reshape(usize::from(*height), usize::from(*width)) {
            grid.cells_mut().copy_from_slice(&rest[..n]);
        }
        packed = &rest[n..];
    }
}

/// 128 bits that stand for a state: they decide whether it was there before.
pub(crate) fn key(grids: &[Small]) -> u128 {
    grids.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |key, grid| grid.mix(key))
}

/// Keys of states that were there.
pub(super) type Seen = HashSet<u128, BuildHasherDefault<Half>>;

/// Half of a key: it is mixed well enough to be its own hash.
#[derive(Default)]
pub(super) struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// What the images of a state's grids under an operation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Images {
    /// Some grid has none. At the last depth also if some image is not the goal.
    Missing,
    /// All goals.
    Goals,
    /// Another state.
    Others,
}

/// Applies an operation to the grids of a state; how many there were until one had no image, or at the last depth none that
/// is its goal.
pub(crate) fn images(action: Action, from: &[Small], to: &mut [Small], goals: &[Small], last: bool) -> (u32, Images) {
    let (mut applications, mut equal) = (0, true);
    for ((from, to), goal) in from.iter().zip(to).zip(goals) {
        applications += 1;
        let goal_sides = (goal.height(), goal.width());
        if last && action.sides(from.height(), from.width()).is_some_and(|sides| sides != goal_sides) {
            return (applications, Images::Missing);
        }
        if action.apply(from, to).is_none() {
            return (applications, Images::Missing);
        }
        equal &= to == goal;
        // At the last depth nothing but the outputs is looked for.
        if last && !equal {
            return (applications, Images::Missing);
        }
    }
    (applications, if equal { Images::Goals } else { Images::Others })
}
