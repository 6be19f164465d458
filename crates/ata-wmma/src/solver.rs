//! Box-constrained least squares in batches.

use std::fmt;
use std::str::FromStr;

use gpu_core::Tensor;
use serde::Serialize;

use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, Batch, KKT_FIGURES};
use crate::plan::{Plan, Work};

/// How the minimum is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Accelerated projected gradients with row-sum steps and restart; one product an iteration.
    #[default]
    Fista,
    /// Projected gradients, one step length a frame; two products an iteration.
    SteepestDescent,
    /// Conjugate gradients with the diagonal as preconditioner, without bounds; the result is clipped at the end when
    /// bounds are finite. The host reads two figures a line in each iteration.
    Cg,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fista, Self::SteepestDescent, Self::Cg];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fista => "fista",
            Self::SteepestDescent => "sd",
            Self::Cg => "cg",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = AtaError;
    fn from_str(s: &str) -> Result<Self, AtaError> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|m| m.name() == s);
        found.ok_or_else(|| AtaError::value("method", format!("`{s}` is none of {}", names())))
    }
}

/// Where the search begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Init {
    /// `clip(b / ρ)` with the row sums ρ.
    #[default]
    Diagonal,
    /// Zero, or the bound nearest to it.
    Zero,
    /// These values, clipped: `[F, C, n]`, or `[C, n]` for every frame (the last frame of the batch before).
    Given(Vec<f32>),
}

/// Iterations with a second plan, of another precision, behind the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolishOptions {
    /// How many of the iterations.
    pub iterations: usize,
}

/// What a solver does.
#[derive(Clone, Debug, PartialEq)]
pub struct SolveOptions {
    /// Method.
    pub method: Method,
    /// Iterations at most.
    pub max_iterations: usize,
    /// Stops when no frame is further from the optimum than this; 0 runs all iterations.
    pub tolerance: f64,
    /// Iterations between two looks at the tolerance.
    pub check_every: usize,
    /// Lower and upper bound.
    pub bounds: [f32; 2],
    /// Added to the diagonal.
    pub lambda: f32,
    /// Start.
    pub init: Init,
    /// Iterations at the end with the plan for polishing; [`Solver::with_polish`] gives the plan.
    pub polish: Option<PolishOptions>,
    /// Whether the objective is recorded at each look.
    pub record_history: bool,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            method: Method::Fista,
            max_iterations: 100,
            tolerance: 0.0,
            check_every: 10,
            bounds: [0.0, 1.0],
            lambda: 0.0,
            init: Init::Diagonal,
            polish: None,
            record_history: false,
        }
    }
}

/// What a solver has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SolveReport {
    /// Iterations.
    pub iterations: usize,
    /// Products of the matrix with the batch, those for looks included.
    pub products: usize,
    /// `½ xᵀ(A + λI)x - bᵀx` of every frame and channel, `[F, C]`.
    pub objective: Vec<f64>,
    /// `max |x - clip(x - g / ρ)|` of every frame and channel.
    pub kkt: Vec<f64>,
    /// Whether each is within the tolerance.
    pub converged: Vec<bool>,
    /// Iteration and sum of the objectives at each look.
    pub history: Vec<(usize, f64)>,
}

/// A solver over a plan, or over two: one for most of the iterations, one for the last.
#[derive(Debug)]
pub struct Solver<'a, B: AtaBackend> {
    plan: &'a Plan<B>,
    polish: Option<&'a Plan<B>>,
    options: SolveOptions,
}

/// What iterations work on.
struct State<'a, B: AtaBackend> {
    backend: &'a B,
    batch: Batch,
    b: &'a Tensor<B, f32, 3>,
    rho: Tensor<B, f32, 1>,
    ax: Tensor<B, f32, 3>,
    figures: Tensor<B, f64, 1>,
    report: SolveReport,
}

