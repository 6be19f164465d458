use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::estimate::{Estimator, Geometry, Store};
use crate::kernels::FourierPlan;
use crate::{AlignBackend, Error, Options, PairResult, RawFrame, Result, ambiguity, memory, tiles};

/// The pairs of a scene whose first `gts` pictures are ground truths: every ground truth with every picture.
pub fn all_pairs(gts: usize, pictures: usize) -> Vec<(usize, usize)> {
    (0..gts).flat_map(|gt| (0..pictures).map(move |other| (gt, other))).collect()
}

/// Aligns `pairs` of pictures, `(ground truth, noisy)`, in their order.
///
/// Each picture is prepared once, unless memory is so short that it must be prepared again. A picture with itself is
/// [`PairResult::identity`] without work. Results do not depend on the memory, on the batches that it allows, or on the
/// number of threads.
///
/// # Errors
/// When a picture does not fit the first, an index is wrong, or not even one pair fits the memory.
pub fn align_scene<B: AlignBackend>(
    b: &B,
    frames: &[RawFrame],
    pairs: &[(usize, usize)],
    o: &Options,
) -> Result<Vec<PairResult>> {
    let Some(first) = frames.first() else { return Ok(Vec::new()) };
    for frame in frames {
        first.fits(frame)?;
    }
    if let Some(&(a, b)) = pairs.iter().find(|&&(a, b)| a.max(b) >= frames.len()) {
        return Err(Error::value("pairs", format!("({a}, {b}): there are {} pictures", frames.len())));
    }
    let Work { pictures, pairs: work } = Work::of(pairs);
    if work.is_empty() {
        return finished(pairs, &BTreeMap::new());
    }
    SceneWork::planned(b, first, (pictures.len(), work.len()), o)?.finish(|i| Ok(Cow::Borrowed(&frames[i])), pairs)
}

/// What of `pairs` takes work: all but those of a picture with itself.
struct Work {
    pictures: BTreeSet<usize>,
    pairs: Vec<(usize, usize)>,
}

impl Work {
    fn of(pairs: &[(usize, usize)]) -> Self {
        let pairs: Vec<(usize, usize)> = pairs.iter().copied().filter(|(a, b)| a != b).collect();
        Self { pictures: pairs.iter().flat_map(|&(a, b)| [a, b]).collect(), pairs }
    }
}

/// The results of `pairs`, from those of pairs that took work.
fn finished(pairs: &[(usize, usize)], found: &BTreeMap<(usize, usize), PairResult>) -> Result<Vec<PairResult>> {
    let of = |pair: &(usize, usize)| match found.get(pair) {
        Some(result) => Ok(result.clone()),
        None if pair.0 == pair.1 => Ok(PairResult::identity()),
        None => Err(Error::value("pairs", "a pair was left out")),
    };
    pairs.iter().map(of).collect()
}

/// A scene whose pictures arrive one by one: each is uploaded, prepared and transformed while others are still decoded.
#[derive(Debug)]
pub struct SceneWork<B: AlignBackend> {
    estimator: Estimator<B>,
    held: Held<B>,
    /// Pictures that may come.
    pictures: usize,
    options: Options,
}

impl<B: AlignBackend> SceneWork<B> {
    /// Takes the memory for a scene of at most so many pictures and pairs, all like `first`.
    ///
    /// # Errors
    /// For pictures that cannot be aligned, and when not even one pair fits the memory.
    pub fn new(b: &B, first: &RawFrame, pictures: usize, pairs: usize, o: &Options) -> Result<Self> {
        Self::planned(b, first, (pictures, pairs), o)
    }

    fn planned(b: &B, first: &RawFrame, (pictures, pairs): (usize, usize), o: &Options) -> Result<Self> {
        let mut g = Geometry::new(&first.cfa, first.size(), o)?;
        g.held = FourierPlan::held_bytes(b, g.fft[0], g.fft[1]);
        let plan = g.plan(pictures, pairs, memory::budget(b, o.memory))?;
        tracing::debug!(slots = plan.slots, batch = plan.batch, bytes = plan.bytes, "scene planned");
        let estimator = Estimator::new(b, &first.cfa, first.size(), o, plan.batch)?;
        let held = Held { store: estimator.store(plan.slots)?, pictures: vec![None; plan.slots] };
        Ok(Self { estimator, held, pictures, options: *o })
    }

    /// Takes up another scene, of at most so many pictures like `first`, with the memory, the tables and the transforms that
    /// the last one had. `None`, and all of that is given back, where the scene is of another kind, on another device, or
    /// larger than the memory.
    #[must_use]
    pub fn again(mut self, b: &B, first: &RawFrame, pictures: usize, o: &Options) -> Option<Self> {
        let fits = self.is_on(b)
            && self.options == *o
            && pictures <= self.held.pictures.len()
            && self.estimator.is_for(&first.cfa, first.size());
        self.pictures = pictures;
        self.held.pictures.fill(None);
        fits.then_some(self)
    }

    /// Whether it works on this backend's device.
    pub fn is_on(&self, b: &B) -> bool {
        self.estimator.device().ordinal == b.device().ordinal
    }

