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
            let most = background(&grid.cells);
            scratch.read(grid);
            for &mode in modes {
                let count = scratch.join(mode, most);
                let [label, row] = [self.labels.len(), self.table.len()];
                self.labels.resize(label + grid.cells.len(), NONE);
                self.table.resize(row + count, Component::NOTHING);
                scratch.describe(grid.w, &mut self.labels[label..], &mut self.table[row..]);
                self.ends.push([self.labels.len(), self.table.len()]);
            }
        }
    }
}

impl Component {
    /// What every component is more than.
    const NOTHING: Self = Self { colour: i8::MAX, size: 0, top: 0, bottom: 0, left: u16::MAX, right: 0, first: 0 };
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

/// The runs of the last grid that was read, and what was found of them last.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// Of every cell, after [`label`].
    pub(crate) labels: Vec<u32>,
    runs: Vec<Run>,
    /// The first run of every row, and the number of runs.
    rows: Vec<usize>,
    /// For every run an earlier one of its component, or itself; after [`join`](Self::join) its component's number.
    parents: Vec<u32>,
}

/// Labels the cells of a grid; the number of components.
pub(crate) fn label(grid: &Grid, mode: Mode, most: i8, scratch: &mut Labels) -> usize {
    scratch.read(grid);
    let count = scratch.join(mode, most);
    let mut labels = std::mem::take(&mut scratch.labels);
    labels.clear();
    labels.resize(grid.cells.len(), NONE);
    scratch.each(|row, run, number| labels[row * grid.w..][run.start as usize..run.end as usize].fill(number));
    scratch.labels = labels;
    count
}

impl Labels {
    /// Reads the runs of a grid, which serve all modes.
    fn read(&mut self, grid: &Grid) {
        self.runs.clear();
        self.rows.clear();
        for cells in grid.cells.chunks_exact(grid.w) {
            self.rows.push(self.runs.len());
            let mut run = Run { start: 0, end: 0, colour: cells[0] };
            for (j, &colour) in cells.iter().enumerate() {
                if colour != run.colour {
                    self.runs.push(Run { end: j as u32, ..run });
                    run = Run { start: j as u32, end: 0, colour };
                }
            }
            self.runs.push(Run { end: cells.len() as u32, ..run });
        }
        self.rows.push(self.runs.len());
    }

    /// Joins runs to components; how many there are.
    fn join(&mut self, mode: Mode, most: i8) -> usize {
        let left_out = mode.without_background.then_some(most);
        match (mode.univalued, mode.diagonal) {
            (false, false) => self.join_as::<false, 0>(left_out),
            (false, true) => self.join_as::<false, 1>(left_out),
            (true, false) => self.join_as::<true, 0>(left_out),
            (true, true) => self.join_as::<true, 1>(left_out),
        }
        // Parents are earlier: one walk numbers all.
        let mut count = 0;
        for run in 0..self.parents.len() {
            let parent = self.parents[run];
            if parent == run as u32 {
                self.parents[run] = count;
                count += 1;
            } else if parent != NONE {
                self.parents[run] = self.parents[parent as usize];
            }
        }
        count as usize
    }

    /// Cells touch over corners where a run reaches `REACH` columns further.
    fn join_as<const ONE: bool, const REACH: u32>(&mut self, left_out: Option<i8>) {
        let Self { runs, rows, parents, .. } = self;
        parents.clear();
        parents
            .extend((0..runs.len() as u32).zip(&*runs).map(|(k, r)| if Some(r.colour) == left_out { NONE } else { k }));
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

    /// Calls `f` with the row, the run and its component's number.
    fn each(&self, mut f: impl FnMut(usize, Run, u32)) {
        for (i, row) in self.rows.windows(2).enumerate() {
            for (run, &number) in self.runs[row[0]..row[1]].iter().zip(&self.parents[row[0]..row[1]]) {
                if number != NONE {
                    f(i, *run, number);
                }
            }
        }
    }

    /// Labels of all cells, and what each component consists of.
    fn describe(&self, w: usize, labels: &mut [u32], table: &mut [Component]) {
        self.each(|i, run, number| {
            let (start, end) = (run.start as usize, run.end as usize);
            for label in &mut labels[i * w + start..i * w + end] {
                *label = number;
            }
            let c = &mut table[number as usize];
            if c.size == 0 {
                (c.top, c.first) = (i as u16, (i * w + start) as u32);
            }
            c.size += run.end - run.start;
            c.bottom = i as u16;
            c.left = c.left.min(start as u16);
            c.right = c.right.max(end as u16 - 1);
            c.colour = c.colour.min(run.colour);
        });
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
