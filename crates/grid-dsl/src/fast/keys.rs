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
    if !keys.is_sorted_by(|a, b| a < b) && !sort_by_bits(keys) {
        keys.sort_unstable();
        keys.dedup();
    }
}

/// Fewer keys are sorted sooner by comparing them.
const FEW: usize = 16;

/// Sorts keys as bits, a word for every row of every colour: where they lie close together, as those of grids do, this takes
/// a few steps a key. Says whether it did.
fn sort_by_bits(keys: &mut Vec<u64>) -> bool {
    if keys.len() < FEW {
        return false;
    }
    let parts = |key: u64| [key >> 32, key >> 16 & 0xffff, key & 0xffff];
    let (mut low, mut high) = (parts(keys[0]), parts(keys[0]));
    for &key in keys.iter() {
        let [colour, row, column] = parts(key);
        low = [low[0].min(colour), low[1].min(row), low[2].min(column)];
        high = [high[0].max(colour), high[1].max(row), high[2].max(column)];
    }
    let [colours, rows, columns] = [high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1];
    if columns > u64::from(u64::BITS) || colours * rows > 2 * keys.len() as u64 {
        return false;
    }
    let mut words = vec![0u64; (colours * rows) as usize];
    for &key in keys.iter() {
        let [colour, row, column] = parts(key);
        words[((colour - low[0]) * rows + (row - low[1])) as usize] |= 1 << (column - low[2]);
    }
    keys.clear();
    let mut words = words.into_iter();
    for colour in low[0]..=high[0] {
        for (mut word, row) in words.by_ref().take(rows as usize).zip(low[1]..) {
            let first = colour << 32 | row << 16 | low[2];
            while word != 0 {
                keys.push(first + u64::from(word.trailing_zeros()));
                word &= word - 1;
            }
        }
    }
    true
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Close together and far apart, few and many, with colours and without, twice and once.
    #[test]
    fn keys_are_sorted_by_bits_as_by_comparing() {
        let mut state = 7u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for (n, colours, rows, columns, by_bits) in [
            (15, 1, 9, 9, false),
            (40, 1, 4, 64, true),
            (40, 1, 4, 999, false),
            (90, 3, 10, 30, true),
            (90, 256, 30, 30, false),
            (500, 10, 30, 30, true),
        ] {
            for low in [0, MIDDLE - 20, 2 * MIDDLE - 1000] {
                let mut key = || next(colours) << 32 | (low as u64 + next(rows)) << 16 | (low as u64 + next(columns));
                let mut keys: Vec<u64> = (0..n).map(|_| key()).collect();
                let mut expected = keys.clone();
                expected.sort_unstable();
                expected.dedup();
                sort_keys(&mut keys);
                assert_eq!(keys, expected, "{n} keys of {colours} colours from {low}");
                assert_eq!(sort_by_bits(&mut keys), by_bits, "{n} keys of {colours} colours from {low}");
                assert_eq!(keys, expected);
            }
        }
    }
}
