//! The 3 × 3 layers: the deferred norm of the layer before, ReLU or the sum of a residual block, a convolution, raw output
//! and its statistics.
//!
//! With `z = A(x)`, the norm with the coefficients that came with `x`, plus `add` where given, then `max(z, 0)` where
//! wanted, rounded to the element type (and written to `keep` where given):
//!
//! * `Same`: `y[i, j, o] = Σ w[o, c, u, v] z[r(i + u − 1), r(j + v − 1), c]`, `r` the reflection;
//! * `Down`: the same at every second row and column;
//! * `Up`: the same on `z` enlarged by nearest × 2, computed as four 2 × 2 windows on `z` with summed weights. The
//!   reflection of the enlarged image is the edge of its source: indices are clamped.
//!
//! `f32`: fused multiply-adds in the order `c, u, v`, both twins to the bit. `f16`: sums in f32 in the order of the tensor
//! cores, outputs rounded to f16. A value may be kept 65504 at most; tiles that reach it are counted.
//!
//! Floor: `18 · cin` flop an output (`Up`: `8 · cin`), and the input and the output once, in bytes; with `add` and `keep`
//! twice more the input.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};

use super::net_elem::NetElem;
use super::net_layer::{
    ADD, KEEP, NetPack, NetParams, NetScratch, NetWeights, Norm, OutNorm, RELU, Scene, ScratchSize, Tile, Tiles,
    Window, check_old, clear_old, params, same,
};
use super::net_twin::{self, Finished};

/// What the layer works on.
#[derive(Debug)]
pub struct BodyCall<'a, B: Backend, T: NetElem> {
    /// The raw output of the layer before, channels last.
    pub x: View<'a, B, T>,
    /// Its statistics.
    pub norm: Norm<'a, B, T>,
    /// Whether negative values become 0.
    pub relu: bool,
    /// The input of the residual block that ends here. Not for `Down`.
    pub add: Option<View<'a, B, T>>,
    /// Where the finished input goes, for the sum at the end of the residual block that begins here. `Same` alone.
    pub keep: Option<ViewMut<'a, B, T>>,
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
pub trait NetBody<T: NetElem>: NetPack<T> {
    #[doc(hidden)]
    fn net_body_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: BodyCall<'_, Self, T>) -> Result<()>;
}

/// Shape of a kernel in f16: window, channels in and out, tiles, rows, channels of a block, warps along rows, channels and
/// products, steps of a stage.
type Shape = (Window, usize, usize, Tiles, [usize; 6]);

/// Twin of the kernels in kernels/net_wide.cu, net_small.cu and net_narrow.cu.
const TILES: [Shape; 14] = {
    use Tiles::{Small, Wide};
    use Window::{Down, Same, Up};
    [
        (Same, 128, 128, Wide, [8, 128, 4, 2, 1, 4]),
        (Down, 32, 64, Wide, [8, 64, 4, 2, 1, 4]),
        (Down, 64, 128, Wide, [4, 128, 2, 4, 1, 4]),
        (Up, 128, 64, Wide, [4, 64, 1, 2, 1, 2]),
        (Up, 64, 32, Wide, [8, 32, 2, 1, 1, 4]),
        (Same, 128, 128, Small, [4, 64, 2, 2, 4, 8]),
        (Down, 32, 64, Small, [4, 64, 2, 2, 2, 4]),
        (Down, 64, 128, Small, [4, 64, 2, 2, 4, 4]),
        (Up, 128, 64, Small, [2, 64, 1, 2, 2, 2]),
        (Up, 64, 32, Small, [4, 32, 2, 1, 1, 4]),
        (Down, 16, 32, Wide, [8, 32, 4, 1, 1, 1]),
        (Same, 64, 64, Wide, [8, 64, 4, 2, 1, 4]),
        (Same, 64, 64, Small, [4, 64, 2, 2, 2, 4]),
        (Up, 32, 16, Wide, [8, 16, 2, 1, 1, 2]),
    ]
};

/// Rows and columns of the input tile for `rows` x 16 outputs (or inputs) of a block.
fn reach(window: Window, rows: usize) -> usize {
    if window == Window::Down { (2 * rows + 1) * 33 } else { (rows + 2) * 18 }
}

