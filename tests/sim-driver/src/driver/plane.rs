//! Rows with a distance between them: allocation, fills, copies.

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};
use std::sync::Arc;

use super::memory::{allocate, region};
use super::state::{Code, INVALID_VALUE, NOT_SUPPORTED, SUCCESS};
use super::{caught, code, current, give, on_stream, pointer, stream, tell};
use crate::region::Region;

/// Rows begin at multiples of this.
const PITCH: usize = 512;

/// Bytes from the beginning of the first row to the end of the last.
fn span(pitch: usize, width: usize, height: usize) -> Result<usize, Code> {
    let refuse = || tell::refuse(INVALID_VALUE, &format!("{height} rows of {width} bytes, {pitch} bytes apart"));
    if height > 1 && pitch < width {
        return Err(refuse());
    }
    let before = pitch.checked_mul(height.saturating_sub(1));
    before.and_then(|before| before.checked_add(width)).ok_or_else(refuse)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocPitch_v2(
    to: *mut u64,
    pitch: *mut usize,
    width: usize,
    height: usize,
    element: c_uint,
) -> Code {
    caught(|| {
        let result = current("cuMemAllocPitch_v2").and_then(|device| {
            let rows = width.checked_next_multiple_of(PITCH).filter(|_| matches!(element, 4 | 8 | 16));
            let bytes = rows.and_then(|rows| rows.checked_mul(height));
            let why = format!("{height} rows of {width} bytes, elements of {element}");
            let (rows, bytes) = rows.zip(bytes).ok_or_else(|| tell::refuse(INVALID_VALUE, &why))?;
            // SAFETY: the caller's pointer.
            unsafe { give(pitch, rows)? };
            allocate(to, bytes, device, "a buffer with rows")
        });
        code(result)
    })
}

fn fill(
    function: &str,
    to: u64,
    pitch: usize,
    pattern: &[u8],
    width: usize,
    height: usize,
    on: *mut c_void,
) -> Result<(), Code> {
    let device = current(function)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let row = width.checked_mul(pattern.len()).ok_or(INVALID_VALUE)?;
    let (target, offset) = region(to, span(pitch, row, height)?, "fills")?;
    let pattern = pattern.to_vec();
    let work = move || {
        for y in 0..height {
            target.fill(offset + (y * pitch) as u64, &pattern, width as u64);
        }
        SUCCESS
    };
    on_stream(&*stream(on, device)?, Arc::new(work))
}

macro_rules! fills {
    ($($now:ident $later:ident $value:ty),*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $now(to: u64, pitch: usize, value: $value, width: usize, height: usize) -> Code {
            caught(|| code(fill(stringify!($now), to, pitch, &value.to_le_bytes(), width, height, pointer(0))))
        }

        #[unsafe(no_mangle)]
        extern "C" fn $later(
            to: u64,
            pitch: usize,
            value: $value,
            width: usize,
            height: usize,
            on: *mut c_void,
        ) -> Code {
            caught(|| code(fill(stringify!($later), to, pitch, &value.to_le_bytes(), width, height, on)))
        }
    )*};
}

fills! {
    cuMemsetD2D8_v2 cuMemsetD2D8Async c_uchar,
    cuMemsetD2D16_v2 cuMemsetD2D16Async c_ushort,
    cuMemsetD2D32_v2 cuMemsetD2D32Async c_uint
}

/// One side of a copy of rows, as `CUDA_MEMCPY2D` has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`
#[repr(C)]
#[derive(Clone, Copy)]
struct Rows {
    from: Place,
    to: Place,
    width: usize,
    height: usize,
}

/// Where the first row of one side is.
#[derive(Clone)]
enum Side {
    Host(*mut u8),
    Device(Arc<Region>, u64),
}
// SAFETY: the driver's caller keeps host memory until the copy is done, and orders access to it.
unsafe impl Send for Side {}
// SAFETY: as above.
unsafe impl Sync for Side {}

