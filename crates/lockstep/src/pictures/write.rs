use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use ndarray::Array2;

use super::{Depth, Layout, Picture, ending, npy};
use crate::exit::{Failure, Result};
use crate::files;

/// How to write a picture.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writing {
    /// 8 or 16 bits where the format has both; as the input when absent.
    pub(crate) bits: Option<u8>,
    /// `.npy` files in `f64` instead of `f32`.
    pub(crate) double: bool,
    /// Quality of JPEG files, 1 to 100; 95 when absent.
    pub(crate) quality: Option<u8>,
}

/// Formats that can be written.
const WRITABLE: &str = ".png, .tif, .jpg, .webp, .pgm, .ppm and .npy can be written";

impl Writing {
    /// The number format of integers in the file.
    fn depth(self, picture: &Picture) -> Depth {
        match self.bits {
            Some(8) => Depth::U8,
            Some(_) => Depth::U16,
            None if picture.depth == Depth::U16 => Depth::U16,
            None => Depth::U8,
        }
    }

    /// Refuses, before any work is done, what [`write()`] would refuse afterwards.
    pub(crate) fn check(self, path: &Path, shape: [usize; 4], depth: Depth) -> Result<()> {
        let name = ending(path);
        let [batch, channels, ..] = shape;
        let sixteen = self.bits.map_or(depth == Depth::U16, |b| b == 16);
        match name.as_str() {
            "npy" => return Ok(()),
            "png" | "tif" | "tiff" | "jpg" | "jpeg" | "webp" | "pgm" | "ppm" | "pnm" => {}
            "" => return Err(Failure::usage(format!("{} has no file ending", path.display())).help(WRITABLE)),
            other => {
                return Err(
                    Failure::usage(format!(".{other} files cannot be written: {}", path.display())).help(WRITABLE)
                );
            }
        }
        if batch != 1 || !(channels == 1 || channels == 3) {
            return Err(Failure::usage(format!(
                "{}: {batch} pictures of {channels} channels do not fit in one .{name} file",
                path.display()
            ))
            .help("write a .npy file"));
        }
        if sixteen && matches!(name.as_str(), "jpg" | "jpeg" | "webp") {
            let kind = if name == "webp" { "WebP" } else { "JPEG" };
            return Err(Failure::usage(format!("{}: {kind} files have 8 bits, the picture has 16", path.display()))
                .help("write a .png, or give --bits 8"));
        }
        if name == "pgm" && channels == 3 || name == "ppm" && channels == 1 {
            let right = if channels == 3 { "ppm" } else { "pgm" };
            return Err(Failure::usage(format!("{}: a .{name} file cannot hold {channels} channels", path.display()))
                .help(format!("write a .{right} file")));
        }
        Ok(())
    }
}

/// Writes a picture in the format that the file's ending names. The file appears in one step, complete.
pub(crate) fn write(path: &Path, picture: &Picture, how: Writing) -> Result<()> {
    write_with(path, picture, how, None)
}

/// The same, with the ICC profile that the colours are meant in, where the format has a place for it.
pub(crate) fn write_with(path: &Path, picture: &Picture, how: Writing, profile: Option<&[u8]>) -> Result<()> {
    how.check(path, picture.shape, picture.depth)?;
    if ending(path) == "npy" {
        return write_npy(path, picture, how.double);
    }
    // Arrays of 0..1 are common, and nothing would be left of one in whole numbers.
    let largest = picture.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = picture.samples.iter().copied().fold(f64::INFINITY, f64::min);
    let real = matches!(picture.depth, Depth::F32 | Depth::F64);
    if real && smallest < largest && largest - smallest <= 2.0 && largest <= 2.0 {
        let range = format!("values from {smallest:.3} to {largest:.3}");
        return Err(Failure::input(path, format!("{range} would leave nothing in a picture of whole numbers"))
            .help("write .npy, or scale the array to 0..255 first"));
    }
    files::write(path, &encode(picture, &ending(path), how, profile)?)
}

/// Writes a `.npy` file in the arrangement that the picture came in, unrounded.
fn write_npy(path: &Path, picture: &Picture, double: bool) -> Result<()> {
    let [b, c, h, w] = picture.shape;
    let (shape, values) = match picture.layout {
        Layout::Hw => (vec![h, w], picture.samples.clone()),
        Layout::Hwc => (vec![h, w, c], interleaved(picture, false).collect()),
        Layout::Chw => (vec![c, h, w], picture.samples.clone()),
        Layout::Auto | Layout::Bchw => (vec![b, c, h, w], picture.samples.clone()),
    };
    if double {
        npy::write(path, &shape, &values)
    } else {
        npy::write(path, &shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>())
    }
}

/// Pixel by pixel, with transparency behind when there is any.
fn interleaved(picture: &Picture, with_alpha: bool) -> impl Iterator<Item = f64> + '_ {
    let area = picture.area();
    let alpha = picture.alpha.as_ref().filter(|_| with_alpha);
    (0..area).flat_map(move |i| {
        let colours = (0..picture.shape[1]).map(move |c| picture.samples[c * area + i]);
        colours.chain(alpha.map(|a| f64::from(a[i])))
    })
}

