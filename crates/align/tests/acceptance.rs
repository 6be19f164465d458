//! The accuracy that the crate promises, on hundreds of pairs with known shifts: real photographs seen again through a
//! colour filter array, and drawn scenes. Prints one line a row of the table in `docs/align.md`.
//!
//! `LOCKSTEP_ACCEPTANCE=DIR` keeps the pairs as DNG files, with `cases.json` that says the truth and our answers:
//! `benches/peers/align_accuracy.py DIR` asks other programs the same.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use align::raw::RawlerReader;
use align::testing::{DngOptions, Scenery, Shot, write_dng, xtrans};
use align::{Cfa, Limits, Options, PairResult, RawReader, Refine, State, align_scene};
use gpu_core::Cpu;
use gpu_core::testing::data_folder;
use ndarray::Array3;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Hot pixels and noise of rows and columns of a sensor, the same in all its pictures: a usual one, and a bad one.
const SENSORS: [(f64, f64); 2] = [(0.0005, 0.0004), (0.002, 0.004)];
/// The bad one.
const BAD: usize = 1;

/// One pair: how its second picture is taken, and in which row of the table it counts.
struct Case {
    row: &'static str,
    scene: usize,
    sensor: usize,
    shot: Shot,
    /// Whether there is something to align.
    same: bool,
}

/// A photograph as light: one Bayer cell is one place, so that little of its own noise is left in a picture.
fn photograph(name: &str, top: usize, left: usize) -> Scenery {
    let path = data_folder("align").join("raw").join(name);
    let frame = RawlerReader.read(&path, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    // 1480 x 1544 places are pictures of 420 x 452 pixels.
    let (rows, columns) = (1480, 1544);
    let (black, range) = (frame.black.mean(), f32::from(frame.white) - frame.black.mean());
    let light = Array3::from_shape_fn((3, rows, columns), |(c, y, x)| {
        let at = |dy: usize, dx: usize| f32::from(frame.mosaic[[2 * (y + top) + dy, 2 * (x + left) + dx]]);
        let v = match c {
            0 => at(0, 0),
            1 => f32::midpoint(at(0, 1), at(1, 0)),
            _ => at(1, 1),
        };
        // White balance of daylight, roughly: the pictures' own.
        ((v - black) / range).clamp(0.0, 1.0)
    });
    Scenery::from_light(light).unwrap()
}

/// Scenes, and for each its pattern.
fn scenes() -> Vec<(String, Scenery, Cfa)> {
    let mut all = Vec::new();
    for (kind, cfa) in [("Bayer", Cfa::RGGB), ("X-Trans", xtrans())] {
        // The fisheye's circle starts where the second one is cut.
        for (name, top, left) in [("gopro_hero6_12mp.dng", 0, 0), ("gopro_fusion_back_9mp.dng", 10, 4)] {
            all.push((format!("{kind}/{}", &name[6..9]), photograph(name, top, left), cfa));
        }
        for seed in [21, 22] {
            all.push((format!("{kind}/drawn{seed}"), Scenery::new(seed, 420, 450), cfa));
        }
    }
    all
}

/// The clean picture of a scene.
fn clean(cfa: Cfa, sensor: usize) -> Shot {
    let (hot, pattern) = SENSORS[sensor];
    Shot { cfa, hot, pattern, ..Shot::default() }
}

/// Everything that is asked. Scenes with even numbers below 2 of four are photographs.
fn cases(scenes: &[(String, Scenery, Cfa)]) -> Vec<Case> {
    let mut all = Vec::new();
    let mut seed = 1000;
    for (scene, (_, _, cfa)) in scenes.iter().enumerate() {
        let photo = scene % 4 < 2;
        let mut add = |row, shift, iso, exposure, sensor: usize, same| {
            seed += 1;
            let (hot, pattern) = SENSORS[sensor];
            let shot = Shot { shift, iso, exposure, seed, cfa: *cfa, hot, pattern };
            all.push(Case { row, scene, sensor, shot, same });
        };
        // Shifts as hands make them: whole and half pixels.
        let somewhere = |i: usize| {
            let k = (scene * 37 + i * 11) as f64;
            [((k * 7.3) % 61.0).floor() - 30.0, ((k * 5.7) % 73.0).floor() - 36.0]
        };
        if photo {
            for (i, iso) in [400.0, 800.0, 1600.0, 3200.0, 6400.0, 12800.0, 25600.0].into_iter().enumerate() {
                add("photographs", somewhere(i), iso, 1.0, 0, true);
                add("photographs", somewhere(i + 7), iso, 0.5, 0, true);
            }
            for i in 0..3 {
                add("photographs, ISO 65535", somewhere(i + 20), 65535.0, 0.5, 0, true);
            }
            for (i, iso) in [200.0, 800.0, 3200.0, 6400.0].into_iter().enumerate() {
                let [dy, dx] = somewhere(i + 30);
                add("fractions, ISO up to 6400", [dy + 0.5, dx], iso, 1.0, 0, true);
                add("fractions, ISO up to 6400", [dy + 0.5, dx - 0.5], iso, 1.0, 0, true);
            }
        }
        for (row, exposure) in
            [("hot pixels, ISO 65535", 1.0), ("hot pixels, exposure 1/4", 0.25), ("hot pixels, exposure 1/16", 0.0625)]
        {
            for i in 0..6 {
                add(row, somewhere(i + 40), 65535.0, exposure, BAD, true);
            }
        }
        for (dy, dx) in [(110.0, 40.0), (-35.0, 110.0), (-110.0, -110.0), (110.0, -73.0)] {
            add("110 pixels, ISO 6400", [dy, dx], 6400.0, 1.0, 0, true);
        }
        for i in 0..3 {
            add("another scene", somewhere(i + 50), 6400.0, 1.0, BAD, false);
        }
    }
    all
}

/// What came out for one case: by the peak alone, as it comes, and with Gauss-Newton.
struct Answer {
    first: PairResult,
    plain: PairResult,
    finer: PairResult,
}

fn error(r: &PairResult, truth: [f64; 2]) -> f64 {
    (r.shift[0] - truth[0]).hypot(r.shift[1] - truth[1])
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[((values.len() - 1) as f64 * q).round() as usize] }
}

