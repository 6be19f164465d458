//! The operations that the transform is made of, one page each: formula, checked entry, CPU twin, CUDA twin.
//!
//! Images are planes of `height * width` elements, row-major. A batch of planes lies in one buffer at a constant
//! distance, the *stride*, so that an operation can read or write one subband of every image of a coefficient tensor.

mod atrousc;
mod bivariate;
mod box_square;
mod dct2;
mod dense_filter;
mod digit_counts;
mod efilter2;
mod fold_sums;
mod fourier;
#[cfg(feature = "cuda")]
mod fourier_cuda;
mod fuse_mean;
mod fuse_scored;
mod fuse_select;
mod hard_threshold;
mod idct2;
mod irfft2;
mod mirror_map;
mod pair_mix;
mod plane_histogram;
mod plane_sums;
mod poly_pair;
mod rfft2;
mod symext;
mod taps;
mod tree_analysis;
mod tree_synthesis;
mod zconv2;

use gpu_core::{Backend, Error, Result};
use rayon::prelude::*;

use crate::Real;

pub use atrousc::{Atrousc, AtrouscParams, atrousc, atrousc_size};
pub use bivariate::{Bivariate, BivariateParams, bivariate};
pub use box_square::{BoxSquare, BoxSquareParams, MAX_HALF_WINDOW, box_square};
pub use dct2::{Dct2, Dct2Params, dct2};
pub use dense_filter::{DenseFilter, MAX_FILTER_SIDE};
pub use digit_counts::{DIGIT_BITS, DIGIT_VALUES, Digit, DigitCounts, DigitCountsParams, digit_counts};
pub use efilter2::{Efilter2, Efilter2Params, efilter2};
pub use fold_sums::{FoldSums, FoldSumsParams, fold_sums};
pub use fourier::{CpuPrepared, Fourier, FourierPlan};
pub use fuse_mean::{FuseMean, FuseMeanParams, fuse_mean};
pub use fuse_scored::{FuseScored, FuseScoredParams, Scored, fuse_scored};
pub use fuse_select::{FuseSelect, FuseSelectParams, fuse_select};
pub use hard_threshold::{HardThreshold, HardThresholdParams, hard_threshold};
pub use idct2::{Idct2, Idct2Params, idct2};
pub use irfft2::{Irfft2, Irfft2Params, irfft2};
pub use mirror_map::{MirrorMap, MirrorMapParams, mirror_map};
pub use pair_mix::{PairMix, PairMixParams, pair_mix};
pub use plane_histogram::{HISTOGRAM_BINS, PlaneHistogram, PlaneHistogramParams, plane_histogram};
pub use plane_sums::{PlaneSums, PlaneSumsParams, SUM_CHUNK, SUM_FIGURES, plane_sums};
pub use poly_pair::{PolyPair, PolyPairParams, poly_pair};
pub use rfft2::{Rfft2, Rfft2Params, rfft2};
pub use symext::{Symext, SymextParams, symext, symext_size};
pub use taps::{TapTable, Taps, TapsParams, taps};
pub use tree_analysis::{TreeAnalysis, TreeParams, tree_analysis};
pub use tree_synthesis::{TreeSynthesis, tree_synthesis};
pub use zconv2::{Zconv2, Zconv2Params, zconv2};

macro_rules! operations {
    ($($operation:ident),* $(,)?) => {
        /// Every operation that the transform needs, on one backend: the only bound of its algorithms.
        pub trait NsctBackend<T: Real>: Backend + FoldSums $(+ $operation<T>)* {}
        impl<T: Real, B: Backend + FoldSums $(+ $operation<T>)*> NsctBackend<T> for B {}
    };
}
operations![
    Dct2,
    Idct2,
    Rfft2,
    Irfft2,
    TreeAnalysis,
    TreeSynthesis,
    Taps,
    MirrorMap,
    PolyPair,
    PairMix,
    Zconv2,
    Atrousc,
    Symext,
    Efilter2,
    HardThreshold,
    BoxSquare,
    Bivariate,
    FuseSelect,
    FuseMean,
    FuseScored,
    PlaneSums,
    PlaneHistogram,
    DigitCounts,
];

