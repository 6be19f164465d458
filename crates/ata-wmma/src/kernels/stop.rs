//! The stopping test on the device: when `max |x - clip(x - g / ρ)|` of every line is within the tolerance, a flag is set,
//! and later steps do nothing, so that nobody waits for the device between iterations.
//!
//! Figures of each look are kept. Floor: 32 bytes a line.

use gpu_core::{Backend, Cpu, Result, Tensor, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::{Batch, KKT_FIGURES, long};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct StopParams {
    /// Largest step that counts as settled.
    pub tolerance: f64,
    /// Lines: frames times channels.
    pub lines: u32,
    /// Iterations done.
    pub iteration: u32,
    /// Which look this is, from 0.
    pub look: u32,
}

/// Whether steps still count, and what looks have seen.
#[derive(Debug)]
pub struct Control<B: Backend> {
    /// Whether to stop, the iteration of the last look, looks.
    state: Tensor<B, u32, 1>,
    /// What `state` begins with.
    fresh: Tensor<B, u32, 1>,
    /// `[looks, F, C, 2]`: step and objective.
    history: Tensor<B, f64, 1>,
}

/// What a [`Control`] has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Whether every line was within the tolerance.
    pub stopped: bool,
    /// The iteration of the last look.
    pub iteration: usize,
    /// Looks that counted.
    pub looks: usize,
    /// `[looks, F, C, 2]`: step and objective.
    pub history: Vec<f64>,
}

impl<B: Backend> Control<B> {
    /// Nothing has stopped, with room for the figures of so many looks.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(b: &B, batch: Batch, looks: usize) -> Result<Self> {
        Ok(Self {
            state: Tensor::zeros(b, [3])?,
            fresh: Tensor::zeros(b, [3])?,
            history: Tensor::scratch(b, [looks * batch.lines() * KKT_FIGURES])?,
        })
    }

    /// Nothing has stopped any more. May be recorded.
    ///
    /// # Errors
    /// When this is another queue's.
    pub fn reset(&mut self, b: &B) -> Result<()> {
        b.copy(self.fresh.flat(), self.state.flat_mut())
    }

    pub(crate) fn flag(&self) -> View<'_, B, u32> {
        self.state.flat()
    }

    /// What it has seen. Waits for the queue.
    ///
    /// # Errors
    /// What went wrong on the queue before.
    pub fn seen(&self, b: &B, batch: Batch) -> Result<Seen> {
        let state = self.state.to_vec(b)?;
        let mut history = self.history.to_vec(b)?;
        history.truncate(state[2] as usize * batch.lines() * KKT_FIGURES);
        Ok(Seen { stopped: state[0] != 0, iteration: state[1] as usize, looks: state[2] as usize, history })
    }
}

/// The operation on one backend.
pub trait Stop: Backend {
    /// Whether it is known, without waiting, that later steps do nothing.
    #[doc(hidden)]
    fn known_to_have_stopped(&self, state: View<'_, Self, u32>) -> Result<bool>;

    #[doc(hidden)]
    fn stop_unchecked(
        &self,
        p: StopParams,
        figures: View<'_, Self, f64>,
        state: ViewMut<'_, Self, u32>,
        history: ViewMut<'_, Self, f64>,
    ) -> Result<()>;
}

/// Keeps `figures`, `[F, C, 2]` of [`kkt`](super::kkt), as those of a look, and stops when they are within the tolerance.
///
/// # Errors
/// When figures have another length than the batch, or there is no room for the look.
pub fn stop<B: Stop>(
    b: &B,
    batch: Batch,
    control: &mut Control<B>,
    tolerance: f64,
    [iteration, look]: [usize; 2],
    figures: View<'_, B, f64>,
) -> Result<()> {
    batch.check()?;
    let each = KKT_FIGURES * batch.lines();
    long("figures", each, figures.len())?;
    long("looks", each, control.history.len().saturating_sub(look * each).min(each))?;
    let (lines, iteration, look) = (batch.lines() as u32, iteration as u32, look as u32);
    let p = StopParams { tolerance, lines, iteration, look };
    b.stop_unchecked(p, figures, control.state.flat_mut(), control.history.flat_mut())
}

impl Stop for Cpu {
    fn known_to_have_stopped(&self, state: View<'_, Self, u32>) -> Result<bool> {
        Ok(self.read(state)?[0] != 0)
    }

    fn stop_unchecked(
        &self,
        p: StopParams,
        figures: View<'_, Self, f64>,
        state: ViewMut<'_, Self, u32>,
        history: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let (figures, state, history) = (self.read(figures)?, self.write(state)?, self.write(history)?);
        if state[0] == 0 {
            history[p.look as usize * figures.len()..][..figures.len()].copy_from_slice(figures);
            let settled = figures.chunks_exact(KKT_FIGURES).all(|f| f[0] <= p.tolerance);
            state.copy_from_slice(&[settled.into(), p.iteration, p.look + 1]);
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Stop for gpu_core::Cuda {
    fn known_to_have_stopped(&self, _state: View<'_, Self, u32>) -> Result<bool> {
        Ok(false)
    }

    fn stop_unchecked(
        &self,
        p: StopParams,
        figures: View<'_, Self, f64>,
        state: ViewMut<'_, Self, u32>,
        history: ViewMut<'_, Self, f64>,
    ) -> Result<()> {
        let launch = self.kernel(&super::cuda::KERNELS, "ata_stop")?.read(figures)?.write(state)?.write(history)?;
        let launch = launch.arg(p).grid((1, 1, 1)).block((256, 1, 1));
        // SAFETY: void ata_stop(const double* figures, uint* stop, double* history, StopParams p); `stop` has checked that
        // the history has room for this look.
        unsafe { launch.launch() }
    }
}
