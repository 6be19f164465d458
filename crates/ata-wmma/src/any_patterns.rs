//! Patterns as folders have them: bytes or real numbers, one window for all channels or one for each.

use std::path::Path;

use gpu_core::Tensor;

use crate::blocks::BlockDiag;
use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, RenderTiles};
use crate::npy;
use crate::ordering::Graph;
use crate::patterns::{BlockDiagInt, DevicePatterns, FrameLayout, Patterns, Scale, Texel, Transfer, files, place};

/// Patterns of either type: one part that has all channels, or, where windows differ from channel to channel, a part of one
/// channel for each.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyPatterns {
    /// Bytes, whose sums are exact.
    Bytes(Vec<Patterns>),
    /// Light in `f32`.
    Real(Vec<Patterns<f32>>),
}

/// Right sides: real values `[F, C, n]`, and the exact sums where patterns are bytes.
pub type RightSides = (Vec<f32>, Option<Vec<u64>>);

macro_rules! parts {
    ($self:expr, $p:ident => $body:expr) => {
        match $self {
            AnyPatterns::Bytes($p) => $body,
            AnyPatterns::Real($p) => $body,
        }
    };
}

/// A part for each channel of `[n, C, B, B]`, whose windows begin at `corners`, `[n, C]`.
///
/// # Errors
/// What [`Patterns::new`] refuses.
pub fn split_channels<T: Texel>(
    [n, channels, side]: [usize; 3],
    data: &[T],
    corners: &[[i32; 2]],
    size: [usize; 2],
) -> Result<Vec<Patterns<T>>> {
    let area = side * side;
    if data.len() != n * channels * area {
        return Err(AtaError::shape("patterns", [n, channels, side, side], &[data.len()]));
    }
    if corners.len() != n * channels {
        return Err(AtaError::shape("top_left", [n, channels, 2], &[corners.len(), 2]));
    }
    let part = |c: usize| {
        let data = (0..n).flat_map(|l| &data[(l * channels + c) * area..][..area]).copied().collect();
        Patterns::new([n, 1, side], data, (0..n).map(|l| corners[l * channels + c]).collect(), size)
    };
    (0..channels).map(part).collect()
}

fn load<T: Texel>(
    array: npy::NpyArray,
    path: &Path,
    top_left: &Path,
    (shape, corners): (Vec<usize>, Vec<i32>),
    size: [usize; 2],
) -> Result<Vec<Patterns<T>>> {
    let (all, data) = array.of_rank::<T, 4>(path)?;
    if all[2] != all[3] {
        return Err(AtaError::file(path, "shape", format!("windows of {} x {} are not square", all[2], all[3])));
    }
    let corners: Vec<[i32; 2]> = corners.chunks_exact(2).map(|c| [c[0], c[1]]).collect();
    let sizes = [all[0], all[1], all[2]];
    let parts = match shape.as_slice() {
        [n, 2] if *n == all[0] => Patterns::new(sizes, data, corners, size).map(|one| vec![one]),
        [n, channels, 2] if [*n, *channels] == all[..2] => split_channels(sizes, &data, &corners, size),
        _ => {
            let [n, channels, ..] = all;
            let why = format!("{shape:?}, expected [{n}, 2], or [{n}, {channels}, 2] for a window for each channel");
            return Err(AtaError::file(top_left, "shape", why));
        }
    };
    parts.map_err(|e| match &e {
        AtaError::Value { what, .. } if what == "top_left" => e.at(top_left),
        _ => e.at(path),
    })
}

fn save<T: Texel>(parts: &[Patterns<T>], folder: &Path) -> Result<()> {
    let [first, _, ..] = parts else { return parts.iter().try_for_each(|one| one.save(folder)) };
    first.save(folder)?;
    let (n, side, channels) = (first.n(), first.window(), parts.len());
    let windows = (0..n).flat_map(|l| parts.iter().map(move |p| (p, l)));
    let corners: Vec<i32> = windows.clone().flat_map(|(p, l)| p.corners()[l]).collect();
    let data: Vec<T> = windows.flat_map(|(p, l)| &p.data()[l * side * side..][..side * side]).copied().collect();
    npy::write(&folder.join("patterns.npy"), &[n, channels, side, side], &data)?;
    npy::write(&folder.join("top_left.npy"), &[n, channels, 2], &corners)
}

