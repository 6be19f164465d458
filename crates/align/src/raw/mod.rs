//! Pictures from files: RAW through `rawler`, and RGB pictures through `image`.
//!
//! What a file contains decides, never its ending. Every file ends as a picture or as one [`Error`] that says in which
//! state it is. [`ApartReader`] is the reader to begin with: it decodes in other processes, so that nothing a file contains
//! ends yours. [`RawlerReader`] decodes in this one, for files that you have made yourself: headers are checked before the
//! decoder sees them, but what that cannot see, such as directories that a maker has encrypted, may still make it take
//! more memory than there is, which aborts the process.

mod apart;
mod guard;
mod rgb;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use rawler::decoders::{Decoder, FormatHint, RawDecodeParams, WellKnownIFD};
use rawler::formats::tiff::Value;
use rawler::imgop::xyz::Illuminant;
use rawler::rawimage::RawPhotometricInterpretation;
use rawler::rawsource::RawSource;
use rawler::tags::TiffCommonTag;
use rawler::{RawImage, RawImageData};

use crate::frame::crop_of;
use crate::{BlackLevel, Cfa, Error, Limits, Meta, Probe, RawFrame, RawReader, Rect, Result};
use guard::{Kind, Refusal};

pub use apart::{ApartReader, serve, serve_if_asked};

/// Reads RAW files with `rawler`, and PNG, JPEG, TIFF, WebP and PNM pictures with `image`, in this process.
///
/// For files that can be trusted: a decoder that takes more memory than there is aborts the process, which nothing can
/// catch. [`ApartReader`] reads the same files without that danger.
///
/// The first use sets a panic hook that keeps quiet about panics inside of `rawler`, which are returned as
/// [`Error::Damaged`], and hands all others on to the hook before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawlerReader;

impl RawReader for RawlerReader {
    fn probe(&self, path: &Path) -> Result<Probe> {
        Self::probe_loaded(path, load(path, &Limits::default())?)
    }

    fn read(&self, path: &Path, limits: &Limits) -> Result<RawFrame> {
        Self::read_loaded(path, load(path, limits)?, limits)
    }
}

impl RawlerReader {
    fn probe_loaded(path: &Path, bytes: Vec<u8>) -> Result<Probe> {
        let limits = Limits::default();
        let length = bytes.len() as u64;
        let header = guarded(path, &bytes, &limits)?;
        let mut probe = Probe { bytes: length, ..Probe::default() };
        if let Some([h, w]) = header.largest {
            (probe.height, probe.width) = (Some(h as usize), Some(w as usize));
        }
        if matches!(header.kind, Kind::Picture | Kind::RgbTiff) {
            let [height, width] = rgb::size(path, &bytes)?;
            let crop = crop_of([height, width], None, Cfa::Gray)?;
            let (height, width) = (Some(height), Some(width));
            return Ok(Probe { height, width, cfa: Some(Cfa::Gray), crop: Some(crop), ..probe });
        }
        if header.linear {
            return Err(interpolated(path));
        }
        let source = RawSource::new_from_shared_vec(Arc::new(bytes)).with_path(path);
        caught(path, || {
            let decoder = rawler::get_decoder(&source).map_err(|e| refused(path, &e))?;
            let size = announced(decoder.as_ref());
            if let Some([h, w]) = size {
                (probe.height, probe.width) = (Some(h as usize), Some(w as usize));
            }
            plausible(path, size.or(header.largest), length, &limits)?;
            // Everything but the pixels.
            let params = RawDecodeParams::default();
            let image = decoder.raw_image(&source, &params, true).map_err(|e| refused(path, &e))?;
            let (cfa, area) = layout(path, &image, decoder.format_hint() == FormatHint::DNG)?;
            let crop = crop_of([image.height, image.width], area, cfa).map_err(|e| contradiction(path, e))?;
            (probe.cfa, probe.crop) = (Some(cfa), Some(crop));
            (probe.height, probe.width) = (Some(image.height), Some(image.width));
            (probe.make, probe.model) = (image.clean_make.clone(), image.clean_model.clone());
            // A file without it can still be aligned.
            if let Ok(about) = decoder.raw_metadata(&source, &params) {
                probe.iso = about.exif.iso_speed_ratings.map(f64::from).or(about.exif.iso_speed.map(f64::from));
                probe.exposure = about.exif.exposure_time.map(|t| f64::from(t.n) / f64::from(t.d.max(1)));
            }
            Ok(probe)
        })
    }

