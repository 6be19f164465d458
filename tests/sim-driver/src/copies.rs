//! `cp.async`: copies that are done when somebody waits for them.

use crate::access::{Elements, lanes};
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Shared};
use crate::ledger::Touch;
use crate::order::Scope;
use crate::program::{Access, Kind, Op, Place, Strength};
use crate::ptx::Space;
use crate::warp::Warp;

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

/// What one `cp.async` has begun.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    /// Lanes whose copies are under way.
    mask: u32,
    /// The group of each lane's copy.
    groups: [u32; 32],
    to: [u64; 32],
    from: [u64; 32],
    /// Bytes that are read; the rest of them becomes zero.
    read: [u8; 32],
    size: u8,
    pc: u32,
}

impl Copies {
    /// Bytes that go at once.
    fn unit(&self) -> u8 {
        self.size.min(8)
    }
}

impl Warp {
    /// Notes copies that `cp.async` begins; they are done when somebody waits for them, as late as a device may. Since
    /// a device may also do them at once, they read and write now as far as races go.
    pub(crate) fn begin_copies(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::CopyAsync { to, to_offset, from, from_offset, size, read } = op else { return Ok(()) };
        let to = self.addresses(launch, *to, *to_offset).map(Self::shared_offset);
        let from = self.addresses(launch, *from, *from_offset);
        let read = read.map_or([u32::from(*size); 32], |slot| self.get32(launch.program, slot));
        let read = read.map(|bytes| bytes.min((*size).into()) as u8);
        let copies = Copies { mask, groups: self.copy_groups, to, from, read, size: *size, pc: self.pc };
        self.watch_copies(shared, launch, &copies)?;
        self.copies.push(copies);
        Ok(())
    }

    /// Looks for races of copies that begin, and keeps others away from where they go.
    fn watch_copies(&mut self, shared: &mut Shared, launch: &Launch<'_>, copies: &Copies) -> Result<()> {
        let bytes = u64::from(copies.size);
        for lane in lanes(copies.mask) {
            self.in_shared(shared, lane, copies.to[lane], bytes, "writes")?;
        }
        self.sources(shared, launch, copies, copies.mask)?;
        let observer = self.observer(shared, launch, true);
        if launch.checks.race && observer.watches() {
            let (region, granule, unit) = (&shared.memory, launch.program.shared_granule, copies.unit());
            for lane in lanes(copies.mask) {
                let to = copies.to[lane];
                if let Some(by) = observer.lane(lane as u32) {
                    for at in (to..to + bytes).step_by(unit.into()) {
                        self.touch(&by, region, granule, at, unit, Touch::Write, &|| true, || ())?;
                    }
                    continue;
                }
                let shadow = self.shadow(region, granule)?;
                let stamp = observer.stamp(self.index * 32 + lane as u32);
                for cell in to / u64::from(granule)..(to + bytes) / u64::from(granule) {
                    observer
                        .write(shadow, cell as usize, stamp, || true)
                        .map_err(|race| self.raced(lane as u32, race, "writes", region, to, bytes))?;
                }
            }
        }
        let line = launch.program.steps[copies.pc as usize - 1].line;
        for lane in lanes(copies.mask) {
            shared.guard(copies.to[lane], bytes, (line, self.thread(lane as u32) + 1));
        }
        Ok(())
    }

    /// What copies bring, in pieces of their unit; what is not read is zero.
    fn sources(&mut self, shared: &mut Shared, launch: &Launch<'_>, copies: &Copies, mask: u32) -> Result<Elements> {
        let (bytes, unit) = (u64::from(copies.size), copies.unit());
        for lane in lanes(mask).filter(|&lane| copies.read[lane] > 0) {
            if copies.from[lane] % bytes != 0 {
                return Err(self.misaligned(lane as u32, copies.from[lane], bytes, "reads"));
            }
        }
        let whole = lanes(mask).filter(|&lane| copies.read[lane] == copies.size).fold(0, |all, lane| all | 1 << lane);
        let access = Access { size: unit, count: copies.size / unit, ..PLAIN };
        let mut values = [[0; 32]; 4];
        if whole != 0 {
            self.read(shared, launch, access, whole, copies.from, &mut values)?;
        }
        for lane in lanes(mask & !whole) {
            let read = copies.read[lane];
            let size = if read % 4 == 0 { 4 } else { 1 };
            for at in (0..read).step_by(size.into()) {
                let access = Access { size, ..PLAIN };
                let (from, mut part) = ([copies.from[lane] + u64::from(at); 32], [[0; 32]; 4]);
                self.read(shared, launch, access, 1 << lane, from, &mut part)?;
                values[usize::from(at / unit)][lane] |= part[0][lane] << (8 * (at % unit));
            }
        }
        Ok(values)
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
        let here = self.pc;
        for mut copies in std::mem::take(&mut self.copies) {
            let is_due = |&lane: &usize| {
                left.is_none_or(|left| copies.groups[lane].saturating_add(left) < self.copy_groups[lane])
            };
            let due = lanes(mask & copies.mask).filter(is_due).fold(0, |all, lane| all | 1 << lane);
            if due != 0 {
                // Faults name the instruction that began the copy.
                self.pc = copies.pc;
                self.copy(shared, launch, &copies, due)?;
            }
            copies.mask &= !due;
            if copies.mask != 0 {
                self.copies.push(copies);
            }
        }
        self.pc = here;
        Ok(())
    }

    fn copy(&mut self, shared: &mut Shared, launch: &Launch<'_>, copies: &Copies, mask: u32) -> Result<()> {
        for lane in lanes(mask) {
            shared.unguard(copies.to[lane], copies.size.into());
        }
        let values = self.sources(shared, launch, copies, mask)?;
        let unit = copies.unit();
        let access = Access { space: Space::Shared, size: unit, count: copies.size / unit, ..PLAIN };
        self.write(shared, launch, access, mask, copies.to, &values)
    }
}
