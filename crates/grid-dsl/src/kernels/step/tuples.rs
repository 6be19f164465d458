//! Tuples, bound functions, and what two patches are to each other.

use super::code::{FAR, strip};
use super::value::{Arg, Done, Grid, Out, Patch, labelled};
use super::{Form, Op, Spill};
use crate::error::ErrClass;
use crate::kernels::{CELLS, SIDE};

/// The bit of a bound function whose last argument is fixed.
pub(super) const LAST: i32 = 1 << 16;

/// The bit of strips that are the same grid each.
pub(super) const COPIES: i32 = 512;

/// Operations on tuples, functions and relations.
pub(super) fn added(op: Op, key: u32, v: &[Arg; 4]) -> Done {
    let x = &v[0];
    let container = x.tuple() || x.set();
    Ok(match op {
        Op::Lbind | Op::Rbind if x.kind >= Form::Bound as i32 => Out::Spill(Spill::Kind),
        Op::Lbind => Out::bound(key as i32, x),
        Op::Rbind => Out::bound(key as i32 | LAST, x),
        Op::Repeat => match (v[1].number(), v[1].a) {
            (false, _) => Out::fails(ErrClass::Type),
            (_, ..=0) => Out::hollow(),
            _ if !x.is(Form::Grid) || x.a == 0 || x.b == 0 => Out::Spill(Spill::Kind),
            (_, 256..) => Out::Spill(Spill::Size),
            (_, n) => Out::strips(x, COPIES | n),
        },
        Op::Mostcommon | Op::Leastcommon => match () {
            () if x.is(Form::Strips) => common(x, op == Op::Mostcommon),
            () if x.hollow() => Out::fails(ErrClass::Empty),
            // Of two numbers the smaller: they are equal, or occur once each.
            () if x.is(Form::Pair) => Out::number(x.a.min(x.b).into()),
            () if x.tuple() => Out::Spill(Spill::Kind),
            () => Out::fails(ErrClass::Type),
        },
        Op::Order | Op::Totuple => {
            if x.hollow() || Patch::new(x).is_some_and(|p| p.is_empty()) {
                return Ok(Out::hollow());
            }
            if !container || (op == Op::Order && x.is(Form::Pair)) {
                return Err(Out::fails(ErrClass::Type));
            }
            if op == Op::Totuple && x.tuple() {
                return Ok(Out::Copy(0));
            }
            if !x.is(Form::Objects) {
                return Err(Out::Spill(Spill::Kind));
            }
            Out::ordered(x, if op == Op::Totuple { 16 } else { key as i32 + 1 })
        }
        Op::Initset | Op::Insert | Op::Remove => changed(op, v),
        Op::Mapply => mapped(key, x),
        Op::Frontiers => lines(x)?,
        Op::Occurrences => occurrences(v)?,
        Op::Contained => contained(x, &v[1]),
        _ => related(op, key, v)?,
    })
}

/// Whether a container has an element.
fn contained(x: &Arg, y: &Arg) -> Out {
    if !y.tuple() && !y.set() {
        return Out::fails(ErrClass::Type);
    }
    if y.is(Form::Pair) {
        return Out::bool(x.number() && (x.a == y.a || x.a == y.b));
    }
    // Elements are tuples or sets, rows are of numbers, and what is empty has no elements.
    if x.number() || x.is(Form::Nothing) || y.hollow() || (x.is(Form::Pair) && y.is(Form::Object)) {
        return Out::bool(false);
    }
    match (x.pair(), Patch::new(y).filter(|p| !p.is_object())) {
        (Some(at), Some(p)) => Out::bool(p.has(at)),
        _ => Out::Spill(Spill::Kind),
    }
}

/// Where in a grid an object's box may begin so that its cells are the grid's.
fn occurrences(v: &[Arg; 4]) -> Done {
    let (g, p) = (Grid::with_row(&v[0])?, Patch::read(&v[1])?);
    let (h, w) = (g.h as i64 - p.h as i64 + 1, g.w as i64 - p.w as i64 + 1);
    // Nothing is everywhere, and one further.
    if p.is_empty() && (g.h >= SIDE || g.w >= SIDE) {
        return Err(Out::Spill(Spill::Size));
    }
    // Locations have no colours.
    if !p.is_empty() && !p.is_object() && h > 0 && w > 0 {
        return Err(Out::fails(ErrClass::Type));
    }
    let same = |(i, j): (i64, i64), cell: (i64, i64)| {
        p.colour(cell) == g.at((i + cell.0 - p.i0) as usize, (j + cell.1 - p.j0) as usize)
    };
    let cells = p.cells();
    let fits = |at: (i64, i64)| at.0 < h && at.1 < w && cells.iter().all(|&cell| same(at, cell));
    Ok(Out::indices((0, 0), fits))
}

