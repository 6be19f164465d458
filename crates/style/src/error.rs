use crate::weights::WeightsError;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device or its memory.
    #[error(transparent)]
    Gpu(#[from] gpu_core::Error),
    /// A weight file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A picture that is smaller than the reflection at its border needs.
    #[error(
        "the picture has {width} x {height} pixels, and both sides must have at least {smallest}; enlarge it first"
    )]
    InputTooSmall {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The fewest possible.
        smallest: usize,
    },
    /// A picture that has no room, with a network that cannot work on some rows at a time.
    #[error(
        "a picture of {width} x {height} pixels takes {needed} bytes in a transformer, which works on whole pictures, and \
        {room} are left; give more memory, a smaller picture, or a convolutional network, which works in strips"
    )]
    NoStrips {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that it could have.
        room: usize,
    },
    /// Arrays that do not fit together.
    #[error("{what}: expected shape {expected:?}, got {got:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// What fits.
        expected: Vec<usize>,
        /// What came.
        got: Vec<usize>,
    },
}

/// A result with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
