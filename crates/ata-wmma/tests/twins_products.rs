//! Products in every precision: against dense f64 loops, and CUDA against the CPU. Blocks are pairwise different, so that
//! a wrong block index cannot hide.

mod oracle;

use ata_wmma::kernels::{self, Batch, Vectors};
use ata_wmma::{AtaBackend, AtaError, BlockDiag, Engine, Layout, Plan, PlanOptions, Precision, SymmetryPolicy};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Error, Result, Tensor, twins};
use ndarray::Array5;
use oracle::matrix::Recipe;

fn core<T>(result: ata_wmma::Result<T>) -> Result<T> {
    result.map_err(|e| match e {
        AtaError::Gpu(e) => e,
        other => Error::value("ata", other.to_string()),
    })
}

#[derive(Clone, Debug)]
struct Case {
    recipe: Recipe,
    full: bool,
    alpha: f32,
    beta: f32,
}

fn cases(exact: bool) -> impl Strategy<Value = Case> {
    // Some strips have one block row; in large ones each warp of a block takes several tiles.
    let size = prop_oneof![
        2 => (1..17_usize, 0..128_u32),
        6 => (17..112_usize, 0..128_u32),
        1 => (130..400_usize, prop_oneof![any::<u32>(), Just(u32::MAX)]),
    ];
    let factors = prop_oneof![3 => Just((1.0f32, 0.0f32)), 1 => Just((2.0, -1.0)), 1 => Just((-0.5, 2.0))];
    let holes = prop_oneof![Just(0u64), Just(2), Just(3)];
    (size, 1..4_usize, 1..18_usize, holes, 0..1000_u64, any::<bool>(), factors).prop_map(
        move |((n, diagonals), channels, frames, holes, seed, full, (alpha, beta))| Case {
            recipe: Recipe { n, channels, frames, diagonals, holes, seed, exact },
            full,
            alpha,
            beta,
        },
    )
}

