//! The CPU backend: rayon over independent outputs, the rules of a GPU, no GPU.

mod buffer;
mod host;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use buffer::Fill;
pub use buffer::{CpuBuffer, CpuPinned};

pub(crate) use buffer::host_vec;
pub(crate) use host::memory_available;

use crate::budget::Budget;
use crate::{
    Backend, Capability, Captured, Device, Elem, Error, Event, InFlight, MemoryUse, Owner, QueueId, Replay, Result,
    View, ViewMut,
};

/// The CPU as a backend. A handle is a queue whose work is done when the call returns.
///
/// It keeps the rules that a GPU has: buffers belong to a queue, memory has a limit, scratch memory has no defined
/// contents, nothing may be allocated inside a capture. What passes here has one reason less to fail on a GPU.
#[derive(Clone, Debug)]
pub struct Cpu {
    machine: Arc<Machine>,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Machine {
    device: Device,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Queue {
    id: QueueId,
    capturing: AtomicBool,
}

impl Queue {
    fn new() -> Arc<Self> {
        Arc::new(Self { id: QueueId::unique(), capturing: AtomicBool::new(false) })
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Cpu {
    /// A queue on the CPU that may use all of the machine's memory.
    pub fn new() -> Self {
        Self::with_memory_limit(host::memory_total())
    }

    /// A queue on the CPU whose buffers may take `bytes` together. Makes memory budgets testable without a GPU.
    pub fn with_memory_limit(bytes: usize) -> Self {
        let mut device = Device::new(host::name(), 0);
        device.units = rayon::current_num_threads();
        device.memory = host::memory_total();
        Self { machine: Arc::new(Machine { device, budget: Arc::new(Budget::new(bytes)) }), queue: Queue::new() }
    }

    /// The elements of a view that this queue may read; the first line of a CPU twin.
    pub fn read<'a, T: Elem>(&self, view: View<'a, Self, T>) -> Result<&'a [T]> {
        view.owner().check_read(self.queue.id, "read")?;
        let len = view.len();
        let (buf, start) = view.parts();
        Ok(&buf.as_slice()[start..start + len])
    }

    /// The elements of a view that this queue may write; the first line of a CPU twin.
    pub fn write<'a, T: Elem>(&self, view: ViewMut<'a, Self, T>) -> Result<&'a mut [T]> {
        view.owner().check_write(self.queue.id, "write")?;
        let len = view.len();
        let (buf, start) = view.parts();
        Ok(&mut buf.as_mut_slice()[start..start + len])
    }

    fn outside_capture(&self, call: &'static str) -> Result<()> {
        if self.queue.capturing.load(Ordering::Relaxed) { Err(Error::InCapture { call }) } else { Ok(()) }
    }

    fn allocate<T: Elem>(&self, len: usize, fill: Fill) -> Result<CpuBuffer<T>> {
        self.outside_capture("allocation")?;
        CpuBuffer::new(len, fill, &self.machine.budget, Owner::Queue(self.queue.id))
    }
}

fn same_len(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::shape(what, &[expected], &[got])) }
}

impl Backend for Cpu {
    const NAME: &'static str = "cpu";
    type Buf<T: Elem> = CpuBuffer<T>;
    type Pinned<T: Elem> = CpuPinned<T>;
    type Event = CpuEvent;
    type Graph<S: Send + 'static> = CpuGraph<S>;

    fn device(&self) -> &Device {
        &self.machine.device
    }

    fn queue(&self) -> QueueId {
        self.queue.id
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse { free: host::memory_available(), ..self.machine.budget.usage() }
    }

    fn supports(&self, what: Capability) -> bool {
        matches!(what, Capability::Fft | Capability::Graphs)
    }

    fn fork(&self) -> Result<Self> {
        self.outside_capture("fork")?;
        Ok(Self { machine: Arc::clone(&self.machine), queue: Queue::new() })
    }

    fn join(&self, other: &Self) -> Result<()> {
        self.outside_capture("join")?;
        other.outside_capture("join")?;
        if Arc::ptr_eq(&self.machine, &other.machine) {
            Ok(())
        } else {
            Err(Error::value("join", "the queues belong to different devices"))
        }
    }

    fn record(&self) -> Result<CpuEvent> {
        self.outside_capture("record")?;
        Ok(CpuEvent(Instant::now()))
    }

    fn wait(&self, _event: &CpuEvent) -> Result<()> {
        self.outside_capture("wait")
    }

    fn synchronize(&self) -> Result<()> {
        self.outside_capture("synchronize")
    }

    fn zeros<T: Elem>(&self, len: usize) -> Result<CpuBuffer<T>> {
        self.allocate(len, Fill::Zero)
    }

