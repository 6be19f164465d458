//! Denoising, fusion, gains and noise against `apps.json`.

use gpu_core::Tensor;
use nsct::denoise::{Shrinkage, denoise};
use nsct::fuse::{Rule, fuse};
use nsct::{Geometry, NsctBackend, NsctPlan, NsctSpec, noise};
use serde_json::Value;

use super::{Both, Check, Verifier, image, largest};
use crate::exit::{Failure, Result};
use crate::nsct::args::spec_from_json;
use crate::nsct::work::{Sample, download};
use crate::pictures::npy::Array;
use crate::pictures::psnr;

/// How far a figure in dB may be off.
fn decibels<T: Sample>() -> f64 {
    if T::NAME == "f64" { 0.01 } else { 0.02 }
}

/// Differences to figures that an entry states; those it does not state are left out.
struct Figures<'a> {
    entry: &'a Value,
    limit: f64,
    checks: Vec<Check>,
}

impl Figures<'_> {
    fn add(&mut self, name: &'static str, key: &str, got: f64) {
        if let Some(wanted) = self.entry[key].as_f64() {
            self.checks.push(Check::new(name, (got - wanted).abs(), self.limit));
        }
    }

    fn states(&self, key: &str) -> bool {
        self.entry[key].is_number()
    }
}

impl Verifier<'_> {
    /// Every entry of `apps.json`.
    pub(super) fn apps<B: Both>(&mut self, b: &B, apps: &Value) {
        for (key, value) in apps.as_object().into_iter().flatten() {
            match key.as_str() {
                "denoise" | "fusion" => {
                    for entry in value.as_array().into_iter().flatten() {
                        self.application(b, key, entry);
                    }
                }
                "band_gains" => {
                    for (name, gains) in value.as_object().into_iter().flatten() {
                        if !self.skips(name) && self.wants_type("f64") {
                            let outcome = check_gains(b, name, gains);
                            self.line(&format!("gains {name}"), "auto", "f64", outcome);
                        }
                    }
                }
                _ => match key.rsplit_once("seed_").and_then(|(_, seed)| seed.parse().ok()) {
                    Some(seed) if key.starts_with("noise") => {
                        if !self.skips(key) && self.wants_type("f64") {
                            let wanted = numbers(value);
                            let got = noise::gaussian(seed, wanted.len());
                            self.line(key, "-", "f64", Ok(vec![Check::new("values", largest(&got, &wanted), 1e-12)]));
                        }
                    }
                    _ => self.note(format!("apps.json: the entry `{key}` is unknown and was not checked")),
                },
            }
        }
    }

    fn application<B: Both>(&mut self, b: &B, kind: &str, entry: &Value) {
        let text = |key: &str| entry[key].as_str().unwrap_or("?").to_owned();
        let (name, dfilt) = (text("image"), text("dfilt"));
        let id = match entry["sigma"].as_f64() {
            Some(sigma) => format!("{kind} {name} {sigma} {dfilt}"),
            None => format!("{kind} {name} {} {dfilt}", entry["levels"].as_array().map_or(0, Vec::len)),
        };
        if self.skips(&id) {
            return;
        }
        let known: &[&str] = if kind == "denoise" {
            &[
                "image",
                "sigma",
                "seed",
                "levels",
                "dfilt",
                "pfilt",
                "psnr_noisy",
                "psnr_hard_toolbox",
                "psnr_bivariate_toolbox",
                "psnr_hard_wedge",
                "psnr_bivariate_wedge",
                "psnr_swt_sym4_hard",
            ]
        } else {
            &[
                "image",
                "levels",
                "dfilt",
                "pfilt",
                "geometry",
                "psnr_A",
                "psnr_B",
                "psnr_average",
                "psnr_maxabs",
                "psnr_energy7",
                "psnr_swt_db4_maxabs",
            ]
        };
        self.unknown_keys(kind, entry, known);
        for dtype in ["f64", "f32"] {
            if !self.wants_type(dtype) {
                continue;
            }
            let outcome = match (kind, dtype) {
                ("denoise", "f64") => self.denoised::<B, f64>(b, entry, &name),
                ("denoise", _) => self.denoised::<B, f32>(b, entry, &name),
                (_, "f64") => self.fused::<B, f64>(b, entry, &name),
                _ => self.fused::<B, f32>(b, entry, &name),
            };
            let engine = self.args.engine.unwrap_or_default();
            self.line(&id, engine.name(), dtype, outcome);
        }
    }

    fn photo(&self, name: &str) -> Result<Array> {
        image(&self.args.dir, &format!("images/{name}.npy"))
    }

    fn spec(&self, entry: &Value, geometry: Geometry) -> Result<NsctSpec> {
        Ok(spec_from_json(entry, geometry)?.with_engine(self.args.engine.unwrap_or_default()))
    }

    fn denoised<B: NsctBackend<T>, T: Sample>(&self, b: &B, entry: &Value, name: &str) -> Result<Vec<Check>> {
        let missing = |key: &str| Failure::usage(format!("the entry `{key}` is missing or is no number"));
        let sigma = entry["sigma"].as_f64().ok_or_else(|| missing("sigma"))?;
        let seed = entry["seed"].as_u64().ok_or_else(|| missing("seed"))?;
        let clean = self.photo(name)?;
        let grains = noise::gaussian(seed, clean.values.len());
        let noisy: Vec<f64> = clean.values.iter().zip(grains).map(|(x, g)| x + sigma * g).collect();
        let mut figures = Figures { entry, limit: decibels::<T>(), checks: Vec::new() };
        figures.add("noisy", "psnr_noisy", psnr(&noisy, &clean.values, 255.0));
        let x = tensor::<B, T>(b, &clean.shape, &noisy)?;
        let geometries = [
            (Geometry::Toolbox, [("hard", "psnr_hard_toolbox"), ("bivariate", "psnr_bivariate_toolbox")]),
            (Geometry::Wedge, [("hard/wedge", "psnr_hard_wedge"), ("bivariate/wedge", "psnr_bivariate_wedge")]),
        ];
        for (geometry, modes) in geometries {
            if !modes.iter().any(|(_, key)| figures.states(key)) {
                continue;
            }
            let plan = NsctPlan::<B, T>::new(b, &self.spec(entry, geometry)?, clean.shape[0], clean.shape[1])?;
            for ((shown, key), how) in modes.into_iter().zip([Shrinkage::Hard, Shrinkage::Bivariate]) {
                let done = denoise(&plan, &x, Some(sigma), how)?;
                figures.add(shown, key, psnr(&download(b, &done.image)?, &clean.values, 255.0));
            }
        }
        Ok(figures.checks)
    }

    fn fused<B: NsctBackend<T>, T: Sample>(&self, b: &B, entry: &Value, name: &str) -> Result<Vec<Check>> {
        let sharp = self.photo(name)?;
        let (left, right) = (self.photo(&format!("{name}_focusA"))?, self.photo(&format!("{name}_focusB"))?);
        let mut figures = Figures { entry, limit: decibels::<T>(), checks: Vec::new() };
        figures.add("A", "psnr_A", psnr(&left.values, &sharp.values, 255.0));
        figures.add("B", "psnr_B", psnr(&right.values, &sharp.values, 255.0));
        let (a, c) = (tensor::<B, T>(b, &left.shape, &left.values)?, tensor::<B, T>(b, &right.shape, &right.values)?);
        let plan = NsctPlan::<B, T>::new(b, &self.spec(entry, Geometry::Toolbox)?, sharp.shape[0], sharp.shape[1])?;
        let rules = [
            ("average", "psnr_average", Rule::Mean),
            ("maxabs", "psnr_maxabs", Rule::MaxAbs),
            ("energy", "psnr_energy7", Rule::Energy),
        ];
        for (shown, key, rule) in rules {
            if figures.states(key) {
                let fused = download(b, &fuse(&plan, &[&a, &c], rule)?)?;
                figures.add(shown, key, psnr(&fused, &sharp.values, 255.0));
            }
        }
        Ok(figures.checks)
    }
}

