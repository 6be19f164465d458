//! Allocations, copies, fills.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_uchar, c_uint, c_ushort, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use super::host::{self, Kind};
use super::settings::SETTINGS;
use super::state::{CAPTURE_UNSUPPORTED, Code, INVALID_VALUE, OUT_OF_MEMORY, STATE, SUCCESS, lock};
use super::{caught, code, current, enter, give, on_stream, pointer, stream, tell};
use crate::region::Region;

pub(super) fn allocate(to: *mut u64, bytes: usize, device: usize, what: &str) -> Result<(), Code> {
    if bytes == 0 || to.is_null() {
        return Err(tell::refuse(INVALID_VALUE, if bytes == 0 { "0 bytes" } else { "no place for the address" }));
    }
    let start = lock(&STATE.memory).allocate(device, bytes as u64, what)?;
    // SAFETY: the caller's pointer, not null.
    unsafe { give(to, start) }
}

fn free(start: u64) -> Result<(), Code> {
    if start == 0 {
        return Ok(());
    }
    if host::free_managed(start) {
        return Ok(());
    }
    let mut memory = lock(&STATE.memory);
    let is_host = memory.find(start, 1).is_some_and(|(region, _)| region.device == usize::MAX);
    if !is_host && memory.free(start).is_some() {
        return Ok(());
    }
    let why = if is_host {
        "is memory of the host"
    } else if memory.was_freed(start) {
        "has been freed before"
    } else {
        "was never allocated"
    };
    drop(memory);
    Err(tell::refuse(INVALID_VALUE, &format!("{start:#x} {why}")))
}

