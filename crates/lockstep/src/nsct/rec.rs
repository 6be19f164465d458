use std::path::{Path, PathBuf};

use clap::Args;
use gpu_core::{Tensor, with_backend};
use nsct::{Coeffs, NsctBackend, NsctSpec};
use serde_json::{Value, json};

use super::args::{TransformArgs, describe, parse_format, spec_json};
use super::sidecar::{REMEDY, Sidecar, path_of};
use super::work::{Plans, Sample, download};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::pictures::npy::{Kind, Reader};
use crate::pictures::{self, Depth, Layout, Picture, Writing};
use crate::session::Session;

/// Options of `nsct rec`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct rec c.npy -o back.png            the transform is read from c.json, which dec wrote
  lockstep nsct rec c.npy -o back.npy --f64      unrounded
  lockstep nsct rec coefficients/ -o pictures/   a folder of them
  lockstep nsct rec mine.npy -o back.png -l 2,3 --dfilt pkva --pfilt 9-7   coefficients without a sidecar

Coefficients have the axes [batch, channel, plane, row, column], or [plane, row, column] for one gray picture. Floats in 0..1 are not scaled: \
they are written as .npy only.")]
pub(crate) struct Rec {
    /// Coefficients (.npy), several, or a folder of them
    #[arg(required = true, value_name = "COEFFS")]
    inputs: Vec<PathBuf>,
    /// The picture, or the folder for several
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Format of pictures in a folder: png, tif, jpg or npy
    #[arg(long, default_value = "png", value_name = "ENDING", value_parser = parse_format)]
    format: String,
    /// 8 or 16 bits in pictures [default: as the picture that was decomposed]
    #[arg(long, value_name = "N", value_parser = super::args::parse_bits)]
    bits: Option<u8>,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    backend: BackendArgs,
    #[command(flatten)]
    jobs: JobArgs,
}

