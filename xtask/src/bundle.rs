//! `cargo xtask test-gpu --bundle DIR`: everything that a machine with a GPU and without Rust needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::suite::{self, Executable};
use crate::test::libraries;
use crate::workspace::{file_name, list, on_path, output, read, write};

/// Bundles travel to borrowed machines; 64 MiB is what such places take.
const LIMIT: u64 = 64 << 20;

/// What a bundle holds, as `manifest.json`; paths are relative to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The commit it was built from, with `+` when files differed from it.
    pub(crate) commit: String,
    /// The packages whose tests it holds; their kernels must be proved.
    pub(crate) packages: Vec<String>,
    pub(crate) tests: Vec<Executable>,
    pub(crate) benches: Vec<Executable>,
    /// The `lockstep` command.
    pub(crate) command: Option<PathBuf>,
    /// Test executables that stay behind, each with the reason.
    pub(crate) left_out: Vec<String>,
}

impl Manifest {
    /// Builds the test executables in place, of these packages or of all.
    pub(crate) fn of_tests(root: &Path, chosen: &[String]) -> Result<Self> {
        let mut packages = libraries(root)?;
        packages.push("lockstep-tests".into());
        if let Some(name) = chosen.iter().find(|name| !packages.contains(name)) {
            bail!("no tests for the device in {name}; packages are {}", packages.join(", "));
        }
        let (packages, others): (Vec<_>, Vec<_>) =
            packages.into_iter().partition(|name| chosen.is_empty() || chosen.contains(name));
        let left_out = others.iter().map(|name| format!("{name} was not chosen")).collect();
        let tests = suite::build(&["test", "--no-run", "--lib", "--tests", "--features", "cuda"], &packages, "test")?;
        Ok(Self { commit: commit(root), packages, tests, left_out, ..Self::default() })
    }

    /// Builds the command and the benchmarks, optimised.
    pub(crate) fn add_optimised(&mut self, root: &Path) -> Result<()> {
        let command = suite::build(&["build", "--release"], &["lockstep".into()], "bin")?;
        self.command = command.into_iter().next().map(|built| built.file);
        let mut with_benches = libraries(root)?;
        with_benches
            .retain(|name| !list(&root.join("crates").join(name).join("benches")).unwrap_or_default().is_empty());
        if !with_benches.is_empty() {
            let arguments = ["bench", "--no-run", "--benches", "--features", "cuda"];
            self.benches = suite::build(&arguments, &with_benches, "bench")?;
        }
        Ok(())
    }

    /// Reads the manifest of a bundle and makes its paths absolute.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("manifest.json");
        let mut manifest: Self = serde_json::from_str(&read(&path)?)
            .with_context(|| format!("{} is not a manifest of `cargo xtask test-gpu --bundle`", path.display()))?;
        for executable in manifest.tests.iter_mut().chain(&mut manifest.benches) {
            executable.file = folder.join(&executable.file);
            executable.folder = folder.join(&executable.folder);
        }
        manifest.command = manifest.command.map(|file| folder.join(file));
        Ok(manifest)
    }
}

/// The commit of the checkout, with `+` when files differ from it.
pub(crate) fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| says_in(root, arguments);
    let Some(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = git(&["status", "--porcelain"]).is_some();
    format!("{hash}{}", if changed { "+" } else { "" })
}

fn says_in(folder: &Path, arguments: &[&str]) -> Option<String> {
    let out = Command::new("git").current_dir(folder).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    (out.status.success() && !text.is_empty()).then_some(text)
}

