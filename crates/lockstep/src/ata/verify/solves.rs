//! Solvers on a wall: the iterates of the references in `f64`, and how close to the optimum each precision comes.

use ata_wmma::kernels::{AtaBackend, level};
use ata_wmma::reference::Matrix64;
use ata_wmma::{Init, Method, Plan, PlanOptions, PolishOptions, Precision, SolveOptions, Solver};
use gpu_core::Tensor;
use serde_json::Value;

use super::walls::WallData;
use super::{Case, Check, Verifier};
use crate::exit::Result;

/// From this size on, the limits for large walls hold.
const LARGE: usize = 1000;

/// The stored optimum's residual is below 1e-14; products of up to a few hundred terms are rounded here, too.
const OPTIMUM: f64 = 1e-13;

/// What the optimum is, as far as the case knows.
struct Optimum {
    x: Option<Vec<f64>>,
    f: Vec<f64>,
    residual: Vec<f64>,
}

impl Optimum {
    fn of(case: &Case<'_>) -> Result<Option<Self>> {
        let list = case.entry["residual_opt"].as_array();
        let residual: Option<Vec<f64>> = list.map(|v| v.iter().filter_map(Value::as_f64).collect());
        let (Some(f), Some(residual)) = (case.wide("f_opt")?, residual) else { return Ok(None) };
        Ok(Some(Self { x: case.wide("x_opt")?, f, residual }))
    }

    /// Largest relative excess of a frame.
    fn excess(&self, data: &WallData, x: &[f64]) -> f64 {
        self.excesses(data, x).into_iter().fold(0.0, |m, v| if v > m || v.is_nan() { v } else { m })
    }

    fn excesses(&self, data: &WallData, x: &[f64]) -> Vec<f64> {
        let (Some(a), Some(b)) = (&data.matrix64, &data.b) else { return vec![f64::NAN] };
        let f = a.objective(x, b);
        let channels = a.size()[0];
        let frames = f.chunks_exact(channels).zip(self.f.chunks_exact(channels)).zip(&self.residual);
        frames.map(|((f, best), r)| f.iter().zip(best).map(|(f, best)| f - best).sum::<f64>() / r).collect()
    }

    /// Share of levels that differ by more than `within`, and the largest difference.
    fn levels(&self, x: &[f64], within: u8) -> Option<(f64, f64)> {
        let best = self.x.as_ref()?;
        let differences = || x.iter().zip(best).map(|(x, best)| level::<u8>(*x).abs_diff(level::<u8>(*best)));
        let more = differences().filter(|&d| d > within).count();
        Some((more as f64 / best.len() as f64, f64::from(differences().max().unwrap_or(0))))
    }
}

impl Verifier<'_> {
    pub(super) fn solves<B: AtaBackend>(&mut self, b: &B, case: &Case<'_>, data: &WallData) {
        let optimum = match Optimum::of(case) {
            Ok(optimum) => optimum,
            Err(e) => return self.line(case.id, "optimum", Err(e)),
        };
        self.line(case.id, "solver f64", traces(case, data, optimum.as_ref()));
        let Some(optimum) = optimum.filter(|_| data.real.is_some() && data.b.is_some()) else {
            return self.skip(case.id, "solver", "the optimum, the matrix or its right side is absent");
        };
        for precision in self.args.precisions() {
            let checks = solve(b, data, &optimum, precision, None);
            self.line(case.id, &format!("solve {precision}"), checks);
        }
        if self.args.precision.is_none_or(|p| p == Precision::F16) {
            let checks = solve(b, data, &optimum, Precision::F16, Some(Precision::Tf32x3));
            self.line(case.id, "solve f16+", checks);
        }
    }
}

/// Iterates in `f64` against those of the files.
fn traces(case: &Case<'_>, data: &WallData, optimum: Option<&Optimum>) -> Result<Vec<Check>> {
    const MARKS: [usize; 6] = [1, 2, 5, 10, 20, 50];
    let (Some(a), Some(b)) = (&data.matrix64, &data.b) else { return Ok(Vec::new()) };
    let mut checks = Vec::new();
    if let Some(x) = optimum.and_then(|optimum| optimum.x.as_ref()) {
        checks.extend(conditions(a, b, x));
    }
    let names = [("fista", "fista iterates", "fista excess"), ("sd", "sd iterates", "sd excess")];
    for (method, iterates, excess) in names {
        let marks: Vec<usize> =
            MARKS.into_iter().filter(|k| case.path(&format!("{method}_{k:03}")).is_file()).collect();
        if marks.is_empty() {
            continue;
        }
        let own = if method == "fista" { a.fista(b, &marks) } else { a.steepest_descent(b, &marks) };
        let (mut furthest, mut off) = (0.0f64, 0.0f64);
        for (k, x) in marks.iter().zip(&own) {
            let name = format!("{method}_{k:03}");
            let Some(stored) = case.wide(&name)? else { continue };
            if *k <= 20 {
                let difference = x.iter().zip(&stored).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                furthest = if stored.len() == x.len() { furthest.max(difference) } else { f64::NAN };
            } else if let (Some(optimum), Some(wanted)) = (optimum, case.entry["excess"][&name].as_array()) {
                let own = optimum.excesses(data, x);
                for (own, wanted) in own.iter().zip(wanted.iter().filter_map(Value::as_f64)) {
                    off = off.max((own - wanted).abs() / wanted);
                }
            }
        }
        checks.push(Check::new(iterates, furthest, 1e-9));
        checks.push(Check::new(excess, off, 0.01));
    }
    Ok(checks)
}

