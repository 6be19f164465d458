//! Patches and grids: what is where, and writing into grids. Locations outside of a grid are ignored.

use super::colours::{background, extent};
use super::patches::corner;
use super::views::{Grid, Kind, colour, grid, grid_with_width, items, location, locations_set, pair, patch, written};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::{Set, Value};

/// A cell of an object.
pub(crate) fn cell(colour: &Value, i: i64, j: i64) -> Result<Value> {
    Ok(Value::tuple(vec![colour.clone(), location(i, j)?]))
}

/// All locations of a grid.
pub(crate) fn asindices(m: &mut Machine, a: &[Value]) -> Result<Value> {
    locations_set(m, grid(m, &a[0])?.cells().map(|(i, j, _)| (i, j)))
}

/// The locations with a colour.
pub(crate) fn ofcolor(m: &mut Machine, a: &[Value]) -> Result<Value> {
    colour(&a[1])?;
    let grid = grid(m, &a[0])?;
    locations_set(m, grid.cells().filter(|(_, _, c)| **c == a[1]).map(|(i, j, _)| (i, j)))
}

/// All cells of a grid.
pub(crate) fn asobject(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let cells: Result<Vec<Value>> = grid(m, &a[0])?.cells().map(|(i, j, c)| cell(c, i, j)).collect();
    m.set(cells?)
}

/// The cells of the grid at the patch's locations. Needs a first row.
pub(crate) fn toobject(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (patch, grid) = (patch(&a[0])?, grid_with_width(m, &a[1])?);
    let cells: Result<Vec<Value>> =
        patch.locations().filter_map(|at| grid.at(at).map(|c| cell(c, at.0, at.1))).collect();
    m.set(cells?)
}

/// One object for each colour, but not for one that is left out.
fn by_colour(m: &Machine, grid: &Grid, left_out: Option<&Value>) -> Result<Value> {
    let mut objects: std::collections::BTreeMap<&Value, Vec<Value>> = std::collections::BTreeMap::new();
    for (i, j, c) in grid.cells() {
        if left_out != Some(c) {
            objects.entry(c).or_default().push(cell(c, i, j)?);
        }
    }
    let objects: Result<Vec<Value>> = objects.into_values().map(|cells| m.set(cells)).collect();
    m.set(objects?)
}

/// One object for each colour.
pub(crate) fn partition(m: &mut Machine, a: &[Value]) -> Result<Value> {
    by_colour(m, &grid(m, &a[0])?, None)
}

/// One object for each colour but the most frequent.
pub(crate) fn fgpartition(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let most = background(m, &a[0])?;
    by_colour(m, &grid(m, &a[0])?, Some(&most))
}

/// One object for each row, and each column, of a single colour. Needs a first row.
pub(crate) fn frontiers(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid_with_width(m, &a[0])?;
    let mut objects = Vec::new();
    for (i, row) in grid.rows.iter().enumerate() {
        if uniform(row.iter()) {
            objects.push(line(m, (0..row.len()).map(|j| (i, j)), &row[0])?);
        }
    }
    for j in 0..grid.width {
        let column = grid.rows.iter().map(|row| &row[j]);
        if uniform(column) {
            objects.push(line(m, (0..grid.height()).map(|i| (i, j)), &grid.rows[0][j])?);
        }
    }
    m.set(objects)
}

fn line(m: &Machine, at: impl Iterator<Item = (usize, usize)>, colour: &Value) -> Result<Value> {
    let cells: Result<Vec<Value>> = at.map(|(i, j)| cell(colour, i as i64, j as i64)).collect();
    m.set(cells?)
}

/// Whether there is exactly one colour.
pub(crate) fn uniform<'a>(mut cells: impl Iterator<Item = &'a Value>) -> bool {
    let first = cells.next();
    first.is_some_and(|first| cells.all(|c| c == first))
}

