//! Devices and errors.

use std::ffi::{c_char, c_int, c_uint};

use super::settings::SETTINGS;
use super::state::{Code, INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, STATE, lock};
use super::{begin, caught, code, enter, errors, give, tell};
use crate::launch::MOST_BLOCKS;

/// Multiprocessors of a device: few, so that grids which depend on their number stay small.
pub(crate) const PROCESSORS: i32 = 8;
/// Shared memory of a block without and with asking for more.
pub(crate) const SHARED: i32 = 48 << 10;

/// Bytes of shared memory that a block may ask for, by architecture.
pub(crate) fn shared_optin() -> i32 {
    match SETTINGS.arch {
        (7, 0 | 2) => 96 << 10,
        (7, _) => 64 << 10,
        (8, 0 | 7) => 163 << 10,
        (8, _) => 99 << 10,
        (9.., _) => 227 << 10,
        _ => SHARED,
    }
}

pub(super) fn known(device: c_int) -> Result<usize, Code> {
    usize::try_from(device).ok().filter(|&device| device < SETTINGS.devices).ok_or(INVALID_DEVICE)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> Code {
    caught(|| {
        code(begin("cuInit").and_then(|()| {
            if let Some(why) = &SETTINGS.wrong {
                // A program that goes on would be tested under other conditions than were asked for.
                return Err(tell::refuse(INVALID_VALUE, why));
            }
            if SETTINGS.devices == 0 {
                return Err(tell::refuse(NO_DEVICE, "SIM_DEVICES=0"));
            }
            STATE.initialized.get_or_init(tell::at_exit);
            Ok(())
        }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(begin("cuDriverGetVersion").and_then(|()| unsafe { give(version, 12_080) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(enter("cuDeviceGetCount").and_then(|()| unsafe { give(count, SETTINGS.devices as c_int) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(enter("cuDeviceGet").and_then(|()| known(ordinal)).and_then(|_| unsafe { give(device, ordinal) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> Code {
    caught(|| {
        let result = enter("cuDeviceGetName").and_then(|()| known(device)).and_then(|_| {
            if name.is_null() || len <= 0 {
                return Err(INVALID_VALUE);
            }
            let (major, minor) = SETTINGS.arch;
            let text = format!("Simulated device (sm_{major}{minor})");
            let kept = text.len().min(len as usize - 1);
            // SAFETY: the caller gives room for `len` bytes, and `kept + 1` are at most as many.
            unsafe {
                name.cast::<u8>().copy_from(text.as_ptr(), kept);
                name.add(kept).write(0);
            }
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceTotalMem_v2").and_then(|()| known(device));
        // SAFETY: the caller's pointer.
        code(known.and_then(|_| unsafe { give(bytes, SETTINGS.memory as usize) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceGetUuid").and_then(|()| known(device));
        // SAFETY: the caller's pointer.
        code(known.and_then(|device| unsafe { give(uuid, [device as u8; 16]) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceGetAttribute").and_then(|()| known(device));
        // SAFETY: the caller's pointer.
        code(known.and_then(|_| unsafe { give(value, told(attribute)) }))
    })
}

/// What a program is told.
fn told(attribute: c_int) -> i32 {
    SETTINGS.attributes.get(&attribute).copied().unwrap_or_else(|| attribute_of(attribute))
}

/// Blocks of a grid in each direction.
pub(super) fn most_blocks() -> [u32; 3] {
    [5, 6, 7].map(|attribute| told(attribute).max(0) as u32)
}

fn attribute_of(attribute: c_int) -> i32 {
    let (major, minor) = SETTINGS.arch;
    match attribute {
        1..=3 => 1024,
        4 => 64,
        5..=7 => MOST_BLOCKS[attribute as usize - 5] as i32,
        8 => SHARED,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX,
        12 => 65536,
        13 => 1_000_000,
        14 => 512,
        16 => PROCESSORS,
        39 => 2048,
        // Unified addressing, concurrent kernels, cooperative launches, pools, and host memory that devices map.
        15 | 19 | 31 | 40 | 41 | 95 | 115 => 1,
        36 => 1_000_000,
        37 => 512,
        38 => 50 << 20,
        75 => major as i32,
        76 => minor as i32,
        81 | 106 => 228 << 10,
        82 => 65536,
        97 => shared_optin(),
        // All else, and that kernels see ordinary host memory (88, 100), is not offered.
        _ => 0,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) -> Code {
    caught(|| {
        let known = enter("cuDeviceCanAccessPeer").and_then(|()| known(device)).and_then(|_| known(peer));
        // SAFETY: the caller's pointer.
        code(known.and_then(|_| unsafe { give(can, 0) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(error: Code, name: *mut *const c_char) -> Code {
    caught(|| {
        let known = STATE.message(error).map(|text| text.as_ptr());
        let known = known.or_else(|| static_name(error));
        // SAFETY: the caller's pointer.
        let given = unsafe { give(name, known.unwrap_or(std::ptr::null())) };
        if known.is_none() { INVALID_VALUE } else { code(given) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: Code, text: *mut *const c_char) -> Code {
    caught(|| {
        // SAFETY: as in `cuGetErrorName`, with the same arguments.
        unsafe { cuGetErrorName(error, text) }
    })
}

/// The name with a NUL behind it, made once.
fn static_name(error: Code) -> Option<*const c_char> {
    use std::collections::HashMap;
    use std::ffi::CString;
    use std::sync::Mutex;
    static NAMES: Mutex<Option<HashMap<Code, &'static CString>>> = Mutex::new(None);
    let name = errors::name(error)?;
    let mut names = lock(&NAMES);
    let names = names.get_or_insert_default();
    let text = CString::new(name).ok()?;
    Some(names.entry(error).or_insert_with(|| Box::leak(Box::new(text))).as_ptr())
}
