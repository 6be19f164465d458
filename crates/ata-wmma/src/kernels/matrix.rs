//! The packed blocks of a matrix in the memory of a device.

use gpu_core::{Backend, Tensor};

use super::band::{Band, is_band};
use super::{Apply, Engine};
use crate::blocks::{AREA, BlockDiag};
use crate::precision::{Precision, matrix_exponent, scaled};
use crate::schedule::{DeviceSchedule, Layout, Schedule};

/// The packed blocks of a matrix in the memory and the format of a device.
#[derive(Debug)]
pub struct Matrix<B: Backend> {
    pub(crate) precision: Precision,
    pub(crate) engine: Engine,
    pub(crate) channels: usize,
    pub(crate) n: usize,
    pub(crate) strips: usize,
    pub(crate) blocks: usize,
    /// Pieces of 16 bits, `[pieces, C, blocks, 16, 16]`.
    pub(crate) halves: Tensor<B, u16, 1>,
    /// Values of 32 bits, `[C, blocks, 16, 16]`, split where they are used; on the CPU every piece.
    pub(crate) words: Tensor<B, f32, 1>,
    /// Exponent of each channel.
    pub(crate) exponents: Tensor<B, i32, 1>,
    pub(crate) schedule: DeviceSchedule<B>,
    /// For the engine that fetches a block once for both triangles, where that may be chosen.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels for a device read it"))]
    pub(crate) band: Option<Band<B>>,
}

impl<B: Apply> Matrix<B> {
    /// Packs, scales, rounds and uploads a matrix; usable on every queue of the device.
    pub(crate) fn new(
        b: &B,
        a: &BlockDiag,
        schedule: &Schedule,
        precision: Precision,
        engine: Engine,
        layout: Layout,
    ) -> crate::Result<Self> {
        let mut values = schedule.pack(a);
        let area = schedule.packed().len() * AREA;
        let mut exponents = vec![0; a.channels()];
        if precision.is_scaled() && area > 0 {
            for (values, exponent) in values.chunks_exact_mut(area).zip(&mut exponents) {
                let finite = values.iter().filter(|v| v.is_finite());
                *exponent = matrix_exponent(finite.fold(0.0, |m, v| m.max(v.abs())));
                for v in values.iter_mut() {
                    *v = scaled(*v, *exponent);
                }
            }
        }
        let pieces = |p: usize| values.iter().map(move |&v| precision.split(v)[p]);
        let (mut halves, mut words) = (Vec::new(), Vec::new());
        if B::DECODED {
            words = (0..precision.pieces()).flat_map(pieces).collect();
        } else {
            match precision {
                Precision::F16 | Precision::F16x2 | Precision::Bf16 => {
                    halves = (0..precision.pieces()).flat_map(pieces).map(|v| precision.bits(v)).collect();
                }
                Precision::Tf32 => words = pieces(0).collect(),
                Precision::F32 | Precision::Tf32x3 | Precision::Bf16x3 => words = values,
            }
        }
        Ok(Self {
            precision,
            engine,
            channels: a.channels(),
            n: a.n(),
            strips: schedule.strips(),
            blocks: schedule.packed().len(),
            halves: Tensor::from_slice(b, [halves.len()], &halves)?.share(b)?,
            words: Tensor::from_slice(b, [words.len()], &words)?.share(b)?,
            exponents: Tensor::from_slice(b, [exponents.len()], &exponents)?.share(b)?,
            schedule: DeviceSchedule::new(b, schedule)?,
            band: if !B::DECODED && matches!(engine, Engine::Auto | Engine::Band) && is_band(a, layout) {
                Some(Band::new(b, a, schedule)?)
            } else {
                None
            },
        })
    }
}

impl<B: Backend> Matrix<B> {
    /// The kernel asked for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Bytes of the blocks on the device.
    pub fn bytes(&self) -> usize {
        self.halves.len() * size_of::<u16>() + self.words.len() * size_of::<f32>()
    }
}
