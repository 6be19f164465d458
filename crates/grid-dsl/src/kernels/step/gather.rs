//! The CPU's twin of maps: elements of containers, and what is made of a function's results.

use super::code::strip;
use super::each::Gather;
use super::value::{Arg, Out, Patch, labelled};
use super::{Form, Spill};
use crate::error::ErrClass;
use crate::kernels::{CELLS, SIDE};

/// The elements of a container, in canonical order.
pub(super) fn elements(x: &Arg) -> Vec<Out> {
    if x.is(Form::Strips) {
        let part = |k: i32| {
            let (top, rows, left, columns) = strip([x.a, x.b, x.c], k);
            Out::grid(rows, columns, |i, j| x.cell(top + i, left + j))
        };
        return (0..x.c & 255).map(part).collect();
    }
    if x.is(Form::Objects) {
        let cells: Vec<u8> = (0..CELLS).map(|at| x.cell(at / SIDE, at % SIDE) as u8).collect();
        let (labels, count) = labelled(&cells, x.masks(), x.c & 15);
        let own = |(i, j): (i64, i64)| cells[i as usize * SIDE + j as usize] as i8;
        let object = |k: usize| {
            let there = |(i, j): (i64, i64)| labels[i as usize * SIDE + j as usize].map(usize::from) == Some(k);
            Out::patch(true, (0, 0), there, own)
        };
        return (0..count).map(object).collect();
    }
    let cells = Patch::new(x).map(|p| p.cells()).unwrap_or_default();
    cells.into_iter().map(|(i, j)| Out::pair(i, j)).collect()
}

/// What stands for a key in comparisons: its kind, and a number. Sets compare by their sizes.
fn rank(x: &Arg) -> Option<(u8, i64)> {
    if x.number() {
        return Some((0, x.a.into()));
    }
    if let Some((i, j)) = x.pair() {
        return Some((1, (i << 32) + j - i64::from(i32::MIN)));
    }
    Patch::new(x).map(|p| (2, p.count() as i64))
}

/// Whether a predicate's result is true; `None` where a head does not tell.
fn truth(x: &Arg) -> Option<bool> {
    if x.is(Form::Nothing) { Some(false) } else { x.number().then_some(x.a != 0) }
}

/// The result of a map: of the container, its elements and the function's results. `spilled` tells which elements have a call
/// that has no form.
pub(super) fn chosen(
    gather: Gather,
    container: Option<&Arg>,
    elements: &[Arg],
    keys: &[Arg],
    spilled: impl Fn(usize) -> Option<Spill>,
) -> Out {
    let predicate = matches!(gather, Gather::Extract | Gather::Sfilter | Gather::Mfilter);
    for (k, key) in keys.iter().enumerate() {
        if let Some(why) = spilled(k) {
            return Out::Spill(why);
        }
        if key.is(Form::Error) {
            return Out::scalar(Form::Error, key.a, 0);
        }
        match truth(key) {
            None if predicate => return Out::Spill(Spill::Kind),
            Some(true) if gather == Gather::Extract => return Out::same(&elements[k]),
            _ => {}
        }
    }
    let empty =
        || Out::scalar(Form::Error, ErrClass::ALL.iter().position(|c| *c == ErrClass::Empty).unwrap_or(0) as i32, 0);
    match gather {
        Gather::Extract => empty(),
        Gather::Argmax | Gather::Argmin if keys.is_empty() => empty(),
        // The key of 0.
        Gather::Valmax | Gather::Valmin if keys.is_empty() => Out::Spill(Spill::Class),
        Gather::Sfilter | Gather::Mfilter => {
            let kept =
                elements.iter().zip(keys).filter(|(_, key)| truth(key) == Some(true)).map(|(element, _)| element);
            container.map_or(Out::Spill(Spill::Kind), |x| filtered(gather, x, kept.collect()))
        }
        Gather::Mapply => united(keys),
        Gather::Apply => collected(keys),
        Gather::Call => keys.first().map_or(Out::Spill(Spill::Kind), Out::same),
        _ => {
            let ranks: Option<Vec<_>> = keys.iter().map(rank).collect();
            let Some(ranks) = ranks else { return Out::Spill(Spill::Kind) };
            if ranks.iter().any(|(kind, _)| *kind != ranks[0].0) {
                return Out::Spill(Spill::Class);
            }
            let all = ranks.iter().enumerate();
            let best = if matches!(gather, Gather::Argmax | Gather::Valmax) {
                all.rev().max_by_key(|(_, rank)| **rank)
            } else {
                all.min_by_key(|(_, rank)| **rank)
            };
            let of = if matches!(gather, Gather::Argmax | Gather::Argmin) { elements } else { keys };
            best.map_or(Out::Spill(Spill::Class), |(k, _)| Out::same(&of[k]))
        }
    }
}

