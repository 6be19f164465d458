//! The dialect `batt`: a derived vocabulary of programs that score many candidates at once.

use super::containers::{counts, first_occurrences, keys};
use super::painting::objects_of;
use super::views::{function, int, items, set};
use super::{colours, containers, functions, grids, patches};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::order::ascending;
use crate::value::Value;

/// `objects` with its flags in one number: 4 for univalued, 2 for diagonal, 1 for without background; else `None`.
pub(crate) fn o_g(m: &mut Machine, a: &[Value]) -> Result<Value> {
    super::views::grid(m, &a[0])?;
    let flags = int(&a[1])?;
    if !(0..8).contains(&flags) {
        return Ok(Value::None);
    }
    objects_of(m, &a[0], flags & 4 != 0, flags & 2 != 0, flags & 1 != 0)
}

/// [`o_g`] as a tuple.
pub(crate) fn o_g_t(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match o_g(m, a)? {
        Value::None => Ok(Value::None),
        objects => containers::totuple(m, &[objects]),
    }
}

/// The colours of a grid, as an ascending tuple.
pub(crate) fn p_g(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let colours = colours::palette(m, a)?;
    containers::totuple(m, &[colours])
}

/// The colours of an object, as an ascending tuple.
pub(crate) fn p_o(m: &mut Machine, a: &[Value]) -> Result<Value> {
    p_g(m, a)
}

/// The colours, as a set.
pub(crate) fn p_f(m: &mut Machine, a: &[Value]) -> Result<Value> {
    colours::palette(m, a)
}

/// The second element; `None` if there is only one.
pub(crate) fn second(_: &mut Machine, a: &[Value]) -> Result<Value> {
    match items(&a[0])? {
        [] => Err(ErrClass::Empty),
        [_] => Ok(Value::None),
        [_, second, ..] => Ok(second.clone()),
    }
}

/// `difference` of tuples.
pub(crate) fn difference_tuple(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match a {
        [Value::Tuple(_), Value::Tuple(_)] => containers::difference(m, a),
        _ => Err(ErrClass::Type),
    }
}

/// Input and output of a sample.
fn sample(value: &Value) -> Result<(&Value, &Value)> {
    match value {
        Value::Tuple(t) => match &**t {
            [input, output] => Ok((input, output)),
            _ => Err(ErrClass::Type),
        },
        _ => Err(ErrClass::Type),
    }
}

/// Samples whose input is not their output.
pub(crate) fn dedupe_pair_tuple(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut kept = Vec::new();
    for value in items(&a[0])? {
        let (input, output) = sample(value)?;
        if input != output {
            kept.push(value.clone());
        }
    }
    Ok(Value::tuple(kept))
}

/// What `f` finds in inputs but not in outputs, or the other way round.
fn only_on_one_side(m: &mut Machine, a: &[Value], inputs: bool) -> Result<Value> {
    function(&a[1])?;
    let samples = items(&a[0])?.iter().map(sample).collect::<Result<Vec<_>>>()?;
    let mut side = |of: Vec<Value>| -> Result<Value> {
        let found = functions::mapply(m, &[a[1].clone(), Value::tuple(of)])?;
        Ok(Value::tuple(first_occurrences(items(&found)?)))
    };
    let of_inputs = side(samples.iter().map(|s| s.0.clone()).collect())?;
    let of_outputs = side(samples.iter().map(|s| s.1.clone()).collect())?;
    let both = if inputs { [of_inputs, of_outputs] } else { [of_outputs, of_inputs] };
    containers::difference(m, &both)
}

/// What `f` finds in inputs alone.
pub(crate) fn c_iz(m: &mut Machine, a: &[Value]) -> Result<Value> {
    only_on_one_side(m, a, true)
}

/// What `f` finds in outputs alone.
pub(crate) fn c_zo(m: &mut Machine, a: &[Value]) -> Result<Value> {
    only_on_one_side(m, a, false)
}

