//! Fusing pictures of one scene, such as two with the focus in different places, to one.

use gpu_core::{Tensor, TensorView, TensorViewMut};

use crate::kernels::{Planes, Scored, box_square, fuse_mean, fuse_scored, fuse_select};
use crate::{Coeffs, Error, NsctBackend, NsctPlan, Real, Result};

/// Local energies are means over 7 x 7 pixels.
const HALF_WINDOW: usize = 3;

/// Which coefficient the fused picture gets. Read with [`str::parse`], by the names given in brackets.
///
/// The low-pass plane is always the mean of the pictures'. Ties go to the first picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rule {
    /// (`maxabs`) the largest one.
    #[default]
    MaxAbs,
    /// (`energy`) the one with the largest local energy: the mean of squares over 7 x 7 pixels.
    Energy,
    /// (`weighted`) their mean, weighted by local energy. Less contrast, fewer artefacts where pictures differ.
    Weighted,
    /// (`mean`) their mean, which is the mean of the pictures. For comparison.
    Mean,
}

crate::names::plain_names!(Rule, "fusion rule", "maxabs, energy, weighted, mean", {
    "maxabs" => MaxAbs, "energy" => Energy, "energy7" => Energy, "weighted" => Weighted, "mean" => Mean,
    "average" => Mean,
});

/// Fuses two or more batches of pictures `[B, C, H, W]`, image by image.
///
/// The result is not clipped to the range of the pictures.
///
/// # Errors
/// With fewer than two pictures, with pictures that do not fit the plan or each other, or when memory runs out.
pub fn fuse<B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    images: &[&Tensor<B, T, 4>],
    rule: Rule,
) -> Result<Tensor<B, T, 4>> {
    let views: Vec<_> = images.iter().map(|x| x.view()).collect();
    fuse_views(plan, &views, rule)
}

/// As [`fuse`], for views.
///
/// # Errors
/// As [`fuse`].
pub fn fuse_views<B: NsctBackend<T>, T: Real>(
    plan: &NsctPlan<B, T>,
    images: &[TensorView<'_, B, T, 4>],
    rule: Rule,
) -> Result<Tensor<B, T, 4>> {
    let [first, others @ ..] = images else {
        return Err(Error::value("images", "none given; two or more can be fused"));
    };
    if others.is_empty() {
        return Err(Error::value("images", "one given; two or more can be fused"));
    }
    let [n, c, ..] = first.shape();
    let (height, width) = plan.image_size();
    for image in images {
        if image.shape() != [n, c, height, width] {
            let (expected, got) = (vec![n, c, height, width], image.shape().to_vec());
            return Err(Error::ShapeMismatch { what: "image", expected, got });
        }
    }
    let b = plan.backend();
    if rule == Rule::Mean {
        let mut mean = Tensor::scratch(b, first.shape())?;
        b.copy(first.flat(), mean.flat_mut())?;
        let planes = Planes { count: n * c, height, width };
        for (i, image) in others.iter().enumerate() {
            let divisor = if i + 1 == others.len() { images.len() as u32 } else { 1 };
            fuse_mean(b, planes, divisor, image.flat(), planes.area(), mean.flat_mut(), planes.area())?;
        }
        return Ok(mean);
    }
    let (items, area) = (n * c, height * width);
    let mut result = Tensor::scratch(b, first.shape())?;
    if items == 0 {
        return Ok(result);
    }
    let each = 2 * plan.planes().len() + Folding::<B, T>::planes_each(plan, rule, images.len());
    let part = plan.images_at_once(items, each)?;
    for start in (0..items).step_by(part) {
        let count = part.min(items - start);
        let range = start * area..(start + count) * area;
        let of = |image: &TensorView<'_, B, T, 4>| -> Result<Coeffs<B, T>> {
            let view = TensorView::new(image.flat().slice(range.clone())?, [count, 1, height, width])?;
            plan.decompose(view)
        };
        let mut fused = of(first)?;
        let mut folding = Folding::new(plan, rule, count, images.len())?;
        for image in others {
            folding.add(&of(image)?, &mut fused)?;
        }
        let out = TensorViewMut::new(result.flat_mut().slice(range.clone())?, [count, 1, height, width])?;
        plan.reconstruct_into(&fused, out)?;
    }
    Ok(result)
}

