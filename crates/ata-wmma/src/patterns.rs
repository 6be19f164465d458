//! Light patterns of the unknowns, each in a window of the picture.

use std::path::{Path, PathBuf};

use gpu_core::{Elem, Tensor};

use crate::blocks::{AREA, BLOCK, BlockDiag, check_offsets};
use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend};
use crate::npy;
use crate::ordering::Graph;

/// Products of two bytes stand for products of values in [0, 1].
pub const BYTE_SQUARED: f64 = 65025.0;
/// Largest side of a window: sums of products of bytes stay below 2^32.
pub const MAX_WINDOW: usize = 256;

/// What windows of patterns hold: bytes, 255 of them full light, or light itself in `f32`.
pub trait Texel: Elem + npy::Number + Into<f64> {}
impl Texel for u8 {}
impl Texel for f32 {}

/// What each unknown adds to a picture: `[n, C, B, B]` in a window at `(top, left)`, one window for all channels.
///
/// Bytes are summed exactly; real patterns, `Patterns<f32>`, in `f64` and rounded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns<T = u8> {
    pub(crate) n: usize,
    pub(crate) channels: usize,
    pub(crate) side: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) corners: Vec<[i32; 2]>,
    pub(crate) data: Vec<T>,
}

/// Exact integer Gram blocks; the real matrix is these over 65025.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDiagInt {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub n: usize,
    /// Block diagonals.
    pub offsets: Vec<u32>,
    /// `[channels, offsets, block rows, 16, 16]`.
    pub blocks: Vec<u32>,
}

/// What a sum of products of bytes is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scale {
    /// By 65025, so that bytes stand for values in [0, 1].
    #[default]
    Unit,
    /// Not at all.
    Raw,
}

impl<T: Texel> Patterns<T> {
    /// Checks and takes patterns `[n, C, B, B]` with corners `(top, left)`.
    ///
    /// # Errors
    /// For wrong lengths, values that are not finite, windows wider than 256 pixels and windows that reach outside of the
    /// picture.
    pub fn new(
        [n, channels, side]: [usize; 3],
        data: Vec<T>,
        corners: Vec<[i32; 2]>,
        [width, height]: [usize; 2],
    ) -> Result<Self> {
        if n == 0 || channels == 0 || side == 0 {
            return Err(AtaError::value(
                "patterns",
                format!("shape [{n}, {channels}, {side}, {side}] has nothing in it"),
            ));
        }
        if side > MAX_WINDOW {
            return Err(AtaError::value(
                "patterns",
                format!("windows of {side} pixels; at most {MAX_WINDOW} are taken"),
            ));
        }
        let len = [n, channels, side, side].iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        if len != Some(data.len()) {
            return Err(AtaError::shape("patterns", [n, channels, side, side], &[data.len()]));
        }
        if let Some((at, value)) = data.iter().map(|&v| v.into()).enumerate().find(|(_, v): &(_, f64)| !v.is_finite()) {
            let index = vec![at / (channels * side * side), at / (side * side) % channels, at / side % side, at % side];
            return Err(AtaError::NonFinite { what: "patterns".into(), index, value });
        }
        if corners.len() != n {
            return Err(AtaError::shape("top_left", [n, 2], &[corners.len(), 2]));
        }
        if width.checked_mul(height).is_none_or(|pixels| pixels > i32::MAX as usize / 2) {
            return Err(AtaError::value("picture", format!("{width} x {height} is larger than 2^30 pixels")));
        }
        let fits = |at: i32, length: usize| at >= 0 && at as usize + side <= length;
        for (i, &[top, left]) in corners.iter().enumerate() {
            if !fits(top, height) || !fits(left, width) {
                let why = format!(
                    "window {i} at row {top}, column {left} with {side} pixels a side reaches outside of the picture of \
                     {width} x {height}"
                );
                return Err(AtaError::value("top_left", why));
            }
        }
        Ok(Self { n, channels, side, width, height, corners, data })
    }

