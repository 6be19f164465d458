//! One scene: decode, align, compare.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ::align::descriptor::mask_name;
use ::align::folder::Scene;
use ::align::mask::{Comparer, Comparison};
use ::align::{AlignBackend, Cfa, Error, Options, PairResult, RawFrame, SceneWork, State, closure};
use gpu_core::{Backend, Cpu};
use ndarray::Array2;

use super::frames::Frames;
use super::masks::Masks;
use super::queue::{Pictures, Queue, held_bytes};
use super::record::{FileRecord, PairRecord, SCHEMA, SetRecord, UseRecord, in_set};
use crate::exit::{Exit, Failure, Result};
use crate::files::fitting;
use crate::session::seconds;

/// A scene whose pictures are being read.
pub(crate) struct Decoding {
    pub(crate) title: String,
    files: Vec<PathBuf>,
    gts: usize,
    pictures: Pictures,
}

/// Starts to read all files of a scene. Ground truths come first in the list.
pub(crate) fn decode(scene: &Scene, queue: &Arc<Queue>) -> Decoding {
    let files: Vec<PathBuf> = scene.files().cloned().collect();
    let pictures = queue.read(&files);
    Decoding { title: scene.title(), files, gts: scene.gts.len(), pictures }
}

/// The pictures of a scene that could be used, by their place in the list of files.
struct Gathered {
    frames: Vec<Option<RawFrame>>,
    records: Vec<FileRecord>,
}

impl Decoding {
    /// Waits for all pictures; hands each one that fits the first ground truth to `ready` as soon as it is there: its
    /// place, the first ground truth, and the picture. Where `ready` says so, the picture's pixels are given back, and where
    /// more than `room` bytes are held; those of the first ground truth stay.
    fn gather(&self, room: usize, mut ready: impl FnMut(usize, &RawFrame, &RawFrame) -> bool) -> Result<Gathered> {
        self.pictures.hurry();
        let n = self.files.len();
        let mut held = 0;
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
                    held += held_bytes(frame);
                    let needed = !ready(i, first, frame);
                    self.pictures.started();
                    if (!needed || held > room) && i != known {
                        held -= held_bytes(frame);
                        needless.push(i);
                    }
                }
            }
            for i in needless {
                if let Some(Ok(frame)) = &mut arrived[i] {
                    frame.rgb = None;
                    self.pictures.reuse(std::mem::take(&mut frame.mosaic));
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
    /// Names of scenes that are in several folders.
    pub(crate) same_names: BTreeSet<String>,
    /// Only pairs that are confident are compared.
    pub(crate) strict: bool,
    /// They are compared with the black level of the first position.
    pub(crate) original_black: bool,
    /// What scenes that are done had on their devices, for the next ones.
    pub(crate) kept: Kept,
}

/// Memory, tables and transforms of scenes that are done, at most one [`SceneWork`] a device.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<Box<dyn Any + Send>>>);

impl Kept {
    /// For a scene like the last one on this device; else that one's memory is given back.
    fn take<B: AlignBackend>(&self, b: &B, first: &RawFrame, pictures: usize, o: &Options) -> Option<SceneWork<B>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|kept| kept.downcast_ref().is_some_and(|kept: &SceneWork<B>| kept.is_on(b)))?;
        let kept = all.swap_remove(at).downcast::<SceneWork<B>>().ok()?;
        kept.again(b, first, pictures, o)
    }

    fn keep<B: AlignBackend>(&self, work: SceneWork<B>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(work));
    }
}

/// Pairs of a scene with their shifts.
struct Aligned<'a> {
    frames: &'a Frames,
    paths: &'a [&'a PathBuf],
    pairs: &'a [(usize, usize)],
    results: Vec<PairResult>,
    /// Places of pictures in a scene with several ground truths.
    places: Option<BTreeMap<usize, [f64; 2]>>,
}

