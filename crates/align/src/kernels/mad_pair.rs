//! `out[t] = mean |a(y + dy, x + dx) − gain · b(y, x)|` over the pixels that both planes have.
//!
//! Differences in `f32` (product, then difference, each rounded), their magnitudes added in `f64`: a row in 32 lanes
//! folded by halves, then the rows likewise. Twins agree to the bit. 0 where the planes do not overlap.
//!
//! Floor: 8 bytes and 4 operations a pixel. An H200 takes 48.7 µs for 24 MP: 23 % of what it copies.

use bytemuck::{Pod, Zeroable};
use gpu_core::{Backend, Cpu, Result, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, lane_sum, product, size32};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct MadParams {
    /// Comparisons.
    pub count: u32,
    /// Rows of a plane.
    pub height: u32,
    /// Columns of a plane.
    pub width: u32,
}

/// One comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MadTask {
    /// Index of plane `a`.
    pub a: u32,
    /// Index of plane `b`.
    pub b: u32,
    /// Rows that `a` is ahead.
    pub dy: i32,
    /// Columns that `a` is ahead.
    pub dx: i32,
    /// What `b` is multiplied by.
    pub gain: f32,
}

/// The operation on one backend.
pub trait MadPair: Backend {
    #[doc(hidden)]
    fn mad_pair_unchecked(
        &self,
        p: MadParams,
        tasks: View<'_, Self, MadTask>,
        planes: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Compares planes of `height * width`; `count` is how many there are.
///
/// # Errors
/// When a view is too short. The indices are on the device and are the caller's duty.
pub fn mad_pair<B: MadPair>(
    b: &B,
    [count, height, width]: [usize; 3],
    tasks: View<'_, B, MadTask>,
    planes: View<'_, B, f32>,
    out: ViewMut<'_, B, f64>,
) -> Result<()> {
    holds("planes", product(&[count, height, width]), planes.len())?;
    holds("differences", Some(tasks.len()), out.len())?;
    let p = MadParams {
        count: size32("count", tasks.len())?,
        height: size32("height", height)?,
        width: size32("width", width)?,
    };
    b.mad_pair_unchecked(p, tasks, planes, out)
}

#[cfg(feature = "cuda")]
impl MadPair for gpu_core::Cuda {
    fn mad_pair_unchecked(
        &self,
        p: MadParams,
        tasks: View<'_, Self, MadTask>,
        planes: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;
        let (count, height) = (p.count as usize, p.height as usize);
        let mut rows = gpu_core::Tensor::<Self, f64, 2>::scratch(self, [count, height])?;
        let of_rows = self
            .kernel(&super::cuda::KERNELS, "mad_rows_f32")?
            .read(tasks)?
            .read(planes)?
            .write(rows.flat_mut())?
            .arg(p)
            .grid((p.count, Grid::cover(height, 8)?, 1))
            .looping(0)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void mad_rows_f32(const MadTask* tasks, const float* planes, double* rows, MadParams p); lengths
        // checked by `mad_pair`, whose caller answers for the indices.
        unsafe { of_rows.launch()? };
        let fold = self
            .kernel(&super::cuda::KERNELS, "mad_fold_f32")?
            .read(tasks)?
            .read(rows.flat())?
            .write(out)?
            .arg(p)
            .grid(super::cuda::warps(count, 1)?)
            .block(super::cuda::LINE);
        // SAFETY: void mad_fold_f32(const MadTask* tasks, const double* rows, double* out, MadParams p); as above.
        unsafe { fold.launch() }
    }
}

/// First index of `b` and how many follow that have a partner.
pub(crate) fn common(n: usize, d: i32) -> (usize, usize) {
    let size = d.unsigned_abs() as usize;
    (if d < 0 { size } else { 0 }, n.saturating_sub(size))
}

impl MadPair for Cpu {
    fn mad_pair_unchecked(
        &self,
        p: MadParams,
        tasks: View<'_, Self, MadTask>,
        planes: View<'_, Self, f32>,
        out: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (tasks, planes, out) = (self.read(tasks)?, self.read(planes)?, self.write(out)?);
        let (height, width) = (p.height as usize, p.width as usize);
        for (task, out) in tasks.iter().zip(out) {
            let ((top, rows), (left, columns)) = (common(height, task.dy), common(width, task.dx));
            let plane = |i: u32| &planes[i as usize * height * width..][..height * width];
            let (a, b) = (plane(task.a), plane(task.b));
            let sums: Vec<f64> = (0..if columns == 0 { 0 } else { rows })
                .into_par_iter()
                .with_min_len(16)
                .map(|r| {
                    let y = top + r;
                    let from = (y as i64 + i64::from(task.dy)) as usize * width;
                    let a = &a[from + (left as i64 + i64::from(task.dx)) as usize..][..columns];
                    let b = &b[y * width + left..][..columns];
                    lane_sum(columns, |c| f64::from((a[c] - task.gain * b[c]).abs()))
                })
                .collect();
            let n = (sums.len() * columns) as f64;
            *out = if n > 0.0 { lane_sum(sums.len(), |r| sums[r]) / n } else { 0.0 };
        }
        Ok(())
    }
}
