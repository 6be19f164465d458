//! Drawn scenes as a data set of DNG files: something to try the command on, and to test clusters with.

use std::path::{Path, PathBuf};

use ::align::Cfa;
use ::align::testing::{DngOptions, Scenery, Shot, write_dng, xtrans};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};

/// Shift, sensitivity, exposure and hot pixels of a picture.
pub(crate) type Taken = ([f64; 2], f64, f64, f64);

/// A scene to draw.
pub(crate) struct Drawn {
    pub(crate) name: String,
    pub(crate) cfa: Cfa,
    pub(crate) seed: u64,
    pub(crate) size: [usize; 2],
}

impl Drawn {
    /// Number `i` of a data set: Bayer and X-Trans in turn.
    pub(crate) fn number(i: usize) -> Self {
        let (kind, cfa) = if i.is_multiple_of(2) { ("Bayer", Cfa::RGGB) } else { ("X-Trans", xtrans()) };
        Self { name: format!("{kind}/drawn{i}"), cfa, seed: 300 + i as u64, size: [360, 420] }
    }

    /// Writes `gt/` and the pictures below `folder`; returns one case a picture, with the truth.
    pub(crate) fn write(&self, folder: &Path, taken: &[Taken]) -> Result<Vec<Value>> {
        let scenery = Scenery::new(self.seed, self.size[0], self.size[1]);
        let file = |path: &Path, shot: &Shot| {
            let o = DngOptions {
                cfa: self.cfa,
                iso: shot.iso as u16,
                model: self.name.replace('/', " "),
                ..DngOptions::default()
            };
            let whole = folder.join(path);
            crate::files::make_folder(whole.parent().unwrap_or(folder))?;
            crate::files::write(&whole, &write_dng(&scenery.mosaic(shot).view(), &o))
        };
        let gt = PathBuf::from(&self.name).join("gt/gt.dng");
        // What belongs to the sensor is in clean pictures, too.
        let hot = taken.iter().map(|t| t.3).fold(0.0, f64::max);
        let plain = Shot { cfa: self.cfa, hot, pattern: hot, ..Shot::default() };
        file(&gt, &plain)?;
        let mut cases = Vec::new();
        for (i, &(shift, iso, exposure, hot)) in taken.iter().enumerate() {
            let path = PathBuf::from(&self.name).join(format!("{i:02}_ISO{iso:.0}.dng"));
            file(&path, &Shot { shift, iso, exposure, hot, pattern: hot, seed: 100 + i as u64, ..plain })?;
            cases.push(json!({
                "row": "drawn scenes", "gt": gt, "noisy": path, "iso": iso, "exposure": exposure, "dy": shift[0],
                "dx": shift[1], "expect": "align",
            }));
        }
        Ok(cases)
    }
}

/// Writes a data set in RawNIND's layout, and `cases.json` beside it with the truth.
pub(crate) fn write(folder: &Path, scenes: usize, taken: &[Taken]) -> Result<usize> {
    let mut cases = Vec::new();
    for i in 0..scenes {
        cases.extend(Drawn::number(i).write(folder, taken)?);
    }
    let text = serde_json::to_vec_pretty(&cases)
        .map_err(|e| Failure::new(Exit::Io, format!("cannot write the cases: {e}")))?;
    crate::files::write(&folder.join("cases.json"), &text)?;
    Ok(cases.len())
}
