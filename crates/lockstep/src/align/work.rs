//! One scene: decode, align, compare.

use std::path::{Path, PathBuf};

use ::align::descriptor::mask_name;
use ::align::folder::Scene;
use ::align::mask::{Comparison, Developed, compare, develop};
use ::align::raw::RawlerReader;
use ::align::{
    AlignBackend, Cfa, Error, Limits, Options, PairResult, RawFrame, RawReader, State, align_scene, closure,
};
use gpu_core::{Backend, Cpu};
use rayon::prelude::*;

use super::record::{FileRecord, PairRecord, SCHEMA, SetRecord, UseRecord};
use crate::exit::{Failure, Result};
use crate::pictures::{Depth, Layout, Picture, encode_png};

/// The pictures of a scene, ground truths first; errors in place of those that cannot be used.
pub(crate) struct Decoded {
    pub(crate) title: String,
    pub(crate) frames: Vec<(PathBuf, Result<RawFrame, Error>)>,
    gts: usize,
}

/// Reads all files of a scene, on all threads.
pub(crate) fn decode(scene: &Scene) -> Decoded {
    let files: Vec<PathBuf> = scene.files().cloned().collect();
    let limits = Limits::default();
    let frames = files
        .into_par_iter()
        .map(|path| {
            let frame = RawlerReader.read(&path, &limits);
            (path, frame)
        })
        .collect();
    Decoded { title: scene.title(), frames, gts: scene.gts.len() }
}

/// What to do with a scene.
pub(crate) struct Job<'a> {
    pub(crate) options: Options,
    /// A scene of which not even one pair fits a GPU goes to the CPU.
    pub(crate) or_cpu: bool,
    /// Compare pairs, for a descriptor.
    pub(crate) compare: bool,
    /// Where masks go.
    pub(crate) masks: Option<&'a Path>,
    /// Only pairs that are confident are compared.
    pub(crate) strict: bool,
}

/// A scene that was worked on: its record, the frames that could be used, and files that were written.
pub(crate) struct Finished {
    pub(crate) record: SetRecord,
    pub(crate) frames: Vec<RawFrame>,
    /// Indices into `frames` of each pair.
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) files: Vec<PathBuf>,
}

fn state(path: &Path, frame: Result<&RawFrame, &Error>) -> FileRecord {
    match frame {
        Ok(frame) => {
            let warnings = frame.meta.warnings.clone();
            FileRecord { path: path.to_owned(), state: "ok".to_owned(), reason: None, warnings }
        }
        Err(e) => {
            let reason = Some(e.to_string());
            FileRecord { path: path.to_owned(), state: e.kind().to_owned(), reason, warnings: Vec::new() }
        }
    }
}

