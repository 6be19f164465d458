//! The operations at the sizes of the networks, in `f32` and `f16`, on the backend named by `LOCKSTEP_BENCH_BACKEND`
//! (`cpu`, or `cuda`). Time is what the device sees between two events. Throughput is in values of the output times the
//! flop that the operation's page counts for each; for the norm it is in bytes.
//!
//! `layer` is a residual layer of a picture of 1080p (480 × 270, 128 channels), `first` and `last` its ends.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::Fill;
use gpu_core::testing::timing::warm;
use gpu_core::{AnyBackend, Backend, Result, Tensor, TensorView, TensorViewMut, with_backend};
use half::f16;
use style::ops::{
    Activation, Attention, AttentionWork, Conv, ConvShape, Layout, Linear, Norm, Part, Plan, ResidualBlock, Sample,
    StyleOps, VitOps, fused_attention_into, fused_conv_instancenorm_into, fused_conv_instancenorm_work,
    fused_conv_reflection_pad_into, fused_ffn_into, fused_residual_block_into, fused_residual_block_work,
    instance_norm_into, instance_norm_work, layer_norm_into, linear_into,
};

/// A convolution on pictures of one size.
#[derive(Clone, Copy)]
struct Layer {
    name: &'static str,
    size: [usize; 2],
    inputs: usize,
    outputs: usize,
    side: usize,
    stride: usize,
    upsample: bool,
}

const LAYERS: [Layer; 6] = [
    Layer { name: "first", size: [1080, 1920], inputs: 3, outputs: 32, side: 9, stride: 1, upsample: false },
    Layer { name: "down", size: [540, 960], inputs: 64, outputs: 128, side: 3, stride: 2, upsample: false },
    Layer { name: "layer", size: [270, 480], inputs: 128, outputs: 128, side: 3, stride: 1, upsample: false },
    Layer { name: "layer_512", size: [128, 128], inputs: 128, outputs: 128, side: 3, stride: 1, upsample: false },
    Layer { name: "layer_256", size: [64, 64], inputs: 128, outputs: 128, side: 3, stride: 1, upsample: false },
    Layer { name: "up", size: [270, 480], inputs: 128, outputs: 64, side: 3, stride: 1, upsample: true },
];

impl Layer {
    fn shape(&self) -> ConvShape {
        ConvShape {
            outputs: self.outputs,
            inputs: self.inputs,
            kernel: [self.side; 2],
            padding: self.side / 2,
            stride: [self.stride; 2],
            upsample: self.upsample,
        }
    }

    fn output(&self) -> [usize; 2] {
        let times = if self.upsample { 2 } else { 1 };
        self.size.map(|n| (n * times).div_ceil(self.stride))
    }

    fn flop(&self) -> u64 {
        let taps = if self.upsample { 4 } else { self.side * self.side };
        (2 * self.inputs * taps * self.outputs * self.output().iter().product::<usize>()) as u64
    }
}

fn tensor_shape(layout: Layout, channels: usize, [h, w]: [usize; 2]) -> [usize; 4] {
    if layout == Layout::Nchw { [1, channels, h, w] } else { [1, h, w, channels] }
}

fn noise<T: Sample>(len: usize, scale: f32) -> Vec<T> {
    let fill = Fill::of(gpu_core::testing::FillKind::Noise(7));
    (0..len).map(|i| T::nearest(scale * fill.at::<f32>(i, len))).collect()
}

fn measure<B: Backend>(
    criterion: &mut Criterion,
    b: &B,
    (group, row, shape): (&str, String, &str),
    throughput: Throughput,
    mut run: impl FnMut() -> Result<()>,
) {
    let mut group = criterion.benchmark_group(group);
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    group.throughput(throughput);
    group.bench_function(BenchmarkId::new(row.clone(), shape), |timer| {
        timer.iter_custom(|times| warm(b, times, &mut run).unwrap_or_else(|e| panic!("{row}: {e}")));
    });
    group.finish();
}

