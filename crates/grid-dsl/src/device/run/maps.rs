//! Maps of a level: elements of all nodes and samples are laid out side by side, and the calls of all functions done together,
//! one after the other: a handful of launches, however many nodes there are.

use gpu_core::Result as Done;

use super::{Wave, put_in};
use crate::dag::NodeId;
use crate::device::maps::Map;
use crate::error::Result;
use crate::fast::Val;
use crate::kernels::{
    Arena, Each, Form, GridBackend, HEAD, Laid, Layout, Ranged, Spill, count_each, gather_each, put, spread_each,
    step_each,
};

/// Samples of a node that are laid out with those of other nodes.
struct Part<'a> {
    map: &'a Map,
    laid: Laid,
    elements: u32,
}

impl<B: GridBackend> Wave<'_, B> {
    /// Writes the values of nodes, as far as they have a form.
    pub(super) fn maps(&mut self, all: &[(NodeId, &Map)]) -> Done<()> {
        let samples = self.samples.len();
        let mut large = Vec::new();
        for nodes in all.chunks(self.nodes_at_once()) {
            let each: Vec<Each> = nodes.iter().map(|&(id, map)| self.each(id, map)).collect();
            let counts = count_each(self.b, &mut self.arena, &each)?;
            let (mut parts, mut end) = (Vec::new(), 0);
            for ((&(id, map), each), counts) in nodes.iter().zip(&each).zip(counts.chunks(samples.max(1))) {
                let most = self.node(map, each, counts, (&mut parts, &mut end), &mut large)?;
                self.held[id as usize].fuel = u64::from(most).saturating_mul(map.fuel);
            }
            self.laid(&mut parts, &mut end)?;
        }
        let mut spilled = [0; HEAD];
        (spilled[0], spilled[1]) = (Form::Spilled as i32, Spill::Size as i32);
        put(self.b, &mut self.arena, &large, &spilled.repeat(large.len()), &[])
    }

    /// What a node does.
    fn each(&self, id: NodeId, map: &Map) -> Each {
        let slot = |id: NodeId| self.plan.slot[id as usize].unwrap_or_default();
        Each {
            gather: map.gather,
            target: slot(id),
            operands: map.operands.iter().map(|&operand| slot(operand)).collect(),
            container: map.container,
        }
    }

    /// Adds the samples of a node to those that are to be laid out, and does these first where there is no room for more.
    /// Returns the most elements of a sample; those for which there is never room are named.
    fn node<'m>(
        &mut self,
        map: &'m Map,
        each: &Each,
        counts: &[Option<u32>],
        (parts, end): (&mut Vec<Part<'m>>, &mut u64),
        large: &mut Vec<u32>,
    ) -> Done<u32> {
        let (samples, room, mut most) = (counts.len() as u32, self.plan.places as u64, 0);
        let part = || {
            let (each, calls) = (each.clone(), map.calls.len() as u32);
            Part { map, laid: Laid { each, place: 0, calls, samples: Vec::new() }, elements: 0 }
        };
        let mut own = part();
        for (sample, count) in (0..).zip(counts) {
            let Some(count) = *count else { continue };
            if map.places(count) > room {
                large.push(each.target * samples + sample);
                continue;
            }
            if *end + map.places(own.elements + count) > room {
                own.add_to(parts, end);
                self.laid(parts, end)?;
                own = part();
            }
            own.laid.samples.push((sample, count));
            own.elements += count;
            most = most.max(count);
        }
        own.add_to(parts, end);
        Ok(most)
    }

    /// Does maps whose elements fit together, and forgets them.
    fn laid(&mut self, parts: &mut Vec<Part<'_>>, end: &mut u64) -> Done<()> {
        if !parts.is_empty() {
            let mut elements = self.room_for(*end as usize)?;
            let done = self.together(parts, &mut elements);
            self.elements = Some(elements);
            done?;
        }
        parts.clear();
        *end = 0;
        Ok(())
    }

    /// An arena of so many places: that of earlier levels, if it is large enough.
    fn room_for(&mut self, places: usize) -> Done<Arena<B>> {
        let had = match self.elements.take() {
            Some(elements) if elements.shape()[1] >= places => return Ok(elements),
            had => had.map_or(0, |elements| elements.shape()[1]),
        };
        Arena::new(self.b, 1, places.max(2 * had).min(self.plan.places))
    }

    fn together(&mut self, parts: &[Part<'_>], elements: &mut Arena<B>) -> Done<()> {
        let b = self.b;
        let laid: Vec<Laid> = parts.iter().map(|part| part.laid.clone()).collect();
        let layout = Layout::new(b, &self.arena, elements, &laid)?;
        spread_each(b, &self.arena, elements, &layout)?;
        let used = || parts.iter().filter(|part| part.elements > 0);
        let literals: Vec<(u32, Result<Val>)> = used().flat_map(Part::literals).collect();
        let literals: Vec<(u32, &Result<Val>)> = literals.iter().map(|(place, value)| (*place, value)).collect();
        put_in(b, elements, &literals, put)?;
        let longest = used().map(|part| part.map.calls.len()).max().unwrap_or(0);
        let steps: Vec<Vec<Ranged>> =
            (0..longest).map(|at| used().filter_map(|part| part.call(at)).collect()).collect();
        step_each(b, elements, &steps)?;
        gather_each(b, &mut self.arena, elements, &layout)
    }
}

impl Part<'_> {
    /// Lays the part out behind others, unless it has no samples.
    fn add_to(mut self, parts: &mut Vec<Self>, end: &mut u64) {
        if !self.laid.samples.is_empty() {
            self.laid.place = *end as u32;
            *end += self.map.places(self.elements);
            parts.push(self);
        }
    }

    /// The place of a slot's first value, and whether it is one value for all elements: literals stand behind all others.
    fn slot(&self, slot: u32) -> (u32, bool) {
        let (literals_at, calls_at) = (self.map.literals_at(), self.map.calls_at());
        if slot < literals_at {
            (self.laid.slot(slot), false)
        } else if slot < calls_at {
            (self.laid.slot(literals_at + self.laid.calls) + slot - literals_at, true)
        } else {
            (self.laid.slot(literals_at + slot - calls_at), false)
        }
    }

    /// Places of the function's literals, and these.
    fn literals(&self) -> impl Iterator<Item = (u32, Result<Val>)> {
        let values = (self.map.literals_at()..).zip(&self.map.literals);
        values.map(|(slot, value)| (self.slot(slot).0, Ok(Val::from(value))))
    }

    /// A call of the function, for all elements.
    fn call(&self, at: usize) -> Option<Ranged> {
        let call = self.map.calls.get(at)?;
        let from = call.operands.map(|slot| self.slot(slot));
        Some(Ranged {
            op: call.op,
            target: self.slot(call.target).0,
            operands: from.map(|(place, _)| place),
            same: from.map(|(_, same)| same),
            key: call.key,
            count: self.elements,
        })
    }
}
