//! The objects behind the driver's handles.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{CString, c_int, c_uint};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::settings::SETTINGS;
use crate::fault::Report;
use crate::launch::Memories;
use crate::program::Program;
use crate::ptx;
use crate::region::Region;

/// Result of a call: one of the driver's codes, 0 for success.
pub(crate) type Code = u32;
pub(crate) const SUCCESS: Code = 0;
pub(crate) const INVALID_VALUE: Code = 1;
pub(crate) const OUT_OF_MEMORY: Code = 2;
pub(crate) const NOT_INITIALIZED: Code = 3;
pub(crate) const NO_DEVICE: Code = 100;
pub(crate) const INVALID_DEVICE: Code = 101;
pub(crate) const INVALID_CONTEXT: Code = 201;
pub(crate) const NO_BINARY: Code = 209;
pub(crate) const INVALID_PTX: Code = 218;
pub(crate) const INVALID_HANDLE: Code = 400;
pub(crate) const NOT_FOUND: Code = 500;
pub(crate) const NOT_READY: Code = 600;
pub(crate) const LAUNCH_OUT_OF_RESOURCES: Code = 701;
pub(crate) const LAUNCH_FAILED: Code = 719;
pub(crate) const NOT_SUPPORTED: Code = 801;
pub(crate) const UNKNOWN: Code = 999;
pub(crate) const TOO_MANY_BLOCKS: Code = 720;
pub(crate) const UNSUPPORTED_LIMIT: Code = 215;
pub(crate) const PEER_ACCESS_UNSUPPORTED: Code = 217;
pub(crate) const FILE_NOT_FOUND: Code = 301;
pub(crate) const PEER_ACCESS_NOT_ENABLED: Code = 705;
pub(crate) const CAPTURE_UNSUPPORTED: Code = 900;
pub(crate) const CAPTURE_INVALID: Code = 901;

/// Where the memory of devices begins: above the windows, below what a host maps.
const FIRST_ADDRESS: u64 = 0x2000_0000_0000;

/// Something recorded in a graph.
pub(crate) type Node = Arc<dyn Fn() -> Code + Send + Sync>;

/// A module and the entries compiled so far.
pub(crate) struct Module {
    pub(crate) device: usize,
    pub(crate) tree: ptx::Module,
    pub(crate) text: Arc<Vec<String>>,
    /// Address and bytes of each variable; and the address alone.
    pub(crate) variables: HashMap<String, (u64, u64)>,
    pub(crate) addresses: HashMap<String, u64>,
    /// Handles of the entries.
    pub(crate) functions: Mutex<HashMap<String, u64>>,
}

/// A kernel, with what a program may set.
pub(crate) struct Function {
    pub(crate) device: usize,
    pub(crate) program: Program,
    /// Dynamic shared memory that launches may ask for.
    pub(crate) most_dynamic: AtomicUsize,
}

#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) device: usize,
    pub(crate) flags: c_uint,
    pub(crate) priority: c_int,
    /// Nodes of a capture under way.
    pub(crate) capture: Mutex<Option<Vec<Node>>>,
    pub(crate) spoiled: AtomicUsize,
}

pub(crate) struct Event {
    pub(crate) device: usize,
    pub(crate) at: Mutex<Option<Instant>>,
}

/// What a handle stands for.
#[derive(Clone)]
pub(crate) enum Object {
    Module(Arc<Module>),
    Function(Arc<Function>),
    Stream(Arc<Stream>),
    Event(Arc<Event>),
    Graph(Arc<Vec<Node>>),
    Context(usize),
}

/// All memory, by address.
#[derive(Default)]
pub(crate) struct Memory {
    live: BTreeMap<u64, Arc<Region>>,
    freed: VecDeque<(u64, u64, String)>,
    next: u64,
    used: HashMap<usize, u64>,
    peak: HashMap<usize, u64>,
    snapshot: Option<Memories>,
    allocations: u64,
}

/// Freed ranges that are remembered.
const REMEMBERED: usize = 1024;

pub(crate) struct State {
    pub(crate) objects: Mutex<HashMap<u64, Object>>,
    next_handle: AtomicU64,
    pub(crate) memory: Mutex<Memory>,
    /// The first fault of each device, and what it was.
    lost: Mutex<HashMap<usize, (Code, String)>>,
    /// What the last faults were, by code, for `cuGetErrorName`.
    messages: Mutex<HashMap<Code, &'static CString>>,
    pub(crate) launches: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) initialized: OnceLock<()>,
}

