use std::f64::consts::TAU;

use super::*;
use crate::filters::{Channel, directional};
use crate::spec::{DirFilter, PyrFilter};
use crate::tree::{node_gain, node_taps, path};

const SIZES: [(usize, usize); 6] = [(1, 1), (1, 37), (5, 3), (8, 8), (12, 50), (33, 20)];

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |m: f64, v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) })
}

/// The gain of a plane of the tree from the cosine sums over its nodes' taps, angles reduced in integers.
fn slow_gain(
    filters: &Directional,
    side: Side,
    g: Geometry,
    n: u8,
    plane: usize,
    at: [usize; 2],
    size: [usize; 2],
) -> f64 {
    let factor = |(l, k, channel): (u8, usize, Channel)| {
        let taps = node_taps(filters, g, l, k).unwrap();
        let part = |d: i64, i: usize, n: usize| (d * i as i64).rem_euclid(n as i64) as f64 / n as f64;
        let angle = |dr, dc| TAU * (part(dr, at[0], size[0]) + part(dc, at[1], size[1]));
        let mapping: f64 = taps.iter().map(|t| t.v * angle(t.dr, t.dc).cos()).sum();
        channel.of(filters.pair(side)).eval(mapping)
    };
    path(plane, n).unwrap().into_iter().map(factor).product()
}

#[test]
fn tree_gains_are_the_cosine_sums_over_taps() {
    let filters = [
        DirFilter::Dmaxflat(7),
        DirFilter::Dmaxflat(2),
        DirFilter::Dmaxflat6Toolbox,
        DirFilter::Pkva(12),
        DirFilter::Pkva(6),
        DirFilter::Cd,
        DirFilter::Vk,
    ];
    for filters in filters.map(|f| directional(f).unwrap()) {
        for (h, w) in SIZES {
            for (g, side, n) in [
                (Geometry::Toolbox, Side::Analysis, 2),
                (Geometry::Toolbox, Side::Synthesis, 4),
                (Geometry::Wedge, Side::Analysis, 5),
            ] {
                let planes = tree_gains::<f64>(&filters, side, g, n, h, w).unwrap();
                assert_eq!(planes.len(), 1 << n);
                for plane in [1, 2, 3, (1 << n) / 2 + 1, 1 << n] {
                    let got = &planes[plane - 1];
                    assert_eq!(got.len(), h * (w / 2 + 1));
                    let errors = (0..got.len()).map(|at| {
                        let (i, j) = (at / (w / 2 + 1), at % (w / 2 + 1));
                        got[at] - slow_gain(&filters, side, g, n, plane, [i, j], [h, w])
                    });
                    let error = largest(errors);
                    assert!(error < 2e-14, "{} {g} {h} x {w} depth {n} plane {plane}: {error:e}", filters.filter);
                }
            }
        }
    }
}

#[test]
fn tree_gains_reconstruct() {
    for filter in [DirFilter::Dmaxflat(7), DirFilter::Pkva(8), DirFilter::Vk] {
        let filters = directional(filter).unwrap();
        for g in [Geometry::Toolbox, Geometry::Wedge] {
            for n in 0..=8 {
                let (h, w) = (14, 9);
                let [a, s] = [Side::Analysis, Side::Synthesis]
                    .map(|side| tree_gains::<f64>(&filters, side, g, n, h, w).unwrap());
                let sum = |at: usize| a.iter().zip(&s).map(|(a, s)| a[at] * s[at]).sum::<f64>();
                let error = largest((0..h * (w / 2 + 1)).map(|at| sum(at) - 1.0));
                assert!(error < 1e-13, "{filter} {g} depth {n}: {error:e}");
            }
        }
    }
}

#[test]
fn a_forest_is_its_trees() {
    let filters = directional(DirFilter::Pkva(12)).unwrap();
    let tree = |n| tree_gains::<f32>(&filters, Side::Analysis, Geometry::Wedge, n, 20, 31).unwrap();
    let forest = forest_gains::<f32>(&filters, Side::Analysis, Geometry::Wedge, &[2, 3, 0, 3, 5], 20, 31).unwrap();
    assert_eq!(forest.keys().copied().collect::<Vec<_>>(), [0, 2, 3, 5]);
    for (&n, planes) in &forest {
        assert_eq!(*planes, tree(n), "depth {n}");
    }
    assert!(forest[&0][0].iter().all(|&g| g == 1.0));
}

