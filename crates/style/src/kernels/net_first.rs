//! The first layer: 9 × 9 from a picture, with reflection, raw output and its statistics.
//!
//! `y[n, i, j, o] = Σ_{c,u,v} w[o, c, u, v] (x[n, c, r(i + u − 4), r(j + v − 4)] − 128)`, where `r` reflects at the border
//! of the *scene*; a scene that is larger than the picture continues it by reflection at the bottom and right. The
//! constant 128 vanishes in the norm. The bias would too, and is left out.
//!
//! `f32`: fused multiply-adds over `v`, then compensated sums over `c, u` (a row begins with what rounding took from the
//! sum before), both twins to the bit; statistics differ in the order of the sums.
//! `f16`: operands rounded to f16, sums in f32 in the order of the tensor cores, outputs rounded to f16.
//!
//! Floor: 486 flop (in f16, as padded, 864) for each output, and 3 (bytes) or 12 (planes) bytes in and
//! `cout * size_of::<T>()` bytes out a pixel.

use gpu_core::{Backend, Cpu, Result, View, ViewMut};

use super::net_elem::{NetElem, Sample};
use super::net_layer::{
    NET_CENTRE, NetPack, NetParams, NetScratch, NetWeights, OutNorm, Scene, ScratchSize, Tile, Tiles, check_old,
    clear_old, params, same,
};
use super::net_twin::{self, Finished};

/// What the layer works on.
#[derive(Debug)]
pub struct FirstCall<'a, B: Backend, S: Sample, T: NetElem> {
    /// The pictures, as their type says.
    pub x: View<'a, B, S>,
    /// The layer's weights.
    pub weights: &'a NetWeights<B, T>,
    /// The raw output, channels last.
    pub y: ViewMut<'a, B, T>,
    /// Its statistics.
    pub out: OutNorm<'a, B, T>,
    /// Statistics that nobody reads any more; in `f16` they become zero.
    pub old: Option<ViewMut<'a, B, T::Stat>>,
    /// Memory for statistics.
    pub scratch: &'a mut NetScratch<B>,
}

/// The operation on one backend.
pub trait NetFirst<S: Sample, T: NetElem>: NetPack<T> {
    #[doc(hidden)]
    fn net_first_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: FirstCall<'_, Self, S, T>) -> Result<()>;
}

/// Tile of the layer; twin of `First` in kernels/net_ends.cu, and of `first` in kernels/net_f32.cu.
pub(crate) fn tile<T: NetElem>(cout: usize, tiles: Tiles) -> (Tile, Tiles) {
    let tile = |rows: usize, channels, threads, shared| Tile { rows, cols: 16, channels, parts: 1, threads, shared };
    if T::NAME == "f32" {
        return (tile(16, 32, 128, 0), Tiles::Wide);
    }
    // Narrow layers have one shape.
    let (rows, threads, tiles) = match (tiles, cout) {
        (Tiles::Small, 32) => (8, 128, Tiles::Small),
        (_, 32) => (32, 256, Tiles::Wide),
        _ => (16, 256, Tiles::Wide),
    };
    let copies = 2 * ((rows + 8) * 28 * 8 + 64);
    let shared = 27 * cout * 32 + copies.max(rows * 16 * (cout * 2 + 16));
    (tile(rows, cout, threads, shared as u32), tiles)
}

/// Applies the layer to pictures of `[h, w]` pixels, continued to the size of the scene `to`, whose channels are those
/// of the weights.
///
/// # Errors
/// When a view has another length than the sizes say, the scratch memory is too small, or the scene is smaller than
/// the picture or more than its reflection.
pub fn net_first<B: NetFirst<S, T>, S: Sample, T: NetElem>(
    b: &B,
    [h, w]: [usize; 2],
    to: Scene,
    tiles: Tiles,
    call: FirstCall<'_, B, S, T>,
) -> Result<()> {
    to.check()?;
    let from = Scene { h, w, c: 3, ..to };
    if h < 5 || w < 5 || h > to.h || w > to.w || to.h >= 2 * h || to.w >= 2 * w {
        return Err(gpu_core::Error::shape("picture", &[to.h, to.w], &[h, w]));
    }
    if call.weights.window != super::Window::First || call.weights.cout != to.c {
        return Err(gpu_core::Error::shape("weights", &[to.c, 3, 9, 9], &[call.weights.cout, call.weights.cin]));
    }
    let (tile, tiles) = tile::<T>(to.c, tiles);
    let p = params(from, to, [to.h, to.w], tile, 0);
    same("x", from.len(), call.x.len())?;
    same("y", to.len(), call.y.len())?;
    call.out.check(to.n, to.c)?;
    check_old::<B, T>(to.n, call.old.as_ref())?;
    call.scratch.check(ScratchSize::of::<T>(to.n, &p, tile))?;
    b.net_first_unchecked(p, to.n, tiles, call)
}

