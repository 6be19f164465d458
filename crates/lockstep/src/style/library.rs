//! Where models are found by name.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use ::style::weights::{LoadOptions, StyleModel, WeightsError};
use clap::Args;
use sha2::{Digest, Sha256};

use super::apply::Blend;
use crate::exit::{Exit, Failure, Result};
use crate::jobs::list;
use crate::pictures::ending;

/// File endings of weights.
const ENDINGS: [&str; 6] = ["safetensors", "pth", "pt", "model", "onnx", "bin"];

/// A model that can be named.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// Where weights lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// Inside the program: a name and a safetensors file.
    Bundled(&'static str, &'static [u8]),
}

/// Our own models, so that there is one without any download (see models/README.md); the first is the default.
const BUNDLED: [Source; 2] = [
    Source::Bundled("candy16", include_bytes!("../../models/candy16.safetensors")),
    Source::Bundled("vit:candy", include_bytes!("../../models/vit_candy.safetensors")),
];

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Bundled(..) => f.write_str("(inside the program)"),
        }
    }
}

impl Source {
    /// The file, where there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Bundled(..) => None,
        }
    }

    /// The file's content.
    pub(crate) fn bytes(&self) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|e| Failure::reading(path, &e)),
            Self::Bundled(_, bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

/// Options of commands that read weights.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Strictness {
    /// Drop tensors that the network does not have, instead of refusing the file
    #[arg(long)]
    pub(crate) allow_extra: bool,
}

/// Folders that are searched, in this order.
pub(crate) fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("STYLE_MODELS").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("models")));
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))
        .map(|folder| folder.join("lockstep/models"));
    [named, beside, data].into_iter().flatten().collect()
}

/// All models: those of the folders, then those inside the program.
pub(crate) fn all_models() -> Result<Vec<Found>> {
    let mut all = models(&folders())?;
    for source in BUNDLED {
        if let Source::Bundled(name, _) = source
            && all.iter().all(|found| found.name != name)
        {
            all.push(Found { name: name.to_owned(), source });
        }
    }
    Ok(all)
}

/// The models of some folders; the first of a name hides later ones.
pub(crate) fn models(folders: &[PathBuf]) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for path in list(folder)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if ENDINGS.contains(&ending(&path).as_str()) && all.iter().all(|known| known.name != name) {
                all.push(Found { name, source: Source::File(path) });
            }
        }
    }
    Ok(all)
}

/// A model that is given as a path or a name; the first one inside the program when none is given.
pub(crate) fn find(model: Option<&str>) -> Result<Source> {
    let Some(model) = model else { return Ok(BUNDLED[0].clone()) };
    let path = PathBuf::from(model);
    if path.exists() && !path.is_dir() {
        return Ok(Source::File(path));
    }
    // A folder may have the name of a model.
    if path.is_dir() && all_models()?.iter().all(|found| found.name != model) {
        return Err(Failure::input(&path, "this is a folder, and a weight file is needed here")
            .help(format!("name a file of it, or set STYLE_MODELS={model} and give a name of `style models`")));
    }
    // What looks like a path was meant as one.
    if path.components().count() > 1 || ENDINGS.contains(&ending(&path).as_str()) {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Failure::reading(&path, &error));
    }
    let folders = folders();
    let models = all_models()?;
    if let Some(found) = models.iter().find(|found| found.name == model) {
        return Ok(found.source.clone());
    }
    let places = folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
    let failure = Failure::usage(format!("there is no model {model}"));
    let Some(nearest) = models.iter().map(|found| found.name.as_str()).min_by_key(|name| distance(name, model)) else {
        return Err(failure.help(format!("give a file, or put models into one of {places} (STYLE_MODELS names one)")));
    };
    let names = models.iter().map(|found| found.name.as_str()).collect::<Vec<_>>().join(", ");
    let hint = if distance(nearest, model) <= 1 + model.chars().count() / 3 {
        format!("did you mean {nearest}? ")
    } else {
        String::new()
    };
    Err(failure.help(format!("{hint}there are {names}, in {places}; or give a file")))
}

