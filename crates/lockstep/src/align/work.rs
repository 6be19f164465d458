//! One scene: decode, align, compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ::align::descriptor::mask_name;
use ::align::folder::Scene;
use ::align::mask::{Comparer, Comparison};
use ::align::{
    AlignBackend, BlackLevel, Cfa, Error, Options, PairResult, RawFrame, SceneWork, State, align_scene, closure,
};
use gpu_core::{Backend, Cpu};
use ndarray::Array2;

use super::queue::{Pictures, Queue};
use super::record::{FileRecord, PairRecord, SCHEMA, SetRecord, UseRecord};
use crate::exit::{Exit, Failure, Result};
use crate::files::fitting;
use crate::pictures::{Depth, Layout, Picture, encode_png};
use crate::session::seconds;

/// A scene whose pictures are being read.
pub(crate) struct Decoding {
    pub(crate) title: String,
    files: Vec<PathBuf>,
    gts: usize,
    pictures: Pictures,
    begun: Instant,
}

/// Starts to read all files of a scene. Ground truths come first in the list.
pub(crate) fn decode(scene: &Scene, queue: &Arc<Queue>) -> Decoding {
    let files: Vec<PathBuf> = scene.files().cloned().collect();
    let pictures = queue.read(&files);
    Decoding { title: scene.title(), files, gts: scene.gts.len(), pictures, begun: Instant::now() }
}

/// The pictures of a scene that could be used, by their place in the list of files.
struct Gathered {
    frames: Vec<Option<RawFrame>>,
    records: Vec<FileRecord>,
}

impl Decoding {
    /// Waits for all pictures; hands each one that fits the first ground truth to `ready` as soon as it is there: its
    /// place, the first ground truth, and the picture. Where `ready` says so, the picture's pixels are given back to the
    /// system; those of the first ground truth stay.
    fn gather(&self, mut ready: impl FnMut(usize, &RawFrame, &RawFrame) -> bool) -> Result<Gathered> {
        self.pictures.hurry();
        let n = self.files.len();
        let mut arrived: Vec<Option<Result<RawFrame, Error>>> = (0..n).map(|_| None).collect();
        let mut given = vec![false; n];
        for _ in 0..n {
            let lost = |_| Failure::new(Exit::Backend, format!("{}: reading its files ended early", self.title));
            let arrival = self.pictures.arriving.recv().map_err(lost)?;
            let i = arrival.at;
            arrived[i] = Some(arrival.take());
            // The first ground truth that can be read decides what belongs to the scene.
            let known = arrived[..self.gts].iter().position(|frame| !matches!(frame, Some(Err(_))));
            let Some(known) = known else { continue };
            let Some(Ok(first)) = &arrived[known] else { continue };
            let mut needless = Vec::new();
            for (i, frame) in arrived.iter().enumerate() {
                if let (false, Some(Ok(frame))) = (given[i], frame)
                    && first.fits(frame).is_ok()
                {
                    given[i] = true;
                    if ready(i, first, frame) && i != known {
                        needless.push(i);
                    }
                }
            }
            for i in needless {
                if let Some(Ok(frame)) = &mut arrived[i] {
                    (frame.mosaic, frame.rgb) = (Array2::default((0, 0)), None);
                }
            }
        }
        let mut all = Gathered { frames: Vec::new(), records: Vec::new() };
        let first = arrived[..self.gts].iter().position(|frame| matches!(frame, Some(Ok(_))));
        for (i, (path, frame)) in self.files.iter().zip(arrived).enumerate() {
            let Some(frame) = frame else { return Err(Failure::usage("a file was read twice")) };
            let fitting = frame.and_then(|frame| match first.and_then(|first| all.frames.get(first)) {
                Some(Some(first)) if !given[i] => RawFrame::fits(first, &frame).map(|()| frame),
                _ => Ok(frame),
            });
            all.records.push(state(path, fitting.as_ref()));
            all.frames.push(fitting.ok().filter(|_| first.is_some_and(|first| i >= first)));
        }
        Ok(all)
    }
}

