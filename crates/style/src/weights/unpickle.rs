//! The stack machine that reads a pickle.
//!
//! It knows only the instructions and the few names that plain tensors need, and gives each name a
//! fixed meaning; all else is refused.

use std::collections::HashMap;

use super::error::clip;
use super::input::Input;
use super::pickle::{Global, Id, Object, Storage, TensorView, Value, items, size};
use super::{Result, WeightsError};

/// The most values on the stack.
const MAX_STACK: usize = 65_536;

const CONTAINER: &str = "PyTorch";

/// The state of the machine.
#[derive(Default)]
pub(crate) struct Machine<'a> {
    input: Input<'a>,
    stack: Vec<Value<'a>>,
    /// The heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    objects: Vec<Object<'a>>,
    cells: usize,
}

/// The value that a pickle leaves, the arena it points into and the bytes after the pickle.
type Outcome<'a> = (Value<'a>, Vec<Object<'a>>, &'a [u8]);

impl<'a> Machine<'a> {
    /// A machine at the front of `bytes` that makes at most `cells` objects, elements and references.
    pub(crate) fn new(bytes: &'a [u8], cells: usize) -> Self {
        Self { input: Input::new(bytes), cells, ..Self::default() }
    }

    /// Reads one pickle.
    pub(crate) fn run(mut self) -> Result<Outcome<'a>> {
        while self.step()? {}
        let root = self.pop()?;
        Ok((root, self.objects, self.input.rest()))
    }

    /// Runs one instruction; false at the end of the pickle.
    fn step(&mut self) -> Result<bool> {
        match self.input.byte()? {
            0x80 => drop(self.input.byte()?),
            0x95 => drop(self.input.take(8)?),
            b'.' => return Ok(false),
            b'(' => {
                if self.marks.len() >= MAX_STACK {
                    return Err(bad("too many marks"));
                }
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => self.stack.truncate(self.marks.pop().ok_or_else(|| bad("no mark"))?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b')' | b']' => self.new_items(Vec::new())?,
            b't' | b'l' => {
                let list = self.pop_mark()?;
                self.new_items(list)?;
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b'}' => self.new_dict()?,
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let list = self.pop_mark()?;
                self.extend(list)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let list = self.pop_mark()?;
                self.set_items(&list)?;
            }
            b'q' => {
                let slot = self.input.byte()?;
                self.put(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(*self.input.chunk()?);
                self.put(slot)?;
            }
            0x94 => self.put(self.memo.len() as u32)?,
            b'h' => {
                let slot = self.input.byte()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(*self.input.chunk()?);
                self.recall(slot)?;
            }
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Str(name), Value::Str(module)) => self.global(module, name)?,
                _ => return Err(bad("a global without a name")),
            },
            // The instructions that build objects of classes by other ways.
            b'i' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                return Err(unsafe_global(module, name));
            }
            0x82..=0x84 => return Err(unsafe_global("copyreg", "extension")),
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            b'b' => {
                // Only the attributes of an OrderedDict come here; they carry no weights.
                self.pop()?;
                if !matches!(self.top()?, Value::Dict(_)) {
                    return Err(bad("state for an object that takes none"));
                }
            }
            code => self.literal(code)?,
        }
        Ok(true)
    }

    /// Runs an instruction that pushes a constant.
    fn literal(&mut self, code: u8) -> Result<()> {
        match code {
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => self.int::<1>()?,
            b'M' => self.int::<2>()?,
            b'J' => {
                let n = i32::from_le_bytes(*self.input.chunk()?);
                self.push(Value::Int(n.into()))?;
            }
            0x8a => {
                let length = self.input.byte()?;
                self.long(usize::from(length))?;
            }
            b'G' => {
                self.input.take(8)?;
                self.push(Value::Other)?;
            }
            b'X' | b'T' => self.text::<4>()?,
            0x8c | b'U' => self.text::<1>()?,
            0x8d => self.text::<8>()?,
            b'C' => self.blob::<1>()?,
            b'B' => self.blob::<4>()?,
            _ => return Err(bad(&format!("pickle instruction {code:#04x} is not needed for weights"))),
        }
        Ok(())
    }

    fn spend(&mut self, n: usize) -> Result<()> {
        self.cells = self.cells.checked_sub(n).ok_or_else(|| bad("more objects than a checkpoint needs"))?;
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        if self.stack.len() >= MAX_STACK {
            return Err(bad("too many values on the stack"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// The height of the stack above the last open mark must not be undercut.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        if self.stack.len() <= self.floor() {
            return Err(bad("empty stack"));
        }
        self.stack.pop().ok_or_else(|| bad("empty stack"))
    }

    fn top(&self) -> Result<Value<'a>> {
        self.stack.get(self.floor()..).and_then(<[_]>::last).copied().ok_or_else(|| bad("empty stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|m| *m <= self.stack.len()).ok_or_else(|| bad("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn int<const N: usize>(&mut self) -> Result<()> {
        let n = self.input.unsigned::<N>()?;
        self.push(Value::Int(n as i64))
    }

    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.input.take(length)?;
        if length > 8 {
            return self.push(Value::Other);
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { -1_i64 } else { 0 };
        let n = bytes.iter().rev().fold(sign, |n, &b| n << 8 | i64::from(b));
        self.push(Value::Int(n))
    }

    fn text<const N: usize>(&mut self) -> Result<()> {
        let length = self.input.unsigned::<N>()?;
        let bytes = self.input.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        // Python 2 strings may hold bytes that are not text; nothing that is needed does.
        self.push(std::str::from_utf8(bytes).map_or(Value::Other, Value::Str))
    }

    fn blob<const N: usize>(&mut self) -> Result<()> {
        let length = self.input.unsigned::<N>()?;
        self.input.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        self.push(Value::Other)
    }

    fn add(&mut self, object: Object<'a>) -> Result<Id> {
        self.spend(1)?;
        self.objects.push(object);
        Ok((self.objects.len() - 1) as Id)
    }

    fn new_items(&mut self, list: Vec<Value<'a>>) -> Result<()> {
        self.spend(list.len())?;
        let id = self.add(Object::Items(list))?;
        self.push(Value::Items(id))
    }

    fn new_dict(&mut self) -> Result<()> {
        let id = self.add(Object::Dict(Vec::new()))?;
        self.push(Value::Dict(id))
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let at = self.stack.len().checked_sub(n).filter(|at| *at >= self.floor()).ok_or_else(|| bad("empty stack"))?;
        let list = self.stack.split_off(at);
        self.new_items(list)
    }

    /// The list or dict on top of the stack.
    fn container(&mut self) -> Option<&mut Object<'a>> {
        match self.top().ok()? {
            Value::Items(id) | Value::Dict(id) => self.objects.get_mut(id as usize),
            _ => None,
        }
    }

    fn extend(&mut self, list: Vec<Value<'a>>) -> Result<()> {
        self.spend(list.len())?;
        let Some(Object::Items(items)) = self.container() else {
            return Err(bad("no list to append to"));
        };
        items.extend(list);
        Ok(())
    }

    fn set_items(&mut self, list: &[Value<'a>]) -> Result<()> {
        let (pairs, odd) = list.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(bad("a key without a value"));
        }
        self.spend(list.len())?;
        let Some(Object::Dict(dict)) = self.container() else {
            return Err(bad("no dict to fill"));
        };
        dict.extend(pairs.iter().map(|&[k, v]| (k, v)));
        Ok(())
    }

    fn put(&mut self, slot: u32) -> Result<()> {
        self.spend(1)?;
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<()> {
        let value = self.memo.get(&slot).copied().ok_or_else(|| bad("an unknown reference"))?;
        self.push(value)
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = Global::find(module, name).ok_or_else(|| unsafe_global(module, name))?;
        self.push(Value::Global(global))
    }

    /// The argument list of a call or a persistent identifier.
    fn arguments(&mut self) -> Result<Vec<Value<'a>>> {
        const MOST: usize = 8;
        match self.pop()? {
            Value::Items(id) => items(&self.objects, id)
                .filter(|l| l.len() <= MOST)
                .map(<[_]>::to_vec)
                .ok_or_else(|| bad("too many arguments")),
            _ => Err(bad("arguments that are not a tuple")),
        }
    }

    fn persistent(&mut self) -> Result<()> {
        let wrong = || bad("a storage reference of unknown form");
        let args = self.arguments()?;
        let [
            Value::Str("storage"),
            Value::Global(Global::Storage(dtype, element)),
            Value::Str(key),
            _,
            numel,
            ref more @ ..,
        ] = args[..]
        else {
            return Err(wrong());
        };
        let view = match *more {
            [] | [Value::None] => None,
            [Value::Items(id)] => match items(&self.objects, id) {
                Some(&[_, offset, length]) => Some((size(offset).ok_or_else(wrong)?, size(length).ok_or_else(wrong)?)),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let numel = size(numel).ok_or_else(wrong)?;
        let id = self.add(Object::Storage(Storage { key, dtype, element, numel, view }))?;
        self.push(Value::Storage(id))
    }

    fn reduce(&mut self) -> Result<()> {
        let args = self.arguments()?;
        let Value::Global(global) = self.pop()? else {
            return Err(bad("a call of something that is not a name"));
        };
        match (global, args.as_slice()) {
            (Global::OrderedDict, []) => self.new_dict(),
            (Global::OrderedDict, &[Value::Items(id)]) => self.dict_of(id),
            (
                Global::RebuildTensor,
                &[Value::Storage(storage), offset, Value::Items(shape), Value::Items(strides), ..],
            ) => {
                let offset = size(offset).ok_or_else(|| bad("a tensor with a negative offset"))?;
                let id = self.add(Object::Tensor(TensorView { storage, offset, shape, strides }))?;
                self.push(Value::Tensor(id))
            }
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => self.push(tensor),
            (Global::Size, &[list @ Value::Items(_)]) => self.push(list),
            _ => Err(bad("a call with arguments of unknown form")),
        }
    }

    /// An ordered dict given as a list of pairs, as Python 2 writes it.
    fn dict_of(&mut self, id: Id) -> Result<()> {
        let wrong = || bad("a dict of unknown form");
        let mut pairs = Vec::new();
        for &entry in items(&self.objects, id).ok_or_else(wrong)? {
            let Value::Items(pair) = entry else { return Err(wrong()) };
            let Some(&[key, value]) = items(&self.objects, pair) else { return Err(wrong()) };
            pairs.push((key, value));
        }
        self.spend(2 * pairs.len())?;
        let id = self.add(Object::Dict(pairs))?;
        self.push(Value::Dict(id))
    }
}

fn bad(detail: &str) -> WeightsError {
    WeightsError::malformed(CONTAINER, detail)
}

fn unsafe_global(module: &str, name: &str) -> WeightsError {
    WeightsError::UnsafePickle { global: format!("{}.{}", clip(module), clip(name)) }
}
