//! Arguments that several subcommands share.

use std::path::{Path, PathBuf};

use ata_wmma::ordering::{self, Ordering};
use ata_wmma::{FrameLayout, Graph, npy};

use crate::exit::{Failure, Result};
use crate::pictures;

/// How unknowns are to be ordered: `best`, `rcm`, `identity` or `snake:AXIS:WIDTH`.
#[derive(Clone, Debug)]
pub(super) enum OrderMethod {
    Best,
    Rcm,
    Identity,
    Snake(usize, usize),
}

impl std::str::FromStr for OrderMethod {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{s}` is none of best, rcm, identity, snake:AXIS:WIDTH (axis 0 is x, 1 is y)");
        match s {
            "best" => Ok(Self::Best),
            "rcm" => Ok(Self::Rcm),
            "identity" => Ok(Self::Identity),
            _ => {
                let (axis, width) = s.strip_prefix("snake:").and_then(|r| r.split_once(':')).ok_or_else(wrong)?;
                Ok(Self::Snake(axis.parse().map_err(|_| wrong())?, width.parse().map_err(|_| wrong())?))
            }
        }
    }
}

impl OrderMethod {
    /// The order of LEDs at these places.
    pub(super) fn order(&self, positions: &[[i32; 2]], graph: &Graph, window: usize) -> Result<Ordering> {
        Ok(match self {
            Self::Best => ordering::best_snake(positions, graph, window)?.0,
            Self::Rcm => ordering::rcm(graph),
            Self::Identity => ordering::identity(positions.len()),
            Self::Snake(axis, width) => ordering::snake(positions, *width, *axis)?,
        })
    }
}

/// Frames of bytes.
pub(super) struct Frames {
    pub(super) count: usize,
    pub(super) layout: FrameLayout,
    pub(super) bytes: Vec<u8>,
}

/// Reads `[F, C, H, W]` or `[F, H, W, C]` from a `.npy` file, or the pictures of a folder in the order of their names.
pub(super) fn read_frames(path: &Path, channels: usize, [width, height]: [usize; 2]) -> Result<Frames> {
    let wanted = format!("expected [F, {channels}, {height}, {width}] or [F, {height}, {width}, {channels}] of uint8");
    if !path.is_dir() {
        let (shape, bytes) = npy::read(path)?.of_rank::<u8, 4>(path)?;
        let layout = if shape[1..] == [channels, height, width] {
            FrameLayout::Planar
        } else if shape[1..] == [height, width, channels] {
            FrameLayout::Interleaved
        } else {
            return Err(Failure::input(path, format!("shape: {shape:?}, {wanted}")));
        };
        return Ok(Frames { count: shape[0], layout, bytes });
    }
    let entries = std::fs::read_dir(path).map_err(|e| Failure::reading(path, &e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| pictures::is_picture(p)).collect();
    files.sort();
    let mut bytes = Vec::new();
    for file in &files {
        let picture = pictures::read(file, pictures::Layout::Auto)?;
        if picture.shape != [1, channels, height, width] || picture.depth != pictures::Depth::U8 {
            return Err(Failure::input(file, format!("shape: {:?}, {wanted}", picture.shape)));
        }
        bytes.extend(picture.samples.iter().map(|&v| v as u8));
    }
    if files.is_empty() {
        return Err(Failure::input(path, "no pictures in this folder"));
    }
    Ok(Frames { count: files.len(), layout: FrameLayout::Planar, bytes })
}

/// Reads `[F, C, n]` of `f32` or `f64`.
pub(super) fn read_vectors(path: &Path, size: [usize; 2]) -> Result<([usize; 3], Vec<f32>)> {
    let array = npy::read(path)?;
    let shape = <[usize; 3]>::try_from(array.shape.as_slice()).ok().filter(|s| s[1..] == size);
    let shape = shape.ok_or_else(|| {
        Failure::input(path, format!("shape: {:?}, expected [F, {}, {}]", array.shape, size[0], size[1]))
    })?;
    let values: Vec<f32> = array.values.to_f64().iter().map(|&v| v as f32).collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Failure::input(path, format!("data: element {at} is {}, not finite", values[at]))),
        None => Ok((shape, values)),
    }
}

/// An order from a file.
pub(super) fn read_order(path: &Path) -> Result<Ordering> {
    let (_, order) = npy::read(path)?.integers(path)?;
    if let Some(value) = order.iter().find(|v| **v < 0) {
        return Err(Failure::input(path, format!("data: {value} is negative; places count from 0")));
    }
    Ordering::new(order.iter().map(|&v| v as u32).collect()).map_err(|e| e.at(path).into())
}

/// An order of so many.
pub(super) fn read_order_of(path: &Path, length: usize) -> Result<Ordering> {
    let order = read_order(path)?;
    if order.order.len() == length {
        return Ok(order);
    }
    Err(Failure::input(path, format!("shape: {} entries for {length} patterns", order.order.len())))
}
