//! Reading `.safetensors`.
//!
//! The header is parsed here rather than by the `safetensors` crate: release 0.8 buffers a header
//! several times over, and adds offsets without an overflow check, so that a crafted file can make
//! it panic. The tests compare both on sound files.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::clip;
use super::names::{MAX_NAME, MAX_TENSORS};
use super::raw::{Data, Dtype, RawTensor, numel};
use super::{Result, WeightsError};

/// The longest accepted header. The largest accepted network needs 40 kB; the rest is for metadata.
pub(crate) const MAX_HEADER: u64 = 4 << 20;

/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The most entries of the metadata.
const MAX_METADATA: usize = 4096;

const CONTAINER: &str = "safetensors";

/// The tensors and the metadata of a file.
pub(crate) type Content<'a> = (Vec<RawTensor<'a>>, BTreeMap<String, String>);

/// Reads the header, checks that the tensors cover the data exactly, and borrows them.
pub(crate) fn read(bytes: &[u8]) -> Result<Content<'_>> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(WeightsError::truncated("the safetensors header", 8, bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(WeightsError::HeaderTooLarge { length, limit: MAX_HEADER });
    }
    let Some((header, data)) = rest.split_at_checked(length as usize) else {
        return Err(WeightsError::truncated("the safetensors header", length as usize, rest.len()));
    };
    let header: Header =
        serde_json::from_slice(header).map_err(|e| WeightsError::malformed(CONTAINER, clip(&e.to_string())))?;

    let mut entries = header.tensors;
    entries.sort_by_key(|(_, e)| e.offsets);
    let end = entries.iter().map(|(_, e)| e.offsets[1]).max().unwrap_or(0);
    if end > data.len() as u64 {
        return Err(WeightsError::Truncated { what: "the tensor data", expected: end, found: data.len() as u64 });
    }
    if end < data.len() as u64 {
        let detail = format!("{} bytes of data, the header describes {end}", data.len());
        return Err(WeightsError::malformed(CONTAINER, detail));
    }
    let mut at = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let [from, to] = entry.offsets;
        let slice = usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(f, t)| data.get(f..t));
        let fits = slice.is_some_and(|s| {
            entry.dtype.size().is_none_or(|size| numel(&entry.shape).and_then(|n| n.checked_mul(size)) == Some(s.len()))
        });
        let (Some(slice), true, true) = (slice, fits, from == at) else {
            return Err(WeightsError::malformed(CONTAINER, format!("{}: wrong data offsets", clip(&name))));
        };
        at = to;
        tensors.push(RawTensor { name, shape: entry.shape, dtype: entry.dtype, data: Data::Le(slice), strided: None });
    }
    Ok((tensors, header.metadata))
}

/// The JSON header. Each part is limited while it is read, so that a hostile header cannot grow.
struct Header {
    tensors: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    offsets: [u64; 2],
}

struct Metadata(BTreeMap<String, String>);

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        metadata = map.next_value::<Metadata>()?.0;
                        continue;
                    }
                    if name.len() > MAX_NAME {
                        return Err(A::Error::custom("a tensor name is too long"));
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom("too many tensors"));
                    }
                    tensors.push((name, map.next_value()?));
                }
                Ok(Header { tensors, metadata })
            }
        }
        d.deserialize_map(V)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("dtype, shape and data_offsets of a tensor")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entry, A::Error> {
                let (mut dtype, mut shape, mut offsets) = (None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "dtype" => dtype = Some(dtype_of(&map.next_value::<String>()?)),
                        "shape" => shape = Some(map.next_value::<Shape>()?.0),
                        "data_offsets" => offsets = Some(map.next_value::<[u64; 2]>()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let missing = A::Error::missing_field;
                Ok(Entry {
                    dtype: dtype.ok_or_else(|| missing("dtype"))?,
                    shape: shape.ok_or_else(|| missing("shape"))?,
                    offsets: offsets.ok_or_else(|| missing("data_offsets"))?,
                })
            }
        }
        d.deserialize_map(V)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Metadata;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Metadata, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if out.len() == MAX_METADATA {
                        return Err(A::Error::custom("too many metadata entries"));
                    }
                    out.insert(key, value);
                }
                Ok(Metadata(out))
            }
        }
        d.deserialize_map(V)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Shape, A::Error> {
                let mut out = Vec::new();
                while let Some(n) = seq.next_element()? {
                    if out.len() == MAX_RANK {
                        return Err(A::Error::custom("a tensor has too many dimensions"));
                    }
                    out.push(n);
                }
                Ok(Shape(out))
            }
        }
        d.deserialize_seq(V)
    }
}

fn dtype_of(name: &str) -> Dtype {
    match name {
        "F16" => Dtype::F16,
        "BF16" => Dtype::Bf16,
        "F32" => Dtype::F32,
        "F64" => Dtype::F64,
        _ => Dtype::Other,
    }
}
