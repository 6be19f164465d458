//! Whole photographs against sums, extremes and samples of their coefficients.

use gpu_core::Tensor;
use nsct::{Geometry, NsctBackend, NsctPlan, NsctSpec};
use serde_json::Value;

use super::cases::{Limits, band_order};
use super::{Both, Check, Verifier, image, range_factor};
use crate::exit::{Failure, Result};
use crate::nsct::args::spec_from_json;
use crate::nsct::work::{Sample, widen};
use crate::pictures::npy::Array;

/// What is stored for one band.
struct Band {
    /// Index among the planes of the transform.
    plane: usize,
    sum: Option<f64>,
    sumsq: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    samples: Vec<f64>,
}

impl Verifier<'_> {
    /// One entry of `digests`, in every engine and number type.
    pub(super) fn digest<B: Both>(&mut self, b: &B, id: &str, entry: &Value) {
        let known = ["id", "image", "H", "W", "levels", "dfilt", "pfilt", "geometry", "oracle", "bands"];
        self.unknown_keys("digests", entry, &known);
        for band in entry["bands"].as_array().into_iter().flatten() {
            self.unknown_keys("bands of digests", band, &["name", "sum", "sumsq", "min", "max", "samples"]);
        }
        let (spec, x, bands) = match self.read_digest(entry) {
            Ok(read) => read,
            Err(e) => return self.line(id, "-", "-", Err(e)),
        };
        for engine in self.engines(&spec, x.values.len()) {
            let spec = spec.clone().with_engine(engine);
            for dtype in ["f64", "f32"] {
                if !self.wants_type(dtype) {
                    continue;
                }
                let outcome = if dtype == "f64" {
                    check::<B, f64>(b, &spec, &x, &bands)
                } else {
                    check::<B, f32>(b, &spec, &x, &bands)
                };
                if let Some(outcome) = self.applicable(id, engine, outcome) {
                    self.line(id, engine.name(), dtype, outcome);
                }
            }
        }
    }

    fn read_digest(&self, entry: &Value) -> Result<(NsctSpec, Array, Vec<Band>)> {
        let spec = spec_from_json(entry, Geometry::Toolbox)?;
        let name = entry["image"].as_str().ok_or_else(|| Failure::usage("the entry `image` is missing"))?;
        let x = image(&self.args.dir, name)?;
        let order = band_order(&spec, &entry["bands"], |band| band["name"].as_str())?;
        let listed = entry["bands"].as_array().map_or(&[][..], Vec::as_slice);
        let bands = order.into_iter().zip(listed).map(|(plane, band)| Band {
            plane,
            sum: band["sum"].as_f64(),
            sumsq: band["sumsq"].as_f64(),
            min: band["min"].as_f64(),
            max: band["max"].as_f64(),
            samples: band["samples"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect(),
        });
        Ok((spec, x, bands.collect()))
    }
}

fn check<B: NsctBackend<T>, T: Sample>(
    b: &B,
    spec: &NsctSpec,
    x: &Array,
    bands: &[Band],
) -> Result<Vec<Check>, nsct::Error> {
    let (h, w) = (x.shape[0], x.shape[1]);
    let plan = NsctPlan::<B, T>::new(b, spec, h, w)?;
    let values: Vec<T> = x.values.iter().map(|&v| T::of(v)).collect();
    let coeffs = plan.decompose(&Tensor::from_slice(b, [1, 1, h, w], &values)?)?.into_tensor().to_vec(b)?;
    // Samples and extremes are compared absolutely, sums relative to the size of what is summed: most bands sum to zero.
    let (mut absolute, mut relative) = (0.0f64, 0.0f64);
    let worse = |m: f64, d: f64| if d.is_nan() { f64::INFINITY } else { m.max(d) };
    for band in bands {
        let plane = widen(&coeffs[band.plane * h * w..(band.plane + 1) * h * w]);
        let sum: f64 = plane.iter().sum();
        let sumsq: f64 = plane.iter().map(|v| v * v).sum();
        let smallest = plane.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = plane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (got, wanted) in [(smallest, band.min), (largest, band.max)] {
            absolute = wanted.map_or(absolute, |wanted| worse(absolute, (got - wanted).abs()));
        }
        for (t, wanted) in band.samples.iter().enumerate() {
            let (row, column) = ((37 * t + 11) % h, (91 * t + 5) % w);
            absolute = worse(absolute, (plane[row * w + column] - wanted).abs());
        }
        let size = (plane.len() as f64 * sumsq).sqrt().max(f64::MIN_POSITIVE);
        relative = band.sum.map_or(relative, |wanted| worse(relative, (sum - wanted).abs() / size));
        relative = band
            .sumsq
            .map_or(relative, |wanted| worse(relative, (sumsq - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE)));
    }
    let sums = if T::NAME == "f64" { 1e-10 } else { 1e-5 };
    Ok(vec![
        Check::new("samples", absolute, Limits::of(T::NAME).bands * range_factor(&x.values)),
        Check::new("sums", relative, sums),
    ])
}
