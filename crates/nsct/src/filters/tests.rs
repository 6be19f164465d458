use std::f64::consts::FRAC_1_SQRT_2;

use super::*;
use crate::spec::{DirFilter, PyrFilter, Side};

const PYRAMIDS: [PyrFilter; 4] = [PyrFilter::Maxflat, PyrFilter::Pyr, PyrFilter::Pyrexc, PyrFilter::NineSeven];

fn all_directional() -> Vec<Directional> {
    let orders = (1..=8).map(DirFilter::Dmaxflat);
    let others = [DirFilter::Pkva(6), DirFilter::Pkva(8), DirFilter::Pkva(12), DirFilter::Cd, DirFilter::Vk];
    orders.chain(others).map(|f| directional(f).unwrap()).collect()
}

/// Largest coefficient of `p - 1`.
fn off_one(p: &Poly) -> f64 {
    p.coefficients().iter().enumerate().map(|(k, c)| (c - f64::from(u8::from(k == 0))).abs()).fold(0.0, f64::max)
}

#[test]
fn the_prototypes_have_the_values_of_the_literature() {
    let p = pyramid_prototype(PyrFilter::Pyr);
    let near = |p: &Poly, want: &[f64]| {
        assert_eq!(p.coefficients().len(), want.len());
        p.coefficients().iter().zip(want).for_each(|(a, b)| assert!((a - b).abs() < 2e-15, "{a} {b}"));
    };
    near(&p.h0, &[FRAC_1_SQRT_2, 0.5, -0.20710678118654757]);
    near(&p.g0, &[FRAC_1_SQRT_2, 0.58578643762690474, -0.20710678118654768, -0.085786437626904855]);
    // GX = (1 + x) (R + (4 - 3R) x + (2R - 3) x²) / 2
    let r = 2_f64.sqrt();
    let product = Poly::new([0.5, 0.5]).times(&Poly::new([r, 4.0 - 3.0 * r, 2.0 * r - 3.0]));
    near(&p.g0, product.coefficients());
    for x in [1.0, -1.0] {
        let want = f64::midpoint(1.0, x);
        assert!((p.h0.eval(x) - want).abs() < 1e-15 && (p.g0.eval(x) - want).abs() < 1e-15);
    }
    // The 9/7 pair from the root of its cubic.
    let y0 =
        (0..60).fold(-0.34, |y: f64, _| y - (((20.0 * y + 10.0) * y + 4.0) * y + 1.0) / ((60.0 * y + 20.0) * y + 4.0));
    let y = Poly::new([0.5, -0.5]);
    let square = Poly::new([0.25, 0.5, 0.25]);
    let one = Poly::new([1.0]);
    let h = one.plus(&y.scaled(4.0 + 1.0 / y0)).plus(&y.times(&y).scaled(-20.0 * y0));
    let nine_seven = pyramid_prototype(PyrFilter::NineSeven);
    near(&nine_seven.h0, square.times(&h).coefficients());
    near(&nine_seven.g0, square.times(&one.plus(&y.scaled(-1.0 / y0))).coefficients());
}

#[test]
fn every_bank_reconstructs() {
    for family in PYRAMIDS {
        let p = pyramid_prototype(family);
        let error = off_one(&p.h0.times(&p.g0).plus(&p.h1.times(&p.g1)));
        assert!(error < 1e-15, "{family}: {error:e}");
        // P is half-band with P(0) = 1, P(π) = 0: the mapping runs from 1 to -1.
        let dc = p.taps[0] + 2.0 * p.taps[1..].iter().sum::<f64>();
        assert_eq!((p.taps[0], dc), (0.5, 1.0), "{family}");
        assert!((p.h0.eval(1.0) - 1.0).abs() < 1e-15 && p.h1.eval(1.0).abs() < 1e-15, "{family}");
    }
    for d in all_directional() {
        let error = off_one(&d.p0.times(&d.q0).plus(&d.p1.times(&d.q1)));
        let bound = if d.filter == DirFilter::Cd { 1e-11 } else { 1e-15 };
        assert!(error < bound, "{}: {error:e}", d.filter);
    }
    // With the slip of the published table, polynomials are normalised where the mapping's DC is, and no longer match.
    let d = directional(DirFilter::Dmaxflat6Toolbox).unwrap();
    let error = off_one(&d.p0.times(&d.q0).plus(&d.p1.times(&d.q1)));
    assert!((1e-8..1e-5).contains(&error), "{error:e}");
}

