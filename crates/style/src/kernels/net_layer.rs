//! What the layers of the network plan share: element types, the deferred norm, parameters, scratch memory.
//!
//! Activations lie channels-last, `[n][h][w][c]`, raw: before their instance norm. A layer also writes the *coefficients*
//! with which whoever reads its output normalises it, from the mean `μ` and the biased variance `σ²` of each image and
//! channel, taken from the sums before they are rounded to the element type:
//!
//! * `f32`: `μ, s = γ / √(σ² + ε), β`, applied as `fma(x − μ, s, β)`, which is exactly `β` where all values are equal;
//! * `f16`: `s, t = β − s μ`, applied as `fma(x, s, t)` in f32. Where f16 cannot tell the values of a plane from their
//!   mean, `μ` is taken as f16 has it, so that a flat plane becomes `β` here too.
//!
//! Statistics travel from blocks of threads to coefficients in a fixed order (`kernels/net.cuh`): partial moments of a
//! tile in f32, merged in f64 by whichever block comes last. Results do not depend on the order in which blocks run.

use std::fmt::Debug;

use gpu_core::{Backend, Cpu, Elem, Error, Result, View, ViewMut};
use half::f16;
use rustacuda_derive::DeviceCopy;

use crate::mix::Rounding;

/// Added to each variance inside the root.
pub const NET_EPSILON: f32 = 1e-5;
/// Subtracted from the input picture: the norm behind the first layer takes it back, sums get smaller, and bytes stay
/// exact in f16.
pub const NET_CENTRE: f32 = 128.0;
/// The largest number of `f16`; what lies beyond is held there.
pub(crate) const LARGEST_F16: f32 = 65504.0;

pub(crate) const RELU: u32 = 1;
pub(crate) const ADD: u32 = 2;
pub(crate) const KEEP: u32 = 4;
pub(crate) const ROUND: u32 = 8;

/// What every layer's kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct NetParams {
    /// Rows of the input.
    pub h: i32,
    /// Columns of the input.
    pub w: i32,
    /// Rows of the output.
    pub ho: i32,
    /// Columns of the output.
    pub wo: i32,
    /// Tiles in a row of tiles.
    pub tiles_x: i32,
    /// Rows of tiles.
    pub tiles_y: i32,
    /// Groups of partial statistics.
    pub groups: i32,
    /// Partial statistics of a group.
    pub group_size: i32,
    /// Channels of the input, padded.
    pub cin: i32,
    /// Channels of the output, padded.
    pub cout: i32,
    /// `RELU`, `ADD`, `KEEP`, `ROUND`.
    pub flags: u32,
    /// Added to each variance.
    pub eps: f32,
}

/// Tiles for large or for small images: the second makes more blocks of less work. Results differ by rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tiles {
    /// For images that fill the device.
    Wide,
    /// For images that do not.
    Small,
}

impl Tiles {
    /// As in names of kernels.
    #[cfg(feature = "cuda")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Small => "small",
        }
    }
}

/// How a layer's work is cut, and what one block of threads takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Rows and columns of a tile of the output, or for upsampling layers of the input.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Output channels of a block.
    pub(crate) channels: usize,
    /// Partial statistics of a tile.
    pub(crate) parts: usize,
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(crate) shared: u32,
}

/// Images of a batch, their size and their channels (padded to what the element type wants).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scene {
    /// Images.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Scene {
    /// Elements of all images.
    pub fn len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses what 32-bit coordinates cannot hold: images of more than 2³¹ − 1 pixels, more than 65 535 of them.
    pub(crate) fn check(&self) -> Result<()> {
        let pixels = self.h.checked_mul(self.w).filter(|&pixels| pixels > 0 && i32::try_from(pixels).is_ok());
        if pixels.is_none() || self.h > 1 << 30 || self.w > 1 << 30 {
            return Err(Error::value("image", format!("{} x {} pixels cannot be worked on", self.w, self.h)));
        }
        if self.n == 0 || self.n > 65_535 || self.c == 0 || self.c > 1 << 20 {
            return Err(Error::value("batch", format!("{} images of {} channels", self.n, self.c)));
        }
        self.n
            .checked_mul(self.h * self.w)
            .and_then(|all| all.checked_mul(4 * self.c))
            .filter(|&all| isize::try_from(all).is_ok())
            .map(|_| ())
            .ok_or_else(|| Error::value("batch", format!("{} images of this size are too many", self.n)))
    }
}