/// A scene that was worked on: its record, the frames that could be used, and files that were written.
pub(crate) struct Finished {
    pub(crate) record: SetRecord,
    pub(crate) frames: Option<Frames>,
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
    /// Pairs with a result.
    pub(crate) pairs: usize,
    /// Seconds in which devices waited for files.
    pub(crate) waited: f64,
    /// Seconds in which they worked without waiting.
    pub(crate) worked: f64,
    /// Seconds in which they, or the run, waited for what is written and drawn.
    pub(crate) wrote: f64,
}

impl Spent {
    /// What has been done in so many seconds, and who waited for whom.
    pub(crate) fn words(&self, took: f64, readers: f64) -> String {
        let rate = self.pixels as f64 / 1e6 / took.max(1e-9);
        let [waited, worked, readers, wrote] = [self.waited, self.worked, readers, self.wrote].map(seconds);
        format!(
            "{} pairs, {rate:.1} megapixels/s; devices waited {waited} for files and worked {worked} beside, readers waited \
             {readers} for devices, writing took {wrote}",
            self.pairs
        )
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.pairs += other.pairs;
        self.waited += other.waited;
        self.worked += other.worked;
        self.wrote += other.wrote;
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
        let mut record = SetRecord::new(&decoding.title);
        let (files, gts) = (decoding.files.len(), decoding.gts);
        let taken = Instant::now();
        // Pictures are prepared on the device while others are still read.
        let mut early: Option<::align::Result<SceneWork<B>>> = None;
        let mut busy = 0.0;
        // Masks and pages look at the pixels again.
        let pixels_once = !self.compare;
        let room = decoding.pictures.room();
        let Gathered { frames, records } = decoding.gather(room, |i, first, frame| {
            let start = Instant::now();
            let work = early.get_or_insert_with(|| match self.kept.take(b, first, files, &self.options) {
                Some(kept) => Ok(kept),
                None => SceneWork::new(b, first, files, gts * files, &self.options),
            });
            let added = work.as_mut().map_or(Ok(false), |work| work.add(i, frame));
            let needless = *added.as_ref().unwrap_or(&false);
            if let Err(e) = added {
                early = Some(Err(e));
            }
            busy += start.elapsed().as_secs_f64();
            needless && pixels_once
        })?;
        let decoded = taken.elapsed().as_secs_f64();
        let waited = decoded - busy;
        record.files = records;
        let spent = |pixels: usize, pairs: usize, wrote: f64| {
            let worked = taken.elapsed().as_secs_f64() - waited - wrote;
            Spent { pixels, pairs, waited, worked, wrote }
        };
        let nothing = |record: SetRecord| Finished {
            record,
            frames: None,
            pairs: Vec::new(),
            files: Vec::new(),
            spent: spent(0, 0, 0.0),
        };
        let at: Vec<usize> = (0..files).filter(|&i| frames[i].is_some()).collect();
        let truths = at.iter().filter(|&&i| i < gts).count();
        let pairs = ::align::all_pairs(truths, at.len());
        let Some(early) = early else {
            record.unusable = Some("no ground truth can be used".to_owned());
            return Ok(nothing(record));
        };
        let of_files: Vec<(usize, usize)> = pairs.iter().map(|&(a, b)| (at[a], at[b])).collect();
        let paths: Vec<&PathBuf> = at.iter().map(|&i| &decoding.files[i]).collect();
        let mut usable = Frames::new(
            frames.into_iter().flatten().collect(),
            paths.iter().map(|&path| path.clone()).collect(),
            decoding.pictures.reader(),
        );
        let lost = |_| Error::from(gpu_core::Error::value("pairs", "a picture was lost"));
        let number = |i: usize| at.binary_search(&i).map_err(lost);
        let mut aligned = early.and_then(|mut work| {
            let found = work.finish(|i| usable.get(number(i)?), &of_files)?;
            // Comparing takes the memory.
            if !self.compare {
                self.kept.keep(work);
            }
            Ok(found)
        });
        let Some(first) = usable.first() else { return Ok(nothing(record)) };
        format!("{} {}", first.meta.make, first.meta.model).trim().clone_into(&mut record.camera);
        record.cfa = first.cfa.letters();
        record.size = first.size();
        if let (true, Err(Error::Gpu(e @ gpu_core::Error::OutOfMemory { .. }))) =
            (self.or_cpu && B::NAME != Cpu::NAME, &aligned)
        {
            tracing::warn!(set = %record.set, %e, "on the CPU");
            let cpu = SceneWork::new(&Cpu::new(), first, at.len(), pairs.len(), &self.options);
            aligned = cpu.and_then(|mut work| work.finish(|i| usable.get(i), &pairs));
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
            aligned = %seconds(taken.elapsed().as_secs_f64()),
            "shifts are known"
        );
        let places = if truths > 1 { Some(closure::close(&pairs, &mut results)) } else { None };
        if self.original_black {
            usable.level_black();
        }
        // With one ground truth each other picture is compared once.
        let useful = if truths > 1 { usable.len() } else { 2 };
        let of = Aligned { frames: &usable, paths: &paths, pairs: &pairs, results, places };
        let memory = (useful, self.options.memory);
        let (files, wrote) = if self.compare {
            match Comparer::loading(b, record.size, memory, |i| usable.get(i)) {
                Err(Error::Gpu(e @ gpu_core::Error::OutOfMemory { .. })) if self.or_cpu && B::NAME != Cpu::NAME => {
                    tracing::warn!(set = %record.set, %e, "compared on the CPU");
                    let cpu = Cpu::new();
                    let comparer = Comparer::loading(&cpu, record.size, memory, |i| usable.get(i))?;
                    self.pairs(&mut Some(comparer), of, &mut record)?
                }
                made => self.pairs(&mut Some(made?), of, &mut record)?,
            }
        } else {
            self.pairs::<B>(&mut None, of, &mut record)?
        };
        let spent = spent(usable.len() * record.size[0] * record.size[1], record.pairs.len(), wrote);
        Ok(Finished { record, frames: Some(usable), pairs, files, spent })
    }

