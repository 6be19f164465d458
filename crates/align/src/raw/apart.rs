//! Files read in a process of their own.
//!
//! A decoder that takes memory by what a file says is ended by the allocator when that is too much, and nothing inside of
//! the process can catch it. Where the file is read by another process, that one ends, and the file is damaged. A process
//! reads many files: the decoder's list of cameras takes longer to load than a small picture.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use super::{RawlerReader, load};
#[cfg(unix)]
use super::{
    guard::{self, Kind},
    rgb::MOST_PIXELS_A_BYTE,
};
use crate::{BlackLevel, Cfa, Error, Limits, Meta, Probe, RawFrame, RawReader, Rect, Result, Warning};

/// Reads files in other processes, with limits of memory and time for each file, so that nothing a file contains ends this
/// one.
///
/// The program that is started must call [`serve`]; a program that starts itself needs no other file. A process reads one
/// file after the other, one at a time, as long as it lives; clones share them. They end with the last clone.
#[derive(Clone, Debug)]
pub struct ApartReader {
    program: PathBuf,
    arguments: Vec<OsString>,
    threads: usize,
    idle: Arc<Mutex<Vec<Helper>>>,
}

impl ApartReader {
    /// Starts `program` with `arguments` when a file is to be read.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, threads: 1, idle: Arc::default() }
    }

    /// How many threads decode one file; one unless told otherwise, for callers that read many at a time.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// A process that has nothing to do.
    fn idle(&self) -> Option<Helper> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|helper| helper.threads == self.threads)?;
        Some(idle.swap_remove(at))
    }

    /// A new process.
    fn helper(&self) -> std::io::Result<Helper> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A terminal's Ctrl-C is for this process, which finishes what is in work.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Helper { threads: self.threads, child: command.spawn()? })
    }

    /// Asks about a file, and hands what comes behind the answer to `rest`.
    fn ask<T>(
        &self,
        what: &str,
        path: &Path,
        limits: &Limits,
        rest: impl Fn(Answer, &mut dyn Read) -> std::io::Result<Result<T, Refused>>,
    ) -> Result<T> {
        let question = question(what, path, limits);
        let done = |helper: Helper, done: Result<T, Refused>| {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(helper);
            done.map_err(|refused| refused.error(path))
        };
        // What ends a process that has read other files may be theirs: a new one decides.
        if let Some(mut helper) = self.idle()
            && let Ok(answered) = helper.converse(&question, &rest)
        {
            return done(helper, answered);
        }
        let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), why };
        let started = self.helper();
        let mut helper = started.map_err(|e| unreadable(format!("no process to read it in could be started: {e}")))?;
        match helper.converse(&question, &rest) {
            Ok(answered) => done(helper, answered),
            Err(e) => {
                // It waits for nothing more, if it lives at all.
                helper.child.stdin = None;
                match helper.child.wait() {
                    Ok(status) => Err(ended(path, status, &e)),
                    Err(e) => Err(unreadable(e.to_string())),
                }
            }
        }
    }
}

/// A process that reads files.
#[derive(Debug)]
struct Helper {
    threads: usize,
    child: Child,
}

