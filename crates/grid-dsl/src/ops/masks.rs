//! Cells as bits of words.

use wide::u8x64;

/// Cells of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// Bytes that slices for [`Plane::compare`] have behind those that count.
pub(super) const SLACK: usize = WORD;

/// A bit for every cell of a grid, row by row, without gaps between rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Plane(Vec<u64>);

impl Plane {
    /// Which of the first `n` bytes are equal. The slices are [`SLACK`] bytes longer.
    #[inline(always)]
    pub(super) fn compare(&mut self, a: &[u8], b: &[u8], n: usize) {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        self.set(n, a.iter().zip(b).map(|(a, b)| equal(*a, u8x64::new(*b))));
    }

    /// Which of the first `n` bytes are this one. The slice is [`SLACK`] bytes longer.
    #[inline(always)]
    pub(super) fn find(&mut self, a: &[u8], byte: u8, n: usize) {
        let byte = u8x64::splat(byte);
        self.set(n, a.as_chunks().0.iter().map(|a| equal(*a, byte)));
    }

    #[inline(always)]
    fn set(&mut self, n: usize, words: impl Iterator<Item = u64>) {
        self.0.clear();
        self.0.extend(words.take(n.div_ceil(WORD)));
        self.0.push(0);
    }

    /// `n` cells from one on, 1 to [`WORD`], the first lowest.
    #[inline(always)]
    pub(super) fn cells(&self, begin: usize, n: usize) -> u64 {
        let (at, shift) = (begin / WORD, begin % WORD);
        (self.0[at] >> shift | self.0[at + 1] << 1 << (WORD - 1 - shift)) & first(n)
    }
}

/// Which bytes are equal, the first lowest.
#[inline(always)]
fn equal(a: [u8; WORD], b: u8x64) -> u64 {
    u8x64::new(a).simd_eq(b).to_bitmask()
}

/// Places of the bits of a mask.
#[inline(always)]
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        place
    })
}

/// Each cell's neighbour to the left, in the words of a row.
#[inline(always)]
pub(super) fn from_left(row: &[u64], k: usize) -> u64 {
    row[k] << 1 | k.checked_sub(1).map_or(0, |before| row[before] >> (WORD - 1))
}

/// Each cell's neighbour to the right, in the words of a row.
#[inline(always)]
pub(super) fn from_right(row: &[u64], k: usize) -> u64 {
    row[k] >> 1 | row.get(k + 1).map_or(0, |next| next << (WORD - 1))
}

/// The first `n` cells, 1 to [`WORD`].
#[inline(always)]
pub(super) fn first(n: usize) -> u64 {
    u64::MAX >> (WORD - n)
}
