//! Whole transforms against stored coefficients.

use gpu_core::Tensor;
use nsct::{Coeffs, DirFilter, Engine, Geometry, NsctPlan, NsctSpec};
use serde_json::Value;

use super::{Both, Check, Verifier, expect_shape, largest, range_factor};
use crate::exit::{Failure, Result};
use crate::nsct::args::spec_from_json;
use crate::nsct::work::{Sample, widen};

/// One case, read and put into this program's order: `[B, C, S, H, W]`.
struct Case {
    spec: NsctSpec,
    shape: [usize; 4],
    x: Vec<f64>,
    bands: Vec<f64>,
    /// Weighted coefficients and what their inverse is.
    weighted: Option<(Vec<f64>, Vec<f64>)>,
    /// The inverse of the unweighted coefficients, where it is not the picture.
    rec: Option<Vec<f64>>,
}

/// What an entry may say; sizes are read from the arrays, and some of it is for people.
const KNOWN: [&str; 14] = [
    "id",
    "H",
    "W",
    "shape",
    "layout",
    "levels",
    "dfilt",
    "pfilt",
    "geometry",
    "oracle",
    "oracle_pr_error",
    "image",
    "bands",
    "files",
];

/// Limits for one number type.
pub(super) struct Limits {
    pub(super) bands: f64,
    recw: f64,
}

impl Limits {
    pub(super) fn of(dtype: &str) -> Self {
        if dtype == "f64" { Self { bands: 1e-10, recw: 2e-10 } } else { Self { bands: 5e-4, recw: 1e-3 } }
    }

    fn round_trip(dtype: &str, dir: DirFilter) -> f64 {
        match (dir, dtype) {
            (DirFilter::Dmaxflat6Toolbox, _) => 1e-2,
            (DirFilter::Cd, "f64") => 1e-8,
            (_, "f64") => 1e-10,
            _ => 5e-4,
        }
    }
}

/// Where each named band stands among the planes of the transform.
pub(super) fn band_order(spec: &NsctSpec, names: &Value, of: impl Fn(&Value) -> Option<&str>) -> Result<Vec<usize>> {
    let planes: Vec<_> = spec.planes().iter().map(ToString::to_string).collect();
    let names = names.as_array().ok_or_else(|| Failure::usage("the entry `bands` is missing"))?;
    if names.len() != planes.len() {
        return Err(Failure::usage(format!(
            "{} bands are listed, levels {:?} have {}",
            names.len(),
            spec.levels,
            planes.len()
        )));
    }
    names
        .iter()
        .map(|name| {
            let name = of(name).unwrap_or("?");
            planes.iter().position(|p| p == name).ok_or_else(|| Failure::usage(format!("there is no band `{name}`")))
        })
        .collect()
}

/// What band `b` of a file is multiplied with for `recw`.
fn weight(b: usize) -> f64 {
    1.0 + 0.25 * (b % 5) as f64 - 0.1 * (b % 3) as f64
}

