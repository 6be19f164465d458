//! What is ordered before what a warp does now, for kernels with fences, strong accesses, or barriers of a part of the
//! block. All others are ordered by barriers alone, which [`crate::race`] does by itself.
//!
//! Time is the clock of a block, which every synchronisation advances. A fence notes what its warp knows at that time
//! of every warp, and the clock of each lane that executes it. A strong write behind it publishes that note under its
//! address; who reads the address and executes a fence takes the note over. A barrier unites what its warps know, and
//! also what they have noted and not yet published, and read and not yet fenced: usually all threads of a block fence,
//! one of them writes or reads behind a barrier, and all fence again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far a strong access or a fence reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Block,
    /// The device, and all that is larger.
    Device,
}

/// Until when the accesses of one block are known to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockClock {
    /// By warp: all lanes up to this clock.
    warps: Vec<u32>,
    /// Threads that are known for longer than their warp, in their order.
    threads: Vec<(u32, u32)>,
}

impl BlockClock {
    pub(crate) fn covers(&self, thread: u32, clock: u32) -> bool {
        self.warps.get(thread as usize / 32).is_some_and(|&known| clock <= known)
            || self
                .threads
                .binary_search_by_key(&thread, |&(thread, _)| thread)
                .is_ok_and(|found| clock <= self.threads[found].1)
    }

    /// Everything of a warp up to this clock.
    pub(crate) fn add_warp(&mut self, warp: usize, clock: u32) {
        if self.warps.len() <= warp {
            self.warps.resize(warp + 1, 0);
        }
        self.warps[warp] = self.warps[warp].max(clock);
    }

    fn add_thread(&mut self, thread: u32, clock: u32) {
        match self.threads.binary_search_by_key(&thread, |&(thread, _)| thread) {
            Ok(found) => self.threads[found].1 = self.threads[found].1.max(clock),
            Err(place) => self.threads.insert(place, (thread, clock)),
        }
    }

    /// Whether all that `other` covers is covered.
    fn includes(&self, other: &Self) -> bool {
        other.warps.iter().enumerate().all(|(warp, &clock)| clock <= self.warps.get(warp).copied().unwrap_or(0))
            && other.threads.iter().all(|&(thread, clock)| self.covers(thread, clock))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (warp, &clock) in other.warps.iter().enumerate() {
            self.add_warp(warp, clock);
        }
        for &(thread, clock) in &other.threads {
            self.add_thread(thread, clock);
        }
    }
}

/// What is known of blocks, in the order of their numbers in the grid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Vec<(u32, Arc<BlockClock>)>);

impl Known {
    fn of(&self, block: u32) -> Option<&BlockClock> {
        let found = self.0.binary_search_by_key(&block, |&(block, _)| block).ok()?;
        Some(&self.0[found].1)
    }

    pub(crate) fn covers(&self, block: u32, thread: u32, clock: u32) -> bool {
        self.of(block).is_some_and(|known| known.covers(thread, clock))
    }

    /// Whether anything of a block is known.
    pub(crate) fn holds(&self, block: u32) -> bool {
        self.of(block).is_some()
    }

    fn add(&mut self, block: u32, clock: &Arc<BlockClock>) {
        match self.0.binary_search_by_key(&block, |&(block, _)| block) {
            Ok(found) => add(&mut self.0[found].1, clock),
            Err(place) => self.0.insert(place, (block, Arc::clone(clock))),
        }
    }

    /// Whether all that `other` knows is known.
    fn includes(&self, other: &Self) -> bool {
        let mut mine = self.0.iter();
        self.0.len() >= other.0.len()
            && other.0.iter().all(|(block, clock)| {
                let found = mine.find(|(here, _)| here >= block);
                found.is_some_and(|(here, known)| here == block && (Arc::ptr_eq(known, clock) || known.includes(clock)))
            })
    }