    fn of_array(array: npy::NpyArray, patterns: &Path, top_left: &Path, size: [usize; 2]) -> Result<Self> {
        let (shape, data) = array.of_rank::<T, 4>(patterns)?;
        if shape[2] != shape[3] {
            return Err(AtaError::file(
                patterns,
                "shape",
                format!("windows of {} x {} are not square", shape[2], shape[3]),
            ));
        }
        let (corner_shape, corners) = npy::read(top_left)?.integers(top_left)?;
        if corner_shape != [shape[0], 2] {
            return Err(AtaError::file(top_left, "shape", format!("{corner_shape:?}, expected [{}, 2]", shape[0])));
        }
        let corners = corners.chunks_exact(2).map(|c| [c[0], c[1]]).collect();
        Self::new([shape[0], shape[1], shape[2]], data, corners, size).map_err(|e| match &e {
            AtaError::Value { what, .. } if what == "top_left" => e.at(top_left),
            _ => e.at(patterns),
        })
    }

    /// Writes a folder that [`load`](Patterns::load) reads, or [`load_f32`](Patterns::load_f32). The folder must exist.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let corners: Vec<i32> = self.corners.iter().flatten().copied().collect();
        npy::write(&folder.join("patterns.npy"), &[self.n, self.channels, self.side, self.side], &self.data)?;
        npy::write(&folder.join("top_left.npy"), &[self.n, 2], &corners)?;
        let meta = serde_json::json!({ "width": self.width, "height": self.height, "n": self.n, "window": self.side });
        npy::write_parts(&folder.join("meta.json"), &[format!("{meta:#}\n").as_bytes()])
    }

    /// Unknowns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Side of a window in pixels.
    pub fn window(&self) -> usize {
        self.side
    }

    /// Columns and rows of the picture.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// `(top, left)` of each window.
    pub fn corners(&self) -> &[[i32; 2]] {
        &self.corners
    }

    /// `[n, C, B, B]`.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// Who interacts with whom.
    pub fn graph(&self) -> Graph {
        Graph::of_windows(&self.corners, self.side)
    }

    /// The same patterns in another order: matrix index `i` becomes what was at `order[i]`.
    pub fn reordered(&self, order: &[u32]) -> Result<Self> {
        crate::ordering::inverse(order, self.n)?;
        let each = self.channels * self.side * self.side;
        let data = order.iter().flat_map(|&p| &self.data[p as usize * each..][..each]).copied().collect();
        let corners = order.iter().map(|&p| self.corners[p as usize]).collect();
        Ok(Self { corners, data, ..self.clone() })
    }

    /// Blocks on and above the diagonal in which some windows overlap: block row and block column.
    pub fn block_list(&self) -> Vec<(u32, u32)> {
        let mut blocks: Vec<(u32, u32)> = (0..self.n.div_ceil(BLOCK) as u32).map(|i| (i, i)).collect();
        for (i, near) in self.graph().0.iter().enumerate() {
            let row = (i / BLOCK) as u32;
            blocks.extend(near.iter().map(|&j| (row, j / BLOCK as u32)).filter(|(i, j)| i < j));
        }
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

/// The blocks of `list`, `[C, blocks, 16, 16]`, in their places: offsets, and `[C, D, block rows, 16, 16]`.
pub(crate) fn place<V: Copy + Default>(
    [channels, n]: [usize; 2],
    list: &[(u32, u32)],
    sums: &[V],
) -> (Vec<u32>, Vec<V>) {
    let mut offsets: Vec<u32> = list.iter().map(|(i, j)| j - i).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let nb = n.div_ceil(BLOCK);
    let mut blocks = vec![V::default(); channels * offsets.len() * nb * AREA];
    for c in 0..channels {
        for (at, &(i, j)) in list.iter().enumerate() {
            let k = offsets.binary_search(&(j - i)).unwrap_or_default();
            let to = ((c * offsets.len() + k) * nb + i as usize) * AREA;
            blocks[to..to + AREA].copy_from_slice(&sums[(c * list.len() + at) * AREA..][..AREA]);
        }
    }
    (offsets, blocks)
}

impl Patterns {
    /// Reads a folder with `patterns.npy` of bytes, `top_left.npy` and `meta.json` (`width`, `height`).
    pub fn load(folder: &Path) -> Result<Self> {
        let (patterns, top_left, size) = files(folder)?;
        Self::load_arrays(&patterns, &top_left, size)
    }

    /// Reads patterns of bytes and corners from two files.
    pub fn load_arrays(patterns: &Path, top_left: &Path, size: [usize; 2]) -> Result<Self> {
        Self::of_array(npy::read(patterns)?, patterns, top_left, size)
    }

    /// The Gram matrix: exact integer sums over the overlaps of the windows, and their real values rounded once.
    pub fn gram<B: AtaBackend>(&self, b: &B, scale: Scale) -> Result<(BlockDiag, BlockDiagInt)> {
        let list = self.block_list();
        let sums = kernels::gram_u8(b, self, &list)?;
        let (offsets, blocks) = place([self.channels, self.n], &list, &sums);
        let exact = BlockDiagInt { channels: self.channels, n: self.n, offsets, blocks }.pruned();
        let real = exact.to_real(scale)?;
        Ok((real, exact))
    }
}

impl Patterns<f32> {
    /// Reads a folder with `patterns.npy` of `f32`, `top_left.npy` and `meta.json` (`width`, `height`).
    pub fn load_f32(folder: &Path) -> Result<Self> {
        let (patterns, top_left, size) = files(folder)?;
        Self::of_array(npy::read(&patterns)?, &patterns, &top_left, size)
    }

    /// The Gram matrix, each element summed in `f64` and rounded once.
    pub fn gram_f32<B: AtaBackend>(&self, b: &B) -> Result<BlockDiag> {
        let list = self.block_list();
        let (offsets, blocks) = place([self.channels, self.n], &list, &kernels::gram_f32(b, self, &list)?);
        BlockDiag::of_sums([self.channels, self.n], offsets, blocks)
    }
}

/// The arrays of a folder, and columns and rows of the picture.
pub(crate) fn files(folder: &Path) -> Result<(PathBuf, PathBuf, [usize; 2])> {
    let path = folder.join("meta.json");
    let text =
        std::fs::read_to_string(&path).map_err(|e| AtaError::file(&path, "file", format!("cannot be read: {e}")))?;
    let meta: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| AtaError::file(&path, "JSON", e.to_string()))?;
    let number = |key: &str| {
        let v = meta[key].as_u64().and_then(|v| usize::try_from(v).ok());
        v.ok_or_else(|| AtaError::file(&path, key, "is missing or no whole number"))
    };
    Ok((folder.join("patterns.npy"), folder.join("top_left.npy"), [number("width")?, number("height")?]))
}

