//! Running a network on pictures of any size.

use std::time::{Duration, Instant};

use gpu_core::{Backend, Event as _, View, ViewMut};
use ndarray::{Array3, Array4, ArrayView3, ArrayView4, s};

use crate::cpu::{self, SMALLEST_SIDE};
use crate::mix::Rounding;
use crate::net::{Fill, Job, Picture, Take};
use crate::weights::{LayerId, StyleModel};
use crate::{Error, Result};

/// What becomes of the surplus when a side is no multiple of four: the network's own output is up to three rows and
/// columns larger than its input, at the bottom and right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizePolicy {
    /// Cut to the size of the input.
    #[default]
    Crop,
    /// Leave it, as the original program does.
    Raw,
    /// Continue the input by reflection to a multiple of four, then cut. The added pixels count in the statistics.
    Pad,
}

/// Numbers that activations are stored in and multiplied as. Sums and statistics are `f32` or more in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision, on tensor cores: at least 66 dB from exact, and much faster. A picture of one colour is computed in
    /// `F32` all the same: its planes have no variance, so that a norm would make rounding errors as large as values.
    F16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

/// How an [`Engine`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// `None`: `F16` where the device has tensor cores for it, else `F32`. A convolutional model wider than 32, a device
    /// without such cores and the CPU work in `F32` whatever is asked for; [`Engine::precision`] says what is used.
    pub precision: Option<Precision>,
    /// Pictures of one size that are worked on together.
    pub max_batch: usize,
    /// How results become bytes.
    pub rounding: Rounding,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { precision: None, max_batch: 16, rounding: Rounding::Truncate }
    }
}

/// Where the time of the last call went. Work that overlaps the host's is counted where the host waited for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// To the device.
    pub upload: Duration,
    /// On the device.
    pub compute: Duration,
    /// From the device.
    pub download: Duration,
    /// All of the call.
    pub wall: Duration,
}

/// What one layer gives, as planes of `f32`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// Which layer.
    pub layer: LayerId,
    /// Output of the convolution, with its bias.
    pub raw: Array4<f32>,
    /// After norm and ReLU; for the second convolution of a residual block, the block's output.
    pub finished: Array4<f32>,
}

/// A backend that can run the network.
pub trait StyleBackend: Backend {
    /// The weights as the backend wants them, with working memory.
    type Network: std::fmt::Debug + Send;

    /// Packs a model's weights.
    ///
    /// # Errors
    /// When the device has no room for them.
    fn prepare(&self, model: &StyleModel, options: &EngineOptions) -> Result<Self::Network>;

    /// What it computes with.
    fn precision(network: &Self::Network) -> Precision;

    /// Whose statistics norms use.
    ///
    /// # Errors
    /// For a transformer, where they are not a picture's own.
    #[doc(hidden)]
    fn set_statistics(network: &mut Self::Network, of: cpu::Statistics) -> Result<()>;

    /// Whether it is exact for pictures of one colour; else [`host`](Self::host) is, where there is one.
    #[doc(hidden)]
    const EXACT_WHEN_FLAT: bool;

    /// The network on the CPU, for pictures of one colour.
    #[doc(hidden)]
    fn host(network: &mut Self::Network) -> Option<(&cpu::Network, &mut cpu::Arena)>;

    /// Runs what `fill` brings, and hands the result to `take` with one number: how many tiles left the range of the
    /// number type, so that the result is not to be trusted. `exact` asks for `F32` whatever the options said.
    ///
    /// # Errors
    /// When memory runs out or the device is lost.
    #[doc(hidden)]
    fn forward<S: Picture>(
        &self,
        network: &mut Self::Network,
        job: &Job,
        exact: bool,
        fill: &mut Fill<'_, Self, S>,
        take: &mut Take<'_, Self, S>,
    ) -> Result<()>;

    /// Runs one picture whose activations have no room on the device, some rows at a time; how many tiles left the range.
    /// None for networks that cannot be run so.
    ///
    /// # Errors
    /// When not even one row of tiles has room, a scratch file cannot be written, or the device is lost.
    #[doc(hidden)]
    fn in_strips<S: Picture>(
        &self,
        _: &mut Self::Network,
        _: &Job,
        _exact: bool,
        _from: &[S],
        _to: &mut [S],
    ) -> Result<Option<u32>> {
        Ok(None)
    }

