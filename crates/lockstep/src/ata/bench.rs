//! `lockstep ata bench`: products, solver and sums on a wall of 2624 LEDs, and on a matrix larger than any cache.

use std::time::{Duration, Instant};

use ata_wmma::kernels::{self, AtaBackend, fista_step};
use ata_wmma::wall::{Wall, random_unit};
use ata_wmma::{
    BLOCK, BlockDiag, DevicePatterns, Engine, FrameLayout, Graph, Layout, Patterns, Plan, PlanOptions, Precision,
    Scale, SymmetryPolicy, Transfer, ordering,
};
use clap::Args;
use gpu_core::{Tensor, with_backend};
use ndarray::Array5;
use serde_json::{Value, json};

use crate::backend::BackendArgs;
use crate::exit::{Exit, Result};
use crate::session::{Session, bytes, seconds};

/// Input sets that take turns, so that no vector is in a register's reach from the run before.
const SETS: usize = 4;
/// Products of one recorded sequence.
const RUNS: usize = 20;
/// Bytes that are copied to clear the caches.
const FLUSH: usize = 256 << 20;

/// Options of `ata bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata bench --backend cuda --json > ata.json        G1 to G5, G9 to G11
  lockstep ata bench --backend cuda --case large             G6 and G7: 352 MB and 704 MB
  lockstep ata bench --backend cpu --threads 1 --case apply")]
pub(crate) struct Bench {
    /// Only cases whose name contains this: apply, sequential, fista, atb, gram, large
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Times taken of each
    #[arg(long, value_name = "N", default_value_t = 100)]
    samples: usize,
    /// LEDs of the wall
    #[arg(long, value_name = "N", default_value_t = 2624)]
    leds: usize,
    #[command(flatten)]
    backend: BackendArgs,
}

struct Row {
    name: String,
    median: f64,
    p10: f64,
    p90: f64,
    bytes: f64,
    flop: f64,
}

struct Runner<'a> {
    session: &'a Session,
    args: &'a Bench,
    copy: f64,
    rows: Vec<Value>,
}

impl Bench {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let any = self.backend.open(None)?;
        with_backend!(&any, |b| self.on(session, b))
    }

    fn wants(&self, name: &str) -> bool {
        match &self.case {
            Some(text) => name.contains(text.as_str()),
            None => name != "large",
        }
    }

    fn on<B: AtaBackend>(&self, session: &Session, b: &B) -> Result<Exit> {
        let copy = copy_speed(b)?;
        session.say(format!("{} ({}), copies at {:.1} GB/s", B::NAME, b.device().name, copy / 1e9));
        session.say(format!(
            "{:<30} {:>11} {:>11} {:>11} {:>9} {:>9} {:>8}",
            "", "median", "p10", "p90", "GB/s", "GFLOP/s", "of floor"
        ));
        let mut runner = Runner { session, args: self, copy, rows: Vec::new() };
        if ["apply", "sequential", "fista", "atb", "gram"].iter().any(|case| self.wants(case)) {
            let wall = Wall { leds: self.leds, width: 800, height: 480, block: 64, margin: 20, seed: 1, scale: 1.0 };
            let positions = wall.positions();
            let graph = Graph::of_windows(&wall.corners(&positions), 64);
            let (order, ..) = ordering::best_snake(&positions, &graph, 64)?;
            let patterns = wall.patterns(&order)?;
            let start = Instant::now();
            let (a, _) = patterns.gram(b, Scale::Unit)?;
            let first = start.elapsed();
            runner.wall(b, &a, &patterns, first)?;
        }
        if self.wants("large") {
            runner.large(b)?;
        }
        let Runner { rows, .. } = runner;
        session.document(&json!({
            "backend": B::NAME, "device": b.device().name, "copy_bytes_per_s": copy, "samples": self.samples,
            "rows": rows,
        }))?;
        Ok(Exit::Ok)
    }
}

