//! Who touched what, exactly: for kernels whose accesses are ordered by more than whole barriers ([`crate::order`]).
//!
//! Each cell has its last plain write, its last atomic write, and its readers since the last plain write: one, or a
//! list. A plain write must be ordered behind all of them, a plain read behind both writes, an atomic behind the plain
//! write and plain readers only. Who has read an atomic's value, or changed it by one, is ordered behind all atomics
//! before.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::order::{Order, Scope};
use crate::race::{Other, Race};

/// Of a cell: the launch (or the block, for shared memory) that it is about, last plain write, last atomic one,
/// readers.
pub(crate) type Cell = [AtomicU64; 4];

/// How an access touches its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Read,
    Write,
    /// What a bulk copy brings.
    CopyWrite,
    StrongRead(Scope),
    /// Also an atomic.
    StrongWrite(Scope),
}

/// Readers of one sort are in conflict with more writes than those of the sorts before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Device = 1,
    Block = 2,
    Plain = 3,
}

/// One access: whose, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    block: u32,
    clock: u32,
    thread: u32,
    /// Three bits of the user's.
    bits: u64,
}

impl Epoch {
    fn pack(self) -> u64 {
        u64::from(self.block) << 33 | u64::from(self.clock) << 13 | u64::from(self.thread) << 3 | self.bits
    }

    fn unpack(word: u64) -> Self {
        Self {
            block: (word >> 33) as u32,
            clock: (word >> 13) as u32 & 0xF_FFFF,
            thread: (word >> 3) as u32 & 0x3FF,
            bits: word & 7,
        }
    }
}

/// Of a write: there is one; it was an atomic of the block only.
const PRESENT: u64 = 1;
const OF_BLOCK: u64 = 2;
/// Of a write: a bulk copy has brought it.
const BY_COPY: u64 = 4;
/// Of a reader, beside its sort: it has read the last atomic's value.
const OBSERVED: u64 = 4;

/// Lanes of a warp that read at one clock.
#[derive(Clone, Copy, Debug)]
struct Group {
    block: u32,
    warp: u32,
    clock: u32,
    lanes: u32,
    sort: Sort,
}

/// Several readers of a cell.
#[derive(Debug, Default)]
struct Readers {
    groups: Vec<Group>,
    /// Blocks of which only that is known, plain readers and others.
    plain: BTreeSet<u32>,
    strong: BTreeSet<u32>,
    /// Threads that have read the last atomic's value.
    observers: Vec<(u32, u32)>,
    /// There were too many observers to name.
    all_observe: bool,
}

/// Groups of a cell before readers of other blocks are noted by block alone, and observers that are named.
const GROUPS: usize = 48;
const OBSERVERS: usize = 64;

/// Lists of readers, by number.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    all: Vec<Readers>,
    free: Vec<usize>,
}

impl Readers {
    /// Its first reader, which was the only one.
    fn begin(&mut self, before: Epoch) {
        self.groups.push(Group {
            block: before.block,
            warp: before.thread / 32,
            clock: before.clock,
            lanes: 1 << (before.thread % 32),
            sort: sort_of(before.bits),
        });
        if before.bits & OBSERVED != 0 {
            self.observers.push((before.block, before.thread));
        }
    }

    /// As new, but for the memory that it has.
    fn clear(&mut self) {
        self.groups.clear();
        self.plain.clear();
        self.strong.clear();
        self.observers.clear();
        self.all_observe = false;
    }
}

impl Lists {
    pub(crate) fn clear(&mut self) {
        self.all.iter_mut().for_each(Readers::clear);
        self.free.clear();
        self.free.extend((0..self.all.len()).rev());
    }

    /// An empty list, and its number.
    fn add(&mut self) -> (u64, &mut Readers) {
        let i = self.free.pop().unwrap_or(self.all.len());
        if i == self.all.len() {
            self.all.push(Readers::default());
        }
        ((i as u64 + 1) << 3, &mut self.all[i])
    }

    fn of(&mut self, word: u64) -> Option<&mut Readers> {
        if word.trailing_zeros() >= 3 { self.all.get_mut((word >> 3).checked_sub(1)? as usize) } else { None }
    }

    fn remove(&mut self, word: u64) {
        if let Some(readers) = self.of(word) {
            readers.clear();
            self.free.push((word >> 3) as usize - 1);
        }
    }
}

/// The lists of a memory, apart, so that blocks rarely wait for each other.
pub(crate) type Shards = [Mutex<Lists>];

