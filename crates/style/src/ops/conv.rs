//! A convolution's weights on one backend, and what its kernels get by value.

use gpu_core::{Backend, Elem, Error, Result, Tensor};
use rustacuda_derive::DeviceCopy;

use super::{FusedConvReflectionPad, Layout, Sample, Sizes};

/// The longest side of a filter.
pub const MAX_KERNEL_SIDE: usize = 11;
/// The largest stride.
pub const MAX_STRIDE: usize = 4;

/// Rows and columns of outputs that a block makes; twins of `kRows` and `kColumns` in `kernels/conv.cuh`.
const TILE: [usize; 2] = [8, 16];
/// Output channels that a block makes; twin of `kOut`.
pub(crate) const BLOCK_CHANNELS: usize = 64;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Rows and columns of the filter, up to [`MAX_KERNEL_SIDE`].
    pub kernel: [usize; 2],
    /// Pixels of reflection on each of the four sides; smaller than both sides of the image.
    pub padding: usize,
    /// Steps between outputs along rows and columns, up to [`MAX_STRIDE`].
    pub stride: [usize; 2],
    /// Nearest × 2 before the padding; for 3 × 3 with stride 1 and padding 1 alone. The kernels never make the larger
    /// image: each parity of the output is a 2 × 2 convolution of the source with summed weights.
    pub upsample: bool,
}

/// A convolution's weights and bias on one backend, in the order in which its kernels read them. It may be used on every
/// queue of the device.
#[derive(Debug)]
pub struct Conv<B: FusedConvReflectionPad<T>, T: Sample> {
    shape: ConvShape,
    weights: B::Weights,
    bias: Tensor<B, f32, 1>,
    relu: bool,
}

impl ConvShape {
    fn check(&self) -> Result<()> {
        let Self { outputs, inputs, kernel, padding, stride, upsample } = *self;
        let most = i32::MAX as usize / 8;
        if outputs == 0 || inputs == 0 || outputs > most || inputs > most {
            let why = format!("{inputs} input and {outputs} output channels; both must be 1 to {most}");
            return Err(Error::value("weight", why));
        }
        if kernel.iter().any(|side| !(1..=MAX_KERNEL_SIDE).contains(side)) {
            let why = format!("a filter of {} x {}; sides may be 1 to {MAX_KERNEL_SIDE}", kernel[0], kernel[1]);
            return Err(Error::value("weight", why));
        }
        if stride.iter().any(|step| !(1..=MAX_STRIDE).contains(step)) {
            return Err(Error::value(
                "stride",
                format!("{} x {}; 1 to {MAX_STRIDE} is possible", stride[0], stride[1]),
            ));
        }
        if upsample && (kernel, stride, padding) != ([3, 3], [1, 1], 1) {
            return Err(Error::value("upsample", "only 3 x 3 with stride 1 and padding 1 has it"));
        }
        Ok(())
    }

    /// Values of the weights `[outputs, inputs, kernel]`.
    fn len(&self) -> Result<usize> {
        let sides = self.kernel[0] * self.kernel[1];
        self.outputs
            .checked_mul(self.inputs)
            .and_then(|n| n.checked_mul(sides))
            .ok_or_else(|| Error::value("weight", format!("{self:?} has too many values")))
    }

    /// The sizes of the output for this input: `(n + 2 · padding − kernel) / stride + 1` rows and columns.
    pub(crate) fn output(&self, x: Sizes) -> Result<Sizes> {
        x.check("x")?;
        if x.channels != self.inputs {
            return Err(Error::shape("x (channels)", &[self.inputs], &[x.channels]));
        }
        let times = if self.upsample { 2 } else { 1 };
        let sides = [x.height * times, x.width * times];
        let padding = self.padding;
        if padding >= sides[0].min(sides[1]) {
            let why = format!(
                "reflection of {padding} pixels needs sides of at least {}, x has {sides:?}",
                padding.saturating_add(1)
            );
            return Err(Error::value("padding", why));
        }
        let mut out = [0; 2];
        for i in 0..2 {
            let Some(room) = (sides[i] + 2 * padding).checked_sub(self.kernel[i]) else {
                let why = format!("{} + 2 x {padding} pixels are less than the filter's {}", sides[i], self.kernel[i]);
                return Err(Error::value("x", why));
            };
            out[i] = room / self.stride[i] + 1;
        }
        Ok(Sizes { batch: x.batch, channels: self.outputs, height: out[0], width: out[1] })
    }

