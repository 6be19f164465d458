//! What became of the values of some slots, counted over all samples: so that nobody has to look at every value.
//!
//! Floor: a head of 32 bytes for each value and each of its operands, 32 bytes a slot out. Measured on an
//! H200, 1,024 slots of 1,024 samples with two operands: 42 % of the rate of a copy.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{Arena, Form, HEAD, Spill};

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct TallyParams {
    /// Slots.
    pub items: u32,
    /// Samples of the arena.
    pub samples: u32,
}

/// A slot, and what its values were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// The slot.
    pub slot: u32,
    /// Slots of operands.
    pub operands: Vec<u32>,
    /// Slots of operands that are containers where they are spilled.
    pub untold: Vec<u32>,
    /// Whether an operand that lies in no slot is a container.
    pub container: bool,
}

/// What became of a slot's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Values that are here, and values that are spilled, with at least one operand that is a container.
    pub counting: [u32; 2],
    /// Values that are errors.
    pub errors: u32,
    /// Values that are spilled, by [`Spill::ALL`].
    pub spills: [u32; Spill::ALL.len()],
}

/// Words of an item: slot, whether it has a container that lies in no slot, where its operands begin, operands.
const ITEM: usize = 4;

/// Counts of an item.
const TALLIES: usize = 3 + Spill::ALL.len();

/// Marks operands that are containers where they are spilled.
const UNTOLD: u32 = 1 << 31;

/// The operation on one backend.
pub trait Tallies: Backend {
    #[doc(hidden)]
    fn tally_unchecked(
        &self,
        p: TallyParams,
        items: View<'_, Self, u32>,
        operands: View<'_, Self, u32>,
        heads: View<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Counts what became of the values of slots. Containers are all but numbers, pairs, `None`, functions and errors.
///
/// # Errors
/// When a slot is not there, or the device fails.
pub fn tally<B: Tallies>(b: &B, arena: &Arena<B>, all: &[Tallied]) -> Result<Vec<Tally>> {
    let [slots, samples] = arena.shape();
    let (mut items, mut operands) = (Vec::with_capacity(all.len() * ITEM), Vec::new());
    for item in all {
        let outside = |slot: &&u32| **slot as usize >= slots || **slot >= UNTOLD;
        if let Some(slot) = [&item.slot].into_iter().chain(&item.operands).chain(&item.untold).find(outside) {
            return Err(Error::value("slots", format!("{slot}, the arena has {slots}")));
        }
        let count = item.operands.len() + item.untold.len();
        items.extend([item.slot, item.container.into(), operands.len() as u32, count as u32]);
        operands.extend_from_slice(&item.operands);
        operands.extend(item.untold.iter().map(|slot| slot | UNTOLD));
    }
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let p = TallyParams { items: all.len() as u32, samples: samples as u32 };
    let items = Tensor::from_slice(b, [all.len(), ITEM], &items)?;
    let operands = Tensor::from_slice(b, [operands.len()], &operands)?;
    let mut counts = Tensor::<B, u32, 2>::scratch(b, [all.len(), TALLIES])?;
    b.tally_unchecked(p, items.flat(), operands.flat(), arena.heads.flat(), counts.flat_mut())?;
    let of_words = |words: &[u32]| Tally {
        counting: [words[0], words[1]],
        errors: words[2],
        spills: std::array::from_fn(|why| words[3 + why]),
    };
    Ok(counts.to_vec(b)?.chunks_exact(TALLIES).map(of_words).collect())
}

impl Tallies for Cpu {
    fn tally_unchecked(
        &self,
        p: TallyParams,
        items: View<'_, Self, u32>,
        operands: View<'_, Self, u32>,
        heads: View<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (items, operands, heads) = (self.read(items)?, self.read(operands)?, self.read(heads)?);
        let samples = p.samples as usize;
        let head = |slot: u32, sample: usize| &heads[(slot as usize * samples + sample) * HEAD..][..2];
        let all = items.par_chunks_exact(ITEM).zip(self.write(counts)?.par_chunks_exact_mut(TALLIES));
        all.for_each(|(item, counts)| {
            counts.fill(0);
            for sample in 0..samples {
                let counts_too = |operand: &u32| {
                    let kind = head(operand & !UNTOLD, sample)[0];
                    Form::is_container(kind) || (kind == Form::Spilled as i32 && operand & UNTOLD != 0)
                };
                let container = item[1] != 0 || operands[item[2] as usize..][..item[3] as usize].iter().any(counts_too);
                let of = head(item[0], sample);
                let spilled = of[0] == Form::Spilled as i32;
                counts[usize::from(spilled)] += u32::from(container);
                counts[2] += u32::from(of[0] == Form::Error as i32);
                if spilled && (1..=Spill::ALL.len() as i32).contains(&of[1]) {
                    counts[2 + of[1] as usize] += 1;
                }
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Tallies for gpu_core::Cuda {
    fn tally_unchecked(
        &self,
        p: TallyParams,
        items: View<'_, Self, u32>,
        operands: View<'_, Self, u32>,
        heads: View<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_tally")?;
        let launch = kernel.read(items)?.read(operands)?.read(heads)?.write(counts)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_tally(const uint* items, const uint* operands, const int* heads, uint* counts, TallyParams p);
        // `tally` has checked that slots are inside of the arena, and made room.
        unsafe { launch.launch() }
    }
}