/// The tile of a layer, and the kind that was chosen, where not both exist.
pub(crate) fn tile<T: NetElem>(window: Window, cin: usize, cout: usize, tiles: Tiles) -> Result<(Tile, Tiles)> {
    if T::NAME == "f32" {
        let channels = if cout.is_multiple_of(64) { 64 } else { 32 };
        if !(cin.is_multiple_of(32) && cout.is_multiple_of(32)) {
            return Err(Error::value("channels", format!("{cin} and {cout} are not both multiples of 32")));
        }
        let rows = 512 / channels;
        return Ok((Tile { rows, cols: 16, channels, parts: window.phases(), threads: 128, shared: 0 }, Tiles::Wide));
    }
    let find = |tiles| TILES.iter().find(|s| (s.0, s.1, s.2, s.3) == (window, cin, cout, tiles));
    let found = find(tiles).or_else(|| find(Tiles::Wide));
    let &(_, _, _, tiles, [rows, channels, wm, wn, wk, steps]) = found.ok_or_else(|| {
        Error::value("channels", format!("no f16 layer of kind {window:?} has {cin} in and {cout} out"))
    })?;
    let phases = window.phases();
    let threads = 32 * wm * wn * wk * phases;
    let input = reach(window, rows) * (2 * cin + 16);
    let output = phases * rows * 16 * (2 * channels + 16);
    let sums = (wk - 1) * threads / wk * (rows / wm) * (channels / wn / 8) * 16;
    let ring = 3 * steps.min(cin / 16) * phases * channels * 32;
    let shared = (input.max(output).max(sums) + ring) as u32;
    Ok((Tile { rows, cols: 16, channels, parts: 1, threads: threads as u32, shared }, tiles))
}

/// Size of the output.
pub(crate) fn output(window: Window, from: Scene, cout: usize) -> Scene {
    let side = |n: usize| match window {
        Window::Down => n.div_ceil(2),
        Window::Up => 2 * n,
        _ => n,
    };
    Scene { h: side(from.h), w: side(from.w), c: cout, ..from }
}

/// Applies a layer to the images `from`, whose channels are those of the weights.
///
/// # Errors
/// When a view has another length than the sizes say, the scratch memory is too small, or the element type has no
/// kernel for these channels.
pub fn net_body<B: NetBody<T>, T: NetElem>(b: &B, from: Scene, tiles: Tiles, call: BodyCall<'_, B, T>) -> Result<()> {
    from.check()?;
    let window = call.weights.window;
    let to = output(window, from, call.weights.cout);
    to.check()?;
    if from.h < 2 || from.w < 2 {
        return Err(Error::value("image", format!("{} x {} pixels leave nothing to reflect", from.w, from.h)));
    }
    if call.weights.cin != from.c || matches!(window, Window::First | Window::Last) {
        return Err(Error::shape("weights", &[to.c, from.c, 3, 3], &[call.weights.cout, call.weights.cin]));
    }
    if call.keep.is_some() && window != Window::Same {
        return Err(Error::value("keep", "only a layer of the same size keeps its input"));
    }
    if call.add.is_some() && window == Window::Down {
        return Err(Error::value("add", "a layer that reduces never ends a residual block"));
    }
    let (tile, tiles) = tile::<T>(window, from.c, to.c, tiles)?;
    let flags = [(call.relu, RELU), (call.add.is_some(), ADD), (call.keep.is_some(), KEEP)];
    let flags = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum();
    let tiled = if window == Window::Up { from } else { to };
    let p = params(from, to, [tiled.h, tiled.w], tile, flags);
    same("x", from.len(), call.x.len())?;
    call.norm.check(from.n, from.c)?;
    same("add", from.len(), call.add.as_ref().map_or(from.len(), View::len))?;
    same("keep", from.len(), call.keep.as_ref().map_or(from.len(), ViewMut::len))?;
    same("y", to.len(), call.y.len())?;
    call.out.check(to.n, to.c)?;
    check_old::<B, T>(to.n, call.old.as_ref())?;
    call.scratch.check(ScratchSize::of::<T>(to.n, &p, tile))?;
    b.net_body_unchecked(p, to.n, tiles, call)
}

