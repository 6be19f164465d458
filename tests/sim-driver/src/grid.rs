//! Blocks: their warps take turns; and the grid, whose blocks run on the threads of the host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::fault::{Fault, FaultKind, Report};
use crate::launch::{BarrierState, Launch, Shared};
use crate::order::{Meeting, Published};
use crate::program::Op;
use crate::region::Region;
use crate::warp::{Pause, Warp};

/// A block of threads with its memory, used for one block after another.
pub(crate) struct Block {
    shared: Shared,
    warps: Vec<Warp>,
    pauses: Vec<Pause>,
}

impl Block {
    pub(crate) fn new(launch: &Launch<'_>) -> Option<Self> {
        let bytes = u64::from(shared_bytes(launch));
        let memory = Region::new(0, bytes.next_multiple_of(16).max(16), launch.device, "shared memory".into())?;
        let shared = Shared {
            block: 0,
            memory,
            bytes,
            clock: 1,
            fence: 0,
            published: Published::default(),
            lists: [Mutex::default()],
            copying: Vec::new(),
            copies: 0,
            sources: Vec::new(),
            mbarriers: HashMap::new(),
            proxy: 0,
            barriers: Vec::new(),
            complete: Vec::new(),
        };
        let warps = launch.threads_per_block().div_ceil(32);
        let warps = (0..warps).map(|_| Warp::new()).collect();
        Some(Self { shared, warps, pauses: Vec::new() })
    }

