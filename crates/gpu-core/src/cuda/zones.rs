//! Red zones: patterned bytes before and behind every buffer, so that a kernel writing outside is found in tests.
//!
//! They exist under the feature `testing`; `LOCKSTEP_RED_ZONES=0` switches them off, for timings of test executables.

use std::sync::LazyLock;

use cust::sys;

use super::buffer::Memory;
use super::queue::Queue;
use crate::{Error, Result};

/// A zone keeps the alignment that the driver gives.
const WIDTH: usize = 256;
const ZONE: u8 = 0xC7;
/// Unlike the CPU's 0xA5, so that an element which neither twin writes differs between them.
const UNWRITTEN: u8 = 0x5A;

static ENABLED: LazyLock<bool> = LazyLock::new(|| {
    cfg!(feature = "testing") && std::env::var_os("LOCKSTEP_RED_ZONES").is_none_or(|value| value != "0")
});

/// Bytes of one zone; 0 when there are none.
pub(super) fn width() -> usize {
    if *ENABLED { WIDTH } else { 0 }
}

/// Gives new memory its zones and its unspecified contents.
pub(super) fn paint(memory: &Memory, queue: &Queue) -> Result<()> {
    if width() == 0 {
        return Ok(());
    }
    let (start, bytes) = (memory.start(), memory.bytes());
    for (at, value, count) in
        [(start - WIDTH as u64, ZONE, WIDTH), (start, UNWRITTEN, bytes), (start + bytes as u64, ZONE, WIDTH)]
    {
        if count > 0 {
            // SAFETY: the range lies inside the allocation, which is `WIDTH` longer at both ends than the buffer.
            let code = unsafe { sys::cuMemsetD8Async(at, value, count, queue.raw()) };
            queue.gpu().check("cuMemsetD8Async", code)?;
        }
    }
    Ok(())
}

/// Waits for the queue and compares both zones.
pub(super) fn check(memory: &Memory, queue: &Queue) -> Result<()> {
    if width() == 0 {
        return Ok(());
    }
    let mut found = [[0u8; WIDTH]; 2];
    let after = memory.start() + memory.bytes() as u64;
    for (zone, at) in found.iter_mut().zip([memory.start() - WIDTH as u64, after]) {
        // SAFETY: source and destination are `WIDTH` bytes; the host memory lives until the wait below.
        let code = unsafe { sys::cuMemcpyDtoHAsync_v2(zone.as_mut_ptr().cast(), at, WIDTH, queue.raw()) };
        queue.gpu().check("cuMemcpyDtoHAsync", code)?;
    }
    queue.synchronize()?;
    let before = found[0].iter().rposition(|&byte| byte != ZONE).map(|i| (WIDTH - i, "before the start"));
    let behind = found[1].iter().position(|&byte| byte != ZONE).map(|i| (i, "behind the end"));
    match before.or(behind) {
        None => Ok(()),
        Some((distance, side)) => Err(Error::Kernel {
            name: queue.gpu().last_launch(),
            why: format!(
                "it, or one launched before it, wrote {distance} bytes {side} of a buffer of {} bytes",
                memory.bytes()
            ),
        }),
    }
}
