use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::library::{Source, Strictness, all_models, described, folders, load, models, sizes};
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::session::{Session, bytes};

/// Options of `style models`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep style models                     all models that --model takes by name
  STYLE_MODELS=weights lockstep style models
  lockstep style models --dir weights --json

Searched are the folder that STYLE_MODELS names, `models` beside the program, and lockstep/models in the user's data \
folder. candy16 and vit:candy, a transformer, are inside the program.")]
pub(crate) struct Models {
    /// Only this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    strictness: Strictness,
}

impl Models {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(dir) = &self.dir
            && !dir.metadata().map_err(|e| Failure::reading(dir, &e))?.is_dir()
        {
            return Err(Failure::input(dir, "this is no folder").help("`style info` tells about one weight file"));
        }
        let folders = self.dir.as_ref().map_or_else(folders, |dir| vec![dir.clone()]);
        let mut documents = Vec::new();
        let found = if self.dir.is_some() { models(&folders)? } else { all_models()? };
        for found in found {
            let size = match &found.source {
                Source::File(path) => path.metadata().map_or(0, |m| m.len()),
                Source::Bundled(_, bytes) => bytes.len() as u64,
            };
            let (line, document) = match load(&found.source, &self.strictness) {
                Ok(model) => (
                    format!(
                        "{:<20} {:<34} {:>9}  {}",
                        found.name,
                        described(&model),
                        bytes(size as usize),
                        found.source
                    ),
                    json!({"name": found.name, "path": found.source.path().map(as_text), "bundled": found.source.path().is_none(), "base_channels": model.nc(),
                        "residual_blocks": model.residual_blocks(), "sizes": sizes(&model), "bytes": size}),
                ),
                Err(failure) => (
                    format!("{:<20} UNUSABLE: {failure}", found.name),
                    json!({"name": found.name, "path": found.source.path().map(as_text), "bundled": found.source.path().is_none(), "error": failure.message}),
                ),
            };
            session.say(line);
            documents.push(document);
        }
        if documents.is_empty() {
            session.say("there are no models; searched were:");
            for folder in &folders {
                session.say(format!("  {}{}", folder.display(), if folder.is_dir() { "" } else { " (absent)" }));
            }
        }
        session
            .document(&json!({ "folders": folders.iter().map(as_text).collect::<Vec<_>>(), "models": documents }))?;
        Ok(Exit::Ok)
    }
}
