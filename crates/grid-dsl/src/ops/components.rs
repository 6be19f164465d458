//! Connected components of grids: runs of one colour are joined with those of the row above by union-find, which always links
//! to the earlier run, so that components are numbered by their first cells, row by row.

use rayon::prelude::*;

use super::grid::{Grid, background};
use crate::value::Value;

/// What a component is: the flags of `objects`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Cells of one colour.
    pub univalued: bool,
    /// Joined over corners, too.
    pub diagonal: bool,
    /// Without cells of the most frequent colour.
    pub without_background: bool,
}

impl Mode {
    /// All modes; number `4 * univalued + 2 * diagonal + without_background`.
    pub const ALL: [Self; 8] = {
        let mut all = [Self { univalued: false, diagonal: false, without_background: false }; 8];
        let mut k = 0;
        while k < 8 {
            all[k] = Self { univalued: k & 4 != 0, diagonal: k & 2 != 0, without_background: k & 1 != 0 };
            k += 1;
        }
        all
    };

    /// The five modes that programs use most: T,F,T; T,T,T; T,F,F; F,T,T; F,F,T.
    pub const COMMON: [Self; 5] = [Self::ALL[5], Self::ALL[7], Self::ALL[4], Self::ALL[3], Self::ALL[1]];
}

/// A component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The lowest of its colours.
    pub colour: i8,
    /// Cells.
    pub size: u32,
    /// First row.
    pub top: u16,
    /// Last row.
    pub bottom: u16,
    /// First column.
    pub left: u16,
    /// Last column.
    pub right: u16,
    /// Its first cell, counted row by row.
    pub first: u32,
}

/// The components of a grid in one mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Components<'a> {
    labels: &'a [u32],
    table: &'a [Component],
}

impl<'a> Components<'a> {
    /// The label of a cell of the background.
    pub const NONE: u32 = NONE;

    /// For each cell the number of its component, row by row; [`NONE`](Self::NONE) for cells of the background.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// The components, by their first cells, row by row.
    pub fn table(&self) -> &'a [Component] {
        self.table
    }

    /// The components as `objects` gives them, a set of sets of cells. The grid must be the one that they were found in.
    pub fn to_objects(&self, grid: &Grid) -> Value {
        let mut all: Vec<Vec<(i32, i32, i32)>> = vec![Vec::new(); self.table.len()];
        for (at, (&colour, &label)) in grid.cells.iter().zip(self.labels).enumerate() {
            if let Some(cells) = all.get_mut(label as usize) {
                cells.push((i32::from(colour), (at / grid.w) as i32, (at % grid.w) as i32));
            }
        }
        Value::set(all.into_iter().map(Value::object).collect())
    }
}

/// The components of many grids in several modes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentsBatch {
    grids: usize,
    modes: usize,
    /// One for every [`CHUNK`] grids.
    parts: Vec<Part>,
}

/// Labels and tables of some grids, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    labels: Vec<u32>,
    table: Vec<Component>,
    /// Where those of a grid in a mode end.
    ends: Vec<[usize; 2]>,
}

/// Grids that one task of the pool takes.
pub(super) const CHUNK: usize = 64;

impl ComponentsBatch {
    /// Number of grids.
    pub fn grids(&self) -> usize {
        self.grids
    }

    /// Number of modes.
    pub fn modes(&self) -> usize {
        self.modes
    }

    /// The components of a grid in a mode, by their places in what [`objects_batch`](super::objects_batch) was given.
    pub fn get(&self, grid: usize, mode: usize) -> Option<Components<'_>> {
        if grid >= self.grids || mode >= self.modes {
            return None;
        }
        let part = self.parts.get(grid / CHUNK)?;
        let entry = grid % CHUNK * self.modes + mode;
        let [label, row] = entry.checked_sub(1).map_or([0, 0], |before| part.ends[before]);
        let [label_end, row_end] = part.ends[entry];
        Some(Components { labels: &part.labels[label..label_end], table: &part.table[row..row_end] })
    }

    /// All components, grid by grid, each grid in all modes.
    pub fn iter(&self) -> impl Iterator<Item = Components<'_>> {
        (0..self.grids * self.modes).filter_map(|k| self.get(k / self.modes, k % self.modes))
    }

    /// Replaces what is here, whose memory is used again.
    pub(super) fn find(&mut self, grids: &[Grid], modes: &[Mode]) {
        (self.grids, self.modes) = (grids.len(), modes.len());
        self.parts.resize_with(grids.len().div_ceil(CHUNK), Part::default);
        let parts = self.parts.par_iter_mut().zip(grids.par_chunks(CHUNK));
        parts.for_each_init(Labels::default, |scratch, (part, grids)| part.find(grids, modes, scratch));
    }
}

