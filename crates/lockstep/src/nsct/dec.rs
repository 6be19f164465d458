use std::path::{Path, PathBuf};

use clap::Args;
use gpu_core::with_backend;
use nsct::{NsctBackend, NsctSpec};
use serde_json::{Value, json};

use super::args::{TransformArgs, describe, spec_json};
use super::sidecar::{Sidecar, path_of};
use super::work::{Plans, Sample, in_parts, widen};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::{as_text, make_folder};
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::pictures::canvas::{around_gray, percentile};
use crate::pictures::npy::Writer;
use crate::pictures::{self, Layout, Picture, Writing};
use crate::session::{Session, bytes};

/// Options of `nsct dec`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct dec photo.png -o c.npy                    four scales of 4, 8, 8 and 16 directions
  lockstep nsct dec photo.png -o c.npy -l 3,4 --dfilt pkva --f64
  lockstep nsct dec photo.png -o c.npy --png bands/       and every plane as a picture
  lockstep nsct dec photos/ -o coefficients/              a folder; run it again to resume
  lockstep nsct dec photos/ -o coefficients/ --shard 2/8  the third of eight parts

c.npy has the axes [batch, channel, plane, row, column]; planes are low, then scale 1 (coarsest) direction 1, 2, \
… c.json beside it says which transform it was; `lockstep nsct rec` reads it.")]
pub(crate) struct Dec {
    /// A picture (.png .jpg .tif .webp .pgm .ppm .npy), several, or a folder
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The .npy file, or the folder for several pictures
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Write every plane as a PNG into this folder too
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// How .npy input is arranged
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "auto|hw|hwc|chw|bchw")]
    layout: Layout,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    backend: BackendArgs,
    #[command(flatten)]
    jobs: JobArgs,
}

impl Dec {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec = self.transform.spec_over(NsctSpec::default())?;
        let npy = |p: &Path| format!("{}.npy", p.file_stem().unwrap_or_default().to_string_lossy());
        let batch = Batch::plan(&self.inputs, &self.output, pictures::is_picture, npy)?;
        if let [item] = batch.items.as_slice()
            && pictures::ending(&item.output) != "npy"
        {
            return Err(Failure::usage(format!("coefficients are written as .npy, not as {}", item.output.display()))
                .help("give -o a name that ends in .npy; --png DIR writes pictures of the planes"));
        }
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        with_backend!(&any, |b| {
            if self.transform.f64 {
                self.on::<_, f64>(session, b, &spec, &batch)
            } else {
                self.on::<_, f32>(session, b, &spec, &batch)
            }
        })
    }

    fn on<B: NsctBackend<T>, T: Sample>(
        &self,
        session: &Session,
        b: &B,
        spec: &NsctSpec,
        batch: &Batch,
    ) -> Result<Exit> {
        let mut plans = Plans::<B, T>::new(b, spec);
        let mut settings = spec_json(spec);
        settings["command"] = "dec".into();
        settings["dtype"] = T::NAME.into();
        settings["layout"] = json!(self.layout);
        settings["png"] = json!(self.png.as_ref().map(as_text));
        let alone = batch.folder.is_none();
        batch.run(session, &self.jobs, &settings, |item| self.one(session, &mut plans, spec, item, alone))
    }

    fn one<B: NsctBackend<T>, T: Sample>(
        &self,
        session: &Session,
        plans: &mut Plans<B, T>,
        spec: &NsctSpec,
        item: &Item,
        alone: bool,
    ) -> Result<Outcome> {
        let picture = pictures::read(&item.inputs[0], self.layout)?;
        let [batch, channels, h, w] = picture.shape;
        let plan = plans.get(h, w)?;
        let sidecar = Sidecar::new(spec, &picture, &item.name);
        let folder = self.png.as_ref().map(|dir| {
            let stem = item.output.file_stem().unwrap_or_default();
            if alone { dir.clone() } else { dir.join(stem) }
        });
        let mut writer = Writer::create::<T>(&item.output, &sidecar.shape)?;
        let (mut first, mut drawn) = (0, Vec::new());
        in_parts(plan.backend(), &plan, &picture, |x| {
            let values = plan.decompose(x)?.tensor().to_vec(plan.backend())?;
            writer.append(&values)?;
            if let Some(folder) = &folder {
                for (i, planes) in values.chunks_exact(spec.plane_count() * h * w).enumerate() {
                    let prefix = if batch * channels > 1 { format!("c{}-", first + i) } else { String::new() };
                    drawn.extend(draw_planes(folder, &prefix, spec, planes, (h, w), picture.depth.peak())?);
                }
            }
            first += x.shape()[0];
            Ok(())
        })?;
        writer.finish_with(sidecar.draft(&item.output)?)?;
        if picture.alpha.is_some() {
            session.note(format!("{}: transparency is left out", item.name));
        }
        if alone {
            let each = if batch * channels > 1 {
                format!(" for each of {} channels", batch * channels)
            } else {
                String::new()
            };
            session.note(format!(
                "{}: {} planes of {w} × {h}{each}, {} of {} ({}; {} engine on {})",
                item.output.display(),
                spec.plane_count(),
                bytes(sidecar.shape.iter().product::<usize>() * size_of::<T>()),
                T::NAME,
                describe(spec),
                plan.engine(),
                B::NAME
            ));
        }
        let mut value = sidecar.json();
        let more = json!({
            "item": item.name, "output": as_text(&item.output), "engine": plan.engine().to_string(), "backend": B::NAME,
            "dtype": T::NAME, "png": folder.as_ref().map(as_text),
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        let mut files = vec![item.output.clone(), path_of(&item.output)];
        files.extend(drawn);
        Ok(Outcome { files, value })
    }
}

/// Writes the planes of one channel as pictures, `DIR/s2d5.png`; their paths.
fn draw_planes<T: Sample>(
    folder: &Path,
    prefix: &str,
    spec: &NsctSpec,
    planes: &[T],
    (h, w): (usize, usize),
    peak: f64,
) -> Result<Vec<PathBuf>> {
    make_folder(folder)?;
    let mut paths = Vec::new();
    for (id, plane) in spec.planes().iter().zip(planes.chunks_exact(h * w)) {
        let plane = widen(plane);
        let values = if id.scale == 0 {
            plane.iter().map(|v| v * 255.0 / peak).collect()
        } else {
            around_gray(&plane, percentile(&plane, 0.995))
        };
        let path = folder.join(format!("{prefix}{id}.png"));
        pictures::write(&path, &Picture::gray(h, w, values), Writing::default())?;
        paths.push(path);
    }
    Ok(paths)
}
