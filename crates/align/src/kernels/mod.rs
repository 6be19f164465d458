//! The operations that aligning is made of, one page each: formula, parameters, checked entry, CPU twin, CUDA
//! twin.
//!
//! Mosaics are `u16`, everything behind them `f32`. Planes are row-major and lie one behind the other. A *proxy* is the
//! block-averaged picture of `height * width`; its *spectrum* is the half spectrum `[fft_height, fft_width / 2 + 1]` of a
//! piece cut from its middle. Everything is a function of one plane or one pair alone, in a fixed order of operations,
//! so that no result depends on threads or on how a batch is split.

mod cross_weight;
mod demosaic;
mod demosaic_edges;
mod despike_block;
mod difference;
mod fft_c2r;
mod fft_r2c;
mod fourier;
#[cfg(feature = "cuda")]
mod fourier_cuda;
mod keep_below;
mod mad_pair;
mod open_cross;
mod peak_window;
mod rank_counts;
mod rect_sums;
mod refine_grid;
mod whiten;
mod window_apply;
mod window_sums;

// No operation: a function that one of them is made of.
mod gamma;

use gpu_core::{Backend, Error, Result};

pub use cross_weight::{CrossWeight, CrossWeightParams, FrequencyWeight, cross_weight};
pub use demosaic::{ColourTable, Demosaic, DemosaicParams, demosaic};
pub use demosaic_edges::{DemosaicEdges, DemosaicEdgesParams, demosaic_edges};
pub use despike_block::{DespikeBlock, DespikeParams, MosaicTable, PlaneKind, despike_block};
pub use difference::{Difference, DifferenceParams, difference};
pub use fft_c2r::{FftC2r, fft_c2r};
pub use fft_r2c::{FftR2c, fft_r2c};
pub use fourier::{CpuTransforms, Fourier, FourierPlan, good_size};
#[cfg(feature = "cuda")]
pub use fourier_cuda::CudaTransforms;
pub use keep_below::{KeepBelow, KeepBelowParams, keep_below};
pub use mad_pair::{MadPair, MadParams, MadTask, mad_pair};
pub use open_cross::{OpenCross, OpenCrossParams, open_cross};
pub use peak_window::{PeakFigures, PeakParams, PeakWindow, peak_window};
pub use rank_counts::{RANK_BINS, RankCounts, RankCountsParams, quantile, rank_counts};
pub use rect_sums::{RectSums, RectSumsParams, rect_sums};
pub(crate) use refine_grid::refine_bytes;
pub use refine_grid::{REFINE_SIDE, RefineGrid, RefineParams, RefineTask, refine_grid};
pub use whiten::{Whiten, whiten};
pub use window_apply::{WindowApply, window_apply};
pub use window_sums::{Window, WindowParams, WindowSums, window_sums};

macro_rules! operations {
    ($($operation:ident),* $(,)?) => {
        /// Every operation that aligning needs, on one backend: the only bound of its algorithms.
        pub trait AlignBackend: Backend $(+ $operation)* {}
        impl<B: Backend $(+ $operation)*> AlignBackend for B {}
    };
}
operations![
    CrossWeight,
    Demosaic,
    DemosaicEdges,
    DespikeBlock,
    Difference,
    FftC2r,
    FftR2c,
    Fourier,
    KeepBelow,
    MadPair,
    OpenCross,
    PeakWindow,
    RankCounts,
    RectSums,
    RefineGrid,
    Whiten,
    WindowApply,
    WindowSums,
];

/// Partial sums that a row is split into; a warp of a GPU has as many threads.
pub const LANES: usize = 32;

/// The sum of `term(0) … term(n - 1)` in the order that every backend keeps: lane `l` adds the terms `l, l + 32, …` in
/// turn, then lane `l` takes lane `l + 16`, then `l + 8`, and so on.
#[inline(always)]
pub(crate) fn lane_sum(n: usize, mut term: impl FnMut(usize) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += term(start + l);
        }
    }
    for i in whole..n {
        lanes[i - whole] += term(i);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `Ok` when a view holds at least what is needed.
fn holds(what: &'static str, need: Option<usize>, got: usize) -> Result<()> {
    match need {
        Some(need) if got >= need => Ok(()),
        Some(need) => Err(Error::shape(what, &[need], &[got])),
        None => Err(Error::value(what, "more elements than memory can hold")),
    }
}

/// `a * b * c`, or `None` past what memory can hold.
fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| isize::try_from(n).is_ok())
}

/// A size as a parameter of a kernel.
fn size32(what: &'static str, n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::value(what, format!("{n} is more than 2^32")))
}

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::KERNELS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels and the launch shapes that most of them share.
    use gpu_core::Result;
    use gpu_core::cuda::Grid;

    gpu_core::kernels! {
        pub(crate) static KERNELS = [
            ("cross_weight", ["sm_75"]),
            ("demosaic", ["sm_75"]),
            ("demosaic_edges", ["sm_75"]),
            ("despike_block", ["sm_75"]),
            ("difference", ["sm_75"]),
            ("fft", ["sm_75"]),
            ("keep_below", ["sm_75"]),
            ("mad_pair", ["sm_75"]),
            ("open_cross", ["sm_75"]),
            ("peak_window", ["sm_75"]),
            ("rank_counts", ["sm_75"]),
            ("rect_sums", ["sm_75"]),
            ("refine_grid", ["sm_75"]),
            ("whiten", ["sm_75"]),
            ("window_apply", ["sm_75"]),
            ("window_sums", ["sm_75"]),
        ];
    }

    /// Threads of a block for one thread a pixel.
    pub(crate) const BLOCK: (u32, u32, u32) = (32, 8, 1);
    /// Threads of a block for kernels with a warp for each row, or one line of elements.
    pub(crate) const LINE: (u32, u32, u32) = (256, 1, 1);

    // Kernels loop over planes and tasks beyond the limits of a grid (`Launch::looping`).

    /// Blocks over columns, rows and planes.
    pub(crate) fn pixels(height: usize, width: usize, planes: usize) -> Result<(u32, u32, u32)> {
        Ok((Grid::cover(width, 32)?, Grid::cover(height, 8)?, planes.min(i32::MAX as usize) as u32))
    }

    /// Blocks of [`LINE`] with a warp for each of `rows`, for `tasks` of them.
    pub(crate) fn warps(rows: usize, tasks: usize) -> Result<(u32, u32, u32)> {
        Ok((Grid::cover(rows, 8)?, tasks.min(i32::MAX as usize) as u32, 1))
    }

    /// Blocks of [`LINE`] over elements; such kernels loop.
    pub(crate) fn elements(count: usize) -> Result<(u32, u32, u32)> {
        Ok((Grid::cover(count.min(1 << 24), 256)?, 1, 1))
    }
}
