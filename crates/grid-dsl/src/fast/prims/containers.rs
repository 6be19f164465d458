//! Containers without functions.
#![allow(clippy::mutable_key_type, reason = "the order looks at keys, never at the box that a patch keeps")]

use std::collections::BTreeMap;

use super::{Maybe, part, rebuilt, set, tuple};
use crate::error::{ErrClass, Result};
use crate::fast::machine::Fast;
use crate::fast::order::extreme;
use crate::fast::val::{Items, Val, place, sort_keys, tint, union_by_bits};
use crate::prim::Prim;

/// The key of an element of a packed set of this kind.
fn key(value: &Val, object: bool) -> Option<u64> {
    match value {
        Val::Cell(c, i, j) if object => Some(tint(*c)? | place(*i, *j)?),
        Val::Pair(i, j) if !object => place(*i, *j),
        _ => None,
    }
}

/// Whether a container holds a value.
fn holds(container: &Val, value: &Val) -> Result<bool> {
    match container {
        Val::Patch(patch) => match key(value, patch.object) {
            Some(key) => Ok(patch.keys.binary_search(&key).is_ok()),
            // A location of truth values may equal one of numbers.
            None if matches!(value, Val::Tuple(_)) => Ok(patch.keys.iter().any(|&k| patch.element(k) == *value)),
            None => Ok(false),
        },
        Val::Set(seq) => Ok(seq.items.binary_search(value).is_ok()),
        Val::Tuple(seq) => Ok(seq.items.contains(value)),
        other => {
            let items = other.items()?;
            Ok((0..items.len()).any(|k| items.get(k) == *value))
        }
    }
}

/// The other container's elements as keys of the same kind: for containers that are packed, or empty.
fn same_keys(value: &Val, object: bool) -> Option<&[u64]> {
    match value {
        Val::Patch(patch) if patch.object == object => Some(&patch.keys),
        other if super::is_empty(other) => Some(&[]),
        _ => None,
    }
}

/// Merges ascending keys.
fn union(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        all.push(a[i].min(b[j]));
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}

/// `merge` of a container of containers.
pub(super) fn merge(f: &Fast, container: &Val) -> Result<Val> {
    let items = container.items()?;
    let union = container.is_set();
    if let (true, Items::Slice(all)) = (union, &items)
        && let Some(merged) = merged_keys(f, all)
    {
        return Ok(merged);
    }
    let parts = items.to_vec();
    let parts = parts.iter().map(Val::items).collect::<Result<Vec<_>>>()?;
    let most = f.limits().elements;
    let total: usize = parts.iter().map(Items::len).sum();
    if !union && total > most {
        return Err(ErrClass::Limit);
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(part.to_vec());
        if union && all.len() > 4 * most {
            all.sort();
            all.dedup();
            f.limits().elements(all.len())?;
        }
    }
    rebuilt(f, container, all)
}

/// The union of packed sets of one kind, which may be in any order and equal. `None` for others, and too many.
pub(super) fn merged_keys(f: &Fast, all: &[Val]) -> Option<Val> {
    let object = all.iter().find_map(|v| if let Val::Patch(p) = v { Some(p.object) } else { None })?;
    let mut total = 0;
    for value in all {
        total += match value {
            Val::Patch(patch) if patch.object == object => patch.keys.len(),
            other if super::is_empty(other) => 0,
            _ => return None,
        };
    }
    let sets = all.iter().filter_map(|v| if let Val::Patch(patch) = v { Some(&patch.keys[..]) } else { None });
    let keys = union_by_bits(sets.clone(), total).or_else(|| {
        let fits = total <= 4 * f.limits().elements;
        fits.then(|| {
            let mut keys = sets.collect::<Vec<_>>().concat();
            sort_keys(&mut keys);
            keys
        })
    })?;
    (keys.len() <= f.limits().elements).then(|| Val::patch(keys, object))
}

/// Elements that differ from the value, or do not.
fn remove(container: &Val, value: &Val) -> Result<Val> {
    if let Val::Patch(patch) = container
        && let Some(key) = key(value, patch.object)
    {
        let kept = patch.keys.iter().copied().filter(|&k| k != key).collect();
        return Ok(Val::patch(kept, patch.object));
    }
    let mut kept = container.items()?.to_vec();
    kept.retain(|v| v != value);
    Ok(part(container, kept))
}

