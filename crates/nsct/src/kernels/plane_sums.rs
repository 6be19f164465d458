//! Sums over planes in a fixed order, first part: four figures of each chunk of 16 384 elements.
//!
//! With `v = x - shift_n` in `f64`: `Σ v`, `Σ |v|`, `Σ v²` and `max |v|`. Inside a chunk, lane `l` of 256 sums the
//! elements `l, l + 256, …` from 0; then lanes `l` and `l + 128` are added, then `l` and `l + 64`, down to one. Every
//! operation is rounded on its own; both twins agree to the bit. [`fold_sums`](super::fold_sums) makes the chunks'
//! figures those of the plane. The maximum passes over NaN, the sums do not.
//!
//! Floor: `size_of::<T>()` bytes a pixel.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Planes;
use crate::Real;

/// Elements of a chunk.
pub const SUM_CHUNK: usize = 1 << 14;
/// Figures of a chunk: sum, sum of magnitudes, sum of squares, largest magnitude.
pub const SUM_FIGURES: usize = 4;
/// Lanes of a chunk.
pub(super) const LANES: usize = 256;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PlaneSumsParams {
    /// Planes.
    pub count: u32,
    /// Chunks of a plane.
    pub chunks: u32,
    /// Elements of a plane.
    pub area: u64,
    /// Elements from one plane to the next.
    pub stride: u64,
}

/// The operation on one backend.
pub trait PlaneSums<T: Real>: Backend {
    #[doc(hidden)]
    fn plane_sums_unchecked(
        &self,
        p: PlaneSumsParams,
        shifts: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Figures of all chunks: `sums` is `[count, chunks, 4]` with `ceil(area / 16384)` chunks a plane.
///
/// # Errors
/// When there is no shift for every plane, or a view has another length than needed.
pub fn plane_sums<B: PlaneSums<T>, T: Real>(
    b: &B,
    planes: Planes,
    shifts: View<'_, B, f64>,
    x: View<'_, B, T>,
    stride: usize,
    sums: ViewMut<'_, B, f64>,
) -> Result<()> {
    planes.check()?;
    planes.fit("x", x.len(), stride, planes.area())?;
    if shifts.len() != planes.count {
        return Err(Error::shape("shifts", &[planes.count], &[shifts.len()]));
    }
    let chunks = planes.area().div_ceil(SUM_CHUNK);
    if sums.len() != planes.count * chunks * SUM_FIGURES {
        return Err(Error::shape("sums", &[planes.count, chunks, SUM_FIGURES], &[sums.len()]));
    }
    let p = PlaneSumsParams {
        count: planes.count as u32,
        chunks: chunks as u32,
        area: planes.area() as u64,
        stride: stride as u64,
    };
    b.plane_sums_unchecked(p, shifts, x, sums)
}

/// The figures of all lanes on their way to one.
pub(super) struct Lanes([[f64; LANES]; SUM_FIGURES]);

impl Lanes {
    pub(super) fn new() -> Self {
        Self([[0.0; LANES]; SUM_FIGURES])
    }

    #[inline(always)]
    pub(super) fn add(&mut self, lane: usize, figures: [f64; SUM_FIGURES]) {
        for k in 0..SUM_FIGURES - 1 {
            self.0[k][lane] += figures[k];
        }
        let largest = &mut self.0[SUM_FIGURES - 1][lane];
        *largest = if figures[SUM_FIGURES - 1] > *largest { figures[SUM_FIGURES - 1] } else { *largest };
    }

    /// Adds the upper half of the lanes to the lower, until one is left.
    pub(super) fn fold(mut self) -> [f64; SUM_FIGURES] {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                let upper = self.0.map(|values| values[lane + half]);
                self.add(lane, upper);
            }
            half /= 2;
        }
        self.0.map(|values| values[0])
    }
}

impl<T: Real> PlaneSums<T> for Cpu {
    fn plane_sums_unchecked(
        &self,
        p: PlaneSumsParams,
        shifts: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (shifts, x, sums) = (self.read(shifts)?, self.read(x)?, self.write(sums)?);
        let chunks = p.chunks as usize;
        sums.par_chunks_mut(SUM_FIGURES).enumerate().for_each(|(i, out)| {
            let (n, chunk) = (i / chunks, i % chunks);
            let plane = &x[n * p.stride as usize..][..p.area as usize];
            let elements = &plane[chunk * SUM_CHUNK..plane.len().min((chunk + 1) * SUM_CHUNK)];
            let mut lanes = Lanes::new();
            for line in elements.chunks(LANES) {
                for (lane, &x) in line.iter().enumerate() {
                    let v = x.to_f64() - shifts[n];
                    lanes.add(lane, [v, v.abs(), v * v, v.abs()]);
                }
            }
            out.copy_from_slice(&lanes.fold());
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Real> PlaneSums<T> for gpu_core::Cuda {
    fn plane_sums_unchecked(
        &self,
        p: PlaneSumsParams,
        shifts: View<'_, Self, f64>,
        x: View<'_, Self, T>,
        sums: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        if p.count == 0 {
            return Ok(());
        }
        let kernel = self.kernel(&super::cuda::KERNELS, &format!("plane_sums_{}", T::NAME))?;
        let launch = kernel
            .read(shifts)?
            .read(x)?
            .write(sums)?
            .arg(p)
            .grid((p.chunks, p.count, 1))
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void plane_sums_T(const double* shifts, const T* x, double* sums, PlaneSumsParams p); `plane_sums` has
        // checked that every plane lies inside its view, and that there is a shift and room for it.
        unsafe { launch.launch() }
    }
}
