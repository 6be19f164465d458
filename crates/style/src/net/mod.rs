//! The network as layers of one backend: `6 + 2R` kernels one after the other, and nothing between them.

mod arena;
mod recomputed;
mod runner;
mod strips;

use gpu_core::{Backend, View, ViewMut};

pub(crate) use arena::Arena;
pub use runner::Picture;
pub(crate) use runner::{Fill, Runner, Take};

use crate::Result;
use crate::engine::SizePolicy;
use crate::kernels::{
    BodyCall, FirstCall, HistoryCall, LastCall, NetBody, NetElem, NetFirst, NetHistory, NetLast, NetPack, NetWeights,
    Sample, Scene, ScratchSize, Tile, Tiles, Window, net_body, net_body_output, net_body_tile, net_first,
    net_first_tile, net_history, net_last, net_params,
};
use crate::kernels::{Norm, OutNorm};
use crate::mix::Rounding;
use crate::weights::{LayerId, StyleModel};

/// Pictures of one size, and what is wanted of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Pictures.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// What becomes of sides that are no multiples of four.
    pub policy: SizePolicy,
    /// How bytes become whole.
    pub rounding: Rounding,
}

impl Job {
    /// Rows and columns of what the network sees.
    pub(crate) fn scene(&self) -> [usize; 2] {
        match self.policy {
            SizePolicy::Pad => [self.h, self.w].map(|side| side.next_multiple_of(4)),
            _ => [self.h, self.w],
        }
    }

    /// Rows and columns of the result.
    pub fn output(&self) -> [usize; 2] {
        match self.policy {
            SizePolicy::Raw => [self.h, self.w].map(|side| side.next_multiple_of(4)),
            _ => [self.h, self.w],
        }
    }

    /// Values of all pictures.
    pub(crate) fn input_len(&self) -> usize {
        self.n * 3 * self.h * self.w
    }

    /// Values of all results.
    pub(crate) fn output_len(&self) -> usize {
        let [h, w] = self.output();
        self.n * 3 * h * w
    }
}

/// A convolution and the norm behind it.
#[derive(Debug)]
struct Layer<B: Backend, T: NetElem> {
    window: Window,
    weights: NetWeights<B, T>,
    /// `γ, β` by channels.
    gamma_beta: B::Buf<f32>,
}

/// Sees a layer's raw output and its statistics: position of the layer, size, values.
pub(crate) type Observer<'a, B, T> =
    dyn FnMut(usize, Scene, View<'_, B, T>, View<'_, B, <T as NetElem>::Stat>) -> gpu_core::Result<()> + 'a;

/// A network's weights on a device. Usable on every queue of the device.
#[derive(Debug)]
pub(crate) struct Net<B: Backend, T: NetElem> {
    layers: Vec<Layer<B, T>>,
    last: NetWeights<B, T>,
    bias: B::Buf<f32>,
    /// Multiprocessors.
    units: usize,
    /// Tiles for all layers, for tests; else each layer's fit its size.
    tiles: Option<Tiles>,
}

fn window(layer: LayerId) -> Window {
    match layer {
        LayerId::Conv1 => Window::First,
        LayerId::Conv2 | LayerId::Conv3 => Window::Down,
        LayerId::Res { .. } => Window::Same,
        LayerId::Deconv1 | LayerId::Deconv2 => Window::Up,
        LayerId::Deconv3 => Window::Last,
    }
}

fn uploaded<B: Backend>(b: &B, values: &[f32]) -> gpu_core::Result<B::Buf<f32>> {
    let mut buffer = b.scratch(values.len())?;
    b.upload(values, ViewMut::of(&mut buffer))?;
    b.share(buffer)
}

