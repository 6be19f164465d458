use crate::{Backend, Elem, Event, Result};

/// A copy between host and device that has been started. It owns the host memory until the copy is done.
#[derive(Debug)]
pub struct InFlight<B: Backend, T: Elem> {
    memory: Option<B::Pinned<T>>,
    done: B::Event,
}

impl<B: Backend, T: Elem> InFlight<B, T> {
    /// For backends: `done` is recorded behind the copy that uses `memory`.
    pub fn new(memory: B::Pinned<T>, done: B::Event) -> Self {
        Self { memory: Some(memory), done }
    }

    /// Waits for the copy and returns the host memory.
    pub fn finish(mut self) -> Result<B::Pinned<T>> {
        self.done.wait()?;
        // Present until `finish` or `drop`, and both take `self` only once.
        self.memory.take().ok_or_else(|| crate::Error::value("transfer", "already finished"))
    }
}

impl<B: Backend, T: Elem> Drop for InFlight<B, T> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // Freeing memory that the device still reads or writes would be unsound: if the wait fails, leak it.
            if self.done.wait().is_err() {
                std::mem::forget(memory);
            }
        }
    }
}
