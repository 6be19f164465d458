//! `lockstep ata bench`: products, solver and sums on a wall of 2624 LEDs, and on a matrix larger than any cache.

mod clock;
mod products;
mod sums;
mod video;

use ata_wmma::kernels::AtaBackend;
use ata_wmma::wall::{Wall, random_unit};
use ata_wmma::{Graph, Layout, Patterns, Precision, Scale, ordering};
use clap::Args;
use gpu_core::{Tensor, with_backend};
use serde_json::{Value, json};

use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::session::{Session, bytes, seconds};

/// Name on the command line and what it measures.
const CASES: [(&str, &str); 13] = [
    ("G1", "product, f16, 8 frames"),
    ("G2", "product, f16, 16 frames"),
    ("G3", "product, tf32x3, 8 frames"),
    ("G4", "products one frame at a time"),
    ("G5", "products of 8 and 16 frames in every precision, to be held against libraries (benches/peers/ata_torch.py)"),
    ("G6", "product of a matrix larger than any cache, f16"),
    ("G7", "the same in f32 and tf32x3"),
    ("G8", "share of tiles that hold a block"),
    ("G9", "100 iterations of Fista"),
    ("G10", "right sides from frames of bytes"),
    ("G11", "exact Gram matrix"),
    ("video", "eight frames of bytes to bytes for LEDs: right sides, 100 iterations, levels, in one recording"),
    ("cpu", "what the CPU is measured with beside scipy (benches/peers/ata_scipy.py): G1 to G4, G10 and G11 in f32"),
];

/// Options of `ata bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata bench --backend cuda --json > ata.json        G1 to G5, G8 to G11
  lockstep ata bench --backend cuda --case G6 --case G7      352 MB and 704 MB
  lockstep ata bench --backend cpu --threads 1 --case cpu    one core, processor time

Times of a device are those of replayed recordings, with its caches warm (20 products a recording) and `cold`: one
product behind a copy that is larger than the caches. On one CPU thread they are processor time.")]
pub(crate) struct Bench {
    /// G1 to G11, video, or cpu; several times for several [default: cpu on the CPU, else all but G6 and G7]
    #[arg(long, value_name = "CASE")]
    case: Vec<String>,
    /// Times taken of each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// LEDs of the wall
    #[arg(long, value_name = "N", default_value_t = 2624)]
    leds: usize,
    /// Unknowns of the large matrix
    #[arg(long, value_name = "N", default_value_t = 131_072)]
    large: usize,
    #[command(flatten)]
    backend: BackendArgs,
}

/// What was measured.
struct Row {
    /// Like `G1`.
    case: &'static str,
    /// Like `product`.
    what: String,
    precision: &'static str,
    frames: usize,
    variant: String,
    /// Median, 10th and 90th percentile, in seconds.
    times: [f64; 3],
    /// Every operand and result once.
    bytes: f64,
    flop: f64,
}

struct Runner<'a> {
    session: &'a Session,
    args: &'a Bench,
    /// Bytes a second of a copy, read and written.
    copy: f64,
    /// Whether processor time is measured.
    processor: bool,
    rows: Vec<Value>,
}

