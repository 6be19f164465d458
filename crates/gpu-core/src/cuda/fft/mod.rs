//! Fourier transforms through cuFFT, opened at run time.
//!
//! [`is_available`] says whether the library was found; without it plans are [`Error::Unsupported`] and callers take
//! their own kernels. Transforms are not normalised: forward and inverse together multiply by the number of points.

mod library;

use std::any::Any;
use std::ffi::{c_int, c_longlong, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cust::sys::CUdeviceptr;
use library::{CuFft, Handle, check, cufft};
pub use library::{is_available, library};
use num_complex::Complex;

use super::buffer::CudaBuffer;
use super::queue::Queue;
use super::{Cuda, readable};
use crate::{Elem, Error, Result, View, ViewMut};

/// What a plan transforms, and in which precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FftKind {
    /// `f32` to the non-redundant half of its complex spectrum.
    R2C,
    /// The half spectrum back to `f32`.
    C2R,
    /// `Complex<f32>` both ways.
    C2C,
    /// `f64` to the non-redundant half of its complex spectrum.
    D2Z,
    /// The half spectrum back to `f64`.
    Z2D,
    /// `Complex<f64>` both ways.
    Z2Z,
}

/// The sign of the exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `exp(-2πi …)`.
    Forward,
    /// `exp(+2πi …)`, not divided by the number of points.
    Inverse,
}

/// Where the elements of one side of a transform lie, in elements of that side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FftLayout {
    /// The lengths of the array that holds one transform's elements; the first one is not used.
    pub embed: Vec<usize>,
    /// From one element to the next along the last axis.
    pub stride: usize,
    /// From one transform of the batch to the next.
    pub distance: usize,
}

/// Precisions of the library.
pub trait FftReal: Elem {
    #[doc(hidden)]
    const R2C: FftKind;
    #[doc(hidden)]
    const C2R: FftKind;
    #[doc(hidden)]
    const C2C: FftKind;
}

impl FftReal for f32 {
    const R2C: FftKind = FftKind::R2C;
    const C2R: FftKind = FftKind::C2R;
    const C2C: FftKind = FftKind::C2C;
}

impl FftReal for f64 {
    const R2C: FftKind = FftKind::D2Z;
    const C2R: FftKind = FftKind::Z2D;
    const C2C: FftKind = FftKind::Z2Z;
}

impl FftKind {
    fn code(self) -> c_int {
        match self {
            Self::R2C => 0x2a,
            Self::C2R => 0x2c,
            Self::C2C => 0x29,
            Self::D2Z => 0x6a,
            Self::Z2D => 0x6c,
            Self::Z2Z => 0x69,
        }
    }
}

/// A transform of one size, made once and executed on the queue that made it. Can be captured.
#[derive(Debug)]
pub struct FftPlan {
    plan: Arc<Plan>,
    kind: FftKind,
    dims: Vec<usize>,
    batch: usize,
    /// Elements that the input and the output must have at least.
    needs: (usize, usize),
}

/// The library's plan with its work area; a captured graph keeps it.
struct Plan {
    library: &'static CuFft,
    /// The library wants one call at a time for a plan.
    handle: Mutex<Handle>,
    queue: Arc<Queue>,
    work: CudaBuffer<u8>,
    label: Arc<str>,
}

impl FftPlan {
    /// A plan for `batch` dense transforms of `dims` points, row-major, one after the other.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without cuFFT, [`Error::OutOfMemory`] when the work area does not fit the budget.
    pub fn new(b: &Cuda, dims: &[usize], batch: usize, kind: FftKind) -> Result<Self> {
        let (of_input, of_output) = side_dims(kind, dims);
        let needs = (dense(&of_input, batch)?, dense(&of_output, batch)?);
        Self::make(b, dims, batch, kind, None, needs)
    }

    /// A plan whose input and output lie as the layouts say.
    ///
    /// # Errors
    /// As [`FftPlan::new`], and [`Error::Shape`] when a layout has another rank than `dims`.
    pub fn with_layouts(
        b: &Cuda,
        dims: &[usize],
        batch: usize,
        kind: FftKind,
        input: &FftLayout,
        output: &FftLayout,
    ) -> Result<Self> {
        let (of_input, of_output) = side_dims(kind, dims);
        let needs = (input.extent(&of_input, batch)?, output.extent(&of_output, batch)?);
        Self::make(b, dims, batch, kind, Some((input, output)), needs)
    }

