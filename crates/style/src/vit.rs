//! A transformer on pictures, `stylevit-s`, as operations of one backend.
//!
//! Patches of 8 × 8 pixels become tokens with a position; blocks of attention (in windows, with a global token) and
//! feed-forward parts; then each token gives 8 × 8 pixels of sixteen channels, and two 3 × 3 convolutions beside the picture
//! itself make colours of them. Training, file format and every formula: `tools/distil_style/FORMAT.md`.

mod arena;
#[cfg(any(feature = "cuda", test))]
mod range;

use std::any::Any;
use std::sync::Arc;

use gpu_core::{Captured, Tensor, TensorView, TensorViewMut, View, ViewMut};

use arena::{Arena, State, part, whole};
#[cfg(feature = "cuda")]
pub(crate) use range::fits_f16;

use crate::net::{Fill, Job, Picture, Take};
use crate::ops::{
    Activation, Attention, Conv, ConvShape, FEATURES, Frame, Layout, Linear, Norm, Pixels, Sample, VitOps, decoded,
    fused_attention_into, fused_conv_reflection_pad_into, fused_ffn_into, layer_norm_into, linear_into, patches,
    repaint, token_mean_into,
};
use crate::weights::{StyleModel, VitShape, WeightsError};
use crate::{Error, Result};

/// Added to each variance inside the root.
const EPSILON: f32 = 1e-5;
/// How many sizes are kept ready.
const KEPT: usize = 4;
/// Values of a patch: 8 × 8 pixels of three colours.
const PATCH_VALUES: usize = 192;

/// A recorded launch sequence.
type Graph<B, T, S> = Captured<B, State<B, T, S>>;

/// `γ, β` of a layer norm.
#[derive(Debug)]
struct Scales<B: VitOps<T>, T: Sample> {
    gamma: Tensor<B, f32, 1>,
    beta: Tensor<B, f32, 1>,
    element: std::marker::PhantomData<T>,
}

impl<B: VitOps<T>, T: Sample> Scales<B, T> {
    fn norm(&self) -> Norm<'_, B> {
        Norm { gamma: self.gamma.flat(), beta: self.beta.flat(), eps: EPSILON }
    }
}

#[derive(Debug)]
struct Block<B: VitOps<T>, T: Sample> {
    norm1: Scales<B, T>,
    attention: Attention<B, T>,
    norm2: Scales<B, T>,
    fc: [Linear<B, T>; 2],
}

/// Sees what the steps give: name, dimensions, values.
pub type Observer<'a> = dyn FnMut(String, Vec<usize>, Vec<f32>) + 'a;

/// A transformer's weights on a backend, usable on every queue of the device.
#[derive(Debug)]
pub(crate) struct Parts<B: VitOps<T>, T: Sample> {
    shape: VitShape,
    embed: Linear<B, T>,
    blocks: Vec<Block<B, T>>,
    norm: Scales<B, T>,
    linear: Linear<B, T>,
    convs: [Conv<B, T>; 2],
}

/// A transformer's weights on a backend, with activations of `T` (`f32` or `f16`).
///
/// ```
/// use gpu_core::Cpu;
/// use style::weights::{StyleModel, VitShape};
/// use style::{Engine, SizePolicy};
///
/// // `StyleModel::load` reads real weights; the engine takes both kinds of networks.
/// let shape = VitShape { dim: 16, heads: 1, blocks: 1, hidden: 32, window: 2 };
/// let mut engine = Engine::new(&Cpu::new(), &StyleModel::random_transformer(shape, 1))?;
/// let picture = ndarray::Array4::from_elem((1, 3, 20, 30), 100.0);
/// assert_eq!(engine.run(picture.view(), SizePolicy::Crop)?.dim(), (1, 3, 20, 30));
/// # Ok::<(), style::Error>(())
/// ```
#[derive(Debug)]
pub struct Vit<B: VitOps<T>, T: Sample> {
    parts: Arc<Parts<B, T>>,
    /// Launch sequences for the sizes that came lately; the one used last comes first.
    recorded: Vec<(Job, Box<dyn Any + Send>)>,
}

/// Finds a model's tensors by name.
struct Source<'a>(&'a StyleModel);