impl Bench {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        for case in &self.case {
            if !CASES.iter().any(|(name, _)| name.eq_ignore_ascii_case(case)) {
                let all: Vec<String> = CASES.iter().map(|(name, what)| format!("  {name:<4} {what}")).collect();
                return Err(Failure::usage(format!("case: there is no `{case}`; there are\n{}", all.join("\n"))));
            }
        }
        let any = self.backend.open(None)?;
        with_backend!(&any, |b| self.on(session, b))
    }

    fn wants(&self, case: &str, backend: &str) -> bool {
        if self.case.is_empty() {
            return if backend == "cpu" { case == "cpu" } else { !["G6", "G7", "cpu"].contains(&case) };
        }
        self.case.iter().any(|name| name.eq_ignore_ascii_case(case))
    }

    fn on<B: AtaBackend>(&self, session: &Session, b: &B) -> Result<Exit> {
        let wants = |case: &str| self.wants(case, B::NAME);
        let processor = B::NAME == "cpu" && self.backend.threads == Some(1) && clock::processor().is_some();
        let copy = copy_speed(b)?;
        let clock = if processor { ", processor time" } else { "" };
        session.say(format!("{} ({}), copies at {:.1} GB/s{clock}", B::NAME, b.device().name, copy / 1e9));
        session.say(format!(
            "{:<46} {:>10} {:>10} {:>10} {:>8} {:>9} {:>8}",
            "", "median", "p10", "p90", "GB/s", "GFLOP/s", "of floor"
        ));
        let mut runner = Runner { session, args: self, copy, processor, rows: Vec::new() };
        let mut efficiency = None;
        if CASES.iter().any(|(case, _)| !["G6", "G7"].contains(case) && wants(case)) {
            let wall = Wall { leds: self.leds, width: 800, height: 480, block: 64, margin: 20, seed: 1, scale: 1.0 };
            let positions = wall.positions();
            let graph = Graph::of_windows(&wall.corners(&positions), 64);
            let (order, ..) = ordering::best_snake(&positions, &graph, 64)?;
            let patterns = wall.patterns(&order)?;
            let (a, _) = patterns.gram(b, Scale::Unit)?;
            let stats = a.stats();
            efficiency = Some(stats.tile_efficiency);
            session.say(format!(
                "G8: n {}, {} blocks on {} diagonals, {:.1} % of half tiles hold a block, {} in f16",
                stats.n,
                stats.nonempty_upper_blocks,
                stats.offsets.len(),
                100.0 * stats.tile_efficiency,
                bytes(a.memory_bytes(Precision::F16, Layout::Upper))
            ));
            runner.wall(b, &a, &patterns)?;
        }
        if wants("G6") || wants("G7") {
            runner.large(b)?;
        }
        let Runner { rows, .. } = runner;
        session.document(&json!({
            "backend": B::NAME, "device": b.device().name, "copy_bytes_per_s": copy, "samples": self.samples,
            "clock": if processor { "processor" } else { "wall" }, "tile_efficiency": efficiency, "rows": rows,
        }))?;
        Ok(Exit::Ok)
    }
}

impl Runner<'_> {
    fn wall<B: AtaBackend>(&mut self, b: &B, a: &ata_wmma::BlockDiag, patterns: &Patterns) -> Result<()> {
        let args = self.args;
        let wants = |case: &str| args.wants(case, B::NAME);
        self.small(b, a, &wants)?;
        if wants("G9") {
            self.fista(b, a)?;
        }
        if wants("video") {
            self.video(b, a, patterns)?;
        }
        if wants("G10") || wants("cpu") {
            self.right_sides(b, patterns)?;
        }
        if wants("G11") || wants("cpu") {
            self.gram(b, patterns)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &Row) {
        let [median, p10, p90] = row.times;
        let floor = row.bytes / self.copy;
        let name = format!("{:<4} {} {} F={} {}", row.case, row.what, row.precision, row.frames, row.variant);
        self.session.say(format!(
            "{name:<46} {:>10} {:>10} {:>10} {:>8.1} {:>9.1} {:>7.1}%",
            seconds(median),
            seconds(p10),
            seconds(p90),
            row.bytes / median / 1e9,
            row.flop / median / 1e9,
            100.0 * floor / median
        ));
        // `kernel`, `shape` and `dtype` are what the tables of benches/results are ordered by.
        let n = if ["G6", "G7"].contains(&row.case) { self.args.large } else { self.args.leds };
        self.rows.push(json!({
            "case": row.case, "kernel": format!("ata {}", row.what), "shape": format!("n={n} F={}", row.frames),
            "dtype": row.precision, "variant": row.variant, "samples": self.args.samples,
            "median_s": median, "p10_s": p10, "p90_s": p90, "floor_bytes": row.bytes, "flop": row.flop,
            "floor_s": floor, "share_of_floor": floor / median,
        }));
    }
}

/// Values in [0, 1), another set each.
fn values(len: usize, set: u64) -> Vec<f32> {
    (0..len as u64).map(|i| random_unit(set, 0, i) as f32).collect()
}

/// Median, 10th and 90th percentile.
fn percentiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [0.5, 0.1, 0.9].map(|share| times[((times.len() - 1) as f64 * share).round() as usize])
}

fn copy_speed<B: AtaBackend>(b: &B) -> Result<f64> {
    let len = if B::NAME == "cpu" { 1 << 24 } else { 1 << 28 };
    let from = Tensor::<B, f32, 1>::zeros(b, [len])?;
    let mut to = Tensor::<B, f32, 1>::zeros(b, [len])?;
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(b.time(|b| b.copy(from.flat(), to.flat_mut()))?.1.as_secs_f64());
    }
    Ok(8.0 * len as f64 / percentiles(times)[0].max(1e-9))
}

fn core(error: ata_wmma::AtaError) -> gpu_core::Error {
    match error {
        ata_wmma::AtaError::Gpu(error) => error,
        other => gpu_core::Error::value("ata", other.to_string()),
    }
}
