//! Prototypes of the pyramid (`atrousfilters` of the toolbox).

use std::f64::consts::SQRT_2;

use super::Poly;
use crate::spec::{PyrFilter, Side};

/// Filters of one pyramid step, as polynomials in the separable mapping `F = 2 P(rows) P(columns) - 1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pyramid1d {
    /// The half-band low-pass P from its centre outwards: `P[0], P[1], …`; `P[-k] = P[k]`.
    pub taps: Vec<f64>,
    /// Analysis low-pass.
    pub h0: Poly,
    /// Analysis high-pass.
    pub h1: Poly,
    /// Synthesis low-pass.
    pub g0: Poly,
    /// Synthesis high-pass.
    pub g1: Poly,
}

impl Pyramid1d {
    /// Low-pass and high-pass of one side.
    pub fn pair(&self, side: Side) -> [&Poly; 2] {
        match side {
            Side::Analysis => [&self.h0, &self.h1],
            Side::Synthesis => [&self.g0, &self.g1],
        }
    }
}

/// `HX(x) = (R + x + (1 - R) x²) / 2` with R = √2.
pub(super) fn hx() -> Poly {
    Poly::new([SQRT_2 / 2.0, 0.5, (1.0 - SQRT_2) / 2.0])
}

/// `GX(x) = (1 + x) (R + (4 - 3R) x + (2R - 3) x²) / 2` with R = √2.
pub(super) fn gx() -> Poly {
    Poly::new([SQRT_2 / 2.0, 2.0 - SQRT_2, (1.0 - SQRT_2) / 2.0, SQRT_2 - 1.5])
}

/// `H97(x) = ((1+x)/2)² (1 + b y + c y²)` with `y = (1 - x)/2`, y0 the real root of 20y³ + 10y² + 4y + 1,
/// c = -20 y0, b = 4 + 1/y0: the 9-tap filter of Cohen, Daubechies and Feauveau in x = cos ω.
fn h97() -> Poly {
    Poly::new([
        0.81289306611596057,
        0.63491294754299954,
        -0.7408731846889216,
        -0.13491294754299932,
        0.42798011857296114,
    ])
}

/// `G97(x) = ((1+x)/2)² (1 - y / y0)`, the 7-tap filter.
fn g97() -> Poly {
    Poly::new([0.61508705245700068, 0.86508705245700068, -0.11508705245700057, -0.36508705245700063])
}

/// The filters of a pyramid family.
pub fn pyramid_prototype(family: PyrFilter) -> Pyramid1d {
    let taps = match family {
        PyrFilter::Maxflat => [16.0, 9.0, 0.0, -1.0].map(|v| v / 32.0).to_vec(),
        PyrFilter::Pyr | PyrFilter::Pyrexc | PyrFilter::NineSeven => vec![0.5, 0.25],
    };
    let [h0, g0] = if family == PyrFilter::NineSeven { [h97(), g97()] } else { [hx(), gx()] };
    let [h1, g1] = if family == PyrFilter::Pyrexc { [h0.alt(), g0.alt()] } else { [g0.alt(), h0.alt()] };
    Pyramid1d { taps, h0, h1, g0, g1 }
}

/// The dilation of pyramid step `step` (0 for the finest): 2^step, for huge steps a smaller one with the same effect on
/// images of this size, since mirror extension repeats after twice the size.
pub(crate) fn dilation(step: usize, height: usize, width: usize) -> u64 {
    const PLAIN: usize = 40;
    if step < PLAIN {
        return 1 << step;
    }
    let period = lcm(2 * height as u128, 2 * width as u128);
    let mut dilation = (1_u128 << PLAIN) % period;
    for _ in PLAIN..step {
        dilation = 2 * dilation % period;
    }
    dilation as u64
}

fn lcm(a: u128, b: u128) -> u128 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}
