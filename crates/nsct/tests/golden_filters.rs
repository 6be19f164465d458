//! Filters and filter design against the arrays of the published toolbox.

mod data;
mod oracle;

use data::{difference, json, matrix, npy, text};
use ndarray::{Array2, Array3};
use nsct::filters::{Channel, directional, directional_array, pyramid_array, pyramid_prototype};
use nsct::toolbox::{
    Modulation, Resampling, dense_node, ld2quin, mctrans, modulate2, parafilters, qupz, resampz, upsample2df,
};
use nsct::{DirFilter, Geometry, PyrFilter, Side};

const PARTS: [(&str, Side, Channel); 4] = [
    ("h0", Side::Analysis, Channel::First),
    ("h1", Side::Analysis, Channel::Second),
    ("g0", Side::Synthesis, Channel::First),
    ("g1", Side::Synthesis, Channel::Second),
];

/// The array that `name` (`dir_pkva_f1_3`, `pyr_9_7_g0`, …) stands for.
fn made(name: &str) -> Array2<f64> {
    let part = |end: &str| PARTS.into_iter().find(|(part, ..)| *part == end);
    if let Some(rest) = name.strip_prefix("pyr_") {
        let (family, end) = rest.rsplit_once('_').expect("a family and a part");
        let (_, side, channel) = part(end).expect("a part of the bank");
        let family: PyrFilter = family.replace('_', "-").parse().expect("a known family");
        return pyramid_array(&pyramid_prototype(family), side, channel);
    }
    let rest = name.strip_prefix("dir_").expect("a pyramid or a directional filter");
    let (rest, end) = rest.rsplit_once('_').expect("a family and a part");
    let family = |name: &str| directional(name.parse().expect("a known family")).expect("a filter");
    if let Some((_, side, channel)) = part(end) {
        return directional_array(&family(rest), side, channel);
    }
    let (rest, list) = rest.rsplit_once('_').expect("a list of parallelogram filters");
    let filters = family(rest);
    let [h0, h1] = [Channel::First, Channel::Second].map(|c| directional_array(&filters, Side::Analysis, c));
    let (f1, f2) = parafilters(&h0, &h1);
    let index: usize = end.parse().expect("an index");
    (if list == "f1" { f1 } else { f2 })[index - 1].clone()
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_dense_filter() {
    let index = json("filters/index.json");
    let index = index.as_array().expect("a list");
    assert!(!index.is_empty());
    for entry in index {
        let name = text(entry, "name");
        let want: Array2<f64> = npy(&format!("filters/{name}.npy"));
        let got = made(name);
        assert_eq!(got.dim(), want.dim(), "{name}");
        let d = difference(&got, &want);
        assert!(d <= 2e-15, "{name}: {d:e}");
    }
}

/// Runs `check(rest of the name, input, output)` for every group of the primitives whose name begins with `stem`.
fn each(stem: &str, input: &str, output: &str, check: impl Fn(&str, Array2<f64>, Array2<f64>)) {
    let prims = json("prims.json");
    let mut found = 0;
    for (key, value) in prims.as_object().expect("an object") {
        if let Some(rest) = key.strip_prefix(stem).and_then(|rest| rest.strip_suffix(input)) {
            let want = &prims[format!("{stem}{rest}{output}")];
            check(rest, matrix(value), matrix(want));
            found += 1;
        }
    }
    assert!(found > 0, "no group {stem}");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn modulations() {
    each("modulate2_", "_x", "_y", |name, x, y| {
        let along = match name.chars().last() {
            Some('r') => Modulation::Rows,
            Some('c') => Modulation::Columns,
            _ => Modulation::Both,
        };
        assert_eq!(modulate2(&x, along), y, "{name}");
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn resamplings() {
    each("resampz_", "_x", "_y", |name, x, y| {
        let by = match &name[..1] {
            "1" => Resampling::R1,
            "2" => Resampling::R2,
            "3" => Resampling::R3,
            _ => Resampling::R4,
        };
        assert_eq!(resampz(&x, by), y, "{name}");
    });
    each("qupz_", "_x", "_y", |name, x, y| assert_eq!(qupz(&x, name.parse().unwrap()).unwrap(), y, "{name}"));
    each("upsample2df_", "_x", "_y", |name, x, y| {
        assert_eq!(upsample2df(&x, name.parse().unwrap()).unwrap(), y, "{name}");
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn transformations() {
    let prims = json("prims.json");
    each("mctrans_", "_b", "_y", |name, b, y| {
        let t = matrix(&prims[format!("mctrans_{name}_t")]);
        let got = mctrans(b.as_slice().unwrap(), &t).unwrap();
        assert_eq!(got.dim(), y.dim(), "{name}");
        let d = difference(&got, &y);
        assert!(d <= 1e-15, "{name}: {d:e}");
    });
    for (output, second) in [("_h0", false), ("_h1", true)] {
        each("ld2quin_", "_beta", output, |name, beta, want| {
            let (h0, h1) = ld2quin(beta.as_slice().unwrap()).unwrap();
            let got = if second { h1 } else { h0 };
            assert_eq!(got.dim(), want.dim(), "{name}");
            let d = difference(&got, &want);
            assert!(d <= 1e-15, "{name}{output}: {d:e}");
        });
    }
}

/// The toolbox's own way through the tree: dense filters, sampling matrices and `zconv2`, on the golden trees of one
/// scale.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn dense_nodes_make_the_golden_planes() {
    let manifest = json("manifest.json");
    let mut seen = 0;
    for case in manifest["cases"].as_array().expect("cases") {
        let levels = case["levels"].as_array().expect("levels");
        let (h, w) = (data::number(case, "H"), data::number(case, "W"));
        let [level] = levels.as_slice() else { continue };
        // Dense convolution is slow: the larger images are left to the other engines.
        let n = level.as_u64().expect("a level") as u8;
        if h * w > 2000 || n > 4 {
            continue;
        }
        seen += 1;
        let geometry: Geometry = text(case, "geometry").parse().unwrap();
        let filters = directional(text(case, "dfilt").parse::<DirFilter>().unwrap()).unwrap();
        let pyramid = oracle::families::pyramid(text(case, "pfilt"));
        let x: Array2<f64> = npy(text(&case["files"], "x"));
        let bands: Array3<f64> = npy(text(&case["files"], "bands"));
        let high = oracle::nsct::polynomial(x.as_slice().unwrap(), &pyramid.1[1], |v| {
            oracle::pyramid_map::pyramid_map(v, h, w, &pyramid.0, 1)
        });
        let diamond = [Channel::First, Channel::Second].map(|c| directional_array(&filters, Side::Analysis, c));
        let fans = diamond.each_ref().map(|h| modulate2(h, Modulation::Columns));
        let (f1, f2) = parafilters(&diamond[0], &diamond[1]);
        let mut planes = vec![high];
        for l in 1..=n {
            let mut next = Vec::new();
            for (k, plane) in planes.iter().enumerate() {
                let node = dense_node(geometry, l, k + 1).unwrap();
                let pair = match node.parallelogram {
                    None => [&fans[0], &fans[1]],
                    Some(i) => [&f1[i], &f2[i]],
                };
                for f in pair {
                    let taps: Vec<f64> = f.iter().copied().collect();
                    next.push(oracle::zconv2::zconv2(plane, h, w, &taps, f.nrows(), f.ncols(), node.matrix));
                }
            }
            planes = next;
        }
        for (b, plane) in planes.iter().enumerate() {
            let d = difference(plane, bands.index_axis(ndarray::Axis(0), b + 1));
            assert!(d <= 1e-10, "{} plane {}: {d:e}", text(case, "id"), b + 1);
        }
    }
    assert!(seen >= 3, "only {seen} cases were small enough");
}
