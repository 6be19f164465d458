//! Instructions in which lanes, or warps, work together.

use crate::access::lanes;
use crate::fault::{Fault, FaultKind};
use crate::launch::{BarrierState, Launch, Shared};
use crate::program::{Access, Barrier, CLUSTER, Kind, Op, Place, Reduce, Shuffle, Slot, Strength, Vote};
use crate::tensor::Register;
use crate::warp::{FULL, Waiting, Warp};

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    pub(crate) fn collective(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let program = launch.program;
        match op {
            Op::Barrier { .. } => self.barrier(shared, launch, op, mask),
            Op::SyncWarp(members) => {
                if self.gather(launch, Some(*members), mask)?.is_some() {
                    // Also a part of the warp counts for all of it; see the module on races.
                    self.sync(shared);
                }
                Ok(())
            }
            Op::Shuffle { .. } => self.shuffle(launch, op, mask),
            Op::Vote { how, to, from, negated, mask: members } => {
                let Some((all, members)) = self.gather(launch, *members, mask)? else { return Ok(()) };
                let from = self.predicate(program, *from);
                let from = if *negated { !from } else { from };
                let mut out = [0; 32];
                for lane in lanes(all) {
                    let of = members[lane] & all;
                    out[lane] = match how {
                        Vote::All => u64::from(from & of == of),
                        Vote::Any => u64::from(from & of != 0),
                        Vote::Uniform => u64::from(from & of == of || from & of == 0),
                        Vote::Ballot => u64::from(from & of),
                    };
                }
                self.put(*to, all, out);
                Ok(())
            }
            Op::Match { all: whole, to, within, from, mask: members } => {
                let Some((all, members)) = self.gather(launch, Some(*members), mask)? else { return Ok(()) };
                let values = self.get(program, *from);
                let (mut out, mut same_all) = ([0; 32], 0);
                for lane in lanes(all) {
                    let of = members[lane] & all;
                    let same = lanes(of).filter(|&i| values[i] == values[lane]).fold(0u32, |m, i| m | 1 << i);
                    let agree = same == of;
                    same_all |= u32::from(agree) << lane;
                    out[lane] = if !whole || agree { same } else { 0 };
                }
                self.put32(*to, all, out);
                if let Some(within) = within {
                    self.put_predicate(*within, all, same_all);
                }
                Ok(())
            }
            Op::Reduce { how, to, from, mask: members } => {
                let Some((all, members)) = self.gather(launch, Some(*members), mask)? else { return Ok(()) };
                let values = self.get32(program, *from);
                let mut out = [0; 32];
                for lane in lanes(all) {
                    let of = lanes(members[lane] & all).map(|i| values[i]);
                    out[lane] = of.reduce(|a, b| reduce(*how, a, b)).unwrap_or(0);
                }
                self.put32(*to, all, out);
                Ok(())
            }
            Op::ActiveMask(to) => {
                let active = self.mask & mask;
                self.put32(*to, mask, [active; 32]);
                Ok(())
            }
            Op::Elect { to, within, mask: members } => {
                let Some((all, members)) = self.gather(launch, Some(*members), mask)? else { return Ok(()) };
                let mut chosen = 0;
                let mut out = [0; 32];
                for lane in lanes(all) {
                    let leader = (members[lane] & all).trailing_zeros();
                    out[lane] = leader;
                    chosen |= u32::from(leader == lane as u32) << lane;
                }
                self.put32(*to, all, out);
                self.put_predicate(*within, all, chosen);
                Ok(())
            }
            Op::Fence(scope) => {
                self.fence(shared, launch, mask, *scope);
                Ok(())
            }
            Op::ProxyFence => {
                shared.proxy = shared.clock;
                shared.clock += 1;
                Ok(())
            }
            Op::Bulk(step) => self.begin_bulk(shared, launch, step, mask),
            Op::CommitBulk => {
                self.stores.commit(mask);
                Ok(())
            }
            Op::WaitBulk { left, read } => self.wait_bulk(shared, launch, *left, *read, mask),
            Op::Transpose { to, from } => {
                if !self.whole_warp(mask)? {
                    return Ok(());
                }
                let values = self.get32(program, *from);
                let half = |row: usize, column: usize| values[row * 4 + column / 2] >> (16 * (column % 2)) & 0xFFFF;
                let out = std::array::from_fn(|lane| {
                    let (row, column) = (lane / 4, lane % 4 * 2);
                    half(column, row) | half(column + 1, row) << 16
                });
                self.put32(*to, FULL, out);
                Ok(())
            }
            Op::Mma { mma, d, a, b, c } => {
                if !self.whole_warp(mask)? {
                    return Ok(());
                }
                let read = |places: &[Place]| -> Vec<Register> {
                    places.iter().map(|&place| self.get(program, place)).collect()
                };
                let (a, b, c) = (read(a), read(b), read(c));
                let mut out = vec![[0; 32]; d.len()];
                mma.run(&a, &b, &c, &mut out);
                for (place, values) in d.iter().zip(out) {
                    self.put(*place, FULL, values);
                }
                Ok(())
            }
            Op::Fragment { .. } => self.fragment(shared, launch, op, mask),
            Op::MoveMatrix { .. } => self.move_matrix(shared, launch, op, mask),
            _ => {
                Err(self.fault(FaultKind::Unsupported, mask.trailing_zeros(), "an operation without an implementation"))
            }
        }
    }

    /// Waits for the lanes that the executing ones name. Gives all that have come and what each of them named; without
    /// a mask (instructions from before it existed) those that execute now.
    fn gather(&mut self, launch: &Launch<'_>, members: Option<Slot>, mask: u32) -> Result<Option<(u32, [u32; 32])>> {
        let Some(members) = members else { return Ok(Some((mask, [FULL; 32]))) };
        let named = self.get32(launch.program, members);
        let mut needed = 0;
        for lane in lanes(mask) {
            if named[lane] >> lane & 1 == 0 {
                let why = format!("the lane executes this with the mask {:#010x}, which does not name it", named[lane]);
                return Err(self.fault(FaultKind::WarpSync, lane as u32, why));
            }
            needed |= named[lane];
        }
        // Lanes beyond the end of the block may be named: they do not exist.
        Ok(self.converge(mask, needed, false).map(|all| (all, named)))
    }

    /// Matrix instructions need all 32 lanes, and wait for them; whether they have come.
    fn whole_warp(&mut self, mask: u32) -> Result<bool> {
        if mask == FULL {
            return Ok(true);
        }
        if self.live() == FULL {
            return Ok(self.converge(mask, FULL, false).is_some());
        }
        let why = format!("only lanes {mask:#010x} of warp {} execute an instruction of the whole warp", self.index);
        Err(self.fault(FaultKind::WarpSync, mask.trailing_zeros(), why))
    }

    fn shuffle(&mut self, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::Shuffle { how, to, within, from, b, c, mask: members } = op else { return Ok(()) };
        let program = launch.program;
        let Some((all, _)) = self.gather(launch, *members, mask)? else { return Ok(()) };
        let (values, b, c) = (self.get32(program, *from), self.get32(program, *b), self.get32(program, *c));
        let (mut out, mut inside) = ([0; 32], 0);
        for lane in lanes(all) {
            // From the ISA's pseudocode.
            let (lane32, amount) = (lane as u32, b[lane] & 31);
            let (segment, clamp) = (c[lane] >> 8 & 31, c[lane] & 31);
            let most = (lane32 & segment) | (clamp & !segment);
            let least = lane32 & segment;
            let (source, valid) = match how {
                Shuffle::Up => (lane32.wrapping_sub(amount), lane32 as i32 - amount as i32 >= most as i32),
                Shuffle::Down => (lane32 + amount, lane32 + amount <= most),
                Shuffle::Butterfly => (lane32 ^ amount, lane32 ^ amount <= most),
                Shuffle::Index => {
                    let source = least | (amount & !segment);
                    (source, source <= most)
                }
            };
            let source = if valid { source } else { lane32 };
            inside |= u32::from(valid) << lane;
            if all >> source & 1 == 0 {
                let why = format!("reads lane {source}, which does not execute this");
                return Err(self.fault(FaultKind::WarpSync, lane32, why));
            }
            out[lane] = values[source as usize];
        }
        self.put32(*to, all, out);
        if let Some(within) = within {
            self.put_predicate(*within, all, inside);
        }
        Ok(())
    }

    fn barrier(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::Barrier { kind, aligned, id, threads, to, from, negated } = op else { return Ok(()) };
        let program = launch.program;
        let mut all = mask;
        if *aligned {
            // All lanes of the warp execute it together, or nothing goes on.
            match self.converge(mask, self.live(), false) {
                Some(lanes) => all = lanes,
                None => return Ok(()),
            }
        }
        let lane = all.trailing_zeros();
        let id = match self.get32(program, *id)[lane as usize] {
            // Behind those with numbers.
            CLUSTER => 16,
            id if id > 15 => return Err(self.fault(FaultKind::Barrier, lane, format!("barrier {id}: there are 16"))),
            id => id,
        };
        let expected = threads.map(|threads| self.get32(program, threads)[lane as usize]);
        let here = self.pc - 1;
        if shared.barriers.len() <= id as usize {
            shared.barriers.resize(id as usize + 1, BarrierState::default());
        }
        let state = &mut shared.barriers[id as usize];
        if let Some(expected) = expected {
            if expected == 0 || expected % 32 != 0 || expected > launch.threads_per_block().next_multiple_of(32) {
                let why = format!("a barrier of {expected} threads: not a multiple of 32 within the block");
                return Err(self.fault(FaultKind::Barrier, lane, why));
            }
            if state.expected.is_some_and(|before| before != expected) {
                let why = format!("a barrier of {expected} threads, which others call with another number");
                return Err(self.fault(FaultKind::Barrier, lane, why));
            }
            state.expected = Some(expected);
        } else if state.expected.is_some() {
            let why = "a barrier of the whole block, which others call with a number of threads";
            return Err(self.fault(FaultKind::Barrier, lane, why));
        } else if let Some(other) = state.waiting.iter().find(|waiting| waiting.1 != here) {
            let line = program.steps[other.1 as usize].line;
            let why = format!("other threads of the block wait at the barrier of line {line}");
            return Err(self.fault(FaultKind::Barrier, lane, why));
        }
        // An aligned barrier with a number of threads counts whole warps.
        state.arrived += if expected.is_some() && *aligned { 32 } else { all.count_ones() };
        if state.lanes.len() <= self.index as usize {
            state.lanes.resize(self.index as usize + 1, 0);
        }
        let again = state.lanes[self.index as usize] & all;
        if again != 0 {
            let why = format!("arrives at barrier {id} again, which still waits for others");
            return Err(self.fault(FaultKind::Barrier, again.trailing_zeros(), why));
        }
        state.lanes[self.index as usize] |= all;
        if to.is_some() {
            let from = self.predicate(program, *from);
            let from = if *negated { !from } else { from };
            state.trues += (from & all).count_ones();
            state.voters += all.count_ones();
        }
        if *kind != Barrier::Arrive {
            state.waiting.push((self.index, here, all));
            self.waiting.push(Waiting { pc: here, mask: all, barrier: true });
            self.mask &= !all;
        }
        if let (Some(expected), Some(order)) = (state.expected, &self.order) {
            order.arrive(&mut state.meeting, shared.clock as u32, shared.fence as u32, launch.warps_per_block());
            // What the warp does behind an arrival is not covered.
            shared.clock += 1;
            // Exactly so many make it complete: who comes later is of the next time.
            if state.arrived == expected {
                shared.complete.push(std::mem::take(state));
            } else if state.arrived > expected {
                let why = format!("{} threads have come to a barrier of {expected}", state.arrived);
                return Err(self.fault(FaultKind::Barrier, lane, why));
            }
        }
        Ok(())
    }

    fn fragment(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::Fragment { memory, access, stride, store, registers } = op else { return Ok(()) };
        if !self.whole_warp(mask)? {
            return Ok(());
        }
        let mask = FULL;
        let program = launch.program;
        let fragment = memory.fragment;
        let stride = self.get32(program, *stride);
        let bases = self.addresses(launch, access.address, access.offset);
        let size = fragment.elem.bytes() as u8;
        if let Some(lane) = (0..32).find(|&lane| bases[lane] != bases[0] || stride[lane] != stride[0]) {
            return Err(self.fault(
                FaultKind::WarpSync,
                lane as u32,
                "address and stride must be the same in all lanes",
            ));
        }
        let mut values: Vec<Register> = match store {
            true => registers.iter().map(|&place| self.get(program, place)).collect(),
            false => vec![[0; 32]; registers.len()],
        };
        let access = Access { size, count: 1, strength: Strength::Plain, ..*access };
        for element in 0..fragment.elements() {
            let mut addresses = bases;
            for (lane, address) in addresses.iter_mut().enumerate() {
                let offset = memory.offset(lane, element, stride[lane] as usize);
                *address = address.wrapping_add((offset * usize::from(size)) as u64);
            }
            if *store {
                let mut elements = [[0; 32]; 4];
                for lane in 0..32 {
                    elements[0][lane] = fragment.get(&values, lane, element);
                }
                self.write(shared, launch, access, mask, addresses, &elements)?;
            } else {
                let mut elements = [[0; 32]; 4];
                self.read(shared, launch, access, mask, addresses, &mut elements)?;
                for lane in 0..32 {
                    fragment.set(&mut values, lane, element, elements[0][lane]);
                }
            }
        }
        if !store {
            for (place, values) in registers.iter().zip(values) {
                self.put(*place, FULL, values);
            }
        }
        Ok(())
    }

    fn move_matrix(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::MoveMatrix { moves, access, store, registers } = op else { return Ok(()) };
        if !self.whole_warp(mask)? {
            return Ok(());
        }
        let mask = FULL;
        let program = launch.program;
        let rows = self.addresses(launch, access.address, access.offset);
        for lane in 0..moves.address_lanes() {
            if rows[lane] % 16 != 0 {
                let why = format!("a row at {:#x}, which is no multiple of 16 bytes", rows[lane]);
                return Err(self.fault(FaultKind::Misaligned, lane as u32, why));
            }
        }
        let access = Access { size: 2, count: 1, strength: Strength::Plain, ..*access };
        for (register, place) in registers.iter().enumerate() {
            let mut values = if *store { self.get(program, *place) } else { [0; 32] };
            for half in 0..2 {
                let mut addresses = [0; 32];
                for (lane, address) in addresses.iter_mut().enumerate() {
                    let from = moves.halves(lane, register)[half];
                    *address = rows[from.lane].wrapping_add(from.offset as u64);
                }
                if *store {
                    let mut elements = [[0; 32]; 4];
                    elements[0] = values.map(|value| value >> (16 * half) & 0xFFFF);
                    self.write(shared, launch, access, mask, addresses, &elements)?;
                } else {
                    let mut elements = [[0; 32]; 4];
                    self.read(shared, launch, access, mask, addresses, &mut elements)?;
                    for lane in 0..32 {
                        values[lane] |= elements[0][lane] << (16 * half);
                    }
                }
            }
            if !store {
                debug_assert_eq!(place.kind, Kind::B32);
                self.put(*place, FULL, values);
            }
        }
        Ok(())
    }
}

fn reduce(how: Reduce, a: u32, b: u32) -> u32 {
    match how {
        Reduce::Add => a.wrapping_add(b),
        Reduce::MinU => a.min(b),
        Reduce::MaxU => a.max(b),
        Reduce::MinS => (a as i32).min(b as i32) as u32,
        Reduce::MaxS => (a as i32).max(b as i32) as u32,
        Reduce::And => a & b,
        Reduce::Or => a | b,
        Reduce::Xor => a ^ b,
    }
}