#[test]
fn energy_bounds_are_those_of_the_specification() {
    let close = |got: (f64, f64), want: (f64, f64), digits: f64, name: String| {
        assert!((got.0 - want.0).abs() < digits && (got.1 - want.1).abs() < digits, "{name}: {got:?} {want:?}");
    };
    for (family, want) in
        PYRAMIDS.into_iter().zip([(0.95863, 1.04352), (0.95863, 1.04352), (0.97855, 1.0), (0.90714, 1.10502)])
    {
        let p = pyramid_prototype(family);
        close(energy_bounds(&p.h0, &p.h1), want, 1e-5, family.to_string());
    }
    for d in all_directional() {
        let (want, digits) = match d.filter {
            DirFilter::Pkva(_) => ((0.884, 1.346), 1e-3),
            DirFilter::Cd => ((0.90714, 1.10502), 1e-5),
            DirFilter::Vk => ((0.486, 2.564), 1e-3),
            _ => ((0.95863, 1.04352), 1e-5),
        };
        let got = energy_bounds(&d.p0, &d.p1);
        close(got, want, digits, d.filter.to_string());
    }
}

/// `(n1, n2, numerator)`.
type Entries = &'static [(i64, i64, i64)];

/// Section 3.2: numerators over `denominator` for `0 <= n1 <= n2`.
const TABLE: [(u8, f64, Entries); 7] = [
    (1, 4.0, &[(0, 1, 1)]),
    (2, 32.0, &[(0, 1, 10), (1, 2, -1)]),
    (3, 512.0, &[(0, 1, 174), (0, 3, 2), (1, 2, -27), (2, 3, 3)]),
    (4, 4096.0, &[(0, 1, 1454), (0, 3, 34), (1, 2, -276), (1, 4, -3), (2, 3, 52), (3, 4, -5)]),
    (
        5,
        131072.0,
        &[
            (0, 1, 47780),
            (0, 3, 1610),
            (0, 5, 18),
            (1, 2, -10200),
            (1, 4, -250),
            (2, 3, 2500),
            (2, 5, 20),
            (3, 4, -425),
            (4, 5, 35),
        ],
    ),
    (
        6,
        1048576.0,
        &[
            (0, 1, 389112),
            (0, 3, 16460),
            (0, 5, 444),
            (1, 2, -89730),
            (1, 4, -3420),
            (1, 6, -30),
            (2, 3, 25875),
            (2, 5, 495),
            (3, 4, -5910),
            (3, 6, -35),
            (4, 5, 882),
            (5, 6, -63),
        ],
    ),
    (
        7,
        16777216.0,
        &[
            (0, 1, 6305740),
            (0, 3, 311780),
            (0, 5, 13804),
            (0, 7, 100),
            (1, 2, -1535709),
            (1, 4, -77910),
            (1, 6, -1715),
            (2, 3, 495145),
            (2, 5, 15435),
            (2, 7, 105),
            (3, 4, -136514),
            (3, 6, -2009),
            (4, 5, 27930),
            (4, 7, 126),
            (5, 6, -3675),
            (6, 7, 231),
        ],
    ),
];

