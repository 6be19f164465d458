//! Convolution with instance norm: the CPU against plain f64 loops, CUDA against the CPU.

mod bounds;
mod convolutions;
mod oracle;

use bounds::{norm_error, stored};
use convolutions::{Case, LOUD, cases, hold, in_layout, noise, sparse, tensor_shape, vector, wide};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, Twin, starting_with};
use gpu_core::{Cpu, Result, Tensor, twins};
use half::f16;
use oracle::{Filter, Images};
use style::ops::{
    Conv, ConvShape, FusedConvInstancenorm, Layout, Norm, Plan, Sample, fused_conv_instancenorm,
    fused_conv_instancenorm_deferred,
};

const EPS: f32 = 1e-5;

#[derive(Clone, Debug)]
struct Normed {
    case: Case,
    relu: bool,
    plan: Plan,
    /// Gamma is as large as this.
    gain: f32,
}

impl Normed {
    fn gamma(&self) -> Vec<f32> {
        self.case.gamma().into_iter().map(|gamma| gamma * self.gain).collect()
    }
}

fn normed(cases: impl Strategy<Value = Case> + 'static) -> BoxedStrategy<Normed> {
    let plan = prop_oneof![Just(Plan::Auto), Just(Plan::Launches)];
    (cases, any::<bool>(), plan).prop_map(|(case, relu, plan)| Normed { case, relu, plan, gain: 1.0 }).boxed()
}

fn ordinary() -> BoxedStrategy<Normed> {
    normed(cases(noise(), false))
}

/// Also as many planes as a block has threads.
fn deferred() -> BoxedStrategy<Normed> {
    let whole =
        normed((noise(), prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)]).prop_map(|(fill, layout)| Case {
            layout,
            shape: [4, 1, 3, 5],
            conv: ConvShape { outputs: 64, inputs: 1, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false },
            fill,
            exact: false,
            sparse: false,
            apart: false,
        }));
    prop_oneof![2 => ordinary(), 1 => whole].boxed()
}

/// More tiles than blocks run at once on a small device, so that a block keeps several; and more of them in a plane than a
/// warp has lanes.
fn large() -> BoxedStrategy<Normed> {
    let size = prop_oneof![
        3 => (Just(1_usize), 41..49_usize, 81..113_usize, 1..3_usize, 32..65_usize, noise()),
        1 => (Just(1_usize), 73..89_usize, 160..177_usize, Just(1_usize), 1..9_usize, noise()),
    ];
    let layout = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    let cases = (size, layout).prop_map(|((b, h, w, inputs, outputs, fill), layout)| Case {
        layout,
        shape: [b, inputs, h, w],
        conv: ConvShape { outputs, inputs, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false },
        fill,
        exact: false,
        sparse: false,
        apart: false,
    });
    // Several launches more often: tests of large sizes have few cases.
    let plan = prop_oneof![1 => Just(Plan::Auto), 2 => Just(Plan::Launches)];
    (cases, any::<bool>(), plan).prop_map(|(case, relu, plan)| Normed { case, relu, plan, gain: 1.0 }).boxed()
}

/// Whole and ragged tiles, in one launch and in several, and results beyond f16.
fn around() -> Vec<Normed> {
    let normed = |layout, [c, h, w]: [usize; 3], outputs, plan, gain| Normed {
        case: sparse(layout, [2, c, h, w], outputs, 7),
        relu: false,
        plan,
        gain,
    };
    vec![
        normed(Layout::Nchw, [5, 17, 33], 5, Plan::Launches, LOUD),
        normed(Layout::Nhwc, [24, 9, 18], 24, Plan::Launches, 1.0),
        normed(Layout::Nchw, [24, 9, 20], 24, Plan::Auto, 1.0),
        normed(Layout::Nhwc, [5, 17, 33], 5, Plan::Auto, LOUD),
        normed(Layout::Nhwc, [7, 16, 32], 24, Plan::Launches, LOUD),
        normed(Layout::Nchw, [3, 16, 32], 64, Plan::Launches, LOUD),
    ]
}

