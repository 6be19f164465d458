//! Patches and objects of grids, and what is asked of objects.

use std::cmp::Reverse;

use super::code::strip;
use super::gather::elements;
use super::tuples::stacked;
use super::value::{Arg, Done, Grid, Out, Patch, labelled};
use super::{Form, Op, Spill};
use crate::error::ErrClass;
use crate::kernels::components::extreme_colour;
use crate::kernels::{CELLS, SIDE};

/// Functions of a grid that give locations, cells or objects.
pub(super) fn found(op: Op, v: &[Arg; 4]) -> Done {
    let target = if op == Op::Toobject { &v[1] } else { &v[0] };
    let mut patch = None;
    match op {
        Op::Toobject => {
            patch = Some(Patch::read(&v[0])?);
            Grid::with_row(target)?;
        }
        // Nothing has a most frequent colour.
        Op::Fgpartition if Patch::new(target).is_some_and(|p| p.is_empty()) => return Err(Out::fails(ErrClass::Empty)),
        Op::Ofcolor if !v[1].comparable() => return Err(Out::fails(ErrClass::Type)),
        _ => {}
    }
    let g = Grid::read(target)?;
    let own = |(i, j): (i64, i64)| g.at(i as usize, j as usize);
    Ok(match op {
        Op::Ofcolor => Out::indices((0, 0), |at| v[1].number() && g.inside(at) && i32::from(own(at)) == v[1].a),
        Op::Asindices => Out::indices((0, 0), |at| g.inside(at)),
        Op::Asobject => Out::patch(true, (0, 0), |at| g.inside(at), own),
        Op::Toobject => Out::patch(true, (0, 0), |at| g.inside(at) && patch.as_ref().is_some_and(|p| p.has(at)), own),
        _ => {
            let of_flags = op == Op::Objects;
            if of_flags && v[1..].iter().any(|flag| !flag.number()) {
                return Err(Out::Spill(Spill::Kind));
            }
            let mode = if of_flags { i32::from(v[1].a != 0) << 2 | i32::from(v[2].a != 0) << 1 } else { 8 | 4 };
            let mut left_out = None;
            if op == Op::Fgpartition || (of_flags && v[3].a != 0) {
                left_out = extreme_colour(g.all(), true);
                if left_out.is_none() {
                    return Err(Out::fails(ErrClass::Empty));
                }
            }
            if of_flags && g.h == 0 {
                return Err(Out::fails(ErrClass::Index));
            }
            let there = |i: usize, j: usize| g.inside((i as i64, j as i64)) && Some(g.at(i, j)) != left_out;
            let mask = |i: usize| (0..SIDE).filter(|&j| there(i, j)).fold(0, |mask, j| mask | 1 << j);
            Out::objects(target, &std::array::from_fn(mask), mode)
        }
    })
}

/// Figures from here on count cells of a colour + 128.
pub(super) const COUNTED: u32 = 32;

/// A figure by which objects are compared: of the cells (colour, row, column) of one.
pub(super) fn figure(cells: &[(i32, i32, i32)], which: u32) -> i32 {
    let colours = || cells.iter().map(|cell| cell.0 as i8);
    match which {
        8 => colours().collect::<std::collections::BTreeSet<_>>().len() as i32,
        9 | 14 => extreme_colour(colours(), which == 9).map_or(0, i32::from),
        COUNTED.. => cells.iter().filter(|cell| cell.0 + 128 == (which - COUNTED) as i32).count() as i32,
        _ => Figures::of_cells(cells).of(which),
    }
}

/// What is known of a component.
#[derive(Clone, Copy)]
struct Figures {
    size: i32,
    colour: i32,
    box_: [i32; 4],
}

impl Figures {
    const NOTHING: Self = Self { size: 0, colour: i32::MAX, box_: [i32::MAX, i32::MAX, 0, 0] };

    /// One more cell.
    fn add(&mut self, colour: i32, i: i32, j: i32) {
        self.size += 1;
        self.colour = self.colour.min(colour);
        let [top, left, bottom, right] = self.box_;
        self.box_ = [top.min(i), left.min(j), bottom.max(i), right.max(j)];
    }