    /// Compares pairs that are worth it, and writes down all of them; returns the files of their masks, and the seconds in
    /// which it waited for these.
    fn pairs<B: AlignBackend>(
        &self,
        comparer: &mut Option<Comparer<'_, B>>,
        of: Aligned<'_>,
        record: &mut SetRecord,
    ) -> Result<(Vec<PathBuf>, f64)> {
        let masks = Masks::new(rayon::current_num_threads() + 1);
        let (files, waited) = masks.during(|scope| {
            let mut files = Vec::new();
            let write = |path: PathBuf, mask: Array2<u8>| masks.write(scope, path, mask);
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
                            Some(self.used(&record.set, of.frames.about(gt), paths, c, &mut files, &write))
                        }
                        Err(Error::Gpu(e)) => return Err(e.into()),
                        Err(e) => {
                            let [gt, file] = [of.paths[gt], of.paths[other]].map(|p| p.display());
                            tracing::warn!(%gt, %file, %e, "not compared");
                            None
                        }
                    },
                };
                let meta = |f: &dyn Fn(&RawFrame) -> Option<f64>| [gt, other].map(|i| f(of.frames.about(i)));
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
        })?;
        Ok((files, waited))
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
        write: &dyn Fn(PathBuf, Array2<u8>),
    ) -> UseRecord {
        let mask = match self.masks {
            Some(folder) => {
                let short = set.rsplit('/').next().unwrap_or(set);
                // Two scenes with one name in different folders have masks of their own.
                let set = if self.same_names.contains(short) { set.replace('/', "_") } else { short.to_owned() };
                let gt = format!("gt/{}", gt_path.file_name().unwrap_or_default().to_string_lossy());
                let mut path = folder.join(mask_name(&set, &gt, &in_set(file)));
                let mut tries = 1;
                while files.contains(&path) {
                    // Long names that differ only behind what is left of them, or names like a path.
                    let number = if tries > 1 { format!("-{tries}") } else { String::new() };
                    let all = format!("{set}-{gt}-{}", in_set(file)).replace('/', "_") + &number;
                    path = folder.join(fitting(&all, 4) + ".png");
                    tries += 1;
                }
                write(path.clone(), c.mask);
                files.push(path.clone());
                Some(path)
            }
            None => None,
        };
        UseRecord {
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
        }
    }
}
