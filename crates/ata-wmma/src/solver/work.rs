//! What a solution needs beside its operands, made before it, so that a solution itself only queues work.

use gpu_core::Tensor;

use super::{Init, Method, SolveOptions};
use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, Batch, BbState, CgState, Control, KKT_FIGURES, Ring};
use crate::plan::{Plan, Work};

/// Room of a [`Solver`](super::Solver) for one number of frames: with it a solution allocates nothing, moves nothing
/// between host and device and waits for nothing, so that all of it can be recorded.
#[derive(Debug)]
pub struct SolveWork<B: AtaBackend> {
    pub(super) batch: Batch,
    pub(super) options: SolveOptions,
    pub(super) rho: Tensor<B, f32, 1>,
    pub(super) ax: Tensor<B, f32, 3>,
    pub(super) figures: Tensor<B, f64, 1>,
    pub(super) start: Start<B>,
    pub(super) method: MethodWork<B>,
    pub(super) stages: Vec<Stage<B>>,
}

/// Where a search begins.
#[derive(Debug)]
pub(super) enum Start<B: AtaBackend> {
    Diagonal,
    /// `[F, C, n]`.
    At(Tensor<B, f32, 1>),
    /// The last frame of the solution before, `[C, n]`, once there was one.
    Previous(Tensor<B, f32, 1>, bool),
}

/// What iterations of a method hand on.
#[derive(Debug)]
pub(super) enum MethodWork<B: AtaBackend> {
    Fista { y: Tensor<B, f32, 3>, t: Tensor<B, f64, 1>, ones: Tensor<B, f64, 1> },
    Descent { g: Tensor<B, f32, 3> },
    Bb(BbState<B>),
    Cg(CgState<B>),
}

/// Iterations with one plan, and their looks.
#[derive(Debug)]
pub(super) struct Stage<B: AtaBackend> {
    pub(super) work: Work<B>,
    pub(super) control: Control<B>,
    /// Where iterations go in one launch.
    pub(super) ring: Option<Ring<B>>,
    pub(super) iterations: usize,
    /// Looks at most.
    pub(super) looks: usize,
}

/// The next `f32` that is not below: row sums must majorise the matrix.
fn up(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v { near.next_up() } else { near }
}

impl<B: AtaBackend> SolveWork<B> {
    /// Room for stages with these plans, which have so many iterations.
    pub(super) fn new(
        b: &B,
        frames: usize,
        plans: &[(&Plan<B>, usize)],
        options: &SolveOptions,
        ring: impl Fn(&Plan<B>) -> Result<bool>,
    ) -> Result<Self> {
        let plan = plans[0].0;
        let batch = plan.batch(frames);
        let [channels, n] = plan.size();
        let shape = [frames, channels, n];
        let rho: Vec<f32> = plan.row_sums().iter().map(|&v| up(v + f64::from(options.lambda))).collect();
        let ones = vec![1.0; batch.lines()];
        let method = match options.method {
            Method::Fista => MethodWork::Fista {
                y: Tensor::scratch(b, shape)?,
                t: Tensor::scratch(b, [batch.lines()])?,
                ones: Tensor::from_slice(b, [batch.lines()], &ones)?,
            },
            Method::SteepestDescent => MethodWork::Descent { g: Tensor::scratch(b, shape)? },
            Method::ProjectedBb => MethodWork::Bb(BbState::scratch(b, batch)?),
            Method::Cg => MethodWork::Cg(CgState::scratch(b, batch)?),
        };
        let mut stages = Vec::new();
        for &(plan, iterations) in plans {
            let looks = if options.looks() { iterations / options.check_every } else { 0 };
            let fista = options.method == Method::Fista && iterations > 0 && !batch.is_empty();
            let ring = if fista && ring(plan)? { Some(Ring::scratch(b, batch, plan.matrix())?) } else { None };
            let (work, control) = (plan.work(b, frames)?, Control::new(b, batch, looks)?);
            stages.push(Stage { work, control, ring, iterations, looks });
        }
        Ok(Self {
            batch,
            options: options.clone(),
            rho: Tensor::from_slice(b, [rho.len()], &rho)?,
            ax: Tensor::scratch(b, shape)?,
            figures: Tensor::scratch(b, [KKT_FIGURES * batch.lines()])?,
            start: Start::new(b, batch, options)?,
            method,
            stages,
        })
    }

    /// Frames that it has room for.
    pub fn frames(&self) -> usize {
        self.batch.frames
    }

    /// Queues the start.
    pub(super) fn begin(&self, backend: &B, b: &Tensor<B, f32, 3>, x: &mut Tensor<B, f32, 3>) -> Result<()> {
        match &self.start {
            Start::At(values) => backend.copy(values.flat(), x.flat_mut())?,
            Start::Previous(values, true) => {
                for f in 0..self.batch.frames {
                    backend.copy(values.flat(), x.slab_mut(f..f + 1)?.flat())?;
                }
            }
            Start::Diagonal | Start::Previous(_, false) => {
                kernels::start(backend, self.batch, self.options.bounds, b.flat(), self.rho.flat(), x.flat_mut())?;
            }
        }
        Ok(())
    }

    /// Keeps the last frame where the next solution begins with it.
    pub(super) fn keep(&mut self, backend: &B, x: &Tensor<B, f32, 3>) -> Result<()> {
        if let Start::Previous(values, known) = &mut self.start {
            let last = self.batch.frames - 1;
            backend.copy(x.slab(last..last + 1)?.flat(), values.flat_mut())?;
            *known = true;
        }
        Ok(())
    }
}

impl<B: AtaBackend> Start<B> {
    fn new(b: &B, batch: Batch, options: &SolveOptions) -> Result<Self> {
        let [lower, upper] = options.bounds;
        let line = batch.channels * batch.n;
        Ok(match &options.init {
            Init::Diagonal => Self::Diagonal,
            Init::Previous => Self::Previous(Tensor::scratch(b, [line])?, false),
            Init::Zero => {
                let zero = if lower > 0.0 { lower } else { 0f32.min(upper) };
                Self::At(Tensor::from_slice(b, [batch.len()], &vec![zero; batch.len()])?)
            }
            Init::Given(values) => {
                if values.len() != batch.len() && values.len() != line {
                    let wanted = [batch.frames, batch.channels, batch.n];
                    return Err(AtaError::shape("start", wanted, &[values.len()]));
                }
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    let value = f64::from(values[at]);
                    return Err(AtaError::NonFinite { what: "start".into(), index: vec![at], value });
                }
                let all: Vec<f32> = values.iter().cycle().take(batch.len()).map(|v| v.clamp(lower, upper)).collect();
                Self::At(Tensor::from_slice(b, [batch.len()], &all)?)
            }
        })
    }
}
