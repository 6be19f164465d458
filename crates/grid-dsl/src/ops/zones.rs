//! Flat zones of a grid, which are the components of one colour joined over sides, and what other modes join them to.
//!
//! A component in any mode is a union of zones: cells are looked at once to find those, and modes join zones. Union-find links
//! to the earlier label, so that components are numbered by their first cells, row by row.

use super::components::{Component, Mode, NONE};
use super::grid::Grid;
use super::masks::{Plane, SLACK, WORD, bits, first};

/// Components, each with its cells and what it consists of, in the order of their first cells.
#[derive(Clone, Debug, Default)]
struct Components {
    /// The component of every cell that has one.
    of_cells: Vec<u32>,
    /// The first [`count`](Self::count) are in use.
    table: Vec<Component>,
    /// For every component an earlier one that it is part of, or itself; in the end its number.
    parents: Vec<u32>,
    count: usize,
}

/// The flat zones of the last grid that was read, and what they were joined to. Its memory serves grid after grid.
#[derive(Clone, Debug, Default)]
pub(super) struct Zones {
    width: usize,
    height: usize,
    /// Number of cells.
    len: usize,
    /// The grid's cells, with a row and one more that count for nothing before them, and slack behind.
    cells: Vec<u8>,
    /// The first cells of rows, and the one behind the last row.
    firsts: Plane,
    /// Cells that differ from the one to the left, or are first in a row.
    starts: Plane,
    /// Cells that equal the one above.
    ups: Plane,
    /// Of those, the ones where a run begins to touch one above.
    touches: Plane,
    /// Cells of another colour than the background.
    alive: Plane,
    /// Cells that equal a neighbour, while one direction is looked at.
    equal: Plane,
    flat: Components,
    /// How many cells of a colour there are, while they are counted.
    counts: Vec<u32>,
    background: i8,
    /// For every zone an earlier one of its colour that it is joined to over corners, or itself.
    corners: Vec<u32>,
    /// Components of any colours but the background's, joined over sides; what cells they have only where runs were found
    /// anew, [`island_of`](Self::island_of) always.
    islands: Components,
    /// The island of every zone.
    island_of: Vec<u32>,
    /// For every zone an earlier one that it is in one island with, or itself.
    shores: Vec<u32>,
    /// For every island an earlier one that it is joined to over corners, or itself.
    bridges: Vec<u32>,
    /// Numbers of components, and what they consist of.
    numbers: Vec<u32>,
    merged: Vec<Component>,
}

/// Where runs touch more often than once in so many cells, looking at all cells again is less work than joining zones: runs of
/// any colours are longer, and fewer.
const MANY: usize = 4;

/// Which zones are joined over corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Corners {
    None,
    WithoutBackground,
    All,
}

/// What must be joined for some modes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joins {
    /// Zones of one colour over corners.
    corners: Corners,
    /// Zones of any colours but the background's over sides.
    islands: bool,
    /// The same over corners.
    bridges: bool,
}

impl Joins {
    /// For all of these.
    pub(super) fn of(modes: &[Mode]) -> Self {
        let any = |test: fn(&Mode) -> bool| modes.iter().any(test);
        Self {
            corners: if any(|m| m.univalued && m.diagonal && !m.without_background) {
                Corners::All
            } else if any(|m| m.univalued && m.diagonal) {
                Corners::WithoutBackground
            } else {
                Corners::None
            },
            islands: any(|m| !m.univalued && m.without_background),
            bridges: any(|m| !m.univalued && m.without_background && m.diagonal),
        }
    }
}

impl Zones {
    /// Finds the zones of a grid, and joins them for modes.
    #[inline(always)]
    pub(super) fn read(&mut self, grid: &Grid, joins: Joins) {
        self.find_zones(grid);
        self.find_background();
        if joins.corners == Corners::WithoutBackground || joins.islands {
            let Self { alive, cells, width, background, len, .. } = self;
            alive.others(&cells[*width + 1..], *background as u8, *len);
        }
        // Corners first: islands may take the planes of zones.
        if joins.corners != Corners::None {
            self.join_corners(joins.corners);
        }
        if joins.islands {
            self.join_islands(&grid.cells);
        }
        if joins.bridges {
            self.join_bridges();
        }
    }

    /// The zone of every cell.
    pub(super) fn of_cells(&self) -> &[u32] {
        &self.flat.of_cells[..self.len]
    }

