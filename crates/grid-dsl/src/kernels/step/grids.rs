//! Grids from grids, and writing into them.

use super::value::{Arg, Done, Grid, Out, Patch};
use super::{Form, Op, Spill};
use crate::error::ErrClass;
use crate::kernels::SIDE;
use crate::kernels::components::extreme_colour;

/// Positions that a slice keeps.
fn slice(from: i64, count: i64, length: usize) -> (usize, usize) {
    let length = length as i64;
    let end = |n: i64| (if n < 0 { n + length } else { n }).clamp(0, length) as usize;
    let (from, to) = (end(from), end(from + count));
    (from, to.saturating_sub(from))
}

/// Parts of a grid.
pub(super) fn cut(op: Op, v: &[Arg; 4]) -> Done {
    let g = Grid::with_row(&v[0])?;
    if !v[1].number() {
        return Err(Out::fails(ErrClass::Type));
    }
    let (side, bit) = if op == Op::Vsplit { (g.h, 256) } else { (g.w, 0) };
    Ok(match v[1].a {
        0 => Out::fails(ErrClass::DivZero),
        ..0 => Out::hollow(),
        // Parts without cells would be like rows.
        n if n > side as i32 => Out::Spill(Spill::Class),
        n => Out::strips(&v[0], n | bit),
    })
}

/// Functions that only move elements.
pub(super) fn moved(op: Op, v: &[Arg; 4]) -> Done {
    let x = if op == Op::Subgrid { &v[1] } else { &v[0] };
    let mirror = matches!(op, Op::Hmirror | Op::Vmirror | Op::Dmirror | Op::Cmirror);
    if let (Some(p), true) = (Patch::new(x), mirror || op == Op::Upscale) {
        return Ok(moved_patch(op, &p, v));
    }
    let mut at = (0, 0, 0, 0);
    if op == Op::Subgrid {
        let p = Patch::read(&v[0])?;
        if p.is_empty() {
            return Err(Out::fails(ErrClass::Index));
        }
        at = (p.i0, p.j0, p.h as i64, p.w as i64);
    }
    // Tuples of anything have elements that only move, too.
    let elements = matches!(op, Op::Hmirror | Op::Tophalf | Op::Bottomhalf | Op::Vupscale);
    if elements && x.tuple() && !x.is(Form::Grid) {
        return Err(Out::Spill(Spill::Kind));
    }
    if op == Op::Crop && (v[1].pair().is_none() || v[2].pair().is_none()) {
        return Err(Out::fails(ErrClass::Type));
    }
    let g = Grid::read(x)?;
    let (h, w) = (g.h, g.w);
    let part = |(top, rows): (usize, usize), (left, columns): (usize, usize)| {
        Out::grid(rows, columns, |i, j| g.at(top + i, left + j))
    };
    let (all_rows, all_columns) = ((0, h), (0, w));
    Ok(match op {
        Op::Rot90 => Out::grid(w, h, |i, j| g.at(h - 1 - j, i)),
        Op::Rot180 => Out::grid(h, w, |i, j| g.at(h - 1 - i, w - 1 - j)),
        Op::Rot270 => Out::grid(w, h, |i, j| g.at(j, w - 1 - i)),
        Op::Hmirror => Out::grid(h, w, |i, j| g.at(h - 1 - i, j)),
        Op::Vmirror => Out::grid(h, w, |i, j| g.at(i, w - 1 - j)),
        Op::Dmirror => Out::grid(w, h, |i, j| g.at(j, i)),
        Op::Cmirror => Out::grid(w, h, |i, j| g.at(h - 1 - j, w - 1 - i)),
        Op::Trim => part((1, h.saturating_sub(2)), (1, w.saturating_sub(2))),
        Op::Tophalf => part((0, h / 2), all_columns),
        Op::Bottomhalf => part((h.div_ceil(2), h / 2), all_columns),
        Op::Lefthalf | Op::Righthalf if w < 2 => part((0, 0), (0, 0)),
        Op::Lefthalf => part(all_rows, (0, w / 2)),
        Op::Righthalf => part(all_rows, (w.div_ceil(2), w / 2)),
        Op::Crop => match (v[1].pair(), v[2].pair()) {
            (Some(at), Some(by)) => part(slice(at.0, by.0, h), slice(at.1, by.1, w)),
            _ => Out::fails(ErrClass::Type),
        },
        Op::Subgrid => part(slice(at.0, at.2, h), slice(at.1, at.3, w)),
        Op::Downscale if h == 0 => Out::fails(ErrClass::Index),
        _ if !v[1].number() => Out::fails(ErrClass::Type),
        Op::Downscale if v[1].a == 0 => Out::fails(ErrClass::DivZero),
        Op::Downscale if v[1].a == i32::MIN => Out::Spill(Spill::Class),
        Op::Downscale => {
            let f = v[1].a.unsigned_abs() as usize;
            Out::grid(h.div_ceil(f), w.div_ceil(f), |i, j| g.at(i * f, j * f))
        }
        _ if v[1].a > SIDE as i32 => Out::Spill(Spill::Size),
        _ => {
            let f = v[1].a.max(0) as usize;
            let down = if op == Op::Hupscale { 1 } else { f };
            let across = if op == Op::Vupscale { 1 } else { f };
            Out::grid(h * down, w * across, |i, j| g.at(i / down, j / across))
        }
    })
}

