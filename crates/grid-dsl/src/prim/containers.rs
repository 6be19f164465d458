//! Containers: tuples and sets of any values. Sets iterate in canonical order.

use super::functions::Images;
use super::views::{colour, function, int, items, part, rebuilt, set};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::order::{ascending, extreme};
use crate::value::{Function, Value};

/// Number of elements.
pub(crate) fn size(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Int(items(&a[0])?.len() as i32))
}

/// Whether the value is an element.
pub(crate) fn contained(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(holds(&a[1], &a[0])?))
}

/// Whether a container holds a value.
fn holds(container: &Value, value: &Value) -> Result<bool> {
    match container {
        Value::Set(s) => Ok(s.holds(value)),
        other => Ok(items(other)?.contains(value)),
    }
}

/// A union when the first is a set, else one after the other.
pub(crate) fn combine(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let all = [items(&a[0])?, items(&a[1])?].concat();
    rebuilt(m, &a[0], all)
}

/// Elements of both sets.
pub(crate) fn intersection(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (set(&a[0])?, set(&a[1])?);
    Ok(part(&a[0], first.iter().filter(|v| second.holds(v)).cloned().collect()))
}

/// Elements of the first that the second does not hold. Costs size times size where the second is a tuple.
pub(crate) fn difference(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let first = items(&a[0])?;
    if let Value::Tuple(second) = &a[1] {
        m.spend(first.len() as u64 * second.len() as u64)?;
    }
    items(&a[1])?;
    let mut kept = Vec::new();
    for value in first {
        if !holds(&a[1], value)? {
            kept.push(value.clone());
        }
    }
    Ok(part(&a[0], kept))
}

/// First occurrences of a tuple's elements.
pub(crate) fn dedupe(_: &mut Machine, a: &[Value]) -> Result<Value> {
    match &a[0] {
        Value::Tuple(t) => Ok(Value::tuple(first_occurrences(t))),
        Value::Set(s) if s.is_empty() => Ok(Value::tuple(vec![])),
        _ => Err(ErrClass::Type),
    }
}

/// Elements without later equal ones, in their order.
pub(crate) fn first_occurrences(all: &[Value]) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    all.iter().filter(|v| seen.insert(*v)).cloned().collect()
}

/// The keys that a function gives to elements.
pub(crate) fn keys(m: &mut Machine, f: &Function, all: &[Value]) -> Result<Vec<Value>> {
    let mut images = Images::new();
    for value in all {
        let image = m.call(f, std::slice::from_ref(value))?;
        images.push(m, image)?;
    }
    Ok(images.done())
}

/// Ascending by a key; equal keys keep their order.
pub(crate) fn order(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (all, f) = (items(&a[0])?, function(&a[1])?);
    let keys = keys(m, f, all)?;
    Ok(Value::tuple(ascending(&keys)?.into_iter().map(|at| all[at].clone()).collect()))
}

/// That many copies in a tuple.
pub(crate) fn repeat(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let n = int(&a[1])?.max(0);
    m.room(i64::from(n))?;
    if u64::from(a[0].weight()) * u64::from(n as u32) > u64::from(m.limits().weight) {
        return Err(ErrClass::Limit);
    }
    m.tuple(vec![a[0].clone(); n as usize])
}

/// One level less: a union for a set of containers, else one after the other.
pub(crate) fn merge(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let inner = items(&a[0])?.iter().map(items).collect::<Result<Vec<_>>>()?;
    let union = matches!(a[0], Value::Set(_));
    if !union {
        m.room(inner.iter().map(|i| i.len() as i64).sum())?;
    }
    let mut all = Vec::new();
    for elements in inner {
        all.extend_from_slice(elements);
        // Sets that overlap: what is kept stays small.
        if union && all.len() > 4 * m.limits().elements {
            all.sort();
            all.dedup();
            m.room(all.len() as i64)?;
        }
    }
    rebuilt(m, &a[0], all)
}

fn extreme_element(a: &[Value], largest: bool) -> Result<Value> {
    let all = items(&a[0])?;
    Ok(extreme(all, largest)?.map_or(Value::Int(0), |at| all[at].clone()))
}

/// The largest element; 0 without elements.
pub(crate) fn maximum(_: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_element(a, true)
}

/// The smallest element; 0 without elements.
pub(crate) fn minimum(_: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_element(a, false)
}

fn extreme_key(m: &mut Machine, a: &[Value], largest: bool) -> Result<Value> {
    let (all, f) = (items(&a[0])?, function(&a[1])?);
    let keys = keys(m, f, all)?;
    match extreme(&keys, largest)? {
        Some(at) => Ok(keys[at].clone()),
        None => m.call(f, &[Value::Int(0)]),
    }
}

/// The largest key; without elements that of 0.
pub(crate) fn valmax(m: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_key(m, a, true)
}

/// The smallest key; without elements that of 0.
pub(crate) fn valmin(m: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_key(m, a, false)
}

fn extreme_by_key(m: &mut Machine, a: &[Value], largest: bool) -> Result<Value> {
    let (all, f) = (items(&a[0])?, function(&a[1])?);
    let keys = keys(m, f, all)?;
    extreme(&keys, largest)?.map(|at| all[at].clone()).ok_or(ErrClass::Empty)
}

/// The first element with the largest key.
pub(crate) fn argmax(m: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_by_key(m, a, true)
}

