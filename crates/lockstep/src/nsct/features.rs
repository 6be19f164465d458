use std::path::{Path, PathBuf};

use clap::Args;
use gpu_core::with_backend;
use nsct::features::{Stat, features};
use nsct::{NsctBackend, NsctSpec};
use serde_json::json;

use super::args::{TransformArgs, spec_json};
use super::sidecar::{draft, path_of};
use super::work::{Plans, Sample, in_parts};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::pictures::npy::Writer;
use crate::pictures::{self, Layout, npy};
use crate::session::Session;

/// Name of the table of a whole folder, without its ending.
const TABLE: &str = "features";

/// Options of `nsct features`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct features photo.png -o f.npy                        energy of each plane
  lockstep nsct features photo.png -o f.npy --stat energy,entropy
  lockstep nsct features textures/ -o features/                    a folder, and one table of all pictures

f.npy has the axes [batch, channel, plane, figure] in double precision; f.json beside it names planes and \
figures. For a folder, features/features.npy is [picture, …] as soon as all pictures, of all shards, are done and \
alike in shape.")]
pub(crate) struct Features {
    /// A picture, several, or a folder
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The .npy file, or the folder for several pictures
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Figures, with commas between: energy, mean-abs, std, entropy
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "energy")]
    stat: Vec<Stat>,
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

fn remove_table(folder: &Path) -> Result<()> {
    for ending in ["npy", "json"] {
        let path = folder.join(TABLE).with_extension(ending);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::writing(&path, &e)),
            _ => {}
        }
    }
    Ok(())
}

impl Features {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec = self.transform.spec_over(NsctSpec::default())?;
        let npy = |p: &Path| format!("{}.npy", p.file_stem().unwrap_or_default().to_string_lossy());
        let batch = Batch::plan(&self.inputs, &self.output, pictures::is_picture, npy)?;
        for item in &batch.items {
            if pictures::ending(&item.output) != "npy" {
                return Err(Failure::usage(format!("features are written as .npy, not as {}", item.output.display()))
                    .help("give -o a name that ends in .npy"));
            }
            if batch.folder.is_some() && item.output.file_stem().is_some_and(|s| s == TABLE) {
                return Err(Failure::usage(format!("{} would take the place of the table of all pictures", item.name))
                    .help(format!("rename it; {TABLE}.npy is the table")));
            }
        }
        let any = self.backend.open(Some(&self.jobs.shard()?))?;
        let mut settings = spec_json(&spec);
        settings["command"] = "features".into();
        settings["options"] = json!([self.stats(), self.layout, self.transform.f64]);
        let alone = batch.folder.is_none();
        if let Some(folder) = &batch.folder
            && !batch.all_done(&settings)?
        {
            // A table of other pictures or of another transform would be taken for this one's.
            remove_table(folder)?;
        }
        let exit = with_backend!(&any, |b| {
            if self.transform.f64 {
                let mut plans = Plans::<_, f64>::new(b, &spec);
                batch.run(session, &self.jobs, &settings, |item| self.one(session, &mut plans, &spec, item, alone))
            } else {
                let mut plans = Plans::<_, f32>::new(b, &spec);
                batch.run(session, &self.jobs, &settings, |item| self.one(session, &mut plans, &spec, item, alone))
            }
        })?;
        if let Some(folder) = &batch.folder
            && batch.all_done(&settings)?
        {
            self.table(session, folder, &batch, &spec)?;
        }
        Ok(exit)
    }

    fn stats(&self) -> Vec<String> {
        self.stat.iter().map(ToString::to_string).collect()
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
        let mut values = Vec::new();
        in_parts(plan.backend(), &plan, &picture, |x| {
            values.extend(features(&plan, x, &self.stat)?);
            Ok(())
        })?;
        let shape = [batch, channels, spec.plane_count(), self.stat.len()];
        let planes: Vec<_> = plan.planes().iter().map(ToString::to_string).collect();
        let mut about = json!({
            "format": "lockstep nsct features", "version": 1, "transform": spec_json(spec), "shape": shape,
            "axes": ["batch", "channel", "plane", "figure"], "planes": planes, "figures": self.stats(),
            "source": item.name,
        });
        let mut writer = Writer::create::<f64>(&item.output, &shape)?;
        writer.append(&values)?;
        writer.finish_with(draft(&item.output, &about)?)?;
        if alone {
            session.note(format!(
                "{}: {} of {} planes for {} channels",
                item.output.display(),
                self.stats().join(", "),
                planes.len(),
                batch * channels
            ));
        }
        if let Some(about) = about.as_object_mut() {
            about.extend([
                ("item".to_owned(), json!(item.name)),
                ("output".to_owned(), json!(as_text(&item.output))),
                ("backend".to_owned(), B::NAME.into()),
                ("engine".to_owned(), plan.engine().to_string().into()),
                ("values".to_owned(), json!(values)),
            ]);
        }
        Ok(Outcome { files: vec![item.output.clone(), path_of(&item.output)], value: about })
    }

    /// One array of all pictures, when they are alike in shape.
    fn table(&self, session: &Session, folder: &Path, batch: &Batch, spec: &NsctSpec) -> Result<()> {
        let (mut shape, mut values) = (Vec::new(), Vec::new());
        for item in &batch.items {
            let array = npy::read(&item.output)?;
            if !shape.is_empty() && shape != array.shape {
                session.note(format!(
                    "no table of all pictures: {} has shape {:?}, others {shape:?}",
                    item.name, array.shape
                ));
                return remove_table(folder);
            }
            shape = array.shape;
            values.extend(array.values);
        }
        let mut whole = vec![batch.items.len()];
        whole.extend(shape);
        let planes: Vec<_> = spec.planes().iter().map(ToString::to_string).collect();
        let about = json!({
            "format": "lockstep nsct features", "version": 1, "transform": spec_json(spec), "shape": whole,
            "axes": ["picture", "batch", "channel", "plane", "figure"], "planes": planes, "figures": self.stats(),
            "pictures": batch.items.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(),
        });
        let path = folder.join(format!("{TABLE}.npy"));
        let mut writer = Writer::create::<f64>(&path, &whole)?;
        writer.append(&values)?;
        writer.finish_with(draft(&path, &about)?)?;
        session.note(format!("{}: table of all {} pictures", path.display(), batch.items.len()));
        Ok(())
    }
}
