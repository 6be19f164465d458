//! Maps of closures over many numbers or locations, a whole column at a time.
//!
//! A closure that only computes with numbers does the same calls for each element: here each call is done for all elements
//! before the next one, on arrays. What does not depend on the element is called once, and its fuel counts for each. Whatever
//! could fail, or has no form here, makes the whole map fall back to one element after the other: then nothing has happened.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::machine::Fast;
use super::memo::{Mix, ROOM, token};
use super::val::{Items, Val, at, colour_of};
use crate::prim::Prim;
use crate::value::Maker;

mod map;
mod numbers;
#[cfg(test)]
mod tests;

use map::Map;
use numbers::Numbers;

/// Maps of fewer elements are done one by one.
const SHORTEST: usize = if cfg!(test) { 2 } else { 24 };

/// So many numbers are kept, or in work for one call: 16 MB of them.
const MOST: usize = if cfg!(test) { 1 << 8 } else { 1 << 22 };

/// One value for each element.
pub(super) enum Column {
    /// The same for all.
    One(Val),
    Int(Vec<i32>),
    Bool(Vec<bool>),
    /// One of these each.
    Pick(Vec<Val>, Vec<u32>),
    /// Tuples of one length, of which a part at least differs.
    Tuple(Vec<Shared>),
    /// Closures of one maker, of which an argument at least differs; how many arguments they take.
    Closure(Maker, Vec<Shared>, u8),
}

use Column::{Bool, Closure, Int, One, Pick, Tuple};

pub(super) type Shared = Arc<Column>;

impl Column {
    fn is_one(&self) -> bool {
        matches!(self, One(_))
    }

    /// The element's value.
    pub(super) fn get(&self, k: usize) -> Val {
        match self {
            One(value) => value.clone(),
            Int(all) => Val::Int(all[k]),
            Bool(all) => Val::Bool(all[k]),
            Pick(values, at) => values[at[k] as usize].clone(),
            Tuple(parts) => Val::tuple(parts.iter().map(|part| part.get(k)).collect()),
            Closure(maker, args, _) => Val::closure(*maker, args.iter().map(|arg| arg.get(k)).collect()),
        }
    }

    /// Whether the element's value is true.
    pub(super) fn truth(&self, k: usize) -> bool {
        match self {
            Int(all) => all[k] != 0,
            Bool(all) => all[k],
            Pick(values, at) => values[at[k] as usize].truth(),
            One(value) => value.truth(),
            Tuple(parts) => !parts.is_empty(),
            Closure(..) => true,
        }
    }

    /// The weight of each value, where all have the same.
    fn weight(&self) -> Option<u64> {
        match self {
            One(value) => Some(value.weight().into()),
            Int(_) | Bool(_) => Some(1),
            Pick(..) => None,
            Tuple(parts) | Closure(_, parts, _) => {
                parts.iter().try_fold(1u64, |sum, part| Some(sum.saturating_add(part.weight()?)))
            }
        }
    }

    /// The weights of all `n` values together.
    fn weights(&self, n: usize) -> u64 {
        match self {
            Pick(values, at) => {
                let weights: Vec<u64> = values.iter().map(|v| v.weight().into()).collect();
                at.iter().map(|&k| weights[k as usize]).sum()
            }
            Tuple(parts) | Closure(_, parts, _) => {
                parts.iter().fold(n as u64, |sum, part| sum.saturating_add(part.weights(n)))
            }
            other => other.weight().unwrap_or(1).saturating_mul(n as u64),
        }
    }

    /// The largest weight and depth.
    fn largest(&self) -> (u64, u16) {
        match self {
            One(value) => (value.weight().into(), value.depth()),
            Int(_) | Bool(_) => (1, 0),
            Pick(values, _) => values.iter().fold((1, 0), |(w, d), v| (w.max(v.weight().into()), d.max(v.depth()))),
            Tuple(parts) | Closure(_, parts, _) => parts.iter().fold((1, 1), |(weight, depth), part| {
                let (w, d) = part.largest();
                (weight.saturating_add(w), depth.max(d.saturating_add(1)))
            }),
        }
    }

