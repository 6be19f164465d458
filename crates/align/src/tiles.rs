//! More than a translation: shifts of parts of a picture, and the turn and scale that explain them.
//!
//! The proxies are cut into a grid of tiles after the shift of the pair in whole pixels. Each tile is correlated as whole
//! pictures are (Tukey window with alpha 0.5, whitened, Gaussian weight) within ±6 pixels. A similarity
//! `d(p) = t + (a, −b; b, a) (p − c)` is fitted to the tiles' shifts by iteratively reweighted least squares (P. Huber,
//! 1964).

use num_complex::Complex32;
use rayon::prelude::*;
use rustfft::{Fft, FftDirection, FftPlanner};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::estimate::{Estimator, Store};
use crate::kernels::good_size;
use crate::{AlignBackend, PairResult, Result, State};

/// Pixels of the proxy that a tile may be off by.
const REACH: usize = 6;
/// The psr from which on a tile counts.
const LEAST_PSR: f32 = 6.0;
/// Tiles that must count before anything is said.
const LEAST_TILES: usize = 6;
/// Rms of the tiles' shifts around the pair's from which on it is no translation, in full-resolution pixels.
pub const NO_TRANSLATION: f64 = 0.35;
/// The shortest side of a tile.
const LEAST_SIDE: usize = 32;
const SIGMA: f64 = 0.15;
const ALPHA: f64 = 0.5;

/// The shift of one part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// Middle of the tile in the noisy picture, `[y, x]` in full-resolution pixels.
    pub centre: [f64; 2],
    /// Its shift, `[dy, dx]` in full-resolution pixels.
    pub shift: [f64; 2],
    /// How many standard deviations its peak stands above the mean of its correlation.
    pub psr: f32,
}

/// What the tiles of a pair say together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileFit {
    /// Tiles with a clear shift.
    pub tiles: Vec<Tile>,
    /// Tiles in all.
    pub count: usize,
    /// By how much the ground truth is turned against the noisy picture, in degrees from `y` towards `x`.
    pub rotation_deg: f64,
    /// By how much it is larger.
    pub scale: f64,
    /// Root mean square of the tiles' shifts around that of the pair, in full-resolution pixels.
    pub rms_translation: f64,
    /// The same around the fitted turn and scale.
    pub rms_fit: f64,
}

/// Turn and scale explain the tiles when they leave less than this part of their rms.
const EXPLAINED: f64 = 0.7;
/// The median psr from which on tiles that nothing explains are no noise: other parts moved by themselves.
const CLEAR: f32 = 20.0;

impl TileFit {
    /// Whether no one shift describes the pair: the tiles are more than [`NO_TRANSLATION`] off, and that is not their noise.
    pub fn is_no_translation(&self) -> bool {
        let mut psr: Vec<f32> = self.tiles.iter().map(|t| t.psr).collect();
        psr.sort_by(f32::total_cmp);
        self.tiles.len() >= LEAST_TILES
            && self.rms_translation > NO_TRANSLATION
            && (self.rms_fit < EXPLAINED * self.rms_translation || psr[psr.len() / 2] >= CLEAR)
    }
}

/// Looks at the tiles of pairs that have a shift, and marks those that are no translations.
pub(crate) fn look<B: AlignBackend>(
    estimator: &Estimator<B>,
    store: &Store<B>,
    slots: &[(usize, usize)],
    results: &mut [PairResult],
) -> Result<()> {
    let block = estimator.geometry().block as f64;
    for (&(gt, noisy), result) in slots.iter().zip(results) {
        if !matches!(result.state, State::Confident | State::Doubtful) {
            continue;
        }
        let (size, gt) = estimator.proxy(store, gt)?;
        let (_, noisy) = estimator.proxy(store, noisy)?;
        result.tiles = fit(&gt, &noisy, size, result.shift, block);
        if result.tiles.as_ref().is_some_and(TileFit::is_no_translation) && result.state == State::Confident {
            result.state = State::NotATranslation;
        }
    }
    Ok(())
}

/// Transforms and weights of one tile size.
struct Correlator {
    size: [usize; 2],
    window: Vec<f32>,
    weight: Vec<f32>,
    /// Rows and columns, forward and backward.
    plans: [[Arc<dyn Fft<f32>>; 2]; 2],
}