impl Source<'_> {
    fn values(&self, name: &str) -> Result<&[f32]> {
        let missing = || WeightsError::MissingTensor { names: vec![name.to_owned()] };
        Ok(&self.0.tensor(name).ok_or_else(missing)?.data)
    }

    fn rounded<T: Sample>(&self, name: &str) -> Result<Vec<T>> {
        Ok(self.values(name)?.iter().map(|&v| T::nearest(v)).collect())
    }

    fn scales<B: VitOps<T>, T: Sample>(&self, b: &B, name: &str) -> Result<Scales<B, T>> {
        let tensor = |values: &[f32]| Tensor::from_slice(b, [values.len()], values)?.share(b);
        let gamma = tensor(self.values(&format!("{name}.weight"))?)?;
        let beta = tensor(self.values(&format!("{name}.bias"))?)?;
        Ok(Scales { gamma, beta, element: std::marker::PhantomData })
    }

    fn linear<B: VitOps<T>, T: Sample>(&self, b: &B, name: &str, inputs: usize) -> Result<Linear<B, T>> {
        let (weight, bias) = (self.rounded::<T>(&format!("{name}.weight"))?, self.values(&format!("{name}.bias"))?);
        Ok(Linear::new(b, [bias.len(), inputs], &weight, bias)?)
    }

    /// A 3 × 3 convolution; channels that the model does not have get zeros.
    fn conv<B: VitOps<T>, T: Sample>(
        &self,
        b: &B,
        name: &str,
        [outputs, inputs]: [usize; 2],
        padded: usize,
    ) -> Result<Conv<B, T>> {
        let (weight, bias) = (self.rounded::<T>(&format!("{name}.weight"))?, self.values(&format!("{name}.bias"))?);
        let mut wide = vec![T::nearest(0.0); outputs * padded * 9];
        for (to, from) in wide.chunks_exact_mut(padded * 9).zip(weight.chunks_exact(inputs * 9)) {
            to[..inputs * 9].copy_from_slice(from);
        }
        let shape = ConvShape { outputs, inputs: padded, kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
        Ok(Conv::new(b, shape, &wide, bias)?)
    }
}

impl<B: VitOps<T>, T: Sample> Vit<B, T> {
    /// Uploads a model.
    ///
    /// # Errors
    /// When the model is no transformer, or the device has no room.
    pub fn new(b: &B, model: &StyleModel) -> Result<Self> {
        let Some(shape) = model.transformer() else {
            return Err(gpu_core::Error::value("model", "this is a convolutional network, and no transformer").into());
        };
        let (source, dim) = (Source(model), shape.dim);
        let block = |i: usize| -> Result<Block<B, T>> {
            let name = |part: &str| format!("blocks.{i}.{part}");
            Ok(Block {
                norm1: source.scales(b, &name("norm1"))?,
                attention: Attention {
                    qkv: source.linear(b, &name("attn.qkv"), dim)?,
                    out: source.linear(b, &name("attn.out"), dim)?,
                    heads: shape.heads,
                    window: shape.window,
                    scale: ((dim / shape.heads) as f32).sqrt().recip(),
                },
                norm2: source.scales(b, &name("norm2"))?,
                fc: [source.linear(b, &name("ffn.fc1"), dim)?, source.linear(b, &name("ffn.fc2"), shape.hidden)?],
            })
        };
        let parts = Parts {
            shape,
            embed: source.linear(b, "embed", PATCH_VALUES)?,
            blocks: (1..=shape.blocks).map(block).collect::<Result<_>>()?,
            norm: source.scales(b, "decode.norm")?,
            linear: source.linear(b, "decode.linear", dim)?,
            convs: [
                source.conv(b, "decode.conv1", [16, 19], FEATURES)?.with_relu(),
                source.conv(b, "decode.conv2", [3, 16], 16)?,
            ],
        };
        Ok(Self { parts: Arc::new(parts), recorded: Vec::new() })
    }

    /// Its sizes.
    pub fn shape(&self) -> VitShape {
        self.parts.shape
    }

    /// Bytes that pictures of one size take, with `sample` bytes for each of their values.
    fn bytes(&self, job: &Job, sample: usize) -> usize {
        arena::bytes::<T>(self.parts.shape, self.parts.linear.outputs(), job, sample)
    }

    /// As [`StyleBackend::forward`](crate::StyleBackend).
    pub(crate) fn forward<S: Picture>(
        &mut self,
        b: &B,
        job: &Job,
        fill: &mut Fill<'_, B, S>,
        take: &mut Take<'_, B, S>,
    ) -> Result<()>
    where
        B: Pixels<S, T>,
    {
        let known = self.recorded.iter().position(|(known, graph)| known == job && graph.is::<Graph<B, T, S>>());
        let entry = match known {
            Some(at) => self.recorded.remove(at),
            None => (*job, Box::new(self.record_or_refuse::<S>(b, job)?) as Box<dyn Any + Send>),
        };
        self.recorded.truncate(KEPT - 1);
        self.recorded.insert(0, entry);
        let graph = self.recorded.first_mut().and_then(|(_, graph)| graph.downcast_mut::<Graph<B, T, S>>());
        let Some(graph) = graph else { return Ok(()) };
        fill(ViewMut::of(&mut graph.state_mut().x))?;
        graph.replay(b)?;
        let state = graph.state();
        Ok(take(View::of(&state.y), View::of(&state.flag))?)
    }

