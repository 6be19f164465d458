//! The stored results of the published toolbox and of an independent reference, for every engine.
//! `LOCKSTEP_DATA` names the data folder; its README describes the layout.

use std::fs;
use std::path::{Path, PathBuf};

use gpu_core::testing::{Tolerance, compare, data_folder};
use gpu_core::{Cpu, Tensor};
use ndarray::{Array, ArrayD, Axis, Dimension, Ix2, Ix3, Ix4, Ix5};
use nsct::{Coeffs, Engine, Geometry, NsctBackend, NsctPlan, NsctSpec, Real};
use serde_json::Value as Json;

const ENGINES: [Engine; 3] = [Engine::Taps, Engine::Ladder, Engine::Spectral];

fn manifest() -> (PathBuf, Json) {
    let folder = data_folder("nsct");
    let text = fs::read_to_string(folder.join("manifest.json")).expect("the data folder has a manifest");
    (folder, serde_json::from_str(&text).expect("the manifest is JSON"))
}

fn read<D: Dimension>(folder: &Path, name: &Json) -> Array<f64, D> {
    let path = folder.join(name.as_str().expect("a file name"));
    let all: ArrayD<f64> = ndarray_npy::read_npy(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    all.into_dimensionality().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn list<'a>(manifest: &'a Json, key: &str) -> &'a [Json] {
    let list = manifest[key].as_array().unwrap_or_else(|| panic!("the manifest has no list `{key}`"));
    assert!(!list.is_empty(), "the manifest's list `{key}` is empty");
    list
}

fn spec(case: &Json, engine: Engine) -> NsctSpec {
    let text = |key: &str| case[key].as_str().unwrap_or_else(|| panic!("{}: no {key}", case["id"]));
    let levels: Vec<u8> = serde_json::from_value(case["levels"].clone()).expect("levels are a list of numbers");
    // Batches and digests name no geometry: they come from the toolbox's.
    let geometry = case["geometry"].as_str().map_or(Geometry::Toolbox, |g| g.parse().expect("a known geometry"));
    NsctSpec::new(levels)
        .with_dir(text("dfilt").parse().expect("a known filter"))
        .with_pyr(text("pfilt").parse().expect("a known filter"))
        .with_geometry(geometry)
        .with_engine(engine)
}

/// Whether the engine can compute the case's filters.
fn possible(engine: Engine, spec: &NsctSpec) -> bool {
    engine != Engine::Ladder || matches!(spec.dir, nsct::DirFilter::Pkva(_))
}

fn narrow<T: Real, D: Dimension>(x: &Array<f64, D>) -> Vec<T> {
    x.iter().map(|&v| T::of(v)).collect()
}

/// The largest absolute difference must be at most `limit`.
fn near<T: Real>(what: &str, got: &[T], wanted: &[f64], limit: f64) {
    let got: Vec<f64> = got.iter().map(|&v| Real::to_f64(v)).collect();
    assert_eq!(got.len(), wanted.len(), "{what}");
    let c = compare(&got, wanted, Tolerance::abs(limit));
    assert!(c.passed(), "{what}: {}; allowed: {limit:e}", c.describe(&[got.len()]));
}

/// Limits of the specification for one element type.
struct Limits {
    bands: f64,
    recw: f64,
    round_trip: f64,
}

fn limits<T: Real>(dfilt: &str) -> Limits {
    let double = T::NAME == "f64";
    let by_type = |f64_limit, f32_limit| if double { f64_limit } else { f32_limit };
    Limits {
        bands: by_type(1e-10, 5e-4),
        recw: by_type(2e-10, 1e-3),
        round_trip: match dfilt {
            "dmaxflat6-toolbox" => 1e-2,
            "cd" | "7-9" => by_type(1e-8, 5e-4),
            _ => by_type(1e-10, 5e-4),
        },
    }
}

