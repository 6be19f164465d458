use std::fmt::Debug;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Captured, Error, InFlight, Replay, Result, View, ViewMut};

/// A number type, or a plain structure of numbers, that can live in device memory.
///
/// Implemented for everything that is [`bytemuck::Pod`]: `f32`, `f64`, `half::f16`, `half::bf16`, `num_complex::Complex`,
/// integers, and structures that derive `Pod`.
pub trait Elem: bytemuck::Pod + PartialEq + Debug + Send + Sync {}
impl<T: bytemuck::Pod + PartialEq + Debug + Send + Sync> Elem for T {}

/// The identity of a queue. A buffer carries the id of the queue that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(u64);

impl QueueId {
    /// An id that no other queue of this process has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Who may use a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One queue, for reading and writing.
    Queue(QueueId),
    /// Every queue of the device, for reading only.
    Shared,
}

impl Owner {
    /// `Ok` when a queue may read a buffer with this owner.
    pub fn check_read(self, queue: QueueId, what: &'static str) -> Result<()> {
        match self {
            Self::Shared => Ok(()),
            Self::Queue(owner) if owner == queue => Ok(()),
            Self::Queue(_) => Err(Error::WrongQueue { what }),
        }
    }

    /// `Ok` when a queue may write a buffer with this owner. Shared buffers are read-only.
    pub fn check_write(self, queue: QueueId, what: &'static str) -> Result<()> {
        match self {
            Self::Shared => Err(Error::value(what, "the buffer is shared and therefore read-only")),
            Self::Queue(owner) if owner == queue => Ok(()),
            Self::Queue(_) => Err(Error::WrongQueue { what }),
        }
    }
}

/// Compute capability of a CUDA device, ordered: `Arch { major: 7, minor: 5 } < Arch { major: 8, minor: 0 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch {
    /// The generation: 7 Volta and Turing, 8 Ampere and Ada, 9 Hopper.
    pub major: u32,
    /// The variant inside the generation.
    pub minor: u32,
}

/// The highest clocks of a CUDA device and the width of its memory, as the driver states them: what estimates of the least
/// time for some work start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Of the multiprocessors, in kHz.
    pub units_khz: u32,
    /// Of the memory, in kHz; each line carries two bits a clock.
    pub memory_khz: u32,
    /// Lines of the memory's bus.
    pub memory_bits: u32,
}

impl Clocks {
    /// Bytes from and to memory in a second at most.
    pub fn bytes_per_second(&self) -> f64 {
        2e3 * f64::from(self.memory_khz) * f64::from(self.memory_bits) / 8.0
    }
}

/// What a backend runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Name as the system gives it.
    pub name: String,
    /// Index among devices of its kind.
    pub ordinal: usize,
    /// Compute capability; `None` for the CPU.
    pub arch: Option<Arch>,
    /// Multiprocessors, or CPU threads.
    pub units: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of shared memory that one block can opt in to; 0 for the CPU.
    pub shared_per_block: usize,
    /// Driver version as `1000 * major + 10 * minor`; `None` for the CPU.
    pub driver: Option<u32>,
    /// `None` for the CPU, and where a driver does not tell all of them.
    pub clocks: Option<Clocks>,
}

impl Device {
    /// A description of a device; backends call this.
    pub fn new(name: impl Into<String>, ordinal: usize) -> Self {
        Self {
            name: name.into(),
            ordinal,
            arch: None,
            units: 1,
            memory: 0,
            shared_per_block: 0,
            driver: None,
            clocks: None,
        }
    }
}

/// Bytes in use by one device's buffers of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// In buffers alive now.
    pub used: usize,
    /// The largest `used` so far.
    pub peak: usize,
    /// Allocations that would go past this fail with [`Error::OutOfMemory`].
    pub limit: usize,
    /// What the system says is free; other processes take from it too.
    pub free: usize,
}

/// Something a device may or may not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Matrix units with FP16 operands.
    TensorF16,
    /// Matrix units with TF32 operands.
    Tf32,
    /// Asynchronous copies from global to shared memory.
    AsyncCopy,
    /// Hopper's warpgroup matrix instructions.
    Wgmma,
    /// A library of fast Fourier transforms is present.
    Fft,
    /// Launch sequences can be recorded and replayed.
    Graphs,
    /// Direct access to the memory of the device with this ordinal.
    Peer(usize),
}