/// Where the normalised object lies in the grid. Costs positions times cells. Needs a first row.
pub(crate) fn occurrences(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let grid = grid_with_width(m, &a[0])?;
    let object = patch(&a[1])?;
    let bounds = object.bounds();
    let (oh, ow) = bounds.map_or((0, 0), |b| (b.height(), b.width()));
    let (rows, columns) = (grid.height() as i64 - oh + 1, grid.width as i64 - ow + 1);
    let positions = rows.max(0) as u64 * columns.max(0) as u64;
    if object.kind == Kind::Indices && positions > 0 {
        return Err(ErrClass::Type);
    }
    m.spend(positions * object.items.len() as u64)?;
    let (top, left) = bounds.map_or((0, 0), |b| (b.top, b.left));
    let cells: Vec<((i64, i64), &Value)> = object
        .locations()
        .zip(object.items)
        .filter_map(|((i, j), item)| Some(((i - top, j - left), item.items()?.first()?)))
        .collect();
    let fits = |i: i64, j: i64| cells.iter().all(|((ci, cj), c)| grid.at((i + ci, j + cj)) == Some(*c));
    let all = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
    locations_set(m, all.filter(|&(i, j)| fits(i, j)))
}

/// The smallest shift along one axis, cut at zero, that keeps the normalised object inside of itself; else its extent.
fn period(m: &mut Machine, value: &Value, along_rows: bool) -> Result<Value> {
    let all = patch(value)?;
    let Some(b) = all.bounds() else { return Ok(Value::Int(0)) };
    let extent = if along_rows { b.width() } else { b.height() };
    if all.kind == Kind::Indices && extent > 1 {
        return Err(ErrClass::Type);
    }
    let mut cells: Vec<(i64, i64, &Value)> = all
        .locations()
        .zip(all.items)
        .filter_map(|((i, j), item)| Some((i - b.top, j - b.left, item.items()?.first()?)))
        .collect();
    cells.sort_unstable();
    // The last line must come to lie on one that has cells: nothing else can be a period.
    let lines: std::collections::BTreeSet<i64> = cells.iter().map(|c| if along_rows { c.1 } else { c.0 }).collect();
    for p in lines.into_iter().rev().map(|line| extent - 1 - line).filter(|&p| p > 0) {
        m.spend(cells.len() as u64)?;
        let inside = |&(i, j, c): &(i64, i64, &Value)| {
            let (i, j) = if along_rows { (i, j - p) } else { (i - p, j) };
            i < 0 || j < 0 || cells.binary_search(&(i, j, c)).is_ok()
        };
        if cells.iter().all(inside) {
            return super::views::number(p);
        }
    }
    super::views::number(extent)
}

/// The horizontal period of an object.
pub(crate) fn hperiod(m: &mut Machine, a: &[Value]) -> Result<Value> {
    period(m, &a[0], true)
}

/// The vertical period of an object.
pub(crate) fn vperiod(m: &mut Machine, a: &[Value]) -> Result<Value> {
    period(m, &a[0], false)
}

/// Writes values at locations, where `only` is the cell that is there now, if it is given.
fn write<'a>(
    m: &Machine,
    value: &Value,
    cells: impl Iterator<Item = ((i64, i64), &'a Value)>,
    only: Option<&Value>,
) -> Result<Value> {
    let mut rows = grid_with_width(m, value)?.to_rows();
    for ((i, j), new) in cells {
        let at = usize::try_from(i).ok().zip(usize::try_from(j).ok());
        let Some(old) = at.and_then(|(i, j)| rows.get_mut(i)?.get_mut(j)) else { continue };
        if only.is_none_or(|only| old == only) {
            *old = written(new)?;
        }
    }
    m.grid(rows)
}

/// Writes one value at a patch's locations. Needs a first row.
pub(crate) fn fill(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (new, at) = (colour(&a[1])?, patch(&a[2])?);
    write(m, &a[0], at.locations().map(|at| (at, new)), None)
}

/// Writes one value at a patch's locations, over the most frequent colour only.
pub(crate) fn underfill(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let only = background_of_grid(m, &a[0])?;
    let (new, at) = (colour(&a[1])?, patch(&a[2])?);
    write(m, &a[0], at.locations().map(|at| (at, new)), Some(&only))
}

/// The most frequent colour of a grid, not of an object.
fn background_of_grid(m: &Machine, value: &Value) -> Result<Value> {
    grid(m, value)?;
    background(m, value)
}

