//! The dense engine, and the toolbox's own functions, against the stored transforms.
//! `LOCKSTEP_DATA` names the data folder.

mod data;

use data::{difference, json, npy, number, text};
use gpu_core::{Cpu, Tensor};
use ndarray::{Array2, Array3};
use nsct::toolbox::{Filters, nsctdec, nsctrec};
use nsct::{Coeffs, Engine, Geometry, NsctPlan, NsctSpec, Real};
use serde_json::Value;

fn upload<T: Real, const R: usize>(cpu: &Cpu, shape: [usize; R], x: &[f64]) -> Tensor<Cpu, T, R> {
    let x: Vec<T> = x.iter().map(|&v| T::of(v)).collect();
    Tensor::from_slice(cpu, shape, &x).unwrap()
}

fn download<T: Real, const R: usize>(cpu: &Cpu, x: &Tensor<Cpu, T, R>) -> Vec<f64> {
    x.to_vec(cpu).unwrap().into_iter().map(Real::to_f64).collect()
}

/// Every case, with the limits for bands, for what the inverse makes of weighted bands, and for the round trip.
fn each<T: Real>(limits: [f64; 2], round_trip: impl Fn(&str) -> f64) {
    let manifest = json("manifest.json");
    let cases = manifest["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let id = text(case, "id");
        let (h, w) = (number(case, "H"), number(case, "W"));
        let levels: Vec<u8> = serde_json::from_value(case["levels"].clone()).expect("levels");
        let geometry: Geometry = text(case, "geometry").parse().expect("a geometry");
        let (dir, pyr) = (text(case, "dfilt").parse().unwrap(), text(case, "pfilt").parse().unwrap());
        let spec = NsctSpec::new(levels.clone()).with_dir(dir).with_pyr(pyr).with_geometry(geometry);
        let x: Array2<f64> = npy(text(&case["files"], "x"));
        let bands: Array3<f64> = npy(text(&case["files"], "bands"));
        let recw: Array2<f64> = npy(text(&case["files"], "recw"));

        let cpu = Cpu::new();
        let plan = NsctPlan::<_, T>::new(&cpu, &spec.clone().with_engine(Engine::DenseReference), h, w).unwrap();
        assert_eq!(plan.engine(), Engine::DenseReference);
        let image = upload::<T, 4>(&cpu, [1, 1, h, w], x.as_slice().unwrap());
        let coeffs = plan.decompose(&image).unwrap();
        let d = difference(&download(&cpu, coeffs.tensor()), &bands);
        assert!(d <= limits[0], "{id}: bands differ by {d:e}");
        let back = download(&cpu, &plan.reconstruct(&coeffs).unwrap());
        let d = difference(&back, &x);
        let limit = round_trip(text(case, "dfilt"));
        assert!(d <= limit, "{id}: the round trip differs by {d:e}");

        let weight = |band: usize| 1.0 + 0.25 * (band % 5) as f64 - 0.1 * (band % 3) as f64;
        let weighted: Vec<f64> = bands.indexed_iter().map(|((band, ..), v)| v * weight(band)).collect();
        let weighted = upload::<T, 5>(&cpu, [1, 1, bands.dim().0, h, w], &weighted);
        let weighted = Coeffs::from_tensor(weighted, spec.planes()).unwrap();
        let d = difference(&download(&cpu, &plan.reconstruct(&weighted).unwrap()), &recw);
        assert!(d <= limits[1], "{id}: weighted bands differ by {d:e}");

        if geometry == Geometry::Toolbox {
            let filters = Filters::<_, T>::new(&cpu, dir, pyr).unwrap();
            let same = nsctdec(&cpu, &image, &levels, &filters).unwrap();
            assert_eq!(download(&cpu, same.tensor()), download(&cpu, coeffs.tensor()), "{id}: nsctdec");
            assert_eq!(download(&cpu, &nsctrec(&cpu, &same, &filters).unwrap()), back, "{id}: nsctrec");
        }
    }
}

fn loose(filter: &str) -> Option<f64> {
    match filter {
        "dmaxflat6-toolbox" => Some(1e-2),
        _ => None,
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn cases_in_f64() {
    each::<f64>([1e-10, 2e-10], |filter| match filter {
        "cd" => 1e-8,
        _ => loose(filter).unwrap_or(1e-10),
    });
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn cases_in_f32() {
    each::<f32>([5e-4, 1e-3], |filter| loose(filter).unwrap_or(5e-4));
}

/// The steps, one by one, are the whole.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn a_transform_by_hand() {
    use nsct::Side;
    use nsct::toolbox::{nsdfbdec, nsdfbrec, nsfbdec, nsfbrec};

    let manifest = json("manifest.json");
    let by_id = |id: &str| -> Value {
        let cases = manifest["cases"].as_array().expect("cases");
        cases.iter().find(|case| text(case, "id") == id).expect("the case").clone()
    };
    // Levels 1, 2, 3, pkva, pyr.
    let case = by_id("p02");
    let (h, w) = (number(&case, "H"), number(&case, "W"));
    let x: Array2<f64> = npy(text(&case["files"], "x"));
    let bands: Array3<f64> = npy(text(&case["files"], "bands"));
    let cpu = Cpu::new();
    let filters =
        Filters::<_, f64>::new(&cpu, text(&case, "dfilt").parse().unwrap(), text(&case, "pfilt").parse().unwrap())
            .unwrap();
    let ([h0, h1], [g0, g1]) = (filters.pyramid.pair(Side::Analysis), filters.pyramid.pair(Side::Synthesis));

    let mut low = upload::<f64, 3>(&cpu, [1, h, w], x.as_slice().unwrap());
    let mut trees = Vec::new();
    for (step, depth) in [3, 2, 1].into_iter().enumerate() {
        let (next, high) = nsfbdec(&cpu, &low, h0, h1, step).unwrap();
        trees.push(nsdfbdec(&cpu, &high, &filters, depth).unwrap());
        low = next;
    }
    let mut made = download(&cpu, &low);
    for tree in trees.iter().rev() {
        made.extend(download(&cpu, tree));
    }
    let d = difference(&made, &bands);
    assert!(d <= 1e-10, "bands differ by {d:e}");
    for (step, tree) in trees.iter().enumerate().rev() {
        let high = nsdfbrec(&cpu, tree, &filters).unwrap();
        low = nsfbrec(&cpu, &low, &high, g0, g1, step).unwrap();
    }
    let d = difference(&download(&cpu, &low), &x);
    assert!(d <= 1e-10, "the round trip differs by {d:e}");
}
