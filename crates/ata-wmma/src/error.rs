use std::path::{Path, PathBuf};

/// What can go wrong. Messages name the argument or the file and field, what came and what is accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AtaError {
    /// The device, its memory, or a shape that a kernel was given.
    #[error(transparent)]
    Gpu(#[from] gpu_core::Error),
    /// An array has the wrong shape.
    #[error("{what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// What fits, in words or numbers.
        expected: String,
        /// What came.
        got: Vec<usize>,
    },
    /// A value that cannot be worked with.
    #[error("{what}: {why}")]
    Value {
        /// The argument.
        what: String,
        /// Why it is refused, and what would be accepted.
        why: String,
    },
    /// Block offsets that are not strictly ascending inside the matrix.
    #[error("offsets: {why}")]
    Offsets {
        /// Which of them, and why.
        why: String,
    },
    /// The two triangles differ.
    #[error(
        "{what} is not symmetric: channel {channel}, element ({row}, {column}) is {value:e}, its mirror {mirror:e}, \
         allowed difference {allowed:e}; choose another symmetry policy (upper, average) if this is meant"
    )]
    Asymmetric {
        /// The array.
        what: String,
        /// Channel of the pair that differs.
        channel: usize,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The element.
        value: f64,
        /// The element mirrored at the diagonal.
        mirror: f64,
        /// The largest difference that the policy accepts.
        allowed: f64,
    },
    /// NaN or an infinity.
    #[error("{what}: element {index:?} is {value}; only finite numbers are accepted")]
    NonFinite {
        /// The array.
        what: String,
        /// Where.
        index: Vec<usize>,
        /// What stands there.
        value: f64,
    },
    /// A sum or a value that its type cannot hold.
    #[error("{what}: {why}")]
    Overflow {
        /// The quantity.
        what: String,
        /// How large it would have been.
        why: String,
    },
    /// A file cannot be read, written or understood.
    #[error("{path}: {field}: {why}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The part of the file: `header`, `shape`, `data`, a key of a JSON object, a line.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

/// For bodies of recordings, whose errors are those of devices.
impl From<AtaError> for gpu_core::Error {
    fn from(error: AtaError) -> Self {
        match error {
            AtaError::Gpu(error) => error,
            other => Self::value("ata", other.to_string()),
        }
    }
}

/// A result with an [`AtaError`].
pub type Result<T, E = AtaError> = std::result::Result<T, E>;

impl AtaError {
    pub(crate) fn value(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { what: what.into(), why: why.into() }
    }

    pub(crate) fn shape(what: impl Into<String>, expected: impl std::fmt::Debug, got: &[usize]) -> Self {
        let expected = format!("{expected:?}").trim_matches('"').to_owned();
        Self::Shape { what: what.into(), expected, got: got.to_vec() }
    }

    /// A fault of one field of a file.
    pub fn file(path: &Path, field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), field: field.into(), why: why.into() }
    }

    /// The same fault, with the file that it was found in; faults that name a file already stay as they are.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        match self {
            Self::File { .. } | Self::Gpu(_) => self,
            Self::Value { what, why } | Self::Overflow { what, why } => Self::file(path, what, why),
            Self::Offsets { why } => Self::file(path, "offsets", why),
            Self::Shape { what, expected, got } => {
                Self::file(path, what, format!("has shape {got:?}, expected {expected}"))
            }
            other => Self::file(path, "data", other.to_string()),
        }
    }
}
