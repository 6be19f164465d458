//! Functions of columns of numbers, and of pairs of numbers.

use std::sync::Arc;

use super::Column::{self, Bool, Int, One, Tuple};
use super::{Shared, one, tuple};
use crate::fast::val::Val;

/// Plain numbers.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    Same(i32),
    Each(&'a [i32]),
}

impl Numbers<'_> {
    /// A function of two columns of which one differs.
    pub(super) fn zip<T>(self, other: Self, f: impl Fn(i32, i32) -> T) -> Vec<T> {
        match (self, other) {
            (Self::Each(a), Self::Each(b)) => a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect(),
            (Self::Each(a), Self::Same(b)) => a.iter().map(|a| f(*a, b)).collect(),
            (Self::Same(a), Self::Each(b)) => b.iter().map(|b| f(a, *b)).collect(),
            (Self::Same(a), Self::Same(b)) => vec![f(a, b)],
        }
    }
}

/// Numbers that were computed in 64 bits, unless one has no place in 32.
fn narrow(all: Vec<i64>) -> Option<Shared> {
    let fits = all.iter().fold(true, |fits, &n| fits & (i64::from(n as i32) == n));
    fits.then(|| Arc::new(Int(all.into_iter().map(|n| n as i32).collect())))
}

/// A function of the numbers, or of each number of pairs, in two columns of which one differs.
pub(super) fn binary(a: &Column, b: &Column, f: impl Fn(i64, i64) -> i64 + Copy) -> Option<Shared> {
    if a.is_one() && b.is_one() {
        let (One(Val::Int(a)), One(Val::Int(b))) = (a, b) else { return None };
        return i32::try_from(f((*a).into(), (*b).into())).ok().map(|n| one(Val::Int(n)));
    }
    if let (Some(a), Some(b)) = (a.numbers(), b.numbers()) {
        return narrow(a.zip(b, |a, b| f(a.into(), b.into())));
    }
    let (a_parts, b_parts) = (a.parts(), b.parts());
    let part = |parts: &Option<Vec<Shared>>, whole: &Column, k: usize| match parts {
        Some(parts) if parts.len() == 2 => Some(parts[k].clone()),
        None => match whole {
            Int(all) => Some(Arc::new(Int(all.clone()))),
            One(Val::Int(n)) => Some(one(Val::Int(*n))),
            _ => None,
        },
        _ => None,
    };
    let mut both = Vec::with_capacity(2);
    for k in 0..2 {
        let (x, y) = (part(&a_parts, a, k)?, part(&b_parts, b, k)?);
        // Tuples inside of tuples are nothing to compute with.
        x.numbers().and(y.numbers())?;
        both.push(binary(&x, &y, f)?);
    }
    Some(tuple(both))
}

/// A function of each number, or of each number of pairs.
pub(super) fn unary(a: &Column, f: impl Fn(i64) -> i64 + Copy) -> Option<Shared> {
    match a {
        Int(all) => narrow(all.iter().map(|n| f((*n).into())).collect()),
        One(Val::Int(n)) => i32::try_from(f((*n).into())).ok().map(|n| one(Val::Int(n))),
        Tuple(parts) if parts.len() == 2 => {
            parts.iter().try_for_each(|part| part.numbers().map(|_| ()))?;
            Some(tuple(parts.iter().map(|part| unary(part, f)).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// Whether the values of two columns are equal, of which one differs: numbers, truth values, and tuples of those.
pub(super) fn equal(a: &Column, b: &Column) -> Option<Vec<bool>> {
    if let (Some(a), Some(b)) = (a.numbers(), b.numbers()) {
        return Some(a.zip(b, |a, b| a == b));
    }
    match (a, b) {
        (Bool(a), Bool(b)) => return Some(a.iter().zip(b).map(|(a, b)| a == b).collect()),
        (Bool(all), One(Val::Bool(to))) | (One(Val::Bool(to)), Bool(all)) => {
            return Some(all.iter().map(|b| b == to).collect());
        }
        _ => {}
    }
    let (a, b) = (a.parts()?, b.parts()?);
    if a.len() != b.len() {
        return None;
    }
    let mut all: Option<Vec<bool>> = None;
    for (a, b) in a.iter().zip(&b) {
        if a.is_one() && b.is_one() {
            if a.get(0) != b.get(0) {
                return None;
            }
            continue;
        }
        let next = equal(a, b)?;
        all = Some(match all {
            Some(all) => all.iter().zip(next).map(|(a, b)| a & b).collect(),
            None => next,
        });
    }
    all
}
