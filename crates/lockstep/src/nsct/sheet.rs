//! All directions of all scales on one picture.

use nsct::tree::wedge;
use nsct::{Geometry, NsctSpec, PlaneId};

use super::args::describe;
use crate::pictures::Picture;
use crate::pictures::canvas::{Canvas, Colour, around_gray, average, percentile, strongest};

pub(super) const PAPER: Colour = [16, 20, 26];
pub(super) const INK: Colour = [230, 237, 243];
pub(super) const SOFT: Colour = [139, 150, 163];
const FRAME: Colour = [44, 52, 62];
const PASS: Colour = [92, 178, 255];

pub(super) const MARGIN: usize = 28;
const GAP: usize = 10;
const CAPTION: usize = 34;
const HEADING: usize = 54;
const ICON: usize = 25;
const NARROWEST: usize = 720;

/// The planes of one picture, with the picture itself.
pub(crate) struct Sheet<'a> {
    pub(crate) title: &'a str,
    pub(crate) spec: &'a NsctSpec,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// What white is.
    pub(crate) peak: f64,
    /// The picture; absent when only coefficients are known.
    pub(crate) original: Option<&'a [f64]>,
    /// All planes one behind the other.
    pub(crate) planes: &'a [f64],
    /// Width of a small picture; chosen from the number of directions when absent.
    pub(crate) tile: Option<usize>,
}

struct Grid {
    columns: usize,
    tile: (usize, usize),
}

impl Grid {
    fn rows(&self, tiles: usize) -> usize {
        tiles.div_ceil(self.columns)
    }
    fn width(&self) -> usize {
        // The heading and its legend need some width, however small the tiles are.
        (2 * MARGIN + self.columns * (self.tile.1 + GAP) - GAP).max(NARROWEST)
    }
    fn pitch(&self) -> usize {
        self.tile.0 + CAPTION + GAP
    }
}

impl Sheet<'_> {
    /// Draws it.
    pub(crate) fn draw(&self) -> Picture {
        let ids = self.spec.planes();
        let most = ids.iter().map(|p| p.directions).max().unwrap_or(1);
        let columns = if most > 16 { 16 } else { most.clamp(4, 8) };
        let width = self.tile.unwrap_or(if columns > 8 { 112 } else { 196 });
        // A strip of one pixel's height still gets a visible tile, and a tower does not make the sheet endless.
        let height = (width * self.height / self.width).clamp(width / 4, 2 * width);
        let grid = Grid { columns, tile: (height, width) };
        let scales = self.spec.levels.len();
        let of_scale = |s: usize| ids.iter().filter(move |p| p.scale == s).count();
        let bottom: usize = (1..=scales).map(|s| HEADING + grid.rows(of_scale(s)) * grid.pitch()).sum();
        let top = 104;
        let mut canvas = Canvas::new(grid.width(), top + grid.pitch() + bottom + MARGIN, PAPER);
        canvas.text(MARGIN, MARGIN, 3, INK, &fitting(self.title, grid.width() - 2 * MARGIN, 3));
        let line = format!("{} · {} × {} · {} planes", describe(self.spec), self.width, self.height, ids.len());
        canvas.text(MARGIN, MARGIN + 36, 2, SOFT, &fitting(&line, grid.width() - 2 * MARGIN, 2));

        let mut y = top;
        let mut x = MARGIN;
        if let Some(original) = self.original {
            self.tile_of(&mut canvas, &grid, (x, y), original, None, "picture");
            x += width.max(Canvas::text_width("picture", 2)) + GAP;
        }
        self.tile_of(&mut canvas, &grid, (x, y), self.plane(0), None, "low");
        x += width.max(Canvas::text_width("low", 2)) + 2 * GAP;
        for (i, line) in self.legend().iter().enumerate() {
            let line = fitting(line, (grid.width() - MARGIN).saturating_sub(x), 2);
            canvas.text(x, y + 6 + i * 26, 2, SOFT, &line);
        }
        y += grid.pitch();
        for scale in 1..=scales {
            canvas.text(MARGIN, y + 22, 2, INK, &heading(scale, scales, of_scale(scale)));
            y += HEADING;
            for (i, (b, id)) in ids.iter().enumerate().filter(|(_, p)| p.scale == scale).enumerate() {
                let at = (MARGIN + i % columns * (width + GAP), y + i / columns * grid.pitch());
                self.tile_of(&mut canvas, &grid, at, self.plane(b), Some(*id), &id.to_string());
            }
            y += grid.rows(of_scale(scale)) * grid.pitch();
        }
        canvas.picture()
    }

    fn plane(&self, b: usize) -> &[f64] {
        let area = self.height * self.width;
        &self.planes[b * area..(b + 1) * area]
    }

    /// A small picture with its caption. `id` is absent for pictures that are not centred around zero.
    fn tile_of(
        &self,
        canvas: &mut Canvas,
        grid: &Grid,
        (x, y): (usize, usize),
        plane: &[f64],
        id: Option<PlaneId>,
        name: &str,
    ) {
        let (height, width) = grid.tile;
        let values = if id.is_some() {
            let small = strongest(plane, self.height, self.width, grid.tile);
            let scale = percentile(&small, 0.995);
            around_gray(&small, scale)
        } else {
            average(plane, self.height, self.width, grid.tile).iter().map(|v| v * 255.0 / self.peak).collect()
        };
        canvas.fill(x - 1, y - 1, width + 2, height + 2, FRAME);
        canvas.gray(x, y, width, &values);
        let below = y + height + 8;
        let Some(id) = id else {
            canvas.text(x, below, 2, INK, name);
            return;
        };
        // Captions must not run into each other: small tiles go without, in the order of the scale.
        if Canvas::text_width(name, 2) > width + GAP / 2 {
            return;
        }
        canvas.text(x, below, 2, INK, name);
        let after = x + Canvas::text_width(name, 2) + 8;
        let free = (x + width).saturating_sub(after + ICON + 6);
        let largest = plane.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let amplitude = format!("±{}", short(largest));
        if Canvas::text_width(&amplitude, 2) <= free {
            canvas.text(after, below, 2, SOFT, &amplitude);
        }
        if self.is_wedge(id) && after + ICON <= x + width {
            frequencies(canvas, x + width - ICON, below - 4, id);
        }
    }

    /// Whether the plane is one wedge of directions, which the icon can show.
    fn is_wedge(&self, id: PlaneId) -> bool {
        id.directions > 1 && (self.spec.geometry == Geometry::Wedge || id.directions <= 8)
    }

    fn legend(&self) -> Vec<&'static str> {
        let mut lines = vec!["mid-gray is zero; each plane is scaled", "by itself, ± is its largest value"];
        if self.spec.planes().iter().any(|p| self.is_wedge(*p)) {
            lines.push("the icon is the plane of frequencies:");
            lines.push("edges run at right angles to the wedge");
        }
        lines
    }
}

