//! What the tests of the layers of the network plan share: cases, their values, tolerances.
#![allow(dead_code, unused_imports)]

#[path = "../oracle/net.rs"]
pub(crate) mod oracle;

use std::any::Any;

use gpu_core::testing::proptest::prelude::*;
pub(crate) use gpu_core::testing::starting_with;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Value};
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
    /// Exact values of which many leave the range of `f16`, before the layer and behind it.
    pub(crate) loud: bool,
    /// Pictures that hardly differ from what is subtracted from them.
    pub(crate) faint: bool,
    /// The layer runs twice in the same scratch memory.
    pub(crate) again: bool,
    /// Every fourth channel of the input has one value, which `f16` does not hold.
    pub(crate) flat: bool,
    /// Outputs a thousandth as large: what does not belong to their statistics shows.
    pub(crate) quiet: bool,
}

impl Case {
    /// One whole tile of most kernels.
    pub(crate) const TILE: Self = Self {
        look: Look::Exact,
        n: 1,
        h: 8,
        w: 16,
        more: [0, 0],
        seed: 1,
        add: true,
        keep: true,
        bytes: false,
        nearest: true,
        tiles: Tiles::Wide,
        strips: false,
        loud: false,
        faint: false,
        again: false,
        flat: false,
        quiet: false,
    };

    /// How often the layer runs.
    pub(crate) fn rounds(&self) -> usize {
        1 + usize::from(self.again)
    }
}

/// What random cases seldom meet, for tiles of `[h, w]` pixels: a whole tile, whose every halo pixel counts; two by two of
/// which the last are ragged; and the smallest image.
pub(crate) fn around([h, w]: [usize; 2]) -> Vec<Case> {
    vec![
        Case { h, w, loud: true, ..Case::TILE },
        Case { look: Look::Statistics, h: h + 3, w: w + 11, add: false, again: true, ..Case::TILE },
        Case { n: 2, h: h + 1, w: w + 1, seed: 2, ..Case::TILE },
        Case { look: Look::Values, h: 2, w: 2, add: false, ..Case::TILE },
    ]
}

/// The same for both kinds of tiles.
pub(crate) fn around_both(tile: [usize; 2]) -> Vec<Case> {
    around(tile).into_iter().flat_map(|c| [c, Case { tiles: Tiles::Small, ..c }]).collect()
}

/// Such cases in `f32`, whose statistics are merged in groups when they have more than 64 parts; a tile has `parts`. The
/// one of many parts takes the longest and is the fifth: the four of a simulated device do without it and what follows, two
/// rows of tiles in which each turn of the merge meets ragged ones, and tiles of a few rows.
pub(crate) fn merged([h, w]: [usize; 2], parts: usize) -> Vec<Case> {
    let statistics = |h, w| Case { look: Look::Statistics, h, w, ..Case::TILE };
    let two_rows = |columns| statistics(h + 3, w * (columns / parts - 1) + 11);
    let mut all = vec![
        Case { h, w, ..Case::TILE },
        Case { n: 2, add: false, again: true, ..statistics(3, 2) },
        statistics(h + 3, w + 11),
        Case { h: h + 1, w: w + 1, seed: 2, flat: true, ..Case::TILE },
        Case { quiet: true, ..two_rows(40) },
    ];
    all.extend([8, 16, 32].map(two_rows));
    all.extend((1..8).map(|eighths| statistics((h * eighths / 8).max(2), 9)));
    all
}

/// The same with the one of many parts first: one kernel shows the merge on a simulated device, too.
pub(crate) fn merged_early(tile: [usize; 2], parts: usize) -> Vec<Case> {
    let mut cases = merged(tile, parts);
    cases[..5].rotate_right(1);
    cases
}

