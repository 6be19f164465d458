//! One step of the wavefront: every instruction of a level of a graph, for every sample of a batch.
//!
//! Values live in an [`Arena`] of slots, a value a sample in each: a head of [`HEAD`] words and a payload of [`PAYLOAD`], which
//! are 32 x 32 cells and a mask of 32 bits a row. What a value looks like is in [`Slot`]. An instruction reads up to four
//! slots and writes one; no instruction of a step reads what another one writes. Whatever has no form here - odd
//! operands and results, larger ones - becomes [`Slot::Spilled`] with its reason, and the host evaluates it.
//!
//! Floor: a head and `32 h` bytes of each operand that is a grid, and as much of the result: 2,100 bytes for a full grid to
//! a full grid, 2.3e9 items a second at 4.8 TB/s; 400 to 900 instructions a warp and item, 3,000 to 5,000 where components
//! are found. The measured fraction of this bound: not measured yet.

mod code;
mod each;
mod gather;
mod grids;
mod laid;
mod objects;
mod pack;
mod packed;
mod patches;
mod place;
mod ranges;
mod tally;
mod tuples;
mod value;

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use crate::prim::Prim;
use crate::value::{Function, Maker, Value};

pub(crate) use code::Form;
pub use code::Slot;
pub use each::{Each, EachParams, Elements, Gather, count_each, gather_each, spread_each};
pub use laid::{Laid, Layout};
pub use pack::{Pack, PackParams, Packed, take_packed};
pub(crate) use packed::{Words, decode_val, is_plain, words_of};
pub use place::{Place, PlaceParams, put, put_all, take};
pub use ranges::{Ranged, step_each};
pub use tally::{Tallied, Tallies, Tally, TallyParams, tally};
pub(crate) use tuples::MOST_COMPARED;
use value::{Arg, Out};

/// Words of a value's head.
pub const HEAD: usize = 8;

/// Words of a value's payload: cells, and a mask a row.
pub const PAYLOAD: usize = 288;

/// Words of an instruction: operation, number of operands (from bit 16 on) and which of them are one value for all items (from
/// bit 24 on), its first item, target, four operands, an immediate number.
const WORDS: usize = 8;

/// Items whose results the CPU holds before it writes them.
const TOGETHER: usize = 1 << 12;

macro_rules! operations {
    ($($op:ident)*) => {
        /// The operations that a device knows: primitives of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Op {
            $(#[doc = concat!("The primitive `", stringify!($op), "`.")] $op,)*
        }

        impl Op {
            /// All operations, by number.
            pub const ALL: &[Self] = &[$(Self::$op,)*];

            /// The operation of a primitive, if there is one.
            pub fn of(prim: Prim) -> Option<Self> {
                match prim {
                    $(Prim::$op => Some(Self::$op),)*
                    _ => None,
                }
            }

            /// The primitive that it is.
            pub fn prim(self) -> Prim {
                match self {
                    $(Self::$op => Prim::$op,)*
                }
            }
        }
    };
}

// The order is that of `Op` in kernels/grid_step.cu.
operations! {
    Identity Rot90 Rot180 Rot270 Hmirror Vmirror Dmirror Cmirror Trim Tophalf Bottomhalf Lefthalf
    Righthalf Crop Subgrid Upscale Hupscale Vupscale Downscale Hconcat Vconcat Cellwise Replace
    Switch Compress Canvas Fill Underfill Cover Paint Underpaint Move Ofcolor Asindices Asobject
    Toobject Objects Partition Fgpartition Merge Size First Last Argmax Argmin Colorfilter
    Sizefilter Mostcolor Leastcolor Numcolors Colorcount Color Height Width Shape Portrait Square
    Vline Hline Index Toindices Recolor Shift Normalize Uppermost Lowermost Leftmost Rightmost
    Ulcorner Urcorner Llcorner Lrcorner Corners Center Backdrop Delta Box Inbox Outbox Combine
    Intersection Difference Equality Branch Add Subtract Multiply Invert Double Halve Increment
    Decrement Crement Sign Even Positive Flip Both Either Greater Astuple Toivec Tojvec
    Dneighbors Ineighbors Neighbors Connect Hfrontier Vfrontier Sfilter Mfilter Extract
    Hsplit Vsplit
    Lbind Rbind Repeat Mostcommon Leastcommon Order Totuple Centerofmass Position Hmatching Vmatching
    Manhattan Adjacent Bordering Hperiod Vperiod Initset Insert Remove Mapply Frontiers
    Gravitate Occurrences Contained
}

impl Op {
    /// Operands that are values: functions are immediate.
    pub fn operands(self) -> usize {
        self.prim().arity() - usize::from(self.by_function())
    }

