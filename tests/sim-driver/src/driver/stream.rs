//! Streams and events. Work is done when it is asked for, so that every event is reached at once.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::state::{
    CAPTURE_UNSUPPORTED, Code, Event, INVALID_HANDLE, INVALID_VALUE, NOT_READY, Object, STATE, Stream, lock,
};
use super::{caught, code, current, enter, give, handle, pointer, stream};

/// Priorities of streams, which change nothing here.
pub(super) const LOWEST: c_int = 0;
pub(super) const HIGHEST: c_int = -5;

fn event(of: *mut c_void) -> Result<Arc<Event>, Code> {
    match STATE.find(handle(of)) {
        Some(Object::Event(event)) => Ok(event),
        _ => Err(INVALID_HANDLE),
    }
}

/// # Safety
/// `to` is null or valid for a write.
unsafe fn create(function: &str, to: *mut *mut c_void, flags: c_uint, priority: c_int) -> Result<(), Code> {
    let device = current(function)?;
    let made = Stream { device, flags, priority: priority.clamp(HIGHEST, LOWEST), ..Stream::default() };
    // SAFETY: says the caller.
    unsafe { give(to, pointer(STATE.add(Object::Stream(Arc::new(made))))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(to: *mut *mut c_void, flags: c_uint) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { create("cuStreamCreate", to, flags, LOWEST) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreateWithPriority(to: *mut *mut c_void, flags: c_uint, priority: c_int) -> Code {
    caught(|| {
        // SAFETY: the caller's pointer.
        code(unsafe { create("cuStreamCreateWithPriority", to, flags, priority) })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(of: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuStreamDestroy_v2").and_then(|()| match STATE.find(handle(of)) {
            Some(Object::Stream(_)) => {
                STATE.remove(handle(of));
                Ok(())
            }
            _ => Err(INVALID_HANDLE),
        });
        code(result)
    })
}

/// Fails for a stream that is capturing: nothing has been done that could be waited for.
fn idle(of: *mut c_void, device: usize) -> Result<(), Code> {
    let stream = stream(of, device)?;
    if lock(&stream.capture).is_some() {
        stream.spoiled.store(1, std::sync::atomic::Ordering::Relaxed);
        return Err(CAPTURE_UNSUPPORTED);
    }
    match STATE.health(stream.device) {
        0 => Ok(()),
        code => Err(code),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(of: *mut c_void) -> Code {
    caught(|| code(current("cuStreamSynchronize").and_then(|device| idle(of, device))))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(of: *mut c_void) -> Code {
    caught(|| code(current("cuStreamQuery").and_then(|device| idle(of, device))))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(of: *mut c_void, on: *mut c_void, _flags: c_uint) -> Code {
    caught(|| {
        code(current("cuStreamWaitEvent").and_then(|device| stream(of, device).and_then(|_| event(on))).map(drop))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(to: *mut *mut c_void, _flags: c_uint) -> Code {
    caught(|| {
        let result = current("cuEventCreate").and_then(|device| {
            let made = STATE.add(Object::Event(Arc::new(Event { device, at: Mutex::new(None) })));
            // SAFETY: the caller's pointer.
            unsafe { give(to, pointer(made)) }
        });
        code(result)
    })
}

pub(super) fn record(function: &str, of: *mut c_void, on: *mut c_void) -> Result<(), Code> {
    let device = current(function)?;
    stream(on, device)?;
    *lock(&event(of)?.at) = Some(Instant::now());
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(of: *mut c_void, on: *mut c_void) -> Code {
    caught(|| code(record("cuEventRecord", of, on)))
}

/// Work is done when it is asked for, so that every event has been reached.
fn reached(function: &str, of: *mut c_void) -> Result<(), Code> {
    current(function)?;
    match STATE.health(event(of)?.device) {
        0 => Ok(()),
        code => Err(code),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(of: *mut c_void) -> Code {
    caught(|| code(reached("cuEventSynchronize", of)))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(of: *mut c_void) -> Code {
    caught(|| code(reached("cuEventQuery", of)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, from: *mut c_void, to: *mut c_void) -> Code {
    caught(|| {
        let result = current("cuEventElapsedTime").and_then(|_| {
            let (Some(from), Some(to)) = (*lock(&event(from)?.at), *lock(&event(to)?.at)) else {
                return Err(NOT_READY);
            };
            if milliseconds.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the caller's pointer, not null.
            unsafe { give(milliseconds, to.saturating_duration_since(from).as_secs_f32() * 1e3) }
        });
        code(result)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(of: *mut c_void) -> Code {
    caught(|| {
        let result = enter("cuEventDestroy_v2").and_then(|()| event(of)).map(|_| {
            STATE.remove(handle(of));
        });
        code(result)
    })
}
