//! The residual block: the CPU against plain f64 loops, CUDA against the CPU.

mod bounds;
mod convolutions;
mod oracle;

use bounds::{norm_error, stored};
use convolutions::{Case, LOUD, hold, in_layout, noise, sparse, tensor_shape, vector, wide};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, Twin, starting_with};
use gpu_core::{Cpu, Result, Tensor, TensorViewMut, twins};
use half::f16;
use oracle::{Filter, Images};
use style::ops::{
    Conv, ConvShape, FusedResidualBlock, Layout, Norm, Plan, ResidualBlock, Sample, fused_residual_block,
    fused_residual_block_into, fused_residual_block_work,
};

const EPS: f32 = 1e-5;

#[derive(Clone, Debug)]
struct Block {
    /// The first convolution, and the input.
    first: Case,
    plan: Plan,
    /// The second gamma is as large as this.
    gain: f32,
}

impl Block {
    /// The second convolution: other weights of the same shape.
    fn second(&self) -> Case {
        Case { fill: self.first.fill.other().other(), ..self.first.clone() }
    }

    fn weight2<T: Sample>(&self) -> Vec<T> {
        let mut weight = self.second().weight::<T>();
        weight.reverse();
        weight
    }

    fn filter2<T: Sample>(&self) -> Filter {
        let weight = self.weight2::<T>().iter().map(|w| w.widened().into()).collect();
        Filter { weight, ..self.first.filter::<T>() }
    }

    fn gamma2(&self) -> Vec<f32> {
        self.first.gamma().into_iter().rev().map(|gamma| gamma * self.gain).collect()
    }
}

fn blocks(largest: usize) -> BoxedStrategy<Block> {
    let channels = prop_oneof![3 => 1..20_usize, 1 => 20..70_usize, 1 => Just(64_usize)];
    let side = prop_oneof![4 => Just(3_usize), 1 => Just(5), 1 => Just(1)];
    let layout = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    let plan = prop_oneof![Just(Plan::Auto), Just(Plan::Launches)];
    (1..3_usize, channels, side, 0..largest, 0..largest, layout, noise(), plan)
        .prop_map(|(b, c, k, h, w, layout, fill, plan)| {
            let (h, mut w) = (k / 2 + 2 + h, k / 2 + 2 + w);
            while b * c * c * k * k * h * w > 500_000 && w > k / 2 + 2 {
                w -= 1;
            }
            let conv =
                ConvShape { outputs: c, inputs: c, kernel: [k, k], padding: k / 2, stride: [1, 1], upsample: false };
            Block {
                first: Case { layout, shape: [b, c, h, w], conv, fill, exact: false, sparse: false, apart: false },
                plan,
                gain: 1.0,
            }
        })
        .boxed()
}

