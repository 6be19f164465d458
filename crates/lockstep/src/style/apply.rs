mod work;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ::style::weights::StyleModel;
use ::style::{Engine, EngineOptions, Precision, SizePolicy, StyleBackend};
use clap::{Args, ValueEnum};
use gpu_core::{AnyBackend, with_backend};
use serde_json::{Value, json};

use super::content::{Content, Mask};
use super::library::{Strictness, blended, find, fingerprint, load};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{Batch, Item, JobArgs, file_name, list};
use crate::pictures::{self, ending, is_picture};
use crate::progress::PixelRate;
use crate::session::Session;

/// Endings that can be asked for.
const FORMATS: [&str; 5] = ["png", "jpg", "tif", "tiff", "webp"];

// Each flag of the command is one.
#[allow(clippy::struct_excessive_bools)]
/// Options of `style apply`.
#[derive(Args, Debug)]
#[command(mut_arg("memory", |arg| arg.visible_alias("tile-mem")))]
#[command(after_help = "\
Examples:
  lockstep style apply --in photo.jpg --out candy.jpg       with the small model that is inside the program
  lockstep style apply --model candy.pth --in photo.jpg --out candy.jpg
  lockstep style apply --model vit:candy --in photo.jpg --out candy.jpg      with the transformer inside the program
  lockstep style apply --model mosaic --in photos/ --out mosaic/ --recursive --ext png   run it again to resume
  lockstep style apply --model candy --in photo.jpg --out soft.png --strength 0.6 --original-colors
  lockstep style apply --blend candy=0.6,mosaic=0.4 --in photo.jpg --out both.png
  lockstep style apply --model candy --mask sky.png --model mosaic --mask ground.png --in a.png --out b.png
  cat photo.png | lockstep style apply --model candy --in - --out - > candy.png

Weights may be safetensors, PyTorch checkpoints or ONNX exports; `lockstep style models` lists those that have names. \
Nothing is downloaded. The result has the size of the picture; gray pictures become colour, 16 bits count as \
fractions of 8, transparency and ICC profiles are kept, and photographs that lie on their side are turned.")]
pub(crate) struct Apply {
    /// A weight file, or the name of a model; several are laid over one another, each with its --mask [default: candy16,
    /// which is inside the program]
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    /// One model whose weights are a mean: candy=0.6,mosaic=0.4
    #[arg(long, value_name = "MODEL=SHARE,…", conflicts_with = "model", value_parser = parse_blend)]
    blend: Option<Blend>,
    /// A picture, a folder, or - for standard input
    #[arg(short, long = "in", value_name = "IN")]
    input: PathBuf,
    /// The picture, the folder, or - for standard output
    #[arg(short, long = "out", value_name = "OUT")]
    output: PathBuf,
    /// Also folders inside the folder; the output has the same ones
    #[arg(short, long)]
    recursive: bool,
    /// Format of pictures in a folder, and on standard output: png, jpg, tif or webp [default: as each input]
    #[arg(long, value_name = "ENDING", value_parser = parse_format)]
    ext: Option<String>,
    /// Quality of JPEG files, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// Scale pictures so that the longer side has this many pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=65536))]
    size: Option<u32>,
    /// Scale pictures by this factor
    #[arg(long, value_name = "F", conflicts_with = "size", value_parser = parse_scale, allow_negative_numbers = true)]
    scale: Option<f64>,
    /// How much of the style: 0 leaves the picture as it is, 1 is all
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = parse_strength, allow_negative_numbers = true)]
    strength: f32,
    /// Keep the colours of the picture; the style gives brightness alone
    #[arg(long)]
    original_colors: bool,
    /// A gray picture that says where: white is all of the style, black none; one for each --model
    #[arg(long, value_name = "FILE")]
    mask: Vec<PathBuf>,
    /// What becomes of sides that are no multiple of 4
    #[arg(long, value_enum, default_value_t)]
    sides: Sides,
    /// Round to the nearest whole number; the default cuts fractions off, as the original program does
    #[arg(long)]
    round: bool,
    /// 8 or 16 bits in the output
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = parse_bits)]
    bits: u8,
    /// Leave pictures alone whose output exists, whatever made it
    #[arg(long, conflicts_with = "overwrite")]
    skip_existing: bool,
    /// Do everything again
    #[arg(long)]
    overwrite: bool,
    /// Pictures of a folder that are worked on together, where they have one size; more fill a GPU that small ones do not
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Numbers that the network computes with: f32, or f16 with sums in f32, much faster and at most some levels of 255
    /// away [default: f16 on a GPU, f32 on the CPU, which has no other]
    #[arg(long, value_name = "f32|f16", value_parser = parse_precision)]
    precision: Option<Numbers>,
    #[command(flatten)]
    backend: BackendArgs,
    #[command(flatten)]
    strictness: Strictness,
    #[command(flatten)]
    jobs: JobArgs,
}

