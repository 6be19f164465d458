//! What all blocks of a launch share, and what one block is made of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::fault::{Fault, FaultKind};
use crate::ledger::Lists;
use crate::mbarrier::Mbarrier;
use crate::order::{Meeting, Published, Shelf};
use crate::program::Program;
use crate::region::Region;

/// Where generic addresses lead to the memory of a block, a thread, or the parameters. Device memory begins above.
pub(crate) const SHARED_WINDOW: u64 = 0x1000_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x1100_0000_0000;
pub(crate) const PARAMETER_WINDOW: u64 = 0x1200_0000_0000;
pub(crate) const WINDOW: u64 = 1 << 32;
/// Where a cooperative launch has the counter of its grid's barrier: below all device memory.
pub(crate) const WORKSPACE: u64 = 0x1F00_0000_0000;
const WORKSPACE_BYTES: u64 = 64;

/// Below, addresses are null with something added.
const FIRST_PAGE: u64 = 1 << 16;

/// Which faults are looked for; addresses and barriers always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checks {
    pub(crate) race: bool,
    pub(crate) unwritten: bool,
}

/// The memory that a launch can reach, in the order of addresses.
#[derive(Clone, Default)]
pub(crate) struct Memories {
    pub(crate) live: Arc<Vec<Arc<Region>>>,
    /// Address, bytes and name of what was freed lately.
    pub(crate) freed: Arc<Vec<(u64, u64, String)>>,
}

impl Memories {
    /// With zeros for the barrier of a cooperative grid; `None` when the host has no memory.
    pub(crate) fn with_workspace(mut self, device: usize) -> Option<Self> {
        let region = Region::new(WORKSPACE, WORKSPACE_BYTES, device, "the workspace of the grid".into())?;
        region.fill(0, &[0], WORKSPACE_BYTES);
        let mut live = Vec::clone(&self.live);
        live.insert(live.partition_point(|region| region.start < WORKSPACE), Arc::new(region));
        self.live = Arc::new(live);
        Some(self)
    }

    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        let after = self.live.partition_point(|region| region.start <= address);
        let i = after.checked_sub(1)?;
        (address < self.live[i].end()).then_some(i)
    }

    /// Why an access to this address is wrong.
    pub(crate) fn explain(&self, address: u64, bytes: u64, what: &str) -> (FaultKind, String) {
        if let Some((start, len, name)) =
            self.freed.iter().rev().find(|(start, len, _)| address >= *start && address - start < *len)
        {
            let why = format!(
                "{what} {bytes} bytes at {address:#x}, byte {} of {name} of {len} bytes that has been freed",
                address - start
            );
            return (FaultKind::UseAfterFree, why);
        }
        let after = self.live.partition_point(|region| region.start <= address);
        let before = after.checked_sub(1).and_then(|i| self.live.get(i));
        let near = [before, self.live.get(after)];
        let nearest = near.into_iter().flatten().min_by_key(|region| region.distance(address));
        let place = match nearest {
            _ if address == 0 => "the null pointer".to_owned(),
            _ if address < FIRST_PAGE => format!("{address} bytes behind the null pointer"),
            None => "there is no memory".to_owned(),
            // So far from a buffer no kernel counts, but host pointers lie there.
            Some(region) if region.distance(address) > if region.device == usize::MAX { 1 << 20 } else { 1 << 36 } => {
                "in no buffer; is it an address of the host?".to_owned()
            }
            Some(region) if address < region.start => {
                format!("{} bytes before {} of {} bytes", region.start - address, region.what, region.len)
            }
            Some(region) => format!("byte {} of {} of {} bytes", address - region.start, region.what, region.len),
        };
        (FaultKind::OutOfBounds, format!("{what} {bytes} bytes at {address:#x}: {place}"))
    }
}

/// Why a launch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No device has such a grid or such blocks.
    Shape,
    /// The kernel allows fewer threads.
    Threads,
    /// Blocks that wait for each other must all be resident.
    Blocks,
}

/// Blocks of a grid on every device.
pub(crate) const MOST_BLOCKS: [u32; 3] = [i32::MAX as u32, 65535, 65535];

/// Whether a device can launch a kernel in this shape; blocks that wait for each other on so many processors.
pub(crate) fn check_shape(
    program: &Program,
    grid: [u32; 3],
    threads: [u32; 3],
    cooperative: Option<u32>,
    most_blocks: [u32; 3],
) -> Result<(), (Refused, String)> {
    // At most 2^96: larger than any limit, smaller than the type.
    let all = |v: [u32; 3]| v.iter().map(|&n| u128::from(n)).product::<u128>();
    if all(grid) == 0
        || all(threads) == 0
        || all(threads) > 1024
        || threads[2] > 64
        || grid.iter().zip(most_blocks).any(|(&blocks, most)| blocks > most)
    {
        return Err((Refused::Shape, format!("grid {grid:?} of blocks {threads:?} is beyond the device")));
    }
    let most = program.most_threads;
    if all(threads) > u128::from(most) {
        return Err((Refused::Threads, format!("{} threads a block, the kernel allows {most}", all(threads))));
    }
    let resident = (2048 / all(threads)).clamp(1, 32);
    if cooperative.is_some_and(|processors| all(grid) > u128::from(processors) * resident) {
        return Err((Refused::Blocks, format!("a cooperative launch of {} blocks", all(grid))));
    }
    Ok(())
}