/// Writes a bundle.
pub(crate) fn write_bundle(root: &Path, folder: &Path, chosen: &[String], tests_only: bool) -> Result<()> {
    let mut manifest = Manifest::of_tests(root, chosen)?;
    if !tests_only {
        manifest.add_optimised(root)?;
    }
    start_fresh(folder)?;
    // Tests that start the compiler cannot run where there is none.
    let (left, kept): (Vec<_>, Vec<_>) = manifest.tests.into_iter().partition(needs_rust);
    manifest.tests = kept;
    manifest.left_out.extend(left.iter().map(|test| format!("{} needs Rust", test.name())));
    let mut for_device = Vec::new();
    for test in manifest.tests {
        if suite::list(&test, None)?.device.is_empty() {
            manifest.left_out.push(format!("{} has no test for a device", test.name()));
        } else {
            for_device.push(test);
        }
    }
    manifest.tests = for_device;
    for executable in manifest.tests.iter_mut().chain(&mut manifest.benches) {
        let name = format!("{}.{}", executable.package, executable.target);
        executable.file = place(&executable.file, folder, &Path::new("executables").join(name))?;
        executable.folder = executable.folder.strip_prefix(root).unwrap_or(&executable.folder).to_path_buf();
    }
    if let Some(file) = &manifest.command {
        manifest.command = Some(place(file, folder, Path::new("lockstep"))?);
    }
    place(&std::env::current_exe().context("this program's file")?, folder, Path::new("xtask"))?;
    copy_files(root, folder)?;
    write(&folder.join("manifest.json"), serde_json::to_string_pretty(&manifest)? + "\n")?;
    let size = size_of(folder)?;
    for left in &manifest.left_out {
        println!("left out: {left}");
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{}: {} test executables, {} benchmarks, {:.1} MiB\nrun there: {0}/xtask test-gpu --prebuilt {0}",
        folder.display(),
        manifest.tests.len(),
        manifest.benches.len(),
        mebibytes(size)
    );
    let archive = pack(folder)?;
    let packed = size_of(&archive)?;
    println!("the same packed: {}, {:.1} MiB; unpack it with tar -xf", archive.display(), mebibytes(packed));
    if packed > LIMIT {
        bail!("the packed bundle is over {} MiB; try --tests-only", LIMIT >> 20);
    }
    Ok(())
}

/// Packs the folder into one file beside it, since executables shrink to a third; to a sixth by xz, whose dictionary holds
/// several of them, which are mostly the same.
fn pack(folder: &Path) -> Result<PathBuf> {
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let name = file_name(&folder);
    let parent = folder.parent().with_context(|| format!("{} has no folder above it", folder.display()))?;
    let (ending, program) = match on_path("xz") {
        Some(_) => ("xz", "xz -T0 --lzma2=preset=2,dict=192MiB"),
        None => ("gz", "gzip"),
    };
    let archive = parent.join(format!("{name}.tar.{ending}"));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(parent).args(["-I", program, "-cf"]).arg(&archive).arg(&name);
    crate::workspace::run(&mut tar)?;
    Ok(archive)
}

/// Tests of compile errors (package `trybuild`) by the convention that their file is named `ui` or `compile_fail`.
fn needs_rust(test: &Executable) -> bool {
    test.target == "ui" || test.target.starts_with("compile_fail")
}

/// Removes an earlier bundle, and nothing else.
fn start_fresh(folder: &Path) -> Result<()> {
    if !list(folder)?.is_empty() {
        if !folder.join("manifest.json").is_file() {
            bail!("{} is not empty and holds no bundle; name another folder", folder.display());
        }
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Copies an executable without its symbols; gives the path inside the bundle.
fn place(file: &Path, folder: &Path, inside: &Path) -> Result<PathBuf> {
    let to = folder.join(inside);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::copy(file, &to).with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    if on_path("strip").is_some() {
        output(Command::new("strip").arg(&to))?;
    }
    Ok(inside.to_path_buf())
}

/// What tests, `kernels --check` and the benchmarks of other programs read at run time.
fn copy_files(root: &Path, folder: &Path) -> Result<()> {
    let copy = |path: &Path| copy_tree(&root.join(path), &folder.join(path));
    copy(Path::new("Cargo.toml"))?;
    copy(Path::new("tests"))?;
    copy(Path::new("benches/peers"))?;
    for package in list(&root.join("crates"))? {
        let package = Path::new("crates").join(file_name(&package));
        for part in ["Cargo.toml", "tests", "kernels"] {
            copy(&package.join(part))?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
        for path in list(from)? {
            let name = file_name(&path);
            if name != "target" && name != "__pycache__" {
                copy_tree(&path, &to.join(name))?;
            }
        }
    } else if from.is_file() {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn size_of(path: &Path) -> Result<u64> {
    if path.is_dir() {
        return list(path)?.iter().map(|path| size_of(path)).sum();
    }
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
}