/// Numbers that activations are stored in: `f16` or `f32`.
pub trait NetElem: Elem + Debug {
    /// As in names of kernels.
    const NAME: &'static str;
    /// Numbers of a channel's coefficients.
    const COEFFICIENTS: usize;
    /// Channels are padded to multiples of this.
    const CHANNELS: usize;
    /// The nearest value, held inside the range.
    fn from_f32(v: f32) -> Self;
    /// Widened.
    fn to_f32(self) -> f32;
    /// The coefficients of a channel, unused ones 0.
    fn coefficients(mean: f64, variance: f64, gamma: f32, beta: f32, eps: f32) -> [f32; 3];
    /// The norm with such coefficients.
    fn normalised(self, coefficients: &[f32]) -> f32;
    /// Whether a value is beyond the range, or none.
    fn escapes(v: f32) -> bool;
    /// The smallest channels of the first layer that are at least `nc`, if there are such; the next ones are twice as
    /// many.
    fn base_channels(nc: usize) -> Option<usize>;
}

impl NetElem for f32 {
    const NAME: &'static str = "f32";
    const COEFFICIENTS: usize = 3;
    const CHANNELS: usize = 32;

    fn from_f32(v: f32) -> Self {
        v
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn coefficients(mean: f64, variance: f64, gamma: f32, beta: f32, eps: f32) -> [f32; 3] {
        [mean as f32, (f64::from(gamma) / (variance + f64::from(eps)).sqrt()) as f32, beta]
    }
    fn normalised(self, c: &[f32]) -> f32 {
        (self - c[0]).mul_add(c[1], c[2])
    }
    fn escapes(_: f32) -> bool {
        false
    }
    fn base_channels(nc: usize) -> Option<usize> {
        Some(nc.next_multiple_of(Self::CHANNELS))
    }
}

impl NetElem for f16 {
    const NAME: &'static str = "f16";
    const COEFFICIENTS: usize = 2;
    const CHANNELS: usize = 16;

    fn from_f32(v: f32) -> Self {
        f16::from_f32(v.clamp(-LARGEST_F16, LARGEST_F16))
    }
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    fn coefficients(mean: f64, variance: f64, gamma: f32, beta: f32, eps: f32) -> [f32; 3] {
        let nearest = f64::from(f16::from_f32(mean as f32));
        let mean = if variance <= (nearest - mean).powi(2) { nearest } else { mean };
        let scale = f64::from(gamma) / (variance + f64::from(eps)).sqrt();
        [scale as f32, (f64::from(beta) - scale * mean) as f32, 0.0]
    }
    fn normalised(self, c: &[f32]) -> f32 {
        f16::to_f32(self).mul_add(c[0], c[1])
    }
    fn escapes(v: f32) -> bool {
        v.is_nan() || v.abs() >= LARGEST_F16
    }
    fn base_channels(nc: usize) -> Option<usize> {
        [16, 32].into_iter().find(|&width| nc <= width)
    }
}

/// What pictures go in and out as: planes of `f32` `[n][3][h][w]`, or bytes `[n][h][w][3]`, both RGB in 0..255.
pub trait Sample: Elem + Default {
    /// As in names of kernels.
    const NAME: &'static str;
    /// Widened.
    fn value(self) -> f32;
    /// From a result of the network: as it is, or clamped to 0..255 and made a whole number.
    fn of(v: f32, rounding: Rounding) -> Self;
    /// Where a value lies: image, row, column, channel, in pictures of this size.
    fn at(h: usize, w: usize, at: [usize; 4]) -> usize;
}

impl Sample for f32 {
    const NAME: &'static str = "planes";
    fn value(self) -> f32 {
        self
    }
    fn of(v: f32, _: Rounding) -> Self {
        v
    }
    fn at(h: usize, w: usize, [n, y, x, c]: [usize; 4]) -> usize {
        ((n * 3 + c) * h + y) * w + x
    }
}

impl Sample for u8 {
    const NAME: &'static str = "bytes";
    fn value(self) -> f32 {
        f32::from(self)
    }
    fn of(v: f32, rounding: Rounding) -> Self {
        rounding.apply(v, 255.0) as Self
    }
    fn at(h: usize, w: usize, [n, y, x, c]: [usize; 4]) -> usize {
        ((n * h + y) * w + x) * 3 + c
    }
}

/// The parameters of a layer: input and output size, tile, flags.
pub(crate) fn params(from: Scene, to: Scene, tiled: [usize; 2], tile: Tile, flags: u32) -> NetParams {
    let (tiles_y, tiles_x) = (tiled[0].div_ceil(tile.rows), tiled[1].div_ceil(tile.cols));
    let parts = tiles_x * tiles_y * tile.parts;
    let group_size = if parts <= 64 { parts } else { parts.isqrt().max(32) };
    NetParams {
        h: from.h as i32,
        w: from.w as i32,
        ho: to.h as i32,
        wo: to.w as i32,
        tiles_x: tiles_x as i32,
        tiles_y: tiles_y as i32,
        groups: parts.div_ceil(group_size) as i32,
        group_size: group_size as i32,
        cin: from.c as i32,
        cout: to.c as i32,
        flags,
        eps: NET_EPSILON,
    }
}

/// Memory through which statistics go; one serves the layers of a network one after the other.
#[derive(Debug)]
pub struct NetScratch<B: Backend> {
    pub(crate) partial: B::Buf<f32>,
    pub(crate) grouped: B::Buf<f32>,
    /// 0 before and after each layer.
    pub(crate) tickets: B::Buf<u32>,
    /// How many tiles may have left the range of the element type, by channels, since the last layer ran.
    pub(crate) saturated: B::Buf<u32>,
}

/// Elements that a layer needs of each buffer of a [`NetScratch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScratchSize {
    partial: usize,
    grouped: usize,
    tickets: usize,
}

