//! `cp.async`: copies that are done when somebody waits for them.

use crate::access::lanes;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Shared};
use crate::ledger::Touch;
use crate::order::Scope;
use crate::program::{Access, Kind, Op, Place, Strength};
use crate::ptx::Space;
use crate::warp::{Copy, Warp};

/// An access that orders nothing; the rest of it is replaced.
pub(crate) const PLAIN: Access = Access {
    space: Space::Generic,
    size: 4,
    count: 1,
    address: Place { kind: Kind::B64, slot: 0 },
    offset: 0,
    strength: Strength::Plain,
    scope: Scope::Block,
};

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    /// Notes copies that `cp.async` begins; they are done when somebody waits for them, as late as a device may. Since
    /// a device may also do them at once, they read and write now as far as races go.
    pub(crate) fn begin_copies(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::CopyAsync { to, to_offset, from, from_offset, size, read } = op else { return Ok(()) };
        let to = self.addresses(launch, *to, *to_offset);
        let from = self.addresses(launch, *from, *from_offset);
        let read = read.map_or([u32::from(*size); 32], |slot| self.get32(launch.program, slot));
        for lane in lanes(mask) {
            let to = Self::shared_offset(to[lane]);
            let copy =
                Copy { to, from: from[lane], size: *size, read: read[lane].min((*size).into()) as u8, pc: self.pc };
            self.watch_copy(shared, launch, lane, copy)?;
            let group = self.copy_groups[lane];
            match self.copies.iter_mut().find(|(key, _)| *key == (group << 5 | lane as u32)) {
                Some((_, copies)) => copies.push(copy),
                None => self.copies.push((group << 5 | lane as u32, vec![copy])),
            }
        }
        Ok(())
    }

    /// Looks for races of a copy that begins, and keeps others away from where it goes.
    fn watch_copy(&mut self, shared: &mut Shared, launch: &Launch<'_>, lane: usize, copy: Copy) -> Result<()> {
        let bytes = u64::from(copy.size);
        self.in_shared(shared, lane, copy.to, bytes, "writes")?;
        if copy.read > 0 {
            if copy.from % bytes != 0 {
                return Err(self.misaligned(lane as u32, copy.from, bytes, "reads"));
            }
            let size = if copy.read % 4 == 0 { 4 } else { 1 };
            for at in (0..copy.read).step_by(size.into()) {
                let access = Access { size, ..PLAIN };
                self.read(shared, launch, access, 1 << lane, [copy.from + u64::from(at); 32])?;
            }
        }
        let observer = self.observer(shared, launch, true);
        if launch.checks.race && observer.watches() {
            let granule = launch.program.shared_granule;
            for at in (copy.to..copy.to + bytes).step_by(4) {
                if let Some(by) = observer.lane(lane as u32) {
                    let region = &shared.memory;
                    self.touch(&by, region, granule, at, 4, Touch::Write, &|| true, || ())?;
                    continue;
                }
                let shadow = self.shadow(&shared.memory, granule)?;
                let stamp = observer.stamp(self.index * 32 + lane as u32);
                for cell in at / u64::from(granule)..(at + 4) / u64::from(granule) {
                    observer
                        .write(shadow, cell as usize, stamp, || true)
                        .map_err(|race| self.raced(lane as u32, race, "writes", &shared.memory, copy.to, bytes))?;
                }
            }
        }
        let line = launch.program.steps[copy.pc as usize - 1].line;
        shared.guard(copy.to, bytes, (line, self.thread(lane as u32) + 1));
        Ok(())
    }

    /// Fails where a copy is under way: until somebody has waited for it, the place is the copy's alone.
    #[inline(always)]
    pub(crate) fn no_copy(&self, shared: &Shared, lane: usize, address: u64, bytes: u64, what: &str) -> Result<()> {
        if shared.copies == 0 && shared.sources.is_empty() {
            return Ok(());
        }
        let place = || {
            format!("{what} {bytes} bytes at byte {address} of {} of {} bytes", shared.memory.what, shared.memory.len)
        };
        for word in address / 4..(address + bytes).div_ceil(4) {
            if let Some(&(line, thread)) = shared.copying.get(word as usize).filter(|(_, thread)| *thread > 0) {
                if thread == u32::MAX {
                    let why = format!("{}, where the mbarrier of line {line} is", place());
                    return Err(self.fault(FaultKind::Mbarrier, lane as u32, why));
                }
                let why = format!(
                    "{}, where the cp.async of thread {} at line {line} is under way: nobody has waited for it",
                    place(),
                    thread - 1,
                );
                return Err(self.fault(FaultKind::Race, lane as u32, why));
            }
        }
        let overlaps = |&&(at, len, _, _): &&(u64, u64, u32, u32)| address < at + len && at < address + bytes;
        if let Some((_, _, line, thread)) = shared.sources.iter().find(overlaps).filter(|_| what != "reads") {
            let why = format!(
                "{}, which the cp.async.bulk of thread {thread} at line {line} still reads: nobody has waited for it",
                place()
            );
            return Err(self.fault(FaultKind::Race, lane as u32, why));
        }
        Ok(())
    }

    /// Does the copies of all groups but the last `left` closed ones; of the open one too when `None`.
    pub(crate) fn finish_copies(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        left: Option<u32>,
        mask: u32,
    ) -> Result<()> {
        let groups = self.copy_groups;
        let due = |key: u32| {
            let (group, lane) = (key >> 5, key & 31);
            mask >> lane & 1 == 1 && left.is_none_or(|left| group.saturating_add(left) < groups[lane as usize])
        };
        let (now, later): (Vec<_>, Vec<_>) = self.copies.drain(..).partition(|(key, _)| due(*key));
        self.copies = later;
        let here = self.pc;
        for (key, copies) in now {
            let lane = (key & 31) as usize;
            for copy in copies {
                // Faults name the instruction that began the copy.
                self.pc = copy.pc;
                self.copy_one(shared, launch, lane, copy)?;
            }
        }
        self.pc = here;
        Ok(())
    }

    fn copy_one(&mut self, shared: &mut Shared, launch: &Launch<'_>, lane: usize, copy: Copy) -> Result<()> {
        shared.unguard(copy.to, copy.size.into());
        let unit = copy.size.min(8);
        let mut access = PLAIN;
        let mut at = 0;
        while at < copy.size {
            let mut values = [[0; 32]; 4];
            // What is not read becomes zero.
            for byte in at..(at + 4).min(copy.read) {
                access.space = Space::Generic;
                access.size = 1;
                let part = self.read(shared, launch, access, 1 << lane, [copy.from + u64::from(byte); 32])?;
                values[0][lane] |= part[0][lane] << (8 * (byte - at));
            }
            access.space = Space::Shared;
            access.size = 4.min(unit);
            self.write(shared, launch, access, 1 << lane, [copy.to + u64::from(at); 32], &values)?;
            at += 4;
        }
        Ok(())
    }
}