impl<'a, B: AtaBackend> Solver<'a, B> {
    /// A solver with one plan.
    ///
    /// # Errors
    /// For bounds that are no interval, a negative λ and a polish without a plan.
    pub fn new(plan: &'a Plan<B>, options: SolveOptions) -> Result<Self> {
        Self::checked(plan, None, options)
    }

    /// A solver whose last iterations use another plan of the same matrix.
    pub fn with_polish(plan: &'a Plan<B>, polish: &'a Plan<B>, options: SolveOptions) -> Result<Self> {
        if plan.size() != polish.size() {
            return Err(AtaError::shape("polish", plan.size(), &polish.size()));
        }
        Self::checked(plan, Some(polish), options)
    }

    fn checked(plan: &'a Plan<B>, polish: Option<&'a Plan<B>>, options: SolveOptions) -> Result<Self> {
        let [lower, upper] = options.bounds;
        if lower.is_nan() || upper.is_nan() || lower > upper {
            return Err(AtaError::value("bounds", format!("[{lower}, {upper}] is no interval")));
        }
        if !(options.lambda >= 0.0 && options.lambda.is_finite()) {
            return Err(AtaError::value("lambda", format!("{} is not a finite number from 0", options.lambda)));
        }
        if options.tolerance.is_nan() || options.check_every == 0 {
            return Err(AtaError::value("tolerance", "it must be a number, and looked at every 1 iteration or more"));
        }
        if options.polish.is_some() && polish.is_none() {
            return Err(AtaError::value("polish", "there is no plan for it; use `with_polish`"));
        }
        Ok(Self { plan, polish, options })
    }

    /// Minimises for `b`, `[F, C, n]`; `x` gets the result.
    pub fn solve(&self, backend: &B, b: &Tensor<B, f32, 3>, x: &mut Tensor<B, f32, 3>) -> Result<SolveReport> {
        let [channels, n] = self.plan.size();
        let frames = b.shape()[0];
        for (what, shape) in [("b", b.shape()), ("x", x.shape())] {
            if shape != [frames, channels, n] {
                return Err(AtaError::shape(what, [frames, channels, n], &shape));
            }
        }
        let batch = self.plan.batch(frames);
        let rho: Vec<f32> = self.plan.row_sums().iter().map(|&v| up(v + f64::from(self.options.lambda))).collect();
        let mut state = State {
            backend,
            batch,
            b,
            rho: Tensor::from_slice(backend, [rho.len()], &rho)?,
            ax: Tensor::scratch(backend, b.shape())?,
            figures: Tensor::scratch(backend, [KKT_FIGURES * batch.lines()])?,
            report: SolveReport::default(),
        };
        if frames == 0 {
            return Ok(state.report);
        }
        self.begin(&state, x)?;
        let total = self.options.max_iterations;
        let last = self.options.polish.map_or(0, |p| p.iterations.min(total));
        let mut done = self.run(&mut state, self.plan, total - last, x)?;
        if let (Some(polish), true) = (self.polish, last > 0) {
            done = self.run(&mut state, polish, last, x)? && done;
        }
        let _ = done;
        let plan = if last > 0 { self.polish.unwrap_or(self.plan) } else { self.plan };
        let mut work = plan.work(backend, frames)?;
        self.look(&mut state, plan, &mut work, x)?;
        Ok(state.report)
    }

