//! The whole transform by direct composition of its operators: pyramid steps with mirror boundary, directional trees
//! with periodic boundary, every filter a polynomial applied to the image by repeated application of its mapping.

use super::families::{self, Bank};
use super::pyramid_map::pyramid_map;
use super::taps::taps;

/// Filters and geometry.
pub struct Transform {
    half: Vec<f64>,
    pyramid: Bank,
    mapping: Vec<(i64, i64, f64)>,
    tree: Bank,
    wedge: bool,
}

impl Transform {
    /// By the names of the filters; `wedge` chooses the corrected geometry.
    pub fn new(dfilt: &str, pfilt: &str, wedge: bool) -> Self {
        let (half, pyramid) = families::pyramid(pfilt);
        let (mapping, tree) = families::directional(dfilt);
        Self { half, pyramid, mapping, tree, wedge }
    }

    /// All planes: low, then scale 1 (coarsest) … scale J, each `h * w`. `levels` are coarse to fine.
    pub fn dec(&self, x: &[f64], h: usize, w: usize, levels: &[u8]) -> Vec<Vec<f64>> {
        let mut v = x.to_vec();
        let mut fine_to_coarse = Vec::new();
        for i in 0..levels.len() {
            let low = self.pyramid_filter(&v, h, w, &self.pyramid[0], i);
            let high = self.pyramid_filter(&v, h, w, &self.pyramid[1], i);
            fine_to_coarse.push(self.tree_dec(&high, h, w, levels[levels.len() - 1 - i]));
            v = low;
        }
        let mut planes = vec![v];
        for scale in fine_to_coarse.into_iter().rev() {
            planes.extend(scale);
        }
        planes
    }

    /// The image from all planes.
    pub fn rec(&self, planes: &[Vec<f64>], h: usize, w: usize, levels: &[u8]) -> Vec<f64> {
        self.synthesis(planes, h, w, levels, 2)
    }

    /// The adjoint of [`Self::dec`]: synthesis with the analysis filters.
    pub fn adjoint(&self, planes: &[Vec<f64>], h: usize, w: usize, levels: &[u8]) -> Vec<f64> {
        self.synthesis(planes, h, w, levels, 0)
    }

    /// `first` is the index of the low-pass polynomial in a bank: 0 for the analysis pair, 2 for the synthesis pair.
    fn synthesis(&self, planes: &[Vec<f64>], h: usize, w: usize, levels: &[u8], first: usize) -> Vec<f64> {
        let mut v = planes[0].clone();
        let mut at = 1;
        for (j, &n) in levels.iter().enumerate() {
            let count = 1 << n;
            let high = self.tree_rec(&planes[at..at + count], h, w, n, first);
            at += count;
            let step = levels.len() - 1 - j;
            let low = self.pyramid_filter(&v, h, w, &self.pyramid[first], step);
            let high = self.pyramid_filter(&high, h, w, &self.pyramid[first + 1], step);
            v = add(&low, &high);
        }
        v
    }

    fn pyramid_filter(&self, x: &[f64], h: usize, w: usize, p: &[f64], step: usize) -> Vec<f64> {
        polynomial(x, p, |v| pyramid_map(v, h, w, &self.half, 1 << step))
    }

    /// The `2^n` planes of a tree of depth `n`.
    pub fn tree_dec(&self, x: &[f64], h: usize, w: usize, n: u8) -> Vec<Vec<f64>> {
        let mut planes = vec![x.to_vec()];
        for l in 1..=n {
            let mut next = Vec::new();
            for (k, plane) in planes.iter().enumerate() {
                let node = self.node(l, k + 1);
                for p in &self.tree[0..2] {
                    next.push(polynomial(plane, p, |v| taps(v, h, w, &node)));
                }
            }
            planes = next;
        }
        planes
    }

    /// The input of a tree from its planes; `first` as in [`Self::synthesis`].
    fn tree_rec(&self, planes: &[Vec<f64>], h: usize, w: usize, n: u8, first: usize) -> Vec<f64> {
        let mut planes = planes.to_vec();
        for l in (1..=n).rev() {
            let mut next = Vec::new();
            for k in 1..=planes.len() / 2 {
                let node = self.node(l, k);
                let even = polynomial(&planes[2 * k - 2], &self.tree[first], |v| taps(v, h, w, &node));
                let odd = polynomial(&planes[2 * k - 1], &self.tree[first + 1], |v| taps(v, h, w, &node));
                next.push(add(&even, &odd));
            }
            planes = next;
        }
        planes.remove(0)
    }

    /// The mapping kernel of node `k` (from 1) of depth `l`.
    pub fn node(&self, l: u8, k: usize) -> Vec<(i64, i64, f64)> {
        let k = k as i64;
        let moved = self.mapping.iter().map(|&(n1, n2, v)| {
            let minus = |n: i64| if n.rem_euclid(2) == 1 { -v } else { v };
            if l == 1 {
                return (n1, n2, minus(n2));
            }
            if l == 2 {
                return (n1 + n2, n2 - n1, minus(n2));
            }
            let half = 1 << (l - 2);
            let kk = if k <= half { k } else { k - half };
            let s = 2 * ((kk - 1) / 2) - (1 << (l - 3)) + 1;
            let (t, v) = if kk % 2 == 0 { (n1 + n2, minus(n2)) } else { (n1 - n2, minus(n1)) };
            let (a, b) =
                if self.wedge && l > 3 { (half * t, 2 * s * t + 2 * n2) } else { (2 * t - 2 * s * n2, half * n2) };
            if k <= half { (a, b, v) } else { (b, a, v) }
        });
        moved.collect()
    }
}

/// `p_0 x + p_1 F x + p_2 F F x + …` for an operator F.
pub fn polynomial(x: &[f64], p: &[f64], operator: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut power = x.to_vec();
    let mut sum: Vec<f64> = x.iter().map(|v| p[0] * v).collect();
    for &c in &p[1..] {
        power = operator(&power);
        for (s, v) in sum.iter_mut().zip(&power) {
            *s += c * v;
        }
    }
    sum
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x + y).collect()
}