    fn make(
        b: &Cuda,
        dims: &[usize],
        batch: usize,
        kind: FftKind,
        layouts: Option<(&FftLayout, &FftLayout)>,
        needs: (usize, usize),
    ) -> Result<Self> {
        let gpu = b.enter()?;
        b.queue.outside_capture("making an FFT plan")?;
        let library = cufft().as_ref().map_err(|why| Error::Unsupported {
            what: format!("a fast Fourier transform ({why})"),
            device: gpu.device.name.clone(),
        })?;
        if dims.is_empty() || dims.len() > 3 || dims.contains(&0) || batch == 0 {
            let why = format!("{dims:?} in a batch of {batch}: 1 to 3 axes, all lengths and the batch at least 1");
            return Err(Error::value("fft", why));
        }
        let work = CudaBuffer::new(&b.queue, 0)?;
        let mut handle = 0;
        // SAFETY: the pointer is valid for the call.
        check("cufftCreate", unsafe { (library.create)(&raw mut handle) })?;
        let mut plan = Plan {
            library,
            handle: Mutex::new(handle),
            queue: Arc::clone(&b.queue),
            work,
            label: format!("cuFFT {kind:?} {dims:?} x {batch}").into(),
        };
        // SAFETY: the plan was created above.
        check("cufftSetAutoAllocation", unsafe { (library.set_auto_allocation)(handle, 0) })?;
        let bytes = plan.lay_out(handle, dims, batch, kind, layouts)?;
        // A plan without a work area is refused by some versions, even one that needs none.
        plan.work = CudaBuffer::new(&b.queue, bytes.max(256))?;
        // SAFETY: the area has as many bytes as the plan asked for and lives as long as the plan.
        let code = unsafe { (library.set_work_area)(handle, pointer(plan.work.address(0))) };
        check("cufftSetWorkArea", code)?;
        // SAFETY: the stream lives as long as the plan.
        check("cufftSetStream", unsafe { (library.set_stream)(handle, b.queue.raw()) })?;
        tracing::debug!(?dims, batch, ?kind, work = bytes, "fft plan");
        Ok(Self { plan: Arc::new(plan), kind, dims: dims.to_vec(), batch, needs })
    }

    /// Lengths of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of transforms.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of its work area.
    pub fn work_bytes(&self) -> usize {
        crate::Buffer::len(&self.plan.work)
    }

    /// Real to half spectrum.
    pub fn real_to_complex<R: FftReal>(
        &self,
        b: &Cuda,
        x: View<'_, Cuda, R>,
        y: ViewMut<'_, Cuda, Complex<R>>,
    ) -> Result<()>
    where
        Complex<R>: Elem,
    {
        self.ready(b, R::R2C, (x.len(), y.len()))?;
        let x = self.source(x)?;
        let y = self.target(y)?;
        // SAFETY: `ready` has compared both lengths with what the plan works on.
        unsafe { self.execute(Direction::Forward, x, y) }
    }

    /// Half spectrum to real. The library uses the input as working space: its contents are lost.
    pub fn complex_to_real<R: FftReal>(
        &self,
        b: &Cuda,
        x: ViewMut<'_, Cuda, Complex<R>>,
        y: ViewMut<'_, Cuda, R>,
    ) -> Result<()>
    where
        Complex<R>: Elem,
    {
        self.ready(b, R::C2R, (x.len(), y.len()))?;
        let x = self.target(x)?;
        let y = self.target(y)?;
        // SAFETY: `ready` has compared both lengths with what the plan works on.
        unsafe { self.execute(Direction::Inverse, x, y) }
    }

    /// Complex to complex, in place.
    pub fn complex_in_place<R: FftReal>(
        &self,
        b: &Cuda,
        direction: Direction,
        x: ViewMut<'_, Cuda, Complex<R>>,
    ) -> Result<()>
    where
        Complex<R>: Elem,
    {
        self.ready(b, R::C2C, (x.len(), x.len()))?;
        let x = self.target(x)?;
        // SAFETY: `ready` has compared the length with what the plan works on.
        unsafe { self.execute(direction, x, x) }
    }

