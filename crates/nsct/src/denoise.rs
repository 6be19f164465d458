//! Removing white Gaussian noise from pictures by shrinking their coefficients.

use gpu_core::{Tensor, TensorView, View, ViewMut};

use crate::kernels::{Planes, bivariate, box_square, hard_threshold};
use crate::{Coeffs, Error, NsctBackend, NsctPlan, PlaneId, Real, Result, noise};

/// Hard thresholds in units of the noise in a plane: of the finest scale, and of the others.
const HARD_FACTORS: (f64, f64) = (3.8, 2.5);
/// The local energy of bivariate shrinkage is the mean over 11 x 11 pixels.
const HALF_WINDOW: usize = 5;

/// How coefficients are shrunk. Read with [`str::parse`], by the names given in brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shrinkage {
    /// (`hard`) those below a threshold become 0: 3.8 times the noise on the finest scale, 2.5 times on the others.
    Hard,
    /// (`bivariate`) by their local energy and their parents on the next coarser scale (Şendur and Selesnick 2002). The
    /// better one for weak noise.
    #[default]
    Bivariate,
}

crate::names::plain_names!(Shrinkage, "shrinkage", "hard, bivariate", { "hard" => Hard, "bivariate" => Bivariate });

/// Pictures without noise, and how much there was.
#[derive(Debug)]
pub struct Denoised<B: NsctBackend<T>, T: Real> {
    /// `[B, C, H, W]`.
    pub image: Tensor<B, T, 4>,
    /// The standard deviation of the noise in each of the `B * C` planes: the given one, or its estimate.
    pub sigma: Vec<f64>,
}

/// Removes noise of standard deviation `sigma`, or of an estimated one, from pictures `[B, C, H, W]`.
///
/// Every image and channel is a picture of its own, with an estimate of its own. A batch that does not fit the device
/// is worked through in parts.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use nsct::denoise::{Shrinkage, denoise};
/// use nsct::{NsctPlan, NsctSpec, noise};
///
/// let cpu = Cpu::new();
/// let clean: Vec<f64> = (0..64 * 64).map(|i| if (i % 64) < i / 64 { 60.0 } else { 180.0 }).collect();
/// let noisy: Vec<f64> = clean.iter().zip(noise::gaussian(1, 64 * 64)).map(|(x, g)| x + 20.0 * g).collect();
/// let x = Tensor::from_slice(&cpu, [1, 1, 64, 64], &noisy)?;
///
/// let plan = NsctPlan::new(&cpu, &NsctSpec::new([3, 3]).with_dir("pkva".parse()?), 64, 64)?;
/// let result = denoise(&plan, &x, None, Shrinkage::Bivariate)?;
/// assert!((result.sigma[0] - 20.0).abs() < 2.0);
/// let better = noise::psnr(&clean, &result.image.to_vec(&cpu)?, 255.0)?;
/// assert!(better > noise::psnr(&clean, &noisy, 255.0)? + 5.0);
/// # Ok::<(), nsct::Error>(())
/// ```
///
/// # Errors
/// When `sigma` is negative or not finite, the plan has no scales to estimate it from, the pictures do not fit the plan,
/// or memory runs out.
pub fn denoise<'a, B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    x: impl Into<TensorView<'a, B, T, 4>>,
    sigma: Option<f64>,
    how: Shrinkage,
) -> Result<Denoised<B, T>> {
    let x = x.into();
    let [n, c, h, w] = x.shape();
    let b = plan.backend();
    if (h, w) != plan.image_size() {
        let (height, width) = plan.image_size();
        let (expected, got) = (vec![n, c, height, width], vec![n, c, h, w]);
        return Err(Error::ShapeMismatch { what: "image", expected, got });
    }
    let (items, area) = (n * c, h * w);
    let mut image = Tensor::scratch(b, x.shape())?;
    let mut all = Vec::with_capacity(items);
    if items == 0 {
        return Ok(Denoised { image, sigma: all });
    }
    // The result exists already; local energies take its place in the count.
    let part = plan.images_at_once(items, 1 + plan.planes().len())?;
    for start in (0..items).step_by(part) {
        let count = part.min(items - start);
        // Not kept from part to part: the last one may be smaller, and there may be no room for both.
        let mut coeffs = plan.coeffs(count, 1)?;
        let range = start * area..(start + count) * area;
        plan.decompose_into(TensorView::new(x.flat().slice(range.clone())?, [count, 1, h, w])?, &mut coeffs)?;
        let sigmas = match sigma {
            Some(sigma) => vec![sigma; count],
            None => noise::estimate(plan, &coeffs)?,
        };
        shrink(plan, &mut coeffs, &sigmas, how)?;
        let out = gpu_core::TensorViewMut::new(image.flat_mut().slice(range)?, [count, 1, h, w])?;
        plan.reconstruct_into(&coeffs, out)?;
        all.extend(sigmas);
    }
    Ok(Denoised { image, sigma: all })
}