impl Correlator {
    fn new(size: [usize; 2]) -> Self {
        let tukey = |n: usize| -> Vec<f64> {
            let e = ALPHA * n as f64 / 2.0;
            let at = |i: usize| {
                let t = i.min(n - 1 - i) as f64 + 0.5;
                if t < e { (1.0 - (std::f64::consts::PI * t / e).cos()) / 2.0 } else { 1.0 }
            };
            (0..n).map(at).collect()
        };
        let gauss = |n: usize| -> Vec<f64> {
            // As far from 0 as the nearer end of the circle.
            let f = |k: usize| k.min(n - k) as f64 / n as f64;
            (0..n).map(|k| (-f(k) * f(k) / (2.0 * SIGMA * SIGMA)).exp()).collect()
        };
        let outer = |a: Vec<f64>, b: Vec<f64>| -> Vec<f32> {
            a.iter().flat_map(|a| b.iter().map(move |b| (a * b) as f32)).collect()
        };
        let mut planner = FftPlanner::new();
        let mut plan = |n, direction| planner.plan_fft(n, direction);
        Self {
            window: outer(tukey(size[0]), tukey(size[1])),
            weight: outer(gauss(size[0]), gauss(size[1])),
            plans: [FftDirection::Forward, FftDirection::Inverse].map(|d| [plan(size[0], d), plan(size[1], d)]),
            size,
        }
    }

    fn transform(&self, z: &mut [Complex32], backward: bool) {
        let [height, width] = self.size;
        let [columns, rows] = &self.plans[usize::from(backward)];
        rows.process(z);
        let mut turned = vec![Complex32::ZERO; z.len()];
        for (i, v) in z.iter().enumerate() {
            turned[i % width * height + i / width] = *v;
        }
        columns.process(&mut turned);
        for (i, v) in turned.iter().enumerate() {
            z[i % height * width + i / height] = *v;
        }
    }

    /// The whitened spectrum of the tile at a place.
    fn spectrum(&self, x: &[f32], stride: usize, [top, left]: [usize; 2]) -> Vec<Complex32> {
        let [height, width] = self.size;
        let values = || (0..height).flat_map(|y| x[(top + y) * stride + left..][..width].iter().copied());
        let (mut sum, mut total) = (0.0f64, 0.0f64);
        for (v, w) in values().zip(&self.window) {
            sum += f64::from(v * w);
            total += f64::from(*w);
        }
        let mean = (sum / total) as f32;
        let mut z: Vec<Complex32> =
            values().zip(&self.window).map(|(v, w)| Complex32::new((v - mean) * w, 0.0)).collect();
        self.transform(&mut z, false);
        for z in &mut z {
            let m = z.norm();
            *z = if m > 0.0 && m.is_finite() { *z / m } else { Complex32::ZERO };
        }
        z
    }

    /// Shift and psr of a tile, in pixels of the proxy; `None` at the end of the range.
    fn shift(&self, gt: &[Complex32], noisy: &[Complex32]) -> Option<([f64; 2], f32)> {
        let [height, width] = self.size;
        let mut z: Vec<Complex32> =
            gt.iter().zip(noisy).zip(&self.weight).map(|((a, b), w)| a * b.conj() * w).collect();
        z[0] = Complex32::ZERO;
        self.transform(&mut z, true);
        let reach = REACH as i64;
        let at = |dy: i64, dx: i64| {
            let (y, x) = (dy.rem_euclid(height as i64) as usize, dx.rem_euclid(width as i64) as usize);
            f64::from(z[y * width + x].re)
        };
        let mut best = (f64::MIN, 0, 0);
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                if at(dy, dx) > best.0 {
                    best = (at(dy, dx), dy, dx);
                }
            }
        }
        let n = z.len() as f64;
        let mean = z.iter().map(|v| f64::from(v.re)).sum::<f64>() / n;
        let square = z.iter().map(|v| f64::from(v.re).powi(2)).sum::<f64>() / n;
        let std = (square - mean * mean).max(0.0).sqrt();
        let (peak, dy, dx) = best;
        if std <= 0.0 || dy.abs() == reach || dx.abs() == reach {
            return None;
        }
        // The peak of what has a Gaussian weight is a Gaussian, and its logarithm a parabola.
        let top = |a: f64, b: f64, c: f64| {
            let (a, b, c) = if a > 0.0 && c > 0.0 { (a.ln(), b.ln(), c.ln()) } else { (a, b, c) };
            let bend = a - 2.0 * b + c;
            if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 }
        };
        let shift = [
            dy as f64 + top(at(dy - 1, dx), peak, at(dy + 1, dx)),
            dx as f64 + top(at(dy, dx - 1), peak, at(dy, dx + 1)),
        ];
        Some((shift, ((peak - mean) / std) as f32))
    }
}