    fn read_loaded(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<RawFrame> {
        let header = guarded(path, &bytes, limits)?;
        if matches!(header.kind, Kind::Picture | Kind::RgbTiff) {
            return rgb::read(path, &bytes, limits);
        }
        if header.linear {
            return Err(interpolated(path));
        }
        let length = bytes.len() as u64;
        let source = RawSource::new_from_shared_vec(Arc::new(bytes)).with_path(path);
        caught(path, || {
            let decoder = rawler::get_decoder(&source).map_err(|e| refused(path, &e))?;
            plausible(path, announced(decoder.as_ref()).or(header.largest), length, limits)?;
            let params = RawDecodeParams::default();
            let image = decoder.raw_image(&source, &params, false).map_err(|e| refused(path, &e))?;
            within(path, image.height as u64, image.width as u64, limits)?;
            let is_dng = decoder.format_hint() == FormatHint::DNG;
            let meta = meta(decoder.as_ref(), &source, &image);
            frame(path, image, meta, is_dng)
        })
    }
}

fn interpolated(path: &Path) -> Error {
    let why = "the colours are already interpolated (LinearRaw); mosaics are aligned".to_owned();
    Error::Unsupported { path: path.to_owned(), why }
}

/// Whether a file can hold so many rows and columns.
fn plausible(path: &Path, size: Option<[u64; 2]>, length: u64, limits: &Limits) -> Result<()> {
    let Some([height, width]) = size else { return Ok(()) };
    within(path, height, width, limits)?;
    if height.saturating_mul(width) / 8 > length {
        let why = format!("{width} x {height} pixels cannot be in a file of {length} bytes");
        return Err(Error::Damaged { path: path.to_owned(), why });
    }
    Ok(())
}

/// The whole file, in memory: a file that shrinks while it is mapped would end the process.
fn load(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Unreadable { path: path.to_owned(), why: e.to_string() },
    };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        let closed = if about.is_dir() { std::fs::read_dir(path).err() } else { None };
        let why = closed.map_or_else(|| "it is no file".to_owned(), |e| e.to_string());
        return Err(Error::Unreadable { path: path.to_owned(), why });
    }
    let too_large = |bytes: u64| Error::TooLarge {
        path: path.to_owned(),
        what: format!("a file of {bytes} bytes"),
        limit: format!("{} bytes", limits.bytes),
    };
    if about.len() > limits.bytes {
        return Err(too_large(about.len()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(about.len() as usize)
        .map_err(|e| Error::Unreadable { path: path.to_owned(), why: e.to_string() })?;
    // The file may have grown since.
    std::io::Read::read_to_end(&mut std::io::Read::take(file, limits.bytes + 1), &mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits.bytes {
        return Err(too_large(bytes.len() as u64));
    }
    if bytes.is_empty() {
        return Err(Error::Damaged { path: path.to_owned(), why: "the file is empty".to_owned() });
    }
    Ok(bytes)
}

fn guarded(path: &Path, bytes: &[u8], limits: &Limits) -> Result<guard::Header> {
    let header = guard::inspect(bytes, limits).map_err(|refusal| match refusal {
        Refusal::TooLarge(what) => too_many(path, what, limits),
        Refusal::Damaged(why) => Error::Damaged { path: path.to_owned(), why },
    })?;
    if header.kind == Kind::Unknown {
        let why = "it is no RAW file or picture of a known kind".to_owned();
        return Err(Error::Unsupported { path: path.to_owned(), why });
    }
    Ok(header)
}

fn too_many(path: &Path, what: String, limits: &Limits) -> Error {
    Error::TooLarge { path: path.to_owned(), what, limit: format!("{} megapixels", limits.pixels / 1_000_000) }
}

fn within(path: &Path, height: u64, width: u64, limits: &Limits) -> Result<()> {
    if height.saturating_mul(width) > limits.pixels {
        return Err(too_many(path, format!("a picture of {width} x {height} pixels"), limits));
    }
    Ok(())
}

/// Keeps panics inside of the decoder from being printed: each becomes an error with the same words.
fn silence() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = info.location().is_none_or(|l| !l.file().contains("rawler-"));
            if ours {
                before(info);
            }
        }));
    });
}