/// Mirrors of patches, and objects that grow.
fn moved_patch(op: Op, p: &Patch, v: &[Arg; 4]) -> Out {
    if op == Op::Upscale {
        if !v[1].number() || !(p.is_empty() || p.is_object()) {
            return Out::fails(ErrClass::Type);
        }
        if p.is_empty() || v[1].a < 1 {
            return Out::empty();
        }
    }
    if p.is_empty() {
        return Out::fails(ErrClass::Index);
    }
    let (i0, j0, h, w) = (p.i0, p.j0, p.h as i64, p.w as i64);
    let mut f = 1;
    if op == Op::Upscale {
        f = i64::from(v[1].a);
        if h * f > SIDE as i64 || w * f > SIDE as i64 {
            return Out::Spill(Spill::Size);
        }
    }
    let back = |(i, j): (i64, i64)| {
        let (r, c) = (i - i0, j - j0);
        let (r, c) = match op {
            Op::Hmirror => (h - 1 - r, c),
            Op::Vmirror => (r, w - 1 - c),
            Op::Dmirror => (c, r),
            Op::Cmirror => (h - 1 - c, w - 1 - r),
            _ => (r / f, c / f),
        };
        (i0 + r, j0 + c)
    };
    Out::patch(p.is_object(), (i0, j0), |at| p.has(back(at)), |at| p.colour(back(at)))
}

/// Functions that join, recolour and cut grids.
pub(super) fn joined(op: Op, v: &[Arg; 4]) -> Done {
    let type_error = || Err(Out::fails(ErrClass::Type));
    if op == Op::Canvas {
        let (true, Some((h, w))) = (v[0].comparable(), v[1].pair()) else { return type_error() };
        let Some(c) = v[0].colour() else { return Err(Out::Spill(Spill::Kind)) };
        return Ok(Out::grid(h.max(0) as usize, w.max(0) as usize, |_, _| c));
    }
    if matches!(op, Op::Replace | Op::Switch) && !(v[1].comparable() && v[2].comparable()) {
        return type_error();
    }
    if op == Op::Vconcat && !(v[0].is(Form::Grid) && v[1].is(Form::Grid)) {
        // Tuples of anything have elements that follow each other, too.
        return if v[0].tuple() && v[1].tuple() { Err(Out::Spill(Spill::Kind)) } else { type_error() };
    }
    let a = if op == Op::Cellwise { Grid::with_row(&v[0])? } else { Grid::read(&v[0])? };
    let b = match op {
        Op::Hconcat | Op::Vconcat | Op::Cellwise => Grid::read(&v[1])?,
        _ => Grid::read(&v[0])?,
    };
    Ok(match op {
        Op::Hconcat => Out::grid(a.h.min(b.h), a.w + b.w, |i, j| if j < a.w { a.at(i, j) } else { b.at(i, j - a.w) }),
        Op::Vconcat if a.h > 0 && b.h > 0 && a.w != b.w => Out::Spill(Spill::Kind),
        Op::Vconcat => {
            let w = if a.h > 0 { a.w } else { b.w };
            Out::grid(a.h + b.h, w, |i, j| if i < a.h { a.at(i, j) } else { b.at(i - a.h, j) })
        }
        Op::Cellwise if !v[2].comparable() => Out::fails(ErrClass::Type),
        Op::Cellwise => {
            let lacks = a.w > 0 && (b.h < a.h || b.w < a.w);
            match v[2].colour() {
                // `None` is an error where cells differ, but perhaps one is lacking before.
                None if v[2].is(Form::Nothing) || (b.h >= a.h && b.w >= a.w) => Out::Spill(Spill::Class),
                _ if lacks => Out::fails(ErrClass::Index),
                fallback => {
                    let fallback = fallback.unwrap_or_default();
                    Out::grid(a.h, a.w, |i, j| if a.at(i, j) == b.at(i, j) { a.at(i, j) } else { fallback })
                }
            }
        }
        Op::Replace | Op::Switch => recoloured(&a, v, op == Op::Switch),
        _ => {
            let mixed_row = |i: &usize| a.w == 0 || (1..a.w).any(|j| a.at(*i, j) != a.at(*i, 0));
            let mixed_column = |j: &usize| (1..a.h).any(|i| a.at(i, *j) != a.at(0, *j));
            let rows: Vec<usize> = (0..a.h).filter(mixed_row).collect();
            let columns: Vec<usize> = (0..a.w).filter(mixed_column).collect();
            Out::grid(rows.len(), columns.len(), |i, j| a.at(rows[i], columns[j]))
        }
    })
}