/// Sides that are no multiple of 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sides {
    /// The network's output, cut to the size of the picture
    #[default]
    Crop,
    /// The network's output, up to 3 pixels larger at the bottom and right
    Raw,
    /// The picture is first continued to a multiple of 4
    Pad,
}

impl From<Sides> for SizePolicy {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Crop => Self::Crop,
            Sides::Raw => Self::Raw,
            Sides::Pad => Self::Pad,
        }
    }
}

/// Numbers of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Single precision.
    F32,
    /// Half precision, sums in single.
    F16,
}

impl From<Numbers> for Precision {
    fn from(numbers: Numbers) -> Self {
        match numbers {
            Numbers::F32 => Self::F32,
            Numbers::F16 => Self::F16,
        }
    }
}

/// Models and their shares.
#[derive(Clone, Debug)]
pub(super) struct Blend(pub(super) Vec<(String, f32)>);

pub(super) fn parse_blend(text: &str) -> std::result::Result<Blend, String> {
    let part = |part: &str| {
        let (model, share) = part.rsplit_once('=')?;
        let share: f32 = share.trim().parse().ok().filter(|s: &f32| s.is_finite() && *s >= 0.0)?;
        Some((model.trim().to_owned(), share))
    };
    let wrong = || format!("`{text}` is no blend; write models with shares, such as candy=0.6,mosaic=0.4");
    let parts: Vec<_> = text.split(',').map(part).collect::<Option<_>>().ok_or_else(wrong)?;
    if parts.iter().any(|(_, share)| *share > 0.0) { Ok(Blend(parts)) } else { Err(wrong()) }
}

fn parse_format(text: &str) -> std::result::Result<String, String> {
    let format = text.trim_start_matches('.').to_ascii_lowercase();
    let format = if format == "jpeg" { "jpg".to_owned() } else { format };
    if FORMATS.contains(&format.as_str()) {
        Ok(format)
    } else {
        Err(format!("`{text}` cannot be written; formats are {}", FORMATS.join(", ")))
    }
}

fn parse_scale(text: &str) -> std::result::Result<f64, String> {
    let value = text.parse().ok().filter(|s| (0.001..=100.0).contains(s));
    value.ok_or_else(|| format!("`{text}` is no factor; write a number of 0.001 to 100, such as 0.5"))
}

/// A precision by name; those that people ask for and that are not there, with what does their work.
pub(super) fn parse_precision(text: &str) -> std::result::Result<Numbers, String> {
    match text.to_ascii_lowercase().as_str() {
        "f32" => Ok(Numbers::F32),
        "f16" => Ok(Numbers::F16),
        "tf32" => {
            Err("tf32 is not there. f16 has as many bits of mantissa, sums in f32 too, and is faster: tensor cores \
            take twice as many, in half the memory; where values leave its range, f32 is used by itself. Write f16, or \
            f32 for the smallest error"
                .to_owned())
        }
        _ => Err(format!("`{text}` is no precision; write f32 or f16")),
    }
}

pub(super) fn parse_strength(text: &str) -> std::result::Result<f32, String> {
    let value = text.parse().ok().filter(|s| (0.0..=1.0).contains(s));
    value.ok_or_else(|| format!("`{text}` is no strength; write a number from 0 to 1"))
}

fn parse_bits(text: &str) -> std::result::Result<u8, String> {
    match text {
        "8" => Ok(8),
        "16" => Ok(16),
        _ => Err(format!("`{text}` bits cannot be written; write 8 or 16")),
    }
}

/// Where pictures come from and go to.
struct Places {
    input: PathBuf,
    output: PathBuf,
    /// Holds what streams in or out.
    folder: Option<tempfile::TempDir>,
}

impl Places {
    fn to_stdout(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| self.output.starts_with(folder.path()))
    }
}

/// A model, and where it is applied.
struct Style<B: StyleBackend> {
    engine: Engine<B>,
    mask: Option<Mask>,
}

