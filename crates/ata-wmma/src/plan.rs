//! A matrix made ready for one device and one precision.

use gpu_core::{Backend, Tensor, TensorView, TensorViewMut, ViewMut};

use crate::blocks::BlockDiag;
use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, BANDS, Batch, Engine, MOST_REACH, Matrix, Room, Use, is_band};
use crate::precision::Precision;
use crate::schedule::{Layout, Schedule};

/// How a plan multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Number format of the operands.
    pub precision: Precision,
    /// Kernel on a device.
    pub engine: Engine,
    /// Which triangles a device holds.
    pub layout: Layout,
    /// Values of the vectors are known to lie near [0, 1] (as those of Fista with such bounds do), so that `f16` needs no
    /// power of two for them. A product is one launch then, as it is in other formats.
    pub unit_range: bool,
}

/// A matrix on a device, ready to multiply. Usable on every queue of the device.
#[derive(Debug)]
pub struct Plan<B: AtaBackend> {
    matrix: Matrix<B>,
    schedule: Schedule,
    options: PlanOptions,
    channels: usize,
    n: usize,
    /// `Σ |a_ij|` of the rows, `[C, n]`.
    row_sums: Vec<f64>,
}

/// What a product needs beside its operands: make it once, use it for every product of as many frames or fewer.
#[derive(Debug)]
pub struct Work<B: Backend> {
    room: Room<B>,
}

/// Figures of a frame and channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DotFigures {
    /// `gᵀg`
    pub gg: f64,
    /// `xᵀ(g - b)`, twice the objective
    pub twice_objective: f64,
}

impl<B: AtaBackend> Plan<B> {
    /// Packs, rounds and uploads a matrix.
    ///
    /// # Errors
    /// When the engine cannot multiply in this precision, or the device has no room.
    pub fn new(b: &B, a: &BlockDiag, options: PlanOptions) -> Result<Self> {
        let fits = match options.engine {
            Engine::Auto => true,
            Engine::Wmma32 => options.precision == Precision::F16,
            Engine::Mma => options.precision != Precision::F32,
            Engine::Fma => options.precision == Precision::F32,
            Engine::Band => BANDS.contains(&options.precision),
        };
        if !fits {
            let why = format!("{:?} does not multiply in {}; choose Auto", options.engine, options.precision);
            return Err(AtaError::value("engine", why));
        }
        if options.engine == Engine::Band && !is_band(a, options.layout) {
            let why = format!(
                "Band takes the upper triangle of matrices whose farthest block diagonal is {MOST_REACH} or nearer, and \
                 this one has {:?}, layout {:?}; choose Auto",
                a.offsets().last(),
                options.layout
            );
            return Err(AtaError::value("engine", why));
        }
        let schedule = Schedule::of(a, options.layout);
        let matrix = Matrix::new(b, a, &schedule, options.precision, options.engine, options.layout)?;
        let row_sums = a.row_abs_sum().into_raw_vec_and_offset().0;
        Ok(Self { matrix, schedule, options, channels: a.channels(), n: a.n(), row_sums })
    }

    /// The tiles of every strip, the same on every backend.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The options it was made with.
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// Channels and unknowns.
    pub fn size(&self) -> [usize; 2] {
        [self.channels, self.n]
    }

    /// The packed blocks, for operations that are called by themselves.
    pub fn matrix(&self) -> &Matrix<B> {
        &self.matrix
    }

    /// `Σ |a_ij|` of every row, `[C, n]`.
    pub fn row_sums(&self) -> &[f64] {
        &self.row_sums
    }

    /// The batch of this many frames.
    pub fn batch(&self, frames: usize) -> Batch {
        Batch { frames, channels: self.channels, n: self.n }
    }

    /// Room for products of up to this many frames.
    pub fn work(&self, b: &B, frames: usize) -> Result<Work<B>> {
        Ok(Work { room: Room::new(b, self.batch(frames), &self.matrix, self.options.unit_range)? })
    }

    fn check(&self, what: &str, shape: [usize; 3]) -> Result<Batch> {
        if shape[1..] == [self.channels, self.n] {
            Ok(self.batch(shape[0]))
        } else {
            Err(AtaError::shape(what, [shape[0], self.channels, self.n], &shape))
        }
    }

    /// `y = A x` for `[F, C, n]`. Nothing is allocated, so that it may be recorded.
    pub fn apply(
        &self,
        b: &B,
        work: &mut Work<B>,
        x: TensorView<'_, B, f32, 3>,
        y: TensorViewMut<'_, B, f32, 3>,
    ) -> Result<()> {
        self.apply_axpby(b, work, 1.0, x, 0.0, y)
    }

