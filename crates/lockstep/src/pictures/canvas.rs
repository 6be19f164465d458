//! A colour picture to draw on: fills, pictures, letters.

use super::font;
use super::{Depth, Layout, Picture};

/// Red, green, blue.
pub(crate) type Colour = [u8; 3];

/// Pixels to draw on.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A canvas of one colour.
    pub(crate) fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// A filled rectangle.
    pub(crate) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        for row in y..y + height {
            for column in x..x + width {
                self.set(column, row, colour);
            }
        }
    }

    /// Gray values 0..255 as a picture.
    pub(crate) fn gray(&mut self, x: usize, y: usize, width: usize, values: &[f64]) {
        for (i, v) in values.iter().enumerate() {
            let v = v.round().clamp(0.0, 255.0) as u8;
            self.set(x + i % width, y + i / width, [v; 3]);
        }
    }

    /// A picture given pixel by pixel.
    pub(crate) fn paint(
        &mut self,
        x: usize,
        y: usize,
        width: usize,
        height: usize,
        of: impl Fn(usize, usize) -> Option<Colour>,
    ) {
        for row in 0..height {
            for column in 0..width {
                if let Some(colour) = of(row, column) {
                    self.set(x + column, y + row, colour);
                }
            }
        }
    }

    /// Text whose cells are `size` pixels wide; its top left corner is at `x`, `y`.
    pub(crate) fn text(&mut self, x: usize, y: usize, size: usize, colour: Colour, text: &str) {
        for (i, letter) in text.chars().enumerate() {
            for (row, column) in font::cells(letter) {
                self.fill(x + (i * (font::WIDTH + 1) + column) * size, y + row * size, size, size, colour);
            }
        }
    }

    /// Width of a text in pixels.
    pub(crate) fn text_width(text: &str, size: usize) -> usize {
        text.chars().count() * (font::WIDTH + 1) * size
    }

    /// The drawing as a picture.
    pub(crate) fn picture(&self) -> Picture {
        let samples = (0..3).flat_map(|c| self.pixels.iter().map(move |p| p[c].into())).collect();
        Picture { shape: [1, 3, self.height, self.width], samples, depth: Depth::U8, layout: Layout::Hwc, alpha: None }
    }
}

/// Shrinks a plane to `width` columns by averaging, keeping its proportions.
pub(crate) fn average(plane: &[f64], height: usize, width: usize, to: (usize, usize)) -> Vec<f64> {
    cells(height, width, to, |rows, columns| {
        let n = rows.len() * columns.len();
        rows.flat_map(|r| columns.clone().map(move |c| plane[r * width + c])).sum::<f64>() / n as f64
    })
}

/// Shrinks a plane of coefficients: the largest in each cell stands for it, so that fine stripes do not cancel.
pub(crate) fn strongest(plane: &[f64], height: usize, width: usize, to: (usize, usize)) -> Vec<f64> {
    cells(height, width, to, |rows, columns| {
        let all = rows.flat_map(|r| columns.clone().map(move |c| plane[r * width + c]));
        all.fold(0.0, |best: f64, v| if v.abs() > best.abs() { v } else { best })
    })
}

fn cells(
    height: usize,
    width: usize,
    (rows, columns): (usize, usize),
    of: impl Fn(std::ops::Range<usize>, std::ops::Range<usize>) -> f64,
) -> Vec<f64> {
    let part = |i: usize, n: usize, of: usize| {
        let start = i * of / n;
        start..((i + 1) * of / n).max(start + 1)
    };
    (0..rows)
        .flat_map(|r| (0..columns).map(move |c| (r, c)))
        .map(|(r, c)| of(part(r, rows, height), part(c, columns, width)))
        .collect()
}

/// The value that this share of absolute values stays below; at least a tiny positive number.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut all: Vec<f64> = values.iter().map(|v| v.abs()).collect();
    if all.is_empty() {
        return f64::MIN_POSITIVE;
    }
    let at = ((all.len() - 1) as f64 * share) as usize;
    all.select_nth_unstable_by(at, f64::total_cmp).1.max(f64::MIN_POSITIVE)
}

/// Coefficients as gray values, symmetric around mid-gray, which is zero.
pub(crate) fn around_gray(plane: &[f64], scale: f64) -> Vec<f64> {
    plane.iter().map(|v| 127.5 + 127.5 * (v / scale).clamp(-1.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_covers_every_pixel() {
        let plane: Vec<f64> = (0..6 * 9).map(f64::from).collect();
        let small = average(&plane, 6, 9, (2, 3));
        assert_eq!(small.len(), 6);
        assert!((small.iter().sum::<f64>() / 6.0 - plane.iter().sum::<f64>() / 54.0).abs() < 1e-12);
        let stripes: Vec<f64> = (0..64).map(|i| if i % 2 == 0 { 5.0 } else { -6.0 }).collect();
        assert_eq!(strongest(&stripes, 8, 8, (2, 2)), [-6.0; 4]);
        assert_eq!(average(&[7.0], 1, 1, (3, 2)), [7.0; 6]);
    }

    #[test]
    fn zero_is_mid_gray() {
        assert_eq!(around_gray(&[0.0, 2.0, -9.0], 2.0), [127.5, 255.0, 0.0]);
        assert_eq!(percentile(&[3.0, -1.0, 2.0], 1.0), 3.0);
        assert!(percentile(&[0.0], 0.5) > 0.0);
    }

    #[test]
    fn drawing_outside_is_cut() {
        let mut canvas = Canvas::new(4, 4, [0; 3]);
        canvas.fill(2, 2, 10, 10, [9; 3]);
        canvas.text(3, 0, 2, [5; 3], "A");
        assert_eq!(canvas.picture().samples.iter().filter(|v| **v == 9.0).count(), 12);
    }
}
