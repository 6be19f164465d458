//! Transforms by cuFFT, one image at a time, with `kernels/fourier.cu` around them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use gpu_core::cuda::fft::FftPlan;
use gpu_core::{Backend, Cuda, QueueId, Result, Tensor, View, ViewMut};
use num_complex::Complex;
use rustacuda_derive::DeviceCopy;

use super::super::cuda::{KERNELS, LINE, elements};
use super::super::dct2::Dct2Params;
use super::super::idct2::Idct2Params;
use super::super::irfft2::Irfft2Params;
use super::super::rfft2::Rfft2Params;
use super::super::tree_analysis::TreeParams;
use super::roots;
use crate::Real;

/// What every kernel of `fourier.cu` gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
struct SurroundParams {
    bands: u32,
    height: u32,
    width: u32,
    flags: u32,
    scale: f64,
}

const ADD: u32 = 1;
const GAIN: u32 = 2;

/// Tables for one plane size, and the library's plans, which belong to a queue each.
#[derive(Debug)]
pub(super) struct Library<T: Real> {
    height: usize,
    width: usize,
    row_quarter: Tensor<Cuda, Complex<T>, 1>,
    column_quarter: Tensor<Cuda, Complex<T>, 1>,
    queues: Mutex<HashMap<(QueueId, usize), Plans<T>>>,
}

/// Plans for a number of planes at once, and memory for what goes in and out of them.
#[derive(Debug)]
struct Plans<T: Real> {
    forward: FftPlan,
    inverse: FftPlan,
    spectra: Tensor<Cuda, Complex<T>, 1>,
    /// Planes in the order of a cosine transform, or planes that lie where the library cannot take them.
    planes: Tensor<Cuda, T, 1>,
}

/// Whether the library takes real numbers from here: it wants the alignment of complex ones.
fn is_aligned<E: gpu_core::Elem>(view: View<'_, Cuda, E>) -> bool {
    view.parts().1.is_multiple_of(2)
}

impl<T: Real> Plans<T> {
    /// The spectra of these planes.
    fn transform(&mut self, b: &Cuda, x: View<'_, Cuda, T>) -> Result<()> {
        if is_aligned(x) {
            return self.forward.real_to_complex(b, x, self.spectra.flat_mut());
        }
        b.copy(x, self.planes.flat_mut())?;
        self.forward.real_to_complex(b, self.planes.flat(), self.spectra.flat_mut())
    }

    /// The planes of the spectra, which are lost.
    fn transform_back(&mut self, b: &Cuda, y: ViewMut<'_, Cuda, T>) -> Result<()> {
        if is_aligned(y.as_view()) {
            return self.inverse.complex_to_real(b, self.spectra.flat_mut(), y);
        }
        self.inverse.complex_to_real(b, self.spectra.flat_mut(), self.planes.flat_mut())?;
        b.copy(self.planes.flat(), y)
    }
}

impl<T: Real> Library<T> {
    pub(super) fn new(b: &Cuda, height: usize, width: usize) -> Result<Self> {
        let library = Self {
            height,
            width,
            row_quarter: roots(b, width, 4 * width)?,
            column_quarter: roots(b, height, 4 * height)?,
            queues: Mutex::default(),
        };
        library.with_plans(b, 1, |_| Ok(()))?;
        Ok(library)
    }

    fn area(&self) -> usize {
        self.height * self.width
    }

    fn half(&self) -> usize {
        self.height * (self.width / 2 + 1)
    }

    fn params(&self) -> SurroundParams {
        SurroundParams { bands: 1, height: self.height as u32, width: self.width as u32, flags: 0, scale: 1.0 }
    }

    /// Makes the plans for trees of `bands` planes on this queue.
    pub(super) fn reserve(&self, b: &Cuda, bands: usize) -> Result<()> {
        self.with_plans(b, bands, |_| Ok(()))
    }

    /// Elements that such plans hold.
    pub(super) fn held_len(&self, bands: usize) -> usize {
        bands * (2 * self.half() + self.area())
    }

