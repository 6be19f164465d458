//! One picture or a folder of them: which items there are, which are this shard's, which are done already.

mod staged;

use std::collections::{BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::files::{as_text, make_folder};
use crate::progress::{Progress, Remark};
use crate::session::{Session, seconds};
use crate::shard::{Shard, ShardChoice};

/// The list of finished items in an output folder.
pub(crate) const JOURNAL: &str = "done.jsonl";

/// Options of commands that work on folders.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Folders")]
pub(crate) struct JobArgs {
    /// Work on part I of N of a folder (counted from 0), or `auto`: what Slurm, mpirun or Kubernetes say
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<ShardChoice>,
    /// Do items again that are done already
    #[arg(long)]
    pub(crate) force: bool,
    /// Count an item as done when its output exists, whatever made it; a command sets it that has an option for it.
    #[arg(skip)]
    pub(crate) keep_existing: bool,
}

impl JobArgs {
    /// This process's part.
    pub(crate) fn shard(&self) -> Result<Shard> {
        self.shard.map_or(Ok(Shard::WHOLE), ShardChoice::resolve)
    }
}

/// One unit of work: files that are read together and the file that comes out.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) output: PathBuf,
}

impl Item {
    /// An error with the file that was being worked on in front: the first of the item's, unless it names one of them.
    fn blame(&self, error: Failure) -> Failure {
        let named = |path: &PathBuf| error.message.contains(&path.display().to_string());
        match self.inputs.first() {
            Some(first) if !self.inputs.iter().any(named) => error.at(first),
            _ => error,
        }
    }
}

/// What an item produced.
pub(crate) struct Outcome {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) value: Value,
}

/// What became of a shard's items.
struct Tally<'a> {
    done: Vec<Value>,
    failed: Vec<(&'a Item, Failure)>,
    resumed: usize,
    left: usize,
    items: usize,
    start: Instant,
}

/// All items of a command.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// Names of files in the folder that are no pictures.
    pub(crate) ignored: Vec<String>,
    /// The output folder, when there may be several items.
    pub(crate) folder: Option<PathBuf>,
    /// What items are called.
    pub(crate) what: &'static str,
    /// What progress says beside their number.
    pub(crate) remark: Remark,
}

/// What items are called unless a command says otherwise.
pub(crate) const PICTURES: &str = "pictures";

