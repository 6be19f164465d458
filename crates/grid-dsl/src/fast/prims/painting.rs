//! Patches and grids: what is where, and writing into grids.

use super::{Cells, Histogram, Maybe, grid, is_empty, keys, packed};
use crate::error::ErrClass;
use crate::fast::machine::Fast;
use crate::fast::val::{Dense, Patch, Val, at, colour_of, sort_keys};
use crate::ops::{Labeller, Mode, background};
use crate::prim::Prim;

/// The key of the location `(0, 0)`.
const ORIGIN: u64 = (0x8000 << 16) | 0x8000;

/// The key of a cell of a grid.
fn cell(colour: i8, i: usize, j: usize) -> u64 {
    (((i16::from(colour) + 128) as u64) << 32) | (ORIGIN + ((i as u64) << 16) + j as u64)
}

/// The keys of all locations where a test holds, in order.
fn places(grid: &Dense, test: impl Fn(i8) -> bool) -> Vec<u64> {
    let mut all = Vec::with_capacity(grid.cells.iter().filter(|c| test(**c)).count());
    for (i, row) in grid.cells.chunks_exact(grid.w).enumerate() {
        let first = ORIGIN + ((i as u64) << 16);
        all.extend(row.iter().enumerate().filter(|(_, c)| test(**c)).map(|(j, _)| first + j as u64));
    }
    all
}

/// All cells of a grid, colour by colour.
fn by_colour(grid: &Dense) -> Vec<Vec<u64>> {
    let counts = Histogram::of_cells(&grid.cells);
    let mut slots = [usize::MAX; 256];
    let mut all: Vec<Vec<u64>> = Vec::new();
    for (colour, n) in counts.present() {
        slots[(colour + 128) as usize] = all.len();
        all.push(Vec::with_capacity(n as usize));
    }
    for (i, row) in grid.cells.chunks_exact(grid.w).enumerate() {
        for (j, &c) in row.iter().enumerate() {
            all[slots[(i16::from(c) + 128) as usize]].push(cell(c, i, j));
        }
    }
    all
}

/// `objects`: components straight from labels.
fn objects(labeller: &mut Labeller, grid: &Dense, mode: Mode) -> Val {
    let (labels, table) = labeller.label(grid, mode);
    let mut all: Vec<Vec<u64>> = table.iter().map(|c| Vec::with_capacity(c.size as usize)).collect();
    let rows = grid.cells.chunks_exact(grid.w).zip(labels.chunks_exact(grid.w));
    for (i, (cells, labels)) in rows.enumerate() {
        for (j, (&c, &label)) in cells.iter().zip(labels).enumerate() {
            if let Some(component) = all.get_mut(label as usize) {
                component.push(cell(c, i, j));
            }
        }
    }
    if !mode.univalued {
        for keys in &mut all {
            sort_keys(keys);
        }
    }
    // Components have no cell in common: their first cells order them.
    all.sort_unstable_by_key(|keys| keys[0]);
    Val::sorted_set(all.into_iter().map(|keys| Val::patch(keys, true)).collect())
}

fn frontiers(grid: &Dense) -> Val {
    let uniform = |mut cells: std::iter::StepBy<std::slice::Iter<'_, i8>>| {
        let first = cells.next();
        cells.all(|c| Some(c) == first)
    };
    let mut all = Vec::new();
    for (i, row) in grid.cells.chunks_exact(grid.w).enumerate() {
        if uniform(row.iter().step_by(1)) {
            all.push(Val::patch((0..grid.w).map(|j| cell(row[0], i, j)).collect(), true));
        }
    }
    for j in 0..grid.w {
        if uniform(grid.cells[j..].iter().step_by(grid.w)) {
            all.push(Val::patch((0..grid.h).map(|i| cell(grid.cells[j], i, j)).collect(), true));
        }
    }
    Val::set(all)
}

