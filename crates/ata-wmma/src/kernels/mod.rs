//! The operations that products and solvers are made of, one page each: formula, checked entry, CPU twin, CUDA twin.
//!
//! Vectors are `[F, C, n]`: for a frame and a channel the unknowns lie together. Sums over unknowns have one order for
//! both twins: lane `l` of 256 takes the elements `l, l + 256, …`, then halves are added until one lane is left; or, where
//! strips of 32 are known apart, each strip is added in halves, part `q` of 32 takes the strips `q, q + 32, …`, and the
//! parts are added in halves.

mod apply;
mod apply_cpu;
mod atb_u8;
mod band;
mod bb_step;
mod cast_x;
mod cg;
mod fista_step;
mod gradient;
mod gram_u8;
mod kkt;
mod matrix;
mod persistent;
mod quantise;
mod real_patterns;
mod render;
mod scale;
mod sd_step;
mod start;
mod stop;
mod sums;

use gpu_core::{Backend, Error, Result};

pub(crate) use apply::BANDS;
pub use apply::{Apply, ApplyParams, Engine, Operands, Room, Use, apply};
pub use atb_u8::{AtbParams, AtbU8, StagedParams, atb_u8};
pub use band::BandParams;
pub(crate) use band::{MOST_REACH, is_band};
pub use bb_step::{BbParams, BbState, BbStep, bb_step};
pub use cast_x::{CastParams, CastX, Vectors, cast_x};
pub use cg::{Cg, CgState, cg_start, cg_step};
pub use fista_step::{FistaParams, FistaStep, fista_step};
pub use gradient::{Gradient, gradient};
pub use gram_u8::{BlockList, GramParams, GramU8, gram_u8, gram_u8_into};
pub use kkt::{KKT_FIGURES, Kkt, kkt};
pub use matrix::Matrix;
pub use persistent::{Persistent, PersistentParams, Ring, fista_persistent, persists};
pub use quantise::{Level, Quantise, QuantiseParams, gamma_table, level, quantise};
pub use real_patterns::{RealParams, RealPatterns, atb_f32, gram_f32, gram_f32_into, render_f32};
pub use render::{Render, RenderParams, RenderTiles, render};
pub use scale::{ScaleParams, ScaleSums, scale_sums};
pub use sd_step::{SdParams, SdStep, sd_step};
pub use start::{Start, start};
pub use stop::{Control, Seen, Stop, StopParams, stop};
pub use sums::{Sums, SumsParams, sums};

macro_rules! operations {
    ($($operation:ident),* $(,)?) => {
        /// Every operation that products and solvers need, on one backend: the only bound of the algorithms.
        pub trait AtaBackend: Backend $(+ $operation)* {}
        impl<B: Backend $(+ $operation)*> AtaBackend for B {}
    };
}
operations![
    CastX,
    Apply,
    Sums,
    Start,
    FistaStep,
    Persistent,
    SdStep,
    Gradient,
    Cg,
    BbStep,
    Kkt,
    Stop,
    GramU8,
    AtbU8,
    ScaleSums,
    Render,
    RealPatterns,
    Quantise
];

/// Frames that share a right operand.
pub const GROUP: usize = 8;

/// Frames, channels and unknowns of a batch of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Frames.
    pub frames: usize,
    /// Channels.
    pub channels: usize,
    /// Unknowns.
    pub n: usize,
}

impl Batch {
    /// Elements.
    pub fn len(&self) -> usize {
        self.frames * self.channels * self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Unknowns with padding to whole blocks.
    pub fn padded(&self) -> usize {
        self.n.next_multiple_of(16)
    }

    /// Frames with padding to whole groups.
    pub fn padded_frames(&self) -> usize {
        self.frames.next_multiple_of(GROUP)
    }

    /// Lines of `n` elements: a frame and a channel each.
    pub fn lines(&self) -> usize {
        self.frames * self.channels
    }

    pub(crate) fn check(&self) -> Result<()> {
        let small = |v: usize| v > 0 && i32::try_from(v).is_ok();
        let lines = self.frames.checked_mul(self.channels).is_some_and(|v| i32::try_from(v).is_ok());
        if !(small(self.channels) && small(self.n) && lines) {
            let why = format!("{} frames of {} channels with {} unknowns", self.frames, self.channels, self.n);
            return Err(Error::value("batch", why));
        }
        Ok(())
    }

    pub(crate) fn fit(&self, what: &'static str, len: usize) -> Result<()> {
        if len == self.len() { Ok(()) } else { Err(Error::shape(what, &[self.frames, self.channels, self.n], &[len])) }
    }
}

pub(crate) fn long(what: &'static str, wanted: usize, got: usize) -> Result<()> {
    if wanted == got { Ok(()) } else { Err(Error::shape(what, &[wanted], &[got])) }
}

/// Lanes of a sum.
pub(crate) const LANES: usize = 256;

/// Sums figures of `n` elements in the order that both twins have.
pub(crate) fn fold<const K: usize>(n: usize, mut of: impl FnMut(usize) -> [f64; K]) -> [f64; K] {
    let mut lanes = [[0.0f64; K]; LANES];
    for i in 0..n {
        let figures = of(i);
        let lane = &mut lanes[i % LANES];
        for k in 0..K {
            lane[k] += figures[k];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            for k in 0..K {
                lanes[lane][k] += lanes[lane + half][k];
            }
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds the upper half to the lower until one is left.
fn halves<const K: usize>(lanes: &mut [[f64; K]; 32]) -> [f64; K] {
    for half in [16, 8, 4, 2, 1] {
        for lane in 0..half {
            for k in 0..K {
                lanes[lane][k] += lanes[lane + half][k];
            }
        }
    }
    lanes[0]
}

/// Sums figures of strip `s`: rows `32 s` and on, of `n`.
pub(crate) fn fold_strip<const K: usize>(s: usize, n: usize, mut of: impl FnMut(usize) -> [f64; K]) -> [f64; K] {
    let mut lanes = [[0.0; K]; 32];
    for (lane, i) in lanes.iter_mut().zip(32 * s..n) {
        *lane = of(i);
    }
    halves(&mut lanes)
}

/// Sums figures of strips.
pub(crate) fn fold_strips<const K: usize>(strips: usize, mut of: impl FnMut(usize) -> [f64; K]) -> [f64; K] {
    let mut parts = [[0.0; K]; 32];
    for s in 0..strips {
        let figures = of(s);
        let part = &mut parts[s % 32];
        for k in 0..K {
            part[k] += figures[k];
        }
    }
    halves(&mut parts)
}

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::KERNELS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels.
    gpu_core::kernels! {
        pub(crate) static KERNELS = [
            ("ata_cast_x", ["sm_75"]),
            ("ata_apply_fma", ["sm_75"]),
            ("ata_apply_wmma32", ["sm_80"]),
            ("ata_apply_mma16", ["sm_80"]),
            ("ata_apply_mma32", ["sm_80"]),
            ("ata_apply_band", ["sm_80"]),
            ("ata_sums", ["sm_75"]),
            ("ata_fista_persistent", ["sm_80"]),
            ("ata_steps", ["sm_75"]),
            ("ata_bb_step", ["sm_75"]),
            ("ata_gram_u8", ["sm_75"]),
            ("ata_atb_u8", ["sm_75"]),
            ("ata_render", ["sm_75"]),
            ("ata_real_patterns", ["sm_75"]),
            ("ata_quantise", ["sm_75"]),
        ];
    }
}
