//! Instructions of several maps at once: each has places of its own in one arena, and as many items as the map has elements.
//!
//! The kernel is that of [`step`](super::step), and so is the floor: a warp finds the instruction of its item among all of a
//! step in two or three loads a lane.

use gpu_core::{Error, Result, Tensor};

use super::{Arena, Op, Step, StepParams, WORDS};

/// An instruction with places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranged {
    /// What is done.
    pub op: Op,
    /// The first place that is written.
    pub target: u32,
    /// The first places that are read; the operation says how many count.
    pub operands: [u32; 4],
    /// Operands that are one value for all items.
    pub same: [bool; 4],
    /// The number of a function, for operations that take one.
    pub key: u32,
    /// Items: so many places from the first one on.
    pub count: u32,
}

impl Ranged {
    fn end(&self) -> u64 {
        u64::from(self.target) + u64::from(self.count)
    }

    /// Places that are read.
    fn reads(&self) -> impl Iterator<Item = std::ops::Range<u64>> {
        let of = |(&from, &same): (&u32, &bool)| {
            let count = if same { 1 } else { self.count };
            u64::from(from)..u64::from(from) + u64::from(count)
        };
        self.operands.iter().zip(&self.same).take(self.op.operands()).map(of)
    }

    fn words(&self, begin: u32) -> [u32; WORDS] {
        let [x, y, z, u] = self.operands;
        let same = (0..).zip(self.same).map(|(k, same)| u32::from(same) << k).sum::<u32>();
        [self.op as u32 | (self.op.operands() as u32) << 16 | same << 24, begin, self.target, x, y, z, u, self.key]
    }
}

/// Checks the instructions of one step.
fn checked(places: u64, all: &[Ranged]) -> Result<()> {
    let mut written: Vec<_> = all.iter().map(|i| (u64::from(i.target)..i.end(), i.op)).collect();
    written.sort_unstable_by_key(|(own, _)| own.start);
    if let Some((own, op)) = written.iter().find(|(own, _)| own.end > places) {
        return Err(Error::value("places", format!("{op:?} writes up to {}, the arena has {places}", own.end)));
    }
    if let Some((_, (own, op))) = written.iter().zip(written.iter().skip(1)).find(|(a, b)| a.0.end > b.0.start) {
        return Err(Error::value("places", format!("{op:?} writes {}, as another one does", own.start)));
    }
    for i in all {
        let is_written = |read: &std::ops::Range<u64>| {
            let next = written.partition_point(|(own, _)| own.end <= read.start);
            written.get(next).is_some_and(|(own, _)| own.start < read.end)
        };
        if let Some(read) = i.reads().find(|read| read.end > places || is_written(read)) {
            let why =
                format!("{:?} reads {} to {} of {places}: not there, or being written", i.op, read.start, read.end);
            return Err(Error::value("places", why));
        }
    }
    Ok(())
}

/// Does steps one after the other, each of them for all of its instructions and their items at once.
///
/// # Errors
/// When an instruction names places that are not there, or that another one of its step writes, or the device fails.
pub fn step_each<B: Step>(b: &B, arena: &mut Arena<B>, steps: &[Vec<Ranged>]) -> Result<()> {
    let places = arena.shape().iter().product::<usize>() as u64;
    let (mut words, mut launches) = (Vec::new(), Vec::new());
    for all in steps {
        let mut all: Vec<Ranged> = all.iter().filter(|i| i.count > 0).copied().collect();
        checked(places, &all)?;
        all.sort_by_key(|i| i.op.labels());
        for part in all.chunk_by(|a, b| a.op.labels() == b.op.labels()) {
            let (from, mut items) = (words.len(), 0u64);
            for i in part {
                words.extend(i.words(items as u32));
                items += u64::from(i.count);
            }
            let many = |_| Error::value("items", format!("{items} are more than one step takes"));
            let p =
                StepParams { instructions: part.len() as u32, samples: 0, items: u32::try_from(items).map_err(many)? };
            launches.push((p, part[0].op.labels(), from..words.len()));
        }
    }
    if launches.is_empty() {
        return Ok(());
    }
    let words = Tensor::from_slice(b, [words.len()], &words)?;
    for (p, labels, range) in launches {
        b.step_unchecked(p, labels, words.flat().slice(range)?, arena.heads.flat_mut(), arena.payloads.flat_mut())?;
    }
    Ok(())
}
