//! A linear map of rows, with what follows it in one pass.
//!
//! `y[m, o] = f(bias[o] + Σ_k w[o, k] · x[m, k]) + residual[m mod r, o]`, where `f` is nothing or GELU (by tanh) and the
//! residual, if there is one, has `r` rows. `f32` sums fused multiply-adds; `f16` multiplies on tensor cores
//! (`mma.sync.m16n8k16`) with `f32` sums, and rounds once when it stores (beyond ±65504: that). Orders of sums differ between
//! the twins, those of everything behind the sums do not.
//!
//! Floor: `2 · inputs` flop an output value (and 15 for GELU); `x`, `y`, the weights and the residual once each, in bytes.
//! Not measured yet.

use std::fmt::Debug;

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::Sample;
use super::conv::shared;
use super::math::gelu_all;
use crate::cpu::Packed;

/// Inputs and outputs of a map are multiples of this: whole 16-byte pieces of `f16`.
pub const LINEAR_UNIT: usize = 8;
/// Most inputs and outputs of a map.
pub const MAX_LINEAR: usize = 1 << 16;
/// Rows that one thread of the CPU works on.
const BAND: usize = 96;

/// What is applied to the sums before the residual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `z/2 · (1 + tanh(√(2/π) (z + 0.044715 z³)))`.
    Gelu,
}

/// A map's weights and bias on one backend. It may be used on every queue of the device.
#[derive(Debug)]
pub struct Linear<B: Product<T>, T: Sample> {
    inputs: usize,
    outputs: usize,
    weights: B::Matrix,
    bias: Tensor<B, f32, 1>,
}

impl<B: Product<T>, T: Sample> Linear<B, T> {
    /// Weights `[outputs, inputs]` in row-major order, and a bias for each output.
    ///
    /// # Errors
    /// When a size is no multiple of [`LINEAR_UNIT`] or larger than [`MAX_LINEAR`], or the lengths do not fit.
    pub fn new(b: &B, [outputs, inputs]: [usize; 2], weight: &[T], bias: &[f32]) -> Result<Self> {
        for n in [outputs, inputs] {
            if n == 0 || n > MAX_LINEAR || !n.is_multiple_of(LINEAR_UNIT) {
                let why = format!(
                    "{inputs} inputs, {outputs} outputs; both must be multiples of {LINEAR_UNIT} up to {MAX_LINEAR}"
                );
                return Err(Error::value("weight", why));
            }
        }
        if weight.len() != outputs * inputs {
            return Err(Error::shape("weight", &[outputs, inputs], &[weight.len()]));
        }
        if bias.len() != outputs {
            return Err(Error::shape("bias", &[outputs], &[bias.len()]));
        }
        let weights = b.pack_matrix([outputs, inputs], weight)?;
        Ok(Self { inputs, outputs, weights, bias: shared(b, bias)? })
    }

    /// Values of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// What the kernels get by value. Twin of `LinearParams` in `kernels/linear.cu`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct LinearParams {
    pub(crate) rows: u64,
    /// Rows of the residual; 0 without one.
    pub(crate) period: u64,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    pub(crate) gelu: u32,
    pub(crate) pad: u32,
}

/// The operation on one backend.
pub trait Product<T: Sample>: Backend {
    /// A matrix in the order of this backend's kernels.
    type Matrix: Debug + Send + Sync;

    #[doc(hidden)]
    fn pack_matrix(&self, shape: [usize; 2], weight: &[T]) -> Result<Self::Matrix>;

    #[doc(hidden)]
    fn linear_unchecked(
        &self,
        p: LinearParams,
        map: &Linear<Self, T>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;
}

/// Applies a map to the rows of `x` `[m, inputs]`, into `y` `[m, outputs]`. The residual `[r, outputs]` is repeated when it
/// has fewer rows.
///
/// # Errors
/// When a shape does not fit the map, or the rows of `y` are no multiple of the residual's.
pub fn linear_into<B: Product<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    map: &Linear<B, T>,
    activation: Activation,
    residual: Option<TensorView<'_, B, T, 2>>,
    y: TensorViewMut<'_, B, T, 2>,
) -> Result<()> {
    let [rows, inputs] = x.shape();
    if inputs != map.inputs {
        return Err(Error::shape("x", &[rows, map.inputs], &x.shape()));
    }
    if y.shape() != [rows, map.outputs] {
        return Err(Error::shape("y", &[rows, map.outputs], &y.shape()));
    }
    if rows > i32::MAX as usize * 64 {
        return Err(Error::value("x", format!("{rows} rows are more than one call takes")));
    }
    let mut period = 0;
    if let Some(residual) = residual {
        let [r, outputs] = residual.shape();
        if outputs != map.outputs || r == 0 || !rows.is_multiple_of(r) {
            return Err(Error::shape("residual", &[rows, map.outputs], &residual.shape()));
        }
        period = r as u64;
    }
    if rows == 0 {
        return Ok(());
    }
    let p = LinearParams {
        rows: rows as u64,
        period,
        inputs: inputs as u32,
        outputs: map.outputs as u32,
        gelu: (activation == Activation::Gelu).into(),
        pad: 0,
    };
    b.linear_unchecked(p, map, x.flat(), residual.map(TensorView::flat), y.flat())
}