/// Reads weights; errors name the file.
pub(crate) fn load(source: &Source, strictness: &Strictness) -> Result<StyleModel> {
    let options = LoadOptions { allow_extra: strictness.allow_extra };
    let path = match source {
        Source::File(path) => path,
        Source::Bundled(name, bytes) => {
            let model = StyleModel::from_bytes_with(bytes, name, options);
            return Ok(model.map_err(::style::Error::from)?);
        }
    };
    StyleModel::load_with(path, options).map_err(|error| match error {
        WeightsError::Io { path, source } => Failure::reading(&path, &source),
        WeightsError::UnexpectedTensor { .. } => Failure::input(path, error).help("--allow-extra drops them"),
        other => Failure::input(path, other),
    })
}

/// One model whose weights are a mean of others'.
pub(crate) fn blended(Blend(parts): &Blend, strictness: &Strictness) -> Result<StyleModel> {
    let models: Vec<_> = parts.iter().map(|(model, _)| load(&find(Some(model))?, strictness)).collect::<Result<_>>()?;
    let shares: Vec<_> = models.iter().zip(parts).map(|(model, (_, share))| (model, *share)).collect();
    Ok(StyleModel::blend(&shares).map_err(::style::Error::from)?)
}

/// A short text that other weights do not have: a file may be replaced by another of its name.
pub(crate) fn fingerprint(model: &StyleModel) -> String {
    let mut hash = Sha256::new();
    for tensor in model.tensors() {
        hash.update(&tensor.name);
        hash_values(&mut hash, &tensor.data);
    }
    format!("{:x}", hash.finalize())
}

/// Values as part of a fingerprint.
pub(crate) fn hash_values(hash: &mut Sha256, values: &[f32]) {
    for part in values.chunks(1 << 10) {
        hash.update(part.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
    }
}

/// What a model is, in words.
pub(crate) fn described(model: &StyleModel) -> String {
    match model.transformer() {
        Some(shape) => format!("transformer, {} blocks of width {}", shape.blocks, shape.dim),
        None => format!("width {:<3} {} residual blocks", model.nc(), model.residual_blocks()),
    }
}

/// A model's sizes in documents.
pub(crate) fn sizes(model: &StyleModel) -> serde_json::Value {
    match model.transformer() {
        Some(shape) => serde_json::json!({
            "architecture": "stylevit-s", "dim": shape.dim, "heads": shape.heads, "blocks": shape.blocks,
            "hidden": shape.hidden, "window": shape.window,
        }),
        None => serde_json::json!({"architecture": "johnson-transformernet"}),
    }
}

/// Errors of writing weights.
pub(crate) fn unwritten(path: &Path, error: &WeightsError) -> Failure {
    match error {
        WeightsError::Io { path, source } => Failure::writing(path, source),
        other => Failure::new(Exit::Usage, format!("{}: {other}", path.display())),
    }
}

/// Edits that make one name of the other: characters put in, left out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use ::style::weights::VitShape;

    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [("candy", "candy", 0), ("candy", "cnady", 2), ("", "abc", 3), ("mosaic", "mosaik", 1)] {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }

    #[test]
    fn the_first_folder_wins() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, name) in [(&one, "a.pth"), (&two, "a.onnx"), (&two, "b.safetensors"), (&two, "notes.txt")] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let all = models(&[one.path().to_owned(), PathBuf::from("/nowhere/at/all"), two.path().to_owned()]).unwrap();
        let names: Vec<_> = all.iter().map(|f| f.name.as_str()).collect();
        assert_eq!((names, all[0].source.clone()), (vec!["a", "b"], Source::File(one.path().join("a.pth"))));
    }

    #[test]
    fn the_bundled_models_are_whole() {
        let [first, second] = BUNDLED.map(|source| load(&source, &Strictness::default()).unwrap());
        assert_eq!((first.nc(), first.residual_blocks(), first.f16_exact()), (16, 5, true));
        let shape = VitShape { dim: 256, heads: 4, blocks: 4, hidden: 1024, window: 16 };
        assert_eq!((second.transformer(), second.parameter_count()), (Some(shape), 3_475_315));
        assert_eq!(find(Some("candy16")).unwrap(), BUNDLED[0]);
        assert_eq!(find(Some("vit:candy")).unwrap(), BUNDLED[1]);
        assert_eq!(find(None).unwrap(), BUNDLED[0]);
    }
}
