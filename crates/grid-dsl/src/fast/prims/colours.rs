//! Colours and sizes.

use super::{Histogram, Maybe, grid, is_empty, packed};
use crate::error::{ErrClass, Result};
use crate::fast::machine::Fast;
use crate::fast::val::{Val, colour_of};
use crate::prim::Prim;

/// The colour of an object's first cell, if it is an object of plain colours.
fn first_colour(value: &Val) -> Option<Result<i32>> {
    match value {
        Val::Patch(patch) if patch.object => Some(Ok(colour_of(patch.keys[0]))),
        other if is_empty(other) => Some(Err(ErrClass::Empty)),
        _ => None,
    }
}

/// Rows and columns of a grid, or of a packed patch.
pub(super) fn extent(value: &Val) -> Option<(i32, i32)> {
    match value {
        Val::Grid(grid) => Some((grid.h as i32, grid.w as i32)),
        Val::Patch(patch) => {
            let b = patch.bounds();
            Some((b.height(), b.width()))
        }
        other if is_empty(other) => Some((0, 0)),
        _ => None,
    }
}

fn colorfilter(objects: &Val, colour: i32) -> Maybe {
    let Val::Set(seq) = objects else { return None };
    let mut kept = Vec::new();
    for object in &seq.items {
        match first_colour(object)? {
            Ok(c) if c == colour => kept.push(object.clone()),
            Ok(_) => {}
            Err(class) => return Some(Err(class)),
        }
    }
    Some(Ok(Val::sorted_set(kept)))
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    Some(Ok(match prim {
        Prim::Mostcolor => Val::Int(Histogram::of(f, a[0])?.most()),
        Prim::Leastcolor => Val::Int(Histogram::of(f, a[0])?.least()),
        Prim::Palette => Val::sorted_set(Histogram::of(f, a[0])?.present().map(|(c, _)| Val::Int(c)).collect()),
        Prim::Numcolors => Val::Int(Histogram::of(f, a[0])?.present().count() as i32),
        Prim::Colorcount => {
            let Val::Int(colour) = a[1] else {
                return (matches!(a[1], Val::None) && grid(f, a[0]).is_some()).then_some(Ok(Val::Int(0)));
            };
            match a[0] {
                Val::Patch(p) if p.object => {
                    Val::Int(p.keys.iter().filter(|&&key| colour_of(key) == *colour).count() as i32)
                }
                other => Val::Int(grid(f, other)?.cells.iter().filter(|&&c| i32::from(c) == *colour).count() as i32),
            }
        }
        Prim::Color => {
            if let Some(colour) = first_colour(a[0]) {
                return Some(colour.map(Val::Int));
            }
            let first = match a[0].items() {
                Ok(items) => items.get(0),
                Err(class) => return Some(Err(class)),
            };
            return Some(if !first.is_tuple() {
                Err(ErrClass::Type)
            } else if is_empty(&first) {
                Err(ErrClass::Index)
            } else {
                first.items().map(|items| items.get(0))
            });
        }
        Prim::Colorfilter => {
            let Val::Int(colour) = a[1] else { return None };
            return colorfilter(a[0], *colour);
        }
        Prim::Height => Val::Int(extent(a[0])?.0),
        Prim::Width => Val::Int(extent(a[0])?.1),
        Prim::Shape => {
            let (h, w) = extent(a[0])?;
            Val::Pair(h, w)
        }
        Prim::Portrait => {
            let (h, w) = extent(a[0])?;
            Val::Bool(h > w)
        }
        Prim::Square => match a[0] {
            Val::Grid(grid) => Val::Bool(grid.h == grid.w),
            other => {
                let patch = packed(other)?;
                let b = patch.bounds();
                let area = i64::from(b.height()) * i64::from(b.width());
                Val::Bool(b.height() == b.width() && area == patch.keys.len() as i64)
            }
        },
        Prim::Vline | Prim::Hline => {
            if is_empty(a[0]) {
                return Some(Ok(Val::Bool(false)));
            }
            let patch = packed(a[0])?;
            let b = patch.bounds();
            let (along, across) = if prim == Prim::Vline { (b.height(), b.width()) } else { (b.width(), b.height()) };
            Val::Bool(along as usize == patch.keys.len() && across == 1)
        }
        Prim::Index => {
            let grid = grid(f, a[0])?;
            let (i, j) = a[1].as_pair()?;
            let inside = i >= 0 && j >= 0 && (i as usize) < grid.h && (j as usize) < grid.w;
            if inside { Val::Int(i32::from(grid.cells[i as usize * grid.w + j as usize])) } else { Val::None }
        }
        _ => return None,
    }))
}