    /// Of cells: colour, row, column.
    fn of_cells(cells: &[(i32, i32, i32)]) -> Self {
        let mut figures = Self::NOTHING;
        for &(colour, i, j) in cells {
            figures.add(colour, i, j);
        }
        figures
    }

    fn of(&self, which: u32) -> i32 {
        let [top, left, bottom, right] = self.box_;
        match which {
            0 => self.size,
            1 => bottom - top + 1,
            2 => right - left + 1,
            3 => top,
            4 => bottom,
            5 => left,
            6 => right,
            7 => self.colour,
            _ => 1,
        }
    }

    /// Whether the component is a vertical or horizontal line, a square, or higher than wide.
    fn is(&self, which: u32) -> bool {
        let [size, h, w] = [0, 1, 2].map(|figure| self.of(figure));
        match which {
            10 => w == 1 && size == h,
            11 => h == 1 && size == w,
            12 => h == w && size == h * w,
            _ => h > w,
        }
    }
}

/// Functions of objects.
pub(super) fn asked(op: Op, which: u32, v: &[Arg; 4]) -> Done {
    let x = &v[0];
    let filter = matches!(op, Op::Colorfilter | Op::Sizefilter);
    let predicate = matches!(op, Op::Sfilter | Op::Mfilter);
    // In an order by a figure, of which the first and the last are asked for.
    let ordered = x.is(Form::Ordered);
    if ordered && !matches!(op, Op::First | Op::Last | Op::Size) {
        return Err(Out::Spill(Spill::Kind));
    }
    if filter && !v[1].comparable() {
        return Err(Out::fails(ErrClass::Type));
    }
    let which = if ordered { (x.c >> 8) as u32 - 1 } else { which };
    if !x.is(Form::Objects) && !ordered {
        return asked_of_others(op, v);
    }
    let cells: Vec<u8> = (0..CELLS).map(|at| x.cell(at / SIDE, at % SIDE) as u8).collect();
    let own = |(i, j): (i64, i64)| x.cell(i as usize, j as usize);
    let there = |(i, j): (i64, i64)| x.masks()[i as usize] >> j & 1 == 1;
    if op == Op::Merge {
        return Ok(Out::patch(true, (0, 0), there, own));
    }
    if filter && !v[1].number() {
        return Ok(Out::empty());
    }
    let (labels, count) = labelled(&cells, x.masks(), x.c & 15);
    if op == Op::Size {
        return Ok(Out::int(count));
    }
    let mut all = vec![Figures::NOTHING; count];
    let mut objects = vec![Vec::new(); count];
    for (at, label) in labels.iter().enumerate().filter_map(|(at, label)| Some((at, (*label)?))) {
        let (colour, i, j) = (i32::from(cells[at] as i8), (at / SIDE) as i32, (at % SIDE) as i32);
        all[usize::from(label)].add(colour, i, j);
        objects[usize::from(label)].push((colour, i, j));
    }
    if filter || predicate {
        let wanted = |f: &Figures| match op {
            Op::Sizefilter => f.size == v[1].a,
            Op::Colorfilter => f.colour == v[1].a,
            _ => f.is(which),
        };
        let kept = |at: usize| labels[at].is_some_and(|label| wanted(&all[usize::from(label)]));
        let mask = |i: usize| (0..SIDE).filter(|j| kept(i * SIDE + j)).fold(0, |mask, j| mask | 1 << j);
        if op == Op::Mfilter {
            return Ok(Out::patch(true, (0, 0), |(i, j)| kept(i as usize * SIDE + j as usize), own));
        }
        return Ok(Out::objects(x, &std::array::from_fn(mask), x.c));
    }
    let of = |k: usize| figure(&objects[k], which);
    let chosen = match op {
        Op::First if ordered => (0..count).min_by_key(|&k| (of(k), k)),
        Op::Last if ordered => (0..count).max_by_key(|&k| (of(k), k)),
        Op::First => Some(0),
        Op::Last => Some(count - 1),
        Op::Extract => all.iter().position(|f| f.is(which)),
        Op::Argmax => (0..count).max_by_key(|&k| (of(k), Reverse(k))),
        _ => (0..count).min_by_key(|&k| (of(k), k)),
    };
    if chosen.is_none() {
        return Err(Out::fails(ErrClass::Empty));
    }
    let is = |(i, j): (i64, i64)| labels[i as usize * SIDE + j as usize].map(usize::from) == chosen;
    Ok(Out::patch(true, (0, 0), |at| there(at) && is(at), own))
}

