use std::path::{Path, PathBuf};

use ::align::folder::{self, Scene};
use ::align::raw::ApartReader;
use ::align::{Cfa, Error, Limits, RawReader, Warning, camera_name};
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

A folder without ground truths is listed file by file. Files that are no mosaic, or do not fit the first ground truth of \
their scene, cannot be used: exit code 3. Doubts about a pattern need --decode.")]
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
    facts: Option<Facts>,
    doubts: Vec<String>,
}

/// What all files of a scene must share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    make: String,
    model: String,
    /// The pattern at the first pixel that is aligned.
    cfa: Cfa,
    size: [usize; 2],
}

impl Facts {
    /// Why another file cannot be in a scene with this one.
    fn differs(&self, other: &Self) -> Option<Error> {
        let name = |f: &Self| camera_name(&f.make, &f.model, &f.cfa);
        let size = |f: &Self| format!("{} x {}", f.size[0], f.size[1]);
        if name(self) != name(other) {
            Some(Error::OtherCamera { expected: name(self), got: name(other) })
        } else if self.size != other.size {
            Some(Error::OtherSize { expected: size(self), got: size(other) })
        } else {
            None
        }
    }
}

/// What was read from one file: words, a document, what its scene must share, and doubts.
type Known = (String, Value, Facts, Vec<String>);

impl Scan {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        super::check_root(&self.root)?;
        let mut scenes = folder::scan(&self.root)?;
        if scenes.is_empty() {
            let noisy = folder::files(&self.root)?;
            if noisy.is_empty() {
                return Err(Failure::usage(format!("there are no pictures in {}", self.root.display()))
                    .help("name a folder with scenes, whose ground truths are in folders `gt`, or a folder of files"));
            }
            scenes.push(Scene { name: ".".to_owned(), kind: String::new(), gts: Vec::new(), noisy });
        }
        let reader = super::reader()?;
        let (mut documents, mut bad, mut doubtful) = (Vec::new(), 0, 0);
        for scene in &scenes {
            let files: Vec<&PathBuf> = scene.files().collect();
            let mut seen: Vec<Seen> = files.par_iter().map(|path| self.look(&reader, &scene.kind, path)).collect();
            // As `run` does: the first ground truth that can be read decides what belongs to the scene.
            let first = seen[..scene.gts.len()].iter().find_map(|s| s.facts.clone());
            for one in &mut seen {
                if let (Some(first), Some(facts)) = (&first, &one.facts)
                    && let Some(e) = first.differs(facts)
                {
                    one.refuse(&e);
                }
            }
            let failed = seen.iter().filter(|s| s.state != "ok").count();
            let doubts = seen.iter().filter(|s| !s.doubts.is_empty()).count();
            (bad, doubtful) = (bad + failed, doubtful + doubts);
            let about = first.as_ref().map_or(String::new(), |f| {
                let size = format!("{} x {}", f.size[1], f.size[0]);
                format!(", {}", listed([camera(&f.make, &f.model), f.cfa.kind().to_owned(), size]))
            });
            let counted = |n: usize, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
            session.say(format!(
                "{}: {} ground truths, {} pictures{about}{}{}",
                scene.title(),
                scene.gts.len(),
                scene.noisy.len(),
                counted(failed, "cannot be used"),
                counted(doubts, "doubtful")
            ));
            for one in &seen {
                let name = one.path.strip_prefix(&self.root).unwrap_or(&one.path).display();
                let doubts: Vec<String> = one.doubts.iter().map(|doubt| format!("; doubtful: {doubt}")).collect();
                session.say(format!("  {:<12} {name}: {}{}", one.state, one.about, doubts.concat()));
            }
            let files: Vec<Value> = seen.into_iter().map(|s| s.value).collect();
            let about = first.map(|f| {
                let camera = camera(&f.make, &f.model);
                json!({ "camera": camera, "cfa": f.cfa.letters(), "height": f.size[0], "width": f.size[1] })
            });
            documents.push(json!({
                "set": scene.title(), "ground_truths": scene.gts.len(), "of": about, "files": files,
            }));
        }
        let others = folder::without_ground_truth(&self.root)?;
        if !others.is_empty() {
            session.say(super::no_scenes(&others));
        }
        session.document(&json!({
            "root": crate::files::as_text(&self.root), "sets": documents, "no_scenes": super::texts(&others), "unusable": bad, "doubtful": doubtful,
        }))?;
        Ok(if bad == 0 { Exit::Ok } else { Exit::Partial })
    }

    fn look(&self, reader: &ApartReader, kind: &str, path: &Path) -> Seen {
        let look = |()| if self.decode { decoded(reader, path) } else { probed(reader, path) };
        let done = super::named(path).and_then(look);
        match done {
            Ok((about, mut value, facts, mut doubts)) => {
                let found = facts.cfa.kind();
                if ["Bayer", "X-Trans"].contains(&kind) && found != kind {
                    doubts.push(format!("{found} in a folder for {kind}"));
                }
                value["path"] = json!(crate::files::as_text(path));
                value["state"] = json!("ok");
                value["doubts"] = json!(doubts);
                Seen { path: path.to_owned(), state: "ok", about, value, facts: Some(facts), doubts }
            }
            Err(e) => {
                let value = json!({ "path": crate::files::as_text(path) });
                let (about, doubts) = (String::new(), Vec::new());
                let mut seen = Seen { path: path.to_owned(), state: "ok", about, value, facts: None, doubts };
                seen.refuse(&e);
                seen
            }
        }
    }
}

