//! P5: turns and mirrors one after the other are one of the eight.

use super::{Read, Slot, absent, plain_fuel, within_fuel};
use crate::dag::NodeId;
use crate::error::Limits;
use crate::isometry::Isometry;
use crate::machine::Machine;
use crate::prim::Prim;
use crate::value::Value;

/// A chain, from what is read to what is made.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) base: NodeId,
    pub(super) steps: Vec<(NodeId, Isometry)>,
    pub(super) whole: Isometry,
}

/// Height and width of a grid with at least one cell. Cells may be anything.
pub(super) fn sides(value: &Value) -> Option<(usize, usize)> {
    let Value::Tuple(rows) = value else { return None };
    let width = match rows.first()? {
        Value::Tuple(row) => row.len(),
        _ => return None,
    };
    let even = rows.iter().all(|row| matches!(row, Value::Tuple(row) if row.len() == width));
    (even && width > 0).then_some((rows.len(), width))
}

impl Chain {
    pub(super) fn run(&self, read: &Read, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
        let grid = read(self.base).ok()?;
        let (mut h, mut w) = sides(grid)?;
        // Cells with parts of their own weigh more than one: what is left when rows and grid are taken off.
        let cells = u64::from(grid.weight()) - 1 - h as u64;
        let heaviest = 1 + cells + h.max(w) as u64;
        if h.max(w) > limits.side.min(limits.elements) || heaviest > u64::from(limits.weight) {
            return None;
        }
        let value = match Prim::by_name(self.whole.name()) {
            None | Some(Prim::Identity) => grid.clone(),
            Some(prim) => Machine::new(limits).prim(prim, std::slice::from_ref(grid)).ok()?,
        };
        let mut slots = Vec::with_capacity(self.steps.len());
        for &(node, isometry) in &self.steps {
            let before = 1 + cells + h as u64;
            if isometry.turns() {
                (h, w) = (w, h);
            }
            slots.push((node, absent(plain_fuel(before, 1 + cells + h as u64))));
        }
        slots.last_mut()?.1.0 = Ok(value);
        within_fuel(slots, limits)
    }
}
