//! `lockstep ata verify DIR`: every case of a `manifest.json`, in every precision of the backend.
//!
//! Checks whose arrays are absent are reported as skipped, except that a wall without patterns is generated again from
//! its parameters.

mod products;
mod solves;
mod walls;

use std::path::{Path, PathBuf};

use ata_wmma::kernels::AtaBackend;
use ata_wmma::npy::{self, NpyArray};
use ata_wmma::{Engine, Precision};
use clap::Args;
use gpu_core::with_backend;
use serde_json::{Value, json};

use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::session::{Session, seconds};

/// Options of `ata verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata verify data/ata-wmma                          everything, on a GPU when there is one
  lockstep ata verify data/ata-wmma --backend cpu --filter wall
  lockstep ata verify data/ata-wmma --precision f16 --json > report.json

One line a case and mode: name, mode, then each check as value/limit. Exit code 1 when one fails.")]
pub(crate) struct Verify {
    /// The data folder, with manifest.json
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only this precision: f32, tf32, tf32x3, f16, f16x2, bf16 or bf16x3
    #[arg(long, value_name = "NAME")]
    precision: Option<Precision>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// One compared quantity.
struct Check {
    name: &'static str,
    value: f64,
    limit: f64,
}

impl Check {
    fn new(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit }
    }

    /// How many of something there are, where none is allowed.
    fn none(name: &'static str, count: usize) -> Self {
        Self::new(name, count as f64, 0.0)
    }

    /// NaN fails.
    fn passed(&self) -> bool {
        self.value <= self.limit
    }

    fn shown(&self) -> String {
        let mark = if self.passed() { "" } else { " !" };
        if self.limit == 0.0 {
            format!("{} {}/0{mark}", self.name, self.value)
        } else {
            format!("{} {:.1e}/{:.0e}{mark}", self.name, self.value, self.limit)
        }
    }
}

/// A case of the manifest and its folder.
struct Case<'a> {
    id: &'a str,
    entry: &'a Value,
    folder: PathBuf,
}

impl Case<'_> {
    /// An array when its file is there; its checksum must be the manifest's.
    fn array(&self, name: &str) -> Result<Option<NpyArray>> {
        let path = self.path(name);
        if !path.is_file() {
            return Ok(None);
        }
        let array = npy::read(&path)?;
        let facts = &self.entry["files"][name];
        if let Some(crc) = facts["crc32"].as_u64()
            && u64::from(array.values.crc32()) != crc
        {
            return Err(Failure::input(&path, "data: the checksum is not the manifest's; copy the data again"));
        }
        if let Some(shape) = facts["shape"].as_array() {
            let wanted: Vec<_> = shape.iter().filter_map(|v| v.as_u64().map(|v| v as usize)).collect();
            if wanted != array.shape {
                return Err(Failure::input(&path, format!("shape: {:?}, the manifest says {wanted:?}", array.shape)));
            }
        }
        Ok(Some(array))
    }

    /// Values of an array in `f64`.
    fn wide(&self, name: &str) -> Result<Option<Vec<f64>>> {
        Ok(self.array(name)?.map(|array| array.values.to_f64()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.npy"))
    }

    fn number(&self, key: &str) -> Result<usize> {
        let number = self.entry[key].as_u64().and_then(|v| usize::try_from(v).ok());
        number.ok_or_else(|| Failure::usage(format!("manifest.json: {}: `{key}` is missing or no number", self.id)))
    }
}

/// What is run, and what came out so far.
struct Verifier<'a> {
    session: &'a Session,
    args: &'a Verify,
    rows: Vec<Value>,
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Passed and failed lines of each mode.
    modes: std::collections::BTreeMap<String, [usize; 2]>,
}

