//! What a solver is told, and what it tells.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{AtaError, Result};

/// How the minimum is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Accelerated projected gradients with row-sum steps and restart; one product an iteration.
    #[default]
    Fista,
    /// Projected gradients, one step length a frame; two products an iteration.
    SteepestDescent,
    /// Projected gradients with alternating Barzilai-Borwein steps in the variables scaled by `√ρ`, which shows the best
    /// iterate; one product an iteration, and one at the end.
    ProjectedBb,
    /// Conjugate gradients with the row sums as preconditioner, without bounds; what they show is clipped when bounds are
    /// finite.
    Cg,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fista, Self::SteepestDescent, Self::ProjectedBb, Self::Cg];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fista => "fista",
            Self::SteepestDescent => "sd",
            Self::ProjectedBb => "bb",
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

/// How the iterations of [`Method::Fista`] reach a device. The results have the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// All in one launch where the matrix fits into the shared memory of a device, and else as separate launches.
    #[default]
    Auto,
    /// A product and a step as launches of their own.
    Launches,
    /// All between two looks in one launch; an error where they do not fit.
    Persistent,
}

impl FromStr for Execution {
    type Err = AtaError;
    fn from_str(s: &str) -> Result<Self, AtaError> {
        match s {
            "auto" => Ok(Self::Auto),
            "launches" => Ok(Self::Launches),
            "persistent" => Ok(Self::Persistent),
            _ => Err(AtaError::value("execution", format!("`{s}` is none of auto, launches, persistent"))),
        }
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
    /// The last frame of the solution before, with the same [`SolveWork`](crate::SolveWork), for every frame;
    /// [`Diagonal`](Self::Diagonal) where there was none.
    Previous,
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
    /// How the iterations of Fista reach a device.
    pub execution: Execution,
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
    /// Iterations at the end with the plan for polishing; [`Solver::with_polish`](crate::Solver::with_polish) gives the plan.
    pub polish: Option<PolishOptions>,
    /// Whether the objective is recorded at each look.
    pub record_history: bool,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            method: Method::Fista,
            execution: Execution::Auto,
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

impl SolveOptions {
    /// Whether there are looks between iterations.
    pub(super) fn looks(&self) -> bool {
        self.tolerance > 0.0 || self.record_history
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
