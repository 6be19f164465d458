//! Maps that closures have done, kept while one sample is computed.
//!
//! Programs nest maps so that one closure meets nearly the same container again and again: all objects but one, for each of
//! them. What is kept is the elements of the last such map in their order, each with its image and the fuel that it took: a run
//! of the same elements takes a comparison of places each, and no call.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use super::memo::{Mix, room, token};
use super::val::{Closure, Items, Val};

/// Maps of fewer elements are not looked up.
pub(super) const SHORTEST: usize = if cfg!(test) { 2 } else { 8 };

/// So many elements are kept at most: some 50 MB of them, where their images are small. See [`room`].
const MOST: usize = if cfg!(test) { 1 << 7 } else { 1 << 20 };

/// Elements with their images, for one closure.
#[derive(Default)]
pub(super) struct Row {
    items: Vec<Val>,
    images: Vec<Val>,
    /// How many of the images are no plain numbers.
    others: usize,
    /// Fuel and weight of all images before each.
    before: Vec<Sum>,
    sum: Sum,
}

/// Of images, together.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) fuel: u64,
    pub(super) weight: u64,
}

/// An image that was computed, and the place in the row of what came after its element.
pub(super) struct New {
    pub(super) at: usize,
    pub(super) item: Val,
    pub(super) image: Val,
    pub(super) fuel: u64,
}

/// Whether two values are one: the same small value in the same form, or the same place. The row keeps its values alive.
#[inline]
fn same(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::Patch(a), Val::Patch(b)) => Arc::ptr_eq(a, b),
        (Val::Pair(ai, aj), Val::Pair(bi, bj)) => (ai, aj) == (bi, bj),
        (Val::Cell(ac, ai, aj), Val::Cell(bc, bi, bj)) => (ac, ai, aj) == (bc, bi, bj),
        _ => token(a) == token(b),
    }
}

impl Row {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// What the row counts for.
    fn room(&self) -> usize {
        self.len() + room(self.sum.weight)
    }

    /// How many elements from `k` on are those from `at` on.
    pub(super) fn run(&self, at: usize, items: &Items, k: usize) -> usize {
        let Some(mine) = self.items.get(at..) else { return 0 };
        match items {
            Items::Slice(all) => mine.iter().zip(&all[k..]).take_while(|(a, b)| same(a, b)).count(),
            Items::Keys(patch) => {
                mine.iter().zip(&patch.keys[k..]).take_while(|(a, key)| same(a, &patch.element(**key))).count()
            }
            _ => mine.iter().zip(k..items.len()).take_while(|(a, k)| same(a, &items.get(*k))).count(),
        }
    }

    /// Appends the images of some elements.
    pub(super) fn extend(&self, to: &mut Vec<Val>, places: Range<usize>) {
        let images = &self.images[places];
        if self.others == 0 {
            // Numbers are copied without a look at what else they could be.
            to.extend(images.iter().map(|v| if let Val::Int(n) = v { Val::Int(*n) } else { Val::None }));
        } else {
            to.extend_from_slice(images);
        }
    }

    /// The image of an element.
    pub(super) fn image(&self, at: usize) -> &Val {
        &self.images[at]
    }

    /// Fuel and weight of the images at these places, together.
    pub(super) fn sum(&self, places: Range<usize>) -> Sum {
        let before = |at: usize| self.before.get(at).copied().unwrap_or(self.sum);
        let (from, to) = (before(places.start), before(places.end));
        Sum { fuel: to.fuel - from.fuel, weight: to.weight - from.weight }
    }

    fn push(&mut self, item: Val, image: Val, fuel: u64) {
        self.before.push(self.sum);
        self.sum.fuel += fuel;
        self.sum.weight += u64::from(image.weight());
        self.others += usize::from(!matches!(image, Val::Int(_)));
        self.items.push(item);
        self.images.push(image);
    }

    /// The row after a map of `n` elements, of which these were not in it.
    pub(super) fn with(self, new: Vec<New>, n: usize) -> Self {
        if new.is_empty() {
            return self;
        }
        // A row that knew less than half is of another container.
        let keep = 2 * new.len() <= n && self.len() + new.len() <= 2 * n;
        let mut to = Self::default();
        let mut old = 0..if keep { self.len() } else { 0 };
        for New { at, item, image, fuel } in new {
            while old.start < at.min(old.end) {
                to.take(&self, old.start);
                old.start += 1;
            }
            to.push(item, image, fuel);
        }
        old.for_each(|at| to.take(&self, at));
        to
    }

    fn take(&mut self, from: &Self, at: usize) {
        self.push(from.items[at].clone(), from.images[at].clone(), from.sum(at..at + 1).fuel);
    }
}

/// A row, and the closure that it is of: as long as that lives no other one is at its place.
type Kept = (Arc<Closure>, Row);

