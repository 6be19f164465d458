use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ::align::mask::{cut, cut_rgb, develop, is_mosaic};
use ::align::overlap::overlap;
use ::align::{Limits, RawFrame, RawReader, State};
use clap::Args;
use gpu_core::Cpu;
use serde_json::{Value, json};

use super::record::{PairRecord, in_set, read_pairs};
use crate::exit::{Exit, Failure, Result};
use crate::files::{fitting, make_folder};
use crate::jobs::{Batch, Item, JobArgs, Outcome};
use crate::pictures::{Depth, Layout, Picture, encode_png};
use crate::session::Session;

/// Options of `align apply`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align apply out/alignments.jsonl --to pairs/          mosaics, cut on whole periods
  lockstep align apply out/alignments.jsonl --to pairs/ --rgb    interpolated colours, cut to the pixel

For each confident pair: two 16-bit PNG files and a JSON file with levels, pattern, and the shift that is left.")]
pub(crate) struct Apply {
    /// What `align run` wrote
    #[arg(value_name = "ALIGNMENTS")]
    alignments: PathBuf,
    /// The output folder
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Mosaics (the default): a mosaic is moved by whole periods only
    #[arg(long)]
    mosaic: bool,
    /// Interpolated colours
    #[arg(long, conflicts_with = "mosaic")]
    rgb: bool,
    #[command(flatten)]
    jobs: JobArgs,
}

impl Apply {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let sure = |p: &PairRecord| p.result.state == State::Confident && p.gt != p.file;
        let pairs: Vec<PairRecord> = read_pairs(&self.alignments)?.into_iter().filter(sure).collect();
        if pairs.is_empty() {
            return Err(Failure::usage(format!("{} has no confident pairs", self.alignments.display()))
                .help("see the report of `lockstep align run … --report` for why"));
        }
        let cpu = Cpu::new();
        let items: Vec<Item> = pairs
            .iter()
            .zip(names(&pairs))
            .map(|(p, name)| {
                let output = self.to.join(format!("{name}.json"));
                Item { name, inputs: vec![p.gt.clone(), p.file.clone()], output }
            })
            .collect();
        for pair in &pairs {
            if !::align::folder::stays_inside(&pair.set) {
                let why = format!("a scene is called `{}`, which leaves the folder {}", pair.set, self.to.display());
                return Err(Failure::input(&self.alignments, why).help("scenes are called by names, or folder/name"));
            }
        }
        let batch = Batch { what: "pairs", ..Batch::of_items(items, Vec::new(), &self.to)? };
        let settings = json!({ "command": "align apply", "rgb": self.rgb });
        let reader = super::reader()?.with_threads(rayon::current_num_threads());
        // Pairs of a scene follow each other and share their ground truth.
        let mut last: Option<(PathBuf, RawFrame)> = None;
        batch.run(session, &self.jobs, &settings, |item| {
            let Some(pair) = pairs.iter().find(|p| p.gt == item.inputs[0] && p.file == item.inputs[1]) else {
                return Err(Failure::usage("a pair was lost"));
            };
            let read = |path: &Path| -> Result<RawFrame> { Ok(reader.read(path, &Limits::default())?) };
            let gt = match last.take() {
                Some((path, frame)) if path == pair.gt => frame,
                _ => read(&pair.gt)?,
            };
            let outcome = self.one(&cpu, item, pair, &gt, &read(&pair.file)?)?;
            last = Some((pair.gt.clone(), gt));
            Ok(outcome)
        })
    }

    fn one(&self, cpu: &Cpu, item: &Item, pair: &PairRecord, gt: &RawFrame, noisy: &RawFrame) -> Result<Outcome> {
        gt.fits(noisy)?;
        let colours = (self.rgb && !self.mosaic) || !is_mosaic(gt);
        let period = if colours { 1 } else { gt.cfa.period() as i32 };
        let far = |d: &f64| !d.is_finite() || d.abs() > f64::from(1 << 20);
        if pair.result.shift.iter().any(far) {
            let [dy, dx] = pair.result.shift;
            return Err(Failure::usage(format!("its shift is ({dy}, {dx}), more than any picture has pixels")));
        }
        let moved = pair.result.shift.map(|d| (d / f64::from(period)).round() as i32 * period);
        let (from_gt, from_noisy) = overlap(gt.size(), noisy.size(), moved, period as usize)?;
        if let Some(parent) = item.output.parent() {
            make_folder(parent)?;
        }
        let mut files = Vec::new();
        for (frame, rect, what) in [(gt, from_gt, "gt"), (noisy, from_noisy, "noisy")] {
            let samples: Vec<f64> = if colours {
                let picture = develop(cpu, frame)?;
                cut_rgb(cpu, &picture, rect)?.iter().map(|&v| f64::from(v.clamp(0.0, 1.0)) * 65535.0).collect()
            } else {
                cut(frame, rect).iter().map(|&v| f64::from(v)).collect()
            };
            let shape = [1, if colours { 3 } else { 1 }, rect.height, rect.width];
            let picture = Picture { shape, samples, depth: Depth::U16, layout: Layout::Hw, alpha: None };
            let path = item.output.with_extension("");
            let path =
                path.with_file_name(format!("{}_{what}.png", path.file_name().unwrap_or_default().to_string_lossy()));
            crate::files::write(&path, &encode_png(&picture)?)?;
            files.push(path);
        }
        let residual = [0, 1].map(|k| pair.result.shift[k] - f64::from(moved[k]));
        let level = |f: &RawFrame| json!({ "black": f.black.levels(), "white": f.white });
        let value = json!({
            "gt": pair.gt, "file": pair.file, "kind": if colours { "rgb" } else { "mosaic" }, "cfa": gt.cfa.letters(),
            "levels": if colours { Value::Null } else { json!([level(gt), level(noisy)]) }, "moved": moved,
            "residual": residual, "rect_gt": from_gt, "rect_noisy": from_noisy,
        });
        let text = serde_json::to_vec_pretty(&value)
            .map_err(|e| Failure::new(Exit::Io, format!("cannot write the description: {e}")))?;
        crate::files::write(&item.output, &text)?;
        files.push(item.output.clone());
        Ok(Outcome { files, value })
    }
}

