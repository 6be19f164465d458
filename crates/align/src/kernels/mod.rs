//! The operations that aligning is made of, one page each: formula, parameters, checked entry, CPU twin.
//!
//! Mosaics are `u16`, everything behind them `f32`. Planes are row-major and lie one behind the other. A *proxy* is the
//! block-averaged picture of `height * width`; its *spectrum* is the half spectrum `[fft_height, fft_width / 2 + 1]` of a
//! piece cut from its middle. Everything is a function of one plane or one pair alone, in a fixed order of operations,
//! so that no result depends on threads or on how a batch is split.

mod cross_weight;
mod demosaic;
mod despike_block;
mod difference;
mod fft_c2r;
mod fft_r2c;
mod fourier;
mod mad_pair;
mod open_cross;
mod peak_window;
mod rank_counts;
mod refine_grid;
mod whiten;
mod window_apply;
mod window_sums;

use gpu_core::{Backend, Error, Result};

pub use cross_weight::{CrossWeight, CrossWeightParams, FrequencyWeight, cross_weight};
pub use demosaic::{ColourTable, Demosaic, DemosaicParams, demosaic};
pub use despike_block::{DespikeBlock, DespikeParams, MosaicTable, PlaneKind, despike_block};
pub use difference::{Difference, DifferenceParams, difference};
pub use fft_c2r::{FftC2r, fft_c2r};
pub use fft_r2c::{FftR2c, fft_r2c};
pub use fourier::{CpuTransforms, Fourier, FourierPlan, good_size};
pub use mad_pair::{MadPair, MadParams, MadTask, mad_pair};
pub use open_cross::{OpenCross, OpenCrossParams, open_cross};
pub use peak_window::{PeakFigures, PeakParams, PeakWindow, peak_window};
pub use rank_counts::{RANK_BINS, RankCounts, RankCountsParams, quantile, rank_counts};
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
    DespikeBlock,
    Difference,
    FftC2r,
    FftR2c,
    Fourier,
    MadPair,
    OpenCross,
    PeakWindow,
    RankCounts,
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