    /// Whether [`forward`](Self::forward) itself worked on its last pictures some rows at a time.
    #[doc(hidden)]
    fn spilled(_: &Self::Network) -> bool {
        false
    }

    /// What every layer with a norm gives, and the raw output.
    #[doc(hidden)]
    fn activations(
        &self,
        network: &mut Self::Network,
        x: ArrayView4<'_, f32>,
    ) -> Result<(Vec<Activation>, Array4<f32>)>;
}

/// A network on one backend, ready for pictures.
///
/// ```
/// use gpu_core::Cpu;
/// use ndarray::Array4;
/// use style::{Engine, SizePolicy, weights::StyleModel};
///
/// // `StyleModel::load("candy.safetensors")` reads real weights.
/// let model = StyleModel::random(4, 1, 7);
/// let mut engine = Engine::new(&Cpu::new(), &model)?;
/// let picture = Array4::from_shape_fn((1, 3, 9, 13), |(_, c, y, x)| (c * 80 + y * 5 + x) as f32);
/// let styled = engine.run(picture.view(), SizePolicy::Crop)?;
/// assert_eq!(styled.dim(), (1, 3, 9, 13));
/// # Ok::<(), style::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine<B: StyleBackend> {
    pub(crate) backend: B,
    pub(crate) network: B::Network,
    pub(crate) options: EngineOptions,
    timing: Timing,
    reruns: usize,
    strips: usize,
    pub(crate) statistics: cpu::Statistics,
}