impl Apply {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let models = self.model.len().max(1);
        if !self.mask.is_empty() && self.mask.len() != models {
            return Err(Failure::usage(format!("{} masks for {models} models", self.mask.len()))
                .help("give one --mask for each --model, or none"));
        }
        if models > 1 && self.mask.is_empty() {
            return Err(Failure::usage(format!("{models} models and no masks: the last one would hide the others"))
                .help("give a --mask for each --model, or mix their weights: --blend candy=0.6,mosaic=0.4"));
        }
        let masks = self.mask.iter().map(|path| Mask::read(path)).collect::<Result<Vec<_>>>()?;
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        let places = self.places(session)?;
        self.run_at(session, &any, &masks, &places).map_err(|mut e| {
            if self.input.as_os_str() == "-" {
                e.message = e.message.replace(&places.input.display().to_string(), "standard input");
            }
            e
        })
    }

    fn run_at(&self, session: &Session, any: &AnyBackend, masks: &[Mask], places: &Places) -> Result<Exit> {
        // A picture on standard output must not have words around it.
        let silent = Session { quiet: true, ..session.clone() };
        let session = if places.to_stdout() { &silent } else { session };
        let batch = self.items(session, places)?;
        let jobs = JobArgs {
            force: self.jobs.force || self.overwrite,
            keep_existing: self.skip_existing,
            ..self.jobs.clone()
        };
        let models = self.models()?;
        let files = if batch.folder.is_some() { fingerprints(&models, masks) } else { Value::Null };
        let exit = with_backend!(any, |b| {
            let mut styles = self.styles(session, b, models, masks)?;
            let rate = PixelRate::new(batch.remark.clone());
            let precision = styles.first().map_or(Precision::F32, |style| style.engine.precision());
            batch.run_staged(
                session,
                &jobs,
                &self.settings(precision, &files),
                usize::from(self.batch),
                |item| self.read(session, item),
                |group| self.styled(session, &mut styles, group),
                |item, styled| {
                    let pixels = styled.pixels();
                    self.write(session, b, item, styled).inspect(|_| rate.add(pixels))
                },
            )
        })?;
        if places.to_stdout() {
            let bytes = std::fs::read(&places.output).map_err(|e| Failure::reading(&places.output, &e))?;
            std::io::stdout().lock().write_all(&bytes).map_err(|e| Failure::writing(Path::new("-"), &e))?;
        }
        Ok(exit)
    }

    /// The models on a backend, with their masks.
    fn styles<B: StyleBackend>(
        &self,
        session: &Session,
        b: &B,
        models: Vec<StyleModel>,
        masks: &[Mask],
    ) -> Result<Vec<Style<B>>> {
        let options = EngineOptions {
            precision: self.precision.map(Precision::from),
            max_batch: self.batch.into(),
            ..EngineOptions::default()
        };
        let mut styles = Vec::new();
        for (i, model) in models.into_iter().enumerate() {
            let engine = Engine::with(b, &model, options)?;
            if options.precision.is_some_and(|asked| asked != engine.precision()) {
                session.note(format!("computing in {}: there is no f16 for this model and device", engine.precision()));
            }
            styles.push(Style { engine, mask: masks.get(i).cloned() });
        }
        Ok(styles)
    }

    /// Input and output; standard input and output become files of a folder that goes away in the end.
    fn places(&self, session: &Session) -> Result<Places> {
        let mut places = Places { input: self.input.clone(), output: self.output.clone(), folder: None };
        let (from_stdin, to_stdout) = (self.input.as_os_str() == "-", self.output.as_os_str() == "-");
        if to_stdout && session.json {
            return Err(Failure::usage("a picture and a JSON document cannot both go to standard output")
                .help("write the picture to a file, or leave out --json"));
        }
        if !from_stdin && !to_stdout {
            return Ok(places);
        }
        if to_stdout && places.input.is_dir() {
            return Err(Failure::usage("a folder cannot go to standard output").help("give a folder with --out"));
        }
        let folder = tempfile::tempdir().map_err(|e| Failure::writing(&std::env::temp_dir(), &e))?;
        if from_stdin {
            places.input = folder.path().join("standard-input.png");
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| Failure::reading(Path::new("-"), &e))?;
            crate::files::write(&places.input, &bytes)?;
        }
        if to_stdout {
            let format = self.ext.as_deref().unwrap_or("png");
            places.output = folder.path().join(format!("standard-output.{format}"));
        }
        places.folder = Some(folder);
        Ok(places)
    }

    fn items(&self, session: &Session, places: &Places) -> Result<Batch> {
        let Places { input, output, .. } = places;
        if input.exists() && !input.is_dir() && !input.is_file() {
            return Err(
                Failure::input(input, "this is neither a file nor a folder").help("--in - takes what a pipe brings")
            );
        }
        let rename = |path: &Path| rename(path, self.ext.as_deref());
        if input.is_dir() && !self.recursive && has_folders(input) {
            session.note(format!("{}: folders inside it are left out; --recursive takes them", input.display()));
        }
        if input.is_dir() && self.recursive {
            if lies_inside(output, input) {
                return Err(Failure::usage(format!("the output folder {} lies inside the input", output.display()))
                    .help("choose another folder with --out: what is there would be an input the next time"));
            }
            let mut items = Vec::new();
            let mut ignored = Vec::new();
            gather(input, input, output, &rename, &mut items, &mut ignored)?;
            return Batch::of_items(items, ignored, output);
        }
        Batch::plan(std::slice::from_ref(input), output, is_picture, rename)
    }

    fn models(&self) -> Result<Vec<StyleModel>> {
        let load = |model: Option<&str>| load(&find(model)?, &self.strictness);
        if let Some(blend) = &self.blend {
            return Ok(vec![blended(blend, &self.strictness)?]);
        }
        if self.model.is_empty() {
            return Ok(vec![load(None)?]);
        }
        self.model.iter().map(|model| load(Some(model))).collect()
    }

    /// Everything that changes a result; `files` stands for what is in files beside the pictures.
    fn settings(&self, precision: Precision, files: &Value) -> Value {
        let blend = self.blend.as_ref().map(|Blend(parts)| json!(parts));
        json!({
            "command": "style apply", "model": self.model, "blend": blend, "quality": self.quality, "size": self.size,
            "scale": self.scale, "strength": self.strength, "original_colors": self.original_colors, "mask": self.mask.iter().map(as_text).collect::<Vec<_>>(),
            "sides": format!("{:?}", self.sides), "round": self.round, "bits": self.bits,
            "precision": precision.to_string(), "files": files,
        })
    }

    fn scaled(&self, path: &Path, content: Content) -> Result<Content> {
        let longer = content.height.max(content.width) as f64;
        let factor = self.size.map(|n| f64::from(n) / longer).or(self.scale);
        let Some(factor) = factor.filter(|f| *f != 1.0) else { return Ok(content) };
        let [height, width] = [content.height, content.width].map(|n| ((n as f64 * factor).round() as usize).max(1));
        // The scaled picture and its planes, the styled ones, and whole numbers of them.
        pictures::room(path, (height as u64 * width as u64).saturating_mul(80)).map_err(|e| {
            e.help(format!("scaled, it has {width} x {height} pixels; give a smaller --size or --scale"))
        })?;
        content.resized(height, width)
    }
}

