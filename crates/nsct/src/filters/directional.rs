//! Diamond filter pairs of the directional tree (`dfilters` of the toolbox).

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::maxflat::Bernstein;
use super::pyramid::{gx, hx};
use super::{Poly, Tap, diamond_maxflat};
use crate::Result;
use crate::spec::{DirFilter, Side};

/// What the published table of order 6 lacks at offsets (0, ±5): it has 44 where 444 is right, over 2^20.
const ORDER_6_SLIP: f64 = 400.0 / 1_048_576.0;

/// Filters of the directional tree, as polynomials in a diamond mapping kernel.
///
/// The factor 1/√2 of a nonsubsampled filter bank is included: `p0 q0 + p1 q1 = 1`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Directional {
    /// The family.
    pub filter: DirFilter,
    /// The mapping kernel, in increasing `(n1, n2)`; only offsets with `n1 + n2` odd occur.
    pub mapping: Vec<Tap>,
    /// Analysis, first channel.
    pub p0: Poly,
    /// Analysis, second channel.
    pub p1: Poly,
    /// Synthesis, first channel.
    pub q0: Poly,
    /// Synthesis, second channel.
    pub q1: Poly,
    /// For the `pkva` filters the half `b_1, b_3, b_5, …` of the one-dimensional filter that the mapping is made of.
    pub ladder: Option<Vec<f64>>,
    response: Response,
}

impl Directional {
    /// First and second channel of one side.
    pub fn pair(&self, side: Side) -> [&Poly; 2] {
        match side {
            Side::Analysis => [&self.p0, &self.p1],
            Side::Synthesis => [&self.q0, &self.q1],
        }
    }

    /// Greatest `|n1|` or `|n2|` of the mapping.
    pub fn radius(&self) -> usize {
        self.mapping.iter().map(|tap| tap.n1.abs().max(tap.n2.abs())).max().unwrap_or(0) as usize
    }

    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// The mapping's frequency response `Σ v cos(n1 ω1 + n2 ω2)`, by the closed form of the family.
    pub fn gain(&self, w1: f64, w2: f64) -> f64 {
        let (a, b) = match self.response {
            Response::Maxflat { .. } => (w1, w2),
            Response::Ladder(_) => (f64::midpoint(w2, w1), f64::midpoint(w2, -w1)),
        };
        self.response.at(a.cos(), b.cos())
    }
}

/// The response of a mapping, in the cosines of two phases.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    /// `F_N(ω1, ω2)` in cos ω1, cos ω2, less `2 slip cos 5ω2`.
    Maxflat { bernstein: Bernstein, slip: f64 },
    /// `β((ω2 + ω1)/2) β((ω2 - ω1)/2)` with `β(θ) = 2 Σ b_U cos Uθ`, in the cosines of the two half angles.
    Ladder(Vec<f64>),
}

impl Response {
    /// The response at one pair of cosines.
    pub(crate) fn at(&self, cos_a: f64, cos_b: f64) -> f64 {
        match self {
            Self::Maxflat { bernstein, slip } => {
                let [f] = bernstein.eval(&mut bernstein.scratch(), [cos_a], [cos_b]);
                f - slipped(*slip, cos_b)
            }
            Self::Ladder(half) => {
                let [a, b] = odd_cosine_sum(half, [cos_a, cos_b]);
                a * b
            }
        }
    }
}

/// `2 slip cos 5ω` in `c = cos ω`.
#[inline(always)]
pub(crate) fn slipped(slip: f64, c: f64) -> f64 {
    2.0 * slip * c * (5.0 + c * c * (16.0 * c * c - 20.0))
}

/// `2 (b_1 cos θ + b_3 cos 3θ + …)` at `L` angles in `c = cos θ`, by Clenshaw's rule with the step 2θ.
#[inline(always)]
pub(crate) fn odd_cosine_sum<const L: usize>(half: &[f64], c: [f64; L]) -> [f64; L] {
    let twice = c.map(|c| 2.0 * (2.0 * c * c - 1.0));
    let (mut y, mut next) = ([0.0; L], [0.0; L]);
    for &b in half.iter().rev() {
        for l in 0..L {
            (y[l], next[l]) = (b + twice[l] * y[l] - next[l], y[l]);
        }
    }
    // Σ_k b_{2k+1} cos (2k+1)θ = cos θ (y_0 - y_1), as cos(-θ) = cos θ starts the recurrence.
    std::array::from_fn(|l| 2.0 * c[l] * (y[l] - next[l]))
}

