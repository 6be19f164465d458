//! `y = 2 P_rows P_columns x - x`: one application of a pyramid's mapping `F_L` with mirror boundary.
//!
//! `(P_rows v)[r, c] = Σ_k P[k] v[mir(r - k L, H), c]` with the symmetric half-band filter P, `k` from `-m` to `m` in
//! increasing order, zero taps left out; columns alike. The sum over columns comes first, each tap fused into a sum
//! from 0, then the sum over rows alike, then `fma(2, sum, -x)`; both twins agree to the bit.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Planes, mirror, rows_a_task};
use crate::Real;
use crate::real::with_spare;

/// Taps that the kernel takes at most on one side of the centre.
const MAX_HALF: usize = 3;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct MirrorMapParams {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Taps on one side of the centre, at most 3.
    pub half: u32,
    /// The dilation L modulo `2 * height`: mirror extension repeats after twice the size.
    pub row_step: u32,
    /// The dilation L modulo `2 * width`.
    pub column_step: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
    /// `P[0], P[1], …`; zeros beyond `half`.
    pub taps: [f64; MAX_HALF + 1],
}

impl MirrorMapParams {
    /// `(k, P[k])` for the nonzero taps, `k` increasing.
    fn nonzero<T: Real>(&self) -> Vec<(i64, T)> {
        let half = i64::from(self.half);
        (-half..=half)
            .map(|k| (k, self.taps[k.unsigned_abs() as usize]))
            .filter(|&(_, v)| v != 0.0)
            .map(|(k, v)| (k, T::of(v)))
            .collect()
    }
}

/// The operation on one backend.
pub trait MirrorMap<T: Real>: Backend {
    #[doc(hidden)]
    fn mirror_map_unchecked(&self, p: MirrorMapParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Applies the mapping to `planes.count` planes. `taps` is P from its centre outwards, at most 4 values; `step` is the
/// dilation L.
///
/// # Errors
/// When the filter is too long or empty, or a view is too short for its planes.
pub fn mirror_map<B: MirrorMap<T>, T: Real>(
    b: &B,
    planes: Planes,
    taps: &[f64],
    step: u64,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    if taps.is_empty() || taps.len() > MAX_HALF + 1 {
        return Err(Error::value("taps", format!("{} values; 1 to {} are possible", taps.len(), MAX_HALF + 1)));
    }
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let mut all = [0.0; MAX_HALF + 1];
    all[..taps.len()].copy_from_slice(taps);
    let p = MirrorMapParams {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        half: taps.len() as u32 - 1,
        row_step: (step % (2 * planes.height as u64)) as u32,
        column_step: (step % (2 * planes.width as u64)) as u32,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
        taps: all,
    };
    b.mirror_map_unchecked(p, x, y)
}

impl<T: Real> MirrorMap<T> for Cpu {
    fn mirror_map_unchecked(&self, p: MirrorMapParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let (height, width) = (planes.height, planes.width);
        let (x, y) = (self.read(x)?, self.write(y)?);
        let taps = p.nonzero::<T>();
        let (row_step, column_step) = (i64::from(p.row_step), i64::from(p.column_step));
        let zero = T::of(0.0);
        // A row continued to both sides as far as the taps reach, so that every shifted row is a slice of it.
        let reach = i64::from(p.half) * column_step;
        let continued = |i: i64| mirror(i, width);
        let before: Vec<usize> = (-reach..0).map(continued).collect();
        let behind: Vec<usize> = (0..reach).map(|i| continued(width as i64 + i)).collect();
        let columns: Vec<_> = taps.iter().map(|&(k, v)| ((reach - k * column_step) as usize, v)).collect();
        // fma(2, sum, -1 * x), and the product is exact.
        let two = [T::of(2.0), T::of(-1.0)];
        planes.pairs(x, p.x_stride, y, p.y_stride, planes.area(), |_, x, y| {
            with_spare(planes.area(), |sums| {
                sums.par_chunks_mut(width)
                    .zip(x.par_chunks(width))
                    .with_min_len(rows_a_task(width * taps.len()))
                    .for_each_init(
                        || Vec::with_capacity(before.len() + width + behind.len()),
                        |wide, (sum, row)| {
                            wide.clear();
                            wide.extend(before.iter().map(|&c| row[c]));
                            wide.extend_from_slice(row);
                            wide.extend(behind.iter().map(|&c| row[c]));
                            T::gather_taps(sum, wide, &columns);
                        },
                    );
                let sums = &*sums;
                y.par_chunks_mut(width)
                    .zip(x.par_chunks(width))
                    .enumerate()
                    .with_min_len(rows_a_task(width * taps.len()))
                    .for_each_init(
                        || (vec![zero; width], Vec::with_capacity(taps.len())),
                        |(sum, rows), (r, (row, source))| {
                            rows.clear();
                            rows.extend(
                                taps.iter().map(|&(k, v)| (mirror(r as i64 - k * row_step, height) * width, v)),
                            );
                            T::gather_taps(sum, sums, rows);
                            T::polynomial(row, &[&*sum, source], &two);
                        },
                    );
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> MirrorMap<T> for gpu_core::Cuda {
    fn mirror_map_unchecked(&self, p: MirrorMapParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("mirror_map_{}", T::NAME))?;
        let launch =
            kernel.read(x)?.write(y)?.arg(p).grid(super::cuda::pixels(planes)?).looping(2).block(super::cuda::BLOCK);
        // SAFETY: void mirror_map_T(const T* x, T* y, MirrorMapParams p); `mirror_map` has checked that every plane
        // lies inside its view.
        unsafe { launch.launch() }
    }
}
