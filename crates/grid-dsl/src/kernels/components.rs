//! `objects` of many grids in several modes: for every cell the number of its component, and a table of components.
//!
//! Components are numbered in canonical order: by their lowest colour, then by the first cell of it, row by row. Cells
//! are joined by union-find that always links to the smaller first cell, so the order of threads is no part of the result.
//!
//! Floor (W1): a grid of `h` rows is read once (`32 h` bytes and its size), and for each mode `64 h` bytes of labels, 4 of
//! the count and 8 a component are written. A warp walks four times over the rows with 15 to 40 instructions each, and
//! joins runs: 3,300 instructions for an average grid of 145 cells, so the instructions decide. A warp has room for 128
//! components, which are enough for 97 of 100 grids: more warps wait for shared memory side by side. An H200 takes 3.7 ms for
//! 100,000 ARC grids in five modes, the second kernel's grids included: half of the rate at which it starts instructions.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use super::{CELLS, GridBatch, SIDE};
use crate::error::ErrClass;
use crate::ops::Grid;
use crate::value::Value;

/// Modes in one call.
pub const MODES: usize = 8;

/// What `objects` joins, and what it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Only cells of one colour are joined.
    pub univalued: bool,
    /// Cells that touch at a corner are joined, too.
    pub diagonal: bool,
    /// Cells of the most frequent colour belong to no component.
    pub without_bg: bool,
}

impl Mode {
    /// The flags of `objects`.
    pub const fn new(univalued: bool, diagonal: bool, without_bg: bool) -> Self {
        Self { univalued, diagonal, without_bg }
    }

    /// As the dialect's `R0` to `R7`: `4 univalued + 2 diagonal + without_bg`.
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.univalued) << 2 | u32::from(self.diagonal) << 1 | u32::from(self.without_bg)
    }
}

/// A component. Places are `(row, column)`, counted from 0, ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The colour of its first cell: the lowest that it has.
    pub colour: i8,
    /// Cells.
    pub size: u16,
    /// The first cell in canonical order.
    pub first: (u8, u8),
    /// The first row and column of its bounding box.
    pub upper_left: (u8, u8),
    /// The last row and column of its bounding box.
    pub lower_right: (u8, u8),
}

impl Component {
    fn of_words(words: &[u32]) -> Self {
        let byte = |word: u32, at: u32| (word >> (8 * at)) as u8;
        let first = words[0] >> 19;
        Self {
            colour: words[0] as u8 as i8,
            size: (words[0] >> 8 & 0x7ff) as u16,
            first: ((first / SIDE as u32) as u8, (first % SIDE as u32) as u8),
            upper_left: (byte(words[1], 0), byte(words[1], 1)),
            lower_right: (byte(words[1], 2), byte(words[1], 3)),
        }
    }
}

/// What [`components`] writes.
#[derive(Debug)]
pub struct Labels<B: Backend> {
    /// For every cell of `[modes, grids, SIDE, SIDE]` its component's number, 0xffff where there is none. Rows that a grid
    /// does not have hold nothing.
    pub labels: Tensor<B, u16, 4>,
    /// Components, `[modes, grids]`, or the highest bit and the place of a class in [`ErrClass::ALL`].
    pub counts: Tensor<B, u32, 2>,
    /// Two words a component, `[modes, grids, capacity, 2]`; components beyond the capacity have none.
    pub table: Tensor<B, u32, 4>,
}

/// The bit of a count that is an error.
pub(crate) const ERROR: u32 = 1 << 31;

impl<B: Backend> Labels<B> {
    /// Room for the components of a batch in some modes, up to `capacity` of them in the table of each.
    pub fn new(b: &B, modes: usize, grids: usize, capacity: usize) -> Result<Self> {
        Ok(Self {
            labels: Tensor::scratch(b, [modes, grids, SIDE, SIDE])?,
            counts: Tensor::scratch(b, [modes, grids])?,
            table: Tensor::scratch(b, [modes, grids, capacity, 2])?,
        })
    }
}

