use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, MemoryUse, Result};

/// Counts the bytes of all buffers that share one limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    peak: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), peak: AtomicUsize::new(0), limit }
    }

    /// What is in use; what the system has free is for the backend to add.
    pub(crate) fn usage(&self) -> MemoryUse {
        MemoryUse {
            used: self.used.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
            limit: self.limit,
            free: 0,
        }
    }

    /// Counts `bytes` as used, or refuses them.
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        let used = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|used| Error::OutOfMemory { requested: bytes, used, limit: self.limit })?;
        self.peak.fetch_max(used + bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what `take` has counted.
    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes of `len` elements, which must be a size that one allocation can have.
pub(crate) fn bytes_of<T>(len: usize) -> Result<usize> {
    len.checked_mul(size_of::<T>())
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| Error::value("length", format!("{len} elements do not fit in memory")))
}