/// The filters of a directional family.
///
/// # Errors
/// When the family has no member of that order.
pub fn directional(filter: DirFilter) -> Result<Directional> {
    filter.check()?;
    Ok(match filter {
        DirFilter::Dmaxflat(order) => maxflat(filter, order, [hx(), gx()]),
        DirFilter::Dmaxflat6Toolbox => {
            let dc = 1.0 - 2.0 * ORDER_6_SLIP;
            let normalised = [hx(), gx()].map(|p| p.scaled(1.0 / p.eval(dc)));
            let mut slipped = maxflat(filter, 6, normalised);
            for tap in &mut slipped.mapping {
                if tap.n1 == 0 && tap.n2.abs() == 5 {
                    tap.v -= ORDER_6_SLIP;
                }
            }
            slipped.response = Response::Maxflat { bernstein: Bernstein::new(6), slip: ORDER_6_SLIP };
            slipped
        }
        DirFilter::Pkva(taps) => ladder(
            filter,
            match taps {
                6 => &[0.6261, -0.1794, 0.0688],
                8 => &[0.6302, -0.1924, 0.0930, -0.0403],
                _ => &[0.6300, -0.1930, 0.0972, -0.0526, 0.0272, -0.0144],
            },
        ),
        DirFilter::Cd => maxflat(filter, 1, [hcd(), gcd()]),
        DirFilter::Vk => {
            let [l0, l1] = lifting();
            let pairs = [l0.scaled(FRAC_1_SQRT_2), l1.scaled(SQRT_2)];
            let synthesis = [l1.alt().scaled(SQRT_2), l0.alt().scaled(FRAC_1_SQRT_2)];
            assemble(filter, diamond_maxflat(1), pairs, synthesis, Response::of_maxflat(1))
        }
    })
}

impl Response {
    fn of_maxflat(order: u8) -> Self {
        Self::Maxflat { bernstein: Bernstein::new(order), slip: 0.0 }
    }
}

/// The 9-tap filter from 12-digit decimal taps, in x = cos ω.
fn hcd() -> Poly {
    Poly::new([
        0.81289306611599998,
        0.63491294754400007,
        -0.74087318469199992,
        -0.13491294754399999,
        0.42798011857599999,
    ])
}

/// The 7-tap filter from 12-digit decimal taps.
fn gcd() -> Poly {
    Poly::new([0.61508705245700002, 0.86508705245599993, -0.115087052456, -0.36508705245599998])
}

/// The two lifting steps `L0 = (1 + x)/2` and `L1 = 1 - x/2 - x²/2`; `L0(x) L1(-x) + L1(x) L0(-x) = 1`.
fn lifting() -> [Poly; 2] {
    [Poly::new([0.5, 0.5]), Poly::new([1.0, -0.5, -0.5])]
}

/// `p0 = h, p1 = alt(g), q0 = g, q1 = alt(h)` in the mapping `F_order`.
fn maxflat(filter: DirFilter, order: u8, [h, g]: [Poly; 2]) -> Directional {
    let (h_alt, g_alt) = (h.alt(), g.alt());
    assemble(filter, diamond_maxflat(order), [h, g_alt], [g, h_alt], Response::of_maxflat(order))
}

/// Lifting in the mapping with the tap `b_U b_V` at `((U - V)/2, (U + V)/2)` for all odd U, V.
fn ladder(filter: DirFilter, half: &[f64]) -> Directional {
    let reach = 2 * half.len() as i64 - 1;
    let odd = || (-reach..=reach).step_by(2);
    let b = |u: i64| half[(u.unsigned_abs() / 2) as usize];
    let mut mapping: Vec<Tap> = odd()
        .flat_map(|u| odd().map(move |v| (u, v)))
        .map(|(u, v)| Tap { n1: (u - v) / 2, n2: i64::midpoint(u, v), v: b(u) * b(v) })
        .collect();
    mapping.sort_by_key(|tap| (tap.n1, tap.n2));
    let [l0, l1] = lifting();
    let synthesis = [l1.alt(), l0.alt()];
    let response = Response::Ladder(half.to_vec());
    Directional { ladder: Some(half.to_vec()), ..assemble(filter, mapping, [l0, l1], synthesis, response) }
}

fn assemble(
    filter: DirFilter,
    mapping: Vec<Tap>,
    [p0, p1]: [Poly; 2],
    [q0, q1]: [Poly; 2],
    response: Response,
) -> Directional {
    Directional { filter, mapping, p0, p1, q0, q1, ladder: None, response }
}
