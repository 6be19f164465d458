//! The list of aligned pairs that RawNIND's loaders read.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Training leaves out pairs whose mask keeps less than this.
pub const LEAST_MASK: f64 = 0.8;
/// Training leaves out pairs that differ by more than this.
pub const MOST_LOSS: f64 = 0.035;

/// One pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The ground truth's file.
    pub gt_fpath: String,
    /// The noisy picture's file.
    pub f_fpath: String,
    /// Name of the scene.
    pub image_set: String,
    /// Shift in whole pixels.
    pub best_alignment: [i32; 2],
    /// Mean difference of the aligned pictures.
    pub best_alignment_loss: f64,
    /// The mask's file.
    pub mask_fpath: Option<String>,
    /// The part of the mask that is kept.
    pub mask_mean: f64,
    /// Whether the files are Bayer mosaics.
    pub is_bayer: bool,
    /// The matrix from XYZ to the camera's colours, 4 rows of 3.
    pub rgb_xyz_matrix: Option<[[f32; 3]; 4]>,
    /// Values from here on are over-exposed.
    pub overexposure_lb: f64,
    /// Exposure of the ground truth relative to the noisy picture, on mosaics.
    pub raw_gain: f64,
    /// The same on interpolated colours.
    pub rgb_gain: f64,
    /// What only this program knows.
    pub lockstep: Extra,
}

/// What loaders do not ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// Version of this program.
    pub version: String,
    /// Shift to a fraction of a pixel.
    pub shift: [f64; 2],
    /// Height of the peak in standard deviations.
    pub psr: f32,
    /// The peak relative to the next.
    pub ratio: f32,
    /// How sure it is.
    pub state: String,
    /// By how much the pictures are turned, where that was looked at.
    #[serde(default)]
    pub rotation_deg: Option<f64>,
}

impl Entry {
    /// Why training leaves the pair out, if it does.
    pub fn dropped(&self) -> Option<&'static str> {
        if self.mask_mean < LEAST_MASK {
            Some("the mask keeps too little")
        } else if self.best_alignment_loss > MOST_LOSS {
            Some("the pictures differ too much")
        } else {
            None
        }
    }
}

/// The name of a pair's mask: scene, ground truth and file, with `_` for `/`, at most 251 characters before `.png`.
pub fn mask_name(set: &str, gt: &str, file: &str) -> String {
    let all = format!("{set}-{gt}-{file}").replace('/', "_");
    // Bytes, which are characters in nearly all names: a file system counts those.
    let cut = (0..=all.len().min(251)).rev().find(|&n| all.is_char_boundary(n)).unwrap_or(0);
    format!("{}.png", &all[..cut])
}

/// A text between quotes; JSON's are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number as YAML 1.1 reads it: it wants a point before an exponent.
fn number(v: f64) -> String {
    if !v.is_finite() {
        return ".nan".to_owned();
    }
    let text = format!("{v:?}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{mantissa}{point}e{sign}{exponent}")
        }
        None => text,
    }
}

/// The list as YAML.
pub fn to_yaml(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "[]\n".to_owned();
    }
    let mut out = String::new();
    for e in entries {
        let [dy, dx] = e.best_alignment;
        let mask = e.mask_fpath.as_deref().map_or("null".to_owned(), quoted);
        let _ = writeln!(out, "- best_alignment:\n  - {dy}\n  - {dx}");
        let _ = writeln!(out, "  best_alignment_loss: {}", number(e.best_alignment_loss));
        let _ = writeln!(out, "  crops: []\n  f_fpath: {}\n  gt_fpath: {}", quoted(&e.f_fpath), quoted(&e.gt_fpath));
        let _ = writeln!(out, "  image_set: {}\n  is_bayer: {}", quoted(&e.image_set), e.is_bayer);
        let _ = writeln!(out, "  mask_fpath: {mask}\n  mask_mean: {}", number(e.mask_mean));
        let _ = writeln!(out, "  overexposure_lb: {}", number(e.overexposure_lb));
        let _ = writeln!(out, "  raw_gain: {}\n  rgb_gain: {}", number(e.raw_gain), number(e.rgb_gain));
        match &e.rgb_xyz_matrix {
            None => out.push_str("  rgb_xyz_matrix: null\n"),
            Some(matrix) => {
                out.push_str("  rgb_xyz_matrix:\n");
                for row in matrix {
                    let row: Vec<String> = row.iter().map(|&v| number(v.into())).collect();
                    let _ = writeln!(out, "  - [{}]", row.join(", "));
                }
            }
        }
        let x = &e.lockstep;
        let _ = writeln!(
            out,
            "  lockstep:\n    version: {}\n    shift: [{}, {}]\n    psr: {}\n    ratio: {}\n    state: {}\n    rotation_deg: {}",
            quoted(&x.version),
            number(x.shift[0]),
            number(x.shift[1]),
            number(x.psr.into()),
            number(x.ratio.into()),
            quoted(&x.state),
            x.rotation_deg.map_or("null".to_owned(), number)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_for_yaml() {
        assert_eq!(number(1.0), "1.0");
        assert_eq!(number(1e-7), "1.0e-7");
        assert_eq!(number(1.5e300), "1.5e+300");
        assert_eq!(number(f64::NAN), ".nan");
    }

    #[test]
    fn masks_are_named_as_upstream_does() {
        assert_eq!(mask_name("Bayer_x", "gt/a.dng", "b.dng"), "Bayer_x-gt_a.dng-b.dng.png");
        assert_eq!(mask_name(&"s".repeat(300), "a", "b").len(), 255);
        assert_eq!(mask_name(&"ä".repeat(300), "a", "b").len(), 254);
    }
}
