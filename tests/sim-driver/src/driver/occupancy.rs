//! How many blocks of a kernel a multiprocessor holds.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::Ordering::Relaxed;

use super::device::{PROCESSORS, shared_optin};
use super::kernel::function;
use super::state::{Code, Function, INVALID_VALUE};
use super::{caught, code, enter, give, tell};

/// Threads of a multiprocessor.
const THREADS: u64 = 2048;
/// Blocks of a multiprocessor.
const BLOCKS: u64 = 32;
/// Bytes of shared memory that the device keeps of each block.
const RESERVED: u64 = 1024;

/// Bytes of shared memory of a multiprocessor.
fn shared() -> u64 {
    shared_optin() as u64 + RESERVED
}

/// Blocks of this many threads with so much dynamic shared memory that are resident at once. Registers set no limit
/// here, since the interpreter's say nothing about those of a device.
fn blocks(function: &Function, threads: u64, dynamic: u64) -> u64 {
    if threads == 0 || threads > u64::from(function.program.most_threads) {
        return 0;
    }
    let bytes = u64::from(function.program.shared).saturating_add(dynamic).saturating_add(RESERVED);
    (THREADS / threads.next_multiple_of(32)).min(BLOCKS).min(shared() / bytes)
}

fn positive(threads: c_int) -> Result<u64, Code> {
    let threads_known = u64::try_from(threads).ok().filter(|&threads| threads > 0);
    threads_known.ok_or_else(|| tell::refuse(INVALID_VALUE, &format!("blocks of {threads} threads")))
}

/// # Safety
/// `to` is null or valid for a write.
unsafe fn active(name: &str, to: *mut c_int, of: *mut c_void, threads: c_int, dynamic: usize) -> Result<(), Code> {
    enter(name)?;
    let found = blocks(&*function(of)?, positive(threads)?, dynamic as u64);
    // SAFETY: says the caller.
    unsafe { give(to, found as c_int) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    to: *mut c_int,
    of: *mut c_void,
    threads: c_int,
    dynamic: usize,
) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { active("cuOccupancyMaxActiveBlocksPerMultiprocessor", to, of, threads, dynamic) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    to: *mut c_int,
    of: *mut c_void,
    threads: c_int,
    dynamic: usize,
    _flags: c_uint,
) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { active("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", to, of, threads, dynamic) })
    })
}

/// A program's function from threads of a block to its bytes of dynamic shared memory.
type Needs = unsafe extern "C" fn(c_int) -> usize;

/// The block size with which most threads are resident, the largest of several; and the blocks that fill the device.
///
/// # Safety
/// `needs` can be called with any number of threads; the pointers are null or valid for writes.
unsafe fn best(
    name: &str,
    grid: *mut c_int,
    block: *mut c_int,
    of: *mut c_void,
    needs: Option<Needs>,
    dynamic: usize,
    limit: c_int,
) -> Result<(), Code> {
    enter(name)?;
    let function = function(of)?;
    let most = function.program.most_threads;
    let most = u32::try_from(limit).ok().filter(|&limit| limit > 0).map_or(most, |limit| limit.min(most));
    let (mut threads, mut all, mut resident) = (0, 0, 0);
    // From the limit itself, which may be no whole number of warps, down.
    for size in std::iter::once(most).chain((1..=most / 32).rev().map(|warps| warps * 32)) {
        // SAFETY: says the caller.
        let dynamic = needs.map_or(dynamic, |needs| unsafe { needs(size as c_int) });
        let blocks = blocks(&function, size.into(), dynamic as u64);
        if blocks * u64::from(size) > all {
            (threads, all, resident) = (size, blocks * u64::from(size), blocks);
        }
    }
    if threads == 0 {
        let why = format!("kernel {}: no block fits, for want of shared memory", function.program.name);
        return Err(tell::refuse(INVALID_VALUE, &why));
    }
    // SAFETY: says the caller.
    unsafe {
        give(grid, resident as c_int * PROCESSORS)?;
        give(block, threads as c_int)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: *mut c_int,
    block: *mut c_int,
    of: *mut c_void,
    needs: Option<Needs>,
    dynamic: usize,
    limit: c_int,
) -> Code {
    caught(|| {
        // SAFETY: the caller's function and pointers.
        code(unsafe { best("cuOccupancyMaxPotentialBlockSize", grid, block, of, needs, dynamic, limit) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: *mut c_int,
    block: *mut c_int,
    of: *mut c_void,
    needs: Option<Needs>,
    dynamic: usize,
    limit: c_int,
    _flags: c_uint,
) -> Code {
    caught(|| {
        // SAFETY: the caller's function and pointers.
        code(unsafe { best("cuOccupancyMaxPotentialBlockSizeWithFlags", grid, block, of, needs, dynamic, limit) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    to: *mut usize,
    of: *mut c_void,
    wanted: c_int,
    threads: c_int,
) -> Code {
    caught(|| {
        let result = enter("cuOccupancyAvailableDynamicSMemPerBlock").and_then(|()| {
            let function = function(of)?;
            let wanted_blocks = u64::try_from(wanted).ok().filter(|&wanted| wanted > 0);
            let fits =
                wanted_blocks.filter(|&wanted| wanted <= blocks(&function, u64::try_from(threads).unwrap_or(0), 0));
            let why = format!("kernel {}: {wanted} blocks of {threads} threads", function.program.name);
            let fits = fits.ok_or_else(|| tell::refuse(INVALID_VALUE, &why))?;
            let left = shared() / fits - RESERVED - u64::from(function.program.shared);
            // SAFETY: the caller's pointer.
            unsafe { give(to, (left as usize).min(function.most_dynamic.load(Relaxed))) }
        });
        code(result)
    })
}
