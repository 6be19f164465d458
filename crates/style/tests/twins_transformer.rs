//! Linear maps, feed-forward parts, layer norm and means of tokens: the CPU against plain f64 loops, CUDA against the CPU.

#[path = "oracle/vit.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]
mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin};
use gpu_core::{Result, Tensor, TensorView, twins};
use half::f16;
use oracle::Rows;
use style::ops::{Activation, LayerNorm, Linear, Norm, Product, Sample, fused_ffn, layer_norm, linear, token_mean};

const EPS: f32 = 1e-5;

#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    /// Rows of the residual: all, a divisor, or none.
    period: Option<usize>,
    gelu: bool,
    fill: Fill,
}

fn values<T: Sample>(fill: Fill, n: usize) -> Vec<T> {
    let wide: Vec<f32> = fill.values(n);
    wide.into_iter().map(T::nearest).collect()
}

fn rows<T: Sample>(values: &[T], width: usize) -> Rows {
    values.chunks_exact(width).map(|row| row.iter().map(|v| f64::from(v.widened())).collect()).collect()
}

/// What f16 holds of a value: beyond its range, its end.
fn held<T: Sample>(v: f64) -> f64 {
    if T::ROUNDS { v.clamp(-65504.0, 65504.0) } else { v }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

impl Case {
    fn x<T: Sample>(&self) -> Vec<T> {
        values(self.fill, self.rows * self.inputs)
    }
    fn weight<T: Sample>(&self) -> Vec<T> {
        values(self.fill.other(), self.outputs * self.inputs)
    }
    fn bias(&self) -> Vec<f32> {
        (0..self.outputs).map(|o| (o % 7) as f32 - 3.0).collect()
    }
    fn residual<T: Sample>(&self) -> Vec<T> {
        let n = self.period.unwrap_or(0) * self.outputs;
        (0..n).map(|i| T::nearest((i % 11) as f32 - 5.0)).collect()
    }
    fn activation(&self) -> Activation {
        if self.gelu { Activation::Gelu } else { Activation::None }
    }
}

fn run<B: Product<T>, T: Sample + Twin>(b: &B, c: &Case) -> Result<Outputs> {
    let map = Linear::new(b, [c.outputs, c.inputs], &c.weight::<T>(), &c.bias())?;
    let x = Tensor::from_slice(b, [c.rows, c.inputs], &c.x::<T>())?;
    let residual = Tensor::from_slice(b, [c.period.unwrap_or(0), c.outputs], &c.residual::<T>())?;
    let y = linear(b, x.view(), &map, c.activation(), c.period.map(|_| residual.view()))?;
    Ok(vec![Output::of(b, &y)?])
}

fn oracle_of<T: Sample>(c: &Case) -> Outputs {
    let (x, w) = (rows(&c.x::<T>(), c.inputs), rows(&c.weight::<T>(), c.inputs));
    let residual = rows(&c.residual::<T>(), c.outputs);
    let mut y = oracle::linear(&x, &w, &wide(&c.bias()), false);
    for (m, row) in y.iter_mut().enumerate() {
        for (o, v) in row.iter_mut().enumerate() {
            *v = if c.gelu { oracle::gelu(*v) } else { *v };
            *v = held::<T>(*v + c.period.map_or(0.0, |period| residual[m % period][o]));
        }
    }
    vec![Output::F64(vec![c.rows, c.outputs], y.concat())]
}

/// Values that are off by `error` and then stored: in f16 both sides round once more.
fn stored<T: Sample>(error: f64) -> Tolerance {
    Tolerance { ulps: 0, rel: if T::ROUNDS { 2.0_f64.powi(-10) } else { 0.0 }, abs: 2.0 * error }
}

/// The largest sum of absolute products.
fn largest(x: &Rows, w: &Rows, bias: &[f64]) -> f64 {
    oracle::linear(x, w, bias, true).concat().into_iter().fold(0.0, f64::max)
}

/// A sum of n products is off by n roundings of the sum of absolute products; GELU makes 1.13 of that at most, and is off by
/// eight roundings of its own; bias and residual (5) round once.
fn bound<T: Sample>(c: &Case) -> Tolerance {
    let (x, w) = (rows(&c.x::<T>(), c.inputs), rows(&c.weight::<T>(), c.inputs));
    let most = largest(&x, &w, &wide(&c.bias()));
    stored::<T>(2.0_f64.powi(-24) * (1.2 * (c.inputs as f64 + 10.0) * most + 5.0))
}

fn case(fill: BoxedStrategy<Fill>, gelu: BoxedStrategy<bool>) -> BoxedStrategy<Case> {
    let unit = |n: usize| (1..n).prop_map(|n| 8 * n);
    (1..160_usize, unit(12), unit(20), 0..3_usize, fill, gelu)
        .prop_map(|(rows, inputs, outputs, period, fill, gelu)| {
            let (rows, period) = match period {
                0 => (rows, None),
                1 => (rows, Some(rows)),
                _ => (rows.next_multiple_of(3), Some(rows.div_ceil(3))),
            };
            Case { rows, inputs, outputs, period, gelu, fill }
        })
        .boxed()
}

/// Whole numbers so small that f16 holds every sum.
fn small() -> BoxedStrategy<Fill> {
    prop_oneof![Just(FillKind::Zeros), (0u32..4096).prop_map(FillKind::Impulse)].prop_map(Fill::of).boxed()
}

twins! {
    kernels = ["linear_f32"];
    /// small whole numbers: every sum is exact
    linear_f32_exact: case(Fill::exact(), Just(false).boxed()), Case => |b, c| run::<_, f32>(b, c),
        oracle = oracle_of::<f32>, tolerance = Tolerance::EXACT;
    /// as many roundings as products
    linear_f32_close: case(Fill::any(), any::<bool>().boxed()), Case => |b, c| run::<_, f32>(b, c),
        oracle = oracle_of::<f32>, tolerance = bound::<f32>;
}

twins! {
    kernels = ["linear_f16"];
    /// small whole numbers: every sum is exact, and f16 holds it
    linear_f16_exact: case(small(), Just(false).boxed()), Case => |b, c| run::<_, f16>(b, c),
        oracle = oracle_of::<f16>, tolerance = Tolerance::EXACT;
    /// sums as in f32 from operands in f16, and one rounding to f16
    linear_f16_close: case(Fill::any(), any::<bool>().boxed()), Case => |b, c| run::<_, f16>(b, c),
        oracle = oracle_of::<f16>, tolerance = bound::<f16>;
}

/// The feed-forward part: `outputs` is the inner width.
fn ffn<B: Product<T>, T: Sample + Twin>(b: &B, c: &Case) -> Result<Outputs> {
    let back: Vec<T> = values(c.fill, c.outputs * c.inputs);
    let fc1 = Linear::new(b, [c.outputs, c.inputs], &c.weight::<T>(), &c.bias())?;
    let fc2 = Linear::new(b, [c.inputs, c.outputs], &back, &vec![0.5; c.inputs])?;
    let x = Tensor::from_slice(b, [c.rows, c.inputs], &c.x::<T>())?;
    let y = fused_ffn(b, x.view(), [&fc1, &fc2], Some(x.view()))?;
    Ok(vec![Output::of(b, &y)?])
}

fn inner<T: Sample>(c: &Case) -> (Rows, Rows, Rows, Rows) {
    let (x, w) = (rows(&c.x::<T>(), c.inputs), rows(&c.weight::<T>(), c.inputs));
    let back = rows(&values::<T>(c.fill, c.outputs * c.inputs), c.outputs);
    let mut hidden = oracle::linear(&x, &w, &wide(&c.bias()), false);
    hidden.iter_mut().flatten().for_each(|v| *v = held::<T>(oracle::gelu(*v)));
    (x, w, hidden, back)
}

fn ffn_oracle<T: Sample>(c: &Case) -> Outputs {
    let (x, _, hidden, back) = inner::<T>(c);
    let mut y = oracle::linear(&hidden, &back, &vec![0.5; c.inputs], false);
    y.iter_mut().flatten().zip(x.concat()).for_each(|(y, x)| *y = held::<T>(*y + x));
    vec![Output::F64(vec![c.rows, c.inputs], y.concat())]
}

/// The inner values' error (and their rounding to f16) times the sum of absolute weights, and the second map's own.
fn ffn_bound<T: Sample>(c: &Case) -> Tolerance {
    let (x, w, hidden, back) = inner::<T>(c);
    let one = 2.0_f64.powi(-24) * 1.2 * (c.inputs as f64 + 10.0) * largest(&x, &w, &wide(&c.bias()));
    let most = hidden.iter().flatten().fold(0.0, |most: f64, v| most.max(v.abs()));
    let one = one + if T::ROUNDS { 2.0_f64.powi(-11) * most } else { 0.0 };
    let weights = back.iter().map(|row| row.iter().map(|w| w.abs()).sum::<f64>()).fold(0.0, f64::max);
    let own = 2.0_f64.powi(-24) * (c.outputs as f64 + 10.0) * (largest(&hidden, &back, &vec![0.5; c.inputs]) + 16.0);
    stored::<T>(one * weights + own)
}

twins! {
    kernels = ["linear_f32"];
    /// two maps, one behind the other
    ffn_f32_close: case(Fill::any(), Just(true).boxed()), Case => |b, c| ffn::<_, f32>(b, c),
        oracle = ffn_oracle::<f32>, tolerance = ffn_bound::<f32>;
}
twins! {
    kernels = ["linear_f16"];
    /// two maps, with the inner values in f16
    ffn_f16_close: case(Fill::any(), Just(true).boxed()), Case => |b, c| ffn::<_, f16>(b, c),
        oracle = ffn_oracle::<f16>, tolerance = ffn_bound::<f16>;
}

#[derive(Clone, Debug)]
struct Tokens {
    images: usize,
    rows: usize,
    width: usize,
    fill: Fill,
    offset: f32,
    residual: bool,
}

impl Tokens {
    fn x<T: Sample>(&self) -> Vec<T> {
        let all: Vec<f32> = self.fill.values(self.images * self.rows * self.width);
        all.into_iter().map(|v| T::nearest(v + self.offset)).collect()
    }
    fn gamma(&self) -> Vec<f32> {
        (0..self.width).map(|c| 1.0 + (c % 5) as f32 * 0.25).collect()
    }
    fn beta(&self) -> Vec<f32> {
        (0..self.width).map(|c| (c % 7) as f32 * 0.5 - 1.0).collect()
    }
}

fn norm<B: LayerNorm<T>, T: Sample + Twin>(b: &B, c: &Tokens) -> Result<Outputs> {
    let x = Tensor::from_slice(b, [c.images * c.rows, c.width], &c.x::<T>())?;
    let (gamma, beta) = (Tensor::from_slice(b, [c.width], &c.gamma())?, Tensor::from_slice(b, [c.width], &c.beta())?);
    let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: EPS };
    Ok(vec![Output::of(b, &layer_norm(b, x.view(), norm, c.residual.then(|| x.view()))?)?])
}

