//! The part of cuFFT that programs open at run time, so that code which uses it runs here too.
//!
//! Every transform is done in double precision and rounded once, so that results differ from cuFFT's by rounding.

use std::ffi::{c_int, c_longlong, c_void};
use std::sync::{Arc, LazyLock, Mutex};

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use super::state::{STATE, SUCCESS, lock};
use super::{CURRENT, caught_as, on_stream, stream};
use crate::region::Region;

type Code = c_int;
const INVALID_PLAN: Code = 1;
const INVALID_VALUE: Code = 4;
const INTERNAL_ERROR: Code = 5;
const EXEC_FAILED: Code = 6;
const INVALID_SIZE: Code = 8;

/// One side's layout: distance between elements of the last axis, sides as stored, distance between transforms.
#[derive(Clone, Debug, Default)]
struct Layout {
    embed: Vec<usize>,
    stride: usize,
    distance: usize,
}

#[derive(Clone, Debug, Default)]
struct Plan {
    sides: Vec<usize>,
    batch: usize,
    kind: c_int,
    input: Layout,
    output: Layout,
    stream: u64,
}

static PLANS: LazyLock<Mutex<Vec<Option<Plan>>>> = LazyLock::new(Mutex::default);

fn with<R>(handle: c_int, f: impl FnOnce(&mut Plan) -> Result<R, Code>) -> Result<R, Code> {
    let mut plans = lock(&PLANS);
    let slot = usize::try_from(handle).ok().and_then(|i| plans.get_mut(i.wrapping_sub(1)));
    f(slot.and_then(Option::as_mut).ok_or(INVALID_PLAN)?)
}

