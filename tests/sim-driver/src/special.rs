//! Special registers.

use crate::launch::{Launch, Shared, WORKSPACE};
use crate::program::{Compare, Place, Special};
use crate::warp::Warp;

impl Warp {
    pub(crate) fn special(&mut self, shared: &Shared, launch: &Launch<'_>, what: Special, to: Place, mask: u32) {
        let [width, height, _] = launch.threads.map(u64::from);
        let [columns, rows, _] = launch.grid.map(u64::from);
        let first = u64::from(self.index) * 32;
        let split = |i: u64, x: u64, y: u64, axis: u8| match axis {
            0 => i % x,
            1 => i / x % y,
            _ => i / (x * y),
        };
        let warps = u64::from(launch.threads_per_block().div_ceil(32));
        let values: [u64; 32] = std::array::from_fn(|i| {
            let lane = i as u64;
            match what {
                Special::Tid(axis) => split(first + lane, width, height, axis),
                Special::Ntid(axis) => launch.threads[axis as usize].into(),
                Special::Ctaid(axis) => split(shared.block, columns, rows, axis),
                Special::Nctaid(axis) => launch.grid[axis as usize].into(),
                Special::Lane => lane,
                Special::Warp => self.index.into(),
                Special::Warps => warps,
                Special::Processor => shared.block % u64::from(launch.processors),
                Special::Processors => launch.processors.into(),
                Special::Grid => launch.number,
                Special::LaneMask(Compare::Eq) => 1 << lane,
                Special::LaneMask(Compare::LeU) => (2u64 << lane) - 1,
                Special::LaneMask(_) => (1u64 << lane) - 1,
                Special::LaneMaskGe => 0xFFFF_FFFFu64 & !((1u64 << lane) - 1),
                Special::LaneMaskGt => 0xFFFF_FFFFu64 & !((2u64 << lane) - 1),
                Special::Clock | Special::Time => launch.begin.elapsed().as_nanos() as u64,
                Special::ClockHigh => launch.begin.elapsed().as_nanos() as u64 >> 32,
                Special::Workspace(shift) if launch.cooperative => WORKSPACE >> shift & 0xFFFF_FFFF,
                Special::Workspace(_) => 0,
                Special::DynamicShared => launch.dynamic_shared.into(),
                Special::TotalShared => shared.bytes,
                Special::Constant(value) => value.into(),
            }
        });
        self.put(to, mask, values);
    }
}