fn norm_oracle<T: Sample>(c: &Tokens) -> Outputs {
    let x = rows(&c.x::<T>(), c.width);
    let mut y = oracle::layer_norm(&x, &wide(&c.gamma()), &wide(&c.beta()), EPS.into());
    if c.residual {
        y.iter_mut().flatten().zip(x.concat()).for_each(|(y, x)| *y += x);
    }
    vec![Output::F64(vec![c.images * c.rows, c.width], y.concat())]
}

/// The mean's sum runs over at most 32 values a strand, of deviations up to twice the largest; the variance's alike; and the
/// mean is an f32 itself. Then four roundings of the result.
fn norm_bound<T: Sample>(c: &Tokens) -> Tolerance {
    let mut worst = 0.0_f64;
    for row in rows(&c.x::<T>(), c.width) {
        let (mean, variance) = oracle::moments(&row);
        let away = row.iter().fold(0.0, |most: f64, v| most.max((v - mean).abs()));
        worst = worst.max((128.0 * away + 2.0 * mean.abs()) / (variance + f64::from(EPS)).sqrt());
    }
    stored::<T>(2.0_f64.powi(-24) * (2.0 * worst + 4.0 * (40.0 + f64::from(c.offset.abs()))))
}

fn tokens(fill: BoxedStrategy<Fill>, offsets: &'static [f32], residual: BoxedStrategy<bool>) -> BoxedStrategy<Tokens> {
    let width = prop_oneof![3 => (1..40_usize).prop_map(|n| 8 * n), 1 => 1..70_usize];
    (1..4_usize, 1..40_usize, width, fill, 0..offsets.len(), residual)
        .prop_map(|(images, rows, width, fill, i, residual)| Tokens {
            images,
            rows,
            width,
            fill,
            offset: offsets[i],
            residual,
        })
        .boxed()
}

