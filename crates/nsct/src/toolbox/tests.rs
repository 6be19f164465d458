use ndarray::{Array2, array};

use super::*;
use crate::filters::{Channel, directional, directional_array};
use crate::spec::{DirFilter, Geometry, Side};

#[test]
fn modulation_keeps_the_centre() {
    let h = Array2::from_shape_fn((3, 4), |(a, b)| (4 * a + b) as f32 + 1.0);
    assert_eq!(modulate2(&h, Modulation::Rows).row(1), h.row(1));
    assert_eq!(modulate2(&h, Modulation::Rows)[[0, 2]], -3.0);
    assert_eq!(modulate2(&h, Modulation::Columns).column(2), h.column(2));
    assert_eq!(modulate2(&h, Modulation::Both)[[1, 2]], h[[1, 2]]);
    assert_eq!(modulate2(&h, Modulation::Both)[[0, 2]], -h[[0, 2]]);
}

#[test]
fn shears_move_taps_and_trim() {
    let h = array![[1.0, 2.0], [3.0, 4.0]];
    assert_eq!(resampz(&h, Resampling::R1), array![[0.0, 2.0], [1.0, 4.0], [3.0, 0.0]]);
    assert_eq!(resampz(&h, Resampling::R2), array![[1.0, 0.0], [3.0, 2.0], [0.0, 4.0]]);
    assert_eq!(resampz(&h, Resampling::R3), array![[0.0, 1.0, 2.0], [3.0, 4.0, 0.0]]);
    assert_eq!(resampz(&h, Resampling::R4), array![[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]);
    // Rows are trimmed, columns stay.
    assert_eq!(resampz(&array![[0.0, 5.0], [0.0, 0.0]], Resampling::R1), array![[0.0, 5.0]]);
    for by in [Resampling::R1, Resampling::R2, Resampling::R3, Resampling::R4] {
        assert!(resampz(&Array2::<f64>::zeros((3, 2)), by).is_empty());
        assert!(resampz(&Array2::<f64>::zeros((0, 0)), by).is_empty());
    }
    assert_eq!(qupz(&h, 1).unwrap(), array![[0.0, 2.0, 0.0], [1.0, 0.0, 4.0], [0.0, 3.0, 0.0]]);
    assert_eq!(qupz(&h, 2).unwrap(), array![[0.0, 1.0, 0.0], [3.0, 0.0, 2.0], [0.0, 4.0, 0.0]]);
    assert!(qupz(&Array2::<f64>::zeros((2, 2)), 1).unwrap().is_empty());
    assert!(qupz(&h, 3).is_err());
}

#[test]
fn upsampling_keeps_trailing_zeros_and_refuses_huge_results() {
    let h = array![[1.0_f32, 2.0]];
    assert_eq!(upsample2df(&h, 0).unwrap(), h);
    assert_eq!(upsample2df(&h, 1).unwrap(), array![[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]);
    for power in [20, 63, 64, u32::MAX] {
        assert!(upsample2df(&h, power).is_err(), "{power}");
    }
}

#[test]
fn ladder_filters_are_the_expanded_polynomials() {
    for taps in [6, 8, 12] {
        let d = directional(DirFilter::Pkva(taps)).unwrap();
        let half = d.ladder.clone().unwrap();
        let beta: Vec<f64> = half.iter().rev().chain(&half).copied().collect();
        let (h0, h1) = ld2quin(&beta).unwrap();
        for (got, channel) in [(h0, Channel::First), (h1, Channel::Second)] {
            let want = directional_array(&d, Side::Analysis, channel);
            assert_eq!(got.dim(), want.dim());
            let error = (&got - &want).iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            assert!(error < 1e-15, "pkva{taps}: {error:e}");
        }
    }
    assert!(ld2quin::<f64>(&[]).is_err() && ld2quin(&[1.0, 2.0, 1.0]).is_err());
}

#[test]
fn the_mcclellan_transform_substitutes_the_cosine() {
    // cos 2ω = 2 cos² ω - 1.
    let t = array![[0.0, 0.25, 0.0], [0.25, 0.0, 0.25], [0.0, 0.25, 0.0]];
    let got = mctrans(&[0.5, 0.0, 0.0, 0.0, 0.5], &t).unwrap();
    let mut want = conv2_full(&t, &t).mapv(|v| 2.0 * v);
    want[[2, 2]] -= 1.0;
    assert_eq!(got, want);
    assert_eq!(mctrans(&[3.0], &t).unwrap(), array![[3.0]]);
    assert!(mctrans(&[1.0, 1.0], &t).is_err() && mctrans::<f64>(&[], &t).is_err());
    assert!(mctrans(&[1.0], &array![[1.0, 2.0]]).is_err());
}

#[test]
fn convolution_of_nothing_is_nothing() {
    let none = Array2::<f64>::zeros((0, 3));
    assert!(conv2_full(&none, &array![[1.0]]).is_empty());
    assert_eq!(conv2_full(&array![[1.0, 2.0]], &array![[1.0], [3.0]]), array![[1.0, 2.0], [3.0, 6.0]]);
}

#[test]
fn sampling_matrices_are_those_of_the_toolbox() {
    let node = |g, l, k| dense_node(g, l, k).unwrap();
    for g in [Geometry::Toolbox, Geometry::Wedge] {
        assert_eq!(node(g, 1, 1), DenseNode { parallelogram: None, matrix: [[1, 0], [0, 1]] });
        assert_eq!(node(g, 2, 2), DenseNode { parallelogram: None, matrix: [[1, -1], [1, 1]] });
        for (k, i) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
            assert_eq!(node(g, 3, k), DenseNode { parallelogram: Some(i), matrix: [[2, 0], [0, 2]] });
        }
    }
    for l in 3..=8_u8 {
        let (half, q) = (1_usize << (l - 2), 1_i64 << (l - 2));
        for k in 1..=half {
            let s = 2 * ((k as i64 - 1) / 2) - q / 2 + 1;
            let i = (k - 1) % 2;
            let want = DenseNode { parallelogram: Some(i), matrix: [[q, 0], [-2 * s, 2]] };
            assert_eq!(node(Geometry::Toolbox, l, k), want, "{l} {k}");
            let want = DenseNode { parallelogram: Some(2 + i), matrix: [[2, -2 * s], [0, q]] };
            assert_eq!(node(Geometry::Toolbox, l, half + k), want, "{l} {k}");
        }
    }
    assert!(dense_node(Geometry::Toolbox, 0, 1).is_err());
}
