//! The driver API, as much of it as the corpus needs, from any library that exports it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;

type Status = c_int;
type Pointer = u64;
type Handle = *mut c_void;

/// What the result slots hold before a launch; bytes that a kernel must not write keep it.
pub(crate) const POISON: u8 = 0xcd;

const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

type Launch = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    Handle,
    *mut *mut c_void,
    *mut *mut c_void,
) -> Status;

struct Functions {
    init: unsafe extern "C" fn(c_uint) -> Status,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    device_get_name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> Status,
    device_get_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    primary_ctx_retain: unsafe extern "C" fn(*mut Handle, c_int) -> Status,
    ctx_set_current: unsafe extern "C" fn(Handle) -> Status,
    ctx_synchronize: unsafe extern "C" fn() -> Status,
    module_load_data: unsafe extern "C" fn(*mut Handle, *const c_void) -> Status,
    module_get_function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> Status,
    module_unload: unsafe extern "C" fn(Handle) -> Status,
    mem_alloc: unsafe extern "C" fn(*mut Pointer, usize) -> Status,
    mem_free: unsafe extern "C" fn(Pointer) -> Status,
    memcpy_to_device: unsafe extern "C" fn(Pointer, *const c_void, usize) -> Status,
    memcpy_to_host: unsafe extern "C" fn(*mut c_void, Pointer, usize) -> Status,
    memset: unsafe extern "C" fn(Pointer, u8, usize) -> Status,
    launch_kernel: Launch,
    get_error_name: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
}

/// A driver with the primary context of its first device current.
pub(crate) struct Driver {
    f: Functions,
    pub(crate) device: String,
    /// Compute capability, as 80 or 90.
    pub(crate) sm: u32,
    _library: Library,
}

/// Why a variant gave no result.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// The context can not be used any more.
    pub(crate) sticky: bool,
}

/// Frees a module or a buffer when the variant is done with it.
struct Guard<'a>(&'a Driver, Resource);

enum Resource {
    Module(Handle),
    Memory(Pointer),
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from the same driver and is given back once. A sticky error shows at the next call.
        let _ = unsafe {
            match self.1 {
                Resource::Module(module) => (self.0.f.module_unload)(module),
                Resource::Memory(pointer) => (self.0.f.mem_free)(pointer),
            }
        };
    }
}