fn zeros() -> BoxedStrategy<Fill> {
    Just(Fill::of(FillKind::Zeros)).boxed()
}

twins! {
    kernels = ["layer_norm_f32"];
    /// rows of one value are beta to the bit
    layer_norm_f32_exact: tokens(zeros(), &[0.0, 7.3, -1234.5], Just(false).boxed()), Tokens => |b, c| norm::<_, f32>(b, c),
        oracle = norm_oracle::<f32>, tolerance = Tolerance::EXACT;
    /// roundings of mean and variance
    layer_norm_f32_close: tokens(Fill::any(), &[0.0, 30.0, -1000.0], any::<bool>().boxed()), Tokens =>
        |b, c| norm::<_, f32>(b, c), oracle = norm_oracle::<f32>, tolerance = norm_bound::<f32>;
}
twins! {
    kernels = ["layer_norm_f16"];
    /// rows of one value are beta to the bit
    layer_norm_f16_exact: tokens(zeros(), &[0.0, 7.25, -1234.0], Just(false).boxed()), Tokens => |b, c| norm::<_, f16>(b, c),
        oracle = norm_oracle::<f16>, tolerance = Tolerance::EXACT;
    /// as in f32, and one rounding to f16
    layer_norm_f16_close: tokens(Fill::any(), &[0.0, 30.0], any::<bool>().boxed()), Tokens =>
        |b, c| norm::<_, f16>(b, c), oracle = norm_oracle::<f16>, tolerance = norm_bound::<f16>;
}

