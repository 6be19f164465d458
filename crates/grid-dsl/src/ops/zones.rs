//! Flat zones of a grid, which are the components of one colour joined over sides, and what other modes join them to.
//!
//! A component in any mode is a union of zones: cells are looked at once to find those, and modes join zones. Union-find links
//! to the earlier label, so that components are numbered by their first cells, row by row.

use super::components::{Component, Mode, NONE};
use super::grid::Grid;
use super::masks::{Plane, SLACK, WORD, bits, first, from_left, from_right};

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
    /// Words of a row's mask.
    words: usize,
    /// The grid's cells, with a row and one more that count for nothing before them, and slack behind.
    cells: Vec<u8>,
    /// Number of cells.
    len: usize,
    /// Which cells equal others, while rows are looked at.
    plane: Plane,
    other: Plane,
    /// Row by row, whether cells differ from the one to the left.
    starts: Vec<u64>,
    /// Whether they equal the one above.
    ups: Vec<u64>,
    /// Whether they are of another colour than the background.
    alive: Vec<u64>,
    flat: Components,
    /// How many cells of a colour there are, while they are counted.
    counts: Vec<u32>,
    background: i8,
    /// For every zone an earlier one of its colour that it is joined to over corners, or itself.
    corners: Vec<u32>,
    /// Components of any colours but the background's, joined over sides.
    islands: Components,
    /// The island of every zone.
    island_of: Vec<u32>,
    /// For every island an earlier one that it is joined to over corners, or itself.
    bridges: Vec<u32>,
    /// Numbers of components, and what they consist of.
    numbers: Vec<u32>,
    merged: Vec<Component>,
}

/// What must be joined for some modes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joins {
    /// Zones of one colour over corners.
    corners: bool,
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
            corners: any(|m| m.univalued && m.diagonal),
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
        if joins.corners {
            self.join_corners();
        }
        if joins.islands {
            self.find_islands(&grid.cells);
        }
        if joins.bridges {
            self.join_islands();
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
        let Self { cells, plane, other, starts, ups, flat, .. } = self;
        let (w, words) = (grid.w, grid.w.div_ceil(WORD));
        (self.width, self.words, self.len) = (w, words, grid.cells.len());
        cells.clear();
        cells.resize(w + 1, 0);
        cells.extend(grid.cells.iter().map(|&c| c as u8));
        cells.extend([0; SLACK]);
        starts.clear();
        ups.clear();
        flat.clear(self.len);
        plane.compare(&cells[w + 1..], &cells[w..], self.len);
        other.compare(&cells[w + 1..], &cells[1..], self.len);
        for i in 0..grid.h {
            let mut last_up = 0;
            for k in 0..words {
                let begin = i * w + WORD * k;
                let n = (w - WORD * k).min(WORD);
                let mut start = !plane.cells(begin, n) & first(n);
                if k == 0 {
                    start |= 1;
                }
                let up = if i > 0 { other.cells(begin, n) } else { 0 };
                starts.push(start);
                ups.push(up);
                let touches = up & (start | !(up << 1 | last_up));
                last_up = up >> (WORD - 1);
                let place = Place { row: i, column: WORD * k, begin, width: w };
                flat.add_runs(place, start, first(n), touches, &grid.cells);
            }
        }
        flat.settle(self.len);
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

    /// Joins zones of one colour over corners.
    #[inline(always)]
    fn join_corners(&mut self) {
        let Self { cells, len, plane, other, starts, ups, flat, corners, width: w, words, .. } = self;
        let (w, words, of_cells) = (*w, *words, &flat.of_cells);
        plane.compare(&cells[w + 1..], cells, *len);
        other.compare(&cells[w + 1..], &cells[2..], *len);
        corners.clear();
        corners.extend(0..flat.count as u32);
        for (i, (starts, ups)) in starts.chunks_exact(words).zip(ups.chunks_exact(words)).enumerate().skip(1) {
            for k in 0..words {
                let (begin, n) = (i * w + WORD * k, (w - WORD * k).min(WORD));
                let inner = !u64::from(k == 0);
                // Cells beside the corner of the same colour have joined the two already.
                let left = starts[k] & !ups[k] & inner & plane.cells(begin, n);
                let right = from_right(starts, k) & !ups[k] & other.cells(begin, n);
                for j in bits(left | right) {
                    let (own, above) = (begin + j, begin + j - w);
                    if left >> j & 1 == 1 {
                        unite(corners, of_cells[above - 1], of_cells[own]);
                    }
                    if right >> j & 1 == 1 {
                        unite(corners, of_cells[above + 1], of_cells[own]);
                    }
                }
            }
        }
    }

    /// Joins cells of other colours than the background's over sides. A cell alone tells little here: runs of such cells are
    /// longer, and fewer, than zones.
    #[inline(always)]
    fn find_islands(&mut self, colours: &[i8]) {
        let Self { cells, len, plane, starts, alive, flat, islands, island_of, background, width: w, words, .. } = self;
        let (w, words, len) = (*w, *words, *len);
        plane.find(&cells[w + 1..], *background as u8, len);
        alive.clear();
        islands.clear(len);
        for i in 0..starts.len() / words {
            let mut last_both = 0;
            for k in 0..words {
                let (begin, n) = (i * w + WORD * k, (w - WORD * k).min(WORD));
                let own = !plane.cells(begin, n) & first(n);
                alive.push(own);
                let here = i * words + k;
                let start = own & !from_left(&alive[i * words..], k);
                let both = if i > 0 { own & alive[here - words] } else { 0 };
                let touches = both & !(both << 1 | last_both);
                last_both = both >> (WORD - 1);
                let place = Place { row: i, column: WORD * k, begin, width: w };
                islands.add_runs(place, start, own, touches, colours);
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
    fn join_islands(&mut self) {
        let Self { alive, islands, bridges, width: w, words, .. } = self;
        let (w, words, of_cells) = (*w, *words, &islands.of_cells);
        bridges.clear();
        bridges.extend(0..islands.count as u32);
        if islands.count < 2 {
            return;
        }
        for (i, rows) in (1..).zip(alive.windows(2 * words).step_by(words)) {
            let (above, own) = rows.split_at(words);
            for k in 0..words {
                let begin = i * w + WORD * k;
                let lone = own[k] & !above[k];
                for j in bits(lone & from_left(above, k) & !from_left(own, k)) {
                    unite(bridges, of_cells[begin + j], of_cells[begin + j - w - 1]);
                }
                for j in bits(lone & from_right(above, k) & !from_right(own, k)) {
                    unite(bridges, of_cells[begin + j], of_cells[begin + j - w + 1]);
                }
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