fn values(len: usize, set: u64) -> Vec<f32> {
    (0..len as u64).map(|i| random_unit(set, 0, i) as f32).collect()
}

fn sorted(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.1, 0.9].map(|share| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64())
}

fn copy_speed<B: AtaBackend>(b: &B) -> Result<f64> {
    let len = if B::NAME == "cpu" { 1 << 24 } else { 1 << 27 };
    let from = Tensor::<B, f32, 1>::zeros(b, [len])?;
    let mut to = Tensor::<B, f32, 1>::zeros(b, [len])?;
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(b.time(|b| b.copy(from.flat(), to.flat_mut()))?.1);
    }
    Ok(8.0 * len as f64 / sorted(times)[0].max(1e-9))
}

/// What a recorded sequence of products works on.
struct Products<B: AtaBackend> {
    plan: Plan<B>,
    work: ata_wmma::Work<B>,
    x: Vec<Tensor<B, f32, 3>>,
    y: Vec<Tensor<B, f32, 3>>,
}

impl<B: AtaBackend> Products<B> {
    fn new(b: &B, a: &BlockDiag, options: PlanOptions, frames: usize) -> Result<Self> {
        let plan = Plan::new(b, a, options)?;
        let work = plan.work(b, frames)?;
        let shape = [frames, a.channels(), a.n()];
        let len = shape.iter().product();
        let x = (0..SETS as u64)
            .map(|set| Tensor::from_slice(b, shape, &values(len, set)))
            .collect::<gpu_core::Result<_>>()?;
        let y = (0..SETS).map(|_| Tensor::zeros(b, shape)).collect::<gpu_core::Result<_>>()?;
        Ok(Self { plan, work, x, y })
    }

    fn run(&mut self, b: &B, runs: usize, sequential: bool) -> gpu_core::Result<()> {
        for run in 0..runs {
            let (x, y) = (&self.x[run % SETS], &mut self.y[run % SETS]);
            let done = if sequential {
                self.plan.apply_sequential(b, &mut self.work, x, y)
            } else {
                self.plan.apply(b, &mut self.work, x.view(), y.view_mut())
            };
            done.map_err(core)?;
        }
        Ok(())
    }
}

fn core(error: ata_wmma::AtaError) -> gpu_core::Error {
    match error {
        ata_wmma::AtaError::Gpu(error) => error,
        other => gpu_core::Error::value("ata", other.to_string()),
    }
}