/// How many planes an operation works on, and their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Number of planes (batch times channels).
    pub count: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Planes {
    /// Elements of one plane.
    pub fn area(&self) -> usize {
        self.height * self.width
    }

    /// Planes whose shape does not matter.
    pub(crate) fn line(count: u32, area: u64) -> Self {
        Self { count: count as usize, height: 1, width: area as usize }
    }

    /// Refuses empty images, and sizes and counts that 32-bit coordinates cannot hold.
    pub(crate) fn check(&self) -> Result<()> {
        if u32::try_from(self.count).is_err() {
            return Err(Error::value("count", format!("{} planes are more than one call takes", self.count)));
        }
        if self.height == 0 || self.width == 0 {
            return Err(Error::value("image", format!("{} x {} has no pixels", self.height, self.width)));
        }
        if self.height > i32::MAX as usize / 2 || self.width > i32::MAX as usize / 2 {
            return Err(Error::value("image", format!("{} x {} is too large", self.height, self.width)));
        }
        Ok(())
    }

    /// Checks that `len` elements hold every plane at this stride, `each` elements apart from a plane's start.
    pub(crate) fn fit(&self, what: &'static str, len: usize, stride: usize, each: usize) -> Result<()> {
        if self.count > 1 && stride < each {
            return Err(Error::value(what, format!("planes of {each} elements overlap at a stride of {stride}")));
        }
        let need = match self.count {
            0 => 0,
            n => (n - 1).checked_mul(stride).and_then(|v| v.checked_add(each)).unwrap_or(usize::MAX),
        };
        if len < need { Err(Error::shape(what, &[need], &[len])) } else { Ok(()) }
    }

    /// Runs `f` on every pair of an input and an output plane; for CPU twins, behind `fit`. The output handed to `f` has
    /// `each` elements.
    pub(crate) fn pairs<T: Real>(
        self,
        x: &[T],
        x_stride: u64,
        y: &mut [T],
        y_stride: u64,
        each: usize,
        f: impl Fn(usize, &[T], &mut [T]) + Sync,
    ) {
        // Large planes go one after the other, so that all threads share one working set.
        const LARGE: usize = 1 << 15;
        let area = self.area();
        // The stride of a single plane has no meaning and may be 0.
        let y_stride = (y_stride as usize).max(each);
        let plane = |(n, y): (usize, &mut [T])| f(n, &x[n * x_stride as usize..][..area], &mut y[..each]);
        if area >= LARGE {
            y.chunks_mut(y_stride).take(self.count).enumerate().for_each(plane);
        } else {
            let together = (2048 / area.max(1)).max(1);
            y.par_chunks_mut(y_stride).take(self.count).enumerate().with_min_len(together).for_each(plane);
        }
    }
}

/// Elements that one thread of an element-wise CPU twin works on at a time.
const CHUNK: usize = 4096;

/// Rows for a thread to take together, so that handing them over costs little beside `work` operations a row.
fn rows_a_task(work: usize) -> usize {
    ((1 << 15) / work.max(1)).max(1)
}

