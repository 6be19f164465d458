//! `cargo xtask kernels --check`: sources, lock, PTX and twin tests fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};

use crate::kernels::{Compiler, in_parallel, include_folder};
use crate::lock::Lock;
use crate::source::{Artefact, artefacts};
use crate::workspace::{Package, file_name, files_below, read, sha256, shown};

/// Checks hashes (no compiler needed), twin tests, and, where a compiler is, that it gives the committed bytes.
pub(crate) fn run(root: &Path, packages: &[Package], wanted: impl Fn(&Artefact) -> bool) -> Result<()> {
    let mut faults = Vec::new();
    let mut checked = Vec::new();
    for package in packages {
        let all = artefacts(package, &include_folder(root))?;
        let lock = Lock::load(&package.folder)?;
        faults.extend(orphans(package, &all, &lock)?);
        for artefact in all.into_iter().filter(|artefact| wanted(artefact)) {
            let fault = hashes(&artefact, &lock);
            faults.extend(fault.map(|why| format!("{}: {why}", shown(&artefact.source))));
            checked.push((artefact, lock.clone()));
        }
    }
    if !faults.is_empty() {
        faults.push("run `cargo xtask kernels` and commit what it writes".to_owned());
    }
    if let Err(e) = twins(packages) {
        faults.push(e.to_string());
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    rebuild(root, &checked)?;
    println!("kernels: {} artefacts agree with their sources and have twin tests", checked.len());
    Ok(())
}

fn hashes(artefact: &Artefact, lock: &Lock) -> Option<String> {
    let name = artefact.name();
    let Some(locked) = lock.artefact.get(&name) else {
        return Some(format!("{name} is not in kernels.lock"));
    };
    if locked.source != artefact.source_hash {
        return Some(format!("the source, a header or a flag of {name} differs from kernels.lock"));
    }
    match read(&artefact.ptx_file()) {
        Err(_) => Some(format!("{} is missing", shown(&artefact.ptx_file()))),
        Ok(ptx) if sha256(ptx.as_bytes()) != locked.ptx => {
            Some(format!("{} differs from kernels.lock", shown(&artefact.ptx_file())))
        }
        Ok(_) => None,
    }
}

/// PTX files and lock entries without a source.
fn orphans(package: &Package, all: &[Artefact], lock: &Lock) -> Result<Vec<String>> {
    let names: BTreeSet<String> = all.iter().map(Artefact::name).collect();
    let mut faults = Vec::new();
    for name in lock.artefact.keys().filter(|name| !names.contains(*name)) {
        faults.push(format!("{}: kernels.lock names {name}, which has no source", package.name));
    }
    for file in files_below(&package.folder.join("kernels/ptx"), "ptx")? {
        if !names.contains(file_name(&file).trim_end_matches(".ptx")) {
            faults.push(format!("{} has no source", shown(&file)));
        }
    }
    Ok(faults)
}

/// Compiles again and compares bytes, where the compiler of the lock is installed.
fn rebuild(root: &Path, checked: &[(Artefact, Lock)]) -> Result<()> {
    if checked.is_empty() {
        return Ok(());
    }
    let compiler = match Compiler::find(root) {
        Ok(Some(compiler)) => compiler,
        Ok(None) => {
            println!(
                "kernels: not rebuilt, since there is no nvcc here (`cargo xtask setup-cuda`); hashes were compared"
            );
            return Ok(());
        }
        Err(e) => {
            println!("kernels: not rebuilt: {e:#}; hashes were compared");
            return Ok(());
        }
    };
    let results = in_parallel(checked, |(artefact, lock)| {
        let locked = &lock.artefact[&artefact.name()];
        if locked.nvcc != compiler.version {
            return Ok(Some(artefact.name()));
        }
        let compiled = compiler.compile(artefact)?;
        if compiled.locked != *locked {
            bail!("{}: compiling it again gives other PTX or other resources", shown(&artefact.source));
        }
        Ok(None)
    });
    let (mut others, mut faults) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(other) => others.extend(other),
            Err(e) => faults.push(format!("{e:#}")),
        }
    }
    if !others.is_empty() {
        let names = others.join(", ");
        println!("kernels: not rebuilt, since nvcc {} is not the one of kernels.lock: {names}", compiler.version);
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// Invariant 2: every compiled kernel is named by a `twins!` test of its crate, and every name there is a kernel.
pub(crate) fn twins(packages: &[Package]) -> Result<()> {
    let mut faults = Vec::new();
    for package in packages {
        let entries = Lock::load(&package.folder)?.entries();
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for file in files_below(&package.folder.join("tests"), "rs")? {
            for kernel in kernels_named_in(&read(&file)?) {
                named.entry(kernel).or_insert_with(|| shown(&file));
            }
        }
        for entry in entries.iter().filter(|entry| !named.contains_key(*entry)) {
            faults.push(format!(
                "{}: kernel {entry} is in no `kernels = [...]` of a twins! test under tests/",
                package.name
            ));
        }
        for (kernel, file) in named.iter().filter(|(kernel, _)| !entries.contains(*kernel)) {
            faults.push(format!("{file} names kernel {kernel}, which is not in {}'s kernels.lock", package.name));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// The names in every `twins! { kernels = ["a", "b"]; … }` of a source file.
fn kernels_named_in(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for after in code.split("twins!").skip(1) {
        let list = after.split_once("kernels").and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
        let list = list.and_then(|rest| rest.trim_start().strip_prefix('[')).and_then(|rest| rest.split_once(']'));
        if let Some((list, _)) = list {
            names.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_are_found_in_tests() {
        let text = "twins! {\n    kernels = [\"blur_f32\",\n \"blur_f64\"];\n    blur: x;\n}\n\
            // twins! { kernels = [\"forgotten\"]; }\nlockstep::twins!(kernels=[\"axpy\"];);\nfn twins() {}\n";
        assert_eq!(kernels_named_in(text).into_iter().collect::<Vec<_>>(), ["axpy", "blur_f32", "blur_f64"]);
    }

    #[test]
    fn a_kernel_without_a_twin_and_a_twin_without_a_kernel_are_faults() {
        let folder = std::env::temp_dir().join(format!("xtask-twins-{}", std::process::id()));
        let package = Package { name: "demo".into(), folder: folder.clone() };
        let mut lock = Lock::default();
        let locked = crate::lock::Locked {
            source: String::new(),
            ptx: String::new(),
            nvcc: String::new(),
            version: "7.0".into(),
            target: "sm_75".into(),
            counted_on: "sm_80".into(),
            entry: [("blur".to_owned(), crate::lock::Entry::default())].into(),
        };
        lock.artefact.insert("blur.sm_75".into(), locked);
        lock.save(&folder).unwrap();
        crate::workspace::write(&folder.join("tests/twins.rs"), "twins! { kernels = [\"smear\"]; }").unwrap();
        let error = twins(std::slice::from_ref(&package)).unwrap_err().to_string();
        assert!(error.contains("kernel blur is in no") && error.contains("names kernel smear"), "{error}");
        crate::workspace::write(&folder.join("tests/twins.rs"), "twins! { kernels = [\"blur\"]; }").unwrap();
        twins(&[package]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
