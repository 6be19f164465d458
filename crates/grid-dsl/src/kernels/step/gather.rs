//! The CPU's twin of maps: elements of containers, and what is made of a function's results.

use std::collections::BTreeSet;

use super::code::{bytes_to_words, head, strip};
use super::each::Gather;
use super::tuples::COPIES;
use super::value::{Arg, Grid, Out, Patch, labelled};
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
    if x.is(Form::Lines) {
        let (h, w) = (x.a as usize, x.b as usize);
        let cell = |(i, j): (usize, usize)| (x.cell(i, j), i, j);
        let rows = (0..h).filter(|i| x.masks()[0] >> i & 1 == 1).map(|i| (0..w).map(|j| cell((i, j))).collect());
        let columns = (0..w).filter(|j| x.masks()[1] >> j & 1 == 1).map(|j| (0..h).map(|i| cell((i, j))).collect());
        let all: BTreeSet<Vec<(i8, usize, usize)>> = rows.chain(columns).collect();
        let object = |cells: Vec<(i8, usize, usize)>| {
            let there = |(i, j): (i64, i64)| cells.iter().any(|cell| (cell.1 as i64, cell.2 as i64) == (i, j));
            Out::patch(true, (0, 0), there, |(i, j)| x.cell(i as usize, j as usize))
        };
        return all.into_iter().map(object).collect();
    }
    let cells = Patch::new(x).map(|p| p.cells()).unwrap_or_default();
    cells.into_iter().map(|(i, j)| Out::pair(i, j)).collect()
}

/// The number that stands for a key in comparisons with others of its kind. Sets compare by their sizes.
fn rank(x: &Arg) -> Option<i64> {
    if x.number() {
        return Some(x.a.into());
    }
    if let Some((i, j)) = x.pair() {
        return Some((i << 32) + j - i64::from(i32::MIN));
    }
    Patch::new(x).map(|p| p.count() as i64)
}

/// The kind of a key: what cannot be compared, numbers, tuples, sets.
fn kind_of_key(x: &Arg) -> u8 {
    match () {
        () if x.number() => 1,
        () if x.tuple() => 2,
        () if x.set() => 3,
        () => 0,
    }
}

