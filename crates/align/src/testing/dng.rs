use ndarray::ArrayView2;

use crate::{Cfa, Rect};

/// What a DNG file says about its mosaic.
#[derive(Clone, Debug)]
pub struct DngOptions {
    /// The pattern at the first pixel of the active area, which is where DNG counts from.
    pub cfa: Cfa,
    /// The active area; all of the picture when there is none.
    pub active: Option<Rect>,
    /// One black level, or one for each of 2 × 2 positions from the active area on.
    pub black: Vec<u16>,
    /// White level.
    pub white: u16,
    /// Sensitivity.
    pub iso: u16,
    /// Exposure time in milliseconds.
    pub milliseconds: u32,
    /// Orientation tag.
    pub orientation: u16,
    /// Camera.
    pub model: String,
    /// Up to which part of its range the sensor is linear, in thousandths.
    pub linear_limit: Option<u32>,
}

impl Default for DngOptions {
    fn default() -> Self {
        Self {
            cfa: Cfa::RGGB,
            active: None,
            black: vec![super::BLACK],
            white: super::WHITE,
            iso: 100,
            milliseconds: 10,
            orientation: 1,
            model: "Scenery".to_owned(),
            linear_limit: None,
        }
    }
}

/// One entry of a directory: tag, type, and its bytes.
type Entry = (u16, u16, Vec<u8>);

fn shorts(tag: u16, values: &[u16]) -> Entry {
    (tag, 3, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn longs(tag: u16, values: &[u32]) -> Entry {
    (tag, 4, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn text(tag: u16, value: &str) -> Entry {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    (tag, 2, bytes)
}

/// Appends a directory and what does not fit into it; returns where it starts.
fn directory(out: &mut Vec<u8>, mut entries: Vec<Entry>) -> u32 {
    entries.sort_by_key(|e| e.0);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    let start = out.len();
    let mut beyond = start + 2 + 12 * entries.len() + 4;
    let mut tail = Vec::new();
    out.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, bytes) in entries {
        let size = match kind {
            3 => 2,
            4 => 4,
            5 | 10 => 8,
            _ => 1,
        };
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(((bytes.len() / size) as u32).to_le_bytes());
        if bytes.len() <= 4 {
            let mut field = bytes.clone();
            field.resize(4, 0);
            out.extend(field);
        } else {
            out.extend((beyond as u32).to_le_bytes());
            tail.extend(&bytes);
            if bytes.len() % 2 == 1 {
                tail.push(0);
            }
            beyond = start + 2 + 12 * directory_len(out, start) + 4 + tail.len();
        }
    }
    out.extend(0u32.to_le_bytes());
    out.extend(tail);
    start as u32
}

/// Entries that the directory at `start` has, from its first two bytes.
fn directory_len(out: &[u8], start: usize) -> usize {
    usize::from(u16::from_le_bytes([out[start], out[start + 1]]))
}

/// A mosaic as the bytes of an uncompressed DNG file.
pub fn write_dng(mosaic: &ArrayView2<'_, u16>, o: &DngOptions) -> Vec<u8> {
    let (height, width) = mosaic.dim();
    let mut out = b"II*\0\0\0\0\0".to_vec();
    out.extend(mosaic.iter().flat_map(|v| v.to_le_bytes()));
    let exif = directory(
        &mut out,
        vec![
            shorts(34855, &[o.iso]),
            (33434, 5, [o.milliseconds, 1000].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ],
    );
    let p = o.cfa.period();
    let pattern = (0..p * p).map(|i| o.cfa.colour(i / p, i % p).index() as u8).collect();
    let black_dim: [u16; 2] = if o.black.len() == 4 { [2, 2] } else { [1, 1] };
    // sRGB's matrix, in ten-thousandths.
    let matrix: [i32; 9] = [32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570];
    let mut entries = vec![
        longs(254, &[0]),
        longs(256, &[width as u32]),
        longs(257, &[height as u32]),
        shorts(258, &[16]),
        shorts(259, &[1]),
        shorts(262, &[32803]),
        text(271, "Lockstep"),
        text(272, &o.model),
        longs(273, &[8]),
        shorts(274, &[o.orientation]),
        shorts(277, &[1]),
        longs(278, &[height as u32]),
        longs(279, &[2 * (height * width) as u32]),
        shorts(33421, &[p as u16, p as u16]),
        (33422, 1, pattern),
        longs(34665, &[exif]),
        (0xc612, 1, vec![1, 4, 0, 0]),
        (0xc613, 1, vec![1, 1, 0, 0]),
        text(0xc614, &format!("Lockstep {}", o.model)),
        shorts(0xc619, &black_dim),
        shorts(0xc61a, &o.black),
        longs(0xc61d, &[o.white.into()]),
        (0xc621, 10, matrix.iter().flat_map(|&v| [v, 10000]).flat_map(i32::to_le_bytes).collect()),
        shorts(0xc65a, &[21]),
    ];
    if let Some(a) = o.active {
        let edges = [a.top, a.left, a.top + a.height, a.left + a.width].map(|v| v as u32);
        entries.push(longs(0xc68d, &edges));
    }
    if let Some(limit) = o.linear_limit {
        entries.push((0xc62e, 5, [limit, 1000].iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    let root = directory(&mut out, entries);
    out[4..8].copy_from_slice(&root.to_le_bytes());
    out
}