    /// Records; says what to do where a single picture has no room. (Several are tried one by one.)
    fn record_or_refuse<S: Picture>(&mut self, b: &B, job: &Job) -> Result<Graph<B, T, S>>
    where
        B: Pixels<S, T>,
    {
        self.record_with_room(b, job).map_err(|error| match error {
            Error::Gpu(gpu_core::Error::OutOfMemory { used, limit, .. }) if job.n == 1 => Error::NoStrips {
                height: job.h,
                width: job.w,
                needed: self.bytes(job, size_of::<S>()),
                room: limit.saturating_sub(used),
            },
            other => other,
        })
    }

    /// Records; when memory runs out, once more without the sizes of before.
    fn record_with_room<S: Picture>(&mut self, b: &B, job: &Job) -> Result<Graph<B, T, S>>
    where
        B: Pixels<S, T>,
    {
        match self.record(b, job) {
            Err(Error::Gpu(gpu_core::Error::OutOfMemory { .. })) if !self.recorded.is_empty() => {
                self.recorded.clear();
                b.synchronize()?;
                self.record(b, job)
            }
            other => other,
        }
    }

    fn record<S: Picture>(&self, b: &B, job: &Job) -> Result<Graph<B, T, S>>
    where
        B: Pixels<S, T>,
    {
        // Said before the host takes memory that it does not have: some systems end a process for that.
        let (requested, memory) = (self.bytes(job, size_of::<S>()), b.memory());
        if requested > memory.limit.saturating_sub(memory.used).min(memory.free) {
            let limit = memory.limit.min(memory.used.saturating_add(memory.free));
            return Err(gpu_core::Error::OutOfMemory { requested, used: memory.used, limit }.into());
        }
        let state = State {
            arena: Arena::new(b, &self.parts, job)?,
            x: b.scratch(job.input_len())?,
            y: b.scratch(job.output_len())?,
            flag: b.zeros(1)?,
        };
        let (parts, job) = (Arc::clone(&self.parts), *job);
        Ok(b.capture(state, move |b, State { arena, x, y, .. }| {
            parts.run(b, &job, arena, View::of(x), ViewMut::of(y), None)
        })?)
    }

    /// Runs planes `[n, 3, h, w]`, RGB in 0..255, and shows what the steps give.
    ///
    /// # Errors
    /// When memory runs out or the device is lost.
    pub fn observe(
        &mut self,
        b: &B,
        x: ndarray::ArrayView4<'_, f32>,
        observer: &mut Observer<'_>,
    ) -> Result<ndarray::Array4<f32>> {
        let (n, channels, h, w) = x.dim();
        if channels != 3 {
            return Err(Error::Shape { what: "x", expected: vec![n, 3, h, w], got: x.shape().to_vec() });
        }
        let (policy, rounding) = (crate::SizePolicy::Crop, crate::mix::Rounding::Truncate);
        let job = Job { n, h, w, policy, rounding };
        let standard = x.as_standard_layout();
        let mut arena = Arena::new(b, &self.parts, &job)?;
        let (mut from, mut to) = (b.scratch::<f32>(job.input_len())?, b.scratch::<f32>(job.output_len())?);
        b.upload(standard.as_slice().unwrap_or_default(), ViewMut::of(&mut from))?;
        self.parts.run(b, &job, &mut arena, View::of(&from), ViewMut::of(&mut to), Some(observer))?;
        let mut out = vec![0.0; job.output_len()];
        b.download(View::of(&to), &mut out)?;
        crate::processor::planes((n, 3, h, w), out)
    }
}

impl<B: VitOps<T>, T: Sample> Parts<B, T> {
    /// The table of positions for so many rows and columns of tokens, computed in `f64` and rounded once.
    fn positions(&self, b: &B, [rows, cols]: [usize; 2]) -> gpu_core::Result<Tensor<B, T, 2>> {
        let n = self.shape.dim / 4;
        let frequency = |k: usize| 8.0 * std::f64::consts::PI * 128.0_f64.powf(-(k as f64) / (n as f64 - 1.0));
        let waves = |i: usize| {
            let at = (i as f64 + 0.5) / 8.0;
            let (mut sin, mut cos): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
            for k in 0..n {
                let (s, c) = (frequency(k) * at).sin_cos();
                sin.push(T::nearest(s as f32));
                cos.push(T::nearest(c as f32));
            }
            [sin, cos].concat()
        };
        let columns: Vec<Vec<T>> = (0..cols).map(waves).collect();
        let mut table = Vec::with_capacity(rows * cols * self.shape.dim);
        for row in (0..rows).map(waves) {
            for column in &columns {
                table.extend_from_slice(&row);
                table.extend_from_slice(column);
            }
        }
        Tensor::from_slice(b, [rows * cols, self.shape.dim], &table)
    }

