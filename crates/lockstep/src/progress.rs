//! A progress bar on standard error, when somebody looks at it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::session::Session;

/// A bar, or nothing when standard error is no terminal or the user wants quiet.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar over `len` items that are called `what`.
    pub(crate) fn new(session: &Session, len: usize, what: &'static str) -> Self {
        if session.json || session.quiet || len < 2 || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let style =
            ProgressStyle::with_template("{bar:32.cyan/blue} {pos}/{len} {prefix}  {eta} left  {wide_msg:.dim}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─");
        let bar = ProgressBar::new(len as u64).with_style(style).with_prefix(what);
        Self(Some(bar))
    }

    /// A count of items whose number is not known.
    pub(crate) fn counting(session: &Session, what: &'static str) -> Self {
        if session.json || session.quiet || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let style = ProgressStyle::with_template("{spinner} {pos} {prefix}, {per_sec}, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self(Some(ProgressBar::new_spinner().with_style(style).with_prefix(what)))
    }

    /// Names the item being worked on.
    pub(crate) fn at(&self, item: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(item.to_owned());
        }
    }

    /// So many items are done.
    pub(crate) fn to(&self, done: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(done as u64);
        }
    }

    /// One item more is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