impl Verifier<'_> {
    /// One entry of `cases` or `batch`, in every engine and number type.
    pub(super) fn case<B: Both>(&mut self, b: &B, id: &str, entry: &Value, batched: bool) {
        let group = if batched { "batch" } else { "cases" };
        self.unknown_keys(group, entry, &KNOWN);
        self.unknown_keys(&format!("files of {group}"), &entry["files"], &["x", "bands", "recw", "rec"]);
        let case = match self.read_case(entry, batched) {
            Ok(case) => case,
            Err(e) => return self.line(id, "-", "-", Err(e)),
        };
        let area = case.shape.iter().product();
        for engine in self.engines(&case.spec, area) {
            let spec = case.spec.clone().with_engine(engine);
            for dtype in ["f64", "f32"] {
                if !self.wants_type(dtype) {
                    continue;
                }
                let outcome = if dtype == "f64" {
                    case.check::<B, f64>(b, &spec, batched)
                } else {
                    case.check::<B, f32>(b, &spec, batched)
                };
                if let Some(outcome) = self.applicable(id, engine, outcome) {
                    self.line(id, engine.name(), dtype, outcome);
                }
            }
        }
    }

    /// Drops combinations that an engine cannot compute, with a note; keeps every other error.
    pub(super) fn applicable<R>(
        &mut self,
        id: &str,
        engine: Engine,
        outcome: Result<R, nsct::Error>,
    ) -> Option<Result<R>> {
        match outcome {
            Err(nsct::Error::Engine { why, .. }) if self.args.engine.is_none() => {
                self.note(format!("{id}: the engine {engine} does not apply: {why}"));
                None
            }
            other => Some(other.map_err(Failure::from)),
        }
    }

    fn read_case(&self, entry: &Value, batched: bool) -> Result<Case> {
        let spec = spec_from_json(entry, Geometry::Toolbox)?;
        let x = self.array(entry, "x")?;
        let bands = self.array(entry, "bands")?;
        let shape = match x.shape.as_slice() {
            &[h, w] => [1, 1, h, w],
            &[b, c, h, w] if batched => [b, c, h, w],
            other => return Err(Failure::usage(format!("x has shape {other:?}"))),
        };
        let count = spec.plane_count();
        let mut wanted = vec![count];
        wanted.extend(&x.shape);
        expect_shape("bands", &bands, &wanted)?;
        let order = band_order(&spec, &entry["bands"], Value::as_str)?;
        let arrange = |weights: &dyn Fn(usize) -> f64| {
            let (planes, area) = (shape[0] * shape[1], shape[2] * shape[3]);
            let mut out = vec![0.0; bands.values.len()];
            for (file, &plane) in order.iter().enumerate() {
                for n in 0..planes {
                    let from = &bands.values[(file * planes + n) * area..][..area];
                    let to = &mut out[(n * count + plane) * area..][..area];
                    for (t, f) in to.iter_mut().zip(from) {
                        *t = weights(file) * f;
                    }
                }
            }
            out
        };
        let read = |key: &str| -> Result<Option<Vec<f64>>> {
            if !Self::has_file(entry, key) {
                return Ok(None);
            }
            let array = self.array(entry, key)?;
            expect_shape(key, &array, &x.shape)?;
            Ok(Some(array.values))
        };
        let (recw, rec) = (read("recw")?, read("rec")?);
        let weighted = recw.map(|recw| (arrange(&weight), recw));
        let bands = arrange(&|_| 1.0);
        Ok(Case { spec, shape, x: x.values, bands, weighted, rec })
    }
}

impl Case {
    fn check<B: Both + nsct::NsctBackend<T>, T: Sample>(
        &self,
        b: &B,
        spec: &NsctSpec,
        batched: bool,
    ) -> Result<Vec<Check>, nsct::Error> {
        let [n, c, h, w] = self.shape;
        let plan = NsctPlan::<B, T>::new(b, spec, h, w)?;
        let limits = Limits::of(T::NAME);
        let factor = range_factor(&self.x);
        let narrow = |v: &[f64]| v.iter().map(|&v| T::of(v)).collect::<Vec<T>>();
        let host = |t: &Tensor<B, T, 4>| Ok::<_, nsct::Error>(widen(&t.to_vec(b)?));
        let x = narrow(&self.x);
        let coeffs = plan.decompose(&Tensor::from_slice(b, self.shape, &x)?)?;
        let values = coeffs.tensor().to_vec(b)?;
        let wide = widen(&values);
        let mut checks = vec![Check::new("bands", largest(&wide, &self.bands), limits.bands * factor)];
        let inverse = |values: &[f64]| {
            let tensor = Tensor::from_slice(b, [n, c, spec.plane_count(), h, w], &narrow(values))?;
            host(&plan.reconstruct(&Coeffs::from_tensor(tensor, plan.planes())?)?)
        };
        if let Some((weighted, wanted)) = &self.weighted {
            checks.push(Check::new("recw", largest(&inverse(weighted)?, wanted), limits.recw * factor));
        }
        if let Some(wanted) = &self.rec {
            checks.push(Check::new("rec", largest(&inverse(&self.bands)?, wanted), limits.recw * factor));
        }
        let back = host(&plan.reconstruct(&coeffs)?)?;
        checks.push(Check::new("trip", largest(&back, &self.x), Limits::round_trip(T::NAME, spec.dir) * factor));
        if batched {
            // Bits, not values: -0 and 0 count as different.
            let mut different = 0;
            for i in 0..n * c {
                let one = Tensor::from_slice(b, [1, 1, h, w], &x[i * h * w..(i + 1) * h * w])?;
                let alone = plan.decompose(&one)?.tensor().to_vec(b)?;
                let together = &values[i * alone.len()..(i + 1) * alone.len()];
                different += alone.iter().zip(together).filter(|(a, b)| bytes_of(*a) != bytes_of(*b)).count();
            }
            checks.push(Check::new("loop", different as f64, 0.0));
        }
        Ok(checks)
    }
}

fn bytes_of<T: Sample>(v: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    T::append(std::slice::from_ref(v), &mut out);
    out
}
