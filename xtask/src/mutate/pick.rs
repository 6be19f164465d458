//! Choosing faults: the same ones for the same seed, spread over the kinds.

use std::collections::BTreeMap;

use super::faults::{Fault, Kind};
use crate::workspace::digest;

/// A generator of numbers (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// One of its own for each name, so that leaving out kernels does not change the faults of others.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let hash = digest([seed.to_le_bytes().as_slice(), name.as_bytes()]);
        Self(
            hash.bytes()
                .take(16)
                .fold(0, |sum, digit| (sum << 4) | u64::from((digit as char).to_digit(16).unwrap_or(0))),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

/// At most `count` of the faults, one of each kind before a second of any, in the order of their lines.
pub(crate) fn pick(faults: &[Fault], count: usize, dice: &mut Dice) -> Vec<Fault> {
    let mut by_kind: BTreeMap<Kind, Vec<&Fault>> = BTreeMap::new();
    for fault in faults {
        by_kind.entry(fault.kind).or_default().push(fault);
    }
    let mut kinds: Vec<Vec<&Fault>> = by_kind.into_values().collect();
    dice.shuffle(&mut kinds);
    for kind in &mut kinds {
        dice.shuffle(kind);
    }
    let rounds = kinds.iter().map(Vec::len).max().unwrap_or(0);
    let in_rounds = (0..rounds).flat_map(|round| kinds.iter().filter_map(move |kind| kind.get(round)));
    let mut picked: Vec<Fault> = in_rounds.take(count).map(|fault| (*fault).clone()).collect();
    picked.sort_by(|a, b| (a.line, &a.new).cmp(&(b.line, &b.new)));
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_take_turns_and_seeds_decide() {
        let fault = |line, kind| Fault { line, kind, old: String::new(), new: line.to_string() };
        let mut faults: Vec<Fault> = (0..50).map(|line| fault(line, Kind::Arithmetic)).collect();
        faults.extend([fault(50, Kind::Barrier), fault(51, Kind::Branch), fault(52, Kind::Branch)]);
        let kinds = |count, seed| {
            let mut kinds: Vec<Kind> =
                pick(&faults, count, &mut Dice::new(seed, "k")).iter().map(|fault| fault.kind).collect();
            kinds.sort();
            kinds
        };
        assert_eq!(kinds(3, 1), [Kind::Branch, Kind::Barrier, Kind::Arithmetic]);
        assert_eq!(kinds(5, 1), [Kind::Branch, Kind::Branch, Kind::Barrier, Kind::Arithmetic, Kind::Arithmetic]);
        assert_eq!(kinds(99, 1).len(), 53);
        let lines =
            |seed, name| pick(&faults, 9, &mut Dice::new(seed, name)).iter().map(|f| f.line).collect::<Vec<_>>();
        assert_eq!(lines(1, "k"), lines(1, "k"));
        assert!(lines(1, "k") != lines(2, "k") && lines(1, "k") != lines(1, "l"));
        assert!(lines(1, "k").is_sorted());
    }
}
