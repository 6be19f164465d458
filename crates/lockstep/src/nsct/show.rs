use std::path::PathBuf;

use clap::Args;
use gpu_core::with_backend;
use nsct::{NsctBackend, NsctSpec};
use serde_json::json;

use super::args::{TransformArgs, spec_json};
use super::sheet::Sheet;
use super::sidecar::Sidecar;
use super::work::{Plans, Sample, decompose, download};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{file_name, same_place};
use crate::pictures::npy::Reader;
use crate::pictures::{self, Layout, Picture, Writing, npy};
use crate::session::Session;

/// Options of `nsct show`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct show photo.jpg -o sheet.png
  lockstep nsct show photo.jpg -o sheet.png -l 3,4 --dfilt pkva --tile 256
  lockstep nsct show photo.jpg -o sheet.png -l 4 --geometry toolbox   why wedge is the default
  lockstep nsct show c.npy -o sheet.png                               coefficients that dec wrote

Every plane is scaled by itself, mid-gray is zero. Colour pictures are shown by their brightness; --channel \
chooses one.")]
pub(crate) struct Show {
    /// A picture, or coefficients that `dec` wrote
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The sheet
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Width of each small picture in pixels
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(16..=4096))]
    tile: Option<u16>,
    /// Show this channel, counted from 0, instead of the brightness
    #[arg(long, value_name = "N")]
    channel: Option<usize>,
    /// How .npy input is arranged
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "auto|hw|hwc|chw|bchw")]
    layout: Layout,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    backend: BackendArgs,
}

/// One plane's picture and coefficients.
struct Shown {
    spec: NsctSpec,
    size: (usize, usize),
    peak: f64,
    original: Option<Vec<f64>>,
    planes: Vec<f64>,
}

impl Show {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        Writing::default().check(&self.output, [1, 3, 1, 1], pictures::Depth::U8)?;
        if same_place(&self.input, &self.output) {
            return Err(Failure::usage(format!("the output {} is the input", self.output.display()))
                .help("choose another file with -o"));
        }
        let rank =
            if pictures::ending(&self.input) == "npy" { Reader::open(&self.input)?.header.shape.len() } else { 0 };
        let shown = if rank == 5 { self.coefficients()? } else { self.transformed()? };
        let sheet = Sheet {
            title: &file_name(&self.input),
            spec: &shown.spec,
            height: shown.size.0,
            width: shown.size.1,
            peak: shown.peak,
            original: shown.original.as_deref(),
            planes: &shown.planes,
            tile: self.tile.map(usize::from),
        };
        let picture = sheet.draw();
        pictures::write(&self.output, &picture, Writing::default())?;
        let [.., h, w] = picture.shape;
        session.note(format!("{}: {} planes on {w} × {h} pixels", self.output.display(), shown.spec.plane_count()));
        session.document(&json!({
            "output": as_text(&self.output), "width": w, "height": h, "transform": spec_json(&shown.spec),
            "planes": shown.spec.planes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
        Ok(Exit::Ok)
    }

    fn transformed(&self) -> Result<Shown> {
        let spec = self.transform.spec_over(NsctSpec::default())?;
        let picture = pictures::read(&self.input, self.layout)?;
        let [_, channels, h, w] = picture.shape;
        let original = match self.channel {
            Some(c) if c < channels => picture.plane(c).to_vec(),
            Some(c) => return Err(no_channel(c, channels)),
            None => picture.luma(),
        };
        let gray = Picture { depth: picture.depth, ..Picture::gray(h, w, original) };
        let any = self.backend.open(None)?;
        let planes = with_backend!(&any, |b| {
            if self.transform.f64 {
                coefficients::<_, f64>(b, &spec, &gray)
            } else {
                coefficients::<_, f32>(b, &spec, &gray)
            }
        })?;
        Ok(Shown { spec, size: (h, w), peak: gray.depth.peak(), original: Some(gray.samples), planes })
    }

    fn coefficients(&self) -> Result<Shown> {
        let sidecar = Sidecar::read(&self.input)?;
        let Some(sidecar) = sidecar else {
            return Err(Failure::input(&self.input, "there is no .json beside these coefficients")
                .help("`lockstep nsct dec` writes both; keep them together"));
        };
        let array = npy::read(&self.input)?;
        if array.shape != sidecar.shape {
            return Err(Failure::input(
                &self.input,
                format!("shape {:?}, but its .json says {:?}", array.shape, sidecar.shape),
            ));
        }
        let [_, channels, s, h, w] = sidecar.shape;
        let channel = self.channel.unwrap_or(0);
        if channel >= channels {
            return Err(no_channel(channel, channels));
        }
        let planes = array.values[channel * s * h * w..(channel + 1) * s * h * w].to_vec();
        if s != sidecar.spec.plane_count() {
            return Err(Failure::input(&self.input, "the .json does not fit the coefficients"));
        }
        Ok(Shown { spec: sidecar.spec, size: (h, w), peak: sidecar.depth.peak(), original: None, planes })
    }
}

fn no_channel(channel: usize, channels: usize) -> Failure {
    Failure::usage(format!("--channel {channel} does not exist: there are {channels}, counted from 0"))
}

fn coefficients<B: NsctBackend<T>, T: Sample>(b: &B, spec: &NsctSpec, gray: &Picture) -> Result<Vec<f64>> {
    let [.., h, w] = gray.shape;
    let plan = Plans::<B, T>::new(b, spec).get(h, w)?;
    download(b, decompose(b, &plan, gray)?.tensor())
}
