//! Reading the files of all scenes, in their order, without more pictures waiting than the budget allows.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::align::raw::ApartReader;
use ::align::{Error, Limits, RawFrame, RawReader};
use ndarray::Array2;

/// The readers of all scenes: a file each, scene after scene, so that none of them waits for the end of a scene. Pictures of
/// scenes that have a device are read at once; others are read ahead while those that nobody has taken yet fit the budget,
/// and are not too many once devices work.
pub(crate) struct Queue {
    reader: ApartReader,
    readers: usize,
    /// Pictures that wait at most for scenes without a device. A device that starts takes none for a second or so, in which
    /// threads would have nothing to do: until then memory is the only limit.
    most: usize,
    budget: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Files that nobody reads yet, in the order in which they are.
    files: VecDeque<Wanted>,
    /// Threads that read, or look for something to read.
    alive: usize,
    /// Files being read.
    reading: usize,
    /// Pictures that were read and not taken, and their bytes.
    waiting: usize,
    waiting_bytes: usize,
    /// Whether a device has done its first work.
    started: bool,
    /// Bytes of the largest picture so far.
    largest: usize,
    /// How long readers have waited for room, all of them together.
    held_up: Duration,
    /// How long they have read.
    worked: Duration,
}

/// A file that is to be read.
struct Wanted {
    path: PathBuf,
    at: usize,
    urgent: Arc<AtomicBool>,
    send: Sender<Arrival>,
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
        let mut state = self.queue.lock();
        state.waiting -= 1;
        state.waiting_bytes -= self.bytes;
        drop(state);
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
    /// From now on somebody takes them at once: what is left of them is read before all others.
    pub(crate) fn hurry(&self) {
        let mut state = self.queue.lock();
        self.urgent.store(true, Ordering::SeqCst);
        let (own, others): (Vec<_>, Vec<_>) =
            state.files.drain(..).partition(|file| Arc::ptr_eq(&file.urgent, &self.urgent));
        state.files.extend(own.into_iter().chain(others));
        drop(state);
        self.queue.changed.notify_all();
    }

    /// A device has worked on a picture: from now on it takes them as they come.
    pub(crate) fn started(&self) {
        self.queue.lock().started = true;
    }

    /// Bytes of pictures that may be held at a time.
    pub(crate) fn room(&self) -> usize {
        self.queue.budget
    }

    /// Reads single files again.
    pub(crate) fn reader(&self) -> ApartReader {
        self.queue.reader.clone()
    }

    /// Takes the memory of a mosaic for the next picture.
    pub(crate) fn reuse(&self, mosaic: Array2<u16>) {
        self.queue.reader.reuse(mosaic);
    }
}

/// Readers for so many threads: some more, since a picture's way from process to process leaves one of them free.
fn readers_for(threads: usize) -> usize {
    threads.max(1) + threads / 8
}

impl Queue {
    /// Readers on so many threads for `files` files in all, and a budget in bytes.
    pub(crate) fn new(reader: ApartReader, threads: usize, files: usize, budget: usize) -> Arc<Self> {
        let readers = readers_for(threads);
        // Few files have several threads each.
        let each = threads.max(1) / threads.clamp(1, files.max(1));
        let (state, changed) = (Mutex::default(), Condvar::new());
        let reader = reader.with_threads(each);
        Arc::new(Self { reader, readers, most: 2 * readers, budget, state, changed })
    }

    /// Reads the files of a scene behind those of scenes before it, the first ones first.
    pub(crate) fn read(self: &Arc<Self>, files: &[PathBuf]) -> Pictures {
        let (send, arriving) = channel();
        let urgent = Arc::new(AtomicBool::new(false));
        let mut state = self.lock();
        for (at, path) in files.iter().enumerate() {
            state.files.push_back(Wanted { path: path.clone(), at, urgent: urgent.clone(), send: send.clone() });
        }
        for _ in state.alive..self.readers.min(state.alive + files.len()) {
            let queue = self.clone();
            // Without any thread the senders go with the queue, and the scene ends with an error.
            if std::thread::Builder::new().name("decode".to_owned()).spawn(move || queue.work()).is_ok() {
                state.alive += 1;
            }
        }
        if state.alive == 0 {
            state.files.clear();
        }
        drop(state);
        Pictures { arriving, urgent, queue: self.clone() }
    }

