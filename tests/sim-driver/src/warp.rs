//! A warp: 32 lanes that execute one program, together as long as they agree.

use crate::bulk::Stores;
use crate::copies::Copies;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Shared};
use crate::order::{Order, Scope};
use crate::program::{CONSTANT, Kind, Place, Program, Slot};

pub(crate) const FULL: u32 = u32::MAX;

/// Lanes that cannot go on, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    /// At a barrier of the block; else for other lanes of the warp.
    pub(crate) barrier: bool,
}

pub(crate) struct Warp {
    pub(crate) index: u32,
    pub(crate) r32: Vec<[u32; 32]>,
    pub(crate) r64: Vec<[u64; 32]>,
    /// One bit a lane.
    pub(crate) predicates: Vec<u32>,
    pub(crate) pc: u32,
    /// Lanes that execute now.
    pub(crate) mask: u32,
    /// Lanes that are elsewhere: instruction and mask, all behind `pc` unless another group was given a turn.
    pub(crate) pending: Vec<(u32, u32)>,
    /// The first of `pending`.
    pub(crate) next: u32,
    pub(crate) waiting: Vec<Waiting>,
    /// Lanes that the launch gave this warp, and those that are done.
    pub(crate) lanes: u32,
    pub(crate) exited: u32,
    pub(crate) local: Vec<u8>,
    /// Index of the region that the last access went to.
    pub(crate) region: usize,
    /// Everything of this warp before this time is ordered for all its lanes.
    pub(crate) fence: u64,
    /// What else is ordered, for kernels that are watched exactly.
    pub(crate) order: Option<Box<Order>>,
    /// Copies under way, in the order in which they began.
    pub(crate) copies: Vec<Copies>,
    /// The open group of each lane.
    pub(crate) copy_groups: [u32; 32],
    /// Bulk copies out of shared memory.
    pub(crate) stores: Stores,
}

/// Why a warp stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// All lanes are done.
    Done,
    /// Some wait at a barrier and no other can go on.
    Barrier,
    /// Its share of time is over.
    Slice,
}

impl Warp {
    pub(crate) fn new() -> Self {
        Self {
            index: 0,
            r32: Vec::new(),
            r64: Vec::new(),
            predicates: Vec::new(),
            pc: 0,
            mask: 0,
            pending: Vec::new(),
            next: u32::MAX,
            waiting: Vec::new(),
            lanes: 0,
            exited: 0,
            local: Vec::new(),
            region: 0,
            fence: 0,
            order: None,
            copies: Vec::new(),
            copy_groups: [0; 32],
            stores: Stores::default(),
        }
    }

    /// Ready to run a program from its start.
    /// `None` when the host has no memory for it.
    pub(crate) fn reset(&mut self, program: &Program, block: u64, index: u32, lanes: u32) -> Option<()> {
        let [words, doubles, predicates] = program.registers.map(|n| n as usize);
        self.index = index;
        self.r32.clear();
        self.r32.resize(words, [0; 32]);
        self.r64.clear();
        self.r64.resize(doubles, [0; 32]);
        self.predicates.clear();
        self.predicates.resize(predicates, 0);
        self.pc = 0;
        self.mask = lanes;
        self.pending.clear();
        self.next = u32::MAX;
        self.waiting.clear();
        self.lanes = lanes;
        self.exited = 0;
        let local = program.local as usize * 32;
        self.local.clear();
        self.local.try_reserve_exact(local).ok()?;
        self.local.resize(local, 0x5A);
        self.fence = 0;
        self.order = program.exact.then(|| Box::new(Order::new(block as u32, index)));
        self.copies.clear();
        self.copy_groups = [0; 32];
        self.stores.clear();
        Some(())
    }

    pub(crate) fn live(&self) -> u32 {
        self.lanes & !self.exited
    }

    pub(crate) fn thread(&self, lane: u32) -> u32 {
        self.index * 32 + lane
    }

    pub(crate) fn fault(&self, kind: FaultKind, lane: u32, why: impl Into<String>) -> Fault {
        Fault { kind, step: self.pc.saturating_sub(1), thread: Some(self.thread(lane)), why: why.into() }
    }

    #[inline(always)]
    pub(crate) fn get32(&self, program: &Program, slot: Slot) -> [u32; 32] {
        if slot & CONSTANT == 0 { self.r32[slot as usize] } else { program.constants32[(slot & !CONSTANT) as usize] }
    }

    #[inline(always)]
    pub(crate) fn get64(&self, program: &Program, slot: Slot) -> [u64; 32] {
        if slot & CONSTANT == 0 { self.r64[slot as usize] } else { program.constants64[(slot & !CONSTANT) as usize] }
    }

