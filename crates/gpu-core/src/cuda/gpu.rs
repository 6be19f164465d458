//! What all queues of one physical device share: its context, its health, its loaded kernels.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cust::context::{Context, CurrentContext};
use cust::device::{Device as CustDevice, DeviceAttribute};
use cust::error::CudaResult;
use cust::sys::{self, CUdevice_attribute, CUmemoryPool, CUresult};

use super::buffer::Machine;
use super::driver;
use super::module::Loaded;
use crate::{Arch, Clocks, Device, Error, Result};

/// One device with its primary context, opened once and kept for the life of the process.
pub(super) struct Gpu {
    pub(super) device: Device,
    pub(super) raw: sys::CUdevice,
    pub(super) loaded: Loaded,
    pub(super) limits: Limits,
    /// `LOCKSTEP_LAUNCH_BLOCKING`: every launch waits for its kernel, so that an error names the right one.
    pub(super) blocking: bool,
    /// Whether the device reads ordinary host memory by itself, so that a copy from there may be done late.
    pub(super) reads_pageable: bool,
    context: Context,
    pool: Option<Pool>,
    /// The first error after which the context could not be used any more.
    lost: OnceLock<String>,
    /// What was launched last.
    last: Mutex<Option<Arc<str>>>,
    /// An error from a place that cannot return one; the next call does.
    stored: Mutex<Option<Error>>,
    has_stored: AtomicBool,
    machine: OnceLock<Arc<Machine>>,
}

/// What a launch may ask for.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) threads: u32,
    pub(super) shared: u32,
    /// Whether a grid may have a barrier of its own.
    pub(super) cooperative: bool,
}

/// The device's default memory pool.
#[derive(Clone, Copy)]
struct Pool(CUmemoryPool);

// SAFETY: a handle that the driver accepts from every thread.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// Devices that were opened, each with a lock of its own: they start side by side.
static GPUS: Mutex<BTreeMap<usize, Arc<Mutex<Option<&'static Gpu>>>>> = Mutex::new(BTreeMap::new());

/// The error for one failed call before there is a device to blame: there is none.
fn no_device<T>(call: &str, result: CudaResult<T>) -> Result<T> {
    // Not the error's own text: `cust` asks the driver for it and panics when there is none.
    result.map_err(|_| Error::NoDevice {
        reason: driver::load_error().map_or_else(|| failed(call, driver::last_code()), str::to_owned),
    })
}

fn failed(call: &str, code: u32) -> String {
    format!("{call} failed with code {code} ({})", driver::name_of(code))
}

/// Number of devices; [`Error::NoDevice`] when there is no driver or no device.
pub(super) fn count() -> Result<usize> {
    no_device("cuInit", cust::init(cust::CudaFlags::empty()))?;
    match no_device("cuDeviceGetCount", CustDevice::num_devices())? {
        0 => Err(Error::NoDevice { reason: "the driver sees none; CUDA_VISIBLE_DEVICES may hide it".to_owned() }),
        n => Ok(n as usize),
    }
}