#[test]
fn gains_do_not_depend_on_the_number_of_threads() {
    let filters = directional(DirFilter::Dmaxflat(7)).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| tree_gains::<f64>(&filters, Side::Analysis, Geometry::Toolbox, 3, 65, 48).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn gains_on_the_grid_are_gains_anywhere() {
    let filters = directional(DirFilter::Dmaxflat(5)).unwrap();
    let (h, w) = (24, 30);
    let planes = tree_gains::<f64>(&filters, Side::Analysis, Geometry::Wedge, 1, h, w).unwrap();
    for (i, j) in [(0, 0), (1, 2), (23, 15), (12, 7)] {
        let (wr, wc) = (TAU * i as f64 / h as f64, TAU * j as f64 / w as f64);
        let gain = filters.p1.eval(node_gain(&filters, Geometry::Wedge, 1, 1, wr, wc).unwrap());
        assert!((planes[1][i * (w / 2 + 1) + j] - gain).abs() < 1e-14);
    }
}

/// `F` at one index of the cosine transform, from angles reduced modulo a full turn.
fn slow_mapping(taps: &[f64], step: usize, i: usize, j: usize, h: usize, w: usize) -> f64 {
    let low_pass = |i: usize, n: usize| {
        let cosine = |k: usize| (TAU * ((i * k * (1 << step)) % (2 * n)) as f64 / (2 * n) as f64).cos();
        taps[0] + 2.0 * taps.iter().enumerate().skip(1).map(|(k, p)| p * cosine(k)).sum::<f64>()
    };
    2.0 * low_pass(i, h) * low_pass(j, w) - 1.0
}

#[test]
fn pyramid_gains_are_products_along_the_pyramid() {
    for family in [PyrFilter::Maxflat, PyrFilter::Pyr, PyrFilter::Pyrexc, PyrFilter::NineSeven] {
        let p = pyramid_prototype(family);
        for (h, w) in SIZES {
            let f = |step, i, j| slow_mapping(&p.taps, step, i, j, h, w);
            for step in 0..4 {
                let got = pyramid_gains(&p, step, h, w).unwrap();
                let error = largest(got.iter().enumerate().map(|(at, g)| g - f(step, at / w, at % w)));
                assert!(error < 3e-15, "{family} step {step}: {error:e}");
            }
            let spec = NsctSpec::new([0, 2, 1]).with_pyr(family);
            for side in [Side::Analysis, Side::Synthesis] {
                let [low, high] = p.pair(side);
                let got = scale_gains::<f64>(&spec, side, h, w).unwrap();
                assert_eq!((got.scales.len(), got.low.len()), (3, h * w));
                for at in 0..h * w {
                    let [f0, f1, f2] = [0, 1, 2].map(|step| f(step, at / w, at % w));
                    let (l0, l1, l2) = (low.eval(f0), low.eval(f1), low.eval(f2));
                    let want = [l0 * l1 * high.eval(f2), l0 * high.eval(f1), high.eval(f0), l0 * l1 * l2];
                    let found = [got.scales[0][at], got.scales[1][at], got.scales[2][at], got.low[at]];
                    let error = largest(want.iter().zip(&found).map(|(a, b)| a - b));
                    assert!(error < 1e-14, "{family} {h} x {w} at {at}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn pyramid_gains_reconstruct_at_any_depth() {
    let spec = NsctSpec::new(vec![0; 50]);
    let (h, w) = (21, 16);
    let [a, s] = [Side::Analysis, Side::Synthesis].map(|side| scale_gains::<f64>(&spec, side, h, w).unwrap());
    let error = largest((0..h * w).map(|at| {
        let high: f64 = a.scales.iter().zip(&s.scales).map(|(a, s)| a[at] * s[at]).sum();
        high + a.low[at] * s.low[at] - 1.0
    }));
    assert!(error < 1e-13, "{error:e}");
    // A constant image is index (0, 0) of the transform: all of it is in the low-pass plane.
    assert!((a.low[0] - 1.0).abs() < 1e-13 && a.scales.iter().all(|s| s[0].abs() < 1e-13));
    let none = scale_gains::<f64>(&NsctSpec::new([]), Side::Analysis, 2, 3).unwrap();
    assert_eq!((none.low, none.scales.len()), (vec![1.0; 6], 0));
}

#[test]
fn impossible_requests_are_errors() {
    let filters = directional(DirFilter::Vk).unwrap();
    let tree = |n, h, w| tree_gains::<f32>(&filters, Side::Analysis, Geometry::Wedge, n, h, w);
    assert!(matches!(tree(2, 0, 4), Err(Error::EmptyImage { height: 0, width: 4 })));
    assert!(matches!(tree(9, 4, 4), Err(Error::LevelTooDeep { level: 9, .. })));
    assert!(tree(1, usize::MAX, 1).is_err());
    assert!(scale_gains::<f32>(&NsctSpec::default(), Side::Analysis, 4, 0).is_err());
    assert!(pyramid_gains(&pyramid_prototype(PyrFilter::Pyr), 0, 0, 0).is_err());
}
