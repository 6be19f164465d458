//! Symmetric matrices with chosen block diagonals and holes, element by element.

use super::{hash, value};

/// What a matrix is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub n: usize,
    pub channels: usize,
    pub frames: usize,
    /// Which block diagonals there are, as bits.
    pub diagonals: u32,
    /// Of so many blocks one is a hole; 0 for none.
    pub holes: u64,
    pub seed: u64,
    pub exact: bool,
}

impl Recipe {
    /// Block rows.
    pub fn rows(&self) -> usize {
        self.n.div_ceil(16)
    }

    /// The block diagonals.
    pub fn offsets(&self) -> Vec<u32> {
        let all: Vec<u32> =
            (0..self.rows() as u32).filter(|&d| self.diagonals.checked_shr(d).unwrap_or(0) & 1 == 1).collect();
        if all.is_empty() { vec![self.rows() as u32 - 1] } else { all }
    }

    /// An element of the matrix of a channel.
    pub fn element(&self, c: usize, i: usize, j: usize) -> f64 {
        let (i, j) = (i.min(j), i.max(j));
        let (row, column) = (i / 16, j / 16);
        let d = (column - row) as u32;
        let is_hole = self.holes > 0 && hash(self.seed ^ 0x4D, (row * 1000 + column) as u64).is_multiple_of(self.holes);
        if !self.offsets().contains(&d) || is_hole {
            return 0.0;
        }
        value(self.seed, ((c * 4096 + i) * 4096 + j) as u64, self.exact)
    }

    /// The vectors, `[F, C, n]`.
    pub fn x(&self) -> Vec<f64> {
        let len = self.frames * self.channels * self.n;
        (0..len as u64).map(|i| self.x_at(i)).collect()
    }

    /// Of numbers that no narrow format holds, some lie halfway between two of `bf16`, or of `f16` and `tf32`.
    fn x_at(&self, i: u64) -> f64 {
        let v = value(self.seed ^ 0xFACE, i, self.exact);
        let halfway = |bits: i32| {
            let unit = 2f64.powi(bits);
            ((v.abs() + 1.0) / 2.0 * unit / 2.0).floor().mul_add(2.0, 1.0) / unit * v.signum()
        };
        match i % 5 {
            _ if self.exact => v,
            1 => halfway(9),
            3 => halfway(12),
            _ => v,
        }
    }

    /// What `y` holds before.
    pub fn before(&self) -> Vec<f64> {
        let len = self.frames * self.channels * self.n;
        (0..len as u64).map(|i| value(self.seed ^ 0xBEEF, i, self.exact)).collect()
    }

    /// `A x` and `|A| |x|`.
    pub fn product(&self) -> (Vec<f64>, Vec<f64>) {
        let x = self.x();
        let (mut y, mut w) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for c in 0..self.channels {
            for i in 0..self.n {
                // Once for all frames.
                let row: Vec<f64> = (0..self.n).map(|j| self.element(c, i, j)).collect();
                for f in 0..self.frames {
                    let line = (f * self.channels + c) * self.n;
                    for j in 0..self.n {
                        let term = row[j] * x[line + j];
                        y[line + i] += term;
                        w[line + i] += term.abs();
                    }
                }
            }
        }
        (y, w)
    }
}
