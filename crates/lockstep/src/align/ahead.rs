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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Barrier;

    use ::align::raw::ApartReader;
    use gpu_core::Cpu;

    use super::*;
    use crate::align::record::SetRecord;
    use crate::align::work::Spent;

    fn scenes(n: usize) -> Vec<Scene> {
        let one = |i: usize| Scene {
            name: format!("{i}"),
            kind: String::new(),
            gts: vec![PathBuf::from(format!("{i}.dng"))],
            noisy: Vec::new(),
        };
        (0..n).map(one).collect()
    }

    fn finished(set: String) -> Finished {
        let record = SetRecord::new(set);
        Finished { record, frames: None, pairs: Vec::new(), files: Vec::new(), spent: Spent::default() }
    }

    fn queue() -> Arc<Queue> {
        Queue::new(ApartReader::new("none", [""; 0]), 2, 9, 0)
    }

    fn cpus(n: usize) -> Vec<Mutex<AnyBackend>> {
        (0..n).map(|_| Mutex::new(AnyBackend::Cpu(Cpu::new()))).collect()
    }

    #[test]
    fn devices_work_side_by_side_and_scenes_come_in_their_order() {
        let (scenes, machines, queue) = (scenes(6), cpus(2), queue());
        // Nobody passes before the other has a scene, too.
        let both = Barrier::new(2);
        let work = |_: &AnyBackend, scene: Decoding| {
            both.wait();
            Ok(finished(scene.title))
        };
        let decoding = (0..6).map(|i| (i, decode(&scenes[i], &queue))).collect();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &scenes, decoding, &machines, &work, &queue);
            for i in 0..6 {
                assert_eq!(ahead.take(i).map(|done| done.record.set).ok(), Some(format!("{i}")));
            }
        });
    }

    #[test]
    fn scenes_that_nobody_expected_are_done_and_those_that_fail_say_so() {
        let (scenes, machines, queue) = (scenes(4), cpus(1), queue());
        let work = |_: &AnyBackend, scene: Decoding| match scene.title.as_str() {
            "1" => Err(Failure::usage("one")),
            _ => Ok(finished(scene.title)),
        };
        let decoding = (0..2).map(|i| (i, decode(&scenes[i], &queue))).collect();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &scenes, decoding, &machines, &work, &queue);
            assert_eq!(ahead.take(3).map(|done| done.record.set).ok(), Some("3".to_owned()));
            assert_eq!(ahead.take(1).err().map(|e| e.message), Some("one".to_owned()));
            assert_eq!(ahead.take(0).map(|done| done.record.set).ok(), Some("0".to_owned()));
        });
    }

    #[test]
    fn a_run_that_ends_early_begins_no_other_scene() {
        let (scenes, machines, queue) = (scenes(5), cpus(1), queue());
        let (begun, go_on) = (Mutex::new(Vec::new()), Barrier::new(2));
        let work = |_: &AnyBackend, scene: Decoding| {
            begun.lock().unwrap().push(scene.title.clone());
            if scene.title == "1" {
                go_on.wait();
            }
            Ok(finished(scene.title))
        };
        let decoding = (0..5).map(|i| (i, decode(&scenes[i], &queue))).collect();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &scenes, decoding, &machines, &work, &queue);
            assert!(ahead.take(0).is_ok());
            // Scene 1 is in work now, or will be: what is dropped leaves no other.
            while begun.lock().unwrap().len() < 2 {
                std::thread::yield_now();
            }
            drop(ahead);
            go_on.wait();
        });
        assert_eq!(begun.into_inner().unwrap(), ["0", "1"]);
    }
}
