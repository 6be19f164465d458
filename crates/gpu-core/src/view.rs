use std::ops::Range;

use crate::{Backend, Buffer, Elem, Error, Owner, Result};

/// A contiguous range of a buffer, for reading.
#[derive(Debug)]
pub struct View<'a, B: Backend, T: Elem> {
    buf: &'a B::Buf<T>,
    start: usize,
    len: usize,
}

// Derived impls would ask for `B: Copy` and `T: Copy`.
#[allow(clippy::expl_impl_clone_on_copy)]
impl<B: Backend, T: Elem> Clone for View<'_, B, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Backend, T: Elem> Copy for View<'_, B, T> {}

/// A contiguous range of a buffer, for writing.
#[derive(Debug)]
pub struct ViewMut<'a, B: Backend, T: Elem> {
    buf: &'a mut B::Buf<T>,
    start: usize,
    len: usize,
}

fn check_range(range: &Range<usize>, len: usize) -> Result<()> {
    if range.start <= range.end && range.end <= len {
        return Ok(());
    }
    Err(Error::value("range", format!("{}..{} is not inside 0..{len}", range.start, range.end)))
}

impl<'a, B: Backend, T: Elem> View<'a, B, T> {
    /// The whole buffer.
    pub fn of(buf: &'a B::Buf<T>) -> Self {
        Self { buf, start: 0, len: buf.len() }
    }

    /// Elements `range` of this view.
    pub fn slice(self, range: Range<usize>) -> Result<Self> {
        check_range(&range, self.len)?;
        Ok(Self { buf: self.buf, start: self.start + range.start, len: range.len() })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who may use the buffer behind it.
    pub fn owner(&self) -> Owner {
        self.buf.owner()
    }

    /// The buffer and where the view starts in it; for backends.
    pub fn parts(self) -> (&'a B::Buf<T>, usize) {
        (self.buf, self.start)
    }
}

impl<'a, B: Backend, T: Elem> ViewMut<'a, B, T> {
    /// The whole buffer.
    pub fn of(buf: &'a mut B::Buf<T>) -> Self {
        let len = buf.len();
        Self { buf, start: 0, len }
    }

    /// Elements `range` of this view.
    pub fn slice(self, range: Range<usize>) -> Result<Self> {
        check_range(&range, self.len)?;
        Ok(Self { buf: self.buf, start: self.start + range.start, len: range.len() })
    }

    /// A shorter borrow of the same range, so that the view can be used again.
    pub fn reborrow(&mut self) -> ViewMut<'_, B, T> {
        ViewMut { buf: self.buf, start: self.start, len: self.len }
    }

    /// The same range for reading.
    pub fn as_view(&self) -> View<'_, B, T> {
        View { buf: self.buf, start: self.start, len: self.len }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who may use the buffer behind it.
    pub fn owner(&self) -> Owner {
        self.buf.owner()
    }

    /// The buffer and where the view starts in it; for backends.
    pub fn parts(self) -> (&'a mut B::Buf<T>, usize) {
        (self.buf, self.start)
    }
}

/// A view with a shape of rank `R`, for reading. Row-major and dense.
#[derive(Debug)]
pub struct TensorView<'a, B: Backend, T: Elem, const R: usize> {
    view: View<'a, B, T>,
    shape: [usize; R],
}

#[allow(clippy::expl_impl_clone_on_copy)]
impl<B: Backend, T: Elem, const R: usize> Clone for TensorView<'_, B, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Backend, T: Elem, const R: usize> Copy for TensorView<'_, B, T, R> {}

/// A view with a shape of rank `R`, for writing. Row-major and dense.
#[derive(Debug)]
pub struct TensorViewMut<'a, B: Backend, T: Elem, const R: usize> {
    view: ViewMut<'a, B, T>,
    shape: [usize; R],
}

pub(crate) fn elements(what: &'static str, shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| isize::try_from(n).is_ok())
        .ok_or_else(|| Error::value(what, format!("shape {shape:?} has too many elements")))
}

impl<'a, B: Backend, T: Elem, const R: usize> TensorView<'a, B, T, R> {
    /// Gives a flat view a shape with the same number of elements.
    pub fn new(view: View<'a, B, T>, shape: [usize; R]) -> Result<Self> {
        if elements("shape", &shape)? != view.len() {
            return Err(Error::shape("view", &shape, &[view.len()]));
        }
        Ok(Self { view, shape })
    }

    pub(crate) fn trusted(view: View<'a, B, T>, shape: [usize; R]) -> Self {
        Self { view, shape }
    }

    /// The shape.
    pub fn shape(&self) -> [usize; R] {
        self.shape
    }

    /// The elements without the shape.
    pub fn flat(self) -> View<'a, B, T> {
        self.view
    }
}

impl<'a, B: Backend, T: Elem, const R: usize> TensorViewMut<'a, B, T, R> {
    /// Gives a flat view a shape with the same number of elements.
    pub fn new(view: ViewMut<'a, B, T>, shape: [usize; R]) -> Result<Self> {
        if elements("shape", &shape)? != view.len() {
            return Err(Error::shape("view", &shape, &[view.len()]));
        }
        Ok(Self { view, shape })
    }

    pub(crate) fn trusted(view: ViewMut<'a, B, T>, shape: [usize; R]) -> Self {
        Self { view, shape }
    }

    /// The shape.
    pub fn shape(&self) -> [usize; R] {
        self.shape
    }

    /// The elements without the shape.
    pub fn flat(self) -> ViewMut<'a, B, T> {
        self.view
    }

    /// A shorter borrow.
    pub fn reborrow(&mut self) -> TensorViewMut<'_, B, T, R> {
        TensorViewMut { view: self.view.reborrow(), shape: self.shape }
    }
}