/// `pick` of [`c_iz`].
pub(crate) fn c_iz_n(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let found = c_iz(m, a)?;
    m.call_value(&a[2], &[found])
}

/// `pick` of [`c_zo`].
pub(crate) fn c_zo_n(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let found = c_zo(m, a)?;
    m.call_value(&a[2], &[found])
}

/// The first mirror or rotation that makes every output of its input; else `None`.
pub(crate) fn a_mr(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let samples = items(&a[0])?.iter().map(sample).collect::<Result<Vec<_>>>()?;
    for which in 0..8 {
        let mut all = true;
        for (input, output) in &samples {
            all = all && mir_rot_t(m, &[(*input).clone(), Value::Int(which)])? == **output;
        }
        if all {
            return Ok(Value::Int(which));
        }
    }
    Ok(Value::None)
}

/// A mirrored or rotated grid: 0 hmirror, 1 dmirror, 2 vmirror, 3 cmirror, 4 rot90, 5 rot180, 6 rot270, else unchanged.
pub(crate) fn mir_rot_t(m: &mut Machine, a: &[Value]) -> Result<Value> {
    super::views::grid(m, &a[0])?;
    match int(&a[1])? {
        0 => grids::hmirror(m, a),
        1 => grids::dmirror(m, a),
        2 => grids::vmirror(m, a),
        3 => grids::cmirror(m, a),
        4 => grids::rot90(m, a),
        5 => grids::rot180(m, a),
        6 => grids::rot270(m, a),
        _ => Ok(a[0].clone()),
    }
}

/// A mirrored patch: 0 hmirror, 1 dmirror, 2 vmirror, 3 cmirror, else unchanged.
pub(crate) fn mir_rot_f(m: &mut Machine, a: &[Value]) -> Result<Value> {
    set(&a[0])?;
    match int(&a[1])? {
        0 => grids::hmirror(m, a),
        1 => grids::dmirror(m, a),
        2 => grids::vmirror(m, a),
        3 => grids::cmirror(m, a),
        _ => Ok(a[0].clone()),
    }
}

/// Element `n` of some, from behind if negative.
fn nth(all: &[Value], n: i32) -> Option<&Value> {
    let at = if n < 0 { all.len() as i64 + i64::from(n) } else { i64::from(n) };
    all.get(usize::try_from(at).ok()?)
}

/// The container without elements of the kind of another.
fn empty_like(value: &Value) -> Value {
    match value {
        Value::Set(_) => Value::set(vec![]),
        _ => Value::tuple(vec![]),
    }
}

/// Element `n` of a tuple, from behind if negative.
pub(crate) fn get_nth_t(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let n = int(&a[1])?;
    match &a[0] {
        Value::Tuple(t) => nth(t, n).cloned().ok_or(ErrClass::Index),
        _ => Err(ErrClass::Index),
    }
}

/// Element `n` of a set; outside of it the empty set.
pub(crate) fn get_nth_f(_: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(nth(set(&a[0])?, int(&a[1])?).cloned().unwrap_or_else(|| empty_like(&a[0])))
}

/// Elements by a key, ascending or descending; equal keys keep their order.
fn by_key(m: &mut Machine, container: &Value, f: &Value, descending: bool) -> Result<Vec<(Value, Value)>> {
    let all = items(container)?;
    let keys = keys(m, function(f)?, all)?;
    let order = if descending {
        // Ascending from behind, read from behind: equal ones end up in their first order.
        let backwards: Vec<Value> = keys.iter().rev().cloned().collect();
        ascending(&backwards)?.into_iter().rev().map(|at| keys.len() - 1 - at).collect()
    } else {
        ascending(&keys)?
    };
    Ok(order.into_iter().map(|at| (all[at].clone(), keys[at].clone())).collect())
}

