//! Races: two threads touch the same bytes, one of them writes, and nothing orders the two.
//!
//! Every access leaves a stamp: block, the block's clock, thread. The clock counts synchronisations. An earlier access
//! is ordered before a thread's present one when it is the thread's own, older than the last barrier of the block,
//! older than the last `bar.warp.sync` of its own warp, older than a barrier or a released flag that this warp has
//! passed, or of a block whose released flag this block has seen. A `bar.warp.sync` of a part of the warp counts for
//! the whole one, and a flag for everything that its block did in the launch: some races are missed, none invented.

use std::sync::atomic::Ordering::Relaxed;

use crate::launch::BlockSet;
use crate::region::{ATOMIC, CLOCK_BITS, MANY_THREADS, Shadow, Stamp, THREAD_BITS, block_of, clock_of, thread_of};

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
    pub(crate) seen: &'a [u64],
    pub(crate) acquired: &'a BlockSet,
    /// Memory of one block: stamps of others are of its past.
    pub(crate) shared: bool,
}

/// Who the other one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Thread(u64),
    SeveralThreads,
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
    pub(crate) fn stamp(&self, thread: u32, atomic: bool) -> Stamp {
        self.block << 32 | u64::from(atomic) * ATOMIC | self.clock << THREAD_BITS | u64::from(thread)
    }

    /// Whether clocks still fit their field. A block that synchronises more often is not watched any further.
    pub(crate) fn watches(&self) -> bool {
        self.clock < 1 << CLOCK_BITS
    }

    #[inline(always)]
    fn is_ordered(&self, stamp: Stamp, thread: u32) -> bool {
        let block = block_of(stamp);
        if block < self.first {
            return true;
        }
        if block != self.block {
            return self.shared || (block != self.many && self.acquired.holds(block - self.first));
        }
        let (clock, by) = (clock_of(stamp), thread_of(stamp));
        if clock < self.fence || by == u64::from(thread) {
            return true;
        }
        if by == MANY_THREADS {
            return false;
        }
        let warp = (by / 32) as u32;
        if warp == self.warp {
            clock < self.warp_fence
        } else {
            self.seen.get(warp as usize).is_some_and(|&seen| clock <= seen && seen > 0)
        }
    }

    fn race(&self, stamp: Stamp, wrote: bool) -> Race {
        let block = block_of(stamp);
        let other = if block == self.block {
            let thread = thread_of(stamp);
            if thread == MANY_THREADS { Other::SeveralThreads } else { Other::Thread(thread) }
        } else if block == self.many {
            Other::SeveralBlocks
        } else {
            Other::Block(block - self.first)
        };
        Race { wrote, other }
    }

    #[inline(always)]
    pub(crate) fn read(&self, shadow: &Shadow, cell: usize, stamp: Stamp) -> Result<(), Race> {
        let thread = thread_of(stamp) as u32;
        let writer = shadow.writer[cell].load(Relaxed);
        if !self.is_ordered(writer, thread) && (writer & stamp & ATOMIC == 0) {
            return Err(self.race(writer, true));
        }
        let reader = &shadow.reader[cell];
        let before = reader.load(Relaxed);
        if before == stamp {
            return Ok(());
        }
        let mut now = stamp;
        if block_of(before) >= self.first && !self.shared && block_of(before) != self.block {
            now = self.many << 32 | (before & stamp & ATOMIC);
            if before == now {
                return Ok(());
            }
        } else if block_of(before) == self.block && !self.is_ordered(before, thread) {
            now = (stamp | MANY_THREADS) & (before | !ATOMIC);
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
        let thread = thread_of(stamp) as u32;
        let cell_writer = &shadow.writer[cell];
        let writer = if self.shared {
            // One thread of the host runs a block: no need for an exchange, which is slow.
            let before = cell_writer.load(Relaxed);
            cell_writer.store(stamp, Relaxed);
            before
        } else {
            cell_writer.swap(stamp, Relaxed)
        };
        if !self.is_ordered(writer, thread) && writer & stamp & ATOMIC == 0 && changes() {
            return Err(self.race(writer, true));
        }
        let reader = shadow.reader[cell].load(Relaxed);
        if !self.is_ordered(reader, thread) && reader & stamp & ATOMIC == 0 {
            return Err(self.race(reader, false));
        }
        Ok(())
    }
}
