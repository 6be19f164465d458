//! Convolutions over bands of rows: the parallel driver, its scratch memory and its statistics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::cpu::buffer::{Buffer, pad};
use crate::cpu::direct::{Direct, Geometry};
use crate::cpu::kernel::Isa;
use crate::cpu::moments::{Moments, of_band, tree};
use crate::cpu::pack::Image;
use crate::cpu::winograd::Winograd;

/// Working memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The packed input.
    pub(crate) tile: Buffer,
    /// Transformed inputs, or column taps of the last layer.
    pub(crate) inputs: Buffer,
    /// Products before the output transform.
    pub(crate) products: Buffer,
}

/// One scratch per thread of the pool.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Vec<Mutex<Scratch>>,
}

impl Pool {
    /// Makes a slot for each thread that can work now.
    pub(crate) fn prepare(&mut self) {
        let threads = rayon::current_num_threads().max(1);
        if self.slots.len() < threads {
            self.slots.resize_with(threads, Mutex::default);
        }
    }

    /// This thread's scratch. A scratch holds no state between uses, so a poisoned one is as good as new.
    pub(crate) fn get(&self) -> MutexGuard<'_, Scratch> {
        let slot = rayon::current_thread_index().unwrap_or(0) % self.slots.len();
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes held by all slots.
    pub(crate) fn bytes(&self) -> usize {
        let size = |s: &Mutex<Scratch>| {
            let s = s.lock().unwrap_or_else(PoisonError::into_inner);
            s.tile.bytes() + s.inputs.bytes() + s.products.bytes()
        };
        self.slots.iter().map(size).sum()
    }
}

/// A packed convolution.
#[derive(Debug)]
pub(crate) enum Conv {
    Direct(Direct),
    Winograd(Winograd, Geometry),
}

impl Conv {
    /// Packs `weight` for the direct method.
    pub(crate) fn direct(isa: Isa, geometry: Geometry, weight: &[f32]) -> Self {
        Self::Direct(Direct::new(isa, geometry, weight))
    }

    /// Packs `weight` for Winograd's method where the shape allows it.
    pub(crate) fn fastest(isa: Isa, geometry: Geometry, weight: &[f32]) -> Self {
        let Geometry { cin, cout, kernel, stride, padding, upsample } = geometry;
        if cin == cout && pad(cin) == cin && kernel == [3, 3] && stride == [1, 1] && padding == 1 && !upsample {
            Self::Winograd(Winograd::new(isa, cin, weight), geometry)
        } else {
            Self::direct(isa, geometry, weight)
        }
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        match self {
            Self::Direct(direct) => direct.geometry(),
            Self::Winograd(_, geometry) => geometry,
        }
    }

    /// The bands of an output: a matter of the image's size alone.
    pub(crate) fn bands(&self, height: usize, width: usize) -> Bands {
        let geometry = self.geometry();
        let [height, width] = geometry.output(height, width);
        let rows = match self {
            Self::Direct(direct) => direct.band_rows(height),
            Self::Winograd(..) => Winograd::band_rows(height, width),
        };
        Bands { rows, height, width, padded: pad(geometry.cout) }
    }

    /// Convolves `image` into `out` (`[Ho][Wo][pad(cout)]`, without bias) and gives each channel's moments and the
    /// pixel count. `keep` (Winograd only) gets the finished input.
    ///
    /// Bands and the order in which their statistics merge depend on the image's size only: the result has the same
    /// bits for any number of threads.
    pub(crate) fn forward(
        &self,
        image: &Image<'_>,
        out: &mut [f32],
        keep: Option<&mut [f32]>,
        pool: &Pool,
    ) -> (Vec<Moments>, usize) {
        let bands = self.bands(image.height, image.width);
        let mut parts = vec![Moments::default(); bands.count() * bands.padded];
        let out = &mut out[..bands.height * bands.width * bands.padded];
        self.some(image, &bands, 0, out, keep, &mut parts, pool);
        bands.merge(&parts)
    }

    /// The bands from `first` on: their rows of the output, of what is kept, and their moments.
    pub(crate) fn some(
        &self,
        image: &Image<'_>,
        bands: &Bands,
        first: usize,
        out: &mut [f32],
        keep: Option<&mut [f32]>,
        parts: &mut [Moments],
        pool: &Pool,
    ) {
        let size = bands.rows * bands.width * bands.padded;
        let count = out.len().div_ceil(size);
        let mut keeps: Vec<Option<&mut [f32]>> = match keep {
            Some(keep) => keep.chunks_mut(size).map(Some).collect(),
            None => std::iter::repeat_with(|| None).take(count).collect(),
        };
        let parts = parts.par_chunks_mut(bands.padded);
        let work = out.par_chunks_mut(size).zip(parts).zip(keeps.par_iter_mut()).enumerate();
        work.for_each(|(band, ((out, part), keep))| {
            let mut scratch = pool.get();
            let top = (first + band) * bands.rows;
            match self {
                Self::Direct(direct) => direct.band(image, top, out, &mut scratch),
                Self::Winograd(winograd, _) => winograd.band(image, top, out, keep.as_deref_mut(), &mut scratch),
            }
            of_band(out, bands.padded, part);
        });
    }
}

/// How an output is cut into bands of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands {
    /// Of a band; the last may have fewer.
    pub(crate) rows: usize,
    /// Rows and columns of the output.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Floats of a pixel.
    pub(crate) padded: usize,
}

impl Bands {
    pub(crate) fn count(&self) -> usize {
        self.height.div_ceil(self.rows)
    }

    /// The moments of the whole from those of all bands, and the pixel count.
    pub(crate) fn merge(&self, parts: &[Moments]) -> (Vec<Moments>, usize) {
        let count = |band: usize| self.rows.min(self.height - band * self.rows) * self.width;
        let counts: Vec<usize> = (0..self.count()).map(count).collect();
        tree(parts, &counts, self.padded)
    }
}
