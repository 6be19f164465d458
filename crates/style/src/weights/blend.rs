//! Mixing the weights of several models.

use std::collections::BTreeMap;

use super::model::{Container, StyleModel, Tensor};
use super::raw::Dtype;
use super::{Result, WeightsError};

impl StyleModel {
    /// The weighted mean of models of one shape, for a style between theirs.
    ///
    /// The weights are divided by their sum. A model whose weight is all of the sum comes out with
    /// the same bits. The sum is formed in f64 in the order given.
    ///
    /// # Errors
    /// [`WeightsError::Blend`] when there is no model, shapes differ, or weights are negative, not finite or all 0.
    pub fn blend(models: &[(&Self, f32)]) -> Result<Self> {
        let fail = |detail: String| Err(WeightsError::Blend { detail });
        if let Some((_, w)) = models.iter().find(|(_, w)| !w.is_finite() || *w < 0.0) {
            return fail(format!("expected weights of zero or more, found {w}"));
        }
        let used: Vec<(&Self, f64)> =
            models.iter().filter(|(_, w)| *w > 0.0).map(|(m, w)| (*m, f64::from(*w))).collect();
        let Some((first, _)) = used.first() else {
            return fail("expected a model with a weight above zero, found none".into());
        };
        for (model, _) in models {
            if model.vit != first.vit {
                return fail("expected models of one shape, found transformers of different sizes, or one beside a convolutional network; choose models of one kind".into());
            }
            if (model.nc, model.blocks) != (first.nc, first.blocks) {
                return fail(format!(
                    "expected models of one shape, found width {} with {} residual blocks and width {} with {}; choose models of one width",
                    first.nc, first.blocks, model.nc, model.blocks
                ));
            }
        }
        if used.len() == 1 {
            return Ok((*first).clone());
        }
        let total: f64 = used.iter().map(|(_, w)| w).sum();
        let mix = |i: usize, j: usize| {
            let parts = used.iter().filter_map(|(m, w)| Some(w / total * f64::from(*m.tensors.get(i)?.data.get(j)?)));
            parts.sum::<f64>() as f32
        };
        let blended = |(i, t): (usize, &Tensor)| Tensor {
            name: t.name.clone(),
            shape: t.shape.clone(),
            data: (0..t.data.len()).map(|j| mix(i, j)).collect(),
            source: Dtype::F32,
        };
        let style = |m: &Self| m.metadata.get("style").cloned().unwrap_or_else(|| "?".into());
        let parts: Vec<String> = used.iter().map(|(m, w)| format!("{}={:.3}", style(m), w / total)).collect();
        Ok(Self {
            nc: first.nc,
            blocks: first.blocks,
            vit: first.vit,
            tensors: first.tensors.iter().enumerate().map(blended).collect(),
            metadata: BTreeMap::from([("style".to_owned(), parts.join("+"))]),
            container: Container::Memory,
        })
    }
}
