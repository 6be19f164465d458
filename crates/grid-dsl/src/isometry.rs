//! The eight turns and mirrors of a grid, as a group.

use serde::{Deserialize, Serialize};

use crate::prim::Prim;

/// A turn or a mirror of grids. Names are those of the primitives; the number is what devices read: 1 reverses the columns
/// that are read, 2 the rows, 4 then exchanges both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Isometry {
    /// As it is.
    Identity = 0,
    /// A quarter turn clockwise.
    Rot90 = 6,
    /// A half turn.
    Rot180 = 3,
    /// A quarter turn counter-clockwise.
    Rot270 = 5,
    /// Up and down exchanged.
    Hmirror = 2,
    /// Left and right exchanged.
    Vmirror = 1,
    /// Rows and columns exchanged.
    Dmirror = 4,
    /// Mirrored at the other diagonal.
    Cmirror = 7,
}

impl Isometry {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Rot90,
        Self::Rot180,
        Self::Rot270,
        Self::Hmirror,
        Self::Vmirror,
        Self::Dmirror,
        Self::Cmirror,
    ];

    /// The primitive's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Rot90 => "rot90",
            Self::Rot180 => "rot180",
            Self::Rot270 => "rot270",
            Self::Hmirror => "hmirror",
            Self::Vmirror => "vmirror",
            Self::Dmirror => "dmirror",
            Self::Cmirror => "cmirror",
        }
    }

    /// The isometry of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isometry| isometry.name() == name)
    }

    /// The isometry that a primitive is on grids.
    pub fn of(prim: Prim) -> Option<Self> {
        Self::by_name(prim.name())
    }

    /// Whether rows and columns are exchanged, then rows reversed, then columns reversed: of the place that is read.
    const fn bits(self) -> (bool, bool, bool) {
        match self {
            Self::Identity => (false, false, false),
            Self::Rot90 => (true, false, true),
            Self::Rot180 => (false, true, true),
            Self::Rot270 => (true, true, false),
            Self::Hmirror => (false, true, false),
            Self::Vmirror => (false, false, true),
            Self::Dmirror => (true, false, false),
            Self::Cmirror => (true, true, true),
        }
    }

    const fn from_bits(bits: (bool, bool, bool)) -> Self {
        match bits {
            (false, false, false) => Self::Identity,
            (true, false, true) => Self::Rot90,
            (false, true, true) => Self::Rot180,
            (true, true, false) => Self::Rot270,
            (false, true, false) => Self::Hmirror,
            (false, false, true) => Self::Vmirror,
            (true, false, false) => Self::Dmirror,
            (true, true, true) => Self::Cmirror,
        }
    }

    /// First this, then the next.
    #[must_use]
    pub const fn then(self, next: Self) -> Self {
        let ((t1, i1, j1), (t2, i2, j2)) = (self.bits(), next.bits());
        // The next one's reversals come first on the way from a place in the result back to the place that is read.
        if t2 { Self::from_bits((!t1, i2 ^ j1, j2 ^ i1)) } else { Self::from_bits((t1, i2 ^ i1, j2 ^ j1)) }
    }

    /// What takes it back.
    #[must_use]
    pub const fn inverse(self) -> Self {
        match self {
            Self::Rot90 => Self::Rot270,
            Self::Rot270 => Self::Rot90,
            other => other,
        }
    }

    /// Whether height and width are exchanged.
    pub const fn turns(self) -> bool {
        self.bits().0
    }

    /// Writes the image of `height * width` cells.
    ///
    /// # Panics
    ///
    /// If there are fewer cells in `from` or `to`.
    pub fn copy<T: Copy>(self, from: &[T], (height, width): (usize, usize), to: &mut [T]) {
        let (turned, rows, columns) = self.bits();
        let (h, w) = if turned { (width, height) } else { (height, width) };
        let (down, right) = if turned { (1, width) } else { (width, 1) };
        for i in 0..h {
            let a = if rows { h - 1 - i } else { i };
            let line = &mut to[i * w..][..w];
            for (j, cell) in line.iter_mut().enumerate() {
                let b = if columns { w - 1 - j } else { j };
                *cell = from[a * down + b * right];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use crate::{Limits, Machine};

    fn primitive(isometry: Isometry, grid: &Value) -> Value {
        let prim = Prim::by_name(isometry.name()).unwrap();
        Machine::new(&Limits::default()).prim(prim, std::slice::from_ref(grid)).unwrap()
    }

    #[test]
    fn they_are_the_primitives_and_a_group() {
        let grid = Value::grid([[0, 1, 2], [3, 4, 5]]);
        for a in Isometry::ALL {
            let mut to = [0; 6];
            a.copy(&[0, 1, 2, 3, 4, 5], (2, 3), &mut to);
            let width = if a.turns() { 2 } else { 3 };
            assert_eq!(Value::grid(to.chunks(width)), primitive(a, &grid), "{a:?}");
            assert_eq!(a.then(a.inverse()), Isometry::Identity);
            let (turned, rows, columns) = a.bits();
            let (high, low) = if turned { (columns, rows) } else { (rows, columns) };
            assert_eq!(a as u8, 4 * u8::from(turned) + 2 * u8::from(high) + u8::from(low), "{a:?}");
            for b in Isometry::ALL {
                let twice = primitive(b, &primitive(a, &grid));
                assert_eq!(primitive(a.then(b), &grid), twice, "{a:?} then {b:?}");
            }
        }
    }
}
