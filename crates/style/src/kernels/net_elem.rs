//! Element types of activations and of pictures, and the arithmetic of the deferred norm in each.

use std::fmt::Debug;

use gpu_core::Elem;
use half::f16;

use super::net_layer::NET_EPSILON;
use crate::mix::Rounding;

/// Entries of an image's sums in `f16`.
pub const SUMS: usize = 256;
/// Units of the third sum in one of the second.
const FINER: f64 = (1_u64 << 30) as f64;
/// The largest number of `f16`; what lies beyond is held there.
pub(crate) const LARGEST_F16: f32 = 65504.0;

/// Mean and biased variance of a plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    /// How many values it has.
    pub pixels: usize,
    /// Their mean.
    pub mean: f64,
    /// Their mean squared deviation from it.
    pub variance: f64,
}

/// Units of sums over so many values of f16, and of their squares, a 1: powers of two for which no sum leaves 64 bits.
pub(crate) fn units(pixels: usize) -> [f32; 2] {
    let bits = pixels.max(1).next_power_of_two().trailing_zeros() as i32;
    [2f32.powi(45 - bits), 2f32.powi(29 - bits)]
}

/// Numbers that activations are stored in: `f16` or `f32`.
pub trait NetElem: Elem + Debug {
    /// As in names of kernels.
    const NAME: &'static str;
    /// What statistics are made of.
    type Stat: Elem + Default;
    /// Numbers of statistics of an image with `channels`.
    fn stats_len(channels: usize) -> usize;
    /// Writes (`f32`) or adds (`f16`) the statistics of a channel to those of its image, for planes of `pixels`.
    fn record(stats: &mut [Self::Stat], c: usize, of: Plane, gamma_beta: [f32; 2]) {
        Self::record_part(stats, c, of, of.pixels, gamma_beta);
    }
    /// The same for some pixels of planes of `all`: in `f16` all parts add up; in `f32` there is one part alone.
    fn record_part(stats: &mut [Self::Stat], c: usize, of: Plane, all: usize, gamma_beta: [f32; 2]);
    /// The plane of a channel, for planes of `pixels`: the reverse of [`record`](Self::record).
    fn plane(stats: &[Self::Stat], c: usize, channels: usize, pixels: usize, gamma_beta: [f32; 2]) -> Plane;
    /// Puts other statistics of a channel in the place of those that are there.
    fn replace(stats: &mut [Self::Stat], c: usize, channels: usize, of: Plane, gamma_beta: [f32; 2]);
    /// The coefficients with which a channel is normalised.
    fn coefficients(stats: &[Self::Stat], c: usize, channels: usize, pixels: usize, gamma_beta: [f32; 2]) -> [f32; 3];
    /// Channels are padded to multiples of this.
    const CHANNELS: usize;
    /// The nearest value, held inside the range.
    fn from_f32(v: f32) -> Self;
    /// Widened.
    fn to_f32(self) -> f32;
    /// The norm with such coefficients.
    fn normalised(self, coefficients: &[f32]) -> f32;
    /// Whether a value is beyond the range, or none.
    fn escapes(v: f32) -> bool;
    /// The smallest channels of the first layer that are at least `nc`, if there are such; the next ones are twice as
    /// many.
    fn base_channels(nc: usize) -> Option<usize>;
}

impl NetElem for f32 {
    const NAME: &'static str = "f32";
    const CHANNELS: usize = 32;
    type Stat = f32;

    fn stats_len(channels: usize) -> usize {
        3 * channels
    }
    fn record_part(stats: &mut [f32], c: usize, of: Plane, _: usize, [gamma, beta]: [f32; 2]) {
        let scale = f64::from(gamma) / (of.variance + f64::from(NET_EPSILON)).sqrt();
        stats[3 * c..3 * c + 3].copy_from_slice(&[of.mean as f32, scale as f32, beta]);
    }
    fn plane(stats: &[f32], c: usize, _: usize, pixels: usize, [gamma, _]: [f32; 2]) -> Plane {
        // A plane whose scale is 0 is its beta, whatever its variance.
        let root = if gamma == 0.0 { 0.0 } else { f64::from(gamma) / f64::from(stats[3 * c + 1]) };
        let variance = (root * root - f64::from(NET_EPSILON)).max(0.0);
        Plane { pixels, mean: f64::from(stats[3 * c]), variance }
    }
    fn replace(stats: &mut [f32], c: usize, _: usize, of: Plane, gamma_beta: [f32; 2]) {
        Self::record(stats, c, of, gamma_beta);
    }
    fn coefficients(stats: &[f32], c: usize, _: usize, _: usize, _: [f32; 2]) -> [f32; 3] {
        [stats[3 * c], stats[3 * c + 1], stats[3 * c + 2]]
    }

