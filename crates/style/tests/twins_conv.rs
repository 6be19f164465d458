//! Convolution with reflection padding: the CPU against plain f64 loops, CUDA against the CPU.

mod convolutions;
mod oracle;

use convolutions::{Case, cases, exact, in_layout, noise, tensor_shape};
use gpu_core::testing::{Output, Outputs, Tolerance, Twin};
use gpu_core::{Cpu, Result, Tensor, twins};
use half::f16;
use style::ops::{Conv, ConvShape, FusedConvReflectionPad, Layout, Sample, fused_conv_reflection_pad};

/// Half of the convolutions have a ReLU behind them.
fn rectified(c: &Case) -> bool {
    c.conv.outputs % 2 == 1
}

fn run<B: FusedConvReflectionPad<T>, T: Sample + Twin>(b: &B, c: &Case) -> Result<Outputs> {
    let (x, conv) = c.on::<B, T>(b)?;
    let conv = if rectified(c) { conv.with_relu() } else { conv };
    let y = fused_conv_reflection_pad(b, c.layout, c.view(&x)?, &conv)?;
    Ok(vec![Output::of(b, &y)?])
}

fn oracle_of<T: Sample>(c: &Case) -> Outputs {
    let mut y = oracle::conv(&c.images::<T>(), &c.filter::<T>(), false);
    if rectified(c) {
        y.data.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    vec![Output::F64(tensor_shape(c.layout, y.shape).to_vec(), in_layout(c.layout, y))]
}

/// The roundings of the sum, and that of storing it.
fn bound<T: Sample>(c: &Case) -> Tolerance {
    let error = c.error::<T>();
    // Half a unit in the last place of each side, which the sums' error may push over the edge.
    Tolerance {
        ulps: 0,
        rel: if T::ROUNDS { 2.0_f64.powi(-10) } else { 0.0 },
        abs: error * if T::ROUNDS { 2.0 } else { 1.0 },
    }
}

twins! {
    kernels = ["fused_conv_reflection_pad_f32"];
    /// small integers times eighths: every sum is exact
    conv_f32_exact: cases(exact(), true), Case => |b, c| run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = Tolerance::EXACT;
    /// the roundings of a sum of products
    conv_f32_close: cases(noise(), false), Case => |b, c| run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
}

twins! {
    kernels = ["fused_conv_reflection_pad_f16"];
    /// small integers times eighths: every sum is exact, and both sides round it to f16 alike
    conv_f16_exact: cases(exact(), true), Case => |b, c| run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = Tolerance::EXACT;
    /// the roundings of a sum of products, and of storing it
    conv_f16_close: cases(noise(), false), Case => |b, c| run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
}

/// The CPU makes some rows at a time of an image with its channels last, and the whole of planes.
#[test]
fn rows_at_a_time_change_no_bit() {
    let cpu = Cpu::new();
    for ([h, w], [kh, kw], padding, relu) in [
        ([65, 9], [3, 3], 1, false),
        ([150, 9], [9, 9], 4, true),
        ([200, 9], [5, 1], 3, false),
        ([70, 9], [1, 3], 0, true),
        ([131, 9], [2, 3], 5, false),
        ([150, 70], [1, 2], 65, false),
    ] {
        let (batch, inputs, outputs) = (2, 3, 5);
        let shape = ConvShape { outputs, inputs, kernel: [kh, kw], padding, stride: [1, 1], upsample: false };
        let values = |n: usize| (0..n).map(|i| (i * 7919 % 257) as f32 / 64.0 - 2.0).collect::<Vec<_>>();
        let conv = Conv::new(&cpu, shape, &values(outputs * inputs * kh * kw), &values(outputs)).unwrap();
        let conv = if relu { conv.with_relu() } else { conv };
        let planes = Tensor::from_slice(&cpu, [batch, inputs, h, w], &values(batch * inputs * h * w)).unwrap();
        let turned = planes.to_array(&cpu).unwrap().permuted_axes([0, 2, 3, 1]);
        let last = Tensor::from_array(&cpu, turned.view()).unwrap();
        let of = |layout, x: &Tensor<Cpu, f32, 4>| {
            fused_conv_reflection_pad(&cpu, layout, x.view(), &conv).unwrap().to_array(&cpu).unwrap()
        };
        let wanted = of(Layout::Nchw, &planes).permuted_axes([0, 2, 3, 1]);
        assert!(of(Layout::Nhwc, &last) == wanted, "{h} rows, {kh} x {kw}, padding {padding}");
    }
}

const PLAIN: ConvShape =
    ConvShape { outputs: 2, inputs: 1, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let cpu = Cpu::new();
    let new = |shape: ConvShape, weights: usize, bias: usize| {
        Conv::new(&cpu, shape, &vec![0.0f32; weights], &vec![0.0; bias]).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(new(PLAIN, 18, 2), Ok(()));
    assert!(new(PLAIN, 17, 2).unwrap_err().contains("weight"));
    assert!(new(PLAIN, 18, 1).unwrap_err().contains("bias"));
    assert!(new(ConvShape { outputs: 0, ..PLAIN }, 0, 0).unwrap_err().contains("0 output channels"));
    assert!(new(ConvShape { inputs: 0, ..PLAIN }, 0, 2).unwrap_err().contains("0 input"));
    assert!(new(ConvShape { stride: [0, 1], ..PLAIN }, 18, 2).unwrap_err().contains("stride"));
    assert!(new(ConvShape { stride: [1, 5], ..PLAIN }, 18, 2).unwrap_err().contains("stride"));
    assert!(new(ConvShape { kernel: [12, 3], ..PLAIN }, 72, 2).unwrap_err().contains("12 x 3"));
    assert!(new(ConvShape { kernel: [0, 3], ..PLAIN }, 0, 2).unwrap_err().contains("0 x 3"));
    assert!(new(ConvShape { upsample: true, padding: 0, ..PLAIN }, 18, 2).unwrap_err().contains("upsample"));
    assert!(new(ConvShape { outputs: 1 << 27, inputs: 1 << 27, ..PLAIN }, 0, 0).is_err());

    let run = |padding: usize, shape: [usize; 4], layout| {
        let conv = Conv::new(&cpu, ConvShape { padding, ..PLAIN }, &[0.0f32; 18], &[0.0; 2]).unwrap();
        let x = Tensor::<_, f32, 4>::zeros(&cpu, shape).unwrap();
        let y = fused_conv_reflection_pad(&cpu, layout, x.view(), &conv);
        y.map(|y| y.shape()).map_err(|e| e.to_string())
    };
    assert_eq!(run(1, [3, 1, 4, 5], Layout::Nchw), Ok([3, 2, 4, 5]));
    assert_eq!(run(1, [3, 4, 5, 1], Layout::Nhwc), Ok([3, 4, 5, 2]));
    assert_eq!(run(1, [0, 1, 4, 5], Layout::Nchw), Ok([0, 2, 4, 5]));
    assert!(run(4, [1, 1, 4, 5], Layout::Nchw).unwrap_err().contains("at least 5"));
    assert!(run(usize::MAX, [1, 1, 4, 5], Layout::Nchw).unwrap_err().contains("padding"));
    assert!(run(1, [1, 4, 5, 1], Layout::Nchw).unwrap_err().contains("channels"));
    assert!(run(0, [1, 1, 2, 5], Layout::Nchw).unwrap_err().contains("less than the filter"));
    assert!(run(1, [1, 1, 0, 5], Layout::Nchw).unwrap_err().contains("no pixels"));
}