impl Gpu {
    /// The device with this ordinal.
    pub(super) fn open(ordinal: usize) -> Result<&'static Self> {
        let count = count()?;
        if ordinal >= count {
            let reason = format!("ordinal {ordinal} asked for, the driver sees {count}: 0 to {}", count - 1);
            return Err(Error::NoDevice { reason });
        }
        let own = GPUS.lock().unwrap_or_else(PoisonError::into_inner).entry(ordinal).or_default().clone();
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = *own {
            return Ok(gpu);
        }
        // Leaked on purpose: buffers in statics and on other threads may outlive every other owner.
        let gpu: &'static Self = Box::leak(Box::new(Self::new(ordinal)?));
        *own = Some(gpu);
        Ok(gpu)
    }

    fn new(ordinal: usize) -> Result<Self> {
        let cust = no_device("cuDeviceGet", CustDevice::get_device(ordinal as u32))?;
        let attribute = |which| -> Result<u32> {
            no_device("cuDeviceGetAttribute", cust.get_attribute(which)).map(|value| value.max(0) as u32)
        };
        let context = no_device("cuDevicePrimaryCtxRetain", Context::new(cust))?;
        let raw = cust.as_raw();
        let mut device = Device::new(no_device("cuDeviceGetName", cust.name())?, ordinal);
        device.arch = Some(Arch {
            major: attribute(DeviceAttribute::ComputeCapabilityMajor)?,
            minor: attribute(DeviceAttribute::ComputeCapabilityMinor)?,
        });
        device.units = attribute(DeviceAttribute::MultiprocessorCount)? as usize;
        device.memory = no_device("cuDeviceTotalMem_v2", cust.total_memory())?;
        device.shared_per_block =
            sys_attribute(raw, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize;
        device.driver = cust::CudaApiVersion::get()
            .ok()
            .map(|version| (1000 * version.major() + 10 * version.minor()).max(0) as u32);
        // Only told about: a driver that keeps them to itself is as good as any.
        let stated = |which| attribute(which).ok().filter(|value| *value > 0);
        device.clocks = (|| {
            Some(Clocks {
                units_khz: stated(DeviceAttribute::ClockRate)?,
                memory_khz: stated(DeviceAttribute::MemoryClockRate)?,
                memory_bits: stated(DeviceAttribute::GlobalMemoryBusWidth)?,
            })
        })();
        let limits = Limits {
            grid: [
                attribute(DeviceAttribute::MaxGridDimX)?,
                attribute(DeviceAttribute::MaxGridDimY)?,
                attribute(DeviceAttribute::MaxGridDimZ)?,
            ],
            block: [
                attribute(DeviceAttribute::MaxBlockDimX)?,
                attribute(DeviceAttribute::MaxBlockDimY)?,
                attribute(DeviceAttribute::MaxBlockDimZ)?,
            ],
            threads: attribute(DeviceAttribute::MaxThreadsPerBlock)?,
            shared: device.shared_per_block as u32,
            cooperative: sys_attribute(raw, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? == 1,
        };
        let gpu = Self {
            device,
            raw,
            loaded: Loaded::default(),
            limits,
            blocking: std::env::var_os("LOCKSTEP_LAUNCH_BLOCKING")
                .is_some_and(|value| !value.is_empty() && value != "0"),
            reads_pageable: attribute(DeviceAttribute::PageableMemoryAccess)? == 1,
            context,
            pool: default_pool(raw)?,
            lost: OnceLock::new(),
            last: Mutex::new(None),
            stored: Mutex::new(None),
            has_stored: AtomicBool::new(false),
            machine: OnceLock::new(),
        };
        tracing::debug!(device = %gpu.device.name, ordinal, pool = gpu.pool.is_some(), "opened");
        Ok(gpu)
    }

    /// The memory budget of all handles that were opened without a limit of their own.
    pub(super) fn machine(&'static self) -> Arc<Machine> {
        Arc::clone(self.machine.get_or_init(|| Arc::new(Machine::new(self, self.device.memory))))
    }

    /// Whether allocations come from the driver's pool and are ordered with the queue.
    pub(super) fn has_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// The beginning of every call: fails on a lost device, returns a stored error, makes the context current.
    pub(super) fn enter(&self) -> Result<()> {
        self.alive()?;
        if self.has_stored.swap(false, Ordering::Acquire) {
            let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(error) = stored {
                return Err(error);
            }
        }
        self.bind()
    }

    /// Makes the context current on this thread.
    pub(super) fn bind(&self) -> Result<()> {
        match CurrentContext::set_current(&self.context) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure("cuCtxSetCurrent", driver::last_code())),
        }
    }

    pub(super) fn alive(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(first) => Err(Error::DeviceLost { first: first.clone() }),
        }
    }

    /// The result of a driver call.
    pub(super) fn check(&self, call: &'static str, code: CUresult) -> Result<()> {
        if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(self.failure(call, driver::last_code())) }
    }

    /// The error for a driver's number; one that leaves the context unusable is remembered.
    pub(super) fn failure(&self, call: &'static str, code: u32) -> Error {
        if is_sticky(code) {
            let first = self.lost.get_or_init(|| {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                match last.as_deref() {
                    Some(kernel) => format!("{}; launched last: {kernel}", failed(call, code)),
                    None => format!("{} before any launch", failed(call, code)),
                }
            });
            return Error::DeviceLost { first: first.clone() };
        }
        Error::Driver { call, code, name: driver::name_of(code) }
    }

    /// Remembers what was launched, for the message when the device is lost.
    pub(super) fn launched(&self, what: &Arc<str>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, what)) {
            *last = Some(Arc::clone(what));
        }
    }

    /// What was launched last.
    pub(super) fn last_launch(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_deref().unwrap_or("nothing").to_owned()
    }

    /// Keeps an error that cannot be returned from here for the next call. Only the first one is kept.
    pub(super) fn store(&self, error: Error) {
        tracing::error!(%error, "while freeing");
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.has_stored.store(true, Ordering::Release);
    }

    /// Bytes that can still be allocated: what the system has, and what the pool holds without using it.
    pub(super) fn free_memory(&self) -> usize {
        let system = self.bind().ok().and_then(|()| cust::memory::mem_get_info().ok()).map_or(0, |(free, _)| free);
        let pooled = self.pool.map_or(0, |pool| {
            let reserved = pool.bytes(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
            reserved.saturating_sub(pool.bytes(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT))
        });
        system.saturating_add(pooled)
    }

    /// Whether kernels here can read the memory of another device directly.
    pub(super) fn can_access(&self, ordinal: usize) -> bool {
        let (mut peer, mut can) = (0, 0);
        // SAFETY: both pointers are valid for the call.
        let found = unsafe { sys::cuDeviceGet(&raw mut peer, ordinal.min(i32::MAX as usize) as i32) };
        if found != CUresult::CUDA_SUCCESS {
            return false;
        }
        // SAFETY: the pointer is valid for the call; both devices exist.
        let asked = unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, self.raw, peer) };
        asked == CUresult::CUDA_SUCCESS && can == 1
    }
}

