//! Connected components of many grids in several modes.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::grid::Grid;
use super::zones::{Joins, Zones};
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Component {
    /// Takes in what begins later.
    #[inline]
    pub(super) fn add(&mut self, part: &Self) {
        self.colour = self.colour.min(part.colour);
        self.size += part.size;
        self.bottom = self.bottom.max(part.bottom);
        self.left = self.left.min(part.left);
        self.right = self.right.max(part.right);
    }
}

/// The components of a grid in one mode.
///
/// Cells of one colour that are joined over sides are in one component in every mode: such flat zones are kept once, and for
/// each mode the labels of zones.
#[derive(Clone, Copy, Debug)]
pub struct Components<'a> {
    zones: &'a [u32],
    labels: &'a [u32],
    table: &'a [Component],
}

impl PartialEq for Components<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table && self.labels().eq(other.labels())
    }
}

impl Eq for Components<'_> {}

/// The label of a cell of the background.
pub(super) const NONE: u32 = u32::MAX;

impl<'a> Components<'a> {
    /// The label of a cell of the background.
    pub const NONE: u32 = NONE;

    /// For each cell the number of its component, row by row; [`NONE`](Self::NONE) for cells of the background.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let labels = self.labels;
        self.zones.iter().map(move |&zone| labels[zone as usize])
    }

    /// The number of the component of a cell, counted row by row; nothing for cells of the background or beyond the grid.
    pub fn label(&self, cell: usize) -> Option<u32> {
        let label = self.labels[*self.zones.get(cell)? as usize];
        (label != NONE).then_some(label)
    }

    /// The components, by their first cells, row by row.
    pub fn table(&self) -> &'a [Component] {
        self.table
    }

    /// The components as `objects` gives them, a set of sets of cells. The grid must be the one that they were found in.
    pub fn to_objects(&self, grid: &Grid) -> Value {
        let mut all: Vec<Vec<(i32, i32, i32)>> = vec![Vec::new(); self.table.len()];
        for (at, (&colour, label)) in grid.cells.iter().zip(self.labels()).enumerate() {
            if let Some(cells) = all.get_mut(label as usize) {
                cells.push((i32::from(colour), (at / grid.w) as i32, (at % grid.w) as i32));
            }
        }
        Value::set(all.into_iter().map(Value::object).collect())
    }
}

/// The components of many grids in several modes.
#[derive(Clone, Debug, Default)]
pub struct ComponentsBatch {
    grids: usize,
    modes: usize,
    /// One for every thread.
    threads: Vec<OfThread>,
    /// Where what was found of every [`CHUNK`] grids begins.
    places: Vec<Place>,
}

/// What one thread found, batch after batch in the same memory, which so stays in the caches of its core.
#[derive(Clone, Debug, Default)]
struct OfThread {
    scratch: Zones,
    part: Part,
}

/// What was found of some grids, one behind the other.
#[derive(Clone, Debug, Default)]
struct Part {
    /// The zone of every cell.
    zones: Vec<u32>,
    /// Where those of a grid end.
    zones_end: Vec<usize>,
    /// The label of every zone in every mode.
    labels: Vec<u32>,
    table: Vec<Component>,
    /// Where those of a grid in a mode end.
    ends: Vec<[usize; 2]>,
}

/// Where the first of some grids is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    thread: usize,
    /// Its number among those of the thread.
    grid: usize,
}

/// Grids that one task of the pool takes: few, so that all threads have work in a batch that stays in their caches.
const CHUNK: usize = 16;

impl PartialEq for ComponentsBatch {
    fn eq(&self, other: &Self) -> bool {
        (self.grids, self.modes) == (other.grids, other.modes) && self.iter().eq(other.iter())
    }
}

impl Eq for ComponentsBatch {}

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
        let Place { thread, grid: first } = *self.places.get(grid / CHUNK)?;
        let (part, own) = (&self.threads.get(thread)?.part, first + grid % CHUNK);
        let entry = own * self.modes + mode;
        let [label, row] = entry.checked_sub(1).map_or([0, 0], |before| part.ends[before]);
        let [label_end, row_end] = part.ends[entry];
        let zone = own.checked_sub(1).map_or(0, |before| part.zones_end[before]);
        let zones = &part.zones[zone..part.zones_end[own]];
        Some(Components { zones, labels: &part.labels[label..label_end], table: &part.table[row..row_end] })
    }

    /// All components, grid by grid, each grid in all modes.
    pub fn iter(&self) -> impl Iterator<Item = Components<'_>> {
        (0..self.grids * self.modes).filter_map(|k| self.get(k / self.modes, k % self.modes))
    }

    /// Replaces what is here, whose memory is used again.
    pub(super) fn find(&mut self, grids: &[Grid], modes: &[Mode]) {
        (self.grids, self.modes) = (grids.len(), modes.len());
        self.places.resize(grids.len().div_ceil(CHUNK), Place::default());
        self.threads.resize_with(rayon::current_num_threads().max(1), OfThread::default);
        let joins = Joins::of(modes);
        // Every thread has one of its own, and holds it while it works on a chunk: nobody waits.
        let threads = self.threads.iter_mut().map(|own| {
            own.part.clear();
            Mutex::new(own)
        });
        let threads: Vec<_> = threads.collect();
        self.places.par_iter_mut().zip(grids.par_chunks(CHUNK)).for_each(|(place, grids)| {
            let thread = rayon::current_thread_index().unwrap_or(0) % threads.len();
            let mut own = threads[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let OfThread { scratch, part } = &mut **own;
            *place = Place { thread, grid: part.zones_end.len() };
            find(part, grids, modes, joins, scratch);
        });
    }
}

impl Part {
    fn clear(&mut self) {
        self.zones.clear();
        self.zones_end.clear();
        self.labels.clear();
        self.table.clear();
        self.ends.clear();
    }
}

/// Appends the components of some grids.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+bmi1+bmi2+lzcnt+popcnt",
    "x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"
))]
fn find(part: &mut Part, grids: &[Grid], modes: &[Mode], joins: Joins, scratch: &mut Zones) {
    for grid in grids {
        scratch.read(grid, joins);
        part.zones.extend_from_slice(scratch.of_cells());
        part.zones_end.push(part.zones.len());
        for &mode in modes {
            scratch.describe(mode, &mut part.labels, &mut part.table);
            part.ends.push([part.labels.len(), part.table.len()]);
        }
    }
}

/// Labels grids one by one, in memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Labeller {
    zones: Zones,
    of_zones: Vec<u32>,
    labels: Vec<u32>,
    table: Vec<Component>,
}

impl Labeller {
    /// The component of each cell of a grid, row by row, [`Components::NONE`] for cells of the background; what the components
    /// consist of.
    pub(crate) fn label(&mut self, grid: &Grid, mode: Mode) -> (&[u32], &[Component]) {
        let Self { zones, of_zones, labels, table } = self;
        of_zones.clear();
        labels.clear();
        table.clear();
        zones.read(grid, Joins::of(&[mode]));
        zones.describe(mode, of_zones, table);
        labels.extend(zones.of_cells().iter().map(|&zone| of_zones[zone as usize]));
        (labels, table)
    }
}