impl Runner<'_> {
    fn row(&mut self, row: &Row) {
        let floor = row.bytes / self.copy;
        self.session.say(format!(
            "{:<30} {:>11} {:>11} {:>11} {:>9.1} {:>9.1} {:>7.1}%",
            row.name,
            seconds(row.median),
            seconds(row.p10),
            seconds(row.p90),
            row.bytes / row.median / 1e9,
            row.flop / row.median / 1e9,
            100.0 * floor / row.median
        ));
        self.rows.push(json!({
            "case": row.name, "median_s": row.median, "p10_s": row.p10, "p90_s": row.p90, "bytes": row.bytes,
            "flop": row.flop, "floor_s": floor, "share_of_floor": floor / row.median,
        }));
    }

    /// Replays of a recorded sequence of products: caches warm, and cleared before each product.
    fn products<B: AtaBackend>(
        &mut self,
        b: &B,
        name: &str,
        a: &BlockDiag,
        options: PlanOptions,
        frames: usize,
        sequential: bool,
    ) -> Result<()> {
        let blocks = a.nnz_blocks();
        let elements = (a.channels() * a.n() * frames) as f64;
        let bytes = a.memory_bytes(options.precision, Layout::Upper) as f64 + 8.0 * elements;
        let both = 2 * blocks - (0..a.block_rows()).filter(|&i| a.offsets()[0] == 0 && a.is_stored(0, i)).count();
        let flop = 2.0 * (both * BLOCK * BLOCK * a.channels() * frames * options.precision.products().len()) as f64;
        for (suffix, runs) in [("", RUNS), (", cold", 1)] {
            let mut state = Products::new(b, a, options, frames)?;
            // What is captured must have been loaded.
            state.run(b, 1, sequential)?;
            b.synchronize()?;
            let mut recorded = b.capture(state, move |b, state| state.run(b, runs, sequential))?;
            let flush = Tensor::<B, f32, 1>::zeros(b, [if runs == 1 { FLUSH / 8 } else { 1 }])?;
            let mut flushed = Tensor::<B, f32, 1>::zeros(b, [flush.len()])?;
            let mut times = Vec::new();
            for sample in 0..self.args.samples + 3 {
                b.copy(flush.flat(), flushed.flat_mut())?;
                let ((), time) = b.time(|b| recorded.replay(b))?;
                if sample >= 3 {
                    times.push(time / runs as u32);
                }
            }
            let [median, p10, p90] = sorted(times);
            self.row(&Row { name: format!("{name}{suffix}"), median, p10, p90, bytes, flop });
        }
        Ok(())
    }

    fn wall<B: AtaBackend>(&mut self, b: &B, a: &BlockDiag, patterns: &Patterns, first: Duration) -> Result<()> {
        let stats = a.stats();
        self.session.say(format!(
            "wall: n {}, {} blocks, {} diagonals, tile efficiency {:.1} % (G8), {} in f16",
            stats.n,
            stats.nonempty_upper_blocks,
            stats.offsets.len(),
            100.0 * stats.tile_efficiency,
            bytes(a.memory_bytes(Precision::F16, Layout::Upper))
        ));
        if self.args.wants("apply") {
            for precision in Precision::ALL {
                for layout in [Layout::Upper, Layout::Full] {
                    for frames in [8, 16] {
                        let name = format!("apply {precision} {layout:?} F={frames}");
                        let options = PlanOptions { precision, layout, ..PlanOptions::default() };
                        self.products(b, &name, a, options, frames, false)?;
                    }
                }
            }
            if B::NAME != "cpu" {
                let options =
                    PlanOptions { precision: Precision::F16, engine: Engine::Wmma32, ..PlanOptions::default() };
                self.products(b, "apply f16 wmma32 F=8", a, options, 8, false)?;
            }
        }
        if self.args.wants("sequential") {
            for precision in [Precision::F16, Precision::Tf32x3] {
                let options = PlanOptions { precision, ..PlanOptions::default() };
                self.products(b, &format!("sequential {precision} F=8"), a, options, 8, true)?;
            }
        }
        if self.args.wants("fista") {
            for precision in [Precision::F16, Precision::Tf32x3] {
                self.fista(b, a, precision)?;
            }
        }
        if self.args.wants("atb") {
            self.sums(b, patterns)?;
        }
        if self.args.wants("gram") {
            let mut times = vec![first];
            for _ in 0..self.args.samples.min(10) {
                let start = Instant::now();
                patterns.gram(b, Scale::Unit)?;
                times.push(start.elapsed());
            }
            let [median, p10, p90] = sorted(times);
            let bytes = patterns.data().len() as f64;
            self.row(&Row { name: "gram, with transfers".into(), median, p10, p90, bytes, flop: 0.0 });
        }
        Ok(())
    }

    /// 100 iterations in one recorded sequence.
    fn fista<B: AtaBackend>(&mut self, b: &B, a: &BlockDiag, precision: Precision) -> Result<()> {
        const ITERATIONS: usize = 100;
        let frames = 8;
        let products = Products::new(b, a, PlanOptions { precision, ..PlanOptions::default() }, frames)?;
        let batch = products.plan.batch(frames);
        let rho: Vec<f32> = products.plan.row_sums().iter().map(|&v| v as f32).collect();
        let rho = Tensor::<B, f32, 1>::from_slice(b, [rho.len()], &rho)?;
        let t = Tensor::<B, f64, 1>::from_slice(b, [batch.lines()], &vec![1.0; batch.lines()])?;
        let iterate =
            move |b: &B, (s, rho, t): &mut (Products<B>, Tensor<B, f32, 1>, Tensor<B, f64, 1>), count: usize| {
                for _ in 0..count {
                    let [right, y] = &mut s.x[..2] else { return Ok(()) };
                    let [ax, x] = &mut s.y[..2] else { return Ok(()) };
                    s.plan.apply(b, &mut s.work, y.view(), ax.view_mut()).map_err(core)?;
                    let inputs = [ax.flat(), right.flat(), rho.flat()];
                    fista_step(b, batch, [0.0, 1.0], 0.0, inputs, x.flat_mut(), y.flat_mut(), t.flat_mut())?;
                }
                gpu_core::Result::Ok(())
            };
        let mut state = (products, rho, t);
        iterate(b, &mut state, 1)?;
        b.synchronize()?;
        let mut recorded = b.capture(state, move |b, state| iterate(b, state, ITERATIONS))?;
        let mut times = Vec::new();
        for sample in 0..self.args.samples.min(20) + 2 {
            let ((), time) = b.time(|b| recorded.replay(b))?;
            if sample >= 2 {
                times.push(time);
            }
        }
        let [median, p10, p90] = sorted(times);
        let each = a.memory_bytes(precision, Layout::Upper) as f64 + 36.0 * batch.len() as f64;
        let name = format!("fista {ITERATIONS} iterations {precision}");
        self.row(&Row { name, median, p10, p90, bytes: ITERATIONS as f64 * each, flop: 0.0 });
        Ok(())
    }

    fn sums<B: AtaBackend>(&mut self, b: &B, patterns: &Patterns) -> Result<()> {
        let frames = 8;
        let [width, height] = patterns.size();
        let len = frames * patterns.channels() * width * height;
        let pixels: Vec<u8> = (0..len).map(|i| (i * 31 + i / 800 * 7) as u8).collect();
        let device = DevicePatterns::new(b, patterns)?;
        let pixels = Tensor::from_slice(b, [len], &pixels)?;
        let mut out = Tensor::<B, u64, 1>::zeros(b, [frames * patterns.channels() * patterns.n()])?;
        let mut times = Vec::new();
        for sample in 0..self.args.samples + 3 {
            let ((), time) = b.time(|b| {
                kernels::atb_u8(b, &device, pixels.flat(), FrameLayout::Planar, &Transfer::Identity, out.flat_mut())
            })?;
            if sample >= 3 {
                times.push(time);
            }
        }
        let [median, p10, p90] = sorted(times);
        let window = patterns.window() * patterns.window();
        let flop = 2.0 * (frames * patterns.channels() * patterns.n() * window) as f64;
        let bytes = (patterns.data().len() + len) as f64;
        self.row(&Row { name: "atb F=8".into(), median, p10, p90, bytes, flop });
        Ok(())
    }

    /// 131072 unknowns on 28 contiguous diagonals.
    fn large<B: AtaBackend>(&mut self, b: &B) -> Result<()> {
        let (n, diagonals) = (131_072, 28u32);
        let offsets: Vec<u32> = (0..diagonals).collect();
        let shape = (3, offsets.len(), n / BLOCK, BLOCK, BLOCK);
        let mut seed = 0u32;
        let blocks = Array5::from_shape_simple_fn(shape, || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let a = BlockDiag::from_blocks(blocks.view(), &offsets, n, SymmetryPolicy::UpperWins)?;
        drop(blocks);
        for precision in [Precision::F16, Precision::F32, Precision::Tf32x3] {
            let options = PlanOptions { precision, ..PlanOptions::default() };
            self.products(b, &format!("large {precision} F=8"), &a, options, 8, false)?;
        }
        Ok(())
    }
}
