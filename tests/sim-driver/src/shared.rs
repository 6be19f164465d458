//! The memory of a block.

use crate::access::{Elements, lanes};
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, SHARED_WINDOW, Shared};
use crate::program::Access;
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    /// Where in shared memory an access goes.
    #[inline(always)]
    pub(crate) fn in_shared(&self, shared: &Shared, lane: usize, address: u64, bytes: u64, what: &str) -> Result<()> {
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
        self.no_copy(shared, lane, address, bytes, what)
    }

    pub(crate) fn read_shared(
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
                self.after_strong_read(shared, launch, SHARED_WINDOW + addresses[lane], access);
            }
        }
        Ok(())
    }

    pub(crate) fn write_shared(
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
                self.before_strong_write(shared, launch, SHARED_WINDOW + addresses[lane], lane, access);
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
        if shared.copies > 0 || !shared.sources.is_empty() {
            for lane in lanes(mask) {
                self.no_copy(shared, lane, addresses[lane], bytes, what)?;
            }
        }
        Ok(())
    }
}