/// Runs code of the decoder; its panics are damaged files.
fn caught<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    silence();
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let why = format!("the decoder gave up ({})", words.unwrap_or("without a word").lines().next().unwrap_or(""));
        Error::Damaged { path: path.to_owned(), why }
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic)))
}

fn refused(path: &Path, error: &rawler::RawlerError) -> Error {
    let path = path.to_owned();
    match error {
        rawler::RawlerError::Unsupported { what, model, make, .. } => {
            let camera = format!("{make} {model}");
            let of = if camera.trim().is_empty() { String::new() } else { format!(" ({})", camera.trim()) };
            Error::Unsupported { path, why: format!("{what}{of}") }
        }
        rawler::RawlerError::DecoderFailed(why) => {
            let why = why.lines().next().unwrap_or("");
            let why = why.strip_prefix("TODO: ").unwrap_or(why).to_owned();
            if why.to_ascii_lowercase().contains("unsupported") {
                Error::Unsupported { path, why }
            } else {
                Error::Damaged { path, why }
            }
        }
    }
}

/// Rows and columns that the header of the data announces.
fn announced(decoder: &dyn Decoder) -> Option<[u64; 2]> {
    let ifd = decoder.ifd(WellKnownIFD::Raw).ok().flatten()?;
    let of = |tag: TiffCommonTag| ifd.get_entry(tag).filter(|e| e.count() > 0).map(|e| e.force_u64(0));
    Some([of(TiffCommonTag::ImageLength)?, of(TiffCommonTag::ImageWidth)?])
}

fn meta(decoder: &dyn Decoder, source: &RawSource, image: &RawImage) -> Meta {
    let mut meta = Meta {
        make: image.clean_make.clone(),
        model: image.clean_model.clone(),
        orientation: image.orientation.to_u16(),
        xyz_to_camera: xyz_to_camera(image),
        ..Meta::default()
    };
    if let Ok(about) = decoder.raw_metadata(source, &RawDecodeParams::default()) {
        meta.iso = about.exif.iso_speed_ratings.map(f64::from).or(about.exif.iso_speed.map(f64::from));
        meta.exposure = about.exif.exposure_time.map(|t| f64::from(t.n) / f64::from(t.d.max(1)));
        if let Some(orientation) = about.exif.orientation {
            meta.orientation = orientation;
        }
    }
    if let Ok(Some(root)) = decoder.ifd(WellKnownIFD::Root)
        && let Some(entry) = root.get_entry(rawler::tags::DngTag::LinearResponseLimit)
        && matches!(&entry.value, Value::Rational(v) if !v.is_empty())
    {
        meta.linear_limit = Some(f64::from(entry.force_f32(0))).filter(|v| *v > 0.0 && *v <= 1.0);
    }
    meta
}