fn check_case<B: NsctBackend<T>, T: Real>(b: &B, folder: &Path, case: &Json, engine: Engine) {
    let spec = spec(case, engine);
    if !possible(engine, &spec) {
        return;
    }
    let name = format!("{} {engine:?} {} {}", case["id"], B::NAME, T::NAME);
    let limits = limits::<T>(case["dfilt"].as_str().unwrap_or_default());
    let files = &case["files"];
    let x: Array<f64, Ix2> = read(folder, &files["x"]);
    let bands: Array<f64, Ix3> = read(folder, &files["bands"]);
    let recw: Array<f64, Ix2> = read(folder, &files["recw"]);
    let (h, w) = x.dim();
    let names: Vec<String> = spec.planes().iter().map(ToString::to_string).collect();
    let wanted: Vec<String> = serde_json::from_value(case["bands"].clone()).expect("band names");
    assert_eq!(names, wanted, "{name}");

    let plan = NsctPlan::<B, T>::new(b, &spec, h, w).unwrap();
    let input = Tensor::from_slice(b, [1, 1, h, w], &narrow::<T, _>(&x)).unwrap();
    let coeffs = plan.decompose(&input).unwrap();
    near(&format!("{name} bands"), &coeffs.tensor().to_vec(b).unwrap(), bands.as_slice().unwrap(), limits.bands);
    let back = plan.reconstruct(&coeffs).unwrap().to_vec(b).unwrap();
    near(&format!("{name} round trip"), &back, x.as_slice().unwrap(), limits.round_trip);
    if !files["rec"].is_null() {
        let rec: Array<f64, Ix2> = read(folder, &files["rec"]);
        near(&format!("{name} rec"), &back, rec.as_slice().unwrap(), limits.recw);
    }

    let mut weighted = bands;
    for (i, mut band) in weighted.axis_iter_mut(Axis(0)).enumerate() {
        band *= 1.0 + 0.25 * (i % 5) as f64 - 0.1 * (i % 3) as f64;
    }
    let tensor = Tensor::from_slice(b, [1, 1, plan.planes().len(), h, w], &narrow::<T, _>(&weighted)).unwrap();
    let coeffs = Coeffs::from_tensor(tensor, plan.planes()).unwrap();
    let back = plan.reconstruct(&coeffs).unwrap().to_vec(b).unwrap();
    near(&format!("{name} recw"), &back, recw.as_slice().unwrap(), limits.recw);
}

fn check_batch<B: NsctBackend<T>, T: Real>(b: &B, folder: &Path, case: &Json, engine: Engine) {
    let spec = spec(case, engine);
    if !possible(engine, &spec) {
        return;
    }
    let x: Array<f64, Ix4> = read(folder, &case["files"]["x"]);
    let bands: Array<f64, Ix5> = read(folder, &case["files"]["bands"]);
    let (n, c, h, w) = x.dim();
    let plan = NsctPlan::<B, T>::new(b, &spec, h, w).unwrap();
    let input = Tensor::from_slice(b, [n, c, h, w], &narrow::<T, _>(&x)).unwrap();
    let got = plan.decompose(&input).unwrap().into_tensor().to_vec(b).unwrap();
    // The file is [band, B, C, H, W].
    let wanted = bands.permuted_axes([1, 2, 0, 3, 4]);
    let wanted: Vec<f64> = wanted.iter().copied().collect();
    let name = format!("{} {engine:?} {} {}", case["id"], B::NAME, T::NAME);
    near(&name, &got, &wanted, limits::<T>("").bands);
}