/// One colour for another, or both for each other. What is no colour matters where it is written.
fn recoloured(g: &Grid, v: &[Arg; 4], back: bool) -> Out {
    let is = |c: i8, x: &Arg| x.number() && i32::from(c) == x.a;
    let there = g.all().any(|c| is(c, &v[1]));
    let here = back && g.all().any(|c| is(c, &v[2]) && !is(c, &v[1]));
    if (there && !v[2].number()) || (here && !v[1].number()) {
        return Out::fails(ErrClass::Type);
    }
    if (there && v[2].colour().is_none()) || (here && v[1].colour().is_none()) {
        return Out::Spill(Spill::Class);
    }
    Out::grid(g.h, g.w, |i, j| match g.at(i, j) {
        c if is(c, &v[1]) => v[2].a as i8,
        c if back && is(c, &v[2]) => v[1].a as i8,
        c => c,
    })
}

/// Functions that write a patch into a grid.
pub(super) fn written(op: Op, v: &[Arg; 4]) -> Done {
    let filled = matches!(op, Op::Fill | Op::Underfill);
    let at = if filled { &v[2] } else { &v[1] };
    let mut background = None;
    if !matches!(op, Op::Fill | Op::Paint) {
        background = extreme_colour(Grid::read(&v[0])?.all(), true);
        if background.is_none() {
            return Err(Out::fails(ErrClass::Empty));
        }
    }
    if filled && !v[1].comparable() {
        return Err(Out::fails(ErrClass::Type));
    }
    let p = Patch::read(at)?;
    let (mut di, mut dj) = (0, 0);
    if op == Op::Move {
        match v[2].pair() {
            Some(by) => (di, dj) = by,
            // What is empty is moved by any tuple.
            None if p.is_empty() && v[2].tuple() => {}
            None => return Err(Out::fails(ErrClass::Type)),
        }
        if !p.is_empty() && p.overflows((di, dj)) {
            return Err(Out::fails(ErrClass::Overflow));
        }
    }
    let coloured = matches!(op, Op::Paint | Op::Underpaint | Op::Move);
    if coloured && !p.is_empty() && !p.is_object() {
        return Err(Out::fails(ErrClass::Type));
    }
    let g = Grid::with_row(&v[0])?;
    let under = matches!(op, Op::Underfill | Op::Underpaint);
    let mut one = background.unwrap_or_default();
    if filled {
        let writes =
            |(i, j): (i64, i64)| g.inside((i, j)) && (!under || Some(g.at(i as usize, j as usize)) == background);
        match v[1].colour() {
            Some(c) => one = c,
            // What is no colour matters where it is written.
            None if !p.cells().into_iter().any(writes) => return Ok(Out::Copy(0)),
            None if v[1].number() => return Err(Out::Spill(Spill::Class)),
            None => return Err(Out::fails(ErrClass::Type)),
        }
    }
    Ok(Out::grid(g.h, g.w, |i, j| {
        let (here, now) = ((i as i64, j as i64), g.at(i, j));
        let source = (here.0 - di, here.1 - dj);
        let now = if op == Op::Move && p.has(here) { background.unwrap_or(now) } else { now };
        if !p.has(source) || (under && Some(now) != background) {
            now
        } else if coloured {
            p.colour(source)
        } else {
            one
        }
    }))
}
