//! Writing files so that nobody ever sees half of one.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure, Result};

/// Bytes that the name of a file may have on all common file systems.
const LONGEST_NAME: usize = 255;

/// A short name for a long one.
fn digest(name: &[u8]) -> String {
    let number = Sha256::digest(name).iter().take(8).fold(0u64, |all, &byte| all << 8 | u64::from(byte));
    format!("{number:016x}")
}

/// A name that leaves room for so many bytes behind it: the end of a longer one becomes a digest of all of it.
pub(crate) fn fitting(name: &str, room: usize) -> String {
    let most = LONGEST_NAME.saturating_sub(room);
    if name.len() <= most {
        return name.to_owned();
    }
    let end = format!("-{}", digest(name.as_bytes()));
    let cut = (0..=most.saturating_sub(end.len())).rev().find(|&n| name.is_char_boundary(n)).unwrap_or(0);
    format!("{}{end}", &name[..cut])
}

/// Files that are being written, for an interruption to remove.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Folders that were looked through for leftovers.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn locked(set: &Mutex<BTreeSet<PathBuf>>) -> MutexGuard<'_, BTreeSet<PathBuf>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is half-written: the process ends, and nothing more is begun.
pub(crate) fn abandon() {
    let unfinished = locked(&UNFINISHED);
    for part in unfinished.iter() {
        let _ = std::fs::remove_file(part);
    }
    // Stays locked: whoever wants to begin another file waits for the end.
    std::mem::forget(unfinished);
}

/// Where a path leads to, through links: these stay what they are.
fn target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path = path.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    path
}

/// A file that is being written beside its final place, and gets its name only when it is complete. A device or a pipe gets
/// what is written at once: it has no other place.
pub(crate) struct Draft {
    path: PathBuf,
    part: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

impl Draft {
    /// Starts a file. Its folder must exist.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(
                Failure::new(Exit::Io, format!("cannot write {}: it is a folder", path.display())).help("name a file")
            );
        }
        let path = &target(path);
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(format!("`{}` names no file", path.display())).help("name a file"))?;
        let buffered = |file| Some(BufWriter::with_capacity(1 << 20, file));
        if path.metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            let file = OpenOptions::new().write(true).open(path).map_err(|e| Failure::writing(path, &e))?;
            return Ok(Self { path: path.clone(), part: None, file: buffered(file) });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        if locked(&SWEPT).insert(folder.to_owned()) {
            sweep(folder);
        }
        let ending = format!(".{}.part", writer());
        let mut hidden = std::ffi::OsString::from(".");
        if 1 + name.len() + ending.len() <= LONGEST_NAME {
            hidden.push(name);
        } else {
            hidden.push(digest(name.as_encoded_bytes()));
        }
        hidden.push(ending);
        let part = path.with_file_name(hidden);
        crate::interrupt::clean_up();
        locked(&UNFINISHED).insert(part.clone());
        let mut draft = Self { path: path.clone(), part: Some(part.clone()), file: None };
        draft.file = buffered(File::create(&part).map_err(|e| Failure::writing(path, &e))?);
        Ok(draft)
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|e| Failure::writing(&self.path, &e)),
            None => Ok(()),
        }
    }

    /// Gives the complete file its name, in one step.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.seal()?;
        self.rename()
    }

    /// Gives two files that belong together their names. What a crash leaves is never the new description of the old
    /// data: the old data goes first.
    pub(crate) fn finish_pair(mut about: Self, mut data: Self) -> Result<()> {
        about.seal()?;
        data.seal()?;
        match data.part.as_ref().map_or(Ok(()), |_| std::fs::remove_file(&data.path)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::writing(&data.path, &e)),
            _ => {}
        }
        about.rename()?;
        data.rename()
    }

    /// Brings the contents to the disk. Before the name is there: a journal that says "done" must be right after a power
    /// cut, too.
    fn seal(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut sealed = file.flush();
        if self.part.is_some() {
            // A file that is replaced keeps its permissions.
            let kept = self.path.metadata().map(|meta| file.get_ref().set_permissions(meta.permissions()));
            sealed = sealed.and(kept.unwrap_or(Ok(()))).and_then(|()| file.get_ref().sync_all());
        }
        sealed.map_err(|e| Failure::writing(&self.path, &e))
    }

    fn rename(mut self) -> Result<()> {
        if let Some(part) = &self.part {
            std::fs::rename(part, &self.path).map_err(|e| Failure::writing(&self.path, &e))?;
            locked(&UNFINISHED).remove(part);
        }
        // There is nothing left to remove.
        self.part = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.file = None;
        // Still there only when something failed before `finish`.
        if let Some(part) = self.part.take() {
            let _ = std::fs::remove_file(&part);
            locked(&UNFINISHED).remove(&part);
        }
    }
}

/// Who writes an unfinished file, for its name: this process, and where its number means something.
pub(crate) fn writer() -> String {
    match processes() {
        Some(home) => format!("{home}-{}", std::process::id()),
        None => std::process::id().to_string(),
    }
}

