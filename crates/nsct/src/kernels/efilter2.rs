//! `efilter2`: centred convolution with periodic boundary.
//!
//! `y[r, c] = Σ_{a,b} h[a, b] x[(r + ⌊Hf/2⌋ - a) mod H, (c + ⌊Wf/2⌋ - b) mod W]`
//!
//! Taps are taken by increasing `a`, then `b`, zeros included, each fused into the sum from 0; both twins agree to the
//! bit. Indices wrap at every size, also where the filter is larger than the image.
//!
//! Floor: `2 Hf Wf` flop and `2 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::dense_filter::{Walk, filter_periodic};
use super::{DenseFilter, Planes};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct Efilter2Params {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Rows of the filter.
    pub filter_rows: u32,
    /// Columns of the filter.
    pub filter_columns: u32,
    /// `⌊Hf/2⌋ mod H`.
    pub start_row: u32,
    /// `⌊Wf/2⌋ mod W`.
    pub start_column: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait Efilter2<T: Real>: Backend {
    #[doc(hidden)]
    fn efilter2_unchecked(
        &self,
        p: Efilter2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Filters `planes.count` planes with `h`.
///
/// # Errors
/// When a view is too short for its planes.
pub fn efilter2<B: Efilter2<T>, T: Real>(
    b: &B,
    planes: Planes,
    h: &DenseFilter<B, T>,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let p = Efilter2Params {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        filter_rows: h.rows() as u32,
        filter_columns: h.columns() as u32,
        start_row: (h.rows() / 2 % planes.height) as u32,
        start_column: (h.columns() / 2 % planes.width) as u32,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.efilter2_unchecked(p, h, x, y)
}

impl Efilter2Params {
    fn planes(&self) -> Planes {
        Planes { count: self.count as usize, height: self.height as usize, width: self.width as usize }
    }
}

impl<T: Real> Efilter2<T> for Cpu {
    fn efilter2_unchecked(
        &self,
        p: Efilter2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let walk = Walk::new(p.planes(), [p.start_row.into(), p.start_column.into()], [1, 0], [0, 1]);
        filter_periodic(p.planes(), walk, h, self.read(x)?, p.x_stride, self.write(y)?, p.y_stride);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> Efilter2<T> for gpu_core::Cuda {
    fn efilter2_unchecked(
        &self,
        p: Efilter2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("efilter2_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .read(h.values())?
            .write(y)?
            .arg(p)
            .grid(super::cuda::pixels(p.planes())?)
            .looping(2)
            .block(super::cuda::BLOCK);
        // SAFETY: void efilter2_T(const T* x, const T* h, T* y, Efilter2Params p); `efilter2` has checked that every
        // plane lies inside its view, and the starts are reduced to the size of a plane.
        unsafe { launch.launch() }
    }
}
