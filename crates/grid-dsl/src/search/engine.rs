//! Where operations are applied: by the threads of the host, or on a device. Both give the same.

use std::fmt::Debug;
use std::ops::Range;

use rayon::prelude::*;

use super::grid::Small;
use super::ops::Operation;
use super::states::{Images, Seen, States, images, key, packed, unpack};

/// A new state: it is promised first, and packed when all of a batch are known.
pub(super) struct Fresh {
    pub(super) key: u128,
    pub(super) op: u16,
    /// Bytes of its packed grids.
    pub(super) size: usize,
    /// The packed grids, where the engine has made them already.
    pub(super) packed: Vec<u8>,
}

/// What one state's successors are.
#[derive(Default)]
pub(super) struct Successors {
    /// Those that were not there before, in the order of operations.
    pub(super) fresh: Vec<Fresh>,
    /// Operations that lead to the outputs.
    pub(super) hits: Vec<u16>,
    pub(super) applications: u64,
    pub(super) duplicates: u64,
}

/// A state that was promised: the state below and the operation that give it, and its bytes.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    pub(super) below: usize,
    pub(super) op: u16,
    pub(super) size: usize,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) operations: &'a [Operation],
    pub(super) goals: &'a [Small],
}

/// One of them.
pub(super) trait Engine: Debug + Send + Sync {
    /// `cpu` or `cuda`.
    fn name(&self) -> &'static str;

    /// Gets ready for a search.
    fn worker<'a>(&'a self, search: Search<'a>) -> Box<dyn Worker + 'a>;
}

/// An engine at a search.
pub(super) trait Worker {
    /// The successors of the first ones of some states, at least of one: as many as are done at once.
    fn expand(&mut self, below: &States, states: Range<usize>, seen: &Seen, last: bool) -> Vec<Successors>;

    /// Packs the states that were promised, all of what was expanded last.
    fn pack(&mut self, below: &States, promised: &[Promise], next: &mut States);

    /// What went wrong, if the host did something that a device should have done.
    fn failure(&mut self) -> Option<String> {
        None
    }
}

/// The threads of the host.
#[derive(Debug)]
pub(super) struct Host;

impl Engine for Host {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn worker<'a>(&'a self, search: Search<'a>) -> Box<dyn Worker + 'a> {
        Box::new(OnHost { search })
    }
}

/// States that are gone on from before limits and progress are looked at.
pub(super) const BLOCK: usize = 256;

pub(super) struct OnHost<'a> {
    pub(super) search: Search<'a>,
}

/// Grids that are read and written, for each thread.
struct Scratch {
    from: Vec<Small>,
    to: Vec<Small>,
}

impl OnHost<'_> {
    fn scratch(&self) -> Scratch {
        let grids = vec![Small::default(); self.search.goals.len()];
        Scratch { from: grids.clone(), to: grids }
    }

    /// Applies every operation to one state.
    fn successors(&self, scratch: &mut Scratch, packed_state: &[u8], seen: &Seen, last: bool) -> Successors {
        let mut found = Successors::default();
        unpack(packed_state, &mut scratch.from);
        for (op, operation) in self.search.operations.iter().enumerate() {
            let action = operation.action();
            let (applications, images) = images(action, &scratch.from, &mut scratch.to, self.search.goals, last);
            found.applications += u64::from(applications);
            match images {
                Images::Missing => {}
                Images::Goals => found.hits.push(op as u16),
                Images::Others => {
                    let key = key(&scratch.to);
                    if seen.contains(&key) {
                        found.duplicates += 1;
                    } else {
                        let packed = packed(&scratch.to);
                        found.fresh.push(Fresh { key, op: op as u16, size: packed.len(), packed });
                    }
                }
            }
        }
        found
    }
}

impl Worker for OnHost<'_> {
    fn expand(&mut self, below: &States, states: Range<usize>, seen: &Seen, last: bool) -> Vec<Successors> {
        let end = states.end.min(states.start + BLOCK);
        let one = |scratch: &mut Scratch, at| self.successors(scratch, below.packed(at), seen, last);
        (states.start..end).into_par_iter().map_init(|| self.scratch(), one).collect()
    }

    /// For states that a device promised and could not pack.
    fn pack(&mut self, below: &States, promised: &[Promise], next: &mut States) {
        let one = |scratch: &mut Scratch, promise: &Promise| {
            unpack(below.packed(promise.below), &mut scratch.from);
            let action = self.search.operations[usize::from(promise.op)].action();
            images(action, &scratch.from, &mut scratch.to, self.search.goals, false);
            packed(&scratch.to)
        };
        let all: Vec<Vec<u8>> = promised.par_iter().map_init(|| self.scratch(), one).collect();
        for packed in &all {
            next.keep(packed);
        }
    }
}