fn tensor<B: NsctBackend<T>, T: Sample>(b: &B, shape: &[usize], values: &[f64]) -> Result<Tensor<B, T, 4>> {
    let values: Vec<T> = values.iter().map(|&v| T::of(v)).collect();
    Ok(Tensor::from_slice(b, [1, 1, shape[0], shape[1]], &values)?)
}

/// All numbers in nested lists, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

/// `512x512 3,3,4,4 dmaxflat7 maxflat toolbox` and its gains, plane by plane.
fn check_gains<B: NsctBackend<f64>>(b: &B, name: &str, gains: &Value) -> Result<Vec<Check>> {
    let broken = || Failure::usage("the name is not `HxW levels dfilt pfilt geometry`");
    let words: Vec<_> = name.split_whitespace().collect();
    let [size, levels, dir, pyr, geometry] = words.as_slice() else { return Err(broken()) };
    let (h, w) = size.split_once('x').and_then(|(h, w)| Some((h.parse().ok()?, w.parse().ok()?))).ok_or_else(broken)?;
    let levels = crate::nsct::args::parse_levels(levels).map_err(Failure::usage)?;
    let spec = NsctSpec::new(levels.0).with_dir(dir.parse()?).with_pyr(pyr.parse()?).with_geometry(geometry.parse()?);
    let got = NsctPlan::<B, f64>::new(b, &spec, h, w)?.gains()?.to_vec();
    Ok(vec![Check::new("gains", largest(&got, &numbers(gains)), 1e-10)])
}