fn asked_of_others(op: Op, v: &[Arg; 4]) -> Done {
    let x = &v[0];
    match op {
        // Not a container; or of numbers, of which nothing can be asked.
        _ if !x.tuple() && !x.set() => return Err(Out::fails(ErrClass::Type)),
        Op::Size if x.is(Form::Grid) => return Ok(Out::int(x.a as usize)),
        Op::Size if x.is(Form::Pair) => return Ok(Out::int(2)),
        Op::First if x.is(Form::Pair) => return Ok(Out::scalar(Form::Int, x.a, 0)),
        Op::Last if x.is(Form::Pair) => return Ok(Out::scalar(Form::Int, x.b, 0)),
        _ if x.is(Form::Pair) => return Err(Out::fails(ErrClass::Type)),
        _ => {}
    }
    if x.is(Form::Strips) {
        let n = x.c & 255;
        let k = match op {
            Op::Size => return Ok(Out::int(n as usize)),
            Op::First => 0,
            Op::Last => n - 1,
            Op::Merge => return Ok(stacked(x)),
            _ => return Err(Out::Spill(Spill::Kind)),
        };
        let (top, rows, left, columns) = strip([x.a, x.b, x.c], k);
        return Ok(Out::grid(rows, columns, |i, j| x.cell(top + i, left + j)));
    }
    if x.is(Form::Lines) {
        let (h, w, rows, columns) = (i64::from(x.a), i64::from(x.b), x.masks()[0], x.masks()[1]);
        let there = |(i, j): (i64, i64)| i < h && j < w && (rows >> i & 1 == 1 || columns >> j & 1 == 1);
        return Ok(match op {
            // The row of a grid of one cell is its column.
            Op::Size if h * w == 1 => Out::int(1),
            Op::Size => Out::int((rows.count_ones() + columns.count_ones()) as usize),
            Op::Merge => Out::patch(true, (0, 0), there, |(i, j)| x.cell(i as usize, j as usize)),
            Op::First => elements(x).into_iter().next().unwrap_or(Out::Spill(Spill::Kind)),
            Op::Last => elements(x).pop().unwrap_or(Out::Spill(Spill::Kind)),
            _ => Out::Spill(Spill::Kind),
        });
    }
    let sought = matches!(op, Op::First | Op::Last | Op::Argmax | Op::Argmin | Op::Extract);
    let filter = matches!(op, Op::Colorfilter | Op::Sizefilter);
    if x.hollow() {
        return Ok(if sought {
            Out::fails(ErrClass::Empty)
        } else if filter {
            Out::empty()
        } else {
            Out::hollow()
        });
    }
    let Some(p) = Patch::new(x) else { return Err(Out::Spill(Spill::Kind)) };
    Ok(match op {
        Op::Size => Out::int(p.count()),
        _ if p.is_empty() && sought => Out::fails(ErrClass::Empty),
        _ if p.is_empty() => Out::empty(),
        // The elements are pairs and cells: no objects, and of two elements each.
        Op::Colorfilter | Op::Sfilter | Op::Mfilter | Op::Extract => Out::fails(ErrClass::Type),
        Op::Sizefilter if v[1].number() && v[1].a == 2 => Out::Copy(0),
        Op::Sizefilter => Out::empty(),
        Op::First | Op::Last if !p.is_object() => {
            let i = if op == Op::First { p.i0 } else { p.i0 + p.h as i64 - 1 };
            let mut columns = (p.j0..p.j0 + p.w as i64).filter(|&j| p.has((i, j)));
            let j = if op == Op::First { columns.next() } else { columns.next_back() };
            j.map_or(Out::Spill(Spill::Class), |j| Out::pair(i, j))
        }
        _ => Out::Spill(Spill::Kind),
    })
}