/// Names of the files in a folder, sorted; hidden ones and folders are left out. Links to nothing are files that cannot be
/// read: somebody meant them.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = |e: std::io::Error| Failure::reading(folder, &e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let path = entry.map_err(reading)?.path();
        let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        if (path.is_file() || path.is_symlink() && !path.exists()) && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A path's last part as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Batch {
    /// Items for one file, several files or a folder. `accepts` chooses files inside folders; `rename` makes the
    /// output's name from the input's.
    pub(crate) fn plan(
        inputs: &[PathBuf],
        output: &Path,
        accepts: impl Fn(&Path) -> bool,
        rename: impl Fn(&Path) -> String,
    ) -> Result<Self> {
        for path in inputs {
            path.metadata().map_err(|e| Failure::reading(path, &e))?;
        }
        if let [file] = inputs
            && file.is_file()
        {
            let output = if output.is_dir() { output.join(rename(file)) } else { output.to_owned() };
            if same_place(file, &output) {
                return Err(Failure::usage(format!("the output {} is the input", output.display()))
                    .help("choose another file with -o"));
            }
            let item = Item { name: file_name(file), inputs: vec![file.clone()], output };
            return Ok(Self {
                items: vec![item],
                ignored: Vec::new(),
                folder: None,
                what: PICTURES,
                remark: Remark::default(),
            });
        }
        let (mut files, mut ignored) = (Vec::new(), Vec::new());
        for input in inputs {
            if input.is_file() {
                files.push(input.clone());
                continue;
            }
            if same_place(input, output) {
                return Err(Failure::usage(format!("the output folder {} is the input folder", output.display()))
                    .help("choose another folder with -o"));
            }
            let (pictures, others): (Vec<_>, Vec<_>) = list(input)?.into_iter().partition(|p| accepts(p));
            files.extend(pictures);
            ignored.extend(others.iter().map(|p| file_name(p)));
        }
        if files.is_empty() {
            let inputs = inputs.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
            let found = if ignored.is_empty() { String::new() } else { format!(" (only {})", sample(&ignored)) };
            return Err(Failure::usage(format!("there is nothing in {inputs} that this command reads{found}"))
                .help("--help says what it reads; folders inside a folder are not searched"));
        }
        let items =
            files.into_iter().map(|f| Item { name: file_name(&f), output: output.join(rename(&f)), inputs: vec![f] });
        Self::of_items(items.collect(), ignored, output)
    }

    /// Items that were put together elsewhere, with an output folder.
    pub(crate) fn of_items(items: Vec<Item>, ignored: Vec<String>, output: &Path) -> Result<Self> {
        if output.is_file() {
            return Err(Failure::usage(format!("{} is a file, and several pictures need a folder", output.display()))
                .help("choose a folder with -o"));
        }
        let mut taken: HashMap<&Path, &str> = HashMap::new();
        for item in &items {
            if let Some(other) = taken.insert(&item.output, &item.name) {
                return Err(Failure::usage(format!(
                    "{other} and {} would both be written to {}",
                    item.name,
                    item.output.display()
                ))
                .help("rename one of them, or run them one by one"));
            }
        }
        Ok(Self { items, ignored, folder: Some(output.to_owned()), what: PICTURES, remark: Remark::default() })
    }

    /// Runs `work` over this shard's items that are not done yet. `settings` is everything that changes the result.
    pub(crate) fn run(
        &self,
        session: &Session,
        args: &JobArgs,
        settings: &Value,
        mut work: impl FnMut(&Item) -> Result<Outcome>,
    ) -> Result<Exit> {
        let shard = args.shard()?;
        let Some(folder) = &self.folder else {
            let [item] = self.items.as_slice() else {
                return Err(Failure::usage("several items need a folder"));
            };
            if args.keep_existing && item.output.exists() {
                session.note("nothing is left to do: the output is there");
                session.document(&json!({ "item": item.name, "items": [] }))?;
                return Ok(Exit::Ok);
            }
            if !shard.takes(0) {
                session.note(format!("{}: shard {shard} has nothing to do", item.name));
                session.document(&json!({ "item": item.name, "shard": shard.to_string(), "items": [] }))?;
                return Ok(Exit::Ok);
            }
            self.sweep();
            let outcome = work(item).map_err(|e| item.blame(e))?;
            session.document(&outcome.value)?;
            return Ok(Exit::Ok);
        };
        if self.items.is_empty() {
            let found =
                if self.ignored.is_empty() { String::new() } else { format!(" (only {})", sample(&self.ignored)) };
            return Err(Failure::usage(format!("there are no pictures in the folder{found}"))
                .help("it may hold .png, .jpg, .tif, .webp, .pgm, .ppm and .npy files"));
        }
        make_folder(folder)?;
        self.sweep();
        let mut journal = Journal::open(folder)?;
        let mine: Vec<_> =
            self.items.iter().enumerate().filter(|(i, _)| shard.takes(*i)).map(|(_, item)| item).collect();
        let progress = Progress::with_remark(session, mine.len(), self.what, self.remark.clone());
        let (mut done, mut resumed, mut failed) = (Vec::new(), 0, Vec::new());
        crate::interrupt::listen();
        let mut left = mine.len();
        let start = Instant::now();
        for item in &mine {
            if crate::interrupt::asked() {
                break;
            }
            left -= 1;
            progress.at(&item.name);
            if journal.need_not(item, settings, args) {
                resumed += 1;
                progress.skip(1);
                continue;
            }
            let begun = Instant::now();
            match work(item) {
                Ok(outcome) => {
                    journal.add(item, settings, &outcome, begun.elapsed().as_secs_f64())?;
                    done.push(outcome.value);
                }
                // Every later item would fail in the same way.
                Err(e) if e.exit == Exit::Backend => return Err(item.blame(e)),
                Err(e) => failed.push((*item, item.blame(e))),
            }
            progress.step();
        }
        drop(progress);
        self.conclude(session, folder, shard, Tally { done, failed, resumed, left, items: mine.len(), start })
    }

    /// Removes what killed processes left in the folders that outputs go to.
    fn sweep(&self) {
        let parents = self.items.iter().filter_map(|item| item.output.parent());
        parents.chain(self.folder.as_deref()).collect::<BTreeSet<_>>().into_iter().for_each(crate::files::sweep);
    }

    /// Says what became of the items.
    fn conclude(&self, session: &Session, folder: &Path, shard: Shard, tally: Tally<'_>) -> Result<Exit> {
        let Tally { done, failed, resumed, left, items, start } = tally;
        for (_, failure) in &failed {
            crate::report_failure(session, failure);
        }
        let took = start.elapsed().as_secs_f64();
        let mut parts = vec![format!("{} done in {}", done.len(), seconds(took))];
        for (n, what) in [(resumed, "already done"), (failed.len(), "failed"), (left, "left: interrupted")] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        if !self.ignored.is_empty() {
            parts.push(format!("{} ignored that are no pictures ({})", self.ignored.len(), sample(&self.ignored)));
        }
        if shard.count > 1 {
            parts.push(format!("shard {shard} with {} of {} {}", items, self.items.len(), self.what));
        }
        let line = parts.join(", ");
        session.note(format!("{}: {line}", folder.display()));
        session.document(&json!({
            "folder": as_text(folder), "shard": shard.to_string(), "seconds": took, "resumed": resumed, "items": done,
            "ignored": self.ignored, "left": left,
            "failed": failed.iter().map(|(item, e)| json!({"item": item.name, "error": e.to_json()})).collect::<Vec<_>>(),
        }))?;
        Ok(match (left, failed.is_empty()) {
            (0, true) => Exit::Ok,
            (0, false) => Exit::Partial,
            _ => Exit::Interrupted,
        })
    }

    /// The items that [`run`](Self::run) would not do again.
    pub(crate) fn done(&self, args: &JobArgs, settings: &Value) -> Result<Vec<&Item>> {
        let Some(folder) = self.folder.as_ref().filter(|_| !args.force) else { return Ok(Vec::new()) };
        let journal = Journal::open(folder)?;
        Ok(self.items.iter().filter(|item| journal.has(item, settings)).collect())
    }

    /// Whether every item, of all shards, is in the journal.
    pub(crate) fn all_done(&self, settings: &Value) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(true) };
        let journal = Journal::open(folder)?;
        Ok(self.items.iter().all(|item| journal.has(item, settings)))
    }
}

