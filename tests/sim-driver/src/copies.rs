//! `cp.async`: copies that are done when somebody waits for them.

use crate::access::lanes;
use crate::fault::Fault;
use crate::launch::{Launch, SHARED_WINDOW, Shared, WINDOW};
use crate::program::{Access, Kind, Op, Place, Strength};
use crate::ptx::Space;
use crate::warp::{Copy, Warp};

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    /// Notes copies that `cp.async` begins; they are done when somebody waits for them, as late as a device may.
    pub(crate) fn begin_copies(&mut self, launch: &Launch<'_>, op: &Op, mask: u32) {
        let Op::CopyAsync { to, to_offset, from, from_offset, size, read } = op else { return };
        let to = self.addresses(launch, *to, *to_offset);
        let from = self.addresses(launch, *from, *from_offset);
        let read = read.map_or([u32::from(*size); 32], |slot| self.get32(launch.program, slot));
        for lane in lanes(mask) {
            let to = if to[lane].wrapping_sub(SHARED_WINDOW) < WINDOW { to[lane] - SHARED_WINDOW } else { to[lane] };
            let copy =
                Copy { to, from: from[lane], size: *size, read: read[lane].min((*size).into()) as u8, pc: self.pc };
            let group = self.copy_groups[lane];
            match self.copies.iter_mut().find(|(key, _)| *key == (group << 5 | lane as u32)) {
                Some((_, copies)) => copies.push(copy),
                None => self.copies.push((group << 5 | lane as u32, vec![copy])),
            }
        }
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
            mask >> lane & 1 == 1 && left.is_none_or(|left| group + left < groups[lane as usize])
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
        let bytes = u64::from(copy.size);
        for (address, what) in [(copy.from, "reads"), (copy.to, "writes")] {
            if address % bytes != 0 {
                return Err(self.misaligned(lane as u32, address, bytes, what));
            }
        }
        let address = Place { kind: Kind::B64, slot: 0 };
        let unit = copy.size.min(8);
        let mut access =
            Access { space: Space::Global, size: 4, count: 1, address, offset: 0, strength: Strength::Plain };
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