    fn scratch<T: Elem>(&self, len: usize) -> Result<CpuBuffer<T>> {
        self.allocate(len, Fill::Unspecified)
    }

    fn pinned<T: Elem>(&self, len: usize) -> Result<CpuPinned<T>> {
        self.outside_capture("allocation")?;
        CpuPinned::new(len, &self.machine.budget)
    }

    fn upload<T: Elem>(&self, src: &[T], dst: ViewMut<'_, Self, T>) -> Result<()> {
        self.outside_capture("upload")?;
        same_len("upload", dst.len(), src.len())?;
        self.write(dst)?.copy_from_slice(src);
        Ok(())
    }

    fn download<T: Elem>(&self, src: View<'_, Self, T>, dst: &mut [T]) -> Result<()> {
        self.outside_capture("download")?;
        same_len("download", src.len(), dst.len())?;
        dst.copy_from_slice(self.read(src)?);
        Ok(())
    }

    fn upload_pinned<T: Elem>(&self, src: CpuPinned<T>, dst: ViewMut<'_, Self, T>) -> Result<InFlight<Self, T>> {
        self.upload(&src, dst)?;
        Ok(InFlight::new(src, self.record()?))
    }

    fn download_pinned<T: Elem>(&self, src: View<'_, Self, T>, mut dst: CpuPinned<T>) -> Result<InFlight<Self, T>> {
        self.download(src, &mut dst)?;
        Ok(InFlight::new(dst, self.record()?))
    }

    fn copy<T: Elem>(&self, src: View<'_, Self, T>, dst: ViewMut<'_, Self, T>) -> Result<()> {
        same_len("copy", dst.len(), src.len())?;
        self.write(dst)?.copy_from_slice(self.read(src)?);
        Ok(())
    }

    fn adopt<T: Elem>(&self, buf: CpuBuffer<T>) -> Result<CpuBuffer<T>> {
        if crate::Buffer::owner(&buf) != Owner::Queue(self.queue.id) {
            self.outside_capture("adopt")?;
        }
        buf.moved_to(Owner::Queue(self.queue.id), &self.machine.budget, "adopt")
    }

    fn share<T: Elem>(&self, buf: CpuBuffer<T>) -> Result<CpuBuffer<T>> {
        self.outside_capture("share")?;
        crate::Buffer::owner(&buf).check_read(self.queue.id, "share")?;
        buf.moved_to(Owner::Shared, &self.machine.budget, "share")
    }

    fn capture<S: Send + 'static>(
        &self,
        state: S,
        body: impl FnMut(&Self, &mut S) -> Result<()> + Send + 'static,
    ) -> Result<Captured<Self, S>> {
        self.outside_capture("capture")?;
        Ok(Captured::new(state, CpuGraph { queue: self.queue.id, body: Box::new(body) }))
    }
}

/// A point in a CPU queue: the time when it was recorded, since earlier work was already done then.
#[derive(Clone, Debug)]
pub struct CpuEvent(Instant);

impl Event for CpuEvent {
    fn wait(&self) -> Result<()> {
        if BODIES.get() > 0 { Err(Error::InCapture { call: "waiting on the host" }) } else { Ok(()) }
    }

    fn since(&self, start: &Self) -> Result<Duration> {
        Ok(self.0.saturating_duration_since(start.0))
    }
}

thread_local! {
    /// How many recorded bodies this thread is in.
    static BODIES: Cell<u32> = const { Cell::new(0) };
}

/// Marks that a queue runs a recorded body on this thread, until dropped, also by a panic.
struct InBody<'a>(&'a AtomicBool);

impl<'a> InBody<'a> {
    fn enter(capturing: &'a AtomicBool) -> Self {
        capturing.store(true, Ordering::Relaxed);
        BODIES.set(BODIES.get() + 1);
        Self(capturing)
    }
}

impl Drop for InBody<'_> {
    fn drop(&mut self) {
        BODIES.set(BODIES.get() - 1);
        self.0.store(false, Ordering::Relaxed);
    }
}

type Body<S> = dyn FnMut(&Cpu, &mut S) -> Result<()> + Send;

/// A recorded body, run again at each replay.
pub struct CpuGraph<S> {
    queue: QueueId,
    body: Box<Body<S>>,
}

impl<S> std::fmt::Debug for CpuGraph<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuGraph").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<S: Send> Replay<Cpu, S> for CpuGraph<S> {
    fn replay(&mut self, b: &Cpu, state: &mut S) -> Result<()> {
        if b.queue.id != self.queue {
            return Err(Error::WrongQueue { what: "replay" });
        }
        b.outside_capture("replay")?;
        let _in_body = InBody::enter(&b.queue.capturing);
        (self.body)(b, state)
    }
}

#[cfg(test)]
mod tests;