impl Helper {
    fn converse<T>(
        &mut self,
        question: &[u8],
        rest: &impl Fn(Answer, &mut dyn Read) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let (Some(to), Some(from)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        to.write_all(question)?;
        to.flush()?;
        let answer = head(from)?;
        rest(answer, from)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It has nothing to do, or nobody listens any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The question: its length, then what, limits and the path, of which only the last may hold a zero.
fn question(what: &str, path: &Path, limits: &Limits) -> Vec<u8> {
    let mut text = format!("{what}\0{}\0{}\0", limits.pixels, limits.bytes).into_bytes();
    text.extend(path.as_os_str().as_encoded_bytes());
    [&(text.len() as u32).to_le_bytes(), text.as_slice()].concat()
}

// Elsewhere not all bytes are a path.
#[allow(clippy::unnecessary_wraps)]
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec()).into())
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// What the end of a process before its answer says about the file.
fn ended(path: &Path, status: ExitStatus, e: &std::io::Error) -> Error {
    let path = path.to_owned();
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        use nix::sys::signal::Signal;
        let why = match Signal::try_from(signal) {
            Ok(Signal::SIGABRT) => "the decoder asked for more memory than such a file can need".to_owned(),
            Ok(Signal::SIGXCPU) => "the decoder did not come to an end".to_owned(),
            Ok(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGTRAP) => {
                format!("the decoder crashed (signal {signal})")
            }
            _ => {
                let why = format!("the process that read it was ended from outside (signal {signal})");
                return Error::Unreadable { path, why };
            }
        };
        return Error::Damaged { path, why };
    }
    if status.success() || status.code().is_some_and(|code| (0..128).contains(&code)) {
        let why = format!("the process that read it gave no answer ({status}, {e})");
        return Error::Unreadable { path, why };
    }
    Error::Damaged { path, why: format!("the decoder crashed ({status})") }
}

impl RawReader for ApartReader {
    fn probe(&self, path: &Path) -> Result<Probe> {
        self.ask("probe", path, &Limits::default(), |answer, _| {
            Ok(match answer {
                Answer::Probe(probe) => Ok(probe.probe()),
                Answer::Refused(refused) => Err(refused),
                Answer::Frame(_) => return Err(std::io::ErrorKind::InvalidData.into()),
            })
        })
    }

    fn read(&self, path: &Path, limits: &Limits) -> Result<RawFrame> {
        self.ask("read", path, limits, |answer, rest| {
            Ok(match answer {
                Answer::Frame(frame) => Ok(frame.frame(limits, rest)?),
                Answer::Refused(refused) => Err(refused),
                Answer::Probe(_) => return Err(std::io::ErrorKind::InvalidData.into()),
            })
        })
    }
}

/// The other side of [`ApartReader`]: reads the files that `input` asks for, and writes the answers to `out`, until there are
/// no more questions. Takes away this process's right to more memory and time than each file can need.
///
/// # Errors
/// When the questions are not those of [`ApartReader`], and when nobody listens any more.
pub fn serve(input: &mut impl Read, out: &mut impl Write) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            done => done?,
        }
        let length = u32::from_le_bytes(length);
        if length > 1 << 16 {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut text = vec![0; length as usize];
        input.read_exact(&mut text)?;
        answer(&text, out)?;
        out.flush()?;
    }
}

/// Answers one question.
fn answer(question: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let mut parts = question.splitn(4, |byte| *byte == 0);
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok()).ok_or_else(invalid);
    let (what, pixels, bytes) = (text()?, text()?, text()?);
    let number = |text: &str| text.parse().map_err(|_| invalid());
    let limits = Limits { pixels: number(pixels)?, bytes: number(bytes)? };
    let path = parts.next().and_then(path_of).ok_or_else(invalid)?;
    let read = load(&path, &limits).and_then(|bytes| {
        confine(&bytes, &limits);
        if what == "probe" {
            RawlerReader::probe_loaded(&path, bytes).map(|probe| (Answer::probed(&probe), None))
        } else {
            RawlerReader::read_loaded(&path, bytes, &limits).map(|frame| (Answer::framed(&frame), Some(frame)))
        }
    });
    let (answer, frame) = read.unwrap_or_else(|e| (Answer::Refused(Refused::of(&e)), None));
    let text = serde_json::to_vec(&answer)?;
    out.write_all(&MAGIC)?;
    out.write_all(&(text.len() as u32).to_le_bytes())?;
    out.write_all(&text)?;
    if let Some(frame) = frame {
        // Both sides are one machine: its own order of bytes.
        out.write_all(bytemuck::cast_slice(frame.mosaic.as_standard_layout().as_slice().unwrap_or(&[])))?;
        if let Some(rgb) = &frame.rgb {
            out.write_all(bytemuck::cast_slice(rgb.as_standard_layout().as_slice().unwrap_or(&[])))?;
        }
    }
    Ok(())
}

