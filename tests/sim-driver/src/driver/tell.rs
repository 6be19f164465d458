//! What the driver tells beyond its codes: on standard error, in the report, and in the names of codes.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;

use super::settings::SETTINGS;
use super::state::{Code, STATE};
use super::{caught_as, say};
use crate::fault::quoted;

thread_local! {
    /// The driver's function that this thread is in.
    static CALL: RefCell<String> = const { RefCell::new(String::new()) };
    /// Whether that function has said why it fails.
    static EXPLAINED: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread has been told that its device is lost.
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// A function begins.
pub(super) fn begin(function: &str) {
    CALL.with_borrow_mut(|call| {
        call.clear();
        call.push_str(function);
    });
    EXPLAINED.set(false);
}

/// A function has failed: words of an earlier failure with the same code must not be taken for its own.
pub(super) fn failed(code: Code) {
    if !EXPLAINED.get() {
        STATE.forget(code);
    }
}

/// The function that this thread is in has said why it fails.
pub(super) fn explained() {
    EXPLAINED.set(true);
}

/// Says why the function that this thread is in fails; its code.
pub(super) fn refuse(code: Code, why: &str) -> Code {
    let call = CALL.with_borrow(Clone::clone);
    refuse_with(code, &format!("{call}: {why}"))
}

/// As [`refuse`], in these words only.
pub(super) fn refuse_with(code: Code, why: &str) -> Code {
    say(why);
    let (call, quoted_why) = (quoted(&CALL.with_borrow(Clone::clone)), quoted(why));
    report(&format!("{{\"kind\":\"refused\",\"call\":{call},\"code\":{code},\"why\":{quoted_why}}}"));
    STATE.explain(code, why);
    code
}

/// Says once on each thread why every call fails: tests of one process share what the first of them lost.
pub(super) fn lost(device: usize) {
    if !TOLD.replace(true)
        && let Some((code, why)) = STATE.loss(device)
    {
        let call = CALL.with_borrow(Clone::clone);
        say(&format!("{call} and what follows fail with {code}: device {device} was lost at an earlier fault: {why}"));
    }
}

/// This thread has seen its device being lost.
pub(super) fn saw_loss() {
    TOLD.set(true);
}

/// Adds a line to the file that `SIM_REPORT` names.
pub(super) fn report(line: &str) {
    if let Some(file) = &SETTINGS.report {
        use std::io::Write;
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        if let Err(e) = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
            say(&format!("cannot write {file}: {e}"));
        }
    }
}

/// Has the process say at its end which planned faults never came.
pub(super) fn at_exit() {
    unsafe extern "C" {
        fn atexit(run: extern "C" fn()) -> c_int;
    }
    extern "C" fn end() {
        caught_as((), || SETTINGS.unreached().iter().for_each(|line| say(line)));
    }
    // SAFETY: this function of the C library may be called at any time; `end` needs nothing that ends before it.
    unsafe { atexit(end) };
}
