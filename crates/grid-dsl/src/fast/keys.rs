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

/// Sorts keys as bits: where they lie close together, as those of grids do, this takes a few steps a key. Says whether it
/// did.
fn sort_by_bits(keys: &mut Vec<u64>) -> bool {
    if keys.len() < FEW {
        return false;
    }
    let Some(mut bits) = Bits::around(std::iter::once(&keys[..]), 2 * keys.len()) else { return false };
    bits.add(keys);
    keys.clear();
    bits.write(keys);
    true
}

/// The union of sets of keys, so many altogether, unless they lie far apart.
pub(crate) fn union_by_bits<'k>(sets: impl Iterator<Item = &'k [u64]> + Clone, total: usize) -> Option<Vec<u64>> {
    let mut bits = Bits::around(sets.clone(), 2 * total)?;
    sets.for_each(|keys| bits.add(keys));
    let mut keys = Vec::new();
    bits.write(&mut keys);
    Some(keys)
}

/// A set of keys in a box of colours, rows and columns: a bit each, rows of whole words.
struct Bits {
    /// The least colour, row and column.
    low: [u64; 3],
    rows: u64,
    /// Words of a row.
    words: u64,
    masks: Vec<u64>,
}

impl Bits {
    /// Room for these keys; `None` without any, and where it takes more words than that.
    fn around<'k>(sets: impl Iterator<Item = &'k [u64]>, most: usize) -> Option<Self> {
        let (mut low, mut high) = ([u64::MAX; 3], [0; 3]);
        for &key in sets.flatten() {
            let parts = Self::parts(key);
            for (k, part) in parts.into_iter().enumerate() {
                (low[k], high[k]) = (low[k].min(part), high[k].max(part));
            }
        }
        let [colours, rows, columns] = std::array::from_fn(|k| high[k].wrapping_sub(low[k]).wrapping_add(1));
        let words = columns.div_ceil(u64::from(u64::BITS));
        let all = colours * rows * words;
        let fits = low[0] != u64::MAX && all <= most as u64;
        fits.then(|| Self { low, rows, words, masks: vec![0; all as usize] })
    }

    fn parts(key: u64) -> [u64; 3] {
        [key >> 32, key >> 16 & 0xffff, key & 0xffff]
    }

    fn add(&mut self, keys: &[u64]) {
        for &key in keys {
            let [colour, row, column] = Self::parts(key);
            let column = column - self.low[2];
            let row = (colour - self.low[0]) * self.rows + (row - self.low[1]);
            self.masks[(row * self.words + column / 64) as usize] |= 1 << (column % 64);
        }
    }

    /// Writes the keys in ascending order.
    fn write(self, keys: &mut Vec<u64>) {
        keys.reserve(self.masks.iter().map(|word| word.count_ones() as usize).sum());
        for (at, mut word) in (0..).zip(self.masks) {
            let (row, column) = (at / self.words, at % self.words * 64);
            let (colour, row) = (self.low[0] + row / self.rows, self.low[1] + row % self.rows);
            let first = colour << 32 | row << 16 | (self.low[2] + column);
            while word != 0 {
                keys.push(first + u64::from(word.trailing_zeros()));
                word &= word - 1;
            }
        }
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
            (40, 1, 4, 999, true),
            (40, 1, 4, 9999, false),
            (90, 3, 10, 30, true),
            (90, 256, 30, 30, false),
            (500, 10, 30, 30, true),
        ] {
            for low in [0, MIDDLE - 20, 2 * MIDDLE - 10_000] {
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