/// Up to five parts of tokens, the last of any length.
fn many(c: &Tokens) -> usize {
    c.rows * 30 + c.rows % 7
}

fn mean<B: LayerNorm<T>, T: Sample + Twin>(b: &B, c: &Tokens) -> Result<Outputs> {
    let tokens = many(c);
    let all = Tokens { rows: tokens, ..c.clone() };
    let x = Tensor::from_slice(b, [c.images * tokens * c.width], &all.x::<T>())?;
    let y = token_mean(b, TensorView::new(x.flat(), [c.images, tokens, c.width])?)?;
    Ok(vec![Output::of(b, &y)?])
}

fn mean_oracle<T: Sample>(c: &Tokens) -> Outputs {
    let tokens = many(c);
    let all = Tokens { rows: tokens, ..c.clone() };
    let x = rows(&all.x::<T>(), c.width);
    let mean = |image: &[Vec<f64>], k: usize| image.iter().map(|row| row[k]).sum::<f64>() / tokens as f64;
    let y: Vec<f64> = x.chunks_exact(tokens).flat_map(|image| (0..c.width).map(move |k| mean(image, k))).collect();
    vec![Output::F64(vec![c.images, c.width], y)]
}

fn few() -> BoxedStrategy<Tokens> {
    tokens(Fill::any(), &[0.0, 30.0], Just(false).boxed()).prop_map(|c| Tokens { width: c.width.min(40), ..c }).boxed()
}

twins! {
    kernels = ["token_sums_f32", "token_mean_f32"];
    /// sums in f64 are off by far less than the last rounding, which may fall to either side; the twins agree to the bit
    token_mean_f32: few(), Tokens => |b, c| mean::<_, f32>(b, c), oracle = mean_oracle::<f32>,
        tolerance = Tolerance { ulps: 1, rel: 0.0, abs: 1e-15 }, twins = Tolerance::EXACT;
}
twins! {
    kernels = ["token_sums_f16", "token_mean_f16"];
    /// as above, rounded to f32 and then to f16
    token_mean_f16: few(), Tokens => |b, c| mean::<_, f16>(b, c), oracle = mean_oracle::<f16>,
        tolerance = Tolerance { ulps: 1, rel: 0.0, abs: 1e-15 }, twins = Tolerance::EXACT;
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let cpu = gpu_core::Cpu::new();
    let refused = |shape, weight: usize, bias: usize| {
        Linear::<_, f32>::new(&cpu, shape, &vec![0.0; weight], &vec![0.0; bias]).unwrap_err().to_string()
    };
    assert!(refused([8, 7], 56, 8).contains("multiples of 8"));
    assert!(refused([0, 8], 0, 0).contains("multiples of 8"));
    assert!(refused([8, 16], 127, 8).contains("weight"));
    assert!(refused([8, 16], 128, 9).contains("bias"));
    let map = Linear::new(&cpu, [8, 16], &[0.0f32; 128], &[0.0; 8]).unwrap();
    let x = Tensor::<_, f32, 2>::zeros(&cpu, [6, 16]).unwrap();
    let call = |x: &Tensor<_, f32, 2>, residual: Option<[usize; 2]>| {
        let residual = residual.map(|shape| Tensor::<_, f32, 2>::zeros(&cpu, shape).unwrap());
        linear(&cpu, x.view(), &map, Activation::None, residual.as_ref().map(Tensor::view)).map(drop)
    };
    assert!(call(&x, Some([3, 8])).is_ok() && call(&x, None).is_ok());
    assert!(call(&x, Some([4, 8])).unwrap_err().to_string().contains("residual"));
    assert!(call(&x, Some([0, 8])).unwrap_err().to_string().contains("residual"));
    let narrow = Tensor::<_, f32, 2>::zeros(&cpu, [6, 8]).unwrap();
    assert!(call(&narrow, None).unwrap_err().to_string().contains("[6, 16]"));
    let none = Tensor::<_, f32, 3>::zeros(&cpu, [1, 0, 8]).unwrap();
    assert!(token_mean(&cpu, none.view()).unwrap_err().to_string().contains("no mean"));
}
