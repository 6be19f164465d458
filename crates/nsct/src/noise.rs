//! Noise: making it, measuring it, and measuring what is left of a picture.

use std::f64::consts::TAU;

use gpu_core::{Tensor, View};

use crate::kernels::{DIGIT_VALUES, Digit, Planes, digit_counts};
use crate::{Coeffs, Error, NsctBackend, NsctPlan, Real, Result};

/// `n` values of white Gaussian noise with standard deviation 1; the same for a seed on every machine with the same
/// mathematical library.
///
/// Value `i` comes from the draws `2 i` and `2 i + 1` of SplitMix64 by the formula of Box and Muller. The tables of
/// this crate's documentation use the seed 20261120 + sigma, row by row.
pub fn gaussian(seed: u64, n: usize) -> Vec<f64> {
    let uniform = |draw: u64| {
        let mut z = seed.wrapping_add(draw.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    (0..n as u64)
        .map(|i| {
            let (u1, u2) = (uniform(2 * i), uniform(2 * i + 1));
            (-2.0 * u1.ln()).sqrt() * (TAU * u2).cos()
        })
        .collect()
}

/// Peak signal-to-noise ratio of `x` against `reference`, in decibels: `10 log10(peak² / mean squared difference)`.
/// Infinite for equal pictures.
///
/// # Errors
/// When the pictures are empty or of different sizes, or the peak is not a positive number.
pub fn psnr<T: Real>(reference: &[T], x: &[T], peak: f64) -> Result<f64> {
    if reference.len() != x.len() || x.is_empty() {
        let (expected, got) = (vec![reference.len().max(1)], vec![x.len()]);
        return Err(Error::ShapeMismatch { what: "picture", expected, got });
    }
    if !(peak > 0.0 && peak.is_finite()) {
        return Err(Error::value("peak", format!("{peak} is no brightness of white; 255 is usual for 8 bits")));
    }
    let squares = reference.iter().zip(x).map(|(&r, &x)| (r.to_f64() - x.to_f64()).powi(2));
    Ok(10.0 * (peak * peak / (squares.sum::<f64>() / x.len() as f64)).log10())
}

/// The standard deviation of white noise in each of the `B * C` images that `coeffs` are of.
///
/// In every plane of the finest scale the median of magnitudes, over 0.6745 (of a normal distribution with standard
/// deviation 1) and the plane's gain, is an estimate; their mean over the planes is returned. Details of the picture
/// raise it, so that it is an upper estimate for textures. Waits for the queue.
///
/// # Errors
/// When the transform has no scales, the coefficients belong to another plan or queue, or are not finite.
pub fn estimate<B: NsctBackend<T>, T: Real>(plan: &NsctPlan<B, T>, coeffs: &Coeffs<B, T>) -> Result<Vec<f64>> {
    let [batch, channels, total, height, width] = coeffs.shape();
    if coeffs.planes() != plan.planes() || (height, width) != plan.image_size() {
        return Err(Error::value("coefficients", "made by another plan"));
    }
    let Some(finest) = plan.planes().last().filter(|id| id.scale > 0) else {
        return Err(Error::value("levels", "the noise of a transform without scales cannot be estimated; give sigma"));
    };
    let directions = finest.directions;
    let planes = Planes { count: batch * channels * directions, height, width };
    let area = planes.area();
    let all = coeffs.tensor().flat();
    let first = (total - directions) * area;
    let view = if all.is_empty() { all } else { all.slice(first..coeffs.tensor().len())? };
    let medians = medians(plan.backend(), planes, directions, total * area, view)?;
    let gains = plan.gains()?;
    let gains = &gains[total - directions..];
    medians
        .chunks(directions)
        .map(|medians| {
            let sum: f64 = medians.iter().zip(gains).map(|(median, gain)| median / (0.6745 * gain)).sum();
            let sigma = sum / directions as f64;
            if sigma.is_finite() {
                return Ok(sigma);
            }
            Err(Error::value("image", "too many pixels are not finite to estimate its noise; replace them"))
        })
        .collect()
}

/// Median of magnitudes of each plane; of an even number, the mean of the two in the middle. NaN counts as larger than
/// everything. Planes lie in groups of `per_group` that are `group_stride` elements apart.
pub(crate) fn medians<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    per_group: usize,
    group_stride: usize,
    x: View<'_, B, T>,
) -> Result<Vec<f64>> {
    let lower = (planes.area() as u64).saturating_sub(1) / 2;
    let upper = planes.area() as u64 / 2;
    let at = |rank: u64| select(b, planes, per_group, group_stride, x, rank);
    let selected = at(lower)?;
    // Mostly both elements in the middle share all digits but the last, and one selection finds them.
    let second = if selected.iter().all(|s| upper < s.not_above || s.next.is_some()) { None } else { Some(at(upper)?) };
    let second = |n: usize, s: &Selected| match (&second, s.next) {
        _ if upper < s.not_above => s.key,
        (_, Some(next)) => next,
        (Some(second), None) => second[n].key,
        (None, None) => s.key,
    };
    let middle = |n: usize, s: &Selected| f64::midpoint(f64::from_bits(s.key), f64::from_bits(second(n, s)));
    Ok(selected.iter().enumerate().map(|(n, s)| middle(n, s)).collect())
}

/// The element of some rank.
struct Selected {
    /// Its bits as an `f64`.
    key: u64,
    /// How many elements are not above it.
    not_above: u64,
    /// The next larger key, if it differs in the last digit alone.
    next: Option<u64>,
}

/// Of each plane, the magnitude that stands at `rank` (from 0) in increasing order.
fn select<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    per_group: usize,
    group_stride: usize,
    x: View<'_, B, T>,
    rank: u64,
) -> Result<Vec<Selected>> {
    // All bits of the pattern of an f64, from the top; an f32 has none below bit 28.
    const SHIFTS: [u32; 6] = [52, 40, 28, 16, 4, 0];
    let shifts = if size_of::<T>() == 4 { &SHIFTS[..3] } else { &SHIFTS[..] };
    let n = planes.count;
    let mut prefixes = vec![0_u64; n];
    let mut before = vec![0_u64; n];
    let mut next = vec![None; n];
    let mut within = vec![0_u64; n];
    let mut above = u64::BITS;
    for &shift in shifts {
        let digit = Digit { shift, width: above - shift };
        let on_device = Tensor::from_slice(b, [n], &prefixes)?;
        let mut counts = Tensor::<B, u64, 2>::zeros(b, [n, DIGIT_VALUES])?;
        digit_counts(b, planes, digit, per_group, group_stride, on_device.flat(), x, counts.flat_mut())?;
        for (i, counts) in counts.to_vec(b)?.chunks(DIGIT_VALUES).enumerate() {
            let Some(value) = counts.iter().position(|&count| {
                let found = rank < before[i] + count;
                before[i] += if found { 0 } else { count };
                found
            }) else {
                return Err(Error::value(
                    "rank",
                    format!("{rank} is beyond the {} elements of a plane", planes.area()),
                ));
            };
            within[i] = counts[value];
            let larger = counts[value + 1..].iter().position(|&count| count > 0).map(|v| value + 1 + v);
            next[i] = larger.map(|v| (prefixes[i] << digit.width | v as u64) << shift);
            prefixes[i] = prefixes[i] << digit.width | value as u64;
        }
        above = shift;
    }
    let selected = |i: usize| Selected { key: prefixes[i] << above, not_above: before[i] + within[i], next: next[i] };
    Ok((0..n).map(selected).collect())
}

