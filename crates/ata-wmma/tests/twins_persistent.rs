//! Many iterations in one launch: against dense f64 loops, and CUDA against the CPU.

mod oracle;

use ata_wmma::kernels::{self, Control, Ring};
use ata_wmma::{AtaBackend, AtaError, BlockDiag, Plan, PlanOptions, Precision, SymmetryPolicy};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Error, Result, Tensor, twins};
use oracle::cast::round;
use oracle::matrix::Recipe;
use oracle::steps::Box_;
use oracle::value;

fn core<T>(result: ata_wmma::Result<T>) -> Result<T> {
    result.map_err(|e| match e {
        AtaError::Gpu(e) => e,
        other => Error::value("ata", other.to_string()),
    })
}

#[derive(Clone, Debug)]
struct Case {
    recipe: Recipe,
    iterations: usize,
    lambda: f32,
}

fn cases() -> impl Strategy<Value = Case> {
    // In large ones each warp of a block takes several tiles, and sums have many strips.
    let size = prop_oneof![
        2 => (1..17_usize, 0..128_u32),
        6 => (17..80_usize, 0..128_u32),
        1 => (130..330_usize, prop_oneof![any::<u32>(), Just(u32::MAX)]),
    ];
    let holes = prop_oneof![Just(0u64), Just(3)];
    (size, 1..3_usize, 1..11_usize, holes, 0..1000_u64, 1..4_usize, prop_oneof![Just(0.0f32), Just(0.125)])
        .prop_map(|((n, diagonals), channels, frames, holes, seed, iterations, lambda)| Case {
            recipe: Recipe { n, channels, frames, diagonals, holes, seed, exact: false },
            iterations,
            lambda,
        })
        // A single row is solved in one step: what moves behind it are roundings.
        .prop_filter("whether the momentum starts again is a matter of roundings", |c| iterated(c, 53).1)
}

/// Strips of 17 tiles, more than two for each warp of a block, for more than one group of frames; and sums of 16 strips, whose signs decide.
fn large() -> Vec<Case> {
    let case = |n, diagonals, frames| {
        let of = |seed| Case {
            recipe: Recipe { n, channels: 1, frames, diagonals, holes: 0, seed, exact: false },
            iterations: 1,
            lambda: 0.0,
        };
        (0..100).map(of).find(|c| iterated(c, 53).1)
    };
    [case(272, u32::MAX, 9), case(500, 1, 6)].into_iter().flatten().collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

impl Case {
    fn vector(&self, which: u64) -> Vec<f64> {
        let r = &self.recipe;
        (0..(r.frames * r.channels * r.n) as u64).map(|i| value(r.seed ^ (which << 24), i, false)).collect()
    }
    /// Row sums; some rows have none.
    fn rho(&self) -> Vec<f64> {
        let r = &self.recipe;
        let rows = (0..r.channels).flat_map(|c| (0..r.n).map(move |i| (c, i)));
        let sum = |(c, i): (usize, usize)| (0..r.n).map(|j| r.element(c, i, j).abs()).sum::<f64>();
        rows.map(|at| f64::from((sum(at) + f64::from(self.lambda)) as f32)).collect()
    }
    fn t(&self) -> Vec<f64> {
        (0..self.recipe.frames * self.recipe.channels).map(|l| 1.0 + l as f64 / 4.0).collect()
    }
}

fn run<B: AtaBackend>(b: &B, case: &Case, precision: Precision) -> Result<Outputs> {
    let r = &case.recipe;
    let dense = ndarray::Array3::from_shape_fn((r.channels, r.n, r.n), |(c, i, j)| r.element(c, i, j) as f32);
    let a = core(BlockDiag::from_dense(dense.view(), SymmetryPolicy::default()))?;
    let plan = core(Plan::new(b, &a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() }))?;
    let batch = plan.batch(r.frames);
    let upload = |values: &[f64]| Tensor::<B, f32, 1>::from_slice(b, [values.len()], &narrow(values));
    let (right, rho) = (upload(&case.vector(1))?, upload(&case.rho())?);
    let (mut x, mut y) = (upload(&case.vector(2))?, upload(&case.vector(3))?);
    let mut t = Tensor::<B, f64, 1>::from_slice(b, [case.t().len()], &case.t())?;
    let mut ring = Ring::scratch(b, batch, plan.matrix())?;
    let stop = Control::new(b, batch, 0)?;
    kernels::fista_persistent(
        b,
        &stop,
        batch,
        plan.matrix(),
        [-0.5, 0.75],
        case.lambda,
        case.iterations,
        [right.flat(), rho.flat()],
        [x.flat_mut(), y.flat_mut()],
        t.flat_mut(),
        &mut ring,
    )?;
    Ok(vec![Output::of(b, &x)?, Output::of(b, &y)?, Output::of(b, &t)?])
}