    /// Adds what a thread of a block did up to a time.
    pub(crate) fn learn(known: &mut Arc<Self>, block: u32, thread: u32, clock: u32) {
        let mut own = BlockClock::default();
        own.add_thread(thread, clock);
        Arc::make_mut(known).add(block, &Arc::new(own));
    }
}

/// Adds all that `more` knows of a block. Who knows the same shares it, so that it is compared once.
fn add(known: &mut Arc<BlockClock>, more: &Arc<BlockClock>) {
    if Arc::ptr_eq(known, more) || known.includes(more) {
        return;
    }
    if more.includes(known) {
        *known = Arc::clone(more);
    } else {
        Arc::make_mut(known).merge(more);
    }
}

/// Adds all that `more` knows.
fn unite(known: &mut Arc<Known>, more: &Arc<Known>) {
    if Arc::ptr_eq(known, more) || known.includes(more) {
        return;
    }
    if more.includes(known) {
        *known = Arc::clone(more);
        return;
    }
    let (mut mine, mut theirs) = (known.0.iter().peekable(), more.0.iter().peekable());
    let mut all = Vec::with_capacity(known.0.len().max(more.0.len()));
    loop {
        match (mine.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a.0 == b.0 => {
                let mut clock = Arc::clone(&a.1);
                add(&mut clock, &b.1);
                all.push((a.0, clock));
                mine.next();
                theirs.next();
            }
            (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => all.extend(mine.next().cloned()),
            _ => all.extend(theirs.next().cloned()),
        }
    }
    *known = Arc::new(Known(all));
}

/// What has been published, by address.
#[derive(Debug, Default)]
pub(crate) struct Published(HashMap<u64, Arc<Known>>);

impl Published {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What blocks publish for each other.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Published>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a fence noted.
#[derive(Clone, Debug, Default)]
struct Note {
    own: BlockClock,
    others: Arc<Known>,
    /// The clock of each lane at its last fence, 0 for none.
    lanes: [u32; 32],
    /// Whether a barrier has brought what others noted, which all lanes publish.
    met: bool,
}

/// Where a strong access goes to.
pub(crate) struct Way<'a> {
    pub(crate) address: u64,
    pub(crate) inside: &'a mut Published,
    /// None for memory that other blocks do not reach.
    pub(crate) outside: Option<&'a Shelf>,
}

/// What one warp knows. Finer than a warp are only the lanes that publish: what one lane takes over counts for all.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    block: u32,
    warp: u32,
    /// Of the own block, beyond its last whole barrier.
    seen: BlockClock,
    others: Arc<Known>,
    /// By scope.
    notes: [Option<Note>; 2],
    /// Read by strong accesses, for the next fence of a scope to take over.
    pending: [Vec<(u64, Arc<Known>)>; 2],
}

impl Order {
    pub(crate) fn new(block: u32, warp: u32) -> Self {
        Self {
            block,
            warp,
            seen: BlockClock::default(),
            others: Arc::default(),
            notes: [None, None],
            pending: [Vec::new(), Vec::new()],
        }
    }

    /// Whether an earlier access of another thread is ordered; of the own block one since the last whole barrier.
    pub(crate) fn covers(&self, block: u32, thread: u32, clock: u32) -> bool {
        if block == self.block { self.seen.covers(thread, clock) } else { self.others.covers(block, thread, clock) }
    }

    pub(crate) fn holds(&self, block: u32) -> bool {
        self.others.holds(block)
    }

    /// All lanes of the warp have met: everything that they did up to this clock.
    pub(crate) fn meet(&mut self, clock: u32) {
        self.seen.add_warp(self.warp as usize, clock);
    }

    /// What the warp knows of its own block, when all before `fence` is ordered for all.
    fn own(&self, fence: u32, warps: usize) -> BlockClock {
        let mut own = self.seen.clone();
        for warp in 0..warps {
            own.add_warp(warp, fence.saturating_sub(1));
        }
        own
    }

    /// Takes over what has been read.
    fn acquire(&mut self, scope: Scope) {
        for i in 0..=scope as usize {
            for (_, known) in std::mem::take(&mut self.pending[i]) {
                self.take_over(&known);
            }
        }
    }