/// Some elements of a container, as what they were elements of or as one set.
fn filtered(gather: Gather, x: &Arg, kept: Vec<&Arg>) -> Out {
    if !x.is(Form::Objects) {
        let pairs: Vec<_> = kept.into_iter().filter_map(Arg::pair).collect();
        return Out::indices((x.a.into(), x.b.into()), |at| pairs.contains(&at));
    }
    let mask = |i: usize| kept.iter().fold(0, |all, element| all | element.masks()[i]);
    let masks: [u32; SIDE] = std::array::from_fn(mask);
    if gather == Gather::Sfilter {
        return Out::objects(x, &masks, x.c);
    }
    Out::patch(true, (0, 0), |(i, j)| masks[i as usize] >> j & 1 == 1, |(i, j)| x.cell(i as usize, j as usize))
}

/// A box of at most 32 x 32 around some locations.
fn corner(all: impl Iterator<Item = (i64, i64)> + Clone) -> Result<(i64, i64), Spill> {
    let bounds = |f: fn((i64, i64)) -> i64| {
        let all = all.clone().map(f);
        (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
    };
    let ((top, bottom), (left, right)) = (bounds(|at| at.0), bounds(|at| at.1));
    if bottom - top >= SIDE as i64 || right - left >= SIDE as i64 { Err(Spill::Size) } else { Ok((top, left)) }
}

/// All locations or cells of some patches.
fn united(all: &[Arg]) -> Out {
    let patches: Option<Vec<_>> = all.iter().map(Patch::new).collect();
    let Some(patches) = patches else { return Out::Spill(Spill::Kind) };
    let patches: Vec<_> = patches.into_iter().filter(|p| !p.is_empty()).collect();
    let objects = patches.first().is_some_and(Patch::is_object);
    if patches.iter().any(|p| p.is_object() != objects) {
        return Out::Spill(Spill::Kind);
    }
    let ends = patches.iter().flat_map(|p| [(p.i0, p.j0), (p.i0 + p.h as i64 - 1, p.j0 + p.w as i64 - 1)]);
    let (top, left) = match corner(ends) {
        Ok(corner) => corner,
        Err(why) => return Out::Spill(why),
    };
    let (mut colours, mut several) = (vec![None; CELLS], false);
    for p in &patches {
        for at in p.cells() {
            let colour = p.colour(at);
            let own = colours[(at.0 - top) as usize * SIDE + (at.1 - left) as usize].get_or_insert(colour);
            several = several || (objects && *own != colour);
        }
    }
    if several {
        return Out::Spill(Spill::Class);
    }
    let colour = |(i, j): (i64, i64)| colours[(i - top) as usize * SIDE + (j - left) as usize];
    Out::patch(objects, (top, left), |at| colour(at).is_some(), |at| colour(at).unwrap_or(0))
}

/// Locations as one set.
fn collected(all: &[Arg]) -> Out {
    let pairs: Option<Vec<_>> = all.iter().map(Arg::pair).collect();
    let Some(pairs) = pairs else { return Out::Spill(Spill::Kind) };
    match corner(pairs.iter().copied()) {
        Ok(corner) => Out::indices(corner, |at| pairs.contains(&at)),
        Err(why) => Out::Spill(why),
    }
}
