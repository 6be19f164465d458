//! Figures of every plane of a transform, such as a classifier of textures wants them.

use gpu_core::{Tensor, TensorView};
use ndarray::Array4;

use crate::kernels::{HISTOGRAM_BINS, Planes, SUM_CHUNK, SUM_FIGURES, fold_sums, plane_histogram, plane_sums};
use crate::{Coeffs, Error, NsctBackend, NsctPlan, Real, Result};

/// A figure of one plane of coefficients `y`, of `n` pixels. Read with [`str::parse`], by the names given in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stat {
    /// (`energy`) `Σ y² / n`.
    Energy,
    /// (`mean-abs`) `Σ |y| / n`.
    MeanAbs,
    /// (`std`) the standard deviation `√(Σ (y - mean)² / n)`, with the mean taken off before squaring.
    Std,
    /// (`entropy`) in bits: `-Σ p_i log2 p_i` of the shares `p_i` of the pixels that fall into each of 256 equal bins
    /// between 0 and the largest magnitude of the plane. From 0 (all pixels alike in magnitude) to 8. In a plane that
    /// holds nothing but rounding errors it is their entropy.
    Entropy,
}

crate::names::plain_names!(Stat, "figure", "energy, mean-abs, std, entropy", {
    "energy" => Energy, "mean-abs" => MeanAbs, "std" => Std, "entropy" => Entropy,
});

impl Stat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Energy, Self::MeanAbs, Self::Std, Self::Entropy];
}

/// Figures of the transform of pictures `[B, C, H, W]`: `[B, C, S, stats]`, planes in the order of
/// [`NsctPlan::planes`], figures in the order of `stats`.
///
/// They are summed in `f64`, in a fixed order, so that they are the same on every backend and in every batch, given the
/// same coefficients. Planes with a pixel that is not finite have figures that are not finite. Waits for the queue.
///
/// # Errors
/// When the pictures do not fit the plan, or memory runs out.
pub fn features<'a, B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    x: impl Into<TensorView<'a, B, T, 4>>,
    stats: &[Stat],
) -> Result<Array4<f64>> {
    let (x, b) = (x.into(), plan.backend());
    let [n, c, height, width] = x.shape();
    let (items, area, total) = (n * c, height * width, plan.planes().len());
    if items == 0 || (height, width) != plan.image_size() {
        return features_of(b, &plan.decompose(x)?, stats);
    }
    // The figures themselves are small beside a plane.
    let part = plan.images_at_once(items, 1 + total)?;
    let mut all = Vec::with_capacity(items * total * stats.len());
    for start in (0..items).step_by(part) {
        let count = part.min(items - start);
        let view = x.flat().slice(start * area..(start + count) * area)?;
        let coeffs = plan.decompose(TensorView::new(view, [count, 1, height, width])?)?;
        all.extend(features_of(b, &coeffs, stats)?);
    }
    let shape = (n, c, total, stats.len());
    Array4::from_shape_vec(shape, all).map_err(|e| Error::value("features", e.to_string()))
}

/// As [`features`], of coefficients.
///
/// # Errors
/// When the coefficients belong to another queue, or memory runs out.
pub fn features_of<B: NsctBackend<T>, T: Real>(b: &B, coeffs: &Coeffs<B, T>, stats: &[Stat]) -> Result<Array4<f64>> {
    let [batch, channels, total, height, width] = coeffs.shape();
    let planes = Planes { count: batch * channels * total, height, width };
    let mut out = Array4::zeros((batch, channels, total, stats.len()));
    if planes.count == 0 {
        return Ok(out);
    }
    let all = coeffs.tensor().flat();
    let n = planes.area() as f64;
    let sums = |shifts: &[f64]| -> Result<Vec<f64>> {
        let chunks = planes.area().div_ceil(SUM_CHUNK);
        let shifts = Tensor::from_slice(b, [planes.count], shifts)?;
        let mut partial = Tensor::scratch(b, [planes.count, chunks, SUM_FIGURES])?;
        let mut whole = Tensor::scratch(b, [planes.count, SUM_FIGURES])?;
        plane_sums(b, planes, shifts.flat(), all, planes.area(), partial.flat_mut())?;
        fold_sums(b, planes.count, partial.flat(), whole.flat_mut())?;
        Ok(whole.to_vec(b)?)
    };
    let plain = sums(&vec![0.0; planes.count])?;
    let of = |sums: &[f64], figure: usize| -> Vec<f64> { sums.chunks(SUM_FIGURES).map(|f| f[figure]).collect() };
    let mean = |sums: Vec<f64>| -> Vec<f64> { sums.into_iter().map(|v| v / n).collect() };
    for (i, stat) in stats.iter().enumerate() {
        let values = match stat {
            Stat::Energy => mean(of(&plain, 2)),
            Stat::MeanAbs => mean(of(&plain, 1)),
            Stat::Std => {
                let squares = mean(of(&sums(&mean(of(&plain, 0)))?, 2));
                squares.into_iter().map(f64::sqrt).collect()
            }
            Stat::Entropy => entropies(b, planes, coeffs, &of(&plain, 3), &of(&plain, 1))?,
        };
        for (slot, value) in out.index_axis_mut(ndarray::Axis(3), i).iter_mut().zip(values) {
            *slot = value;
        }
    }
    Ok(out)
}

/// Entropies of planes with these largest magnitudes; NaN where the sum of magnitudes is not finite.
fn entropies<B: NsctBackend<T>, T: Real>(
    b: &B,
    planes: Planes,
    coeffs: &Coeffs<B, T>,
    largest: &[f64],
    magnitudes: &[f64],
) -> Result<Vec<f64>> {
    let bounds = Tensor::from_slice(b, [planes.count], largest)?;
    let mut counts = Tensor::<B, u64, 2>::zeros(b, [planes.count, HISTOGRAM_BINS])?;
    plane_histogram(b, planes, bounds.flat(), coeffs.tensor().flat(), planes.area(), counts.flat_mut())?;
    let n = planes.area() as f64;
    let entropy = |counts: &[u64]| -> f64 {
        let shares = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / n);
        // A sum of nothing but the share 1 would be -0.
        shares.map(|p| -p * p.log2()).sum::<f64>() + 0.0
    };
    let counts = counts.to_vec(b)?;
    let values = counts.chunks(HISTOGRAM_BINS).zip(magnitudes);
    Ok(values.map(|(counts, sum)| if sum.is_finite() { entropy(counts) } else { f64::NAN }).collect())
}
