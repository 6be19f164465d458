//! From pictures to tensors and back, inside the memory budget.

use std::rc::Rc;

use gpu_core::Tensor;
use nsct::{Coeffs, NsctBackend, NsctPlan, NsctSpec, Real};

use crate::exit::{Failure, Result};
use crate::pictures::Picture;
use crate::pictures::npy::Number;

/// A number type that the transform computes in and `.npy` files hold.
pub(crate) trait Sample: Real + Number {}
impl<T: Real + Number> Sample for T {}

/// Plans for the picture sizes seen last: folders usually hold few sizes.
pub(crate) struct Plans<'a, B: NsctBackend<T>, T: Real> {
    b: &'a B,
    spec: NsctSpec,
    recent: Vec<Rc<NsctPlan<B, T>>>,
}

/// Sizes that are kept.
const KEPT: usize = 4;

impl<'a, B: NsctBackend<T>, T: Real> Plans<'a, B, T> {
    /// No plans yet.
    pub(crate) fn new(b: &'a B, spec: &NsctSpec) -> Self {
        Self { b, spec: spec.clone(), recent: Vec::new() }
    }

    /// The same cache, for a transform that may be another one than before.
    pub(crate) fn of(&mut self, spec: &NsctSpec) -> &mut Self {
        if self.spec != *spec {
            self.spec = spec.clone();
            self.recent.clear();
        }
        self
    }

    /// The plan for pictures of this size.
    pub(crate) fn get(&mut self, height: usize, width: usize) -> Result<Rc<NsctPlan<B, T>>> {
        if let Some(plan) = self.recent.iter().find(|plan| plan.image_size() == (height, width)) {
            return Ok(Rc::clone(plan));
        }
        self.recent.truncate(KEPT - 1);
        let plan = match NsctPlan::new(self.b, &self.spec, height, width) {
            // Plans that are kept hold memory, too.
            Err(nsct::Error::Gpu(gpu_core::Error::OutOfMemory { .. })) if !self.recent.is_empty() => {
                self.recent.clear();
                NsctPlan::new(self.b, &self.spec, height, width)
            }
            other => other,
        }?;
        let plan = Rc::new(plan);
        tracing::info!(height, width, engine = %plan.engine(), "planned");
        self.recent.insert(0, Rc::clone(&plan));
        Ok(plan)
    }
}

/// Planes `range` of a picture (batch times channels) as `[n, 1, H, W]`.
///
/// Sums over a whole plane, with the filters' gains, must stay inside the number type's range: larger pixels, as files of
/// double precision may hold, would become NaN in every plane.
pub(crate) fn upload<B: NsctBackend<T>, T: Real>(
    b: &B,
    picture: &Picture,
    range: std::ops::Range<usize>,
) -> Result<Tensor<B, T, 4>> {
    let [.., h, w] = picture.shape;
    let most = if size_of::<T>() < 8 { f32::MAX.into() } else { f64::MAX };
    let largest = most / (64.0 * (h * w) as f64);
    let samples = &picture.samples[range.start * h * w..range.end * h * w];
    if let Some(i) = samples.iter().position(|v| v.abs() > largest) {
        let (value, row, column) = (samples[i], i / w % h, i % w);
        let wider = if size_of::<T>() < 8 { "use --f64, or scale the values first" } else { "scale the values first" };
        return Err(Failure::usage(format!(
            "the pixel at row {row}, column {column} is {value:e}, and sums of a picture in {} hold {largest:.0e} at most",
            T::NAME
        ))
        .help(wider));
    }
    let values: Vec<T> = samples.iter().map(|&v| T::of(v)).collect();
    Ok(Tensor::from_slice(b, [range.len(), 1, h, w], &values)?)
}

/// Values in double precision.
pub(crate) fn widen<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&v| Real::to_f64(v)).collect()
}

/// A tensor's values on the host in double precision.
pub(crate) fn download<B: NsctBackend<T>, T: Real, const R: usize>(
    b: &B,
    tensor: &Tensor<B, T, R>,
) -> Result<Vec<f64>> {
    Ok(widen(&tensor.to_vec(b)?))
}

/// Runs `each` over a picture's planes, as many at a time as fit.
pub(crate) fn in_parts<B: NsctBackend<T>, T: Real>(
    b: &B,
    plan: &NsctPlan<B, T>,
    picture: &Picture,
    mut each: impl FnMut(&Tensor<B, T, 4>) -> Result<()>,
) -> Result<()> {
    let planes = picture.shape[0] * picture.shape[1];
    let step = plan.images_at_once(planes, 1 + plan.planes().len())?;
    let mut at = 0;
    while at < planes {
        let end = (at + step).min(planes);
        each(&upload(b, picture, at..end)?)?;
        at = end;
    }
    Ok(())
}

/// All coefficients of a picture, `[B * C, 1, S, H, W]`, in one piece.
pub(crate) fn decompose<B: NsctBackend<T>, T: Real>(
    b: &B,
    plan: &NsctPlan<B, T>,
    picture: &Picture,
) -> Result<Coeffs<B, T>> {
    let planes = picture.shape[0] * picture.shape[1];
    Ok(plan.decompose(&upload(b, picture, 0..planes)?)?)
}

/// Refuses pictures of different sizes that are to be worked on together.
pub(crate) fn same_shape(pictures: &[(&std::path::Path, &Picture)]) -> Result<()> {
    let Some(((first_path, first), rest)) = pictures.split_first() else { return Ok(()) };
    for (path, picture) in rest {
        if picture.shape != first.shape {
            let of = |p: &Picture| format!("{} × {} with {} channels", p.shape[3], p.shape[2], p.shape[0] * p.shape[1]);
            return Err(Failure::usage(format!(
                "{} is {}, but {} is {}",
                path.display(),
                of(picture),
                first_path.display(),
                of(first)
            ))
            .help("crop or convert them to the same size and channels first"));
        }
    }
    Ok(())
}