    /// Whether an argument of the primitive is a function, which an instruction names by its number.
    pub fn by_function(self) -> bool {
        self.function_at().is_some()
    }

    /// The argument that is a function.
    pub fn function_at(self) -> Option<usize> {
        match self {
            Self::Lbind | Self::Rbind | Self::Mapply => Some(0),
            Self::Argmax | Self::Argmin | Self::Order => Some(1),
            other => other.by_predicate().then_some(1),
        }
    }

    fn by_predicate(self) -> bool {
        matches!(self, Self::Sfilter | Self::Mfilter | Self::Extract)
    }

    /// The number by which this operation knows a function: a primitive, or one that counts the cells of a colour.
    pub fn key_of(self, function: &Function) -> Option<u32> {
        let closure = match function {
            Function::Prim(prim) => return self.key(*prim),
            Function::Closure(closure) => closure,
        };
        let counts = matches!(self, Self::Argmax | Self::Argmin | Self::Order) && closure.maker() == Maker::Rbind;
        match closure.args() {
            [Value::Fn(Function::Prim(Prim::Colorcount)), Value::Int(colour)] if counts => {
                Some(objects::COUNTED + u32::from(i8::try_from(*colour).ok()? as u8 ^ 128))
            }
            _ => None,
        }
    }

    /// The number by which this operation knows a function of objects.
    pub fn key(self, prim: Prim) -> Option<u32> {
        match self {
            Self::Lbind | Self::Rbind => return Prim::ALL.iter().position(|&p| p == prim).map(|at| at as u32),
            Self::Mapply => {
                let known = [
                    (Prim::Identity, 0),
                    (Prim::Hmirror, 1),
                    (Prim::Vmirror, 2),
                    (Prim::Dmirror, 3),
                    (Prim::Cmirror, 4),
                    (Prim::Normalize, 5),
                    (Prim::Toindices, 6),
                    (Prim::Backdrop, 7),
                    (Prim::Box, 8),
                    (Prim::Corners, 9),
                    (Prim::Outbox, 10),
                    (Prim::Inbox, 11),
                ];
                return known.into_iter().find(|(p, _)| *p == prim).map(|(_, key)| key);
            }
            _ => {}
        }
        if self.by_predicate() {
            return match prim {
                Prim::Vline => Some(10),
                Prim::Hline => Some(11),
                Prim::Square => Some(12),
                Prim::Portrait => Some(13),
                _ => None,
            };
        }
        Some(match prim {
            Prim::Size => 0,
            Prim::Height => 1,
            Prim::Width => 2,
            Prim::Uppermost => 3,
            Prim::Lowermost => 4,
            Prim::Leftmost => 5,
            Prim::Rightmost => 6,
            Prim::Color => 7,
            Prim::Numcolors => 8,
            Prim::Mostcolor => 9,
            Prim::Leastcolor => 14,
            _ => return None,
        })
    }
}

/// Why a value is not on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Spill {
    /// An operand is of a kind for which the operation has no form on the device.
    Kind = 1,
    /// A result is larger than a device's values, or further away than they may be.
    Size = 2,
    /// An odd value, such as an object with two colours on one location, or one of the few errors that the host names.
    Class = 3,
    /// An operand is on the host.
    Operand = 4,
    /// The function is evaluated on the host always.
    Function = 5,
}

impl Spill {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Kind, Self::Size, Self::Class, Self::Operand, Self::Function];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind of operand",
            Self::Size => "larger than the device's values",
            Self::Class => "error or odd value",
            Self::Operand => "operand on the host",
            Self::Function => "function of the host",
        }
    }

    pub(crate) fn of(code: i32) -> Self {
        Self::ALL.into_iter().find(|why| *why as i32 == code).unwrap_or(Self::Function)
    }
}

/// One instruction of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub op: Op,
    /// The slot that is written.
    pub target: u32,
    /// The slots that are read; the operation says how many count.
    pub operands: [u32; 4],
    /// The number of a function, for operations that take one.
    pub key: u32,
}

/// Values of many samples in the memory of a device.
#[derive(Debug)]
pub struct Arena<B: Backend> {
    /// `[slots, samples, HEAD]`
    pub(crate) heads: Tensor<B, i32, 3>,
    /// `[slots, samples, PAYLOAD]`
    pub(crate) payloads: Tensor<B, u32, 3>,
}

