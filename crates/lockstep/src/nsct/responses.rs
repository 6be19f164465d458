//! What each plane lets through, drawn over the plane of frequencies.

use nsct::filters::directional;
use nsct::gains::forest_gains;
use nsct::{NsctSpec, Side};

use super::args::describe;
use super::sheet::{INK, MARGIN, PAPER, SOFT, fitting};
use crate::exit::{Failure, Result};
use crate::pictures::Picture;
use crate::pictures::canvas::Canvas;

/// Frequencies along each side of a small picture.
const TILE: usize = 128;
const GAP: usize = 8;
const COLUMNS: usize = 8;
const CAPTION: usize = 26;
const HEADING: usize = 44;

/// One small picture for every direction of every different tree of a transform: frequency 0 in the middle, black where
/// the plane lets nothing through.
pub(crate) fn responses(spec: &NsctSpec) -> Result<Picture> {
    let mut depths: Vec<u8> = spec.levels.iter().copied().filter(|&level| level > 0).collect();
    depths.sort_unstable();
    depths.dedup();
    if depths.is_empty() {
        return Err(Failure::usage("no scale is divided into directions, so there is nothing to draw")
            .help("give --levels above 0"));
    }
    let forest = forest_gains::<f64>(&directional(spec.dir)?, Side::Analysis, spec.geometry, &depths, TILE, TILE)?;
    let rows = |directions: usize| directions.div_ceil(COLUMNS);
    let width = 2 * MARGIN + COLUMNS * (TILE + GAP) - GAP;
    let body: usize = forest.values().map(|planes| HEADING + rows(planes.len()) * (TILE + CAPTION)).sum();
    let top = MARGIN + 40;
    let mut canvas = Canvas::new(width, top + body + MARGIN, PAPER);
    canvas.text(MARGIN, MARGIN, 2, INK, &fitting(&describe(spec), width - 2 * MARGIN, 2));
    let mut y = top;
    for (depth, planes) in &forest {
        canvas.text(MARGIN, y + 12, 2, SOFT, &format!("depth {depth}: {} directions", planes.len()));
        y += HEADING;
        let peak = planes.iter().flatten().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        for (i, plane) in planes.iter().enumerate() {
            let at = (MARGIN + i % COLUMNS * (TILE + GAP), y + i / COLUMNS * (TILE + CAPTION));
            canvas.gray(at.0, at.1, TILE, &centred(plane, 255.0 / peak));
            canvas.text(at.0, at.1 + TILE + 5, 2, INK, &format!("d{}", i + 1));
        }
        y += rows(planes.len()) * (TILE + CAPTION);
    }
    Ok(canvas.picture())
}

/// Magnitudes of a half table of an even response, as a whole table with frequency 0 in the middle.
fn centred(half: &[f64], scale: f64) -> Vec<f64> {
    let columns = TILE / 2 + 1;
    (0..TILE * TILE)
        .map(|i| {
            let (r, c) = ((i / TILE + TILE / 2) % TILE, (i % TILE + TILE / 2) % TILE);
            let (r, c) = if c < columns { (r, c) } else { ((TILE - r) % TILE, TILE - c) };
            half[r * columns + c].abs() * scale
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_directions_share_the_plane() {
        let filters = directional("dmaxflat7".parse().unwrap()).unwrap();
        let forest = forest_gains::<f64>(&filters, Side::Analysis, nsct::Geometry::Wedge, &[1], TILE, TILE).unwrap();
        let [one, two] = [&forest[&1][0], &forest[&1][1]].map(|plane| centred(plane, 1.0));
        // Frequencies along rows lie left and right of the middle, those along columns above and below; one direction has
        // the one, the other the other.
        let (middle, side) = (TILE / 2, TILE / 2 * TILE + TILE / 8);
        let above = TILE / 8 * TILE + middle;
        assert!((one[side] > 0.5) != (two[side] > 0.5), "{} {}", one[side], two[side]);
        assert!((one[side] > 0.5) != (one[above] > 0.5), "{} {}", one[side], one[above]);
    }
}