    fn begin(&self, state: &State<'_, B>, x: &mut Tensor<B, f32, 3>) -> Result<()> {
        let [lower, upper] = self.options.bounds;
        let batch = state.batch;
        match &self.options.init {
            Init::Diagonal => {
                let (b, rho) = (state.b.flat(), state.rho.flat());
                kernels::start(state.backend, batch, self.options.bounds, b, rho, x.flat_mut())?;
            }
            Init::Zero => {
                let zero = if lower > 0.0 { lower } else { 0f32.min(upper) };
                state.backend.upload(&vec![zero; batch.len()], x.flat_mut())?;
            }
            Init::Given(values) => {
                let line = batch.channels * batch.n;
                if values.len() != batch.len() && values.len() != line {
                    let wanted = [batch.frames, batch.channels, batch.n];
                    return Err(AtaError::shape("start", wanted, &[values.len()]));
                }
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    let value = f64::from(values[at]);
                    return Err(AtaError::NonFinite { what: "start".into(), index: vec![at], value });
                }
                let all: Vec<f32> = values.iter().cycle().take(batch.len()).map(|v| v.clamp(lower, upper)).collect();
                state.backend.upload(&all, x.flat_mut())?;
            }
        }
        Ok(())
    }

    /// Whether every line is within the tolerance.
    fn look(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        work: &mut Work<B>,
        x: &Tensor<B, f32, 3>,
    ) -> Result<bool> {
        plan.apply(state.backend, work, x.view(), state.ax.view_mut())?;
        state.report.products += 1;
        let inputs = [state.ax.flat(), state.b.flat(), state.rho.flat(), x.flat()];
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        kernels::kkt(state.backend, state.batch, bounds, lambda, inputs, state.figures.flat_mut())?;
        let figures = state.figures.to_vec(state.backend)?;
        let report = &mut state.report;
        report.kkt = figures.chunks_exact(KKT_FIGURES).map(|f| f[0]).collect();
        report.objective = figures.chunks_exact(KKT_FIGURES).map(|f| f[1]).collect();
        report.converged = report.kkt.iter().map(|&k| k <= self.options.tolerance).collect();
        if self.options.record_history {
            report.history.push((report.iterations, report.objective.iter().sum()));
        }
        Ok(report.converged.iter().all(|&c| c))
    }

    fn run(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        iterations: usize,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<bool> {
        if iterations == 0 {
            return Ok(false);
        }
        match self.options.method {
            Method::Fista => self.fista(state, plan, iterations, x),
            Method::SteepestDescent => self.descend(state, plan, iterations, x),
            Method::Cg => self.conjugate(state, plan, iterations, x),
        }
    }

    fn wants_look(&self, k: usize) -> bool {
        (self.options.tolerance > 0.0 || self.options.record_history) && k.is_multiple_of(self.options.check_every)
    }

    fn fista(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        iterations: usize,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<bool> {
        let (backend, batch) = (state.backend, state.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        let mut work = plan.work(backend, batch.frames)?;
        let mut y = Tensor::<B, f32, 3>::scratch(backend, x.shape())?;
        backend.copy(x.flat(), y.flat_mut())?;
        let mut t = Tensor::<B, f64, 1>::from_slice(backend, [batch.lines()], &vec![1.0; batch.lines()])?;
        for k in 1..=iterations {
            plan.apply(backend, &mut work, y.view(), state.ax.view_mut())?;
            let inputs = [state.ax.flat(), state.b.flat(), state.rho.flat()];
            kernels::fista_step(backend, batch, bounds, lambda, inputs, x.flat_mut(), y.flat_mut(), t.flat_mut())?;
            state.report.iterations += 1;
            state.report.products += 1;
            if self.wants_look(k) && self.look(state, plan, &mut work, x)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn descend(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        iterations: usize,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<bool> {
        const FACTOR: f32 = 0.9;
        let (backend, batch) = (state.backend, state.batch);
        let mut work = plan.work(backend, batch.frames)?;
        let mut g = Tensor::<B, f32, 3>::scratch(backend, x.shape())?;
        let lambda = self.options.lambda;
        for k in 1..=iterations {
            backend.copy(state.b.flat(), g.flat_mut())?;
            plan.apply_axpby(backend, &mut work, 1.0, x.view(), -1.0, g.view_mut())?;
            if lambda > 0.0 {
                kernels_axpy(backend, lambda, x, &mut g)?;
            }
            plan.apply(backend, &mut work, g.view(), state.ax.view_mut())?;
            let factors = [lambda, FACTOR];
            kernels::sd_step(backend, batch, self.options.bounds, factors, g.flat(), state.ax.flat(), x.flat_mut())?;
            state.report.iterations += 1;
            state.report.products += 2;
            if self.wants_look(k) && self.look(state, plan, &mut work, x)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Conjugate gradients on the host's side: vectors stay `f32`, sums are `f64`.
    fn conjugate(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        iterations: usize,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<bool> {
        let (backend, batch) = (state.backend, state.batch);
        let n = batch.n;
        let rho = state.rho.to_vec(backend)?;
        let lambda = f64::from(self.options.lambda);
        let inverse = |i: usize| {
            let rho = f64::from(rho[i % rho.len()]);
            if rho > 0.0 { 1.0 / rho } else { 0.0 }
        };
        let b = state.b.to_vec(backend)?;
        let mut work = plan.work(backend, batch.frames)?;
        let mut at: Vec<f64> = x.to_vec(backend)?.into_iter().map(f64::from).collect();
        plan.apply(backend, &mut work, x.view(), state.ax.view_mut())?;
        state.report.products += 1;
        let ax = state.ax.to_vec(backend)?;
        let mut r: Vec<f64> = (0..at.len()).map(|i| f64::from(b[i]) - f64::from(ax[i]) - lambda * at[i]).collect();
        let mut p: Vec<f64> = r.iter().enumerate().map(|(i, r)| inverse(i) * r).collect();
        let mut direction = Tensor::<B, f32, 3>::scratch(backend, x.shape())?;
        let weighted = |r: &[f64], line: usize| -> f64 {
            r[line * n..][..n].iter().enumerate().map(|(i, r)| r * r * inverse(line * n + i)).sum()
        };
        let mut rr: Vec<f64> = (0..batch.lines()).map(|line| weighted(&r, line)).collect();
        for _ in 0..iterations {
            let rounded: Vec<f32> = p.iter().map(|&v| v as f32).collect();
            backend.upload(&rounded, direction.flat_mut())?;
            plan.apply(backend, &mut work, direction.view(), state.ax.view_mut())?;
            let ap = state.ax.to_vec(backend)?;
            for line in 0..batch.lines() {
                let range = line * n..(line + 1) * n;
                let of = |i: usize| f64::from(ap[i]) + lambda * f64::from(rounded[i]);
                let curve: f64 = range.clone().map(|i| f64::from(rounded[i]) * of(i)).sum();
                let alpha = if curve > 0.0 && rr[line] > 0.0 { rr[line] / curve } else { 0.0 };
                for i in range.clone() {
                    at[i] += alpha * f64::from(rounded[i]);
                    r[i] -= alpha * of(i);
                }
                let next = weighted(&r, line);
                let beta = if alpha > 0.0 && rr[line] > 0.0 { next / rr[line] } else { 0.0 };
                for i in range {
                    p[i] = inverse(i) * r[i] + beta * p[i];
                }
                rr[line] = next;
            }
            state.report.iterations += 1;
            state.report.products += 1;
        }
        let [lower, upper] = self.options.bounds.map(f64::from);
        let clipped: Vec<f32> = at.iter().map(|v| v.clamp(lower, upper) as f32).collect();
        backend.upload(&clipped, x.flat_mut())?;
        Ok(false)
    }
}

/// The next `f32` that is not below: row sums must majorise the matrix.
fn up(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v { near.next_up() } else { near }
}

/// `g += λ x` by way of the host: λ beside steepest descent is rare.
fn kernels_axpy<B: AtaBackend>(b: &B, lambda: f32, x: &Tensor<B, f32, 3>, g: &mut Tensor<B, f32, 3>) -> Result<()> {
    let (x, mut values) = (x.to_vec(b)?, g.to_vec(b)?);
    values.iter_mut().zip(&x).for_each(|(g, x)| *g = lambda.mul_add(*x, *g));
    b.upload(&values, g.flat_mut())?;
    Ok(())
}
