//! What functions see of their arguments: numbers, locations, grids and patches, checked.

use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::{Function, Set, Value};

/// The number.
pub(crate) fn int(value: &Value) -> Result<i32> {
    value.as_int().ok_or(ErrClass::Type)
}

/// A value that may be compared with colours: a number, or the `None` that `index` gives outside of a grid.
pub(crate) fn colour(value: &Value) -> Result<&Value> {
    match value {
        Value::None => Ok(value),
        other => int(other).map(|_| value),
    }
}

/// A colour that is written: no `None` gets into a cell.
pub(crate) fn written(value: &Value) -> Result<Value> {
    int(value).map(|_| value.clone())
}

/// The location, in numbers that cannot overflow.
pub(crate) fn pair(value: &Value) -> Result<(i64, i64)> {
    value.as_pair().map(|(i, j)| (i64::from(i), i64::from(j))).ok_or(ErrClass::Type)
}

/// The elements of a container.
pub(crate) fn items(value: &Value) -> Result<&[Value]> {
    value.items().ok_or(ErrClass::Type)
}

/// The set.
pub(crate) fn set(value: &Value) -> Result<&Set> {
    match value {
        Value::Set(s) => Ok(s),
        _ => Err(ErrClass::Type),
    }
}

/// The function.
pub(crate) fn function(value: &Value) -> Result<&Function> {
    value.as_function().ok_or(ErrClass::Type)
}

/// A number, if it has 32 bits.
pub(crate) fn number(n: i64) -> Result<Value> {
    i32::try_from(n).map(Value::Int).map_err(|_| ErrClass::Overflow)
}

/// A location, if both numbers have 32 bits.
pub(crate) fn location(i: i64, j: i64) -> Result<Value> {
    Ok(Value::tuple(vec![number(i)?, number(j)?]))
}

/// The set of locations.
pub(crate) fn locations_set(m: &Machine, all: impl IntoIterator<Item = (i64, i64)>) -> Result<Value> {
    let items: Result<Vec<Value>> = all.into_iter().map(|(i, j)| location(i, j)).collect();
    m.set(items?)
}

/// A container of the kind of `like`: set or tuple.
pub(crate) fn rebuilt(m: &Machine, like: &Value, items: Vec<Value>) -> Result<Value> {
    match like {
        Value::Set(_) => m.set(items),
        _ => m.tuple(items),
    }
}

/// A container of some of the elements of `like`, in their order.
pub(crate) fn part(like: &Value, items: Vec<Value>) -> Value {
    match like {
        Value::Set(_) => Value::Set(Set::from_sorted(items)),
        _ => Value::tuple(items),
    }
}

/// A grid: equally long rows. Cells are not looked at: what is no number goes through as it is.
pub(crate) struct Grid<'a> {
    pub(crate) rows: Vec<&'a [Value]>,
    pub(crate) width: usize,
}

impl<'a> Grid<'a> {
    pub(crate) fn height(&self) -> usize {
        self.rows.len()
    }

    /// The cell at a location, if that is inside.
    pub(crate) fn at(&self, (i, j): (i64, i64)) -> Option<&'a Value> {
        let row = self.rows.get(usize::try_from(i).ok()?)?;
        row.get(usize::try_from(j).ok()?)
    }

    /// All cells with their locations, row by row.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (i64, i64, &'a Value)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, cell)| (i as i64, j as i64, cell)))
    }

    /// A copy of the rows, to write into.
    pub(crate) fn to_rows(&self) -> Vec<Vec<Value>> {
        self.rows.iter().map(|row| row.to_vec()).collect()
    }

    /// The grid with rows and columns exchanged.
    pub(crate) fn transposed(&self) -> Vec<Vec<Value>> {
        (0..self.width).map(|j| self.rows.iter().map(|row| row[j].clone()).collect()).collect()
    }
}

/// Reads a grid.
pub(crate) fn grid<'a>(m: &Machine, value: &'a Value) -> Result<Grid<'a>> {
    let (rows, width) = rows(value)?;
    m.sides(rows.len() as i64, width as i64)?;
    Ok(Grid { rows, width })
}

/// Reads a grid that must have a first row, for its length.
pub(crate) fn grid_with_width<'a>(m: &Machine, value: &'a Value) -> Result<Grid<'a>> {
    let grid = grid(m, value)?;
    if grid.rows.is_empty() { Err(ErrClass::Index) } else { Ok(grid) }
}

/// The elements of a tuple for functions that only move rows. Rows of different lengths are no grid.
pub(crate) fn stacked(value: &Value) -> Result<&[Value]> {
    let Value::Tuple(all) = value else { return Err(ErrClass::Type) };
    let mut lengths = all.iter().filter(|v| matches!(v, Value::Tuple(_))).filter_map(|v| v.items().map(<[_]>::len));
    let first = lengths.next();
    if lengths.all(|n| Some(n) == first) { Ok(all) } else { Err(ErrClass::Type) }
}