/// The first few names of a list.
fn sample(names: &[String]) -> String {
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown}, …") } else { shown }
}

/// Whether two paths are one file or folder that exists.
pub(crate) fn same_place(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Size and time of change of the inputs: a picture that was replaced is done again.
fn stamp(item: &Item) -> Value {
    let one = |path: &PathBuf| {
        let Ok(meta) = path.metadata() else { return Value::Null };
        let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        json!([meta.len(), modified.map(|t| t.as_millis() as u64)])
    };
    item.inputs.iter().map(one).collect()
}

/// `done.jsonl`: one line for each finished item, written after its files have their final names.
struct Journal {
    path: PathBuf,
    folder: PathBuf,
    lines: HashMap<String, Value>,
}

impl Journal {
    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(JOURNAL);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Failure::reading(&path, &e)),
        };
        // A line cut short by a crash is no line: its item is done again.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| Some((line.get("item")?.as_str()?.to_owned(), line)))
            .collect();
        Ok(Self { path, folder: folder.to_owned(), lines })
    }

    /// Whether an item is left alone.
    fn need_not(&self, item: &Item, settings: &Value, args: &JobArgs) -> bool {
        args.keep_existing && item.output.exists() || !args.force && self.has(item, settings)
    }

    fn has(&self, item: &Item, settings: &Value) -> bool {
        let Some(line) = self.lines.get(&item.name) else { return false };
        // Every output with its size: one that was cut short afterwards is made again.
        let intact = |(name, size): (&String, &Value)| {
            self.folder.join(name).metadata().is_ok_and(|m| m.is_file() && Some(m.len()) == size.as_u64())
        };
        line["settings"] == *settings
            && line["input"] == stamp(item)
            && line["files"].as_object().is_some_and(|files| !files.is_empty() && files.iter().all(intact))
    }

    fn add(&mut self, item: &Item, settings: &Value, outcome: &Outcome, seconds: f64) -> Result<()> {
        let mut files = serde_json::Map::new();
        for path in &outcome.files {
            let size = path.metadata().map_err(|e| Failure::reading(path, &e))?.len();
            // What lies elsewhere is found again from any working directory.
            let name = match path.strip_prefix(&self.folder) {
                Ok(inside) => inside.to_owned(),
                Err(_) => std::path::absolute(path).map_err(|e| Failure::reading(path, &e))?,
            };
            files.insert(name.to_string_lossy().into_owned(), size.into());
        }
        let line = json!({
            "item": item.name, "files": files, "input": stamp(item), "settings": settings, "seconds": seconds,
        });
        // One write in append mode: lines of several shards do not mix.
        let mut text = line.to_string();
        text.push('\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| Failure::writing(&self.path, &e))?;
        self.lines.insert(item.name.clone(), line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    fn plan(input: &Path, output: &Path) -> Result<Batch> {
        let is_picture = |p: &Path| p.extension().is_some_and(|e| e == "png" || e == "jpg");
        Batch::plan(&[input.to_owned()], output, is_picture, |p| {
            format!("{}.npy", p.file_stem().unwrap().to_string_lossy())
        })
    }

    fn run(batch: &Batch, args: &JobArgs, settings: &Value) -> (Exit, Vec<String>) {
        let session = Session { quiet: true, ..Session::default() };
        let mut seen = Vec::new();
        let exit = batch
            .run(&session, args, settings, |item| {
                seen.push(item.name.clone());
                crate::files::write(&item.output, b"x")?;
                Ok(Outcome { files: vec![item.output.clone()], value: Value::Null })
            })
            .unwrap();
        (exit, seen)
    }

    #[test]
    fn finished_items_are_skipped_until_something_changes() {
        let (input, out) = (folder_with(&["a.png", "b.png", "c.jpg", "notes.txt"]), tempfile::tempdir().unwrap());
        let batch = plan(input.path(), out.path()).unwrap();
        assert_eq!((batch.items.len(), batch.ignored.len()), (3, 1));
        let (again, force) = (JobArgs::default(), JobArgs { force: true, ..JobArgs::default() });
        let (one, two) = (json!({"levels": [2]}), json!({"levels": [3]}));
        assert_eq!(run(&batch, &again, &one).1.len(), 3);
        assert_eq!(run(&batch, &again, &one).1.len(), 0);
        assert!(batch.all_done(&one).unwrap() && !batch.all_done(&two).unwrap());
        assert_eq!(run(&batch, &again, &two).1.len(), 3, "other settings");
        assert_eq!(run(&batch, &force, &two).1.len(), 3);
        std::fs::write(out.path().join("c.npy"), "").unwrap();
        assert_eq!(run(&batch, &again, &two).1, ["c.jpg"], "an output was cut short");
        std::fs::remove_file(out.path().join("a.npy")).unwrap();
        std::fs::write(input.path().join("b.png"), "longer than before").unwrap();
        assert_eq!(run(&batch, &again, &two).1, ["a.png", "b.png"], "an output was lost, an input replaced");
        std::fs::write(out.path().join(JOURNAL), "{\"item\": \"a.png\", \"fi").unwrap();
        assert_eq!(run(&batch, &again, &two).1.len(), 3, "a torn line counts for nothing");
    }

    #[test]
    fn errors_name_the_file_at_fault_once() {
        let item = |inputs: &[&str]| Item {
            name: "x".to_owned(),
            inputs: inputs.iter().map(PathBuf::from).collect(),
            output: PathBuf::from("x.json"),
        };
        let message = |inputs: &[&str], text: &str| item(inputs).blame(Failure::usage(text)).message;
        assert_eq!(message(&["a.dng", "b.dng"], "no"), "a.dng: no");
        assert_eq!(message(&["a.dng", "b.dng"], "b.dng: no"), "b.dng: no");
        assert_eq!(message(&[], "no"), "no");
    }

    #[test]
    fn clashes_and_wrong_places_are_refused() {
        let (input, out) = (folder_with(&["a.png", "a.jpg"]), tempfile::tempdir().unwrap());
        assert!(plan(input.path(), out.path()).unwrap_err().message.contains("a.jpg and a.png"));
        assert!(plan(input.path(), input.path()).unwrap_err().message.contains("is the input folder"));
        assert_eq!(plan(&input.path().join("lost"), out.path()).unwrap_err().exit, Exit::Io);
        let empty = folder_with(&["notes.txt"]);
        assert!(plan(empty.path(), out.path()).unwrap_err().message.contains("notes.txt"));
    }
}
