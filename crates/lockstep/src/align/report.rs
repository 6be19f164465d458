//! Pages to look at: one a scene, and an index.

use std::path::{Path, PathBuf};

use ::align::descriptor::{LEAST_MASK, MOST_LOSS};
use ::align::estimate::Estimator;
use ::align::tiles::Tile;
use ::align::{AlignBackend, Options, State};

use super::drawing::{self, Couple, Plane};
use super::record::{PairRecord, SetRecord};
use super::work::Finished;
use crate::exit::Result;
use crate::report::{Cell, Page};

/// Pairs of a scene that are drawn; the most doubtful come first.
const DRAWN: usize = 8;
/// Half the side of the surfaces.
const REACH: usize = 64;

const FOOTER: &str = "Made by lockstep align. A shift (dy, dx) means noisy(y, x) = gt(y + dy, x + dx).";

/// The page's file name.
fn page_name(set: &str) -> String {
    crate::files::fitting(&set.replace('/', "_"), 5) + ".html"
}

/// Doubt first: worse states, then weaker peaks.
fn doubt(p: &PairRecord) -> (u8, f32) {
    let state = match p.result.state {
        State::Failed => 0,
        State::AtLimit => 1,
        State::NotATranslation => 2,
        State::Doubtful => 3,
        State::Confident => 4,
    };
    (state, p.result.psr)
}

fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.chars().count() > 44 { format!("{}…", name.chars().take(43).collect::<String>()) } else { name }
}

fn row(p: &PairRecord) -> Vec<Cell> {
    let r = &p.result;
    let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.0}"));
    let (mask, loss, dropped) = match &p.use_of {
        Some(u) => {
            let why = match (u.mask_mean < LEAST_MASK, u.loss > MOST_LOSS) {
                (true, _) => "mask",
                (_, true) => "loss",
                _ => "",
            };
            (format!("{:.3}", u.mask_mean), format!("{:.4}", u.loss), why.to_owned())
        }
        None => ("–".to_owned(), "–".to_owned(), "not compared".to_owned()),
    };
    let state: Cell = match r.state {
        State::Confident => Cell::Best(r.state.name().to_owned()),
        other => other.name().into(),
    };
    vec![
        short(&p.file).into(),
        state,
        format!("{:.2}, {:.2}", r.shift[0], r.shift[1]).into(),
        format!("{:.1}", r.psr).into(),
        format!("{:.2}", r.ratio).into(),
        number(p.iso[1]).into(),
        format!("{:.4} → {:.4}", r.mad[0], r.mad[1]).into(),
        mask.into(),
        loss.into(),
        dropped.into(),
    ]
}

const HEAD: [&str; 10] =
    ["picture", "state", "shift", "psr", "ratio", "ISO", "difference before → after", "mask", "loss", "training drops"];

