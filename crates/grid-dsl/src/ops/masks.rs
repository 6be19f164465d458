//! Cells as bits of words.

use wide::u8x64;

/// Cells of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// Bytes that slices for [`Plane::compare`] and [`Plane::others`] have behind those that count.
pub(super) const SLACK: usize = WORD;

/// A bit for every cell of a grid, row by row, without gaps between rows, and a word behind the last; bits behind the last cell
/// are 0, but for [`set_every`](Self::set_every).
#[derive(Clone, Debug, Default)]
pub(super) struct Plane(Vec<u64>);

impl Plane {
    /// Which of the first `n` bytes are equal. The slices are [`SLACK`] bytes longer.
    #[inline(always)]
    pub(super) fn compare(&mut self, a: &[u8], b: &[u8], n: usize) {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        self.set(n, a.iter().zip(b).map(|(a, b)| equal(*a, u8x64::new(*b))));
    }

    /// Which of the first `n` bytes are not this one. The slice is [`SLACK`] bytes longer.
    #[inline(always)]
    pub(super) fn others(&mut self, a: &[u8], byte: u8, n: usize) {
        let byte = u8x64::splat(byte);
        self.set(n, a.as_chunks().0.iter().map(|a| !equal(*a, byte)));
    }

    /// The first `n` cells from words.
    #[inline(always)]
    pub(super) fn set(&mut self, n: usize, words: impl Iterator<Item = u64>) {
        self.0.clear();
        self.0.extend(words.take(n.div_ceil(WORD)));
        if let (Some(last), rest @ 1..) = (self.0.last_mut(), n % WORD) {
            *last &= first(rest);
        }
        self.0.push(0);
    }

    /// Every `step`-th of `n` cells, and the one behind them.
    #[inline(always)]
    pub(super) fn set_every(&mut self, step: usize, n: usize) {
        self.0.clear();
        self.0.resize(n / WORD + 2, 0);
        for at in (0..=n).step_by(step.max(1)) {
            self.0[at / WORD] |= 1 << (at % WORD);
        }
    }

    /// Without the first `n` cells.
    #[inline(always)]
    pub(super) fn clear_first(&mut self, n: usize) {
        let whole = n / WORD;
        self.0[..whole].fill(0);
        self.0[whole] &= u64::MAX << (n % WORD);
    }

    /// A word of cells.
    #[inline(always)]
    pub(super) fn word(&self, k: usize) -> u64 {
        self.0[k]
    }

    /// For each cell of a word the one that is so many before, over the ends of rows too; 0 before the first.
    #[inline(always)]
    pub(super) fn before(&self, k: usize, by: usize) -> u64 {
        let (whole, shift) = (by / WORD, by % WORD);
        let word = |back: usize| k.checked_sub(back).map_or(0, |k| self.0[k]);
        word(whole) << shift | word(whole + 1) >> 1 >> (WORD - 1 - shift)
    }

    /// For each cell of a word the next one, over the ends of rows too.
    #[inline(always)]
    pub(super) fn next(&self, k: usize) -> u64 {
        self.0[k] >> 1 | self.0[k + 1] << (WORD - 1)
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

/// The first `n` cells, 1 to [`WORD`].
#[inline(always)]
pub(super) fn first(n: usize) -> u64 {
    u64::MAX >> (WORD - n)
}