impl ScratchSize {
    pub(crate) fn of(n: usize, p: &NetParams, tile: Tile) -> Self {
        let parts = p.tiles_x as usize * p.tiles_y as usize * tile.parts;
        let (groups, cout) = (p.groups as usize, p.cout as usize);
        Self {
            partial: n * parts * cout * 2,
            grouped: n * groups * cout * 4,
            tickets: n * (cout / tile.channels) * (groups + 1),
        }
    }

    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            partial: self.partial.max(other.partial),
            grouped: self.grouped.max(other.grouped),
            tickets: self.tickets.max(other.tickets),
        }
    }
}

impl<B: Backend> NetScratch<B> {
    /// Memory for one layer that reads `from` and writes `cout` channels.
    ///
    /// # Errors
    /// When the element type has no kernel for these channels, or the device no room.
    pub fn for_layer<T: NetElem>(b: &B, window: Window, from: Scene, cout: usize, tiles: Tiles) -> Result<Self> {
        let to = super::net_body_output(window, from, cout);
        let tile = match window {
            Window::First => super::net_first_tile::<T>(cout, tiles).0,
            _ => super::net_body_tile::<T>(window, from.c, cout, tiles)?.0,
        };
        let tiled = if window == Window::Up { from } else { to };
        Self::new(b, ScratchSize::of(to.n, &params(from, to, [tiled.h, tiled.w], tile, 0), tile))
    }

    pub(crate) fn new(b: &B, size: ScratchSize) -> Result<Self> {
        Ok(Self {
            partial: b.scratch(size.partial)?,
            grouped: b.scratch(size.grouped)?,
            tickets: b.zeros(size.tickets)?,
            saturated: b.zeros(1)?,
        })
    }

    pub(crate) fn check(&self, size: ScratchSize) -> Result<()> {
        use gpu_core::Buffer as _;
        let have = [self.partial.len(), self.grouped.len(), self.tickets.len()];
        let want = [size.partial, size.grouped, size.tickets];
        if have.iter().zip(&want).all(|(have, want)| have >= want) {
            return Ok(());
        }
        Err(Error::shape("scratch", &want, &have))
    }
}

/// A layer's weights as a backend wants them, for both kinds of tiles; usable on every queue of the device.
#[derive(Debug)]
pub struct NetWeights<B: Backend, T: Elem> {
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    pub(crate) window: Window,
    packed: [Option<B::Buf<T>>; 2],
}

/// What a layer does with its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// 9 × 9 from three colours.
    First,
    /// 3 × 3.
    Same,
    /// 3 × 3 at every second row and column.
    Down,
    /// Nearest × 2, then 3 × 3: four 2 × 2 windows on the source, one for each parity of row and column.
    Up,
    /// 9 × 9 to three colours.
    Last,
}

impl Window {
    /// Side of the window as it is applied.
    pub(crate) fn side(self) -> usize {
        match self {
            Self::First | Self::Last => 9,
            Self::Same | Self::Down => 3,
            Self::Up => 2,
        }
    }