/// The tiles of two proxies of a size whose pair has this shift in full-resolution pixels; `None` when too little is
/// common.
fn fit(gt: &[f32], noisy: &[f32], [height, width]: [usize; 2], shift: [f64; 2], block: f64) -> Option<TileFit> {
    let whole = shift.map(|d| (d / block).round() as i64);
    let axis = |n: usize, d: i64| {
        let (low, high) = ((-d).max(0), (n as i64).min(n as i64 - d));
        (high > low).then_some((low as usize, (high - low) as usize))
    };
    let ((top, rows), (left, columns)) = (axis(height, whole[0])?, axis(width, whole[1])?);
    let across = (rows.min(columns) / 128).clamp(4, 8);
    let size = [good_size(rows / across, false), good_size(columns / across, true)];
    if size[0].min(size[1]) < LEAST_SIDE {
        return None;
    }
    let correlator = Correlator::new(size);
    let tiles: Vec<Option<Tile>> = (0..across * across)
        .into_par_iter()
        .map(|i| {
            // Tiles are spread over all that is common, a little smaller than their share.
            let place = |k: usize, start: usize, length: usize, side: usize| {
                start + (2 * k + 1) * length / (2 * across) - side / 2
            };
            let [y, x] = [place(i / across, top, rows, size[0]), place(i % across, left, columns, size[1])];
            let from = [y as i64 + whole[0], x as i64 + whole[1]].map(|v| v as usize);
            let spectra = [correlator.spectrum(gt, width, from), correlator.spectrum(noisy, width, [y, x])];
            let (local, psr) = correlator.shift(&spectra[0], &spectra[1])?;
            let moved = [whole[0] as f64 + local[0], whole[1] as f64 + local[1]];
            let centre = [y as f64 + size[0] as f64 / 2.0, x as f64 + size[1] as f64 / 2.0];
            (psr >= LEAST_PSR).then_some(Tile {
                centre: centre.map(|v| v * block),
                shift: moved.map(|v| v * block),
                psr,
            })
        })
        .collect();
    let tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
    Some(explain(tiles, across * across, shift))
}

fn rms(all: impl Iterator<Item = [f64; 2]>) -> f64 {
    let (sum, n) = all.fold((0.0, 0.0), |(sum, n), d| (sum + d[0] * d[0] + d[1] * d[1], n + 1.0));
    if n > 0.0 { (sum / n).sqrt() } else { 0.0 }
}