/// Element `n` of a tuple by a key.
pub(crate) fn get_nth_by_key_t(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let sorted: Vec<Value> = by_key(m, &a[0], &a[2], false)?.into_iter().map(|(value, _)| value).collect();
    nth(&sorted, int(&a[1])?).cloned().ok_or(ErrClass::Index)
}

/// Element `n` of a set by a key; outside of it the empty set.
pub(crate) fn get_nth_by_key_f(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let sorted: Vec<Value> = by_key(m, &a[0], &a[2], false)?.into_iter().map(|(value, _)| value).collect();
    Ok(nth(&sorted, int(&a[1])?).cloned().unwrap_or_else(|| empty_like(&a[0])))
}

/// Element `n` by a key, the largest first; outside of it the empty container.
pub(crate) fn get_arg_rank(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let sorted: Vec<Value> = by_key(m, &a[0], &a[1], true)?.into_iter().map(|(value, _)| value).collect();
    Ok(nth(&sorted, int(&a[2])?).cloned().unwrap_or_else(|| empty_like(&a[0])))
}

/// Key `n`, the smallest first; outside of it that of 0.
pub(crate) fn get_val_rank(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let sorted: Vec<Value> = by_key(m, &a[0], &a[1], false)?.into_iter().map(|(_, key)| key).collect();
    match nth(&sorted, int(&a[2])?) {
        Some(key) => Ok(key.clone()),
        None => m.call_value(&a[1], &[Value::Int(0)]),
    }
}

/// Number `n`, the largest first; outside of it 0.
pub(crate) fn get_rank(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut all = items(&a[0])?.iter().map(int).collect::<Result<Vec<i32>>>()?;
    all.sort_unstable_by(|x, y| y.cmp(x));
    let all: Vec<Value> = all.into_iter().map(Value::Int).collect();
    Ok(nth(&all, int(&a[1])?).cloned().unwrap_or(Value::Int(0)))
}

/// Distinct element `n`, the rarest first and of equally rare ones the smallest; outside of them the empty container.
pub(crate) fn get_common_rank(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut counts = counts(items(&a[0])?);
    counts.sort_by_key(|(_, n)| *n);
    let sorted: Vec<Value> = counts.into_iter().map(|(value, _)| value).collect();
    Ok(nth(&sorted, int(&a[1])?).cloned().unwrap_or_else(|| empty_like(&a[0])))
}

/// Colour `n`, the most frequent first and of equally frequent ones the first that appears; outside of them the empty
/// container.
pub(crate) fn get_color_rank(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut counts = colours::histogram(m, &a[0])?;
    let mut seen = Vec::new();
    match &a[0] {
        Value::Tuple(rows) => rows.iter().filter_map(Value::items).flatten().for_each(|c| seen.push(c)),
        cells => items(cells)?.iter().filter_map(|c| c.items()?.first()).for_each(|c| seen.push(c)),
    }
    counts.sort_by_key(|(colour, n)| (std::cmp::Reverse(*n), seen.iter().position(|c| *c == colour)));
    let sorted: Vec<Value> = counts.into_iter().map(|(colour, _)| colour).collect();
    Ok(nth(&sorted, int(&a[1])?).cloned().unwrap_or_else(|| empty_like(&a[0])))
}

/// A corner of the bounding box: 0 upper left, 1 upper right, 2 lower left, 3 lower right.
pub(crate) fn corner(_: &mut Machine, a: &[Value]) -> Result<Value> {
    match int(&a[1])? {
        which @ 0..=3 => patches::corner(&a[0], which as u8),
        _ => Err(ErrClass::Index),
    }
}

/// A side of the bounding box: 0 lowermost, 1 uppermost, 2 leftmost, 3 rightmost.
pub(crate) fn col_row(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match int(&a[1])? {
        0 => patches::lowermost(m, a),
        1 => patches::uppermost(m, a),
        2 => patches::leftmost(m, a),
        3 => patches::rightmost(m, a),
        _ => Err(ErrClass::Index),
    }
}
