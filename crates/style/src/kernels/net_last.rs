//! The last layer: the deferred norm and ReLU of the layer before, 9 × 9 to three colours, with reflection, bias, and the
//! picture as it goes out.
//!
//! `y[n, i, j, k] = bias[k] + Σ_{c,u,v} w[k, c, u, v] z[n, r(i + u − 4), r(j + v − 4), c]` with `z = max(A(x), 0)`. Planes
//! of `f32` get it as it is, bytes clamped to 0..255 and truncated (or rounded to the nearest). Rows and columns beyond
//! the size asked for are not computed.
//!
//! `f32`: fused multiply-adds in the order `c, u, v`, both twins to the bit. `f16`: `z` rounded to f16, sums in f32.
//!
//! The layer also hands out the count of tiles that left the range since the layer ran last, and sets it to 0.
//!
//! Floor: `486 · cin` flop (in f16, as padded, `18 · 32 · cin`), and the input and the output once, in bytes.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};

use super::net_elem::{NetElem, Sample};
use super::net_layer::{
    NetPack, NetParams, NetScratch, NetWeights, Norm, RELU, ROUND, Scene, Tile, Tiles, Window, check_old, clear_old,
    params, same,
};
use super::net_twin::{self, Finished};
use crate::mix::Rounding;

/// What the layer works on.
#[derive(Debug)]
pub struct LastCall<'a, B: Backend, S: Sample, T: NetElem> {
    /// The raw output of the layer before, channels last.
    pub x: View<'a, B, T>,
    /// Its statistics.
    pub norm: Norm<'a, B, T>,
    /// The layer's weights.
    pub weights: &'a NetWeights<B, T>,
    /// One value for each colour.
    pub bias: View<'a, B, f32>,
    /// The pictures, as their type says.
    pub y: ViewMut<'a, B, S>,
    /// How bytes become whole.
    pub rounding: Rounding,
    /// Statistics that nobody reads any more; in `f16` they become zero.
    pub old: Option<ViewMut<'a, B, T::Stat>>,
    /// One number: tiles that left the range of the element type, and 0 if the result can be trusted.
    pub flag: ViewMut<'a, B, u32>,
    /// Memory for statistics, which holds the count.
    pub scratch: &'a mut NetScratch<B>,
}

/// The operation on one backend.
pub trait NetLast<S: Sample, T: NetElem>: NetPack<T> {
    #[doc(hidden)]
    fn net_last_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: LastCall<'_, Self, S, T>) -> Result<()>;
}

/// Tile of the layer; twin of `Last` in kernels/net_ends.cu, and of `last` in kernels/net_f32.cu.
pub(crate) fn tile<T: NetElem>(cin: usize, tiles: Tiles) -> (Tile, Tiles) {
    let tile = |rows, cols, threads, shared| Tile { rows, cols, channels: 3, parts: 1, threads, shared };
    if T::NAME == "f32" {
        return (tile(32, 32, 128, 0), Tiles::Wide);
    }
    let (cols, tiles) = if tiles == Tiles::Small && cin == 32 { (32, Tiles::Small) } else { (64, Tiles::Wide) };
    let shared = 9 * cin / 16 * 32 * 32 + (16 * cols * (2 * cin + 16)).max(8 * cols * 29 * 4);
    (tile(8, cols - 8, 4 * cols as u32, shared as u32), tiles)
}