fn side(place: &Place, width: usize, height: usize, what: &str) -> Result<Side, Code> {
    const HOST: c_uint = 1;
    const DEVICE: c_uint = 2;
    const ARRAY: c_uint = 3;
    const UNIFIED: c_uint = 4;
    let bytes = span(place.pitch, width, height)?;
    let before = place.y.checked_mul(place.pitch).and_then(|rows| rows.checked_add(place.x));
    let before = before.ok_or(INVALID_VALUE)?;
    match place.kind {
        HOST if place.host.is_null() => Err(tell::refuse(INVALID_VALUE, "the host's side is null")),
        HOST => Ok(Side::Host(place.host.cast::<u8>().wrapping_add(before))),
        DEVICE | UNIFIED => {
            let (region, offset) = region(place.device.wrapping_add(before as u64), bytes, what)?;
            Ok(Side::Device(region, offset))
        }
        ARRAY => Err(tell::refuse(NOT_SUPPORTED, "arrays are not simulated")),
        kind => Err(tell::refuse(INVALID_VALUE, &format!("{kind} is no type of memory"))),
    }
}

/// # Safety
/// `rows` is null or points to what the driver's function takes; host memory is as large as it says.
unsafe fn copy(function: &str, rows: *const Rows, on: *mut c_void) -> Result<(), Code> {
    let device = current(function)?;
    if rows.is_null() {
        return Err(tell::refuse(INVALID_VALUE, "no description of the copy"));
    }
    // SAFETY: not null, says the caller.
    let rows = unsafe { rows.read() };
    let (width, height) = (rows.width, rows.height);
    if width == 0 || height == 0 {
        return Ok(());
    }
    let (from, to) = (side(&rows.from, width, height, "copies from")?, side(&rows.to, width, height, "copies to")?);
    let work = move || {
        for y in 0..height {
            let (before, behind) = (y * rows.from.pitch, y * rows.to.pitch);
            match (&from, &to) {
                // SAFETY: the caller gives as many readable and writable bytes on its sides.
                (Side::Host(from), Side::Host(to)) => unsafe {
                    from.add(before).copy_to(to.add(behind), width);
                },
                (Side::Host(from), Side::Device(to, offset)) => {
                    // SAFETY: as above.
                    to.put(offset + behind as u64, unsafe { std::slice::from_raw_parts(from.add(before), width) });
                }
                (Side::Device(from, offset), Side::Host(to)) => {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.add(behind), width) };
                    from.get(offset + before as u64, to);
                }
                (Side::Device(from, start), Side::Device(to, offset)) => {
                    to.copy_from(offset + behind as u64, from, start + before as u64, width as u64);
                }
            }
        }
        SUCCESS
    };
    on_stream(&*stream(on, device)?, Arc::new(work))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy2D_v2(rows: *const Rows) -> Code {
    caught(|| {
        // SAFETY: the caller's description.
        code(unsafe { copy("cuMemcpy2D_v2", rows, pointer(0)) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy2DUnaligned_v2(rows: *const Rows) -> Code {
    caught(|| {
        // SAFETY: the caller's description.
        code(unsafe { copy("cuMemcpy2DUnaligned_v2", rows, pointer(0)) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy2DAsync_v2(rows: *const Rows, on: *mut c_void) -> Code {
    caught(|| {
        // SAFETY: the caller's description.
        code(unsafe { copy("cuMemcpy2DAsync_v2", rows, on) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_have_the_layout_of_the_header() {
        assert_eq!((size_of::<Place>(), size_of::<Rows>()), (56, 128));
        assert_eq!(std::mem::offset_of!(Rows, to), 56);
    }

    #[test]
    fn rows_span_what_lies_between_them() {
        assert_eq!(span(512, 100, 3), Ok(1124));
        assert_eq!(span(0, 100, 1), Ok(100));
        assert_eq!(span(64, 100, 2), Err(INVALID_VALUE));
        assert_eq!(span(usize::MAX, 100, 3), Err(INVALID_VALUE));
    }
}
