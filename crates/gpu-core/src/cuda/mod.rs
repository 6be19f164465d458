//! The CUDA backend.
//!
//! [`Cuda::open`] gives a queue on a device; [`kernels!`](crate::kernels) embeds a crate's compiled kernels, and
//! [`Cuda::kernel`] launches one. Nothing here needs a CUDA toolkit: the driver is opened at run time, and a machine
//! without one gets [`Error::NoDevice`] with the loader's words.
//!
//! Variables of the environment:
//! * `LOCKSTEP_DRIVER`: the driver's library, instead of `libcuda.so.1`.
//! * `LOCKSTEP_LAUNCH_BLOCKING=1`: every launch waits, so that an error names the kernel that caused it.
//! * `LOCKSTEP_KERNEL_DIR`: a folder of cubins that take the place of embedded PTX.
//! * `LOCKSTEP_RED_ZONES=0`: no red zones around buffers under the feature `testing`.

mod buffer;
pub mod driver;
mod event;
pub mod fft;
mod gpu;
mod graph;
mod launch;
mod module;
mod pinned;
mod queue;
#[allow(non_snake_case, unused_imports, clippy::wildcard_imports)]
mod symbols;
mod zones;

use std::sync::Arc;

use cust::sys::{self, CUresult};

pub use buffer::CudaBuffer;
use buffer::Machine;
pub use event::CudaEvent;
use gpu::Gpu;
pub use graph::CudaGraph;
pub use launch::{Grid, Launch};
pub use module::{Artefact, Kernels};
pub use pinned::CudaPinned;
use queue::Queue;

use crate::{
    Arch, Backend, Buffer, Capability, Captured, Device, Elem, Error, InFlight, MemoryUse, Owner, QueueId, Result,
    View, ViewMut,
};

/// A queue on an NVIDIA GPU. A clone is the same queue.
#[derive(Clone, Debug)]
pub struct Cuda {
    queue: Arc<Queue>,
    /// Counts the clones, see [`Queue::is_over`].
    #[expect(dead_code, reason = "only the count of its owners matters")]
    handle: Arc<()>,
}

impl Cuda {
    /// A new queue on the device with this ordinal, as the driver counts (`CUDA_VISIBLE_DEVICES` applies).
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there is no driver, no device, or none with this ordinal.
    pub fn open(ordinal: usize) -> Result<Self> {
        let gpu = Gpu::open(ordinal)?;
        gpu.enter()?;
        Self::on(gpu.machine())
    }

    /// How many devices there are, without opening any: their ordinals are below this.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there is no driver or no device.
    pub fn count() -> Result<usize> {
        gpu::count()
    }

    /// One queue on each device, in the order of their ordinals.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there are none.
    pub fn all() -> Result<Vec<Self>> {
        (0..gpu::count()?).map(Self::open).collect()
    }

    /// A new queue on the same device whose buffers, with those of its forks, may take `bytes` together.
    ///
    /// Buffers do not move between queues with different budgets.
    pub fn with_memory_limit(&self, bytes: usize) -> Result<Self> {
        let gpu = self.enter()?;
        Self::on(Arc::new(Machine::new(gpu, bytes)))
    }

    /// Begins the launch of a kernel; the module that holds it is loaded when it is asked for the first time.
    ///
    /// ```ignore
    /// let launch = self.kernel(&KERNELS, "scale_f32")?.read(x)?.write(y)?.arg(params).grid((blocks, 1, 1)).block((256, 1, 1));
    /// // SAFETY: void scale_f32(const float* x, float* y, ScaleParams p); `scale` has checked the lengths.
    /// unsafe { launch.launch() }
    /// ```
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is none of this name, none that the device can run, or the driver refuses it.
    pub fn kernel(&self, kernels: &'static Kernels, name: &str) -> Result<Launch<'_>> {
        let gpu = self.enter()?;
        Ok(Launch::new(&self.queue, gpu.loaded.kernel(gpu, kernels, name)?))
    }

    /// Blocks that a grid may have in each direction.
    pub fn most_blocks(&self) -> [u32; 3] {
        self.queue.gpu().limits.grid
    }

    fn on(machine: Arc<Machine>) -> Result<Self> {
        let handle = Arc::new(());
        Ok(Self { queue: Queue::new(machine, &handle)?, handle })
    }

    fn enter(&self) -> Result<&'static Gpu> {
        let gpu = self.queue.gpu();
        gpu.enter()?;
        Ok(gpu)
    }

    fn raw_queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn allocate<T: Elem>(&self, len: usize) -> Result<CudaBuffer<T>> {
        self.enter()?;
        self.queue.outside_capture("allocation")?;
        CudaBuffer::new(&self.queue, len)
    }

    /// `Ok` when `other` has the same device and the same budget.
    fn same_machine(&self, other: &Arc<Machine>, call: &'static str, whose: &'static str) -> Result<()> {
        if Arc::ptr_eq(&self.queue.machine, other) { Ok(()) } else { Err(Error::value(call, whose)) }
    }
}

