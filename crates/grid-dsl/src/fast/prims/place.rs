//! Locations, and how patches lie to each other.

use super::{Maybe, all_keys, grid, is_empty, keys, packed};
use crate::error::ErrClass;
use crate::fast::machine::Fast;
use crate::fast::val::{Bounds, Patch, Val, at, place};
use crate::prim::Prim;

/// Length of a frontier, whatever the grid.
const FRONTIER: i32 = 30;

const AROUND: [(i32, i32); 8] = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)];

fn around(f: &Fast, value: &Val, which: impl Fn(i32, i32) -> bool) -> Maybe {
    let (i, j) = value.as_pair()?;
    let small = -30_000..30_000;
    if !small.contains(&i) || !small.contains(&j) {
        return None;
    }
    let steps = AROUND.into_iter().filter(|(di, dj)| which(*di, *dj));
    keys(f, all_keys(8, steps.map(|(di, dj)| place(i + di, j + dj)))?, false)
}

/// The segment between two locations, both included.
fn segment(f: &Fast, (ai, aj): (i32, i32), (bi, bj): (i32, i32)) -> Maybe {
    place(ai, aj)?;
    place(bi, bj)?;
    let (di, dj) = (bi - ai, bj - aj);
    if di != 0 && dj != 0 && di.abs() != dj.abs() {
        return Some(Ok(Val::set(vec![])));
    }
    let n = di.abs().max(dj.abs());
    if n as usize >= f.limits().elements {
        return None;
    }
    let (si, sj) = (di.signum(), dj.signum());
    // Ascending from the start, or from the end.
    let (i, j, si, sj) = if (si, sj) < (0, 0) { (bi, bj, -si, -sj) } else { (ai, aj, si, sj) };
    keys(f, all_keys(n as usize + 1, (0..=n).map(|k| place(i + k * si, j + k * sj)))?, false)
}

/// Whether two patches have a row or a column in common.
fn share(a: &Patch, b: &Patch, rows: bool) -> bool {
    let extent = |b: Bounds| if rows { (b.top, b.bottom) } else { (b.left, b.right) };
    let ((first, last), (other_first, other_last)) = (extent(a.bounds()), extent(b.bounds()));
    if last < other_first || other_last < first {
        return false;
    }
    let line = |key: u64| {
        let (i, j) = at(key);
        (if rows { i } else { j }).wrapping_sub(first) as usize
    };
    let mut taken = vec![0u64; (last - first) as usize / 64 + 1];
    for &key in &a.keys {
        taken[line(key) >> 6] |= 1 << (line(key) & 63);
    }
    b.keys.iter().any(|&key| taken.get(line(key) >> 6).is_some_and(|word| word >> (line(key) & 63) & 1 == 1))
}

/// Rows and columns of distinct locations.
fn split(places: &[u64]) -> Vec<(i32, i32)> {
    places.iter().map(|&key| at(key)).collect()
}

/// The least distance between distinct locations, each set ascending by rows: rows too far away are passed over.
fn distance(a: &[(i32, i32)], b: &[(i32, i32)]) -> i32 {
    let mut best = i32::MAX;
    for &(ai, aj) in a {
        for &(bi, bj) in b {
            best = best.min((ai - bi).abs() + (aj - bj).abs());
        }
        if best == 0 {
            break;
        }
    }
    best
}

fn gravitate(f: &mut Fast, src: &Patch, dst: &Patch) -> Maybe {
    const MOST: i32 = 42;
    let ((si, sj), (di, dj)) = (src.bounds().center(), dst.bounds().center());
    let b = src.bounds();
    place(b.top - MOST, b.left - MOST)?;
    place(b.bottom + MOST, b.right + MOST)?;
    let step =
        if share(src, dst, false) { (if si < di { 1 } else { -1 }, 0) } else { (0, if sj < dj { 1 } else { -1 }) };
    let (mut src, dst) = (split(&src.places()), split(&dst.places()));
    let mut moves = 0;
    while moves < MOST {
        if let Err(class) = f.m.spend(src.len() as u64 * dst.len() as u64) {
            return Some(Err(class));
        }
        if distance(&src, &dst) == 1 {
            break;
        }
        moves += 1;
        for (i, j) in &mut src {
            *i += step.0;
            *j += step.1;
        }
    }
    Some(Ok(Val::Pair(step.0 * moves, step.1 * moves)))
}

pub(super) fn run(f: &mut Fast, prim: Prim, a: &[&Val]) -> Maybe {
    match prim {
        Prim::Dneighbors => around(f, a[0], |i, j| i == 0 || j == 0),
        Prim::Ineighbors => around(f, a[0], |i, j| i != 0 && j != 0),
        Prim::Neighbors => around(f, a[0], |_, _| true),
        Prim::Vfrontier => {
            let Val::Pair(_, j) = a[0] else { return None };
            keys(f, all_keys(FRONTIER as usize, (0..FRONTIER).map(|i| place(i, *j)))?, false)
        }
        Prim::Hfrontier => {
            let Val::Pair(i, _) = a[0] else { return None };
            keys(f, all_keys(FRONTIER as usize, (0..FRONTIER).map(|j| place(*i, j)))?, false)
        }
        Prim::Connect => segment(f, a[0].as_pair()?, a[1].as_pair()?),
        Prim::Shoot => {
            let ((i, j), (di, dj)) = (a[0].as_pair()?, a[1].as_pair()?);
            let end = |n: i32, d: i32| n.checked_add(d.checked_mul(42)?);
            segment(f, (i, j), (end(i, di)?, end(j, dj)?))
        }
        Prim::Hmatching | Prim::Vmatching => {
            if a.iter().any(|v| is_empty(v)) && a.iter().all(|v| is_empty(v) || packed(v).is_some()) {
                return Some(Ok(Val::Bool(false)));
            }
            Some(Ok(Val::Bool(share(packed(a[0])?, packed(a[1])?, prim == Prim::Hmatching))))
        }
        Prim::Manhattan | Prim::Adjacent => {
            if a.iter().any(|v| is_empty(v)) && a.iter().all(|v| is_empty(v) || packed(v).is_some()) {
                return Some(Err(ErrClass::Empty));
            }
            let (a, b) = (packed(a[0])?.places(), packed(a[1])?.places());
            if let Err(class) = f.m.spend(a.len() as u64 * b.len() as u64) {
                return Some(Err(class));
            }
            let least = distance(&split(&a), &split(&b));
            Some(Ok(if prim == Prim::Manhattan { Val::Int(least) } else { Val::Bool(least == 1) }))
        }
        Prim::Bordering => {
            let (b, grid) = (packed(a[0])?.bounds(), grid(f, a[1])?);
            let (h, w) = (grid.h as i32, grid.w as i32);
            Some(Ok(Val::Bool(b.top == 0 || b.left == 0 || b.bottom == h - 1 || b.right == w - 1)))
        }
        Prim::Position => {
            if is_empty(a[0]) {
                return Some(Err(ErrClass::Empty));
            }
            let ((ai, aj), (bi, bj)) = (packed(a[0])?.bounds().center(), packed(a[1])?.bounds().center());
            let (below, right) = (if ai < bi { 1 } else { -1 }, if aj < bj { 1 } else { -1 });
            Some(Ok(if ai == bi {
                Val::Pair(0, right)
            } else if aj == bj {
                Val::Pair(below, 0)
            } else {
                Val::Pair(below, right)
            }))
        }
        Prim::Gravitate => gravitate(f, packed(a[0])?, packed(a[1])?),
        _ => None,
    }
}
