//! One ordered queue of work: a stream of the driver, and what is being recorded on it.

use std::any::Any;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cust::sys::{self, CUevent, CUstream};

use super::buffer::Machine;
use super::gpu::Gpu;
use crate::{Error, QueueId, Result};

/// The stream behind every clone of one handle. Buffers, events and graphs keep it alive.
pub(super) struct Queue {
    pub(super) id: QueueId,
    pub(super) machine: Arc<Machine>,
    /// Upgrades as long as somebody can still queue work here.
    handles: Weak<()>,
    stream: Handle<CUstream>,
    /// Recorded whenever another queue is to wait for this one. A wait takes the event as it is at that moment, so that
    /// one event serves every wait.
    fence: Handle<CUevent>,
    capturing: AtomicBool,
    recording: Mutex<Option<Recording>>,
}

/// What a capture collects.
#[derive(Default)]
pub(super) struct Recording {
    /// Everything that the recorded launches work on.
    pub(super) keep: Vec<Arc<dyn Any + Send + Sync>>,
    /// The kernels, for messages.
    pub(super) launches: Vec<Arc<str>>,
    /// Frees that would have become part of the graph.
    deferred: Vec<Box<dyn FnOnce() + Send>>,
}

/// A handle of the driver. Its functions may be called from every thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle<T>(pub(super) T);

// SAFETY: the driver's handles are not tied to a thread, and all its functions lock for themselves.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl Queue {
    /// An empty queue, used through whoever owns `handle`. The context must be current.
    pub(super) fn new(machine: Arc<Machine>, handle: &Arc<()>) -> Result<Arc<Self>> {
        let gpu = machine.gpu;
        let mut stream = ptr::null_mut();
        // `cust`'s streams wait for the default stream, so that a library working there (cuFFT making a plan) would
        // break a capture on another thread. These do not.
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the pointer is valid for the call.
        gpu.check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut stream, flags) })?;
        let fence = create_event(gpu, sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING).inspect_err(|_| {
            // SAFETY: the stream was created above and nobody else has it.
            unsafe { sys::cuStreamDestroy_v2(stream) };
        })?;
        Ok(Arc::new(Self {
            id: QueueId::unique(),
            machine,
            handles: Arc::downgrade(handle),
            stream: Handle(stream),
            fence: Handle(fence),
            capturing: AtomicBool::new(false),
            recording: Mutex::new(None),
        }))
    }

    pub(super) fn gpu(&self) -> &'static Gpu {
        self.machine.gpu
    }

    pub(super) fn raw(&self) -> CUstream {
        self.stream.0
    }

    /// Work queued here from now on waits for what `other` has queued so far.
    pub(super) fn wait_for(&self, other: &Self) -> Result<()> {
        if self.id == other.id {
            return Ok(());
        }
        // SAFETY: event and stream live as long as `other`.
        self.gpu().check("cuEventRecord", unsafe { sys::cuEventRecord(other.fence.0, other.raw()) })?;
        // SAFETY: the stream lives as long as `self`, the event as long as `other`.
        self.gpu().check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(self.raw(), other.fence.0, 0) })
    }

    /// Blocks the host until the queue is empty.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives as long as `self`.
        self.gpu().check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.raw()) })
    }

    /// Whether everything queued is done and nobody can queue more.
    pub(super) fn is_over(&self) -> bool {
        // SAFETY: the stream lives as long as `self`.
        self.handles.strong_count() == 0 && unsafe { sys::cuStreamQuery(self.raw()) } == sys::CUresult::CUDA_SUCCESS
    }

    pub(super) fn is_capturing(&self) -> bool {
        self.capturing.load(Ordering::Acquire)
    }

    pub(super) fn outside_capture(&self, call: &'static str) -> Result<()> {
        if self.is_capturing() { Err(Error::InCapture { call }) } else { Ok(()) }
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to collect what is launched.
    pub(super) fn begin_recording(&self) {
        *self.recording() = Some(Recording::default());
        self.capturing.store(true, Ordering::Release);
    }

    /// Ends it, and does what was put off.
    pub(super) fn end_recording(&self) -> Recording {
        self.capturing.store(false, Ordering::Release);
        let mut recording = self.recording().take().unwrap_or_default();
        for deferred in recording.deferred.drain(..) {
            deferred();
        }
        recording
    }

    /// While capturing, hands what a launch works on to the graph.
    pub(super) fn keep(&self, what: impl IntoIterator<Item = Arc<dyn Any + Send + Sync>>) {
        if self.is_capturing()
            && let Some(recording) = self.recording().as_mut()
        {
            recording.keep.extend(what);
        }
    }

    /// Notes a launch for messages about this device and, while capturing, about the graph.
    pub(super) fn launched(&self, what: &Arc<str>) {
        self.gpu().launched(what);
        if self.is_capturing()
            && let Some(recording) = self.recording().as_mut()
            && recording.launches.iter().all(|known| !Arc::ptr_eq(known, what))
        {
            recording.launches.push(Arc::clone(what));
        }
    }

    /// Puts `work` off while capturing; gives it back otherwise, to be done now.
    pub(super) fn defer(&self, work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() + Send>> {
        if !self.is_capturing() {
            return Some(work);
        }
        match self.recording().as_mut() {
            Some(recording) => {
                recording.deferred.push(work);
                None
            }
            None => Some(work),
        }
    }
}

pub(super) fn create_event(gpu: &Gpu, flags: sys::CUevent_flags_enum) -> Result<CUevent> {
    let mut event = ptr::null_mut();
    // SAFETY: the pointer is valid for the call.
    gpu.check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut event, flags as u32) })?;
    Ok(event)
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.gpu().alive().is_err() || self.gpu().bind().is_err() {
            return;
        }
        // The driver finishes what is queued before it lets a stream go, so errors here can only be older ones, which
        // the next call reports.
        // SAFETY: both handles were made with this queue, and the last owner is gone.
        unsafe {
            sys::cuEventDestroy_v2(self.fence.0);
            sys::cuStreamDestroy_v2(self.stream.0);
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} on {:?}", self.id, self.gpu())
    }
}
