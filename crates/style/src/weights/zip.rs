//! The directory of a zip archive whose entries are stored without compression.

use std::collections::HashMap;

use super::error::clip;
use super::{Result, WeightsError};

/// The most entries of an archive; PyTorch writes one for each storage.
const MAX_ENTRIES: u64 = 65_536;

const CONTAINER: &str = "zip";

/// Uncompressed entries by name, borrowed from the archive.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    entries: HashMap<&'a [u8], &'a [u8]>,
}

impl<'a> Archive<'a> {
    /// Reads the central directory of `bytes` and locates every entry.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self> {
        let (count, offset) = directory(bytes)?;
        if count > MAX_ENTRIES {
            return Err(WeightsError::malformed(CONTAINER, format!("more than {MAX_ENTRIES} entries")));
        }
        let mut at = to_usize(offset)?;
        let mut entries = HashMap::new();
        for _ in 0..count {
            let header = Fields::at(bytes, at, 46, *b"PK\x01\x02")?;
            let (name_len, extra_len, comment_len) = (header.u16(28), header.u16(30), header.u16(32));
            let name = slice(bytes, at + 46, name_len)?;
            let extra = slice(bytes, at + 46 + name_len, extra_len)?;
            let sizes = Sizes::read(&header, extra)?;
            at += 46 + name_len + extra_len + comment_len;
            if header.u16(8) & 1 != 0 {
                return Err(WeightsError::malformed(CONTAINER, "an entry is encrypted"));
            }
            if header.u16(10) != 0 {
                let entry = clip(&String::from_utf8_lossy(name.get(..name.len().min(256)).unwrap_or_default()));
                return Err(WeightsError::Compressed { entry });
            }
            if sizes.packed != sizes.plain {
                return Err(WeightsError::malformed(CONTAINER, "a stored entry with two sizes"));
            }
            let start = to_usize(sizes.offset)?;
            let local = Fields::at(bytes, start, 30, *b"PK\x03\x04")?;
            let data = slice(bytes, start + 30 + local.u16(26) + local.u16(28), to_usize(sizes.plain)?)?;
            if entries.insert(name, data).is_some() {
                return Err(WeightsError::malformed(CONTAINER, "two entries of one name"));
            }
        }
        Ok(Self { entries })
    }

    /// The entry of that name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.entries.get(name).copied()
    }

    /// The names of all entries, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.keys().copied()
    }
}

/// The number of entries and the offset of the central directory.
fn directory(bytes: &[u8]) -> Result<(u64, u64)> {
    const END: usize = 22;
    // A comment of up to 65,535 bytes may follow the end record.
    let tail = bytes.len().saturating_sub(END + 65_535);
    let found = bytes.get(tail..).unwrap_or_default().windows(4).rposition(|w| w == b"PK\x05\x06");
    let Some(end) = found.map(|p| tail + p) else {
        return Err(WeightsError::truncated("the zip directory", bytes.len() + END, bytes.len()));
    };
    let record = Fields::at(bytes, end, END, *b"PK\x05\x06")?;
    let (count, offset) = (record.u16(10) as u64, record.u32(16));
    // PyTorch writes the wide records always; they hold when a narrow field is saturated.
    if let Some(locator) = end.checked_sub(20)
        && bytes.get(locator..locator + 4) == Some(b"PK\x06\x07")
        && (count == 0xffff || offset == 0xffff_ffff)
    {
        let locator = Fields::at(bytes, locator, 20, *b"PK\x06\x07")?;
        let wide = Fields::at(bytes, to_usize(locator.u64(8))?, 56, *b"PK\x06\x06")?;
        return Ok((wide.u64(32), wide.u64(48)));
    }
    Ok((count, offset))
}

/// The sizes and the place of an entry, from the narrow fields or the zip64 extra field.
struct Sizes {
    packed: u64,
    plain: u64,
    offset: u64,
}

impl Sizes {
    fn read(header: &Fields<'_>, extra: &[u8]) -> Result<Self> {
        let mut sizes = Self { packed: header.u32(20), plain: header.u32(24), offset: header.u32(42) };
        let mut rest = extra;
        while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk::<4>() {
            let (id, len) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            let Some((mut field, tail)) = tail.split_at_checked(usize::from(len)) else { break };
            rest = tail;
            if id != 1 {
                continue;
            }
            // Only the saturated fields are present, in this order.
            for value in [&mut sizes.plain, &mut sizes.packed, &mut sizes.offset] {
                if *value == 0xffff_ffff {
                    let Some((wide, tail)) = field.split_first_chunk::<8>() else {
                        return Err(WeightsError::malformed(CONTAINER, "a short zip64 field"));
                    };
                    *value = u64::from_le_bytes(*wide);
                    field = tail;
                }
            }
        }
        Ok(sizes)
    }
}

/// A fixed-size record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn at(bytes: &'a [u8], at: usize, len: usize, signature: [u8; 4]) -> Result<Self> {
        let record = slice(bytes, at, len)?;
        if record.starts_with(&signature) {
            return Ok(Self(record));
        }
        Err(WeightsError::malformed(CONTAINER, format!("no record at byte {at}")))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|s| s.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array(at)))
    }

    fn u32(&self, at: usize) -> u64 {
        u64::from(u32::from_le_bytes(self.array(at)))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    let range = at.checked_add(len).and_then(|end| bytes.get(at..end));
    range.ok_or_else(|| WeightsError::truncated("a zip entry", len, bytes.len().saturating_sub(at)))
}

fn to_usize(n: u64) -> Result<usize> {
    // A position beyond half the address space is in no file; this keeps later sums from overflowing.
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= usize::MAX / 2)
        .ok_or_else(|| WeightsError::malformed(CONTAINER, "a position beyond the file"))
}