/// Such cases of one image, a row of tiles at a time: more than one row, whose last is as ragged as the case was.
pub(crate) fn strips(fixed: Vec<Case>, [h, _]: [usize; 2]) -> Vec<Case> {
    let several = |c: Case| Case { h: if c.h > h { c.h } else { h + c.h }, n: 1, strips: true, ..c };
    fixed.into_iter().map(several).collect()
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
            Case { look, n, h, w, more, seed, add, keep, bytes, nearest, tiles, ..Case::TILE }
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

/// Small noise, or whole numbers; multiples of 2¹³ where they are to leave the range of `f16`, whose sums are as exact.
pub(crate) fn values<T: Value>(c: &Case, which: u32, count: usize) -> Vec<T> {
    let value = |(i, v): (usize, f64)| match c {
        _ if which == 3 && is_flat(c, i) => FLAT,
        Case { loud: true, .. } => v.clamp(-7.0, 7.0) * LOUD,
        _ => v,
    };
    fill(c, which).values::<f64>(count).into_iter().enumerate().map(|at| T::from_f64(value(at))).collect()
}

/// Between two numbers of `f16`; what a flat plane's scale makes of the way to the nearer one is no rounding.
const FLAT: f64 = 10.003;

/// Whether a channel, or an element of it, is one of a flat plane: channels lie last, in fours.
fn is_flat(c: &Case, i: usize) -> bool {
    c.flat && i % 4 == 3
}

const LOUD: f64 = 8192.0;

/// The number of `f16` that a layer reads.
pub(crate) fn held(c: &Case, v: f64) -> f64 {
    if c.loud { v.clamp(-f64::from(f16::MAX), f16::MAX.into()) } else { v }
}

/// Weights of unit gain; powers of two for exact sums. All are numbers of `f16`.
pub(crate) fn weights(c: &Case, count: usize, products: usize) -> Vec<f32> {
    let unit = 1.0 / (products as f64).sqrt();
    let gain = match c.look {
        // Bytes themselves are small.
        Look::Exact if c.loud && c.bytes => 8.0,
        Look::Exact if c.loud => (unit / 5.0).log2().round().exp2(),
        Look::Exact => 0.25,
        _ if c.quiet => unit / 1024.0,
        _ => unit,
    };
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

/// Planes of variance 1 − ε, whose scale is exactly `γ`, and flat ones.
pub(crate) fn norm<T: NetElem>(c: &Case, cin: usize) -> Normed<T> {
    let exact = c.look == Look::Exact;
    let (of_channels, of_planes) = (fill(c, 2).values::<f32>(2 * cin), fill(c, 5).values::<f64>(c.n * cin));
    let gamma_beta: Vec<f32> = if exact {
        // No shift of a channel is zero, except where most of what it moves leaves the range.
        let beta = |i: usize| if c.loud { (i % 4) as f32 * LOUD as f32 } else { 5.0 + (i % 4) as f32 };
        (0..cin).flat_map(|i| [[1.0, -1.0, 2.0][i % 3], beta(i)]).collect()
    } else {
        of_channels.chunks_exact(2).flat_map(|two| [two[0] + 1.5, two[1]]).collect()
    };
    let each = T::stats_len(cin);
    let mut stats = vec![T::Stat::default(); c.n * each];
    let mut meant = Vec::new();
    for (i, mean) in of_planes.into_iter().enumerate() {
        let channel = i % cin;
        let [gamma, beta] = [gamma_beta[2 * channel], gamma_beta[2 * channel + 1]];
        let mean = match c.look {
            _ if is_flat(c, channel) => FLAT,
            Look::Exact if c.loud => 0.0,
            Look::Exact => [1.0, -1.0, 0.0, 2.0][(i + i / cin) % 4],
            _ => mean * 0.5,
        };
        let variance = if is_flat(c, channel) { 0.0 } else { 1.0 - f64::from(NET_EPSILON) };
        let plane = Plane { pixels: c.h * c.w, mean, variance };
        T::record(&mut stats[i / cin * each..][..each], channel, plane, [gamma, beta]);
        let scale = if is_flat(c, channel) { 0.0 } else { f64::from(gamma) };
        meant.push([scale, f64::from(beta) - scale * mean]);
    }
    if let Some(sums) = (&mut stats as &mut dyn Any).downcast_mut::<Vec<i64>>() {
        sums.chunks_exact_mut(each).for_each(|sums| spread(sums, cin));
    }
    Normed { stats, gamma_beta, meant }
}

/// Sums of `f16` as many blocks leave them: some in each copy of a channel's, and much of the squares in the finer unit, of
/// which 2³⁰ are one of the other.
fn spread(sums: &mut [i64], channels: usize) {
    let copies = sums.len() / 4 / channels;
    for c in 0..channels {
        for i in 1..copies {
            let (first, at) = (4 * c, 4 * (c + i * channels));
            for k in 0..2 {
                // Half of what is left, so that all copies differ.
                let some = sums[first + k] / 2;
                sums[first + k] -= some;
                sums[at + k] += some;
            }
            // What all copies of the finer ones add up to is a number, too.
            let finer = (sums[at + 1] / 2).min(1 << 28);
            sums[at + 1] -= finer;
            sums[at + 2] += finer << 30;
        }
    }
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

/// Sums that nobody reads any more, which a layer in `f16` clears; what else they held does not matter.
pub(crate) fn old_sums<T: NetElem>(n: usize) -> Vec<T::Stat> {
    let mut old = vec![T::Stat::default(); n * T::stats_len(0)];
    if let Some(sums) = (&mut old as &mut dyn Any).downcast_mut::<Vec<i64>>() {
        sums.fill(7);
    }
    old
}

/// How many numbers of such sums are not zero.
pub(crate) fn left<B: Backend, T: NetElem>(b: &B, old: &Tensor<B, T::Stat, 1>) -> Result<Output> {
    let old = old.to_vec(b)?;
    let sums = (&old as &dyn Any).downcast_ref::<Vec<i64>>();
    let left = sums.map_or(0, |sums| sums.iter().filter(|&&sum| sum != 0).count());
    Ok(Output::U32(vec![1], vec![left as u32]))
}

/// Nothing of them.
pub(crate) fn nothing_left() -> Output {
    Output::U32(vec![1], vec![0])
}

pub(crate) fn numbers(y: &Images) -> Output {
    Output::F64(vec![y.n, y.h, y.w, y.c], y.values.clone())
}

/// What an oracle's result becomes for a case.
pub(crate) fn looked_at(c: &Case, y: &Images, more: Vec<Output>) -> Outputs {
    if c.look != Look::Statistics {
        let mut y = numbers(y);
        if let Output::F64(_, values) = &mut y {
            for v in values.iter_mut() {
                *v = held(c, *v);
            }
        }
        return std::iter::once(y).chain(more).collect();
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
