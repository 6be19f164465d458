//! Times of repeated work for benchmarks, with caches warm and cold.

use std::time::Duration;

use crate::{Backend, Result, Tensor};

/// Bytes that are copied between two measurements with cold caches: more than twice the largest cache that holds them.
const FLUSH: usize = 128 << 20;

/// Time of `times` runs one after the other: from the second on, what fits in the caches is there.
///
/// # Errors
/// What `run` or the clock answers.
pub fn warm<B: Backend>(b: &B, times: u64, mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    Ok(b.time(|_| (0..times).try_for_each(|_| run()))?.1)
}

/// Memory whose copying pushes everything else out of the caches.
#[derive(Debug)]
pub struct Flush<B: Backend> {
    from: Tensor<B, u8, 1>,
    to: Tensor<B, u8, 1>,
}

impl<B: Backend> Flush<B> {
    /// # Errors
    /// When there is no memory for 256 MiB.
    pub fn new(b: &B) -> Result<Self> {
        Ok(Self { from: Tensor::zeros(b, [FLUSH])?, to: Tensor::zeros(b, [FLUSH])? })
    }

    /// Time of `times` runs, before each of which the caches are filled with other data. That is not counted.
    ///
    /// On a device the copy is still under way while the host queues the run behind it, so that the time holds no
    /// waiting for launches.
    ///
    /// # Errors
    /// What `run` or the clock answers.
    pub fn cold(&mut self, b: &B, times: u64, mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
        let mut all = Duration::ZERO;
        for _ in 0..times {
            b.copy(self.from.flat(), self.to.flat_mut())?;
            all += b.time(|_| run())?.1;
        }
        Ok(all)
    }
}
