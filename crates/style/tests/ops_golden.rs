//! The operations on the stored float64 results, and in both layouts, batched and alone.

mod reference;

use gpu_core::testing::Twin;
use gpu_core::{Backend, Tensor};
use half::f16;
use reference::{Tensors, tensors};
use style::ops::{
    Conv, ConvShape, Layout, Norm, Plan, ResidualBlock, Sample, StyleOps, fused_conv_instancenorm,
    fused_conv_reflection_pad, fused_residual_block, instance_norm,
};

const EPS: f32 = 1e-5;

/// The tolerance of `f32` layers, |Δ| ≤ 1e-4 (1 + |ref|), and of `f16` layers, 2e-3 of the root of the mean square; twice
/// that for planes of less than eight pixels, where roundings of the input to `f16` do not average.
fn check<T: Sample>(what: &str, found: &[T], (shape, wanted): &(Vec<usize>, Vec<f32>)) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let (mut worst, mut error, mut power) = (0.0_f64, 0.0, 0.0);
    for (f, &w) in found.iter().zip(wanted) {
        let d = f64::from(f.widened()) - f64::from(w);
        worst = worst.max(d.abs() / (1.0 + f64::from(w).abs()));
        error += d * d;
        power += f64::from(w) * f64::from(w);
    }
    let relative = (error / power).sqrt();
    let most = if shape[2] * shape[3] < 8 { 4e-3 } else { 2e-3 };
    assert!(if T::ROUNDS { relative <= most } else { worst <= 1e-4 }, "{what}: worst {worst:e}, relative {relative:e}");
}

fn nearest<T: Sample>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::nearest(v)).collect()
}

/// `[B, C, H, W]` to channels last, or back.
fn turned<T: Copy>(values: &[T], [b, c, h, w]: [usize; 4], back: bool) -> Vec<T> {
    let mut out = values.to_vec();
    for (i, chunk) in values.chunks_exact(c * h * w).enumerate().take(b) {
        for k in 0..c {
            for p in 0..h * w {
                let (planar, last) = (k * h * w + p, p * c + k);
                let (to, from) = if back { (planar, last) } else { (last, planar) };
                out[i * c * h * w + to] = chunk[from];
            }
        }
    }
    out
}

struct On<'a, B: Backend> {
    b: &'a B,
    layout: Layout,
}

impl<B: Backend> On<'_, B> {
    fn upload<T: Sample>(&self, (shape, values): &(Vec<usize>, Vec<f32>)) -> Tensor<B, T, 4> {
        let [b, c, h, w] = shape.clone().try_into().unwrap();
        let values = nearest::<T>(values);
        match self.layout {
            Layout::Nchw => Tensor::from_slice(self.b, [b, c, h, w], &values).unwrap(),
            Layout::Nhwc => Tensor::from_slice(self.b, [b, h, w, c], &turned(&values, [b, c, h, w], false)).unwrap(),
        }
    }

    fn download<T: Sample>(&self, tensor: &Tensor<B, T, 4>) -> Vec<T> {
        let (values, [b, x, y, z]) = (tensor.to_vec(self.b).unwrap(), tensor.shape());
        if self.layout == Layout::Nchw { values } else { turned(&values, [b, z, x, y], true) }
    }

    fn vector(&self, values: &[f32]) -> Tensor<B, f32, 1> {
        Tensor::from_slice(self.b, [values.len()], values).unwrap()
    }
}

fn cases(file: &Tensors) -> Vec<String> {
    let all: std::collections::BTreeSet<&str> = file.keys().filter_map(|k| Some(k.split_once('.')?.0)).collect();
    all.into_iter().map(str::to_owned).collect()
}

fn convolutions<B: StyleOps<T>, T: Sample + Twin>(on: &On<'_, B>) {
    let file = tensors("golden/ops_conv_norm.safetensors");
    for case in cases(&file) {
        let get = |name: &str| &file[&format!("{case}.{name}")];
        let (weight_shape, weight) = get("weight");
        let [outputs, inputs, kh, kw] = weight_shape.clone().try_into().unwrap();
        let stride = if case.contains("_s2_") { 2 } else { 1 };
        let upsample = case.ends_with("_u2");
        let shape = ConvShape { outputs, inputs, kernel: [kh, kw], padding: kh / 2, stride: [stride; 2], upsample };
        let conv = Conv::new(on.b, shape, &nearest::<T>(weight), &get("bias").1).unwrap();
        let (gamma, beta) = (on.vector(&get("gamma").1), on.vector(&get("beta").1));
        let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: EPS };
        let x = on.upload::<T>(get("x"));
        let y = fused_conv_reflection_pad(on.b, on.layout, x.view(), &conv).unwrap();
        check(&format!("{case} conv"), &on.download(&y), get("conv"));
        let alone = on.upload::<T>(get("conv"));
        for (relu, name) in [(false, "norm"), (true, "norm_relu")] {
            for plan in [Plan::Auto, Plan::Launches] {
                let y = fused_conv_instancenorm(on.b, plan, on.layout, x.view(), &conv, norm, relu).unwrap();
                check(&format!("{case} {name} {plan:?}"), &on.download(&y), get(name));
            }
            let y = instance_norm(on.b, on.layout, alone.view(), norm, relu, None).unwrap();
            check(&format!("{case} {name} alone"), &on.download(&y), get(name));
        }
    }
}

