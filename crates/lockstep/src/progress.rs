//! How far a command is, on standard error: a bar where somebody looks at it, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::session::{Session, seconds};

/// Seconds between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// A bar or lines; nothing when the user wants quiet.
pub(crate) struct Progress {
    shown: Shown,
    remark: Remark,
}

/// What a command has to say about items beside their number; empty unless it says something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remark(Arc<Mutex<String>>);

impl Remark {
    /// Replaces what was said before.
    pub(crate) fn say(&self, words: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    fn words(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Pixels that are done, a second: a remark on items of different sizes.
pub(crate) struct PixelRate {
    begun: Instant,
    pixels: AtomicUsize,
    remark: Remark,
}

impl PixelRate {
    /// Told in this remark.
    pub(crate) fn new(remark: Remark) -> Self {
        Self { begun: Instant::now(), pixels: AtomicUsize::new(0), remark }
    }

    /// So many more.
    pub(crate) fn add(&self, pixels: usize) {
        let all = self.pixels.fetch_add(pixels, Ordering::Relaxed) + pixels;
        let rate = all as f64 / 1e6 / self.begun.elapsed().as_secs_f64().max(1e-9);
        self.remark.say(format!("{rate:.2} megapixels/s"));
    }
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

/// What lines say.
struct Lines {
    count: Count,
    begun: Instant,
    told: Instant,
    /// Whether items were counted one by one: then the last line says the rate of all of them.
    stepped: bool,
}

/// Items so far.
#[derive(Clone, Copy, Debug)]
struct Count {
    what: &'static str,
    /// All of them, where that is known.
    all: Option<usize>,
    /// Finished, with those that were finished before.
    done: usize,
    skipped: usize,
}

impl Count {
    /// A line after so many seconds, without any control character.
    fn line(&self, took: f64, remark: &str) -> String {
        let Self { what, all, done, skipped } = *self;
        let made = done - skipped.min(done);
        let mut parts = vec![all.map_or_else(|| format!("{done} {what}"), |all| format!("{done}/{all} {what}"))];
        if made > 0 && took > 0.0 {
            parts.push(format!("{:.1} {what}/s", made as f64 / took));
            if let Some(left) = all.map(|all| all.saturating_sub(done)).filter(|left| *left > 0) {
                parts.push(format!("{} left", seconds(left as f64 * took / made as f64)));
            }
        }
        parts.extend((!remark.is_empty()).then(|| remark.to_owned()));
        parts.join(", ")
    }
}

impl Lines {
    fn start(what: &'static str, all: Option<usize>) -> Shown {
        let now = Instant::now();
        let count = Count { what, all, done: 0, skipped: 0 };
        Shown::Lines(Mutex::new(Self { count, begun: now, told: now, stepped: false }))
    }

    fn tell(&mut self, remark: &str) {
        self.told = Instant::now();
        // Nobody reads it where standard error is closed.
        let line = self.count.line(self.begun.elapsed().as_secs_f64(), remark);
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn tell_at_times(&mut self, remark: &Remark) {
        // The last one has a line of its own.
        if self.told.elapsed() >= EVERY && Some(self.count.done) != self.count.all {
            self.tell(&remark.words());
        }
    }
}

impl From<Shown> for Progress {
    fn from(shown: Shown) -> Self {
        Self { shown, remark: Remark::default() }
    }
}

impl Progress {
    /// Over `len` items that are called `what`, with what `remark` says while they are worked on.
    pub(crate) fn with_remark(session: &Session, len: usize, what: &'static str, remark: Remark) -> Self {
        let mut progress = Self::new(session, len, what);
        progress.remark = remark;
        progress
    }

    /// Over `len` items that are called `what`.
    pub(crate) fn new(session: &Session, len: usize, what: &'static str) -> Self {
        if session.json || session.quiet || len < 2 {
            return Self::from(Shown::Nothing);
        }
        if !std::io::stderr().is_terminal() {
            return Self::from(Lines::start(what, Some(len)));
        }
        let template = "{bar:32.cyan/blue} {pos}/{len} {prefix}, {per_sec}, {eta} left  {wide_msg:.dim}";
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        Self::from(Shown::Bar(ProgressBar::new(len as u64).with_style(style).with_prefix(what)))
    }

    /// A count of items whose number is not known, with what `remark` says.
    pub(crate) fn counting(session: &Session, what: &'static str, remark: Remark) -> Self {
        if session.json || session.quiet {
            return Self { shown: Shown::Nothing, remark };
        }
        if !std::io::stderr().is_terminal() {
            return Self { shown: Lines::start(what, None), remark };
        }
        let style = ProgressStyle::with_template("{spinner} {pos} {prefix}, {per_sec}, {elapsed}  {wide_msg:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self { shown: Shown::Bar(ProgressBar::new_spinner().with_style(style).with_prefix(what)), remark }
    }

    fn lines(&self, change: impl FnOnce(&mut Lines)) {
        if let Shown::Lines(lines) = &self.shown {
            change(&mut lines.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Names the item being worked on.
    pub(crate) fn at(&self, item: &str) {
        if let Shown::Bar(bar) = &self.shown {
            let words = self.remark.words();
            bar.set_message(if words.is_empty() { item.to_owned() } else { format!("{words}  {item}") });
        }
    }

    /// So many items are done.
    pub(crate) fn to(&self, done: usize) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_position(done as u64);
        }
        self.lines(|lines| {
            lines.count.done = done;
            lines.tell_at_times(&self.remark);
        });
    }

    /// So many items more need not be done: they do not count in the rate.
    pub(crate) fn skip(&self, items: usize) {
        if let Shown::Bar(bar) = &self.shown {
            bar.inc(items as u64);
            bar.reset_eta();
        }
        self.lines(|lines| {
            lines.count.done += items;
            lines.count.skipped += items;
        });
    }

    /// One item more is done.
    pub(crate) fn step(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.inc(1);
            if bar.length().is_none() {
                bar.set_message(self.remark.words());
            }
        }
        self.lines(|lines| {
            lines.count.done += 1;
            lines.stepped = true;
            lines.tell_at_times(&self.remark);
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        self.lines(|lines| {
            if lines.stepped {
                lines.tell(&self.remark.words());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_time_left() {
        let count = Count { what: "pictures", all: Some(40), done: 12, skipped: 2 };
        assert_eq!(count.line(4.0, ""), "12/40 pictures, 2.5 pictures/s, 11.20 s left");
        assert_eq!(Count { done: 40, ..count }.line(19.0, ""), "40/40 pictures, 2.0 pictures/s");
        let remarked = count.line(4.0, "36 pairs");
        assert_eq!(remarked, "12/40 pictures, 2.5 pictures/s, 11.20 s left, 36 pairs");
        // Nothing was made yet, so that nothing can be said.
        assert_eq!(Count { done: 2, ..count }.line(4.0, ""), "2/40 pictures");
        assert_eq!(Count { what: "frames", all: None, done: 90, skipped: 0 }.line(3.0, ""), "90 frames, 30.0 frames/s");
    }
}
