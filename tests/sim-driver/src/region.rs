//! Memory that kernels work on, with what is known about each byte of it: whether anybody has written it, and who
//! touched it last.

use crate::ledger::Cell;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Who touched a cell: block (32 bits), the block's clock (20), who of the block (12).
pub(crate) type Stamp = u64;
pub(crate) const CLOCK_BITS: u32 = 20;
pub(crate) const WHO_BITS: u32 = 12;
/// Threads of a block; what is added for several lanes of the thread's warp, and in the place of several warps.
pub(crate) const THREADS: u64 = 1 << 10;
pub(crate) const SEVERAL_LANES: u64 = 1 << 10;
pub(crate) const SEVERAL_WARPS: u64 = 1 << 11;

pub(crate) fn block_of(stamp: Stamp) -> u64 {
    stamp >> 32
}
/// The thread, unless there are several.
pub(crate) fn who_of(stamp: Stamp) -> u64 {
    stamp & ((1 << WHO_BITS) - 1)
}
/// The warp, and none that exists for several.
pub(crate) fn warp_of(stamp: Stamp) -> u64 {
    (who_of(stamp) & !SEVERAL_LANES) / 32
}
pub(crate) fn clock_of(stamp: Stamp) -> u64 {
    (stamp >> WHO_BITS) & ((1 << CLOCK_BITS) - 1)
}

/// Types for which all bits zero is a value.
pub(crate) trait Zero {}
impl Zero for AtomicU8 {}
impl Zero for AtomicU64 {}
impl Zero for Cell {}

/// Many zeros, which take no time and no memory until they are touched.
pub(crate) struct Zeros<T: Zero> {
    data: NonNull<T>,
    layout: Layout,
    len: usize,
}

// SAFETY: it owns its memory, as a Vec does.
unsafe impl<T: Zero + Send> Send for Zeros<T> {}
// SAFETY: sharing it gives out shared slices only.
unsafe impl<T: Zero + Sync> Sync for Zeros<T> {}

impl<T: Zero> Zeros<T> {
    /// `None` when the host has not so much memory.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let layout = Layout::array::<T>(len.max(1)).ok()?;
        // SAFETY: the layout has a size above 0.
        let data = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<T>())?;
        Some(Self { data, layout, len })
    }
}

impl<T: Zero> std::ops::Deref for Zeros<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements are allocated, and zeros are values of them.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Zero> Drop for Zeros<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; the elements need no drop.
        unsafe { dealloc(self.data.as_ptr().cast(), self.layout) };
    }
}

/// The last writer and reader of every cell.
pub(crate) struct Shadow {
    pub(crate) writer: Zeros<AtomicU64>,
    pub(crate) reader: Zeros<AtomicU64>,
}

impl Shadow {
    fn new(cells: usize) -> Option<Self> {
        Some(Self { writer: Zeros::new(cells)?, reader: Zeros::new(cells)? })
    }
}

/// Memory at a range of addresses.
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) len: u64,
    data: NonNull<u8>,
    /// What `data` was allocated with; nothing for host memory that somebody else owns.
    owned: Option<Layout>,
    /// One bit a byte; absent where everything counts as written.
    written: Option<Zeros<AtomicU8>>,
    /// By the size of their cells: 1, 2 and 4 bytes.
    shadows: [OnceLock<Option<Shadow>>; 3],
    /// As above, for kernels that are watched exactly.
    ledgers: [OnceLock<Option<Zeros<Cell>>>; 3],
    pub(crate) device: usize,
    /// What it is, for messages.
    pub(crate) what: String,
}

// SAFETY: all access goes through atomics, or through copies that the driver's caller orders.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// What new memory holds: neither zeros, which hide a missing initialisation, nor the CPU backend's pattern.
const UNWRITTEN: u8 = 0x5A;
/// More than this is left as zeros, so that huge allocations stay cheap.
const PAINTED: u64 = 64 << 20;

impl Region {
    /// New memory; `None` when the host has not enough.
    pub(crate) fn new(start: u64, len: u64, device: usize, what: String) -> Option<Self> {
        if len > 1 << 46 {
            return None;
        }
        let layout = Layout::from_size_align((len as usize).next_multiple_of(16).max(16), 16).ok()?;
        let written = Zeros::new(len.div_ceil(8) as usize + 1)?;
        // SAFETY: the layout has a size of at least 16.
        let data = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        if len <= PAINTED {
            // SAFETY: `len` bytes were allocated just now.
            unsafe { data.as_ptr().write_bytes(UNWRITTEN, len as usize) };
        }
        let (shadows, ledgers) = Default::default();
        Some(Self { ledgers, start, len, data, owned: Some(layout), written: Some(written), shadows, device, what })
    }

