//! Synthetic LED walls (`ledwall-v1`) and matrices of small integers, from counter-based random numbers.

use rayon::prelude::*;

use crate::blocks::{AREA, BLOCK, BlockDiag, SymmetryPolicy};
use crate::error::{AtaError, Result};
use crate::ordering::Ordering;
use crate::patterns::Patterns;

/// Number `k` of a stream: SplitMix64's finaliser of a counter.
pub fn random_u64(seed: u64, stream: u64, k: u64) -> u64 {
    let counter = (stream << 32).wrapping_add(k).wrapping_add(1);
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(counter));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Uniform in [0, 1).
pub fn random_unit(seed: u64, stream: u64, k: u64) -> f64 {
    (random_u64(seed, stream, k) >> 11) as f64 / (1u64 << 53) as f64
}

/// Parameters of a wall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wall {
    /// LEDs.
    pub leds: usize,
    /// Columns of the picture.
    pub width: usize,
    /// Rows of the picture.
    pub height: usize,
    /// Side of a pattern's window.
    pub block: usize,
    /// Distance that LEDs keep from the border.
    pub margin: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Scale of the light's spread.
    pub scale: f64,
}

impl Wall {
    /// Refuses walls whose windows or margins do not fit.
    pub fn check(&self) -> Result<()> {
        let fail = |why: String| Err(AtaError::value("wall", why));
        if self.leds == 0 || self.leds >= 1 << 30 {
            return fail(format!("{} LEDs", self.leds));
        }
        if self.block == 0 || self.block > self.width || self.block > self.height || self.block > 256 {
            return fail(format!("windows of {} pixels in {} x {}", self.block, self.width, self.height));
        }
        if 2 * self.margin >= self.width || 2 * self.margin >= self.height || self.width.max(self.height) > 1 << 20 {
            return fail(format!("a margin of {} in {} x {}", self.margin, self.width, self.height));
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return fail(format!("scale {}", self.scale));
        }
        Ok(())
    }

    /// `(x, y)` of each LED.
    pub fn positions(&self) -> Vec<[i32; 2]> {
        let place = |l: usize, k: u64, side: usize| {
            let u = random_unit(self.seed, 4 * l as u64 + 3, k);
            (self.margin as f64 + (u * (side - 2 * self.margin) as f64).floor()) as i32
        };
        (0..self.leds).map(|l| [place(l, 0, self.width), place(l, 1, self.height)]).collect()
    }

    /// `(top, left)` of each LED's window.
    pub fn corners(&self, positions: &[[i32; 2]]) -> Vec<[i32; 2]> {
        let half = (self.block / 2) as i32;
        let last = |side: usize| (side - self.block) as i32;
        positions
            .iter()
            .map(|&[x, y]| [(y - half).clamp(0, last(self.height)), (x - half).clamp(0, last(self.width)) / 4 * 4])
            .collect()
    }

    /// Patterns in matrix order.
    pub fn patterns(&self, ordering: &Ordering) -> Result<Patterns> {
        self.check()?;
        let positions = self.positions();
        let corners = self.corners(&positions);
        let each = 3 * self.block * self.block;
        let mut data = vec![0u8; self.leds * each];
        data.par_chunks_mut(each).zip(&ordering.order).for_each(|(out, &led)| {
            self.pattern(led as usize, positions[led as usize], corners[led as usize], out);
        });
        let corners = ordering.order.iter().map(|&l| corners[l as usize]).collect();
        Patterns::new([self.leds, 3, self.block], data, corners, [self.width, self.height])
    }

    fn pattern(&self, led: usize, [x, y]: [i32; 2], [top, left]: [i32; 2], out: &mut [u8]) {
        let area = self.block * self.block;
        let mut light = vec![0.0f64; 3 * area];
        for (c, light) in light.chunks_exact_mut(area).enumerate() {
            let mut k = 0;
            let mut draw = || {
                k += 1;
                random_unit(self.seed, 4 * led as u64 + c as u64, k - 1)
            };
            let blobs = 2 + (3.0 * draw()) as usize;
            for _ in 0..blobs {
                let (u1, u2, u3, u4) = (draw(), draw(), draw(), draw());
                let r = (-2.0 * (1.0 - u1).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * u2).sin_cos();
                let at = |p: i32, v: f64, side: usize| {
                    (f64::from(p) + 15.0 * self.scale * r * v).clamp(0.0, (side - 1) as f64)
                };
                let (cx, cy) = (at(x, cos, self.width), at(y, sin, self.height));
                let sigma = self.scale * (8.0 + 22.0 * u3);
                let strength = 0.3 + 0.7 * u4;
                // The exponential of a sum is the product of two, one for each direction.
                let fall = |first: i32, centre: f64| -> Vec<f64> {
                    let of = |i: usize| {
                        let d = f64::from(first) + i as f64 - centre;
                        (-d * d / (2.0 * sigma * sigma)).exp()
                    };
                    (0..self.block).map(of).collect()
                };
                let (rows, columns) = (fall(top, cy), fall(left, cx));
                for (row, line) in rows.iter().zip(light.chunks_exact_mut(self.block)) {
                    line.iter_mut().zip(&columns).for_each(|(v, column)| *v += strength * (row * column));
                }
            }
            let colour = 0.7 + 0.6 * draw();
            for v in light.iter_mut() {
                *v *= colour;
            }
        }
        let largest = light.iter().copied().fold(0.0, f64::max);
        for (to, v) in out.iter_mut().zip(&light) {
            let v = v / largest;
            *to = if v <= 0.01 { 0 } else { (255.0 * v + 0.5).floor() as u8 };
        }
    }
}

fn small(seed: u64, stream: u64, k: u64) -> f32 {
    (random_u64(seed, stream, k) % 17) as f32 - 8.0
}

/// The matrix of small integers of an `exact-generated` case.
pub fn integer_matrix(channels: usize, n: usize, offsets: &[u32], seed: u64) -> Result<BlockDiag> {
    let mut out = BlockDiag::zeros(channels, n, offsets.to_vec())?;
    let nb = out.block_rows();
    for c in 0..channels {
        for (k, &d) in offsets.iter().enumerate() {
            for i in 0..nb.saturating_sub(d as usize) {
                let stream = ((64 * c + k) * 256 + i) as u64;
                let j = i + d as usize;
                let block = out.block_mut(c, k, i);
                for at in 0..AREA {
                    if BLOCK * i + at / BLOCK < n && BLOCK * j + at % BLOCK < n {
                        block[at] = small(seed, stream, at as u64);
                    }
                }
                if d == 0 {
                    crate::blocks::settle(block, SymmetryPolicy::UpperWins, |v| v as f32, (c, 0))?;
                }
            }
        }
    }
    out.find_mask();
    Ok(out)
}

/// The vectors of an `exact-generated` case, `[F, C, n]`.
pub fn integer_vectors(frames: usize, channels: usize, n: usize, seed: u64) -> Vec<f32> {
    let at = |f: usize, c: usize, i: usize| small(seed.wrapping_add(1), (3 * f + c) as u64, i as u64);
    (0..frames)
        .flat_map(|f| (0..channels).flat_map(move |c| (0..n).map(move |i| (f, c, i))))
        .map(|(f, c, i)| at(f, c, i))
        .collect()
}

/// Weight of row `i` in the checksum of an `exact-generated` case.
pub fn checksum_weight(seed: u64, i: usize) -> i64 {
    (random_u64(seed.wrapping_add(2), 0, i as u64) % 1009) as i64
}
