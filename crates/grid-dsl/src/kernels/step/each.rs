//! Maps over the elements of containers: counted, laid out side by side, and what functions made of them taken together.
//!
//! The elements of containers lie side by side in an arena of their own, those of many maps at once: each map has slots of as
//! many places as it has elements there ([`Laid`](super::Laid)). What the function has captured stands behind the elements,
//! the same for all elements of one container. [`step_each`](super::step_each) then does the functions' calls one after the
//! other, and a map's last slot holds what its function gives. So a level takes as many launches as its longest function has
//! calls, however many maps it has.
//!
//! Floor: a value's 1,184 bytes in and out for each element and each captured value, 32 of them where a head is the value; the
//! calls between take far more. Objects are components that are found again: 2,000 instructions of a warp to count those of
//! 12 x 12 cells, 7,700 to lay them out. Measured on an H200: 58 and 33 % of the rate at which it starts instructions, and 11 %
//! of a copy's bytes for what is laid out; what is taken together 14 % of them.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::gather::{chosen, elements};
use super::laid::{Layout, listed};
use super::packed::is_plain;
use super::place::{Words, WordsMut};
use super::tuples::COPIES;
use super::value::{Arg, Out};
use super::{Arena, Form, HEAD, PAYLOAD, Spill};
use crate::error::ErrClass;
use crate::prim::Prim;

/// What is made of a function's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Gather {
    /// The first element with the largest key.
    Argmax,
    /// The first element with the smallest key.
    Argmin,
    /// The first element for which the function is true.
    Extract,
    /// The elements for which the function is true.
    Sfilter,
    /// Those as one set.
    Mfilter,
    /// All results as one set.
    Mapply,
    /// The set of all results.
    Apply,
    /// The largest result.
    Valmax,
    /// The smallest result.
    Valmin,
    /// The one result: no container is asked, the function is called once.
    Call,
}

impl Gather {
    /// All of them, by number.
    pub const ALL: [Self; 10] = [
        Self::Argmax,
        Self::Argmin,
        Self::Extract,
        Self::Sfilter,
        Self::Mfilter,
        Self::Mapply,
        Self::Apply,
        Self::Valmax,
        Self::Valmin,
        Self::Call,
    ];

    /// What a primitive does with the results of its function.
    pub fn of(prim: Prim) -> Option<Self> {
        Some(match prim {
            Prim::Argmax => Self::Argmax,
            Prim::Argmin => Self::Argmin,
            Prim::Extract => Self::Extract,
            Prim::Sfilter => Self::Sfilter,
            Prim::Mfilter => Self::Mfilter,
            Prim::Mapply => Self::Mapply,
            Prim::Apply => Self::Apply,
            Prim::Valmax => Self::Valmax,
            Prim::Valmin => Self::Valmin,
            _ => return None,
        })
    }

    /// Whether the elements of such a container can be laid out for it.
    pub(super) fn takes(self, x: &Arg) -> bool {
        match self {
            _ if x.is(Form::Objects) || x.is(Form::Strips) || x.hollow() => true,
            _ if x.is(Form::Lines) => self != Self::Sfilter,
            Self::Mfilter => x.is(Form::Indices) && x.masks().iter().all(|mask| *mask == 0),
            _ => x.is(Form::Indices),
        }
    }
}

/// One map, for all samples of an arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Each {
    /// What is done.
    pub gather: Gather,
    /// The slot of the result.
    pub target: u32,
    /// Slots of the container and of what the function has captured: the leftmost error is the result.
    pub operands: Vec<u32>,
    /// Which of them is the container; `None` for [`Gather::Call`].
    pub container: Option<usize>,
}

impl Each {
    /// Slots of an element and of what the function has captured: calls stand behind them.
    pub(super) fn first(&self) -> u32 {
        self.operands.len() as u32 + u32::from(self.container.is_none())
    }
}

/// Words of a map: what is done, target, container, where its operands begin, operands, which of them is the container, the
/// first place of elements, elements of all samples, the first and the last slot of the function's calls.
pub(super) const MAP: usize = 10;

/// Words of a map's sample: the map, the sample, its first element, elements.
pub(super) const ITEM: usize = 4;

/// No container, or no elements.
pub(super) const NONE: u32 = u32::MAX;

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct EachParams {
    /// Samples of maps.
    pub items: u32,
    /// Samples of the arena of values.
    pub samples: u32,
    /// Where in the list slots of operands begin, behind maps.
    pub operands: u32,
    /// Where in the list samples of maps begin.
    pub each: u32,
}

/// The operations on one backend.
pub trait Elements: Backend {
    #[doc(hidden)]
    fn count_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn spread_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn gather_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;
}

