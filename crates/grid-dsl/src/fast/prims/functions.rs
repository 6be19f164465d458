//! Makers of functions, and functions that call functions.

use std::ops::Range;

use super::{containers, function, part, rebuilt, set, tuple};
use crate::error::{ErrClass, Result};
use crate::fast::machine::Fast;
use crate::fast::order::{ascending, extreme};
use crate::fast::rows::{New, Row, SHORTEST};
use crate::fast::val::{Items, Val};
use crate::prim::Prim;
use crate::value::Maker;

/// Values that calls give one after the other, their weight bounded as in the definition.
struct Images {
    all: Vec<Val>,
    weight: u32,
}

/// Calls of one map, as in the definition.
const COMBINATIONS: usize = 1 << 20;

impl Images {
    fn with_capacity(n: usize) -> Self {
        Self { all: Vec::with_capacity(n.min(1 << 12)), weight: 0 }
    }

    fn push(&mut self, f: &Fast, value: Val) -> Result<()> {
        self.weight = self.weight.saturating_add(value.weight());
        if self.weight > f.limits().weight || self.all.len() >= COMBINATIONS {
            return Err(ErrClass::Limit);
        }
        self.all.push(value);
        Ok(())
    }

    /// Images that a row has, for their fuel.
    fn extend(&mut self, f: &mut Fast, row: &Row, places: Range<usize>) -> Result<()> {
        let sum = row.sum(places.clone());
        let within = u64::from(self.weight) + sum.weight <= u64::from(f.limits().weight)
            && self.all.len() + places.len() <= COMBINATIONS;
        if within {
            f.m.spend(sum.fuel)?;
            self.weight += sum.weight as u32;
            row.extend(&mut self.all, places);
            return Ok(());
        }
        // One of them is too much; the fuel may end before.
        places.into_iter().try_for_each(|at| {
            f.m.spend(row.sum(at..at + 1).fuel)?;
            self.push(f, row.image(at).clone())
        })
    }
}

/// What a function makes of an element.
fn image(f: &mut Fast, by: &Val, value: &Val) -> Result<Val> {
    match f.again(by, value) {
        Some(image) => image,
        None => f.call(by, &[value]),
    }
}

/// What a function makes of each element.
fn images(f: &mut Fast, by: &Val, container: &Val) -> Result<Vec<Val>> {
    if let Some(column) = f.column(by, container, true) {
        return Ok(column.values(container.count()));
    }
    let items = &container.items()?;
    let mut images = Images::with_capacity(items.len());
    match by {
        Val::Closure(closure) if items.len() >= SHORTEST && f.keeps_images(closure) => {
            let depth = f.m.calls;
            let mut row = f.rows.take(closure, depth);
            let mut new = Vec::new();
            let result = by_row(f, by, items, &row, &mut new, &mut images);
            let hits = images.all.len() - new.len();
            closure.in_rows(hits, new.len());
            if result.is_ok() && f.keeps_images(closure) {
                row = row.with(new, items.len());
            }
            f.rows.put(closure, depth, row, hits);
            result?;
        }
        _ => items.each(|value| {
            let image = image(f, by, value)?;
            images.push(f, image)
        })?,
    }
    Ok(images.all)
}

/// The same from a row of images that are known, and those that are not.
fn by_row(f: &mut Fast, by: &Val, items: &Items, row: &Row, new: &mut Vec<New>, images: &mut Images) -> Result<()> {
    let Val::Closure(closure) = by else { return Err(ErrClass::Type) };
    // Results of a first map are in the row: they need no second place.
    let first = row.len() == 0 && closure.counts().0 == 0;
    let (mut k, mut at) = (0, 0);
    while k < items.len() {
        // Up to where one of the two containers lacks an element.
        let (from, run) = match row.run(at, items, k) {
            0 => (at + 1, row.run(at + 1, items, k)),
            run => (at, run),
        };
        if run > 0 {
            images.extend(f, row, from..from + run)?;
            (k, at) = (k + run, from + run);
            continue;
        }
        let item = items.get(k);
        let before = f.m.used();
        let image = if first { f.call_unkept(closure, &item)? } else { image(f, by, &item)? };
        images.push(f, image.clone())?;
        let fuel = f.m.used() - before;
        if f.keeps_images(closure) {
            new.push(New { at, item, image, fuel });
        }
        k += 1;
    }
    Ok(())
}

fn make(f: &mut Fast, maker: Maker, a: &[&Val]) -> Result<Val> {
    a[..maker.functions()].iter().try_for_each(|f| function(f).map(|_| ()))?;
    Ok(f.make(maker, a))
}

/// Elements for which the function is true, and where to stop.
fn filtered(f: &mut Fast, container: &Val, by: &Val) -> Result<Val> {
    if let Some(column) = f.column(by, container, false) {
        if let Val::Patch(patch) = container {
            let kept = patch.keys.iter().enumerate().filter(|(k, _)| column.truth(*k));
            return Ok(Val::patch(kept.map(|(_, key)| *key).collect(), patch.object));
        }
        let items = container.items()?;
        let kept = (0..items.len()).filter(|k| column.truth(*k)).map(|k| items.get(k)).collect();
        return Ok(part(container, kept));
    }
    if let Val::Patch(patch) = container {
        let mut kept = Vec::new();
        for &key in &patch.keys {
            if f.call(by, &[&patch.element(key)])?.truth() {
                kept.push(key);
            }
        }
        return Ok(Val::patch(kept, patch.object));
    }
    let mut kept = Vec::new();
    container.items()?.each(|value| {
        if f.call(by, &[value])?.truth() {
            kept.push(value.clone());
        }
        Ok(())
    })?;
    Ok(part(container, kept))
}