fn code(result: Result<(), Code>) -> Code {
    result.err().unwrap_or(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cufftGetVersion(version: *mut c_int) -> Code {
    caught_as(INTERNAL_ERROR, || {
        // SAFETY: the caller's pointer.
        if unsafe { super::give(version, 11_000) }.is_ok() { 0 } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cufftCreate(handle: *mut c_int) -> Code {
    caught_as(INTERNAL_ERROR, || {
        let mut plans = lock(&PLANS);
        plans.push(Some(Plan::default()));
        // SAFETY: the caller's pointer.
        if unsafe { super::give(handle, plans.len() as c_int) }.is_ok() { 0 } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cufftDestroy(handle: c_int) -> Code {
    caught_as(INTERNAL_ERROR, || {
        let mut plans = lock(&PLANS);
        match usize::try_from(handle).ok().and_then(|i| plans.get_mut(i.wrapping_sub(1))) {
            Some(plan) if plan.is_some() => {
                *plan = None;
                0
            }
            _ => INVALID_PLAN,
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cufftSetAutoAllocation(handle: c_int, _automatic: c_int) -> Code {
    caught_as(INTERNAL_ERROR, || code(with(handle, |_| Ok(()))))
}

#[unsafe(no_mangle)]
extern "C" fn cufftSetWorkArea(handle: c_int, _area: *mut c_void) -> Code {
    caught_as(INTERNAL_ERROR, || code(with(handle, |_| Ok(()))))
}

#[unsafe(no_mangle)]
extern "C" fn cufftSetStream(handle: c_int, on: *mut c_void) -> Code {
    caught_as(INTERNAL_ERROR, || {
        code(with(handle, |plan| {
            plan.stream = on.addr() as u64;
            Ok(())
        }))
    })
}

/// # Safety
/// `list` is null or has `count` numbers.
unsafe fn sides(list: *const c_longlong, count: usize) -> Result<Option<Vec<usize>>, Code> {
    if list.is_null() {
        return Ok(None);
    }
    // SAFETY: says the caller.
    let list = unsafe { std::slice::from_raw_parts(list, count) };
    let sides: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
    sides.map(Some).ok_or(INVALID_SIZE)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cufftMakePlanMany64(
    handle: c_int,
    rank: c_int,
    n: *mut c_longlong,
    in_embed: *mut c_longlong,
    in_stride: c_longlong,
    in_distance: c_longlong,
    out_embed: *mut c_longlong,
    out_stride: c_longlong,
    out_distance: c_longlong,
    kind: c_int,
    batch: c_longlong,
    work: *mut usize,
) -> Code {
    caught_as(INTERNAL_ERROR, || {
        let made = with(handle, |plan| {
            let rank = usize::try_from(rank).ok().filter(|rank| (1..=3).contains(rank)).ok_or(INVALID_VALUE)?;
            // SAFETY: the caller gives `rank` numbers in each list that is there.
            let (n, inward, outward) = unsafe { (sides(n, rank)?, sides(in_embed, rank)?, sides(out_embed, rank)?) };
            let n = n.filter(|n| n.iter().all(|&n| n > 0)).ok_or(INVALID_SIZE)?;
            let half = |complex_side: bool| {
                let mut sides = n.clone();
                if let Some(last) = sides.last_mut().filter(|_| complex_side) {
                    *last = *last / 2 + 1;
                }
                sides
            };
            let (real_to_complex, complex_to_real) = (matches!(kind, 0x2a | 0x6a), matches!(kind, 0x2c | 0x6c));
            if !real_to_complex && !complex_to_real && !matches!(kind, 0x29 | 0x69) {
                return Err(INVALID_VALUE);
            }
            let layout =
                |embed: Option<Vec<usize>>, stride: c_longlong, distance: c_longlong, sides: Vec<usize>| match embed {
                    Some(embed) => Layout { embed, stride: stride.max(1) as usize, distance: distance.max(0) as usize },
                    None => Layout { distance: sides.iter().product(), embed: sides, stride: 1 },
                };
            plan.input = layout(inward, in_stride, in_distance, half(complex_to_real));
            plan.output = layout(outward, out_stride, out_distance, half(real_to_complex));
            plan.batch = usize::try_from(batch).map_err(|_| INVALID_VALUE)?;
            plan.sides = n;
            plan.kind = kind;
            Ok(())
        });
        if made.is_ok() && !work.is_null() {
            // SAFETY: the caller's pointer, not null. A little, so that callers exercise their work areas.
            unsafe { work.write(256) };
        }
        code(made)
    })
}

/// Number of the element at these coordinates of one transform.
fn place(layout: &Layout, transform: usize, at: &[usize]) -> usize {
    let inner = at.iter().zip(&layout.embed).fold(0, |sum, (&i, &side)| sum * side + i);
    transform * layout.distance + inner * layout.stride
}

/// Every coordinate of an array, the last axis fastest.
fn each(sides: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..sides.iter().product::<usize>()).map(move |mut i| {
        let mut at = vec![0; sides.len()];
        for (at, &side) in at.iter_mut().zip(sides).rev() {
            *at = i % side;
            i /= side;
        }
        at
    })
}

/// The transform over all axes of a dense array, unscaled.
fn transform(data: &mut [Complex<f64>], sides: &[usize], inverse: bool) {
    let mut planner = FftPlanner::new();
    let mut inner = 1;
    for &side in sides.iter().rev() {
        let fft = if inverse { planner.plan_fft_inverse(side) } else { planner.plan_fft_forward(side) };
        let mut line = vec![Complex::default(); side];
        for start in (0..data.len()).filter(|i| i / inner % side == 0) {
            for (k, value) in line.iter_mut().enumerate() {
                *value = data[start + k * inner];
            }
            fft.process(&mut line);
            for (k, value) in line.iter().enumerate() {
                data[start + k * inner] = *value;
            }
        }
        inner *= side;
    }
}

struct Side {
    region: Arc<Region>,
    start: u64,
    double: bool,
}

impl Side {
    fn find(address: *mut c_void, double: bool) -> Result<Self, Code> {
        let (region, start) = lock(&STATE.memory).find(address.addr() as u64, 4).ok_or(EXEC_FAILED)?;
        Ok(Self { region, start, double })
    }

    fn get(&self, i: usize) -> Option<f64> {
        let size: u8 = if self.double { 8 } else { 4 };
        let at = self.start + i as u64 * u64::from(size);
        if at + u64::from(size) > self.region.len {
            return None;
        }
        let bits = self.region.load(at, size);
        Some(if self.double { f64::from_bits(bits) } else { f32::from_bits(bits as u32).into() })
    }

    fn put(&self, i: usize, value: f64) -> Option<()> {
        let size: u8 = if self.double { 8 } else { 4 };
        let at = self.start + i as u64 * u64::from(size);
        if at + u64::from(size) > self.region.len {
            return None;
        }
        let bits = if self.double { value.to_bits() } else { (value as f32).to_bits().into() };
        self.region.store(at, size, bits);
        self.region.mark_written(at, size);
        Some(())
    }
}

fn run(plan: &Plan, input: &Side, output: &Side, inverse: bool) -> Option<()> {
    let real_in = matches!(plan.kind, 0x2a | 0x6a);
    let real_out = matches!(plan.kind, 0x2c | 0x6c);
    let sides = &plan.sides;
    let last = sides.len() - 1;
    // Everything is read before anything is written: input and output may be the same.
    let mut all = Vec::new();
    for batch in 0..plan.batch {
        let mut data = Vec::with_capacity(sides.iter().product());
        for at in each(sides) {
            data.push(if real_in {
                Complex::new(input.get(place(&plan.input, batch, &at))?, 0.0)
            } else {
                // Half spectra: the other half is conjugate.
                let mirrored = real_out && at[last] > sides[last] / 2;
                let from: Vec<usize> =
                    if mirrored { at.iter().zip(sides).map(|(&i, &side)| (side - i) % side).collect() } else { at };
                let i = place(&plan.input, batch, &from);
                let value = Complex::new(input.get(2 * i)?, input.get(2 * i + 1)?);
                if mirrored { value.conj() } else { value }
            });
        }
        transform(&mut data, sides, inverse);
        all.push(data);
    }
    for (batch, data) in all.iter().enumerate() {
        for (at, value) in each(sides).zip(data) {
            if real_out {
                output.put(place(&plan.output, batch, &at), value.re)?;
            } else if !real_in || at[last] <= sides[last] / 2 {
                let i = place(&plan.output, batch, &at);
                output.put(2 * i, value.re)?;
                output.put(2 * i + 1, value.im)?;
            }
        }
    }
    Some(())
}

fn execute(handle: c_int, input: *mut c_void, output: *mut c_void, kind: c_int, inverse: bool) -> Code {
    let result = with(handle, |plan| Ok(plan.clone())).and_then(|plan| {
        if plan.kind != kind {
            return Err(INVALID_PLAN);
        }
        let double = kind >= 0x60;
        let (input, output) = (Side::find(input, double)?, Side::find(output, double)?);
        let device = CURRENT.get().ok_or(EXEC_FAILED)?;
        let stream = stream(super::pointer(plan.stream), device).map_err(|_| INVALID_VALUE)?;
        let work = move || {
            if let Some(()) = run(&plan, &input, &output, inverse) {
                SUCCESS
            } else {
                super::say("cuFFT: a transform reads or writes behind the end of a buffer");
                super::state::LAUNCH_FAILED
            }
        };
        on_stream(&stream, Arc::new(work)).map_err(|_| EXEC_FAILED)
    });
    code(result)
}

macro_rules! exec {
    ($($name:ident = $kind:literal, $inverse:literal;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(handle: c_int, input: *mut c_void, output: *mut c_void) -> Code {
            execute(handle, input, output, $kind, $inverse)
        }
    )* };
}
exec! {
    cufftExecR2C = 0x2a, false;
    cufftExecC2R = 0x2c, true;
    cufftExecD2Z = 0x6a, false;
    cufftExecZ2D = 0x6c, true;
}

#[unsafe(no_mangle)]
extern "C" fn cufftExecC2C(handle: c_int, input: *mut c_void, output: *mut c_void, direction: c_int) -> Code {
    caught_as(INTERNAL_ERROR, || execute(handle, input, output, 0x29, direction == 1))
}

#[unsafe(no_mangle)]
extern "C" fn cufftExecZ2Z(handle: c_int, input: *mut c_void, output: *mut c_void, direction: c_int) -> Code {
    caught_as(INTERNAL_ERROR, || execute(handle, input, output, 0x69, direction == 1))
}