/// The components of one grid in one mode, on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentsOf {
    /// The components in canonical order, or the class of `objects`. A table shorter than `count` was too small.
    pub table: Result<Vec<Component>, ErrClass>,
    /// Components.
    pub count: usize,
    /// Row by row each cell's component, `None` for the background.
    pub labels: Vec<Option<u16>>,
}

impl ComponentsOf {
    /// The objects as a value, from the grid that they are of.
    ///
    /// # Errors
    /// The class of `objects`, and [`ErrClass::Type`] when labels, table and grid do not fit together.
    pub fn to_objects(&self, grid: &Value) -> Result<Value, ErrClass> {
        let table = self.table.as_ref().map_err(|class| *class)?;
        let cells: Vec<(i32, i32, i32)> = match Value::to_rows(grid) {
            Some(rows) => rows
                .iter()
                .enumerate()
                .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, &c)| (c, i as i32, j as i32)))
                .collect(),
            None => return Err(ErrClass::Type),
        };
        let mut objects = vec![Vec::new(); self.count];
        for (cell, label) in cells.iter().zip(&self.labels).filter_map(|(cell, label)| Some((cell, (*label)?))) {
            objects.get_mut(usize::from(label)).ok_or(ErrClass::Type)?.push(*cell);
        }
        let fits = cells.len() == self.labels.len() && table.len() == self.count;
        let sizes = table.iter().zip(&objects).all(|(c, own)| usize::from(c.size) == own.len());
        if !fits || !sizes {
            return Err(ErrClass::Type);
        }
        Ok(Value::set(objects.into_iter().map(Value::object).collect()))
    }
}

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct ComponentsParams {
    /// Grids.
    pub count: u32,
    /// Modes.
    pub modes: u32,
    /// Components of a table.
    pub capacity: u32,
    /// The bits of each mode, the first one lowest, four a mode.
    pub packed: u32,
}