impl BlockDiag {
    /// From sums of patterns in their places.
    pub(crate) fn of_sums([channels, n]: [usize; 2], offsets: Vec<u32>, blocks: Vec<f32>) -> Result<Self> {
        let mut out = Self::zeros(channels, n, offsets)?;
        if let Some(at) = blocks.iter().position(|v| !v.is_finite()) {
            let why = format!("the sum at {at} is beyond f32; scale the patterns");
            return Err(AtaError::Overflow { what: "Gram matrix".into(), why });
        }
        out.blocks = blocks;
        out.prune()?;
        Ok(out)
    }
}

impl BlockDiagInt {
    /// Without block diagonals of zeros.
    pub(crate) fn pruned(mut self) -> Self {
        let area = self.n.div_ceil(BLOCK) * AREA;
        let d = self.offsets.len();
        let some =
            |k: usize| (0..self.channels).any(|c| self.blocks[(c * d + k) * area..][..area].iter().any(|&v| v != 0));
        let kept: Vec<usize> = (0..d).filter(|&k| k == 0 || some(k)).collect();
        let planes = (0..self.channels).flat_map(|c| kept.iter().map(move |k| c * d + k));
        self.blocks = planes.flat_map(|p| &self.blocks[p * area..][..area]).copied().collect();
        self.offsets = kept.iter().map(|&k| self.offsets[k]).collect();
        self
    }

    /// The matrix in `f32`, each element rounded once.
    pub fn to_real(&self, scale: Scale) -> Result<BlockDiag> {
        let unit = if scale == Scale::Unit { BYTE_SQUARED } else { 1.0 };
        let mut out = BlockDiag::zeros(self.channels, self.n, self.offsets.clone())?;
        out.blocks.iter_mut().zip(&self.blocks).for_each(|(v, &g)| *v = (f64::from(g) / unit) as f32);
        out.find_mask();
        Ok(out)
    }

