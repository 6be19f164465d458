//! A reader of the pickles in PyTorch checkpoints that executes nothing.
//!
//! A pickle is a program for a small stack machine, which is in the module `unpickle`; here are the
//! values that it leaves. They live in an arena and refer to each other by number, so that neither
//! cycles nor deep nesting need recursion, and a limit on the cells of the arena bounds the memory.

use super::Result;
use super::raw::Dtype;
use super::unpickle::Machine;

/// The cell limit for the pickle that holds the checkpoint.
pub(crate) const MAX_CELLS: usize = 150_000;
/// The cell limit for the small pickles around it.
pub(crate) const FEW_CELLS: usize = 20_000;

/// The number of an object in the arena.
pub(crate) type Id = u32;

/// A value of the stack machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    /// A float, a byte string or a long integer: read over, never needed.
    Other,
    Global(Global),
    /// A tuple or a list.
    Items(Id),
    Dict(Id),
    Storage(Id),
    Tensor(Id),
}

/// The names that a pickle may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    /// A class of storages with elements of this kind and size in bytes.
    Storage(Dtype, u8),
}

impl Global {
    /// The meaning of a name, if it has one here.
    pub(crate) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            // Checkpoints saved from a GPU by early releases name the classes of that device.
            ("torch" | "torch.cuda", _) => match name {
                "FloatStorage" => Self::Storage(Dtype::F32, 4),
                "HalfStorage" => Self::Storage(Dtype::F16, 2),
                "BFloat16Storage" => Self::Storage(Dtype::Bf16, 2),
                "DoubleStorage" => Self::Storage(Dtype::F64, 8),
                "LongStorage" => Self::Storage(Dtype::Other, 8),
                "IntStorage" => Self::Storage(Dtype::Other, 4),
                "BoolStorage" | "ByteStorage" => Self::Storage(Dtype::Other, 1),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// A block of numbers that tensors view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: Dtype,
    /// The bytes of one element.
    pub(crate) element: u8,
    pub(crate) numel: usize,
    /// The part of the stored block that this storage is, in elements: start and length.
    pub(crate) view: Option<(usize, usize)>,
}

/// A view of a storage; the shape and strides are numbers of arena lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorView {
    pub(crate) storage: Id,
    pub(crate) offset: usize,
    pub(crate) shape: Id,
    pub(crate) strides: Id,
}

/// What an arena cell holds.
#[derive(Debug)]
pub(crate) enum Object<'a> {
    Items(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(TensorView),
}

/// A pickle that has been read.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(crate) root: Value<'a>,
    objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    /// Reads one pickle from the front of `bytes`; returns also the bytes after it.
    pub(crate) fn read(bytes: &'a [u8], max_cells: usize) -> Result<(Self, &'a [u8])> {
        let (root, objects, rest) = Machine::new(bytes, max_cells).run()?;
        Ok((Self { root, objects }, rest))
    }

    /// The elements of a tuple or list.
    pub(crate) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Items(id) => items(&self.objects, id),
            _ => None,
        }
    }

    /// The pairs of a dict, in the order they were set.
    pub(crate) fn pairs(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(id) => match self.objects.get(id as usize)? {
                Object::Dict(pairs) => Some(pairs),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value under a string key of a dict; the last one set holds.
    pub(crate) fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        self.pairs(dict)?.iter().rev().find(|(k, _)| matches!(k, Value::Str(s) if *s == key)).map(|(_, v)| *v)
    }

    /// A storage by its number.
    pub(crate) fn storage(&self, id: Id) -> Option<&Storage<'a>> {
        match self.objects.get(id as usize)? {
            Object::Storage(s) => Some(s),
            _ => None,
        }
    }

    /// All storages that the pickle mentions.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|o| match o {
            Object::Storage(s) => Some(s),
            _ => None,
        })
    }

    /// A tensor with its shape and strides.
    pub(crate) fn tensor(&self, value: Value<'a>) -> Option<(TensorView, Vec<usize>, Vec<usize>)> {
        let Value::Tensor(id) = value else { return None };
        let Some(&Object::Tensor(view)) = self.objects.get(id as usize) else { return None };
        Some((view, sizes(&self.objects, view.shape)?, sizes(&self.objects, view.strides)?))
    }
}

/// The elements of a list in an arena.
pub(crate) fn items<'o, 'a>(objects: &'o [Object<'a>], id: Id) -> Option<&'o [Value<'a>]> {
    match objects.get(id as usize)? {
        Object::Items(items) => Some(items),
        _ => None,
    }
}

/// A short list of sizes.
fn sizes(objects: &[Object<'_>], id: Id) -> Option<Vec<usize>> {
    const MAX_RANK: usize = 8;
    let list = items(objects, id).filter(|l| l.len() <= MAX_RANK)?;
    list.iter().map(|v| size(*v)).collect()
}

/// A value as a size.
pub(crate) fn size(value: Value<'_>) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(n).ok(),
        _ => None,
    }
}
