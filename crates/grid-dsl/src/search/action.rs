//! What operations do, as a table of kinds and parameters that the host and devices share.

use std::ops::Range;

use super::grid::Small;
use super::parts;
use crate::isometry::Isometry;

/// Rows or columns of a grid, from their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    All,
    /// The first so many.
    First(u8),
    Last,
    WithoutFirst,
    WithoutLast,
    FirstHalf,
    LastHalf,
    Inner,
    /// The first, or the last, of so many parts.
    FirstOf(u8),
    LastOf(u8),
}

impl Span {
    fn range(self, n: usize) -> Range<usize> {
        let part = |of: u8, at: u8| {
            let (of, at) = (usize::from(of), usize::from(at));
            let from = (at * (n / of + usize::from(!n.is_multiple_of(of)))).min(n);
            from..(from + n / of).min(n)
        };
        match self {
            Self::All => 0..n,
            Self::First(k) => 0..n.min(k.into()),
            Self::Last => n - 1..n,
            Self::WithoutFirst => 1..n,
            Self::WithoutLast => 0..n - 1,
            Self::FirstHalf => 0..n / 2,
            Self::LastHalf => n.div_ceil(2)..n,
            Self::Inner => 1..n.max(2) - 1,
            Self::FirstOf(of) => part(of, 0),
            Self::LastOf(of) => part(of, of - 1),
        }
    }

    /// The kind, and from bit 4 on its number.
    fn code(self) -> u8 {
        match self {
            Self::All => 0,
            Self::First(k) => 1 | k << 4,
            Self::Last => 2,
            Self::WithoutFirst => 3,
            Self::WithoutLast => 4,
            Self::FirstHalf => 5,
            Self::LastHalf => 6,
            Self::Inner => 7,
            Self::FirstOf(of) => 8 | of << 4,
            Self::LastOf(of) => 9 | of << 4,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        let n = code >> 4;
        Some(match code & 15 {
            0 => Self::All,
            1 => Self::First(n),
            2 => Self::Last,
            3 => Self::WithoutFirst,
            4 => Self::WithoutLast,
            5 => Self::FirstHalf,
            6 => Self::LastHalf,
            7 => Self::Inner,
            8 if n > 0 => Self::FirstOf(n),
            9 if n > 0 => Self::LastOf(n),
            _ => return None,
        })
    }
}

/// A colour by its number, or by how often it is in a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    Colour(u8),
    Most,
    Least,
}

impl Pick {
    fn of(self, g: &Small) -> u8 {
        match self {
            Self::Colour(c) => c,
            Self::Most => g.most(),
            Self::Least => g.least(),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Colour(c) => c,
            Self::Most => 10,
            Self::Least => 11,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0..=9 => Self::Colour(code),
            10 => Self::Most,
            11 => Self::Least,
            _ => return None,
        })
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Turn(Isometry),
    /// Some rows and columns.
    Part(Span, Span),
    /// Each row, and each column, so many times.
    Scale(u8, u8),
    /// One row and column of so many.
    Thin(u8),
    /// The grid so many times one below the other, or side by side.
    Repeat(u8, u8),
    /// The grid and its mirror image.
    Join {
        beside: bool,
        vmirror: bool,
        mirror_first: bool,
    },
    /// The box of the largest or smallest object.
    Object {
        univalued: bool,
        diagonal: bool,
        largest: bool,
    },
    WithoutSingles {
        diagonal: bool,
    },
    /// The box of what is not of the most frequent colour.
    Foreground,
    /// One colour becomes another.
    Replace(Pick, u8),
    /// What is not of a colour becomes 0.
    Keep(u8),
    /// The box of a colour is filled with it.
    FillBox(u8),
    /// The box of a colour.
    CropTo(Pick),
    SwitchMostAndLeast,
    OneCell(Pick),
    Everywhere(Pick),
    Compress,
    /// Without rows, or columns, that were there before.
    Dedupe {
        rows: bool,
    },
    /// Where both halves agree.
    Agree {
        beside: bool,
    },
}

