//! Maps over the elements of containers: counted, laid out side by side, and what functions made of them taken together.
//!
//! An element of a container becomes a sample of an arena of its own, in slot 0; what the function has captured stands behind
//! it, the same for all elements of one container. [`step`](super::step) then does the function's calls one after the other,
//! and the last slot holds what it gives.
//!
//! Floor: a value's 1,184 bytes in and out for each element and each captured value; the calls between take far more. The
//! measured fraction of this bound: not measured yet.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::gather::{chosen, elements};
use super::place::{Words, WordsMut};
use super::tuples::COPIES;
use super::value::{Arg, Out};
use super::{Arena, Form, HEAD, PAYLOAD, Spill};
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

    pub(super) fn extreme(self) -> bool {
        matches!(self, Self::Argmax | Self::Argmin | Self::Valmax | Self::Valmin)
    }

    /// Whether the elements of such a container can be laid out for it.
    pub(super) fn takes(self, x: &Arg) -> bool {
        match self {
            _ if x.is(Form::Objects) => true,
            Self::Mfilter => x.is(Form::Indices) && x.masks().iter().all(|mask| *mask == 0),
            _ if x.is(Form::Indices) => true,
            _ => x.is(Form::Strips) && (self.extreme() || self == Self::Extract),
        }
    }
}

/// One map of one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Each {
    /// What is done.
    pub gather: Gather,
    /// The place of the result.
    pub target: u32,
    /// Places of the container and of what the function has captured: the leftmost error is the result.
    pub operands: Vec<u32>,
    /// Which of them is the container; `None` for [`Gather::Call`].
    pub container: Option<usize>,
}

/// A map whose elements lie in an arena of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// The map.
    pub each: Each,
    /// Its first element there.
    pub base: u32,
    /// How many there are.
    pub count: u32,
}

/// Words of a map: what is done, target, container, first element, elements, where its operands begin, operands, which of
/// them is the container.
const ITEM: usize = 8;

/// No container, or no elements.
const NONE: u32 = u32::MAX;

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct EachParams {
    /// Maps.
    pub items: u32,
    /// Elements of all maps.
    pub elements: u32,
    /// Slots of elements and what is captured in front of the function's calls.
    pub first: u32,
    /// The slot of the last call.
    pub last: u32,
}

/// Maps and the places of their operands.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "signatures of a public trait name it")]
pub type Items<'a, B> = (View<'a, B, u32>, View<'a, B, u32>);

