//! Launching a kernel.

use std::any::Any;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cust::memory::DeviceCopy;
use cust::sys::{self, CUfunction_attribute, CUresult};

use super::Cuda;
use super::buffer::CudaBuffer;
use super::driver;
use super::module::Loadable;
use super::queue::Queue;
use crate::{Elem, Error, Result, View, ViewMut};

/// Helpers for the shape of a launch.
#[derive(Debug)]
pub struct Grid;

impl Grid {
    /// Blocks of `block` threads that cover `n` elements: `n / block` rounded up.
    ///
    /// # Errors
    /// When that is more than any axis of a grid allows (2^31 - 1), or `block` is 0.
    pub fn cover(n: usize, block: u32) -> Result<u32> {
        let error = |why: String| Error::Launch { kernel: "grid".to_owned(), why };
        if block == 0 {
            return Err(error("blocks without threads cover nothing".to_owned()));
        }
        let blocks = n.div_ceil(block as usize);
        i32::try_from(blocks).map(|blocks| blocks as u32).map_err(|_| {
            error(format!("{n} elements need {blocks} blocks of {block}; a grid has at most {}", i32::MAX))
        })
    }
}

/// A kernel with the arguments given so far; [`Cuda::kernel`] begins it, [`launch`](Launch::launch) ends it.
///
/// Arguments go in the order of the kernel's parameters. Views stay borrowed until the launch is queued.
#[must_use = "nothing runs without `launch`"]
pub struct Launch<'a> {
    queue: &'a Arc<Queue>,
    kernel: &'static Loadable,
    /// Every argument, each beginning at a word.
    words: Vec<MaybeUninit<u64>>,
    /// First word and bytes of each argument.
    places: Vec<(usize, usize)>,
    touched: Vec<Arc<dyn Any + Send + Sync>>,
    grid: (u32, u32, u32),
    block: (u32, u32, u32),
    shared: u32,
    cooperative: bool,
    borrows: PhantomData<&'a mut ()>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(queue: &'a Arc<Queue>, kernel: &'static Loadable) -> Self {
        Self {
            queue,
            kernel,
            words: Vec::with_capacity(32),
            places: Vec::with_capacity(8),
            touched: Vec::new(),
            grid: (1, 1, 1),
            block: (1, 1, 1),
            shared: 0,
            cooperative: false,
            borrows: PhantomData,
        }
    }

    /// The address of a view that the kernel reads.
    ///
    /// # Errors
    /// [`Error::WrongQueue`] when this queue may not read it.
    pub fn read<T: Elem>(mut self, view: View<'a, Cuda, T>) -> Result<Self> {
        let (buffer, start) = view.parts();
        super::readable(self.queue, buffer)?;
        self.pointer(buffer, start);
        Ok(self)
    }

    /// The address of a view that the kernel writes, or reads and writes.
    ///
    /// # Errors
    /// [`Error::WrongQueue`] when it belongs to another queue, [`Error::Value`] when it is shared.
    pub fn write<T: Elem>(mut self, view: ViewMut<'a, Cuda, T>) -> Result<Self> {
        view.owner().check_write(self.queue.id, "write")?;
        let (buffer, start) = view.parts();
        self.pointer(buffer, start);
        Ok(self)
    }

    fn pointer<T: Elem>(&mut self, buffer: &CudaBuffer<T>, start: usize) {
        if self.queue.is_capturing() {
            let memory: Arc<dyn Any + Send + Sync> = Arc::clone(buffer.memory()) as _;
            self.touched.push(memory);
        }
        self.places.push((self.words.len(), size_of::<u64>()));
        self.words.push(MaybeUninit::new(buffer.address(start)));
    }

    /// A value: a number, or a structure that derives `DeviceCopy` and is `#[repr(C)]`.
    pub fn arg<P: DeviceCopy>(mut self, value: P) -> Self {
        let (at, bytes) = (self.words.len(), size_of::<P>());
        self.words.resize(at + bytes.div_ceil(size_of::<u64>()), MaybeUninit::uninit());
        if let Some(words) = self.words.get_mut(at..) {
            // SAFETY: `words` has room for `bytes` bytes; padding is copied as what it is, uninitialised.
            unsafe { std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), words.as_mut_ptr().cast(), bytes) };
        }
        self.places.push((at, bytes));
        self
    }

    /// Number of blocks in each direction. A grid with none in some direction launches nothing.
    pub fn grid(mut self, blocks: (u32, u32, u32)) -> Self {
        self.grid = blocks;
        self
    }

    /// Takes no more blocks in one direction (0 to 2) than the device allows: for kernels that loop over the rest.
    pub fn looping(mut self, axis: usize) -> Self {
        let limits = self.queue.gpu().limits.grid;
        let blocks = [&mut self.grid.0, &mut self.grid.1, &mut self.grid.2];
        if let (Some(blocks), Some(most)) = (blocks.into_iter().nth(axis), limits.get(axis)) {
            *blocks = (*blocks).min(*most);
        }
        self
    }

    /// Number of threads of a block in each direction.
    pub fn block(mut self, threads: (u32, u32, u32)) -> Self {
        self.block = threads;
        self
    }

    /// Bytes of dynamic shared memory of a block.
    pub fn shared(mut self, bytes: u32) -> Self {
        self.shared = bytes;
        self
    }

    /// All blocks run at the same time, so that the kernel may have a barrier of the whole grid. A grid larger than
    /// [`resident`](Launch::resident) says is refused.
    pub fn cooperative(mut self) -> Self {
        self.cooperative = true;
        self
    }

    /// How many blocks of the threads and shared memory given so far the device runs at the same time; 0 when it has
    /// no cooperative launches, or not the shared memory.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn resident(&self) -> Result<u32> {
        let gpu = self.queue.gpu();
        let threads = u64::from(self.block.0) * u64::from(self.block.1) * u64::from(self.block.2);
        let shared = gpu.limits.shared.saturating_sub(self.kernel.shared);
        if !gpu.limits.cooperative || self.shared > shared || threads > u64::from(self.kernel.threads) {
            return Ok(0);
        }
        self.allow_shared()?;
        let mut blocks = 0;
        // SAFETY: the pointer is valid for the call, and the function's module is never unloaded.
        let code = unsafe {
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(
                &raw mut blocks,
                self.kernel.function.0,
                threads as i32,
                self.shared as usize,
            )
        };
        gpu.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", code)?;
        Ok(blocks.max(0) as u32 * gpu.device.units as u32)
    }

    fn refused(&self, why: String) -> Error {
        Error::Launch { kernel: self.kernel.name.to_string(), why }
    }

    /// Number and sizes of the arguments against the kernel's own declaration.
    fn check_arguments(&self) -> Result<()> {
        let got = self.places.iter().map(|&(_, bytes)| bytes);
        if got.clone().eq(self.kernel.parameters.iter().copied()) {
            return Ok(());
        }
        let got: Vec<_> = got.collect();
        Err(self.refused(format!("arguments of {got:?} bytes, its parameters have {:?}", self.kernel.parameters)))
    }

    fn check_shape(&self) -> Result<()> {
        let limits = &self.queue.gpu().limits;
        let (grid, block) = (self.grid, self.block);
        let fits = |(x, y, z): (u32, u32, u32), limit: [u32; 3]| x <= limit[0] && y <= limit[1] && z <= limit[2];
        if !fits(grid, limits.grid) {
            return Err(self.refused(format!("grid {grid:?}, the device allows {:?}", limits.grid)));
        }
        let threads = u64::from(block.0) * u64::from(block.1) * u64::from(block.2);
        if threads == 0 || !fits(block, limits.block) || threads > u64::from(limits.threads) {
            let (most, all) = (limits.block, limits.threads);
            return Err(self.refused(format!("block {block:?}, the device allows {most:?}, {all} threads together")));
        }
        if threads > u64::from(self.kernel.threads) {
            let most = self.kernel.threads;
            return Err(self.refused(format!("{threads} threads a block, its registers leave room for {most}")));
        }
        Ok(())
    }

    /// Raises the kernel's limit of dynamic shared memory when this launch needs more than it has so far.
    fn allow_shared(&self) -> Result<()> {
        if self.shared <= self.kernel.shared_allowed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let gpu = self.queue.gpu();
        let most = gpu.limits.shared.saturating_sub(self.kernel.shared);
        if self.shared > most {
            return Err(self.refused(format!("{} bytes of dynamic shared memory, the device has {most}", self.shared)));
        }
        // All that the device has, at once: two threads raising it step by step could lower each other's value.
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function's module is never unloaded.
        let code = unsafe { sys::cuFuncSetAttribute(self.kernel.function.0, attribute, most as i32) };
        gpu.check("cuFuncSetAttribute", code)?;
        self.kernel.shared_allowed.store(most, Ordering::Relaxed);
        Ok(())
    }

    /// Queues the kernel.
    ///
    /// # Errors
    /// [`Error::Launch`] when the arguments do not fit the kernel's parameters in number or size, or the shape is
    /// beyond the device. What the kernel does wrong while it runs comes from a later call, as
    /// [`Error::DeviceLost`]; with `LOCKSTEP_LAUNCH_BLOCKING=1` it comes from this one.
    ///
    /// # Safety
    /// The arguments must be what the kernel's C signature says, in this order, and the kernel must stay inside the
    /// views that it was given for this grid and block.
    pub unsafe fn launch(mut self) -> Result<()> {
        self.check_arguments()?;
        let (grid, block) = (self.grid, self.block);
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(());
        }
        self.check_shape()?;
        self.allow_shared()?;
        let gpu = self.queue.gpu();
        tracing::trace!(kernel = %self.kernel.name, ?grid, ?block, shared = self.shared, "launch");
        let words = self.words.as_mut_ptr();
        let mut pointers: Vec<*mut c_void> =
            self.places.iter().map(|&(word, _)| words.wrapping_add(word).cast::<c_void>()).collect();
        self.queue.launched(&self.kernel.name);
        self.queue.keep(self.touched.drain(..));
        // SAFETY: one pointer for each parameter, to at least as many bytes as the parameter has (checked above), which
        // the driver copies before it returns; the rest is the caller's promise.
        let code = unsafe {
            if self.cooperative {
                sys::cuLaunchCooperativeKernel(
                    self.kernel.function.0,
                    grid.0,
                    grid.1,
                    grid.2,
                    block.0,
                    block.1,
                    block.2,
                    self.shared,
                    self.queue.raw(),
                    pointers.as_mut_ptr(),
                )
            } else {
                sys::cuLaunchKernel(
                    self.kernel.function.0,
                    grid.0,
                    grid.1,
                    grid.2,
                    block.0,
                    block.1,
                    block.2,
                    self.shared,
                    self.queue.raw(),
                    pointers.as_mut_ptr(),
                    std::ptr::null_mut(),
                )
            }
        };
        if code != CUresult::CUDA_SUCCESS {
            return Err(match gpu.failure("cuLaunchKernel", driver::last_code()) {
                error @ Error::Driver { .. } => self.refused(error.to_string()),
                other => other,
            });
        }
        if gpu.blocking && !self.queue.is_capturing() {
            self.queue.synchronize()?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}<<<{:?}, {:?}, {}>>>", self.kernel.name, self.grid, self.block, self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::Grid;

    #[test]
    fn blocks_cover_every_element() {
        assert_eq!(Grid::cover(0, 256).unwrap(), 0);
        assert_eq!(Grid::cover(1, 256).unwrap(), 1);
        assert_eq!(Grid::cover(256, 256).unwrap(), 1);
        assert_eq!(Grid::cover(257, 256).unwrap(), 2);
        assert_eq!(Grid::cover(i32::MAX as usize, 1).unwrap(), i32::MAX as u32);
    }

    #[test]
    fn too_many_blocks_are_refused() {
        let error = Grid::cover(1 << 40, 256).unwrap_err().to_string();
        assert!(error.contains("1099511627776"), "{error}");
        assert!(Grid::cover(1, 0).is_err());
    }
}
