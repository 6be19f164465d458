//! The driver's functions over the interpreter.
//!
//! Work is done when it is asked for, in the order of the calls; what a kernel does wrong is told by the next call, as
//! a device tells it.

mod absent;
mod arguments;
mod context;
mod device;
mod errors;
mod fft;
mod functions;
mod graph;
mod host;
mod kernel;
mod memory;
mod minor;
mod module;
mod occupancy;
mod patches;
mod plane;
pub(crate) mod settings;
pub(crate) mod state;
mod stream;
mod tell;

use std::cell::Cell;
use std::ffi::c_void;

use settings::SETTINGS;
use state::{
    Code, INVALID_CONTEXT, INVALID_HANDLE, INVALID_VALUE, NOT_INITIALIZED, Object, STATE, SUCCESS, Stream, UNKNOWN,
};

thread_local! {
    /// Ordinal of the device whose context is current on this thread.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Writes a line to standard error: a driver's only way to say more than a number.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("sim: {text}\n").as_bytes());
}

/// As [`enter`], for functions that need no initialised driver.
fn begin(function: &str) -> Result<(), Code> {
    tell::begin(function);
    if SETTINGS.verbose {
        say(function);
    }
    match SETTINGS.planned(function) {
        Some(code) => Err(tell::refuse(code, &format!("fails with {code}, as SIM_ERROR says"))),
        None => Ok(()),
    }
}

/// The beginning of every call: planned errors first.
fn enter(function: &str) -> Result<(), Code> {
    begin(function)?;
    if STATE.initialized.get().is_none() {
        return Err(tell::refuse(NOT_INITIALIZED, "cuInit has not been called, or has failed"));
    }
    Ok(())
}

/// As [`enter`], for calls that work on the current context: the device, unless it is lost.
fn current(function: &str) -> Result<usize, Code> {
    enter(function)?;
    let none = || tell::refuse(INVALID_CONTEXT, "no context is current on this thread");
    let device = CURRENT.get().ok_or_else(none)?;
    match STATE.health(device) {
        SUCCESS => Ok(device),
        code => {
            tell::lost(device);
            Err(code)
        }
    }
}

fn code(result: Result<(), Code>) -> Code {
    let Err(code) = result else { return SUCCESS };
    tell::failed(code);
    if SETTINGS.verbose {
        say(&format!("  answers {code}"));
    }
    code
}

/// Does what a function of the driver does. A panic must not leave it: the caller is C, and would be ended.
fn caught(run: impl FnOnce() -> Code) -> Code {
    caught_as(UNKNOWN, run)
}

/// As [`caught`], with the code of another library for what went wrong inside.
fn caught_as<C>(unknown: C, run: impl FnOnce() -> C) -> C {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
        say("an error of the simulated driver itself, see above");
        unknown
    })
}

/// Stores a result for the caller.
///
/// # Safety
/// `to` is null or valid for a write.
unsafe fn give<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: valid for a write, says the caller.
    unsafe { to.write(value) };
    Ok(())
}

fn handle(pointer: *mut c_void) -> u64 {
    pointer.addr() as u64
}

fn pointer(handle: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(handle as usize)
}

/// The stream behind a handle; 0 to 2 are the default streams.
fn stream(of: *mut c_void, device: usize) -> Result<std::sync::Arc<Stream>, Code> {
    if handle(of) <= 2 {
        return Ok(std::sync::Arc::new(Stream { device, ..Stream::default() }));
    }
    match STATE.find(handle(of)) {
        Some(Object::Stream(stream)) => Ok(stream),
        _ => Err(INVALID_HANDLE),
    }
}

/// Does something on a stream now, or records it while the stream is capturing.
fn on_stream(stream: &Stream, work: state::Node) -> Result<(), Code> {
    let mut capture = state::lock(&stream.capture);
    if let Some(nodes) = capture.as_mut() {
        nodes.push(work);
        return Ok(());
    }
    drop(capture);
    match work() {
        SUCCESS => Ok(()),
        code => Err(code),
    }
}
