//! Patches: locations, bounding boxes, and how patches lie to each other.

use super::views::{Kind, colour, grid, items, location, locations_set, number, pair, patch, written};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::Value;

/// Locations without colours. Those that have none come back unchanged, a tuple as tuple.
pub(crate) fn toindices(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let all = patch(&a[0])?;
    match all.kind {
        Kind::Empty => m.set(vec![]),
        Kind::Indices => Ok(a[0].clone()),
        Kind::Object => m.set(all.items.iter().filter_map(|cell| cell.items()?.get(1).cloned()).collect()),
    }
}

/// The index set of a value, one element a location as [`toindices`] leaves them.
fn indices(value: &Value) -> Result<Vec<(i64, i64)>> {
    let all = patch(value)?;
    Ok(match all.kind {
        Kind::Object => all.distinct(),
        _ => all.locations().collect(),
    })
}

/// All locations with one colour.
pub(crate) fn recolor(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let paint = colour(&a[0])?;
    let at = toindices(m, &a[1..])?;
    let cells: Result<Vec<Value>> =
        items(&at)?.iter().map(|at| Ok(Value::tuple(vec![written(paint)?, at.clone()]))).collect();
    m.set(cells?)
}

/// Moves every location by an offset; the result is a set, what is empty stays as it is.
pub(crate) fn moved(m: &Machine, value: &Value, (di, dj): (i64, i64)) -> Result<Value> {
    mapped(m, value, |i, j| (i + di, j + dj))
}

/// The patch with every location replaced.
pub(crate) fn mapped(m: &Machine, value: &Value, f: impl Fn(i64, i64) -> (i64, i64)) -> Result<Value> {
    let all = patch(value)?;
    if all.is_empty() {
        return Ok(value.clone());
    }
    let mut out = Vec::with_capacity(all.items.len());
    for (item, (i, j)) in all.items.iter().zip(all.locations()) {
        let (i, j) = f(i, j);
        let at = location(i, j)?;
        out.push(match all.kind {
            Kind::Object => Value::tuple(vec![items(item)?[0].clone(), at]),
            _ => at,
        });
    }
    m.set(out)
}

/// Translation by `(di, dj)`; what is empty stays, by whatever tuple.
pub(crate) fn shift(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match (pair(&a[1]), &a[1]) {
        (Ok(by), _) => moved(m, &a[0], by),
        (_, Value::Tuple(_)) if patch(&a[0])?.is_empty() => Ok(a[0].clone()),
        (error, _) => error.map(|_| Value::None),
    }
}

/// Translation of the bounding box to `(0, 0)`.
pub(crate) fn normalize(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match patch(&a[0])?.bounds() {
        Some(b) => moved(m, &a[0], (-b.top, -b.left)),
        None => Ok(a[0].clone()),
    }
}

/// The highest row.
pub(crate) fn uppermost(_: &mut Machine, a: &[Value]) -> Result<Value> {
    number(patch(&a[0])?.some_bounds()?.top)
}

/// The lowest row.
pub(crate) fn lowermost(_: &mut Machine, a: &[Value]) -> Result<Value> {
    number(patch(&a[0])?.some_bounds()?.bottom)
}

/// The first column.
pub(crate) fn leftmost(_: &mut Machine, a: &[Value]) -> Result<Value> {
    number(patch(&a[0])?.some_bounds()?.left)
}

/// The last column.
pub(crate) fn rightmost(_: &mut Machine, a: &[Value]) -> Result<Value> {
    number(patch(&a[0])?.some_bounds()?.right)
}

/// One of the corners: 0 upper left, 1 upper right, 2 lower left, 3 lower right; the empty tuple without elements.
pub(crate) fn corner(value: &Value, which: u8) -> Result<Value> {
    let Some(b) = patch(value)?.bounds() else { return Ok(Value::tuple(vec![])) };
    let i = if which < 2 { b.top } else { b.bottom };
    let j = if which.is_multiple_of(2) { b.left } else { b.right };
    location(i, j)
}

/// `(top, left)`
pub(crate) fn ulcorner(_: &mut Machine, a: &[Value]) -> Result<Value> {
    corner(&a[0], 0)
}

/// `(top, right)`
pub(crate) fn urcorner(_: &mut Machine, a: &[Value]) -> Result<Value> {
    corner(&a[0], 1)
}

/// `(bottom, left)`
pub(crate) fn llcorner(_: &mut Machine, a: &[Value]) -> Result<Value> {
    corner(&a[0], 2)
}

