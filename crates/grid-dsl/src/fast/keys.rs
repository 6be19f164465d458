//! Sets of locations and of cells as ascending keys.

use std::sync::OnceLock;

use super::val::Val;

/// Cells or locations as ascending keys: colour, row, column, each above its least value.
#[derive(Debug)]
pub(crate) struct Patch {
    pub(crate) keys: Vec<u64>,
    /// Cells with colours, or locations alone.
    pub(crate) object: bool,
    /// The bounding box, once it was asked for.
    bounds: OnceLock<Bounds>,
}

/// What is added to rows and columns in keys: the order of keys is that of numbers.
pub(crate) const MIDDLE: i32 = 0x8000;
/// The bits of a key that are the location.
pub(crate) const PLACE: u64 = 0xffff_ffff;

/// The key of a location, without a colour.
pub(crate) fn place(i: i32, j: i32) -> Option<u64> {
    let range = -MIDDLE..MIDDLE;
    (range.contains(&i) && range.contains(&j)).then(|| (((i + MIDDLE) as u64) << 16) | (j + MIDDLE) as u64)
}

/// The bits that a colour adds to the key of a location.
pub(crate) fn tint(colour: i32) -> Option<u64> {
    (-128..128).contains(&colour).then(|| ((colour + 128) as u64) << 32)
}

/// The location of a key.
pub(crate) fn at(key: u64) -> (i32, i32) {
    (((key >> 16) & 0xffff) as i32 - MIDDLE, (key & 0xffff) as i32 - MIDDLE)
}

/// The colour of a cell's key.
pub(crate) fn colour_of(key: u64) -> i32 {
    (key >> 32) as i32 - 128
}

impl Patch {
    /// Keys that are ascending and different, and at least one.
    pub(super) fn new(keys: Vec<u64>, object: bool) -> Self {
        Self { keys, object, bounds: OnceLock::new() }
    }

    /// What a key stands for.
    pub(crate) fn element(&self, key: u64) -> Val {
        let (i, j) = at(key);
        if self.object { Val::Cell(colour_of(key), i, j) } else { Val::Pair(i, j) }
    }

    /// The keys' smallest and largest rows and columns. A patch is never empty.
    pub(crate) fn bounds(&self) -> Bounds {
        *self.bounds.get_or_init(|| self.find_bounds())
    }

    fn find_bounds(&self) -> Bounds {
        let (mut top, mut bottom, mut left, mut right) = (u64::MAX, 0, u64::MAX, 0);
        for &key in &self.keys {
            let (i, j) = ((key >> 16) & 0xffff, key & 0xffff);
            top = top.min(i);
            bottom = bottom.max(i);
            left = left.min(j);
            right = right.max(j);
        }
        let number = |n: u64| n as i32 - MIDDLE;
        Bounds { top: number(top), bottom: number(bottom), left: number(left), right: number(right) }
    }

    /// Locations, each once.
    pub(crate) fn places(&self) -> std::borrow::Cow<'_, [u64]> {
        if self.object {
            let mut places: Vec<u64> = self.keys.iter().map(|key| key & PLACE).collect();
            sort_keys(&mut places);
            places.into()
        } else {
            self.keys.as_slice().into()
        }
    }
}

/// Sorts keys and leaves each once.
pub(crate) fn sort_keys(keys: &mut Vec<u64>) {
    if !keys.is_sorted_by(|a, b| a < b) {
        keys.sort_unstable();
        keys.dedup();
    }
}

/// A bounding box, all sides inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) top: i32,
    pub(crate) bottom: i32,
    pub(crate) left: i32,
    pub(crate) right: i32,
}

impl Bounds {
    pub(crate) fn height(self) -> i32 {
        self.bottom - self.top + 1
    }

    pub(crate) fn width(self) -> i32 {
        self.right - self.left + 1
    }

    pub(crate) fn center(self) -> (i32, i32) {
        (self.top + self.height() / 2, self.left + self.width() / 2)
    }
}
