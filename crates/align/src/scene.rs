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
    let work: Vec<(usize, usize)> = pairs.iter().copied().filter(|(a, b)| a != b).collect();
    let pictures: BTreeSet<usize> = work.iter().flat_map(|&(a, b)| [a, b]).collect();
    let mut results: BTreeMap<(usize, usize), PairResult> = BTreeMap::new();
    if !work.is_empty() {
        let mut g = Geometry::new(&first.cfa, first.size(), o)?;
        g.held = FourierPlan::held_bytes(b, g.fft[0], g.fft[1]);
        let plan = g.plan(pictures.len(), work.len(), memory::budget(b, o.memory))?;
        tracing::debug!(slots = plan.slots, batch = plan.batch, bytes = plan.bytes, "scene planned");
        let mut estimator = Estimator::new(b, &first.cfa, first.size(), o, plan.batch)?;
        let mut held = Held { store: estimator.store(plan.slots)?, pictures: vec![None; plan.slots] };
        for block in blocks(&work, &pictures, plan.slots) {
            held.load(&mut estimator, &block, frames)?;
            let slots = held.slots(&block);
            let mut found = estimator.align(&held.store, &slots)?;
            after(&estimator, &held.store, &slots, o, &mut found)?;
            for (pair, result) in block.iter().zip(found) {
                results.insert(*pair, result);
            }
        }
    }
    let of = |pair: &(usize, usize)| match results.get(pair) {
        Some(result) => Ok(result.clone()),
        None if pair.0 == pair.1 => Ok(PairResult::identity()),
        None => Err(Error::value("pairs", "a pair was left out")),
    };
    pairs.iter().map(of).collect()
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
struct Held<B: AlignBackend> {
    store: Store<B>,
    pictures: Vec<Option<usize>>,
}

impl<B: AlignBackend> Held<B> {
    fn find(&self, picture: usize) -> Option<usize> {
        self.pictures.iter().position(|held| *held == Some(picture))
    }

    /// Prepares what a block needs and does not find, in place of what it does not need.
    fn load(&mut self, estimator: &mut Estimator<B>, block: &[(usize, usize)], frames: &[RawFrame]) -> Result<()> {
        let needed: BTreeSet<usize> = block.iter().flat_map(|&(a, b)| [a, b]).collect();
        for &picture in &needed {
            if self.find(picture).is_some() {
                continue;
            }
            let free = self.pictures.iter().position(|held| held.is_none_or(|held| !needed.contains(&held)));
            let slot = free.ok_or_else(|| Error::value("slots", "a block has more pictures than slots"))?;
            estimator.prepare(&mut self.store, slot, &frames[picture])?;
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
