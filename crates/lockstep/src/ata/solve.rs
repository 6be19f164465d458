//! `lockstep ata solve`.

use std::path::PathBuf;

use ata_wmma::kernels::{self, AtaBackend, Batch, Level};
use ata_wmma::{
    AnyPatterns, BlockDiag, Execution, Init, Method, Plan, PlanOptions, PolishOptions, Precision, SolveOptions,
    SolveReport, Solver, folder, npy,
};
use clap::Args;
use gpu_core::{Tensor, with_backend};
use serde_json::json;

use super::files::{read_frames, read_order, read_vectors};
use super::walls::{TransferName, UNIT, right_sides};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::session::Session;

/// Options of `ata solve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata solve --matrix matrix/ --atb b.npy --out x.npy --u8 led.npy
  lockstep ata solve --matrix matrix/ --patterns wall/ --frames video.npy --out x.npy --iters 200 --precision tf32x3")]
#[command(group = clap::ArgGroup::new("levels").multiple(true).args(["bytes", "words"]))]
#[command(group = clap::ArgGroup::new("right").required(true).args(["atb", "atb_int", "frames"]))]
pub(crate) struct Solve {
    /// Folder of the matrix
    #[arg(long, value_name = "DIR")]
    matrix: PathBuf,
    /// Right sides [F, C, n]
    #[arg(long, value_name = "FILE")]
    atb: Option<PathBuf>,
    /// Right sides as exact integer sums, 65025 times too large
    #[arg(long, value_name = "FILE")]
    atb_int: Option<PathBuf>,
    /// Folder of the patterns, for --frames
    #[arg(long, value_name = "DIR")]
    patterns: Option<PathBuf>,
    /// Target frames, whose right sides are summed first
    #[arg(long, value_name = "PATH", requires = "patterns")]
    frames: Option<PathBuf>,
    /// Applied to the frames first
    #[arg(long, value_enum, default_value_t)]
    transfer: TransferName,
    /// Where the values go
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Where the values go as bytes
    #[arg(long = "u8", value_name = "FILE")]
    bytes: Option<PathBuf>,
    /// Where the values go in 16 bits
    #[arg(long = "u16", value_name = "FILE")]
    words: Option<PathBuf>,
    /// Gamma of the LEDs: levels go through the table that brings light out in proportion to the values
    #[arg(long, value_name = "G", requires = "levels")]
    gamma: Option<f64>,
    /// Levels as [F, n, C] instead of [F, C, n]
    #[arg(long, requires = "levels")]
    interleaved: bool,
    /// fista, sd, bb or cg
    #[arg(long, value_name = "NAME", default_value = "fista")]
    method: Method,
    /// How the iterations of fista reach a device: auto, launches, or persistent (one launch with the matrix in shared
    /// memory); the values have the same bits
    #[arg(long, value_name = "HOW", default_value = "auto")]
    execution: Execution,
    /// Iterations at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    iters: usize,
    /// Stops when no value would move further than this
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    tol: f64,
    /// Start from these values [F, C, n]
    #[arg(long, value_name = "FILE")]
    warm: Option<PathBuf>,
    /// Added to the diagonal
    #[arg(long, value_name = "L", default_value_t = 0.0)]
    lambda: f32,
    /// Writes values in the order of the LEDs instead of the matrix's (order.npy of the patterns, or of the matrix)
    #[arg(long)]
    physical_order: bool,
    /// Where a report goes as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// f32, tf32, tf32x3, f16, f16x2, bf16 or bf16x3; the last quarter of f16 iterations of fista is done in tf32x3
    /// [default: f16 with fista, tf32x3 with the others]
    #[arg(long, value_name = "NAME")]
    precision: Option<Precision>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Values, their levels in 8 and 16 bits, and what the solver did.
struct Solved {
    x: Vec<f32>,
    bytes: Vec<u8>,
    words: Vec<u16>,
    report: SolveReport,
}

impl Solve {
    /// What was asked for; else what a video needs: f16 moves half the bytes, and its last quarter makes up for it.
    fn precision(&self) -> Precision {
        let usual = if self.method == Method::Fista { Precision::F16 } else { Precision::Tf32x3 };
        self.precision.unwrap_or(usual)
    }

    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(gamma) = self.gamma.filter(|g| !(g.is_finite() && *g > 0.0)) {
            return Err(Failure::usage(format!("gamma: {gamma} is no positive number; displays have about 2.2")));
        }
        let a = folder::load_matrix(&self.matrix)?;
        let size = [a.channels(), a.n()];
        let any = self.backend.open(None)?;
        let patterns = self.patterns.as_ref().map(|p| AnyPatterns::load(p)).transpose()?;
        let (shape, b) = match (&self.atb, &self.atb_int, &self.frames, &patterns) {
            (Some(path), ..) => read_vectors(path, size)?,
            (_, Some(path), ..) => {
                let array = npy::read(path)?;
                if matches!(array.values, npy::Values::F32(_) | npy::Values::F64(_)) {
                    let why = "descr: floating point numbers where integers are expected; --atb takes these";
                    return Err(Failure::input(path, why));
                }
                let shape = <[usize; 3]>::try_from(array.shape.as_slice()).ok().filter(|s| s[1..] == size);
                let shape = shape.ok_or_else(|| Failure::input(path, format!("shape: {:?}", array.shape)))?;
                (shape, array.values.to_f64().iter().map(|v| (v / UNIT) as f32).collect())
            }
            (_, _, Some(path), Some(patterns)) => {
                let [n, channels] = patterns.counts();
                if [channels, n] != size {
                    let folder = self.patterns.as_deref().unwrap_or(path);
                    let why = format!("{n} patterns of {channels} channels, the matrix has {} of {}", size[1], size[0]);
                    return Err(Failure::input(folder, why));
                }
                let frames = read_frames(path, channels, patterns.size())?;
                let transfer = self.transfer.of(channels);
                let (real, _) = with_backend!(&any, |b| right_sides(b, patterns, &frames, &transfer))?;
                ([frames.count, size[0], size[1]], real)
            }
            _ => return Err(Failure::usage("no right side; give --atb, --atb-int or --frames with --patterns")),
        };
        let inverse: Vec<u32> = if self.physical_order {
            let path = self.patterns.as_ref().unwrap_or(&self.matrix).join("order.npy");
            let inverse = read_order(&path)?.inverse;
            if inverse.len() != a.n() {
                return Err(Failure::input(&path, format!("shape: {} entries for {} rows", inverse.len(), a.n())));
            }
            inverse
        } else {
            (0..a.n() as u32).collect()
        };
        let Solved { mut x, bytes, words, report } = with_backend!(&any, |d| self.solve(d, &a, shape, &b, &inverse))?;
        if self.physical_order {
            x = x.chunks_exact(a.n()).flat_map(|line| inverse.iter().map(|&i| line[i as usize])).collect();
        }
        npy::write(&self.out, &shape, &x)?;
        let [frames, channels, n] = shape;
        let turned = if self.interleaved { [frames, n, channels] } else { shape };
        if let Some(path) = &self.bytes {
            npy::write(path, &turned, &bytes)?;
        }
        if let Some(path) = &self.words {
            npy::write(path, &turned, &words)?;
        }
        let document = json!({
            "iterations": report.iterations, "products": report.products, "objective": report.objective,
            "kkt": report.kkt, "converged": report.converged, "history": report.history,
            "method": self.method.name(), "precision": self.precision().name(), "backend": any.name(), "shape": shape,
        });
        if let Some(path) = &self.report {
            files::write(path, format!("{document:#}\n").as_bytes())?;
        }
        let furthest = report.kkt.iter().copied().fold(0.0, f64::max);
        session.note(format!(
            "wrote {}: {} frames, {} iterations, {} products, furthest step {furthest:.1e}",
            self.out.display(),
            shape[0],
            report.iterations,
            report.products
        ));
        session.document(&document)?;
        Ok(Exit::Ok)
    }