/// How many elements the containers of maps have: for each map one number a sample. Where there is nothing to lay out - an
/// operand failed, or has no form for that - there is no number, and the result is written: the error, or that it is spilled.
///
/// # Errors
/// When a slot is not there or is written twice, or the device fails.
pub fn count_each<B: Elements>(b: &B, arena: &mut Arena<B>, all: &[Each]) -> Result<Vec<Option<u32>>> {
    let [slots, samples] = arena.shape();
    let (maps, operands) = listed(slots, all.iter())?;
    let mut targets: Vec<u32> = all.iter().map(|each| each.target).collect();
    targets.sort_unstable();
    if let Some((twice, _)) = targets.iter().zip(targets.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Error::value("slots", format!("{twice} is written by two maps")));
    }
    let items = all.len() * samples;
    if items == 0 {
        return Ok(Vec::new());
    }
    let many = |_| Error::value("maps", format!("{items} of all samples are more than one call takes"));
    let p = EachParams {
        items: u32::try_from(items).map_err(many)?,
        samples: samples as u32,
        operands: maps.len() as u32,
        each: 0,
    };
    let list = [maps, operands].concat();
    let list = Tensor::from_slice(b, [list.len()], &list)?;
    let mut counts = Tensor::<B, u32, 1>::scratch(b, [items])?;
    b.count_unchecked(p, list.flat(), arena.payloads.flat(), arena.heads.flat_mut(), counts.flat_mut())?;
    Ok(counts.to_vec(b)?.into_iter().map(|count| (count != NONE).then_some(count)).collect())
}

/// Lays out the elements of containers that [`count_each`] counted: elements in the first slot of each map, what the function
/// has captured, in its order, in the slots behind it.
///
/// # Errors
/// When maps were listed for other arenas, or the device fails.
pub fn spread_each<B: Elements>(b: &B, arena: &Arena<B>, elements: &mut Arena<B>, all: &Layout<B>) -> Result<()> {
    if !all.of(arena, elements)? {
        return Ok(());
    }
    let from = (arena.heads.flat(), arena.payloads.flat());
    b.spread_unchecked(all.p, all.list.flat(), from, (elements.heads.flat_mut(), elements.payloads.flat_mut()))
}

/// Writes what maps give, from the slots of their functions' calls; the last of these is the function's result.
///
/// # Errors
/// When maps were listed for other arenas, or the device fails.
pub fn gather_each<B: Elements>(b: &B, arena: &mut Arena<B>, elements: &Arena<B>, all: &Layout<B>) -> Result<()> {
    if !all.of(arena, elements)? {
        return Ok(());
    }
    let from = (elements.heads.flat(), elements.payloads.flat());
    b.gather_unchecked(all.p, all.list.flat(), from, (arena.heads.flat_mut(), arena.payloads.flat_mut()))
}

/// A value of an arena.
pub(super) fn arg<'a>(heads: &[i32], payloads: &'a [u32], place: usize) -> Arg<'a> {
    Arg::of(&heads[place * HEAD..][..HEAD], &payloads[place * PAYLOAD..][..PAYLOAD])
}

fn write(heads: &mut [i32], payloads: &mut [u32], place: usize, out: Out) {
    let (head, payload) = out.written(&[]);
    heads[place * HEAD..][..HEAD].copy_from_slice(&head);
    if let Some(payload) = payload {
        payloads[place * PAYLOAD..][..PAYLOAD].copy_from_slice(&payload[..]);
    }
}

/// A sample of a map: its words, with places instead of slots.
struct Item {
    gather: Gather,
    target: usize,
    container: Option<usize>,
    operands: Vec<usize>,
    /// Which of the operands is the container.
    at: Option<usize>,
    /// The first place of elements, and places of a slot.
    place: usize,
    stride: usize,
    calls: std::ops::RangeInclusive<usize>,
    /// The first element of this sample, and how many there are.
    base: usize,
    count: usize,
}

impl Item {
    fn all(p: EachParams, list: &[u32]) -> Vec<Self> {
        let of = |k: usize| {
            let [map, sample, base, count] = match p.each as usize {
                0 => [k / p.samples as usize, k % p.samples as usize, 0, 0],
                each => std::array::from_fn(|word| list[each + k * ITEM + word] as usize),
            };
            let w = &list[map * MAP..][..MAP];
            let at = |slot: u32| slot as usize * p.samples as usize + sample;
            let operands = &list[(p.operands + w[3]) as usize..][..w[4] as usize];
            Self {
                gather: Gather::ALL[w[0] as usize],
                target: at(w[1]),
                container: (w[2] != NONE).then(|| at(w[2])),
                operands: operands.iter().map(|&slot| at(slot)).collect(),
                at: (w[5] != NONE).then_some(w[5] as usize),
                place: w[6] as usize,
                stride: w[7] as usize,
                calls: w[8] as usize..=w[9] as usize,
                base,
                count,
            }
        };
        (0..p.items as usize).map(of).collect()
    }

