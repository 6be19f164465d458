//! Local energy: `y = mean of x² over the window of (2h + 1) x (2h + 1)` around each pixel, mirror boundary.
//!
//! `y[r, c] = (Σ_{i=-h..h} Σ_{j=-h..h} x[mir(r + i, H), mir(c + j, W)]²) / (2h + 1)²`. The sum over columns comes first,
//! from 0 by increasing `j`, of products that are rounded on their own; then the sum over rows, from 0 by increasing
//! `i`; then one division. Both twins agree to the bit. NaN and infinities spread over the window.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel; `4h + 3` additions.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Planes, mirror};
use crate::Real;

/// Largest half width of a window, for 17 x 17 pixels.
pub const MAX_HALF_WINDOW: usize = 8;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct BoxSquareParams {
    /// Planes.
    pub count: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Pixels of the window on one side of its centre, at most 8.
    pub half: u32,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait BoxSquare<T: Real>: Backend {
    #[doc(hidden)]
    fn box_square_unchecked(&self, p: BoxSquareParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Local energies of `planes.count` planes in windows of `2 half + 1` pixels a side.
///
/// # Errors
/// When `half` is above [`MAX_HALF_WINDOW`], or a view is too short for its planes.
pub fn box_square<B: BoxSquare<T>, T: Real>(
    b: &B,
    planes: Planes,
    half: usize,
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    planes.check()?;
    if half > MAX_HALF_WINDOW {
        return Err(Error::value("half", format!("{half}; at most {MAX_HALF_WINDOW} are possible")));
    }
    planes.fit("x", x.len(), x_stride, planes.area())?;
    planes.fit("y", y.len(), y_stride, planes.area())?;
    let p = BoxSquareParams {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        half: half as u32,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.box_square_unchecked(p, x, y)
}

impl<T: Real> BoxSquare<T> for Cpu {
    fn box_square_unchecked(&self, p: BoxSquareParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let Planes { height, width, .. } = planes;
        let half = p.half as usize;
        let window = 2 * half + 1;
        let (zero, one) = (T::of(0.0), T::of(1.0));
        let size = T::of((window * window) as f64);
        let columns: Vec<usize> = (0..width + 2 * half).map(|c| mirror(c as i64 - half as i64, width)).collect();
        // A fused tap of value 1 is an addition.
        let along_row: Vec<(usize, T)> = (0..window).map(|j| (j, one)).collect();
        planes.pairs(x, p.x_stride, y, p.y_stride, planes.area(), |_, x, y| {
            let mut sums = vec![zero; x.len()];
            sums.par_chunks_mut(width).zip(x.par_chunks(width)).with_min_len(16).for_each_init(
                || vec![zero; width + 2 * half],
                |squares, (sum, row)| {
                    squares.iter_mut().zip(&columns).for_each(|(q, &c)| *q = row[c] * row[c]);
                    T::gather_taps(sum, squares, &along_row);
                },
            );
            y.par_chunks_mut(width).enumerate().with_min_len(16).for_each_init(Vec::new, |rows, (r, row)| {
                rows.clear();
                rows.extend((0..window).map(|i| (mirror((r + i) as i64 - half as i64, height) * width, one)));
                T::gather_taps(row, &sums, rows);
                for y in row {
                    *y = *y / size;
                }
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> BoxSquare<T> for gpu_core::Cuda {
    fn box_square_unchecked(&self, p: BoxSquareParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        use gpu_core::cuda::Grid;

        // A block makes 32 x 32 outputs.
        let grid = (Grid::cover(p.width as usize, 32)?, Grid::cover(p.height as usize, 32)?, p.count.max(1));
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("box_square_{}", T::NAME))?;
        let launch = kernel.read(x)?.write(y)?.arg(p).grid(grid).looping(2).block(super::cuda::BLOCK);
        // SAFETY: void box_square_T(const T* x, T* y, BoxSquareParams p); `box_square` has checked that every plane lies
        // inside its view and that the window fits into the kernel's shared memory.
        unsafe { launch.launch() }
    }
}
