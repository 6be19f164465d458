//! Pictures as numbers: reading, writing, drawing.
//!
//! A picture is `[batch, channel, row, column]` in `f64`, in the range of its file: 0..255 for 8 bits, 0..65535 for 16,
//! whatever a `.npy` file holds. Rounding happens only when integers are written.

pub(crate) mod canvas;
mod font;
pub(crate) mod npy;
mod read;
mod write;

use std::path::Path;

pub(crate) use read::{beside_the_first, decode, profile, read, room};
pub(crate) use write::{Writing, encode_gray, encode_png, write, write_with};

use serde::{Deserialize, Serialize};

/// Number format of a file's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Depth {
    U8,
    U16,
    F32,
    F64,
}

impl Depth {
    /// The value that white has; floats count as 8 bits.
    pub(crate) fn peak(self) -> f64 {
        if self == Self::U16 { 65535.0 } else { 255.0 }
    }
}

/// How a `.npy` file arranges a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum Layout {
    /// [row, column]
    Hw,
    /// [row, column, channel] when the last axis has 1, 3 or 4 entries and the first has not; else [channel, row, column]
    #[default]
    Auto,
    /// [row, column, channel]
    Hwc,
    /// [channel, row, column]
    Chw,
    /// [batch, channel, row, column]
    Bchw,
}

/// A picture, or a batch of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// Batch, channels, rows, columns.
    pub(crate) shape: [usize; 4],
    /// Row-major.
    pub(crate) samples: Vec<f64>,
    /// The file's number format.
    pub(crate) depth: Depth,
    /// The file's arrangement; never `Auto`.
    pub(crate) layout: Layout,
    /// Transparency, kept aside: it is not transformed and goes back into the output.
    pub(crate) alpha: Option<Vec<u16>>,
}

impl Picture {
    /// One gray plane.
    pub(crate) fn gray(height: usize, width: usize, samples: Vec<f64>) -> Self {
        Self { shape: [1, 1, height, width], samples, depth: Depth::U8, layout: Layout::Hw, alpha: None }
    }

    /// The same kind of picture with other samples of the same shape.
    pub(crate) fn with_samples(&self, samples: Vec<f64>) -> Self {
        Self { samples, alpha: self.alpha.clone(), ..*self }
    }

    /// Elements of one plane.
    pub(crate) fn area(&self) -> usize {
        self.shape[2] * self.shape[3]
    }

    /// Plane number `i` of batch times channels.
    pub(crate) fn plane(&self, i: usize) -> &[f64] {
        &self.samples[i * self.area()..(i + 1) * self.area()]
    }

    /// Brightness of the first picture: itself when gray, 0.299 R + 0.587 G + 0.114 B for three channels, else the mean.
    pub(crate) fn luma(&self) -> Vec<f64> {
        let channels = self.shape[1];
        let weights = if channels == 3 { vec![0.299, 0.587, 0.114] } else { vec![1.0 / channels as f64; channels] };
        let mut out = vec![0.0; self.area()];
        for (c, w) in weights.iter().enumerate() {
            for (o, x) in out.iter_mut().zip(self.plane(c)) {
                *o += w * x;
            }
        }
        out
    }
}

/// File endings that can be read.
pub(crate) const READABLE: &[&str] = &["png", "jpg", "jpeg", "tif", "tiff", "webp", "pgm", "ppm", "pnm", "npy"];

/// The file ending in lower case.
pub(crate) fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Whether the file's name says that it is a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    READABLE.contains(&ending(path).as_str())
}

/// Whether a file of this name can hold transparency.
pub(crate) fn keeps_alpha(path: &Path) -> bool {
    matches!(ending(path).as_str(), "png" | "tif" | "tiff" | "webp")
}

/// Peak signal to noise ratio in dB.
pub(crate) fn psnr(a: &[f64], b: &[f64], peak: f64) -> f64 {
    let mean = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / a.len() as f64;
    10.0 * (peak * peak / mean).log10()
}

/// Largest absolute difference.
pub(crate) fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d.is_nan() { f64::NAN } else { m.max(d) })
}

#[cfg(test)]
mod tests;
