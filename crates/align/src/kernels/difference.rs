//! `L[y, x] = Σ_c |g(a[c]) − g(gain · b[c])|` with `g(v) = v^(1/2.2)` for `v > 0` and `v` otherwise, and per row
//! `loss[y] = Σ_x Σ_c |a[c] − loss_gain · b[c]|`, over a rectangle of two pictures.
//!
//! The power is the only step that a backend may round in its own way (its library's `powf`, at most 4 units of the
//! last place); products, differences and the sum over colours are rounded alone in `f32`. `loss` adds the exact
//! magnitudes of `f32` differences in `f64`, per colour in 32 lanes folded by halves, red before green before blue.
//!
//! Floor: 24 bytes in and 4 out a pixel; the six powers decide. An H200 takes 225 µs for 24 MP: 71 % of what it
//! copies.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use multiversion::multiversion;
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::gamma::gamma;
use super::{holds, lane_sum, product, size32};
use crate::Rect;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct DifferenceParams {
    /// Rows of a picture.
    pub height: u32,
    /// Columns of a picture.
    pub width: u32,
    /// First row in `a`.
    pub a_top: u32,
    /// First column in `a`.
    pub a_left: u32,
    /// First row in `b`.
    pub b_top: u32,
    /// First column in `b`.
    pub b_left: u32,
    /// Rows to compare.
    pub rows: u32,
    /// Columns to compare.
    pub columns: u32,
    /// What `b` is multiplied by for the differences.
    pub gain: f32,
    /// What it is multiplied by for the loss.
    pub loss_gain: f32,
}

/// The operation on one backend.
pub trait Difference: Backend {
    #[doc(hidden)]
    fn difference_unchecked(
        &self,
        p: DifferenceParams,
        a: View<'_, Self, f32>,
        b: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
        loss: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Compares a rectangle of `a` with one of the same size of `b`, which is multiplied by `gain` for the differences and by
/// `loss_gain` for the loss; both pictures are `[3, height, width]`.
///
/// # Errors
/// When a rectangle is not inside, their sizes differ, or a view is too short.
pub fn difference<B: Difference>(
    backend: &B,
    [height, width]: [usize; 2],
    (a, from_a): (View<'_, B, f32>, Rect),
    (b, from_b): (View<'_, B, f32>, Rect),
    [gain, loss_gain]: [f32; 2],
    out: ViewMut<'_, B, f32>,
    loss: ViewMut<'_, B, f64>,
) -> Result<()> {
    let inside = |r: Rect| r.top + r.height <= height && r.left + r.width <= width;
    if !inside(from_a) || !inside(from_b) || (from_a.height, from_a.width) != (from_b.height, from_b.width) {
        return Err(Error::value("rectangles", format!("{from_a:?} and {from_b:?} in {height} x {width}")));
    }
    let need = product(&[3, height, width]);
    holds("a", need, a.len())?;
    holds("b", need, b.len())?;
    holds("difference", product(&[from_a.height, from_a.width]), out.len())?;
    holds("loss", Some(from_a.height), loss.len())?;
    let p = DifferenceParams {
        height: size32("height", height)?,
        width: size32("width", width)?,
        a_top: from_a.top as u32,
        a_left: from_a.left as u32,
        b_top: from_b.top as u32,
        b_left: from_b.left as u32,
        rows: from_a.height as u32,
        columns: from_a.width as u32,
        gain,
        loss_gain,
    };
    backend.difference_unchecked(p, a, b, out, loss)
}

/// `out[x] += |g(a[x]) − g(gain · b[x])|`.
#[multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2", "aarch64+neon"))]
fn add_row(out: &mut [f32], a: &[f32], b: &[f32], gain: f32) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out += (gamma(a) - gamma(gain * b)).abs();
    }
}

impl Difference for Cpu {
    fn difference_unchecked(
        &self,
        p: DifferenceParams,
        a: View<'_, Self, f32>,
        b: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
        loss: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (a, b, out, loss) = (self.read(a)?, self.read(b)?, self.write(out)?, self.write(loss)?);
        let (area, width, columns) = ((p.height * p.width) as usize, p.width as usize, p.columns as usize);
        if columns == 0 {
            return Ok(());
        }
        let rows = out[..p.rows as usize * columns].par_chunks_exact_mut(columns).zip(loss);
        rows.enumerate().for_each(|(y, (out, loss))| {
            out.fill(0.0);
            *loss = 0.0;
            for c in 0..3 {
                let a = &a[c * area + (p.a_top as usize + y) * width + p.a_left as usize..][..columns];
                let b = &b[c * area + (p.b_top as usize + y) * width + p.b_left as usize..][..columns];
                add_row(out, a, b, p.gain);
                *loss += lane_sum(columns, |x| f64::from((a[x] - p.loss_gain * b[x]).abs()));
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Difference for gpu_core::Cuda {
    fn difference_unchecked(
        &self,
        p: DifferenceParams,
        a: View<'_, Self, f32>,
        b: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f32>,
        loss: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        if p.columns == 0 {
            return Ok(());
        }
        let launch = self
            .kernel(&super::cuda::KERNELS, "difference_f32")?
            .read(a)?
            .read(b)?
            .write(out)?
            .write(loss)?
            .arg(p)
            .grid(super::cuda::warps(p.rows as usize, 1)?)
            .block(super::cuda::LINE);
        // SAFETY: void difference_f32(const float* a, const float* b, float* out, double* loss, DifferenceParams p); the
        // rectangles lie inside of the pictures, lengths checked by `difference`.
        unsafe { launch.launch() }
    }
}
