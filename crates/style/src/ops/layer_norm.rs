//! Layer norm of rows, with residual, and the mean of tokens that a global token is made of.
//!
//! `y = (x − μ) / sqrt(σ² + 1e-5) · γ + β + residual`, with mean and biased variance of each row, in two passes in `f32`: the
//! deviations from the mean are exact enough that a common offset costs no digits. A row of equal values gives β.
//! The mean of tokens is `Σ x / count` by channels, in `f64`: parts of [`TOKEN_PART`] tokens one after the other, then the
//! parts one after the other, the same in both twins, to the bit.
//!
//! Floor: layer norm 8 flop and `2 · size_of::<T>()` bytes an element (`3 ·` with residual); the mean one flop and
//! `size_of::<T>()` bytes. Not measured yet.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Norm, Sample};

/// Tokens of a part of a mean.
pub const TOKEN_PART: usize = 256;

/// What the kernels get by value. Twin of `RowParams` in `kernels/tokens.cuh`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct RowParams {
    /// Rows, or tokens of one image.
    pub(crate) rows: u64,
    pub(crate) images: u32,
    pub(crate) width: u32,
    pub(crate) add: u32,
    pub(crate) eps: f32,
}

/// The operations on one backend.
pub trait LayerNorm<T: Sample>: Backend {
    #[doc(hidden)]
    fn layer_norm_unchecked(
        &self,
        p: RowParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn token_mean_unchecked(
        &self,
        p: RowParams,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

fn check(rows: usize, width: usize) -> Result<()> {
    if width == 0 || width > 1 << 20 || rows > i32::MAX as usize * 8 {
        return Err(Error::value("x", format!("{rows} rows of {width}; a row has 1 to {} values", 1 << 20)));
    }
    Ok(())
}

/// Layer norm of the rows of `x` `[m, width]`, then the sum with `residual`, into `y` of the same shape.
///
/// # Errors
/// When shapes differ or `eps` is not positive.
pub fn layer_norm_into<B: LayerNorm<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    norm: Norm<'_, B>,
    residual: Option<TensorView<'_, B, T, 2>>,
    y: TensorViewMut<'_, B, T, 2>,
) -> Result<()> {
    let [rows, width] = x.shape();
    check(rows, width)?;
    norm.check(width)?;
    for (what, shape) in [("residual", residual.map_or(x.shape(), |r| r.shape())), ("y", y.shape())] {
        if shape != x.shape() {
            return Err(Error::shape(what, &x.shape(), &shape));
        }
    }
    if rows == 0 {
        return Ok(());
    }
    let p =
        RowParams { rows: rows as u64, images: 1, width: width as u32, add: residual.is_some().into(), eps: norm.eps };
    b.layer_norm_unchecked(p, norm, x.flat(), residual.map(TensorView::flat), y.flat())
}

/// [`layer_norm_into`] a new tensor.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use style::ops::{Norm, layer_norm};
///
/// let cpu = Cpu::new();
/// let x = Tensor::from_slice(&cpu, [1, 4], &[1.0f32, 3.0, 3.0, 1.0])?;
/// let (gamma, beta) = (Tensor::from_slice(&cpu, [4], &[2.0; 4])?, Tensor::from_slice(&cpu, [4], &[10.0; 4])?);
/// let norm = Norm { gamma: gamma.flat(), beta: beta.flat(), eps: 1e-5 };
/// let y = layer_norm(&cpu, x.view(), norm, None)?;
/// assert!((y.to_vec(&cpu)?[1] - 12.0).abs() < 1e-4);
/// # Ok::<(), gpu_core::Error>(())
/// ```
///
/// # Errors
/// As [`layer_norm_into`], and when there is no memory.
pub fn layer_norm<B: LayerNorm<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    norm: Norm<'_, B>,
    residual: Option<TensorView<'_, B, T, 2>>,
) -> Result<Tensor<B, T, 2>> {
    let mut y = Tensor::scratch(b, x.shape())?;
    layer_norm_into(b, x, norm, residual, y.view_mut())?;
    Ok(y)
}

/// The mean over the tokens of each image: `[images, tokens, width]` to `y` `[images, width]`, through working memory of
/// `images · ⌈tokens / `[`TOKEN_PART`]`⌉ · width` numbers.
///
/// # Errors
/// When there are no tokens, or `y` or the working memory has another size.
pub fn token_mean_into<B: LayerNorm<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 3>,
    y: TensorViewMut<'_, B, T, 2>,
    work: TensorViewMut<'_, B, f64, 1>,
) -> Result<()> {
    let [images, tokens, width] = x.shape();
    check(tokens, width)?;
    if tokens == 0 || images > 65_535 {
        return Err(Error::value("x", format!("{images} images of {tokens} tokens have no mean")));
    }
    if y.shape() != [images, width] {
        return Err(Error::shape("y", &[images, width], &y.shape()));
    }
    let parts = images * tokens.div_ceil(TOKEN_PART) * width;
    if work.shape() != [parts] {
        return Err(Error::shape("work", &[parts], &work.shape()));
    }
    if images == 0 {
        return Ok(());
    }
    let p = RowParams { rows: tokens as u64, images: images as u32, width: width as u32, add: 0, eps: 1.0 };
    b.token_mean_unchecked(p, x.flat(), y.flat(), work.flat())
}

