//! Packing: reads a layer's input through its deferred normalisation, border rule and residual into a tile.

use crate::cpu::buffer::{LANES, pad};
use crate::cpu::moments::Affine;

/// What an index outside the image means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    /// Mirror without repeating the edge.
    Reflect,
    /// Repeat the edge: what reflection after nearest × 2 is on the source.
    Clamp,
}

impl Border {
    /// The index in `0..n` that `i` stands for. Indices further out than the rule reaches only occur in parts of
    /// tiles whose results are dropped; they give some valid index.
    pub(crate) fn map(self, i: isize, n: usize) -> usize {
        let last = n as isize - 1;
        let mapped = match self {
            Self::Reflect if i < 0 => -i,
            Self::Reflect if i > last => 2 * last - i,
            _ => i,
        };
        mapped.clamp(0, last) as usize
    }
}

/// A layer's input image, before packing.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Finished planes `[C][H][W]`, and a constant to subtract.
    Planes(&'a [f32], f32),
    /// Interleaved 8-bit RGB, and a constant to subtract.
    Rgb(&'a [u8], f32),
    /// Channels-last `[H][W][pad(C)]`, with what is still to be done to it on reading.
    Raw { data: &'a [f32], skip: Option<&'a [f32]>, deferred: Deferred<'a> },
}

/// The end of the layer that made a raw tensor, left to its reader.
#[derive(Clone, Copy)]
pub(crate) struct Deferred<'a> {
    pub(crate) norm: &'a Affine,
    pub(crate) relu: bool,
    /// Per-channel constants to subtract last. Behind reflection padding they shift each output channel by a constant,
    /// which the next norm removes; the sums get smaller and so do their rounding errors.
    pub(crate) centre: Option<&'a [f32]>,
}

/// An input image and the rule for its border.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) border: Border,
    /// The row that raw data begin with; 0 for a whole image.
    pub(crate) first: usize,
}

impl Image<'_> {
    /// Fills `tile` (`rows × cols` pixels of `channels` floats) with the image from (`top`, `left`) on.
    pub(crate) fn pack(&self, tile: &mut [f32], top: isize, left: isize, rows: usize, cols: usize) {
        let row_len = cols * self.channels;
        let inside = (-left).clamp(0, cols as isize) as usize;
        let outside = (self.width as isize - left).clamp(inside as isize, cols as isize) as usize;
        for (r, row) in tile.chunks_exact_mut(row_len).take(rows).enumerate() {
            let y = self.border.map(top + r as isize, self.height);
            if outside > inside {
                let span = &mut row[inside * self.channels..outside * self.channels];
                self.span(span, y, (left + inside as isize) as usize);
            }
            for c in (0..inside).chain(outside..cols) {
                let x = self.border.map(left + c as isize, self.width);
                self.span(&mut row[c * self.channels..(c + 1) * self.channels], y, x);
            }
        }
    }

    /// The whole image as planes.
    pub(crate) fn finished(&self) -> Vec<f32> {
        let mut tile = vec![0.0; self.height * self.width * self.channels];
        self.pack(&mut tile, 0, 0, self.height, self.width);
        crate::cpu::network::planes(&tile, self.channels, self.channels)
    }

    /// Pixels of row `y` from `x` on, all inside the image.
    fn span(&self, to: &mut [f32], y: usize, x: usize) {
        let at = y * self.width + x;
        let count = to.len() / self.channels;
        match self.source {
            Source::Planes(planes, centre) => {
                for c in 0..self.channels {
                    let plane = &planes[c * self.height * self.width + at..][..count];
                    for (to, &value) in to[c..].iter_mut().step_by(self.channels).zip(plane) {
                        *to = value - centre;
                    }
                }
            }
            Source::Rgb(bytes, centre) => {
                for (to, &value) in to.iter_mut().zip(&bytes[at * 3..]) {
                    *to = f32::from(value) - centre;
                }
            }
            Source::Raw { data, skip, deferred } => {
                let padded = pad(self.channels);
                let at = at - self.first * self.width;
                let range = at * padded..(at + count) * padded;
                let skip = skip.map(|s| &s[range.clone()]);
                finish(to, &data[range], skip, &deferred, self.channels);
            }
        }
    }
}