impl Part {
    fn find(&mut self, grids: &[Grid], modes: &[Mode], scratch: &mut Labels) {
        self.labels.clear();
        self.table.clear();
        self.ends.clear();
        for grid in grids {
            scratch.read(grid, background(&grid.cells));
            for &mode in modes {
                scratch.join(mode);
                scratch.describe(&mut self.table);
                self.labels.extend(scratch.of_cells());
                self.ends.push([self.labels.len(), self.table.len()]);
            }
        }
    }
}

/// Neither a run nor a component.
const NONE: u32 = u32::MAX;

/// Cells of one colour beside each other, from `start` to before `end`.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    end: u32,
    colour: i8,
}

/// Cells of a row with a property, the first cell lowest.
#[derive(Clone, Copy, Debug, Default)]
struct Masks {
    /// A run begins.
    starts: u64,
    /// The background's colour.
    background: u64,
    /// The colour of the cell above, and of its neighbours to the left and to the right.
    up: u64,
    up_left: u64,
    up_right: u64,
}

/// Columns of a grid whose rows have masks.
const MASKED: usize = u64::BITS as usize;

/// The runs of the last grid that was read, and what was found of them last.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// The label of every cell, after [`label`].
    pub(crate) cells: Vec<u32>,
    width: usize,
    background: i8,
    runs: Vec<Run>,
    /// The first run of every row, and the number of runs.
    rows: Vec<usize>,
    /// The run of every cell.
    run_of: Vec<u32>,
    /// Of every row, where the grid is not too wide.
    masks: Vec<Masks>,
    /// For every run an earlier one of its component, or itself; in the end its component's number.
    parents: Vec<u32>,
}

/// Labels the cells of a grid; the number of components.
pub(crate) fn label(grid: &Grid, mode: Mode, most: i8, scratch: &mut Labels) -> usize {
    scratch.read(grid, most);
    scratch.join(mode);
    // Parents are earlier: one walk numbers all.
    let mut count = 0;
    for run in 0..scratch.parents.len() {
        let parent = scratch.parents[run];
        if parent == run as u32 {
            scratch.parents[run] = count;
            count += 1;
        } else if parent != NONE {
            scratch.parents[run] = scratch.parents[parent as usize];
        }
    }
    let mut labels = std::mem::take(&mut scratch.cells);
    labels.clear();
    labels.extend(scratch.of_cells());
    scratch.cells = labels;
    count as usize
}

/// Bits below `n` and bit `n` itself.
fn up_to(n: u32) -> u64 {
    u64::MAX >> (MASKED as u32 - 1 - n)
}

/// Places of the bits of a mask.
fn bits(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros());
        mask &= mask.wrapping_sub(1);
        place
    })
}

impl Labels {
    /// Reads the runs of a grid, which serve all modes.
    fn read(&mut self, grid: &Grid, background: i8) {
        let Self { runs, rows, run_of, masks, .. } = self;
        (self.width, self.background) = (grid.w, background);
        runs.clear();
        rows.clear();
        run_of.clear();
        masks.clear();
        let mut above: &[i8] = &[];
        for cells in grid.cells.chunks_exact(grid.w) {
            rows.push(runs.len());
            let mut run = Run { start: 0, end: 0, colour: cells[0] };
            for (j, &colour) in cells.iter().enumerate() {
                if colour != run.colour {
                    runs.push(Run { end: j as u32, ..run });
                    run = Run { start: j as u32, end: 0, colour };
                }
                run_of.push(runs.len() as u32);
            }
            runs.push(Run { end: cells.len() as u32, ..run });
            if grid.w <= MASKED {
                masks.push(Masks::of(cells, above, background));
                above = cells;
            }
        }
        rows.push(runs.len());
    }

    /// For every cell the number of its component, once runs have them.
    fn of_cells(&self) -> impl Iterator<Item = u32> {
        self.run_of.iter().map(|&run| self.parents[run as usize])
    }

    /// Joins runs to components: every run's parents lead to its component's first run.
    fn join(&mut self, mode: Mode) {
        let left_out = mode.without_background.then_some(self.background);
        self.parents.clear();
        let own = (0..self.runs.len() as u32).zip(&self.runs);
        self.parents.extend(own.map(|(k, run)| if Some(run.colour) == left_out { NONE } else { k }));
        match (mode.univalued, mode.diagonal, self.width <= MASKED) {
            (false, false, true) => self.join_masks::<false, false>(mode.without_background),
            (false, true, true) => self.join_masks::<false, true>(mode.without_background),
            (true, false, true) => self.join_masks::<true, false>(mode.without_background),
            (true, true, true) => self.join_masks::<true, true>(mode.without_background),
            (false, false, false) => self.join_runs::<false, 0>(),
            (false, true, false) => self.join_runs::<false, 1>(),
            (true, false, false) => self.join_runs::<true, 0>(),
            (true, true, false) => self.join_runs::<true, 1>(),
        }
    }

