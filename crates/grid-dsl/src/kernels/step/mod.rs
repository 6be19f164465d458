//! One step of the wavefront: every instruction of a level of a graph, for every sample of a batch.
//!
//! Values live in an [`Arena`] of slots, a value a sample in each: a head of [`HEAD`] words and a payload of [`PAYLOAD`], which
//! are 32 x 32 cells and a mask of 32 bits a row. What a value looks like is in [`Slot`]. An instruction reads up to four
//! slots and writes one; no instruction of a step reads what another one writes. Whatever has no form here - odd
//! operands and results, larger ones - becomes [`Slot::Spilled`] with its reason, and the host evaluates it.
//!
//! Floor: a head and `32 h` bytes of each operand that is a grid, and as much of the result: 2,000 bytes for a full grid to
//! a full grid, 2.1e9 items a second at the 4.2 TB/s of a copy. A warp takes 350 instructions for two numbers, 700 to 1,400
//! for grids of 12 x 12 and 1,500 to 2,000 for full ones, so these decide: 132 units that start 4 a clock at 1.8 GHz do 2.7e9
//! items of the first and 0.5e9 of the last. Measured on an H200: 63 to 71 % of that rate (`add`, `hconcat`, `objects`,
//! `replace`), 40 % for `fill`, which is 29 % (`rot90` of full grids), 26, 20, 17 and 15 % of a copy's bytes. Where components
//! are found, a warp takes 4,400 instructions for 12 x 12 cells and starts them at 27 % of the rate: their memory leaves room
//! for 12 warps of 64 side by side, so that these operations have a kernel of their own.

mod arena;
mod code;
mod each;
mod gather;
mod grids;
mod laid;
mod objects;
mod op;
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

pub use arena::{Arena, Spill};
pub(crate) use code::Form;
pub use code::Slot;
pub use each::{Each, EachParams, Elements, Gather, count_each, gather_each, spread_each};
pub use laid::{Laid, Layout};
pub use op::Op;
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
        labels: bool,
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
    for labels in [false, true] {
        let words = instructions.iter().filter(|i| i.op.labels() == labels).flat_map(|i| {
            let [x, y, z, u] = i.operands;
            [i.op as u32 | (i.op.operands() as u32) << 16, 0, i.target, x, y, z, u, i.key]
        });
        let words: Vec<u32> = words.collect();
        if !words.is_empty() {
            let p = StepParams { instructions: (words.len() / WORDS) as u32, samples: samples as u32, items: 0 };
            let words = Tensor::from_slice(b, [words.len()], &words)?;
            b.step_unchecked(p, labels, words.flat(), arena.heads.flat_mut(), arena.payloads.flat_mut())?;
        }
    }
    Ok(())
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
        _labels: bool,
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
        labels: bool,
        instructions: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        payloads: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let name = if labels { "grid_step_labels" } else { "grid_step" };
        let kernel = self.kernel(&super::cuda::KERNELS, name)?;
        let launch = kernel.read(instructions)?.write(heads)?.write(payloads)?.arg(p);
        let launch = launch.grid(super::cuda::warps(p.all())).block(super::cuda::BLOCK);
        // SAFETY: void grid_step(const uint* instructions, int* heads, uint* payloads, StepParams p), and the same of
        // grid_step_labels; `step` and `step_each` have checked that all places are inside of the arena and that none is read that is written.
        unsafe { launch.launch() }
    }
}
