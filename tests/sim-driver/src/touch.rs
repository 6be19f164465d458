//! Accesses of lanes to memory that is watched exactly, and how races are told.

use crate::fault::{Fault, FaultKind};
use crate::ledger::{Cell, Held, Touch, Toucher};
use crate::race::{Other, Race};
use crate::region::Region;
use crate::warp::Warp;

type Result<T> = std::result::Result<T, Fault>;

impl Warp {
    /// Notes the access of one lane exactly, and does `work` while nobody else touches the place.
    pub(crate) fn touch<R>(
        &self,
        by: &Toucher<'_>,
        region: &Region,
        granule: u8,
        offset: u64,
        size: u8,
        touch: Touch,
        changes: &dyn Fn() -> bool,
        work: impl FnOnce() -> R,
    ) -> Result<R> {
        self.touch_held(&mut Held::default(), by, region, granule, offset, size, touch, changes, work)
    }

    /// The cells of a region that is watched exactly.
    pub(crate) fn cells<'r>(&self, region: &'r Region, granule: u8, lane: u32) -> Result<&'r [Cell]> {
        let none = || self.fault(FaultKind::Memory, lane, "the host has no memory to watch for races");
        region.ledger(granule).ok_or_else(none)
    }

    /// As `touch`, one access after the other.
    pub(crate) fn touch_held<'a, R>(
        &self,
        held: &mut Held<'a>,
        by: &Toucher<'a>,
        region: &Region,
        granule: u8,
        offset: u64,
        size: u8,
        touch: Touch,
        changes: &dyn Fn() -> bool,
        work: impl FnOnce() -> R,
    ) -> Result<R> {
        let lane = by.thread % 32;
        let cells = self.cells(region, granule, lane)?;
        let (first, count) = ((offset / u64::from(granule)) as usize, usize::from((size / granule).max(1)));
        by.touch(held, cells, first, count, touch, changes, work).map_err(|race| {
            let what = match touch {
                Touch::Read | Touch::StrongRead(_) => "reads",
                Touch::Write | Touch::CopyWrite | Touch::StrongWrite(_) => "writes",
            };
            self.raced(lane, race, what, region, offset, size.into())
        })
    }

    pub(crate) fn raced(&self, lane: u32, race: Race, what: &str, region: &Region, offset: u64, bytes: u64) -> Fault {
        let other = match race.other {
            Other::Thread(thread) => format!("thread {thread} of the same block"),
            Other::SeveralThreads => "several threads of the same block".to_owned(),
            Other::Elsewhere(thread, block) => format!("thread {thread} of block {block} of the same launch"),
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
}
