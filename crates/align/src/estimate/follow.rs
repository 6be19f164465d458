//! A second look, with windows that follow the shift.
//!
//! Windows at one place of both pictures show them different parts of the scene, which pulls a shift towards 0. For a
//! picture whose power falls with the square of the frequency it is pulled by the part
//! `1 / (4 alpha (1 − 5/8 alpha) (sigma n)²)` along a side of `n` pixels: the window spreads each frequency over its
//! neighbours, of which the lower ones, whose phases turn less, are the stronger. Hundredths of a pixel in a picture of
//! 400 x 400, nothing in one of 24 megapixels. So where it may count, what the pictures have in common gets windows of
//! its own, at its place in each of them, and the correlation of these is looked at around the place that is known.
//! The transforms keep their size: outside of its window a picture is 0.

use gpu_core::Tensor;

use super::{CONFIDENT, Estimator, Geometry, Store};
use crate::kernels::{RefineTask, Window, cross_weight, fft_r2c, whiten, window_apply, window_sums};
use crate::verdict::Joined;
use crate::{AlignBackend, Options, Refine, Result};

/// Pulls up to this, in full-resolution pixels, are left.
const PULL: f64 = 0.006;
/// Pictures with a few bright things before a dark ground are pulled up to three times as much.
const STEEPER: f64 = 3.0;
/// Pixels of the proxy that must be common along each side.
const LEAST: f64 = 24.0;
/// How far around the place that is known, in pixels of the proxy; nothing is pulled as far.
const RADIUS: f64 = 0.5;

impl Geometry {
    /// How far a shift of `place` pixels of the proxy may be pulled towards 0, in full-resolution pixels.
    fn pull(&self, o: &Options, place: [f64; 2]) -> f64 {
        let (alpha, sigma) = (f64::from(o.alpha), f64::from(o.sigma));
        let axis = |k: usize| {
            let spread = 4.0 * alpha * (1.0 - 0.625 * alpha) * (sigma * self.fft[k] as f64).powi(2);
            self.block as f64 * place[k].abs() / spread
        };
        STEEPER * axis(0).max(axis(1))
    }

    /// Whether any shift in range may be pulled too far. Pictures with several planes have only one of them kept, and
    /// those without a window are meant to go around.
    pub(super) fn may_follow(&self, o: &Options) -> bool {
        let most = [self.limit as f64 + 1.0; 2];
        o.refine != Refine::None && self.planes == 1 && o.alpha > 0.0 && self.pull(o, most) > PULL
    }

    /// Bytes that second looks take: two spectra, and two windows.
    pub(crate) fn follow_bytes(&self) -> usize {
        if self.follow { 16 * self.area() + 8 * (self.fft[0] + self.fft[1]) + 128 } else { 0 }
    }
}

impl<B: AlignBackend> Estimator<B> {
    /// Looks again at pairs whose shift may be pulled too far. The correlation of a pair is lost.
    pub(super) fn follow(
        &mut self,
        store: &Store<B>,
        pairs: &[(usize, usize)],
        mut joined: Vec<Joined>,
    ) -> Result<Vec<Joined>> {
        if !self.g.follow {
            return Ok(joined);
        }
        let block = self.g.block as f64;
        let mut centres: Vec<RefineTask> =
            joined.iter().map(|(one, _)| RefineTask { y: one.shift[0] / block, x: one.shift[1] / block }).collect();
        let mut looked = Vec::new();
        for (i, (&pair, (one, _))) in pairs.iter().zip(&joined).enumerate() {
            let place = [centres[i].y, centres[i].x];
            let enough = (0..2).all(|k| self.g.fft[k] as f64 - place[k].abs() >= LEAST);
            if one.psr >= CONFIDENT[0] && enough && self.g.pull(&self.o, place) > PULL {
                self.look(store, pair, place, i)?;
                looked.push(i);
            }
        }
        if looked.is_empty() {
            return Ok(joined);
        }
        let known = centres.clone();
        for radius in [RADIUS, RADIUS / 8.0] {
            centres = self.refined(radius, &centres)?;
        }
        for i in looked {
            let moved = (centres[i].y - known[i].y).abs().max((centres[i].x - known[i].x).abs());
            // At the rim of what was looked at there is no peak.
            if moved < 0.9 * RADIUS {
                joined[i].0.shift = [block * centres[i].y, block * centres[i].x];
            }
        }
        Ok(joined)
    }

    /// The product of a pair's spectra under windows that are `place` apart, in place of product `at`.
    fn look(&mut self, store: &Store<B>, (gt, noisy): (usize, usize), place: [f64; 2], at: usize) -> Result<()> {
        let (b, g) = (&self.b, self.g);
        let Some(looks) = &mut self.looks else { return Ok(()) };
        let length = [0, 1].map(|k| g.fft[k] as f64 - place[k].abs());
        let mut means = Tensor::<B, f64, 1>::scratch(b, [1])?;
        for (i, (slot, sign)) in [(gt, 1.0), (noisy, -1.0)].into_iter().enumerate() {
            let start = place.map(|d| (sign * d).max(0.0));
            let window = Window::part(b, g.proxy, g.fft, (start, length), self.o.alpha.into())?;
            let proxy = store.proxies.slab(slot..slot + 1)?.flat();
            window_sums(b, &window, 1, proxy, means.flat_mut())?;
            window_apply(b, &window, 1, proxy, means.flat(), self.windowed.flat_mut())?;
            let mut spectrum = looks.slab_mut(i..i + 1)?.flat();
            fft_r2c(b, &self.plan, 1, self.windowed.flat(), spectrum.reborrow(), self.work.flat_mut())?;
            whiten(b, spectrum)?;
        }
        let indices = Tensor::<B, u32, 2>::from_slice(b, [1, 2], &[0, 1])?;
        let product = self.products.slab_mut(at..at + 1)?.flat();
        Ok(cross_weight(b, &self.weight, [2, 1], true, indices.flat(), looks.flat(), product)?)
    }
}