impl<T: NetElem> NetBody<T> for Cpu {
    fn net_body_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: BodyCall<'_, Self, T>) -> Result<()> {
        let BodyCall { x, norm, relu, add, keep, weights, y, out, old, scratch } = call;
        let [h, w, ho, wo, cin, cout] = [p.h, p.w, p.ho, p.wo, p.cin, p.cout].map(|side| side as usize);
        let window = weights.window;
        let values: Vec<f32> = self.read(weights.view(tiles)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, in_stats, in_gamma_beta) = (self.read(x)?, self.read(norm.stats)?, self.read(norm.gamma_beta)?);
        let add = add.map(|add| self.read(add)).transpose()?;
        let mut keep = keep.map(|keep| self.write(keep)).transpose()?;
        let (y, gamma_beta, stats) = (self.write(y)?, self.read(out.gamma_beta)?, self.write(out.stats)?);
        let mut escaped = 0;
        for image in 0..n {
            let size = h * w * cin;
            let in_stats = &in_stats[image * T::stats_len(cin)..][..T::stats_len(cin)];
            let norm = net_twin::coefficients::<T>(in_stats, in_gamma_beta, h * w);
            let finished: Vec<T> = (image * size..(image + 1) * size)
                .map(|i| {
                    let mut z = x[i].normalised(&norm[i % cin * 3..]);
                    if let Some(add) = add {
                        z += add[i].to_f32();
                    }
                    if keep.is_some() {
                        escaped += u32::from(T::escapes(z));
                    }
                    T::from_f32(if relu { z.max(0.0) } else { z })
                })
                .collect();
            if let Some(keep) = &mut keep {
                keep[image * size..(image + 1) * size].copy_from_slice(&finished);
            }
            let finished = Finished { first: 0, h, w, c: cin, values: finished.iter().map(|z| z.to_f32()).collect() };
            let sums = net_twin::convolve(&finished, window, &values, cout, 0..ho, wo);
            let stats = &mut stats[image * T::stats_len(cout)..][..T::stats_len(cout)];
            escaped += net_twin::record::<T>(&sums, gamma_beta, stats);
            let y = &mut y[image * ho * wo * cout..][..ho * wo * cout];
            y.iter_mut().zip(&sums).for_each(|(y, &v)| *y = T::from_f32(v));
        }
        self.write(ViewMut::of(&mut scratch.saturated))?[0] += escaped;
        clear_old::<T>(self, old)
    }
}

#[cfg(feature = "cuda")]
impl<T: NetElem> NetBody<T> for gpu_core::Cuda
where
    Self: NetPack<T>,
{
    fn net_body_unchecked(&self, p: NetParams, n: usize, tiles: Tiles, call: BodyCall<'_, Self, T>) -> Result<()> {
        let BodyCall { x, norm, add, keep, weights, y, out, old, scratch, .. } = call;
        let window = weights.window;
        let (cin, cout) = (p.cin as usize, p.cout as usize);
        let (tile, _) = tile::<T>(window, cin, cout, tiles)?;
        let half = T::NAME == "f16";
        let kind = match window {
            Window::Down => "down",
            Window::Up => "up",
            _ => "same",
        };
        let name = if half {
            format!("net_{kind}_{cin}_{cout}_{}", tiles.name())
        } else {
            format!("net_{kind}_f32_{}", tile.channels)
        };
        // Absent views are null: the kernel's flags say that it must not touch them.
        let mut launch = self.kernel(&super::cuda::KERNELS, &name)?.read(x)?.read(norm.stats)?;
        if half {
            launch = launch.read(norm.gamma_beta)?;
        }
        launch = match add {
            Some(add) => launch.read(add)?,
            None => launch.arg(0_u64),
        };
        launch = super::cuda::optional(launch, keep)?.read(weights.view(tiles)?)?.write(y)?;
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
            .grid(((p.tiles_x * p.tiles_y) as u32, (cout / tile.channels * tile.parts) as u32, n as u32))
            .block((tile.threads, 1, 1))
            .shared(tile.shared);
        // SAFETY: the parameters of NET_BODY in kernels/net_body.cuh and kernels/net_f32.cu; `net_body` has checked the
        // lengths of all views, and that the scratch memory is large enough for this tile.
        unsafe { launch.launch() }
    }
}