/// Distinct elements with their counts, ascending.
fn common(container: &Val, most: bool) -> Result<Val> {
    if !container.is_tuple() {
        return Err(ErrClass::Type);
    }
    let all = container.items()?.to_vec();
    let mut counts: BTreeMap<&Val, usize> = BTreeMap::new();
    for value in &all {
        *counts.entry(value).or_default() += 1;
    }
    let best = if most {
        counts.into_iter().rev().max_by_key(|(_, n)| *n)
    } else {
        counts.into_iter().min_by_key(|(_, n)| *n)
    };
    best.map(|(value, _)| value.clone()).ok_or(ErrClass::Empty)
}

fn difference(f: &mut Fast, first: &Val, second: &Val) -> Result<Val> {
    let items = first.items()?;
    if second.is_tuple() {
        f.m.spend(items.len() as u64 * second.count() as u64)?;
    }
    second.items()?;
    if let Val::Patch(patch) = first
        && let Some(others) = same_keys(second, patch.object).filter(|_| second.is_set())
    {
        let kept = patch.keys.iter().copied().filter(|key| others.binary_search(key).is_err());
        return Ok(Val::patch(kept.collect(), patch.object));
    }
    let mut kept = Vec::new();
    items.each(|value| {
        if !holds(second, value)? {
            kept.push(value.clone());
        }
        Ok(())
    })?;
    Ok(part(first, kept))
}