impl Verify {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let path = self.dir.join("manifest.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Failure::reading(&path, &e))?;
        let manifest: Value =
            serde_json::from_str(&text).map_err(|e| Failure::input(&path, format!("this is no JSON: {e}")))?;
        let any = self.backend.open(None)?;
        let start = std::time::Instant::now();
        let mut verifier = Verifier {
            session,
            args: self,
            rows: Vec::new(),
            passed: 0,
            failed: 0,
            skipped: 0,
            modes: std::collections::BTreeMap::new(),
        };
        with_backend!(&any, |b| verifier.all(b, &path, &manifest))?;
        let Verifier { rows, passed, failed, skipped, modes, .. } = verifier;
        if passed + failed == 0 {
            return Err(Failure::usage(format!("nothing in {} could be checked", path.display()))
                .help("it must be an object of cases; --filter may leave out too much"));
        }
        for (mode, [passed, failed]) in &modes {
            session.say(format!("{mode:<14} {passed} passed, {failed} failed"));
        }
        let verdict = if failed == 0 { "all passed" } else { "FAILED" };
        session.say(format!(
            "{} lines on {} ({}): {passed} passed, {failed} failed, {skipped} skipped, {} – {verdict}",
            passed + failed,
            any.name(),
            any.device().name,
            seconds(start.elapsed().as_secs_f64())
        ));
        session.document(&json!({
            "dir": as_text(&self.dir), "backend": any.name(), "device": any.device().name, "passed": passed, "failed": failed,
            "skipped": skipped, "modes": modes, "lines": rows, "seconds": start.elapsed().as_secs_f64(),
        }))?;
        Ok(if failed == 0 { Exit::Ok } else { Exit::Check })
    }

    fn precisions(&self) -> Vec<Precision> {
        Precision::ALL.into_iter().filter(|p| self.precision.is_none_or(|only| only == *p)).collect()
    }
}

/// Engines that a backend has for a precision.
fn engines<B: AtaBackend>(precision: Precision) -> Vec<(Engine, String)> {
    let mut all = vec![(Engine::Auto, precision.to_string())];
    if B::NAME != "cpu" && precision == Precision::F16 {
        all.push((Engine::Wmma32, format!("{precision} wmma32")));
    }
    all
}

impl Verifier<'_> {
    fn all<B: AtaBackend>(&mut self, b: &B, path: &Path, manifest: &Value) -> Result<()> {
        let cases = manifest.as_object().ok_or_else(|| Failure::input(path, "this is no object of cases"))?;
        for (id, entry) in cases {
            if self.args.filter.as_ref().is_some_and(|f| !id.contains(f.as_str())) {
                continue;
            }
            let case = Case { id, entry, folder: self.args.dir.join(id) };
            match entry["kind"].as_str() {
                Some("exact" | "real" | "exact-generated") => self.product_case(b, &case),
                Some("wall") => self.wall_case(b, &case),
                kind => self.skip(id, "case", format!("kind {kind:?} is unknown")),
            }
        }
        Ok(())
    }

    fn skip(&mut self, id: &str, what: &str, why: impl Into<String>) {
        let why = why.into();
        self.skipped += 1;
        self.session.say(format!("SKIP  {id:<22} {what:<14} {why}"));
        self.rows.push(json!({ "id": id, "mode": what, "skipped": why }));
    }

    /// One line of the report; a line without checks is skipped.
    fn line(&mut self, id: &str, mode: &str, outcome: Result<Vec<Check>>) {
        let (passed, shown, value) = match outcome {
            Ok(checks) if checks.is_empty() => return self.skip(id, mode, "its arrays are absent"),
            Ok(checks) => {
                let shown: Vec<_> = checks.iter().map(Check::shown).collect();
                let list: Vec<_> = checks
                    .iter()
                    .map(|c| json!({ "check": c.name, "value": c.value, "limit": c.limit, "passed": c.passed() }))
                    .collect();
                (checks.iter().all(Check::passed), shown.join("  "), json!({ "checks": list }))
            }
            Err(e) => (false, e.message.clone(), e.to_json()),
        };
        *if passed { &mut self.passed } else { &mut self.failed } += 1;
        self.modes.entry(mode.to_owned()).or_default()[usize::from(!passed)] += 1;
        let verdict = if passed { "PASS" } else { "FAIL" };
        self.session.say(format!("{verdict}  {id:<22} {mode:<14} {shown}"));
        self.rows.push(json!({ "id": id, "mode": mode, "passed": passed, "result": value }));
    }
}

/// How many values differ; all of them when the lengths do.
fn differing<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    if a.len() == b.len() { a.iter().zip(b).filter(|(a, b)| a != b).count() } else { a.len().max(b.len()).max(1) }
}
