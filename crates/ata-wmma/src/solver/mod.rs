//! Box-constrained least squares in batches.
//!
//! Nobody waits for the device between iterations: looks at the tolerance are launches too, and behind the one that was
//! within it, steps do nothing.

mod options;

use gpu_core::Tensor;
pub use options::{Execution, Init, Method, PolishOptions, SolveOptions, SolveReport};

use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, Batch, CgState, Control, KKT_FIGURES, Ring};
use crate::plan::{Plan, Work};

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

/// Iterations with one plan, and their looks.
struct Stage<'a, B: AtaBackend> {
    plan: &'a Plan<B>,
    work: Work<B>,
    control: Control<B>,
    iterations: usize,
    looks: usize,
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
        self.run(&mut state, self.plan, total - last, x)?;
        if let (Some(polish), true) = (self.polish, last > 0) {
            self.run(&mut state, polish, last, x)?;
        }
        let plan = if last > 0 { self.polish.unwrap_or(self.plan) } else { self.plan };
        let mut work = plan.work(backend, frames)?;
        self.measure(&mut state, plan, &mut work, x)?;
        state.report.products += 1;
        let figures = state.figures.to_vec(backend)?;
        let report = &mut state.report;
        report.kkt = figures.chunks_exact(KKT_FIGURES).map(|f| f[0]).collect();
        report.objective = figures.chunks_exact(KKT_FIGURES).map(|f| f[1]).collect();
        report.converged = report.kkt.iter().map(|&k| k <= self.options.tolerance).collect();
        if self.options.record_history {
            report.history.push((report.iterations, report.objective.iter().sum()));
        }
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

    /// Queues the figures of `x`.
    fn measure(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        work: &mut Work<B>,
        x: &Tensor<B, f32, 3>,
    ) -> Result<()> {
        plan.apply(state.backend, work, x.view(), state.ax.view_mut())?;
        let inputs = [state.ax.flat(), state.b.flat(), state.rho.flat(), x.flat()];
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        Ok(kernels::kkt(state.backend, state.batch, bounds, lambda, inputs, state.figures.flat_mut())?)
    }

    fn looks(&self) -> bool {
        self.options.tolerance > 0.0 || self.options.record_history
    }

    /// Queues a look behind iteration `k` where one is due; whether later iterations are known not to count.
    fn look(
        &self,
        state: &mut State<'_, B>,
        stage: &mut Stage<'_, B>,
        k: usize,
        x: &Tensor<B, f32, 3>,
    ) -> Result<bool> {
        if !self.looks() || !k.is_multiple_of(self.options.check_every) {
            return Ok(false);
        }
        self.measure(state, stage.plan, &mut stage.work, x)?;
        let (batch, at) = (state.batch, [k, stage.looks]);
        let tolerance = self.options.tolerance;
        kernels::stop(state.backend, batch, &mut stage.control, tolerance, at, state.figures.flat())?;
        stage.looks += 1;
        Ok(B::IMMEDIATE && stage.control.seen(state.backend, batch)?.stopped)
    }

    fn run(
        &self,
        state: &mut State<'_, B>,
        plan: &Plan<B>,
        iterations: usize,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        if iterations == 0 {
            return Ok(());
        }
        let (backend, batch) = (state.backend, state.batch);
        let looks = if self.looks() { iterations / self.options.check_every } else { 0 };
        let work = plan.work(backend, batch.frames)?;
        let control = Control::new(backend, batch, looks)?;
        let mut stage = Stage { plan, work, control, iterations, looks: 0 };
        let each = match self.options.method {
            Method::Fista => self.fista(state, &mut stage, x)?,
            Method::SteepestDescent => self.descend(state, &mut stage, x)?,
            Method::Cg => self.conjugate(state, &mut stage, x)?,
        };
        let seen = if looks > 0 { stage.control.seen(backend, batch)? } else { kernels::Seen::default() };
        let report = &mut state.report;
        if self.options.record_history {
            let each = KKT_FIGURES * batch.lines();
            for (look, figures) in seen.history.chunks_exact(each).enumerate() {
                let sum = figures.chunks_exact(KKT_FIGURES).map(|f| f[1]).sum();
                report.history.push((report.iterations + (look + 1) * self.options.check_every, sum));
            }
        }
        let done = if seen.stopped { seen.iteration } else { iterations };
        report.iterations += done;
        report.products += each * done + seen.looks;
        Ok(())
    }

    /// Products an iteration.
    fn fista(&self, state: &mut State<'_, B>, stage: &mut Stage<'_, B>, x: &mut Tensor<B, f32, 3>) -> Result<usize> {
        let (backend, batch) = (state.backend, state.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        let mut y = Tensor::<B, f32, 3>::scratch(backend, x.shape())?;
        backend.copy(x.flat(), y.flat_mut())?;
        let mut t = Tensor::<B, f64, 1>::from_slice(backend, [batch.lines()], &vec![1.0; batch.lines()])?;
        let (matrix, unit_range) = (stage.plan.matrix(), stage.plan.options().unit_range);
        let persistent = match self.options.execution {
            Execution::Launches => false,
            Execution::Auto => kernels::persists(backend, batch, matrix, unit_range)?,
            Execution::Persistent => {
                if !kernels::persists(backend, batch, matrix, unit_range)? {
                    let why = format!(
                        "the matrix in {} does not stay in this device's shared memory; use auto or launches",
                        stage.plan.options().precision
                    );
                    return Err(AtaError::value("execution", why));
                }
                true
            }
        };
        if persistent {
            let mut ring = Ring::scratch(backend, batch, matrix)?;
            let each = if self.looks() { self.options.check_every } else { stage.iterations };
            let mut k = 0;
            while k < stage.iterations {
                let count = each.min(stage.iterations - k);
                let inputs = [state.b.flat(), state.rho.flat()];
                let xy = [x.flat_mut(), y.flat_mut()];
                kernels::fista_persistent(
                    backend,
                    &stage.control,
                    batch,
                    matrix,
                    bounds,
                    lambda,
                    count,
                    inputs,
                    xy,
                    t.flat_mut(),
                    &mut ring,
                )?;
                k += count;
                if self.look(state, stage, k, x)? {
                    break;
                }
            }
            return Ok(1);
        }
        for k in 1..=stage.iterations {
            stage.plan.apply(backend, &mut stage.work, y.view(), state.ax.view_mut())?;
            let inputs = [state.ax.flat(), state.b.flat(), state.rho.flat()];
            let (x_, y_) = (x.flat_mut(), y.flat_mut());
            kernels::fista_step(backend, &stage.control, batch, bounds, lambda, inputs, x_, y_, t.flat_mut())?;
            if self.look(state, stage, k, x)? {
                break;
            }
        }
        Ok(1)
    }

    fn descend(&self, state: &mut State<'_, B>, stage: &mut Stage<'_, B>, x: &mut Tensor<B, f32, 3>) -> Result<usize> {
        const FACTOR: f32 = 0.9;
        let (backend, batch) = (state.backend, state.batch);
        let mut g = Tensor::<B, f32, 3>::scratch(backend, x.shape())?;
        let lambda = self.options.lambda;
        for k in 1..=stage.iterations {
            stage.plan.apply(backend, &mut stage.work, x.view(), state.ax.view_mut())?;
            let inputs = [state.ax.flat(), state.b.flat(), x.flat()];
            kernels::gradient(backend, batch, lambda, inputs, g.flat_mut())?;
            stage.plan.apply(backend, &mut stage.work, g.view(), state.ax.view_mut())?;
            let (bounds, factors) = (self.options.bounds, [lambda, FACTOR]);
            let (stop, ag) = (&stage.control, state.ax.flat());
            kernels::sd_step(backend, stop, batch, bounds, factors, g.flat(), ag, x.flat_mut())?;
            if self.look(state, stage, k, x)? {
                break;
            }
        }
        Ok(2)
    }

    fn conjugate(
        &self,
        state: &mut State<'_, B>,
        stage: &mut Stage<'_, B>,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<usize> {
        let (backend, batch) = (state.backend, state.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        let mut search = CgState::scratch(backend, batch)?;
        stage.plan.apply(backend, &mut stage.work, x.view(), state.ax.view_mut())?;
        state.report.products += 1;
        let inputs = [state.ax.flat(), state.b.flat(), state.rho.flat(), x.flat()];
        kernels::cg_start(backend, batch, lambda, inputs, &mut search)?;
        for k in 1..=stage.iterations {
            stage.plan.apply(backend, &mut stage.work, search.direction().view(), state.ax.view_mut())?;
            let inputs = [state.ax.flat(), state.rho.flat()];
            let stop = &stage.control;
            kernels::cg_step(backend, stop, batch, bounds, lambda, inputs, &mut search, x.flat_mut())?;
            if self.look(state, stage, k, x)? {
                break;
            }
        }
        Ok(1)
    }
}

/// The next `f32` that is not below: row sums must majorise the matrix.
fn up(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v { near.next_up() } else { near }
}