/// The similarity that explains the shifts of tiles best.
fn explain(tiles: Vec<Tile>, count: usize, shift: [f64; 2]) -> TileFit {
    let n = tiles.len() as f64;
    let middle = [0, 1].map(|k| tiles.iter().map(|t| t.centre[k]).sum::<f64>() / n.max(1.0));
    let around = |t: &Tile| [t.centre[0] - middle[0], t.centre[1] - middle[1]];
    let (mut move_by, mut a, mut b) = (shift, 0.0, 0.0);
    let residual = |t: &Tile, move_by: [f64; 2], a: f64, b: f64| {
        let [y, x] = around(t);
        [t.shift[0] - move_by[0] - a * y + b * x, t.shift[1] - move_by[1] - b * y - a * x]
    };
    if tiles.len() >= 3 {
        for _ in 0..12 {
            let mut sizes: Vec<f64> = tiles.iter().map(|t| rms(std::iter::once(residual(t, move_by, a, b)))).collect();
            let each = sizes.clone();
            sizes.sort_by(f64::total_cmp);
            // Fields with a turn start with large residuals everywhere: nothing is left out before it is known.
            let limit = (2.0 * sizes[sizes.len() / 2]).max(0.05);
            let weights: Vec<f64> = each.iter().map(|r| if *r > limit { limit / r } else { 1.0 }).collect();
            let all: f64 = weights.iter().sum();
            let mean = |k: usize, of: &dyn Fn(&Tile) -> [f64; 2]| {
                tiles.iter().zip(&weights).map(|(t, w)| w * of(t)[k]).sum::<f64>() / all
            };
            let (p, d) = ([mean(0, &around), mean(1, &around)], [mean(0, &|t| t.shift), mean(1, &|t| t.shift)]);
            let (mut along, mut across, mut square) = (0.0, 0.0, 0.0);
            for (t, w) in tiles.iter().zip(&weights) {
                let [y, x] = [around(t)[0] - p[0], around(t)[1] - p[1]];
                let [dy, dx] = [t.shift[0] - d[0], t.shift[1] - d[1]];
                along += w * (y * dy + x * dx);
                across += w * (y * dx - x * dy);
                square += w * (y * y + x * x);
            }
            if square <= 0.0 {
                break;
            }
            (a, b) = (along / square, across / square);
            move_by = [d[0] - a * p[0] + b * p[1], d[1] - b * p[0] - a * p[1]];
        }
    }
    TileFit {
        rotation_deg: b.atan2(1.0 + a).to_degrees(),
        scale: (1.0 + a).hypot(b),
        rms_translation: rms(tiles.iter().map(|t| [t.shift[0] - shift[0], t.shift[1] - shift[1]])),
        rms_fit: rms(tiles.iter().map(|t| residual(t, move_by, a, b))),
        tiles,
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise between the points of grids of several sizes, at any place.
    fn value(y: f64, x: f64) -> f32 {
        let mut v = 0.0;
        for cell in [3.0, 7.0, 19.0] {
            let (y, x) = (y / cell + 100.0, x / cell + 100.0);
            let at = |dy: u64, dx: u64| {
                let place = ((y as u64 + dy) << 20) + x as u64 + dx;
                crate::testing::Random::new(place ^ (f64::to_bits(cell) << 1)).uniform()
            };
            let ease = |t: f64| t * t * (3.0 - 2.0 * t);
            let (ty, tx) = (ease(y.fract()), ease(x.fract()));
            let above = at(0, 0) * (1.0 - tx) + at(0, 1) * tx;
            let below = at(1, 0) * (1.0 - tx) + at(1, 1) * tx;
            v += above * (1.0 - ty) + below * ty;
        }
        v as f32
    }

    #[test]
    fn turns_and_scales_are_found() {
        let size = [320, 384];
        for (degrees, scale) in [(0.0, 1.0), (0.3, 1.0), (-0.25, 1.0), (0.0, 1.004), (0.2, 0.997)] {
            let (sin, cos) = f64::to_radians(degrees).sin_cos();
            let (ty, tx) = (4.0, -6.0);
            let plane = |map: &dyn Fn(f64, f64) -> (f64, f64)| -> Vec<f32> {
                (0..size[0] * size[1])
                    .map(|i| {
                        let (y, x) = map((i / size[1]) as f64 - 160.0, (i % size[1]) as f64 - 192.0);
                        value(y, x)
                    })
                    .collect()
            };
            let gt = plane(&|y, x| (y, x));
            // The noisy picture at p shows what the ground truth has at t + scale R p.
            let noisy = plane(&|y, x| (ty + scale * (cos * y - sin * x), tx + scale * (sin * y + cos * x)));
            let fit = fit(&gt, &noisy, size, [2.0 * ty, 2.0 * tx], 2.0).unwrap();
            assert!(fit.tiles.len() >= 12, "{degrees} {scale}: {} of {}", fit.tiles.len(), fit.count);
            assert!((fit.rotation_deg - degrees).abs() < 0.02, "{degrees} {scale}: {}", fit.rotation_deg);
            assert!((fit.scale - scale).abs() < 4e-4, "{degrees} {scale}: {}", fit.scale);
            assert!(fit.rms_fit < 0.15, "{degrees} {scale}: {}", fit.rms_fit);
            let still = degrees == 0.0 && scale == 1.0;
            assert_eq!(fit.is_no_translation(), !still, "{degrees} {scale}: {}", fit.rms_translation);
        }
    }

    #[test]
    fn one_tile_that_moved_alone_does_not_turn_the_picture() {
        let tiles = (0..16).map(|i| {
            let centre = [f64::from(i / 4) * 100.0, f64::from(i % 4) * 100.0];
            let shift = if i == 5 { [9.0, -7.0] } else { [3.0, 4.0] };
            Tile { centre, shift, psr: 12.0 }
        });
        let fit = explain(tiles.collect(), 16, [3.0, 4.0]);
        assert!(fit.rotation_deg.abs() < 0.02 && (fit.scale - 1.0).abs() < 1e-3, "{fit:?}");
    }

    #[test]
    fn too_little_in_common_says_nothing() {
        let x = vec![0.5; 100 * 100];
        assert_eq!(fit(&x, &x, [100, 100], [0.0, 0.0], 2.0), None);
        let x = vec![0.5; 200 * 200];
        assert_eq!(fit(&x, &x, [200, 200], [0.0, 500.0], 2.0), None);
        assert!(fit(&x, &x, [200, 200], [0.0, 0.0], 2.0).is_some_and(|f| f.tiles.is_empty() && f.rotation_deg == 0.0));
    }
}