impl Pool {
    fn bytes(self, attribute: sys::CUmemPool_attribute) -> usize {
        let mut value = 0u64;
        // SAFETY: these attributes are `cuuint64_t`, and the pointer is valid for the call.
        let code = unsafe { sys::cuMemPoolGetAttribute(self.0, attribute, (&raw mut value).cast::<c_void>()) };
        if code == CUresult::CUDA_SUCCESS { value as usize } else { 0 }
    }
}

/// Errors after which nothing works in this context any more. The others among 700 to 719 are refusals of one call.
fn is_sticky(code: u32) -> bool {
    // Illegal address, time-out, destroyed context, assertion, and the faults of a running kernel;
    // 214 and 220 are uncorrectable memory and link errors.
    matches!(code, 214 | 220 | 700 | 702 | 709 | 710 | 714..=719)
}

fn sys_attribute(device: sys::CUdevice, attribute: CUdevice_attribute) -> Result<u32> {
    let mut value = 0;
    // SAFETY: the pointer is valid for the call.
    match unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, device) } {
        CUresult::CUDA_SUCCESS => Ok(value.max(0) as u32),
        _ => Err(Error::NoDevice { reason: failed("cuDeviceGetAttribute", driver::last_code()) }),
    }
}

/// The default pool, set to keep freed memory for the next allocation; `None` where the device has no pools.
fn default_pool(device: sys::CUdevice) -> Result<Option<Pool>> {
    if sys_attribute(device, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? == 0 {
        return Ok(None);
    }
    let mut pool = ptr::null_mut();
    // SAFETY: the pointer is valid for the call.
    if unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, device) } != CUresult::CUDA_SUCCESS {
        return Ok(None);
    }
    let mut keep = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is a `cuuint64_t`, and the pointer is valid for the call. Without it freeing is slower.
    unsafe { sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut keep).cast::<c_void>()) };
    Ok(Some(Pool(pool)))
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (cuda:{})", self.device.name, self.device.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::is_sticky;

    #[test]
    fn refusals_of_one_call_do_not_lose_the_device() {
        for code in [1, 2, 701, 703, 704, 705, 708, 711, 712, 713, 720, 801, 999] {
            assert!(!is_sticky(code), "{code}");
        }
        for code in [700, 702, 710, 714, 716, 719] {
            assert!(is_sticky(code), "{code}");
        }
    }
}