fn blocks<B: StyleOps<T>, T: Sample + Twin>(on: &On<'_, B>) {
    let file = tensors("golden/ops_residual.safetensors");
    for case in cases(&file) {
        let get = |name: &str| &file[&format!("{case}.{name}")];
        let part = |i: usize| {
            let (weight_shape, weight) = get(&format!("conv{i}_weight"));
            let [outputs, inputs, kh, kw] = weight_shape.clone().try_into().unwrap();
            let shape = ConvShape { outputs, inputs, kernel: [kh, kw], padding: 1, stride: [1; 2], upsample: false };
            let conv = Conv::new(on.b, shape, &nearest::<T>(weight), &get(&format!("conv{i}_bias")).1).unwrap();
            let [gamma, beta] = ["gamma", "beta"].map(|name| on.vector(&get(&format!("conv{i}_{name}")).1));
            (conv, gamma, beta)
        };
        let ((conv1, gamma1, beta1), (conv2, gamma2, beta2)) = (part(1), part(2));
        let norm1 = Norm { gamma: gamma1.flat(), beta: beta1.flat(), eps: EPS };
        let norm2 = Norm { gamma: gamma2.flat(), beta: beta2.flat(), eps: EPS };
        let block = ResidualBlock { conv1: &conv1, norm1, conv2: &conv2, norm2 };
        let x = on.upload::<T>(get("x"));
        for plan in [Plan::Auto, Plan::Launches] {
            let y = fused_residual_block(on.b, plan, on.layout, x.view(), block).unwrap();
            check(&format!("{case} {plan:?}"), &on.download(&y), get("y"));
        }
    }
}

/// The bits of an image in a batch are those of the image alone, and those of planes and of channels last are the same.
fn batches_and_layouts<B: StyleOps<T>, T: Sample + Twin>(b: &B, same_layouts: bool) {
    let (channels, h, w) = (5, 11, 19);
    let all: Vec<f32> = (0..3 * channels * h * w).map(|i| (i * 7919 % 251) as f32 / 64.0 - 2.0).collect();
    let weight: Vec<T> =
        (0..channels * channels * 9).map(|i| T::nearest((i * 31 % 17) as f32 / 64.0 - 0.125)).collect();
    let shape =
        ConvShape { outputs: channels, inputs: channels, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
    let conv = Conv::new(b, shape, &weight, &[0.5; 5]).unwrap();
    let run = |layout: Layout, x: &[f32]| -> Vec<Vec<T>> {
        let on = On { b, layout };
        let parameters = on.vector(&[1.0, 0.5, 2.0, 1.5, 0.25]);
        let norm = Norm { gamma: parameters.flat(), beta: parameters.flat(), eps: EPS };
        let block = ResidualBlock { conv1: &conv, norm1: norm, conv2: &conv, norm2: norm };
        let x = on.upload::<T>(&(vec![x.len() / (channels * h * w), channels, h, w], x.to_vec()));
        let done = [
            instance_norm(b, layout, x.view(), norm, true, Some(x.view())),
            fused_conv_reflection_pad(b, layout, x.view(), &conv),
            fused_conv_instancenorm(b, Plan::Auto, layout, x.view(), &conv, norm, true),
            fused_residual_block(b, Plan::Auto, layout, x.view(), block),
        ];
        done.map(|y| on.download(&y.unwrap())).into()
    };
    let each = channels * h * w;
    let [planar, last] = [Layout::Nchw, Layout::Nhwc].map(|layout| {
        let together = run(layout, &all);
        for (i, image) in all.chunks_exact(each).enumerate() {
            for (operation, (together, alone)) in together.iter().zip(run(layout, image)).enumerate() {
                assert_eq!(together[i * each..][..each], alone, "operation {operation}, image {i}, {layout:?}");
            }
        }
        together
    });
    // A norm alone takes other parts of a plane where channels are last.
    for operation in if same_layouts { 0..4 } else { 1..4 } {
        assert_eq!(planar[operation], last[operation], "operation {operation}");
    }
}

fn every_case<B: StyleOps<f32> + StyleOps<f16>>(b: &B) {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let on = On { b, layout };
        convolutions::<B, f32>(&on);
        convolutions::<B, f16>(&on);
        blocks::<B, f32>(&on);
        blocks::<B, f16>(&on);
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_case_on_cpu() {
    every_case(&gpu_core::Cpu::new());
}

#[test]
fn batches_and_layouts_on_cpu() {
    batches_and_layouts::<_, f32>(&gpu_core::Cpu::new(), true);
    batches_and_layouts::<_, f16>(&gpu_core::Cpu::new(), true);
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn every_case_on_cuda() {
    every_case(&gpu_core::testing::cuda());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn batches_and_layouts_on_cuda() {
    batches_and_layouts::<_, f32>(&gpu_core::testing::cuda(), false);
    batches_and_layouts::<_, f16>(&gpu_core::testing::cuda(), false);
}
