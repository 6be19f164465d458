//! `cp.async.bulk`: copies of many bytes that one thread begins.
//!
//! As with `cp.async`, they are done as late as allowed, and watched from their begin: a copy to shared memory when
//! only its bytes are missing for a phase that somebody waits for, one from shared memory when its thread waits.

use crate::access::lanes;
use crate::copies::PLAIN;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Shared};
use crate::ledger::Touch;
use crate::program::{Access, Place, Slot};
use crate::ptx::Space;
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

/// Addresses and sizes are multiples of this.
const UNIT: u64 = 16;

/// The instruction that begins a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The place in shared memory and the one in device memory.
    pub(crate) inside: (Place, i64),
    pub(crate) outside: (Place, i64),
    pub(crate) size: Slot,
    /// What counts the bytes that come; none for copies out of shared memory.
    pub(crate) barrier: Option<(Place, i64)>,
}

/// A copy to shared memory that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    to: u64,
    from: u64,
    bytes: u64,
    thread: u32,
    pc: u32,
}

/// A copy out of shared memory.
#[derive(Debug)]
struct Store {
    lane: usize,
    group: u32,
    to: u64,
    from: u64,
    bytes: u64,
    pc: u32,
    /// What it has read, once somebody has waited for that.
    read: Option<Vec<u64>>,
}

/// Copies of a warp's lanes out of shared memory; the last group of each is open.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    all: Vec<Store>,
    groups: [u32; 32],
}

impl Stores {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.groups = [0; 32];
    }

    pub(crate) fn commit(&mut self, mask: u32) {
        lanes(mask).for_each(|lane| self.groups[lane] += 1);
    }
}

impl Warp {
    pub(crate) fn begin_bulk(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        step: &Step,
        mask: u32,
    ) -> Result<()> {
        let inside = self.addresses(launch, step.inside.0, step.inside.1).map(Self::shared_offset);
        let outside = self.addresses(launch, step.outside.0, step.outside.1);
        let sizes = self.get32(launch.program, step.size);
        let barriers = step.barrier.map(|(place, offset)| self.addresses(launch, place, offset));
        for lane in lanes(mask) {
            let bytes = u64::from(sizes[lane]);
            if bytes % UNIT != 0 {
                let why = format!("a bulk copy of {bytes} bytes, which is no multiple of {UNIT}");
                return Err(self.fault(FaultKind::Misaligned, lane as u32, why));
            }
            for (address, what) in [(inside[lane], "in shared memory"), (outside[lane], "in device memory")] {
                if address % UNIT != 0 {
                    let why = format!("a bulk copy at {address:#x} {what}, which is no multiple of {UNIT}");
                    return Err(self.fault(FaultKind::Misaligned, lane as u32, why));
                }
            }
            match barriers {
                Some(barriers) => {
                    let at = Self::shared_offset(barriers[lane]);
                    self.begin_load(shared, launch, lane, (inside[lane], outside[lane], bytes), at)?;
                }
                None => self.begin_store(shared, launch, lane, (inside[lane], outside[lane], bytes))?,
            }
        }
        Ok(())
    }

    /// All of a place in shared memory, or why it is none.
    fn all_inside(&self, shared: &Shared, lane: usize, at: u64, bytes: u64, what: &str) -> Result<()> {
        if at.saturating_add(bytes) > shared.bytes {
            let why = format!(
                "{what} {bytes} bytes at byte {at} of shared memory, of which the launch has {} bytes",
                shared.bytes
            );
            return Err(self.fault(FaultKind::OutOfBounds, lane as u32, why));
        }
        self.no_copy(shared, lane, at, bytes, what)
    }

