//! Races: two threads touch the same bytes, one of them writes, and nothing orders the two.
//!
//! Every access leaves a stamp: block, the block's clock, thread. The clock counts synchronisations. In a kernel
//! without fences, atomics and barriers of a part of the block, which is what is done here, an earlier access is
//! ordered before a thread's present one when it is the thread's own, older than the last barrier of the block, or
//! older than the last `bar.warp.sync` of its own warp. Several readers that nothing orders are one stamp: what would
//! order a write behind all of them orders it behind that. Other kernels are watched by [`crate::ledger`].
//!
//! A `bar.warp.sync` of a part of the warp counts for the whole one: some races are missed, none invented.

use std::sync::atomic::Ordering::Relaxed;

use crate::ledger::Toucher;
use crate::region::{
    CLOCK_BITS, SEVERAL_LANES, SEVERAL_WARPS, Shadow, Stamp, THREADS, WHO_BITS, block_of, clock_of, warp_of, who_of,
};

/// The threads of one warp, as far as order goes.
pub(crate) struct Observer<'a> {
    /// The launch's first block, this block, and a number for several blocks.
    pub(crate) first: u64,
    pub(crate) block: u64,
    pub(crate) many: u64,
    pub(crate) clock: u64,
    /// Of the block and of the warp.
    pub(crate) fence: u64,
    pub(crate) warp_fence: u64,
    pub(crate) warp: u32,
    /// What else orders, for kernels that need it; the thread is the warp's first.
    pub(crate) exact: Option<Toucher<'a>>,
    /// Memory of one block: stamps of others are of its past.
    pub(crate) shared: bool,
}

/// Who the other one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Thread(u64),
    SeveralThreads,
    /// A thread of another block.
    Elsewhere(u64, u64),
    Block(u64),
    SeveralBlocks,
}

/// Which access came first, and whose it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Race {
    pub(crate) wrote: bool,
    pub(crate) other: Other,
}

impl Observer<'_> {
    pub(crate) fn stamp(&self, thread: u32) -> Stamp {
        self.block << 32 | self.clock << WHO_BITS | u64::from(thread)
    }

    /// Whether clocks still fit their field. A block that synchronises more often is not watched any further.
    pub(crate) fn watches(&self) -> bool {
        self.clock < 1 << CLOCK_BITS
    }

    /// As the exact watcher knows a lane.
    pub(crate) fn lane(&self, lane: u32) -> Option<Toucher<'_>> {
        self.exact.as_ref().map(|first| first.lane(lane))
    }

    #[inline(always)]
    fn is_ordered(&self, stamp: Stamp, thread: u64) -> bool {
        let block = block_of(stamp);
        if block < self.first {
            return true;
        }
        if block != self.block {
            return self.shared;
        }
        let clock = clock_of(stamp);
        clock < self.fence
            || who_of(stamp) == thread
            || (warp_of(stamp) == u64::from(self.warp) && clock < self.warp_fence)
    }

    fn race(&self, stamp: Stamp, wrote: bool) -> Race {
        let block = block_of(stamp);
        let other = if block == self.block {
            let who = who_of(stamp);
            if who < THREADS { Other::Thread(who) } else { Other::SeveralThreads }
        } else if block == self.many {
            Other::SeveralBlocks
        } else {
            Other::Block(block - self.first)
        };
        Race { wrote, other }
    }

    #[inline(always)]
    pub(crate) fn read(&self, shadow: &Shadow, cell: usize, stamp: Stamp) -> Result<(), Race> {
        let thread = who_of(stamp);
        let writer = shadow.writer[cell].load(Relaxed);
        if !self.is_ordered(writer, thread) {
            return Err(self.race(writer, true));
        }
        let reader = &shadow.reader[cell];
        let before = reader.load(Relaxed);
        if before == stamp {
            return Ok(());
        }
        let mut now = stamp;
        if block_of(before) >= self.first && !self.shared && block_of(before) != self.block {
            now = self.many << 32;
            if before == now {
                return Ok(());
            }
        } else if block_of(before) == self.block && !self.is_ordered(before, thread) {
            // The clock is the later one: a write behind this read is behind all of them, or it races.
            let same = warp_of(before) == u64::from(self.warp);
            now = if same { stamp | SEVERAL_LANES } else { (stamp & !(THREADS - 1)) | SEVERAL_WARPS };
        }
        reader.store(now, Relaxed);
        Ok(())
    }

    /// `changes`: whether the value differs from the one there; two threads that write the same are let pass.
    #[inline(always)]
    pub(crate) fn write(
        &self,
        shadow: &Shadow,
        cell: usize,
        stamp: Stamp,
        changes: impl Fn() -> bool,
    ) -> Result<(), Race> {
        let thread = who_of(stamp);
        let cell_writer = &shadow.writer[cell];
        let writer = if self.shared {
            // One thread of the host runs a block: no need for an exchange, which is slow.
            let before = cell_writer.load(Relaxed);
            cell_writer.store(stamp, Relaxed);
            before
        } else {
            cell_writer.swap(stamp, Relaxed)
        };
        if !self.is_ordered(writer, thread) && changes() {
            return Err(self.race(writer, true));
        }
        let reader = shadow.reader[cell].load(Relaxed);
        if !self.is_ordered(reader, thread) {
            return Err(self.race(reader, false));
        }
        Ok(())
    }
}
