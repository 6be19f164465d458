//! `lockstep compare`: the same subcommand on two backends, and how far apart its outputs are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::{Value, json};

use crate::backend::Place;
use crate::exit::{Exit, Failure, Result};
use crate::jobs::{JOURNAL, file_name};
use crate::pictures::npy::{self, Kind};
use crate::pictures::{self, Depth, Layout};
use crate::session::Session;

/// Options of `compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep compare -- nsct dec photo.png -o c.npy --levels 2,3
  lockstep compare --backends cpu,cuda:1 --max-abs 1e-3 -- nsct denoise photos/ -o out/
  lockstep compare --backends cpu,cpu -- nsct features photo.png -o f.npy

The outputs are written to a temporary folder; --keep names one that stays. Exit code 1 when a limit is exceeded, \
or when the two runs wrote different files or shapes.")]
pub(crate) struct Compare {
    /// The two backends
    #[arg(long, value_name = "A,B", default_value = "cpu,cuda")]
    backends: String,
    /// Largest absolute difference that passes
    #[arg(long, value_name = "X", value_parser = parse_limit)]
    max_abs: Option<f64>,
    /// Largest relative difference that passes
    #[arg(long, value_name = "X", value_parser = parse_limit)]
    max_rel: Option<f64>,
    /// Largest difference in representable values that passes
    #[arg(long, value_name = "N")]
    max_ulps: Option<u64>,
    /// Keep both outputs in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The subcommand with its options, without --backend; its -o is redirected
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "SUBCOMMAND …")]
    subcommand: Vec<OsString>,
}

/// How far apart two outputs are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Difference {
    elements: usize,
    differ: usize,
    abs: f64,
    rel: f64,
    ulps: u64,
}

impl Difference {
    /// Compares values; `ulps` counts representable values between two of them.
    fn of(a: &[f64], b: &[f64], ulps: impl Fn(f64, f64) -> u64) -> Self {
        let mut out = Self { elements: a.len(), ..Self::default() };
        for (&x, &y) in a.iter().zip(b) {
            if x == y || x.is_nan() && y.is_nan() {
                continue;
            }
            let abs = (x - y).abs();
            out.differ += 1;
            out.abs = out.abs.max(if abs.is_nan() { f64::INFINITY } else { abs });
            let size = x.abs().max(y.abs());
            out.rel = out.rel.max(if abs.is_finite() { abs / size } else { f64::INFINITY });
            out.ulps = out.ulps.max(ulps(x, y));
        }
        out
    }

    fn json(&self) -> Value {
        json!({ "elements": self.elements, "differ": self.differ, "max_abs": self.abs, "max_rel": self.rel,
                "max_ulps": self.ulps })
    }
}

/// Representable `f64` values between two numbers.
fn ulps_f64(a: f64, b: f64) -> u64 {
    // The bit patterns of both signs on one line, zero in the middle.
    let line = |v: f64| {
        let bits = v.to_bits() as i64;
        i128::from(if bits < 0 { i64::MIN - bits } else { bits })
    };
    if a.is_nan() || b.is_nan() { u64::MAX } else { u64::try_from((line(a) - line(b)).abs()).unwrap_or(u64::MAX) }
}

fn ulps_f32(a: f64, b: f64) -> u64 {
    let line = |v: f64| {
        let bits = (v as f32).to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN - bits } else { bits })
    };
    if a.is_nan() || b.is_nan() { u64::MAX } else { (line(a) - line(b)).unsigned_abs() }
}

fn ulps_integer(a: f64, b: f64) -> u64 {
    (a - b).abs() as u64
}

fn parse_limit(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(limit) if limit >= 0.0 => Ok(limit),
        _ => Err(format!("`{text}` is no number of 0 or more")),
    }
}