    fn ready(&self, b: &Cuda, kind: FftKind, lens: (usize, usize)) -> Result<()> {
        b.enter()?;
        if b.queue.id != self.plan.queue.id {
            return Err(Error::WrongQueue { what: "fft plan" });
        }
        if kind != self.kind {
            return Err(Error::value("fft", format!("the plan is for {:?}, not for {kind:?}", self.kind)));
        }
        for (what, need, got) in [("fft input", self.needs.0, lens.0), ("fft output", self.needs.1, lens.1)] {
            if got < need {
                return Err(Error::shape(what, &[need], &[got]));
            }
        }
        Ok(())
    }

    fn source<T: Elem>(&self, view: View<'_, Cuda, T>) -> Result<CUdeviceptr> {
        let (buffer, start) = view.parts();
        readable(&self.plan.queue, buffer)?;
        self.plan.queue.keep([Arc::clone(buffer.memory()) as Arc<dyn Any + Send + Sync>]);
        Ok(buffer.address(start))
    }

    fn target<T: Elem>(&self, view: ViewMut<'_, Cuda, T>) -> Result<CUdeviceptr> {
        view.owner().check_write(self.plan.queue.id, "write")?;
        let (buffer, start) = view.parts();
        self.plan.queue.keep([Arc::clone(buffer.memory()) as Arc<dyn Any + Send + Sync>]);
        Ok(buffer.address(start))
    }

    /// # Safety
    /// The addresses must have as many elements as the plan works on.
    unsafe fn execute(&self, direction: Direction, x: CUdeviceptr, y: CUdeviceptr) -> Result<()> {
        let plan = &self.plan;
        plan.queue.keep([Arc::clone(plan) as Arc<dyn Any + Send + Sync>]);
        plan.queue.launched(&plan.label);
        let handle = plan.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let (x, y) = (pointer(x), pointer(y));
        let sign = if direction == Direction::Forward { -1 } else { 1 };
        let lib = plan.library;
        // SAFETY: the handle is alive and locked, the addresses are the caller's promise.
        let (call, code) = unsafe {
            match self.kind {
                FftKind::R2C => ("cufftExecR2C", (lib.r2c)(*handle, x, y)),
                FftKind::C2R => ("cufftExecC2R", (lib.c2r)(*handle, x, y)),
                FftKind::C2C => ("cufftExecC2C", (lib.c2c)(*handle, x, y, sign)),
                FftKind::D2Z => ("cufftExecD2Z", (lib.d2z)(*handle, x, y)),
                FftKind::Z2D => ("cufftExecZ2D", (lib.z2d)(*handle, x, y)),
                FftKind::Z2Z => ("cufftExecZ2Z", (lib.z2z)(*handle, x, y, sign)),
            }
        };
        check(call, code)?;
        let queue = &plan.queue;
        if queue.gpu().blocking && !queue.is_capturing() { queue.synchronize() } else { Ok(()) }
    }
}

impl FftLayout {
    /// Elements from the first to the last, one more than the last index.
    fn extent(&self, dims: &[usize], batch: usize) -> Result<usize> {
        if self.embed.len() != dims.len() {
            return Err(Error::shape("fft layout", &[dims.len()], &[self.embed.len()]));
        }
        let too_large = || Error::value("fft layout", format!("{self:?} reaches beyond the address space"));
        let mut last = 0usize;
        for (axis, &n) in dims.iter().enumerate() {
            let inner = if axis == 0 { last } else { last.checked_mul(self.embed[axis]).ok_or_else(too_large)? };
            last = inner.checked_add(n.saturating_sub(1)).ok_or_else(too_large)?;
        }
        let one = last.checked_mul(self.stride).ok_or_else(too_large)?;
        let before = batch.saturating_sub(1).checked_mul(self.distance).ok_or_else(too_large)?;
        before.checked_add(one).and_then(|index| index.checked_add(1)).ok_or_else(too_large)
    }
}

/// Lengths of the axes of the input and of the output.
fn side_dims(kind: FftKind, dims: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut half = dims.to_vec();
    if let Some(last) = half.last_mut() {
        *last = *last / 2 + 1;
    }
    match kind {
        FftKind::R2C | FftKind::D2Z => (dims.to_vec(), half),
        FftKind::C2R | FftKind::Z2D => (half, dims.to_vec()),
        FftKind::C2C | FftKind::Z2Z => (dims.to_vec(), dims.to_vec()),
    }
}