/// The name of each pair's files, with its scene's folder: those of the two pictures without their endings where these
/// tell the pairs of a scene apart, else their paths in the scene.
fn names(pairs: &[PairRecord]) -> Vec<String> {
    // The longest ending is that of the noisy picture.
    let of =
        |p: &PairRecord, a: &str, z: &str| format!("{}/{}", p.set, fitting(&format!("{a}--{z}"), "_noisy.png".len()));
    let stem = |p: &Path| p.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let short: Vec<String> = pairs.iter().map(|p| of(p, &stem(&p.gt), &stem(&p.file))).collect();
    let mut count = HashMap::<String, usize>::new();
    for name in &short {
        *count.entry(name.to_lowercase()).or_default() += 1;
    }
    let mut taken = HashSet::new();
    let named = short.into_iter().zip(pairs).map(|(short, p)| {
        let mut name = short;
        let mut tries = 1;
        while count.get(&name.to_lowercase()).is_some_and(|&n| n > 1) || !taken.insert(name.to_lowercase()) {
            let number = if tries > 1 { format!("-{tries}") } else { String::new() };
            name = of(p, &in_set(&p.gt).replace('/', "_"), &(in_set(&p.file).replace('/', "_") + &number));
            tries += 1;
        }
        name
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use ::align::PairResult;

    use super::*;

    #[test]
    fn every_pair_has_files_of_its_own() {
        let pair = |set: &str, gt: &str, file: &str| PairRecord {
            schema: 1,
            set: set.to_owned(),
            gt: gt.into(),
            file: file.into(),
            result: PairResult::identity(),
            closed: None,
            iso: [None; 2],
            exposure: [None; 2],
            use_of: None,
        };
        let pairs = [
            pair("a", "a/gt/0.dng", "a/1.dng"),
            pair("b", "b/gt/0.dng", "b/1.dng"),
            // One name in both folders, once with another ending, and one that looks like a path.
            pair("b", "b/gt/0.dng", "b/2.dng"),
            pair("b", "b/gt/0.dng", "b/gt/2.dng"),
            pair("b", "b/gt/0.dng", "b/2.TIF"),
            pair("b", "b/gt/0.dng", "b/gt_2.dng"),
            pair("b", "b/gt/0.dng", "b/gt_2.tif"),
        ];
        let wanted = [
            "a/0--1",
            "b/0--1",
            "b/gt_0.dng--2.dng",
            "b/gt_0.dng--gt_2.dng",
            "b/gt_0.dng--2.TIF",
            "b/gt_0.dng--gt_2.dng-2",
            "b/gt_0.dng--gt_2.tif",
        ];
        assert_eq!(names(&pairs), wanted);
    }
}