/// The cells of an object with their locations, in iteration order.
fn cells_of(value: &Value) -> Result<impl Iterator<Item = ((i64, i64), &Value)>> {
    let object = patch(value)?;
    if object.kind == Kind::Indices {
        return Err(ErrClass::Type);
    }
    let at = |cell: &'_ [Value]| cell.get(1)?.as_pair().map(|(i, j)| (i64::from(i), i64::from(j)));
    Ok(object.items.iter().filter_map(move |item| Some((at(item.items()?)?, item.items()?.first()?))))
}

/// Writes each cell of an object; of several on one location the last wins. Needs a first row.
pub(crate) fn paint(m: &mut Machine, a: &[Value]) -> Result<Value> {
    write(m, &a[0], cells_of(&a[1])?, None)
}

/// Writes each cell of an object, over the most frequent colour only.
pub(crate) fn underpaint(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let only = background_of_grid(m, &a[0])?;
    write(m, &a[0], cells_of(&a[1])?, Some(&only))
}

/// Writes the most frequent colour at a patch's locations.
pub(crate) fn cover(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let new = background_of_grid(m, &a[0])?;
    let at = patch(&a[1])?;
    write(m, &a[0], at.locations().map(|at| (at, &new)), None)
}

/// `paint(cover(g, o), shift(o, offset))`
pub(crate) fn shifted(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let covered = cover(m, a)?;
    let object = super::patches::shift(m, &a[1..])?;
    paint(m, &[covered, object])
}

/// `crop(g, ulcorner(p), shape(p))`; an empty patch has no corner.
pub(crate) fn subgrid(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let at = corner(&a[0], 0)?;
    if items(&at)?.is_empty() {
        return Err(ErrClass::Index);
    }
    let (h, w) = extent(&a[0])?;
    super::grids::cropped(m, &a[1], pair(&at)?, (h, w))
}

/// The component labels of a grid: for each cell the number of its component, components counted from their first cells
/// row by row; none for cells of the background.
pub(crate) fn components(
    grid: &Grid,
    univalued: bool,
    diagonal: bool,
    background: Option<&Value>,
) -> Vec<Vec<(usize, usize)>> {
    let (h, w) = (grid.height(), grid.width);
    let mut seen = vec![false; h * w];
    let mut all = Vec::new();
    for start in 0..h * w {
        let colour = &grid.rows[start / w][start % w];
        if seen[start] || background == Some(colour) {
            continue;
        }
        seen[start] = true;
        let (mut component, mut open) = (Vec::new(), vec![start]);
        while let Some(at) = open.pop() {
            let (i, j) = (at / w, at % w);
            component.push((i, j));
            for ni in i.saturating_sub(1)..(i + 2).min(h) {
                for nj in j.saturating_sub(1)..(j + 2).min(w) {
                    let next = ni * w + nj;
                    let neighbour = diagonal || ni == i || nj == j;
                    let other = &grid.rows[ni][nj];
                    if !neighbour || seen[next] || background == Some(other) || (univalued && other != colour) {
                        continue;
                    }
                    seen[next] = true;
                    open.push(next);
                }
            }
        }
        component.sort_unstable();
        all.push(component);
    }
    all
}

/// Connected components: of one colour if univalued, over diagonals too if diagonal, without the most frequent colour if
/// without background. Needs a first row.
pub(crate) fn objects(m: &mut Machine, a: &[Value]) -> Result<Value> {
    objects_of(m, &a[0], a[1].truth(), a[2].truth(), a[3].truth())
}

/// [`objects`] with flags.
pub(crate) fn objects_of(m: &mut Machine, value: &Value, univalued: bool, diagonal: bool, bare: bool) -> Result<Value> {
    let grid = grid(m, value)?;
    let without = if bare { Some(background(m, value)?) } else { None };
    if grid.rows.is_empty() {
        return Err(ErrClass::Index);
    }
    let mut objects = Vec::new();
    for component in components(&grid, univalued, diagonal, without.as_ref()) {
        let cells: Result<Vec<Value>> =
            component.into_iter().map(|(i, j)| cell(&grid.rows[i][j], i as i64, j as i64)).collect();
        objects.push(Value::Set(Set::new(cells?)));
    }
    m.set(objects)
}