/// Checks that the queue may read the buffer, and notes it when the buffer is another queue's.
fn readable<T: Elem>(queue: &Arc<Queue>, buffer: &CudaBuffer<T>) -> Result<()> {
    buffer.owner().check_read(queue.id, "read")?;
    let memory = buffer.memory();
    // Shared memory may be read by every queue of its device, but not by another device.
    if !std::ptr::eq(memory.machine().gpu, queue.gpu()) {
        return Err(Error::WrongQueue { what: "read" });
    }
    if buffer.owner() == Owner::Shared {
        memory.used_on(queue);
    }
    Ok(())
}

fn same_len(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::shape(what, &[expected], &[got])) }
}

/// Whether a copy from this host memory may still read it after the call.
fn copies_late<T>(gpu: &Gpu, src: &[T]) -> bool {
    let mut kind = 0u32;
    let which = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    // SAFETY: this attribute is a C `unsigned int`, and the pointer is valid for the call. The driver refuses
    // addresses that it does not know: ordinary host memory, which it copies before it returns.
    let code = unsafe { sys::cuPointerGetAttribute((&raw mut kind).cast(), which, src.as_ptr().addr() as u64) };
    code == CUresult::CUDA_SUCCESS || gpu.reads_pageable
}

impl Cuda {
    /// Queues a copy from the host. The memory must stay as it is until the copy is done.
    fn copy_in<T: Elem>(&self, gpu: &Gpu, src: &[T], dst: ViewMut<'_, Self, T>) -> Result<()> {
        dst.owner().check_write(self.queue.id, "write")?;
        let (buffer, start) = dst.parts();
        if size_of_val(src) == 0 {
            return Ok(());
        }
        // SAFETY: the view has as many elements as `src`, which the callers have checked.
        let code = unsafe {
            sys::cuMemcpyHtoDAsync_v2(buffer.address(start), src.as_ptr().cast(), size_of_val(src), self.queue.raw())
        };
        gpu.check("cuMemcpyHtoDAsync", code)
    }

    /// Queues a copy to the host. The memory must stay untouched until the copy is done.
    fn copy_out<T: Elem>(&self, gpu: &Gpu, src: View<'_, Self, T>, dst: &mut [T]) -> Result<()> {
        let (buffer, start) = src.parts();
        readable(&self.queue, buffer)?;
        if size_of_val(dst) == 0 {
            return Ok(());
        }
        // SAFETY: the view has as many elements as `dst`, which the callers have checked.
        let code = unsafe {
            sys::cuMemcpyDtoHAsync_v2(
                dst.as_mut_ptr().cast(),
                buffer.address(start),
                size_of_val(dst),
                self.queue.raw(),
            )
        };
        gpu.check("cuMemcpyDtoHAsync", code)
    }

    /// The memory of a copy that has been queued, with the event behind it.
    fn in_flight<T: Elem>(&self, memory: CudaPinned<T>) -> Result<InFlight<Self, T>> {
        match self.record() {
            Ok(event) => Ok(InFlight::new(memory, event)),
            Err(error) => {
                // Nothing says when the device is done with it.
                std::mem::forget(memory);
                Err(error)
            }
        }
    }
}

impl Backend for Cuda {
    const NAME: &'static str = "cuda";
    type Buf<T: Elem> = CudaBuffer<T>;
    type Pinned<T: Elem> = CudaPinned<T>;
    type Event = CudaEvent;
    type Graph<S: Send + 'static> = CudaGraph<S>;

    fn device(&self) -> &Device {
        &self.queue.gpu().device
    }

    fn queue(&self) -> QueueId {
        self.queue.id
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse { free: self.queue.gpu().free_memory(), ..self.queue.machine.budget.usage() }
    }

    fn supports(&self, what: Capability) -> bool {
        let at_least = |major| self.device().arch.is_some_and(|arch| arch >= Arch { major, minor: 0 });
        match what {
            Capability::TensorF16 => at_least(7),
            Capability::Tf32 | Capability::AsyncCopy => at_least(8),
            // Instructions of `sm_90a`, which later architectures do not have.
            Capability::Wgmma => self.device().arch == Some(Arch { major: 9, minor: 0 }),
            Capability::Fft => fft::is_available(),
            Capability::Graphs => true,
            Capability::Peer(ordinal) => self.queue.gpu().can_access(ordinal),
        }
    }

    fn fork(&self) -> Result<Self> {
        self.enter()?;
        self.queue.outside_capture("fork")?;
        let fork = Self::on(Arc::clone(&self.queue.machine))?;
        fork.queue.wait_for(&self.queue)?;
        Ok(fork)
    }

    fn join(&self, other: &Self) -> Result<()> {
        self.enter()?;
        self.same_machine(&other.queue.machine, "join", "the queues belong to different devices")?;
        self.queue.outside_capture("join")?;
        other.queue.outside_capture("join")?;
        self.queue.wait_for(&other.queue)
    }

    fn record(&self) -> Result<CudaEvent> {
        self.enter()?;
        self.queue.outside_capture("record")?;
        CudaEvent::record(&self.queue)
    }