/// The operations on one backend.
pub trait Elements: Backend {
    #[doc(hidden)]
    fn count_unchecked(
        &self,
        p: EachParams,
        items: Items<'_, Self>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn spread_unchecked(
        &self,
        p: EachParams,
        items: Items<'_, Self>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn gather_unchecked(
        &self,
        p: EachParams,
        items: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;
}

/// Checks maps against an arena, and lists them as words.
fn listed<'e, B: Backend>(
    arena: &Arena<B>,
    all: impl Iterator<Item = (&'e Each, u32, u32)>,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let [slots, samples] = arena.shape();
    let (mut items, mut places, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (each, base, count) in all {
        let container = match each.container {
            Some(at) => each.operands.get(at).copied(),
            None if each.gather == Gather::Call => Some(NONE),
            None => None,
        };
        let Some(container) = container else {
            return Err(Error::value("maps", format!("{:?} has no container among its operands", each.gather)));
        };
        let outside = |place: &&u32| **place as usize >= slots * samples;
        if let Some(place) = each.operands.iter().chain([&each.target]).find(outside) {
            return Err(Error::value("places", format!("{place}, the arena has {}", slots * samples)));
        }
        targets.push(each.target);
        let (begin, operands) = (places.len() as u32, each.operands.len() as u32);
        let at = each.container.map_or(NONE, |at| at as u32);
        items.extend([each.gather as u32, each.target, container, base, count, begin, operands, at]);
        places.extend_from_slice(&each.operands);
    }
    targets.sort_unstable();
    if let Some((twice, _)) = targets.iter().zip(targets.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Error::value("places", format!("{twice} is written by two maps")));
    }
    if let Some(place) = places.iter().find(|place| targets.binary_search(place).is_ok()) {
        return Err(Error::value("places", format!("{place} is read by a map and written by one")));
    }
    Ok((items, places))
}

/// How many elements the containers of maps have. Where there is nothing to lay out - an operand failed, or has no form for
/// that - there is no number, and the result is written: the error, or that it is spilled.
///
/// # Errors
/// When a place is not there, or the device fails.
pub fn count_each<B: Elements>(b: &B, arena: &mut Arena<B>, all: &[Each]) -> Result<Vec<Option<u32>>> {
    let (items, places) = listed(arena, all.iter().map(|each| (each, 0, 0)))?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let p = EachParams { items: all.len() as u32, elements: 0, first: 0, last: 0 };
    let items = Tensor::from_slice(b, [all.len(), ITEM], &items)?;
    let places = Tensor::from_slice(b, [places.len()], &places)?;
    let mut counts = Tensor::<B, u32, 1>::scratch(b, [all.len()])?;
    let (payloads, heads) = (arena.payloads.flat(), arena.heads.flat_mut());
    b.count_unchecked(p, (items.flat(), places.flat()), payloads, heads, counts.flat_mut())?;
    Ok(counts.to_vec(b)?.into_iter().map(|count| (count != NONE).then_some(count)).collect())
}

/// Checks where maps lie in an arena of elements.
fn laid_out<B: Backend>(elements: &Arena<B>, all: &[Laid]) -> Result<()> {
    let samples = elements.shape()[1];
    let mut end = 0;
    for laid in all {
        if laid.base as usize != end {
            return Err(Error::value("base", format!("{}, and {end} is where this map begins", laid.base)));
        }
        end += laid.count as usize;
    }
    if end > samples {
        return Err(Error::value("maps", format!("they have {end} elements, the arena has room for {samples}")));
    }
    Ok(())
}

/// Lays out the elements of containers that [`count_each`] counted, one map behind the other: elements in slot 0, what the
/// functions have captured, in their order, in the slots behind it.
///
/// # Errors
/// When a place or slot is not there, maps do not lie one behind the other, or the device fails.
pub fn spread_each<B: Elements>(b: &B, arena: &Arena<B>, elements: &mut Arena<B>, all: &[Laid]) -> Result<()> {
    let (items, places) = listed(arena, all.iter().map(|laid| (&laid.each, laid.base, laid.count)))?;
    laid_out(elements, all)?;
    let [slots, samples] = elements.shape();
    let most = |laid: &Laid| laid.each.operands.len() + usize::from(laid.each.container.is_none());
    if let Some(laid) = all.iter().find(|laid| most(laid) > slots) {
        return Err(Error::value("slots", format!("{slots}, a map has {} operands", laid.each.operands.len())));
    }
    if all.is_empty() || samples == 0 {
        return Ok(());
    }
    let p = EachParams { items: all.len() as u32, elements: samples as u32, first: 0, last: 0 };
    let items = Tensor::from_slice(b, [all.len(), ITEM], &items)?;
    let places = Tensor::from_slice(b, [places.len()], &places)?;
    let from = (arena.heads.flat(), arena.payloads.flat());
    b.spread_unchecked(
        p,
        (items.flat(), places.flat()),
        from,
        (elements.heads.flat_mut(), elements.payloads.flat_mut()),
    )
}

/// Writes what maps give, from the slots of their function's calls; the last of these is the function's result.
///
/// # Errors
/// When a place or slot is not there, or the device fails.
pub fn gather_each<B: Elements>(
    b: &B,
    arena: &mut Arena<B>,
    elements: &Arena<B>,
    all: &[Laid],
    calls: std::ops::RangeInclusive<u32>,
) -> Result<()> {
    let (items, _) = listed(arena, all.iter().map(|laid| (&laid.each, laid.base, laid.count)))?;
    laid_out(elements, all)?;
    let ([slots, samples], first, last) = (elements.shape(), *calls.start(), *calls.end());
    if first > last || last as usize >= slots {
        return Err(Error::value("slots", format!("{first} to {last}, the arena has {slots}")));
    }
    if all.is_empty() {
        return Ok(());
    }
    let p = EachParams { items: all.len() as u32, elements: samples as u32, first, last };
    let items = Tensor::from_slice(b, [all.len(), ITEM], &items)?;
    let from = (elements.heads.flat(), elements.payloads.flat());
    b.gather_unchecked(p, items.flat(), from, (arena.heads.flat_mut(), arena.payloads.flat_mut()))
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

/// A map's words.
struct Item {
    gather: Gather,
    target: usize,
    container: Option<usize>,
    base: usize,
    count: usize,
    operands: std::ops::Range<usize>,
    /// The place of the container among all operands.
    at: Option<usize>,
}

impl Item {
    fn all(words: &[u32]) -> Vec<Self> {
        let of = |w: &[u32]| Self {
            gather: Gather::ALL[w[0] as usize],
            target: w[1] as usize,
            container: (w[2] != NONE).then_some(w[2] as usize),
            base: w[3] as usize,
            count: w[4] as usize,
            operands: w[5] as usize..(w[5] + w[6]) as usize,
            at: (w[7] != NONE).then_some((w[5].wrapping_add(w[7])) as usize),
        };
        words.chunks_exact(ITEM).map(of).collect()
    }
}

/// The elements of a map's container, or what it gives without looking at them.
fn counted(item: &Item, places: &[u32], heads: &[i32], payloads: &[u32]) -> std::result::Result<u32, Out> {
    let operands = places[item.operands.clone()].iter().map(|&place| arg(heads, payloads, place as usize));
    if let Some(out) = Arg::unfit(operands) {
        return Err(out);
    }
    // Many copies weigh more than the fuel that is reckoned with.
    let copies = |operand: &usize| {
        let x = arg(heads, payloads, places[*operand] as usize);
        item.at != Some(*operand) && x.is(Form::Strips) && x.c & COPIES != 0
    };
    if item.operands.clone().any(|operand| copies(&operand)) {
        return Err(Out::Spill(Spill::Kind));
    }
    match item.container.map(|at| arg(heads, payloads, at)) {
        None => Ok(1),
        Some(x) if item.gather.takes(&x) => Ok(elements(&x).len() as u32),
        Some(_) => Err(Out::Spill(Spill::Kind)),
    }
}

impl Elements for Cpu {
    fn count_unchecked(
        &self,
        _: EachParams,
        items: Items<'_, Self>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (items, places, payloads) = (Item::all(self.read(items.0)?), self.read(items.1)?, self.read(payloads)?);
        let (heads, counts) = (self.write(heads)?, self.write(counts)?);
        let done: Vec<_> = items.par_iter().map(|item| counted(item, places, heads, payloads)).collect();
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
        items: Items<'_, Self>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let (items, places) = (Item::all(self.read(items.0)?), self.read(items.1)?);
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        for item in items {
            if let Some(at) = item.container {
                for (k, out) in elements(&arg(heads, payloads, at)).into_iter().enumerate() {
                    write(out_heads, out_payloads, item.base + k, out);
                }
            }
            let captured = item.operands.filter(|&operand| item.at != Some(operand));
            for (slot, place) in captured.map(|operand| places[operand] as usize).enumerate() {
                for k in 0..item.count {
                    let to = (slot + 1) * p.elements as usize + item.base + k;
                    out_heads[to * HEAD..][..HEAD].copy_from_slice(&heads[place * HEAD..][..HEAD]);
                    out_payloads[to * PAYLOAD..][..PAYLOAD].copy_from_slice(&payloads[place * PAYLOAD..][..PAYLOAD]);
                }
            }
        }
        Ok(())
    }

    fn gather_unchecked(
        &self,
        p: EachParams,
        items: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let items = Item::all(self.read(items)?);
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        let one = |item: &Item| {
            let container = item.container.map(|at| arg(out_heads, out_payloads, at));
            let of = |slot: u32, k: usize| arg(heads, payloads, (slot * p.elements) as usize + item.base + k);
            let spilled = |k: usize| {
                let calls = (p.first..=p.last).map(|slot| of(slot, k));
                calls.into_iter().find(|x| x.is(Form::Spilled)).map(|x| Spill::of(x.a))
            };
            let slot = |slot: u32| (0..item.count).map(|k| of(slot, k)).collect::<Vec<_>>();
            chosen(item.gather, container.as_ref(), &slot(0), &slot(p.last), spilled)
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
        items: Items<'_, Self>,
        payloads: View<'_, Self, u32>,
        heads: ViewMut<'_, Self, i32>,
        counts: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_count")?;
        let launch = kernel.read(items.0)?.read(items.1)?.read(payloads)?.write(heads)?.write(counts)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_count(const uint* items, const uint* places, const uint* payloads, int* heads, uint* counts,
        // EachParams p); `listed` has checked that all places are inside of the arena.
        unsafe { launch.launch() }
    }

    fn spread_unchecked(
        &self,
        p: EachParams,
        items: Items<'_, Self>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_spread")?;
        let launch = kernel.read(items.0)?.read(items.1)?.read(from.0)?.read(from.1)?;
        let launch = launch.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_spread(const uint* items, const uint* places, const int* heads, const uint* payloads,
        // int* out_heads, uint* out_payloads, EachParams p); `listed` and `laid_out` have checked places and slots, and the
        // kernel writes no more elements of a map than its count.
        unsafe { launch.launch() }
    }

    fn gather_unchecked(
        &self,
        p: EachParams,
        items: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_gather")?;
        let launch = kernel.read(items)?.read(from.0)?.read(from.1)?.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.items as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_gather(const uint* items, const int* heads, const uint* payloads, int* out_heads,
        // uint* out_payloads, EachParams p); `listed` and `laid_out` have checked places and slots.
        unsafe { launch.launch() }
    }
}
