use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::budget::{Budget, bytes_of};
use crate::{Buffer, Elem, Error, Owner, Result};

/// What new memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Zero,
    Unspecified,
}

/// Memory of the CPU backend.
pub struct CpuBuffer<T: Elem> {
    data: Vec<T>,
    owner: Owner,
    budget: Arc<Budget>,
}

impl<T: Elem> CpuBuffer<T> {
    pub(super) fn new(len: usize, fill: Fill, budget: &Arc<Budget>, owner: Owner) -> Result<Self> {
        let bytes = bytes_of::<T>(len)?;
        budget.take(bytes)?;
        let allocated = bytemuck::allocation::try_zeroed_vec(len);
        let Ok(mut data) = allocated else {
            budget.give(bytes);
            let use_ = budget.usage();
            return Err(Error::OutOfMemory { requested: bytes, used: use_.used, limit: use_.limit });
        };
        if fill == Fill::Unspecified && cfg!(any(debug_assertions, feature = "testing")) {
            bytemuck::cast_slice_mut::<T, u8>(&mut data).fill(0xA5);
        }
        Ok(Self { data, owner, budget: Arc::clone(budget) })
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.data
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    pub(super) fn moved_to(mut self, owner: Owner, budget: &Arc<Budget>, call: &'static str) -> Result<Self> {
        if !Arc::ptr_eq(&self.budget, budget) {
            return Err(Error::value(call, "the buffer belongs to another device"));
        }
        if self.owner == Owner::Shared && owner != Owner::Shared {
            return Err(Error::value(call, "the buffer is shared and stays so"));
        }
        self.owner = owner;
        Ok(self)
    }
}

impl<T: Elem> Drop for CpuBuffer<T> {
    fn drop(&mut self) {
        self.budget.give(self.data.len() * size_of::<T>());
    }
}

impl<T: Elem> fmt::Debug for CpuBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuBuffer<{}>[{}]", std::any::type_name::<T>(), self.data.len())
    }
}

impl<T: Elem> Buffer<T> for CpuBuffer<T> {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn owner(&self) -> Owner {
        self.owner
    }
}

/// Zeros on the host, or the bytes that there is no room for.
pub(crate) fn host_vec<T: Elem>(len: usize) -> std::result::Result<Vec<T>, usize> {
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or(usize::MAX)?;
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| bytes)
}

/// Host memory for transfers; ordinary memory on this backend.
#[derive(Debug)]
pub struct CpuPinned<T: Elem>(Vec<T>);

impl<T: Elem> CpuPinned<T> {
    pub(super) fn new(len: usize, budget: &Budget) -> Result<Self> {
        host_vec(len).map(Self).map_err(|requested| {
            let use_ = budget.usage();
            Error::OutOfMemory { requested, used: use_.used, limit: use_.limit }
        })
    }
}

impl<T: Elem> Deref for CpuPinned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Elem> DerefMut for CpuPinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
