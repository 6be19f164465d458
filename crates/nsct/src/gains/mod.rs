//! The transform as multiplications: gains in the cosine domain for the pyramid, in the Fourier domain for the tree
//!
//! With half-sample mirror boundary and symmetric filters, a pyramid step multiplies the type-II discrete cosine
//! transform. With periodic boundary, a node of the tree multiplies the discrete Fourier transform, by a real and even
//! gain. All angles are reduced in integers before a cosine is taken, and all gains are computed in f64.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::angle::turn;
use crate::filters::{Directional, Pyramid1d, dilation, pyramid_prototype};
use crate::spec::{Geometry, MAX_LEVEL, NsctSpec, Side};
use crate::tree::{Phase, node_map};
use crate::{Error, Real, Result};

use rows::{Columns, Quartic, ResponseRow, times_polynomial};

/// Gains of the pyramid in the two-dimensional cosine domain, `height * width` row-major for each plane.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleGains<T> {
    /// From (or, on the synthesis side, to) the low-pass plane.
    pub low: Vec<T>,
    /// Of each scale, coarsest first, before the directional tree.
    pub scales: Vec<Vec<T>>,
}

fn check_size(height: usize, width: usize) -> Result<()> {
    // Beyond this, products of an index and a matrix entry could leave 63 bits.
    const LONGEST: usize = 1 << 40;
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    if height > LONGEST || width > LONGEST {
        return Err(Error::value("image", format!("a side of {height} x {width} is longer than 2^40")));
    }
    Ok(())
}

/// `Pg(π i L / n) = P[0] + 2 Σ P[k] cos(π i k L / n)` for i = 0 … n-1, with the dilation `L`.
fn half_band(taps: &[f64], dilation: u64, n: usize) -> Vec<f64> {
    let period = 2 * n as u128;
    let step = u128::from(dilation) % period;
    let value = |i: usize| {
        let cosines = taps.iter().enumerate().skip(1).map(|(k, &p)| {
            let at = i as u128 * step % period * k as u128 % period;
            2.0 * p * turn(at as i64, period as i64).0
        });
        taps[0] + cosines.sum::<f64>()
    };
    (0..n).map(value).collect()
}

/// The pyramid's mapping `F = 2 Pg(π i L / H) Pg(π j L / W) - 1` at every index (i, j) of the cosine transform, for the
/// step `step` (0 for the finest) with `L = 2^step`.
///
/// # Errors
/// For an image without pixels.
pub fn pyramid_gains(filters: &Pyramid1d, step: usize, height: usize, width: usize) -> Result<Vec<f64>> {
    check_size(height, width)?;
    let l = dilation(step, height, width);
    let columns = half_band(&filters.taps, l, width);
    let rows = half_band(&filters.taps, l, height);
    Ok(rows.iter().flat_map(|r| columns.iter().map(move |c| 2.0 * r * c - 1.0)).collect())
}

/// The gain from the image to each plane of the pyramid, in the cosine domain: with the mappings `F_0` (finest),
/// `F_1`, …, scale `J - i` has `h1(F_i) Π_{m<i} h0(F_m)` and the low-pass plane `Π h0(F_m)`.
///
/// For [`Side::Synthesis`] the polynomials are `g0`, `g1`, and the image is the sum of all planes times their gains.
///
/// # Errors
/// For an image without pixels.
pub fn scale_gains<T: Real>(spec: &NsctSpec, side: Side, height: usize, width: usize) -> Result<ScaleGains<T>> {
    check_size(height, width)?;
    let filters = pyramid_prototype(spec.pyr);
    let [low, high] = filters.pair(side).map(Quartic::new);
    let steps: Vec<[Vec<f64>; 2]> = (0..spec.levels.len())
        .map(|step| {
            let l = dilation(step, height, width);
            [height, width].map(|n| half_band(&filters.taps, l, n))
        })
        .collect();
    let mut scales: Vec<Vec<T>> = steps.iter().map(|_| vec![T::of(0.0); height * width]).collect();
    let mut lowest = vec![T::of(0.0); height * width];
    let chunks = rows_of(scales.iter_mut().rev().chain([&mut lowest]), width);
    chunks.into_par_iter().enumerate().with_min_len(8).for_each_init(
        || [vec![0.0; width], vec![0.0; width], vec![0.0; width]],
        |[passed, mapping, gain], (i, mut outputs)| {
            passed.fill(1.0);
            for (output, [rows, columns]) in outputs.iter_mut().zip(&steps) {
                mapping.iter_mut().zip(columns).for_each(|(f, c)| *f = 2.0 * rows[i] * c - 1.0);
                times_polynomial(gain, passed, mapping, &high);
                narrow(output, gain);
                times_polynomial(gain, passed, mapping, &low);
                std::mem::swap(passed, gain);
            }
            if let Some(output) = outputs.last_mut() {
                narrow(output, passed);
            }
        },
    );
    Ok(ScaleGains { low: lowest, scales })
}

/// Turns a list of planes into a list of rows, each with that row of every plane.
fn rows_of<'a, T>(planes: impl Iterator<Item = &'a mut Vec<T>>, width: usize) -> Vec<Vec<&'a mut [T]>> {
    let mut rows: Vec<Vec<&mut [T]>> = Vec::new();
    for plane in planes {
        for (i, row) in plane.chunks_mut(width).enumerate() {
            if rows.len() <= i {
                rows.push(Vec::new());
            }
            rows[i].push(row);
        }
    }
    rows
}

