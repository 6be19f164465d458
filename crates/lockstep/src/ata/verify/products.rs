//! Cases `exact`, `exact-generated` and `real`: products in every precision, and conversions of the matrix.

use ata_wmma::kernels::AtaBackend;
use ata_wmma::reference::Matrix64;
use ata_wmma::{BLOCK, BlockDiag, CsrView, Engine, Layout, Plan, PlanOptions, Precision, SymmetryPolicy, folder, wall};
use gpu_core::Tensor;
use ndarray::{ArrayView3, ArrayView4, ArrayView5};

use super::{Case, Check, Verifier, differing, engines};
use crate::exit::{Failure, Result};

/// Largest error of one product against what rounding the operands alone gives, in units of the bound.
const TWIN_UNIT: f64 = 1.0 / (1u64 << 22) as f64;

/// Rows up to which conversions are checked.
const LARGEST_CONVERTED: usize = 8192;

/// Elements of generated vectors at most, in a channel.
const MOST_GENERATED: usize = 1 << 28;

/// A matrix, vectors and what their product must be.
pub(super) struct Product {
    pub(super) a: BlockDiag,
    pub(super) x: Vec<f32>,
    pub(super) frames: usize,
    /// `A x` and `|A| |x|` in `f64`.
    pub(super) y: Vec<f64>,
    pub(super) w: Vec<f64>,
    pub(super) quad: Option<Vec<f64>>,
    pub(super) exact: bool,
    /// Weighted sums of each line of `y`.
    pub(super) checksum: Option<(u64, Vec<f64>)>,
}

impl Verifier<'_> {
    pub(super) fn product_case<B: AtaBackend>(&mut self, b: &B, case: &Case<'_>) {
        let product = match load(case) {
            Ok(Some(product)) => product,
            Ok(None) => return self.skip(case.id, "products", "offsets.npy, blocks.npy or x.npy is absent"),
            Err(e) => return self.line(case.id, "data", Err(e)),
        };
        self.line(case.id, "conversions", conversions(case, &product.a));
        self.products(b, case.id, &product);
    }

    /// A line for each precision and engine.
    pub(super) fn products<B: AtaBackend>(&mut self, b: &B, id: &str, product: &Product) {
        for precision in self.args.precisions() {
            for (engine, mode) in engines::<B>(precision) {
                self.line(id, &mode, check(b, product, precision, engine));
            }
        }
    }
}

/// The case; nothing where its arrays are absent.
fn load(case: &Case<'_>) -> Result<Option<Product>> {
    let exact = case.entry["kind"] != "real";
    if !case.path("offsets").is_file() {
        return Ok(None);
    }
    let offsets = folder::read_offsets(&case.path("offsets"))?;
    let blocks = case.array("blocks")?;
    let generated = case.entry["kind"] == "exact-generated";
    let (a, x, frames) = if generated {
        let (n, frames, seed) = (case.number("n")?, case.number("frames")?, case.number("seed")? as u64);
        if frames.checked_mul(n).is_none_or(|all| all > MOST_GENERATED) {
            let why = format!("manifest.json: {}: {frames} `frames` of {n} are too many to generate", case.id);
            return Err(Failure::usage(why));
        }
        (wall::integer_matrix(3, n, &offsets, seed)?, wall::integer_vectors(frames, 3, n, seed), frames)
    } else {
        let path = case.path("blocks");
        let (Some(blocks), Some(x)) = (blocks, case.array("x")?) else { return Ok(None) };
        let (shape, values) = blocks.of_rank::<f32, 5>(&path)?;
        let view = ArrayView5::from_shape(shape, &values).map_err(|e| Failure::input(&path, e))?;
        let n = case.number("n").unwrap_or(BLOCK * shape[2]);
        let a = BlockDiag::from_blocks(view, &offsets, n, SymmetryPolicy::default()).map_err(|e| e.at(&path))?;
        let (shape, x) = x.of_rank::<f32, 3>(&case.path("x"))?;
        if shape[1..] != [a.channels(), n] {
            return Err(Failure::input(
                &case.path("x"),
                format!("shape: {shape:?}, expected [F, {}, {n}]", a.channels()),
            ));
        }
        (a, x, shape[0])
    };
    let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    let (own, w) = Matrix64::of(&a).product(&wide);
    let y = case.wide("y")?.unwrap_or(own);
    let checksum = match case.wide("checksum")? {
        Some(sums) if generated => Some((case.number("seed")? as u64, sums)),
        _ => None,
    };
    if y.len() != x.len() {
        return Err(Failure::input(&case.path("y"), format!("shape: {} values for {} of x", y.len(), x.len())));
    }
    Ok(Some(Product { a, x, frames, y, w, quad: case.wide("quad")?, exact, checksum }))
}