fn interval(f: &Fast, start: i32, stop: i32, step: i32) -> Result<Val> {
    let (start, stop, step) = (i64::from(start), i64::from(stop), i64::from(step));
    if step == 0 {
        return Err(ErrClass::Range);
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let n = (span.max(0) + step.abs() - 1) / step.abs();
    f.limits().elements(n as usize)?;
    tuple(f, (0..n).map(|k| Val::Int((start + k * step) as i32)).collect())
}

/// Elements without equal ones, ascending.
fn distinct(all: &Val) -> Result<Vec<Val>> {
    let mut all = all.items()?.to_vec();
    all.sort();
    all.dedup();
    Ok(all)
}

fn product(f: &Fast, a: &Val, b: &Val) -> Result<Val> {
    a.items()?;
    b.items()?;
    let (first, second) = (distinct(a)?, distinct(b)?);
    f.limits().elements(first.len() * second.len())?;
    let numbers = |all: &[Val]| -> Option<Vec<i32>> {
        all.iter().map(|v| if let Val::Int(n) = v { Some(*n) } else { None }).collect()
    };
    if let (Some(rows), Some(columns)) = (numbers(&first), numbers(&second)) {
        let keys = rows.iter().flat_map(|&i| columns.iter().map(move |&j| place(i, j)));
        if let Some(keys) = keys.collect::<Option<Vec<u64>>>() {
            return Ok(Val::patch(keys, false));
        }
    }
    let pair = |x: &Val, y: &Val| Val::tuple(vec![x.clone(), y.clone()]);
    set(f, first.iter().flat_map(|x| second.iter().map(move |y| pair(x, y))).collect())
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    Some(match prim {
        Prim::Size => a[0].items().map(|items| Val::Int(items.len() as i32)),
        Prim::Contained => holds(a[1], a[0]).map(Val::Bool),
        Prim::Combine => {
            if let Val::Patch(patch) = a[0]
                && let Some(others) = same_keys(a[1], patch.object)
            {
                return super::keys(f, union(&patch.keys, others), patch.object);
            }
            let (Ok(first), Ok(second)) = (a[0].items(), a[1].items()) else { return Some(Err(ErrClass::Type)) };
            let mut all = first.to_vec();
            all.extend(second.to_vec());
            rebuilt(f, a[0], all)
        }
        Prim::Intersection => {
            if !a[0].is_set() || !a[1].is_set() {
                return Some(Err(ErrClass::Type));
            }
            if let Val::Patch(patch) = a[0]
                && let Some(others) = same_keys(a[1], patch.object)
            {
                let kept = patch.keys.iter().copied().filter(|key| others.binary_search(key).is_ok());
                return Some(Ok(Val::patch(kept.collect(), patch.object)));
            }
            let mut kept = Vec::new();
            let found = a[0].items().and_then(|items| {
                items.each(|value| {
                    if holds(a[1], value)? {
                        kept.push(value.clone());
                    }
                    Ok(())
                })
            });
            found.map(|()| part(a[0], kept))
        }
        Prim::Difference => difference(f, a[0], a[1]),
        Prim::Dedupe => {
            if a[0].is_tuple() || super::is_empty(a[0]) {
                a[0].items().map(|items| {
                    let all = items.to_vec();
                    let mut seen = std::collections::BTreeSet::new();
                    Val::tuple(all.iter().filter(|v| seen.insert(*v)).cloned().collect())
                })
            } else {
                Err(ErrClass::Type)
            }
        }
        Prim::Repeat => {
            let n = match a[1].as_int() {
                Some(n) => n.max(0),
                None => return Some(Err(ErrClass::Type)),
            };
            if n as usize > f.limits().elements
                || u64::from(a[0].weight()) * u64::from(n as u32) > u64::from(f.limits().weight)
            {
                return Some(Err(ErrClass::Limit));
            }
            tuple(f, vec![a[0].clone(); n as usize])
        }
        Prim::Merge => merge(f, a[0]),
        Prim::Maximum | Prim::Minimum => a[0].items().and_then(|items| {
            let all = items.to_vec();
            Ok(extreme(&all, prim == Prim::Maximum)?.map_or(Val::Int(0), |at| all[at].clone()))
        }),
        Prim::Mostcommon | Prim::Leastcommon => common(a[0], prim == Prim::Mostcommon),
        Prim::Initset => set(f, vec![a[0].clone()]),
        Prim::Insert => {
            if !a[1].is_set() {
                return Some(Err(ErrClass::Type));
            }
            if let Val::Patch(patch) = a[1]
                && let Some(key) = key(a[0], patch.object)
            {
                return super::keys(f, union(&patch.keys, &[key]), patch.object);
            }
            a[1].items().and_then(|items| {
                let mut all = items.to_vec();
                all.push(a[0].clone());
                set(f, all)
            })
        }
        Prim::Remove => remove(a[1], a[0]),
        Prim::Other => a[0].items().and_then(|items| {
            let found = (0..items.len()).find(|&k| items.get(k) != *a[1]);
            found.map(|k| items.get(k)).ok_or(ErrClass::Empty)
        }),
        Prim::First => a[0].items().and_then(|i| if i.is_empty() { Err(ErrClass::Empty) } else { Ok(i.get(0)) }),
        Prim::Last => {
            a[0].items().and_then(|i| if i.is_empty() { Err(ErrClass::Empty) } else { Ok(i.get(i.len() - 1)) })
        }
        Prim::Totuple => a[0].items().map(|items| Val::tuple(items.to_vec())),
        Prim::Sizefilter => {
            let n = match a[1] {
                Val::None => None,
                other => match other.as_int() {
                    Some(n) => Some(n),
                    None => return a[0].items().map_or(Some(Err(ErrClass::Type)), |_| Some(Err(ErrClass::Type))),
                },
            };
            let mut kept = Vec::new();
            let found = a[0].items().and_then(|items| {
                items.each(|value| {
                    if Some(value.items()?.len() as i32) == n {
                        kept.push(value.clone());
                    }
                    Ok(())
                })
            });
            match found {
                Ok(()) if a[0].is_set() => Ok(Val::sorted_set(kept)),
                Ok(()) => set(f, kept),
                Err(class) => Err(class),
            }
        }
        Prim::Interval => match (a[0].as_int(), a[1].as_int(), a[2].as_int()) {
            (Some(start), Some(stop), Some(step)) => interval(f, start, stop, step),
            _ => Err(ErrClass::Type),
        },
        Prim::Product => product(f, a[0], a[1]),
        Prim::Pair => match (a[0].items(), a[1].items()) {
            (Ok(first), Ok(second)) => {
                let n = first.len().min(second.len());
                tuple(f, (0..n).map(|k| Val::tuple(vec![first.get(k), second.get(k)])).collect())
            }
            _ => Err(ErrClass::Type),
        },
        _ => return None,
    })
}