/// Writes the pairs where other programs can read them.
fn keep(folder: &Path, scenes: &[(String, Scenery, Cfa)], cases: &[Case], answers: &[Answer]) {
    let mut rows = Vec::new();
    let file = |name: &str, scene: &Scenery, shot: &Shot| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let o = DngOptions { cfa: shot.cfa, iso: shot.iso as u16, ..DngOptions::default() };
        std::fs::write(path, write_dng(&scene.mosaic(shot).view(), &o)).unwrap();
    };
    for (name, scene, cfa) in scenes {
        for sensor in 0..SENSORS.len() {
            file(&format!("{name}/gt/sensor{sensor}.dng"), scene, &clean(*cfa, sensor));
        }
    }
    for (i, (case, answer)) in cases.iter().zip(answers).enumerate() {
        let name = &scenes[case.scene].0;
        let path = format!("{name}/{i:04}_ISO{}.dng", case.shot.iso);
        file(&path, &scenes[shown(case)].1, &case.shot);
        let one = |r: &PairResult| json!({ "shift": r.shift, "state": r.state });
        rows.push(json!({
            "row": case.row, "gt": format!("{name}/gt/sensor{}.dng", case.sensor), "noisy": path, "iso": case.shot.iso,
            "exposure": case.shot.exposure, "dy": case.shot.shift[0], "dx": case.shot.shift[1],
            "expect": if case.same { "align" } else { "reject" },
            "lockstep": one(&answer.plain), "lockstep gn": one(&answer.finer),
        }));
    }
    std::fs::write(folder.join("cases.json"), serde_json::to_vec_pretty(&Value::from(rows)).unwrap()).unwrap();
}

