//! Solvers on small walls.

use ata_wmma::kernels::{self, Batch};
use ata_wmma::wall::Wall;
use ata_wmma::{
    Atb, BYTE_SQUARED, BlockDiag, DevicePatterns, FrameLayout, Init, Method, Plan, PlanOptions, PolishOptions,
    Precision, Scale, SolveOptions, SolveReport, Solver, SymmetryPolicy, Transfer, ordering, reference::Matrix64,
};
use gpu_core::{Backend, Cpu, Tensor};

struct Problem {
    a: BlockDiag,
    b: Vec<f32>,
    frames: usize,
}

/// A wall of 40 LEDs that is to show some squares.
fn problem() -> Problem {
    let cpu = Cpu::new();
    let wall = Wall { leds: 40, width: 64, height: 48, block: 16, margin: 4, seed: 3, scale: 0.25 };
    let order = ordering::snake(&wall.positions(), 8, 0).unwrap();
    let patterns = wall.patterns(&order).unwrap();
    let (a, _) = patterns.gram(&cpu, Scale::Unit).unwrap();
    let frames = 3;
    let pixels: Vec<u8> = (0..frames * 3 * 48 * 64)
        .map(|i| if (i / 64 % 48 / 12 + i % 64 / 16 + i / (64 * 48)) % 2 == 0 { 230 } else { 10 })
        .collect();
    let device = DevicePatterns::new(&cpu, &patterns).unwrap();
    let pixels = Tensor::from_slice(&cpu, [pixels.len()], &pixels).unwrap();
    let mut out = Tensor::<Cpu, u64, 1>::zeros(&cpu, [frames * 3 * 40]).unwrap();
    kernels::atb_u8(&cpu, &device, pixels.flat(), FrameLayout::Planar, &Transfer::Identity, out.flat_mut()).unwrap();
    let sums = Atb { shape: [frames, 3, 40], sums: out.to_vec(&cpu).unwrap() };
    Problem { a, b: sums.to_f32(BYTE_SQUARED), frames }
}

fn solve(p: &Problem, precision: Precision, options: SolveOptions) -> (Vec<f32>, SolveReport) {
    let cpu = Cpu::new();
    let plan = Plan::new(&cpu, &p.a, PlanOptions { precision, ..PlanOptions::default() }).unwrap();
    let shape = [p.frames, p.a.channels(), p.a.n()];
    let b = Tensor::from_slice(&cpu, shape, &p.b).unwrap();
    let mut x = Tensor::from_slice(&cpu, shape, &vec![f32::NAN; p.b.len()]).unwrap();
    let report = Solver::new(&plan, options).unwrap().solve(&cpu, &b, &mut x).unwrap();
    (x.to_vec(&cpu).unwrap(), report)
}

fn objective(p: &Problem, x: &[f32]) -> f64 {
    let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|&v| v.into()).collect() };
    Matrix64::of(&p.a).objective(&wide(x), &wide(&p.b)).iter().sum()
}

#[test]
fn fista_reaches_the_optimum_and_stops() {
    let p = problem();
    let options =
        SolveOptions { max_iterations: 2000, tolerance: 1e-6, record_history: true, ..SolveOptions::default() };
    for precision in [Precision::F32, Precision::Tf32x3, Precision::F16x2, Precision::Bf16x3] {
        let (x, report) = solve(&p, precision, options.clone());
        assert!(report.converged.iter().all(|&c| c) && report.iterations < 2000, "{precision}: {report:?}");
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(report.products > report.iterations, "looks count");
        // The report's figures are those of the result.
        let own: f64 = report.objective.iter().sum();
        assert!((own - objective(&p, &x)).abs() <= 1e-4 * own.abs(), "{own} {}", objective(&p, &x));
    }
}

#[test]
fn the_reference_and_f32_take_the_same_steps() {
    let p = problem();
    let wide: Vec<f64> = p.b.iter().map(|&v| v.into()).collect();
    let a = Matrix64::of(&p.a);
    let near =
        |x: &[f32], wanted: &[f64]| x.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    for k in [0, 1, 5] {
        let options = SolveOptions { max_iterations: k, ..SolveOptions::default() };
        let (x, _) = solve(&p, Precision::F32, options.clone());
        assert!(near(&x, &a.fista(&wide, &[k])[0]) < 1e-5, "fista {k}");
        let (x, report) = solve(&p, Precision::F32, SolveOptions { method: Method::SteepestDescent, ..options });
        assert!(near(&x, &a.steepest_descent(&wide, &[k])[0]) < 1e-4, "descent {k}");
        assert_eq!(report.products, 2 * k + 1);
    }
}