/// Most comparisons of locations in which an object of a map comes to lie beside another one, on a device.
pub(crate) const MOST_COMPARED: usize = 1 << 23;

/// By how much the first is moved, a row or a column at a time, until it lies beside the second; 42 times at most.
/// With `few`, not if that takes many comparisons.
fn gravitate(p: &Patch, q: &Patch, few: bool) -> Out {
    const MOST: i64 = 42;
    let (a, b) = (p.cells(), q.cells());
    if few && a.len() * b.len() * (MOST as usize + 1) > MOST_COMPARED {
        return Out::Spill(Spill::Size);
    }
    let center = |p: &Patch| (p.i0 + p.h as i64 / 2, p.j0 + p.w as i64 / 2);
    let (from, to) = (center(p), center(q));
    let towards = |from: i64, to: i64| if from < to { 1 } else { -1 };
    let (i, j) = if a.iter().any(|x| b.iter().any(|y| x.1 == y.1)) {
        (towards(from.0, to.0), 0)
    } else {
        (0, towards(from.1, to.1))
    };
    let far = |k: i64| {
        let each = |x: &(i64, i64), y: &(i64, i64)| (x.0 + k * i - y.0).abs() + (x.1 + k * j - y.1).abs();
        a.iter().flat_map(|x| b.iter().map(move |y| each(x, y))).min()
    };
    let moves = (0..MOST).find(|&k| far(k) == Some(1)).unwrap_or(MOST);
    Out::pair(i * moves, j * moves)
}

/// Rows and columns of one colour: the grid's cells, and in the first two masks which rows and columns.
fn lines(x: &Arg) -> Done {
    let g = Grid::with_row(x)?;
    let row = |&i: &usize| g.w > 0 && (1..g.w).all(|j| g.at(i, j) == g.at(i, 0));
    let column = |&j: &usize| (1..g.h).all(|i| g.at(i, j) == g.at(0, j));
    let rows = (0..g.h).filter(row).fold(0, |mask, i| mask | 1 << i);
    let columns = (0..g.w).filter(column).fold(0, |mask, j| mask | 1 << j);
    if rows == 0 && columns == 0 {
        return Ok(Out::empty());
    }
    Ok(Out::lines(x, rows, columns))
}

/// Rows of the parts of strips, as cells.
fn parts(x: &Arg) -> Vec<Vec<Vec<i8>>> {
    let part = |k: i32| {
        let (top, rows, left, columns) = strip([x.a, x.b, x.c], k);
        (top..top + rows).map(|i| (left..left + columns).map(|j| x.cell(i, j)).collect()).collect()
    };
    (0..x.c & 255).map(part).collect()
}

fn of_rows(rows: &[Vec<i8>]) -> Out {
    Out::grid(rows.len(), rows.first().map_or(0, Vec::len), |i, j| rows[i][j])
}

/// The parts one above the other: a tuple of grids as one.
pub(super) fn stacked(x: &Arg) -> Out {
    let [_, _, _, width] = <[usize; 4]>::from(strip([x.a, x.b, x.c], 0));
    let rows: Vec<Vec<i8>> = parts(x).concat();
    let ragged = (0..x.c & 255).any(|k| strip([x.a, x.b, x.c], k).3 != width);
    if ragged { Out::Spill(Spill::Kind) } else { of_rows(&rows) }
}

/// The part that most, or fewest, others equal; of several the smallest.
fn common(x: &Arg, most: bool) -> Out {
    let all = parts(x);
    let shape = |part: &Vec<Vec<i8>>| (part.len(), part.first().map(Vec::len));
    if all.iter().any(|part| shape(part) != shape(&all[0])) {
        return Out::Spill(Spill::Class);
    }
    let count = |part: &&Vec<Vec<i8>>| all.iter().filter(|other| other == part).count() as i64;
    let best = all.iter().min_by_key(|part| (if most { -count(part) } else { count(part) }, *part));
    best.map_or(Out::Spill(Spill::Class), |part| of_rows(part))
}

/// By how much an object must be moved to the left, or up, to lie on itself.
fn period(p: &Patch, across: bool) -> usize {
    let side = if across { p.w } else { p.h };
    let (rows, columns) = (p.i0..p.i0 + p.h as i64, p.j0..p.j0 + p.w as i64);
    let cells: Vec<_> = rows.flat_map(|i| columns.clone().map(move |j| (i, j))).filter(|&at| p.has(at)).collect();
    let lies = |by: &usize| {
        let by = *by as i64;
        cells.iter().all(|&(i, j)| {
            let to = if across { (i, j - by) } else { (i - by, j) };
            to.0 < p.i0 || to.1 < p.j0 || (p.has(to) && p.colour(to) == p.colour((i, j)))
        })
    };
    (1..side).find(lies).unwrap_or(side)
}