    /// Phases, and rows and columns of the filter in each.
    fn phases(&self) -> (usize, [usize; 2]) {
        if self.upsample { (4, [2, 2]) } else { (1, self.kernel) }
    }

    /// Pixels of the window of a tile.
    fn window(&self) -> usize {
        let (_, kernel) = self.phases();
        (0..2).map(|i| (TILE[i] - 1) * self.stride[i] + kernel[i]).product()
    }

    fn packing(&self, halves: bool) -> Packing {
        let (phases, [kh, kw]) = self.phases();
        let (taps, window) = (kh * kw, self.window());
        // The most that fits, and of that the least that takes no more windows.
        let balanced = |all: usize, most: usize| {
            let chunks = all.div_ceil(most.clamp(1, all));
            (all.div_ceil(chunks), chunks)
        };
        let columns = self.outputs.next_multiple_of(BLOCK_CHANNELS);
        if halves {
            let fits = |group: &usize| window * (group | 1) * 16 <= 48 << 10;
            let most = (1..=8).rev().find(fits).unwrap_or(1);
            let (group, chunks) = balanced(self.inputs.div_ceil(8), most);
            return Packing { phases, taps, group, chunks, units: (taps * group).next_multiple_of(2), columns };
        }
        let most = (72 / taps).min((32 << 10) / (4 * window)).min(32);
        let (group, chunks) = balanced(self.inputs, most);
        Packing { phases, taps, group, chunks, units: taps * group, columns }
    }

    /// Bytes of shared memory: where the window begins, and where the tiles that a block keeps do.
    fn shared(&self, halves: bool) -> (usize, usize) {
        let Packing { group, units, .. } = self.packing(halves);
        let (window_at, window) = if halves {
            // Zeros, places, a ring of three stages of eight groups.
            let ring = 3 * 8 * BLOCK_CHANNELS * 16;
            (16 + (units * 4).next_multiple_of(16) + ring, self.window() * (group | 1) * 16)
        } else {
            (2 * units * BLOCK_CHANNELS * 4, self.window() * group * 4)
        };
        // The tile of sums takes the place of all of it.
        let tile = BLOCK_CHANNELS * (TILE[0] * TILE[1] + 4) * 4;
        (window_at, (window_at + window).max(tile).next_multiple_of(16))
    }
}

/// How the kernels see the channels of a convolution.
#[derive(Clone, Copy, Debug)]
struct Packing {
    phases: usize,
    taps: usize,
    /// `f16`: groups of eight channels in a window; `f32`: channels.
    group: usize,
    chunks: usize,
    /// `f16`: groups of eight weights in a chunk; `f32`: weights.
    units: usize,
    columns: usize,
}

/// Weight of a phase's tap: rows {w0}, {w1 + w2} for even outputs, {w0 + w1}, {w2} for odd ones; columns alike.
fn phase_weight<T: Sample>(weight: &[T], phase: usize, u: usize, v: usize) -> T {
    let taps = |parity: usize, tap: usize| match (parity, tap) {
        (0, 0) => 0..1,
        (0, _) => 1..3,
        (_, 0) => 0..2,
        _ => 2..3,
    };
    let columns = |u: usize| taps(phase % 2, v).map(move |v| u * 3 + v);
    let sum: f64 = taps(phase / 2, u).flat_map(columns).map(|at| f64::from(weight[at].widened())).sum();
    T::nearest(sum as f32)
}

/// The weights `[outputs, inputs, kh, kw]` in the order of the CUDA kernels; zeros where channels are padded.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "its tests run everywhere"))]
pub(crate) fn pack<T: Sample>(shape: &ConvShape, weight: &[T]) -> Vec<T> {
    let Packing { phases, taps, group, chunks, units, columns } = shape.packing(T::ROUNDS);
    let (lanes, sides) = (if T::ROUNDS { 8 } else { 1 }, shape.kernel[0] * shape.kernel[1]);
    let (_, [_, kw]) = shape.phases();
    let mut packed = vec![T::nearest(0.0); phases * chunks * units * columns * lanes];
    for phase in 0..phases {
        for channel in 0..shape.inputs {
            let (chunk, rest) = (channel / (group * lanes), channel % (group * lanes));
            for tap in 0..taps {
                let unit = if T::ROUNDS { tap * group + rest / 8 } else { rest * taps + tap };
                let row = ((phase * chunks + chunk) * units + unit) * columns;
                for out in 0..shape.outputs {
                    let filter = &weight[(out * shape.inputs + channel) * sides..][..sides];
                    let value = if phases == 4 { phase_weight(filter, phase, tap / kw, tap % kw) } else { filter[tap] };
                    packed[(row + out) * lanes + rest % lanes] = value;
                }
            }
        }
    }
    packed
}