impl<S: Sample, T: NetElem> NetFirst<S, T> for Cpu {
    fn net_first_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: FirstCall<'_, Self, S, T>) -> Result<()> {
        let FirstCall { x, weights, y, out, old, scratch } = call;
        let [h, w, ho, wo] = [p.h, p.w, p.ho, p.wo].map(|side| side as usize);
        let cout = p.cout as usize;
        let values: Vec<f32> = self.read(weights.view(tiles)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, y) = (self.read(x)?, self.write(y)?);
        let (gamma_beta, stats) = (self.read(out.gamma_beta)?, self.write(out.stats)?);
        let mut escaped = 0;
        let images = y.chunks_exact_mut(ho * wo * cout).zip(stats.chunks_exact_mut(T::stats_len(cout)));
        for (image, (y, stats)) in images.enumerate().take(n) {
            let continued = |i: usize, n: usize| if i < n { i } else { 2 * (n - 1) - i };
            let value = |i: usize| {
                let (row, col, c) = (i / 3 / wo, i / 3 % wo, i % 3);
                let sample = x[S::at(h, w, [image, continued(row, h), continued(col, w), c])].value();
                T::from_f32(sample - NET_CENTRE).to_f32()
            };
            let picture = Finished { first: 0, h: ho, w: wo, c: 3, values: (0..ho * wo * 3).map(value).collect() };
            let sums = net_twin::convolve(&picture, super::Window::First, &values, cout, 0..ho, wo);
            escaped += net_twin::record::<T>(&sums, gamma_beta, stats);
            y.iter_mut().zip(&sums).for_each(|(y, &v)| *y = T::from_f32(v));
        }
        self.write(ViewMut::of(&mut scratch.saturated))?[0] += escaped;
        clear_old::<T>(self, old)
    }
}

#[cfg(feature = "cuda")]
impl<S: Sample, T: NetElem> NetFirst<S, T> for gpu_core::Cuda
where
    Self: NetPack<T>,
{
    fn net_first_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: FirstCall<'_, Self, S, T>) -> Result<()> {
        let FirstCall { x, weights, y, out, old, scratch } = call;
        let (tile, _) = tile::<T>(p.cout as usize, tiles);
        let half = T::NAME == "f16";
        let name = if half {
            format!("net_first_{}_{}_{}", S::NAME, p.cout, tiles.name())
        } else {
            format!("net_first_{}_f32", S::NAME)
        };
        let mut launch = self.kernel(&super::cuda::KERNELS, &name)?.read(x)?.read(weights.view(tiles)?)?.write(y)?;
        launch = if half {
            let launch = super::cuda::optional(launch.write(out.stats)?, old)?;
            launch.write(ViewMut::of(&mut scratch.saturated))?
        } else {
            launch
                .write(ViewMut::of(&mut scratch.partial))?
                .write(ViewMut::of(&mut scratch.grouped))?
                .write(ViewMut::of(&mut scratch.tickets))?
                .read(out.gamma_beta)?
                .write(out.stats)?
        };
        let launch = launch
            .arg(p)
            .grid(((p.tiles_x * p.tiles_y) as u32, p.cout as u32 / tile.channels as u32, n as u32))
            .block((tile.threads, 1, 1))
            .shared(tile.shared);
        // SAFETY: the parameters of NET_FIRST in kernels/net_ends.cu and kernels/net_f32.cu; `net_first` has checked the
        // lengths of all views, and that the scratch memory is large enough for this tile.
        unsafe { launch.launch() }
    }
}