    fn solve<B: AtaBackend>(
        &self,
        backend: &B,
        a: &BlockDiag,
        shape: [usize; 3],
        b: &[f32],
        inverse: &[u32],
    ) -> Result<Solved> {
        // The vectors of fista stay near its bounds; those of the others are gradients, too.
        let unit_range = self.method == Method::Fista;
        let plan_options = PlanOptions { precision: self.precision(), unit_range, ..PlanOptions::default() };
        let plan = Plan::new(backend, a, plan_options)?;
        let polish = match self.precision() {
            Precision::F16 if self.method == Method::Fista => {
                let options = PlanOptions { precision: Precision::Tf32x3, ..plan_options };
                Some(Plan::new(backend, a, options)?)
            }
            _ => None,
        };
        let init = match &self.warm {
            Some(path) => Init::Given(read_vectors(path, [shape[1], shape[2]])?.1),
            None => Init::Diagonal,
        };
        let options = SolveOptions {
            method: self.method,
            execution: self.execution,
            max_iterations: self.iters,
            tolerance: self.tol,
            lambda: self.lambda,
            init,
            polish: polish.as_ref().map(|_| PolishOptions { iterations: self.iters.div_ceil(4) }),
            record_history: self.report.is_some(),
            ..SolveOptions::default()
        };
        let solver = match &polish {
            Some(polish) => Solver::with_polish(&plan, polish, options)?,
            None => Solver::new(&plan, options)?,
        };
        let right = Tensor::from_slice(backend, shape, b)?;
        let mut x = Tensor::zeros(backend, shape)?;
        let report = solver.solve(backend, &right, &mut x)?;
        let inverse = Tensor::from_slice(backend, [inverse.len()], inverse)?;
        let batch = plan.batch(shape[0]);
        let bytes = self.levels(backend, batch, &x, &inverse, self.bytes.is_some())?;
        let words = self.levels(backend, batch, &x, &inverse, self.words.is_some())?;
        Ok(Solved { x: x.to_vec(backend)?, bytes, words, report })
    }

    /// Levels of the values, where they are asked for.
    fn levels<B: AtaBackend, T: Level>(
        &self,
        backend: &B,
        batch: Batch,
        x: &Tensor<B, f32, 3>,
        inverse: &Tensor<B, u32, 1>,
        wanted: bool,
    ) -> Result<Vec<T>> {
        if !wanted {
            return Ok(Vec::new());
        }
        let table = self.gamma.map_or_else(Vec::new, kernels::gamma_table::<T>);
        let table = Tensor::from_slice(backend, [table.len()], &table)?;
        let mut levels = Tensor::<B, T, 1>::scratch(backend, [x.len()])?;
        kernels::quantise(backend, batch, x.flat(), inverse.flat(), table.flat(), self.interleaved, levels.flat_mut())?;
        Ok(levels.to_vec(backend)?)
    }
}
