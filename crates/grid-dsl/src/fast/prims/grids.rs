//! Grids: cutting, turning, scaling, joining.

use super::{Maybe, grid, longest, made, packed, tuple};
use crate::error::ErrClass;
use crate::fast::machine::Fast;
use crate::fast::val::{Dense, MIDDLE, PLACE, Patch, Val, at, place};
use crate::isometry::Isometry;
use crate::prim::Prim;

/// Positions that a slice `from : from + count` of a sequence keeps: negative ends count from behind, once.
fn slice(from: i64, count: i64, length: usize) -> std::ops::Range<usize> {
    let length = length as i64;
    let end = |n: i64| if n < 0 { n + length } else { n }.clamp(0, length) as usize;
    let (from, to) = (end(from), end(from.saturating_add(count)));
    from..to.max(from)
}

/// Some rows and columns of a grid.
fn cut(grid: &Dense, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Val {
    let (h, w) = (rows.len(), columns.len());
    let mut cells = Vec::with_capacity(h * w);
    for i in rows {
        cells.extend_from_slice(&grid.cells[i * grid.w + columns.start..i * grid.w + columns.end]);
    }
    Val::grid(h, w, cells)
}

pub(super) fn cropped(grid: &Dense, start: (i64, i64), dims: (i64, i64)) -> Val {
    cut(grid, slice(start.0, dims.0, grid.h), slice(start.1, dims.1, grid.w))
}

fn pair(value: &Val) -> Option<(i64, i64)> {
    value.as_pair().map(|(i, j)| (i64::from(i), i64::from(j)))
}

fn turned(grid: &Dense, isometry: Isometry) -> Val {
    let Dense { h, w, cells } = grid.turned(isometry);
    Val::grid(h, w, cells)
}

/// Mirrors of patches.
fn mirrored(prim: Prim, value: &Val) -> Maybe {
    let patch = packed(value)?;
    let of = |prim: Prim, patch: &Patch| {
        let b = patch.bounds();
        super::patches::mapped(patch, |i, j| match prim {
            Prim::Hmirror => (b.top + b.bottom - i, j),
            Prim::Vmirror => (i, b.left + b.right - j),
            _ => (j - b.left + b.top, i - b.top + b.left),
        })
    };
    if prim != Prim::Cmirror {
        return of(prim, patch).map(Ok);
    }
    // As its three steps: each is exact while every location fits.
    let x = of(Prim::Vmirror, patch)?;
    let x = of(Prim::Dmirror, packed(&x)?)?;
    of(Prim::Vmirror, packed(&x)?).map(Ok)
}

/// Each cell as a block of `fh` by `fw`.
fn scaled(f: &Fast, grid: &Dense, fh: usize, fw: usize) -> Maybe {
    let side = longest(f);
    if grid.h.checked_mul(fh)? > side || grid.w.checked_mul(fw)? > side {
        return None;
    }
    let mut cells = Vec::with_capacity(grid.cells.len() * fh * fw);
    for row in grid.cells.chunks_exact(grid.w) {
        let start = cells.len();
        for &c in row {
            cells.extend(std::iter::repeat_n(c, fw));
        }
        let end = cells.len();
        for _ in 1..fh {
            cells.extend_from_within(start..end);
        }
    }
    made(f, grid.h * fh, grid.w * fw, cells)
}

/// Each cell of an object as a block of `n` by `n`; the upper-left corner stays.
fn grown(f: &Fast, object: &Patch, n: i32) -> Maybe {
    let n = n.max(0);
    // Larger factors leave the range of keys, and more cells than there may be are the definition's to refuse.
    let fits = (1..=MIDDLE).contains(&n) && object.keys.len() as u64 * (n as u64).pow(2) <= f.limits().elements as u64;
    if !object.object || !fits {
        return None;
    }
    let b = object.bounds();
    let mut out = Vec::with_capacity(object.keys.len() * (n * n) as usize);
    for &key in &object.keys {
        let (i, j) = at(key);
        let (top, left) = (b.top + (i - b.top) * n, b.left + (j - b.left) * n);
        for i in top..top + n {
            for j in left..left + n {
                out.push((key & !PLACE) | place(i, j)?);
            }
        }
    }
    super::keys(f, out, true)
}

fn split(f: &mut Fast, value: &Val, n: &Val, along_rows: bool) -> Maybe {
    let (grid, n) = (grid(f, value)?, n.as_int()?);
    if n < 1 || n as usize > f.limits().elements {
        return None;
    }
    if let Err(class) = f.m.spend(n as u64 * u64::from(value.weight())) {
        return Some(Err(class));
    }
    let n = n as usize;
    let side = if along_rows { grid.h } else { grid.w };
    let piece = side / n;
    let step = (piece + usize::from(side % n != 0)) as i64;
    let most = i64::from(i32::MAX);
    let pieces = (0..n as i64).map(|k| {
        if along_rows {
            cropped(grid, (k * step, 0), (piece as i64, most))
        } else {
            cropped(grid, (0, k * step), (most, piece as i64))
        }
    });
    Some(tuple(f, pieces.collect()))
}

fn small(value: &Val) -> Option<i8> {
    match value {
        Val::Int(n) => i8::try_from(*n).ok(),
        _ => None,
    }
}

/// A number of any size: those that no cell has change nothing where they are looked for.
fn plain(value: &Val) -> Option<i32> {
    match value {
        Val::Int(n) => Some(*n),
        _ => None,
    }
}

fn compress(grid: &Dense) -> Val {
    let uniform = |mut cells: std::iter::StepBy<std::slice::Iter<'_, i8>>| {
        let first = cells.next();
        cells.all(|c| Some(c) == first)
    };
    let columns: Vec<usize> = (0..grid.w).filter(|&j| !uniform(grid.cells[j..].iter().step_by(grid.w))).collect();
    let mut cells = Vec::new();
    let mut h = 0;
    for row in grid.cells.chunks_exact(grid.w).filter(|row| !uniform(row.iter().step_by(1))) {
        h += 1;
        cells.extend(columns.iter().map(|&j| row[j]));
    }
    Val::grid(h, columns.len(), cells)
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    if prim == Prim::Canvas {
        let (colour, (h, w)) = (small(a[0])?, a[1].as_pair()?);
        let (h, w) = (h.max(0) as usize, w.max(0) as usize);
        return if h.max(w) > longest(f) { None } else { made(f, h, w, vec![colour; h * w]) };
    }
    if matches!(prim, Prim::Hmirror | Prim::Vmirror | Prim::Dmirror | Prim::Cmirror) && a[0].is_set() {
        return mirrored(prim, a[0]);
    }
    if prim == Prim::Upscale && a[0].is_set() {
        return grown(f, packed(a[0])?, a[1].as_int()?);
    }
    let g = grid(f, a[0])?;
    match prim {
        Prim::Crop => Some(Ok(cropped(g, pair(a[1])?, pair(a[2])?))),
        Prim::Rot90 | Prim::Rot180 | Prim::Rot270 | Prim::Hmirror | Prim::Vmirror | Prim::Dmirror | Prim::Cmirror => {
            Some(Ok(turned(g, Isometry::of(prim)?)))
        }
        Prim::Hupscale | Prim::Vupscale | Prim::Upscale => {
            let n = a[1].as_int()?.max(0) as usize;
            if n == 0 {
                return None;
            }
            match prim {
                Prim::Hupscale => scaled(f, g, 1, n),
                Prim::Vupscale => scaled(f, g, n, 1),
                _ => scaled(f, g, n, n),
            }
        }
        Prim::Downscale => {
            let n = a[1].as_int()?.unsigned_abs() as usize;
            if n == 0 {
                return Some(Err(ErrClass::DivZero));
            }
            let rows = g.cells.chunks_exact(g.w).step_by(n);
            let cells: Vec<i8> = rows.flat_map(|row| row.iter().step_by(n).copied()).collect();
            made(f, g.h.div_ceil(n), g.w.div_ceil(n), cells)
        }
        Prim::Hconcat => {
            let other = grid(f, a[1])?;
            let rows = g.cells.chunks_exact(g.w).zip(other.cells.chunks_exact(other.w));
            let cells: Vec<i8> = rows.flat_map(|(l, r)| l.iter().chain(r).copied()).collect();
            made(f, g.h.min(other.h), g.w + other.w, cells)
        }
        Prim::Vconcat => {
            let other = grid(f, a[1])?;
            if g.w != other.w {
                return None;
            }
            made(f, g.h + other.h, g.w, [&g.cells[..], &other.cells[..]].concat())
        }
        Prim::Hsplit => split(f, a[0], a[1], false),
        Prim::Vsplit => split(f, a[0], a[1], true),
        Prim::Cellwise => {
            let (other, fallback) = (grid(f, a[1])?, small(a[2])?);
            if other.h < g.h || other.w < g.w {
                return None;
            }
            let rows = g.cells.chunks_exact(g.w).zip(other.cells.chunks_exact(other.w));
            let cell = |(&x, &y): (&i8, &i8)| if x == y { x } else { fallback };
            let cells: Vec<i8> = rows.flat_map(|(l, r)| l.iter().zip(r).map(cell)).collect();
            Some(Ok(Val::grid(g.h, g.w, cells)))
        }
        Prim::Replace => {
            let (from, to) = (plain(a[1])?, small(a[2])?);
            let cells = g.cells.iter().map(|&c| if i32::from(c) == from { to } else { c }).collect();
            Some(Ok(Val::grid(g.h, g.w, cells)))
        }
        Prim::Switch => {
            let (x, y) = (small(a[1])?, small(a[2])?);
            let exchanged = |&c: &i8| {
                if c == x {
                    y
                } else if c == y {
                    x
                } else {
                    c
                }
            };
            Some(Ok(Val::grid(g.h, g.w, g.cells.iter().map(exchanged).collect())))
        }
        Prim::Trim => {
            let inner = |n: usize| 1.min(n)..n.saturating_sub(1).max(1.min(n));
            Some(Ok(cut(g, inner(g.h), inner(g.w))))
        }
        Prim::Tophalf => Some(Ok(cut(g, 0..g.h / 2, 0..g.w))),
        Prim::Bottomhalf => Some(Ok(cut(g, g.h.div_ceil(2)..g.h, 0..g.w))),
        Prim::Lefthalf if g.w > 1 => Some(Ok(cut(g, 0..g.h, 0..g.w / 2))),
        Prim::Righthalf if g.w > 1 => Some(Ok(cut(g, 0..g.h, g.w.div_ceil(2)..g.w))),
        Prim::Compress => Some(Ok(compress(g))),
        _ => None,
    }
}
