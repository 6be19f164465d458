use std::path::PathBuf;
use std::time::Instant;

use ::align::testing::{Scenery, Shot, xtrans};
use ::align::{AlignBackend, Cfa, State, align_scene};
use clap::Args;
use gpu_core::with_backend;
use serde_json::json;

use super::args::{EstimateArgs, MachineArgs};
use super::drawn::{self, Taken};
use crate::exit::{Exit, Result};
use crate::session::{Session, seconds};

/// Options of `align selftest`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep align selftest
  lockstep align selftest --write scenes/ && lockstep align run scenes/ -o aligned/")]
pub(crate) struct Selftest {
    /// Write six drawn scenes as DNG files instead: a data set for `align run`, with the truth in cases.json
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    estimate: EstimateArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Scenes that `--write` draws.
const SCENES: usize = 6;

/// What is taken of each scene: shift, sensitivity, exposure and hot pixels.
const SHOTS: [Taken; 6] = [
    ([3.0, -5.0], 400.0, 1.0, 0.0),
    ([-8.5, 2.0], 3200.0, 0.5, 0.0),
    ([41.0, 37.0], 6400.0, 1.0, 0.001),
    ([0.0, 0.0], 12800.0, 1.0, 0.002),
    ([-27.0, 33.5], 25600.0, 0.5, 0.002),
    ([17.0, -31.0], 65535.0, 1.0, 0.002),
];

impl Selftest {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(folder) = &self.write {
            let count = drawn::write(folder, SCENES, &SHOTS)?;
            session.note(format!("{}: {SCENES} scenes with {count} pictures", folder.display()));
            session
                .document(&json!({ "folder": crate::files::as_text(folder), "scenes": SCENES, "pictures": count }))?;
            return Ok(Exit::Ok);
        }
        let any = self.machine.open()?;
        with_backend!(&any, |b| self.on(b, session))
    }

    fn on<B: AlignBackend>(&self, b: &B, session: &Session) -> Result<Exit> {
        let options = self.estimate.options(&self.machine);
        let start = Instant::now();
        let (mut rows, mut wrong) = (Vec::new(), 0);
        for (name, cfa, seed) in [("Bayer", Cfa::RGGB, 11), ("X-Trans", xtrans(), 12)] {
            let scenery = Scenery::new(seed, 480, 480);
            let mut frames = vec![scenery.shoot(&Shot { cfa, ..Shot::default() })];
            for (i, &(shift, iso, exposure, hot)) in SHOTS.iter().enumerate() {
                let pattern = if hot > 0.0 { 0.002 } else { 0.0 };
                let seed = 100 + i as u64;
                frames.push(scenery.shoot(&Shot { shift, iso, exposure, seed, cfa, hot, pattern }));
            }
            frames.push(Scenery::new(seed + 50, 480, 480).shoot(&Shot { cfa, seed: 9, ..Shot::default() }));
            let pairs: Vec<_> = (1..frames.len()).map(|i| (0, i)).collect();
            let results = align_scene(b, &frames, &pairs, &options)?;
            for (i, r) in results.iter().enumerate() {
                let truth = SHOTS.get(i);
                let error = truth.map(|t| (r.shift[0] - t.0[0]).hypot(r.shift[1] - t.0[1]));
                // Half a pixel is what rounding forgives; another scene must be refused.
                let good = match error {
                    Some(error) => error < 0.5 && r.state == State::Confident,
                    None => r.state == State::Failed,
                };
                wrong += usize::from(!good);
                let what =
                    truth.map_or("another scene".to_owned(), |t| format!("ISO {} at ({}, {})", t.1, t.0[0], t.0[1]));
                let error = error.map_or("refused".to_owned(), |e| format!("error {e:.3} px"));
                let mark = if good { "ok   " } else { "WRONG" };
                session.say(format!("{mark} {name:<8} {what:<28} {error}, psr {:.1}, {}", r.psr, r.state.name()));
                rows.push(json!({ "scene": name, "truth": truth.map(|t| t.0), "good": good, "result": r }));
            }
        }
        let took = start.elapsed().as_secs_f64();
        let place = &b.device().name;
        session.note(format!("{} pairs in {} on {}: {place}, {wrong} wrong", rows.len(), seconds(took), B::NAME));
        session.document(&json!({ "backend": B::NAME, "seconds": took, "wrong": wrong, "pairs": rows }))?;
        Ok(if wrong == 0 { Exit::Ok } else { Exit::Check })
    }
}
