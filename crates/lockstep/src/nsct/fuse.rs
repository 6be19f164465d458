use std::path::{Path, PathBuf};

use clap::Args;
use gpu_core::with_backend;
use nsct::fuse::{Rule, fuse};
use nsct::{NsctBackend, NsctSpec};
use serde_json::json;

use super::args::{TransformArgs, parse_bits, parse_format, spec_json};
use super::denoise::rename;
use super::work::{Plans, Sample, download, same_shape, upload};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{Batch, Item, JobArgs, Outcome, PICTURES, file_name, list, same_place};
use crate::pictures::{self, Layout, Writing, keeps_alpha};
use crate::progress::Remark;
use crate::session::Session;

/// Options of `nsct fuse`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct fuse near.jpg far.jpg -o sharp.png             two focus settings
  lockstep nsct fuse a.tif b.tif c.tif -o all.tif --rule energy
  lockstep nsct fuse left/ right/ -o fused/                    folders: pictures of the same name belong together

The low-pass plane is the mean of the pictures'. maxabs takes the largest coefficient of each place, energy the \
one with the most energy around it, weighted their mean weighted by that energy. Pictures must be aligned.")]
pub(crate) struct Fuse {
    /// Two or more pictures of the same size, or as many folders
    #[arg(required = true, num_args = 2.., value_name = "A B …")]
    inputs: Vec<PathBuf>,
    /// The picture, or the folder for several
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Which coefficient is taken: maxabs, energy, weighted or mean
    #[arg(long, value_name = "NAME", default_value_t)]
    rule: Rule,
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

impl Fuse {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec = self.transform.spec_over(NsctSpec::default())?;
        let batch = self.plan()?;
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        let mut settings = spec_json(&spec);
        settings["command"] = "fuse".into();
        settings["options"] = json!([self.rule.to_string(), self.bits, self.layout, self.transform.f64]);
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

    /// One item of files, or the items of folders.
    fn plan(&self) -> Result<Batch> {
        for path in &self.inputs {
            path.metadata().map_err(|e| Failure::reading(path, &e))?;
        }
        let folders = self.inputs.iter().filter(|p| p.is_dir()).count();
        if folders == 0 {
            let first = &self.inputs[0];
            let output = if self.output.is_dir() {
                self.output.join(rename(first, self.format.as_deref()))
            } else {
                self.output.clone()
            };
            if self.inputs.iter().any(|input| same_place(input, &output)) {
                return Err(Failure::usage(format!("the output {} is an input", output.display()))
                    .help("choose another file with -o"));
            }
            let item = Item { name: file_name(first), inputs: self.inputs.clone(), output };
            return Ok(Batch {
                items: vec![item],
                ignored: Vec::new(),
                folder: None,
                what: PICTURES,
                remark: Remark::default(),
            });
        }
        if folders != self.inputs.len() {
            return Err(Failure::usage("files and folders cannot be fused with each other")
                .help("give pictures only, or folders only"));
        }
        let (pictures, others): (Vec<_>, Vec<_>) =
            list(&self.inputs[0])?.into_iter().partition(|p| pictures::is_picture(p));
        let item = |first: PathBuf| {
            let name = file_name(&first);
            let inputs = self.inputs.iter().map(|folder| folder.join(&name)).collect();
            Item { output: self.output.join(rename(&first, self.format.as_deref())), name, inputs }
        };
        let items: Vec<_> = pictures.into_iter().map(item).collect();
        let mut ignored: Vec<_> = others.iter().map(|p| file_name(p)).collect();
        for folder in &self.inputs[1..] {
            for path in list(folder)? {
                let name = file_name(&path);
                if pictures::is_picture(&path) && !items.iter().any(|i| i.name == name) {
                    ignored.push(format!("{} (not in {})", path.display(), self.inputs[0].display()));
                }
            }
        }
        if self.inputs.iter().any(|input| same_place(input, &self.output)) {
            return Err(Failure::usage(format!("the output folder {} is an input folder", self.output.display()))
                .help("choose another folder with -o"));
        }
        Batch::of_items(items, ignored, &self.output)
    }

    fn one<B: NsctBackend<T>, T: Sample>(
        &self,
        session: &Session,
        plans: &mut Plans<B, T>,
        spec: &NsctSpec,
        item: &Item,
        alone: bool,
    ) -> Result<Outcome> {
        let pictures = item.inputs.iter().map(|path| pictures::read(path, self.layout)).collect::<Result<Vec<_>>>()?;
        let named: Vec<(&Path, _)> = item.inputs.iter().map(PathBuf::as_path).zip(&pictures).collect();
        same_shape(&named)?;
        let first = &pictures[0];
        let how = Writing { bits: self.bits, double: self.transform.f64, quality: None };
        how.check(&item.output, first.shape, first.depth)?;
        let [batch, channels, h, w] = first.shape;
        let plan = plans.get(h, w)?;
        let tensors =
            pictures.iter().map(|p| upload(plan.backend(), p, 0..batch * channels)).collect::<Result<Vec<_>>>()?;
        let fused = fuse(&plan, &tensors.iter().collect::<Vec<_>>(), self.rule)?;
        let picture = first.with_samples(download(plan.backend(), &fused)?);
        pictures::write(&item.output, &picture, how)?;
        if first.alpha.is_some() && !keeps_alpha(&item.output) {
            session.note(format!("{}: transparency is left out", item.name));
        }
        if alone {
            session.note(format!("{}: {} pictures fused by {}", item.output.display(), pictures.len(), self.rule));
        }
        let value = json!({
            "item": item.name, "inputs": item.inputs.iter().map(as_text).collect::<Vec<_>>(), "output": as_text(&item.output), "shape": first.shape,
            "rule": self.rule.to_string(), "transform": spec_json(spec), "engine": plan.engine().to_string(),
            "backend": B::NAME, "dtype": T::NAME,
        });
        Ok(Outcome { files: vec![item.output.clone()], value })
    }
}
