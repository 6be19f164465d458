//! Synthetic scenes with known shifts, and the DNG files that they would be in.
//!
//! A scene is drawn once with all colours and more room than a picture needs; each [`Shot`] looks at it from its own
//! place, through a colour filter array, with an exposure, clipping, a sensor's hot pixels and pattern noise that stand
//! still while the scene moves, and noise of variance `a x + b` like that of 24-megapixel cameras:
//! `a = 3.2e-8 ISO`, `b = 4e-9 (ISO / 100)^1.65`. Pictures never wrap around, which would be too easy.

mod dng;
mod noise;

use ndarray::{Array2, Array3};

use crate::{BlackLevel, Cfa, Error, Meta, RawFrame, Result};

pub use dng::{DngOptions, write_dng};
pub use noise::Random;

/// Places of the scene for one pixel, in each direction: shifts are multiples of half a pixel.
const FINE: usize = 2;
/// Pixels of the scene around a picture.
const ROOM: usize = 160;
/// What a pixel has without light.
pub const BLACK: u16 = 512;
/// What a saturated pixel has: 14 bits.
pub const WHITE: u16 = 16383;

/// A drawn scene.
#[derive(Clone, Debug)]
pub struct Scenery {
    height: usize,
    width: usize,
    /// Light of 0 to 1, `[3, FINE (height + 2 ROOM), FINE (width + 2 ROOM)]`.
    light: Array3<f32>,
}

/// How a picture is taken.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// `[dy, dx]` against a picture with `[0, 0]`, in pixels; multiples of one half, at most 150.
    pub shift: [f64; 2],
    /// Sensitivity, which decides about noise; 0 for none.
    pub iso: f64,
    /// Light relative to the scene.
    pub exposure: f64,
    /// Chooses the noise.
    pub seed: u64,
    /// The pattern at (0, 0).
    pub cfa: Cfa,
    /// The part of pixels that are hot.
    pub hot: f64,
    /// Strength of noise that belongs to rows and columns of the sensor, relative to white.
    pub pattern: f64,
}

impl Default for Shot {
    fn default() -> Self {
        Self { shift: [0.0; 2], iso: 100.0, exposure: 1.0, seed: 1, cfa: Cfa::RGGB, hot: 0.0, pattern: 0.0 }
    }
}

/// A pattern of Fujifilm's, with a green cross at (0, 0).
pub fn xtrans() -> Cfa {
    use crate::Colour::{Blue as B, Green as G, Red as R};
    Cfa::XTrans([
        [G, B, G, G, R, G],
        [R, G, R, B, G, B],
        [G, B, G, G, R, G],
        [G, R, G, G, B, G],
        [B, G, B, R, G, R],
        [G, R, G, G, B, G],
    ])
}

impl Scenery {
    /// Draws a scene for pictures of `height * width`: clouds of all sizes, and many small shapes with sharp edges.
    pub fn new(seed: u64, height: usize, width: usize) -> Self {
        let (rows, columns) = (FINE * (height + 2 * ROOM), FINE * (width + 2 * ROOM));
        let mut random = Random::new(seed);
        let mut light = Array3::<f32>::from_elem((3, rows, columns), 0.25);
        let mut cell = 256;
        while cell >= 4 {
            let strength = 0.1 * (cell as f32 / 256.0).sqrt();
            let (h, w) = (rows / cell + 2, columns / cell + 2);
            let grid: Vec<f32> = (0..3 * h * w).map(|_| random.uniform() as f32 - 0.5).collect();
            for ((c, y, x), v) in light.indexed_iter_mut() {
                let (gy, gx) = (y / cell, x / cell);
                let (ty, tx) = ((y % cell) as f32 / cell as f32, (x % cell) as f32 / cell as f32);
                let at = |y: usize, x: usize| grid[(c * h + y) * w + x];
                let above = at(gy, gx) * (1.0 - tx) + at(gy, gx + 1) * tx;
                let below = at(gy + 1, gx) * (1.0 - tx) + at(gy + 1, gx + 1) * tx;
                *v += strength * (above * (1.0 - ty) + below * ty);
            }
            cell /= 2;
        }
        for _ in 0..rows * columns / 1500 {
            let (y, x) = (random.below(rows), random.below(columns));
            let size = 3 + random.below(40);
            let (h, w) = (2 + random.below(size), 2 + random.below(size));
            let round = random.uniform() < 0.5;
            let change: [f32; 3] = std::array::from_fn(|_| 0.4 * (random.uniform() as f32 - 0.45));
            for (dy, dx) in (0..h).flat_map(|dy| (0..w).map(move |dx| (dy, dx))) {
                let unit = |d: usize, n: usize| 2.0 * (d as f32 + 0.5) / n as f32 - 1.0;
                if y + dy >= rows || x + dx >= columns || (round && unit(dy, h).hypot(unit(dx, w)) > 1.0) {
                    continue;
                }
                for (c, change) in change.iter().enumerate() {
                    light[[c, y + dy, x + dx]] += change;
                }
            }
        }
        light.mapv_inplace(|v| v.clamp(0.01, 0.95));
        Self { height, width, light }
    }

