//! `mean[p] = Σ w_y(r) w_x(c) v[p, r, c] / Σ w_y(r) w_x(c)` over the piece of each plane that is transformed.
//!
//! Products and sums in `f64`: each row's terms `v · w_x` in 32 lanes that are folded by halves (see `lane_sum`), then
//! the rows, multiplied by `w_y`, in the same way; the division is last. Products of two `f32` are exact in `f64`, so
//! twins agree to the bit.
//!
//! Floor: 4 bytes and 2 operations a pixel. An H200 takes 46.9 µs for 24 MP: 12 % of what it copies.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{holds, lane_sum, product, size32};

/// What the kernels [`window_sums`] and [`window_apply`](super::window_apply) get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct WindowParams {
    /// Planes.
    pub planes: u32,
    /// Rows of a plane.
    pub height: u32,
    /// Columns of a plane.
    pub width: u32,
    /// First row of the piece.
    pub top: u32,
    /// First column of the piece.
    pub left: u32,
    /// Rows of the piece.
    pub rows: u32,
    /// Columns of the piece.
    pub columns: u32,
    /// Keeps the following field at a multiple of 8 bytes.
    pub reserved: u32,
    /// `Σ w_y Σ w_x`.
    pub total: f64,
}

/// The Tukey window of a piece cut from the middle of planes, in the memory of a device.
#[derive(Debug)]
pub struct Window<B: Backend> {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    total: f64,
    pub(super) vertical: Tensor<B, f32, 1>,
    pub(super) horizontal: Tensor<B, f32, 1>,
}

/// `n` values of a window of `length` from `start` on. At `t = i + 1/2 − start`: `(1 − cos(π t / e)) / 2` for
/// `t < e = alpha · length / 2`, mirrored at the other end, else 1; 0 outside.
fn tukey(n: usize, (start, length): (f64, f64), alpha: f64) -> Vec<f32> {
    let e = alpha * length / 2.0;
    let at = |i: usize| {
        let t = i as f64 + 0.5 - start;
        let t = t.min(length - t);
        if t <= 0.0 {
            0.0
        } else if t < e {
            (1.0 - (std::f64::consts::PI * t / e).cos()) / 2.0
        } else {
            1.0
        }
    };
    (0..n).map(|i| at(i) as f32).collect()
}

impl<B: Backend> Window<B> {
    /// A window of `rows * columns` in the middle of planes of `height * width`. Usable on every queue of the device.
    ///
    /// # Errors
    /// When the piece is empty or larger than the plane.
    pub fn new(b: &B, plane: [usize; 2], piece: [usize; 2], alpha: f64) -> Result<Self> {
        Self::part(b, plane, piece, ([0.0; 2], piece.map(|n| n as f64)), alpha)
    }

    /// A window over a part of the piece, `length` rows and columns from `start` on, in pixels and fractions of them; the
    /// rest of the piece gets 0.
    ///
    /// # Errors
    /// When the piece is empty or larger than the plane, or the part is shorter than two pixels or
    /// not within the piece.
    pub fn part(
        b: &B,
        [height, width]: [usize; 2],
        [rows, columns]: [usize; 2],
        (start, length): ([f64; 2], [f64; 2]),
        alpha: f64,
    ) -> Result<Self> {
        if rows == 0 || columns == 0 || rows > height || columns > width || !(0.0..=1.0).contains(&alpha) {
            let why = format!("{rows} x {columns} with alpha {alpha} does not fit into {height} x {width}");
            return Err(Error::value("window", why));
        }
        // A part of two pixels has one that is not at its rim, where windows are 0.
        let fits = |(k, n): (usize, usize)| {
            let n = n as f64;
            start[k] >= 0.0 && length[k] >= n.min(2.0) && start[k] + length[k] <= n + 1e-6
        };
        if ![rows, columns].into_iter().enumerate().all(fits) {
            let why = format!("{length:?} from {start:?} on do not fit into {rows} x {columns}");
            return Err(Error::value("window", why));
        }
        let vertical = tukey(rows, (start[0], length[0]), alpha);
        let horizontal = tukey(columns, (start[1], length[1]), alpha);
        let sum = |w: &[f32]| w.iter().map(|&v| f64::from(v)).sum::<f64>();
        Ok(Self {
            height,
            width,
            rows,
            columns,
            total: sum(&vertical) * sum(&horizontal),
            vertical: Tensor::from_slice(b, [rows], &vertical)?.share(b)?,
            horizontal: Tensor::from_slice(b, [columns], &horizontal)?.share(b)?,
        })
    }