/// Lists that one access after the other works on, and their number.
#[derive(Default)]
pub(crate) struct Held<'a>(Option<(usize, MutexGuard<'a, Lists>)>);

impl<'a> Held<'a> {
    /// Those of a cell, and of all cells of one access.
    fn of(&mut self, shards: &'a Shards, cell: usize) -> &mut Lists {
        let wanted = cell / 64 % shards.len();
        if self.0.as_ref().is_some_and(|(shard, _)| *shard != wanted) {
            // Never two at once.
            self.0 = None;
        }
        let lock = || (wanted, shards[wanted].lock().unwrap_or_else(PoisonError::into_inner));
        &mut self.0.get_or_insert_with(lock).1
    }
}

/// The thread that touches, and what is ordered before that.
#[derive(Clone, Copy)]
pub(crate) struct Toucher<'a> {
    pub(crate) order: &'a Order,
    pub(crate) shards: &'a Shards,
    /// Number of the launch, or of the block for shared memory; not 0.
    pub(crate) tag: u64,
    pub(crate) block: u32,
    pub(crate) thread: u32,
    pub(crate) clock: u32,
    /// All of the block before this clock is ordered.
    pub(crate) fence: u32,
}

impl<'a> Toucher<'a> {
    fn is_ordered(&self, block: u32, thread: u32, clock: u32) -> bool {
        (block == self.block && (clock < self.fence || thread == self.thread))
            || self.order.covers(block, thread, clock)
    }

    fn after(&self, epoch: Epoch) -> bool {
        self.is_ordered(epoch.block, epoch.thread, epoch.clock)
    }

    /// Lanes of a group that are not ordered.
    fn open(&self, group: &Group) -> u32 {
        let mut open = 0;
        if group.block == self.block && group.clock < self.fence {
            return 0;
        }
        for lane in crate::access::lanes(group.lanes) {
            open |= u32::from(!self.is_ordered(group.block, group.warp * 32 + lane as u32, group.clock)) << lane;
        }
        open
    }

    fn other(&self, block: u32, thread: u32) -> Other {
        if block == self.block { Other::Thread(thread.into()) } else { Other::Elsewhere(thread.into(), block.into()) }
    }

    /// Whether a write of this sort conflicts with a reader.
    fn conflicts(&self, touch: Touch, sort: Sort, block: u32) -> bool {
        match (touch, sort) {
            (Touch::Read | Touch::StrongRead(_), _) => false,
            (Touch::Write | Touch::CopyWrite, _) | (_, Sort::Plain) => true,
            (Touch::StrongWrite(scope), _) => block != self.block && (scope == Scope::Block || sort == Sort::Block),
        }
    }

    /// The thread of this block that wrote to a cell later than this clock, if no copy did.
    pub(crate) fn written_after(&self, cell: &Cell, clock: u64) -> Option<u32> {
        let [tag, write, atomic, _] = [0, 1, 2, 3].map(|i| cell[i].load(Relaxed));
        let late = |word: &&u64| {
            let epoch = Epoch::unpack(**word);
            **word != 0 && epoch.block == self.block && epoch.bits & BY_COPY == 0 && u64::from(epoch.clock) > clock
        };
        [write, atomic].iter().find(late).filter(|_| tag == self.tag).map(|word| Epoch::unpack(*word).thread)
    }

    /// Touches `count` cells from the first on, and does `work` while nobody else touches them.
    pub(crate) fn touch<R>(
        &self,
        held: &mut Held<'a>,
        cells: &[Cell],
        first: usize,
        count: usize,
        touch: Touch,
        changes: &dyn Fn() -> bool,
        work: impl FnOnce() -> R,
    ) -> Result<R, Race> {
        let lists = held.of(self.shards, first);
        for cell in &cells[first..first + count] {
            self.one(cell, lists, touch, changes)?;
        }
        Ok(work())
    }

    /// Plain reads of `count` cells by some lanes of the warp whose first thread this is; the lane that races.
    pub(crate) fn read(
        &self,
        held: &mut Held<'a>,
        cells: &[Cell],
        first: usize,
        count: usize,
        lanes: u32,
    ) -> Result<(), (u32, Race)> {
        let lists = held.of(self.shards, first);
        for cell in &cells[first..first + count] {
            self.begin(cell);
            let [_, write, atomic, readers] = [0, 1, 2, 3].map(|i| cell[i].load(Relaxed));
            let last = Epoch::unpack(write);
            let open = if write == 0 { 0 } else { self.lanes_open(last, lanes) };
            if open != 0 {
                return Err((open.trailing_zeros(), Race { wrote: true, other: self.other(last.block, last.thread) }));
            }
            let last = Epoch::unpack(atomic);
            let open = if atomic == 0 { 0 } else { self.lanes_open(last, lanes) };
            for lane in crate::access::lanes(open) {
                if !self.lane(lane as u32).observed(readers, lists) {
                    return Err((lane as u32, Race { wrote: true, other: self.other(last.block, last.thread) }));
                }
            }
            cell[3].store(self.add_lanes(readers, lists, lanes), Relaxed);
        }
        Ok(())
    }

