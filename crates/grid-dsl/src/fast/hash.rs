//! Digests of values in fixed layouts: of the canonical text, 64 bits as data files have them, and 128 bits for keys.

use std::fmt::{self, Write};

use super::val::{Val, at, colour_of};
use crate::value::Fnv;

/// FNV-1a with 128 bits, fed like a string or with bytes.
#[derive(Clone, Copy)]
pub(crate) struct Wide(pub(crate) u128);

impl Default for Wide {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Wide {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

impl Write for Wide {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }
}

impl Val {
    /// As [`Value::digest`](crate::Value::digest).
    pub(crate) fn digest(&self) -> u64 {
        let mut hash = Fnv::default();
        // Hashing cannot fail.
        let _ = write(self, &mut hash);
        hash.finish()
    }

    /// FNV-1a of the canonical text, 128 bits.
    pub(crate) fn wide_digest(&self) -> u128 {
        let mut hash = Wide::default();
        // Hashing cannot fail.
        let _ = write(self, &mut hash);
        hash.0
    }
}

/// Writes the canonical text.
fn write(value: &Val, out: &mut impl Write) -> fmt::Result {
    match value {
        Val::Int(n) => write!(out, "{n}"),
        Val::Grid(grid) if grid.cells.iter().all(|c| (0..10).contains(c)) => {
            out.write_str("{\"g\":\"")?;
            let mut line = String::with_capacity(grid.w + 1);
            for (k, row) in grid.cells.chunks_exact(grid.w).enumerate() {
                line.clear();
                if k > 0 {
                    line.push('/');
                }
                line.extend(row.iter().map(|&c| char::from(b'0' + c as u8)));
                out.write_str(&line)?;
            }
            out.write_str("\"}")
        }
        Val::Patch(patch) => {
            out.write_str(if patch.object { "{\"o\":[" } else { "{\"i\":[" })?;
            for (k, &key) in patch.keys.iter().enumerate() {
                let comma = if k > 0 { "," } else { "" };
                let (i, j) = at(key);
                if patch.object {
                    write!(out, "{comma}{},{i},{j}", colour_of(key))?;
                } else {
                    write!(out, "{comma}{i},{j}")?;
                }
            }
            out.write_str("]}")
        }
        other => write!(out, "{}", other.to_value()),
    }
}
