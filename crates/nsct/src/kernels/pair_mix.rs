//! One term of a synthesis node: `y = a x0 + b x1`, or `y += a x0 + b x1`.
//!
//! Synthesis is `Σ_d K^d (a_d x0 + b_d x1)`, evaluated from the highest power down with `K` between the terms. Exactly
//! `fma(a, x0, b * x1)` and `fma(a, x0, fma(b, x1, y))`; both twins agree to the bit.
//!
//! Floor: `3` or `4` times `size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CHUNK, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PairMixParams {
    /// Planes.
    pub count: u32,
    /// 1 to add to what `y` holds, 0 to overwrite it.
    pub add: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from the first input of a plane to the first input of the next.
    pub x_stride: u64,
    /// Elements from the first input of a plane to its second.
    pub pair_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
    /// Factor of the first input.
    pub a: f64,
    /// Factor of the second input.
    pub b: f64,
}

/// The operation on one backend.
pub trait PairMix<T: Real>: Backend {
    #[doc(hidden)]
    fn pair_mix_unchecked(&self, p: PairMixParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Mixes the two inputs of each plane: the first at `n * x_stride`, the second `pair_stride` behind it.
///
/// # Errors
/// When a view is too short for its planes.
pub fn pair_mix<B: PairMix<T>, T: Real>(
    backend: &B,
    planes: Planes,
    [a, b]: [f64; 2],
    add: bool,
    x: View<'_, B, T>,
    x_stride: usize,
    pair_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    let area = planes.area();
    if pair_stride < area {
        return Err(Error::value("x", "the two inputs of a plane overlap"));
    }
    planes.fit("x", x.len(), x_stride, pair_stride + area)?;
    planes.fit("y", y.len(), y_stride, area)?;
    let p = PairMixParams {
        count: planes.count as u32,
        add: add.into(),
        area: area as u64,
        x_stride: x_stride as u64,
        pair_stride: pair_stride as u64,
        y_stride: y_stride as u64,
        a,
        b,
    };
    backend.pair_mix_unchecked(p, x, y)
}

impl<T: Real> PairMix<T> for Cpu {
    fn pair_mix_unchecked(&self, p: PairMixParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let area = p.area as usize;
        let planes = Planes { count: p.count as usize, height: 1, width: area };
        let (a, b) = (T::of(p.a), T::of(p.b));
        planes.pairs(x, p.x_stride, y, p.y_stride, area, |n, x0, y| {
            let x1 = &x[n * p.x_stride as usize + p.pair_stride as usize..][..area];
            let inputs = x0.par_chunks(CHUNK).zip(x1.par_chunks(CHUNK));
            y.par_chunks_mut(CHUNK)
                .zip(inputs)
                .with_min_len(4)
                .for_each(|(y, (x0, x1))| T::mix(y, a, x0, b, x1, p.add == 1));
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> PairMix<T> for gpu_core::Cuda {
    fn pair_mix_unchecked(&self, p: PairMixParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("pair_mix_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::elements(p.area, p.count)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void pair_mix_T(const T* x, T* y, PairMixParams p); `pair_mix` has checked that every plane lies
        // inside its view.
        unsafe { launch.launch() }
    }
}
