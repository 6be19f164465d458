//! Stand-alone operations on planar f32 tensors `[B, C, H, W]`: the CPU twins of the GPU kernels, on the same engine.

use crate::cpu::buffer::pad;
use crate::cpu::conv::{Conv, Pool};
use crate::cpu::direct::Geometry;
use crate::cpu::error::{ShapeError, check_len, volume};
use crate::cpu::kernel::Isa;
use crate::cpu::moments::{Affine, Moments};
use crate::cpu::network::planes;
use crate::cpu::pack::{Deferred, Image, Source, finish};
use crate::ops::Coefficients;

/// A convolution's parameters.
#[derive(Clone, Copy, Debug)]
pub struct ConvParams<'a> {
    /// Weights `[out, in, kh, kw]`.
    pub weight: &'a [f32],
    /// Shape of `weight`.
    pub weight_shape: [usize; 4],
    /// Bias `[out]`.
    pub bias: &'a [f32],
    /// Reflection padding on all four sides; smaller than the image's sides.
    pub padding: usize,
    /// Strides of rows and columns.
    pub stride: [usize; 2],
    /// Nearest × 2 before the padding; only for 3 × 3 with stride 1 and padding 1.
    pub upsample: bool,
}

/// An instance norm's parameters.
#[derive(Clone, Copy, Debug)]
pub struct NormParams<'a> {
    /// Scales `[C]`.
    pub gamma: &'a [f32],
    /// Offsets `[C]`.
    pub beta: &'a [f32],
    /// Added to the variance inside the root.
    pub eps: f64,
}

/// A convolution followed by an instance norm.
#[derive(Clone, Copy, Debug)]
pub struct ConvNormParams<'a> {
    /// The convolution.
    pub conv: ConvParams<'a>,
    /// The norm.
    pub norm: NormParams<'a>,
}

impl ConvParams<'_> {
    fn pack(&self, [_, channels, height, width]: [usize; 4]) -> Result<Conv, ShapeError> {
        let [cout, cin, kh, kw] = self.weight_shape;
        check_len(channels, cin)?;
        check_len(self.weight.len(), volume(&self.weight_shape))?;
        check_len(self.bias.len(), cout)?;
        // No pictures may have any size: one that no memory holds is none.
        if volume(&[channels, height, width, size_of::<f32>(), 4]) > isize::MAX as usize {
            return Err(ShapeError::BadGeometry);
        }
        let phases = !self.upsample || (kh == 3 && kw == 3 && self.stride == [1, 1] && self.padding == 1);
        let scale = if self.upsample { 2 } else { 1 };
        let (h, w) = (height * scale, width * scale);
        let fits = self.padding < h.min(w) && h + 2 * self.padding >= kh && w + 2 * self.padding >= kw;
        let positive = [cout, cin, kh, kw, self.stride[0], self.stride[1], height, width].iter().all(|&n| n > 0);
        if !(phases && positive && fits) {
            return Err(ShapeError::BadGeometry);
        }
        let geometry = Geometry {
            cin,
            cout,
            kernel: [kh, kw],
            stride: self.stride,
            padding: self.padding,
            upsample: self.upsample,
        };
        Ok(Conv::direct(Isa::detect(), geometry, self.weight))
    }
}

/// The raw tensor of one image, channels-last, with its statistics.
struct Raw {
    data: Vec<f32>,
    size: [usize; 2],
    moments: Vec<Moments>,
}

impl Raw {
    fn affine(&self, norm: &NormParams<'_>) -> Affine {
        Affine::new(&self.moments, self.size[0] * self.size[1], norm.gamma, norm.beta, norm.eps)
    }
}

fn convolve(conv: &Conv, source: Source<'_>, [height, width]: [usize; 2], pool: &Pool) -> Raw {
    let geometry = conv.geometry();
    let size = geometry.output(height, width);
    let mut data = vec![0.0; size[0] * size[1] * pad(geometry.cout)];
    let image = Image { source, channels: geometry.cin, height, width, border: geometry.border(), first: 0 };
    let (moments, _) = conv.forward(&image, &mut data, None, pool);
    Raw { data, size, moments }
}

fn pool() -> Pool {
    let mut pool = Pool::default();
    pool.prepare();
    pool
}

fn check_norm(norm: &NormParams<'_>, channels: usize) -> Result<(), ShapeError> {
    check_len(norm.gamma.len(), channels)?;
    check_len(norm.beta.len(), channels)
}

/// Convolution with reflection padding and bias. `x` has the shape `[B, Cin, H, W]`; gives the output and its shape
/// `[B, Cout, Ho, Wo]` with `Ho = (H + 2p − kh) / stride + 1`.
///
/// # Errors
/// When slices are not as long as their shapes say, a size is 0, or the padding reaches the far edge.
pub fn fused_conv_reflection_pad(
    x: &[f32],
    shape: [usize; 4],
    params: &ConvParams<'_>,
) -> Result<(Vec<f32>, [usize; 4]), ShapeError> {
    let [batch, cin, height, width] = shape;
    check_len(x.len(), volume(&shape))?;
    let (conv, pool) = (params.pack(shape)?, pool());
    let cout = params.weight_shape[0];
    let [h, w] = conv.geometry().output(height, width);
    let mut out = Vec::with_capacity(batch * cout * h * w);
    for x in x.chunks_exact(cin * height * width) {
        let raw = convolve(&conv, Source::Planes(x, 0.0), [height, width], &pool);
        let mut image = planes(&raw.data, cout, pad(cout));
        for (plane, bias) in image.chunks_exact_mut(h * w).zip(params.bias) {
            for y in plane {
                *y += bias;
            }
        }
        out.extend(image);
    }
    Ok((out, [batch, cout, h, w]))
}

