use std::sync::Arc;

use gpu_core::{Tensor, TensorView, TensorViewMut, View};

use crate::{Error, NsctBackend, PlaneId, Real, Result};

/// The transform of a batch: one contiguous tensor `[B, C, S, H, W]`, with the meaning of its planes.
///
/// Planes come low-pass first, then coarse to fine, each scale's directions in order; see [`PlaneId`].
#[derive(Debug)]
pub struct Coeffs<B: NsctBackend<T>, T: Real> {
    tensor: Tensor<B, T, 5>,
    planes: Arc<[PlaneId]>,
}

impl<B: NsctBackend<T>, T: Real> Coeffs<B, T> {
    /// Coefficients with unspecified contents, to be written by [`NsctPlan::decompose_into`](crate::NsctPlan::decompose_into).
    pub(crate) fn scratch(b: &B, [n, c, h, w]: [usize; 4], planes: Arc<[PlaneId]>) -> Result<Self> {
        Ok(Self { tensor: Tensor::scratch(b, [n, c, planes.len(), h, w])?, planes })
    }

    /// Gives a tensor `[B, C, S, H, W]`, such as one read from a file, the meaning of its planes.
    ///
    /// # Errors
    /// When the tensor's third axis is not as long as `planes`.
    pub fn from_tensor(tensor: Tensor<B, T, 5>, planes: impl Into<Arc<[PlaneId]>>) -> Result<Self> {
        let planes = planes.into();
        let got = tensor.shape();
        if got[2] != planes.len() {
            let mut expected = got;
            expected[2] = planes.len();
            let (expected, got) = (expected.to_vec(), got.to_vec());
            return Err(Error::ShapeMismatch { what: "coefficients", expected, got });
        }
        Ok(Self { tensor, planes })
    }

    /// `[B, C, S, H, W]`.
    pub fn shape(&self) -> [usize; 5] {
        self.tensor.shape()
    }

    /// What each index of the third axis holds.
    pub fn planes(&self) -> &[PlaneId] {
        &self.planes
    }

    pub(crate) fn plane_list(&self) -> &Arc<[PlaneId]> {
        &self.planes
    }

    /// All coefficients.
    pub fn tensor(&self) -> &Tensor<B, T, 5> {
        &self.tensor
    }

    /// All coefficients, to be changed in place.
    pub fn tensor_mut(&mut self) -> &mut Tensor<B, T, 5> {
        &mut self.tensor
    }

    /// The tensor without the meaning of its planes.
    pub fn into_tensor(self) -> Tensor<B, T, 5> {
        self.tensor
    }

    /// Index of the plane with this scale (0 is low-pass, 1 the coarsest) and direction (from 1).
    pub fn index(&self, scale: usize, direction: usize) -> Option<usize> {
        self.planes.iter().position(|id| (id.scale, id.direction) == (scale, direction))
    }

    /// Elements where plane `s` of image `(n, c)` starts and ends.
    fn range(&self, n: usize, c: usize, s: usize) -> Result<std::ops::Range<usize>> {
        let [batch, channels, planes, h, w] = self.shape();
        if n >= batch || c >= channels || s >= planes {
            return Err(Error::value(
                "plane",
                format!("[{n}, {c}, {s}] does not exist in coefficients of [{batch}, {channels}, {planes}]"),
            ));
        }
        let start = ((n * channels + c) * planes + s) * h * w;
        Ok(start..start + h * w)
    }

    /// Plane `s` of image `n`, channel `c`, as `[H, W]`.
    ///
    /// # Errors
    /// When there is no such plane.
    pub fn plane(&self, n: usize, c: usize, s: usize) -> Result<TensorView<'_, B, T, 2>> {
        let range = self.range(n, c, s)?;
        let [.., h, w] = self.shape();
        Ok(TensorView::new(View::slice(self.tensor.flat(), range)?, [h, w])?)
    }

    /// Plane `s` of image `n`, channel `c`, as `[H, W]`, to be changed in place.
    ///
    /// # Errors
    /// When there is no such plane.
    pub fn plane_mut(&mut self, n: usize, c: usize, s: usize) -> Result<TensorViewMut<'_, B, T, 2>> {
        let range = self.range(n, c, s)?;
        let [.., h, w] = self.shape();
        Ok(TensorViewMut::new(self.tensor.flat_mut().slice(range)?, [h, w])?)
    }
}