    /// `y = α A x + β y`; with β = 0 what `y` held is not read.
    pub fn apply_axpby(
        &self,
        b: &B,
        work: &mut Work<B>,
        alpha: f32,
        x: TensorView<'_, B, f32, 3>,
        beta: f32,
        y: TensorViewMut<'_, B, f32, 3>,
    ) -> Result<()> {
        let batch = self.check("x", x.shape())?;
        if y.shape() != x.shape() {
            return Err(AtaError::shape("y", x.shape(), &y.shape()));
        }
        let what = Use::Store { alpha, beta, y: y.flat() };
        kernels::apply(b, batch, &self.matrix, self.options.unit_range, x.flat(), &mut work.room, what)?;
        Ok(())
    }

    /// `A x` in new memory.
    pub fn product(&self, b: &B, x: &Tensor<B, f32, 3>) -> Result<Tensor<B, f32, 3>> {
        let mut work = self.work(b, x.shape()[0])?;
        let mut y = Tensor::scratch(b, x.shape())?;
        self.apply(b, &mut work, x.view(), y.view_mut())?;
        Ok(y)
    }

    /// `xᵀAx` of every frame and channel, `[F, C]`, summed in `f64`; the product is not written. Nothing is allocated.
    pub fn quad_into(
        &self,
        b: &B,
        work: &mut Work<B>,
        x: TensorView<'_, B, f32, 3>,
        out: ViewMut<'_, B, f64>,
    ) -> Result<()> {
        let batch = self.check("x", x.shape())?;
        kernels::apply(b, batch, &self.matrix, self.options.unit_range, x.flat(), &mut work.room, Use::Quad)?;
        self.add(b, batch, work, 1, out)
    }

    /// [`quad_into`](Self::quad_into) for the host. Waits for the queue.
    pub fn quad(&self, b: &B, x: &Tensor<B, f32, 3>) -> Result<Vec<f64>> {
        let batch = self.check("x", x.shape())?;
        let mut work = self.work(b, batch.frames)?;
        let mut out = Tensor::<B, f64, 1>::scratch(b, [batch.lines()])?;
        self.quad_into(b, &mut work, x.view(), out.flat_mut())?;
        Ok(out.to_vec(b)?)
    }

    /// `g = A x - b`, with `gᵀg` and `xᵀ(g - b)` of every frame and channel, `[F, C, 2]`. Nothing is allocated.
    pub fn residual_into(
        &self,
        backend: &B,
        work: &mut Work<B>,
        x: TensorView<'_, B, f32, 3>,
        b: TensorView<'_, B, f32, 3>,
        g: TensorViewMut<'_, B, f32, 3>,
        out: ViewMut<'_, B, f64>,
    ) -> Result<()> {
        let batch = self.check("x", x.shape())?;
        for (what, shape) in [("b", b.shape()), ("g", g.shape())] {
            if shape != x.shape() {
                return Err(AtaError::shape(what, x.shape(), &shape));
            }
        }
        let what = Use::Residual { b: b.flat(), g: g.flat() };
        kernels::apply(backend, batch, &self.matrix, self.options.unit_range, x.flat(), &mut work.room, what)?;
        self.add(backend, batch, work, 2, out)
    }

    /// [`residual_into`](Self::residual_into) with the figures for the host. Waits for the queue.
    pub fn residual(
        &self,
        backend: &B,
        work: &mut Work<B>,
        x: &Tensor<B, f32, 3>,
        b: &Tensor<B, f32, 3>,
        g: &mut Tensor<B, f32, 3>,
    ) -> Result<Vec<DotFigures>> {
        let mut out = Tensor::<B, f64, 1>::scratch(backend, [2 * self.check("x", x.shape())?.lines()])?;
        self.residual_into(backend, work, x.view(), b.view(), g.view_mut(), out.flat_mut())?;
        let of = |f: &[f64]| DotFigures { gg: f[0], twice_objective: f[1] };
        Ok(out.to_vec(backend)?.chunks_exact(2).map(of).collect())
    }

    /// Adds the strips' shares of the figures.
    fn add(&self, b: &B, batch: Batch, work: &Work<B>, figures: usize, out: ViewMut<'_, B, f64>) -> Result<()> {
        let strips = self.schedule.strips();
        let partials = work.room.partials.flat().slice(0..batch.lines() * strips * figures)?;
        if out.len() != batch.lines() * figures {
            return Err(AtaError::shape("figures", [batch.frames, batch.channels, figures], &[out.len()]));
        }
        Ok(kernels::sums(b, batch, strips, partials, out)?)
    }

    /// `y = A x`, one product a frame: what batches are measured beside.
    pub fn apply_sequential(
        &self,
        b: &B,
        work: &mut Work<B>,
        x: &Tensor<B, f32, 3>,
        y: &mut Tensor<B, f32, 3>,
    ) -> Result<()> {
        self.check("x", x.shape())?;
        for f in 0..x.shape()[0] {
            self.apply(b, work, x.slab(f..f + 1)?, y.slab_mut(f..f + 1)?)?;
        }
        Ok(())
    }
}
