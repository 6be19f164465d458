//! The whole network on the CPU: sixteen convolutions, no pass over memory between them.

use std::time::{Duration, Instant};

use crate::cpu::buffer::{Buffer, pad};
use crate::cpu::conv::{Conv, Pool};
use crate::cpu::direct::Geometry;
use crate::cpu::error::{ShapeError, check_len, volume};
use crate::cpu::history::{History, Statistics};
use crate::cpu::kernel::Isa;
use crate::cpu::last::{Last, Picture};
use crate::cpu::moments::{Affine, Moments};
use crate::cpu::pack::{Border, Deferred, Image, Source, finish};
use crate::cpu::strips::Strips;

/// Added to each variance inside the root.
pub const EPSILON: f64 = 1e-5;

/// Smallest side of an image: the reflection of the 9 × 9 layers needs four neighbours.
pub const SMALLEST_SIDE: usize = 5;

/// Subtracted from the input: the first norm removes what that changes, and the sums of 243 products get smaller.
pub(super) const CENTRE: f32 = 128.0;

/// Parameters of a network in the order of its layers: `conv1`, `conv2`, `conv3`, `res1.conv1`, `res1.conv2`, …,
/// `deconv1`, `deconv2`, `deconv3`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Base width `nc` (32 in the public models).
    pub base_channels: usize,
    /// Residual blocks (5 in the public models).
    pub residual_blocks: usize,
    /// Kernels `[out, in, kh, kw]` of the `6 + 2R` convolutions.
    pub kernels: Vec<Vec<f32>>,
    /// Biases `[out]` of the convolutions. Only the last is used: a bias before an instance norm cancels.
    pub biases: Vec<Vec<f32>>,
    /// Scales `[C]` of the `5 + 2R` instance norms.
    pub gammas: Vec<Vec<f32>>,
    /// Offsets `[C]` of the instance norms.
    pub betas: Vec<Vec<f32>>,
}

/// Working memory of a network, kept between runs: two activation buffers and one scratch per thread.
#[derive(Debug, Default)]
pub struct Arena {
    large: Buffer,
    middle: Buffer,
    pub(super) pool: Pool,
    pub(super) times: Vec<Duration>,
    pub(super) history: History,
    strips: Option<Strips>,
}

impl Arena {
    /// An empty arena; it grows with the images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose statistics norms use from the next picture on; what was remembered is forgotten.
    pub fn set_statistics(&mut self, of: Statistics) {
        self.history = History::new(of);
    }

    /// Activations go to scratch files from the next picture on, or stay in memory. Results have the same bits.
    pub fn set_strips(&mut self, strips: Option<Strips>) {
        self.strips = strips;
    }

    /// Wall time of each layer of the last image, in order: `conv1` to `deconv3`.
    pub fn layer_times(&self) -> &[Duration] {
        &self.times
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.large.bytes() + self.middle.bytes() + self.pool.bytes()
    }
}

/// What an activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Convolution output without bias, before its norm.
    Raw,
    /// Per-channel mean of the convolution output (without bias), `[C]`.
    Mean,
    /// Per-channel biased variance of the convolution output, `[C]`.
    Variance,
    /// After norm and ReLU; for the last norm of a block, the block's output.
    Finished,
}

/// Sees each layer's activations as planes `[C][H][W]`: image of the batch, layer (0 = `conv1`), stage, values.
pub type Observer<'a> = dyn FnMut(usize, usize, Stage, Vec<f32>) + 'a;

/// One convolution and the norm after it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) conv: Conv,
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    /// Σ over the taps of each kernel, `[out][in]`: what centring the input takes from the output.
    tap_sums: Vec<f64>,
}

