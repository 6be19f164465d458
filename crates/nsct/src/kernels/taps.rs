//! `y[n, r, c] = Σ_t v_t x[n, (r - dr_t) mod H, (c - dc_t) mod W]`: a sparse filter with periodic boundary.
//!
//! One application of a node's mapping kernel `K`, or one of the two diagonal filters of a ladder
//! (engine B). Taps are taken in the order of the table, by convention increasing `dr`, then `dc`, each fused into the
//! sum from 0, so that both twins round alike and agree to the bit. NaN and infinities spread over the taps' reach.
//!
//! Floor: `2 * taps` flop and `2 * size_of::<T>()` bytes a pixel. With the 112 taps of dmaxflat7 in f32 that is
//! 28 flop a byte, so the arithmetic decides.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Planes, rows_a_task};
use crate::Real;
use crate::real::with_spare;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct TapsParams {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Entries of the table.
    pub taps: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// A filter in the memory of a device, with offsets reduced to one image size.
#[derive(Debug)]
pub struct TapTable<B: Backend, T: Real> {
    height: usize,
    width: usize,
    /// `dr, dc` of each tap, in `[0, height)` and `[0, width)`.
    offsets: Tensor<B, i32, 2>,
    values: Tensor<B, T, 1>,
    /// Columns that a row needs before its first and behind its last, when each offset goes the shorter way round.
    reach: [usize; 2],
}

impl<B: Backend, T: Real> TapTable<B, T> {
    /// Uploads `(dr, dc, v)` in the order in which they are to be summed. Usable on every queue of the device.
    pub fn new(b: &B, height: usize, width: usize, taps: &[(i64, i64, f64)]) -> Result<Self> {
        Planes { count: 1, height, width }.check()?;
        if taps.is_empty() {
            return Err(Error::value("taps", "a filter needs at least one tap"));
        }
        let reduced = |d: i64, n: usize| d.rem_euclid(n as i64) as i32;
        let offsets: Vec<i32> =
            taps.iter().flat_map(|&(dr, dc, _)| [reduced(dr, height), reduced(dc, width)]).collect();
        let values: Vec<T> = taps.iter().map(|&(_, _, v)| T::of(v)).collect();
        let columns = offsets.iter().skip(1).step_by(2).map(|&dc| dc as usize);
        let (before, behind): (Vec<_>, Vec<_>) = columns.partition(|&dc| dc <= width / 2);
        let left = before.into_iter().max().unwrap_or(0);
        let right = behind.into_iter().map(|dc| width - dc).max().unwrap_or(0);
        Ok(Self {
            height,
            width,
            offsets: Tensor::from_slice(b, [taps.len(), 2], &offsets)?.share(b)?,
            values: Tensor::from_slice(b, [taps.len()], &values)?.share(b)?,
            reach: [left, right],
        })
    }

    /// Number of taps.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none; a table always has some.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The operation on one backend.
pub trait Taps<T: Real>: Backend {
    #[doc(hidden)]
    fn taps_unchecked(
        &self,
        p: TapsParams,
        table: &TapTable<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;

    /// How many planes of `area` elements a chain of operations should take together: what fits the caches of the
    /// device, where it has such. Results do not depend on it.
    fn together(&self, area: usize) -> usize {
        let _ = area;
        usize::MAX
    }
}

/// Filters `planes.count` planes; the table must be for their size.
///
/// `x` and `y` hold a plane at every multiple of their stride.
///
/// # Errors
/// When the table is for another size, or a view is too short for its planes.
pub fn taps<B: Taps<T>, T: Real>(
    b: &B,
    planes: Planes,
    table: &TapTable<B, T>,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    if (table.height, table.width) != (planes.height, planes.width) {
        return Err(Error::shape("taps", &[planes.height, planes.width], &[table.height, table.width]));
    }
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let p = TapsParams {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        taps: table.len() as u32,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.taps_unchecked(p, table, x, y)
}

impl<T: Real> Taps<T> for Cpu {
    fn together(&self, area: usize) -> usize {
        // A chain touches about ten buffers, and small planes are shared out one to a thread.
        const BUFFER_BYTES: usize = 1 << 20;
        (BUFFER_BYTES / (area * size_of::<T>()).max(1)).max(1)
    }

    fn taps_unchecked(
        &self,
        p: TapsParams,
        table: &TapTable<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let (height, width) = (planes.height, planes.width);
        let (x, y) = (self.read(x)?, self.write(y)?);
        let offsets = self.read(table.offsets.flat())?.chunks_exact(2);
        let taps: Vec<_> = offsets
            .zip(self.read(table.values.flat())?)
            .map(|(offset, &v)| (offset[0] as usize, offset[1] as usize, v))
            .collect();
        planes.pairs(x, p.x_stride, y, p.y_stride, planes.area(), |_, x, y| {
            filter_plane(&taps, table.reach, [height, width], x, y);
        });
        Ok(())
    }
}

/// Sums the taps `(dr, dc, v)` for one plane.
///
/// Most columns read the image itself. Those whose taps reach over the ends of the rows, together with as many others
/// as make both runs fill whole vectors, read a copy in which rows go on periodically.
fn filter_plane<T: Real>(
    taps: &[(usize, usize, T)],
    [left, right]: [usize; 2],
    [height, width]: [usize; 2],
    x: &[T],
    y: &mut [T],
) {
    let inside = T::whole_vectors(width.saturating_sub(left + right));
    // Columns from `left + inside` over the end to `left`.
    let outside = width - inside;
    let wide = left + outside + right;
    with_spare(height * wide, |rows| {
        rows.par_chunks_mut(wide.max(1)).zip(x.par_chunks(width)).with_min_len(rows_a_task(wide)).for_each(
            |(wide, row)| {
                let mut from = inside;
                let mut rest = wide;
                while !rest.is_empty() {
                    let (now, later) = rest.split_at_mut(rest.len().min(width - from));
                    now.copy_from_slice(&row[from..from + now.len()]);
                    (rest, from) = (later, 0);
                }
            },
        );
        let rows = &*rows;
        let starts_in = |starts: &mut Vec<(usize, T)>, r: usize, stride: usize| {
            starts.clear();
            starts.extend(taps.iter().map(|&(dr, dc, v)| {
                let from = if r >= dr { r - dr } else { r + height - dr };
                // A shift by dc reads from dc columns before, or W - dc columns behind.
                let column = if dc <= left { left - dc } else { left + width - dc };
                (from * stride + column, v)
            }));
        };
        y.par_chunks_mut(width).enumerate().with_min_len(rows_a_task(width * taps.len())).for_each_init(
            || (Vec::with_capacity(taps.len()), vec![T::of(0.0); outside]),
            |(starts, around), (r, row)| {
                if inside > 0 {
                    starts_in(starts, r, width);
                    T::gather_taps(&mut row[left..left + inside], x, starts);
                }
                starts_in(starts, r, wide);
                T::gather_taps(around, rows, starts);
                let (end, begin) = around.split_at(outside - left);
                row[left + inside..].copy_from_slice(end);
                row[..left].copy_from_slice(begin);
            },
        );
    });
}

#[cfg(feature = "cuda")]
impl<T: Real> Taps<T> for gpu_core::Cuda {
    fn taps_unchecked(
        &self,
        p: TapsParams,
        table: &TapTable<Self, T>,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("taps_{}", T::NAME))?;
        let launch = kernel
            .read(x)?
            .read(table.offsets.flat())?
            .read(table.values.flat())?
            .write(y)?
            .arg(p)
            .grid(super::cuda::pixels(planes)?)
            .looping(2)
            .block(super::cuda::BLOCK);
        // SAFETY: void taps_T(const T* x, const int* offsets, const T* values, T* y, TapsParams p); `taps` has checked
        // that every plane lies inside its view and that the table is for this size.
        unsafe { launch.launch() }
    }
}
