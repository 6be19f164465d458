//! What the transforms of one plane size need beforehand: factors, tables and, on a device, plans of its library.

use std::fmt::Debug;

use gpu_core::{Backend, Cpu, Error, Result, ViewMut};
use rayon::prelude::*;

use super::Planes;
use crate::Real;
use crate::fft_cpu::CpuTransforms;

/// A backend that can prepare transforms.
pub trait Fourier<T: Real>: Backend {
    #[doc(hidden)]
    type Prepared: Debug + Send + Sync;
    #[doc(hidden)]
    fn prepare(&self, height: usize, width: usize) -> Result<Self::Prepared>;
    #[doc(hidden)]
    fn reserve(&self, prepared: &Self::Prepared, bands: usize) -> Result<()>;
    #[doc(hidden)]
    fn held_len(prepared: &Self::Prepared, bands: usize) -> usize;
    #[doc(hidden)]
    fn work_len(prepared: &Self::Prepared, bands: usize) -> usize;
    #[doc(hidden)]
    fn plane_cost(prepared: &Self::Prepared) -> f64;
    #[doc(hidden)]
    fn images_at_once(prepared: &Self::Prepared) -> usize;
}

/// Prepared transforms for planes of one size, for [`dct2`](super::dct2), [`idct2`](super::idct2),
/// [`rfft2`](super::rfft2), [`irfft2`](super::irfft2), [`tree_analysis`](super::tree_analysis) and
/// [`tree_synthesis`](super::tree_synthesis). Usable on every queue of the device.
#[derive(Debug)]
pub struct FourierPlan<B: Fourier<T>, T: Real> {
    height: usize,
    width: usize,
    prepared: B::Prepared,
}

impl<B: Fourier<T>, T: Real> FourierPlan<B, T> {
    /// Prepares transforms of planes of `height * width`; any size is possible.
    ///
    /// # Errors
    /// For an empty size, and on a CUDA device for a size that needs cuFFT where there is none.
    pub fn new(b: &B, height: usize, width: usize) -> Result<Self> {
        Planes { count: 1, height, width }.check()?;
        Ok(Self { height, width, prepared: b.prepare(height, width)? })
    }

    /// `count` planes of this plan's size.
    pub fn planes(&self, count: usize) -> Planes {
        Planes { count, height: self.height, width: self.width }
    }

    /// Columns of a half spectrum.
    pub fn half_width(&self) -> usize {
        self.width / 2 + 1
    }

    /// Elements of the workspace that an operation needs: 1 for `bands`, or the number of planes of a tree.
    /// It does not depend on the number of images.
    pub fn work_len(&self, bands: usize) -> usize {
        B::work_len(&self.prepared, bands)
    }

    /// Makes what operations on trees of `bands` planes, or on single planes for 1, would otherwise make at their first
    /// use on this queue: do this before a capture.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn reserve(&self, b: &B, bands: usize) -> Result<()> {
        b.reserve(&self.prepared, bands)
    }

    /// Elements that [`reserve`](Self::reserve) allocates, beside the workspace that callers give.
    pub fn held_len(&self, bands: usize) -> usize {
        B::held_len(&self.prepared, bands)
    }

    /// Images that are best worked on together before the next operation: on the CPU few enough for its caches, on a
    /// device enough to fill it.
    pub fn images_at_once(&self) -> usize {
        B::images_at_once(&self.prepared)
    }

    /// How long a transform takes beside a multiply-add, in units of the CPU at 512 × 512; for the choice of an engine.
    pub(crate) fn plane_cost(&self) -> f64 {
        B::plane_cost(&self.prepared)
    }

    pub(crate) fn prepared(&self) -> &B::Prepared {
        &self.prepared
    }

    pub(super) fn check_work(&self, work: &ViewMut<'_, B, T>, bands: usize) -> Result<()> {
        let need = self.work_len(bands);
        if work.len() < need { Err(Error::shape("workspace", &[need], &[work.len()])) } else { Ok(()) }
    }

    /// Checks that a table of gains has `each` elements for each of `bands` planes.
    pub(super) fn check_gains(&self, len: usize, bands: usize, each: usize) -> Result<()> {
        if bands.checked_mul(each) == Some(len) {
            return Ok(());
        }
        Err(Error::shape("gain", &[bands, self.height, each / self.height], &[len]))
    }
}