/// One image's input or output.
pub(super) enum Input<'a> {
    Planes(&'a [f32]),
    Rgb(&'a [u8]),
}

/// A network with packed weights.
#[derive(Debug)]
pub struct Network {
    pub(super) width: usize,
    /// `conv1`, `conv2`, `conv3`, the residual layers, `deconv1`, `deconv2`.
    pub(super) layers: Vec<Layer>,
    pub(super) last: Last,
}

impl Network {
    /// Packs the weights for this machine.
    ///
    /// # Panics
    /// When the shapes of `weights` contradict each other.
    pub fn new(weights: &Weights) -> Self {
        Self::with(Isa::detect(), weights, true)
    }

    pub(crate) fn with(isa: Isa, weights: &Weights, winograd: bool) -> Self {
        let (a, b, c) = (weights.base_channels, 2 * weights.base_channels, 4 * weights.base_channels);
        let layer = |cin, cout, k: usize, stride, upsample| Geometry {
            cin,
            cout,
            kernel: [k, k],
            stride: [stride, stride],
            padding: k / 2,
            upsample,
        };
        let mut shapes = vec![layer(3, a, 9, 1, false), layer(a, b, 3, 2, false), layer(b, c, 3, 2, false)];
        shapes.extend(std::iter::repeat_n(layer(c, c, 3, 1, false), 2 * weights.residual_blocks));
        shapes.extend([layer(c, b, 3, 1, true), layer(b, a, 3, 1, true)]);
        assert_eq!(weights.kernels.len(), shapes.len() + 1, "one kernel per convolution");
        let layers = shapes
            .into_iter()
            .enumerate()
            .map(|(i, shape)| {
                let kernel = &weights.kernels[i];
                assert_eq!(kernel.len(), shape.cin * shape.cout * shape.kernel[0] * shape.kernel[1], "layer {i}");
                let (gamma, beta) = (weights.gammas[i].clone(), weights.betas[i].clone());
                assert_eq!((gamma.len(), beta.len()), (shape.cout, shape.cout), "norm {i}");
                let pack = if winograd { Conv::fastest } else { Conv::direct };
                let taps = shape.kernel[0] * shape.kernel[1];
                let sum = |w: &[f32]| w.iter().copied().map(f64::from).sum();
                let tap_sums = kernel.chunks_exact(taps).map(sum).collect();
                Layer { conv: pack(isa, shape, kernel), gamma, beta, tap_sums }
            })
            .collect::<Vec<_>>();
        let end = layers.len();
        assert_eq!(weights.kernels[end].len(), 3 * a * 81, "last layer");
        let last = Last::new(isa, a, &weights.kernels[end], &weights.biases[end]);
        Self { width: a, layers, last }
    }

    /// Height and width of the raw output: each side rounded up to a multiple of four.
    pub fn output_size(height: usize, width: usize) -> [usize; 2] {
        [height.next_multiple_of(4), width.next_multiple_of(4)]
    }

    /// Runs a batch `x` of planes `[b, 3, h, w]` (RGB, 0..255) and gives the raw output `[b, 3, H, W]`, unclamped,
    /// with `[H, W]` from [`Network::output_size`]: surplus rows and columns lie at the bottom and right.
    ///
    /// # Errors
    /// When `x` has not the size of `shape`, there are not three channels, a side is shorter than [`SMALLEST_SIDE`], or a
    /// scratch file of a picture in strips fails.
    pub fn run(&self, arena: &mut Arena, x: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, ShapeError> {
        let mut out = vec![0.0; Self::output_len(x, shape)?];
        self.run_planes(arena, x, shape, &mut out, None)?;
        Ok(out)
    }

    /// [`Network::run`] into memory of that length.
    pub(crate) fn run_into(
        &self,
        arena: &mut Arena,
        x: &[f32],
        shape: [usize; 4],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.run_planes(arena, x, shape, out, None)
    }

    /// Values of the results of pictures that can be worked on.
    fn output_len(x: &[f32], [batch, channels, height, width]: [usize; 4]) -> Result<usize, ShapeError> {
        check_len(channels, 3)?;
        check_len(x.len(), volume(&[batch, 3, height, width]))?;
        Self::check_size(height, width)?;
        if batch == 0 {
            return Ok(0);
        }
        let [oh, ow] = Self::output_size(height, width);
        Ok(batch * 3 * oh * ow)
    }

    /// [`Network::run`], showing every layer's activations to `observer`.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn activations(
        &self,
        arena: &mut Arena,
        x: &[f32],
        shape: [usize; 4],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<f32>, ShapeError> {
        let mut out = vec![0.0; Self::output_len(x, shape)?];
        self.run_planes(arena, x, shape, &mut out, Some(observer))?;
        Ok(out)
    }

    fn run_planes(
        &self,
        arena: &mut Arena,
        x: &[f32],
        shape: [usize; 4],
        out: &mut [f32],
        mut observer: Option<&mut Observer<'_>>,
    ) -> Result<(), ShapeError> {
        check_len(out.len(), Self::output_len(x, shape)?)?;
        let [batch, _, height, width] = shape;
        if batch == 0 {
            return Ok(());
        }
        let [oh, ow] = Self::output_size(height, width);
        for (i, (x, out)) in x.chunks_exact(3 * height * width).zip(out.chunks_exact_mut(3 * oh * ow)).enumerate() {
            let mut observe = observer.as_deref_mut().map(|o| |l: usize, s: Stage, v: Vec<f32>| o(i, l, s, v));
            let observe = observe.as_mut().map(|o| o as &mut dyn FnMut(usize, Stage, Vec<f32>));
            self.image(arena, Input::Planes(x), [height, width], Picture::Planes(out), observe)?;
        }
        Ok(())
    }

    /// Runs one picture of interleaved RGB bytes (`h · w · 3`) into another of the same size: the output is cropped
    /// to `h × w`, clamped to 0..=255 and truncated toward zero.
    ///
    /// # Errors
    /// As [`Network::run`], and when `out` is not as long as `x`.
    pub fn run_rgb(
        &self,
        arena: &mut Arena,
        x: &[u8],
        [height, width]: [usize; 2],
        out: &mut [u8],
    ) -> Result<(), ShapeError> {
        check_len(x.len(), volume(&[3, height, width]))?;
        check_len(out.len(), volume(&[3, height, width]))?;
        Self::check_size(height, width)?;
        self.image(arena, Input::Rgb(x), [height, width], Picture::Rgb { data: out, width }, None)
    }

    fn check_size(height: usize, width: usize) -> Result<(), ShapeError> {
        if height.min(width) < SMALLEST_SIDE { Err(ShapeError::InputTooSmall { height, width }) } else { Ok(()) }
    }

    /// Bytes of activations that one picture takes.
    pub fn memory(&self, height: usize, width: usize) -> usize {
        let (large, middle) = self.buffers([height, width]);
        4 * (large + middle)
    }

    /// Floats of the two activation buffers.
    fn buffers(&self, [height, width]: [usize; 2]) -> (usize, usize) {
        let (a, b, c) = (pad(self.width), pad(2 * self.width), pad(4 * self.width));
        let quarter = height.div_ceil(4) * width.div_ceil(4);
        let half = height.div_ceil(2) * width.div_ceil(2);
        // The large buffer holds conv1, then the four quarter-size tensors of the body, then deconv2; the middle one
        // conv2, then deconv1.
        ((height * width * a).max(4 * quarter * c).max(16 * quarter * a), half.max(4 * quarter) * b)
    }

    fn image(
        &self,
        arena: &mut Arena,
        input: Input<'_>,
        [height, width]: [usize; 2],
        picture: Picture<'_>,
        mut observe: Option<&mut dyn FnMut(usize, Stage, Vec<f32>)>,
    ) -> Result<(), ShapeError> {
        if let (Some(strips), None) = (arena.strips.clone(), &observe) {
            let done = self.image_in_strips(arena, &strips, input, [height, width], picture);
            return done.map_err(|e| ShapeError::ScratchFile(e.kind()));
        }
        let (a, b, c) = (self.width, 2 * self.width, 4 * self.width);
        let half = [height.div_ceil(2), width.div_ceil(2)];
        let quarter = [half[0].div_ceil(2), half[1].div_ceil(2)];
        let body = quarter[0] * quarter[1] * pad(c);
        let (large, middle) = self.buffers([height, width]);
        let (large, middle) = (arena.large.get(large), arena.middle.get(middle));
        arena.pool.prepare();
        let (pool, times, history) = (&arena.pool, &mut arena.times, &mut arena.history);
        times.clear();
        let mut begin = Instant::now();
        let mut lap = move || std::mem::replace(&mut begin, Instant::now()).elapsed();
        let mut step = |index: usize, image: &Image<'_>, rest: &[f32], out: &mut [f32], keep: Option<&mut [f32]>| {
            let layer = &self.layers[index];
            let (mut moments, count) = layer.conv.forward(image, out, keep, pool);
            history.next(index, &mut moments, count);
            let affine = Affine::new(&moments, count, &layer.gamma, &layer.beta, EPSILON);
            times.push(lap());
            if let Some(observe) = observe.as_deref_mut() {
                let body = index >= 3 && index + 2 < self.layers.len();
                if index > 3 && index % 2 == 1 && index + 1 < self.layers.len() {
                    // A block is only finished while the layer after it reads it.
                    let mut block = image.finished();
                    for (plane, rest) in block.chunks_exact_mut(image.height * image.width).zip(rest) {
                        for x in plane {
                            *x += rest;
                        }
                    }
                    observe(index - 1, Stage::Finished, block);
                }
                let finished = !body || index % 2 == 1;
                layer.show(observe, index, rest, &out[..count * pad(layer.gamma.len())], &moments, &affine, finished);
            }
            affine
        };
        // Each layer's input is centred on what it is in an image of one colour: the norm behind the layer removes the
        // difference, rounding errors shrink with the sums, and such an image stays constant to the last bit.
        let source = match input {
            Input::Planes(x) => Source::Planes(x, CENTRE),
            Input::Rgb(x) => Source::Rgb(x, CENTRE),
        };
        let image = Image { source, channels: 3, height, width, border: Border::Reflect, first: 0 };
        let norm = step(0, &image, &[CENTRE; 3], large, None);
        let rest = norm.rest();
        let image = raw(large, None, centred(&norm, &rest), a, [height, width], Border::Reflect);
        let norm = step(1, &image, &rest, middle, None);
        let rest = norm.rest();
        let (first, spare) = large.split_at_mut(body);
        let (second, spare) = spare.split_at_mut(body);
        let (mut kept, spare) = spare.split_at_mut(body);
        let mut keep = &mut spare[..body];
        let image = raw(middle, None, centred(&norm, &rest), b, half, Border::Reflect);
        let mut norm = step(2, &image, &rest, second, None);
        let mut rest = norm.rest();
        let blocks = (self.layers.len() - 5) / 2;
        for block in 0..blocks {
            // conv1 of a block finishes the block before it (for the first one: conv3) and keeps that for the sum. The
            // kept tensor is centred: a block adds its norm without beta.
            let entry = centred(&norm, &rest);
            let (end, skip) = if block == 0 { (entry, None) } else { (block_end(&norm), Some(&*kept)) };
            let image = raw(second, skip, end, c, quarter, Border::Reflect);
            let kept_by_conv = matches!(self.layers[3 + 2 * block].conv, Conv::Winograd(..));
            let inner = step(3 + 2 * block, &image, &rest, first, kept_by_conv.then_some(&mut *keep));
            if !kept_by_conv {
                finish(keep, second, skip, &end, pad(c));
            }
            std::mem::swap(&mut kept, &mut keep);
            let inner_rest = inner.rest();
            let image = raw(first, None, centred(&inner, &inner_rest), c, quarter, Border::Reflect);
            norm = step(4 + 2 * block, &image, &inner_rest, second, None);
            rest.iter_mut().zip(&mut norm.beta).for_each(|(rest, beta)| *rest += std::mem::take(beta));
        }
        let entry = centred(&norm, &rest);
        let (end, skip) = if blocks == 0 { (entry, None) } else { (block_end(&norm), Some(&*kept)) };
        let image = raw(second, skip, end, c, quarter, Border::Clamp);
        let index = self.layers.len() - 2;
        let norm = step(index, &image, &rest, middle, None);
        let double = quarter.map(|n| 2 * n);
        let rest = norm.rest();
        let image = raw(middle, None, centred(&norm, &rest), b, double, Border::Clamp);
        let norm = step(index + 1, &image, &rest, large, None);
        let end = Deferred { norm: &norm, relu: true, centre: None };
        let image = raw(large, None, end, a, quarter.map(|n| 4 * n), Border::Reflect);
        self.last.forward(&image, picture, pool);
        times.push(lap());
        Ok(())
    }
}

/// Norm and ReLU, centred.
pub(super) fn centred<'a>(norm: &'a Affine, rest: &'a [f32]) -> Deferred<'a> {
    Deferred { norm, relu: true, centre: Some(rest) }
}

/// The norm at the end of a residual block.
pub(super) fn block_end(norm: &Affine) -> Deferred<'_> {
    Deferred { norm, relu: false, centre: None }
}

