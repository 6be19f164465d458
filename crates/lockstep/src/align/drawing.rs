//! Pictures of an alignment: before, after, and the correlation.

use crate::exit::Result;
use crate::pictures::{Depth, Layout, Picture, encode_png};

/// Longest side of a drawn proxy: pages of eight pairs stay below 2 MB.
const LONGEST: usize = 200;

fn png(channels: usize, height: usize, width: usize, samples: Vec<f64>) -> Result<Vec<u8>> {
    let shape = [1, channels, height, width];
    encode_png(&Picture { shape, samples, depth: Depth::U8, layout: Layout::Hw, alpha: None })
}

/// A correlation of `side * side`, logarithmic from its mean to its peak.
pub(crate) fn surface(side: usize, values: &[f32]) -> Result<Vec<u8>> {
    let peak = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    // Three decades below the peak.
    let gray = values.iter().map(|&v| (f64::from((v / peak).max(1e-3)).log10() / 3.0 + 1.0) * 255.0);
    png(1, side, side, gray.collect())
}

/// A gray plane.
#[derive(Clone)]
pub(crate) struct Plane {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl Plane {
    /// How many pixels become one so that the longest side is small enough.
    pub(crate) fn reduction(&self) -> usize {
        self.height.max(self.width).div_ceil(LONGEST).max(1)
    }

    /// The value at a place, if there is one.
    fn at(&self, y: i64, x: i64) -> Option<f32> {
        let inside = (0..self.height as i64).contains(&y) && (0..self.width as i64).contains(&x);
        inside.then(|| self.values[y as usize * self.width + x as usize])
    }

    /// Mean of a block of `n * n`, its first pixel at `(n y + dy, n x + dx)`; `None` where a pixel is missing.
    fn block(&self, n: usize, y: usize, x: usize, [dy, dx]: [i64; 2]) -> Option<f32> {
        let mut sum = 0.0;
        for i in 0..n * n {
            sum += self.at((n * y + i / n) as i64 + dy, (n * x + i % n) as i64 + dx)?;
        }
        Some(sum / (n * n) as f32)
    }

    fn mean(&self) -> f32 {
        self.values.iter().sum::<f32>() / self.values.len().max(1) as f32
    }
}

/// Two pictures on top of each other, one moved by `shift` pixels of the plane.
pub(crate) struct Couple<'a> {
    pub(crate) gt: &'a Plane,
    pub(crate) noisy: &'a Plane,
    pub(crate) shift: [i64; 2],
}

impl Couple<'_> {
    /// Blocks of both, gain-matched, row by row; 0 where one is missing.
    fn blocks(&self) -> (usize, usize, Vec<Option<[f32; 2]>>) {
        let n = self.gt.reduction();
        let (height, width) = (self.noisy.height / n, self.noisy.width / n);
        let gain = self.gt.mean() / self.noisy.mean().max(1e-6);
        let both = |i: usize| {
            let (y, x) = (i / width, i % width);
            Some([self.gt.block(n, y, x, self.shift)?, gain * self.noisy.block(n, y, x, [0, 0])?])
        };
        (height, width, (0..height * width).map(both).collect())
    }

    /// The ground truth in red, the picture in cyan: gray where they agree.
    pub(crate) fn overlay(&self) -> Result<Vec<u8>> {
        let (height, width, blocks) = self.blocks();
        let white = blocks.iter().flatten().map(|b| b[0]).fold(1e-3, f32::max);
        let plane =
            |k: usize| blocks.iter().map(move |b| b.map_or(0.0, |b| f64::from((b[k] / white).clamp(0.0, 1.0)) * 255.0));
        png(3, height, width, plane(0).chain(plane(1)).chain(plane(1)).collect())
    }

    /// The magnitude of the difference; `full` is drawn white.
    pub(crate) fn difference(&self, full: f32) -> Result<Vec<u8>> {
        let (height, width, blocks) = self.blocks();
        let gray = |b: &Option<[f32; 2]>| b.map_or(0.0, |b| f64::from(((b[0] - b[1]).abs() / full).min(1.0)) * 255.0);
        png(1, height, width, blocks.iter().map(gray).collect())
    }

    /// The difference that few pixels exceed.
    pub(crate) fn large_difference(&self) -> f32 {
        let mut all: Vec<f32> = self.blocks().2.iter().flatten().map(|b| (b[0] - b[1]).abs()).collect();
        all.sort_by(f32::total_cmp);
        all.get(all.len() * 99 / 100).copied().unwrap_or(0.0).max(1e-3)
    }
}