/// What one precision makes of a product, in both layouts.
fn check<B: AtaBackend>(b: &B, product: &Product, precision: Precision, engine: Engine) -> Result<Vec<Check>> {
    let Product { a, x, frames, .. } = product;
    let shape = [*frames, a.channels(), a.n()];
    let device = Tensor::from_slice(b, shape, x)?;
    let mut checks: Vec<Check> = Vec::new();
    for layout in [Layout::Upper, Layout::Full] {
        let plan = Plan::new(b, a, PlanOptions { precision, engine, layout, unit_range: false })?;
        let y = plan.product(b, &device)?.to_vec(b)?;
        let quad = plan.quad(b, &device)?;
        let mut work = plan.work(b, *frames)?;
        let mut alone = Tensor::from_slice(b, shape, &vec![f32::NAN; x.len()])?;
        plan.apply_sequential(b, &mut work, &device, &mut alone)?;
        let alone = alone.to_vec(b)?;
        let mut found =
            if product.exact { exactly(product, &y, &quad) } else { closely(product, precision, &y, &quad) };
        let bits = |v: &[f32]| -> Vec<u32> { v.iter().map(|v| v.to_bits()).collect() };
        found.push(Check::none("batch variance", differing(&bits(&y), &bits(&alone))));
        for check in found {
            match checks.iter_mut().find(|c| c.name == check.name) {
                // NaN must stay.
                Some(known) if check.value > known.value || check.value.is_nan() => known.value = check.value,
                Some(_) => {}
                None => checks.push(check),
            }
        }
    }
    Ok(checks)
}

fn exactly(product: &Product, y: &[f32], quad: &[f64]) -> Vec<Check> {
    let wide: Vec<f64> = y.iter().map(|&v| v.into()).collect();
    let mut checks = vec![Check::none("y differs", differing(&wide, &product.y))];
    if let Some(wanted) = &product.quad {
        checks.push(Check::none("quad differs", differing(quad, wanted)));
    }
    if let Some((seed, wanted)) = &product.checksum {
        let sums: Vec<f64> = wide
            .chunks_exact(product.a.n())
            .map(|line| {
                let all = line.iter().enumerate();
                all.map(|(i, &v)| (v as i64).wrapping_mul(wall::checksum_weight(*seed, i))).sum::<i64>() as f64
            })
            .collect();
        checks.push(Check::none("checksum differs", differing(&sums, wanted)));
    }
    checks
}

fn closely(product: &Product, precision: Precision, y: &[f32], quad: &[f64]) -> Vec<Check> {
    let n = product.a.n();
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let (mut normwise, mut component, mut quadratic, mut dead) = (0.0f64, 0.0f64, 0.0f64, 0);
    for (line, y) in y.chunks_exact(n).enumerate() {
        let at = line * n..(line + 1) * n;
        let (wanted, w, x) = (&product.y[at.clone()], &product.w[at.clone()], &product.x[at]);
        let error = norm(&mut y.iter().zip(wanted).map(|(&y, w)| f64::from(y) - w));
        let size = norm(&mut wanted.iter().copied());
        normwise = worst(normwise, if size > 0.0 { error / size } else { error });
        for ((&y, wanted), &w) in y.iter().zip(wanted).zip(w) {
            if w > 0.0 {
                component = worst(component, (f64::from(y) - wanted).abs() / w);
            } else {
                dead += usize::from(y != 0.0);
            }
        }
        if let Some(wanted) = &product.quad {
            let scale: f64 = x.iter().zip(w).map(|(x, w)| f64::from(x.abs()) * w).sum();
            let error = (quad[line] - wanted[line]).abs();
            quadratic = worst(quadratic, if scale > 0.0 { error / scale } else { error });
        }
    }
    let bound = precision.componentwise_bound();
    let mut checks = vec![
        Check::new("normwise", normwise, precision.normwise_bound()),
        Check::new("componentwise", component, bound),
        Check::none("dead rows", dead),
        Check::new("rounded", rounded(product, precision, y), 1.0),
    ];
    if product.quad.is_some() {
        checks.push(Check::new("quad", quadratic, bound));
    }
    checks
}

