//! `lockstep ata gen`, `order`, `gram`, `atb` and `render`.

use std::path::{Path, PathBuf};

use ata_wmma::kernels::AtaBackend;
use ata_wmma::wall::Wall;
use ata_wmma::{AnyPatterns, BYTE_SQUARED, Graph, RightSides, Transfer, folder, npy, ordering};
use clap::{Args, ValueEnum};
use gpu_core::with_backend;
use serde_json::json;

use super::files::{Frames, OrderMethod, read_frames, read_order_of, read_vectors};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, as_text};
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
        session.document(&json!({ "out": as_text(&self.out), "pattern_sum": sum, "pattern_crc32": crc }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata order`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata order --patterns wall/                                  the orders that could be taken, compared
  lockstep ata order --patterns wall/ --out order.npy --reorder sorted/")]
pub(crate) struct Order {
    /// Folder of the patterns
    #[arg(long, value_name = "DIR")]
    patterns: PathBuf,
    /// best, rcm, identity or snake:AXIS:WIDTH
    #[arg(long, value_name = "METHOD", default_value = "best")]
    method: OrderMethod,
    /// Where the order goes; without it there is the table alone
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder for the patterns in this order
    #[arg(long, value_name = "DIR")]
    reorder: Option<PathBuf>,
}

impl Order {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = AnyPatterns::load(&self.patterns)?;
        // In the order of the LEDs, as which their places are listed, and by whose numbers ties are decided.
        let known = self.patterns.join("order.npy");
        let patterns = if known.is_file() {
            patterns.reordered(&read_order_of(&known, patterns.windows().0.len())?.inverse)?
        } else {
            patterns
        };
        let (corners, window) = patterns.windows();
        let graph = patterns.graph();
        let positions = self.positions(corners, window)?;
        let chosen = self.method.order(&positions, &graph, window)?;
        let (best, axis, width) = ordering::best_snake(&positions, &graph, window)?;
        let rows = [
            ("chosen".to_owned(), graph.figures(&chosen)),
            (format!("best snake:{axis}:{width}"), graph.figures(&best)),
            ("rcm".to_owned(), graph.figures(&ordering::rcm(&graph))),
            ("identity".to_owned(), graph.figures(&ordering::identity(corners.len()))),
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
        if let Some(folder) = &self.reorder {
            self.reorder(&patterns, &chosen, folder)?;
            session.note(format!("wrote {}: the patterns in this order", folder.display()));
        }
        let table: serde_json::Map<_, _> = rows.iter().map(|(name, f)| (name.clone(), json!(f))).collect();
        session.document(&json!({ "out": self.out.as_ref().map(as_text), "orders": table }))?;
        Ok(Exit::Ok)
    }
}

impl Order {
    /// The place of each LED, of positions.npy; else the middle of its window.
    fn positions(&self, corners: &[[i32; 2]], window: usize) -> Result<Vec<[i32; 2]>> {
        let path = self.patterns.join("positions.npy");
        if !path.is_file() {
            let half = (window / 2) as i32;
            return Ok(corners.iter().map(|&[top, left]| [left + half, top + half]).collect());
        }
        let (shape, places) = npy::read(&path)?.integers(&path)?;
        if shape != [corners.len(), 2] {
            return Err(Failure::input(&path, format!("shape: {shape:?}, expected [{}, 2]", corners.len())));
        }
        Ok(places.chunks_exact(2).map(|place| [place[0], place[1]]).collect())
    }

    /// Writes patterns in an order of the LEDs.
    fn reorder(&self, patterns: &AnyPatterns, chosen: &ordering::Ordering, folder: &Path) -> Result<()> {
        files::make_folder(folder)?;
        patterns.reordered(&chosen.order)?.save(folder)?;
        let order: Vec<i32> = chosen.order.iter().map(|&led| led as i32).collect();
        npy::write(&folder.join("order.npy"), &[order.len()], &order)?;
        let positions = self.patterns.join("positions.npy");
        if positions.is_file() {
            let (shape, places) = npy::read(&positions)?.integers(&positions)?;
            npy::write(&folder.join("positions.npy"), &shape, &places)?;
        }
        Ok(())
    }
}

/// Options of `ata gram`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata gram --patterns wall/ --out matrix/
  lockstep ata gram --patterns wall/ --out matrix/ --int sums.npy --backend cuda")]
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
        let patterns = AnyPatterns::load(&self.patterns)?;
        let any = self.backend.open(None)?;
        let (real, exact) = with_backend!(&any, |b| patterns.gram(b))?;
        let order = self.patterns.join("order.npy");
        let order = order.is_file().then(|| read_order_of(&order, real.n())).transpose()?;
        // Patterns hold full light as 1, so that nothing is left to scale.
        folder::save_matrix_with(&real, &self.out, order.as_ref(), 1.0)?;
        match (&self.int, exact) {
            (None, _) => {}
            (Some(path), Some(exact)) => {
                let shape = [exact.channels, exact.offsets.len(), real.block_rows(), 16, 16];
                let narrow: Option<Vec<i32>> = exact.blocks.iter().map(|&v| i32::try_from(v).ok()).collect();
                match narrow {
                    Some(values) => npy::write(path, &shape, &values)?,
                    None => npy::write(path, &shape, &exact.blocks)?,
                }
            }
            (Some(_), None) => return Err(no_integers(&self.patterns)),
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

/// Sums of real patterns are no integers.
fn no_integers(folder: &Path) -> Failure {
    let why = "descr: these are real numbers, whose sums are no integers; leave --int out, or give patterns of bytes";
    Failure::input(&folder.join("patterns.npy"), why)
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
#[command(after_help = "\
Examples:
  lockstep ata atb --patterns wall/ --frames video.npy --out atb.npy
  lockstep ata atb --patterns wall/ --frames pictures/ --out atb.npy --int sums.npy")]
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

/// Right sides of frames.
pub(super) fn right_sides<B: AtaBackend>(
    b: &B,
    patterns: &AnyPatterns,
    frames: &Frames,
    transfer: &Transfer,
) -> Result<RightSides> {
    Ok(patterns.right_sides(b, &frames.bytes, frames.layout, transfer)?)
}

impl Atb {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = AnyPatterns::load(&self.patterns)?;
        let [n, channels] = patterns.counts();
        let frames = read_frames(&self.frames, channels, patterns.size())?;
        let transfer = self.transfer.of(channels);
        let any = self.backend.open(None)?;
        let (real, exact) = with_backend!(&any, |b| right_sides(b, &patterns, &frames, &transfer))?;
        let shape = [frames.count, channels, n];
        npy::write(&self.out, &shape, &real)?;
        match (&self.int, exact) {
            (None, _) => {}
            (Some(path), Some(exact)) => {
                let narrow: Option<Vec<u32>> = exact.iter().map(|&v| u32::try_from(v).ok()).collect();
                match narrow {
                    Some(values) => npy::write(path, &shape, &values)?,
                    None => npy::write(path, &shape, &exact)?,
                }
            }
            (Some(_), None) => return Err(no_integers(&self.patterns)),
        }
        session.note(format!("wrote {}: {} frames", self.out.display(), frames.count));
        session.document(&json!({ "out": as_text(&self.out), "shape": shape, "unit": transfer.unit() }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata render`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata render --patterns wall/ --x x.npy --out shown.npy
  lockstep ata render --patterns wall/ --x x.npy --out shown.npy --compare video.npy --png sheets/")]
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
    /// Target frames: prints the error of each picture, and draws target, result and difference side by side
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// Folder for these drawings, one a frame [default: OUT without its ending, and -compare]
    #[arg(long, value_name = "DIR", requires = "compare")]
    png: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Render {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let patterns = AnyPatterns::load(&self.patterns)?;
        let [n, channels] = patterns.counts();
        let (shape, x) = read_vectors(&self.x, [channels, n])?;
        let [width, height] = patterns.size();
        let any = self.backend.open(None)?;
        let pixels = with_backend!(&any, |b| patterns.render(b, &x))?;
        npy::write(&self.out, &[shape[0], shape[1], height, width], &pixels)?;
        let mut rows = Vec::new();
        if let Some(path) = &self.compare {
            let frames = read_frames(path, channels, patterns.size())?;
            if frames.count != shape[0] {
                return Err(Failure::input(path, format!("shape: {} frames for {} of values", frames.count, shape[0])));
            }
            let target = planar(&frames, channels);
            let each = width * height * channels;
            let folder = self.png.clone().unwrap_or_else(|| {
                let stem = self.out.file_stem().unwrap_or_default().to_string_lossy();
                self.out.with_file_name(format!("{stem}-compare"))
            });
            files::make_folder(&folder)?;
            for (f, (result, target)) in pixels.chunks_exact(each).zip(target.chunks_exact(each)).enumerate() {
                let square = |(a, b): (&f32, &f64)| (f64::from(*a) - b).powi(2);
                let mse = result.iter().zip(target).map(square).sum::<f64>() / each as f64;
                let psnr = -10.0 * mse.log10();
                session.say(format!("frame {f:>4}  MSE {mse:.6e}  PSNR {psnr:.3} dB"));
                rows.push(json!({ "frame": f, "mse": mse, "psnr": psnr }));
                let sheet = side_by_side(result, target, [shape[1], height, width]);
                pictures::write(&folder.join(format!("frame{f:04}.png")), &sheet, Writing::default())?;
            }
            session.note(format!("wrote {}: target, result and difference of each frame", folder.display()));
        }
        session.document(&json!({ "out": as_text(&self.out), "frames": rows }))?;
        Ok(Exit::Ok)
    }
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
