//! `z[p, k, l] = Σ_r Σ_c x[p, r, c] exp(−2πi (k r / H + l c / W))` for `l = 0 … W / 2`: real forward transforms.
//!
//! The relative error in the L2 norm is at most `4e-7 log2(H W)`.
//! The order of operations belongs to the library of each backend and to the size, never to the number of planes.
//!
//! Floor: `2.5 H W log2(H W)` flop and 8 bytes an element. An H200 takes 62.6 µs for 24 MP: 18 % of what it copies by
//! cuFFT, 14 % (80.4 µs) by our own kernels.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use num_complex::Complex32;
use rayon::prelude::*;

use super::fourier::{Fourier, FourierPlan};
use super::{holds, product};

/// The operation on one backend.
pub trait FftR2c: Fourier {
    #[doc(hidden)]
    fn fft_r2c_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        x: View<'_, Self, f32>,
        z: ViewMut<'_, Self, Complex32>,
        work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()>
    where
        Self: Backend;
}

/// Transforms `planes` planes; `work` has [`FourierPlan::work_len`] elements.
///
/// # Errors
/// When a view is too short.
pub fn fft_r2c<B: FftR2c>(
    b: &B,
    plan: &FourierPlan<B>,
    planes: usize,
    x: View<'_, B, f32>,
    z: ViewMut<'_, B, Complex32>,
    work: ViewMut<'_, B, Complex32>,
) -> Result<()> {
    holds("x", product(&[planes, plan.size()[0], plan.size()[1]]), x.len())?;
    holds("z", product(&[planes, plan.area()]), z.len())?;
    holds("work", Some(plan.work_len()), work.len())?;
    b.fft_r2c_unchecked(planes, plan, x, z, work)
}

impl FftR2c for Cpu {
    fn fft_r2c_unchecked(
        &self,
        planes: usize,
        plan: &FourierPlan<Self>,
        x: View<'_, Self, f32>,
        z: ViewMut<'_, Self, Complex32>,
        work: ViewMut<'_, Self, Complex32>,
    ) -> Result<()> {
        let (x, z, work) = (self.read(x)?, self.write(z)?, self.write(work)?);
        let t = plan.prepared();
        let (width, half, area) = (t.width, plan.half_width(), plan.area());
        for (x, z) in x.chunks_exact(t.height * width).zip(z.chunks_exact_mut(area)).take(planes) {
            z.par_chunks_exact_mut(half).zip(x.par_chunks_exact(width)).with_min_len(16).for_each_init(
                || (t.rows_forward.make_input_vec(), t.rows_forward.make_scratch_vec()),
                |(line, scratch), (z, x)| {
                    line.copy_from_slice(x);
                    // All lengths are those of the plan, which is what this call could complain about.
                    let done = t.rows_forward.process_with_scratch(line, z, scratch);
                    debug_assert!(done.is_ok());
                },
            );
            t.columns(&t.columns_forward, z, work);
            t.back(work, z);
        }
        Ok(())
    }
}
