//! Cells as bits of words, eight cells at a time.

/// Cells of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// Bytes that slices for [`Plane::compare`] have behind those that count.
pub(super) const SLACK: usize = WORD;

/// A bit for every cell of a grid, row by row, without gaps between rows.
#[derive(Debug, Default)]
pub(super) struct Plane(Vec<u64>);

impl Plane {
    /// Which of the first `n` bytes are equal. The slices are [`SLACK`] bytes longer.
    pub(super) fn compare(&mut self, a: &[u8], b: &[u8], n: usize) {
        let (a, b) = (a.as_chunks::<WORD>().0, b.as_chunks::<WORD>().0);
        let differences = |(a, b): (&[u8; WORD], &[u8; WORD])| {
            let eights = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
            word(eights.map(|(a, b)| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)))
        };
        self.set(n, a.iter().zip(b).map(differences));
    }

    /// Which of the first `n` bytes are this one. The slice is [`SLACK`] bytes longer.
    pub(super) fn find(&mut self, a: &[u8], byte: u8, n: usize) {
        let bytes = u64::from_le_bytes([byte; 8]);
        self.set(
            n,
            a.as_chunks::<WORD>()
                .0
                .iter()
                .map(|a| word(a.as_chunks::<8>().0.iter().map(|a| u64::from_le_bytes(*a) ^ bytes))),
        );
    }

    fn set(&mut self, n: usize, words: impl Iterator<Item = u64>) {
        self.0.clear();
        self.0.extend(words.take(n.div_ceil(WORD)));
        self.0.push(0);
    }

    /// `n` cells from one on, 1 to [`WORD`], the first lowest.
    #[inline]
    pub(super) fn cells(&self, begin: usize, n: usize) -> u64 {
        let (at, shift) = (begin / WORD, begin % WORD);
        (self.0[at] >> shift | self.0[at + 1] << 1 << (WORD - 1 - shift)) & first(n)
    }
}

/// Which bytes of eight times eight are zero, the first lowest.
#[inline]
fn word(eights: impl DoubleEndedIterator<Item = u64>) -> u64 {
    eights.rev().fold(0, |word, eight| word << 8 | zeros(eight))
}

/// Which of eight bytes are zero, the first lowest.
#[inline]
fn zeros(bytes: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let highest = !(((bytes & LOW) + LOW) | bytes | LOW);
    // Moves the bit of byte k to bit 56 + k; no two partial products meet.
    (highest >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Places of the bits of a mask.
#[inline]
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        place
    })
}

/// Each cell's neighbour to the left, in the words of a row.
#[inline]
pub(super) fn from_left(row: &[u64], k: usize) -> u64 {
    row[k] << 1 | k.checked_sub(1).map_or(0, |before| row[before] >> (WORD - 1))
}

/// Each cell's neighbour to the right, in the words of a row.
#[inline]
pub(super) fn from_right(row: &[u64], k: usize) -> u64 {
    row[k] >> 1 | row.get(k + 1).map_or(0, |next| next << (WORD - 1))
}

/// The first `n` cells, 1 to [`WORD`].
#[inline]
pub(super) fn first(n: usize) -> u64 {
    u64::MAX >> (WORD - n)
}
