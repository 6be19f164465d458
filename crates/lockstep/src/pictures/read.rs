use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use gpu_core::{Backend, Cpu};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Depth, Layout, Picture, READABLE, ending, npy};
use crate::exit::{Exit, Failure, Result};

/// A decoder may not take more memory than this: a small file can claim to be a huge picture.
const DECODER_LIMIT: u64 = 8 << 30;
/// What pictures may take where the system does not say how much is free.
const UNKNOWN_MEMORY: u64 = 16 << 30;
/// Longest side of a picture.
const LONGEST: u32 = 1 << 20;

/// Reads a picture. Every pixel must be a finite number.
pub(crate) fn read(path: &Path, layout: Layout) -> Result<Picture> {
    if path.is_dir() {
        return Err(Failure::input(path, "this is a folder, and one picture is needed here"));
    }
    let picture = if ending(path) == "npy" {
        let reader = npy::Reader::open(path)?;
        room(path, (reader.header.elements() as u64).saturating_mul(24))
            .map_err(|e| e.help("cut it into smaller arrays first"))?;
        from_array(reader.all(path)?, layout).map_err(|e| e.at(path))?
    } else {
        let bytes = std::fs::read(path).map_err(|e| Failure::reading(path, &e))?;
        decode(&bytes, path)?
    };
    if picture.samples.is_empty() {
        return Err(Failure::input(path, format!("shape {:?} has no pixels", picture.shape)));
    }
    let bad = picture.samples.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let at = picture.samples.iter().position(|v| !v.is_finite()).unwrap_or_default();
        let [_, channels, height, width] = picture.shape;
        let (row, column) = (at / width % height, at % width);
        let channel =
            if channels > 1 { format!(", channel {}", at / (width * height) % channels) } else { String::new() };
        return Err(Failure::input(
            path,
            format!(
                "{bad} of {} pixels are not finite, the first is {} at row {row}, column {column}{channel}",
                picture.samples.len(),
                picture.samples[at]
            ),
        )
        .help("replace them first, for example with numpy.nan_to_num"));
    }
    Ok(picture)
}

/// Decodes a PNG, JPEG, TIFF, WebP, PGM or PPM file; `path` is for messages.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Picture> {
    if bytes.is_empty() {
        return Err(Failure::input(path, "the file is empty"));
    }
    // Every format that is read has a mark at its start.
    let Ok(format) = image::guess_format(bytes) else {
        let what = match ending(path) {
            name if READABLE.contains(&name.as_str()) => format!("this is no {}", name.to_ascii_uppercase()),
            _ => "this is no picture that can be read".to_owned(),
        };
        return Err(Failure::input(path, what).help(format!("readable are {}", READABLE.join(", "))));
    };
    let wrong = |e: image::ImageError| explain(path, format, bytes.len(), &e);
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(truncated(path, bytes.len(), "its end marker is missing"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODER_LIMIT);
    limits.max_image_width = Some(LONGEST);
    limits.max_image_height = Some(LONGEST);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let pixels = u64::from(width) * u64::from(height);
    // What the decoder makes, its samples widened and sorted by channel, and as much again for what becomes of them.
    room(path, pixels.saturating_mul(u64::from(colour.bytes_per_pixel()) + 16 * u64::from(colour.channel_count())))
        .map_err(|e| e.help(format!("it says that it has {width} x {height} pixels; cut or shrink it first")))?;
    let orientation = decoder.orientation().map_err(wrong)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(wrong)?;
    // Photographs from telephones lie on their side and say so; what is written has no such note.
    image.apply_orientation(orientation);
    from_image(&image).map_err(|e| e.at(path))
}

/// The ICC profile that a picture's colours are meant in, if its file has one. A file that cannot be read has none.
pub(crate) fn profile(path: &Path) -> Option<Vec<u8>> {
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    reader.into_decoder().ok()?.icc_profile().ok()?
}