/// `(bottom, right)`
pub(crate) fn lrcorner(_: &mut Machine, a: &[Value]) -> Result<Value> {
    corner(&a[0], 3)
}

/// The set of the four corners.
pub(crate) fn corners(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let all: Result<Vec<Value>> = (0..4).map(|which| corner(&a[0], which)).collect();
    m.set(all?)
}

/// `(top + ⌊height / 2⌋, left + ⌊width / 2⌋)`
pub(crate) fn center(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (i, j) = patch(&a[0])?.some_bounds()?.center();
    location(i, j)
}

/// Floors of the mean row and column over the size of the patch; the empty tuple without elements.
pub(crate) fn centerofmass(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let n = items(&a[0])?.len() as i64;
    let at = indices(&a[0])?;
    if n == 0 {
        return Ok(Value::tuple(vec![]));
    }
    let (i, j) = at.iter().fold((0, 0), |(si, sj), (i, j)| (si + i, sj + j));
    location(super::numbers::floor_div(i, n), super::numbers::floor_div(j, n))
}

/// Every location of the bounding box.
pub(crate) fn backdrop(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match patch(&a[0])?.bounds() {
        Some(b) => locations_set(m, b.inside(m)?),
        None => m.set(vec![]),
    }
}

/// Locations of the bounding box that the patch does not have.
pub(crate) fn delta(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let all = patch(&a[0])?;
    let Some(b) = all.bounds() else { return m.set(vec![]) };
    let taken = all.distinct();
    locations_set(m, b.inside(m)?.filter(|at| taken.binary_search(at).is_err()))
}

/// The perimeter of the bounding box; what is empty stays as it is.
pub(crate) fn outline(m: &mut Machine, a: &[Value]) -> Result<Value> {
    match patch(&a[0])?.bounds() {
        Some(b) => locations_set(m, b.perimeter(m)?),
        None => Ok(a[0].clone()),
    }
}

/// The perimeter of the box that is smaller by one on each side; thin boxes turn inside out.
pub(crate) fn inbox(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let b = patch(&a[0])?.some_bounds()?.grown(-1);
    locations_set(m, b.perimeter(m)?)
}

/// The perimeter of the box that is larger by one on each side.
pub(crate) fn outbox(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let b = patch(&a[0])?.some_bounds()?.grown(1);
    locations_set(m, b.perimeter(m)?)
}

const EDGES: [(i64, i64); 4] = [(-1, 0), (0, -1), (0, 1), (1, 0)];
const DIAGONALS: [(i64, i64); 4] = [(-1, -1), (-1, 1), (1, -1), (1, 1)];

fn around<'a>(m: &Machine, value: &Value, steps: impl IntoIterator<Item = &'a (i64, i64)>) -> Result<Value> {
    let (i, j) = pair(value)?;
    locations_set(m, steps.into_iter().map(|(di, dj)| (i + di, j + dj)))
}

/// The four neighbours along edges.
pub(crate) fn dneighbors(m: &mut Machine, a: &[Value]) -> Result<Value> {
    around(m, &a[0], &EDGES)
}

/// The four neighbours along diagonals.
pub(crate) fn ineighbors(m: &mut Machine, a: &[Value]) -> Result<Value> {
    around(m, &a[0], &DIAGONALS)
}

/// All eight neighbours.
pub(crate) fn neighbors(m: &mut Machine, a: &[Value]) -> Result<Value> {
    around(m, &a[0], EDGES.iter().chain(&DIAGONALS))
}

/// Length of a frontier, whatever the grid.
const FRONTIER: i32 = 30;

/// The column of a location, rows 0..29.
pub(crate) fn vfrontier(m: &mut Machine, a: &[Value]) -> Result<Value> {
    pair(&a[0])?;
    let j = &items(&a[0])?[1];
    m.set((0..FRONTIER).map(|i| Value::tuple(vec![Value::Int(i), j.clone()])).collect())
}

/// The row of a location, columns 0..29.
pub(crate) fn hfrontier(m: &mut Machine, a: &[Value]) -> Result<Value> {
    pair(&a[0])?;
    let i = &items(&a[0])?[0];
    m.set((0..FRONTIER).map(|j| Value::tuple(vec![i.clone(), Value::Int(j)])).collect())
}

/// The segment between two locations, both included: along a row, a column or an exact diagonal; else empty.
fn segment(m: &Machine, (ai, aj): (i64, i64), (bi, bj): (i64, i64)) -> Result<Value> {
    let (di, dj) = (bi - ai, bj - aj);
    if di != 0 && dj != 0 && di.abs() != dj.abs() {
        return m.set(vec![]);
    }
    let n = di.abs().max(dj.abs());
    m.room(n + 1)?;
    locations_set(m, (0..=n).map(|k| (ai + k * di.signum(), aj + k * dj.signum())))
}

