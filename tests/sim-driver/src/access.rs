//! Loads, stores, atomics and asynchronous copies of a warp.

use crate::fault::{Fault, FaultKind};
use crate::launch::{LOCAL_WINDOW, Launch, PARAMETER_WINDOW, SHARED_WINDOW, Shared, WINDOW};
use crate::program::{Access, Atomic, Kind, Op, Place, Strength};
use crate::ptx::Space;
use crate::race::{Observer, Other, Race};
use crate::region::Region;
use crate::warp::{Copy, Warp};

type Result<T> = std::result::Result<T, Fault>;

/// The lanes of a mask.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    std::iter::successors((mask != 0).then_some(mask), |mask| Some(mask & (mask - 1)).filter(|&m| m != 0))
        .map(|mask| mask.trailing_zeros() as usize)
}

/// The elements of a vector, by lane.
pub(crate) type Elements = [[u64; 32]; 4];

fn extend(value: u64, size: u8, signed: bool) -> u64 {
    let unused = 64 - 8 * u32::from(size);
    if signed { ((value << unused) as i64 >> unused) as u64 } else { value }
}

impl Warp {
    fn observer<'a>(&'a self, shared: &'a Shared, launch: &Launch<'_>, in_shared: bool) -> Observer<'a> {
        Observer {
            first: launch.first_block,
            block: launch.first_block + shared.block,
            many: launch.first_block + launch.blocks,
            clock: shared.clock,
            fence: shared.fence,
            warp_fence: self.fence,
            warp: self.index,
            seen: &self.seen,
            acquired: &shared.acquired,
            shared: in_shared,
        }
    }

    #[inline(always)]
    pub(crate) fn addresses(&self, launch: &Launch<'_>, address: Place, offset: i64) -> [u64; 32] {
        if address.kind == Kind::B64 {
            let base = self.get64(launch.program, address.slot);
            base.map(|base| base.wrapping_add(offset as u64))
        } else {
            let base = self.get32(launch.program, address.slot);
            base.map(|base| u64::from(base.wrapping_add(offset as u32)))
        }
    }

    /// Splits generic addresses by the window that they point into, and calls `go` for each space.
    fn each_space(
        &mut self,
        space: Space,
        mask: u32,
        mut addresses: [u64; 32],
        mut go: impl FnMut(&mut Self, Space, u32, &[u64; 32]) -> Result<()>,
    ) -> Result<()> {
        if space != Space::Generic {
            return go(self, space, mask, &addresses);
        }
        let mut rest = mask;
        for (window, space) in
            [(SHARED_WINDOW, Space::Shared), (LOCAL_WINDOW, Space::Local), (PARAMETER_WINDOW, Space::Param)]
        {
            let mut here = 0;
            for lane in lanes(rest) {
                if addresses[lane].wrapping_sub(window) < WINDOW {
                    here |= 1 << lane;
                    addresses[lane] -= window;
                }
            }
            rest &= !here;
            if here != 0 {
                go(self, space, here, &addresses)?;
            }
        }
        if rest != 0 { go(self, Space::Global, rest, &addresses) } else { Ok(()) }
    }

    fn raced(&self, lane: u32, race: Race, what: &str, region: &Region, offset: u64, bytes: u64) -> Fault {
        let other = match race.other {
            Other::Thread(thread) => format!("thread {thread} of the same block"),
            Other::SeveralThreads => "several threads of the same block".to_owned(),
            Other::Block(block) => format!("block {block} of the same launch"),
            Other::SeveralBlocks => "several blocks of the same launch".to_owned(),
        };
        let did = if race.wrote { "wrote" } else { "read" };
        let why = format!(
            "{what} {bytes} bytes at byte {offset} of {} of {} bytes, which {other} {did} without anything that orders the two",
            region.what, region.len
        );
        self.fault(FaultKind::Race, lane, why)
    }

    fn misaligned(&self, lane: u32, address: u64, bytes: u64, what: &str) -> Fault {
        self.fault(FaultKind::Misaligned, lane, format!("{what} {bytes} bytes at {address:#x}, which is no multiple"))
    }

    /// The region of a lane's access in device memory.
    fn region(&mut self, launch: &Launch<'_>, lane: usize, address: u64, bytes: u64, what: &str) -> Result<usize> {
        let live = &launch.memories.live;
        if address % bytes.next_power_of_two().min(16) != 0 {
            return Err(self.misaligned(lane as u32, address, bytes, what));
        }
        if live.get(self.region).is_some_and(|region| region.holds(address, bytes)) {
            return Ok(self.region);
        }
        let found = launch.memories.find(address).filter(|&i| {
            let region = &live[i];
            region.holds(address, bytes) && (region.device == launch.device || region.device == usize::MAX)
        });
        if let Some(i) = found {
            self.region = i;
            Ok(i)
        } else {
            let (kind, why) = launch.memories.explain(address, bytes, what);
            Err(self.fault(kind, lane as u32, why))
        }
    }

    /// Reads the elements of each lane.
    pub(crate) fn read(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: [u64; 32],
    ) -> Result<Elements> {
        let mut out = [[0; 32]; 4];
        self.each_space(access.space, mask, addresses, |warp, space, mask, addresses| match space {
            Space::Shared => warp.read_shared(shared, launch, access, mask, addresses, &mut out),
            Space::Local => warp.read_local(access, mask, addresses, &mut out),
            Space::Param => warp.read_parameters(launch, access, mask, addresses, &mut out),
            _ => warp.read_global(shared, launch, access, mask, addresses, &mut out),
        })?;
        Ok(out)
    }

    /// Writes the elements of each lane.
    pub(crate) fn write(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: [u64; 32],
        values: &Elements,
    ) -> Result<()> {
        self.each_space(access.space, mask, addresses, |warp, space, mask, addresses| match space {
            Space::Shared => warp.write_shared(shared, launch, access, mask, addresses, values),
            Space::Local => warp.write_local(access, mask, addresses, values),
            Space::Param => Err(warp.fault(FaultKind::OutOfBounds, mask.trailing_zeros(), "writes to a parameter")),
            _ => warp.write_global(shared, launch, access, mask, addresses, values),
        })
    }

    fn read_global(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        self.by_region(launch, access, mask, addresses, "reads", |warp, region, mask, offsets| {
            let granule = launch.program.global_granule;
            let observer = warp.observer(shared, launch, false);
            match access.size {
                1 => warp.read_lanes::<1>(launch, access, &observer, region, granule, mask, offsets, out)?,
                2 => warp.read_lanes::<2>(launch, access, &observer, region, granule, mask, offsets, out)?,
                4 => warp.read_lanes::<4>(launch, access, &observer, region, granule, mask, offsets, out)?,
                _ => warp.read_lanes::<8>(launch, access, &observer, region, granule, mask, offsets, out)?,
            }
            if access.strength.is_atomic() {
                for lane in lanes(mask) {
                    warp.after_strong_read(shared, launch, region.start + offsets[lane], access.strength);
                }
            }
            Ok(())
        })
    }

    /// Calls `go` with offsets inside of a region: once for all lanes where that is possible, else lane by lane.
    #[inline(always)]
    fn by_region(
        &mut self,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        what: &str,
        mut go: impl FnMut(&mut Self, &Region, u32, &[u64; 32]) -> Result<()>,
    ) -> Result<()> {
        let bytes = u64::from(access.size) * u64::from(access.count);
        let first = mask.trailing_zeros() as usize;
        let index = self.region(launch, first, addresses[first], bytes, what)?;
        let region = &*launch.memories.live[index];
        let offsets = addresses.map(|address| address.wrapping_sub(region.start));
        // The alignment of a vector is its size, which is a power of two.
        let (last, odd) = (region.len - bytes, bytes - 1);
        let mut outside = 0u32;
        for i in 0..32 {
            outside |= u32::from(offsets[i] > last || addresses[i] & odd != 0) << i;
        }
        if outside & mask == 0 {
            return go(self, region, mask, &offsets);
        }
        for lane in lanes(mask) {
            let index = self.region(launch, lane, addresses[lane], bytes, what)?;
            let region = &*launch.memories.live[index];
            let offsets = [addresses[lane].wrapping_sub(region.start); 32];
            go(self, region, 1 << lane, &offsets)?;
        }
        Ok(())
    }

    /// Reads at offsets that have been checked.
    #[inline(always)]
    fn read_lanes<const SIZE: u8>(
        &self,
        launch: &Launch<'_>,
        access: Access,
        observer: &Observer<'_>,
        region: &Region,
        granule: u8,
        mask: u32,
        offsets: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        let shadow = region.shadow(granule);
        let watch = launch.checks.race && observer.watches();
        let cells = usize::from((SIZE / granule).max(1));
        let shift = granule.trailing_zeros();
        let base = observer.stamp(self.index * 32, access.strength.is_atomic());
        for (element, values) in out.iter_mut().enumerate().take(access.count.into()) {
            let add = element as u64 * u64::from(SIZE);
            let mut rest = mask;
            while rest != 0 {
                let lane = rest.trailing_zeros();
                rest &= rest - 1;
                let offset = offsets[lane as usize] + add;
                if launch.checks.unwritten && !region.is_written(offset, SIZE) {
                    return Err(self.unwritten(lane, region, offset, SIZE));
                }
                if watch {
                    for cell in 0..cells {
                        observer
                            .read(shadow, (offset >> shift) as usize + cell, base + u64::from(lane))
                            .map_err(|race| self.raced(lane, race, "reads", region, offset, SIZE.into()))?;
                    }
                }
                values[lane as usize] = region.load(offset, SIZE);
            }
        }
        Ok(())
    }

    /// Writes at offsets that have been checked.
    #[inline(always)]
    fn write_lanes<const SIZE: u8>(
        &self,
        launch: &Launch<'_>,
        access: Access,
        observer: &Observer<'_>,
        region: &Region,
        granule: u8,
        mask: u32,
        offsets: &[u64; 32],
        values: &Elements,
    ) -> Result<()> {
        let shadow = region.shadow(granule);
        let watch = launch.checks.race && observer.watches();
        let cells = usize::from((SIZE / granule).max(1));
        let shift = granule.trailing_zeros();
        let base = observer.stamp(self.index * 32, access.strength.is_atomic());
        for (element, values) in values.iter().enumerate().take(access.count.into()) {
            let add = element as u64 * u64::from(SIZE);
            let mut rest = mask;
            while rest != 0 {
                let lane = rest.trailing_zeros();
                rest &= rest - 1;
                let offset = offsets[lane as usize] + add;
                let value = values[lane as usize];
                if watch {
                    let changes = || differs(region, offset, SIZE, value);
                    for cell in 0..cells {
                        observer
                            .write(shadow, (offset >> shift) as usize + cell, base + u64::from(lane), changes)
                            .map_err(|race| self.raced(lane, race, "writes", region, offset, SIZE.into()))?;
                    }
                }
                region.store(offset, SIZE, value);
                region.mark_written(offset, SIZE);
            }
        }
        Ok(())
    }

    fn unwritten(&self, lane: u32, region: &Region, offset: u64, size: u8) -> Fault {
        let why = format!("reads {size} bytes at byte {offset} of {} of {} bytes", region.what, region.len);
        self.fault(FaultKind::Unwritten, lane, why)
    }

    fn write_global(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        values: &Elements,
    ) -> Result<()> {
        self.by_region(launch, access, mask, addresses, "writes", |warp, region, mask, offsets| {
            if access.strength.is_atomic() {
                for lane in lanes(mask) {
                    warp.before_strong_write(shared, launch, region.start + offsets[lane], access.strength);
                }
            }
            let granule = launch.program.global_granule;
            let observer = warp.observer(shared, launch, false);
            match access.size {
                1 => warp.write_lanes::<1>(launch, access, &observer, region, granule, mask, offsets, values),
                2 => warp.write_lanes::<2>(launch, access, &observer, region, granule, mask, offsets, values),
                4 => warp.write_lanes::<4>(launch, access, &observer, region, granule, mask, offsets, values),
                _ => warp.write_lanes::<8>(launch, access, &observer, region, granule, mask, offsets, values),
            }
        })
    }

    /// Where in shared memory an access goes.
    #[inline(always)]
    fn in_shared(&self, shared: &Shared, lane: usize, address: u64, bytes: u64, what: &str) -> Result<()> {
        if address % bytes.next_power_of_two().min(16) != 0 {
            return Err(self.misaligned(lane as u32, address, bytes, what));
        }
        if address.saturating_add(bytes) > shared.bytes {
            let why = format!(
                "{what} {bytes} bytes at byte {address} of shared memory, of which the launch has {} bytes",
                shared.bytes
            );
            return Err(self.fault(FaultKind::OutOfBounds, lane as u32, why));
        }
        Ok(())
    }

    fn read_shared(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        self.all_in_shared(shared, access, mask, addresses, "reads")?;
        let granule = launch.program.shared_granule;
        let observer = self.observer(shared, launch, true);
        let region = &shared.memory;
        match access.size {
            1 => self.read_lanes::<1>(launch, access, &observer, region, granule, mask, addresses, out)?,
            2 => self.read_lanes::<2>(launch, access, &observer, region, granule, mask, addresses, out)?,
            4 => self.read_lanes::<4>(launch, access, &observer, region, granule, mask, addresses, out)?,
            _ => self.read_lanes::<8>(launch, access, &observer, region, granule, mask, addresses, out)?,
        }
        if access.strength.is_atomic() {
            for lane in lanes(mask) {
                self.after_strong_read(shared, launch, SHARED_WINDOW + addresses[lane], access.strength);
            }
        }
        Ok(())
    }

    fn write_shared(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        values: &Elements,
    ) -> Result<()> {
        self.all_in_shared(shared, access, mask, addresses, "writes")?;
        if access.strength.is_atomic() {
            for lane in lanes(mask) {
                self.before_strong_write(shared, launch, SHARED_WINDOW + addresses[lane], access.strength);
            }
        }
        let granule = launch.program.shared_granule;
        let observer = self.observer(shared, launch, true);
        let region = &shared.memory;
        match access.size {
            1 => self.write_lanes::<1>(launch, access, &observer, region, granule, mask, addresses, values),
            2 => self.write_lanes::<2>(launch, access, &observer, region, granule, mask, addresses, values),
            4 => self.write_lanes::<4>(launch, access, &observer, region, granule, mask, addresses, values),
            _ => self.write_lanes::<8>(launch, access, &observer, region, granule, mask, addresses, values),
        }
    }

    /// Checks the addresses of all lanes; the first bad one is named.
    #[inline(always)]
    fn all_in_shared(
        &self,
        shared: &Shared,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        what: &str,
    ) -> Result<()> {
        let bytes = u64::from(access.size) * u64::from(access.count);
        let odd = bytes - 1;
        let mut outside = 0u32;
        for i in 0..32 {
            outside |= u32::from(addresses[i].saturating_add(bytes) > shared.bytes || addresses[i] & odd != 0) << i;
        }
        for lane in lanes(outside & mask) {
            self.in_shared(shared, lane, addresses[lane], bytes, what)?;
        }
        Ok(())
    }

    /// Place of a thread's own byte in the memory of the warp.
    fn in_local(&self, lane: usize, address: u64, bytes: u64, what: &str) -> Result<usize> {
        let all = self.local.len() / 32;
        if address % bytes.next_power_of_two().min(16) != 0 {
            return Err(self.misaligned(lane as u32, address, bytes, what));
        }
        if address.saturating_add(bytes) > all as u64 {
            let why = format!("{what} {bytes} bytes at byte {address} of the thread's own memory of {all} bytes");
            return Err(self.fault(FaultKind::OutOfBounds, lane as u32, why));
        }
        Ok(lane * all + address as usize)
    }

    /// Not checked for being written: compilers move such loads to places where their value is not used.
    fn read_local(&mut self, access: Access, mask: u32, addresses: &[u64; 32], out: &mut Elements) -> Result<()> {
        let (size, count) = (usize::from(access.size), usize::from(access.count));
        for lane in lanes(mask) {
            let start = self.in_local(lane, addresses[lane], (size * count) as u64, "reads")?;
            for (element, values) in out.iter_mut().enumerate().take(count) {
                let range = start + element * size..start + (element + 1) * size;
                let mut bytes = [0; 8];
                bytes[..size].copy_from_slice(&self.local[range]);
                values[lane] = u64::from_le_bytes(bytes);
            }
        }
        Ok(())
    }

    fn write_local(&mut self, access: Access, mask: u32, addresses: &[u64; 32], values: &Elements) -> Result<()> {
        let (size, count) = (usize::from(access.size), usize::from(access.count));
        for lane in lanes(mask) {
            let start = self.in_local(lane, addresses[lane], (size * count) as u64, "writes")?;
            for (element, values) in values.iter().enumerate().take(count) {
                let range = start + element * size..start + (element + 1) * size;
                self.local[range].copy_from_slice(&values[lane].to_le_bytes()[..size]);
            }
        }
        Ok(())
    }

    fn read_parameters(
        &mut self,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        let (size, count) = (usize::from(access.size), usize::from(access.count));
        for lane in lanes(mask) {
            for (element, values) in out.iter_mut().enumerate().take(count) {
                let start = addresses[lane] as usize + element * size;
                let Some(found) = launch.parameters.get(start..start.saturating_add(size)) else {
                    let all = launch.parameters.len();
                    let why = format!("reads {size} bytes at byte {start} of {all} bytes of parameters");
                    return Err(self.fault(FaultKind::OutOfBounds, lane as u32, why));
                };
                let mut bytes = [0; 8];
                bytes[..size].copy_from_slice(found);
                values[lane] = u64::from_le_bytes(bytes);
            }
        }
        Ok(())
    }

    pub(crate) fn load(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        signed: bool,
        to: &[Place; 4],
        mask: u32,
    ) -> Result<()> {
        let addresses = self.addresses(launch, access.address, access.offset);
        let mut values = self.read(shared, launch, access, mask, addresses)?;
        for (place, values) in to.iter().zip(&mut values).take(access.count.into()) {
            if signed {
                *values = values.map(|value| extend(value, access.size, true));
            }
            self.put(*place, mask, *values);
        }
        Ok(())
    }

    pub(crate) fn store(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        from: &[Place; 4],
        mask: u32,
    ) -> Result<()> {
        let addresses = self.addresses(launch, access.address, access.offset);
        let mut values = [[0; 32]; 4];
        for (place, values) in from.iter().zip(&mut values).take(access.count.into()) {
            *values = self.get(launch.program, *place);
        }
        self.write(shared, launch, access, mask, addresses, &values)
    }

    /// A strong read, or the reading half of an atomic: what the writer released may be taken over.
    fn after_strong_read(&mut self, shared: &mut Shared, launch: &Launch<'_>, address: u64, strength: Strength) {
        if let Some(clocks) = shared.published.get(&address) {
            if self.to_acquire.len() < clocks.len() {
                self.to_acquire.resize(clocks.len(), 0);
            }
            for (mine, theirs) in self.to_acquire.iter_mut().zip(clocks) {
                *mine = (*mine).max(*theirs);
            }
        }
        launch.published.acquire(address, &mut self.blocks_to_acquire);
        if strength.acquires() {
            self.fence(shared, launch);
        }
    }

    /// A strong write, or the writing half of an atomic: behind a fence it releases what came before.
    fn before_strong_write(&mut self, shared: &mut Shared, launch: &Launch<'_>, address: u64, strength: Strength) {
        if !self.fenced && !strength.releases() {
            return;
        }
        let warps = self.seen.len();
        let clocks = shared.published.entry(address).or_insert_with(|| vec![0; warps]);
        for (theirs, mine) in clocks.iter_mut().zip(&self.seen) {
            *theirs = (*theirs).max(*mine);
        }
        clocks[self.index as usize] = shared.clock;
        // What this warp does from now on is not covered.
        shared.clock += 1;
        if !(SHARED_WINDOW..PARAMETER_WINDOW + WINDOW).contains(&address) {
            launch.published.release(address, shared.block, &shared.acquired);
        }
    }

    pub(crate) fn atomic(&mut self, shared: &mut Shared, launch: &Launch<'_>, op: &Op, mask: u32) -> Result<()> {
        let Op::Atomic { access, op, to, operand, other } = op else { return Ok(()) };
        let (access, op) = (*access, *op);
        let addresses = self.addresses(launch, access.address, access.offset);
        let operand = self.get(launch.program, *operand);
        let other = other.map_or([0; 32], |place| self.get(launch.program, place));
        let mut old = [0; 32];
        let one = |lane: usize| move |value: u64| combine(op, access.size, value, operand[lane], other[lane]);
        let (size, bytes) = (access.size, u64::from(access.size));
        self.each_space(access.space, mask, addresses, |warp, space, mask, addresses| {
            for lane in lanes(mask) {
                let address = addresses[lane];
                let thread = warp.thread(lane as u32);
                match space {
                    Space::Shared => {
                        warp.in_shared(shared, lane, address, bytes, "updates")?;
                        warp.before_strong_write(shared, launch, SHARED_WINDOW + address, access.strength);
                        let region = &shared.memory;
                        warp.check_atomic(shared, launch, region, lane, address, size, thread, true)?;
                        old[lane] = region.update(address, size, one(lane));
                        warp.after_strong_read(shared, launch, SHARED_WINDOW + address, access.strength);
                    }
                    Space::Global => {
                        let index = warp.region(launch, lane, address, bytes, "updates")?;
                        warp.before_strong_write(shared, launch, address, access.strength);
                        let region = &*launch.memories.live[index];
                        let offset = address - region.start;
                        warp.check_atomic(shared, launch, region, lane, offset, size, thread, false)?;
                        // In global memory single precision has no subnormals.
                        old[lane] = match op {
                            Atomic::AddF32 => region.update(offset, size, |old| {
                                let flush = |bits: u64| crate::float::ftz_f32(f32::from_bits(bits as u32));
                                flush((flush(old) + flush(operand[lane])).to_bits().into()).to_bits().into()
                            }),
                            _ => region.update(offset, size, one(lane)),
                        };
                        warp.after_strong_read(shared, launch, address, access.strength);
                    }
                    _ => return Err(warp.fault(FaultKind::OutOfBounds, lane as u32, "an atomic on private memory")),
                }
            }
            Ok(())
        })?;
        if let Some(to) = to {
            self.put(*to, mask, old);
        }
        Ok(())
    }

    fn check_atomic(
        &self,
        shared: &Shared,
        launch: &Launch<'_>,
        region: &Region,
        lane: usize,
        offset: u64,
        size: u8,
        thread: u32,
        in_shared: bool,
    ) -> Result<()> {
        if launch.checks.unwritten && !region.is_written(offset, size) {
            return Err(self.unwritten(lane as u32, region, offset, size));
        }
        let observer = self.observer(shared, launch, in_shared);
        if launch.checks.race && observer.watches() {
            let granule = if in_shared { launch.program.shared_granule } else { launch.program.global_granule };
            let (shadow, stamp) = (region.shadow(granule), observer.stamp(thread, true));
            for cell in 0..(usize::from(size) / usize::from(granule)).max(1) {
                let cell = (offset / u64::from(granule)) as usize + cell;
                observer
                    .write(shadow, cell, stamp, || true)
                    .map_err(|race| self.raced(lane as u32, race, "updates", region, offset, size.into()))?;
            }
        }
        Ok(())
    }

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

