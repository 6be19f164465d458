//! Loads, stores, atomics and asynchronous copies of a warp.

use crate::fault::{Fault, FaultKind};
use crate::launch::{LOCAL_WINDOW, Launch, PARAMETER_WINDOW, SHARED_WINDOW, Shared, WINDOW};
use crate::ledger::{Held, Touch, Toucher};
use crate::program::{Access, Kind, Place};
use crate::ptx::Space;
use crate::race::Observer;
use crate::region::{Region, Shadow};
use crate::warp::Warp;

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
    pub(crate) fn observer<'a>(&'a self, shared: &'a Shared, launch: &'a Launch<'_>, in_shared: bool) -> Observer<'a> {
        let block = launch.first_block.wrapping_add(shared.block);
        Observer {
            first: launch.first_block,
            block,
            many: launch.first_block.wrapping_add(launch.blocks),
            clock: shared.clock,
            fence: shared.fence,
            warp_fence: self.fence,
            warp: self.index,
            exact: self.order.as_ref().map(|order| Toucher {
                order,
                shards: if in_shared { &shared.lists } else { &launch.lists },
                tag: 1 + if in_shared { block } else { launch.first_block },
                block: shared.block as u32,
                thread: self.index * 32,
                clock: shared.clock as u32,
                fence: shared.fence as u32,
            }),
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
    pub(crate) fn each_space(
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

    pub(crate) fn misaligned(&self, lane: u32, address: u64, bytes: u64, what: &str) -> Fault {
        self.fault(
            FaultKind::Misaligned,
            lane,
            format!("{what} {bytes} bytes at {address:#x}, which is no multiple of {bytes}"),
        )
    }

    /// The region of a lane's access in device memory.
    pub(crate) fn region(
        &mut self,
        launch: &Launch<'_>,
        lane: usize,
        address: u64,
        bytes: u64,
        what: &str,
    ) -> Result<usize> {
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

    /// Reads the elements of each lane; those of others stay.
    pub(crate) fn read(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        access: Access,
        mask: u32,
        addresses: [u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        self.each_space(access.space, mask, addresses, |warp, space, mask, addresses| match space {
            Space::Shared => warp.read_shared(shared, launch, access, mask, addresses, out),
            Space::Local => warp.read_local(access, mask, addresses, out),
            Space::Param => warp.read_parameters(launch, access, mask, addresses, out),
            _ => warp.read_global(shared, launch, access, mask, addresses, out),
        })
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
                    warp.after_strong_read(shared, launch, region.start + offsets[lane], access);
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
    pub(crate) fn read_lanes<const SIZE: u8>(
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
        let shadow = self.shadow(region, granule)?;
        let watch = launch.checks.race && observer.watches();
        let cells = usize::from((SIZE / granule).max(1));
        let shift = granule.trailing_zeros();
        let base = observer.stamp(self.index * 32);
        let strong = access.strength.is_atomic();
        let touch = if strong { Touch::StrongRead(access.scope) } else { Touch::Read };
        if let Some(by) = observer.exact.as_ref().filter(|_| watch && !strong) {
            return self.read_exactly::<SIZE>(launch, access, by, region, granule, mask, offsets, out);
        }
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
                // The value first: what is noted of a strong read may then be too much, never too little.
                let value = region.load(offset, SIZE);
                if let Some(by) = observer.lane(lane).filter(|_| watch) {
                    self.touch(&by, region, granule, offset, SIZE, touch, &|| true, || ())?;
                } else if watch {
                    for cell in 0..cells {
                        observer
                            .read(shadow, (offset >> shift) as usize + cell, base + u64::from(lane))
                            .map_err(|race| self.raced(lane, race, "reads", region, offset, SIZE.into()))?;
                    }
                }
                values[lane as usize] = value;
            }
        }
        Ok(())
    }

    /// Plain reads of kernels that are watched exactly. What several lanes read is noted once.
    fn read_exactly<const SIZE: u8>(
        &self,
        launch: &Launch<'_>,
        access: Access,
        by: &Toucher<'_>,
        region: &Region,
        granule: u8,
        mask: u32,
        offsets: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
        let cells = self.cells(region, granule, mask.trailing_zeros())?;
        let count = usize::from((SIZE / granule).max(1));
        let shift = granule.trailing_zeros();
        let mut held = Held::default();
        let mut rest = mask;
        while rest != 0 {
            let first = offsets[rest.trailing_zeros() as usize];
            let mut same = 0;
            for i in 0..32 {
                same |= u32::from(offsets[i] == first) << i;
            }
            same &= rest;
            rest &= !same;
            for (element, values) in out.iter_mut().enumerate().take(access.count.into()) {
                let offset = first + element as u64 * u64::from(SIZE);
                if launch.checks.unwritten && !region.is_written(offset, SIZE) {
                    return Err(self.unwritten(same.trailing_zeros(), region, offset, SIZE));
                }
                let value = region.load(offset, SIZE);
                by.read(&mut held, cells, (offset >> shift) as usize, count, same)
                    .map_err(|(lane, race)| self.raced(lane, race, "reads", region, offset, SIZE.into()))?;
                for lane in lanes(same) {
                    values[lane] = value;
                }
            }
        }
        Ok(())
    }

    /// Writes at offsets that have been checked.
    #[inline(always)]
    pub(crate) fn write_lanes<const SIZE: u8>(
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
        let shadow = self.shadow(region, granule)?;
        let watch = launch.checks.race && observer.watches();
        let cells = usize::from((SIZE / granule).max(1));
        let shift = granule.trailing_zeros();
        let base = observer.stamp(self.index * 32);
        let touch = if access.strength.is_atomic() { Touch::StrongWrite(access.scope) } else { Touch::Write };
        let mut held = Held::default();
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
                    if let Some(by) = observer.lane(lane) {
                        let work = || region.store(offset, SIZE, value);
                        self.touch_held(&mut held, &by, region, granule, offset, SIZE, touch, &changes, work)?;
                        region.mark_written(offset, SIZE);
                        continue;
                    }
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

    /// What is known about the cells of a region.
    #[inline(always)]
    pub(crate) fn shadow<'r>(&self, region: &'r Region, granule: u8) -> Result<&'r Shadow> {
        match region.shadow(granule) {
            Some(shadow) => Ok(shadow),
            None => Err(self.fault(FaultKind::Memory, 0, "the host has no memory to watch for races")),
        }
    }

    pub(crate) fn unwritten(&self, lane: u32, region: &Region, offset: u64, size: u8) -> Fault {
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
                    warp.before_strong_write(shared, launch, region.start + offsets[lane], lane, access);
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
        let mut values = [[0; 32]; 4];
        self.read(shared, launch, access, mask, addresses, &mut values)?;
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
}

fn differs(region: &Region, offset: u64, size: u8, value: u64) -> bool {
    let bits = u64::MAX >> (64 - 8 * u32::from(size));
    region.load(offset, size) != value & bits
}