/// The matrix for daylight, else the first of those there are.
fn xyz_to_camera(image: &RawImage) -> Option<[[f32; 3]; 4]> {
    let daylight = image.color_matrix.get(&Illuminant::D65);
    let any = || image.color_matrix.iter().min_by_key(|(light, _)| **light).map(|(_, m)| m);
    let flat = daylight.or_else(any)?;
    if flat.len() < 9 || flat.iter().any(|v| !v.is_finite()) {
        return None;
    }
    Some(std::array::from_fn(|r| std::array::from_fn(|c| flat.get(3 * r + c).copied().unwrap_or(0.0))))
}

/// The pattern at pixel (0, 0) and the active area, of a mosaic that can be aligned.
fn layout(path: &Path, image: &RawImage, is_dng: bool) -> Result<(Cfa, Option<Rect>)> {
    let unsupported = |why: String| Error::Unsupported { path: path.to_owned(), why };
    let RawPhotometricInterpretation::Cfa(config) = &image.photometric else {
        let kind = match image.photometric {
            RawPhotometricInterpretation::LinearRaw => "the colours are already interpolated (LinearRaw)",
            _ => "a sensor without colour filters",
        };
        return Err(unsupported(format!("{kind}; mosaics of Bayer and X-Trans sensors are aligned")));
    };
    if image.cpp != 1 {
        return Err(unsupported(format!("{} values a pixel, where a mosaic has one", image.cpp)));
    }
    let cfa = Cfa::from_letters(&config.cfa.name).map_err(|e| unsupported(e.to_string()))?;
    let rect = |area: rawler::imgop::Rect| Rect { top: area.p.y, left: area.p.x, height: area.d.h, width: area.d.w };
    let area = image.active_area.map(rect);
    let [top, left] = area.map_or([0, 0], |a| [a.top, a.left]);
    let cfa = if is_dng && matches!(cfa, Cfa::XTrans(_)) {
        // The decoder moves the pattern of the active area the wrong way, which only shows for periods above 2.
        let back = |d: usize| (12 - 2 * (d % 6)) % 6;
        cfa.shifted(back(top), back(left))
    } else {
        cfa
    };
    Ok((cfa, area))
}

/// A value that the file gives and that cannot be.
fn contradiction(path: &Path, e: Error) -> Error {
    match e {
        Error::Value { what, why } => Error::Damaged { path: path.to_owned(), why: format!("{what}: {why}") },
        other => other,
    }
}

/// Cuts a mosaic that can be aligned.
fn frame(path: &Path, image: RawImage, meta: Meta, is_dng: bool) -> Result<RawFrame> {
    let unsupported = |why: String| Error::Unsupported { path: path.to_owned(), why };
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let (cfa, area) = layout(path, &image, is_dng)?;
    let [top, left] = area.map_or([0, 0], |a| [a.top, a.left]);
    let RawImageData::Integer(values) = image.data else {
        return Err(unsupported("floating-point values; 16-bit integers are read".to_owned()));
    };
    if values.len() < image.height * image.width {
        return Err(damaged(format!("{} values for {} x {} pixels", values.len(), image.width, image.height)));
    }
    let mut values = values;
    values.truncate(image.height * image.width);
    let mosaic = Array2::from_shape_vec((image.height, image.width), values).map_err(|e| damaged(e.to_string()))?;
    let levels: Vec<f32> = image.blacklevel.levels.iter().map(rawler::formats::tiff::Rational::as_f32).collect();
    let (rows, columns) = (image.blacklevel.height, image.blacklevel.width);
    let mut black =
        BlackLevel::repeated(cfa.period(), rows, columns, &levels).map_err(|e| unsupported(e.to_string()))?;
    if is_dng {
        // Levels repeat from the first pixel of the active area on.
        let p = cfa.period();
        black = black.shifted((p - top % p) % p, (p - left % p) % p);
    }
    let white = image.whitelevel.0.iter().copied().min().unwrap_or(u32::from(u16::MAX));
    let white = u16::try_from(white).unwrap_or(u16::MAX);
    RawFrame::cut(mosaic, area, cfa, &black, white, meta).map_err(|e| contradiction(path, e))
}
