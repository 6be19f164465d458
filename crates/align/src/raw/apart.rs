//! Files read in a process of their own.
//!
//! A decoder that takes memory by what a file says is ended by the allocator when that is too much, and nothing inside of
//! the process can catch it. Where the file is read by another process, that one ends, and the file is damaged. A process
//! reads many files: the decoder's list of cameras takes longer to load than a small picture.

mod server;
mod wire;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Limits, Probe, RawFrame, RawReader, Result};
use wire::{Answer, Refused, head, question};

pub use server::{serve, serve_if_asked};

/// Reads files in other processes, with limits of memory and time for each file, so that nothing a file contains ends this
/// one.
///
/// The program that is started must call [`serve`]; a program that starts itself needs no other file, see
/// [`this_program`](Self::this_program). A process reads one file after the other, one at a time, as long as it lives;
/// clones share them. They end with the last clone.
#[derive(Clone, Debug)]
pub struct ApartReader {
    program: PathBuf,
    arguments: Vec<OsString>,
    threads: usize,
    shared: Arc<Shared>,
}

/// What clones have in common.
#[derive(Debug, Default)]
struct Shared {
    idle: Mutex<Vec<Helper>>,
    /// Processes that were started, of which none is waited for while another one could be used.
    started: AtomicUsize,
    /// Memory of mosaics that are no longer needed.
    used: Mutex<Vec<Vec<u16>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        // All at once: each takes a while to give back its memory, and is waited for.
        for helper in idle {
            let _ = helper.child.kill();
        }
    }
}

/// Tells a program that it was started to read files; see [`ApartReader::this_program`].
const ASKED: &str = "LOCKSTEP_READ_FILES";

impl ApartReader {
    /// Starts `program` with `arguments` when a file is to be read.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, threads: 1, shared: Arc::default() }
    }

    /// Starts this program again when a file is to be read. Its `main` must begin with [`serve_if_asked`].
    ///
    /// ```no_run
    /// use align::raw::{ApartReader, serve_if_asked};
    /// use align::{Limits, RawReader};
    ///
    /// // In the processes that read, this does not return.
    /// serve_if_asked();
    /// let frame = ApartReader::this_program()?.read("a.dng".as_ref(), &Limits::default())?;
    /// # Ok::<(), align::Error>(())
    /// ```
    ///
    /// # Errors
    /// When `main` has not called [`serve_if_asked`]: the program would do its work again for each file. When the system
    /// does not say where the program is.
    pub fn this_program() -> Result<Self> {
        if !server::offered() {
            let why = "this program has not called align::raw::serve_if_asked(), with which its `main` must begin";
            return Err(Error::value("reader", why));
        }
        let program = std::env::current_exe()
            .map_err(|e| Error::value("reader", format!("this program's file is not to be found: {e}")))?;
        Ok(Self::new(program, [""; 0]))
    }

    /// How many threads decode one file; one unless told otherwise, for callers that read many at a time.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Takes a mosaic that nobody needs any more: the next picture gets its memory, which a system hands out page by page.
    pub fn reuse(&self, mosaic: ndarray::Array2<u16>) {
        let (values, _) = mosaic.into_raw_vec_and_offset();
        let mut used = self.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
        // No more than there are processes that can fill them.
        if values.capacity() > 0 && used.len() < self.shared.started.load(Ordering::Relaxed) {
            used.push(values);
        }
    }

    /// Memory for so many values, all of which are written later.
    fn values(&self, count: usize) -> Vec<u16> {
        let mut used = self.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = used.iter().position(|values| values.capacity() >= count && values.capacity() / 2 <= count);
        let Some(mut values) = fits.map(|at| used.swap_remove(at)) else { return vec![0; count] };
        values.resize(count, 0);
        values
    }

    /// A process that has nothing to do.
    fn idle(&self) -> Option<Helper> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|helper| helper.threads == self.threads)?;
        Some(idle.swap_remove(at))
    }

    /// A new process.
    fn helper(&self) -> std::io::Result<Helper> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .env("GLIBC_TUNABLES", tunables())
            .env(ASKED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A terminal's Ctrl-C is for this process, which finishes what is in work.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn()?;
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        // As much at a time as such a pipe may hold without a privilege: fewer turns for both processes.
        #[cfg(target_os = "linux")]
        if let Some(out) = &child.stdout {
            let _ = nix::fcntl::fcntl(out, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
        }
        Ok(Helper { threads: self.threads, child })
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
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(helper);
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

/// The memory of one picture serves the next, in large pages where the system has some: without this, a third of the time
/// that a compressed picture takes goes into memory which is handed out and taken back page by page. Other C libraries
/// than glibc do not look at it.
const TUNABLES: &str = "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:\
                        glibc.malloc.trim_threshold=8589934592";

/// [`TUNABLES`], behind those that somebody else has set.
fn tunables() -> OsString {
    let mut all = std::env::var_os("GLIBC_TUNABLES").unwrap_or_default();
    if !all.is_empty() {
        all.push(":");
    }
    all.push(TUNABLES);
    all
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
                Answer::Frame(frame) => Ok(frame.frame(limits, |count| self.values(count), rest)?),
                Answer::Refused(refused) => Err(refused),
                Answer::Probe(_) => return Err(std::io::ErrorKind::InvalidData.into()),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::RawlerReader;
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
                let frame = frame.frame(&Limits::default(), |count| vec![7; count], &mut from).unwrap();
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

    #[test]
    fn memory_is_used_again() {
        let reader = ApartReader::new("none", [""; 0]);
        let at = |values: &[u16]| values.as_ptr() as usize;
        let kept = |reader: &ApartReader| reader.shared.used.lock().unwrap().len();
        let filled = |reader: &ApartReader, count| {
            let mut values = reader.values(count);
            values.fill(9);
            ndarray::Array2::from_shape_vec((1, count), values).unwrap()
        };
        reader.reuse(filled(&reader, 600));
        assert_eq!(kept(&reader), 0, "nobody reads, so that nothing is kept");
        reader.shared.started.fetch_add(1, Ordering::Relaxed);
        let (first, second) = (filled(&reader, 600), filled(&reader, 600));
        let place = at(first.as_slice().unwrap());
        reader.reuse(first);
        reader.reuse(second);
        assert_eq!(kept(&reader), 1);
        assert_eq!(reader.values(100).len(), 100, "much too large, and too small");
        assert_eq!(reader.values(601).len(), 601);
        let again = reader.values(500);
        assert_eq!((at(&again), again.len()), (place, 500));
    }

    #[test]
    fn a_program_that_does_not_serve_is_not_started() {
        let Err(Error::Value { why, .. }) = ApartReader::this_program() else {
            panic!("it would start the tests again")
        };
        assert!(why.contains("serve_if_asked"));
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