    /// A scene that is a photograph: light of 0 to 1, `[3, rows, columns]`, of which two by two make a pixel. The
    /// pictures are what is left of it after 160 pixels on each side.
    ///
    /// # Errors
    /// When nothing is left, or it has not three colours.
    pub fn from_light(light: Array3<f32>) -> Result<Self> {
        let (colours, rows, columns) = light.dim();
        let [height, width] = [rows, columns].map(|n| (n / FINE).saturating_sub(2 * ROOM));
        if colours != 3 || height == 0 || width == 0 {
            return Err(Error::value("light", format!("{colours} x {rows} x {columns} leaves no picture")));
        }
        Ok(Self { height, width, light })
    }

    /// Rows and columns of its pictures.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// A scene without anything in it.
    pub fn blank(height: usize, width: usize) -> Self {
        let light = Array3::from_elem((3, FINE * (height + 2 * ROOM), FINE * (width + 2 * ROOM)), 0.25);
        Self { height, width, light }
    }

    /// The same scene, seen in a mirror.
    pub fn mirrored(&self) -> Self {
        let light = self.light.slice(ndarray::s![.., .., ..;-1]).to_owned();
        Self { light, ..*self }
    }

    /// Light that a pixel of a colour gets.
    fn at(&self, colour: usize, y: usize, x: usize, shift: [f64; 2]) -> f32 {
        let place = |i: usize, d: f64| ((i + ROOM) * FINE) as i64 + (d * FINE as f64).round() as i64;
        let (y, x) = (place(y, shift[0]) as usize, place(x, shift[1]) as usize);
        let mut sum = 0.0;
        for dy in 0..FINE {
            for dx in 0..FINE {
                sum += self.light[[colour, y + dy, x + dx]];
            }
        }
        sum / (FINE * FINE) as f32
    }

    /// The picture as stored: values of a mosaic with 14 bits.
    ///
    /// # Panics
    /// For shifts beyond 150 pixels.
    pub fn mosaic(&self, shot: &Shot) -> Array2<u16> {
        assert!(shot.shift.iter().all(|d| d.abs() <= 150.0), "the scene ends 160 pixels around a picture");
        // What belongs to the sensor is the same in every picture.
        let mut sensor = Random::new(0x5e05);
        let rows: Vec<f64> = (0..self.height).map(|_| shot.pattern * sensor.normal()).collect();
        let columns: Vec<f64> = (0..self.width).map(|_| shot.pattern * sensor.normal()).collect();
        let mut random = Random::new(shot.seed ^ 0xa11f);
        let (a, b) = (3.2e-8 * shot.iso, 4e-9 * (shot.iso / 100.0).powf(1.65));
        Array2::from_shape_fn((self.height, self.width), |(y, x)| {
            let colour = shot.cfa.colour(y, x).index();
            let light = f64::from(self.at(colour, y, x, shot.shift)) * shot.exposure;
            let mut v = light.min(1.0) + rows[y] + columns[x];
            if sensor.uniform() < shot.hot {
                v += 0.2 + 0.8 * sensor.uniform();
            }
            if shot.iso > 0.0 {
                v += (a * light.min(1.0) + b).sqrt() * random.normal();
            }
            let range = f64::from(WHITE - BLACK);
            (f64::from(BLACK) + v * range).round().clamp(0.0, f64::from(WHITE)) as u16
        })
    }

    /// The picture as a reader gives it: cut to the canonical place of its pattern.
    ///
    /// # Panics
    /// As [`mosaic`](Self::mosaic), and for scenes that are too small to align.
    pub fn shoot(&self, shot: &Shot) -> RawFrame {
        let meta = Meta {
            make: "Lockstep".to_owned(),
            model: "Scenery".to_owned(),
            iso: Some(shot.iso),
            orientation: 1,
            ..Meta::default()
        };
        let black = BlackLevel::uniform(shot.cfa.period(), BLACK.into());
        let mosaic = self.mosaic(shot);
        match RawFrame::cropped(&mosaic, None, shot.cfa, &black, WHITE, meta) {
            Ok(frame) => frame,
            Err(e) => panic!("{e}"),
        }
    }

    /// All colours without noise, `[3, height, width]`.
    pub fn rgb(&self, shift: [f64; 2]) -> Array3<f32> {
        Array3::from_shape_fn((3, self.height, self.width), |(c, y, x)| self.at(c, y, x, shift))
    }
}