impl Seen {
    fn refuse(&mut self, e: &Error) {
        let text = e.to_string();
        super::bare(&self.path, &text).clone_into(&mut self.about);
        self.state = e.kind();
        self.value["state"] = json!(self.state);
        self.value["reason"] = json!(self.about);
    }
}

fn camera(make: &str, model: &str) -> String {
    format!("{make} {model}").trim().to_owned()
}

/// What is known, with commas between.
fn listed<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn probed(reader: &ApartReader, path: &Path) -> ::align::Result<Known> {
    let p = reader.probe(path)?;
    let size = match (p.height, p.width) {
        (Some(h), Some(w)) => format!("{w} x {h}"),
        _ => "size unknown".to_owned(),
    };
    let iso = p.iso.map_or(String::new(), |iso| format!("ISO {iso}"));
    let (Some(cfa), Some(crop)) = (p.cfa, p.crop) else {
        let why = "the header names no mosaic of red, green and blue".to_owned();
        return Err(Error::Unsupported { path: path.to_owned(), why });
    };
    let cfa = cfa.shifted(crop.top, crop.left);
    let about = listed([size, cfa.kind().to_owned(), camera(&p.make, &p.model), iso, bytes(p.bytes as usize)]);
    let value = json!({
        "make": p.make, "model": p.model, "height": p.height, "width": p.width, "bytes": p.bytes, "iso": p.iso,
        "exposure": p.exposure, "cfa": cfa.letters(), "crop": crop,
    });
    let facts = Facts { make: p.make, model: p.model, cfa, size: [crop.height, crop.width] };
    Ok((about, value, facts, Vec::new()))
}

fn decoded(reader: &ApartReader, path: &Path) -> ::align::Result<Known> {
    let f = reader.read(path, &Limits::default())?;
    let [height, width] = f.size();
    let about = format!(
        "{width} x {height}, {} {}, black {:.1}, white {}",
        f.cfa.kind(),
        if f.cfa.period() == 2 { f.cfa.letters() } else { String::new() },
        f.black.mean(),
        f.white,
    );
    let value = json!({
        "make": f.meta.make, "model": f.meta.model, "height": height, "width": width, "cfa": f.cfa.letters(),
        "black": f.black.levels(), "white": f.white, "crop": f.meta.crop, "orientation": f.meta.orientation,
        "iso": f.meta.iso, "exposure": f.meta.exposure, "warnings": f.meta.warnings,
    });
    let facts = Facts { make: f.meta.make.clone(), model: f.meta.model.clone(), cfa: f.cfa, size: f.size() };
    let doubts = f.meta.warnings.iter().map(|w| match w {
        Warning::CfaDoubtful => "another place of the pattern explains the pixels better",
        Warning::WhiteLowered => "saturated below the declared white level, which is lowered",
    });
    Ok((about, value, facts, doubts.map(str::to_owned).collect()))
}
