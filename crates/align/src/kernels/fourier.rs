//! What the transforms of one plane size need beforehand: factors, tables and, on a device, plans of its library.

use std::fmt;
use std::sync::Arc;

use gpu_core::{Backend, Cpu, Error, Result};
use num_complex::Complex32;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use super::product;

/// The largest size of the form 2^a 3^b 5^c 7^d that is at most `n`; even ones alone where asked for. 0 for no such.
pub fn good_size(n: usize, even: bool) -> usize {
    let smooth = |mut m: usize| {
        for factor in [2, 3, 5, 7] {
            while m.is_multiple_of(factor) {
                m /= factor;
            }
        }
        m == 1
    };
    (1..=n).rev().find(|&m| (!even || m.is_multiple_of(2)) && smooth(m)).unwrap_or(0)
}

/// A backend that can prepare transforms.
pub trait Fourier: Backend {
    #[doc(hidden)]
    type Prepared: fmt::Debug + Send + Sync;
    #[doc(hidden)]
    fn prepare(&self, height: usize, width: usize, library: bool) -> Result<Self::Prepared>;
    #[doc(hidden)]
    fn work_len(prepared: &Self::Prepared) -> usize;
    #[doc(hidden)]
    fn held_bytes(&self, height: usize, width: usize) -> usize {
        let _ = (height, width);
        0
    }
}

/// Prepared transforms for planes of one size, for [`fft_r2c`](super::fft_r2c) and [`fft_c2r`](super::fft_c2r).
/// Usable on every queue of the device.
#[derive(Debug)]
pub struct FourierPlan<B: Fourier> {
    height: usize,
    width: usize,
    prepared: B::Prepared,
}

impl<B: Fourier> FourierPlan<B> {
    /// Prepares transforms of planes of `height * width`, by the device's library where there is one.
    ///
    /// # Errors
    /// For an empty size or an odd width, and on a device without a library for sizes that are not of the form
    /// 2^a 3^b 5^c 7^d or whose columns do not fit its shared memory.
    pub fn new(b: &B, height: usize, width: usize) -> Result<Self> {
        Self::make(b, height, width, true)
    }

    /// As [`new`](Self::new), by this crate's kernels alone. On the CPU there is no other way.
    ///
    /// # Errors
    /// As [`new`](Self::new) on a device without a library.
    pub fn without_library(b: &B, height: usize, width: usize) -> Result<Self> {
        Self::make(b, height, width, false)
    }

    fn make(b: &B, height: usize, width: usize, library: bool) -> Result<Self> {
        if height == 0 || width == 0 || !width.is_multiple_of(2) || product(&[height, width, 8]).is_none() {
            return Err(Error::value("transform", format!("{height} x {width}: the width must be even")));
        }
        Ok(Self { height, width, prepared: b.prepare(height, width, library)? })
    }

    /// Rows and columns of a plane.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Columns of a half spectrum.
    pub fn half_width(&self) -> usize {
        self.width / 2 + 1
    }

    /// Complex elements of a half spectrum.
    pub fn area(&self) -> usize {
        self.height * self.half_width()
    }

    /// Complex elements of the workspace that a transform needs, however many planes there are.
    pub fn work_len(&self) -> usize {
        B::work_len(&self.prepared)
    }

    /// Bytes that a plan for this size holds on the device, beside the workspace that callers give; as far as that can be
    /// told before it is made.
    pub fn held_bytes(b: &B, height: usize, width: usize) -> usize {
        b.held_bytes(height, width)
    }

    pub(super) fn prepared(&self) -> &B::Prepared {
        &self.prepared
    }
}

/// The CPU's transforms.
pub struct CpuTransforms {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) rows_forward: Arc<dyn RealToComplex<f32>>,
    pub(super) rows_backward: Arc<dyn ComplexToReal<f32>>,
    pub(super) columns_forward: Arc<dyn Fft<f32>>,
    pub(super) columns_backward: Arc<dyn Fft<f32>>,
}

impl fmt::Debug for CpuTransforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuTransforms({} x {})", self.height, self.width)
    }
}

impl Fourier for Cpu {
    type Prepared = CpuTransforms;

    fn prepare(&self, height: usize, width: usize, _library: bool) -> Result<CpuTransforms> {
        let (mut real, mut complex) = (RealFftPlanner::<f32>::new(), FftPlanner::<f32>::new());
        Ok(CpuTransforms {
            height,
            width,
            rows_forward: real.plan_fft_forward(width),
            rows_backward: real.plan_fft_inverse(width),
            columns_forward: complex.plan_fft_forward(height),
            columns_backward: complex.plan_fft_inverse(height),
        })
    }

    fn work_len(prepared: &CpuTransforms) -> usize {
        prepared.height * (prepared.width / 2 + 1)
    }
}

/// Columns that are gathered together: a cache line of complex numbers.
const COLUMNS: usize = 8;
/// Rows that are scattered together.
const ROWS: usize = 16;

impl CpuTransforms {
    /// Transforms the columns of `z`, `[height, half]`, into `turned`, `[half, height]`.
    pub(super) fn columns(&self, fft: &Arc<dyn Fft<f32>>, z: &[Complex32], turned: &mut [Complex32]) {
        let (height, half) = (self.height, self.width / 2 + 1);
        turned[..half * height].par_chunks_mut(COLUMNS * height).enumerate().for_each_init(
            || vec![Complex32::ZERO; fft.get_inplace_scratch_len()],
            |scratch, (group, columns)| {
                let first = group * COLUMNS;
                let count = columns.len() / height;
                for (r, row) in z.chunks_exact(half).enumerate() {
                    for (c, &v) in row[first..first + count].iter().enumerate() {
                        columns[c * height + r] = v;
                    }
                }
                for column in columns.chunks_exact_mut(height) {
                    fft.process_with_scratch(column, scratch);
                }
            },
        );
    }

    /// Turns `[half, height]` back into `[height, half]`.
    pub(super) fn back(&self, turned: &[Complex32], z: &mut [Complex32]) {
        let (height, half) = (self.height, self.width / 2 + 1);
        z[..height * half].par_chunks_mut(ROWS * half).enumerate().for_each(|(group, rows)| {
            let first = group * ROWS;
            let count = rows.len() / half;
            for c in 0..half {
                let column = &turned[c * height + first..][..count];
                for (r, &v) in column.iter().enumerate() {
                    rows[r * half + c] = v;
                }
            }
        });
    }
}
