//! Reading the files of some scenes at a time, without more pictures waiting than the budget allows.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ::align::raw::ApartReader;
use ::align::{Error, Limits, RawFrame, RawReader};

/// All scenes' readers: as many files at a time as there are threads, those of scenes that have a device first. A scene
/// that still waits for one is read ahead only while the pictures that nobody has taken yet fit the budget.
pub(crate) struct Queue {
    reader: ApartReader,
    threads: usize,
    budget: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Files being read.
    reading: usize,
    /// Bytes of pictures that were read and not taken.
    waiting: usize,
    /// Bytes of the largest picture so far.
    largest: usize,
    /// Readers of scenes that have a device, which wait for a thread.
    urgent: usize,
}

/// A picture on its way to its scene.
pub(crate) struct Arrival {
    /// Its place among the scene's files.
    pub(crate) at: usize,
    frame: Option<Result<RawFrame, Error>>,
    bytes: usize,
    queue: Arc<Queue>,
}

impl Arrival {
    /// The picture, or why there is none.
    pub(crate) fn take(mut self) -> Result<RawFrame, Error> {
        self.frame.take().unwrap_or_else(|| Err(gpu_core::Error::value("picture", "taken twice").into()))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.queue.lock().waiting -= self.bytes;
        self.queue.changed.notify_all();
    }
}

/// The pictures of one scene, as they come.
pub(crate) struct Pictures {
    pub(crate) arriving: Receiver<Arrival>,
    urgent: Arc<AtomicBool>,
    queue: Arc<Queue>,
}

impl Pictures {
    /// From now on somebody takes them at once.
    pub(crate) fn hurry(&self) {
        let state = self.queue.lock();
        self.urgent.store(true, Ordering::SeqCst);
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Queue {
    /// Readers on so many threads, and a budget in bytes.
    pub(crate) fn new(reader: ApartReader, threads: usize, budget: usize) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { reader, threads: threads.max(1), budget, state, changed })
    }

    /// Starts to read the files of a scene, the first ones first.
    pub(crate) fn read(self: &Arc<Self>, files: &[PathBuf]) -> Pictures {
        let (send, arriving) = channel();
        let urgent = Arc::new(AtomicBool::new(false));
        let files: Arc<[PathBuf]> = files.into();
        let next = Arc::new(AtomicUsize::new(0));
        let workers = self.threads.min(files.len());
        let reader = self.reader.clone().with_threads(self.threads / workers.max(1));
        for _ in 0..workers {
            let (queue, files, next, urgent) = (self.clone(), files.clone(), next.clone(), urgent.clone());
            let (send, reader) = (send.clone(), reader.clone());
            let work = move || queue.work(&reader, &files, &next, &urgent, &send);
            // Without any thread the sender is gone, and the scene ends with an error.
            let _ = std::thread::Builder::new().name("decode".to_owned()).spawn(work);
        }
        Pictures { arriving, urgent, queue: self.clone() }
    }

    fn work(
        self: &Arc<Self>,
        reader: &ApartReader,
        files: &[PathBuf],
        next: &AtomicUsize,
        urgent: &AtomicBool,
        send: &Sender<Arrival>,
    ) {
        loop {
            // The turn comes before the file: those that a device waits for first are read first.
            self.enter(urgent);
            let at = next.fetch_add(1, Ordering::SeqCst);
            let frame = files.get(at).map(|path| reader.read(path, &Limits::default()));
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()).map_or(0, held_bytes);
            self.leave(bytes);
            let Some(frame) = frame else { break };
            let arrival = Arrival { at, frame: Some(frame), bytes, queue: self.clone() };
            // Nobody waits for pictures any more when the run has ended.
            if send.send(arrival).is_err() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more file may be read now. One of them always may, however small the budget.
    fn lets_in(&self, state: &State, hurry: bool) -> bool {
        let with_this = state.waiting.saturating_add((state.reading + 1).saturating_mul(state.largest));
        let room = state.waiting + state.reading == 0 || with_this <= self.budget;
        state.reading < self.threads && (hurry || (room && state.urgent == 0))
    }

    /// Waits for a thread, and for room.
    fn enter(&self, urgent: &AtomicBool) {
        let mut state = self.lock();
        let mut counted = false;
        loop {
            let hurry = urgent.load(Ordering::SeqCst);
            if hurry && !counted {
                state.urgent += 1;
                counted = true;
            }
            if self.lets_in(&state, hurry) {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.urgent -= usize::from(counted);
        state.reading += 1;
        drop(state);
        self.changed.notify_all();
    }

    fn leave(&self, bytes: usize) {
        let mut state = self.lock();
        state.reading -= 1;
        state.waiting += bytes;
        state.largest = state.largest.max(bytes);
        drop(state);
        self.changed.notify_all();
    }
}

/// Bytes of a picture's pixels.
fn held_bytes(frame: &RawFrame) -> usize {
    2 * frame.mosaic.len() + frame.rgb.as_ref().map_or(0, |rgb| 4 * rgb.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(threads: usize, budget: usize) -> Arc<Queue> {
        Queue::new(ApartReader::new("none", [""; 0]), threads, budget)
    }

    fn enters(queue: &Queue, hurry: bool) -> bool {
        queue.lets_in(&queue.lock(), hurry)
    }

    #[test]
    fn scenes_without_a_device_wait_for_room() {
        let queue = queue(3, 100);
        let calm = AtomicBool::new(false);
        queue.enter(&calm);
        queue.leave(60);
        assert!(!enters(&queue, false) && enters(&queue, true));
        // A reader that waits goes on when its scene gets a device.
        let urgent = Arc::new(AtomicBool::new(false));
        let (send, arriving) = channel();
        let pictures = Pictures { arriving, urgent: urgent.clone(), queue: queue.clone() };
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || queue.enter(&urgent)
        });
        pictures.hurry();
        waiting.join().unwrap();
        queue.leave(0);
        // And when pictures are taken.
        let arrival = Arrival { at: 0, frame: None, bytes: 60, queue: queue.clone() };
        send.send(arrival).unwrap();
        assert!(!enters(&queue, false));
        drop(pictures.arriving.recv().unwrap());
        assert!(enters(&queue, false));
        queue.enter(&calm);
        let state = queue.lock();
        assert_eq!((state.reading, state.waiting), (1, 0));
    }

    #[test]
    fn every_file_arrives_once() {
        let queue = queue(2, 0);
        let files: Vec<PathBuf> = (0..9).map(|i| PathBuf::from(format!("{i}"))).collect();
        let pictures = queue.read(&files);
        let mut seen = Vec::new();
        while let Ok(arrival) = pictures.arriving.recv() {
            seen.push(arrival.at);
            // There is no such program.
            assert_eq!(arrival.take().unwrap_err().kind(), "unreadable");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..9).collect::<Vec<_>>());
        assert_eq!(queue.lock().reading, 0);
    }
}