    /// Appends the label of every zone in a mode that [`read`](Self::read) was told of, and what its components consist of.
    #[inline(always)]
    pub(super) fn describe(&mut self, mode: Mode, labels: &mut Vec<u32>, out: &mut Vec<Component>) {
        let Self { flat, islands, island_of, corners, bridges, numbers, merged, .. } = self;
        let bare = mode.without_background.then_some(self.background);
        let table = &flat.table[..flat.count];
        if merged.len() < table.len() {
            merged.resize(table.len(), Component::default());
            numbers.resize(table.len(), 0);
        }
        let count = match (mode.univalued, mode.diagonal, mode.without_background) {
            (true, false, false) => {
                labels.extend(0..table.len() as u32);
                out.extend_from_slice(table);
                return;
            }
            (false, false, true) => {
                labels.extend_from_slice(island_of);
                out.extend_from_slice(&islands.table[..islands.count]);
                return;
            }
            (false, true, true) => {
                let count = merge(&islands.table[..islands.count], None, |k| bridges[k] as usize, numbers, merged);
                labels.extend(island_of.iter().map(|&k| numbers.get(k as usize).map_or(NONE, |&number| number)));
                out.extend_from_slice(&merged[..count]);
                return;
            }
            (true, false, true) => merge(table, bare, |k| k, numbers, merged),
            (true, true, _) => merge(table, bare, |k| corners[k] as usize, numbers, merged),
            // Any two neighbours are joined.
            (false, _, false) => merge(table, bare, |_| 0, numbers, merged),
        };
        labels.extend_from_slice(&numbers[..table.len()]);
        out.extend_from_slice(&merged[..count]);
    }

    #[inline(always)]
    fn find_zones(&mut self, grid: &Grid) {
        let Self { cells, firsts, starts, ups, touches, equal, flat, .. } = self;
        let (h, w, len) = (grid.h, grid.w, grid.cells.len());
        (self.height, self.width, self.len) = (h, w, len);
        cells.clear();
        cells.resize(w + 1, 0);
        cells.extend(grid.cells.iter().map(|&c| c as u8));
        cells.extend([0; SLACK]);
        flat.clear(len);
        let words = len.div_ceil(WORD);
        firsts.set_every(w, len);
        equal.compare(&cells[w + 1..], &cells[w..], len);
        starts.set(len, (0..words).map(|k| !equal.word(k) | firsts.word(k)));
        ups.compare(&cells[w + 1..], &cells[1..], len);
        ups.clear_first(w);
        touches.set(len, (0..words).map(|k| ups.word(k) & (starts.word(k) | !ups.before(k, 1))));
        for row in 0..h {
            for column in (0..w).step_by(WORD) {
                let (begin, n) = (row * w + column, (w - column).min(WORD));
                let place = Place { row, column, begin, width: w };
                flat.add_runs(place, starts.cells(begin, n), first(n), touches.cells(begin, n), &grid.cells);
            }
        }
        flat.settle(len);
    }

    /// The most frequent colour, the lowest of several.
    #[inline(always)]
    fn find_background(&mut self) {
        let zones = &self.flat.table[..self.flat.count];
        self.counts.resize(256, 0);
        let counts = &mut self.counts[..256];
        for zone in zones {
            counts[usize::from(zone.colour as u8)] += zone.size;
        }
        // Of equal counts the lowest colour has the highest rank.
        let rank = |zone: &Component| {
            u64::from(counts[usize::from(zone.colour as u8)]) << 8 | u64::from(!(zone.colour as u8) ^ 128)
        };
        let best = zones.iter().map(rank).max().unwrap_or(0);
        for zone in zones {
            counts[usize::from(zone.colour as u8)] = 0;
        }
        self.background = !(best as u8 ^ 128) as i8;
    }

    /// Joins zones of one colour over corners, those of the background only if all are to be joined.
    #[inline(always)]
    fn join_corners(&mut self, which: Corners) {
        let Self { cells, len, firsts, starts, ups, alive, equal, flat, corners, width: w, .. } = self;
        let (w, words, of_cells) = (*w, len.div_ceil(WORD), &flat.of_cells);
        corners.clear();
        corners.extend(0..flat.count as u32);
        // Cells beside the corner of the same colour have joined the two already.
        let open = |k: usize| !ups.word(k) & if which == Corners::All { u64::MAX } else { alive.word(k) };
        equal.compare(&cells[w + 1..], cells, *len);
        equal.clear_first(w);
        for k in 0..words {
            for j in bits(equal.word(k) & starts.word(k) & !firsts.word(k) & open(k)) {
                let own = WORD * k + j;
                unite(corners, of_cells[own - w - 1], of_cells[own]);
            }
        }
        equal.compare(&cells[w + 1..], &cells[2..], *len);
        equal.clear_first(w);
        for k in 0..words {
            for j in bits(equal.word(k) & starts.next(k) & !firsts.next(k) & open(k)) {
                let own = WORD * k + j;
                unite(corners, of_cells[own + 1 - w], of_cells[own]);
            }
        }
    }

