//! Memory that one thread has for itself, and the parameters of the launch.

use crate::access::{Elements, lanes};
use crate::fault::{Fault, FaultKind};
use crate::launch::Launch;
use crate::program::Access;
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
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
    pub(crate) fn read_local(
        &mut self,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        out: &mut Elements,
    ) -> Result<()> {
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

    pub(crate) fn write_local(
        &mut self,
        access: Access,
        mask: u32,
        addresses: &[u64; 32],
        values: &Elements,
    ) -> Result<()> {
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

    pub(crate) fn read_parameters(
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
                let start = (addresses[lane] as usize).saturating_add(element * size);
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
}