/// A name for the processes that are told apart by the numbers this one sees: of this machine since its start, and of this
/// container. None where there is no list of them.
fn processes() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let digest = Sha256::digest(format!("{boot}{}", space.display()));
    Some(format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])))
}

/// Where and as what number the process ran that writes a file, by its name.
fn author(name: &str) -> Option<(Option<&str>, u32)> {
    let name = name.strip_prefix('.')?;
    let stem = name.strip_suffix(".part").or_else(|| Some(name.rsplit_once(".unfinished.")?.0))?;
    let writer = stem.rsplit('.').next()?;
    let (home, process) = writer.split_once('-').map_or((None, writer), |(home, process)| (Some(home), process));
    Some((home, process.parse().ok()?))
}

/// Removes what processes that were killed left half-written in a folder.
pub(crate) fn sweep(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let here = processes();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((home, process)) = author(&name) else { continue };
        // Without a list of processes nobody can tell; another machine's may share the folder, so young ones stay.
        let dead = Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{process}")).exists();
        let age = path.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        let ours = home.is_some() && home == here.as_deref();
        if dead && (ours || age.is_some_and(|age| age > STALE)) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Nothing takes longer to write than this.
const STALE: std::time::Duration = std::time::Duration::from_secs(60);

/// Writes a whole file in one step.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut draft = Draft::create(path)?;
    draft.write(bytes)?;
    draft.finish()
}

/// Refuses to write a file over one that is read for it.
pub(crate) fn spare<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a PathBuf>, option: &str) -> Result<()> {
    let Ok(place) = output.canonicalize() else { return Ok(()) };
    match inputs.into_iter().find(|input| input.canonicalize().is_ok_and(|input| input == place)) {
        None => Ok(()),
        Some(input) => Err(Failure::usage(format!("{} is read, and would be overwritten", input.display()))
            .help(format!("name another file with {option}"))),
    }
}

/// A path as documents hold it, which are text: bytes of a name that are none become `�`.
pub(crate) fn as_text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    if path.is_file() {
        return Err(Failure::new(Exit::Io, format!("{} is a file, and a folder is needed there", path.display()))
            .help("choose another place"));
    }
    std::fs::create_dir_all(path).map_err(|e| Failure::writing(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_draft_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let mut draft = Draft::create(&path).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// What a process of this machine left goes at once; what might belong to another machine, or is no such file, stays.
    #[cfg(target_os = "linux")]
    #[test]
    fn leftovers_of_dead_processes_go() {
        let folder = tempfile::tempdir().unwrap();
        // Beyond the largest number that the system gives.
        let (dead, alive, here) = (u32::MAX, std::process::id(), processes().unwrap());
        let gone = [format!(".a.png.{here}-{dead}.part"), format!(".v.{here}-{dead}.unfinished.mp4")];
        let kept = [
            format!(".a.png.{here}-{alive}.part"),
            format!(".a.png.00000000-{dead}.part"),
            format!(".a.png.{dead}.part"),
            format!("a.png.{here}-{dead}.part"),
            ".a.png.part".to_owned(),
        ];
        for name in gone.iter().chain(&kept) {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        sweep(folder.path());
        assert!(gone.iter().all(|name| !folder.path().join(name).exists()));
        assert!(kept.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn the_longest_names_are_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a".repeat(LONGEST_NAME), "ä".repeat(127)] {
            write(&folder.path().join(&name), b"x").unwrap();
            assert!(folder.path().join(&name).is_file());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let (one, other) = (format!("{}1", "ä".repeat(200)), format!("{}2", "ä".repeat(200)));
        for name in [&one, &other] {
            let short = fitting(name, 5);
            assert!((245..=250).contains(&short.len()), "{short}");
            write(&folder.path().join(format!("{short}.json")), b"x").unwrap();
        }
        assert_ne!(fitting(&one, 5), fitting(&other, 5));
        assert_eq!(fitting("short", 5), "short");
    }

    #[test]
    fn two_files_appear_together_or_the_old_data_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (about, data) = (folder.path().join("c.json"), folder.path().join("c.npy"));
        let draft = |path: &Path, text: &[u8]| {
            let mut draft = Draft::create(path).unwrap();
            draft.write(text).unwrap();
            draft
        };
        Draft::finish_pair(draft(&about, b"old"), draft(&data, b"old")).unwrap();
        Draft::finish_pair(draft(&about, b"new"), draft(&data, b"new")).unwrap();
        assert_eq!((std::fs::read(&about).unwrap(), std::fs::read(&data).unwrap()), (b"new".into(), b"new".into()));
        // The description gets its name, the data does not.
        let (first, second) = (draft(&about, b"newer"), draft(&data, b"newer"));
        std::fs::remove_file(second.part.as_ref().unwrap()).unwrap();
        assert!(Draft::finish_pair(first, second).is_err());
        assert!(!data.exists() && std::fs::read_dir(folder.path()).unwrap().count() == 1);
    }

    #[test]
    fn folders_and_missing_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), b"").unwrap_err().message.contains("it is a folder"));
        let lost = folder.path().join("no/x.bin");
        assert!(write(&lost, b"").unwrap_err().help.unwrap().contains("create the folder"));
    }
}
