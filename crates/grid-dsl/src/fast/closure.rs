//! Functions that programs make: what they are made of, and what is known about keeping their results.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32};

use super::val::{Val, measure};
use crate::value::Maker;

/// A maker of functions with its arguments.
pub(crate) struct Closure {
    pub(crate) maker: Maker,
    pub(crate) args: Vec<Val>,
    pub(crate) arity: u8,
    pub(super) weight: u32,
    pub(super) depth: u16,
    /// Fuel of the last call; 0 before the first.
    fuel: AtomicU32,
    /// How often a result was looked up, and how often it was there.
    lookups: Lookups,
    /// The same of all closures that calls made of the same arguments but the last, or that a node gave for earlier samples.
    family: Option<Arc<Lookups>>,
    /// Whether it takes columns: 0 before that is known, 1 if it may, 2 if not.
    columns: AtomicU8,
}

/// How often something was looked up, and how often it was there.
#[derive(Default)]
pub(crate) struct Lookups {
    tries: AtomicU32,
    hits: AtomicU32,
    /// How often a map by one of these would not go by columns.
    no_columns: AtomicU32,
    /// Images that were kept in rows, and found there.
    kept: AtomicU32,
    found: AtomicU32,
}

/// Of so many closures of a family it is tried whether they take columns.
const TRIED: u32 = 4;

/// Counts on. What gets lost between threads is no harm.
fn more(count: &AtomicU32, n: usize) {
    count.store(count.load(Relaxed).saturating_add(n as u32), Relaxed);
}

impl Lookups {
    fn tried(&self, hit: bool) {
        more(&self.tries, 1);
        if hit {
            more(&self.hits, 1);
        }
    }

    /// Tries, and hits.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.tries.load(Relaxed), self.hits.load(Relaxed))
    }
}

impl Closure {
    /// Fuel of the last call. It decides what is kept, never what comes out.
    pub(crate) fn last_fuel(&self) -> u32 {
        self.fuel.load(Relaxed)
    }

    pub(crate) fn took(&self, fuel: u64) {
        self.fuel.store(fuel.clamp(1, u64::from(u32::MAX)) as u32, Relaxed);
    }

    pub(crate) fn tried(&self, hit: bool) {
        self.lookups.tried(hit);
        self.family.iter().for_each(|family| family.tried(hit));
    }

    /// Whether maps of the closure may go by columns: as far as its parts and earlier maps tell.
    pub(crate) fn takes_columns(&self) -> bool {
        let known = self.columns.load(Relaxed);
        if known > 0 {
            return known == 1;
        }
        let may = self.maker != Maker::Power
            && self.family.as_ref().is_none_or(|family| family.no_columns.load(Relaxed) < TRIED)
            && self.args.iter().all(|arg| match arg {
                Val::Prim(prim) => super::columns::takes(*prim),
                Val::Closure(closure) => closure.takes_columns(),
                _ => true,
            });
        self.columns.store(if may { 1 } else { 2 }, Relaxed);
        may
    }

    /// So many images were found in a row, and so many others put there.
    pub(crate) fn in_rows(&self, found: usize, kept: usize) {
        let family = self.family.as_deref().unwrap_or(&self.lookups);
        more(&family.found, found);
        more(&family.kept, kept);
    }

    /// Whether keeping images in rows is of use, after so many that were kept.
    pub(crate) fn finds_in_rows(&self, patience: u32) -> bool {
        let family = self.family.as_deref().unwrap_or(&self.lookups);
        let kept = family.kept.load(Relaxed);
        kept < patience || family.found.load(Relaxed) >= kept / 8
    }

    /// A map by this closure would not go by columns.
    pub(crate) fn no_columns(&self) {
        self.columns.store(2, Relaxed);
        self.family.iter().for_each(|family| _ = family.no_columns.fetch_add(1, Relaxed));
    }

    /// How often a result was looked up, and how often it was there.
    pub(crate) fn counts(&self) -> (u32, u32) {
        self.lookups.counts()
    }

    /// The same of the closure and its family.
    pub(crate) fn family(&self) -> (u32, u32) {
        match &self.family {
            Some(family) => family.counts(),
            None => self.counts(),
        }
    }
}

/// How many arguments a function that takes so many still takes when one is fixed.
pub(super) fn bound_arity(inner: usize) -> u8 {
    match inner {
        2 => 1,
        3 => 2,
        _ => 3,
    }
}

impl Val {
    /// Applies a maker to checked arguments.
    pub(crate) fn closure(maker: Maker, args: Vec<Val>) -> Self {
        Self::closure_of(maker, args, None)
    }

    /// The same, one of a family.
    pub(crate) fn closure_of(maker: Maker, args: Vec<Val>, family: Option<Arc<Lookups>>) -> Self {
        let inner = args.first().and_then(Self::arity).unwrap_or(0);
        let arity = match maker {
            Maker::Rbind | Maker::Lbind => bound_arity(inner).into(),
            Maker::Power if args.get(1).and_then(Self::as_int) == Some(1) => inner,
            _ => 1,
        };
        let (weight, depth) = measure(&args);
        let (fuel, lookups, columns) = Default::default();
        let arity = arity as u8;
        Self::Closure(Arc::new(Closure { maker, args, arity, weight, depth, fuel, lookups, family, columns }))
    }
}
