//! Binary opening with the cross of five pixels: a pixel stays where it lies in a cross of ones, `max` over the cross of
//! `min` over the cross.
//!
//! What lies outside of the picture is 0 for both steps, so the four corners of a picture of ones become 0. Values are
//! 0 and 1; exact.
//!
//! Floor: 2 bytes and 8 operations a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, product, size32};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct OpenCrossParams {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// The operation on one backend.
pub trait OpenCross: Backend {
    #[doc(hidden)]
    fn open_cross_unchecked(
        &self,
        p: OpenCrossParams,
        x: View<'_, Self, u8>,
        y: ViewMut<'_, Self, u8>,
        work: ViewMut<'_, Self, u8>,
    ) -> Result<()>;
}

/// Opens `x`, `[height, width]`, into `y`; `work` is as large.
///
/// # Errors
/// When a view is too short.
pub fn open_cross<B: OpenCross>(
    b: &B,
    [height, width]: [usize; 2],
    x: View<'_, B, u8>,
    y: ViewMut<'_, B, u8>,
    work: ViewMut<'_, B, u8>,
) -> Result<()> {
    let need = product(&[height, width]);
    holds("x", need, x.len())?;
    holds("y", need, y.len())?;
    holds("work", need, work.len())?;
    b.open_cross_unchecked(
        OpenCrossParams { height: size32("height", height)?, width: size32("width", width)? },
        x,
        y,
        work,
    )
}

/// `out[y, x] = f` over the cross around each pixel, with 0 outside.
fn over_cross(x: &[u8], out: &mut [u8], width: usize, f: impl Fn(u8, u8) -> u8 + Sync) {
    let height = x.len() / width;
    out.par_chunks_exact_mut(width).enumerate().with_min_len(16).for_each(|(r, out)| {
        let at = |r: usize, c: usize| x[r * width + c];
        for (c, out) in out.iter_mut().enumerate() {
            let up = if r > 0 { at(r - 1, c) } else { 0 };
            let down = if r + 1 < height { at(r + 1, c) } else { 0 };
            let left = if c > 0 { at(r, c - 1) } else { 0 };
            let right = if c + 1 < width { at(r, c + 1) } else { 0 };
            *out = f(f(f(f(at(r, c), up), down), left), right);
        }
    });
}

impl OpenCross for Cpu {
    fn open_cross_unchecked(
        &self,
        p: OpenCrossParams,
        x: View<'_, Self, u8>,
        y: ViewMut<'_, Self, u8>,
        work: ViewMut<'_, Self, u8>,
    ) -> Result<()> {
        let (x, y, work) = (self.read(x)?, self.write(y)?, self.write(work)?);
        let (width, area) = (p.width as usize, p.height as usize * p.width as usize);
        if area == 0 {
            return Ok(());
        }
        over_cross(&x[..area], &mut work[..area], width, u8::min);
        over_cross(&work[..area], &mut y[..area], width, u8::max);
        Ok(())
    }
}
