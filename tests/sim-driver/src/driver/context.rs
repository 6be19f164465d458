//! Contexts. All contexts of a device share what it has: memory, modules and streams outlive each of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{LazyLock, Mutex};

use super::device::known;
use super::state::{Code, INVALID_CONTEXT, INVALID_VALUE, Object, STATE, UNSUPPORTED_LIMIT, lock};
use super::stream::{HIGHEST, LOWEST};
use super::{CURRENT, caught, code, current, enter, give, handle, pointer, tell};

/// Where the handles of primary contexts begin.
const PRIMARY: u64 = 0x1000;

thread_local! {
    /// Handles of the contexts of this thread, the current one last.
    static STACK: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The primary context of a device.
#[derive(Clone, Copy, Default)]
struct Primary {
    /// How often it has been retained.
    users: u32,
    flags: c_uint,
}

/// What programs set and read back; nothing here follows it.
struct Kept {
    primaries: HashMap<usize, Primary>,
    /// Flags of the contexts that programs made.
    flags: HashMap<u64, c_uint>,
    /// By number, the same for all contexts.
    limits: HashMap<c_int, usize>,
    cache: c_int,
    banks: c_int,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(|| {
    Mutex::new(Kept {
        primaries: HashMap::new(),
        flags: HashMap::new(),
        // Stack, printf, heap, depth and number of launches from kernels, bytes fetched and kept by the cache.
        limits: HashMap::from([(0, 1024), (1, 1 << 20), (2, 8 << 20), (3, 2), (4, 2048), (5, 128), (6, 0)]),
        cache: 0,
        banks: 1,
    })
});

/// Changes the contexts of this thread.
fn change<T>(work: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    STACK.with_borrow_mut(|stack| {
        let done = work(stack);
        CURRENT.set(stack.last().and_then(|&top| device_of(top)));
        done
    })
}

fn device_of(context: u64) -> Option<usize> {
    match STATE.find(context) {
        Some(Object::Context(device)) => Some(device),
        _ => None,
    }
}

fn existing(context: *mut c_void) -> Result<u64, Code> {
    let context = handle(context);
    let none = || tell::refuse(INVALID_CONTEXT, &format!("{context:#x} is no context"));
    device_of(context).map(|_| context).ok_or_else(none)
}

fn top() -> Option<u64> {
    STACK.with_borrow(|stack| stack.last().copied())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDevicePrimaryCtxRetain").and_then(|()| known(device));
        let result = known.and_then(|device| {
            // One context for each device, whose handle says which.
            let made = PRIMARY + 16 * device as u64;
            lock(&STATE.objects).insert(made, Object::Context(device));
            lock(&KEPT).primaries.entry(device).or_default().users += 1;
            // SAFETY: the caller's pointer.
            unsafe { give(context, pointer(made)) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDevicePrimaryCtxRelease_v2").and_then(|()| known(device));
        code(known.and_then(|device| {
            let mut kept = lock(&KEPT);
            let users = &mut kept.primaries.entry(device).or_default().users;
            let none = || tell::refuse(INVALID_CONTEXT, "the context has been released as often as it was retained");
            *users = users.checked_sub(1).ok_or_else(none)?;
            Ok(())
        }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Code {
    caught(|| {
        let known = enter("cuDevicePrimaryCtxReset_v2").and_then(|()| known(device));
        code(known.map(|device| {
            // Whoever retained it releases it as before.
            lock(&KEPT).primaries.entry(device).or_default().flags = 0;
        }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> Code {
    caught(|| {
        let known = enter("cuDevicePrimaryCtxSetFlags_v2").and_then(|()| known(device));
        code(known.and_then(|device| {
            lock(&KEPT).primaries.entry(device).or_default().flags = checked(flags)?;
            Ok(())
        }))
    })
}

/// Flags that contexts have: ways to wait (of which one is chosen), mapped memory, stacks that stay large, and newer ones.
fn checked(flags: c_uint) -> Result<c_uint, Code> {
    let known = flags <= 0xFF && (flags & 7).count_ones() <= 1;
    if known { Ok(flags) } else { Err(tell::refuse(INVALID_VALUE, &format!("no context has the flags {flags:#x}"))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) -> Code {
    caught(|| {
        let known = enter("cuDevicePrimaryCtxGetState").and_then(|()| known(device));
        code(known.and_then(|device| {
            let primary = lock(&KEPT).primaries.get(&device).copied().unwrap_or_default();
            // SAFETY: the caller's pointers.
            unsafe {
                give(flags, primary.flags)?;
                give(active, c_int::from(primary.users > 0))
            }
        }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxCreate_v2(context: *mut *mut c_void, flags: c_uint, device: c_int) -> Code {
    caught(|| {
        let known = enter("cuCtxCreate_v2").and_then(|()| known(device));
        code(known.and_then(|device| {
            let flags = checked(flags)?;
            let made = STATE.add(Object::Context(device));
            // SAFETY: the caller's pointer.
            unsafe { give(context, pointer(made))? };
            lock(&KEPT).flags.insert(made, flags);
            change(|stack| stack.push(made));
            Ok(())
        }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxDestroy_v2(context: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuCtxDestroy_v2").and_then(|()| {
            let context = existing(context)?;
            if lock(&KEPT).flags.remove(&context).is_none() {
                return Err(tell::refuse(INVALID_CONTEXT, "a primary context is released, not destroyed"));
            }
            STATE.remove(context);
            change(|stack| {
                if stack.last() == Some(&context) {
                    stack.pop();
                }
            });
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPushCurrent_v2(context: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuCtxPushCurrent_v2").and_then(|()| existing(context));
        code(result.map(|context| change(|stack| stack.push(context))))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuCtxPopCurrent_v2").and_then(|()| {
            let none = || tell::refuse(INVALID_CONTEXT, "no context is current on this thread");
            let popped = change(Vec::pop).ok_or_else(none)?;
            if context.is_null() {
                return Ok(());
            }
            // SAFETY: the caller's pointer.
            unsafe { give(context, pointer(popped)) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuCtxSetCurrent").and_then(|()| {
            let context = if context.is_null() { None } else { Some(existing(context)?) };
            change(|stack| {
                stack.pop();
                stack.extend(context);
            });
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCurrent(context: *mut *mut c_void) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(enter("cuCtxGetCurrent").and_then(|()| unsafe { give(context, pointer(top().unwrap_or(0))) }))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(current("cuCtxGetDevice").and_then(|found| unsafe { give(device, found as c_int) }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    caught(|| code(current("cuCtxSynchronize").map(drop)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> Code {
    caught(|| {
        let result = current("cuCtxGetFlags").and_then(|device| {
            let kept = lock(&KEPT);
            let made = top().and_then(|top| kept.flags.get(&top).copied());
            let found = made.unwrap_or_else(|| kept.primaries.get(&device).map_or(0, |primary| primary.flags));
            // SAFETY: the caller's pointer.
            unsafe { give(flags, found) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetApiVersion(context: *mut c_void, version: *mut c_uint) -> Code {
    caught(|| {
        let result = enter("cuCtxGetApiVersion").and_then(|()| {
            if !context.is_null() {
                existing(context)?;
            }
            // The version of contexts, which has stayed at this for years.
            // SAFETY: the caller's pointer.
            unsafe { give(version, 3020) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetLimit(limit: c_int, value: usize) -> Code {
    caught(|| {
        let result = current("cuCtxSetLimit").and_then(|_| match lock(&KEPT).limits.get_mut(&limit) {
            Some(kept) => {
                *kept = value;
                Ok(())
            }
            None => Err(no_limit(limit)),
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, limit: c_int) -> Code {
    caught(|| {
        let result = current("cuCtxGetLimit").and_then(|_| {
            let kept = lock(&KEPT).limits.get(&limit).copied().ok_or_else(|| no_limit(limit))?;
            // SAFETY: the caller's pointer.
            unsafe { give(value, kept) }
        });
        code(result)
    })
}

fn no_limit(limit: c_int) -> Code {
    tell::refuse(UNSUPPORTED_LIMIT, &format!("there is no limit {limit}"))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Code {
    caught(|| {
        let result = current("cuCtxGetStreamPriorityRange").and_then(|_| {
            for (to, value) in [(least, LOWEST), (greatest, HIGHEST)] {
                if !to.is_null() {
                    // SAFETY: the caller's pointer, not null.
                    unsafe { give(to, value)? };
                }
            }
            Ok(())
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCacheConfig(config: c_int) -> Code {
    caught(|| code(current("cuCtxSetCacheConfig").map(|_| lock(&KEPT).cache = config)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCacheConfig(config: *mut c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(current("cuCtxGetCacheConfig").and_then(|_| unsafe { give(config, lock(&KEPT).cache) }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetSharedMemConfig(config: c_int) -> Code {
    caught(|| code(current("cuCtxSetSharedMemConfig").map(|_| lock(&KEPT).banks = config)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetSharedMemConfig(config: *mut c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(current("cuCtxGetSharedMemConfig").and_then(|_| unsafe { give(config, lock(&KEPT).banks) }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxResetPersistingL2Cache() -> Code {
    caught(|| code(current("cuCtxResetPersistingL2Cache").map(drop)))
}
