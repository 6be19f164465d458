//! The driver's functions, declared as `cuda.h` has them, and what the tests make of them.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

unsafe extern "C" {
    fn cuInit(flags: c_uint) -> u32;
    fn cuDevicePrimaryCtxRetain(context: *mut u64, device: c_int) -> u32;
    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> u32;
    fn cuCtxGetApiVersion(context: u64, version: *mut c_uint) -> u32;
    fn cuCtxSetCurrent(context: u64) -> u32;
    fn cuCtxGetCurrent(context: *mut u64) -> u32;
    fn cuCtxCreate_v2(context: *mut u64, flags: c_uint, device: c_int) -> u32;
    fn cuCtxDestroy_v2(context: u64) -> u32;
    fn cuCtxPushCurrent_v2(context: u64) -> u32;
    fn cuCtxPopCurrent_v2(context: *mut u64) -> u32;
    fn cuCtxGetFlags(flags: *mut c_uint) -> u32;
    fn cuCtxGetLimit(value: *mut usize, limit: c_int) -> u32;
    fn cuCtxSetLimit(limit: c_int, value: usize) -> u32;
    fn cuCtxSynchronize() -> u32;
    fn cuGetErrorName(code: u32, name: *mut *const c_char) -> u32;
    fn cuModuleLoadData(module: *mut u64, image: *const c_void) -> u32;
    fn cuModuleGetFunction(function: *mut u64, module: u64, name: *const c_char) -> u32;
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32;
    fn cuMemAllocManaged(address: *mut u64, bytes: usize, flags: c_uint) -> u32;
    fn cuMemAllocPitch_v2(address: *mut u64, pitch: *mut usize, width: usize, height: usize, element: c_uint) -> u32;
    fn cuMemFree_v2(address: u64) -> u32;
    fn cuMemcpy(to: u64, from: u64, bytes: usize) -> u32;
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> u32;
    fn cuMemcpy2D_v2(rows: *const Rows) -> u32;
    fn cuMemsetD2D16_v2(to: u64, pitch: usize, value: u16, width: usize, height: usize) -> u32;
    fn cuStreamCreateWithPriority(stream: *mut u64, flags: c_uint, priority: c_int) -> u32;
    fn cuStreamCreate(stream: *mut u64, flags: c_uint) -> u32;
    fn cuStreamGetFlags(stream: u64, flags: *mut c_uint) -> u32;
    fn cuStreamGetPriority(stream: u64, priority: *mut c_int) -> u32;
    fn cuEventQuery(event: u64) -> u32;
    fn cuEventRecord(event: u64, stream: u64) -> u32;
    fn cuLaunchHostFunc(stream: u64, run: unsafe extern "C" fn(*mut c_void), data: *mut c_void) -> u32;
    fn cuLinkCreate_v2(count: c_uint, options: *mut c_int, values: *mut *mut c_void, state: *mut u64) -> u32;
    fn cuOccupancyMaxPotentialBlockSize(
        grid: *mut c_int,
        block: *mut c_int,
        function: u64,
        needs: *const c_void,
        dynamic: usize,
        limit: c_int,
    ) -> u32;
    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, function: u64, blocks: c_int, threads: c_int) -> u32;
    fn cuLaunchKernel(
        function: u64,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: u64,
        arguments: *mut usize,
        extra: *mut *mut c_void,
    ) -> u32;
    fn cuLaunchKernelEx(config: *const Config, function: u64, arguments: *mut usize, extra: *mut *mut c_void) -> u32;
}

/// `CUlaunchConfig`: grid and block, dynamic shared memory, then what is to be told of the launch.
#[repr(C)]
struct Config {
    shape: [c_uint; 7],
    stream: u64,
    attributes: *const [c_uint; 18],
    count: c_uint,
}