/// Limits of this process while it reads this file. Genuine files of the largest cameras stay far below them.
#[cfg(unix)]
fn confine(bytes: &[u8], limits: &Limits) {
    use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
    let length = bytes.len() as u64;
    // Pictures with all colours are packed more.
    let colours = match guard::inspect(bytes, limits) {
        Ok(header) if matches!(header.kind, Kind::Picture | Kind::RgbTiff) => {
            limits.pixels.min(length.saturating_mul(MOST_PIXELS_A_BYTE)).saturating_mul(40)
        }
        _ => 0,
    };
    let memory = MEMORY.saturating_add(length.saturating_mul(16)).saturating_add(colours);
    // Those before it have had their time.
    let spent = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |u| u.user_time().tv_sec() + u.system_time().tv_sec());
    let seconds = spent.max(0) as u64 + SECONDS + length / 1_000_000;
    // Where the system knows no such limits, the process still is another one.
    for (what, limit) in [(Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_DATA, memory), (Resource::RLIMIT_CPU, seconds)]
    {
        if let Ok((_, most)) = getrlimit(what) {
            let _ = setrlimit(what, limit.min(most), most);
        }
    }
}

#[cfg(not(unix))]
fn confine(_: &[u8], _: &Limits) {}

/// Bytes that any file may take, the program itself included, beside those that its length pays for.
#[cfg(unix)]
const MEMORY: u64 = 768 << 20;
/// Seconds of work that any file may take, on all threads together.
#[cfg(unix)]
const SECONDS: u64 = 120;

const MAGIC: [u8; 8] = *b"LSFRAME1";