impl<B: StyleBackend> Engine<B> {
    /// Packs a model's weights for a backend.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(backend: &B, model: &StyleModel) -> Result<Self> {
        Self::with(backend, model, EngineOptions::default())
    }

    /// Packs a model's weights for a backend, with options.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn with(backend: &B, model: &StyleModel, options: EngineOptions) -> Result<Self> {
        let options = EngineOptions { max_batch: options.max_batch.max(1), ..options };
        let network = backend.prepare(model, &options)?;
        let (timing, statistics) = (Timing::default(), cpu::Statistics::Frame);
        Ok(Self { backend: backend.clone(), network, options, timing, reruns: 0, strips: 0, statistics })
    }

    /// What it computes with.
    pub fn precision(&self) -> Precision {
        B::precision(&self.network)
    }

    /// Whose statistics norms use from now on, for frames that follow one another. Results then depend on the frames
    /// before; on a GPU, a frame of another size begins anew, and after values beyond the range of `f16` all is `F32`.
    ///
    /// # Errors
    /// For a transformer, whose norms are those of tokens.
    pub fn set_statistics(&mut self, of: cpu::Statistics) -> Result<()> {
        B::set_statistics(&mut self.network, of)?;
        self.statistics = of;
        Ok(())
    }

    /// Pictures that are worked on together; where they depend on one another, each alone.
    fn together(&self) -> usize {
        if self.statistics == cpu::Statistics::Frame { self.options.max_batch } else { 1 }
    }

    /// Where the time of the last call went.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// How many batches left the range of `f16`, so that they were run again in `f32`.
    pub fn reruns(&self) -> usize {
        self.reruns
    }

    /// How many pictures had no room, so that they were worked on some rows at a time. They have the same bits; on a GPU,
    /// where whole pictures of their size use wide tiles (above 1200 pixels a multiprocessor), and below other roundings.
    pub fn strips(&self) -> usize {
        self.strips
    }

    /// Runs pictures `[b, 3, h, w]`, RGB in 0..255 as `f32`; the result has the size that the policy says and is not
    /// clamped. Pictures of a batch do not influence each other.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`] when a side is shorter than five, [`Error::Shape`] when there are not three channels.
    pub fn run(&mut self, x: ArrayView4<'_, f32>, policy: SizePolicy) -> Result<Array4<f32>> {
        let (start, before) = (Instant::now(), self.timing);
        let (batch, channels, height, width) = x.dim();
        check(channels, height, width, x.shape())?;
        self.timing = Timing::default();
        let job = Job { n: batch, h: height, w: width, policy, rounding: self.options.rounding };
        let [out_h, out_w] = job.output();
        let mut out = Array4::zeros((batch, 3, out_h, out_w));
        for first in (0..batch).step_by(self.together()) {
            let some = first..batch.min(first + self.together());
            let part = x.slice(s![some.clone(), .., .., ..]);
            let part = part.as_standard_layout();
            let mut part_out = out.slice_mut(s![some.clone(), .., .., ..]);
            let (Some(from), Some(to)) = (part.as_slice(), part_out.as_slice_mut()) else { continue };
            self.batch(&Job { n: some.len(), ..job }, from, to).inspect_err(|_| self.timing = before)?;
        }
        self.timing.wall = start.elapsed();
        Ok(out)
    }

    /// Runs pictures `[b, 3, h, w]` as the original program does: the raw output of the network, up to three rows and
    /// columns larger and not clamped.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_f32(&mut self, x: ArrayView4<'_, f32>) -> Result<Array4<f32>> {
        self.run(x, SizePolicy::Raw)
    }

    /// As [`run`](Self::run), for pictures whose channels lie last: `[b, h, w, 3]`, to the same order.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_nhwc(&mut self, x: ArrayView4<'_, f32>, policy: SizePolicy) -> Result<Array4<f32>> {
        let planes = self.run(x.permuted_axes([0, 3, 1, 2]), policy)?;
        Ok(planes.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned())
    }

    /// Runs pictures of bytes `[h, w, 3]`, RGB, of any sizes; those of one size are worked on together. Results are in
    /// the order of the pictures.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_u8(&mut self, pictures: &[ArrayView3<'_, u8>], policy: SizePolicy) -> Result<Vec<Array3<u8>>> {
        let (start, before) = (Instant::now(), self.timing);
        self.timing = Timing::default();
        let mut sizes: Vec<((usize, usize), Vec<usize>)> = Vec::new();
        for (i, picture) in pictures.iter().enumerate() {
            let (height, width, channels) = picture.dim();
            check(channels, height, width, picture.shape())?;
            match sizes.iter_mut().find(|(size, _)| *size == (height, width)) {
                Some((_, members)) => members.push(i),
                None => sizes.push(((height, width), vec![i])),
            }
        }
        let mut results: Vec<Option<Array3<u8>>> = vec![None; pictures.len()];
        for ((h, w), members) in sizes {
            for some in members.chunks(self.together()) {
                let job = Job { n: some.len(), h, w, policy, rounding: self.options.rounding };
                let mut from = Vec::with_capacity(job.input_len());
                for &i in some {
                    match pictures[i].as_slice() {
                        Some(bytes) => from.extend_from_slice(bytes),
                        None => from.extend(pictures[i].iter()),
                    }
                }
                let mut to = vec![0; job.output_len()];
                self.batch(&job, &from, &mut to).inspect_err(|_| self.timing = before)?;
                let [h, w] = job.output();
                for (&i, bytes) in some.iter().zip(to.chunks_exact(3 * h * w)) {
                    results[i] = Array3::from_shape_vec((h, w, 3), bytes.to_vec()).ok();
                }
            }
        }
        self.timing.wall = start.elapsed();
        Ok(results.into_iter().flatten().collect())
    }

    /// What every layer with a norm gives for pictures `[b, 3, h, w]`, in order, and the raw output. For tests and for
    /// looking into a network: it takes much more memory and time than [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn activations(&mut self, x: ArrayView4<'_, f32>) -> Result<(Vec<Activation>, Array4<f32>)> {
        let (_, channels, height, width) = x.dim();
        check(channels, height, width, x.shape())?;
        self.backend.activations(&mut self.network, x)
    }

    /// Whether pictures of one colour need nothing else than others: with statistics of other frames, theirs do not matter.
    pub(crate) fn as_they_are(&self) -> bool {
        B::EXACT_WHEN_FLAT || self.statistics != cpu::Statistics::Frame
    }

    /// One batch from and to host memory.
    pub(crate) fn batch<S: Picture>(&mut self, job: &Job, from: &[S], to: &mut [S]) -> Result<()> {
        if job.n == 0 {
            return Ok(());
        }
        // A picture of one colour gives one colour, whatever its size. Sums of four phases with weights of their own differ
        // by their roundings, which the norms of a flat picture would make large.
        let (size_in, size_out) = (from.len() / job.n, to.len() / job.n);
        let colours: Vec<Option<[S; 3]>> =
            if self.as_they_are() { Vec::new() } else { from.chunks_exact(size_in).map(S::only_colour).collect() };
        if colours.iter().all(Option::is_none) {
            return self.checked(job, from, to);
        }
        let one = Job { n: 1, ..*job };
        let pictures = from.chunks_exact(size_in).zip(to.chunks_exact_mut(size_out)).zip(colours);
        for ((from, to), colour) in pictures {
            let done = match colour {
                Some(colour) => self.flat(&one, colour, to)?,
                None => false,
            };
            if !done {
                self.checked(&one, from, to)?;
            }
        }
        Ok(())
    }

    /// The result for a picture of one colour, from a small one on the CPU; false where the network has no need of that.
    fn flat<S: Picture>(&mut self, job: &Job, colour: [S; 3], to: &mut [S]) -> Result<bool> {
        let Some((network, arena)) = B::host(&mut self.network) else { return Ok(false) };
        let small = Job { h: 8, w: 8, policy: SizePolicy::Raw, ..*job };
        let (mut x, mut y) = (vec![colour[0]; small.input_len()], vec![colour[0]; small.output_len()]);
        S::fill_with(colour, &mut x);
        S::on_cpu(network, arena, &small, &x, &mut y)?;
        S::fill_with(S::only_colour(&y).unwrap_or(colour), to);
        Ok(true)
    }

    /// One batch; again in `f32` when it left the range of `f16`.
    fn checked<S: Picture>(&mut self, job: &Job, from: &[S], to: &mut [S]) -> Result<()> {
        if self.once(job, false, from, to)? > 0 {
            self.reruns += 1;
            tracing::warn!(pictures = job.n, "values beyond the range of f16: running again in f32");
            self.once(job, true, from, to)?;
        }
        Ok(())
    }

    /// One batch; when it has no room, picture by picture, and then in strips.
    fn once<S: Picture>(&mut self, job: &Job, exact: bool, from: &[S], to: &mut [S]) -> Result<u32> {
        let full = match self.whole(job, exact, from, to) {
            Err(Error::Gpu(full @ gpu_core::Error::OutOfMemory { .. })) => full,
            other => {
                self.strips += if B::spilled(&self.network) && other.is_ok() { job.n } else { 0 };
                return other;
            }
        };
        if job.n > 1 {
            let one = Job { n: 1, ..*job };
            let pictures = from.chunks_exact(from.len() / job.n).zip(to.chunks_exact_mut(to.len() / job.n));
            return pictures.map(|(from, to)| self.once(&one, exact, from, to)).sum();
        }
        let start = Instant::now();
        let escaped = self.backend.in_strips(&mut self.network, job, exact, from, to)?.ok_or(full)?;
        self.timing.compute += start.elapsed();
        if self.strips == 0 {
            tracing::info!(width = job.w, height = job.h, "the picture is larger than the memory: working in strips");
        }
        self.strips += 1;
        Ok(escaped)
    }

    fn whole<S: Picture>(&mut self, job: &Job, exact: bool, from: &[S], to: &mut [S]) -> Result<u32> {
        let Self { backend: b, network, timing, .. } = self;
        let b = &*b;
        let (start, mut filled, mut done, mut flag) = (b.record()?, None, None, [0]);
        b.forward::<S>(
            network,
            job,
            exact,
            &mut |x: ViewMut<'_, B, S>| {
                b.upload(from, x)?;
                filled = Some(b.record()?);
                Ok(())
            },
            &mut |y: View<'_, B, S>, escaped: View<'_, B, u32>| {
                done = Some(b.record()?);
                b.download(y, to)?;
                b.download(escaped, &mut flag)
            },
        )?;
        let end = b.record()?;
        if let (Some(filled), Some(done)) = (filled, done) {
            timing.upload += filled.since(&start)?;
            timing.compute += done.since(&filled)?;
            timing.download += end.since(&done)?;
        }
        Ok(flag[0])
    }
}

/// Refuses what is no picture, and what is too small for the reflection at its border.
pub(crate) fn check(channels: usize, height: usize, width: usize, shape: &[usize]) -> Result<()> {
    if channels != 3 {
        let expected = shape.iter().map(|&n| if n == channels { 3 } else { n }).collect();
        return Err(Error::Shape { what: "x", expected, got: shape.to_vec() });
    }
    if height.min(width) < SMALLEST_SIDE {
        return Err(Error::InputTooSmall { height, width, smallest: SMALLEST_SIDE });
    }
    Ok(())
}
