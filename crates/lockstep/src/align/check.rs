use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use yaml_rust2::parser::Parser;
use yaml_rust2::{Event, Yaml, YamlLoader};

use super::record::{PairRecord, read_pairs};
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::session::Session;

/// Options of `align check`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align check descriptor.yaml                                   whether loaders can read it
  lockstep align check RawNIND_masks.yaml --against out/alignments.jsonl where it differs from what was found

Files are compared by name, and by scene and folder where several have it. Exit code 1 when a pair differs.")]
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
    set: Option<String>,
    shift: [i64; 2],
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// How many folders, from the file on upwards, two paths have in common.
fn alike(a: &str, b: &Path) -> usize {
    let b = b.to_string_lossy();
    let parts = a.rsplit(['/', '\\']).zip(b.rsplit(['/', '\\']));
    parts.take_while(|(a, b)| a == b).count()
}

impl Line {
    /// Which of the pairs with files of the same names it is about: one of the same scene, with paths that are alike from
    /// their ends on.
    fn choose<'a>(&self, pairs: &'a [PairRecord]) -> Option<&'a PairRecord> {
        let of_scene = |p: &PairRecord| self.set.as_deref().is_some_and(|set| p.set.rsplit('/').next() == Some(set));
        pairs.iter().max_by_key(|p| (alike(&self.gt, &p.gt) + alike(&self.file, &p.file), of_scene(p)))
    }
}

/// Lists of pairs need no aliases, and a few lines of them can stand for more than any memory holds.
fn refuse_aliases(path: &Path, text: &str) -> Result<()> {
    let mut parser = Parser::new_from_str(text);
    loop {
        match parser.next_token() {
            Ok((Event::Alias(_), at)) => {
                let why = format!("line {} has an alias, which a list of pairs needs none of", at.line());
                return Err(Failure::input(path, why).help("write out what it stands for"));
            }
            // The loader says what is wrong.
            Ok((Event::StreamEnd, _)) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
}

impl Check {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let lines = self.read()?;
        let Some(against) = &self.against else {
            session.say(format!("{}: {} pairs", self.descriptor.display(), lines.len()));
            session.document(&json!({ "descriptor": as_text(&self.descriptor), "pairs": lines.len() }))?;
            return Ok(Exit::Ok);
        };
        let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut found = HashMap::<(String, String), Vec<PairRecord>>::new();
        for pair in read_pairs(against)? {
            found.entry((name(&pair.gt), name(&pair.file))).or_default().push(pair);
        }
        let (mut same, mut missing, mut different) = (0, 0, Vec::new());
        for line in &lines {
            let names = (file_name(&line.gt).to_owned(), file_name(&line.file).to_owned());
            let Some(pair) = found.get(&names).and_then(|pairs| line.choose(pairs)) else {
                missing += 1;
                continue;
            };
            if line.shift == pair.result.rounded.map(i64::from) {
                same += 1;
                continue;
            }
            session.say(format!(
                "{} and {}: {:?} in the descriptor, ({:.2}, {:.2}) found ({}, psr {:.1})",
                file_name(&line.gt),
                file_name(&line.file),
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
        refuse_aliases(path, &text)?;
        let documents = YamlLoader::load_from_str(&text).map_err(|e| Failure::input(path, format!("no YAML: {e}")))?;
        let wrong = |i: usize, what: &str| {
            Failure::input(path, format!("entry {} has no {what}", i + 1))
                .help("a descriptor is a list of mappings with gt_fpath, f_fpath and best_alignment")
        };
        let entries = documents.first().and_then(Yaml::as_vec);
        let entries = entries.ok_or_else(|| Failure::input(path, "it is no list of pairs"))?;
        let mut lines = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let text = |key: &str| entry[key].as_str().map(str::to_owned).ok_or_else(|| wrong(i, key));
            let shift = entry["best_alignment"].as_vec().filter(|v| v.len() == 2);
            let shift = shift.and_then(|v| Some([v[0].as_i64()?, v[1].as_i64()?]));
            let shift = shift.ok_or_else(|| wrong(i, "best_alignment of two whole numbers"))?;
            let set = entry["image_set"].as_str().map(str::to_owned);
            lines.push(Line { gt: text("gt_fpath")?, file: text("f_fpath")?, set, shift });
        }
        Ok(lines)
    }
}
