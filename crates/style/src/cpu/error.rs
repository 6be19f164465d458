//! What a network on the CPU refuses.

use std::fmt;

use crate::cpu::network::SMALLEST_SIDE;

/// Why an input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// A side is shorter than [`SMALLEST_SIDE`].
    InputTooSmall {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A slice is not as long as its shape says.
    WrongLength {
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// The padding of a reflection reaches the far edge, or a size is 0.
    BadGeometry,
    /// A scratch file for a picture larger than the memory cannot be written or read.
    ScratchFile(std::io::ErrorKind),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputTooSmall { height, width } => {
                write!(f, "image of {width} x {height} pixels: both sides must be at least {SMALLEST_SIDE}")
            }
            Self::WrongLength { expected, found } => write!(f, "expected {expected} elements, found {found}"),
            Self::BadGeometry => write!(f, "sizes must be positive and the padding smaller than the image"),
            Self::ScratchFile(kind) => write!(
                f,
                "the picture is larger than the memory, and its scratch files failed: {kind}; let TMPDIR name a folder with room"
            ),
        }
    }
}

impl std::error::Error for ShapeError {}

/// Elements of a shape; beyond all memory, a number that no slice is as long as.
pub(crate) fn volume(shape: &[usize]) -> usize {
    shape.iter().fold(1, |all: usize, &n| all.saturating_mul(n))
}

/// Checks a slice's length.
pub(crate) fn check_len(found: usize, expected: usize) -> Result<(), ShapeError> {
    if found == expected { Ok(()) } else { Err(ShapeError::WrongLength { expected, found }) }
}