    fn from_f32(v: f32) -> Self {
        v
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn normalised(self, c: &[f32]) -> f32 {
        (self - c[0]).mul_add(c[1], c[2])
    }
    fn escapes(_: f32) -> bool {
        false
    }
    fn base_channels(nc: usize) -> Option<usize> {
        Some(nc.next_multiple_of(Self::CHANNELS))
    }
}

impl NetElem for f16 {
    const NAME: &'static str = "f16";
    const CHANNELS: usize = 16;
    type Stat = i64;

    fn stats_len(_: usize) -> usize {
        4 * SUMS
    }
    fn record_part(stats: &mut [i64], c: usize, of: Plane, all: usize, _: [f32; 2]) {
        let [value, square] = units(all).map(f64::from);
        let count = of.pixels as f64;
        let squares = (of.variance + of.mean * of.mean) * count * square;
        let whole = squares.round_ties_even();
        let parts = [of.mean * count * value, whole, (squares - whole) * FINER];
        for (sum, part) in stats[4 * c..].iter_mut().zip(parts) {
            *sum += part.round_ties_even() as i64;
        }
    }
    fn plane(stats: &[i64], c: usize, channels: usize, pixels: usize, _: [f32; 2]) -> Plane {
        let [value, square] = units(pixels).map(f64::from);
        let sum = |k: usize| (c..SUMS).step_by(channels).take(SUMS / channels).map(|c| stats[4 * c + k]).sum::<i64>();
        let mean = sum(0) as f64 / value / pixels as f64;
        let squares = (sum(1) as f64 + sum(2) as f64 / FINER) / square / pixels as f64;
        Plane { pixels, mean, variance: (squares - mean * mean).max(0.0) }
    }
    fn replace(stats: &mut [i64], c: usize, channels: usize, of: Plane, gamma_beta: [f32; 2]) {
        for c in (c..SUMS).step_by(channels).take(SUMS / channels) {
            stats[4 * c..4 * c + 3].fill(0);
        }
        Self::record(stats, c, of, gamma_beta);
    }
    fn coefficients(stats: &[i64], c: usize, channels: usize, pixels: usize, gamma_beta: [f32; 2]) -> [f32; 3] {
        let [gamma, beta] = gamma_beta.map(f64::from);
        let Plane { mean, variance, .. } = Self::plane(stats, c, channels, pixels, gamma_beta);
        let nearest = f64::from(f16::from_f32(mean as f32));
        let mean = if variance <= (nearest - mean).powi(2) { nearest } else { mean };
        let scale = gamma / (variance + f64::from(NET_EPSILON)).sqrt();
        [scale as f32, (beta - scale * mean) as f32, 0.0]
    }

    fn from_f32(v: f32) -> Self {
        f16::from_f32(v.clamp(-LARGEST_F16, LARGEST_F16))
    }
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    fn normalised(self, c: &[f32]) -> f32 {
        f16::to_f32(self).mul_add(c[0], c[1])
    }
    fn escapes(v: f32) -> bool {
        v.is_nan() || v.abs() >= LARGEST_F16
    }
    fn base_channels(nc: usize) -> Option<usize> {
        [16, 32].into_iter().find(|&width| nc <= width)
    }
}

/// What pictures go in and out as: planes of `f32` `[n][3][h][w]`, or bytes `[n][h][w][3]`, both RGB in 0..255.
pub trait Sample: Elem + Default {
    /// As in names of kernels.
    const NAME: &'static str;
    /// Widened.
    fn value(self) -> f32;
    /// From a result of the network: as it is, or clamped to 0..255 and made a whole number.
    fn of(v: f32, rounding: Rounding) -> Self;
    /// Where a value lies: image, row, column, channel, in pictures of this size.
    fn at(h: usize, w: usize, at: [usize; 4]) -> usize;
}

impl Sample for f32 {
    const NAME: &'static str = "planes";
    fn value(self) -> f32 {
        self
    }
    fn of(v: f32, _: Rounding) -> Self {
        v
    }
    fn at(h: usize, w: usize, [n, y, x, c]: [usize; 4]) -> usize {
        ((n * 3 + c) * h + y) * w + x
    }
}

impl Sample for u8 {
    const NAME: &'static str = "bytes";
    fn value(self) -> f32 {
        f32::from(self)
    }
    fn of(v: f32, rounding: Rounding) -> Self {
        rounding.apply(v, 255.0) as Self
    }
    fn at(h: usize, w: usize, [n, y, x, c]: [usize; 4]) -> usize {
        ((n * h + y) * w + x) * 3 + c
    }
}
