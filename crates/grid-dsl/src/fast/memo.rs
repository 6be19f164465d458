//! Results of closures on single arguments, kept while one sample is computed.
//!
//! Programs nest maps over the same containers: the same closure meets the same element again and again. What is kept is
//! the result and the fuel that it took, which is spent again: values, errors and fuel are those of computing anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::val::{Closure, Val};
use crate::error::Result;

/// Calls that took fewer visits are done again sooner than looked up.
pub(super) const WORTH: u32 = 96;

/// Closures with hits whose calls take fewer visits than this keep the closures inside of them from being looked up, too.
pub(super) const SMALL: u32 = 1024;

/// So many entries are kept at most.
const MOST: usize = 1 << 17;

/// After so many calls without a good share of hits a closure is not looked up any more.
const PATIENCE: u32 = 1 << 14;

/// A closure by its place, how deep the call is, and the argument: small values by themselves, others by their place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    closure: usize,
    depth: u32,
    shape: u8,
    first: u128,
    second: u128,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for part in [
            self.closure as u64 ^ (u64::from(self.depth) << 48) ^ u64::from(self.shape),
            self.first as u64,
            (self.first >> 64) as u64 ^ self.second as u64,
            (self.second >> 64) as u64,
        ] {
            state.write_u64(part);
        }
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
    result: Result<Val>,
    fuel: u64,
    _alive: (Arc<Closure>, Val),
}

/// Results by closure and argument.
#[derive(Default)]
pub(super) struct Memo {
    entries: HashMap<Key, Entry, BuildHasherDefault<Mix>>,
}

/// What identifies a value while it lives.
fn token(value: &Val) -> u128 {
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
        let (tries, hits) = closure.counts();
        tries < PATIENCE || hits >= tries / 8
    }

    pub(super) fn get(&self, closure: &Closure, key: &Key) -> Option<(Result<Val>, u64)> {
        let found = self.entries.get(key);
        closure.tried(found.is_some());
        found.map(|entry| (entry.result.clone(), entry.fuel))
    }

    pub(super) fn put(&mut self, key: Key, closure: &Arc<Closure>, arg: &Val, result: &Result<Val>, fuel: u64) {
        if self.entries.len() >= MOST {
            self.entries.clear();
        }
        let entry = Entry { result: result.clone(), fuel, _alive: (closure.clone(), arg.clone()) };
        self.entries.insert(key, entry);
    }
}
