//! Denoising, fusion, gains and the noise generator against stored results.
//! `LOCKSTEP_DATA` names the data folder.

mod data;

use std::collections::BTreeMap;

use data::{json, number, path, text};
use gpu_core::{Backend, Cpu, Tensor};
use ndarray::Array2;
use nsct::denoise::{Shrinkage, denoise};
use nsct::fuse::{Rule, fuse};
use nsct::{Geometry, NsctBackend, NsctPlan, NsctSpec, Real, noise};
use serde_json::Value;

const PEAK: f64 = 255.0;

fn image(name: &str) -> Array2<f64> {
    let pixels: Array2<u8> = ndarray_npy::read_npy(path(&format!("images/{name}.npy"))).expect("a picture of bytes");
    pixels.mapv(f64::from)
}

fn spec(case: &Value, geometry: Geometry) -> NsctSpec {
    let levels: Vec<u8> = serde_json::from_value(case["levels"].clone()).expect("levels");
    NsctSpec::new(levels)
        .with_dir(text(case, "dfilt").parse().expect("a known filter"))
        .with_pyr(text(case, "pfilt").parse().expect("a known filter"))
        .with_geometry(geometry)
}

fn upload<B: Backend, T: Real>(b: &B, x: &Array2<f64>) -> Tensor<B, T, 4> {
    let (h, w) = x.dim();
    let pixels: Vec<T> = x.iter().map(|&v| T::of(v)).collect();
    Tensor::from_slice(b, [1, 1, h, w], &pixels).unwrap()
}

fn ratio<B: Backend, T: Real>(b: &B, reference: &Array2<f64>, x: &Tensor<B, T, 4>) -> f64 {
    let x: Vec<f64> = x.to_vec(b).unwrap().into_iter().map(Real::to_f64).collect();
    noise::psnr(reference.as_slice().unwrap(), &x, PEAK).unwrap()
}

/// The case's number at `key` against what was measured.
fn agrees(what: &str, case: &Value, key: &str, got: f64, limit: f64) {
    let want = case[key].as_f64().unwrap_or_else(|| panic!("{what}: no {key}"));
    assert!((got - want).abs() <= limit, "{what} {key}: {got:.4} dB, wanted {want:.4} dB");
}

/// Every line of the table. Cases of one image share the plans; every picture goes through in one batch a plan.
fn denoising<B: NsctBackend<T>, T: Real>(b: &B, limit: f64) {
    let apps = json("apps.json");
    let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for case in apps["denoise"].as_array().expect("cases") {
        let key = format!("{} {} {} {}", text(case, "image"), case["levels"], text(case, "dfilt"), text(case, "pfilt"));
        groups.entry(key).or_default().push(case);
    }
    assert!(!groups.is_empty());
    for (what, cases) in groups {
        let clean = image(text(cases[0], "image"));
        let (h, w) = clean.dim();
        for (geometry, ending) in [(Geometry::Toolbox, "toolbox"), (Geometry::Wedge, "wedge")] {
            let plan = NsctPlan::new(b, &spec(cases[0], geometry), h, w).unwrap();
            for case in &cases {
                let sigma = case["sigma"].as_f64().expect("sigma");
                let noise = noise::gaussian(case["seed"].as_u64().expect("a seed"), clean.len());
                let noise = Array2::from_shape_vec(clean.dim(), noise).unwrap();
                let x = upload::<B, T>(b, &(&clean + sigma * noise));
                let what = format!("{what} sigma {sigma}");
                agrees(&what, case, "psnr_noisy", ratio(b, &clean, &x), limit);
                for (how, start) in [(Shrinkage::Hard, "psnr_hard"), (Shrinkage::Bivariate, "psnr_bivariate")] {
                    let y = denoise(&plan, &x, Some(sigma), how).unwrap().image;
                    agrees(&what, case, &format!("{start}_{ending}"), ratio(b, &clean, &y), limit);
                }
            }
        }
    }
}

