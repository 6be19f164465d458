//! Reading PyTorch checkpoints: the zip form and the form before release 1.6.

use std::collections::HashMap;

use super::names::{MAX_NAME, MAX_TENSORS};
use super::pickle::{FEW_CELLS, MAX_CELLS, Pickle, Value};
use super::raw::{Data, RawTensor, is_row_major, numel};
use super::zip::Archive;
use super::{Result, WeightsError};

/// The bytes that begin a checkpoint of the old form: the pickle of its magic number.
pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

const CONTAINER: &str = "PyTorch";

/// Keys under which training scripts nest the weights.
const NESTED: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];

/// Reads a checkpoint in the zip form.
pub(crate) fn read_zip(bytes: &[u8]) -> Result<Vec<RawTensor<'_>>> {
    let archive = Archive::open(bytes).map_err(|e| match e {
        WeightsError::Compressed { entry } if is_npy(entry.as_bytes()) => numpy(),
        e => e,
    })?;
    let mut roots = archive.names().filter_map(|n| n.strip_suffix(b"data.pkl"));
    let root = roots.find(|r| r.is_empty() || r.ends_with(b"/"));
    let Some((root, pickle)) = root.and_then(|r| Some((r, archive.get(&[r, b"data.pkl"].concat())?))) else {
        if archive.names().any(is_npy) {
            return Err(numpy());
        }
        return Err(WeightsError::NotAWeightFile {
            found: "a zip archive without data.pkl; unpack it if a checkpoint is inside".into(),
        });
    };
    if archive.get(&[root, b"byteorder"].concat()).is_some_and(|order| order != b"little") {
        return Err(bad("big-endian data"));
    }
    let (pickle, _) = Pickle::read(pickle, MAX_CELLS)?;
    tensors(&pickle, |key| archive.get(&[root, b"data/", key.as_bytes()].concat()))
}

/// Reads a checkpoint of the old form: five pickles, then the storages one after another.
pub(crate) fn read_legacy(bytes: &[u8]) -> Result<Vec<RawTensor<'_>>> {
    let Some(rest) = bytes.strip_prefix(LEGACY_MAGIC) else {
        return Err(bad("no magic number"));
    };
    let (version, rest) = Pickle::read(rest, FEW_CELLS)?;
    if !matches!(version.root, Value::Int(1001)) {
        return Err(bad("unknown protocol version"));
    }
    let (system, rest) = Pickle::read(rest, FEW_CELLS)?;
    if matches!(system.get(system.root, "little_endian"), Some(Value::Bool(false))) {
        return Err(bad("big-endian data"));
    }
    drop((version, system));
    let (object, rest) = Pickle::read(rest, MAX_CELLS)?;
    let (keys, mut rest) = Pickle::read(rest, FEW_CELLS)?;

    let elements: HashMap<&str, u8> = object.storages().map(|s| (s.key, s.element)).collect();
    let mut storages: HashMap<&str, &[u8]> = HashMap::new();
    for &key in keys.items(keys.root).ok_or_else(|| bad("no list of storages"))? {
        let Value::Str(key) = key else { return Err(bad("a storage key that is not text")) };
        let element = elements.get(key).ok_or_else(|| bad("a storage of unknown type"))?;
        let Some((count, data)) = rest.split_first_chunk::<8>() else {
            return Err(WeightsError::truncated("a storage", 8, rest.len()));
        };
        let count = u64::from_le_bytes(*count);
        let length = count.saturating_mul(u64::from(*element));
        let split = usize::try_from(length).ok().and_then(|n| data.split_at_checked(n));
        let Some((data, tail)) = split else {
            return Err(WeightsError::Truncated { what: "a storage", expected: length, found: data.len() as u64 });
        };
        storages.insert(key, data);
        rest = tail;
    }
    tensors(&object, |key| storages.get(key).copied())
}

/// The tensors of the checkpoint's dict, with their data found by storage key.
fn tensors<'a>(pickle: &Pickle<'a>, find: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Vec<RawTensor<'a>>> {
    let has_tensor = |dict: &Value<'a>| {
        pickle.pairs(*dict).is_some_and(|pairs| pairs.iter().any(|(_, v)| matches!(v, Value::Tensor(_))))
    };
    let nested = NESTED.iter().filter_map(|key| pickle.get(pickle.root, key)).find(has_tensor);
    let dict = nested.unwrap_or(pickle.root);
    if !has_tensor(&dict) {
        return Err(bad("expected a dict of tensors, found none"));
    }
    // A key that is set twice keeps its last value, as in Python.
    let mut by_name: HashMap<&str, Value<'a>> = HashMap::new();
    for (key, value) in pickle.pairs(dict).unwrap_or_default() {
        if let (Value::Str(name), Value::Tensor(_)) = (key, value) {
            if name.len() > MAX_NAME {
                return Err(bad("a tensor name is too long"));
            }
            by_name.insert(name, *value);
        }
        if by_name.len() > MAX_TENSORS {
            return Err(bad("too many tensors"));
        }
    }
    by_name.into_iter().map(|(name, value)| tensor(pickle, name, value, &find)).collect()
}

fn tensor<'a>(
    pickle: &Pickle<'a>,
    name: &str,
    value: Value<'a>,
    find: &impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<RawTensor<'a>> {
    let (view, shape, strides) = pickle.tensor(value).ok_or_else(|| bad("a tensor with an impossible shape"))?;
    let storage = pickle.storage(view.storage).ok_or_else(|| bad("a tensor without storage"))?;
    let data = find(storage.key).ok_or_else(|| bad("a tensor whose storage is not in the file"))?;
    let element = usize::from(storage.element);
    let whole = storage.numel.saturating_mul(element);
    if data.len() < whole {
        return Err(WeightsError::truncated("a storage", whole, data.len()));
    }
    let (start, length) = storage.view.unwrap_or((0, storage.numel));
    let range = start
        .checked_mul(element)
        .and_then(|from| Some(from..from.checked_add(length.checked_mul(element)?)?))
        .and_then(|r| data.get(r));
    let part = range.ok_or_else(|| bad("a storage view outside of its storage"))?;
    let plain = view.offset == 0 && is_row_major(&shape, &strides) && numel(&shape) == Some(length);
    Ok(RawTensor {
        name: name.to_owned(),
        shape,
        dtype: storage.dtype,
        data: Data::Le(part),
        strided: (!plain).then_some((view.offset, strides)),
    })
}

fn is_npy(name: &[u8]) -> bool {
    name.ends_with(b".npy")
}

fn numpy() -> WeightsError {
    WeightsError::ForeignFormat {
        format: "a NumPy .npz archive",
        remedy: "write its arrays with safetensors.numpy.save_file under the PyTorch names",
    }
}

fn bad(detail: &str) -> WeightsError {
    WeightsError::malformed(CONTAINER, detail)
}