/// More tiles than four a lane of a warp; a last pixel that is a piece of its own; and four phases, each of whose last tile
/// is one pixel.
fn many() -> Vec<Normed> {
    let normed = |case, plan| Normed { case, relu: false, plan, gain: 1.0 };
    let mut doubled = sparse(Layout::Nchw, [1, 1, 33, 33], 1, 9);
    doubled.conv.upsample = true;
    vec![
        normed(sparse(Layout::Nchw, [1, 1, 130, 131], 1, 9), Plan::Launches),
        normed(sparse(Layout::Nhwc, [1, 1, 43, 127], 3, 9), Plan::Launches),
        normed(doubled, Plan::Auto),
    ]
}

fn run<B: FusedConvInstancenorm<T>, T: Sample + Twin>(b: &B, c: &Normed) -> Result<Outputs> {
    let Normed { case, relu, plan, .. } = c;
    let (x, conv) = case.on::<B, T>(b)?;
    let (gamma, beta) = (vector(b, &c.gamma())?, vector(b, &case.beta())?);
    let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: EPS };
    let y = fused_conv_instancenorm(b, *plan, case.layout, case.view(&x)?, &conv, norm, *relu)?;
    Ok(vec![Output::of(b, &y)?])
}

fn raw_of<T: Sample>(c: &Case) -> Images {
    let filter = c.filter::<T>();
    oracle::conv(&c.images::<T>(), &Filter { bias: vec![0.0; filter.bias.len()], ..filter }, false)
}

fn oracle_of<T: Sample>(c: &Normed) -> Outputs {
    let case = &c.case;
    // With bias, which must not matter.
    let raw = oracle::conv(&case.images::<T>(), &case.filter::<T>(), false);
    let mut y = oracle::norm(&raw, &wide(&c.gamma()), &wide(&case.beta()), EPS.into(), c.relu, None);
    hold::<T>(&mut y);
    vec![Output::F64(tensor_shape(case.layout, y.shape).to_vec(), in_layout(case.layout, y))]
}

fn bound<T: Sample>(c: &Normed) -> Tolerance {
    let behind = norm_error::<T>(&raw_of::<T>(&c.case), c.case.error::<T>(), EPS.into());
    stored::<T>(behind * f64::from(c.gain))
}

/// The raw tensor of the deferred form, and the norm of it that a consumer applies.
fn run_deferred<B: FusedConvInstancenorm<T>, T: Sample + Twin>(b: &B, c: &Normed) -> Result<Outputs> {
    let case = &c.case;
    let (x, conv) = case.on::<B, T>(b)?;
    let (gamma, beta) = (vector(b, &c.gamma())?, vector(b, &case.beta())?);
    let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: EPS };
    let deferred = fused_conv_instancenorm_deferred(b, case.layout, case.view(&x)?, &conv, norm)?;
    let (raw, shape) = (deferred.raw.to_vec(b)?, deferred.raw.shape());
    let coefficients = deferred.coefficients.to_vec(b)?;
    let channels = case.conv.outputs;
    let plane = shape[1..].iter().product::<usize>();
    let area = plane / channels;
    let apply = |(i, v): (usize, &T)| {
        let c = if case.layout == Layout::Nchw { i % plane / area } else { i % channels };
        let [mean, scale, shift, _] = coefficients[i / plane * channels + c];
        let y = (v.widened() - mean).mul_add(scale, shift);
        T::nearest(y)
    };
    Ok(vec![T::output(shape.to_vec(), raw.iter().enumerate().map(apply).collect())])
}

fn oracle_of_deferred<T: Sample>(c: &Normed) -> Outputs {
    oracle_of::<T>(&Normed { relu: false, ..c.clone() })
}

twins! {
    kernels = ["fused_conv_instancenorm_whole_f32", "fused_conv_instancenorm_raw_f32",
        "fused_conv_instancenorm_merge_f32", "fused_conv_instancenorm_apply_f32"];
    /// the roundings of the convolution, times the largest scale of a plane, and the norm's own
    conv_norm_f32_close: starting_with(around(), ordinary()), Normed => |b, c|
        run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
    /// as above
    large_conv_norm_f32_close: starting_with(many(), large()), Normed => |b, c|
        run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
}

twins! {
    kernels = ["fused_conv_instancenorm_whole_f16", "fused_conv_instancenorm_raw_f16",
        "fused_conv_instancenorm_merge_f16", "fused_conv_instancenorm_apply_f16"];
    /// as in f32, with the rounding of raw values to f16 among the convolution's
    conv_norm_f16_close: starting_with(around(), ordinary()), Normed => |b, c|
        run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
    /// as above
    large_conv_norm_f16_close: starting_with(many(), large()), Normed => |b, c|
        run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
}