    /// Rows and columns of the piece.
    pub fn size(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    pub(super) fn params(&self, planes: usize) -> Result<WindowParams> {
        Ok(WindowParams {
            planes: size32("planes", planes)?,
            height: size32("height", self.height)?,
            width: size32("width", self.width)?,
            top: ((self.height - self.rows) / 2) as u32,
            left: ((self.width - self.columns) / 2) as u32,
            rows: self.rows as u32,
            columns: self.columns as u32,
            reserved: 0,
            total: self.total,
        })
    }
}

/// The operation on one backend.
pub trait WindowSums: Backend {
    #[doc(hidden)]
    fn window_sums_unchecked(
        &self,
        p: WindowParams,
        window: &Window<Self>,
        proxy: View<'_, Self, f32>,
        mean: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// The window-weighted mean of each of `planes` planes.
///
/// # Errors
/// When a view is too short.
pub fn window_sums<B: WindowSums>(
    b: &B,
    window: &Window<B>,
    planes: usize,
    proxy: View<'_, B, f32>,
    mean: ViewMut<'_, B, f64>,
) -> Result<()> {
    holds("proxy", product(&[planes, window.height, window.width]), proxy.len())?;
    holds("mean", Some(planes), mean.len())?;
    b.window_sums_unchecked(window.params(planes)?, window, proxy, mean)
}

impl WindowSums for Cpu {
    fn window_sums_unchecked(
        &self,
        p: WindowParams,
        window: &Window<Self>,
        proxy: View<'_, Self, f32>,
        mean: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (proxy, mean) = (self.read(proxy)?, self.write(mean)?);
        let (wy, wx) = (self.read(window.vertical.flat())?, self.read(window.horizontal.flat())?);
        let (height, width) = (p.height as usize, p.width as usize);
        for (plane, mean) in proxy.chunks_exact(height * width).zip(&mut mean[..p.planes as usize]) {
            let sums: Vec<f64> = (0..wy.len())
                .into_par_iter()
                .with_min_len(16)
                .map(|r| {
                    let row = &plane[(p.top as usize + r) * width + p.left as usize..][..wx.len()];
                    lane_sum(wx.len(), |c| f64::from(row[c]) * f64::from(wx[c]))
                })
                .collect();
            *mean = lane_sum(wy.len(), |r| f64::from(wy[r]) * sums[r]) / p.total;
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl WindowSums for gpu_core::Cuda {
    fn window_sums_unchecked(
        &self,
        p: WindowParams,
        window: &Window<Self>,
        proxy: View<'_, Self, f32>,
        mean: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (planes, height) = (p.planes as usize, p.rows as usize);
        let mut rows = Tensor::<Self, f64, 2>::scratch(self, [planes, height])?;
        let of_rows = self
            .kernel(&super::cuda::KERNELS, "window_rows_f32")?
            .read(proxy)?
            .read(window.horizontal.flat())?
            .write(rows.flat_mut())?
            .arg(p)
            .grid(super::cuda::warps(height, planes)?)
            .looping(1)
            .block(super::cuda::LINE);
        // SAFETY: void window_rows_f32(const float* proxy, const float* wx, double* rows, WindowParams p); the piece lies
        // inside of each plane, lengths checked by `window_sums`.
        unsafe { of_rows.launch()? };
        let fold = self
            .kernel(&super::cuda::KERNELS, "window_fold_f32")?
            .read(rows.flat())?
            .read(window.vertical.flat())?
            .write(mean)?
            .arg(p)
            .grid(super::cuda::warps(planes, 1)?)
            .block(super::cuda::LINE);
        // SAFETY: void window_fold_f32(const double* rows, const float* wy, double* mean, WindowParams p); as above.
        unsafe { fold.launch() }
    }
}