    /// The thread of a lane of the warp whose first thread this is.
    pub(crate) fn lane(&self, lane: u32) -> Self {
        Self { thread: self.thread + lane, ..*self }
    }

    /// Of lanes of this warp those that an access is not ordered before.
    fn lanes_open(&self, epoch: Epoch, lanes: u32) -> u32 {
        let own = epoch.block == self.block && epoch.thread / 32 == self.thread / 32;
        let others = if own { lanes & !(1 << (epoch.thread % 32)) } else { lanes };
        let ordered = epoch.block == self.block && epoch.clock < self.fence;
        if others == 0 || ordered || self.order.covers(epoch.block, epoch.thread, epoch.clock) { 0 } else { others }
    }

    /// The readers with plain ones of some lanes of this warp among them.
    fn add_lanes(&self, readers: u64, lists: &mut Lists, lanes: u32) -> u64 {
        if lanes.is_power_of_two() {
            return self.lane(lanes.trailing_zeros()).add(readers, lists, Sort::Plain, false);
        }
        let mut word = readers;
        if lists.of(readers).is_none() {
            let (number, list) = lists.add();
            word = number;
            let before = Epoch::unpack(readers);
            // What is ordered before one of these reads is ordered before what comes after all of them.
            if readers != 0 && (before.bits & OBSERVED != 0 || self.lanes_open(before, lanes) == lanes) {
                list.begin(before);
            }
        }
        if let Some(list) = lists.of(word) {
            self.join(list, lanes, Sort::Plain);
        }
        word
    }

    /// Forgets what is known of a cell from before.
    fn begin(&self, cell: &Cell) {
        if cell[0].load(Relaxed) != self.tag {
            cell[0].store(self.tag, Relaxed);
            for word in &cell[1..] {
                word.store(0, Relaxed);
            }
        }
    }

    fn one(&self, cell: &Cell, lists: &mut Lists, touch: Touch, changes: &dyn Fn() -> bool) -> Result<(), Race> {
        let origin = if touch == Touch::CopyWrite { BY_COPY } else { 0 };
        let touch = if touch == Touch::CopyWrite { Touch::Write } else { touch };
        self.begin(cell);
        let [_, write, atomic, readers] = [0, 1, 2, 3].map(|i| cell[i].load(Relaxed));
        // Two threads that write the same are let pass.
        let passes = || touch == Touch::Write && !changes();
        let last = Epoch::unpack(write);
        if write != 0 && !self.after(last) && !passes() {
            return Err(Race { wrote: true, other: self.other(last.block, last.thread) });
        }
        let last = Epoch::unpack(atomic);
        if atomic != 0 && !self.after(last) {
            let races = match touch {
                Touch::Read | Touch::Write | Touch::CopyWrite => !self.observed(readers, lists) && !passes(),
                Touch::StrongRead(scope) | Touch::StrongWrite(scope) => {
                    last.block != self.block && (scope == Scope::Block || last.bits & OF_BLOCK != 0)
                }
            };
            if races {
                return Err(Race { wrote: true, other: self.other(last.block, last.thread) });
            }
        }
        self.check_readers(readers, lists, touch)?;
        let now = Epoch { block: self.block, clock: self.clock, thread: self.thread, bits: PRESENT };
        match touch {
            Touch::Read => cell[3].store(self.add(readers, lists, Sort::Plain, false), Relaxed),
            Touch::StrongRead(scope) => {
                let sort = if scope == Scope::Block { Sort::Block } else { Sort::Device };
                cell[3].store(self.add(readers, lists, sort, atomic != 0), Relaxed);
            }
            Touch::Write => {
                lists.remove(readers);
                cell[1].store(Epoch { bits: PRESENT | origin, ..now }.pack(), Relaxed);
                cell[2].store(0, Relaxed);
                cell[3].store(0, Relaxed);
            }
            Touch::CopyWrite => {}
            Touch::StrongWrite(scope) => {
                let bits = if scope == Scope::Block { PRESENT | OF_BLOCK } else { PRESENT };
                cell[2].store(Epoch { bits, ..now }.pack(), Relaxed);
                if let Some(list) = lists.of(readers) {
                    list.observers.clear();
                    list.all_observe = false;
                } else {
                    cell[3].store(readers & !OBSERVED, Relaxed);
                }
            }
        }
        Ok(())
    }

