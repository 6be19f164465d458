//! Grids from grids, and writing into them.

use super::value::{Arg, Grid, Out, Patch};
use super::{Op, Spill};
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
pub(super) fn cut(op: Op, v: &[Arg; 4]) -> Out {
    let Some(g) = Grid::new(&v[0]).filter(|g| g.h > 0 && v[1].is(super::Form::Int)) else {
        return Out::Spill(Spill::Kind);
    };
    let (side, bit) = if op == Op::Vsplit { (g.h, 256) } else { (g.w, 0) };
    // Parts without cells would be like rows.
    if v[1].a < 1 || v[1].a > side as i32 {
        return Out::Spill(Spill::Class);
    }
    Out::strips(&v[0], v[1].a | bit)
}

/// Functions that only move elements.
pub(super) fn moved(op: Op, v: &[Arg; 4]) -> Out {
    let x = if op == Op::Subgrid { &v[1] } else { &v[0] };
    let mirror = matches!(op, Op::Hmirror | Op::Vmirror | Op::Dmirror | Op::Cmirror);
    if let (Some(p), true) = (Patch::new(x), mirror || (op == Op::Upscale && x.is(super::Form::Object))) {
        return moved_patch(op, &p, v);
    }
    let Some(g) = Grid::new(x) else { return Out::Spill(Spill::Kind) };
    let (h, w) = (g.h, g.w);
    let part = |(top, rows): (usize, usize), (left, columns): (usize, usize)| {
        Out::grid(rows, columns, |i, j| g.at(top + i, left + j))
    };
    let (all_rows, all_columns) = ((0, h), (0, w));
    match op {
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
            _ => Out::Spill(Spill::Kind),
        },
        Op::Subgrid => match Patch::new(&v[0]) {
            None => Out::Spill(Spill::Kind),
            Some(p) if p.is_empty() => Out::Spill(Spill::Class),
            Some(p) => part(slice(p.i0, p.h as i64, h), slice(p.j0, p.w as i64, w)),
        },
        Op::Downscale => {
            let f = v[1].a.unsigned_abs() as usize;
            if !v[1].is(super::Form::Int) || v[1].a == 0 || v[1].a == i32::MIN || h == 0 {
                return Out::Spill(Spill::Class);
            }
            Out::grid(h.div_ceil(f), w.div_ceil(f), |i, j| g.at(i * f, j * f))
        }
        _ => {
            if !v[1].is(super::Form::Int) || v[1].a > SIDE as i32 {
                return Out::Spill(Spill::Class);
            }
            let f = v[1].a.max(0) as usize;
            let down = if op == Op::Hupscale { 1 } else { f };
            let across = if op == Op::Vupscale { 1 } else { f };
            Out::grid(h * down, w * across, |i, j| g.at(i / down, j / across))
        }
    }
}

/// Mirrors of patches, and objects that grow.
fn moved_patch(op: Op, p: &Patch, v: &[Arg; 4]) -> Out {
    if p.is_empty() {
        return Out::Spill(Spill::Class);
    }
    let (i0, j0, h, w) = (p.i0, p.j0, p.h as i64, p.w as i64);
    let mut f = 1;
    if op == Op::Upscale {
        if !v[1].is(super::Form::Int) || !(1..=SIDE as i32).contains(&v[1].a) {
            return Out::Spill(Spill::Class);
        }
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
pub(super) fn joined(op: Op, v: &[Arg; 4]) -> Out {
    if op == Op::Canvas {
        let (Some(c), Some((h, w))) = (v[0].colour(), v[1].pair()) else { return Out::Spill(Spill::Kind) };
        return Out::grid(h.max(0) as usize, w.max(0) as usize, |_, _| c);
    }
    let Some(a) = Grid::new(&v[0]) else { return Out::Spill(Spill::Kind) };
    let b = match op {
        Op::Hconcat | Op::Vconcat | Op::Cellwise => Grid::new(&v[1]),
        _ => Grid::new(&v[0]),
    };
    let Some(b) = b else { return Out::Spill(Spill::Kind) };
    match op {
        Op::Hconcat => Out::grid(a.h.min(b.h), a.w + b.w, |i, j| if j < a.w { a.at(i, j) } else { b.at(i, j - a.w) }),
        Op::Vconcat if a.h > 0 && b.h > 0 && a.w != b.w => Out::Spill(Spill::Kind),
        Op::Vconcat => {
            let w = if a.h > 0 { a.w } else { b.w };
            Out::grid(a.h + b.h, w, |i, j| if i < a.h { a.at(i, j) } else { b.at(i - a.h, j) })
        }
        Op::Cellwise => match v[2].colour() {
            Some(fallback) if a.h > 0 && b.h >= a.h && b.w >= a.w => {
                Out::grid(a.h, a.w, |i, j| if a.at(i, j) == b.at(i, j) { a.at(i, j) } else { fallback })
            }
            _ => Out::Spill(Spill::Class),
        },
        Op::Replace => match v[2].colour() {
            Some(to) if v[1].is(super::Form::Int) => {
                Out::grid(a.h, a.w, |i, j| if i32::from(a.at(i, j)) == v[1].a { to } else { a.at(i, j) })
            }
            _ => Out::Spill(Spill::Class),
        },
        Op::Switch => match (v[1].colour(), v[2].colour()) {
            (Some(x), Some(y)) => Out::grid(a.h, a.w, |i, j| match a.at(i, j) {
                c if c == x => y,
                c if c == y => x,
                c => c,
            }),
            _ => Out::Spill(Spill::Class),
        },
        _ => {
            let mixed_row = |i: &usize| a.w == 0 || (1..a.w).any(|j| a.at(*i, j) != a.at(*i, 0));
            let mixed_column = |j: &usize| (1..a.h).any(|i| a.at(i, *j) != a.at(0, *j));
            let rows: Vec<usize> = (0..a.h).filter(mixed_row).collect();
            let columns: Vec<usize> = (0..a.w).filter(mixed_column).collect();
            Out::grid(rows.len(), columns.len(), |i, j| a.at(rows[i], columns[j]))
        }
    }
}

/// Functions that write a patch into a grid.
pub(super) fn written(op: Op, v: &[Arg; 4]) -> Out {
    let at = if matches!(op, Op::Fill | Op::Underfill) { &v[2] } else { &v[1] };
    let Some(g) = Grid::new(&v[0]) else { return Out::Spill(Spill::Kind) };
    let Some(p) = Patch::new(at).filter(|_| g.h > 0) else { return Out::Spill(Spill::Class) };
    let coloured = matches!(op, Op::Paint | Op::Underpaint | Op::Move);
    if coloured && !p.is_empty() && !p.is_object() {
        return Out::Spill(Spill::Class);
    }
    let mut one = 0;
    if matches!(op, Op::Fill | Op::Underfill) {
        let Some(c) = v[1].colour() else { return Out::Spill(Spill::Class) };
        one = c;
    }
    let mut background = None;
    if !matches!(op, Op::Fill | Op::Paint) {
        background = extreme_colour(g.all(), true);
        let Some(c) = background else { return Out::Spill(Spill::Class) };
        if op == Op::Cover {
            one = c;
        }
    }
    let (mut di, mut dj) = (0, 0);
    if op == Op::Move {
        let near = |n: i64| n.abs() <= super::code::FAR;
        match v[2].pair() {
            Some(by) if !p.is_empty() && near(by.0) && near(by.1) => (di, dj) = by,
            _ => return Out::Spill(Spill::Class),
        }
    }
    let under = matches!(op, Op::Underfill | Op::Underpaint);
    Out::grid(g.h, g.w, |i, j| {
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
    })
}