    /// Joins zones of other colours than the background's over sides: zone by zone where few touch, else cells anew, whose runs
    /// are then longer, and fewer.
    #[inline(always)]
    fn join_islands(&mut self, colours: &[i8]) {
        let Self { len, firsts, starts, ups, alive, flat, islands, island_of, shores, background, width: w, .. } = self;
        let (w, words, of_cells) = (*w, len.div_ceil(WORD), &flat.of_cells);
        // One bit for each two runs that touch.
        let beside = |k: usize| alive.word(k) & alive.before(k, 1) & starts.word(k) & !firsts.word(k);
        let above =
            |k: usize| alive.word(k) & alive.before(k, w) & !ups.word(k) & (starts.word(k) | starts.before(k, w));
        let touching: u32 = (0..words).map(|k| beside(k).count_ones() + above(k).count_ones()).sum();
        if touching as usize > len.div_ceil(MANY) {
            self.find_islands(colours);
            return;
        }
        shores.clear();
        shores.extend(0..flat.count as u32);
        for k in 0..words {
            for j in bits(beside(k)) {
                let own = WORD * k + j;
                unite(shores, of_cells[own - 1], of_cells[own]);
            }
            for j in bits(above(k)) {
                let own = WORD * k + j;
                unite(shores, of_cells[own - w], of_cells[own]);
            }
        }
        islands.clear(*len);
        island_of.resize(flat.count, 0);
        let (zones, shore) = (&flat.table[..flat.count], |k: usize| shores[k] as usize);
        islands.count = merge(zones, Some(*background), shore, island_of, &mut islands.table);
    }

    /// Finds islands anew, from runs of cells of other colours than the background's.
    #[inline(always)]
    fn find_islands(&mut self, colours: &[i8]) {
        let Self {
            len, height, firsts, starts, touches, alive, flat, islands, island_of, background, width: w, ..
        } = self;
        let (h, w, len) = (*height, *w, *len);
        islands.clear(len);
        let words = len.div_ceil(WORD);
        // What these planes told of zones is not needed any more.
        starts.set(len, (0..words).map(|k| alive.word(k) & (!alive.before(k, 1) | firsts.word(k))));
        let begins = |k: usize| starts.word(k) | starts.before(k, w);
        touches.set(len, (0..words).map(|k| alive.word(k) & alive.before(k, w) & begins(k)));
        for row in 0..h {
            for column in (0..w).step_by(WORD) {
                let (begin, n) = (row * w + column, (w - column).min(WORD));
                let place = Place { row, column, begin, width: w };
                islands.add_runs(
                    place,
                    starts.cells(begin, n),
                    alive.cells(begin, n),
                    touches.cells(begin, n),
                    colours,
                );
            }
        }
        islands.settle(len);
        island_of.clear();
        let table = &mut islands.table;
        island_of.extend(flat.table[..flat.count].iter().map(|zone| {
            if zone.colour == *background {
                return NONE;
            }
            let island = islands.of_cells[zone.first as usize];
            let lowest = &mut table[island as usize].colour;
            if zone.colour < *lowest {
                *lowest = zone.colour;
            }
            island
        }));
    }

    /// Joins islands over corners.
    #[inline(always)]
    fn join_bridges(&mut self) {
        let Self { len, firsts, alive, flat, islands, island_of, bridges, width: w, .. } = self;
        let (w, words) = (*w, len.div_ceil(WORD));
        bridges.clear();
        bridges.extend(0..islands.count as u32);
        if islands.count < 2 {
            return;
        }
        let island = |cell: usize| island_of[flat.of_cells[cell] as usize];
        for k in 0..words {
            let lone = alive.word(k) & !alive.before(k, w);
            for j in bits(lone & alive.before(k, w + 1) & !alive.before(k, 1) & !firsts.word(k)) {
                let own = WORD * k + j;
                unite(bridges, island(own - w - 1), island(own));
            }
            for j in bits(lone & alive.before(k, w - 1) & !alive.next(k) & !firsts.next(k)) {
                let own = WORD * k + j;
                unite(bridges, island(own + 1 - w), island(own));
            }
        }
    }
}

/// Where a word of cells is.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// Its first cell.
    begin: usize,
    /// Columns of the grid.
    width: usize,
}

impl Components {
    /// Room for the components of so many cells.
    fn clear(&mut self, cells: usize) {
        self.count = 0;
        if self.table.len() < cells {
            self.table.resize(cells, Component::default());
            self.parents.resize(cells, 0);
            self.of_cells.resize(cells + FILL, 0);
        }
    }