fn differs(region: &Region, offset: u64, size: u8, value: u64) -> bool {
    let bits = u64::MAX >> (64 - 8 * u32::from(size));
    region.load(offset, size) != value & bits
}

/// What an atomic makes of the value in memory.
fn combine(op: Atomic, size: u8, old: u64, b: u64, c: u64) -> u64 {
    let unused = 64 - 8 * u32::from(size);
    let signed = |v: u64| (v << unused) as i64 >> unused;
    let bits = u64::MAX >> unused;
    let (b, c) = (b & bits, c & bits);
    let halves = |f: &dyn Fn(u16, u16) -> u16| {
        u64::from(f(old as u16, b as u16)) | u64::from(f((old >> 16) as u16, (b >> 16) as u16)) << 16
    };
    let new = match op {
        Atomic::Add => old.wrapping_add(b),
        Atomic::AddF32 => (f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits().into(),
        Atomic::AddF64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Atomic::AddF16 => crate::float::add_f16(old as u16, b as u16).into(),
        Atomic::AddBf16 => crate::float::add_bf16(old as u16, b as u16).into(),
        Atomic::AddF16x2 => halves(&crate::float::add_f16),
        Atomic::AddBf16x2 => halves(&crate::float::add_bf16),
        Atomic::MinU => old.min(b),
        Atomic::MaxU => old.max(b),
        Atomic::MinS => signed(old).min(signed(b)) as u64,
        Atomic::MaxS => signed(old).max(signed(b)) as u64,
        Atomic::And => old & b,
        Atomic::Or => old | b,
        Atomic::Xor => old ^ b,
        Atomic::Exchange => b,
        Atomic::CompareExchange => {
            if old == b {
                c
            } else {
                old
            }
        }
        Atomic::Increment => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        Atomic::Decrement => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    };
    new & bits
}
