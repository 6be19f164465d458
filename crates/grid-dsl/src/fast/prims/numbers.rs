//! Numbers and locations.

use super::Maybe;
use crate::error::{ErrClass, Result};
use crate::fast::val::Val;
use crate::prim::Prim;

fn number(n: i64) -> Result<i32> {
    i32::try_from(n).map_err(|_| ErrClass::Overflow)
}

fn floor_div(a: i64, b: i64) -> i64 {
    let q = a / b;
    if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
}

/// Calls that programs do most of all, on plain numbers and small tuples, where nothing can fail: the value, which is no larger
/// than a cell or a part of the argument.
#[inline(always)]
pub(in crate::fast) fn quick(prim: Prim, args: &[&Val]) -> Option<Val> {
    let number = |f: fn(i32, i32) -> Option<i32>| match args {
        [Val::Int(a), Val::Int(b)] => f(*a, *b).map(Val::Int),
        [Val::Pair(ai, aj), Val::Pair(bi, bj)] => Some(Val::Pair(f(*ai, *bi)?, f(*aj, *bj)?)),
        _ => None,
    };
    match (prim, args) {
        (Prim::Add, _) => number(i32::checked_add),
        (Prim::Subtract, _) => number(i32::checked_sub),
        (Prim::Multiply, _) => number(i32::checked_mul),
        (Prim::Sign, [Val::Int(n)]) => Some(Val::Int(n.signum())),
        (Prim::Identity, [Val::Int(n)]) => Some(Val::Int(*n)),
        (Prim::Even, [Val::Int(n)]) => Some(Val::Bool(n % 2 == 0)),
        (Prim::Positive, [Val::Int(n)]) => Some(Val::Bool(*n > 0)),
        (Prim::Greater, [Val::Int(a), Val::Int(b)]) => Some(Val::Bool(a > b)),
        (Prim::Equality, [Val::Int(a), Val::Int(b)]) => Some(Val::Bool(a == b)),
        (Prim::First, [Val::Pair(i, _)]) => Some(Val::Int(*i)),
        (Prim::Last, [Val::Pair(_, j)]) => Some(Val::Int(*j)),
        (Prim::First, [Val::Cell(c, ..)]) => Some(Val::Int(*c)),
        (Prim::Last, [Val::Cell(_, i, j)]) => Some(Val::Pair(*i, *j)),
        (Prim::First, [Val::Tuple(seq)]) => seq.items.first().cloned(),
        (Prim::Last, [Val::Tuple(seq)]) => seq.items.last().cloned(),
        (Prim::Maximum, [Val::Pair(i, j)]) => Some(Val::Int(*i.max(j))),
        (Prim::Minimum, [Val::Pair(i, j)]) => Some(Val::Int(*i.min(j))),
        (Prim::Astuple, [Val::Int(a), Val::Int(b)]) => Some(Val::Pair(*a, *b)),
        (Prim::Astuple, [Val::Int(c), Val::Pair(i, j)]) => Some(Val::Cell(*c, *i, *j)),
        _ => None,
    }
}

/// `add`, `subtract`, `multiply`, `divide`: numbers and pairs in any combination.
pub(super) fn binary(prim: Prim, a: &Val, b: &Val) -> Maybe {
    let f = |a: i32, b: i32| -> Result<i32> {
        let (a, b) = (i64::from(a), i64::from(b));
        number(match prim {
            Prim::Add => a + b,
            Prim::Subtract => a - b,
            Prim::Multiply => a * b,
            _ if b == 0 => return Err(ErrClass::DivZero),
            _ => floor_div(a, b),
        })
    };
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Some(f(a, b).map(Val::Int));
    }
    let parts = |v: &Val| v.as_int().map(|n| (n, n)).or_else(|| v.as_pair());
    let ((ai, aj), (bi, bj)) = (parts(a)?, parts(b)?);
    Some(f(ai, bi).and_then(|i| Ok(Val::Pair(i, f(aj, bj)?))))
}

/// Functions of a number, or of each of a pair.
pub(super) fn unary(prim: Prim, a: &Val) -> Maybe {
    let f = |n: i32| -> Result<i32> {
        let n = i64::from(n);
        number(match prim {
            Prim::Invert => -n,
            Prim::Double => 2 * n,
            Prim::Halve => floor_div(n, 2),
            Prim::Increment => n + 1,
            Prim::Decrement => n - 1,
            Prim::Crement => n + n.signum(),
            _ => n.signum(),
        })
    };
    if let Some(n) = a.as_int() {
        return Some(f(n).map(Val::Int));
    }
    let (i, j) = a.as_pair()?;
    Some(f(i).and_then(|i| Ok(Val::Pair(i, f(j)?))))
}

/// `toivec`, `tojvec` of plain numbers.
pub(super) fn vector(prim: Prim, a: &Val) -> Maybe {
    let Val::Int(n) = a else { return None };
    Some(Ok(if prim == Prim::Toivec { Val::Pair(*n, 0) } else { Val::Pair(0, *n) }))
}