    fn check_readers(&self, readers: u64, lists: &mut Lists, touch: Touch) -> Result<(), Race> {
        if readers == 0 || matches!(touch, Touch::Read | Touch::StrongRead(_)) {
            return Ok(());
        }
        let race = |other| Err(Race { wrote: false, other });
        let Some(list) = lists.of(readers) else {
            let reader = Epoch::unpack(readers);
            if self.conflicts(touch, sort_of(reader.bits), reader.block) && !self.after(reader) {
                return race(self.other(reader.block, reader.thread));
            }
            return Ok(());
        };
        for group in &list.groups {
            if self.conflicts(touch, group.sort, group.block) {
                let open = self.open(group);
                if open != 0 {
                    return race(self.other(group.block, group.warp * 32 + open.trailing_zeros()));
                }
            }
        }
        let strong = list.strong.iter().filter(|_| touch == Touch::Write);
        match list.plain.iter().chain(strong).find(|&&block| block != self.block && !self.order.holds(block)) {
            Some(&block) => race(Other::Block(block.into())),
            None => Ok(()),
        }
    }

    /// Whether this thread has read the last atomic's value.
    fn observed(&self, readers: u64, lists: &mut Lists) -> bool {
        if let Some(list) = lists.of(readers) {
            return list.all_observe || list.observers.contains(&(self.block, self.thread));
        }
        let reader = Epoch::unpack(readers);
        reader.bits & OBSERVED != 0 && (reader.block, reader.thread) == (self.block, self.thread)
    }

    /// The readers with this thread among them.
    fn add(&self, readers: u64, lists: &mut Lists, sort: Sort, observes: bool) -> u64 {
        let bits = |sort: Sort, observes: bool| sort as u64 | if observes { OBSERVED } else { 0 };
        let mine = Epoch { block: self.block, clock: self.clock, thread: self.thread, bits: bits(sort, observes) };
        if readers == 0 {
            return mine.pack();
        }
        if lists.of(readers).is_none() {
            let before = Epoch::unpack(readers);
            let sort_before = sort_of(before.bits);
            let observed = before.bits & OBSERVED != 0;
            if (before.block, before.thread) == (self.block, self.thread) && before.clock == self.clock {
                return Epoch { bits: bits(sort.max(sort_before), observes || observed), ..mine }.pack();
            }
            if !observed && sort >= sort_before && self.after(before) {
                return mine.pack();
            }
            let (word, list) = lists.add();
            list.begin(before);
            return self.add(word, lists, sort, observes);
        }
        let Some(list) = lists.of(readers) else { return readers };
        if observes && !list.observers.contains(&(self.block, self.thread)) {
            list.observers.push((self.block, self.thread));
            list.all_observe |= list.observers.len() > OBSERVERS;
            list.observers.truncate(OBSERVERS);
        }
        self.join(list, 1 << (self.thread % 32), sort);
        readers
    }

    /// Adds readers of this warp to a list.
    fn join(&self, list: &mut Readers, lanes: u32, sort: Sort) {
        let warp = self.thread / 32;
        let same = |group: &&mut Group| {
            (group.block, group.warp, group.clock, group.sort) == (self.block, warp, self.clock, sort)
        };
        // Most likely one of the last.
        if let Some(group) = list.groups.iter_mut().rev().find(same) {
            group.lanes |= lanes;
            return;
        }
        // What conflicts with those before conflicts with this one, which comes later. Looked at now and then only.
        if list.groups.len().is_power_of_two() || list.groups.len() >= GROUPS {
            list.groups.retain(|group| group.sort > sort || self.open(group) != 0);
        }
        list.groups.push(Group { block: self.block, warp, clock: self.clock, lanes, sort });
        if list.groups.len() > GROUPS {
            let Readers { groups, plain, strong, .. } = list;
            groups.retain(|group| {
                if group.block != self.block {
                    if group.sort == Sort::Plain {
                        plain.insert(group.block)
                    } else {
                        strong.insert(group.block)
                    };
                }
                group.block == self.block
            });
        }
    }
}

fn sort_of(bits: u64) -> Sort {
    match bits & 3 {
        1 => Sort::Device,
        2 => Sort::Block,
        _ => Sort::Plain,
    }
}

#[cfg(test)]
mod tests;