#[cfg(test)]
mod tests {
    use gpu_core::Cpu;

    use super::*;

    #[test]
    fn the_generator_of_the_tables() {
        // The first values of seed 20261130, from a program of its own.
        let want = [0.5308295915941603, -2.324231519621182, 1.2247810510797896, 1.2608148165380895];
        for (got, want) in gaussian(20_261_130, 4).iter().zip(want) {
            assert!((got - want).abs() < 1e-14, "{got} {want}");
        }
        let many = gaussian(1, 100_000);
        let mean = many.iter().sum::<f64>() / 1e5;
        let variance = many.iter().map(|v| v * v).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn ratios() {
        assert_eq!(psnr(&[0.0_f32, 0.0], &[255.0, 255.0], 255.0).unwrap(), 0.0);
        assert_eq!(psnr(&[1.0, 2.0], &[1.0, 2.0], 255.0).unwrap(), f64::INFINITY);
        assert!(psnr(&[1.0], &[1.0, 2.0], 255.0).is_err());
        assert!(psnr::<f64>(&[], &[], 255.0).is_err());
        assert!(psnr(&[1.0], &[2.0], f64::NAN).is_err());
    }

    /// The definition, by sorting.
    fn sorted_median(x: &[f64]) -> f64 {
        let mut x: Vec<f64> = x.iter().map(|v| v.abs()).collect();
        x.sort_by(f64::total_cmp);
        f64::midpoint(x[(x.len() - 1) / 2], x[x.len() / 2])
    }

    fn check<T: Real>(planes: &[Vec<f64>]) {
        let cpu = Cpu::new();
        let n = planes[0].len();
        let all: Vec<T> = planes.concat().into_iter().map(T::of).collect();
        let x = Tensor::from_slice(&cpu, [all.len()], &all).unwrap();
        let shape = Planes { count: planes.len(), height: 1, width: n };
        let got = medians(&cpu, shape, planes.len(), 0, x.flat()).unwrap();
        for (got, plane) in got.iter().zip(planes) {
            let rounded: Vec<f64> = plane.iter().map(|&v| T::of(v).to_f64()).collect();
            let want = sorted_median(&rounded);
            assert!(*got == want || got.is_nan() && want.is_nan(), "{got} {want} of {rounded:?}");
        }
    }

    #[test]
    fn medians_are_those_of_sorting() {
        for n in [1, 2, 3, 4, 5, 16, 101, 1000] {
            let noise = gaussian(n as u64, 4 * n);
            let planes: Vec<Vec<f64>> = vec![
                noise[..n].to_vec(),
                noise[n..2 * n].iter().map(|v| (v * 4.0).round()).collect(),
                noise[2 * n..3 * n].iter().map(|v| v * 1e-40).collect(),
                noise[3 * n..].iter().map(|v| (v * 40.0).exp() * v.signum()).collect(),
                vec![0.0; n],
                (0..n).map(|i| if i % 2 == 0 { -1.0 } else { 3e30 }).collect(),
                (0..n).map(|i| if i % 3 == 0 { f64::NAN } else { f64::INFINITY }).collect(),
            ];
            check::<f32>(&planes);
            check::<f64>(&planes);
        }
    }
}