/// Elements of a batch of dense arrays.
fn dense(dims: &[usize], batch: usize) -> Result<usize> {
    let elements = dims.iter().try_fold(batch, |n, &d| n.checked_mul(d)).filter(|&n| isize::try_from(n).is_ok());
    elements.ok_or_else(|| Error::value("fft", format!("{dims:?} in a batch of {batch} has too many elements")))
}

fn long(n: usize) -> c_longlong {
    c_longlong::try_from(n).unwrap_or(c_longlong::MAX)
}

impl Plan {
    /// Makes the plan for its transform; gives the bytes of the work area that it needs.
    fn lay_out(
        &self,
        handle: Handle,
        dims: &[usize],
        batch: usize,
        kind: FftKind,
        layouts: Option<(&FftLayout, &FftLayout)>,
    ) -> Result<usize> {
        let longs = |lens: &[usize]| lens.iter().map(|&n| long(n)).collect::<Vec<_>>();
        let mut n = longs(dims);
        let mut embeds = layouts.map(|(input, output)| (longs(&input.embed), longs(&output.embed)));
        // Null embeddings mean dense; strides and distances are ignored then.
        let (from, to) = embeds
            .as_mut()
            .map_or((std::ptr::null_mut(), std::ptr::null_mut()), |(from, to)| (from.as_mut_ptr(), to.as_mut_ptr()));
        let steps = layouts.map_or([1, 0, 1, 0], |(input, output)| {
            [input.stride, input.distance, output.stride, output.distance].map(long)
        });
        let mut bytes = 0usize;
        // SAFETY: lengths and embeddings have one number an axis; all pointers are valid for the call.
        let code = unsafe {
            (self.library.make_plan)(
                handle,
                n.len() as c_int,
                n.as_mut_ptr(),
                from,
                steps[0],
                steps[1],
                to,
                steps[2],
                steps[3],
                kind.code(),
                long(batch),
                &raw mut bytes,
            )
        };
        check("cufftMakePlanMany64", code)?;
        Ok(bytes)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let handle = *self.handle.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (library, queue) = (self.library, Arc::clone(&self.queue));
        // A transform may still run, and its tables go with the plan. The work area is freed in the queue's order.
        let destroy = Box::new(move || {
            if queue.gpu().alive().is_ok() && queue.gpu().bind().and_then(|()| queue.synchronize()).is_ok() {
                // SAFETY: created by `make`, destroyed once, and nothing queued uses it.
                unsafe { (library.destroy)(handle) };
            }
        });
        if let Some(now) = self.queue.defer(destroy) {
            now();
        }
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a plan of {} on {:?}", self.library.name, self.queue)
    }
}

/// A device address as the library takes it.
fn pointer(address: CUdeviceptr) -> *mut c_void {
    std::ptr::without_provenance_mut(address as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_spectra_have_the_shape_of_the_real_side() {
        assert_eq!(side_dims(FftKind::R2C, &[4, 6]), (vec![4, 6], vec![4, 4]));
        assert_eq!(side_dims(FftKind::Z2D, &[5]), (vec![3], vec![5]));
        assert_eq!(side_dims(FftKind::C2C, &[5]), (vec![5], vec![5]));
        assert_eq!(dense(&[4, 6], 3).unwrap(), 72);
        assert!(dense(&[usize::MAX, 2], 1).is_err());
    }

    #[test]
    fn a_layout_reaches_to_its_last_element() {
        let padded = FftLayout { embed: vec![4, 8], stride: 1, distance: 40 };
        // Row 3, column 5 of the second transform.
        assert_eq!(padded.extent(&[4, 6], 2).unwrap(), 40 + 3 * 8 + 5 + 1);
        let strided = FftLayout { embed: vec![6], stride: 2, distance: 1 };
        assert_eq!(strided.extent(&[6], 2).unwrap(), 1 + 5 * 2 + 1);
        assert!(strided.extent(&[6, 6], 2).is_err());
        assert!(FftLayout { embed: vec![1, usize::MAX], stride: 9, distance: 1 }.extent(&[9, 9], 2).is_err());
    }
}
