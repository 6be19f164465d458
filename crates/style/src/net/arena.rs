//! Working memory of a network for pictures of one size.

use gpu_core::Backend;

use super::{Job, Net};
use crate::kernels::{NetElem, NetScratch};

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
}

impl<B: Backend, T: NetElem> Arena<B, T> {
    pub(crate) fn new(b: &B, net: &Net<B, T>, job: &Job) -> gpu_core::Result<Self> {
        let scenes = net.scenes(job);
        let last = scenes.len() - 1;
        let most = |indices: &[usize]| indices.iter().map(|&i| scenes[i].len()).max().unwrap_or(0);
        let (large, middle, body) = (most(&[1, last]), most(&[2, last - 1]), most(&[3]));
        for scene in &scenes {
            scene.check()?;
        }
        let stats = scenes[1..].iter().map(|scene| b.zeros(scene.n * T::stats_len(scene.c)));
        Ok(Self {
            large: b.scratch(large)?,
            middle: b.scratch(middle)?,
            raw: [b.scratch(body)?, b.scratch(body)?],
            kept: [b.scratch(body)?, b.scratch(body)?],
            stats: stats.collect::<gpu_core::Result<_>>()?,
            scratch: NetScratch::new(b, net.scratch_size(job)?)?,
            flag: b.zeros(1)?,
        })
    }

    /// Tiles that left the range in the last run.
    pub(crate) fn flag(&self) -> &B::Buf<u32> {
        &self.flag
    }
}
