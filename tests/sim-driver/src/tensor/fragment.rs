//! How the elements of a matrix are spread over the lanes of a warp.
//!
//! With `group = lane >> 2` and `place = lane % 4`, the fragments of every
//! `mma` shape follow one scheme: the matrix is cut into tiles, a lane holds
//! `w` neighbouring elements of each tile, and the tiles follow each other
//! down the columns of tiles first.
//!
//! * A: tiles of 8 rows by `4 w` columns, `w` elements in a register; element
//!   `i` of a tile is (row `group`, column `place * w + i`).
//! * B: the same transposed: (row `place * w + i`, column `group`), tiles of
//!   `4 w` rows by 8 columns.
//! * C and D: tiles of 8 by 8, `w` = 2 whatever the type.
//!
//! The layout of a `wmma` fragment is free, and takes the same scheme. Where it
//! has more elements than the matrix gives each lane (`.f16` A and B always
//! have 8 registers), the distinct elements repeat; the first copy is used.

use super::types::{Elem, LANES, Register, Shape};

/// Which matrix of a product a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The left multiplicand, M x K.
    A,
    /// The right multiplicand, K x N.
    B,
    /// The accumulator going in, M x N.
    C,
    /// The result, M x N, laid out as C.
    D,
}

/// One matrix of a product as the lanes of a warp hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fragment {
    /// Shape of the whole product.
    pub(crate) shape: Shape,
    /// Which matrix it is.
    pub(crate) role: Role,
    /// Type of its elements.
    pub(crate) elem: Elem,
    registers: usize,
}

impl Fragment {
    /// The fragment of an `mma` operand.
    #[must_use]
    pub(crate) fn mma(shape: Shape, role: Role, elem: Elem) -> Self {
        let mut fragment = Self { shape, role, elem, registers: 0 };
        fragment.registers = fragment.distinct() / elem.per_register();
        fragment
    }

    /// The fragment of a `wmma` operand, or nothing where PTX has none such.
    #[must_use]
    pub(crate) fn wmma(shape: Shape, role: Role, elem: Elem) -> Option<Self> {
        let multiplicand = matches!(role, Role::A | Role::B);
        let fits = match shape.sizes() {
            (16, 16, 16) | (8, 32, 16) | (32, 8, 16) => match elem {
                Elem::Bf16 | Elem::S8 | Elem::U8 => multiplicand,
                Elem::F32 | Elem::S32 => !multiplicand,
                Elem::F16 => true,
                Elem::Tf32 | Elem::F64 => false,
            },
            (16, 16, 8) => elem == if multiplicand { Elem::Tf32 } else { Elem::F32 },
            (8, 8, 4) => elem == Elem::F64,
            _ => false,
        };
        let mut fragment = fits.then(|| Self::mma(shape, role, elem))?;
        if multiplicand && elem == Elem::F16 {
            fragment.registers = 8;
        }
        Some(fragment)
    }

    /// Rows of the matrix.
    #[must_use]
    pub(crate) const fn rows(&self) -> usize {
        match self.role {
            Role::B => self.shape.k,
            _ => self.shape.m,
        }
    }

    /// Columns of the matrix.
    #[must_use]
    pub(crate) const fn columns(&self) -> usize {
        match self.role {
            Role::A => self.shape.k,
            _ => self.shape.n,
        }
    }

    /// Number of registers (32-bit ones, or 64-bit ones for `.f64`) of a lane.
    #[must_use]
    pub(crate) const fn registers(&self) -> usize {
        self.registers
    }

    /// Number of elements of a lane, repeated ones included.
    #[must_use]
    pub(crate) const fn elements(&self) -> usize {
        self.registers * self.elem.per_register()
    }

    /// Number of different elements of a lane: the first ones of `elements`.
    #[must_use]
    pub(crate) const fn distinct(&self) -> usize {
        self.rows() * self.columns() / LANES
    }

    /// Row and column of an element of a lane.
    #[must_use]
    pub(crate) const fn place(&self, lane: usize, element: usize) -> (usize, usize) {
        let (row, column) = self.origin(element);
        let (group, along) = (lane >> 2, lane % 4 * self.width());
        match self.role {
            Role::B => (row + along, column + group),
            _ => (row + group, column + along),
        }
    }

    /// Number of neighbouring elements that a lane holds of a tile.
    const fn width(&self) -> usize {
        match self.role {
            Role::A | Role::B => self.elem.per_register(),
            Role::C | Role::D => 2,
        }
    }

    /// Row and column of an element of lane 0.
    const fn origin(&self, element: usize) -> (usize, usize) {
        let width = self.width();
        let element = element % self.distinct();
        let (tile, inner) = (element / width, element % width);
        if let Role::B = self.role {
            let tiles = self.rows() / (4 * width);
            (tile % tiles * 4 * width + inner, tile / tiles * 8)
        } else {
            let tiles = self.rows() / 8;
            (tile % tiles * 8, tile / tiles * 4 * width + inner)
        }
    }

    /// Index in the matrix by rows of an element in each of the lanes.
    pub(super) fn indices(&self, element: usize) -> impl Iterator<Item = usize> {
        let columns = self.columns();
        let (row, column) = self.origin(element);
        let (group, along) = match self.role {
            Role::B => (1, columns * self.width()),
            _ => (columns, self.width()),
        };
        let first = row * columns + column;
        (0..LANES).map(move |lane| first + (lane >> 2) * group + lane % 4 * along)
    }

    /// Row and column of every element of every lane: `places()[lane][element]`.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn places(&self) -> Vec<Vec<(usize, usize)>> {
        let lane = |lane| (0..self.elements()).map(|element| self.place(lane, element)).collect();
        (0..LANES).map(lane).collect()
    }

    /// Bits of an element of a lane, taken out of its register.
    ///
    /// # Panics
    /// Where `registers` has fewer registers than the fragment.
    #[must_use]
    pub(crate) const fn get(&self, registers: &[Register], lane: usize, element: usize) -> u64 {
        let (register, shift, mask) = self.position(element);
        registers[register][lane] >> shift & mask
    }

    /// Puts the bits of an element of a lane into its register, leaving the others.
    ///
    /// # Panics
    /// Where `registers` has fewer registers than the fragment.
    pub(crate) const fn set(&self, registers: &mut [Register], lane: usize, element: usize, bits: u64) {
        let (register, shift, mask) = self.position(element);
        let word = &mut registers[register][lane];
        *word = *word & !(mask << shift) | (bits & mask) << shift;
    }

    /// Register, shift and mask of an element.
    pub(super) const fn position(&self, element: usize) -> (usize, usize, u64) {
        let width = self.elem.per_register();
        let bytes = self.elem.bytes();
        let mask = u64::MAX >> (64 - 8 * bytes);
        (element / width, element % width * 8 * bytes, mask)
    }
}
