//! A transformer on pictures, `stylevit-s`, as operations of one backend.
//!
//! Patches of 8 × 8 pixels become tokens with a position; blocks of attention (in windows, with a global token) and
//! feed-forward parts; then each token gives 8 × 8 pixels of sixteen channels, and two 3 × 3 convolutions beside the picture
//! itself make colours of them. Training, file format and every formula: `tools/distil_style/FORMAT.md`.

use gpu_core::{Tensor, TensorView, View, ViewMut};

use crate::net::{Fill, Job, Picture, Take};
use crate::ops::{
    Activation, Attention, AttentionWork, Conv, ConvShape, FEATURES, Frame, Layout, Linear, Norm, Sample, VitOps,
    decoded, fused_attention_into, fused_conv_reflection_pad, fused_ffn_into, layer_norm, layer_norm_into, linear,
    linear_into, patches, repaint, token_mean,
};
use crate::weights::{StyleModel, VitShape, WeightsError};
use crate::{Error, Result};

/// Added to each variance inside the root.
const EPSILON: f32 = 1e-5;
/// Tables of positions that are kept.
const KEPT: usize = 4;

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
    shape: VitShape,
    embed: Linear<B, T>,
    blocks: Vec<Block<B, T>>,
    norm: Scales<B, T>,
    linear: Linear<B, T>,
    convs: [Conv<B, T>; 2],
    /// By rows and columns of tokens; the one used last comes first.
    positions: Vec<([usize; 2], Tensor<B, T, 2>)>,
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
        Ok(Self {
            shape,
            embed: source.linear(b, "embed", 192)?,
            blocks: (1..=shape.blocks).map(block).collect::<Result<_>>()?,
            norm: source.scales(b, "decode.norm")?,
            linear: source.linear(b, "decode.linear", dim)?,
            convs: [
                source.conv(b, "decode.conv1", [16, 19], FEATURES)?.with_relu(),
                source.conv(b, "decode.conv2", [3, 16], 16)?,
            ],
            positions: Vec::new(),
        })
    }

    /// Its sizes.
    pub fn shape(&self) -> VitShape {
        self.shape
    }

    /// The table of positions for so many rows and columns of tokens, computed in `f64` and rounded once.
    fn position(&mut self, b: &B, [rows, cols]: [usize; 2]) -> Result<()> {
        if let Some(at) = self.positions.iter().position(|(size, _)| *size == [rows, cols]) {
            self.positions.swap(0, at);
            return Ok(());
        }
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
        let table = Tensor::from_slice(b, [rows * cols, self.shape.dim], &table)?;
        self.positions.truncate(KEPT - 1);
        self.positions.insert(0, ([rows, cols], table));
        Ok(())
    }

    /// Queues the network on pictures, and makes pictures of `size`, at most as large as continued.
    fn run<S: Picture>(
        &mut self,
        b: &B,
        job: &Job,
        x: View<'_, B, S>,
        y: ViewMut<'_, B, S>,
        mut observer: Option<&mut Observer<'_>>,
    ) -> Result<()>
    where
        B: crate::ops::Pixels<S, T>,
    {
        let VitShape { dim, hidden, .. } = self.shape;
        let frame = Frame::new(job.n, [job.h, job.w], self.shape.multiple());
        let [rows, cols] = frame.tokens();
        let (all, grid) = (job.n * rows * cols, [job.n, rows, cols, dim]);
        self.position(b, [rows, cols])?;
        let position = &self.positions[0].1;
        let mut show = |name: String, shape: &[usize], values: View<'_, B, T>| -> Result<()> {
            if let Some(observer) = observer.as_deref_mut() {
                let mut out = vec![T::nearest(0.0); values.len()];
                b.download(values, &mut out)?;
                observer(name, shape.to_vec(), out.into_iter().map(Sample::widened).collect());
            }
            Ok(())
        };
        let mut tokens = {
            let mut cut = Tensor::<B, T, 2>::scratch(b, [all, 192])?;
            patches(b, &frame, x, cut.view_mut())?;
            linear(b, cut.view(), &self.embed, Activation::None, Some(position.view()))?
        };
        show("position".into(), &grid, tokens.flat())?;
        {
            let mut work = AttentionWork::new(b, grid)?;
            let mut inner = Tensor::<B, T, 2>::scratch(b, [all, hidden])?;
            let (mut other, mut normed) =
                (Tensor::<B, T, 2>::scratch(b, [all, dim])?, Tensor::<B, T, 2>::scratch(b, [all, dim])?);
            for (i, block) in self.blocks.iter().enumerate() {
                let mean = token_mean(b, TensorView::new(tokens.flat(), [job.n, rows * cols, dim])?)?;
                let global = layer_norm(b, mean.view(), block.norm1.norm(), None)?;
                show(format!("global{}", i + 1), &[job.n, dim], global.flat())?;
                layer_norm_into(b, tokens.view(), block.norm1.norm(), None, normed.view_mut())?;
                let x = TensorView::new(normed.flat(), grid)?;
                let residual = TensorView::new(tokens.flat(), grid)?;
                let y = gpu_core::TensorViewMut::new(other.flat_mut(), grid)?;
                let (attention, shifted) = (&block.attention, i % 2 == 1);
                fused_attention_into(b, x, global.view(), attention, shifted, Some(residual), y, &mut work)?;
                show(format!("attended{}", i + 1), &grid, other.flat())?;
                layer_norm_into(b, other.view(), block.norm2.norm(), None, normed.view_mut())?;
                let [fc1, fc2] = &block.fc;
                let (x, residual) = (normed.view(), Some(other.view()));
                fused_ffn_into(b, x, [fc1, fc2], residual, tokens.view_mut(), inner.view_mut())?;
                show(format!("block{}", i + 1), &grid, tokens.flat())?;
            }
        }
        let [height, width] = frame.padded;
        let mut pixels = {
            let normed = layer_norm(b, tokens.view(), self.norm.norm(), None)?;
            drop(tokens);
            let mut spread = Tensor::<B, T, 2>::scratch(b, [all, self.linear.outputs()])?;
            linear_into(b, normed.view(), &self.linear, Activation::None, None, spread.view_mut())?;
            drop(normed);
            let mut pixels = Tensor::<B, T, 4>::scratch(b, [job.n, height, width, FEATURES])?;
            decoded(b, &frame, spread.view(), x, pixels.view_mut())?;
            pixels
        };
        for (i, conv) in self.convs.iter().enumerate() {
            pixels = fused_conv_reflection_pad(b, Layout::Nhwc, pixels.view(), conv)?;
            show(format!("conv{}", i + 1), &pixels.shape(), pixels.flat())?;
        }
        Ok(repaint(b, &frame, pixels.view(), job.output(), job.rounding, y)?)
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
        B: crate::ops::Pixels<S, T>,
    {
        let (mut x, mut y) = (b.scratch::<S>(job.input_len())?, b.scratch::<S>(job.output_len())?);
        fill(ViewMut::of(&mut x))?;
        self.run(b, job, View::of(&x), ViewMut::of(&mut y), None)?;
        drop(x);
        let flag = b.zeros(1)?;
        Ok(take(View::of(&y), View::of(&flag))?)
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
        let (mut from, mut to) = (b.scratch::<f32>(job.input_len())?, b.scratch::<f32>(job.output_len())?);
        b.upload(standard.as_slice().unwrap_or_default(), ViewMut::of(&mut from))?;
        self.run(b, &job, View::of(&from), ViewMut::of(&mut to), Some(observer))?;
        let mut out = vec![0.0; job.output_len()];
        b.download(View::of(&to), &mut out)?;
        crate::processor::planes((n, 3, h, w), out)
    }
}