    /// Queues the network on pictures, and makes pictures of `size`, at most as large as continued.
    fn run<S: Picture>(
        &self,
        b: &B,
        job: &Job,
        arena: &mut Arena<B, T>,
        x: View<'_, B, S>,
        y: ViewMut<'_, B, S>,
        mut observer: Option<&mut Observer<'_>>,
    ) -> gpu_core::Result<()>
    where
        B: Pixels<S, T>,
    {
        let VitShape { dim, hidden, .. } = self.shape;
        let frame = Frame::new(job.n, [job.h, job.w], self.shape.multiple());
        let [rows, cols] = frame.tokens();
        let (each, all, grid) = (rows * cols, job.n * rows * cols, [job.n, rows, cols, dim]);
        let Arena { position, narrow, tokens, other, normed, mean, global, mean_work, work, wide, pixels } = arena;
        let mut show = |name: String, shape: &[usize], values: View<'_, B, T>| -> gpu_core::Result<()> {
            if let Some(observer) = observer.as_deref_mut() {
                let mut out = vec![T::nearest(0.0); values.len()];
                b.download(values, &mut out)?;
                observer(name, shape.to_vec(), out.into_iter().map(Sample::widened).collect());
            }
            Ok(())
        };
        patches(b, &frame, x, part(narrow, [all, PATCH_VALUES])?)?;
        let cut = whole(narrow, [all, PATCH_VALUES])?;
        linear_into(b, cut, &self.embed, Activation::None, Some(position.view()), tokens.view_mut())?;
        show("position".into(), &grid, tokens.flat())?;
        for (i, block) in self.blocks.iter().enumerate() {
            let images = TensorView::new(tokens.flat(), [job.n, each, dim])?;
            token_mean_into(b, images, mean.view_mut(), mean_work.view_mut())?;
            layer_norm_into(b, mean.view(), block.norm1.norm(), None, global.view_mut())?;
            show(format!("global{}", i + 1), &[job.n, dim], global.flat())?;
            layer_norm_into(b, tokens.view(), block.norm1.norm(), None, normed.view_mut())?;
            let x = TensorView::new(normed.flat(), grid)?;
            let residual = TensorView::new(tokens.flat(), grid)?;
            let y = TensorViewMut::new(other.flat_mut(), grid)?;
            let (attention, shifted) = (&block.attention, i % 2 == 1);
            fused_attention_into(b, x, global.view(), attention, shifted, Some(residual), y, work)?;
            show(format!("attended{}", i + 1), &grid, other.flat())?;
            layer_norm_into(b, other.view(), block.norm2.norm(), None, normed.view_mut())?;
            let [fc1, fc2] = &block.fc;
            let (x, residual) = (normed.view(), Some(other.view()));
            fused_ffn_into(b, x, [fc1, fc2], residual, tokens.view_mut(), part(wide, [all, hidden])?)?;
            show(format!("block{}", i + 1), &grid, tokens.flat())?;
        }
        let [height, width] = frame.padded;
        let spread = [all, self.linear.outputs()];
        layer_norm_into(b, tokens.view(), self.norm.norm(), None, normed.view_mut())?;
        linear_into(b, normed.view(), &self.linear, Activation::None, None, part(wide, spread)?)?;
        decoded(b, &frame, whole(wide, spread)?, x, pixels.view_mut())?;
        let [features, colours] = [16, 3].map(|channels| [job.n, height, width, channels]);
        fused_conv_reflection_pad_into(b, Layout::Nhwc, pixels.view(), &self.convs[0], part(wide, features)?)?;
        show("conv1".into(), &features, whole(wide, features)?.flat())?;
        let (x, y_colours) = (whole(wide, features)?, part(narrow, colours)?);
        fused_conv_reflection_pad_into(b, Layout::Nhwc, x, &self.convs[1], y_colours)?;
        show("conv2".into(), &colours, whole(narrow, colours)?.flat())?;
        repaint(b, &frame, whole(narrow, colours)?, job.output(), job.rounding, y)
    }
}
