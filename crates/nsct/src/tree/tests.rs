use std::f64::consts::PI;

use super::*;
use crate::filters::directional;
use crate::spec::{DirFilter, Side};

const GEOMETRIES: [Geometry; 2] = [Geometry::Toolbox, Geometry::Wedge];

/// All nodes down to depth `n`.
fn nodes(n: u8) -> impl Iterator<Item = (u8, usize)> {
    (1..=n).flat_map(|l| (1..=1 << (l - 1)).map(move |k| (l, k)))
}

#[test]
fn maps_are_those_of_the_specification() {
    let map = |g, l, k| node_map(g, l, k).unwrap();
    let of = |a: [i64; 2], b: [i64; 2], signed_by| NodeMap { matrix: [a, b], signed_by };
    for g in GEOMETRIES {
        assert_eq!(map(g, 1, 1), of([1, 0], [0, 1], SignedBy::N2));
        assert_eq!(map(g, 2, 1), of([1, 1], [-1, 1], SignedBy::N2));
        assert_eq!(map(g, 2, 2), map(g, 2, 1));
        // (2n1 - 2n2, 2n2), (2n1 + 2n2, 2n2), (2n2, 2n1 - 2n2), (2n2, 2n1 + 2n2)
        assert_eq!(map(g, 3, 1), of([2, -2], [0, 2], SignedBy::N1));
        assert_eq!(map(g, 3, 2), of([2, 2], [0, 2], SignedBy::N2));
        assert_eq!(map(g, 3, 3), of([0, 2], [2, -2], SignedBy::N1));
        assert_eq!(map(g, 3, 4), of([0, 2], [2, 2], SignedBy::N2));
    }
    // s = -1: toolbox (2n1, 4n2), wedge (4n1 - 4n2, -2n1 + 4n2)
    assert_eq!(map(Geometry::Toolbox, 4, 1), of([2, 0], [0, 4], SignedBy::N1));
    assert_eq!(map(Geometry::Wedge, 4, 1), of([4, -4], [-2, 4], SignedBy::N1));
}

#[test]
fn no_two_taps_collide_and_order_is_increasing() {
    for filter in [DirFilter::Dmaxflat(3), DirFilter::Pkva(6)] {
        let filters = directional(filter).unwrap();
        for g in GEOMETRIES {
            for (l, k) in nodes(MAX_LEVEL) {
                let taps = node_taps(&filters, g, l, k).unwrap();
                assert_eq!(taps.len(), filters.mapping.len());
                let increasing = taps.windows(2).all(|w| (w[0].dr, w[0].dc) < (w[1].dr, w[1].dc));
                assert!(increasing, "{filter} {g} {l} {k}");
            }
        }
    }
}

#[test]
fn gains_are_the_sums_over_taps() {
    let filters = [DirFilter::Dmaxflat(7), DirFilter::Dmaxflat6Toolbox, DirFilter::Pkva(12), DirFilter::Vk];
    for filters in filters.map(|f| directional(f).unwrap()) {
        for g in GEOMETRIES {
            for (l, k) in nodes(5) {
                let taps = node_taps(&filters, g, l, k).unwrap();
                for (wr, wc) in [(0.0, 0.0), (0.3, 0.7), (-2.0, 1.1), (3.0, 0.1), (PI, -1.0)] {
                    let sum: f64 = taps.iter().map(|t| t.v * (t.dr as f64 * wr + t.dc as f64 * wc).cos()).sum();
                    let gain = node_gain(&filters, g, l, k, wr, wc).unwrap();
                    // The sum's angles reach 300 radians, hence its error.
                    assert!((gain - sum).abs() < 2e-13, "{} {g} {l} {k}: {gain} {sum}", filters.filter);
                }
            }
        }
    }
}