    /// Numbers that a column of `n` values holds; those of a part that it shares count each time.
    fn held(&self, n: usize) -> usize {
        match self {
            One(value) => value.weight() as usize,
            Int(_) | Bool(_) => n,
            Pick(values, _) => values.iter().fold(n, |sum, value| sum.saturating_add(value.weight() as usize)),
            Tuple(parts) | Closure(_, parts, _) => {
                parts.iter().fold(1, |sum: usize, part| sum.saturating_add(part.held(n)))
            }
        }
    }

    /// All `n` values. A part that comes several times is made once, as it is when elements are mapped one by one.
    pub(super) fn values(self: &Shared, n: usize) -> Vec<Val> {
        let is_nested = |part: &Shared| matches!(**part, Tuple(_) | Closure(..));
        match &**self {
            Tuple(parts) | Closure(_, parts, _) if parts.iter().any(is_nested) => {
                let mut made = HashMap::default();
                self.make(n, &mut made);
                made.remove(&Arc::as_ptr(self)).unwrap_or_default()
            }
            _ => (0..n).map(|k| self.get(k)).collect(),
        }
    }

    fn make(self: &Shared, n: usize, made: &mut HashMap<*const Self, Vec<Val>>) {
        if made.contains_key(&Arc::as_ptr(self)) {
            return;
        }
        let values = match &**self {
            Tuple(parts) | Closure(_, parts, _) => {
                for part in parts {
                    part.make(n, made);
                }
                let parts: Vec<&Vec<Val>> = parts.iter().filter_map(|part| made.get(&Arc::as_ptr(part))).collect();
                let of = |k: usize| parts.iter().map(|part| part[k].clone()).collect();
                match &**self {
                    Closure(maker, ..) => (0..n).map(|k| Val::closure(*maker, of(k))).collect(),
                    _ => (0..n).map(|k| Val::tuple(of(k))).collect(),
                }
            }
            _ => (0..n).map(|k| self.get(k)).collect(),
        };
        made.insert(Arc::as_ptr(self), values);
    }

    fn arity(&self) -> Option<usize> {
        match self {
            One(value) => value.arity(),
            Closure(.., arity) => Some(usize::from(*arity)),
            _ => None,
        }
    }

    /// What identifies the column while it lives.
    fn token(self: &Shared) -> u128 {
        match &**self {
            One(value) => token(value),
            _ => 12 << 120 | Arc::as_ptr(self) as u128,
        }
    }

    /// The parts of tuples; a tuple that is the same for all may be one of numbers.
    fn parts(&self) -> Option<Vec<Shared>> {
        match self {
            Tuple(parts) => Some(parts.clone()),
            One(value) if value.is_tuple() => Some(value.items().ok()?.to_vec().into_iter().map(one).collect()),
            _ => None,
        }
    }

    fn numbers(&self) -> Option<Numbers<'_>> {
        match self {
            Int(all) => Some(Numbers::Each(all)),
            One(Val::Int(n)) => Some(Numbers::Same(*n)),
            _ => None,
        }
    }
}

fn one(value: Val) -> Shared {
    Arc::new(One(value))
}

/// Tuples of these parts.
fn tuple(parts: Vec<Shared>) -> Shared {
    if parts.iter().all(|part| part.is_one()) {
        return one(Val::tuple(parts.iter().map(|part| part.get(0)).collect()));
    }
    Arc::new(Tuple(parts))
}

/// Columns that calls gave, and what they are of.
struct Image {
    result: Shared,
    fuel: u64,
    /// What the key's places belong to.
    #[allow(dead_code, reason = "it is there to live")]
    alive: (Shared, Shared),
}

/// Columns that are kept while one sample is computed.
#[derive(Default)]
pub(super) struct Columns {
    /// The elements of containers, by the container.
    elements: HashMap<u128, (Val, Shared), BuildHasherDefault<Mix>>,
    /// Results by closure, argument and depth.
    images: HashMap<(u128, u128, u32), Image, BuildHasherDefault<Mix>>,
    numbers: usize,
    /// Maps that were done.
    #[cfg(test)]
    pub(super) done: usize,
}

impl Columns {
    pub(super) fn forget(&mut self) {
        self.elements.clear();
        self.images.clear();
        self.images.shrink_to(ROOM);
        self.numbers = 0;
    }