/// The steps of Barzilai and Borwein end where Fista does, in fewer of them than descent needs, and show their best.
#[test]
fn borwein_steps_reach_the_optimum() {
    let p = problem();
    let best =
        objective(&p, &solve(&p, Precision::F32, SolveOptions { max_iterations: 2000, ..SolveOptions::default() }).0);
    let bb = |k: usize| {
        let options = SolveOptions { method: Method::ProjectedBb, max_iterations: k, ..SolveOptions::default() };
        solve(&p, Precision::F32, options)
    };
    let (x, report) = bb(300);
    assert_eq!((report.iterations, report.products), (300, 302));
    assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
    assert!(objective(&p, &x) - best <= 1e-5 * best.abs(), "{} {best}", objective(&p, &x));
    // Objectives go up and down, those of the shown do not.
    let mut lowest = f64::INFINITY;
    for k in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        let value = objective(&p, &bb(k).0);
        assert!(value <= lowest + 1e-5 * value.abs(), "{k}: {value} {lowest}");
        lowest = lowest.min(value);
    }
    let options = SolveOptions { method: Method::SteepestDescent, max_iterations: 34, ..SolveOptions::default() };
    assert!(lowest < objective(&p, &solve(&p, Precision::F32, options).0));
    let options =
        SolveOptions { method: Method::ProjectedBb, max_iterations: 2000, tolerance: 1e-5, ..SolveOptions::default() };
    let (_, report) = solve(&p, Precision::F32, options);
    assert!(report.iterations < 2000 && report.converged.iter().all(|&c| c), "{report:?}");
}

/// A solution is queued without allocating, moving or waiting, whatever it is told: a recording refuses the rest.
#[test]
fn solutions_are_recorded_whole() {
    let (p, cpu) = (problem(), Cpu::new());
    let shape = [p.frames, p.a.channels(), p.a.n()];
    for (at, method) in Method::ALL.into_iter().chain([Method::Fista]).enumerate() {
        let unit_range = at < 4;
        let plan_options = PlanOptions { precision: Precision::F16, unit_range, ..PlanOptions::default() };
        let polish_options = PlanOptions { precision: Precision::Tf32x3, ..plan_options };
        let options = SolveOptions {
            method,
            max_iterations: 40,
            tolerance: 1e-3,
            check_every: 7,
            record_history: true,
            polish: Some(PolishOptions { iterations: 10 }),
            ..SolveOptions::default()
        };
        let plans = [plan_options, polish_options].map(|options| Plan::new(&cpu, &p.a, options).unwrap());
        let b = Tensor::from_slice(&cpu, shape, &p.b).unwrap();
        let mut x = Tensor::zeros(&cpu, shape).unwrap();
        let solver = Solver::with_polish(&plans[0], &plans[1], options.clone()).unwrap();
        let wanted = solver.solve(&cpu, &b, &mut x).unwrap();
        let values = x.to_vec(&cpu).unwrap();
        let work = solver.work(&cpu, p.frames).unwrap();
        let again = options.clone();
        let mut recorded = cpu
            .capture((plans, work, b, x), move |cpu, (plans, work, b, x)| {
                Ok(Solver::with_polish(&plans[0], &plans[1], again.clone())?.solve_into(cpu, work, b, x)?)
            })
            .unwrap();
        for _ in 0..3 {
            recorded.replay(&cpu).unwrap();
            let (plans, work, _, x) = recorded.state();
            let solver = Solver::with_polish(&plans[0], &plans[1], options.clone()).unwrap();
            assert_eq!(solver.report(&cpu, work).unwrap(), wanted, "{method}");
            assert_eq!(x.to_vec(&cpu).unwrap(), values, "{method}");
        }
    }
}

/// A batch begins with the last frame of the one before; the first one has none.
#[test]
fn a_batch_begins_where_the_last_one_ended() {
    let (p, cpu) = (problem(), Cpu::new());
    let shape = [p.frames, p.a.channels(), p.a.n()];
    let plan = Plan::new(&cpu, &p.a, PlanOptions { precision: Precision::F32, ..PlanOptions::default() }).unwrap();
    let b = Tensor::from_slice(&cpu, shape, &p.b).unwrap();
    let of = |init: Init| SolveOptions { max_iterations: 15, init, ..SolveOptions::default() };
    let (first, _) = solve(&p, Precision::F32, of(Init::Diagonal));
    let (second, _) = solve(&p, Precision::F32, of(Init::Given(first[240..].to_vec())));
    assert_ne!(first, second);
    let solver = Solver::new(&plan, of(Init::Previous)).unwrap();
    let mut work = solver.work(&cpu, p.frames).unwrap();
    let mut x = Tensor::zeros(&cpu, shape).unwrap();
    for wanted in [first, second] {
        solver.solve_into(&cpu, &mut work, &b, &mut x).unwrap();
        assert_eq!(x.to_vec(&cpu).unwrap(), wanted);
    }
    // Room of another solver is refused.
    let other = Solver::new(&plan, of(Init::Zero)).unwrap();
    let error = other.solve_into(&cpu, &mut work, &b, &mut x).unwrap_err().to_string();
    assert!(error.contains("work") && error.contains("other options"), "{error}");
    let few = Tensor::zeros(&cpu, [1, 3, 40]).unwrap();
    let error = solver.solve_into(&cpu, &mut work, &few, &mut x).unwrap_err().to_string();
    assert!(error.contains("b has shape"), "{error}");
}

