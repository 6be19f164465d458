//! Exit codes, and errors that name the file, the value and the remedy.

use std::fmt;
use std::path::Path;

use gpu_core::Error as CoreError;
use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};

/// The table of exit codes that every command shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// A check or a comparison failed.
    Check = 1,
    /// The command line or the input is at fault.
    Usage = 2,
    /// Some items of a batch failed, the others are done.
    Partial = 3,
    /// No such backend, or the device is lost.
    Backend = 4,
    /// Reading or writing failed.
    Io = 5,
    /// Out of memory.
    Memory = 6,
    /// A signal ended a batch between two items.
    Interrupted = 130,
}

impl Exit {
    /// One line per code, for `--help`.
    pub(crate) const TABLE: &'static str = "Exit codes: 0 done, 1 a check or comparison failed, 2 usage or bad \
        input, 3 some items of a batch failed, 4 no such backend or device lost, 5 reading or writing failed, 6 \
        out of memory, 130 interrupted: run again to go on";
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error on its way to the user: what happened, what to do about it, and the exit code.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A result with a [`Failure`].
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    /// Bad usage or bad input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file with contents that cannot be used.
    pub(crate) fn input(path: &Path, why: impl fmt::Display) -> Self {
        Self::usage(format!("{}: {why}", path.display()))
    }

    /// A file that cannot be opened or read.
    pub(crate) fn reading(path: &Path, error: &std::io::Error) -> Self {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::PermissionDenied => "check the permissions of the file and of its folders",
            std::io::ErrorKind::IsADirectory => "it is a folder: name a file",
            _ => "check the file and the disk",
        };
        Self::new(Exit::Io, format!("cannot read {}: {error}", path.display())).help(help)
    }

    /// A file that cannot be written.
    pub(crate) fn writing(path: &Path, error: &std::io::Error) -> Self {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "create the folder first, or choose another place",
            std::io::ErrorKind::StorageFull => "free some space, or choose another place",
            _ => "choose a place that can be written",
        };
        Self::new(Exit::Io, format!("cannot write {}: {error}", path.display())).help(help)
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error, with the file that was being worked on in front.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        if !self.message.contains(&name) {
            self.message = format!("{name}: {}", self.message);
        }
        self
    }

    /// The form it takes under `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self.message, "help": self.help, "exit": self.exit as u8 })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        None
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        None
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        let message = error.to_string();
        match error {
            CoreError::NoDevice { .. } => Self::new(Exit::Backend, message)
                .help("run with --backend cpu, or see `lockstep doctor` for what is missing"),
            CoreError::NotCompiled { feature } => Self::new(Exit::Backend, message)
                .help(format!("build with `cargo build --release --features {feature}`, or run with --backend cpu")),
            CoreError::DeviceLost { .. } => Self::new(Exit::Backend, message)
                .help("set LOCKSTEP_LAUNCH_BLOCKING=1 to learn the exact kernel, or run with --backend cpu"),
            CoreError::Driver { .. }
            | CoreError::Launch { .. }
            | CoreError::Kernel { .. }
            | CoreError::Unsupported { .. } => {
                Self::new(Exit::Backend, message).help("see `lockstep doctor`, or run with --backend cpu")
            }
            CoreError::OutOfMemory { .. } => Self::new(Exit::Memory, message)
                .help("give a larger --memory, or less to do at once: smaller pictures or fewer of them"),
            CoreError::Io { .. } => Self::new(Exit::Io, message),
            _ => Self::usage(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_errors_get_their_codes() {
        let of = |e: CoreError| Failure::from(e).exit;
        assert_eq!(of(CoreError::NoDevice { reason: "x".into() }), Exit::Backend);
        assert_eq!(of(CoreError::OutOfMemory { requested: 1, used: 0, limit: 0 }), Exit::Memory);
        assert_eq!(of(CoreError::value("levels", "9")), Exit::Usage);
    }

    #[test]
    fn a_file_is_named_once() {
        let path = Path::new("a.png");
        let failure = Failure::input(path, "broken").at(path);
        assert_eq!(failure.message, "a.png: broken");
        assert_eq!(Failure::usage("broken").at(path).message, "a.png: broken");
    }
}