    /// `None` when the host has no memory for it.
    pub(crate) fn begin(&mut self, launch: &Launch<'_>, block: u64) -> Option<()> {
        let shared = &mut self.shared;
        shared.block = block;
        shared.memory.forget(shared.bytes);
        shared.clock = 1;
        shared.fence = 0;
        shared.published.clear();
        for lists in &mut shared.lists {
            lists.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
        shared.copying.fill((0, 0));
        shared.copies = 0;
        shared.sources.clear();
        shared.mbarriers.clear();
        shared.proxy = 0;
        shared.barriers.clear();
        shared.complete.clear();
        let threads = launch.threads_per_block();
        for (i, warp) in self.warps.iter_mut().enumerate() {
            let lanes = (threads - i as u32 * 32).min(32);
            warp.reset(launch.program, block, i as u32, u32::MAX >> (32 - lanes))?;
        }
        self.pauses.clear();
        self.pauses.resize(self.warps.len(), Pause::Slice);
        Some(())
    }

    /// Lets every warp that can go on do so once; whether the block is done.
    pub(crate) fn round(&mut self, launch: &Launch<'_>) -> Result<bool, Fault> {
        let mut progress = false;
        for i in 0..self.warps.len() {
            if self.pauses[i] != Pause::Slice {
                continue;
            }
            progress = true;
            self.pauses[i] = self.warps[i].run(&mut self.shared, launch)?;
        }
        let released = self.release(launch);
        if self.pauses.iter().all(|&pause| pause == Pause::Done) {
            return Ok(true);
        }
        if !progress && !released {
            return Err(self.stuck(launch));
        }
        Ok(false)
    }

    /// Lets go who waits at barriers that are complete.
    fn release(&mut self, launch: &Launch<'_>) -> bool {
        let counted = std::mem::take(&mut self.shared.complete);
        let mut any = !counted.is_empty();
        for state in counted {
            for (warp, _, _) in &state.waiting {
                let warp = &mut self.warps[*warp as usize];
                warp.fence = self.shared.clock;
                if let Some(order) = &mut warp.order {
                    order.leave(&state.meeting);
                }
            }
            self.go_on(state, launch);
        }
        let live: u32 = self.warps.iter().map(|warp| warp.live().count_ones()).sum();
        for id in 0..self.shared.barriers.len() {
            let state = &mut self.shared.barriers[id];
            if state.expected.is_some() || state.waiting.is_empty() || state.arrived < live {
                continue;
            }
            any = true;
            let state = std::mem::take(state);
            self.meet(launch);
            self.go_on(state, launch);
        }
        any
    }

    /// Orders all that the block did before all that it does from now on.
    fn meet(&mut self, launch: &Launch<'_>) {
        let (clock, fence) = (self.shared.clock, self.shared.fence);
        self.shared.clock += 1;
        self.shared.fence = self.shared.clock;
        if launch.program.exact {
            let mut meeting = Meeting::default();
            let orders = || self.warps.iter().filter_map(|warp| warp.order.as_ref());
            orders().for_each(|order| order.arrive(&mut meeting, clock as u32, fence as u32, self.warps.len()));
            for warp in &mut self.warps {
                if let Some(order) = &mut warp.order {
                    order.leave(&meeting);
                }
            }
        }
    }

    /// Wakes those who wait at a barrier.
    fn go_on(&mut self, state: BarrierState, launch: &Launch<'_>) {
        for (warp, pc, mask) in state.waiting {
            let warp_state = &mut self.warps[warp as usize];
            warp_state.waiting.retain(|group| !(group.barrier && group.pc == pc));
            if let Op::Barrier { kind, to: Some(to), .. } = &launch.program.steps[pc as usize].op {
                use crate::program::Barrier::{And, Arrive, Count, Or, Sync};
                let value = match kind {
                    Count => u64::from(state.trues),
                    And => u64::from(state.trues == state.voters),
                    Or => u64::from(state.trues > 0),
                    Sync | Arrive => 0,
                };
                warp_state.put(*to, mask, [value; 32]);
            }
            warp_state.pending.push((pc + 1, mask));
            self.pauses[warp as usize] = Pause::Slice;
        }
    }

    /// Why nothing can go on.
    fn stuck(&self, launch: &Launch<'_>) -> Fault {
        let at = |id: usize| {
            let state = &self.shared.barriers[id];
            let wanted = state.expected.map_or_else(|| "all".to_owned(), |n| n.to_string());
            let lines: Vec<String> = state
                .waiting
                .iter()
                .map(|(warp, pc, mask)| {
                    format!("lanes {mask:#010x} of warp {warp} at line {}", launch.program.steps[*pc as usize].line)
                })
                .take(4)
                .collect();
            format!("barrier {id}: {} of {wanted} threads have arrived ({})", state.arrived, lines.join(", "))
        };
        let why: Vec<String> =
            (0..self.shared.barriers.len()).filter(|&id| self.shared.barriers[id].arrived > 0).map(at).collect();
        let (warp, group) = self.warps.iter().find_map(|warp| Some((warp, warp.waiting.first()?))).unzip();
        Fault {
            kind: FaultKind::Barrier,
            step: group.map_or(0, |group| group.pc),
            thread: warp.zip(group).map(|(warp, group)| warp.thread(group.mask.trailing_zeros())),
            why: format!("the other threads never come: {}", why.join("; ")),
        }
    }
}

/// Shared memory of a block: declared, then what the launch adds.
pub(crate) fn shared_bytes(launch: &Launch<'_>) -> u32 {
    if launch.dynamic_shared == 0 {
        launch.program.shared
    } else {
        launch.program.shared_end.saturating_add(launch.dynamic_shared)
    }
}

fn no_memory() -> Fault {
    Fault { kind: FaultKind::Memory, step: 0, thread: None, why: "the host is out of memory".into() }
}

/// Runs all blocks; the first fault ends the launch.
pub(crate) fn run(launch: &Launch<'_>) -> Result<(), Box<Report>> {
    let report =
        |fault: Fault, block: u64| Box::new(Report::new(fault, launch.program, block, launch.grid, launch.threads));
    if launch.cooperative {
        return together(launch).map_err(|(fault, block)| report(fault, block));
    }
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let first: Mutex<Option<(Fault, u64)>> = Mutex::new(None);
    let one_after_another = || -> Result<(), (Fault, u64)> {
        let mut block = Block::new(launch).ok_or((no_memory(), 0))?;
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= launch.blocks || failed.load(Relaxed) {
                return Ok(());
            }
            block.begin(launch, i).ok_or((no_memory(), i))?;
            while !block.round(launch).map_err(|fault| (fault, i))? {
                if failed.load(Relaxed) {
                    return Ok(());
                }
            }
        }
    };
    let work = || {
        if let Err((fault, block)) = one_after_another() {
            failed.store(true, Relaxed);
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            // Of several, the one of the lowest block, so that reports repeat.
            if first.as_ref().is_none_or(|(_, before)| *before > block) {
                *first = Some((fault, block));
            }
        }
    };
    let workers = (rayon::current_num_threads() as u64).min(launch.blocks);
    if workers <= 1 {
        work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    }
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some((fault, block)) => Err(report(fault, block)),
    }
}

/// Blocks that wait for each other: all are under way at once.
fn together(launch: &Launch<'_>) -> Result<(), (Fault, u64)> {
    let mut blocks = Vec::new();
    for i in 0..launch.blocks {
        let mut block = Block::new(launch).ok_or((no_memory(), i))?;
        block.begin(launch, i).ok_or((no_memory(), i))?;
        blocks.push((i, block));
    }
    while !blocks.is_empty() {
        let mut left = Vec::new();
        for (i, mut block) in blocks {
            if !block.round(launch).map_err(|fault| (fault, i))? {
                left.push((i, block));
            }
        }
        blocks = left;
    }
    Ok(())
}
