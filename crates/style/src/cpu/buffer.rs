//! Buffers whose first element lies on a cache line, so that no vector store is split.

/// Floats per vector of the engine: one AVX-512 register, two AVX2 registers, four NEON registers.
pub(crate) const LANES: usize = 16;

/// One vector of packed weights. The alignment keeps each load inside one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane(pub(crate) [f32; LANES]);

/// `n` rounded up to whole vectors.
pub(crate) const fn pad(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// A growing buffer of f32, aligned to a cache line without `unsafe`: the vector is a line longer than asked for and
/// the slice starts inside it.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    store: Vec<f32>,
}

impl Buffer {
    /// The first `len` elements, with whatever they hold.
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        if self.store.len() < len + LANES {
            // The old block goes back first, so that both never exist together.
            self.store = Vec::new();
            self.store = vec![0.0; len + LANES];
        }
        let start = self.store.as_ptr().align_offset(64).min(LANES);
        &mut self.store[start..start + len]
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.store.capacity() * size_of::<f32>()
    }
}