#[test]
fn a_warm_start_is_never_worse_than_its_start() {
    let p = problem();
    let (best, _) = solve(&p, Precision::F32, SolveOptions { max_iterations: 500, ..SolveOptions::default() });
    for (start, k) in [(best.clone(), 1), (best.clone(), 20), (p.b.iter().map(|_| 0.5).collect(), 3)] {
        let init = Init::Given(start.clone());
        let (x, _) = solve(&p, Precision::F32, SolveOptions { max_iterations: k, init, ..SolveOptions::default() });
        assert!(objective(&p, &x) <= objective(&p, &start) + 1e-4);
    }
    // One frame for all.
    let frame = best[..120].to_vec();
    let (x, _) = solve(
        &p,
        Precision::F32,
        SolveOptions { max_iterations: 0, init: Init::Given(frame.clone()), ..SolveOptions::default() },
    );
    assert_eq!(x, frame.repeat(3));
}

#[test]
fn conjugate_gradients_solve_without_bounds() {
    let mut p = problem();
    p.a.add_diagonal(20.0).unwrap();
    let options = SolveOptions {
        method: Method::Cg,
        max_iterations: 60,
        bounds: [f32::NEG_INFINITY, f32::INFINITY],
        init: Init::Zero,
        ..SolveOptions::default()
    };
    let (x, _) = solve(&p, Precision::F32, options);
    let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    let (ax, _) = Matrix64::of(&p.a).product(&wide);
    let largest = p.b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (ax, b) in ax.iter().zip(&p.b) {
        assert!((ax - f64::from(*b)).abs() < 1e-4 * f64::from(largest), "{ax} {b}");
    }
}

#[test]
fn degenerate_problems_stay_finite_and_inside() {
    let dense = |n: usize, v: f32| ndarray::Array3::from_shape_fn((1, n, n), |(_, i, j)| if i == j { v } else { 0.0 });
    let of = |n: usize, v: f32| BlockDiag::from_dense(dense(n, v).view(), SymmetryPolicy::default()).unwrap();
    for (a, b) in [
        (of(1, 2.0), vec![1.0]),
        (of(17, 0.0), vec![1.0; 17]),
        (of(17, 1.0), vec![0.0; 17]),
        (of(20, 1e-30), vec![1e-30; 20]),
        (of(20, 1e8), vec![-1e8; 20]),
    ] {
        let p = Problem { a, b, frames: 1 };
        for precision in Precision::ALL {
            for method in Method::ALL {
                let (x, report) =
                    solve(&p, precision, SolveOptions { method, max_iterations: 30, ..SolveOptions::default() });
                assert!(x.iter().all(|v| (0.0..=1.0).contains(v)), "{precision} {method}: {x:?}");
                assert!(report.kkt.iter().chain(&report.objective).all(|v| v.is_finite()), "{report:?}");
            }
        }
        if p.b[0] == 0.0 || p.a.get(0, 0, 0) == 0.0 {
            let (x, _) = solve(&p, Precision::F32, SolveOptions::default());
            assert!(x.iter().all(|&v| v == 0.0));
        }
    }
}

#[test]
fn bad_options_are_refused() {
    let p = problem();
    let cpu = Cpu::new();
    let plan = Plan::new(&cpu, &p.a, PlanOptions::default()).unwrap();
    for (options, what) in [
        (SolveOptions { bounds: [1.0, 0.0], ..SolveOptions::default() }, "bounds"),
        (SolveOptions { bounds: [f32::NAN, 0.0], ..SolveOptions::default() }, "bounds"),
        (SolveOptions { lambda: -1.0, ..SolveOptions::default() }, "lambda"),
        (SolveOptions { check_every: 0, ..SolveOptions::default() }, "tolerance"),
    ] {
        let error = Solver::new(&plan, options).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let batch = Batch { frames: 1, channels: 3, n: 40 };
    assert_eq!(plan.batch(1), batch);

    // A row of zeros has no other value than its lower bound.
    let dead =
        BlockDiag::from_dense(ndarray::Array3::from_elem((1, 5, 5), 0.0).view(), SymmetryPolicy::default()).unwrap();
    let plan = Plan::new(&cpu, &dead, PlanOptions::default()).unwrap();
    let unbounded = SolveOptions { bounds: [f32::NEG_INFINITY, 1.0], ..SolveOptions::default() };
    let error = Solver::new(&plan, unbounded.clone()).unwrap_err().to_string();
    assert!(error.contains("bounds") && error.contains("row 0 of channel 0"), "{error}");
    assert!(Solver::new(&plan, SolveOptions { lambda: 0.5, ..unbounded }).is_ok());
}
