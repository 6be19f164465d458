//! How many pictures of a scene are held together, and how many pairs are worked on together.

use gpu_core::{Backend, Footprint, batch_within};

use crate::estimate::Geometry;
use crate::kernels::refine_bytes;
use crate::{Error, Result};

/// Pairs in one batch at most: more bring no speed.
const PAIRS: usize = 8;

/// How a scene is split to fit its memory. No result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScenePlan {
    /// Pictures whose spectra are held together; at least 2.
    pub slots: usize,
    /// Pairs that are correlated together.
    pub batch: usize,
    /// Bytes of the device at the peak.
    pub bytes: usize,
}

impl Geometry {
    /// Bytes of a picture that is held: its spectra, one proxy, and its means.
    pub fn picture_bytes(&self) -> usize {
        self.planes * (8 * self.area() + 8) + 4 * self.proxy[0] * self.proxy[1]
    }

    /// Bytes to prepare one picture: mosaic, planes, one of them windowed, tables, the transform's
    /// workspace, and what second looks take.
    pub fn prepare_bytes(&self) -> usize {
        let proxy = 4 * self.proxy[0] * self.proxy[1];
        let planes = if self.planes > 1 { self.planes * proxy } else { 0 };
        let tables = (64 << 10) + 16 * (self.fft[0] + self.fft[1]) + self.held;
        let sums = 8 * self.planes * self.fft[0];
        let spectra = 8 * self.area() + 4 * self.fft[0] * self.fft[1] + self.follow_bytes();
        2 * self.mosaic[0] * self.mosaic[1] + planes + spectra + sums + tables
    }

    /// Bytes for each pair of a batch: products, correlations, the grids around the peaks with what makes them, and rows
    /// of two comparisons.
    pub fn pair_bytes(&self) -> usize {
        let peaks = 32 * (2 * self.limit + 1) + refine_bytes(self.fft[0], self.fft[1]) + 17 * 17 * 8 + 64;
        self.outputs * (8 * self.area() + 4 * self.fft[0] * self.fft[1] + peaks) + 16 * self.proxy[0] + 128
    }

    /// Splits a scene of `pictures` and `pairs` so that it stays within `budget` bytes.
    ///
    /// # Errors
    /// [`gpu_core::Error::OutOfMemory`] naming the smallest need when not even one pair fits.
    pub fn plan(&self, pictures: usize, pairs: usize, budget: usize) -> Result<ScenePlan> {
        let held = |slots: usize| self.prepare_bytes() + slots * self.picture_bytes();
        let slots = |n: usize| held(n + 1) + self.pair_bytes();
        let slots = batch_within(&slots, pictures.max(2) - 1, budget).map_err(Error::from)? + 1;
        let batch = |n: usize| held(slots) + n * self.pair_bytes();
        let batch = batch_within(&batch, pairs.clamp(1, PAIRS), budget).map_err(Error::from)?;
        Ok(ScenePlan { slots, batch, bytes: held(slots) + batch * self.pair_bytes() })
    }
}

/// The footprint of a scene as a function of the pictures held, with pairs one by one.
impl Footprint for Geometry {
    fn bytes(&self, items: usize) -> usize {
        self.prepare_bytes() + items.max(2) * self.picture_bytes() + self.pair_bytes()
    }
}

/// What a backend has left, within a limit.
pub(crate) fn budget<B: Backend>(b: &B, limit: Option<usize>) -> usize {
    let memory = b.memory();
    let left = memory.limit.saturating_sub(memory.used).min(memory.free);
    limit.map_or(left, |limit| limit.min(left))
}
