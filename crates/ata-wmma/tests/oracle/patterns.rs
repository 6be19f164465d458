//! Sums over windows, pixel by pixel.

use super::hash;

/// What patterns and frames are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub n: usize,
    pub channels: usize,
    pub side: usize,
    pub width: usize,
    pub height: usize,
    pub frames: usize,
    pub seed: u64,
}

impl Scene {
    pub fn corners(&self) -> Vec<[i32; 2]> {
        let place = |l: usize, k: u64, length: usize| {
            let last = (length - self.side) as u64;
            // Some windows lie at the borders of the picture.
            match hash(self.seed ^ 3, 2 * l as u64 + k) % 6 {
                0 => 0,
                1 => last as i32,
                v => (hash(self.seed ^ 4, 7 * l as u64 + k + v) % (last + 1)) as i32,
            }
        };
        (0..self.n).map(|l| [place(l, 0, self.height), place(l, 1, self.width)]).collect()
    }

    pub fn pattern(&self, l: usize, c: usize, u: usize, v: usize) -> u8 {
        let index = ((l * self.channels + c) * self.side + u) * self.side + v;
        let h = hash(self.seed, index as u64);
        if h.is_multiple_of(5) { 255 } else { (h >> 8) as u8 }
    }

    pub fn patterns(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for l in 0..self.n {
            for c in 0..self.channels {
                for u in 0..self.side {
                    for v in 0..self.side {
                        out.push(self.pattern(l, c, u, v));
                    }
                }
            }
        }
        out
    }

    pub fn pixel(&self, f: usize, c: usize, row: usize, column: usize) -> u8 {
        let index = ((f * self.channels + c) * self.height + row) * self.width + column;
        let h = hash(self.seed ^ 9, index as u64);
        if h.is_multiple_of(7) { 255 } else { (h >> 8) as u8 }
    }

    /// `[F, C, H, W]`, or `[F, H, W, C]`.
    pub fn pictures(&self, interleaved: bool) -> Vec<u8> {
        let mut out = vec![0; self.frames * self.channels * self.height * self.width];
        for f in 0..self.frames {
            for c in 0..self.channels {
                for row in 0..self.height {
                    for column in 0..self.width {
                        let at = if interleaved {
                            ((f * self.height + row) * self.width + column) * self.channels + c
                        } else {
                            ((f * self.channels + c) * self.height + row) * self.width + column
                        };
                        out[at] = self.pixel(f, c, row, column);
                    }
                }
            }
        }
        out
    }

    /// A real pattern: a byte's shape over 3, so that values are no whole numbers; some negative.
    pub fn real(&self, l: usize, c: usize, u: usize, v: usize) -> f64 {
        let light = f64::from(self.pattern(l, c, u, v)) / 3.0;
        f64::from(if (u + v + l).is_multiple_of(7) { -light } else { light } as f32)
    }

    pub fn reals(&self) -> Vec<f32> {
        let each = self.side * self.side;
        let of = |at: usize| {
            let (window, at) = (at / each, at % each);
            self.real(window / self.channels, window % self.channels, at / self.side, at % self.side) as f32
        };
        (0..self.n * self.channels * each).map(of).collect()
    }

    /// Real light of unknown `l`, whose window begins at a corner, at a pixel of the picture.
    pub fn real_light(&self, [top, left]: [i32; 2], [l, c]: [usize; 2], row: usize, column: usize) -> f64 {
        let (u, v) = (row as i64 - i64::from(top), column as i64 - i64::from(left));
        let inside = |w: i64| (0..self.side as i64).contains(&w);
        if inside(u) && inside(v) { self.real(l, c, u as usize, v as usize) } else { 0.0 }
    }

    /// Light of unknown `l` at a pixel of the picture.
    pub fn light(&self, l: usize, c: usize, row: usize, column: usize) -> u64 {
        let [top, left] = self.corners()[l];
        let (u, v) = (row as i64 - i64::from(top), column as i64 - i64::from(left));
        let inside = |w: i64| (0..self.side as i64).contains(&w);
        if inside(u) && inside(v) { self.pattern(l, c, u as usize, v as usize).into() } else { 0 }
    }

    pub fn gram(&self, c: usize, l: usize, m: usize) -> u64 {
        let [top, left] = self.corners()[l];
        let mut sum = 0;
        for row in top as usize..top as usize + self.side {
            for column in left as usize..left as usize + self.side {
                sum += self.light(l, c, row, column) * self.light(m, c, row, column);
            }
        }
        sum
    }

    /// Sums of unknown `l`; `table` is applied to pixels.
    pub fn atb(&self, f: usize, c: usize, l: usize, table: impl Fn(usize, u8) -> u64) -> u64 {
        let [top, left] = self.corners()[l];
        let mut sum = 0;
        for u in 0..self.side {
            for v in 0..self.side {
                let pixel = self.pixel(f, c, top as usize + u, left as usize + v);
                sum += u64::from(self.pattern(l, c, u, v)) * table(c, pixel);
            }
        }
        sum
    }
}
