//! The process that reads.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{RawlerReader, load};
#[cfg(unix)]
use super::super::{
    guard::{self, Kind},
    rgb::MOST_PIXELS_A_BYTE,
};
use super::wire::{Answer, MAGIC, Refused, path_of};
use crate::Limits;

/// The other side of [`ApartReader`](super::ApartReader): reads the files that `input` asks for, and writes the answers to `out`, until there are
/// no more questions. Takes away this process's right to more memory and time than each file can need.
///
/// # Errors
/// When the questions are not those of [`ApartReader`](super::ApartReader), and when nobody listens any more.
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

/// Whether this program reads files when it is started for that.
static OFFERED: AtomicBool = AtomicBool::new(false);

pub(super) fn offered() -> bool {
    OFFERED.load(Ordering::Relaxed)
}

/// What the `main` of a program begins with that uses [`ApartReader::this_program`](super::ApartReader::this_program): in a
/// process that was started to read files it does that, and ends the process; else it returns at once.
pub fn serve_if_asked() {
    OFFERED.store(true, Ordering::Relaxed);
    if std::env::var_os(super::ASKED).is_none() {
        return;
    }
    yield_to_others();
    let served = serve(&mut std::io::stdin().lock(), &mut std::io::stdout().lock());
    std::process::exit(i32::from(served.is_err()));
}

/// Whoever feeds a device with what this process has read comes first: a copy by several threads is done when the last of
/// them is, and each of those would wait for a decoder's turn to end.
#[cfg(unix)]
fn yield_to_others() {
    let _ = rustix::process::nice(5);
}

#[cfg(not(unix))]
fn yield_to_others() {}

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