impl Rec {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let rename = |p: &Path| format!("{}.{}", p.file_stem().unwrap_or_default().to_string_lossy(), self.format);
        let batch = Batch::plan(&self.inputs, &self.output, |p| pictures::ending(p) == "npy", rename)?;
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        let settings = json!({
            "command": "rec", "format": self.format, "bits": self.bits, "f64": self.transform.f64,
            "levels": self.transform.levels.as_ref().map(|l| &l.0), "dfilt": self.transform.dfilt.map(|v| v.to_string()),
            "pfilt": self.transform.pfilt.map(|v| v.to_string()), "geometry": self.transform.geometry.map(|v| v.to_string()),
            "engine": self.transform.engine.map(|v| v.to_string()),
        });
        with_backend!(&any, |b| self.on(session, b, &batch, &settings))
    }

    fn on<B: NsctBackend<f32> + NsctBackend<f64>>(
        &self,
        session: &Session,
        b: &B,
        batch: &Batch,
        settings: &Value,
    ) -> Result<Exit> {
        let alone = batch.folder.is_none();
        let start = NsctSpec::default();
        let (mut single, mut double) = (Plans::<B, f32>::new(b, &start), Plans::<B, f64>::new(b, &start));
        batch.run(session, &self.jobs, settings, |item| {
            let (reader, spec, picture) = self.open(item)?;
            let outcome = if self.transform.f64 || reader.header.kind == Kind::F64 {
                self.one(double.of(&spec), item, reader, picture)
            } else {
                self.one(single.of(&spec), item, reader, picture)
            }?;
            if alone {
                session.note(format!("{}: reconstructed from {}", item.output.display(), item.name));
            }
            Ok(outcome)
        })
    }

    /// Finds out what a file of coefficients is; the picture has its shape and format but no samples yet.
    fn open(&self, item: &Item) -> Result<(Reader, NsctSpec, Picture)> {
        let path = &item.inputs[0];
        if pictures::ending(path) != "npy" {
            return Err(Failure::input(path, "coefficients are .npy files").help("`lockstep nsct dec` makes them"));
        }
        let sidecar = Sidecar::read(path)?;
        if sidecar.is_none() && self.transform.levels.is_none() {
            return Err(Failure::input(
                path,
                format!("there is no {} that says which transform this is", path_of(path).display()),
            )
            .help("give --levels, and --dfilt, --pfilt and --geometry where they are not the defaults"));
        }
        let base = sidecar.as_ref().map_or_else(NsctSpec::default, |s| s.spec.clone());
        let spec = self.transform.spec_over(base)?;
        if let Some(s) = &sidecar
            && (&s.spec.levels, s.spec.dir, s.spec.pyr, s.spec.geometry)
                != (&spec.levels, spec.dir, spec.pyr, spec.geometry)
        {
            let (given, made) = (describe(&spec), describe(&s.spec));
            tracing::warn!("{}: inverted as {given}, but its .json says {made}", path.display());
        }
        let reader = Reader::open(path)?;
        let shape = match reader.header.shape.as_slice() {
            &[b, c, s, h, w] => [b, c, s, h, w],
            &[s, h, w] => [1, 1, s, h, w],
            other => {
                return Err(Failure::input(
                    path,
                    format!("coefficients have rank 5, this array has rank {} (shape {other:?})", other.len()),
                )
                .help("the axes are [batch, channel, plane, row, column]"));
            }
        };
        if !matches!(reader.header.kind, Kind::F32 | Kind::F64) || !reader.is_row_major() {
            return Err(Failure::input(path, "coefficients are float32 or float64 in row-major order")
                .help("save them with numpy.ascontiguousarray(c, dtype='float32')"));
        }
        let [b, c, s, h, w] = shape;
        if s != spec.plane_count() {
            return Err(Failure::input(
                path,
                format!("there are {s} planes, but levels {:?} have {}", spec.levels, spec.plane_count()),
            )
            .help("give the --levels that the coefficients were made with"));
        }
        if b * c * h * w == 0 {
            return Err(Failure::input(path, format!("shape {shape:?} has no elements")));
        }
        if let Some(s) = sidecar.as_ref().filter(|s| s.shape != shape) {
            let message = format!("its shape is {shape:?}, but {} says {:?}", path_of(path).display(), s.shape);
            return Err(Failure::input(path, message).help(REMEDY));
        }
        let (depth, layout) = match &sidecar {
            Some(s) => (s.depth, s.layout),
            _ if b == 1 && c == 1 => (Depth::U8, Layout::Hw),
            _ => (Depth::U8, Layout::Bchw),
        };
        let picture = Picture { shape: [b, c, h, w], samples: Vec::new(), depth, layout, alpha: None };
        Writing { bits: self.bits, double: false, quality: None }.check(&item.output, picture.shape, depth)?;
        Ok((reader, spec, picture))
    }

    fn one<B: NsctBackend<T>, T: Sample>(
        &self,
        plans: &mut Plans<B, T>,
        item: &Item,
        mut reader: Reader,
        mut picture: Picture,
    ) -> Result<Outcome> {
        let [batch, channels, h, w] = picture.shape;
        let plan = plans.get(h, w)?;
        let (b, spec) = (plan.backend(), plan.spec());
        let (planes, each) = (batch * channels, spec.plane_count() * h * w);
        let step = plan.images_at_once(planes, 1 + plan.planes().len())?;
        let mut at = 0;
        while at < planes {
            let n = step.min(planes - at);
            let values = reader.take(&item.inputs[0], n * each)?;
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                let (plane, rest) = ((i / (h * w)) % spec.plane_count(), i % (h * w));
                return Err(Failure::input(
                    &item.inputs[0],
                    format!(
                        "coefficients must be finite, but {} is {} at row {}, column {}",
                        spec.planes()[plane],
                        values[i],
                        rest / w,
                        rest % w
                    ),
                ));
            }
            let values: Vec<T> = values.into_iter().map(T::of).collect();
            let tensor = Tensor::from_slice(b, [n, 1, spec.plane_count(), h, w], &values)?;
            let coeffs = Coeffs::from_tensor(tensor, plan.planes())?;
            picture.samples.extend(download(b, &plan.reconstruct(&coeffs)?)?);
            at += n;
        }
        let double = T::NAME == "f64";
        pictures::write(&item.output, &picture, Writing { bits: self.bits, double, quality: None })?;
        let value = json!({
            "item": item.name, "output": as_text(&item.output), "shape": picture.shape, "transform": spec_json(spec),
            "engine": plan.engine().to_string(), "backend": B::NAME, "dtype": T::NAME,
        });
        Ok(Outcome { files: vec![item.output.clone()], value })
    }
}
