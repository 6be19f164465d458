//! Patches: locations and bounding boxes.

use super::{Maybe, is_empty, keys, packed};
use crate::error::ErrClass;
use crate::fast::machine::Fast;
use crate::fast::val::{Bounds, MIDDLE, PLACE, Patch, Val, at, place, sort_keys, tint};
use crate::prim::Prim;

/// A packed patch moved: rows and columns keep their order. `None` where a location does not fit.
pub(super) fn moved(patch: &Patch, b: Bounds, di: i64, dj: i64) -> Option<Val> {
    let inside = |n: i32, d: i64| (-i64::from(MIDDLE)..i64::from(MIDDLE)).contains(&(i64::from(n) + d));
    if !(inside(b.top, di) && inside(b.bottom, di) && inside(b.left, dj) && inside(b.right, dj)) {
        return None;
    }
    // Each part stays in its bits: the sum is that of the parts.
    let by = (di << 16) + dj;
    let keys = patch.keys.iter().map(|&key| key.wrapping_add_signed(by)).collect();
    Some(Val::patch(keys, patch.object))
}

/// A packed patch with every location replaced.
pub(super) fn mapped(patch: &Patch, f: impl Fn(i32, i32) -> (i32, i32)) -> Option<Val> {
    let mut out = Vec::with_capacity(patch.keys.len());
    for &key in &patch.keys {
        let (i, j) = at(key);
        let (i, j) = f(i, j);
        out.push((key & !PLACE) | place(i, j)?);
    }
    Some(Val::patch_of(out, patch.object))
}

/// All locations of a box.
fn inside(f: &Fast, b: Bounds) -> Option<Vec<u64>> {
    let area = i64::from(b.height()) * i64::from(b.width());
    if area > f.limits().elements as i64 {
        return None;
    }
    let mut all = Vec::with_capacity(area as usize);
    for i in b.top..=b.bottom {
        let first = place(i, b.left)?;
        all.extend((0..b.width() as u64).map(|k| first + k));
    }
    Some(all)
}

/// The perimeter of a box; corners in any order.
fn perimeter(f: &Fast, b: Bounds) -> Option<Vec<u64>> {
    if b.height().max(b.width()) as usize > f.limits().elements {
        return None;
    }
    place(b.top, b.left)?;
    place(b.bottom, b.right)?;
    let mut all = Vec::with_capacity(2 * (b.height() + b.width()) as usize);
    for i in b.top..=b.bottom {
        if i == b.top || i == b.bottom {
            for j in b.left..=b.right {
                all.push(place(i, j)?);
            }
        } else {
            all.push(place(i, b.left)?);
            if b.right > b.left {
                all.push(place(i, b.right)?);
            }
        }
    }
    Some(all)
}

fn grown(b: Bounds, by: i32) -> Bounds {
    let (top, bottom, left, right) = (b.top - by, b.bottom + by, b.left - by, b.right + by);
    Bounds { top: top.min(bottom), bottom: top.max(bottom), left: left.min(right), right: left.max(right) }
}

fn corner(b: Bounds, which: u8) -> Val {
    let i = if which < 2 { b.top } else { b.bottom };
    Val::Pair(i, if which.is_multiple_of(2) { b.left } else { b.right })
}

fn recolor(f: &Fast, colour: &Val, patch: &Val) -> Maybe {
    let Val::Int(colour) = colour else { return None };
    if is_empty(patch) {
        return Some(Ok(Val::set(vec![])));
    }
    let tint = tint(*colour)?;
    let places = packed(patch)?.places();
    keys(f, places.iter().map(|&place| place | tint).collect(), true)
}

fn mean(sum: i64, n: i64) -> i32 {
    sum.div_euclid(n) as i32
}

fn empty_tuple() -> Val {
    Val::tuple(vec![])
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    if prim == Prim::Recolor {
        return recolor(f, a[0], a[1]);
    }
    if is_empty(a[0]) {
        return match prim {
            Prim::Toindices | Prim::Backdrop | Prim::Delta => Some(Ok(Val::set(vec![]))),
            Prim::Normalize | Prim::Box => Some(Ok(a[0].clone())),
            Prim::Shift => a[1].as_pair().map(|_| Ok(a[0].clone())),
            Prim::Uppermost
            | Prim::Lowermost
            | Prim::Leftmost
            | Prim::Rightmost
            | Prim::Center
            | Prim::Inbox
            | Prim::Outbox => Some(Err(ErrClass::Empty)),
            Prim::Ulcorner | Prim::Urcorner | Prim::Llcorner | Prim::Lrcorner | Prim::Centerofmass => {
                Some(Ok(empty_tuple()))
            }
            _ => None,
        };
    }
    let patch = packed(a[0])?;
    if prim == Prim::Toindices {
        if !patch.object {
            return Some(Ok(a[0].clone()));
        }
        let mut places: Vec<u64> = patch.keys.iter().map(|key| key & PLACE).collect();
        sort_keys(&mut places);
        return Some(Ok(Val::patch(places, false)));
    }
    let b = patch.bounds();
    Some(Ok(match prim {
        Prim::Shift => {
            let (di, dj) = a[1].as_pair()?;
            moved(patch, b, i64::from(di), i64::from(dj))?
        }
        Prim::Normalize => moved(patch, b, -i64::from(b.top), -i64::from(b.left))?,
        Prim::Uppermost => Val::Int(b.top),
        Prim::Lowermost => Val::Int(b.bottom),
        Prim::Leftmost => Val::Int(b.left),
        Prim::Rightmost => Val::Int(b.right),
        Prim::Ulcorner => corner(b, 0),
        Prim::Urcorner => corner(b, 1),
        Prim::Llcorner => corner(b, 2),
        Prim::Lrcorner => corner(b, 3),
        Prim::Corners => Val::set((0..4).map(|which| corner(b, which)).collect()),
        Prim::Center => {
            let (i, j) = b.center();
            Val::Pair(i, j)
        }
        Prim::Centerofmass => {
            let sum = patch.places().iter().fold((0i64, 0i64), |(si, sj), &key| {
                let (i, j) = at(key);
                (si + i64::from(i), sj + i64::from(j))
            });
            let n = patch.keys.len() as i64;
            Val::Pair(mean(sum.0, n), mean(sum.1, n))
        }
        Prim::Backdrop => return keys(f, inside(f, b)?, false),
        Prim::Delta => {
            let taken = patch.places();
            let mut rest = inside(f, b)?;
            // Both ascend: one walk removes what is taken.
            let mut next = 0;
            rest.retain(|&place| {
                let hit = taken.get(next) == Some(&place);
                next += usize::from(hit);
                !hit
            });
            Val::patch(rest, false)
        }
        Prim::Box => return keys(f, perimeter(f, b)?, false),
        Prim::Inbox => return keys(f, perimeter(f, grown(b, -1))?, false),
        Prim::Outbox => return keys(f, perimeter(f, grown(b, 1))?, false),
        _ => return None,
    }))
}
