use std::path::PathBuf;

/// What can go wrong in this crate and in every crate built on it.
///
/// Messages name the argument, what was expected and what came; they are lower case without a full stop, so that a
/// command can put them behind its own words.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong shape or length.
    #[error("{what} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// The argument.
        what: &'static str,
        /// The shape that the operation needs.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An argument has a value that the operation cannot work with.
    #[error("{what}: {why}")]
    Value {
        /// The argument.
        what: &'static str,
        /// Why its value is refused, and what would be accepted.
        why: String,
    },
    /// A buffer was used on a queue that does not own it; `adopt` or `share` it first.
    #[error("{what} belongs to another queue; move it with `adopt`, or `share` it for reading")]
    WrongQueue {
        /// The argument, or the kind of access.
        what: &'static str,
    },
    /// The memory limit, or the device, does not allow this allocation.
    #[error(
        "out of memory: {requested} bytes requested, {used} in use, limit {limit}; use a smaller batch or a larger budget"
    )]
    OutOfMemory {
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use on the device when they were asked for.
        used: usize,
        /// The limit in force.
        limit: usize,
    },
    /// No such device, or no driver.
    #[error("no CUDA device: {reason}")]
    NoDevice {
        /// The loader's or the driver's own words.
        reason: String,
    },
    /// The program was built without this cargo feature.
    #[error("this program was built without the cargo feature `{feature}`")]
    NotCompiled {
        /// The feature to enable.
        feature: &'static str,
    },
    /// The device cannot do this.
    #[error("{what} is not supported by {device}")]
    Unsupported {
        /// The operation or capability.
        what: String,
        /// The device's name.
        device: String,
    },
    /// A kernel launch was refused before it reached the device.
    #[error("cannot launch kernel {kernel}: {why}")]
    Launch {
        /// The kernel's symbol.
        kernel: String,
        /// What is wrong with the launch.
        why: String,
    },
    /// A compiled kernel could not be found or loaded.
    #[error("kernel {name}: {why}")]
    Kernel {
        /// The kernel's or module's name.
        name: String,
        /// The loader's words.
        why: String,
    },
    /// A driver call failed.
    #[error("the driver call {call} failed with code {code} ({name})")]
    Driver {
        /// The C function.
        call: &'static str,
        /// The driver's own number.
        code: u32,
        /// Its name, when known.
        name: String,
    },
    /// The device's context is lost: nothing on it can be used any more in this process.
    #[error("the device is lost: {first}; restart the program")]
    DeviceLost {
        /// The first error seen, and the kernel launched last before it.
        first: String,
    },
    /// A call that cannot be recorded was made while capturing.
    #[error("{call} cannot be used while a graph is captured; do it before")]
    InCapture {
        /// The call.
        call: &'static str,
    },
    /// Reading or writing a file failed.
    #[error("{path}: {message}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
}

/// A result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Value`] for `what`.
    pub fn value(what: &'static str, why: impl Into<String>) -> Self {
        Self::Value { what, why: why.into() }
    }

    /// A [`Error::Shape`] for `what`.
    pub fn shape(what: &'static str, expected: &[usize], got: &[usize]) -> Self {
        Self::Shape { what, expected: expected.to_vec(), got: got.to_vec() }
    }

    /// Whether later calls on the same device will fail too.
    pub fn is_sticky(&self) -> bool {
        matches!(self, Self::DeviceLost { .. })
    }
}