    /// Looks at a row's cells at once; only where it tells something new are two runs joined.
    fn join_masks<const ONE: bool, const CORNERS: bool>(&mut self, bare: bool) {
        let Self { rows, masks, parents, .. } = self;
        let all = up_to(self.width as u32 - 1);
        let (mut alive_above, mut linked_above, mut starts_above, mut first_above) = (0, 0, 0, 0);
        for (m, &first) in masks.iter().zip(&*rows) {
            // The run of the cell, which is in the row of these starts.
            let run = |first: usize, starts: u64, j: u32| first + (starts & up_to(j)).count_ones() as usize - 1;
            let alive = if bare { all & !m.background } else { all };
            // Cells that belong to the one to their left.
            let linked = if ONE { alive & !m.starts } else { alive & alive << 1 };
            if !ONE {
                for j in bits(linked & m.starts) {
                    let k = run(first, m.starts, j);
                    parents[k] = parents[k - 1];
                }
            }
            let same = |mask: u64| if ONE { mask } else { all };
            let up = alive & alive_above & same(m.up);
            // The cells to the left of both have joined the two runs.
            for j in bits(up & !(up << 1 & linked & linked_above)) {
                unite(parents, run(first_above, starts_above, j), run(first, m.starts, j));
            }
            if CORNERS {
                // What the cell above, or the neighbour below the corner, belongs to has been joined or will be.
                for j in bits(alive & alive_above << 1 & same(m.up_left) & !up & !linked) {
                    unite(parents, run(first_above, starts_above, j - 1), run(first, m.starts, j));
                }
                for j in bits(alive & alive_above >> 1 & same(m.up_right) & !up & !(linked >> 1)) {
                    unite(parents, run(first_above, starts_above, j + 1), run(first, m.starts, j));
                }
            }
            (alive_above, linked_above, starts_above, first_above) = (alive, linked, m.starts, first);
        }
    }

    /// Looks at runs one by one, for rows of any width. Cells touch over corners where a run reaches `REACH` columns further.
    fn join_runs<const ONE: bool, const REACH: u32>(&mut self) {
        let Self { runs, rows, parents, .. } = self;
        let mut above = 0..0;
        for row in rows.windows(2) {
            let (row, mut first) = (row[0]..row[1], above.start);
            for k in row.clone() {
                if parents[k] == NONE {
                    continue;
                }
                let run = runs[k];
                if !ONE && k > row.start && parents[k - 1] != NONE {
                    unite(parents, k - 1, k);
                }
                while first < above.end && runs[first].end + REACH <= run.start {
                    first += 1;
                }
                let mut other = first;
                while other < above.end && runs[other].start < run.end + REACH {
                    if parents[other] != NONE && (!ONE || runs[other].colour == run.colour) {
                        unite(parents, other, k);
                    }
                    other += 1;
                }
            }
            above = row;
        }
    }

    /// Numbers components, and appends what each consists of.
    fn describe(&mut self, table: &mut Vec<Component>) {
        let Self { runs, rows, parents, width, .. } = self;
        let begin = table.len();
        for (i, row) in rows.windows(2).enumerate() {
            for k in row[0]..row[1] {
                let (run, parent) = (runs[k], parents[k]);
                if parent == NONE {
                    continue;
                }
                let (left, right, size) = (run.start as u16, run.end as u16 - 1, run.end - run.start);
                if parent == k as u32 {
                    parents[k] = (table.len() - begin) as u32;
                    let first = (i * *width) as u32 + run.start;
                    let row = i as u16;
                    table.push(Component { colour: run.colour, size, top: row, bottom: row, left, right, first });
                    continue;
                }
                // Parents are earlier, and have their numbers.
                parents[k] = parents[parent as usize];
                let c = &mut table[begin + parents[k] as usize];
                c.size += size;
                c.bottom = i as u16;
                c.left = c.left.min(left);
                c.right = c.right.max(right);
                c.colour = c.colour.min(run.colour);
            }
        }
    }
}

impl Masks {
    fn of(cells: &[i8], above: &[i8], background: i8) -> Self {
        let mut m = Self { starts: 1, ..Self::default() };
        for (j, pair) in cells.windows(2).enumerate() {
            m.starts |= u64::from(pair[0] != pair[1]) << (j + 1);
        }
        for (j, &c) in cells.iter().enumerate() {
            m.background |= u64::from(c == background) << j;
        }
        for (j, (c, a)) in cells.iter().zip(above).enumerate() {
            m.up |= u64::from(c == a) << j;
        }
        if let ([_, later @ ..], [_, after @ ..]) = (cells, above) {
            for (j, (c, a)) in later.iter().zip(above).enumerate() {
                m.up_left |= u64::from(c == a) << (j + 1);
            }
            for (j, (c, a)) in cells.iter().zip(after).enumerate() {
                m.up_right |= u64::from(c == a) << j;
            }
        }
        m
    }
}

fn root(parents: &mut [u32], mut run: usize) -> usize {
    loop {
        let parent = parents[run] as usize;
        if parent == run {
            return run;
        }
        // Halves the path.
        let above = parents[parent];
        parents[run] = above;
        run = above as usize;
    }
}

/// Joins two components under the earlier run.
fn unite(parents: &mut [u32], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b) as u32;
}