impl<B: NetPack<T>, T: NetElem> Net<B, T> {
    /// Packs and uploads a model; none when the element type has no layers that wide.
    pub(crate) fn new(b: &B, model: &StyleModel, tiles: Option<Tiles>) -> Result<Option<Self>> {
        let Some(base) = T::base_channels(model.nc()) else { return Ok(None) };
        let (mut layers, mut last, mut bias) = (Vec::new(), None, None);
        for layer in model.layers() {
            let Some(conv) = model.conv(layer) else { continue };
            let [out, inn, ..] = conv.shape;
            // Three colours stay three, also where the base width is 3.
            let cin = if layer == LayerId::Conv1 { 3 } else { padded(inn, model.nc(), base) };
            let cout = if layer == LayerId::Deconv3 { 3 } else { padded(out, model.nc(), base) };
            let weights = NetWeights::new(b, window(layer), [out, inn], [cout, cin], conv.weight)?;
            if let Some(norm) = model.norm(layer) {
                let mut gamma_beta = vec![0.0; 2 * cout];
                for (to, (&gamma, &beta)) in gamma_beta.chunks_exact_mut(2).zip(norm.gamma.iter().zip(norm.beta)) {
                    to.copy_from_slice(&[gamma, beta]);
                }
                let gamma_beta = uploaded(b, &gamma_beta)?;
                layers.push(Layer { window: window(layer), weights, gamma_beta });
            } else {
                (last, bias) = (Some(weights), Some(uploaded(b, conv.bias)?));
            }
        }
        let units = b.device().units;
        Ok(last.zip(bias).map(|(last, bias)| Self { layers, last, bias, units, tiles }))
    }
}

impl<B: Backend, T: NetElem> Net<B, T> {
    /// The scenes that the layers read, in order, and what the last layer reads.
    fn scenes(&self, job: &Job) -> Vec<Scene> {
        let [h, w] = job.scene();
        let mut all = vec![Scene { n: job.n, h, w, c: 3 }];
        for layer in &self.layers {
            let from = all[all.len() - 1];
            all.push(net_body_output(layer.window, from, layer.weights.cout));
        }
        all
    }

    /// Small tiles where wide ones would leave most of the device idle: up to about 400 x 400 pixels on 132
    /// multiprocessors, as measured there.
    fn tiles(&self, job: &Job) -> Tiles {
        const PIXELS_A_UNIT: usize = 1200;
        let small = job.n * job.h * job.w <= PIXELS_A_UNIT * self.units;
        self.tiles.unwrap_or(if small { Tiles::Small } else { Tiles::Wide })
    }

    fn tile(window: Window, from: Scene, to: Scene, tiles: Tiles) -> gpu_core::Result<Tile> {
        match window {
            Window::First => Ok(net_first_tile::<T>(to.c, tiles).0),
            _ => Ok(net_body_tile::<T>(window, from.c, to.c, tiles)?.0),
        }
    }

    fn scratch_size(&self, job: &Job) -> gpu_core::Result<ScratchSize> {
        let scenes = self.scenes(job);
        let mut most = ScratchSize::default();
        for (layer, scene) in self.layers.iter().zip(scenes.windows(2)) {
            let (from, to) = (scene[0], scene[1]);
            let tile = Self::tile(layer.window, from, to, self.tiles(job))?;
            let tiled = if layer.window == Window::Up { from } else { to };
            most = most.most(ScratchSize::of::<T>(to.n, &net_params(from, to, [tiled.h, tiled.w], tile, 0), tile));
        }
        Ok(most)
    }
}

