use std::path::PathBuf;

/// What can go wrong in this crate. Everything about a file is one of these, and [`kind`](Error::kind) names it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("{path}: there is no such file; check the path", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system does not let us read the file.
    #[error("{path}: cannot be read: {why}; check its permissions and the disk", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file, or the picture that its header announces, is larger than allowed.
    #[error("{path}: {what} is above the limit of {limit}", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large, with its size.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// A kind of file that this crate does not align.
    #[error("{path}: not supported: {why}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is, and what would be accepted.
        why: String,
    },
    /// A file that is cut short or contradicts itself.
    #[error("{path}: damaged: {why}; copy it again from the camera", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A picture with too few pixels to align.
    #[error("the picture of {height} x {width} is too small; both sides must be at least {least} pixels")]
    TooSmall {
        /// Rows; after cropping to whole periods, where that makes it too small.
        height: usize,
        /// Columns, likewise.
        width: usize,
        /// The smallest side.
        least: usize,
    },
    /// A picture of a scene was made by another camera than the first.
    #[error("made by {got}, where the scene has {expected}; take it out of the scene")]
    OtherCamera {
        /// Camera and pattern of the scene.
        expected: String,
        /// Camera and pattern of this picture.
        got: String,
    },
    /// A picture of a scene has another size than the first.
    #[error("{got} pixels, where the scene has {expected}; pictures are never resampled")]
    OtherSize {
        /// Size of the scene.
        expected: String,
        /// Size of this picture.
        got: String,
    },
    /// An argument has a value that the operation cannot work with.
    #[error("{what}: {why}")]
    Value {
        /// The argument.
        what: &'static str,
        /// Why its value is refused, and what would be accepted.
        why: String,
    },
    /// The device or its memory refused.
    #[error(transparent)]
    Gpu(#[from] gpu_core::Error),
}

/// A result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Value`] for `what`.
    pub(crate) fn value(what: &'static str, why: impl Into<String>) -> Self {
        Self::Value { what, why: why.into() }
    }

    /// One word for what happened, for counting: `missing`, `unreadable`, `too-large`, `unsupported`, `damaged`,
    /// `too-small`, `other-camera`, `other-size`, `value` or `device`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Unreadable { .. } => "unreadable",
            Self::TooLarge { .. } => "too-large",
            Self::Unsupported { .. } => "unsupported",
            Self::Damaged { .. } => "damaged",
            Self::TooSmall { .. } => "too-small",
            Self::OtherCamera { .. } => "other-camera",
            Self::OtherSize { .. } => "other-size",
            Self::Value { .. } => "value",
            Self::Gpu(_) => "device",
        }
    }
}
