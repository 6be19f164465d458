//! P4: components that are filtered, merged and written into a grid: the writing is done from the labels alone.

use super::dense::{CELL, Component, Dense, LOCATION};
use super::modes::{Mode, weight};
use super::{Read, Slot, absent, within_fuel};
use crate::dag::NodeId;
use crate::error::Limits;
use crate::prim::Prim;
use crate::value::{Function, Maker, Value};

/// A filter of components.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    /// `colorfilter` with the node of the colour.
    Colour(NodeId),
    /// `sizefilter` with the node of the size.
    Size(NodeId),
    /// `sfilter`, or `mfilter` as the last one, with the node of the function.
    Where(NodeId),
}

/// What happens to the union of what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// `toindices`
    Indices(NodeId),
    /// `recolor` with the node of the colour.
    Recolor(NodeId, NodeId),
}

/// From a call of `objects` to a grid.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) grid: NodeId,
    pub(super) objects: NodeId,
    pub(super) mode: Mode,
    pub(super) flags: u64,
    pub(super) filters: Vec<(NodeId, Filter)>,
    /// `merge`; none where the last filter is `mfilter`.
    pub(super) merge: Option<NodeId>,
    pub(super) between: Option<Between>,
    /// `fill`, `underfill`, `cover`, `paint` or `underpaint`.
    pub(super) sink: NodeId,
    pub(super) write: Prim,
    pub(super) canvas: NodeId,
    pub(super) colour: Option<NodeId>,
}

/// Functions of an object that are known without calling them.
enum Test {
    Colour(i32),
    Size(i32),
    Height(i32),
    Width(i32),
    Not(Box<Test>),
}

impl Test {
    /// What a function tests, if it is `matcher` of a known primitive and a number, or `flip` of that.
    fn read(value: &Value) -> Option<Self> {
        let Value::Fn(Function::Closure(closure)) = value else { return None };
        let prim = |value: &Value| match value {
            Value::Fn(Function::Prim(prim)) => Some(*prim),
            _ => None,
        };
        match (closure.maker(), closure.args()) {
            (Maker::Matcher, [f, Value::Int(n)]) => match prim(f)? {
                Prim::Color => Some(Self::Colour(*n)),
                Prim::Size => Some(Self::Size(*n)),
                Prim::Height => Some(Self::Height(*n)),
                Prim::Width => Some(Self::Width(*n)),
                _ => None,
            },
            (Maker::Compose, [outer, inner]) if prim(outer) == Some(Prim::Flip) => {
                Some(Self::Not(Box::new(Self::read(inner)?)))
            }
            _ => None,
        }
    }

    fn holds(&self, grid: &Dense, component: &Component) -> bool {
        match self {
            Self::Colour(n) => grid.colour(component) == *n,
            Self::Size(n) => component.cells.len() as i64 == i64::from(*n),
            Self::Height(n) => grid.extent(component).0 as i64 == i64::from(*n),
            Self::Width(n) => grid.extent(component).1 as i64 == i64::from(*n),
            Self::Not(test) => !test.holds(grid, component),
        }
    }

    /// No call of the test on one object uses more than its weight and this, for each level of `flip` once.
    fn fuel(&self) -> u64 {
        match self {
            Self::Not(test) => 8 + test.fuel(),
            _ => 8,
        }
    }
}

fn number(read: &Read, node: NodeId) -> Option<i32> {
    match read(node).ok()? {
        Value::Int(n) => Some(*n),
        _ => None,
    }
}

impl Region {
    /// Fuel is counted from above where the exact count would need the objects: programs that come near to what they may
    /// use run again, alone.
    pub(super) fn run(&self, read: &Read, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
        let source = read(self.grid).ok()?;
        let grid = Dense::read(source, limits)?;
        let background = grid.background();
        let mut all = grid.components(self.mode.univalued, self.mode.diagonal, self.mode.bare.then_some(background));
        let made = weight(all.iter());
        if all.len() > limits.elements || made > u64::from(limits.weight) || limits.nesting < 4 {
            return None;
        }
        let mut slots = vec![(self.objects, absent(1 + u64::from(source.weight()) + self.flags + made))];
        for (node, filter) in &self.filters {
            let before = weight(all.iter());
            let extra = match filter {
                Filter::Colour(at) => {
                    let colour = number(read, *at)?;
                    all.retain(|c| grid.colour(c) == colour);
                    1
                }
                Filter::Size(at) => {
                    let size = number(read, *at)?;
                    all.retain(|c| c.cells.len() as i64 == i64::from(size));
                    1
                }
                Filter::Where(at) => {
                    let function = read(*at).ok()?;
                    let test = Test::read(function)?;
                    let calls = before + test.fuel() * all.len() as u64;
                    all.retain(|c| test.holds(&grid, c));
                    u64::from(function.weight()) + calls
                }
            };
            slots.push((*node, absent(1 + before + extra + before)));
        }
        let cells = all.iter().map(|c| c.cells.len()).sum::<usize>();
        let union = 1 + CELL * cells as u64;
        if cells > limits.elements {
            return None;
        }
        slots.extend(self.merge.map(|node| (node, absent(1 + weight(all.iter()) + union))));
        let mut patch = union;
        let mut paint = None;
        match self.between {
            Some(Between::Indices(node)) => {
                patch = 1 + LOCATION * cells as u64;
                slots.push((node, absent(1 + union + patch)));
            }
            Some(Between::Recolor(node, at)) => {
                paint = Some(number(read, at)?);
                slots.push((node, absent(2 + 2 * union)));
            }
            None => {}
        }
        let canvas = read(self.canvas).ok()?;
        let target = Dense::read(canvas, limits)?;
        if let Some(at) = self.colour {
            paint = Some(number(read, at)?);
        }
        let most = target.background();
        let under = matches!(self.write, Prim::Underfill | Prim::Underpaint).then_some(most);
        if self.write == Prim::Cover {
            paint = Some(most);
        }
        let positions = all.iter().flat_map(|c| &c.cells).map(|&at| at as usize);
        let writes = positions.map(|at| (at / grid.width, at % grid.width, paint.unwrap_or(grid.cells[at])));
        let value = written(canvas, target, writes, under);
        slots.push((self.sink, (Ok(value), 2 + 2 * u64::from(canvas.weight()) + patch)));
        within_fuel(slots, limits)
    }
}

/// The grid with numbers written, over one colour only if it is given. Rows that stay are shared.
fn written(
    canvas: &Value,
    mut target: Dense,
    writes: impl Iterator<Item = (usize, usize, i32)>,
    only: Option<i32>,
) -> Value {
    let mut changed = vec![false; target.height];
    for (i, j, new) in writes {
        if i >= target.height || j >= target.width {
            continue;
        }
        let cell = &mut target.cells[i * target.width + j];
        if *cell != new && only.is_none_or(|only| *cell == only) {
            *cell = new;
            changed[i] = true;
        }
    }
    let rows = target.cells.chunks(target.width).zip(canvas.items().unwrap_or_default()).zip(changed);
    let row = |((cells, old), changed): ((&[i32], &Value), bool)| {
        if changed { Value::tuple(cells.iter().map(|&c| Value::Int(c)).collect()) } else { old.clone() }
    };
    Value::tuple(rows.map(row).collect())
}