/// The operation on one backend.
pub trait Components: Backend {
    #[doc(hidden)]
    fn components_unchecked(
        &self,
        p: ComponentsParams,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        labels: ViewMut<'_, Self, u16>,
        counts: ViewMut<'_, Self, u32>,
        table: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Finds the components of every grid in every mode: the mode's background is found once a grid.
///
/// # Errors
/// When there are no modes or more than [`MODES`], or `out` was made for others.
pub fn components<B: Components>(b: &B, grids: &GridBatch<B>, modes: &[Mode], out: &mut Labels<B>) -> Result<()> {
    if modes.is_empty() || modes.len() > MODES {
        return Err(Error::value("modes", format!("{} of them, a call takes 1 to {MODES}", modes.len())));
    }
    let wanted = [modes.len(), grids.len()];
    let [m, n, capacity, _] = out.table.shape();
    if [m, n] != wanted || out.counts.shape() != wanted || out.labels.shape() != [m, n, SIDE, SIDE] {
        return Err(Error::shape("labels", &wanted, &[m, n]));
    }
    let p = ComponentsParams {
        count: grids.len() as u32,
        modes: modes.len() as u32,
        capacity: capacity.min(CELLS) as u32,
        packed: modes.iter().rev().fold(0, |packed, mode| packed << 4 | mode.bits()),
    };
    if capacity > CELLS {
        return Err(Error::value("capacity", format!("{capacity}, a grid has at most {CELLS} components")));
    }
    let (sizes, cells) = (grids.sizes.flat(), grids.cells.flat());
    b.components_unchecked(p, sizes, cells, out.labels.flat_mut(), out.counts.flat_mut(), out.table.flat_mut())
}

/// Components of grids given as values, in every mode: `[mode][grid]`.
///
/// # Errors
/// As [`GridBatch::new`] and [`components`].
pub fn objects_batch<B: Components>(b: &B, grids: &[Value], modes: &[Mode]) -> Result<Vec<Vec<ComponentsOf>>> {
    let batch = GridBatch::new(b, grids)?;
    let capacity = CELLS;
    let mut out = Labels::new(b, modes.len(), grids.len(), capacity)?;
    components(b, &batch, modes, &mut out)?;
    let sizes = batch.sizes.to_vec(b)?;
    let (labels, counts, table) = (out.labels.to_vec(b)?, out.counts.to_vec(b)?, out.table.to_vec(b)?);
    let one = |m: usize, n: usize| {
        let item = m * grids.len() + n;
        let (height, width) = (usize::from(sizes[2 * n]), usize::from(sizes[2 * n + 1]));
        let rows = labels[item * CELLS..][..height * SIDE].chunks_exact(SIDE);
        let count = counts[item];
        let class = (count & ERROR != 0).then(|| ErrClass::ALL[(count & !ERROR) as usize]);
        let count = if class.is_some() { 0 } else { count as usize };
        let words = table[item * capacity * 2..][..count * 2].chunks_exact(2);
        ComponentsOf {
            table: class.map_or_else(|| Ok(words.map(Component::of_words).collect()), Err),
            count,
            labels: rows.flat_map(|row| row[..width].iter().map(|&l| (l != u16::MAX).then_some(l))).collect(),
        }
    };
    Ok((0..modes.len()).map(|m| (0..grids.len()).map(|n| one(m, n)).collect()).collect())
}

/// Lengths of tables that [`tables_batch`] tries, one after the other: the first holds all components of most grids, and a table
/// for the largest grids would be sixty times as much to move for all others.
const LENGTHS: [usize; 3] = [16, 128, CELLS];

/// The tables of many grids in several modes, on the host.
#[derive(Debug, Default)]
pub struct Tables {
    modes: usize,
    tries: Vec<Try>,
    /// Of every grid the try that it was found in, and its place there.
    places: Vec<(u8, u32)>,
}

/// Grids whose components fit into tables of one length.
#[derive(Debug)]
struct Try {
    grids: usize,
    capacity: usize,
    counts: Vec<u32>,
    table: Vec<u32>,
}

impl Tables {
    /// The components of a grid in a mode in canonical order, or the class of `objects`; nothing for places beyond.
    pub fn get(&self, mode: usize, grid: usize) -> Option<Result<Vec<Component>, ErrClass>> {
        let (of, place) = *self.places.get(grid).filter(|_| mode < self.modes)?;
        let found = &self.tries[usize::from(of)];
        let item = mode * found.grids + place as usize;
        let count = found.counts[item];
        if count & ERROR != 0 {
            return Some(Err(ErrClass::ALL[(count & !ERROR) as usize]));
        }
        let words = &found.table[item * found.capacity * 2..][..count as usize * 2];
        Some(Ok(words.chunks_exact(2).map(Component::of_words).collect()))
    }
}

/// The components of every grid in every mode as tables on the host, without labels. Most grids take one short table; those
/// with more components are done again with longer ones.
///
/// # Errors
/// As [`GridBatch::of_grids`] and [`components`], and when the device has no room for the labels of all of them at once (2 KiB
/// a grid and mode).
pub fn tables_batch<B: Components>(b: &B, grids: &[Grid], modes: &[Mode]) -> Result<Tables> {
    let mut all = Tables { modes: modes.len(), tries: Vec::new(), places: vec![(0, 0); grids.len()] };
    let mut left: Vec<usize> = (0..grids.len()).collect();
    for capacity in LENGTHS {
        if left.is_empty() {
            break;
        }
        let batch = if left.len() == grids.len() {
            GridBatch::of_grids(b, grids)?
        } else {
            GridBatch::of_grids(b, &left.iter().map(|&n| grids[n].clone()).collect::<Vec<_>>())?
        };
        let mut out = Labels::new(b, modes.len(), left.len(), capacity)?;
        components(b, &batch, modes, &mut out)?;
        let (counts, table) = (out.counts.to_vec(b)?, out.table.to_vec(b)?);
        let items = left.len();
        let longer = |place: usize| {
            let count = |m: usize| counts[m * items + place];
            (0..modes.len()).any(|m| count(m) & ERROR == 0 && count(m) as usize > capacity)
        };
        let of = all.tries.len() as u8;
        left.iter().enumerate().for_each(|(place, &n)| all.places[n] = (of, place as u32));
        left = left.iter().enumerate().filter(|&(place, _)| longer(place)).map(|(_, &n)| n).collect();
        all.tries.push(Try { grids: items, capacity, counts, table });
    }
    Ok(all)
}

/// The most, or least, frequent of some colours, the lowest of several.
pub(super) fn extreme_colour(colours: impl Iterator<Item = i8>, most: bool) -> Option<i8> {
    let mut counts = [0u32; 256];
    colours.for_each(|c| counts[(i32::from(c) + 128) as usize] += 1);
    let present = (0..256usize).filter(|&c| counts[c] > 0);
    let best = if most { present.rev().max_by_key(|&c| counts[c]) } else { present.min_by_key(|&c| counts[c]) };
    best.map(|c| (c as i32 - 128) as i8)
}

/// For each cell that is there its component's number in canonical order, and how many components there are.
pub(super) fn number(cells: &[u8], there: impl Fn(usize) -> bool, joined: Joined) -> (Vec<Option<u16>>, usize) {
    let mut parent: Vec<usize> = (0..CELLS).collect();
    fn find(parent: &mut [usize], mut x: usize) -> usize {
        while parent[x] != x {
            parent[x] = parent[parent[x]];
            x = parent[x];
        }
        x
    }
    let mut of_colour = [None; 256];
    for at in (0..CELLS).filter(|&at| there(at)) {
        let (i, j) = (at / SIDE, at % SIDE);
        let mut join = |other: usize| {
            let (a, b) = (find(&mut parent, at), find(&mut parent, other));
            parent[a.max(b)] = a.min(b);
        };
        let Joined::Neighbours { univalued, diagonal } = joined else {
            let first = of_colour[usize::from(cells[at])].get_or_insert(at);
            join(*first);
            continue;
        };
        for (di, dj) in [(0, 1), (1, 1), (1, 0), (1, SIDE - 1)] {
            // One to the left is the last column of the row above.
            if i < di || (dj == 1 && j == 0) || (dj > 1 && j == SIDE - 1) || (di == 1 && dj > 0 && !diagonal) {
                continue;
            }
            let other = if dj > 1 { at + 1 - SIDE } else { at - di * SIDE - dj };
            if there(other) && (!univalued || cells[other] == cells[at]) {
                join(other);
            }
        }
    }
    let roots: Vec<usize> = (0..CELLS).map(|at| find(&mut parent, at)).collect();
    let mut keys = vec![None; CELLS];
    for at in (0..CELLS).filter(|&at| there(at)) {
        let key = (cells[at] as i8, at);
        let best = keys[roots[at]].get_or_insert(key);
        *best = (*best).min(key);
    }
    let mut order: Vec<usize> = (0..CELLS).filter(|&at| keys[at].is_some()).collect();
    order.sort_by_key(|&root| keys[root]);
    let mut places = [0; CELLS];
    order.iter().enumerate().for_each(|(place, &root)| places[root] = place as u16);
    ((0..CELLS).map(|at| there(at).then(|| places[roots[at]])).collect(), order.len())
}

/// Which cells belong together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Joined {
    /// Cells that touch.
    Neighbours { univalued: bool, diagonal: bool },
    /// Cells of one colour.
    Colour,
}

impl Components for Cpu {
    fn components_unchecked(
        &self,
        p: ComponentsParams,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        labels: ViewMut<'_, Self, u16>,
        counts: ViewMut<'_, Self, u32>,
        table: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (sizes, cells) = (self.read(sizes)?, self.read(cells)?);
        let (labels, counts, table) = (self.write(labels)?, self.write(counts)?, self.write(table)?);
        let capacity = p.capacity as usize;
        let tables: Vec<&mut [u32]> = if capacity == 0 {
            counts.iter().map(|_| Default::default()).collect()
        } else {
            table.chunks_exact_mut(capacity * 2).collect()
        };
        let items = labels.par_chunks_exact_mut(CELLS).zip(counts).zip(tables).enumerate();
        items.for_each(|(item, ((labels, count), table))| {
            let (m, n) = (item / p.count as usize, item % p.count as usize);
            let mode = p.packed >> (4 * m) & 15;
            let (height, width) = (usize::from(sizes[2 * n]), usize::from(sizes[2 * n + 1]));
            let cells = &cells[n * CELLS..][..CELLS];
            let inside = |at: usize| at / SIDE < height && at % SIDE < width;
            let colours = (0..CELLS).filter(|&at| inside(at)).map(|at| cells[at] as i8);
            let background = extreme_colour(colours, true);
            let bare = mode & 1 != 0;
            let class = match background {
                None if bare => Some(2),
                _ => (height == 0).then_some(3),
            };
            if let Some(class) = class {
                *count = ERROR | class;
                labels[..height * SIDE].fill(u16::MAX);
                return;
            }
            let there = |at: usize| inside(at) && !(bare && background == Some(cells[at] as i8));
            let joined = Joined::Neighbours { univalued: mode & 4 != 0, diagonal: mode & 2 != 0 };
            let (places, found) = number(cells, there, joined);
            *count = found as u32;
            for (out, place) in labels[..height * SIDE].iter_mut().zip(&places) {
                *out = place.unwrap_or(u16::MAX);
            }
            let mut known: Vec<Option<Component>> = vec![None; found];
            for (at, place) in places.iter().enumerate().filter_map(|(at, place)| Some((at, (*place)?))) {
                let (here, colour) = (((at / SIDE) as u8, (at % SIDE) as u8), cells[at] as i8);
                let c = known[usize::from(place)].get_or_insert(Component {
                    colour,
                    size: 0,
                    first: here,
                    upper_left: here,
                    lower_right: here,
                });
                (c.colour, c.first) = (c.colour, c.first).min((colour, here));
                c.size += 1;
                c.upper_left.1 = c.upper_left.1.min(here.1);
                c.lower_right = (here.0, c.lower_right.1.max(here.1));
            }
            for (c, words) in known.iter().flatten().zip(table.chunks_exact_mut(2)) {
                let first = u32::from(c.first.0) * SIDE as u32 + u32::from(c.first.1);
                words[0] = u32::from(c.colour as u8) | u32::from(c.size) << 8 | first << 19;
                let [top, left] = [c.upper_left.0, c.upper_left.1];
                words[1] = u32::from_le_bytes([top, left, c.lower_right.0, c.lower_right.1]);
            }
        });
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Components for gpu_core::Cuda {
    fn components_unchecked(
        &self,
        p: ComponentsParams,
        sizes: View<'_, Self, u8>,
        cells: View<'_, Self, u8>,
        mut labels: ViewMut<'_, Self, u16>,
        mut counts: ViewMut<'_, Self, u32>,
        mut table: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        // Grids with many components are left by the first kernel, whose warps have little memory and are many, to the second.
        for name in ["grid_components", "grid_components_many"] {
            let launch = self
                .kernel(&super::cuda::KERNELS, name)?
                .read(sizes)?
                .read(cells)?
                .write(labels.reborrow())?
                .write(counts.reborrow())?
                .write(table.reborrow())?
                .arg(p)
                .grid(super::cuda::warps(p.count as usize))
                .block(super::cuda::BLOCK);
            // SAFETY: void grid_components(const uchar* sizes, const uchar* cells, ushort* labels, uint* counts, uint*
            // table, ComponentsParams p), and grid_components_many alike; `components` has checked that all are for this
            // number of grids and modes.
            unsafe { launch.launch() }?;
        }
        Ok(())
    }
}