/// What a file holds beside the picture that is read, in words; nothing where it cannot be told.
pub(crate) fn beside_the_first(path: &Path) -> Option<&'static str> {
    const ANIMATED: &str = "it is animated";
    let mut file = BufReader::new(File::open(path).ok()?);
    match image::guess_format(file.fill_buf().ok()?).ok()? {
        ImageFormat::WebP => WebPDecoder::new(file).ok()?.has_animation().then_some(ANIMATED),
        ImageFormat::Png => PngDecoder::new(file).ok()?.is_apng().ok()?.then_some(ANIMATED),
        ImageFormat::Tiff => has_pages(&mut file)?.then_some("it has several pages"),
        _ => None,
    }
}

/// Whether the first directory of a TIFF file names another one.
fn has_pages(file: &mut (impl Read + Seek)) -> Option<bool> {
    let mut head = [0; 8];
    file.read_exact(&mut head).ok()?;
    let big_endian = head[0] == b'M';
    let number = |bytes: &[u8]| -> u32 {
        let digit = |n: u32, byte: &u8| (n << 8) | u32::from(*byte);
        if big_endian { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) }
    };
    // Larger files have 43 here, and another directory.
    if number(&head[2..4]) != 42 {
        return None;
    }
    let mut count = [0; 2];
    file.seek(SeekFrom::Start(number(&head[4..]).into())).ok()?;
    file.read_exact(&mut count).ok()?;
    let mut next = [0; 4];
    file.seek(SeekFrom::Current(12 * i64::from(number(&count)))).ok()?;
    file.read_exact(&mut next).ok()?;
    Some(number(&next) != 0)
}

/// Refuses what does not fit in memory before any of it is taken: a small file can claim to be a huge picture, and be
/// scaled to one.
pub(crate) fn room(path: &Path, bytes: u64) -> Result<()> {
    let free = if cfg!(target_os = "linux") { Cpu::new().memory().free as u64 } else { UNKNOWN_MEMORY };
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let needs = format!("{}: it takes {:.1} GiB of memory", path.display(), gib(bytes));
    if bytes > free {
        return Err(Failure::new(Exit::Memory, format!("{needs}, {:.1} are free", gib(free))));
    }
    // A process may be allowed less than the machine has. What is never touched costs nothing; the black box keeps the
    // compiler from leaving it out.
    let mut trial = Vec::<u8>::new();
    let granted = trial.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX));
    std::hint::black_box(&mut trial);
    granted.map_err(|_| Failure::new(Exit::Memory, format!("{needs}, more than this process may take")))
}

fn truncated(path: &Path, length: usize, why: &str) -> Failure {
    Failure::input(path, format!("the file is truncated or damaged after {length} bytes: {why}"))
        .help("copy the file again")
}

fn explain(path: &Path, format: ImageFormat, length: usize, error: &image::ImageError) -> Failure {
    let name = format.extensions_str().first().copied().unwrap_or("picture").to_ascii_uppercase();
    match error {
        image::ImageError::Limits(_) => {
            Failure::new(Exit::Memory, format!("{}: the {name} file claims to be too large: {error}", path.display()))
                .help(format!(
                    "at most {DECODER_LIMIT} bytes and {LONGEST} pixels a side are decoded; cut the picture first"
                ))
        }
        image::ImageError::Unsupported(_) => {
            Failure::input(path, format!("this kind of {name} cannot be read: {error}"))
                .help(format!("convert it to PNG; readable are {}", READABLE.join(", ")))
        }
        _ => truncated(path, length, &format!("it cannot be decoded as {name}: {}", error.to_string().trim_end())),
    }
}

/// Whether the end marker follows the picture's data. Decoders fill what is missing with gray and say nothing.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments up to the start of the scan carry their length; a preview inside one has its own end marker.
    while at + 4 <= bytes.len() && bytes[at] == 0xFF {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let marker = bytes[at + 1];
        if marker == 0xFF {
            at += 1;
            continue;
        }
        at += 2 + length;
        if marker == 0xDA {
            return bytes.get(at..).is_some_and(|rest| rest.windows(2).any(|w| w == [0xFF, 0xD9]));
        }
    }
    // Not laid out as expected: the decoder says why.
    true
}