/// Writes the page of a scene; returns its file.
pub(crate) fn scene<B: AlignBackend>(folder: &Path, b: &B, options: &Options, done: &Finished) -> Result<Vec<PathBuf>> {
    let record = &done.record;
    let lead = match &record.unusable {
        Some(why) => why.clone(),
        None => format!("{}, {} x {} pixels", record.camera, record.size[1], record.size[0]),
    };
    let mut page = Page::new(&record.set, &lead);
    let mut order: Vec<usize> = (0..record.pairs.len()).filter(|&i| done.pairs[i].0 != done.pairs[i].1).collect();
    order.sort_by(|&i, &j| {
        let (a, b) = (doubt(&record.pairs[i]), doubt(&record.pairs[j]));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    page.table(&HEAD, order.iter().map(|&i| row(&record.pairs[i])).collect());
    for file in record.bad_files() {
        page.text(&format!(
            "`{}` {}: {}",
            short(&file.path),
            file.state,
            super::bare(&file.path, file.reason.as_deref().unwrap_or(""))
        ));
    }
    if let Some(frames) = &done.frames
        && let Some(first) = frames.first()
    {
        let mut estimator = Estimator::new(b, &first.cfa, first.size(), options, 1)?;
        let mut store = estimator.store(2)?;
        let block = first.cfa.block();
        for &i in order.iter().take(DRAWN) {
            let (gt, other) = done.pairs[i];
            let pair = &record.pairs[i];
            let mut planes = Vec::new();
            for (slot, frame) in [gt, other].into_iter().enumerate() {
                estimator.prepare(&mut store, slot, &*frames.get(frame)?)?;
                let ([height, width], values) = estimator.proxy(&store, slot)?;
                planes.push(Plane { height, width, values });
            }
            let shift = pair.result.shift.map(|d| (d / block as f64).round() as i64);
            let couple = |shift| Couple { gt: &planes[0], noisy: &planes[1], shift };
            let (before, after) = (couple([0, 0]), couple(shift));
            let full = before.large_difference().max(after.large_difference());
            let (side, values) = estimator.surface(&store, (0, 1), REACH)?;
            let mut pictures = vec![
                (before.overlay()?, "before", "ground truth red, picture cyan"),
                (after.overlay()?, "after", "gray where they agree"),
                (drawing::surface(side, &values)?, "correlation", "three decades around no shift"),
                (before.difference(full)?, "difference before", "gain-matched"),
                (after.difference(full)?, "difference after", "same scale"),
                (
                    drawing::histogram(&before, &after, full)?,
                    "differences",
                    "before red, after cyan, counts logarithmic",
                ),
            ];
            if let Some(t) = &pair.result.tiles {
                let own = |k: usize, tile: &Tile| tile.shift[k] - pair.result.shift[k];
                let arrows: Vec<_> = t
                    .tiles
                    .iter()
                    .map(|tile| (tile.centre.map(|v| v / block as f64), [own(0, tile), own(1, tile)]))
                    .collect();
                let drawn = drawing::arrows(&planes[1], &arrows)?;
                pictures.push((drawn, "tiles", "shifts around the pair's, twelve pixels here are one"));
            }
            page.section(&format!("{}: {}", short(&pair.file), pair.result.state.name()));
            let exposed = match pair.exposure {
                [Some(a), Some(z)] => format!(", exposed for {a:.5} s and {z:.5} s"),
                _ => String::new(),
            };
            page.text(&format!(
                "with `{}`: shift ({:.3}, {:.3}), psr {:.1}, ratio {:.2}{exposed}",
                short(&pair.gt),
                pair.result.shift[0],
                pair.result.shift[1],
                pair.result.psr,
                pair.result.ratio
            ));
            if let Some(t) = &pair.result.tiles {
                page.text(&format!(
                    "{} of {} tiles have a shift of their own: turned by {:.3}°, scale {:.5}; they are {:.2} px (rms) around \
                     the pair's shift and {:.2} px around turn and scale",
                    t.tiles.len(),
                    t.count,
                    t.rotation_deg,
                    t.scale,
                    t.rms_translation,
                    t.rms_fit
                ));
            }
            let shown: Vec<(&[u8], &str, &str)> =
                pictures.iter().map(|(png, name, caption)| (png.as_slice(), *name, *caption)).collect();
            page.pictures(&shown);
        }
    }
    let path = folder.join(page_name(&record.set));
    crate::files::write(&path, page.html(FOOTER).as_bytes())?;
    Ok(vec![path])
}

/// Writes `index.html` over all scenes.
pub(crate) fn index(folder: &Path, sets: &[SetRecord]) -> Result<()> {
    let pairs: Vec<&PairRecord> = sets.iter().flat_map(|s| &s.pairs).filter(|p| p.gt != p.file).collect();
    let confident = pairs.iter().filter(|p| p.result.state == State::Confident).count();
    let lead = format!("{} scenes, {} pairs, {confident} of them confident", sets.len(), pairs.len());
    let mut page = Page::new("Alignment", &lead);
    let rows = sets.iter().map(|set| {
        let pairs: Vec<&PairRecord> = set.pairs.iter().filter(|p| p.gt != p.file).collect();
        let count = |state: State| pairs.iter().filter(|p| p.result.state == state).count();
        let sure = count(State::Confident);
        let dropped = pairs.iter().filter_map(|p| p.use_of.as_ref());
        let dropped = dropped.filter(|u| u.mask_mean < LEAST_MASK || u.loss > MOST_LOSS).count();
        let share = sure as f64 / pairs.len().max(1) as f64;
        vec![
            Cell::from(set.set.as_str()),
            set.camera.as_str().into(),
            format!("{}", set.files.len()).into(),
            format!("{}", set.bad_files().count()).into(),
            Cell::Bar(share, format!("{sure} of {}", pairs.len())),
            format!("{}", count(State::Doubtful) + count(State::NotATranslation)).into(),
            format!("{}", count(State::Failed) + count(State::AtLimit)).into(),
            format!("{dropped}").into(),
            set.unusable.clone().unwrap_or_default().into(),
        ]
    });
    let head =
        ["scene", "camera", "files", "unusable", "confident pairs", "doubtful", "refused", "training drops", "remark"];
    page.table(&head, rows.collect());
    page.section("Pages");
    for set in sets {
        page.link(&set.set, &page_name(&set.set));
    }
    crate::files::write(&folder.join("index.html"), page.html(FOOTER).as_bytes())
}