/// Rows by closure, and how deep its calls are.
#[derive(Default)]
pub(super) struct Rows {
    by_closure: HashMap<(usize, u32), Kept, BuildHasherDefault<Mix>>,
    /// What all rows count for.
    room: usize,
    /// Elements that were found, and that found no room, since there is none or since that was last looked at.
    hits: usize,
    refused: usize,
}

impl Rows {
    pub(super) fn forget(&mut self) {
        self.by_closure.clear();
        (self.room, self.hits, self.refused) = (0, 0, 0);
    }

    /// Takes a closure's row, an empty one if there is none.
    pub(super) fn take(&mut self, closure: &Arc<Closure>, depth: u32) -> Row {
        let row =
            self.by_closure.remove(&(Arc::as_ptr(closure) as usize, depth)).map(|(_, row)| row).unwrap_or_default();
        self.room -= row.room();
        row
    }

    /// Keeps a row that answered for so many elements.
    pub(super) fn put(&mut self, closure: &Arc<Closure>, depth: u32, row: Row, hits: usize) {
        self.hits += hits;
        let room = row.room();
        if self.room + room > MOST {
            // Rows that are asked for stay: whoever goes round more of them than fit would find none otherwise.
            self.refused += room;
            if self.refused < MOST {
                return;
            }
            let useful = self.hits > MOST / 4;
            (self.hits, self.refused) = (0, 0);
            if useful || room > MOST {
                return;
            }
            self.by_closure.clear();
            self.room = 0;
        }
        self.room += room;
        self.by_closure.insert((Arc::as_ptr(closure) as usize, depth), (closure.clone(), row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Limits;
    use crate::fast::Fast;
    use crate::machine::Machine;
    use crate::prim::Prim;
    use crate::value::{Function, Maker, Value};

    fn patch(n: i32) -> Value {
        Value::set((0..3 + n % 4).map(|k| Value::pair(n, k)).collect())
    }

    /// Containers of objects: all, all but one, others, and parts in order, as tuples and as sets.
    fn containers() -> Vec<Value> {
        let all: Vec<Value> = (0..24).map(patch).collect();
        let without = |n: usize| [&all[..n], &all[n + 1..]].concat();
        let mut containers = vec![Value::tuple(all.clone()), Value::set(all.clone())];
        containers.extend([0, 7, 8, 23].map(|n| Value::tuple(without(n))));
        containers.push(Value::tuple(all.iter().step_by(2).cloned().collect()));
        containers.push(Value::tuple(all.iter().rev().cloned().collect()));
        containers.push(Value::tuple((30..60).map(patch).collect()));
        containers.push(Value::tuple([&all[..5], &all[..5]].concat()));
        containers
    }

    #[test]
    fn maps_that_are_kept_are_those_of_the_definition() {
        let by = |fixed: i32| {
            let manhattan = Value::Fn(Function::Prim(Prim::Manhattan));
            Value::Fn(Function::closure(Maker::Lbind, vec![manhattan, patch(fixed)]))
        };
        let functions: Vec<Value> = (0..9).map(by).collect();
        // The elements of all containers are the same values at the same places, as those of programs are.
        let elements: Vec<Val> = (0..60).map(|n| Val::from(&patch(n))).collect();
        let shared = |value: &Value| {
            let own = |item: &Value| elements.iter().find(|e| e.to_value() == *item).cloned().unwrap();
            let items = value.items().unwrap().iter().map(own).collect();
            if matches!(value, Value::Set(_)) { Val::set(items) } else { Val::tuple(items) }
        };
        let containers: Vec<(Value, Val)> = containers().into_iter().map(|c| (c.clone(), shared(&c))).collect();
        let used = |limits: &Limits, by: &Value, c: &Value| {
            let mut machine = Machine::new(limits);
            let value = machine.prim(Prim::Apply, &[by.clone(), c.clone()]).map(|v| v.to_text());
            (value, machine.used())
        };
        let most = used(&Limits::default(), &functions[0], &containers[0].0).1;
        for (fuel, weight) in
            [(1 << 32, 1 << 24), (most, 1 << 24), (most - 1, 1 << 24), (most / 2, 1 << 24), (1 << 32, 20)]
        {
            let limits = Limits { weight, fuel, ..Limits::default() };
            let mut fast = Fast::new(&limits);
            let packed: Vec<Val> = functions.iter().map(Val::from).collect();
            for round in 0..3 {
                for (defined, by) in functions.iter().zip(&packed) {
                    for (container, items) in &containers {
                        fast.refill(0);
                        let found = fast.prim(Prim::Apply, &[by, items]).map(|v| v.to_value().to_text());
                        assert_eq!(
                            (found, fast.m.used()),
                            used(&limits, defined, container),
                            "{fuel} {weight} {round}"
                        );
                    }
                }
            }
        }
    }
}