twins! {
    kernels = ["fused_conv_instancenorm_coefficients"];
    /// the bounds of the normalised tensor
    deferred_f32_close: deferred(), Normed => |b, c| run_deferred::<_, f32>(b, c), oracle = oracle_of_deferred::<f32>,
        tolerance = bound::<f32>;
    /// the bounds of the normalised tensor
    deferred_f16_close: deferred(), Normed => |b, c| run_deferred::<_, f16>(b, c), oracle = oracle_of_deferred::<f16>,
        tolerance = bound::<f16>;
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let cpu = Cpu::new();
    let shape = ConvShape { outputs: 2, inputs: 1, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
    let conv = Conv::new(&cpu, shape, &[0.0f32; 18], &[0.0; 2]).unwrap();
    let (one, two) = (vector(&cpu, &[1.0]).unwrap(), vector(&cpu, &[1.0, 1.0]).unwrap());
    let run = |sizes: [usize; 4], beta: &Tensor<_, f32, 1>, eps| {
        let x = Tensor::<_, f32, 4>::zeros(&cpu, sizes).unwrap();
        let norm = Norm { gamma: two.flat(), beta: beta.flat(), eps };
        let y = fused_conv_instancenorm(&cpu, Plan::Auto, Layout::Nchw, x.view(), &conv, norm, true);
        y.map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(run([1, 1, 4, 4], &two, EPS), Ok(()));
    assert!(run([1, 1, 4, 4], &one, EPS).unwrap_err().contains("beta"));
    assert!(run([1, 1, 4, 4], &two, -1.0).unwrap_err().contains("eps"));
    assert!(run([1, 2, 4, 4], &two, EPS).unwrap_err().contains("channels"));
    assert!(run([1, 1, 1, 4], &two, EPS).unwrap_err().contains("padding"));
}

#[cfg(feature = "cuda")]
mod plans {
    use gpu_core::testing::proptest::test_runner::{Config, RngSeed, TestRunner};

    use super::*;

    fn agree<T: Sample + Twin>() {
        let b = gpu_core::testing::cuda();
        let config = Config { cases: 16, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() };
        let both = prop_oneof![4 => ordinary(), 1 => large()];
        let same = |c: Normed| {
            let bytes = |out: Outputs| out[0].bytes().to_vec();
            let launches = bytes(run::<_, T>(&b, &Normed { plan: Plan::Launches, ..c.clone() }).unwrap());
            match run::<_, T>(&b, &Normed { plan: Plan::OneLaunch, ..c.clone() }) {
                Ok(one) => prop_assert!(launches == bytes(one), "one launch and several differ"),
                // On a small device, the largest planes.
                Err(e) => prop_assert!(e.to_string().contains("do not stay on the chip"), "{e}"),
            }
            if !c.relu {
                prop_assert!(launches == bytes(run_deferred::<_, T>(&b, &c).unwrap()), "the deferred norm differs");
            }
            Ok(())
        };
        TestRunner::new(config).run(&both, same).unwrap();
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn plans_agree_on_cuda() {
        agree::<f32>();
        agree::<f16>();
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn what_stays_on_no_chip_is_refused_on_cuda() {
        let b = gpu_core::testing::cuda();
        let shape = ConvShape { outputs: 64, inputs: 1, kernel: [1, 1], padding: 0, stride: [1, 1], upsample: false };
        let conv = Conv::new(&b, shape, &[f16::ONE; 64], &[0.0; 64]).unwrap();
        let ones = vector(&b, &[1.0; 64]).unwrap();
        let norm = Norm { gamma: ones.flat(), beta: ones.flat(), eps: EPS };
        // Half a gigabyte of results.
        let x = Tensor::<_, f16, 4>::zeros(&b, [1, 1, 2048, 2048]).unwrap();
        let refused = fused_conv_instancenorm(&b, Plan::OneLaunch, Layout::Nhwc, x.view(), &conv, norm, true);
        assert!(refused.is_err(), "channels do not fit");
        let refused = fused_conv_instancenorm(&b, Plan::OneLaunch, Layout::Nchw, x.view(), &conv, norm, true);
        assert!(refused.unwrap_err().to_string().contains("Plan::Auto"));
    }
}
