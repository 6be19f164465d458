//! Results of closures on single arguments, kept while one sample is computed.
//!
//! Programs nest maps over the same containers: the same closure meets the same element again and again. What is kept is
//! the result and the fuel that it took, which is spent again: values, errors and fuel are those of computing anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::val::{Closure, Lookups, Val};
use crate::error::Result;
use crate::value::Maker;

/// Calls that took fewer visits are done again sooner than looked up.
pub(super) const WORTH: u32 = if cfg!(test) { 8 } else { 96 };

/// Closures with hits whose calls take fewer visits than this keep the closures inside of them from being looked up, too.
pub(super) const SMALL: u32 = 4096;

/// So many entries are kept at most: some 150 MB of them where results are small, which only programs that map over maps of
/// maps come to. See [`room`].
const MOST: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };

/// After so many calls without a good share of hits a closure is not looked up any more.
pub(super) const PATIENCE: u32 = 1 << 14;

/// What was kept leaves room for so many entries.
pub(super) const ROOM: usize = 1 << 14;

/// What a result of some weight counts for beside itself: small ones are no larger than their entries.
pub(super) fn room(weight: u64) -> usize {
    (weight / 32) as usize
}

/// A closure by its place, how deep the call is, and the argument: small values by themselves, others by their place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    closure: usize,
    depth: u32,
    shape: u8,
    first: u128,
    second: u128,
}

impl Key {
    fn hash(&self) -> u64 {
        let mut state = Mix::default();
        state.write_u64(self.closure as u64 ^ (u64::from(self.depth) << 48) ^ u64::from(self.shape));
        state.write_u64(self.first as u64);
        state.write_u64((self.first >> 64) as u64 ^ self.second as u64);
        state.write_u64((self.second >> 64) as u64);
        state.finish()
    }
}

/// A few multiplications: keys are places and small numbers.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(26) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A result, with what its key's places belong to: as long as that lives no other value is there.
struct Entry {
    key: Key,
    result: Result<Val>,
    fuel: u64,
    /// The entry that was asked for after this one.
    next: u32,
    /// What the key's places belong to.
    #[allow(dead_code, reason = "it is there to live")]
    alive: (Arc<Closure>, Val),
}

/// Results by closure and argument.
#[derive(Default)]
pub(super) struct Memo {
    entries: Vec<Entry>,
    /// What all entries count for.
    room: usize,
    /// Entries by the hashes of their keys; of several with one hash it knows the last.
    places: HashMap<u64, u32, BuildHasherDefault<Mix>>,
    /// The entry that was asked for last.
    last: u32,
    /// Since the memo is full, or since that was last looked at: hits, and results that found no room.
    hits: u64,
    refused: u32,
}

/// So many closures are kept at most.
const MOST_MADE: usize = 1 << 16;

/// What a closure is made of: its maker's number, and its arguments.
#[derive(PartialEq, Eq)]
struct Parts {
    maker: u64,
    args: [u128; 3],
}

impl std::hash::Hash for Parts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.maker);
        for arg in self.args {
            state.write_u64(arg as u64 ^ (arg >> 64) as u64);
        }
    }
}

/// Closures that calls have made, by what they are made of: the same one again keeps its place, and with it its results.
#[derive(Default)]
pub(super) struct Made {
    closures: HashMap<Parts, Val, BuildHasherDefault<Mix>>,
    /// By the parts without the last argument: whether looking up results of such closures is of use.
    families: HashMap<Parts, Arc<Lookups>, BuildHasherDefault<Mix>>,
    tries: u64,
    hits: u64,
}

impl Made {
    pub(super) fn forget(&mut self) {
        self.closures.clear();
        self.closures.shrink_to(ROOM);
        self.families.clear();
        (self.tries, self.hits) = (0, 0);
    }

