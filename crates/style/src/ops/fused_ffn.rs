//! The feed-forward part of a transformer: two linear maps with GELU between them.
//!
//! `y = fc2(gelu(fc1(x))) + residual`, GELU by tanh. The GELU is the end of the first product, bias and residual that of the
//! second, so that of everything between only the inner values (`[m, hidden]`, in `T`) are written, once. See
//! [`linear`](super::linear) for the rounding.
//!
//! Floor: `4 · width · hidden` flop a row; `x`, `y`, the inner values twice and the weights once, in bytes. Not measured yet.

use gpu_core::{Error, Result, Tensor, TensorView, TensorViewMut};

use super::Sample;
use super::linear::{Activation, Linear, Product, linear_into};

/// `fc2(gelu(fc1(x))) + residual` of rows `x` `[m, width]`, into `y` of the same shape; `work` is `[m, hidden]`, and what it
/// holds before and after has no meaning.
///
/// # Errors
/// When shapes do not fit.
pub fn fused_ffn_into<B: Product<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    [fc1, fc2]: [&Linear<B, T>; 2],
    residual: Option<TensorView<'_, B, T, 2>>,
    y: TensorViewMut<'_, B, T, 2>,
    mut work: TensorViewMut<'_, B, T, 2>,
) -> Result<()> {
    if fc2.inputs() != fc1.outputs() {
        return Err(Error::shape("fc2 (inputs)", &[fc1.outputs()], &[fc2.inputs()]));
    }
    linear_into(b, x, fc1, Activation::Gelu, None, work.reborrow())?;
    let shape = work.shape();
    let inner = work.flat();
    linear_into(b, TensorView::new(inner.as_view(), shape)?, fc2, Activation::None, residual, y)
}

/// [`fused_ffn_into`] a new tensor.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use style::ops::{Linear, fused_ffn};
///
/// let cpu = Cpu::new();
/// let fc1 = Linear::new(&cpu, [16, 8], &[0.0f32; 128], &[100.0; 16])?;
/// let fc2 = Linear::new(&cpu, [8, 16], &[0.25; 128], &[1.0; 8])?;
/// let x = Tensor::from_slice(&cpu, [1, 8], &[3.0; 8])?;
/// let y = fused_ffn(&cpu, x.view(), [&fc1, &fc2], None)?;
/// assert_eq!(y.to_vec(&cpu)?, [16.0 * 25.0 + 1.0; 8]); // GELU leaves 100 as it is
/// # Ok::<(), gpu_core::Error>(())
/// ```
///
/// # Errors
/// As [`fused_ffn_into`], and when there is no memory.
pub fn fused_ffn<B: Product<T>, T: Sample>(
    b: &B,
    x: TensorView<'_, B, T, 2>,
    [fc1, fc2]: [&Linear<B, T>; 2],
    residual: Option<TensorView<'_, B, T, 2>>,
) -> Result<Tensor<B, T, 2>> {
    let rows = x.shape()[0];
    let mut y = Tensor::scratch(b, [rows, fc2.outputs()])?;
    let mut work = Tensor::scratch(b, [rows, fc1.outputs()])?;
    fused_ffn_into(b, x, [fc1, fc2], residual, y.view_mut(), work.view_mut())?;
    Ok(y)
}
