//! Grids: cutting, turning, scaling, joining.

use super::painting::uniform;
use super::patches::mapped;
use super::views::{Grid, colour, grid, grid_with_width, int, items, pair, patch, stacked, written};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::Value;

/// Positions that a slice `from : from + count` of a sequence keeps: negative ends count from behind, once.
fn slice(from: i64, count: i64, length: usize) -> std::ops::Range<usize> {
    let length = length as i64;
    let end = |n: i64| if n < 0 { n + length } else { n }.clamp(0, length) as usize;
    let (from, to) = (end(from), end(from.saturating_add(count)));
    from..to.max(from)
}

/// The rows `start.0 ..` and in them the columns `start.1 ..` of a grid.
pub(crate) fn cropped(m: &Machine, value: &Value, start: (i64, i64), dims: (i64, i64)) -> Result<Value> {
    let grid = grid(m, value)?;
    let columns = slice(start.1, dims.1, grid.width);
    let rows = &grid.rows[slice(start.0, dims.0, grid.height())];
    m.grid(rows.iter().map(|row| row[columns.clone()].to_vec()).collect())
}

/// A part of a grid, by slices.
pub(crate) fn crop(m: &mut Machine, a: &[Value]) -> Result<Value> {
    cropped(m, &a[0], pair(&a[1])?, pair(&a[2])?)
}

/// A grid of one colour, even of `None`. Sides below 1 give no rows, or empty ones.
pub(crate) fn canvas(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (new, (h, w)) = (colour(&a[0])?, pair(&a[1])?);
    let (h, w) = (h.max(0), w.max(0));
    m.sides(h, w)?;
    m.grid(vec![vec![new.clone(); w as usize]; h as usize])
}

fn reversed(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.reverse();
    rows
}

fn each_reversed(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    for row in &mut rows {
        row.reverse();
    }
    rows
}

/// A quarter turn clockwise.
pub(crate) fn rot90(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let turned = each_reversed(grid(m, &a[0])?.transposed());
    m.grid(turned)
}

/// A half turn.
pub(crate) fn rot180(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let turned = each_reversed(reversed(grid(m, &a[0])?.to_rows()));
    m.grid(turned)
}

/// A quarter turn counter-clockwise.
pub(crate) fn rot270(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let turned = reversed(grid(m, &a[0])?.transposed());
    m.grid(turned)
}

/// Turns a grid over with one function, or each location of a patch with another.
fn mirrored(
    m: &Machine,
    piece: &Value,
    of_grid: impl Fn(&Grid) -> Vec<Vec<Value>>,
    of_patch: impl Fn(super::views::Bounds, i64, i64) -> (i64, i64),
) -> Result<Value> {
    if let Value::Tuple(_) = piece {
        return m.grid(of_grid(&grid(m, piece)?));
    }
    let bounds = patch(piece)?.bounds().ok_or(ErrClass::Index)?;
    mapped(m, piece, |i, j| of_patch(bounds, i, j))
}

/// Up and down exchanged; the elements of any other tuple, too.
pub(crate) fn hmirror(m: &mut Machine, a: &[Value]) -> Result<Value> {
    if let Value::Tuple(_) = &a[0] {
        return m.tuple(stacked(&a[0])?.iter().rev().cloned().collect());
    }
    mirrored(m, &a[0], |g| reversed(g.to_rows()), |b, i, j| (b.top + b.bottom - i, j))
}

/// Left and right exchanged.
pub(crate) fn vmirror(m: &mut Machine, a: &[Value]) -> Result<Value> {
    mirrored(m, &a[0], |g| each_reversed(g.to_rows()), |b, i, j| (i, b.left + b.right - j))
}

fn transposed(grid: &Grid) -> Vec<Vec<Value>> {
    grid.transposed()
}

/// Rows and columns exchanged; a patch keeps its upper-left corner.
pub(crate) fn dmirror(m: &mut Machine, a: &[Value]) -> Result<Value> {
    mirrored(m, &a[0], transposed, |b, i, j| (j - b.left + b.top, i - b.top + b.left))
}

