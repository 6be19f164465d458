//! `atrousc`: the valid part of a convolution with a filter that is stretched by zeros.
//!
//! `y[r, c] = Σ_{a,b} h[Hf - 1 - a, Wf - 1 - b] x[r + L - 1 + L a, c + L - 1 + L b]`, of
//! `(H - L Hf + 1) x (W - L Wf + 1)` elements.
//!
//! Taps are taken by increasing `a`, then `b`, zeros included, each fused into the sum from 0; both twins agree to the
//! bit.
//!
//! Floor: `2 Hf Wf` flop and `2 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{DenseFilter, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct AtrouscParams {
    /// Planes.
    pub count: u32,
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// Rows of the output.
    pub out_height: u32,
    /// Columns of the output.
    pub out_width: u32,
    /// Rows of the filter.
    pub filter_rows: u32,
    /// Columns of the filter.
    pub filter_columns: u32,
    /// The dilation L.
    pub step: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait Atrousc<T: Real>: Backend {
    #[doc(hidden)]
    fn atrousc_unchecked(
        &self,
        p: AtrouscParams,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Size of the result of [`atrousc`] for planes and a filter of these sizes.
///
/// # Errors
/// When the stretched filter is larger than a plane, or `step` is 0.
pub fn atrousc_size(planes: Planes, filter: (usize, usize), step: usize) -> Result<Planes> {
    let side = |n: usize, taps: usize| step.checked_mul(taps).filter(|&m| m > 0 && m <= n).map(|m| n - m + 1);
    match (side(planes.height, filter.0), side(planes.width, filter.1)) {
        (Some(height), Some(width)) => Ok(Planes { height, width, ..planes }),
        _ => Err(Error::value(
            "filter",
            format!(
                "{} x {} elements, stretched {step} times, do not fit into {} x {} pixels; extend the image first",
                filter.0, filter.1, planes.height, planes.width
            ),
        )),
    }
}

/// Filters `planes.count` planes with `h` stretched by `step`; output planes have the size of [`atrousc_size`].
///
/// # Errors
/// When the stretched filter is larger than a plane, or a view is too short for its planes.
pub fn atrousc<B: Atrousc<T>, T: Real>(
    b: &B,
    planes: Planes,
    h: &DenseFilter<B, T>,
    step: usize,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    let out = atrousc_size(planes, (h.rows(), h.columns()), step)?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    out.fit("y", y.len(), y_stride, out.area())?;
    let p = AtrouscParams {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        out_height: out.height as u32,
        out_width: out.width as u32,
        filter_rows: h.rows() as u32,
        filter_columns: h.columns() as u32,
        step: step as u32,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.atrousc_unchecked(p, h, x, y)
}

impl<T: Real> Atrousc<T> for Cpu {
    fn atrousc_unchecked(
        &self,
        p: AtrouscParams,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let (width, out_width, step) = (p.width as usize, p.out_width as usize, p.step as usize);
        let planes = Planes { count: p.count as usize, height: p.height as usize, width };
        let each = p.out_height as usize * out_width;
        // Backwards through the filter is forwards through the image.
        let taps: Vec<(usize, T)> = (0..h.rows())
            .flat_map(|a| (0..h.columns()).map(move |b| (step - 1 + step * a) * width + step - 1 + step * b))
            .zip(h.host().iter().rev().copied())
            .collect();
        planes.pairs(x, p.x_stride, y, p.y_stride, each, |_, x, y| {
            y.par_chunks_mut(out_width)
                .enumerate()
                .with_min_len(8)
                .for_each(|(r, row)| T::gather_taps(row, &x[r * width..], &taps));
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> Atrousc<T> for gpu_core::Cuda {
    fn atrousc_unchecked(
        &self,
        p: AtrouscParams,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let out = Planes { count: p.count as usize, height: p.out_height as usize, width: p.out_width as usize };
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("atrousc_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .read(h.values())?
            .write(y)?
            .arg(p)
            .grid(super::cuda::pixels(out)?)
            .looping(2)
            .block(super::cuda::BLOCK);
        // SAFETY: void atrousc_T(const T* x, const T* h, T* y, AtrouscParams p); `atrousc` has checked that every plane
        // lies inside its view and that the stretched filter lies inside a plane.
        unsafe { launch.launch() }
    }
}