/// One launch of a kernel.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Program,
    pub(crate) grid: [u32; 3],
    pub(crate) threads: [u32; 3],
    pub(crate) parameters: &'a [u8],
    /// Shared memory beyond what the kernel declares.
    pub(crate) dynamic_shared: u32,
    pub(crate) memories: Memories,
    pub(crate) device: usize,
    /// Number of the first block among all blocks of this process, and how many there are.
    pub(crate) first_block: u64,
    pub(crate) blocks: u64,
    pub(crate) checks: Checks,
    /// Instructions that are left, for all warps together.
    pub(crate) fuel: AtomicU64,
    /// What blocks tell each other, and who reads what, for kernels that are watched exactly.
    pub(crate) shelf: Shelf,
    pub(crate) lists: Vec<Mutex<Lists>>,
    pub(crate) begin: Instant,
    pub(crate) number: u64,
    /// Whether blocks may wait for each other.
    pub(crate) cooperative: bool,
    pub(crate) processors: u32,
}

/// Lists of readers of device memory, so that blocks rarely wait for each other.
const SHARDS: usize = 64;

/// No reader yet.
pub(crate) fn no_lists() -> Vec<Mutex<Lists>> {
    (0..SHARDS).map(|_| Mutex::default()).collect()
}

impl Launch<'_> {
    pub(crate) fn threads_per_block(&self) -> u32 {
        self.threads.iter().product()
    }

    pub(crate) fn warps_per_block(&self) -> usize {
        self.threads_per_block().div_ceil(32) as usize
    }

    /// Takes a share of the instructions that may be executed.
    pub(crate) fn burn(&self, amount: u64, step: u32) -> Result<(), Fault> {
        let taken = self.fuel.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount));
        if taken.is_err() {
            return Err(Fault {
                kind: FaultKind::Endless,
                step,
                thread: None,
                why: "the launch executes more instructions than SIM_FUEL (or Options::fuel) allows: an endless loop?"
                    .into(),
            });
        }
        Ok(())
    }
}

/// What the warps of a block share.
pub(crate) struct Shared {
    /// Number of the block in its grid.
    pub(crate) block: u64,
    pub(crate) memory: Region,
    /// Bytes of shared memory that this launch has.
    pub(crate) bytes: u64,
    /// Counts synchronisations.
    pub(crate) clock: u64,
    /// Everything before this time is ordered for all threads of the block.
    pub(crate) fence: u64,
    /// As in [`Launch`], for the warps of the block.
    pub(crate) published: Published,
    pub(crate) lists: [Mutex<Lists>; 1],
    /// Where `cp.async` is under way: by word, the line and the thread plus one, or the largest for an mbarrier; and
    /// how many words.
    pub(crate) copying: Vec<(u32, u32)>,
    pub(crate) copies: usize,
    /// Where bulk copies still read: first byte, bytes, line, thread.
    pub(crate) sources: Vec<(u64, u64, u32, u32)>,
    pub(crate) mbarriers: HashMap<u64, Mbarrier>,
    /// When somebody last made writes visible to bulk copies.
    pub(crate) proxy: u64,
    pub(crate) barriers: Vec<BarrierState>,
    /// Barriers that are complete, whose threads go on.
    pub(crate) complete: Vec<BarrierState>,
}

impl Shared {
    /// Keeps plain accesses away from words: what is there, as a line and a thread plus one.
    pub(crate) fn guard(&mut self, at: u64, bytes: u64, by: (u32, u32)) {
        let words = (self.bytes / 4 + 4) as usize;
        if self.copying.len() < words {
            self.copying.resize(words, (0, 0));
        }
        for word in at / 4..(at + bytes) / 4 {
            self.copying[word as usize] = by;
            self.copies += 1;
        }
    }

    pub(crate) fn unguard(&mut self, at: u64, bytes: u64) {
        for word in at / 4..(at + bytes) / 4 {
            self.copying[word as usize] = (0, 0);
            self.copies -= 1;
        }
    }
}

/// Who waits at a barrier.
#[derive(Clone, Debug, Default)]
pub(crate) struct BarrierState {
    pub(crate) arrived: u32,
    /// Threads that it waits for, where the instruction says so.
    pub(crate) expected: Option<u32>,
    pub(crate) waiting: Vec<(u32, u32, u32)>,
    /// Lanes that have arrived, waiting or not, by warp.
    pub(crate) lanes: Vec<u32>,
    /// What those who arrived know.
    pub(crate) meeting: Meeting,
    pub(crate) trues: u32,
    pub(crate) voters: u32,
}
