use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::style::weights::{StyleModel, VitShape};
use ::style::{Engine, EngineOptions, SizePolicy, StyleBackend};
use clap::Args;
use gpu_core::with_backend;
use ndarray::{Array3, ArrayView3};
use serde_json::{Value, json};

use super::apply::Numbers;
use super::library::{Strictness, find, load};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::session::{Session, seconds};

/// Operations and bytes of an input pixel, for a network 32 wide with five residual blocks: products with the four
/// phases of each upsampling layer, and every activation written and read once in f16.
const FLOP: f64 = 266_624.0;
const BYTES_F16: f64 = 886.0;

/// Options of `style bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep style bench                                    common sizes, one picture at once
  lockstep style bench --sizes 512x512 --batch 1,8 --precision f16 --json > now.json
  lockstep style bench --compare before.json              ratios to an earlier run

Sizes are rows by columns. Times are medians of at least 20 runs after warming up: `compute` on the device alone, from \
its own clock, and `wall` with the copies of bytes to it and back. Operations and bytes are the least that the network \
needs: 266,624 a pixel, and 886 in f16 (twice that in f32), for models 32 wide with five blocks.")]
pub(crate) struct Bench {
    /// Rows x columns, by commas
    #[arg(long, value_name = "HxW,…", default_value = "256x256,512x512,1080x1920", value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<(usize, usize)>,
    /// Pictures at once, by commas
    #[arg(long, value_name = "N,…", default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Vec<u16>,
    /// A weight file, or the name of a model [default: random weights, 32 wide: the speed is the same]
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// f16 on tensor cores, or f32 [default: f16 where the device has tensor cores]
    #[arg(long, value_enum)]
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
        let mut rows = Vec::new();
        with_backend!(&any, |b| {
            for &(h, w) in &self.sizes {
                for &n in &self.batch {
                    let row = self.cell(session, b, &model, n.into(), h, w, &before)?;
                    rows.push(row);
                }
            }
            Ok::<_, Failure>(())
        })?;
        session.document(&json!({
            "backend": any.name(), "device_name": any.device().name, "base_channels": model.nc(),
            "residual_blocks": model.residual_blocks(), "rows": rows,
        }))?;
        Ok(Exit::Ok)
    }

    fn cell<B: StyleBackend>(
        &self,
        session: &Session,
        b: &B,
        model: &StyleModel,
        n: usize,
        h: usize,
        w: usize,
        before: &[Value],
    ) -> Result<Value> {
        let options =
            EngineOptions { precision: self.precision.map(Into::into), max_batch: n, ..EngineOptions::default() };
        let mut engine = Engine::with(b, model, options)?;
        let pixel = |(y, x, c): (usize, usize, usize)| ((y * 7 + x * 3 + c * 85) ^ (x * y) >> 5) as u8;
        let picture = Array3::from_shape_fn((h, w, 3), pixel);
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
        let at = |all: &[f64], share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
        let precision = engine.precision().to_string();
        let shape = format!("{n}x{h}x{w}");
        let median = at(compute, 0.5);
        let pixels = (n * h * w) as f64;
        let usual = model.nc() == 32 && model.residual_blocks() == 5;
        // A transformer works on what pictures are continued to.
        let continued = |shape: VitShape| {
            let side = |n: usize| n.next_multiple_of(shape.multiple());
            shape.flops_a_pixel() * (n * side(h) * side(w)) as f64
        };
        let flop = model.transformer().map(continued).or_else(|| usual.then_some(FLOP * pixels));
        let bytes = usual.then_some(BYTES_F16 * pixels * if precision == "f16" { 1.0 } else { 2.0 });
        let ratio = before
            .iter()
            .find(|row| row["shape"] == shape && row["dtype"] == precision && row["kernel"] == "style")
            .and_then(|row| Some(row["median_s"].as_f64()? / median));
        let operations = flop.map_or(String::new(), |flop| format!("  {:6.2} Tflop/s", flop / median * 1e-12));
        let rates =
            bytes.map_or(operations.clone(), |bytes| format!("{operations} {:7.1} GB/s", bytes / median * 1e-9));
        let against = ratio.map_or(String::new(), |r| format!("  {r:.2} times as fast as before"));
        session.say(format!(
            "{shape:>14} {precision}  compute {:>9} (least {:>9})  wall {:>9}{rates}{against}",
            seconds(median),
            seconds(compute[0]),
            seconds(at(wall, 0.5)),
        ));
        Ok(json!({
            "kernel": "style", "shape": shape, "dtype": precision, "samples": self.samples, "median_s": median,
            "p10_s": at(compute, 0.1), "p90_s": at(compute, 0.9), "min_s": compute[0], "wall_s": at(wall, 0.5),
            "flop": flop, "floor_bytes": bytes, "ratio": ratio,
        }))
    }
}

/// The rows of an earlier run.
fn earlier(path: &PathBuf) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
    let document: Value = serde_json::from_str(&text).map_err(|e| Failure::input(path, e))?;
    let rows = document["rows"].as_array().filter(|rows| !rows.is_empty());
    rows.cloned().ok_or_else(|| Failure::input(path, "it has no rows; write it with `style bench --json`"))
}