impl Driver {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: loading a driver runs its initialisers, which is what the caller asked for.
        let library = unsafe { Library::new(path) }.map_err(|e| format!("{}: {e}", path.display()))?;
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the field's type is the function's signature in cuda.h; the library outlives the pointer.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|e| format!("{}: {e}", $name))?
            };
        }
        let f = Functions {
            init: symbol!("cuInit"),
            device_get: symbol!("cuDeviceGet"),
            device_get_name: symbol!("cuDeviceGetName"),
            device_get_attribute: symbol!("cuDeviceGetAttribute"),
            primary_ctx_retain: symbol!("cuDevicePrimaryCtxRetain"),
            ctx_set_current: symbol!("cuCtxSetCurrent"),
            ctx_synchronize: symbol!("cuCtxSynchronize"),
            module_load_data: symbol!("cuModuleLoadData"),
            module_get_function: symbol!("cuModuleGetFunction"),
            module_unload: symbol!("cuModuleUnload"),
            mem_alloc: symbol!("cuMemAlloc_v2"),
            mem_free: symbol!("cuMemFree_v2"),
            memcpy_to_device: symbol!("cuMemcpyHtoD_v2"),
            memcpy_to_host: symbol!("cuMemcpyDtoH_v2"),
            memset: symbol!("cuMemsetD8_v2"),
            launch_kernel: symbol!("cuLaunchKernel"),
            get_error_name: symbol!("cuGetErrorName"),
        };
        let mut driver = Self { f, device: String::new(), sm: 0, _library: library };
        driver.start().map_err(|e| e.text)?;
        Ok(driver)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let (mut device, mut major, mut minor) = (0, 0, 0);
        let mut context: Handle = std::ptr::null_mut();
        let mut name = [0 as c_char; 256];
        // SAFETY: every pointer is to a local of the type that the function writes; the name's length is passed.
        unsafe {
            self.check("cuInit", (self.f.init)(0))?;
            self.check("cuDeviceGet", (self.f.device_get)(&raw mut device, 0))?;
            let status = (self.f.device_get_name)(name.as_mut_ptr(), name.len() as c_int - 1, device);
            self.check("cuDeviceGetName", status)?;
            let get = self.f.device_get_attribute;
            self.check("cuDeviceGetAttribute", get(&raw mut major, COMPUTE_CAPABILITY_MAJOR, device))?;
            self.check("cuDeviceGetAttribute", get(&raw mut minor, COMPUTE_CAPABILITY_MINOR, device))?;
            self.check("cuDevicePrimaryCtxRetain", (self.f.primary_ctx_retain)(&raw mut context, device))?;
            self.check("cuCtxSetCurrent", (self.f.ctx_set_current)(context))?;
            self.device = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        }
        self.sm = (major * 10 + minor) as u32;
        Ok(())
    }

    fn check(&self, call: &str, status: Status) -> Result<(), Failure> {
        if status == 0 {
            return Ok(());
        }
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the driver writes a pointer to a static string, or leaves null.
        let name = unsafe {
            (self.f.get_error_name)(status, &raw mut name);
            if name.is_null() { format!("error {status}") } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
        };
        Err(Failure { text: format!("{call}: {name}"), sticky: false })
    }

    fn buffer(&self, bytes: usize) -> Result<(Pointer, Guard<'_>), Failure> {
        let mut pointer = 0;
        // SAFETY: the driver writes the pointer.
        self.check("cuMemAlloc", unsafe { (self.f.mem_alloc)(&raw mut pointer, bytes.max(256)) })?;
        Ok((pointer, Guard(self, Resource::Memory(pointer))))
    }

    /// Runs the entry `t` of a module on `threads` threads in blocks of `block`; returns `slots` results a thread.
    pub(crate) fn run(
        &self,
        ptx: &str,
        inputs: &[Vec<u64>],
        threads: u32,
        block: u32,
        slots: usize,
    ) -> Result<Vec<u64>, Failure> {
        let result = self.run_once(ptx, inputs, threads, block, slots);
        result.map_err(|mut failure| {
            // After a sticky error every call gives it again.
            // SAFETY: no arguments.
            failure.sticky = unsafe { (self.f.ctx_synchronize)() } != 0;
            failure
        })
    }

    fn run_once(
        &self,
        ptx: &str,
        inputs: &[Vec<u64>],
        threads: u32,
        block: u32,
        slots: usize,
    ) -> Result<Vec<u64>, Failure> {
        let text = CString::new(ptx).expect("no NUL in a module");
        let (mut module, mut function): (Handle, Handle) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the text ends with NUL, the driver writes the handle.
        self.check("cuModuleLoadData", unsafe { (self.f.module_load_data)(&raw mut module, text.as_ptr().cast()) })?;
        let _module = Guard(self, Resource::Module(module));
        // SAFETY: as above; the module is loaded.
        let status = unsafe { (self.f.module_get_function)(&raw mut function, module, c"t".as_ptr()) };
        self.check("cuModuleGetFunction", status)?;

        let mut pointers = [0; 4];
        let mut guards = Vec::new();
        for (pointer, values) in pointers.iter_mut().zip(inputs) {
            let bytes = size_of_val(values.as_slice());
            let (p, guard) = self.buffer(bytes)?;
            // SAFETY: the buffer has at least these bytes.
            let status = unsafe { (self.f.memcpy_to_device)(p, values.as_ptr().cast(), bytes) };
            self.check("cuMemcpyHtoD", status)?;
            *pointer = p;
            guards.push(guard);
        }
        let mut out = vec![0u64; threads as usize * slots];
        let bytes = size_of_val(out.as_slice());
        let (p, guard) = self.buffer(bytes)?;
        pointers[3] = p;
        guards.push(guard);
        // SAFETY: the buffer has at least these bytes.
        self.check("cuMemsetD8", unsafe { (self.f.memset)(p, POISON, bytes) })?;

        let mut n = threads;
        let mut arguments: Vec<*mut c_void> = pointers.iter_mut().map(|p| (&raw mut *p).cast()).collect();
        arguments.push((&raw mut n).cast());
        let (no_stream, no_extra) = (std::ptr::null_mut(), std::ptr::null_mut());
        let grid = threads.div_ceil(block);
        // SAFETY: five arguments of the entry's types, alive during the call; the buffers hold what the kernel uses.
        let status = unsafe {
            (self.f.launch_kernel)(function, grid, 1, 1, block, 1, 1, 0, no_stream, arguments.as_mut_ptr(), no_extra)
        };
        self.check("cuLaunchKernel", status)?;
        // SAFETY: no arguments.
        self.check("cuCtxSynchronize", unsafe { (self.f.ctx_synchronize)() })?;
        // SAFETY: the host buffer has these bytes.
        self.check("cuMemcpyDtoH", unsafe { (self.f.memcpy_to_host)(out.as_mut_ptr().cast(), p, bytes) })?;
        Ok(out)
    }
}