impl Compare {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        // Whoever writes --json behind everything means the comparison.
        let json = session.json || self.subcommand.iter().any(|a| a == "--json");
        let session = &Session { json, ..session.clone() };
        let subcommand: Vec<_> = self.subcommand.iter().filter(|a| *a != "--json").cloned().collect();
        let backends: Vec<_> = self.backends.split(',').map(str::trim).collect();
        let [first, second] = backends.as_slice() else {
            return Err(Failure::usage(format!("--backends {} does not name two backends", self.backends))
                .help("write two with a comma, such as cpu,cuda or cpu,cpu"));
        };
        redirect(&subcommand, Path::new(""))?;
        for backend in [first, second] {
            // A missing device is said before the other one has worked for minutes.
            backend.parse::<Place>()?.open().map_err(|e| match e.exit {
                Exit::Backend => e.help("compare what is there, such as --backends cpu,cpu, or see `lockstep doctor`"),
                _ => e,
            })?;
        }
        let temporary = Temporary::new()?;
        let root = self.keep.as_deref().unwrap_or(&temporary.0);
        let mut outputs = Vec::new();
        for (i, backend) in [first, second].into_iter().enumerate() {
            let folder = root.join(format!("{}-{}", i + 1, backend.replace(':', "-")));
            make_empty(&folder)?;
            let arguments = redirect(&subcommand, &folder)?;
            run_on(backend, &arguments)?;
            outputs.push(folder);
        }
        let rows = compare_folders(&outputs[0], &outputs[1])?;
        let mut failed = false;
        if rows.is_empty() {
            return Err(Failure::usage("the subcommand wrote nothing that can be compared")
                .help("compare works with subcommands that write .npy files or pictures with -o"));
        }
        session.note(format!("{first} against {second}"));
        let mut documents = Vec::new();
        for (name, outcome) in &rows {
            let (line, value) = match outcome {
                Ok(d) => {
                    let over = self.max_abs.is_some_and(|m| d.abs > m)
                        || self.max_rel.is_some_and(|m| d.rel > m)
                        || self.max_ulps.is_some_and(|m| d.ulps > m);
                    failed |= over;
                    let limited = self.max_abs.is_some() || self.max_rel.is_some() || self.max_ulps.is_some();
                    let verdict = match (over, limited) {
                        (true, _) => "  FAIL",
                        (false, true) => "  PASS",
                        (false, false) => "",
                    };
                    let line = if d.differ == 0 {
                        format!("all {} values equal{verdict}", d.elements)
                    } else {
                        format!(
                            "max {} ulps, {:.2e} relative, {:.2e} absolute; {} of {} values differ{verdict}",
                            d.ulps, d.rel, d.abs, d.differ, d.elements
                        )
                    };
                    (line, d.json())
                }
                Err(why) => {
                    failed = true;
                    (format!("{why}  FAIL"), json!({ "error": why }))
                }
            };
            session.say(format!("{name}: {line}"));
            documents.push(json!({ "file": name, "result": value }));
        }
        session.document(&json!({ "backends": backends, "passed": !failed, "files": documents }))?;
        Ok(if failed { Exit::Check } else { Exit::Ok })
    }
}

/// Says that a folder was made here, so that it may be emptied.
const MARK: &str = ".lockstep-compare";

/// An empty folder for one backend's outputs. Results of an earlier run would be taken for finished ones; what somebody
/// else put there stays.
fn make_empty(folder: &Path) -> Result<()> {
    let mark = folder.join(MARK);
    if mark.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| Failure::writing(folder, &e))?;
    }
    crate::files::make_folder(folder)?;
    let mut entries = std::fs::read_dir(folder).map_err(|e| Failure::reading(folder, &e))?;
    if entries.next().is_some() {
        return Err(Failure::usage(format!("{} holds files that compare did not write", folder.display()))
            .help("name another folder with --keep, or empty this one"));
    }
    crate::files::write(&mark, b"")
}

/// A folder that goes away with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        let base = std::env::temp_dir();
        // Made by this call, or another name: a folder that is there already holds somebody else's results.
        for n in 0..1000 {
            let path = base.join(format!("lockstep-compare-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Failure::writing(&path, &e)),
            }
        }
        Err(Failure::new(Exit::Io, format!("{} is full of folders of compare", base.display())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Options that name what a subcommand is for.
const OUTPUTS: [&str; 3] = ["-o", "--output", "--out"];
/// Options that name what it writes besides.
const BESIDES: [&str; 9] = ["--png", "--u8", "--u16", "--int", "--quad", "--report", "--plot", "--profile", "--dot"];

/// The arguments with every output moved into `folder`.
fn redirect(arguments: &[OsString], folder: &Path) -> Result<Vec<OsString>> {
    let moved = |value: &str| match Path::new(value).file_name() {
        Some(name) => Ok(folder.join(name).into_os_string()),
        None => Err(Failure::usage(format!("the output `{value}` names no file"))
            .help("give outputs a name; compare chooses the folder")),
    };
    let mut out = Vec::new();
    let mut found = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--backend" || text.starts_with("--backend=") {
            return Err(Failure::usage("compare sets --backend itself")
                .help("leave it out of the subcommand; backends go to compare --backends A,B"));
        }
        if OUTPUTS.contains(&&*text) || BESIDES.contains(&&*text) {
            let value = rest.next().ok_or_else(|| Failure::usage(format!("{text} has no value")))?;
            found |= OUTPUTS.contains(&&*text);
            out.extend([argument.clone(), moved(&value.to_string_lossy())?]);
        } else if let Some((option, value)) =
            text.split_once('=').filter(|(o, _)| o.starts_with("--") && (OUTPUTS.contains(o) || BESIDES.contains(o)))
        {
            found |= OUTPUTS.contains(&option);
            let mut joined = OsString::from(format!("{option}="));
            joined.push(moved(value)?);
            out.push(joined);
        } else if let Some(value) = text.strip_prefix("-o").filter(|_| !text.starts_with("--")) {
            found = true;
            out.extend(["-o".into(), moved(value.trim_start_matches('='))?]);
        } else {
            out.push(argument.clone());
        }
    }
    if !found {
        return Err(Failure::usage("the subcommand has no -o or --out, so there is nothing to compare")
            .help("compare works with subcommands that write files, such as nsct dec photo.png -o c.npy"));
    }
    Ok(out)
}

/// Runs this program again.
fn run_on(backend: &str, arguments: &[OsString]) -> Result<()> {
    let starting = |e: std::io::Error| Failure::new(Exit::Io, format!("cannot start this program again: {e}"));
    let program = std::env::current_exe().map_err(starting)?;
    let mut command = Command::new(program);
    command.args(arguments).args(["--backend", backend, "--quiet"]);
    let done = command.output().map_err(starting)?;
    if done.status.success() {
        return Ok(());
    }
    let exit = match done.status.code() {
        Some(1) => Exit::Check,
        Some(2) => Exit::Usage,
        Some(3) => Exit::Partial,
        Some(4) => Exit::Backend,
        Some(6) => Exit::Memory,
        _ => Exit::Io,
    };
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Failure::new(exit, format!("the run on {backend} failed with {}:\n{}", done.status, said.trim_end())))
}

