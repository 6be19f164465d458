//! Cases `wall`: patterns, orders, exact sums, products, pictures.

use ata_wmma::kernels::{self, AtaBackend, RenderTiles};
use ata_wmma::reference::Matrix64;
use ata_wmma::wall::Wall;
use ata_wmma::{
    BYTE_SQUARED, BlockDiag, BlockDiagInt, DevicePatterns, FrameLayout, Ordering, Patterns, Scale, SymmetryPolicy,
    Transfer, folder, ordering,
};
use gpu_core::Tensor;

use super::products::Product;
use super::{Case, Check, Verifier, differing};
use crate::exit::{Failure, Result};

/// Bytes of a generated pattern that may differ by one: libraries disagree about the last bit of exponentials.
const DIFFERING_BYTES: f64 = 1e-6;

/// What a wall's case has, or what could be made of it.
pub(super) struct WallData {
    pub(super) patterns: Option<Patterns>,
    pub(super) exact: Option<BlockDiagInt>,
    pub(super) real: Option<BlockDiag>,
    pub(super) matrix64: Option<Matrix64>,
    /// `b` in `f64`, `[F, C, n]`.
    pub(super) b: Option<Vec<f64>>,
    pub(super) frames: usize,
}

impl Verifier<'_> {
    pub(super) fn wall_case<B: AtaBackend>(&mut self, b: &B, case: &Case<'_>) {
        let patterns = match load_patterns(case) {
            Ok((patterns, checks)) => {
                self.line(case.id, "patterns", Ok(checks));
                patterns
            }
            Err(e) => return self.line(case.id, "patterns", Err(e)),
        };
        self.line(case.id, "order", order(case));
        let mut data = WallData {
            patterns,
            exact: None,
            real: None,
            matrix64: None,
            b: None,
            frames: case.number("frames").unwrap_or(0),
        };
        let checks = matrices(b, case, &mut data);
        self.line(case.id, "gram", checks);
        let checks = sums(b, case, &mut data);
        self.line(case.id, "atb", checks);
        match product(case, &data) {
            Ok(Some(product)) => self.products(b, case.id, &product),
            Ok(None) => self.skip(case.id, "products", "x.npy is absent"),
            Err(e) => self.line(case.id, "products", Err(e)),
        }
        self.line(case.id, "picture", picture(b, case, &data));
        self.solves(b, case, &data);
    }
}

fn wall_of(case: &Case<'_>) -> Option<Wall> {
    let parameters = &case.entry["gen"];
    let number = |key: &str| parameters[key].as_u64().and_then(|v| usize::try_from(v).ok());
    if parameters["kind"] != "ledwall-v1" {
        return None;
    }
    Some(Wall {
        leds: number("n")?,
        width: number("width")?,
        height: number("height")?,
        block: number("block")?,
        margin: number("margin")?,
        seed: parameters["seed"].as_u64()?,
        scale: parameters["scale"].as_f64()?,
    })
}

/// The order of a case: its file, or the snake of its parameters.
fn order_of(case: &Case<'_>, wall: &Wall) -> Result<Ordering> {
    if let Some(order) = case.array("order")? {
        let (_, order) = order.integers(&case.path("order"))?;
        return Ok(Ordering::new(order.iter().map(|&v| v as u32).collect())?);
    }
    let parameters = &case.entry["gen"];
    let positions = wall.positions();
    if let (Some(width), Some(axis)) = (parameters["snake_width"].as_u64(), parameters["snake_axis"].as_u64()) {
        return Ok(ordering::snake(&positions, width as usize, axis as usize)?);
    }
    let graph = ata_wmma::Graph::of_windows(&wall.corners(&positions), wall.block);
    Ok(ordering::best_snake(&positions, &graph, wall.block)?.0)
}

/// The patterns of the file, or generated ones; and how the two agree.
fn load_patterns(case: &Case<'_>) -> Result<(Option<Patterns>, Vec<Check>)> {
    let wall = wall_of(case);
    let mut checks = Vec::new();
    let made = match &wall {
        Some(wall) => {
            wall.check()?;
            Some(wall.patterns(&order_of(case, wall)?)?)
        }
        None => None,
    };
    let stored = match (case.array("patterns")?, case.array("top_left")?) {
        (Some(_), Some(_)) => {
            let size = made.as_ref().map(Patterns::size).or_else(|| {
                let shape = case.entry["files"]["frames"]["shape"].as_array()?;
                Some([shape.get(3)?.as_u64()? as usize, shape.get(2)?.as_u64()? as usize])
            });
            let size =
                size.ok_or_else(|| Failure::usage("the size of the picture is in neither `gen` nor `frames`"))?;
            Some(Patterns::load_arrays(&case.path("patterns"), &case.path("top_left"), size)?)
        }
        _ => None,
    };
    if let (Some(made), Some(stored)) = (&made, &stored) {
        let pairs = || made.data().iter().zip(stored.data());
        let share = pairs().filter(|(a, b)| a != b).count() as f64 / stored.data().len() as f64;
        let largest = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        checks.push(Check::new("bytes differing", share, DIFFERING_BYTES));
        checks.push(Check::new("by at most", f64::from(largest), 1.0));
        checks.push(Check::none("corners differ", differing(made.corners(), stored.corners())));
    }
    if let Some(patterns) = stored.as_ref().or(made.as_ref()) {
        let sum: u64 = patterns.data().iter().map(|&v| u64::from(v)).sum();
        if let Some(wanted) = case.entry["pattern_sum"].as_u64() {
            let allowed = (patterns.data().len() as f64 * DIFFERING_BYTES).floor();
            checks.push(Check::new("sum", sum.abs_diff(wanted) as f64, allowed));
        }
    }
    Ok((stored.or(made), checks))
}

