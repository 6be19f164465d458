//! The toolbox's primitives against `prims.json`.

use std::collections::BTreeSet;

use gpu_core::Tensor;
use ndarray::Array2;
use nsct::kernels::{DenseFilter, Planes, atrousc, atrousc_size, efilter2, symext, symext_size, zconv2};
use nsct::toolbox::{Modulation, Resampling, ld2quin, mctrans, modulate2, qupz, resampz, upsample2df};
use nsct::{NsctBackend, Real};
use serde_json::Value;

use super::{Both, Check, Verifier, largest};
use crate::exit::{Failure, Result};
use crate::nsct::work::Sample;

/// The entries of one group, such as `zconv2_03_x`, `…_h`, `…_m`, `…_y`.
struct Entries<'a> {
    group: &'a str,
    all: &'a Value,
}

impl Entries<'_> {
    fn matrix<T: Real>(&self, what: &str) -> Result<Array2<T>> {
        let key = format!("{}_{what}", self.group);
        let broken = || Failure::usage(format!("the entry `{key}` is missing or is no matrix of numbers"));
        let rows = self.all[key.as_str()].as_array().ok_or_else(broken)?;
        let width = rows.first().map_or(Some(0), |r| r.as_array().map(Vec::len)).ok_or_else(broken)?;
        let mut values = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let row = row.as_array().filter(|r| r.len() == width).ok_or_else(broken)?;
            for v in row {
                values.push(T::of(v.as_f64().ok_or_else(broken)?));
            }
        }
        Array2::from_shape_vec((rows.len(), width), values).map_err(|_| broken())
    }

    fn integers(&self, what: &str) -> Result<Vec<i64>> {
        Ok(self.matrix::<f64>(what)?.iter().map(|v| v.round() as i64).collect())
    }
}

impl Verifier<'_> {
    /// Every group of `prims.json`, in both number types.
    pub(super) fn prims<B: Both>(&mut self, b: &B, prims: &Value) {
        let Some(entries) = prims.as_object() else {
            self.note("prims.json holds no object".to_owned());
            return;
        };
        let groups: BTreeSet<&str> =
            entries.keys().filter_map(|k| k.rsplit_once('_')).map(|(group, _)| group).collect();
        for group in groups {
            if self.skips(group) {
                continue;
            }
            let entries = Entries { group, all: prims };
            for dtype in ["f64", "f32"] {
                if !self.wants_type(dtype) {
                    continue;
                }
                let outcome = if dtype == "f64" { run::<B, f64>(b, &entries) } else { run::<B, f32>(b, &entries) };
                match outcome {
                    Ok(Some(check)) => self.line(group, "toolbox", dtype, Ok(check)),
                    Ok(None) => {
                        self.note(format!("prims.json: the group `{group}` is of an unknown kind and was not checked"));
                    }
                    Err(e) => self.line(group, "toolbox", dtype, Err(e)),
                }
            }
        }
    }
}