impl<B: Backend> Arena<B> {
    /// Room for some slots of a number of samples; all values are spilled.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(b: &B, slots: usize, samples: usize) -> Result<Self> {
        Ok(Self {
            heads: Tensor::zeros(b, [slots, samples, HEAD])?,
            payloads: Tensor::zeros(b, [slots, samples, PAYLOAD])?,
        })
    }

    /// An arena with these values: slot by slot one a sample.
    ///
    /// # Errors
    /// When they are not as many for each slot, or the device has no room for them.
    pub fn of(b: &B, samples: usize, values: &[Slot]) -> Result<Self> {
        let slots = values.len() / samples.max(1);
        if slots * samples != values.len() {
            return Err(Error::shape("values", &[slots, samples], &[values.len()]));
        }
        let words: Vec<_> = values.par_iter().map(Slot::words).collect();
        let heads: Vec<i32> = words.iter().flat_map(|(head, _)| *head).collect();
        let payloads: Vec<u32> = words.iter().flat_map(|(_, payload)| *payload).collect();
        Ok(Self {
            heads: Tensor::from_slice(b, [slots, samples, HEAD], &heads)?,
            payloads: Tensor::from_slice(b, [slots, samples, PAYLOAD], &payloads)?,
        })
    }

    /// All values: slot by slot one a sample.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_slots(&self, b: &B) -> Result<Vec<Slot>> {
        let (heads, payloads) = (self.heads.to_vec(b)?, self.payloads.to_vec(b)?);
        let words = heads.par_chunks_exact(HEAD).zip(payloads.par_chunks_exact(PAYLOAD));
        Ok(words.map(|(head, payload)| Slot::of_words(head, payload)).collect())
    }

    /// Heads and payloads as they are: slot by slot one a sample.
    ///
    /// # Errors
    /// When the device fails.
    pub fn words(&self, b: &B) -> Result<(Vec<i32>, Vec<u32>)> {
        Ok((self.heads.to_vec(b)?, self.payloads.to_vec(b)?))
    }

    /// Bytes that a slot takes a sample.
    pub const fn bytes() -> usize {
        4 * (HEAD + PAYLOAD)
    }

    /// Slots and samples.
    pub fn shape(&self) -> [usize; 2] {
        let [slots, samples, _] = self.heads.shape();
        [slots, samples]
    }

    /// Copies the values of a slot to the device, one a sample.
    ///
    /// # Errors
    /// When there is not one value a sample, or the slot does not exist.
    pub fn write(&mut self, b: &B, slot: usize, values: &[Slot]) -> Result<()> {
        let [_, samples] = self.shape();
        if values.len() != samples {
            return Err(Error::shape("values", &[samples], &[values.len()]));
        }
        let (mut heads, mut payloads) = (Vec::new(), Vec::new());
        for value in values {
            let (head, payload) = value.words();
            heads.extend(head);
            payloads.extend_from_slice(&payload);
        }
        b.upload(&heads, self.heads.slab_mut(slot..slot + 1)?.flat())?;
        b.upload(&payloads, self.payloads.slab_mut(slot..slot + 1)?.flat())
    }

    /// The heads of a slot, `[samples, HEAD]`.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn heads(&self, b: &B, slot: usize) -> Result<Vec<i32>> {
        let view = self.heads.slab(slot..slot + 1)?.flat();
        let mut out = vec![0; view.len()];
        b.download(view, &mut out)?;
        Ok(out)
    }

    /// The values of a slot, one a sample.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn read(&self, b: &B, slot: usize) -> Result<Vec<Slot>> {
        let heads = self.heads(b, slot)?;
        let view = self.payloads.slab(slot..slot + 1)?.flat();
        let mut payloads = vec![0; view.len()];
        b.download(view, &mut payloads)?;
        Ok(heads.chunks_exact(HEAD).zip(payloads.chunks_exact(PAYLOAD)).map(|(h, p)| Slot::of_words(h, p)).collect())
    }
}

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct StepParams {
    /// Instructions.
    pub instructions: u32,
    /// Samples: targets and operands are slots. 0 where they are places, and every instruction has items of its own.
    pub samples: u32,
    /// Items of all instructions, where there are no samples.
    pub items: u32,
}

impl StepParams {
    #[cfg(feature = "cuda")]
    fn all(self) -> usize {
        if self.samples == 0 { self.items as usize } else { self.instructions as usize * self.samples as usize }
    }
}

