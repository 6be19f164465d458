//! Values kept across runs: by expression and inputs, the least recently used go first.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::error::Result;
use crate::fast::Val;

/// Values of earlier runs. A key has 128 bits, made of the expression and of the texts of the inputs that it reads.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// Bytes of each shard.
    most: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

/// How often a cache had what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheCounts {
    /// Values that were there.
    pub hits: u64,
    /// Values that were not.
    pub misses: u64,
    /// Values that had to go.
    pub evicted: u64,
    /// Estimate of bytes in use.
    pub bytes: u64,
}

impl CacheCounts {
    /// What came after an earlier count.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            evicted: self.evicted - before.evicted,
            bytes: self.bytes,
        }
    }
}

#[derive(Default)]
struct Shard {
    entries: HashMap<u128, Entry>,
    /// Keys by last use.
    order: BTreeMap<u64, u128>,
    clock: u64,
    bytes: usize,
}

struct Entry {
    value: Result<Val>,
    fuel: u64,
    used: u64,
    bytes: usize,
}

const SHARDS: usize = 64;

/// What an entry takes besides its value.
const OVERHEAD: usize = 160;

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("most", &(self.most * SHARDS))
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache of at most so many bytes; 0 keeps nothing.
    pub fn new(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let zero = || AtomicU64::new(0);
        Self { shards, most: bytes / SHARDS, hits: zero(), misses: zero(), evicted: zero() }
    }

    /// Whether anything is ever kept.
    pub fn is_off(&self) -> bool {
        self.most == 0
    }

    /// Hits and misses since the cache was made.
    pub fn counts(&self) -> CacheCounts {
        let bytes = self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).bytes as u64).sum();
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        CacheCounts { hits: count(&self.hits), misses: count(&self.misses), evicted: count(&self.evicted), bytes }
    }

    fn shard(&self, key: u128) -> std::sync::MutexGuard<'_, Shard> {
        self.shards[(key >> 64) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key with the fuel that it took.
    pub(crate) fn get(&self, key: u128) -> Option<(Result<Val>, u64)> {
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        let Some(entry) = shard.entries.get_mut(&key) else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        shard.clock += 1;
        shard.order.remove(&entry.used);
        entry.used = shard.clock;
        shard.order.insert(shard.clock, key);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some((entry.value.clone(), entry.fuel))
    }

    /// Keeps a value, and drops what was not used for longest where there is no room.
    pub(crate) fn put(&self, key: u128, value: &Result<Val>, fuel: u64) {
        let bytes = OVERHEAD + value.as_ref().map_or(0, Val::bytes);
        if bytes > self.most {
            return;
        }
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        shard.clock += 1;
        let entry = Entry { value: value.clone(), fuel, used: shard.clock, bytes };
        if let Some(old) = shard.entries.insert(key, entry) {
            shard.order.remove(&old.used);
            shard.bytes -= old.bytes;
        }
        shard.order.insert(shard.clock, key);
        shard.bytes += bytes;
        while shard.bytes > self.most {
            let Some((_, oldest)) = shard.order.pop_first() else { break };
            if let Some(gone) = shard.entries.remove(&oldest) {
                shard.bytes -= gone.bytes;
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
