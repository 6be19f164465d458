//! Box-constrained least squares in batches.
//!
//! Nobody waits for the device between iterations: looks at the tolerance are launches too, and behind the one that was
//! within it, steps do nothing. With room made before, a solution only queues work, and can be recorded as a whole.

mod options;
mod work;

use gpu_core::Tensor;
pub use options::{Execution, Init, Method, PolishOptions, SolveOptions, SolveReport};
pub use work::SolveWork;
use work::{MethodWork, Stage};

use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, Batch, KKT_FIGURES};
use crate::plan::{Plan, Work};

/// A solver over a plan, or over two: one for most of the iterations, one for the last.
///
/// [`solve`](Self::solve) does everything at once. Where the same sizes come again and again, [`work`](Self::work) makes
/// room once, [`solve_into`](Self::solve_into) queues a solution, and [`report`](Self::report) asks how it went:
///
/// ```
/// use ata_wmma::{BlockDiag, Plan, PlanOptions, SolveOptions, Solver, SymmetryPolicy};
/// use gpu_core::{Backend, Cpu, Tensor};
/// let a = BlockDiag::from_dense(ndarray::array![[[2.0f32, 1.0], [1.0, 2.0]]].view(), SymmetryPolicy::default())?;
/// let cpu = Cpu::new();
/// let plan = Plan::new(&cpu, &a, PlanOptions::default())?;
/// let right = Tensor::from_slice(&cpu, [1, 1, 2], &[1.5f32, -3.0])?;
/// let mut x = Tensor::zeros(&cpu, [1, 1, 2])?;
/// let mut work = Solver::new(&plan, SolveOptions::default())?.work(&cpu, 1)?;
/// // Once as it is: a device loads its kernels. Then as a recording.
/// Solver::new(&plan, SolveOptions::default())?.solve_into(&cpu, &mut work, &right, &mut x)?;
/// let mut recorded = cpu.capture((plan, work, right, x), |cpu, (plan, work, right, x)| {
///     Ok(Solver::new(plan, SolveOptions::default())?.solve_into(cpu, work, right, x)?)
/// })?;
/// recorded.replay(&cpu)?;
/// let (plan, work, _, x) = recorded.state();
/// assert_eq!(x.to_vec(&cpu)?, [0.75, 0.0]);
/// assert_eq!(Solver::new(plan, SolveOptions::default())?.report(&cpu, work)?.iterations, 100);
/// # Ok::<(), ata_wmma::AtaError>(())
/// ```
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
    options: &'a SolveOptions,
    b: &'a Tensor<B, f32, 3>,
    rho: &'a Tensor<B, f32, 1>,
    ax: &'a mut Tensor<B, f32, 3>,
    figures: &'a mut Tensor<B, f64, 1>,
    plan: &'a Plan<B>,
}

