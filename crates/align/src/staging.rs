use gpu_core::{Backend, InFlight, ViewMut};
use rayon::prelude::*;

use crate::Result;
use crate::kernels::DespikeBlock;

/// Host memory through which mosaics go to a device while it works on the picture before.
pub(crate) struct Staging<B: Backend> {
    /// The last two copies, the older one first.
    copies: [Option<InFlight<B, u16>>; 2],
}

impl<B: Backend> std::fmt::Debug for Staging<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staging({} copies)", self.copies.iter().flatten().count())
    }
}

impl<B: Backend> Default for Staging<B> {
    fn default() -> Self {
        Self { copies: [None, None] }
    }
}

/// Values that one thread copies at a time.
const PIECE: usize = 1 << 18;

impl<B: DespikeBlock> Staging<B> {
    /// Copies a mosaic, or starts to.
    pub(crate) fn upload(&mut self, b: &B, values: &[u16], dst: ViewMut<'_, B, u16>) -> Result<()> {
        if !b.stages() {
            return Ok(b.upload(values, dst)?);
        }
        let [older, newer] = std::mem::take(&mut self.copies);
        let mut memory = match older {
            Some(done) => done.finish()?,
            None => b.pinned(values.len())?,
        };
        memory.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
        self.copies = [newer, Some(b.upload_pinned(memory, dst)?)];
        Ok(())
    }
}