/// Index of a half-sample symmetric extension, defined for every `i`: `… 1 0 | 0 1 … n-1 | n-1 n-2 …`.
pub fn mirror(i: i64, n: usize) -> usize {
    let n = n as i64;
    let j = i.rem_euclid(2 * n);
    (if j < n { j } else { 2 * n - 1 - j }) as usize
}

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::KERNELS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels and the launch shape that most of them share.
    use gpu_core::Result;
    use gpu_core::cuda::Grid;

    use super::Planes;

    gpu_core::kernels! {
        pub(crate) static KERNELS = [
            ("taps", ["sm_75"]),
            ("mirror_map", ["sm_75"]),
            ("poly_pair", ["sm_75"]),
            ("pair_mix", ["sm_75"]),
            ("zconv2", ["sm_75"]),
            ("atrousc", ["sm_75"]),
            ("symext", ["sm_75"]),
            ("efilter2", ["sm_75"]),
            ("hard_threshold", ["sm_75"]),
            ("box_square", ["sm_75"]),
            ("bivariate", ["sm_75"]),
            ("fuse_select", ["sm_75"]),
            ("fuse_mean", ["sm_75"]),
            ("fuse_scored", ["sm_75"]),
            ("plane_sums", ["sm_75"]),
            ("fold_sums", ["sm_75"]),
            ("plane_histogram", ["sm_75"]),
            ("digit_counts", ["sm_75"]),
            ("fourier", ["sm_75"]),
            ("fourier_128", ["sm_75"]),
            ("fourier_256", ["sm_75"]),
            ("fourier_512", ["sm_75"]),
            ("fourier_1024", ["sm_75"]),
        ];
    }

    /// Threads of a block for one thread a pixel.
    pub(crate) const BLOCK: (u32, u32, u32) = (32, 8, 1);

    // Kernels loop over planes beyond the limit of their axis (`Launch::looping`).

    /// Blocks over columns, rows and planes.
    pub(crate) fn pixels(p: Planes) -> Result<(u32, u32, u32)> {
        Ok((Grid::cover(p.width, 32)?, Grid::cover(p.height, 8)?, p.count.clamp(1, u32::MAX as usize) as u32))
    }

    /// Threads of a block for kernels that see a plane as one line of elements.
    pub(crate) const LINE: (u32, u32, u32) = (256, 1, 1);

    /// Blocks over elements and planes; such kernels loop in both directions.
    pub(crate) fn elements(area: u64, count: u32) -> Result<(u32, u32, u32)> {
        let blocks = Grid::cover(area.min(1 << 24) as usize, 256)?;
        Ok((blocks, count.max(1), 1))
    }

    /// Blocks over chunks of 16 384 elements and planes, for kernels that count in shared memory; they loop over chunks
    /// and planes beyond the limits.
    pub(crate) fn chunks(area: u64, count: u32) -> Result<(u32, u32, u32)> {
        Ok((Grid::cover(area.min(1 << 30) as usize, 1 << 14)?, count.max(1), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_beyond_32_bits_are_refused() {
        let fine = Planes { count: u32::MAX as usize, height: i32::MAX as usize / 2, width: 1 };
        assert!(fine.check().is_ok());
        assert!(Planes { count: 0, ..fine }.check().is_ok());
        let beyond = u32::MAX as usize + 1;
        for (planes, what) in [
            (Planes { count: beyond, ..fine }, "count"),
            (Planes { height: beyond, ..fine }, "image"),
            (Planes { width: beyond, ..fine }, "image"),
            (Planes { height: i32::MAX as usize / 2 + 1, ..fine }, "image"),
            (Planes { width: 0, ..fine }, "image"),
        ] {
            let refused = planes.check().unwrap_err().to_string();
            assert!(refused.contains(what), "{planes:?}: {refused}");
        }
    }

    #[test]
    fn operations_refuse_counts_beyond_32_bits() {
        let cpu = gpu_core::Cpu::new();
        let mut y = gpu_core::Tensor::<_, f32, 1>::zeros(&cpu, [1]).unwrap();
        let none = gpu_core::Tensor::<_, f32, 1>::zeros(&cpu, [0]).unwrap();
        // A stride of 0 makes any number of planes fit; only their count speaks against them.
        let planes = Planes { count: u32::MAX as usize + 1, height: 1, width: 1 };
        let refused = hard_threshold(&cpu, planes, none.flat(), y.flat_mut(), 0).unwrap_err();
        assert!(refused.to_string().contains("4294967296 planes"), "{refused}");
        let mut sums = gpu_core::Tensor::<_, f64, 1>::zeros(&cpu, [0]).unwrap();
        let chunks = gpu_core::Tensor::<_, f64, 1>::zeros(&cpu, [0]).unwrap();
        // Four times this count is 0 in 64 bits.
        let refused = fold_sums(&cpu, 1 << 62, chunks.flat(), sums.flat_mut()).unwrap_err();
        assert!(refused.to_string().contains("planes"), "{refused}");
    }
}
