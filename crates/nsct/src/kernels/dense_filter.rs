//! Dense filters, as the toolbox stores them, and the loops that the dense operations share.

use std::sync::Arc;

use gpu_core::{Backend, Error, Result, Tensor, View};
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::Planes;
use crate::Real;

/// Longest side of a dense filter. The largest that a published filter needs is 1531, of `dmaxflat255`.
pub const MAX_FILTER_SIDE: usize = 1 << 15;

/// A dense two-dimensional filter in the memory of a device, usable on every queue of it.
#[derive(Debug)]
pub struct DenseFilter<B: Backend, T: Real> {
    rows: usize,
    columns: usize,
    host: Arc<[T]>,
    values: Tensor<B, T, 2>,
}

impl<B: Backend, T: Real> DenseFilter<B, T> {
    /// Uploads a filter.
    ///
    /// # Errors
    /// When it has no elements, or a side longer than [`MAX_FILTER_SIDE`].
    pub fn new(b: &B, taps: ArrayView2<'_, f64>) -> Result<Self> {
        let (rows, columns) = taps.dim();
        if rows == 0 || columns == 0 || rows > MAX_FILTER_SIDE || columns > MAX_FILTER_SIDE {
            let why = format!("{rows} x {columns} elements; sides of 1 to {MAX_FILTER_SIDE} are possible");
            return Err(Error::value("filter", why));
        }
        let host: Arc<[T]> = taps.iter().map(|&v| T::of(v)).collect();
        let values = Tensor::from_slice(b, [rows, columns], &host)?.share(b)?;
        Ok(Self { rows, columns, host, values })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The elements on the host, row-major.
    pub(crate) fn host(&self) -> &[T] {
        &self.host
    }

    /// The elements on the device, row-major.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "only the CUDA twins read it"))]
    pub(crate) fn values(&self) -> View<'_, B, T> {
        self.values.flat()
    }
}

/// Where an operation reads the sample for a tap, with both axes periodic: tap `(a, b)` of output `(r, c)` meets input
/// `((r + start.0 - step.0 a - step.1 b) mod H, (c + start.1 - step.2 a - step.3 b) mod W)`. All are reduced to `[0, H)`
/// or `[0, W)`, so that a kernel stays inside 32 bits and never takes a remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) start_row: u32,
    pub(super) start_column: u32,
    /// Rows back for the next row of the filter.
    pub(super) row_by_a: u32,
    /// Rows back for the next column of the filter.
    pub(super) row_by_b: u32,
    /// Columns back for the next row of the filter.
    pub(super) column_by_a: u32,
    /// Columns back for the next column of the filter.
    pub(super) column_by_b: u32,
}

impl Walk {
    pub(super) fn new(planes: Planes, start: [i64; 2], row_by: [i64; 2], column_by: [i64; 2]) -> Self {
        let row = |v: i64| v.rem_euclid(planes.height as i64) as u32;
        let column = |v: i64| v.rem_euclid(planes.width as i64) as u32;
        Self {
            start_row: row(start[0]),
            start_column: column(start[1]),
            row_by_a: row(row_by[0]),
            row_by_b: row(row_by[1]),
            column_by_a: column(column_by[0]),
            column_by_b: column(column_by[1]),
        }
    }

    /// Row (for output row 0) and column (for output column 0) that tap `(a, b)` meets.
    fn at(&self, a: usize, b: usize, height: usize, width: usize) -> (usize, usize) {
        let back = |start: u32, by_a: u32, by_b: u32, n: usize| {
            let back = (a as u64 * u64::from(by_a) + b as u64 * u64::from(by_b)) % n as u64;
            ((u64::from(start) + n as u64 - back) % n as u64) as usize
        };
        (
            back(self.start_row, self.row_by_a, self.row_by_b, height),
            back(self.start_column, self.column_by_a, self.column_by_b, width),
        )
    }
}

/// Filters all planes along a walk, on the CPU: taps by increasing row, then column, each fused into a sum from 0.
pub(super) fn filter_periodic<B: Backend, T: Real>(
    planes: Planes,
    walk: Walk,
    filter: &DenseFilter<B, T>,
    x: &[T],
    x_stride: u64,
    y: &mut [T],
    y_stride: u64,
) {
    let Planes { height, width, .. } = planes;
    let taps: Vec<(usize, usize, T)> = (0..filter.rows)
        .flat_map(|a| (0..filter.columns).map(move |b| (a, b)))
        .zip(filter.host())
        .map(|((a, b), &v)| {
            let (row, column) = walk.at(a, b, height, width);
            (row, column, v)
        })
        .collect();
    planes.pairs(x, x_stride, y, y_stride, planes.area(), |_, x, y| {
        // Each row stands twice, side by side, so that every shifted row is one slice.
        let mut twice = vec![T::of(0.0); 2 * x.len()];
        for (twice, row) in twice.chunks_mut(2 * width).zip(x.chunks(width)) {
            twice[..width].copy_from_slice(row);
            twice[width..].copy_from_slice(row);
        }
        y.par_chunks_mut(width).enumerate().with_min_len(8).for_each_init(Vec::new, |starts, (r, row)| {
            starts.clear();
            starts.extend(taps.iter().map(|&(dr, dc, v)| ((r + dr) % height * 2 * width + dc, v)));
            T::gather_taps(row, &twice, starts);
        });
    });
}