fn order(case: &Case<'_>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let Some(wall) = wall_of(case) else { return Ok(checks) };
    let positions = wall.positions();
    if let Some(stored) = case.array("positions")? {
        let (_, stored) = stored.integers(&case.path("positions"))?;
        checks.push(Check::none("positions", differing(&positions.concat(), &stored)));
    }
    let parameters = &case.entry["gen"];
    if let (Some(width), Some(axis), Some(stored)) =
        (parameters["snake_width"].as_u64(), parameters["snake_axis"].as_u64(), case.array("order")?)
    {
        let (_, stored) = stored.integers(&case.path("order"))?;
        let snake = ordering::snake(&positions, width as usize, axis as usize)?;
        let own: Vec<i32> = snake.order.iter().map(|&v| v as i32).collect();
        checks.push(Check::none("snake", differing(&own, &stored)));
    }
    Ok(checks)
}

/// The Gram matrix, against the file's when there is one.
fn matrices<B: AtaBackend>(b: &B, case: &Case<'_>, data: &mut WallData) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let gram = data.patterns.as_ref().map(|p| p.gram(b, Scale::Unit)).transpose()?;
    let offsets = case.array("offsets")?.map(|_| folder::read_offsets(&case.path("offsets"))).transpose()?;
    let mut compare = |name: &'static str, own_offsets: &[u32], own: Vec<f64>, stored: Vec<f64>| {
        checks.push(Check::none(
            name,
            match &offsets {
                Some(offsets) if offsets != own_offsets => own.len(),
                _ => differing(&own, &stored),
            },
        ));
    };
    if let Some((real, exact)) = &gram {
        if let Some(stored) = case.wide("ata_int")? {
            compare("integers differ", &exact.offsets, exact.blocks.iter().map(|&v| v.into()).collect(), stored);
        }
        if let Some(stored) = case.wide("ata_f32")? {
            compare("f32 differ", real.offsets(), real.blocks().iter().map(|&v| v.into()).collect(), stored);
        }
        if let Some(wanted) = case.entry["nonempty_upper_blocks"].as_u64() {
            checks.push(Check::none("blocks", real.nnz_blocks().abs_diff(wanted as usize)));
        }
        if let Some(wanted) = case.entry["block_diags"].as_u64() {
            checks.push(Check::none("diagonals", real.block_diag_count().abs_diff(wanted as usize)));
        }
        if let Some(wanted) = case.entry["bandwidth"].as_u64() {
            checks.push(Check::none("bandwidth", real.bandwidth().abs_diff(wanted as usize)));
        }
    }
    match gram {
        Some((real, exact)) => {
            data.matrix64 = Some(exact.to_f64()?);
            (data.real, data.exact) = (Some(real), Some(exact));
        }
        None if case.path("ata_f32").is_file() => {
            let n = case.number("n").ok();
            let (blocks, offsets) = (case.path("ata_f32"), case.path("offsets"));
            let real = folder::read_blocks(&blocks, &offsets, n, SymmetryPolicy::default())?;
            data.matrix64 = Some(match case.array("ata_int")? {
                Some(exact) => {
                    let values = exact.values.to_f64().iter().map(|v| v / BYTE_SQUARED).collect();
                    Matrix64::new(real.channels(), real.n(), real.offsets().to_vec(), values)?
                }
                None => Matrix64::of(&real),
            });
            data.real = Some(real);
        }
        None => {}
    }
    Ok(checks)
}