/// `x, y, t` behind the last iteration, and whether every sign that restarts the momentum is one that roundings of `f32` do
/// not turn. Operands are rounded to `bits` of significand.
fn iterated(case: &Case, bits: i32) -> ([Vec<f64>; 3], bool) {
    let (r, mut decided) = (&case.recipe, true);
    let near = |v: f64| round(v, bits, -24 - 30);
    let (b, mut x, mut y, mut t, rho) = (case.vector(1), case.vector(2), case.vector(3), case.t(), case.rho());
    let limits = Box_ { lower: -0.5, upper: 0.75, lambda: case.lambda.into() };
    for line in 0..r.frames * r.channels {
        let (c, at) = (line % r.channels, line * r.n..(line + 1) * r.n);
        let a: Vec<Vec<f64>> = (0..r.n).map(|i| (0..r.n).map(|j| near(r.element(c, i, j))).collect()).collect();
        for _ in 0..case.iterations {
            let rounded: Vec<f64> = y[at.clone()].iter().map(|&v| near(v)).collect();
            let ay: Vec<f64> = a.iter().map(|row| row.iter().zip(&rounded).map(|(a, y)| a * y).sum()).collect();
            let rho = &rho[c * r.n..(c + 1) * r.n];
            let next = limits.fista(&ay, &b[at.clone()], rho, &x[at.clone()], &y[at.clone()], t[line]);
            let moves = next.0.iter().zip(&x[at.clone()]).zip(&y[at.clone()]);
            let test: f64 = moves.zip(rho).map(|(((to, x), y), rho)| rho * (y - to) * (to - x)).sum();
            decided &= test.abs() >= 1e-6 * rho.iter().sum::<f64>();
            x[at.clone()].copy_from_slice(&next.0);
            y[at.clone()].copy_from_slice(&next.1);
            t[line] = next.2;
        }
    }
    ([x, y, t], decided)
}

fn expected(case: &Case, bits: i32) -> Outputs {
    iterated(case, bits).0.into_iter().map(|v| Output::F64(vec![v.len()], v)).collect()
}

twins! {
    kernels = ["ata_fista_persistent_f32"];
    /// three steps of values up to 2, products of at most 330 terms over their row sums; twins take the same steps
    persistent_f32: starting_with(large(), cases()), Case => |b, c| run(b, c, Precision::F32), oracle = |c: &Case| expected(c, 53),
        tolerance = Tolerance::abs(2e-4), twins = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_fista_persistent_tf32x3"];
    /// as in f32, with products that are off by 2^-21 of their row sums
    persistent_tf32x3: starting_with(large(), cases()), Case => |b, c| run(b, c, Precision::Tf32x3), oracle = |c: &Case| expected(c, 53),
        tolerance = Tolerance::abs(2e-4);
}
twins! {
    kernels = ["ata_fista_persistent_tf32"];
    /// operands are those of the oracle but where a rounding in f32 moves one to its neighbour, 2^-10 away
    persistent_tf32: starting_with(large(), cases()), Case => |b, c| run(b, c, Precision::Tf32), oracle = |c: &Case| expected(c, 11),
        tolerance = Tolerance::abs(2e-3);
}
twins! {
    kernels = ["ata_fista_persistent_f16"];
    /// operands are those of the oracle but where a rounding in f32 moves one to its neighbour, 2^-10 away
    persistent_f16: starting_with(large(), cases()), Case => |b, c| run(b, c, Precision::F16), oracle = |c: &Case| expected(c, 11),
        tolerance = Tolerance::abs(2e-3);
}
