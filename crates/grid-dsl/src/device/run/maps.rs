//! Maps of a level: for each node, the elements of all samples are laid out side by side, and its function's calls done one
//! after the other.

use gpu_core::Result as Done;

use super::Wave;
use crate::dag::NodeId;
use crate::device::maps::Map;
use crate::error::Result;
use crate::fast::Val;
use crate::kernels::{
    Arena, Each, Form, GridBackend, HEAD, Laid, Spill, count_each, gather_each, put, spread_each, step, words_of,
};

impl<B: GridBackend> Wave<'_, B> {
    /// Writes the values of nodes, as far as they have a form.
    pub(super) fn maps(&mut self, all: &[(NodeId, &Map)]) -> Done<()> {
        for nodes in all.chunks(self.nodes_at_once()) {
            let items: Vec<Vec<Each>> = nodes.iter().map(|&(id, map)| self.items(id, map)).collect();
            let counts = count_each(self.b, &mut self.arena, &items.concat())?;
            let mut counts = counts.into_iter();
            for (&(id, map), items) in nodes.iter().zip(items) {
                self.map(id, map, items.into_iter().zip(counts.by_ref()).collect())?;
            }
        }
        Ok(())
    }

    /// What a node does, sample by sample.
    fn items(&self, id: NodeId, map: &Map) -> Vec<Each> {
        let operands: Vec<u32> = map.operands.iter().map(|&operand| self.places(operand).start).collect();
        let one = |(s, target): (u32, u32)| Each {
            gather: map.gather,
            target,
            operands: operands.iter().map(|place| place + s).collect(),
            container: map.container,
        };
        (0..).zip(self.places(id)).map(one).collect()
    }

    /// One node: as many samples at a time as there is room for their elements.
    fn map(&mut self, id: NodeId, map: &Map, items: Vec<(Each, Option<u32>)>) -> Done<()> {
        let room = self.plan.elements as u32;
        let (mut laid, mut end, mut most, mut large): (Vec<Laid>, u32, u32, Vec<u32>) = Default::default();
        for (each, count) in items {
            let Some(count) = count else { continue };
            if count > room {
                large.push(each.target);
                continue;
            }
            if end + count > room {
                self.laid(map, &laid, end)?;
                (laid, end) = (Vec::new(), 0);
            }
            laid.push(Laid { each, base: end, count });
            end += count;
            most = most.max(count);
        }
        self.laid(map, &laid, end)?;
        let mut spilled = [0; HEAD];
        (spilled[0], spilled[1]) = (Form::Spilled as i32, Spill::Size as i32);
        put(self.b, &mut self.arena, &large, &spilled.repeat(large.len()), &[])?;
        self.held[id as usize].fuel = u64::from(most).saturating_mul(map.fuel);
        Ok(())
    }

    /// Maps of one node whose elements fit together.
    fn laid(&mut self, map: &Map, laid: &[Laid], elements: u32) -> Done<()> {
        if laid.is_empty() {
            return Ok(());
        }
        let (b, count) = (self.b, elements.max(1));
        let mut arena = Arena::new(b, map.slots(), count as usize)?;
        spread_each(b, &self.arena, &mut arena, laid)?;
        for (slot, value) in (map.literals_at()..).zip(&map.literals) {
            let places: Vec<u32> = (slot * count..(slot + 1) * count).collect();
            let value: Result<Val> = Ok(Val::from(value));
            let (head, payload) = words_of(&value);
            let payloads = payload.map(|words| words.repeat(places.len())).unwrap_or_default();
            put(b, &mut arena, &places, &head.repeat(places.len()), &payloads)?;
        }
        for call in &map.calls {
            step(b, &mut arena, std::slice::from_ref(call))?;
        }
        let last = map.slots() as u32 - 1;
        gather_each(b, &mut self.arena, &arena, laid, map.calls_at()..=last)
    }
}
