//! Colours and sizes. Functions here take every tuple for a grid and every set for a patch, unless they say otherwise.

use super::views::{self, Bounds, colour, grid, grid_with_width, items, pair, patch};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::Value;

/// The colours of all cells of a grid or an object.
fn colours<'a>(m: &Machine, element: &'a Value) -> Result<Vec<&'a Value>> {
    if let Value::Tuple(_) = element {
        return Ok(grid(m, element)?.rows.into_iter().flatten().collect());
    }
    // The first of two components: of a location it is the row.
    let first = |cell: &'a Value| match cell {
        Value::Tuple(cell) if cell.len() == 2 => Ok(&cell[0]),
        _ => Err(ErrClass::Type),
    };
    items(element)?.iter().map(first).collect()
}

/// Each colour that is there, ascending, with its count.
pub(crate) fn histogram(m: &Machine, element: &Value) -> Result<Vec<(Value, usize)>> {
    let mut counts: std::collections::BTreeMap<&Value, usize> = std::collections::BTreeMap::new();
    for colour in colours(m, element)? {
        *counts.entry(colour).or_default() += 1;
    }
    Ok(counts.into_iter().map(|(colour, n)| (colour.clone(), n)).collect())
}

/// The most frequent colour, the lowest of several.
pub(crate) fn background(m: &Machine, element: &Value) -> Result<Value> {
    let counts = histogram(m, element)?;
    counts.into_iter().rev().max_by_key(|(_, n)| *n).map(|(colour, _)| colour).ok_or(ErrClass::Empty)
}

/// The most frequent colour, the lowest of several.
pub(crate) fn mostcolor(m: &mut Machine, a: &[Value]) -> Result<Value> {
    background(m, &a[0])
}

/// The least frequent colour of those that are there, the lowest of several.
pub(crate) fn leastcolor(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let counts = histogram(m, &a[0])?;
    counts.into_iter().min_by_key(|(_, n)| *n).map(|(colour, _)| colour).ok_or(ErrClass::Empty)
}

/// The colours that are there.
pub(crate) fn palette(m: &mut Machine, a: &[Value]) -> Result<Value> {
    m.set(histogram(m, &a[0])?.into_iter().map(|(colour, _)| colour).collect())
}

/// How many colours are there.
pub(crate) fn numcolors(m: &mut Machine, a: &[Value]) -> Result<Value> {
    Ok(Value::Int(histogram(m, &a[0])?.len() as i32))
}

/// How many cells have a colour.
pub(crate) fn colorcount(m: &mut Machine, a: &[Value]) -> Result<Value> {
    colour(&a[1])?;
    Ok(Value::Int(colours(m, &a[0])?.into_iter().filter(|c| **c == a[1]).count() as i32))
}

/// The first component of an object's first cell.
fn first_colour(object: &Value) -> Result<&Value> {
    match items(object)?.first().ok_or(ErrClass::Empty)? {
        Value::Tuple(cell) => cell.first().ok_or(ErrClass::Index),
        _ => Err(ErrClass::Type),
    }
}

/// The colour of the first cell.
pub(crate) fn color(_: &mut Machine, a: &[Value]) -> Result<Value> {
    first_colour(&a[0]).cloned()
}

/// The set of objects whose first cell has a colour.
pub(crate) fn colorfilter(m: &mut Machine, a: &[Value]) -> Result<Value> {
    colour(&a[1])?;
    let mut kept = Vec::new();
    for object in items(&a[0])? {
        if *first_colour(object)? == a[1] {
            kept.push(object.clone());
        }
    }
    m.set(kept)
}

/// Rows and columns of a piece: of a grid, or of the bounding box of a patch.
pub(crate) fn extent(piece: &Value) -> Result<(i64, i64)> {
    if let Value::Tuple(_) = piece {
        let (rows, width) = views::rows(piece)?;
        return Ok((rows.len() as i64, width as i64));
    }
    Ok(patch(piece)?.bounds().map_or((0, 0), |b: Bounds| (b.height(), b.width())))
}

/// Rows of a grid or of a bounding box; elements of any other tuple.
pub(crate) fn height(_: &mut Machine, a: &[Value]) -> Result<Value> {
    if let Value::Tuple(_) = &a[0] {
        return Ok(Value::Int(views::stacked(&a[0])?.len() as i32));
    }
    views::number(extent(&a[0])?.0)
}

/// Columns of a grid or of a bounding box.
pub(crate) fn width(_: &mut Machine, a: &[Value]) -> Result<Value> {
    views::number(extent(&a[0])?.1)
}

/// `(height, width)`
pub(crate) fn shape(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (h, w) = extent(&a[0])?;
    views::location(h, w)
}

/// Higher than wide.
pub(crate) fn portrait(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (h, w) = extent(&a[0])?;
    Ok(Value::Bool(h > w))
}

/// As high as wide; a patch must fill its bounding box, too.
pub(crate) fn square(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (h, w) = extent(&a[0])?;
    if let Value::Tuple(rows) = &a[0] {
        return if rows.is_empty() { Err(ErrClass::Index) } else { Ok(Value::Bool(h == w)) };
    }
    Ok(Value::Bool(h == w && h.saturating_mul(w) == items(&a[0])?.len() as i64))
}

/// One column without gaps: `size = height` and `width = 1`. Any patch.
pub(crate) fn vline(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let patch = patch(&a[0])?;
    let line = |b: Bounds| b.height() == patch.items.len() as i64 && b.width() == 1;
    Ok(Value::Bool(patch.bounds().is_some_and(line)))
}

/// One row without gaps: `size = width` and `height = 1`. Any patch.
pub(crate) fn hline(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let patch = patch(&a[0])?;
    let line = |b: Bounds| b.width() == patch.items.len() as i64 && b.height() == 1;
    Ok(Value::Bool(patch.bounds().is_some_and(line)))
}

/// The cell at a location, `None` outside. Needs a first row.
pub(crate) fn index(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (grid, at) = (grid_with_width(m, &a[0])?, pair(&a[1])?);
    Ok(grid.at(at).cloned().unwrap_or(Value::None))
}