impl<B: NetBody<T> + NetHistory<T>, T: NetElem> Net<B, T> {
    /// Queues the whole network.
    pub(crate) fn run<S: Sample>(
        &self,
        b: &B,
        job: &Job,
        arena: &mut Arena<B, T>,
        x: View<'_, B, S>,
        y: ViewMut<'_, B, S>,
        mut observer: Option<&mut Observer<'_, B, T>>,
    ) -> gpu_core::Result<()>
    where
        B: NetFirst<S, T> + NetLast<S, T>,
    {
        let (scenes, tiles) = (self.scenes(job), self.tiles(job));
        let count = self.layers.len();
        let Arena { large, middle, raw, kept, stats, scratch, flag, history } = arena;
        let ([raw, other_raw], [kept, other_kept]) = (raw, kept);
        // Where things are: the raw output of the layer before, the input of the residual block.
        let (mut raw, mut other_raw, mut kept, mut other_kept) = (raw, other_raw, kept, other_kept);
        for (i, layer) in self.layers.iter().enumerate() {
            let (from, to) = (scenes[i], scenes[i + 1]);
            let weights = &layer.weights;
            // A layer reads the statistics of the one before, and clears those that that one has read; the first clears
            // what the last layer of the run before has read.
            let (before, after) = stats.split_at_mut(i);
            let (old, read) = match before {
                [.., old, read] => (Some(old), Some(read)),
                [read] => (None, Some(read)),
                [] => (None, None),
            };
            let (written, later) = after.split_at_mut(1);
            let old = if i == 0 { later.last_mut() } else { old };
            let old = old.map(ViewMut::of);
            let [written] = written else { continue };
            let out_norm = OutNorm { stats: ViewMut::of(written), gamma_beta: View::of(&layer.gamma_beta) };
            // The first two layers and the last two work in the buffers for large images, the others on quarters.
            let body = 3..count - 2;
            let (input, out): (&B::Buf<T>, _) = match i {
                0 => (raw, &mut *large),
                1 => (large, &mut *middle),
                2 => (middle, &mut *other_raw),
                _ if i == count - 2 => (raw, &mut *middle),
                _ if i == count - 1 => (middle, &mut *large),
                _ => (raw, &mut *other_raw),
            };
            let y = ViewMut::of(out).slice(0..to.len())?;
            if i == 0 {
                let call = FirstCall { x, weights, y, out: out_norm, old, scratch };
                net_first(b, [job.h, job.w], to, tiles, call)?;
            } else if let (Some(read), Some(previous)) = (read, self.layers.get(i - 1)) {
                // The first layer of a block finishes the block before it.
                let opens = body.contains(&i) && (i - 3).is_multiple_of(2);
                let closes = i > 3 && (opens || i == count - 2) && !body.is_empty();
                let call = BodyCall {
                    x: View::of(input).slice(0..from.len())?,
                    norm: Norm { stats: View::of(read), gamma_beta: View::of(&previous.gamma_beta) },
                    relu: !closes,
                    add: if closes { Some(View::of(kept).slice(0..from.len())?) } else { None },
                    keep: if opens { Some(ViewMut::of(other_kept).slice(0..from.len())?) } else { None },
                    weights,
                    y,
                    out: out_norm,
                    old,
                    scratch,
                };
                net_body(b, from, tiles, call)?;
                if opens {
                    std::mem::swap(&mut kept, &mut other_kept);
                }
            }
            if let Some(history) = history
                && let Some((values, seen)) = history.layers.get_mut(i)
            {
                let call = HistoryCall {
                    stats: ViewMut::of(written),
                    gamma_beta: View::of(&layer.gamma_beta),
                    history: ViewMut::of(values),
                    seen: ViewMut::of(seen),
                };
                net_history(b, to, history.own, call)?;
            }
            if (2..count - 2).contains(&i) {
                std::mem::swap(&mut raw, &mut other_raw);
            }
            if let Some(observe) = observe_of(&mut observer) {
                let at = match i {
                    0 => View::of(large),
                    1 => View::of(middle),
                    _ if i == count - 2 => View::of(middle),
                    _ if i == count - 1 => View::of(large),
                    _ => View::of(raw),
                };
                observe(i, to, at.slice(0..to.len())?, View::of(written))?;
            }
        }
        let from = scenes[count];
        let ([.., old, read], Some(before)) = (&mut stats[..], self.layers.last()) else { return Ok(()) };
        let call = LastCall {
            x: View::of(large).slice(0..from.len())?,
            norm: Norm { stats: View::of(read), gamma_beta: View::of(&before.gamma_beta) },
            old: Some(ViewMut::of(old)),
            weights: &self.last,
            bias: View::of(&self.bias),
            y,
            rounding: job.rounding,
            flag: ViewMut::of(flag),
            scratch,
        };
        net_last(b, from, job.output(), tiles, call)
    }
}

/// A borrow of the observer for one call.
fn observe_of<'a, 'b, B: Backend, T: NetElem>(
    observer: &'a mut Option<&mut Observer<'b, B, T>>,
) -> Option<&'a mut Observer<'b, B, T>> {
    match observer {
        Some(observe) => Some(&mut **observe),
        None => None,
    }
}

/// Channels of a layer when the base width becomes `base`.
fn padded(channels: usize, nc: usize, base: usize) -> usize {
    channels / nc.max(1) * base
}
