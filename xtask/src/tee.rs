//! Running a program while reading along what it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::workspace::line;

/// Which of its two outputs a program wrote a line to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Runs a program, gives each line that it prints to `see`, and prints the line where `see` says so.
pub(crate) fn tee(command: &mut Command, see: impl FnMut(Stream, &str) -> bool + Send) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { bail!("no pipes to the program") };
    let see = Mutex::new(see);
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(out, Stream::Out, std::io::stdout(), &see));
        pass_on(err, Stream::Err, std::io::stderr(), &see);
    });
    child.wait().with_context(|| format!("waiting for {}", line(command)))
}

fn pass_on(from: impl Read, stream: Stream, mut to: impl Write, see: &Mutex<impl FnMut(Stream, &str) -> bool>) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        let mut see = see.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if see(stream, &plain(text)) {
            // A closed pipe (`| head`) must not stop the tests.
            let _ = writeln!(to, "{text}");
        }
        drop(see);
        bytes.clear();
    }
}

/// Text without colours.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("\x1b[");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |i| i + 1);
        out.push_str(&part[end..]);
    }
    out
}

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads the closing line of nextest or of a libtest executable.
    pub(crate) fn of_line(text: &str) -> Option<Self> {
        let nextest = text.trim_start().starts_with("Summary [").then(|| text.split_once("run:")).flatten();
        let counts = match (nextest, text.strip_prefix("test result: ")) {
            (Some((_, counts)), _) => counts,
            (None, Some(rest)) => rest.split_once(". ")?.1,
            (None, None) => return None,
        };
        let mut tally = Self::default();
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(n)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match word {
                "passed" => tally.passed += n,
                "failed" | "timed" | "exec" => tally.failed += n,
                "skipped" | "ignored" | "filtered" => tally.skipped += n,
                _ => {}
            }
        }
        Some(tally)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read() {
        let tally = |passed, failed, skipped| Some(Tally { passed, failed, skipped });
        let nextest = "     Summary [   1.014s] 12 tests run: 7 passed (1 slow), 3 failed, 2 timed out, 5 skipped";
        assert_eq!(Tally::of_line(nextest), tally(7, 5, 5));
        let libtest =
            "test result: FAILED. 8 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.0s";
        assert_eq!(Tally::of_line(libtest), tally(8, 1, 5));
        assert_eq!(Tally::of_line("test cpu_matches_oracle ... ok"), None);
    }

    #[test]
    fn colours_are_taken_away() {
        assert_eq!(plain("\x1b[32;1m     Summary\x1b[0m [ 1s]"), "     Summary [ 1s]");
    }

    #[test]
    fn a_program_is_read_line_by_line() {
        let mut lines = Vec::new();
        let status = tee(Command::new("sh").args(["-c", "echo one; echo two; exit 3"]), |_, text| {
            lines.push(text.to_owned());
            false
        })
        .unwrap();
        assert_eq!((lines.join(" "), status.code()), ("one two".to_owned(), Some(3)));
    }
}