    /// A fence of some lanes at this clock, which must be advanced behind it.
    pub(crate) fn fence(&mut self, mask: u32, scope: Scope, clock: u32, fence: u32, warps: usize) {
        self.acquire(scope);
        for i in 0..=scope as usize {
            let (own, others) = (self.own(fence, warps), Arc::clone(&self.others));
            let note = self.notes[i].get_or_insert_default();
            for (lane, at) in note.lanes.iter_mut().enumerate() {
                if mask >> lane & 1 == 1 {
                    *at = clock;
                }
            }
            note.own.merge(&own);
            unite(&mut note.others, &others);
        }
    }

    /// A strong write of a lane publishes what its last fence noted.
    pub(crate) fn publish(&self, way: &mut Way<'_>, lane: usize, scope: Scope) {
        for reach in [Scope::Block, Scope::Device] {
            let fenced = |note: &&Note| note.met || note.lanes[lane] > 0;
            let Some(note) = self.notes[reach as usize].as_ref().filter(fenced) else { continue };
            if reach == Scope::Device && scope == Scope::Block {
                continue;
            }
            let mut own = note.own.clone();
            own.add_thread(self.warp * 32 + lane as u32, note.lanes[lane]);
            self.put(way, reach, own, &note.others);
        }
    }

    /// A write that releases by itself: all that its thread did up to this clock, which must be advanced behind it.
    pub(crate) fn release(&self, way: &mut Way<'_>, lane: usize, scope: Scope, clock: u32, fence: u32, warps: usize) {
        let mut own = self.own(fence, warps);
        own.add_thread(self.warp * 32 + lane as u32, clock);
        self.put(way, Scope::Block, own.clone(), &self.others);
        if scope == Scope::Device {
            self.put(way, Scope::Device, own, &self.others);
        }
    }

    /// What an arrival at an mbarrier tells those who wait: all that its thread did up to this clock, which must be
    /// advanced behind it.
    pub(crate) fn hand_on(&self, to: &mut Arc<Known>, lane: usize, clock: u32, fence: u32, warps: usize) {
        let mut own = self.own(fence, warps);
        own.add_thread(self.warp * 32 + lane as u32, clock);
        unite(to, &self.others);
        Arc::make_mut(to).add(self.block, &Arc::new(own));
    }

    /// What those who wait at an mbarrier are told.
    pub(crate) fn take_over(&mut self, known: &Arc<Known>) {
        if let Some(own) = known.of(self.block) {
            self.seen.merge(own);
        }
        unite(&mut self.others, known);
    }

    fn put(&self, way: &mut Way<'_>, reach: Scope, own: BlockClock, others: &Arc<Known>) {
        let own = Arc::new(own);
        let mut locked;
        let places = match (reach, way.outside) {
            (Scope::Block, _) => &mut way.inside.0,
            (Scope::Device, Some(shelf)) => {
                locked = shelf.lock();
                &mut locked.0
            }
            (Scope::Device, None) => return,
        };
        let known = places.entry(way.address).or_default();
        unite(known, others);
        Arc::make_mut(known).add(self.block, &own);
    }

    /// A strong read: the next fence takes over what was published there. A read that acquires by itself does so now.
    pub(crate) fn read(&mut self, way: &Way<'_>, scope: Scope, acquires: bool) {
        let outside = way.outside.filter(|_| scope == Scope::Device);
        let found = [
            way.inside.0.get(&way.address).map(Arc::clone),
            outside.and_then(|shelf| shelf.lock().0.get(&way.address).map(Arc::clone)),
        ];
        for (pending, known) in self.pending.iter_mut().zip(found) {
            let Some(known) = known else { continue };
            match pending.iter_mut().find(|(address, _)| *address == way.address) {
                Some((_, before)) => *before = known,
                None => pending.push((way.address, known)),
            }
        }
        if acquires {
            self.acquire(scope);
        }
    }