    /// Prepares a picture as soon as it is there, if there is room for it; `picture` is its number in
    /// [`finish`](Self::finish). Says whether its pixels are needed no more: there is room for all pictures.
    ///
    /// # Errors
    /// When it is of another size or pattern, and what the device says.
    pub fn add(&mut self, picture: usize, frame: &RawFrame) -> Result<bool> {
        let slots = self.held.pictures.len();
        match self.held.pictures.iter().position(Option::is_none) {
            Some(slot) if self.held.find(picture).is_none() => {
                self.estimator.prepare(&mut self.held.store, slot, frame)?;
                self.held.pictures[slot] = Some(picture);
                Ok(slots >= self.pictures)
            }
            _ => Ok(false),
        }
    }

    /// Aligns `pairs` as [`align_scene`] does; `frame` gives the pictures, for those that had no room. It may read them again.
    ///
    /// # Errors
    /// What `frame` and the device say.
    pub fn finish<'a>(
        &mut self,
        frame: impl Fn(usize) -> Result<Cow<'a, RawFrame>>,
        pairs: &[(usize, usize)],
    ) -> Result<Vec<PairResult>> {
        let Work { pictures, pairs: work } = Work::of(pairs);
        let mut results: BTreeMap<(usize, usize), PairResult> = BTreeMap::new();
        for block in blocks(&work, &pictures, self.held.pictures.len()) {
            self.held.load(&mut self.estimator, &block, &frame)?;
            let slots = self.held.slots(&block);
            let mut found = self.estimator.align(&self.held.store, &slots)?;
            after(&self.estimator, &self.held.store, &slots, &self.options, &mut found)?;
            for (pair, result) in block.iter().zip(found) {
                results.insert(*pair, result);
            }
        }
        finished(pairs, &results)
    }
}

/// What needs no more than the proxies of pairs and their shifts: doubts about places, and tiles where they are asked for.
fn after<B: AlignBackend>(
    estimator: &Estimator<B>,
    store: &Store<B>,
    slots: &[(usize, usize)],
    o: &Options,
    results: &mut [PairResult],
) -> Result<()> {
    ambiguity::look(estimator, store, slots, results)?;
    if o.tiles { tiles::look(estimator, store, slots, results) } else { Ok(()) }
}

/// Pairs that are worked on together: their pictures fit into the slots.
fn blocks(work: &[(usize, usize)], pictures: &BTreeSet<usize>, slots: usize) -> Vec<Vec<(usize, usize)>> {
    if pictures.len() <= slots {
        return vec![work.to_vec()];
    }
    let gts: Vec<usize> = work.iter().map(|p| p.0).collect::<BTreeSet<_>>().into_iter().collect();
    let others: Vec<usize> = work.iter().map(|p| p.1).collect::<BTreeSet<_>>().into_iter().collect();
    // Ground truths stay where they can, and noisy pictures pass by.
    let together = if gts.len() < slots { gts.len() } else { (slots / 2).max(1) };
    let mut blocks = Vec::new();
    for gts in gts.chunks(together) {
        for others in others.chunks(slots - together) {
            let block: Vec<_> = work.iter().copied().filter(|(a, b)| gts.contains(a) && others.contains(b)).collect();
            if !block.is_empty() {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// Pictures that are held at the moment.
#[derive(Debug)]
struct Held<B: AlignBackend> {
    store: Store<B>,
    pictures: Vec<Option<usize>>,
}

impl<B: AlignBackend> Held<B> {
    fn find(&self, picture: usize) -> Option<usize> {
        self.pictures.iter().position(|held| *held == Some(picture))
    }

    /// Prepares what a block needs and does not find, in place of what it does not need.
    fn load<'a>(
        &mut self,
        estimator: &mut Estimator<B>,
        block: &[(usize, usize)],
        frame: &impl Fn(usize) -> Result<Cow<'a, RawFrame>>,
    ) -> Result<()> {
        let needed: BTreeSet<usize> = block.iter().flat_map(|&(a, b)| [a, b]).collect();
        for &picture in &needed {
            if self.find(picture).is_some() {
                continue;
            }
            let free = self.pictures.iter().position(|held| held.is_none_or(|held| !needed.contains(&held)));
            let slot = free.ok_or_else(|| Error::value("slots", "a block has more pictures than slots"))?;
            estimator.prepare(&mut self.store, slot, &*frame(picture)?)?;
            self.pictures[slot] = Some(picture);
        }
        Ok(())
    }

    fn slots(&self, block: &[(usize, usize)]) -> Vec<(usize, usize)> {
        block.iter().filter_map(|&(a, b)| Some((self.find(a)?, self.find(b)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_pair_once_and_fit() {
        let work: Vec<_> = all_pairs(3, 9).into_iter().filter(|(a, b)| a != b).collect();
        let pictures: BTreeSet<usize> = (0..9).collect();
        for slots in 2..12 {
            let blocks = blocks(&work, &pictures, slots);
            let mut seen: Vec<_> = blocks.iter().flatten().copied().collect();
            seen.sort_unstable();
            let mut wanted = work.clone();
            wanted.sort_unstable();
            assert_eq!(seen, wanted, "{slots}");
            for block in &blocks {
                let needed: BTreeSet<_> = block.iter().flat_map(|&(a, b)| [a, b]).collect();
                assert!(needed.len() <= slots, "{slots}");
            }
        }
    }
}
