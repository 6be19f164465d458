//! The directional tree: where each node's mapping kernel has its taps, and what directions its planes hold
//! (`nsdfbdec` of the toolbox).
//!
//! Depths count from 1. At depth `l` the tree has `2^(l-1)` nodes; node `k`, from 1, turns plane `k` of depth `l - 1`
//! into planes `2k - 1` (first polynomial) and `2k` (second polynomial) of depth `l`. All polynomials are in the node's
//! mapping kernel, which is the diamond mapping with its offsets mapped by an integer matrix and half of its signs
//! changed: in the domain of frequencies, `K(ω) = F(Mᵀ ω + (π, 0) or (0, π))`.

#[cfg(test)]
mod tests;
mod wedge;

use std::f64::consts::FRAC_PI_2;

use crate::filters::{Channel, Directional, Response};
use crate::spec::{Geometry, MAX_LEVEL};
use crate::{Error, Result};

pub use wedge::{Wedge, WedgeKind, wedge};

/// One coefficient of a node's mapping kernel: `(K x)[r, c] = Σ v x[r - dr, c - dc]`, indices modulo the image size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeTap {
    /// Rows.
    pub dr: i64,
    /// Columns.
    pub dc: i64,
    /// Coefficient.
    pub v: f64,
}

impl From<NodeTap> for (i64, i64, f64) {
    fn from(tap: NodeTap) -> Self {
        (tap.dr, tap.dc, tap.v)
    }
}

/// Which coordinate of a base offset decides the sign of its tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignedBy {
    /// `(-1)^n1`.
    N1,
    /// `(-1)^n2`.
    N2,
}

/// How a node changes the base mapping: a tap `v` at `(n1, n2)` goes, with a sign, to `matrix (n1, n2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeMap {
    /// `dr = matrix[0][0] n1 + matrix[0][1] n2`, `dc = matrix[1][0] n1 + matrix[1][1] n2`.
    pub matrix: [[i64; 2]; 2],
    /// The coordinate that decides the sign.
    pub signed_by: SignedBy,
}

impl NodeMap {
    /// Where the base offset `(n1, n2)` goes.
    pub fn offset(&self, n1: i64, n2: i64) -> (i64, i64) {
        let [[a, b], [c, d]] = self.matrix;
        (a * n1 + b * n2, c * n1 + d * n2)
    }

    /// The factor, 1 or -1, of the tap at the base offset `(n1, n2)`.
    pub fn sign(&self, n1: i64, n2: i64) -> f64 {
        let n = if self.signed_by == SignedBy::N1 { n1 } else { n2 };
        if n % 2 == 0 { 1.0 } else { -1.0 }
    }
}

/// Checks that depth `l` has a `what` number `index` among `count` at this depth.
fn check(what: &'static str, index: usize, depth: u8, count: impl Fn(u8) -> usize) -> Result<()> {
    let possible = if (1..=MAX_LEVEL).contains(&depth) { count(depth) } else { 0 };
    if index == 0 || index > possible {
        return Err(Error::NoSuchNode { what, index, depth, max: MAX_LEVEL, count: possible });
    }
    Ok(())
}

/// How node `k` of depth `l` changes the base mapping.
///
/// # Errors
/// When there is no such node.
pub fn node_map(geometry: Geometry, l: u8, k: usize) -> Result<NodeMap> {
    check("node", k, l, |l| 1 << (l - 1))?;
    Ok(match l {
        1 => NodeMap { matrix: [[1, 0], [0, 1]], signed_by: SignedBy::N2 },
        2 => NodeMap { matrix: [[1, 1], [-1, 1]], signed_by: SignedBy::N2 },
        _ => {
            let q = 1_i64 << (l - 2);
            let k = k as i64;
            let first = k <= q;
            let k = if first { k } else { k - q };
            let s = 2 * ((k - 1) / 2) - q / 2 + 1;
            let (signed_by, e) = if k % 2 == 0 { (SignedBy::N2, 1) } else { (SignedBy::N1, -1) };
            // t = n1 + e n2
            let (a, b) = if geometry == Geometry::Wedge && l >= 4 {
                ([q, q * e], [2 * s, 2 * s * e + 2])
            } else {
                ([2, 2 * e - 2 * s], [0, q])
            };
            NodeMap { matrix: if first { [a, b] } else { [b, a] }, signed_by }
        }
    })
}

/// The mapping kernel of node `k` of depth `l`, in increasing `(dr, dc)`: the order in which engines sum.
///
/// # Errors
/// When there is no such node.
pub fn node_taps(filters: &Directional, geometry: Geometry, l: u8, k: usize) -> Result<Vec<NodeTap>> {
    let map = node_map(geometry, l, k)?;
    let taps = filters.mapping.iter().map(|tap| {
        let (dr, dc) = map.offset(tap.n1, tap.n2);
        NodeTap { dr, dc, v: map.sign(tap.n1, tap.n2) * tap.v }
    });
    Ok(sorted(taps.collect()))
}