    /// Makes plans at the first use on a queue; a capture finds them after `reserve`.
    fn with_plans<R>(&self, b: &Cuda, bands: usize, body: impl FnOnce(&mut Plans<T>) -> Result<R>) -> Result<R> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let plans = match queues.entry((b.queue(), bands)) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let dims = [self.height, self.width];
                place.insert(Plans {
                    forward: FftPlan::new(b, &dims, bands, T::R2C)?,
                    inverse: FftPlan::new(b, &dims, bands, T::C2R)?,
                    spectra: Tensor::scratch(b, [bands * self.half()])?,
                    planes: Tensor::scratch(b, [bands * self.area()])?,
                })
            }
        };
        body(plans)
    }

    pub(super) fn dct2(
        &self,
        b: &Cuda,
        d: Dct2Params,
        (gain, gained): (View<'_, Cuda, T>, bool),
        x: View<'_, Cuda, T>,
        mut y: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let flags = if d.add == 1 { ADD } else { 0 } | if gained { GAIN } else { 0 };
        let p = SurroundParams { flags, ..self.params() };
        self.with_plans(b, 1, |plans| {
            for n in 0..d.count as usize {
                let reorder = b
                    .kernel(&KERNELS, &format!("reorder_{}", T::NAME))?
                    .read(plane(x, n * d.x_stride as usize, self.area())?)?
                    .write(plans.planes.flat_mut())?
                    .arg(p)
                    .grid(elements(self.area() as u64, 1)?)
                    .block(LINE);
                // SAFETY: void reorder(const T* x, T* y, SurroundParams p); one plane each.
                unsafe { reorder.launch()? };
                plans.forward.real_to_complex(b, plans.planes.flat(), plans.spectra.flat_mut())?;
                let post = b
                    .kernel(&KERNELS, &format!("cosine_from_spectrum_{}", T::NAME))?
                    .read(plans.spectra.flat())?
                    .read(gain)?
                    .write(plane_mut(y.reborrow(), n * d.y_stride as usize, self.area())?)?
                    .read(self.row_quarter.flat())?
                    .read(self.column_quarter.flat())?
                    .arg(p)
                    .grid(elements(self.area() as u64, 1)?)
                    .block(LINE);
                // SAFETY: void cosine_from_spectrum(const Complex* v, const T* gain, T* y, const Complex* row_quarter,
                // const Complex* column_quarter, SurroundParams p); a half spectrum and a plane.
                unsafe { post.launch()? };
            }
            Ok(())
        })
    }

    pub(super) fn idct2(
        &self,
        b: &Cuda,
        d: Idct2Params,
        (gain, gained): (View<'_, Cuda, T>, bool),
        x: View<'_, Cuda, T>,
        mut y: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let p = SurroundParams { flags: if gained { GAIN } else { 0 }, ..self.params() };
        self.with_plans(b, 1, |plans| {
            for n in 0..d.count as usize {
                let pre = b
                    .kernel(&KERNELS, &format!("spectrum_from_cosine_{}", T::NAME))?
                    .read(plane(x, n * d.x_stride as usize, self.area())?)?
                    .read(gain)?
                    .write(plans.spectra.flat_mut())?
                    .read(self.row_quarter.flat())?
                    .read(self.column_quarter.flat())?
                    .arg(p)
                    .grid(elements(self.half() as u64, 1)?)
                    .block(LINE);
                // SAFETY: void spectrum_from_cosine(const T* x, const T* gain, Complex* v, const Complex* row_quarter,
                // const Complex* column_quarter, SurroundParams p); a plane and a half spectrum.
                unsafe { pre.launch()? };
                plans.inverse.complex_to_real(b, plans.spectra.flat_mut(), plans.planes.flat_mut())?;
                let back = b
                    .kernel(&KERNELS, &format!("reorder_back_{}", T::NAME))?
                    .read(plans.planes.flat())?
                    .write(plane_mut(y.reborrow(), n * d.y_stride as usize, self.area())?)?
                    .arg(p)
                    .grid(elements(self.area() as u64, 1)?)
                    .block(LINE);
                // SAFETY: void reorder_back(const T* x, T* y, SurroundParams p); one plane each.
                unsafe { back.launch()? };
            }
            Ok(())
        })
    }

    /// `y = scale x` for one half spectrum.
    fn scaled(
        &self,
        b: &Cuda,
        scale: f64,
        x: View<'_, Cuda, Complex<T>>,
        y: ViewMut<'_, Cuda, Complex<T>>,
    ) -> Result<()> {
        let launch = b
            .kernel(&KERNELS, &format!("scale_spectrum_{}", T::NAME))?
            .read(x)?
            .write(y)?
            .arg(SurroundParams { scale, ..self.params() })
            .grid(elements(self.half() as u64, 1)?)
            .block(LINE);
        // SAFETY: void scale_spectrum(const Complex* x, Complex* y, SurroundParams p); one half spectrum each.
        unsafe { launch.launch() }
    }

    pub(super) fn rfft2(
        &self,
        b: &Cuda,
        d: Rfft2Params,
        x: View<'_, Cuda, T>,
        mut z: ViewMut<'_, Cuda, Complex<T>>,
    ) -> Result<()> {
        self.with_plans(b, 1, |plans| {
            for n in 0..d.count as usize {
                let x = plane(x, n * d.x_stride as usize, self.area())?;
                plans.transform(b, x)?;
                let z = plane_mut(z.reborrow(), n * d.z_stride as usize, self.half())?;
                self.scaled(b, d.scale, plans.spectra.flat(), z)?;
            }
            Ok(())
        })
    }

    pub(super) fn irfft2(
        &self,
        b: &Cuda,
        d: Irfft2Params,
        z: View<'_, Cuda, Complex<T>>,
        mut y: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        self.with_plans(b, 1, |plans| {
            for n in 0..d.count as usize {
                let z = plane(z, n * d.z_stride as usize, self.half())?;
                self.scaled(b, d.scale, z, plans.spectra.flat_mut())?;
                let y = plane_mut(y.reborrow(), n * d.y_stride as usize, self.area())?;
                plans.transform_back(b, y)?;
            }
            Ok(())
        })
    }

    /// Planes of a tree that one call of the library transforms: all, when they lie one behind the other.
    fn together(&self, t: &TreeParams) -> usize {
        if t.plane_stride as usize == self.area() { t.bands as usize } else { 1 }
    }

    pub(super) fn tree_analysis(
        &self,
        b: &Cuda,
        t: TreeParams,
        gains: View<'_, Cuda, T>,
        z: View<'_, Cuda, Complex<T>>,
        mut y: ViewMut<'_, Cuda, T>,
    ) -> Result<()> {
        let together = self.together(&t);
        let p = SurroundParams { bands: together as u32, ..self.params() };
        self.with_plans(b, together, |plans| {
            for n in 0..t.count as usize {
                for s in (0..t.bands as usize).step_by(together) {
                    let spread = b
                        .kernel(&KERNELS, &format!("spread_spectrum_{}", T::NAME))?
                        .read(plane(gains, s * self.half(), together * self.half())?)?
                        .read(plane(z, n * t.z_stride as usize, self.half())?)?
                        .write(plans.spectra.flat_mut())?
                        .arg(p)
                        .grid(elements(self.half() as u64, 1)?)
                        .block(LINE);
                    // SAFETY: void spread_spectrum(const T* gains, const Complex* z, Complex* y, SurroundParams p);
                    // `together` half spectra.
                    unsafe { spread.launch()? };
                    let start = n * t.image_stride as usize + s * t.plane_stride as usize;
                    let y = plane_mut(y.reborrow(), start, together * self.area())?;
                    plans.transform_back(b, y)?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn tree_synthesis(
        &self,
        b: &Cuda,
        t: TreeParams,
        gains: View<'_, Cuda, T>,
        y: View<'_, Cuda, T>,
        mut z: ViewMut<'_, Cuda, Complex<T>>,
    ) -> Result<()> {
        let together = self.together(&t);
        for n in 0..t.count as usize {
            for s in (0..t.bands as usize).step_by(together) {
                // Sums start with the first planes and go on from what is there.
                let flags = if s == 0 { 0 } else { ADD };
                self.with_plans(b, together, |plans| {
                    let start = n * t.image_stride as usize + s * t.plane_stride as usize;
                    let y = plane(y, start, together * self.area())?;
                    plans.transform(b, y)?;
                    let gather = b
                        .kernel(&KERNELS, &format!("gather_spectrum_{}", T::NAME))?
                        .read(plane(gains, s * self.half(), together * self.half())?)?
                        .read(plans.spectra.flat())?
                        .write(plane_mut(z.reborrow(), n * t.z_stride as usize, self.half())?)?
                        .arg(SurroundParams { bands: together as u32, flags, ..self.params() })
                        .grid(elements(self.half() as u64, 1)?)
                        .block(LINE);
                    // SAFETY: void gather_spectrum(const T* gains, const Complex* x, Complex* z, SurroundParams p);
                    // `together` half spectra and one.
                    unsafe { gather.launch() }
                })?;
            }
        }
        Ok(())
    }
}

fn plane<E: gpu_core::Elem>(view: View<'_, Cuda, E>, start: usize, len: usize) -> Result<View<'_, Cuda, E>> {
    view.slice(start..start + len)
}

fn plane_mut<E: gpu_core::Elem>(view: ViewMut<'_, Cuda, E>, start: usize, len: usize) -> Result<ViewMut<'_, Cuda, E>> {
    view.slice(start..start + len)
}