#[test]
fn maximally_flat_mappings_equal_the_published_tables() {
    for (order, denominator, entries) in TABLE {
        let taps = diamond_maxflat(order);
        let n = usize::from(order);
        assert_eq!(taps.len(), 2 * n * (n + 1), "order {order}");
        let entry = |n1: i64, n2: i64| {
            let (low, high) = (n1.abs().min(n2.abs()), n1.abs().max(n2.abs()));
            entries.iter().find(|&&(a, b, _)| (a, b) == (low, high)).map_or(0, |&(.., v)| v)
        };
        for tap in &taps {
            assert_eq!(tap.v * denominator, entry(tap.n1, tap.n2) as f64, "order {order}: {tap:?}");
        }
        assert_eq!(taps.iter().map(|tap| tap.v).sum::<f64>(), 1.0, "order {order}: gain at the frequency 0");
        assert!(taps.windows(2).all(|w| (w[0].n1, w[0].n2) < (w[1].n1, w[1].n2)));
    }
}

#[test]
fn mappings_of_high_order_do_not_lose_accuracy() {
    // Order 20 is the last that is computed exactly, 21 the first from its frequency response.
    for order in [19, 20, 21, 22, 64] {
        let d = directional(DirFilter::Dmaxflat(order)).unwrap();
        let n = i64::from(order);
        assert_eq!(d.mapping.len() as i64, 2 * n * (n + 1));
        let sum = |w1: f64, w2: f64| -> f64 {
            d.mapping.iter().map(|t| t.v * (t.n1 as f64 * w1 + t.n2 as f64 * w2).cos()).sum()
        };
        for (w1, w2) in [(0.0, 0.0), (0.3, 1.1), (1.5, 1.6), (2.9, 0.2), (3.0, 3.1)] {
            let (got, want) = (sum(w1, w2), d.gain(w1, w2));
            assert!((got - want).abs() < 2e-14, "order {order} at ({w1}, {w2}): {got} {want}");
        }
        // Flat at 0 and at (π, π): as flat as the order says.
        assert!((sum(0.2, 0.1) - 1.0).abs() < 1e-13 && (sum(2.94, 3.04) + 1.0).abs() < 1e-12);
    }
}

#[test]
fn closed_forms_are_the_sums_over_taps() {
    let slipped = directional(DirFilter::Dmaxflat6Toolbox).unwrap();
    for d in all_directional().into_iter().chain([slipped]) {
        for i in 0..40 {
            let (w1, w2) = (f64::from(i) * 0.157 - 3.0, f64::from(i * i) * 0.0039 - 3.0);
            let sum: f64 = d.mapping.iter().map(|t| t.v * (t.n1 as f64 * w1 + t.n2 as f64 * w2).cos()).sum();
            let got = d.gain(w1, w2);
            assert!((got - sum).abs() < 3e-15, "{} at ({w1}, {w2}): {got} {sum}", d.filter);
        }
        assert!(d.mapping.iter().all(|t| (t.n1 + t.n2).rem_euclid(2) == 1), "{}", d.filter);
        let even = |t: &Tap| d.mapping.iter().any(|u| (u.n1, u.n2, u.v) == (-t.n1, -t.n2, t.v));
        assert!(d.mapping.iter().all(even), "{}", d.filter);
    }
}

#[test]
fn the_published_slip_is_where_the_specification_has_it() {
    let (right, slipped) =
        (directional(DirFilter::Dmaxflat(6)).unwrap(), directional(DirFilter::Dmaxflat6Toolbox).unwrap());
    let differing: Vec<_> = right.mapping.iter().zip(&slipped.mapping).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 2);
    for (a, b) in differing {
        assert_eq!((a.n1, a.n2.abs()), (0, 5));
        assert_eq!((a.v * 1048576.0, b.v * 1048576.0), (444.0, 44.0));
    }
    let dc = slipped.gain(0.0, 0.0);
    assert!((dc - (1.0 - 800.0 / 1048576.0)).abs() < 1e-15);
    assert!((slipped.p0.eval(dc) - 1.0).abs() < 1e-15 && (slipped.q0.eval(dc) - 1.0).abs() < 1e-15);
}