/// Instance norm of `x` `[B, C, H, W]`, then ReLU if `relu`, then the sum with `residual` (same shape as `x`).
///
/// # Errors
/// When slices are not as long as their shapes say.
pub fn instance_norm(
    x: &[f32],
    [batch, channels, height, width]: [usize; 4],
    norm: &NormParams<'_>,
    relu: bool,
    residual: Option<&[f32]>,
) -> Result<Vec<f32>, ShapeError> {
    let pixels = volume(&[height, width]);
    check_len(x.len(), volume(&[batch, channels, pixels]))?;
    check_len(residual.map_or(x.len(), <[f32]>::len), x.len())?;
    check_norm(norm, channels)?;
    if pixels == 0 {
        return Ok(Vec::new());
    }
    let mut out = vec![0.0; x.len()];
    for (i, (to, plane)) in out.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate() {
        let c = i % channels;
        let norm = Coefficients::of(plane, norm.gamma[c], norm.beta[c], norm.eps as f32, false);
        for (to, &x) in to.iter_mut().zip(plane) {
            *to = norm.apply(x, relu);
        }
    }
    if let Some(residual) = residual {
        out.iter_mut().zip(residual).for_each(|(y, x)| *y += x);
    }
    Ok(out)
}

/// Convolution, instance norm and (if `relu`) ReLU. Shapes as in [`fused_conv_reflection_pad`]. The statistics come
/// out of the convolution; its bias cancels.
///
/// # Errors
/// As [`fused_conv_reflection_pad`] and [`instance_norm`].
pub fn fused_conv_instancenorm(
    x: &[f32],
    shape: [usize; 4],
    params: &ConvNormParams<'_>,
    relu: bool,
) -> Result<(Vec<f32>, [usize; 4]), ShapeError> {
    let [batch, cin, height, width] = shape;
    check_len(x.len(), volume(&shape))?;
    let (conv, pool) = (params.conv.pack(shape)?, pool());
    let cout = params.conv.weight_shape[0];
    check_norm(&params.norm, cout)?;
    let [h, w] = conv.geometry().output(height, width);
    let mut out = Vec::with_capacity(batch * cout * h * w);
    let mut finished = vec![0.0; cout * h * w];
    for x in x.chunks_exact(cin * height * width) {
        let raw = convolve(&conv, Source::Planes(x, 0.0), [height, width], &pool);
        let norm = raw.affine(&params.norm);
        finish(&mut finished, &raw.data, None, &Deferred { norm: &norm, relu, centre: None }, cout);
        out.extend(planes(&finished, cout, cout));
    }
    Ok((out, [batch, cout, h, w]))
}

/// A residual block on `x` `[B, C, H, W]`: `norm2(conv2(relu(norm1(conv1(x))))) + x`, no ReLU after the sum. Both
/// convolutions must keep the shape.
///
/// # Errors
/// As [`fused_conv_instancenorm`], and when a convolution gives another shape.
pub fn fused_residual_block(
    x: &[f32],
    shape: [usize; 4],
    first: &ConvNormParams<'_>,
    second: &ConvNormParams<'_>,
) -> Result<Vec<f32>, ShapeError> {
    let [_, channels, height, width] = shape;
    check_len(x.len(), volume(&shape))?;
    let (conv1, conv2, pool) = (first.conv.pack(shape)?, second.conv.pack(shape)?, pool());
    for (conv, norm) in [(&conv1, &first.norm), (&conv2, &second.norm)] {
        check_norm(norm, channels)?;
        check_len(conv.geometry().cout, channels)?;
        if conv.geometry().output(height, width) != [height, width] {
            return Err(ShapeError::BadGeometry);
        }
    }
    let mut out = Vec::with_capacity(x.len());
    let mut finished = vec![0.0; channels * height * width];
    for x in x.chunks_exact(channels * height * width) {
        let inner = convolve(&conv1, Source::Planes(x, 0.0), [height, width], &pool);
        let norm = inner.affine(&first.norm);
        let deferred = Deferred { norm: &norm, relu: true, centre: None };
        let source = Source::Raw { data: &inner.data, skip: None, deferred };
        let outer = convolve(&conv2, source, [height, width], &pool);
        let norm = outer.affine(&second.norm);
        finish(&mut finished, &outer.data, None, &Deferred { norm: &norm, relu: false, centre: None }, channels);
        out.extend(planes(&finished, channels, channels).iter().zip(x).map(|(y, x)| y + x));
    }
    Ok(out)
}