impl<'a, B: AtaBackend> Solver<'a, B> {
    /// A solver with one plan.
    ///
    /// # Errors
    /// For bounds that are no interval, no lower bound where a row of the matrix is all zeros and λ is 0, a negative λ, and
    /// a polish without a plan.
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
        // A dead LED stays at the lower bound, and an infinity there makes NaN of every product that meets it.
        if options.lambda == 0.0
            && lower == f32::NEG_INFINITY
            && let Some(row) = plan.row_sums().iter().position(|&v| v == 0.0)
        {
            let [channel, led] = [row / plan.size()[1], row % plan.size()[1]];
            let why = format!("row {led} of channel {channel} is all zeros and would stay at a lower bound of -inf");
            return Err(AtaError::value("bounds", why + "; give a finite one, or a lambda above 0"));
        }
        if options.tolerance.is_nan() || options.check_every == 0 {
            return Err(AtaError::value("tolerance", "it must be a number, and looked at every 1 iteration or more"));
        }
        if options.polish.is_some() && polish.is_none() {
            return Err(AtaError::value("polish", "there is no plan for it; use `with_polish`"));
        }
        Ok(Self { plan, polish, options })
    }

    /// Plans and their iterations, in order.
    fn stages(&self) -> Vec<(&'a Plan<B>, usize)> {
        let total = self.options.max_iterations;
        let last = self.options.polish.map_or(0, |p| p.iterations.min(total));
        let mut stages = vec![(self.plan, total - last)];
        stages.extend(self.polish.filter(|_| last > 0).map(|polish| (polish, last)));
        stages
    }

    /// Room for solutions of so many frames.
    ///
    /// # Errors
    /// For a start that does not fit, [`Execution::Persistent`] of a matrix that does not stay in shared memory, and when
    /// the device has no room.
    pub fn work(&self, b: &B, frames: usize) -> Result<SolveWork<B>> {
        let ring = |plan: &Plan<B>| {
            if self.options.execution == Execution::Launches {
                return Ok(false);
            }
            let fits = kernels::persists(b, plan.batch(frames), plan.matrix(), plan.options().unit_range)?;
            if !fits && self.options.execution == Execution::Persistent {
                let why = format!(
                    "the matrix in {} does not stay in this device's shared memory; use auto or launches",
                    plan.options().precision
                );
                return Err(AtaError::value("execution", why));
            }
            Ok(fits)
        };
        SolveWork::new(b, frames, &self.stages(), &self.options, ring)
    }

    /// Minimises for `b`, `[F, C, n]`; `x` gets the result. Waits for the queue.
    pub fn solve(&self, backend: &B, b: &Tensor<B, f32, 3>, x: &mut Tensor<B, f32, 3>) -> Result<SolveReport> {
        let mut work = self.work(backend, b.shape()[0])?;
        self.solve_into(backend, &mut work, b, x)?;
        self.report(backend, &work)
    }

    /// Queues a solution for `b`, `[F, C, n]`; `x` gets the result. Nothing is allocated, nothing is waited for, and nothing
    /// goes between host and device, so that it can be recorded as a whole; do it once before, so that kernels are loaded
    /// ([`Init::Previous`] has its frame then, too).
    ///
    /// # Errors
    /// When `work` is another solver's, or `b` or `x` have another shape.
    pub fn solve_into(
        &self,
        backend: &B,
        work: &mut SolveWork<B>,
        b: &Tensor<B, f32, 3>,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        let [channels, n] = self.plan.size();
        let batch = work.batch;
        for (what, shape) in [("b", b.shape()), ("x", x.shape())] {
            if shape != [batch.frames, channels, n] {
                return Err(AtaError::shape(what, [batch.frames, channels, n], &shape));
            }
        }
        if work.options != self.options || batch != self.plan.batch(batch.frames) {
            return Err(AtaError::value("work", "it was made by a solver with other options or another matrix"));
        }
        if batch.frames == 0 {
            return Ok(());
        }
        work.begin(backend, b, x)?;
        let stages = self.stages();
        {
            let SolveWork { rho, ax, figures, method, stages: rooms, .. } = &mut *work;
            let options = &self.options;
            for ((plan, _), stage) in stages.iter().zip(&mut *rooms) {
                stage.control.reset(backend)?;
                State { backend, batch, options, b, rho, ax, figures, plan }.run(stage, method, x)?;
            }
            if let (Some((plan, _)), Some(stage)) = (stages.last(), rooms.last_mut()) {
                State { backend, batch, options, b, rho, ax, figures, plan }.measure(&mut stage.work, x)?;
            }
        }
        work.keep(backend, x)
    }

    /// How the last solution with this room went. Waits for the queue.
    ///
    /// # Errors
    /// What went wrong on the queue before.
    pub fn report(&self, backend: &B, work: &SolveWork<B>) -> Result<SolveReport> {
        let mut report = SolveReport::default();
        let batch = work.batch;
        if batch.frames == 0 {
            return Ok(report);
        }
        // Products of an iteration, and those beside iterations of a stage.
        let (each, more) = match self.options.method {
            Method::Fista => (1, 0),
            Method::SteepestDescent => (2, 0),
            Method::ProjectedBb | Method::Cg => (1, 1),
        };
        for stage in work.stages.iter().filter(|stage| stage.iterations > 0) {
            let seen = if stage.looks > 0 { stage.control.seen(backend, batch)? } else { kernels::Seen::default() };
            if self.options.record_history {
                let figures = seen.history.chunks_exact(KKT_FIGURES * batch.lines());
                for (look, figures) in figures.enumerate() {
                    let sum = figures.chunks_exact(KKT_FIGURES).map(|f| f[1]).sum();
                    report.history.push((report.iterations + (look + 1) * self.options.check_every, sum));
                }
            }
            let done = if seen.stopped { seen.iteration } else { stage.iterations };
            report.iterations += done;
            report.products += each * done + more + seen.looks;
        }
        report.products += 1;
        let figures = work.figures.to_vec(backend)?;
        report.kkt = figures.chunks_exact(KKT_FIGURES).map(|f| f[0]).collect();
        report.objective = figures.chunks_exact(KKT_FIGURES).map(|f| f[1]).collect();
        report.converged = report.kkt.iter().map(|&k| k <= self.options.tolerance).collect();
        if self.options.record_history {
            report.history.push((report.iterations, report.objective.iter().sum()));
        }
        Ok(report)
    }
}

