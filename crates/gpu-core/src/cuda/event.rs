//! Points in a queue.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use cust::sys::{self, CUevent};

use super::queue::{Handle, Queue, create_event};
use crate::{Error, Event, Result};

thread_local! {
    /// How many capture bodies this thread is in.
    static BODIES: Cell<u32> = const { Cell::new(0) };
}

/// Marks that this thread runs the body of a capture, until dropped.
pub(super) struct InBody;

impl InBody {
    pub(super) fn enter() -> Self {
        BODIES.set(BODIES.get() + 1);
        Self
    }
}

impl Drop for InBody {
    fn drop(&mut self) {
        BODIES.set(BODIES.get() - 1);
    }
}

/// A point in a CUDA queue.
pub struct CudaEvent {
    raw: Handle<CUevent>,
    queue: Arc<Queue>,
}

impl CudaEvent {
    /// Marks the present point of a queue.
    pub(super) fn record(queue: &Arc<Queue>) -> Result<Self> {
        let gpu = queue.gpu();
        let event = Self {
            raw: Handle(create_event(gpu, sys::CUevent_flags_enum::CU_EVENT_DEFAULT)?),
            queue: Arc::clone(queue),
        };
        // SAFETY: the event was created above, the stream lives as long as the queue.
        gpu.check("cuEventRecord", unsafe { sys::cuEventRecord(event.raw.0, queue.raw()) })?;
        Ok(event)
    }

    /// What `queue` does from now on happens after this point.
    pub(super) fn hold_back(&self, queue: &Queue) -> Result<()> {
        // SAFETY: the event lives as long as `self`, the stream as long as `queue`.
        queue.gpu().check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(queue.raw(), self.raw.0, 0) })
    }
}

impl Event for CudaEvent {
    fn wait(&self) -> Result<()> {
        if BODIES.get() > 0 {
            return Err(Error::InCapture { call: "waiting on the host" });
        }
        let gpu = self.queue.gpu();
        gpu.enter()?;
        // SAFETY: the event lives as long as `self`.
        gpu.check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.raw.0) })
    }

    fn since(&self, start: &Self) -> Result<Duration> {
        start.wait()?;
        self.wait()?;
        let mut milliseconds = 0f32;
        // SAFETY: both events have been recorded with timing and reached; the pointer is valid for the call.
        let code = unsafe { sys::cuEventElapsedTime(&raw mut milliseconds, start.raw.0, self.raw.0) };
        self.queue.gpu().check("cuEventElapsedTime", code)?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        if self.queue.gpu().alive().is_ok() && self.queue.gpu().bind().is_ok() {
            // SAFETY: created by `record`; the driver keeps it until work that waits for it is done.
            unsafe { sys::cuEventDestroy_v2(self.raw.0) };
        }
    }
}

impl std::fmt::Debug for CudaEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CudaEvent of {:?}", self.queue)
    }
}
