//! Steps of projected Barzilai-Borwein: against scalar loops, and CUDA against the CPU to the bit.

mod oracle;

use ata_wmma::AtaBackend;
use ata_wmma::kernels::{self, Batch, BbState, Control};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance};
use gpu_core::{Result, Tensor, twins};
use oracle::steps::Box_;
use oracle::value;

/// Two steps on a line, and what is kept.
#[derive(Clone, Debug)]
struct Lines {
    batch: Batch,
    seed: u64,
    bounds: [f32; 2],
    lambda: f32,
    /// Steps before the first of the two.
    first: usize,
    last: bool,
}

fn lines() -> impl Strategy<Value = Lines> {
    let n = prop_oneof![3 => 1..40_usize, 1 => 250..600_usize];
    let bounds = prop_oneof![Just([0.0f32, 1.0]), Just([-0.25, 0.5]), Just([-1e3, 1e3])];
    (0..5_usize, 1..4_usize, n, 0..1000_u64, bounds, prop_oneof![Just(0.0f32), Just(0.125)], 0..2_usize, any::<bool>())
        .prop_map(|(frames, channels, n, seed, bounds, lambda, first, last)| Lines {
            batch: Batch { frames, channels, n },
            seed,
            bounds,
            lambda,
            first,
            last,
        })
}

fn near(v: f64) -> f64 {
    f64::from(v as f32)
}

impl Lines {
    /// One of several independent vectors.
    fn vector(&self, which: u64) -> Vec<f64> {
        (0..self.batch.len() as u64).map(|i| value(self.seed ^ (which << 20), i, false)).collect()
    }
    /// Positive, with some dead rows.
    fn rho(&self) -> Vec<f64> {
        let of = |i: u64| {
            if oracle::hash(self.seed ^ 5, i).is_multiple_of(7) {
                0.0
            } else {
                near(1.0 + value(self.seed, i, false).abs())
            }
        };
        (0..(self.batch.channels * self.batch.n) as u64).map(of).collect()
    }
    fn limits(&self) -> Box_ {
        let [lower, upper] = self.bounds.map(f64::from);
        Box_ { lower, upper, lambda: self.lambda.into() }
    }
    /// The product with the second `x`: its change is a positive multiple of that of `x`, so that lengths are well
    /// conditioned; every third case climbs.
    fn product(&self, ax: &[f64], from: &[f64], to: &[f64]) -> Vec<f64> {
        let sign = if self.seed.is_multiple_of(3) { -1.0 } else { 1.0 };
        let weights = self.vector(4);
        (0..ax.len()).map(|i| near(ax[i] + sign * (0.5 + weights[i].abs()) * (to[i] - from[i]))).collect()
    }
    /// Products of the two steps: a second `x` that is far enough from the first.
    fn inputs(&self) -> ([Vec<f64>; 2], [Vec<f64>; 2]) {
        let (ax, x) = (self.vector(1), self.vector(3));
        let moved = self.vector(5);
        let second: Vec<f64> = x.iter().zip(&moved).map(|(x, v)| near(x + (0.25 + v.abs()).copysign(*v))).collect();
        let product = self.product(&ax, &x, &second);
        ([ax, product], [x, second])
    }
}

fn upload<B: AtaBackend>(b: &B, values: &[f64]) -> Result<Tensor<B, f32, 1>> {
    let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_slice(b, [values.len()], &narrow)
}

/// A first step at one `x`, and another at a second one.
fn run<B: AtaBackend>(b: &B, c: &Lines) -> Result<Outputs> {
    let ([ax, product], [x, second]) = c.inputs();
    let (right, rho) = (upload(b, &c.vector(2))?, upload(b, &c.rho())?);
    let mut state = BbState::scratch(b, c.batch)?;
    let stop = Control::new(b, c.batch, 0)?;
    let mut outputs = Vec::new();
    for (k, ax, x) in [(0, ax, x), (1 + c.first, product, second)] {
        let (ax, mut x) = (upload(b, &ax)?, upload(b, &x)?);
        let at = (k, c.last && k > 0);
        let inputs = [ax.flat(), right.flat(), rho.flat()];
        kernels::bb_step(b, &stop, c.batch, c.bounds, c.lambda, at, inputs, &mut state, x.flat_mut())?;
        outputs.extend([Output::of(b, &x)?, Output::of(b, state.best())?, Output::of(b, state.lowest())?]);
    }
    Ok(outputs)
}

fn expected(c: &Lines) -> Outputs {
    let ([ax, product], [x, second]) = c.inputs();
    let (b, rho, n) = (c.vector(2), c.rho(), c.batch.n);
    let mut outputs: [Vec<f64>; 6] = Default::default();
    for line in 0..c.batch.lines() {
        let at = line * n..(line + 1) * n;
        let rho = &rho[line % c.batch.channels * n..][..n];
        let limits = c.limits();
        let (b, first) = (&b[at.clone()], &x[at.clone()]);
        let one = limits.borwein([&ax[at.clone()], b, rho, first], None, None, false);
        let g: Vec<f64> = (0..n).map(|i| ax[at.start + i] + limits.lambda * first[i] - b[i]).collect();
        let (before, best) = (Some([first, &g[..]]), Some((&one.1[..], one.2)));
        let odd = c.first == 0;
        let two = limits.borwein([&product[at.clone()], b, rho, &second[at.clone()]], before, best, odd);
        let shown = if c.last { two.1.clone() } else { two.0 };
        for (out, values) in outputs.iter_mut().zip([one.0, one.1, vec![one.2], shown, two.1, vec![two.2]]) {
            out.extend(values);
        }
    }
    outputs.into_iter().map(|values| Output::F64(vec![values.len()], values)).collect()
}

twins! {
    kernels = ["ata_bb_step"];
    /// changes of the gradient are off by four roundings of values up to 4 and not below 1/8, so lengths up to 4 by some
    /// 2^-18 of steps up to 8; objectives by a rounding of each of up to 600 terms up to 8
    borwein_line: lines(), Lines => |b, c| run(b, c), oracle = expected,
        tolerance = |c: &Lines| Tolerance::abs(32.0 * 2f64.powi(-18) + 32.0 * 2f64.powi(-24) * c.batch.n as f64),
        twins = Tolerance::EXACT;
}