    /// Windows that share an input.
    pub(crate) fn phases(self) -> usize {
        if self == Self::Up { 4 } else { 1 }
    }
}

/// Weights in the order `[phase][in][row][column][out]`, with channels that the model does not have as zeros.
#[derive(Clone, Debug)]
pub struct Dense<T> {
    pub(crate) window: Window,
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    pub(crate) values: Vec<T>,
}

impl<T: NetElem> Dense<T> {
    /// From a model's weights `[out][in][k][k]`. The taps that meet one source pixel behind nearest × 2 are summed in
    /// f64, and rounded once.
    pub(crate) fn new(
        window: Window,
        [out, inn]: [usize; 2],
        [cout, cin]: [usize; 2],
        weights: &[f32],
    ) -> Result<Self> {
        let k = if window == Window::Up { 3 } else { window.side() };
        if weights.len() != out * inn * k * k || out > cout || inn > cin {
            return Err(Error::shape("weights", &[out, inn, k, k], &[weights.len()]));
        }
        let (side, phases) = (window.side(), window.phases());
        let mut values = vec![T::from_f32(0.0); phases * cin * side * side * cout];
        // Rows (and columns) of the window that meet row `a` of the source, for even and odd rows of the output.
        let rows = |parity: usize, a: usize| match (parity, a) {
            (0, 0) => 0..1,
            (0, _) => 1..3,
            (_, 0) => 0..2,
            _ => 2..3,
        };
        for phase in 0..phases {
            for (c, u, v) in (0..inn * side * side).map(|i| (i / (side * side), i / side % side, i % side)) {
                let to = ((phase * cin + c) * side * side + u * side + v) * cout;
                for o in 0..out {
                    let at = |u: usize, v: usize| f64::from(weights[((o * inn + c) * k + u) * k + v]);
                    let value = if window == Window::Up {
                        let (rows, cols) = (rows(phase / 2, u), rows(phase % 2, v));
                        rows.flat_map(|u| cols.clone().map(move |v| (u, v))).map(|(u, v)| at(u, v)).sum()
                    } else {
                        at(u, v)
                    };
                    values[to + o] = T::from_f32(value as f32);
                }
            }
        }
        Ok(Self { window, cin, cout, values })
    }

    /// The weight of a product.
    pub(crate) fn at(&self, phase: usize, c: usize, tap: usize, o: usize) -> T {
        let taps = self.window.side().pow(2);
        self.values[((phase * self.cin + c) * taps + tap) * self.cout + o]
    }
}

/// Puts weights in the order that a backend's kernels read.
pub trait NetPack<T: NetElem>: Backend {
    /// The order for some tiles; none when there are no such.
    #[doc(hidden)]
    fn net_pack(dense: &Dense<T>, tiles: Tiles) -> Option<Vec<T>>;
}

impl<T: NetElem> NetPack<T> for Cpu {
    fn net_pack(dense: &Dense<T>, tiles: Tiles) -> Option<Vec<T>> {
        (tiles == Tiles::Wide).then(|| dense.values.clone())
    }
}

impl<B: NetPack<T>, T: NetElem> NetWeights<B, T> {
    /// Uploads the weights `[out][in][k][k]` of a layer whose channels are padded to `[cout, cin]`.
    ///
    /// # Errors
    /// When there are more or fewer weights, or the device has no room.
    pub fn new(b: &B, window: Window, real: [usize; 2], padded: [usize; 2], weights: &[f32]) -> Result<Self> {
        let dense = Dense::<T>::new(window, real, padded, weights)?;
        let mut packed = [None, None];
        for (slot, tiles) in packed.iter_mut().zip([Tiles::Wide, Tiles::Small]) {
            if let Some(values) = B::net_pack(&dense, tiles) {
                let mut buffer = b.scratch(values.len())?;
                b.upload(&values, ViewMut::of(&mut buffer))?;
                *slot = Some(b.share(buffer)?);
            }
        }
        Ok(Self { cin: dense.cin, cout: dense.cout, window, packed })
    }

    pub(crate) fn view(&self, tiles: Tiles) -> Result<View<'_, B, T>> {
        let [wide, small] = &self.packed;
        let chosen = if tiles == Tiles::Small { small.as_ref().or(wide.as_ref()) } else { wide.as_ref() };
        chosen.map(View::of).ok_or_else(|| Error::value("weights", "there are none for this backend"))
    }
}

/// Refuses a view of another length.
pub(crate) fn same(what: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::shape(what, &[want], &[got])) }
}
