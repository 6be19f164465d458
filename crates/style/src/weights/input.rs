//! The bytes of a pickle, read from the front.

use super::{Result, WeightsError};

/// What is left of the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Starts at the front of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that are not read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(n) else {
            return Err(WeightsError::truncated("a pickle", n, self.rest.len()));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(crate) fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(WeightsError::truncated("a pickle", N, self.rest.len()));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8> {
        self.chunk::<1>().map(|b| b[0])
    }

    /// An unsigned little-endian integer of `N` bytes.
    pub(crate) fn unsigned<const N: usize>(&mut self) -> Result<u64> {
        let bytes = self.chunk::<N>()?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// The text up to the next line break, which is passed over.
    pub(crate) fn line(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|&b| b == b'\n');
        let Some(end) = end else { return Err(WeightsError::truncated("a pickle", 1, 0)) };
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| WeightsError::malformed("PyTorch", "a name is not text"))
    }
}
