//! Who touched what, exactly: for kernels whose accesses are ordered by more than whole barriers ([`crate::order`]).
//!
//! Each cell has its last plain write, its last atomic write, and its readers since the last plain write: one, or a
//! list. A plain write must be ordered behind all of them, a plain read behind both writes, an atomic behind the plain
//! write and plain readers only. Who has read an atomic's value, or changed it by one, is ordered behind all atomics
//! before.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

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

impl Lists {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.free.clear();
    }

    fn add(&mut self, readers: Readers) -> u64 {
        let i = self.free.pop().unwrap_or(self.all.len());
        if i == self.all.len() {
            self.all.push(readers);
        } else {
            self.all[i] = readers;
        }
        (i as u64 + 1) << 3
    }

    fn of(&mut self, word: u64) -> Option<&mut Readers> {
        if word.trailing_zeros() >= 3 { self.all.get_mut((word >> 3).checked_sub(1)? as usize) } else { None }
    }

    fn remove(&mut self, word: u64) {
        if let Some(readers) = self.of(word) {
            *readers = Readers::default();
            self.free.push((word >> 3) as usize - 1);
        }
    }
}

/// The lists of a memory, apart, so that blocks rarely wait for each other.
pub(crate) type Shards = [Mutex<Lists>];

/// The thread that touches, and what is ordered before that.
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

impl Toucher<'_> {
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
        cells: &[Cell],
        first: usize,
        count: usize,
        touch: Touch,
        changes: &dyn Fn() -> bool,
        work: impl FnOnce() -> R,
    ) -> Result<R, Race> {
        // Cells of one access are never in two shards.
        let mut lists = self.shards[first / 64 % self.shards.len()].lock().unwrap_or_else(PoisonError::into_inner);
        for cell in &cells[first..first + count] {
            self.one(cell, &mut lists, touch, changes)?;
        }
        Ok(work())
    }

    fn one(&self, cell: &Cell, lists: &mut Lists, touch: Touch, changes: &dyn Fn() -> bool) -> Result<(), Race> {
        let origin = if touch == Touch::CopyWrite { BY_COPY } else { 0 };
        let touch = if touch == Touch::CopyWrite { Touch::Write } else { touch };
        if cell[0].load(Relaxed) != self.tag {
            cell[0].store(self.tag, Relaxed);
            for word in &cell[1..] {
                word.store(0, Relaxed);
            }
        }
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
            let mut list = Readers::default();
            list.groups.push(Group {
                block: before.block,
                warp: before.thread / 32,
                clock: before.clock,
                lanes: 1 << (before.thread % 32),
                sort: sort_before,
            });
            if observed {
                list.observers.push((before.block, before.thread));
            }
            let word = lists.add(list);
            return self.add(word, lists, sort, observes);
        }
        let Some(list) = lists.of(readers) else { return readers };
        if observes && !list.observers.contains(&(self.block, self.thread)) {
            list.observers.push((self.block, self.thread));
            list.all_observe |= list.observers.len() > OBSERVERS;
            list.observers.truncate(OBSERVERS);
        }
        let lane = 1 << (self.thread % 32);
        let warp = self.thread / 32;
        let same = |group: &&mut Group| {
            (group.block, group.warp, group.clock, group.sort) == (self.block, warp, self.clock, sort)
        };
        if let Some(group) = list.groups.iter_mut().find(same) {
            group.lanes |= lane;
            return readers;
        }
        // What conflicts with those before conflicts with this one, which comes later.
        list.groups.retain(|group| group.sort > sort || self.open(group) != 0);
        list.groups.push(Group { block: self.block, warp, clock: self.clock, lanes: lane, sort });
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
        readers
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
mod tests {
    use super::*;

    /// One cell, and the accesses to it.
    #[derive(Default)]
    struct Place {
        cell: [Cell; 1],
        shards: [Mutex<Lists>; 1],
    }

    impl Place {
        fn touch(&self, order: &Order, block: u32, thread: u32, touch: Touch) -> Option<Other> {
            let by = Toucher { order, shards: &self.shards, tag: 1, block, thread, clock: 1, fence: 0 };
            by.touch(&self.cell, 0, 1, touch, &|| true, || ()).err().map(|race| race.other)
        }
    }

    #[test]
    fn a_plain_write_is_kept_behind_the_same_threads_atomic() {
        let place = Place::default();
        let order = Order::new(0, 0);
        let add = Touch::StrongWrite(Scope::Device);
        assert_eq!(place.touch(&order, 0, 0, Touch::Write), None);
        assert_eq!(place.touch(&order, 0, 0, add), None);
        assert_eq!(place.touch(&order, 0, 1, add), Some(Other::Thread(0)));
    }

    #[test]
    fn many_readers_are_noted_by_block() {
        let place = Place::default();
        for block in 0..200 {
            let order = Order::new(block, 0);
            for thread in 0..64 {
                assert_eq!(place.touch(&order, block, thread, Touch::Read), None);
            }
        }
        let order = Order::new(199, 0);
        assert!(place.touch(&order, 199, 0, Touch::Write).is_some());
        assert!(place.shards[0].lock().unwrap().all[0].groups.len() <= GROUPS + 1);
    }

    #[test]
    fn who_has_seen_the_atomic_is_behind_it() {
        let place = Place::default();
        let (here, there) = (Order::new(0, 0), Order::new(1, 0));
        assert_eq!(place.touch(&here, 0, 0, Touch::StrongWrite(Scope::Device)), None);
        assert_eq!(place.touch(&there, 1, 0, Touch::Write), Some(Other::Elsewhere(0, 0)));
        assert_eq!(place.touch(&there, 1, 0, Touch::StrongRead(Scope::Device)), None);
        assert_eq!(place.touch(&there, 1, 0, Touch::Write), None);
    }
}