#[test]
fn frequency_substitutions_are_those_of_the_specification() {
    let d = directional(DirFilter::Dmaxflat(4)).unwrap();
    for (wr, wc) in [(0.2, 0.9), (-1.3, 2.2), (3.0, 0.0)] {
        let gain = |l, k| node_gain(&d, Geometry::Toolbox, l, k, wr, wc).unwrap();
        assert!((gain(1, 1) - d.gain(wr, wc + PI)).abs() < 1e-14);
        assert!((gain(2, 1) - d.gain(wr - wc, wr + wc + PI)).abs() < 1e-14);
        assert!((gain(3, 1) - d.gain(2.0 * wr + PI, 2.0 * wc - 2.0 * wr)).abs() < 1e-14);
    }
}

#[test]
fn ladders_convolve_to_the_mapping() {
    for taps in [6, 8, 12] {
        let filters = directional(DirFilter::Pkva(taps)).unwrap();
        for g in GEOMETRIES {
            for (l, k) in nodes(5) {
                let (first, second) = ladder_node(&filters, g, l, k).unwrap().unwrap();
                assert_eq!((first.len(), second.len()), (taps.into(), taps.into()));
                let mut products: Vec<NodeTap> = first
                    .iter()
                    .flat_map(|a| second.iter().map(|b| NodeTap { dr: a.dr + b.dr, dc: a.dc + b.dc, v: a.v * b.v }))
                    .collect();
                products.sort_by_key(|t| (t.dr, t.dc));
                assert_eq!(products, node_taps(&filters, g, l, k).unwrap(), "pkva{taps} {g} {l} {k}");
            }
        }
    }
    let filters = directional(DirFilter::Cd).unwrap();
    assert_eq!(ladder_node(&filters, Geometry::Wedge, 1, 1).unwrap(), None);
}

#[test]
fn paths_lead_to_their_planes() {
    for n in 1..=MAX_LEVEL {
        for plane in 1..=1 << n {
            let steps = path(plane, n).unwrap();
            let mut at = 1;
            for (i, &(l, k, channel)) in steps.iter().enumerate() {
                assert_eq!((usize::from(l), k), (i + 1, at));
                at = if channel == Channel::First { 2 * k - 1 } else { 2 * k };
            }
            assert_eq!((steps.len(), at), (n.into(), plane));
        }
    }
}

/// Gain of the plane at the end of a path, at one frequency.
fn plane_gain(filters: &Directional, g: Geometry, path: &[(u8, usize, Channel)], wr: f64, wc: f64) -> f64 {
    let factor = |&(l, k, channel): &(u8, usize, Channel)| {
        channel.of(filters.pair(Side::Analysis)).eval(node_gain(filters, g, l, k, wr, wc).unwrap())
    };
    path.iter().map(factor).product()
}

/// For each plane the share of its energy in each wedge, over the whole square of frequencies.
fn shares(filters: &Directional, g: Geometry, n: u8) -> Vec<Vec<f64>> {
    const GRID: usize = 64;
    let wedges: Vec<Wedge> = (1..=1 << n).map(|d| wedge(d, n).unwrap()).collect();
    let at = |i: usize| (i as f64 + 0.5) / GRID as f64 * 2.0 * PI - PI;
    (1..=1 << n)
        .map(|plane| {
            let path = path(plane, n).unwrap();
            let mut energy = vec![0.0; wedges.len()];
            // Half of the square is enough; a little off the diagonals, which belong to two wedges.
            for (i, j) in (0..GRID).flat_map(|i| (0..GRID / 2).map(move |j| (i, j))) {
                let (wr, wc) = (at(i), at(j) + 1e-6);
                let gain = plane_gain(filters, g, &path, wr, wc);
                let own = wedges.iter().position(|w| w.contains(wr, wc)).expect("every frequency is in some wedge");
                energy[own] += gain * gain;
            }
            let total: f64 = energy.iter().sum();
            energy.into_iter().map(|e| e / total).collect()
        })
        .collect()
}

