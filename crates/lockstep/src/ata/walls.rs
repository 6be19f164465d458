//! `lockstep ata gen`, `order`, `gram`, `atb` and `render`.

use std::path::PathBuf;

use ata_wmma::kernels::{self, AtaBackend, RenderTiles};
use ata_wmma::wall::Wall;
use ata_wmma::{BYTE_SQUARED, DevicePatterns, Graph, Patterns, Scale, Transfer, folder, npy, ordering};
use clap::{Args, ValueEnum};
use gpu_core::{Tensor, with_backend};
use serde_json::json;

use super::files::{Frames, OrderMethod, read_frames, read_vectors};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::pictures::{self, Depth, Layout, Picture, Writing};
use crate::session::Session;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum WallKind {
    /// Random places, two to four blobs of light an LED and channel
    #[default]
    #[value(name = "ledwall-v1")]
    LedwallV1,
}

/// Options of `ata gen`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  lockstep ata gen --leds 2624 --width 800 --height 480 --block 64 --margin 20 --seed 1 --scale 1 --out wall/")]
pub(crate) struct Gen {
    /// Kind of wall
    #[arg(long, value_enum, default_value_t)]
    kind: WallKind,
    /// LEDs
    #[arg(long, value_name = "N")]
    leds: usize,
    /// Columns of the picture
    #[arg(long, value_name = "W")]
    width: usize,
    /// Rows of the picture
    #[arg(long, value_name = "H")]
    height: usize,
    /// Side of a pattern's window
    #[arg(long, value_name = "B", default_value_t = 64)]
    block: usize,
    /// Distance of LEDs from the border
    #[arg(long, value_name = "M", default_value_t = 20)]
    margin: usize,
    /// Seed of the random numbers
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Scale of the light's spread
    #[arg(long, value_name = "Q", default_value_t = 1.0)]
    scale: f64,
    /// best, rcm, identity or snake:AXIS:WIDTH
    #[arg(long, value_name = "METHOD", default_value = "best")]
    order: OrderMethod,
    /// Folder of the patterns
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

impl Gen {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let WallKind::LedwallV1 = self.kind;
        let wall = Wall {
            leds: self.leds,
            width: self.width,
            height: self.height,
            block: self.block,
            margin: self.margin,
            seed: self.seed,
            scale: self.scale,
        };
        wall.check()?;
        let positions = wall.positions();
        let graph = Graph::of_windows(&wall.corners(&positions), wall.block);
        let order = self.order.order(&positions, &graph, wall.block)?;
        let patterns = wall.patterns(&order)?;
        files::make_folder(&self.out)?;
        patterns.save(&self.out)?;
        let flat: Vec<i32> = order.order.iter().map(|&v| v as i32).collect();
        npy::write(&self.out.join("order.npy"), &[flat.len()], &flat)?;
        npy::write(&self.out.join("positions.npy"), &[positions.len(), 2], &positions.concat())?;
        let sum: u64 = patterns.data().iter().map(|&v| u64::from(v)).sum();
        let crc = npy::Values::U8(patterns.data().to_vec()).crc32();
        session.say(format!("{}\npattern_sum {sum}\npattern_crc32 {crc}", self.out.display()));
        session.document(&json!({ "out": self.out, "pattern_sum": sum, "pattern_crc32": crc }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata order`.
#[derive(Args, Debug)]
pub(crate) struct Order {
    /// Folder of the patterns
    #[arg(long, value_name = "DIR")]
    patterns: PathBuf,
    /// best, rcm, identity or snake:AXIS:WIDTH
    #[arg(long, value_name = "METHOD", default_value = "best")]
    method: OrderMethod,
    /// Where the order goes [default: order.npy beside the table, not written]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Order {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = Patterns::load(&self.patterns)?;
        let graph = patterns.graph();
        // Where nothing else is known, an LED is in the middle of its window.
        let half = (patterns.window() / 2) as i32;
        let positions: Vec<[i32; 2]> =
            patterns.corners().iter().map(|&[top, left]| [left + half, top + half]).collect();
        let window = patterns.window();
        let chosen = self.method.order(&positions, &graph, window)?;
        let (best, axis, width) = ordering::best_snake(&positions, &graph, window)?;
        let rows = [
            ("chosen".to_owned(), graph.figures(&chosen)),
            (format!("best snake:{axis}:{width}"), graph.figures(&best)),
            ("rcm".to_owned(), graph.figures(&ordering::rcm(&graph))),
            ("identity".to_owned(), graph.figures(&ordering::identity(patterns.n()))),
        ];
        session
            .say(format!("{:<18} {:>9} {:>9} {:>8} {:>10}", "order", "bandwidth", "diagonals", "blocks", "efficiency"));
        for (name, f) in &rows {
            let efficiency = 100.0 * f.tile_efficiency;
            session.say(format!("{name:<18} {:>9} {:>9} {:>8} {efficiency:>9.1}%", f.bandwidth, f.diagonals, f.blocks));
        }
        if let Some(out) = &self.out {
            let flat: Vec<i32> = chosen.order.iter().map(|&v| v as i32).collect();
            npy::write(out, &[flat.len()], &flat)?;
        }
        let table: serde_json::Map<_, _> = rows.iter().map(|(name, f)| (name.clone(), json!(f))).collect();
        session.document(&json!({ "out": self.out, "orders": table }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata gram`.
#[derive(Args, Debug)]
pub(crate) struct Gram {
    /// Folder of the patterns
    #[arg(long, value_name = "DIR")]
    patterns: PathBuf,
    /// Folder of the matrix
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Where the exact integer sums go
    #[arg(long, value_name = "FILE")]
    int: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Gram {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = Patterns::load(&self.patterns)?;
        let any = self.backend.open(None)?;
        let (real, exact) = with_backend!(&any, |b| patterns.gram(b, Scale::Unit))?;
        folder::save_matrix(&real, &self.out)?;
        if let Some(path) = &self.int {
            let shape = [exact.channels, exact.offsets.len(), real.block_rows(), 16, 16];
            let narrow: Option<Vec<i32>> = exact.blocks.iter().map(|&v| i32::try_from(v).ok()).collect();
            match narrow {
                Some(values) => npy::write(path, &shape, &values)?,
                None => npy::write(path, &shape, &exact.blocks)?,
            }
        }
        let stats = real.stats();
        session.say(format!(
            "{}: {} blocks on {} diagonals, bandwidth {}",
            self.out.display(),
            stats.nonempty_upper_blocks,
            stats.offsets.len(),
            stats.bandwidth
        ));
        session.document(&stats)?;
        Ok(Exit::Ok)
    }
}

/// What becomes of a frame's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransferName {
    /// Nothing
    #[default]
    Identity,
    /// sRGB to linear light
    Srgb,
}

impl TransferName {
    pub(super) fn of(self, channels: usize) -> Transfer {
        match self {
            Self::Identity => Transfer::Identity,
            Self::Srgb => Transfer::srgb(channels),
        }
    }
}

/// Options of `ata atb`.
#[derive(Args, Debug)]
pub(crate) struct Atb {
    /// Folder of the patterns
    #[arg(long, value_name = "DIR")]
    patterns: PathBuf,
    /// Frames of bytes: .npy [F, C, H, W] or [F, H, W, C], or a folder of pictures
    #[arg(long, value_name = "PATH")]
    frames: PathBuf,
    /// Where the real values go, [F, C, n]
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Where the exact integer sums go
    #[arg(long, value_name = "FILE")]
    int: Option<PathBuf>,
    /// Applied to the frames first
    #[arg(long, value_enum, default_value_t)]
    transfer: TransferName,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Exact sums of frames.
pub(super) fn sums<B: AtaBackend>(
    b: &B,
    patterns: &Patterns,
    frames: &Frames,
    transfer: &Transfer,
) -> Result<Vec<u64>> {
    let device = DevicePatterns::new(b, patterns)?;
    let pixels = Tensor::from_slice(b, [frames.bytes.len()], &frames.bytes)?;
    let mut out = Tensor::<B, u64, 1>::scratch(b, [frames.count * patterns.channels() * patterns.n()])?;
    kernels::atb_u8(b, &device, pixels.flat(), frames.layout, transfer, out.flat_mut())?;
    Ok(out.to_vec(b)?)
}

impl Atb {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = Patterns::load(&self.patterns)?;
        let frames = read_frames(&self.frames, patterns.channels(), patterns.size())?;
        let transfer = self.transfer.of(patterns.channels());
        let any = self.backend.open(None)?;
        let exact = with_backend!(&any, |b| sums(b, &patterns, &frames, &transfer))?;
        let shape = [frames.count, patterns.channels(), patterns.n()];
        let real: Vec<f32> = exact.iter().map(|&v| (v as f64 / transfer.unit()) as f32).collect();
        npy::write(&self.out, &shape, &real)?;
        if let Some(path) = &self.int {
            let narrow: Option<Vec<u32>> = exact.iter().map(|&v| u32::try_from(v).ok()).collect();
            match narrow {
                Some(values) => npy::write(path, &shape, &values)?,
                None => npy::write(path, &shape, &exact)?,
            }
        }
        session.note(format!("wrote {}: {} frames", self.out.display(), frames.count));
        session.document(&json!({ "out": self.out, "shape": shape, "unit": transfer.unit() }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata render`.
#[derive(Args, Debug)]
pub(crate) struct Render {
    /// Folder of the patterns
    #[arg(long, value_name = "DIR")]
    patterns: PathBuf,
    /// Values [F, C, n], in the order of the patterns
    #[arg(long, value_name = "FILE")]
    x: PathBuf,
    /// Where the pictures go, [F, C, H, W] in float32
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Target frames: prints the error of each picture
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// Folder for one picture a frame: target, result and difference side by side
    #[arg(long, value_name = "DIR", requires = "compare")]
    png: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Render {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = Patterns::load(&self.patterns)?;
        let (shape, x) = read_vectors(&self.x, [patterns.channels(), patterns.n()])?;
        let [width, height] = patterns.size();
        let any = self.backend.open(None)?;
        let pixels = with_backend!(&any, |b| pictures_of(b, &patterns, &x))?;
        npy::write(&self.out, &[shape[0], shape[1], height, width], &pixels)?;
        let mut rows = Vec::new();
        if let Some(path) = &self.compare {
            let frames = read_frames(path, patterns.channels(), patterns.size())?;
            if frames.count != shape[0] {
                return Err(Failure::input(path, format!("shape: {} frames for {} of values", frames.count, shape[0])));
            }
            let target = planar(&frames, patterns.channels());
            let each = width * height * patterns.channels();
            if let Some(folder) = &self.png {
                files::make_folder(folder)?;
            }
            for (f, (result, target)) in pixels.chunks_exact(each).zip(target.chunks_exact(each)).enumerate() {
                let square = |(a, b): (&f32, &f64)| (f64::from(*a) - b).powi(2);
                let mse = result.iter().zip(target).map(square).sum::<f64>() / each as f64;
                let psnr = -10.0 * mse.log10();
                session.say(format!("frame {f:>4}  MSE {mse:.6e}  PSNR {psnr:.3} dB"));
                rows.push(json!({ "frame": f, "mse": mse, "psnr": psnr }));
                if let Some(folder) = &self.png {
                    let sheet = side_by_side(result, target, [shape[1], height, width]);
                    pictures::write(&folder.join(format!("frame{f:04}.png")), &sheet, Writing::default())?;
                }
            }
        }
        session.document(&json!({ "out": self.out, "frames": rows }))?;
        Ok(Exit::Ok)
    }
}

fn pictures_of<B: AtaBackend>(b: &B, patterns: &Patterns, x: &[f32]) -> Result<Vec<f32>> {
    let device = DevicePatterns::new(b, patterns)?;
    let tiles = RenderTiles::new(b, patterns)?;
    let frames = x.len() / (patterns.n() * patterns.channels());
    let [width, height] = patterns.size();
    let x = Tensor::from_slice(b, [x.len()], x)?;
    let mut out = Tensor::<B, f32, 1>::scratch(b, [frames * patterns.channels() * width * height])?;
    kernels::render(b, &device, &tiles, x.flat(), out.flat_mut())?;
    Ok(out.to_vec(b)?)
}

/// Frames as `[F, C, H, W]` in 0..1.
fn planar(frames: &Frames, channels: usize) -> Vec<f64> {
    let of = |v: u8| f64::from(v) / 255.0;
    if frames.layout == ata_wmma::FrameLayout::Planar {
        return frames.bytes.iter().map(|&v| of(v)).collect();
    }
    let each = frames.bytes.len() / frames.count.max(1);
    let area = each / channels;
    frames
        .bytes
        .chunks_exact(each.max(1))
        .flat_map(|f| (0..channels).flat_map(move |c| (0..area).map(move |i| of(f[i * channels + c]))))
        .collect()
}

/// Target, result, and their difference around mid-gray.
fn side_by_side(result: &[f32], target: &[f64], [channels, height, width]: [usize; 3]) -> Picture {
    // Colour needs three channels; others are shown by their first.
    let shown = if channels == 3 { 3 } else { 1 };
    let mut samples = Vec::with_capacity(3 * shown * height * width);
    for c in 0..shown {
        for row in 0..height {
            let at = (c * height + row) * width..(c * height + row + 1) * width;
            samples.extend(target[at.clone()].iter().map(|v| 255.0 * v));
            samples.extend(result[at.clone()].iter().map(|&v| 255.0 * f64::from(v).clamp(0.0, 1.0)));
            let difference = |(a, b): (&f32, &f64)| (127.5 + 255.0 * (f64::from(*a) - b)).clamp(0.0, 255.0);
            samples.extend(result[at.clone()].iter().zip(&target[at]).map(difference));
        }
    }
    let layout = if shown == 3 { Layout::Hwc } else { Layout::Hw };
    Picture { shape: [1, shown, height, 3 * width], samples, depth: Depth::U8, layout, alpha: None }
}

/// What sums are divided by when they are stored as integers.
pub(super) const UNIT: f64 = BYTE_SQUARED;