/// Shrinks coefficients in place, for noise of standard deviation `sigma[i]` in image `i` of the `B * C`.
///
/// # Errors
/// When there is not one `sigma` an image, one is negative or not finite, or the coefficients belong to another plan.
pub fn shrink<B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    coeffs: &mut Coeffs<B, T>,
    sigma: &[f64],
    how: Shrinkage,
) -> Result<()> {
    let [n, c, ..] = coeffs.shape();
    if coeffs.planes() != plan.planes() || (coeffs.shape()[3], coeffs.shape()[4]) != plan.image_size() {
        return Err(Error::value("coefficients", "made by another plan"));
    }
    if sigma.len() != n * c {
        return Err(Error::ShapeMismatch { what: "sigma", expected: vec![n * c], got: vec![sigma.len()] });
    }
    if let Some(bad) = sigma.iter().find(|s| !(s.is_finite() && **s >= 0.0)) {
        return Err(Error::value("sigma", format!("{bad} is no standard deviation; 0 or more is needed")));
    }
    if n * c == 0 {
        return Ok(());
    }
    match how {
        Shrinkage::Hard => hard(plan, coeffs, sigma),
        Shrinkage::Bivariate => by_parents(plan, coeffs, sigma),
    }
}

fn hard<B: NsctBackend<T>, T: Real>(plan: &NsctPlan<B, T>, coeffs: &mut Coeffs<B, T>, sigma: &[f64]) -> Result<()> {
    let (b, ids) = (plan.backend(), plan.planes());
    let finest = ids.last().map_or(0, |id| id.scale);
    let gains = plan.gains()?;
    let factor = |id: &PlaneId| match id.scale {
        0 => 0.0,
        scale if scale == finest => HARD_FACTORS.0,
        _ => HARD_FACTORS.1,
    };
    let of_image = |&sigma: &f64| ids.iter().zip(gains).map(move |(id, gain)| T::of(factor(id) * sigma * gain));
    let thresholds: Vec<T> = sigma.iter().flat_map(of_image).collect();
    let thresholds = Tensor::from_slice(b, [thresholds.len()], &thresholds)?;
    let (height, width) = plan.image_size();
    let planes = Planes { count: sigma.len() * ids.len(), height, width };
    Ok(hard_threshold(b, planes, thresholds.flat(), coeffs.tensor_mut().flat_mut(), planes.area())?)
}

fn by_parents<B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    coeffs: &mut Coeffs<B, T>,
    sigma: &[f64],
) -> Result<()> {
    let (b, ids) = (plan.backend(), plan.planes());
    let (height, width) = plan.image_size();
    let planes = Planes { count: sigma.len(), height, width };
    let area = planes.area();
    let stride = ids.len() * area;
    let gains = plan.gains()?;
    let variances: Vec<T> =
        gains.iter().flat_map(|gain| sigma.iter().map(move |sigma| T::of((sigma * gain).powi(2)))).collect();
    let variances = Tensor::from_slice(b, [gains.len(), sigma.len()], &variances)?;
    let mut energies = Tensor::<B, T, 2>::scratch(b, [sigma.len(), area])?;
    // From the finest scale on, so that a parent is still noisy when its children need it.
    for (s, id) in ids.iter().enumerate().skip(1).rev() {
        let child = s * area;
        let all: View<'_, B, T> = coeffs.tensor().flat();
        box_square(
            b,
            planes,
            HALF_WINDOW,
            all.slice(child..coeffs.tensor().len())?,
            stride,
            energies.flat_mut(),
            area,
        )?;
        let variance = variances.slab(s..s + 1)?.flat();
        let y: ViewMut<'_, B, T> = coeffs.tensor_mut().flat_mut();
        let parent = parent(ids, s, id).map(|s| s * area);
        bivariate(b, planes, variance, energies.flat(), area, y, stride, child, parent)?;
    }
    Ok(())
}

/// The plane of the next coarser scale that covers the direction of plane `s`; none for the coarsest scale.
fn parent(ids: &[PlaneId], s: usize, id: &PlaneId) -> Option<usize> {
    if id.scale < 2 {
        return None;
    }
    let first = s + 1 - id.direction;
    let coarser = ids[first - 1].directions;
    Some(first - coarser + (id.direction - 1) * coarser / id.directions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planes;

    #[test]
    fn parents_cover_their_children() {
        let ids = planes(&[1, 3, 0, 2]);
        let of = |s: usize| parent(&ids, s, &ids[s]);
        // Scale 1: planes 1, 2; scale 2: 3 to 10; scale 3: 11; scale 4: 12 to 15.
        assert_eq!((0..3).map(of).collect::<Vec<_>>(), [None; 3]);
        assert_eq!((3..11).map(of).collect::<Vec<_>>(), [1, 1, 1, 1, 2, 2, 2, 2].map(Some));
        assert_eq!(of(11), Some(3));
        assert_eq!((12..16).map(of).collect::<Vec<_>>(), [Some(11); 4]);
        let ids = planes(&[3, 2]);
        let of = |s: usize| parent(&ids, s, &ids[s]);
        assert_eq!((9..13).map(of).collect::<Vec<_>>(), [1, 3, 5, 7].map(Some));
    }

    #[test]
    fn names() {
        for how in [Shrinkage::Hard, Shrinkage::Bivariate] {
            assert_eq!(how.to_string().parse::<Shrinkage>().unwrap(), how);
        }
        assert!("soft".parse::<Shrinkage>().is_err());
    }
}
