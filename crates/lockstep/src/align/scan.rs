use std::path::{Path, PathBuf};

use ::align::folder::{self, Scene};
use ::align::raw::RawlerReader;
use ::align::{Limits, RawReader};
use clap::Args;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::session::{Session, bytes};

/// Options of `align scan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align scan RawNIND/                 scenes, files, cameras, sizes
  lockstep align scan photos/ --decode         decode every file, too, and check its pattern

A folder without ground truths is listed file by file. Exit code 3 when a file cannot be used.")]
pub(crate) struct Scan {
    /// Folder of a data set, of one scene, or of files
    #[arg(value_name = "ROOT")]
    root: PathBuf,
    /// Decode the pixels of every file
    #[arg(long)]
    decode: bool,
}

/// What is known of one file.
struct Seen {
    path: PathBuf,
    state: &'static str,
    about: String,
    value: Value,
}

impl Scan {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if !self.root.is_dir() {
            let e = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Failure::reading(&self.root, &e));
        }
        let mut scenes = folder::scan(&self.root)?;
        if scenes.is_empty() {
            let noisy = folder::files(&self.root)?;
            if noisy.is_empty() {
                return Err(Failure::usage(format!("there are no pictures in {}", self.root.display()))
                    .help("name a folder with scenes, whose ground truths are in folders `gt`, or a folder of files"));
            }
            scenes.push(Scene { name: ".".to_owned(), kind: String::new(), gts: Vec::new(), noisy });
        }
        let (mut documents, mut bad) = (Vec::new(), 0);
        for scene in &scenes {
            let files: Vec<&PathBuf> = scene.files().collect();
            let seen: Vec<Seen> = files.par_iter().map(|path| self.look(path)).collect();
            let failed = seen.iter().filter(|s| s.state != "ok").count();
            bad += failed;
            session.say(format!(
                "{}: {} ground truths, {} pictures{}",
                scene.title(),
                scene.gts.len(),
                scene.noisy.len(),
                if failed > 0 { format!(", {failed} cannot be used") } else { String::new() }
            ));
            for one in &seen {
                let name = one.path.strip_prefix(&self.root).unwrap_or(&one.path).display();
                session.say(format!("  {:<12} {name}: {}", one.state, one.about));
            }
            let files: Vec<Value> = seen.into_iter().map(|s| s.value).collect();
            documents.push(json!({ "set": scene.title(), "ground_truths": scene.gts.len(), "files": files }));
        }
        session.document(&json!({ "root": self.root, "sets": documents, "unusable": bad }))?;
        Ok(if bad == 0 { Exit::Ok } else { Exit::Partial })
    }

    fn look(&self, path: &Path) -> Seen {
        let done = if self.decode { decoded(path) } else { probed(path) };
        match done {
            Ok((about, mut value)) => {
                value["path"] = json!(path);
                value["state"] = json!("ok");
                Seen { path: path.to_owned(), state: "ok", about, value }
            }
            Err(e) => {
                let text = e.to_string();
                let about = text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned();
                let value = json!({ "path": path, "state": e.kind(), "reason": about });
                Seen { path: path.to_owned(), state: e.kind(), about, value }
            }
        }
    }
}

fn probed(path: &Path) -> ::align::Result<(String, Value)> {
    let p = RawlerReader.probe(path)?;
    let size = match (p.height, p.width) {
        (Some(h), Some(w)) => format!("{w} x {h}"),
        _ => "size unknown".to_owned(),
    };
    let iso = p.iso.map_or(String::new(), |iso| format!(", ISO {iso}"));
    let camera = format!("{} {}", p.make, p.model);
    let about = format!("{size}, {}{iso}, {}", camera.trim(), bytes(p.bytes as usize));
    let value = json!({
        "make": p.make, "model": p.model, "height": p.height, "width": p.width, "bytes": p.bytes, "iso": p.iso,
        "exposure": p.exposure,
    });
    Ok((about, value))
}

fn decoded(path: &Path) -> ::align::Result<(String, Value)> {
    let f = RawlerReader.read(path, &Limits::default())?;
    let [height, width] = f.size();
    let doubts: Vec<String> = f.meta.warnings.iter().map(|w| format!(", {w:?}")).collect();
    let about = format!(
        "{width} x {height}, {} {}, black {:.1}, white {}{}",
        f.cfa.kind(),
        if f.cfa.period() == 2 { f.cfa.letters() } else { String::new() },
        f.black.mean(),
        f.white,
        doubts.concat()
    );
    let value = json!({
        "make": f.meta.make, "model": f.meta.model, "height": height, "width": width, "cfa": f.cfa.letters(),
        "black": f.black.levels(), "white": f.white, "crop": f.meta.crop, "orientation": f.meta.orientation,
        "iso": f.meta.iso, "exposure": f.meta.exposure, "warnings": f.meta.warnings,
    });
    Ok((about, value))
}
