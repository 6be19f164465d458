//! Recording a launch sequence and replaying it as one graph.

use std::any::Any;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use cust::sys::{self, CUgraph, CUgraphExec};

use super::Cuda;
use super::queue::{Handle, Queue, Recording};
use crate::{Error, Replay, Result};

/// A recorded launch sequence. It keeps all memory alive that its launches work on.
pub struct CudaGraph<S> {
    executable: Handle<CUgraphExec>,
    queue: Arc<Queue>,
    keep: Vec<Arc<dyn Any + Send + Sync>>,
    label: Arc<str>,
    state: PhantomData<fn(&mut S)>,
}

/// A capture that is under way, ended when dropped.
struct Capturing<'a> {
    queue: &'a Queue,
    ended: bool,
}

impl<'a> Capturing<'a> {
    fn begin(queue: &'a Queue) -> Result<Self> {
        // Relaxed: allocating and loading modules on other queues and threads goes on meanwhile. What must not be
        // recorded here is refused by this crate.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as the queue.
        let code = unsafe { sys::cuStreamBeginCapture_v2(queue.raw(), mode) };
        queue.gpu().check("cuStreamBeginCapture", code)?;
        queue.begin_recording();
        Ok(Self { queue, ended: false })
    }

    fn end(&mut self) -> (Result<CUgraph>, Recording) {
        self.ended = true;
        let mut graph = ptr::null_mut();
        // SAFETY: the pointer is valid for the call, the stream lives as long as the queue.
        let code = unsafe { sys::cuStreamEndCapture(self.queue.raw(), &raw mut graph) };
        let ended = self.queue.gpu().check("cuStreamEndCapture", code);
        (ended.map(|()| graph), self.queue.end_recording())
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        if !self.ended
            && let (Ok(graph), _) = self.end()
        {
            // SAFETY: the graph came from this capture and nobody else has it.
            unsafe { sys::cuGraphDestroy(graph) };
        }
    }
}

impl<S> CudaGraph<S> {
    /// Records what `body` queues. The context must be current, the queue not capturing.
    pub(super) fn record(queue: &Arc<Queue>, body: impl FnOnce() -> Result<()>) -> Result<Self> {
        let mut capturing = Capturing::begin(queue)?;
        let in_body = super::event::InBody::enter();
        let done = body();
        drop(in_body);
        // Ended also when `body` failed; its error says more than that of the capture.
        let (graph, recording) = capturing.end();
        if done.is_err()
            && let Ok(graph) = graph
        {
            // SAFETY: the graph came from this capture and nobody else has it.
            unsafe { sys::cuGraphDestroy(graph) };
        }
        done?;
        let graph = graph?;
        let mut executable = ptr::null_mut();
        // SAFETY: the pointer is valid for the call, the graph is that of this capture.
        let code = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0) };
        let made = queue.gpu().check("cuGraphInstantiate", code);
        // SAFETY: the executable does not need its template any more.
        unsafe { sys::cuGraphDestroy(graph) };
        made?;
        tracing::debug!(launches = recording.launches.len(), "captured");
        Ok(Self {
            executable: Handle(executable),
            queue: Arc::clone(queue),
            keep: recording.keep,
            label: format!("a graph of {}", recording.launches.join(", ")).into(),
            state: PhantomData,
        })
    }
}

impl<S: Send + 'static> Replay<Cuda, S> for CudaGraph<S> {
    fn replay(&mut self, b: &Cuda, _state: &mut S) -> Result<()> {
        let queue = b.raw_queue();
        if queue.id != self.queue.id {
            return Err(Error::WrongQueue { what: "replay" });
        }
        queue.outside_capture("replay")?;
        let gpu = queue.gpu();
        gpu.enter()?;
        gpu.launched(&self.label);
        // SAFETY: graph and stream live as long as `self`, and `keep` holds what its launches work on.
        gpu.check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(self.executable.0, queue.raw()) })?;
        if gpu.blocking { queue.synchronize() } else { Ok(()) }
    }
}

impl<S> Drop for CudaGraph<S> {
    fn drop(&mut self) {
        let (queue, executable, keep) = (Arc::clone(&self.queue), self.executable, std::mem::take(&mut self.keep));
        // A replay may still run. Waiting is not allowed while the queue captures something else.
        let destroy = Box::new(move || destroy(&queue, executable, keep));
        if let Some(now) = self.queue.defer(destroy) {
            now();
        }
    }
}

fn destroy(queue: &Queue, executable: Handle<CUgraphExec>, keep: Vec<Arc<dyn Any + Send + Sync>>) {
    let gpu = queue.gpu();
    if gpu.alive().is_ok() {
        if let Err(error) = gpu.bind().and_then(|()| queue.synchronize()) {
            gpu.store(error);
        } else {
            // SAFETY: made by `record`, and no replay is running.
            unsafe { sys::cuGraphExecDestroy(executable.0) };
        }
    }
    // Only now may the memory go.
    drop(keep);
}

impl<S> std::fmt::Debug for CudaGraph<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CudaGraph({}) on {:?}", self.label, self.queue)
    }
}
