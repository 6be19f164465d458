//! Random convolutions for the tests of the operations that have one.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, FillKind};
use gpu_core::{Backend, Result, Tensor, TensorView};
use style::ops::{Conv, ConvShape, FusedConvReflectionPad, Layout, Sample};

use crate::oracle::{Filter, Images};

#[derive(Clone, Debug)]
pub struct Case {
    pub layout: Layout,
    /// `[B, C, H, W]`, whatever the layout.
    pub shape: [usize; 4],
    pub conv: ConvShape,
    pub fill: Fill,
    /// Small dyadic weights, so that every sum is exact; else any.
    pub exact: bool,
    /// Two products a sum: bounds of errors are small, and a wrong element shows; and an input that rises towards one corner,
    /// so that a tile which is missing from the statistics shows, too.
    pub sparse: bool,
    /// The input begins one element behind where wide loads may.
    pub apart: bool,
}

/// `[B, C, H, W]` in the order of a layout.
pub fn tensor_shape(layout: Layout, [b, c, h, w]: [usize; 4]) -> [usize; 4] {
    if layout == Layout::Nchw { [b, c, h, w] } else { [b, h, w, c] }
}

/// Elements in the order of the layout as `[B, C, H, W]` in f64.
pub fn images<T: Sample>(layout: Layout, shape: [usize; 4], values: &[T]) -> Images {
    let [_, channels, h, w] = shape;
    let mut data = vec![0.0; values.len()];
    for (i, v) in values.iter().enumerate() {
        let at = if layout == Layout::Nchw {
            i
        } else {
            let (c, pixel) = (i % channels, i / channels);
            (pixel / (h * w) * channels + c) * h * w + pixel % (h * w)
        };
        data[at] = f64::from(v.widened());
    }
    Images { shape, data }
}

/// Images in the order of a layout.
pub fn in_layout(layout: Layout, images: Images) -> Vec<f64> {
    if layout == Layout::Nchw { images.data } else { images.channels_last() }
}

/// Weights for `taps` products each; small multiples of an eighth when they are to be exact.
pub fn weights<T: Sample>(fill: Fill, exact: bool, len: usize, taps: usize) -> Vec<T> {
    if exact {
        return (0..len).map(|i| T::nearest(((i * 7 + i / 5) % 9) as f32 / 8.0 - 0.5)).collect();
    }
    let scale = (taps as f32).sqrt().recip();
    fill.other().values::<f32>(len).iter().map(|v| T::nearest(v * scale)).collect()
}

/// Any convolution whose work the interpreter does in a moment.
pub fn shapes() -> impl Strategy<Value = ([usize; 4], ConvShape)> {
    let side = || prop_oneof![1 => Just(1_usize), 4 => Just(3), 1 => Just(2), 1 => Just(5), 1 => Just(7), 1 => Just(9)];
    let channels = || prop_oneof![4 => 1..20_usize, 1 => 20..72_usize, 1 => Just(64_usize)];
    let kind = prop_oneof![4 => Just(false), 1 => Just(true)];
    let extent = || prop_oneof![3 => 0..14_usize, 1 => 14..40_usize];
    let stride = || prop_oneof![3 => Just(1_usize), 2 => Just(2), 1 => Just(3)];
    (1..4_usize, channels(), channels(), (side(), side()), (stride(), stride()), 0..5_usize, (extent(), extent()), kind)
        .prop_map(|(b, inputs, outputs, (kh, kw), (sh, sw), padding, (h, w), upsample)| {
            let (kernel, stride, padding) = if upsample { ([3, 3], [1, 1], 1) } else { ([kh, kw], [sh, sw], padding) };
            // The smallest legal image, and some more.
            let smallest = |k: usize| (padding + 1).max(k.saturating_sub(2 * padding)).max(1);
            let (h, mut w) = (smallest(kernel[0]) + h, smallest(kernel[1]) + w);
            let times = if upsample { 4 } else { 1 };
            let work =
                |w: usize, o: usize| b * o * inputs * kernel[0] * kernel[1] * h * w * times / (stride[0] * stride[1]);
            let mut outputs = outputs;
            while work(w, outputs) > 600_000 && (w > smallest(kernel[1]) || outputs > 1) {
                w = (w / 2).max(smallest(kernel[1]));
                if w == smallest(kernel[1]) {
                    outputs = (outputs / 2).max(1);
                }
            }
            ([b, inputs, h, w], ConvShape { outputs, inputs, kernel, padding, stride, upsample })
        })
}

/// Single taps far apart: more windows than any other filter has weights for so few channels.
fn points() -> impl Strategy<Value = ([usize; 4], ConvShape)> {
    (1..3_usize, 9..40_usize, 1..20_usize, 1..50_usize, 1..50_usize).prop_map(|(b, inputs, outputs, h, w)| {
        let shape = ConvShape { outputs, inputs, kernel: [1, 1], padding: 0, stride: [3, 3], upsample: false };
        ([b, inputs, h, w], shape)
    })
}

pub fn cases(fill: BoxedStrategy<Fill>, exact: bool) -> impl Strategy<Value = Case> {
    let layout = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    let shapes = prop_oneof![12 => shapes().boxed(), 1 => points().boxed()];
    (layout, shapes, fill).prop_map(move |(layout, (shape, conv), fill)| Case {
        layout,
        shape,
        conv,
        fill,
        exact,
        sparse: false,
        apart: false,
    })
}

