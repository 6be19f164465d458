//! Folders on disk: matrices (`blocks.npy`, `offsets.npy`, `meta.json`) and frames.

use std::path::Path;

use ndarray::ArrayView5;

use crate::blocks::{BLOCK, BlockDiag, SymmetryPolicy};
use crate::error::{AtaError, Result};
use crate::npy;
use crate::ordering::Ordering;

/// Block offsets of a file: integers of any width, none negative.
pub fn read_offsets(path: &Path) -> Result<Vec<u32>> {
    let (shape, values) = npy::read(path)?.integers(path)?;
    if shape.len() != 1 {
        return Err(AtaError::file(path, "shape", format!("{shape:?} is no list")));
    }
    let of = |(k, &v): (usize, &i32)| {
        u32::try_from(v).map_err(|_| AtaError::file(path, "offsets", format!("{v} at {k} is negative")))
    };
    values.iter().enumerate().map(of).collect()
}

/// A matrix from a file of blocks and one of offsets. `n` defaults to all rows of the blocks.
pub fn read_blocks(blocks: &Path, offsets: &Path, n: Option<usize>, policy: SymmetryPolicy) -> Result<BlockDiag> {
    let (shape, values) = npy::read(blocks)?.of_rank::<f32, 5>(blocks)?;
    let list = read_offsets(offsets)?;
    if shape[1] != list.len() || shape[3..] != [BLOCK, BLOCK] {
        let why = format!("{shape:?}, expected [channels, {}, block rows, 16, 16]", list.len());
        return Err(AtaError::file(blocks, "shape", why));
    }
    let view = ArrayView5::from_shape(shape, &values).map_err(|e| AtaError::file(blocks, "shape", e.to_string()))?;
    BlockDiag::from_blocks(view, &list, n.unwrap_or(BLOCK * shape[2]), policy).map_err(|e| match e {
        AtaError::Offsets { .. } => e.at(offsets),
        e => e.at(blocks),
    })
}

/// Reads a matrix folder.
pub fn load_matrix(folder: &Path) -> Result<BlockDiag> {
    let meta = folder.join("meta.json");
    let (n, maybe_indefinite) = match std::fs::read_to_string(&meta) {
        Ok(text) => {
            let json: serde_json::Value =
                serde_json::from_str(&text).map_err(|e| AtaError::file(&meta, "JSON", e.to_string()))?;
            let n = json["n"].as_u64().and_then(|n| usize::try_from(n).ok());
            let n = n.ok_or_else(|| AtaError::file(&meta, "n", "is missing or no whole number"))?;
            (Some(n), json["maybe_indefinite"] == true)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (None, false),
        Err(e) => return Err(AtaError::file(&meta, "file", format!("cannot be read: {e}"))),
    };
    let mut a = read_blocks(&folder.join("blocks.npy"), &folder.join("offsets.npy"), n, SymmetryPolicy::default())?;
    a.maybe_indefinite = maybe_indefinite;
    Ok(a)
}

/// Writes a matrix folder, which is made when it does not exist.
pub fn save_matrix(a: &BlockDiag, folder: &Path) -> Result<()> {
    save_matrix_with(a, folder, None, 1.0)
}

/// [`save_matrix`] with the order of its unknowns (`order.npy`: the physical index of each), and what its elements are to be
/// multiplied with to be in the units of light.
pub fn save_matrix_with(a: &BlockDiag, folder: &Path, order: Option<&Ordering>, scale: f64) -> Result<()> {
    if let Some(order) = order.filter(|order| order.order.len() != a.n()) {
        return Err(AtaError::shape("order", [a.n()], &[order.order.len()]));
    }
    std::fs::create_dir_all(folder).map_err(|e| AtaError::file(folder, "folder", format!("cannot be made: {e}")))?;
    let offsets: Vec<i32> = a.offsets().iter().map(|&d| d as i32).collect();
    let shape = [a.channels(), offsets.len(), a.block_rows(), BLOCK, BLOCK];
    npy::write(&folder.join("blocks.npy"), &shape, a.blocks())?;
    npy::write(&folder.join("offsets.npy"), &[offsets.len()], &offsets)?;
    if let Some(order) = order {
        let order: Vec<i32> = order.order.iter().map(|&v| v as i32).collect();
        npy::write(&folder.join("order.npy"), &[order.len()], &order)?;
    }
    let meta = serde_json::json!({
        "n": a.n(), "channels": a.channels(), "maybe_indefinite": a.maybe_indefinite(),
        "order": order.map(|_| "order.npy"), "scale": scale,
    });
    npy::write_parts(&folder.join("meta.json"), &[format!("{meta:#}\n").as_bytes()])
}