    /// Memory of the host, which the device sees at the same address.
    pub(crate) fn of_host(data: NonNull<u8>, len: u64, device: usize) -> Self {
        let start = data.as_ptr().addr() as u64;
        let (shadows, ledgers) = Default::default();
        Self {
            ledgers,
            start,
            len,
            data,
            owned: None,
            written: None,
            shadows,
            device,
            what: "page-locked host memory".into(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Bytes between an address and this memory.
    pub(crate) fn distance(&self, address: u64) -> u64 {
        if address >= self.start { (address - self.start).saturating_sub(self.len) } else { self.start - address }
    }

    pub(crate) fn holds(&self, address: u64, bytes: u64) -> bool {
        address >= self.start && bytes <= self.len && address - self.start <= self.len - bytes
    }

    /// `None` when the host has no memory for it.
    pub(crate) fn shadow(&self, granule: u8) -> Option<&Shadow> {
        let which = granule.trailing_zeros().min(2);
        self.shadows[which as usize].get_or_init(|| Shadow::new((self.len >> which) as usize + 2)).as_ref()
    }

    /// `None` when the host has no memory for it.
    pub(crate) fn ledger(&self, granule: u8) -> Option<&[Cell]> {
        let which = granule.trailing_zeros().min(2);
        let cells = self.ledgers[which as usize].get_or_init(|| Zeros::new((self.len >> which) as usize + 8));
        cells.as_ref().map(|cells| &**cells)
    }

    /// Makes everything unwritten again.
    pub(crate) fn forget(&self, len: u64) {
        for bits in self.written.iter().flat_map(|all| all.iter()).take(len.div_ceil(8) as usize) {
            bits.store(0, Relaxed);
        }
    }

    /// The bits of `size` bytes (1, 2, 4, 8) at an aligned offset inside the region.
    #[inline(always)]
    pub(crate) fn load(&self, offset: u64, size: u8) -> u64 {
        debug_assert!(offset + u64::from(size) <= self.len && offset % u64::from(size) == 0);
        // SAFETY: inside the memory and aligned, which every caller has checked; other threads use atomics too.
        unsafe {
            let at = self.data.as_ptr().add(offset as usize);
            match size {
                1 => (*at.cast::<AtomicU8>()).load(Relaxed).into(),
                2 => (*at.cast::<AtomicU16>()).load(Relaxed).into(),
                4 => (*at.cast::<AtomicU32>()).load(Relaxed).into(),
                _ => (*at.cast::<AtomicU64>()).load(Relaxed),
            }
        }
    }

    #[inline(always)]
    pub(crate) fn store(&self, offset: u64, size: u8, value: u64) {
        debug_assert!(offset + u64::from(size) <= self.len && offset % u64::from(size) == 0);
        // SAFETY: as in `load`.
        unsafe {
            let at = self.data.as_ptr().add(offset as usize);
            match size {
                1 => (*at.cast::<AtomicU8>()).store(value as u8, Relaxed),
                2 => (*at.cast::<AtomicU16>()).store(value as u16, Relaxed),
                4 => (*at.cast::<AtomicU32>()).store(value as u32, Relaxed),
                _ => (*at.cast::<AtomicU64>()).store(value, Relaxed),
            }
        }
    }

    /// Replaces a value by what `f` makes of it, in one step; the old value.
    pub(crate) fn update(&self, offset: u64, size: u8, f: impl Fn(u64) -> u64) -> u64 {
        // SAFETY: as in `load`.
        unsafe {
            let at = self.data.as_ptr().add(offset as usize);
            match size {
                2 => {
                    let cell = &*at.cast::<AtomicU16>();
                    let old = cell.fetch_update(Relaxed, Relaxed, |old| Some(f(old.into()) as u16));
                    old.unwrap_or_else(|old| old).into()
                }
                4 => {
                    let cell = &*at.cast::<AtomicU32>();
                    let old = cell.fetch_update(Relaxed, Relaxed, |old| Some(f(old.into()) as u32));
                    old.unwrap_or_else(|old| old).into()
                }
                _ => {
                    let cell = &*at.cast::<AtomicU64>();
                    cell.fetch_update(Relaxed, Relaxed, |old| Some(f(old))).unwrap_or_else(|old| old)
                }
            }
        }
    }

    /// Whether all of these bytes (1, 2, 4, 8 and aligned) have been written.
    #[inline(always)]
    pub(crate) fn is_written(&self, offset: u64, size: u8) -> bool {
        let Some(written) = &self.written else { return true };
        let wanted = (((1u32 << size) - 1) as u8) << (offset % 8);
        written[(offset / 8) as usize].load(Relaxed) & wanted == wanted
    }

    #[inline(always)]
    pub(crate) fn mark_written(&self, offset: u64, size: u8) {
        let Some(written) = &self.written else { return };
        let bits = (((1u32 << size) - 1) as u8) << (offset % 8);
        let cell = &written[(offset / 8) as usize];
        // The rest of the byte may belong to another thread.
        if cell.load(Relaxed) & bits != bits {
            cell.fetch_or(bits, Relaxed);
        }
    }

    fn mark_range(&self, offset: u64, len: u64, value: bool) {
        let mut at = offset;
        while at < offset + len {
            if value && at % 8 == 0 && at + 8 <= offset + len {
                self.mark_written(at, 8);
                at += 8;
            } else {
                if value {
                    self.mark_written(at, 1);
                } else if let Some(written) = &self.written {
                    written[(at / 8) as usize].fetch_and(!(1 << (at % 8)), Relaxed);
                }
                at += 1;
            }
        }
    }

    /// Writes bytes from the host.
    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.len);
        // SAFETY: inside the memory (asserted); the driver's caller orders copies and kernels.
        unsafe { self.data.as_ptr().add(offset as usize).copy_from(bytes.as_ptr(), bytes.len()) };
        self.mark_range(offset, bytes.len() as u64, true);
    }

    /// Reads bytes to the host.
    pub(crate) fn get(&self, offset: u64, bytes: &mut [u8]) {
        assert!(offset + bytes.len() as u64 <= self.len);
        // SAFETY: as in `put`.
        unsafe { self.data.as_ptr().add(offset as usize).copy_to(bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Fills with a pattern of 1, 2 or 4 bytes.
    pub(crate) fn fill(&self, offset: u64, pattern: &[u8], count: u64) {
        let len = count * pattern.len() as u64;
        assert!(offset + len <= self.len);
        // SAFETY: inside the memory (asserted); the driver's caller orders copies and kernels.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().add(offset as usize), len as usize) };
        for chunk in bytes.chunks_mut(pattern.len()) {
            chunk.copy_from_slice(&pattern[..chunk.len()]);
        }
        self.mark_range(offset, len, true);
    }

    /// Copies from another region (or this one), and with the bytes what is known about them.
    pub(crate) fn copy_from(&self, offset: u64, from: &Self, from_offset: u64, len: u64) {
        assert!(offset + len <= self.len && from_offset + len <= from.len);
        // SAFETY: inside both memories (asserted); the driver's caller orders copies and kernels.
        unsafe {
            let source = from.data.as_ptr().add(from_offset as usize);
            self.data.as_ptr().add(offset as usize).copy_from(source, len as usize);
        }
        if from.written.is_none() {
            self.mark_range(offset, len, true);
            return;
        }
        for i in 0..len {
            self.mark_range(offset + i, 1, from.is_written(from_offset + i, 1));
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(layout) = self.owned {
            // SAFETY: allocated by `new` with this layout.
            unsafe { dealloc(self.data.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes_are_remembered_and_copied() {
        let a = Region::new(0x1000, 40, 0, "a".into()).unwrap();
        assert!(!a.is_written(0, 4));
        a.put(3, &[1, 2, 3, 4, 5, 6]);
        assert!(a.is_written(3, 1) && a.is_written(4, 4) && !a.is_written(0, 4) && !a.is_written(8, 2));
        let b = Region::new(0x2000, 40, 0, "b".into()).unwrap();
        b.copy_from(8, &a, 2, 8);
        assert!(!b.is_written(8, 1) && b.is_written(9, 1) && b.is_written(12, 2) && !b.is_written(15, 1));
        assert_eq!(b.load(10, 2), 0x0302);
        b.fill(0, &[7, 8], 4);
        assert_eq!(b.load(0, 8), 0x0807_0807_0807_0807);
        b.forget(40);
        assert!(!b.is_written(0, 1));
    }

    #[test]
    fn ranges_know_what_they_hold() {
        let a = Region::new(0x1000, 40, 0, "a".into()).unwrap();
        assert!(a.holds(0x1000, 40) && a.holds(0x1024, 4) && !a.holds(0x1025, 4) && !a.holds(0xFFF, 1));
        assert!(!a.holds(u64::MAX, 8) && !a.holds(0x1000, 41));
    }
}
