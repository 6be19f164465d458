//! What happens to the network's output before it is a picture: strength, masks, colours, whole numbers.
//!
//! Pictures are planes `[3][pixels]` in `f32`, RGB in 0..255.

/// Mixes `styled` into `picture`: `s · styled + (1 − s) · picture`. A strength of 0 leaves the picture as it is, one of 1
/// gives the styled one, both to the bit.
pub fn mix(picture: &mut [f32], styled: &[f32], strength: f32) {
    if strength == 1.0 {
        picture.copy_from_slice(styled);
    } else if strength > 0.0 {
        for (p, s) in picture.iter_mut().zip(styled) {
            *p = strength * s + (1.0 - strength) * *p;
        }
    }
}

/// Mixes with a strength of its own for every pixel: `mask` (0..1) times `strength`.
pub fn mix_masked(picture: &mut [f32], styled: &[f32], mask: &[f32], strength: f32) {
    for (picture, styled) in picture.chunks_exact_mut(mask.len()).zip(styled.chunks_exact(mask.len())) {
        for ((p, s), m) in picture.iter_mut().zip(styled).zip(mask) {
            let share = m * strength;
            if share == 1.0 {
                *p = *s;
            } else if share > 0.0 {
                *p = share * s + (1.0 - share) * *p;
            }
        }
    }
}

/// Gives `styled` the colours of `content`: luma (BT.601, full range) of the clamped styled picture, chroma of the
/// content.
pub fn keep_colours(styled: &mut [f32], content: &[f32]) {
    let pixels = styled.len() / 3;
    for i in 0..pixels {
        let of = |planes: &[f32]| [0, 1, 2].map(|c| f64::from(planes[c * pixels + i].clamp(0.0, 255.0)));
        let (s, c) = (of(styled), of(content));
        let y = luma(s);
        let (cb, cr) = ((c[2] - luma(c)) / 1.772, (c[0] - luma(c)) / 1.402);
        let rgb = [y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb];
        for (channel, value) in rgb.into_iter().enumerate() {
            styled[channel * pixels + i] = value.clamp(0.0, 255.0) as f32;
        }
    }
}

fn luma([r, g, b]: [f64; 3]) -> f64 {
    0.299 * r + 0.587 * g + 0.114 * b
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
    }
}