/// The rows of a tuple of equally long tuples, and their length; 0 without rows. Cells are not looked at.
pub(crate) fn rows(value: &Value) -> Result<(Vec<&[Value]>, usize)> {
    let Value::Tuple(rows) = value else { return Err(ErrClass::Type) };
    if !rows.iter().all(|row| matches!(row, Value::Tuple(_))) {
        return Err(ErrClass::Type);
    }
    let rows: Vec<&[Value]> = rows.iter().filter_map(Value::items).collect();
    let width = rows.first().map_or(0, |row| row.len());
    if rows.iter().all(|row| row.len() == width) { Ok((rows, width)) } else { Err(ErrClass::Type) }
}

/// What a patch consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Object,
    Indices,
}

/// A patch: the elements of a container of cells or of locations.
pub(crate) struct Patch<'a> {
    pub(crate) items: &'a [Value],
    pub(crate) kind: Kind,
}

/// Reads a patch. The first element decides whether it is an object; all others must be alike.
pub(crate) fn patch(value: &Value) -> Result<Patch<'_>> {
    let items = items(value)?;
    let kind = match items.first() {
        None => Kind::Empty,
        Some(first) if cell_at(first).is_some() => Kind::Object,
        Some(_) => Kind::Indices,
    };
    let alike = match kind {
        Kind::Empty => true,
        Kind::Object => items.iter().all(|v| cell_at(v).is_some()),
        Kind::Indices => items.iter().all(|v| v.as_pair().is_some()),
    };
    if alike { Ok(Patch { items, kind }) } else { Err(ErrClass::Type) }
}

/// The location of a cell, whose colour may be `None`: that comes from grids that `canvas` made of it.
fn cell_at(value: &Value) -> Option<(i32, i32)> {
    match value {
        Value::Tuple(t) => match &**t {
            [colour, at] if self::colour(colour).is_ok() => at.as_pair(),
            _ => None,
        },
        _ => None,
    }
}

impl Patch<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All locations, one an element.
    pub(crate) fn locations(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.items.iter().filter_map(|v| {
            let at = cell_at(v).or_else(|| v.as_pair())?;
            Some((i64::from(at.0), i64::from(at.1)))
        })
    }

    /// The locations that are different.
    pub(crate) fn distinct(&self) -> Vec<(i64, i64)> {
        let mut all: Vec<_> = self.locations().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The bounding box; none without elements.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.locations().fold(None, |bounds, (i, j)| {
            let b = bounds.unwrap_or(Bounds { top: i, bottom: i, left: j, right: j });
            Some(Bounds { top: b.top.min(i), bottom: b.bottom.max(i), left: b.left.min(j), right: b.right.max(j) })
        })
    }

    /// The bounding box of a patch that must have elements.
    pub(crate) fn some_bounds(&self) -> Result<Bounds> {
        self.bounds().ok_or(ErrClass::Empty)
    }
}

/// A bounding box, all sides inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) top: i64,
    pub(crate) bottom: i64,
    pub(crate) left: i64,
    pub(crate) right: i64,
}

impl Bounds {
    pub(crate) fn height(self) -> i64 {
        self.bottom - self.top + 1
    }

    pub(crate) fn width(self) -> i64 {
        self.right - self.left + 1
    }

    /// The middle: floor halves of the sides from the upper-left corner.
    pub(crate) fn center(self) -> (i64, i64) {
        (self.top + self.height() / 2, self.left + self.width() / 2)
    }

    /// The box that is larger by `by` on each side, with corners in order: thin boxes that shrink turn inside out.
    pub(crate) fn grown(self, by: i64) -> Self {
        let (top, bottom) = (self.top - by, self.bottom + by);
        let (left, right) = (self.left - by, self.right + by);
        Self { top: top.min(bottom), bottom: top.max(bottom), left: left.min(right), right: left.max(right) }
    }

    /// Every location inside, row by row.
    pub(crate) fn inside(self, m: &Machine) -> Result<impl Iterator<Item = (i64, i64)>> {
        m.room(self.height().saturating_mul(self.width()))?;
        Ok((self.top..=self.bottom).flat_map(move |i| (self.left..=self.right).map(move |j| (i, j))))
    }

    /// The perimeter, corners twice.
    pub(crate) fn perimeter(self, m: &Machine) -> Result<Vec<(i64, i64)>> {
        m.room(self.height().max(self.width()))?;
        let mut all = Vec::new();
        for i in self.top..=self.bottom {
            all.extend([(i, self.left), (i, self.right)]);
        }
        for j in self.left..=self.right {
            all.extend([(self.top, j), (self.bottom, j)]);
        }
        Ok(all)
    }
}
