//! Products and solvers on the CPU over sizes, scales and repetitions; the checks that need no device.

mod oracle;

use ata_wmma::kernels::{self, Control, Ring};
use ata_wmma::wall::Wall;
use ata_wmma::{
    BlockDiag, Execution, Layout, Plan, PlanOptions, Precision, Scale, SolveOptions, Solver, SymmetryPolicy, ordering,
};
use gpu_core::{Backend, Cpu, Tensor};
use oracle::matrix::Recipe;
use proptest::prelude::*;

fn matrix(r: &Recipe, scale: impl Fn(usize, usize) -> f64) -> BlockDiag {
    let of = |(c, i, j): (usize, usize, usize)| (r.element(c, i, j) * scale(i, j)) as f32;
    let dense = ndarray::Array3::from_shape_fn((r.channels, r.n, r.n), of);
    BlockDiag::from_dense(dense.view(), SymmetryPolicy::default()).unwrap()
}

fn narrow(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&v| v as f32).collect()
}

fn product(plan: &Plan<Cpu>, frames: usize, x: &[f32]) -> Vec<f32> {
    let cpu = Cpu::new();
    let [channels, n] = plan.size();
    plan.product(&cpu, &Tensor::from_slice(&cpu, [frames, channels, n], x).unwrap()).unwrap().to_vec(&cpu).unwrap()
}

fn plan(a: &BlockDiag, precision: Precision) -> Plan<Cpu> {
    Plan::new(&Cpu::new(), a, PlanOptions { precision, ..PlanOptions::default() }).unwrap()
}

