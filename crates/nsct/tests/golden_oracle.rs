//! The test oracles themselves against the golden data: what the library's kernels are compared with is right.

mod data;
mod oracle;

use data::{difference, json, matrix, npy, number, text};
use ndarray::{Array2, Array3, Array4, Array5, Axis};
use oracle::nsct::Transform;
use serde_json::Value;

/// Levels of a case, coarse to fine.
fn levels(case: &Value) -> Vec<u8> {
    case["levels"].as_array().expect("levels").iter().map(|v| v.as_u64().expect("a level") as u8).collect()
}

fn transform(case: &Value) -> Transform {
    let wedge = case["geometry"].as_str() == Some("wedge");
    Transform::new(text(case, "dfilt"), text(case, "pfilt"), wedge)
}

/// The factor of band `b` in the coefficients that are no transform of an image.
fn weight(b: usize) -> f64 {
    1.0 + 0.25 * (b % 5) as f64 - 0.1 * (b % 3) as f64
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn the_whole_transform() {
    let manifest = json("manifest.json");
    let cases = manifest["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let (id, h, w, levels) = (text(case, "id"), number(case, "H"), number(case, "W"), levels(case));
        let transform = transform(case);
        let x: Array2<f64> = npy(text(&case["files"], "x"));
        let bands: Array3<f64> = npy(text(&case["files"], "bands"));
        assert_eq!(x.dim(), (h, w), "{id}");
        let planes = transform.dec(&x.iter().copied().collect::<Vec<_>>(), h, w, &levels);
        assert_eq!(planes.len(), bands.len_of(Axis(0)), "{id}");
        for (b, plane) in planes.iter().enumerate() {
            let d = difference(plane, bands.index_axis(Axis(0), b));
            assert!(d <= 1e-10, "{id} band {b}: {d:e}");
        }
        let weighted: Vec<Vec<f64>> =
            bands.outer_iter().enumerate().map(|(b, band)| band.iter().map(|v| v * weight(b)).collect()).collect();
        let recw: Array2<f64> = npy(text(&case["files"], "recw"));
        let d = difference(&transform.rec(&weighted, h, w, &levels), &recw);
        assert!(d <= 2e-10, "{id} recw: {d:e}");
        if let Some(file) = case["files"]["rec"].as_str() {
            let rec: Array2<f64> = npy(file);
            let d = difference(&transform.rec(&planes, h, w, &levels), &rec);
            assert!(d <= 1e-10, "{id} rec: {d:e}");
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn a_batch_is_single_images() {
    let manifest = json("manifest.json");
    for case in manifest["batch"].as_array().expect("batch") {
        let transform = transform(case);
        let x: Array4<f64> = npy(text(&case["files"], "x"));
        let bands: Array5<f64> = npy(text(&case["files"], "bands"));
        let (batch, channels, h, w) = x.dim();
        for n in 0..batch {
            for c in 0..channels {
                let image = x.index_axis(Axis(0), n).index_axis_move(Axis(0), c);
                let planes = transform.dec(&image.iter().copied().collect::<Vec<_>>(), h, w, &levels(case));
                for (b, plane) in planes.iter().enumerate() {
                    let want = bands.index_axis(Axis(0), b).index_axis_move(Axis(0), n).index_axis_move(Axis(0), c);
                    let d = difference(plane, want);
                    assert!(d <= 1e-10, "{} image {n} channel {c} band {b}: {d:e}", text(case, "id"));
                }
            }
        }
    }
}

/// Calls `check(name, field)` for every numbered group `stem_NN` of the primitives; `field` reads one of its arrays.
fn each(stem: &str, check: impl Fn(&str, &dyn Fn(&str) -> Array2<f64>)) {
    let prims = json("prims.json");
    let groups: Vec<&String> = prims
        .as_object()
        .expect("an object")
        .keys()
        .filter(|key| key.starts_with(stem) && key.ends_with("_x"))
        .collect();
    assert!(!groups.is_empty(), "no group {stem}");
    for key in groups {
        let name = key.trim_end_matches("_x");
        check(name, &|field| matrix(&prims[format!("{name}_{field}")]));
    }
}

fn flat(a: &Array2<f64>) -> Vec<f64> {
    a.iter().copied().collect()
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn zconv2() {
    each("zconv2", |name, field| {
        let (x, f, m, y) = (field("x"), field("h"), field("m").mapv(|v| v as i64), field("y"));
        let m = [[m[[0, 0]], m[[0, 1]]], [m[[1, 0]], m[[1, 1]]]];
        let got = oracle::zconv2::zconv2(&flat(&x), x.nrows(), x.ncols(), &flat(&f), f.nrows(), f.ncols(), m);
        let d = difference(&got, &y);
        assert!(d <= 1e-12, "{name}: {d:e}");
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn atrousc() {
    each("atrousc", |name, field| {
        let (x, f, y) = (field("x"), field("h"), field("y"));
        let step = field("m")[[0, 0]] as usize;
        let (got, rows, columns) =
            oracle::atrousc::atrousc(&flat(&x), x.nrows(), x.ncols(), &flat(&f), f.nrows(), f.ncols(), step);
        assert_eq!((rows, columns), y.dim(), "{name}");
        let d = difference(&got, &y);
        assert!(d <= 1e-12, "{name}: {d:e}");
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn symext() {
    each("symext", |name, field| {
        let (x, size, shift, y) = (field("x"), field("hsize"), field("shift"), field("y"));
        let size = (size[[0, 0]] as usize, size[[0, 1]] as usize);
        let shift = (shift[[0, 0]] as i64, shift[[0, 1]] as i64);
        let (got, rows, columns) = oracle::symext::symext(&flat(&x), x.nrows(), x.ncols(), size, shift);
        assert_eq!((rows, columns), y.dim(), "{name}");
        assert_eq!(got, flat(&y), "{name}");
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn efilter2() {
    each("efilter2", |name, field| {
        let (x, f, y) = (field("x"), field("h"), field("y"));
        let got = oracle::efilter2::efilter2(&flat(&x), x.nrows(), x.ncols(), &flat(&f), f.nrows(), f.ncols());
        let d = difference(&got, &y);
        assert!(d <= 1e-12, "{name}: {d:e}");
    });
}
