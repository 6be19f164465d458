//! `zconv2`: convolution with a filter that is upsampled by a sampling matrix, periodic boundary.
//!
//! `y[r, c] = Σ_{a,b} h[a, b] x[(r + sr - m21 b - m22 a) mod H, (c + sc - m11 b - m12 a) mod W]` for
//! `M = [[m11, m12], [m21, m22]]`, whose **first coordinate is the column**, with
//! `sr = trunc((m21 (Wf - 1) + m22 (Hf - 1)) / 2)` and `sc = trunc((m11 (Wf - 1) + m12 (Hf - 1)) / 2)`.
//!
//! Taps are taken by increasing `a`, then `b`, zeros included, each fused into the sum from 0; both twins agree to the
//! bit. Indices wrap with the non-negative remainder at every size, where the published toolbox reads outside of the
//! image when a start becomes negative.
//!
//! Floor: `2 Hf Wf` flop and `2 * size_of::<T>()` bytes a pixel: 841 taps a filter of `dmaxflat7`, so the arithmetic
//! decides. This is the reference; the fast engines need a fraction of it.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::dense_filter::{Walk, filter_periodic};
use super::{DenseFilter, Planes};
use crate::Real;

/// Largest magnitude of an entry of a sampling matrix.
const MAX_ENTRY: u64 = 1 << 30;

/// What the kernel gets by value. Starts and steps are reduced to `[0, H)` and `[0, W)`.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct Zconv2Params {
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
    /// Row that tap (0, 0) meets for output row 0.
    pub start_row: u32,
    /// Column that tap (0, 0) meets for output column 0.
    pub start_column: u32,
    /// Rows back for the next row of the filter: m22.
    pub row_by_a: u32,
    /// Rows back for the next column of the filter: m21.
    pub row_by_b: u32,
    /// Columns back for the next row of the filter: m12.
    pub column_by_a: u32,
    /// Columns back for the next column of the filter: m11.
    pub column_by_b: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait Zconv2<T: Real>: Backend {
    #[doc(hidden)]
    fn zconv2_unchecked(
        &self,
        p: Zconv2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Filters `planes.count` planes with `h` upsampled by `m = [[m11, m12], [m21, m22]]`.
///
/// # Errors
/// When an entry of `m` is beyond 2^30, or a view is too short for its planes.
pub fn zconv2<B: Zconv2<T>, T: Real>(
    b: &B,
    planes: Planes,
    h: &DenseFilter<B, T>,
    m: [[i64; 2]; 2],
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    if m.iter().flatten().any(|v| v.unsigned_abs() > MAX_ENTRY) {
        return Err(Error::value("sampling matrix", format!("an entry of {m:?} is beyond {MAX_ENTRY}")));
    }
    let [[m11, m12], [m21, m22]] = m;
    let (rows, columns) = (h.rows() as i64 - 1, h.columns() as i64 - 1);
    // Rounds towards zero, as the toolbox does.
    let start = [i64::midpoint(m21 * columns, m22 * rows), i64::midpoint(m11 * columns, m12 * rows)];
    let walk = Walk::new(planes, start, [m22, m21], [m12, m11]);
    let p = Zconv2Params {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        filter_rows: h.rows() as u32,
        filter_columns: h.columns() as u32,
        start_row: walk.start_row,
        start_column: walk.start_column,
        row_by_a: walk.row_by_a,
        row_by_b: walk.row_by_b,
        column_by_a: walk.column_by_a,
        column_by_b: walk.column_by_b,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.zconv2_unchecked(p, h, x, y)
}

impl Zconv2Params {
    fn planes(&self) -> Planes {
        Planes { count: self.count as usize, height: self.height as usize, width: self.width as usize }
    }
}

impl<T: Real> Zconv2<T> for Cpu {
    fn zconv2_unchecked(
        &self,
        p: Zconv2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let walk = Walk {
            start_row: p.start_row,
            start_column: p.start_column,
            row_by_a: p.row_by_a,
            row_by_b: p.row_by_b,
            column_by_a: p.column_by_a,
            column_by_b: p.column_by_b,
        };
        filter_periodic(p.planes(), walk, h, self.read(x)?, p.x_stride, self.write(y)?, p.y_stride);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> Zconv2<T> for gpu_core::Cuda {
    fn zconv2_unchecked(
        &self,
        p: Zconv2Params,
        h: &DenseFilter<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("zconv2_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .read(h.values())?
            .write(y)?
            .arg(p)
            .grid(super::cuda::pixels(p.planes())?)
            .looping(2)
            .block(super::cuda::BLOCK);
        // SAFETY: void zconv2_T(const T* x, const T* h, T* y, Zconv2Params p); `zconv2` has checked that every plane
        // lies inside its view, and starts and steps are reduced to the size of a plane.
        unsafe { launch.launch() }
    }
}
