//! Where the golden data lies, and readers for it.
//!
//! Tests that need it are marked `#[ignore = "needs LOCKSTEP_DATA"]` and run with
//! `cargo test -p nsct -- --ignored`; without the data they fail.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use std::path::PathBuf;

use ndarray::{Array, Array2, Dimension};
use ndarray_npy::ReadNpyExt;
use serde_json::Value;

/// A file of the domain's data folder: `$LOCKSTEP_DATA/nsct/…`, by default beside the workspace's own folder.
pub fn path(relative: &str) -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("LOCKSTEP_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let file = workspace.join(root).join("nsct").join(relative);
    assert!(
        file.exists(),
        "golden data not found: {} does not exist; set LOCKSTEP_DATA to the folder that holds nsct/",
        file.display()
    );
    file
}

/// An array of f64.
pub fn npy<D: Dimension>(relative: &str) -> Array<f64, D> {
    let file = std::fs::File::open(path(relative)).expect("the file opens");
    Array::read_npy(std::io::BufReader::new(file)).unwrap_or_else(|e| panic!("{relative}: {e}"))
}

/// A JSON file.
pub fn json(relative: &str) -> Value {
    let text = std::fs::read_to_string(path(relative)).expect("the file opens");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{relative}: {e}"))
}

/// A nested list of numbers as a matrix.
pub fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value
        .as_array()
        .expect("a list of rows")
        .iter()
        .map(|row| row.as_array().expect("a row").iter().map(|v| v.as_f64().expect("a number")).collect())
        .collect();
    let columns = rows.first().map_or(0, Vec::len);
    Array2::from_shape_vec((rows.len(), columns), rows.concat()).expect("rows of one length")
}

/// The text at a key.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text \"{key}\""))
}

/// The number at a key.
pub fn number(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap_or_else(|| panic!("no number \"{key}\"")) as usize
}

/// Largest absolute difference; infinite when the lengths differ or something is NaN.
pub fn difference<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    a.iter().zip(&b).map(|(x, y)| (*x - *y).abs()).fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}