/// Reads what an answer begins with.
fn head(from: &mut impl Read) -> std::io::Result<Answer> {
    let mut start = [0; 12];
    from.read_exact(&mut start)?;
    let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    if start[..8] != MAGIC || length > 1 << 20 {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Probe(WireProbe),
    Frame(WireFrame),
    Refused(Refused),
}

/// A number by its bits: text would round it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Exact(u64);

impl Exact {
    fn of(v: f64) -> Self {
        Self(v.to_bits())
    }

    fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct WireProbe {
    make: String,
    model: String,
    height: Option<usize>,
    width: Option<usize>,
    bytes: u64,
    iso: Option<Exact>,
    exposure: Option<Exact>,
    cfa: Option<String>,
    crop: Option<Rect>,
}

impl WireProbe {
    fn probe(self) -> Probe {
        Probe {
            make: self.make,
            model: self.model,
            height: self.height,
            width: self.width,
            bytes: self.bytes,
            iso: self.iso.map(Exact::get),
            exposure: self.exposure.map(Exact::get),
            cfa: self.cfa.and_then(|letters| pattern(&letters)),
            crop: self.crop,
        }
    }
}

/// A pattern by its letters; that of pictures without filters is one green pixel.
fn pattern(letters: &str) -> Option<Cfa> {
    if letters == Cfa::Gray.letters() { Some(Cfa::Gray) } else { Cfa::from_letters(letters).ok() }
}

/// A picture without its values.
#[derive(Debug, Serialize, Deserialize)]
struct WireFrame {
    size: [usize; 2],
    cfa: String,
    black: Vec<Exact>,
    white: u16,
    rgb: bool,
    make: String,
    model: String,
    iso: Option<Exact>,
    exposure: Option<Exact>,
    orientation: u16,
    xyz_to_camera: Option<[[Exact; 3]; 4]>,
    linear_limit: Option<Exact>,
    crop: Option<Rect>,
    warnings: Vec<Warning>,
}

impl WireFrame {
    fn frame(self, limits: &Limits, rest: &mut dyn Read) -> std::io::Result<RawFrame> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let [height, width] = self.size;
        let pixels = height.checked_mul(width).filter(|n| *n as u64 <= limits.pixels).ok_or_else(invalid)?;
        let mut values = vec![0u16; pixels];
        rest.read_exact(bytemuck::cast_slice_mut(&mut values))?;
        let mosaic = Array2::from_shape_vec((height, width), values).map_err(|_| invalid())?;
        let rgb = if self.rgb {
            let mut values = vec![0f32; 3 * pixels];
            rest.read_exact(bytemuck::cast_slice_mut(&mut values))?;
            Some(Array3::from_shape_vec((3, height, width), values).map_err(|_| invalid())?)
        } else {
            None
        };
        let cfa = pattern(&self.cfa).ok_or_else(invalid)?;
        let period = cfa.period();
        let levels: Vec<f32> = self.black.iter().map(|v| v.get() as f32).collect();
        let black = BlackLevel::repeated(period, period, period, &levels).map_err(|_| invalid())?;
        let meta = Meta {
            make: self.make,
            model: self.model,
            iso: self.iso.map(Exact::get),
            exposure: self.exposure.map(Exact::get),
            orientation: self.orientation,
            xyz_to_camera: self.xyz_to_camera.map(|rows| rows.map(|row| row.map(|v| v.get() as f32))),
            linear_limit: self.linear_limit.map(Exact::get),
            crop: self.crop,
            warnings: self.warnings,
        };
        Ok(RawFrame { mosaic, cfa, black, white: self.white, rgb, meta })
    }
}

impl Answer {
    fn probed(p: &Probe) -> Self {
        Self::Probe(WireProbe {
            make: p.make.clone(),
            model: p.model.clone(),
            height: p.height,
            width: p.width,
            bytes: p.bytes,
            iso: p.iso.map(Exact::of),
            exposure: p.exposure.map(Exact::of),
            cfa: p.cfa.map(|cfa| cfa.letters()),
            crop: p.crop,
        })
    }

    fn framed(f: &RawFrame) -> Self {
        let exact = |v: &f32| Exact::of(f64::from(*v));
        Self::Frame(WireFrame {
            size: f.size(),
            cfa: f.cfa.letters(),
            black: f.black.levels().iter().map(exact).collect(),
            white: f.white,
            rgb: f.rgb.is_some(),
            make: f.meta.make.clone(),
            model: f.meta.model.clone(),
            iso: f.meta.iso.map(Exact::of),
            exposure: f.meta.exposure.map(Exact::of),
            orientation: f.meta.orientation,
            xyz_to_camera: f.meta.xyz_to_camera.map(|rows| rows.map(|row| row.map(|v| exact(&v)))),
            linear_limit: f.meta.linear_limit.map(Exact::of),
            crop: f.meta.crop,
            warnings: f.meta.warnings.clone(),
        })
    }
}

/// An error about a file, without its path.
#[derive(Debug, Serialize, Deserialize)]
enum Refused {
    Missing,
    Unreadable { why: String },
    TooLarge { what: String, limit: String },
    Unsupported { why: String },
    Damaged { why: String },
    TooSmall { height: usize, width: usize, least: usize },
}

impl Refused {
    fn of(e: &Error) -> Self {
        match e.clone() {
            Error::Missing { .. } => Self::Missing,
            Error::Unreadable { why, .. } => Self::Unreadable { why },
            Error::TooLarge { what, limit, .. } => Self::TooLarge { what, limit },
            Error::Unsupported { why, .. } => Self::Unsupported { why },
            Error::Damaged { why, .. } => Self::Damaged { why },
            Error::TooSmall { height, width, least } => Self::TooSmall { height, width, least },
            other => Self::Damaged { why: other.to_string() },
        }
    }

    fn error(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Missing => Error::Missing { path },
            Self::Unreadable { why } => Error::Unreadable { path, why },
            Self::TooLarge { what, limit } => Error::TooLarge { path, what, limit },
            Self::Unsupported { why } => Error::Unsupported { path, why },
            Self::Damaged { why } => Error::Damaged { path, why },
            Self::TooSmall { height, width, least } => Error::TooSmall { height, width, least },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DngOptions, Scenery, Shot, write_dng};

    fn answers(what: &str, path: &Path) -> Vec<u8> {
        let limits = Limits { pixels: 1 << 20, bytes: 1 << 24 };
        let mut out = Vec::new();
        serve(&mut question(what, path, &limits).as_slice(), &mut out).unwrap();
        out
    }

    fn decoded(what: &str, path: &Path) -> Result<RawFrame, Refused> {
        let out = answers(what, path);
        let mut from = out.as_slice();
        match head(&mut from).unwrap() {
            Answer::Frame(frame) => {
                let frame = frame.frame(&Limits::default(), &mut from).unwrap();
                assert!(from.is_empty());
                Ok(frame)
            }
            Answer::Refused(refused) => Err(refused),
            Answer::Probe(_) => panic!("asked for a picture"),
        }
    }

    // These tests confine the test's own process, to limits that it stays far below.
    #[test]
    fn pictures_pass_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let o =
            DngOptions { iso: 800, linear_limit: Some(900), black: vec![100, 200, 300, 400], ..DngOptions::default() };
        std::fs::write(&path, write_dng(&Scenery::new(1, 96, 120).mosaic(&Shot::default()).view(), &o)).unwrap();
        let wanted = RawlerReader.read(&path, &Limits::default()).unwrap();
        let got = decoded("read", &path).unwrap();
        assert_eq!(
            (got.mosaic, got.cfa, got.black, got.white),
            (wanted.mosaic, wanted.cfa, wanted.black, wanted.white)
        );
        assert_eq!(got.meta, wanted.meta);
        let Answer::Probe(probe) = head(&mut answers("probe", &path).as_slice()).unwrap() else { panic!("no probe") };
        assert_eq!(probe.probe(), RawlerReader.probe(&path).unwrap());
        let colours = folder.path().join("b.png");
        image::RgbImage::from_fn(80, 70, |x, y| image::Rgb([x as u8, y as u8, 7])).save(&colours).unwrap();
        let got = decoded("read", &colours).unwrap();
        assert_eq!(got.rgb, RawlerReader.read(&colours, &Limits::default()).unwrap().rgb);
    }

    #[test]
    fn refusals_keep_their_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let kind = |path: &Path| decoded("read", path).map(|_| ()).unwrap_err().error(path);
        assert!(matches!(kind(&path), Error::Missing { path: named } if named == path));
        std::fs::write(&path, "a text, and not a picture").unwrap();
        assert!(matches!(kind(&path), Error::Unsupported { .. }));
        image::RgbImage::new(8, 8).save(folder.path().join("c.png")).unwrap();
        assert!(matches!(kind(&folder.path().join("c.png")), Error::TooSmall { .. }));
    }

    #[test]
    fn answers_that_are_none_are_no_pictures() {
        assert!(head(&mut &b"LSFRAME1\xff\xff\xff\xff"[..]).is_err());
        assert!(head(&mut &b"something else"[..]).is_err());
        let mut out = Vec::new();
        assert!(serve(&mut &b""[..], &mut out).is_ok() && out.is_empty());
        for bad in [&b"\xff\xff\xff\xff"[..], b"\x09\0\0\0read\0many", b"\x06\0\0\0read\x001\x002", b"\x02\0\0\0a"] {
            assert!(serve(&mut &*bad, &mut out).is_err(), "{bad:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_end_of_a_process_says_what_became_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let of = |script: &str| {
            ApartReader::new("sh", ["-c", script]).read(&path, &Limits::default()).map(|_| ()).unwrap_err()
        };
        assert!(matches!(of("kill -ABRT $$"), Error::Damaged { why, .. } if why.contains("memory")));
        assert!(matches!(of("kill -XCPU $$"), Error::Damaged { why, .. } if why.contains("end")));
        assert!(matches!(of("kill -SEGV $$"), Error::Damaged { why, .. } if why.contains("crashed")));
        assert!(matches!(of("kill -KILL $$"), Error::Unreadable { why, .. } if why.contains("outside")));
        assert!(matches!(of("exit 2"), Error::Unreadable { .. }));
        assert!(matches!(of("echo nonsense"), Error::Unreadable { .. }));
        let nothing = ApartReader::new(path.join("none"), [""; 0]).probe(&path).unwrap_err();
        assert!(matches!(nothing, Error::Unreadable { why, .. } if why.contains("started")));
    }
}