/// Applies the layer to the images `from`, whose channels are those of the weights, and writes pictures of `to` pixels:
/// the input's size, or fewer rows and columns.
///
/// # Errors
/// When a view has another length than the sizes say.
pub fn net_last<B: NetLast<S, T>, S: Sample, T: NetElem>(
    b: &B,
    from: Scene,
    [ho, wo]: [usize; 2],
    tiles: Tiles,
    call: LastCall<'_, B, S, T>,
) -> Result<()> {
    from.check()?;
    let to = Scene { h: ho, w: wo, c: 3, ..from };
    to.check()?;
    if ho > from.h || wo > from.w || from.h < 5 || from.w < 5 {
        return Err(Error::shape("picture", &[from.h, from.w], &[ho, wo]));
    }
    if call.weights.window != Window::Last || call.weights.cin != from.c {
        return Err(Error::shape("weights", &[3, from.c, 9, 9], &[call.weights.cout, call.weights.cin]));
    }
    let (tile, tiles) = tile::<T>(from.c, tiles);
    let flags = RELU | if call.rounding == Rounding::Nearest { ROUND } else { 0 };
    let p = params(from, to, [ho, wo], tile, flags);
    same("x", from.len(), call.x.len())?;
    call.norm.check(from.n, from.c)?;
    check_old::<B, T>(from.n, call.old.as_ref())?;
    same("bias", 3, call.bias.len())?;
    same("y", to.len(), call.y.len())?;
    same("flag", 1, call.flag.len())?;
    b.net_last_unchecked(p, to.n, tiles, call)
}

impl<S: Sample, T: NetElem> NetLast<S, T> for Cpu {
    fn net_last_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: LastCall<'_, Self, S, T>) -> Result<()> {
        let LastCall { x, norm, weights, bias, y, rounding, old, flag, scratch } = call;
        let [h, w, ho, wo, cin] = [p.h, p.w, p.ho, p.wo, p.cin].map(|side| side as usize);
        let values: Vec<f32> = self.read(weights.view(tiles)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, bias, y) = (self.read(x)?, self.read(bias)?, self.write(y)?);
        let (stats, gamma_beta) = (self.read(norm.stats)?, self.read(norm.gamma_beta)?);
        for image in 0..n {
            let stats = &stats[image * T::stats_len(cin)..][..T::stats_len(cin)];
            let norm = net_twin::coefficients::<T>(stats, gamma_beta, h * w);
            let finish = |(i, &x): (usize, &T)| T::from_f32(x.normalised(&norm[i % cin * 3..]).max(0.0)).to_f32();
            let raw = &x[image * h * w * cin..][..h * w * cin];
            let finished = Finished { first: 0, h, w, c: cin, values: raw.iter().enumerate().map(finish).collect() };
            let sums = net_twin::convolve(&finished, Window::Last, &values, 3, 0..ho, wo);
            for (i, sum) in sums.iter().enumerate() {
                let at = S::at(ho, wo, [image, i / 3 / wo, i / 3 % wo, i % 3]);
                y[at] = S::of(sum + bias[i % 3], rounding);
            }
        }
        let saturated = &mut self.write(ViewMut::of(&mut scratch.saturated))?[0];
        self.write(flag)?[0] = std::mem::take(saturated);
        clear_old::<T>(self, old)
    }
}

#[cfg(feature = "cuda")]
impl<S: Sample, T: NetElem> NetLast<S, T> for gpu_core::Cuda
where
    Self: NetPack<T>,
{
    fn net_last_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: LastCall<'_, Self, S, T>) -> Result<()> {
        let LastCall { x, norm, weights, bias, y, old, flag, scratch, .. } = call;
        let (tile, _) = tile::<T>(p.cin as usize, tiles);
        let half = T::NAME == "f16";
        let name = if half {
            format!("net_last_{}_{}_{}", S::NAME, p.cin, tiles.name())
        } else {
            format!("net_last_{}_f32", S::NAME)
        };
        let mut launch = self.kernel(&super::cuda::KERNELS, &name)?.read(x)?.read(norm.stats)?;
        if half {
            launch = launch.read(norm.gamma_beta)?;
        }
        launch = launch.read(weights.view(tiles)?)?.read(bias)?;
        if half {
            launch = super::cuda::optional(launch, old)?;
        }
        let launch = launch
            .write(ViewMut::of(&mut scratch.saturated))?
            .write(flag)?
            .write(y)?
            .arg(p)
            .grid(((p.tiles_x * p.tiles_y) as u32, 1, n as u32))
            .block((tile.threads, 1, 1))
            .shared(tile.shared);
        // SAFETY: the parameters of NET_LAST in kernels/net_ends.cu and kernels/net_f32.cu; `net_last` has checked the
        // lengths of all views.
        unsafe { launch.launch() }
    }
}
