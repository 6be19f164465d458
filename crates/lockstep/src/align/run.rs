use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ::align::descriptor::{Entry, Extra, to_yaml};
use ::align::estimate::Geometry;
use ::align::folder::{self, Scene};
use ::align::kernels::FourierPlan;
use ::align::mask;
use ::align::{AlignBackend, Limits, Options, RawReader, State};
use clap::Args;
use gpu_core::{AnyBackend, Backend, Cpu, with_backend};
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::args::{EstimateArgs, MachineArgs};
use super::queue::Queue;
use super::record::{SetRecord, alone, lines, put, read_set};
use super::report;
use super::work::{Decoding, Finished, Job, Kept, Spent, decode};
use crate::exit::{Exit, Failure, Result};
use crate::files::{fitting, make_folder};
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::session::{Session, bytes};

/// Options of `align run`.
#[allow(clippy::struct_excessive_bools)]
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align run RawNIND/ -o out/                                  shifts and states: out/alignments.jsonl
  lockstep align run RawNIND/ -o out/ --masks out/masks --descriptor out/descriptor.yaml --report
  lockstep align run RawNIND/ -o out/ --dry-run                        scenes, pairs and memory
  lockstep align run RawNIND/ -o out/ --shard 0/4                      one of four parts; the last one to end joins them

