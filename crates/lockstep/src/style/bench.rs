mod floor;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::style::weights::StyleModel;
use ::style::{Engine, EngineOptions, SizePolicy, StyleBackend};
use clap::Args;
use gpu_core::{Clocks, Device, with_backend};
use ndarray::{Array3, ArrayView3};
use serde_json::{Value, json};

use super::apply::{Numbers, parse_precision};
use super::library::{Strictness, find, load};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::pictures;
use crate::session::{Session, seconds};
use floor::{ClocksNow, Rates, Work, clocks};

/// Options of `style bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep style bench                                    common sizes
  lockstep style bench --sizes 512x512 --batch 1,8 --precision f16 --json > now.json
  lockstep style bench --compare before.json              ratios to an earlier run
  lockstep style bench --model vit:candy                  the transformer
  lockstep style bench --sizes 2160x3840 --stream         frames one after the other, with their copies
  lockstep style bench --sizes 4320x7680 --memory 1G --samples 3    in strips

Sizes are rows by columns. Times are medians of at least 20 runs after warming up: `compute` on the device alone, from \
its own clock, and `wall` with the copies of bytes to it and back. Operations and bytes are the least that the network \
needs: 266,624 a pixel, and 886 in f16 (twice that in f32), for models 32 wide with five blocks. The floor is the time in \
which the device could do that at best, layer by layer the longer of operations and bytes, and the share of the floor is \
that time over the median. What a device does at best was measured on an H200; of other GPUs it is estimated from their \
clocks, multiprocessors and memory, which no real work reaches; of processors it is not known. Clocks are the driver's affair: nothing sets them, and what \
nvidia-smi says of them is told.")]
#[command(mut_arg("memory", |arg| arg.visible_alias("tile-mem")))]
pub(crate) struct Bench {
    /// Rows x columns, by commas [default: 256x256,512x512; on a GPU also 1080x1920,2160x3840]
    #[arg(long, value_name = "HxW,…", value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<(usize, usize)>,
    /// Pictures at once, by commas [default: 1; on a GPU 1,8]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Vec<u16>,
    /// Also frames one after the other, up to three under way with their copies: time of each, beside the computation alone
    #[arg(long, conflicts_with = "batch")]
    stream: bool,
    /// A weight file, or the name of a model [default: random weights, 32 wide: the speed is the same]
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// f16 on tensor cores, or f32 [default: f16 where the device has tensor cores]
    #[arg(long, value_name = "f32|f16", value_parser = parse_precision)]
    precision: Option<Numbers>,
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// The document of an earlier run (--json) to compare with
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    #[command(flatten)]
    strictness: Strictness,
    #[command(flatten)]
    backend: BackendArgs,
}

fn parse_size(text: &str) -> std::result::Result<(usize, usize), String> {
    let side = |text: &str| text.parse().ok().filter(|n| (5..=1 << 16).contains(n));
    let both = text.split_once('x').and_then(|(h, w)| Some((side(h)?, side(w)?)));
    both.ok_or_else(|| format!("`{text}` is no size; write rows and columns from 5 on, such as 1080x1920"))
}