/// A PNG file in memory, with the depth of the picture.
pub(crate) fn encode_png(picture: &Picture) -> Result<Vec<u8>> {
    encode(picture, "png", Writing::default(), None)
}

/// A gray PNG file in memory, of rows that are like the row above in most places, fast rather than small.
pub(crate) fn encode_gray(values: &Array2<u8>) -> Result<Vec<u8>> {
    let (height, width) = values.dim();
    let values = values.as_standard_layout();
    let mut out = Vec::new();
    PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Up)
        .write_image(values.as_slice().unwrap_or(&[]), width as u32, height as u32, ExtendedColorType::L8)
        .map_err(|e| Failure::usage(format!("{width} x {height} pixels cannot be written as a PNG file: {e}")))?;
    Ok(out)
}

/// Rounds to the nearest integer and clamps to the range.
fn narrow(v: f64, peak: f64) -> u16 {
    v.round().clamp(0.0, peak) as u16
}

/// Whether the profile (its header names the kind of colours) is one for pictures of so many channels.
fn fits(profile: &[u8], channels: usize) -> bool {
    profile.get(16..20) == Some(if channels == 1 { b"GRAY" } else { b"RGB " })
}

fn encode(picture: &Picture, format: &str, how: Writing, profile: Option<&[u8]>) -> Result<Vec<u8>> {
    let [_, channels, height, width] = picture.shape;
    let depth = how.depth(picture);
    let with_alpha = picture.alpha.is_some() && matches!(format, "png" | "tif" | "tiff" | "webp");
    // White stays white when the user asks for another depth than the input's.
    let scale = match (picture.depth, depth) {
        (Depth::U16, Depth::U8) => 1.0 / 257.0,
        (Depth::U8, Depth::U16) => 257.0,
        _ => 1.0,
    };
    let values = interleaved(picture, with_alpha).map(|v| narrow(v * scale, depth.peak()));
    let bytes: Vec<u8> = if depth == Depth::U16 {
        let big = matches!(format, "pgm" | "ppm" | "pnm");
        values.flat_map(|v| if big { v.to_be_bytes() } else { v.to_ne_bytes() }).collect()
    } else {
        values.map(|v| v as u8).collect()
    };
    let colour = match (depth == Depth::U16, channels, with_alpha) {
        (false, 1, false) => ExtendedColorType::L8,
        (false, 1, true) => ExtendedColorType::La8,
        (false, _, false) => ExtendedColorType::Rgb8,
        (false, _, true) => ExtendedColorType::Rgba8,
        (true, 1, false) => ExtendedColorType::L16,
        (true, 1, true) => ExtendedColorType::La16,
        (true, _, false) => ExtendedColorType::Rgb16,
        (true, _, true) => ExtendedColorType::Rgba16,
    };
    let mut out = Vec::new();
    let (w, h) = (width as u32, height as u32);
    // A gray picture that became colour, or CMYK that became RGB, is no longer what its profile is for.
    let profile = profile.filter(|profile| fits(profile, channels));
    let done = match format {
        "png" => {
            let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive);
            write_image(encoder, profile, &bytes, w, h, colour)
        }
        "tif" | "tiff" => write_image(TiffEncoder::new(Cursor::new(&mut out)), profile, &bytes, w, h, colour),
        "webp" => write_image(WebPEncoder::new_lossless(&mut out), profile, &bytes, w, h, colour),
        "jpg" | "jpeg" => {
            let encoder = JpegEncoder::new_with_quality(&mut out, how.quality.unwrap_or(95));
            write_image(encoder, profile, &bytes, w, h, colour)
        }
        _ if depth == Depth::U16 => return Ok(pnm_16(&bytes, channels, width, height)),
        _ => {
            let subtype = if channels == 1 {
                PnmSubtype::Graymap(SampleEncoding::Binary)
            } else {
                PnmSubtype::Pixmap(SampleEncoding::Binary)
            };
            PnmEncoder::new(&mut out).with_subtype(subtype).write_image(&bytes, w, h, colour)
        }
    };
    done.map_err(|e| Failure::usage(format!("the picture cannot be written as .{format}: {e}")).help(WRITABLE))?;
    Ok(out)
}

fn write_image<E: ImageEncoder>(
    mut encoder: E,
    profile: Option<&[u8]>,
    bytes: &[u8],
    width: u32,
    height: u32,
    colour: ExtendedColorType,
) -> image::ImageResult<()> {
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile.to_vec()).map_err(image::ImageError::Unsupported)?;
    }
    encoder.write_image(bytes, width, height, colour)
}

/// A binary PGM or PPM file with 16 bits, most significant byte first, which the encoder above does not write.
fn pnm_16(bytes: &[u8], channels: usize, width: usize, height: usize) -> Vec<u8> {
    let magic = if channels == 1 { "P5" } else { "P6" };
    let mut out = format!("{magic}\n{width} {height}\n65535\n").into_bytes();
    out.extend(bytes);
    out
}