impl AnyPatterns {
    /// Reads a folder with `patterns.npy` (`[n, C, B, B]` of bytes or `f32`), `top_left.npy` (`[n, 2]` or `[n, C, 2]`) and
    /// `meta.json` (`width`, `height`).
    pub fn load(folder: &Path) -> Result<Self> {
        let (path, top_left, size) = files(folder)?;
        let (array, corners) = (npy::read(&path)?, npy::read(&top_left)?.integers(&top_left)?);
        Ok(match array.values {
            npy::Values::F32(_) => Self::Real(load(array, &path, &top_left, corners, size)?),
            _ => Self::Bytes(load(array, &path, &top_left, corners, size)?),
        })
    }

    /// Writes a folder that [`load`](Self::load) reads. The folder must exist.
    pub fn save(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Bytes(parts) => save(parts, folder),
            Self::Real(parts) => save(parts, folder),
        }
    }

    /// The same patterns in another order: matrix index `i` becomes what was at `order[i]`.
    pub fn reordered(&self, order: &[u32]) -> Result<Self> {
        Ok(match self {
            Self::Bytes(p) => Self::Bytes(p.iter().map(|p| p.reordered(order)).collect::<Result<_>>()?),
            Self::Real(p) => Self::Real(p.iter().map(|p| p.reordered(order)).collect::<Result<_>>()?),
        })
    }

    /// Unknowns and channels.
    pub fn counts(&self) -> [usize; 2] {
        parts!(self, p => [p[0].n(), p.iter().map(Patterns::channels).sum()])
    }

    /// Columns and rows of the picture.
    pub fn size(&self) -> [usize; 2] {
        parts!(self, p => p[0].size())
    }

    /// `(top, left)` of each window, of the first channel where they differ, and the side of all.
    pub fn windows(&self) -> (&[[i32; 2]], usize) {
        parts!(self, p => (p[0].corners(), p[0].window()))
    }

    /// Who interacts with whom, in some channel.
    pub fn graph(&self) -> Graph {
        let mut graphs = parts!(self, p => p.iter().map(Patterns::graph).collect::<Vec<_>>()).into_iter();
        let mut all = graphs.next().unwrap_or_default();
        for graph in graphs {
            for (near, more) in all.0.iter_mut().zip(graph.0) {
                near.extend(more);
                near.sort_unstable();
                near.dedup();
            }
        }
        all
    }

    /// Blocks in which windows of some channel overlap.
    fn block_list(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<_> = parts!(self, p => p.iter().flat_map(Patterns::block_list).collect());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The Gram matrix of each channel, in the units of light; and exact sums of bytes.
    pub fn gram<B: AtaBackend>(&self, b: &B) -> Result<(BlockDiag, Option<BlockDiagInt>)> {
        let ([n, channels], list) = (self.counts(), self.block_list());
        match self {
            Self::Bytes(parts) => {
                let sums: Result<Vec<_>> = parts.iter().map(|p| kernels::gram_u8(b, p, &list)).collect();
                let (offsets, blocks) = place([channels, n], &list, &sums?.concat());
                let exact = BlockDiagInt { channels, n, offsets, blocks }.pruned();
                Ok((exact.to_real(Scale::Unit)?, Some(exact)))
            }
            Self::Real(parts) => {
                let sums: Result<Vec<_>> = parts.iter().map(|p| kernels::gram_f32(b, p, &list)).collect();
                let (offsets, blocks) = place([channels, n], &list, &sums?.concat());
                Ok((BlockDiag::of_sums([channels, n], offsets, blocks)?, None))
            }
        }
    }

    /// `b = Mᵀ frames` of bytes, `[F, C, H, W]` or `[F, H, W, C]`.
    pub fn right_sides<B: AtaBackend>(
        &self,
        b: &B,
        frames: &[u8],
        layout: FrameLayout,
        transfer: &Transfer,
    ) -> Result<RightSides> {
        let ([n, channels], [width, height]) = (self.counts(), self.size());
        let frame = channels * width * height;
        if !frames.len().is_multiple_of(frame) {
            return Err(AtaError::shape("frames", [channels, height, width], &[frames.len()]));
        }
        if let Transfer::Table(tables) = transfer
            && tables.len() != channels
        {
            return Err(AtaError::shape("transfer", [channels, 256], &[tables.len(), 256]));
        }
        let alone = parts!(self, p => p.len() == 1);
        let count = frames.len() / frame;
        // A part of one channel sees that channel's pictures alone.
        let seen = |c: usize| -> Vec<u8> {
            let area = width * height;
            let place = |f: usize, i: usize| match layout {
                FrameLayout::Planar => f * frame + c * area + i,
                FrameLayout::Interleaved => f * frame + i * channels + c,
            };
            (0..count).flat_map(|f| (0..area).map(move |i| place(f, i))).map(|at| frames[at]).collect()
        };
        let of = |c: usize| match transfer {
            Transfer::Table(tables) => Transfer::Table(vec![tables[c]]),
            Transfer::Identity => Transfer::Identity,
        };
        let input = |c: usize| -> Result<(Tensor<B, u8, 1>, FrameLayout, Transfer)> {
            let (pixels, layout, transfer) =
                if alone { (frames.to_vec(), layout, transfer.clone()) } else { (seen(c), FrameLayout::Planar, of(c)) };
            Ok((Tensor::from_slice(b, [pixels.len()], &pixels)?, layout, transfer))
        };
        match self {
            Self::Bytes(parts) => {
                let mut exact = Vec::new();
                for (c, part) in parts.iter().enumerate() {
                    let ((pixels, layout, transfer), device) = (input(c)?, DevicePatterns::new(b, part)?);
                    let mut out = Tensor::<B, u64, 1>::scratch(b, [count * part.channels() * n])?;
                    kernels::atb_u8(b, &device, pixels.flat(), layout, &transfer, out.flat_mut())?;
                    exact.push(out.to_vec(b)?);
                }
                let exact = together(&exact, n);
                Ok((exact.iter().map(|&v| (v as f64 / transfer.unit()) as f32).collect(), Some(exact)))
            }
            Self::Real(parts) => {
                let mut real = Vec::new();
                for (c, part) in parts.iter().enumerate() {
                    let ((pixels, layout, transfer), device) = (input(c)?, DevicePatterns::new(b, part)?);
                    let mut out = Tensor::<B, f32, 1>::scratch(b, [count * part.channels() * n])?;
                    kernels::atb_f32(b, &device, pixels.flat(), layout, &transfer, out.flat_mut())?;
                    real.push(out.to_vec(b)?);
                }
                Ok((together(&real, n), None))
            }
        }
    }

    /// Pictures `[F, C, H, W]` of values `[F, C, n]`.
    pub fn render<B: AtaBackend>(&self, b: &B, x: &[f32]) -> Result<Vec<f32>> {
        let ([n, channels], [width, height]) = (self.counts(), self.size());
        if !x.len().is_multiple_of(n * channels) {
            return Err(AtaError::shape("x", [channels, n], &[x.len()]));
        }
        let alone = parts!(self, p => p.len() == 1);
        let input = |c: usize| -> Result<(Tensor<B, f32, 1>, Tensor<B, f32, 1>)> {
            let lines: Vec<f32> = if alone {
                x.to_vec()
            } else {
                x.chunks_exact(n).skip(c).step_by(channels).flatten().copied().collect()
            };
            let out = Tensor::scratch(b, [lines.len() / n * width * height])?;
            Ok((Tensor::from_slice(b, [lines.len()], &lines)?, out))
        };
        let mut pictures = Vec::new();
        match self {
            Self::Bytes(parts) => {
                for (c, part) in parts.iter().enumerate() {
                    let (x, mut out) = input(c)?;
                    let (device, tiles) = (DevicePatterns::new(b, part)?, RenderTiles::new(b, part)?);
                    kernels::render(b, &device, &tiles, x.flat(), out.flat_mut())?;
                    pictures.push(out.to_vec(b)?);
                }
            }
            Self::Real(parts) => {
                for (c, part) in parts.iter().enumerate() {
                    let (x, mut out) = input(c)?;
                    let (device, tiles) = (DevicePatterns::new(b, part)?, RenderTiles::new(b, part)?);
                    kernels::render_f32(b, &device, &tiles, x.flat(), out.flat_mut())?;
                    pictures.push(out.to_vec(b)?);
                }
            }
        }
        Ok(together(&pictures, width * height))
    }
}

/// Parts of `[F, 1, len]` as `[F, C, len]`; a single part stays as it is.
fn together<T: Copy>(parts: &[Vec<T>], len: usize) -> Vec<T> {
    let [first, rest @ ..] = parts else { return Vec::new() };
    if rest.is_empty() {
        return first.clone();
    }
    (0..first.len() / len).flat_map(|f| parts.iter().flat_map(move |p| &p[f * len..(f + 1) * len])).copied().collect()
}
