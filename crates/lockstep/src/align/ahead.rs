//! All scenes of a run on all devices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Instant;

use ::align::folder::Scene;
use gpu_core::AnyBackend;

use super::queue::Queue;
use super::work::{Decoding, Finished, decode};
use crate::exit::{Exit, Failure, Result};
use crate::session::seconds;

/// Scenes that no device has taken, the next one first.
type Next = Arc<Mutex<VecDeque<(usize, Decoding)>>>;

/// Works on all scenes in their order: they are read as far ahead as there is room, and each device takes the next
/// one when it is free.
pub(crate) struct Ahead<'env, W> {
    scenes: &'env [Scene],
    machines: &'env [Mutex<AnyBackend>],
    work: &'env W,
    queue: &'env Arc<Queue>,
    /// Scenes that no device has taken.
    next: Next,
    results: Receiver<(usize, Result<Finished>)>,
    /// Scenes that were finished before those that were asked for.
    early: BTreeMap<usize, Result<Finished>>,
    /// Scenes that results come for.
    expected: BTreeSet<usize>,
}

impl<'env, W: Fn(&AnyBackend, Decoding) -> Result<Finished> + Sync> Ahead<'env, W> {
    /// Starts a thread for each device, for scenes that are being read.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, 'env>,
        scenes: &'env [Scene],
        decoding: VecDeque<(usize, Decoding)>,
        machines: &'env [Mutex<AnyBackend>],
        work: &'env W,
        queue: &'env Arc<Queue>,
    ) -> Self {
        let expected = decoding.iter().map(|(i, _)| *i).collect();
        let next = Arc::new(Mutex::new(decoding));
        let (send, results) = channel();
        for machine in machines {
            let (next, send) = (next.clone(), send.clone());
            let thread = std::thread::Builder::new().name("device".to_owned());
            // Without any thread the sender is gone, and the first scene ends with an error.
            let _ = thread.spawn_scoped(scope, move || {
                loop {
                    let scene = next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((i, decoding)) = scene else { break };
                    // Nobody waits for it any more when the run has ended.
                    if send.send((i, on_machine(machine, work, decoding))).is_err() {
                        break;
                    }
                }
            });
        }
        Self { scenes, machines, work, queue, next, results, early: BTreeMap::new(), expected }
    }

    /// What became of a scene; scenes that have changed since the run began are worked on now.
    pub(crate) fn take(&mut self, i: usize) -> Result<Finished> {
        let lost = || Failure::new(Exit::Backend, "no thread for a device could be started, or it ended early");
        if !self.expected.remove(&i) {
            let machine = self.machines.first().ok_or_else(lost)?;
            return on_machine(machine, self.work, decode(&self.scenes[i], self.queue));
        }
        loop {
            if let Some(finished) = self.early.remove(&i) {
                return finished;
            }
            let (other, finished) = self.results.recv().map_err(|_| lost())?;
            self.early.insert(other, finished);
        }
    }
}

impl<W> Drop for Ahead<'_, W> {
    fn drop(&mut self) {
        // A run that was interrupted, or that failed, waits for no more than the scenes in work.
        self.next.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.queue.stop();
    }
}

fn on_machine<W>(machine: &Mutex<AnyBackend>, work: &W, decoding: Decoding) -> Result<Finished>
where
    W: Fn(&AnyBackend, Decoding) -> Result<Finished>,
{
    let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    let (set, free) = (decoding.title.clone(), Instant::now());
    let finished = work(&machine, decoding);
    let working = seconds(free.elapsed().as_secs_f64());
    tracing::info!(set, %working, device = %machine.device().name, "scene");
    finished
}
