//! The driver, opened when the first of its functions is called.
//!
//! `cust_raw` asks the linker for every driver function. `symbols.rs` defines all of them: each opens the driver's
//! library once, looks its own name up on first use and passes the call on. So a program needs no `libcuda` to link
//! or to start, and a missing driver is an error code instead of a failure of the loader.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use cust::sys::CUresult;
use libloading::Library;

#[cfg(not(windows))]
const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];
#[cfg(windows)]
const NAMES: [&str; 1] = ["nvcuda.dll"];

struct Driver {
    library: Library,
    name: String,
}

static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();

/// Opens `LOCKSTEP_DRIVER` when it is set and nothing else then, so that a test never meets another driver by mistake.
fn driver() -> &'static Result<Driver, String> {
    DRIVER.get_or_init(|| {
        if let Some(name) = std::env::var_os("LOCKSTEP_DRIVER") {
            let name = name.to_string_lossy().into_owned();
            return open(&name).map_err(|why| format!("LOCKSTEP_DRIVER={name}: {why}"));
        }
        // The message about the first name is the one that a person can search for.
        let mut first = None;
        for name in NAMES {
            match open(name) {
                Ok(driver) => return Ok(driver),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_default())
    })
}

fn open(name: &str) -> Result<Driver, String> {
    // SAFETY: the driver's initialisers have no requirements; the library stays open for the life of the process.
    let opened = unsafe { Library::new(name) };
    opened.map(|library| Driver { library, name: name.to_owned() }).map_err(|e| e.to_string())
}

/// Why the driver's library could not be opened, in the loader's words; `None` when it is open.
pub fn load_error() -> Option<&'static str> {
    driver().as_ref().err().map(String::as_str)
}

/// The name under which the driver's library was found.
pub fn library() -> Option<&'static str> {
    driver().as_ref().ok().map(|driver| driver.name.as_str())
}

/// Marks a function that the driver does not have; no function lies at this address.
const ABSENT: *mut c_void = ptr::without_provenance_mut(1);

/// The place of one driver function, looked up on first use.
pub(super) struct Symbol {
    /// Ends in NUL, which is what the loader wants.
    name: &'static str,
    address: AtomicPtr<c_void>,
}

impl Symbol {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The function's address, or the code to answer with when there is none.
    pub(super) fn address(&self) -> Result<*mut c_void, u32> {
        // Two threads may look the same name up at once; both then store the same address.
        let address = self.address.load(Ordering::Relaxed);
        if address.is_null() {
            self.look_up()
        } else if ptr::eq(address, ABSENT) {
            Err(CUresult::CUDA_ERROR_NOT_FOUND as u32)
        } else {
            Ok(address)
        }
    }

    #[cold]
    fn look_up(&self) -> Result<*mut c_void, u32> {
        let Ok(driver) = driver() else {
            return Err(CUresult::CUDA_ERROR_NO_DEVICE as u32);
        };
        // SAFETY: the symbol is only used as an address here; whoever calls it states its signature.
        let found = unsafe { driver.library.get::<*mut c_void>(self.name.as_bytes()) };
        let address = found.map_or(ptr::null_mut(), |symbol| *symbol);
        self.address.store(if address.is_null() { ABSENT } else { address }, Ordering::Relaxed);
        self.address()
    }
}

thread_local! {
    static LAST_CODE: Cell<u32> = const { Cell::new(0) };
}

/// The driver's own number behind the last failure on this thread.
///
/// `cust_raw`'s enumeration ends with CUDA 11.4 and `cust`'s own has even fewer values, so the number is kept here.
pub(super) fn last_code() -> u32 {
    LAST_CODE.get()
}

/// Turns the driver's number into `cust_raw`'s enumeration. A number that it does not have becomes `UNKNOWN`, because
/// such a value of a Rust enumeration would be undefined behaviour.
pub(super) fn known(code: u32) -> CUresult {
    if code == 0 {
        return CUresult::CUDA_SUCCESS;
    }
    LAST_CODE.set(code);
    match code {
        0..=8
        | 34
        | 100..=102
        | 200..=202
        | 205..=224
        | 300..=304
        | 400
        | 401
        | 500
        | 600
        | 700..=705
        | 708..=720
        | 800..=809
        | 900..=911
        | 999 => {
            // SAFETY: every number above is a value of the enumeration, which has the size of a C `int`.
            unsafe { std::mem::transmute::<u32, CUresult>(code) }
        }
        _ => CUresult::CUDA_ERROR_UNKNOWN,
    }
}

/// The driver's name for one of its numbers, new ones included.
pub(super) fn name_of(code: u32) -> String {
    static GET_ERROR_NAME: Symbol = Symbol::new("cuGetErrorName\0");
    let mut name: *const c_char = ptr::null();
    if let Ok(address) = GET_ERROR_NAME.address() {
        // SAFETY: CUresult cuGetErrorName(CUresult error, const char** name), both enumerations passed as C `int`, so
        // that a number which `cust_raw` does not know never becomes a Rust enumeration.
        let get = unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32, *mut *const c_char) -> u32>(address)
        };
        // SAFETY: the pointer is valid for the call, which stores a static string or null.
        unsafe { get(code, &raw mut name) };
    }
    if name.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: the driver's names are static strings ending in NUL.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Defines driver functions that pass on to the library.
macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> CUresult {
                static SYMBOL: super::driver::Symbol =
                    super::driver::Symbol::new(concat!(stringify!($name), "\0"));
                let code = match SYMBOL.address() {
                    Ok(address) => {
                        // SAFETY: the driver's function of this name has the signature that `cust_raw` declares, with
                        // its enumerations passed as C `int`.
                        let function = unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> u32>(address)
                        };
                        // SAFETY: the arguments are the caller's, who keeps the rules of this function.
                        unsafe { function($($argument),*) }
                    }
                    Err(code) => code,
                };
                super::driver::known(code)
            }
        )*

        /// The functions defined here.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
pub(super) use forward;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_function_is_defined() {
        assert_eq!(super::super::symbols::NAMES.len(), 353);
    }

    #[test]
    fn codes_of_newer_drivers_become_unknown_and_are_kept() {
        for code in [9, 35, 103, 203, 225, 305, 402, 501, 706, 721, 810, 912, 1000, u32::MAX] {
            assert_eq!(known(code), CUresult::CUDA_ERROR_UNKNOWN);
            assert_eq!(last_code(), code);
        }
    }

    #[test]
    fn known_codes_keep_their_number() {
        for code in [1, 2, 34, 100, 102, 205, 224, 304, 401, 500, 600, 705, 708, 720, 809, 911, 999] {
            assert_eq!(known(code) as u32, code);
        }
        assert_eq!(known(0), CUresult::CUDA_SUCCESS);
    }
}