/// The files below a folder that hold results, by their names in it.
fn results(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).map_err(|e| Failure::reading(&at, &e))?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if pictures::is_picture(&path) && file_name(&path) != JOURNAL {
                names.push(path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

type Row = (String, std::result::Result<Difference, String>);

fn compare_folders(a: &Path, b: &Path) -> Result<Vec<Row>> {
    let (left, right) = (results(a)?, results(b)?);
    let mut rows = Vec::new();
    for name in &left {
        if right.contains(name) {
            rows.push((name.clone(), compare_files(&a.join(name), &b.join(name))?));
        } else {
            rows.push((name.clone(), Err("written by the first backend alone".to_owned())));
        }
    }
    for name in right.iter().filter(|n| !left.contains(n)) {
        rows.push((name.clone(), Err("written by the second backend alone".to_owned())));
    }
    Ok(rows)
}

fn compare_files(a: &Path, b: &Path) -> Result<std::result::Result<Difference, String>> {
    if pictures::ending(a) == "npy" {
        let (x, y) = (npy::read(a)?, npy::read(b)?);
        if x.shape != y.shape || x.kind != y.kind {
            return Ok(Err(format!("{:?} {:?} against {:?} {:?}", x.kind, x.shape, y.kind, y.shape)));
        }
        let ulps = match x.kind {
            Kind::F64 => ulps_f64,
            Kind::F32 => ulps_f32,
            Kind::U8 | Kind::U16 => ulps_integer,
        };
        return Ok(Ok(Difference::of(&x.values, &y.values, ulps)));
    }
    let (x, y) = (pictures::read(a, Layout::Auto)?, pictures::read(b, Layout::Auto)?);
    if x.shape != y.shape || x.depth != y.depth {
        return Ok(Err(format!("{:?} {:?} against {:?} {:?}", x.depth, x.shape, y.depth, y.shape)));
    }
    let ulps = if x.depth == Depth::F32 { ulps_f32 } else { ulps_integer };
    Ok(Ok(Difference::of(&x.samples, &y.samples, ulps)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(arguments: &[&str]) -> Result<Vec<String>> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        Ok(redirect(&arguments, Path::new("T"))?.into_iter().map(|a| a.into_string().unwrap()).collect())
    }

    #[test]
    fn outputs_move_and_nothing_else() {
        assert_eq!(redirected(&["dec", "a.png", "-o", "x/c.npy"]).unwrap(), ["dec", "a.png", "-o", "T/c.npy"]);
        assert_eq!(redirected(&["--output=out/"]).unwrap(), ["--output=T/out"]);
        assert_eq!(redirected(&["-oc.npy", "--png", "d"]).unwrap(), ["-o", "T/c.npy", "--png", "T/d"]);
        for nameless in ["..", "/", ".", "x/..", ""] {
            assert!(redirected(&["-o", nameless]).unwrap_err().message.contains("names no file"), "{nameless}");
        }
        assert!(redirected(&["info"]).unwrap_err().message.contains("no -o"));
        assert!(redirected(&["dec", "--backend", "cpu"]).is_err());
    }

    #[test]
    fn differences_are_counted() {
        let d = Difference::of(&[1.0, 2.0, 0.0], &[1.0, 2.0 + f64::EPSILON * 2.0, -0.0], ulps_f64);
        assert_eq!((d.differ, d.ulps), (1, 1));
        assert_eq!(ulps_f32(1.0, f64::from(1.0 + f32::EPSILON)), 1);
        assert_eq!(ulps_f32(f64::from(f32::from_bits(1)), -f64::from(f32::from_bits(1))), 2);
        assert_eq!(Difference::of(&[f64::NAN], &[1.0], ulps_f64).abs, f64::INFINITY);
        assert_eq!(
            Difference::of(&[f64::NAN], &[f64::NAN], ulps_f64),
            Difference { elements: 1, ..Difference::default() }
        );
    }
}
