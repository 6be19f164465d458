//! Arguments of a launch.

use std::ffi::c_void;

use super::state::{Code, Function, INVALID_VALUE};
use super::tell;

/// The bytes of a launch's arguments, in the kernel's layout.
///
/// # Safety
/// `arguments` is null or has a pointer for each parameter to as many bytes as it has; `extra` is null or a list as
/// `cuLaunchKernel` describes it.
pub(super) unsafe fn gather(
    function: &Function,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<Vec<u8>, Code> {
    let program = &function.program;
    let mut bytes = vec![0; program.parameter_bytes as usize];
    if !extra.is_null() {
        let (mut buffer, mut len) = (std::ptr::null_mut::<u8>(), None);
        for i in (0..8).step_by(2) {
            // SAFETY: the list ends with a null pointer, says the caller.
            let key = unsafe { extra.add(i).read() }.addr();
            if key == 0 {
                break;
            }
            // SAFETY: every key has a value.
            let value = unsafe { extra.add(i + 1).read() };
            match key {
                1 => buffer = value.cast(),
                // SAFETY: this value points to a size.
                2 => len = Some(unsafe { value.cast::<usize>().read() }),
                _ => return Err(INVALID_VALUE),
            }
        }
        if buffer.is_null() || len != Some(bytes.len()) {
            let why = format!(
                "kernel {} takes {} bytes of arguments, the launch gives {}",
                program.name,
                bytes.len(),
                len.unwrap_or(0)
            );
            return Err(tell::refuse(INVALID_VALUE, &why));
        }
        // SAFETY: the buffer has as many bytes as the caller says.
        unsafe { buffer.copy_to(bytes.as_mut_ptr(), bytes.len()) };
        return Ok(bytes);
    }
    if arguments.is_null() && !program.parameters.is_empty() {
        let why = format!("kernel {} takes {}, the launch gives none", program.name, count(program.parameters.len()));
        return Err(tell::refuse(INVALID_VALUE, &why));
    }
    for (i, &(offset, size)) in program.parameters.iter().enumerate() {
        let refuse = |what: &str| {
            let name = &program.name;
            let fewer = program.parameters.len();
            let why = format!("argument {i} of {name} {what}: did the launch pass fewer than {}?", count(fewer));
            tell::refuse(INVALID_VALUE, &why)
        };
        let mut from = [0; size_of::<usize>()];
        // SAFETY: one pointer a parameter, says the caller.
        if !unsafe { read(arguments.add(i).cast(), &mut from) } {
            return Err(refuse("has no pointer"));
        }
        let from = usize::from_ne_bytes(from);
        if from == 0 {
            return Err(refuse("is at the null pointer"));
        }
        let to = &mut bytes[offset as usize..(offset + size) as usize];
        // SAFETY: as many bytes as the parameter has, says the caller.
        if !unsafe { read(std::ptr::with_exposed_provenance(from), to) } {
            return Err(refuse(&format!("cannot be read ({size} bytes at {from:#x})")));
        }
    }
    Ok(bytes)
}

fn count(arguments: usize) -> String {
    if arguments == 1 { "1 argument".to_owned() } else { format!("{arguments} arguments") }
}

/// Copies memory of this process; false where there is none, which a plain read would end the process for.
///
/// # Safety
/// `from` has as many readable bytes as `to`, or is an address where nothing is.
#[cfg(target_os = "linux")]
unsafe fn read(from: *const u8, to: &mut [u8]) -> bool {
    use std::ffi::{c_int, c_ulong};
    /// `struct iovec`
    #[repr(C)]
    struct Part {
        start: *mut c_void,
        bytes: usize,
    }
    unsafe extern "C" {
        fn process_vm_readv(
            process: c_int,
            to: *const Part,
            parts: c_ulong,
            from: *const Part,
            from_parts: c_ulong,
            flags: c_ulong,
        ) -> isize;
    }
    const NO_SUCH_ADDRESS: i32 = 14;
    if to.is_empty() {
        return true;
    }
    let target = Part { start: to.as_mut_ptr().cast(), bytes: to.len() };
    let source = Part { start: from.cast_mut().cast(), bytes: to.len() };
    // SAFETY: `to` is writable; the system checks the other side.
    let copied =
        unsafe { process_vm_readv(std::process::id() as c_int, &raw const target, 1, &raw const source, 1, 0) };
    if copied >= 0 {
        return copied as usize == to.len();
    }
    if std::io::Error::last_os_error().raw_os_error() == Some(NO_SUCH_ADDRESS) {
        return false;
    }
    // Where this call is forbidden, arguments are read as a driver reads them.
    // SAFETY: says the caller.
    unsafe { from.copy_to(to.as_mut_ptr(), to.len()) };
    true
}

/// As above, where the system has no such call.
///
/// # Safety
/// `from` has as many readable bytes as `to`.
#[cfg(not(target_os = "linux"))]
unsafe fn read(from: *const u8, to: &mut [u8]) -> bool {
    // SAFETY: says the caller.
    unsafe { from.copy_to(to.as_mut_ptr(), to.len()) };
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_told() {
        let (there, mut to) = ([1u8, 2, 3, 4], [0; 4]);
        // SAFETY: readable, and addresses where nothing is.
        unsafe {
            assert!(read(there.as_ptr(), &mut to) && to == there);
            assert!(!read(std::ptr::without_provenance(64), &mut to));
            assert!(!read(std::ptr::without_provenance(usize::MAX - 4095), &mut to));
        }
    }
}
