//! Working memory of a network for pictures of one size.

use gpu_core::{Backend, ViewMut};

use super::{Job, Net};
use crate::kernels::{NetElem, NetScratch};

/// What the frames before were normalised with.
#[derive(Debug)]
pub(super) struct History<B: Backend> {
    /// A frame's share.
    pub(super) own: f64,
    /// Mean and variance by channels, and whether there are such, for every layer.
    pub(super) layers: Vec<(B::Buf<f64>, B::Buf<u32>)>,
}

/// Buffers that layers read and write. For each pixel of the picture they take about 80 elements at base width 32.
#[derive(Debug)]
pub(crate) struct Arena<B: Backend, T: NetElem> {
    /// Raw output of the first layer, later of the last norm.
    pub(super) large: B::Buf<T>,
    /// Raw output of the second layer, later of the first upsampling one.
    pub(super) middle: B::Buf<T>,
    /// Raw outputs of the body, in turn.
    pub(super) raw: [B::Buf<T>; 2],
    /// Inputs of residual blocks, in turn: a layer reads the old one beyond the pixels that it writes of the new one.
    pub(super) kept: [B::Buf<T>; 2],
    /// Statistics of every layer.
    pub(super) stats: Vec<B::Buf<T::Stat>>,
    pub(super) scratch: NetScratch<B>,
    /// Tiles that left the range of the element type in the last run.
    pub(super) flag: B::Buf<u32>,
    pub(super) history: Option<History<B>>,
}

impl<B: Backend, T: NetElem> Arena<B, T> {
    /// `own`: the share of a frame's own statistics, where those of the frames before count too.
    pub(crate) fn new(b: &B, net: &Net<B, T>, job: &Job, own: Option<f64>) -> gpu_core::Result<Self> {
        let scenes = net.scenes(job);
        let last = scenes.len() - 1;
        let most = |indices: &[usize]| indices.iter().map(|&i| scenes[i].len()).max().unwrap_or(0);
        let (large, middle, body) = (most(&[1, last]), most(&[2, last - 1]), most(&[3]));
        for scene in &scenes {
            scene.check()?;
        }
        let stats = scenes[1..].iter().map(|scene| b.zeros(scene.n * T::stats_len(scene.c)));
        let layer = |scene: &super::Scene| Ok((b.zeros(2 * scene.c)?, b.zeros(1)?));
        let history = match own {
            Some(own) => Some(History { own, layers: scenes[1..].iter().map(layer).collect::<gpu_core::Result<_>>()? }),
            None => None,
        };
        Ok(Self {
            history,
            large: b.scratch(large)?,
            middle: b.scratch(middle)?,
            raw: [b.scratch(body)?, b.scratch(body)?],
            kept: [b.scratch(body)?, b.scratch(body)?],
            stats: stats.collect::<gpu_core::Result<_>>()?,
            scratch: NetScratch::new(b, net.scratch_size(job)?)?,
            flag: b.zeros(1)?,
        })
    }

    /// Forgets the frames before.
    pub(crate) fn forget(&mut self, b: &B) -> gpu_core::Result<()> {
        for (_, seen) in self.history.iter_mut().flat_map(|history| &mut history.layers) {
            b.upload(&[0], ViewMut::of(seen))?;
        }
        Ok(())
    }

    /// Tiles that left the range in the last run.
    pub(crate) fn flag(&self) -> &B::Buf<u32> {
        &self.flag
    }
}
