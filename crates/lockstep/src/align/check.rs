use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use yaml_rust2::{Yaml, YamlLoader};

use super::record::{PairRecord, read_pairs};
use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// Options of `align check`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align check descriptor.yaml                                   whether loaders can read it
  lockstep align check RawNIND_masks.yaml --against out/alignments.jsonl where it differs from what was found

Files are compared by name. Exit code 1 when a pair differs.")]
pub(crate) struct Check {
    /// The descriptor
    #[arg(value_name = "DESCRIPTOR")]
    descriptor: PathBuf,
    /// What `align run` found
    #[arg(long, value_name = "ALIGNMENTS")]
    against: Option<PathBuf>,
}

/// What a descriptor says about a pair.
struct Line {
    gt: String,
    file: String,
    shift: [i64; 2],
}

fn file_name(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned()
}

impl Check {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let lines = self.read()?;
        let Some(against) = &self.against else {
            session.say(format!("{}: {} pairs", self.descriptor.display(), lines.len()));
            session.document(&json!({ "descriptor": self.descriptor, "pairs": lines.len() }))?;
            return Ok(Exit::Ok);
        };
        let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found: HashMap<(String, String), PairRecord> =
            read_pairs(against)?.into_iter().map(|p| ((name(&p.gt), name(&p.file)), p)).collect();
        let (mut same, mut missing, mut different) = (0, 0, Vec::new());
        for line in &lines {
            let Some(pair) = found.get(&(line.gt.clone(), line.file.clone())) else {
                missing += 1;
                continue;
            };
            if line.shift == pair.result.rounded.map(i64::from) {
                same += 1;
                continue;
            }
            session.say(format!(
                "{} and {}: {:?} in the descriptor, ({:.2}, {:.2}) found ({}, psr {:.1})",
                line.gt,
                line.file,
                line.shift,
                pair.result.shift[0],
                pair.result.shift[1],
                pair.result.state.name(),
                pair.result.psr
            ));
            different.push(json!({
                "gt": line.gt, "file": line.file, "descriptor": line.shift, "found": pair.result.shift,
                "state": pair.result.state.name(),
            }));
        }
        session.say(format!("{same} pairs agree, {} differ, {missing} were not found", different.len()));
        let exit = if different.is_empty() && missing == 0 { Exit::Ok } else { Exit::Check };
        session.document(&json!({ "same": same, "missing": missing, "different": different }))?;
        Ok(exit)
    }

    fn read(&self) -> Result<Vec<Line>> {
        let path = &self.descriptor;
        let text = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
        let documents = YamlLoader::load_from_str(&text).map_err(|e| Failure::input(path, format!("no YAML: {e}")))?;
        let wrong = |i: usize, what: &str| {
            Failure::input(path, format!("entry {} has no {what}", i + 1))
                .help("a descriptor is a list of mappings with gt_fpath, f_fpath and best_alignment")
        };
        let entries = documents.first().and_then(Yaml::as_vec);
        let entries = entries.ok_or_else(|| Failure::input(path, "it is no list of pairs"))?;
        let mut lines = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let text = |key: &str| entry[key].as_str().map(file_name).ok_or_else(|| wrong(i, key));
            let shift = entry["best_alignment"].as_vec().filter(|v| v.len() == 2);
            let shift = shift.and_then(|v| Some([v[0].as_i64()?, v[1].as_i64()?]));
            let shift = shift.ok_or_else(|| wrong(i, "best_alignment of two whole numbers"))?;
            lines.push(Line { gt: text("gt_fpath")?, file: text("f_fpath")?, shift });
        }
        Ok(lines)
    }
}