fn occurrences(f: &mut Fast, grid: &Dense, object: &Patch) -> Maybe {
    if !object.object {
        return None;
    }
    let b = object.bounds();
    let rows = (grid.h as i64 - i64::from(b.height()) + 1).max(0) as usize;
    let columns = (grid.w as i64 - i64::from(b.width()) + 1).max(0) as usize;
    if let Err(class) = f.m.spend(rows as u64 * columns as u64 * object.keys.len() as u64) {
        return Some(Err(class));
    }
    if rows * columns == 0 {
        return Some(Ok(Val::set(vec![])));
    }
    // Inside these rows and columns every offset stays inside the grid.
    let offset = |&key: &u64| {
        let (i, j) = at(key);
        ((i - b.top) as usize * grid.w + (j - b.left) as usize, colour_of(key) as i8)
    };
    let mut cells: Vec<(usize, i8)> = object.keys.iter().map(offset).collect();
    // The rarest colours fail first.
    let counts = Histogram::of_cells(&grid.cells);
    cells.sort_by_key(|(_, c)| counts.count(*c));
    let mut found = Vec::new();
    for i in 0..rows {
        for j in 0..columns {
            let from = &grid.cells[i * grid.w + j..];
            if cells.iter().all(|&(by, c)| from[by] == c) {
                found.push(ORIGIN + ((i as u64) << 16) + j as u64);
            }
        }
    }
    // The definition's visits are spent, whether there is room for what was found or not.
    keys(f, found, false).or(Some(Err(ErrClass::Limit)))
}

fn period(f: &mut Fast, value: &Val, along_rows: bool) -> Maybe {
    let patch = packed(value)?;
    let b = patch.bounds();
    let extent = if along_rows { b.width() } else { b.height() };
    if !patch.object {
        return None;
    }
    let line = |key: u64| {
        let (i, j) = at(key);
        if along_rows { j - b.left } else { i - b.top }
    };
    let mut lines: Vec<i32> = patch.keys.iter().map(|&key| line(key)).collect();
    lines.sort_unstable();
    lines.dedup();
    for p in lines.into_iter().rev().map(|line| extent - 1 - line).filter(|&p| p > 0) {
        if let Err(class) = f.m.spend(patch.keys.len() as u64) {
            return Some(Err(class));
        }
        let by = (p as u64) << if along_rows { 0 } else { 16 };
        let inside = |&key: &u64| line(key) < p || patch.keys.binary_search(&(key - by)).is_ok();
        if patch.keys.iter().all(inside) {
            return Some(Ok(Val::Int(p)));
        }
    }
    Some(Ok(Val::Int(extent)))
}

/// The grid with one colour written at locations, where `only` is the colour that is there, if it is given.
fn filled(grid: &Dense, colour: i8, at: &Cells, only: Option<i8>) -> Val {
    let mut cells = grid.cells.clone();
    at.each(|_, i, j| {
        if i >= 0 && j >= 0 && (i as usize) < grid.h && (j as usize) < grid.w {
            let old = &mut cells[i as usize * grid.w + j as usize];
            if only.is_none_or(|only| *old == only) {
                *old = colour;
            }
        }
    });
    Val::grid(grid.h, grid.w, cells)
}

/// The grid with cells written. `None` for colours that do not fit.
fn painted(grid: &Dense, object: &Cells, only: Option<i8>) -> Option<Val> {
    if object.bare() {
        return None;
    }
    let mut cells = grid.cells.clone();
    let mut fits = true;
    object.each(|c, i, j| {
        if i >= 0 && j >= 0 && (i as usize) < grid.h && (j as usize) < grid.w {
            let old = &mut cells[i as usize * grid.w + j as usize];
            if only.is_none_or(|only| *old == only) {
                match i8::try_from(c) {
                    Ok(c) => *old = c,
                    Err(_) => fits = false,
                }
            }
        }
    });
    fits.then(|| Val::grid(grid.h, grid.w, cells))
}