    fn room(&mut self, numbers: usize) {
        if self.numbers + numbers > MOST {
            self.forget();
        }
        self.numbers += numbers;
    }

    /// The elements of a container, if they are numbers, locations or cells.
    fn of(&mut self, container: &Val) -> Option<Shared> {
        let key = token(container);
        if let Some((_, column)) = self.elements.get(&key) {
            return Some(column.clone());
        }
        let column = elements(container)?;
        self.room(3 * container.count());
        self.elements.insert(key, (container.clone(), column.clone()));
        Some(column)
    }
}

fn elements(container: &Val) -> Option<Shared> {
    let items = container.items().ok()?;
    let pairs = |all: Vec<(i32, i32)>| {
        let (i, j) = all.into_iter().unzip();
        tuple(vec![Arc::new(Int(i)), Arc::new(Int(j))])
    };
    match items {
        Items::Keys(patch) => {
            let places = pairs(patch.keys.iter().map(|&key| at(key)).collect());
            if !patch.object {
                return Some(places);
            }
            let colours = patch.keys.iter().map(|&key| colour_of(key)).collect();
            Some(tuple(vec![Arc::new(Int(colours)), places]))
        }
        Items::Slice(all @ [Val::Int(_), ..]) => {
            let number = |v: &Val| if let Val::Int(n) = v { Some(*n) } else { None };
            Some(Arc::new(Int(all.iter().map(number).collect::<Option<_>>()?)))
        }
        Items::Slice(all @ [Val::Pair(..), ..]) => {
            let pair = |v: &Val| if let Val::Pair(i, j) = v { Some((*i, *j)) } else { None };
            Some(pairs(all.iter().map(pair).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// Whether closures with this primitive may do for columns: it is here, or gives numbers of what is the same for all.
pub(super) fn takes(prim: Prim) -> bool {
    use Prim as P;
    matches!(
        prim,
        P::Identity | P::Add | P::Subtract | P::Multiply | P::Sign | P::Invert | P::Double | P::Halve | P::Increment
            | P::Decrement | P::Crement | P::Even | P::Positive | P::Flip | P::Both | P::Either | P::Equality | P::Greater
            | P::First | P::Last | P::Maximum | P::Minimum | P::Astuple | P::Toivec | P::Tojvec | P::Apply | P::Argmax
            | P::Argmin | P::Valmax | P::Valmin | P::Compose | P::Chain | P::Matcher | P::Fork | P::Rbind | P::Lbind
            | P::Contained | P::Index
            // Of things that are the same for all, or picked.
            | P::Size | P::Height | P::Width | P::Shape | P::Center | P::Centerofmass | P::Color | P::Uppermost
            | P::Lowermost | P::Leftmost | P::Rightmost | P::Ulcorner | P::Urcorner | P::Llcorner | P::Lrcorner
            | P::Mostcolor | P::Leastcolor | P::Numcolors
    )
}

impl Fast<'_> {
    /// The images of all elements, if a closure takes them as a column: with their fuel spent, else with none. Where they are
    /// to be kept they weigh no more together than the limits allow.
    pub(super) fn column(&mut self, by: &Val, container: &Val, kept: bool) -> Option<Shared> {
        let Val::Closure(closure) = by else { return None };
        let n = match container {
            Val::Patch(patch) => patch.keys.len(),
            Val::Tuple(seq) | Val::Set(seq) => seq.items.len(),
            _ => 0,
        };
        if n < SHORTEST || !closure.takes_columns() {
            return None;
        }
        let before = self.m.clone();
        let result = self.columns.of(container).and_then(|elements| {
            let left = before.left();
            let mut map = Map { f: self, n, fuel: 0, left };
            let result = map.call(&one(by.clone()), &[&elements])?;
            let fits = !kept || n <= MOST / 4 && result.weights(n) <= map.f.limits().weight.into();
            fits.then_some((result, map.fuel))
        });
        self.m = before;
        match result {
            Some((column, fuel)) if fuel <= self.m.left() => {
                self.m.spend(fuel).ok()?;
                #[cfg(test)]
                {
                    self.columns.done += 1;
                }
                Some(column)
            }
            _ => {
                closure.no_columns();
                None
            }
        }
    }
}
