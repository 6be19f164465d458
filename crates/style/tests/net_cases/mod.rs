//! What the tests of the layers of the network plan share: cases, their values, tolerances.
#![allow(dead_code)]

#[path = "../oracle/net.rs"]
pub(crate) mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance};
use gpu_core::{Backend, Result, Tensor};
use half::f16;
use oracle::Images;
use style::kernels::{NET_EPSILON, NetElem, Plane, Tiles};

/// What a case looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Look {
    /// Values whose sums are exact in every order.
    Exact,
    /// Values that are not.
    Values,
    /// The statistics of such values, in the unit of the output: mean, and root of the variance plus ε.
    Statistics,
}

// Each of a case's choices is one.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) look: Look,
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    /// Rows and columns that the scene has more than the picture, or the result fewer.
    pub(crate) more: [usize; 2],
    pub(crate) seed: u32,
    pub(crate) add: bool,
    pub(crate) keep: bool,
    pub(crate) bytes: bool,
    pub(crate) nearest: bool,
    pub(crate) tiles: Tiles,
    /// One image, a row of tiles at a time.
    pub(crate) strips: bool,
}

pub(crate) fn cases(sides: [std::ops::Range<usize>; 2], most: usize) -> impl Strategy<Value = Case> {
    let [h, w] = sides;
    let look = prop_oneof![Just(Look::Exact), Just(Look::Values), Just(Look::Statistics)];
    let tiles = prop_oneof![Just(Tiles::Wide), Just(Tiles::Small)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (look, 1..=most, h, w, [0..4_usize, 0..4_usize], 0..1000_u32, flags, tiles).prop_map(
        |(look, n, h, w, more, seed, (add, keep, bytes, nearest), tiles)| {
            // The first layer's scene is at most a reflection larger, and the result of the last one is a picture.
            let more = [more[0].min(h.saturating_sub(5)), more[1].min(w.saturating_sub(5))];
            Case { look, n, h, w, more, seed, add, keep, bytes, nearest, tiles, strips: false }
        },
    )
}

/// One image of several rows of tiles, which come one after the other.
pub(crate) fn in_strips(sides: [std::ops::Range<usize>; 2]) -> impl Strategy<Value = Case> {
    cases(sides, 1).prop_map(|c| Case { strips: true, ..c })
}

/// The same for bytes or planes, and one kind of tiles: few cases would miss some of the kernels.
pub(crate) fn of(all: impl Strategy<Value = Case>, bytes: bool, tiles: Tiles) -> impl Strategy<Value = Case> {
    all.prop_map(move |case| Case { bytes, tiles, ..case })
}

/// Sizes around the tiles of the 3 × 3 layers, which have 2 to 8 rows and 16 columns.
pub(crate) fn around_tiles() -> impl Strategy<Value = Case> {
    cases([2..12, 2..20], 2)
}

/// Whole numbers for exact sums, else noise; `which` makes arrays of one case differ.
pub(crate) fn fill(c: &Case, which: u32) -> Fill {
    let seed = c.seed * 16 + which;
    Fill::of(if c.look == Look::Exact { FillKind::Ints(seed) } else { FillKind::Noise(seed) })
}

/// Weights of unit gain; quarters for exact sums. Both are numbers of `f16`.
pub(crate) fn weights(c: &Case, count: usize, products: usize) -> Vec<f32> {
    let gain = if c.look == Look::Exact { 0.25 } else { 1.0 / (products as f64).sqrt() };
    let round = |v: f64| f16::from_f64(v * gain).to_f32();
    fill(c, 1).values::<f64>(count).into_iter().map(round).collect()
}

/// `γ, β` by channels.
pub(crate) fn gamma_beta(cout: usize) -> Vec<f32> {
    (0..cout).flat_map(|c| [1.0 + (c % 5) as f32 * 0.25, (c % 3) as f32 - 1.0]).collect()
}

/// The input's norm as statistics and `γ, β`, and the `scale, shift` of every image and channel that they mean.
pub(crate) struct Normed<T: NetElem> {
    pub(crate) stats: Vec<T::Stat>,
    pub(crate) gamma_beta: Vec<f32>,
    pub(crate) meant: Vec<[f64; 2]>,
}

/// Planes of variance 1 − ε, whose scale is exactly `γ`.
pub(crate) fn norm<T: NetElem>(c: &Case, cin: usize) -> Normed<T> {
    let exact = c.look == Look::Exact;
    let (of_channels, of_planes) = (fill(c, 2).values::<f32>(2 * cin), fill(c, 5).values::<f64>(c.n * cin));
    let gamma_beta: Vec<f32> = if exact {
        (0..cin).flat_map(|c| [[1.0, -1.0, 2.0][c % 3], (c % 4) as f32]).collect()
    } else {
        of_channels.chunks_exact(2).flat_map(|two| [two[0] + 1.5, two[1]]).collect()
    };
    let each = T::stats_len(cin);
    let mut stats = vec![T::Stat::default(); c.n * each];
    let mut meant = Vec::new();
    for (i, mean) in of_planes.into_iter().enumerate() {
        let channel = i % cin;
        let [gamma, beta] = [gamma_beta[2 * channel], gamma_beta[2 * channel + 1]];
        let mean = if exact { 0.0 } else { mean * 0.5 };
        let plane = Plane { pixels: c.h * c.w, mean, variance: 1.0 - f64::from(NET_EPSILON) };
        T::record(&mut stats[i / cin * each..][..each], channel, plane, [gamma, beta]);
        meant.push([f64::from(gamma), f64::from(beta) - f64::from(gamma) * mean]);
    }
    Normed { stats, gamma_beta, meant }
}

pub(crate) fn is_half<T: NetElem>() -> bool {
    <T as NetElem>::NAME == "f16"
}

pub(crate) fn upload<B: Backend, T: gpu_core::Elem>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}