/// For each plane the wedge that holds most of its energy, and the mean of these shares.
fn strongest_wedges(filters: &Directional, g: Geometry, n: u8) -> (Vec<usize>, f64) {
    let shares = shares(filters, g, n);
    let strongest = |s: &Vec<f64>| (0..s.len()).max_by(|&a, &b| s[a].total_cmp(&s[b])).unwrap() + 1;
    let order: Vec<usize> = shares.iter().map(strongest).collect();
    let mean = order.iter().zip(&shares).map(|(&wedge, s)| s[wedge - 1]).sum::<f64>() / shares.len() as f64;
    (order, mean)
}

#[test]
fn planes_lie_in_their_wedges() {
    let (dmaxflat7, pkva) = (directional(DirFilter::Dmaxflat(7)).unwrap(), directional(DirFilter::Pkva(12)).unwrap());
    for n in 1..=3 {
        let identity: Vec<usize> = (1..=1 << n).collect();
        assert_eq!(strongest_wedges(&dmaxflat7, Geometry::Toolbox, n).0, identity);
    }
    // The specification's shares leave the lowest frequencies out, where a wedge is narrower than any filter.
    for (filters, n, share) in
        [(&dmaxflat7, 3, 0.790), (&dmaxflat7, 4, 0.738), (&dmaxflat7, 5, 0.691), (&pkva, 3, 0.864), (&pkva, 4, 0.827)]
    {
        let (order, own) = strongest_wedges(filters, Geometry::Wedge, n);
        assert_eq!(order, (1..=1 << n).collect::<Vec<_>>(), "{} at depth {n}", filters.filter);
        assert!((share - 0.055..share).contains(&own), "{} at depth {n}: {own}", filters.filter);
    }
}

#[test]
fn the_published_geometry_mixes_directions_at_depth_4() {
    let filters = directional(DirFilter::Dmaxflat(7)).unwrap();
    let (order, strongest) = strongest_wedges(&filters, Geometry::Toolbox, 4);
    assert_eq!(order, [2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]);
    assert!((0.44..0.5).contains(&strongest), "{strongest}");
}

#[test]
fn wedges_tile_the_plane_of_frequencies() {
    for n in 1..=MAX_LEVEL {
        let wedges: Vec<Wedge> = (1..=1 << n).map(|d| wedge(d, n).unwrap()).collect();
        for i in 0..1000 {
            let angle = (f64::from(i) + 0.37) / 1000.0 * PI;
            let holders = wedges.iter().filter(|w| w.contains(angle.sin(), angle.cos())).count();
            assert_eq!(holders, 1, "depth {n}, angle {angle}");
        }
    }
    let w = wedge(1, 3).unwrap();
    assert_eq!((w.kind, w.from, w.to), (WedgeKind::Columns, -1.0, -0.5));
    let w = wedge(5, 3).unwrap();
    assert_eq!((w.kind, w.from, w.to), (WedgeKind::Rows, 0.5, 1.0));
    assert!((wedge(5, 3).unwrap().degrees() - 126.87).abs() < 0.01);
    assert!((wedge(1, 1).unwrap().degrees(), wedge(2, 1).unwrap().degrees()) == (0.0, 90.0));
    assert!(!w.contains(0.0, 0.0));
}

#[test]
fn nodes_and_planes_that_do_not_exist_are_errors() {
    let filters = directional(DirFilter::Vk).unwrap();
    for (l, k) in [(0, 1), (1, 0), (1, 2), (3, 5), (9, 1), (255, 1)] {
        let e = node_taps(&filters, Geometry::Wedge, l, k).unwrap_err();
        assert!(matches!(e, Error::NoSuchNode { what: "node", .. }), "{l} {k}: {e}");
        assert!(ladder_node(&filters, Geometry::Toolbox, l, k).is_err());
        assert!(node_gain(&filters, Geometry::Toolbox, l, k, 0.0, 0.0).is_err());
    }
    for (plane, n) in [(0, 3), (9, 3), (1, 0), (1, 9)] {
        assert!(path(plane, n).is_err() && wedge(plane, n).is_err(), "{plane} {n}");
    }
}