/// [`linear_into`] a new tensor.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use style::ops::{Activation, Linear, linear};
///
/// let cpu = Cpu::new();
/// let map = Linear::new(&cpu, [8, 8], &[1.0f32; 64], &[0.5; 8])?;
/// let x = Tensor::from_slice(&cpu, [1, 8], &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0])?;
/// let y = linear(&cpu, x.view(), &map, Activation::None, None)?;
/// assert_eq!(y.to_vec(&cpu)?, [6.5; 8]);
/// # Ok::<(), gpu_core::Error>(())
/// ```
///
/// # Errors
/// As [`linear_into`], and when there is no memory.
pub fn linear<B: Product<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    map: &Linear<B, T>,
    activation: Activation,
    residual: Option<TensorView<'_, B, T, 2>>,
) -> Result<Tensor<B, T, 2>> {
    let mut y = Tensor::scratch(b, [x.shape()[0], map.outputs])?;
    linear_into(b, x, map, activation, residual, y.view_mut())?;
    Ok(y)
}

/// A matrix as the CPU's micro-kernel reads it.
#[doc(hidden)]
#[derive(Debug)]
pub struct CpuMatrix(Packed);

impl<T: Sample> Product<T> for Cpu {
    type Matrix = CpuMatrix;

    fn pack_matrix(&self, [outputs, inputs]: [usize; 2], weight: &[T]) -> Result<CpuMatrix> {
        Ok(CpuMatrix(Packed::new(inputs, outputs, |o, k| weight[o * inputs + k].widened())))
    }

    fn linear_unchecked(
        &self,
        p: LinearParams,
        map: &Linear<Self, T>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
        let (x, bias, y) = (self.read(x)?, self.read(map.bias.flat())?, self.write(y)?);
        let residual = residual.map(|r| self.read(r)).transpose()?;
        let packed = &map.weights.0;
        let pitch = packed.pitch();
        let bands = y.par_chunks_mut(BAND * outputs).zip(x.par_chunks(BAND * inputs)).enumerate();
        bands.for_each_init(
            || (Vec::new(), Vec::new()),
            |(wide, sums): &mut (Vec<f32>, Vec<f32>), (band, (y, x))| {
                wide.clear();
                wide.extend(x.iter().map(|v| v.widened()));
                sums.resize(y.len() / outputs * pitch, 0.0);
                packed.apply(wide, inputs, sums);
                let rows = y.chunks_exact_mut(outputs).zip(sums.chunks_exact_mut(pitch));
                for (row, (y, sums)) in rows.enumerate() {
                    let sums = &mut sums[..outputs];
                    sums.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
                    if p.gelu == 1 {
                        gelu_all(sums);
                    }
                    if let Some(residual) = residual {
                        let from = (band * BAND + row) % p.period as usize * outputs;
                        sums.iter_mut().zip(&residual[from..]).for_each(|(v, r)| *v += r.widened());
                    }
                    y.iter_mut().zip(&*sums).for_each(|(y, v)| *y = T::nearest(*v));
                }
            },
        );
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> Product<T> for gpu_core::Cuda {
    type Matrix = Tensor<Self, T, 1>;

    fn pack_matrix(&self, _shape: [usize; 2], weight: &[T]) -> Result<Self::Matrix> {
        shared(self, weight)
    }

    fn linear_unchecked(
        &self,
        p: LinearParams,
        map: &Linear<Self, T>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;

        // Twins of the tiles in kernels/linear.cu.
        let tile = if T::ROUNDS { 128 } else { 64 };
        let rows = Grid::cover(p.rows as usize, tile)?;
        let launch = self
            .kernel(&super::cuda::OPS, &format!("linear_{}", T::NAME))?
            .read(x)?
            .read(map.weights.flat())?
            .read(map.bias.flat())?
            .read(residual.unwrap_or(x))?
            .write(y)?
            .arg(p)
            .grid((rows, p.outputs.div_ceil(tile), 1))
            .block((256, 1, 1));
        // SAFETY: void linear_T(const T* x, const T* w, const float* bias, const T* residual, T* y, LinearParams p); a block
        // a tile of y, and `linear_into` has checked all lengths; without a residual its pointer is not followed.
        unsafe { launch.launch() }
    }
}
