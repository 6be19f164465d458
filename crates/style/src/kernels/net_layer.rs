//! What the layers of the network plan share: element types, the deferred norm, parameters, scratch memory.
//!
//! Activations lie channels-last, `[n][h][w][c]`, raw: before their instance norm. Beside them go *statistics* of each image
//! and channel, taken from the sums before they are rounded to the element type, with which whoever reads them normalises:
//!
//! * `f16`: sums of values and of squares in fixed point ([`SUMS`](super::SUMS) entries an image, several copies of each channel, so that
//!   blocks do not queue for one address). Whole numbers add up to the same bits in any order, and the range of f16 bounds
//!   them. The reader makes `s = γ / √(σ² + ε)` and `t = β − s μ` of them, once a block, and applies `fma(x, s, t)` in f32.
//!   Where f16 cannot tell the values of a plane from their mean, `μ` is taken as f16 has it, so that a flat plane becomes
//!   `β`. Sums must be zero before a layer runs; a layer also clears those that nobody reads any more.
//! * `f32`: `μ, s, β`, applied as `fma(x − μ, s, β)`, which is exactly `β` where all values are equal. No fixed point holds
//!   the range of f32: partial moments of each tile are merged in f64 in a fixed order, by whichever block comes last.
//!
//! Results do not depend on the order in which blocks run.

use std::fmt::Debug;

use gpu_core::{Backend, Cpu, Elem, Error, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::net_elem::{NetElem, units};

/// Added to each variance inside the root.
pub const NET_EPSILON: f32 = 1e-5;
/// Subtracted from the input picture: the norm behind the first layer takes it back, sums get smaller, and bytes stay
/// exact in f16.
pub const NET_CENTRE: f32 = 128.0;
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
    /// `f32`: groups of partial statistics.
    pub groups: i32,
    /// `f32`: partial statistics of a group.
    pub group_size: i32,
    /// Channels of the input, padded.
    pub cin: i32,
    /// Channels of the output, padded.
    pub cout: i32,
    /// `RELU`, `ADD`, `KEEP`, `ROUND`.
    pub flags: u32,
    /// Added to each variance.
    pub eps: f32,
    /// `f16`: a unit of the input's sums of values, and of squares.
    pub in_units: [f32; 2],
    /// `f16`: units a 1 of the output's sums.
    pub out_units: [f32; 2],
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
        in_units: units(from.h * from.w).map(f32::recip),
        out_units: units(to.h * to.w),
    }
}

/// The statistics of what a layer reads, and the `γ, β` of its norm by channels.
#[derive(Debug)]
pub struct Norm<'a, B: Backend, T: NetElem> {
    /// `[n]` times [`stats_len`](NetElem::stats_len).
    pub stats: View<'a, B, T::Stat>,
    /// `[channels][2]`.
    pub gamma_beta: View<'a, B, f32>,
}

impl<B: Backend, T: NetElem> Norm<'_, B, T> {
    pub(crate) fn check(&self, n: usize, channels: usize) -> Result<()> {
        same("statistics", n * T::stats_len(channels), self.stats.len())?;
        same("gamma_beta", 2 * channels, self.gamma_beta.len())
    }
}

/// Where a layer's statistics go.
#[derive(Debug)]
pub struct OutNorm<'a, B: Backend, T: NetElem> {
    /// `[n]` times [`stats_len`](NetElem::stats_len); in `f16` zero before.
    pub stats: ViewMut<'a, B, T::Stat>,
    /// `γ, β` of the norm behind the layer, `[channels][2]`.
    pub gamma_beta: View<'a, B, f32>,
}

impl<B: Backend, T: NetElem> OutNorm<'_, B, T> {
    pub(crate) fn check(&self, n: usize, channels: usize) -> Result<()> {
        same("statistics", n * T::stats_len(channels), self.stats.len())?;
        same("gamma_beta", 2 * channels, self.gamma_beta.len())
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
    pub(crate) fn of<T: NetElem>(n: usize, p: &NetParams, tile: Tile) -> Self {
        if T::NAME == "f16" {
            return Self::default();
        }
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
        Self::new(b, ScratchSize::of::<T>(to.n, &params(from, to, [tiled.h, tiled.w], tile, 0), tile))
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
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only layouts for a device ask for it"))]
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
    #[cfg(feature = "cuda")]
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

/// Checks statistics that nobody reads any more.
pub(crate) fn check_old<B: Backend, T: NetElem>(n: usize, old: Option<&ViewMut<'_, B, T::Stat>>) -> Result<()> {
    // All layers have as many in f16; in f32 nothing is cleared.
    let want = n * T::stats_len(0);
    match old {
        Some(old) if T::NAME == "f16" => same("old statistics", want, old.len()),
        _ => Ok(()),
    }
}

/// What the CPU twins do with statistics that nobody reads any more.
pub(crate) fn clear_old<T: NetElem>(b: &Cpu, old: Option<ViewMut<'_, Cpu, T::Stat>>) -> Result<()> {
    if T::NAME == "f16"
        && let Some(old) = old
    {
        b.write(old)?.fill(T::Stat::default());
    }
    Ok(())
}

/// Refuses a view of another length.
pub(crate) fn same(what: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::shape(what, &[want], &[got])) }
}