impl<B: FusedConvReflectionPad<T>, T: Sample> Conv<B, T> {
    /// Weights `[outputs, inputs, kernel]` in row-major order and a bias for each output.
    ///
    /// # Errors
    /// When a size is zero or beyond its limit, the lengths do not fit the shape, or there is no memory.
    pub fn new(b: &B, shape: ConvShape, weight: &[T], bias: &[f32]) -> Result<Self> {
        shape.check()?;
        let len = shape.len()?;
        if weight.len() != len {
            let [kh, kw] = shape.kernel;
            return Err(Error::shape("weight", &[shape.outputs, shape.inputs, kh, kw], &[weight.len()]));
        }
        if bias.len() != shape.outputs {
            return Err(Error::shape("bias", &[shape.outputs], &[bias.len()]));
        }
        let bias = shared(b, bias)?;
        Ok(Self { shape, weights: b.pack_weights(&shape, weight)?, bias, relu: false })
    }

    /// The same with ReLU behind the bias, in [`fused_conv_reflection_pad`](super::fused_conv_reflection_pad()).
    pub fn with_relu(self) -> Self {
        Self { relu: true, ..self }
    }

    pub(crate) fn relu(&self) -> bool {
        self.relu
    }

    /// Its shape.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    pub(crate) fn weights(&self) -> &B::Weights {
        &self.weights
    }

    pub(crate) fn bias(&self) -> &Tensor<B, f32, 1> {
        &self.bias
    }
}

/// Host memory as a tensor that every queue of the device may read.
pub(crate) fn shared<B: Backend, T: Elem>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    let own = Tensor::from_slice(b, [values.len()], values)?;
    Tensor::from_buffer(b.share(own.into_buffer())?, [values.len()])
}

/// What the kernels get by value. Twin of `ConvParams` in `kernels/conv.cuh`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct ConvParams {
    pub(crate) h: i32,
    pub(crate) w: i32,
    pub(crate) ho: i32,
    pub(crate) wo: i32,
    pub(crate) batch: i32,
    pub(crate) cin: i32,
    pub(crate) cout: i32,
    pub(crate) kh: i32,
    pub(crate) kw: i32,
    pub(crate) stride_h: i32,
    pub(crate) stride_w: i32,
    pub(crate) padding: i32,
    pub(crate) phases: i32,
    pub(crate) tiles_y: i32,
    pub(crate) tiles_x: i32,
    pub(crate) group: i32,
    pub(crate) chunks: i32,
    pub(crate) units: i32,
    pub(crate) columns: i32,
    pub(crate) window_at: i32,
    pub(crate) kept_at: i32,
    pub(crate) kept: i32,
    pub(crate) nhwc_x: u32,
    pub(crate) nhwc_y: u32,
    pub(crate) bias: u32,
    pub(crate) relu: u32,
    pub(crate) eps: f32,
    pub(crate) pad: u32,
}

/// Threads of a block; twin of `kThreads`.
#[cfg(feature = "cuda")]
pub(crate) const THREADS: (u32, u32, u32) = (256, 1, 1);