fn worst(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// Largest error against the product of the rounded operands, over `(K + 8) 2^-22 |Â| |x̂|`.
fn rounded(product: &Product, precision: Precision, y: &[f32]) -> f64 {
    let (wanted, scale) = Matrix64::rounded_product(&product.a, precision, &product.x);
    let counts = Matrix64::of(&product.a).row_counts();
    let mut largest = 0.0;
    for (i, &y) in y.iter().enumerate() {
        let bound = (counts[i % counts.len()] + 8) as f64 * TWIN_UNIT * scale[i];
        let error = (f64::from(y) - wanted[i]).abs();
        // Below the smallest normal number, rounding is absolute.
        if error > f64::from(f32::MIN_POSITIVE) {
            largest = worst(largest, error / bound);
        }
    }
    largest
}

/// Other forms of the matrix that are there, and the way to each form and back.
fn conversions(case: &Case<'_>, a: &BlockDiag) -> Result<Vec<Check>> {
    // Other forms of a large matrix would not fit in memory.
    if a.n() > LARGEST_CONVERTED {
        return Ok(Vec::new());
    }
    let policy = SymmetryPolicy::default();
    let mut plain = a.clone();
    plain.prune()?;
    let differs = |other: BlockDiag| -> Result<usize> {
        let mut other = other;
        other.prune()?;
        Ok(usize::from(other.offsets() != plain.offsets()) + differing(other.blocks(), plain.blocks()))
    };
    let mut checks = Vec::new();
    if let (Some(stored), Some(x)) = (case.wide("absprod")?, case.wide("x")?) {
        // Rows of a few hundred terms, summed in another order.
        let (_, own) = Matrix64::of(a).product(&x);
        let off = own.iter().zip(&stored).map(|(a, b)| (a - b).abs() / b.abs().max(f64::MIN_POSITIVE)).fold(0.0, worst);
        checks.push(Check::new("absprod", if own.len() == stored.len() { off } else { f64::NAN }, 1e-13));
    }
    if a.n() <= 1024 {
        checks.push(Check::none("dense", differs(BlockDiag::from_dense(a.to_dense().view(), policy)?)?));
    }
    let (dia, offsets) = a.to_dia();
    if !offsets.is_empty() {
        checks.push(Check::none("dia", differs(BlockDiag::from_dia(dia.view(), &offsets, a.n(), policy)?)?));
    }
    let csr = a.to_csr(true);
    let views: Vec<_> = csr
        .iter()
        .map(|m| CsrView { rows: m.n, columns: m.n, indptr: &m.indptr, indices: &m.indices, data: &m.data })
        .collect();
    checks.push(Check::none("csr", differs(BlockDiag::from_csr(&views, policy)?)?));
    if let Some(dense) = case.array("dense")? {
        let path = case.path("dense");
        let (shape, values) = dense.of_rank::<f32, 3>(&path)?;
        let view = ArrayView3::from_shape(shape, &values).map_err(|e| Failure::input(&path, e))?;
        checks.push(Check::none("dense file", differs(BlockDiag::from_dense(view, policy)?)?));
    }
    if let (Some(data), Some(offsets)) = (case.array("dia_data")?, case.array("dia_offsets")?) {
        let path = case.path("dia_data");
        let (shape, values) = data.of_rank::<f32, 3>(&path)?;
        let view = ArrayView3::from_shape(shape, &values).map_err(|e| Failure::input(&path, e))?;
        let (_, offsets) = offsets.integers(&case.path("dia_offsets"))?;
        checks.push(Check::none("dia file", differs(BlockDiag::from_dia(view, &offsets, a.n(), policy)?)?));
    }
    if let (Some(ptr), Some(indices), Some(data)) =
        (case.array("csr0_indptr")?, case.array("csr0_indices")?, case.array("csr0_data")?)
    {
        let places =
            |v: ata_wmma::npy::NpyArray| -> Vec<usize> { v.values.to_f64().iter().map(|&v| v as usize).collect() };
        let (indptr, indices) = (places(ptr), places(indices));
        let (_, data) = data.into_vec::<f32>(&case.path("csr0_data"))?;
        let view = CsrView { rows: a.n(), columns: a.n(), indptr: &indptr, indices: &indices, data: &data };
        let one = BlockDiag::from_csr(&[view], policy)?.to_csr(true);
        checks.push(Check::none("csr file", usize::from(one[0] != csr[0])));
    }
    if let Some(blocks) = case.array("blocks4")? {
        let path = case.path("blocks4");
        let (shape, values) = blocks.of_rank::<f32, 4>(&path)?;
        let view = ArrayView4::from_shape(shape, &values).map_err(|e| Failure::input(&path, e))?;
        let toeplitz = BlockDiag::from_block_toeplitz(view, a.offsets(), a.block_rows(), policy)?;
        checks.push(Check::none("toeplitz file", differs(toeplitz)?));
    }
    Ok(checks)
}