    /// A closure of these arguments, which have been checked.
    pub(super) fn closure(&mut self, maker: Maker, args: &[&Val]) -> Val {
        let new = || Val::closure(maker, args.iter().map(|v| (*v).clone()).collect());
        if self.tries >= PATIENCE.into() && self.hits < self.tries / 8 || args.len() > 3 {
            return new();
        }
        self.tries += 1;
        let mut parts = Parts { maker: maker as u64, args: [0; 3] };
        parts.args.iter_mut().zip(args).for_each(|(to, arg)| *to = token(arg));
        if let Some(closure) = self.closures.get(&parts) {
            self.hits += 1;
            return closure.clone();
        }
        if self.closures.len() >= MOST_MADE {
            self.closures.clear();
            self.families.clear();
        }
        let mut first = Parts { maker: parts.maker, args: parts.args };
        first.args[args.len().saturating_sub(1)] = 0;
        let family = self.families.entry(first).or_default().clone();
        let closure = Val::closure_of(maker, args.iter().map(|v| (*v).clone()).collect(), Some(family));
        self.closures.insert(parts, closure.clone());
        closure
    }
}

/// What identifies a value while it lives.
pub(super) fn token(value: &Val) -> u128 {
    let number = |n: i32| u128::from(n as u32);
    let place = |tag: u128, at: usize| tag << 120 | at as u128;
    match value {
        Val::None => 1 << 120,
        Val::Bool(b) => 2 << 120 | u128::from(*b),
        Val::Int(n) => 3 << 120 | number(*n),
        Val::Pair(i, j) => 4 << 120 | number(*i) << 32 | number(*j),
        Val::Cell(c, i, j) => 5 << 120 | number(*c) << 64 | number(*i) << 32 | number(*j),
        Val::Grid(grid) => place(6, Arc::as_ptr(grid) as usize),
        Val::Patch(patch) => place(7, Arc::as_ptr(patch) as usize),
        Val::Tuple(seq) => place(8, Arc::as_ptr(seq) as usize),
        Val::Set(seq) => place(9, Arc::as_ptr(seq) as usize),
        Val::Prim(prim) => 10 << 120 | *prim as u128,
        Val::Closure(closure) => place(11, Arc::as_ptr(closure) as usize),
    }
}

