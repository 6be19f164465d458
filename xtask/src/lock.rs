//! `kernels.lock`: what was compiled from what, and what each kernel costs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::{read, shown, write};

/// The artefacts of one crate, by name (`taps.sm_75`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lock {
    #[serde(default)]
    pub(crate) artefact: BTreeMap<String, Locked>,
}

/// One compiled file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Locked {
    /// SHA-256 of source, headers and flags.
    pub(crate) source: String,
    /// SHA-256 of the PTX file.
    pub(crate) ptx: String,
    /// Version of nvcc; `nvrtc` and its version where that compiled it.
    pub(crate) nvcc: String,
    /// PTX version after lowering.
    pub(crate) version: String,
    /// The `.target` of the PTX.
    pub(crate) target: String,
    /// The device that the numbers of the entries are for.
    pub(crate) counted_on: String,
    pub(crate) entry: BTreeMap<String, Entry>,
}

/// One kernel: what it takes and what it uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Bytes of each parameter.
    pub(crate) parameters: Vec<usize>,
    /// Registers a thread.
    pub(crate) registers: u32,
    /// Bytes of static shared memory a block.
    pub(crate) shared: u32,
    /// Bytes of stack a thread.
    pub(crate) stack: u32,
    pub(crate) spill_stores: u32,
    pub(crate) spill_loads: u32,
}

const HEAD: &str =
    "# Written by `cargo xtask kernels`; `cargo xtask kernels --check` compares it with the sources.\n\n";

/// The lock file of a crate's folder.
pub(crate) fn file(crate_folder: &Path) -> PathBuf {
    crate_folder.join("kernels/kernels.lock")
}

impl Lock {
    /// Reads the lock of a crate; an absent one is empty.
    pub(crate) fn load(crate_folder: &Path) -> Result<Self> {
        let path = file(crate_folder);
        if !path.is_file() {
            return Ok(Self::default());
        }
        toml::from_str(&read(&path)?)
            .with_context(|| format!("{} is damaged; delete it and run `cargo xtask kernels`", shown(&path)))
    }

    /// Writes the lock of a crate, or removes it when there is nothing to say.
    pub(crate) fn save(&self, crate_folder: &Path) -> Result<()> {
        let path = file(crate_folder);
        if self.artefact.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| shown(&path)),
                _ => Ok(()),
            };
        }
        let text = HEAD.to_owned() + &toml::to_string(self).context("kernels.lock")?;
        write(&path, text)
    }

    /// Names of all kernels of the crate, each once.
    pub(crate) fn entries(&self) -> std::collections::BTreeSet<String> {
        self.artefact.values().flat_map(|locked| locked.entry.keys().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_comes_back_as_it_was() {
        let folder = std::env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        let mut lock = Lock::default();
        let entry = Entry { parameters: vec![8, 32], registers: 30, ..Entry::default() };
        lock.artefact.insert(
            "blur.sm_75".into(),
            Locked {
                source: "a".into(),
                ptx: "b".into(),
                nvcc: "13.0.88".into(),
                version: "7.0".into(),
                target: "sm_75".into(),
                counted_on: "sm_80".into(),
                entry: [("blur_f32".to_owned(), entry)].into(),
            },
        );
        lock.save(&folder).unwrap();
        assert_eq!(Lock::load(&folder).unwrap(), lock);
        assert_eq!(lock.entries().into_iter().collect::<Vec<_>>(), ["blur_f32"]);
        Lock::default().save(&folder).unwrap();
        assert!(!file(&folder).exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
