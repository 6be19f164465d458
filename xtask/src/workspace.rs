//! Where things lie in the workspace, and running programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The folder of the workspace: the nearest one above the current folder, else the one this program was built in.
pub(crate) fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder is gone")?;
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    match here.ancestors().chain(built_in).find(|folder| is_root(folder)) {
        Some(folder) => Ok(folder.to_path_buf()),
        None => bail!("{} is not inside the workspace: run this from a checkout", here.display()),
    }
}

fn is_root(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("crates/gpu-core").is_dir()
}

/// The folder of build outputs that do not depend on `CARGO_TARGET_DIR`: toolchain, reports.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(root()?.join("target"))
}

/// Folder of a crate under `crates/`, with its name.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// Every crate under `crates/` of this root, sorted by name.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>> {
    let mut all = Vec::new();
    for folder in list(&root.join("crates"))? {
        if folder.join("Cargo.toml").is_file() {
            all.push(Package { name: file_name(&folder), folder });
        }
    }
    Ok(all)
}

/// What a folder holds, sorted; nothing when it does not exist.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Vec<PathBuf>> { std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect() };
    let mut all = read().with_context(|| format!("cannot list {}", folder.display()))?;
    all.sort();
    Ok(all)
}

/// Every file under a folder whose name ends with `.extension`, sorted.
pub(crate) fn files_below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list(folder)? {
        if path.is_dir() {
            found.extend(files_below(&path, extension)?);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A path as a person wants to read it: relative to the root.
pub(crate) fn shown(path: &Path) -> String {
    let root = root().unwrap_or_default();
    path.strip_prefix(&root).unwrap_or(path).display().to_string()
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file, making its folder.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// SHA-256 in hexadecimal, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// SHA-256 of some parts, in hexadecimal; each part's length counts, so that text cannot move between parts.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())
}

/// A program found on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = file_name(Path::new(command.get_program()));
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains([' ', '(', '|', '*']) { format!("'{word}'") } else { word.into_owned() }
    });
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Says what it runs, runs it, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("\n$ {}", line(command));
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", line(command)) }
}

/// What a program prints; fails with its error output when it fails.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", line(command)))?;
    if out.status.success() {
        return Ok(out);
    }
    let text = [String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)].concat();
    bail!("{} ended with {}\n{}", line(command), out.status, text.trim_end())
}

/// The first line that a program prints about its version, if it runs.
pub(crate) fn says(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let out = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    out.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
