//! Colour filter arrays: which colour each pixel of a mosaic has, and which pixels are its neighbours.

use std::collections::BTreeMap;

use ndarray::ArrayView2;

use crate::{Error, Result};

/// The colour of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
}

impl Colour {
    /// 0 for red, 1 for green, 2 for blue.
    pub fn index(self) -> usize {
        match self {
            Self::Red => 0,
            Self::Green => 1,
            Self::Blue => 2,
        }
    }

    fn letter(self) -> char {
        ['R', 'G', 'B'][self.index()]
    }
}

/// The pattern of colours, starting at pixel (0, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cfa {
    /// 2 × 2 with two greens on a diagonal.
    Bayer([[Colour; 2]; 2]),
    /// Fujifilm's 6 × 6 with a green cross in every 3 × 3 block.
    XTrans([[Colour; 6]; 6]),
    /// No filters: one value a pixel, the mean of the channels of an RGB picture.
    Gray,
}

const RGGB: [[Colour; 2]; 2] = [[Colour::Red, Colour::Green], [Colour::Green, Colour::Blue]];

impl Cfa {
    /// Red at (0, 0), blue at (1, 1).
    pub const RGGB: Self = Self::Bayer(RGGB);

    /// Reads a pattern of 4 or 36 letters R, G, B, row by row.
    ///
    /// # Errors
    /// For another number of letters, another letter, and for patterns that are neither Bayer nor X-Trans.
    pub fn from_letters(letters: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Err(Error::value(
                "colour filter array",
                format!("{letters}: {why}; 2 x 2 Bayer and 6 x 6 X-Trans are read"),
            ))
        };
        let mut colours = Vec::new();
        for letter in letters.chars() {
            colours.push(match letter {
                'R' => Colour::Red,
                'G' => Colour::Green,
                'B' => Colour::Blue,
                _ => return wrong("not exactly red, green and blue"),
            });
        }
        let cfa = match colours.len() {
            4 => Self::Bayer(std::array::from_fn(|y| std::array::from_fn(|x| colours[2 * y + x]))),
            36 => Self::XTrans(std::array::from_fn(|y| std::array::from_fn(|x| colours[6 * y + x]))),
            _ => return wrong("this size of pattern is not known"),
        };
        if cfa.canonical_offset().is_none() { wrong("this arrangement is not known") } else { Ok(cfa) }
    }

    /// The pattern as letters, row by row.
    pub fn letters(&self) -> String {
        let p = self.period();
        (0..p * p).map(|i| self.colour(i / p, i % p).letter()).collect()
    }

    /// `"Bayer"`, `"X-Trans"` or `"RGB"`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bayer(_) => "Bayer",
            Self::XTrans(_) => "X-Trans",
            Self::Gray => "RGB",
        }
    }

    /// After how many rows and columns the pattern repeats: 2, 6, or 1.
    pub fn period(&self) -> usize {
        match self {
            Self::Bayer(_) => 2,
            Self::XTrans(_) => 6,
            Self::Gray => 1,
        }
    }

    /// Side of the blocks that are averaged to one pixel of the proxy: 2, or 3 for X-Trans.
    pub fn block(&self) -> usize {
        if matches!(self, Self::XTrans(_)) { 3 } else { 2 }
    }

    /// The colour at a pixel; green where there are no filters.
    pub fn colour(&self, y: usize, x: usize) -> Colour {
        match self {
            Self::Bayer(pattern) => pattern[y % 2][x % 2],
            Self::XTrans(pattern) => pattern[y % 6][x % 6],
            Self::Gray => Colour::Green,
        }
    }

    /// The pattern that is left when the first `dy` rows and `dx` columns are cut off.
    pub fn shifted(&self, dy: usize, dx: usize) -> Self {
        match self {
            Self::Bayer(_) => {
                Self::Bayer(std::array::from_fn(|y| std::array::from_fn(|x| self.colour(y + dy, x + dx))))
            }
            Self::XTrans(_) => {
                Self::XTrans(std::array::from_fn(|y| std::array::from_fn(|x| self.colour(y + dy, x + dx))))
            }
            Self::Gray => Self::Gray,
        }
    }

    /// Rows and columns to cut off so that a Bayer pattern starts as RGGB, and an X-Trans pattern with a block whose
    /// centre and corners are green. `None` for arrangements that have no such place.
    pub fn canonical_offset(&self) -> Option<[usize; 2]> {
        let s = match self {
            Self::Bayer(_) => 2,
            Self::XTrans(_) => 3,
            Self::Gray => return Some([0, 0]),
        };
        let fits = |&[dy, dx]: &[usize; 2]| match self.shifted(dy, dx) {
            Self::Bayer(pattern) => pattern == RGGB,
            cross => cross.is_green_cross(),
        };
        (0..s * s).map(|i| [i / s, i % s]).find(fits)
    }

    /// Whether every 3 × 3 block has green centre and corners, and two red and two blue pixels between them.
    fn is_green_cross(&self) -> bool {
        (0..4).all(|b| {
            let (top, left) = (b / 2 * 3, b % 2 * 3);
            let mut counts = [0; 3];
            let cross = (0..9).all(|i| {
                let colour = self.colour(top + i / 3, left + i % 3);
                counts[colour.index()] += 1;
                (colour == Colour::Green) == (i % 2 == 0)
            });
            cross && counts == [2, 5, 2]
        })
    }

    /// The `k` nearest pixels of the colour at (`y`, `x`) as `(dy, dx)`, with all at the distance of the k-th; nearest
    /// first, then from top to bottom and from left to right.
    pub fn neighbours(&self, y: usize, x: usize, k: usize) -> Vec<(i32, i32)> {
        const REACH: i32 = 6;
        let p = self.period() as i32;
        let own = self.colour(y, x);
        let at = |dy: i32, dx: i32| {
            self.colour((y as i32 + dy).rem_euclid(p) as usize, (x as i32 + dx).rem_euclid(p) as usize)
        };
        let mut all: Vec<(i32, i32)> = (-REACH..=REACH)
            .flat_map(|dy| (-REACH..=REACH).map(move |dx| (dy, dx)))
            .filter(|&(dy, dx)| (dy, dx) != (0, 0) && at(dy, dx) == own)
            .collect();
        all.sort_by_key(|&(dy, dx)| (dy * dy + dx * dx, dy, dx));
        let last = all.get(k.max(1) - 1).map_or(0, |&(dy, dx)| dy * dy + dx * dx);
        all.retain(|&(dy, dx)| dy * dy + dx * dx <= last);
        all
    }

    /// Whether another phase of the pattern explains a mosaic better than this one: the mean difference between nearest
    /// pixels of one colour is then smaller. Looks at the middle of the picture.
    pub fn is_doubtful(&self, mosaic: &ArrayView2<'_, u16>) -> bool {
        const SIDE: usize = 384;
        // Between phases that are equally right, noise decides.
        const MARGIN: f64 = 1.03;
        let p = self.period();
        let (height, width) = mosaic.dim();
        if p == 1 || height < 4 * p || width < 4 * p {
            return false;
        }
        let (rows, columns) = (height.min(SIDE) / p * p, width.min(SIDE) / p * p);
        let (top, left) = ((height - rows) / 2 / p * p, (width - columns) / 2 / p * p);
        // Phases differ in which offset counts at which position: each sum is needed by many of them.
        let mut known: BTreeMap<(usize, i32, i32), u64> = BTreeMap::new();
        let mut at = |i: usize, dy: i32, dx: i32| {
            *known.entry((i, dy, dx)).or_insert_with(|| {
                let mut sum = 0;
                for y in (p + i / p..rows - p).step_by(p).map(|y| top + y) {
                    for x in (p + i % p..columns - p).step_by(p).map(|x| left + x) {
                        let other = mosaic[[(y as i32 + dy) as usize, (x as i32 + dx) as usize]];
                        sum += u64::from(mosaic[[y, x]].abs_diff(other));
                    }
                }
                sum
            })
        };
        let mut difference = |cfa: Self| -> f64 {
            let one = |i: usize| {
                let pixels = cfa.neighbours(i / p, i % p, 1);
                let n = pixels.len() as f64;
                pixels.into_iter().map(|(dy, dx)| at(i, dy, dx) as f64).sum::<f64>() / n
            };
            (0..p * p).map(one).sum()
        };
        let declared = difference(*self);
        (1..p * p).any(|i| declared > MARGIN * difference(self.shifted(i / p, i % p)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XTRANS: &str = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG";

    #[test]
    fn patterns_are_read_and_refused() {
        for letters in ["RGGB", "GRBG", "GBRG", "BGGR", XTRANS] {
            assert_eq!(Cfa::from_letters(letters).unwrap().letters(), letters);
        }
        for bad in ["RGBG", "RRGB", "RGG", "RGGE", "", "GGGG", &"RGGB".repeat(9)] {
            assert!(Cfa::from_letters(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_phase_has_one_canonical_place() {
        for start in ["RGGB", XTRANS] {
            let cfa = Cfa::from_letters(start).unwrap();
            let p = cfa.period();
            for i in 0..p * p {
                let phase = cfa.shifted(i / p, i % p);
                let [dy, dx] = phase.canonical_offset().unwrap();
                assert_eq!(phase.shifted(dy, dx).canonical_offset(), Some([0, 0]));
                let s = cfa.block();
                let places = (0..s * s).filter(|j| phase.shifted(j / s, j % s).canonical_offset() == Some([0, 0]));
                assert_eq!(places.count(), 1, "{start} {i}");
            }
        }
    }

    #[test]
    fn neighbours_of_bayer_are_known() {
        let cfa = Cfa::RGGB;
        let mut red = cfa.neighbours(0, 0, 8);
        red.sort_unstable();
        assert_eq!(red, [(-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2)]);
        let mut green = cfa.neighbours(0, 1, 8);
        green.sort_unstable();
        assert_eq!(green, [(-2, 0), (-1, -1), (-1, 1), (0, -2), (0, 2), (1, -1), (1, 1), (2, 0)]);
        assert_eq!(Cfa::Gray.neighbours(0, 0, 8).len(), 8);
    }

    #[test]
    fn neighbours_of_xtrans_have_the_colour() {
        let cfa = Cfa::from_letters(XTRANS).unwrap();
        for i in 0..36 {
            let (y, x) = (i / 6, i % 6);
            let all = cfa.neighbours(y, x, 8);
            assert!(all.len() >= 8);
            for (dy, dx) in all {
                let (ny, nx) = ((y as i32 + dy + 12) as usize, (x as i32 + dx + 12) as usize);
                assert_eq!(cfa.colour(ny, nx), cfa.colour(y, x));
            }
        }
    }
}