/// The operation on one backend.
pub trait Step: Backend {
    #[doc(hidden)]
    fn step_unchecked(
        &self,
        p: StepParams,
        instructions: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        payloads: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Does all instructions for all samples of the arena.
///
/// # Errors
/// When an instruction names a slot that is not there, or one that another one writes.
pub fn step<B: Step>(b: &B, arena: &mut Arena<B>, instructions: &[Instruction]) -> Result<()> {
    let [slots, samples] = arena.shape();
    let mut written = vec![false; slots];
    for i in instructions {
        let target = i.target as usize;
        if target >= slots || written[target] {
            let why = format!("{:?} writes slot {target} of {slots}, or another one does, too", i.op);
            return Err(Error::value("instructions", why));
        }
        written[target] = true;
    }
    for i in instructions {
        let bad = i.operands[..i.op.operands()].iter().find(|&&slot| written.get(slot as usize) != Some(&false));
        if let Some(slot) = bad {
            let why = format!("{:?} reads slot {slot} of {slots}, which is not there or is being written", i.op);
            return Err(Error::value("instructions", why));
        }
    }
    if instructions.is_empty() || samples == 0 {
        return Ok(());
    }
    let words = instructions.iter().flat_map(|i| {
        let [x, y, z, u] = i.operands;
        [i.op as u32 | (i.op.operands() as u32) << 16, 0, i.target, x, y, z, u, i.key]
    });
    let words: Vec<u32> = words.collect();
    let p = StepParams { instructions: instructions.len() as u32, samples: samples as u32, items: 0 };
    let words = Tensor::from_slice(b, [instructions.len(), WORDS], &words)?;
    b.step_unchecked(p, words.flat(), arena.heads.flat_mut(), arena.payloads.flat_mut())
}

/// The result of one instruction for one sample.
fn evaluate(op: Op, key: u32, v: &[Arg; 4], operands: usize) -> Out {
    if let Some(out) = Arg::unfit(v[..operands].iter().copied()) {
        return out;
    }
    let done = match op as u32 {
        0 => Ok(Out::Copy(0)),
        op_number if op_number <= Op::Downscale as u32 => grids::moved(op, v),
        n if n <= Op::Canvas as u32 => grids::joined(op, v),
        n if n <= Op::Move as u32 => grids::written(op, v),
        n if n <= Op::Fgpartition as u32 => objects::found(op, v),
        n if n <= Op::Sizefilter as u32 => objects::asked(op, key, v),
        n if n <= Op::Index as u32 => objects::measured(op, v),
        n if n <= Op::Outbox as u32 => patches::shaped(op, v),
        n if n <= Op::Branch as u32 => patches::combined(op, v),
        n if n >= Op::Lbind as u32 => tuples::added(op, key, v),
        n if n >= Op::Hsplit as u32 => grids::cut(op, v),
        n if n >= Op::Sfilter as u32 => objects::asked(op, key, v),
        _ => patches::counted(op, v),
    };
    done.unwrap_or_else(|out| out)
}

impl Step for Cpu {
    fn step_unchecked(
        &self,
        p: StepParams,
        instructions: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        payloads: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let instructions = self.read(instructions)?;
        let (heads, payloads) = (self.write(heads)?, self.write(payloads)?);
        let (samples, all) = (p.samples as usize, instructions.as_chunks::<WORDS>().0);
        let items = if samples == 0 { p.items as usize } else { all.len() * samples };
        for begin in (0..items).step_by(TOGETHER) {
            let of_item = |item: usize| {
                let (i, scale, own) = match samples {
                    0 => {
                        let i = &all[all.partition_point(|i| i[1] as usize <= item) - 1];
                        (i, 1, item - i[1] as usize)
                    }
                    _ => (&all[item / samples], samples, item % samples),
                };
                let (operands, op) = ((i[0] >> 16 & 15) as usize, Op::ALL[(i[0] & 0xffff) as usize]);
                let v: [Arg; 4] = std::array::from_fn(|k| {
                    let k = if k < operands { k } else { 0 };
                    let from = i[3 + k] as usize * scale + if i[0] >> (24 + k) & 1 == 0 { own } else { 0 };
                    Arg::of(&heads[from * HEAD..][..HEAD], &payloads[from * PAYLOAD..][..PAYLOAD])
                });
                let out = evaluate(op, i[7], &v, operands);
                (i[2] as usize * scale + own, out.written(&v))
            };
            let results: Vec<_> = (begin..items.min(begin + TOGETHER)).into_par_iter().map(of_item).collect();
            for (target, (head, payload)) in results {
                heads[target * HEAD..][..HEAD].copy_from_slice(&head);
                if let Some(payload) = payload {
                    payloads[target * PAYLOAD..][..PAYLOAD].copy_from_slice(&payload[..]);
                }
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Step for gpu_core::Cuda {
    fn step_unchecked(
        &self,
        p: StepParams,
        instructions: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        payloads: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&super::cuda::KERNELS, "grid_step")?;
        let launch = kernel.read(instructions)?.write(heads)?.write(payloads)?.arg(p);
        let launch = launch.grid(super::cuda::warps(p.all())).block(super::cuda::BLOCK);
        // SAFETY: void grid_step(const uint* instructions, int* heads, uint* payloads, StepParams p); `step`
        // and `step_each` have checked that all places are inside of the arena and that none is read that is written.
        unsafe { launch.launch() }
    }
}
