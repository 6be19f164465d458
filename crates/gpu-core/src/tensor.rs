use std::ops::Range;

use ndarray::{Array, ArrayView, Dim, Dimension, IntoDimension};

use crate::view::elements;
use crate::{Backend, Elem, Error, Result, TensorView, TensorViewMut, View, ViewMut};

/// A dense row-major array of rank `R` in the memory of one device.
///
/// The rank is part of the type: `let [n, h, w] = x.shape();` compiles for rank 3 only.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// let cpu = Cpu::new();
/// let x = Tensor::from_slice(&cpu, [2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let [rows, columns] = x.shape();
/// assert_eq!((rows, columns), (2, 3));
/// assert_eq!(x.to_vec(&cpu)?[4], 5.0);
/// # Ok::<(), gpu_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor<B: Backend, T: Elem, const R: usize> {
    buf: B::Buf<T>,
    shape: [usize; R],
}

impl<B: Backend, T: Elem, const R: usize> Tensor<B, T, R> {
    /// All bits zero.
    pub fn zeros(b: &B, shape: [usize; R]) -> Result<Self> {
        Ok(Self { buf: b.zeros(elements("shape", &shape)?)?, shape })
    }

    /// Unspecified contents.
    pub fn scratch(b: &B, shape: [usize; R]) -> Result<Self> {
        Ok(Self { buf: b.scratch(elements("shape", &shape)?)?, shape })
    }

    /// A copy of host memory in row-major order.
    pub fn from_slice(b: &B, shape: [usize; R], values: &[T]) -> Result<Self> {
        if elements("shape", &shape)? != values.len() {
            return Err(Error::shape("values", &shape, &[values.len()]));
        }
        let mut out = Self::scratch(b, shape)?;
        b.upload(values, ViewMut::of(&mut out.buf))?;
        Ok(out)
    }

    /// A copy of an ndarray view; a strided view is packed first.
    pub fn from_array(b: &B, array: ArrayView<'_, T, Dim<[usize; R]>>) -> Result<Self>
    where
        Dim<[usize; R]>: Dimension,
    {
        let mut shape = [0; R];
        shape.copy_from_slice(array.shape());
        match array.as_slice() {
            Some(values) => Self::from_slice(b, shape, values),
            None => Self::from_slice(b, shape, &array.iter().copied().collect::<Vec<_>>()),
        }
    }

    /// Takes a buffer and gives it a shape.
    pub fn from_buffer(buf: B::Buf<T>, shape: [usize; R]) -> Result<Self> {
        let len = crate::Buffer::len(&buf);
        if elements("shape", &shape)? != len {
            return Err(Error::shape("buffer", &shape, &[len]));
        }
        Ok(Self { buf, shape })
    }

    /// The buffer without its shape.
    pub fn into_buffer(self) -> B::Buf<T> {
        self.buf
    }

    /// A copy on the host, row-major. Waits for the queue.
    ///
    /// # Errors
    /// When the host has no room for it, inside a capture, or for a tensor of another queue.
    pub fn to_vec(&self, b: &B) -> Result<Vec<T>> {
        let mut out = crate::cpu::host_vec(self.len()).map_err(|requested| {
            let free = crate::cpu::memory_available();
            Error::OutOfMemory { requested, used: 0, limit: free }
        })?;
        b.download(View::of(&self.buf), &mut out)?;
        Ok(out)
    }

    /// A copy on the host as an ndarray. Waits for the queue.
    pub fn to_array(&self, b: &B) -> Result<Array<T, Dim<[usize; R]>>>
    where
        Dim<[usize; R]>: Dimension,
        [usize; R]: IntoDimension<Dim = Dim<[usize; R]>>,
    {
        Array::from_shape_vec(self.shape.into_dimension(), self.to_vec(b)?)
            .map_err(|e| Error::value("tensor", e.to_string()))
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> [usize; R] {
        self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        crate::Buffer::len(&self.buf)
    }

    /// Whether some axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, for reading.
    pub fn view(&self) -> TensorView<'_, B, T, R> {
        self.into()
    }

    /// All of it, for writing.
    pub fn view_mut(&mut self) -> TensorViewMut<'_, B, T, R> {
        self.into()
    }

    /// All of it without the shape, for reading.
    pub fn flat(&self) -> View<'_, B, T> {
        View::of(&self.buf)
    }

    /// All of it without the shape, for writing.
    pub fn flat_mut(&mut self) -> ViewMut<'_, B, T> {
        ViewMut::of(&mut self.buf)
    }

    fn slab_shape(&self, range: &Range<usize>) -> Result<([usize; R], Range<usize>)> {
        let first = *self.shape.first().ok_or_else(|| Error::value("slab", "a scalar has no axis 0"))?;
        if range.start > range.end || range.end > first {
            return Err(Error::value("slab", format!("{}..{} is not inside 0..{first}", range.start, range.end)));
        }
        let inner: usize = self.shape[1..].iter().product();
        let mut shape = self.shape;
        shape[0] = range.len();
        Ok((shape, range.start * inner..range.end * inner))
    }

    /// A contiguous range of axis 0, for reading.
    pub fn slab(&self, range: Range<usize>) -> Result<TensorView<'_, B, T, R>> {
        let (shape, flat) = self.slab_shape(&range)?;
        TensorView::new(self.flat().slice(flat)?, shape)
    }

    /// A contiguous range of axis 0, for writing.
    pub fn slab_mut(&mut self, range: Range<usize>) -> Result<TensorViewMut<'_, B, T, R>> {
        let (shape, flat) = self.slab_shape(&range)?;
        TensorViewMut::new(self.flat_mut().slice(flat)?, shape)
    }

    /// The same elements with another shape.
    pub fn reshape<const Q: usize>(self, shape: [usize; Q]) -> Result<Tensor<B, T, Q>> {
        if elements("shape", &shape)? != self.len() {
            return Err(Error::shape("reshape", &shape, &self.shape));
        }
        Ok(Tensor { buf: self.buf, shape })
    }

    /// Read-only from now on, and usable on every queue of the device.
    pub fn share(self, b: &B) -> Result<Self> {
        Ok(Self { buf: b.share(self.buf)?, shape: self.shape })
    }

    /// Moves the tensor to the queue `b` of the same device.
    pub fn adopt(self, b: &B) -> Result<Self> {
        Ok(Self { buf: b.adopt(self.buf)?, shape: self.shape })
    }
}

impl<'a, B: Backend, T: Elem, const R: usize> From<&'a Tensor<B, T, R>> for TensorView<'a, B, T, R> {
    fn from(t: &'a Tensor<B, T, R>) -> Self {
        Self::trusted(View::of(&t.buf), t.shape)
    }
}

impl<'a, B: Backend, T: Elem, const R: usize> From<&'a mut Tensor<B, T, R>> for TensorViewMut<'a, B, T, R> {
    fn from(t: &'a mut Tensor<B, T, R>) -> Self {
        Self::trusted(ViewMut::of(&mut t.buf), t.shape)
    }
}