/// The mapping kernel of node `k` of depth `l` as two one-dimensional diagonal filters: apply the first list, then the
/// second to its result. `None` for filters that do not split.
///
/// With `e+`, `e-`, `e0` the images of the base offsets (1, 1), (-1, 1), (0, 1) and `w_u = (-1)^u b_{2u+1}`: the first
/// list has `w_u` at `u e+`, the second `w_u` at `u e- + e0`, times -1 for a node signed by n2.
///
/// # Errors
/// When there is no such node.
pub fn ladder_node(
    filters: &Directional,
    geometry: Geometry,
    l: u8,
    k: usize,
) -> Result<Option<(Vec<NodeTap>, Vec<NodeTap>)>> {
    let map = node_map(geometry, l, k)?;
    let Some(half) = &filters.ladder else { return Ok(None) };
    let n = half.len() as i64;
    let diagonal = |(step_r, step_c): (i64, i64), (start_r, start_c): (i64, i64), sign: f64| {
        let taps = (-n..n).map(|u| {
            // b_{-U} = b_U: the index -(2u + 1) = 2(-u - 1) + 1 holds the same value.
            let b = half[if u >= 0 { u } else { -u - 1 } as usize];
            let v = if u % 2 == 0 { sign * b } else { -sign * b };
            NodeTap { dr: start_r + u * step_r, dc: start_c + u * step_c, v }
        });
        sorted(taps.collect())
    };
    let sign = if map.signed_by == SignedBy::N2 { -1.0 } else { 1.0 };
    let first = diagonal(map.offset(1, 1), (0, 0), 1.0);
    let second = diagonal(map.offset(-1, 1), map.offset(0, 1), sign);
    Ok(Some((first, second)))
}

fn sorted(mut taps: Vec<NodeTap>) -> Vec<NodeTap> {
    taps.sort_by_key(|tap| (tap.dr, tap.dc));
    taps
}

/// The frequency response `Σ v cos(dr wr + dc wc)` of the mapping kernel of node `k` of depth `l`, in closed form.
///
/// Angles are in radians a sample. On the grid of a discrete Fourier transform,
/// [`tree_gains`](crate::gains::tree_gains) is more accurate and much faster.
///
/// # Errors
/// When there is no such node.
pub fn node_gain(filters: &Directional, geometry: Geometry, l: u8, k: usize, wr: f64, wc: f64) -> Result<f64> {
    let phases = Phase::of_node(filters.response(), &node_map(geometry, l, k)?);
    let [a, b] =
        phases.map(|p| (f64::midpoint(p.r as f64 * wr, p.c as f64 * wc) + p.quarters as f64 * FRAC_PI_2).cos());
    Ok(filters.response().at(a, b))
}

/// The way from the undivided image to plane `plane` (from 1) of a tree of depth `n`: depth, node and channel of each
/// step.
///
/// ```
/// use nsct::filters::Channel::{First, Second};
/// assert_eq!(nsct::tree::path(6, 3)?, [(1, 1, Second), (2, 2, First), (3, 3, Second)]);
/// # Ok::<(), nsct::Error>(())
/// ```
///
/// # Errors
/// When there is no such plane.
pub fn path(plane: usize, n: u8) -> Result<Vec<(u8, usize, Channel)>> {
    check("plane", plane, n, |n| 1 << n)?;
    let step = |l: u8| {
        let ancestor = (plane - 1) >> (n - l);
        (l, ancestor / 2 + 1, if ancestor.is_multiple_of(2) { Channel::First } else { Channel::Second })
    };
    Ok((1..=n).map(step).collect())
}

/// An angle `(r wr + c wc)/2 + quarters π/2`, the argument of one factor of a node's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Phase {
    pub(crate) r: i64,
    pub(crate) c: i64,
    pub(crate) quarters: i64,
}

impl Phase {
    /// The two phases that a node's response depends on.
    pub(crate) fn of_node(response: &Response, map: &NodeMap) -> [Self; 2] {
        let [[a, b], [c, d]] = map.matrix;
        let by_n1 = map.signed_by == SignedBy::N1;
        match response {
            // ω1 = a wr + c wc and ω2 = b wr + d wc, π added to the one that signs.
            Response::Maxflat { .. } => [
                Self { r: 2 * a, c: 2 * c, quarters: if by_n1 { 2 } else { 0 } },
                Self { r: 2 * b, c: 2 * d, quarters: if by_n1 { 0 } else { 2 } },
            ],
            // (ω2 + ω1)/2 and (ω2 - ω1)/2.
            Response::Ladder(_) => [
                Self { r: a + b, c: c + d, quarters: 1 },
                Self { r: b - a, c: d - c, quarters: if by_n1 { -1 } else { 1 } },
            ],
        }
    }
}
