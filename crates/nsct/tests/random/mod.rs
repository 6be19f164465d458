//! Random transforms of random images, and what several test files do with them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use gpu_core::testing::{Fill, cases};
use gpu_core::{Backend, Tensor};
use nsct::{Coeffs, DirFilter, Engine, Geometry, NsctBackend, NsctPlan, NsctSpec, PyrFilter, Real};

/// A transform and images to try it on.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: NsctSpec,
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub fill: Fill,
}

pub fn dir_filter() -> impl Strategy<Value = DirFilter> {
    prop_oneof![
        4 => (1..=8_u8).prop_map(DirFilter::Dmaxflat),
        3 => prop_oneof![Just(6_u8), Just(8), Just(12)].prop_map(DirFilter::Pkva),
        1 => Just(DirFilter::Dmaxflat6Toolbox),
        1 => Just(DirFilter::Cd),
        1 => Just(DirFilter::Vk),
    ]
}

pub fn pyr_filter() -> impl Strategy<Value = PyrFilter> {
    prop_oneof![Just(PyrFilter::Maxflat), Just(PyrFilter::Pyr), Just(PyrFilter::Pyrexc), Just(PyrFilter::NineSeven)]
}

pub fn geometry() -> impl Strategy<Value = Geometry> {
    prop_oneof![Just(Geometry::Toolbox), Just(Geometry::Wedge)]
}

/// Any filters, up to three scales of up to 8 directions or one of up to 64.
pub fn spec() -> impl Strategy<Value = NsctSpec> {
    let levels = prop_oneof![5 => vec(0..=3_u8, 0..4), 2 => vec(4..=4_u8, 1..3), 1 => vec(5..=6_u8, 1)];
    (levels, dir_filter(), pyr_filter(), geometry()).prop_map(|(levels, dir, pyr, geometry)| {
        NsctSpec::new(levels).with_dir(dir).with_pyr(pyr).with_geometry(geometry)
    })
}

fn sizes() -> impl Strategy<Value = (usize, usize)> {
    let side = || prop_oneof![1 => 1..4_usize, 6 => 1..71_usize];
    (side(), side())
}

/// Single images of 1 to 70 pixels a side.
pub fn case() -> impl Strategy<Value = Case> {
    (spec(), sizes(), Fill::any()).prop_map(|(spec, (h, w), fill)| Case { spec, n: 1, c: 1, h, w, fill })
}

/// Batches of smaller images.
pub fn batch() -> impl Strategy<Value = Case> {
    (spec(), 1..4_usize, 1..4_usize, 1..33_usize, 1..33_usize, Fill::any()).prop_map(|(spec, n, c, h, w, fill)| Case {
        spec,
        n,
        c,
        h,
        w,
        fill,
    })
}

impl Case {
    /// Pixels from about -255 to 255.
    pub fn pixels(&self) -> Vec<f64> {
        pixels(self.fill, self.n * self.c * self.h * self.w)
    }

    pub fn image<B: Backend, T: Real>(&self, b: &B) -> Tensor<B, T, 4> {
        upload(b, [self.n, self.c, self.h, self.w], &self.pixels())
    }

    pub fn plan<B: NsctBackend<T>, T: Real>(&self, b: &B, engine: Engine) -> NsctPlan<B, T> {
        let spec = self.spec.clone().with_engine(engine);
        NsctPlan::new(b, &spec, self.h, self.w).unwrap_or_else(|e| panic!("{self:?}: {e}"))
    }

    /// The engines that can compute these filters; the dense reference only where it does not take too long.
    pub fn engines(&self) -> Vec<Engine> {
        let mut engines = vec![Engine::Taps, Engine::Spectral];
        if matches!(self.spec.dir, DirFilter::Pkva(_)) {
            engines.push(Engine::Ladder);
        }
        if self.h * self.w * self.spec.plane_count() < 10_000 {
            engines.push(Engine::DenseReference);
        }
        engines
    }
}

pub fn pixels(fill: Fill, len: usize) -> Vec<f64> {
    fill.values::<f64>(len).into_iter().map(|v| if v.abs() <= 1.0 { 255.0 * v } else { 15.0 * v }).collect()
}

pub fn upload<B: Backend, T: Real, const R: usize>(b: &B, shape: [usize; R], values: &[f64]) -> Tensor<B, T, R> {
    let values: Vec<T> = values.iter().map(|&v| T::of(v)).collect();
    Tensor::from_slice(b, shape, &values).unwrap()
}

pub fn download<B: Backend, T: Real, const R: usize>(b: &B, tensor: &Tensor<B, T, R>) -> Vec<f64> {
    tensor.to_vec(b).unwrap().into_iter().map(Real::to_f64).collect()
}

pub fn coefficients<B: NsctBackend<T>, T: Real>(coeffs: &Coeffs<B, T>, b: &B) -> Vec<f64> {
    download(b, coeffs.tensor())
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, v| v.abs().max(max))
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    // NaN must not pass for near.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d <= max { max } else { d })
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The part of the usual number of cases that a property tries: `share` in hundredths.
pub fn check<S: Strategy>(share: u32, strategy: S, property: impl Fn(S::Value)) {
    let config = Config {
        cases: (cases() * share).div_ceil(100),
        max_shrink_iters: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_120),
        ..Config::default()
    };
    // A panic inside is a failed case, which is shrunk and printed.
    let result = TestRunner::new(config).run(&strategy, |case| {
        property(case);
        Ok::<(), TestCaseError>(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
}