/// A colour that may be written into a packed grid.
fn written(value: &Val) -> Option<i8> {
    match value {
        Val::Int(n) => i8::try_from(*n).ok(),
        _ => None,
    }
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    match prim {
        Prim::Asindices => keys(f, places(grid(f, a[0])?, |_| true), false),
        Prim::Ofcolor => {
            let grid = grid(f, a[0])?;
            let Val::Int(colour) = a[1] else {
                return matches!(a[1], Val::None).then(|| Ok(Val::set(vec![])));
            };
            match i8::try_from(*colour) {
                Ok(colour) => keys(f, places(grid, |c| c == colour), false),
                Err(_) => Some(Ok(Val::set(vec![]))),
            }
        }
        Prim::Asobject => keys(f, by_colour(grid(f, a[0])?).concat(), true),
        Prim::Toobject => {
            let (patch, grid) = (Cells::of(a[0])?, grid(f, a[1])?);
            let mut found = Vec::new();
            patch.each(|_, i, j| {
                if i >= 0 && j >= 0 && (i as usize) < grid.h && (j as usize) < grid.w {
                    let (i, j) = (i as usize, j as usize);
                    found.push(cell(grid.cells[i * grid.w + j], i, j));
                }
            });
            keys(f, found, true)
        }
        Prim::Objects => {
            let (univalued, diagonal, without_background) = (a[1].truth(), a[2].truth(), a[3].truth());
            let grid = grid(f, a[0])?;
            Some(Ok(objects(&mut f.labeller, grid, Mode { univalued, diagonal, without_background })))
        }
        Prim::OG => {
            let mode = *Mode::ALL.get(usize::try_from(a[1].as_int()?).ok()?)?;
            let grid = grid(f, a[0])?;
            Some(Ok(objects(&mut f.labeller, grid, mode)))
        }
        Prim::Partition | Prim::Fgpartition => {
            let grid = grid(f, a[0])?;
            if grid.cells.len() > f.limits().elements {
                return None;
            }
            let mut all = by_colour(grid);
            if prim == Prim::Fgpartition {
                let most = i32::from(background(&grid.cells));
                all.retain(|keys| colour_of(keys[0]) != most);
            }
            Some(Ok(Val::sorted_set(all.into_iter().map(|keys| Val::patch(keys, true)).collect())))
        }
        Prim::Frontiers => Some(Ok(frontiers(grid(f, a[0])?))),
        Prim::Occurrences if is_empty(a[1]) => {
            // Nothing is everywhere, behind the last row and column, too.
            let (h, w) = grid(f, a[0]).map(|grid| (grid.h as u64, grid.w as u64))?;
            let row = |i: u64| (0..=w).map(move |j| ORIGIN + (i << 16) + j);
            keys(f, (0..=h).flat_map(row).collect(), false)
        }
        Prim::Occurrences => occurrences(f, grid(f, a[0])?, packed(a[1])?),
        Prim::Hperiod => period(f, a[0], true),
        Prim::Vperiod => period(f, a[0], false),
        Prim::Fill => Some(Ok(filled(grid(f, a[0])?, written(a[1])?, &Cells::of(a[2])?, None))),
        Prim::Underfill => {
            let grid = grid(f, a[0])?;
            let only = background(&grid.cells);
            Some(Ok(filled(grid, written(a[1])?, &Cells::of(a[2])?, Some(only))))
        }
        Prim::Cover => {
            let grid = grid(f, a[0])?;
            Some(Ok(filled(grid, background(&grid.cells), &Cells::of(a[1])?, None)))
        }
        Prim::Paint => painted(grid(f, a[0])?, &Cells::of(a[1])?, None).map(Ok),
        Prim::Underpaint => {
            let grid = grid(f, a[0])?;
            painted(grid, &Cells::of(a[1])?, Some(background(&grid.cells))).map(Ok)
        }
        Prim::Move if is_empty(a[1]) => {
            let (Val::Grid(_), Val::Pair(..)) = (a[0], a[2]) else { return None };
            grid(f, a[0]).map(|_| Ok(a[0].clone()))
        }
        Prim::Move => {
            let (grid, object, (di, dj)) = (grid(f, a[0])?, packed(a[1])?, a[2].as_pair()?);
            let moved = super::patches::moved(object, object.bounds(), i64::from(di), i64::from(dj))?;
            moved.check(f.limits()).ok()?;
            let Val::Grid(covered) = filled(grid, background(&grid.cells), &Cells::of(a[1])?, None) else {
                return None;
            };
            painted(&covered, &Cells::of(&moved)?, None).map(Ok)
        }
        Prim::Subgrid => {
            if is_empty(a[0]) {
                return Some(Err(ErrClass::Index));
            }
            let (b, grid) = (packed(a[0])?.bounds(), grid(f, a[1])?);
            let size = (i64::from(b.height()), i64::from(b.width()));
            Some(Ok(super::grids::cropped(grid, (i64::from(b.top), i64::from(b.left)), size)))
        }
        _ => None,
    }
}
