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
        let geometry = self.geometry();
        let padded = pad(geometry.cout);
        let [height, width] = geometry.output(image.height, image.width);
        let rows = match self {
            Self::Direct(direct) => direct.band_rows(height),
            Self::Winograd(..) => Winograd::band_rows(height, width),
        };
        let size = rows * width * padded;
        let out = &mut out[..height * width * padded];
        let bands = height.div_ceil(rows);
        let mut parts = vec![Moments::default(); bands * padded];
        let mut keeps: Vec<Option<&mut [f32]>> = match keep {
            Some(keep) => keep.chunks_mut(size).map(Some).collect(),
            None => std::iter::repeat_with(|| None).take(bands).collect(),
        };
        let work = out.par_chunks_mut(size).zip(parts.par_chunks_mut(padded)).zip(keeps.par_iter_mut()).enumerate();
        work.for_each(|(band, ((out, part), keep))| {
            let mut scratch = pool.get();
            match self {
                Self::Direct(direct) => direct.band(image, band * rows, out, &mut scratch),
                Self::Winograd(winograd, _) => {
                    winograd.band(image, band * rows, out, keep.as_deref_mut(), &mut scratch);
                }
            }
            of_band(out, padded, part);
        });
        let counts: Vec<usize> = (0..bands).map(|b| rows.min(height - b * rows) * width).collect();
        tree(&parts, &counts, padded)
    }
}
