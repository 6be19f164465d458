//! `x[p, r, c] = 1/(H W) Σ_k Σ_l z[p, k, l] exp(2πi (k r / H + l c / W))`: the inverse of [`fft_r2c`](super::fft_r2c).
//!
//! `z` is a half spectrum; the other half is its mirrored conjugate, and imaginary parts that a real plane cannot have
//! are taken as 0. Rows of `x` are dense. The relative error in the L2 norm is at most `4e-7 log2(H W)`.
//!
//! Floor: `2.5 H W log2(H W)` flop and 8 bytes an element. An H200 takes 78.3 µs for 24 MP: 15 % of what it copies by
//! cuFFT, 12 % (92.7 µs) by our own kernels.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use num_complex::Complex32;
use rayon::prelude::*;

use super::fourier::{Fourier, FourierPlan};
use super::{holds, product};

/// The operation on one backend.
pub trait FftC2r: Fourier {
    #[doc(hidden)]
    fn fft_c2r_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        z: View<'_, Self, Complex32>,
        x: ViewMut<'_, Self, f32>,
        work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()>
    where
        Self: Backend;
}

/// Transforms `planes` half spectra back; `work` has [`FourierPlan::work_len`] elements.
///
/// # Errors
/// When a view is too short.
pub fn fft_c2r<B: FftC2r>(
    b: &B,
    plan: &FourierPlan<B>,
    planes: usize,
    z: View<'_, B, Complex32>,
    x: ViewMut<'_, B, f32>,
    work: ViewMut<'_, B, Complex32>,
) -> Result<()> {
    let [height, width] = plan.size();
    holds("z", product(&[planes, plan.area()]), z.len())?;
    holds("x", product(&[planes, height, width]), x.len())?;
    holds("work", Some(plan.work_len()), work.len())?;
    b.fft_c2r_unchecked(planes, plan, z, x, work)
}

impl FftC2r for Cpu {
    fn fft_c2r_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        z: View<'_, Self, Complex32>,
        x: ViewMut<'_, Self, f32>,
        work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()> {
        let (z, x, work) = (self.read(z)?, self.write(x)?, self.write(work)?);
        let t = plan.prepared();
        let (height, width, half, area) = (t.height, t.width, plan.half_width(), plan.area());
        let scale = (1.0 / (height as f64 * width as f64)) as f32;
        for (z, x) in z.chunks_exact(area).zip(x.chunks_exact_mut(height * width)).take(planes) {
            t.columns(&t.columns_backward, z, work);
            let turned = &*work;
            // Sixteen rows at a time: their elements lie together in the turned spectrum.
            x.par_chunks_mut(16 * width).enumerate().for_each_init(
                || (vec![Complex32::ZERO; 16 * half], t.rows_backward.make_scratch_vec()),
                |(lines, scratch), (group, rows)| {
                    let (first, count) = (16 * group, rows.len() / width);
                    for c in 0..half {
                        let column = &turned[c * height + first..][..count];
                        for (r, &v) in column.iter().enumerate() {
                            lines[r * half + c] = v * scale;
                        }
                    }
                    for (line, row) in lines.chunks_exact_mut(half).zip(rows.chunks_exact_mut(width)) {
                        line[0].im = 0.0;
                        line[half - 1].im = 0.0;
                        let done = t.rows_backward.process_with_scratch(line, row, scratch);
                        debug_assert!(done.is_ok());
                    }
                },
            );
        }
        Ok(())
    }
}