    /// The place of an element in a slot.
    fn place(&self, slot: usize, k: usize) -> usize {
        self.place + slot * self.stride + self.base + k
    }
}

/// The elements of a map's container, or what it gives without looking at them.
fn counted(item: &Item, heads: &[i32], payloads: &[u32]) -> std::result::Result<u32, Out> {
    let operands = item.operands.iter().map(|&place| arg(heads, payloads, place));
    if let Some(out) = Arg::unfit(operands) {
        return Err(out);
    }
    // Many copies weigh more than the fuel that is reckoned with.
    let copies = |(operand, &place): (usize, &usize)| {
        let x = arg(heads, payloads, place);
        item.at != Some(operand) && x.is(Form::Strips) && x.c & COPIES != 0
    };
    if item.operands.iter().enumerate().any(copies) {
        return Err(Out::Spill(Spill::Kind));
    }
    match item.container.map(|at| arg(heads, payloads, at)) {
        None => Ok(1),
        Some(x) if item.gather.takes(&x) => Ok(elements(&x).len() as u32),
        Some(x) if x.tuple() || x.set() => Err(Out::Spill(Spill::Kind)),
        Some(_) => Err(Out::fails(ErrClass::Type)),
    }
}

impl Elements for Cpu {
    fn count_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (items, payloads) = (Item::all(p, self.read(list)?), self.read(payloads)?);
        let (heads, counts) = (self.write(heads)?, self.write(counts)?);
        let done: Vec<_> = items.par_iter().map(|item| counted(item, heads, payloads)).collect();
        for ((item, done), count) in items.iter().zip(done).zip(counts) {
            *count = match done {
                Ok(n) => n,
                Err(out) => {
                    heads[item.target * HEAD..][..HEAD].copy_from_slice(&out.written(&[]).0);
                    NONE
                }
            };
        }
        Ok(())
    }

    fn spread_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let items = Item::all(p, self.read(list)?);
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        for item in items {
            if let Some(at) = item.container {
                for (k, out) in elements(&arg(heads, payloads, at)).into_iter().enumerate().take(item.count) {
                    write(out_heads, out_payloads, item.place(0, k), out);
                }
            }
            let captured = (0..).zip(&item.operands).filter(|(operand, _)| item.at != Some(*operand));
            for (slot, (_, &from)) in (1..).zip(captured) {
                let plain = is_plain(&heads[from * HEAD..][..HEAD]);
                for to in (0..item.count).map(|k| item.place(slot, k)) {
                    out_heads[to * HEAD..][..HEAD].copy_from_slice(&heads[from * HEAD..][..HEAD]);
                    if !plain {
                        out_payloads[to * PAYLOAD..][..PAYLOAD].copy_from_slice(&payloads[from * PAYLOAD..][..PAYLOAD]);
                    }
                }
            }
        }
        Ok(())
    }

    fn gather_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let items = Item::all(p, self.read(list)?);
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        let one = |item: &Item| {
            let container = item.container.map(|at| arg(out_heads, out_payloads, at));
            let of = |slot: usize, k: usize| arg(heads, payloads, item.place(slot, k));
            let spilled = |k: usize| {
                let calls = item.calls.clone().map(|slot| of(slot, k));
                calls.into_iter().find(|x| x.is(Form::Spilled)).map(|x| Spill::of(x.a))
            };
            let slot = |slot: usize| (0..item.count).map(|k| of(slot, k)).collect::<Vec<_>>();
            chosen(item.gather, container.as_ref(), &slot(0), &slot(*item.calls.end()), spilled)
        };
        let done: Vec<_> = items.par_iter().map(one).collect();
        for (item, out) in items.iter().zip(done) {
            write(out_heads, out_payloads, item.target, out);
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Elements for gpu_core::Cuda {
    fn count_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_count")?;
        let launch = kernel.read(list)?.read(payloads)?.write(heads)?.write(counts)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_count(const uint* list, const uint* payloads, int* heads, uint* counts, EachParams p); `listed` has
        // checked that all slots are inside of the arena.
        unsafe { launch.launch() }
    }

    fn spread_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_spread")?;
        let launch = kernel.read(list)?.read(from.0)?.read(from.1)?;
        let launch = launch.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_spread(const uint* list, const int* heads, const uint* payloads, int* out_heads,
        // uint* out_payloads, EachParams p); `Layout::new` has checked slots, samples and places, and the kernel writes no
        // more elements of a map's sample than its count.
        unsafe { launch.launch() }
    }

    fn gather_unchecked(
        &self,
        p: EachParams,
        list: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_gather")?;
        let launch = kernel.read(list)?.read(from.0)?.read(from.1)?.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_gather(const uint* list, const int* heads, const uint* payloads, int* out_heads,
        // uint* out_payloads, EachParams p); `Layout::new` has checked slots, samples and places.
        unsafe { launch.launch() }
    }
}
