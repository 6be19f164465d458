//! The dense operations against the stored results of the published toolbox, on `f64` and `f32`.

mod data;

use data::{json, matrix};
use gpu_core::{Cpu, Tensor};
use ndarray::Array2;
use nsct::kernels::DenseFilter;
use nsct::toolbox::{atrousc, efilter2, symext, zconv2};
use nsct::{Real, Result};
use serde_json::Value;

/// Runs `operation(image, filter or size, parameters)` on every group of `stem` that has an `x`, twice over as a batch
/// of two, and compares. Returns the largest difference and the number of groups.
fn each<T: Real>(
    stem: &str,
    mut operation: impl FnMut(&Cpu, &Tensor<Cpu, T, 3>, &Value, &str) -> Result<Tensor<Cpu, T, 3>>,
) -> (f64, usize) {
    let prims = json("prims.json");
    let (mut worst, mut groups) = (0.0_f64, 0);
    for (key, value) in prims.as_object().expect("an object") {
        let Some(name) = key.strip_suffix("_x").filter(|name| name.starts_with(stem)) else { continue };
        let cpu = Cpu::new();
        let (x, want) = (matrix(value), matrix(&prims[format!("{name}_y")]));
        let pixels: Vec<T> = x.iter().chain(x.iter()).map(|&v| T::of(v)).collect();
        let batch = Tensor::from_slice(&cpu, [2, x.nrows(), x.ncols()], &pixels).unwrap();
        let got = operation(&cpu, &batch, &prims, name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(got.shape(), [2, want.nrows(), want.ncols()], "{name}");
        let got = got.to_vec(&cpu).unwrap();
        for (&got, &want) in got.iter().zip(want.iter().chain(want.iter())) {
            let d = (got.to_f64() - want).abs();
            assert!(!d.is_nan(), "{name}");
            worst = worst.max(d);
        }
        groups += 1;
    }
    (worst, groups)
}

fn array(prims: &Value, name: &str, part: &str) -> Array2<f64> {
    matrix(&prims[format!("{name}_{part}")])
}

fn integers(array: &Array2<f64>) -> Vec<i64> {
    array.iter().map(|&v| v as i64).collect()
}

fn filter<T: Real>(cpu: &Cpu, prims: &Value, name: &str) -> DenseFilter<Cpu, T> {
    DenseFilter::new(cpu, array(prims, name, "h").view()).unwrap()
}

/// Small integers in `x` and `h` make most results exact; the others round differently from the toolbox's sums, which
/// are not fused.
fn all<T: Real>(limit: f64) {
    let (worst, groups) = each::<T>("zconv2_", |cpu, x, prims, name| {
        let m = integers(&array(prims, name, "m"));
        zconv2(cpu, x, &filter(cpu, prims, name), [[m[0], m[1]], [m[2], m[3]]])
    });
    assert!(groups >= 16 && worst <= limit, "zconv2: {worst:e} in {groups} groups");
    let (worst, groups) = each::<T>("atrousc_", |cpu, x, prims, name| {
        atrousc(cpu, x, &filter(cpu, prims, name), array(prims, name, "m")[[0, 0]] as usize)
    });
    assert!(groups >= 4 && worst <= limit, "atrousc: {worst:e} in {groups} groups");
    let (worst, groups) = each::<T>("efilter2_", |cpu, x, prims, name| efilter2(cpu, x, &filter(cpu, prims, name)));
    assert!(groups >= 6 && worst <= limit, "efilter2: {worst:e} in {groups} groups");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn convolutions_in_f64() {
    all::<f64>(1e-12);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn convolutions_in_f32() {
    all::<f32>(1e-4);
}

/// A copy: equal to the bit.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn extensions() {
    fn check<T: Real>(limit: f64) {
        let (worst, groups) = each::<T>("symext_", |cpu, x, prims, name| {
            let size = integers(&array(prims, name, "hsize"));
            let shift = integers(&array(prims, name, "shift"));
            symext(cpu, x, (size[0] as usize, size[1] as usize), (shift[0], shift[1]))
        });
        assert!(groups >= 5 && worst <= limit, "symext: {worst:e} in {groups} groups");
    }
    check::<f64>(0.0);
    check::<f32>(1e-4);
}
