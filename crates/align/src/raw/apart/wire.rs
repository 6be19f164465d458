//! What passes between the two processes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use crate::{BlackLevel, Cfa, Error, Limits, Meta, Probe, RawFrame, Rect, Warning};

/// The question: its length, then what, limits and the path, of which only the last may hold a zero.
pub(super) fn question(what: &str, path: &Path, limits: &Limits) -> Vec<u8> {
    let mut text = format!("{what}\0{}\0{}\0", limits.pixels, limits.bytes).into_bytes();
    text.extend(path.as_os_str().as_encoded_bytes());
    [&(text.len() as u32).to_le_bytes(), text.as_slice()].concat()
}

// Elsewhere not all bytes are a path.
#[allow(clippy::unnecessary_wraps)]
#[cfg(unix)]
pub(super) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec()).into())
}

#[cfg(not(unix))]
pub(super) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

pub(super) const MAGIC: [u8; 8] = *b"LSFRAME1";

/// Reads what an answer begins with.
pub(super) fn head(from: &mut impl Read) -> std::io::Result<Answer> {
    let mut start = [0; 12];
    from.read_exact(&mut start)?;
    let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    if start[..8] != MAGIC || length > 1 << 20 {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Probe(WireProbe),
    Frame(WireFrame),
    Refused(Refused),
}

/// A number by its bits: text would round it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Exact(u64);

impl Exact {
    fn of(v: f64) -> Self {
        Self(v.to_bits())
    }

    fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireProbe {
    make: String,
    model: String,
    height: Option<usize>,
    width: Option<usize>,
    bytes: u64,
    iso: Option<Exact>,
    exposure: Option<Exact>,
    cfa: Option<String>,
    crop: Option<Rect>,
}

impl WireProbe {
    pub(super) fn probe(self) -> Probe {
        Probe {
            make: self.make,
            model: self.model,
            height: self.height,
            width: self.width,
            bytes: self.bytes,
            iso: self.iso.map(Exact::get),
            exposure: self.exposure.map(Exact::get),
            cfa: self.cfa.and_then(|letters| pattern(&letters)),
            crop: self.crop,
        }
    }
}

/// A pattern by its letters; that of pictures without filters is one green pixel.
fn pattern(letters: &str) -> Option<Cfa> {
    if letters == Cfa::Gray.letters() { Some(Cfa::Gray) } else { Cfa::from_letters(letters).ok() }
}

/// A picture without its values.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireFrame {
    size: [usize; 2],
    cfa: String,
    black: Vec<Exact>,
    white: u16,
    rgb: bool,
    make: String,
    model: String,
    iso: Option<Exact>,
    exposure: Option<Exact>,
    orientation: u16,
    xyz_to_camera: Option<[[Exact; 3]; 4]>,
    linear_limit: Option<Exact>,
    crop: Option<Rect>,
    warnings: Vec<Warning>,
}

impl WireFrame {
    pub(super) fn frame(
        self,
        limits: &Limits,
        memory: impl FnOnce(usize) -> Vec<u16>,
        rest: &mut dyn Read,
    ) -> std::io::Result<RawFrame> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let [height, width] = self.size;
        let pixels = height.checked_mul(width).filter(|n| *n as u64 <= limits.pixels).ok_or_else(invalid)?;
        let mut values = memory(pixels);
        rest.read_exact(bytemuck::cast_slice_mut(&mut values))?;
        let mosaic = Array2::from_shape_vec((height, width), values).map_err(|_| invalid())?;
        let rgb = if self.rgb {
            let mut values = vec![0f32; 3 * pixels];
            rest.read_exact(bytemuck::cast_slice_mut(&mut values))?;
            Some(Array3::from_shape_vec((3, height, width), values).map_err(|_| invalid())?)
        } else {
            None
        };
        let cfa = pattern(&self.cfa).ok_or_else(invalid)?;
        let period = cfa.period();
        let levels: Vec<f32> = self.black.iter().map(|v| v.get() as f32).collect();
        let black = BlackLevel::repeated(period, period, period, &levels).map_err(|_| invalid())?;
        let meta = Meta {
            make: self.make,
            model: self.model,
            iso: self.iso.map(Exact::get),
            exposure: self.exposure.map(Exact::get),
            orientation: self.orientation,
            xyz_to_camera: self.xyz_to_camera.map(|rows| rows.map(|row| row.map(|v| v.get() as f32))),
            linear_limit: self.linear_limit.map(Exact::get),
            crop: self.crop,
            warnings: self.warnings,
        };
        Ok(RawFrame { mosaic, cfa, black, white: self.white, rgb, meta })
    }
}

impl Answer {
    pub(super) fn probed(p: &Probe) -> Self {
        Self::Probe(WireProbe {
            make: p.make.clone(),
            model: p.model.clone(),
            height: p.height,
            width: p.width,
            bytes: p.bytes,
            iso: p.iso.map(Exact::of),
            exposure: p.exposure.map(Exact::of),
            cfa: p.cfa.map(|cfa| cfa.letters()),
            crop: p.crop,
        })
    }

    pub(super) fn framed(f: &RawFrame) -> Self {
        let exact = |v: &f32| Exact::of(f64::from(*v));
        Self::Frame(WireFrame {
            size: f.size(),
            cfa: f.cfa.letters(),
            black: f.black.levels().iter().map(exact).collect(),
            white: f.white,
            rgb: f.rgb.is_some(),
            make: f.meta.make.clone(),
            model: f.meta.model.clone(),
            iso: f.meta.iso.map(Exact::of),
            exposure: f.meta.exposure.map(Exact::of),
            orientation: f.meta.orientation,
            xyz_to_camera: f.meta.xyz_to_camera.map(|rows| rows.map(|row| row.map(|v| exact(&v)))),
            linear_limit: f.meta.linear_limit.map(Exact::of),
            crop: f.meta.crop,
            warnings: f.meta.warnings.clone(),
        })
    }
}

/// An error about a file, without its path.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refused {
    Missing,
    Unreadable { why: String },
    TooLarge { what: String, limit: String },
    Unsupported { why: String },
    Damaged { why: String },
    TooSmall { height: usize, width: usize, least: usize },
}

impl Refused {
    pub(super) fn of(e: &Error) -> Self {
        match e.clone() {
            Error::Missing { .. } => Self::Missing,
            Error::Unreadable { why, .. } => Self::Unreadable { why },
            Error::TooLarge { what, limit, .. } => Self::TooLarge { what, limit },
            Error::Unsupported { why, .. } => Self::Unsupported { why },
            Error::Damaged { why, .. } => Self::Damaged { why },
            Error::TooSmall { height, width, least } => Self::TooSmall { height, width, least },
            other => Self::Damaged { why: other.to_string() },
        }
    }

    pub(super) fn error(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Missing => Error::Missing { path },
            Self::Unreadable { why } => Error::Unreadable { path, why },
            Self::TooLarge { what, limit } => Error::TooLarge { path, what, limit },
            Self::Unsupported { why } => Error::Unsupported { path, why },
            Self::Damaged { why } => Error::Damaged { path, why },
            Self::TooSmall { height, width, least } => Error::TooSmall { height, width, least },
        }
    }
}
