//! A matrix made ready for one device and one precision.

use gpu_core::{Backend, Tensor, TensorView, TensorViewMut};

use crate::blocks::BlockDiag;
use crate::error::{AtaError, Result};
use crate::kernels::{self, AtaBackend, Batch, Engine, FIGURES, Matrix, Vectors};
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
    /// Values of the vectors are known to lie in [0, 1], so that `f16` needs no power of two for them.
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
    vectors: Vectors<B>,
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
        };
        if !fits {
            let why = format!("{:?} does not multiply in {}; choose Auto", options.engine, options.precision);
            return Err(AtaError::value("engine", why));
        }
        let schedule = Schedule::of(a, options.layout);
        let matrix = Matrix::new(b, a, &schedule, options.precision, options.engine)?;
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
        Ok(Work { vectors: Vectors::scratch(b, self.batch(frames), self.options.precision)? })
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
        if batch.frames == 0 {
            return Ok(());
        }
        kernels::cast_x(b, batch, x.flat(), self.options.unit_range, &mut work.vectors)?;
        kernels::apply(b, batch, &self.matrix, [alpha, beta], &work.vectors, y.flat())?;
        Ok(())
    }

    /// `A x` in new memory.
    pub fn product(&self, b: &B, x: &Tensor<B, f32, 3>) -> Result<Tensor<B, f32, 3>> {
        let mut work = self.work(b, x.shape()[0])?;
        let mut y = Tensor::scratch(b, x.shape())?;
        self.apply(b, &mut work, x.view(), y.view_mut())?;
        Ok(y)
    }

    /// `xᵀAx` of every frame and channel, `[F, C]`, summed in `f64`. Waits for the queue.
    pub fn quad(&self, b: &B, x: &Tensor<B, f32, 3>) -> Result<Vec<f64>> {
        let y = self.product(b, x)?;
        let figures = Self::figures(b, self.check("x", x.shape())?, x, &y, &y)?;
        Ok(figures.chunks_exact(FIGURES).map(|f| f[0]).collect())
    }

    /// `g = A x - b`, with `gᵀg` and `xᵀ(g - b)` of every frame and channel. Waits for the queue.
    pub fn residual(
        &self,
        backend: &B,
        work: &mut Work<B>,
        x: &Tensor<B, f32, 3>,
        b: &Tensor<B, f32, 3>,
        g: &mut Tensor<B, f32, 3>,
    ) -> Result<Vec<DotFigures>> {
        let batch = self.check("b", b.shape())?;
        backend.copy(b.flat(), g.flat_mut())?;
        self.apply_axpby(backend, work, 1.0, x.view(), -1.0, g.view_mut())?;
        let figures = Self::figures(backend, batch, x, g, b)?;
        let of = |f: &[f64]| DotFigures { gg: f[1], twice_objective: f[2] };
        Ok(figures.chunks_exact(FIGURES).map(of).collect())
    }

    fn figures(
        b: &B,
        batch: Batch,
        x: &Tensor<B, f32, 3>,
        y: &Tensor<B, f32, 3>,
        z: &Tensor<B, f32, 3>,
    ) -> Result<Vec<f64>> {
        let mut out = Tensor::<B, f64, 1>::scratch(b, [FIGURES * batch.lines()])?;
        kernels::dots(b, batch, [x.flat(), y.flat(), z.flat()], out.flat_mut())?;
        Ok(out.to_vec(b)?)
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