fn all<B: StyleOps<T>, T: Sample>(criterion: &mut Criterion, b: &B) -> Result<()> {
    for layout in [Layout::Nhwc, Layout::Nchw] {
        let row = |what: &str| format!("{}_{}_{layout:?}{what}", B::NAME, T::NAME);
        for layer in LAYERS {
            let (from, to) = (tensor_shape(layout, layer.inputs, layer.size), layer.output());
            let to = tensor_shape(layout, layer.outputs, to);
            let x = Tensor::from_slice(b, from, &noise::<T>(from.iter().product(), 1.0))?;
            let taps = layer.inputs * layer.side * layer.side;
            let weight = noise::<T>(layer.outputs * taps, (taps as f32).sqrt().recip());
            let conv = Conv::new(b, layer.shape(), &weight, &vec![0.5; layer.outputs])?;
            let ones = Tensor::from_slice(b, [layer.outputs], &vec![1.0f32; layer.outputs])?;
            let norm = Norm { gamma: ones.flat(), beta: ones.flat(), eps: 1e-5 };
            let mut y = Tensor::<B, T, 4>::zeros(b, to)?;
            let flop = Throughput::Elements(layer.flop());

            measure(criterion, b, ("fused_conv_reflection_pad", row(""), layer.name), flop.clone(), || {
                fused_conv_reflection_pad_into(b, layout, x.view(), &conv, y.view_mut())
            });
            let mut work = Tensor::<B, Part, 1>::zeros(b, [fused_conv_instancenorm_work(layout, from, &conv)?])?;
            for (plan, what) in [(Plan::Auto, "_auto"), (Plan::Launches, "_launches")] {
                let name = ("fused_conv_instancenorm", row(what), layer.name);
                measure(criterion, b, name, flop.clone(), || {
                    let (y, work) = (y.view_mut(), work.flat_mut());
                    fused_conv_instancenorm_into(b, plan, layout, x.view(), &conv, norm, true, y, work)
                });
            }
            if from == to && layer.side == 3 {
                let block = ResidualBlock { conv1: &conv, norm1: norm, conv2: &conv, norm2: norm };
                let parts = fused_residual_block_work(layout, from, block)?;
                let mut work = Tensor::<B, Part, 1>::zeros(b, [parts])?;
                let mut middle = Tensor::<B, T, 1>::zeros(b, [from.iter().product()])?;
                let flop = Throughput::Elements(2 * layer.flop());
                for (plan, what) in [(Plan::Auto, "_auto"), (Plan::Launches, "_launches")] {
                    measure(criterion, b, ("fused_residual_block", row(what), layer.name), flop.clone(), || {
                        let (y, middle, work) = (y.view_mut(), middle.flat_mut(), work.flat_mut());
                        fused_residual_block_into(b, plan, layout, x.view(), block, y, middle, work)
                    });
                }
            }
            let elements = to.iter().product::<usize>();
            let from = Tensor::from_slice(b, to, &noise::<T>(elements, 1.0))?;
            let mut work = Tensor::<B, Part, 1>::zeros(b, [instance_norm_work(layout, to)])?;
            let bytes = Throughput::Bytes((2 * elements * size_of::<T>()) as u64);
            measure(criterion, b, ("instance_norm", row(""), layer.name), bytes, || {
                instance_norm_into(b, layout, from.view(), norm, true, None, y.view_mut(), work.flat_mut())
            });
        }
    }
    Ok(())
}

/// The transformer's operations at the width of the bundled model, for pictures of 512 x 512 and of 1080p as continued.
fn transformer<B: VitOps<T>, T: Sample>(criterion: &mut Criterion, b: &B) -> Result<()> {
    const DIM: usize = 256;
    let row = || format!("{}_{}", B::NAME, T::NAME);
    let map = |outputs: usize, inputs: usize| {
        let weight = noise::<T>(outputs * inputs, (inputs as f32).sqrt().recip());
        Linear::new(b, [outputs, inputs], &weight, &vec![0.5; outputs])
    };
    let (fc1, fc2) = (map(1024, DIM)?, map(DIM, 1024)?);
    let attention = Attention { qkv: map(3 * DIM, DIM)?, out: map(DIM, DIM)?, heads: 4, window: 16, scale: 0.125 };
    let ones = Tensor::from_slice(b, [DIM], &vec![1.0f32; DIM])?;
    let norm = Norm { gamma: ones.flat(), beta: ones.flat(), eps: 1e-5 };
    for (shape, [rows, cols]) in [("tokens_64x64", [64, 64]), ("tokens_144x240", [144, 240])] {
        let (tokens, grid) = (rows * cols, [1, rows, cols, DIM]);
        let x = Tensor::from_slice(b, [tokens, DIM], &noise::<T>(tokens * DIM, 1.0))?;
        let global = Tensor::from_slice(b, [1, DIM], &noise::<T>(DIM, 1.0))?;
        let mut y = Tensor::<B, T, 2>::zeros(b, [tokens, DIM])?;
        let mut inner = Tensor::<B, T, 2>::zeros(b, [tokens, 1024])?;
        let flop = |each: usize| Throughput::Elements((tokens * each) as u64);
        measure(criterion, b, ("linear", row(), shape), flop(2 * DIM * 1024), || {
            linear_into(b, x.view(), &fc1, Activation::Gelu, None, inner.view_mut())
        });
        measure(criterion, b, ("fused_ffn", row(), shape), flop(4 * DIM * 1024), || {
            fused_ffn_into(b, x.view(), [&fc1, &fc2], Some(x.view()), y.view_mut(), inner.view_mut())
        });
        let bytes = Throughput::Bytes((2 * tokens * DIM * size_of::<T>()) as u64);
        measure(criterion, b, ("layer_norm", row(), shape), bytes, || {
            layer_norm_into(b, x.view(), norm, None, y.view_mut())
        });
        let mut work = AttentionWork::new(b, grid)?;
        measure(criterion, b, ("fused_attention", row(), shape), flop(8 * DIM * DIM + 4 * DIM * 257), || {
            let (x, y) = (TensorView::new(x.flat(), grid)?, TensorViewMut::new(y.flat_mut(), grid)?);
            fused_attention_into(b, x, global.view(), &attention, true, None, y, &mut work)
        });
    }
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let any = AnyBackend::open(&name).unwrap_or_else(|e| panic!("LOCKSTEP_BENCH_BACKEND={name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&any, |b| {
        all::<_, f32>(&mut criterion, b)
            .and_then(|()| all::<_, f16>(&mut criterion, b))
            .and_then(|()| transformer::<_, f32>(&mut criterion, b))
            .and_then(|()| transformer::<_, f16>(&mut criterion, b))
    })
    .unwrap_or_else(|e| panic!("{e}"));
    criterion.final_summary();
}