/// How many pixels of the couple differ by how much, up to `full`: logarithmic, before in red and after in cyan.
pub(crate) fn histogram(before: &Couple<'_>, after: &Couple<'_>, full: f32) -> Result<Vec<u8>> {
    const BINS: usize = 64;
    const WIDE: usize = 3;
    const TALL: usize = 120;
    let counts = |couple: &Couple<'_>| {
        let mut counts = [0u32; BINS];
        for b in couple.blocks().2.iter().flatten() {
            counts[(((b[0] - b[1]).abs() / full * BINS as f32) as usize).min(BINS - 1)] += 1;
        }
        counts.map(|n| f64::from(n + 1).ln())
    };
    let both = [counts(before), counts(after)];
    let most = both.iter().flatten().copied().fold(1.0, f64::max);
    let plane = |k: usize| {
        (0..TALL * BINS * WIDE).map(move |i| {
            let height = (TALL - 1 - i / (BINS * WIDE)) as f64 / TALL as f64;
            if height < both[k][i % (BINS * WIDE) / WIDE] / most { 255.0 } else { 0.0 }
        })
    };
    png(3, TALL, BINS * WIDE, plane(0).chain(plane(1)).chain(plane(1)).collect())
}

/// Pixels of a drawn proxy that an arrow of one full-resolution pixel has.
pub(crate) const ARROW: f64 = 12.0;

/// Lines in red from the places of `arrows` over a picture, each with its length in full-resolution pixels; a dot marks
/// where it starts. Places are pixels of the plane.
pub(crate) fn arrows(plane: &Plane, arrows: &[([f64; 2], [f64; 2])]) -> Result<Vec<u8>> {
    let n = plane.reduction();
    let (height, width) = (plane.height / n, plane.width / n);
    let blocks: Vec<f32> =
        (0..height * width).map(|i| plane.block(n, i / width, i % width, [0, 0]).unwrap_or(0.0)).collect();
    let white = blocks.iter().copied().fold(1e-3, f32::max);
    // Half as bright, so that arrows are seen.
    let gray: Vec<f64> = blocks.iter().map(|v| f64::from(v / white) * 128.0).collect();
    let mut samples = [gray.clone(), gray.clone(), gray].concat();
    let mut dot = |y: f64, x: f64, colour: [f64; 3]| {
        if y >= 0.0 && x >= 0.0 && (y as usize) < height && (x as usize) < width {
            for (k, v) in colour.into_iter().enumerate() {
                samples[k * height * width + y as usize * width + x as usize] = v;
            }
        }
    };
    for (at, length) in arrows {
        let [y, x] = at.map(|v| v / n as f64);
        let reach = length.map(|d| d * ARROW);
        let steps = reach[0].hypot(reach[1]).ceil().min(200.0);
        for i in 0..=steps as usize {
            let t = i as f64 / steps.max(1.0);
            dot(y + t * reach[0], x + t * reach[1], [255.0, 64.0, 64.0]);
        }
        for (dy, dx) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
            dot(y + dy, x + dx, [255.0, 255.0, 0.0]);
        }
    }
    png(3, height, width, samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aligned_couple_has_no_difference() {
        let (height, width) = (20, 30);
        let noisy: Vec<f32> = (0..height * width).map(|i| ((i * 7919) % 97) as f32).collect();
        let at = |y: usize, x: usize| noisy[(y % height) * width + x % width];
        // gt(y, x) = noisy(y - 2, x - 3), so noisy(y, x) = gt(y + 2, x + 3).
        let gt = (0..height * width).map(|i| at(i / width + height - 2, i % width + width - 3)).collect();
        let plane = |values| Plane { height, width, values };
        let (gt, noisy) = (plane(gt), plane(noisy.clone()));
        let of = |shift| Couple { gt: &gt, noisy: &noisy, shift }.large_difference();
        assert!(of([2, 3]) <= 1e-3 && of([0, 0]) > 1.0);
        let drawn = Couple { gt: &gt, noisy: &noisy, shift: [2, 3] }.overlay().unwrap();
        assert!(drawn.starts_with(b"\x89PNG"));
        let couple = |shift| Couple { gt: &gt, noisy: &noisy, shift };
        let drawn = histogram(&couple([0, 0]), &couple([2, 3]), 10.0).unwrap();
        let drawn = image::load_from_memory(&drawn).unwrap().into_rgb8();
        // After alignment all pixels differ by nothing: the last bin is red alone.
        assert_eq!(drawn.get_pixel(drawn.width() - 1, 118).0, [255, 0, 0]);
        assert_eq!(drawn.get_pixel(0, 118).0[1], 255);
        let drawn = arrows(&gt, &[([10.0, 10.0], [0.0, 1.0])]).unwrap();
        let drawn = image::load_from_memory(&drawn).unwrap().into_rgb8();
        assert_eq!((drawn.get_pixel(10, 10).0, drawn.get_pixel(20, 10).0), ([255, 255, 0], [255, 64, 64]));
    }
}