fn narrow<T: Real>(output: &mut [T], values: &[f64]) {
    output.iter_mut().zip(values).for_each(|(o, &v)| *o = T::of(v));
}

/// One node, ready for evaluation.
struct Node {
    phases: [Phase; 2],
    columns: [Columns; 2],
}

/// The gains of the `2^n` planes of a directional tree of depth `n`, each `height * (width / 2 + 1)` row-major: the
/// half spectrum of a real transform. A plane's gain is the product of its nodes' polynomials along its
/// [`path`](crate::tree::path). For `n` = 0 it is one plane of ones.
///
/// # Errors
/// For an image without pixels, or `n` above [`MAX_LEVEL`].
pub fn tree_gains<T: Real>(
    filters: &Directional,
    side: Side,
    geometry: Geometry,
    n: u8,
    height: usize,
    width: usize,
) -> Result<Vec<Vec<T>>> {
    Ok(forest_gains(filters, side, geometry, &[n], height, width)?.remove(&n).unwrap_or_default())
}

/// [`tree_gains`] for several depths at once, by depth. Trees of different depths begin alike, so this costs little
/// more than the deepest alone.
///
/// # Errors
/// For an image without pixels, or a depth above [`MAX_LEVEL`].
pub fn forest_gains<T: Real>(
    filters: &Directional,
    side: Side,
    geometry: Geometry,
    depths: &[u8],
    height: usize,
    width: usize,
) -> Result<BTreeMap<u8, Vec<Vec<T>>>> {
    check_size(height, width)?;
    if let Some((scale, &level)) = depths.iter().enumerate().find(|&(_, &n)| n > MAX_LEVEL) {
        return Err(Error::LevelTooDeep { scale: scale + 1, level, max: MAX_LEVEL });
    }
    let half = width / 2 + 1;
    let deepest = depths.iter().copied().max().unwrap_or(0);
    let mut nodes: Vec<Vec<Node>> = Vec::new();
    for l in 1..=deepest {
        let node = |k: usize| {
            let phases = Phase::of_node(filters.response(), &node_map(geometry, l, k)?);
            Ok(Node { columns: phases.map(|p| Columns::new(p, width, half)), phases })
        };
        nodes.push((1..=1 << (l - 1)).map(node).collect::<Result<_>>()?);
    }
    let mut planes: BTreeMap<u8, Vec<Vec<T>>> =
        depths.iter().map(|&n| (n, vec![vec![T::of(0.0); height * half]; 1 << n])).collect();
    // Where the planes of each depth begin in the list of all planes.
    let mut begin = [None; MAX_LEVEL as usize + 1];
    let mut count = 0;
    for (&n, list) in &planes {
        begin[usize::from(n)] = Some(count);
        count += list.len();
    }
    let walk = Walk { filters, pair: filters.pair(side).map(Quartic::new), nodes, begin, height };
    let rows = rows_of(planes.values_mut().flatten(), half);
    rows.into_par_iter().enumerate().for_each_init(
        || Scratch::new(filters, usize::from(deepest), half),
        |scratch, (i, mut outputs)| {
            scratch.gains[0].fill(1.0);
            walk.emit(0, 0, scratch, &mut outputs);
            walk.descend(i, 1, 0, scratch, &mut outputs);
        },
    );
    Ok(planes)
}

/// What does not change from row to row.
struct Walk<'a> {
    filters: &'a Directional,
    pair: [Quartic; 2],
    nodes: Vec<Vec<Node>>,
    begin: [Option<usize>; MAX_LEVEL as usize + 1],
    height: usize,
}

/// One row of everything on the way from the root to a leaf.
struct Scratch {
    /// `gains[l]`: the plane being made at depth `l`.
    gains: Vec<Vec<f64>>,
    /// `mappings[l]`: the response of the node being used at depth `l`.
    mappings: Vec<Vec<f64>>,
    row: ResponseRow,
}

impl Scratch {
    fn new(filters: &Directional, depth: usize, half: usize) -> Self {
        let rows = vec![vec![0.0; half]; depth + 1];
        Self { gains: rows.clone(), mappings: rows, row: ResponseRow::new(filters.response()) }
    }
}

impl Walk<'_> {
    /// Row `i` of all planes below plane `parent` (from 0) of depth `l - 1`.
    fn descend<T: Real>(&self, i: usize, l: usize, parent: usize, scratch: &mut Scratch, outputs: &mut [&mut [T]]) {
        let Some(node) = self.nodes.get(l - 1).map(|nodes| &nodes[parent]) else { return };
        // Both nodes of depth 2 have the same mapping.
        if l != 2 || parent == 0 {
            let turns = node.phases.map(|p| p.row(i, self.height));
            scratch.row.eval(&mut scratch.mappings[l], self.filters.response(), turns, &node.columns);
        }
        for channel in 0..2 {
            let (above, here) = scratch.gains.split_at_mut(l);
            times_polynomial(&mut here[0], &above[l - 1], &scratch.mappings[l], &self.pair[channel]);
            let plane = 2 * parent + channel;
            self.emit(l, plane, scratch, outputs);
            self.descend(i, l + 1, plane, scratch, outputs);
        }
    }

    fn emit<T: Real>(&self, l: usize, plane: usize, scratch: &Scratch, outputs: &mut [&mut [T]]) {
        if let Some(begin) = self.begin[l] {
            narrow(outputs[begin + plane], &scratch.gains[l]);
        }
    }
}