/// What two patches, or a patch and a grid, are to each other.
fn related(op: Op, key: u32, v: &[Arg; 4]) -> Done {
    let p = Patch::read(&v[0])?;
    match op {
        Op::Hperiod | Op::Vperiod if p.is_empty() => return Ok(Out::int(0)),
        Op::Hperiod | Op::Vperiod if !p.is_object() => {
            let side = if op == Op::Hperiod { p.w } else { p.h };
            return Ok(if side > 1 { Out::fails(ErrClass::Type) } else { Out::int(1) });
        }
        Op::Hperiod | Op::Vperiod => return Ok(Out::int(period(&p, op == Op::Hperiod))),
        Op::Centerofmass if p.is_empty() => return Ok(Out::hollow()),
        Op::Bordering | Op::Position if p.is_empty() => return Err(Out::fails(ErrClass::Empty)),
        Op::Centerofmass => {
            let cells = p.cells();
            let n = cells.len() as i64;
            let (i, j) = cells.iter().fold((0, 0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
            return Ok(Out::pair(i.div_euclid(n), j.div_euclid(n)));
        }
        Op::Bordering => {
            let g = Grid::read(&v[1])?;
            let (bottom, right) = (p.i0 + p.h as i64 - 1, p.j0 + p.w as i64 - 1);
            let ends = p.i0 == 0 || p.j0 == 0 || bottom == g.h as i64 - 1;
            return Ok(match g.h {
                0 if !ends => Out::fails(ErrClass::Index),
                _ => Out::bool(ends || right == g.w as i64 - 1),
            });
        }
        _ => {}
    }
    let q = Patch::read(&v[1])?;
    let (a, b) = (p.cells(), q.cells());
    Ok(match op {
        Op::Hmatching => Out::bool(a.iter().any(|x| b.iter().any(|y| x.0 == y.0))),
        Op::Vmatching => Out::bool(a.iter().any(|x| b.iter().any(|y| x.1 == y.1))),
        _ if p.is_empty() || q.is_empty() => Out::fails(ErrClass::Empty),
        Op::Gravitate => gravitate(&p, &q, key != 0),
        Op::Position => {
            let center = |p: &Patch| (p.i0 + p.h as i64 / 2, p.j0 + p.w as i64 / 2);
            let (from, to) = (center(&p), center(&q));
            let (i, j) = (to.0 - from.0, to.1 - from.1);
            let right = if j > 0 { 1 } else { -1 };
            Out::pair(i.signum(), if i != 0 && j == 0 { 0 } else { right })
        }
        _ => {
            let far = |x: &(i64, i64), y: &(i64, i64)| (x.0 - y.0).abs() + (x.1 - y.1).abs();
            let best = a.iter().flat_map(|x| b.iter().map(move |y| far(x, y))).min().unwrap_or(0);
            if op == Op::Adjacent { Out::bool(best == 1) } else { Out::number(best) }
        }
    })
}

/// A set of locations with one more, or one less.
fn changed(op: Op, v: &[Arg; 4]) -> Out {
    let type_error = match op {
        Op::Insert => !v[1].set(),
        Op::Remove => !v[1].tuple() && !v[1].set(),
        _ => false,
    };
    if type_error {
        return Out::fails(ErrClass::Type);
    }
    // Locations are pairs, and cells are of two forms.
    let pair = v[0].is(Form::Pair);
    let apart = if pair { v[1].is(Form::Object) || v[1].is(Form::Objects) } else { v[1].is(Form::Indices) };
    if op == Op::Remove && apart {
        return Out::Copy(1);
    }
    let Some(at) = v[0].pair() else { return Out::Spill(Spill::Kind) };
    if op == Op::Initset {
        return Out::indices(at, |other| other == at);
    }
    let Some(p) = Patch::new(&v[1]).filter(|p| !p.is_object()) else { return Out::Spill(Spill::Kind) };
    if op == Op::Insert && p.is_empty() {
        return Out::indices(at, |other| other == at);
    }
    if op == Op::Remove {
        return Out::indices((p.i0, p.j0), |other| other != at && p.has(other));
    }
    if at.0.abs() > FAR || at.1.abs() > FAR {
        return Out::Spill(Spill::Size);
    }
    let corner = (p.i0.min(at.0), p.j0.min(at.1));
    let end = ((p.i0 + p.h as i64).max(at.0 + 1), (p.j0 + p.w as i64).max(at.1 + 1));
    if end.0 - corner.0 > SIDE as i64 || end.1 - corner.1 > SIDE as i64 {
        return Out::Spill(Spill::Size);
    }
    Out::indices(corner, |other| other == at || p.has(other))
}

/// A cell: row, column and colour.
type Cell = (i64, i64, i8);

/// What a map makes of the cells of one object; nothing for maps that make boxes.
fn moved(which: u32, cells: &[Cell], [top, left, bottom, right]: [i64; 4]) -> Option<Vec<Cell>> {
    let to = |&(i, j, c): &Cell| {
        let (i, j) = match which {
            1 => (top + bottom - i, j),
            2 => (i, left + right - j),
            3 => (j - left + top, i - top + left),
            4 => (top + right - j, left + bottom - i),
            5 => (i - top, j - left),
            _ => (i, j),
        };
        (i, j, c)
    };
    (which < 6).then(|| cells.iter().map(to).collect())
}

/// The locations of one object's box, drawn by a map.
fn boxed(which: u32, [top, left, bottom, right]: [i64; 4]) -> Vec<(i64, i64)> {
    let [top, left, bottom, right] = match which {
        10 => [top - 1, left - 1, bottom + 1, right + 1],
        11 => {
            [(top + 1).min(bottom - 1), (left + 1).min(right - 1), (top + 1).max(bottom - 1), (left + 1).max(right - 1)]
        }
        _ => [top, left, bottom, right],
    };
    let wanted = |&(i, j): &(i64, i64)| {
        let (row, column) = (i == top || i == bottom, j == left || j == right);
        match which {
            7 => true,
            9 => row && column,
            _ => row || column,
        }
    };
    (top..=bottom).flat_map(|i| (left..=right).map(move |j| (i, j))).filter(wanted).collect()
}

/// What a map makes of all objects, as one set.
fn mapped(which: u32, x: &Arg) -> Out {
    if x.hollow() {
        return Out::hollow();
    }
    if Patch::new(x).is_some_and(|p| p.is_empty()) {
        return Out::empty();
    }
    if !x.is(Form::Objects) {
        // Pairs and cells are no patches, and can be mirrored up and down alone; numbers are nothing.
        let others = [Form::Grid, Form::Strips, Form::Ordered, Form::Lines];
        let odd = (x.patch() && which < 2) || others.iter().any(|&form| x.is(form));
        return if odd { Out::Spill(Spill::Kind) } else { Out::fails(ErrClass::Type) };
    }
    let there = |(i, j): (i64, i64)| x.masks()[i as usize] >> j & 1 == 1;
    if which == 6 {
        return Out::indices((0, 0), there);
    }
    let cells: Vec<u8> = (0..CELLS).map(|at| x.cell(at / SIDE, at % SIDE) as u8).collect();
    let (labels, count) = labelled(&cells, x.masks(), x.c & 15);
    let mut objects: Vec<Vec<Cell>> = vec![Vec::new(); count];
    for (at, label) in labels.iter().enumerate().filter_map(|(at, label)| Some((at, (*label)?))) {
        objects[usize::from(label)].push(((at / SIDE) as i64, (at % SIDE) as i64, cells[at] as i8));
    }
    let frame = |cells: &[Cell]| {
        cells.iter().fold([i64::MAX, i64::MAX, i64::MIN, i64::MIN], |[t, l, b, r], &(i, j, _)| {
            [t.min(i), l.min(j), b.max(i), r.max(j)]
        })
    };
    if which >= 7 {
        let all: std::collections::BTreeSet<_> = objects.iter().flat_map(|cells| boxed(which, frame(cells))).collect();
        // A window that begins at (-1, -1).
        if all.iter().any(|at| at.0 > SIDE as i64 - 2 || at.1 > SIDE as i64 - 2) {
            return Out::Spill(Spill::Size);
        }
        return Out::indices((-1, -1), |at| all.contains(&at));
    }
    let all = objects.iter().filter_map(|cells| moved(which, cells, frame(cells))).flatten();
    let (mut colours, mut several) = (vec![None; CELLS], false);
    for (i, j, colour) in all {
        if i >= SIDE as i64 || j >= SIDE as i64 {
            return Out::Spill(Spill::Size);
        }
        let own = colours[i as usize * SIDE + j as usize].get_or_insert(colour);
        several = several || *own != colour;
    }
    if several {
        return Out::Spill(Spill::Class);
    }
    let colour = |(i, j): (i64, i64)| colours[i as usize * SIDE + j as usize];
    Out::patch(true, (0, 0), |at| colour(at).is_some(), |at| colour(at).unwrap_or(0))
}