    /// Reads nothing more than what is being read.
    pub(crate) fn stop(&self) {
        self.lock().files.clear();
        self.changed.notify_all();
    }

    /// Seconds that a reader has waited on average until devices had taken pictures.
    pub(crate) fn held_up(&self) -> f64 {
        self.lock().held_up.as_secs_f64() / self.readers as f64
    }

    /// Seconds that a reader has read on average.
    pub(crate) fn worked(&self) -> f64 {
        self.lock().worked.as_secs_f64() / self.readers as f64
    }

    fn work(self: &Arc<Self>) {
        while let Some(wanted) = self.enter() {
            let begun = Instant::now();
            let frame = super::named(&wanted.path).and_then(|()| self.reader.read(&wanted.path, &Limits::default()));
            let bytes = frame.as_ref().ok().map_or(0, held_bytes);
            self.leave(bytes, begun.elapsed());
            // Nobody waits for pictures any more when the run has ended.
            let _ = wanted.send.send(Arrival { at: wanted.at, frame: Some(frame), bytes, queue: self.clone() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more file may be read now. One of them always may, however small the budget.
    fn lets_in(&self, state: &State, urgent: bool) -> bool {
        let pictures = state.waiting + state.reading;
        let with_this = state.waiting_bytes.saturating_add((state.reading + 1).saturating_mul(state.largest));
        let few = !state.started || pictures < self.most;
        urgent || pictures == 0 || (few && with_this <= self.budget)
    }

    /// Waits for room for the next file; `None` when there is none left.
    fn enter(&self) -> Option<Wanted> {
        let mut state = self.lock();
        loop {
            let Some(next) = state.files.front() else {
                state.alive -= 1;
                return None;
            };
            if self.lets_in(&state, next.urgent.load(Ordering::SeqCst)) {
                state.reading += 1;
                return state.files.pop_front();
            }
            let since = Instant::now();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.held_up += since.elapsed();
        }
    }

    fn leave(&self, bytes: usize, took: Duration) {
        let mut state = self.lock();
        state.worked += took;
        state.reading -= 1;
        state.waiting += 1;
        state.waiting_bytes += bytes;
        state.largest = state.largest.max(bytes);
        drop(state);
        self.changed.notify_all();
    }
}

/// Bytes of a picture's pixels.
pub(crate) fn held_bytes(frame: &RawFrame) -> usize {
    2 * frame.mosaic.len() + frame.rgb.as_ref().map_or(0, |rgb| 4 * rgb.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(threads: usize, budget: usize) -> Arc<Queue> {
        Queue::new(ApartReader::new("none", [""; 0]), threads, 100, budget)
    }

    /// Files of two scenes that no thread reads.
    fn two_scenes(queue: &Arc<Queue>) -> [(Pictures, Sender<Arrival>); 2] {
        [0, 1].map(|scene| {
            let (send, arriving) = channel();
            let urgent = Arc::new(AtomicBool::new(false));
            for at in 0..2 {
                let path = PathBuf::from(format!("{scene}"));
                queue.lock().files.push_back(Wanted { path, at, urgent: urgent.clone(), send: send.clone() });
            }
            queue.lock().alive += 1;
            (Pictures { arriving, urgent, queue: queue.clone() }, send)
        })
    }

    #[test]
    fn scenes_without_a_device_wait_for_room() {
        let queue = queue(3, 100);
        let [(first, send), (second, _)] = two_scenes(&queue);
        assert_eq!(queue.enter().map(|w| w.path), Some(PathBuf::from("0")));
        queue.leave(60, Duration::ZERO);
        assert!(!queue.lets_in(&queue.lock(), false));
        // A reader that waits goes on when a scene gets a device, with that scene's files.
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || queue.enter()
        });
        while queue.lock().held_up.is_zero() {
            second.queue.changed.notify_all();
            std::thread::yield_now();
        }
        second.hurry();
        assert_eq!(waiting.join().unwrap().map(|w| (w.path, w.at)), Some((PathBuf::from("1"), 0)));
        assert_eq!(queue.enter().map(|w| (w.path, w.at)), Some((PathBuf::from("1"), 1)));
        queue.leave(0, Duration::ZERO);
        queue.leave(0, Duration::ZERO);
        assert!(!queue.lets_in(&queue.lock(), false), "60 bytes wait, and a picture may have as many");
        // And when pictures are taken.
        send.send(Arrival { at: 0, frame: None, bytes: 60, queue: queue.clone() }).unwrap();
        drop(first.arriving.recv().unwrap());
        assert!(queue.lets_in(&queue.lock(), false));
        assert_eq!(queue.enter().map(|w| (w.path, w.at)), Some((PathBuf::from("0"), 1)));
        assert!(queue.enter().is_none());
        assert!(queue.held_up() > 0.0);
    }

    #[test]
    fn not_many_pictures_wait_however_small_they_are() {
        let queue = queue(2, usize::MAX);
        let _scenes = two_scenes(&queue);
        queue.lock().started = true;
        for _ in 0..2 * readers_for(2) {
            assert!(queue.lets_in(&queue.lock(), false));
            queue.lock().reading += 1;
            queue.leave(1, Duration::ZERO);
        }
        assert!(!queue.lets_in(&queue.lock(), false) && queue.lets_in(&queue.lock(), true));
    }

    #[test]
    fn while_devices_start_only_memory_counts() {
        let queue = queue(2, 1000);
        let [(pictures, _), _] = two_scenes(&queue);
        let wait = |bytes: usize| {
            queue.lock().reading += 1;
            queue.leave(bytes, Duration::ZERO);
        };
        (0..90).for_each(|_| wait(10));
        assert!(queue.lets_in(&queue.lock(), false));
        (0..10).for_each(|_| wait(10));
        assert!(!queue.lets_in(&queue.lock(), false), "memory is the limit");
        queue.lock().waiting_bytes = 900;
        assert!(queue.lets_in(&queue.lock(), false));
        pictures.started();
        assert!(!queue.lets_in(&queue.lock(), false), "100 pictures are many for a device that works");
    }

    #[test]
    fn every_file_arrives_once() {
        let queue = queue(2, 0);
        let names = |n: usize| (0..n).map(|i| PathBuf::from(format!("{i}"))).collect::<Vec<_>>();
        for files in [names(9), names(1), names(9)] {
            let pictures = queue.read(&files);
            pictures.hurry();
            let mut seen = Vec::new();
            while let Ok(arrival) = pictures.arriving.recv() {
                seen.push(arrival.at);
                // There is no such program.
                assert_eq!(arrival.take().unwrap_err().kind(), "unreadable");
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..files.len()).collect::<Vec<_>>());
            let state = queue.lock();
            assert_eq!((state.reading, state.waiting, state.waiting_bytes), (0, 0, 0));
        }
    }

    #[test]
    fn what_is_stopped_ends() {
        let queue = queue(1, 0);
        let [(first, send), (second, other)] = two_scenes(&queue);
        drop((send, other));
        queue.stop();
        assert!(first.arriving.recv().is_err() && second.arriving.recv().is_err());
        assert!(queue.enter().is_none());
    }

    #[test]
    fn few_files_have_several_threads_each() {
        let each = |threads, files| Queue::new(ApartReader::new("none", [""; 0]), threads, files, 0).reader.clone();
        for (threads, files, wanted) in [(16, 108, 1), (16, 3, 5), (1, 9, 1), (4, 0, 4)] {
            let reader = format!("{:?}", each(threads, files));
            assert!(reader.contains(&format!("threads: {wanted},")), "{threads} {files}: {reader}");
        }
        assert_eq!([1, 2, 8, 16].map(readers_for), [1, 2, 9, 18]);
    }
}