/// `merge` of images in a container of the kind of `like`.
fn merged(f: &Fast, like_set: bool, images: Vec<Val>) -> Result<Val> {
    if like_set {
        // Within the limits the set of images is never too large here: no more of them than elements, and their weight
        // was counted. What is deeper than packed sets takes the long way.
        if images.len() <= f.limits().elements
            && f.limits().nesting >= 8
            && let Some(union) = containers::merged_keys(f, &images)
        {
            return if total_weight(&images) > u64::from(f.limits().weight) {
                containers::merge(f, &set(f, images)?)
            } else {
                Ok(union)
            };
        }
        return containers::merge(f, &set(f, images)?);
    }
    containers::merge(f, &tuple(f, images)?)
}

/// The weight of a container of these.
fn total_weight(all: &[Val]) -> u64 {
    1 + all.iter().map(|v| u64::from(v.weight())).sum::<u64>()
}

fn papply(f: &mut Fast, a: &[&Val]) -> Result<Vec<Val>> {
    let by = function(a[0])?;
    let (first, second) = (a[1].items()?, a[2].items()?);
    let n = first.len().min(second.len());
    let mut images = Images::with_capacity(n);
    for k in 0..n {
        let image = f.call(by, &[&first.get(k), &second.get(k)])?;
        images.push(f, image)?;
    }
    Ok(images.all)
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Result<Val> {
    match prim {
        Prim::Compose => make(f, Maker::Compose, a),
        Prim::Chain => make(f, Maker::Chain, a),
        Prim::Matcher => make(f, Maker::Matcher, a),
        Prim::Fork => make(f, Maker::Fork, a),
        Prim::Rbind => make(f, Maker::Rbind, a),
        Prim::Lbind => make(f, Maker::Lbind, a),
        Prim::Power => {
            function(a[0])?;
            let n = a[1].as_int().ok_or(ErrClass::Type)?;
            if n < 1 || n > f.limits().exponent {
                return Err(ErrClass::Limit);
            }
            make(f, Maker::Power, a)
        }
        Prim::Order => {
            let (all, by) = (a[0].items()?, function(a[1])?);
            let keys = images(f, by, a[0])?;
            Ok(Val::tuple(ascending(&keys)?.into_iter().map(|at| all.get(at)).collect()))
        }
        Prim::Valmax | Prim::Valmin => {
            a[0].items()?;
            let by = function(a[1])?;
            let keys = images(f, by, a[0])?;
            match extreme(&keys, prim == Prim::Valmax)? {
                Some(at) => Ok(keys[at].clone()),
                None => f.call(by, &[&Val::Int(0)]),
            }
        }
        Prim::Argmax | Prim::Argmin => {
            let (all, by) = (a[0].items()?, function(a[1])?);
            let keys = images(f, by, a[0])?;
            extreme(&keys, prim == Prim::Argmax)?.map(|at| all.get(at)).ok_or(ErrClass::Empty)
        }
        Prim::Sfilter => {
            a[0].items()?;
            filtered(f, a[0], function(a[1])?)
        }
        Prim::Mfilter => {
            a[0].items()?;
            let kept = filtered(f, a[0], function(a[1])?)?;
            containers::merge(f, &kept)
        }
        Prim::Extract => {
            let (all, by) = (a[0].items()?, function(a[1])?);
            for k in 0..all.len() {
                let value = all.get(k);
                if f.call(by, &[&value])?.truth() {
                    return Ok(value);
                }
            }
            Err(ErrClass::Empty)
        }
        Prim::Apply => {
            let by = function(a[0])?;
            if let Val::Pair(i, j) = a[1] {
                let mut images = Images::with_capacity(2);
                for n in [*i, *j] {
                    let image = f.call(by, &[&Val::Int(n)])?;
                    images.push(f, image)?;
                }
                return tuple(f, images.all);
            }
            let images = images(f, by, a[1])?;
            rebuilt(f, a[1], images)
        }
        Prim::Rapply => {
            let mut images = Images::with_capacity(0);
            a[0].items()?.each(|by| {
                let image = f.call(by, &a[1..])?;
                images.push(f, image)
            })?;
            rebuilt(f, a[0], images.all)
        }
        Prim::Mapply => {
            let by = function(a[0])?;
            let images = images(f, by, a[1])?;
            merged(f, a[1].is_set(), images)
        }
        Prim::Papply => {
            let images = papply(f, a)?;
            tuple(f, images)
        }
        Prim::Mpapply => {
            let images = papply(f, a)?;
            merged(f, false, images)
        }
        _ => {
            let by = function(a[0])?;
            let (first, second) = (a[1].items()?, a[2].items()?);
            let mut images = Images::with_capacity(first.len() * second.len());
            first.each(|x| {
                second.each(|y| {
                    let image = f.call(by, &[x, y])?;
                    images.push(f, image)
                })
            })?;
            set(f, images.all)
        }
    }
}
