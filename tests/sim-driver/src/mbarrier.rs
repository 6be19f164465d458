//! `mbarrier`: barriers in shared memory that count arrivals of threads and bytes of copies.
//!
//! What an object holds is kept beside the memory; plain accesses to its place are faults. An arrival hands on what
//! its thread has done, and who sees the phase complete takes over what was handed on up to its end: that and no more
//! orders accesses. Bulk copies are done when only they are missing for a phase that somebody waits for.

use std::sync::Arc;

use crate::access::lanes;
use crate::bulk::Load;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, SHARED_WINDOW, Shared, WINDOW};
use crate::ledger::Touch;
use crate::order::{Known, Scope};
use crate::program::{Access, Slot};
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

/// Arrivals, and bytes, of one phase.
pub(crate) const MOST: i64 = (1 << 20) - 1;
/// What a wait in vain costs, in instructions: a device stops the thread for a while.
const WAIT: u64 = 1000;
/// Bytes of an object.
pub(crate) const SIZE: u64 = 8;

/// What an instruction does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Init,
    Invalidate,
    /// More bytes to come, and bytes that have come.
    Expect,
    Complete,
    /// The operand is a number of arrivals, or of bytes to come.
    Arrive {
        drop: bool,
        expect: bool,
        /// Whether it may be the last of its phase.
        last: bool,
    },
    /// Arrives when the thread's asynchronous copies are done; whether the object has counted on it.
    AfterCopies {
        counted: bool,
    },
    /// The operand is a parity, or nothing.
    Wait {
        parity: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) access: Access,
    pub(crate) operand: Slot,
    /// The state that an arrival gives and a wait takes.
    pub(crate) state: Option<Slot>,
    /// Where a wait tells whether the phase is complete.
    pub(crate) to: Option<Slot>,
    /// Whether it releases or acquires.
    pub(crate) orders: bool,
}

/// An object.
#[derive(Debug, Default)]
pub(crate) struct Mbarrier {
    /// Arrivals of the next phase, and what this one lacks.
    count: i64,
    pending: i64,
    bytes: i64,
    phase: u64,
    /// What was handed on in this phase, and until its begin.
    coming: Arc<Known>,
    done: Arc<Known>,
    /// Copies under way that will bring bytes.
    pub(crate) loads: Vec<Load>,
}

impl Mbarrier {
    fn state(&self) -> u64 {
        self.phase << 20 | self.pending as u64
    }

    fn settle(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase += 1;
            self.pending = self.count;
            // All of an earlier phase is handed on with the later ones too.
            self.done = Arc::clone(&self.coming);
        }
    }

    /// Bytes that a copy has brought, with the time of its writes.
    pub(crate) fn bring(&mut self, bytes: u64, block: u32, thread: u32, clock: u32) {
        Known::learn(&mut self.coming, block, thread, clock);
        self.bytes -= bytes as i64;
        self.settle();
    }

    fn lacks(&self) -> String {
        format!(
            "phase {} lacks {} of {} arrivals, and {} bytes",
            self.phase,
            self.pending,
            self.count,
            self.bytes.max(0)
        )
    }
}

/// Number of arrivals that a state says were missing.
pub(crate) fn pending(state: u64) -> u64 {
    state & MOST as u64
}

impl Warp {
    fn misuse(&self, lane: usize, why: impl Into<String>) -> Fault {
        self.fault(FaultKind::Mbarrier, lane as u32, why)
    }

    /// Where in shared memory an address leads.
    pub(crate) fn shared_offset(address: u64) -> u64 {
        if address.wrapping_sub(SHARED_WINDOW) < WINDOW { address - SHARED_WINDOW } else { address }
    }

    /// Does one instruction; whether it was a wait in vain.
    pub(crate) fn mbarrier(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        step: &Step,
        mask: u32,
    ) -> Result<bool> {
        let addresses = self.addresses(launch, step.access.address, step.access.offset);
        let operands = self.get32(launch.program, step.operand);
        let mut states = match (step.action, step.state) {
            (Action::Wait { .. }, Some(state)) => self.get64(launch.program, state),
            _ => [0; 32],
        };
        let (mut complete, mut vain) = (0, false);
        for lane in lanes(mask) {
            let at = Self::shared_offset(addresses[lane]);
            let operand = operands[lane];
            match step.action {
                Action::Init => self.init(shared, launch, lane, at, operand)?,
                Action::Invalidate => self.invalidate(shared, launch, lane, at)?,
                Action::Expect => {
                    let object = self.object(shared, launch, lane, at, Touch::StrongWrite(Scope::Block))?;
                    object.bytes += i64::from(operand);
                }
                Action::Complete => {
                    let object = self.object(shared, launch, lane, at, Touch::StrongWrite(Scope::Block))?;
                    object.bytes -= i64::from(operand);
                    object.settle();
                }
                Action::Arrive { .. } => states[lane] = self.arrive(shared, launch, step, lane, at, operand)?,
                Action::AfterCopies { counted } => {
                    self.finish_copies(shared, launch, None, 1 << lane)?;
                    if !counted {
                        let touch = Touch::StrongWrite(Scope::Block);
                        self.object(shared, launch, lane, at, touch)?.pending += 1;
                    }
                    self.arrive(shared, launch, step, lane, at, 1)?;
                }
                Action::Wait { parity } => {
                    let wanted = if parity { u64::from(operand & 1) } else { states[lane] >> 20 };
                    let done = self.wait(shared, launch, step, lane, at, wanted, parity)?;
                    complete |= u32::from(done) << lane;
                    vain |= !done;
                }
            }
            if let Some(object) = shared.mbarriers.get(&at).filter(|object| object.bytes.abs() > MOST) {
                return Err(self.misuse(lane, format!("{} bytes of one phase: at most {MOST}", object.bytes)));
            }
        }
        if let (Action::Arrive { .. }, Some(state)) = (step.action, step.state) {
            self.put64(state, mask, states);
        }
        if let Some(to) = step.to {
            self.put_predicate(to, mask, complete);
        }
        Ok(vain)
    }

