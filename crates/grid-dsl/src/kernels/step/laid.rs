//! Where maps lie: slots of all samples of an arena, and where their elements are laid out.

use gpu_core::{Backend, Error, Result, Tensor};

use super::Arena;
use super::each::{Each, EachParams, Gather, ITEM, MAP, NONE};

/// Samples of a map, and where their elements lie in an arena that many maps share: one slot of the map behind the other, in
/// each of them the elements of one sample behind those of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// The map.
    pub each: Each,
    /// The first place of its own there.
    pub place: u32,
    /// Slots of the function's calls: they stand behind those of elements and of what is captured.
    pub calls: u32,
    /// Samples in ascending order, and how many elements each of them has. A map may come in several parts, each with the
    /// samples behind those of another one.
    pub samples: Vec<(u32, u32)>,
}

impl Laid {
    /// Elements of all samples.
    pub fn elements(&self) -> u32 {
        self.samples.iter().map(|(_, count)| count).sum()
    }

    /// The first place of a slot.
    pub fn slot(&self, slot: u32) -> u32 {
        self.place + slot * self.elements()
    }
}

/// Maps that lie side by side in an arena of elements, as the kernels read them.
#[derive(Debug)]
pub struct Layout<B: Backend> {
    pub(super) p: EachParams,
    pub(super) list: Tensor<B, u32, 1>,
    /// Of the arena of values, and of that of elements.
    shapes: [[usize; 2]; 2],
}

impl<B: Backend> Layout<B> {
    /// Lists maps for [`spread_each`](super::spread_each) and [`gather_each`](super::gather_each).
    ///
    /// # Errors
    /// When a slot, a sample or a place is not there, maps share one, or the device fails.
    pub fn new(b: &B, arena: &Arena<B>, elements: &Arena<B>, all: &[Laid]) -> Result<Self> {
        let [slots, samples] = arena.shape();
        let shapes = [arena.shape(), elements.shape()];
        let places: usize = elements.shape().iter().product();
        let (mut maps, operands) = listed(slots, all.iter().map(|laid| &laid.each))?;
        let (mut items, mut own, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (laid, map)) in (0..).zip(all.iter().zip(maps.chunks_exact_mut(MAP))) {
            let (mut base, mut least) = (0u64, 0);
            for &(sample, count) in &laid.samples {
                if sample as usize >= samples || sample < least {
                    let why = format!("{sample}, the arena has {samples}, and {least} is the least to come");
                    return Err(Error::value("samples", why));
                }
                least = sample + 1;
                items.extend([number, sample, base as u32, count]);
                base += u64::from(count);
            }
            let first = laid.each.first();
            let end = u64::from(laid.place) + base * u64::from(first + laid.calls);
            if laid.calls == 0 || end > places as u64 || end > u64::from(u32::MAX) {
                let why = format!("{} calls of {base} elements from {} on, of {places}", laid.calls, laid.place);
                return Err(Error::value("places", why));
            }
            own.push(u64::from(laid.place)..end);
            written.extend(laid.samples.first().map(|first| (laid.each.target, first.0, least)));
            map[PLACES..].copy_from_slice(&[laid.place, base as u32, first, first + laid.calls - 1]);
        }
        own.sort_unstable_by_key(|own| (own.start, own.end));
        if let Some((_, two)) = own.iter().zip(own.iter().skip(1)).find(|(one, two)| one.end > two.start) {
            return Err(Error::value("places", format!("{} belongs to two maps", two.start)));
        }
        written.sort_unstable();
        let pairs = || written.iter().zip(written.iter().skip(1));
        if let Some((_, two)) = pairs().find(|(one, two)| one.0 == two.0 && two.1 < one.2) {
            return Err(Error::value("samples", format!("{} and others of slot {} are in two parts", two.1, two.0)));
        }
        let p = EachParams {
            items: (items.len() / ITEM) as u32,
            samples: samples as u32,
            operands: maps.len() as u32,
            each: (maps.len() + operands.len()) as u32,
        };
        let list = [maps, operands, items].concat();
        Ok(Self { p, list: Tensor::from_slice(b, [list.len()], &list)?, shapes })
    }

    /// Checks that these are the arenas that maps were listed for; whether there is anything to do.
    pub(super) fn of(&self, arena: &Arena<B>, elements: &Arena<B>) -> Result<bool> {
        for (own, other) in self.shapes.iter().zip([arena.shape(), elements.shape()]) {
            if *own != other {
                return Err(Error::shape("arena", own, &other));
            }
        }
        Ok(self.p.items > 0)
    }
}

/// Where in a map's words its places begin.
const PLACES: usize = 6;

/// Maps as words, and their operands.
pub(super) fn listed<'e>(slots: usize, all: impl Iterator<Item = &'e Each>) -> Result<(Vec<u32>, Vec<u32>)> {
    let (mut maps, mut operands, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for each in all {
        let container = match each.container {
            Some(at) => each.operands.get(at).copied(),
            None if each.gather == Gather::Call => Some(NONE),
            None => None,
        };
        let Some(container) = container else {
            return Err(Error::value("maps", format!("{:?} has no container among its operands", each.gather)));
        };
        let outside = |slot: &&u32| **slot as usize >= slots;
        if let Some(slot) = each.operands.iter().chain([&each.target]).find(outside) {
            return Err(Error::value("slots", format!("{slot}, the arena has {slots}")));
        }
        targets.push(each.target);
        let (begin, count) = (operands.len() as u32, each.operands.len() as u32);
        let at = each.container.map_or(NONE, |at| at as u32);
        maps.extend([each.gather as u32, each.target, container, begin, count, at, 0, 0, 0, 0]);
        operands.extend_from_slice(&each.operands);
    }
    targets.sort_unstable();
    if let Some(slot) = operands.iter().find(|slot| targets.binary_search(slot).is_ok()) {
        return Err(Error::value("slots", format!("{slot} is read by a map and written by one")));
    }
    Ok((maps, operands))
}
