//! Key comparison: how `order`, `argmax`, `maximum`, `greater` and their kin compare.
//!
//! Unlike the canonical order it knows no functions and no mixed kinds, and sets compare by their sizes alone.

use std::cmp::Ordering;

use crate::error::{ErrClass, Result};
use crate::value::Value;

/// Compares numbers by value, tuples by the first elements that are not equal, sets by size.
pub fn compare(a: &Value, b: &Value) -> Result<Ordering> {
    match (a, b) {
        (Value::Tuple(a), Value::Tuple(b)) => match a.iter().zip(b).find(|(x, y)| x != y) {
            Some((x, y)) => compare(x, y),
            None => Ok(a.len().cmp(&b.len())),
        },
        (Value::Set(a), Value::Set(b)) => Ok(a.len().cmp(&b.len())),
        _ => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => Err(ErrClass::Type),
        },
    }
}

/// The position of the first extreme of some keys: the largest, or the smallest. `None` without keys.
pub(crate) fn extreme(keys: &[Value], largest: bool) -> Result<Option<usize>> {
    let wanted = if largest { Ordering::Greater } else { Ordering::Less };
    let mut best = 0;
    for at in 1..keys.len() {
        if compare(&keys[at], &keys[best])? == wanted {
            best = at;
        }
    }
    Ok(if keys.is_empty() { None } else { Some(best) })
}

/// Positions in ascending order of their keys; equal keys keep their order.
pub(crate) fn ascending(keys: &[Value]) -> Result<Vec<usize>> {
    merge_sort(keys, (0..keys.len()).collect(), &compare)
}

/// A merge sort whose comparison may fail. The order of comparisons is fixed: with mixed kinds that are never compared
/// directly the answer must not depend on the library's algorithm.
pub(crate) fn merge_sort<T>(
    keys: &[T],
    mut order: Vec<usize>,
    compare: &impl Fn(&T, &T) -> Result<Ordering>,
) -> Result<Vec<usize>> {
    if order.len() < 2 {
        return Ok(order);
    }
    let right = merge_sort(keys, order.split_off(order.len() / 2), compare)?;
    let left = merge_sort(keys, order, compare)?;
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        if compare(&keys[right[r]], &keys[left[l]])?.is_lt() {
            merged.push(right[r]);
            r += 1;
        } else {
            merged.push(left[l]);
            l += 1;
        }
    }
    merged.extend_from_slice(&left[l..]);
    merged.extend_from_slice(&right[r..]);
    Ok(merged)
}
