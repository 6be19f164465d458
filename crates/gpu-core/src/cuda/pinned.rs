//! Host memory that the device reads and writes directly.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use cust::sys;

use super::gpu::Gpu;
use crate::budget::bytes_of;
use crate::{Elem, Error, Result};

/// Page-locked host memory of the CUDA backend.
pub struct CudaPinned<T: Elem> {
    start: NonNull<T>,
    len: usize,
    gpu: &'static Gpu,
}

// SAFETY: it owns its memory, as a Vec does, and elements are plain data.
unsafe impl<T: Elem> Send for CudaPinned<T> {}
// SAFETY: as above; sharing gives out shared slices only.
unsafe impl<T: Elem> Sync for CudaPinned<T> {}

impl<T: Elem> CudaPinned<T> {
    /// All bits zero. The context must be current.
    pub(super) fn new(gpu: &'static Gpu, len: usize) -> Result<Self> {
        let bytes = bytes_of::<T>(len)?;
        if bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), len, gpu });
        }
        let mut memory: *mut c_void = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        gpu.check("cuMemAllocHost", unsafe { sys::cuMemAllocHost_v2(&raw mut memory, bytes) })?;
        let Some(start) = NonNull::new(memory.cast::<T>()) else {
            return Err(Error::OutOfMemory { requested: bytes, used: 0, limit: 0 });
        };
        // SAFETY: `bytes` bytes were allocated just now, aligned to a page.
        unsafe { ptr::write_bytes(start.as_ptr().cast::<u8>(), 0, bytes) };
        Ok(Self { start, len, gpu })
    }
}

impl<T: Elem> Deref for CudaPinned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements are allocated (or need no memory) and initialised, and every bit pattern is a value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Elem> DerefMut for CudaPinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and this borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Elem> Drop for CudaPinned<T> {
    fn drop(&mut self) {
        if self.len * size_of::<T>() > 0 && self.gpu.alive().is_ok() && self.gpu.bind().is_ok() {
            // SAFETY: allocated by `new` and freed once. A copy in flight owns its memory until it is done.
            unsafe { sys::cuMemFreeHost(self.start.as_ptr().cast()) };
        }
    }
}

impl<T: Elem> std::fmt::Debug for CudaPinned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CudaPinned<{}>[{}]", std::any::type_name::<T>(), self.len)
    }
}