/// Mirrored at the other diagonal; a patch as by `vmirror`, `dmirror`, `vmirror`.
pub(crate) fn cmirror(m: &mut Machine, a: &[Value]) -> Result<Value> {
    if let Value::Tuple(_) = &a[0] {
        let turned = reversed(each_reversed(grid(m, &a[0])?.transposed()));
        return m.grid(turned);
    }
    let x = vmirror(m, a)?;
    let x = dmirror(m, &[x])?;
    vmirror(m, &[x])
}

/// Each element that many times.
fn stretched<T: Clone>(all: &[T], times: usize) -> Vec<T> {
    all.iter().flat_map(|x| std::iter::repeat_n(x.clone(), times)).collect()
}

/// A factor as a count, and whether the sides may grow that much.
fn factor(m: &Machine, value: &Value, sides: &[usize]) -> Result<usize> {
    let f = i64::from(int(value)?).max(0);
    sides.iter().try_for_each(|&side| m.sides(side as i64 * f, 0))?;
    Ok(f as usize)
}

/// Each cell several times in its row.
pub(crate) fn hupscale(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid(m, &a[0])?;
    let f = factor(m, &a[1], &[grid.width])?;
    m.grid(grid.rows.iter().map(|row| stretched(row, f)).collect())
}

/// Each row several times.
pub(crate) fn vupscale(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let rows = stacked(&a[0])?;
    let f = factor(m, &a[1], &[rows.len()])?;
    m.tuple(stretched(rows, f))
}

/// Each cell becomes a block; an object grows from its upper-left corner, which stays.
pub(crate) fn upscale(m: &mut Machine, a: &[Value]) -> Result<Value> {
    if let Value::Tuple(_) = &a[0] {
        let grid = grid(m, &a[0])?;
        let f = factor(m, &a[1], &[grid.height(), grid.width])?;
        let rows: Vec<Vec<Value>> = grid.rows.iter().map(|row| stretched(row, f)).collect();
        return m.grid(stretched(&rows, f));
    }
    let (object, f) = (patch(&a[0])?, i64::from(int(&a[1])?).max(0));
    if object.kind == super::views::Kind::Indices {
        return Err(ErrClass::Type);
    }
    let Some(b) = object.bounds() else { return m.set(vec![]) };
    m.room((object.items.len() as i64).saturating_mul(f.saturating_mul(f)))?;
    let mut cells = Vec::new();
    for ((i, j), item) in object.locations().zip(object.items) {
        let colour = &items(item)?[0];
        let (top, left) = (b.top + (i - b.top) * f, b.left + (j - b.left) * f);
        for i in top..top + f {
            for j in left..left + f {
                cells.push(super::painting::cell(colour, i, j)?);
            }
        }
    }
    m.set(cells)
}

/// Rows and columns whose number is a multiple of the factor. Needs a first row.
pub(crate) fn downscale(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (grid, f) = (grid_with_width(m, &a[0])?, int(&a[1])?.unsigned_abs() as usize);
    if f == 0 {
        return Err(ErrClass::DivZero);
    }
    m.grid(grid.rows.iter().step_by(f).map(|row| row.iter().step_by(f).cloned().collect()).collect())
}

/// Side by side, as far as the lower one goes.
pub(crate) fn hconcat(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (left, right) = (grid(m, &a[0])?, grid(m, &a[1])?);
    m.grid(left.rows.iter().zip(&right.rows).map(|(l, r)| [*l, *r].concat()).collect())
}

/// One above the other; widths are not compared.
pub(crate) fn vconcat(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let rows = [stacked(&a[0])?, stacked(&a[1])?].concat();
    m.sides(rows.len() as i64, 0)?;
    m.tuple(rows)
}

/// `n` pieces along one axis, one line left out between them where they do not fill it.
fn split(m: &Machine, value: &Value, n: i64, side: usize, along_rows: bool) -> Result<Value> {
    if n == 0 {
        return Err(ErrClass::DivZero);
    }
    if n < 0 {
        return m.tuple(vec![]);
    }
    m.room(n)?;
    let side = side as i64;
    let piece = side / n;
    let step = piece + i64::from(side % n != 0);
    let most = i64::from(i32::MAX);
    let cut = |k: i64| {
        if along_rows {
            cropped(m, value, (k * step, 0), (piece, most))
        } else {
            cropped(m, value, (0, k * step), (most, piece))
        }
    };
    let pieces: Result<Vec<Value>> = (0..n).map(cut).collect();
    m.tuple(pieces?)
}

