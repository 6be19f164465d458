//! Binary opening with the cross of five pixels: a pixel stays where it lies in a cross of ones, `max` over the cross of
//! `min` over the cross.
//!
//! What lies outside of the picture is 0 for both steps, so the four corners of a picture of ones become 0. Values are
//! 0 and 1; exact.
//!
//! Floor: 2 bytes and 8 operations a pixel. An H200 takes 60.8 µs for 24 MP: 19 % of what it copies.

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
        // A row at a time with each neighbour, so that the loops are vectors.
        let with = |out: &mut [u8], other: Option<&[u8]>| match other {
            Some(other) => out.iter_mut().zip(other).for_each(|(out, v)| *out = f(*out, *v)),
            None => out.iter_mut().for_each(|out| *out = f(*out, 0)),
        };
        let row = |r: usize| (r < height).then(|| &x[r * width..][..width]);
        let own = &x[r * width..][..width];
        out.copy_from_slice(own);
        with(out, r.checked_sub(1).and_then(row));
        with(out, row(r + 1));
        with(&mut out[1..], Some(own));
        with(&mut out[..width - 1], Some(&own[1..]));
        with(&mut out[..1], None);
        with(&mut out[width - 1..], None);
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

#[cfg(feature = "cuda")]
impl OpenCross for gpu_core::Cuda {
    fn open_cross_unchecked(
        &self,
        p: OpenCrossParams,
        x: View<'_, Self, u8>,
        y: ViewMut<'_, Self, u8>,
        _work: ViewMut<'_, Self, u8>,
    ) -> Result<()> {
        // Rows that a thread works on.
        const DOWN: usize = 16;
        let launch = self
            .kernel(&super::cuda::KERNELS, "open_cross_u8")?
            .read(x)?
            .write(y)?
            .arg(p)
            .grid(super::cuda::pixels((p.height as usize).div_ceil(DOWN), p.width as usize, 1)?)
            .block(super::cuda::BLOCK);
        // SAFETY: void open_cross_u8(const unsigned char* x, unsigned char* y, OpenCrossParams p); lengths checked by
        // `open_cross`.
        unsafe { launch.launch() }
    }
}