#[test]
fn ladders_have_all_products_of_their_taps() {
    for (taps, count) in [(6, 36), (8, 64), (12, 144)] {
        let d = directional(DirFilter::Pkva(taps)).unwrap();
        assert_eq!(d.mapping.len(), count);
        let half = d.ladder.as_ref().unwrap();
        assert_eq!(2 * half.len(), usize::from(taps));
        let at = |n1, n2| d.mapping.iter().find(|t| (t.n1, t.n2) == (n1, n2)).map(|t| t.v);
        // U = V = 1 is at (0, 1); U = 1, V = -1 at (1, 0); U = 3, V = 1 at (1, 2).
        assert_eq!(at(0, 1), Some(half[0] * half[0]));
        assert_eq!(at(1, 0), Some(half[0] * half[0]));
        assert_eq!(at(1, 2), Some(half[1] * half[0]));
        assert_eq!(at(1, 1), None);
    }
    assert!(directional(DirFilter::Dmaxflat(7)).unwrap().ladder.is_none());
}

#[test]
fn dense_arrays_have_the_sizes_of_the_toolbox() {
    let sizes = |d: &Directional| {
        [(Side::Analysis, Channel::First), (Side::Analysis, Channel::Second)]
            .map(|(s, c)| directional_array(d, s, c).dim())
    };
    for (filter, first, second) in [
        (DirFilter::Dmaxflat(7), 29, 43),
        (DirFilter::Dmaxflat(4), 17, 25),
        (DirFilter::Pkva(12), 23, 45),
        (DirFilter::Pkva(6), 11, 21),
        (DirFilter::Cd, 9, 7),
        (DirFilter::Vk, 3, 5),
    ] {
        assert_eq!(sizes(&directional(filter).unwrap()), [(first, first), (second, second)], "{filter}");
    }
    let parts = [Side::Analysis, Side::Synthesis].map(|s| [Channel::First, Channel::Second].map(|c| (s, c)));
    for (family, want) in PYRAMIDS.into_iter().zip([[13, 19, 19, 13], [5, 7, 7, 5], [5, 5, 7, 7], [9, 7, 7, 9]]) {
        let p = pyramid_prototype(family);
        for ((side, channel), size) in parts.concat().into_iter().zip(want) {
            let array = pyramid_array(&p, side, channel);
            assert_eq!(array.dim(), (size, size), "{family}");
            let dc = if channel == Channel::First { 1.0 } else { 0.0 };
            assert!((array.sum() - dc).abs() < 1e-14, "{family}: {}", array.sum());
        }
    }
}

#[test]
fn filters_that_do_not_exist_are_errors() {
    for filter in [DirFilter::Dmaxflat(0), DirFilter::Pkva(0), DirFilter::Pkva(10)] {
        assert!(matches!(directional(filter), Err(crate::Error::FilterOrder { .. })), "{filter:?}");
    }
}

#[test]
fn huge_dilations_act_like_small_ones() {
    for (h, w) in [(1, 1), (3, 5), (37, 64), (100, 70)] {
        for step in [39, 40, 41, 63, 64, 200] {
            let got = dilation(step, h, w);
            for side in [2 * h, 2 * w] {
                let want = (0..step).fold(1 % side, |l, _| 2 * l % side);
                assert_eq!(got as usize % side, want, "2^{step} modulo {side}");
            }
        }
        assert_eq!(dilation(5, h, w), 32);
    }
}

#[test]
fn polynomials_compute() {
    let p = Poly::new([1.0, 2.0, 3.0]);
    assert_eq!(p.eval(-2.0), 9.0);
    assert_eq!(p.alt().eval(2.0), 9.0);
    assert_eq!(p.times(&p.alt()), Poly::new([1.0, 0.0, 2.0, 0.0, 9.0]));
    assert_eq!(p.plus(&Poly::new([])).coefficients(), p.coefficients());
    assert_eq!((Poly::new([]).degree(), Poly::new([]).eval(5.0)), (0, 0.0));
    // x² + (1 - x)²/4 has its least value 1/5 at x = 1/5 and its greatest, 2, at x = -1.
    let (low, high) = energy_bounds(&Poly::new([0.0, 1.0]), &Poly::new([0.5, -0.5]));
    assert!((low - 0.2).abs() < 1e-12 && (high - 2.0).abs() < 1e-12);
}
