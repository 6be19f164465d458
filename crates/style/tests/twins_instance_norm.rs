//! Instance norm: the CPU against plain f64 loops, CUDA against the CPU.

mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind, Output, Outputs, Tolerance, Twin, starting_with};
use gpu_core::{Result, Tensor, twins};
use half::f16;
use oracle::Images;
use style::ops::{InstanceNorm, Layout, Norm, Sample, instance_norm, instance_norm_work};

const EPS: f32 = 1e-5;

#[derive(Clone, Debug)]
struct Case {
    layout: Layout,
    /// `[B, C, H, W]`, whatever the layout.
    shape: [usize; 4],
    fill: Fill,
    /// Values are `offset + scale · fill`.
    offset: f32,
    scale: f32,
    relu: bool,
    residual: bool,
    /// Gamma is as large as this.
    gain: f32,
}

impl Case {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn tensor_shape(&self) -> [usize; 4] {
        let [b, c, h, w] = self.shape;
        if self.layout == Layout::Nchw { self.shape } else { [b, h, w, c] }
    }

    /// Elements in the order of the layout.
    fn x<T: Sample>(&self) -> Vec<T> {
        let values: Vec<f32> = self.fill.values(self.len());
        values.iter().map(|v| T::nearest(self.offset + self.scale * v)).collect()
    }

    fn residual<T: Sample>(&self) -> Vec<T> {
        self.fill.other().values::<f32>(self.len()).iter().map(|&v| T::nearest(v)).collect()
    }

    fn gamma(&self) -> Vec<f32> {
        (0..self.shape[1]).map(|c| self.gain * (1.0 + (c % 5) as f32 * 0.25)).collect()
    }

    fn beta(&self) -> Vec<f32> {
        (0..self.shape[1]).map(|c| (c % 7) as f32 * 0.5 - 1.0).collect()
    }
}

fn run<B: InstanceNorm<T>, T: Sample + Twin>(b: &B, c: &Case) -> Result<Outputs> {
    let x = Tensor::from_slice(b, c.tensor_shape(), &c.x::<T>())?;
    let more = Tensor::from_slice(b, c.tensor_shape(), &c.residual::<T>())?;
    let (gamma, beta) = (c.gamma(), c.beta());
    let gamma = Tensor::from_slice(b, [gamma.len()], &gamma)?;
    let beta = Tensor::from_slice(b, [beta.len()], &beta)?;
    let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: EPS };
    let y = instance_norm(b, c.layout, x.view(), norm, c.relu, c.residual.then(|| more.view()))?;
    Ok(vec![Output::of(b, &y)?])
}