fn check_digest<B: NsctBackend<T>, T: Real>(b: &B, folder: &Path, case: &Json, engine: Engine) {
    let spec = spec(case, engine);
    if !possible(engine, &spec) {
        return;
    }
    let path = folder.join(case["image"].as_str().expect("an image"));
    let x: Array<u8, Ix2> = ndarray_npy::read_npy(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (h, w) = x.dim();
    let plan = NsctPlan::<B, T>::new(b, &spec, h, w).unwrap();
    let input: Vec<T> = x.iter().map(|&v| T::of(v.into())).collect();
    let input = Tensor::from_slice(b, [1, 1, h, w], &input).unwrap();
    let all = plan.decompose(&input).unwrap().into_tensor().to_vec(b).unwrap();
    let (absolute, relative) = if T::NAME == "f64" { (1e-10, 1e-10) } else { (5e-4, 1e-5) };
    let bands = list(case, "bands");
    assert_eq!(bands.len(), plan.planes().len());
    for ((band, id), plane) in bands.iter().zip(plan.planes()).zip(all.chunks_exact(h * w)) {
        let name = format!("{} {engine:?} {} {} {id}", case["id"], B::NAME, T::NAME);
        assert_eq!(band["name"].as_str(), Some(&*id.to_string()), "{name}");
        let plane: Vec<f64> = plane.iter().map(|&v| Real::to_f64(v)).collect();
        let samples: Vec<f64> = (0..16).map(|t| plane[(37 * t + 11) % h * w + (91 * t + 5) % w]).collect();
        let wanted: Vec<f64> = serde_json::from_value(band["samples"].clone()).expect("samples");
        near(&format!("{name} samples"), &samples, &wanted, absolute);
        let number = |key: &str| band[key].as_f64().unwrap_or_else(|| panic!("{name}: no {key}"));
        let extremes = plane.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        near(&format!("{name} min, max"), &[extremes.0, extremes.1], &[number("min"), number("max")], absolute);
        // Sums of band-pass planes cancel almost completely; they are relative to the sum of magnitudes.
        let magnitude: f64 = plane.iter().map(|v| v.abs()).sum();
        let sum: f64 = plane.iter().sum();
        assert!((sum - number("sum")).abs() <= relative * magnitude, "{name}: sum {sum}, wanted {}", number("sum"));
        let squares: f64 = plane.iter().map(|v| v * v).sum();
        let wanted = number("sumsq");
        assert!((squares - wanted).abs() <= relative * wanted, "{name}: sum of squares {squares}, wanted {wanted}");
    }
}

/// Runs a check on every case of one list of the manifest, with every engine and both element types.
macro_rules! golden {
    ($b:expr, $key:literal, $check:ident) => {{
        let (b, (folder, manifest)) = ($b, manifest());
        for case in list(&manifest, $key) {
            for engine in ENGINES {
                $check::<_, f64>(&b, &folder, case, engine);
                $check::<_, f32>(&b, &folder, case, engine);
            }
        }
    }};
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn cases_match_on_the_cpu() {
    golden!(Cpu::new(), "cases", check_case);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn batches_match_on_the_cpu() {
    golden!(Cpu::new(), "batch", check_batch);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn digests_match_on_the_cpu() {
    golden!(Cpu::new(), "digests", check_digest);
}

/// Names are `512x512 3,3,4,4 dmaxflat7 maxflat toolbox`.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn gains_match() {
    let text = fs::read_to_string(data_folder("nsct").join("apps.json")).expect("the data folder has apps.json");
    let apps: Json = serde_json::from_str(&text).expect("apps.json is JSON");
    let all = apps["band_gains"].as_object().expect("apps.json has band_gains");
    assert!(!all.is_empty());
    for (name, gains) in all {
        let [size, levels, dir, pyr, geometry] = name.split(' ').collect::<Vec<_>>()[..] else { panic!("{name}") };
        let numbers =
            |text: &str, by: char| -> Vec<usize> { text.split(by).map(|n| n.parse().expect("a number")).collect() };
        let levels: Vec<u8> = numbers(levels, ',').into_iter().map(|n| n as u8).collect();
        let spec = NsctSpec::new(levels)
            .with_dir(dir.parse().unwrap())
            .with_pyr(pyr.parse().unwrap())
            .with_geometry(geometry.parse().unwrap());
        let [h, w] = numbers(size, 'x')[..] else { panic!("{name}") };
        let plan = NsctPlan::<_, f32>::new(&Cpu::new(), &spec, h, w).unwrap();
        // The low-pass plane's, then a list a scale.
        let flat = |v: &Json| -> Vec<f64> {
            v.as_array().map_or_else(|| vec![v.clone()], Clone::clone).iter().filter_map(Json::as_f64).collect()
        };
        let wanted: Vec<f64> = gains.as_array().expect("a list").iter().flat_map(flat).collect();
        near(name, plan.gains().unwrap(), &wanted, 1e-12);
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::*;

    #[test]
    #[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
    fn golden_cases_match_on_cuda() {
        golden!(gpu_core::testing::cuda(), "cases", check_case);
    }

    #[test]
    #[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
    fn golden_batches_match_on_cuda() {
        golden!(gpu_core::testing::cuda(), "batch", check_batch);
    }

    #[test]
    #[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
    fn golden_digests_match_on_cuda() {
        golden!(gpu_core::testing::cuda(), "digests", check_digest);
    }
}