/// A queue of work on one device: the only thing that algorithms are generic over.
///
/// A value is a handle to one ordered queue; a clone is the same queue. Work queued on one handle happens in order;
/// [`fork`](Backend::fork) makes a second queue, [`join`](Backend::join) waits for another.
/// A buffer belongs to the queue that made it and is refused elsewhere with [`Error::WrongQueue`], on the CPU as on
/// CUDA. There are three ways across: [`adopt`](Backend::adopt) moves a buffer, [`share`](Backend::share) makes it
/// read-only for every queue, and `join` followed by giving it back.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// `"cpu"` or `"cuda"`.
    const NAME: &'static str;
    /// Owned memory of the device.
    type Buf<T: Elem>: Buffer<T>;
    /// Host memory that transfers fast.
    type Pinned<T: Elem>: DerefMut<Target = [T]> + Send;
    /// A point in a queue.
    type Event: Event;
    /// A recorded launch sequence.
    type Graph<S: Send + 'static>: Replay<Self, S>;

    /// The device behind this queue.
    fn device(&self) -> &Device;
    /// The identity of this queue.
    fn queue(&self) -> QueueId;
    /// Memory in use on the device.
    fn memory(&self) -> MemoryUse;
    /// Whether the device can do `what`.
    fn supports(&self, what: Capability) -> bool;

    /// A new queue on the same device that starts after everything queued here so far.
    fn fork(&self) -> Result<Self>;
    /// What is queued here from now on waits for everything queued on `other` so far.
    fn join(&self, other: &Self) -> Result<()>;
    /// Marks the present point of the queue.
    fn record(&self) -> Result<Self::Event>;
    /// What is queued here from now on waits for `event`. The host does not wait.
    fn wait(&self, event: &Self::Event) -> Result<()>;
    /// Blocks the host until the queue is empty.
    fn synchronize(&self) -> Result<()>;

    /// `len` elements with all bits zero.
    fn zeros<T: Elem>(&self, len: usize) -> Result<Self::Buf<T>>;
    /// `len` elements with unspecified contents. The CPU fills them with `0xA5` in debug builds and under the feature
    /// `testing`, so that a kernel that leaves some unwritten is found without a GPU.
    fn scratch<T: Elem>(&self, len: usize) -> Result<Self::Buf<T>>;
    /// Host memory for [`upload_pinned`](Backend::upload_pinned) and [`download_pinned`](Backend::download_pinned), zeroed.
    fn pinned<T: Elem>(&self, len: usize) -> Result<Self::Pinned<T>>;
    /// Copies host memory to the device. `src` may be reused when this returns.
    fn upload<T: Elem>(&self, src: &[T], dst: ViewMut<'_, Self, T>) -> Result<()>;
    /// Copies device memory to the host; complete when this returns.
    fn download<T: Elem>(&self, src: View<'_, Self, T>, dst: &mut [T]) -> Result<()>;
    /// Starts a copy to the device and returns at once.
    fn upload_pinned<T: Elem>(&self, src: Self::Pinned<T>, dst: ViewMut<'_, Self, T>) -> Result<InFlight<Self, T>>;
    /// Starts a copy to the host and returns at once.
    fn download_pinned<T: Elem>(&self, src: View<'_, Self, T>, dst: Self::Pinned<T>) -> Result<InFlight<Self, T>>;
    /// Copies inside the device.
    fn copy<T: Elem>(&self, src: View<'_, Self, T>, dst: ViewMut<'_, Self, T>) -> Result<()>;
    /// Takes over a buffer of another queue of this device; what that queue has queued so far happens first.
    fn adopt<T: Elem>(&self, buf: Self::Buf<T>) -> Result<Self::Buf<T>>;
    /// Makes a buffer of this queue read-only and usable on every queue of the device. Blocks once.
    fn share<T: Elem>(&self, buf: Self::Buf<T>) -> Result<Self::Buf<T>>;

    /// Records what `body` queues, to replay it later with [`Captured::replay`].
    ///
    /// On CUDA `body` runs once, now, and what it queues is recorded without being executed; on the CPU `body` runs at
    /// each replay and not before. Allocations, transfers between host and device, host waits, events, forks and joins
    /// inside are [`Error::InCapture`] on both: from this call on CUDA, from the replay on the CPU.
    fn capture<S: Send + 'static>(
        &self,
        state: S,
        body: impl FnMut(&Self, &mut S) -> Result<()> + Send + 'static,
    ) -> Result<Captured<Self, S>>;

    /// Runs `f` between two events and returns the time between them, as the device saw it.
    fn time<R>(&self, f: impl FnOnce(&Self) -> Result<R>) -> Result<(R, Duration)> {
        let start = self.record()?;
        let out = f(self)?;
        let end = self.record()?;
        end.wait()?;
        Ok((out, end.since(&start)?))
    }
}

/// Owned device memory of one element type.
pub trait Buffer<T: Elem>: Debug + Send + Sync {
    /// Number of elements.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Who may use it.
    fn owner(&self) -> Owner;
}

/// A point in a queue.
pub trait Event: Debug + Send + Sync {
    /// Blocks the host until the point is reached.
    fn wait(&self) -> Result<()>;
    /// Time from `start` to this point on the device.
    fn since(&self, start: &Self) -> Result<Duration>;
}
