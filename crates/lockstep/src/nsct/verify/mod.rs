//! `lockstep nsct verify DIR`: every case of a folder of reference data, in every engine, in both number types.
//!
//! The folder is laid out as its own README says; groups that are missing and entries that are unknown are reported and
//! do not fail. The limits are those of the transform's acceptance table, for data in 0..255, scaled with larger ranges.

mod apps;
mod cases;
mod digests;
mod filters;
mod prims;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gpu_core::with_backend;
use nsct::{Engine, NsctBackend, NsctSpec};
use serde_json::{Value, json};

use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::pictures::npy::{self, Array};
use crate::session::{Session, seconds};

/// Options of `nsct verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct verify data/nsct                              everything, on a GPU when there is one
  lockstep nsct verify data/nsct --backend cpu --only cases --only batch
  lockstep nsct verify data/nsct --engine spectral --filter p08
  lockstep nsct verify data/nsct --json > report.json

One line a case: name, engine, number type, then each check as largest difference/limit. Exit code 1 when one fails.")]
pub(crate) struct Verify {
    /// The data folder, with manifest.json, prims.json, filters/ and apps.json
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only these groups
    #[arg(long, value_enum, value_name = "GROUP")]
    only: Vec<Group>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only this engine
    #[arg(long, value_name = "NAME")]
    engine: Option<Engine>,
    /// Only this number type
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    dtype: Option<Dtype>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Parts of a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    Cases,
    Batch,
    Digests,
    Prims,
    Filters,
    Apps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F64,
    F32,
}

/// A backend that the transform runs on in both number types.
trait Both: NsctBackend<f32> + NsctBackend<f64> {}
impl<B: NsctBackend<f32> + NsctBackend<f64>> Both for B {}

/// One compared quantity.
#[derive(Clone, Debug)]
struct Check {
    name: &'static str,
    value: f64,
    limit: f64,
}

impl Check {
    fn new(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit }
    }

    /// NaN fails.
    fn passed(&self) -> bool {
        self.value <= self.limit
    }
}

/// What is run, and what came out so far.
struct Verifier<'a> {
    session: &'a Session,
    args: &'a Verify,
    rows: Vec<Value>,
    passed: usize,
    failed: usize,
    notes: Vec<String>,
}

impl Verify {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if !self.dir.is_dir() {
            return Err(Failure::new(Exit::Io, format!("{} is no folder", self.dir.display()))
                .help("name a folder of reference data"));
        }
        let any = self.backend.open(None)?;
        let start = std::time::Instant::now();
        let mut verifier = Verifier { session, args: self, rows: Vec::new(), passed: 0, failed: 0, notes: Vec::new() };
        with_backend!(&any, |b| verifier.all(b))?;
        let Verifier { rows, passed, failed, notes, .. } = verifier;
        if rows.is_empty() {
            return Err(Failure::usage(format!("nothing in {} could be checked", self.dir.display())).help(
                "it needs at least one of manifest.json, prims.json, filters/ and apps.json; --only and --filter \
                 may leave out too much",
            ));
        }
        for note in &notes {
            session.say(format!("note: {note}"));
        }
        let verdict = if failed == 0 { "all passed" } else { "FAILED" };
        session.say(format!(
            "{} lines on {} ({}): {passed} passed, {failed} failed, {} – {verdict}",
            passed + failed,
            any.name(),
            any.device().name,
            seconds(start.elapsed().as_secs_f64())
        ));
        session.document(&json!({
            "dir": as_text(&self.dir), "backend": any.name(), "device": any.device().name, "passed": passed, "failed": failed,
            "notes": notes, "lines": rows, "seconds": start.elapsed().as_secs_f64(),
        }))?;
        Ok(if failed == 0 { Exit::Ok } else { Exit::Check })
    }
}