/// `to = relu?(norm?(from)) + skip? − centre?`, from `pad(channels)` floats a pixel to `channels` floats a pixel.
pub(crate) fn finish(to: &mut [f32], from: &[f32], skip: Option<&[f32]>, deferred: &Deferred<'_>, channels: usize) {
    if channels == pad(channels) {
        match skip {
            None => finish_plain(to, from, deferred),
            Some(skip) => finish_skip(to, from, skip, deferred),
        }
        return;
    }
    let Deferred { norm, relu, centre } = deferred;
    let padded = pad(channels);
    for (i, (to, from)) in to.chunks_exact_mut(channels).zip(from.chunks_exact(padded)).enumerate() {
        for c in 0..channels {
            let value = (from[c] - norm.mean[c]).mul_add(norm.scale[c], norm.beta[c]);
            let value = if *relu && value < 0.0 { 0.0 } else { value };
            let value = skip.map_or(value, |skip| value + skip[i * padded + c]);
            to[c] = centre.map_or(value, |centre| value - centre[c]);
        }
    }
}

// The vector forms read whole vectors into locals before they store one: slices inside slices could overlap for all
// that the compiler knows, and it would go float by float.

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn finish_plain(to: &mut [f32], from: &[f32], deferred: &Deferred<'_>) {
    let (to, _) = to.as_chunks_mut::<LANES>();
    let (from, _) = from.as_chunks::<LANES>();
    let vectors = Coefficients::new(deferred);
    for (to, from) in to.chunks_exact_mut(vectors.count()).zip(from.chunks_exact(vectors.count())) {
        for (v, (to, from)) in to.iter_mut().zip(from).enumerate() {
            *to = vectors.centred(v, vectors.normalise(v, *from));
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma", "aarch64+neon"))]
fn finish_skip(to: &mut [f32], from: &[f32], skip: &[f32], deferred: &Deferred<'_>) {
    let (to, _) = to.as_chunks_mut::<LANES>();
    let (from, _) = from.as_chunks::<LANES>();
    let (skip, _) = skip.as_chunks::<LANES>();
    let vectors = Coefficients::new(deferred);
    let n = vectors.count();
    for ((to, from), skip) in to.chunks_exact_mut(n).zip(from.chunks_exact(n)).zip(skip.chunks_exact(n)) {
        for (v, ((to, from), skip)) in to.iter_mut().zip(from).zip(skip).enumerate() {
            let (value, skip) = (vectors.normalise(v, *from), *skip);
            *to = vectors.centred(v, std::array::from_fn(|j| value[j] + skip[j]));
        }
    }
}

/// Deferred coefficients as vectors.
struct Coefficients<'a> {
    mean: &'a [[f32; LANES]],
    scale: &'a [[f32; LANES]],
    beta: &'a [[f32; LANES]],
    centre: Option<&'a [[f32; LANES]]>,
    floor: f32,
}

impl<'a> Coefficients<'a> {
    #[inline(always)]
    fn new(deferred: &Deferred<'a>) -> Self {
        Self {
            mean: deferred.norm.mean.as_chunks().0,
            scale: deferred.norm.scale.as_chunks().0,
            beta: deferred.norm.beta.as_chunks().0,
            centre: deferred.centre.map(|c| c.as_chunks().0),
            floor: if deferred.relu { 0.0 } else { f32::NEG_INFINITY },
        }
    }

    /// Vectors per pixel.
    #[inline(always)]
    fn count(&self) -> usize {
        self.mean.len()
    }

    #[inline(always)]
    fn normalise(&self, v: usize, x: [f32; LANES]) -> [f32; LANES] {
        let (mean, scale, beta) = (self.mean[v], self.scale[v], self.beta[v]);
        std::array::from_fn(|j| {
            let value = (x[j] - mean[j]).mul_add(scale[j], beta[j]);
            if value < self.floor { self.floor } else { value }
        })
    }

    #[inline(always)]
    fn centred(&self, v: usize, x: [f32; LANES]) -> [f32; LANES] {
        let Some(centre) = self.centre else { return x };
        let centre = centre[v];
        std::array::from_fn(|j| x[j] - centre[j])
    }
}