/// Whether the rule looks at local energies.
fn scored(rule: Rule) -> bool {
    matches!(rule, Rule::Energy | Rule::Weighted)
}

/// One picture after the other is folded into the result.
struct Folding<'a, B: NsctBackend<T>, T: Real> {
    plan: &'a NsctPlan<B, T>,
    rule: Rule,
    planes: Planes,
    images: usize,
    /// How many pictures the result holds.
    done: usize,
    /// Local energies of the result's coefficients: of all planes but the low-pass one, or of one plane at a time where
    /// two pictures are all there are. Empty for rules that do not look at them.
    scores: Vec<Tensor<B, T, 1>>,
    /// Local energies of the picture that is being added.
    other_scores: Option<Tensor<B, T, 1>>,
}

impl<'a, B: NsctBackend<T>, T: Real> Folding<'a, B, T> {
    /// Local energies that are kept for each picture of the result.
    fn kept(plan: &NsctPlan<B, T>, rule: Rule, images: usize) -> usize {
        match (scored(rule), images) {
            (false, _) => 0,
            (true, 2) => 1,
            (true, _) => plan.planes().len() - 1,
        }
    }

    /// Planes of memory for each picture of the result.
    fn planes_each(plan: &NsctPlan<B, T>, rule: Rule, images: usize) -> usize {
        Self::kept(plan, rule, images) + usize::from(scored(rule))
    }

    fn new(plan: &'a NsctPlan<B, T>, rule: Rule, count: usize, images: usize) -> Result<Self> {
        let (height, width) = plan.image_size();
        let planes = Planes { count, height, width };
        let scored = scored(rule);
        let kept = Self::kept(plan, rule, images);
        let make = || Tensor::scratch(plan.backend(), [count * planes.area()]);
        let scores = (0..kept).map(|_| make()).collect::<gpu_core::Result<_>>()?;
        Ok(Self { plan, rule, planes, images, done: 1, scores, other_scores: scored.then(make).transpose()? })
    }

    fn add(&mut self, other: &Coeffs<B, T>, fused: &mut Coeffs<B, T>) -> Result<()> {
        let b = self.plan.backend();
        let (planes, area, total) = (self.planes, self.planes.area(), self.plan.planes().len());
        let (stride, len) = (total * area, other.tensor().len());
        if len == 0 {
            return Ok(());
        }
        let divisor = if self.done + 1 == self.images { self.images as u32 } else { 1 };
        fuse_mean(b, planes, divisor, other.tensor().flat(), stride, fused.tensor_mut().flat_mut(), stride)?;
        for s in 1..total {
            let x = other.tensor().flat().slice(s * area..len)?;
            let Some(f) = &mut self.other_scores else {
                let y = fused.tensor_mut().flat_mut().slice(s * area..len)?;
                fuse_select(b, planes, x, stride, y, stride)?;
                continue;
            };
            let slot = if self.scores.len() == 1 { 0 } else { s - 1 };
            let e = &mut self.scores[slot];
            if self.done == 1 {
                let y = fused.tensor().flat().slice(s * area..len)?;
                box_square(b, planes, HALF_WINDOW, y, stride, e.flat_mut(), area)?;
            }
            box_square(b, planes, HALF_WINDOW, x, stride, f.flat_mut(), area)?;
            let y = fused.tensor_mut().flat_mut().slice(s * area..len)?;
            let how = if self.rule == Rule::Weighted { Scored::Blend } else { Scored::Select };
            fuse_scored(b, planes, how, x, stride, f.flat(), y, stride, e.flat_mut(), area)?;
        }
        self.done += 1;
        Ok(())
    }
}
