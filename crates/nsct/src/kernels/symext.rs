//! `symext`: half-sample symmetric extension for a filter of `p x q`.
//!
//! `y[i, j] = x[mir(i - ⌊q/2⌋ + s2 - 1, H), mir(j - ⌊p/2⌋ + s1 - 1, W)]`, of `(H + p - 1) x (W + q - 1)` elements. `p` and
//! `q` are crossed in the offsets, as in the published toolbox, so that only square filters make sense.
//!
//! A copy: both twins agree to the bit. The mirror is periodic, so that an image may be smaller than the extension,
//! where the published toolbox fails.
//!
//! Floor: `2 * size_of::<T>()` bytes a pixel of the output.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{MAX_FILTER_SIDE, Planes, mirror};
use crate::Real;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct SymextParams {
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
    /// `s2 - 1 - ⌊q/2⌋`, what row 0 of the output reads before the mirror.
    pub top: i64,
    /// `s1 - 1 - ⌊p/2⌋`, what column 0 of the output reads before the mirror.
    pub left: i64,
    /// Elements from one input plane to the next.
    pub x_stride: u64,
    /// Elements from one output plane to the next.
    pub y_stride: u64,
}

/// The operation on one backend.
pub trait Symext<T: Real>: Backend {
    #[doc(hidden)]
    fn symext_unchecked(&self, p: SymextParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()>;
}

/// Size of the result of [`symext`] for planes of this size and a filter of `p x q`.
///
/// # Errors
/// When the filter is empty or the result too large for 32-bit coordinates.
pub fn symext_size(planes: Planes, (p, q): (usize, usize)) -> Result<Planes> {
    // A filter is stretched by up to 2^40 before it comes here, but an image is no larger than 2^30.
    if p == 0 || q == 0 || p > MAX_FILTER_SIDE << 15 || q > MAX_FILTER_SIDE << 15 {
        return Err(Error::value("filter", format!("cannot extend for {p} x {q} elements")));
    }
    let out = Planes { height: planes.height + p - 1, width: planes.width + q - 1, ..planes };
    out.check()?;
    Ok(out)
}

/// Extends `planes.count` planes for a filter of `size = (p, q)` with `shift = (s1, s2)`; output planes have the size of
/// [`symext_size`].
///
/// # Errors
/// When the result is too large, or a view is too short for its planes.
pub fn symext<B: Symext<T>, T: Real>(
    b: &B,
    planes: Planes,
    size: (usize, usize),
    shift: (i64, i64),
    x: View<'_, B, T>,
    x_stride: usize,
    y: ViewMut<'_, B, T>,
    y_stride: usize,
) -> Result<()> {
    const MAX_SHIFT: u64 = 1 << 40;
    planes.check()?;
    let out = symext_size(planes, size)?;
    if shift.0.unsigned_abs() > MAX_SHIFT || shift.1.unsigned_abs() > MAX_SHIFT {
        return Err(Error::value("shift", format!("{shift:?} is beyond 2^40")));
    }
    planes.fit("x", x.len(), x_stride, planes.area())?;
    out.fit("y", y.len(), y_stride, out.area())?;
    let p = SymextParams {
        count: planes.count as u32,
        height: planes.height as u32,
        width: planes.width as u32,
        out_height: out.height as u32,
        out_width: out.width as u32,
        top: shift.1 - 1 - (size.1 / 2) as i64,
        left: shift.0 - 1 - (size.0 / 2) as i64,
        x_stride: x_stride as u64,
        y_stride: y_stride as u64,
    };
    b.symext_unchecked(p, x, y)
}

impl<T: Real> Symext<T> for Cpu {
    fn symext_unchecked(&self, p: SymextParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let (x, y) = (self.read(x)?, self.write(y)?);
        let planes = Planes { count: p.count as usize, height: p.height as usize, width: p.width as usize };
        let out_width = p.out_width as usize;
        let columns: Vec<usize> = (0..out_width).map(|j| mirror(j as i64 + p.left, planes.width)).collect();
        planes.pairs(x, p.x_stride, y, p.y_stride, p.out_height as usize * out_width, |_, x, y| {
            y.par_chunks_mut(out_width).enumerate().with_min_len(32).for_each(|(i, row)| {
                let source = &x[mirror(i as i64 + p.top, planes.height) * planes.width..][..planes.width];
                row.iter_mut().zip(&columns).for_each(|(y, &c)| *y = source[c]);
            });
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> Symext<T> for gpu_core::Cuda {
    fn symext_unchecked(&self, p: SymextParams, x: View<'_, Self, T>, y: ViewMut<'_, Self, T>) -> Result<()> {
        let out = Planes { count: p.count as usize, height: p.out_height as usize, width: p.out_width as usize };
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("symext_{}", T::NAME))?;
        let launch =
            kernel.read(x)?.write(y)?.arg(p).grid(super::cuda::pixels(out)?).looping(2).block(super::cuda::BLOCK);
        // SAFETY: void symext_T(const T* x, T* y, SymextParams p); `symext` has checked that every plane lies inside its
        // view, and the mirrored index always lies inside a plane.
        unsafe { launch.launch() }
    }
}