/// `Mᵀ frames`, against the file's when there is one.
fn sums<B: AtaBackend>(b: &B, case: &Case<'_>, data: &mut WallData) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let stored = case.wide("atb_int")?;
    if let (Some(patterns), Some(frames)) = (&data.patterns, case.array("frames")?) {
        let (shape, frames) = frames.of_rank::<u8, 4>(&case.path("frames"))?;
        let [width, height] = patterns.size();
        if shape[1..] != [patterns.channels(), height, width] {
            return Err(Failure::input(&case.path("frames"), format!("shape: {shape:?} is not of this wall")));
        }
        if let Some(wanted) = case.entry["frames_sum"].as_u64() {
            let sum: u64 = frames.iter().map(|&v| u64::from(v)).sum();
            checks.push(Check::none("frames", usize::from(sum != wanted)));
        }
        data.frames = shape[0];
        let device = DevicePatterns::new(b, patterns)?;
        let mut out = Tensor::<B, u64, 1>::scratch(b, [shape[0] * patterns.channels() * patterns.n()])?;
        let pixels = Tensor::from_slice(b, [frames.len()], &frames)?;
        kernels::atb_u8(b, &device, pixels.flat(), FrameLayout::Planar, &Transfer::Identity, out.flat_mut())?;
        let planar = out.to_vec(b)?;
        let area = width * height;
        let interleaved: Vec<u8> = frames
            .chunks_exact(area * shape[1])
            .flat_map(|f| (0..area).flat_map(move |i| (0..shape[1]).map(move |c| f[c * area + i])))
            .collect();
        let pixels = Tensor::from_slice(b, [frames.len()], &interleaved)?;
        kernels::atb_u8(b, &device, pixels.flat(), FrameLayout::Interleaved, &Transfer::Identity, out.flat_mut())?;
        checks.push(Check::none("interleaved differ", differing(&out.to_vec(b)?, &planar)));
        let own: Vec<f64> = planar.iter().map(|&v| v as f64).collect();
        if let Some(stored) = &stored {
            checks.push(Check::none("integers differ", differing(&own, stored)));
        }
        data.b = Some(own);
    } else {
        data.b = stored;
    }
    if let Some(b) = &mut data.b {
        for v in b.iter_mut() {
            *v /= BYTE_SQUARED;
        }
    }
    Ok(checks)
}

fn product(case: &Case<'_>, data: &WallData) -> Result<Option<Product>> {
    let (Some(a), Some(x)) = (&data.real, case.array("x")?) else { return Ok(None) };
    let (shape, x) = x.of_rank::<f32, 3>(&case.path("x"))?;
    if shape[1..] != [a.channels(), a.n()] {
        return Err(Failure::input(&case.path("x"), format!("shape: {shape:?} is not of this wall")));
    }
    let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    let (own, w) = Matrix64::of(a).product(&wide);
    let y = case.wide("y")?.filter(|y| y.len() == own.len()).unwrap_or(own);
    let quad = case.wide("quad")?;
    Ok(Some(Product { a: a.clone(), x, frames: shape[0], y, w, quad, exact: false, checksum: None }))
}

/// The picture of the optimum: its squared difference from the target, which the manifest knows.
fn picture<B: AtaBackend>(b: &B, case: &Case<'_>, data: &WallData) -> Result<Vec<Check>> {
    let (Some(patterns), Some(x), Some(frames)) = (&data.patterns, case.wide("x_opt")?, case.array("frames")?) else {
        return Ok(Vec::new());
    };
    let (_, frames) = frames.into_vec::<u8>(&case.path("frames"))?;
    let mut checks = Vec::new();
    if let Some(stored) = case.array("x_opt_u8")? {
        let (_, stored) = stored.into_vec::<u8>(&case.path("x_opt_u8"))?;
        let own: Vec<u8> = x.iter().map(|&v| kernels::level(v)).collect();
        checks.push(Check::none("levels", differing(&own, &stored)));
    }
    let count = x.len() / (patterns.n() * patterns.channels());
    let device = DevicePatterns::new(b, patterns)?;
    let tiles = RenderTiles::new(b, patterns)?;
    let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
    let x = Tensor::from_slice(b, [x.len()], &x)?;
    let mut out = Tensor::<B, f32, 1>::scratch(b, [frames.len()])?;
    kernels::render(b, &device, &tiles, x.flat(), out.flat_mut())?;
    let out = out.to_vec(b)?;
    let each = frames.len() / count;
    let list = |key: &str| -> Option<Vec<f64>> {
        case.entry[key].as_array().map(|v| v.iter().filter_map(serde_json::Value::as_f64).collect())
    };
    let half_squares: Vec<f64> = out
        .chunks_exact(each)
        .zip(frames.chunks_exact(each))
        .map(|(o, f)| {
            let square = |(o, f): (&f32, &u8)| (f64::from(*o) - f64::from(*f) / 255.0).powi(2);
            0.5 * o.iter().zip(f).map(square).sum::<f64>()
        })
        .collect();
    let furthest = |wanted: Vec<f64>, own: Vec<f64>| {
        own.iter().zip(&wanted).map(|(a, b)| (a - b).abs() / b.abs().max(1e-30)).fold(0.0, f64::max)
    };
    if let Some(wanted) = list("residual_opt") {
        checks.push(Check::new("residual", furthest(wanted, half_squares.clone()), 1e-5));
    }
    if let Some(wanted) = list("psnr_opt") {
        let psnr = half_squares.iter().map(|s| -10.0 * (2.0 * s / each as f64).log10()).collect();
        checks.push(Check::new("psnr", furthest(wanted, psnr), 1e-5));
    }
    Ok(checks)
}