impl<B: AtaBackend> State<'_, B> {
    fn product(&mut self, work: &mut Work<B>, x: &Tensor<B, f32, 3>) -> Result<()> {
        self.plan.apply(self.backend, work, x.view(), self.ax.view_mut())
    }

    /// Queues the figures of `x`.
    fn measure(&mut self, work: &mut Work<B>, x: &Tensor<B, f32, 3>) -> Result<()> {
        self.product(work, x)?;
        let inputs = [self.ax.flat(), self.b.flat(), self.rho.flat(), x.flat()];
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        Ok(kernels::kkt(self.backend, self.batch, bounds, lambda, inputs, self.figures.flat_mut())?)
    }

    /// Queues a look behind iteration `k` where one is due; whether later iterations are known not to count.
    fn look(&mut self, stage: &mut Stage<B>, k: usize, x: &Tensor<B, f32, 3>) -> Result<bool> {
        let every = self.options.check_every;
        if stage.looks == 0 || !k.is_multiple_of(every) {
            return Ok(false);
        }
        self.measure(&mut stage.work, x)?;
        let (backend, at, tolerance) = (self.backend, [k, k / every - 1], self.options.tolerance);
        kernels::stop(backend, self.batch, &mut stage.control, tolerance, at, self.figures.flat())?;
        Ok(backend.known_to_have_stopped(stage.control.flag())?)
    }

    fn run(mut self, stage: &mut Stage<B>, method: &mut MethodWork<B>, x: &mut Tensor<B, f32, 3>) -> Result<()> {
        if stage.iterations == 0 {
            return Ok(());
        }
        match method {
            MethodWork::Fista { y, t, ones } => {
                self.backend.copy(x.flat(), y.flat_mut())?;
                self.backend.copy(ones.flat(), t.flat_mut())?;
                self.fista(stage, y, t, x)
            }
            MethodWork::Descent { g } => self.descend(stage, g, x),
            MethodWork::Bb(search) => self.borwein(stage, search, x),
            MethodWork::Cg(search) => self.conjugate(stage, search, x),
        }
    }

    fn fista(
        &mut self,
        stage: &mut Stage<B>,
        y: &mut Tensor<B, f32, 3>,
        t: &mut Tensor<B, f64, 1>,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        let (backend, batch) = (self.backend, self.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        let mut k = 0;
        while k < stage.iterations {
            let inputs = [self.b.flat(), self.rho.flat()];
            let xy = [x.flat_mut(), y.flat_mut()];
            if let Some(ring) = &mut stage.ring {
                let each = if stage.looks > 0 { self.options.check_every } else { stage.iterations };
                let (count, stop, matrix) = (each.min(stage.iterations - k), &stage.control, self.plan.matrix());
                kernels::fista_persistent(
                    backend,
                    stop,
                    batch,
                    matrix,
                    bounds,
                    lambda,
                    count,
                    inputs,
                    xy,
                    t.flat_mut(),
                    ring,
                )?;
                k += count;
            } else {
                self.product(&mut stage.work, y)?;
                let inputs = [self.ax.flat(), self.b.flat(), self.rho.flat()];
                let (x_, y_) = (x.flat_mut(), y.flat_mut());
                kernels::fista_step(backend, &stage.control, batch, bounds, lambda, inputs, x_, y_, t.flat_mut())?;
                k += 1;
            }
            if self.look(stage, k, x)? {
                break;
            }
        }
        Ok(())
    }

    fn descend(&mut self, stage: &mut Stage<B>, g: &mut Tensor<B, f32, 3>, x: &mut Tensor<B, f32, 3>) -> Result<()> {
        const FACTOR: f32 = 0.9;
        let (backend, batch) = (self.backend, self.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        for k in 1..=stage.iterations {
            self.product(&mut stage.work, x)?;
            let inputs = [self.ax.flat(), self.b.flat(), x.flat()];
            kernels::gradient(backend, batch, lambda, inputs, g.flat_mut())?;
            self.product(&mut stage.work, g)?;
            let (factors, ag) = ([lambda, FACTOR], self.ax.flat());
            kernels::sd_step(backend, &stage.control, batch, bounds, factors, g.flat(), ag, x.flat_mut())?;
            if self.look(stage, k, x)? {
                break;
            }
        }
        Ok(())
    }

    fn borwein(
        &mut self,
        stage: &mut Stage<B>,
        search: &mut kernels::BbState<B>,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        let (backend, batch) = (self.backend, self.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        // The step behind the last one chooses the best.
        for k in 0..=stage.iterations {
            let at = (k, k == stage.iterations);
            self.product(&mut stage.work, x)?;
            let inputs = [self.ax.flat(), self.b.flat(), self.rho.flat()];
            kernels::bb_step(backend, &stage.control, batch, bounds, lambda, at, inputs, search, x.flat_mut())?;
            if k < stage.iterations && self.look(stage, k + 1, x)? {
                break;
            }
        }
        Ok(())
    }

    fn conjugate(
        &mut self,
        stage: &mut Stage<B>,
        search: &mut kernels::CgState<B>,
        x: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        let (backend, batch) = (self.backend, self.batch);
        let (bounds, lambda) = (self.options.bounds, self.options.lambda);
        self.product(&mut stage.work, x)?;
        let inputs = [self.ax.flat(), self.b.flat(), self.rho.flat(), x.flat()];
        kernels::cg_start(backend, batch, lambda, inputs, search)?;
        for k in 1..=stage.iterations {
            self.product(&mut stage.work, search.direction())?;
            let inputs = [self.ax.flat(), self.rho.flat()];
            let stop = &stage.control;
            kernels::cg_step(backend, stop, batch, bounds, lambda, inputs, search, x.flat_mut())?;
            if self.look(stage, k, x)? {
                break;
            }
        }
        Ok(())
    }
}
