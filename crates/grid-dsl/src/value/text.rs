//! The canonical text of a value, and its digest.

use std::fmt::{self, Write};

use super::{Function, Value};

impl Value {
    /// The one JSON text of the value, without white space.
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// FNV-1a of the canonical text, 64 bits.
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv::default();
        // Hashing cannot fail.
        let _ = write(self, &mut hash);
        hash.0
    }
}

/// The digest as data files print it: 16 hexadecimal digits.
pub fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}

/// The hash by G. Fowler, L. C. Noll and K.-P. Vo, variant 1a, fed like a string.
pub(crate) struct Fnv(u64);

impl Fnv {
    /// The hash of what was written.
    pub(crate) fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// Writes the canonical text.
pub(super) fn write(value: &Value, out: &mut impl Write) -> fmt::Result {
    match value {
        Value::None => out.write_str("null"),
        Value::Bool(b) => out.write_str(if *b { "true" } else { "false" }),
        Value::Int(n) => write!(out, "{n}"),
        Value::Tuple(t) if is_digits(t) => {
            out.write_str("{\"g\":\"")?;
            for (i, row) in t.iter().enumerate() {
                if i > 0 {
                    out.write_char('/')?;
                }
                for cell in row.items().unwrap_or_default() {
                    out.write_char(char::from(b'0' + cell.as_int().unwrap_or(0) as u8))?;
                }
            }
            out.write_str("\"}")
        }
        Value::Tuple(t) => list(out, "{\"t\":[", t),
        Value::Set(s) if !s.is_empty() && s.iter().all(|v| plain_pair(v).is_some()) => {
            out.write_str("{\"i\":[")?;
            for (k, (i, j)) in s.iter().filter_map(plain_pair).enumerate() {
                write!(out, "{}{i},{j}", if k > 0 { "," } else { "" })?;
            }
            out.write_str("]}")
        }
        Value::Set(s) if !s.is_empty() && s.iter().all(|v| plain_cell(v).is_some()) => {
            out.write_str("{\"o\":[")?;
            for (k, (c, i, j)) in s.iter().filter_map(plain_cell).enumerate() {
                write!(out, "{}{c},{i},{j}", if k > 0 { "," } else { "" })?;
            }
            out.write_str("]}")
        }
        Value::Set(s) => list(out, "{\"s\":[", s),
        Value::Fn(Function::Prim(prim)) => write!(out, "{{\"f\":\"{}\"}}", prim.name()),
        Value::Fn(Function::Closure(closure)) => {
            write!(out, "{{\"f\":\"{}\",", closure.maker().name())?;
            list(out, "\"a\":[", closure.args())
        }
    }
}

fn list(out: &mut impl Write, open: &str, items: &[Value]) -> fmt::Result {
    out.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.write_char(',')?;
        }
        write(item, out)?;
    }
    out.write_str("]}")
}

/// Whether a tuple takes the short form of grids: rows, none empty, all equally long, of digits.
fn is_digits(rows: &[Value]) -> bool {
    let width = rows.first().and_then(Value::items).map_or(0, <[Value]>::len);
    width > 0
        && rows.iter().all(|row| match row {
            Value::Tuple(row) => row.len() == width && row.iter().all(|c| matches!(c, Value::Int(0..=9))),
            _ => false,
        })
}

fn plain_int(value: &Value) -> Option<i32> {
    match value {
        Value::Int(n) => Some(*n),
        _ => None,
    }
}

fn plain_pair(value: &Value) -> Option<(i32, i32)> {
    match value {
        Value::Tuple(t) => match &**t {
            [i, j] => Some((plain_int(i)?, plain_int(j)?)),
            _ => None,
        },
        _ => None,
    }
}

fn plain_cell(value: &Value) -> Option<(i32, i32, i32)> {
    match value {
        Value::Tuple(t) => match &**t {
            [c, at] => plain_pair(at).and_then(|(i, j)| Some((plain_int(c)?, i, j))),
            _ => None,
        },
        _ => None,
    }
}