Run it again to go on where it stopped. A file that cannot be used costs its pairs, never the scene; exit code 3 when a \
file or a pair failed.")]
pub(crate) struct Run {
    /// Folder of a data set, or of one scene
    #[arg(value_name = "ROOT", required_unless_present = "sets_file")]
    root: Option<PathBuf>,
    /// The output folder
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// A list of scenes in JSON instead of a folder: an array of objects with name, gts and noisy, which are lists of files
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    sets_file: Option<PathBuf>,
    /// Write loss masks into this folder
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Write the list that RawNIND's loaders read
    #[arg(long, value_name = "FILE")]
    descriptor: Option<PathBuf>,
    /// For masks, subtract the black level of the first position everywhere, as RawNIND's own code does
    #[arg(long)]
    original_black: bool,
    /// Compare only pairs that are confident
    #[arg(long)]
    strict: bool,
    /// Only scenes whose name matches; * stands for anything
    #[arg(long, value_name = "GLOB")]
    sets: Option<String>,
    /// Write report/index.html with pictures of before, after and the correlation
    #[arg(long)]
    report: bool,
    /// Say what would be done
    #[arg(long = "dry-run")]
    only_plan: bool,
    /// Go on where an earlier run stopped: what happens without it, too, for scripts that want to say so
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    #[command(flatten)]
    estimate: EstimateArgs,
    #[command(flatten)]
    jobs: JobArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Whether a name matches a pattern in which `*` stands for anything and `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // reached[j]: the pattern so far matches the first j characters.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        for j in 0..=name.len() {
            next[j] = match p {
                '*' => reached[j] || (j > 0 && next[j - 1]),
                '?' => j > 0 && reached[j - 1],
                c => j > 0 && reached[j - 1] && name[j - 1] == c,
            };
        }
        reached = next;
    }
    reached[name.len()]
}

impl Run {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let scenes = self.scenes()?;
        let options = self.estimate.options(&self.machine);
        let shard = self.jobs.shard()?;
        let own = scenes.iter().enumerate().filter(|(i, _)| shard.takes(*i)).map(|(_, scene)| scene);
        let bytes: u64 = own.flat_map(Scene::files).filter_map(|p| p.metadata().ok()).map(|m| m.len()).sum();
        self.machine.start()?;
        if self.only_plan {
            let machines = self.machine.open_all(&shard, bytes, self.compares())?;
            let Some(first) = machines.first() else { return Err(Failure::usage("there is no device")) };
            return with_backend!(first, |b| self.plan(session, b, &scenes, &options));
        }
        let records = self.output.join("sets");
        let report_folder = self.output.join("report");
        make_folder(&records)?;
        for folder in self.masks.iter().chain(self.report.then_some(&report_folder)) {
            make_folder(folder)?;
            crate::files::sweep(folder);
        }
        let items: Vec<Item> = scenes
            .iter()
            .map(|scene| {
                let name = scene.title();
                let output = records.join(fitting(&name.replace('/', "_"), 5) + ".json");
                Item { name, inputs: scene.files().cloned().collect(), output }
            })
            .collect();
        let batch = Batch { what: "scenes", ..Batch::of_items(items, Vec::new(), &self.output)? };
        let job = Job {
            options,
            or_cpu: self.machine.backend.is_auto(),
            compare: self.compares(),
            masks: self.masks.as_deref(),
            same_names: same_names(&scenes),
            strict: self.strict,
            original_black: self.original_black,
            kept: Kept::default(),
        };
        let pages = self.report.then_some(report_folder.as_path());
        let work = |machine: &AnyBackend, scene: Decoding| with_backend!(machine, |b| one_scene(b, &job, pages, scene));
        let all = self.output.join("alignments.jsonl");
        let settings = self.settings();
        let done = batch.done(&self.jobs, &settings)?;
        if shard.count == 1 {
            // What an earlier run began, without lines that were cut short and scenes that are done again.
            let sets: Vec<SetRecord> = done.iter().filter_map(|item| read_set(&item.output).ok()).collect();
            crate::files::write(&all, lines(&sets)?.as_bytes())?;
        }
        let done: BTreeSet<&str> = done.iter().map(|item| item.name.as_str()).collect();
        let todo: Vec<usize> =
            (0..scenes.len()).filter(|&i| shard.takes(i) && !done.contains(batch.items[i].name.as_str())).collect();
        let threads = rayon::current_num_threads();
        let memory = Cpu::new().memory();
        // Beside spectra and colours.
        let waiting = self.machine.memory.unwrap_or(memory.limit.min(memory.free) / 4);
        let files = todo.iter().map(|&i| scenes[i].gts.len() + scenes[i].noisy.len()).sum();
        let queue = Queue::new(super::reader()?, threads, files, waiting);
        let (mut count, mut spent, begun) = (0, Spent::default(), Instant::now());
        // Files are read while devices start.
        let decoding = todo.iter().map(|&i| (i, decode(&scenes[i], &queue))).collect();
        let machines = self.machine.open_all(&shard, bytes, self.compares()).inspect_err(|_| queue.stop())?;
        let machines: Vec<Mutex<AnyBackend>> = machines.into_iter().map(Mutex::new).collect();
        // What this command prints about the whole follows in the end.
        let quiet = Session { json: false, quiet: session.quiet || session.json, ..session.clone() };
        let remark = batch.remark.clone();
        let exit = std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &scenes, decoding, &machines, &work, &queue);
            batch.run(&quiet, &self.jobs, &settings, |item| {
                let at = scenes.iter().position(|s| s.title() == item.name).unwrap_or(0);
                count += 1;
                let finished = ahead.take(at)?;
                let mut files = finished.files;
                let text = serde_json::to_vec_pretty(&finished.record)
                    .map_err(|e| Failure::new(Exit::Io, format!("cannot write the record: {e}")))?;
                let writing = Instant::now();
                // Whoever looks at the list meanwhile, or after a crash, finds all scenes so far; sorted it is in the end.
                let lock = alone(&records);
                let before = item.output.exists() && shard.count > 1;
                crate::files::write(&item.output, &text)?;
                put(&all, &finished.record, before)?;
                drop(lock);
                files.push(item.output.clone());
                spent += finished.spent;
                spent.wrote += writing.elapsed().as_secs_f64();
                // Of the whole the note below says it.
                let more = count < todo.len();
                remark.say(if more {
                    spent.words(begun.elapsed().as_secs_f64(), queue.held_up())
                } else {
                    String::new()
                });
                Ok(Outcome { files, value: Value::Null })
            })
        })?;
        let took = begun.elapsed().as_secs_f64();
        if count > 0 {
            session.note(spent.words(took, queue.held_up()));
        }
        let peak = |machine: &Mutex<AnyBackend>| {
            let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            with_backend!(&*machine, |b| b.memory().peak)
        };
        let speed = json!({
            "device_bytes": machines.iter().map(peak).max(),
            "seconds": took, "pairs": spent.pairs, "megapixels_per_second": spent.pixels as f64 / 1e6 / took.max(1e-9),
            "devices_waited": spent.waited, "devices_worked": spent.worked, "readers_waited": queue.held_up(),
            "readers_worked": queue.worked(), "wrote": spent.wrote,
        });
        let joined = self.join(session, &batch, count, &speed)?;
        Ok(if exit == Exit::Ok { joined } else { exit })
    }

    fn scenes(&self) -> Result<Vec<Scene>> {
        let mut scenes = match (&self.sets_file, &self.root) {
            (Some(list), _) => folder::read_list(list)?,
            (None, Some(root)) => {
                super::check_root(root)?;
                folder::scan(root)?
            }
            (None, None) => return Err(Failure::usage("name a folder, or a list with --sets-file")),
        };
        let all = scenes.len();
        if let Some(pattern) = &self.sets {
            scenes.retain(|s| matches(pattern, &s.title()) || matches(pattern, &s.name));
            if scenes.is_empty() && all > 0 {
                return Err(Failure::usage(format!("none of {all} scenes is called {pattern}"))
                    .help("--sets takes a name as `align scan` shows it, where * stands for anything"));
            }
        }
        scenes.sort_by_key(Scene::title);
        if let Some(twice) = scenes.windows(2).find(|two| two[0].title() == two[1].title()) {
            return Err(Failure::usage(format!("two scenes are called {}", twice[0].title())).help("rename one"));
        }
        if scenes.is_empty() {
            let place =
                self.sets_file.as_ref().or(self.root.as_ref()).map_or(String::new(), |p| p.display().to_string());
            return Err(Failure::usage(format!("there are no scenes in {place}")).help(
                "a scene is a folder with pictures and a folder `gt` with its ground truths; single pictures are for \
                 `align pair`",
            ));
        }
        Ok(scenes)
    }

    /// Folders of the data set that are no scenes, but for those that this command writes.
    fn others(&self) -> Vec<PathBuf> {
        let (Some(root), None) = (&self.root, &self.sets) else { return Vec::new() };
        let own: Vec<PathBuf> = [Some(&self.output), self.masks.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|p| p.canonicalize().ok())
            .collect();
        let mut others = folder::without_ground_truth(root).unwrap_or_default();
        others.retain(|other| other.canonicalize().is_ok_and(|other| own.iter().all(|own| !other.starts_with(own))));
        others
    }

    /// Whether pairs are compared after they are aligned.
    fn compares(&self) -> bool {
        self.descriptor.is_some() || self.masks.is_some() || self.report
    }

    /// Everything that changes what is written about a scene.
    fn settings(&self) -> Value {
        let e = &self.estimate;
        json!({
            "command": "align run", "planes": format!("{:?}", e.planes), "combine": format!("{:?}", e.combine),
            "max_shift": format!("{:?}", e.max_shift), "refine": format!("{:?}", e.refine), "tiles": e.tiles, "masks": self.masks.as_ref().map(crate::files::as_text),
            "compare": self.compares(), "strict": self.strict,
            "report": self.report, "original_black": self.original_black,
        })
    }

    /// `--dry-run`.
    fn plan<B: AlignBackend>(&self, session: &Session, b: &B, scenes: &[Scene], options: &Options) -> Result<Exit> {
        let mut rows = Vec::new();
        let reader = super::reader()?.with_threads(rayon::current_num_threads());
        for scene in scenes {
            let pictures = scene.gts.len() + scene.noisy.len();
            let pairs = scene.gts.len() * pictures;
            let size: u64 = scene.files().filter_map(|p| p.metadata().ok()).map(|m| m.len()).sum();
            let memory = b.memory();
            let budget = options.memory.unwrap_or(memory.limit.min(memory.free));
            // The header says how large pictures are, but not always what is cut from them.
            let first = scene.gts.first().and_then(|p| reader.read(p, &Limits::default()).ok());
            let plan = first.and_then(|f| {
                let mut g = Geometry::new(&f.cfa, f.size(), options).ok()?;
                g.held = FourierPlan::held_bytes(b, g.fft[0], g.fft[1]);
                let useful = if scene.gts.len() > 1 { pictures } else { 2 };
                let colours = self.compares().then(|| mask::slots(f.size(), useful, budget)).transpose();
                let colours =
                    colours.map(|n| n.map_or(0, |n| n * mask::picture_bytes(f.size()) + mask::pair_bytes(f.size())));
                Some((colours, g.plan(pictures, pairs, budget)))
            });
            let about = match &plan {
                Some((Ok(colours), Ok(p))) => {
                    let masks =
                        if *colours > 0 { format!(", then {} for masks", bytes(*colours)) } else { String::new() };
                    let memory = bytes(p.bytes);
                    format!("{} pictures at once, {} pairs at once, {memory} of memory{masks}", p.slots, p.batch)
                }
                Some((Err(e), _) | (_, Err(e))) => e.to_string(),
                None if scene.gts.is_empty() => "there is no ground truth".to_owned(),
                None => "the first ground truth cannot be read".to_owned(),
            };
            let (title, size) = (scene.title(), bytes(size as usize));
            session.say(format!("{title}: {pictures} pictures, {pairs} pairs, {size} of files; {about}"));
            let colours = plan.as_ref().and_then(|(c, _)| c.as_ref().ok().copied());
            let plan = plan.and_then(|(_, p)| p.ok());
            rows.push(json!({
                "set": scene.title(), "pictures": pictures, "pairs": pairs, "slots": plan.map(|p| p.slots),
                "batch": plan.map(|p| p.batch), "bytes": plan.map(|p| p.bytes), "mask_bytes": colours,
            }));
        }
        session.document(&json!({ "sets": rows }))?;
        Ok(Exit::Ok)
    }

    /// Joins what all shards have written so far, and says how it went.
    fn join(&self, session: &Session, batch: &Batch, count: usize, speed: &Value) -> Result<Exit> {
        let lock = alone(&self.output.join("sets"));
        let there = || batch.items.iter().filter(|item| item.output.exists()).count();
        let mut sets;
        // Two shards that end together: what is written last must hold what both of them did.
        loop {
            let before = there();
            sets = self.write_joined(batch)?;
            if there() == before {
                break;
            }
        }
        drop(lock);
        self.summary(session, &sets, batch.items.len(), (count, speed))
    }

    fn write_joined(&self, batch: &Batch) -> Result<Vec<SetRecord>> {
        let mut sets = Vec::new();
        for item in batch.items.iter().filter(|item| item.output.exists()) {
            sets.push(read_set(&item.output)?);
        }
        crate::files::write(&self.output.join("alignments.jsonl"), lines(&sets)?.as_bytes())?;
        if let Some(path) = &self.descriptor {
            let entries: Vec<Entry> = sets.iter().flat_map(|s| &s.pairs).filter_map(entry).collect();
            crate::files::write(path, to_yaml(&entries).as_bytes())?;
        }
        if self.report {
            report::index(&self.output.join("report"), &sets)?;
        }
        Ok(sets)
    }

    fn summary(
        &self,
        session: &Session,
        sets: &[SetRecord],
        all: usize,
        (count, speed): (usize, &Value),
    ) -> Result<Exit> {
        let states = [State::Confident, State::Doubtful, State::NotATranslation, State::AtLimit, State::Failed];
        let pairs: Vec<_> = sets.iter().flat_map(|s| &s.pairs).collect();
        let number = |state: State| pairs.iter().filter(|p| p.result.state == state).count();
        let unsure = pairs.iter().filter(|p| p.result.state == State::Confident && !p.result.rounding_sure).count();
        let mut reasons = BTreeMap::<&str, usize>::new();
        for file in sets.iter().flat_map(SetRecord::bad_files) {
            *reasons.entry(&file.state).or_default() += 1;
            let reason = super::bare(&file.path, file.reason.as_deref().unwrap_or(""));
            session.say(format!("{}: {}: {reason}", file.path.display(), file.state));
        }
        for set in sets.iter().filter(|s| s.unusable.is_some()) {
            session.say(format!("{}: {}", set.set, set.unusable.as_deref().unwrap_or("")));
        }
        for pair in sets.iter().flat_map(SetRecord::bad_pairs) {
            let [gt, file] = [&pair.gt, &pair.file].map(|p| p.file_name().unwrap_or_default().to_string_lossy());
            session.say(format!("{}: {}: {gt} and {file}", pair.set, pair.result.state.name()));
        }
        let others = self.others();
        if !others.is_empty() {
            session.say(super::no_scenes(&others));
        }
        if !reasons.is_empty() {
            let by_kind: Vec<String> = reasons.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            session.note(format!("files that could not be used: {}", by_kind.join(", ")));
        }
        let counted: Vec<String> = states.iter().map(|&s| format!("{} {}", number(s), s.name())).collect();
        session.note(format!(
            "{}: {} of {all} scenes ({count} now), {} pairs: {}; {unsure} confident ones may round wrongly",
            self.output.display(),
            sets.len(),
            pairs.len(),
            counted.join(", ")
        ));
        let failed = sets
            .iter()
            .any(|s| s.unusable.is_some() || s.bad_files().next().is_some() || s.bad_pairs().next().is_some());
        session.document(&json!({
            "output": crate::files::as_text(&self.output), "scenes": all, "done": sets.len(), "now": count, "pairs": pairs.len(),
            "states": states.iter().map(|&s| (s.name(), number(s))).collect::<BTreeMap<_, _>>(),
            "rounding_unsure": unsure, "files_failed": reasons, "no_scenes": super::texts(&others), "speed": speed,
        }))?;
        Ok(if failed { Exit::Partial } else { Exit::Ok })
    }
}

/// Names of scenes that are in several folders.
fn same_names(scenes: &[Scene]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let names = scenes.iter().map(|scene| scene.title().rsplit('/').next().unwrap_or_default().to_owned());
    names.filter(|name| !seen.insert(name.clone())).collect()
}

/// Aligns a scene, and draws its page into a folder.
fn one_scene<B: AlignBackend>(b: &B, job: &Job<'_>, pages: Option<&Path>, scene: Decoding) -> Result<Finished> {
    let mut finished = job.run(b, scene)?;
    if let Some(folder) = pages {
        let drawing = Instant::now();
        let page = report::scene(folder, b, &job.options, &finished)?;
        finished.files.extend(page);
        finished.spent.wrote += drawing.elapsed().as_secs_f64();
    }
    // The page was the last to look at them.
    finished.frames = None;
    Ok(finished)
}

/// A line of the descriptor, for pairs that were compared.
fn entry(pair: &super::record::PairRecord) -> Option<Entry> {
    let u = pair.use_of.as_ref()?;
    let text = |p: &Path| p.to_string_lossy().into_owned();
    Some(Entry {
        gt_fpath: text(&pair.gt),
        f_fpath: text(&pair.file),
        image_set: pair.set.rsplit('/').next().unwrap_or(&pair.set).to_owned(),
        best_alignment: pair.result.rounded,
        best_alignment_loss: u.loss,
        mask_fpath: u.mask.as_deref().map(text),
        mask_mean: u.mask_mean,
        is_bayer: u.is_bayer,
        rgb_xyz_matrix: u.rgb_xyz_matrix,
        overexposure_lb: u.overexposure_lb,
        raw_gain: u.raw_gain,
        rgb_gain: u.rgb_gain,
        lockstep: Extra {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shift: pair.result.shift,
            psr: pair.result.psr,
            ratio: pair.result.ratio,
            state: pair.result.state.name().to_owned(),
            rotation_deg: pair.result.tiles.as_ref().map(|t| t.rotation_deg),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_patterns() {
        for (pattern, name) in
            [("*", "x"), ("", ""), ("a*c", "abbbc"), ("*/mural", "Bayer/mural"), ("?b*", "ab"), ("**", "")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "b"), ("a*c", "abcd"), ("?", ""), ("Bayer/*", "X-Trans/a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