impl Action {
    /// Writes the image of a grid; nothing where there is none, or none that fits.
    pub(crate) fn apply(self, g: &Small, to: &mut Small) -> Option<()> {
        let (h, w) = (g.height(), g.width());
        match self {
            Self::Turn(isometry) => {
                let (height, width) = if isometry.turns() { (w, h) } else { (h, w) };
                isometry.copy(g.cells(), (h, w), to.reshape(height, width)?.cells_mut());
                Some(())
            }
            Self::Part(rows, columns) => to.part(g, rows.range(h), columns.range(w)),
            Self::Scale(down, right) => {
                let (down, right) = (usize::from(down), usize::from(right));
                to.build(down * h, right * w, |i, j| g.at(i / down, j / right))
            }
            Self::Thin(n) => {
                let n = usize::from(n);
                to.build(h.div_ceil(n), w.div_ceil(n), |i, j| g.at(n * i, n * j))
            }
            Self::Repeat(down, right) => {
                to.build(usize::from(down) * h, usize::from(right) * w, |i, j| g.at(i % h, j % w))
            }
            Self::Join { beside, vmirror, mirror_first } => {
                let (rows, columns) = if beside { (h, 2 * w) } else { (2 * h, w) };
                to.build(rows, columns, |i, j| {
                    let second = if beside { j >= w } else { i >= h };
                    match (i % h, j % w) {
                        (i, j) if second == mirror_first => g.at(i, j),
                        (i, j) if vmirror => g.at(i, w - 1 - j),
                        (i, j) => g.at(h - 1 - i, j),
                    }
                })
            }
            Self::Object { univalued, diagonal, largest } => parts::object(g, to, univalued, diagonal, largest),
            Self::WithoutSingles { diagonal } => {
                parts::without_singles(g, to, diagonal);
                Some(())
            }
            Self::Foreground => {
                let most = g.most();
                parts::crop_where(g, to, |c| c != most)
            }
            Self::Replace(pick, new) => {
                let old = pick.of(g);
                parts::recolour(g, to, |c| if c == old { new } else { c })
            }
            Self::Keep(colour) => parts::recolour(g, to, |c| if c == colour { c } else { 0 }),
            Self::FillBox(colour) => {
                parts::filled_box(g, to, colour);
                Some(())
            }
            Self::CropTo(pick) => {
                let colour = pick.of(g);
                parts::crop_where(g, to, |c| c == colour)
            }
            Self::SwitchMostAndLeast => {
                let (most, least) = (g.most(), g.least());
                parts::recolour(g, to, |c| match c {
                    _ if c == most => least,
                    _ if c == least => most,
                    _ => c,
                })
            }
            Self::OneCell(pick) => to.build(1, 1, |_, _| pick.of(g)),
            Self::Everywhere(pick) => {
                let colour = pick.of(g);
                to.build(h, w, |_, _| colour)
            }
            Self::Compress => parts::compress(g, to),
            Self::Dedupe { rows } => parts::dedupe(g, to, rows),
            Self::Agree { beside } => {
                let (rows, columns) = if beside { (h, w / 2) } else { (h / 2, w) };
                let (down, right) = if beside { (0, w.div_ceil(2)) } else { (h.div_ceil(2), 0) };
                to.build(rows, columns, |i, j| if g.at(i, j) == g.at(i + down, j + right) { g.at(i, j) } else { 0 })
            }
        }
    }

