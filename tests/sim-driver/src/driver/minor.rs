//! What programs ask in passing: modules from files, properties of devices and streams, other devices, profilers.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use super::device::known;
use super::module::made;
use super::settings::SETTINGS;
use super::state::{
    Code, FILE_NOT_FOUND, INVALID_DEVICE, INVALID_VALUE, PEER_ACCESS_NOT_ENABLED, PEER_ACCESS_UNSUPPORTED,
};
use super::{caught, code, current, enter, give, stream, tell};

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoad(to: *mut *mut c_void, file: *const c_char) -> Code {
    caught(|| {
        let result = current("cuModuleLoad").and_then(|device| {
            if file.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller gives a text that ends in NUL.
            let file = unsafe { CStr::from_ptr(file) }.to_string_lossy();
            let mut image = std::fs::read(&*file).map_err(|e| tell::refuse(FILE_NOT_FOUND, &format!("{file}: {e}")))?;
            // What is behind the first NUL would be machine code, which is told by its beginning.
            image.truncate(image.iter().position(|&byte| byte == 0).unwrap_or(image.len()));
            let image = CString::new(image).map_err(|_| INVALID_VALUE)?;
            made(device, to, image.as_ptr().cast(), None)
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadFatBinary(to: *mut *mut c_void, image: *const c_void) -> Code {
    caught(|| code(current("cuModuleLoadFatBinary").and_then(|device| made(device, to, image, None))))
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetSharedMemConfig(of: *mut c_void, _config: c_int) -> Code {
    caught(|| code(enter("cuFuncSetSharedMemConfig").and_then(|()| super::kernel::function(of)).map(drop)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamGetFlags(of: *mut c_void, flags: *mut c_uint) -> Code {
    caught(|| {
        let found = current("cuStreamGetFlags").and_then(|device| stream(of, device));
        // SAFETY: the caller's pointer.
        code(found.and_then(|stream| unsafe { give(flags, stream.flags) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamGetPriority(of: *mut c_void, priority: *mut c_int) -> Code {
    caught(|| {
        let found = current("cuStreamGetPriority").and_then(|device| stream(of, device));
        // SAFETY: the caller's pointer.
        code(found.and_then(|stream| unsafe { give(priority, stream.priority) }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecordWithFlags(of: *mut c_void, on: *mut c_void, _flags: c_uint) -> Code {
    caught(|| code(super::stream::record("cuEventRecordWithFlags", of, on)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceGetUuid_v2").and_then(|()| known(device));
        // SAFETY: the caller's pointer.
        code(known.and_then(|device| unsafe { give(uuid, [device as u8; 16]) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceComputeCapability").and_then(|()| known(device));
        code(known.and_then(|_| {
            // SAFETY: the caller's pointers.
            unsafe {
                give(major, SETTINGS.arch.0 as c_int)?;
                give(minor, SETTINGS.arch.1 as c_int)
            }
        }))
    })
}

/// Where a device is on the bus: its number is that of the bus.
fn bus(device: usize) -> String {
    format!("0000:{:02X}:00.0", device + 1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetPCIBusId(name: *mut c_char, len: c_int, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceGetPCIBusId").and_then(|()| known(device));
        code(known.and_then(|device| {
            let text = bus(device);
            if name.is_null() || len <= text.len() as c_int {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller gives room for `len` bytes, which are more than the text has.
            unsafe {
                name.cast::<u8>().copy_from(text.as_ptr(), text.len());
                name.add(text.len()).write(0);
            }
            Ok(())
        }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetByPCIBusId(device: *mut c_int, name: *const c_char) -> Code {
    caught(|| {
        let result = enter("cuDeviceGetByPCIBusId").and_then(|()| {
            if name.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller gives a text that ends in NUL.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            let found = (0..SETTINGS.devices).find(|&device| bus(device).eq_ignore_ascii_case(&name));
            // SAFETY: the caller's pointer.
            unsafe { give(device, found.ok_or(INVALID_DEVICE)? as c_int) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetP2PAttribute(value: *mut c_int, _attribute: c_int, one: c_int, other: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceGetP2PAttribute").and_then(|()| known(one)).and_then(|_| known(other));
        // SAFETY: the caller's pointer.
        code(known.and_then(|_| unsafe { give(value, 0) }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxEnablePeerAccess(_context: *mut c_void, _flags: c_uint) -> Code {
    caught(|| {
        let result = current("cuCtxEnablePeerAccess");
        code(result.and_then(|_| Err(tell::refuse(PEER_ACCESS_UNSUPPORTED, "devices do not see each other's memory"))))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxDisablePeerAccess(_context: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuCtxDisablePeerAccess");
        code(result.and_then(|_| Err(tell::refuse(PEER_ACCESS_NOT_ENABLED, "it cannot have been enabled"))))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiate_v2(
    to: *mut *mut c_void,
    of: *mut c_void,
    _node: *mut *mut c_void,
    _log: *mut c_char,
    _bytes: usize,
) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { super::graph::instantiate("cuGraphInstantiate_v2", to, of) })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphUpload(of: *mut c_void, on: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuGraphUpload").and_then(|device| stream(on, device).and(super::graph::graph(of)));
        code(result.map(drop))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolTrimTo(_pool: *mut c_void, _bytes: usize) -> Code {
    // What is freed goes back at once.
    caught(|| code(enter("cuMemPoolTrimTo")))
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStart() -> Code {
    caught(|| code(enter("cuProfilerStart")))
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStop() -> Code {
    caught(|| code(enter("cuProfilerStop")))
}
