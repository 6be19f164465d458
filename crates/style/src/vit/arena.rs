//! Working memory of a transformer for pictures of one size.

use gpu_core::{Backend, Elem, Result, Tensor, TensorView, TensorViewMut, View, ViewMut};

use super::{PATCH_VALUES, Parts};
use crate::kernels::Sample as Colour;
use crate::net::Job;
use crate::ops::{AttentionWork, FEATURES, Frame, Sample, TOKEN_PART, VitOps};
use crate::weights::VitShape;

/// Buffers that the steps read and write: for each pixel of the continued picture about 71 elements with 256 channels and
/// 1024 hidden ones.
#[derive(Debug)]
pub(crate) struct Arena<B: Backend, T: Sample> {
    pub(super) position: Tensor<B, T, 2>,
    /// Patches, and at the end colours.
    pub(super) narrow: B::Buf<T>,
    /// Tokens, also with what attention adds, also normalised.
    pub(super) tokens: Tensor<B, T, 2>,
    pub(super) other: Tensor<B, T, 2>,
    pub(super) normed: Tensor<B, T, 2>,
    /// The global token, before and after its norm.
    pub(super) mean: Tensor<B, T, 2>,
    pub(super) global: Tensor<B, T, 2>,
    pub(super) mean_work: Tensor<B, f64, 1>,
    pub(super) work: AttentionWork<B, T>,
    /// Hidden values of the feed-forward parts, then decoded tokens, then features of the first convolution.
    pub(super) wide: B::Buf<T>,
    pub(super) pixels: Tensor<B, T, 4>,
}

/// Bytes of an [`Arena`], and of the pictures beside it: what pictures of one size take.
pub(super) fn bytes<T: Sample>(shape: VitShape, spread: usize, job: &Job, sample: usize) -> usize {
    let frame = Frame::new(job.n, [job.h, job.w], shape.multiple());
    let ([rows, cols], [height, width]) = (frame.tokens(), frame.padded);
    let (each, all, pixels) = (rows * cols, job.n * rows * cols, job.n * height * width);
    let narrow = (all * PATCH_VALUES).max(3 * pixels);
    let wide = (all * shape.hidden.max(spread)).max(16 * pixels);
    // Positions; three buffers of tokens; queries, keys and values; what heads give; the same of global tokens.
    let tokens = (each + 7 * all + 5 * job.n) * shape.dim;
    let means = job.n * each.div_ceil(TOKEN_PART) * shape.dim * size_of::<f64>();
    let pictures = (job.input_len() + job.output_len()) * sample + size_of::<u32>();
    (narrow + wide + tokens + FEATURES * pixels) * size_of::<T>() + means + pictures
}

impl<B: VitOps<T>, T: Sample> Arena<B, T> {
    pub(super) fn new(b: &B, parts: &Parts<B, T>, job: &Job) -> Result<Self> {
        let shape = parts.shape;
        let frame = Frame::new(job.n, [job.h, job.w], shape.multiple());
        let ([rows, cols], [height, width]) = (frame.tokens(), frame.padded);
        let (each, all, dim) = (rows * cols, job.n * rows * cols, shape.dim);
        let pixels = job.n * height * width;
        let wide = (all * shape.hidden.max(parts.linear.outputs())).max(16 * pixels);
        Ok(Self {
            position: parts.positions(b, [rows, cols])?,
            narrow: b.scratch((all * PATCH_VALUES).max(3 * pixels))?,
            tokens: Tensor::scratch(b, [all, dim])?,
            other: Tensor::scratch(b, [all, dim])?,
            normed: Tensor::scratch(b, [all, dim])?,
            mean: Tensor::scratch(b, [job.n, dim])?,
            global: Tensor::scratch(b, [job.n, dim])?,
            mean_work: Tensor::scratch(b, [job.n * each.div_ceil(TOKEN_PART) * dim])?,
            work: AttentionWork::new(b, [job.n, rows, cols, dim])?,
            wide: b.scratch(wide)?,
            pixels: Tensor::scratch(b, [job.n, height, width, FEATURES])?,
        })
    }
}

/// Everything that the launches for one size work on.
#[derive(Debug)]
pub(crate) struct State<B: Backend, T: Sample, S: Colour> {
    pub(super) arena: Arena<B, T>,
    pub(super) x: B::Buf<S>,
    pub(super) y: B::Buf<S>,
    /// Always 0: weights with which values could leave the range of `f16` run in `f32`.
    pub(super) flag: B::Buf<u32>,
}

/// The beginning of a buffer as a tensor to write.
pub(super) fn part<B: Backend, T: Elem, const R: usize>(
    buffer: &mut B::Buf<T>,
    shape: [usize; R],
) -> Result<TensorViewMut<'_, B, T, R>> {
    TensorViewMut::new(ViewMut::of(buffer).slice(0..shape.iter().product())?, shape)
}

/// The same, to read.
pub(super) fn whole<B: Backend, T: Elem, const R: usize>(
    buffer: &B::Buf<T>,
    shape: [usize; R],
) -> Result<TensorView<'_, B, T, R>> {
    TensorView::new(View::of(buffer).slice(0..shape.iter().product())?, shape)
}

#[cfg(test)]
mod tests {
    use gpu_core::Cpu;

    use super::*;
    use crate::SizePolicy;
    use crate::mix::Rounding;
    use crate::vit::Vit;
    use crate::weights::StyleModel;

    #[test]
    fn bytes_are_those_of_the_memory() {
        let shape = VitShape { dim: 16, heads: 1, blocks: 1, hidden: 32, window: 2 };
        let b = Cpu::with_memory_limit(1 << 30);
        let vit = Vit::<Cpu, f32>::new(&b, &StyleModel::random_transformer(shape, 1)).unwrap();
        for (n, h, w) in [(1, 20, 33), (3, 48, 16)] {
            let job = Job { n, h, w, policy: SizePolicy::Crop, rounding: Rounding::Truncate };
            let before = b.memory().used;
            let arena = Arena::new(&b, &vit.parts, &job).unwrap();
            let taken = b.memory().used - before;
            let pictures = (job.input_len() + job.output_len()) * 4 + 4;
            assert_eq!(vit.bytes(&job, 4), taken + pictures, "{job:?}");
            drop(arena);
        }
    }
}
