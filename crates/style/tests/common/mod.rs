//! Builders of small weight files, and the folder of stored ones.
#![allow(dead_code)]

pub(crate) mod graph;

use std::path::PathBuf;

use style::weights::StyleModel;

/// A file of the stored data, below `style/`.
pub(crate) fn path(name: &str) -> PathBuf {
    let root = std::env::var_os("LOCKSTEP_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    root.join("style").join(name)
}

/// The content of a stored file.
pub(crate) fn stored(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names in `formats/` that begin with `prefix`, sorted.
pub(crate) fn formats(prefix: &str) -> Vec<String> {
    let folder = std::fs::read_dir(path("formats")).expect("formats");
    let mut names: Vec<String> = folder.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n.starts_with(prefix));
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Whether two models have the same shape and the same bits.
pub(crate) fn same_bits(a: &StyleModel, b: &StyleModel) -> bool {
    a.tensors().len() == b.tensors().len()
        && a.tensors().iter().zip(b.tensors()).all(|(a, b)| {
            a.name == b.name
                && a.shape == b.shape
                && a.data.len() == b.data.len()
                && a.data.iter().zip(&b.data).all(|(x, y)| x.to_bits() == y.to_bits())
        })
}

/// A zip archive; a method other than 0 is only claimed.
pub(crate) fn zip(entries: &[(&str, &[u8])], method: u16) -> Vec<u8> {
    archive(entries, method, false)
}

/// A zip archive whose sizes and offsets may be in the fields for large files.
pub(crate) fn archive(entries: &[(&str, &[u8])], method: u16, wide: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let (offset, size) = (out.len() as u64, data.len() as u64);
        let narrow = |n: u64| if wide { u32::MAX } else { n as u32 }.to_le_bytes();
        let extra = if wide {
            [&[1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &offset.to_le_bytes()].concat()
        } else {
            Vec::new()
        };
        out.extend(b"PK\x03\x04\x0a\0\0\0");
        out.extend(method.to_le_bytes());
        out.extend([0; 8]);
        out.extend([(size as u32).to_le_bytes(); 2].concat());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0; 2]);
        out.extend(name.as_bytes());
        out.extend(*data);
        directory.extend(b"PK\x01\x02\x0a\0\x0a\0\0\0");
        directory.extend(method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend([narrow(size); 2].concat());
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend((extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(narrow(offset));
        directory.extend(name.as_bytes());
        directory.extend(extra);
    }
    let (start, count) = (out.len() as u64, entries.len() as u64);
    out.extend(&directory);
    let end = out.len() as u64;
    if wide {
        out.extend(b"PK\x06\x06");
        out.extend([44, 0, 0].map(u64::to_le_bytes).concat().iter().take(20));
        out.extend([count, count, directory.len() as u64, start].map(u64::to_le_bytes).concat());
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(end.to_le_bytes());
        out.extend([1, 0, 0, 0]);
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([if wide { u16::MAX } else { count as u16 }.to_le_bytes(); 2].concat());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(if wide { u32::MAX } else { start as u32 }.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A pickled string.
pub(crate) fn text(s: &str) -> Vec<u8> {
    [b"X", &(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
}

/// A pickled integer.
pub(crate) fn int(n: usize) -> Vec<u8> {
    [b"J", &(n as i32).to_le_bytes()[..]].concat()
}

/// A pickled tuple.
pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

/// A pickled tensor that views a storage of `numel` f32 values.
pub(crate) fn tensor(
    key: &str,
    numel: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    legacy: bool,
) -> Vec<u8> {
    let mut id = vec![text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(key), text("cpu"), int(numel)];
    if legacy {
        id.push(b"N".to_vec());
    }
    let list = |l: &[usize]| tuple(&l.iter().map(|&n| int(n)).collect::<Vec<_>>());
    let storage = [tuple(&id), b"Q".to_vec()].concat();
    let hooks = b"ccollections\nOrderedDict\n)R".to_vec();
    let args = tuple(&[storage, int(offset), list(shape), list(strides), b"\x89".to_vec(), hooks]);
    [&b"ctorch._utils\n_rebuild_tensor_v2\n"[..], &args, b"R"].concat()
}

/// The strides of a contiguous tensor.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The pickle of a dict of `(name, pickled tensor)`.
pub(crate) fn dict(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (name, value) in entries {
        out.extend(text(name));
        out.extend(value);
    }
    out.extend(b"u.");
    out
}

fn entries(model: &StyleModel, legacy: bool) -> Vec<(String, Vec<u8>)> {
    let entry = |(i, t): (usize, &style::weights::Tensor)| {
        let value = tensor(&i.to_string(), t.data.len(), 0, &t.shape, &row_major(&t.shape), legacy);
        (t.name.clone(), value)
    };
    model.tensors().iter().enumerate().map(entry).collect()
}

fn le(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A checkpoint in the zip form around a pickle and storages numbered from zero.
pub(crate) fn torch_zip_of(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    torch_archive(pickle, storages, false)
}

fn torch_archive(pickle: &[u8], storages: &[Vec<u8>], wide: bool) -> Vec<u8> {
    let names: Vec<String> = (0..storages.len()).map(|i| format!("m/data/{i}")).collect();
    let mut parts: Vec<(&str, &[u8])> = vec![("m/data.pkl", pickle), ("m/byteorder", b"little")];
    parts.extend(names.iter().zip(storages).map(|(n, s)| (n.as_str(), s.as_slice())));
    archive(&parts, 0, wide)
}

/// A checkpoint in the zip form.
pub(crate) fn torch_zip(model: &StyleModel) -> Vec<u8> {
    torch_zip_wide(model, false)
}

/// A checkpoint in the zip form, perhaps with the fields for large files.
pub(crate) fn torch_zip_wide(model: &StyleModel, wide: bool) -> Vec<u8> {
    let storages: Vec<Vec<u8>> = model.tensors().iter().map(|t| le(&t.data)).collect();
    torch_archive(&dict(&entries(model, false)), &storages, wide)
}

/// A checkpoint of the old form.
pub(crate) fn torch_legacy(model: &StyleModel) -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    out.extend(b"\x80\x02}(");
    out.extend([text("little_endian"), b"\x88u.".to_vec()].concat());
    out.extend(dict(&entries(model, true)));
    out.extend(b"\x80\x02](");
    out.extend((0..model.tensors().len()).flat_map(|i| text(&i.to_string())));
    out.extend(b"e.");
    for t in model.tensors() {
        out.extend((t.data.len() as u64).to_le_bytes());
        out.extend(le(&t.data));
    }
    out
}

/// The numbers of SplitMix64, for reproducible damage.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Damages a file: flipped bytes, mostly in its structure, and sometimes a cut or a copied piece.
pub(crate) fn damage(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = file.to_vec();
    if out.is_empty() {
        return out;
    }
    // Most of a file is numbers; the ends hold what a loader interprets.
    let spot = |random: &mut Random, len: usize| match random.below(4) {
        0 => random.below(len),
        1 => len - 1 - random.below(len.min(4096)),
        _ => random.below(len.min(8192)),
    };
    for _ in 0..=random.below(4) {
        let at = spot(random, out.len());
        match random.below(6) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = 0xff,
            2 => out[at] = 0,
            3 => {
                for b in out.iter_mut().skip(at).take(8) {
                    *b = 0xff;
                }
            }
            _ => out[at] = random.next() as u8,
        }
    }
    match random.below(8) {
        0 => out.truncate(random.below(file.len())),
        1 => {
            let (from, len) = (random.below(file.len()), random.below(64));
            let piece: Vec<u8> = file.iter().skip(from).take(len).copied().collect();
            let at = spot(random, out.len());
            out.splice(at..at, piece);
        }
        _ => {}
    }
    out
}
