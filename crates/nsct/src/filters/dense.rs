//! Polynomials in a mapping written out as dense arrays, as the toolbox stores its filters.

use ndarray::Array2;

use super::{Channel, Directional, Poly, Pyramid1d, Tap};
use crate::spec::Side;
use crate::toolbox::conv2_full;

/// A mapping kernel as a square array of odd size, its centre in the middle.
pub fn mapping_array(mapping: &[Tap]) -> Array2<f64> {
    let radius = mapping.iter().map(|tap| tap.n1.abs().max(tap.n2.abs())).max().unwrap_or(0);
    let size = 2 * radius as usize + 1;
    let mut array = Array2::zeros((size, size));
    for tap in mapping {
        array[[(tap.n1 + radius) as usize, (tap.n2 + radius) as usize]] += tap.v;
    }
    array
}

/// `p(K) = p_0 δ + p_1 K + p_2 K*K + …` for the kernel `mapping`, as a square array of odd size with the centre in the
/// middle.
pub fn expand(p: &Poly, mapping: &[Tap]) -> Array2<f64> {
    let kernel = mapping_array(mapping);
    let radius = kernel.nrows() / 2;
    let size = 2 * p.degree() * radius + 1;
    let middle = p.degree() * radius;
    let mut sum = Array2::zeros((size, size));
    let mut power = Array2::ones((1, 1));
    for (k, &c) in p.coefficients().iter().enumerate() {
        if k > 0 {
            power = conv2_full(&power, &kernel);
        }
        let start = middle - k * radius;
        for ((r, col), &v) in power.indexed_iter() {
            sum[[start + r, start + col]] += c * v;
        }
    }
    sum
}

/// A filter of the directional tree before it is sheared: the diamond pair `h0, h1` (analysis) or `g0, g1` (synthesis),
/// divided by √2 as the toolbox's `nsdfbdec` does.
pub fn directional_array(filters: &Directional, side: Side, channel: Channel) -> Array2<f64> {
    expand(channel.of(filters.pair(side)), &filters.mapping)
}

/// A filter of the pyramid: what the toolbox's `atrousfilters` returns.
pub fn pyramid_array(filters: &Pyramid1d, side: Side, channel: Channel) -> Array2<f64> {
    let half = filters.taps.len() as i64 - 1;
    let tap = |k: i64| filters.taps[k.unsigned_abs() as usize];
    let separable = (-half..=half).flat_map(|n1| (-half..=half).map(move |n2| (n1, n2)));
    let mut mapping: Vec<Tap> = separable.map(|(n1, n2)| Tap { n1, n2, v: 2.0 * tap(n1) * tap(n2) }).collect();
    for tap in &mut mapping {
        if (tap.n1, tap.n2) == (0, 0) {
            tap.v -= 1.0;
        }
    }
    expand(channel.of(filters.pair(side)), &mapping)
}

impl Channel {
    /// The first or the second of a pair.
    pub fn of<T>(self, [first, second]: [T; 2]) -> T {
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}