impl ConvParams {
    /// Parameters for an input of these sizes, and the sizes of the output.
    pub(crate) fn new<T: Sample>(shape: &ConvShape, layout: Layout, x: Sizes) -> Result<(Self, Sizes)> {
        let y = shape.output(x)?;
        y.check("the output")?;
        let (phases, [kh, kw]) = shape.phases();
        let packing = shape.packing(T::ROUNDS);
        let (window_at, kept_at) = shape.shared(T::ROUNDS);
        let of_phase = if shape.upsample { [x.height, x.width] } else { [y.height, y.width] };
        let [tiles_y, tiles_x] = [0, 1].map(|i| of_phase[i].div_ceil(TILE[i]));
        let blocks = [phases, tiles_y, tiles_x, packing.columns / BLOCK_CHANNELS]
            .iter()
            .fold(1, |all: usize, &n| all.saturating_mul(n));
        if blocks.saturating_mul(y.batch) > i32::MAX as usize {
            let why = format!("{blocks} tiles of {} images; one call takes {}", y.batch, i32::MAX);
            return Err(Error::value("x", why));
        }
        let nhwc = (layout == Layout::Nhwc).into();
        let p = Self {
            h: x.height as i32,
            w: x.width as i32,
            ho: y.height as i32,
            wo: y.width as i32,
            batch: x.batch as i32,
            cin: x.channels as i32,
            cout: y.channels as i32,
            kh: kh as i32,
            kw: kw as i32,
            stride_h: shape.stride[0] as i32,
            stride_w: shape.stride[1] as i32,
            padding: shape.padding as i32,
            phases: phases as i32,
            tiles_y: tiles_y as i32,
            tiles_x: tiles_x as i32,
            group: packing.group as i32,
            chunks: packing.chunks as i32,
            units: packing.units as i32,
            columns: packing.columns as i32,
            window_at: window_at as i32,
            kept_at: kept_at as i32,
            kept: 0,
            nhwc_x: nhwc,
            nhwc_y: nhwc,
            bias: 0,
            relu: 0,
            eps: 1.0,
            pad: 0,
        };
        Ok((p, y))
    }

    /// Tiles of an image.
    pub(crate) fn tiles(&self) -> usize {
        self.phases as usize * self.tiles_y as usize * self.tiles_x as usize
    }

    /// Blocks with one tile each.
    #[cfg(feature = "cuda")]
    pub(crate) fn blocks(&self) -> u32 {
        (self.batch as usize * self.tiles() * (self.columns as usize / BLOCK_CHANNELS)) as u32
    }

    /// Bytes of shared memory of a block that keeps `kept` tiles.
    #[cfg(feature = "cuda")]
    pub(crate) fn shared<T: Sample>(&self, kept: u32) -> u32 {
        self.kept_at as u32 + kept * (TILE[0] * TILE[1] * BLOCK_CHANNELS * size_of::<T>()) as u32
    }

    /// Parts that the statistics of the output take: those of the tiles, and the coefficients.
    pub(crate) fn parts(&self) -> usize {
        self.batch as usize * self.cout as usize * (self.tiles() + 1)
    }

    pub(crate) fn layout(&self) -> Layout {
        if self.nhwc_x == 1 { Layout::Nhwc } else { Layout::Nchw }
    }

    pub(crate) fn input(&self) -> Sizes {
        let [batch, channels, height, width] = [self.batch, self.cin, self.h, self.w].map(|n| n as usize);
        Sizes { batch, channels, height, width }
    }

    pub(crate) fn output(&self) -> Sizes {
        let [batch, channels, height, width] = [self.batch, self.cout, self.ho, self.wo].map(|n| n as usize);
        Sizes { batch, channels, height, width }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn shape(outputs: usize, inputs: usize, kernel: [usize; 2], stride: [usize; 2]) -> ConvShape {
        ConvShape { outputs, inputs, kernel, padding: 0, stride, upsample: false }
    }

    #[test]
    fn every_shape_fits_the_shared_memory_of_small_devices() {
        for kh in 1..=MAX_KERNEL_SIDE {
            for kw in 1..=MAX_KERNEL_SIDE {
                for stride in [[1, 1], [2, 2], [4, 1], [4, 4]] {
                    for inputs in [1, 3, 8, 40, 128, 1000] {
                        let shape = shape(1, inputs, [kh, kw], stride);
                        for halves in [false, true] {
                            let (_, bytes) = shape.shared(halves);
                            assert!(bytes <= 99 << 10, "{shape:?} halves {halves}: {bytes}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_weight_is_packed_once() {
        for (inputs, kernel) in [(1, [3, 3]), (3, [9, 9]), (20, [1, 2]), (130, [3, 3])] {
            let shape = shape(5, inputs, kernel, [1, 1]);
            let len = shape.len().unwrap();
            let weight: Vec<f32> = (1..=len).map(|i| i as f32).collect();
            let mut packed: Vec<f32> = pack(&shape, &weight).into_iter().filter(|&v| v != 0.0).collect();
            packed.sort_by(f32::total_cmp);
            assert_eq!(packed, weight);
            let halves: Vec<f16> = weight.iter().map(|&v| f16::from_f32(v)).collect();
            let count = pack(&shape, &halves).into_iter().filter(|v| v.to_f32() != 0.0).count();
            assert_eq!(count, len);
        }
    }
}