fn recipes() -> impl Strategy<Value = Recipe> {
    (200..600_usize, 1..5_usize, 1..20_usize, any::<u32>(), prop_oneof![Just(0u64), Just(2), Just(5)], 0..10_000_u64)
        .prop_map(|(n, channels, frames, diagonals, holes, seed)| Recipe {
            n,
            channels,
            frames,
            diagonals,
            holes,
            seed,
            exact: false,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Up to 38 block rows with any diagonals, the corner among them.
    #[test]
    fn large_products_are_within_their_bounds(r in recipes(), precision in prop::sample::select(&Precision::ALL)) {
        let y = product(&plan(&matrix(&r, |_, _| 1.0), precision), r.frames, &narrow(&r.x()));
        let (wanted, w) = r.product();
        for (line, ((y, wanted), w)) in y.chunks(r.n).zip(wanted.chunks(r.n)).zip(w.chunks(r.n)).enumerate() {
            let (mut off, mut norm) = (0.0, 0.0);
            for i in 0..r.n {
                let error = f64::from(y[i]) - wanted[i];
                prop_assert!(error.abs() <= precision.componentwise_bound() * w[i], "line {line}, row {i}");
                off += error * error;
                norm += wanted[i] * wanted[i];
            }
            prop_assert!(off.sqrt() <= precision.normwise_bound() * norm.sqrt(), "line {line}");
        }
    }

    /// A (x + 2 z) = A x + 2 A z, exactly for integers; a frame of zeros stays one.
    #[test]
    fn products_are_linear(r in recipes(), precision in prop::sample::select(&Precision::ALL)) {
        let r = Recipe { exact: true, frames: 3, ..r };
        let plan = plan(&matrix(&r, |_, _| 1.0), precision);
        let (x, z) = (narrow(&r.x()), narrow(&r.before()));
        let both: Vec<f32> = x.iter().zip(&z).map(|(x, z)| x + 2.0 * z).collect();
        let (ax, az, sum) = (product(&plan, 3, &x), product(&plan, 3, &z), product(&plan, 3, &both));
        prop_assert!(ax.iter().zip(&az).zip(&sum).all(|((x, z), sum)| x + 2.0 * z == *sum));
        prop_assert!(product(&plan, 3, &vec![0.0; x.len()]).iter().all(|v| v.to_bits() == 0));
    }
}

/// The same bits in every repetition, for every number of frames.
#[test]
fn repetitions_have_the_same_bits() {
    let r = Recipe { n: 333, channels: 2, frames: 16, diagonals: 0b1_0010_1101, holes: 4, seed: 9, exact: false };
    let (x, each) = (narrow(&r.x()), r.channels * r.n);
    for precision in Precision::ALL {
        let plan = plan(&matrix(&r, |_, _| 1.0), precision);
        let all = product(&plan, 16, &x);
        for frames in [1, 3, 8, 9, 16] {
            for repetition in 0..20 {
                let y = product(&plan, frames, &x[..frames * each]);
                assert!(
                    y.iter().zip(&all).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{precision}, {frames} frames, {repetition}"
                );
            }
        }
    }
}

/// Entries in raw units of bytes (to 2.7e8), tiny ones, and rows that lie 30 powers of ten apart.
#[test]
fn scales_do_not_leave_the_number_formats() {
    let r = Recipe { n: 100, channels: 2, frames: 3, diagonals: 0b11_0101, holes: 0, seed: 4, exact: false };
    let (x, each) = (r.x(), r.channels * r.n);
    for (name, scale, of_x) in
        [("raw", 2.7e8, 1.0), ("tiny", 1e-20, 1.0), ("tiny x", 1.0, 1e-25), ("large x", 1e3, 1e20)]
    {
        let a = matrix(&r, |_, _| scale);
        let x: Vec<f32> = x.iter().map(|v| (v * of_x) as f32).collect();
        let (wanted, w) = r.product();
        for precision in Precision::ALL {
            let y = product(&plan(&a, precision), r.frames, &x);
            for i in 0..r.frames * each {
                let error = f64::from(y[i]) - scale * of_x * wanted[i];
                // One rounding more than the bound counts: that of the scaled x.
                let bound = (precision.componentwise_bound() + 2f64.powi(-22)) * scale * of_x * w[i];
                assert!(error.abs() <= bound, "{name}, {precision}, row {i}: {error:e} > {bound:e}");
            }
        }
    }
    // Blocks of one row of blocks count a million times as much as the others.
    let a = matrix(&r, |i, j| if i / 16 == 2 && j / 16 == 2 { 1e6 } else { 1.0 });
    for precision in [Precision::F32, Precision::Tf32x3, Precision::F16x2, Precision::Bf16x3] {
        let y = product(&plan(&a, precision), r.frames, &narrow(&r.x()));
        assert!(y.iter().all(|v| v.is_finite()), "{precision}");
    }
}

/// What is not part of the matrix is not read, and β = 0 does not read y.
#[test]
fn poison_does_not_spread() {
    let cpu = Cpu::new();
    let r = Recipe { n: 70, channels: 2, frames: 5, diagonals: 0b10011, holes: 0, seed: 1, exact: false };
    let offsets = r.offsets();
    let blocks = ndarray::Array5::from_shape_fn((2, offsets.len(), r.rows(), 16, 16), |(c, k, i, s, t)| {
        let (row, column) = (16 * i + s, 16 * (i + offsets[k] as usize) + t);
        if row < r.n && column < r.n { r.element(c, row, column) as f32 } else { f32::NAN }
    });
    let a = BlockDiag::from_blocks(blocks.view(), &offsets, r.n, SymmetryPolicy::default()).unwrap();
    let x = Tensor::from_slice(&cpu, [5, 2, 70], &narrow(&r.x())).unwrap();
    for precision in Precision::ALL {
        for layout in [Layout::Upper, Layout::Full] {
            let options = PlanOptions { precision, layout, ..PlanOptions::default() };
            let plan = Plan::new(&cpu, &a, options).unwrap();
            let mut y = Tensor::from_slice(&cpu, [5, 2, 70], &vec![f32::NAN; 700]).unwrap();
            plan.apply(&cpu, &mut plan.work(&cpu, 9).unwrap(), x.view(), y.view_mut()).unwrap();
            assert!(y.to_vec(&cpu).unwrap().iter().all(|v| v.is_finite()), "{precision} {layout:?}");
        }
    }
}

/// Plans are shared by threads, and everything that a plan queues can be recorded: nothing allocates, moves or waits.
#[test]
fn all_operations_of_a_plan_are_recorded() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let cpu = Cpu::new();
    let r = Recipe { n: 70, channels: 2, frames: 5, diagonals: 0b10011, holes: 0, seed: 3, exact: false };
    let a = matrix(&r, |_, _| 1.0);
    let shape = [5, 2, 70];
    for precision in Precision::ALL {
        let plan = plan(&a, precision);
        shared(&plan);
        let x = Tensor::from_slice(&cpu, shape, &narrow(&r.x())).unwrap();
        let b = Tensor::from_slice(&cpu, shape, &narrow(&r.before())).unwrap();
        let y = Tensor::from_slice(&cpu, shape, &[1.0; 700]).unwrap();
        let (g, work) = (Tensor::<Cpu, f32, 3>::zeros(&cpu, shape).unwrap(), plan.work(&cpu, 5).unwrap());
        let figures = [10, 20].map(|len| Tensor::<Cpu, f64, 1>::zeros(&cpu, [len]).unwrap());
        let quad = plan.quad(&cpu, &x).unwrap();
        let product = plan.product(&cpu, &x).unwrap().to_vec(&cpu).unwrap();
        let mut recorded = cpu
            .capture((plan, work, [x, b], [y, g], figures), |cpu, (plan, work, [x, b], [y, g], [quad, dots])| {
                plan.apply_axpby(cpu, work, 2.0, x.view(), -1.0, y.view_mut())?;
                plan.quad_into(cpu, work, x.view(), quad.flat_mut())?;
                Ok(plan.residual_into(cpu, work, x.view(), b.view(), g.view_mut(), dots.flat_mut())?)
            })
            .unwrap();
        recorded.replay(&cpu).unwrap();
        let (_, _, [_, b], [y, g], [quads, dots]) = recorded.state();
        assert_eq!(quads.to_vec(&cpu).unwrap(), quad, "{precision}");
        let (y, g, b) = (y.to_vec(&cpu).unwrap(), g.to_vec(&cpu).unwrap(), b.to_vec(&cpu).unwrap());
        assert!(product.iter().zip(&y).all(|(p, y)| (2.0 * p - 1.0 - y).abs() <= 1e-5 * p.abs().max(1.0)));
        assert!(product.iter().zip(&b).zip(&g).all(|((p, b), g)| (p - b - g).abs() <= 1e-5 * p.abs().max(1.0)));
        let gg: f64 = g[..70].iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!((dots.to_vec(&cpu).unwrap()[0] - gg).abs() <= 1e-5 * gg, "{precision}");
    }
}

/// A small wall, and right sides for it.
fn wall() -> (BlockDiag, Vec<f32>) {
    let wall = Wall { leds: 60, width: 64, height: 64, block: 16, margin: 4, seed: 5, scale: 0.25 };
    let order = ordering::snake(&wall.positions(), 8, 0).unwrap();
    let (a, _) = wall.patterns(&order).unwrap().gram(&Cpu::new(), Scale::Unit).unwrap();
    let b = (0..2 * 3 * 60).map(|i| 3.0 * oracle::value(8, i, false).abs() as f32).collect();
    (a, b)
}

/// The best objective so far never grows, and ends lower than it began.
#[test]
fn the_best_objective_never_grows() {
    let (cpu, (a, b)) = (Cpu::new(), wall());
    let b = Tensor::from_slice(&cpu, [2, 3, 60], &b).unwrap();
    let options = SolveOptions { max_iterations: 200, check_every: 5, record_history: true, ..SolveOptions::default() };
    for precision in [Precision::F32, Precision::F16, Precision::Tf32x3] {
        let plan = plan(&a, precision);
        let mut x = Tensor::zeros(&cpu, [2, 3, 60]).unwrap();
        let report = Solver::new(&plan, options.clone()).unwrap().solve(&cpu, &b, &mut x).unwrap();
        assert_eq!(report.history.len(), 41);
        let values: Vec<f64> = report.history.iter().map(|h| h.1).collect();
        let span = (values[0] - values[40]).abs().max(1e-9);
        let mut best = values[0];
        for v in &values {
            // Momentum may lift it for a while, by little.
            assert!(*v <= best + 0.05 * span + 1e-3 * best.abs(), "{precision}: {values:?}");
            best = best.min(*v);
        }
        assert!(values[40] < values[0], "{precision}: {values:?}");
    }
}

/// All iterations in one call, in pieces, and one by one: the same bits, iterations and looks.
#[test]
fn executions_have_the_same_bits() {
    let (cpu, (a, b)) = (Cpu::new(), wall());
    let b = Tensor::from_slice(&cpu, [2, 3, 60], &b).unwrap();
    for precision in [Precision::F32, Precision::Tf32, Precision::Tf32x3, Precision::F16] {
        let plan = Plan::new(&cpu, &a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() }).unwrap();
        for tolerance in [0.0, 2e-2] {
            let solve = |execution| {
                let options = SolveOptions { execution, tolerance, max_iterations: 95, ..SolveOptions::default() };
                let mut x = Tensor::zeros(&cpu, [2, 3, 60]).unwrap();
                let report = Solver::new(&plan, options).unwrap().solve(&cpu, &b, &mut x).unwrap();
                (x.to_vec(&cpu).unwrap(), report)
            };
            let (x, report) = solve(Execution::Launches);
            assert!(report.iterations == 95 || tolerance > 0.0);
            assert!(tolerance == 0.0 || report.iterations < 95, "it stops early: {report:?}");
            assert!(solve(Execution::Persistent) == (x, report), "{precision}");
        }
    }
}

