//! Where the pictures of data sets lie.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The pictures of one scene.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// Name of its folder.
    pub name: String,
    /// The folder above it, `Bayer` or `X-Trans` in RawNIND; empty where there is none.
    #[serde(default)]
    pub kind: String,
    /// Ground truths.
    pub gts: Vec<PathBuf>,
    /// Noisy pictures.
    pub noisy: Vec<PathBuf>,
}

impl Scene {
    /// All files, ground truths first.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.gts.iter().chain(&self.noisy)
    }

    /// The name with that of the folder above: one for each scene of a data set.
    pub fn title(&self) -> String {
        if self.kind.is_empty() { self.name.clone() } else { format!("{}/{}", self.kind, self.name) }
    }
}

/// Finds the scenes below a folder, sorted by name.
///
/// Three layouts are known: RawNIND, `[src/]<kind>/<scene>/[gt/]<file>`; folders of scenes, `<scene>/[gt/]<file>`; and one
/// scene, a folder `gt` beside files. Files that start with a dot, `.xmp` sidecars and the folder `darktable_exported`
/// are left out; what the other files contain is not looked at. A folder below `root` that cannot be listed stands for its
/// files: whoever reads it learns why, and the other scenes are there.
///
/// # Errors
/// When `root` cannot be read. A folder without scenes has none, which is no error.
pub fn scan(root: &Path) -> Result<Vec<Scene>> {
    Ok(walk(root)?.0)
}

/// Folders where [`scan`] looks for scenes that hold files and are none: they have no folder `gt`.
///
/// # Errors
/// When `root` cannot be read.
pub fn without_ground_truth(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(walk(root)?.1)
}

/// The scenes below a folder, and folders with files that are no scenes.
fn walk(root: &Path) -> Result<(Vec<Scene>, Vec<PathBuf>)> {
    let root = if root.join("src").is_dir() && !root.join("gt").is_dir() { root.join("src") } else { root.to_owned() };
    if root.join("gt").is_dir() {
        return Ok((vec![scene(&root, String::new())], Vec::new()));
    }
    let (mut scenes, mut others) = (Vec::new(), Vec::new());
    let has_files = |folder: &Path| files(folder).is_ok_and(|files| !files.is_empty());
    for folder in folders(&root)? {
        if folder.join("gt").is_dir() {
            scenes.push(scene(&folder, String::new()));
            continue;
        }
        let Ok(inside) = folders(&folder) else {
            scenes.push(Scene { name: name(&folder), kind: String::new(), gts: vec![folder], noisy: Vec::new() });
            continue;
        };
        let before = scenes.len() + others.len();
        for inner in inside {
            if inner.join("gt").is_dir() {
                scenes.push(scene(&inner, name(&folder)));
            } else if has_files(&inner) {
                others.push(inner);
            }
        }
        if scenes.len() + others.len() == before && has_files(&folder) {
            others.push(folder);
        }
    }
    Ok((scenes, others))
}

/// Whether outputs that are named after a scene's [`title`](Scene::title) stay in the folder that they are written to.
pub fn stays_inside(title: &str) -> bool {
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    !title.is_empty() && Path::new(title).components().all(plain)
}

/// Reads a list of scenes: JSON, an array of objects with `name`, `gts`, `noisy` and, if wanted, `kind`. Relative paths
/// start at the folder of the list.
///
/// # Errors
/// When the file cannot be read or is no such list.
pub fn read_list(path: &Path) -> Result<Vec<Scene>> {
    let text = fs::read(path).map_err(|e| unreadable(path, &e))?;
    let mut scenes: Vec<Scene> = serde_json::from_slice(&text).map_err(|e| {
        Error::value(
            "list of scenes",
            format!("{}: {e}; it is a JSON array of objects with name, gts and noisy", path.display()),
        )
    })?;
    for scene in &scenes {
        let title = scene.title();
        if scene.name.is_empty() || !stays_inside(&title) {
            let why = format!("{}: a scene is called `{title}`; outputs are named after scenes", path.display());
            return Err(Error::value("list of scenes", why));
        }
    }
    let base = path.parent().unwrap_or(Path::new(""));
    for file in scenes.iter_mut().flat_map(|s| s.gts.iter_mut().chain(&mut s.noisy)) {
        *file = base.join(&*file);
    }
    Ok(scenes)
}

fn unreadable(path: &Path, e: &std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Unreadable { path: path.to_owned(), why: e.to_string() },
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        if !name(&path).starts_with('.') {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = entries(folder)?;
    all.retain(|path| path.is_dir() && name(path) != "darktable_exported");
    Ok(all)
}

/// The files of a folder that may be pictures.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = entries(folder)?;
    let sidecar = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("xmp"));
    all.retain(|path| !path.is_dir() && !sidecar(path));
    Ok(all)
}

fn scene(folder: &Path, kind: String) -> Scene {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let list = |folder: PathBuf| files(&folder).unwrap_or_else(|_| vec![folder]);
    Scene { name: name(&full), kind, gts: list(folder.join("gt")), noisy: list(folder.to_owned()) }
}