impl Bench {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let model = match &self.model {
            Some(model) => load(&find(Some(model))?, &self.strictness)?,
            None => StyleModel::random(32, 5, 7),
        };
        let before = self.compare.as_ref().map(earlier).transpose()?.unwrap_or_default();
        let any = self.backend.open(None)?;
        let on_gpu = any.name() == "cuda";
        let (few, many) = ([(256, 256), (512, 512)], [(256, 256), (512, 512), (1080, 1920), (2160, 3840)]);
        let usual: &[_] = if on_gpu { &many } else { &few };
        let sizes = if self.sizes.is_empty() { usual } else { &self.sizes };
        let batches: &[u16] = match self.batch.as_slice() {
            [] if on_gpu && !self.stream => &[1, 8],
            [] => &[1],
            given => given,
        };
        let rates = Rates::of(any.device());
        let mut rows = Vec::new();
        with_backend!(&any, |b| {
            for &(h, w) in sizes {
                for &n in batches {
                    let row = self.cell(session, b, &model, [n.into(), h, w], rates, &before)?;
                    let compute = row["median_s"].as_f64();
                    rows.push(row);
                    if let (true, Some(compute)) = (self.stream, compute) {
                        rows.push(self.streamed(session, b, &model, [h, w], compute)?);
                    }
                }
            }
            Ok::<_, Failure>(())
        })?;
        let clocks = if on_gpu { clocks(any.device().ordinal) } else { None };
        let told = match &clocks {
            _ if !on_gpu => "those of the processor are not controlled".to_owned(),
            Some(ClocksNow { sm: [now, most], memory: [memory, memory_most] }) => {
                format!("not controlled; behind the last run {now} of {most} MHz, memory {memory} of {memory_most} MHz")
            }
            None => "not controlled and not known, since nvidia-smi does not tell".to_owned(),
        };
        session.say(format!("clocks: {told}"));
        session.say(format!("floor: {}", of_rates(rates.as_ref(), any.device())));
        session.document(&json!({
            "backend": any.name(), "device_name": any.device().name, "base_channels": model.nc(),
            "residual_blocks": model.residual_blocks(), "rows": rows,
            "clocks": {
                "controlled": false, "note": told,
                "sm_mhz": clocks.map(|c| c.sm[0]), "sm_most_mhz": clocks.map(|c| c.sm[1]),
                "memory_mhz": clocks.map(|c| c.memory[0]), "memory_most_mhz": clocks.map(|c| c.memory[1]),
            },
            "rates": rates.map(|r| json!({
                "f16_flop_per_s": r.half, "f32_flop_per_s": r.single, "bytes_per_s": r.bytes, "estimated": r.estimated,
            })),
        }))?;
        Ok(Exit::Ok)
    }

    fn engine<B: StyleBackend>(&self, b: &B, model: &StyleModel, n: usize) -> Result<Engine<B>> {
        let options =
            EngineOptions { precision: self.precision.map(Into::into), max_batch: n, ..EngineOptions::default() };
        Ok(Engine::with(b, model, options)?)
    }

    fn cell<B: StyleBackend>(
        &self,
        session: &Session,
        b: &B,
        model: &StyleModel,
        [n, h, w]: [usize; 3],
        rates: Option<Rates>,
        before: &[Value],
    ) -> Result<Value> {
        let shape = format!("{n}x{h}x{w}");
        // The picture, copies of it as one batch, and their results.
        pictures::room(Path::new(&shape), ((1 + 3 * n as u64) * h as u64).saturating_mul(3 * w as u64))
            .map_err(|e| e.help("give smaller --sizes, or a smaller --batch"))?;
        let mut engine = self.engine(b, model, n)?;
        let picture = picture(h, w);
        let pictures: Vec<ArrayView3<'_, u8>> = (0..n).map(|_| picture.view()).collect();
        let mut once = || -> Result<[Duration; 2]> {
            engine.run_u8(&pictures, SizePolicy::Crop)?;
            Ok([engine.timing().compute, engine.timing().wall])
        };
        let start = Instant::now();
        once()?;
        if start.elapsed() < Duration::from_secs(2) {
            once()?;
            once()?;
        }
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..self.samples {
            for (all, time) in times.iter_mut().zip(once()?) {
                all.push(time.as_secs_f64());
            }
        }
        for all in &mut times {
            all.sort_by(f64::total_cmp);
        }
        let [compute, wall] = &times;
        let precision = engine.precision();
        let element = precision.to_string();
        let kernel = if engine.strips() > 0 { format!("{}-strips", kernel(model)) } else { kernel(model) };
        let median = at(compute, 0.5);
        let work = Work::of(model, precision, [n, h, w]);
        let floor = rates.and_then(|rates| work.floor(&rates, precision));
        let share = floor.as_ref().map(|floor| floor.seconds / median);
        let ratio = before
            .iter()
            .find(|row| row["shape"] == shape && row["dtype"] == element && row["kernel"] == kernel)
            .and_then(|row| Some(row["median_s"].as_f64()? / median));
        let told = |text: Option<String>| text.unwrap_or_default();
        let estimated = rates.is_some_and(|rates| rates.estimated);
        let floor_is = if estimated { "estimated floor" } else { "floor" };
        let strips = if engine.strips() > 0 { "  in strips" } else { "" };
        let compared = match ratio {
            Some(r) => format!("  {r:.2} times as fast as before"),
            None if self.compare.is_some() => "  not measured before".to_owned(),
            None => String::new(),
        };
        session.say(format!(
            "{shape:>14} {element}  compute {:>9} (least {:>9})  wall {:>9}  {:6.2} Tflop/s{}{}{compared}{strips}",
            seconds(median),
            seconds(compute[0]),
            seconds(at(wall, 0.5)),
            work.flop / median * 1e-12,
            told(work.bytes.map(|bytes| format!(" {:7.1} GB/s", bytes / median * 1e-9))),
            told(share.map(|share| format!("  {:4.1} % of the {floor_is}", 100.0 * share))),
        ));
        Ok(json!({
            "kernel": kernel, "shape": shape, "dtype": element, "samples": self.samples, "median_s": median,
            "p10_s": at(compute, 0.1), "p90_s": at(compute, 0.9), "min_s": compute[0], "wall_s": at(wall, 0.5),
            "flop": work.flop, "floor_bytes": work.bytes, "ratio": ratio, "in_strips": engine.strips() > 0,
            "floor_s": floor.as_ref().map(|f| f.seconds), "floor_flop_s": floor.as_ref().map(|f| f.of_flop),
            "floor_bytes_s": floor.as_ref().and_then(|f| f.of_bytes), "floor_share": share,
            "floor_estimated": floor.as_ref().map(|_| estimated),
        }))
    }

    /// Frames of a stream, once it is full: `samples` in each of five rounds.
    fn streamed<B: StyleBackend>(
        &self,
        session: &Session,
        b: &B,
        model: &StyleModel,
        [h, w]: [usize; 2],
        compute: f64,
    ) -> Result<Value> {
        const ROUNDS: u32 = 5;
        let mut engine = self.engine(b, model, 1)?;
        let element = engine.precision().to_string();
        let frame = picture(h, w).into_raw_vec_and_offset().0;
        let mut stream = engine.stream(h, w, SizePolicy::Crop)?;
        // Each frame from the fourth on gives a result; the second time around nothing is new.
        for _ in 0..8 {
            stream.push(&frame)?;
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..self.samples {
                stream.push(&frame)?;
            }
            times.push(start.elapsed().as_secs_f64() / f64::from(self.samples));
        }
        times.sort_by(f64::total_cmp);
        let (median, shape) = (at(&times, 0.5), format!("1x{h}x{w}"));
        session.say(format!(
            "{shape:>14} {element}  stream  {:>9} a frame, {:.1} frames/s, {:.1} % of the computation alone",
            seconds(median),
            median.recip(),
            100.0 * compute / median,
        ));
        Ok(json!({
            "kernel": format!("{}-stream", kernel(model)), "shape": shape, "dtype": element,
            "samples": ROUNDS * self.samples, "median_s": median, "p10_s": at(&times, 0.1), "p90_s": at(&times, 0.9),
            "compute_s": compute, "compute_share": compute / median, "frames_per_second": median.recip(),
        }))
    }
}

