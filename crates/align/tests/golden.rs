//! Stored photographs: what each file must be read as, and the shifts of the scenes. `LOCKSTEP_DATA` names the data
//! folder.
#![allow(clippy::print_stdout, clippy::format_collect)]

use std::collections::HashMap;
use std::path::PathBuf;

use align::mask::{compare, develop};
use align::overlap::overlap;
use align::raw::RawlerReader;
use align::{Error, Limits, MaxShift, Options, RawFrame, RawReader, Refine, State, Warning, align_scene};
use gpu_core::Cpu;
use gpu_core::testing::data_folder;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn json(path: &str) -> Vec<Value> {
    let path = data_folder("align").join(path);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn scene_file(row: &Value, key: &str) -> PathBuf {
    data_folder("align").join("scenes").join(row[key].as_str().unwrap())
}

fn read(path: &std::path::Path) -> RawFrame {
    RawlerReader.read(path, &Limits::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Median of some numbers.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_file_is_read_or_refused_as_expected() {
    let folder = data_folder("align").join("decode");
    let bytes = std::fs::read(folder.join("expected.json")).unwrap();
    let all: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    let mut good = 0;
    for row in &all {
        let name = row["file"].as_str().unwrap();
        let read = RawlerReader.read(&folder.join(name), &Limits::default());
        if row["outcome"] != "ok" {
            let e = read.expect_err(name);
            let kinds: &[&str] = match name {
                "bad_huge_dimensions.dng" => &["too-large"],
                "bad_truncated.dng" | "bad_empty.dng" => &["damaged"],
                "linear_raw.dng" | "bad_unknown_compression.dng" | "bad_text.cr2" => &["unsupported"],
                _ => panic!("{name} is new: {e}"),
            };
            assert!(kinds.contains(&e.kind()), "{name}: {}: {e}", e.kind());
            continue;
        }
        good += 1;
        let frame = read.unwrap_or_else(|e| panic!("{e}"));
        let number = |v: &Value| v.as_f64().unwrap();
        let area: Vec<usize> =
            row["active_area_tlbr"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        let letters = row["cfa_at_0_0"].as_str().unwrap();
        let p = frame.cfa.period();
        let crop = frame.meta.crop.unwrap();
        // Inside the active area, and less than a period of it is lost on each side.
        assert!(crop.top >= area[0] && crop.left >= area[1], "{name}: {crop:?}");
        assert!(crop.top + crop.height <= area[2] && crop.left + crop.width <= area[3], "{name}: {crop:?}");
        assert!(crop.top - area[0] < p && area[2] - crop.top - crop.height < p, "{name}: {crop:?}");
        assert!(crop.left - area[1] < p && area[3] - crop.left - crop.width < p, "{name}: {crop:?}");
        assert_eq!(frame.cfa.canonical_offset(), Some([0, 0]), "{name}");
        for y in 0..p {
            for x in 0..p {
                let at = (crop.top + y) % p * p + (crop.left + x) % p;
                let letter = letters.as_bytes()[at] as char;
                assert_eq!(frame.cfa.letters().as_bytes()[y * p + x] as char, letter, "{name} at {y}, {x}");
                let black = number(&row["black_by_phase"][at]);
                assert!((f64::from(frame.black.at(y, x)) - black).abs() < 1e-3, "{name} at {y}, {x}");
            }
        }
        assert_eq!(f64::from(frame.white), number(&row["white"]), "{name}");
        assert!(!frame.meta.warnings.contains(&Warning::CfaDoubtful), "{name}");
        // The whole mosaic, when nothing of it is cut away.
        if area == [0, 0, row["height"].as_u64().unwrap() as usize, row["width"].as_u64().unwrap() as usize]
            && [crop.height, crop.width] == area[2..]
        {
            let bytes: Vec<u8> = frame.mosaic.iter().flat_map(|v| v.to_le_bytes()).collect();
            let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hash, row["sha256_u16le"].as_str().unwrap(), "{name}");
        }
    }
    assert!(good >= 15, "{good} good files");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn whole_photographs_are_read() {
    let folder = data_folder("align").join("raw");
    for (name, cfa, size, black, white) in [
        ("canon_eos_d30.crw", "RGGB", [1450, 2176], 128.4, 4095),
        ("gopro_hero6_12mp.dng", "RGGB", [3000, 4000], 0.0, 16383),
        ("gopro_fusion_back_9mp.dng", "RGGB", [3000, 3104], 0.0, 16383),
        ("xtrans_3mp_from_hero6.dng", "", [1488, 1980], 0.0, 16383),
    ] {
        let frame = read(&folder.join(name));
        assert!(cfa.is_empty() || frame.cfa.letters() == cfa, "{name}");
        assert_eq!(frame.size(), size, "{name}");
        assert!((f64::from(frame.black.mean()) - black).abs() < 1.0, "{name}: {:?}", frame.black);
        assert!(frame.white <= white, "{name}");
        assert!(!frame.meta.warnings.contains(&Warning::CfaDoubtful), "{name}");
    }
}

/// All scenes with these options: rows of `cases.json` with their results.
fn scenes(options: &Options) -> Vec<(Value, align::PairResult)> {
    let cpu = Cpu::new();
    let mut frames = HashMap::new();
    let rows = json("scenes/cases.json");
    rows.into_iter()
        .map(|row| {
            let [gt, noisy] = ["gt", "noisy"].map(|key| {
                let path = scene_file(&row, key);
                frames.entry(path.clone()).or_insert_with(|| read(&path)).clone()
            });
            let result = align_scene(&cpu, &[gt, noisy], &[(0, 1)], options).unwrap().remove(0);
            (row, result)
        })
        .collect()
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn scenes_have_their_shifts() {
    let all = scenes(&Options::default());
    assert_eq!(all.len(), 23);
    let mut errors = Vec::new();
    for (row, r) in &all {
        let name = row["noisy"].as_str().unwrap();
        if row["expect"] == "reject" {
            assert_eq!(r.state, State::Failed, "{name}: {r:?}");
            continue;
        }
        let truth = ["dy", "dx"].map(|k| row[k].as_f64().unwrap());
        assert_eq!(r.state, State::Confident, "{name}: {r:?}");
        if row["special"] == "rotate" {
            // The best translation of a turned picture is not exactly that of its middle.
            assert!((0..2).all(|k| (r.shift[k] - truth[k]).abs() < 1.0), "{name}: {:?}", r.shift);
            continue;
        }
        for k in 0..2 {
            assert!((r.shift[k] - truth[k]).abs() < 0.5, "{name}: {:?} for {truth:?}", r.shift);
            if truth[k].fract() == 0.0 {
                assert_eq!(f64::from(r.rounded[k]), truth[k], "{name}");
            }
        }
        errors.push((r.shift[0] - truth[0]).hypot(r.shift[1] - truth[1]));
    }
    assert_eq!(errors.len(), 20);
    let median = median(errors);
    println!("median error {median:.4} px");
    assert!(median <= 0.05, "{median}");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn answers_are_those_of_the_reference() {
    let reference = json("scenes/reference.json");
    // The reference has one look, with windows that stand still.
    let one_look = scenes(&Options { refine: Refine::None, ..Options::default() });
    let all = scenes(&Options::default());
    let mut errors = [Vec::new(), Vec::new()];
    for ((row, r), wanted) in all.iter().zip(&reference) {
        if row["expect"] == "align" && row["special"] != "rotate" {
            let truth = ["dy", "dx"].map(|k| row[k].as_f64().unwrap());
            let error = |d: [f64; 2]| (d[0] - truth[0]).hypot(d[1] - truth[1]);
            errors[0].push(error(r.shift));
            errors[1].push(error(["dy", "dx"].map(|k| wanted[k].as_f64().unwrap())));
        }
    }
    let [ours, theirs] = errors.map(median);
    println!("median error {ours:.4} px, the reference's {theirs:.4} px");
    assert!(ours < theirs, "{ours}, {theirs}");
    for ((row, r), wanted) in one_look.iter().zip(&reference) {
        let name = row["noisy"].as_str().unwrap();
        assert_eq!(row["noisy"], wanted["noisy"]);
        let of = |key: &str| wanted[key].as_f64().unwrap();
        assert_eq!(r.state == State::Confident, wanted["confident"].as_bool().unwrap(), "{name}");
        if r.state != State::Confident {
            continue;
        }
        println!(
            "{name:.44}: {:+.3} {:+.3} px, psr {:+.1} %",
            r.shift[0] - of("dy"),
            r.shift[1] - of("dx"),
            100.0 * (f64::from(r.psr) / of("psr") - 1.0)
        );
        // The turned pair has no one shift. Of the last X-Trans scene the reference has three columns more than whole
        // periods, and transforms all of them.
        let allowed = if row["special"] == "rotate" {
            0.1
        } else if row["scene"] == "patio" {
            0.05
        } else {
            0.03
        };
        assert!((f64::from(r.psr) / of("psr") - 1.0).abs() <= 0.05, "{name}: {}", r.psr);
        assert!((r.shift[0] - of("dy")).abs() <= allowed, "{name}: {:?}", r.shift);
        assert!((r.shift[1] - of("dx")).abs() <= allowed, "{name}: {:?}", r.shift);
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn a_narrow_range_ends_at_its_limit() {
    let options = Options { max_shift: MaxShift::Pixels(40), ..Options::default() };
    let all = scenes(&options);
    let (_, far) = all.iter().find(|(row, _)| row["dy"] == -57 && row["dx"] == 83).unwrap();
    assert!(matches!(far.state, State::Failed | State::AtLimit), "{far:?}");
}

/// Intersection over union of what two masks keep, over the pixels that both have.
fn agreement(ours: &ndarray::Array2<u8>, theirs: &image::GrayImage) -> f64 {
    let (mut both, mut any) = (0.0, 0.0);
    for (x, y, pixel) in theirs.enumerate_pixels() {
        let Some(&own) = ours.get((y as usize, x as usize)) else { continue };
        let (a, b) = (own == 255, pixel.0[0] == 255);
        both += f64::from(u8::from(a && b));
        any += f64::from(u8::from(a || b));
    }
    if any > 0.0 { both / any } else { 1.0 }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn masks_and_gains_are_those_of_the_original_pipeline() {
    let cpu = Cpu::new();
    for row in json("scenes/upstream_reference.json") {
        let [gt, noisy] = ["gt", "noisy"].map(|key| read(&scene_file(&row, key)));
        let shift = align_scene(&cpu, &[gt.clone(), noisy.clone()], &[(0, 1)], &Options::default()).unwrap().remove(0);
        let name = row["mask"].as_str().unwrap();
        let of = |key: &str| row[key].as_f64().unwrap();
        let whole = (0..2).all(|k| row["true"][k].as_f64().unwrap().fract() == 0.0);
        let theirs = [0, 1].map(|k| row["best_alignment"][k].as_i64().unwrap() as i32);
        if whole && name != "10_hard_ISO65535.png" {
            assert_eq!(shift.rounded, theirs, "{name}");
        }
        let (a, b) = (develop(&cpu, &gt).unwrap(), develop(&cpu, &noisy).unwrap());
        let c = compare(&cpu, (&a, &gt), (&b, &noisy), theirs).unwrap();
        let mask = image::open(data_folder("align").join("scenes/upstream_masks").join(name)).unwrap().into_luma8();
        // What is common is what the original cuts, for odd and negative shifts, too. It reads two columns less of `tree`, so
        // that the sides of its pictures are multiples of 4.
        let size = gt.size().map(|n| n / 4 * 4);
        let (_, common) = overlap(size, size, theirs, 2).unwrap();
        assert_eq!((common.width as u32, common.height as u32), mask.dimensions(), "{name}");
        let iou = agreement(&c.mask, &mask);
        println!(
            "{name}: raw gain {:+.2} %, rgb gain {:+.2} %, loss {:+.1} %, IoU {iou:.4}, mask {:.4} / {:.4}",
            100.0 * (c.raw_gain / of("raw_gain") - 1.0),
            100.0 * (c.rgb_gain / of("rgb_gain") - 1.0),
            100.0 * (c.loss / of("best_alignment_loss") - 1.0),
            c.mask_mean,
            of("mask_mean"),
        );
        assert!((c.raw_gain / of("raw_gain") - 1.0).abs() <= 0.005, "{name}: {}", c.raw_gain);
        assert_eq!(c.overexposure, of("overexposure_lb"), "{name}");
        assert!((c.rgb_gain / of("rgb_gain") - 1.0).abs() <= 0.005, "{name}: {}", c.rgb_gain);
        assert!((c.loss / of("best_alignment_loss") - 1.0).abs() <= 0.1, "{name}: {}", c.loss);
        // Also where the mask keeps 20 pixels.
        assert!(iou >= 0.9999, "{name}: {iou}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn pictures_of_different_scenes_do_not_mix() {
    let folder = data_folder("align").join("raw");
    let (a, b) = (read(&folder.join("gopro_hero6_12mp.dng")), read(&folder.join("gopro_fusion_back_9mp.dng")));
    assert!(matches!(a.fits(&b), Err(Error::OtherCamera { .. } | Error::OtherSize { .. })));
    assert!(align_scene(&Cpu::new(), &[a, b], &[(0, 1)], &Options::default()).is_err());
}