/// The scene that the second picture of a pair shows.
fn shown(case: &Case) -> usize {
    if case.same { case.scene } else { case.scene ^ 1 }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn the_accuracy_that_is_promised() {
    let scenes = scenes();
    let cases = cases(&scenes);
    let truths: Vec<_> =
        scenes.iter().map(|(_, scene, cfa)| [0, BAD].map(|sensor| scene.shoot(&clean(*cfa, sensor)))).collect();
    let cpu = Cpu::new();
    let answers: Vec<Answer> = cases
        .par_iter()
        .map(|case| {
            let pair = [truths[case.scene][case.sensor].clone(), scenes[shown(case)].1.shoot(&case.shot)];
            let of = |refine| {
                let o = Options { refine, ..Options::default() };
                align_scene(&cpu, &pair, &[(0, 1)], &o).unwrap().remove(0)
            };
            Answer { first: of(Refine::None), plain: of(Refine::Follow), finer: of(Refine::Gn) }
        })
        .collect();
    if let Some(folder) = std::env::var_os("LOCKSTEP_ACCEPTANCE") {
        keep(&PathBuf::from(folder), &scenes, &cases, &answers);
    }
    let mut missed = Vec::new();
    // Exact at least, median and 90th percentile of the error at most, and median with Gauss-Newton.
    for (row, exact, median, high, gn) in [
        ("photographs", 44.0 / 45.0, 0.04, 0.12, 0.02),
        ("photographs, ISO 65535", 0.9, 0.1, 0.5, f64::MAX),
        ("hot pixels, ISO 65535", 0.98, 0.1, 0.5, f64::MAX),
        ("hot pixels, exposure 1/4", 0.95, 0.15, 0.5, f64::MAX),
        ("hot pixels, exposure 1/16", 0.8, 0.3, f64::MAX, f64::MAX),
        ("110 pixels, ISO 6400", 1.0, 0.04, 0.12, 0.05),
        ("fractions, ISO up to 6400", 0.0, 0.04, 0.12, 0.02),
    ] {
        let of: Vec<_> = cases.iter().zip(&answers).filter(|(c, _)| c.row == row).collect();
        let errors = |f: &dyn Fn(&Answer) -> PairResult| -> Vec<f64> {
            of.iter().map(|(c, a)| error(&f(a), c.shot.shift)).collect()
        };
        let (plain, finer) = (errors(&|a| a.plain.clone()), errors(&|a| a.finer.clone()));
        let f = quantile(errors(&|a| a.first.clone()), 0.5);
        let right = |(c, a): &&(&Case, &Answer)| (0..2).all(|k| (a.plain.shift[k] - c.shot.shift[k]).abs() < 0.5);
        let right = of.iter().filter(right).count();
        let states = |state| of.iter().filter(|(_, a)| a.plain.state == state).count();
        let refused = of.iter().filter(|(_, a)| a.plain.state == State::Failed).count();
        let wrong = of
            .iter()
            .filter(|(c, a)| a.plain.state == State::Confident && error(&a.plain, c.shot.shift) > 0.75)
            .count();
        let (m, p, g) = (quantile(plain.clone(), 0.5), quantile(plain, 0.9), quantile(finer, 0.5));
        println!(
            "{row}: {right} of {} exact, median {m:.3}, p90 {p:.3}, first look {f:.3}, gn {g:.3}; {} confident ({wrong} of them off), {} \
             doubtful, {} failed",
            of.len(),
            states(State::Confident),
            states(State::Doubtful),
            states(State::Failed),
        );
        let small = m <= median && p <= high && g <= gn;
        if !small || (right as f64) < exact * of.len() as f64 || wrong > 0 || (row == "photographs" && refused > 0) {
            missed.push(row);
        }
    }
    let others = || cases.iter().zip(&answers).filter(|(c, _)| !c.same);
    let taken = others().filter(|(_, a)| a.plain.state == State::Confident).count();
    println!("another scene: {} of {} refused", others().count() - taken, others().count());
    assert_eq!(taken, 0, "different scenes were aligned");
    assert!(missed.is_empty(), "missed: {missed:?}");
}