/// More tiles than blocks run at once on a small device, of few channels.
fn large() -> BoxedStrategy<Block> {
    let size = (1..3_usize, 41..48_usize, 81..96_usize, 0..2_usize, noise());
    size.prop_map(|(c, h, w, layout, fill)| {
        let conv = ConvShape { outputs: c, inputs: c, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
        let layout = [Layout::Nchw, Layout::Nhwc][layout];
        Block {
            first: Case { layout, shape: [1, c, h, w], conv, fill, exact: false, sparse: false, apart: false },
            plan: Plan::Auto,
            gain: 1.0,
        }
    })
    .boxed()
}

/// Whole and ragged tiles, in one launch and in several, and results beyond f16.
fn around() -> Vec<Block> {
    let block =
        |layout, c, [h, w]: [usize; 2], plan, gain| Block { first: sparse(layout, [2, c, h, w], c, 7), plan, gain };
    let apart = |block: Block| Block { first: Case { apart: true, ..block.first }, ..block };
    vec![
        block(Layout::Nchw, 5, [17, 33], Plan::Launches, 1.0),
        block(Layout::Nhwc, 24, [9, 18], Plan::Launches, LOUD),
        block(Layout::Nchw, 24, [9, 20], Plan::Auto, LOUD),
        block(Layout::Nhwc, 5, [17, 33], Plan::Auto, 1.0),
        block(Layout::Nhwc, 7, [16, 32], Plan::Launches, LOUD),
        block(Layout::Nchw, 64, [8, 17], Plan::Launches, 1.0),
        block(Layout::Nchw, 5, [17, 33], Plan::Launches, LOUD),
        block(Layout::Nchw, 5, [17, 33], Plan::Auto, 1.0),
        block(Layout::Nhwc, 24, [9, 18], Plan::Auto, 1.0),
        block(Layout::Nchw, 24, [8, 20], Plan::Launches, LOUD),
        apart(block(Layout::Nhwc, 24, [9, 18], Plan::Launches, 1.0)),
        apart(block(Layout::Nhwc, 8, [9, 18], Plan::Auto, 1.0)),
    ]
}

fn run<B: FusedResidualBlock<T>, T: Sample + Twin>(b: &B, c: &Block) -> Result<Outputs> {
    let case = &c.first;
    let (x, conv1) = case.on::<B, T>(b)?;
    let conv2 = Conv::new(b, case.conv, &c.weight2::<T>(), &case.bias())?;
    let (gamma1, gamma2, beta) = (vector(b, &case.gamma())?, vector(b, &c.gamma2())?, vector(b, &case.beta())?);
    let norm1 = Norm { gamma: gamma1.flat(), beta: beta.flat(), eps: EPS };
    let norm2 = Norm { gamma: gamma2.flat(), ..norm1 };
    let block = ResidualBlock { conv1: &conv1, norm1, conv2: &conv2, norm2 };
    let x = case.view(&x)?;
    if !case.apart {
        return Ok(vec![Output::of(b, &fused_residual_block(b, c.plan, case.layout, x, block)?)?]);
    }
    // Where the input lies between packs, the output does, too.
    let (shape, len) = (x.shape(), x.flat().len());
    let mut y = Tensor::<B, T, 1>::zeros(b, [1 + len])?;
    let mut middle = Tensor::<B, T, 1>::scratch(b, [len])?;
    let mut work = Tensor::scratch(b, [fused_residual_block_work(case.layout, shape, block)?])?;
    let to = TensorViewMut::new(y.flat_mut().slice(1..1 + len)?, shape)?;
    fused_residual_block_into(b, c.plan, case.layout, x, block, to, middle.flat_mut(), work.flat_mut())?;
    Ok(vec![T::output(shape.to_vec(), y.to_vec(b)?.split_off(1))])
}

/// The raw values of both convolutions, and what the second reads.
fn steps<T: Sample>(c: &Block) -> [Images; 3] {
    let case = &c.first;
    let (gamma, beta) = (wide(&case.gamma()), wide(&case.beta()));
    let raw1 = oracle::conv(&case.images::<T>(), &case.filter::<T>(), false);
    let middle = oracle::norm(&raw1, &gamma, &beta, EPS.into(), true, None);
    let raw2 = oracle::conv(&middle, &c.filter2::<T>(), false);
    [raw1, middle, raw2]
}

fn oracle_of<T: Sample>(c: &Block) -> Outputs {
    let [_, _, raw2] = steps::<T>(c);
    let (gamma, beta) = (wide(&c.gamma2()), wide(&c.first.beta()));
    let mut y = oracle::norm(&raw2, &gamma, &beta, EPS.into(), false, Some(&c.first.images::<T>()));
    hold::<T>(&mut y);
    vec![Output::F64(tensor_shape(c.first.layout, y.shape).to_vec(), in_layout(c.first.layout, y))]
}

/// The errors of the first convolution behind its norm, times the weights that they meet in the second, and its own.
fn bound<T: Sample>(c: &Block) -> Tolerance {
    let [raw1, middle, raw2] = steps::<T>(c);
    let largest = middle.data.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let first = norm_error::<T>(&raw1, c.first.error::<T>(), EPS.into())
        + if T::ROUNDS { largest * 2.0_f64.powi(-10) } else { 0.0 };
    let filter = c.filter2::<T>();
    let taps = c.first.taps();
    let weights = filter.weight.chunks_exact(taps).map(|w| w.iter().map(|v| v.abs()).sum::<f64>());
    let weights = weights.fold(0.0, f64::max);
    let own = weights * largest * 2.0 * (taps + 2) as f64 * 2.0_f64.powi(-24) + 1e-6;
    let behind = norm_error::<T>(&raw2, first * weights + own, EPS.into()) + 2.0_f64.powi(-20);
    stored::<T>(behind * f64::from(c.gain))
}

twins! {
    kernels = ["fused_residual_block_whole_f32", "fused_residual_block_second_f32", "fused_residual_block_merge_f32",
        "fused_residual_block_apply_f32"];
    /// the errors of both convolutions, each behind its norm
    residual_f32_close: starting_with(around(), blocks(16)), Block => |b, c|
        run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
    /// as above
    large_residual_f32_close: large(), Block => |b, c|
        run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
}

twins! {
    kernels = ["fused_residual_block_whole_f16", "fused_residual_block_second_f16", "fused_residual_block_merge_f16",
        "fused_residual_block_apply_f16"];
    /// as in f32, with the roundings of what is stored between
    residual_f16_close: starting_with(around(), blocks(16)), Block => |b, c|
        run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
    /// as above
    large_residual_f16_close: large(), Block => |b, c|
        run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
}

#[test]
fn convolutions_that_change_the_shape_are_refused() {
    let cpu = Cpu::new();
    let two = vector(&cpu, &[1.0, 1.0]).unwrap();
    let run = |outputs: usize, padding: usize, stride: usize| {
        let shape = ConvShape { outputs, inputs: 2, kernel: [3, 3], padding, stride: [stride; 2], upsample: false };
        let conv = Conv::new(&cpu, shape, &vec![0.0f32; outputs * 18], &vec![0.0; outputs]).unwrap();
        let norm = Norm { gamma: two.flat(), beta: two.flat(), eps: EPS };
        let block = ResidualBlock { conv1: &conv, norm1: norm, conv2: &conv, norm2: norm };
        let x = Tensor::<_, f32, 4>::zeros(&cpu, [1, 2, 4, 4]).unwrap();
        let y = fused_residual_block(&cpu, Plan::Auto, Layout::Nchw, x.view(), block);
        y.map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(run(2, 1, 1), Ok(()));
    for (outputs, padding, stride) in [(3, 1, 1), (2, 0, 1), (2, 1, 2)] {
        assert!(run(outputs, padding, stride).unwrap_err().contains("keeps the shape"));
    }
}

#[cfg(feature = "cuda")]
mod plans {
    use gpu_core::testing::proptest::test_runner::{Config, RngSeed, TestRunner};

    use super::*;

    #[test]
    #[ignore = "needs a CUDA device"]
    fn plans_agree_on_cuda() {
        let b = gpu_core::testing::cuda();
        let config = Config { cases: 8, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() };
        let both = prop_oneof![6 => blocks(12), 1 => large()];
        let same = |c: Block| {
            let [one, launches] = [Plan::OneLaunch, Plan::Launches].map(|plan| Block { plan, ..c.clone() });
            let bytes = |out: Outputs| out[0].bytes().to_vec();
            let f32s = [&one, &launches].map(|c| bytes(run::<_, f32>(&b, c).unwrap()));
            let f16s = [&one, &launches].map(|c| bytes(run::<_, f16>(&b, c).unwrap()));
            prop_assert!(f32s[0] == f32s[1] && f16s[0] == f16s[1]);
            Ok(())
        };
        TestRunner::new(config).run(&both, same).unwrap();
    }
}