    /// Adds what this warp knows when it comes to a barrier at this clock.
    pub(crate) fn arrive(&self, meeting: &mut Meeting, clock: u32, fence: u32, warps: usize) {
        meeting.own.merge(&self.own(fence, warps));
        meeting.own.add_warp(self.warp as usize, clock);
        unite(&mut meeting.others, &self.others);
        for (all, mine) in meeting.notes.iter_mut().zip(&self.notes) {
            let Some(mine) = mine else { continue };
            let all = all.get_or_insert_default();
            all.own.merge(&mine.own);
            for (lane, &clock) in (0..).zip(&mine.lanes) {
                if clock > 0 {
                    all.own.add_thread(self.warp * 32 + lane, clock);
                }
            }
            unite(&mut all.others, &mine.others);
        }
        for (all, mine) in meeting.pending.iter_mut().zip(&self.pending) {
            for (address, known) in mine {
                match all.iter_mut().find(|(at, _)| at == address) {
                    Some((_, united)) => unite(united, known),
                    None => all.push((*address, Arc::clone(known))),
                }
            }
        }
    }

    /// Goes on behind a barrier.
    pub(crate) fn leave(&mut self, meeting: &Meeting) {
        self.seen.merge(&meeting.own);
        unite(&mut self.others, &meeting.others);
        self.pending.clone_from(&meeting.pending);
        for (mine, all) in self.notes.iter_mut().zip(&meeting.notes) {
            let Some(all) = all else { continue };
            let mine = mine.get_or_insert_default();
            mine.own.merge(&all.own);
            unite(&mut mine.others, &all.others);
            mine.met = true;
        }
    }
}

/// What the warps that have come to a barrier know together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meeting {
    own: BlockClock,
    others: Arc<Known>,
    notes: [Option<Note>; 2],
    pending: [Vec<(u64, Arc<Known>)>; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_covers_what_was_before_it_and_its_own_lanes_only() {
        let shelf = Shelf::default();
        let (mut here, mut there) = (Published::default(), Published::default());
        let mut writer = Order::new(3, 1);
        writer.meet(4);
        writer.fence(0b100, Scope::Device, 6, 2, 2);
        let mut way = Way { address: 64, inside: &mut here, outside: Some(&shelf) };
        writer.publish(&mut way, 2, Scope::Device);
        writer.publish(&mut way, 5, Scope::Device);
        let mut reader = Order::new(0, 0);
        let way = Way { address: 64, inside: &mut there, outside: Some(&shelf) };
        reader.read(&way, Scope::Device, false);
        assert!(!reader.covers(3, 34, 6));
        reader.fence(1, Scope::Block, 1, 0, 1);
        assert!(!reader.covers(3, 34, 6), "a fence of the block takes nothing over from others");
        reader.fence(1, Scope::Device, 2, 0, 1);
        assert!(reader.covers(3, 34, 6) && !reader.covers(3, 34, 7));
        assert!(
            reader.covers(3, 37, 4) && !reader.covers(3, 37, 5) && reader.covers(3, 0, 1) && !reader.covers(3, 0, 2)
        );
    }

    #[test]
    fn a_meeting_unites_what_has_been_read() {
        let mut places = Published::default();
        let mut writer = Order::new(0, 0);
        writer.fence(1, Scope::Block, 5, 0, 3);
        writer.publish(&mut Way { address: 8, inside: &mut places, outside: None }, 0, Scope::Device);
        let (mut reader, mut other) = (Order::new(0, 1), Order::new(0, 2));
        reader.read(&Way { address: 8, inside: &mut places, outside: None }, Scope::Device, false);
        let mut meeting = Meeting::default();
        reader.arrive(&mut meeting, 7, 0, 3);
        other.leave(&meeting);
        assert!(other.covers(0, 63, 7) && !other.covers(0, 0, 5));
        other.fence(1, Scope::Block, 9, 0, 3);
        assert!(other.covers(0, 0, 5));
    }
}