    /// The object at a place, which the lane touches.
    fn object<'s>(
        &self,
        shared: &'s mut Shared,
        launch: &Launch<'_>,
        lane: usize,
        at: u64,
        touch: Touch,
    ) -> Result<&'s mut Mbarrier> {
        if !shared.mbarriers.contains_key(&at) {
            let why = format!("byte {at} of shared memory holds no mbarrier: nobody has initialised one there");
            return Err(self.misuse(lane, why));
        }
        self.touch_shared(shared, launch, lane, at, touch)?;
        let missing = || self.misuse(lane, "no mbarrier");
        shared.mbarriers.get_mut(&at).ok_or_else(missing)
    }

    /// Notes an access of 8 bytes to shared memory that something else than a load or store does.
    pub(crate) fn touch_shared(
        &self,
        shared: &Shared,
        launch: &Launch<'_>,
        lane: usize,
        at: u64,
        touch: Touch,
    ) -> Result<()> {
        let observer = self.observer(shared, launch, true);
        if let Some(by) = observer.lane(lane as u32).filter(|_| launch.checks.race && observer.watches()) {
            let granule = launch.program.shared_granule;
            self.touch(&by, &shared.memory, granule, at, SIZE as u8, touch, &|| true, || ())?;
        }
        Ok(())
    }

    fn init(&self, shared: &mut Shared, launch: &Launch<'_>, lane: usize, at: u64, count: u32) -> Result<()> {
        if shared.mbarriers.contains_key(&at) {
            let why = format!("byte {at} of shared memory holds an mbarrier already: mbarrier.inval ends it");
            return Err(self.misuse(lane, why));
        }
        self.in_shared(shared, lane, at, SIZE, "initialises an mbarrier of")?;
        let count = i64::from(count);
        if !(1..=MOST).contains(&count) {
            return Err(self.misuse(lane, format!("an mbarrier of {count} arrivals: from 1 to {MOST}")));
        }
        self.touch_shared(shared, launch, lane, at, Touch::Write)?;
        shared.mbarriers.insert(at, Mbarrier { count, pending: count, ..Mbarrier::default() });
        shared.guard(at, SIZE, (launch.program.steps[self.pc as usize - 1].line, u32::MAX));
        Ok(())
    }

    fn invalidate(&self, shared: &mut Shared, launch: &Launch<'_>, lane: usize, at: u64) -> Result<()> {
        let object = self.object(shared, launch, lane, at, Touch::Write)?;
        if !object.loads.is_empty() {
            return Err(self.misuse(lane, "ends an mbarrier for which copies are under way"));
        }
        shared.mbarriers.remove(&at);
        shared.unguard(at, SIZE);
        Ok(())
    }

    fn arrive(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        step: &Step,
        lane: usize,
        at: u64,
        operand: u32,
    ) -> Result<u64> {
        let (clock, fence) = (shared.clock as u32, shared.fence as u32);
        let object = self.object(shared, launch, lane, at, Touch::StrongWrite(Scope::Block))?;
        let (drop, expect, last) = match step.action {
            Action::Arrive { drop, expect, last } => (drop, expect, last),
            _ => (false, false, true),
        };
        let state = object.state();
        let count = if expect { 1 } else { i64::from(operand) };
        if count < 1 || count > object.pending || (!last && count == object.pending) {
            return Err(self.misuse(lane, format!("{count} arrivals at an mbarrier whose {}", object.lacks())));
        }
        if expect {
            object.bytes += i64::from(operand);
        }
        if step.orders
            && let Some(order) = &self.order
        {
            order.hand_on(&mut object.coming, lane, clock, fence, launch.warps_per_block());
        }
        object.count -= if drop { count } else { 0 };
        object.pending -= count;
        object.settle();
        // What the thread does from now on is not covered.
        shared.clock += 1;
        Ok(state)
    }

    fn wait(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        step: &Step,
        lane: usize,
        at: u64,
        wanted: u64,
        parity: bool,
    ) -> Result<bool> {
        let mut object = self.object(shared, launch, lane, at, Touch::StrongRead(Scope::Block))?;
        let open = |object: &Mbarrier| if parity { object.phase & 1 == wanted } else { object.phase == wanted };
        if !parity && wanted + 1 != object.phase && !open(object) {
            let why = format!("waits with the state of phase {wanted} for an mbarrier in phase {}", object.phase);
            return Err(self.misuse(lane, why));
        }
        if open(object) && object.pending == 0 && !object.loads.is_empty() {
            let loads = std::mem::take(&mut object.loads);
            self.finish_loads(shared, launch, at, loads)?;
            object = self.object(shared, launch, lane, at, Touch::StrongRead(Scope::Block))?;
        }
        if open(object) {
            let lacks = object.lacks();
            launch.burn(WAIT, self.pc - 1).map_err(|fault| {
                let why = format!("{}; the thread waits for an mbarrier whose {lacks}", fault.why);
                Fault { thread: Some(self.thread(lane as u32)), why, ..fault }
            })?;
            return Ok(false);
        }
        let done = Arc::clone(&object.done);
        if step.orders
            && let Some(order) = &mut self.order
        {
            order.take_over(&done);
        }
        Ok(true)
    }
}