/// The CPU's transforms and how many planes its threads work on together.
#[derive(Debug)]
pub struct CpuPrepared<T: Real> {
    pub(super) transforms: CpuTransforms<T>,
    threads: usize,
}

/// Bytes of a plane up to which threads take an image each: the planes that an image is worked on in then stay in the
/// caches of their core. Larger planes keep all threads busy by themselves, and a workspace for each would cost memory.
const IMAGE_A_THREAD: usize = 1 << 20;

/// Images of which each has a workspace at most, however many threads there are.
const MOST_IMAGES: usize = 16;

impl<T: Real> CpuPrepared<T> {
    /// Images that are worked on side by side, a thread each: an image alone makes its threads wait for each other after
    /// every step.
    pub(super) fn images(&self) -> usize {
        if self.transforms.area() * size_of::<T>() > IMAGE_A_THREAD { 1 } else { self.threads.clamp(1, MOST_IMAGES) }
    }

    /// Planes whose strips a workspace holds: enough to keep every thread busy, few enough for the caches.
    fn group(&self, bands: usize) -> usize {
        bands.clamp(1, self.threads.max(2)).max(self.images())
    }

    /// The strips of each of `planes` planes, or of as many as the workspace for trees of `bands` planes holds, at the
    /// beginning of whole cache lines.
    pub(super) fn strips<'w>(&self, work: &'w mut [T], bands: usize, planes: usize) -> Vec<&'w mut [T]> {
        let each = self.transforms.strips_len();
        CpuTransforms::aligned(work).chunks_exact_mut(each).take(self.group(bands).min(planes)).collect()
    }

    /// Calls `f` with the number, the output and strips of every image, several images side by side. The output holds
    /// `extent` elements of an image at every multiple of `stride`.
    pub(super) fn each_image<O: Send>(
        &self,
        count: usize,
        work: &mut [T],
        out: &mut [O],
        (stride, extent): (usize, usize),
        f: impl Fn(usize, &mut [O], &mut [T]) + Sync,
    ) {
        let mut strips = self.strips(work, 1, count);
        if strips.is_empty() {
            return;
        }
        let (share, stride) = (count.div_ceil(strips.len()), stride.max(extent));
        let out = &mut out[..(count - 1) * stride + extent];
        out.par_chunks_mut(share * stride).zip(&mut strips).enumerate().for_each(|(part, (out, strips))| {
            for (n, out) in out.chunks_mut(stride).enumerate() {
                f(part * share + n, &mut out[..extent], strips);
            }
        });
    }
}

impl<T: Real> Fourier<T> for Cpu {
    type Prepared = CpuPrepared<T>;

    fn prepare(&self, height: usize, width: usize) -> Result<CpuPrepared<T>> {
        Ok(CpuPrepared { transforms: CpuTransforms::new(height, width), threads: self.device().units })
    }

    fn reserve(&self, _: &CpuPrepared<T>, _: usize) -> Result<()> {
        Ok(())
    }

    fn held_len(_: &CpuPrepared<T>, _: usize) -> usize {
        0
    }

    fn work_len(prepared: &CpuPrepared<T>, bands: usize) -> usize {
        prepared.transforms.workspace_len(prepared.group(bands))
    }

    fn plane_cost(prepared: &CpuPrepared<T>) -> f64 {
        prepared.transforms.plane_cost()
    }

    fn images_at_once(prepared: &CpuPrepared<T>) -> usize {
        prepared.images()
    }
}