    fn wait(&self, event: &CudaEvent) -> Result<()> {
        self.enter()?;
        self.queue.outside_capture("wait")?;
        event.hold_back(&self.queue)
    }

    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        self.queue.outside_capture("synchronize")?;
        self.queue.synchronize()
    }

    fn zeros<T: Elem>(&self, len: usize) -> Result<CudaBuffer<T>> {
        let buffer = self.allocate::<T>(len)?;
        let bytes = len * size_of::<T>();
        if bytes > 0 {
            // SAFETY: the buffer was allocated just now with this many bytes.
            let code = unsafe { sys::cuMemsetD8Async(buffer.address(0), 0, bytes, self.queue.raw()) };
            self.queue.gpu().check("cuMemsetD8Async", code)?;
        }
        Ok(buffer)
    }

    fn scratch<T: Elem>(&self, len: usize) -> Result<CudaBuffer<T>> {
        self.allocate(len)
    }

    fn pinned<T: Elem>(&self, len: usize) -> Result<CudaPinned<T>> {
        let gpu = self.enter()?;
        self.queue.outside_capture("allocation")?;
        CudaPinned::new(gpu, len)
    }

    fn upload<T: Elem>(&self, src: &[T], dst: ViewMut<'_, Self, T>) -> Result<()> {
        let gpu = self.enter()?;
        self.queue.outside_capture("upload")?;
        same_len("upload", dst.len(), src.len())?;
        self.copy_in(gpu, src, dst)?;
        if copies_late(gpu, src) { self.queue.synchronize() } else { Ok(()) }
    }

    fn download<T: Elem>(&self, src: View<'_, Self, T>, dst: &mut [T]) -> Result<()> {
        let gpu = self.enter()?;
        self.queue.outside_capture("download")?;
        same_len("download", src.len(), dst.len())?;
        self.copy_out(gpu, src, dst)?;
        self.queue.synchronize()?;
        src.parts().0.memory().check_zones(&self.queue)
    }

    fn upload_pinned<T: Elem>(&self, src: CudaPinned<T>, dst: ViewMut<'_, Self, T>) -> Result<InFlight<Self, T>> {
        let gpu = self.enter()?;
        self.queue.outside_capture("upload")?;
        same_len("upload", dst.len(), src.len())?;
        self.copy_in(gpu, &src, dst)?;
        self.in_flight(src)
    }

    fn download_pinned<T: Elem>(&self, src: View<'_, Self, T>, mut dst: CudaPinned<T>) -> Result<InFlight<Self, T>> {
        let gpu = self.enter()?;
        self.queue.outside_capture("download")?;
        same_len("download", src.len(), dst.len())?;
        self.copy_out(gpu, src, &mut dst)?;
        self.in_flight(dst)
    }

    fn copy<T: Elem>(&self, src: View<'_, Self, T>, dst: ViewMut<'_, Self, T>) -> Result<()> {
        let gpu = self.enter()?;
        same_len("copy", dst.len(), src.len())?;
        let bytes = src.len() * size_of::<T>();
        dst.owner().check_write(self.queue.id, "write")?;
        let ((from, first), (to, start)) = (src.parts(), dst.parts());
        readable(&self.queue, from)?;
        if bytes == 0 {
            return Ok(());
        }
        self.queue.keep([Arc::clone(from.memory()) as _, Arc::clone(to.memory()) as _]);
        // SAFETY: both views have `bytes` bytes, and borrows keep them apart.
        let code =
            unsafe { sys::cuMemcpyDtoDAsync_v2(to.address(start), from.address(first), bytes, self.queue.raw()) };
        gpu.check("cuMemcpyDtoDAsync", code)
    }

    fn adopt<T: Elem>(&self, buf: CudaBuffer<T>) -> Result<CudaBuffer<T>> {
        self.enter()?;
        self.same_machine(buf.memory().machine(), "adopt", "the buffer belongs to another device")?;
        if buf.owner() == Owner::Shared {
            return Err(Error::value("adopt", "the buffer is shared and stays so"));
        }
        let home = buf.memory().home();
        if home.id == self.queue.id {
            return Ok(buf);
        }
        self.queue.outside_capture("adopt")?;
        home.outside_capture("adopt")?;
        self.queue.wait_for(&home)?;
        Ok(buf.moved_to(&self.queue))
    }

    fn share<T: Elem>(&self, buf: CudaBuffer<T>) -> Result<CudaBuffer<T>> {
        self.enter()?;
        self.queue.outside_capture("share")?;
        buf.owner().check_read(self.queue.id, "share")?;
        self.same_machine(buf.memory().machine(), "share", "the buffer belongs to another device")?;
        // Once is enough: from here on nobody writes, and every queue of the device sees what was written.
        self.queue.synchronize()?;
        Ok(buf.shared())
    }

    fn capture<S: Send + 'static>(
        &self,
        mut state: S,
        mut body: impl FnMut(&Self, &mut S) -> Result<()> + Send + 'static,
    ) -> Result<Captured<Self, S>> {
        self.enter()?;
        self.queue.outside_capture("capture")?;
        let graph = CudaGraph::record(&self.queue, || body(self, &mut state))?;
        Ok(Captured::new(state, graph))
    }
}
