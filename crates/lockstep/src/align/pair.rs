use std::path::PathBuf;

use ::align::estimate::Estimator;
use ::align::{AlignBackend, Limits, RawReader, align_scene};
use clap::Args;
use gpu_core::with_backend;
use serde_json::json;

use super::args::{EstimateArgs, MachineArgs};
use super::drawing;
use crate::exit::{Exit, Failure, Result};
use crate::files::{as_text, spare};
use crate::session::Session;

/// Half the side of the surface that is drawn.
const REACH: usize = 64;

/// Options of `align pair`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align pair gt.dng noisy.dng
  lockstep align pair gt.nef *.nef --max-shift auto --json
  lockstep align pair gt.raf noisy.raf --surface correlation.png

A shift (dy, dx) means noisy(y, x) = gt(y + dy, x + dx), in pixels of the mosaic. Exit code 3 when a pair has no shift \
that can be relied on, or a picture cannot be used; the others are aligned all the same.")]
pub(crate) struct Pair {
    /// The ground truth
    #[arg(value_name = "GT")]
    gt: PathBuf,
    /// Pictures to align with it
    #[arg(value_name = "NOISY", required = true)]
    noisy: Vec<PathBuf>,
    /// Draw the correlation with the first picture that can be used, around no shift
    #[arg(long, value_name = "PNG")]
    surface: Option<PathBuf>,
    #[command(flatten)]
    estimate: EstimateArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Pair {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let any = self.machine.open()?;
        with_backend!(&any, |b| self.on(b, session))
    }

    fn on<B: AlignBackend>(&self, b: &B, session: &Session) -> Result<Exit> {
        let options = self.estimate.options(&self.machine);
        let reader = super::reader()?.with_threads(rayon::current_num_threads());
        let gt = reader.read(&self.gt, &Limits::default()).map_err(|e| Failure::from(e).at(&self.gt))?;
        // A file that cannot be used costs its pair alone.
        let (mut frames, mut at, mut refused) = (vec![gt], Vec::new(), Vec::new());
        for path in &self.noisy {
            let read = reader.read(path, &Limits::default());
            match read.and_then(|frame| frames[0].fits(&frame).map(|()| frame)) {
                Ok(frame) => {
                    frames.push(frame);
                    at.push(path);
                }
                Err(e) => refused.push((path, e)),
            }
        }
        if let Some(surface) = &self.surface {
            spare(surface, self.noisy.iter().chain([&self.gt]), "--surface")?;
        }
        let pairs: Vec<_> = (1..frames.len()).map(|i| (0, i)).collect();
        let results = align_scene(b, &frames, &pairs, &options)?;
        let mut all_good = refused.is_empty();
        for (path, r) in at.iter().zip(&results) {
            let turned = r.tiles.as_ref().map_or(String::new(), |t| {
                format!(
                    ", {} of {} tiles: turned by {:.3}°, scale {:.5}, {:.2} px around the shift",
                    t.tiles.len(),
                    t.count,
                    t.rotation_deg,
                    t.scale,
                    t.rms_translation
                )
            });
            all_good &= !matches!(r.state, ::align::State::Failed | ::align::State::AtLimit);
            session.say(format!(
                "{}: ({:.3}, {:.3}) {}, psr {:.1}, ratio {:.2}{turned}",
                path.display(),
                r.shift[0],
                r.shift[1],
                r.state.name(),
                r.psr,
                r.ratio
            ));
        }
        for (path, e) in &refused {
            session.say(format!("{}: {}: {}", path.display(), e.kind(), super::bare(path, &e.to_string())));
        }
        if let Some(path) = self.surface.as_ref().filter(|_| frames.len() > 1) {
            let mut estimator = Estimator::new(b, &frames[0].cfa, frames[0].size(), &options, 1)?;
            let mut store = estimator.store(2)?;
            for slot in 0..2 {
                estimator.prepare(&mut store, slot, &frames[slot])?;
            }
            let (side, values) = estimator.surface(&store, (0, 1), REACH)?;
            crate::files::write(path, &drawing::surface(side, &values)?)?;
            session.note(format!(
                "{}: the correlation within {} pixels",
                path.display(),
                side / 2 * frames[0].cfa.block()
            ));
        }
        let good = at
            .iter()
            .zip(&results)
            .map(|(path, r)| json!({ "gt": as_text(&self.gt), "file": as_text(path), "result": r }));
        let bad = refused
            .iter()
            .map(|(path, e)| json!({ "gt": as_text(&self.gt), "file": as_text(path), "state": e.kind(), "reason": e.to_string() }));
        let pairs: Vec<_> = good.chain(bad).collect();
        session.document(&json!({ "pairs": pairs }))?;
        Ok(if all_good { Exit::Ok } else { Exit::Partial })
    }
}
