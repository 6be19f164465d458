//! Operations applied on a device, and on the host where the device cannot.

use std::ops::Range;

use gpu_core::{Error, Result};
use rayon::prelude::*;

use super::engine::{BLOCK, Engine, Fresh, OnHost, Promise, Search, Successors, Worker};
use super::states::{Seen, States};
use crate::kernels::{
    Expanded, Expander, GridBackend, MOST_BYTES, StateBatch, TOGETHER, Wanted, expand, expand_last, pack,
};

/// States of one launch, at most. Of the last depth only hits come back, so that more go at once.
const MOST: usize = 1 << 13;
const MOST_LAST: usize = 1 << 16;

/// Bytes of the grids of a launch, at most: their places have 32 bits.
const MOST_TOGETHER: usize = 1 << 30;

/// Warps that keep a device busy: with fewer pairs of state and operation, each warp takes fewer operations.
const BUSY: usize = 1 << 14;

/// A device.
#[derive(Debug)]
pub(super) struct OnDevice<B: GridBackend>(pub(super) B);

impl<B: GridBackend> Engine for OnDevice<B> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    fn worker<'a>(&'a self, search: Search<'a>) -> Box<dyn Worker + 'a> {
        let (by, failure) = match Expander::new(&self.0, search.operations, search.goals) {
            Ok(by) => (Some(by), None),
            Err(e) => (None, Some(e.to_string())),
        };
        let memory = self.0.memory();
        let room = memory.limit.saturating_sub(memory.used).min(memory.free) / 2;
        Box::new(AtWork { b: &self.0, by, host: OnHost { search }, batch: None, room, most: MOST_LAST, failure })
    }
}

struct AtWork<'a, B: GridBackend> {
    b: &'a B,
    /// Nothing after the device has failed: the host goes on.
    by: Option<Expander<B>>,
    host: OnHost<'a>,
    /// The states that were expanded last, and the number of the first one.
    batch: Option<(usize, StateBatch<B>)>,
    /// Bytes for what states are expanded to, and as many again for packing: asking a device for what is free takes as long
    /// as a launch.
    room: usize,
    /// States of one launch that there was room for.
    most: usize,
    failure: Option<String>,
}

/// How many operations a warp takes.
fn each(states: usize, operations: usize) -> u32 {
    (states * operations).div_ceil(BUSY).clamp(1, TOGETHER as usize) as u32
}

impl<B: GridBackend> AtWork<'_, B> {
    /// States that one launch may have.
    fn together(&self, last: bool) -> usize {
        let (examples, operations) = (self.host.search.goals.len(), self.host.search.operations.len());
        let grids = examples * MOST_BYTES + 4;
        // Besides, keys, sizes and tallies; of the last depth tallies alone.
        let each = grids + operations * if last { 8 } else { 28 };
        let most = if last { MOST_LAST } else { MOST };
        most.min(self.most).min(self.room / each).min(MOST_TOGETHER / grids).max(1)
    }

    /// Gives up on the device, for the rest of the search.
    fn fail(&mut self, e: &Error) {
        self.failure.get_or_insert_with(|| format!("the host went on with the search: {e}"));
        self.by = None;
        self.batch = None;
    }

    fn try_expand(&mut self, below: &States, states: Range<usize>, seen: &Seen, last: bool) -> Result<Vec<Successors>> {
        let Some(by) = &self.by else { return Ok(Vec::new()) };
        let (begins, bytes) = below.part(states.clone());
        let batch = StateBatch::of_packed(self.b, self.host.search.goals.len(), &begins, bytes)?;
        let each = each(batch.len(), by.operations());
        let found = if last {
            let tallies = expand_last(self.b, by, &batch, each)?.to_vec(self.b)?;
            Read { keys: Vec::new(), sizes: Vec::new(), tallies, operations: by.operations(), each }
        } else {
            let Expanded { keys, sizes, tallies } = expand(self.b, by, &batch, each)?;
            let (keys, sizes, tallies) = (keys.to_vec(self.b)?, sizes.to_vec(self.b)?, tallies.to_vec(self.b)?);
            Read { keys, sizes, tallies, operations: by.operations(), each }
        };
        let all = (0..states.len()).into_par_iter().with_min_len(BLOCK).map(|at| found.successors(at, seen)).collect();
        self.batch = (!last).then_some((states.start, batch));
        Ok(all)
    }

    /// Packs as many of what was promised as there is room for at once.
    fn try_pack(&self, promised: &[Promise], next: &mut States) -> Result<usize> {
        let (Some(by), Some((first, batch))) = (&self.by, &self.batch) else { return Ok(0) };
        let room = self.room.min(MOST_TOGETHER);
        let mut bytes = 0;
        let fits = |promise: &&Promise| {
            bytes += promise.size + size_of::<[u32; 4]>();
            bytes <= room
        };
        let count = promised.iter().take_while(fits).count().max(1);
        let wanted: Vec<Wanted> = promised[..count]
            .iter()
            .map(|promise| Wanted {
                state: (promise.below - first) as u32,
                operation: promise.op.into(),
                size: promise.size as u32,
            })
            .collect();
        next.keep(&pack(self.b, by, batch, &wanted)?.to_vec(self.b)?);
        Ok(count)
    }
}

impl<B: GridBackend> Worker for AtWork<'_, B> {
    fn expand(&mut self, below: &States, states: Range<usize>, seen: &Seen, last: bool) -> Vec<Successors> {
        self.batch = None;
        while self.by.is_some() {
            let now = states.start..states.end.min(states.start + self.together(last));
            match self.try_expand(below, now.clone(), seen, last) {
                Ok(found) => return found,
                Err(Error::OutOfMemory { .. }) if now.len() > 1 => self.most = now.len() / 2,
                Err(e) => self.fail(&e),
            }
        }
        self.host.expand(below, states, seen, last)
    }

    fn pack(&mut self, below: &States, promised: &[Promise], next: &mut States) {
        let mut done = 0;
        while done < promised.len() && self.batch.is_some() {
            match self.try_pack(&promised[done..], next) {
                Ok(count) => done += count,
                Err(e) => self.fail(&e),
            }
        }
        self.host.pack(below, &promised[done..], next);
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

/// What a launch wrote, on the host.
struct Read {
    keys: Vec<u64>,
    sizes: Vec<u32>,
    tallies: Vec<u32>,
    operations: usize,
    each: u32,
}

impl Read {
    fn successors(&self, at: usize, seen: &Seen) -> Successors {
        let mut found = Successors::default();
        let parts = self.operations.div_ceil(self.each as usize);
        for (part, tally) in self.tallies[at * parts * 2..][..parts * 2].chunks_exact(2).enumerate() {
            found.applications += u64::from(tally[0]);
            let bits = (0..self.each).filter(|bit| tally[1] >> bit & 1 != 0);
            found.hits.extend(bits.map(|bit| (part as u32 * self.each + bit) as u16));
        }
        if self.sizes.is_empty() {
            return found;
        }
        let pairs = at * self.operations..(at + 1) * self.operations;
        let keys = self.keys[2 * pairs.start..2 * pairs.end].chunks_exact(2);
        for (op, (key, &size)) in keys.zip(&self.sizes[pairs]).enumerate().filter(|(_, (_, size))| **size > 0) {
            let key = u128::from(key[0]) << 64 | u128::from(key[1]);
            if seen.contains(&key) {
                found.duplicates += 1;
            } else {
                found.fresh.push(Fresh { key, op: op as u16, size: size as usize, packed: Vec::new() });
            }
        }
        found
    }
}