impl Verifier<'_> {
    fn all<B: Both>(&mut self, b: &B) -> Result<()> {
        if let Some(manifest) = self.document("manifest.json")? {
            self.unknown_keys("manifest.json", &manifest, &["format", "weights", "cases", "batch", "digests"]);
            for (group, key) in [(Group::Cases, "cases"), (Group::Batch, "batch"), (Group::Digests, "digests")] {
                if !self.wants(group) {
                    continue;
                }
                let Some(entries) = manifest[key].as_array() else {
                    self.note(format!("manifest.json has no `{key}`"));
                    continue;
                };
                for entry in entries {
                    let id = entry["id"].as_str().unwrap_or("?").to_owned();
                    if self.skips(&id) {
                        continue;
                    }
                    match group {
                        Group::Digests => self.digest(b, &id, entry),
                        _ => self.case(b, &id, entry, group == Group::Batch),
                    }
                }
            }
        }
        if self.wants(Group::Filters) {
            self.filters()?;
        }
        if self.wants(Group::Prims)
            && let Some(prims) = self.document("prims.json")?
        {
            self.prims(b, &prims);
        }
        if self.wants(Group::Apps)
            && let Some(apps) = self.document("apps.json")?
        {
            self.apps(b, &apps);
        }
        Ok(())
    }

    fn wants(&self, group: Group) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&group)
    }

    fn wants_type(&self, name: &str) -> bool {
        self.args.dtype.is_none_or(|d| (d == Dtype::F64) == (name == "f64"))
    }

    fn skips(&self, id: &str) -> bool {
        self.args.filter.as_ref().is_some_and(|f| !id.contains(f.as_str()))
    }

    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Notes what an object says that nothing here looks at.
    fn unknown_keys(&mut self, what: &str, object: &Value, known: &[&str]) {
        for key in object.as_object().into_iter().flat_map(|o| o.keys()).filter(|k| !known.contains(&k.as_str())) {
            self.note(format!("{what}: the entry `{key}` is unknown and was not checked"));
        }
    }

    /// A JSON file of the folder; `None`, with a note, when it is not there.
    fn document(&mut self, name: &str) -> Result<Option<Value>> {
        let path = self.args.dir.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.note(format!("there is no {name}"));
                return Ok(None);
            }
            Err(e) => return Err(Failure::reading(&path, &e)),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| Failure::input(&path, format!("this is no JSON: {e}")))
    }

    /// The array that an entry's `files` names.
    fn array(&self, entry: &Value, key: &str) -> Result<Array> {
        let name = entry["files"][key]
            .as_str()
            .ok_or_else(|| Failure::usage(format!("the entry `files.{key}` is missing")))?;
        npy::read(&self.args.dir.join(name))
    }

    fn has_file(entry: &Value, key: &str) -> bool {
        entry["files"][key].is_string()
    }

    /// One line of the report.
    fn line(&mut self, id: &str, engine: &str, dtype: &str, outcome: Result<Vec<Check>>) {
        let (passed, shown, value) = match outcome {
            Ok(checks) => {
                let passed = checks.iter().all(Check::passed);
                let parts: Vec<_> = checks
                    .iter()
                    .map(|c| {
                        format!("{} {:.1e}/{:.0e}{}", c.name, c.value, c.limit, if c.passed() { "" } else { " !" })
                    })
                    .collect();
                let list: Vec<_> = checks
                    .iter()
                    // JSON has no NaN; a difference that is none is null.
                    .map(|c| json!({ "check": c.name, "max": c.value, "limit": c.limit, "passed": c.passed() }))
                    .collect();
                (passed, parts.join("  "), json!({ "checks": list }))
            }
            Err(e) => (false, e.message.clone(), e.to_json()),
        };
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        let verdict = if passed { "PASS" } else { "FAIL" };
        self.session.say(format!("{verdict}  {id:<32} {engine:<15} {dtype:<3}  {shown}"));
        self.rows.push(json!({ "id": id, "engine": engine, "type": dtype, "passed": passed, "result": value }));
    }

    /// The engines that can compute a specification, of those asked for.
    fn engines(&mut self, spec: &NsctSpec, area: usize) -> Vec<Engine> {
        let mut all = vec![Engine::Taps, Engine::Ladder, Engine::Spectral, Engine::DenseReference];
        if let Some(only) = self.args.engine {
            all = vec![only];
        }
        all.retain(|&engine| spec.clone().with_engine(engine).validate().is_ok());
        // Two dense filters a node of some thousand taps: minutes for a whole photograph.
        if self.args.engine.is_none() && area * spec.plane_count() > 64 << 14 {
            all.retain(|&e| e != Engine::DenseReference);
            let left_out = "the dense-reference engine is left out of whole photographs for its cost";
            self.note(format!("{left_out}; --engine dense-reference runs it"));
        }
        all
    }
}

/// The largest absolute difference; infinite for different lengths.
fn largest(got: &[f64], wanted: &[f64]) -> f64 {
    if got.len() != wanted.len() {
        return f64::INFINITY;
    }
    crate::pictures::largest_difference(got, wanted)
}

/// The factor for limits that are stated for 0..255: larger ranges and data in 0..1 scale them.
fn range_factor(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    match largest {
        0.0 => 1.0,
        l if l <= 1.0 => 1.0 / 255.0,
        l => (l / 255.0).max(1.0),
    }
}

/// The wanted shape, or an error that names the file's key.
fn expect_shape(what: &str, array: &Array, wanted: &[usize]) -> Result<()> {
    if array.shape == wanted {
        return Ok(());
    }
    Err(Failure::usage(format!("{what} has shape {:?}, expected {wanted:?}", array.shape)))
}

/// Reads an image of the folder.
fn image(dir: &Path, name: &str) -> Result<Array> {
    let array = npy::read(&dir.join(name))?;
    if array.shape.len() != 2 {
        return Err(Failure::usage(format!("{name} has shape {:?}, expected rows and columns", array.shape)));
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_never_passes() {
        assert!(Check::new("x", 1.0, 1.0).passed());
        assert!(!Check::new("x", f64::NAN, 1.0).passed());
        assert_eq!(largest(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }

    #[test]
    fn limits_follow_the_range() {
        assert_eq!(range_factor(&[0.0]), 1.0);
        assert_eq!(range_factor(&[200.0]), 1.0);
        assert_eq!(range_factor(&[-65535.0]), 257.0);
        assert_eq!(range_factor(&[0.5]), 1.0 / 255.0);
    }
}