/// A 3 x 3 convolution of `[B, C, H, W]` with few products, of noise.
pub fn sparse(layout: Layout, shape: [usize; 4], outputs: usize, seed: u32) -> Case {
    let conv = ConvShape { outputs, inputs: shape[1], kernel: [3, 3], padding: 1, stride: [1, 1], upsample: false };
    Case { layout, shape, conv, fill: Fill::of(FillKind::Noise(seed)), exact: false, sparse: true, apart: false }
}

/// Gammas of cases whose results leave the range of f16.
pub const LOUD: f32 = 65536.0;

/// What f16 holds of results.
pub fn hold<T: Sample>(images: &mut Images) {
    if T::ROUNDS {
        let most = f64::from(half::f16::MAX);
        images.data.iter_mut().for_each(|v| *v = v.clamp(-most, most));
    }
}

/// Values that are small integers: no sum of a convolution rounds.
pub fn exact() -> BoxedStrategy<Fill> {
    Fill::exact()
}

/// Noise alone: what tests of norms need, since planes without variance have bounds of their own.
pub fn noise() -> BoxedStrategy<Fill> {
    (0_u32..1024).prop_map(|seed| Fill::of(FillKind::Noise(seed))).boxed()
}

impl Case {
    pub fn x<T: Sample>(&self) -> Vec<T> {
        let [_, c, h, w] = self.shape;
        let rise = |i: usize| {
            let pixel = if self.layout == Layout::Nchw { i } else { i / c } % (h * w);
            if self.sparse { 2.0 * (pixel / w) as f32 / h as f32 + 2.0 * (pixel % w) as f32 / w as f32 } else { 0.0 }
        };
        let values = self.fill.values::<f32>(self.shape.iter().product());
        values.iter().enumerate().map(|(i, &v)| T::nearest(v + rise(i))).collect()
    }

    pub fn taps(&self) -> usize {
        self.conv.inputs * self.conv.kernel[0] * self.conv.kernel[1]
    }

    pub fn weight<T: Sample>(&self) -> Vec<T> {
        let (taps, outputs) = (self.taps(), self.conv.outputs);
        if !self.sparse {
            return weights(self.fill, self.exact, outputs * taps, taps);
        }
        let weight = |o: usize, i: usize| match (i + taps - 5 * o % taps) % taps {
            0 => 0.75,
            at if at == taps / 2 => -0.5,
            _ => 0.0,
        };
        (0..outputs * taps).map(|i| T::nearest(weight(i / taps, i % taps))).collect()
    }

    pub fn bias(&self) -> Vec<f32> {
        (0..self.conv.outputs).map(|o| (o % 9) as f32 * 0.25 - 1.0).collect()
    }

    pub fn gamma(&self) -> Vec<f32> {
        (0..self.conv.outputs).map(|c| 0.75 + (c % 5) as f32 * 0.25).collect()
    }

    pub fn beta(&self) -> Vec<f32> {
        (0..self.conv.outputs).map(|c| (c % 7) as f32 * 0.5 - 1.0).collect()
    }

    /// The elements that [`view`](Self::view) looks at, and the convolution.
    pub fn on<B: FusedConvReflectionPad<T>, T: Sample>(&self, b: &B) -> Result<(Tensor<B, T, 1>, Conv<B, T>)> {
        let mut x = vec![T::nearest(0.0); usize::from(self.apart)];
        x.extend(self.x::<T>());
        let x = Tensor::from_slice(b, [x.len()], &x)?;
        Ok((x, Conv::new(b, self.conv, &self.weight::<T>(), &self.bias())?))
    }

    pub fn view<'a, B: Backend, T: Sample>(&self, x: &'a Tensor<B, T, 1>) -> Result<TensorView<'a, B, T, 4>> {
        TensorView::new(x.flat().slice(usize::from(self.apart)..x.len())?, tensor_shape(self.layout, self.shape))
    }

    pub fn images<T: Sample>(&self) -> Images {
        images(self.layout, self.shape, &self.x::<T>())
    }

    pub fn filter<T: Sample>(&self) -> Filter {
        let ConvShape { outputs, inputs, kernel, padding, stride, upsample } = self.conv;
        Filter {
            shape: [outputs, inputs, kernel[0], kernel[1]],
            weight: self.weight::<T>().iter().map(|w| w.widened().into()).collect(),
            bias: wide(&self.bias()),
            padding,
            stride,
            upsample,
        }
    }

    /// The largest error of a value before it is stored: two roundings for each product and sum, against the sum of
    /// magnitudes; sums on tensor cores are cut off rather than rounded. Summed weights of f16 are rounded once more.
    pub fn error<T: Sample>(&self) -> f64 {
        let magnitude = crate::oracle::conv(&self.images::<T>(), &self.filter::<T>(), true);
        let largest = magnitude.data.iter().fold(0.0, |most: f64, &v| most.max(v));
        let rounded = if T::ROUNDS && self.conv.upsample && !self.exact { 2.0_f64.powi(-11) } else { 0.0 };
        largest * (2.0 * (self.taps() + 2) as f64 * 2.0_f64.powi(-24) + rounded) + 1e-6
    }
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

pub fn vector<B: Backend>(b: &B, values: &[f32]) -> Result<Tensor<B, f32, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}