impl Memo {
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(ROOM);
        self.places.clear();
        self.places.shrink_to(ROOM);
        (self.room, self.last, self.hits, self.refused) = (0, 0, 0, 0);
    }

    pub(super) fn key(closure: &Arc<Closure>, depth: u32, arg: &Val) -> Key {
        let closure = Arc::as_ptr(closure) as usize;
        if let Val::Tuple(seq) = arg
            && let [first, second] = &seq.items[..]
        {
            return Key { closure, depth, shape: 2, first: token(first), second: token(second) };
        }
        Key { closure, depth, shape: 1, first: token(arg), second: 0 }
    }

    /// Whether calls of a closure are still looked up.
    pub(super) fn is_patient(closure: &Closure) -> bool {
        let (tries, hits) = closure.family();
        tries < PATIENCE || hits >= tries / 8
    }

    pub(super) fn get(&mut self, closure: &Closure, key: &Key) -> Option<(Result<Val>, u64)> {
        let found = self.find(key);
        closure.tried(found.is_some());
        let entry = &self.entries[found? as usize];
        Some((entry.result.clone(), entry.fuel))
    }

    /// The entry that came next before: maps come in the same order again.
    fn next(&self) -> u32 {
        self.entries.get(self.last as usize).map_or(0, |last| last.next)
    }

    /// The same as [`Self::get`] if it is the entry that came next before.
    #[inline]
    pub(super) fn again(&mut self, closure: &Arc<Closure>, depth: u32, arg: &Val) -> Option<(Result<Val>, u64)> {
        let next = self.next();
        let entry = self.entries.get(next as usize)?;
        let same = entry.key.closure == Arc::as_ptr(closure) as usize && entry.key == Self::key(closure, depth, arg);
        if !same {
            return None;
        }
        closure.tried(true);
        self.last = next;
        self.hits += 1;
        Some((entry.result.clone(), entry.fuel))
    }

    fn find(&mut self, key: &Key) -> Option<u32> {
        let next = self.next();
        let is = |at: &u32| self.entries.get(*at as usize).is_some_and(|entry| entry.key == *key);
        let at = if is(&next) {
            next
        } else {
            let at = *self.places.get(&key.hash()).filter(|at| is(at))?;
            self.entries[self.last as usize].next = at;
            at
        };
        self.last = at;
        self.hits += 1;
        Some(at)
    }

    pub(super) fn put(&mut self, key: Key, closure: &Arc<Closure>, arg: &Val, result: &Result<Val>, fuel: u64) {
        let own = 1 + result.as_ref().map_or(0, |value| room(value.weight().into()));
        if own > MOST / 16 {
            return;
        }
        if self.room + own > MOST {
            // Entries that are asked for stay: whoever goes round more of them than fit would find none otherwise.
            let all = self.entries.len() as u64;
            self.refused += 1;
            if u64::from(self.refused) < all {
                return;
            }
            if self.hits > all / 4 {
                (self.hits, self.refused) = (0, 0);
                return;
            }
            *self = Self::default();
        }
        self.room += own;
        let at = self.entries.len() as u32;
        let alive = (closure.clone(), arg.clone());
        self.places.insert(key.hash(), at);
        self.entries.push(Entry { key, result: result.clone(), fuel, next: at + 1, alive });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::Prim;

    fn closure() -> Arc<Closure> {
        match Val::closure(Maker::Lbind, vec![Val::Prim(Prim::Add), Val::Int(1)]) {
            Val::Closure(closure) => closure,
            _ => panic!("no closure"),
        }
    }

    /// Puts a result for each number that has none, and counts those that have.
    fn go_round(memo: &mut Memo, of: &Arc<Closure>, numbers: std::ops::Range<i32>) -> usize {
        let mut hits = 0;
        for n in numbers {
            let (arg, depth) = (Val::Int(n), 3);
            let key = Memo::key(of, depth, &arg);
            match memo.get(of, &key) {
                Some(found) => {
                    assert!(found == (Ok(Val::Int(-n)), 100 + n as u64), "{n}");
                    hits += 1;
                }
                None => memo.put(key, of, &arg, &Ok(Val::Int(-n)), 100 + n as u64),
            }
        }
        hits
    }

    #[test]
    fn results_that_are_asked_for_stay_and_others_make_room() {
        let (mut memo, of, most) = (Memo::default(), closure(), MOST as i32);
        let all = 0..most + most / 2;
        assert_eq!(go_round(&mut memo, &of, all.clone()), 0);
        for _ in 0..3 {
            assert_eq!(go_round(&mut memo, &of, all.clone()), MOST);
        }
        // Others find room once they have come by often enough.
        let others = 2 * most..2 * most + most / 2;
        let rounds = (0..5).position(|_| go_round(&mut memo, &of, others.clone()) == others.len());
        assert!(rounds.is_some_and(|n| n > 1), "{rounds:?}");
    }

    #[test]
    fn closures_of_the_same_parts_are_one() {
        let mut made = Made::default();
        let place = |v: &Val| match v {
            Val::Closure(closure) => Arc::as_ptr(closure) as usize,
            _ => 0,
        };
        let [add, one, two, flag] = [Val::Prim(Prim::Add), Val::Int(1), Val::Int(2), Val::Bool(true)];
        let first = made.closure(Maker::Lbind, &[&add, &one]);
        assert_eq!(place(&made.closure(Maker::Lbind, &[&add, &one])), place(&first));
        for (maker, arg) in [(Maker::Rbind, &one), (Maker::Lbind, &two), (Maker::Lbind, &flag)] {
            assert_ne!(place(&made.closure(maker, &[&add, arg])), place(&first));
        }
    }
}