/// Where the floor comes from, in words.
fn of_rates(rates: Option<&Rates>, device: &Device) -> String {
    let Some(rates) = rates else {
        return format!("not known, since what {} does at best is not", device.name);
    };
    let half = rates.half.map_or_else(String::new, |half| format!("{:.0} Tflop/s in f16, ", half * 1e-12));
    let all = format!("{half}{:.1} Tflop/s in f32, {:.0} GB/s", rates.single * 1e-12, rates.bytes * 1e-9);
    match device.clocks.filter(|_| rates.estimated) {
        None => format!("{all}, as measured on a {}", device.name),
        Some(Clocks { units_khz, memory_khz, memory_bits }) => format!(
            "{all}, estimated from {} multiprocessors at {} MHz and {memory_bits} lines of memory at {} MHz",
            device.units,
            units_khz / 1000,
            memory_khz / 1000
        ),
    }
}

/// What rows are called: the usual network, 32 wide with five blocks, is what peers are measured on.
fn kernel(model: &StyleModel) -> String {
    match (model.transformer(), model.nc(), model.residual_blocks()) {
        (Some(_), ..) => "style-vit".to_owned(),
        (None, 32, 5) => "style".to_owned(),
        (None, nc, blocks) => format!("style-nc{nc}-{blocks}"),
    }
}

fn picture(h: usize, w: usize) -> Array3<u8> {
    Array3::from_shape_fn((h, w, 3), |(y, x, c)| ((y * 7 + x * 3 + c * 85) ^ (x * y) >> 5) as u8)
}

/// The value behind so large a share of sorted ones.
fn at(all: &[f64], share: f64) -> f64 {
    all[((all.len() - 1) as f64 * share).round() as usize]
}

/// The rows of an earlier run.
fn earlier(path: &PathBuf) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
    let document: Value = serde_json::from_str(&text).map_err(|e| Failure::input(path, e))?;
    let rows = document["rows"].as_array().filter(|rows| !rows.is_empty());
    rows.cloned().ok_or_else(|| Failure::input(path, "it has no rows; write it with `style bench --json`"))
}
