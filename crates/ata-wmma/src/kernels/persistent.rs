//! Many iterations of Fista in one launch, with the matrix kept in the shared memory of all blocks.
//!
//! `k` times the product of [`apply`](super::apply) and the step of [`fista_step`](super::fista_step), with the same
//! roundings in the same order: what comes out are the bits of separate launches. Blocks own strips of 32 rows; after
//! each iteration they exchange x and the strips' shares of the test through memory, and meet at one barrier of the grid.
//! For `F32`, `Tf32`, `Tf32x3`, and `F16` of vectors near [0, 1]; the others, and matrices that do not fit, take separate
//! launches.
//!
//! Floor: the matrix, b and ρ once; in each iteration 12 bytes an element through the L2 cache, and a barrier.

use gpu_core::{Cpu, Error, Result, Tensor, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::apply::Operands;
use super::fista_step::fista_on_host;
use super::{Apply, ApplyParams, Batch, Control, FistaParams, Matrix, long};
use crate::precision::Precision;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PersistentParams {
    /// Frames with values.
    pub frames: u32,
    /// Frames with padding.
    pub frames_pad: u32,
    /// Channels.
    pub channels: u32,
    /// Unknowns.
    pub n: u32,
    /// Unknowns with padding.
    pub n_pad: u32,
    /// Strips.
    pub strips: u32,
    /// Packed blocks of a channel.
    pub blocks: u32,
    /// Halves of tiles of a channel that hold a block.
    pub halves: u32,
    /// Iterations.
    pub iterations: u32,
    /// Bytes of blocks that a block of threads keeps at most.
    pub room: u32,
    /// Strips of all channels.
    pub items: u32,
    /// Lower bound of every unknown.
    pub lower: f32,
    /// Upper bound of every unknown.
    pub upper: f32,
    /// Added to the diagonal.
    pub lambda: f32,
}

/// What blocks exchange.
#[derive(Debug)]
pub struct Ring<B: gpu_core::Backend> {
    /// Three turns of x and the first y, `[4, F padded, C, n padded]`.
    x: Tensor<B, f32, 1>,
    /// Shares of the test of two iterations, `[2, F, C, strips]`.
    partials: Tensor<B, f64, 1>,
}

impl<B: gpu_core::Backend> Ring<B> {
    /// Room for a batch; unspecified contents.
    ///
    /// # Errors
    /// When the device has none.
    pub fn scratch(b: &B, batch: Batch, matrix: &Matrix<B>) -> Result<Self> {
        Ok(Self {
            x: Tensor::scratch(b, [4 * batch.padded_frames() * batch.channels * batch.padded()])?,
            partials: Tensor::scratch(b, [2 * batch.lines() * matrix.strips])?,
        })
    }
}

/// The operation on one backend.
pub trait Persistent: Apply {
    /// Whether the matrix and a batch fit in what the device has.
    #[doc(hidden)]
    fn persists(&self, p: PersistentParams, matrix: &Matrix<Self>) -> Result<bool>;

    #[doc(hidden)]
    fn persistent_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: PersistentParams,
        matrix: &Matrix<Self>,
        inputs: [View<'_, Self, f32>; 2],
        xy: [ViewMut<'_, Self, f32>; 2],
        t: ViewMut<'_, Self, f64>,
        ring: &mut Ring<Self>,
    ) -> Result<()>;
}

fn parameters<B: gpu_core::Backend>(batch: Batch, matrix: &Matrix<B>, iterations: usize) -> PersistentParams {
    PersistentParams {
        frames: batch.frames as u32,
        frames_pad: batch.padded_frames() as u32,
        channels: batch.channels as u32,
        n: batch.n as u32,
        n_pad: batch.padded() as u32,
        strips: matrix.strips as u32,
        blocks: matrix.blocks as u32,
        halves: matrix.schedule.halves.last().copied().unwrap_or(0),
        iterations: iterations as u32,
        room: 0,
        items: (matrix.strips * batch.channels) as u32,
        lower: 0.0,
        upper: 0.0,
        lambda: 0.0,
    }
}

/// Whether [`fista_persistent`] takes this matrix and batch on this device.
///
/// # Errors
/// When the driver does not answer.
pub fn persists<B: Persistent>(b: &B, batch: Batch, matrix: &Matrix<B>, unit_range: bool) -> Result<bool> {
    let known = matches!(matrix.precision, Precision::F32 | Precision::Tf32 | Precision::Tf32x3 | Precision::F16);
    if batch.is_empty() || !known || matrix.casts(unit_range) {
        return Ok(false);
    }
    batch.check()?;
    b.persists(parameters(batch, matrix, 1), matrix)
}

/// Iterations of Fista; `inputs` are `b`, `[F, C, n]`, and `ρ`, `[C, n]` (with λ in it). `x`, `y` and `t` go on from what
/// they hold.
///
/// # Errors
/// When a view or the ring has another length than the batch, or the matrix does not fit ([`persists`]).
pub fn fista_persistent<B: Persistent>(
    backend: &B,
    stop: &Control<B>,
    batch: Batch,
    matrix: &Matrix<B>,
    bounds: [f32; 2],
    lambda: f32,
    iterations: usize,
    inputs: [View<'_, B, f32>; 2],
    xy: [ViewMut<'_, B, f32>; 2],
    t: ViewMut<'_, B, f64>,
    ring: &mut Ring<B>,
) -> Result<()> {
    batch.check()?;
    for (what, len) in [("b", inputs[0].len()), ("x", xy[0].len()), ("y", xy[1].len())] {
        batch.fit(what, len)?;
    }
    if (batch.channels, batch.n) != (matrix.channels, matrix.n) {
        return Err(Error::shape("x", &[matrix.channels, matrix.n], &[batch.channels, batch.n]));
    }
    long("rho", batch.channels * batch.n, inputs[1].len())?;
    long("t", batch.lines(), t.len())?;
    long("ring", 4 * batch.padded_frames() * batch.channels * batch.padded(), ring.x.len())?;
    long("partials", 2 * batch.lines() * matrix.strips, ring.partials.len())?;
    if iterations == 0 || batch.is_empty() {
        return Ok(());
    }
    if !persists(backend, batch, matrix, true)? {
        let what = format!("all iterations in one launch, in {}", matrix.precision);
        return Err(Error::Unsupported { what, device: backend.device().name.clone() });
    }
    let [lower, upper] = bounds;
    let p = PersistentParams { lower, upper, lambda, ..parameters(batch, matrix, iterations) };
    backend.persistent_unchecked(stop.flag(), p, matrix, inputs, xy, t, ring)
}

impl Persistent for Cpu {
    fn persists(&self, _p: PersistentParams, _matrix: &Matrix<Self>) -> Result<bool> {
        Ok(true)
    }

    fn persistent_unchecked(
        &self,
        stop: View<'_, Self, u32>,
        p: PersistentParams,
        matrix: &Matrix<Self>,
        [b, rho]: [View<'_, Self, f32>; 2],
        [mut x, mut y]: [ViewMut<'_, Self, f32>; 2],
        mut t: ViewMut<'_, Self, f64>,
        ring: &mut Ring<Self>,
    ) -> Result<()> {
        if self.read(stop)?[0] != 0 {
            return Ok(());
        }
        let len = y.len();
        let step = FistaParams {
            frames: p.frames,
            channels: p.channels,
            n: p.n,
            lower: p.lower,
            upper: p.upper,
            lambda: p.lambda,
        };
        let product = ApplyParams {
            frames: p.frames,
            frames_pad: p.frames_pad,
            channels: p.channels,
            n: p.n,
            n_pad: p.n_pad,
            strips: p.strips,
            blocks: p.blocks,
            mode: 0,
            cast: 0,
            alpha: 1.0,
            beta: 0.0,
        };
        for _ in 0..p.iterations {
            let operands = Operands {
                x: y.as_view(),
                vectors: None,
                b,
                y: ring.x.flat_mut().slice(0..len)?,
                partials: ring.partials.flat_mut(),
            };
            self.apply_unchecked(product, matrix, operands)?;
            let inputs = [self.read(ring.x.flat().slice(0..len)?)?, self.read(b)?, self.read(rho)?];
            let (x, y, t) = (self.write(x.reborrow())?, self.write(y.reborrow())?, self.write(t.reborrow())?);
            fista_on_host(&step, inputs, x, y, t);
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use gpu_core::Cuda;
    use gpu_core::cuda::Launch;

    use super::{Error, Matrix, Persistent, PersistentParams, Precision, Result, Ring, View, ViewMut};

    fn kernel<'a>(b: &'a Cuda, matrix: &Matrix<Cuda>) -> Result<Launch<'a>> {
        let name = match matrix.precision {
            Precision::F16 => "ata_fista_persistent_f16",
            Precision::Tf32 => "ata_fista_persistent_tf32",
            Precision::Tf32x3 => "ata_fista_persistent_tf32x3",
            _ => "ata_fista_persistent_f32",
        };
        Ok(b.kernel(&super::super::cuda::KERNELS, name)?.block((256, 1, 1)))
    }

    /// Blocks of threads, bytes of blocks that one keeps, and bytes of shared memory. The most blocks that run at the same
    /// time are taken: waiting for memory is what an iteration does most.
    fn shape(b: &Cuda, p: &PersistentParams, matrix: &Matrix<Cuda>) -> Result<Option<(u32, u32, u32)>> {
        use gpu_core::Backend as _;
        let bytes = if matrix.precision == Precision::F16 { 512 } else { 1024 };
        let units = b.device().units.max(1) as u64;
        let items = u64::from(p.items);
        // Halves of all items before this one.
        let before = |item: u64| {
            let strip = matrix.schedule.halves[(item % u64::from(p.strips)) as usize];
            item / u64::from(p.strips) * u64::from(p.halves) + u64::from(strip)
        };
        for blocks in [items, 2 * units, units].into_iter().filter(|&blocks| blocks <= items) {
            let kept = (0..blocks).map(|k| before((k + 1) * items / blocks) - before(k * items / blocks)).max();
            let room = kept.unwrap_or(0) * bytes;
            let shared = room + items.div_ceil(blocks) * u64::from(p.frames_pad) * 12;
            let (Ok(room), Ok(shared), Ok(blocks)) = (room.try_into(), shared.try_into(), blocks.try_into()) else {
                continue;
            };
            if kernel(b, matrix)?.shared(shared).resident()? >= blocks {
                return Ok(Some((blocks, room, shared)));
            }
        }
        Ok(None)
    }

    impl Persistent for Cuda {
        fn persists(&self, p: PersistentParams, matrix: &Matrix<Self>) -> Result<bool> {
            Ok(shape(self, &p, matrix)?.is_some())
        }

        fn persistent_unchecked(
            &self,
            stop: View<'_, Self, u32>,
            p: PersistentParams,
            matrix: &Matrix<Self>,
            [b, rho]: [View<'_, Self, f32>; 2],
            [x, y]: [ViewMut<'_, Self, f32>; 2],
            t: ViewMut<'_, Self, f64>,
            ring: &mut Ring<Self>,
        ) -> Result<()> {
            use gpu_core::Backend as _;
            let Some((blocks, room, shared)) = shape(self, &p, matrix)? else {
                let device = self.device().name.clone();
                return Err(Error::Unsupported { what: "all iterations in one launch".to_owned(), device });
            };
            let launch = kernel(self, matrix)?.read(stop)?;
            let launch = if matrix.halves.is_empty() {
                launch.read(matrix.words.flat())?
            } else {
                launch.read(matrix.halves.flat())?
            };
            let launch = launch
                .read(matrix.schedule.tiles.flat())?
                .read(matrix.schedule.starts.flat())?
                .read(matrix.schedule.slots.flat())?
                .read(matrix.exponents.flat())?
                .read(b)?
                .read(rho)?
                .write(x)?
                .write(y)?
                .write(t)?
                .write(ring.x.flat_mut())?
                .write(ring.partials.flat_mut())?
                .arg(PersistentParams { room, ..p })
                .grid((blocks, 1, 1))
                .shared(shared)
                .cooperative();
            // SAFETY: void ata_fista_persistent_T(const uint* stop, const A* a, const uint* tiles, const uint* starts, const
            // uint* slots, const int* matrix_exponents, const float* b, const float* rho, float* x, float* y, double* t,
            // float* ring, double* partials, PersistentParams p); `fista_persistent` has checked all lengths, all blocks
            // are resident, and `room` holds the blocks of every one.
            unsafe { launch.launch() }
        }
    }
}