impl Job<'_> {
    /// Aligns a scene and compares its pairs.
    pub(crate) fn run<B: AlignBackend>(&self, b: &B, decoded: Decoded) -> Result<Finished> {
        let Decoded { title, frames, gts } = decoded;
        let mut record = SetRecord {
            schema: SCHEMA,
            set: title,
            camera: String::new(),
            cfa: String::new(),
            size: [0, 0],
            files: Vec::new(),
            pairs: Vec::new(),
            unusable: None,
        };
        let (mut usable, mut paths, mut truths) = (Vec::<RawFrame>::new(), Vec::new(), 0);
        for (i, (path, frame)) in frames.into_iter().enumerate() {
            // The first ground truth that can be read decides what belongs to the scene.
            let fitting = frame.and_then(|frame| match usable.first() {
                Some(first) => first.fits(&frame).map(|()| frame),
                None => Ok(frame),
            });
            record.files.push(state(&path, fitting.as_ref()));
            if let Ok(frame) = fitting
                && (i < gts || truths > 0)
            {
                truths += usize::from(i < gts);
                usable.push(frame);
                paths.push(path);
            }
        }
        let nothing = |record: SetRecord| Finished { record, frames: Vec::new(), pairs: Vec::new(), files: Vec::new() };
        let Some(first) = usable.first() else {
            record.unusable = Some("no ground truth can be used".to_owned());
            return Ok(nothing(record));
        };
        format!("{} {}", first.meta.make, first.meta.model).trim().clone_into(&mut record.camera);
        record.cfa = first.cfa.letters();
        record.size = first.size();
        let pairs = ::align::all_pairs(truths, usable.len());
        let mut aligned = align_scene(b, &usable, &pairs, &self.options);
        if let (true, Err(Error::Gpu(e @ gpu_core::Error::OutOfMemory { .. }))) =
            (self.or_cpu && B::NAME != Cpu::NAME, &aligned)
        {
            tracing::warn!(set = %record.set, %e, "on the CPU");
            aligned = align_scene(&Cpu::new(), &usable, &pairs, &self.options);
        }
        let mut results = match aligned {
            Ok(results) => results,
            Err(Error::Gpu(e)) => return Err(e.into()),
            Err(e) => {
                record.unusable = Some(e.to_string());
                return Ok(nothing(record));
            }
        };
        let places = if truths > 1 { Some(closure::close(&pairs, &mut results)) } else { None };
        let mut developed: Vec<Option<Developed<B>>> = usable.iter().map(|_| None).collect();
        let mut files = Vec::new();
        for (&(gt, other), result) in pairs.iter().zip(results) {
            let closed = places.as_ref().and_then(|p| {
                let (a, b) = (p.get(&gt)?, p.get(&other)?);
                Some([a[0] - b[0], a[1] - b[1]])
            });
            let use_of = if self.compare && self.wanted(&result) {
                for i in [gt, other] {
                    if developed[i].is_none() {
                        developed[i] = Some(develop(b, &usable[i])?);
                    }
                }
                let (Some(clean), Some(noisy)) = (&developed[gt], &developed[other]) else {
                    return Err(Failure::usage("a picture was not developed"));
                };
                let compared = compare(b, (clean, &usable[gt]), (noisy, &usable[other]), result.rounded);
                if truths == 1 && other != gt {
                    // No other pair needs its colours.
                    developed[other] = None;
                }
                match compared {
                    Ok(c) => Some(self.used(&record.set, &usable[gt], [&paths[gt], &paths[other]], c, &mut files)?),
                    Err(e) => {
                        tracing::warn!(gt = %paths[gt].display(), file = %paths[other].display(), %e, "not compared");
                        None
                    }
                }
            } else {
                None
            };
            let meta = |f: &dyn Fn(&RawFrame) -> Option<f64>| [f(&usable[gt]), f(&usable[other])];
            record.pairs.push(PairRecord {
                schema: SCHEMA,
                set: record.set.clone(),
                gt: paths[gt].clone(),
                file: paths[other].clone(),
                result,
                closed,
                iso: meta(&|f| f.meta.iso),
                exposure: meta(&|f| f.meta.exposure),
                use_of,
            });
        }
        Ok(Finished { record, frames: usable, pairs, files })
    }

    fn wanted(&self, result: &PairResult) -> bool {
        match result.state {
            State::Confident => true,
            State::Doubtful | State::NotATranslation => !self.strict,
            State::Failed | State::AtLimit => false,
        }
    }

    fn used(
        &self,
        set: &str,
        gt: &RawFrame,
        [gt_path, path]: [&Path; 2],
        c: Comparison,
        files: &mut Vec<PathBuf>,
    ) -> Result<UseRecord> {
        let mask = match self.masks {
            Some(folder) => {
                let set = set.rsplit('/').next().unwrap_or(set);
                let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let path = folder.join(mask_name(set, &format!("gt/{}", name(gt_path)), &in_set(path)));
                let (height, width) = c.mask.dim();
                let samples = c.mask.iter().map(|&v| f64::from(v)).collect();
                let picture = Picture {
                    shape: [1, 1, height, width],
                    samples,
                    depth: Depth::U8,
                    layout: Layout::Hw,
                    alpha: None,
                };
                crate::files::write(&path, &encode_png(&picture)?)?;
                files.push(path.clone());
                Some(path)
            }
            None => None,
        };
        Ok(UseRecord {
            gt_rect: c.gt,
            noisy_rect: c.noisy,
            loss: c.loss,
            raw_gain: c.raw_gain,
            rgb_gain: c.rgb_gain,
            overexposure_lb: c.overexposure,
            mask,
            mask_mean: c.mask_mean,
            is_bayer: matches!(gt.cfa, Cfa::Bayer(_)),
            rgb_xyz_matrix: gt.meta.xyz_to_camera,
        })
    }
}

/// A file's path inside its scene: its name, with `gt/` before those of ground truths.
fn in_set(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().and_then(Path::file_name);
    if folder.is_some_and(|f| f == "gt") { format!("gt/{name}") } else { name }
}
