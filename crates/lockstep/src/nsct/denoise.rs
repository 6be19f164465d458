use std::path::{Path, PathBuf};

use clap::Args;
use gpu_core::with_backend;
use nsct::denoise::{Shrinkage, denoise};
use nsct::{NsctBackend, NsctSpec};
use serde_json::json;

use super::args::{TransformArgs, parse_bits, parse_format, spec_json};
use super::work::{Plans, Sample, download, upload};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::pictures::{self, Layout, Writing, ending, keeps_alpha};
use crate::session::Session;

/// Options of `nsct denoise`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct denoise photo.jpg -o clean.png              the strength of the noise is estimated
  lockstep nsct denoise scan.tif -o clean.tif --sigma 400   it is known; 16 bits count to 65535
  lockstep nsct denoise photos/ -o clean/ --mode hard       a folder; run it again to resume
  lockstep nsct denoise photos/ -o clean/ --shard auto      as part of a Slurm array or under mpirun

Every channel is a picture of its own. bivariate looks at neighbours and parents of a coefficient and is the \
better one for weak and moderate noise; hard is simpler. Output is rounded to the depth of the input, .npy output \
is not. Floats in 0..1 are not scaled: \
they are written as .npy only.")]
pub(crate) struct Denoise {
    /// A picture, several, or a folder
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The picture, or the folder for several
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Standard deviation of the noise in the picture's own units, or `estimated`
    #[arg(long, value_name = "S", default_value = "estimated", value_parser = parse_sigma, allow_hyphen_values = true)]
    sigma: Sigma,
    /// How coefficients are shrunk: bivariate or hard
    #[arg(long, value_name = "NAME", default_value_t)]
    mode: Shrinkage,
    /// Format of pictures in a folder: png, tif, jpg or npy [default: as each input]
    #[arg(long, value_name = "ENDING", value_parser = parse_format)]
    format: Option<String>,
    /// 8 or 16 bits in the output [default: as the input]
    #[arg(long, value_name = "N", value_parser = parse_bits)]
    bits: Option<u8>,
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

/// A known strength of noise, or none.
#[derive(Clone, Copy, Debug)]
struct Sigma(Option<f64>);

fn parse_sigma(text: &str) -> std::result::Result<Sigma, String> {
    if matches!(text, "estimated" | "estimate" | "auto") {
        return Ok(Sigma(None));
    }
    match text.parse::<f64>() {
        Ok(s) if s.is_finite() && s >= 0.0 => Ok(Sigma(Some(s))),
        _ => Err(format!("`{text}` is no standard deviation; write a number that is not negative, or estimated")),
    }
}

impl Denoise {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec = self.transform.spec(&[3, 3, 4, 4])?;
        let batch =
            Batch::plan(&self.inputs, &self.output, pictures::is_picture, |p| rename(p, self.format.as_deref()))?;
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        let mut settings = spec_json(&spec);
        settings["command"] = "denoise".into();
        settings["options"] = json!([self.sigma.0, self.mode.to_string(), self.bits, self.layout, self.transform.f64]);
        let alone = batch.folder.is_none();
        with_backend!(&any, |b| {
            if self.transform.f64 {
                let mut plans = Plans::<_, f64>::new(b, &spec);
                batch.run(session, &self.jobs, &settings, |item| self.one(session, &mut plans, &spec, item, alone))
            } else {
                let mut plans = Plans::<_, f32>::new(b, &spec);
                batch.run(session, &self.jobs, &settings, |item| self.one(session, &mut plans, &spec, item, alone))
            }
        })
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
        let how = Writing { bits: self.bits, double: self.transform.f64, quality: None };
        how.check(&item.output, picture.shape, picture.depth)?;
        let [batch, channels, h, w] = picture.shape;
        let plan = plans.get(h, w)?;
        let finest = plan.planes().iter().zip(plan.gains()?.iter()).filter(|(id, _)| id.scale == spec.levels.len());
        if self.sigma.0.is_none() && !spec.levels.is_empty() && finest.into_iter().any(|(_, gain)| *gain < 1e-6) {
            let message = format!("a picture of {w} × {h} is too small to estimate its noise");
            return Err(Failure::usage(message).help("give --sigma"));
        }
        let x = upload(plan.backend(), &picture, 0..batch * channels)?;
        let done = denoise(&plan, &x, self.sigma.0, self.mode)?;
        let clean = picture.with_samples(download(plan.backend(), &done.image)?);
        pictures::write(&item.output, &clean, how)?;
        if picture.alpha.is_some() && !keeps_alpha(&item.output) {
            session.note(format!("{}: transparency is left out", item.name));
        }
        if alone {
            let sigmas: Vec<_> = done.sigma.iter().map(|s| format!("{s:.2}")).collect();
            let origin = if self.sigma.0.is_some() { "given" } else { "estimated" };
            session.note(format!("{}: noise of {} ({origin}) removed", item.output.display(), sigmas.join(", ")));
        }
        let value = json!({
            "item": item.name, "output": as_text(&item.output), "shape": picture.shape, "sigma": done.sigma,
            "estimated": self.sigma.0.is_none(), "mode": self.mode.to_string(), "transform": spec_json(spec),
            "engine": plan.engine().to_string(), "backend": B::NAME, "dtype": T::NAME,
        });
        Ok(Outcome { files: vec![item.output.clone()], value })
    }
}

/// The output's name in a folder: the input's, in a format that can be written.
pub(super) fn rename(path: &Path, format: Option<&str>) -> String {
    let own = ending(path);
    let format = format.unwrap_or(if own == "webp" { "png" } else { &own });
    format!("{}.{format}", path.file_stem().unwrap_or_default().to_string_lossy())
}