/// Computes one group; `None` for a kind that is not known.
fn run<B: NsctBackend<T>, T: Sample>(b: &B, entries: &Entries) -> Result<Option<Vec<Check>>> {
    let (kind, variant) = entries.group.split_once('_').unwrap_or((entries.group, ""));
    let number = |s: &str| s.parse::<u8>().unwrap_or_default();
    let x = || entries.matrix::<T>("x");
    // Every name with what was computed for it.
    let results = match kind {
        "zconv2" | "atrousc" | "efilter2" | "symext" => vec![("y", on_device(b, kind, entries)?)],
        "modulate2" => {
            let along = match variant.chars().last() {
                Some('r') => Modulation::Rows,
                Some('c') => Modulation::Columns,
                Some('b') => Modulation::Both,
                _ => return Ok(None),
            };
            vec![("y", modulate2(&x()?, along))]
        }
        "resampz" => {
            let by = match number(variant.split('_').next().unwrap_or_default()) {
                1 => Resampling::R1,
                2 => Resampling::R2,
                3 => Resampling::R3,
                4 => Resampling::R4,
                _ => return Ok(None),
            };
            vec![("y", resampz(&x()?, by))]
        }
        "qupz" => vec![("y", qupz(&x()?, number(variant))?)],
        "upsample2df" => vec![("y", upsample2df(&x()?, number(variant).into())?)],
        "mctrans" => {
            let taps: Vec<T> = entries.matrix::<T>("b")?.into_iter().collect();
            vec![("y", mctrans(&taps, &entries.matrix::<T>("t")?)?)]
        }
        "ld2quin" => {
            let beta: Vec<T> = entries.matrix::<T>("beta")?.into_iter().collect();
            let (h0, h1) = ld2quin(&beta)?;
            vec![("h0", h0), ("h1", h1)]
        }
        _ => return Ok(None),
    };
    let limit = if T::NAME == "f64" { 1e-12 } else { 1e-4 };
    let mut checks = Vec::new();
    for (name, got) in results {
        let wanted = entries.matrix::<f64>(name)?;
        if got.dim() != wanted.dim() && got.len() + wanted.len() > 0 {
            return Err(Failure::usage(format!("{name} has size {:?}, expected {:?}", got.dim(), wanted.dim())));
        }
        let got: Vec<f64> = got.iter().map(|&v| Real::to_f64(v)).collect();
        let wanted: Vec<f64> = wanted.into_iter().collect();
        let size = wanted.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        checks.push(Check::new(name, largest(&got, &wanted), limit * (size / 255.0).max(1.0)));
    }
    Ok(Some(checks))
}

/// The primitives that are kernels.
fn on_device<B: NsctBackend<T>, T: Sample>(b: &B, kind: &str, entries: &Entries) -> Result<Array2<T>> {
    let x = entries.matrix::<T>("x")?;
    let planes = Planes { count: 1, height: x.nrows(), width: x.ncols() };
    let device = Tensor::from_array(b, x.view())?;
    let filter = || DenseFilter::new(b, entries.matrix::<f64>("h")?.view()).map_err(Failure::from);
    let square = |what: &str| -> Result<[[i64; 2]; 2]> {
        match entries.integers(what)?.as_slice() {
            &[a, b, c, d] => Ok([[a, b], [c, d]]),
            other => Err(Failure::usage(format!("the entry `{what}` has {} numbers, expected 4", other.len()))),
        }
    };
    let pair = |what: &str| -> Result<(i64, i64)> {
        match entries.integers(what)?.as_slice() {
            &[a, b] => Ok((a, b)),
            other => Err(Failure::usage(format!("the entry `{what}` has {} numbers, expected 2", other.len()))),
        }
    };
    let size = |n: i64| usize::try_from(n).map_err(|_| Failure::usage(format!("the size {n} is negative")));
    let out = |p: Planes| Tensor::<B, T, 2>::scratch(b, [p.height, p.width]);
    let (xs, area) = (device.flat(), planes.area());
    let y = match kind {
        "zconv2" => {
            let mut y = out(planes)?;
            zconv2(b, planes, &filter()?, square("m")?, xs, area, y.flat_mut(), area)?;
            y
        }
        "efilter2" => {
            let mut y = out(planes)?;
            efilter2(b, planes, &filter()?, xs, area, y.flat_mut(), area)?;
            y
        }
        "atrousc" => {
            let (h, step) = (filter()?, size(square("m")?[0][0])?);
            let to = atrousc_size(planes, (h.rows(), h.columns()), step)?;
            let mut y = out(to)?;
            atrousc(b, planes, &h, step, xs, area, y.flat_mut(), to.area())?;
            y
        }
        _ => {
            let (p, q) = pair("hsize")?;
            let hsize = (size(p)?, size(q)?);
            let to = symext_size(planes, hsize)?;
            let mut y = out(to)?;
            symext(b, planes, hsize, pair("shift")?, xs, area, y.flat_mut(), to.area())?;
            y
        }
    };
    b.synchronize()?;
    Ok(y.to_array(b)?)
}
