//! P2: several kinds of components of one grid share the grid's background, labels and cells.

use super::dense::{CELL, Component, Dense};
use super::{Read, Slot, within_fuel};
use crate::dag::NodeId;
use crate::error::Limits;
use crate::value::{Set, Value};

/// How cells become components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) univalued: bool,
    pub(super) diagonal: bool,
    pub(super) bare: bool,
}

/// One call of `objects`, `o_g` or `o_g_t`.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) mode: Mode,
    /// The weights of its flags.
    pub(super) flags: u64,
    /// Whether the result is a tuple.
    pub(super) tuple: bool,
}

/// Calls on one grid.
#[derive(Clone, Debug)]
pub(super) struct Modes {
    pub(super) grid: NodeId,
    pub(super) members: Vec<Member>,
}

impl Modes {
    pub(super) fn run(&self, read: &Read, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
        let value = read(self.grid).ok()?;
        let grid = Dense::read(value, limits)?;
        let background = grid.background();
        let mut made = Made { grid: &grid, cells: vec![None; grid.cells.len()] };
        // Components of one colour each do not depend on the background: it is left out afterwards.
        let mut univalued: [Option<Vec<Component>>; 2] = [None, None];
        let mut slots = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mode = member.mode;
            let other;
            let all = if mode.univalued {
                univalued[usize::from(mode.diagonal)].get_or_insert_with(|| grid.components(true, mode.diagonal, None))
            } else {
                other = grid.components(false, mode.diagonal, mode.bare.then_some(background));
                &other
            };
            let kept = all.iter().filter(|c| !(mode.univalued && mode.bare) || grid.colour(c) != background);
            let result = made.objects(kept.collect(), member.tuple).within(limits).ok()?;
            let fuel = 1 + u64::from(value.weight()) + member.flags + u64::from(result.weight());
            slots.push((member.node, (Ok(result), fuel)));
        }
        within_fuel(slots, limits)
    }
}

/// Cells as values, each made once.
struct Made<'g> {
    grid: &'g Dense,
    cells: Vec<Option<Value>>,
}

impl Made<'_> {
    fn cell(&mut self, at: u32) -> Value {
        let at = at as usize;
        let (grid, width) = (self.grid, self.grid.width);
        self.cells[at]
            .get_or_insert_with(|| Value::cell(grid.cells[at], (at / width) as i32, (at % width) as i32))
            .clone()
    }

    /// The set of objects, or the tuple of them in the order of the set.
    fn objects(&mut self, mut all: Vec<&Component>, tuple: bool) -> Value {
        let colours = &self.grid.cells;
        let key = |at: &u32| (colours[*at as usize], *at);
        all.sort_unstable_by(|a, b| a.cells.iter().map(key).cmp(b.cells.iter().map(key)));
        let mut object = |component: &&Component| {
            Value::Set(Set::from_sorted(component.cells.iter().map(|&at| self.cell(at)).collect()))
        };
        let objects: Vec<Value> = all.iter().map(&mut object).collect();
        if tuple { Value::tuple(objects) } else { Value::Set(Set::from_sorted(objects)) }
    }
}

/// The weight of the set of some components.
pub(super) fn weight<'c>(all: impl Iterator<Item = &'c Component>) -> u64 {
    all.fold(1, |sum, component| sum + 1 + CELL * component.cells.len() as u64)
}