fn from_image(image: &DynamicImage) -> Result<Picture> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (depth, channels, (samples, alpha)) = match image {
        DynamicImage::ImageLuma8(p) => (Depth::U8, 1, sorted(p.as_raw(), 1, false)),
        DynamicImage::ImageLumaA8(p) => (Depth::U8, 1, sorted(p.as_raw(), 1, true)),
        DynamicImage::ImageRgb8(p) => (Depth::U8, 3, sorted(p.as_raw(), 3, false)),
        DynamicImage::ImageRgba8(p) => (Depth::U8, 3, sorted(p.as_raw(), 3, true)),
        DynamicImage::ImageLuma16(p) => (Depth::U16, 1, sorted(p.as_raw(), 1, false)),
        DynamicImage::ImageLumaA16(p) => (Depth::U16, 1, sorted(p.as_raw(), 1, true)),
        DynamicImage::ImageRgb16(p) => (Depth::U16, 3, sorted(p.as_raw(), 3, false)),
        DynamicImage::ImageRgba16(p) => (Depth::U16, 3, sorted(p.as_raw(), 3, true)),
        DynamicImage::ImageRgb32F(p) => (Depth::F32, 3, sorted(p.as_raw(), 3, false)),
        other => {
            return Err(Failure::usage(format!("pictures of kind {:?} cannot be read", other.color()))
                .help("convert it to gray or RGB with 8 or 16 bits, or to .npy"));
        }
    };
    let layout = if channels == 1 { Layout::Hw } else { Layout::Hwc };
    Ok(Picture { shape: [1, channels, height, width], samples, depth, layout, alpha })
}

/// Samples by channel; transparency, where it is stored behind them, aside.
fn sorted<T: Copy + Into<f64>>(interleaved: &[T], channels: usize, with_alpha: bool) -> (Vec<f64>, Option<Vec<u16>>) {
    let stored = channels + usize::from(with_alpha);
    let plane = |c: usize| interleaved.iter().skip(c).step_by(stored).map(|&v| v.into());
    let mut samples = Vec::with_capacity(interleaved.len() / stored * channels);
    (0..channels).for_each(|c| samples.extend(plane(c)));
    (samples, with_alpha.then(|| plane(channels).map(|v: f64| v as u16).collect()))
}

/// A picture from an array of rank 2, 3 or 4.
fn from_array(array: npy::Array, layout: Layout) -> Result<Picture> {
    let depth = match array.kind {
        npy::Kind::U8 => Depth::U8,
        npy::Kind::U16 => Depth::U16,
        npy::Kind::F32 => Depth::F32,
        npy::Kind::F64 => Depth::F64,
    };
    if array.values.is_empty() {
        return Err(Failure::usage(format!("shape {:?} has no pixels", array.shape)));
    }
    let few = |n: usize| matches!(n, 1 | 3 | 4);
    let (shape, layout) = match (array.shape.as_slice(), layout) {
        (&[h, w], Layout::Auto | Layout::Hw) => ([1, 1, h, w], Layout::Hw),
        (&[a, b, c], Layout::Auto) if few(c) && !few(a) => ([1, c, a, b], Layout::Hwc),
        (&[a, b, c], Layout::Auto | Layout::Chw) => ([1, a, b, c], Layout::Chw),
        (&[a, b, c], Layout::Hwc) => ([1, c, a, b], Layout::Hwc),
        (&[a, b, c, d], Layout::Auto | Layout::Bchw) => ([a, b, c, d], Layout::Bchw),
        (shape, Layout::Auto) => {
            let help = if shape.len() == 5 {
                "coefficients have rank 5: `lockstep nsct rec` and `show` take them"
            } else {
                "save it as [rows, columns], [rows, columns, channels], [channels, rows, columns] or [batch, \
                 channels, rows, columns]"
            };
            return Err(
                Failure::usage(format!("an array of rank {} (shape {shape:?}) is no picture", shape.len())).help(help)
            );
        }
        (shape, layout) => {
            let letters = format!("{layout:?}").to_lowercase();
            return Err(Failure::usage(format!("an array of shape {shape:?} does not fit --layout {letters}"))
                .help("leave --layout out, or choose the one that names these axes"));
        }
    };
    let mut samples = array.values;
    if layout == Layout::Hwc {
        let [_, channels, height, width] = shape;
        let area = height * width;
        samples = (0..channels)
            .flat_map(|c| (0..area).map(move |i| (c, i)))
            .map(|(c, i)| samples[i * channels + c])
            .collect();
    }
    Ok(Picture { shape, samples, depth, layout, alpha: None })
}