/// Whether a predicate's result is true; `None` where a head does not tell.
fn truth(x: &Arg) -> Option<bool> {
    if x.is(Form::Indices) { None } else { Some(x.truth()) }
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
    let empty = || Out::fails(ErrClass::Empty);
    match gather {
        Gather::Extract => empty(),
        Gather::Argmax | Gather::Argmin if keys.is_empty() => empty(),
        // Of a tuple without elements nothing is left but that.
        Gather::Sfilter | Gather::Mfilter | Gather::Mapply | Gather::Apply if container.is_some_and(Arg::hollow) => {
            Out::hollow()
        }
        // The key of 0.
        Gather::Valmax | Gather::Valmin if keys.is_empty() => Out::Spill(Spill::Class),
        Gather::Sfilter | Gather::Mfilter | Gather::Mapply | Gather::Apply
            if container.is_some_and(|x| x.is(Form::Strips)) =>
        {
            let of = if predicate { elements } else { keys };
            let wanted = of.iter().zip(keys).filter(|(_, key)| !predicate || key.truth()).map(|(part, _)| part);
            let copies = container.is_some_and(|x| x.c & COPIES != 0);
            match gather {
                Gather::Sfilter | Gather::Apply => packed(&wanted.collect::<Vec<_>>(), copies),
                _ => piled(wanted),
            }
        }
        Gather::Sfilter | Gather::Mfilter => {
            let kept =
                elements.iter().zip(keys).filter(|(_, key)| truth(key) == Some(true)).map(|(element, _)| element);
            container.map_or(Out::Spill(Spill::Kind), |x| filtered(gather, x, kept.collect()))
        }
        Gather::Mapply => united(keys),
        Gather::Apply if keys.first().is_some_and(|key| key.is(Form::Object)) => {
            grouped(keys, container.filter(|x| x.is(Form::Objects)).map_or(MODES[0], |x| x.c & 15))
        }
        Gather::Apply => collected(keys),
        Gather::Call => keys.first().map_or(Out::Spill(Spill::Kind), Out::same),
        _ => {
            let kinds: Vec<u8> = keys.iter().map(kind_of_key).collect();
            // One alone is not compared.
            if keys.len() > 1 && kinds.iter().any(|&kind| kind == 0 || kind != kinds[0]) {
                return Out::fails(ErrClass::Type);
            }
            let ranks: Option<Vec<i64>> = if keys.len() > 1 { keys.iter().map(rank).collect() } else { Some(vec![0]) };
            let Some(ranks) = ranks else { return Out::Spill(Spill::Kind) };
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
    if x.is(Form::Indices) {
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
    // Numbers are no containers.
    if all.iter().any(|x| !x.tuple() && !x.set()) {
        return Out::fails(ErrClass::Type);
    }
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

/// Grids one above the other, each a tuple of rows.
fn piled<'a>(all: impl Iterator<Item = &'a Arg<'a>>) -> Out {
    let mut rows: Vec<Vec<i8>> = Vec::new();
    for part in all.filter(|part| !part.hollow()) {
        let Some(g) = Grid::new(part).filter(|g| rows.first().is_none_or(|row| row.len() == g.w)) else {
            return Out::Spill(Spill::Kind);
        };
        if rows.len() + g.h > SIDE {
            return Out::Spill(Spill::Size);
        }
        rows.extend((0..g.h).map(|i| (0..g.w).map(|j| g.at(i, j)).collect::<Vec<i8>>()));
    }
    Out::grid(rows.len(), rows.first().map_or(0, Vec::len), |i, j| rows[i][j])
}

/// Grids of one shape as parts of one, side by side or one above the other; copies stay copies.
fn packed(all: &[&Arg], copies: bool) -> Out {
    let Some(first) = all.first() else { return Out::hollow() };
    let (h, w, n) = (first.a as usize, first.b as usize, all.len());
    let alike =
        |part: &&&Arg| part.is(Form::Grid) && part.a > 0 && part.b > 0 && (part.a, part.b) == (first.a, first.b);
    if !all.iter().all(|part| alike(&part)) {
        return Out::Spill(Spill::Kind);
    }
    if copies {
        return Out::strips(first, COPIES | n as i32);
    }
    let whole = match () {
        () if w * n <= SIDE => (h, w * n, n as i32),
        () if h * n <= SIDE => (h * n, w, n as i32 | 256),
        () => return Out::Spill(Spill::Size),
    };
    let cell = |i: usize, j: usize| all[i / h + j / w].cell(i % h, j % w);
    match Out::grid(whole.0, whole.1, cell) {
        Out::Full(mut head, payload) => {
            (head[0], head[3]) = (Form::Strips as i32, whole.2);
            Out::Full(head, payload)
        }
        other => other,
    }
}

/// Modes that tell objects apart, to be tried.
const MODES: [i32; 4] = [4, 6, 0, 2];

/// Objects as components of what they are together, where a mode makes them so.
fn grouped(all: &[Arg], own: i32) -> Out {
    let (mut cells, mut masks, mut image) = ([0u8; CELLS], [0u32; SIDE], [usize::MAX; CELLS]);
    for (k, key) in all.iter().enumerate() {
        let Some(p) = Patch::new(key).filter(Patch::is_object) else { return Out::Spill(Spill::Kind) };
        let side = SIDE as i64;
        if p.i0 < 0 || p.j0 < 0 || p.i0 + p.h as i64 > side || p.j0 + p.w as i64 > side {
            return Out::Spill(Spill::Size);
        }
        for (i, j) in p.cells() {
            let at = i as usize * SIDE + j as usize;
            if image[at] != usize::MAX {
                return Out::Spill(Spill::Class);
            }
            (image[at], cells[at]) = (k, p.colour((i, j)) as u8);
            masks[i as usize] |= 1 << j;
        }
    }
    let apart = |mode: &i32| {
        let (labels, count) = labelled(&cells, &masks, *mode);
        let mut of = vec![None; all.len()];
        // As many as there are images, and none lies in two of them.
        count == all.len()
            && labels
                .iter()
                .zip(&image)
                .filter_map(|(label, &k)| Some(((*label)?, k)))
                .all(|(label, k)| *of[k].get_or_insert(label) == label)
    };
    let Some(mode) = [own].into_iter().chain(MODES).find(apart) else { return Out::Spill(Spill::Kind) };
    let h = masks.iter().rposition(|&mask| mask != 0).map_or(0, |last| last + 1);
    let w = 32 - masks.iter().fold(0, |all, mask| all | mask).leading_zeros();
    Out::Full(head(Form::Objects, h as i32, w as i32, mode), bytes_to_words(&cells, &masks).into())
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