/// The conditions of an optimum, in `f64`: values inside the bounds, and no gradient but one that a bound holds against,
/// over the row sums.
fn conditions(a: &Matrix64, b: &[f64], x: &[f64]) -> Vec<Check> {
    let (ax, _) = a.product(x);
    let rho = a.row_sums();
    let (mut furthest, mut outside) = (0.0f64, 0);
    for (i, ((&x, ax), b)) in x.iter().zip(ax).zip(b).enumerate() {
        let rho = rho[i % rho.len()];
        let step = if rho > 0.0 { (ax - b) / rho } else { 0.0 };
        furthest = furthest.max((x - (x - step).clamp(0.0, 1.0)).abs());
        outside += usize::from(!(0.0..=1.0).contains(&x));
    }
    vec![Check::none("optimum outside", outside), Check::new("optimum's kkt", furthest, OPTIMUM)]
}

fn solve<B: AtaBackend>(
    backend: &B,
    data: &WallData,
    optimum: &Optimum,
    precision: Precision,
    polish: Option<Precision>,
) -> Result<Vec<Check>> {
    let (Some(a), Some(b)) = (&data.real, &data.b) else { return Ok(Vec::new()) };
    let shape = [b.len() / (a.channels() * a.n()), a.channels(), a.n()];
    let narrow: Vec<f32> = b.iter().map(|&v| v as f32).collect();
    let right = Tensor::from_slice(backend, shape, &narrow)?;
    let plan = Plan::new(backend, a, PlanOptions { precision, unit_range: true, ..PlanOptions::default() })?;
    let run = |iterations: usize, init: Init, plan: &Plan<B>| -> Result<Vec<f64>> {
        let mut x = Tensor::from_slice(backend, shape, &vec![f32::NAN; narrow.len()])?;
        let options =
            SolveOptions { method: Method::Fista, max_iterations: iterations, init, ..SolveOptions::default() };
        Solver::new(plan, options)?.solve(backend, &right, &mut x)?;
        Ok(x.to_vec(backend)?.into_iter().map(f64::from).collect())
    };
    let mut checks = Vec::new();
    let outside = |x: &[f64]| x.iter().filter(|v| !(0.0..=1.0).contains(*v)).count();
    let fine = polish.is_some() || precision.normwise_bound() < 1e-5;
    if let Some(polish) = polish {
        let second =
            Plan::new(backend, a, PlanOptions { precision: polish, unit_range: true, ..PlanOptions::default() })?;
        let mut x = Tensor::zeros(backend, shape)?;
        let polish = Some(PolishOptions { iterations: 300 });
        let options = SolveOptions { max_iterations: 800, polish, ..SolveOptions::default() };
        Solver::with_polish(&plan, &second, options)?.solve(backend, &right, &mut x)?;
        let x: Vec<f64> = x.to_vec(backend)?.into_iter().map(f64::from).collect();
        checks.push(Check::none("outside", outside(&x)));
        checks.push(Check::new("excess", optimum.excess(data, &x), 1e-6));
        levels(&mut checks, optimum, &x, 0, 1e-3, 1.0);
        return Ok(checks);
    }
    if a.n() >= LARGE && fine {
        for (name, k, limit) in [
            ("excess 100", 100, 4e-3),
            ("excess 200", 200, 4e-4),
            ("excess 400", 400, 3e-5),
            ("excess 1000", 1000, 1e-6),
        ] {
            let x = run(k, Init::Diagonal, &plan)?;
            checks.push(Check::new(name, optimum.excess(data, &x), limit));
            if k == 1000 {
                checks.push(Check::none("outside", outside(&x)));
                levels(&mut checks, optimum, &x, 0, 0.01, f64::INFINITY);
            }
        }
        return Ok(checks);
    }
    let x = run(500, Init::Diagonal, &plan)?;
    checks.push(Check::none("outside", outside(&x)));
    if fine {
        checks.push(Check::new("excess", optimum.excess(data, &x), 1e-6));
        levels(&mut checks, optimum, &x, 0, 1e-3, 1.0);
        let early = run(100, Init::Diagonal, &plan)?;
        checks.push(Check::new("excess 100", optimum.excess(data, &early), 2e-4));
    } else if precision != Precision::Bf16 && a.n() < LARGE {
        checks.push(Check::new("excess", optimum.excess(data, &x), 1e-5));
        levels(&mut checks, optimum, &x, 1, 0.01, 12.0);
    }
    Ok(checks)
}

/// Levels against those of the optimum: the share further than `within`, and the largest difference.
fn levels(checks: &mut Vec<Check>, optimum: &Optimum, x: &[f64], within: u8, share: f64, furthest: f64) {
    if let Some((more, largest)) = optimum.levels(x, within) {
        checks.push(Check::new(if within == 0 { "levels differing" } else { "levels beyond 1" }, more, share));
        if furthest.is_finite() {
            checks.push(Check::new("by at most", largest, furthest));
        }
    }
}