/// `[B, C, H, W]` out of elements in the order of the layout.
fn images<T: Sample>(c: &Case, values: &[T]) -> Images {
    let [batch, channels, h, w] = c.shape;
    let mut data = vec![0.0; values.len()];
    for (i, v) in values.iter().enumerate() {
        let at = if c.layout == Layout::Nchw {
            i
        } else {
            let (k, pixel) = (i % channels, i / channels);
            (pixel / (h * w) * channels + k) * h * w + pixel % (h * w)
        };
        data[at] = f64::from(v.widened());
    }
    assert_eq!(data.len(), batch * channels * h * w);
    Images { shape: c.shape, data }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

fn oracle_of<T: Sample>(c: &Case) -> Outputs {
    let residual = c.residual.then(|| images(c, &c.residual::<T>()));
    let mut y = oracle::norm(
        &images(c, &c.x::<T>()),
        &wide(&c.gamma()),
        &wide(&c.beta()),
        EPS.into(),
        c.relu,
        residual.as_ref(),
    );
    if T::ROUNDS {
        let most = f64::from(f16::MAX);
        y.data.iter_mut().for_each(|v| *v = v.clamp(-most, most));
    }
    let data = if c.layout == Layout::Nchw { y.data } else { y.channels_last() };
    vec![Output::F64(c.tensor_shape().to_vec(), data)]
}

/// The scale `γ / sqrt(σ² + eps)` is the largest where a plane is flattest.
fn bound<T: Sample>(c: &Case) -> Tolerance {
    let x = images(c, &c.x::<T>());
    let area = c.shape[2] * c.shape[3];
    let mut worst = 0.0_f64;
    for ((mean, variance), plane) in oracle::statistics(&x).iter().zip(x.data.chunks_exact(area)) {
        let away = plane.iter().fold(0.0, |most: f64, v| most.max((v - mean).abs()));
        worst = worst.max(away / (variance + f64::from(EPS)).sqrt());
    }
    // In units of 2^-24: difference, scale, shift and sum round once each, and a variance in f32 sums of sixteen is off by
    // less than 2^-20 of itself. The largest gamma is 2, the largest beta and residual are 2 and 15.
    let f32s = (32.0 * 2.0 * worst + 4.0 * 17.0) * 2.0_f64.powi(-24);
    // One rounding to f16 of each side; in units of the last place infinity would be beside the largest number.
    let rel = if T::ROUNDS { 2.0_f64.powi(-10) } else { 0.0 };
    Tolerance { ulps: 0, rel, abs: f32s * f64::from(c.gain) }
}

fn shape() -> impl Strategy<Value = [usize; 4]> {
    let channels = prop_oneof![3 => 1..7_usize, 2 => (1..6_usize).prop_map(|c| 8 * c), 1 => 250..300_usize];
    let side = prop_oneof![4 => 1..20_usize, 1 => 60..140_usize];
    (1..4_usize, channels, side.clone(), side).prop_map(|(b, c, h, w)| {
        // Not more than the interpreter does in a second.
        let w = if b * c * h * w > 60_000 { (60_000 / (b * c * h)).max(1) } else { w };
        [b, c, h, w]
    })
}

fn case(
    fill: BoxedStrategy<Fill>,
    levels: &'static [(f32, f32)],
    shape: BoxedStrategy<[usize; 4]>,
) -> BoxedStrategy<Case> {
    let layout = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    (layout, shape, fill, proptest_index(levels.len()), any::<bool>(), any::<bool>())
        .prop_map(|(layout, shape, fill, level, relu, residual)| {
            let (offset, scale) = levels[level];
            Case { layout, shape, fill, offset, scale, relu, residual, gain: 1.0 }
        })
        .boxed()
}

fn proptest_index(n: usize) -> std::ops::Range<usize> {
    0..n
}

/// Ordinary activations, and planes whose mean is a million times their deviation.
const LEVELS: &[(f32, f32)] = &[(0.0, 1.0), (30.0, 4.0), (-100.0, 0.25), (1e4, 1e-2)];
const HALF_LEVELS: &[(f32, f32)] = &[(0.0, 1.0), (30.0, 4.0), (-100.0, 0.25)];
const FLAT: &[(f32, f32)] = &[(0.0, 0.0), (7.3, 0.0), (-1234.5, 0.0)];

/// Planes of one value, of one pixel, and of values in between.
fn flat() -> BoxedStrategy<Case> {
    let one = (1..4_usize, 1..40_usize).prop_map(|(b, c)| [b, c, 1, 1]);
    let zeros = Just(Fill::of(FillKind::Zeros)).boxed();
    prop_oneof![case(zeros, FLAT, shape().boxed()), case(Fill::any(), HALF_LEVELS, one.boxed()),]
        .prop_map(|c| Case { residual: false, ..c })
        .boxed()
}

/// One plane larger than a block normalises.
fn large() -> BoxedStrategy<Case> {
    let shape = (1..3_usize, 257..300_usize, 257..300_usize).prop_map(|(c, h, w)| [1, c, h, w]);
    case(Fill::any(), LEVELS, shape.boxed())
}

/// What chance seldom gives: planes that begin between packs, flat ones that show every square, results beyond f16, and
/// odd numbers of channels that lie together.
fn around(rows: usize, cols: usize) -> Vec<Case> {
    let case = |layout, [c, h, w]: [usize; 3], scale, gain| Case {
        layout,
        shape: [1, c, h, w],
        fill: Fill::of(FillKind::Noise(5)),
        offset: 0.0,
        scale,
        relu: false,
        residual: true,
        gain,
    };
    vec![
        case(Layout::Nchw, [3, rows, cols], 1.0 / 64.0, 65536.0),
        case(Layout::Nhwc, [3, rows, cols], 1.0 / 64.0, 65536.0),
        case(Layout::Nhwc, [8, rows, cols], 1.0, 1.0),
        case(Layout::Nchw, [1, rows, cols + 1], 1.0, 65536.0),
        // One element behind a block's packs.
        case(Layout::Nchw, [3, 27, 19], 1.0 / 64.0, 1.0),
        // One pixel behind the seventh of a thread.
        case(Layout::Nhwc, [3, 27, 19], 1.0 / 64.0, 1.0),
    ]
}

/// More parts of a plane than two a lane of a warp.
fn many() -> Vec<Case> {
    let mut cases = around(257, 259);
    // Parts have 64 pixels here, the fewest.
    cases[1].shape = [1, 1025, 60, 107];
    // And two pixels in the last one of a plane.
    (cases[3].shape, cases[3].scale) = ([1, 1, 198, 331], 1.0 / 64.0);
    cases
}

twins! {
    kernels = ["instance_norm_plane_f32", "instance_norm_moments_f32", "instance_norm_merge", "instance_norm_apply_f32"];
    /// a handful of roundings of each value, and the variance's own
    norm_f32_close: starting_with(around(13, 19), case(Fill::any(), LEVELS, shape().boxed())), Case => |b, c|
        run::<_, f32>(b, c),
        oracle = oracle_of::<f32>, tolerance = bound::<f32>;
    /// planes of one value, and of one pixel, are beta to the bit
    norm_f32_exact: flat(), Case => |b, c| run::<_, f32>(b, c), oracle = oracle_of::<f32>, tolerance = Tolerance::EXACT;
    /// as above, in three launches
    large_norm_f32_close: starting_with(many(), large()), Case => |b, c| run::<_, f32>(b, c), oracle = oracle_of::<f32>,
        tolerance = bound::<f32>;
}

twins! {
    kernels = ["instance_norm_plane_f16", "instance_norm_moments_f16", "instance_norm_apply_f16"];
    /// as in f32, and one rounding to f16 that may fall to either side
    norm_f16_close: starting_with(around(13, 19), case(Fill::any(), HALF_LEVELS, shape().boxed())), Case => |b, c|
        run::<_, f16>(b, c),
        oracle = oracle_of::<f16>, tolerance = bound::<f16>;
    /// planes of one value, and of one pixel, are beta to the bit
    norm_f16_exact: flat(), Case => |b, c| run::<_, f16>(b, c), oracle = oracle_of::<f16>, tolerance = Tolerance::EXACT;
    /// as above, in three launches
    large_norm_f16_close: starting_with(many(), large()), Case => |b, c| run::<_, f16>(b, c), oracle = oracle_of::<f16>,
        tolerance = bound::<f16>;
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let cpu = gpu_core::Cpu::new();
    let x = Tensor::<_, f32, 4>::zeros(&cpu, [1, 2, 3, 4]).unwrap();
    let short = Tensor::<_, f32, 1>::zeros(&cpu, [1]).unwrap();
    let two = Tensor::<_, f32, 1>::zeros(&cpu, [2]).unwrap();
    let call = |layout, gamma: &Tensor<_, f32, 1>, eps| {
        let norm = Norm { gamma: gamma.flat(), beta: two.flat(), eps };
        instance_norm(&cpu, layout, x.view(), norm, false, None).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(call(Layout::Nchw, &two, EPS), Ok(()));
    assert!(call(Layout::Nchw, &short, EPS).unwrap_err().contains("gamma"));
    assert!(call(Layout::Nhwc, &two, EPS).unwrap_err().contains("[4]"));
    assert!(call(Layout::Nchw, &two, 0.0).unwrap_err().contains("eps"));
    assert!(call(Layout::Nchw, &two, f32::NAN).unwrap_err().contains("eps"));
    assert_eq!(instance_norm_work(Layout::Nchw, [usize::MAX; 4]), usize::MAX);
    let empty = Tensor::<_, f32, 4>::zeros(&cpu, [1, 2, 0, 4]).unwrap();
    let norm = Norm { gamma: two.flat(), beta: two.flat(), eps: EPS };
    let refused = instance_norm(&cpu, Layout::Nchw, empty.view(), norm, false, None).unwrap_err().to_string();
    assert!(refused.contains("no pixels"), "{refused}");
    let other = Tensor::<_, f32, 4>::zeros(&cpu, [1, 2, 4, 3]).unwrap();
    let refused = instance_norm(&cpu, Layout::Nchw, x.view(), norm, false, Some(other.view())).unwrap_err().to_string();
    assert!(refused.contains("residual"), "{refused}");
}
