//! Memory that host and device share at the same address: managed, and registered by the program.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock, Mutex};

use super::memory::{host_layout, on_device, region, release_host, to_device, to_host};
use super::state::{Code, INVALID_VALUE, OUT_OF_MEMORY, STATE, lock};
use super::{caught, code, current, enter, give, pointer, tell};
use crate::region::Region;

/// What is at an address that host and device share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// From `cuMemAllocManaged`.
    Managed,
    /// The program's own memory.
    Registered,
}

static KINDS: LazyLock<Mutex<HashMap<u64, Kind>>> = LazyLock::new(Mutex::default);

/// What begins at an address; nothing for page-locked memory.
pub(super) fn kind(start: u64) -> Option<Kind> {
    lock(&KINDS).get(&start).copied()
}

/// Frees managed memory that begins here; whether there was some.
pub(super) fn free_managed(start: u64) -> bool {
    let mut kinds = lock(&KINDS);
    if kinds.get(&start) != Some(&Kind::Managed) {
        return false;
    }
    kinds.remove(&start);
    drop(kinds);
    if let Some(region) = lock(&STATE.memory).free(start) {
        release_host(&region);
    }
    true
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocManaged(to: *mut u64, bytes: usize, _flags: c_uint) -> Code {
    caught(|| {
        let result = current("cuMemAllocManaged").and_then(|_| {
            let layout = host_layout(bytes as u64).filter(|layout| layout.size() > 0 && !to.is_null());
            let layout = layout.ok_or_else(|| tell::refuse(INVALID_VALUE, &format!("{bytes} bytes")))?;
            // SAFETY: the layout has a size above 0.
            let data = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(OUT_OF_MEMORY)?;
            let start = data.as_ptr().addr() as u64;
            lock(&KINDS).insert(start, Kind::Managed);
            let mut region = Region::of_host(data, bytes as u64, usize::MAX);
            "managed memory".clone_into(&mut region.what);
            lock(&STATE.memory).add_host(region);
            // SAFETY: the caller's pointer, not null.
            unsafe { give(to, start) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPrefetchAsync(address: u64, bytes: usize, _device: c_int, on: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuMemPrefetchAsync").and_then(|device| {
            super::stream(on, device)?;
            region(address, bytes, "prefetches").map(drop)
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAdvise(address: u64, bytes: usize, _advice: c_int, _device: c_int) -> Code {
    caught(|| code(current("cuMemAdvise").and_then(|_| region(address, bytes, "advises on").map(drop))))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostRegister_v2(data: *mut c_void, bytes: usize, _flags: c_uint) -> Code {
    caught(|| {
        let result = current("cuMemHostRegister_v2").and_then(|_| {
            let data = NonNull::new(data.cast::<u8>()).filter(|_| bytes > 0).ok_or(INVALID_VALUE)?;
            let start = data.as_ptr().addr() as u64;
            let mut memory = lock(&STATE.memory);
            if memory.find(start, 1).is_some() || start.checked_add(bytes as u64).is_none() {
                drop(memory);
                return Err(tell::refuse(INVALID_VALUE, &format!("{start:#x} is known to the device already")));
            }
            let mut region = Region::of_host(data, bytes as u64, usize::MAX);
            "registered host memory".clone_into(&mut region.what);
            memory.add_host(region);
            drop(memory);
            lock(&KINDS).insert(start, Kind::Registered);
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostUnregister(data: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuMemHostUnregister").and_then(|()| {
            let start = data.addr() as u64;
            if kind(start) != Some(Kind::Registered) {
                return Err(tell::refuse(INVALID_VALUE, &format!("{start:#x} is not registered")));
            }
            lock(&KINDS).remove(&start);
            lock(&STATE.memory).free(start);
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostGetDevicePointer_v2(to: *mut u64, data: *mut c_void, _flags: c_uint) -> Code {
    caught(|| {
        let result = current("cuMemHostGetDevicePointer_v2").and_then(|_| {
            let address = data.addr() as u64;
            region(address, 1, "asks for the device's address of")?;
            // SAFETY: the caller's pointer.
            unsafe { give(to, address) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetAddressRange_v2(start: *mut u64, bytes: *mut usize, address: u64) -> Code {
    caught(|| {
        let result = current("cuMemGetAddressRange_v2").and_then(|_| {
            let (region, _) = region(address, 1, "asks for the buffer of")?;
            // SAFETY: the caller's pointers, of which either may be null.
            unsafe {
                if !start.is_null() {
                    give(start, region.start)?;
                }
                if bytes.is_null() { Ok(()) } else { give(bytes, region.len as usize) }
            }
        });
        code(result)
    })
}

/// Copies between addresses of which each may be the device's or the host's.
fn copy(function: &str, to: u64, from: u64, bytes: usize, on: *mut c_void) -> Code {
    let is_known = |address| lock(&STATE.memory).find(address, 1).is_some();
    let host = |address: u64| pointer(address);
    match (is_known(to), is_known(from)) {
        (true, false) => to_device(function, to, host(from), bytes, on),
        (false, true) => to_host(function, host(to), from, bytes, on),
        // Two addresses that the device does not know are told as such.
        _ => on_device(function, to, from, bytes, on),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy(to: u64, from: u64, bytes: usize) -> Code {
    caught(|| copy("cuMemcpy", to, from, bytes, pointer(0)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, on: *mut c_void) -> Code {
    caught(|| copy("cuMemcpyAsync", to, from, bytes, on))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeer(to: u64, _there: *mut c_void, from: u64, _here: *mut c_void, bytes: usize) -> Code {
    caught(|| on_device("cuMemcpyPeer", to, from, bytes, pointer(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    _there: *mut c_void,
    from: u64,
    _here: *mut c_void,
    bytes: usize,
    on: *mut c_void,
) -> Code {
    caught(|| on_device("cuMemcpyPeerAsync", to, from, bytes, on))
}

/// A function that a program wants called in the order of a stream.
type HostFunction = unsafe extern "C" fn(*mut c_void);
/// As [`HostFunction`], with stream and code.
type Callback = unsafe extern "C" fn(*mut c_void, Code, *mut c_void);

/// What the program gives to such a function.
#[derive(Clone, Copy)]
struct Data(*mut c_void);
// SAFETY: the program orders access to its data; here they are only handed on.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchHostFunc(on: *mut c_void, run: Option<HostFunction>, data: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuLaunchHostFunc").and_then(|device| {
            let run = run.ok_or(INVALID_VALUE)?;
            let data = Data(data);
            super::on_stream(
                &*super::stream(on, device)?,
                Arc::new(move || {
                    let data = data;
                    // SAFETY: the caller's function and what it wants.
                    unsafe { run(data.0) };
                    0
                }),
            )
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamAddCallback(
    on: *mut c_void,
    run: Option<Callback>,
    data: *mut c_void,
    _flags: c_uint,
) -> Code {
    caught(|| {
        let result = current("cuStreamAddCallback").and_then(|device| {
            let run = run.ok_or(INVALID_VALUE)?;
            let stream = super::stream(on, device)?;
            if lock(&stream.capture).is_some() {
                return Err(super::state::CAPTURE_UNSUPPORTED);
            }
            // SAFETY: the caller's function and what it wants.
            unsafe { run(on, 0, data) };
            Ok(())
        });
        code(result)
    })
}
