//! The canonical order and key comparison, through all forms of values.

use std::cmp::Ordering;
use std::sync::Arc;

use super::val::Val;
use crate::error::{ErrClass, Result};
use crate::order::merge_sort;

impl Val {
    fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bool(_) | Self::Int(_) => 1,
            Self::Pair(..) | Self::Cell(..) | Self::Grid(_) | Self::Tuple(_) => 2,
            Self::Patch(_) | Self::Set(_) => 3,
            Self::Prim(_) | Self::Closure(_) => 4,
        }
    }

    /// Elements of a container; 0 for what is none.
    pub(crate) fn count(&self) -> usize {
        self.items().map_or(0, |items| items.len())
    }
}

/// As the order of [`Value`](crate::Value).
impl Ord for Val {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Pair(ai, aj), Self::Pair(bi, bj)) => (ai, aj).cmp(&(bi, bj)),
            (Self::Cell(ac, ai, aj), Self::Cell(bc, bi, bj)) => (ac, ai, aj).cmp(&(bc, bi, bj)),
            (Self::Patch(a), Self::Patch(b)) if a.object == b.object => a.keys.cmp(&b.keys),
            (Self::Grid(a), Self::Grid(b)) => {
                if a.w == b.w {
                    return a.cells.cmp(&b.cells);
                }
                let (row_a, row_b) = (&a.cells[..a.w], &b.cells[..b.w]);
                row_a.cmp(row_b)
            }
            (Self::Tuple(a), Self::Tuple(b)) | (Self::Set(a), Self::Set(b)) => {
                if Arc::ptr_eq(a, b) {
                    Ordering::Equal
                } else {
                    a.items.cmp(&b.items)
                }
            }
            (Self::Prim(a), Self::Prim(b)) => a.name().cmp(b.name()),
            (Self::Prim(_) | Self::Closure(_), Self::Prim(_) | Self::Closure(_)) => {
                self.to_value().to_text().cmp(&other.to_value().to_text())
            }
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.rank().cmp(&other.rank()).then_with(|| by_elements(self, other)),
            },
        }
    }
}

/// Two tuples, or two sets, in different forms.
fn by_elements(a: &Val, b: &Val) -> Ordering {
    let (Ok(a), Ok(b)) = (a.items(), b.items()) else { return Ordering::Equal };
    let common = a.len().min(b.len());
    let first = (0..common).map(|k| a.get(k).cmp(&b.get(k))).find(|o| o.is_ne());
    first.unwrap_or_else(|| a.len().cmp(&b.len()))
}

impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Patch(a), Self::Patch(b)) => a.object == b.object && a.keys == b.keys,
            (Self::Grid(a), Self::Grid(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) | (Self::Set(a), Self::Set(b)) if a.items.len() != b.items.len() => false,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Val {}

/// As [`compare`](crate::compare).
pub(crate) fn compare(a: &Val, b: &Val) -> Result<Ordering> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => Ok(a.cmp(b)),
        (Val::Pair(ai, aj), Val::Pair(bi, bj)) => Ok((ai, aj).cmp(&(bi, bj))),
        _ if a.is_set() && b.is_set() => Ok(a.count().cmp(&b.count())),
        _ if a.is_tuple() && b.is_tuple() => {
            let (a, b) = (a.items()?, b.items()?);
            for k in 0..a.len().min(b.len()) {
                let (x, y) = (a.get(k), b.get(k));
                if x != y {
                    return compare(&x, &y);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        _ => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => Err(ErrClass::Type),
        },
    }
}

/// The position of the first extreme of some keys. `None` without keys.
pub(crate) fn extreme(keys: &[Val], largest: bool) -> Result<Option<usize>> {
    let wanted = if largest { Ordering::Greater } else { Ordering::Less };
    if let Some(Val::Int(first)) = keys.first() {
        let mut best = (*first, 0);
        let number = |(at, key): (usize, &Val)| match key {
            Val::Int(n) => {
                if if largest { *n > best.0 } else { *n < best.0 } {
                    best = (*n, at);
                }
                true
            }
            _ => false,
        };
        if keys.iter().enumerate().all(number) {
            return Ok(Some(best.1));
        }
    }
    let mut best = 0;
    for at in 1..keys.len() {
        if compare(&keys[at], &keys[best])? == wanted {
            best = at;
        }
    }
    Ok(if keys.is_empty() { None } else { Some(best) })
}

/// Positions in ascending order of their keys; equal keys keep their order. Compares in the order of the definition.
pub(crate) fn ascending(keys: &[Val]) -> Result<Vec<usize>> {
    if let Some(numbers) = keys.iter().map(Val::as_int).collect::<Option<Vec<i32>>>() {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&at| numbers[at]);
        return Ok(order);
    }
    merge_sort(keys, (0..keys.len()).collect(), &compare)
}
