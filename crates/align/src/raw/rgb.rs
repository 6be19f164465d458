//! RGB pictures.

use std::io::Cursor;
use std::path::Path;

use image::{ImageDecoder, ImageReader};
use ndarray::Array3;

use crate::{Error, Limits, Meta, RawFrame, Result};

fn reader<'a>(path: &Path, bytes: &'a [u8]) -> Result<ImageReader<Cursor<&'a [u8]>>> {
    let reader = ImageReader::new(Cursor::new(bytes));
    reader.with_guessed_format().map_err(|e| Error::Unreadable { path: path.to_owned(), why: e.to_string() })
}

fn refused(path: &Path, error: &image::ImageError) -> Error {
    let (path, why) = (path.to_owned(), error.to_string());
    match error {
        image::ImageError::Unsupported(_) => Error::Unsupported { path, why },
        image::ImageError::Limits(_) => Error::TooLarge { path, what: why, limit: "its size in memory".to_owned() },
        _ => Error::Damaged { path, why },
    }
}

fn gray(path: &Path) -> Error {
    Error::Unsupported { path: path.to_owned(), why: "a gray picture; pictures need three channels".to_owned() }
}

/// PNG packs three bytes a pixel at most 1032 times.
pub(super) const MOST_PIXELS_A_BYTE: u64 = 344;

/// Rows and columns, from the header.
pub(super) fn size(path: &Path, bytes: &[u8]) -> Result<[usize; 2]> {
    let decoder = reader(path, bytes)?.into_decoder().map_err(|e| refused(path, &e))?;
    let (width, height) = decoder.dimensions();
    if !decoder.color_type().has_color() {
        return Err(gray(path));
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS_A_BYTE * bytes.len() as u64 {
        let why = format!("{width} x {height} pixels of a photograph cannot be in a file of {} bytes", bytes.len());
        return Err(Error::Damaged { path: path.to_owned(), why });
    }
    Ok([height as usize, width as usize])
}

/// The picture with values of 0 to 1.
pub(super) fn read(path: &Path, bytes: &[u8], limits: &Limits) -> Result<RawFrame> {
    let [height, width] = size(path, bytes)?;
    if height as u64 * width as u64 > limits.pixels {
        let what = format!("a picture of {width} x {height} pixels");
        let limit = format!("{} megapixels", limits.pixels / 1_000_000);
        return Err(Error::TooLarge { path: path.to_owned(), what, limit });
    }
    let mut reader = reader(path, bytes)?;
    let mut memory = image::Limits::default();
    // Four channels of 32 bits are the most that a pixel has.
    memory.max_alloc = Some((height as u64 * width as u64).saturating_mul(16).saturating_add(1 << 26));
    reader.limits(memory);
    let picture = reader.decode().map_err(|e| refused(path, &e))?;
    if !picture.color().has_color() {
        return Err(gray(path));
    }
    let picture = picture.into_rgb32f();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let samples = picture.into_raw();
    let rgb = Array3::from_shape_fn((3, height, width), |(c, y, x)| samples[3 * (y * width + x) + c]);
    RawFrame::from_rgb(rgb, Meta::default())
}
