//! Memory of the device.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cust::sys::{self, CUdeviceptr, CUresult};

use super::gpu::Gpu;
use super::queue::Queue;
use super::zones;
use crate::budget::{Budget, bytes_of};
use crate::{Buffer, Elem, Error, Owner, Result};

/// A device together with a limit on the memory of its buffers.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) gpu: &'static Gpu,
    pub(super) budget: Budget,
}

impl Machine {
    pub(super) fn new(gpu: &'static Gpu, limit: usize) -> Self {
        Self { gpu, budget: Budget::new(limit) }
    }
}

/// Memory of the CUDA backend.
pub struct CudaBuffer<T: Elem> {
    memory: Arc<Memory>,
    len: usize,
    owner: Owner,
    elements: PhantomData<T>,
}

/// One allocation. Counted, because a captured graph keeps what it works on.
pub(super) struct Memory {
    block: Option<Block>,
    /// Where the buffer's own bytes begin.
    start: CUdeviceptr,
    bytes: usize,
    machine: Arc<Machine>,
    /// The queue that frees it, which `adopt` changes.
    home: Mutex<Arc<Queue>>,
    /// Other queues that have read it since it was shared.
    readers: Mutex<Vec<Arc<Queue>>>,
    /// Whether a write outside has been reported already.
    damaged: AtomicBool,
}

/// What the driver gave; absent for buffers without bytes.
#[derive(Clone, Copy)]
struct Block(CUdeviceptr);

impl<T: Elem> CudaBuffer<T> {
    /// Memory with unspecified contents. The context must be current, the queue not capturing.
    pub(super) fn new(queue: &Arc<Queue>, len: usize) -> Result<Self> {
        let bytes = bytes_of::<T>(len)?;
        let memory = Arc::new(Memory::new(queue, bytes)?);
        zones::paint(&memory, queue)?;
        Ok(Self { memory, len, owner: Owner::Queue(queue.id), elements: PhantomData })
    }

    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Address of an element.
    pub(super) fn address(&self, element: usize) -> CUdeviceptr {
        self.memory.start + (element * size_of::<T>()) as u64
    }

    /// Gives the buffer to a queue that has already been ordered behind the present one.
    pub(super) fn moved_to(mut self, queue: &Arc<Queue>) -> Self {
        *self.memory.home.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(queue);
        self.owner = Owner::Queue(queue.id);
        self
    }

    pub(super) fn shared(mut self) -> Self {
        self.owner = Owner::Shared;
        self
    }
}

impl Memory {
    fn new(queue: &Arc<Queue>, bytes: usize) -> Result<Self> {
        let machine = Arc::clone(&queue.machine);
        machine.budget.take(bytes)?;
        // From here on dropping `memory` gives the bytes back.
        let mut memory = Self {
            block: None,
            start: 0,
            bytes,
            machine,
            home: Mutex::new(Arc::clone(queue)),
            readers: Mutex::default(),
            damaged: AtomicBool::new(false),
        };
        let zone = zones::width();
        if bytes + 2 * zone > 0 {
            let base = allocate(queue, bytes + 2 * zone).map_err(|error| memory.explain(error))?;
            memory.block = Some(Block(base));
            memory.start = base + zone as u64;
        }
        Ok(memory)
    }

    /// Names the sizes when the driver itself is out of memory.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Driver { code, .. } if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32 => {
                let memory = self.machine.budget.usage();
                let free = self.machine.gpu.free_memory();
                let used = memory.used.saturating_sub(self.bytes);
                Error::OutOfMemory { requested: self.bytes, used, limit: memory.limit.min(used.saturating_add(free)) }
            }
            other => other,
        }
    }

    pub(super) fn start(&self) -> CUdeviceptr {
        self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    pub(super) fn home(&self) -> Arc<Queue> {
        Arc::clone(&self.home.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers that `queue` works with shared memory, which then must not be freed before that work is done.
    pub(super) fn used_on(&self, queue: &Arc<Queue>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.iter().all(|known| known.id != queue.id) {
            // Shared memory may outlive many queues.
            readers.retain(|known| !known.is_over());
            readers.push(Arc::clone(queue));
        }
    }

    /// `Err` once when something wrote outside; what checks again afterwards learns nothing new.
    pub(super) fn check_zones(&self, queue: &Queue) -> Result<()> {
        if self.damaged.load(Ordering::Relaxed) {
            return Ok(());
        }
        zones::check(self, queue).inspect_err(|error| {
            self.damaged.store(matches!(error, Error::Kernel { .. }), Ordering::Relaxed);
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.machine.budget.give(self.bytes);
        let Some(block) = self.block.take() else { return };
        let gpu = self.machine.gpu;
        // Memory of a lost context is gone with it.
        if gpu.alive().is_err() {
            return;
        }
        let home = self.home();
        let readers = std::mem::take(self.readers.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !home.is_capturing()
            && let Err(error) = gpu.bind().and_then(|()| self.check_zones(&home))
        {
            gpu.store(error);
        }
        release(block, home, readers);
    }
}

fn allocate(queue: &Queue, bytes: usize) -> Result<CUdeviceptr> {
    let mut base = 0;
    if queue.gpu().has_pool() {
        // SAFETY: the pointer is valid for the call, the stream lives as long as the queue.
        let code = unsafe { sys::cuMemAllocAsync(&raw mut base, bytes, queue.raw()) };
        queue.gpu().check("cuMemAllocAsync", code)?;
    } else {
        // SAFETY: the pointer is valid for the call.
        queue.gpu().check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&raw mut base, bytes) })?;
    }
    Ok(base)
}

/// Frees a block behind everything that its queues have queued. A free must not become part of a graph, so it is put
/// off while one of them is capturing.
fn release(block: Block, home: Arc<Queue>, mut readers: Vec<Arc<Queue>>) {
    readers.retain(|queue| queue.id != home.id);
    let busy = std::iter::once(&home).chain(&readers).find(|queue| queue.is_capturing()).cloned();
    if let Some(busy) = busy {
        let later = Box::new(move || release(block, home, readers));
        if let Some(now) = busy.defer(later) {
            now();
        }
        return;
    }
    let gpu = home.gpu();
    if gpu.alive().is_ok()
        && let Err(error) = free(block, &home, &readers)
    {
        gpu.store(error);
    }
}

fn free(block: Block, home: &Queue, readers: &[Arc<Queue>]) -> Result<()> {
    let gpu = home.gpu();
    gpu.bind()?;
    for reader in readers {
        home.wait_for(reader)?;
    }
    if gpu.has_pool() {
        // SAFETY: allocated by `allocate`, freed once; everything queued that uses it is ordered before.
        let code = unsafe { sys::cuMemFreeAsync(block.0, home.raw()) };
        return ignore_shutdown(gpu, "cuMemFreeAsync", code);
    }
    // Waits for the device by itself.
    // SAFETY: allocated by `allocate`, freed once.
    let code = unsafe { sys::cuMemFree_v2(block.0) };
    ignore_shutdown(gpu, "cuMemFree", code)
}

/// While the process ends, the driver may be gone before the last buffer.
fn ignore_shutdown(gpu: &Gpu, call: &'static str, code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_ERROR_DEINITIALIZED {
        return Ok(());
    }
    gpu.check(call, code)
}

impl<T: Elem> fmt::Debug for CudaBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaBuffer<{}>[{}]", std::any::type_name::<T>(), self.len)
    }
}

impl<T: Elem> Buffer<T> for CudaBuffer<T> {
    fn len(&self) -> usize {
        self.len
    }

    fn owner(&self) -> Owner {
        self.owner
    }
}