fn heading(scale: usize, scales: usize, directions: usize) -> String {
    let place = match scale {
        1 if scales == 1 => "",
        1 => " (coarsest)",
        s if s == scales => " (finest)",
        _ => "",
    };
    let split = if directions == 1 { "not divided".to_owned() } else { format!("{directions} directions") };
    format!("scale {scale}{place} · {split}")
}

/// A number in at most five letters.
fn short(v: f64) -> String {
    match v {
        0.0 => "0".to_owned(),
        v if v >= 9999.5 || (v < 0.01 && v > 0.0) => format!("{v:.0e}"),
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// As much of a text as fits.
pub(super) fn fitting(text: &str, width: usize, size: usize) -> String {
    let letters = width / Canvas::text_width("m", size);
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(2)).chain("..".chars()).collect()
}

/// The plane of frequencies, zero in the middle, with the wedge of a direction.
fn frequencies(canvas: &mut Canvas, x: usize, y: usize, id: PlaneId) {
    let Ok(wedge) = wedge(id.direction, id.directions.trailing_zeros() as u8) else { return };
    canvas.paint(x, y, ICON, ICON, |row, column| {
        let middle = (ICON / 2) as f64;
        let (wr, wc) = (row as f64 - middle, column as f64 - middle);
        let rim = row == 0 || column == 0 || row + 1 == ICON || column + 1 == ICON;
        Some(match () {
            () if rim => SOFT,
            () if (wr, wc) != (0.0, 0.0) && wedge.contains(wr, wc) => PASS,
            () => FRAME,
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plane_has_a_place() {
        for levels in [vec![], vec![0], vec![2, 3], vec![5]] {
            let spec = NsctSpec::new(levels.clone());
            let planes = vec![1.0; spec.plane_count() * 6];
            let sheet = Sheet {
                title: "x",
                spec: &spec,
                height: 2,
                width: 3,
                peak: 255.0,
                original: None,
                planes: &planes,
                tile: Some(40),
            };
            let picture = sheet.draw();
            // Every plane but the low one is constant and positive: white tiles.
            let white = picture.plane(0).iter().filter(|v| **v == 255.0).count();
            assert_eq!(white, (spec.plane_count() - 1) * 40 * 26, "{levels:?}");
        }
    }

    #[test]
    fn numbers_stay_short() {
        for v in [0.0, 0.001, 0.5, 9.994, 12.34, 99.96, 1234.5, 123_456.0] {
            assert!(short(v).len() <= 5, "{}", short(v));
        }
        assert_eq!((short(0.0).as_str(), short(1.0).as_str()), ("0", "1.00"));
        assert_eq!(fitting("abcdefgh", 6 * 2 * 5, 2), "abc..");
    }
}
