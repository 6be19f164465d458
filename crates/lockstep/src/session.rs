//! What every command knows about how to talk: `--json`, `--quiet`, `-v`.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::exit::{Exit, Failure, Result};

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct Session {
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress bar and no notes; results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log more: -v what is chosen, -vv every plan, -vvv every launch (LOCKSTEP_LOG sets filters)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

impl Session {
    /// Sends the library's log to standard error.
    pub(crate) fn install_log(&self) {
        use tracing_subscriber::filter::EnvFilter;
        let level = match (self.quiet, self.verbose) {
            (true, 0) => "error",
            (_, 0) => "warn",
            (_, 1) => "info",
            (_, 2) => "debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        // A second subscriber is only possible in tests, and harmless there.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(self.verbose > 1)
            .without_time()
            .try_init();
    }

    /// A line of the result; not printed under `--json`.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        if !self.json {
            print(&line);
        }
    }

    /// A line about what was done; not printed under `--json` or `--quiet`.
    pub(crate) fn note(&self, line: impl fmt::Display) {
        if !self.json && !self.quiet {
            print(&line);
        }
    }

    /// The result as a document; printed under `--json` alone.
    pub(crate) fn document(&self, value: &impl Serialize) -> Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .map_err(|e| Failure::new(Exit::Io, format!("cannot write the result as JSON: {e}")))?;
            print(&text);
        }
        Ok(())
    }
}

/// What went wrong with standard output, first.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line. When that fails nothing more is printed, but the work is done, and its exit code is what it would be.
fn print(line: &dyn fmt::Display) {
    if LOST.get().is_none()
        && let Err(e) = writeln!(std::io::stdout().lock(), "{line}")
    {
        let _ = LOST.set(e);
    }
}

/// Why results could not be printed. A reader that has gone away (`lockstep … | head`) has what it wants.
pub(crate) fn lost_output() -> Option<Failure> {
    let lost = LOST.get().filter(|e| e.kind() != std::io::ErrorKind::BrokenPipe)?;
    Some(Failure::writing(Path::new("standard output"), lost))
}

/// Bytes in words: `1.5 GiB`.
pub(crate) fn bytes(n: usize) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A number of things: `1 task`, `2 tasks`.
pub(crate) fn several(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A duration in words: `1.23 ms`.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.2} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_in_words() {
        assert_eq!(bytes(12), "12 B");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(seconds(0.00123), "1.23 ms");
        assert_eq!(seconds(125.0), "2 min 05 s");
        assert_eq!([0, 1, 2].map(|n| several(n, "task")), ["0 tasks", "1 task", "2 tasks"]);
    }
}