/// Mean and root of the variance plus ε from statistics: with `γ` 1 and `β` 0 an `f16` reader takes `s x − s μ`.
pub(crate) fn statistics<B: Backend, T: NetElem>(
    b: &B,
    stats: &Tensor<B, T::Stat, 1>,
    cout: usize,
    pixels: usize,
) -> Result<Outputs> {
    let gamma_beta = gamma_beta(cout);
    let (mut means, mut roots) = (Vec::new(), Vec::new());
    for stats in stats.to_vec(b)?.chunks_exact(T::stats_len(cout)) {
        for c in 0..cout {
            let [first, second, _] = T::coefficients(stats, c, cout, pixels, [1.0, 0.0]).map(f64::from);
            // f32 has its own γ in its statistics.
            let (mean, root) = if is_half::<T>() {
                (-second / first, 1.0 / first)
            } else {
                (first, f64::from(gamma_beta[2 * c]) / second)
            };
            means.push(mean as f32);
            roots.push(root as f32);
        }
    }
    let shape = vec![means.len() / cout, cout];
    Ok(vec![Output::F32(shape.clone(), means), Output::F32(shape, roots)])
}

pub(crate) fn numbers(y: &Images) -> Output {
    Output::F64(vec![y.n, y.h, y.w, y.c], y.values.clone())
}

/// What an oracle's result becomes for a case.
pub(crate) fn looked_at(c: &Case, y: &Images, more: Option<Output>) -> Outputs {
    if c.look != Look::Statistics {
        return std::iter::once(numbers(y)).chain(more).collect();
    }
    let (means, roots) = oracle::statistics(y, f64::from(NET_EPSILON));
    let shape = vec![y.n, y.c];
    vec![Output::F64(shape.clone(), means), Output::F64(shape, roots)]
}

/// What roundings can make of sums whose terms have these magnitudes together, for `terms` terms: in `f32` every term and
/// the norm of its operand; in `f16` also the rounding of both operands, of the output, and of the mean of a flat plane.
/// Tensor cores may cut where they should round, and align the terms of one step: two units a term.
pub(crate) fn bound<T: NetElem>(c: &Case, magnitudes: &Images, terms: usize, rounded: bool) -> Tolerance {
    if c.look == Look::Exact {
        return Tolerance::EXACT;
    }
    let most = magnitudes.values.iter().copied().fold(0.0, f64::max);
    let half = if is_half::<T>() { 2.0 + f64::from(u8::from(rounded)) } else { 0.0 };
    let sums = (2 * terms + 8) as f64 * 2f64.powi(-24) * if half > 0.0 { 2.0 } else { 1.0 };
    Tolerance::abs(most * (sums + half * 2f64.powi(-11)))
}

/// In `f32` both twins add in one order; statistics are merged in others.
pub(crate) fn between<T: NetElem>(c: &Case, bound: Tolerance) -> Tolerance {
    if !is_half::<T>() && c.look == Look::Values { Tolerance::EXACT } else { bound }
}
