//! Parts of small grids, chosen by what is in them.

use super::grid::{SIDE, Small};

/// The box of the cells whose colours are wanted, inclusive: top, bottom, left, right.
fn bounds(g: &Small, wanted: impl Fn(u8) -> bool) -> Option<[usize; 4]> {
    let mut bounds: Option<[usize; 4]> = None;
    for (i, row) in g.rows().enumerate() {
        for (j, _) in row.iter().enumerate().filter(|(_, c)| wanted(**c)) {
            let [top, bottom, left, right] = bounds.unwrap_or([i, i, j, j]);
            bounds = Some([top.min(i), bottom.max(i), left.min(j), right.max(j)]);
        }
    }
    bounds
}

fn crop(g: &Small, to: &mut Small, [top, bottom, left, right]: [usize; 4]) -> Option<()> {
    to.part(g, top..bottom + 1, left..right + 1)
}

/// The box of the cells whose colours are wanted.
pub(super) fn crop_where(g: &Small, to: &mut Small, wanted: impl Fn(u8) -> bool) -> Option<()> {
    crop(g, to, bounds(g, wanted)?)
}

/// Each colour looked up.
pub(super) fn recolour(g: &Small, to: &mut Small, new: impl Fn(u8) -> u8) -> Option<()> {
    let cells = to.reshape(g.height(), g.width())?.cells_mut();
    cells.iter_mut().zip(g.cells()).for_each(|(to, &c)| *to = new(c));
    Some(())
}

/// The box of a colour, filled with it.
pub(super) fn filled_box(g: &Small, to: &mut Small, c: u8) {
    to.clone_from(g);
    if let Some([top, bottom, left, right]) = bounds(g, |cell| cell == c) {
        let width = g.width();
        for row in to.cells_mut().chunks_mut(width).take(bottom + 1).skip(top) {
            row[left..=right].fill(c);
        }
    }
}

/// The rows and columns that are kept.
fn kept(g: &Small, to: &mut Small, rows: &[usize], columns: &[usize]) -> Option<()> {
    to.build(rows.len(), columns.len(), |i, j| g.at(rows[i], columns[j]))
}

/// Without rows of a single colour and columns of a single colour.
pub(super) fn compress(g: &Small, to: &mut Small) -> Option<()> {
    let mixed_row = |&i: &usize| (1..g.width()).any(|j| g.at(i, j) != g.at(i, 0));
    let mixed_column = |&j: &usize| (1..g.height()).any(|i| g.at(i, j) != g.at(0, j));
    let rows: Vec<usize> = (0..g.height()).filter(mixed_row).collect();
    let columns: Vec<usize> = (0..g.width()).filter(mixed_column).collect();
    kept(g, to, &rows, &columns)
}

/// Without rows, or columns, that are equal to earlier ones.
pub(super) fn dedupe(g: &Small, to: &mut Small, of_rows: bool) -> Option<()> {
    let (h, w) = (g.height(), g.width());
    let equal = |a: usize, b: usize| {
        if of_rows { (0..w).all(|j| g.at(a, j) == g.at(b, j)) } else { (0..h).all(|i| g.at(i, a) == g.at(i, b)) }
    };
    let new: Vec<usize> =
        (0..if of_rows { h } else { w }).filter(|&at| !(0..at).any(|before| equal(before, at))).collect();
    if of_rows {
        kept(g, to, &new, &(0..w).collect::<Vec<_>>())
    } else {
        kept(g, to, &(0..h).collect::<Vec<_>>(), &new)
    }
}

/// A component without those of the background.
struct Component {
    /// Colour and place of the first cell in canonical order.
    first: (u8, usize),
    size: usize,
    bounds: [usize; 4],
}

/// Visits all components that are not of the most frequent colour.
fn components(g: &Small, univalued: bool, diagonal: bool, mut visit: impl FnMut(&Component)) {
    let (h, w, most) = (g.height(), g.width(), g.most());
    let cells = g.cells();
    let mut seen = [false; SIDE * SIDE];
    let mut open = [0u16; SIDE * SIDE];
    for start in 0..h * w {
        if seen[start] || cells[start] == most {
            continue;
        }
        seen[start] = true;
        open[0] = start as u16;
        let mut depth = 1;
        let (i, j) = (start / w, start % w);
        let mut found = Component { first: (cells[start], start), size: 0, bounds: [i, i, j, j] };
        while depth > 0 {
            depth -= 1;
            let at = usize::from(open[depth]);
            let (i, j) = (at / w, at % w);
            found.size += 1;
            found.first = found.first.min((cells[at], at));
            let [top, bottom, left, right] = found.bounds;
            found.bounds = [top.min(i), bottom.max(i), left.min(j), right.max(j)];
            for ni in i.saturating_sub(1)..(i + 2).min(h) {
                for nj in j.saturating_sub(1)..(j + 2).min(w) {
                    let next = ni * w + nj;
                    let neighbour = diagonal || ni == i || nj == j;
                    let linked = cells[next] != most && (!univalued || cells[next] == cells[at]);
                    if neighbour && linked && !seen[next] {
                        seen[next] = true;
                        // Each cell is opened once, so there is room.
                        open[depth] = next as u16;
                        depth += 1;
                    }
                }
            }
        }
        visit(&found);
    }
}

/// The box of the largest or smallest component; of several the first in canonical order.
pub(super) fn object(g: &Small, to: &mut Small, univalued: bool, diagonal: bool, largest: bool) -> Option<()> {
    let mut best: Option<(i64, (u8, usize), [usize; 4])> = None;
    components(g, univalued, diagonal, |c| {
        let size = if largest { -(c.size as i64) } else { c.size as i64 };
        if best.is_none_or(|(other, first, _)| (size, c.first) < (other, first)) {
            best = Some((size, c.first, c.bounds));
        }
    });
    crop(g, to, best?.2)
}

/// Components of one cell painted over with the most frequent colour.
pub(super) fn without_singles(g: &Small, to: &mut Small, diagonal: bool) {
    to.clone_from(g);
    let most = g.most();
    components(g, true, diagonal, |c| {
        if c.size == 1 {
            to.cells_mut()[c.first.1] = most;
        }
    });
}
