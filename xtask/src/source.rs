//! A kernel's source: what it includes, which artefacts it asks for, and the hash of all that decides its PTX.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::{Package, digest, file_name, list, read, shown};

/// Flags that decide the arithmetic. `--fmad=false` keeps a product and a sum two roundings, as the CPU twins have them.
pub(crate) const FLAGS: [&str; 5] = ["-std=c++17", "-O3", "--fmad=false", "-Werror", "all-warnings"];

/// A device generation that PTX is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arch {
    /// As in `sm_75`.
    pub(crate) number: &'static str,
    /// The oldest PTX version that carries it.
    pub(crate) ptx: &'static str,
    /// The device for which registers and spills are counted.
    pub(crate) counted_on: &'static str,
}

const ARCHES: [Arch; 4] = [
    Arch { number: "75", ptx: "7.0", counted_on: "sm_80" },
    Arch { number: "80", ptx: "7.0", counted_on: "sm_80" },
    Arch { number: "90", ptx: "7.8", counted_on: "sm_90" },
    Arch { number: "90a", ptx: "8.0", counted_on: "sm_90a" },
];

impl Arch {
    fn parse(text: &str) -> Result<Self> {
        let number = text.strip_prefix("compute_").unwrap_or(text);
        ARCHES.into_iter().find(|arch| arch.number == number).with_context(|| {
            let known = ARCHES.map(|arch| format!("compute_{}", arch.number)).join(", ");
            format!("unknown arch {text}; known are {known}")
        })
    }
}

/// One `.cu` file for one arch.
#[derive(Clone, Debug)]
pub(crate) struct Artefact {
    pub(crate) source: PathBuf,
    pub(crate) kernels_folder: PathBuf,
    pub(crate) arch: Arch,
    /// SHA-256 of the source, its headers and the flags.
    pub(crate) source_hash: String,
}

impl Artefact {
    /// `taps.sm_75`, the key in `kernels.lock` and the name of the PTX file without its ending.
    pub(crate) fn name(&self) -> String {
        format!("{}.sm_{}", self.source.file_stem().unwrap_or_default().to_string_lossy(), self.arch.number)
    }

    pub(crate) fn ptx_file(&self) -> PathBuf {
        self.kernels_folder.join("ptx").join(format!("{}.ptx", self.name()))
    }
}

/// Name of a header, where it lies, its text.
type Headers = BTreeMap<String, (PathBuf, String)>;

/// Every artefact of a crate's `kernels` folder, sorted.
pub(crate) fn artefacts(package: &Package, include: &Path) -> Result<Vec<Artefact>> {
    let kernels_folder = package.folder.join("kernels");
    let mut all = Vec::new();
    for source in list(&kernels_folder)?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "cu")) {
        let text = read(&source)?;
        let mut headers = Headers::new();
        collect_headers(&source, &text, &[&kernels_folder, include], &mut headers)?;
        for arch in arches(&text).with_context(|| shown(&source))? {
            let mut parts = vec![text.as_bytes(), arch.number.as_bytes(), arch.ptx.as_bytes()];
            parts.extend(FLAGS.map(str::as_bytes));
            parts.extend(headers.iter().flat_map(|(name, (_, text))| [name.as_bytes(), text.as_bytes()]));
            let source_hash = digest(parts);
            all.push(Artefact { source: source.clone(), kernels_folder: kernels_folder.clone(), arch, source_hash });
        }
    }
    Ok(all)
}

/// The artefacts that the first line asks for (`// lockstep: arch = compute_80, compute_90a`), else `compute_75`.
fn arches(text: &str) -> Result<Vec<Arch>> {
    let first = text.lines().next().unwrap_or_default();
    let Some(rest) = first.strip_prefix("//").map(str::trim).and_then(|line| line.strip_prefix("lockstep:")) else {
        return Ok(vec![ARCHES[0]]);
    };
    let Some(("arch", names)) = rest.split_once('=').map(|(key, names)| (key.trim(), names)) else {
        bail!("the first line `{first}` must read `// lockstep: arch = compute_80` (or a comma list)");
    };
    let mut all = names.split(',').map(|name| Arch::parse(name.trim())).collect::<Result<Vec<_>>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Adds every header that `file` includes by `#include "…"`, directly or not. Headers of the toolkit (`<…>`) are fixed
/// by the compiler's version.
///
/// They are known by name alone, so that the hash does not depend on where the checkout lies.
fn collect_headers(file: &Path, text: &str, paths: &[&Path], found: &mut Headers) -> Result<()> {
    for included in text.lines().filter_map(included_name) {
        let beside = file.parent().unwrap_or(Path::new("."));
        let candidates = std::iter::once(beside).chain(paths.iter().copied()).map(|folder| folder.join(included));
        let Some(path) = candidates.into_iter().find(|path| path.is_file()) else {
            bail!("{} includes \"{included}\", which is neither beside it nor in the include folders", shown(file));
        };
        let path = path.canonicalize().with_context(|| shown(&path))?;
        let name = file_name(&path);
        match found.get(&name) {
            Some((known, _)) if *known == path => {}
            Some((known, _)) => bail!("{} and {} have one name; rename one", shown(known), shown(&path)),
            None => {
                let text = read(&path)?;
                found.insert(name, (path.clone(), text.clone()));
                collect_headers(&path, &text, paths, found)?;
            }
        }
    }
    Ok(())
}

fn included_name(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
    rest.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<&'static str> {
        arches(text).unwrap().iter().map(|arch| arch.number).collect()
    }

    #[test]
    fn the_first_line_chooses_the_arches() {
        assert_eq!(numbers("// a blur\n"), ["75"]);
        assert_eq!(numbers("// lockstep: arch = compute_80\n"), ["80"]);
        assert_eq!(numbers("// lockstep: arch = compute_90a, compute_80\n"), ["80", "90a"]);
        assert!(arches("// lockstep: arch = compute_60\n").unwrap_err().to_string().contains("compute_60"));
        assert!(arches("// lockstep: arches compute_80\n").is_err());
    }

    #[test]
    fn includes_are_followed_and_change_the_hash() {
        let folder = std::env::temp_dir().join(format!("xtask-source-{}", std::process::id()));
        let kernels = folder.join("kernels");
        std::fs::create_dir_all(kernels.join("include")).unwrap();
        std::fs::write(kernels.join("a.cu"), "#include \"a.cuh\"\n").unwrap();
        std::fs::write(kernels.join("a.cuh"), "#pragma once\n  #  include \"deep.cuh\"\n").unwrap();
        std::fs::write(kernels.join("include/deep.cuh"), "int one();\n").unwrap();
        let package = Package { name: "a".into(), folder: folder.clone() };
        let hash = || artefacts(&package, &kernels.join("include")).unwrap()[0].source_hash.clone();
        let before = hash();
        assert_eq!(before, hash());
        std::fs::write(kernels.join("include/deep.cuh"), "int two();\n").unwrap();
        assert_ne!(before, hash());
        std::fs::remove_file(kernels.join("include/deep.cuh")).unwrap();
        let error = artefacts(&package, &kernels.join("include")).unwrap_err().to_string();
        assert!(error.contains("deep.cuh"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