/// [`token_mean_into`] a new tensor.
///
/// # Errors
/// When there are no tokens, or no memory.
pub fn token_mean<B: LayerNorm<T>, T: Sample>(b: &B, x: TensorView<'_, B, T, 3>) -> Result<Tensor<B, T, 2>> {
    let [images, tokens, width] = x.shape();
    let mut y = Tensor::scratch(b, [images, width])?;
    let mut work = Tensor::<B, f64, 1>::scratch(b, [images * tokens.div_ceil(TOKEN_PART) * width])?;
    token_mean_into(b, x, y.view_mut(), work.view_mut())?;
    Ok(y)
}

/// Sum in sixteen strands that are added in one order.
#[inline(always)]
fn strands(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let (whole, rest) = values.as_chunks::<16>();
    for lane in whole {
        for j in 0..16 {
            sums[j] += f(lane[j]);
        }
    }
    for (j, v) in rest.iter().enumerate() {
        sums[j] += f(*v);
    }
    sums.iter().sum()
}

/// Normalises a row in place.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn normalise(row: &mut [f32], gamma: &[f32], beta: &[f32], eps: f32) {
    let n = row.len() as f32;
    let first = row[0];
    let mean = first + strands(row, |v| v - first) / n;
    let variance = strands(row, |v| (v - mean) * (v - mean)) / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((v, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
        *v = ((*v - mean) * scale).mul_add(*gamma, *beta);
    }
}

impl<T: Sample> LayerNorm<T> for Cpu {
    fn layer_norm_unchecked(
        &self,
        p: RowParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        let (gamma, beta) = (self.read(norm.gamma)?, self.read(norm.beta)?);
        let (width, x, y) = (p.width as usize, self.read(x)?, self.write(y)?);
        let residual = residual.map(|r| self.read(r)).transpose()?;
        let band = (1 << 14) / width + 1;
        let bands = y.par_chunks_mut(band * width).zip(x.par_chunks(band * width)).enumerate();
        bands.for_each_init(Vec::new, |row: &mut Vec<f32>, (i, (y, x))| {
            for (j, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
                row.clear();
                row.extend(x.iter().map(|v| v.widened()));
                normalise(row, gamma, beta, p.eps);
                if let Some(residual) = residual {
                    row.iter_mut().zip(&residual[(i * band + j) * width..]).for_each(|(v, r)| *v += r.widened());
                }
                y.iter_mut().zip(&*row).for_each(|(y, v)| *y = T::nearest(*v));
            }
        });
        Ok(())
    }

    fn token_mean_unchecked(
        &self,
        p: RowParams,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        work: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (width, tokens) = (p.width as usize, p.rows as usize);
        let (x, y, work) = (self.read(x)?, self.write(y)?, self.write(work)?);
        let parts = tokens.div_ceil(TOKEN_PART);
        for ((x, y), work) in
            x.chunks_exact(tokens * width).zip(y.chunks_exact_mut(width)).zip(work.chunks_exact_mut(parts * width))
        {
            work.par_chunks_exact_mut(width).zip(x.par_chunks(TOKEN_PART * width)).for_each(|(sums, x)| {
                sums.fill(0.0);
                for row in x.chunks_exact(width) {
                    sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(v.widened()));
                }
            });
            for (c, y) in y.iter_mut().enumerate() {
                let sum = work[c..].iter().step_by(width).fold(0.0, |sum, part| sum + part);
                *y = T::nearest((sum / tokens as f64) as f32);
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: Sample> LayerNorm<T> for gpu_core::Cuda {
    fn layer_norm_unchecked(
        &self,
        p: RowParams,
        norm: Norm<'_, Self>,
        x: View<'_, Self, T>,
        residual: Option<View<'_, Self, T>>,
        y: ViewMut<'_, Self, T>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;

        let launch = self
            .kernel(&super::cuda::OPS, &format!("layer_norm_{}", T::NAME))?
            .read(x)?
            .read(norm.gamma)?
            .read(norm.beta)?
            .read(residual.unwrap_or(x))?
            .write(y)?
            .arg(p)
            .grid((Grid::cover(p.rows as usize, 8)?, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void layer_norm_T(const T* x, const float* gamma, const float* beta, const T* residual, T* y, RowParams p);
        // a warp a row, and `layer_norm_into` has checked all lengths; without a residual its pointer is not followed.
        unsafe { launch.launch() }
    }

    fn token_mean_unchecked(
        &self,
        p: RowParams,
        x: View<'_, Self, T>,
        y: ViewMut<'_, Self, T>,
        mut work: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        use gpu_core::cuda::Grid;

        let parts = Grid::cover(p.rows as usize, TOKEN_PART as u32)?;
        let launch = self
            .kernel(&super::cuda::OPS, &format!("token_sums_{}", T::NAME))?
            .read(x)?
            .write(work.reborrow())?
            .arg(p)
            .grid((parts, p.images, 1))
            .looping(1)
            .block((256, 1, 1));
        // SAFETY: void token_sums_T(const T* x, double* work, RowParams p); a block a part of an image, and `token_mean` has
        // made room for the sums of all parts.
        unsafe { launch.launch()? };
        let launch = self
            .kernel(&super::cuda::OPS, &format!("token_mean_{}", T::NAME))?
            .write(work)?
            .write(y)?
            .arg(p)
            .grid((Grid::cover(p.images as usize * p.width as usize, 256)?, 1, 1))
            .block((256, 1, 1));
        // SAFETY: void token_mean_T(const double* work, T* y, RowParams p); a thread a value of y.
        unsafe { launch.launch() }
    }
}