/// The segment between two locations.
pub(crate) fn connect(m: &mut Machine, a: &[Value]) -> Result<Value> {
    segment(m, pair(&a[0])?, pair(&a[1])?)
}

/// The segment from a location to 42 steps further.
pub(crate) fn shoot(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let ((i, j), (di, dj)) = (pair(&a[0])?, pair(&a[1])?);
    let end = (i + 42 * di, j + 42 * dj);
    location(end.0, end.1)?;
    segment(m, (i, j), end)
}

/// Whether two patches have a row (`true`) or a column (`false`) in common.
fn share(a: &[Value], rows: bool) -> Result<bool> {
    let line = |(i, j): (i64, i64)| if rows { i } else { j };
    let (first, second) = (patch(&a[0])?, patch(&a[1])?);
    let taken: std::collections::BTreeSet<i64> = first.locations().map(line).collect();
    Ok(second.locations().any(|at| taken.contains(&line(at))))
}

/// Whether two patches share a row.
pub(crate) fn hmatching(_: &mut Machine, a: &[Value]) -> Result<Value> {
    share(a, true).map(Value::Bool)
}

/// Whether two patches share a column.
pub(crate) fn vmatching(_: &mut Machine, a: &[Value]) -> Result<Value> {
    share(a, false).map(Value::Bool)
}

/// The least distance |Δi| + |Δj| between locations of two patches. Costs size times size.
fn distance(m: &mut Machine, first: &[(i64, i64)], second: &[(i64, i64)]) -> Result<i64> {
    m.spend(first.len() as u64 * second.len() as u64)?;
    let all = first.iter().flat_map(|(ai, aj)| second.iter().map(move |(bi, bj)| (ai - bi).abs() + (aj - bj).abs()));
    all.min().ok_or(ErrClass::Empty)
}

/// The least distance between cells of two patches.
pub(crate) fn manhattan(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (patch(&a[0])?.distinct(), patch(&a[1])?.distinct());
    number(distance(m, &first, &second)?)
}

/// Whether the least distance is 1.
pub(crate) fn adjacent(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (first, second) = (patch(&a[0])?.distinct(), patch(&a[1])?.distinct());
    Ok(Value::Bool(distance(m, &first, &second)? == 1))
}

/// Whether the bounding box ends exactly at a side of the grid. Needs a first row if only the right side is left.
pub(crate) fn bordering(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let b = patch(&a[0])?.some_bounds()?;
    let grid = grid(m, &a[1])?;
    let (h, w) = (grid.height() as i64, grid.width as i64);
    if b.top == 0 || b.left == 0 || b.bottom == h - 1 {
        return Ok(Value::Bool(true));
    }
    if h == 0 { Err(ErrClass::Index) } else { Ok(Value::Bool(b.right == w - 1)) }
}

/// The direction from the first center to the second.
pub(crate) fn position(_: &mut Machine, a: &[Value]) -> Result<Value> {
    let (ai, aj) = patch(&a[0])?.some_bounds()?.center();
    let (bi, bj) = patch(&a[1])?.some_bounds()?.center();
    let below = if ai < bi { 1 } else { -1 };
    let right = if aj < bj { 1 } else { -1 };
    if ai == bi {
        location(0, right)
    } else if aj == bj {
        location(below, 0)
    } else {
        location(below, right)
    }
}

/// Steps that the first may go towards the second until they are adjacent, at most 42. Costs size times size a step.
pub(crate) fn gravitate(m: &mut Machine, a: &[Value]) -> Result<Value> {
    const MOST: i64 = 42;
    let (src, dst) = (patch(&a[0])?, patch(&a[1])?);
    let ((si, sj), (di, dj)) = (src.some_bounds()?.center(), dst.some_bounds()?.center());
    let step = if share(a, false)? { (if si < di { 1 } else { -1 }, 0) } else { (0, if sj < dj { 1 } else { -1 }) };
    let (mut src, dst) = (src.distinct(), dst.distinct());
    let mut moves = 0;
    while moves < MOST && distance(m, &src, &dst)? != 1 {
        moves += 1;
        for (i, j) in &mut src {
            *i += step.0;
            *j += step.1;
            location(*i, *j)?;
        }
    }
    location(step.0 * moves, step.1 * moves)
}