/// What weights and masks hold: with others under their names, pictures are done again.
fn fingerprints(models: &[StyleModel], masks: &[Mask]) -> Value {
    let models: Vec<_> = models.iter().map(fingerprint).collect();
    let masks: Vec<_> = masks.iter().map(Mask::fingerprint).collect();
    json!([models, masks])
}

/// Whether a place, which need not exist, is a folder or lies below it.
fn lies_inside(place: &Path, folder: &Path) -> bool {
    let (Ok(place), Ok(folder)) = (std::path::absolute(place), folder.canonicalize()) else { return false };
    let there = place.ancestors().find_map(|above| above.canonicalize().ok());
    there.is_some_and(|there| there.starts_with(folder))
}

fn has_folders(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.'))
}

/// Pictures of a folder and of those inside it.
fn gather(
    folder: &Path,
    root: &Path,
    output: &Path,
    rename: &impl Fn(&Path) -> String,
    items: &mut Vec<Item>,
    ignored: &mut Vec<String>,
) -> Result<()> {
    let inside = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
    for path in list(folder)? {
        let name = inside(&path);
        if is_picture(&path) {
            let output = output.join(name.with_file_name(rename(&path)));
            items.push(Item { name: name.to_string_lossy().into_owned(), output, inputs: vec![path] });
        } else {
            ignored.push(name.to_string_lossy().into_owned());
        }
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Failure::reading(folder, &e))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.is_dir() && !path.is_symlink());
    folders.sort();
    folders.iter().try_for_each(|folder| gather(folder, root, output, rename, items, ignored))
}

/// The output's name in a folder: that of the input, but for the ending of what cannot or shall not be written so.
fn rename(path: &Path, format: Option<&str>) -> String {
    let own = ending(path);
    let format = format.or((own == "npy" || own.starts_with('p') && own != "ppm").then_some("png"));
    let Some(format) = format.filter(|format| *format != own) else { return file_name(path) };
    format!("{}.{format}", path.file_stem().unwrap_or_default().to_string_lossy())
}