/// What to do with a scene.
#[allow(clippy::struct_excessive_bools)]
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
    /// They are compared with the black level of the first position.
    pub(crate) original_black: bool,
}

/// Pairs of a scene with their shifts.
struct Aligned<'a> {
    frames: &'a [RawFrame],
    paths: &'a [&'a PathBuf],
    pairs: &'a [(usize, usize)],
    results: Vec<PairResult>,
    /// Places of pictures in a scene with several ground truths.
    places: Option<BTreeMap<usize, [f64; 2]>>,
}

/// A scene that was worked on: its record, the frames that could be used, and files that were written.
pub(crate) struct Finished {
    pub(crate) record: SetRecord,
    pub(crate) frames: Vec<RawFrame>,
    /// Indices into `frames` of each pair.
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) spent: Spent,
}

/// What some scenes have cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Pixels of all pictures that were used.
    pub(crate) pixels: usize,
    /// Seconds in which devices waited for files.
    pub(crate) waited: f64,
    /// Seconds in which they worked without waiting.
    pub(crate) worked: f64,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.waited += other.waited;
        self.worked += other.worked;
    }
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
    pub(crate) fn run<B: AlignBackend>(&self, b: &B, decoding: Decoding) -> Result<Finished> {
        let mut record = SetRecord {
            schema: SCHEMA,
            set: decoding.title.clone(),
            camera: String::new(),
            cfa: String::new(),
            size: [0, 0],
            files: Vec::new(),
            pairs: Vec::new(),
            unusable: None,
        };
        let (files, gts, begun) = (decoding.files.len(), decoding.gts, decoding.begun);
        let taken = Instant::now();
        // Pictures are prepared on the device while others are still read.
        let mut early: Option<::align::Result<SceneWork<B>>> = None;
        let mut busy = 0.0;
        // Masks and pages look at the pixels again, and so does the CPU where a GPU has too little memory.
        let pixels_once = !self.compare && (B::NAME == Cpu::NAME || !self.or_cpu);
        let Gathered { frames, records } = decoding.gather(|i, first, frame| {
            let start = Instant::now();
            let work = early.get_or_insert_with(|| SceneWork::new(b, first, files, gts * files, &self.options));
            let added = work.as_mut().map_or(Ok(false), |work| work.add(i, frame));
            let needless = *added.as_ref().unwrap_or(&false);
            if let Err(e) = added {
                early = Some(Err(e));
            }
            busy += start.elapsed().as_secs_f64();
            needless && pixels_once
        })?;
        let decoded = begun.elapsed().as_secs_f64();
        let waited = taken.elapsed().as_secs_f64() - busy;
        record.files = records;
        let spent = |pixels: usize| Spent { pixels, waited, worked: taken.elapsed().as_secs_f64() - waited };
        let nothing = |record: SetRecord| {
            let (frames, pairs, files) = (Vec::new(), Vec::new(), Vec::new());
            Finished { record, frames, pairs, files, spent: spent(0) }
        };
        let at: Vec<usize> = (0..files).filter(|&i| frames[i].is_some()).collect();
        let truths = at.iter().filter(|&&i| i < gts).count();
        let pairs = ::align::all_pairs(truths, at.len());
        let Some(early) = early else {
            record.unusable = Some("no ground truth can be used".to_owned());
            return Ok(nothing(record));
        };
        let of_files: Vec<(usize, usize)> = pairs.iter().map(|&(a, b)| (at[a], at[b])).collect();
        let mut aligned = early.and_then(|work| work.finish(|i| frames[i].as_ref(), &of_files));
        let paths: Vec<&PathBuf> = at.iter().map(|&i| &decoding.files[i]).collect();
        let mut usable: Vec<RawFrame> = frames.into_iter().flatten().collect();
        let Some(first) = usable.first() else { return Ok(nothing(record)) };
        format!("{} {}", first.meta.make, first.meta.model).trim().clone_into(&mut record.camera);
        record.cfa = first.cfa.letters();
        record.size = first.size();
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
        tracing::info!(
            set = %record.set,
            decoded = %seconds(decoded),
            aligned = %seconds(begun.elapsed().as_secs_f64()),
            "shifts are known"
        );
        let places = if truths > 1 { Some(closure::close(&pairs, &mut results)) } else { None };
        if self.original_black {
            for frame in &mut usable {
                frame.black = BlackLevel::uniform(frame.cfa.period(), frame.black.at(0, 0));
            }
        }
        // With one ground truth each other picture is compared once.
        let useful = if truths > 1 { usable.len() } else { 2 };
        let of = Aligned { frames: &usable, paths: &paths, pairs: &pairs, results, places };
        let memory = self.options.memory;
        let files = match self.compare.then(|| Comparer::new(b, &usable, useful, memory)).transpose() {
            Err(Error::Gpu(e @ gpu_core::Error::OutOfMemory { .. })) if self.or_cpu && B::NAME != Cpu::NAME => {
                tracing::warn!(set = %record.set, %e, "compared on the CPU");
                let cpu = Cpu::new();
                self.pairs(&mut Some(Comparer::new(&cpu, &usable, useful, memory)?), of, &mut record)?
            }
            made => self.pairs(&mut made?, of, &mut record)?,
        };
        let spent = spent(usable.len() * record.size[0] * record.size[1]);
        Ok(Finished { record, frames: usable, pairs, files, spent })
    }

    /// Compares pairs that are worth it, and writes down all of them; returns the files of their masks.
    fn pairs<B: AlignBackend>(
        &self,
        comparer: &mut Option<Comparer<'_, B>>,
        of: Aligned<'_>,
        record: &mut SetRecord,
    ) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (&(gt, other), result) in of.pairs.iter().zip(of.results) {
            let closed = of.places.as_ref().and_then(|p| {
                let (a, b) = (p.get(&gt)?, p.get(&other)?);
                Some([a[0] - b[0], a[1] - b[1]])
            });
            let use_of = match comparer.as_mut().filter(|_| self.wanted(&result)) {
                None => None,
                Some(comparer) => match comparer.compare(gt, other, result.rounded) {
                    Ok(c) => {
                        let paths = [of.paths[gt].as_path(), of.paths[other]];
                        Some(self.used(&record.set, &of.frames[gt], paths, c, &mut files)?)
                    }
                    Err(Error::Gpu(e)) => return Err(e.into()),
                    Err(e) => {
                        let [gt, file] = [of.paths[gt], of.paths[other]].map(|p| p.display());
                        tracing::warn!(%gt, %file, %e, "not compared");
                        None
                    }
                },
            };
            let meta = |f: &dyn Fn(&RawFrame) -> Option<f64>| [f(&of.frames[gt]), f(&of.frames[other])];
            record.pairs.push(PairRecord {
                schema: SCHEMA,
                set: record.set.clone(),
                gt: of.paths[gt].clone(),
                file: of.paths[other].clone(),
                result,
                closed,
                iso: meta(&|f| f.meta.iso),
                exposure: meta(&|f| f.meta.exposure),
                use_of,
            });
        }
        Ok(files)
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
        [gt_path, file]: [&Path; 2],
        c: Comparison,
        files: &mut Vec<PathBuf>,
    ) -> Result<UseRecord> {
        let mask = match self.masks {
            Some(folder) => {
                let set = set.rsplit('/').next().unwrap_or(set);
                let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let mut path = folder.join(mask_name(set, &format!("gt/{}", name(gt_path)), &in_set(file)));
                if files.contains(&path) {
                    // Long names that differ only behind what is left of them.
                    let all = format!("{set}-gt/{}-{}", name(gt_path), in_set(file)).replace('/', "_");
                    path = folder.join(fitting(&all, 4) + ".png");
                }
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