    fn begin_load(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        lane: usize,
        (to, from, bytes): (u64, u64, u64),
        at: u64,
    ) -> Result<()> {
        if !shared.mbarriers.contains_key(&at) {
            let why = format!("byte {at} of shared memory holds no mbarrier: nobody has initialised one there");
            return Err(self.fault(FaultKind::Mbarrier, lane as u32, why));
        }
        self.touch_shared(shared, launch, lane, at, Touch::StrongRead(crate::order::Scope::Block))?;
        self.all_inside(shared, lane, to, bytes, "writes")?;
        if bytes > 0 {
            self.region(launch, lane, from, bytes, "reads")?;
        }
        let access = Access { size: 8, count: 2, space: Space::Generic, ..PLAIN };
        for add in (0..bytes).step_by(UNIT as usize) {
            self.read(shared, launch, access, 1 << lane, [from + add; 32], &mut [[0; 32]; 4])?;
            for half in [0, 8] {
                self.touch_shared(shared, launch, lane, to + add + half, Touch::Write)?;
            }
        }
        let thread = self.thread(lane as u32);
        shared.guard(to, bytes, (launch.program.steps[self.pc as usize - 1].line, thread + 1));
        if let Some(object) = shared.mbarriers.get_mut(&at) {
            object.loads.push(Load { to, from, bytes, thread, pc: self.pc });
        }
        Ok(())
    }

    /// Does copies that bring their bytes to the mbarrier at a place.
    pub(crate) fn finish_loads(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        at: u64,
        loads: Vec<Load>,
    ) -> Result<()> {
        let here = self.pc;
        for load in loads {
            // Faults name the instruction that began the copy.
            self.pc = load.pc;
            let lane = load.thread as usize % 32;
            shared.unguard(load.to, load.bytes);
            if load.bytes > 0 {
                let index = self.region(launch, lane, load.from, load.bytes, "reads")?;
                let region = &launch.memories.live[index];
                for add in (0..load.bytes).step_by(8) {
                    let value = region.load(load.from - region.start + add, 8);
                    self.stamp(shared, launch, load.thread, load.to + add)?;
                    shared.memory.store(load.to + add, 8, value);
                    shared.memory.mark_written(load.to + add, 8);
                }
            }
            let (block, clock) = (shared.block as u32, shared.clock as u32);
            if let Some(object) = shared.mbarriers.get_mut(&at) {
                object.bring(load.bytes, block, load.thread, clock);
            }
            // Who waits has only these bytes, and not what the thread does now.
            shared.clock += 1;
        }
        self.pc = here;
        Ok(())
    }

    /// Notes that 8 bytes of shared memory have come by a copy that a thread of any warp has begun.
    fn stamp(&self, shared: &Shared, launch: &Launch<'_>, thread: u32, at: u64) -> Result<()> {
        let observer = self.observer(shared, launch, true);
        let Some(by) = observer.lane(0).filter(|_| launch.checks.race && observer.watches()) else { return Ok(()) };
        let by = crate::ledger::Toucher { thread, ..by };
        let granule = launch.program.shared_granule;
        self.touch(&by, &shared.memory, granule, at, 8, Touch::CopyWrite, &|| true, || ())
    }

    fn begin_store(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        lane: usize,
        (from, to, bytes): (u64, u64, u64),
    ) -> Result<()> {
        self.all_inside(shared, lane, from, bytes, "reads")?;
        if bytes > 0 {
            self.region(launch, lane, to, bytes, "writes")?;
        }
        for add in (0..bytes).step_by(8) {
            if launch.checks.unwritten && !shared.memory.is_written(from + add, 8) {
                return Err(self.unwritten(lane as u32, &shared.memory, from + add, 8));
            }
            self.touch_shared(shared, launch, lane, from + add, Touch::Read)?;
            self.seen_by_copies(shared, launch, lane, from + add)?;
            self.touch_global(shared, launch, lane, to + add)?;
        }
        let line = launch.program.steps[self.pc as usize - 1].line;
        if bytes > 0 {
            shared.sources.push((from, bytes, line, self.thread(lane as u32)));
        }
        let group = self.stores.groups[lane];
        self.stores.all.push(Store { lane, group, to, from, bytes, pc: self.pc, read: None });
        Ok(())
    }

