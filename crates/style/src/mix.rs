//! What happens to the network's output before it is a picture: strength, masks, colours, whole numbers.
//!
//! Pictures are planes `[3][pixels]` in `f32`, RGB in 0..255. Every value depends on those of its own pixel alone, so that
//! results have the same bits with any number of threads.

use rayon::prelude::*;

/// Pixels that a thread works on at a time.
const AT_ONCE: usize = 1 << 14;

/// `share · styled + (1 − share) · under`; a share of 0 leaves `under`, one of 1 gives `styled`, both to the bit.
#[inline]
pub fn mixed(under: f32, styled: f32, share: f32) -> f32 {
    if share == 1.0 {
        styled
    } else if share > 0.0 {
        share * styled + (1.0 - share) * under
    } else {
        under
    }
}

/// Mixes `styled` into `picture`: `s · styled + (1 − s) · picture`. A strength of 0 leaves the picture as it is, one of 1
/// gives the styled one, both to the bit.
pub fn mix(picture: &mut [f32], styled: &[f32], strength: f32) {
    picture.par_chunks_mut(AT_ONCE).zip(styled.par_chunks(AT_ONCE)).for_each(|(picture, styled)| {
        for (p, s) in picture.iter_mut().zip(styled) {
            *p = mixed(*p, *s, strength);
        }
    });
}

/// Mixes with a strength of its own for every pixel: `mask` (0..1) times `strength`.
pub fn mix_masked(picture: &mut [f32], styled: &[f32], mask: &[f32], strength: f32) {
    if mask.is_empty() {
        return;
    }
    for (picture, styled) in picture.chunks_exact_mut(mask.len()).zip(styled.chunks_exact(mask.len())) {
        let parts = picture.par_chunks_mut(AT_ONCE).zip(styled.par_chunks(AT_ONCE)).zip(mask.par_chunks(AT_ONCE));
        parts.for_each(|((picture, styled), mask)| {
            for ((p, s), m) in picture.iter_mut().zip(styled).zip(mask) {
                *p = mixed(*p, *s, m * strength);
            }
        });
    }
}

/// Gives `styled` the colours of `content`: luma (BT.601, full range) of the clamped styled picture, chroma of the
/// content.
pub fn keep_colours(styled: &mut [f32], content: &[f32]) {
    let pixels = styled.len() / 3;
    let [red, green, blue] = planes_of(content, pixels);
    let (r, rest) = styled.split_at_mut(pixels);
    let (g, b) = rest.split_at_mut(pixels);
    let parts = r.par_chunks_mut(AT_ONCE).zip(g.par_chunks_mut(AT_ONCE)).zip(b.par_chunks_mut(AT_ONCE)).enumerate();
    parts.for_each(|(part, ((r, g), b))| {
        let first = part * AT_ONCE;
        for i in 0..r.len() {
            let at = first + i;
            [r[i], g[i], b[i]] = recoloured([r[i], g[i], b[i]], [red[at], green[at], blue[at]]);
        }
    });
}

/// Three planes of so many pixels.
pub fn planes_of(values: &[f32], pixels: usize) -> [&[f32]; 3] {
    [0, 1, 2].map(|c| &values[c * pixels..(c + 1) * pixels])
}

/// A pixel of [`keep_colours`]: RGB of the result, 0..255. Colours with the differences Cb and Cr of the content differ from
/// it by brightness alone, the same in all three.
#[inline]
pub fn recoloured(styled: [f32; 3], content: [f32; 3]) -> [f32; 3] {
    let (styled, content) = (styled.map(held), content.map(held));
    let brighter = luma(styled) - luma(content);
    content.map(|v| held(v + brighter))
}

#[inline(always)]
fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Inside 0..255; NaN becomes 0.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "clamp keeps NaN, and takes longer")]
fn held(v: f32) -> f32 {
    v.max(0.0).min(255.0)
}

/// How a value becomes a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Toward zero, as the original program does.
    #[default]
    Truncate,
    /// To the nearest, halves away from zero.
    Nearest,
}

impl Rounding {
    /// A value of 0..255 as a whole number of 0..`peak`; what lies outside is clamped, and NaN is 0.
    pub fn apply(self, value: f32, peak: f32) -> f32 {
        let scaled = (value * (peak / 255.0)).clamp(0.0, peak);
        let whole = if self == Self::Nearest { scaled.round() } else { scaled.trunc() };
        if whole.is_nan() { 0.0 } else { whole }
    }

    /// [`apply`](Self::apply) to a byte. Additions and comparisons alone, which loops over pixels do many at a time.
    #[inline]
    pub fn byte(self, value: f32) -> u8 {
        // Numbers from here on have no fraction, and their lowest bits are their whole part.
        const WHOLE: f32 = (1_u32 << 23) as f32;
        let value = held(value);
        let near = (value + WHOLE) - WHOLE;
        let below = if near > value { near - 1.0 } else { near };
        let up = self == Self::Nearest && value - below >= 0.5;
        ((if up { below + 1.0 } else { below }) + WHOLE).to_bits() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_strength_are_exact() {
        let (content, styled) = ([0.1f32, 200.7, 13.0], [-5.5f32, 300.25, 0.3]);
        for (strength, expected) in [(0.0, content), (1.0, styled)] {
            let mut picture = content;
            mix(&mut picture, &styled, strength);
            assert_eq!(picture, expected);
            let mut picture = content;
            mix_masked(&mut picture, &styled, &[strength], 1.0);
            assert_eq!(picture, expected);
        }
        let mut half = content;
        mix(&mut half, &styled, 0.5);
        assert!((half[1] - 250.475).abs() < 1e-4);
    }

    #[test]
    fn masks_choose_pixels() {
        let (mut picture, styled) = ([10.0f32; 6], [20.0f32; 6]);
        mix_masked(&mut picture, &styled, &[0.0, 0.5], 1.0);
        assert_eq!(picture, [10.0, 15.0, 10.0, 15.0, 10.0, 15.0]);
    }

    #[test]
    fn gray_content_makes_gray_pictures_and_luma_stays() {
        let mut styled = [250.0f32, 10.0, -40.0];
        keep_colours(&mut styled, &[77.0; 3]);
        let y = 0.299 * 250.0 + 0.587 * 10.0;
        assert!(styled.iter().all(|v| (v - y).abs() < 1e-3), "{styled:?} {y}");
        let mut same = [30.0f32, 60.0, 90.0];
        keep_colours(&mut same, &[30.0, 60.0, 90.0]);
        assert!(same.iter().zip([30.0, 60.0, 90.0]).all(|(a, b)| (a - b).abs() < 1e-3), "{same:?}");
    }

    #[test]
    fn whole_numbers() {
        let truncated = [-3.0, 0.99, 254.999, 255.9, f32::NAN].map(|v| Rounding::Truncate.apply(v, 255.0));
        assert_eq!(truncated, [0.0, 0.0, 254.0, 255.0, 0.0]);
        assert_eq!([0.5, 1.49].map(|v| Rounding::Nearest.apply(v, 255.0)), [1.0, 1.0]);
        assert_eq!(Rounding::Truncate.apply(255.0, 65535.0), 65535.0);
        let special = [0.499_999_97, 0.999_999_94, 254.499_98, 254.999_98, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let many = (-4000..300_000).map(|i| i as f32 / 1024.0).chain(special).chain([-0.0, f32::MIN_POSITIVE]);
        for v in many {
            for rounding in [Rounding::Truncate, Rounding::Nearest] {
                assert_eq!(rounding.byte(v), rounding.apply(v, 255.0) as u8, "{v} {rounding:?}");
            }
        }
    }
}