/// Colours and sizes of grids and patches.
pub(super) fn measured(op: Op, v: &[Arg; 4]) -> Done {
    let x = &v[0];
    match op {
        Op::Colorcount if !v[1].comparable() => return Err(Out::fails(ErrClass::Type)),
        Op::Height if x.is(Form::Pair) => return Ok(Out::int(2)),
        Op::Index => {
            Grid::with_row(x)?;
        }
        _ => {}
    }
    let (grid, patch) = (Grid::new(x), Patch::new(x));
    let (h, w, colours): (usize, usize, Vec<i8>) = match (&grid, &patch) {
        (Some(g), _) => (g.h, g.w, g.all().collect()),
        (_, Some(p)) => (p.h, p.w, p.colours().collect()),
        // Parts of a grid may be rows of another one, and objects are as many as the tuple is high.
        _ if x.is(Form::Strips) || (x.is(Form::Ordered) && op == Op::Height) => return Err(Out::Spill(Spill::Kind)),
        _ => return Err(Out::fails(ErrClass::Type)),
    };
    let coloured = grid.is_some() || x.is(Form::Object);
    let colour = |c: Option<i8>| c.map_or(Out::fails(ErrClass::Empty), |c| Out::scalar(Form::Int, c.into(), 0));
    let empty = x.hollow() || patch.as_ref().is_some_and(Patch::is_empty);
    Ok(match op {
        Op::Numcolors | Op::Colorcount if empty => Out::int(0),
        Op::Mostcolor | Op::Leastcolor | Op::Color if empty => Out::fails(ErrClass::Empty),
        // The first component of what is no object: a row's first cell, a location's row.
        Op::Color if grid.is_some() && w == 0 => Out::fails(ErrClass::Index),
        Op::Color if grid.is_some() => colour(colours.first().copied()),
        Op::Color if !coloured => patch.as_ref().map_or(Out::Spill(Spill::Kind), |p| Out::number(p.i0)),
        Op::Mostcolor | Op::Leastcolor | Op::Numcolors | Op::Colorcount if !coloured => Out::Spill(Spill::Kind),
        Op::Mostcolor => colour(extreme_colour(colours.into_iter(), true)),
        Op::Leastcolor => colour(extreme_colour(colours.into_iter(), false)),
        Op::Numcolors => Out::int(colours.iter().collect::<std::collections::BTreeSet<_>>().len()),
        Op::Colorcount => Out::int(colours.iter().filter(|&&c| v[1].number() && i32::from(c) == v[1].a).count()),
        Op::Vline | Op::Hline if grid.is_some() => {
            Patch::read(x)?;
            Out::bool(false)
        }
        Op::Color => colour(colours.into_iter().min()),
        Op::Height => Out::int(h),
        Op::Width => Out::int(w),
        Op::Shape => Out::pair(h as i64, w as i64),
        Op::Portrait => Out::bool(h > w),
        Op::Square if grid.is_some() && h == 0 => Out::fails(ErrClass::Index),
        Op::Square => Out::bool(h == w && colours.len() == h * w),
        Op::Vline => Out::bool(colours.len() == h && w == 1),
        Op::Hline => Out::bool(colours.len() == w && h == 1),
        _ => match (grid.filter(|g| g.h > 0), v[1].pair()) {
            (Some(g), Some(at)) if g.inside(at) => Out::scalar(Form::Int, g.at(at.0 as usize, at.1 as usize).into(), 0),
            (Some(_), Some(_)) => Out::scalar(Form::Nothing, 0, 0),
            _ => Out::fails(ErrClass::Type),
        },
    })
}