/// One side of `CUDA_MEMCPY2D`.
#[repr(C)]
struct Place {
    x: usize,
    y: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`
#[repr(C)]
pub(crate) struct Rows {
    from: Place,
    to: Place,
    width: usize,
    height: usize,
}

#[track_caller]
pub(crate) fn ok(code: u32) {
    assert_eq!(code, 0, "{}", words(code));
}

/// A call, and what it stores unless it fails.
fn stored<T: Default>(call: impl FnOnce(*mut T) -> u32) -> Result<T, u32> {
    let mut value = T::default();
    match call(&raw mut value) {
        0 => Ok(value),
        code => Err(code),
    }
}

/// One call whose arguments are values, or pointers to what lives longer than the call.
macro_rules! call {
    ($($call:tt)*) => {
        // SAFETY: values, and pointers to what outlives the call; other addresses are there to be refused.
        unsafe { $($call)* }
    };
}

pub(crate) fn init() -> u32 {
    call!(cuInit(0))
}

/// The driver with the primary context of the first device current.
pub(crate) fn start() -> u64 {
    ok(init());
    let context = stored(|to| call!(cuDevicePrimaryCtxRetain(to, 0))).unwrap();
    ok(call!(cuCtxSetCurrent(context)));
    context
}

pub(crate) fn primary_flags(device: c_int, flags: c_uint) -> u32 {
    call!(cuDevicePrimaryCtxSetFlags_v2(device, flags))
}

pub(crate) fn api_version(context: u64, version: &mut u32) -> u32 {
    call!(cuCtxGetApiVersion(context, version))
}

pub(crate) fn context() -> u64 {
    stored(|to| call!(cuCtxGetCurrent(to))).unwrap()
}

pub(crate) fn context_create(context: &mut u64, flags: c_uint, device: c_int) -> u32 {
    call!(cuCtxCreate_v2(context, flags, device))
}

pub(crate) fn context_destroy(context: u64) -> u32 {
    call!(cuCtxDestroy_v2(context))
}

pub(crate) fn context_flags() -> u32 {
    stored(|to| call!(cuCtxGetFlags(to))).unwrap()
}

pub(crate) fn push(context: u64) -> u32 {
    call!(cuCtxPushCurrent_v2(context))
}

pub(crate) fn pop() -> u64 {
    stored(|to| call!(cuCtxPopCurrent_v2(to))).unwrap()
}

pub(crate) fn limit(limit: c_int) -> Result<usize, u32> {
    stored(|to| call!(cuCtxGetLimit(to, limit)))
}

pub(crate) fn set_limit(limit: c_int, value: usize) -> u32 {
    call!(cuCtxSetLimit(limit, value))
}

pub(crate) fn synchronize() -> u32 {
    call!(cuCtxSynchronize())
}

/// What the driver says of a code.
pub(crate) fn words(code: u32) -> String {
    let mut name = std::ptr::null();
    if call!(cuGetErrorName(code, &raw mut name)) != 0 {
        return format!("code {code}");
    }
    // SAFETY: the driver's texts end in NUL and live as long as the process.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

pub(crate) fn load(text: &str) -> Result<u64, u32> {
    let text = CString::new(text).unwrap();
    stored(|to| call!(cuModuleLoadData(to, text.as_ptr().cast())))
}

pub(crate) fn find(name: &str) -> Result<u64, u32> {
    let (module, name) = (load(crate::ADD)?, CString::new(name).unwrap());
    stored(|to| call!(cuModuleGetFunction(to, module, name.as_ptr())))
}

pub(crate) fn kernel(name: &str) -> u64 {
    find(name).unwrap()
}

pub(crate) fn allocate(bytes: usize) -> Result<u64, u32> {
    stored(|to| call!(cuMemAlloc_v2(to, bytes)))
}

pub(crate) fn managed(bytes: usize) -> u64 {
    stored(|to| call!(cuMemAllocManaged(to, bytes, 1))).unwrap()
}

/// Memory for rows, and the bytes from one to the next.
pub(crate) fn rows(width: usize, height: usize) -> (u64, usize) {
    let mut pitch = 0;
    (stored(|to| call!(cuMemAllocPitch_v2(to, &raw mut pitch, width, height, 4))).unwrap(), pitch)
}

pub(crate) fn fill_rows(to: u64, pitch: usize, value: u16, width: usize, height: usize) -> u32 {
    call!(cuMemsetD2D16_v2(to, pitch, value, width, height))
}

/// Copies rows to the host.
pub(crate) fn copy_rows(to: &mut [u8], apart: usize, from: u64, pitch: usize, width: usize, height: usize) -> u32 {
    assert!(apart * (height - 1) + width <= to.len() || apart < width);
    let place = |kind, host, device, pitch| Place { x: 0, y: 0, kind, host, device, array: null_mut(), pitch };
    let from = place(2, null_mut(), from, pitch);
    let rows = Rows { from, to: place(1, to.as_mut_ptr().cast(), 0, apart), width, height };
    call!(cuMemcpy2D_v2(&raw const rows))
}

pub(crate) fn free(address: u64) -> u32 {
    call!(cuMemFree_v2(address))
}

pub(crate) fn copy_out(to: &mut [u8], from: u64) -> u32 {
    call!(cuMemcpyDtoH_v2(to.as_mut_ptr().cast(), from, to.len()))
}

pub(crate) fn stream(flags: c_uint, priority: c_int) -> u64 {
    stored(|to| call!(cuStreamCreateWithPriority(to, flags, priority))).unwrap()
}

pub(crate) fn stream_without_place() -> u32 {
    call!(cuStreamCreate(null_mut(), 0))
}

pub(crate) fn flags_and_priority(stream: u64) -> (u32, i32) {
    let flags = stored(|to| call!(cuStreamGetFlags(stream, to))).unwrap();
    (flags, stored(|to| call!(cuStreamGetPriority(stream, to))).unwrap())
}

pub(crate) fn event_query_nowhere() -> u32 {
    call!(cuEventQuery(64))
}

pub(crate) fn event_record_nowhere() -> u32 {
    call!(cuEventRecord(64, 0))
}

/// Has a function called so many times; how often it was.
pub(crate) fn host_calls(times: usize) -> usize {
    unsafe extern "C" fn count(data: *mut c_void) {
        // SAFETY: what `host_calls` gives.
        unsafe { *data.cast::<usize>() += 1 };
    }
    let mut seen = 0usize;
    for _ in 0..times {
        ok(call!(cuLaunchHostFunc(0, count, (&raw mut seen).cast())));
    }
    seen
}

pub(crate) fn link_create() -> u32 {
    let mut state = 0;
    call!(cuLinkCreate_v2(0, null_mut(), null_mut(), &raw mut state))
}

/// Blocks and their threads, with dynamic shared memory and at most so many threads.
pub(crate) fn proposed(function: u64, dynamic: usize, limit: c_int) -> (c_int, c_int) {
    let mut block = 0;
    let propose =
        |to| call!(cuOccupancyMaxPotentialBlockSize(to, &raw mut block, function, std::ptr::null(), dynamic, limit));
    (stored(propose).unwrap(), block)
}

pub(crate) fn available(function: u64, blocks: c_int, threads: c_int) -> Result<usize, u32> {
    stored(|to| call!(cuOccupancyAvailableDynamicSMemPerBlock(to, function, blocks, threads)))
}

/// Launches one block, with the addresses of arguments as they are.
pub(crate) fn launch_raw(function: u64, arguments: &mut [usize]) -> u32 {
    launch_at(function, 1, arguments)
}

/// Launches one block.
pub(crate) fn launch(function: u64, threads: u32, arguments: &[&[u8]]) -> u32 {
    let mut at: Vec<usize> = arguments.iter().map(|bytes| bytes.as_ptr().expose_provenance()).collect();
    launch_at(function, threads, &mut at)
}

/// Launches a column of blocks with attributes: a number and the first words of the value.
pub(crate) fn launch_with(
    function: u64,
    blocks: u32,
    attributes: &[(c_uint, [c_uint; 3])],
    arguments: &mut [usize],
) -> u32 {
    let words = |&(id, [a, b, c]): &(c_uint, [c_uint; 3])| {
        let mut words = [0; 18];
        (words[0], words[2], words[3], words[4]) = (id, a, b, c);
        words
    };
    let attributes: Vec<[c_uint; 18]> = attributes.iter().map(words).collect();
    let shape = [1, blocks, 1, 1, 1, 1, 0];
    let config = Config { shape, stream: 0, attributes: attributes.as_ptr(), count: attributes.len() as c_uint };
    call!(cuLaunchKernelEx(&raw const config, function, arguments.as_mut_ptr(), null_mut()))
}

fn launch_at(function: u64, threads: u32, arguments: &mut [usize]) -> u32 {
    call!(cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, 0, arguments.as_mut_ptr(), null_mut()))
}

/// Adds 1 to words on the device.
pub(crate) fn add(words: &[u32], n: u32) -> Vec<u32> {
    let bytes = size_of_val(words);
    let x = allocate(bytes).unwrap();
    ok(call!(cuMemcpy(x, words.as_ptr().expose_provenance() as u64, bytes)));
    ok(launch(kernel("add"), 32, &[&x.to_le_bytes(), &n.to_le_bytes()]));
    ok(synchronize());
    let mut out = vec![0u8; bytes];
    ok(copy_out(&mut out, x));
    ok(free(x));
    out.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}
