//! Numbers and logic. Arithmetic on a pair works on both components; a number beside a pair is used for both.

// Functions of one table have one form, also those that cannot fail.
#![allow(clippy::unnecessary_wraps)]

use super::views::{colour, int, number};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::order::compare;
use crate::value::Value;

/// Applies `f` to a number, or to both of a pair.
fn each(value: &Value, f: impl Fn(i64) -> i64) -> Result<Value> {
    match (value.as_int(), value.as_pair()) {
        (Some(n), _) => number(f(i64::from(n))),
        (_, Some((i, j))) => Ok(Value::tuple(vec![number(f(i64::from(i)))?, number(f(i64::from(j)))?])),
        _ => Err(ErrClass::Type),
    }
}

/// Applies `f` to two numbers, two pairs, or a number and a pair.
fn both_of(a: &Value, b: &Value, f: impl Fn(i64, i64) -> Result<i64>) -> Result<Value> {
    let parts = |v: &Value| v.as_int().map(|n| (n, n)).or_else(|| v.as_pair()).ok_or(ErrClass::Type);
    let f = |a: i32, b: i32| number(f(i64::from(a), i64::from(b))?);
    let ((ai, aj), (bi, bj)) = (parts(a)?, parts(b)?);
    if a.as_int().is_some() && b.as_int().is_some() {
        return f(ai, bi);
    }
    Ok(Value::tuple(vec![f(ai, bi)?, f(aj, bj)?]))
}

/// The quotient, rounded towards minus infinity.
pub(crate) fn floor_div(a: i64, b: i64) -> i64 {
    let q = a / b;
    if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
}

/// The argument.
pub(crate) fn identity(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(a[0].clone())
}

/// `a + b`
pub(crate) fn add(_: &mut Machine, a: &[Value]) -> Result<Value> {
    both_of(&a[0], &a[1], |a, b| Ok(a + b))
}

/// `a - b`
pub(crate) fn subtract(_: &mut Machine, a: &[Value]) -> Result<Value> {
    both_of(&a[0], &a[1], |a, b| Ok(a - b))
}

/// `a · b`
pub(crate) fn multiply(_: &mut Machine, a: &[Value]) -> Result<Value> {
    both_of(&a[0], &a[1], |a, b| Ok(a * b))
}

/// `⌊a / b⌋`
pub(crate) fn divide(_: &mut Machine, a: &[Value]) -> Result<Value> {
    both_of(&a[0], &a[1], |a, b| if b == 0 { Err(ErrClass::DivZero) } else { Ok(floor_div(a, b)) })
}

/// `-n`
pub(crate) fn invert(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| -n)
}

/// `2 n`
pub(crate) fn double(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| 2 * n)
}

/// `⌊n / 2⌋`
pub(crate) fn halve(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| floor_div(n, 2))
}

/// `n + 1`
pub(crate) fn increment(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| n + 1)
}

/// `n - 1`
pub(crate) fn decrement(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| n - 1)
}

/// One further away from zero; zero stays.
pub(crate) fn crement(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], |n| n + n.signum())
}

/// -1, 0 or 1
pub(crate) fn sign(_: &mut Machine, a: &[Value]) -> Result<Value> {
    each(&a[0], i64::signum)
}

/// `n mod 2 = 0`
pub(crate) fn even(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(int(&a[0])? % 2 == 0))
}

/// `n > 0`
pub(crate) fn positive(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(int(&a[0])? > 0))
}

/// Not, by truth.
pub(crate) fn flip(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(!a[0].truth()))
}

/// And: the operand that decides.
pub(crate) fn both(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(if a[0].truth() { a[1].clone() } else { a[0].clone() })
}

/// Or: the operand that decides.
pub(crate) fn either(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(if a[0].truth() { a[0].clone() } else { a[1].clone() })
}

/// Structural equality.
pub(crate) fn equality(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(a[0] == a[1]))
}

/// First above second, by key comparison.
pub(crate) fn greater(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(compare(&a[0], &a[1])?.is_gt()))
}

/// `(i, 0)`, of `None`, too.
pub(crate) fn toivec(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::tuple(vec![colour(&a[0])?.clone(), Value::Int(0)]))
}

/// `(0, j)`, of `None`, too.
pub(crate) fn tojvec(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::tuple(vec![Value::Int(0), colour(&a[0])?.clone()]))
}

/// `(a, b)`
pub(crate) fn astuple(m: &mut Machine, a: &[Value]) -> Result<Value> {
    m.tuple(a.to_vec())
}

/// The second argument when the first is true, else the third.
pub(crate) fn branch(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(if a[0].truth() { a[1].clone() } else { a[2].clone() })
}
