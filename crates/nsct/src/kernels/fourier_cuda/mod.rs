//! The CUDA twins of [`dct2`](super::dct2), [`idct2`](super::idct2), [`rfft2`](super::rfft2), [`irfft2`](super::irfft2),
//! [`tree_analysis`](super::tree_analysis) and [`tree_synthesis`](super::tree_synthesis).
//!
//! Planes of `f32` whose sides are 128, 256, 512 or 1024 go through kernels of our own ([`lines`]), which need only a
//! driver and fuse gains, reordering and separation into the transforms; all others through cuFFT ([`library`]). In both,
//! what happens to an image does not depend on the images beside it, so a batch gives the bits of single images.

mod library;
mod lines;

use gpu_core::cuda::fft;
use gpu_core::{Cuda, Error, Result, Tensor, View, ViewMut};
use num_complex::Complex;

use super::dct2::{Dct2, Dct2Params};
use super::idct2::{Idct2, Idct2Params};
use super::irfft2::{Irfft2, Irfft2Params};
use super::rfft2::{Rfft2, Rfft2Params};
use super::tree_analysis::{TreeAnalysis, TreeParams};
use super::tree_synthesis::TreeSynthesis;
use super::{Fourier, FourierPlan};
use crate::Real;
use library::Library;
use lines::Lines;

/// What transforms of one plane size use on a device.
#[derive(Debug)]
pub struct CudaPrepared<T: Real> {
    path: Path<T>,
    /// Stands for a gain that is not there.
    nothing: Tensor<Cuda, T, 1>,
}

#[derive(Debug)]
enum Path<T: Real> {
    Lines(Lines),
    Library(Box<Library<T>>),
}

/// `exp(-2πi k / denominator)` for `k` below `count`, each rounded once, on the device.
fn roots<T: Real>(b: &Cuda, count: usize, denominator: usize) -> Result<Tensor<Cuda, Complex<T>, 1>> {
    let values: Vec<Complex<T>> = (0..count)
        .map(|k| {
            let angle = -std::f64::consts::TAU * k as f64 / denominator as f64;
            Complex::new(T::of(angle.cos()), T::of(angle.sin()))
        })
        .collect();
    Tensor::from_slice(b, [count], &values)?.share(b)
}

impl<T: Real> Fourier<T> for Cuda {
    type Prepared = CudaPrepared<T>;

    fn prepare(&self, height: usize, width: usize) -> Result<CudaPrepared<T>> {
        let path = if Lines::serve::<T>(height, width) {
            Path::Lines(Lines::new(self, height, width)?)
        } else if fft::is_available() {
            Path::Library(Box::new(Library::new(self, height, width)?))
        } else {
            return Err(Error::Unsupported {
                what: format!("a spectral transform of {height} x {width} {} without cuFFT", T::NAME),
                device: gpu_core::Backend::device(self).name.clone(),
            });
        };
        Ok(CudaPrepared { path, nothing: Tensor::zeros(self, [1])?.share(self)? })
    }

    fn reserve(&self, prepared: &CudaPrepared<T>, bands: usize) -> Result<()> {
        match &prepared.path {
            Path::Lines(_) => Ok(()),
            Path::Library(library) => library.reserve(self, bands),
        }
    }

    fn held_len(prepared: &CudaPrepared<T>, bands: usize) -> usize {
        match &prepared.path {
            Path::Lines(_) => 0,
            Path::Library(library) => library.held_len(bands),
        }
    }

    fn work_len(prepared: &CudaPrepared<T>, bands: usize) -> usize {
        match &prepared.path {
            Path::Lines(lines) => lines.work_len(bands),
            Path::Library(_) => 0,
        }
    }

    fn plane_cost(prepared: &CudaPrepared<T>) -> f64 {
        // On an H200 a node of ladder filters takes 23 µs for 512 × 512, a plane of the spectral engine 1.6 µs here,
        // 9 µs by cuFFT at 500 × 500.
        match &prepared.path {
            Path::Lines(_) => 0.17,
            Path::Library(_) => 1.0,
        }
    }

    fn images_at_once(prepared: &CudaPrepared<T>) -> usize {
        match &prepared.path {
            Path::Lines(lines) => lines.images(),
            Path::Library(_) => 8,
        }
    }
}

impl<T: Real> Dct2<T> for Cuda {
    fn dct2_unchecked(
        &self,
        p: Dct2Params,
        plan: &FourierPlan<Self, T>,
        gain: Option<View<'_, Self, T>>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let prepared = plan.prepared();
        let gain = (gain.unwrap_or(prepared.nothing.flat()), gain.is_some());
        match &prepared.path {
            Path::Lines(lines) => lines.dct2(self, p, gain, x, y, work),
            Path::Library(library) => library.dct2(self, p, gain, x, y),
        }
    }
}

impl<T: Real> Idct2<T> for Cuda {
    fn idct2_unchecked(
        &self,
        p: Idct2Params,
        plan: &FourierPlan<Self, T>,
        gain: Option<View<'_, Self, T>>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let prepared = plan.prepared();
        let gain = (gain.unwrap_or(prepared.nothing.flat()), gain.is_some());
        match &prepared.path {
            Path::Lines(lines) => lines.idct2(self, p, gain, x, y, work),
            Path::Library(library) => library.idct2(self, p, gain, x, y),
        }
    }
}

impl<T: Real> Rfft2<T> for Cuda {
    fn rfft2_unchecked(
        &self,
        p: Rfft2Params,
        plan: &FourierPlan<Self, T>,
        x: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        _work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        match &plan.prepared().path {
            Path::Lines(lines) => lines.rfft2(self, p, x, z),
            Path::Library(library) => library.rfft2(self, p, x, z),
        }
    }
}

impl<T: Real> Irfft2<T> for Cuda {
    fn irfft2_unchecked(
        &self,
        p: Irfft2Params,
        plan: &FourierPlan<Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        match &plan.prepared().path {
            Path::Lines(lines) => lines.irfft2(self, p, z, y, work),
            Path::Library(library) => library.irfft2(self, p, z, y),
        }
    }
}

impl<T: Real> TreeAnalysis<T> for Cuda {
    fn tree_analysis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        z: View<'_, Self, Complex<T>>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        match &plan.prepared().path {
            Path::Lines(lines) => lines.tree_analysis(self, p, gains, z, y, work),
            Path::Library(library) => library.tree_analysis(self, p, gains, z, y),
        }
    }
}

impl<T: Real> TreeSynthesis<T> for Cuda {
    fn tree_synthesis_unchecked(
        &self,
        p: TreeParams,
        plan: &FourierPlan<Self, T>,
        gains: View<'_, Self, T>,
        y: View<'_, Self, T>,
        z: ViewMut<'_, Self, Complex<T>>,
        work: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        match &plan.prepared().path {
            Path::Lines(lines) => lines.tree_synthesis(self, p, gains, y, z, work),
            Path::Library(library) => library.tree_synthesis(self, p, gains, y, z),
        }
    }
}