/// The first element with the smallest key.
pub(crate) fn argmin(m: &mut Machine, a: &[Value]) -> Result<Value> {
    extreme_by_key(m, a, false)
}

/// Distinct elements, ascending, with how often each occurs.
pub(crate) fn counts(all: &[Value]) -> Vec<(Value, usize)> {
    let mut counts: std::collections::BTreeMap<&Value, usize> = std::collections::BTreeMap::new();
    for value in all {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().map(|(value, n)| (value.clone(), n)).collect()
}

fn common(a: &[Value], most: bool) -> Result<Value> {
    let Value::Tuple(all) = &a[0] else { return Err(ErrClass::Type) };
    let counts = counts(all);
    // Of equal counts the smallest element: the first of ascending ones.
    let best = if most { counts.iter().rev().max_by_key(|(_, n)| *n) } else { counts.iter().min_by_key(|(_, n)| *n) };
    best.map(|(value, _)| value.clone()).ok_or(ErrClass::Empty)
}

/// The element of a tuple that occurs most; of several the smallest.
pub(crate) fn mostcommon(_: &mut Machine, a: &[Value]) -> Result<Value> {
    common(a, true)
}

/// The element of a tuple that occurs least; of several the smallest.
pub(crate) fn leastcommon(_: &mut Machine, a: &[Value]) -> Result<Value> {
    common(a, false)
}

/// The set of one element.
pub(crate) fn initset(m: &mut Machine, a: &[Value]) -> Result<Value> {
    m.set(a.to_vec())
}

/// The set with one more element.
pub(crate) fn insert(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut all = set(&a[1])?.to_vec();
    all.push(a[0].clone());
    m.set(all)
}

fn without(value: &Value, container: &Value) -> Result<Vec<Value>> {
    Ok(items(container)?.iter().filter(|v| *v != value).cloned().collect())
}

/// Elements that differ from the value.
pub(crate) fn remove(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(part(&a[1], without(&a[0], &a[1])?))
}

/// The first element that differs from the value.
pub(crate) fn other(_: &mut Machine, a: &[Value]) -> Result<Value> {
    items(&a[0])?.iter().find(|v| **v != a[1]).cloned().ok_or(ErrClass::Empty)
}

/// The first element.
pub(crate) fn first(_: &mut Machine, a: &[Value]) -> Result<Value> {
    items(&a[0])?.first().cloned().ok_or(ErrClass::Empty)
}

/// The last element.
pub(crate) fn last(_: &mut Machine, a: &[Value]) -> Result<Value> {
    items(&a[0])?.last().cloned().ok_or(ErrClass::Empty)
}

/// The elements as a tuple.
pub(crate) fn totuple(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::tuple(items(&a[0])?.to_vec()))
}

/// Elements for which the function is true.
pub(crate) fn sfilter(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (all, f) = (items(&a[0])?, function(&a[1])?);
    let mut kept = Vec::new();
    for value in all {
        if m.call(f, std::slice::from_ref(value))?.truth() {
            kept.push(value.clone());
        }
    }
    Ok(part(&a[0], kept))
}

/// `merge(sfilter(c, f))`
pub(crate) fn mfilter(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let kept = sfilter(m, a)?;
    merge(m, &[kept])
}

/// The first element for which the function is true; those behind it are not looked at.
pub(crate) fn extract(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (all, f) = (items(&a[0])?, function(&a[1])?);
    for value in all {
        if m.call(f, std::slice::from_ref(value))?.truth() {
            return Ok(value.clone());
        }
    }
    Err(ErrClass::Empty)
}

/// The set of elements of a size.
pub(crate) fn sizefilter(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (all, n) = (items(&a[0])?, colour(&a[1])?.as_int());
    let mut kept = Vec::new();
    for value in all {
        if Some(items(value)?.len() as i32) == n {
            kept.push(value.clone());
        }
    }
    m.set(kept)
}

/// `start, start + step, …` in front of `stop`.
pub(crate) fn interval(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (start, stop, step) = (i64::from(int(&a[0])?), i64::from(int(&a[1])?), i64::from(int(&a[2])?));
    if step == 0 {
        return Err(ErrClass::Range);
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let n = (span.max(0) + step.abs() - 1) / step.abs();
    m.room(n)?;
    m.tuple((0..n).map(|k| Value::Int((start + k * step) as i32)).collect())
}

/// The set of all tuples `(a, b)`.
pub(crate) fn product(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (items(&a[0])?, items(&a[1])?);
    // Tuples may hold equal elements: what counts is the set.
    let (first, second) = (distinct(first), distinct(second));
    m.room(first.len() as i64 * second.len() as i64)?;
    let pairs = first.iter().flat_map(|x| second.iter().map(|y| Value::tuple(vec![x.clone(), y.clone()])));
    m.set(pairs.collect())
}

/// Elements without equal ones, ascending.
fn distinct(all: &[Value]) -> Vec<Value> {
    let mut all = all.to_vec();
    all.sort();
    all.dedup();
    all
}

/// Elements at equal positions, as tuples, as far as the shorter goes.
pub(crate) fn pair(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (items(&a[0])?, items(&a[1])?);
    m.tuple(first.iter().zip(second).map(|(x, y)| Value::tuple(vec![x.clone(), y.clone()])).collect())
}