/// A raw tensor as the next layer's input.
fn raw<'a>(
    data: &'a [f32],
    skip: Option<&'a [f32]>,
    deferred: Deferred<'a>,
    channels: usize,
    [height, width]: [usize; 2],
    border: Border,
) -> Image<'a> {
    Image { source: Source::Raw { data, skip, deferred }, channels, height, width, border, first: 0 }
}

/// Channels-last (`padded` floats a pixel) to planes.
pub(crate) fn planes(data: &[f32], channels: usize, padded: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| data.iter().skip(c).step_by(padded).copied()).collect()
}

impl Layer {
    /// Shows what this layer made of an input centred by `rest`; with `finished` also after norm and ReLU.
    fn show(
        &self,
        observe: &mut dyn FnMut(usize, Stage, Vec<f32>),
        index: usize,
        rest: &[f32],
        out: &[f32],
        moments: &[Moments],
        norm: &Affine,
        finished: bool,
    ) {
        let channels = self.gamma.len();
        let count = out.len() / pad(channels);
        let cin = self.conv.geometry().cin;
        let offset = |channel: usize| -> f64 {
            let sums = &self.tap_sums[channel * cin..(channel + 1) * cin];
            sums.iter().zip(rest).map(|(sum, &rest)| sum * f64::from(rest)).sum()
        };
        let mut raw = planes(out, channels, pad(channels));
        for (c, plane) in raw.chunks_exact_mut(count).enumerate() {
            let offset = offset(c);
            for x in plane {
                *x = (f64::from(*x) + offset) as f32;
            }
        }
        observe(index, Stage::Raw, raw);
        let moments = &moments[..channels];
        observe(index, Stage::Mean, moments.iter().enumerate().map(|(c, m)| (m.mean + offset(c)) as f32).collect());
        observe(index, Stage::Variance, moments.iter().map(|m| (m.m2 / count as f64) as f32).collect());
        if finished {
            let mut finished = vec![0.0; count * channels];
            let end = Deferred { norm, relu: true, centre: None };
            finish(&mut finished, out, None, &end, channels);
            observe(index, Stage::Finished, planes(&finished, channels, channels));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in −0.5..0.5 from a linear congruential generator.
    fn noise(len: usize, seed: &mut u64) -> Vec<f32> {
        let mut next = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..len).map(|_| next()).collect()
    }

    fn random(base: usize, blocks: usize) -> Weights {
        let (a, b, c) = (base, 2 * base, 4 * base);
        let mut shapes = vec![(3, a, 9), (a, b, 3), (b, c, 3)];
        shapes.extend(std::iter::repeat_n((c, c, 3), 2 * blocks));
        shapes.extend([(c, b, 3), (b, a, 3), (a, 3, 9)]);
        let mut seed = 1;
        let norms = &shapes[..shapes.len() - 1];
        Weights {
            base_channels: base,
            residual_blocks: blocks,
            kernels: shapes.iter().map(|&(i, o, k)| noise(i * o * k * k, &mut seed)).collect(),
            biases: shapes.iter().map(|&(_, o, _)| noise(o, &mut seed)).collect(),
            gammas: norms.iter().map(|&(_, o, _)| noise(o, &mut seed).iter().map(|x| x + 1.0).collect()).collect(),
            betas: norms.iter().map(|&(_, o, _)| noise(o, &mut seed)).collect(),
        }
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max)
    }

    #[test]
    fn methods_and_register_shapes_agree() {
        for (base, blocks) in [(4, 1), (5, 2), (8, 0)] {
            let weights = random(base, blocks);
            let x: Vec<f32> = noise(3 * 21 * 18, &mut 7).iter().map(|x| 255.0 * (x + 0.5)).collect();
            let run = |isa, winograd| {
                Network::with(isa, &weights, winograd).run(&mut Arena::new(), &x, [1, 3, 21, 18]).unwrap()
            };
            let narrow = run(Isa::Narrow, true);
            let direct = run(Isa::Narrow, false);
            assert!(distance(&narrow, &direct) < 1e-3, "{}", distance(&narrow, &direct));
            if Isa::detect() == Isa::Wide {
                // Only the grouping of the sums may differ.
                let wide = run(Isa::Wide, true);
                assert!(distance(&wide, &narrow) < 1e-3, "{}", distance(&wide, &narrow));
            }
        }
    }
}