    /// Rows and columns of an image, where they are those of a grid of so many alone.
    pub(crate) fn sides(self, h: usize, w: usize) -> Option<(usize, usize)> {
        Some(match self {
            Self::Turn(isometry) if isometry.turns() => (w, h),
            Self::Part(rows, columns) => (rows.range(h).len(), columns.range(w).len()),
            Self::Scale(down, right) | Self::Repeat(down, right) => (usize::from(down) * h, usize::from(right) * w),
            Self::Thin(n) => (h.div_ceil(n.into()), w.div_ceil(n.into())),
            Self::Join { beside: true, .. } => (h, 2 * w),
            Self::Join { .. } => (2 * h, w),
            Self::OneCell(_) => (1, 1),
            Self::Agree { beside: true } => (h, w / 2),
            Self::Agree { .. } => (h / 2, w),
            Self::Object { .. } | Self::Foreground | Self::CropTo(_) | Self::Compress | Self::Dedupe { .. } => {
                return None;
            }
            _ => (h, w),
        })
    }

    /// The word that devices read: the kind, then up to three parameters of a byte each. Twin of `picture` in
    /// `kernels/expand.cuh`.
    pub(crate) fn code(self) -> u32 {
        let flags = |all: [bool; 3]| all.map(u8::from);
        let (kind, [a, b, c]) = match self {
            Self::Turn(isometry) => (0, [isometry as u8, 0, 0]),
            Self::Part(rows, columns) => (1, [rows.code(), columns.code(), 0]),
            Self::Scale(down, right) => (2, [down, right, 0]),
            Self::Thin(n) => (3, [n, 0, 0]),
            Self::Repeat(down, right) => (4, [down, right, 0]),
            Self::Join { beside, vmirror, mirror_first } => (5, flags([beside, vmirror, mirror_first])),
            Self::Object { univalued, diagonal, largest } => (6, flags([univalued, diagonal, largest])),
            Self::WithoutSingles { diagonal } => (7, flags([true, diagonal, false])),
            Self::Foreground => (8, [0, 0, 0]),
            Self::Replace(pick, new) => (9, [pick.code(), new, 0]),
            Self::Keep(colour) => (10, [colour, 0, 0]),
            Self::FillBox(colour) => (11, [colour, 0, 0]),
            Self::CropTo(pick) => (12, [pick.code(), 0, 0]),
            Self::SwitchMostAndLeast => (13, [0, 0, 0]),
            Self::OneCell(pick) => (14, [pick.code(), 0, 0]),
            Self::Everywhere(pick) => (15, [pick.code(), 0, 0]),
            Self::Compress => (16, [0, 0, 0]),
            Self::Dedupe { rows } => (17, [rows.into(), 0, 0]),
            Self::Agree { beside } => (18, [beside.into(), 0, 0]),
        };
        u32::from_le_bytes([kind, a, b, c])
    }

    /// What has this word.
    pub(crate) fn of_code(code: u32) -> Option<Self> {
        let [kind, a, b, c] = code.to_le_bytes();
        let (first, second, third) = (a != 0, b != 0, c != 0);
        Some(match kind {
            0 => Self::Turn(Isometry::ALL.into_iter().find(|isometry| *isometry as u8 == a)?),
            1 => Self::Part(Span::of_code(a)?, Span::of_code(b)?),
            2 if a > 0 && b > 0 => Self::Scale(a, b),
            3 if a > 0 => Self::Thin(a),
            4 => Self::Repeat(a, b),
            5 => Self::Join { beside: first, vmirror: second, mirror_first: third },
            6 => Self::Object { univalued: first, diagonal: second, largest: third },
            7 => Self::WithoutSingles { diagonal: second },
            8 => Self::Foreground,
            9 => Self::Replace(Pick::of_code(a)?, b),
            10 => Self::Keep(a),
            11 => Self::FillBox(a),
            12 => Self::CropTo(Pick::of_code(a)?),
            13 => Self::SwitchMostAndLeast,
            14 => Self::OneCell(Pick::of_code(a)?),
            15 => Self::Everywhere(Pick::of_code(a)?),
            16 => Self::Compress,
            17 => Self::Dedupe { rows: first },
            18 => Self::Agree { beside: first },
            _ => return None,
        })
    }
}
