use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::style::weights::SaveDtype;
use clap::{Args, ValueEnum};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::library::{Source, Strictness, find, load, unwritten};
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::same_place;
use crate::pictures::ending;
use crate::session::Session;

/// Number formats of convolution weights.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    F32,
    F16,
}

/// Options of `style convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep style convert mosaic.pth mosaic.safetensors
  lockstep style convert candy-9.onnx candy.safetensors --name candy --license BSD-3-Clause
  lockstep style convert candy.pth candy.safetensors --dtype f16

f16 is what the tensor cores multiply; the largest relative change of a weight is printed.")]
pub(crate) struct Convert {
    /// A weight file, or the name of a model
    #[arg(value_name = "IN")]
    input: String,
    /// The .safetensors file
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Number format of the convolutions
    #[arg(long, value_enum, default_value_t)]
    dtype: Format,
    /// Name of the style, kept in the file [default: what the input says, or its name]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Licence of the weights, kept in the file
    #[arg(long, value_name = "TEXT")]
    license: Option<String>,
    #[command(flatten)]
    strictness: Strictness,
}

impl Convert {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let input = find(Some(&self.input))?;
        if ending(&self.output) != "safetensors" {
            return Err(Failure::usage(format!("{} is no .safetensors file", self.output.display()))
                .help("that is what can be written; give the output that ending"));
        }
        if input.path().is_some_and(|input| same_place(input, &self.output)) {
            return Err(Failure::usage(format!("the output {} is the input", self.output.display())));
        }
        let model = load(&input, &self.strictness)?;
        let told = [("style", &self.name), ("license", &self.license)];
        let mut metadata: BTreeMap<String, String> =
            told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        metadata.insert("source_sha256".to_owned(), digest(&input)?);
        if !model.metadata().contains_key("style")
            && let Some(name) = input.path().and_then(Path::file_stem)
        {
            metadata.entry("style".to_owned()).or_insert_with(|| name.to_string_lossy().into_owned());
        }
        let dtype = match self.dtype {
            Format::F32 => SaveDtype::F32,
            Format::F16 => SaveDtype::F16,
        };
        let report =
            model.save_safetensors(&self.output, dtype, &metadata).map_err(|error| unwritten(&self.output, &error))?;
        session.note(format!("{}: {} parameters", self.output.display(), model.parameter_count()));
        if matches!(self.dtype, Format::F16) {
            session.note(format!("largest relative change of a weight: {:.1e}", report.largest_relative_change));
        }
        session.document(&json!({
            "input": input.path().map(as_text), "output": as_text(&self.output), "parameters": model.parameter_count(),
            "largest_relative_change": report.largest_relative_change,
        }))?;
        Ok(Exit::Ok)
    }
}

/// SHA-256 of a file, in hexadecimal digits.
fn digest(source: &Source) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(source.bytes()?)))
}
