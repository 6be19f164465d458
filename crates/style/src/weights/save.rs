//! Writing `.safetensors`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use half::f16;
use serde_json::{Map, Value, json};

use super::model::{StyleModel, Tensor};
use super::{Result, WeightsError};

/// The number format of convolutions and matrices in a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveDtype {
    /// All tensors in f32; reading the file back gives the same bits.
    F32,
    /// Convolutions and matrices in f16; biases and norm parameters, which are few, stay in f32.
    F16,
}

/// What writing a file changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SaveReport {
    /// The size of the file.
    pub bytes: u64,
    /// The largest |stored − value| / |value| of any weight; zero for f32.
    pub largest_relative_change: f32,
    /// The tensor with that change, if there is one.
    pub tensor: Option<String>,
}

impl StyleModel {
    /// Writes the weights under their canonical names.
    ///
    /// The file appears whole or not at all. `metadata` is added to the model's own; the shape of
    /// the network is always recorded. The same model and metadata give the same bytes.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when it cannot be written, [`WeightsError::OutOfRange`] for a weight that `f16` does not hold.
    pub fn save_safetensors(
        &self,
        path: impl AsRef<Path>,
        dtype: SaveDtype,
        metadata: &BTreeMap<String, String>,
    ) -> Result<SaveReport> {
        let path = path.as_ref();
        let (bytes, report) = self.to_safetensors(dtype, metadata)?;
        write_whole(path, &bytes).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
        Ok(report)
    }

    /// The content that [`StyleModel::save_safetensors`] writes.
    ///
    /// # Errors
    /// [`WeightsError::OutOfRange`] for a weight that `f16` does not hold.
    pub fn to_safetensors(
        &self,
        dtype: SaveDtype,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(Vec<u8>, SaveReport)> {
        let mut all = self.metadata.clone();
        all.extend(metadata.iter().map(|(k, v)| (k.clone(), v.clone())));
        all.insert("format".into(), "pt".into());
        if let Some(shape) = self.vit {
            all.extend(shape.metadata());
        } else {
            all.insert("arch".into(), "johnson-transformernet".into());
            all.insert("base_channels".into(), self.nc.to_string());
            all.insert("residual_blocks".into(), self.blocks.to_string());
        }

        let mut report = SaveReport::default();
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!(all));
        let mut data = Vec::with_capacity(4 * self.parameter_count());
        // Wide elements first, so that every tensor is aligned to its element.
        let is_half = |t: &Tensor| dtype == SaveDtype::F16 && t.shape.len() > 1;
        let mut order: Vec<&Tensor> = self.tensors.iter().collect();
        order.sort_by_key(|t| is_half(t));
        for tensor in order {
            let start = data.len();
            let kind = if is_half(tensor) {
                append_f16(tensor, &mut data, &mut report)?;
                "F16"
            } else {
                data.extend(tensor.data.iter().flat_map(|x| x.to_le_bytes()));
                "F32"
            };
            let entry = json!({"dtype": kind, "shape": tensor.shape, "data_offsets": [start, data.len()]});
            header.insert(tensor.name.clone(), entry);
        }
        let mut json = Value::Object(header).to_string().into_bytes();
        // The data begins at a multiple of eight bytes.
        json.resize(json.len().next_multiple_of(8), b' ');
        if json.len() as u64 > super::safetensors::MAX_HEADER {
            return Err(WeightsError::malformed("safetensors", "the metadata is too long to be read back"));
        }
        let mut bytes = Vec::with_capacity(8 + json.len() + data.len());
        bytes.extend((json.len() as u64).to_le_bytes());
        bytes.extend(json);
        bytes.extend(data);
        report.bytes = bytes.len() as u64;
        Ok((bytes, report))
    }
}

fn append_f16(tensor: &Tensor, data: &mut Vec<u8>, report: &mut SaveReport) -> Result<()> {
    for (index, &value) in tensor.data.iter().enumerate() {
        let half = f16::from_f32(value);
        if !half.is_finite() {
            return Err(WeightsError::OutOfRange { name: tensor.name.clone(), index, value });
        }
        let change = (half.to_f32() - value).abs() / value.abs();
        // Zero over zero is not a number and no change.
        if change > report.largest_relative_change {
            report.largest_relative_change = change;
            report.tensor = Some(tensor.name.clone());
        }
        data.extend(half.to_le_bytes());
    }
    Ok(())
}

/// Writes beside the target and renames, so that no reader sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)
    };
    write().inspect_err(|e| {
        // A file of that name that was there before is not ours to remove.
        if e.kind() != io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&temporary);
        }
    })
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(hidden))
}