/// The regions of a device address, or words about what is there instead.
pub(super) fn region(address: u64, bytes: usize, what: &str) -> Result<(Arc<Region>, u64), Code> {
    let mut memory = lock(&STATE.memory);
    if let Some(found) = memory.find(address, bytes as u64) {
        return Ok(found);
    }
    let (_, why) = memory.memories().explain(address, bytes as u64, what);
    drop(memory);
    Err(tell::refuse(INVALID_VALUE, &why))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> Code {
    caught(|| code(current("cuMemAlloc_v2").and_then(|device| allocate(to, bytes, device, "a buffer"))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocAsync(to: *mut u64, bytes: usize, on: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuMemAllocAsync").and_then(|device| {
            if lock(&stream(on, device)?.capture).is_some() {
                return Err(CAPTURE_UNSUPPORTED);
            }
            allocate(to, bytes, device, "a buffer")
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(start: u64) -> Code {
    caught(|| code(current("cuMemFree_v2").and_then(|_| free(start))))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(start: u64, on: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuMemFreeAsync").and_then(|device| {
            if lock(&stream(on, device)?.capture).is_some() {
                return Err(CAPTURE_UNSUPPORTED);
            }
            free(start)
        });
        code(result)
    })
}

pub(super) fn host_layout(bytes: u64) -> Option<Layout> {
    Layout::from_size_align(bytes as usize, 4096).ok()
}

/// # Safety
/// `to` is null or valid for a write.
unsafe fn allocate_host(function: &str, to: *mut *mut c_void, bytes: usize) -> Result<(), Code> {
    current(function)?;
    let layout = host_layout(bytes as u64).filter(|layout| layout.size() > 0).ok_or(INVALID_VALUE)?;
    // SAFETY: the layout has a size above 0.
    let data = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OUT_OF_MEMORY)?;
    lock(&STATE.memory).add_host(Region::of_host(data, bytes as u64, usize::MAX));
    // SAFETY: says the caller.
    unsafe { give(to, data.as_ptr().cast()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocHost_v2(to: *mut *mut c_void, bytes: usize) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { allocate_host("cuMemAllocHost_v2", to, bytes) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostAlloc(to: *mut *mut c_void, bytes: usize, _flags: c_uint) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { allocate_host("cuMemHostAlloc", to, bytes) })
    })
}

/// Gives memory back that [`host_layout`] was for, whose region has just been removed.
pub(super) fn release_host(region: &Region) {
    if let Some(layout) = host_layout(region.len) {
        // SAFETY: allocated with this layout at this address, and nobody finds the region any more.
        unsafe { dealloc(std::ptr::with_exposed_provenance_mut(region.start as usize), layout) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemFreeHost(data: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuMemFreeHost").and_then(|()| {
            let start = data.addr() as u64;
            let mut memory = lock(&STATE.memory);
            let is_ours = memory.find(start, 1).is_some_and(|(region, _)| region.device == usize::MAX)
                && host::kind(start).is_none();
            let region = if is_ours { memory.free(start) } else { None };
            drop(memory);
            let none = || tell::refuse(INVALID_VALUE, &format!("{start:#x} is no page-locked memory of the driver"));
            release_host(&*region.ok_or_else(none)?);
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    caught(|| {
        let result = current("cuMemGetInfo_v2").and_then(|device| {
            let used = lock(&STATE.memory).used(device);
            // SAFETY: the caller's pointers.
            unsafe {
                give(free, (SETTINGS.memory - used.min(SETTINGS.memory)) as usize)?;
                give(total, SETTINGS.memory as usize)
            }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuPointerGetAttribute(value: *mut c_void, attribute: c_int, address: u64) -> Code {
    caught(|| {
        /// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE`: 1 for the host, 2 for a device.
        const MEMORY_TYPE: c_int = 2;
        let result = enter("cuPointerGetAttribute").and_then(|()| {
            let (region, _) = lock(&STATE.memory).find(address, 1).ok_or(INVALID_VALUE)?;
            if attribute != MEMORY_TYPE {
                return Err(INVALID_VALUE);
            }
            let is_host = region.device == usize::MAX && host::kind(region.start) != Some(Kind::Managed);
            // SAFETY: this attribute is an `unsigned int`, for which the caller gives room.
            unsafe { give(value.cast::<c_uint>(), if is_host { 1 } else { 2 }) }
        });
        code(result)
    })
}

/// Host memory of a copy, which may be done later.
#[derive(Clone, Copy)]
struct Host(*mut u8, usize);
// SAFETY: the driver's caller keeps the memory until the copy is done, and orders access to it.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

pub(super) fn to_device(function: &str, to: u64, from: *const c_void, bytes: usize, on: *mut c_void) -> Code {
    let result = current(function).and_then(|device| {
        if bytes == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(INVALID_VALUE);
        }
        let (region, offset) = region(to, bytes, "copies to")?;
        let host = Host(from.cast_mut().cast(), bytes);
        on_stream(
            &*stream(on, device)?,
            Arc::new(move || {
                let host = host;
                // SAFETY: the caller gives `bytes` readable bytes.
                region.put(offset, unsafe { std::slice::from_raw_parts(host.0, host.1) });
                SUCCESS
            }),
        )
    });
    code(result)
}

pub(super) fn to_host(function: &str, to: *mut c_void, from: u64, bytes: usize, on: *mut c_void) -> Code {
    let result = current(function).and_then(|device| {
        if bytes == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err(INVALID_VALUE);
        }
        let (region, offset) = region(from, bytes, "copies from")?;
        let host = Host(to.cast(), bytes);
        on_stream(
            &*stream(on, device)?,
            Arc::new(move || {
                let host = host;
                // SAFETY: the caller gives room for `bytes` bytes.
                region.get(offset, unsafe { std::slice::from_raw_parts_mut(host.0, host.1) });
                SUCCESS
            }),
        )
    });
    code(result)
}

pub(super) fn on_device(function: &str, to: u64, from: u64, bytes: usize, on: *mut c_void) -> Code {
    let result = current(function).and_then(|device| {
        if bytes == 0 {
            return Ok(());
        }
        let (target, offset) = region(to, bytes, "copies to")?;
        let (source, start) = region(from, bytes, "copies from")?;
        on_stream(
            &*stream(on, device)?,
            Arc::new(move || {
                target.copy_from(offset, &source, start, bytes as u64);
                SUCCESS
            }),
        )
    });
    code(result)
}

fn fill(function: &str, to: u64, pattern: &[u8], count: usize, on: *mut c_void) -> Code {
    let result = current(function).and_then(|device| {
        if count == 0 {
            return Ok(());
        }
        let bytes = count.checked_mul(pattern.len()).ok_or(INVALID_VALUE)?;
        let (target, offset) = region(to, bytes, "fills")?;
        let pattern = pattern.to_vec();
        on_stream(
            &*stream(on, device)?,
            Arc::new(move || {
                target.fill(offset, &pattern, count as u64);
                SUCCESS
            }),
        )
    });
    code(result)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Code {
    caught(|| to_device("cuMemcpyHtoD_v2", to, from, bytes, pointer(0)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, on: *mut c_void) -> Code {
    caught(|| to_device("cuMemcpyHtoDAsync_v2", to, from, bytes, on))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Code {
    caught(|| to_host("cuMemcpyDtoH_v2", to, from, bytes, pointer(0)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, on: *mut c_void) -> Code {
    caught(|| to_host("cuMemcpyDtoHAsync_v2", to, from, bytes, on))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    caught(|| on_device("cuMemcpyDtoD_v2", to, from, bytes, pointer(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, on: *mut c_void) -> Code {
    caught(|| on_device("cuMemcpyDtoDAsync_v2", to, from, bytes, on))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) -> Code {
    caught(|| fill("cuMemsetD8_v2", to, &[value], count, pointer(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, count: usize, on: *mut c_void) -> Code {
    caught(|| fill("cuMemsetD8Async", to, &[value], count, on))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16_v2(to: u64, value: c_ushort, count: usize) -> Code {
    caught(|| fill("cuMemsetD16_v2", to, &value.to_le_bytes(), count, pointer(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16Async(to: u64, value: c_ushort, count: usize, on: *mut c_void) -> Code {
    caught(|| fill("cuMemsetD16Async", to, &value.to_le_bytes(), count, on))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) -> Code {
    caught(|| fill("cuMemsetD32_v2", to, &value.to_le_bytes(), count, pointer(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, on: *mut c_void) -> Code {
    caught(|| fill("cuMemsetD32Async", to, &value.to_le_bytes(), count, on))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut *mut c_void, device: c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(
            enter("cuDeviceGetDefaultMemPool")
                .and_then(|()| unsafe { give(pool, pointer(0x2000 + 16 * device as u64)) }),
        )
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(_pool: *mut c_void, _attribute: c_int, _value: *mut c_void) -> Code {
    caught(|| code(enter("cuMemPoolSetAttribute")))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemPoolGetAttribute(pool: *mut c_void, attribute: c_int, value: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuMemPoolGetAttribute").and_then(|()| {
            let device = (pool.addr() as u64).wrapping_sub(0x2000) as usize / 16;
            let memory = lock(&STATE.memory);
            // What is freed goes back at once: reserved is used.
            let found = match attribute {
                4 => u64::MAX,
                5 | 7 => memory.used(device),
                6 | 8 => memory.peak(device),
                _ => 1,
            };
            // SAFETY: these attributes are 64 bits, for which the caller gives room.
            unsafe { give(value.cast::<u64>(), found) }
        });
        code(result)
    })
}