    /// Gives every run of `own` cells the component of one above that it touches, or a new one. Runs begin where `starts` has
    /// bits; `touches` has one wherever a run begins to touch one above. Those that turn out to be one are joined.
    #[inline(always)]
    fn add_runs(&mut self, at: Place, starts: u64, own: u64, mut touches: u64, colours: &[i8]) {
        let Self { of_cells, table, parents, count } = self;
        let Place { row, column, begin, width } = at;
        // A run that comes from the word before goes on.
        let mut going = own & !starts & 1 == 1;
        let mut rest = starts | u64::from(going);
        while rest != 0 {
            let run = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            // Up to before the next run, and all of them if there is none.
            let before = (rest & rest.wrapping_neg()).wrapping_sub(1);
            let len = (!((own & before) >> run)).trailing_zeros() as usize;
            let mut above = touches & before;
            touches ^= above;
            let (left, right) = ((column + run) as u16, (column + run + len - 1) as u16);
            let (row, size, cell) = (row as u16, len as u32, begin + run);
            let label = if above == 0 && !going {
                let (colour, new) = (colours[cell], *count);
                table[new] = Component { colour, size, top: row, bottom: row, left, right, first: cell as u32 };
                parents[new] = new as u32;
                *count += 1;
                new as u32
            } else {
                let mut next = || {
                    let j = above.trailing_zeros() as usize;
                    above &= above.wrapping_sub(1);
                    (j < WORD).then(|| of_cells[begin + j - width])
                };
                let label = if going { of_cells[begin - 1] } else { next().unwrap_or_default() };
                let all = &mut table[label as usize];
                all.size += size;
                all.bottom = row;
                all.left = all.left.min(left);
                all.right = all.right.max(right);
                while let Some(other) = next() {
                    unite(parents, label, other);
                }
                label
            };
            going = false;
            fill(&mut of_cells[cell..], len, label);
        }
    }

    /// Numbers components, once what belongs together is joined.
    #[inline(always)]
    fn settle(&mut self, cells: usize) {
        let Self { of_cells, table, parents, .. } = self;
        let mut count = 0;
        for k in 0..self.count {
            let parent = parents[k] as usize;
            if parent == k {
                parents[k] = count;
                table[count as usize] = table[k];
                count += 1;
            } else {
                let (number, part) = (parents[parent], table[k]);
                parents[k] = number;
                table[number as usize].add(&part);
            }
        }
        if (count as usize) < self.count {
            for label in &mut of_cells[..cells] {
                // Cells of no component have what an earlier grid left.
                *label = parents.get(*label as usize).map_or(0, |&number| number);
            }
        }
        self.count = count as usize;
    }
}

/// Cells that [`fill`] writes at once.
const FILL: usize = 4;

/// Writes `n` labels, and up to [`FILL`] where `n` is less.
#[inline(always)]
fn fill(of_cells: &mut [u32], n: usize, label: u32) {
    if let Some(few) = of_cells.first_chunk_mut::<FILL>() {
        *few = [label; FILL];
    }
    if n > FILL {
        of_cells[FILL..n].fill(label);
    }
}

#[inline(always)]
fn root(parents: &mut [u32], mut label: usize) -> usize {
    loop {
        let parent = parents[label] as usize;
        if parent == label {
            return label;
        }
        // Halves the path.
        let above = parents[parent];
        parents[label] = above;
        label = above as usize;
    }
}

/// Joins two components under the earlier one.
#[inline(always)]
fn unite(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a as usize), root(parents, b as usize));
    parents[a.max(b)] = a.min(b) as u32;
}

/// Numbers components by their first parts, and puts together what they consist of; how many there are.
#[inline(always)]
fn merge(
    parts: &[Component],
    bare: Option<i8>,
    parent: impl Fn(usize) -> usize,
    numbers: &mut [u32],
    merged: &mut [Component],
) -> usize {
    let mut count = 0;
    for (k, (part, own)) in parts.iter().zip(0u32..).enumerate() {
        let (parent, left_out) = (parent(k), Some(part.colour) == bare);
        // One jump for two reasons, of which neither can be predicted well.
        if usize::from(left_out) | usize::from(parent == own as usize) != 0 {
            // What is left out is overwritten by the next.
            merged[count] = *part;
            numbers[k] = if left_out { NONE } else { count as u32 };
            count += usize::from(!left_out);
        } else {
            // Parents are earlier, and have their numbers.
            let number = numbers[parent];
            numbers[k] = number;
            merged[number as usize].add(part);
        }
    }
    count
}
