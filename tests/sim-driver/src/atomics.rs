//! Atomics, and what strong accesses order.

use crate::access::lanes;
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, PARAMETER_WINDOW, SHARED_WINDOW, Shared, WINDOW};
use crate::ledger::Touch;
use crate::order::Way;
use crate::program::{Access, Atomic, Op};
use crate::ptx::Space;
use crate::region::Region;
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    /// A strong read, or the reading half of an atomic: what the writer released may be taken over.
    pub(crate) fn after_strong_read(&mut self, shared: &mut Shared, launch: &Launch<'_>, address: u64, access: Access) {
        if let Some(order) = &mut self.order {
            let way = way(shared, launch, address);
            order.read(&way, access.scope, access.strength.acquires());
        }
    }

    /// A strong write, or the writing half of an atomic: behind a fence it releases what came before that.
    pub(crate) fn before_strong_write(
        &mut self,
        shared: &mut Shared,
        launch: &Launch<'_>,
        address: u64,
        lane: usize,
        access: Access,
    ) {
        let Some(order) = &self.order else { return };
        let (clock, fence, warps) = (shared.clock as u32, shared.fence as u32, launch.warps_per_block());
        let mut way = way(shared, launch, address);
        order.publish(&mut way, lane, access.scope);
        if access.strength.releases() {
            order.release(&mut way, lane, access.scope, clock, fence, warps);
            // What this warp does from now on is not covered.
            shared.clock += 1;
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
                match space {
                    Space::Shared => {
                        warp.in_shared(shared, lane, address, bytes, "updates")?;
                        warp.before_strong_write(shared, launch, SHARED_WINDOW + address, lane, access);
                        let update = |region: &Region| region.update(address, size, one(lane));
                        old[lane] = warp.update(shared, launch, &shared.memory, lane, address, access, true, update)?;
                        warp.after_strong_read(shared, launch, SHARED_WINDOW + address, access);
                    }
                    Space::Global => {
                        let index = warp.region(launch, lane, address, bytes, "updates")?;
                        warp.before_strong_write(shared, launch, address, lane, access);
                        let region = &*launch.memories.live[index];
                        let offset = address - region.start;
                        // In global memory single precision has no subnormals.
                        let update = |region: &Region| match op {
                            Atomic::AddF32 => region.update(offset, size, |old| {
                                let flush = |bits: u64| crate::float::ftz_f32(f32::from_bits(bits as u32));
                                flush((flush(old) + flush(operand[lane])).to_bits().into()).to_bits().into()
                            }),
                            _ => region.update(offset, size, one(lane)),
                        };
                        old[lane] = warp.update(shared, launch, region, lane, offset, access, false, update)?;
                        warp.after_strong_read(shared, launch, address, access);
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

    /// Changes a value, while nobody else does: who comes second sees what the first has done.
    fn update(
        &self,
        shared: &Shared,
        launch: &Launch<'_>,
        region: &Region,
        lane: usize,
        offset: u64,
        access: Access,
        in_shared: bool,
        update: impl FnOnce(&Region) -> u64,
    ) -> Result<u64> {
        if launch.checks.unwritten && !region.is_written(offset, access.size) {
            return Err(self.unwritten(lane as u32, region, offset, access.size));
        }
        let observer = self.observer(shared, launch, in_shared);
        let watch = launch.checks.race && observer.watches();
        let Some(by) = observer.lane(lane as u32).filter(|_| watch) else { return Ok(update(region)) };
        let granule = if in_shared { launch.program.shared_granule } else { launch.program.global_granule };
        let touch = Touch::StrongWrite(access.scope);
        self.touch(&by, region, granule, offset, access.size, touch, &|| true, || update(region))
    }
}

/// The way of a strong access: other blocks do not reach the memory of a block or a thread.
fn way<'a>(shared: &'a mut Shared, launch: &'a Launch<'_>, address: u64) -> Way<'a> {
    let private = (SHARED_WINDOW..PARAMETER_WINDOW + WINDOW).contains(&address);
    Way { address, inside: &mut shared.published, outside: (!private).then_some(&launch.shelf) }
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