    #[inline(always)]
    pub(crate) fn put32(&mut self, slot: Slot, mask: u32, values: [u32; 32]) {
        let to = &mut self.r32[slot as usize];
        if mask == FULL {
            *to = values;
        } else {
            for i in 0..32 {
                let keep = (mask >> i & 1).wrapping_neg();
                to[i] = (values[i] & keep) | (to[i] & !keep);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn put64(&mut self, slot: Slot, mask: u32, values: [u64; 32]) {
        let to = &mut self.r64[slot as usize];
        if mask == FULL {
            *to = values;
        } else {
            for i in 0..32 {
                let keep = u64::from(mask >> i & 1).wrapping_neg();
                to[i] = (values[i] & keep) | (to[i] & !keep);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn put_predicate(&mut self, slot: Slot, mask: u32, values: u32) {
        let to = &mut self.predicates[slot as usize];
        *to = (*to & !mask) | (values & mask);
    }

    /// Bits of a predicate, or of a constant one.
    #[inline(always)]
    pub(crate) fn predicate(&self, program: &Program, slot: Slot) -> u32 {
        if slot & CONSTANT == 0 {
            self.predicates[slot as usize]
        } else {
            program.constants32[(slot & !CONSTANT) as usize][0]
        }
    }

    /// A register of any kind, zero-extended.
    #[inline(always)]
    pub(crate) fn get(&self, program: &Program, place: Place) -> [u64; 32] {
        match place.kind {
            Kind::B32 => self.get32(program, place.slot).map(u64::from),
            Kind::B64 => self.get64(program, place.slot),
            Kind::Predicate => {
                let bits = self.predicate(program, place.slot);
                std::array::from_fn(|i| u64::from(bits >> i & 1))
            }
        }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, place: Place, mask: u32, values: [u64; 32]) {
        match place.kind {
            Kind::B32 => self.put32(place.slot, mask, values.map(|v| v as u32)),
            Kind::B64 => self.put64(place.slot, mask, values),
            Kind::Predicate => {
                let bits = values.iter().enumerate().fold(0, |bits, (i, v)| bits | u32::from(*v != 0) << i);
                self.put_predicate(place.slot, mask, bits);
            }
        }
    }

    /// Goes on with the lanes that are furthest behind. Whether there are any.
    pub(crate) fn regroup(&mut self) -> bool {
        if self.mask != 0 {
            self.pending.push((self.pc, self.mask));
        }
        self.mask = 0;
        let Some(first) = self.pending.iter().map(|&(pc, _)| pc).min() else {
            self.next = u32::MAX;
            return false;
        };
        self.take(first);
        true
    }

    /// Goes on with the lanes that are furthest ahead: those behind them may be waiting for what they do.
    pub(crate) fn turn(&mut self) {
        if self.mask != 0 {
            self.pending.push((self.pc, self.mask));
        }
        self.mask = 0;
        if let Some(last) = self.pending.iter().map(|&(pc, _)| pc).max() {
            self.take(last);
        }
    }

    fn take(&mut self, pc: u32) {
        let mut mask = 0;
        self.pending.retain(|&(at, lanes)| {
            if at == pc {
                mask |= lanes;
            }
            at != pc
        });
        self.pc = pc;
        self.mask = mask;
        self.next = self.pending.iter().map(|&(at, _)| at).filter(|&at| at > pc).min().unwrap_or(u32::MAX);
    }

    /// Sends `taken` of the executing lanes to `target`.
    pub(crate) fn branch(&mut self, taken: u32, target: u32) {
        if taken == self.mask {
            self.pc = target;
            if self.next != u32::MAX || !self.pending.is_empty() {
                self.regroup();
            }
            return;
        }
        self.pending.push((target, taken));
        self.mask &= !taken;
        self.regroup();
    }

    /// Waits until the lanes of `needed` have come to this instruction; gives those that execute it when they have.
    /// `pc` has been advanced already.
    pub(crate) fn converge(&mut self, mask: u32, needed: u32, barrier: bool) -> Option<u32> {
        let here = self.pc - 1;
        let mut all = mask;
        self.waiting.retain(|group| {
            let same = group.pc == here && group.barrier == barrier;
            if same {
                all |= group.mask;
            }
            !same
        });
        let needed = needed & self.live();
        if needed & !all == 0 {
            self.mask |= all;
            return Some(all);
        }
        self.waiting.push(Waiting { pc: here, mask: all, barrier });
        self.mask &= !mask;
        None
    }

    /// What the waiting lanes lack, when no lane can go on.
    pub(crate) fn stuck(&self, program: &Program) -> Option<Fault> {
        let group = self.waiting.iter().find(|group| !group.barrier)?;
        let lane = group.mask.trailing_zeros();
        let aligned_barrier = matches!(program.steps[group.pc as usize].op, crate::program::Op::Barrier { .. });
        let elsewhere: Vec<String> = self
            .waiting
            .iter()
            .filter(|other| other.pc != group.pc)
            .map(|other| format!("lanes {:#010x} wait at line {}", other.mask, program.steps[other.pc as usize].line))
            .chain((self.exited != 0).then(|| format!("lanes {:#010x} have exited", self.exited)))
            .collect();
        let others = if elsewhere.is_empty() { "the others never come".to_owned() } else { elsewhere.join(", ") };
        let kind = if aligned_barrier { FaultKind::Barrier } else { FaultKind::WarpSync };
        Some(Fault {
            kind,
            step: group.pc,
            thread: Some(self.thread(lane)),
            why: format!("only lanes {:#010x} of warp {} came here: {others}", group.mask, self.index),
        })
    }

    /// Makes all that the lanes of this warp did so far ordered for all of them.
    pub(crate) fn sync(&mut self, shared: &mut Shared) {
        shared.clock += 1;
        self.fence = shared.clock;
        if let Some(order) = &mut self.order {
            order.meet(shared.clock as u32 - 1);
        }
    }

    /// `fence` and `membar` of some lanes.
    pub(crate) fn fence(&mut self, shared: &mut Shared, launch: &Launch<'_>, mask: u32, scope: Scope) {
        if let Some(order) = &mut self.order {
            order.fence(mask, scope, shared.clock as u32, shared.fence as u32, launch.warps_per_block());
            // What the lanes do from now on is not covered.
            shared.clock += 1;
        }
    }
}