/// What one launch does not take is refused, and left to many by itself.
#[test]
fn one_launch_is_refused_where_it_does_not_fit() {
    let (cpu, (a, b)) = (Cpu::new(), wall());
    let b = Tensor::from_slice(&cpu, [2, 3, 60], &b).unwrap();
    let mut x = Tensor::zeros(&cpu, [2, 3, 60]).unwrap();
    for (precision, unit_range) in [(Precision::F16, false), (Precision::F16x2, true), (Precision::Bf16x3, true)] {
        let plan = Plan::new(&cpu, &a, PlanOptions { precision, unit_range, ..PlanOptions::default() }).unwrap();
        let options = SolveOptions { execution: Execution::Persistent, ..SolveOptions::default() };
        let error = Solver::new(&plan, options).unwrap().solve(&cpu, &b, &mut x).unwrap_err().to_string();
        assert!(error.contains("execution") && error.contains("launches"), "{error}");
        Solver::new(&plan, SolveOptions::default()).unwrap().solve(&cpu, &b, &mut x).unwrap();
        assert!(!kernels::persists(&cpu, plan.batch(2), plan.matrix(), unit_range).unwrap());
        let batch = plan.batch(2);
        let (mut ring, stop) =
            (Ring::scratch(&cpu, batch, plan.matrix()).unwrap(), Control::new(&cpu, batch, 0).unwrap());
        let rho = Tensor::<Cpu, f32, 1>::zeros(&cpu, [180]).unwrap();
        let (mut y, mut t) = (x_like(&cpu), Tensor::<Cpu, f64, 1>::zeros(&cpu, [5]).unwrap());
        let (inputs, xy) = ([b.flat(), rho.flat()], [x.flat_mut(), y.flat_mut()]);
        let matrix = plan.matrix();
        let wrong = kernels::fista_persistent(
            &cpu,
            &stop,
            batch,
            matrix,
            [0.0, 1.0],
            0.0,
            1,
            inputs,
            xy,
            t.flat_mut(),
            &mut ring,
        );
        assert!(wrong.unwrap_err().to_string().contains('t'), "five steps of momentum for six lines");
    }
}

fn x_like(cpu: &Cpu) -> Tensor<Cpu, f32, 3> {
    Tensor::zeros(cpu, [2, 3, 60]).unwrap()
}
