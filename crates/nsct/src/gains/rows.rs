//! Inner loops over one row of frequencies.

use crate::angle::turn;
use crate::filters::{Poly, Response, odd_cosine_sum, slipped};
use crate::tree::Phase;

/// Cosine and sine of a phase's part in the row frequency.
type Turn = (f64, f64);

impl Phase {
    /// Cosine and sine of `r wr / 2 + quarters π/2` at row `i` of a transform of `height` rows.
    pub(super) fn row(self, i: usize, height: usize) -> Turn {
        let height = height as i64;
        let period = 4 * height;
        // r < 2^9 and i < 2^40 by the checks on levels and sizes.
        turn(2 * self.r * i as i64 + self.quarters * height, period)
    }
}

/// Cosines and sines of a phase's part in the column frequency, `c wc / 2`, for every column of the half spectrum.
pub(super) struct Columns {
    cos: Vec<f64>,
    sin: Vec<f64>,
}

impl Columns {
    pub(super) fn new(phase: Phase, width: usize, half: usize) -> Self {
        let (cos, sin) = (0..half).map(|j| turn(phase.c * j as i64, 2 * width as i64)).unzip();
        Self { cos, sin }
    }
}

/// A polynomial of degree at most 4, padded with zeros.
#[derive(Clone, Copy)]
pub(super) struct Quartic([f64; 5]);

impl Quartic {
    /// All filters of the transform have a degree of 4 or less.
    pub(super) fn new(p: &Poly) -> Self {
        let mut coefficients = [0.0; 5];
        coefficients[..p.coefficients().len()].copy_from_slice(p.coefficients());
        Self(coefficients)
    }
}

/// `out = gain * p(x)`.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn times_polynomial(out: &mut [f64], gain: &[f64], x: &[f64], p: &Quartic) {
    let [a, b, c, d, e] = p.0;
    for ((o, &g), &x) in out.iter_mut().zip(gain).zip(x) {
        *o = g * (a + x * (b + x * (c + x * (d + x * e))));
    }
}

/// Frequencies that are worked on together.
const LANES: usize = 16;

/// Evaluates the response of a node over one row of frequencies.
pub(super) struct ResponseRow {
    powers: Vec<[f64; LANES]>,
}

impl ResponseRow {
    pub(super) fn new(response: &Response) -> Self {
        let powers = match response {
            Response::Maxflat { bernstein, .. } => bernstein.scratch(),
            Response::Ladder(_) => Vec::new(),
        };
        Self { powers }
    }

    /// `out[j] = response(turns + columns at j)`.
    pub(super) fn eval(&mut self, out: &mut [f64], response: &Response, turns: [Turn; 2], columns: &[Columns; 2]) {
        eval(out, response, &mut self.powers, turns, columns);
    }
}

/// `cos(x + y)` for the `LANES` columns from `at` on; beyond the last column, whatever: it is not used.
#[inline(always)]
fn cosines((cos, sin): Turn, columns: &Columns, at: usize) -> [f64; LANES] {
    let mut sum = [0.0; LANES];
    let lanes = LANES.min(columns.cos.len() - at);
    let (c, s) = (&columns.cos[at..at + lanes], &columns.sin[at..at + lanes]);
    for ((sum, c), s) in sum.iter_mut().zip(c).zip(s) {
        *sum = cos * c - sin * s;
    }
    sum
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn eval(out: &mut [f64], response: &Response, powers: &mut [[f64; LANES]], turns: [Turn; 2], columns: &[Columns; 2]) {
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let a = cosines(turns[0], &columns[0], block * LANES);
        let b = cosines(turns[1], &columns[1], block * LANES);
        let mut values = [0.0; LANES];
        match response {
            Response::Maxflat { bernstein, slip } => {
                values = bernstein.eval(powers, a, b);
                if *slip != 0.0 {
                    for l in 0..LANES {
                        values[l] -= slipped(*slip, b[l]);
                    }
                }
            }
            Response::Ladder(half) => {
                let (a, b) = (odd_cosine_sum(half, a), odd_cosine_sum(half, b));
                for l in 0..LANES {
                    values[l] = a[l] * b[l];
                }
            }
        }
        out.copy_from_slice(&values[..out.len()]);
    }
}