    /// Fails where no `fence.proxy.async` stands between a thread's write and a copy's read.
    fn seen_by_copies(&self, shared: &Shared, launch: &Launch<'_>, lane: usize, at: u64) -> Result<()> {
        let observer = self.observer(shared, launch, true);
        let Some(by) = observer.lane(lane as u32).filter(|_| launch.checks.race && observer.watches()) else {
            return Ok(());
        };
        let granule = launch.program.shared_granule;
        let Some(cells) = shared.memory.ledger(granule) else { return Ok(()) };
        let first = (at / u64::from(granule)) as usize;
        let late =
            cells[first..first + usize::from(8 / granule)].iter().find_map(|cell| by.written_after(cell, shared.proxy));
        match late {
            None => Ok(()),
            Some(thread) => {
                let why = format!(
                    "a bulk copy reads byte {at} of shared memory, which thread {thread} wrote without a \
                     fence.proxy.async behind it"
                );
                Err(self.fault(FaultKind::Race, lane as u32, why))
            }
        }
    }

    /// Notes a write of 8 bytes of device memory.
    fn touch_global(&mut self, shared: &Shared, launch: &Launch<'_>, lane: usize, address: u64) -> Result<()> {
        let index = self.region(launch, lane, address, 8, "writes")?;
        let region = &launch.memories.live[index];
        let observer = self.observer(shared, launch, false);
        if let Some(by) = observer.lane(lane as u32).filter(|_| launch.checks.race && observer.watches()) {
            let granule = launch.program.global_granule;
            self.touch(&by, region, granule, address - region.start, 8, Touch::Write, &|| true, || ())?;
        }
        Ok(())
    }

    /// Waits until at most `left` closed groups are under way; with `read` until they have read their sources only.
    pub(crate) fn wait_bulk(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        left: u32,
        read: bool,
        mask: u32,
    ) -> Result<()> {
        let groups = self.stores.groups;
        let due = |store: &Store| mask >> store.lane & 1 == 1 && store.group.saturating_add(left) < groups[store.lane];
        self.finish_stores(shared, launch, read, due)
    }

    /// The end of threads: what they copy must have been read, for the block's memory ends with it.
    pub(crate) fn end_bulk(&mut self, shared: &mut Shared, launch: &Launch<'_>, mask: u32) -> Result<()> {
        if self.stores.all.is_empty() {
            return Ok(());
        }
        if let Some(store) = self.stores.all.iter().find(|s| mask >> s.lane & 1 == 1 && s.read.is_none() && s.bytes > 0)
        {
            let line = launch.program.steps[store.pc as usize - 1].line;
            let why = format!(
                "the thread ends while its cp.async.bulk of line {line} reads shared memory: nobody has waited for it \
                 with cp.async.bulk.wait_group"
            );
            return Err(self.fault(FaultKind::Race, store.lane as u32, why));
        }
        self.finish_stores(shared, launch, false, |store| mask >> store.lane & 1 == 1)
    }

    fn finish_stores(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        read: bool,
        due: impl Fn(&Store) -> bool,
    ) -> Result<()> {
        let (now, mut later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.stores.all).into_iter().partition(due);
        let here = self.pc;
        for mut store in now {
            self.pc = store.pc;
            let thread = self.thread(store.lane as u32);
            let values = store.read.take().unwrap_or_else(|| {
                let same =
                    |source: &(u64, u64, u32, u32)| (source.0, source.1, source.3) == (store.from, store.bytes, thread);
                if let Some(i) = shared.sources.iter().position(same) {
                    shared.sources.swap_remove(i);
                }
                (0..store.bytes).step_by(8).map(|add| shared.memory.load(store.from + add, 8)).collect()
            });
            if read {
                store.read = Some(values);
                later.push(store);
                continue;
            }
            for (address, value) in (store.to..).step_by(8).zip(values) {
                self.touch_global(shared, launch, store.lane, address)?;
                let index = self.region(launch, store.lane, address, 8, "writes")?;
                let region = &launch.memories.live[index];
                region.store(address - region.start, 8, value);
                region.mark_written(address - region.start, 8);
            }
        }
        self.pc = here;
        self.stores.all = later;
        Ok(())
    }
}