/// `n` pieces side by side. Costs as much again for each piece. Needs a first row.
pub(crate) fn hsplit(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (width, n) = (grid_with_width(m, &a[0])?.width, int(&a[1])?);
    m.room(i64::from(n))?;
    m.spend(n.max(0) as u64 * u64::from(a[0].weight()))?;
    split(m, &a[0], i64::from(n), width, false)
}

/// `n` pieces one above the other. Costs as much again for each piece. Needs a first row.
pub(crate) fn vsplit(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (height, n) = (grid_with_width(m, &a[0])?.height(), int(&a[1])?);
    m.room(i64::from(n))?;
    m.spend(n.max(0) as u64 * u64::from(a[0].weight()))?;
    split(m, &a[0], i64::from(n), height, true)
}

/// The first grid's cells where both agree, else a fallback. Needs a first row.
pub(crate) fn cellwise(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (grid_with_width(m, &a[0])?, grid(m, &a[1])?);
    let fallback = colour(&a[2])?;
    let mut rows = first.to_rows();
    for (i, j, cell) in first.cells() {
        if second.at((i, j)).ok_or(ErrClass::Index)? != cell {
            rows[i as usize][j as usize] = written(fallback)?;
        }
    }
    m.grid(rows)
}

/// A grid with every colour looked up.
fn recoloured<'a>(m: &Machine, value: &'a Value, new: impl Fn(&Value) -> Option<&'a Value>) -> Result<Value> {
    let mut rows = grid(m, value)?.to_rows();
    for cell in rows.iter_mut().flatten() {
        if let Some(new) = new(cell) {
            *cell = written(new)?;
        }
    }
    m.grid(rows)
}

/// The first colour becomes the second.
pub(crate) fn replace(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (from, to) = (colour(&a[1])?, colour(&a[2])?);
    recoloured(m, &a[0], |c| (c == from).then_some(to))
}

/// Two colours exchanged.
pub(crate) fn switch(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (x, y) = (colour(&a[1])?, colour(&a[2])?);
    recoloured(m, &a[0], |c| if c == x { Some(y) } else { (c == y).then_some(x) })
}

/// Without the outermost rows and columns.
pub(crate) fn trim(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid(m, &a[0])?;
    let inner = |n: usize| 1.min(n)..n.saturating_sub(1).max(1.min(n));
    let rows = &grid.rows[inner(grid.height())];
    m.grid(rows.iter().map(|row| row[inner(grid.width)].to_vec()).collect())
}

/// The first half of the rows, without a middle one.
pub(crate) fn tophalf(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let rows = stacked(&a[0])?;
    m.tuple(rows[..rows.len() / 2].to_vec())
}

/// The last half of the rows, without a middle one.
pub(crate) fn bottomhalf(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let rows = stacked(&a[0])?;
    m.tuple(rows[rows.len().div_ceil(2)..].to_vec())
}

/// Some of the columns; no rows when none are left.
fn columns(m: &Machine, grid: &Grid, which: std::ops::Range<usize>) -> Result<Value> {
    if which.is_empty() {
        return m.grid(vec![]);
    }
    m.grid(grid.rows.iter().map(|row| row[which.clone()].to_vec()).collect())
}

/// The first half of the columns, without a middle one.
pub(crate) fn lefthalf(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid(m, &a[0])?;
    columns(m, &grid, 0..grid.width / 2)
}

/// The last half of the columns, without a middle one.
pub(crate) fn righthalf(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid(m, &a[0])?;
    columns(m, &grid, grid.width.div_ceil(2)..grid.width)
}

/// Without rows of a single colour and columns of a single colour.
pub(crate) fn compress(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid(m, &a[0])?;
    let kept: Vec<usize> = (0..grid.width).filter(|&j| !uniform(grid.rows.iter().map(|row| &row[j]))).collect();
    let rows = grid.rows.iter().filter(|row| !uniform(row.iter()));
    m.grid(rows.map(|row| kept.iter().map(|&j| row[j].clone()).collect()).collect())
}