fn fusion<B: NsctBackend<T>, T: Real>(b: &B, limit: f64) {
    let apps = json("apps.json");
    let cases = apps["fusion"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let name = text(case, "image");
        let what = format!("{name} {}", case["levels"]);
        let clean = image(name);
        let [a, c] = ["focusA", "focusB"].map(|part| upload::<B, T>(b, &image(&format!("{name}_{part}"))));
        let (h, w) = clean.dim();
        agrees(&what, case, "psnr_A", ratio(b, &clean, &a), limit);
        agrees(&what, case, "psnr_B", ratio(b, &clean, &c), limit);
        let plan = NsctPlan::new(b, &spec(case, Geometry::Toolbox), h, w).unwrap();
        for (rule, key) in [(Rule::Mean, "psnr_average"), (Rule::MaxAbs, "psnr_maxabs"), (Rule::Energy, "psnr_energy7")]
        {
            let y = fuse(&plan, &[&a, &c], rule).unwrap();
            agrees(&what, case, key, ratio(b, &clean, &y), limit);
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn denoising_in_f64() {
    denoising::<_, f64>(&Cpu::new(), 0.01);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn denoising_in_f32() {
    denoising::<_, f32>(&Cpu::new(), 0.02);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn fusion_in_f64() {
    fusion::<_, f64>(&Cpu::new(), 0.01);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn fusion_in_f32() {
    fusion::<_, f32>(&Cpu::new(), 0.02);
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_denoising_and_fusion_on_cuda() {
    let cuda = gpu_core::testing::cuda();
    denoising::<_, f32>(&cuda, 0.02);
    fusion::<_, f32>(&cuda, 0.02);
}

/// The noise in the table's pictures is found again: details raise the estimate most where there is little noise.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn the_estimate_is_near() {
    let cpu = Cpu::new();
    let clean = image("camera");
    let (h, w) = clean.dim();
    let plan = NsctPlan::<_, f32>::new(&cpu, &NsctSpec::new([3, 3, 4, 4]), h, w).unwrap();
    for sigma in [10.0, 20.0, 50.0] {
        let g = noise::gaussian(20_261_120 + sigma as u64, clean.len());
        let x = upload::<_, f32>(&cpu, &(&clean + sigma * Array2::from_shape_vec(clean.dim(), g).unwrap()));
        let got = denoise(&plan, &x, None, Shrinkage::Hard).unwrap().sigma;
        assert!(got.len() == 1 && (0.97..1.25).contains(&(got[0] / sigma)), "{sigma}: {got:?}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn gains() {
    let apps = json("apps.json");
    let cases = apps["band_gains"].as_object().expect("cases");
    assert!(!cases.is_empty());
    for (key, want) in cases {
        let words: Vec<&str> = key.split(' ').collect();
        let (h, w) = words[0].split_once('x').expect("a size");
        let levels: Vec<u8> = words[1].split(',').map(|n| n.parse().unwrap()).collect();
        let spec = NsctSpec::new(levels)
            .with_dir(words[2].parse().unwrap())
            .with_pyr(words[3].parse().unwrap())
            .with_geometry(words[4].parse().unwrap());
        let plan = NsctPlan::<_, f64>::new(&Cpu::new(), &spec, h.parse().unwrap(), w.parse().unwrap()).unwrap();
        let list = want.as_array().expect("a list");
        let want: Vec<f64> = list
            .iter()
            .flat_map(|v| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]))
            .map(|v| v.as_f64().expect("a number"))
            .collect();
        let got = plan.gains().unwrap();
        let d = data::difference(got, &want);
        assert!(d <= 1e-10, "{key}: {d:e}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn generator() {
    let apps = json("apps.json");
    let want: Vec<f64> = serde_json::from_value(apps["noise_2x4_seed_20261130"].clone()).expect("numbers");
    let got = noise::gaussian(20_261_130, want.len());
    let d = data::difference(&got, &want);
    assert!(d <= 1e-14, "{d:e}");
    assert_eq!(number(&apps["denoise"][0], "seed"), 20_261_120 + number(&apps["denoise"][0], "sigma"));
}
