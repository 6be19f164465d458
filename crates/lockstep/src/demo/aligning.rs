//! The demonstration of aligning: a drawn scene as RAW files, read back and aligned.

use std::time::Instant;

use ::align::estimate::Estimator;
use ::align::raw::RawlerReader;
use ::align::{Limits, Options, RawFrame, RawReader, align_scene};
use ::style::StyleBackend;
use ata_wmma::AtaBackend;
use gpu_core::Cpu;
use nsct::NsctBackend;
use serde_json::json;

use super::Tour;
use crate::align::drawing::{self, Couple, Plane};
use crate::align::drawn::{Drawn, Taken};
use crate::exit::{Failure, Result};
use crate::report::Cell;
use crate::session::seconds;

/// One more each time: noise, less light, hot pixels.
const TAKEN: [Taken; 4] = [
    ([3.0, -5.0], 800.0, 1.0, 0.002),
    ([-23.0, 37.0], 12800.0, 1.0, 0.002),
    ([41.5, 18.0], 25600.0, 0.5, 0.002),
    ([-64.0, -90.0], 65535.0, 1.0, 0.002),
];
/// The picture that is drawn.
const SHOWN: usize = 1;
/// Half the side of the correlation's picture.
const REACH: usize = 64;

impl<B: NsctBackend<f32> + StyleBackend + AtaBackend> Tour<'_, B> {
    pub(super) fn aligning(&mut self) -> Result<()> {
        let folder = self.folder.join("7-scene");
        let drawn = Drawn { size: [480, 560], ..Drawn::number(2) };
        let cases = drawn.write(&folder, &TAKEN)?;
        let read = |name: &str| -> Result<RawFrame> {
            let path = folder.join(name);
            RawlerReader.read(&path, &Limits::default()).map_err(|e| Failure::from(e).at(&path))
        };
        let mut frames = vec![read(cases[0]["gt"].as_str().unwrap_or_default())?];
        for case in &cases {
            frames.push(read(case["noisy"].as_str().unwrap_or_default())?);
        }
        let (cpu, options) = (Cpu::new(), Options::default());
        let pairs: Vec<_> = (1..frames.len()).map(|i| (0, i)).collect();
        let start = Instant::now();
        let found = align_scene(&cpu, &frames, &pairs, &options)?;
        let took = start.elapsed().as_secs_f64();

        let mut estimator = Estimator::new(&cpu, &frames[0].cfa, frames[0].size(), &options, 1)?;
        let mut store = estimator.store(2)?;
        let mut planes = Vec::new();
        for (slot, frame) in [&frames[0], &frames[1 + SHOWN]].into_iter().enumerate() {
            estimator.prepare(&mut store, slot, frame)?;
            let ([height, width], values) = estimator.proxy(&store, slot)?;
            planes.push(Plane { height, width, values });
        }
        let block = frames[0].cfa.block() as f64;
        let whole = found[SHOWN].shift.map(|d| (d / block).round() as i64);
        let couple = |shift| Couple { gt: &planes[0], noisy: &planes[1], shift };
        let (side, surface) = estimator.surface(&store, (0, 1), REACH)?;
        let shown = [
            self.write("7-before.png", couple([0, 0]).overlay()?)?,
            self.write("7-after.png", couple(whole).overlay()?)?,
            self.write("7-correlation.png", drawing::surface(side, &surface)?)?,
        ];
        let worst =
            TAKEN.iter().zip(&found).map(|(t, r)| (r.shift[0] - t.0[0]).hypot(r.shift[1] - t.0[1])).fold(0.0, f64::max);
        let line = format!("align: {} pairs in {}, off by at most {worst:.2} pixels", found.len(), seconds(took));
        let values: Vec<_> = TAKEN
            .iter()
            .zip(&found)
            .map(|(t, r)| json!({ "iso": t.1, "truth": t.0, "shift": r.shift, "psr": r.psr, "state": r.state.name() }))
            .collect();
        self.result(&line, "align", json!(values));
        self.page.section("Aligning RAW photographs");
        self.page.text(
            "A drawn scene, photographed through a Bayer pattern as DNG files: one clean picture and four from other \
             places, with more and more noise and with hot pixels that stand still. Whitened correlation of the mosaics \
             finds the shifts to a fraction of a pixel, and says how sure it is.",
        );
        self.page.pictures(&[
            (&shown[0], "Before", "clean picture red, noisy one cyan, ISO 12800"),
            (&shown[1], "After", "gray where they agree"),
            (&shown[2], "Correlation", "three decades around no shift"),
        ]);
        let rows = TAKEN.iter().zip(&found).map(|(t, r)| {
            vec![
                Cell::from(format!("{:.0}", t.1).as_str()),
                format!("{}", t.2).into(),
                format!("{}, {}", t.0[0], t.0[1]).into(),
                format!("{:.2}, {:.2}", r.shift[0], r.shift[1]).into(),
                format!("{:.1}", r.psr).into(),
                r.state.name().into(),
            ]
        });
        self.page.table(&["ISO", "exposure", "moved by", "found", "psr", "state"], rows.collect());
        self.page.commands(&[
            &format!("lockstep align run {} -o shifts --report", folder.display()),
            "lockstep align run RawNIND/ -o out/ --masks out/masks --descriptor out/descriptor.yaml",
        ]);
        Ok(())
    }
}