    /// The matrix in `f64` for the reference solver: every element over 65025.
    pub fn to_f64(&self) -> Result<crate::reference::Matrix64> {
        check_offsets(&self.offsets, self.n.div_ceil(BLOCK))?;
        let values = self.blocks.iter().map(|&g| f64::from(g) / BYTE_SQUARED).collect();
        crate::reference::Matrix64::new(self.channels, self.n, self.offsets.clone(), values)
    }
}

/// Where the channels of a frame lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameLayout {
    /// `[F, C, H, W]`
    #[default]
    Planar,
    /// `[F, H, W, C]`
    Interleaved,
}

/// What becomes of a byte of a frame before it is summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing.
    #[default]
    Identity,
    /// A table of 256 values for each channel; real values are the table's over 65535.
    Table(Vec<[u16; 256]>),
}

impl Transfer {
    /// sRGB to linear light in 16 bits, for every channel.
    pub fn srgb(channels: usize) -> Self {
        let linear = |v: usize| {
            let s = v as f64 / 255.0;
            let l = if s <= 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) };
            (65535.0 * l + 0.5).floor() as u16
        };
        Self::Table(vec![std::array::from_fn(linear); channels])
    }

    /// What the sums are divided by.
    pub fn unit(&self) -> f64 {
        match self {
            Self::Identity => BYTE_SQUARED,
            Self::Table(_) => 255.0 * 65535.0,
        }
    }
}

/// `b = Mᵀ frames` as exact integer sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atb {
    /// Frames, channels, unknowns.
    pub shape: [usize; 3],
    /// The sums.
    pub sums: Vec<u64>,
}

impl Atb {
    /// Real values, each rounded once.
    pub fn to_f32(&self, unit: f64) -> Vec<f32> {
        self.sums.iter().map(|&s| (s as f64 / unit) as f32).collect()
    }
}

/// Patterns in the memory of a device.
#[derive(Debug)]
pub struct DevicePatterns<B: gpu_core::Backend, T: Elem = u8> {
    pub(crate) n: usize,
    pub(crate) channels: usize,
    pub(crate) side: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) data: Tensor<B, T, 1>,
    pub(crate) corners: Tensor<B, i32, 2>,
    /// Stands for the table of pixels where there is none.
    pub(crate) no_table: Tensor<B, u16, 1>,
    /// Columns and rows of tiles.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device stage tiles"))]
    pub(crate) tiles: [u32; 2],
    /// Where the members of each tile begin, and the end.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device stage tiles"))]
    pub(crate) starts: Tensor<B, u32, 1>,
    /// Unknowns whose windows begin in each tile.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device stage tiles"))]
    pub(crate) members: Tensor<B, u32, 1>,
}

/// Side of the tiles that unknowns are sorted into by the corners of their windows.
pub(crate) const TILE: usize = 32;

impl<B: gpu_core::Backend, T: Texel> DevicePatterns<B, T> {
    /// Uploads patterns; usable on every queue of the device.
    pub fn new(b: &B, p: &Patterns<T>) -> Result<Self> {
        let corners: Vec<i32> = p.corners.iter().flatten().copied().collect();
        let tiles = [p.width.div_ceil(TILE), p.height.div_ceil(TILE)];
        let tile = |l: usize| p.corners[l][0] as usize / TILE * tiles[0] + p.corners[l][1] as usize / TILE;
        let mut starts = vec![0u32; tiles[0] * tiles[1] + 1];
        (0..p.n).for_each(|l| starts[tile(l) + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut members: Vec<u32> = (0..p.n as u32).collect();
        members.sort_by_key(|&l| tile(l as usize));
        Ok(Self {
            tiles: tiles.map(|v| v as u32),
            starts: Tensor::from_slice(b, [starts.len()], &starts)?.share(b)?,
            members: Tensor::from_slice(b, [members.len()], &members)?.share(b)?,
            n: p.n,
            channels: p.channels,
            side: p.side,
            width: p.width,
            height: p.height,
            data: Tensor::from_slice(b, [p.data.len()], &p.data)?.share(b)?,
            corners: Tensor::from_slice(b, [p.n, 2], &corners)?.share(b)?,
            no_table: Tensor::zeros(b, [1])?.share(b)?,
        })
    }
}