/// The matrix of a recipe; slots that must not be read hold NaN.
fn matrix(r: &Recipe) -> ata_wmma::Result<BlockDiag> {
    let offsets = r.offsets();
    let blocks = Array5::from_shape_fn((r.channels, offsets.len(), r.rows(), 16, 16), |(c, k, i, row, column)| {
        let (i, j) = (16 * i + row, 16 * (i + offsets[k] as usize) + column);
        if i < r.n && j < r.n { r.element(c, i, j) as f32 } else { f32::NAN }
    });
    BlockDiag::from_blocks(blocks.view(), &offsets, r.n, SymmetryPolicy::default())
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Options of a plan: how it multiplies, and whether vectors are cast before.
fn how(precision: Precision, engine: Engine, unit_range: bool) -> PlanOptions {
    PlanOptions { precision, engine, unit_range, ..PlanOptions::default() }
}

fn plan<B: AtaBackend>(b: &B, case: &Case, options: PlanOptions) -> Result<Plan<B>> {
    let layout = if case.full { Layout::Full } else { Layout::Upper };
    core(Plan::new(b, &core(matrix(&case.recipe))?, PlanOptions { layout, ..options }))
}

fn run<B: AtaBackend>(b: &B, case: &Case, options: PlanOptions) -> Result<Outputs> {
    let (r, plan) = (&case.recipe, plan(b, case, options)?);
    let shape = [r.frames, r.channels, r.n];
    let x = Tensor::from_slice(b, shape, &narrow(&r.x()))?;
    // What is not to be read is poison.
    let before = if case.beta == 0.0 { vec![f32::NAN; x.len()] } else { narrow(&r.before()) };
    let mut y = Tensor::from_slice(b, shape, &before)?;
    let mut work = core(plan.work(b, r.frames))?;
    core(plan.apply_axpby(b, &mut work, case.alpha, x.view(), case.beta, y.view_mut()))?;
    Ok(vec![Output::of(b, &y)?])
}

fn expected(case: &Case) -> Outputs {
    let (y, _) = case.recipe.product();
    let before = case.recipe.before();
    let (alpha, beta) = (f64::from(case.alpha), f64::from(case.beta));
    let all = y.iter().zip(&before).map(|(y, before)| alpha * y + if beta == 0.0 { 0.0 } else { beta * before });
    vec![Output::F64(vec![y.len()], all.collect())]
}

/// Largest `|α| |A| |x| + |β y|` of a row.
fn size(case: &Case) -> f64 {
    let (_, w) = case.recipe.product();
    f64::from(case.alpha.abs()) * w.iter().copied().fold(0.0, f64::max) + f64::from(case.beta.abs())
}

/// The precision's componentwise bound.
fn bound(precision: Precision) -> impl Fn(&Case) -> Tolerance {
    move |case| Tolerance::abs(precision.componentwise_bound() * size(case))
}

/// Both sides multiply the same rounded operands; sums have `K + 8` roundings each, pieces three or six times as many.
fn sums(case: &Case) -> Tolerance {
    Tolerance::abs((case.recipe.n + 8) as f64 * 2f64.powi(-22) * size(case))
}

twins! {
    kernels = ["ata_apply_fma"];
    /// small integers: every operand, product and sum is exact
    fma_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F32, Engine::Fma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; both twins sum in one order
    fma_close: cases(false), Case => |b, c| run(b, c, how(Precision::F32, Engine::Fma, true)), oracle = expected,
        tolerance = bound(Precision::F32), twins = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_wmma32"];
    /// small integers: every operand, product and sum is exact
    wmma32_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F16, Engine::Wmma32, false)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    wmma32_close: cases(false), Case => |b, c| run(b, c, how(Precision::F16, Engine::Wmma32, false)), oracle = expected,
        tolerance = bound(Precision::F16), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_f16"];
    /// small integers: every operand, product and sum is exact
    f16_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F16, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    f16_close: cases(false), Case => |b, c| run(b, c, how(Precision::F16, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::F16), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_f16x2"];
    /// small integers: every operand, product and sum is exact
    f16x2_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F16x2, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    f16x2_close: cases(false), Case => |b, c| run(b, c, how(Precision::F16x2, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::F16x2), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_bf16"];
    /// small integers: every operand, product and sum is exact
    bf16_exact: cases(true), Case => |b, c| run(b, c, how(Precision::Bf16, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    bf16_close: cases(false), Case => |b, c| run(b, c, how(Precision::Bf16, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::Bf16), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_bf16x3"];
    /// small integers: every operand, product and sum is exact
    bf16x3_exact: cases(true), Case => |b, c| run(b, c, how(Precision::Bf16x3, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    bf16x3_close: cases(false), Case => |b, c| run(b, c, how(Precision::Bf16x3, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::Bf16x3), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_tf32"];
    /// small integers: every operand, product and sum is exact
    tf32_exact: cases(true), Case => |b, c| run(b, c, how(Precision::Tf32, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    tf32_close: cases(false), Case => |b, c| run(b, c, how(Precision::Tf32, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::Tf32), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_tf32x3"];
    /// small integers: every operand, product and sum is exact
    tf32x3_exact: cases(true), Case => |b, c| run(b, c, how(Precision::Tf32x3, Engine::Mma, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    tf32x3_close: cases(false), Case => |b, c| run(b, c, how(Precision::Tf32x3, Engine::Mma, true)), oracle = expected,
        tolerance = bound(Precision::Tf32x3), twins = sums;
}

twins! {
    kernels = ["ata_apply_mma_f16_cast"];
    /// small integers: every operand, product and sum is exact
    f16_cast_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F16, Engine::Mma, false)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    f16_cast_close: cases(false), Case => |b, c| run(b, c, how(Precision::F16, Engine::Mma, false)), oracle = expected,
        tolerance = bound(Precision::F16), twins = sums;
}
twins! {
    kernels = ["ata_apply_mma_f16x2_cast"];
    /// small integers: every operand, product and sum is exact
    f16x2_cast_exact: cases(true), Case => |b, c| run(b, c, how(Precision::F16x2, Engine::Mma, false)),
        oracle = expected, tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    f16x2_cast_close: cases(false), Case => |b, c| run(b, c, how(Precision::F16x2, Engine::Mma, false)),
        oracle = expected, tolerance = bound(Precision::F16x2), twins = sums;
}

/// Matrices of several thread blocks of two warps.
fn tall() -> impl Strategy<Value = Case> {
    (769..900_usize, 0..1000_u64, 0..128_u32, prop_oneof![Just(0u64), Just(3)]).prop_map(
        |(n, seed, diagonals, holes)| {
            let recipe = Recipe { n, channels: 1, frames: 2, diagonals: diagonals | 1 << 13, holes, seed, exact: true };
            Case { recipe, full: false, alpha: 1.0, beta: 0.0 }
        },
    )
}

/// The upper triangle alone.
fn upper(exact: bool) -> impl Strategy<Value = Case> {
    cases(exact).prop_map(|case| Case { full: false, ..case })
}

twins! {
    kernels = ["ata_apply_band_f16"];
    /// small integers: every operand, product and sum is exact
    band_f16_exact: upper(true), Case => |b, c| run(b, c, how(Precision::F16, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    band_f16_close: upper(false), Case => |b, c| run(b, c, how(Precision::F16, Engine::Band, true)), oracle = expected,
        tolerance = bound(Precision::F16), twins = sums;
    /// small integers, and warps that add to each other's rows
    band_f16_tall: tall(), Case => |b, c| run(b, c, how(Precision::F16, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_band_bf16"];
    /// small integers: every operand, product and sum is exact
    band_bf16_exact: upper(true), Case => |b, c| run(b, c, how(Precision::Bf16, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    band_bf16_close: upper(false), Case => |b, c| run(b, c, how(Precision::Bf16, Engine::Band, true)), oracle = expected,
        tolerance = bound(Precision::Bf16), twins = sums;
    /// small integers, and warps that add to each other's rows
    band_bf16_tall: tall(), Case => |b, c| run(b, c, how(Precision::Bf16, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_band_tf32"];
    /// small integers: every operand, product and sum is exact
    band_tf32_exact: upper(true), Case => |b, c| run(b, c, how(Precision::Tf32, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// the bound that the precision states; between twins that of sums of the same products
    band_tf32_close: upper(false), Case => |b, c| run(b, c, how(Precision::Tf32, Engine::Band, true)), oracle = expected,
        tolerance = bound(Precision::Tf32), twins = sums;
    /// small integers, and warps that add to each other's rows
    band_tf32_tall: tall(), Case => |b, c| run(b, c, how(Precision::Tf32, Engine::Band, true)), oracle = expected,
        tolerance = Tolerance::EXACT;
}
mod figures {
    use super::*;

    /// `xᵀAx`; `g`, `gᵀg` and `xᵀ(g - b)`.
    pub(super) fn run<B: AtaBackend>(b: &B, case: &Case, options: PlanOptions) -> Result<Outputs> {
        let (r, plan) = (&case.recipe, plan(b, case, options)?);
        let shape = [r.frames, r.channels, r.n];
        let x = Tensor::from_slice(b, shape, &narrow(&r.x()))?;
        let right = Tensor::from_slice(b, shape, &narrow(&r.before()))?;
        let mut g = Tensor::from_slice(b, shape, &vec![f32::NAN; x.len()])?;
        let quad = core(plan.quad(b, &x))?;
        let mut work = core(plan.work(b, r.frames + 3))?;
        let figures = core(plan.residual(b, &mut work, &x, &right, &mut g))?;
        let figures: Vec<f64> = figures.iter().flat_map(|f| [f.gg, f.twice_objective]).collect();
        Ok(vec![Output::F64(vec![quad.len()], quad), Output::of(b, &g)?, Output::F64(vec![figures.len()], figures)])
    }

    pub(super) fn expected(case: &Case) -> Outputs {
        let r = &case.recipe;
        let ((y, _), x, b) = (r.product(), r.x(), r.before());
        let g: Vec<f64> = y.iter().zip(&b).map(|(y, b)| y - b).collect();
        let (mut quad, mut figures) = (Vec::new(), Vec::new());
        for line in 0..r.frames * r.channels {
            let (mut sum, mut gg, mut twice) = (0.0, 0.0, 0.0);
            for i in line * r.n..(line + 1) * r.n {
                sum += x[i] * y[i];
                gg += g[i] * g[i];
                twice += x[i] * (g[i] - b[i]);
            }
            quad.push(sum);
            figures.extend([gg, twice]);
        }
        vec![
            Output::F64(vec![quad.len()], quad),
            Output::F64(vec![g.len()], g),
            Output::F64(vec![figures.len()], figures),
        ]
    }

    /// An error `e` of each product makes one of at most `2 (|g| + e) e` of its square, for each of n rows.
    pub(super) fn bound(precision: Precision) -> impl Fn(&Case) -> Tolerance {
        move |case| {
            let size = size(&Case { alpha: 1.0, beta: 1.0, ..case.clone() });
            let e = (precision.componentwise_bound() + 2f64.powi(-22)) * size;
            Tolerance::abs(2.0 * (size + e) * e * case.recipe.n as f64)
        }
    }
}

twins! {
    kernels = ["ata_apply_fma", "ata_sums"];
    /// small integers: every product and sum is exact
    figures_exact: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F32, Engine::Fma, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
    /// what the product's error makes of squares; both twins sum in one order
    figures_close: cases(false), Case => |b, c| figures::run(b, c, how(Precision::F32, Engine::Fma, false)),
        oracle = figures::expected, tolerance = figures::bound(Precision::F32), twins = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_f16", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_f16: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F16, Engine::Mma, true)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_wmma32", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_wmma32: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F16, Engine::Wmma32, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_tf32x3", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_tf32x3: cases(true), Case => |b, c| figures::run(b, c, how(Precision::Tf32x3, Engine::Mma, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_f16x2", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_f16x2: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F16x2, Engine::Mma, true)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_bf16", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_bf16: cases(true), Case => |b, c| figures::run(b, c, how(Precision::Bf16, Engine::Mma, true)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_bf16x3", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_bf16x3: cases(true), Case => |b, c| figures::run(b, c, how(Precision::Bf16x3, Engine::Mma, true)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_tf32", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_tf32: cases(true), Case => |b, c| figures::run(b, c, how(Precision::Tf32, Engine::Mma, true)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_f16_cast", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_f16_cast: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F16, Engine::Mma, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["ata_apply_mma_f16x2_cast", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_f16x2_cast: cases(true), Case => |b, c| figures::run(b, c, how(Precision::F16x2, Engine::Mma, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["ata_apply_band_tf32", "ata_sums"];
    /// small integers: every operand, product and sum is exact
    figures_band: upper(true), Case => |b, c| figures::run(b, c, how(Precision::Tf32, Engine::Band, false)),
        oracle = figures::expected, tolerance = Tolerance::EXACT;
}

mod cast {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) struct Case {
        recipe: Recipe,
        precision: Precision,
        exponent: i32,
    }

    pub(super) fn cases(precisions: &'static [Precision]) -> impl Strategy<Value = Case> {
        // Up to eight warps look for the largest element of a line.
        let n = prop_oneof![3 => 1..70_usize, 1 => 70..600_usize];
        (n, 1..4_usize, 1..12_usize, 0..1000_u64, prop::sample::select(precisions), -30..30_i32).prop_map(
            |(n, channels, frames, seed, precision, exponent)| Case {
                recipe: Recipe { n, channels, frames, diagonals: 1, holes: 0, seed, exact: seed % 9 == 0 },
                precision,
                // Only f16 leaves its range without a power of two.
                exponent,
            },
        )
    }

    /// Lines of several warps, of which another one has the largest element each time.
    pub(super) fn several_warps() -> Vec<Case> {
        let case = |n, precision| Case {
            recipe: Recipe { n, channels: 3, frames: 4, diagonals: 1, holes: 0, seed: 1, exact: false },
            precision,
            exponent: 3,
        };
        vec![case(300, Precision::F16), case(200, Precision::F16x2)]
    }

    fn x(c: &Case) -> Vec<f64> {
        let n = c.recipe.n;
        let scale = 2f64.powi(c.exponent);
        let one = |(i, v): (usize, &f64)| match (i / n, i % n) {
            // Every fifth line is zero.
            (line, _) if line % 5 == 4 => 0.0,
            // One element of each is larger than the others.
            (line, at) if at == (160 + 97 * line) % n => 8.0 * v.signum() * scale,
            _ => v * scale,
        };
        c.recipe.x().iter().enumerate().map(one).collect()
    }

    fn batch(c: &Case) -> Batch {
        Batch { frames: c.recipe.frames, channels: c.recipe.channels, n: c.recipe.n }
    }

    pub(super) fn run<B: AtaBackend>(b: &B, c: &Case) -> Result<Outputs> {
        let batch = batch(c);
        let x = Tensor::from_slice(b, [batch.len()], &narrow(&x(c)))?;
        let mut out = Vectors::scratch(b, batch, c.precision)?;
        kernels::cast_x(b, batch, x.flat(), false, &mut out)?;
        let values: Vec<f32> = out.halves().to_vec(b)?.into_iter().map(|bits| c.precision.of_bits(bits)).collect();
        let exponents = out.exponents().to_vec(b)?;
        Ok(vec![Output::F32(vec![values.len()], values), Output::I32(vec![exponents.len()], exponents)])
    }

    pub(super) fn expected(c: &Case) -> Outputs {
        // Significand, and exponent of the smallest number.
        let format = (11, -24);
        let lines = c.recipe.frames.div_ceil(8) * 8 * c.recipe.channels;
        let (pieces, exponents) =
            oracle::cast::pieces(&x(c), c.recipe.n, lines, c.precision.pieces(), format, c.precision.is_scaled());
        vec![Output::F64(vec![pieces.len()], pieces), Output::I32(vec![exponents.len()], exponents)]
    }
}

twins! {
    kernels = ["ata_cast_x"];
    /// rounding to nearest has one answer
    cast_x: starting_with(cast::several_warps(), cast::cases(&[Precision::F16, Precision::F16x2])), cast::Case => |b, c|
        cast::run(b, c),
        oracle = cast::expected, tolerance = Tolerance::EXACT;
}
