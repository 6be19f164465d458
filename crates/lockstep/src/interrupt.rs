//! Ctrl-C, and the signals with which Slurm and others end a job: finish what is in work, write it, say so.
//!
//! The first signal asks; the items in work are finished and the exit code is 130. A second one ends the process at once,
//! which costs the items in work and nothing else: files get their names when they are complete. Commands without items end
//! at the first one. What is half-written is removed.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether the first signal only asks.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// From here on signals only ask. For commands that can stop between two items.
pub(crate) fn listen() {
    LISTENING.store(true, Ordering::SeqCst);
    clean_up();
}

/// From here on a signal removes what is half-written.
pub(crate) fn clean_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handled = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) || !LISTENING.load(Ordering::SeqCst) {
                crate::files::abandon();
                std::process::exit(Exit::Interrupted as i32);
            }
            // Nobody reads it where there is no terminal left.
            let _ = writeln!(std::io::stderr(), "stopping after what is in work; again to stop at once");
        });
        if let Err(e) = handled {
            tracing::warn!(%e, "an interruption will not wait for the item in work");
        }
    });
}

/// Whether somebody wants this process to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