pub(crate) static STATE: LazyLock<State> = LazyLock::new(|| State {
    objects: Mutex::default(),
    next_handle: AtomicU64::new(0x51_0000),
    memory: Mutex::new(Memory { next: FIRST_ADDRESS, ..Memory::default() }),
    lost: Mutex::default(),
    messages: Mutex::default(),
    launches: AtomicU64::new(0),
    blocks: AtomicU64::new(1),
    initialized: OnceLock::new(),
});

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// A new handle.
    pub(crate) fn add(&self, object: Object) -> u64 {
        let handle = self.next_handle.fetch_add(16, Relaxed);
        lock(&self.objects).insert(handle, object);
        handle
    }

    pub(crate) fn find(&self, handle: u64) -> Option<Object> {
        lock(&self.objects).get(&handle).cloned()
    }

    pub(crate) fn remove(&self, handle: u64) -> Option<Object> {
        lock(&self.objects).remove(&handle)
    }

    /// The code that a lost device answers everything with.
    pub(crate) fn health(&self, device: usize) -> Code {
        lock(&self.lost).get(&device).map_or(SUCCESS, |(code, _)| *code)
    }

    /// Why a device is lost.
    pub(crate) fn loss(&self, device: usize) -> Option<(Code, String)> {
        lock(&self.lost).get(&device).cloned()
    }

    pub(crate) fn lose(&self, device: usize, code: Code, why: &str) {
        lock(&self.lost).entry(device).or_insert_with(|| (code, why.to_owned()));
        self.explain(code, why);
    }

    /// Keeps words for a code, which its name then carries.
    pub(crate) fn explain(&self, code: Code, why: &str) {
        let text = format!("{}: {why}", super::errors::name(code).unwrap_or("CUDA_ERROR"));
        super::tell::explained();
        if let Ok(text) = CString::new(text.replace('\0', " ")) {
            let mut messages = lock(&self.messages);
            // Programs keep the pointers that they get, so texts live as long as the process.
            if messages.get(&code).is_none_or(|old| **old != text) {
                messages.insert(code, Box::leak(Box::new(text)));
            }
        }
    }

    /// Drops the words for a code, unless they say why a device is lost.
    pub(crate) fn forget(&self, code: Code) {
        if lock(&self.lost).values().all(|(lost, _)| *lost != code) {
            lock(&self.messages).remove(&code);
        }
    }

    pub(crate) fn message(&self, code: Code) -> Option<&'static CString> {
        lock(&self.messages).get(&code).copied()
    }

    /// Tells a fault to whoever looks: standard error, the report, and the names of codes.
    pub(crate) fn fault(&self, device: usize, report: &Report) {
        super::say(&report.to_string());
        super::tell::report(&report.json());
        super::tell::saw_loss();
        self.lose(device, report.kind.code(), &report.to_string());
    }
}

impl Memory {
    /// New memory of a device.
    pub(crate) fn allocate(&mut self, device: usize, bytes: u64, what: &str) -> Result<u64, Code> {
        self.allocations += 1;
        let used = self.used.get(&device).copied().unwrap_or(0);
        let refuse = |why: String| super::tell::refuse(OUT_OF_MEMORY, &format!("{bytes} bytes for {what}: {why}"));
        if SETTINGS.fail_allocation == Some(self.allocations) {
            return Err(refuse(format!(
                "allocation {} finds no memory, as SIM_FAIL_ALLOCATION says",
                self.allocations
            )));
        }
        if used.checked_add(bytes).is_none_or(|sum| sum > SETTINGS.memory) {
            return Err(refuse(format!("{used} of {} bytes (SIM_MEMORY) are taken", SETTINGS.memory)));
        }
        let start = self.next;
        let region = Region::new(start, bytes, device, what.to_owned());
        let region = region.ok_or_else(|| refuse("the host has not enough".into()))?;
        // Addresses are never used again, and a gap keeps what runs over the end from its neighbour.
        self.next = (start + bytes).next_multiple_of(512) + 4096;
        self.live.insert(start, Arc::new(region));
        self.used.insert(device, used + bytes);
        let peak = self.peak.entry(device).or_default();
        *peak = (*peak).max(used + bytes);
        self.snapshot = None;
        Ok(start)
    }

    pub(crate) fn add_host(&mut self, region: Region) {
        self.live.insert(region.start, Arc::new(region));
        self.snapshot = None;
    }

    /// Frees what begins at this address.
    pub(crate) fn free(&mut self, start: u64) -> Option<Arc<Region>> {
        let region = self.live.remove(&start)?;
        self.snapshot = None;
        if region.device != usize::MAX {
            if let Some(used) = self.used.get_mut(&region.device) {
                *used -= region.len;
            }
            if self.freed.len() == REMEMBERED {
                self.freed.pop_front();
            }
            self.freed.push_back((start, region.len, region.what.clone()));
        }
        Some(region)
    }

    /// Allocations so far, with those that failed.
    pub(crate) fn allocations(&self) -> u64 {
        self.allocations
    }

    pub(crate) fn was_freed(&self, start: u64) -> bool {
        self.freed.iter().any(|&(at, ..)| at == start)
    }

    pub(crate) fn used(&self, device: usize) -> u64 {
        self.used.get(&device).copied().unwrap_or(0)
    }

    pub(crate) fn peak(&self, device: usize) -> u64 {
        self.peak.get(&device).copied().unwrap_or(0)
    }

    /// The region that holds a range, and the offset in it.
    pub(crate) fn find(&self, address: u64, bytes: u64) -> Option<(Arc<Region>, u64)> {
        let (_, region) = self.live.range(..=address).next_back()?;
        region.holds(address, bytes).then(|| (Arc::clone(region), address - region.start))
    }

    /// What a launch may reach.
    pub(crate) fn memories(&mut self) -> Memories {
        if let Some(all) = &self.snapshot {
            return all.clone();
        }
        let all = Memories {
            live: Arc::new(self.live.values().cloned().collect()),
            freed: Arc::new(self.freed.iter().cloned().collect()),
        };
        self.snapshot = Some(all.clone());
        all
    }
}
