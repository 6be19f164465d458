//! What only a device can show: recorded sequences, many tiles a strip, solvers with the bits of the CPU.
#![cfg(feature = "cuda")]

mod oracle;

use ata_wmma::{
    BlockDiag, Engine, Execution, Init, Method, Plan, PlanOptions, PolishOptions, Precision, SolveOptions, Solver,
    SymmetryPolicy,
};
use gpu_core::testing::cuda;
use gpu_core::{Backend, Cpu, Cuda, Tensor};
use oracle::matrix::Recipe;

fn recipe() -> Recipe {
    Recipe { n: 150, channels: 3, frames: 17, diagonals: 0b1_0100_1011, holes: 3, seed: 42, exact: false }
}

fn matrix(r: &Recipe) -> BlockDiag {
    let dense = ndarray::Array3::from_shape_fn((r.channels, r.n, r.n), |(c, i, j)| r.element(c, i, j) as f32);
    BlockDiag::from_dense(dense.view(), SymmetryPolicy::default()).unwrap()
}

fn modes() -> Vec<PlanOptions> {
    let mut all: Vec<_> = Precision::ALL.map(|precision| PlanOptions { precision, ..PlanOptions::default() }).into();
    all.push(PlanOptions { precision: Precision::F16, engine: Engine::Wmma32, ..PlanOptions::default() });
    all
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn x(r: &Recipe, frames: std::ops::Range<usize>) -> Vec<f32> {
    let each = r.channels * r.n;
    r.x()[frames.start * each..frames.end * each].iter().map(|&v| v as f32).collect()
}

fn product(b: &Cuda, plan: &Plan<Cuda>, shape: [usize; 3], x: &[f32]) -> Vec<f32> {
    plan.product(b, &Tensor::from_slice(b, shape, x).unwrap()).unwrap().to_vec(b).unwrap()
}

#[test]
#[ignore = "needs a CUDA device"]
fn frames_do_not_influence_each_other_on_cuda() {
    let (b, r) = (cuda(), recipe());
    let a = matrix(&r);
    let each = r.channels * r.n;
    for options in modes() {
        let plan = Plan::new(&b, &a, options).unwrap();
        let all = product(&b, &plan, [17, r.channels, r.n], &x(&r, 0..17));
        for range in [0..1, 3..6, 8..16, 5..14, 1..17, 16..17] {
            let part = product(&b, &plan, [range.len(), r.channels, r.n], &x(&r, range.clone()));
            assert_eq!(bits(&part), bits(&all[range.start * each..range.end * each]), "{options:?} {range:?}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn recorded_products_have_the_same_bits_on_cuda() {
    let (b, r) = (cuda(), recipe());
    let a = matrix(&r);
    let shape = [r.frames, r.channels, r.n];
    for options in modes() {
        let plan = Plan::new(&b, &a, options).unwrap();
        let wanted = bits(&product(&b, &plan, shape, &x(&r, 0..17)));
        let work = plan.work(&b, r.frames).unwrap();
        let vectors = Tensor::from_slice(&b, shape, &x(&r, 0..17)).unwrap();
        let y = Tensor::<Cuda, f32, 3>::zeros(&b, shape).unwrap();
        let mut recorded = b
            .capture((plan, work, vectors, y), |b, (plan, work, x, y)| {
                let done = plan.apply(b, work, x.view(), y.view_mut());
                done.map_err(|e| gpu_core::Error::value("ata", e.to_string()))
            })
            .unwrap();
        for _ in 0..20 {
            recorded.replay(&b).unwrap();
            assert_eq!(bits(&recorded.state().3.to_vec(&b).unwrap()), wanted, "{options:?}");
        }
    }
}

/// One plan on two queues at the same time.
#[test]
#[ignore = "needs a CUDA device"]
fn queues_share_a_plan_on_cuda() {
    let (b, r) = (cuda(), recipe());
    let plan = Plan::new(&b, &matrix(&r), PlanOptions::default()).unwrap();
    let shape = [r.frames, r.channels, r.n];
    let wanted = bits(&product(&b, &plan, shape, &x(&r, 0..17)));
    let queues = [b.clone(), b.fork().unwrap(), b.fork().unwrap()];
    let mut all: Vec<_> = queues
        .iter()
        .map(|b| {
            let x = Tensor::from_slice(b, shape, &x(&r, 0..17)).unwrap();
            (plan.work(b, r.frames).unwrap(), x, Tensor::<Cuda, f32, 3>::zeros(b, shape).unwrap())
        })
        .collect();
    for _ in 0..5 {
        for (b, (work, x, y)) in queues.iter().zip(&mut all) {
            plan.apply(b, work, x.view(), y.view_mut()).unwrap();
        }
    }
    for (b, (.., y)) in queues.iter().zip(&all) {
        assert_eq!(bits(&y.to_vec(b).unwrap()), wanted);
    }
}

/// More tiles than a warp fetches at once: a row of blocks and its mirror image, 270 of them.
#[test]
#[ignore = "needs a CUDA device"]
fn long_strips_are_summed_on_cuda() {
    let b = cuda();
    let n = 16 * 270;
    let entries = (0..n).flat_map(|j| (0..3).map(move |i| (0, 5 * i, j, oracle::value(1, (i * n + j) as u64, true))));
    let a = BlockDiag::from_coo(1, n, entries.filter(|(_, i, j, _)| i <= j), true, SymmetryPolicy::UpperWins).unwrap();
    // Small numbers: sums stay exact.
    let x: Vec<f32> = (0..2 * n as u64).map(|i| oracle::value(2, i, true) as f32 / 8.0).collect();
    let cpu = Cpu::new();
    for options in modes() {
        let plan = Plan::new(&cpu, &a, PlanOptions { engine: Engine::Auto, ..options }).unwrap();
        let wanted =
            plan.product(&cpu, &Tensor::from_slice(&cpu, [2, 1, n], &x).unwrap()).unwrap().to_vec(&cpu).unwrap();
        let plan = Plan::new(&b, &a, options).unwrap();
        assert!(product(&b, &plan, [2, 1, n], &x) == wanted, "{options:?}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn solvers_take_the_steps_of_the_cpu_on_cuda() {
    let (b, cpu, mut r) = (cuda(), Cpu::new(), recipe());
    r.frames = 3;
    let mut a = matrix(&r);
    a.add_diagonal(20.0).unwrap();
    let shape = [r.frames, r.channels, r.n];
    let right: Vec<f32> = x(&r, 0..3).iter().map(|v| 20.0 * v).collect();
    let options = SolveOptions { max_iterations: 25, record_history: true, ..SolveOptions::default() };
    let plan_options = PlanOptions { precision: Precision::F32, ..PlanOptions::default() };
    let plan = Plan::new(&cpu, &a, plan_options).unwrap();
    let mut on_cpu = Tensor::zeros(&cpu, shape).unwrap();
    let b_cpu = Tensor::from_slice(&cpu, shape, &right).unwrap();
    let wanted = Solver::new(&plan, options.clone()).unwrap().solve(&cpu, &b_cpu, &mut on_cpu).unwrap();
    let plan = Plan::new(&b, &a, plan_options).unwrap();
    let mut on_cuda = Tensor::zeros(&b, shape).unwrap();
    let b_cuda = Tensor::from_slice(&b, shape, &right).unwrap();
    let report = Solver::new(&plan, options).unwrap().solve(&b, &b_cuda, &mut on_cuda).unwrap();
    assert_eq!(report, wanted);
    assert_eq!(bits(&on_cuda.to_vec(&b).unwrap()), bits(&on_cpu.to_vec(&cpu).unwrap()));
}

/// All iterations in one launch, in chunks between looks, and as launches of their own: the same bits, the same report.
#[test]
#[ignore = "needs a CUDA device"]
fn one_launch_has_the_bits_of_many_on_cuda() {
    let (b, mut r) = (cuda(), recipe());
    r.frames = 9;
    let mut a = matrix(&r);
    a.add_diagonal(20.0).unwrap();
    let shape = [r.frames, r.channels, r.n];
    let right: Vec<f32> = x(&r, 0..9).iter().map(|v| 20.0 * v).collect();
    let right = Tensor::from_slice(&b, shape, &right).unwrap();
    for precision in [Precision::F32, Precision::Tf32, Precision::Tf32x3, Precision::F16] {
        let options = PlanOptions { precision, unit_range: true, ..PlanOptions::default() };
        let plan = Plan::new(&b, &a, options).unwrap();
        for tolerance in [0.0, 1e-3] {
            let solve = |execution| {
                let options = SolveOptions { max_iterations: 25, execution, tolerance, ..SolveOptions::default() };
                let mut x = Tensor::zeros(&b, shape).unwrap();
                let report = Solver::new(&plan, options).unwrap().solve(&b, &right, &mut x).unwrap();
                (bits(&x.to_vec(&b).unwrap()), report)
            };
            let many = solve(Execution::Launches);
            assert!(tolerance == 0.0 || many.1.iterations < 25, "it stops early: {:?}", many.1);
            assert!(solve(Execution::Persistent) == many, "{precision}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn conjugate_gradients_and_descent_stop_as_on_the_cpu_on_cuda() {
    let (b, cpu, mut r) = (cuda(), Cpu::new(), recipe());
    r.frames = 2;
    let mut a = matrix(&r);
    a.add_diagonal(60.0).unwrap();
    let shape = [r.frames, r.channels, r.n];
    let right: Vec<f32> = x(&r, 0..2).iter().map(|v| 20.0 * v).collect();
    for method in [Method::Cg, Method::SteepestDescent] {
        let options = SolveOptions {
            method,
            // Without bounds, since conjugate gradients know none.
            bounds: [f32::NEG_INFINITY, f32::INFINITY],
            max_iterations: 60,
            tolerance: 1e-2,
            check_every: 4,
            record_history: true,
            lambda: 0.5,
            init: Init::Zero,
            ..SolveOptions::default()
        };
        let precision = PlanOptions { precision: Precision::F32, ..PlanOptions::default() };
        let plan = Plan::new(&cpu, &a, precision).unwrap();
        let b_cpu = Tensor::from_slice(&cpu, shape, &right).unwrap();
        let mut on_cpu = Tensor::zeros(&cpu, shape).unwrap();
        let wanted = Solver::new(&plan, options.clone()).unwrap().solve(&cpu, &b_cpu, &mut on_cpu).unwrap();
        let plan = Plan::new(&b, &a, precision).unwrap();
        let b_cuda = Tensor::from_slice(&b, shape, &right).unwrap();
        let mut on_cuda = Tensor::zeros(&b, shape).unwrap();
        let report = Solver::new(&plan, options).unwrap().solve(&b, &b_cuda, &mut on_cuda).unwrap();
        assert!(report.iterations < 60, "{report:?}");
        assert_eq!(report, wanted);
        assert_eq!(bits(&on_cuda.to_vec(&b).unwrap()), bits(&on_cpu.to_vec(&cpu).unwrap()));
    }
}

/// A whole solution, looks and polishing too, replayed: the bits and the report of one that was not recorded.
#[test]
#[ignore = "needs a CUDA device"]
fn solutions_are_recorded_whole_on_cuda() {
    let (b, mut r) = (cuda(), recipe());
    r.frames = 2;
    let mut a = matrix(&r);
    a.add_diagonal(20.0).unwrap();
    let shape = [r.frames, r.channels, r.n];
    let right: Vec<f32> = x(&r, 0..2).iter().map(|v| 20.0 * v).collect();
    for (execution, method) in
        Method::ALL.map(|m| (Execution::Auto, m)).into_iter().chain([(Execution::Launches, Method::Fista)])
    {
        let plan_options = PlanOptions { precision: Precision::F16, unit_range: true, ..PlanOptions::default() };
        let polish_options = PlanOptions { precision: Precision::Tf32x3, ..plan_options };
        let options = SolveOptions {
            method,
            execution,
            max_iterations: 12,
            tolerance: 1e-6,
            check_every: 5,
            init: Init::Previous,
            record_history: true,
            polish: Some(PolishOptions { iterations: 4 }),
            ..SolveOptions::default()
        };
        let plans = [plan_options, polish_options].map(|options| Plan::new(&b, &a, options).unwrap());
        let right = Tensor::from_slice(&b, shape, &right).unwrap();
        let mut x = Tensor::zeros(&b, shape).unwrap();
        // Two solutions, the second from the last frame of the first; then the same third one, twice: on its own, recorded.
        let solver = Solver::with_polish(&plans[0], &plans[1], options.clone()).unwrap();
        let mut work = solver.work(&b, r.frames).unwrap();
        let mut told = Vec::new();
        for _ in 0..4 {
            solver.solve_into(&b, &mut work, &right, &mut x).unwrap();
            told.push((bits(&x.to_vec(&b).unwrap()), solver.report(&b, &work).unwrap()));
        }
        let mut work = solver.work(&b, r.frames).unwrap();
        solver.solve_into(&b, &mut work, &right, &mut x).unwrap();
        let again = options.clone();
        let mut recorded = b
            .capture((plans, work, right, x), move |b, (plans, work, right, x)| {
                Ok(Solver::with_polish(&plans[0], &plans[1], again.clone())?.solve_into(b, work, right, x)?)
            })
            .unwrap();
        for wanted in &told[1..] {
            recorded.replay(&b).unwrap();
            let (plans, work, _, x) = recorded.state();
            let solver = Solver::with_polish(&plans[0], &plans[1], options.clone()).unwrap();
            assert_eq!(&(bits(&x.to_vec(&b).unwrap()), solver.report(&b, work).unwrap()), wanted, "{method}");
        }
    }
}
